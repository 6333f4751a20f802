/* remote.h - the connection to a node's admin door: attaches when first needed, and again after the node restarted.
 *
 * One thread. An interrupt (a byte in interrupt_fd, which the caller drains) ends the wait for an answer; the
 * connection is given up then, because the answer would still come.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_REMOTE_H
#define STOA_ADMIN_REMOTE_H

#include "admin/frame.h"

typedef struct stoa_remote stoa_remote;

/* path is copied. interrupt_fd: -1 for none. Does not connect yet. Errors: NOMEM. */
stoa_err stoa_remote_new(const char *path, int interrupt_fd, stoa_remote **out);
/* NULL is allowed. */
void stoa_remote_free(stoa_remote *remote);

/* Ask and wait for the answer, at most timeout_ms and a little. The answer's texts live until the next call. A
 * question that does not write is asked a second time where the connection breaks under it. OK when there is an
 * answer, be it an error. Errors, with a sentence for the user in the trail: UNAVAILABLE (no node listens there, or
 * it has gone), DENIED, TIMEOUT, CANCELLED (interrupted), VERSION, MALFORMED, IO, TOO_LARGE. Blocks. */
stoa_err stoa_remote_ask(stoa_remote *remote, const char *const *words, uint32_t count, bool write, uint64_t timeout_ms,
                         stoa_answer *out);

/* Called every STOA_WAIT_MS while an answer is waited for, from within stoa_remote_ask; NULL: nobody is. */
enum { STOA_WAIT_MS = 250 };
void stoa_remote_on_wait(stoa_remote *remote, void (*on_wait)(void *context), void *context);
/* Another connection of its own to the same node. Errors: as new. */
stoa_err stoa_remote_beside(const stoa_remote *remote, stoa_remote **out);

/* Attach now, if it is not. Errors as above. */
stoa_err stoa_remote_attach(stoa_remote *remote, uint64_t timeout_ms);

/* What the node that is or was attached calls itself; "" before the first time. */
const char *stoa_remote_name(const stoa_remote *remote);
/* Whether it is attached, as far as is known. */
bool stoa_remote_attached(const stoa_remote *remote);
/* Whether another process answered than before, since this was asked last. */
bool stoa_remote_restarted(stoa_remote *remote);

#endif
