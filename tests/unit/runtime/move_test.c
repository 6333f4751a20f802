/* move_test.c - goal: what stoa_move promises of one actor: references, monitors and links made before and after find it, its
 * state, counters, topic slots and children go along, its failures are seen to over there, a trace shows who handles and
 * nobody else, and nothing is left of it when it ends. Method: each on simulated cores, 100,000 moves with the memory counted.
 * tests/sim/move_random_test.c has all schedules, move_threads_test.c real cores, move_refusal_test.c what is refused.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/move_world.h"

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
} world;

static world open_world(uint64_t seed, uint32_t cores)
{
    world w;
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = seed, .cores = cores}, &w.sim, &w.node), STOA_OK);
    return w;
}

static void rest(const world *w)
{
    stoa_sim_run(w->sim, STOA_MS(100));
    assert_int_equal(stoa_sim_settle(w->sim, 100000), STOA_OK);
    for (uint32_t i = 0; i < w->node->core_count; i++) { assert_null(stoa_tree_check(w->node->cores[i])); }
}

/* --- references, and what is left */

static void old_references_monitor_stop_and_are_let_go(void **state)
{
    (void)state;
    world w = open_world(2, 3);
    stoa_ref watcher = spawn(w.node, &nomad_kind, "nomad/watcher", 1);
    rest(&w);
    uint64_t before = used(w.node);
    stoa_ref first = spawn(w.node, &nomad_kind, "nomad/n", 0);
    assert_int_equal(nomad_post_note(w.node, first, (nomad_note){3, 0}), STOA_OK);
    rest(&w);
    stoa_ref second = moved(w.node, first, 1), third = moved(w.node, first, 2);
    assert_true(stoa_ref_equal(third, stoa_find(w.node, "nomad/n")));
    assert_int_equal(nomad_post_note(w.node, first, (nomad_note){3, 1}), STOA_OK);
    assert_int_equal(nomad_post_note(w.node, second, (nomad_note){4, 0}), STOA_OK);
    rest(&w);
    assert_int_equal(read_seen(w.node, third).count, 3);
    assert_int_equal(read_seen(w.node, first).disorder, 0);
    stoa_buf shown = STOA_BUF_GROWING;
    assert_int_equal(stoa_inspect(w.node, "nomad/n", &shown), STOA_E_UNSUPPORTED); /* found, though it shows nothing */
    stoa_buf_deinit(&shown);
    assert_int_equal(be_busy(w.node, watcher, MONITOR, first), STOA_OK);
    rest(&w);
    assert_int_equal(stoa_stop(w.node, first), STOA_OK);
    rest(&w);
    nomad_seen seen = read_seen(w.node, watcher);
    assert_int_equal(seen.downs, 1);
    assert_int_equal(seen.down_ref, first.at); /* as it was monitored */
    assert_int_equal(seen.down_core, 2);       /* where it ended */
    assert_int_equal(stoa_find(w.node, "nomad/n").at, 0);
    assert_int_equal(nomad_call_read(w.node, first, (nomad_read){{0}}, STOA_S(1), &seen), STOA_E_CLOSED);
    for (int i = 0; i < 4; i++) { (void)read_seen(w.node, watcher); } /* blocks come home */
    rest(&w);
    assert_in_range(used(w.node), before, before + 8192); /* the watcher's part, and what gathers for its way home */
    stoa_sim_free(w.sim);
}

static void a_hundred_thousand_moves_take_no_memory(void **state)
{
    (void)state;
    world w = open_world(3, 3);
    stoa_ref first = spawn(w.node, &nomad_kind, "nomad/n", 0);
    uint64_t flat = 0;
    for (uint32_t i = 1; i <= 100000; i++) {
        stoa_ref now = moved(w.node, first, i % 3);
        if (i % 3 == 0) { assert_true(stoa_ref_equal(now, first)); }
        if (i % 1000 == 3) {
            (void)stoa_sim_settle(w.sim, 10000);
            if (!flat) { flat = used(w.node); }
            assert_int_equal(used(w.node), flat);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(w.node->cores[i]->chunk_count, 1);
        assert_int_equal(w.node->cores[i]->chunks[0].used, 1);
    }
    stoa_sim_free(w.sim);
}

/* --- what goes along */

#define atlas_fill_FIELDS(F, S) F(S, uint64_t, seed)
#define atlas_ROWS(ROW, K)      ROW(K, CAST, fill, _, "Fill the pages with numbers.")
STOA_TABLE_HERE(atlas)
enum { PAGES = 100000 };
typedef struct atlas {
    uint64_t pages[PAGES];
} atlas;
#define atlas_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(atlas, .mailbox_limit = 16)
static stoa_err atlas_on_fill(stoa_turn *turn, atlas *self, const atlas_fill *in)
{
    (void)turn;
    for (uint64_t i = 0; i < PAGES; i++) { self->pages[i] = in->seed * i; }
    return STOA_OK;
}

static void a_mapped_state_only_changes_hands(void **state)
{
    (void)state;
    world w = open_world(4, 3);
    stoa_ref who = spawn(w.node, &atlas_kind, "atlas/a", 0);
    const atlas *at = stoa_sim_state(w.sim, who, NULL);
    for (uint64_t i = 1; i < 7; i++) {
        assert_int_equal(atlas_post_fill(w.node, who, (atlas_fill){i}), STOA_OK);
        rest(&w);
        (void)moved(w.node, who, (uint32_t)(i % 3));
        assert_ptr_equal(stoa_sim_state(w.sim, who, NULL), at);
        for (uint64_t k = 0; k < PAGES; k++) { assert_int_equal(at->pages[k], i * k); }
    }
    assert_int_equal(stoa_sim_fail(w.sim, who, "asked to"), STOA_OK);
    rest(&w);
    at = stoa_sim_state(w.sim, who, NULL);
    assert_int_equal(at->pages[PAGES - 1], 0);
    assert_int_equal(stoa_stop(w.node, who), STOA_OK);
    rest(&w);
    stoa_sim_free(w.sim);
}

static void topic_slots_go_along(void **state)
{
    (void)state;
    world w = open_world(5, 3);
    stoa_ref who = spawn(w.node, &nomad_kind, "nomad/n", 0), hears = spawn(w.node, &nomad_kind, "nomad/hears", 1);
    stoa_ref crew[2] = {spawn(w.node, &nomad_kind, "nomad/mate0", 0), spawn(w.node, &nomad_kind, "nomad/mate1", 1)};
    assert_int_equal(be_busy(w.node, hears, SUBSCRIBE, who), STOA_OK);
    for (int i = 0; i < 2; i++) { assert_int_equal(be_busy(w.node, crew[i], JOIN, who), STOA_OK); }
    assert_int_equal(be_busy(w.node, who, BIND, who), STOA_OK);
    for (uint32_t i = 1; i <= 6; i++) {
        (void)moved(w.node, who, i % 3);
        assert_int_equal(be_busy(w.node, who, PUBLISH, who), STOA_OK);
        assert_int_equal(be_busy(w.node, who, TELL_MEMBER, who), STOA_OK);
        rest(&w);
        assert_int_equal(read_seen(w.node, hears).news, i);
    }
    for (int i = 0; i < 2; i++) { assert_int_equal(read_seen(w.node, crew[i]).news, 3); } /* in turn, across the moves */
    stoa_sim_free(w.sim);
}

/* One of two keys, of which the newest is enough. */
#define gauge_value_FIELDS(F, S) F(S, uint64_t, key) F(S, uint64_t, n)
#define gauge_stop_FIELDS(F, S)  F(S, uint64_t, n)
#define gauge_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, value, _, "The newest of a key is enough.")                                                           \
    ROW(K, CAST, stop, _, "Refused.")
STOA_TABLE_HERE(gauge)
typedef struct gauge {
    uint64_t heard, last[3];
} gauge;
#define gauge_HEARS STOA_HEARS_NOTHING
static uint64_t gauge_key(const stoa_row *row, const void *payload)
{
    return row == &gauge_rows[gauge_ROW_value] ? ((const gauge_value *)payload)->key : 0;
}
STOA_PLAIN_KIND(gauge, .mailbox_limit = 8, .conflate = {.key = gauge_key})
static stoa_err gauge_on_value(stoa_turn *turn, gauge *self, const gauge_value *in)
{
    (void)turn;
    self->heard++;
    assert_true(in->n > self->last[in->key]);
    self->last[in->key] = in->n;
    return STOA_OK;
}
static stoa_err gauge_on_stop(stoa_turn *turn, gauge *self, const gauge_stop *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_E_INVALID;
}

static void counters_and_conflation_go_along(void **state)
{
    (void)state;
    world w = open_world(6, 2);
    stoa_ref who = spawn(w.node, &gauge_kind, "gauge/g", 0);
    uint64_t n = 0, conflated = 0;
    for (uint32_t round = 1; round <= 4; round++) {
        stoa_sim_injection stall = {.fault = STOA_SIM_CORE_STALLED, .core = (round - 1) % 2, .for_ns = STOA_MS(1)};
        assert_int_equal(stoa_sim_inject(w.sim, &stall), STOA_OK); /* so that they all come at once */
        for (int i = 0; i < 20; i++, n++) {
            assert_int_equal(gauge_post_value(w.node, stoa_find(w.node, "gauge/g"), (gauge_value){1 + n % 2, n + 1}), STOA_OK);
        }
        assert_int_equal(gauge_post_stop(w.node, who, (gauge_stop){0}), STOA_OK);
        rest(&w);
        const gauge *self = stoa_sim_state(w.sim, who, NULL);
        stoa_actor_view view = view_of(w.node, "gauge/g");
        assert_true(view.conflated > conflated); /* there as well as here */
        assert_int_equal(self->heard + view.conflated, n);
        assert_int_equal(self->last[1 + (n - 1) % 2], n);
        assert_int_equal(view.refused, round);
        assert_int_equal(view.last_refusal, STOA_E_INVALID);
        assert_int_equal(view.dropped[STOA_DROP_REFUSED], round);
        assert_int_equal(view.messages, self->heard + round);
        assert_int_equal(view.core, (round - 1) % 2);
        conflated = view.conflated;
        (void)moved(w.node, who, round % 2);
        assert_int_equal(view_of(w.node, "gauge/g").conflated, conflated);
        assert_int_equal(view_of(w.node, "gauge/g").refused, round);
    }
    stoa_sim_free(w.sim);
}

/* --- supervision */

static void who_fails_over_there_begins_anew_there(void **state)
{
    (void)state;
    world w = open_world(7, 2);
    stoa_ref who = spawn(w.node, &nomad_kind, "nomad/n", 0);
    for (uint32_t i = 1; i <= 4; i++) {
        (void)moved(w.node, who, i % 2);
        assert_int_equal(be_busy(w.node, who, FAIL, who), STOA_E_FAILED);
        rest(&w);
        stoa_actor_view view = view_of(w.node, "nomad/n");
        assert_int_equal(view.core, i % 2);
        assert_int_equal(view.restarts, i);
        assert_string_equal(view.restart, "transient");
        assert_string_equal(view.last_end, "asked to");
        nomad_seen seen = read_seen(w.node, who);
        assert_int_equal(seen.args, ARGS);
        assert_int_equal(seen.starts, 1); /* a fresh state */
    }
    assert_int_equal(w.node->cores[0]->restarts, 2);
    assert_int_equal(w.node->cores[1]->restarts, 2);
    stoa_sim_free(w.sim);
}

static void a_child_that_fails_is_restarted_by_its_parent_on_the_other_core(void **state)
{
    (void)state;
    world w = open_world(8, 2);
    stoa_ref top = spawn(w.node, &nomad_kind, "nomad/top", 0), watcher = spawn(w.node, &nomad_kind, "nomad/watcher", 0);
    assert_int_equal(be_busy(w.node, top, CHILD, top), STOA_OK);
    rest(&w);
    stoa_ref child = stoa_find(w.node, "nomad/top.child");
    assert_int_equal(be_busy(w.node, child, CHILD, top), STOA_OK); /* and one below that */
    rest(&w);
    stoa_ref last = stoa_find(w.node, "nomad/top.child.child");
    assert_int_equal(be_busy(w.node, watcher, MONITOR, last), STOA_OK);
    for (uint32_t i = 1; i <= 4; i++) {
        stoa_ref there = moved(w.node, top, i % 2);
        stoa_actor_view view = view_of(w.node, "nomad/top.child");
        assert_int_equal(view.core, i % 2);
        assert_true(stoa_ref_equal(view.parent, there));
        assert_int_equal(view.children, 1);
        assert_string_equal(view.restart, "permanent");
        assert_int_equal(be_busy(w.node, child, FAIL, top), STOA_E_FAILED);
        rest(&w);
        view = view_of(w.node, "nomad/top.child");
        assert_int_equal(view.core, i % 2);
        assert_int_equal(view.restarts, i);
        assert_int_equal(view.children, 0); /* its end ended them */
        assert_int_equal(read_seen(w.node, child).args, ARGS + 1);
        assert_int_equal(view_of(w.node, "nomad/top").restarts, 0);
        assert_int_equal(be_busy(w.node, child, CHILD, top), STOA_OK);
        rest(&w);
    }
    assert_int_equal(read_seen(w.node, watcher).downs, 1);
    assert_int_equal(read_seen(w.node, watcher).down_ref, last.at);
    assert_int_equal(stoa_stop(w.node, top), STOA_OK);
    rest(&w);
    assert_int_equal(stoa_find(w.node, "nomad/top.child").at, 0);
    assert_int_equal(w.node->cores[0]->actor_alive + w.node->cores[1]->actor_alive, 1); /* the watcher */
    stoa_sim_free(w.sim);
}

static void monitors_and_links_made_before_deliver_after(void **state)
{
    (void)state;
    static const enum nomad_what ties[] = {MONITOR, LINK};
    for (uint32_t at = 0; at < 6; at++) {
        world w = open_world(9 + at, 3);
        stoa_ref who = spawn(w.node, &nomad_kind, "nomad/n", 0), other = spawn(w.node, &nomad_kind, "nomad/other", at % 3);
        stoa_ref stays = spawn(w.node, &nomad_kind, "nomad/stays", at % 3);
        bool link = at / 3;
        assert_int_equal(be_busy(w.node, other, ties[link], who), STOA_OK);
        assert_int_equal(be_busy(w.node, stays, ties[link], who), STOA_OK);
        rest(&w);
        (void)moved(w.node, who, 1);
        (void)moved(w.node, who, 2);
        assert_int_equal(be_busy(w.node, stays, link ? UNLINK : NO_MONITOR, who), STOA_OK); /* taken back */
        rest(&w);
        (void)moved(w.node, who, 1);
        assert_int_equal(be_busy(w.node, who, FAIL, who), STOA_E_FAILED);
        rest(&w);
        assert_int_equal(view_of(w.node, "nomad/other").restarts, link);
        assert_int_equal(read_seen(w.node, other).downs, !link);
        if (!link) { assert_int_equal(read_seen(w.node, other).down_ref, who.at); }
        if (!link) { assert_int_equal(read_seen(w.node, other).down_core, 1); }
        assert_int_equal(view_of(w.node, "nomad/stays").restarts, 0);
        assert_int_equal(read_seen(w.node, stays).downs, 0);
        for (uint32_t i = 0; i < 3; i++) { assert_int_equal(w.node->cores[i]->ties.count, 0); }
        stoa_sim_free(w.sim);
    }
}

/* Both ends of a link: the one that made it fails, and the one that moved hears of it where it is. */
static void the_other_end_of_a_link_fails_and_it_follows(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < 3; at++) {
        world w = open_world(20 + at, 3);
        stoa_ref who = spawn(w.node, &nomad_kind, "nomad/n", 0), other = spawn(w.node, &nomad_kind, "nomad/other", at);
        assert_int_equal(be_busy(w.node, other, LINK, who), STOA_OK);
        rest(&w);
        (void)moved(w.node, who, 1);
        (void)moved(w.node, who, 2);
        assert_int_equal(be_busy(w.node, other, FAIL, who), STOA_E_FAILED);
        rest(&w);
        assert_int_equal(view_of(w.node, "nomad/n").restarts, 1);
        assert_int_equal(view_of(w.node, "nomad/n").core, 2);
        assert_int_equal(read_seen(w.node, who).args, ARGS);
        assert_int_equal(be_busy(w.node, other, STOP, who), STOA_OK); /* by the reference it had first */
        rest(&w);
        assert_int_equal(stoa_find(w.node, "nomad/n").at, 0);
        for (uint32_t i = 0; i < 3; i++) { assert_int_equal(w.node->cores[i]->ties.count, 0); }
        stoa_sim_free(w.sim);
    }
}

/* --- traces */

typedef struct spans {
    stoa_span at[8];
    uint32_t count;
} spans;

static void keep_span(void *context, const stoa_span *span)
{
    spans *all = context;
    assert_true(all->count < 8);
    all->at[all->count++] = *span;
}

static void a_trace_shows_who_handles_and_nobody_on_the_way(void **state)
{
    (void)state;
    world w = open_world(30, 3);
    stoa_ref first = spawn(w.node, &nomad_kind, "nomad/n", 0), asks = spawn(w.node, &nomad_kind, "nomad/asks", 2);
    (void)moved(w.node, first, 1);
    stoa_ref there = moved(w.node, first, 2);
    assert_int_equal(stoa_trace_next(w.node, "nomad/asks"), STOA_OK);
    assert_int_equal(be_busy(w.node, asks, ASK, first), STOA_OK); /* from core 2 by 0 and 1 to 2 */
    rest(&w);
    spans all = {0};
    assert_int_equal(stoa_spans(w.node, stoa_trace_last(w.node), keep_span, &all), STOA_OK);
    assert_int_equal(all.count, 3); /* busy, hold, and busy's answer on its way out */
    const stoa_span *hold = &all.at[1];
    if (strcmp(hold->name, "nomad/n") != 0) { hold = &all.at[2]; }
    assert_string_equal(hold->name, "nomad/n");
    assert_true(stoa_ref_equal(hold->actor, there));
    assert_int_equal(hold->core, 2);
    assert_int_equal(hold->parent, all.at[0].span);
    assert_true(hold->row == &nomad_rows[nomad_ROW_hold]);
    assert_int_equal(hold->outcome, STOA_OK);
    stoa_sim_free(w.sim);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_references_monitor_stop_and_are_let_go),
        cmocka_unit_test(a_hundred_thousand_moves_take_no_memory),
        cmocka_unit_test(a_mapped_state_only_changes_hands),
        cmocka_unit_test(topic_slots_go_along),
        cmocka_unit_test(counters_and_conflation_go_along),
        cmocka_unit_test(who_fails_over_there_begins_anew_there),
        cmocka_unit_test(a_child_that_fails_is_restarted_by_its_parent_on_the_other_core),
        cmocka_unit_test(monitors_and_links_made_before_deliver_after),
        cmocka_unit_test(the_other_end_of_a_link_fails_and_it_follows),
        cmocka_unit_test(a_trace_shows_who_handles_and_nobody_on_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
