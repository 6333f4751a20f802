/* world.h - the actors that settings ask for, put into their shards and told what they need. Every step may be repeated: what
 * came back from the journal is found again, what was told before is no change.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_WORLD_H
#define STOA_NODE_WORLD_H

#include "node/platform.h"

/* The kinds that journals may name. NULL-terminated. */
extern const stoa_kind *const stoa_world_kinds[];

/* Of them, the one of that name; or of the market's; NULL: none. */
const stoa_kind *stoa_world_kind(const char *name);

/* Risk, books, accounts with their funds. Errors: what the actors answer. */
stoa_err stoa_world_trade(stoa_platform *platform);
stoa_err stoa_world_rooms(stoa_platform *platform);
/* The outside market and who feeds it; core: where its plain actors run. */
stoa_err stoa_world_market(stoa_platform *platform, uint32_t core);
/* Strategies, after the market. */
stoa_err stoa_world_quoters(stoa_platform *platform);

#endif
