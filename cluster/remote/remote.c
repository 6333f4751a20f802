/* remote/remote.c - the life of a remote: what it is opened with, its thread, a step.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote/remote.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/signals.h"
#include "cluster/remote/inner.h"

enum { EVENTS_A_STEP = 64, DELIVERIES_A_STEP = 256, FRAME_LIMIT = 64 << 10, BATCH_BYTES = 32 << 10, QUEUE_FRAMES = 64, STARTS_MS = 10 };

/* --- rows that may come */

static stoa_err add_row(stoa_remote *remote, const stoa_row *row)
{
    uint64_t word = stoa_remote_row_word(row);
    uint32_t at = stoa_remote_index_get(&remote->rows, word);
    if (at && remote->row[at - 1] == row) { return STOA_OK; }
    if (at) { return STOA_FAIL(STOA_E_INVALID, "rows %s.%s and %s.%s", row->kind, row->name, remote->row[at - 1]->kind, remote->row[at - 1]->name); }
    if (row->cls == STOA_ROW_EVENT || strcmp(row->kind, stoa_system_table.name) == 0) { return STOA_OK; }
    if (remote->row_count % 64 == 0) {
        const stoa_row **more = realloc(remote->row, (remote->row_count + 64) * sizeof(stoa_row *));
        if (!more) { return STOA_FAIL(STOA_E_NOMEM, "rows"); }
        remote->row = more;
    }
    remote->row[remote->row_count++] = row;
    return stoa_remote_index_put(&remote->rows, word, remote->row_count);
}

static stoa_err add_kind(stoa_remote *remote, const stoa_kind *kind)
{
    stoa_err err = STOA_OK;
    for (uint32_t id = 1; id < kind->rows_bytes / sizeof(stoa_row) && !err; id++) { err = add_row(remote, &kind->rows[id]); }
    for (const stoa_hear *hear = kind->hears; hear->row && !err; hear++) { err = add_row(remote, hear->row); }
    return err;
}

static stoa_err keep_kinds(stoa_remote *remote, const stoa_kind *const *kinds)
{
    uint32_t count = 0;
    stoa_err err = STOA_OK;
    while (kinds && kinds[count]) { count++; }
    remote->kinds = calloc(count + 1, sizeof(stoa_kind *));
    if (!remote->kinds) { return STOA_FAIL(STOA_E_NOMEM, "kinds"); }
    for (uint32_t i = 0; i < count && !err; i++) {
        remote->kinds[i] = kinds[i];
        err = add_kind(remote, kinds[i]);
    }
    return err;
}

const stoa_row *stoa_remote_row(const stoa_remote *remote, uint64_t word)
{
    uint32_t at = stoa_remote_index_get(&remote->rows, word);
    return at ? remote->row[at - 1] : NULL;
}

/* --- links */

static stoa_err keep_text(const char *text, char **out)
{
    free(*out);
    *out = text ? strdup(text) : NULL;
    return text && !*out ? STOA_FAIL(STOA_E_NOMEM, "a link's options") : STOA_OK;
}

stoa_err stoa_remote_line_keep(stoa_remote_line *line, const stoa_link_options *options)
{
    size_t bytes = options->allowed_count * sizeof *options->allowed;
    stoa_link_allowed *allowed = bytes ? malloc(bytes) : NULL;
    if (bytes && !allowed) { return STOA_FAIL(STOA_E_NOMEM, "a link's options"); }
    if (bytes) { memcpy(allowed, options->allowed, bytes); }
    free(line->allowed);
    line->allowed = allowed;
    stoa_err err = keep_text(options->secret_key, &line->secret_key);
    if (!err) { err = keep_text(options->public_key, &line->public_key); }
    if (!err) { err = keep_text(options->server_key, &line->server_key); }
    stoa_link_options *mine = &line->options.link;
    bool listen = mine->listen;
    *mine = *options;
    mine->listen = listen;
    mine->secret_key = line->secret_key;
    mine->public_key = line->public_key;
    mine->server_key = line->server_key;
    mine->allowed = allowed;
    if (!mine->frame_limit) { mine->frame_limit = FRAME_LIMIT; }
    if (!mine->queue_frames) { mine->queue_frames = QUEUE_FRAMES; }
    return err;
}

stoa_err stoa_remote_line_open(stoa_remote_line *line, stoa_link **out)
{
    stoa_link *link = NULL;
    stoa_err err = stoa_link_open(line->bound ? line->bound : line->options.uri, &line->options.link, &link);
    if (err) { return STOA_PASS(err, "link %s", line->options.uri); }
    if (line->options.link.listen && !line->bound) { err = keep_text(link->ops->address(link), &line->bound); }
    if (err) {
        link->ops->close(link, 0);
        return err;
    }
    *out = link;
    return STOA_OK;
}

static stoa_err line_init(stoa_remote *remote, stoa_remote_line *line, const stoa_remote_link *options)
{
    line->remote = remote;
    line->options = *options;
    line->options.uri = strdup(options->uri);
    line->options.peer = options->peer ? strdup(options->peer) : NULL;
    line->awaits = options->awaits ? strdup(options->awaits) : NULL;
    line->options.awaits = NULL;
    if (!line->options.uri || (options->peer && !line->options.peer) || (options->awaits && !line->awaits)) { return STOA_FAIL(STOA_E_NOMEM, "a link"); }
    line->options.link = (stoa_link_options){.listen = options->link.listen};
    return stoa_remote_line_keep(line, &options->link);
}

static stoa_err line_open(stoa_remote_line *line)
{
    const stoa_remote *remote = line->remote;
    const stoa_remote_link *o = &line->options;
    stoa_err err = stoa_remote_line_open(line, &line->link);
    if (err) { return err; }
    stoa_remote_events_of(line);
    stoa_sessions_options sessions = {.link = line->link,
                                      .listens = o->link.listen,
                                      .kin = line == remote->lines ? NULL : remote->lines[0].sessions,
                                      .nodes = line->awaits,
                                      .sessions_max = o->sessions_max,
                                      .refused = stoa_remote_turned_away,
                                      .context = line,
                                      .session = {.name = remote->name,
                                                  .peer = o->link.listen ? NULL : o->peer,
                                                  .incarnation = remote->options.incarnation,
                                                  .epoch = remote->options.epoch,
                                                  .batch_bytes = o->batch_bytes ? o->batch_bytes : BATCH_BYTES,
                                                  .link_frames = o->link.queue_frames,
                                                  .trusts_link = o->trusts_link,
                                                  .consumes = true,
                                                  .heartbeat_ns = o->heartbeat_ns,
                                                  .silence_max_ns = o->silence_max_ns,
                                                  .events = &line->events}};
    if (sessions.session.batch_bytes > o->link.frame_limit) { sessions.session.batch_bytes = o->link.frame_limit; }
    err = stoa_sessions_new(&sessions, &line->sessions);
    return err ? STOA_PASS(err, "link %s", o->uri) : STOA_OK;
}

void stoa_remote_line_forget(stoa_remote_line *line)
{
    union {
        const char *given;
        char *mine;
    } uri = {line->options.uri}, peer = {line->options.peer};
    free(uri.mine);
    free(peer.mine);
    free(line->secret_key);
    free(line->public_key);
    free(line->server_key);
    free(line->allowed);
    free(line->bound);
    free(line->awaits);
}

/* --- its life */

static void remote_free(stoa_remote *remote)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) { stoa_remote_peer_free(&remote->peers[i]); }
    for (uint32_t i = 0; i < remote->line_count; i++) { stoa_remote_line_forget(&remote->lines[i]); }
    stoa_remote_actors_deinit(remote);
    stoa_remote_index_clear(&remote->rows);
    free(remote->row);
    free(remote->kinds);
    free(remote->asked);
    free(remote->answering);
    free(remote->payload);
    free(remote->encoded);
    free(remote->ours.at);
    free(remote->heard.at);
    free(remote->trail);
    if (remote->bell >= 0) { (void)close(remote->bell); }
    (void)pthread_mutex_destroy(&remote->lock);
    (void)pthread_cond_destroy(&remote->done);
    free(remote);
}

static stoa_err fill(stoa_remote *remote, const stoa_remote_options *o)
{
    bool good = o->node && o->name && stoa_node_name_is_good(o->name, strlen(o->name)) && o->incarnation &&
                o->link_count <= STOA_REMOTE_LINKS && o->core < stoa_core_count(o->node);
    if (!good) { return STOA_FAIL(STOA_E_INVALID, "a remote's name, incarnation, core or count of links"); }
    memcpy(remote->name, o->name, strlen(o->name));
    if (!remote->options.lost_ns) { remote->options.lost_ns = STOA_S(2); }
    if (!remote->options.unread_bytes) { remote->options.unread_bytes = UINT64_C(256) << 20; }
    if (!remote->options.mail_backlog_bytes) { remote->options.mail_backlog_bytes = 64 << 10; }
    if (o->events) { remote->events = *o->events; }
    remote->node = o->node;
    remote->clock = stoa_node_clock(o->node);
    remote->plain = stoa_hash64(o->incarnation, o->name, strlen(o->name)) | 1;
    remote->payload = malloc(STOA_PAYLOAD_MAX);
    remote->encoded = malloc(STOA_REMOTE_MESSAGE_MAX + sizeof(stoa_remote_head) + 2 * STOA_NAME_MAX + 2);
    remote->asked = calloc(STOA_REMOTE_ASKS, sizeof *remote->asked);
    remote->answering = calloc(STOA_REMOTE_ASKS, sizeof *remote->answering);
    remote->asked_used = remote->answering_used = 1;
    remote->names_again = true;
    if (!remote->payload || !remote->encoded || !remote->asked || !remote->answering) { return STOA_FAIL(STOA_E_NOMEM, "a remote"); }
    remote->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (remote->bell < 0) { return STOA_FAIL(STOA_E_IO, "eventfd: %s", strerror(errno)); }
    stoa_err err = stoa_remote_actors_init(remote);
    if (!err) { err = keep_kinds(remote, o->kinds); }
    for (uint32_t i = 0; i < o->link_count && !err; i++) {
        err = line_init(remote, &remote->lines[i], &o->links[i]);
        remote->line_count++;
    }
    return err;
}

static stoa_err make(const stoa_remote_options *options, stoa_remote **out)
{
    stoa_remote *remote = calloc(1, sizeof *remote);
    if (!remote) { return STOA_FAIL(STOA_E_NOMEM, "a remote"); }
    remote->options = *options;
    remote->bell = -1;
    remote->errands_end = &remote->errands;
    (void)pthread_mutex_init(&remote->lock, NULL);
    (void)pthread_cond_init(&remote->done, NULL);
    stoa_err err = fill(remote, options);
    if (err) {
        remote_free(remote);
        return err;
    }
    *out = remote;
    return STOA_OK;
}

static void close_all(stoa_remote *remote, uint32_t linger_ms)
{
    if (remote->port) {
        stoa_names_watch(remote->node, NULL);
        stoa_names_await(remote->node, "", NULL);
        for (uint32_t i = 0; i < remote->peer_count; i++) {
            stoa_remote_peer_over(remote, &remote->peers[i], STOA_REMOTE_CLOSED);
            stoa_remote_shards_close(remote, &remote->peers[i]);
        }
        stoa_port_flush(remote->port);
    }
    for (uint32_t i = 0; i < remote->line_count; i++) {
        stoa_remote_line *line = &remote->lines[i];
        if (line->sessions) { stoa_sessions_leave(line->sessions, remote->clock->now_ns(remote->clock)); }
        if (line->link) { line->link->ops->close(line->link, linger_ms); }
        stoa_sessions_free(line->sessions);
    }
    for (uint32_t i = 0; i < remote->peer_count; i++) { stoa_remote_shards_close(remote, &remote->peers[i]); }
    if (remote->embassy.at) { (void)stoa_stop(remote->node, remote->embassy); }
    stoa_port_close(remote->port);
}

void stoa_remote_abandon(stoa_remote *remote)
{
    STOA_ASSERT(!remote->threaded);
    stoa_names_watch(remote->node, NULL);
    stoa_names_await(remote->node, "", NULL);
    for (uint32_t i = 0; i < remote->line_count; i++) {
        stoa_remote_line *line = &remote->lines[i];
        if (line->link) { line->link->ops->close(line->link, 0); }
        stoa_sessions_free(line->sessions);
    }
    remote_free(remote);
}

stoa_link *stoa_remote_link_at(stoa_remote *remote, uint32_t link)
{
    return link < remote->line_count ? remote->lines[link].link : NULL;
}

static stoa_err open_all(stoa_remote *remote)
{
    stoa_err err = stoa_port_open(remote->node, "remote", &remote->port);
    if (err) { return err; }
    stoa_remote_await(remote);
    stoa_ref self = stoa_port_ref(remote->port);
    stoa_spawn_options at = {.core = remote->options.core, .args = &self};
    err = stoa_spawn(remote->node, &stoa_embassy_kind, "stoa_embassy/remote", &at, &remote->embassy);
    for (uint32_t i = 0; i < remote->line_count && !err; i++) { err = line_open(&remote->lines[i]); }
    if (!err) { stoa_names_watch(remote->node, remote->port); }
    return err;
}

stoa_err stoa_remote_new(const stoa_remote_options *options, stoa_remote **out)
{
    stoa_remote *remote;
    stoa_err err = make(options, &remote);
    if (err) { return err; }
    err = open_all(remote);
    if (err) {
        close_all(remote, 0);
        remote_free(remote);
        return err;
    }
    *out = remote;
    return STOA_OK;
}

/* --- a step */

static void run_errands(stoa_remote *remote)
{
    (void)pthread_mutex_lock(&remote->lock);
    stoa_remote_errand *errand = remote->errands;
    remote->errands = NULL;
    remote->errands_end = &remote->errands;
    (void)pthread_mutex_unlock(&remote->lock);
    while (errand) {
        stoa_remote_errand *next = errand->next; /* who waits takes it away */
        errand->run(remote, errand->context);
        (void)pthread_mutex_lock(&remote->lock);
        errand->done = true;
        (void)pthread_cond_broadcast(&remote->done);
        (void)pthread_mutex_unlock(&remote->lock);
        errand = next;
    }
}

static uint32_t poll_links(stoa_remote *remote)
{
    uint32_t events = 0;
    for (uint32_t i = 0; i < remote->line_count; i++) {
        if (remote->lines[i].link) { events += stoa_sessions_poll(remote->lines[i].sessions, remote->now_ns, EVENTS_A_STEP); }
    }
    return events;
}

uint64_t stoa_remote_step(stoa_remote *remote)
{
    remote->now_ns = remote->clock->now_ns(remote->clock);
    remote->busy = 0;
    run_errands(remote);
    stoa_remote_lines_retry(remote);
    stoa_remote_names_look(remote);
    stoa_remote_patterns_look(remote);
    remote->busy += stoa_port_poll(remote->port, stoa_remote_deliver, remote, DELIVERIES_A_STEP);
    remote->busy += poll_links(remote);
    uint64_t next = stoa_remote_peers_step(remote), at = stoa_remote_asks_sweep(remote);
    next = at < next ? at : next;
    for (uint32_t i = 0; i < remote->line_count; i++) {
        at = stoa_sessions_step(remote->lines[i].sessions, remote->now_ns);
        next = at < next ? at : next;
    }
    stoa_port_flush(remote->port);
    at = stoa_port_due(remote->port);
    next = at < next ? at : next;
    remote->busy += poll_links(remote); /* links are polled behind what was sent, before anybody sleeps on them */
    return remote->busy ? remote->now_ns : next;
}

static void sleep_until(stoa_remote *remote, uint64_t next_ns)
{
    struct pollfd fds[STOA_REMOTE_LINKS + 2] = {{.fd = remote->bell, .events = POLLIN},
                                                {.fd = stoa_port_fd(remote->port), .events = POLLIN}};
    uint64_t now = remote->clock->now_ns(remote->clock);
    if (next_ns <= now) { return; }
    uint64_t left = next_ns - now < STOA_S(1) ? next_ns - now : STOA_S(1);
    struct timespec timeout = {.tv_sec = (time_t)(left / STOA_S(1)), .tv_nsec = (long)(left % STOA_S(1))};
    for (uint32_t i = 0; i < remote->line_count; i++) {
        stoa_link *link = remote->lines[i].link;
        fds[i + 2] = (struct pollfd){.fd = link ? link->ops->fd(link) : -1, .events = POLLIN};
    }
    (void)ppoll(fds, remote->line_count + 2, &timeout, NULL);
    uint64_t rings;
    ssize_t got = read(remote->bell, &rings, sizeof rings);
    (void)got;
}

static void *run(void *context)
{
    stoa_remote *remote = context;
    (void)pthread_setname_np(pthread_self(), "stoa-remote");
    stoa_err err = open_all(remote);
    if (err) {
        remote->trail = strdup(stoa_err_trail());
        close_all(remote, 0);
    }
    (void)pthread_mutex_lock(&remote->lock);
    remote->opened = err;
    remote->is_open = true;
    (void)pthread_cond_broadcast(&remote->done);
    bool stopping = err != STOA_OK;
    (void)pthread_mutex_unlock(&remote->lock);
    while (!stopping) {
        uint64_t next = stoa_remote_step(remote);
        sleep_until(remote, next);
        (void)pthread_mutex_lock(&remote->lock);
        stopping = remote->stopping;
        (void)pthread_mutex_unlock(&remote->lock);
    }
    if (!err) { close_all(remote, remote->linger_ms); }
    return NULL;
}

stoa_err stoa_remote_start(const stoa_remote_options *options, stoa_remote **out)
{
    stoa_remote *remote;
    stoa_err err = make(options, &remote);
    if (err) { return err; }
    remote->threaded = true;
    sigset_t before;
    stoa_signals_hold(&before); /* what the links' libraries start, starts from that thread */
    int failed = pthread_create(&remote->thread, NULL, run, remote);
    stoa_signals_release(&before);
    if (failed) {
        remote_free(remote);
        return STOA_FAIL(STOA_E_IO, "a remote's thread: %s", strerror(failed));
    }
    (void)pthread_mutex_lock(&remote->lock);
    while (!remote->is_open) { (void)pthread_cond_wait(&remote->done, &remote->lock); }
    err = remote->opened;
    (void)pthread_mutex_unlock(&remote->lock);
    if (err) {
        (void)pthread_join(remote->thread, NULL);
        err = STOA_FAIL(err, "%s", remote->trail ? remote->trail : "a remote");
        remote_free(remote);
        return err;
    }
    *out = remote;
    return STOA_OK;
}

void stoa_remote_ring(stoa_remote *remote)
{
    uint64_t one = 1;
    ssize_t written = write(remote->bell, &one, sizeof one);
    (void)written; /* full means it rings already */
}

void stoa_remote_stop(stoa_remote *remote, uint32_t linger_ms)
{
    if (!remote) { return; }
    if (remote->threaded) {
        (void)pthread_mutex_lock(&remote->lock);
        remote->stopping = true;
        remote->linger_ms = linger_ms;
        (void)pthread_mutex_unlock(&remote->lock);
        stoa_remote_ring(remote);
        (void)pthread_join(remote->thread, NULL);
        run_errands(remote);
    } else {
        close_all(remote, linger_ms);
    }
    remote_free(remote);
}
