/* envelope_fuzz.c - any bytes as an envelope, as frames, as a hello, a refusal and a pulse: what is read is within its
 * bounds, is the same when it is read again, and no byte behind the end is looked at.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "transport/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

/* Go through frames that were found good; they end where the bytes end. */
static void walk(const uint8_t *at, uint32_t size_bytes, uint32_t count, uint64_t first)
{
    stoa_frame f = stoa_frame_before(at, first);
    for (uint32_t i = 0; i < count; i++) {
        STOA_ASSERT((size_t)(at + size_bytes - f.end) >= sizeof f.head);
        stoa_frame_next(&f);
        uint32_t least_bytes = stoa_frame_head_bytes(f.head.flags) + (f.head.flags & STOA_FRAME_TIMED ? STOA_FRAME_TIME_BYTES : 0);
        STOA_ASSERT(f.head.size_bytes >= least_bytes && f.head.type > STOA_FRAME_NONE && f.head.type < STOA_FRAME_TYPES);
        STOA_ASSERT(f.seq == first + i && f.end <= at + size_bytes);
    }
    STOA_ASSERT(f.end == at + size_bytes);
}

static void check_bodies(const uint8_t *bytes, uint32_t size_bytes)
{
    stoa_hello hello;
    stoa_refusal refusal;
    stoa_pulse pulse;
    if (stoa_hello_read(bytes, size_bytes, &hello) == STOA_OK) {
        size_t name_bytes = strnlen(hello.name, sizeof hello.name);
        STOA_ASSERT(stoa_node_name_is_good(hello.name, name_bytes) && hello.version_min <= hello.version_max);
        STOA_ASSERT(hello.incarnation > 0 && hello.number > 0);
    }
    if (stoa_refusal_read(bytes, size_bytes, &refusal) == STOA_OK) { STOA_ASSERT(refusal.why < 0); }
    if (stoa_pulse_read(bytes, size_bytes, &pulse) == STOA_OK) { STOA_ASSERT(pulse.number > 0); }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    stoa_envelope e;
    uint8_t *piece = malloc(size_bytes ? size_bytes : 1); /* of just that size, so that a byte too far is noticed */
    STOA_ASSERT(piece && size_bytes <= UINT32_MAX);
    if (size_bytes > 0) { memcpy(piece, bytes, size_bytes); }
    uint32_t size = (uint32_t)size_bytes;
    if (stoa_envelope_read(piece, size, &e) == STOA_OK) {
        STOA_ASSERT(stoa_envelope_lane(&e) < STOA_LANE_COUNT && stoa_envelope_is(&e) < STOA_ENVELOPE_WHATS);
        (void)stoa_envelope_check(piece, size, 0);
        stoa_envelope_seal((stoa_envelope *)(void *)piece, size, 77);
        STOA_ASSERT(stoa_envelope_check(piece, size, 77) == STOA_OK);
        STOA_ASSERT(stoa_envelope_check(piece, size, 78) == STOA_E_STALE);
        uint64_t first = size < STOA_BATCH_HEAD_BYTES ? 1 : stoa_get_u64(piece + STOA_ENVELOPE_BYTES);
        uint32_t head_bytes = size < STOA_BATCH_HEAD_BYTES ? STOA_ENVELOPE_BYTES : STOA_BATCH_HEAD_BYTES;
        const uint8_t *frames = piece + head_bytes;
        if (stoa_frames_check(frames, size - head_bytes, e.count, first) == STOA_OK) { walk(frames, size - head_bytes, e.count, first); }
    }
    check_bodies(piece, size);
    free(piece);
    return 0;
}
