/* isolates/helper.h - the kind helper of odd.h, which plug-ins ask: it doubles, and counts the notes that it is sent. In a test's own
 * process, and as a plug-in (helper.c).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_RUNTIME_ISOLATES_HELPER_H
#define STOA_TESTS_UNIT_RUNTIME_ISOLATES_HELPER_H

#include "tests/unit/runtime/isolates/odd.h"

STOA_TABLE_DEFINE(helper)
typedef struct helper {
    helper_seen seen;
} helper;
#define helper_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(helper, .mailbox_limit = 4096)

static stoa_err helper_on_double(stoa_turn *turn, helper *self, const helper_double *in, helper_doubled *out)
{
    (void)turn, (void)self;
    out->n = in->n * 2;
    return STOA_OK;
}
static stoa_err helper_on_note(stoa_turn *turn, helper *self, const helper_note *in)
{
    (void)turn;
    self->seen.notes++;
    self->seen.sum += in->n;
    return STOA_OK;
}
static stoa_err helper_on_look(stoa_turn *turn, helper *self, const helper_look *in, helper_seen *out)
{
    (void)turn, (void)in;
    *out = self->seen;
    return STOA_OK;
}

#endif
