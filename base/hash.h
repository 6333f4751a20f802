/* hash.h - hashes: fast 64-bit for tables and state, CRC-32C for frames, BLAKE2b-256 for the journal's chain.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_HASH_H
#define STOA_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/api.h"

STOA_API_BEGIN

/* One 64-bit value, well mixed (splitmix64's finalizer). */
static inline uint64_t stoa_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Bytes into a running 64-bit hash, 8 at a time; equal on every little-endian machine. Not against an adversary. */
uint64_t stoa_hash64(uint64_t seed, const void *bytes, size_t size_bytes);

/* CRC-32C of bytes, continuing crc (0 to begin): crc(crc(0, a), b) is that of a and b together. SSE4.2 where the CPU has
 * it, else the portable one, which gives the same. Core: any. */
uint32_t stoa_crc32c(uint32_t crc, const void *bytes, size_t size_bytes);
uint32_t stoa_crc32c_portable(uint32_t crc, const void *bytes, size_t size_bytes);


typedef struct stoa_hash256 {
    uint8_t at[32];
} stoa_hash256;
/* BLAKE2b-256 over the parts, in order. */
void stoa_hash256_parts(stoa_hash256 *out, const void *a, size_t a_bytes, const void *b, size_t b_bytes);

/* The same piece by piece: begin, add as often as need be, end once. */
typedef struct stoa_hash256_run {
    uint8_t state[256] __attribute__((aligned(64)));
} stoa_hash256_run;
void stoa_hash256_begin(stoa_hash256_run *run);
void stoa_hash256_add(stoa_hash256_run *run, const void *bytes, size_t size_bytes);
void stoa_hash256_end(stoa_hash256_run *run, stoa_hash256 *out);

/* As 64 hexadecimal digits and a NUL; and back: 0 where text does not begin with 64 of them, and out is untouched. */
enum { STOA_HASH256_TEXT = 65 };
void stoa_hash256_print(const stoa_hash256 *hash, char text[STOA_HASH256_TEXT]);
int stoa_hash256_parse(const char *text, stoa_hash256 *out);

STOA_API_END

#endif
