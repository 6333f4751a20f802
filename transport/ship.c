/* ship.c - a ship's life, and its words: see ship.h. ship_out.c is the sender, ship_in.c the receiver.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "transport/ship_internal.h"

enum { RING_BYTES = 1 << 20, AGAIN_MS = 200, PAGE_BYTES = 4096, AGAIN_MOST = 16 };

/* --- life */

static stoa_err options_check(const stoa_ship_options *o)
{
    bool good = o->incarnation != 0 && o->events.begun && (o->sends || o->events.record) &&
                o->ring_bytes >= STOA_SHIP_RING_MIN && o->ring_bytes <= STOA_SHIP_RING_MAX &&
                (o->ring_bytes & (o->ring_bytes - 1)) == 0 && o->frame_limit >= STOA_LINK_FRAME_LIMIT_MIN;
    return good ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "a ring of %u bytes, frames of %u", o->ring_bytes, o->frame_limit);
}

stoa_err stoa_ship_new(const stoa_ship_options *options, stoa_ship **out)
{
    stoa_ship_options with = *options;
    if (with.ring_bytes == 0) { with.ring_bytes = RING_BYTES; }
    if (with.again_ns == 0) { with.again_ns = STOA_MS(AGAIN_MS); }
    stoa_err err = options_check(&with);
    if (err) { return err; }
    stoa_ship *ship = calloc(1, sizeof *ship);
    if (ship) {
        ship->ring = aligned_alloc(PAGE_BYTES, with.ring_bytes);
        ship->frame = malloc(with.frame_limit);
    }
    if (!ship || !ship->ring || !ship->frame) {
        stoa_ship_free(ship);
        return STOA_FAIL(STOA_E_NOMEM, "a ring of %u bytes", with.ring_bytes);
    }
    memset(ship->ring, 0, with.ring_bytes);
    ship->options = with;
    ship->mask = with.ring_bytes - 1;
    ship->again_ns = UINT64_MAX;
    *out = ship;
    return STOA_OK;
}

void stoa_ship_free(stoa_ship *ship)
{
    if (!ship) { return; }
    free(ship->ring);
    free(ship->frame);
    free(ship);
}

static void window_open(stoa_ship *ship)
{
    const stoa_link_ops *ops = ship->link->ops;
    if (!ops->expose || ops->expose(ship->link, ship->ring, ship->options.ring_bytes, &ship->window) != STOA_OK) {
        ship->window.size_bytes = 0; /* all goes in frames */
    }
}

void stoa_ship_up(stoa_ship *ship, stoa_link *link, stoa_peer peer, uint64_t now_ns)
{
    stoa_ship_down(ship);
    ship->link = link;
    ship->peer = peer;
    ship->hello = ship->options.sends ? 0 : ship->hello + 1;
    ship->number = 0;
    if (!ship->options.sends) { window_open(ship); }
    ship->wait_ns = ship->options.again_ns;
    ship->again_ns = ship->options.sends ? UINT64_MAX : now_ns;
}

void stoa_ship_down(stoa_ship *ship)
{
    if (!ship->link) { return; }
    if (!ship->options.sends && ship->window.size_bytes > 0) { ship->link->ops->conceal(ship->link, &ship->window); }
    ship->window.size_bytes = 0;
    ship->link = NULL;
    ship->begun = ship->start_due = ship->head_due = ship->taken_due = false;
    ship->oldest = ship->token; /* no flush of that connection will be told */
    ship->again_ns = UINT64_MAX;
}

void stoa_ship_begin(stoa_ship *ship, uint64_t theirs)
{
    uint64_t ours = ship->options.incarnation;
    uint64_t names[2] = {ship->options.sends ? ours : theirs, ship->options.sends ? theirs : ours};
    ship->theirs = theirs;
    ship->seed = stoa_crc32c(0, names, sizeof names);
    ship->head = ship->taken = ship->released = ship->announced = 0;
    ship->put = ship->furthest = ship->asked = ship->told = ship->flushed = 0;
    ship->fill_at = ship->fill_end = 0;
    ship->round = 0;
}

/* --- words */

uint32_t stoa_ship_check(const stoa_ship *ship, const stoa_ship_header *header, const void *bytes)
{
    uint32_t crc = stoa_crc32c(ship->seed, &header->bytes, sizeof header->bytes);
    crc = stoa_crc32c(crc, &header->position, sizeof header->position);
    return header->bytes == STOA_SHIP_FILL ? crc : stoa_crc32c(crc, bytes, header->bytes);
}

static uint32_t word_check(const stoa_ship_word *word, const void *bytes, uint32_t size_bytes)
{
    stoa_ship_word plain = *word;
    plain.check = 0;
    return stoa_crc32c(stoa_crc32c(0, &plain, sizeof plain), bytes, size_bytes);
}

stoa_err stoa_ship_say(stoa_ship *ship, stoa_ship_word *word, const void *bytes, uint32_t size_bytes)
{
    STOA_ASSERT(sizeof *word + size_bytes <= ship->options.frame_limit);
    word->magic = STOA_SHIP_MAGIC;
    word->from = ship->options.incarnation;
    word->to = ship->theirs;
    word->check = word_check(word, bytes, size_bytes);
    memcpy(ship->frame, word, sizeof *word);
    if (size_bytes > 0) { memcpy(ship->frame + sizeof *word, bytes, size_bytes); }
    return ship->link->ops->send(ship->link, ship->peer, ship->frame, (uint32_t)sizeof *word + size_bytes);
}

typedef stoa_err taker(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes);

static const struct {
    taker *take;
    bool to_sender;
} kinds[STOA_SHIP_KINDS] = {
    [STOA_SHIP_HELLO] = {stoa_ship_take_hello, true},  [STOA_SHIP_START] = {stoa_ship_take_start, false},
    [STOA_SHIP_DATA] = {stoa_ship_take_data, false},   [STOA_SHIP_HEAD] = {stoa_ship_take_head, false},
    [STOA_SHIP_TAKEN] = {stoa_ship_take_taken, true},
};

/* Whether a word may be looked at: it is one, whole, for this side, and of the ends that talk. */
static stoa_err word_read(const stoa_ship *ship, const uint8_t *bytes, uint32_t size_bytes, stoa_ship_word *out)
{
    if (size_bytes < sizeof *out) { return STOA_E_MALFORMED; }
    memcpy(out, bytes, sizeof *out);
    if (out->magic != STOA_SHIP_MAGIC) { return STOA_E_VERSION; }
    if (out->kind >= STOA_SHIP_KINDS || kinds[out->kind].to_sender != ship->options.sends || out->from == 0) {
        return STOA_E_MALFORMED;
    }
    if (out->check != word_check(out, bytes + sizeof *out, size_bytes - (uint32_t)sizeof *out)) { return STOA_E_CORRUPT; }
    bool opens = out->kind == STOA_SHIP_HELLO || out->kind == STOA_SHIP_START;
    bool known = out->from == ship->theirs && out->to == ship->options.incarnation;
    return !ship->link || out->from < ship->theirs || (!opens && !(ship->begun && known)) ? STOA_E_STALE : STOA_OK;
}

stoa_err stoa_ship_take(stoa_ship *ship, const void *bytes, uint32_t size_bytes, uint64_t now_ns)
{
    stoa_ship_word word;
    uint64_t taken = ship->taken, released = ship->released;
    bool begun = ship->begun;
    stoa_err err = word_read(ship, bytes, size_bytes, &word);
    if (!err) {
        const uint8_t *behind = (const uint8_t *)bytes + sizeof word;
        err = kinds[word.kind].take(ship, &word, behind, size_bytes - (uint32_t)sizeof word);
    }
    if (err) { ship->counts.refused++; }
    if (taken != ship->taken || released != ship->released || begun != ship->begun) { stoa_ship_heard(ship, now_ns); }
    return err;
}

/* --- time */

void stoa_ship_heard(stoa_ship *ship, uint64_t now_ns)
{
    ship->wait_ns = ship->options.again_ns;
    ship->again_ns = now_ns + ship->wait_ns;
}

bool stoa_ship_again(stoa_ship *ship, uint64_t now_ns)
{
    if (now_ns < ship->again_ns) { return false; }
    ship->again_ns = now_ns + ship->wait_ns;
    if (ship->wait_ns < AGAIN_MOST * ship->options.again_ns) { ship->wait_ns *= 2; }
    return true;
}

uint64_t stoa_ship_step(stoa_ship *ship, uint64_t now_ns)
{
    if (!ship->link) { return UINT64_MAX; }
    if (ship->options.sends) {
        stoa_ship_out_step(ship, now_ns);
    } else {
        stoa_ship_in_step(ship, now_ns);
    }
    return ship->again_ns;
}

void stoa_ship_look(const stoa_ship *ship, stoa_ship_view *out)
{
    *out = (stoa_ship_view){
        .begun = ship->begun,
        .one_sided = ship->window.size_bytes > 0,
        .incarnation = ship->options.incarnation,
        .peer_incarnation = ship->theirs,
        .head = ship->head,
        .taken = ship->taken,
        .released = ship->released,
        .counts = ship->counts,
    };
}
