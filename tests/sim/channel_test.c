/* channel_test.c - goal: each promise of channels between shards, one scene each: what is refused comes back once, what has no
 * receiver waits, a full channel refuses before anything happens, and a shard that lost what another one has committed is found
 * out instead of guessed about. Method: two shards in the simulator; power cuts on one disk, full disks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/channel_book.h"
#include "runtime/sim.h"
#include "storage/sim/journal.h"
#include "tests/sim/purse.h"

/* A kind that tries what is not allowed, and one that is no event-sourced kind. */
#define odd_many_FIELDS(F, S)   F(S, uint64_t, count) F(S, stoa_text62, to)
#define odd_result_FIELDS(F, S) F(S, int64_t, error) F(S, uint64_t, mailed)
#define odd_large_FIELDS(F, S)  F(S, stoa_text4094, text) F(S, stoa_text254, more)
#define odd_tell_FIELDS(F, S)   F(S, stoa_text62, to)
#define odd_told_FIELDS(F, S)   F(S, stoa_text254, by)
#define odd_ROWS(ROW, K)                                                                                               \
    ROW(K, COMMAND, many, result, "Mail so many in one turn, one more than that; then mail something large.")          \
    ROW(K, REPLY, result, _, "What became of the last one.")                                                           \
    ROW(K, CAST, large, _, "Large.")                                                                                   \
    ROW(K, CAST, tell, _, "Mail to there who mailed this.")                                                            \
    ROW(K, EVENT, told, _, "Who mailed.")
STOA_TABLE_HERE(odd)
typedef struct odd {
    stoa_text254 by;
} odd;
#define odd_HEARS STOA_HEARS_NOTHING
STOA_KIND(odd, .mailbox_limit = 8)

static stoa_err odd_on_many(stoa_turn *turn, const odd *self, const odd_many *in, odd_result *out)
{
    (void)self;
    char to[64];
    stoa_err err = STOA_OK;
    (void)snprintf(to, sizeof to, "%.*s", STOA_TEXT_ARGS(&in->to));
    while (!err && out->mailed < in->count) {
        err = odd_mail_tell(turn, to, (odd_tell){{0}}, 0);
        out->mailed += !err;
    }
    static const odd_large large = {.text = {.len = 4094}, .more = {.len = 254}};
    out->error = err ? err : stoa_turn_mail(turn, to, &odd_rows[odd_ROW_large], &large, 0);
    return STOA_OK;
}

static stoa_err odd_on_large(stoa_turn *turn, const odd *self, const odd_large *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}

static stoa_err odd_on_tell(stoa_turn *turn, const odd *self, const odd_tell *in)
{
    (void)self, (void)in;
    odd_told told = {{0}};
    (void)STOA_TEXT_SETZ(&told.by, stoa_turn_mailed_by(turn));
    return odd_emit_told(turn, told);
}

static void odd_apply_told(odd *self, const odd_told *event)
{
    self->by = event->by;
}

#define loose_try_FIELDS        STOA_NO_FIELDS
#define loose_outcome_FIELDS(F, S) F(S, int64_t, error)
#define loose_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, try, outcome, "Mail.")                                                                             \
    ROW(K, REPLY, outcome, _, "What came of it.")
STOA_TABLE_HERE(loose)
typedef struct loose {
    uint64_t nothing;
} loose;
#define loose_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(loose, .mailbox_limit = 8)

static stoa_err loose_on_try(stoa_turn *turn, loose *self, const loose_try *in, loose_outcome *out)
{
    (void)self, (void)in;
    out->error = purse_mail_take(turn, "purse/there", (purse_take){0}, 0);
    return STOA_OK;
}

/* --- the world: shard here with purse/here and its sibling purse/near, shard there with purse/there */

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *here, *there;
    stoa_ref a, near, b, odd;
    stoa_durability durability_here, durability_there;
    uint64_t lives; /* a purse that forgot all is somebody else */
} world;

static stoa_text62 text(const char *from)
{
    stoa_text62 out = {0};
    assert_int_equal(STOA_TEXT_SETZ(&out, from), STOA_OK);
    return out;
}

static void open_shard(world *w, const char *name, stoa_durability durability, uint32_t core, stoa_shard **out)
{
    char path[32];
    (void)snprintf(path, sizeof path, "sim:%s", name);
    stoa_shard_options options = {
        .name = name, .core = core, .durability = durability, .journal = &stoa_journal_sim, .path = path};
    assert_int_equal(stoa_shard_open(w->node, &options, out), STOA_OK);
}

static void spawn(world *w, stoa_shard *shard, const stoa_kind *kind, const char *name, stoa_ref *out)
{
    assert_int_equal(stoa_spawn(w->node, kind, name, &(stoa_spawn_options){.shard = shard}, out), STOA_OK);
}

static void link_purse(world *w, stoa_ref who, uint64_t index, uint64_t sibling)
{
    purse_linked linked;
    purse_link link = {.index = index, .sibling = sibling, .next = text("purse/here")};
    assert_int_equal(purse_call_link(w->node, who, link, STOA_S(30), &linked), STOA_OK);
}

static void attach_here(world *w)
{
    open_shard(w, "here", w->durability_here, 0, &w->here);
    spawn(w, w->here, &purse_kind, "purse/here", &w->a);
    spawn(w, w->here, &purse_kind, "purse/near", &w->near);
    spawn(w, w->here, &odd_kind, "odd/here", &w->odd);
    link_purse(w, w->a, w->lives * 3 + 1, 2);
    link_purse(w, w->near, w->lives * 3 + 2, 1);
}

static void attach_there(world *w)
{
    open_shard(w, "there", w->durability_there, 1, &w->there);
    spawn(w, w->there, &purse_kind, "purse/there", &w->b);
    link_purse(w, w->b, w->lives * 3 + 3, 1);
}

static world world_new(stoa_durability here, stoa_durability there)
{
    static const stoa_kind *const kinds[] = {&purse_kind, &odd_kind, NULL};
    world w = {.durability_here = here, .durability_there = there};
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("here", 1, &disk), STOA_OK);
    assert_int_equal(stoa_sim_disk_get("there", 2, &disk), STOA_OK);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 5, .cores = 2, .kinds = kinds}, &w.sim, &w.node), STOA_OK);
    attach_here(&w);
    return w;
}

static world two_shards(stoa_durability here, stoa_durability there)
{
    world w = world_new(here, there);
    attach_there(&w);
    return w;
}

static void settle(world *w)
{
    assert_int_equal(stoa_sim_settle(w->sim, 1000000), STOA_OK);
}

static void lose(const char *disk_name)
{
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get(disk_name, 1, &disk), STOA_OK);
    stoa_sim_disk_free(disk);
    assert_int_equal(stoa_sim_disk_get(disk_name, 1, &disk), STOA_OK);
}

/* The process dies, and these disks keep nothing. */
static void crash(world *w, bool lose_here, bool lose_there)
{
    w->lives++;
    if (lose_here) { lose("here"); }
    if (lose_there) { lose("there"); }
    assert_int_equal(stoa_sim_crash(w->sim, &w->node), STOA_OK);
}

static void finish(world *w)
{
    stoa_sim_free(w->sim);
    stoa_sim_disks_free();
}

static const purse *state(world *w, stoa_ref ref)
{
    return stoa_sim_state(w->sim, ref, NULL);
}

static stoa_err pay(world *w, stoa_ref from, const char *to, uint64_t amount)
{
    purse_paid paid;
    return purse_call_pay(w->node, from, (purse_pay){.amount = amount, .to = text(to)}, STOA_S(30), &paid);
}

static void keep(void *context, const stoa_channel_view *view)
{
    if (strcmp(view->to, "there") == 0) { *(stoa_channel_view *)context = *view; }
}

static stoa_channel_view channel(stoa_shard *shard)
{
    stoa_channel_view view = {0};
    stoa_channels(shard, keep, &view);
    return view;
}

/* --- scenes */

static void mail_arrives_and_is_forgotten_by_who_sent_it(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_DISK);
    for (uint64_t i = 1; i <= 5; i++) { assert_int_equal(pay(&w, w.a, i % 2 ? "purse/there" : "there:purse/there", i), STOA_OK); }
    settle(&w);
    assert_int_equal(state(&w, w.b)->free, 15);
    assert_int_equal(state(&w, w.a)->free, -15);
    stoa_channel_view view = channel(w.here);
    assert_string_equal(view.to, "there");
    assert_string_equal(view.status, "runs");
    assert_int_equal(view.mailed, 5);
    assert_int_equal(view.cursor, 5);
    assert_int_equal(view.waiting, 0);
    finish(&w);
}

static void who_is_mailed_to_knows_by_whom(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_DISK);
    stoa_ref far;
    odd_result result;
    spawn(&w, w.there, &odd_kind, "odd/there", &far);
    odd_many one = {.count = 1, .to = text("odd/there")};
    assert_int_equal(odd_call_many(w.node, w.odd, one, STOA_S(30), &result), STOA_OK);
    settle(&w);
    const odd *o = stoa_sim_state(w.sim, far, NULL);
    assert_true(STOA_TEXT_EQZ(&o->by, "here:odd/here"));
    finish(&w);
}

static void what_is_refused_comes_back_once(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_DISK);
    assert_int_equal(pay(&w, w.a, "purse/there", 3), STOA_OK);
    assert_int_equal(pay(&w, w.a, "purse/there", PURSE_REFUSES), STOA_OK);       /* its turn refuses it */
    assert_int_equal(pay(&w, w.a, "there:purse/nobody", 4), STOA_OK);            /* there is no such actor */
    assert_int_equal(pay(&w, w.a, "there:odd/nobody", 5), STOA_OK);
    assert_int_equal(pay(&w, w.a, "purse/there", 6), STOA_OK);
    settle(&w);
    assert_int_equal(state(&w, w.a)->back, 3);
    assert_int_equal(state(&w, w.a)->free, -9);
    assert_int_equal(state(&w, w.b)->free, 9);
    assert_int_equal(channel(w.here).returned, 3);
    crash(&w, false, false);
    attach_here(&w);
    attach_there(&w);
    settle(&w);
    assert_int_equal(state(&w, w.a)->back, 3);
    assert_int_equal(state(&w, w.b)->got, 2);
    finish(&w);
}

/* Refusals are kept by number, in as many places as messages may wait. */
static void what_is_refused_comes_back_after_thousands_that_were_not(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_DISK);
    enum { GOOD = STOA_CHANNEL_MESSAGES + 1000, MIXED = 2000 };
    uint64_t refused = 0;
    for (uint64_t i = 0; i < GOOD + MIXED; i++) {
        uint64_t amount = i < GOOD || i % 50 ? 1 : PURSE_REFUSES;
        refused += amount == PURSE_REFUSES;
        while (purse_post_push(w.node, w.a, (purse_push){.amount = amount, .to = text("there:purse/there")})) {
            stoa_sim_run(w.sim, STOA_MS(1));
        }
        stoa_sim_run(w.sim, STOA_US(20)); /* mail comes while what is refused waits for its block */
    }
    settle(&w);
    assert_int_equal(state(&w, w.a)->sent, GOOD + MIXED);
    assert_int_equal(state(&w, w.b)->got, GOOD + MIXED - refused);
    assert_int_equal(state(&w, w.a)->back, refused);
    assert_int_equal(state(&w, w.a)->free + state(&w, w.b)->free, 0);
    finish(&w);
}

static void mail_waits_for_a_shard_that_is_not_open(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_DISK);
    assert_int_equal(pay(&w, w.a, "purse/there", 3), STOA_OK);
    settle(&w);
    crash(&w, false, false);
    attach_here(&w);
    assert_int_equal(pay(&w, w.a, "purse/there", 4), STOA_E_NOT_FOUND); /* no such name is known now */
    assert_int_equal(pay(&w, w.a, "there:purse/there", 5), STOA_OK);
    assert_int_equal(pay(&w, w.a, "nowhere:purse/there", 6), STOA_E_NOT_FOUND);
    settle(&w);
    assert_string_equal(channel(w.here).status, "apart");
    assert_int_equal(channel(w.here).mailed, 2);
    attach_there(&w);
    settle(&w);
    assert_string_equal(channel(w.here).status, "runs");
    assert_int_equal(state(&w, w.b)->free, 8);
    finish(&w);
}

static void a_full_channel_refuses_before_anything_happens(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_DISK);
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("there", 2, &disk), STOA_OK);
    settle(&w);
    stoa_sim_disk_fill(disk, 1000); /* a receiver that cannot commit */
    uint64_t mailed = 0;
    stoa_err err;
    while ((err = pay(&w, w.a, "purse/there", 1)) == STOA_OK) { mailed++; }
    assert_int_equal(err, STOA_E_FULL);
    assert_in_range(mailed, 1000, 4096);
    assert_int_equal(state(&w, w.a)->free, -(int64_t)mailed); /* nothing of the last one */
    purse_nudge nudge = {.amount = 1, .to = text("purse/there")};
    for (int i = 0; i < 500; i++) { assert_int_equal(purse_post_nudge(w.node, w.a, nudge), STOA_OK); } /* in a second turn */
    stoa_sim_run(w.sim, STOA_S(2));
    int64_t nudged = -state(&w, w.near)->free; /* there is room for some of them, and the others wait: none is half done */
    assert_in_range(nudged, 1, 499);
    assert_int_equal(state(&w, w.near)->sent, nudged);
    stoa_sim_disk_fill(disk, 0);
    settle(&w);
    assert_int_equal(state(&w, w.near)->free, -500);
    assert_int_equal(state(&w, w.b)->free, (int64_t)mailed + 500);
    assert_int_equal(pay(&w, w.a, "purse/there", 1), STOA_OK);
    finish(&w);
}

static void what_a_cascade_may_mail_is_bounded(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_DISK);
    odd_result result;
    odd_many many = {.count = 64, .to = text("there:odd/there")};
    assert_int_equal(odd_call_many(w.node, w.odd, many, STOA_S(30), &result), STOA_OK);
    assert_int_equal(result.mailed, 64);
    assert_int_equal(result.error, STOA_E_TOO_LARGE);
    many.count = 65;
    assert_int_equal(odd_call_many(w.node, w.odd, many, STOA_S(30), &result), STOA_OK);
    assert_int_equal(result.mailed, 64);
    assert_int_equal(result.error, STOA_E_TOO_LARGE);
    many.count = 0; /* and so is a message */
    assert_int_equal(odd_call_many(w.node, w.odd, many, STOA_S(30), &result), STOA_OK);
    assert_int_equal(result.error, STOA_E_TOO_LARGE);
    assert_int_equal(pay(&w, w.a, "nothing", 1), STOA_E_INVALID);
    assert_int_equal(pay(&w, w.a, "purse/none", 1), STOA_E_NOT_FOUND);
    settle(&w);
    assert_int_equal(channel(w.here).returned, 128);
    finish(&w);
}

static void only_actors_of_a_log_can_mail(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_NONE);
    stoa_ref plain;
    loose_outcome outcome;
    assert_int_equal(stoa_spawn(w.node, &loose_kind, "loose/one", NULL, &plain), STOA_OK);
    assert_int_equal(loose_call_try(w.node, plain, (loose_try){{0}}, STOA_S(1), &outcome), STOA_OK);
    assert_int_equal(outcome.error, STOA_E_UNSUPPORTED);
    assert_int_equal(pay(&w, w.b, "purse/here", 1), STOA_E_UNSUPPORTED); /* it forgets */
    assert_int_equal(pay(&w, w.a, "purse/there", 1), STOA_E_UNSUPPORTED);
    finish(&w);
}

static void an_actor_may_mail_within_its_own_shard(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_DISK);
    assert_int_equal(pay(&w, w.a, "purse/near", 3), STOA_OK);
    assert_int_equal(pay(&w, w.a, "purse/here", 4), STOA_OK);
    settle(&w);
    assert_int_equal(state(&w, w.near)->free, 3);
    assert_int_equal(state(&w, w.a)->free, -3);
    finish(&w);
}

/* --- forks */

static void expect_fork(world *w)
{
    settle(w);
    stoa_channel_view view = channel(w->here), plan;
    assert_string_equal(view.status, "forked");
    assert_true(view.forked[0]);
    assert_int_equal(pay(w, w->a, "there:purse/there", 1), STOA_E_FORKED);
    assert_int_equal(pay(w, w->a, "purse/near", 1), STOA_OK); /* other channels go on */
    assert_int_equal(stoa_channel_restart(w->here, "there", &(stoa_channel_anew){.plan = true}, &plan), STOA_OK);
    assert_string_equal(channel(w->here).status, "forked"); /* a plan changes nothing */
    assert_int_equal(plan.waiting, view.waiting);
}

static void a_sender_that_lost_its_end_is_found_out(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_MEMORY, stoa_durability_DISK);
    for (uint64_t i = 1; i <= 5; i++) { assert_int_equal(pay(&w, w.a, "purse/there", i), STOA_OK); }
    settle(&w);
    crash(&w, true, false);
    attach_here(&w);
    attach_there(&w);
    assert_int_equal(state(&w, w.b)->free, 15);
    assert_int_equal(state(&w, w.a)->free, 0);
    assert_int_equal(pay(&w, w.a, "purse/there", 20), STOA_OK); /* it does not know yet */
    expect_fork(&w);
    stoa_channel_view before;
    assert_int_equal(stoa_channel_restart(w.here, "there", &(stoa_channel_anew){0}, &before), STOA_OK);
    assert_int_equal(before.waiting, 1);
    settle(&w);
    assert_int_equal(state(&w, w.a)->back, 1); /* what was not taken came back */
    assert_int_equal(channel(w.here).generation, 1);
    assert_int_equal(pay(&w, w.a, "purse/there", 30), STOA_OK);
    settle(&w);
    assert_string_equal(channel(w.here).status, "runs");
    assert_int_equal(state(&w, w.b)->free, 45);
    crash(&w, false, false); /* and so it stays */
    attach_here(&w);
    attach_there(&w);
    assert_int_equal(pay(&w, w.a, "purse/there", 1), STOA_OK);
    settle(&w);
    assert_int_equal(state(&w, w.b)->free, 46);
    finish(&w);
}

static void another_history_of_equal_length_is_found_out(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_MEMORY, stoa_durability_DISK);
    for (uint64_t i = 1; i <= 5; i++) { assert_int_equal(pay(&w, w.a, "purse/there", i), STOA_OK); }
    settle(&w);
    crash(&w, true, false);
    attach_here(&w); /* the receiver is not there yet, so the numbers are used again */
    open_shard(&w, "there", w.durability_there, 1, &w.there);
    for (uint64_t i = 1; i <= 5; i++) { assert_int_equal(purse_post_push(w.node, w.a, (purse_push){.amount = i + 1, .to = text("there:purse/there")}), STOA_OK); }
    expect_fork(&w);
    stoa_channel_view before;
    assert_int_equal(stoa_channel_restart(w.here, "there", &(stoa_channel_anew){.again = true}, &before), STOA_OK); /* mail it once more */
    settle(&w);
    assert_int_equal(state(&w, stoa_find(w.node, "purse/there"))->free, 15 + 2 + 3 + 4 + 5 + 6);
    assert_int_equal(stoa_channel_restart(w.here, "there", &(stoa_channel_anew){.again = true}, &before), STOA_E_INVALID); /* it runs */
    assert_int_equal(stoa_channel_restart(w.here, "nowhere", &(stoa_channel_anew){.again = true}, &before), STOA_E_NOT_FOUND);
    finish(&w);
}

static void a_receiver_that_lost_its_end_is_found_out(void **context)
{
    (void)context;
    world w = two_shards(stoa_durability_DISK, stoa_durability_MEMORY);
    for (uint64_t i = 1; i <= 5; i++) { assert_int_equal(pay(&w, w.a, "purse/there", i), STOA_OK); }
    settle(&w);
    assert_int_equal(pay(&w, w.a, "purse/near", 1), STOA_OK); /* a block that journals the acknowledgement */
    settle(&w);
    crash(&w, false, true);
    attach_here(&w);
    attach_there(&w);
    assert_int_equal(state(&w, w.b)->free, 0);
    expect_fork(&w);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_arrives_and_is_forgotten_by_who_sent_it),
        cmocka_unit_test(who_is_mailed_to_knows_by_whom),
        cmocka_unit_test(what_is_refused_comes_back_once),
        cmocka_unit_test(what_is_refused_comes_back_after_thousands_that_were_not),
        cmocka_unit_test(mail_waits_for_a_shard_that_is_not_open),
        cmocka_unit_test(a_full_channel_refuses_before_anything_happens),
        cmocka_unit_test(what_a_cascade_may_mail_is_bounded),
        cmocka_unit_test(only_actors_of_a_log_can_mail),
        cmocka_unit_test(an_actor_may_mail_within_its_own_shard),
        cmocka_unit_test(a_sender_that_lost_its_end_is_found_out),
        cmocka_unit_test(another_history_of_equal_length_is_found_out),
        cmocka_unit_test(a_receiver_that_lost_its_end_is_found_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
