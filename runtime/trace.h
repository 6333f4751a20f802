/* trace.h - which turns followed from which: marks on messages, and the spans of turns. Internal to runtime/.
 *
 * A marked message has a stoa_mark at the end of its block, behind whatever else it carries. What a turn with
 * STOA_MARKS_TRACE sends is marked: a turn that handles a message of a trace, and one that was chosen as a root. Such turns
 * keep off the short ways of stoa_turn_send, as those whose messages need a context do; other turns pay nothing.
 *
 * The same marks, without a trace, time how long messages are on their way: of one turn in so many, what it sends is marked
 * (and not the turn timed: marking would be in what it takes).
 *
 * A place that has no room for a mark sends without it: tracing refuses nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_TRACE_H
#define STOA_RUNTIME_TRACE_H

#include "runtime/message.h"
#include "runtime/node.h"

struct stoa_turning;
struct stoa_actor;

/* Of a core. */
typedef struct stoa_tracing {
    stoa_span *spans; /* STOA_SPANS of them, a ring */
    uint64_t span_count, ids;
    char pattern[STOA_TRACE_PATTERN_MAX + 1];
    bool armed;           /* looks for the next root */
    uint32_t every, left; /* one turn in so many is a root; turns until the next */
    uint32_t stride;      /* turns between the timed one before and this */
    uint32_t timed;       /* turns */
    uint32_t not_marked;  /* turns since the last that marked what it sent, that one too */
    uint64_t root;        /* of the turn chosen last: its trace, or 0 */
} stoa_tracing;
stoa_err stoa_tracing_init(stoa_tracing *tracing);
void stoa_tracing_deinit(stoa_tracing *tracing);

enum { STOA_TRACE_TIMERS = 16 }; /* a timer that arms itself again does not keep a trace alive for ever */
enum { STOA_MARK_EVERY = 4 }; /* one of so many timed turns marks what it sends instead */

static inline stoa_mark *stoa_msg_mark(stoa_msg *msg)
{
    unsigned char *end = (unsigned char *)msg + stoa_block_bytes(msg->size_class);
    return (stoa_mark *)(void *)(end - sizeof(stoa_mark));
}

/* The mark that a message brings, that of the published one where it is lent; NULL: none. */
static inline stoa_mark *stoa_msg_marked(stoa_msg *msg)
{
    stoa_msg *whole = (msg->flags & STOA_MSG_LENT) ? stoa_msg_lent(msg)->held : msg;
    return (whole->flags & STOA_MSG_MARKED) ? stoa_msg_mark(whole) : NULL;
}

/* As stoa_slab_new (of an answer: surely), marked where there is room for that. */
stoa_msg *stoa_slab_new_marked(stoa_slab *slab, uint32_t payload_bytes, uint32_t flags, stoa_mark mark);
/* The same for what a turn with MARKS_TRACE sends. */
stoa_msg *stoa_turning_new_marked(struct stoa_turning *t, uint32_t payload_bytes, uint32_t flags);

/* A turn is timed: whether this message begins a trace (core->tracing.root) or, in a node, marks (root 0). */
bool stoa_trace_chooses(struct stoa_core *core, const struct stoa_actor *actor, stoa_msg *msg);
/* Turns from here to the next that is timed, 0: none is; usual: what it were without tracing. */
uint32_t stoa_trace_stride(struct stoa_core *core, uint32_t usual);

/* A turn begins with a message that is marked, lent or a root; and ends. */
void stoa_trace_begin(struct stoa_turning *t, stoa_msg *msg);
void stoa_trace_end(struct stoa_turning *t);
/* A marked message has no turn here: it becomes a dead letter, or goes to a port. Returns its span, 0: it is of no trace. */
uint64_t stoa_trace_without_turn(struct stoa_core *core, stoa_msg *msg, stoa_ref to, stoa_err why);

#endif
