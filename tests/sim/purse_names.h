/* purse_names.h - two nodes of two shards each, whose purses pay each other: what they are called, in the simulator and over real links.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_PURSE_NAMES_H
#define STOA_TESTS_SIM_PURSE_NAMES_H

#include "tests/sim/purse.h"

enum { SIDES = 2, SHARDS = 2, PURSES = 2 * SHARDS };
static const char *const node_names[SIDES] = {"a", "b"};
static const char *const shard_names[SIDES][SHARDS] = {{"north", "east"}, {"north", "west"}}; /* one name is on both */

static inline stoa_text62 purse_text(const char *from)
{
    stoa_text62 out = {0};
    STOA_ASSERT(STOA_TEXT_SETZ(&out, from) == STOA_OK);
    return out;
}

/* Of the other node's: "SHARD@NODE". */
static inline void purse_far_shard(uint32_t side, uint32_t index, char *text_out, size_t size)
{
    (void)snprintf(text_out, size, "%s@%s", shard_names[side][index], node_names[side]);
}

/* Of a side's purse: "SHARD:purse/NAME", for the other side "SHARD@NODE:purse/NAME". */
static inline void purse_address(uint32_t side, uint32_t index, bool far, char *text_out, size_t size)
{
    const char *shard = shard_names[side][index / 2];
    (void)snprintf(text_out, size, "%s%s%s:purse/%s%s%u", shard, far ? "@" : "", far ? node_names[side] : "", node_names[side], shard,
                   index % 2);
}

/* Nobody there. */
static inline void purse_nobody(uint32_t side, uint32_t index, bool far, char *text_out, size_t size)
{
    purse_address(side, index, far, text_out, size);
    (void)snprintf(strchr(text_out, '/'), sizeof "/nobody", "/nobody");
}

/* Who a side's purse is, and whom it hands on to: one of the other side. */
static inline purse_link purse_link_of(uint32_t side, uint32_t index)
{
    char next[80];
    purse_address(1 - side, (index + 1) % PURSES, true, next, sizeof next);
    return (purse_link){.index = side * PURSES + index, .sibling = (index ^ 1) % 2 + 1, .next = purse_text(next)};
}

#endif
