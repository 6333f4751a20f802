/* ofi/endpoint.c - messages over an endpoint of libfabric, as ofi/endpoint.h says.
 *
 * They come into buffers that are posted for whoever sends first, each as long as the longest message: a longer one would
 * break its connection inside the library. From there they are copied to their place, and the buffer is posted again at once. What
 * is sent goes from where it lies; from which size on the other side fetches it, the provider decides.
 *
 * libfabric connects with the first message, and says AGAIN until it has; after a peer's death it may say so for ever. The
 * door beside the connection bounds both. And it never says what became of a message that was to be fetched by a peer that
 * is no more: what is under way to an end is told as not sent some time after the end has gone, and the operation, which the
 * library may yet name, stays until the endpoint is closed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi/endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"

enum { OPERATIONS = 256, FORGET_MS = 2000, QUEUE = 4096, PEERS = 64, READ_MAX = 64, DRAIN_MS = 25 };

struct stoa_ofi_operations {
    struct stoa_ofi_operations *next;
    stoa_ofi_operation all[OPERATIONS];
};

/* --- what is under way */

static stoa_ofi_operation *operation_begin(stoa_ofi_endpoint *endpoint, stoa_carrier_end *end, void *token)
{
    if (!endpoint->free_operations) {
        stoa_ofi_operations *more = calloc(1, sizeof *more);
        if (!more) { return NULL; }
        more->next = endpoint->chunks;
        endpoint->chunks = more;
        for (unsigned i = 0; i < OPERATIONS; i++) {
            more->all[i].next = endpoint->free_operations;
            endpoint->free_operations = &more->all[i];
        }
    }
    stoa_ofi_operation *is = endpoint->free_operations;
    endpoint->free_operations = is->next;
    *is = (stoa_ofi_operation){.next = end->under_way, .at = &end->under_way, .token = token};
    if (is->next) { is->next->at = &is->next; }
    end->under_way = is;
    return is;
}

/* Its token, NULL: that was told. */
static void *operation_leave(stoa_ofi_operation *is)
{
    void *token = is->token;
    if (!token) { return NULL; }
    *is->at = is->next;
    if (is->next) { is->next->at = is->at; }
    is->token = NULL;
    return token;
}

static void *operation_end(stoa_ofi_endpoint *endpoint, stoa_ofi_operation *is)
{
    void *token = operation_leave(is);
    is->next = endpoint->free_operations;
    endpoint->free_operations = is;
    return token;
}

/* Ends that have been gone for long enough. */
static void forget(stoa_ofi_endpoint *endpoint, uint64_t now_ns)
{
    for (stoa_carrier_end **at = &endpoint->gone; *at;) {
        stoa_carrier_end *end = *at;
        if (end->under_way && now_ns < end->forget_ns) {
            at = &end->next;
            continue;
        }
        *at = end->next;
        while (end->under_way) {
            stoa_carrier_sent(operation_leave(end->under_way), false);
        }
        free(end);
    }
}

/* --- what comes */

static void post(stoa_ofi_endpoint *endpoint, stoa_ofi_buffer *into)
{
    void *context = &into->post[++into->times % STOA_OFI_POSTS];
    into->posted = fi_recv(endpoint->ep, into->bytes, endpoint->message_bytes, NULL, FI_ADDR_UNSPEC, context) == 0;
    endpoint->starved = endpoint->starved || !into->posted;
}

static void post_all(stoa_ofi_endpoint *endpoint)
{
    endpoint->starved = false;
    for (unsigned i = 0; i < STOA_OFI_BUFFERS; i++) {
        if (!endpoint->buffers[i].posted) { post(endpoint, &endpoint->buffers[i]); }
    }
}

/* The buffer that a context belongs to, NULL: it is of something sent. */
static stoa_ofi_buffer *buffer_of(stoa_ofi_endpoint *endpoint, const void *context)
{
    uintptr_t at = (uintptr_t)context, first = (uintptr_t)endpoint->buffers;
    bool is = at >= first && at < first + sizeof endpoint->buffers;
    return is ? &endpoint->buffers[(at - first) / sizeof endpoint->buffers[0]] : NULL;
}

static void take(stoa_ofi_endpoint *endpoint, stoa_ofi_buffer *from, size_t size_bytes)
{
    void *token = NULL;
    if (size_bytes < STOA_CARRIER_HEADER_BYTES || size_bytes > endpoint->message_bytes) { return; }
    uint32_t body_bytes = (uint32_t)size_bytes - STOA_CARRIER_HEADER_BYTES;
    void *to = stoa_carrier_place(endpoint->link, from->bytes, body_bytes, &token);
    if (!to) { return; }
    memcpy(to, from->bytes + STOA_CARRIER_HEADER_BYTES, body_bytes);
    stoa_carrier_landed(token, true);
}

static void complete(stoa_ofi_endpoint *endpoint, void *context, size_t size_bytes, bool good)
{
    stoa_ofi_buffer *from = buffer_of(endpoint, context);
    if (!from) {
        void *token = context ? operation_end(endpoint, context) : NULL;
        if (token) { stoa_carrier_sent(token, good); }
        return;
    }
    if (!from->posted || context != &from->post[from->times % STOA_OFI_POSTS]) { return; }
    from->posted = false;
    endpoint->wear += !good;
    if (good) { take(endpoint, from, size_bytes); }
    post(endpoint, from);
}

/* What the library says is done; it looks at its sockets for that, so not again where it has said all. */
uint32_t stoa_ofi_endpoint_progress(stoa_ofi_endpoint *endpoint)
{
    struct fi_cq_msg_entry entries[READ_MAX];
    struct fi_cq_err_entry failed = {0};
    ssize_t count = fi_cq_read(endpoint->cq, entries, READ_MAX);
    uint32_t moved = count > 0 ? (uint32_t)count : 0;
    for (ssize_t i = 0; i < count; i++) {
        complete(endpoint, entries[i].op_context, entries[i].len, true);
    }
    if (count == -FI_EAVAIL && fi_cq_readerr(endpoint->cq, &failed, 0) == 1) {
        complete(endpoint, failed.op_context, 0, false);
        moved = 1;
    }
    if (endpoint->starved) { post_all(endpoint); }
    if (endpoint->gone) { forget(endpoint, stoa_clock_real.now_ns(&stoa_clock_real)); }
    return moved;
}

/* --- what goes out */

/* What came, as the provider wants it: a socket address of our own family, with a port, and zeros where nothing belongs. The
 * first address of another family would have the provider refuse all that come later. */
static bool name_read(const stoa_ofi_endpoint *endpoint, const void *address, uint32_t size_bytes,
                      uint8_t name_out[STOA_CARRIER_ADDRESS_BYTES])
{
    const struct sockaddr *own = (const struct sockaddr *)(const void *)endpoint->name;
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    memset(name_out, 0, STOA_CARRIER_ADDRESS_BYTES);
    if (size_bytes != endpoint->name_bytes || memcmp(address, &own->sa_family, sizeof own->sa_family) != 0) {
        return false;
    }
    memcpy(name_out, address, size_bytes);
    if (own->sa_family == AF_INET && size_bytes == sizeof four) {
        memcpy(&four.sin_port, name_out + offsetof(struct sockaddr_in, sin_port), sizeof four.sin_port);
        memcpy(&four.sin_addr, name_out + offsetof(struct sockaddr_in, sin_addr), sizeof four.sin_addr);
        memcpy(name_out, &four, sizeof four);
        return four.sin_port != 0 && four.sin_addr.s_addr != 0;
    }
    if (own->sa_family == AF_INET6 && size_bytes == sizeof six) {
        memcpy(&six, name_out, sizeof six);
        six.sin6_flowinfo = 0;
        memcpy(name_out, &six, sizeof six);
        return six.sin6_port != 0 && !IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr);
    }
    return true; /* of an adapter: of the same kind and length as ours */
}

stoa_err stoa_ofi_endpoint_begin(stoa_ofi_endpoint *endpoint, void *owner, stoa_carrier_end **out)
{
    stoa_carrier_end *end = calloc(1, sizeof *end);
    if (!end) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a connection"); }
    end->endpoint = endpoint;
    end->address = FI_ADDR_UNSPEC;
    end->owner = owner;
    end->next = endpoint->ends;
    endpoint->ends = end;
    *out = end;
    return STOA_OK;
}

stoa_err stoa_ofi_endpoint_connect(stoa_carrier_end *end, const void *address, uint32_t size_bytes)
{
    uint8_t name[STOA_CARRIER_ADDRESS_BYTES];
    if (!name_read(end->endpoint, address, size_bytes, name)) { return STOA_E_MALFORMED; }
    fi_addr_t at = FI_ADDR_UNSPEC;
    if (fi_av_insert(end->endpoint->av, name, 1, &at, 0, NULL) != 1) {
        return STOA_FAIL(STOA_E_UNSUPPORTED, "libfabric: the other side's address is none");
    }
    end->address = at;
    return STOA_OK;
}

void stoa_ofi_endpoint_disconnect(stoa_carrier_end *end)
{
    stoa_ofi_endpoint *endpoint = end->endpoint;
    stoa_carrier_end **at = &endpoint->ends;
    bool connected = end->address != FI_ADDR_UNSPEC;
    if (connected) { (void)fi_av_remove(endpoint->av, &end->address, 1, 0); }
    while (*at != end) {
        at = &(*at)->next;
    }
    *at = end->next;
    endpoint->wear += connected;
    for (const stoa_ofi_operation *is = end->under_way; is; is = is->next) {
        endpoint->wear++;
    }
    end->forget_ns = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_MS(FORGET_MS);
    end->next = endpoint->gone;
    endpoint->gone = end;
}

stoa_err stoa_ofi_endpoint_send(stoa_carrier_end *end, const void *header, const void *body, uint32_t body_bytes,
                                void *token)
{
    stoa_ofi_endpoint *endpoint = end->endpoint;
    struct iovec parts[2] = {{.iov_len = STOA_CARRIER_HEADER_BYTES}, {.iov_len = body_bytes}};
    memcpy(&parts[0].iov_base, &header, sizeof header); /* the library does not write there, but says it may */
    memcpy(&parts[1].iov_base, &body, sizeof body);
    stoa_ofi_operation *is = operation_begin(endpoint, end, token);
    if (!is) { return STOA_E_AGAIN; }
    ssize_t rc = fi_sendv(endpoint->ep, parts, NULL, body_bytes ? 2 : 1, end->address, is);
    if (rc == 0) { return STOA_OK; }
    (void)operation_end(endpoint, is);
    return rc == -FI_EAGAIN ? STOA_E_AGAIN : STOA_E_CLOSED;
}

/* --- open and close */

static void close_fid(struct fid *fid)
{
    if (fid) { (void)fi_close(fid); }
}

static void free_ends(stoa_carrier_end *first)
{
    for (stoa_carrier_end *end; (end = first) != NULL;) {
        first = end->next;
        free(end);
    }
}

/* A connection that has come and of which rxm has read nothing would keep its descriptor for ever. It looks after those each 10 ms:
 * accepts in one look, reads in the next. Nobody hears any more of what else comes. */
static void drain(stoa_ofi_endpoint *endpoint)
{
    struct fi_cq_msg_entry entries[READ_MAX];
    struct fi_cq_err_entry failed = {0};
    for (unsigned ms = 0; ms < DRAIN_MS; ms++) {
        if (fi_cq_read(endpoint->cq, entries, READ_MAX) == -FI_EAVAIL) { (void)fi_cq_readerr(endpoint->cq, &failed, 0); }
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

void stoa_ofi_endpoint_close(stoa_ofi_endpoint *endpoint)
{
    if (!endpoint) { return; }
    if (endpoint->wear || endpoint->ends) { drain(endpoint); }
    close_fid(endpoint->ep ? &endpoint->ep->fid : NULL);
    forget(endpoint, UINT64_MAX); /* nothing is used by the library any more */
    close_fid(endpoint->cq ? &endpoint->cq->fid : NULL);
    close_fid(endpoint->av ? &endpoint->av->fid : NULL);
    if (endpoint->memory) { (void)munmap(endpoint->memory, (size_t)STOA_OFI_BUFFERS * endpoint->message_bytes); }
    free_ends(endpoint->ends);
    for (stoa_ofi_operations *chunk; (chunk = endpoint->chunks) != NULL;) {
        endpoint->chunks = chunk->next;
        free(chunk);
    }
    free(endpoint);
}

static int objects_make(stoa_ofi_endpoint *endpoint, struct fid_domain *domain, struct fi_info *info, int epoll)
{
    struct fi_cq_attr queue = {.format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_FD, .size = QUEUE};
    struct fi_av_attr table = {.type = FI_AV_TABLE, .count = PEERS};
    struct epoll_event event = {.events = EPOLLIN};
    int fd = -1, rc = fi_cq_open(domain, &queue, &endpoint->cq, NULL);
    if (!rc) { rc = fi_control(&endpoint->cq->fid, FI_GETWAIT, &fd); }
    if (!rc && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) { rc = -errno; }
    if (!rc) { rc = fi_av_open(domain, &table, &endpoint->av, NULL); }
    if (!rc) { rc = fi_endpoint(domain, info, &endpoint->ep, NULL); }
    if (!rc) { rc = fi_ep_bind(endpoint->ep, &endpoint->cq->fid, FI_TRANSMIT | FI_RECV); }
    if (!rc) { rc = fi_ep_bind(endpoint->ep, &endpoint->av->fid, 0); }
    if (!rc) { rc = fi_enable(endpoint->ep); }
    endpoint->name_bytes = sizeof endpoint->name;
    if (!rc) { rc = fi_getname(&endpoint->ep->fid, endpoint->name, &endpoint->name_bytes); }
    return rc;
}

static stoa_err buffers_make(stoa_ofi_endpoint *endpoint)
{
    void *memory = mmap(NULL, (size_t)STOA_OFI_BUFFERS * endpoint->message_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "no memory for %d messages", STOA_OFI_BUFFERS); }
    endpoint->memory = memory;
    for (unsigned i = 0; i < STOA_OFI_BUFFERS; i++) {
        endpoint->buffers[i].bytes = endpoint->memory + (size_t)i * endpoint->message_bytes;
    }
    post_all(endpoint);
    return STOA_OK;
}

stoa_err stoa_ofi_endpoint_open(struct fid_domain *domain, struct fi_info *info, int epoll, uint32_t message_bytes,
                                void *link, stoa_ofi_endpoint **out)
{
    stoa_ofi_endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint) { return STOA_FAIL(STOA_E_NOMEM, "no memory for an endpoint"); }
    endpoint->link = link;
    endpoint->message_bytes = message_bytes;
    int rc = objects_make(endpoint, domain, info, epoll);
    stoa_err err = rc ? STOA_FAIL(STOA_E_UNSUPPORTED, "libfabric: no endpoint: %s", fi_strerror(-rc)) : STOA_OK;
    if (!err) { err = buffers_make(endpoint); }
    if (err) {
        stoa_ofi_endpoint_close(endpoint);
        return err;
    }
    *out = endpoint;
    return STOA_OK;
}
