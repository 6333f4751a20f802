/* block_fuzz.c - goal: no bytes make stoa_block_decode read outside them or accept what it would not write. Method:
 * the input as it is; the input with a sound hash put in, so that what lies behind the hash check is reached; and what
 * was accepted, encoded again and compared.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An accepted block must pass the writer's own checks and give its bytes again. */
static void check_accepted(const uint8_t *bytes, size_t size)
{
    stoa_journal_state start = {0};
    stoa_block_walk walk = {.at = start};
    stoa_block block;
    stoa_err err = stoa_block_walk_next(&walk, bytes, size, &block);
    if (err && memcmp(bytes, "STB2", 4) == 0) { /* sealed, and there is no key here */
        STOA_ASSERT(err == STOA_E_SEALED || err == STOA_E_CORRUPT);
        stoa_block_walk_deinit(&walk);
        return;
    }
    STOA_ASSERT(err == STOA_OK);
    STOA_ASSERT(stoa_block_check(&block) == STOA_OK);
    STOA_ASSERT(stoa_block_bytes(&block) == size);
    STOA_ASSERT(walk.at.last == block.first + block.count - 1);

    stoa_block_view view;
    STOA_ASSERT(stoa_block_decode(bytes, size, &view) == STOA_OK);
    uint8_t *again = malloc(size);
    STOA_ASSERT(again);
    stoa_hash256 hash;
    stoa_block_encode(&block, &view.previous, again, &hash);
    STOA_ASSERT(memcmp(again, bytes, size) == 0 && memcmp(&hash, &view.hash, sizeof hash) == 0);
    free(again);
    stoa_block_walk_deinit(&walk);
}

static void try_bytes(const uint8_t *bytes, size_t size)
{
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size, &view);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_CORRUPT);
    if (!err) { check_accepted(bytes, size); }
}

/* The input, stretched to a header at least, with magic (plain or sealed), hash and (sizes) sizes put right. */
static void try_forged(const uint8_t *data, size_t size, bool sizes, const char *magic)
{
    enum { AT_PAYLOAD_BYTES = 32, AT_INDEX_COUNT = 36, AT_HASH = 72 };
    size_t bytes_size = size < STOA_BLOCK_HEADER_BYTES ? STOA_BLOCK_HEADER_BYTES : size;
    uint8_t *bytes = calloc(1, bytes_size);
    STOA_ASSERT(bytes);
    if (size > 0) { memcpy(bytes, data, size); }
    memcpy(bytes, magic, 4);

    uint32_t rest = (uint32_t)(bytes_size - STOA_BLOCK_HEADER_BYTES);
    uint32_t entries = rest / STOA_BLOCK_ENTRY_BYTES < 3 ? rest / STOA_BLOCK_ENTRY_BYTES : 3;
    uint32_t payload_bytes = rest - entries * STOA_BLOCK_ENTRY_BYTES;
    if (sizes) {
        memcpy(bytes + AT_PAYLOAD_BYTES, &payload_bytes, sizeof payload_bytes);
        memcpy(bytes + AT_INDEX_COUNT, &entries, sizeof entries);
    }
    stoa_hash256 hash;
    stoa_hash256_parts(&hash, bytes, AT_HASH, bytes + STOA_BLOCK_HEADER_BYTES, rest);
    memcpy(bytes + AT_HASH, hash.at, sizeof hash.at);
    try_bytes(bytes, bytes_size);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_bytes(data, size);
    try_forged(data, size, false, "STB1");
    try_forged(data, size, true, "STB1");
    try_forged(data, size, true, "STB2");
    return 0;
}
