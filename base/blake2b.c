/* blake2b.c - base/blake2b.h. Names are those of RFC 7693.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/blake2b.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they lie");

static const uint64_t iv[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b), UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
    UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f), UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179)};

enum { ROUNDS = 12, SCHEDULES = 10, PARAMETERS = 0x01010000 | STOA_BLAKE2B_BYTES };

/* Which words of a block a round mixes in. */
static const uint8_t sigma[SCHEDULES][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

static inline uint64_t rotate_right(uint64_t x, unsigned by)
{
    return x >> by | x << (64 - by);
}

/* Macros, so that every index is a constant and the words stay in registers. */
#define G(r, i, a, b, c, d)                             \
    do {                                                \
        (a) += (b) + m[sigma[(r) % SCHEDULES][2 * (i)]];     \
        (d) = rotate_right((d) ^ (a), 32);              \
        (c) += (d);                                     \
        (b) = rotate_right((b) ^ (c), 24);              \
        (a) += (b) + m[sigma[(r) % SCHEDULES][2 * (i) + 1]]; \
        (d) = rotate_right((d) ^ (a), 16);              \
        (c) += (d);                                     \
        (b) = rotate_right((b) ^ (c), 63);              \
    } while (0)
#define ROUND(r)                            \
    do {                                    \
        G(r, 0, v[0], v[4], v[8], v[12]);   \
        G(r, 1, v[1], v[5], v[9], v[13]);   \
        G(r, 2, v[2], v[6], v[10], v[14]);  \
        G(r, 3, v[3], v[7], v[11], v[15]);  \
        G(r, 4, v[0], v[5], v[10], v[15]);  \
        G(r, 5, v[1], v[6], v[11], v[12]);  \
        G(r, 6, v[2], v[7], v[8], v[13]);   \
        G(r, 7, v[3], v[4], v[9], v[14]);   \
    } while (0)

/* F: count bytes of the block are new; last: it ends the run. */
static void compress(stoa_blake2b *run, const uint8_t *block, size_t count, uint64_t last)
{
    uint64_t m[16], v[16];
    memcpy(m, block, sizeof m);
    memcpy(v, run->chain, sizeof run->chain);
    memcpy(v + 8, iv, sizeof iv);
    run->before += count;
    v[12] ^= run->before;
    v[14] ^= last;
    ROUND(0);
    ROUND(1);
    ROUND(2);
    ROUND(3);
    ROUND(4);
    ROUND(5);
    ROUND(6);
    ROUND(7);
    ROUND(8);
    ROUND(9);
    ROUND(10);
    ROUND(11);
    _Static_assert(ROUNDS == 12, "all of them");
    for (unsigned i = 0; i < 8; i++) { run->chain[i] ^= v[i] ^ v[i + 8]; }
}

void stoa_blake2b_begin(stoa_blake2b *run)
{
    memcpy(run->chain, iv, sizeof run->chain);
    run->chain[0] ^= PARAMETERS;
    run->before = 0;
    run->held = 0;
}

void stoa_blake2b_add(stoa_blake2b *run, const void *bytes, size_t size_bytes)
{
    const uint8_t *at = bytes;
    if (size_bytes == 0) { return; }
    if (run->held > 0) {
        size_t part = STOA_BLAKE2B_BLOCK - run->held < size_bytes ? STOA_BLAKE2B_BLOCK - run->held : size_bytes;
        memcpy(run->block + run->held, at, part);
        run->held += part;
        at += part;
        size_bytes -= part;
        if (size_bytes == 0) { return; }
        compress(run, run->block, STOA_BLAKE2B_BLOCK, 0);
    }
    for (; size_bytes > STOA_BLAKE2B_BLOCK; at += STOA_BLAKE2B_BLOCK, size_bytes -= STOA_BLAKE2B_BLOCK) {
        compress(run, at, STOA_BLAKE2B_BLOCK, 0);
    }
    memcpy(run->block, at, size_bytes);
    run->held = size_bytes;
}

void stoa_blake2b_end(stoa_blake2b *run, uint8_t out[STOA_BLAKE2B_BYTES])
{
    memset(run->block + run->held, 0, STOA_BLAKE2B_BLOCK - run->held);
    compress(run, run->block, run->held, UINT64_MAX);
    memcpy(out, run->chain, STOA_BLAKE2B_BYTES);
}
