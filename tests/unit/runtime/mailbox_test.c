/* mailbox_test.c - goal: what a mailbox does with what finds it full, in what order it hands out the rest, and that nothing of it
 * is uncounted. Method: a hand fills a box within one turn, so that nobody reads meanwhile; each case on a real core and in the
 * simulator, across cores where the case is about those.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdlib.h>

#include "tests/unit/runtime/mailbox_world.h"

typedef struct world {
    stoa_node *node;
    stoa_sim *sim;
    stoa_ref hand, box;
} world;

static stoa_ref spawn(world *w, const stoa_kind *kind, const char *key, uint32_t core)
{
    stoa_ref ref;
    char name[STOA_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "%s/%s", kind->name, key);
    assert_int_equal(stoa_spawn(w->node, kind, name, &(stoa_spawn_options){.core = core}, &ref), STOA_OK);
    return ref;
}

static void open_world(world *w, bool simulated, uint32_t cores, uint64_t memory_bytes)
{
    *w = (world){0};
    make_kinds();
    if (simulated) {
        stoa_sim_options options = {.seed = 3, .cores = cores, .memory_bytes = memory_bytes};
        assert_int_equal(stoa_sim_new(&options, &w->sim, &w->node), STOA_OK);
    } else {
        assert_int_equal(stoa_node_open(&(stoa_options){.cores = cores, .memory_bytes = memory_bytes}, &w->node), STOA_OK);
    }
    w->hand = spawn(w, &hand_kind, "h", 0);
}

static void close_world(world *w)
{
    if (w->sim) {
        stoa_sim_free(w->sim);
    } else {
        stoa_node_close(w->node, STOA_S(1));
    }
}

static hand_filled fill(world *w, stoa_ref to, uint64_t way, uint64_t count, uint64_t keys)
{
    hand_filled out;
    hand_fill in = {.to = to.at, .count = count, .keys = keys, .way = way, .within_ns = STOA_MS(1)};
    assert_int_equal(hand_call_fill(w->node, w->hand, in, STOA_S(30), &out), STOA_OK);
    assert_int_equal(out.error, 0);
    return out;
}

static box_heard heard(world *w, stoa_ref of)
{
    box_heard out;
    stoa_err err = STOA_E_FULL;
    for (int tries = 0; tries < 10000 && err == STOA_E_FULL; tries++) { /* a full box refuses to be read, too */
        err = box_call_read(w->node, of, (box_read){0}, STOA_S(30), &out);
    }
    assert_int_equal(err, STOA_OK);
    return out;
}

static hand_told told(world *w)
{
    hand_told out;
    assert_int_equal(hand_call_look(w->node, w->hand, (hand_look){0}, STOA_S(30), &out), STOA_OK);
    return out;
}

static void keep_view(void *context, const stoa_actor_view *view)
{
    *(stoa_actor_view *)context = *view;
}

static stoa_actor_view view_of(world *w, const char *name)
{
    stoa_actor_view view = {0};
    assert_int_equal(stoa_actors(w->node, name, keep_view, &view), STOA_OK);
    return view;
}

static uint64_t dropped(world *w, stoa_drop reason)
{
    stoa_core_view view;
    uint64_t count = 0;
    for (uint32_t i = 0; i < stoa_core_count(w->node); i++) {
        assert_int_equal(stoa_core_look(w->node, i, &view), STOA_OK);
        count += view.dropped[reason];
    }
    return count;
}

static void assert_entry(const box_heard *h, uint32_t at, uint64_t key, uint64_t first, uint64_t last, uint64_t value)
{
    assert_true(at < h->entries.count);
    assert_int_equal(h->entries.at[at].key, key);
    assert_int_equal(h->entries.at[at].first, first);
    assert_int_equal(h->entries.at[at].last, last);
    assert_int_equal(h->entries.at[at].value, value);
}

/* --- cases */

static void refuses(bool simulated)
{
    world w;
    open_world(&w, simulated, 1, 0);
    stoa_ref to = spawn(&w, &box_kinds[KEEPS], "b", 0);
    hand_filled f = fill(&w, to, WAY_ITEM, 12, 1);
    assert_int_equal(f.sent, BOX_LIMIT);
    assert_int_equal(f.full, 12 - BOX_LIMIT);
    box_heard h = heard(&w, to);
    assert_int_equal(h.count, BOX_LIMIT);
    for (uint32_t i = 0; i < BOX_LIMIT; i++) { assert_entry(&h, i, 1, i + 1, i + 1, i); }
    stoa_actor_view view = view_of(&w, "keeps/b");
    assert_int_equal(view.refused, 12 - BOX_LIMIT);
    assert_int_equal(view.last_refusal, STOA_E_FULL);
    close_world(&w);
}

static void drops_oldest(bool simulated)
{
    world w;
    open_world(&w, simulated, 1, 0);
    stoa_ref to = spawn(&w, &box_kinds[DROPS_OLDEST], "b", 0);
    assert_int_equal(fill(&w, to, WAY_ITEM, 12, 1).sent, 12);
    box_heard h = heard(&w, to);
    assert_int_equal(h.count, BOX_LIMIT);
    assert_entry(&h, 0, 1, 5, 5, 4);
    assert_entry(&h, BOX_LIMIT - 1, 1, 12, 12, 11);
    assert_int_equal(view_of(&w, "oldest/b").dropped[STOA_DROP_OLDEST], 4);
    assert_int_equal(dropped(&w, STOA_DROP_OLDEST), 4);
    hand_filled f = fill(&w, to, WAY_PART, 24, 1); /* every third a command: never dropped, refused when nothing else is left */
    h = heard(&w, to);
    uint64_t commands = 0;
    for (uint32_t i = 0; i < h.entries.count; i++) { commands += h.entries.at[i].key == 0; }
    assert_int_equal(commands, 8 - f.full);
    assert_int_equal(h.count, 2 * BOX_LIMIT);
    close_world(&w);
}

static void drops_newest(bool simulated)
{
    world w;
    open_world(&w, simulated, 1, 0);
    stoa_ref to = spawn(&w, &box_kinds[DROPS_NEWEST], "b", 0);
    assert_int_equal(fill(&w, to, WAY_ITEM, 12, 1).sent, 12);
    box_heard h = heard(&w, to);
    assert_int_equal(h.count, BOX_LIMIT);
    assert_entry(&h, 0, 1, 1, 1, 0);
    assert_entry(&h, BOX_LIMIT - 1, 1, 8, 8, 7);
    assert_int_equal(dropped(&w, STOA_DROP_NEWEST), 4);
    close_world(&w);
}

static void conflates_values(bool simulated)
{
    world w;
    open_world(&w, simulated, 1, 0);
    stoa_ref to = spawn(&w, &box_kinds[TAKES_NEWEST], "b", 0);
    assert_int_equal(fill(&w, to, WAY_ITEM, 99, 3).sent, 99);
    box_heard h = heard(&w, to);
    assert_int_equal(h.count, 3);
    for (uint32_t k = 0; k < 3; k++) { assert_entry(&h, k, k + 1, 33, 33, 96 + k); }
    assert_int_equal(view_of(&w, "values/b").conflated, 96);
    hand_filled f = fill(&w, to, WAY_ITEM, 20, 20); /* more keys than places */
    assert_int_equal(f.sent, 20);
    assert_int_equal(dropped(&w, STOA_DROP_FULL), 20 - BOX_LIMIT);
    assert_int_equal(fill(&w, to, WAY_PART, 9, 1).sent, 9);
    h = heard(&w, to);
    /* item, part, 2 items as one, part, 2 as one, part, item */
    assert_int_equal(h.count, 3 + BOX_LIMIT + 7);
    uint64_t keys[] = {1, 0, 1, 0, 1, 0, 1}, values[] = {0, 0, 3, 0, 6, 0, 8};
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(h.entries.at[3 + BOX_LIMIT + i].key, keys[i]);
        assert_int_equal(h.entries.at[3 + BOX_LIMIT + i].value, values[i]);
    }
    stoa_ref late = spawn(&w, &box_kinds[TAKES_LATE], "b", 0);
    assert_int_equal(fill(&w, late, WAY_ITEM, 40, 2).sent, 40);
    h = heard(&w, late);
    assert_int_equal(h.count, 5); /* four as they were sent, the fifth more than that; then the last of each key takes all */
    close_world(&w);
}

static void conflates_ranges(bool simulated)
{
    world w;
    open_world(&w, simulated, 1, 0);
    stoa_ref to = spawn(&w, &box_kinds[TAKES_RANGES], "b", 0);
    assert_int_equal(fill(&w, to, WAY_ITEM, 100, 2).sent, 100);
    assert_int_equal(fill(&w, to, WAY_GAP, 6, 1).sent, 6);
    box_heard h = heard(&w, to);
    assert_int_equal(h.count, 4);
    assert_entry(&h, 0, 1, 1, 50, 98);
    assert_entry(&h, 1, 2, 1, 50, 99);
    assert_entry(&h, 2, 1, 1, 3, 2);
    assert_entry(&h, 3, 1, 5, 7, 5); /* 4 is missing, and nobody pretends that it was there */
    close_world(&w);
}

static void conflates_what_is_published(bool simulated)
{
    world w;
    open_world(&w, simulated, 2, 0);
    stoa_ref all = spawn(&w, &box_kinds[ROOMY], "a", 0);
    stoa_ref ranges = spawn(&w, &box_kinds[TAKES_RANGES], "r", 0), values = spawn(&w, &box_kinds[TAKES_NEWEST], "v", 0);
    stoa_ref far = spawn(&w, &box_kinds[ROOMY], "f", 1), far_ranges = spawn(&w, &box_kinds[TAKES_RANGES], "g", 1);
    for (uint64_t round = 0; round < 3; round++) {
        assert_int_equal(fill(&w, all, WAY_NEWS, 40, 2).sent, 40);
        box_heard h = heard(&w, all);
        assert_int_equal(h.count, 40 * (round + 1));
        for (uint32_t i = 0; i < 40; i++) { assert_entry(&h, i, 1 + i % 2, i / 2 + 1, i / 2 + 1, i); } /* nobody wrote to it */
        h = heard(&w, ranges);
        assert_int_equal(h.count, 2 * (round + 1));
        assert_entry(&h, (uint32_t)round * 2, 1, 1, 20, 38);
        assert_entry(&h, (uint32_t)round * 2 + 1, 2, 1, 20, 39);
        h = heard(&w, values);
        assert_int_equal(h.count, 2 * (round + 1));
        assert_entry(&h, (uint32_t)round * 2, 1, 20, 20, 38);
        h = heard(&w, far_ranges);
        uint64_t numbers = 0;
        for (uint32_t i = 0; i < h.entries.count; i++) { numbers += h.entries.at[i].last - h.entries.at[i].first + 1; }
        assert_int_equal(numbers, 40 * (round + 1));
        assert_int_equal(heard(&w, far).count, 40 * (round + 1));
    }
    stoa_core_view view;
    assert_int_equal(stoa_stop(w.node, ranges), STOA_OK);
    (void)heard(&w, all);
    assert_int_equal(stoa_core_look(w.node, 0, &view), STOA_OK);
    assert_true(view.used_bytes < 64 << 10); /* copies went back with those who had them */
    close_world(&w);
}

static void control_overtakes(bool simulated)
{
    world w;
    open_world(&w, simulated, 1, 0);
    stoa_ref to = spawn(&w, &box_kinds[KEEPS], "b", 0);
    hand_filled f = fill(&w, to, WAY_ITEM_PAUSE, 40, 1); /* items and pauses in turn */
    assert_int_equal(f.sent, BOX_LIMIT + 20); /* a full normal lane refuses no control */
    box_heard h = heard(&w, to);
    assert_int_equal(h.count, BOX_LIMIT + 20);
    for (uint32_t i = 0; i < 20; i++) { assert_entry(&h, i, CONTROL_KEY, 0, 0, 2 * i + 1); }
    for (uint32_t i = 0; i < BOX_LIMIT; i++) { assert_entry(&h, 20 + i, 1, 2 * i + 1, 2 * i + 1, 2 * i); }
    f = fill(&w, to, WAY_PAUSE, 100, 1);
    assert_int_equal(f.sent, 64); /* a bound of its own */
    assert_int_equal(f.full, 36);
    assert_int_equal(fill(&w, to, WAY_ITEM, BOX_LIMIT, 1).sent, BOX_LIMIT);
    assert_int_equal(heard(&w, to).count, BOX_LIMIT + 20 + 64 + BOX_LIMIT);
    assert_int_equal(view_of(&w, "keeps/b").queued, 0);
    close_world(&w);
}

static void waits_for_room(bool simulated)
{
    world w;
    open_world(&w, simulated, 2, 0);
    stoa_ref near = spawn(&w, &box_kinds[KEEPS], "n", 0), far = spawn(&w, &box_kinds[KEEPS], "f", 1);
    stoa_ref gone = spawn(&w, &box_kinds[KEEPS], "g", 1);
    assert_int_equal(fill(&w, near, WAY_WAIT, 1, 1).sent, 1);
    hand_told t = told(&w); /* it was empty: told at once */
    assert_int_equal(t.rooms, 1);
    assert_int_equal(t.token, 7);
    assert_int_equal(t.room, BOX_LIMIT);
    stoa_ref targets[] = {near, far};
    for (int i = 0; i < 2; i++) { /* paced by what it is told, it is never refused, and all of it arrives */
        uint64_t before = told(&w).poured;
        assert_int_equal(hand_post_pour(w.node, w.hand, (hand_pour){targets[i].at, 5000}), STOA_OK);
        for (int tries = 0; tries < 3000 && told(&w).poured < before + 5000; tries++) { (void)poll(NULL, 0, simulated ? 0 : 5); }
        t = told(&w);
        assert_int_equal(t.poured, before + 5000);
        assert_int_equal(t.left, 0);
        assert_int_equal(t.refused, 0);
        for (int tries = 0; tries < 3000 && heard(&w, targets[i]).count < 5000; tries++) { (void)poll(NULL, 0, simulated ? 0 : 5); }
        assert_int_equal(heard(&w, targets[i]).count, 5000);
    }
    assert_int_equal(stoa_stop(w.node, gone), STOA_OK);
    uint64_t rooms = told(&w).rooms;
    assert_int_equal(fill(&w, gone, WAY_WAIT, 1, 1).sent, 1);
    for (int tries = 0; tries < 3000 && told(&w).rooms == rooms; tries++) { (void)poll(NULL, 0, simulated ? 0 : 5); }
    assert_int_equal(told(&w).error, STOA_E_CLOSED);
    close_world(&w);
}

static void tells_of_refusals(bool simulated)
{
    world w;
    open_world(&w, simulated, 2, 0);
    stoa_ref far = spawn(&w, &box_kinds[KEEPS], "f", 1);
    uint64_t sent = fill(&w, far, WAY_TOLD, 200, 1).sent; /* all of one turn arrive together */
    assert_int_equal(sent, 200);
    uint64_t took = 0, refused = 0;
    for (int tries = 0; tries < 3000 && took + refused < sent; tries++) {
        took = heard(&w, far).count;
        refused = told(&w).refused;
    }
    assert_int_equal(took + refused, sent);
    assert_true(refused > 0);
    assert_int_equal(told(&w).error, STOA_E_FULL);
    for (int i = 0; i < STOA_DROP_COUNT; i++) { assert_int_equal(dropped(&w, (stoa_drop)i), 0); } /* told is not lost */
    close_world(&w);
}

/* What arrives 20 ms late was good for 1 ms. */
static void what_is_stale_is_not_handled(void **state)
{
    world w;
    (void)state;
    open_world(&w, true, 2, 0);
    stoa_ref far = spawn(&w, &box_kinds[ROOMY], "f", 1);
    assert_int_equal(fill(&w, far, WAY_WITHIN, 10, 1).sent, 10);
    stoa_sim_run(w.sim, STOA_MS(100));
    uint64_t in_time = heard(&w, far).count + dropped(&w, STOA_DROP_STALE);
    assert_int_equal(in_time, 10);
    uint64_t before = heard(&w, far).count, stale = dropped(&w, STOA_DROP_STALE);
    stoa_sim_injection held = {.fault = STOA_SIM_CORE_STALLED, .core = 1, .for_ns = STOA_MS(20)};
    assert_int_equal(stoa_sim_inject(w.sim, &held), STOA_OK);
    assert_int_equal(fill(&w, far, WAY_WITHIN, 10, 1).sent, 10);
    assert_int_equal(fill(&w, far, WAY_ASK, 5, 1).sent, 5);
    stoa_sim_run(w.sim, STOA_MS(100));
    assert_int_equal(heard(&w, far).count, before);
    assert_int_equal(dropped(&w, STOA_DROP_STALE), stale + 15);
    assert_int_equal(told(&w).late, 5);
    assert_int_equal(view_of(&w, "roomy/f").dropped[STOA_DROP_STALE], stale + 15);
    close_world(&w);
}

/* One turn takes all the memory; its own answer and those of others come all the same. */
static void answers_need_no_quota(bool simulated)
{
    world w;
    open_world(&w, simulated, 1, 2 << 20);
    stoa_ref to = spawn(&w, &box_kinds[ROOMY], "b", 0);
    for (int round = 0; round < 3; round++) {
        hand_filled f = fill(&w, to, WAY_ITEM, 50000, 1);
        assert_true(f.full > 0);
        assert_true(f.sent > 10000);
        assert_true(heard(&w, to).count > 0);
    }
    stoa_core_view view;
    assert_int_equal(stoa_core_look(w.node, 0, &view), STOA_OK);
    assert_true(view.memory_bytes <= 4 << 20);
    close_world(&w);
}

#define BOTH(what)                                                                                                     \
    static void what##_on_a_core(void **state)                                                                         \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        what(false);                                                                                                   \
    }                                                                                                                  \
    static void what##_in_the_simulator(void **state)                                                                  \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        what(true);                                                                                                    \
    }
BOTH(refuses)
BOTH(drops_oldest)
BOTH(drops_newest)
BOTH(conflates_values)
BOTH(conflates_ranges)
BOTH(conflates_what_is_published)
BOTH(control_overtakes)
BOTH(waits_for_room)
BOTH(tells_of_refusals)
BOTH(answers_need_no_quota)

#define TESTS(what) cmocka_unit_test(what##_on_a_core), cmocka_unit_test(what##_in_the_simulator)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTS(refuses),          TESTS(drops_oldest),  TESTS(drops_newest),   TESTS(conflates_values),
        TESTS(conflates_ranges), TESTS(conflates_what_is_published), TESTS(control_overtakes),
        TESTS(waits_for_room),   TESTS(tells_of_refusals), TESTS(answers_need_no_quota),
        cmocka_unit_test(what_is_stale_is_not_handled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
