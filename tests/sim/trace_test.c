/* trace_test.c - goal: a trace is the whole tree of what followed from its root, each turn below the one that caused it, and
 * nothing else; being traced changes nothing. Method: actors on two cores and in a shard that send in every way there is, in the
 * simulator; each way's span is looked for below its parent, and the run's hash is that of the run without a trace.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

/* --- keeper: event-sourced; its answers and what it publishes wait behind the wall */

#define keeper_keep_FIELDS(F, S)   F(S, uint64_t, by)
#define keeper_kept_FIELDS(F, S)   F(S, uint64_t, sum)
#define keeper_share_FIELDS(F, S)  F(S, uint64_t, by)
#define keeper_added_FIELDS(F, S)  F(S, uint64_t, by)
#define keeper_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, keep, kept, "Keep, and tell the other.")                                                           \
    ROW(K, REPLY, kept, _, "The sum.")                                                                                 \
    ROW(K, CAST, share, _, "Of the other.")                                                                            \
    ROW(K, EVENT, added, _, "It was kept.")
STOA_TABLE_HERE(keeper)
#define keeper_FIELDS(F, S) F(S, uint64_t, sum) F(S, stoa_text30, note)
STOA_RECORD_HERE(keeper)
#define keeper_HEARS STOA_HEARS_NOTHING
STOA_KIND(keeper, .mailbox_limit = 64, .state_type = STOA_TYPE(keeper))

static stoa_err keeper_on_keep(stoa_turn *turn, const keeper *self, const keeper_keep *in, keeper_kept *out)
{
    if (in->by == 0) { return STOA_E_INVALID; }
    out->sum = self->sum + in->by;
    stoa_err err = keeper_emit_added(turn, (keeper_added){in->by});
    return err ? err : keeper_send_share(turn, stoa_turn_peer(turn, 3 - stoa_turn_stream(turn)), (keeper_share){1});
}
static stoa_err keeper_on_share(stoa_turn *turn, const keeper *self, const keeper_share *in)
{
    (void)self;
    return keeper_emit_added(turn, (keeper_added){in->by});
}
static void keeper_apply_added(keeper *self, const keeper_added *event)
{
    self->sum += event->by;
    self->note = (stoa_text30)stoa_text("kept");
}

/* --- hub: begins it all; ear: takes what comes */

#define ear_word_FIELDS(F, S)  F(S, uint64_t, n)
#define ear_chain_FIELDS(F, S) F(S, uint64_t, left)
#define ear_again_FIELDS       STOA_NO_FIELDS
#define ear_ROWS(ROW, K)                                                                                               \
    ROW(K, CAST, word, _, "Nothing follows.")                                                                          \
    ROW(K, CAST, chain, _, "One after the other.")                                                                     \
    ROW(K, CAST, again, _, "A timer that never ends.")
STOA_TABLE_HERE(ear)
#define hub_go_FIELDS   STOA_NO_FIELDS
#define hub_late_FIELDS STOA_NO_FIELDS
#define hub_beat_FIELDS STOA_NO_FIELDS
#define hub_rest_FIELDS STOA_NO_FIELDS
#define hub_news_FIELDS(F, S) F(S, uint64_t, n)
#define hub_ROWS(ROW, K)                                                                                               \
    ROW(K, CAST, go, _, "Send in every way.")                                                                          \
    ROW(K, CAST, late, _, "A timer.")                                                                                  \
    ROW(K, CAST, beat, _, "A periodic one.")                                                                           \
    ROW(K, CAST, rest, _, "Nothing follows.")                                                                          \
    ROW(K, TOPIC, news, _, "For all ears.")
STOA_TABLE_HERE(hub)

typedef struct ear {
    uint64_t heard;
} ear;
#define ear_HEARS(HEAR, K) HEAR(K, hub, news)
static stoa_err listen(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    return stoa_turn_subscribe(turn, "hub.*");
}
STOA_PLAIN_KIND(ear, .mailbox_limit = 64, .start = listen)
static stoa_err ear_on_word(stoa_turn *turn, ear *self, const ear_word *in)
{
    (void)turn;
    self->heard += in->n;
    return STOA_OK;
}
static stoa_err ear_on_chain(stoa_turn *turn, ear *self, const ear_chain *in)
{
    self->heard++;
    return in->left ? ear_send_chain(turn, turn->self, (ear_chain){in->left - 1}) : STOA_OK;
}
static stoa_err ear_on_again(stoa_turn *turn, ear *self, const ear_again *in)
{
    self->heard++;
    return ear_after_again(turn, STOA_MS(1), *in, NULL);
}
static stoa_err ear_on_hub_news(stoa_turn *turn, ear *self, const hub_news *in)
{
    (void)turn;
    self->heard += in->n;
    return STOA_OK;
}

typedef struct hub {
    uint64_t answers;
    stoa_timer beat;
} hub;
#define hub_HEARS(HEAR, K) HEAR(K, keeper, kept)
static stoa_err bind(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    return stoa_turn_bind(turn, 0, "hub.news");
}
STOA_PLAIN_KIND(hub, .mailbox_limit = 64, .start = bind)
static stoa_err hub_on_go(stoa_turn *turn, hub *self, const hub_go *in)
{
    (void)in;
    stoa_err err = ear_send_word(turn, stoa_turn_find(turn, "ear/here"), (ear_word){1});
    if (!err) { err = ear_send_word(turn, stoa_turn_find(turn, "ear/there"), (ear_word){2}); }
    if (!err) { err = keeper_ask_keep(turn, stoa_turn_find(turn, "keeper/a"), (keeper_keep){5}, STOA_S(10), 1); }
    if (!err) { err = keeper_ask_keep(turn, stoa_turn_find(turn, "keeper/a"), (keeper_keep){0}, STOA_S(10), 2); }
    if (!err) { err = hub_publish_news(turn, 0, &(hub_news){3}); }
    if (!err) { err = hub_after_late(turn, STOA_MS(20), (hub_late){0}, NULL); }
    if (!err && !self->beat.at) { err = hub_every_beat(turn, STOA_MS(50), (hub_beat){0}, &self->beat); }
    return err;
}
static stoa_err hub_on_late(stoa_turn *turn, hub *self, const hub_late *in)
{
    (void)self;
    (void)in;
    return hub_send_rest(turn, turn->self, (hub_rest){0});
}
static stoa_err hub_on_beat(stoa_turn *turn, hub *self, const hub_beat *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}
static stoa_err hub_on_rest(stoa_turn *turn, hub *self, const hub_rest *in)
{
    return hub_on_beat(turn, self, (const hub_beat *)in);
}
static stoa_err hub_on_keeper_kept(stoa_turn *turn, hub *self, const keeper_kept *in)
{
    (void)in;
    self->answers++;
    return turn->token == 1 ? hub_send_rest(turn, turn->self, (hub_rest){0}) : STOA_OK;
}

/* --- the world */

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_ref hub, ear;
} world;

enum { SPANS_MAX = 3 * STOA_SPANS };
typedef struct seen {
    stoa_span at[SPANS_MAX];
    uint32_t count;
} seen;

static void spawn(world *w, const stoa_kind *kind, const char *name, uint32_t core, stoa_ref *out)
{
    assert_int_equal(stoa_spawn(w->node, kind, name, &(stoa_spawn_options){.core = core}, out), STOA_OK);
}

static void world_open(world *w, uint64_t seed)
{
    stoa_shard *shard;
    stoa_ref ref;
    static unsigned worlds; /* disks outlive their simulator: each has its own */
    char path[32];
    (void)snprintf(path, sizeof path, "sim:trace%u", worlds++);
    printf("seed %llu\n", (unsigned long long)seed);
    stoa_sim_options options = {.seed = seed, .cores = 2, .kinds = STOA_KINDS(&keeper_kind)};
    assert_int_equal(stoa_sim_new(&options, &w->sim, &w->node), STOA_OK);
    stoa_shard_options with = {.name = "s", .core = 1, .durability = stoa_durability_DISK, .journal = &stoa_journal_sim,
                               .path = path};
    assert_int_equal(stoa_shard_open(w->node, &with, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(w->node, &keeper_kind, "keeper/a", &(stoa_spawn_options){.shard = shard}, &ref), STOA_OK);
    assert_int_equal(stoa_spawn(w->node, &keeper_kind, "keeper/b", &(stoa_spawn_options){.shard = shard}, &ref), STOA_OK);
    spawn(w, &hub_kind, "hub/main", 0, &w->hub);
    spawn(w, &ear_kind, "ear/here", 0, &w->ear);
    spawn(w, &ear_kind, "ear/there", 1, &ref);
    stoa_sim_run(w->sim, STOA_MS(5));
}

static void world_go(world *w)
{
    assert_int_equal(hub_post_go(w->node, w->hub, (hub_go){0}), STOA_OK);
    stoa_sim_run(w->sim, STOA_MS(400));
}

static void see(void *context, const stoa_span *span)
{
    seen *s = context;
    assert_true(s->count < SPANS_MAX);
    s->at[s->count++] = *span;
}

static void spans_of(world *w, uint64_t trace, seen *out)
{
    out->count = 0;
    assert_int_equal(stoa_spans(w->node, trace, see, out), STOA_OK);
}

/* The only span of that message at that actor, below parent (0: any). */
static const stoa_span *the(const seen *s, const char *message, const char *name, uint64_t parent)
{
    const stoa_span *found = NULL;
    for (uint32_t i = 0; i < s->count; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "%s.%s", s->at[i].row->kind, s->at[i].row->name);
        if (strcmp(text, message) != 0 || strcmp(s->at[i].name, name) != 0) { continue; }
        if (parent && s->at[i].parent != parent) { continue; }
        if (found) { fail_msg("%s at %s twice", message, name); }
        found = &s->at[i];
    }
    if (!found) { fail_msg("no %s at %s", message, name); }
    return found;
}

static seen list;

static void a_trace_is_the_whole_tree(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        world w;
        world_open(&w, seed);
        assert_int_equal(stoa_trace_next(w.node, "hub.go"), STOA_OK);
        world_go(&w);
        world_go(&w); /* of no trace */
        assert_int_equal(stoa_trace_last(w.node), 1);
        assert_int_equal(stoa_trace_awaited(w.node), 1);
        spans_of(&w, 0, &list);
        uint32_t all = list.count;
        spans_of(&w, 1, &list);
        assert_int_equal(list.count, all);

        const stoa_span *root = the(&list, "hub.go", "hub/main", 0);
        uint64_t id = root->span;
        assert_int_equal(root->parent, 0);
        assert_true(root->sent_ns && root->sent_ns <= root->began_ns);
        assert_int_equal(the(&list, "ear.word", "ear/here", id)->core, 0);
        assert_int_equal(the(&list, "ear.word", "ear/there", id)->core, 1);
        assert_int_equal(the(&list, "hub.news", "ear/here", id)->core, 0);
        assert_int_equal(the(&list, "hub.news", "ear/there", id)->core, 1);

        const stoa_span *keeps[2] = {NULL, NULL}; /* one is refused */
        for (uint32_t i = 0; i < list.count; i++) {
            if (list.at[i].row == &keeper_rows[keeper_ROW_keep]) { keeps[list.at[i].outcome != STOA_OK] = &list.at[i]; }
        }
        assert_true(keeps[0] && keeps[1]);
        assert_int_equal(keeps[0]->parent, id);
        assert_int_equal(keeps[1]->parent, id);
        assert_int_equal(keeps[1]->outcome, STOA_E_INVALID);
        (void)the(&list, "keeper.share", "keeper/b", keeps[0]->span);
        const stoa_span *kept = the(&list, "keeper.kept", "hub/main", keeps[0]->span);
        assert_int_equal(kept->error, STOA_OK);
        assert_true(kept->began_ns > keeps[0]->ended_ns); /* the wall's wait is in it */
        assert_int_equal(kept->sent_ns, keeps[0]->ended_ns);
        assert_int_equal(the(&list, "keeper.kept", "hub/main", keeps[1]->span)->error, STOA_E_INVALID);
        (void)the(&list, "hub.rest", "hub/main", kept->span);

        const stoa_span *late = the(&list, "hub.late", "hub/main", id);
        assert_true(late->sent_ns >= root->began_ns + STOA_MS(20)); /* when it was due */
        (void)the(&list, "hub.rest", "hub/main", late->span);
        assert_int_equal(list.count, 13); /* and nothing else: no beat, no second go */
        stoa_sim_free(w.sim);
    }
}

static void what_reaches_nobody_is_in_it(void **state)
{
    (void)state;
    world w;
    world_open(&w, 7);
    assert_int_equal(stoa_trace_next(w.node, "ear/here"), STOA_OK);
    stoa_trace_cancel(w.node);
    world_go(&w);
    assert_int_equal(stoa_trace_last(w.node), 0);
    stoa_trace_every(w.node, 1);
    assert_int_equal(ear_post_chain(w.node, w.ear, (ear_chain){2}), STOA_OK);
    stoa_sim_run(w.sim, STOA_MS(10));
    stoa_trace_every(w.node, 0);
    spans_of(&w, stoa_trace_last(w.node), &list);
    uint64_t last = stoa_trace_last(w.node);
    bool found = false;
    for (uint64_t trace = 1; trace <= last && !found; trace++) {
        spans_of(&w, trace, &list);
        found = list.count == 3 && list.at[0].row == &ear_rows[ear_ROW_chain];
        if (!found) { continue; }
        assert_int_equal(list.at[1].parent, list.at[0].span);
        assert_int_equal(list.at[2].parent, list.at[1].span);
    }
    assert_true(found); /* the later turns of a trace begin no trace of their own */
    stoa_sim_free(w.sim);
}

static void the_ring_of_spans_is_bounded(void **state)
{
    (void)state;
    enum { CHAIN = STOA_SPANS + 100 };
    world w;
    world_open(&w, 11);
    assert_int_equal(stoa_trace_next(w.node, "*.chain"), STOA_OK);
    assert_int_equal(ear_post_chain(w.node, w.ear, (ear_chain){CHAIN}), STOA_OK);
    stoa_sim_run(w.sim, STOA_S(2));
    spans_of(&w, 1, &list);
    assert_int_equal(list.count, STOA_SPANS);
    for (uint32_t i = 1; i < list.count; i++) { assert_int_equal(list.at[i].parent, list.at[i - 1].span); }
    assert_int_equal(list.at[0].parent & UINT32_MAX, CHAIN + 1 - STOA_SPANS); /* the oldest are gone */
    stoa_sim_free(w.sim);
}

static void a_timer_without_end_is_a_trace_with_one(void **state)
{
    (void)state;
    world w;
    world_open(&w, 13);
    assert_int_equal(stoa_trace_next(w.node, "*.again"), STOA_OK);
    assert_int_equal(ear_post_again(w.node, w.ear, (ear_again){0}), STOA_OK);
    stoa_sim_run(w.sim, STOA_MS(100));
    spans_of(&w, 1, &list);
    assert_int_equal(list.count, 17); /* the root, and 16 timers */
    stoa_sim_free(w.sim);
}

static void a_root_that_is_waited_for_may_be_of_another_trace(void **state)
{
    (void)state;
    world w;
    world_open(&w, 17);
    assert_int_equal(stoa_trace_next(w.node, "*.chain"), STOA_OK);
    assert_int_equal(ear_post_chain(w.node, w.ear, (ear_chain){UINT32_MAX}), STOA_OK);
    stoa_sim_run(w.sim, STOA_MS(1));
    assert_int_equal(stoa_trace_next(w.node, "*.chain"), STOA_OK);
    stoa_sim_run(w.sim, STOA_MS(1));
    assert_int_equal(stoa_trace_awaited(w.node), 2);
    spans_of(&w, 2, &list);
    assert_true(list.count > 1);
    stoa_sim_free(w.sim);
}

static uint64_t hash_of(uint64_t seed, const char *pattern)
{
    world w;
    world_open(&w, seed);
    if (pattern) { assert_int_equal(stoa_trace_next(w.node, pattern), STOA_OK); }
    world_go(&w);
    uint64_t hash = stoa_sim_hash(w.sim);
    stoa_sim_free(w.sim);
    return hash;
}

static void being_traced_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        assert_int_equal(hash_of(seed, NULL), hash_of(seed, "hub.go"));
        assert_int_equal(hash_of(seed, NULL), hash_of(seed, "of/nobody"));
    }
}

static void a_state_is_printed_by_its_type(void **state)
{
    (void)state;
    world w;
    stoa_buf out = STOA_BUF_GROWING;
    world_open(&w, 3);
    world_go(&w);
    assert_int_equal(stoa_inspect(w.node, "keeper/a", &out), STOA_OK);
    stoa_buf_puts(&out, "");
    assert_string_equal(out.at, "{\"sum\":5,\"note\":\"kept\"}");
    assert_int_equal(stoa_inspect(w.node, "hub/main", &out), STOA_E_UNSUPPORTED);
    stoa_buf_deinit(&out);
    stoa_sim_free(w.sim);
}

static void a_pattern_too_long_is_refused(void **state)
{
    (void)state;
    world w;
    char pattern[STOA_TRACE_PATTERN_MAX + 2];
    memset(pattern, 'x', sizeof pattern);
    pattern[sizeof pattern - 1] = '\0';
    world_open(&w, 5);
    assert_int_equal(stoa_trace_next(w.node, pattern), STOA_E_INVALID);
    assert_int_equal(stoa_trace_next(w.node, pattern + 1), STOA_OK);
    stoa_sim_free(w.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_is_the_whole_tree),
        cmocka_unit_test(what_reaches_nobody_is_in_it),
        cmocka_unit_test(the_ring_of_spans_is_bounded),
        cmocka_unit_test(a_timer_without_end_is_a_trace_with_one),
        cmocka_unit_test(a_root_that_is_waited_for_may_be_of_another_trace),
        cmocka_unit_test(being_traced_changes_nothing),
        cmocka_unit_test(a_state_is_printed_by_its_type),
        cmocka_unit_test(a_pattern_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
