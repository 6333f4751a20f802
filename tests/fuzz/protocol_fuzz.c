/* protocol_fuzz.c - goal: no bytes make the client protocol's readers read beyond them, and what they accept is written back to
 * the same value. The first byte says who reads: the gateway (even) or a client (odd).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "actors/client/client_msgs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static stoa_frame_tokens tokens;
static _Alignas(8) uint8_t payload[32768], again[32768];
static uint8_t encoded[STOA_PROTOCOL_FRAME_MAX];

/* A payload that is accepted survives being written and read. */
static void check_payload(const stoa_type *type, stoa_frame_value value)
{
    stoa_writer w = {.at = encoded, .cap_bytes = sizeof encoded};
    STOA_ASSERT(type->size_bytes <= sizeof payload);
    if (stoa_decode_tokens(type, value.tokens, value.count, payload) != STOA_OK) { return; }
    stoa_err err = stoa_encode(type, payload, &w);
    STOA_ASSERT(!err && !w.cut);
    err = stoa_decode(type, encoded, w.used_bytes, again, NULL);
    STOA_ASSERT(!err && memcmp(payload, again, type->size_bytes) == 0);
}

static void read_request(const uint8_t *data, size_t size)
{
    stoa_request_frame frame;
    if (stoa_request_frame_read(data, size, &tokens, &frame) != STOA_OK) { return; }
    STOA_ASSERT(frame.target_bytes <= size && frame.payload.count >= 1);
    for (int target = 0; target < STOA_TARGET_COUNT; target++) {
        bool valid = stoa_protocol_target_valid((stoa_protocol_target_id)target, frame.target, frame.target_bytes);
        STOA_ASSERT(!valid || frame.target_bytes <= STOA_PROTOCOL_NAME_MAX);
    }
    const stoa_protocol_op *op = stoa_protocol_op_find(frame.op);
    if (op) { check_payload(&op->row->payload, frame.payload); }
}

static void read_server(const uint8_t *data, size_t size)
{
    stoa_server_frame frame;
    if (stoa_server_frame_read(data, size, &tokens, &frame) != STOA_OK) { return; }
    if (frame.cls == STOA_FRAME_ITEM) {
        const stoa_protocol_item *item = stoa_protocol_item_find(frame.item);
        if (item) { check_payload(&item->row->payload, frame.payload); }
    } else if (frame.cls == STOA_FRAME_ANSWER && !frame.error) {
        for (uint32_t i = 0; i < stoa_protocol_op_count; i++) {
            check_payload(&stoa_protocol_ops[i].row->reply->payload, frame.payload);
        }
    } else {
        STOA_ASSERT(frame.text_bytes <= size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) { return 0; }
    if (data[0] % 2 == 0) {
        read_request(data + 1, size - 1);
    } else {
        read_server(data + 1, size - 1);
    }
    return 0;
}
