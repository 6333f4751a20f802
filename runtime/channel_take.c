/* channel_take.c - what comes into a shard by its channels: greetings, mail that becomes cascades, and refused mail that comes
 * back. See channel.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/internal.h"

static stoa_channel_in *in_of(struct stoa_shard *shard, uint32_t channel)
{
    return &shard->ledger->channels.in[channel];
}

/* --- greetings */

/* The channel from the shard of that name; one that is not in use where there is none yet; 0: too many. */
static uint32_t channel_from(struct stoa_shard *shard, const stoa_channel_peer *from)
{
    uint32_t unused = 0;
    for (uint32_t i = STOA_CHANNELS_MAX; i > 0; i--) {
        const stoa_text30 *name = &in_of(shard, i)->shard;
        const stoa_channel_peer *peer = shard->mailing->in[i].peer;
        if (peer == from || (name->len && STOA_TEXT_EQZ(name, from->name))) { return i; }
        if (!name->len && !peer) { unused = i; }
    }
    return unused;
}

/* The sender has journaled what it heard of refusals up to there. */
static void settle(struct stoa_shard *shard, uint32_t channel, uint64_t upto)
{
    const stoa_channel_in *in = in_of(shard, channel);
    uint64_t seq = stoa_channel_unsettled(in);
    if (upto > in->cursor.seq) { upto = in->cursor.seq; }
    while (in->open && seq <= upto && !stoa_channel_refusal(in, seq)) { seq++; }
    if (!in->open || seq > upto) { return; } /* none of them is kept */
    shard->cause = 0;
    stoa_shard_log_settled event = {.seq = upto, .channel = channel};
    stoa_shard_note_alone(shard, stoa_shard_log_ROW_settled, &event);
}

static void begin_anew(struct stoa_shard *shard, uint32_t channel, const stoa_frame *frame)
{
    stoa_shard_log_restarted_in event = {
        .base = frame->base, .epoch = frame->epoch, .channel = channel, .generation = frame->generation};
    const stoa_channel_in *in = in_of(shard, channel);
    (void)STOA_TEXT_SETZ(&event.shard, frame->from->name); /* names of shards fit */
    if (in->shard.len) { /* who had it begun anew can see whether he was right */
        stoa_log(STOA_LOG_WARN, "channel_begun_anew", STOA_KV("from", frame->from->name), STOA_KV("to", shard->name),
                 STOA_KU("taken", in->cursor.seq), STOA_KU("generation", in->generation));
    }
    shard->cause = 0;
    stoa_shard_note_alone(shard, stoa_shard_log_ROW_restarted_in, &event);
}

static void take_hello(struct stoa_shard *shard, const stoa_frame *frame)
{
    struct stoa_mailing *m = shard->mailing;
    uint32_t channel = channel_from(shard, frame->from);
    if (!channel) {
        stoa_log(STOA_LOG_ERROR, "too_many_channels", STOA_KV("from", frame->from->name), STOA_KV("to", shard->name));
        return;
    }
    stoa_channel_in *in = in_of(shard, channel);
    stoa_in_live *live = &m->in[channel];
    if (channel > m->in_count) { m->in_count = channel; }
    live->peer = frame->from;
    live->session = frame->session;
    live->there = frame->channel;
    live->answered = frame->acked;
    live->asked = true;
    bool anew = frame->generation > in->generation; /* an operator had it begun: by who writes that shard, whatever its epoch */
    live->disorder = frame->epoch < in->epoch && !anew ? STOA_E_STALE : STOA_OK;
    if (live->disorder) { return; }
    if (anew) { begin_anew(shard, channel, frame); }
    if (frame->generation == in->generation) { settle(shard, channel, frame->acked); }
}

/* --- one message */

static stoa_known_name *known_name(stoa_known_name *table, const char *text, size_t size)
{
    return &table[stoa_hash64(0, text, size) % STOA_KNOWN_NAMES];
}

static stoa_actor *actor_named(struct stoa_shard *shard, const char *name, size_t size)
{
    stoa_known_name *known = known_name(shard->mailing->near, name, size);
    if (known->channel && memcmp(known->text, name, size) == 0 && !known->text[size]) { return shard->actors[known->channel]; }
    char text[STOA_NAME_MAX + 1];
    memcpy(text, name, size);
    text[size] = '\0';
    stoa_ref ref = stoa_names_find(&shard->node->names, text);
    if (!ref.at || stoa_ref_place(ref) != shard->core->place.index) { return NULL; }
    stoa_actor *actor = stoa_core_actor(shard->core, ref);
    if (!actor || actor->shard != shard) { return NULL; }
    memcpy(known->text, text, size + 1);
    known->channel = actor->stream;
    return actor;
}

static bool same_table(const stoa_row *row, const stoa_mail *mail)
{
    return strlen(row->kind) == mail->table_bytes && memcmp(row->kind, stoa_mail_table(mail), mail->table_bytes) == 0;
}

bool stoa_mail_is(const stoa_mail *mail, const stoa_row *row)
{
    return mail->row == row->id && same_table(row, mail);
}

/* The row, where the actor's kind handles it. */
static const stoa_row *row_for(const stoa_kind *kind, const stoa_mail *mail)
{
    if (mail->row <= kind->table->row_count && same_table(&kind->rows[1], mail)) {
        return kind->handlers[mail->row] ? &kind->rows[mail->row] : NULL;
    }
    for (const stoa_hear *hear = kind->hears; hear->row; hear++) {
        if (stoa_mail_is(mail, hear->row)) { return hear->row; }
    }
    return NULL;
}

/* What another node may mail: it tells, and commands nobody, and does not speak as the runtime of this one. */
static bool told(const stoa_row *row)
{
    bool tells = row->cls == STOA_ROW_CAST || row->cls == STOA_ROW_CONTROL;
    return tells && strcmp(row->kind, "stoa_system") != 0;
}

/* here: mailed on this node. Errors: NOT_FOUND, FAILED (it is being restarted), NO_HANDLER, DENIED, what decoding says; AGAIN (no memory). */
static stoa_err unpack(struct stoa_shard *shard, const stoa_mail *mail, bool here, stoa_actor **actor_out, stoa_msg **msg_out)
{
    stoa_actor *actor = actor_named(shard, stoa_mail_to(mail), mail->to_bytes);
    if (!actor) { return STOA_E_NOT_FOUND; }
    if (actor->flags & STOA_ACTOR_DOWN) { return STOA_E_FAILED; }
    const stoa_row *row = row_for(actor->kind, mail);
    if (!row) { return STOA_E_NO_HANDLER; }
    if (!here && !told(row)) { return STOA_E_DENIED; }
    stoa_msg *msg = stoa_slab_new(&shard->core->place.slab, row->payload.size_bytes, STOA_MSG_CONTEXT);
    if (!msg) { return STOA_E_AGAIN; }
    stoa_err err = stoa_decode(&row->payload, stoa_mail_payload(mail), mail->payload_bytes, stoa_msg_body(msg), NULL);
    if (err) {
        stoa_place_free(&shard->core->place, msg);
        return err;
    }
    msg->to = actor->self;
    msg->from = STOA_REF_NONE;
    msg->row = row;
    stoa_msg_context(msg)->command = mail->command;
    *actor_out = actor;
    *msg_out = msg;
    return STOA_OK;
}

void stoa_channels_before_effect(struct stoa_shard *shard, const stoa_turning *turning)
{
    struct stoa_mailing *m = shard->mailing;
    if (m->taking) {
        const stoa_mail *mail = m->taking;
        stoa_shard_log_delivered event = {.seq = mail->seq,
                                          .position = mail->position,
                                          .chain = mail->chain,
                                          .epoch = m->taking_epoch,
                                          .channel = m->taking_channel,
                                          .generation = in_of(shard, m->taking_channel)->generation};
        (void)STOA_TEXT_SETZ(&event.shard, m->in[m->taking_channel].peer->name);
        m->taking = NULL;
        stoa_shard_note(shard, stoa_shard_log_ROW_delivered, &event, turning);
    } else if (m->returning) {
        stoa_shard_log_returned event = *m->returning;
        m->returning = NULL;
        m->returned = NULL; /* the event trims it */
        stoa_shard_note(shard, stoa_shard_log_ROW_returned, &event, turning);
    }
}

static void note_refused(struct stoa_shard *shard, uint32_t channel, const stoa_mail *mail, uint64_t epoch, stoa_err error)
{
    stoa_shard_log_refused event = {.seq = mail->seq,
                                    .position = mail->position,
                                    .chain = mail->chain,
                                    .epoch = epoch,
                                    .channel = channel,
                                    .generation = in_of(shard, channel)->generation,
                                    .error = (int32_t)error};
    (void)STOA_TEXT_SETZ(&event.shard, shard->mailing->in[channel].peer->name);
    shard->cause = 0;
    stoa_shard_note_alone(shard, stoa_shard_log_ROW_refused, &event);
}

/* Run the message as a cascade. Its effect comes with `delivered`, its refusal with `refused`. False: not now. */
static bool deliver(struct stoa_shard *shard, uint32_t channel, const stoa_mail *mail, uint64_t epoch)
{
    struct stoa_mailing *m = shard->mailing;
    stoa_actor *actor = NULL;
    stoa_msg *msg = NULL;
    bool undone;
    stoa_shard_rest(shard);
    if (!stoa_shard_room(shard)) { return false; }
    bool full = !stoa_channels_room(shard);
    if (full && shard->core->now_ns - m->scarce_ns < STOA_MAIL_PATIENCE_NS) {
        m->again_ns = m->scarce_ns + STOA_MAIL_PATIENCE_NS;
        return false;
    }
    bool here = m->in[channel].peer->here != NULL;
    stoa_err err = full ? STOA_E_FULL : unpack(shard, mail, here, &actor, &msg);
    if (err == STOA_E_AGAIN) {
        m->again_ns = shard->core->now_ns + STOA_MS(1);
        return false;
    }
    if (!err) {
        stoa_channels_begin(shard, false);
        m->taking = mail;
        m->taking_channel = channel;
        m->taking_epoch = epoch;
        err = stoa_channels_turn(shard, actor, msg, &undone);
    }
    if (shard->down) { return false; }
    if (err) { note_refused(shard, channel, mail, epoch, err); }
    return true;
}

stoa_err stoa_channels_turn(struct stoa_shard *shard, stoa_actor *actor, stoa_msg *msg, bool *undone_out)
{
    struct stoa_mailing *m = shard->mailing;
    stoa_err refusal = STOA_OK;
    stoa_turn_run(shard->core, actor, msg);
    if (m->taking || m->returning) { /* it has not taken effect */
        refusal = actor->last_refusal ? (stoa_err)actor->last_refusal : STOA_E_FAILED;
    }
    m->taking = NULL;
    m->returning = NULL;
    m->returned = NULL;
    stoa_err undone = stoa_shard_cascade(shard);
    *undone_out = !refusal && undone;
    return refusal ? refusal : undone;
}

/* --- frames of mail */

static bool in_order(const stoa_channel_in *in, const stoa_mail *mail)
{
    return mail->seq == in->cursor.seq + 1 && mail->chain == stoa_mail_chain(in->cursor.chain, mail);
}

/* One frame, from where it was left on. False: not all of it now. */
static bool take_mail(struct stoa_shard *shard, stoa_frame *frame, uint32_t *budget)
{
    struct stoa_mailing *m = shard->mailing;
    uint32_t channel = frame->there;
    stoa_in_live *live = &m->in[channel];
    if (live->peer != frame->from || live->session != frame->session || live->disorder) { return true; }
    if (m->mail_done == 0) { settle(shard, channel, frame->acked); }
    const uint8_t *bytes = stoa_frame_body(frame);
    while (m->mail_done < frame->bytes) {
        const stoa_mail *mail = (const stoa_mail *)(const void *)(bytes + m->mail_done);
        const stoa_channel_in *in = in_of(shard, channel);
        if (mail->seq > in->cursor.seq) {
            if (!in_order(in, mail)) {
                live->disorder = STOA_E_GAP;
                return true;
            }
            if (*budget == 0 || !deliver(shard, channel, mail, frame->epoch)) { return false; }
            --*budget;
        }
        m->mail_done += mail->bytes;
    }
    return true;
}

bool stoa_channels_take(struct stoa_shard *shard, uint32_t budget)
{
    struct stoa_mailing *m = shard->mailing;
    while (m->mail.head) {
        stoa_frame *frame = stoa_msg_body(m->mail.head);
        bool done = true;
        if (frame->cls == STOA_FRAME_HELLO) {
            take_hello(shard, frame);
        } else {
            done = take_mail(shard, frame, &budget);
        }
        if (!done) { return budget == 0; }
        m->mail_done = 0;
        stoa_place_free(&shard->core->place, stoa_msg_list_pop(&m->mail));
    }
    return false;
}

/* --- refused mail comes back */

static stoa_msg *notice_new(struct stoa_shard *shard, const stoa_mail *mail, stoa_err error)
{
    stoa_msg *msg = stoa_slab_new_surely(&shard->core->place.slab, sizeof(stoa_system_undelivered), STOA_MSG_CONTEXT);
    if (!msg) { return NULL; }
    msg->to = msg->from = STOA_REF_NONE;
    msg->row = &stoa_system_rows[stoa_system_ROW_undelivered];
    stoa_msg_context(msg)->command = mail->command;
    stoa_system_undelivered *notice = stoa_msg_body(msg);
    *notice = (stoa_system_undelivered){.token = mail->token, .error = (int32_t)error, .row = mail->row};
    (void)STOA_TEXT_SET(&notice->to, stoa_mail_to(mail), mail->to_bytes);
    (void)STOA_TEXT_SET(&notice->table, stoa_mail_table(mail), mail->table_bytes);
    return msg;
}

/* Who fails hearing it is asked again when it is back, however often: nobody else knows of it. Who refuses to hear it is not. */
stoa_err stoa_channel_return(struct stoa_shard *shard, uint32_t channel, const stoa_mail *mail, stoa_err error)
{
    struct stoa_mailing *m = shard->mailing;
    stoa_actor *actor = shard->actors[mail->stream];
    stoa_shard_rest(shard);
    if (!stoa_shard_room(shard) || (actor->flags & STOA_ACTOR_DOWN)) { return STOA_E_AGAIN; }
    stoa_msg *msg = notice_new(shard, mail, error);
    if (!msg) { return STOA_E_AGAIN; }
    msg->to = actor->self;
    stoa_shard_log_returned event = {
        .seq = mail->seq, .channel = channel, .error = (int32_t)error, .stream = mail->stream};
    stoa_channels_begin(shard, !stoa_channels_room(shard));
    m->returning = &event;
    m->returned = mail;
    bool undone;
    stoa_err err = stoa_channels_turn(shard, actor, msg, &undone);
    if (shard->down) { return STOA_E_AGAIN; }
    if (err == STOA_E_FAILED || (undone && ++m->tries < STOA_RETURN_TRIES)) {
        m->again_ns = shard->core->now_ns + STOA_MS(1);
        return STOA_E_AGAIN;
    }
    shard->cause = 0;
    if (err) { stoa_shard_note_alone(shard, stoa_shard_log_ROW_returned, &event); }
    m->tries = 0;
    stoa_channels_measure(shard);
    return STOA_OK;
}
