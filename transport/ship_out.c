/* ship_out.c - the sender of a ship: records into its image of the ring, pieces of that to the receiver, announced when they are
 * there. What is not taken in time, or was not whole, is put again from where the receiver is: go back n, by rounds, so that a
 * complaint about what was already put again does nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "transport/ship_internal.h"

/* --- records */

uint32_t stoa_ship_record_max(const stoa_ship *ship)
{
    return ship->options.ring_bytes / 4;
}

static void write_header(stoa_ship *ship, uint32_t size_bytes, const void *bytes)
{
    stoa_ship_header header = {.bytes = size_bytes, .position = ship->head};
    header.check = stoa_ship_check(ship, &header, bytes);
    memcpy(ship->ring + (ship->head & ship->mask), &header, sizeof header);
}

stoa_err stoa_ship_send(stoa_ship *ship, const void *bytes, uint32_t size_bytes)
{
    if (!ship->theirs || !ship->options.sends) { return STOA_E_UNAVAILABLE; }
    if (size_bytes == 0) { return STOA_E_INVALID; }
    if (size_bytes > stoa_ship_record_max(ship)) { return STOA_E_TOO_LARGE; }
    uint64_t ring_bytes = ship->options.ring_bytes, span = stoa_ship_span(size_bytes);
    uint64_t to_end = ring_bytes - (ship->head & ship->mask), gap = to_end < span ? to_end : 0;
    if (ship->head + gap + span - ship->released > ring_bytes) { return STOA_E_FULL; }
    if (gap > 0) {
        write_header(ship, STOA_SHIP_FILL, NULL);
        ship->fill_at = ship->head + sizeof(stoa_ship_header);
        ship->head += gap;
        ship->fill_end = ship->head;
    }
    write_header(ship, size_bytes, bytes);
    uint8_t *at = ship->ring + (ship->head & ship->mask);
    memcpy(at + sizeof(stoa_ship_header), bytes, size_bytes);
    memset(at + sizeof(stoa_ship_header) + size_bytes, 0, span - sizeof(stoa_ship_header) - size_bytes);
    ship->head += span;
    ship->counts.records++;
    ship->counts.bytes += size_bytes;
    return STOA_OK;
}

const void *stoa_ship_noted(const stoa_ship *ship, uint32_t *size_out)
{
    *size_out = ship->note_bytes;
    return ship->note;
}

/* --- going out */

/* How much from put on goes in one piece: not over the ring's end, nor what nobody reads. */
static uint32_t piece_of(stoa_ship *ship, uint32_t most)
{
    if (ship->put == ship->fill_at && ship->fill_end > ship->fill_at) { ship->put = ship->fill_end; }
    uint64_t end = ship->put < ship->fill_at && ship->fill_at < ship->head ? ship->fill_at : ship->head;
    uint64_t to_end = ship->options.ring_bytes - (ship->put & ship->mask), size_bytes = end - ship->put;
    if (size_bytes > to_end) { size_bytes = to_end; }
    return size_bytes < most ? (uint32_t)size_bytes : most;
}

static stoa_err put_piece(stoa_ship *ship)
{
    const stoa_link_ops *ops = ship->link->ops;
    bool by_put = ship->window.size_bytes > 0;
    uint32_t head_bytes = by_put ? 0 : (uint32_t)sizeof(stoa_ship_word);
    uint32_t size_bytes = piece_of(ship, ship->options.frame_limit - head_bytes);
    uint64_t offset = ship->put & ship->mask;
    stoa_err err = STOA_OK;
    if (size_bytes == 0) { return STOA_OK; }
    if (by_put) {
        err = ops->put(ship->link, ship->peer, &ship->window, offset, ship->ring + offset, size_bytes);
    } else {
        stoa_ship_word data = {.kind = STOA_SHIP_DATA, .position = ship->put};
        err = stoa_ship_say(ship, &data, ship->ring + offset, size_bytes);
    }
    if (err) { return err; }
    ship->put += size_bytes;
    if (ship->put > ship->furthest) { ship->furthest = ship->put; }
    ship->counts.puts += by_put;
    ship->counts.frames += !by_put;
    return STOA_OK;
}

/* Ask to be told when what was put is there; what went in frames is there when the next frame is. */
static void ask(stoa_ship *ship)
{
    if (ship->put == ship->asked) { return; }
    if (ship->window.size_bytes == 0) {
        ship->asked = ship->flushed = ship->put;
        ship->head_due = true;
        return;
    }
    if (ship->token - ship->oldest == STOA_SHIP_FLUSHES) { return; }
    uint64_t token = ship->token + 1;
    if (ship->link->ops->flush(ship->link, ship->peer, token)) { return; }
    ship->token = token;
    ship->flushes[token % STOA_SHIP_FLUSHES].position = ship->put;
    ship->flushes[token % STOA_SHIP_FLUSHES].round = ship->round;
    ship->asked = ship->put;
    ship->counts.flushes++;
}

void stoa_ship_flushed(stoa_ship *ship, uint64_t token, uint64_t now_ns)
{
    (void)now_ns;
    if (!ship->link || token <= ship->oldest || token > ship->token) { return; }
    ship->oldest = token; /* in their order: what was asked for before was lost */
    if (ship->flushes[token % STOA_SHIP_FLUSHES].round != ship->round) { return; }
    uint64_t position = ship->flushes[token % STOA_SHIP_FLUSHES].position;
    if (position > ship->flushed) { ship->flushed = position; }
    ship->head_due = true;
}

static void tell_head(stoa_ship *ship)
{
    if (!ship->head_due) { return; }
    stoa_ship_word word = {.kind = STOA_SHIP_HEAD, .position = ship->flushed, .round = ship->round};
    if (stoa_ship_say(ship, &word, NULL, 0)) { return; }
    ship->told = ship->flushed;
    ship->head_due = false;
}

/* All from position on is to be put again. */
static void go_back(stoa_ship *ship, uint64_t position)
{
    ship->put = ship->asked = ship->flushed = ship->told = position;
    ship->round++;
    ship->oldest = ship->token;
    ship->head_due = false;
    ship->counts.again++;
}

void stoa_ship_out_step(stoa_ship *ship, uint64_t now_ns)
{
    if (ship->start_due) {
        stoa_ship_word word = {.kind = STOA_SHIP_START, .number = ship->hello, .position = ship->taken};
        ship->start_due = stoa_ship_say(ship, &word, NULL, 0) != STOA_OK;
    }
    if (!ship->begun || ship->start_due) { return; }
    if (ship->head == ship->released || ship->again_ns == UINT64_MAX) { stoa_ship_heard(ship, now_ns); }
    if (ship->head > ship->released && stoa_ship_again(ship, now_ns)) {
        if (ship->furthest > ship->taken) { go_back(ship, ship->taken); }
        ship->head_due = true; /* and ask how far it is */
    }
    uint64_t part_bytes = ship->options.ring_bytes / STOA_SHIP_PARTS;
    while (ship->put < ship->head && put_piece(ship) == STOA_OK) {
        if (ship->put - ship->asked < part_bytes) { continue; }
        ask(ship);
        tell_head(ship);
    }
    ask(ship);
    tell_head(ship);
    if (ship->head == ship->released) { ship->again_ns = UINT64_MAX; }
}

/* --- what the receiver says */

static void note_take(stoa_ship *ship, const uint8_t *bytes, uint32_t size_bytes)
{
    memcpy(ship->note, bytes, size_bytes);
    ship->note_bytes = size_bytes;
}

static bool is_forked(const stoa_ship *ship, const stoa_ship_word *word)
{
    if (word->from != ship->theirs) { return false; }
    if (word->to != ship->options.incarnation) { return ship->taken > 0; } /* it has taken of a stream it does not know */
    return word->position < ship->taken || word->position > ship->furthest;
}

stoa_err stoa_ship_take_hello(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes)
{
    stoa_ship_hello hello;
    if (size_bytes != sizeof hello) { return STOA_E_MALFORMED; }
    memcpy(&hello, bytes, sizeof hello);
    if (hello.note_bytes > sizeof hello.note) { return STOA_E_MALFORMED; }
    if (hello.ring_bytes != ship->options.ring_bytes) { return STOA_E_INVALID; }
    if (ship->begun && word->number <= ship->hello) { /* said again, and was heard */
        ship->start_due = ship->start_due || (word->number == ship->hello && word->from == ship->theirs);
        return STOA_OK;
    }
    if (is_forked(ship, word)) { return STOA_E_FORKED; }
    bool resumed = word->from == ship->theirs;
    uint64_t lost = resumed ? 0 : ship->head - ship->released;
    if (!resumed) { stoa_ship_begin(ship, word->from); }
    if (resumed && word->to == ship->options.incarnation) {
        ship->taken = word->position;
        ship->released = word->released > ship->released && word->released <= ship->taken ? word->released : ship->released;
    }
    bool can_put = hello.has_window && ship->link->ops->put && hello.window.size_bytes == ship->options.ring_bytes;
    ship->window = hello.window;
    if (!can_put) { ship->window.size_bytes = 0; }
    note_take(ship, hello.note, hello.note_bytes);
    go_back(ship, ship->taken);
    ship->counts.again--; /* nothing was wrong */
    ship->hello = word->number;
    ship->number = 0;
    ship->begun = ship->start_due = true;
    ship->counts.begins += !resumed;
    ship->counts.resumes += resumed;
    ship->options.events.begun(ship->options.events.context, ship, resumed, lost);
    return STOA_OK;
}

stoa_err stoa_ship_take_taken(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes)
{
    if (word->number <= ship->number) { return STOA_OK; } /* an older one came late */
    if (size_bytes > STOA_SHIP_NOTE_MAX) { return STOA_E_MALFORMED; }
    if (word->position < ship->taken || word->position > ship->furthest || word->released > word->position ||
        word->released < ship->released) {
        return STOA_E_FORKED;
    }
    bool moved = word->released > ship->released || size_bytes != ship->note_bytes || memcmp(bytes, ship->note, size_bytes) != 0;
    ship->number = word->number;
    ship->taken = word->position;
    ship->released = word->released;
    note_take(ship, bytes, size_bytes);
    if (ship->put < ship->taken) { ship->put = ship->taken; }
    if (ship->asked < ship->taken) { ship->asked = ship->taken; }
    if (ship->flushed < ship->taken) { ship->flushed = ship->taken; }
    if ((word->flags & STOA_SHIP_AGAIN) && word->round == ship->round) {
        go_back(ship, ship->taken);
        ship->counts.broken++;
    }
    if (moved && ship->options.events.moved) { ship->options.events.moved(ship->options.events.context, ship); }
    return STOA_OK;
}
