/* purse_names.h - two nodes of two shards each, whose purses pay each other: what they are called, in the simulator and over real links.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_PURSE_NAMES_H
#define STOA_TESTS_SIM_PURSE_NAMES_H

#include "tests/sim/purse.h"

enum { SIDES = 2, SHARDS = 2, PURSES = 2 * SHARDS };
static const char *const shard_names[SIDES][SHARDS] = {{"north", "east"}, {"south", "west"}};

static inline stoa_text62 purse_text(const char *from)
{
    stoa_text62 out = {0};
    STOA_ASSERT(STOA_TEXT_SETZ(&out, from) == STOA_OK);
    return out;
}

/* Of a side's purse: "SHARD:purse/NAME". */
static inline void purse_address(uint32_t side, uint32_t index, char *text_out, size_t size)
{
    const char *shard = shard_names[side][index / 2];
    (void)snprintf(text_out, size, "%s:purse/%s%u", shard, shard, index % 2);
}

/* Who a side's purse is, and whom it hands on to: one of the other side. */
static inline purse_link purse_link_of(uint32_t side, uint32_t index)
{
    char next[80];
    purse_address(1 - side, (index + 1) % PURSES, next, sizeof next);
    return (purse_link){.index = side * PURSES + index, .sibling = (index ^ 1) % 2 + 1, .next = purse_text(next)};
}

#endif
