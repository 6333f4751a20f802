/* ship_fuzz.c - goal: whatever comes for a ship, of either side, in whatever order, with right checksums or wrong ones, is an answer: no
 * byte outside the ring is touched, and nothing is told that the stream does not hold. Method: the input is a list of words and what
 * is behind them; the first byte says which side it is for, and checksums and names are made right, so that what is behind them is seen.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "transport/ship_internal.h"

enum { RING_BYTES = 4096, FRAME_LIMIT = 2048, OURS = 7, THEIRS = 9, CHUNK_MAX = 1500 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static stoa_err take_send(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    (void)link, (void)peer, (void)bytes;
    return size_bytes > FRAME_LIMIT ? STOA_E_TOO_LARGE : STOA_OK;
}

static const stoa_link_ops ops = {.scheme = "nowhere", .send = take_send};
static stoa_link nowhere = {.ops = &ops};

static uint64_t told;

static bool on_record(void *context, stoa_ship *ship, const void *bytes, uint32_t size_bytes, uint64_t end)
{
    uint8_t sum = 0;
    (void)context;
    for (uint32_t i = 0; i < size_bytes; i++) { sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]); }
    if (end <= told) { abort(); } /* each once, in order */
    told = end;
    if (sum % 3 == 0) { stoa_ship_release(ship, end); }
    return true;
}

static void on_begun(void *context, stoa_ship *ship, bool resumed, uint64_t lost)
{
    (void)context, (void)ship, (void)lost;
    if (!resumed) { told = 0; }
}

/* Behind a word of DATA a record that is whole, so that some are told. */
static void make_record(const stoa_ship *ship, stoa_ship_word *word, uint8_t *behind, uint32_t size_bytes)
{
    stoa_ship_header header = {.bytes = size_bytes - (uint32_t)sizeof header};
    word->position &= ~(uint64_t)(STOA_SHIP_ALIGN - 1);
    header.position = word->position;
    if (word->flags & 2) { header.bytes = STOA_SHIP_FILL; }
    header.check = stoa_ship_check(ship, &header, behind + sizeof header);
    memcpy(behind, &header, sizeof header);
}

/* A word as the input has it, but for what would be refused at the door. */
static void give(stoa_ship *ship, const uint8_t *bytes, uint32_t size_bytes, uint64_t now_ns)
{
    uint8_t frame[sizeof(stoa_ship_word) + CHUNK_MAX];
    stoa_ship_word word = {0};
    uint32_t head_bytes = size_bytes < sizeof word ? size_bytes : (uint32_t)sizeof word, behind = size_bytes - head_bytes;
    memcpy(&word, bytes, head_bytes);
    word.magic = STOA_SHIP_MAGIC;
    word.kind %= STOA_SHIP_KINDS;
    word.from = word.from % 4 ? THEIRS : word.from;
    word.to = word.to % 4 ? OURS : word.to;
    word.number %= 4;
    word.position = word.position % 4 ? word.position % (2 * RING_BYTES) : word.position;
    if (word.kind == STOA_SHIP_HELLO && behind >= sizeof(stoa_ship_hello)) { behind = sizeof(stoa_ship_hello); }
    memcpy(frame + sizeof word, bytes + head_bytes, behind);
    if (word.kind == STOA_SHIP_HELLO && behind == sizeof(stoa_ship_hello)) {
        stoa_ship_hello hello;
        memcpy(&hello, frame + sizeof word, sizeof hello);
        hello.ring_bytes = RING_BYTES;
        hello.note_bytes %= 2 * sizeof hello.note;
        memcpy(frame + sizeof word, &hello, sizeof hello);
    }
    if (word.kind == STOA_SHIP_DATA && word.flags & 1 && behind > sizeof(stoa_ship_header)) {
        make_record(ship, &word, frame + sizeof word, behind);
    }
    word.check = 0;
    word.check = stoa_crc32c(stoa_crc32c(0, &word, sizeof word), frame + sizeof word, behind);
    memcpy(frame, &word, sizeof word);
    (void)stoa_ship_take(ship, frame, (uint32_t)sizeof word + behind, now_ns);
}

static stoa_ship *ship_new(bool sends)
{
    stoa_ship_options options = {.sends = sends,
                                 .incarnation = OURS,
                                 .ring_bytes = RING_BYTES,
                                 .frame_limit = FRAME_LIMIT,
                                 .events = {.record = on_record, .begun = on_begun}};
    stoa_ship *ship = NULL;
    if (stoa_ship_new(&options, &ship)) { abort(); }
    stoa_ship_up(ship, &nowhere, 1, 1);
    return ship;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t record[RING_BYTES / 4];
    if (size < 2) { return 0; }
    bool sends = data[0] & 1;
    stoa_ship *ship = ship_new(sends);
    uint64_t now_ns = 1;
    told = 0;
    for (size_t at = 1; at + 2 <= size;) {
        size_t length = (data[at] | (size_t)data[at + 1] << 8) % CHUNK_MAX;
        at += 2;
        if (length > size - at) { length = size - at; }
        give(ship, data + at, (uint32_t)length, now_ns);
        if (length == 0) { (void)stoa_ship_take(ship, data, (uint32_t)(size < FRAME_LIMIT ? size : FRAME_LIMIT), now_ns); }
        if (sends) { (void)stoa_ship_send(ship, record, 1 + (uint32_t)(length * 7 % sizeof record)); }
        if (length % 5 == 0) { stoa_ship_flushed(ship, length, now_ns); }
        now_ns = stoa_ship_step(ship, now_ns) == UINT64_MAX ? now_ns + 1 : now_ns + 100000000;
        at += length;
    }
    stoa_ship_down(ship);
    stoa_ship_free(ship);
    return 0;
}
