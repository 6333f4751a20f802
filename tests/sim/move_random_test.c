/* move_random_test.c - goal: actors move about under load, and of what is sent to them and by them nothing is lost, doubled or out
 * of order, whichever of their references it is sent to; what they knew goes along; nothing of it is left behind. Method: sources
 * that number what they send to each reference that an actor ever had: small casts and large ones, control rows, asks,
 * messages to be told of, waits for room; actors of every policy, with small and mapped states, a tree of three; all of them
 * send on to each other, too. Meanwhile one after the other is moved, while rings and cores stall; in two of three runs
 * turns are lost, actors fail and memory runs out. Books are kept outside of the actors and must balance.
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
#include "runtime/internal.h"
#include "runtime/kit.h"
#include "runtime/stoa.h"

enum { CORES = 4, SOURCES = 4, SINKS = 9, ROOTS = 7, TREE = 6, LARGE = 5, FROM = SOURCES + SINKS };
enum { REFS = 6, KEYS = 3, ROUNDS = 60, MOVES = 150, LIMIT = 16 };

#define sink_item_FIELDS(F, S)                                                                                         \
    F(S, uint64_t, from) F(S, uint64_t, sink) F(S, uint64_t, ref) F(S, uint64_t, seq) F(S, uint64_t, key)              \
    F(S, uint64_t, first) F(S, uint64_t, last) F(S, uint64_t, value)
#define sink_note_FIELDS(F, S)  F(S, uint64_t, from) F(S, uint64_t, sink) F(S, uint64_t, ref) F(S, uint64_t, seq)
#define sink_pause_FIELDS(F, S) sink_note_FIELDS(F, S)
#define sink_order_FIELDS(F, S) sink_note_FIELDS(F, S)
#define sink_done_FIELDS(F, S)  F(S, uint64_t, seq)
#define sink_ROWS(ROW, K)                                                                                              \
    ROW(K, CAST, item, _, "Numbers of a key; more than a ring's slot holds.")                                          \
    ROW(K, CAST, note, _, "What a slot holds.")                                                                        \
    ROW(K, CONTROL, pause, _, "On the control lane.")                                                                  \
    ROW(K, COMMAND, order, done, "To be answered.")                                                                    \
    ROW(K, REPLY, done, _, "The same number.")
STOA_TABLE_HERE(sink)

/* What happened in one run, of all actors. */
typedef struct way {
    uint64_t seq, seen, pauses, paused, numbers[KEYS], last[KEYS];
} way;
static struct {
    uint64_t sent, handled, told, letters, asked, obeyed, answered, done;
    uint64_t since[SINKS]; /* handled by this incarnation */
    way ways[FROM][SINKS][REFS];
    stoa_ref refs[SINKS][REFS];
    uint64_t ref_count[SINKS];
    stoa_kind kinds[SINKS];
    stoa_sim *sim;
} books;

/* --- sinks */

/* The end of the state, mapped or not, counts too. */
typedef struct sink {
    uint64_t handled, nothing, end;
} sink;
#define sink_HEARS STOA_HEARS_NOTHING

static uint64_t number_of(const stoa_turn *turn)
{
    return strtoull(stoa_turn_key(turn), NULL, 10);
}

static uint64_t sum(uint64_t first, uint64_t last)
{
    return (first + last) * (last - first + 1) / 2;
}

static stoa_err sink_begin(stoa_turn *turn, void *state, const void *args)
{
    stoa_ref ref;
    (void)state;
    books.since[number_of(turn)] = 0;
    assert_int_equal(*(const uint64_t *)args, number_of(turn)); /* the arguments go along */
    for (uint64_t leaf = ROOTS; number_of(turn) == TREE && leaf < SINKS; leaf++) {
        char name[32];
        (void)snprintf(name, sizeof name, "leaf/%u", (unsigned)leaf);
        stoa_err err = stoa_turn_spawn(turn, &books.kinds[leaf], &(stoa_child){.name = name, .args = &leaf, .restart = STOA_PERMANENT}, &ref);
        if (err) { return err; }
    }
    return STOA_OK;
}

/* Its state is what it was. */
static uint64_t count(const stoa_turn *turn, sink *self)
{
    uint64_t number = number_of(turn);
    uint64_t *end = (uint64_t *)(void *)((unsigned char *)self + books.kinds[number].state_bytes) - 1;
    assert_int_equal(self->handled, books.since[number]);
    assert_int_equal(*end, self->handled);
    *end = ++self->handled;
    return books.since[number]++;
}

static bool conflates(uint64_t to)
{
    return books.kinds[to].conflate.key;
}

/* The next of its way, in order. */
static way *follows(uint64_t from, uint64_t to, uint64_t ref, uint64_t seq)
{
    way *w = &books.ways[from][to][ref];
    if (!conflates(to)) { assert_true(seq > w->seen); } /* keys change their order */
    w->seen = seq;
    return w;
}

static void send_on(stoa_turn *turn, uint64_t number);

static uint64_t sink_key(const stoa_row *row, const void *payload)
{
    const sink_item *item = payload;
    if (row != &sink_rows[sink_ROW_item]) { return 0; }
    return 1 + (item->from * REFS + item->ref) * KEYS + item->key;
}
static bool sink_merge(const stoa_row *row, void *older, const void *newer)
{
    sink_item *into = older;
    const sink_item *from = newer;
    (void)row;
    if (from->first != into->last + 1) { return false; }
    into->last = from->last;
    into->seq = from->seq;
    into->value += from->value;
    return true;
}
STOA_PLAIN_KIND(sink, .mailbox_limit = LIMIT, .start = sink_begin, .args_bytes = sizeof(uint64_t))
static stoa_err sink_on_item(stoa_turn *turn, sink *self, const sink_item *in)
{
    assert_int_equal(in->sink, number_of(turn));
    way *w = follows(in->from, in->sink, in->ref, in->seq);
    assert_true(in->first > w->last[in->key] && in->last >= in->first);
    assert_int_equal(in->value, sum(in->first, in->last)); /* what was merged is whole */
    w->last[in->key] = in->last;
    books.handled++;
    (void)count(turn, self);
    return STOA_OK;
}
static stoa_err sink_on_note(stoa_turn *turn, sink *self, const sink_note *in)
{
    assert_int_equal(in->sink, number_of(turn));
    (void)follows(in->from, in->sink, in->ref, in->seq);
    books.handled++;
    (void)count(turn, self);
    if (stoa_turn_random(turn) % 8) { send_on(turn, in->sink); } /* a walk from one to the other, of about eight steps */
    return STOA_OK;
}
static stoa_err sink_on_pause(stoa_turn *turn, sink *self, const sink_pause *in)
{
    way *w = &books.ways[in->from][in->sink][in->ref];
    assert_int_equal(in->sink, number_of(turn));
    assert_true(in->seq > w->paused);
    w->paused = in->seq;
    books.handled++;
    (void)count(turn, self);
    return STOA_OK;
}
static stoa_err sink_on_order(stoa_turn *turn, sink *self, const sink_order *in, sink_done *out)
{
    assert_int_equal(in->sink, number_of(turn));
    (void)follows(in->from, in->sink, in->ref, in->seq);
    books.obeyed++;
    out->seq = in->seq;
    (void)count(turn, self);
    return STOA_OK;
}

/* --- sending */

static stoa_err send_item(stoa_turn *turn, uint64_t from, uint64_t to, uint64_t ref, uint64_t how)
{
    way *w = &books.ways[from][to][ref];
    uint64_t key = stoa_turn_random(turn) % KEYS, n = w->numbers[key] + 1;
    sink_item item = {from, to, ref, w->seq + 1, key, n, n, n};
    const stoa_row *row = &sink_rows[sink_ROW_item];
    stoa_err err = how == 0   ? stoa_turn_send_told(turn, books.refs[to][ref], row, &item, to * REFS + ref)
                   : how == 1 ? stoa_turn_send_within(turn, books.refs[to][ref], row, &item, STOA_US(300))
                              : stoa_turn_send(turn, books.refs[to][ref], row, &item);
    if (err) { return err; }
    w->seq++;
    w->numbers[key] = n;
    books.sent++;
    return STOA_OK;
}

static stoa_err send_note(stoa_turn *turn, uint64_t from, uint64_t to, uint64_t ref)
{
    way *w = &books.ways[from][to][ref];
    stoa_err err = sink_send_note(turn, books.refs[to][ref], (sink_note){from, to, ref, w->seq + 1});
    w->seq += !err;
    books.sent += !err;
    return err;
}

static stoa_err send_pause(stoa_turn *turn, uint64_t from, uint64_t to, uint64_t ref)
{
    way *w = &books.ways[from][to][ref];
    stoa_err err = sink_send_pause(turn, books.refs[to][ref], (sink_pause){from, to, ref, w->pauses + 1});
    w->pauses += !err;
    books.sent += !err;
    return err;
}

static stoa_err send_order(stoa_turn *turn, uint64_t from, uint64_t to, uint64_t ref)
{
    way *w = &books.ways[from][to][ref];
    stoa_err err = sink_ask_order(turn, books.refs[to][ref], (sink_order){from, to, ref, w->seq + 1}, STOA_S(5), w->seq + 1);
    w->seq += !err;
    books.asked += !err;
    return err;
}

static uint64_t any_ref(stoa_turn *turn, uint64_t to)
{
    return stoa_turn_random(turn) % books.ref_count[to];
}

static void send_on(stoa_turn *turn, uint64_t number)
{
    uint64_t to = stoa_turn_random(turn) % SINKS, ref = any_ref(turn, to);
    if (to == number) { return; }
    (void)send_item(turn, SOURCES + number, to, ref, 2);
    (void)send_note(turn, SOURCES + number, to, ref);
    (void)send_item(turn, SOURCES + number, to, ref, 2);
}

/* --- sources */

#define source_go_FIELDS STOA_NO_FIELDS
#define source_ROWS(ROW, K) ROW(K, CAST, go, _, "Send some.")
STOA_TABLE_HERE(source)
typedef struct source {
    uint64_t rounds;
    stoa_timer timer;
} source;
#define source_HEARS(HEAR, K) HEAR(K, stoa_system, refused) HEAR(K, stoa_system, room) HEAR(K, sink, done)
static stoa_err source_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)args;
    return stoa_turn_every(turn, STOA_US(100), &source_rows[source_ROW_go], &(source_go){0}, &((source *)state)->timer);
}
STOA_PLAIN_KIND(source, .start = source_begin, .mailbox_limit = 4096)
static void send_any(stoa_turn *turn, uint64_t from)
{
    uint64_t to = stoa_turn_random(turn) % SINKS, ref = any_ref(turn, to), how = stoa_turn_random(turn) % 12;
    if (how == 2) {
        (void)send_pause(turn, from, to, ref);
    } else if (how == 3) {
        (void)stoa_turn_when_room(turn, books.refs[to][ref], to * REFS + ref);
    } else if (how == 4 || how == 5) {
        (void)send_order(turn, from, to, ref);
    } else if (how >= 9) {
        (void)send_note(turn, from, to, ref);
    } else {
        (void)send_item(turn, from, to, ref, how);
    }
}
static stoa_err source_on_go(stoa_turn *turn, source *self, const source_go *in)
{
    uint64_t sends = 1 + stoa_turn_random(turn) % 30;
    (void)in;
    while (sends--) { send_any(turn, number_of(turn)); }
    if (++self->rounds == ROUNDS) { stoa_turn_cancel(turn, self->timer); }
    return STOA_OK;
}
/* They tell of who was sent to by the reference that was used. */
static void check_known(uint64_t token, uint64_t ref)
{
    assert_int_equal(books.refs[token / REFS][token % REFS].at, ref);
}
static stoa_err source_on_stoa_system_refused(stoa_turn *turn, source *self, const stoa_system_refused *in)
{
    (void)turn;
    (void)self;
    check_known(in->token, in->ref);
    books.told++;
    return STOA_OK;
}
static stoa_err source_on_stoa_system_room(stoa_turn *turn, source *self, const stoa_system_room *in)
{
    (void)turn;
    (void)self;
    check_known(in->token, in->ref);
    assert_true(in->error != STOA_E_CLOSED || in->token / REFS >= ROOTS); /* the others never end */
    return STOA_OK;
}
static stoa_err source_on_sink_done(stoa_turn *turn, source *self, const sink_done *in)
{
    (void)self;
    assert_true(turn->error || in->seq == turn->token);
    books.answered++;
    books.done += !turn->error;
    return STOA_OK;
}

/* --- a run */

static void observe(void *context, const stoa_sim_event *event)
{
    (void)context;
    if (event->what != STOA_SIM_DEAD_LETTER || !event->row) { return; }
    books.told += event->row == &stoa_system_rows[stoa_system_ROW_refused]; /* told somebody who had failed */
    bool cast = event->row == &sink_rows[sink_ROW_item] || event->row == &sink_rows[sink_ROW_note] ||
                event->row == &sink_rows[sink_ROW_pause];
    books.letters += cast;
}

static void make_kinds(void)
{
    static const char *const names[SINKS] = {"keeps", "oldest", "newest", "values", "ranges", "large", "tree", "leaf", "leaf"};
    for (uint32_t i = 0; i < SINKS; i++) {
        books.kinds[i] = sink_kind;
        books.kinds[i].name = names[i];
    }
    books.kinds[1].when_full = STOA_FULL_DROP_OLDEST;
    books.kinds[2].when_full = STOA_FULL_DROP_NEWEST;
    books.kinds[3].conflate.key = books.kinds[4].conflate.key = sink_key;
    books.kinds[4].conflate.merge = sink_merge;
    books.kinds[3].conflate.merge = sink_merge;
    books.kinds[3].conflate.above = 4;
    books.kinds[LARGE].state_bytes = 10000;
    books.kinds[LARGE].mailbox_limit = 1 << 20;
}

/* How many may be waiting for in one run, and where they are. */
static void know(stoa_node *node)
{
    for (uint64_t which = 0; which < SINKS; which++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s/%u", books.kinds[which].name, (unsigned)which);
        stoa_ref ref = stoa_find(node, name);
        uint64_t *known = &books.ref_count[which], i = 0;
        while (i < *known && !stoa_ref_equal(books.refs[which][i], ref)) { i++; }
        if (ref.at && i == *known && i < REFS) { books.refs[which][(*known)++] = ref; }
    }
}

static void spawn_all(stoa_node *node)
{
    stoa_ref ref;
    char name[32];
    for (uint64_t i = 0; i < ROOTS; i++) {
        (void)snprintf(name, sizeof name, "%s/%u", books.kinds[i].name, (unsigned)i);
        stoa_spawn_options options = {.core = (uint32_t)i % CORES, .args = &i};
        assert_int_equal(stoa_spawn(node, &books.kinds[i], name, &options, &ref), STOA_OK);
    }
    for (uint64_t i = 0; i < SOURCES; i++) {
        (void)snprintf(name, sizeof name, "source/%u", (unsigned)i);
        assert_int_equal(stoa_spawn(node, &source_kind, name, &(stoa_spawn_options){.core = (uint32_t)i}, &ref), STOA_OK);
    }
    know(node);
}

static uint64_t chance(uint64_t below)
{
    return stoa_sim_random(books.sim) % below;
}

static void move_about(stoa_node *node, bool calm)
{
    for (int i = 0; i < MOVES && !stoa_sim_dead(books.sim); i++) {
        uint64_t which = chance(SINKS);
        stoa_ref to, who = books.refs[which][chance(books.ref_count[which])];
        bool more = true; /* mostly in the middle of what goes on */
        for (uint64_t steps = chance(12); steps && more; steps--) { more = stoa_sim_step(books.sim); }
        if (!more) { stoa_sim_run(books.sim, STOA_US(chance(100))); }
        stoa_err err = stoa_move(node, who, (uint32_t)chance(CORES), &to);
        bool expected = !err || err == STOA_E_AGAIN || (which >= ROOTS && err == STOA_E_UNSUPPORTED);
        assert_true(expected || (!calm && (err == STOA_E_NOMEM || err == STOA_E_CLOSED)));
        if (!err) { assert_true(stoa_ref_place(to) < CORES); }
        stoa_sim_fold(books.sim, err ? (uint64_t)err : to.at);
        know(node);
    }
}

static void flush(stoa_core *core, void *context)
{
    (void)context;
    stoa_place_flush(&core->place);
}

/* Everything is idle: whatever is moved, moves, and when it ends nothing of it is left. */
static void come_to_an_end(stoa_node *node)
{
    stoa_ref to;
    for (uint64_t i = 0; i < ROOTS; i++) {
        assert_int_equal(stoa_move(node, books.refs[i][books.ref_count[i] - 1], (uint32_t)chance(CORES), &to), STOA_OK);
        for (uint64_t ref = 0; ref < books.ref_count[i]; ref++) { assert_non_null(stoa_sim_state(books.sim, books.refs[i][ref], NULL)); }
    }
    for (uint32_t i = 0; i < CORES; i++) { assert_null(stoa_tree_check(node->cores[i])); }
    for (uint64_t i = 0; i < ROOTS; i++) { assert_int_equal(stoa_stop(node, books.refs[i][0]), STOA_OK); }
    for (int round = 0; round < 3; round++) {
        assert_int_equal(stoa_sim_settle(books.sim, 1000000), STOA_OK);
        for (uint32_t i = 0; i < CORES; i++) { stoa_core_do(node->cores[i], flush, NULL); }
    }
    for (uint32_t i = 0; i < CORES; i++) {
        const stoa_core *core = node->cores[i];
        for (uint32_t place = 0; place < STOA_PLACES_MAX; place++) { assert_int_equal(core->place.abroad[place], 0); }
        assert_true(core->place.slab.used_bytes < 64 << 10);
        for (uint32_t at = 0; at < core->chunk_count * STOA_ACTOR_CHUNK; at++) {
            if (at % STOA_ACTOR_CHUNK >= core->chunks[at / STOA_ACTOR_CHUNK].used) { continue; }
            const stoa_actor *slot = stoa_actor_slot(core, at);
            assert_true(!slot->flags || slot->kind == &source_kind);
        }
    }
}

static void check_balance(stoa_node *node, bool calm)
{
    uint64_t conflated = 0;
    for (uint32_t i = 0; i < CORES; i++) {
        stoa_core_view view;
        assert_int_equal(stoa_core_look(node, i, &view), STOA_OK);
        assert_int_equal(view.queued, 0);
        conflated += view.conflated;
    }
    assert_int_equal(books.sent, books.handled + books.letters + books.told + conflated);
    if (!calm) { return; } /* a source that fails hears no answers; a turn that takes effect may be an actor's last */
    assert_int_equal(books.asked, books.answered);
    assert_int_equal(books.obeyed, books.done);
}

static uint64_t random_run(uint64_t seed)
{
    stoa_node *node;
    memset(&books, 0, sizeof books);
    make_kinds();
    bool calm = seed % 3 == 0;
    stoa_sim_options options = {.seed = seed, .cores = CORES, .observe = observe, .trace = stoa_seeds_trace()};
    if (!calm) { options.faults = stoa_sim_rough; }
    options.faults.per_million[STOA_SIM_RING_HELD] = 2000;
    options.faults.per_million[STOA_SIM_CORE_STALLED] = 2000;
    options.faults.longest_ns[STOA_SIM_RING_HELD] = STOA_US(200);
    options.faults.longest_ns[STOA_SIM_CORE_STALLED] = STOA_US(200);
    assert_int_equal(stoa_sim_new(&options, &books.sim, &node), STOA_OK);
    spawn_all(node);
    move_about(node, calm);
    stoa_sim_run(books.sim, STOA_MS(60));
    stoa_sim_faults(books.sim, NULL);
    stoa_sim_run(books.sim, STOA_S(6));
    assert_int_equal(stoa_sim_settle(books.sim, 1000000), STOA_OK);
    assert_null(stoa_sim_dead(books.sim));
    check_balance(node, calm);
    come_to_an_end(node);
    uint64_t hash = stoa_sim_hash(books.sim);
    stoa_sim_free(books.sim);
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = random_run};

static void who_moves_about_loses_nothing(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    stoa_log_level_set(STOA_LOG_OFF);
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_moves_about_loses_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
