/* random.h - the only place chance comes from: a seeded generator per user, and the system's entropy for keys.
 *
 * xoshiro256** 1.0 (Blackman, Vigna 2018), seeded through splitmix64. Same seed, same numbers, on every machine.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_RANDOM_H
#define STOA_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "base/api.h"

STOA_API_BEGIN

typedef struct stoa_random {
    uint64_t s[4];
} stoa_random;

void stoa_random_seed(stoa_random *random, uint64_t seed);
uint64_t stoa_random_next(stoa_random *random);
/* Uniform in [0, below), without bias; below > 0. */
uint64_t stoa_random_below(stoa_random *random, uint64_t below);
/* true in permille of 1000 calls. */
int stoa_random_chance(stoa_random *random, uint32_t permille);

/* Entropy of the operating system; never in a handler. */
void stoa_random_system(void *bytes, size_t size_bytes);

STOA_API_END

#endif
