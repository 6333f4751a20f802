/* chain.h - a hash table of chains through the items themselves. Internal to runtime/.
 *
 *     typedef struct thing { stoa_link link; ... } thing;          the link first; an item is in at most one table
 *     stoa_chains_add(&chains, &thing->link, hash);                never fails
 *     for (stoa_link *at = stoa_chains_first(&chains, hash); at; at = at->next) { ... at->hash == hash ... }
 *     stoa_chains_remove(&chains, &thing->link);
 *
 * It doubles when there are as many items as chains; where memory for that is short, chains get longer instead. It owns no
 * items and takes no lock.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_CHAIN_H
#define STOA_RUNTIME_CHAIN_H

#include <stdint.h>

#include "base/error.h"

typedef struct stoa_link {
    struct stoa_link *next;
    uint64_t hash;
} stoa_link;

typedef struct stoa_chains {
    stoa_link **at;
    uint32_t count, size; /* items; chains, a power of two */
} stoa_chains;

/* Errors: NOMEM. */
stoa_err stoa_chains_init(stoa_chains *chains, uint32_t size);
void stoa_chains_deinit(stoa_chains *chains);
void stoa_chains_add(stoa_chains *chains, stoa_link *link, uint64_t hash);
void stoa_chains_remove(stoa_chains *chains, stoa_link *link);

/* The chain that has all items of that hash, and others. */
static inline stoa_link *stoa_chains_first(const stoa_chains *chains, uint64_t hash)
{
    return chains->at[hash & (chains->size - 1)];
}

#endif
