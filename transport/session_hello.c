/* session_hello.c - greetings: who is there, whether the session goes on or begins anew, and when it may not.
 *
 * A pair of incarnations is a session. Both sides begin it, at number 1, when they first see the other one's incarnation, so
 * whoever knows the pair can go on from any point of it: a hello says which number its sender expects next, and what was
 * sent from there on is sent again. A hello with a greater incarnation ends the session that was: that is a reset. A
 * lesser one is of a process that is no more, or that should not be: STALE. Hellos are numbered, so an old one that comes
 * late or twice says nothing; and a hello says which one its sender has accepted since it greets, so that nobody is up on a
 * path that works one way, nor with who refuses it.
 *
 * Whoever has come again under an incarnation that was there before has forgotten what it said and heard: FORKED, by who
 * still knows. It shows by a number that was never sent, by one that was and is not expected any more, or by not knowing
 * this side, with which it has exchanged messages. Nothing mends that but a greater incarnation.
 *
 * A refused side is told why, and greets again after a second, two, four, up to sixteen; at once when the connection is
 * another, or the other side greets.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "transport/session_internal.h"

enum { PAUSE_DOUBLINGS = 4 };

stoa_err stoa_session_say(stoa_session *s, stoa_envelope_what what, const void *body, uint32_t body_bytes,
                          stoa_session_id id)
{
    uint8_t piece[STOA_ENVELOPE_BYTES + sizeof(stoa_hello)] __attribute__((aligned(8)));
    stoa_envelope *e = (stoa_envelope *)(void *)piece;
    STOA_ASSERT(body_bytes <= sizeof piece - STOA_ENVELOPE_BYTES);
    *e = (stoa_envelope){.flags = stoa_envelope_flags(what, STOA_LANE_CONTROL), .epoch = (uint32_t)s->options.epoch};
    memcpy(piece + STOA_ENVELOPE_BYTES, body, body_bytes);
    stoa_envelope_seal(e, STOA_ENVELOPE_BYTES + body_bytes, id);
    stoa_err err = s->link->ops->send(s->link, s->link_peer, piece, STOA_ENVELOPE_BYTES + body_bytes);
    s->blocked = s->blocked || err == STOA_E_FULL;
    if (!err) { s->counts.bytes_sent += STOA_ENVELOPE_BYTES + body_bytes; }
    return err;
}

void stoa_session_greet(stoa_session *s, bool wants, uint64_t now_ns)
{
    stoa_hello hello = {
        .version_min = s->options.version_min,
        .version_max = s->options.version_max,
        .flags = (wants ? STOA_HELLO_WANTS : 0U) | (s->options.trusts_link ? STOA_HELLO_TRUSTS : 0U),
        .number = ++s->hello_number,
        .heard = s->accepted,
        .incarnation = s->options.incarnation,
        .peer_incarnation = s->peer_incarnation,
        .epoch = s->options.epoch,
    };
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        hello.lanes[i] = stoa_lane_mark_of(s, (stoa_lane)i);
    }
    memcpy(hello.name, s->name, sizeof hello.name);
    (void)now_ns;
    (void)stoa_session_say(s, STOA_ENVELOPE_HELLO, &hello, sizeof hello, 0);
}

/* --- refused */

void stoa_session_refused(stoa_session *s, stoa_err why, bool here, uint64_t now_ns)
{
    uint32_t doublings = s->refusals < PAUSE_DOUBLINGS ? s->refusals : PAUSE_DOUBLINGS;
    s->refusals++;
    stoa_session_lost(s, STOA_E_CLOSED, now_ns + (STOA_S(STOA_REFUSED_PAUSE_S) << doublings));
    s->greeting_from = s->refused_to = s->hello_number;
    s->greeting_from++;
    s->options.events->refused(s->options.events->context, s, why, here);
}

static stoa_err refuse(stoa_session *s, const stoa_hello *hello, stoa_err why, uint64_t now_ns)
{
    stoa_refusal refusal = {.why = (int32_t)why,
                            .version_min = s->options.version_min,
                            .version_max = s->options.version_max,
                            .number = hello->number};
    if (s->link) { (void)stoa_session_say(s, STOA_ENVELOPE_REFUSE, &refusal, sizeof refusal, 0); }
    /* A process that is no more must not disturb the session of the one that is. */
    if (s->state == STOA_SESSION_UP && why != STOA_E_FORKED) {
        s->options.events->refused(s->options.events->context, s, why, true);
    } else {
        stoa_session_refused(s, why, true, now_ns);
    }
    return why;
}

stoa_err stoa_session_take_refusal(stoa_session *s, const void *bytes, uint32_t size_bytes, uint64_t now_ns)
{
    stoa_refusal refusal;
    stoa_err err = stoa_refusal_read(bytes, size_bytes, &refusal);
    if (err) { return err; }
    if (refusal.why == STOA_E_CLOSED) {
        err = s->peer_incarnation ? stoa_envelope_check(bytes, size_bytes, s->id_in) : STOA_E_STALE;
        if (!err) { stoa_session_lost(s, STOA_OK, now_ns + STOA_S(STOA_REFUSED_PAUSE_S)); }
        return err;
    }
    err = stoa_envelope_check(bytes, size_bytes, 0);
    if (err) { return err; }
    bool ours = refusal.number > s->refused_to && refusal.number <= s->hello_number;
    if (s->state != STOA_SESSION_GREETING || !ours) { return STOA_E_STALE; }
    stoa_session_refused(s, (stoa_err)refusal.why, false, now_ns);
    return STOA_OK;
}

/* --- hellos */

bool stoa_session_trusts(const stoa_session *s, const char *identity)
{
    return identity[0] || !s->proven;
}

/* Errors: VERSION, DENIED. */
static stoa_err hello_check(const stoa_session *s, const char *identity, const stoa_hello *hello)
{
    bool other = s->peer[0] && strcmp(hello->name, s->peer) != 0;
    if (other || !stoa_node_name_is_proven(hello->name, identity) || !stoa_session_trusts(s, identity)) { return STOA_E_DENIED; }
    if (hello->version_max < s->options.version_min || hello->version_min > s->options.version_max) {
        return STOA_E_VERSION;
    }
    return STOA_OK;
}

bool stoa_session_has_exchanged(const stoa_session *s)
{
    bool has = false;
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        has = has || s->out[i].acked > 0 || s->in[i].next > 1;
    }
    return has;
}

/* It expects a number that it has said before had come: it has forgotten, or this is a hello that others have overtaken. */
static bool is_behind(const stoa_session *s, const stoa_hello *hello)
{
    bool is = false;
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        is = is || hello->lanes[i].acked < s->out[i].acked;
    }
    return is && hello->incarnation == s->peer_incarnation;
}

/* Whether it may go on from what it knows. Errors: STALE, FORKED. */
static stoa_err life_check(const stoa_session *s, const stoa_hello *hello)
{
    bool is_new = hello->incarnation > s->peer_incarnation; /* whose epochs may be of another data folder */
    bool stale = hello->incarnation < s->peer_incarnation || (!is_new && hello->epoch < s->peer_epoch) ||
                 hello->peer_incarnation > s->options.incarnation;
    if (stale) { return STOA_E_STALE; }
    bool knows = hello->peer_incarnation == s->options.incarnation;
    if (!knows) { return !is_new && stoa_session_has_exchanged(s) ? STOA_E_FORKED : STOA_OK; }
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < STOA_LANE_COUNT && !err; i++) {
        bool heard_nothing = hello->lanes[i].acked == 0; /* as who is new must have */
        err = is_new && !heard_nothing ? STOA_E_FORKED : stoa_lane_mark_check(s, (stoa_lane)i, hello->lanes[i]);
    }
    /* What answers this greeting is as new as what is known here. */
    bool anew = s->state != STOA_SESSION_UP && hello->heard >= s->greeting_from;
    return anew && is_behind(s, hello) ? STOA_E_FORKED : err;
}

/* A session with another incarnation of the peer begins; what was, is told. */
static void begin(stoa_session *s, const stoa_hello *hello, uint64_t now_ns)
{
    stoa_session_reset reset = {.old_incarnation = s->peer_incarnation, .new_incarnation = hello->incarnation};
    bool first = s->peer_incarnation == 0;
    stoa_session_lost(s, STOA_E_CLOSED, now_ns);
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        reset.lanes[i].acked = s->out[i].acked;
        reset.lanes[i].lost = s->out[i].next_seq - 1 - s->out[i].acked;
        reset.lanes[i].received = s->in[i].next - 1;
        if (!first) { stoa_lane_clear(s, (stoa_lane)i); } /* what was queued before the first goes to it */
    }
    s->peer_incarnation = hello->incarnation;
    s->peer_hello = 0;
    s->met = false;
    s->refusals = 0;
    s->id_out = stoa_session_id_of(s->name, s->options.incarnation, s->peer, s->peer_incarnation);
    s->id_in = stoa_session_id_of(s->peer, s->peer_incarnation, s->name, s->options.incarnation);
    if (first) { return; }
    s->counts.resets++;
    stoa_transfers_reset(s);
    s->options.events->reset(s->options.events->context, s, &reset);
}

/* The peer knows this incarnation: go on from where it is. */
static void go_on(stoa_session *s, const stoa_hello *hello, uint64_t now_ns)
{
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        (void)stoa_lane_acked(s, (stoa_lane)i, hello->lanes[i], now_ns);
    }
    if (s->state == STOA_SESSION_UP && (hello->flags & STOA_HELLO_WANTS) == 0) { return; }
    /* What was sent before is lost, as it was not up; what was sent since this was noticed first is behind the answer. */
    bool again = s->state == STOA_SESSION_UP && now_ns - s->rewound_ns < stoa_session_silence_ns(s);
    for (unsigned i = 0; !again && i < STOA_LANE_COUNT; i++) {
        stoa_lane_rewind(s, (stoa_lane)i);
    }
    if (!again) { s->rewound_ns = now_ns; }
    /* Both ways work, and it lets us in, only if it has accepted a hello of this greeting. */
    if (s->state == STOA_SESSION_UP || hello->heard < s->greeting_from) { return; }
    bool resumed = s->met;
    s->state = STOA_SESSION_UP;
    s->met = true;
    s->refusals = 0;
    s->counts.ups++;
    s->counts.resumes += resumed;
    stoa_pulse_begin(s, now_ns);
    s->options.events->up(s->options.events->context, s, resumed);
}

stoa_err stoa_session_take_hello(stoa_session *s, const char *identity, const void *bytes, uint32_t size_bytes,
                                 uint64_t now_ns)
{
    stoa_hello hello;
    stoa_err err = stoa_hello_read(bytes, size_bytes, &hello);
    if (!err) { err = stoa_envelope_check(bytes, size_bytes, 0); }
    if (err) { return err; }
    if (!s->link) { return STOA_E_STALE; }
    err = hello_check(s, identity, &hello);
    if (err) { return refuse(s, &hello, err, now_ns); }
    if (hello.incarnation == s->peer_incarnation && hello.number <= s->peer_hello) { return STOA_E_STALE; }
    err = life_check(s, &hello);
    if (err) { return refuse(s, &hello, err, now_ns); }

    memcpy(s->peer, hello.name, sizeof s->peer);
    s->proven = s->proven || identity[0];
    s->peer_epoch = hello.epoch;
    s->bare = s->options.trusts_link && hello.flags & STOA_HELLO_TRUSTS;
    if (hello.incarnation > s->peer_incarnation) { begin(s, &hello, now_ns); }
    s->peer_hello = hello.number;
    if (!is_behind(s, &hello)) { s->accepted = hello.number; }
    if (hello.peer_incarnation == s->options.incarnation) { go_on(s, &hello, now_ns); }
    if (hello.flags & STOA_HELLO_WANTS) { stoa_session_greet(s, s->state != STOA_SESSION_UP, now_ns); }
    return STOA_OK;
}
