/* isolate/warden.h - the thread of a node that starts children and takes them back, so that no core waits for a process. Internal to
 * runtime/.
 *
 *     ordered    by a core; the socket is there at once, what is written waits
 *     lives      it has a pid. It ends by itself: its owner hears so on the socket, and asks why
 *     released   its owner has no use for it any more: it is killed, waited for, forgotten
 *
 * Cores take one short lock to order, to ask and to release. A child dies with the thread that started it (PR_SET_PDEATHSIG), which
 * ends behind all of them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_WARDEN_H
#define STOA_RUNTIME_ISOLATE_WARDEN_H

#include <stdbool.h>

#include "runtime/isolate/process.h"

enum { STOA_WARDS_MAX = 1024 }; /* children of a node, with those that are ending */

typedef struct stoa_warden stoa_warden;
typedef struct stoa_ward stoa_ward;

/* Order a child. The node's warden is made with its first one. Errors: FULL, NOMEM, as stoa_isolate_process_order. */
stoa_err stoa_warden_order(stoa_node *node, const stoa_isolate *isolate, stoa_ward **ward_out, int *socket_out);
/* 0: it was not started yet, or cannot be. */
pid_t stoa_ward_pid(stoa_ward *ward);
/* Whether it has ended, or could not be started; then *why_out says why, a static text. */
bool stoa_ward_ended(stoa_ward *ward, const char **why_out);
/* NULL is allowed. Any thread; the ward is the warden's from here on. */
void stoa_ward_release(stoa_ward *ward);

/* All are released: wait until they are gone, five seconds at most, and end the thread. NULL is allowed. */
void stoa_warden_close(stoa_warden *warden);

#endif
