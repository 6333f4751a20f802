/* chain.c - see chain.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/chain.h"

#include <stdlib.h>

enum { SIZE_MAX_SHIFT = 26 };

stoa_err stoa_chains_init(stoa_chains *chains, uint32_t size)
{
    STOA_ASSERT(size && (size & (size - 1)) == 0);
    stoa_link **at = calloc(size, sizeof(stoa_link *));
    if (!at) { return STOA_FAIL(STOA_E_NOMEM, "%u chains", size); }
    *chains = (stoa_chains){.at = at, .size = size};
    return STOA_OK;
}

void stoa_chains_deinit(stoa_chains *chains)
{
    free(chains->at);
    *chains = (stoa_chains){0};
}

static void grow(stoa_chains *chains)
{
    uint32_t size = chains->size * 2;
    stoa_link **at = calloc(size, sizeof(stoa_link *));
    if (!at) { return; }
    for (uint32_t i = 0; i < chains->size; i++) {
        while (chains->at[i]) {
            stoa_link *link = chains->at[i];
            chains->at[i] = link->next;
            link->next = at[link->hash & (size - 1)];
            at[link->hash & (size - 1)] = link;
        }
    }
    free(chains->at);
    chains->at = at;
    chains->size = size;
}

void stoa_chains_add(stoa_chains *chains, stoa_link *link, uint64_t hash)
{
    if (chains->count >= chains->size && chains->size < UINT32_C(1) << SIZE_MAX_SHIFT) { grow(chains); }
    link->hash = hash;
    link->next = stoa_chains_first(chains, hash);
    chains->at[hash & (chains->size - 1)] = link;
    chains->count++;
}

void stoa_chains_remove(stoa_chains *chains, stoa_link *link)
{
    stoa_link **at = &chains->at[link->hash & (chains->size - 1)];
    while (*at && *at != link) { at = &(*at)->next; }
    STOA_ASSERT(*at == link);
    *at = link->next;
    chains->count--;
}
