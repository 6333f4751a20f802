/* evolution_test.c - goal: a log written by one version of a kind is read by its neighbours, and what cannot be read is
 * refused by name before anything is served. Method: the kind "till" as two builds know it, each on a node of its own
 * over one simulated disk: upgraded, taken back, and with events that the older build has no row for.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_upgrade_reads_what_the_older_build_wrote, forget, forget),
        cmocka_unit_test_setup_teardown(a_step_back_reads_what_the_newer_build_wrote, forget, forget),
        cmocka_unit_test_setup_teardown(an_event_of_a_row_that_is_not_there_is_of_another_version, forget, forget),
        cmocka_unit_test_setup_teardown(a_value_that_the_older_build_cannot_hold_is_refused_whole, forget, forget),
        cmocka_unit_test_setup_teardown(a_kind_that_is_not_there_is_of_another_version, forget, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
