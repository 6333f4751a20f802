/* follow.h - `trace N` and `trace next`: one causality tree, while it grows.
 *
 * On a terminal the tree is drawn again in place whenever turns have been added, as much of it as fits; what stays in the end is
 * all of it. Elsewhere a line is written for each turn, once it has ended and behind that which it followed from, and one for
 * the trace at the end: fields with a tab between and their names first, or with -o json an object a line,
 *
 *     {"span":{"message":...,"actor":...,"core":0,"at_ns":0,"queue_ns":null,"turn_ns":0,"outcome":"ok","span":1,"parent":0}}
 *     {"trace":{"id":1,"turns":1,"took_ns":0,"quiet_ns":0,"ended":"quiet"}}       ended: quiet, time or interrupted
 *
 * It ends when no turn has ended for a second, with --for after so many seconds, or with Ctrl-C. With --for 0 the answer is shown
 * as that of any command: a tree, or one document.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_FOLLOW_H
#define STOA_ADMIN_FOLLOW_H

#include "admin/session.h"

/* said: one of the two commands. */
stoa_exit stoa_follow_run(stoa_session *session, const stoa_invocation *said);

#endif
