/* remote/out.c - from this node to others: what stands have handed over, answers of actors here, refusals, ends.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"
#include "cluster/remote/inner.h"

enum { SWEEP_MS = 20 };

static void dropped(stoa_remote_peer *peer, stoa_drop reason)
{
    peer->counts.dropped[reason]++;
}

/* --- what is too late */

void stoa_remote_stale(stoa_remote *remote, stoa_remote_peer *peer, stoa_ref to, stoa_ref from, const stoa_row *row)
{
    dropped(peer, STOA_DROP_STALE);
    if (row) { stoa_port_letter(remote->port, remote->options.core, to, from, row); }
}

void stoa_remote_expired(stoa_remote *remote, stoa_remote_peer *peer, const stoa_session_message *message, bool ours)
{
    stoa_remote_body body = {0};
    const stoa_remote_local *local = stoa_remote_local_of(remote, peer, ours ? message->source : message->target);
    const stoa_remote_stand *stand =
        &remote->stands[stoa_remote_stand_of(remote, peer, ours ? message->target : message->source, false)];
    stoa_ref here = local ? local->ref : STOA_REF_NONE;
    bool known = message->size_bytes && !stoa_remote_frame_read(message->type, message->bytes, message->size_bytes, &body);
    stoa_remote_stale(remote, peer, ours ? stand->ref : here, ours ? here : stand->ref,
                      known ? stoa_remote_row(remote, body.head.row) : NULL);
}

/* --- asks to others */

stoa_remote_asked *stoa_remote_asked_of(stoa_remote *remote, const stoa_remote_peer *peer, uint64_t id)
{
    uint32_t at = (uint32_t)id;
    stoa_remote_asked *asked = at < remote->asked_used ? &remote->asked[at] : NULL;
    bool is = asked && asked->used && asked->generation == (uint32_t)(id >> 32) && asked->peer == stoa_remote_peer_index(remote, peer);
    return is ? asked : NULL;
}

static stoa_remote_asked *asked_new(stoa_remote *remote, stoa_remote_peer *peer, uint64_t *id_out)
{
    uint32_t at = remote->asked_free ? remote->asked_free : remote->asked_used;
    if (at == STOA_REMOTE_ASKS) { return NULL; }
    stoa_remote_asked *asked = &remote->asked[at];
    if (remote->asked_free) {
        remote->asked_free = asked->next;
    } else {
        remote->asked_used++;
    }
    *asked = (stoa_remote_asked){
        .peer = stoa_remote_peer_index(remote, peer), .generation = asked->generation + 1, .used = true};
    peer->asks_out++;
    *id_out = (uint64_t)asked->generation << 32 | at;
    return asked;
}

void stoa_remote_asked_free(stoa_remote *remote, stoa_remote_asked *asked)
{
    remote->peers[asked->peer].asks_out--;
    asked->used = false;
    asked->next = remote->asked_free;
    remote->asked_free = (uint32_t)(asked - remote->asked);
}

void stoa_remote_asks_refuse(stoa_remote *remote, const stoa_remote_peer *peer, stoa_err why)
{
    for (uint32_t i = 1; i < remote->asked_used; i++) {
        stoa_remote_asked *asked = &remote->asked[i];
        if (!asked->used || asked->peer != stoa_remote_peer_index(remote, peer)) { continue; }
        (void)stoa_port_answer(remote->port, &asked->passed, NULL, NULL, why);
        stoa_remote_asked_free(remote, asked);
    }
}

/* Who asked was told by its own node. */
uint64_t stoa_remote_asks_sweep(stoa_remote *remote)
{
    if (remote->now_ns < remote->sweep_ns) { return remote->sweep_ns; }
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 1; i < remote->asked_used; i++) {
        stoa_remote_asked *asked = &remote->asked[i];
        if (!asked->used) { continue; }
        if (asked->passed.due_ns <= remote->now_ns) {
            stoa_remote_asked_free(remote, asked);
        } else if (asked->passed.due_ns < next) {
            next = asked->passed.due_ns;
        }
    }
    remote->sweep_ns = next < UINT64_MAX - STOA_MS(SWEEP_MS) ? next + STOA_MS(SWEEP_MS) : next;
    return remote->sweep_ns;
}

/* --- frames */

stoa_err stoa_remote_encode(stoa_remote *remote, const stoa_remote_head *head, const char *text, const stoa_row *row,
                            const void *payload, uint32_t *size_out)
{
    uint32_t text_bytes = text ? (uint32_t)strlen(text) + 1 : 0; /* with its length */
    uint8_t *at = remote->encoded + sizeof *head;
    stoa_writer w = {.at = at + text_bytes, .cap_bytes = STOA_REMOTE_MESSAGE_MAX};
    memcpy(remote->encoded, head, sizeof *head);
    if (text) {
        at[0] = (uint8_t)(text_bytes - 1);
        memcpy(at + 1, text, text_bytes - 1);
    }
    if (row && (stoa_encode(&row->payload, payload, &w) || w.cut)) { return STOA_E_TOO_LARGE; }
    *size_out = (uint32_t)(sizeof *head + text_bytes + w.used_bytes);
    return STOA_OK;
}

static uint64_t left_of(const stoa_remote *remote, uint64_t due_ns)
{
    return !due_ns || due_ns == UINT64_MAX ? 0 : due_ns > remote->now_ns ? due_ns - remote->now_ns : 1;
}

/* --- what a stand has handed over */

static void refuse(stoa_remote *remote, stoa_remote_peer *peer, const stoa_delivery *d, stoa_err why)
{
    bool asked = d->passed->asker.who.at, told = stoa_port_refuse(remote->port, d->from, d->passed, d->row, why);
    if (why == STOA_E_TIMEOUT && (asked || !told)) {
        stoa_remote_stale(remote, peer, d->passed->stand, d->from, d->row);
    } else if (!told) {
        dropped(peer, why == STOA_E_FULL ? STOA_DROP_FULL : why == STOA_E_CLOSED ? STOA_DROP_CLOSED : STOA_DROP_REFUSED);
    }
}

static stoa_err send_message(stoa_remote *remote, stoa_remote_peer *peer, stoa_remote_stand *stand, const stoa_delivery *d)
{
    const stoa_passed *passed = d->passed;
    bool asks = passed->asker.who.at;
    stoa_remote_head head = {.row = stoa_remote_row_word(d->row), .left_ns = left_of(remote, passed->due_ns)};
    stoa_remote_asked *asked = NULL;
    if (passed->due_ns && passed->due_ns <= remote->now_ns) { return STOA_E_TIMEOUT; }
    if (asks && !d->row->reply) { return STOA_E_UNSUPPORTED; } /* forwarded as a row that nobody can answer from there */
    if (asks) {
        asked = asked_new(remote, peer, &head.id);
        if (!asked) { return STOA_E_FULL; }
        asked->passed = *passed;
        asked->reply = d->row->reply;
    } else if (passed->tells) {
        head.id = passed->told;
        head.flags = STOA_REMOTE_TELLS;
    }
    uint32_t size_bytes;
    stoa_err err = stoa_remote_encode(remote, &head, NULL, d->row, d->payload, &size_bytes);
    uint64_t source = stoa_remote_number(remote, peer, d->from), number = stand->number;
    if (!err) {
        err = stoa_remote_send(remote, peer, passed->urgent ? STOA_LANE_CONTROL : STOA_LANE_NORMAL,
                               asks ? STOA_REMOTE_ASK : STOA_REMOTE_CAST, source, number,
                               passed->due_ns == UINT64_MAX ? 0 : passed->due_ns, remote->encoded, size_bytes, true);
    }
    if (err && asked) { stoa_remote_asked_free(remote, asked); }
    if (!err && asked && passed->due_ns && passed->due_ns < remote->sweep_ns) { remote->sweep_ns = passed->due_ns + STOA_MS(SWEEP_MS); }
    return err;
}

/* What was sent in a stand's name was refused by an actor here. */
static void tell_refusal(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_stand *stand, const stoa_system_refused *says)
{
    stoa_remote_local *local = stoa_remote_local_at(remote, (stoa_ref){says->ref});
    if (says->token == remote->plain) { dropped(peer, says->error == STOA_E_FULL ? STOA_DROP_FULL : STOA_DROP_REFUSED); }
    if (!local) { return; }
    if (says->error == STOA_E_FULL && !local->awaited) {
        stoa_embassy_await await = {.ref = says->ref};
        local->awaited = !stoa_port_send(remote->port, remote->embassy, &stoa_embassy_rows[stoa_embassy_ROW_await], &await, 0);
        if (local->awaited) { stoa_remote_tell_all(remote, local, STOA_REMOTE_FULL); }
    }
    if (says->token == remote->plain) { return; }
    stoa_remote_head head = {.row = says->row, .id = says->token, .error = says->error};
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_REFUSAL, local->number, stand->number, 0, &head, sizeof head,
                           false);
    peer->counts.refused_out++;
}

static void handed_over(stoa_remote *remote, const stoa_delivery *d)
{
    stoa_remote_stand *stand = stoa_remote_stand_at(remote, d->passed);
    if (!stand) { /* it ended behind this */
        (void)stoa_port_refuse(remote->port, d->from, d->passed, d->row, STOA_E_CLOSED);
        return;
    }
    stoa_remote_peer *peer = &remote->peers[stand->peer];
    if (d->row == &stoa_system_rows[stoa_system_ROW_refused]) {
        tell_refusal(remote, peer, stand, d->payload);
        return;
    }
    if (stoa_remote_bond_told(remote, peer, stand, d)) { return; }
    stoa_err err = send_message(remote, peer, stand, d);
    if (err) {
        refuse(remote, peer, d, err);
    } else if (d->passed->asker.who.at) {
        peer->counts.asks_out++;
    } else {
        peer->counts.casts_out++;
    }
    bool backed = stoa_remote_peer_backed(peer);
    if (backed && !stand->backed) { stoa_remote_stand_hold(remote, stand, stand->full, true); }
}

void stoa_remote_unsent(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_waiting *frame, stoa_err why)
{
    stoa_remote_head head;
    if (frame->type != STOA_REMOTE_CAST && frame->type != STOA_REMOTE_ASK) { return; }
    memcpy(&head, frame->bytes, sizeof head);
    if (why == STOA_E_TIMEOUT) {
        stoa_session_message m = {.type = frame->type, .source = frame->source, .target = frame->target, .bytes = frame->bytes,
                                  .size_bytes = frame->size_bytes};
        stoa_remote_expired(remote, peer, &m, true);
    }
    if (frame->type == STOA_REMOTE_ASK) {
        stoa_remote_asked *asked = stoa_remote_asked_of(remote, peer, head.id);
        if (!asked) { return; }
        (void)stoa_port_answer(remote->port, &asked->passed, NULL, NULL, why);
        stoa_remote_asked_free(remote, asked);
        return;
    }
    if (why != STOA_E_TIMEOUT) { dropped(peer, STOA_DROP_CLOSED); }
}

/* --- answers of actors here */

static void answered(stoa_remote *remote, const stoa_delivery *d)
{
    uint32_t at = (uint32_t)d->token, size_bytes;
    stoa_remote_answering *from = at < remote->answering_used ? &remote->answering[at] : NULL;
    if (!from || !from->used || from->generation != (uint32_t)(d->token >> 32)) { return; }
    stoa_remote_peer *peer = &remote->peers[from->peer];
    bool same = peer->session && peer->life == from->life;
    uint64_t id = from->id, target = from->target;
    if (same) { peer->asks_in--; }
    from->used = false;
    from->next = remote->answering_free;
    remote->answering_free = at;
    if (!same) { return; } /* who asked is of an earlier life */
    stoa_remote_head head = {.error = (int32_t)d->error};
    bool whole = !d->error && d->payload;
    if (whole) { head.row = stoa_remote_row_word(d->row); }
    if (!whole && !d->error) { head.error = STOA_E_MALFORMED; }
    if (stoa_remote_encode(remote, &head, NULL, whole ? d->row : NULL, d->payload, &size_bytes)) {
        head = (stoa_remote_head){.error = STOA_E_TOO_LARGE};
        (void)stoa_remote_encode(remote, &head, NULL, NULL, NULL, &size_bytes);
    }
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_ANSWER, target, id, 0, remote->encoded, size_bytes, false);
    peer->counts.answers_out++;
}

/* --- from the port */

void stoa_remote_tell_all(stoa_remote *remote, const stoa_remote_local *local, stoa_remote_frame type)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        stoa_remote_peer *peer = &remote->peers[i];
        if (!peer->up || !stoa_remote_local_of(remote, peer, local->number)) { continue; }
        (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, type, local->number, 0, 0, NULL, 0, false);
    }
}

void stoa_remote_full_tell(stoa_remote *remote, stoa_remote_peer *peer)
{
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_ROOM, 0, 0, 0, NULL, 0, false);
    for (uint32_t i = 1; i < remote->local_used; i++) {
        const stoa_remote_local *local = &remote->locals[i];
        if (!local->awaited || !stoa_remote_local_of(remote, peer, local->number)) { continue; }
        (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_FULL, local->number, 0, 0, NULL, 0, false);
    }
}

static void has_room(stoa_remote *remote, stoa_ref ref)
{
    stoa_remote_local *local = stoa_remote_local_at(remote, ref);
    if (!local || !local->awaited) { return; }
    local->awaited = false;
    stoa_remote_tell_all(remote, local, STOA_REMOTE_ROOM);
}

void stoa_remote_deliver(void *context, const stoa_delivery *d)
{
    stoa_remote *remote = context;
    remote->busy++;
    if (d->answer) {
        answered(remote, d);
    } else if (d->passed) {
        handed_over(remote, d);
    } else if (stoa_remote_mail_sent(remote, d)) {
        return;
    } else if (d->row == &stoa_embassy_rows[stoa_embassy_ROW_ended]) {
        stoa_remote_local_ended(remote, d->payload);
    } else if (d->row == &stoa_embassy_rows[stoa_embassy_ROW_roomy]) {
        has_room(remote, (stoa_ref){((const stoa_embassy_roomy *)d->payload)->ref});
    } else if (d->topic[0]) {
        stoa_remote_publish(remote, d);
    }
}
