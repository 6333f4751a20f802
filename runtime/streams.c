/* streams.c - the directory of streams.h: an array reserved at once and touched as it is used.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/streams.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/ledger.h"
#include "runtime/shard.h"

stoa_err stoa_streams_init(stoa_streams *streams, const char *shard)
{
    size_t bytes = STOA_SHARD_ACTORS_MAX * sizeof(stoa_stream);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "streams of shard %s", shard); }
    streams->at = at;
    streams->at[0].kind = &stoa_shard_log_kind;
    (void)snprintf(streams->at[0].name, sizeof streams->at[0].name, "%s", shard);
    atomic_init(&streams->count, 0);
    return STOA_OK;
}

void stoa_streams_deinit(stoa_streams *streams)
{
    if (streams->at) { (void)munmap(streams->at, STOA_SHARD_ACTORS_MAX * sizeof(stoa_stream)); }
    streams->at = NULL;
}

stoa_err stoa_streams_add(stoa_streams *streams, const stoa_kind *kind, const char *name)
{
    uint32_t stream = atomic_load_explicit(&streams->count, memory_order_relaxed) + 1; /* only this thread adds */
    if (stream >= STOA_SHARD_ACTORS_MAX) { return STOA_FAIL(STOA_E_FULL, "shard %s has %u actors", streams->at[0].name, stream - 1); }
    streams->at[stream].kind = kind;
    (void)snprintf(streams->at[stream].name, sizeof streams->at[stream].name, "%s", name);
    atomic_store_explicit(&streams->count, stream, memory_order_release); /* pairs with the acquire of find */
    return STOA_OK;
}

uint32_t stoa_streams_named(const stoa_streams *streams, const char *name)
{
    uint32_t count = atomic_load_explicit(&streams->count, memory_order_acquire); /* as find */
    for (uint32_t stream = 0; stream <= count; stream++) {
        if (strcmp(streams->at[stream].name, name) == 0) { return stream; }
    }
    return UINT32_MAX;
}
