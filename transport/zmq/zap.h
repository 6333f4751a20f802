/* zmq/zap.h - who may connect: a ZAP 1.0 handler (https://rfc.zeromq.org/spec/27) with an allow-list of CURVE keys.
 *
 * One handler per libzmq context, on a thread of its own. A listed key is answered 200 with the key's Z85 text as
 * User-Id, which libzmq attaches to every message of the connection; everything else is answered 400. The list can be
 * replaced at any time and is asked again for names, so that a removed key has no name any more.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_ZMQ_ZAP_H
#define STOA_TRANSPORT_ZMQ_ZAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "transport/link.h"

typedef struct stoa_zap stoa_zap;

/* Answer the context's requests for domain from a new thread. Start before the first socket listens.
 * Errors: INVALID (key, name, a key twice), EXISTS (the context has a handler), NOMEM, IO. */
stoa_err stoa_zap_start(void *context, const char *domain, const stoa_link_allowed *allowed, uint32_t count,
                        stoa_zap **out);

/* End the thread and free; call after zmq_ctx_shutdown(context), which is what ends it. NULL is allowed. */
void stoa_zap_free(stoa_zap *zap);

/* Replace the list. Any thread. On an error the old one stays. Errors: as start. */
stoa_err stoa_zap_allow(stoa_zap *zap, const stoa_link_allowed *allowed, uint32_t count);

/* The name of a key (Z85) on the list; false when it is not listed. Any thread. */
bool stoa_zap_name(stoa_zap *zap, const char *public_key, char name_out[sizeof(((stoa_link_allowed *)0)->name)]);

/* Requests answered with 400 so far. Any thread. */
uint64_t stoa_zap_refused(const stoa_zap *zap);

#endif
