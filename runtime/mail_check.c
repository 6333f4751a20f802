/* mail_check.c - runtime/mail_check.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mail_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/image.h"
#include "runtime/ledger.h"

static stoa_mail_side *side_of(stoa_mail_log *log, const stoa_text30 *peer)
{
    char name[sizeof log->sides[0].peer];
    (void)snprintf(name, sizeof name, "%.*s", STOA_TEXT_ARGS(peer));
    for (uint32_t i = 0; i < log->count; i++) {
        if (strcmp(log->sides[i].peer, name) == 0) { return &log->sides[i]; }
    }
    if (log->count == STOA_MAIL_CHANNELS) { return NULL; }
    memcpy(log->sides[log->count].peer, name, sizeof name);
    return &log->sides[log->count++];
}

static void raise_to(uint64_t *at, uint64_t value)
{
    if (value > *at) { *at = value; }
}

static stoa_err take_mailed(stoa_mail_log *log, const stoa_shard_log_mailed *event)
{
    stoa_mail_side *side = side_of(log, &event->shard);
    if (!side || event->channel >= STOA_MAIL_CHANNELS) { return STOA_FAIL(STOA_E_TOO_LARGE, "channels of shard %s", log->shard); }
    log->by_channel[event->channel] = (uint32_t)(side - log->sides);
    raise_to(&side->mailed, event->seq);
    return STOA_OK;
}

static stoa_err take_acknowledged(stoa_mail_log *log, const stoa_shard_log_acknowledged *event)
{
    if (event->channel >= STOA_MAIL_CHANNELS || log->by_channel[event->channel] >= log->count) { return STOA_OK; }
    raise_to(&log->sides[log->by_channel[event->channel]].acknowledged, event->seq);
    return STOA_OK;
}

static stoa_err take_taken(stoa_mail_log *log, const stoa_text30 *from, uint64_t seq, uint64_t position)
{
    stoa_mail_side *side = side_of(log, from);
    if (!side) { return STOA_FAIL(STOA_E_TOO_LARGE, "channels of shard %s", log->shard); }
    raise_to(&side->taken, seq);
    raise_to(&side->taken_at, position);
    return STOA_OK;
}

static stoa_err take_event(void *context, const stoa_event_view *event)
{
    stoa_mail_log *log = context;
    const stoa_shard_log_delivered *delivered = event->payload;
    const stoa_shard_log_refused *refused = event->payload;
    switch (event->row->id) {
    case stoa_shard_log_ROW_mailed: return take_mailed(log, event->payload);
    case stoa_shard_log_ROW_acknowledged: return take_acknowledged(log, event->payload);
    case stoa_shard_log_ROW_delivered: return take_taken(log, &delivered->shard, delivered->seq, delivered->position);
    case stoa_shard_log_ROW_refused: return take_taken(log, &refused->shard, refused->seq, refused->position);
    default: return STOA_OK;
    }
}

/* What the ledger of a snapshot remembers of what was before it. */
static stoa_err take_book(stoa_mail_log *log, const stoa_channel_book *book)
{
    for (uint32_t i = 1; i <= STOA_CHANNELS_MAX; i++) {
        const stoa_channel_out *to = &book->out[i];
        stoa_mail_side *side = to->shard.len ? side_of(log, &to->shard) : NULL;
        if (to->shard.len && !side) { return STOA_FAIL(STOA_E_TOO_LARGE, "channels of shard %s", log->shard); }
        if (!side) { continue; }
        log->by_channel[i] = (uint32_t)(side - log->sides);
        raise_to(&side->mailed, to->posted.seq);
        raise_to(&side->acknowledged, to->acked.seq);
    }
    stoa_err err = STOA_OK;
    for (uint32_t i = 1; i <= STOA_CHANNELS_MAX && !err; i++) {
        const stoa_channel_in *from = &book->in[i];
        if (from->shard.len) { err = take_taken(log, &from->shard, from->cursor.seq, 0); }
    }
    return err;
}

/* *next_out: where reading begins. */
static stoa_err begin(stoa_log_reader *reader, stoa_mail_log *out, uint64_t *next_out)
{
    stoa_fold fold;
    stoa_err err = stoa_fold_init(&fold, reader);
    if (err) { return err; }
    err = stoa_image_begin(reader, UINT64_MAX, &fold);
    if (!err && fold.applied) { err = take_book(out, &((const stoa_shard_log *)fold.states[0])->channels); }
    *next_out = fold.applied + 1;
    stoa_fold_deinit(&fold);
    return err;
}

stoa_err stoa_mail_collect(stoa_log_reader *reader, const char *shard, stoa_mail_log *out)
{
    uint64_t next;
    memset(out, 0, sizeof *out);
    memset(out->by_channel, 0xff, sizeof out->by_channel);
    (void)snprintf(out->shard, sizeof out->shard, "%s", shard);
    stoa_err err = begin(reader, out, &next);
    stoa_log_only(reader, 0);
    if (!err) { err = stoa_log_read(reader, next, UINT64_MAX, take_event, out, NULL); }
    stoa_log_only(reader, STOA_LOG_ALL);
    return err;
}

static const stoa_mail_side *find(const stoa_mail_log *logs, uint32_t count, const char *shard, const char *peer)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; strcmp(logs[i].shard, shard) == 0 && k < logs[i].count; k++) {
            if (strcmp(logs[i].sides[k].peer, peer) == 0) { return &logs[i].sides[k]; }
        }
    }
    return NULL;
}

static bool has(const stoa_mail_log *logs, uint32_t count, const char *shard)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(logs[i].shard, shard) == 0) { return true; }
    }
    return false;
}

/* The receiver's and the sender's side of one channel; a shard that is not in the backup says nothing. */
static stoa_err agree(const char *receiver, const stoa_mail_side *taken, const stoa_mail_side *sent)
{
    uint64_t mailed = sent ? sent->mailed : 0, acknowledged = sent ? sent->acknowledged : 0;
    if (taken->taken > mailed) {
        return STOA_FAIL(STOA_E_FORKED, "shard %s has taken message %" PRIu64 " of shard %s, mailed at its position %" PRIu64
                         ", which is not there", receiver, taken->taken, taken->peer, taken->taken_at);
    }
    if (acknowledged > taken->taken) {
        return STOA_FAIL(STOA_E_FORKED, "shard %s has forgotten message %" PRIu64 " to shard %s, which has taken %" PRIu64 " only",
                         taken->peer, acknowledged, receiver, taken->taken);
    }
    return STOA_OK;
}

stoa_err stoa_mail_agree(const stoa_mail_log *logs, uint32_t count)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < count && !err; i++) {
        for (uint32_t k = 0; k < logs[i].count && !err; k++) {
            const stoa_mail_side *side = &logs[i].sides[k];
            if (!has(logs, count, side->peer)) { continue; }
            err = agree(logs[i].shard, side, find(logs, count, side->peer, logs[i].shard));
            /* and what this one sent to a peer that knows nothing of it */
            if (!err && side->acknowledged > 0 && !find(logs, count, side->peer, logs[i].shard)) {
                err = STOA_FAIL(STOA_E_FORKED, "shard %s has forgotten mail to shard %s, which has taken none", logs[i].shard, side->peer);
            }
        }
    }
    return err;
}
