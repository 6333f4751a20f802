/* progress.h - how far a command that takes long is, drawn in place while its answer is waited for.
 *
 *     journal verify trade  verify  1,234,567 of 9,876,543 events  12.5 %  1,200,000/s  7.20 s left
 *
 * On a terminal only: elsewhere nothing is drawn, and output stays as it is. Without --timeout such a command is given the longest
 * time there is. Ctrl-C ends the waiting, and it is said what becomes of the work.
 *
 * It asks `progress` on a connection of its own, four times a second.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_PROGRESS_H
#define STOA_ADMIN_PROGRESS_H

#include "admin/session.h"

/* Whether it is one of the commands that take long, and a screen is there to draw on. */
bool stoa_progress_wanted(const stoa_session *session, const stoa_invocation *said);

/* As stoa_session_ask and stoa_session_answered, with its progress drawn meanwhile. */
stoa_exit stoa_progress_run(stoa_session *session, const stoa_words *words, const stoa_invocation *said, bool write);

#endif
