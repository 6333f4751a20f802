/* zmq/dial.c - the side that dials: a DEALER for one connection, and a new one for the next.
 *
 *     RESTING --(pause over)--> TRYING --(handshake done: up)--> UP
 *        ^                         |                              |
 *        +---(refused, no answer in time)--(lost, silent: down)---+
 *
 * libzmq could dial again by itself. It is not left to, because it would mix the last frames of the old connection with
 * the first of the new one, and because it gives up without a word once it was refused. The pause between attempts
 * doubles from 40 to 1,000 ms, less up to a half by chance so that many do not come back at once, and begins anew with
 * the first frame that comes in.
 *
 * While UP, the listener is asked twice a second whether it is there. Silence is counted in such questions, not in
 * time: an owner that has not polled for a while asks again before it judges. An answer is sent when all that came
 * before its question was read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/random.h"
#include "transport/zmq/inner.h"

enum {
    PAUSE_FIRST_MS = 40,
    PAUSE_MAX_MS = 1000,
    ATTEMPT_MS = STOA_ZMQ_HANDSHAKE_MS,
    ASK_MS = 500,
    UNANSWERED_MAX = 6,
};

typedef enum phase { RESTING, TRYING, UP } phase;

typedef struct dialler {
    stoa_zmq_link base;
    phase phase;
    stoa_link_timer timer; /* RESTING: end of the pause; TRYING: of the attempt; UP: time to ask */
    bool ready;           /* TRYING: the handshake is done, up is to be told */
    bool lost;            /* the connection is gone; what is left in the queue is to be read */
    bool dismissed;       /* the listener said good-bye; nothing is to be read */
    bool leaves;          /* the last question of all is asked */
    uint32_t unanswered;  /* questions since the last message */
    uint32_t owed;        /* answers that will come, or that the listener had no room for */
    uint32_t pause_ms;
    stoa_peer peer; /* the connection's number */
    stoa_random random;
} dialler;

static dialler *own(stoa_zmq_link *link)
{
    return (dialler *)(void *)link;
}

/* --- attempts */

static void rest(dialler *self)
{
    uint32_t half_ms = self->pause_ms / 2;
    self->phase = RESTING;
    stoa_link_timer_set(&self->timer, half_ms + (uint32_t)stoa_random_below(&self->random, half_ms));
    self->pause_ms = self->pause_ms * 2 < PAUSE_MAX_MS ? self->pause_ms * 2 : PAUSE_MAX_MS;
}

static stoa_err attempt(dialler *self)
{
    stoa_zmq_link *link = &self->base;
    stoa_err err = stoa_zmq_socket_open(link->context, link->epoll, &link->settings, &link->socket);
    if (err) { return err; }
    if (zmq_connect(link->socket.data, link->endpoint) != 0) {
        int number = errno;
        stoa_zmq_socket_close(&link->socket);
        return STOA_FAIL(number == EINVAL || number == EPROTONOSUPPORT ? STOA_E_INVALID : STOA_E_IO, "%s: %s",
                         link->endpoint, zmq_strerror(number));
    }
    self->phase = TRYING;
    link->watch_due = true;
    stoa_link_timer_set(&self->timer, ATTEMPT_MS);
    return STOA_OK;
}

static void hang_up(dialler *self)
{
    stoa_zmq_socket_close(&self->base.socket);
    stoa_zmq_link_release(&self->base);
    self->ready = self->lost = self->dismissed = false;
    rest(self);
}

/* False when there is no room for the question. */
static bool ask(dialler *self)
{
    bool asked = stoa_zmq_socket_send(&self->base.socket, NULL, 0, "", 0) == STOA_OK;
    self->owed += asked;
    return asked;
}

static void tick(dialler *self)
{
    if (!stoa_link_timer_is_over(&self->timer)) { return; }
    if (self->phase == UP) {
        (void)ask(self);
        self->unanswered++;
        stoa_link_timer_set(&self->timer, ASK_MS);
    } else if (self->phase == TRYING) {
        self->lost = true;
    } else if (attempt(self) != STOA_OK) {
        rest(self); /* out of descriptors or memory, for now */
    }
}

/* --- open */

static stoa_err open_side(stoa_zmq_link *link, const stoa_link_options *options)
{
    dialler *self = own(link);
    uint64_t seed;
    (void)options;
    stoa_random_system(&seed, sizeof seed);
    stoa_random_seed(&self->random, seed);
    self->pause_ms = PAUSE_FIRST_MS;
    stoa_err err = stoa_link_timer_open(&self->timer, link->epoll);
    return err ? err : attempt(self);
}

static void release_side(stoa_zmq_link *link)
{
    stoa_link_timer_close(&own(link)->timer);
}

/* --- events */

static void watch(dialler *self)
{
    stoa_zmq_notice notice;
    self->base.watch_due = false;
    while (stoa_zmq_socket_watch(&self->base.socket, &notice)) {
        if (notice.sign == STOA_ZMQ_READY && self->phase == TRYING) { self->ready = true; }
        if (notice.sign == STOA_ZMQ_REFUSED && notice.why) { stoa_zmq_link_refused(&self->base, notice.why); }
        if (notice.sign != STOA_ZMQ_READY) { self->lost = true; }
    }
}

static bool tell_up(dialler *self, const stoa_link_events *events)
{
    if (!self->ready) { return false; }
    self->ready = false;
    self->phase = UP;
    self->unanswered = self->owed = 0;
    stoa_link_timer_set(&self->timer, ASK_MS);
    self->base.counts.ups++;
    events->up(events->context, ++self->peer);
    return true;
}

static void deliver(dialler *self, const stoa_link_events *events, zmq_msg_t *msg)
{
    self->pause_ms = PAUSE_FIRST_MS;
    events->frame(events->context, self->peer, "", zmq_msg_data(msg), (uint32_t)zmq_msg_size(msg));
}

static bool deliver_held(dialler *self, const stoa_link_events *events)
{
    if (!self->base.holds || self->phase != UP) { return false; }
    deliver(self, events, &self->base.held);
    stoa_zmq_link_release(&self->base);
    return true;
}

/* A message of several parts: good-bye, or nothing we know. */
static void take_good_bye(dialler *self, const zmq_msg_t *first)
{
    bool known = zmq_msg_size(first) == 0;
    zmq_msg_t name;
    zmq_msg_init(&name);
    if (stoa_zmq_socket_receive(&self->base.socket, &name)) {
        known = known && !stoa_zmq_socket_skip(&self->base.socket, &name);
        stoa_err why = known ? stoa_refusals_named(zmq_msg_data(&name), zmq_msg_size(&name)) : STOA_E_MALFORMED;
        if (why) { stoa_zmq_link_refused(&self->base, why); }
    }
    zmq_msg_close(&name);
    self->lost = self->dismissed = true;
}

/* One message; true when it was delivered. */
static bool take(dialler *self, const stoa_link_events *events, zmq_msg_t *msg)
{
    self->unanswered = 0;
    if (zmq_msg_more(msg)) {
        take_good_bye(self, msg);
        return false;
    }
    if (zmq_msg_size(msg) == 0) { /* the listener is there */
        self->owed -= self->owed > 0;
        return false;
    }
    if (self->phase != UP) {
        stoa_zmq_link_hold(&self->base, msg);
        watch(self); /* it came after the handshake, so the monitor knows */
        return false;
    }
    deliver(self, events, msg);
    return true;
}

static bool take_next(dialler *self, const stoa_link_events *events, bool *empty_out)
{
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    *empty_out = !stoa_zmq_socket_receive(&self->base.socket, &msg);
    bool told = !*empty_out && take(self, events, &msg);
    zmq_msg_close(&msg);
    return told;
}

static bool tell_down(dialler *self, const stoa_link_events *events)
{
    bool silent = self->phase == UP && self->unanswered > UNANSWERED_MAX;
    if (!self->lost && !silent) { return false; }
    bool was_up = self->phase == UP;
    hang_up(self);
    if (!was_up) { return false; }
    self->base.counts.downs++;
    events->down(events->context, self->peer);
    return true;
}

static bool tell(dialler *self, const stoa_link_events *events)
{
    return stoa_zmq_link_tell_refused(&self->base, events) || tell_up(self, events) || deliver_held(self, events);
}

static bool step(stoa_zmq_link *link, const stoa_link_events *events)
{
    dialler *self = own(link);
    tick(self);
    if (self->phase == RESTING) { return stoa_zmq_link_tell_refused(link, events); }
    if (link->watch_due) { watch(self); }
    if (tell(self, events)) { return true; }
    bool empty = false;
    while (!empty && !self->dismissed) {
        if (take_next(self, events, &empty) || tell(self, events)) { return true; }
        if (!empty && ++link->silent > STOA_ZMQ_SILENT_MAX) { return false; }
    }
    return tell_down(self, events);
}

/* --- frames out */

static stoa_err send_side(stoa_zmq_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    const dialler *self = own(link);
    (void)peer;
    if (self->phase != UP || self->lost) { return STOA_E_CLOSED; }
    return stoa_zmq_socket_send(&link->socket, NULL, 0, bytes, size_bytes);
}

static stoa_err allow(stoa_zmq_link *link, const stoa_link_allowed *allowed, uint32_t count)
{
    (void)allowed, (void)count;
    return STOA_FAIL(STOA_E_INVALID, "%s is dialled: it has no allow-list", link->address);
}

static void part(stoa_zmq_link *link, stoa_peer peer)
{
    (void)link, (void)peer;
}

/* --- the end */

static bool leave(stoa_zmq_link *link)
{
    dialler *self = own(link);
    if (self->phase != UP || self->lost) { return true; }
    if (!self->leaves) {
        self->leaves = ask(self);
        return false;
    }
    return self->owed == 0;
}

const stoa_zmq_side stoa_zmq_dial = {
    .size_bytes = sizeof(dialler),
    .open = open_side,
    .step = step,
    .send = send_side,
    .allow = allow,
    .part = part,
    .leave = leave,
    .release = release_side,
};
