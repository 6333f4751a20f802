/* hash.c - the hashes of base/hash.h.
 *
 * stoa_hash64 and stoa_crc32c are compared between machines and kept in files: their results never change
 * (tests/unit/base/hash_test.c holds known answers).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <string.h>

#include "base/blake2b.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static uint64_t rotate_left(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

/* Each step is a bijection of the hash for given bytes, so a difference once seen is never forgotten. */
static uint64_t hash_step(uint64_t hash, uint64_t word)
{
    hash ^= word * UINT64_C(0x9fb21c651e98df25);
    return rotate_left(hash, 29) * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0xd6e8feb86659fd93);
}

uint64_t stoa_hash64(uint64_t seed, const void *bytes, size_t size_bytes)
{
    const uint8_t *at = bytes;
    uint64_t hash = seed, word;
    size_t left = size_bytes;
    for (; left >= sizeof word; at += sizeof word, left -= sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = hash_step(hash, word);
    }
    if (left > 0) {
        word = 0;
        memcpy(&word, at, left);
        hash = hash_step(hash, word);
    }
    return stoa_mix64(hash_step(hash, size_bytes));
}

/* CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of one byte: the sum of what each set bit
 * contributes. */
#define BIT(i, bit, crc) ((i) & (bit) ? UINT32_C(crc) : 0)
#define ENTRY(i)                                                                                             \
    BIT(i, 1, 0xf26b8303)                                                                                    \
    ^BIT(i, 2, 0xe13b70f7) ^ BIT(i, 4, 0xc79a971f) ^ BIT(i, 8, 0x8ad958cf) ^ BIT(i, 16, 0x105ec76f) ^        \
        BIT(i, 32, 0x20bd8ede) ^ BIT(i, 64, 0x417b1dbc) ^ BIT(i, 128, 0x82f63b78)
#define ENTRIES4(i)  ENTRY(i), ENTRY((i) + 1), ENTRY((i) + 2), ENTRY((i) + 3)
#define ENTRIES16(i) ENTRIES4(i), ENTRIES4((i) + 4), ENTRIES4((i) + 8), ENTRIES4((i) + 12)
#define ENTRIES64(i) ENTRIES16(i), ENTRIES16((i) + 16), ENTRIES16((i) + 32), ENTRIES16((i) + 48)
static const uint32_t crc_of_byte[256] = {ENTRIES64(0), ENTRIES64(64), ENTRIES64(128), ENTRIES64(192)};

uint32_t stoa_crc32c_portable(uint32_t crc, const void *bytes, size_t size_bytes)
{
    const uint8_t *at = bytes;
    crc = ~crc;
    for (size_t i = 0; i < size_bytes; i++) {
        crc = crc_of_byte[(crc ^ at[i]) & 0xff] ^ crc >> 8;
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *bytes,
                                                               size_t size_bytes)
{
    const uint8_t *at = bytes;
    uint64_t wide = ~crc, word;
    for (; size_bytes >= sizeof word; at += sizeof word, size_bytes -= sizeof word) {
        memcpy(&word, at, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size_bytes > 0; at++, size_bytes--) {
        crc = _mm_crc32_u8(crc, *at);
    }
    return ~crc;
}
#endif

uint32_t stoa_crc32c(uint32_t crc, const void *bytes, size_t size_bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) { return crc32c_sse42(crc, bytes, size_bytes); }
#endif
    return stoa_crc32c_portable(crc, bytes, size_bytes);
}

/* --- BLAKE2b-256 */

_Static_assert(sizeof(stoa_blake2b) <= sizeof(stoa_hash256_run), "a run has room for it");
_Static_assert((int)STOA_BLAKE2B_BYTES == (int)sizeof(stoa_hash256), "the digest");

static stoa_blake2b *state_of(stoa_hash256_run *run)
{
    return (stoa_blake2b *)(void *)run->state;
}

void stoa_hash256_begin(stoa_hash256_run *run)
{
    stoa_blake2b_begin(state_of(run));
}

void stoa_hash256_add(stoa_hash256_run *run, const void *bytes, size_t size_bytes)
{
    stoa_blake2b_add(state_of(run), bytes, size_bytes);
}

void stoa_hash256_end(stoa_hash256_run *run, stoa_hash256 *out)
{
    stoa_blake2b_end(state_of(run), out->at);
}

void stoa_hash256_parts(stoa_hash256 *out, const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    stoa_hash256_run run;
    stoa_hash256_begin(&run);
    stoa_hash256_add(&run, a, a_bytes);
    stoa_hash256_add(&run, b, b_bytes);
    stoa_hash256_end(&run, out);
}
