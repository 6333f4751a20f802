/* apply_fuzz.c - goal: whatever events a log has, replaying them never crashes, reads or writes at a wrong place, or runs for ever: an
 * event is applied, or refused as CORRUPT. What is made of a ledger by events that were not refused is sound, and a ledger that is sound
 * can take any events. Method: the first byte of the input says which kind it is of, and whether bytes are put into the ledger's image
 * first; then come events, each {row, bytes of its payload as stored}, in the form that logs have them (fuzz/corpus has real ones).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "actors/risk/risk.h"
#include "actors/room/room.h"
#include "actors/strategy/strategy.h"
#include "actors/trade/trade.h"
#include "base/wire.h"
#include "runtime/fold.h"
#include "runtime/ledger.h"
#include "runtime/sparse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const stoa_kind *const kinds[] = {&stoa_shard_log_kind, &trade_account_kind, &trade_book_kind,
                                         &risk_kind,           &room_kind,          &strategy_quoter_kind};
enum { KINDS = sizeof kinds / sizeof kinds[0], IMAGE = 0x80, STREAMS = 3 };
static void *states[KINDS];
static uint8_t payload[STOA_REPLY_MAX];

typedef struct input {
    const uint8_t *at, *end;
} input;

static uint64_t take(input *in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && in->at < in->end; i++) { value |= (uint64_t)*in->at++ << 8 * i; }
    return value;
}

/* Bytes of the image become others. In the parts that are not zero, so that it is not always the same that is unsound. */
static void spoil(input *in, stoa_shard_log *ledger)
{
    uint8_t *bytes = (uint8_t *)ledger;
    for (uint64_t count = take(in, 1) % 8; count; count--) {
        uint64_t at = take(in, 4) % sizeof *ledger;
        bytes[at] = (uint8_t)take(in, 1);
    }
}

static void run(input *in, const stoa_kind *kind, void *state, uint64_t *position)
{
    bool own = kind == &stoa_shard_log_kind;
    while (in->at < in->end) {
        uint32_t id = (uint32_t)take(in, 1);
        size_t bytes = (size_t)take(in, 2), left = (size_t)(in->end - in->at);
        if (bytes > left) { bytes = left; }
        const uint8_t *from = in->at;
        in->at += bytes;
        if (id == 0 || id > kind->table->row_count || !kind->appliers[id]) { continue; }
        const stoa_row *row = &kind->rows[id];
        if (stoa_decode(&row->payload, from, bytes, payload, NULL)) { continue; }
        stoa_event_view event = {.position = ++*position, .stream = !own, .actor = "a", .kind = kind, .row = row, .payload = payload};
        stoa_err err = stoa_event_apply("s", state, &event);
        STOA_ASSERT(err == STOA_OK || err == STOA_E_CORRUPT);
        if (err) { return; }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    uint64_t position = 0, what = take(&in, 1);
    size_t index = (what & ~(uint64_t)IMAGE) % KINDS;
    const stoa_kind *kind = kinds[index];
    if (!states[index]) { states[index] = stoa_state_new(kind); }
    void *state = states[index];
    STOA_ASSERT(state);
    if (index) {
        run(&in, kind, state, &position);
    } else {
        stoa_shard_log *ledger = state;
        input events = {in.at, in.end};
        size_t half = what & IMAGE ? (size_t)(in.end - in.at) / 2 : 0;
        events.end -= half;
        ledger->streams = STREAMS;
        run(&events, kind, ledger, &position);
        STOA_ASSERT(!stoa_ledger_unsound(ledger, ledger->streams, position));
        in.at = events.end;
        if (what & IMAGE) { spoil(&in, ledger); }
        bool sound = !stoa_ledger_unsound(ledger, ledger->streams, position);
        if (what & IMAGE && sound) { run(&in, kind, ledger, &position); }
        STOA_ASSERT(!sound || !stoa_ledger_unsound(ledger, ledger->streams, position));
    }
    stoa_sparse_clear(state, kind->state_bytes);
    return 0;
}
