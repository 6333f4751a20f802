/* ucx/carrier.c - messages are UCX active messages: the header is the message's header, small bodies come with it, large ones
 * are fetched straight to their place in the receiver's ring (rendezvous; UCX decides from which size on).
 *
 * A link has a context of its own, and each of its connections a worker of its own (ucx/worker.h), from begin until it is disconnected
 * and nothing of it is under way. tcp uses the interface that leads to the others and nothing else, not even shared memory on the
 * same host; rdma uses what InfiniBand and RoCE devices there are. UCX keeps a thread of its own for new connections between workers.
 *
 * UCX 1.13 ends the process, too, where a connection fails or is closed while it is being made and something of UCX's own waits for
 * that ("ucp_request.c: got REP message", "wireup_ep->pending_count == 0"). So over tcp nothing ever waits:
 *
 *     dials      connects. Its first message, a short one, goes when it can go at once; until then send says AGAIN
 *     listens    does not connect before a message has come: it gets the same socket, for the other direction, and then does likewise
 *
 * Neither a connection each way nor a request for one (UCX's wireup) is under way when the other side's death, or ours, is noticed.
 *
 * A worker is awake, and progress looks at it, or asleep: armed, its descriptor in the owner's set. A few are always awake; of many
 * those are woken whose descriptors say so.
 *
 * UCX believes what comes to its ports. Over tcp whoever reaches one writes where it likes in this process: a "put" names an
 * address and is obeyed, with no key of ours and none of UCX's (1.13, uct/tcp/tcp_ep.c). So fabric/link.c refuses an address that
 * leaves this machine unless the network is fenced. One-sided writes of the layer above are asked for only where frames are
 * not encrypted either.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ucx/carrier.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/ucx/worker.h"

enum {
    CLOSE_MS = 1000, /* how long what is under way may take to be cancelled */
    FEW = 4, /* workers: to look at each costs no more than to ask which */
    WAKE_MAX = 64,
    OPERATIONS = 256, /* of a connection: 16 batches, 4 credits, 64 arrivals, 56 of its writes */
    FARS = 8,
    KEY_ROOM = 1024
};

/* Something given to UCX, until it has told. */
typedef struct operation {
    stoa_carrier_end *end;
    void *token; /* NULL: free */
    bool fetches;
} operation;

struct stoa_carrier_end {
    stoa_carrier *carrier;
    stoa_carrier_end *next, **at; /* of those that are awake, or asleep, and what points to this one */
    stoa_carrier_end *next_gone;
    uint64_t until_ns; /* gone: when it ends whatever is under way */
    void *owner;       /* NULL: disconnected */
    stoa_ucx_worker worker;
    ucp_ep_h ep;   /* NULL: not yet, or not any more */
    bool asleep;   /* armed */
    bool has_blob; /* where to connect to is known */
    bool called;   /* a message has come */
    bool made;     /* one has gone */
    bool broken;
    uint32_t under_way, cursor, far_count;
    ucp_rkey_h fars[FARS];
    uint8_t blob[STOA_UCX_BLOB_BYTES];
    operation operations[OPERATIONS];
};

struct stoa_carrier {
    void *link; /* what stoa_carrier_place is called with */
    const char *transport;
    ucp_context_h context;
    stoa_ucx_ports ports; /* over tcp */
    int epoll, own_epoll; /* the owner's set, and the same for this file to ask */
    bool tcp, listens;
    uint32_t body_limit;
    bool one_sided; /* settings */
    bool writes;    /* memory from afar */
    bool hurries;   /* an end has gone since progress */
    uint32_t count; /* ends */
    stoa_carrier_end *awake, *asleep, *gone;
};

static const struct {
    const char *transport, *layers; /* UCX_TLS */
    bool writes;
} transports[] = {{"tcp", "tcp", false}, {"rdma", "rc,ud,self", true}};
static const char range_setting[] = "UCX_TCP_PORT_RANGE";
static const char writes_setting[] = "STOA_UCX_WRITES"; /* in the environment: whatever the transport */

/* Over tcp, whatever the environment says: an address is one that ucx/address.c can take apart; to connect does not block; who is gone
 * the door notices, without a timer of UCX's for each worker; and one socket is looked at a time. Two that call each other at once may
 * have a connection each way, and where both have ended when their sockets are looked at in one go - the other process was killed - UCX
 * ends this one, too (1.13, uct/tcp/tcp_iface.c: the second is closed already). */
static const struct {
    const char *name, *value;
} over_tcp[] = {{"ADDRESS_VERSION", "v1"}, {"ADDRESS_DEBUG_INFO", "n"}, {"UNIFIED_MODE", "n"},
              {"CONN_NB", "y"}, {"TCP_CONN_NB", "y"}, {"RESOLVE_REMOTE_EP_ID", "n"},
              {"MAX_POLL", "1"}, {"TCP_MAX_POLL", "1"} /* by its name in 1.13; in later ones */};

/* --- which are awake */

static void enter(stoa_carrier_end *end, stoa_carrier_end **list)
{
    end->next = *list;
    end->at = list;
    if (end->next) { end->next->at = &end->next; }
    *list = end;
    end->asleep = list == &end->carrier->asleep;
}

static void leave(stoa_carrier_end *end)
{
    *end->at = end->next;
    if (end->next) { end->next->at = end->at; }
}

static void wake(stoa_carrier_end *end)
{
    if (!end->asleep) { return; }
    leave(end);
    enter(end, &end->carrier->awake);
}

/* False: it has work. */
static bool sleeps(stoa_carrier_end *end)
{
    if (ucp_worker_arm(end->worker.worker) != UCS_OK) { return false; }
    leave(end);
    enter(end, &end->carrier->asleep);
    return true;
}

static void wake_ready(stoa_carrier *carrier)
{
    struct epoll_event events[WAKE_MAX];
    while (carrier->count <= FEW && carrier->asleep) {
        wake(carrier->asleep);
    }
    int ready = carrier->asleep ? epoll_wait(carrier->own_epoll, events, WAKE_MAX, 0) : 0;
    for (int i = 0; i < ready; i++) {
        wake(events[i].data.ptr);
    }
}

/* --- what is under way */

/* NULL: there is no room. */
static operation *operation_begin(stoa_carrier_end *end, void *token, bool fetches)
{
    if (end->under_way == OPERATIONS) { return NULL; }
    while (end->operations[end->cursor].token) {
        end->cursor = (end->cursor + 1) % OPERATIONS;
    }
    operation *is = &end->operations[end->cursor];
    *is = (operation){end, token, fetches};
    end->under_way++;
    return is;
}

static void *operation_end(operation *is)
{
    void *token = is->token;
    is->token = NULL;
    is->end->under_way--;
    return token;
}

/* Where one fails the end has, before UCX says so: it is not to be used any more. */
static void operation_tell(operation *is, bool good)
{
    bool fetches = is->fetches;
    is->end->broken = is->end->broken || !good;
    void *token = operation_end(is);
    if (fetches) {
        stoa_carrier_landed(token, good);
    } else {
        stoa_carrier_sent(token, good);
    }
}

static void on_fetched(void *request, ucs_status_t status, size_t size_bytes, void *is)
{
    (void)size_bytes;
    ucp_request_free(request);
    operation_tell(is, status == UCS_OK);
}

static void on_sent(void *request, ucs_status_t status, void *is)
{
    ucp_request_free(request);
    operation_tell(is, status == UCS_OK);
}

/* --- what comes */

/* A message's header and its body, or what the body can be fetched with. */
static ucs_status_t on_message(void *context, const void *header, size_t header_bytes, void *data, size_t size_bytes,
                               const ucp_am_recv_param_t *param)
{
    stoa_carrier_end *end = context;
    void *token = NULL;
    end->called = true;
    if (!end->owner || header_bytes != STOA_CARRIER_HEADER_BYTES || size_bytes > end->carrier->body_limit) {
        return UCS_OK;
    }
    void *to = stoa_carrier_place(end->carrier->link, header, (uint32_t)size_bytes, &token);
    if (!to) { return UCS_OK; }
    if (!(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)) {
        memcpy(to, data, size_bytes);
        stoa_carrier_landed(token, true);
        return UCS_OK;
    }
    operation *is = operation_begin(end, token, true);
    ucp_request_param_t params = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
        .cb.recv_am = on_fetched,
        .user_data = is,
    };
    if (!is) {
        stoa_carrier_landed(token, false);
        return UCS_OK;
    }
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(end->worker.worker, data, to, size_bytes, &params);
    if (UCS_PTR_IS_ERR(request)) { operation_tell(is, false); }
    return UCS_OK;
}

/* --- ends */

static void end_broken(stoa_carrier_end *end)
{
    end->broken = true;
    if (end->owner) { stoa_carrier_broken(end->owner); }
}

static void on_broken(void *context, ucp_ep_h ep, ucs_status_t status)
{
    (void)ep, (void)status;
    end_broken(context);
}

static stoa_err watch(stoa_carrier_end *end)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    bool both = epoll_ctl(end->carrier->epoll, EPOLL_CTL_ADD, end->worker.fd, &event) == 0 &&
                epoll_ctl(end->carrier->own_epoll, EPOLL_CTL_ADD, end->worker.fd, &event) == 0;
    return both ? STOA_OK : STOA_FAIL(STOA_E_IO, "no descriptor for UCX");
}

/* A child that was forked meanwhile may have the descriptor open, too, which would stay in the sets then. */
static void unwatch(const stoa_carrier_end *end)
{
    (void)epoll_ctl(end->carrier->epoll, EPOLL_CTL_DEL, end->worker.fd, NULL);
    (void)epoll_ctl(end->carrier->own_epoll, EPOLL_CTL_DEL, end->worker.fd, NULL);
}

/* Nothing of it is used by UCX afterwards. */
static void end_close(stoa_carrier_end *end)
{
    while (end->far_count > 0) {
        ucp_rkey_destroy(end->fars[--end->far_count]);
    }
    unwatch(end);
    stoa_ucx_worker_close(&end->worker);
    for (unsigned i = 0; i < OPERATIONS && end->under_way > 0; i++) {
        if (end->operations[i].token) { operation_tell(&end->operations[i], false); }
    }
    leave(end);
    end->carrier->count--;
    free(end);
}

static stoa_err worker_open(const stoa_carrier *carrier, stoa_ucx_worker *out, stoa_carrier_end *end)
{
    return stoa_ucx_worker_open(out, carrier->context, carrier->tcp ? &carrier->ports : NULL, on_message, end);
}

static stoa_err begin_end(stoa_carrier *carrier, void *owner, stoa_carrier_end **out)
{
    stoa_carrier_end *end = calloc(1, sizeof *end);
    if (!end) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a connection"); }
    end->carrier = carrier;
    end->owner = owner;
    enter(end, &carrier->awake);
    carrier->count++;
    stoa_err err = worker_open(carrier, &end->worker, end);
    if (!err) { err = watch(end); }
    if (err) {
        end_close(end);
        return err;
    }
    *out = end;
    return STOA_OK;
}

static stoa_err call(stoa_carrier_end *end)
{
    ucp_ep_params_t params = {
        .field_mask =
            UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLER | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
        .address = (const ucp_address_t *)(const void *)end->blob,
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {on_broken, end},
    };
    wake(end);
    ucs_status_t status = ucp_ep_create(end->worker.worker, &params, &end->ep);
    if (status == UCS_OK) { return STOA_OK; }
    end->ep = NULL;
    return stoa_ucx_fail(STOA_E_UNSUPPORTED, "the other side cannot be reached", status);
}

static stoa_err connect_end(stoa_carrier *carrier, stoa_carrier_end *end, const void *address, uint32_t size_bytes)
{
    stoa_err err = stoa_ucx_worker_address_read(&end->worker, address, size_bytes, end->blob);
    end->has_blob = !err;
    return err || (carrier->tcp && carrier->listens) ? err : call(end);
}

static void disconnect_end(stoa_carrier *carrier, stoa_carrier_end *end)
{
    ucp_request_param_t params = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_EP_CLOSE_FLAG_FORCE};
    end->owner = NULL;
    wake(end);
    ucs_status_ptr_t closing = end->ep ? ucp_ep_close_nbx(end->ep, &params) : NULL;
    if (UCS_PTR_IS_PTR(closing)) { ucp_request_free(closing); }
    end->ep = NULL;
    end->until_ns = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_MS(CLOSE_MS);
    end->next_gone = carrier->gone;
    carrier->gone = end;
    carrier->hurries = true;
}

/* Close those that are gone and have nothing under way, or for too long. */
static void sweep(stoa_carrier *carrier)
{
    uint64_t now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    for (stoa_carrier_end **at = &carrier->gone; *at;) {
        stoa_carrier_end *end = *at;
        if (end->under_way > 0 && now_ns < end->until_ns) {
            at = &end->next_gone;
            continue;
        }
        *at = end->next_gone;
        end_close(end);
    }
}

/* --- what goes out */

/* What an operation's return says; on_sent comes later, or has no reason to. */
static stoa_err begun(ucs_status_ptr_t request, operation *is)
{
    if (UCS_PTR_IS_PTR(request)) { return STOA_OK; }
    if (request) {
        (void)operation_end(is);
        return UCS_PTR_STATUS(request) == UCS_ERR_NO_RESOURCE ? STOA_E_AGAIN : STOA_E_CLOSED;
    }
    operation_tell(is, true);
    return STOA_OK;
}

static ucp_request_param_t params_of(operation *is)
{
    return (ucp_request_param_t){.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                                 .cb.send = on_sent,
                                 .user_data = is};
}

static stoa_err send_message(stoa_carrier *carrier, stoa_carrier_end *end, const void *header, const void *body,
                             uint32_t body_bytes, void *token)
{
    if (end->broken) { return STOA_E_CLOSED; }
    operation *is = end->ep ? operation_begin(end, token, false) : NULL;
    if (!is) { return STOA_E_AGAIN; }
    ucp_request_param_t params = params_of(is);
    if (carrier->tcp && !end->made) { params.op_attr_mask |= UCP_OP_ATTR_FLAG_FORCE_IMM_CMPL; }
    wake(end);
    stoa_err err = begun(
        ucp_am_send_nbx(end->ep, STOA_UCX_MESSAGE_ID, header, STOA_CARRIER_HEADER_BYTES, body, body_bytes, &params), is);
    end->made = end->made || !err;
    return err;
}

/* Whether there was something to do. */
static bool step(stoa_carrier_end *end)
{
    if (end->called && !end->ep && !end->broken && end->owner && end->has_blob && call(end) != STOA_OK) {
        end_broken(end);
    }
    return ucp_worker_progress(end->worker.worker) != 0;
}

/* One step of each that is awake. Not another one, though some had something to do: a system call each, and what came waits. */
static uint32_t progress(stoa_carrier *carrier)
{
    uint32_t moved = 0;
    wake_ready(carrier);
    carrier->hurries = false;
    for (stoa_carrier_end *end = carrier->awake, *next; end; end = next) {
        next = end->next;
        bool steps = step(end);
        moved += steps;
        if (!steps && carrier->count > FEW) { (void)sleeps(end); }
    }
    if (carrier->gone) { sweep(carrier); }
    return moved;
}

static bool arm(stoa_carrier *carrier)
{
    while (carrier->awake && !carrier->hurries && sleeps(carrier->awake)) {}
    return !carrier->awake && !carrier->hurries;
}

static uint32_t address_of(stoa_carrier *carrier, const stoa_carrier_end *end, const struct sockaddr *here,
                           uint8_t out[STOA_CARRIER_ADDRESS_BYTES])
{
    (void)carrier;
    return stoa_ucx_worker_address(&end->worker, here, out);
}

/* --- memory that is written and read from afar */

static stoa_err expose_memory(stoa_carrier *carrier, void *memory, uint64_t size_bytes, uint8_t *key_out,
                              uint32_t key_bytes_max, uint32_t *key_bytes_out, void **region_out)
{
    ucp_mem_map_params_t params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH,
                                   .address = memory,
                                   .length = size_bytes};
    ucp_mem_h handle = NULL;
    void *key = NULL;
    size_t key_bytes = 0;
    if (!carrier->writes) { /* no key, so nobody will */
        *key_bytes_out = 0;
        *region_out = NULL;
        return STOA_OK;
    }
    ucs_status_t status = ucp_mem_map(carrier->context, &params, &handle);
    if (status != UCS_OK) { return stoa_ucx_fail(STOA_E_NOMEM, "memory cannot be registered", status); }
    status = ucp_rkey_pack(carrier->context, handle, &key, &key_bytes);
    bool fits = status == UCS_OK && key_bytes <= key_bytes_max;
    if (fits) {
        memcpy(key_out, key, key_bytes);
        *key_bytes_out = (uint32_t)key_bytes;
        *region_out = handle;
    }
    if (key) { ucp_rkey_buffer_release(key); }
    if (fits) { return STOA_OK; }
    (void)ucp_mem_unmap(carrier->context, handle);
    return stoa_ucx_fail(STOA_E_IO, "the key of registered memory", status);
}

static void conceal_memory(stoa_carrier *carrier, void *region)
{
    (void)ucp_mem_unmap(carrier->context, region);
}

static stoa_err reach(stoa_carrier *carrier, stoa_carrier_end *end, const uint8_t *key, uint32_t key_bytes,
                      void **far_out)
{
    uint8_t whole[KEY_ROOM] = {0}; /* longer than UCX can read, for it gets no length */
    ucp_rkey_h far = NULL;
    (void)carrier;
    if (key_bytes > KEY_ROOM / 2) { return STOA_E_MALFORMED; }
    memcpy(whole, key, key_bytes);
    if (end->far_count == FARS) { return STOA_E_FULL; }
    if (!end->ep || ucp_ep_rkey_unpack(end->ep, whole, &far) != UCS_OK) { return STOA_E_MALFORMED; }
    end->fars[end->far_count++] = far;
    *far_out = far;
    return STOA_OK;
}

/* UCX would end the process where a broken end is used. Errors: CLOSED, AGAIN. */
static stoa_err operation_open(stoa_carrier_end *end, void *token, operation **out)
{
    if (end->broken || !end->ep) { return STOA_E_CLOSED; }
    wake(end);
    *out = operation_begin(end, token, false);
    return *out ? STOA_OK : STOA_E_AGAIN;
}

static stoa_err write_memory(stoa_carrier *carrier, stoa_carrier_end *end, void *far, uint64_t address,
                             const void *bytes, uint32_t size_bytes, void *token)
{
    operation *is = NULL;
    (void)carrier;
    stoa_err err = operation_open(end, token, &is);
    if (err) { return err; }
    ucp_request_param_t params = params_of(is);
    return begun(ucp_put_nbx(end->ep, bytes, size_bytes, address, far, &params), is);
}

static stoa_err read_memory(stoa_carrier *carrier, stoa_carrier_end *end, void *far, uint64_t address, void *bytes,
                            uint32_t size_bytes, void *token)
{
    operation *is = NULL;
    (void)carrier;
    stoa_err err = operation_open(end, token, &is);
    if (err) { return err; }
    ucp_request_param_t params = params_of(is);
    return begun(ucp_get_nbx(end->ep, bytes, size_bytes, address, far, &params), is);
}

static stoa_err settle(stoa_carrier *carrier, stoa_carrier_end *end, void *token)
{
    operation *is = NULL;
    (void)carrier;
    stoa_err err = operation_open(end, token, &is);
    if (err) { return err; }
    ucp_request_param_t params = params_of(is);
    return begun(ucp_ep_flush_nbx(end->ep, &params), is);
}

/* --- open and close */

static void close_carrier(stoa_carrier *carrier)
{
    uint64_t until_ns = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_MS(CLOSE_MS);
    while (carrier->gone && stoa_clock_real.now_ns(&stoa_clock_real) < until_ns) {
        (void)progress(carrier);
    }
    while (carrier->gone) {
        stoa_carrier_end *end = carrier->gone;
        carrier->gone = end->next_gone;
        end_close(end);
    }
    stoa_ucx_context_close(carrier->context);
    if (carrier->own_epoll >= 0) { (void)close(carrier->own_epoll); }
    free(carrier);
}

static bool same_host(const struct sockaddr *a, const struct sockaddr *b)
{
    if (!b || a->sa_family != b->sa_family) { return false; }
    if (a->sa_family == AF_INET) {
        return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr,
                      &((const struct sockaddr_in *)(const void *)b)->sin_addr, sizeof(struct in_addr)) == 0;
    }
    return a->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* The address that UCX listens at on an interface: its first, IPv4 before IPv6. */
static void address_of_device(const struct ifaddrs *all, const char *device, struct sockaddr_storage *out)
{
    static const struct {
        sa_family_t family;
        size_t bytes;
    } rows[] = {{AF_INET, sizeof(struct sockaddr_in)}, {AF_INET6, sizeof(struct sockaddr_in6)}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
            if (!at->ifa_addr || at->ifa_addr->sa_family != rows[i].family || strcmp(at->ifa_name, device) != 0) { continue; }
            memcpy(out, at->ifa_addr, rows[i].bytes);
            return;
        }
    }
}

/* The interface with this address; loopback has more than one. "all" where it is not known. at_out: where UCX will listen on it. */
static void device_of(const struct sockaddr *local, char out[IF_NAMESIZE], struct sockaddr_storage *at_out)
{
    struct ifaddrs *all = NULL;
    *at_out = (struct sockaddr_storage){.ss_family = AF_INET};
    (void)snprintf(out, IF_NAMESIZE, "all");
    if (!local || getifaddrs(&all) != 0) { return; }
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)local;
    bool loops = local->sa_family == AF_INET && ntohl(four->sin_addr.s_addr) >> 24 == 127;
    for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
        if (same_host(local, at->ifa_addr) || (loops && at->ifa_flags & IFF_LOOPBACK)) {
            (void)snprintf(out, IF_NAMESIZE, "%s", at->ifa_name);
            break;
        }
    }
    address_of_device(all, out, at_out);
    freeifaddrs(all);
}

static stoa_err context_open(stoa_carrier *carrier, const struct sockaddr *local)
{
    char device[IF_NAMESIZE];
    const char *layers = NULL;
    ucp_config_t *config = NULL;
    for (unsigned i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        if (strcmp(transports[i].transport, carrier->transport) != 0) { continue; }
        layers = transports[i].layers;
        carrier->writes = carrier->one_sided && (transports[i].writes || getenv(writes_setting));
    }
    STOA_ASSERT(layers);
    const char *range = getenv(range_setting);
    stoa_err err = carrier->tcp ? stoa_ucx_ports_read(range, &carrier->ports) : STOA_OK;
    if (err) { return err; }
    ucs_status_t status = ucp_config_read(NULL, NULL, &config);
    if (status != UCS_OK) { return stoa_ucx_fail(STOA_E_INVALID, "its settings in the environment (UCX_...)", status); }
    status = ucp_config_modify(config, "TLS", layers);
    if (status == UCS_OK && carrier->tcp) {
        device_of(local, device, &carrier->ports.at);
        status = ucp_config_modify(config, "NET_DEVICES", device);
        for (unsigned i = 0; i < sizeof over_tcp / sizeof over_tcp[0]; i++) { /* not every version has each of them */
            (void)ucp_config_modify(config, over_tcp[i].name, over_tcp[i].value);
        }
        if (status == UCS_OK) { status = ucp_config_modify(config, "TCP_PORT_RANGE", range ? range : "0"); } /* no file's */
    }
    uint64_t rma = carrier->writes ? UCP_FEATURE_RMA : 0;
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP | rma};
    if (status == UCS_OK) { status = ucp_init(&params, config, &carrier->context); }
    ucp_config_release(config);
    return status == UCS_OK ? STOA_OK : stoa_ucx_fail(STOA_E_UNSUPPORTED, carrier->transport, status);
}

/* Whether there can be workers is known before the first connection. */
static stoa_err worker_try(stoa_carrier *carrier)
{
    stoa_ucx_worker worker;
    stoa_err err = worker_open(carrier, &worker, NULL);
    if (!err) { stoa_ucx_worker_close(&worker); }
    return err;
}

static stoa_err open_carrier(const stoa_carrier_settings *settings, stoa_carrier **out)
{
    stoa_carrier *carrier = calloc(1, sizeof *carrier);
    if (!carrier) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    carrier->link = settings->context;
    carrier->transport = settings->transport;
    carrier->body_limit = settings->body_limit;
    carrier->tcp = strcmp(settings->transport, "tcp") == 0;
    carrier->one_sided = settings->one_sided;
    carrier->listens = settings->listens;
    carrier->epoll = settings->epoll;
    carrier->own_epoll = epoll_create1(EPOLL_CLOEXEC);
    stoa_err err = carrier->own_epoll >= 0 ? STOA_OK : STOA_FAIL(STOA_E_IO, "no descriptor for UCX");
    if (!err) { err = stoa_ucx_means(NULL); }
    if (!err) { err = context_open(carrier, settings->local); }
    if (!err) { err = worker_try(carrier); }
    if (err) {
        close_carrier(carrier);
        return err;
    }
    *out = carrier;
    return STOA_OK;
}

static void describe(stoa_carrier *carrier, char *provider, size_t provider_bytes, char *note, size_t note_bytes)
{
    (void)snprintf(provider, provider_bytes, "ucx %s, %s", ucp_get_version_string(), carrier->transport);
    (void)snprintf(note, note_bytes, "%s", carrier->writes ? "" : "no remote writes by this provider: large transfers go as messages, which is slower");
}

const stoa_carrier_ops stoa_ucx_carrier = {
    .name = "ucx",
    .open = open_carrier,
    .close = close_carrier,
    .begin = begin_end,
    .address = address_of,
    .connect = connect_end,
    .disconnect = disconnect_end,
    .send = send_message,
    .progress = progress,
    .arm = arm,
    .expose = expose_memory,
    .conceal = conceal_memory,
    .reach = reach,
    .write = write_memory,
    .read = read_memory,
    .settle = settle,
    .describe = describe,
};
