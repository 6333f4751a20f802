/* evolution_test.c - goal: a log written by one version of a kind is read by its neighbours, and what cannot be read is
 * refused by name before anything is served. Method: the kind "till" as two builds know it, each on a node of its own
 * over one simulated disk: upgraded, taken back, and with events that the older build has no row for.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/log_reader.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

/* --- the older build */

#define till1_pay_FIELDS(F, S)  F(S, uint32_t, amount) F(S, uint32_t, reserved32)
#define till1_sum_FIELDS(F, S)  F(S, uint64_t, total)
#define till1_paid_FIELDS(F, S) F(S, uint32_t, amount) F(S, uint32_t, reserved32)
#define till1_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, pay, sum, "Pay an amount.")                                                                        \
    ROW(K, REPLY, sum, _, "What was paid.")                                                                            \
    ROW(K, EVENT, paid, _, "An amount was paid.")
STOA_TABLE_HERE(till1)

typedef struct till1 {
    uint64_t total;
} till1;
#define till1_HEARS STOA_HEARS_NOTHING
STOA_KIND(till1, .mailbox_limit = 64)

static stoa_err till1_on_pay(stoa_turn *turn, const till1 *self, const till1_pay *in, till1_sum *out)
{
    out->total = self->total + in->amount;
    return till1_emit_paid(turn, (till1_paid){in->amount, 0});
}

static void till1_apply_paid(till1 *self, const till1_paid *event)
{
    self->total += event->amount;
}

/* --- the newer build: wider amounts, tips, and events of a new row; its state is another one */

#define till2_pay_FIELDS(F, S)      F(S, uint64_t, amount) F(S, uint64_t, reserved32) F(S, uint64_t, tip)
#define till2_sum_FIELDS(F, S)      F(S, uint64_t, total) F(S, uint64_t, tips) F(S, uint64_t, paid)
#define till2_paid_FIELDS(F, S)     F(S, uint64_t, amount) F(S, uint64_t, reserved32) F(S, uint64_t, tip)
#define till2_refund_FIELDS(F, S)   F(S, uint64_t, amount)
#define till2_refunded_FIELDS(F, S) F(S, uint64_t, amount)
#define till2_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, pay, sum, "Pay an amount.")                                                                        \
    ROW(K, REPLY, sum, _, "What was paid.")                                                                            \
    ROW(K, EVENT, paid, _, "An amount was paid.")                                                                      \
    ROW(K, COMMAND, refund, sum, "Give money back.")                                                                   \
    ROW(K, EVENT, refunded, _, "Money was given back.")
STOA_TABLE_HERE(till2)

typedef struct till2 {
    uint64_t paid, total, tips;
} till2;
#define till2_HEARS STOA_HEARS_NOTHING
STOA_KIND(till2, .mailbox_limit = 64)

static stoa_err till2_on_pay(stoa_turn *turn, const till2 *self, const till2_pay *in, till2_sum *out)
{
    *out = (till2_sum){self->total + in->amount, self->tips + in->tip, self->paid + 1};
    return till2_emit_paid(turn, (till2_paid){.amount = in->amount, .tip = in->tip});
}

static stoa_err till2_on_refund(stoa_turn *turn, const till2 *self, const till2_refund *in, till2_sum *out)
{
    *out = (till2_sum){self->total - in->amount, self->tips, self->paid};
    return till2_emit_refunded(turn, (till2_refunded){in->amount});
}

static void till2_apply_paid(till2 *self, const till2_paid *event)
{
    self->paid++;
    self->total += event->amount;
    self->tips += event->tip;
}

static void till2_apply_refunded(till2 *self, const till2_refunded *event)
{
    self->total -= event->amount;
}

/* --- a third build: an amount has a currency now, as text before it; schema 2. What builds 1 and 2 wrote is brought to it */

#define till3_pay_FIELDS(F, S)   F(S, uint64_t, amount) F(S, uint64_t, reserved32) F(S, uint64_t, tip)
#define till3_sum_FIELDS(F, S)   F(S, uint64_t, total) F(S, uint64_t, tips) F(S, uint64_t, paid)
#define till3_paid_FIELDS(F, S)  F(S, stoa_text6, currency) F(S, uint64_t, cents) F(S, uint64_t, tip)
#define till3_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, pay, sum, "Pay an amount.")                                                                        \
    ROW(K, REPLY, sum, _, "What was paid.")                                                                            \
    ROW(K, EVENT, paid, _, "An amount was paid.")
STOA_TABLE_HERE(till3)

#define till3_paid_v1_FIELDS(F, S) F(S, uint64_t, amount) F(S, uint64_t, reserved32) F(S, uint64_t, tip)
STOA_RECORD_HERE(till3_paid_v1)
#define till3_paid_v2_FIELDS(F, S) F(S, uint64_t, cents) F(S, uint64_t, tip)
STOA_RECORD_HERE(till3_paid_v2)

static void paid_from_v1(const void *old, void *next)
{
    const till3_paid_v1 *from = old;
    *(till3_paid_v2 *)next = (till3_paid_v2){.cents = from->amount * 100, .tip = from->tip * 100};
}

static void paid_from_v2(const void *old, void *next)
{
    const till3_paid_v2 *from = old;
    till3_paid *to = next;
    to->cents = from->cents;
    to->tip = from->tip;
    (void)STOA_TEXT_SETZ(&to->currency, "EUR");
}

static const stoa_upcast till3_upcasts[] = {{till3_ROW_paid, 1, STOA_TYPE(till3_paid_v1), paid_from_v1},
                                            {till3_ROW_paid, 2, STOA_TYPE(till3_paid_v2), paid_from_v2},
                                            {0, 0, NULL, NULL}};

typedef struct till3 {
    uint64_t paid, cents, tips, euros;
} till3;
#define till3_HEARS STOA_HEARS_NOTHING
STOA_KIND(till3, .mailbox_limit = 64, .upcasts = till3_upcasts)

static stoa_err till3_on_pay(stoa_turn *turn, const till3 *self, const till3_pay *in, till3_sum *out)
{
    till3_paid paid = {.cents = in->amount, .tip = in->tip};
    *out = (till3_sum){self->cents + in->amount, self->tips + in->tip, self->euros};
    stoa_err err = STOA_TEXT_SETZ(&paid.currency, "USD");
    return err ? err : till3_emit_paid(turn, paid);
}

static void till3_apply_paid(till3 *self, const till3_paid *event)
{
    self->paid++;
    self->cents += event->cents;
    self->tips += event->tip;
    self->euros += event->currency.len == 3 && event->currency.at[0] == 'E';
}

/* --- a build at work: its node over the disk "till" */

typedef struct build {
    stoa_kind kind; /* named till, whichever it is */
    const stoa_kind *kinds[2];
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref till;
} build;

static stoa_err start(build *b, const stoa_kind *kind, const char *name)
{
    b->kind = *kind;
    b->kind.name = name;
    b->kinds[0] = &b->kind;
    b->kinds[1] = NULL;
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 11, .kinds = b->kinds}, &b->sim, &b->node), STOA_OK);
    stoa_shard_options options = {
        .name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:till"};
    stoa_err err = stoa_shard_open(b->node, &options, &b->shard);
    if (!err && strcmp(name, "till") == 0) {
        err = stoa_spawn(b->node, &b->kind, "till/a", &(stoa_spawn_options){.shard = b->shard}, &b->till);
    }
    return err;
}

static void end(build *b)
{
    stoa_sim_free(b->sim);
}

static void pay1(uint32_t amount, uint64_t total)
{
    build old;
    till1_sum sum;
    assert_int_equal(start(&old, &till1_kind, "till"), STOA_OK);
    assert_int_equal(till1_call_pay(old.node, old.till, (till1_pay){amount, 0}, STOA_S(5), &sum), STOA_OK);
    assert_int_equal(sum.total, total);
    end(&old);
}

static till2_sum pay2(uint64_t amount, uint64_t tip)
{
    build new;
    till2_sum sum;
    assert_int_equal(start(&new, &till2_kind, "till"), STOA_OK);
    till2_pay pay = {.amount = amount, .tip = tip};
    assert_int_equal(till2_call_pay(new.node, new.till, pay, STOA_S(5), &sum), STOA_OK);
    end(&new);
    return sum;
}

static void refused(const stoa_kind *kind, const char *name, stoa_err why, const char *word)
{
    build b;
    stoa_log_level_set(STOA_LOG_OFF);
    assert_int_equal(start(&b, kind, name), why);
    if (!strstr(stoa_err_trail(), word)) { fail_msg("no '%s' in\n%s", word, stoa_err_trail()); }
    end(&b);
    stoa_log_level_set(STOA_LOG_INFO);
}

/* --- tests */

static int forget(void **state)
{
    (void)state;
    stoa_sim_disks_free();
    return 0;
}

static void an_upgrade_reads_what_the_older_build_wrote(void **state)
{
    (void)state;
    pay1(10, 10);
    pay1(5, 15);
    till2_sum sum = pay2(7, 2);
    assert_int_equal(sum.total, 22);
    assert_int_equal(sum.tips, 2); /* the older events had none */
    assert_int_equal(sum.paid, 3); /* a state that the older build did not have, from the older events */
}

static void a_step_back_reads_what_the_newer_build_wrote(void **state)
{
    (void)state;
    pay1(10, 10);
    (void)pay2(7, 2);
    pay1(1, 18); /* tips are stepped over */
    till2_sum sum = pay2(1, 1);
    assert_int_equal(sum.total, 19);
    assert_int_equal(sum.tips, 3); /* nothing of the newer build's was lost meanwhile */
}

static void an_event_of_a_row_that_is_not_there_is_of_another_version(void **state)
{
    (void)state;
    build new;
    till2_sum sum;
    (void)pay2(7, 2);
    assert_int_equal(start(&new, &till2_kind, "till"), STOA_OK);
    assert_int_equal(till2_call_refund(new.node, new.till, (till2_refund){3}, STOA_S(5), &sum), STOA_OK);
    end(&new);
    refused(&till1_kind, "till", STOA_E_VERSION, "row 5 of till1, which has 3 here");
    sum = pay2(1, 0); /* and it did no harm */
    assert_int_equal(sum.total, 5);
}

static void a_value_that_the_older_build_cannot_hold_is_refused_whole(void **state)
{
    (void)state;
    (void)pay2(UINT64_C(1) << 32, 0);
    refused(&till1_kind, "till", STOA_E_CORRUPT, "till1.paid.amount");
    assert_int_equal(pay2(1, 0).total, (UINT64_C(1) << 32) + 1);
}

static void a_kind_that_is_not_there_is_of_another_version(void **state)
{
    (void)state;
    pay1(10, 10);
    refused(&till1_kind, "drawer", STOA_E_VERSION, "no kind 'till'");
}

static till3_sum pay3(uint64_t amount, uint64_t tip)
{
    build new;
    till3_sum sum;
    assert_int_equal(start(&new, &till3_kind, "till"), STOA_OK);
    till3_pay pay = {.amount = amount, .tip = tip};
    assert_int_equal(till3_call_pay(new.node, new.till, pay, STOA_S(5), &sum), STOA_OK);
    end(&new);
    return sum;
}

/* Events as earlier builds stored them, byte for byte: what they say now is in the file, too. Never edit a line. */
static const uint8_t *from_hex(const char *text, uint8_t *bytes, size_t *size_out)
{
    unsigned byte;
    for (*size_out = 0; sscanf(text + 2 * *size_out, "%2x", &byte) == 1; ++*size_out) { bytes[*size_out] = (uint8_t)byte; }
    return bytes;
}

static stoa_err say(void *context, const stoa_event_view *event)
{
    const till3_paid *paid = event->payload;
    if (event->stream == 0) { return STOA_OK; }
    (void)snprintf(context, 64, "%.*s %llu %llu", STOA_TEXT_ARGS(&paid->currency), (unsigned long long)paid->cents,
                   (unsigned long long)paid->tip);
    return STOA_OK;
}

static void check_stored(const char *hex, const char *expected)
{
    static const stoa_kind *const known[] = {&till3_kind, NULL};
    uint8_t bytes[512];
    char said[64] = "";
    stoa_block block = {.first = 1, .epoch = 1, .commit_ns = 1, .count = 2};
    size_t size_bytes;
    stoa_journal *journal;
    stoa_log_reader *reader;
    block.payload = from_hex(hex, bytes, &size_bytes);
    block.payload_bytes = (uint32_t)size_bytes;
    assert_int_equal(stoa_journal_sim.open("sim:stored", &journal), STOA_OK);
    assert_int_equal(stoa_journal_sim.append(journal, &block, true), STOA_OK);
    assert_int_equal(stoa_log_open_journal(journal, known, "s", &reader), STOA_OK);
    assert_int_equal(stoa_log_read(reader, 1, UINT64_MAX, say, said, NULL), STOA_OK);
    assert_string_equal(said, expected);
    stoa_log_close(reader);
    stoa_journal_sim.close(journal);
    stoa_sim_disks_free();
}

static void stored_events_of_every_schema_say_what_they_said(void **state)
{
    (void)state;
    const char *source = getenv("STOA_SOURCE");
    char path[512], line[1024], hex[600], expected[64];
    unsigned lines = 0;
    (void)snprintf(path, sizeof path, "%s/tests/golden/events.txt", source ? source : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#' || sscanf(line, "%599s %63[^\n]", hex, expected) != 2) { continue; }
        check_stored(hex, expected);
        lines++;
    }
    (void)fclose(file);
    assert_int_equal(lines, 4);
}

static void an_older_schema_is_brought_up_step_by_step(void **state)
{
    (void)state;
    pay1(10, 10);      /* as the first build wrote it */
    (void)pay2(7, 2);  /* with a field more: the same schema */
    till3_sum sum = pay3(5, 0);
    assert_int_equal(sum.total, 1700 + 5);
    assert_int_equal(sum.tips, 200);
    assert_int_equal(sum.paid, 2); /* in euros: the older ones */
    sum = pay3(1, 0); /* and what was written under the new schema is read as it is */
    assert_int_equal(sum.total, 1700 + 6);
    assert_int_equal(sum.paid, 2);
    refused(&till2_kind, "till", STOA_E_VERSION, "schema 3 of till2.paid, of which 1 is the last here");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_upgrade_reads_what_the_older_build_wrote, forget, forget),
        cmocka_unit_test_setup_teardown(a_step_back_reads_what_the_newer_build_wrote, forget, forget),
        cmocka_unit_test_setup_teardown(an_event_of_a_row_that_is_not_there_is_of_another_version, forget, forget),
        cmocka_unit_test_setup_teardown(a_value_that_the_older_build_cannot_hold_is_refused_whole, forget, forget),
        cmocka_unit_test_setup_teardown(a_kind_that_is_not_there_is_of_another_version, forget, forget),
        cmocka_unit_test_setup_teardown(stored_events_of_every_schema_say_what_they_said, forget, forget),
        cmocka_unit_test_setup_teardown(an_older_schema_is_brought_up_step_by_step, forget, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
