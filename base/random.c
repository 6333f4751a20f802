/* random.c - xoshiro256** of base/random.h, seeded by splitmix64 as its authors advise
 * (https://prng.di.unimi.it).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/hash.h"

__extension__ typedef unsigned __int128 uint128;

static uint64_t rotate_left(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

void stoa_random_seed(stoa_random *random, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        random->s[i] = stoa_mix64(seed);
    }
}

uint64_t stoa_random_next(stoa_random *random)
{
    uint64_t *s = random->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* The high half of next * below is uniform once the few low halves that would favour some numbers are drawn
 * again (Lemire, "Fast Random Integer Generation in an Interval", 2019). */
uint64_t stoa_random_below(stoa_random *random, uint64_t below)
{
    STOA_ASSERT(below > 0);
    uint128 product = (uint128)stoa_random_next(random) * below;
    if ((uint64_t)product < below) {
        uint64_t unfair = (0 - below) % below; /* 2^64 mod below */
        while ((uint64_t)product < unfair) {
            product = (uint128)stoa_random_next(random) * below;
        }
    }
    return (uint64_t)(product >> 64);
}

int stoa_random_chance(stoa_random *random, uint32_t permille)
{
    return stoa_random_below(random, 1000) < permille;
}

void stoa_random_system(void *bytes, size_t size_bytes)
{
    char *at = bytes;
    while (size_bytes > 0) {
        ssize_t got = getrandom(at, size_bytes, 0);
        STOA_ASSERT(got > 0 || errno == EINTR); /* without entropy there are no keys */
        if (got > 0) {
            at += got;
            size_bytes -= (size_t)got;
        }
    }
}
