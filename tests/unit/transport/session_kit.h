/* session_kit.h - two sessions, a and b, over one simulated link under a clock that the test moves; and what each told.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_TRANSPORT_SESSION_KIT_H
#define TESTS_UNIT_TRANSPORT_SESSION_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/fault/link.h"
#include "transport/sessions.h"
#include "transport/sim/link.h"

typedef struct kit_end {
    stoa_link *link;
    stoa_sessions *sessions;
    uint32_t ups, resumes, downs, resets, refusals, messages, expired_here, expired_there, rooms;
    stoa_err why_down, why_refused, why_here, why_told; /* refused: last; by this end; by the other one */
    bool refused_here;
    stoa_session_reset reset;
    uint64_t last_seq[STOA_LANE_COUNT], deadline_ns, down_at_ns;
    uint64_t credit_bytes; /* of what came and was not consumed */
    uint32_t size_bytes;
    uint64_t source, target;
    void (*told)(struct kit_end *e); /* each message; NULL: nobody */
    uint8_t type, bytes[64 * 1024];
    bool stopped;
    struct kit *kit;
    stoa_session_events events;
} kit_end;

typedef struct kit {
    stoa_clock_virtual clock;
    stoa_sim_net *net;
    stoa_session_options options; /* of both, but for what names them */
    uint32_t queue_frames, sessions_max;
    kit_end a, b, c; /* a listens; c is there where a test begins it */
} kit;

static inline uint64_t kit_now(const kit *k)
{
    return k->clock.now;
}

static inline void kit_on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    kit_end *e = context;
    (void)session;
    assert_true(m->seq > e->last_seq[m->lane]);
    assert_true(e->kit->options.transfers || m->seq == e->last_seq[m->lane] + 1); /* they take numbers, too */
    e->last_seq[m->lane] = m->seq;
    e->messages++;
    e->type = m->type;
    e->deadline_ns = m->deadline_ns;
    e->size_bytes = m->size_bytes;
    e->credit_bytes += m->credit_bytes;
    e->source = m->source;
    e->target = m->target;
    memcpy(e->bytes, m->bytes, m->size_bytes);
    if (e->told) { e->told(e); }
}

static inline void kit_on_up(void *context, stoa_session *session, bool resumed)
{
    kit_end *e = context;
    (void)session;
    e->ups++;
    e->resumes += resumed;
}

static inline void kit_on_down(void *context, stoa_session *session, stoa_err why)
{
    kit_end *e = context;
    (void)session;
    e->downs++;
    e->why_down = why;
    e->down_at_ns = kit_now(e->kit);
}

static inline void kit_on_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    kit_end *e = context;
    (void)session;
    e->resets++;
    e->reset = *reset;
    memset(e->last_seq, 0, sizeof e->last_seq);
}

static inline void kit_on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    kit_end *e = context;
    (void)session;
    e->refusals++;
    e->why_refused = why;
    e->refused_here = here;
    *(here ? &e->why_here : &e->why_told) = why;
}

static inline void kit_on_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    kit_end *e = context;
    (void)session;
    e->expired_here += here;
    e->expired_there += !here;
    if (!here) {
        assert_int_equal(message->seq, e->last_seq[message->lane] + 1);
        e->last_seq[message->lane] = message->seq;
    }
}

static inline void kit_on_room(void *context, stoa_session *session, stoa_lane lane)
{
    kit_end *e = context;
    (void)session, (void)lane;
    e->rooms++;
}

static inline stoa_session_options kit_options(kit *k, const kit_end *e)
{
    stoa_session_options options = k->options;
    bool is_a = e == &k->a;
    if (!options.name) { options.name = is_a ? "a" : "b"; }
    if (!options.incarnation) { options.incarnation = 1; }
    options.events = &e->events;
    return options;
}

/* Begin an end with these options: a listens, b dials. */
static inline void kit_begin(kit *k, kit_end *e, const stoa_session_options *options)
{
    memset(e, 0, sizeof *e);
    e->kit = k;
    e->events = (stoa_session_events){.message = kit_on_message,
                                      .up = kit_on_up,
                                      .down = kit_on_down,
                                      .reset = kit_on_reset,
                                      .refused = kit_on_refused,
                                      .expired = kit_on_expired,
                                      .room = kit_on_room,
                                      .context = e};
    bool listens = e == &k->a;
    stoa_link_options link = {.listen = listens, .frame_limit = 64 * 1024, .queue_frames = k->queue_frames};
    assert_int_equal(stoa_link_open("fault+sim://kit/a", &link, &e->link), STOA_OK);
    stoa_sessions_options all = {
        .link = e->link, .listens = listens, .sessions_max = k->sessions_max, .session = *options};
    assert_int_equal(stoa_sessions_new(&all, &e->sessions), STOA_OK);
}

static inline void kit_end_now(kit_end *e)
{
    if (!e->link) { return; }
    stoa_sessions_free(e->sessions);
    e->link->ops->close(e->link, 0);
    e->link = NULL;
}

static inline stoa_session *kit_session(kit_end *e)
{
    return stoa_sessions_at(e->sessions, 0);
}

static inline stoa_session_view kit_view(kit_end *e)
{
    stoa_session_view view;
    stoa_session_look(kit_session(e), &view);
    return view;
}

static inline void kit_run_end(kit_end *e)
{
    if (!e->link || e->stopped) { return; }
    while (stoa_sessions_poll(e->sessions, kit_now(e->kit), 16) == 16) {}
    (void)stoa_sessions_step(e->sessions, kit_now(e->kit));
}

/* Let so much time go on, in steps of a millisecond. */
static inline void kit_run(kit *k, uint64_t ms)
{
    for (; ms > 0; ms--) {
        k->clock.now += STOA_MS(1);
        kit_run_end(&k->a);
        kit_run_end(&k->b);
        kit_run_end(&k->a);
    }
}

static inline stoa_err kit_send(kit_end *e, stoa_lane lane, const void *bytes, uint32_t size_bytes,
                                uint64_t deadline_ns)
{
    uint64_t seq;
    return stoa_session_send(kit_session(e), lane, 7, 1, 2, deadline_ns, bytes, size_bytes, kit_now(e->kit), &seq);
}

static inline int kit_open(void **state)
{
    kit *k = calloc(1, sizeof *k);
    assert_non_null(k);
    stoa_clock_virtual_init(&k->clock, 0);
    k->clock.now = STOA_S(1);
    k->queue_frames = 64;
    stoa_sim_net_options net = {.seed = 1, .clock = &k->clock.clock};
    assert_int_equal(stoa_sim_net_new("kit", &net, &k->net), STOA_OK);
    *state = k;
    return 0;
}

static inline int kit_close(void **state)
{
    kit *k = *state;
    kit_end_now(&k->a);
    kit_end_now(&k->b);
    kit_end_now(&k->c);
    stoa_sim_net_free(k->net);
    free(k);
    return 0;
}

/* Both, with the kit's options, and up. */
static inline void kit_up(kit *k)
{
    stoa_session_options a = kit_options(k, &k->a), b = kit_options(k, &k->b);
    kit_begin(k, &k->a, &a);
    kit_begin(k, &k->b, &b);
    kit_run(k, 5);
    assert_int_equal(k->a.ups, 1);
    assert_int_equal(k->b.ups, 1);
}

#endif
