/* channel.c - mailing: addresses, the room for it, and what operators see and do. See channel.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/channel.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "runtime/distant_internal.h"
#include "runtime/internal.h"

/* What must be free of a ring before a cascade may begin: what it may mail at most. */
enum { RESERVE_BYTES = STOA_CASCADE_MAIL_BYTES, RESERVE_MAILS = STOA_CASCADE_MAILS };

static stoa_channel_book *book_of(struct stoa_shard *shard)
{
    return &shard->ledger->channels;
}

/* --- life */

void stoa_channels_recovered(struct stoa_shard *shard)
{
    struct stoa_mailing *m = shard->mailing;
    const stoa_channel_book *book = book_of(shard);
    for (uint32_t i = 1; i <= book->out_count; i++) {
        const stoa_channel_out *out = &book->out[i];
        m->out[i].known = out->acked;
        m->out[i].known_at = out->tail;
        m->out[i].acked = out->acked.seq;
        m->out[i].recovered = out->posted.seq;
    }
    m->in_count = book->in_count;
    for (uint32_t i = 1; i <= book->in_count; i++) {
        m->in[i].committed = book->in[i].cursor;
        m->in[i].committed_generation = book->in[i].generation;
    }
    stoa_channels_measure(shard);
}

static void free_frames(struct stoa_shard *shard, stoa_msg_list *list)
{
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(list));) { stoa_place_free(&shard->core->place, msg); }
}

/* Mail is asked for again. Greetings are not: who sent one waits for its answer. */
static void free_mail(struct stoa_shard *shard, stoa_msg_list *list)
{
    stoa_msg_list kept = {0};
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(list));) {
        const stoa_frame *frame = stoa_msg_body(msg);
        if (frame->cls == STOA_FRAME_HELLO) {
            stoa_msg_list_push(&kept, msg);
        } else {
            stoa_place_free(&shard->core->place, msg);
        }
    }
    *list = kept;
}

void stoa_channels_dropped(struct stoa_shard *shard)
{
    struct stoa_mailing *m = shard->mailing;
    uint32_t in_count = m->in_count;
    free_frames(shard, &m->answers);
    free_mail(shard, &m->mail);
    m->answers_done = m->mail_done = m->tries = 0;
    m->again_ns = 0;
    memset(m->far, 0, sizeof m->far);
    memset(m->near, 0, sizeof m->near);
    for (uint32_t i = 1; i <= STOA_CHANNELS_MAX; i++) {
        const stoa_out_live *out = &m->out[i]; /* sessions go on, so that frames of before are known as such */
        m->out[i] = (stoa_out_live){
            .peer = out->peer, .session = out->session, .there = out->there, .absence_told = out->absence_told, .news = out->news};
        const stoa_in_live *in = &m->in[i];
        m->in[i] = (stoa_in_live){
            .peer = in->peer, .session = in->session, .there = in->there, .disorder = in->peer ? STOA_E_GAP : STOA_OK};
    }
    stoa_channels_recovered(shard);
    if (m->in_count < in_count) { m->in_count = in_count; }
}

/* The shard of that name: one that is open here, or one that another node serves. */
static const stoa_channel_peer *peer_named(stoa_node *node, const char *name, size_t size)
{
    (void)pthread_mutex_lock(&node->lock);
    const struct stoa_shard *shard = stoa_node_shard_open(node, name, size);
    const stoa_channel_peer *found = shard ? &shard->peer : stoa_distant_named(node, name, size);
    (void)pthread_mutex_unlock(&node->lock);
    return found;
}

void stoa_channels_connect(struct stoa_shard *shard)
{
    stoa_channel_book *book = book_of(shard);
    for (uint32_t i = 1; i <= book->out_count; i++) {
        const stoa_text30 *name = &book->out[i].shard;
        if (!name->len || shard->mailing->out[i].peer) { continue; }
        shard->mailing->out[i].peer = peer_named(shard->node, name->at, name->len);
    }
    stoa_channels_pump(shard);
}

void stoa_channels_again(struct stoa_shard *shard, const stoa_channel_peer *peer)
{
    struct stoa_mailing *m = shard->mailing;
    const stoa_channel_book *book = book_of(shard);
    for (uint32_t i = 1; i <= book->out_count; i++) {
        stoa_out_live *live = &m->out[i];
        if (!live->peer && STOA_TEXT_EQZ(&book->out[i].shard, peer->name)) { live->peer = peer; }
        if (live->peer != peer) { continue; }
        live->disorders = 0; /* gaps were the way's */
        if (live->phase != STOA_CHANNEL_FORKED) { live->phase = STOA_CHANNEL_APART; }
    }
    for (uint32_t i = 1; i <= m->in_count; i++) {
        stoa_in_live *live = &m->in[i];
        if (live->peer == peer && !live->disorder) { live->disorder = STOA_E_AGAIN; }
    }
    stoa_channels_pump(shard);
}

/* --- room */

static bool lacks(const stoa_channel_out *out, uint32_t cascades)
{
    return stoa_channel_free(out) < (uint64_t)cascades * RESERVE_BYTES ||
           stoa_channel_waits(out) + (uint64_t)cascades * RESERVE_MAILS > STOA_CHANNEL_MESSAGES;
}

void stoa_channels_measure(struct stoa_shard *shard)
{
    struct stoa_mailing *m = shard->mailing;
    const stoa_channel_book *book = book_of(shard);
    bool scarce = false;
    for (uint32_t i = 1; i <= book->out_count; i++) {
        m->out[i].short_of_room = lacks(&book->out[i], 2);
        scarce = scarce || (m->out[i].phase != STOA_CHANNEL_FORKED && lacks(&book->out[i], 1));
    }
    if (scarce && !m->scarce) { m->scarce_ns = shard->core->now_ns; }
    m->scarce = scarce;
}

void stoa_channels_begin(struct stoa_shard *shard, bool closed)
{
    struct stoa_mailing *m = shard->mailing;
    stoa_shard_begin(shard);
    m->used = m->used_bytes = 0;
    m->first = true;
    m->closed = closed;
}

/* Errors: FORKED, FULL, TOO_LARGE. */
static stoa_err may_mail(const struct stoa_mailing *m, uint32_t channel, uint32_t bytes)
{
    const stoa_out_live *live = &m->out[channel];
    if (live->phase == STOA_CHANNEL_FORKED) { return STOA_E_FORKED; }
    if (m->closed || (m->first && live->short_of_room)) { return STOA_E_FULL; }
    bool small = m->used + m->staged < STOA_CASCADE_MAILS && m->used_bytes + m->staged_bytes + bytes <= STOA_CASCADE_MAIL_BYTES;
    return small ? STOA_OK : STOA_E_TOO_LARGE;
}

/* --- addresses: "kind/key", or "shard:kind/key" for a shard that need not be there yet */

/* The shard here that an actor of an event-sourced kind lives in. Its slot was written before its name was known. */
static const stoa_channel_peer *peer_here(stoa_node *node, const char *name)
{
    char kind[STOA_NAME_MAX + 1];
    size_t size = strcspn(name, "/");
    if (size > STOA_NAME_MAX) { return NULL; }
    memcpy(kind, name, size);
    kind[size] = '\0';
    const stoa_kind *known = stoa_node_kind(node, kind);
    stoa_ref ref = known && known->sourced ? stoa_names_find(&node->names, name) : STOA_REF_NONE;
    uint32_t place = stoa_ref_place(ref);
    if (!ref.at || place >= node->core_count) { return NULL; }
    const struct stoa_shard *shard = stoa_actor_slot(node->cores[place], stoa_ref_index(ref))->shard;
    return shard ? &shard->peer : NULL;
}

/* The shard that it lives in, here or, as somebody said, on another node. */
static const stoa_channel_peer *peer_of(stoa_node *node, const char *name)
{
    const stoa_channel_peer *found = peer_here(node, name);
    if (found) { return found; }
    (void)pthread_mutex_lock(&node->lock);
    found = stoa_distant_home(node, name);
    (void)pthread_mutex_unlock(&node->lock);
    return found;
}

/* The channel to the shard of that name; one that is not in use where there is none yet; 0: too many. */
static uint32_t channel_named(struct stoa_shard *shard, const char *name, size_t size)
{
    const stoa_channel_book *book = book_of(shard);
    uint32_t unused = 0;
    for (uint32_t i = STOA_CHANNELS_MAX; i > 0; i--) {
        const stoa_text30 *to = &book->out[i].shard;
        const stoa_channel_peer *peer = shard->mailing->out[i].peer;
        if (to->len == size && size && memcmp(to->at, name, size) == 0) { return i; }
        if (!to->len && peer && strlen(peer->name) == size && memcmp(peer->name, name, size) == 0) { return i; }
        if (!to->len && !peer) { unused = i; }
    }
    return unused;
}

static stoa_err look_up(struct stoa_shard *shard, const char *to, uint32_t *channel_out)
{
    const char *colon = strchr(to, ':');
    const char *slash = strchr(to, '/');
    bool told = colon && slash && colon < slash;
    const stoa_channel_peer *peer = told ? peer_named(shard->node, to, (size_t)(colon - to)) : peer_of(shard->node, to);
    if (!peer && !told) { return STOA_E_NOT_FOUND; }
    const char *name = told ? to : peer->name;
    size_t size = told ? (size_t)(colon - to) : strlen(peer->name);
    uint32_t channel = channel_named(shard, name, size);
    if (!channel) { return STOA_E_FULL; }
    if (!peer && !book_of(shard)->out[channel].shard.len) { return STOA_E_NOT_FOUND; } /* a shard nobody has heard of */
    if (peer && peer->here && peer->here->durability == stoa_durability_NONE) { return STOA_E_UNSUPPORTED; }
    if (peer) { shard->mailing->out[channel].peer = peer; }
    *channel_out = channel;
    return STOA_OK;
}

static stoa_known_name *known_name(stoa_known_name *table, const char *text, size_t size)
{
    return &table[stoa_hash64(0, text, size) % STOA_KNOWN_NAMES];
}

static stoa_err channel_to(struct stoa_shard *shard, const char *to, size_t size, uint32_t *channel_out)
{
    stoa_known_name *known = known_name(shard->mailing->far, to, size);
    if (memcmp(known->text, to, size + 1) == 0) {
        *channel_out = known->channel;
        return STOA_OK;
    }
    stoa_err err = look_up(shard, to, channel_out);
    if (err) { return err; }
    memcpy(known->text, to, size + 1);
    known->channel = *channel_out;
    return STOA_OK;
}

/* --- a turn mails */

/* Pack the event, to its last byte; the texts are short enough. */
static stoa_err pack(const stoa_turning *t, uint32_t channel, const char *to, const stoa_row *row, const void *payload,
                     uint64_t token, stoa_shard_log_mailed *event)
{
    const struct stoa_shard *shard = t->actor->shard;
    const stoa_text30 *name = &shard->ledger->channels.out[channel].shard;
    const stoa_channel_peer *peer = shard->mailing->out[channel].peer;
    const char *slash = strchr(to, '/'), *colon = strchr(to, ':');
    memset(event, 0, offsetof(stoa_shard_log_mailed, payload.at));
    event->token = token;
    event->command = t->turn.command;
    event->channel = channel;
    event->stream = t->actor->stream;
    event->row = row->id;
    if (name->len) { event->shard = *name; }
    stoa_err err = name->len ? STOA_OK : STOA_TEXT_SETZ(&event->shard, peer->name);
    if (!err) { err = STOA_TEXT_SETZ(&event->table, row->kind); }
    if (!err) { err = STOA_TEXT_SETZ(&event->to, colon && slash && colon < slash ? colon + 1 : to); }
    if (!err) { err = STOA_TEXT_SETZ(&event->from, stoa_actor_name(t->actor)); }
    if (err) { return err; }
    stoa_writer w = {.at = event->payload.at, .cap_bytes = sizeof event->payload.at};
    err = stoa_encode(&row->payload, payload, &w);
    event->payload.count = (uint32_t)w.used_bytes;
    return err;
}

stoa_err stoa_turn_mail(stoa_turn *turn, const char *to, const stoa_row *row, const void *payload, uint64_t token)
{
    const stoa_turning *t = (const stoa_turning *)turn;
    struct stoa_shard *shard = t->actor->shard;
    stoa_shard_log_mailed event;
    uint32_t channel;
    size_t size = strlen(to);
    if (!shard || !t->msg || shard->durability == stoa_durability_NONE) { return STOA_E_UNSUPPORTED; }
    if (size > STOA_ADDRESS_MAX || !strchr(to, '/')) { return STOA_E_INVALID; }
    stoa_err err = channel_to(shard, to, size, &channel);
    if (!err) { err = pack(t, channel, to, row, payload, token, &event); }
    if (err) { return err; }
    struct stoa_mailing *m = shard->mailing;
    uint32_t bytes = stoa_mail_size(event.table.len, event.to.len, event.from.len, event.payload.count);
    err = may_mail(m, channel, bytes);
    if (err) { return err; }
    size_t used = offsetof(stoa_shard_log_mailed, payload.at) + event.payload.count;
    err = stoa_shard_stage_bytes(shard, &stoa_shard_log_rows[stoa_shard_log_ROW_mailed], &event, (uint32_t)used);
    if (err) { return err; }
    m->staged++;
    m->staged_bytes += bytes;
    return STOA_OK;
}

const char *stoa_turn_mailed_by(const stoa_turn *turn)
{
    const stoa_turning *t = (const stoa_turning *)turn;
    struct stoa_shard *shard = t->actor->shard;
    const stoa_mail *mail = shard ? shard->mailing->taking : NULL;
    if (!mail) { return ""; }
    const stoa_channel_peer *from = shard->mailing->in[shard->mailing->taking_channel].peer;
    (void)snprintf(shard->mailing->address, sizeof shard->mailing->address, "%s:%.*s", from->name, mail->from_bytes,
                   stoa_mail_from(mail));
    return shard->mailing->address;
}

stoa_err stoa_turn_returned(const stoa_turn *turn, const stoa_row *row, void *payload_out)
{
    const stoa_turning *t = (const stoa_turning *)turn;
    const stoa_mail *mail = t->actor->shard ? t->actor->shard->mailing->returned : NULL;
    if (!mail || !stoa_mail_is(mail, row)) { return STOA_E_NOT_FOUND; }
    return stoa_decode(&row->payload, stoa_mail_payload(mail), mail->payload_bytes, payload_out, NULL);
}

void stoa_channels_mail(struct stoa_shard *shard, stoa_shard_log_mailed *event, const stoa_turning *turning)
{
    stoa_channel_out *out = &book_of(shard)->out[event->channel];
    event->seq = out->posted.seq + 1;
    event->position = shard->applied + 1;
    stoa_shard_note(shard, stoa_shard_log_ROW_mailed, event, turning);
    if (event->seq == 1) { shard->mailing->out[event->channel].is_new = true; }
}

void stoa_channels_after_effect(struct stoa_shard *shard)
{
    struct stoa_mailing *m = shard->mailing;
    m->first = false;
    if (!m->staged) { return; }
    m->used += m->staged;
    m->used_bytes += m->staged_bytes;
    m->staged = m->staged_bytes = 0;
    stoa_channels_measure(shard);
}

/* --- looking, and beginning anew behind a fork, or without a receiver */

void stoa_channel_fork(struct stoa_shard *shard, uint32_t channel, const char *why)
{
    stoa_out_live *live = &shard->mailing->out[channel];
    if (live->phase == STOA_CHANNEL_FORKED) { return; }
    live->phase = STOA_CHANNEL_FORKED;
    live->forked = why;
    char to[sizeof(stoa_text30)];
    (void)snprintf(to, sizeof to, "%.*s", STOA_TEXT_ARGS(&book_of(shard)->out[channel].shard));
    stoa_log(STOA_LOG_ERROR, "channel_forked", STOA_KV("from", shard->name), STOA_KV("to", to), STOA_KV("why", why),
             STOA_KU("posted", book_of(shard)->out[channel].posted.seq), STOA_KU("acknowledged", live->known.seq),
             STOA_KU("cursor", live->theirs.seq));
    stoa_channels_measure(shard);
}

/* The log loses its end only: what recovery found of it was mailed as the receiver knows it, and is taken up to its cursor. */
static uint64_t taken_before(const struct stoa_shard *shard, uint32_t channel)
{
    const stoa_out_live *live = &shard->mailing->out[channel];
    if (live->their_generation != shard->ledger->channels.out[channel].generation) { return live->known.seq; }
    uint64_t taken = live->recovered < live->theirs.seq ? live->recovered : live->theirs.seq;
    return taken > live->known.seq ? taken : live->known.seq;
}

/* A log that may lose its end proves nothing by what it does not say. */
static bool never_met(const struct stoa_shard *shard, uint32_t channel)
{
    return shard->ledger->channels.out[channel].contact == STOA_CONTACT_NONE && shard->durability >= stoa_durability_DISK;
}

/* Of what waits, how much may have been sent, and so be taken. */
static uint64_t doubtful(const struct stoa_shard *shard, uint32_t channel)
{
    const stoa_out_live *live = &shard->mailing->out[channel];
    uint64_t sent = live->recovered > live->sent_seq ? live->recovered : live->sent_seq;
    return never_met(shard, channel) || sent < live->known.seq ? 0 : sent - live->known.seq;
}

static void look_at(struct stoa_shard *shard, uint32_t channel, stoa_channel_view *view)
{
    static const char *const phases[] = {"apart", "asks", "runs", "forked"};
    static const char *const contacts[] = {[STOA_CONTACT_UNSAID] = "", [STOA_CONTACT_NONE] = "never", [STOA_CONTACT_MADE] = "yes"};
    const stoa_channel_out *out = &book_of(shard)->out[channel];
    const stoa_out_live *live = &shard->mailing->out[channel];
    bool absent = live->phase != STOA_CHANNEL_FORKED && stoa_distant_absent(shard->node, &out->shard);
    *view = (stoa_channel_view){.from = shard->name,
                                .status = absent ? "absent" : phases[live->phase],
                                .forked = live->forked ? live->forked : "",
                                .met = contacts[out->contact],
                                .generation = out->generation,
                                .mailed = out->posted.seq,
                                .sent = live->sent_seq,
                                .acknowledged = live->known.seq,
                                .journaled = out->acked.seq,
                                .returned = out->returned,
                                .cursor = live->theirs.seq,
                                .taken = taken_before(shard, channel),
                                .doubtful = doubtful(shard, channel),
                                .waiting = out->posted.seq - live->known.seq,
                                .bytes = out->head - out->tail,
                                .room_bytes = STOA_CHANNEL_BYTES};
    (void)snprintf(view->to, sizeof view->to, "%.*s", STOA_TEXT_ARGS(&out->shard));
}

typedef struct channel_list {
    stoa_channel_view at[STOA_CHANNELS_MAX];
    uint32_t count;
    struct stoa_shard *shard;
} channel_list;

static void list_on_core(stoa_core *core, void *context)
{
    (void)core;
    channel_list *list = context;
    const stoa_channel_book *book = book_of(list->shard);
    for (uint32_t i = 1; i <= book->out_count; i++) {
        if (book->out[i].shard.len) { look_at(list->shard, i, &list->at[list->count++]); }
    }
}

void stoa_channels(stoa_shard *shard, void (*visit)(void *context, const stoa_channel_view *view), void *context)
{
    channel_list list = {.shard = shard};
    stoa_core_do(shard->core, list_on_core, &list);
    for (uint32_t i = 0; i < list.count; i++) { visit(context, &list.at[i]); }
}

typedef struct restarting {
    struct stoa_shard *shard;
    const char *to;
    const stoa_channel_anew *how;
    stoa_channel_view view;
    const char *why; /* it is refused, with INVALID */
    stoa_err err;
} restarting;

void stoa_channel_note_contact(struct stoa_shard *shard, uint32_t channel, stoa_contact contact)
{
    stoa_shard_log_contact event = {.channel = channel, .contact = contact};
    shard->cause = 0;
    stoa_shard_note_alone(shard, stoa_shard_log_ROW_contact, &event);
}

/* Whether anything says that the receiver has taken some of this generation. */
static bool has_taken(const struct stoa_shard *shard, uint32_t channel)
{
    const stoa_channel_out *out = &shard->ledger->channels.out[channel];
    const stoa_out_live *live = &shard->mailing->out[channel];
    bool said = live->their_generation == out->generation && live->theirs.seq > out->base;
    return said || out->acked.seq > out->base || live->known.seq > out->base;
}

/* Why a channel that is not forked is not begun anew; NULL: it is. */
static const char *why_not(const restarting *r, uint32_t channel)
{
    const struct stoa_shard *shard = r->shard;
    const stoa_channel_out *out = &shard->ledger->channels.out[channel];
    if (r->how->again || !memchr(out->shard.at, '@', out->shard.len)) { return "is not forked"; }
    if (r->view.waiting == 0) { return "is not forked, and nothing waits in it"; }
    if (never_met(shard, channel)) { return NULL; }
    if (strcmp(r->view.status, "absent") != 0) { return "is neither forked nor absent"; }
    if (has_taken(shard, channel)) { return "is absent, but was not always: some of it was acknowledged. Give the other node that shard again"; }
    return r->how->none_taken ? NULL : "is absent, and nothing proves that it always was: where none of what waits was taken, say --none-taken";
}

/* Nothing is mailed to it and nobody greeted while what waits is returned; and if that is not all of it, it is not after. */
static void stop_absent(struct stoa_shard *shard, uint32_t channel)
{
    stoa_out_live *live = &shard->mailing->out[channel];
    if (!never_met(shard, channel)) { stoa_channel_note_contact(shard, channel, STOA_CONTACT_NONE); } /* as the operator says */
    live->phase = STOA_CHANNEL_FORKED;
    live->forked = "it was absent, and not all that waited could be returned";
    stoa_channels_measure(shard);
}

/* Return what waits to its senders, as forked. */
static stoa_err return_all(struct stoa_shard *shard, uint32_t channel)
{
    stoa_channel_out *out = &book_of(shard)->out[channel];
    uint64_t at = out->tail;
    const stoa_mail *mail;
    stoa_err err = STOA_OK;
    while (!err && (mail = stoa_channel_mail(out, &at)) != NULL) {
        err = stoa_channel_return(shard, channel, mail, STOA_E_FORKED);
        at = out->tail;
    }
    return err;
}

static void know_taken(struct stoa_shard *shard, uint32_t channel, uint64_t seq)
{
    stoa_shard_log_acknowledged event = {.seq = seq, .channel = channel};
    if (event.seq <= book_of(shard)->out[channel].acked.seq) { return; }
    shard->cause = 0;
    stoa_shard_note_alone(shard, stoa_shard_log_ROW_acknowledged, &event);
}

static void restart(restarting *r, uint32_t channel)
{
    struct stoa_shard *shard = r->shard;
    stoa_channel_out *out = &book_of(shard)->out[channel];
    stoa_out_live *live = &shard->mailing->out[channel];
    if (live->phase != STOA_CHANNEL_FORKED) { stop_absent(shard, channel); }
    know_taken(shard, channel, r->view.taken);
    if (!r->how->again) { r->err = return_all(shard, channel); }
    if (r->err) { return; }
    uint64_t base = out->posted.seq > live->theirs.seq ? out->posted.seq : live->theirs.seq;
    uint32_t generation = out->generation > live->their_generation ? out->generation : live->their_generation;
    stoa_shard_log_restarted event = {.base = base, .channel = channel, .generation = generation + 1};
    shard->cause = 0;
    stoa_shard_note_alone(shard, stoa_shard_log_ROW_restarted, &event);
    stoa_channel_note_contact(shard, channel, STOA_CONTACT_NONE);
    live->phase = STOA_CHANNEL_APART;
    live->forked = NULL;
    live->absence_told = false;
    live->known = out->acked;
    live->known_at = out->tail;
    live->begun_at = shard->applied;
    stoa_channels_measure(shard);
    stoa_core_enqueue(shard->core, &shard->run);
}

static void restart_on_core(stoa_core *core, void *context)
{
    (void)core;
    restarting *r = context;
    stoa_channel_book *book = book_of(r->shard);
    uint32_t channel = channel_named(r->shard, r->to, strlen(r->to));
    if (!channel || !book->out[channel].shard.len) {
        r->err = STOA_E_NOT_FOUND;
        return;
    }
    look_at(r->shard, channel, &r->view);
    if (r->how->none_taken) { r->view.taken = r->view.acknowledged; }
    if (r->shard->down) { r->err = STOA_E_UNAVAILABLE; }
    if (!r->err && r->shard->mailing->out[channel].phase != STOA_CHANNEL_FORKED) { r->why = why_not(r, channel); }
    if (r->why) { r->err = STOA_E_INVALID; }
    if (!r->err && !r->how->plan) { restart(r, channel); }
}

stoa_err stoa_channel_restart(stoa_shard *shard, const char *to, const stoa_channel_anew *how, stoa_channel_view *out)
{
    restarting r = {.shard = shard, .to = to, .how = how};
    stoa_core_do(shard->core, restart_on_core, &r);
    if (r.err == STOA_E_NOT_FOUND) { return STOA_FAIL(r.err, "shard %s has no channel to %s", shard->name, to); }
    *out = r.view;
    if (r.why) { return STOA_FAIL(r.err, "the channel from %s to %s %s", shard->name, to, r.why); }
    if (r.err == STOA_E_UNAVAILABLE) { return STOA_FAIL(r.err, "shard %s is down", shard->name); }
    return r.err ? STOA_FAIL(r.err, "the channel from %s to %s: not all of it could be returned", shard->name, to) : STOA_OK;
}
