/* progress.h - commands that take long: how far they are, drawn in place while the answer is waited for, and no short deadline.
 *
 *     journal verify trade  verify  1,234,567 of 9,876,543 events  12.5 %  1,200,000/s  7.20 s left
 *
 * It is drawn on a terminal only: elsewhere output stays as it is. Without --timeout such a command is given the longest time there
 * is, wherever its answer goes. Ctrl-C and a time that is over end the waiting, and it is said what becomes of the work.
 *
 * It asks `progress` on a connection of its own, four times a second.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_PROGRESS_H
#define STOA_ADMIN_PROGRESS_H

#include "admin/session.h"

/* Whether it is one of the commands that take long. */
bool stoa_progress_wanted(const stoa_invocation *said);

/* As stoa_session_ask and stoa_session_answered, for these; its progress is drawn meanwhile where there is a screen to draw on. */
stoa_exit stoa_progress_run(stoa_session *session, const stoa_words *words, const stoa_invocation *said, bool write);

#endif
