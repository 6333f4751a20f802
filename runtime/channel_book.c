/* channel_book.c - the ring of what was mailed, the cursor of what was taken, and how events change them. See channel_book.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/channel_book.h"

#include <string.h>

#include "base/hash.h"
#include "runtime/ledger.h"

STOA_BYTES_DEFINE(stoa_mail_bytes, STOA_MAIL_BYTES)

/* --- messages and their chain */

uint32_t stoa_mail_size(size_t table_bytes, size_t to_bytes, size_t from_bytes, size_t payload_bytes)
{
    return (uint32_t)((sizeof(stoa_mail) + table_bytes + to_bytes + from_bytes + payload_bytes + 7) / 8 * 8);
}

/* Everything but its number: a message that is sent again in a new generation is the same one. */
uint64_t stoa_mail_chain(uint64_t before, const stoa_mail *mail)
{
    size_t from = offsetof(stoa_mail, position);
    return stoa_hash64(before + mail->seq, (const uint8_t *)mail + from, mail->bytes - from);
}

stoa_cursor stoa_channel_begin(uint32_t generation, uint64_t base)
{
    return (stoa_cursor){.seq = base, .chain = generation ? stoa_mix64(stoa_mix64(base) + generation) : 0};
}

/* --- the ring */

static uint64_t left_to_end(uint64_t at)
{
    return STOA_CHANNEL_BYTES - at % STOA_CHANNEL_BYTES;
}

static stoa_mail *mail_at(const stoa_channel_out *out, uint64_t at)
{
    return (stoa_mail *)(uintptr_t)&out->ring[at % STOA_CHANNEL_BYTES];
}

/* Near the end there is no room for a head: who finds so little, or a filler, goes on at the beginning. */
const stoa_mail *stoa_channel_mail(const stoa_channel_out *out, uint64_t *at)
{
    if (*at == out->head) { return NULL; }
    if (left_to_end(*at) < sizeof(stoa_mail) || mail_at(out, *at)->row == 0) { *at += left_to_end(*at); }
    return *at == out->head ? NULL : mail_at(out, *at);
}

bool stoa_channel_fits(const stoa_channel_out *out, uint32_t bytes)
{
    uint64_t left = left_to_end(out->head), filler = left < bytes ? left : 0;
    return out->head - out->tail + filler + bytes <= STOA_CHANNEL_BYTES;
}

static stoa_mail *make_room(stoa_channel_out *out, uint32_t bytes)
{
    STOA_ASSERT(stoa_channel_fits(out, bytes)); /* stoa_turn_mail has asked stoa_channel_free */
    uint64_t left = left_to_end(out->head);
    if (left < bytes) {
        memset(mail_at(out, out->head), 0, left);
        out->head += left;
    }
    stoa_mail *mail = mail_at(out, out->head);
    out->head += bytes;
    return mail;
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

static void fill(stoa_mail *mail, uint32_t bytes, const stoa_shard_log_mailed *event)
{
    *mail = (stoa_mail){.bytes = bytes,
                        .row = event->row,
                        .position = event->position,
                        .token = event->token,
                        .command = event->command,
                        .stream = event->stream,
                        .payload_bytes = (uint16_t)event->payload.count,
                        .table_bytes = (uint8_t)event->table.len,
                        .to_bytes = (uint8_t)event->to.len,
                        .from_bytes = (uint8_t)event->from.len};
    uint8_t *at = put((uint8_t *)(mail + 1), event->table.at, event->table.len);
    at = put(at, event->to.at, event->to.len);
    at = put(at, event->from.at, event->from.len);
    at = put(at, event->payload.at, event->payload.count);
    memset(at, 0, bytes - (size_t)(at - (uint8_t *)mail));
}

static void count(stoa_channel_out *out, stoa_mail *mail)
{
    mail->seq = out->posted.seq + 1;
    mail->chain = stoa_mail_chain(out->posted.chain, mail);
    out->posted = (stoa_cursor){mail->seq, mail->chain};
}

/* --- the sender's events */

static stoa_channel_out *out_of(stoa_channel_book *book, uint32_t channel)
{
    STOA_ASSERT(channel > 0 && channel <= STOA_CHANNELS_MAX);
    return &book->out[channel];
}

void stoa_channel_mailed(stoa_channel_book *book, const stoa_shard_log_mailed *event)
{
    stoa_channel_out *out = out_of(book, event->channel);
    if (!out->shard.len) {
        out->shard = event->shard;
        if (event->channel > book->out_count) { book->out_count = event->channel; }
    }
    uint32_t bytes = stoa_mail_size(event->table.len, event->to.len, event->from.len, event->payload.count);
    stoa_mail *mail = make_room(out, bytes);
    fill(mail, bytes, event);
    count(out, mail);
}

static void trim(stoa_channel_out *out, uint64_t seq)
{
    const stoa_mail *mail;
    while (out->acked.seq < seq && (mail = stoa_channel_mail(out, &out->tail)) != NULL) {
        out->acked = (stoa_cursor){mail->seq, mail->chain};
        out->tail += mail->bytes;
    }
}

void stoa_channel_acknowledged(stoa_channel_book *book, const stoa_shard_log_acknowledged *event)
{
    trim(out_of(book, event->channel), event->seq);
}

void stoa_channel_returned(stoa_channel_book *book, const stoa_shard_log_returned *event)
{
    stoa_channel_out *out = out_of(book, event->channel);
    out->returned++;
    trim(out, event->seq);
}

/* What was not acknowledged is numbered anew behind base. */
void stoa_channel_restarted(stoa_channel_book *book, const stoa_shard_log_restarted *event)
{
    stoa_channel_out *out = out_of(book, event->channel);
    out->generation = event->generation;
    out->base = event->base;
    out->posted = out->acked = stoa_channel_begin(event->generation, event->base);
    uint64_t at = out->tail;
    const stoa_mail *mail;
    while ((mail = stoa_channel_mail(out, &at)) != NULL) {
        count(out, mail_at(out, at));
        at += mail->bytes;
    }
}

void stoa_channel_contact(stoa_channel_book *book, const stoa_shard_log_contact *event)
{
    out_of(book, event->channel)->contact = event->contact;
}

/* --- the receiver's events */

static stoa_channel_in *in_of(stoa_channel_book *book, uint32_t channel, const stoa_text30 *shard)
{
    STOA_ASSERT(channel > 0 && channel <= STOA_CHANNELS_MAX);
    stoa_channel_in *in = &book->in[channel];
    if (!in->shard.len && shard) {
        in->shard = *shard;
        if (channel > book->in_count) { book->in_count = channel; }
    }
    return in;
}

static void keep(stoa_channel_in *in, uint64_t seq, int64_t refusal)
{
    int16_t *kept = &in->refusals[seq % STOA_CHANNEL_MESSAGES];
    in->open += (uint32_t)(refusal != 0) - (uint32_t)(*kept != 0);
    *kept = (int16_t)refusal;
}

static void take(stoa_channel_in *in, uint64_t seq, uint64_t chain, uint64_t epoch, int64_t refusal)
{
    in->cursor = (stoa_cursor){seq, chain};
    in->epoch = epoch;
    keep(in, seq, refusal);
}

void stoa_channel_delivered(stoa_channel_book *book, const stoa_shard_log_delivered *event)
{
    take(in_of(book, event->channel, &event->shard), event->seq, event->chain, event->epoch, STOA_OK);
}

void stoa_channel_refused(stoa_channel_book *book, const stoa_shard_log_refused *event)
{
    stoa_channel_in *in = in_of(book, event->channel, &event->shard);
    take(in, event->seq, event->chain, event->epoch, event->error);
    in->refused++;
}

void stoa_channel_settled(stoa_channel_book *book, const stoa_shard_log_settled *event)
{
    stoa_channel_in *in = in_of(book, event->channel, NULL);
    for (uint64_t seq = stoa_channel_unsettled(in); seq <= event->seq && in->open; seq++) { keep(in, seq, STOA_OK); }
    in->settled = event->seq;
}

void stoa_channel_restarted_in(stoa_channel_book *book, const stoa_shard_log_restarted_in *event)
{
    stoa_channel_in *in = in_of(book, event->channel, &event->shard);
    in->generation = event->generation;
    in->cursor = stoa_channel_begin(event->generation, event->base);
    in->epoch = event->epoch;
    in->settled = event->base;
    in->open = 0;
    memset(in->refusals, 0, sizeof in->refusals);
}
