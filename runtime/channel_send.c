/* channel_send.c - what goes out of a shard by its channels: greetings, mail behind its commit, answers; and the sender's ear for
 * answers. See channel.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/distant_internal.h"
#include "runtime/internal.h"

enum { REFUSALS_MAX = 256 };
#define AGAIN_NS STOA_MS(1)

/* --- frames */

void stoa_frame_arrive(stoa_core *core, stoa_msg *msg)
{
    const stoa_frame *frame = stoa_msg_body(msg);
    struct stoa_shard *shard = frame->to->here;
    struct stoa_mailing *m = shard->mailing;
    stoa_msg_list_push(frame->cls == STOA_FRAME_ANSWER ? &m->answers : &m->mail, msg);
    stoa_core_enqueue(core, &shard->run);
}

static void try_again(struct stoa_shard *shard)
{
    if (!shard->mailing->again_ns) { shard->mailing->again_ns = shard->core->now_ns + AGAIN_NS; }
}

/* Where frames to it go; NONE: nowhere for now, it says so when there is a way. */
static stoa_ref way_to(const stoa_channel_peer *peer)
{
    return peer->here ? stoa_ref_make(0, peer->here->core->place.index, 0) : stoa_distant_way(peer);
}

stoa_frame *stoa_frame_new(struct stoa_shard *shard, const stoa_channel_peer *peer, stoa_frame_class cls, uint32_t bytes)
{
    stoa_place *place = &shard->core->place;
    stoa_ref way = way_to(peer);
    uint32_t to = stoa_ref_place(way);
    if (!way.at && !peer->here) { return NULL; }
    bool room = to == place->index || stoa_place_room(place, to);
    stoa_msg *msg = room ? stoa_slab_new(&place->slab, (uint32_t)sizeof(stoa_frame) + bytes, peer->here ? STOA_MSG_ACT : 0) : NULL;
    if (!msg) {
        try_again(shard);
        return NULL;
    }
    msg->to = way;
    msg->from = STOA_REF_NONE;
    msg->row = peer->here ? NULL : &stoa_distant_row;
    stoa_frame *frame = stoa_msg_body(msg);
    *frame = (stoa_frame){.act = {.run = stoa_frame_arrive}, .to = peer, .from = &shard->peer, .cls = cls, .bytes = bytes};
    return frame;
}

void stoa_frame_send(struct stoa_shard *shard, stoa_frame *frame)
{
    stoa_core_deliver(shard->core, (stoa_msg *)(void *)frame - 1);
}

/* --- the sender: greeting and mail */

static stoa_channel_out *out_of(struct stoa_shard *shard, uint32_t channel)
{
    return &shard->ledger->channels.out[channel];
}

/* What the receiver may rely on that this side will not ask for again. */
static uint64_t durable_ack(struct stoa_shard *shard, uint32_t channel)
{
    return shard->committed == shard->applied ? out_of(shard, channel)->acked.seq : shard->mailing->out[channel].acked;
}

static void greet(struct stoa_shard *shard, uint32_t channel)
{
    stoa_out_live *live = &shard->mailing->out[channel];
    if (live->begun_at > shard->committed) { return; } /* nobody may hear yet that it began anew */
    stoa_frame *frame = stoa_frame_new(shard, live->peer, STOA_FRAME_HELLO, 0);
    if (!frame) { return; }
    frame->session = ++live->session;
    frame->channel = channel;
    frame->generation = out_of(shard, channel)->generation;
    frame->epoch = shard->epoch;
    frame->acked = durable_ack(shard, channel);
    frame->base = out_of(shard, channel)->base;
    stoa_frame_send(shard, frame);
    live->phase = STOA_CHANNEL_ASKED;
}

/* The bytes of mail from *at on that are committed and fit a frame to that peer. */
static uint32_t measure(const struct stoa_shard *shard, const stoa_channel_peer *peer, const stoa_channel_out *out, uint64_t at)
{
    uint32_t bytes = 0, max = peer->here ? STOA_FRAME_BODY_BYTES : STOA_DISTANT_BODY_BYTES;
    const stoa_mail *mail;
    while ((mail = stoa_channel_mail(out, &at)) != NULL && mail->position <= shard->committed &&
           bytes + mail->bytes <= max) {
        bytes += mail->bytes;
        at += mail->bytes;
    }
    return bytes;
}

static void copy(const stoa_channel_out *out, stoa_out_live *live, uint8_t *to, uint32_t bytes)
{
    while (bytes) {
        const stoa_mail *mail = stoa_channel_mail(out, &live->sent_at);
        memcpy(to, mail, mail->bytes);
        to += mail->bytes;
        bytes -= mail->bytes;
        live->sent_at += mail->bytes;
        live->sent_seq = mail->seq;
    }
}

static void send_mail(struct stoa_shard *shard, uint32_t channel)
{
    stoa_out_live *live = &shard->mailing->out[channel];
    const stoa_channel_out *out = out_of(shard, channel);
    uint32_t bytes;
    if (live->met_at > shard->committed) { return; }
    while (live->sent_at != out->head && (bytes = measure(shard, live->peer, out, live->sent_at)) > 0) {
        stoa_frame *frame = stoa_frame_new(shard, live->peer, STOA_FRAME_MAIL, bytes);
        if (!frame) { return; }
        frame->session = live->session;
        frame->channel = channel;
        frame->there = live->there;
        frame->generation = out->generation;
        frame->epoch = shard->epoch;
        frame->acked = durable_ack(shard, channel);
        copy(out, live, stoa_frame_body(frame), bytes);
        stoa_frame_send(shard, frame);
    }
}

/* --- the receiver: answers */

/* The cursor goes along: behind a fork a channel begins above it. */
static void answer_disorder(struct stoa_shard *shard, uint32_t channel, const stoa_cursor *cursor)
{
    stoa_in_live *live = &shard->mailing->in[channel];
    stoa_frame *frame = stoa_frame_new(shard, live->peer, STOA_FRAME_ANSWER, 0);
    if (!frame) { return; }
    frame->session = live->session;
    frame->channel = channel;
    frame->there = live->there;
    frame->error = (int32_t)live->disorder;
    if (live->disorder == STOA_E_STALE) {
        frame->generation = shard->ledger->channels.in[channel].generation;
        frame->cursor = *cursor;
    }
    stoa_frame_send(shard, frame);
    live->disorder = STOA_OK;
}

/* What has been committed of the cursor. */
static bool committed_cursor(const struct stoa_shard *shard, uint32_t channel, stoa_cursor *out)
{
    const stoa_channel_in *in = &shard->ledger->channels.in[channel];
    const stoa_in_live *live = &shard->mailing->in[channel];
    bool all = shard->committed == shard->applied;
    *out = all ? in->cursor : live->committed;
    return all || live->committed_generation == in->generation;
}

/* The refusals above what was answered, as many as one frame takes; *upto_out: how far they reach. */
static uint32_t refusals(const stoa_channel_in *in, uint64_t from, uint64_t to, stoa_refusal *list, uint64_t *upto_out)
{
    uint64_t kept = stoa_channel_unsettled(in);
    uint32_t count = 0;
    *upto_out = to;
    for (uint64_t seq = from < kept ? kept : from + 1; seq <= to && in->open; seq++) {
        stoa_err error = stoa_channel_refusal(in, seq);
        if (!error) { continue; }
        if (count == REFUSALS_MAX) {
            *upto_out = seq - 1;
            break;
        }
        list[count++] = (stoa_refusal){seq, error};
    }
    return count;
}

/* Returns whether it was sent. */
static bool answer(struct stoa_shard *shard, uint32_t channel, const stoa_cursor *cursor)
{
    const stoa_channel_in *in = &shard->ledger->channels.in[channel];
    stoa_in_live *live = &shard->mailing->in[channel];
    stoa_refusal list[REFUSALS_MAX];
    uint64_t upto;
    uint32_t bytes = refusals(in, live->answered, cursor->seq, list, &upto) * (uint32_t)sizeof *list;
    stoa_frame *frame = stoa_frame_new(shard, live->peer, STOA_FRAME_ANSWER, bytes);
    if (!frame) { return false; }
    frame->session = live->session;
    frame->channel = channel;
    frame->there = live->there;
    frame->generation = in->generation;
    frame->epoch = shard->epoch;
    frame->cursor = *cursor;
    frame->acked = in->settled;
    frame->base = live->answered;
    frame->upto = upto;
    if (bytes) { memcpy(stoa_frame_body(frame), list, bytes); }
    stoa_frame_send(shard, frame);
    live->asked = false;
    live->answered = upto;
    return true;
}

static void answers(struct stoa_shard *shard, uint32_t channel)
{
    stoa_in_live *live = &shard->mailing->in[channel];
    stoa_cursor cursor;
    if (!live->peer) { return; }
    bool committed = committed_cursor(shard, channel, &cursor);
    if (live->disorder && (committed || live->disorder != STOA_E_STALE)) {
        answer_disorder(shard, channel, &cursor);
        return;
    }
    if (!committed || live->disorder) { return; }
    while ((live->asked || live->answered < cursor.seq) && answer(shard, channel, &cursor)) {}
}

/* Once: what waits may wait for ever. */
static void tell_absence(struct stoa_shard *shard, uint32_t channel, uint32_t news)
{
    stoa_out_live *live = &shard->mailing->out[channel];
    const stoa_channel_out *out = out_of(shard, channel);
    if (live->news == news || live->absence_told || out->posted.seq == live->known.seq) { return; }
    live->news = news;
    if (!stoa_distant_absent(shard->node, &out->shard)) { return; }
    live->absence_told = true;
    char to[sizeof(stoa_text30)];
    (void)snprintf(to, sizeof to, "%.*s", STOA_TEXT_ARGS(&out->shard));
    stoa_log(STOA_LOG_WARN, "channel_absent", STOA_KV("from", shard->name), STOA_KV("to", to),
             STOA_KV("why", "the node is here, and serves no such shard"), STOA_KU("waiting", out->posted.seq - live->known.seq));
}

void stoa_channels_pump(struct stoa_shard *shard)
{
    struct stoa_mailing *m = shard->mailing;
    const stoa_channel_book *book = &shard->ledger->channels;
    if (shard->down) { return; }
    uint32_t news = stoa_distant_news(shard->node);
    for (uint32_t i = 1; i <= book->out_count; i++) {
        stoa_out_live *live = &m->out[i];
        if (!book->out[i].shard.len) { continue; } /* its first mail was lost with the end of the log */
        tell_absence(shard, i, news);
        if (live->phase == STOA_CHANNEL_APART && live->peer) { greet(shard, i); }
        if (live->phase == STOA_CHANNEL_RUNS) { send_mail(shard, i); }
    }
    for (uint32_t i = 1; i <= m->in_count; i++) { answers(shard, i); }
}

void stoa_channels_sealing(struct stoa_shard *shard, uint32_t slot)
{
    struct stoa_mailing *m = shard->mailing;
    const stoa_channel_book *book = &shard->ledger->channels;
    for (uint32_t i = 1; i <= book->out_count; i++) {
        if (m->out[i].known.seq > book->out[i].acked.seq) { stoa_channel_note_acknowledged(shard, i); }
        bool unsaid = m->out[i].is_new && book->out[i].shard.len && book->out[i].contact == STOA_CONTACT_UNSAID;
        if (unsaid) { stoa_channel_note_contact(shard, i, STOA_CONTACT_NONE); }
        m->out[i].is_new = false;
        m->out[i].sealed_acked[slot] = book->out[i].acked.seq;
    }
    for (uint32_t i = 1; i <= m->in_count; i++) {
        m->in[i].sealed[slot] = book->in[i].cursor;
        m->in[i].sealed_generation[slot] = book->in[i].generation;
    }
}

void stoa_channels_durable(struct stoa_shard *shard, uint32_t slot)
{
    struct stoa_mailing *m = shard->mailing;
    for (uint32_t i = 1; i <= shard->ledger->channels.out_count; i++) { m->out[i].acked = m->out[i].sealed_acked[slot]; }
    for (uint32_t i = 1; i <= m->in_count; i++) {
        m->in[i].committed = m->in[i].sealed[slot];
        m->in[i].committed_generation = m->in[i].sealed_generation[slot];
    }
}

/* --- the sender hears an answer */

void stoa_channel_note_acknowledged(struct stoa_shard *shard, uint32_t channel)
{
    stoa_out_live *live = &shard->mailing->out[channel];
    stoa_shard_log_acknowledged event = {.seq = live->known.seq, .channel = channel};
    shard->cause = 0;
    stoa_shard_note_alone(shard, stoa_shard_log_ROW_acknowledged, &event);
    stoa_channels_measure(shard);
}

/* Walk what is known on to seq; false: there is no such message, or it is not the one meant. */
static bool walk(const stoa_channel_out *out, stoa_cursor *known, uint64_t *at, uint64_t seq)
{
    const stoa_mail *mail;
    while (known->seq < seq && (mail = stoa_channel_mail(out, at)) != NULL) {
        *known = (stoa_cursor){mail->seq, mail->chain};
        *at += mail->bytes;
    }
    return known->seq == seq;
}

/* Why this cursor cannot be of our history; NULL: it is. *at_out: the byte behind its message. */
static const char *look_for_fork(struct stoa_shard *shard, const stoa_frame *frame, uint64_t *at_out)
{
    const stoa_channel_out *out = out_of(shard, frame->there);
    const stoa_out_live *live = &shard->mailing->out[frame->there];
    stoa_cursor known = live->known;
    *at_out = live->known_at;
    if (frame->generation != out->generation) { return "the receiver knows a later beginning: this shard has lost its end"; }
    if (frame->cursor.seq < live->known.seq) { return "the receiver has lost what it had acknowledged"; }
    if (frame->acked > out->acked.seq) { return "this shard has lost that it had heard of refusals"; }
    if (!walk(out, &known, at_out, frame->cursor.seq)) { return "this shard has lost what the receiver has"; }
    return known.chain == frame->cursor.chain ? NULL : "the receiver has other messages: this shard had lost its end";
}

static void begin_session(struct stoa_shard *shard, const stoa_frame *frame, uint64_t at)
{
    stoa_out_live *live = &shard->mailing->out[frame->there];
    if (out_of(shard, frame->there)->contact != STOA_CONTACT_MADE) {
        stoa_channel_note_contact(shard, frame->there, STOA_CONTACT_MADE);
        live->met_at = shard->applied;
    }
    live->phase = STOA_CHANNEL_RUNS;
    live->there = frame->channel;
    live->sent_at = at;
    live->sent_seq = frame->cursor.seq;
}

/* Return what was refused, each in a cascade of its own; false: not all of it now. */
static bool return_refused(struct stoa_shard *shard, stoa_frame *frame)
{
    struct stoa_mailing *m = shard->mailing;
    const stoa_channel_out *out = out_of(shard, frame->there);
    const stoa_refusal *list = stoa_frame_body(frame);
    uint32_t count = frame->bytes / (uint32_t)sizeof *list;
    for (; m->answers_done < count; m->answers_done++) {
        const stoa_refusal *refusal = &list[m->answers_done];
        uint64_t at = out->tail;
        const stoa_mail *mail;
        while ((mail = stoa_channel_mail(out, &at)) != NULL && mail->seq < refusal->seq) { at += mail->bytes; }
        if (!mail || mail->seq != refusal->seq) { continue; } /* it has been heard before */
        if (stoa_channel_return(shard, frame->there, mail, (stoa_err)refusal->error)) { return false; }
    }
    return true;
}

/* False: later. */
static bool hear(struct stoa_shard *shard, stoa_frame *frame)
{
    stoa_out_live *live = &shard->mailing->out[frame->there];
    if (live->peer != frame->from || frame->session != live->session || live->phase == STOA_CHANNEL_FORKED || live->phase == STOA_CHANNEL_APART) { return true; }
    if (frame->error == STOA_E_AGAIN) {
        live->phase = STOA_CHANNEL_APART;
        return true;
    }
    if (frame->error) {
        stoa_log(STOA_LOG_WARN, "channel_disordered", STOA_KV("from", shard->name), STOA_KV("to", frame->from->name),
                 STOA_KV("why", stoa_err_name((stoa_err)frame->error)));
        live->phase = STOA_CHANNEL_APART;
        if (frame->error == STOA_E_STALE) {
            live->theirs = frame->cursor;
            live->their_generation = frame->generation;
        }
        if (++live->disorders > STOA_DISORDERS_MAX) { stoa_channel_fork(shard, frame->there, "the receiver finds gaps in what it gets"); }
        if (frame->error == STOA_E_STALE) { stoa_channel_fork(shard, frame->there, "the receiver knows a later writer of this shard: another one writes it, or its log was begun anew"); }
        return true;
    }
    if (frame->base > live->known.seq) { /* refusals were told by an answer that was lost on the way */
        live->phase = STOA_CHANNEL_APART;
        return true;
    }
    uint64_t at;
    live->theirs = frame->cursor;
    live->their_generation = frame->generation;
    const char *fork = shard->mailing->answers_done ? NULL : look_for_fork(shard, frame, &at);
    if (fork) {
        stoa_channel_fork(shard, frame->there, fork);
        return true;
    }
    if (live->phase == STOA_CHANNEL_ASKED) { begin_session(shard, frame, at); }
    if (!return_refused(shard, frame)) { return false; }
    const stoa_channel_out *out = out_of(shard, frame->there);
    if (live->known.seq < out->acked.seq) { /* a return has acknowledged so far */
        live->known = out->acked;
        live->known_at = out->tail;
    }
    if (live->known.seq < frame->upto) { live->disorders = 0; }
    (void)walk(out, &live->known, &live->known_at, frame->upto);
    bool much = live->known_at - out->tail > STOA_CHANNEL_BYTES / 4 || live->known.seq - out->acked.seq > STOA_CHANNEL_MESSAGES / 4;
    bool first = out->acked.seq == out->base; /* that it has taken any is known for good */
    if (live->known.seq > out->acked.seq && (first || much || shard->mailing->scarce)) { stoa_channel_note_acknowledged(shard, frame->there); }
    return true;
}

void stoa_channels_hear(struct stoa_shard *shard)
{
    struct stoa_mailing *m = shard->mailing;
    while (m->answers.head && hear(shard, stoa_msg_body(m->answers.head))) {
        m->answers_done = 0;
        stoa_place_free(&shard->core->place, stoa_msg_list_pop(&m->answers));
    }
}
