/* remote_random_test.c - goal: actors that are on different nodes keep the promises of actors that are not. Method: two or three
 * simulated nodes over a network that loses, doubles, delays, reorders and is cut, from one seed; flies that come, go, fail, send, ask,
 * link and monitor each other by name wherever they are; processes that die without a word, come back, pause, drop connections. Books are
 * kept of everything, and compared:
 *
 *   - between two flies order is kept on each lane, and nothing is handled twice
 *   - an ask is answered once, not after its deadline, wherever its asker's process lived on
 *   - who monitors hears of an end once, and no monitor is left when all that it watched is gone
 *   - what is sent when the network is well again arrives; nobody's names are left of who is gone
 *   - no frame was one that cannot be; nothing is left under way
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

#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "cluster/remote/remote.h"
#include "runtime/kit.h"
#include "runtime/sim.h"
#include "transport/fault/link.h"
#include "transport/sim/link.h"

enum { NODES_MAX = 3, FLIES = 6, KEEPERS = NODES_MAX, SLOTS = FLIES + KEEPERS, ENTRIES_MAX = 1 << 14, WATCHES_MAX = 1 << 11 };
enum { LATE_MS = 3, LANES = 2, LIVES_MAX = 512 };

#define fly_buzz_FIELDS(F, S)  F(S, uint64_t, id) F(S, uint64_t, from)
#define fly_zap_FIELDS(F, S)   F(S, uint64_t, id) F(S, uint64_t, from)
#define fly_back_FIELDS(F, S)  F(S, uint64_t, id) F(S, uint64_t, from)
#define fly_query_FIELDS(F, S) F(S, uint64_t, id) F(S, uint64_t, from)
#define fly_told_FIELDS(F, S)  F(S, uint64_t, id)
#define fly_wake_FIELDS(F, S)  F(S, uint64_t, what) F(S, uint64_t, whom)
#define fly_news_FIELDS(F, S)  F(S, uint64_t, id) F(S, uint64_t, from)
#define fly_say_FIELDS(F, S)   F(S, uint64_t, id)
#define fly_ROWS(ROW, K)                                           \
    ROW(K, CAST, buzz, _, "From one to another.")                  \
    ROW(K, CONTROL, zap, _, "The same, ahead of others.")          \
    ROW(K, CAST, back, _, "To who sent a buzz.")                   \
    ROW(K, COMMAND, query, told, "Answered, refused or forgotten.") \
    ROW(K, REPLY, told, _, "The query's id.")                      \
    ROW(K, CAST, wake, _, "Do something.")                         \
    ROW(K, TOPIC, news, _, "From a keeper to all keepers.")         \
    ROW(K, CAST, say, _, "Publish.")
STOA_TABLE_HERE(fly)

typedef struct fly {
    uint64_t slot;
    uint64_t who; /* of all flies that ever were: several nodes may have one of a name */
} fly;
typedef fly fly_args;

#define fly_HEARS(HEAR, K) HEAR(K, fly, told) HEAR(K, fly, news) HEAR(K, stoa_system, down)
static stoa_err fly_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(fly, .mailbox_limit = 32, .start = fly_start, .args_bytes = sizeof(fly_args))

/* --- the books */

typedef struct asked {
    uint64_t due_ns;
    uint8_t node, answers;
    uint32_t life; /* of the process that asked */
    bool cast;     /* no ask */
} asked;

typedef struct watch {
    uint64_t id;
    uint32_t life;
    uint8_t node, downs;
} watch;

typedef struct node {
    stoa_sim *sim;
    stoa_node *node;
    stoa_remote *remote;
    uint64_t incarnation;
    uint32_t losts, carried;
    stoa_ref keeper;
} node;

static struct world {
    stoa_random chance;
    stoa_clock_virtual clock;
    stoa_sim_net *net;
    node nodes[NODES_MAX];
    uint32_t count;
    uint32_t ways; /* links between two nodes */
    bool mixed;    /* with two nodes: the second one is dialled by who listens on the first */
    uint64_t seed, hash, used, handled, answers, downs, news, said, finals;
    asked entries[ENTRIES_MAX];
    watch watches[WATCHES_MAX];
    uint32_t watch_count;
    uint32_t lives; /* flies so far */
    uint32_t last[LANES][LIVES_MAX][LIVES_MAX]; /* lane, from, to */
    uint64_t last_news[KEEPERS][KEEPERS];
    uint32_t turning; /* whose turn it is: a node */
    bool calm;
} w;

static uint64_t below(uint64_t n)
{
    return stoa_random_below(&w.chance, n);
}

static void fold(uint64_t what)
{
    w.hash = stoa_hash64(w.hash, &what, sizeof what);
}

static uint64_t enter(bool cast)
{
    if (w.used + 1 == ENTRIES_MAX) { return 0; }
    w.entries[++w.used] = (asked){.node = (uint8_t)w.turning, .life = (uint32_t)w.nodes[w.turning].incarnation, .cast = cast};
    return w.used;
}

static void in_order(unsigned lane, uint64_t from, uint64_t to, uint64_t id)
{
    assert_true(from < LIVES_MAX && to < LIVES_MAX && id && id <= w.used);
    if (id <= w.last[lane][from][to]) {
        fail_msg("%u got %u from %u behind %u on lane %u", (unsigned)to, (unsigned)id, (unsigned)from,
                 (unsigned)w.last[lane][from][to], lane);
    }
    w.last[lane][from][to] = (uint32_t)id;
    w.handled++;
    fold(id << 16 | lane << 12 | to);
}

static void name_of(uint64_t slot, char name[32])
{
    (void)snprintf(name, 32, "fly/%u", (unsigned)slot);
}

/* --- flies */

static stoa_err fly_start(stoa_turn *turn, void *state, const void *args)
{
    fly *self = state;
    *self = *(const fly_args *)args;
    if (self->slot < FLIES) { return STOA_OK; }
    stoa_err err = stoa_turn_subscribe(turn, "news.>");
    return err ? err : stoa_turn_bind(turn, 0, "news.all");
}

static stoa_err fly_on_buzz(stoa_turn *turn, fly *self, const fly_buzz *in)
{
    in_order(0, in->from, self->who, in->id);
    w.finals += in->id && w.calm;
    uint64_t id = stoa_turn_random(turn) % 2 ? 0 : enter(true);
    if (id) { (void)fly_send_back(turn, turn->from, (fly_back){id, self->who}); }
    return stoa_turn_random(turn) % 16 || w.calm ? STOA_OK : STOA_E_INVALID;
}

static stoa_err fly_on_back(stoa_turn *turn, fly *self, const fly_back *in)
{
    (void)turn;
    in_order(0, in->from, self->who, in->id);
    return STOA_OK;
}

static stoa_err fly_on_zap(stoa_turn *turn, fly *self, const fly_zap *in)
{
    (void)turn;
    in_order(1, in->from, self->who, in->id);
    return STOA_OK;
}

static stoa_err fly_on_query(stoa_turn *turn, fly *self, const fly_query *in, fly_told *out)
{
    in_order(0, in->from, self->who, in->id);
    out->id = in->id;
    uint64_t how = stoa_turn_random(turn) % 16;
    if (how == 0) { stoa_turn_no_answer(turn); }
    return how == 1 ? STOA_E_RANGE : STOA_OK;
}

static stoa_err fly_on_fly_told(stoa_turn *turn, fly *self, const fly_told *in)
{
    (void)self;
    asked *a = &w.entries[turn->token];
    assert_true(turn->token && turn->token <= w.used && !a->cast);
    assert_true(turn->error || in->id == turn->token);
    assert_int_equal(++a->answers, 1);
    assert_true(turn->now_ns <= a->due_ns + STOA_MS(LATE_MS));
    w.answers++;
    fold(turn->token << 8 | (uint8_t)turn->error);
    return STOA_OK;
}

static stoa_err fly_on_fly_news(stoa_turn *turn, fly *self, const fly_news *in)
{
    (void)turn;
    w.news++;
    assert_true(in->id > w.last_news[in->from - FLIES][self->slot - FLIES]); /* in order, once */
    w.last_news[in->from - FLIES][self->slot - FLIES] = in->id;
    fold(in->id << 8 | self->slot);
    return STOA_OK;
}

static stoa_err fly_on_say(stoa_turn *turn, fly *self, const fly_say *in)
{
    return fly_publish_news(turn, 0, &(fly_news){in->id, self->slot});
}

static stoa_err fly_on_stoa_system_down(stoa_turn *turn, fly *self, const stoa_system_down *in)
{
    (void)turn, (void)self;
    for (uint32_t i = w.watch_count; i--;) {
        watch *at = &w.watches[i];
        if (at->id != in->token || at->node != w.turning || at->life != w.nodes[w.turning].incarnation) { continue; }
        assert_int_equal(++at->downs, 1);
        w.downs++;
        fold(in->token << 8 | in->reason);
        return STOA_OK;
    }
    fail_msg("node %u heard of an end that nobody monitors", w.turning);
    return STOA_OK;
}

static stoa_err fly_on_wake(stoa_turn *turn, fly *self, const fly_wake *in)
{
    char name[32];
    name_of(in->whom, name);
    stoa_ref to = stoa_turn_find(turn, name);
    uint64_t id = in->what == 3 ? 0 : enter(in->what != 2), deadline_ns = 1 + stoa_turn_random(turn) % STOA_MS(300);
    stoa_err err = STOA_E_INVALID;
    if (self->slot < FLIES && stoa_turn_random(turn) % 8 == 0) { /* keepers live as long as their process */
        if (in->whom < FLIES && to.at) { (void)stoa_turn_link(turn, to); }
    } else if (stoa_turn_random(turn) % 16 == 0) {
        stoa_turn_unlink(turn, to);
    }
    switch (in->what) {
    case 0: err = id ? fly_send_buzz(turn, to, (fly_buzz){id, self->who}) : err; break;
    case 1: err = id ? fly_send_zap(turn, to, (fly_zap){id, self->who}) : err; break;
    case 2:
        err = id ? fly_ask_query(turn, to, (fly_query){id, self->who}, deadline_ns, id) : err;
        w.entries[id].due_ns = turn->now_ns + deadline_ns;
        break;
    case 3:
        id = w.watch_count < WATCHES_MAX ? stoa_turn_monitor(turn, to) : 0;
        if (id) {
            w.watches[w.watch_count++] =
                (watch){.id = id, .node = (uint8_t)w.turning, .life = (uint32_t)w.nodes[w.turning].incarnation};
        }
        return STOA_OK;
    default: err = id ? fly_within_buzz(turn, to, (fly_buzz){id, self->who}, deadline_ns) : err; break;
    }
    if (err && id) { w.entries[id].cast = true; } /* not taken: no answer to wait for */
    return STOA_OK;
}

/* --- nodes */

static void on_peer(void *context, const char *peer, stoa_remote_what what, stoa_err why)
{
    node *n = context;
    n->losts += what == STOA_REMOTE_LOST;
    fold((uint64_t)(unsigned char)peer[0] << 16 | (uint64_t)what << 8 | (uint8_t)why);
}

/* Node 0 listens, the others dial it; over a second link, too, which may be the other way round. */
static stoa_remote_link link_of(uint32_t i, uint32_t way, char uri[160])
{
    bool listens = (i == 0) != (way && w.mixed);
    (void)snprintf(uri, 160, listens ? "sim://flies/hub%u" : "fault+sim://flies/hub%u?seed=%u", way, (unsigned)(w.seed * 8 + i * 2 + way));
    return (stoa_remote_link){.uri = uri, .peer = listens || w.seed % 2 ? NULL : i ? "a" : "b", .link.listen = listens, .heartbeat_ns = STOA_MS(20),
                              .silence_max_ns = STOA_MS(200)};
}

static void begin(uint32_t i)
{
    static const stoa_kind *const kinds[] = {&fly_kind, NULL};
    static const char *const names[NODES_MAX] = {"a", "b", "c"};
    node *n = &w.nodes[i];
    char uris[2][160];
    stoa_remote_link links[2] = {link_of(i, 0, uris[0]), link_of(i, 1, uris[1])};
    stoa_remote_events events = {.peer = on_peer, .context = n};
    stoa_remote_options options = {.node = n->node,
                                   .name = names[i],
                                   .incarnation = ++n->incarnation,
                                   .epoch = 1,
                                   .kinds = kinds,
                                   .links = links,
                                   .link_count = w.ways,
                                   .core = i % 2,
                                   .lost_ns = STOA_MS(250),
                                   .events = &events};
    assert_int_equal(stoa_remote_new(&options, &n->remote), STOA_OK);
    fly_args args = {FLIES + i, ++w.lives};
    assert_true(w.lives < LIVES_MAX);
    char name[32];
    name_of(args.slot, name);
    stoa_spawn_options at = {.args = &args};
    assert_int_equal(stoa_spawn(n->node, &fly_kind, name, &at, &n->keeper), STOA_OK);
}

static void faults_of(stoa_link *link, bool calm)
{
    stoa_faults how = {0};
    if (!calm) {
        how = (stoa_faults){.loss = (uint32_t)below(60), .duplicate = (uint32_t)below(60), .reorder = (uint32_t)below(60),
                            .delay_ns = STOA_US(below(800)), .jitter_ns = STOA_US(below(2000))};
    }
    assert_int_equal(stoa_fault_set(link, &how), STOA_OK);
    stoa_fault_cut(link, !calm && below(6) == 0, !calm && below(6) == 0);
}

static void faults(uint32_t i, bool calm)
{
    for (uint32_t way = 0; way < w.ways; way++) {
        bool listens = (i == 0) != (way && w.mixed);
        if (!listens) { faults_of(stoa_remote_link_at(w.nodes[i].remote, way), calm); }
    }
}

static void kill(uint32_t i)
{
    node *n = &w.nodes[i];
    stoa_remote_abandon(n->remote);
    assert_int_equal(stoa_sim_crash(n->sim, &n->node), STOA_OK);
    begin(i);
    faults(i, w.calm);
}

static void tick(uint64_t ns)
{
    w.clock.now += ns;
    for (uint32_t i = 0; i < w.count; i++) {
        node *n = &w.nodes[i];
        w.turning = i;
        stoa_sim_run(n->sim, ns);
        for (uint32_t again = 0; again < 4 && stoa_remote_step(n->remote) <= stoa_sim_now(n->sim); again++) {}
    }
}

/* --- what happens to them */

static void spawn(uint32_t i)
{
    fly_args args = {below(FLIES), w.lives + 1};
    stoa_spawn_options at = {.core = (uint32_t)below(2), .args = &args};
    stoa_ref ref;
    char name[32];
    name_of(args.slot, name);
    if (args.who == LIVES_MAX) { return; }
    stoa_err err = stoa_spawn(w.nodes[i].node, &fly_kind, name, &at, &ref);
    w.lives += !err;
    assert_true(!err || err == STOA_E_EXISTS);
}

static void wake(uint32_t i)
{
    fly_wake what = {below(8) < 4 ? below(3) : 1 + below(4), below(SLOTS)};
    char name[32];
    name_of(below(2) ? below(FLIES) : FLIES + i, name);
    stoa_ref who = stoa_find(w.nodes[i].node, name);
    const stoa_kind *kind;
    if (what.what == 3 || !who.at || !stoa_sim_state(w.nodes[i].sim, who, &kind) || kind != &fly_kind) { who = w.nodes[i].keeper; }
    if (what.what == 2) { who = w.nodes[i].keeper; } /* who asks and watches lives as long as its process */
    if (what.what == 3) { what.whom = below(FLIES); }
    (void)fly_post_wake(w.nodes[i].node, who, what);
}

static bool is_here(uint32_t i, uint64_t slot, stoa_ref *out)
{
    char name[32];
    const stoa_kind *kind;
    name_of(slot, name);
    *out = stoa_find(w.nodes[i].node, name);
    return out->at && stoa_sim_state(w.nodes[i].sim, *out, &kind) && kind == &fly_kind;
}

static void misfortune(uint32_t i)
{
    static const char *const names[NODES_MAX] = {"a", "b", "c"};
    uint64_t what = below(64);
    stoa_ref ref;
    if (what < 24) { spawn(i); }
    if (what >= 24 && what < 34 && is_here(i, below(FLIES), &ref)) { (void)stoa_stop(w.nodes[i].node, ref); }
    if (what >= 34 && what < 42 && is_here(i, below(FLIES), &ref)) { (void)stoa_sim_fail(w.nodes[i].sim, ref, "at random"); }
    if (what >= 42 && what < 52) { faults(i, false); }
    if (what >= 52 && what < 55) { (void)stoa_remote_drop(w.nodes[i].remote, names[below(NODES_MAX)]); }
    if (what >= 55 && what < 60) { (void)stoa_remote_pause(w.nodes[i].remote, names[below(NODES_MAX)], below(2)); }
    if (what == 60) { kill(i); }
}

static void publish(uint32_t i)
{
    (void)fly_post_say(w.nodes[i].node, w.nodes[i].keeper, (fly_say){++w.said});
}

static void check_peer(void *context, const stoa_remote_peer_view *view)
{
    node *n = context;
    if (view->spare) {
        assert_int_not_equal(view->over, view->link);
        assert_int_equal(view->names, 0);
        return;
    }
    assert_int_equal(view->session.state, STOA_SESSION_UP);
    n->carried++;
    assert_int_equal(view->counts.malformed, 0);
    assert_int_equal(view->asks_out, 0);
    assert_int_equal(view->asks_in, 0);
    assert_int_equal(view->backlog_bytes, 0);
    assert_int_equal(view->session.lanes[STOA_LANE_NORMAL].queued, 0);
    assert_int_equal(view->links, 0); /* who made them, or was meant, is gone */
    assert_int_equal(view->names, 1); /* the keeper of each, and of nobody else */
    assert_false(view->lost);
}

/* The network is well: all that is sent arrives, and everybody who goes is heard of. */
static void come_to_rest(void)
{
    static const char *const names[NODES_MAX] = {"a", "b", "c"};
    w.calm = true;
    for (uint32_t i = 0; i < w.count; i++) {
        faults(i, true);
        for (uint32_t j = 0; j < w.count; j++) { (void)stoa_remote_pause(w.nodes[i].remote, names[j], false); }
    }
    for (uint32_t t = 0; t < 1500; t++) { tick(STOA_MS(2)); }
    w.finals = 0;
    for (uint32_t i = 1; i < w.count; i++) {
        (void)fly_post_wake(w.nodes[i].node, w.nodes[i].keeper, (fly_wake){0, FLIES});
        (void)fly_post_wake(w.nodes[0].node, w.nodes[0].keeper, (fly_wake){0, FLIES + i});
    }
    for (uint32_t t = 0; t < 50; t++) { tick(STOA_MS(1)); }
    assert_int_equal(w.finals, 2 * (w.count - 1));
    for (uint32_t i = 0; i < w.count; i++) {
        stoa_ref ref;
        for (uint64_t slot = 0; slot < FLIES; slot++) {
            if (is_here(i, slot, &ref)) { assert_int_equal(stoa_stop(w.nodes[i].node, ref), STOA_OK); }
        }
    }
    for (uint32_t t = 0; t < 300; t++) { tick(STOA_MS(2)); }
}

static void check_books(void)
{
    for (uint64_t id = 1; id <= w.used; id++) {
        const asked *a = &w.entries[id];
        if (!a->cast && a->due_ns && a->life == w.nodes[a->node].incarnation && a->answers != 1) {
            fail_msg("ask %u of node %u was answered %u times", (unsigned)id, a->node, a->answers);
        }
    }
    for (uint32_t i = 0; i < w.watch_count; i++) {
        const watch *at = &w.watches[i];
        if (at->life == w.nodes[at->node].incarnation && at->downs != 1) {
            fail_msg("monitor %u of node %u heard %u ends", i, at->node, at->downs);
        }
    }
    for (uint32_t i = 0; i < w.count; i++) {
        stoa_remote_peers(w.nodes[i].remote, check_peer, &w.nodes[i]);
        assert_int_equal(w.nodes[i].carried, i ? 1 : w.count - 1); /* each node over one link, however many there are */
    }
}

static uint64_t run(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_random_seed(&w.chance, seed);
    w.seed = seed;
    w.count = 2 + (uint32_t)below(2);
    w.ways = 1 + (uint32_t)below(2);
    w.mixed = w.count == 2 && below(2);
    stoa_clock_virtual_init(&w.clock, 1);
    stoa_sim_net_options net = {.seed = seed, .clock = &w.clock.clock, .delay_ns_min = STOA_US(20), .delay_ns_max = STOA_US(500)};
    assert_int_equal(stoa_sim_net_new("flies", &net, &w.net), STOA_OK);
    for (uint32_t i = 0; i < w.count; i++) {
        stoa_sim_options sim = {.seed = seed * 8 + i, .cores = 2, .memory_bytes = UINT64_C(4) << 20};
        assert_int_equal(stoa_sim_new(&sim, &w.nodes[i].sim, &w.nodes[i].node), STOA_OK);
        begin(i);
    }
    for (uint32_t t = 0; t < 20; t++) { tick(STOA_MS(1)); }
    for (uint64_t until = w.clock.now + STOA_MS(1500); w.clock.now < until;) {
        for (uint64_t n = below(6); n; n--) { wake((uint32_t)below(w.count)); }
        if (below(12) == 0) { publish((uint32_t)below(w.count)); }
        if (below(10) == 0) { misfortune((uint32_t)below(w.count)); }
        tick(STOA_US(200 + below(2000)));
    }
    come_to_rest();
    check_books();
    if (stoa_seeds_trace()) {
        printf("seed %u: %u messages, %u answers, %u downs, %u news, losts %u %u %u, lives %u %u %u\n", (unsigned)seed,
               (unsigned)w.handled, (unsigned)w.answers, (unsigned)w.downs, (unsigned)w.news, w.nodes[0].losts, w.nodes[1].losts,
               w.nodes[2].losts, (unsigned)w.nodes[0].incarnation, (unsigned)w.nodes[1].incarnation,
               (unsigned)w.nodes[2].incarnation);
    }
    for (uint32_t i = 0; i < w.count; i++) {
        fold(stoa_sim_hash(w.nodes[i].sim));
        stoa_remote_stop(w.nodes[i].remote, 0);
        stoa_sim_free(w.nodes[i].sim);
    }
    stoa_sim_net_free(w.net);
    return w.hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void actors_elsewhere_keep_the_promises_of_actors_here(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(actors_elsewhere_keep_the_promises_of_actors_here)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
