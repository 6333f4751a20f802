/* streams.h - who is who in a shard's log: the kind and the name of each stream. Internal to runtime/.
 *
 * Streams are numbered from 1 as actors are spawned and never end; stream 0 is the shard's own (ledger.h). One thread adds;
 * any thread reads, without a lock: what is there does not change, and the count is published behind it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_STREAMS_H
#define STOA_RUNTIME_STREAMS_H

#include <stdatomic.h>

#include "runtime/actor.h"

typedef struct stoa_stream {
    const stoa_kind *kind;
    char name[STOA_NAME_MAX + 1];
} stoa_stream;

typedef struct stoa_streams {
    stoa_stream *at;        /* mapped as it is used; [0] is the shard's own */
    _Atomic uint32_t count; /* highest stream */
} stoa_streams;

/* With stream 0 alone, under the shard's name. Errors: NOMEM. */
stoa_err stoa_streams_init(stoa_streams *streams, const char *shard);
void stoa_streams_deinit(stoa_streams *streams);
/* The next stream; its number is count + 1. Errors: FULL. */
stoa_err stoa_streams_add(stoa_streams *streams, const stoa_kind *kind, const char *name);
/* NULL: there is none of that number. */
static inline const stoa_stream *stoa_streams_find(const stoa_streams *streams, uint64_t stream)
{
    /* acquire: what is at count and below was written before it */
    return stream <= atomic_load_explicit(&streams->count, memory_order_acquire) ? &streams->at[stream] : NULL;
}
/* The number of the stream of that name; UINT32_MAX: there is none. Looks through all of them. */
uint32_t stoa_streams_named(const stoa_streams *streams, const char *name);

#endif
