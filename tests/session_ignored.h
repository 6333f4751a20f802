/* session_ignored.h - events of a session (transport/session.h) that a program has no use for.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SESSION_IGNORED_H
#define STOA_TESTS_SESSION_IGNORED_H

#include "transport/session.h"

static inline void ignore_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    (void)context, (void)session, (void)reset;
}

static inline void ignore_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    (void)context, (void)session, (void)why, (void)here;
}

static inline void ignore_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    (void)context, (void)session, (void)message, (void)here;
}

static inline void ignore_room(void *context, stoa_session *session, stoa_lane lane)
{
    (void)context, (void)session, (void)lane;
}

#endif
