/* sessions_fuzz.c - goal: whatever comes over the connections of a listening link, of strangers and of those who have said hello, each name has
 * one session, each session one connection, a proven name is nobody else's, and there are no more than are allowed. Method: the input as a
 * link's events: who of eight is up, down or says what, under an identity that the first byte chooses for it; hellos with its fields,
 * refusals, pulses and batches with sums that are right; and at the end a proper node, which is let in or told FULL.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tests/session_ignored.h"
#include "transport/session_internal.h"
#include "transport/sessions.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

enum { PEERS = 8, PROPER }; /* connections, from 1 on */
enum { SESSIONS_MAX = 4, PIECE_MAX = 512, WINDOW_BYTES = 8192, HELLO_BYTES = STOA_ENVELOPE_BYTES + sizeof(stoa_hello) };
enum { UP, DOWN, REFUSED, STEP, SAYS }; /* what happens: SAYS and above, a piece */
enum { PROVES = 1, FEW = 2 };           /* of the first byte */

static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "Not a name", ""};
enum { NAMES = sizeof names / sizeof *names };

typedef struct world {
    stoa_link link;
    stoa_sessions *sessions;
    uint32_t most; /* sessions */
    bool proves, up[PROPER + 1];
    const uint8_t *at; /* of the input */
    size_t left_bytes;
    stoa_err answered; /* the last refusal that went to the proper node */
} world;

static world *of(stoa_link *link)
{
    return (world *)(void *)link;
}

static const char *identity_of(const world *w, stoa_peer peer)
{
    const char *name = peer == PROPER ? "z" : names[1 + (peer - 1) % (PEERS / 2)]; /* two connections of each name */
    return w->proves ? name : peer % 2 == 0 ? "uid:1000" : "";
}

/* --- what the sessions tell, and the link that they tell it over */

static void on_message(void *context, stoa_session *session, const stoa_session_message *message)
{
    (void)context;
    STOA_ASSERT(stoa_session_peer(session)[0] && message->size_bytes < PIECE_MAX);
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    (void)context, (void)session, (void)resumed;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    (void)context, (void)session, (void)why;
}
static void on_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    (void)context, (void)session;
    STOA_ASSERT(reset->new_incarnation > reset->old_incarnation);
}
static void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    (void)context, (void)session, (void)here;
    STOA_ASSERT(why != STOA_OK);
}
static void on_stranger(void *context, const char *name, stoa_err why)
{
    (void)context;
    STOA_ASSERT(why != STOA_OK && (!name || strlen(name) < STOA_NODE_NAME_BYTES));
}

static stoa_err take_away(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    world *w = of(link);
    stoa_envelope e;
    stoa_refusal refusal;
    STOA_ASSERT(peer <= PROPER && w->up[peer] && stoa_envelope_read(bytes, size_bytes, &e) == STOA_OK);
    if (peer == PROPER && stoa_envelope_is(&e) == STOA_ENVELOPE_REFUSE) {
        STOA_ASSERT(stoa_refusal_read(bytes, size_bytes, &refusal) == STOA_OK);
        w->answered = (stoa_err)refusal.why;
    }
    return STOA_OK;
}

/* --- what the input says */

static uint8_t next(world *w)
{
    if (w->left_bytes == 0) { return 0; }
    w->left_bytes--;
    return *w->at++;
}

/* A hello is of a name of ours, and its numbers are small, so that they meet. */
static void hello_shape(uint8_t *piece, uint8_t how)
{
    stoa_hello hello;
    memcpy(&hello, piece + STOA_ENVELOPE_BYTES, sizeof hello);
    memset(hello.name, 0, sizeof hello.name);
    memcpy(hello.name, names[how % NAMES], strlen(names[how % NAMES]));
    hello.version_min = (uint16_t)(STOA_SESSION_VERSION - 1 + hello.version_min % 4); /* 1 is ours */
    hello.version_max = (uint16_t)(STOA_SESSION_VERSION - 1 + hello.version_max % 4);
    hello.number %= 8, hello.heard %= 8, hello.incarnation %= 4, hello.peer_incarnation %= 4, hello.epoch %= 4;
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        hello.lanes[i].acked %= 4;
    }
    memcpy(piece + STOA_ENVELOPE_BYTES, &hello, sizeof hello);
}

static stoa_session_id id_from(world *w, const char *name)
{
    stoa_session *s = stoa_sessions_find(w->sessions, name);
    stoa_session_view view;
    if (!s) { return 0; }
    stoa_session_look(s, &view);
    return stoa_session_id_of(name, view.peer_incarnation, "a", view.incarnation);
}

/* A piece: what it is, whose, its size, its bytes. */
static uint32_t piece_next(world *w, uint8_t piece[PIECE_MAX])
{
    uint8_t what = next(w), whose = next(w);
    uint32_t size_bytes = next(w) * 2U, have_bytes = size_bytes < w->left_bytes ? size_bytes : (uint32_t)w->left_bytes;
    stoa_envelope *e = (stoa_envelope *)(void *)piece;
    memset(piece, 0, PIECE_MAX);
    memcpy(piece, w->at, have_bytes);
    w->at += have_bytes, w->left_bytes -= have_bytes;
    if (what & 0x80) { return size_bytes; } /* as it is */
    if (what % STOA_ENVELOPE_WHATS == STOA_ENVELOPE_HELLO) {
        size_bytes = HELLO_BYTES;
        hello_shape(piece, whose);
    }
    if (size_bytes < STOA_ENVELOPE_BYTES) { size_bytes = STOA_ENVELOPE_BYTES; }
    e->flags = (uint8_t)((e->flags & 0xe3U) | (what % STOA_ENVELOPE_WHATS * 4U));
    bool open = what % STOA_ENVELOPE_WHATS == STOA_ENVELOPE_HELLO || what & 0x40;
    stoa_envelope_seal(e, size_bytes, open ? 0 : id_from(w, names[whose % NAMES]));
    return size_bytes;
}

static uint32_t on_others(const world *w, stoa_peer peer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < stoa_sessions_count(w->sessions); i++) {
        const stoa_session *s = stoa_sessions_at(w->sessions, i);
        count += s->link && s->link_peer != peer;
    }
    return count;
}

static bool event_next(world *w, const stoa_link_events *events)
{
    uint8_t piece[PIECE_MAX] __attribute__((aligned(8))), what = next(w);
    stoa_peer peer = 1 + what / 8 % PEERS;
    if (what % 8 == STEP) { return false; }
    if (what % 8 == REFUSED) {
        events->refused(events->context, STOA_E_DENIED);
    } else if (what % 8 == DOWN && w->up[peer]) {
        uint32_t others = on_others(w, peer);
        w->up[peer] = false;
        events->down(events->context, peer);
        STOA_ASSERT(on_others(w, peer) == others);
    } else if (!w->up[peer]) {
        w->up[peer] = true;
        events->up(events->context, peer);
    } else if (what % 8 >= SAYS) {
        uint32_t size_bytes = piece_next(w, piece);
        if (size_bytes > 0) { events->frame(events->context, peer, identity_of(w, peer), piece, size_bytes); }
    }
    return true;
}

static uint32_t tell(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    world *w = of(link);
    uint32_t told = 0;
    while (told < max && w->left_bytes > 0 && event_next(w, events)) { told++; }
    return told;
}

/* --- what holds */

static void check(const world *w)
{
    uint32_t count = stoa_sessions_count(w->sessions);
    STOA_ASSERT(count <= w->most);
    for (uint32_t i = 0; i < count; i++) {
        const stoa_session *s = stoa_sessions_at(w->sessions, i);
        STOA_ASSERT(stoa_node_name_is_good(s->peer, strlen(s->peer)) && strcmp(s->peer, "a") != 0);
        STOA_ASSERT(!s->link || (w->up[s->link_peer] && stoa_node_name_is_proven(s->peer, identity_of(w, s->link_peer))));
        STOA_ASSERT(s->link || s->state == STOA_SESSION_AWAY);
        for (uint32_t j = 0; j < i; j++) {
            const stoa_session *other = stoa_sessions_at(w->sessions, j);
            STOA_ASSERT(strcmp(s->peer, other->peer) != 0 && !(s->link && other->link && s->link_peer == other->link_peer));
        }
    }
}

/* Proper, and nobody before has had its name. */
static uint32_t let_in(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    struct {
        stoa_envelope e;
        stoa_hello body;
    } piece = {.e = {.flags = stoa_envelope_flags(STOA_ENVELOPE_HELLO, STOA_LANE_CONTROL)}};
    (void)max;
    piece.body = (stoa_hello){.version_min = STOA_SESSION_VERSION,
                              .version_max = STOA_SESSION_VERSION,
                              .flags = STOA_HELLO_WANTS,
                              .number = 1,
                              .incarnation = 1,
                              .name = "z"};
    stoa_envelope_seal(&piece.e, sizeof piece, 0);
    of(link)->up[PROPER] = true;
    events->up(events->context, PROPER);
    events->frame(events->context, PROPER, identity_of(of(link), PROPER), &piece, sizeof piece);
    return 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    static const stoa_session_events events = {.message = on_message,
                                               .up = on_up,
                                               .down = on_down,
                                               .reset = on_reset,
                                               .refused = on_refused,
                                               .expired = ignore_expired,
                                               .room = ignore_room};
    static const stoa_link_ops ops = {.scheme = "told", .send = take_away, .poll = tell}, last = {.scheme = "told", .send = take_away, .poll = let_in};
    world w = {.link = {.ops = &ops}, .proves = size_bytes && bytes[0] & PROVES, .at = bytes, .left_bytes = size_bytes};
    stoa_sessions_options options = {.link = &w.link,
                                     .listens = true,
                                     .sessions_max = w.most = next(&w) & FEW ? 2 : SESSIONS_MAX,
                                     .refused = on_stranger,
                                     .session = {.name = "a",
                                                 .incarnation = 2,
                                                 .batch_bytes = STOA_SESSION_BATCH_MIN,
                                                 .window_bytes = {WINDOW_BYTES, WINDOW_BYTES, WINDOW_BYTES},
                                                 .events = &events}};
    uint64_t now_ns = STOA_S(1);
    STOA_ASSERT(stoa_sessions_new(&options, &w.sessions) == STOA_OK);
    while (w.left_bytes > 0) {
        (void)stoa_sessions_poll(w.sessions, now_ns, 16);
        now_ns += STOA_MS(30);
        STOA_ASSERT(stoa_sessions_step(w.sessions, now_ns) >= now_ns);
        check(&w);
    }
    uint32_t count = stoa_sessions_count(w.sessions);
    w.link.ops = &last;
    (void)stoa_sessions_poll(w.sessions, now_ns, 16);
    check(&w);
    bool full = count == w.most;
    STOA_ASSERT(full ? w.answered == STOA_E_FULL : stoa_sessions_find(w.sessions, "z") && w.answered == STOA_OK);
    stoa_sessions_free(w.sessions);
    return 0;
}
