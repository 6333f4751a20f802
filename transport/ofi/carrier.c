/* ofi/carrier.c - messages are libfabric's, over a reliable datagram endpoint: tcp;ofi_rxm, or verbs;ofi_rxm, whose wait
 * descriptors can be slept on (net's spins, shm and sockets have none).
 *
 * A link has an endpoint, a completion queue and an address vector of its own. Messages come into buffers that are posted
 * for whoever sends first, each as long as the longest message: a longer one would break its connection inside the
 * library. From there they are copied to their place, and the buffer is posted again at once. What is sent goes from
 * where it lies; from which size on the other side fetches it, the provider decides.
 *
 * libfabric connects with the first message, and says AGAIN until it has; after a peer's death it may say so for ever. The
 * door beside the connection bounds both. And it never says what became of a message that was to be fetched by a peer that
 * is no more: what is under way to an end is told as not sent some time after the end has gone, and the operation, which the
 * library may yet name, is all that stays.
 *
 * Both sides must poll: progress is manual.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi/carrier.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>

#include "base/clock.h"

enum { OPERATIONS = 256, FORGET_MS = 2000 };
enum { BUFFERS = 32, POSTS = 64, QUEUE = 4096, PEERS = 64, READ_MAX = 16, PROGRESS_MAX = 64, API = FI_VERSION(1, 11) };

typedef struct operation {
    struct operation *next,
        **at;    /* of the end's that are under way, and what points to this one; or of the free ones */
    void *token; /* NULL: it was told already */
} operation;

struct stoa_carrier_end {
    fi_addr_t address;
    stoa_carrier_end *next; /* of those that are gone */
    uint64_t forget_ns;     /* when what is under way is told as not sent */
    operation *under_way;
};

typedef struct operations {
    struct operations *next;
    operation all[OPERATIONS];
} operations;

/* A large message is fetched in two parts, and where its sender dies meanwhile rxm tells two failures of the one buffer. So each
 * time a buffer is posted that has a context of its own, and what is told of an earlier time is not taken for this one's. */
typedef struct buffer {
    uint8_t *bytes;
    bool posted;
    uint32_t times;      /* posted so far */
    uint8_t post[POSTS]; /* contexts: the address of [times % POSTS] */
} buffer;

struct stoa_carrier {
    void *link; /* what stoa_carrier_place is called with */
    const char *provider;
    uint32_t message_bytes;
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_cq *cq;
    struct fid_ep *ep;
    int fd;
    uint8_t name[STOA_CARRIER_ADDRESS_BYTES];
    size_t name_bytes;
    uint8_t *memory; /* of the buffers */
    bool starved;    /* a buffer could not be posted */
    operation *free_operations;
    operations *chunks; /* in which they lie */
    stoa_carrier_end *gone;
    buffer buffers[BUFFERS];
};

static const struct {
    const char *transport, *provider;
} transports[] = {{"tcp", "tcp;ofi_rxm"}, {"verbs", "verbs;ofi_rxm"}};

static stoa_err fail(stoa_err err, const char *what, long number)
{
    return STOA_FAIL(err, "libfabric: %s: %s", what, fi_strerror((int)(number < 0 ? -number : number)));
}

/* --- what is under way */

static operation *operation_begin(stoa_carrier *carrier, stoa_carrier_end *end, void *token)
{
    if (!carrier->free_operations) {
        operations *more = calloc(1, sizeof *more);
        if (!more) { return NULL; }
        more->next = carrier->chunks;
        carrier->chunks = more;
        for (unsigned i = 0; i < OPERATIONS; i++) {
            more->all[i].next = carrier->free_operations;
            carrier->free_operations = &more->all[i];
        }
    }
    operation *is = carrier->free_operations;
    carrier->free_operations = is->next;
    *is = (operation){.next = end->under_way, .at = &end->under_way, .token = token};
    if (is->next) { is->next->at = &is->next; }
    end->under_way = is;
    return is;
}

/* Its token, NULL: that was told. */
static void *operation_leave(operation *is)
{
    void *token = is->token;
    if (!token) { return NULL; }
    *is->at = is->next;
    if (is->next) { is->next->at = is->at; }
    is->token = NULL;
    return token;
}

static void *operation_end(stoa_carrier *carrier, operation *is)
{
    void *token = operation_leave(is);
    is->next = carrier->free_operations;
    carrier->free_operations = is;
    return token;
}

/* Ends that have been gone for long enough. */
static void forget(stoa_carrier *carrier, uint64_t now_ns)
{
    for (stoa_carrier_end **at = &carrier->gone; *at;) {
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

static void post(stoa_carrier *carrier, buffer *into)
{
    void *context = &into->post[++into->times % POSTS];
    into->posted = fi_recv(carrier->ep, into->bytes, carrier->message_bytes, NULL, FI_ADDR_UNSPEC, context) == 0;
    carrier->starved = carrier->starved || !into->posted;
}

static void post_all(stoa_carrier *carrier)
{
    carrier->starved = false;
    for (unsigned i = 0; i < BUFFERS; i++) {
        if (!carrier->buffers[i].posted) { post(carrier, &carrier->buffers[i]); }
    }
}

/* The buffer that a context belongs to, NULL: it is of something sent. */
static buffer *buffer_of(stoa_carrier *carrier, const void *context)
{
    uintptr_t at = (uintptr_t)context, first = (uintptr_t)carrier->buffers;
    bool is = at >= first && at < first + sizeof carrier->buffers;
    return is ? &carrier->buffers[(at - first) / sizeof carrier->buffers[0]] : NULL;
}

static void take(stoa_carrier *carrier, buffer *from, size_t size_bytes)
{
    void *token = NULL;
    if (size_bytes < STOA_CARRIER_HEADER_BYTES || size_bytes > carrier->message_bytes) { return; }
    uint32_t body_bytes = (uint32_t)size_bytes - STOA_CARRIER_HEADER_BYTES;
    void *to = stoa_carrier_place(carrier->link, from->bytes, body_bytes, &token);
    if (!to) { return; }
    memcpy(to, from->bytes + STOA_CARRIER_HEADER_BYTES, body_bytes);
    stoa_carrier_landed(token, true);
}

static void complete(stoa_carrier *carrier, void *context, size_t size_bytes, bool good)
{
    buffer *from = buffer_of(carrier, context);
    if (!from) {
        void *token = context ? operation_end(carrier, context) : NULL;
        if (token) { stoa_carrier_sent(token, good); }
        return;
    }
    if (!from->posted || context != &from->post[from->times % POSTS]) { return; }
    from->posted = false;
    if (good) { take(carrier, from, size_bytes); }
    post(carrier, from);
}

static uint32_t progress(stoa_carrier *carrier)
{
    uint32_t moved = 0;
    while (moved < PROGRESS_MAX) {
        struct fi_cq_msg_entry entries[READ_MAX];
        ssize_t count = fi_cq_read(carrier->cq, entries, READ_MAX);
        if (count == -FI_EAVAIL) {
            struct fi_cq_err_entry failed = {0};
            if (fi_cq_readerr(carrier->cq, &failed, 0) != 1) { break; }
            complete(carrier, failed.op_context, 0, false);
            moved++;
            continue;
        }
        if (count <= 0) { break; }
        for (ssize_t i = 0; i < count; i++) {
            complete(carrier, entries[i].op_context, entries[i].len, true);
        }
        moved += (uint32_t)count;
    }
    if (carrier->starved) { post_all(carrier); }
    if (carrier->gone) { forget(carrier, stoa_clock_real.now_ns(&stoa_clock_real)); }
    return moved;
}

/* --- what goes out */

/* What came, as the provider wants it: a socket address of our own family, with a port, and zeros where nothing belongs. The
 * first address of another family would have the provider refuse all that come later. */
static bool name_read(const stoa_carrier *carrier, const void *address, uint32_t size_bytes,
                      uint8_t name_out[STOA_CARRIER_ADDRESS_BYTES])
{
    const struct sockaddr *own = (const struct sockaddr *)(const void *)carrier->name;
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    memset(name_out, 0, STOA_CARRIER_ADDRESS_BYTES);
    if (size_bytes != carrier->name_bytes || memcmp(address, &own->sa_family, sizeof own->sa_family) != 0) {
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

static stoa_err connect_end(stoa_carrier *carrier, const void *address, uint32_t size_bytes, void *owner,
                            stoa_carrier_end **out)
{
    uint8_t name[STOA_CARRIER_ADDRESS_BYTES];
    if (!name_read(carrier, address, size_bytes, name)) { return STOA_E_MALFORMED; }
    stoa_carrier_end *end = calloc(1, sizeof *end);
    if (!end) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a connection"); }
    (void)owner; /* that it is broken, the door says */
    int count = fi_av_insert(carrier->av, name, 1, &end->address, 0, NULL);
    if (count != 1) {
        free(end);
        return STOA_FAIL(STOA_E_UNSUPPORTED, "libfabric: the other side's address is none");
    }
    *out = end;
    return STOA_OK;
}

static void disconnect_end(stoa_carrier *carrier, stoa_carrier_end *end)
{
    (void)fi_av_remove(carrier->av, &end->address, 1, 0);
    end->forget_ns = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_MS(FORGET_MS);
    end->next = carrier->gone;
    carrier->gone = end;
}

static stoa_err send_message(stoa_carrier *carrier, stoa_carrier_end *end, const void *header, const void *body,
                             uint32_t body_bytes, void *token)
{
    struct iovec parts[2] = {{.iov_len = STOA_CARRIER_HEADER_BYTES}, {.iov_len = body_bytes}};
    memcpy(&parts[0].iov_base, &header, sizeof header); /* the library does not write there, but says it may */
    memcpy(&parts[1].iov_base, &body, sizeof body);
    operation *is = operation_begin(carrier, end, token);
    if (!is) { return STOA_E_AGAIN; }
    ssize_t rc = fi_sendv(carrier->ep, parts, NULL, body_bytes ? 2 : 1, end->address, is);
    if (rc == 0) { return STOA_OK; }
    (void)operation_end(carrier, is);
    return rc == -FI_EAGAIN ? STOA_E_AGAIN : STOA_E_CLOSED;
}

static int fd_of(stoa_carrier *carrier)
{
    return carrier->fd;
}

static bool arm(stoa_carrier *carrier)
{
    struct fid *queues[1] = {&carrier->cq->fid};
    return fi_trywait(carrier->fabric, queues, 1) == 0;
}

static uint32_t address_of(stoa_carrier *carrier, const struct sockaddr *here, uint8_t out[STOA_CARRIER_ADDRESS_BYTES])
{
    (void)here;
    memcpy(out, carrier->name, carrier->name_bytes);
    return (uint32_t)carrier->name_bytes;
}

/* --- open and close */

static void close_fid(struct fid *fid)
{
    if (fid) { (void)fi_close(fid); }
}

static void close_carrier(stoa_carrier *carrier)
{
    close_fid(carrier->ep ? &carrier->ep->fid : NULL);
    close_fid(carrier->cq ? &carrier->cq->fid : NULL);
    close_fid(carrier->av ? &carrier->av->fid : NULL);
    close_fid(carrier->domain ? &carrier->domain->fid : NULL);
    close_fid(carrier->fabric ? &carrier->fabric->fid : NULL);
    if (carrier->info) { fi_freeinfo(carrier->info); }
    if (carrier->memory) { (void)munmap(carrier->memory, (size_t)BUFFERS * carrier->message_bytes); }
    for (stoa_carrier_end *end; (end = carrier->gone) != NULL;) {
        carrier->gone = end->next;
        free(end);
    }
    for (operations *chunk; (chunk = carrier->chunks) != NULL;) {
        carrier->chunks = chunk->next;
        free(chunk);
    }
    free(carrier);
}

static stoa_err info_get(stoa_carrier *carrier, const struct sockaddr *local)
{
    char host[NI_MAXHOST] = "";
    socklen_t size_bytes =
        local && local->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (local) { (void)getnameinfo(local, size_bytes, host, sizeof host, NULL, 0, NI_NUMERICHOST); }
    struct fi_info *hints = fi_allocinfo();
    if (!hints) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    hints->ep_attr->type = FI_EP_RDM;
    hints->caps = FI_MSG;
    hints->mode = 0; /* an operation's context is a name to the provider, not its memory */
    hints->domain_attr->mr_mode = FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->domain_attr->control_progress = hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
    hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
    hints->tx_attr->msg_order = hints->rx_attr->msg_order = FI_ORDER_SAS;
    hints->fabric_attr->prov_name = strdup(carrier->provider);
    int rc = fi_getinfo(API, host[0] ? host : NULL, NULL, host[0] ? FI_SOURCE : 0, hints, &carrier->info);
    fi_freeinfo(hints);
    if (rc != 0) { return fail(STOA_E_UNSUPPORTED, carrier->provider, rc); }
    if (carrier->info->tx_attr->iov_limit < 2 || carrier->info->ep_attr->max_msg_size < carrier->message_bytes) {
        return STOA_FAIL(STOA_E_UNSUPPORTED, "libfabric: %s sends at most %zu bytes in %zu parts", carrier->provider,
                         carrier->info->ep_attr->max_msg_size, carrier->info->tx_attr->iov_limit);
    }
    return STOA_OK;
}

static int objects_make(stoa_carrier *carrier)
{
    struct fi_cq_attr queue = {.format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_FD, .size = QUEUE};
    struct fi_av_attr table = {.type = FI_AV_TABLE, .count = PEERS};
    int rc = fi_fabric(carrier->info->fabric_attr, &carrier->fabric, NULL);
    if (!rc) { rc = fi_domain(carrier->fabric, carrier->info, &carrier->domain, NULL); }
    if (!rc) { rc = fi_cq_open(carrier->domain, &queue, &carrier->cq, NULL); }
    if (!rc) { rc = fi_control(&carrier->cq->fid, FI_GETWAIT, &carrier->fd); }
    if (!rc) { rc = fi_av_open(carrier->domain, &table, &carrier->av, NULL); }
    if (!rc) { rc = fi_endpoint(carrier->domain, carrier->info, &carrier->ep, NULL); }
    if (!rc) { rc = fi_ep_bind(carrier->ep, &carrier->cq->fid, FI_TRANSMIT | FI_RECV); }
    if (!rc) { rc = fi_ep_bind(carrier->ep, &carrier->av->fid, 0); }
    if (!rc) { rc = fi_enable(carrier->ep); }
    carrier->name_bytes = sizeof carrier->name;
    if (!rc) { rc = fi_getname(&carrier->ep->fid, carrier->name, &carrier->name_bytes); }
    return rc;
}

static stoa_err buffers_make(stoa_carrier *carrier)
{
    void *memory = mmap(NULL, (size_t)BUFFERS * carrier->message_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "no memory for %d messages", BUFFERS); }
    carrier->memory = memory;
    for (unsigned i = 0; i < BUFFERS; i++) {
        carrier->buffers[i].bytes = carrier->memory + (size_t)i * carrier->message_bytes;
    }
    post_all(carrier);
    return STOA_OK;
}

static stoa_err open_carrier(const stoa_carrier_settings *settings, stoa_carrier **out)
{
    stoa_carrier *carrier = calloc(1, sizeof *carrier);
    if (!carrier) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    carrier->link = settings->context;
    carrier->message_bytes = STOA_CARRIER_HEADER_BYTES + settings->body_limit;
    for (unsigned i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        if (strcmp(transports[i].transport, settings->transport) == 0) { carrier->provider = transports[i].provider; }
    }
    STOA_ASSERT(carrier->provider);
    stoa_err err = info_get(carrier, settings->local);
    int rc = err ? 0 : objects_make(carrier);
    if (rc != 0) { err = fail(STOA_E_UNSUPPORTED, carrier->provider, rc); }
    if (!err) { err = buffers_make(carrier); }
    if (err) {
        close_carrier(carrier);
        return err;
    }
    *out = carrier;
    return STOA_OK;
}

static void describe(stoa_carrier *carrier, char *provider, size_t provider_bytes, char *note, size_t note_bytes)
{
    uint32_t version = fi_version();
    (void)snprintf(provider, provider_bytes, "libfabric %u.%u, %s", FI_MAJOR(version), FI_MINOR(version),
                   carrier->provider);
    (void)snprintf(note, note_bytes, "%s", "");
}

const stoa_carrier_ops stoa_ofi_carrier = {
    .name = "ofi",
    .open = open_carrier,
    .close = close_carrier,
    .address = address_of,
    .connect = connect_end,
    .disconnect = disconnect_end,
    .send = send_message,
    .progress = progress,
    .fd = fd_of,
    .arm = arm,
    .describe = describe,
};
