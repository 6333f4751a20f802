/* apply.c - an event that was read back is applied, or named as the one that cannot be. See fold.h.
 *
 * An apply function cannot fail, and in a turn it never meets an event that does not fit the state: who staged it has looked. In a
 * replay the bytes are input. They are what was written, the hash says so; who wrote them may have been a build with a bug, or
 * somebody who makes archives. So the ledger's events are looked at first (ledger_check.c), and an assertion that breaks in an apply
 * function of any kind ends the replay and not the process: CORRUPT, with position, row and reason. What was folded so far is then
 * worth nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "runtime/fold.h"
#include "runtime/ledger.h"

typedef struct applying {
    void *state;
    const stoa_event_view *event;
} applying;

static void apply(void *context)
{
    const applying *a = context;
    a->event->kind->appliers[a->event->row->id](a->state, a->event->payload);
}

stoa_err stoa_event_apply(const char *shard, void *state, const stoa_event_view *event)
{
    applying a = {.state = state, .event = event};
    const char *why = event->stream ? NULL : stoa_ledger_refuses(state, event->row->id, event->payload, event->position);
    if (!why) { why = stoa_panic_caught(apply, &a); }
    if (!why) { return STOA_OK; }
    return STOA_FAIL(STOA_E_CORRUPT, "shard %s, position %" PRIu64 ": %s.%s cannot be applied to %s: %s",
                     shard, event->position, event->row->kind, event->row->name, event->actor, why);
}
