/* isolates/sourced.c - an event-sourced kind in a library: no isolate can be of it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/isolate.h"

#define sourced_grow_FIELDS(F, S)  F(S, uint64_t, n)
#define sourced_grown_FIELDS(F, S) F(S, uint64_t, n)
#define sourced_ROWS(ROW, K)              \
    ROW(K, CAST, grow, _, "Grow by n.")   \
    ROW(K, EVENT, grown, _, "It grew.")
STOA_TABLE_HERE(sourced)
typedef struct sourced {
    uint64_t n;
} sourced;
#define sourced_HEARS STOA_HEARS_NOTHING
STOA_KIND(sourced, .mailbox_limit = 64)
STOA_PLUGIN(sourced)

static stoa_err sourced_on_grow(stoa_turn *turn, const sourced *self, const sourced_grow *in)
{
    (void)self;
    return sourced_emit_grown(turn, (sourced_grown){in->n});
}
static void sourced_apply_grown(sourced *self, const sourced_grown *event)
{
    self->n += event->n;
}
