/* fabric_fuzz.c - what a peer of a fabric link can say before and after it has proven its key: a greeting, a batch's place, a
 * batch's frames, a sealed message. Nothing may be read or written outside, whatever comes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/fabric/door.h"
#include "transport/fabric/ring.h"
#include "transport/secure.h"

enum { FRAME_LIMIT = 1024, PLACE_BYTES = 18 };

static const uint8_t key[STOA_SECURE_KEY_BYTES] = {7, 7, 7};

static void greeting(const uint8_t *bytes, size_t size_bytes)
{
    uint8_t payload[4096];
    stoa_secure listens, dials;
    if (size_bytes > sizeof payload || stoa_secure_begin(&listens, key, NULL, "p", 1) != STOA_OK) { return; }
    (void)stoa_secure_read(&listens, bytes, size_bytes, payload);
    if (stoa_secure_begin(&dials, key, listens.own_public, "p", 1) != STOA_OK) { return; }
    uint8_t hello[STOA_SECURE_HELLO_BYTES];
    if (stoa_secure_write(&dials, NULL, 0, hello) == STOA_OK) {
        (void)stoa_secure_read(&dials, bytes, size_bytes, payload);
    }
}

/* A message sealed by who has the key is opened; one that was changed is not, and does no harm to the one that was not. */
static void sealed(const uint8_t *bytes, size_t size_bytes)
{
    stoa_secure_stream out, in;
    uint8_t text[256], copy[256], tag[STOA_SECURE_TAG_BYTES];
    uint64_t number = 0;
    if (stoa_secure_stream_open(&out, key, 1, true) != STOA_OK) { return; }
    if (stoa_secure_stream_open(&in, key, 1, false) == STOA_OK) {
        while (size_bytes > 4) {
            uint8_t how = bytes[0];
            size_t text_bytes = bytes[1] < size_bytes - 4 ? bytes[1] : size_bytes - 4;
            number += (how & 0x40 ? bytes[2] * 256U : bytes[2] % 16U) + 1;
            memcpy(text, bytes + 4, text_bytes);
            stoa_secure_seal(&out, number, "h", 1, text, text_bytes, tag);
            memcpy(copy, text, text_bytes);
            STOA_ASSERT(stoa_secure_unseal(&in, number, "H", 1, copy, text_bytes, tag) == STOA_E_CORRUPT);
            STOA_ASSERT(stoa_secure_unseal(&in, number, "h", 1, text, text_bytes, tag) == STOA_OK);
            STOA_ASSERT(memcmp(text, bytes + 4, text_bytes) == 0);
            bytes += 4 + text_bytes, size_bytes -= 4 + text_bytes;
        }
        stoa_secure_stream_close(&in);
    }
    stoa_secure_stream_close(&out);
}

/* Places, each followed by the bytes that land there; then all frames are read. */
static void batches(const uint8_t *bytes, size_t size_bytes)
{
    stoa_in in;
    if (stoa_in_open(&in, NULL, stoa_ring_bytes(FRAME_LIMIT, 1), stoa_ring_body_limit(FRAME_LIMIT)) != STOA_OK) {
        return;
    }
    while (size_bytes >= PLACE_BYTES) {
        uint64_t number, position;
        uint16_t length;
        stoa_arrival *arrival = NULL;
        memcpy(&number, bytes, sizeof number);
        memcpy(&position, bytes + 8, sizeof position);
        memcpy(&length, bytes + 16, sizeof length);
        bytes += PLACE_BYTES, size_bytes -= PLACE_BYTES;
        if (stoa_in_place(&in, number % 128, position, length, &arrival) != STOA_OK) { continue; }
        size_t here = size_bytes < length ? size_bytes : length;
        memset(stoa_in_bytes(&in, arrival), 0, length);
        memcpy(stoa_in_bytes(&in, arrival), bytes, here);
        bytes += here, size_bytes -= here;
        stoa_in_landed(&in, arrival, true);
        stoa_in_frame frame;
        while (stoa_in_frame_next(&in, &frame) == STOA_OK) {
            volatile uint8_t sum = 0;
            for (uint32_t i = 0; i < frame.size_bytes; i++) {
                sum = (uint8_t)(sum + frame.bytes[i]);
            }
            stoa_in_drop(&in, &frame);
        }
    }
    stoa_in_close(&in);
}

static void door(const uint8_t *bytes, size_t size_bytes)
{
    int fds[2];
    uint8_t kind, body[STOA_DOOR_BODY_MAX];
    uint32_t body_bytes;
    stoa_door it;
    if (size_bytes > 16384 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) { return; }
    (void)!write(fds[1], bytes, size_bytes);
    (void)close(fds[1]);
    stoa_door_init(&it, fds[0]);
    for (stoa_err err = STOA_OK; err != STOA_E_MALFORMED && !(it.ended && err == STOA_E_AGAIN);) {
        stoa_door_read(&it);
        err = stoa_door_next(&it, &kind, body, &body_bytes);
    }
    stoa_door_close(&it);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    static void (*const ways[])(const uint8_t *, size_t) = {greeting, sealed, batches, door};
    if (size_bytes > 1) { ways[bytes[0] % 4](bytes + 1, size_bytes - 1); }
    return 0;
}
