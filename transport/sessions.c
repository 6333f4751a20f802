/* sessions.c - see sessions.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/sessions.h"

#include <stdlib.h>
#include <string.h>

#include "base/map64.h"
#include "transport/session_internal.h"

enum { SESSIONS_DEFAULT = 64, PEER_SLOTS = 4096 };

struct stoa_sessions {
    stoa_sessions_options options;
    stoa_session *sessions[STOA_SESSIONS_MAX];
    uint32_t count;
    uint64_t now_ns; /* of the poll under way */
    stoa_sessions_counts counts;
    STOA_MAP64(PEER_SLOTS) by_peer; /* connections that have a session: its index and 1 */
};

static stoa_err session_add(stoa_sessions *all, stoa_session **out)
{
    if (all->count == all->options.sessions_max) { return STOA_E_FULL; }
    stoa_err err = stoa_session_new(&all->options.session, out);
    if (!err) { all->sessions[all->count++] = *out; }
    return err;
}

stoa_err stoa_sessions_new(const stoa_sessions_options *options, stoa_sessions **out)
{
    if (options->sessions_max > STOA_SESSIONS_MAX) { return STOA_FAIL(STOA_E_INVALID, "too many sessions"); }
    stoa_sessions *all = calloc(1, sizeof *all);
    if (!all) { return STOA_FAIL(STOA_E_NOMEM, "the sessions of a link"); }
    all->options = *options;
    if (all->options.sessions_max == 0) { all->options.sessions_max = SESSIONS_DEFAULT; }
    if (all->options.session.version_max == 0) {
        all->options.session.version_min = all->options.session.version_max = STOA_SESSION_VERSION;
    }
    stoa_session *first;
    stoa_err err = session_add(all, &first); /* the only one of who dials; here it says whether the options are good */
    if (!err && options->listens) {
        stoa_session_free(first);
        all->count = 0;
    }
    if (err) {
        stoa_sessions_free(all);
        return err;
    }
    *out = all;
    return STOA_OK;
}

void stoa_sessions_free(stoa_sessions *sessions)
{
    if (!sessions) { return; }
    for (uint32_t i = 0; i < sessions->count; i++) {
        stoa_session_free(sessions->sessions[i]);
    }
    free(sessions);
}

/* --- who is who */

static stoa_session *named(stoa_sessions *all, const char *name, uint32_t *index_out)
{
    for (uint32_t i = 0; i < all->count; i++) {
        if (strcmp(all->sessions[i]->peer, name) == 0) {
            *index_out = i;
            return all->sessions[i];
        }
    }
    return NULL;
}

static void part(stoa_sessions *all, stoa_peer peer, uint64_t now_ns)
{
    uint32_t at = STOA_MAP64_GET(&all->by_peer, peer);
    if (!at) { return; }
    (void)STOA_MAP64_REMOVE(&all->by_peer, peer);
    stoa_session_down(all->sessions[at - 1], now_ns);
}

static void join(stoa_sessions *all, stoa_peer peer, uint32_t index)
{
    stoa_session *s = all->sessions[index];
    if (s->link) { (void)STOA_MAP64_REMOVE(&all->by_peer, s->link_peer); }
    STOA_MAP64_PUT(&all->by_peer, peer, index + 1);
    stoa_session_up(s, all->options.link, peer, all->now_ns);
}

static bool is_old(const stoa_session *s, const stoa_hello *hello)
{
    return hello->incarnation < s->peer_incarnation ||
           (hello->incarnation == s->peer_incarnation && hello->number <= s->peer_hello);
}

/* It counts its hellos anew, and does not know whom it has talked to. */
static bool has_forgotten(const stoa_session *s, const stoa_hello *hello)
{
    return hello->incarnation == s->peer_incarnation && hello->peer_incarnation != s->options.incarnation &&
           stoa_session_has_exchanged(s);
}

/* The connection of a stranger has said something. Errors: why it stays one. */
static stoa_err meet(stoa_sessions *all, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    stoa_envelope e;
    stoa_hello hello;
    stoa_err err = stoa_envelope_read(bytes, size_bytes, &e);
    if (err) { return err; }
    if (stoa_envelope_is(&e) != STOA_ENVELOPE_HELLO) { return STOA_E_STALE; }
    err = stoa_hello_read(bytes, size_bytes, &hello);
    if (!err) { err = stoa_envelope_check(bytes, size_bytes, 0); }
    if (err) { return err; }
    bool itself = strcmp(hello.name, all->options.session.name) == 0;
    if (itself || !stoa_node_name_is_proven(hello.name, identity)) { return STOA_E_DENIED; }
    uint32_t index;
    stoa_session *s = named(all, hello.name, &index);
    const stoa_session_options *o = &all->options.session;
    if (hello.version_max < o->version_min || hello.version_min > o->version_max) { return STOA_E_VERSION; }
    if (s && is_old(s, &hello)) { return has_forgotten(s, &hello) ? STOA_E_FORKED : STOA_E_STALE; }
    if (!s) {
        err = session_add(all, &s);
        if (err) { return err; }
        index = all->count - 1;
        memcpy(s->peer, hello.name, sizeof s->peer);
    }
    if (all->by_peer.count == STOA_MAP64_MAX(PEER_SLOTS)) { return STOA_E_FULL; }
    join(all, peer, index);
    (void)stoa_session_take(s, identity, bytes, size_bytes, all->now_ns);
    return STOA_OK;
}

static void tell_refused(const stoa_sessions *all, const char *name, stoa_err why)
{
    if (all->options.refused) { all->options.refused(all->options.context, name, why); }
}

/* Whose hello was refused. That it was too old or found no room was looked at after its name. */
static const char *who_said(const stoa_hello *hello, const char *identity, stoa_err why)
{
    bool good = why == STOA_E_VERSION || why == STOA_E_STALE || why == STOA_E_FORKED || why == STOA_E_FULL;
    return good ? hello->name : identity;
}

/* Tell a stranger why, if it has said a hello at all. */
static void answer(stoa_sessions *all, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes, stoa_err why)
{
    stoa_hello hello;
    struct {
        stoa_envelope e;
        stoa_refusal body;
    } piece = {.e = {.flags = stoa_envelope_flags(STOA_ENVELOPE_REFUSE, STOA_LANE_CONTROL),
                     .epoch = (uint32_t)all->options.session.epoch}};
    all->counts.strangers_refused++;
    all->counts.stranger_why = why;
    if (stoa_hello_read(bytes, size_bytes, &hello)) {
        tell_refused(all, "", why);
        return;
    }
    tell_refused(all, who_said(&hello, identity, why), why);
    piece.body = (stoa_refusal){.why = (int32_t)why,
                                .version_min = all->options.session.version_min,
                                .version_max = all->options.session.version_max,
                                .number = hello.number};
    stoa_envelope_seal(&piece.e, sizeof piece, 0);
    (void)all->options.link->ops->send(all->options.link, peer, &piece, sizeof piece);
}

/* --- the link's events */

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    stoa_sessions *all = context;
    uint32_t at = STOA_MAP64_GET(&all->by_peer, peer);
    if (at) {
        (void)stoa_session_take(all->sessions[at - 1], identity, bytes, size_bytes, all->now_ns);
        return;
    }
    stoa_err err = meet(all, peer, identity, bytes, size_bytes);
    if (err) { answer(all, peer, identity, bytes, size_bytes, err); }
}

static void on_up(void *context, stoa_peer peer)
{
    stoa_sessions *all = context;
    if (!all->options.listens) { join(all, peer, 0); }
}

static void on_down(void *context, stoa_peer peer)
{
    stoa_sessions *all = context;
    part(all, peer, all->now_ns);
}

static void on_refused(void *context, stoa_err why)
{
    stoa_sessions *all = context;
    all->counts.link_refused++;
    all->counts.link_why = why;
    tell_refused(all, NULL, why);
}

uint32_t stoa_sessions_poll(stoa_sessions *sessions, uint64_t now_ns, uint32_t max)
{
    const stoa_link_events events = {
        .frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = sessions};
    sessions->now_ns = now_ns;
    return sessions->options.link->ops->poll(sessions->options.link, &events, max);
}

uint64_t stoa_sessions_step(stoa_sessions *sessions, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < sessions->count; i++) {
        next_ns = stoa_sooner(next_ns, stoa_session_step(sessions->sessions[i], now_ns));
    }
    return next_ns;
}

void stoa_sessions_leave(stoa_sessions *sessions, uint64_t now_ns)
{
    for (uint32_t i = 0; i < sessions->count; i++) {
        stoa_session_leave(sessions->sessions[i], now_ns);
    }
    memset(&sessions->by_peer, 0, sizeof sessions->by_peer);
}

void stoa_sessions_part(const stoa_session *session)
{
    if (session->link) { session->link->ops->part(session->link, session->link_peer); }
}

void stoa_sessions_relink(stoa_sessions *sessions, stoa_link *link, uint64_t now_ns)
{
    memset(&sessions->by_peer, 0, sizeof sessions->by_peer);
    sessions->options.link = link;
    for (uint32_t i = 0; i < sessions->count; i++) {
        if (sessions->sessions[i]->link) { stoa_session_down(sessions->sessions[i], now_ns); }
    }
}

/* --- looking */

stoa_session *stoa_sessions_find(stoa_sessions *sessions, const char *name)
{
    uint32_t index;
    bool only = !sessions->options.listens && sessions->sessions[0]->peer[0] == '\0';
    return only ? sessions->sessions[0] : named(sessions, name, &index);
}

uint32_t stoa_sessions_count(const stoa_sessions *sessions)
{
    return sessions->count;
}

stoa_session *stoa_sessions_at(stoa_sessions *sessions, uint32_t index)
{
    return index < sessions->count ? sessions->sessions[index] : NULL;
}

void stoa_sessions_counted(const stoa_sessions *sessions, stoa_sessions_counts *out)
{
    *out = sessions->counts;
}
