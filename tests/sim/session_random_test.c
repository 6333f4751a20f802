/* session_random_test.c - goal: whatever the network and the processes do, a session keeps its promises (transport/session.h).
 * Method: two or three nodes, each with a session to each other one over fault+sim, send numbered messages on all lanes
 * while frames are lost, doubled, late and out of order, paths are cut one way or both, nodes are stopped for a while and
 * die and come again. Each message that comes must be the next of its sender's incarnation and lane; each reset must say
 * what this test's books say; and when the faults end everything that was accepted arrives.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "runtime/kit.h"
#include "transport/fault/link.h"
#include "transport/sessions.h"
#include "transport/sim/link.h"

enum { NODES_MAX = 3, LIVES_MAX = 24, MESSAGE_MAX = 700, HELD_MAX = 64, POLL_MAX = 32 };
enum { ROUGH_MS = 8000, CALM_MS = 60000, LANES = STOA_LANE_COUNT };

/* One way from a node's session to a peer. */
typedef struct side {
    stoa_sessions *sessions; /* where the session with the peer lives */
    uint64_t sent[LANES];    /* last number given by send in this session */
    bool wants_room[LANES];
    uint64_t peer_life; /* incarnation of the peer, as the session told */
    struct {
        stoa_lane lane;
        uint32_t credit_bytes;
    } held[HELD_MAX]; /* messages that came and are not consumed */
    uint32_t held_count;
} side;

typedef struct node {
    struct world *world;
    uint32_t id;
    uint64_t life; /* incarnation */
    uint64_t stopped_until_ns;
    stoa_link *links[NODES_MAX]; /* to each peer with a lower number; [id]: the one that listens */
    stoa_sessions *owned[NODES_MAX];
    side sides[NODES_MAX];
    stoa_session_events events;
} node;

typedef struct world {
    uint64_t seed, hash, now_ns;
    stoa_random random;
    stoa_clock_virtual clock;
    stoa_sim_net *net;
    uint32_t node_count, queue_frames;
    node nodes[NODES_MAX];
    stoa_session_options session; /* but for the name and the incarnation */
    /* got[receiver][its life][sender][its life][lane]: the last number told. */
    uint64_t got[NODES_MAX][LIVES_MAX][NODES_MAX][LIVES_MAX][LANES];
    uint64_t resets, resumes, expired, fulls, messages, timeouts;
    bool calm;
} world;

static const char *const names[NODES_MAX] = {"n0", "n1", "n2"};

static void fold(world *w, uint64_t what)
{
    w->hash = stoa_mix64(w->hash ^ what) + w->hash * 3;
}

__attribute__((format(printf, 2, 3))) static void say(const world *w, const char *format, ...)
{
    FILE *to = stoa_seeds_trace();
    if (!to) { return; }
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(to, "%9.3f ms  ", (double)w->now_ns / 1e6);
    (void)vfprintf(to, format, arguments);
    (void)fputc('\n', to);
    va_end(arguments);
}

static uint64_t below(world *w, uint64_t most)
{
    return stoa_random_below(&w->random, most);
}

static uint32_t peer_of(const stoa_session *session)
{
    return (uint32_t)(stoa_session_peer(session)[1] - '0');
}

/* --- messages */

typedef struct message {
    uint64_t life, number;
    uint32_t size_bytes, crc;
} message;

static uint32_t fill(uint8_t *bytes, uint64_t life, uint64_t number, uint32_t size_bytes)
{
    message m = {.life = life, .number = number, .size_bytes = size_bytes};
    for (uint32_t i = sizeof m; i < size_bytes; i++) {
        bytes[i] = (uint8_t)(number * 7 + i);
    }
    m.crc = stoa_crc32c(0, bytes + sizeof m, size_bytes - sizeof m);
    memcpy(bytes, &m, sizeof m);
    return size_bytes;
}

/* Several in a row are from the same one. */
static uint64_t source_of(uint32_t id, uint64_t number)
{
    return stoa_mix64(number / 3) % 3 << 8 | id;
}

static uint64_t *got_of(node *at, uint32_t from, stoa_lane lane)
{
    return &at->world->got[at->id][at->life][from][at->sides[from].peer_life][lane];
}

/* Number seq of a lane has come, as a message or as one that is over. */
static void came(node *at, uint32_t from, stoa_lane lane, uint64_t seq)
{
    uint64_t *got = got_of(at, from, lane);
    assert_int_equal(seq, *got + 1); /* none lost, none twice, none out of order */
    *got = seq;
}

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    node *at = context;
    uint32_t from = peer_of(session);
    message is;
    assert_true(m->size_bytes >= sizeof is);
    memcpy(&is, m->bytes, sizeof is);
    assert_int_equal(is.size_bytes, m->size_bytes);
    assert_int_equal(is.life, at->sides[from].peer_life);
    assert_int_equal(is.number, m->seq);
    assert_int_equal(is.crc, stoa_crc32c(0, (const uint8_t *)m->bytes + sizeof is, is.size_bytes - sizeof is));
    assert_int_equal(m->source, source_of(from, m->seq));
    assert_int_equal(m->target, at->id);
    assert_true(m->deadline_ns == 0 || m->deadline_ns > at->world->now_ns);
    came(at, from, m->lane, m->seq);
    at->world->messages++;
    fold(at->world, (uint64_t)at->id << 56 | (uint64_t)m->lane << 48 | m->seq);
    if (!at->world->session.consumes) { return; }
    side *s = &at->sides[from];
    if (s->held_count < HELD_MAX && below(at->world, 4) > 0) {
        s->held[s->held_count].lane = m->lane;
        s->held[s->held_count++].credit_bytes = m->credit_bytes;
    } else {
        stoa_session_consumed(session, m->lane, m->credit_bytes);
    }
}

static void on_expired(void *context, stoa_session *session, const stoa_session_message *late, bool here)
{
    node *at = context;
    fold(at->world, late->seq << 8 | (uint64_t)late->lane << 4 | here);
    if (here) {
        at->world->expired++;
    } else {
        came(at, peer_of(session), late->lane, late->seq);
    }
}

static void on_up(void *context, stoa_session *session, bool resumed)
{
    node *at = context;
    stoa_session_view view;
    stoa_session_look(session, &view);
    uint32_t from = peer_of(session);
    say(at->world, "n%u up with n%u, %s", at->id, from, resumed ? "resumed" : "fresh");
    assert_true(at->sides[from].peer_life == 0 || at->sides[from].peer_life == view.peer_incarnation);
    assert_true(!resumed || at->sides[from].peer_life != 0);
    at->sides[from].peer_life = view.peer_incarnation;
    at->world->resumes += resumed;
    fold(at->world, 0x7570 + resumed);
}

static void on_down(void *context, stoa_session *session, stoa_err why)
{
    node *at = context;
    say(at->world, "n%u down with n%u: %s", at->id, peer_of(session), stoa_err_name(why));
    at->world->timeouts += why == STOA_E_TIMEOUT;
    fold(at->world, (uint64_t)-why);
}

/* What it says is what both nodes have in their books. */
static void on_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    node *at = context;
    uint32_t of = peer_of(session);
    side *s = &at->sides[of];
    say(at->world, "n%u reset with n%u: %" PRIu64 " is %" PRIu64, at->id, of, reset->old_incarnation,
        reset->new_incarnation);
    assert_true(reset->new_incarnation > reset->old_incarnation);
    assert_true(s->peer_life == 0 || reset->old_incarnation == s->peer_life); /* 0: it was known, but never up */
    s->peer_life = reset->old_incarnation;
    for (unsigned i = 0; i < LANES; i++) {
        uint64_t arrived = at->world->got[of][reset->old_incarnation][at->id][at->life][i];
        assert_true(reset->lanes[i].acked <= arrived && arrived <= s->sent[i]);
        assert_int_equal(reset->lanes[i].lost, s->sent[i] - reset->lanes[i].acked);
        assert_int_equal(reset->lanes[i].received, *got_of(at, of, (stoa_lane)i));
        s->sent[i] = 0;
        s->wants_room[i] = false;
        fold(at->world, reset->lanes[i].lost);
    }
    s->peer_life = reset->new_incarnation;
    s->held_count = 0;
    at->world->resets++;
}

static void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    node *at = context;
    say(at->world, "n%u refused n%u: %s %s", at->id, peer_of(session), stoa_err_name(why), here ? "here" : "there");
    assert_int_equal(why, STOA_E_STALE); /* of a process that is no more; nothing else is wrong here */
}

static void on_room(void *context, stoa_session *session, stoa_lane lane)
{
    node *at = context;
    side *s = &at->sides[peer_of(session)];
    assert_true(s->wants_room[lane]);
    s->wants_room[lane] = false;
}

static void send_some(world *w, node *from, uint32_t to)
{
    side *s = &from->sides[to];
    stoa_session *session = stoa_sessions_find(s->sessions, names[to]);
    uint8_t bytes[MESSAGE_MAX];
    if (!session) { return; } /* it has never been here */
    for (uint64_t i = below(w, 12); i > 0; i--) {
        stoa_lane lane = (stoa_lane)below(w, LANES);
        uint32_t size_bytes = (uint32_t)(sizeof(message) + below(w, MESSAGE_MAX - sizeof(message)));
        uint64_t deadline_ns = below(w, 8) == 0 ? w->now_ns + STOA_MS(below(w, 400) + 1) : 0, seq = 0;
        (void)fill(bytes, from->life, s->sent[lane] + 1, size_bytes);
        stoa_err err =
            stoa_session_send(session, lane, 1, source_of(from->id, s->sent[lane] + 1), to, deadline_ns, bytes, size_bytes, w->now_ns, &seq);
        if (err) {
            assert_int_equal(err, STOA_E_FULL);
            s->wants_room[lane] = true;
            w->fulls++;
            continue;
        }
        s->sent[lane]++;
        assert_int_equal(seq, s->sent[lane]);
    }
}

static void consume_some(world *w, node *at, uint32_t from)
{
    side *s = &at->sides[from];
    stoa_session *session = stoa_sessions_find(s->sessions, names[from]);
    for (uint64_t i = w->calm ? HELD_MAX : below(w, 30) == 0 ? HELD_MAX : 0; i > 0 && s->held_count > 0; i--) {
        s->held_count--;
        stoa_session_consumed(session, s->held[s->held_count].lane, s->held[s->held_count].credit_bytes);
    }
}

/* --- nodes */

static void link_open(world *w, node *n, uint32_t to)
{
    char address[160];
    (void)snprintf(address, sizeof address, "fault+sim://w%" PRIu64 "/%s?seed=%" PRIu64, w->seed, names[to],
                   below(w, 1000000));
    stoa_link_options options = {.listen = to == n->id, .frame_limit = 16384, .queue_frames = w->queue_frames};
    assert_int_equal(stoa_link_open(address, &options, &n->links[to]), STOA_OK);
    stoa_sessions_options sessions = {.link = n->links[to], .listens = to == n->id, .session = w->session};
    sessions.session.name = names[n->id];
    sessions.session.peer = to == n->id ? NULL : names[to];
    sessions.session.incarnation = n->life;
    sessions.session.events = &n->events;
    sessions.session.trusts_link = below(w, 2);
    for (unsigned i = 0; i < LANES; i++) { /* who sends may have more room than who receives gives */
        sessions.session.window_bytes[i] = 10240 + 8 * (uint32_t)below(w, 2000);
    }
    assert_int_equal(stoa_sessions_new(&sessions, &n->owned[to]), STOA_OK);
}

static void faults_of(world *w, stoa_link *link)
{
    stoa_faults faults = {0};
    if (!w->calm) {
        faults = (stoa_faults){.loss = (uint32_t)below(w, 200),
                               .duplicate = (uint32_t)below(w, 100),
                               .reorder = (uint32_t)below(w, 200),
                               .delay_ns = STOA_US(below(w, 3000)),
                               .jitter_ns = STOA_US(below(w, 2000))};
    }
    assert_int_equal(stoa_fault_set(link, &faults), STOA_OK);
}

static void node_start(world *w, uint32_t id)
{
    node *n = &w->nodes[id];
    uint64_t life = n->life + 1;
    *n = (node){.world = w, .id = id, .life = life};
    n->events = (stoa_session_events){.message = on_message,
                                      .up = on_up,
                                      .down = on_down,
                                      .reset = on_reset,
                                      .refused = on_refused,
                                      .expired = on_expired,
                                      .room = on_room,
                                      .context = n};
    for (uint32_t to = 0; to <= id; to++) {
        link_open(w, n, to);
        faults_of(w, n->links[to]);
    }
    for (uint32_t peer = 0; peer < w->node_count; peer++) {
        n->sides[peer].sessions = n->owned[peer < id ? peer : id];
    }
}

/* What a network does to frames is no fault of theirs. */
static void assert_proper(stoa_sessions *sessions)
{
    for (uint32_t i = 0; i < stoa_sessions_count(sessions); i++) {
        stoa_session_view view;
        stoa_session_look(stoa_sessions_at(sessions, i), &view);
        const stoa_session_counts *c = &view.counts;
        assert_int_equal(c->malformed + c->version + c->corrupt + c->over_credit + c->forked + c->denied, 0);
    }
}

static void node_end(world *w, uint32_t id, bool polite)
{
    node *n = &w->nodes[id];
    for (uint32_t to = 0; to <= id; to++) {
        assert_proper(n->owned[to]);
    }
    for (uint32_t to = 0; to <= id; to++) {
        if (polite) { stoa_sessions_leave(n->owned[to], w->now_ns); }
        stoa_sessions_free(n->owned[to]);
        n->links[to]->ops->close(n->links[to], polite ? 1 : 0);
    }
}

static void node_run(world *w, node *n)
{
    if (n->stopped_until_ns > w->now_ns) { return; }
    for (uint32_t to = 0; to <= n->id; to++) {
        while (stoa_sessions_poll(n->owned[to], w->now_ns, POLL_MAX) == POLL_MAX) {}
        (void)stoa_sessions_step(n->owned[to], w->now_ns);
    }
}

/* --- what happens to them */

static void misfortune(world *w)
{
    uint32_t id = (uint32_t)below(w, w->node_count);
    node *n = &w->nodes[id];
    stoa_link *link = n->links[below(w, id + 1)];
    switch (below(w, 8)) {
    case 0:
        if (n->life + 1 == LIVES_MAX) { return; }
        say(w, "n%u dies", id);
        node_end(w, id, below(w, 4) == 0);
        node_start(w, id);
        return;
    case 1:
        say(w, "n%u is stopped", id);
        n->stopped_until_ns = w->now_ns + STOA_MS(below(w, 1500));
        return;
    case 2:
    case 3: stoa_fault_cut(link, below(w, 2), below(w, 2)); return;
    case 4:
    case 5: stoa_fault_cut(link, false, false); return;
    default: faults_of(w, link); return;
    }
}

static void turn(world *w)
{
    uint32_t first = (uint32_t)below(w, w->node_count);
    for (uint32_t i = 0; i < w->node_count; i++) {
        node *n = &w->nodes[(first + i) % w->node_count];
        bool runs = n->stopped_until_ns <= w->now_ns;
        for (uint32_t peer = 0; runs && peer < w->node_count; peer++) {
            if (peer == n->id) { continue; }
            if (!w->calm && below(w, 3) == 0) { send_some(w, n, peer); }
            consume_some(w, n, peer);
        }
        node_run(w, n);
    }
}

/* Whether all that was accepted has come. */
static bool is_settled(world *w)
{
    for (uint32_t a = 0; a < w->node_count; a++) {
        for (uint32_t b = 0; b < w->node_count; b++) {
            stoa_session *session = a == b ? NULL : stoa_sessions_find(w->nodes[a].sides[b].sessions, names[b]);
            stoa_session_view view;
            if (a == b) { continue; }
            if (!session) { return false; }
            stoa_session_look(session, &view);
            if (view.state != STOA_SESSION_UP || view.peer_incarnation != w->nodes[b].life) { return false; }
            for (unsigned i = 0; i < LANES; i++) {
                if (view.lanes[i].queued > 0) { return false; }
                assert_int_equal(view.lanes[i].acked, w->nodes[a].sides[b].sent[i]);
            }
        }
    }
    return true;
}

static void check_books(world *w)
{
    for (uint32_t a = 0; a < w->node_count; a++) {
        for (uint32_t b = 0; b < w->node_count; b++) {
            if (a == b) { continue; }
            assert_int_equal(w->nodes[a].sides[b].peer_life, w->nodes[b].life);
            for (unsigned i = 0; i < LANES; i++) {
                assert_int_equal(w->got[b][w->nodes[b].life][a][w->nodes[a].life][i], w->nodes[a].sides[b].sent[i]);
            }
        }
    }
}

static world *world_new(uint64_t seed)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->seed = seed;
    stoa_random_seed(&w->random, seed);
    stoa_clock_virtual_init(&w->clock, 0);
    char name[32];
    (void)snprintf(name, sizeof name, "w%" PRIu64, seed);
    stoa_sim_net_options net = {
        .seed = below(w, UINT64_MAX), .clock = &w->clock.clock, .delay_ns_max = STOA_US(below(w, 500))};
    assert_int_equal(stoa_sim_net_new(name, &net, &w->net), STOA_OK);
    w->node_count = 2 + (uint32_t)below(w, 2);
    w->queue_frames = 4 + (uint32_t)below(w, 60);
    w->session = (stoa_session_options){.batch_bytes = 1024 + 8 * (uint32_t)below(w, 400),
                                        .batch_ns = STOA_US(below(w, 2) * below(w, 3000)),
                                        .link_frames = w->queue_frames,
                                        .consumes = below(w, 2)};
    return w;
}

static void calm(world *w)
{
    w->calm = true;
    for (uint32_t id = 0; id < w->node_count; id++) {
        w->nodes[id].stopped_until_ns = 0;
        for (uint32_t to = 0; to <= id; to++) {
            faults_of(w, w->nodes[id].links[to]);
            stoa_fault_cut(w->nodes[id].links[to], false, false);
        }
    }
}

static uint64_t session_run(uint64_t seed)
{
    world *w = world_new(seed);
    for (uint32_t id = 0; id < w->node_count; id++) {
        node_start(w, id);
    }
    uint64_t bad_ns = STOA_MS(300), end_ns = 0, step = 0;
    bool settled = false;
    while (!settled) {
        stoa_seeds_at(++step);
        w->now_ns += 1 + below(w, STOA_MS(w->calm ? 20 : 6));
        w->clock.now = w->now_ns;
        if (!w->calm && w->now_ns >= bad_ns) {
            misfortune(w);
            bad_ns = w->now_ns + STOA_MS(below(w, 500));
        }
        if (!w->calm && w->now_ns >= STOA_MS(ROUGH_MS)) {
            calm(w);
            end_ns = w->now_ns + STOA_MS(CALM_MS);
        }
        turn(w);
        settled = w->calm && is_settled(w);
        assert_true(settled || !w->calm || w->now_ns < end_ns); /* it does settle */
    }
    check_books(w);
    say(w,
        "%" PRIu64 " messages, %" PRIu64 " resets, %" PRIu64 " resumes, %" PRIu64 " silences, %" PRIu64
        " expired, %" PRIu64 " full",
        w->messages, w->resets, w->resumes, w->timeouts, w->expired, w->fulls);
    uint64_t hash = w->hash;
    for (uint32_t id = 0; id < w->node_count; id++) {
        node_end(w, id, true);
    }
    stoa_sim_net_free(w->net);
    free(w);
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = session_run};

static void sessions_keep_their_promises(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(sessions_keep_their_promises)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
