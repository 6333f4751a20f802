/* blake2b.h - BLAKE2b-256 (RFC 7693, without a key) piece by piece. Internal to base/: others use base/hash.h.
 *
 * Written out because it is on the way of every block and snapshot: plain C keeps more of a processor's units busy than
 * libsodium's vectors do (`bench/run journal` has both side by side; tests/unit/base/hash_test.c compares their answers).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_BLAKE2B_H
#define STOA_BASE_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

enum { STOA_BLAKE2B_BLOCK = 128, STOA_BLAKE2B_BYTES = 32 };

typedef struct stoa_blake2b {
    uint64_t chain[8];
    uint64_t before; /* bytes that the chain covers */
    size_t held;     /* bytes in block, which may be its whole; the last block is told from the others */
    uint8_t block[STOA_BLAKE2B_BLOCK];
} stoa_blake2b;

void stoa_blake2b_begin(stoa_blake2b *run);
void stoa_blake2b_add(stoa_blake2b *run, const void *bytes, size_t size_bytes);
/* The run is at its end afterwards. */
void stoa_blake2b_end(stoa_blake2b *run, uint8_t out[STOA_BLAKE2B_BYTES]);

#endif
