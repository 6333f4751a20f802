/* ucx/address.h - where a UCX worker is found, in a form of our own.
 *
 * UCX believes an address: it gets no length, and asserts on what it does not understand. So what the other side sends is never
 * given to it. Over tcp an address is 28 bytes, all of which may be anything:
 *
 *     u8 1, u8 0 (loopback), 4 or 6, u16 port, u64 uuid of the worker, the IP address in 16 bytes       port as in a sockaddr
 *
 * and UCX gets a copy of our own worker's address with these three in their places, in a buffer longer than it can read. An
 * interface with several addresses is named by the one that UCX listens at. Other transports have no form of ours yet.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_UCX_ADDRESS_H
#define STOA_TRANSPORT_UCX_ADDRESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

enum { STOA_UCX_ADDRESS_BYTES = 28, STOA_UCX_BLOB_BYTES = 1024, STOA_UCX_DEVICES = 16 };

/* One interface in an address of UCX's. */
typedef struct stoa_ucx_device {
    size_t at, bytes, length_at, ip_at, port_at; /* in the blob */
    uint8_t ip_bytes;                            /* 0: loopback */
} stoa_ucx_device;

/* Our worker's address, taken apart. */
typedef struct stoa_ucx_address {
    uint8_t blob[STOA_UCX_BLOB_BYTES];
    size_t blob_bytes;
    unsigned count;
    stoa_ucx_device devices[STOA_UCX_DEVICES];
} stoa_ucx_address;

/* Take apart what UCX says of our worker over tcp. Errors: UNSUPPORTED (another form than 1.13 has). */
stoa_err stoa_ucx_address_take(stoa_ucx_address *own, const void *blob, size_t blob_bytes);

/* Write it for who is connected to us at here, NULL: not known. */
void stoa_ucx_address_write(const stoa_ucx_address *own, const struct sockaddr *here,
                            uint8_t out[STOA_UCX_ADDRESS_BYTES]);

/* What came from the other side, as UCX wants it. Errors: MALFORMED; UNSUPPORTED (we have no interface that leads there). */
stoa_err stoa_ucx_address_read(const stoa_ucx_address *own, const uint8_t *bytes, size_t size_bytes,
                               uint8_t blob_out[STOA_UCX_BLOB_BYTES]);

#endif
