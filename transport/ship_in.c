/* ship_in.c - the receiver of a ship: the ring, what is taken from it in order, and what the sender is told of that.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "transport/ship_internal.h"

/* --- taking records */

/* The record at taken. False: it is not there yet, or is not whole (broken). */
static bool record_at(stoa_ship *ship, stoa_ship_header *out)
{
    uint64_t offset = ship->taken & ship->mask, there = ship->announced - ship->taken;
    if (there < sizeof *out) { return false; }
    memcpy(out, ship->ring + offset, sizeof *out);
    uint64_t to_end = ship->options.ring_bytes - offset;
    bool fills = out->bytes == STOA_SHIP_FILL;
    uint64_t span = fills ? to_end : stoa_ship_span(out->bytes);
    bool sound = out->position == ship->taken && (fills || (out->bytes > 0 && out->bytes <= ship->options.ring_bytes / 4)) &&
                 span <= to_end;
    if (sound && span > there) { return false; }
    ship->broken = !sound || out->check != stoa_ship_check(ship, out, ship->ring + offset + sizeof *out);
    return !ship->broken;
}

static void take_all(stoa_ship *ship)
{
    stoa_ship_header header;
    while (ship->begun && record_at(ship, &header)) {
        uint64_t offset = ship->taken & ship->mask;
        if (header.bytes == STOA_SHIP_FILL) {
            ship->taken += ship->options.ring_bytes - offset;
            continue;
        }
        const stoa_ship_events *events = &ship->options.events;
        uint64_t end = ship->taken + stoa_ship_span(header.bytes);
        ship->waits = !events->record(events->context, ship, ship->ring + offset + sizeof header, header.bytes, end);
        if (ship->waits) { return; }
        ship->taken = end;
        ship->taken_due = true;
        ship->counts.records++;
        ship->counts.bytes += header.bytes;
    }
    if (!ship->broken) { return; }
    ship->counts.broken++;
    ship->announced = ship->taken; /* until it is announced again */
}

void stoa_ship_release(stoa_ship *ship, uint64_t end)
{
    if (end <= ship->released) { return; }
    STOA_ASSERT(end - ship->released <= ship->options.ring_bytes);
    ship->released = end;
    ship->taken_due = true;
}

stoa_err stoa_ship_note(stoa_ship *ship, const void *bytes, uint32_t size_bytes)
{
    if (size_bytes > STOA_SHIP_NOTE_MAX) { return STOA_E_TOO_LARGE; }
    memcpy(ship->note, bytes, size_bytes);
    ship->note_bytes = size_bytes;
    ship->taken_due = true;
    return STOA_OK;
}

/* --- what the sender says */

stoa_err stoa_ship_take_start(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes)
{
    (void)bytes;
    if (size_bytes != 0) { return STOA_E_MALFORMED; }
    if (word->number != ship->hello || word->to != ship->options.incarnation) {
        return word->to == 0 || word->number < ship->hello ? STOA_E_STALE : STOA_E_FORKED;
    }
    bool resumed = word->from == ship->theirs;
    if (resumed && ship->begun) { return STOA_OK; }
    if (word->position != (resumed ? ship->taken : 0)) { return STOA_E_FORKED; }
    if (!resumed) { stoa_ship_begin(ship, word->from); }
    ship->announced = ship->taken;
    ship->round = 0;
    ship->broken = ship->waits = false;
    ship->number = 0;
    ship->begun = ship->taken_due = true;
    ship->counts.begins += !resumed;
    ship->counts.resumes += resumed;
    ship->options.events.begun(ship->options.events.context, ship, resumed, 0);
    return STOA_OK;
}

stoa_err stoa_ship_take_data(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes)
{
    uint64_t offset = word->position & ship->mask, ring_bytes = ship->options.ring_bytes, late = 0;
    if (size_bytes == 0 || size_bytes > ring_bytes - offset) { return STOA_E_MALFORMED; }
    if (word->position < ship->released) { late = ship->released - word->position; }
    if (late >= size_bytes) { return STOA_OK; } /* their place belongs to others by now */
    if (late == 0 && word->position - ship->released > ring_bytes - size_bytes) { return STOA_E_FORKED; }
    memcpy(ship->ring + offset + late, bytes + late, size_bytes - late);
    ship->counts.frames++;
    return STOA_OK;
}

stoa_err stoa_ship_take_head(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes)
{
    (void)bytes;
    if (size_bytes != 0) { return STOA_E_MALFORMED; }
    if (word->position > ship->released && word->position - ship->released > ship->options.ring_bytes) {
        return STOA_E_FORKED;
    }
    ship->taken_due = true;
    if (word->round < ship->round) { return STOA_OK; }
    if (word->round > ship->round) { ship->broken = false; }
    ship->round = word->round;
    if (ship->broken || word->position <= ship->announced) { return STOA_OK; }
    ship->announced = word->position;
    take_all(ship);
    return STOA_OK;
}

/* --- answers */

static void say_hello(stoa_ship *ship)
{
    stoa_ship_hello hello = {.ring_bytes = ship->options.ring_bytes,
                             .note_bytes = ship->note_bytes,
                             .has_window = ship->window.size_bytes > 0,
                             .window = ship->window};
    stoa_ship_word word = {
        .kind = STOA_SHIP_HELLO, .number = ship->hello, .position = ship->taken, .released = ship->released};
    memcpy(hello.note, ship->note, ship->note_bytes);
    (void)stoa_ship_say(ship, &word, &hello, sizeof hello); /* else with the next */
}

void stoa_ship_in_step(stoa_ship *ship, uint64_t now_ns)
{
    if (!ship->begun) {
        if (stoa_ship_again(ship, now_ns)) { say_hello(ship); }
        return;
    }
    if (ship->waits) { take_all(ship); }
    if (ship->taken_due) {
        STOA_ASSERT(ship->released <= ship->taken);
        stoa_ship_word word = {.kind = STOA_SHIP_TAKEN,
                               .flags = ship->broken ? STOA_SHIP_AGAIN : 0,
                               .number = ship->number + 1,
                               .position = ship->taken,
                               .released = ship->released,
                               .round = ship->round};
        if (stoa_ship_say(ship, &word, ship->note, ship->note_bytes) == STOA_OK) {
            ship->number++;
            ship->taken_due = false;
        }
    }
    ship->again_ns = ship->waits ? now_ns + ship->options.again_ns : UINT64_MAX; /* else the sender asks */
}
