/* remote/peers.c - nodes on the other side: sessions that come and go, lanes that are full, what comes in pieces.
 *
 *     unknown --up--> up <--down, up--> down --TIMEOUT, or lost_ns over--> lost --up--> up
 *                      \------------------------ reset, good-bye ---------^
 *
 * A lost node's actors have ended here, and those of one that left, or that this one has left (peer->left); what it had asked is still answered, should it come back with the same life. With each up it
 * is told all names again, since it may have lost this one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/log.h"
#include "cluster/remote/inner.h"

enum { PIECES_FIRST_BYTES = 64 << 10 };
#define TELLS_NS STOA_S(10) /* within which who comes back has told its names, but over the slowest of paths */

static void tell(stoa_remote *remote, const stoa_remote_peer *peer, stoa_remote_what what, stoa_err why)
{
    if (remote->events.peer) { remote->events.peer(remote->events.context, peer->name, what, why); }
}

/* --- queues */

void stoa_remote_push(stoa_remote_queue *queue, stoa_remote_waiting *w)
{
    w->next = NULL;
    if (queue->head) {
        queue->tail->next = w;
    } else {
        queue->head = w;
    }
    queue->tail = w;
    queue->bytes += w->size_bytes + sizeof *w;
}

stoa_remote_waiting *stoa_remote_pop(stoa_remote_queue *queue)
{
    stoa_remote_waiting *w = queue->head;
    if (!w) { return NULL; }
    queue->head = w->next;
    queue->bytes -= w->size_bytes + sizeof *w;
    return w;
}

/* NULL: no memory. */
static stoa_remote_waiting *waiting_new(const stoa_remote_waiting *of, const void *bytes)
{
    stoa_remote_waiting *w = malloc(sizeof *w + of->size_bytes);
    if (!w) { return NULL; }
    *w = *of;
    if (of->size_bytes) { memcpy(w->bytes, bytes, of->size_bytes); }
    return w;
}

/* What of a backlog is dropped: messages, and who asked is told; all but GONE, which is said once: names, patterns and shards are told again
 * when the node is back, answers and ends of links that it did not read are lost to it; all. */
typedef enum dropped { MESSAGES, UNREAD, ALL } dropped;

static bool is_dropped(const stoa_remote_waiting *w, dropped what)
{
    if (what == ALL || w->done_bytes > 0) { return what == ALL; } /* a piece of it is on its way */
    bool message = w->type == STOA_REMOTE_CAST || w->type == STOA_REMOTE_ASK;
    return message || (what == UNREAD && w->type != STOA_REMOTE_GONE);
}

static void drop_backlog(stoa_remote *remote, stoa_remote_peer *peer, dropped what, stoa_err why)
{
    for (unsigned lane = 0; lane < STOA_LANE_COUNT; lane++) {
        stoa_remote_queue kept = {0};
        for (stoa_remote_waiting *w; (w = stoa_remote_pop(&peer->backlog[lane]));) {
            if (!is_dropped(w, what)) {
                stoa_remote_push(&kept, w);
                continue;
            }
            stoa_remote_unsent(remote, peer, w, why);
            free(w);
        }
        peer->backlog[lane] = kept;
    }
}

static void clear_pieces(stoa_remote_peer *peer)
{
    for (unsigned lane = 0; lane < STOA_LANE_COUNT; lane++) {
        free(peer->pieces[lane].bytes);
        memset(&peer->pieces[lane], 0, sizeof peer->pieces[lane]);
    }
}

static void clear_inbox(stoa_remote_peer *peer)
{
    for (stoa_remote_waiting *w; (w = stoa_remote_pop(&peer->inbox));) { free(w); }
}

/* --- sending */

/* As much of a frame as the lane takes; *done moves on. Errors: FULL. */
static stoa_err transmit(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_waiting *w, const uint8_t *bytes,
                         uint32_t *done)
{
    uint32_t most = stoa_session_message_max(peer->session);
    for (;;) {
        uint32_t left = w->size_bytes - *done, piece = left < most ? left : most;
        uint8_t more = piece < left ? STOA_REMOTE_MORE : 0;
        uint64_t deadline_ns = w->size_bytes <= most ? w->deadline_ns : 0; /* a piece alone is never dropped */
        uint64_t seq;
        stoa_err err = stoa_session_send(peer->session, w->lane, w->type | more, w->source, w->target, deadline_ns,
                                         piece ? bytes + *done : NULL, piece, remote->now_ns, &seq);
        if (err) { return err; }
        *done += piece;
        if (!more) { return STOA_OK; }
    }
}

stoa_err stoa_remote_send(stoa_remote *remote, stoa_remote_peer *peer, stoa_lane lane, stoa_remote_frame type, uint64_t source,
                          uint64_t target, uint64_t deadline_ns, const void *bytes, uint32_t size_bytes, bool bounded)
{
    stoa_remote_waiting w = {.source = source,
                             .target = target,
                             .deadline_ns = deadline_ns,
                             .size_bytes = size_bytes,
                             .lane = lane,
                             .type = (uint8_t)type};
    stoa_remote_queue *queue = &peer->backlog[lane];
    if (!peer->session) { return STOA_E_CLOSED; }
    if (!queue->head && !peer->paused) {
        stoa_err err = transmit(remote, peer, &w, bytes, &w.done_bytes);
        if (err != STOA_E_FULL) { return err; }
    }
    bool ever = w.done_bytes || type == STOA_REMOTE_GONE; /* which is said once of an actor */
    if (!ever && queue->bytes + size_bytes > (bounded ? STOA_REMOTE_BACKLOG_BYTES : remote->options.unread_bytes)) {
        peer->deaf = peer->deaf || !bounded;
        return STOA_E_FULL;
    }
    stoa_remote_waiting *waits = waiting_new(&w, bytes);
    if (!waits) { return STOA_E_NOMEM; }
    stoa_remote_push(queue, waits);
    return STOA_OK;
}

static void flush(stoa_remote *remote, stoa_remote_peer *peer, stoa_lane lane)
{
    stoa_remote_queue *queue = &peer->backlog[lane];
    while (queue->head && !peer->paused) {
        stoa_remote_waiting *w = queue->head;
        bool over = !w->done_bytes && w->deadline_ns && w->deadline_ns <= remote->now_ns;
        if (over) {
            (void)stoa_remote_pop(queue);
            stoa_remote_unsent(remote, peer, w, STOA_E_TIMEOUT);
            free(w);
            continue;
        }
        if (transmit(remote, peer, w, w->bytes, &w->done_bytes)) { return; }
        (void)stoa_remote_pop(queue);
        free(w);
        remote->busy++;
    }
}

/* --- who is who */

static stoa_remote_peer *peer_of(stoa_remote *remote, const stoa_session *session)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        if (remote->peers[i].session == session) { return &remote->peers[i]; }
    }
    return NULL;
}

stoa_remote_peer *stoa_remote_peer_named(stoa_remote *remote, const char *name)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        if (remote->peers[i].session && strcmp(remote->peers[i].name, name) == 0) { return &remote->peers[i]; }
    }
    return NULL;
}

/* The link that carries a session; of who made it where none does. */
static stoa_remote_line *line_of(stoa_remote_line *made, const stoa_session *session)
{
    stoa_remote *remote = made->remote;
    for (uint32_t i = 0; i < remote->line_count; i++) {
        stoa_remote_line *line = &remote->lines[i];
        if (line->sessions && stoa_sessions_carries(line->sessions, session)) { return line; }
    }
    return made;
}

/* A session that is up for the first time. */
static stoa_remote_peer *peer_new(stoa_remote *remote, const stoa_remote_line *line, stoa_session *session)
{
    const char *name = stoa_session_peer(session);
    if (remote->peer_count == STOA_REMOTE_PEERS) {
        stoa_log(STOA_LOG_WARN, "remote_nodes_full", STOA_KV("node", name), STOA_KV("link", line->options.uri));
        return NULL;
    }
    stoa_remote_peer *peer = &remote->peers[remote->peer_count];
    peer->session = session;
    memcpy(peer->name, name, strlen(name) + 1);
    remote->peer_count++;
    return peer;
}

/* --- who was not met yet */

static void say_awaited(stoa_remote *remote)
{
    char text[STOA_ABSENT_NODES_BYTES] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < remote->awaited_count && at < sizeof text; i++) {
        if (remote->awaited[i][0]) { at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? ", " : "", remote->awaited[i]); }
    }
    if (at >= sizeof text) { memcpy(text + sizeof text - 4, "...", 4); }
    if (!at) { remote->await_due_ns = 0; }
    stoa_names_await(remote->node, text, remote->kinds);
}

static void await_node(stoa_remote *remote, const char *name, size_t bytes)
{
    for (uint32_t i = 0; i < remote->awaited_count; i++) {
        if (strlen(remote->awaited[i]) == bytes && memcmp(remote->awaited[i], name, bytes) == 0) { return; }
    }
    if (remote->awaited_count == STOA_REMOTE_PEERS || bytes >= STOA_NODE_NAME_BYTES) { return; }
    memcpy(remote->awaited[remote->awaited_count++], name, bytes);
}

void stoa_remote_await(stoa_remote *remote)
{
    for (uint32_t i = 0; i < remote->line_count; i++) {
        const char *at = remote->lines[i].awaits ? remote->lines[i].awaits : "";
        for (size_t bytes; at += strspn(at, ", "), (bytes = strcspn(at, ", ")) > 0; at += bytes) { await_node(remote, at, bytes); }
    }
    remote->await_due_ns = remote->clock->now_ns(remote->clock) + remote->options.lost_ns + TELLS_NS;
    say_awaited(remote);
}

void stoa_remote_met(stoa_remote *remote, const char *node)
{
    bool one_less = false;
    for (uint32_t i = 0; i < remote->awaited_count; i++) {
        if (!remote->awaited[i][0] || (node && strcmp(remote->awaited[i], node) != 0)) { continue; }
        remote->awaited[i][0] = '\0';
        one_less = true;
    }
    if (one_less) { say_awaited(remote); }
}

void stoa_remote_peer_free(stoa_remote_peer *peer)
{
    for (unsigned lane = 0; lane < STOA_LANE_COUNT; lane++) {
        for (stoa_remote_waiting *w; (w = stoa_remote_pop(&peer->backlog[lane]));) { free(w); }
    }
    clear_pieces(peer);
    clear_inbox(peer);
    free(peer->told);
    free(peer->known);
    free(peer->bonds);
    free(peer->wants.at);
}

/* --- what sessions tell */

/* Have it told all names and patterns once more. */
static void retell(stoa_remote *remote, stoa_remote_peer *peer)
{
    peer->again = false;
    for (uint32_t place = 0; place < peer->told_size; place++) {
        if (peer->told[place]) { peer->told[place] = STOA_REMOTE_TOLD_OF; }
    }
    peer->tell_from = 1;
    peer->named = false;
    stoa_remote_patterns_tell(remote, peer);
    stoa_remote_full_tell(remote, peer);
    stoa_remote_shards_up(peer);
}

static void on_up(void *context, stoa_session *session, bool resumed)
{
    stoa_remote_line *line = line_of(context, session);
    stoa_remote *remote = line->remote;
    stoa_remote_peer *peer = peer_of(remote, session);
    (void)resumed;
    if (!peer) { peer = peer_new(remote, line, session); }
    if (!peer) { return; }
    peer->link = (uint32_t)(line - remote->lines);
    bool was_lost = peer->lost;
    peer->up = true;
    peer->lost = peer->left = false;
    peer->lost_due_ns = 0;
    peer->told_due_ns = remote->now_ns + TELLS_NS;
    if (was_lost) { (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_AGAIN, 0, 0, 0, NULL, 0, false); }
    retell(remote, peer);
    remote->busy++;
    tell(remote, peer, STOA_REMOTE_UP, STOA_OK);
}

void stoa_remote_peer_over(stoa_remote *remote, stoa_remote_peer *peer, stoa_remote_what what)
{
    peer->lost_due_ns = peer->told_due_ns = 0;
    if (peer->lost) { return; }
    peer->lost = true;
    peer->left = what != STOA_REMOTE_LOST;
    peer->counts.lost += what == STOA_REMOTE_LOST;
    if (peer->up) { stoa_remote_shards_down(remote, peer); }
    peer->up = false;
    stoa_remote_bonds_lost(remote, peer, true);
    stoa_remote_stands_lost(remote, peer);
    stoa_remote_asks_refuse(remote, peer, STOA_E_TIMEOUT);
    drop_backlog(remote, peer, MESSAGES, STOA_E_CLOSED);
    if (what == STOA_REMOTE_LOST) { stoa_log(STOA_LOG_WARN, "remote_lost", STOA_KV("node", peer->name)); }
    tell(remote, peer, what, STOA_OK);
}

/* It says much that is to be answered, and reads no answer. GONE are kept: nobody tells those again. */
static void give_up(stoa_remote *remote, stoa_remote_peer *peer)
{
    stoa_log(STOA_LOG_WARN, "remote_reads_nothing", STOA_KV("node", peer->name), STOA_KU("unread_bytes", remote->options.unread_bytes));
    drop_backlog(remote, peer, UNREAD, STOA_E_CLOSED);
    stoa_remote_peer_over(remote, peer, STOA_REMOTE_LOST);
    peer->deaf = false;
    (void)stoa_remote_part(remote, peer);
}

static void on_down(void *context, stoa_session *session, stoa_err why)
{
    const stoa_remote_line *line = context;
    stoa_remote *remote = line->remote;
    stoa_remote_peer *peer = peer_of(remote, session);
    if (!peer) { return; }
    peer->up = false;
    stoa_remote_shards_down(remote, peer);
    peer->told_due_ns = 0; /* with the next up it tells them all again */
    if (peer->lost) { return; } /* closed from here */
    if (why) { tell(remote, peer, STOA_REMOTE_DOWN, why); }
    if (why == STOA_E_CLOSED) {
        peer->lost_due_ns = remote->now_ns + remote->options.lost_ns;
    } else {
        stoa_remote_peer_over(remote, peer, why ? STOA_REMOTE_LOST : STOA_REMOTE_LEFT);
    }
}

/* Another life of it: it knows nobody here, and what it had asked is nobody's. */
static void on_reset(void *context, stoa_session *session, const stoa_session_reset *what)
{
    const stoa_remote_line *line = context;
    stoa_remote *remote = line->remote;
    stoa_remote_peer *peer = peer_of(remote, session);
    if (!peer) { return; }
    for (unsigned lane = 0; lane < STOA_LANE_COUNT; lane++) { peer->counts.in_doubt += what->lanes[lane].lost; }
    stoa_remote_peer_over(remote, peer, STOA_REMOTE_LOST);
    drop_backlog(remote, peer, ALL, STOA_E_CLOSED);
    clear_pieces(peer);
    clear_inbox(peer);
    stoa_remote_bonds_lost(remote, peer, false); /* of what it said before it was reset */
    if (peer->known_size) { memset(peer->known, 0, peer->known_size * sizeof *peer->known); } /* numbers begin anew */
    if (peer->told_size) { memset(peer->told, 0, peer->told_size); }
    stoa_remote_wants_clear(remote, peer);
    stoa_remote_shards_close(remote, peer);
    peer->told_count = 0;
    peer->asks_in = 0;
    peer->life++;
    tell(remote, peer, STOA_REMOTE_RESET, STOA_OK);
}

static void note_refused(stoa_remote_line *line, const char *name, stoa_remote_what what, stoa_err why)
{
    const stoa_remote_events *events = &line->remote->events;
    line->refused++;
    line->refused_why = why;
    if (name && name[0] && events->peer) { events->peer(events->context, name, what, why); }
}

static void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    note_refused(line_of(context, session), stoa_session_peer(session), here ? STOA_REMOTE_TURNED_AWAY : STOA_REMOTE_REFUSED, why);
}

void stoa_remote_turned_away(void *context, const char *name, stoa_err why)
{
    stoa_remote_line *line = context;
    const stoa_remote_events *events = &line->remote->events;
    note_refused(line, name, STOA_REMOTE_TURNED_AWAY, why);
    if (name || !events->link_refused) { return; }
    stoa_link_counts counts = {0};
    if (line->link) { line->link->ops->counts(line->link, &counts); }
    events->link_refused(events->context, (uint32_t)(line - line->remote->lines), counts.ups > counts.downs, why);
}

/* An asker is told by its own node. */
static void on_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    const stoa_remote_line *line = context;
    stoa_remote_peer *peer = peer_of(line->remote, session);
    if (peer) { stoa_remote_expired(line->remote, peer, message, here); }
}

static void on_room(void *context, stoa_session *session, stoa_lane lane)
{
    const stoa_remote_line *line = context;
    stoa_remote_peer *peer = peer_of(line->remote, session);
    if (peer) { flush(line->remote, peer, lane); }
}

/* --- what comes */

/* A piece; true: it was the last one, and all are in peer->pieces. */
static bool collect(stoa_remote_peer *peer, const stoa_session_message *m)
{
    bool more = m->type & STOA_REMOTE_MORE;
    uint32_t size = peer->pieces[m->lane].size_bytes + m->size_bytes, room = peer->pieces[m->lane].room_bytes;
    if (size > STOA_REMOTE_MESSAGE_MAX + sizeof(stoa_remote_head) + 2 * STOA_NAME_MAX) { peer->pieces[m->lane].broken = true; }
    if (size > room && !peer->pieces[m->lane].broken) {
        while (room < size) { room = room ? room * 2 : PIECES_FIRST_BYTES; }
        uint8_t *bytes = realloc(peer->pieces[m->lane].bytes, room);
        peer->pieces[m->lane].broken = !bytes;
        if (bytes) {
            peer->pieces[m->lane].bytes = bytes;
            peer->pieces[m->lane].room_bytes = room;
        }
    }
    bool broken = peer->pieces[m->lane].broken;
    if (!broken && m->size_bytes) { memcpy(peer->pieces[m->lane].bytes + size - m->size_bytes, m->bytes, m->size_bytes); }
    peer->pieces[m->lane].size_bytes = broken ? 0 : size;
    if (more) { return false; }
    if (broken) { peer->counts.malformed++; }
    peer->pieces[m->lane].broken = false;
    return !broken;
}

static void take(stoa_remote *remote, stoa_remote_peer *peer, const stoa_session_message *m)
{
    if (!(m->type & STOA_REMOTE_MORE) && !peer->pieces[m->lane].size_bytes && !peer->pieces[m->lane].broken) {
        stoa_remote_take(remote, peer, m, m->bytes, m->size_bytes);
    } else if (collect(peer, m)) {
        uint32_t size_bytes = peer->pieces[m->lane].size_bytes;
        peer->pieces[m->lane].size_bytes = 0;
        stoa_remote_take(remote, peer, m, peer->pieces[m->lane].bytes, size_bytes);
    }
    stoa_session_consumed(peer->session, m->lane, m->credit_bytes);
}

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    const stoa_remote_line *line = context;
    stoa_remote *remote = line->remote;
    stoa_remote_peer *peer = peer_of(remote, session);
    if (!peer) {
        stoa_session_consumed(session, m->lane, m->credit_bytes);
        return;
    }
    if (!peer->paused && !peer->inbox.head) {
        take(remote, peer, m);
        return;
    }
    stoa_remote_waiting w = {.source = m->source,
                             .target = m->target,
                             .deadline_ns = m->deadline_ns,
                             .size_bytes = m->size_bytes,
                             .credit_bytes = m->credit_bytes,
                             .lane = m->lane,
                             .type = m->type};
    stoa_remote_waiting *waits = waiting_new(&w, m->bytes); /* as many as its credit lets it send: of 8 bytes each at least */
    if (waits) {
        stoa_remote_push(&peer->inbox, waits);
    } else {
        peer->counts.dropped[STOA_DROP_MEMORY]++;
        stoa_session_consumed(session, m->lane, m->credit_bytes);
    }
}

static void read_inbox(stoa_remote *remote, stoa_remote_peer *peer)
{
    for (stoa_remote_waiting *w; !peer->paused && (w = stoa_remote_pop(&peer->inbox));) {
        stoa_session_message m = {.lane = w->lane,
                                  .type = w->type,
                                  .source = w->source,
                                  .target = w->target,
                                  .deadline_ns = w->deadline_ns,
                                  .bytes = w->bytes,
                                  .size_bytes = w->size_bytes,
                                  .credit_bytes = w->credit_bytes};
        take(remote, peer, &m);
        free(w);
    }
}

void stoa_remote_peer_pause(stoa_remote *remote, stoa_remote_peer *peer, bool paused)
{
    peer->paused = paused;
    if (paused) { return; }
    if (peer->told_due_ns) { peer->told_due_ns = remote->now_ns + TELLS_NS; } /* nothing of it was read meanwhile */
    read_inbox(remote, peer);
    for (unsigned lane = 0; lane < STOA_LANE_COUNT; lane++) { flush(remote, peer, (stoa_lane)lane); }
}

void stoa_remote_events_of(stoa_remote_line *line)
{
    line->events = (stoa_session_events){.message = on_message,
                                         .up = on_up,
                                         .down = on_down,
                                         .reset = on_reset,
                                         .refused = on_refused,
                                         .expired = on_expired,
                                         .room = on_room,
                                         .context = line};
}

/* --- with time */

uint64_t stoa_remote_peers_step(stoa_remote *remote)
{
    if (remote->await_due_ns && remote->await_due_ns <= remote->now_ns) { stoa_remote_met(remote, NULL); }
    uint64_t next = remote->await_due_ns ? remote->await_due_ns : UINT64_MAX;
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        stoa_remote_peer *peer = &remote->peers[i];
        if (peer->lost_due_ns && peer->lost_due_ns <= remote->now_ns) { stoa_remote_peer_over(remote, peer, STOA_REMOTE_LOST); }
        if (peer->deaf) { give_up(remote, peer); }
        if (peer->again && !stoa_remote_peer_backed(peer)) { retell(remote, peer); }
        if (peer->lost_due_ns && peer->lost_due_ns < next) { next = peer->lost_due_ns; }
        bool tells = peer->told_due_ns && !peer->paused;
        if (tells && peer->told_due_ns <= remote->now_ns) {
            tells = false;
            peer->told_due_ns = 0;
            stoa_names_forget(remote->node, peer->name);
            stoa_remote_met(remote, peer->name);
        }
        if (tells && peer->told_due_ns < next) { next = peer->told_due_ns; }
        uint64_t at = stoa_remote_bonds_step(remote, peer);
        next = at < next ? at : next;
        for (unsigned lane = 0; lane < STOA_LANE_COUNT; lane++) { flush(remote, peer, (stoa_lane)lane); }
        if (peer->up && !peer->paused) { stoa_remote_names_tell(remote, peer); }
        stoa_remote_shards_step(remote, peer);
        if (peer->held && !stoa_remote_peer_backed(peer)) { stoa_remote_stands_release(remote, peer); }
    }
    return next;
}
