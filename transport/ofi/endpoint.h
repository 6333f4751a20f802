/* ofi/endpoint.h - one endpoint of libfabric, with a completion queue and an address vector of its own, and the ends that use it.
 *
 * It wears out. libfabric 1.17 (ofi_rxm) never gives back what was under way with a peer that died: 16 KiB for each large
 * message that the peer was to fetch, and one of the 2048 that an endpoint may send at all; as much for each that was being fetched
 * from it. What may have been lost so is counted, and carrier.c opens another endpoint before it is too much.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_OFI_ENDPOINT_H
#define STOA_TRANSPORT_OFI_ENDPOINT_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>

#include "transport/fabric/carrier.h"

enum { STOA_OFI_BUFFERS = 32, STOA_OFI_POSTS = 64 };

typedef struct stoa_ofi_operation {
    struct stoa_ofi_operation *next,
        **at;    /* of the end's that are under way, and what points to this one; or of the free ones */
    void *token; /* NULL: it was told already */
} stoa_ofi_operation;

typedef struct stoa_ofi_operations stoa_ofi_operations;
typedef struct stoa_ofi_endpoint stoa_ofi_endpoint;

struct stoa_carrier_end {
    stoa_ofi_endpoint *endpoint;
    fi_addr_t address; /* FI_ADDR_UNSPEC until it is connected */
    void *owner;
    stoa_carrier_end *next; /* of those that are in use, or gone */
    uint64_t forget_ns;     /* gone: when what is under way is told as not sent */
    stoa_ofi_operation *under_way;
};

/* A large message is fetched in two parts, and where its sender dies meanwhile rxm tells two failures of the one buffer. So each
 * time a buffer is posted that has a context of its own, and what is told of an earlier time is not taken for this one's. */
typedef struct stoa_ofi_buffer {
    uint8_t *bytes;
    bool posted;
    uint32_t times;               /* posted so far */
    uint8_t post[STOA_OFI_POSTS]; /* contexts: the address of [times % POSTS] */
} stoa_ofi_buffer;

struct stoa_ofi_endpoint {
    void *link; /* what stoa_carrier_place is called with */
    uint32_t message_bytes;
    struct fid_av *av;
    struct fid_cq *cq;
    struct fid_ep *ep;
    uint8_t name[STOA_CARRIER_ADDRESS_BYTES];
    size_t name_bytes;
    uint8_t *memory; /* of the buffers */
    bool starved;    /* a buffer could not be posted */
    uint32_t wear;   /* at most so many messages, and connections, were lost inside the library */
    stoa_ofi_operation *free_operations;
    stoa_ofi_operations *chunks; /* in which they lie */
    stoa_carrier_end *ends, *gone;
    stoa_ofi_buffer buffers[STOA_OFI_BUFFERS];
};

/* To be slept on in epoll. Errors: NOMEM, UNSUPPORTED. */
stoa_err stoa_ofi_endpoint_open(struct fid_domain *domain, struct fi_info *info, int epoll, uint32_t message_bytes,
                                void *link, stoa_ofi_endpoint **out);
/* NULL is none. What is under way of ends that are gone is told as not sent, the others' is forgotten. */
void stoa_ofi_endpoint_close(stoa_ofi_endpoint *endpoint);

/* As stoa_carrier_ops' members. */
stoa_err stoa_ofi_endpoint_begin(stoa_ofi_endpoint *endpoint, void *owner, stoa_carrier_end **out);
stoa_err stoa_ofi_endpoint_connect(stoa_carrier_end *end, const void *address, uint32_t size_bytes);
void stoa_ofi_endpoint_disconnect(stoa_carrier_end *end);
stoa_err stoa_ofi_endpoint_send(stoa_carrier_end *end, const void *header, const void *body, uint32_t body_bytes,
                                void *token);
uint32_t stoa_ofi_endpoint_progress(stoa_ofi_endpoint *endpoint);

#endif
