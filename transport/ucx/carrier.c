/* ucx/carrier.c - messages are UCX active messages: the header is the message's header, small bodies come with it, large ones
 * are fetched straight to their place in the receiver's ring (rendezvous; UCX decides from which size on).
 *
 * A link has a context and a worker of its own. tcp uses the interface that leads to the others and nothing else, not even
 * shared memory on the same host; rdma uses what InfiniBand and RoCE devices there are. UCX keeps a thread of its own for
 * new connections between workers.
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

#include <ucp/api/ucp.h>

#include "base/clock.h"
#include "transport/ucx/address.h"

enum { MESSAGE_ID = 1, CLOSE_MS = 1000, PROGRESS_MAX = 64, KEY_ROOM = 1024 };

struct stoa_carrier_end {
    stoa_carrier *carrier;
    stoa_carrier_end *next; /* in the list of those that are closing */
    void *owner;            /* NULL: disconnected */
    ucp_ep_h ep;
    ucs_status_ptr_t closing;
    bool broken;
};

struct stoa_carrier {
    void *link; /* what stoa_carrier_place is called with */
    const char *transport;
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_address_t *address;
    size_t address_bytes;
    stoa_ucx_address own; /* over tcp: address, taken apart */
    bool tcp;
    uint32_t body_limit;
    bool one_sided; /* settings */
    bool writes;    /* memory from afar */
    stoa_carrier_end *closing;
};

static const struct {
    const char *transport, *layers; /* UCX_TLS */
    bool writes;
} transports[] = {{"tcp", "tcp", false}, {"rdma", "rc,ud,self", true}};
static const char writes_setting[] = "STOA_UCX_WRITES"; /* in the environment: whatever the transport */

/* Over tcp, whatever the environment says: an address is one that ucx/address.c can take apart, and one socket is looked at a time. Two
 * that call each other at once may have a connection each way, and where both have ended when their sockets are looked at in one go -
 * the other process was killed - UCX ends this one, too (1.13, uct/tcp/tcp_iface.c: the second is closed already). */
static const struct {
    const char *name, *value;
} over_tcp[] = {{"ADDRESS_VERSION", "v1"}, {"ADDRESS_DEBUG_INFO", "n"}, {"UNIFIED_MODE", "n"},
              {"MAX_POLL", "1"}, {"TCP_MAX_POLL", "1"} /* by its name in 1.13; in later ones */};

static stoa_err fail(stoa_err err, const char *what, ucs_status_t status)
{
    return STOA_FAIL(err, "UCX: %s: %s", what, ucs_status_string(status));
}

/* --- what comes */

static void on_fetched(void *request, ucs_status_t status, size_t size_bytes, void *token)
{
    (void)size_bytes;
    ucp_request_free(request);
    stoa_carrier_landed(token, status == UCS_OK);
}

/* A message's header and its body, or what the body can be fetched with. */
static ucs_status_t on_message(void *context, const void *header, size_t header_bytes, void *data, size_t size_bytes,
                               const ucp_am_recv_param_t *param)
{
    stoa_carrier *carrier = context;
    void *token = NULL;
    if (header_bytes != STOA_CARRIER_HEADER_BYTES || size_bytes > carrier->body_limit) { return UCS_OK; }
    void *to = stoa_carrier_place(carrier->link, header, (uint32_t)size_bytes, &token);
    if (!to) { return UCS_OK; }
    if (!(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)) {
        memcpy(to, data, size_bytes);
        stoa_carrier_landed(token, true);
        return UCS_OK;
    }
    ucp_request_param_t params = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
        .cb.recv_am = on_fetched,
        .user_data = token,
    };
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(carrier->worker, data, to, size_bytes, &params);
    if (UCS_PTR_IS_ERR(request)) { stoa_carrier_landed(token, false); }
    return UCS_OK;
}

/* --- ends */

static void on_broken(void *context, ucp_ep_h ep, ucs_status_t status)
{
    stoa_carrier_end *end = context;
    (void)ep, (void)status;
    end->broken = true;
    if (end->owner) { stoa_carrier_broken(end->owner); }
}

/* What came from the other side, in a buffer that is longer than UCX can read. */
static stoa_err address_read(const stoa_carrier *carrier, const void *address, uint32_t size_bytes,
                             uint8_t blob_out[STOA_UCX_BLOB_BYTES])
{
    if (carrier->tcp) { return stoa_ucx_address_read(&carrier->own, address, size_bytes, blob_out); }
    memset(blob_out, 0, STOA_UCX_BLOB_BYTES);
    if (size_bytes != carrier->address_bytes) { return STOA_E_MALFORMED; }
    memcpy(blob_out, address, size_bytes);
    return STOA_OK;
}

static stoa_err connect_end(stoa_carrier *carrier, const void *address, uint32_t size_bytes, void *owner,
                            stoa_carrier_end **out)
{
    uint8_t blob[STOA_UCX_BLOB_BYTES];
    stoa_err err = address_read(carrier, address, size_bytes, blob);
    if (err) { return err; }
    stoa_carrier_end *end = calloc(1, sizeof *end);
    if (!end) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a connection"); }
    end->carrier = carrier;
    end->owner = owner;
    ucp_ep_params_t params = {
        .field_mask =
            UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLER | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
        .address = (const ucp_address_t *)(const void *)blob,
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {on_broken, end},
    };
    ucs_status_t status = ucp_ep_create(carrier->worker, &params, &end->ep);
    if (status != UCS_OK) {
        free(end);
        return fail(STOA_E_UNSUPPORTED, "the other side cannot be reached", status);
    }
    *out = end;
    return STOA_OK;
}

static void disconnect_end(stoa_carrier *carrier, stoa_carrier_end *end)
{
    ucp_request_param_t params = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_EP_CLOSE_FLAG_FORCE};
    end->owner = NULL;
    end->closing = ucp_ep_close_nbx(end->ep, &params);
    if (UCS_PTR_IS_PTR(end->closing)) {
        end->next = carrier->closing;
        carrier->closing = end;
    } else {
        free(end);
    }
}

/* Free the ends that are closed. */
static void sweep(stoa_carrier *carrier)
{
    for (stoa_carrier_end **at = &carrier->closing; *at;) {
        stoa_carrier_end *end = *at;
        if (ucp_request_check_status(end->closing) == UCS_INPROGRESS) {
            at = &end->next;
            continue;
        }
        *at = end->next;
        ucp_request_free(end->closing);
        free(end);
    }
}

/* --- what goes out */

static void on_sent(void *request, ucs_status_t status, void *token)
{
    ucp_request_free(request);
    stoa_carrier_sent(token, status == UCS_OK);
}

/* What an operation's return says; on_sent comes later, or has no reason to. */
static stoa_err begun(ucs_status_ptr_t request, void *token)
{
    if (UCS_PTR_IS_ERR(request)) { return STOA_E_CLOSED; }
    if (!request) { stoa_carrier_sent(token, true); }
    return STOA_OK;
}

static ucp_request_param_t params_of(void *token)
{
    return (ucp_request_param_t){.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                                 .cb.send = on_sent,
                                 .user_data = token};
}

static stoa_err send_message(stoa_carrier *carrier, stoa_carrier_end *end, const void *header, const void *body,
                             uint32_t body_bytes, void *token)
{
    (void)carrier;
    ucp_request_param_t params = params_of(token);
    return begun(ucp_am_send_nbx(end->ep, MESSAGE_ID, header, STOA_CARRIER_HEADER_BYTES, body, body_bytes, &params),
                 token);
}

static uint32_t progress(stoa_carrier *carrier)
{
    uint32_t moved = 0;
    while (moved < PROGRESS_MAX && ucp_worker_progress(carrier->worker) != 0) {
        moved++;
    }
    if (carrier->closing) { sweep(carrier); }
    return moved;
}

static bool arm(stoa_carrier *carrier)
{
    return ucp_worker_arm(carrier->worker) == UCS_OK;
}

static uint32_t address_of(stoa_carrier *carrier, const struct sockaddr *here, uint8_t out[STOA_CARRIER_ADDRESS_BYTES])
{
    if (carrier->tcp) {
        stoa_ucx_address_write(&carrier->own, here, out);
        return STOA_UCX_ADDRESS_BYTES;
    }
    memcpy(out, carrier->address, carrier->address_bytes);
    return (uint32_t)carrier->address_bytes;
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
    if (status != UCS_OK) { return fail(STOA_E_NOMEM, "memory cannot be registered", status); }
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
    return fail(STOA_E_IO, "the key of registered memory", status);
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
    if (ucp_ep_rkey_unpack(end->ep, whole, &far) != UCS_OK) { return STOA_E_MALFORMED; }
    *far_out = far;
    return STOA_OK;
}

static void unreach(stoa_carrier *carrier, void *far)
{
    (void)carrier;
    ucp_rkey_destroy(far);
}

static stoa_err write_memory(stoa_carrier *carrier, stoa_carrier_end *end, void *far, uint64_t address,
                             const void *bytes, uint32_t size_bytes, void *token)
{
    ucp_request_param_t params = params_of(token);
    (void)carrier;
    if (end->broken) { return STOA_E_CLOSED; } /* UCX would end the process */
    return begun(ucp_put_nbx(end->ep, bytes, size_bytes, address, far, &params), token);
}

static stoa_err read_memory(stoa_carrier *carrier, stoa_carrier_end *end, void *far, uint64_t address, void *bytes,
                            uint32_t size_bytes, void *token)
{
    ucp_request_param_t params = params_of(token);
    (void)carrier;
    if (end->broken) { return STOA_E_CLOSED; }
    return begun(ucp_get_nbx(end->ep, bytes, size_bytes, address, far, &params), token);
}

static stoa_err settle(stoa_carrier *carrier, stoa_carrier_end *end, void *token)
{
    ucp_request_param_t params = params_of(token);
    (void)carrier;
    if (end->broken) { return STOA_E_CLOSED; }
    return begun(ucp_ep_flush_nbx(end->ep, &params), token);
}

/* --- open and close */

static void close_carrier(stoa_carrier *carrier)
{
    uint64_t until_ns = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_MS(CLOSE_MS);
    while (carrier->closing && stoa_clock_real.now_ns(&stoa_clock_real) < until_ns) {
        (void)progress(carrier);
    }
    if (carrier->address) { ucp_worker_release_address(carrier->worker, carrier->address); }
    if (carrier->worker) { ucp_worker_destroy(carrier->worker); }
    if (carrier->context) { ucp_cleanup(carrier->context); }
    while (carrier->closing) {
        stoa_carrier_end *end = carrier->closing;
        carrier->closing = end->next;
        free(end);
    }
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

/* The interface with this address; loopback has more than one. "all" where it is not known. */
static void device_of(const struct sockaddr *local, char out[IF_NAMESIZE])
{
    struct ifaddrs *all = NULL;
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
    ucs_status_t status = ucp_config_read(NULL, NULL, &config);
    if (status != UCS_OK) { return fail(STOA_E_INVALID, "its settings in the environment (UCX_...)", status); }
    status = ucp_config_modify(config, "TLS", layers);
    if (status == UCS_OK && carrier->tcp) {
        device_of(local, device);
        status = ucp_config_modify(config, "NET_DEVICES", device);
        for (unsigned i = 0; i < sizeof over_tcp / sizeof over_tcp[0]; i++) { /* not every version has each of them */
            (void)ucp_config_modify(config, over_tcp[i].name, over_tcp[i].value);
        }
    }
    uint64_t rma = carrier->writes ? UCP_FEATURE_RMA : 0;
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP | rma};
    if (status == UCS_OK) { status = ucp_init(&params, config, &carrier->context); }
    ucp_config_release(config);
    return status == UCS_OK ? STOA_OK : fail(STOA_E_UNSUPPORTED, carrier->transport, status);
}

static stoa_err watch(const stoa_carrier *carrier, int epoll)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fd = -1;
    ucs_status_t status = ucp_worker_get_efd(carrier->worker, &fd);
    if (status != UCS_OK) { return fail(STOA_E_UNSUPPORTED, carrier->transport, status); }
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? STOA_OK : STOA_FAIL(STOA_E_IO, "no descriptor for UCX");
}

static stoa_err worker_open(stoa_carrier *carrier)
{
    ucp_worker_params_t params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    ucp_am_handler_param_t handler = {.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                                                    UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                      .id = MESSAGE_ID,
                                      .cb = on_message,
                                      .arg = carrier};
    ucs_status_t status = ucp_worker_create(carrier->context, &params, &carrier->worker);
    if (status == UCS_OK) { status = ucp_worker_set_am_recv_handler(carrier->worker, &handler); }
    if (status == UCS_OK) {
        status = ucp_worker_get_address(carrier->worker, &carrier->address, &carrier->address_bytes);
    }
    if (status != UCS_OK) { return fail(STOA_E_UNSUPPORTED, carrier->transport, status); }
    if (carrier->tcp) { return stoa_ucx_address_take(&carrier->own, carrier->address, carrier->address_bytes); }
    return carrier->address_bytes <= STOA_CARRIER_ADDRESS_BYTES ? STOA_OK : STOA_E_UNSUPPORTED;
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
    stoa_err err = context_open(carrier, settings->local);
    if (!err) { err = worker_open(carrier); }
    if (!err) { err = watch(carrier, settings->epoll); }
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
    (void)snprintf(note, note_bytes, "%s", carrier->writes ? "" : "what is put goes in frames");
}

const stoa_carrier_ops stoa_ucx_carrier = {
    .name = "ucx",
    .open = open_carrier,
    .close = close_carrier,
    .address = address_of,
    .connect = connect_end,
    .disconnect = disconnect_end,
    .send = send_message,
    .progress = progress,
    .arm = arm,
    .expose = expose_memory,
    .conceal = conceal_memory,
    .reach = reach,
    .unreach = unreach,
    .write = write_memory,
    .read = read_memory,
    .settle = settle,
    .describe = describe,
};
