/* turning.h - what the files of a turn share: turn.c runs a handler, turn_send.c and turn_calls.c are what it calls,
 * turn_effect.c makes what it asked for happen, or takes it back. Internal to those four.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_TURNING_H
#define STOA_RUNTIME_TURNING_H

#include "runtime/internal.h"

static inline stoa_turning *stoa_turning_of(stoa_turn *turn)
{
    return (stoa_turning *)turn;
}

/* Nothing is staged any more. */
static inline void stoa_turning_clean(stoa_turning *t)
{
    t->staged_end = &t->staged;
    t->listed = 0;
    t->bound = 0;
    t->sent_max = t->marks ? 0 : STOA_SENT_MAX;
    t->after &= (uint8_t)~STOA_AFTER_REST;
}

/* The answer to whom the turn serves, staged; row NULL: error is. Errors: FULL, TOO_LARGE. */
stoa_err stoa_turning_answer(stoa_turning *t, const stoa_row *row, const void *payload, stoa_err error);

/* Nothing of what the turn asked for happens. */
void stoa_turning_take_back(stoa_turning *t);

/* What goes further than a mailbox of this core happens: STOA_AFTER_REST is set. */
void stoa_turning_let_go_rest(stoa_turning *t);

/* What the turn asked for happens; its events were applied. */
static inline void stoa_turning_let_go(stoa_turning *t)
{
    t->charge += t->sent;
    t->sent = 0;
    if (__builtin_expect(t->after & STOA_AFTER_REST, 0)) { stoa_turning_let_go_rest(t); }
}

#endif
