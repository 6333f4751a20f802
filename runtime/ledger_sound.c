/* ledger_sound.c - whether a ledger that was read back from a snapshot is one that events could have made, as far as anything would be
 * read or written at a wrong place, or never end, if it were not: indices, lists, maps, rings, counts.
 *
 * The image's hash is over what was written, not over what is right. Takes some milliseconds where all is full; looks at what is
 * used alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "runtime/ledger.h"

/* --- pools: items that are free are one list, and what refers to the others refers to each once */

enum { ITEMS_MAX = STOA_PIECES_MAX };
typedef struct seen {
    uint64_t bits[ITEMS_MAX / 64 + 1];
    uint32_t count;
} seen;
_Static_assert((int)STOA_OUTBOX_PIECES <= (int)ITEMS_MAX && (int)STOA_REQUESTS_MAX <= (int)ITEMS_MAX, "a bit for each item of any pool");

/* Whether index is an item, and was not met before. */
static bool meet(seen *items, const stoa_pool *pool, uint32_t index)
{
    if (index == 0 || index > pool->top || (items->bits[index / 64] >> index % 64 & 1)) { return false; }
    items->bits[index / 64] |= UINT64_C(1) << index % 64;
    items->count++;
    return true;
}

/* All that is free is met. */
static bool begin(seen *items, const stoa_pool *pool, const uint32_t *links, uint32_t cap)
{
    memset(items, 0, sizeof *items);
    if (pool->top > cap || pool->used > pool->top) { return false; }
    for (uint32_t at = pool->free; at; at = links[at]) {
        if (!meet(items, pool, at)) { return false; }
    }
    return items->count == pool->top - pool->used;
}
#define BEGIN(items, pool_) begin((items), &(pool_)->pool, (pool_)->links, STOA_POOL_CAP_(pool_))

/* Whether nothing is left over. */
static bool all_met(const seen *items, const stoa_pool *pool)
{
    return items->count == pool->top;
}

/* --- maps: each key is found where it is looked for */

static bool map_sound(const uint64_t *keys, const uint32_t *values, uint32_t slots, uint32_t count, uint32_t items)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < slots; i++) {
        if ((keys[i] == 0) != (values[i] == 0)) { return false; }
        used += keys[i] != 0;
    }
    if (used != count || used != items || used > STOA_MAP64_MAX(slots)) { return false; }
    for (uint32_t i = 0; i < slots; i++) {
        if (keys[i] && stoa_map64_slot_(keys, slots, keys[i]) != i) { return false; }
    }
    return true;
}
#define MAP_SOUND(map, items) map_sound((map)->keys, (map)->values, STOA_MAP64_SLOTS_(map), (map)->count, (items))

/* --- requests */

typedef struct requests_look {
    const stoa_requests *r;
    uint64_t position;
    seen clients, sessions, requests, pieces;
} requests_look;

/* bytes are in a list of pieces; so many are met. */
static bool reply_sound(requests_look *l, uint32_t first, uint32_t bytes, uint32_t *pieces_out)
{
    uint32_t count = 0;
    if (bytes > STOA_KEPT_REPLY_MAX) { return false; }
    for (uint32_t at = first; at; at = l->r->pieces.at[at].next, count++) {
        if (!meet(&l->pieces, &l->r->pieces.pool, at)) { return false; }
    }
    *pieces_out += count;
    return count == (bytes + STOA_PIECE_BYTES - 1) / STOA_PIECE_BYTES;
}

static bool sessions_sound(requests_look *l, uint32_t client)
{
    const stoa_requests *r = l->r;
    uint32_t count = 0;
    for (uint32_t at = r->clients.at[client].sessions; at; at = r->sessions.at[at].next, count++) {
        if (!meet(&l->sessions, &r->sessions.pool, at) || r->sessions.at[at].client != client) { return false; }
    }
    return count == r->shares.sessions[client] && count <= STOA_SESSIONS_OF_CLIENT_MAX;
}

static bool request_sound(requests_look *l, uint32_t client, uint32_t index, uint32_t *pieces)
{
    const stoa_requests *r = l->r;
    const stoa_request *request = &r->requests.at[index];
    if (!request->session || request->session > r->sessions.pool.top || r->sessions.at[request->session].client != client) { return false; }
    if (!request->number || request->number >> STOA_REQUEST_NUMBER_BITS || request->position > l->position) { return false; }
    uint64_t key = (uint64_t)request->session << STOA_REQUEST_NUMBER_BITS | request->number;
    return STOA_MAP64_GET(&r->by_number, key) == index && reply_sound(l, request->piece, request->bytes, pieces);
}

static bool requests_of_client_sound(requests_look *l, uint32_t client)
{
    const stoa_requests *r = l->r;
    uint32_t count = 0, pieces = 0, older = 0;
    for (uint32_t at = r->clients.at[client].oldest; at; older = at, at = r->requests.at[at].newer, count++) {
        if (!meet(&l->requests, &r->requests.pool, at) || r->requests.at[at].older != older) { return false; }
        if (!request_sound(l, client, at, &pieces)) { return false; }
    }
    return r->clients.at[client].newest == older && count == r->shares.requests[client] && pieces == r->shares.pieces[client] &&
           count <= STOA_REQUESTS_OF_CLIENT_MAX && pieces <= STOA_PIECES_OF_CLIENT_MAX;
}

static bool is_met(const seen *items, uint32_t index)
{
    return items->bits[index / 64] >> index % 64 & 1;
}

/* Of whom there is none, nothing is counted. */
static bool nobody_sound(const stoa_requests *r, uint32_t client)
{
    return !r->shares.requests[client] && !r->shares.pieces[client] && !r->shares.sessions[client];
}

static bool clients_sound(requests_look *l)
{
    const stoa_requests *r = l->r;
    for (uint32_t client = 1; client <= STOA_CLIENTS_MAX; client++) {
        if (client > r->clients.pool.top || is_met(&l->clients, client)) { /* free */
            if (!nobody_sound(r, client)) { return false; }
        } else if (STOA_MAP64_GET(&r->by_client, r->clients.at[client].id) != client || !sessions_sound(l, client) ||
                   !requests_of_client_sound(l, client)) {
            return false;
        }
    }
    return nobody_sound(r, 0) && nobody_sound(r, STOA_CLIENTS_MAX + 1);
}

static const char *requests_unsound(const stoa_requests *r, uint64_t position)
{
    requests_look l = {.r = r, .position = position};
    bool pools = BEGIN(&l.clients, &r->clients) && BEGIN(&l.sessions, &r->sessions) && BEGIN(&l.requests, &r->requests) &&
                 BEGIN(&l.pieces, &r->pieces);
    if (!pools) { return "the pools of requests"; }
    if (!MAP_SOUND(&r->by_client, r->clients.pool.used) || !MAP_SOUND(&r->by_number, r->requests.pool.used)) { return "the maps of requests"; }
    if (!clients_sound(&l)) { return "the lists of requests"; }
    bool all = all_met(&l.sessions, &r->sessions.pool) && all_met(&l.requests, &r->requests.pool) && all_met(&l.pieces, &r->pieces.pool);
    return all ? NULL : "requests of nobody";
}

/* --- channels */

static bool text_sound(const stoa_text30 *text)
{
    return text->len <= sizeof text->at;
}

/* One message at byte *at, which moves behind it; the cursor goes on. */
static bool mail_sound(const stoa_shard_log *ledger, const stoa_channel_out *out, uint64_t *at, stoa_cursor *cursor, uint64_t position)
{
    uint64_t left = STOA_CHANNEL_BYTES - *at % STOA_CHANNEL_BYTES;
    const stoa_mail *mail = (const stoa_mail *)(const void *)&out->ring[*at % STOA_CHANNEL_BYTES];
    if (left < sizeof *mail || !mail->row) { return false; }
    uint32_t bytes = stoa_mail_size(mail->table_bytes, mail->to_bytes, mail->from_bytes, mail->payload_bytes);
    if (mail->bytes != bytes || bytes > left || bytes > out->head - *at) { return false; }
    bool texts = mail->table_bytes <= 30 && mail->to_bytes <= 62 && mail->from_bytes <= 62 && mail->payload_bytes <= STOA_MAIL_BYTES;
    bool named = mail->stream > 0 && mail->stream <= ledger->streams && mail->position <= position;
    bool next = mail->seq == cursor->seq + 1 && mail->chain == stoa_mail_chain(cursor->chain, mail);
    *cursor = (stoa_cursor){mail->seq, mail->chain};
    *at += bytes;
    return texts && named && next;
}

static bool out_sound(const stoa_shard_log *ledger, const stoa_channel_out *out, uint64_t position)
{
    stoa_cursor cursor = out->acked;
    uint64_t at = out->tail;
    if (!text_sound(&out->shard) || out->head < at || out->head - at > STOA_CHANNEL_BYTES || (out->head | at) % 8) { return false; }
    if (out->posted.seq < cursor.seq || out->posted.seq - cursor.seq > STOA_CHANNEL_MESSAGES) { return false; }
    if (out->posted.seq > STOA_SEQ_MAX || out->base > STOA_SEQ_MAX || out->contact > STOA_CONTACT_MADE) { return false; }
    while (stoa_channel_mail(out, &at)) {
        if (at > out->head || !mail_sound(ledger, out, &at, &cursor, position)) { return false; }
    }
    return at == out->head && cursor.seq == out->posted.seq && cursor.chain == out->posted.chain;
}

static bool in_sound(const stoa_channel_in *in)
{
    uint32_t open = 0;
    if (!text_sound(&in->shard) || in->cursor.seq > STOA_SEQ_MAX || in->settled > in->cursor.seq) { return false; }
    for (uint32_t i = 0; i < STOA_CHANNEL_MESSAGES; i++) {
        if (in->refusals[i] > 0) { return false; }
        open += in->refusals[i] != 0;
    }
    return open == in->open;
}

static const char *channels_unsound(const stoa_shard_log *ledger, uint64_t position)
{
    const stoa_channel_book *book = &ledger->channels;
    if (book->out_count > STOA_CHANNELS_MAX || book->in_count > STOA_CHANNELS_MAX) { return "the number of channels"; }
    for (uint32_t i = 1; i <= STOA_CHANNELS_MAX; i++) {
        const stoa_channel_out *out = &book->out[i];
        const stoa_channel_in *in = &book->in[i];
        if (!out_sound(ledger, out, position) || (out->shard.len && i > book->out_count)) { return "the mail of a channel"; }
        if (!in_sound(in) || (in->shard.len && i > book->in_count)) { return "the cursor of a channel"; }
    }
    return NULL;
}

/* --- outside effects */

static bool pending_sound(const stoa_shard_log *ledger, seen *pieces, uint32_t index, uint64_t position)
{
    const stoa_outbox *o = &ledger->outbox;
    const stoa_pending *pending = &o->pending.at[index];
    uint32_t count = 0;
    if (pending->stream == 0 || pending->stream > ledger->streams || pending->row == 0 || pending->position > position) { return false; }
    if (pending->bytes > STOA_EFFECT_BYTES || !text_sound(&pending->table)) { return false; }
    for (uint32_t at = pending->piece; at; at = o->pieces.at[at].next, count++) {
        if (!meet(pieces, &o->pieces.pool, at)) { return false; }
    }
    return count == stoa_outbox_pieces(pending->bytes);
}

static const char *outbox_unsound(const stoa_shard_log *ledger, uint64_t position)
{
    const stoa_outbox *o = &ledger->outbox;
    seen items, pieces;
    if (!BEGIN(&items, &o->pending) || !BEGIN(&pieces, &o->pieces)) { return "the pools of effects"; }
    uint32_t older = 0;
    for (uint32_t at = o->oldest; at; older = at, at = o->pending.at[at].newer) {
        if (!meet(&items, &o->pending.pool, at) || o->pending.at[at].older != older) { return "the list of effects"; }
        if (!pending_sound(ledger, &pieces, at, position)) { return "a pending effect"; }
    }
    if (o->newest != older) { return "the list of effects"; }
    return all_met(&items, &o->pending.pool) && all_met(&pieces, &o->pieces.pool) ? NULL : "effects of nobody";
}

const char *stoa_ledger_unsound(const stoa_shard_log *ledger, uint64_t streams, uint64_t position)
{
    const char *why = ledger->streams == streams ? NULL : "the number of actors";
    if (!why) { why = requests_unsound(&ledger->requests, position); }
    if (!why) { why = channels_unsound(ledger, position); }
    return why ? why : outbox_unsound(ledger, position);
}
