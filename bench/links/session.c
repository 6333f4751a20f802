/* session.c - a session over one of our links as a wire of bench/links/wires.h: messages of one lane, in the session's batches.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/clock.h"
#include "bench/common/figure.h"
#include "bench/links/wires.h"
#include "transport/sessions.h"

enum { BATCH_BYTES = 64 * 1024, BATCH_MORE = 1024, WINDOW_BYTES = 8 << 20, QUEUE_FRAMES = 256, POLL_MAX = 64 };

typedef struct end {
    stoa_link *link;
    stoa_sessions *sessions;
    stoa_session *session; /* once it is up */
    duel_take *take;
    void *context;
    uint64_t now_ns; /* of the last poll: a message's own time is nobody's business here */
    bool naps;
    stoa_session_events events;
} end;

static void on_message(void *context, stoa_session *session, const stoa_session_message *message)
{
    end *e = context;
    (void)session;
    e->take(e->context, message->bytes, message->size_bytes);
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    (void)resumed;
    ((end *)context)->session = session;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    (void)context, (void)session, (void)why;
    duel_fail("the session is down");
}
static void on_reset(void *context, stoa_session *session, const stoa_session_reset *what)
{
    (void)context, (void)session, (void)what;
}
static void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    (void)context, (void)session, (void)here;
    bench_must(why, "a session was refused");
}
static void on_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    (void)context, (void)session, (void)message, (void)here;
}
static void on_room(void *context, stoa_session *session, stoa_lane lane)
{
    (void)context, (void)session, (void)lane;
}

static void session_step(void *of)
{
    end *e = of;
    (void)stoa_sessions_step(e->sessions, e->now_ns);
}

static void session_poll(void *of, duel_take *take, void *context)
{
    end *e = of;
    e->take = take;
    e->context = context;
    e->now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    uint32_t told = stoa_sessions_poll(e->sessions, e->now_ns, POLL_MAX);
    session_step(e);
    if (told == 0 && e->naps) { bench_link_nap(e->link); }
}

static bool session_send(void *of, const void *bytes, uint32_t size_bytes)
{
    end *e = of;
    uint64_t seq;
    stoa_err err = stoa_session_send(e->session, STOA_LANE_NORMAL, 1, 0, 0, 0, bytes, size_bytes, e->now_ns, &seq);
    if (err && err != STOA_E_FULL) { bench_must(err, "send"); }
    return !err;
}

static void ignore(void *context, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)bytes, (void)size_bytes;
}

static void *session_open(duel_page *page, int side, const char *how, uint32_t size_bytes)
{
    end *e = calloc(1, sizeof *e);
    if (!e) { duel_fail("no memory"); }
    uint32_t batch_bytes = (size_bytes > BATCH_BYTES ? size_bytes : BATCH_BYTES) + BATCH_MORE;
    e->naps = bench_link_naps(how);
    e->link = bench_link_meet(page, side, how, batch_bytes, QUEUE_FRAMES);
    e->events = (stoa_session_events){.message = on_message,
                                      .up = on_up,
                                      .down = on_down,
                                      .reset = on_reset,
                                      .refused = on_refused,
                                      .expired = on_expired,
                                      .room = on_room,
                                      .context = e};
    stoa_sessions_options options = {.link = e->link, .listens = side == 0};
    options.session = (stoa_session_options){.name = side == 0 ? "reader" : "writer",
                                             .incarnation = 1,
                                             .batch_bytes = batch_bytes,
                                             .window_bytes = {WINDOW_BYTES, WINDOW_BYTES, WINDOW_BYTES},
                                             .link_frames = QUEUE_FRAMES,
                                             .silence_max_ns = STOA_S(60),
                                             .heartbeat_ns = STOA_S(1),
                                             .events = &e->events};
    bench_must(stoa_sessions_new(&options, &e->sessions), "sessions");
    while (!e->session) {
        session_poll(e, ignore, NULL);
    }
    return e;
}

static void session_close(void *of)
{
    end *e = of;
    stoa_sessions_free(e->sessions);
    e->link->ops->close(e->link, 0);
    free(e);
}

const duel_wire bench_wire_session = {
    .open = session_open, .send = session_send, .flush = session_step, .poll = session_poll, .close = session_close};
