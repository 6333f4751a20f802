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
    stoa_sessions *kin; /* a ring, in which it is itself */
    stoa_session *sessions[STOA_SESSIONS_MAX];
    uint32_t count;
    uint64_t now_ns; /* of the poll under way */
    stoa_sessions_counts counts;
    stoa_peer dialled; /* dial: the connection */
    bool connected;    /* there is one */
    STOA_MAP64(PEER_SLOTS) by_peer; /* connections that have a session: its index and 1 */
};

static stoa_err session_add(stoa_sessions *all, stoa_session **out)
{
    if (all->count == all->options.sessions_max) { return STOA_E_FULL; }
    stoa_err err = stoa_session_new(&all->options.session, out);
    if (err) { return err; }
    all->sessions[all->count++] = *out;
    (*out)->at = all;
    (*out)->holders = 1;
    return STOA_OK;
}

static void session_let_go(stoa_sessions *all, stoa_session *s)
{
    if (s->at == all) {
        s->at = NULL;
        s->link = NULL;
    }
    if (--s->holders == 0) { stoa_session_free(s); }
}

static stoa_session *own_named(stoa_sessions *all, const char *name, uint32_t *index_out)
{
    for (uint32_t i = 0; i < all->count; i++) {
        if (strcmp(all->sessions[i]->peer, name) == 0) {
            *index_out = i;
            return all->sessions[i];
        }
    }
    return NULL;
}

static stoa_session *kin_named(const stoa_sessions *all, const char *name)
{
    stoa_session *s = NULL;
    uint32_t index;
    for (stoa_sessions *kin = all->kin; kin != all && !s; kin = kin->kin) { s = own_named(kin, name, &index); }
    return s;
}

/* The session with a node, of this link from now on if another one has it; NULL with OK: nobody has. Errors: EXISTS (it does not fit), FULL. */
static stoa_err named(stoa_sessions *all, const char *name, uint32_t *index_out, stoa_session **out)
{
    *out = own_named(all, name, index_out);
    stoa_session *s = *out ? NULL : kin_named(all, name);
    if (!s) { return STOA_OK; }
    if (!stoa_session_fits(s, &all->options.session)) { return STOA_E_EXISTS; }
    if (all->count == all->options.sessions_max) { return STOA_E_FULL; }
    s->holders++;
    *index_out = all->count;
    all->sessions[all->count++] = *out = s;
    return STOA_OK;
}

static void kin_leave(stoa_sessions *all)
{
    stoa_sessions *before = all;
    while (before->kin != all) { before = before->kin; }
    before->kin = all->kin;
}

/* The only session of who dials; of who listens a first one says whether the options are good. */
static stoa_err first_session(stoa_sessions *all)
{
    uint32_t index;
    stoa_session *first = NULL;
    const char *peer = all->options.session.peer;
    stoa_err err = peer && !all->options.listens ? named(all, peer, &index, &first) : STOA_OK;
    if (err || first) { return err; }
    err = session_add(all, &first);
    if (err || !all->options.listens) { return err; }
    stoa_session_free(first);
    all->count = 0;
    return STOA_OK;
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
    all->kin = options->kin ? options->kin->kin : all;
    if (options->kin) { options->kin->kin = all; }
    stoa_err err = first_session(all);
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
    kin_leave(sessions);
    for (uint32_t i = 0; i < sessions->count; i++) { session_let_go(sessions, sessions->sessions[i]); }
    free(sessions);
}

/* --- who is who */

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
    if (s->link) { (void)STOA_MAP64_REMOVE(&s->at->by_peer, s->link_peer); }
    if (s->at != all) { stoa_session_over(s, &all->options.session); }
    s->at = all;
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

/* Both have dialled: of two greetings that of the lesser name goes on, while it may yet succeed. */
static bool greets_elsewhere(const stoa_sessions *all, const stoa_session *s)
{
    bool dials = s->link && s->at != all && !s->at->options.listens && s->state == STOA_SESSION_GREETING;
    return dials && strcmp(s->name, s->peer) < 0 && all->now_ns - s->linked_ns < s->options.silence_max_ns;
}

/* A piece of a session that another link carries now, which was on its way when it went there. */
static bool is_late(const stoa_sessions *all, const void *bytes, uint32_t size_bytes)
{
    stoa_envelope e;
    bool piece = stoa_envelope_read(bytes, size_bytes, &e) == STOA_OK && stoa_envelope_is(&e) != STOA_ENVELOPE_HELLO;
    for (uint32_t i = 0; piece && i < all->count; i++) {
        const stoa_session *s = all->sessions[i];
        if (s->at != all && s->peer_incarnation && stoa_envelope_check(bytes, size_bytes, s->id_in) == STOA_OK) { return true; }
    }
    return false;
}

/* It dials by no name, and does not know that it is up with this node over another link. */
static bool is_unaware(const stoa_sessions *all, const stoa_session *s, const stoa_hello *hello)
{
    return s->state == STOA_SESSION_UP && s->at != all && hello->incarnation == s->peer_incarnation && !hello->peer_incarnation;
}

/* Tell it, with a hello that goes there and nowhere else. */
static void introduce(const stoa_sessions *all, stoa_peer peer, stoa_session *s)
{
    stoa_link *link = s->link;
    stoa_peer link_peer = s->link_peer;
    bool blocked = s->blocked;
    s->link = all->options.link;
    s->link_peer = peer;
    stoa_session_greet(s, false, all->now_ns);
    s->link = link;
    s->link_peer = link_peer;
    s->blocked = blocked;
}

/* Whether one of that name may come. */
static bool is_awaited(const stoa_sessions *all, const char *name)
{
    static const char between[] = ", ";
    const char *at = all->options.nodes ? all->options.nodes : "";
    size_t name_bytes = strlen(name), bytes;
    bool any = !at[strspn(at, between)];
    for (; !any && (at += strspn(at, between), (bytes = strcspn(at, between)) > 0); at += bytes) {
        any = bytes == name_bytes && memcmp(at, name, bytes) == 0;
    }
    return any;
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
    if (itself || !stoa_node_name_is_proven(hello.name, identity) || !is_awaited(all, hello.name)) { return STOA_E_DENIED; }
    uint32_t index;
    stoa_session *s;
    const stoa_session_options *o = &all->options.session;
    if (hello.version_max < o->version_min || hello.version_min > o->version_max) { return STOA_E_VERSION; }
    err = named(all, hello.name, &index, &s);
    if (err) { return err; }
    if (s && !stoa_session_trusts(s, identity)) { return STOA_E_DENIED; }
    if (s && greets_elsewhere(all, s)) { return STOA_E_EXISTS; }
    if (s && is_unaware(all, s, &hello)) {
        introduce(all, peer, s);
        return STOA_OK;
    }
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
static const char *who_said(const stoa_sessions *all, const stoa_hello *hello, const char *identity, stoa_err why)
{
    bool unawaited = why == STOA_E_DENIED && stoa_node_name_is_proven(hello->name, identity) && !is_awaited(all, hello->name);
    bool good = unawaited || why == STOA_E_VERSION || why == STOA_E_STALE || why == STOA_E_FORKED || why == STOA_E_FULL ||
                why == STOA_E_EXISTS;
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
    tell_refused(all, who_said(all, &hello, identity, why), why);
    piece.body = (stoa_refusal){.why = (int32_t)why,
                                .version_min = all->options.session.version_min,
                                .version_max = all->options.session.version_max,
                                .number = hello.number};
    stoa_envelope_seal(&piece.e, sizeof piece, 0);
    (void)all->options.link->ops->send(all->options.link, peer, &piece, sizeof piece);
}

/* --- the link's events */

/* The connection of who dials is to somebody without a session, or one that is carried elsewhere. */
static void take_over(stoa_sessions *all)
{
    join(all, all->dialled, 0);
}

/* Who was dialled without a name may be one whom another link has: its session is that one's. */
static void recognise(stoa_sessions *all, const char *identity, const void *bytes, uint32_t size_bytes)
{
    stoa_hello hello;
    stoa_session *own = all->sessions[0];
    bool unknown = !all->options.listens && !own->peer[0];
    if (!unknown || stoa_hello_read(bytes, size_bytes, &hello) || stoa_envelope_check(bytes, size_bytes, 0)) { return; }
    stoa_session *s = kin_named(all, hello.name);
    bool good = s && stoa_node_name_is_proven(hello.name, identity) && stoa_session_trusts(s, identity) &&
                stoa_session_fits(s, &all->options.session);
    if (!good) { return; }
    (void)STOA_MAP64_REMOVE(&all->by_peer, own->link_peer);
    if (s->hello_number < own->hello_number) { s->hello_number = own->hello_number; } /* the other side has heard so many */
    session_let_go(all, own);
    all->sessions[0] = s;
    s->holders++;
    if (!s->link || hello.incarnation > s->peer_incarnation) { take_over(all); }
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    stoa_sessions *all = context;
    recognise(all, identity, bytes, size_bytes);
    uint32_t at = STOA_MAP64_GET(&all->by_peer, peer);
    if (at) {
        (void)stoa_session_take(all->sessions[at - 1], identity, bytes, size_bytes, all->now_ns);
        return;
    }
    if (!all->options.listens || is_late(all, bytes, size_bytes)) { return; } /* a spare one */
    stoa_err err = meet(all, peer, identity, bytes, size_bytes);
    if (err) { answer(all, peer, identity, bytes, size_bytes, err); }
}

static void on_up(void *context, stoa_peer peer)
{
    stoa_sessions *all = context;
    if (all->options.listens) { return; }
    const stoa_session *s = all->sessions[0];
    all->dialled = peer;
    all->connected = true;
    if (!s->link || s->at == all) { take_over(all); }
}

static void on_down(void *context, stoa_peer peer)
{
    stoa_sessions *all = context;
    if (peer == all->dialled) { all->connected = false; }
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

/* Where the session has no connection, or greets in vain over another one, it comes here. Returns when to look again. */
static uint64_t look_spare(stoa_sessions *all, uint64_t now_ns)
{
    const stoa_session *s = all->sessions[0];
    if (all->options.listens || !all->connected || (s->link && s->at == all)) { return UINT64_MAX; }
    uint64_t due_ns = !s->link ? 0 : s->state == STOA_SESSION_UP ? UINT64_MAX : s->linked_ns + s->options.silence_max_ns;
    if (due_ns > now_ns) { return due_ns; }
    all->now_ns = now_ns;
    take_over(all);
    return now_ns;
}

uint64_t stoa_sessions_step(stoa_sessions *sessions, uint64_t now_ns)
{
    uint64_t next_ns = look_spare(sessions, now_ns);
    for (uint32_t i = 0; i < sessions->count; i++) {
        stoa_session *s = sessions->sessions[i];
        if (!s->at || s->at == sessions) { next_ns = stoa_sooner(next_ns, stoa_session_step(s, now_ns)); }
    }
    return next_ns;
}

void stoa_sessions_leave(stoa_sessions *sessions, uint64_t now_ns)
{
    for (uint32_t i = 0; i < sessions->count; i++) {
        stoa_session *s = sessions->sessions[i];
        if (s->at == sessions) { stoa_session_leave(s, now_ns); }
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
    sessions->connected = false;
    for (uint32_t i = 0; i < sessions->count; i++) {
        if (sessions->sessions[i]->link && sessions->sessions[i]->at == sessions) { stoa_session_down(sessions->sessions[i], now_ns); }
    }
}

/* --- looking */

stoa_session *stoa_sessions_find(stoa_sessions *sessions, const char *name)
{
    uint32_t index;
    bool only = !sessions->options.listens && sessions->sessions[0]->peer[0] == '\0';
    return only ? sessions->sessions[0] : own_named(sessions, name, &index);
}

uint32_t stoa_sessions_count(const stoa_sessions *sessions)
{
    return sessions->count;
}

stoa_session *stoa_sessions_at(stoa_sessions *sessions, uint32_t index)
{
    return index < sessions->count ? sessions->sessions[index] : NULL;
}

bool stoa_sessions_carries(const stoa_sessions *sessions, const stoa_session *session)
{
    return session->at == sessions;
}

bool stoa_sessions_connected(const stoa_sessions *sessions)
{
    return sessions->connected;
}

void stoa_sessions_counted(const stoa_sessions *sessions, stoa_sessions_counts *out)
{
    *out = sessions->counts;
}
