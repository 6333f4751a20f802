/* remote_mail_random_test.c - goal: mail between shards of two nodes takes effect once or comes back once over their links, whatever
 * the network and the nodes do. Method: two simulated nodes, each with a remote (cluster/remote/remote.h), over fault+sim: frames are
 * lost, doubled, late and out of order, the way is cut, mail finds no room, nodes die and come again with what their disks have, peers are paused and
 * dropped. When the faults end all money is there, every channel runs with nothing waiting, and a replay of each log gives the live
 * state.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/remote/remote.h"
#include "tests/sim/purse_nodes.h"
#include "transport/fault/link.h"
#include "transport/sim/link.h"

enum { STEPS = 24, STEPS_A_TICK = 4 };
#define TICK_NS STOA_US(500)

typedef struct world {
    purse_side sides[SIDES];
    stoa_remote *remotes[SIDES];
    uint64_t lives[SIDES];
    uint32_t backlog_bytes; /* few in half of the seeds: mail that finds no room is dropped and comes again */
    stoa_clock_virtual clock;
    stoa_sim_net *net;
    char uris[SIDES][192];
} world;

static uint64_t dice(world *w)
{
    return purse_dice(w->sides);
}

static void meet(world *w, uint32_t i)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    stoa_remote_link link = {.uri = w->uris[i], .link.listen = i == 0, .heartbeat_ns = STOA_MS(5), .silence_max_ns = STOA_MS(40)};
    stoa_remote_options options = {.node = w->sides[i].node,
                                   .name = node_names[i],
                                   .incarnation = ++w->lives[i],
                                   .epoch = w->lives[i],
                                   .kinds = kinds,
                                   .links = &link,
                                   .link_count = 1,
                                   .lost_ns = STOA_MS(50),
                                   .mail_backlog_bytes = w->backlog_bytes};
    stoa_err err = stoa_remote_new(&options, &w->remotes[i]);
    STOA_ASSERT(!err || err == STOA_E_NOMEM); /* a core's memory is out for a while: with the next tick again */
}

static void crash(world *w, uint32_t i)
{
    if (w->remotes[i]) { stoa_remote_abandon(w->remotes[i]); }
    w->remotes[i] = NULL;
    purse_side_crash(&w->sides[i]);
    meet(w, i);
}

static void tick(world *w)
{
    w->clock.now += TICK_NS;
    for (uint32_t i = 0; i < SIDES; i++) {
        stoa_sim *sim = w->sides[i].sim;
        stoa_sim_run(sim, TICK_NS);
        if (stoa_sim_dead(sim)) { crash(w, i); }
        if (!w->remotes[i]) { meet(w, i); }
        for (uint32_t steps = 0; w->remotes[i] && steps < STEPS_A_TICK && stoa_remote_step(w->remotes[i]) <= stoa_sim_now(sim); steps++) {}
    }
}

static void step(world *w)
{
    purse_side *s = &w->sides[dice(w) % SIDES];
    uint32_t at = (uint32_t)(dice(w) % SIDES);
    if (!stoa_sim_dead(s->sim)) { purse_act(w->sides, s); }
    if (dice(w) % 12 == 0) { crash(w, at); }
    if (dice(w) % 8 == 0 && w->remotes[at]) { (void)stoa_remote_drop(w->remotes[at], node_names[1 - at]); }
    if (dice(w) % 8 == 0 && w->remotes[at]) { (void)stoa_remote_pause(w->remotes[at], node_names[1 - at], dice(w) % 2); }
    if (dice(w) % 24 == 0 && !stoa_sim_dead(s->sim)) { (void)stoa_shard_drop(s->shards[dice(w) % SHARDS], 0); }
    for (uint32_t ticks = (uint32_t)(dice(w) % 64); ticks; ticks--) { tick(w); }
}

static void no_more_faults(world *w)
{
    (void)snprintf(w->uris[1], sizeof w->uris[1], "sim://mail/hub");
    for (uint32_t i = 0; i < SIDES; i++) {
        stoa_sim_faults(w->sides[i].sim, NULL);
        if (w->remotes[i]) { (void)stoa_remote_pause(w->remotes[i], node_names[1 - i], false); }
    }
    crash(w, 1); /* it comes back over a network that works */
}

static void come_to_rest(world *w)
{
    for (uint32_t rounds = 0; rounds == 0 || !purses_at_rest(w->sides); rounds++) {
        STOA_ASSERT(rounds < 2000);
        for (uint32_t ticks = 0; ticks < 20; ticks++) { tick(w); }
    }
}

/* The connection stays: what found no room while nothing was sent comes again nevertheless. */
static void crowd(world *w)
{
    purse_side *s = &w->sides[dice(w) % SIDES];
    const char *to = node_names[s == w->sides];
    stoa_remote *remote = w->remotes[s - w->sides];
    (void)stoa_remote_pause(remote, to, true);
    for (uint32_t acts = 8; acts; acts--) {
        purse_act(w->sides, s);
        for (uint32_t ticks = 0; ticks < 20; ticks++) { tick(w); }
    }
    (void)stoa_remote_pause(remote, to, false);
}

static void open_world(world *w, uint64_t seed)
{
    stoa_clock_virtual_init(&w->clock, 1);
    stoa_sim_net_options net = {
        .seed = seed, .clock = &w->clock.clock, .delay_ns_min = STOA_US(50), .delay_ns_max = STOA_US(900)};
    STOA_ASSERT(stoa_sim_net_new("mail", &net, &w->net) == STOA_OK);
    for (uint32_t i = 0; i < SIDES; i++) { purse_side_open(&w->sides[i], seed, i); }
    (void)snprintf(w->uris[0], sizeof w->uris[0], "sim://mail/hub");
    (void)snprintf(w->uris[1], sizeof w->uris[1], "fault+sim://mail/hub?seed=%llu&loss=%u&dup=%u&reorder=%u&jitter_us=%u&cut_every_ms=%u&cut_for_ms=%u",
                   (unsigned long long)seed, (unsigned)(dice(w) % 30), (unsigned)(dice(w) % 30), (unsigned)(dice(w) % 30),
                   (unsigned)(dice(w) % 2000), 20 + (unsigned)(dice(w) % 200), (unsigned)(dice(w) % 80));
    w->backlog_bytes = dice(w) % 2 ? 1 : 0;
    for (uint32_t i = 0; i < SIDES; i++) { meet(w, i); }
}

static uint64_t run(uint64_t seed)
{
    static world w;
    memset(&w, 0, sizeof w);
    open_world(&w, seed);
    for (uint32_t steps = 8 + (uint32_t)(dice(&w) % STEPS); steps; steps--) { step(&w); }
    no_more_faults(&w);
    come_to_rest(&w);
    crowd(&w);
    come_to_rest(&w);
    purses_check(w.sides);
    for (uint32_t i = 0; i < SIDES; i++) { stoa_remote_stop(w.remotes[i], 0); }
    uint64_t hash = purses_close(w.sides);
    stoa_sim_net_free(w.net);
    return hash;
}

static const stoa_seeds seeds = {.count = 100, .deep = 10000, .run = run};

static void mail_between_nodes_takes_effect_once_over_any_network(void **context)
{
    (void)context;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(mail_between_nodes_takes_effect_once_over_any_network)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
