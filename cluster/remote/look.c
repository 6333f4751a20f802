/* remote/look.c - what other threads see and do: an errand of the remote's thread, for which they wait.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cluster/remote/inner.h"

enum { BYE_MS = 200 }; /* to say good-bye in */

/* --- errands */

static void do_there(stoa_remote *remote, void (*fn)(stoa_remote *remote, void *context), void *context)
{
    stoa_remote_errand errand = {.run = fn, .context = context};
    if (!remote->threaded) {
        fn(remote, context);
        return;
    }
    (void)pthread_mutex_lock(&remote->lock);
    *remote->errands_end = &errand;
    remote->errands_end = &errand.next;
    stoa_remote_ring(remote);
    while (!errand.done) { (void)pthread_cond_wait(&remote->done, &remote->lock); }
    (void)pthread_mutex_unlock(&remote->lock);
}

typedef struct request {
    void (*link)(void *context, const stoa_remote_link_view *view);
    void (*peer)(void *context, const stoa_remote_peer_view *view);
    void (*name)(void *context, const char *name);
    void *context;
    const char *of;
    bool on, leaves;
    uint32_t index;
    const stoa_link_allowed *allowed;
    uint32_t allowed_count;
    const stoa_link_options *options;
    stoa_err err;
    char trail[512]; /* of err: there it is another thread's; "" none */
} request;

/* --- looking */

static void look_at_link(const stoa_remote_line *line, stoa_remote_link_view *view)
{
    view->address = line->link->ops->address(line->link);
    (void)memccpy(view->scheme, line->link->ops->scheme, 0, sizeof view->scheme - 1);
    stoa_link_describe(line->link, &view->traits);
    line->link->ops->counts(line->link, &view->counts);
}

static void look_at_links(stoa_remote *remote, void *context)
{
    const request *r = context;
    for (uint32_t i = 0; i < remote->line_count; i++) {
        const stoa_remote_line *line = &remote->lines[i];
        stoa_remote_link_view view = {.index = i,
                                      .uri = line->options.uri,
                                      .address = line->options.uri,
                                      .listens = line->options.link.listen,
                                      .shut = line->link ? STOA_OK : line->shut,
                                      .refused = line->refused,
                                      .refused_why = line->refused_why,
                                      .sessions = stoa_sessions_count(line->sessions)};
        if (line->link) { look_at_link(line, &view); } /* else it could not be opened again, yet */
        stoa_sessions_counted(line->sessions, &view.strangers);
        r->link(r->context, &view);
    }
}

void stoa_remote_links(stoa_remote *remote, void (*visit)(void *context, const stoa_remote_link_view *view), void *context)
{
    request r = {.link = visit, .context = context};
    do_there(remote, look_at_links, &r);
}

static const stoa_remote_peer *peer_of(const stoa_remote *remote, const stoa_session *session)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        if (remote->peers[i].session == session) { return &remote->peers[i]; }
    }
    return NULL;
}

/* Of a link that does not carry it. */
static void look_at_spare(const stoa_remote *remote, uint32_t line, const stoa_session *session, const request *r)
{
    stoa_remote_peer_view view = {.link = line, .name = stoa_session_peer(session), .spare = true, .session.peer = stoa_session_peer(session)};
    stoa_session_view is;
    stoa_session_look(session, &is);
    const stoa_remote_peer *peer = peer_of(remote, session);
    view.lost = peer && peer->lost;
    view.left = peer && peer->left;
    view.ready = stoa_sessions_connected(remote->lines[line].sessions);
    view.over = UINT32_MAX;
    for (uint32_t i = 0; is.state == STOA_SESSION_UP && i < remote->line_count; i++) {
        if (stoa_sessions_carries(remote->lines[i].sessions, session)) { view.over = i; }
    }
    r->peer(r->context, &view);
}

static void look_at_session(stoa_remote *remote, uint32_t line, stoa_session *session, const request *r)
{
    const stoa_remote_peer *peer = peer_of(remote, session);
    stoa_remote_peer_view view = {.link = line, .name = stoa_session_peer(session), .over = line};
    if (!stoa_sessions_carries(remote->lines[line].sessions, session)) {
        look_at_spare(remote, line, session, r);
        return;
    }
    stoa_session_look(session, &view.session);
    if (peer) {
        view.paused = peer->paused;
        view.lost = peer->lost;
        view.left = peer->left;
        view.names = peer->names;
        view.stands = peer->stands;
        view.told = peer->told_count;
        view.asks_out = peer->asks_out;
        view.asks_in = peer->asks_in;
        view.links = peer->bond_count;
        for (unsigned lane = 0; lane < STOA_LANE_COUNT; lane++) { view.backlog_bytes += peer->backlog[lane].bytes; }
        view.counts = peer->counts;
    }
    r->peer(r->context, &view);
}

static void look_at_peers(stoa_remote *remote, void *context)
{
    for (uint32_t i = 0; i < remote->line_count; i++) {
        stoa_sessions *sessions = remote->lines[i].sessions;
        for (uint32_t s = 0; s < stoa_sessions_count(sessions); s++) {
            look_at_session(remote, i, stoa_sessions_at(sessions, s), context);
        }
    }
}

void stoa_remote_peers(stoa_remote *remote, void (*visit)(void *context, const stoa_remote_peer_view *view), void *context)
{
    request r = {.peer = visit, .context = context};
    do_there(remote, look_at_peers, &r);
}

static void look_at_names(stoa_remote *remote, void *context)
{
    request *r = context;
    const stoa_remote_peer *peer = stoa_remote_peer_named(remote, r->of);
    r->err = peer ? STOA_OK : STOA_E_NOT_FOUND;
    for (uint32_t place = 0; peer && place < peer->known_size; place++) {
        const stoa_remote_stand *stand = &remote->stands[peer->known[place].stand];
        if (peer->known[place].stand && stand->found) { r->name(r->context, stand->name); }
    }
}

stoa_err stoa_remote_names(stoa_remote *remote, const char *peer, void (*visit)(void *context, const char *name), void *context)
{
    request r = {.name = visit, .context = context, .of = peer};
    do_there(remote, look_at_names, &r);
    return r.err;
}

/* --- doing */

static void pause_peer(stoa_remote *remote, void *context)
{
    request *r = context;
    stoa_remote_peer *peer = stoa_remote_peer_named(remote, r->of);
    r->err = peer ? STOA_OK : STOA_E_NOT_FOUND;
    if (peer) { stoa_remote_peer_pause(remote, peer, r->on); }
}

stoa_err stoa_remote_pause(stoa_remote *remote, const char *peer, bool paused)
{
    request r = {.of = peer, .on = paused};
    do_there(remote, pause_peer, &r);
    return r.err;
}

static void free_keys(stoa_remote_line *line)
{
    free(line->secret_key);
    free(line->public_key);
    free(line->server_key);
    free(line->allowed);
}

/* A link that cannot be opened now is tried again with each second (stoa_remote_lines_retry). */
static stoa_err open_again(stoa_remote *remote, stoa_remote_line *line)
{
    stoa_link *link = NULL;
    stoa_err err = stoa_remote_line_open(line, &link);
    line->link = link;
    line->retry_ns = err ? remote->now_ns + STOA_S(1) : 0;
    line->shut = err;
    stoa_sessions_relink(line->sessions, link, remote->now_ns);
    return err;
}

void stoa_remote_lines_retry(stoa_remote *remote)
{
    for (uint32_t i = 0; i < remote->line_count; i++) {
        stoa_remote_line *line = &remote->lines[i];
        if (!line->link && line->retry_ns <= remote->now_ns) { (void)open_again(remote, line); }
    }
}

static void close_link(stoa_remote_line *line, uint32_t linger_ms)
{
    if (line->link) { line->link->ops->close(line->link, linger_ms); }
    line->link = NULL;
}

stoa_err stoa_remote_part(stoa_remote *remote, stoa_remote_peer *peer)
{
    stoa_remote_line *line = &remote->lines[peer->link];
    if (line->options.link.listen) {
        stoa_sessions_part(peer->session);
        return STOA_OK;
    }
    close_link(line, 0);
    return open_again(remote, line);
}

static void drop_peer(stoa_remote *remote, void *context)
{
    request *r = context;
    stoa_remote_peer *peer = stoa_remote_peer_named(remote, r->of);
    r->err = peer ? stoa_remote_part(remote, peer) : STOA_E_NOT_FOUND;
}

stoa_err stoa_remote_drop(stoa_remote *remote, const char *peer)
{
    request r = {.of = peer};
    do_there(remote, drop_peer, &r);
    return r.err;
}

static bool names(const request *r, const char *name)
{
    bool found = false;
    for (uint32_t i = 0; i < r->allowed_count && !found; i++) { found = strcmp(r->allowed[i].name, name) == 0; }
    return found;
}

/* The nodes of a link that are not among those allowed are to be met no more, by whatever key they came. */
static void part_from(stoa_remote *remote, const stoa_remote_line *line, const request *r)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        stoa_remote_peer *peer = &remote->peers[i];
        if (!peer->session || &remote->lines[peer->link] != line || names(r, peer->name)) { continue; }
        stoa_remote_peer_over(remote, peer, STOA_REMOTE_CLOSED);
        if (line->options.link.listen) { stoa_sessions_part(peer->session); }
    }
}

static void reopen_link(stoa_remote *remote, void *context)
{
    request *r = context;
    stoa_remote_line *line = r->index < remote->line_count ? &remote->lines[r->index] : NULL;
    r->err = line ? STOA_OK : STOA_E_NOT_FOUND;
    if (!line) { return; }
    stoa_remote_line before = *line;
    line->secret_key = line->public_key = line->server_key = NULL;
    line->allowed = NULL;
    r->err = stoa_remote_line_keep(line, r->options);
    if (r->leaves || line->options.link.listen) { part_from(remote, line, r); }
    if (r->leaves) { stoa_sessions_leave(line->sessions, remote->now_ns); }
    close_link(line, r->leaves ? BYE_MS : 0);
    if (!r->err) { r->err = open_again(remote, line); }
    if (r->err) { (void)snprintf(r->trail, sizeof r->trail, "%s", stoa_err_trail()); }
    if (r->err != STOA_E_NOMEM) { /* closed rather than with keys that hold no more */
        free_keys(&before);
        return;
    }
    free_keys(line);
    *line = before;
    line->link = NULL;
    line->options.link.allowed_count = 0; /* nor does anybody come in by the old ones where there is no memory for the new */
    (void)open_again(remote, line);
}

stoa_err stoa_remote_reopen(stoa_remote *remote, uint32_t link, const stoa_link_options *options, bool leaves)
{
    request r = {.index = link, .options = options, .allowed = options->allowed, .allowed_count = options->allowed_count, .leaves = leaves};
    do_there(remote, reopen_link, &r);
    return r.err ? STOA_FAIL(r.err, "%s", r.trail) : STOA_OK;
}

/* The list is the line's from here on, also where it is not open: then it is opened with it. */
static stoa_err allow_on(stoa_remote_line *line, const request *r)
{
    size_t bytes = r->allowed_count * sizeof *r->allowed;
    stoa_link_allowed *kept = bytes ? malloc(bytes) : NULL;
    if (bytes && !kept) { return STOA_FAIL(STOA_E_NOMEM, "a link's keys"); }
    stoa_err err = line->link ? line->link->ops->allow(line->link, r->allowed, r->allowed_count) : STOA_OK;
    if (err) {
        free(kept);
        return err;
    }
    if (bytes) { memcpy(kept, r->allowed, bytes); }
    free(line->allowed);
    line->allowed = kept;
    line->options.link.allowed = kept;
    line->options.link.allowed_count = r->allowed_count;
    return STOA_OK;
}

static void allow(stoa_remote *remote, void *context)
{
    request *r = context;
    stoa_remote_line *line = r->index < remote->line_count ? &remote->lines[r->index] : NULL;
    r->err = line ? allow_on(line, r) : STOA_FAIL(STOA_E_NOT_FOUND, "there is no link %u", r->index);
    if (r->err) { (void)snprintf(r->trail, sizeof r->trail, "%s", stoa_err_trail()); }
    if (!r->err) { part_from(remote, line, r); }
}

stoa_err stoa_remote_allow(stoa_remote *remote, uint32_t link, const stoa_link_allowed *allowed, uint32_t count)
{
    request r = {.index = link, .allowed = allowed, .allowed_count = count};
    do_there(remote, allow, &r);
    return r.err ? STOA_FAIL(r.err, "%s", r.trail) : STOA_OK;
}
