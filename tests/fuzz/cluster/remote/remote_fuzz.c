/* remote_fuzz.c - a node whose session is up is told anything at all by the remote on the other side: it stays within its bounds, its
 * actors see only what their rows can read, and when the other side begins anew, messages go both ways.
 *
 * Input: pieces of {lane, type, what the numbers are, size} and that many bytes. The world stays; each input is another life of
 * the peer, so that nothing is left of the one before.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cluster/remote/frames.h"
#include "cluster/remote/remote.h"
#include "runtime/sim.h"
#include "tests/session_ignored.h"
#include "transport/sim/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

enum { PIECE_MAX = 256, PIECES_MAX = 64 };

#define pot_put_FIELDS(F, S)  F(S, uint64_t, n) F(S, stoa_text30, text)
#define pot_look_FIELDS(F, S) F(S, uint64_t, n)
#define pot_seen_FIELDS(F, S) F(S, uint64_t, n)
#define pot_news_FIELDS(F, S) F(S, uint64_t, n)
#define pot_ROWS(ROW, K)                     \
    ROW(K, CAST, put, _, "Something.")       \
    ROW(K, COMMAND, look, seen, "How many?") \
    ROW(K, REPLY, seen, _, "So many.")       \
    ROW(K, CONTROL, stir, _, "Now.")         \
    ROW(K, TOPIC, news, _, "Published.")
#define pot_stir_FIELDS STOA_NO_FIELDS
STOA_TABLE_HERE(pot)
typedef struct pot {
    uint64_t puts;
} pot;
#define pot_HEARS(HEAR, K) HEAR(K, pot, news)
static stoa_err start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(pot, .mailbox_limit = 16, .start = start)

static stoa_err start(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    return stoa_turn_subscribe(turn, "news.>");
}
static stoa_err pot_on_put(stoa_turn *turn, pot *self, const pot_put *in)
{
    STOA_ASSERT(in->text.len <= sizeof in->text.at);
    self->puts++;
    return pot_send_put(turn, turn->from, *in);
}
static stoa_err pot_on_look(stoa_turn *turn, pot *self, const pot_look *in, pot_seen *out)
{
    (void)turn, (void)in;
    out->n = self->puts;
    return STOA_OK;
}
static stoa_err pot_on_stir(stoa_turn *turn, pot *self, const pot_stir *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}
static stoa_err pot_on_pot_news(stoa_turn *turn, pot *self, const pot_news *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}

static struct world {
    stoa_clock_virtual clock;
    stoa_sim_net *net;
    stoa_sim *sim;
    stoa_node *node;
    stoa_remote *remote;
    stoa_ref pot;
    stoa_link *link; /* the peer's */
    stoa_sessions *sessions;
    uint64_t incarnation, number, casts; /* of pot; casts that the peer got */
    bool up;
} w;

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    (void)context, (void)session;
    if (m->type == STOA_REMOTE_NAME) { w.number = m->source; }
    w.casts += m->type == STOA_REMOTE_CAST;
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    (void)context, (void)session, (void)resumed;
    w.up = true;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    (void)context, (void)session, (void)why;
    w.up = false;
}
static const stoa_session_events events = {.message = on_message, .up = on_up, .down = on_down, .reset = ignore_reset,
                                           .refused = ignore_refused, .expired = ignore_expired, .room = ignore_room};

static void tick(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        w.clock.now += STOA_US(500);
        stoa_sim_run(w.sim, STOA_US(500));
        (void)stoa_remote_step(w.remote);
        (void)stoa_sessions_poll(w.sessions, w.clock.now, 64);
        (void)stoa_sessions_step(w.sessions, w.clock.now);
        (void)stoa_remote_step(w.remote);
    }
}

static void open_world(void)
{
    static const stoa_kind *const kinds[] = {&pot_kind, NULL};
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_clock_virtual_init(&w.clock, 1);
    stoa_sim_net_options net = {.seed = 1, .clock = &w.clock.clock};
    stoa_sim_options sim = {.seed = 1, .memory_bytes = UINT64_C(4) << 20};
    stoa_remote_link link = {.uri = "sim://fuzz/door", .link.listen = true};
    stoa_remote_options options = {
        .name = "a", .incarnation = 1, .epoch = 1, .kinds = kinds, .links = &link, .link_count = 1};
    STOA_ASSERT(!stoa_sim_net_new("fuzz", &net, &w.net) && !stoa_sim_new(&sim, &w.sim, &w.node));
    options.node = w.node;
    STOA_ASSERT(!stoa_remote_new(&options, &w.remote));
    STOA_ASSERT(!stoa_spawn(w.node, &pot_kind, "pot/one", NULL, &w.pot));
}

/* Another life of the peer, up. */
static void begin_peer(void)
{
    if (w.sessions) {
        stoa_sessions_free(w.sessions);
        w.link->ops->close(w.link, 0);
    }
    w.up = false;
    w.number = 0;
    STOA_ASSERT(!stoa_link_open("sim://fuzz/door", &(stoa_link_options){.frame_limit = 65536, .queue_frames = 64}, &w.link));
    stoa_sessions_options sessions = {.link = w.link,
                                      .session = {.name = "b", .incarnation = ++w.incarnation, .epoch = 1, .events = &events}};
    STOA_ASSERT(!stoa_sessions_new(&sessions, &w.sessions));
    for (uint32_t i = 0; i < 4000 && !(w.up && w.number); i++) { tick(1); }
    STOA_ASSERT(w.up && w.number);
}

static stoa_err send(stoa_lane lane, uint8_t type, uint64_t source, uint64_t target, const void *bytes, uint32_t size_bytes)
{
    uint64_t seq;
    return stoa_session_send(stoa_sessions_at(w.sessions, 0), lane, type, source, target, 0, bytes, size_bytes, w.clock.now, &seq);
}

/* Numbers that mean something, and others. */
static uint64_t number_of(unsigned choice, const uint8_t *bytes)
{
    uint64_t any;
    memcpy(&any, bytes, sizeof any);
    switch (choice & 3) {
    case 0: return w.number;
    case 1: return UINT64_C(1) << 24 | (bytes[0] & 7);
    case 2: return (uint64_t)(bytes[1] & 3) << 24 | (bytes[0] & 7);
    default: return any;
    }
}

/* A payload that is one, with the head before it as it came: rows by number. */
static void mend(uint8_t *bytes, uint32_t size_bytes)
{
    stoa_remote_head head;
    if (size_bytes < sizeof head) { return; }
    memcpy(&head, bytes, sizeof head);
    if (head.row < 64) { head.row = stoa_remote_row_word(&pot_rows[1 + head.row % pot_table.row_count]); }
    memcpy(bytes, &head, sizeof head);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    stoa_remote_body body;
    if (!w.node) { open_world(); }
    for (uint8_t type = 0; type <= STOA_REMOTE_FRAMES; type++) {
        if (size_bytes <= UINT32_MAX) { (void)stoa_remote_frame_read(type, bytes, (uint32_t)size_bytes, &body); }
    }
    begin_peer();
    for (uint32_t i = 0; i < PIECES_MAX && size_bytes >= 20; i++) {
        uint8_t piece[PIECE_MAX];
        uint32_t size = bytes[3], has = (uint32_t)(size_bytes - 20 < size ? size_bytes - 20 : size);
        memcpy(piece, bytes + 20, has);
        if (bytes[2] & 64) { mend(piece, has); }
        (void)send((stoa_lane)(bytes[0] % STOA_LANE_COUNT), bytes[1], number_of(bytes[2], bytes + 4), number_of(bytes[2] >> 2, bytes + 12),
                   piece, has);
        bytes += 20 + has;
        size_bytes -= 20 + has;
        if (i % 8 == 7) { tick(2); }
    }
    tick(8);
    begin_peer();
    static const stoa_remote_head none;
    uint8_t cast[64];
    stoa_remote_head head = none;
    head.row = stoa_remote_row_word(&pot_rows[pot_ROW_put]);
    static const uint8_t payload[] = {0x92, 5, 0xa2, 'o', 'k'};
    memcpy(cast, &head, sizeof head);
    memcpy(cast + sizeof head, payload, sizeof payload);
    uint64_t before = w.casts;
    for (uint32_t i = 0; i < 8000 && w.casts == before; i++) { /* it may have been told to fail, and wait for its restart */
        bool again = i % 100 == 0;
        if (again) { (void)send(STOA_LANE_NORMAL, STOA_REMOTE_CAST, UINT64_C(1) << 24 | 1, w.number, cast, sizeof head + sizeof payload); }
        tick(1);
    }
    STOA_ASSERT(w.casts > before); /* the pot has answered */
    return 0;
}
