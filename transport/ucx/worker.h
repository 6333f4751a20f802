/* ucx/worker.h - a UCX worker: sockets, memory and a port of their own, for one connection.
 *
 * UCX 1.13 knows a connection by the two workers it joins. Where the same two connect and drop again within milliseconds it finds
 * what is left of the one before in a state it does not expect, and ends the process (uct/tcp/tcp_ep.c). Two workers that have
 * met never meet again here: each is made for a connection and goes with it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_UCX_WORKER_H
#define STOA_TRANSPORT_UCX_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include <ucp/api/ucp.h>

#include "transport/fabric/carrier.h"
#include "transport/ucx/address.h"
#include "transport/ucx/means.h"

enum { STOA_UCX_MESSAGE_ID = 1 };

typedef struct stoa_ucx_worker {
    ucp_worker_h worker;
    ucp_address_t *address;
    size_t address_bytes;
    int fd; /* readable when it has work, once it is armed; UCX's own */
    bool tcp;
    stoa_ucx_address own; /* over tcp: address, taken apart */
} stoa_ucx_worker;

/* A worker of context, over tcp where there are ports, else NULL; one at a time is made in a process. on_message gets what comes, with argument. It
 * blocks for what it takes to make one, below a millisecond; half a second where other processes take the last ports of a range meanwhile:
 * then a thread waits in UCX until one is free, and until then all are FULL.
 * Errors: FULL (ucx/means.h), UNSUPPORTED (its address has another form than 1.13 has), NOMEM, IO; out is closed then. */
stoa_err stoa_ucx_worker_open(stoa_ucx_worker *out, ucp_context_h context, const stoa_ucx_ports *ports,
                              ucp_am_recv_callback_t on_message, void *argument);
/* What is under way is cancelled: its callbacks come from within, or not at all, and its memory is not used afterwards. It leaves the
 * sets it is in. One that is zeroed, or closed, is closed. */
void stoa_ucx_worker_close(stoa_ucx_worker *worker);

/* As stoa_carrier_ops' member. */
uint32_t stoa_ucx_worker_address(const stoa_ucx_worker *worker, const struct sockaddr *here,
                                 uint8_t out[STOA_CARRIER_ADDRESS_BYTES]);
/* What came from the other side, in a buffer that is longer than UCX can read. Errors: MALFORMED, UNSUPPORTED. */
stoa_err stoa_ucx_worker_address_read(const stoa_ucx_worker *worker, const void *address, uint32_t size_bytes,
                                      uint8_t blob_out[STOA_UCX_BLOB_BYTES]);

/* As ucp_cleanup, once no worker is being made any more; NULL is allowed. Does not wait. */
void stoa_ucx_context_close(ucp_context_h context);

/* What UCX says, with the trail begun. */
stoa_err stoa_ucx_fail(stoa_err err, const char *what, ucs_status_t status);

#endif
