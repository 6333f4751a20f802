/* remote/in.c - from other nodes to this one. Whatever comes is held against what the peer was told and against the row's type
 * before anybody here sees it; what cannot be is counted, and refused where somebody waits for it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"
#include "cluster/remote/inner.h"

/* A frame in the hands of its reader. */
typedef struct frame {
    const stoa_session_message *message;
    const void *bytes; /* all of them */
    uint32_t size_bytes;
    stoa_remote_body body;
} frame;

static void dropped(stoa_remote_peer *peer, stoa_drop reason)
{
    peer->counts.dropped[reason]++;
}

static void answer_error(stoa_remote *remote, stoa_remote_peer *peer, const frame *f, stoa_err why)
{
    stoa_remote_head head = {.error = (int32_t)why};
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_ANSWER, 0, f->body.head.id, 0, &head, sizeof head, false);
    peer->counts.answers_out++;
}

/* A message that no actor here gets. */
static void refuse(stoa_remote *remote, stoa_remote_peer *peer, const frame *f, stoa_err why)
{
    static const struct {
        stoa_err why;
        stoa_drop reason;
    } reasons[] = {{STOA_E_FULL, STOA_DROP_FULL},
                   {STOA_E_CLOSED, STOA_DROP_CLOSED},
                   {STOA_E_NO_HANDLER, STOA_DROP_NO_HANDLER}};
    stoa_drop reason = STOA_DROP_REFUSED;
    stoa_session_message whole = *f->message; /* which may have come in pieces */
    whole.bytes = f->bytes;
    whole.size_bytes = f->size_bytes;
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].why == why) { reason = reasons[i].reason; }
    }
    if (why == STOA_E_TIMEOUT) { stoa_remote_expired(remote, peer, &whole, false); }
    if (f->message->type == STOA_REMOTE_ASK) {
        answer_error(remote, peer, f, why);
        return;
    }
    if (why != STOA_E_TIMEOUT) { dropped(peer, reason); }
    if (f->message->type != STOA_REMOTE_CAST || !(f->body.head.flags & STOA_REMOTE_TELLS)) { return; }
    stoa_remote_head head = {.row = f->body.head.row & 0xffff, .id = f->body.head.id, .error = (int32_t)why};
    if (!head.row) { return; }
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_REFUSAL, f->message->target, f->message->source, 0, &head,
                           sizeof head, false);
    peer->counts.refused_out++;
}

static uint64_t due_of(const stoa_remote *remote, const frame *f)
{
    if (f->message->deadline_ns) { return f->message->deadline_ns; }
    uint64_t left_ns = f->body.head.left_ns;
    return !left_ns ? 0 : left_ns < UINT64_MAX - remote->now_ns ? remote->now_ns + left_ns : UINT64_MAX;
}

/* The payload into remote->payload. Errors: NO_HANDLER (no row that may come), what decoding says. */
static stoa_err read_payload(stoa_remote *remote, const frame *f, const stoa_row *row)
{
    if (!row || row->payload.size_bytes > STOA_PAYLOAD_MAX) { return STOA_E_NO_HANDLER; }
    memset(remote->payload, 0, row->payload.size_bytes);
    return stoa_decode(&row->payload, f->body.payload, f->body.payload_bytes, remote->payload, NULL);
}

static stoa_ref stand_ref(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number)
{
    return number ? remote->stands[stoa_remote_stand_of(remote, peer, number, true)].ref : STOA_REF_NONE;
}

/* --- messages to actors */

static stoa_err take_cast(stoa_remote *remote, stoa_remote_peer *peer, const frame *f, stoa_ref to, const stoa_row *row)
{
    bool tells = f->body.head.flags & STOA_REMOTE_TELLS;
    stoa_sending how = {.from = stand_ref(remote, peer, f->message->source),
                        .due_ns = due_of(remote, f),
                        .told = tells ? f->body.head.id : remote->plain};
    if (how.due_ns && how.due_ns <= remote->now_ns) { return STOA_E_TIMEOUT; }
    how.tells = how.from.at != 0;
    stoa_err err = stoa_port_send_as(remote->port, &how, to, row, remote->payload);
    peer->counts.casts_in += !err;
    return err;
}

static stoa_err take_ask(stoa_remote *remote, stoa_remote_peer *peer, const frame *f, stoa_ref to, const stoa_row *row)
{
    uint64_t due_ns = due_of(remote, f);
    if (!row->reply) { return STOA_E_NO_HANDLER; }
    if (!due_ns) { due_ns = UINT64_MAX; }
    if (due_ns <= remote->now_ns) { return STOA_E_TIMEOUT; }
    uint32_t at = remote->answering_free ? remote->answering_free : remote->answering_used;
    if (at == STOA_REMOTE_ASKS) { return STOA_E_FULL; }
    stoa_remote_answering *from = &remote->answering[at];
    uint32_t next = from->next, generation = from->generation + 1;
    uint64_t token = (uint64_t)generation << 32 | at;
    stoa_ref as = stand_ref(remote, peer, f->message->source);
    stoa_err err = stoa_port_ask_as(remote->port, as.at ? as : stoa_port_ref(remote->port), to, row, remote->payload,
                                    due_ns - remote->now_ns, token);
    if (err) { return err; }
    if (remote->answering_free) {
        remote->answering_free = next;
    } else {
        remote->answering_used++;
    }
    *from = (stoa_remote_answering){.id = f->body.head.id,
                                    .peer = stoa_remote_peer_index(remote, peer),
                                    .life = peer->life,
                                    .generation = generation,
                                    .target = f->message->target,
                                    .used = true};
    peer->asks_in++;
    peer->counts.asks_in++;
    return STOA_OK;
}

static void take_message(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    const stoa_row *row = stoa_remote_row(remote, f->body.head.row);
    const stoa_remote_local *local = stoa_remote_local_of(remote, peer, f->message->target);
    stoa_err err = local ? read_payload(remote, f, row) : STOA_E_CLOSED;
    if (local && !err) {
        bool ask = f->message->type == STOA_REMOTE_ASK;
        err = ask ? take_ask(remote, peer, f, local->ref, row) : take_cast(remote, peer, f, local->ref, row);
    }
    if (err) { refuse(remote, peer, f, err); }
}

static void take_answer(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    stoa_remote_asked *asked = stoa_remote_asked_of(remote, peer, f->message->target);
    peer->counts.answers_in++;
    if (!asked) {
        dropped(peer, STOA_DROP_LATE);
        return;
    }
    stoa_err err = (stoa_err)f->body.head.error;
    if (!err && f->body.head.row != stoa_remote_row_word(asked->reply)) { err = STOA_E_MALFORMED; }
    if (!err && read_payload(remote, f, asked->reply)) { err = STOA_E_MALFORMED; }
    (void)stoa_port_answer(remote->port, &asked->passed, asked->reply, remote->payload, err);
    stoa_remote_asked_free(remote, asked);
}

static void take_refusal(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    const stoa_remote_local *local = stoa_remote_local_of(remote, peer, f->message->target);
    const stoa_remote_stand *stand = &remote->stands[stoa_remote_stand_of(remote, peer, f->message->source, false)];
    peer->counts.refused_in++;
    if (!local) { return; }
    stoa_row row = {.id = (uint32_t)f->body.head.row};
    stoa_passed passed = {.stand = stand->ref, .told = f->body.head.id, .tells = true};
    (void)stoa_port_refuse(remote->port, local->ref, &passed, &row, (stoa_err)f->body.head.error);
}

/* --- what becomes of actors */

static void take_name(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    stoa_remote_stand_named(remote, peer, f->message->source, f->body.text);
}

static void take_gone(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    (void)stoa_remote_bonds_over(peer, f->message->source, 0, f->body.why, stoa_remote_text(f->body.text));
    stoa_remote_stand_gone(remote, peer, f->message->source, f->body.why, f->body.text);
}

static void take_link(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    stoa_remote_bond_make(remote, peer, f->message->source, f->message->target);
}

/* Whoever made it. */
static void take_unlink(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    const stoa_remote_local *local = stoa_remote_local_of(remote, peer, f->message->target);
    const stoa_remote_stand *stand = &remote->stands[stoa_remote_stand_of(remote, peer, f->message->source, false)];
    (void)stoa_remote_bond_forget(peer, f->message->source, f->message->target);
    if (local && stand->ref.at) { stoa_port_unlink(remote->port, local->ref, stand->ref); }
}

/* Of a link from there, or else of one that was made here. */
static void take_exit(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    const char *text = stoa_remote_text(f->body.text);
    if (stoa_remote_bonds_over(peer, f->message->source, f->message->target, f->body.why, text)) { return; }
    const stoa_remote_local *local = stoa_remote_local_of(remote, peer, f->message->target);
    const stoa_remote_stand *stand = &remote->stands[stoa_remote_stand_of(remote, peer, f->message->source, false)];
    if (local && stand->ref.at) { stoa_port_break(remote->port, local->ref, stand->ref, f->body.why, text); }
}

static void take_full(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    stoa_remote_stand *stand = &remote->stands[stoa_remote_stand_of(remote, peer, f->message->source, false)];
    bool full = f->message->type == STOA_REMOTE_FULL;
    if (stand->ref.at) { stoa_remote_stand_hold(remote, stand, full, stand->backed); }
    for (uint32_t i = 0; !f->message->source && !full && i < peer->known_size; i++) {
        stand = &remote->stands[peer->known[i].stand];
        if (stand->full) { stoa_remote_stand_hold(remote, stand, false, stand->backed); }
    }
}

static void take_wanted(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    stoa_remote_wanted(remote, peer, f->body.text, f->message->type == STOA_REMOTE_WANT);
}

static void take_published(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    const stoa_row *row = stoa_remote_row(remote, f->body.head.row);
    stoa_ref from = stand_ref(remote, peer, f->message->source);
    stoa_err err = read_payload(remote, f, row);
    if (!err) { err = stoa_remote_published(remote, from, f->body.text, row); }
    peer->counts.published_in += !err;
    if (err) { refuse(remote, peer, f, err); }
}

/* --- shards */

static void take_shard(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    stoa_remote_shard_told(remote, peer, f->body.text);
}

static void take_all(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    (void)f;
    stoa_remote_shards_complete(remote, peer);
}

static void take_mail(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    stoa_remote_mail_taken(remote, peer, f->body.payload, f->body.payload_bytes);
}

static void take_named(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    (void)f;
    stoa_remote_met(remote, peer->name);
}

static void take_again(stoa_remote *remote, stoa_remote_peer *peer, const frame *f)
{
    (void)f;
    stoa_remote_bonds_lost(remote, peer, false); /* who made them heard so */
    peer->again = true;
}

void stoa_remote_take(stoa_remote *remote, stoa_remote_peer *peer, const stoa_session_message *message, const void *bytes,
                      uint32_t size_bytes)
{
    static void (*const takers[STOA_REMOTE_FRAMES])(stoa_remote *, stoa_remote_peer *, const frame *) = {
        [STOA_REMOTE_NAME] = take_name,       [STOA_REMOTE_GONE] = take_gone,     [STOA_REMOTE_CAST] = take_message,
        [STOA_REMOTE_ASK] = take_message,     [STOA_REMOTE_ANSWER] = take_answer, [STOA_REMOTE_REFUSAL] = take_refusal,
        [STOA_REMOTE_EXIT] = take_exit,       [STOA_REMOTE_FULL] = take_full,     [STOA_REMOTE_ROOM] = take_full,
        [STOA_REMOTE_WANT] = take_wanted,     [STOA_REMOTE_UNWANT] = take_wanted, [STOA_REMOTE_PUBLISH] = take_published,
        [STOA_REMOTE_SHARD] = take_shard,     [STOA_REMOTE_MAIL] = take_mail,   [STOA_REMOTE_AGAIN] = take_again,
        [STOA_REMOTE_LINK] = take_link,       [STOA_REMOTE_UNLINK] = take_unlink,
        [STOA_REMOTE_ALL] = take_all,         [STOA_REMOTE_NAMED] = take_named};
    frame f = {.message = message, .bytes = bytes, .size_bytes = size_bytes};
    remote->busy++;
    stoa_err err = stoa_remote_frame_read(message->type, bytes, size_bytes, &f.body);
    if (err || !takers[message->type]) {
        peer->counts.malformed++;
        return;
    }
    takers[message->type](remote, peer, &f);
}
