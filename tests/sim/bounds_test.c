/* bounds_test.c - goal: what one actor does wrong, or too much of, costs itself something and not the others: memory, cascades,
 * births, topics; and nothing that is lost is lost uncounted. Method: actors that try it, in the simulator.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/bounds_probe.h"

/* --- chain: event-sourced; each message sends itself on, once or twice */

#define chain_start_FIELDS(F, S) F(S, uint64_t, left) F(S, uint64_t, ways)
#define chain_link_FIELDS(F, S)  F(S, uint64_t, left) F(S, uint64_t, ways)
#define chain_grown_FIELDS(F, S) F(S, uint64_t, by)
#define chain_total_FIELDS(F, S) F(S, uint64_t, total)
#define chain_ROWS(ROW, K)                                                 \
    ROW(K, COMMAND, start, total, "Begin with so many; tell the length.")  \
    ROW(K, CAST, link, _, "One more, and on.")                             \
    ROW(K, EVENT, grown, _, "Grown.")                                      \
    ROW(K, REPLY, total, _, "Total.")
STOA_TABLE_HERE(chain)
typedef struct chain {
    uint64_t total;
} chain;
#define chain_HEARS STOA_HEARS_NOTHING
STOA_KIND(chain, .mailbox_limit = 16)

static stoa_err go_on(stoa_turn *turn, uint64_t left, uint64_t ways)
{
    stoa_err err = STOA_OK;
    for (uint64_t i = 0; i < ways && left && !err; i++) { err = chain_send_link(turn, turn->self, (chain_link){left - 1, ways}); }
    return err;
}

static stoa_err chain_on_start(stoa_turn *turn, const chain *self, const chain_start *in, chain_total *out)
{
    out->total = self->total;
    return go_on(turn, in->left, in->ways);
}

static stoa_err chain_on_link(stoa_turn *turn, const chain *self, const chain_link *in)
{
    (void)self;
    stoa_err err = chain_emit_grown(turn, (chain_grown){1});
    return err ? err : go_on(turn, in->left, in->ways);
}

static void chain_apply_grown(chain *self, const chain_grown *event)
{
    self->total += event->by;
}

/* --- order */

/* A drain takes 256 of a ring: between the monitor and what follows it another drain begins, where they stand in the wrong order. */
static void a_monitor_is_not_overtaken_by_what_the_same_turn_sends(void **state)
{
    (void)state;
    for (uint64_t before = 250; before < 260; before++) {
        stage s = stage_open(before, 2, 0);
        stoa_ref watcher = spawn(&s, "watcher", 0), target = spawn(&s, "target", 1), sink = spawn(&s, "sink", 1);
        assert_int_equal(probe_post_aim(s.node, watcher, (probe_aim){target.at, sink.at, before}), STOA_OK);
        stoa_sim_run(s.sim, STOA_S(1));
        probe_seen seen = try(&s, watcher, TRY_LOOK, 0);
        assert_int_equal(seen.downs, 1);
        assert_int_equal(seen.reason, stoa_end_FAILED); /* GONE: it had ended before the monitor came */
        stage_close(&s);
    }
}

/* --- memory */

static void an_actor_that_takes_all_memory_leaves_others_what_messages_need(void **state)
{
    (void)state;
    stage s = stage_open(1, 2, 4 << 20);
    stoa_ref hog = spawn(&s, "hog", 0), other = spawn(&s, "other", 0), far = spawn(&s, "far", 1);
    assert_true(try(&s, hog, TRY_TAKE, 0).count > 0);
    for (uint64_t i = 0; i < 100; i++) { assert_int_equal(probe_post_nop(s.node, other, (probe_nop){i}), STOA_OK); }
    assert_int_equal(try(&s, other, TRY_LOOK, 0).nops, 100);
    assert_int_equal(probe_post_aim(s.node, far, (probe_aim){far.at, other.at, 100}), STOA_OK);
    stoa_sim_run(s.sim, STOA_S(1));
    assert_int_equal(try(&s, other, TRY_LOOK, 0).nops, 200);
    assert_int_equal(dropped(&s, 0, STOA_DROP_MEMORY), 0);
    stage_close(&s);
}

static void what_a_core_without_memory_cannot_take_in_is_counted_and_nothing_waits_behind_it(void **state)
{
    (void)state;
    stage s = stage_open(2, 1, 4 << 20);
    stoa_ref one = spawn(&s, "one", 0), other = spawn(&s, "other", 0);
    stoa_slab *slab = &s.node->cores[0]->place.slab;
    stoa_msg *held = NULL;
    for (uint32_t bytes = (512 << 10) - 64; bytes; bytes /= 2) {
        for (stoa_msg *block; (block = stoa_slab_new(slab, bytes, 0)); held = block) { block->next = held; }
    }
    assert_int_equal(probe_post_nop(s.node, one, (probe_nop){1}), STOA_OK);
    stoa_sim_run(s.sim, STOA_S(1));
    assert_int_equal(try(&s, other, TRY_LOOK, 0).nops, 0); /* what comes behind it is answered */
    assert_int_equal(dropped(&s, 0, STOA_DROP_MEMORY), 1);
    while (held) {
        stoa_msg *block = held;
        held = block->next;
        stoa_slab_free(slab, block);
    }
    assert_int_equal(probe_post_nop(s.node, one, (probe_nop){2}), STOA_OK);
    assert_int_equal(try(&s, one, TRY_LOOK, 0).nops, 1);
    assert_int_equal(dropped(&s, 0, STOA_DROP_MEMORY), 1);
    stage_close(&s);
}

/* --- cascades */

static chain_total start(stage *s, stoa_ref who, uint64_t left, uint64_t ways)
{
    chain_total out;
    assert_int_equal(chain_call_start(s->node, who, (chain_start){left, ways}, STOA_S(5), &out), STOA_OK);
    return out;
}

static void a_cascade_without_end_is_ended_by_a_refusal(void **state)
{
    (void)state;
    stage s = stage_open(4, 1, 64 << 20);
    stoa_shard *shard;
    stoa_ref who, plain = spawn(&s, "plain", 0);
    assert_int_equal(stoa_shard_open(s.node, &(stoa_shard_options){.name = "s", .durability = stoa_durability_NONE}, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &chain_kind, "chain/c", &(stoa_spawn_options){.shard = shard}, &who), STOA_OK);
    (void)start(&s, who, STOA_CASCADE_MAX, 1); /* as long as one may be */
    uint64_t most = start(&s, who, 0, 1).total;
    assert_int_equal(most, STOA_CASCADE_MAX);
    (void)start(&s, who, STOA_CASCADE_MAX + 1, 1); /* one more: its last turn has no room for that, and is refused */
    uint64_t one_more = start(&s, who, 0, 1).total - most;
    assert_int_equal(one_more, STOA_CASCADE_MAX - 1);
    assert_int_equal(dropped(&s, 0, STOA_DROP_REFUSED), 1);
    (void)start(&s, who, UINT64_MAX, 2); /* each message makes two */
    assert_true(start(&s, who, 0, 1).total - most - one_more <= STOA_CASCADE_MAX);
    (void)try(&s, plain, TRY_LOOK, 0);
    stage_close(&s);
}

/* --- what reaches a port */

static void count_deliveries(void *context, const stoa_delivery *delivery)
{
    uint64_t *timeouts = context;
    *timeouts += delivery->answer && delivery->error == STOA_E_TIMEOUT;
}

static void what_reaches_a_port_and_nobody_there_is_counted(void **state)
{
    (void)state;
    stage s = stage_open(3, 1, 0);
    stoa_ref who = spawn(&s, "who", 0);
    stoa_ports_view lost;
    stoa_port *port;
    uint64_t timeouts = 0;
    probe_try look = {TRY_LOOK, 0};
    assert_int_equal(try(&s, who, TRY_TELL_CALLER, 0).error, STOA_OK);
    (void)try(&s, who, TRY_LOOK, 0);
    stoa_ports_look(s.node, &lost);
    assert_int_equal(lost.dropped[STOA_DROP_NO_HANDLER], 1);
    assert_int_equal(stoa_port_open(s.node, "p", &port), STOA_OK);
    assert_int_equal(stoa_port_ask(port, who, &probe_rows[probe_ROW_try], &look, 0, STOA_MS(1), 7), STOA_OK);
    stoa_port_flush(port);
    stoa_sim_run(s.sim, STOA_US(1)); /* answered, and not yet read */
    stoa_sim_run(s.sim, STOA_MS(10));
    stoa_ask *ask = &port->asks.at[1];
    stoa_asks_drop(&port->asks, ask); /* as its deadline does, where it is looked for first */
    (void)stoa_port_poll(port, count_deliveries, &timeouts, 10);
    stoa_ports_look(s.node, &lost);
    assert_int_equal(lost.dropped[STOA_DROP_LATE], 1);
    stoa_port_close(port);
    stage_close(&s);
}

static void a_port_looks_at_its_asks_only_when_one_may_be_due(void **state)
{
    (void)state;
    stage s = stage_open(5, 1, 0);
    stoa_ref nobody = spawn(&s, "who", 0);
    stoa_port *port;
    uint64_t timeouts = 0;
    probe_try look = {TRY_LOOK, 0};
    assert_int_equal(stoa_port_open(s.node, "p", &port), STOA_OK);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(stoa_port_ask(port, nobody, &probe_rows[probe_ROW_try], &look, 0, STOA_MS(100), i), STOA_OK);
    }
    (void)stoa_port_poll(port, count_deliveries, &timeouts, 10);
    port->asks.at[5].due_ns = 1; /* who looks at it takes it for due */
    (void)stoa_port_poll(port, count_deliveries, &timeouts, 10);
    assert_int_equal(timeouts, 0);
    stoa_sim_run(s.sim, STOA_MS(1000));
    (void)stoa_port_poll(port, count_deliveries, &timeouts, 1000);
    assert_true(timeouts <= 10);
    stoa_port_close(port);
    stage_close(&s);
}

/* --- births */

static void actors_that_actors_spawn_are_bounded_by_the_memory_of_the_core(void **state)
{
    (void)state;
    stage s = stage_open(6, 1, 4 << 20);
    stoa_ref mother = spawn(&s, "mother", 0);
    uint64_t born = 0;
    probe_seen seen = {0};
    while (!seen.error && born < 100000) {
        seen = try(&s, mother, TRY_BEAR, 500);
        born += seen.count;
    }
    assert_int_equal(seen.error, STOA_E_FULL);
    assert_in_range(born, 1000, (4 << 20) / sizeof(kid));
    assert_int_equal(stoa_stop(s.node, mother), STOA_OK); /* they go with her, and there is room again */
    stoa_sim_run(s.sim, STOA_S(1));
    mother = spawn(&s, "other", 0);
    assert_int_equal(try(&s, mother, TRY_BEAR, 1000).error, STOA_OK);
    stage_close(&s);
}

/* --- looking in */

static void count_views(void *context, const stoa_actor_view *view)
{
    (void)view;
    ++*(uint64_t *)context;
}

/* Whoever looks sees all of them, however many goes that takes the core. */
static void a_look_in_many_slices_sees_everybody_once(void **state)
{
    (void)state;
    enum { KIDS = 10000 };
    stage s = stage_open(9, 1, 64 << 20);
    stoa_ref mother = spawn(&s, "mother", 0);
    uint64_t seen = 0, mothers = 0;
    stoa_core_view view;
    for (int i = 0; i < KIDS / 1000; i++) { assert_int_equal(try(&s, mother, TRY_BEAR, 1000).error, STOA_OK); }
    stoa_sim_run(s.sim, STOA_S(1));
    assert_int_equal(stoa_actors(s.node, NULL, count_views, &seen), STOA_OK);
    assert_int_equal(stoa_actors(s.node, "probe/*", count_views, &mothers), STOA_OK);
    assert_int_equal(seen, KIDS + 1);
    assert_int_equal(mothers, 1);
    assert_int_equal(stoa_core_look(s.node, 0, &view), STOA_OK);
    assert_int_equal(view.actors, KIDS + 1);
    assert_int_equal(view.queued, 0);
    stage_close(&s);
}

/* More kinds than have histograms of their own: the rest share one, and none is lost. */
static void note_times(void *context, const stoa_times_view *view)
{
    uint64_t *counts = context; /* kinds, and what the shared one has */
    counts[0]++;
    if (strcmp(view->kind, "(others)") == 0) { counts[1] = view->turns; }
}

static void kinds_beyond_the_last_histogram_share_one(void **state)
{
    (void)state;
    enum { KINDS = STOA_TIMED_KINDS + 20 };
    static stoa_kind kinds[KINDS];
    static char names[KINDS][32];
    uint64_t counts[2] = {0};
    stoa_metrics *metrics;
    stoa_node *node;
    assert_int_equal(stoa_metrics_new(&metrics), STOA_OK);
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1, .seed = 1, .metrics = metrics, .time_every = 1}, &node), STOA_OK);
    for (int i = 0; i < KINDS; i++) {
        char name[STOA_NAME_MAX + 1];
        stoa_ref ref;
        probe_seen out;
        (void)snprintf(names[i], sizeof names[i], "probe%d", i);
        kinds[i] = probe_kind;
        kinds[i].name = names[i];
        (void)snprintf(name, sizeof name, "%s/a", names[i]);
        assert_int_equal(stoa_spawn(node, &kinds[i], name, NULL, &ref), STOA_OK);
        for (int k = 0; k < 20; k++) { assert_int_equal(probe_call_try(node, ref, (probe_try){0}, STOA_S(30), &out), STOA_OK); }
    }
    assert_int_equal(stoa_kind_times(node, note_times, counts), STOA_OK);
    assert_int_equal(counts[0], STOA_TIMED_KINDS);
    assert_true(counts[1] > 0);
    stoa_node_close(node, 0);
    stoa_metrics_free(metrics);
}

/* --- topics and groups */

static void who_has_no_name_joins_no_group(void **state)
{
    (void)state;
    stage s = stage_open(7, 1, 0);
    stoa_ref mother = spawn(&s, "mother", 0);
    joined = STOA_OK;
    assert_int_equal(try(&s, mother, TRY_BEAR, 1).error, STOA_OK);
    stoa_sim_run(s.sim, STOA_S(1));
    assert_int_equal(joined, STOA_E_INVALID);
    stage_close(&s);
}

static void note_published(void *context, const stoa_topic_view *view)
{
    *(uint64_t *)context = view->published;
}

static uint64_t published(stage *s, const char *topic)
{
    uint64_t count = 0;
    assert_int_equal(stoa_topics(s->node, topic, note_published, &count), STOA_OK);
    return count;
}

static void a_refused_turn_binds_nothing(void **state)
{
    (void)state;
    stage s = stage_open(8, 1, 0);
    stoa_ref who = spawn(&s, "who", 0);
    probe_seen out;
    assert_int_equal(probe_call_try(s.node, who, (probe_try){TRY_BIND_REFUSED, 0}, STOA_S(5), &out), STOA_E_INVALID);
    assert_int_equal(try(&s, who, TRY_PUBLISH, 0).error, STOA_E_INVALID); /* bound to nothing */
    (void)try(&s, who, TRY_BIND, 0);
    assert_int_equal(probe_call_try(s.node, who, (probe_try){TRY_BIND_REFUSED, 0}, STOA_S(5), &out), STOA_E_INVALID);
    assert_int_equal(try(&s, who, TRY_PUBLISH, 0).error, STOA_OK);
    assert_int_equal(published(&s, "one"), 1);
    assert_int_equal(published(&s, "two") + published(&s, "three"), 0);
    stage_close(&s);
}

static void count_topics(void *context, const stoa_topic_view *view)
{
    (void)view;
    ++*(uint64_t *)context;
}

/* Heard or not, refused or not: what nobody is bound to goes back, and who is bound keeps theirs. */
static void topics_that_nobody_uses_are_forgotten(void **state)
{
    (void)state;
    enum { TOPICS = 20000 };
    stage s = stage_open(10, 2, 0);
    stoa_ref who = spawn(&s, "who", 0), keeper = spawn(&s, "keeper", 1);
    stoa_port *port;
    uint64_t heard = 0, topics = 0;
    assert_int_equal(stoa_port_open(s.node, "p", &port), STOA_OK);
    assert_int_equal(stoa_port_subscribe(port, "order.>"), STOA_OK);
    (void)try(&s, keeper, TRY_BIND, 0);
    for (uint64_t i = 0; i < TOPICS; i++) {
        (void)try(&s, who, TRY_BIND_NEW, i);
        heard += stoa_port_poll(port, count_deliveries, &(uint64_t){0}, 100);
    }
    assert_int_equal(heard, TOPICS);
    assert_int_equal(stoa_topics(s.node, NULL, count_topics, &topics), STOA_OK);
    assert_in_range(topics, 2, 100);
    assert_int_equal(try(&s, keeper, TRY_PUBLISH, 0).error, STOA_OK);
    assert_int_equal(published(&s, "one"), 1);
    stoa_port_close(port);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_monitor_is_not_overtaken_by_what_the_same_turn_sends),
        cmocka_unit_test(an_actor_that_takes_all_memory_leaves_others_what_messages_need),
        cmocka_unit_test(what_a_core_without_memory_cannot_take_in_is_counted_and_nothing_waits_behind_it),
        cmocka_unit_test(a_cascade_without_end_is_ended_by_a_refusal),
        cmocka_unit_test(what_reaches_a_port_and_nobody_there_is_counted),
        cmocka_unit_test(a_port_looks_at_its_asks_only_when_one_may_be_due),
        cmocka_unit_test(actors_that_actors_spawn_are_bounded_by_the_memory_of_the_core),
        cmocka_unit_test(a_look_in_many_slices_sees_everybody_once),
        cmocka_unit_test(kinds_beyond_the_last_histogram_share_one),
        cmocka_unit_test(who_has_no_name_joins_no_group),
        cmocka_unit_test(a_refused_turn_binds_nothing),
        cmocka_unit_test(topics_that_nobody_uses_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
