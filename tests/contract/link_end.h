/* link_end.h - one end of a link as a test holds it: what its events were, counted.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CONTRACT_LINK_END_H
#define STOA_TESTS_CONTRACT_LINK_END_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "transport/link.h"

typedef struct end {
    stoa_link *link;
    stoa_peer peer; /* the last one that came */
    uint32_t ups, downs, frames, refusals, flushes;
    uint64_t token; /* of the last flush */
    stoa_err why;   /* of the last refusal */
    bool may_lose;  /* flushes */
} end;

static inline void on_up(void *context, stoa_peer peer)
{
    end *e = context;
    e->ups++;
    e->peer = peer;
}

static inline void on_down(void *context, stoa_peer peer)
{
    (void)peer;
    ((end *)context)->downs++;
}

static inline void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)peer, (void)identity, (void)bytes, (void)size_bytes;
    ((end *)context)->frames++;
}

static inline void on_refused(void *context, stoa_err why)
{
    end *e = context;
    e->refusals++;
    e->why = why;
}

static inline void on_flushed(void *context, stoa_peer peer, uint64_t token)
{
    end *e = context;
    assert_true(peer == e->peer);
    assert_true(token == e->token + 1 || (e->may_lose && token > e->token)); /* in their order */
    e->token = token;
    e->flushes++;
}

#endif
