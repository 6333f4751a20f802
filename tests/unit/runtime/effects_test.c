/* effects_test.c - goal: an outside effect that this build cannot read is seen - by its status, in the counts, in the log - and holds
 * nothing up; a port that knows more gets it, or an operator settles it, once, and the log remembers.
 * Method: an actor of a shop that has two things done outside; ports that serve the table as an older build had it, with a row less,
 * and as another one may have it, with a field of another type.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/kit.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

#define till_pay_FIELDS(F, S)    F(S, uint64_t, number)
#define till_refund_FIELDS(F, S) F(S, uint64_t, number)
#define till_ROWS(ROW, K)                                                                                              \
    ROW(K, CAST, pay, _, "Pay outside.")                                                                               \
    ROW(K, CAST, refund, _, "Pay back.")
STOA_TABLE_HERE(till)
static const stoa_table older = {"till", till_rows, till_ROW_pay};

#define other_pay_FIELDS(F, S) F(S, stoa_text30, number)
#define other_ROWS(ROW, K)     ROW(K, CAST, pay, _, "Pay outside, in words.")
STOA_TABLE_HERE(other)
static const stoa_table in_words = {"till", other_rows, other_ROW_pay};

#define shop_sell_FIELDS(F, S)  F(S, uint64_t, number)
#define shop_done_FIELDS        STOA_NO_FIELDS
#define shop_sold_FIELDS(F, S)  F(S, uint64_t, number)
#define shop_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, sell, done, "Sell: pay, and pay back.")                                                            \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, EVENT, sold, _, "It was sold.")
STOA_TABLE_HERE(shop)
typedef struct shop {
    uint64_t sold;
} shop;
#define shop_HEARS STOA_HEARS_NOTHING
STOA_PROXY(till)
STOA_KIND(shop, .mailbox_limit = 64)

static stoa_err shop_on_sell(stoa_turn *turn, const shop *self, const shop_sell *in, shop_done *out)
{
    (void)self;
    (void)out;
    stoa_err err = shop_emit_sold(turn, (shop_sold){in->number});
    if (!err) { err = till_effect_pay(turn, (till_pay){in->number}); }
    return err ? err : till_effect_refund(turn, (till_refund){in->number});
}
static void shop_apply_sold(shop *self, const shop_sold *event)
{
    self->sold = event->number;
}

/* --- a shop, and who serves it */

static struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_port *port;
    uint32_t pays, refunds;
    bool silent; /* it never says that something is done */
} w;

static const stoa_kind *const kinds[] = {&shop_kind, NULL};

static void open_shop(void)
{
    static const stoa_shard_options options = {
        .name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:effects"};
    stoa_ref ref;
    assert_int_equal(stoa_shard_open(w.node, &options, &w.shard), STOA_OK);
    assert_int_equal(stoa_spawn(w.node, &shop_kind, "shop/a", &(stoa_spawn_options){.shard = w.shard}, &ref), STOA_OK);
}

static int begin(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    stoa_sim_disks_free();
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 1, .kinds = kinds}, &w.sim, &w.node), STOA_OK);
    open_shop();
    return 0;
}

static int end(void **state)
{
    (void)state;
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
    return 0;
}

static void sell(uint64_t number)
{
    shop_done done;
    assert_int_equal(shop_call_sell(w.node, stoa_find(w.node, "shop/a"), (shop_sell){number}, STOA_S(5), &done), STOA_OK);
}

static void serve(void *context, const stoa_delivery *d)
{
    (void)context;
    assert_non_null(d->effect);
    w.pays += d->row->id == till_ROW_pay;
    w.refunds += d->row->id == till_ROW_refund;
    if (!w.silent) { assert_int_equal(stoa_port_effected(w.port, d->effect, STOA_OK), STOA_OK); }
}

static void settle_down(void)
{
    for (int i = 0; i < 20; i++) {
        stoa_sim_run(w.sim, STOA_MS(10));
        while (w.port && stoa_port_poll(w.port, serve, NULL, 16)) {}
        if (w.port) { stoa_port_flush(w.port); }
    }
}

static void serve_as(const stoa_table *table)
{
    char name[16];
    static unsigned ports;
    if (w.port) { stoa_port_close(w.port); }
    (void)snprintf(name, sizeof name, "till-%u", ports++);
    assert_int_equal(stoa_port_open(w.node, name, &w.port), STOA_OK);
    assert_int_equal(stoa_port_serve(w.port, table), STOA_OK);
    settle_down();
}

typedef struct seen {
    stoa_outbox_view view;
    stoa_pending_view at[8];
    uint32_t count;
} seen;

static void note(void *context, const stoa_pending_view *view)
{
    seen *s = context;
    assert_true(s->count < 8);
    s->at[s->count++] = *view;
}

static seen look(void)
{
    seen s = {.count = 0};
    stoa_shard_outbox(w.shard, &s.view, note, &s);
    assert_int_equal(s.count, s.view.pending);
    return s;
}

static void replays_alike(void)
{
    stoa_shard_view live;
    uint64_t hash, events;
    assert_int_equal(stoa_shard_look(w.shard, &live), STOA_OK);
    assert_int_equal(stoa_shard_replay(w.shard, live.applied, &hash, &events), STOA_OK);
    assert_true(hash == live.hash);
}

/* --- tests */

static void one_of_a_later_build_is_shown_and_holds_nothing_up(void **state)
{
    (void)state;
    sell(1);
    sell(2);
    assert_string_equal(look().at[0].status, "nobody serves it");
    serve_as(&older);
    seen s = look();
    assert_int_equal(w.pays, 2);
    assert_int_equal(s.view.done, 2);
    assert_int_equal(s.view.pending, 2);
    assert_int_equal(s.view.unreadable, 2);
    assert_int_equal(s.view.handed, 0);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(s.at[i].status, "unreadable");
        assert_int_equal(s.at[i].unreadable, STOA_E_VERSION);
        assert_int_equal(s.at[i].row, till_ROW_refund);
    }
    sell(3);
    settle_down();
    assert_int_equal(w.pays, 3);

    serve_as(&till_table); /* the later build is back */
    s = look();
    assert_int_equal(w.refunds, 3);
    assert_int_equal(s.view.pending, 0);
    assert_int_equal(s.view.unreadable, 0);
    assert_int_equal(s.view.done, 6);
}

static void one_of_another_shape_is_shown_as_well(void **state)
{
    (void)state;
    sell(1);
    serve_as(&in_words);
    seen s = look();
    assert_int_equal(w.pays + w.refunds, 0);
    assert_int_equal(s.view.unreadable, 2);
    assert_int_equal(s.at[0].unreadable, STOA_E_INVALID);
    assert_int_equal(s.at[1].unreadable, STOA_E_VERSION);
    assert_int_equal(stoa_sim_crash(w.sim, &w.node), STOA_OK); /* the next life finds the same */
    w.port = NULL;
    open_shop();
    assert_int_equal(look().view.unreadable, 0);
    serve_as(&in_words);
    assert_int_equal(look().view.unreadable, 2);
    serve_as(&till_table);
    assert_int_equal(w.pays, 1);
    assert_int_equal(w.refunds, 1);
}

static void it_is_logged_once(void **state)
{
    (void)state;
    char line[512];
    unsigned lines = 0;
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    assert_non_null(file);
    assert_true(before >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    sell(7);
    serve_as(&older);
    settle_down();
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    rewind(file);
    while (fgets(line, sizeof line, file)) {
        if (!strstr(line, "effect_unreadable")) { continue; }
        lines++;
        assert_non_null(strstr(line, "VERSION"));
        assert_non_null(strstr(line, look().at[0].name));
        assert_non_null(strstr(line, "shop/a"));
    }
    (void)fclose(file);
    assert_int_equal(lines, 1);
}

static void an_operator_settles_it_once(void **state)
{
    (void)state;
    stoa_pending_view was;
    sell(1);
    sell(2);
    serve_as(&older);
    seen s = look();
    assert_int_equal(s.view.pending, 2);
    assert_int_equal(stoa_shard_settle(w.shard, "s-9-9-9", true, true, &was), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_shard_settle(w.shard, s.at[0].name, true, true, &was), STOA_OK); /* only a plan */
    assert_string_equal(was.name, s.at[0].name);
    assert_string_equal(was.status, "unreadable");
    assert_int_equal(look().view.pending, 2);

    assert_int_equal(stoa_shard_settle(w.shard, s.at[0].name, true, false, &was), STOA_OK);
    assert_int_equal(stoa_shard_settle(w.shard, s.at[0].name, true, false, &was), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_shard_settle(w.shard, s.at[1].name, false, false, &was), STOA_OK);
    settle_down();
    seen after = look();
    assert_int_equal(after.view.pending, 0);
    assert_int_equal(after.view.unreadable, 0);
    assert_int_equal(after.view.done, 3);
    assert_int_equal(after.view.failed, 1);
    replays_alike();

    assert_int_equal(stoa_sim_crash(w.sim, &w.node), STOA_OK);
    w.port = NULL;
    open_shop();
    serve_as(&till_table);
    assert_int_equal(w.refunds, 0); /* no port is ever given it */
    assert_int_equal(look().view.done, 3);
}

static void what_a_port_has_is_its_own(void **state)
{
    (void)state;
    stoa_pending_view was;
    w.silent = true;
    sell(1);
    serve_as(&till_table);
    seen s = look();
    assert_string_equal(s.at[0].status, "handed out");
    assert_int_equal(stoa_shard_settle(w.shard, s.at[0].name, true, false, &was), STOA_E_INVALID);
    stoa_port_close(w.port);
    w.port = NULL;
    settle_down();
    assert_int_equal(stoa_shard_settle(w.shard, s.at[0].name, true, false, &was), STOA_OK);
    assert_true(was.again);
    assert_int_equal(look().view.pending, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_of_a_later_build_is_shown_and_holds_nothing_up, begin, end),
        cmocka_unit_test_setup_teardown(one_of_another_shape_is_shown_as_well, begin, end),
        cmocka_unit_test_setup_teardown(it_is_logged_once, begin, end),
        cmocka_unit_test_setup_teardown(an_operator_settles_it_once, begin, end),
        cmocka_unit_test_setup_teardown(what_a_port_has_is_its_own, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
