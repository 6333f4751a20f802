/* session_events.h - events of a session (transport/session.h) that a test must not see; with those it has no use for.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SESSION_EVENTS_H
#define STOA_TESTS_SESSION_EVENTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/session_ignored.h"

static inline void never_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    (void)context, (void)session, (void)reset;
    fail_msg("nobody has restarted");
}

static inline void never_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    (void)context, (void)session, (void)here;
    fail_msg("refused: %s", stoa_err_name(why));
}

static inline void never_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    (void)context, (void)session, (void)message, (void)here;
    fail_msg("no message has a deadline");
}

#endif
