/* ledger_check.c - whether an event can follow the ledger as it is: what recovery, the follower and every other replay ask before
 * they apply one. Bytes from disk are input, also when their hash is right: a hostile archive, or a build with a bug, may have
 * written them. What this file lets pass, the apply functions can do, and what they make of it is sound (ledger_sound.c).
 *
 * A check asks for what every build so far has kept to, and no more.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/ledger.h"

/* --- actors and writers */

static const char *spawned(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_spawned *event = payload;
    (void)position;
    return event->stream == ledger->streams + 1 ? NULL : "streams out of order";
}

static const char *any(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    (void)ledger, (void)payload, (void)position;
    return NULL;
}

static bool is_actor(const stoa_shard_log *ledger, uint64_t stream)
{
    return stream > 0 && stream <= ledger->streams;
}

/* --- requests */

static const char *answered(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_answered *event = payload;
    (void)ledger;
    if (!event->client || !event->session) { return "a request of nobody"; }
    if (!event->number || event->number >> STOA_REQUEST_NUMBER_BITS) { return "the number of a request"; }
    return event->position <= position ? NULL : "a request that is answered later";
}

/* --- channels: the sender's */

static const char *out_of(const stoa_shard_log *ledger, uint32_t channel, const stoa_channel_out **out)
{
    if (channel == 0 || channel > STOA_CHANNELS_MAX) { return "no such channel"; }
    *out = &ledger->channels.out[channel];
    return NULL;
}

/* The peer's name: the first event brings it, later ones have the same. */
static const char *peer(const stoa_text30 *known, const stoa_text30 *name)
{
    if (!name->len) { return "a channel without a name"; }
    return !known->len || STOA_TEXT_EQ(known, name) ? NULL : "a channel of another name";
}

static const char *mailed(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_mailed *event = payload;
    const stoa_channel_out *out;
    const char *why = out_of(ledger, event->channel, &out);
    if (!why) { why = peer(&out->shard, &event->shard); }
    if (why) { return why; }
    if (!is_actor(ledger, event->stream)) { return "mail of no actor"; }
    if (!event->row) { return "mail of no row"; }
    if (event->position > position) { return "mail of a later event"; }
    if (stoa_channel_waits(out) >= STOA_CHANNEL_MESSAGES) { return "more mail than waits"; }
    if (out->posted.seq >= STOA_SEQ_MAX) { return "the number of a message"; }
    uint32_t bytes = stoa_mail_size(event->table.len, event->to.len, event->from.len, event->payload.count);
    return stoa_channel_fits(out, bytes) ? NULL : "more mail than the channel holds";
}

static const char *acknowledged(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_acknowledged *event = payload;
    const stoa_channel_out *out;
    const char *why = out_of(ledger, event->channel, &out);
    (void)position;
    if (why) { return why; }
    return event->seq <= out->posted.seq ? NULL : "a message that was not mailed";
}

static const char *returned(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_returned *event = payload;
    const stoa_channel_out *out;
    const char *why = out_of(ledger, event->channel, &out);
    (void)position;
    if (why) { return why; }
    return event->seq <= out->posted.seq ? NULL : "a message that was not mailed";
}

static const char *restarted(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_restarted *event = payload;
    const stoa_channel_out *out;
    const char *why = out_of(ledger, event->channel, &out);
    (void)position;
    if (why) { return why; }
    if (event->base > STOA_SEQ_MAX - STOA_CHANNEL_MESSAGES) { return "the number of a message"; } /* what waits is numbered behind it */
    return event->generation > out->generation ? NULL : "an older beginning of a channel";
}

static const char *contact(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_contact *event = payload;
    const stoa_channel_out *out;
    const char *why = out_of(ledger, event->channel, &out);
    (void)position;
    if (why) { return why; }
    if (event->contact != STOA_CONTACT_NONE && event->contact != STOA_CONTACT_MADE) { return "a contact that is none of those there are"; }
    return out->shard.len ? NULL : "a channel without a name";
}

/* --- channels: the receiver's */

static const char *in_of(const stoa_shard_log *ledger, uint32_t channel, const stoa_channel_in **in)
{
    if (channel == 0 || channel > STOA_CHANNELS_MAX) { return "no such channel"; }
    *in = &ledger->channels.in[channel];
    return NULL;
}

static const char *next_in(const stoa_channel_in *in, const stoa_text30 *name, uint64_t seq)
{
    const char *why = peer(&in->shard, name);
    if (why) { return why; }
    return seq == in->cursor.seq + 1 && seq <= STOA_SEQ_MAX ? NULL : "a message out of order";
}

static const char *delivered(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_delivered *event = payload;
    const stoa_channel_in *in;
    const char *why = in_of(ledger, event->channel, &in);
    (void)position;
    return why ? why : next_in(in, &event->shard, event->seq);
}

static const char *refused(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_refused *event = payload;
    const stoa_channel_in *in;
    const char *why = in_of(ledger, event->channel, &in);
    (void)position;
    if (!why) { why = next_in(in, &event->shard, event->seq); }
    if (why) { return why; }
    return event->error < 0 && event->error >= INT16_MIN ? NULL : "a refusal without an error";
}

static const char *settled(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_settled *event = payload;
    const stoa_channel_in *in;
    const char *why = in_of(ledger, event->channel, &in);
    (void)position;
    if (why) { return why; }
    return event->seq <= in->cursor.seq ? NULL : "a message that was not taken";
}

static const char *restarted_in(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_restarted_in *event = payload;
    const stoa_channel_in *in;
    const char *why = in_of(ledger, event->channel, &in);
    (void)position;
    if (!why) { why = peer(&in->shard, &event->shard); }
    if (why) { return why; }
    if (event->base > STOA_SEQ_MAX) { return "the number of a message"; }
    return event->generation > in->generation ? NULL : "an older beginning of a channel";
}

/* --- outside effects */

static const char *effect(const stoa_shard_log *ledger, const void *payload, uint64_t position)
{
    const stoa_shard_log_effect *event = payload;
    const stoa_outbox *o = &ledger->outbox;
    uint32_t pieces = stoa_outbox_pieces(event->payload.count);
    if (!is_actor(ledger, event->stream)) { return "an effect of no actor"; }
    if (event->row == 0 || event->row > UINT32_MAX) { return "an effect of no row"; }
    if (event->position > position) { return "an effect of a later event"; }
    bool room = o->pending.pool.used < STOA_OUTBOX_MAX && o->pieces.pool.used + pieces <= STOA_OUTBOX_PIECES;
    return room ? NULL : "more effects than may be pending";
}

/* --- all of them */

typedef const char *(*row_check)(const stoa_shard_log *ledger, const void *payload, uint64_t position);
static const row_check checks[stoa_shard_log_ROW_END_] = {
    [stoa_shard_log_ROW_spawned] = spawned,
    [stoa_shard_log_ROW_epoch_started] = any,
    [stoa_shard_log_ROW_answered] = answered,
    [stoa_shard_log_ROW_mailed] = mailed,
    [stoa_shard_log_ROW_acknowledged] = acknowledged,
    [stoa_shard_log_ROW_returned] = returned,
    [stoa_shard_log_ROW_restarted] = restarted,
    [stoa_shard_log_ROW_delivered] = delivered,
    [stoa_shard_log_ROW_refused] = refused,
    [stoa_shard_log_ROW_settled] = settled,
    [stoa_shard_log_ROW_restarted_in] = restarted_in,
    [stoa_shard_log_ROW_effect] = effect,
    [stoa_shard_log_ROW_effected] = any, /* one that is not pending changes nothing */
    [stoa_shard_log_ROW_contact] = contact,
};

const char *stoa_ledger_refuses(const stoa_shard_log *ledger, uint32_t row, const void *payload, uint64_t position)
{
    STOA_ASSERT(row < stoa_shard_log_ROW_END_ && checks[row]);
    return checks[row](ledger, payload, position);
}
