/* ofi/carrier.c - messages are libfabric's, over a reliable datagram endpoint: tcp;ofi_rxm, or verbs;ofi_rxm, whose wait
 * descriptors can be slept on (net's spins, shm and sockets have none).
 *
 * A link has an endpoint (ofi/endpoint.h), and opens another when it is worn, for the connections to come:
 *
 *     nobody uses it    after WEAR_ALONE: it is closed at once. Who dials never has more than one connection
 *     somebody does     after WEAR_MOST: it is retired, and closed when its last connection has gone. Where the one before is
 *                       still there, or a retired one has come to WEAR_LAST, that one's connections are broken, to begin again
 *
 * So there are two at most, and what the library loses is bounded, whoever dies how often.
 *
 * Both sides must poll: progress is manual.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi/carrier.h"

#include <malloc.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/ofi/endpoint.h"

enum { API = FI_VERSION(1, 11), WEAR_ALONE = 64, WEAR_MOST = 512, WEAR_LAST = 1536 /* it may send 2048 at all */ };

struct stoa_carrier {
    void *link; /* what stoa_carrier_place is called with */
    const char *provider;
    uint32_t message_bytes;
    int epoll;
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    stoa_ofi_endpoint *now, *retired; /* NULL: none */
};

static const struct {
    const char *transport, *provider;
} transports[] = {{"tcp", "tcp;ofi_rxm"}, {"verbs", "verbs;ofi_rxm"}};

static stoa_err fail(stoa_err err, const char *what, long number)
{
    return STOA_FAIL(err, "libfabric: %s: %s", what, fi_strerror((int)(number < 0 ? -number : number)));
}

/* --- one endpoint after the other */

static stoa_err open_endpoint(stoa_carrier *carrier, stoa_ofi_endpoint **out)
{
    return stoa_ofi_endpoint_open(carrier->domain, carrier->info, carrier->epoll, carrier->message_bytes,
                                  carrier->link, out);
}

/* Their disconnect ends the endpoint. */
static void break_all(const stoa_ofi_endpoint *endpoint)
{
    for (const stoa_carrier_end *end = endpoint->ends; end; end = end->next) {
        stoa_carrier_broken(end->owner);
    }
}

/* Some 40 MiB of the library's pools are free now, and lie where the C library would keep them. */
static void close_worn(stoa_ofi_endpoint *endpoint)
{
    stoa_ofi_endpoint_close(endpoint);
    (void)malloc_trim(0);
}

/* An end has gone. Where no other endpoint can be had, the worn one serves on, and it is tried again with the next. */
static void renew(stoa_carrier *carrier)
{
    stoa_ofi_endpoint *fresh = NULL;
    if (carrier->retired && !carrier->retired->ends) {
        close_worn(carrier->retired);
        carrier->retired = NULL;
    }
    if (carrier->retired && carrier->retired->wear >= WEAR_LAST) { break_all(carrier->retired); }
    if (carrier->now->wear < (carrier->now->ends ? WEAR_MOST : WEAR_ALONE)) { return; }
    if (carrier->retired) {
        break_all(carrier->retired);
        return;
    }
    if (open_endpoint(carrier, &fresh)) { return; }
    if (carrier->now->ends) {
        carrier->retired = carrier->now;
    } else {
        close_worn(carrier->now);
    }
    carrier->now = fresh;
}

/* --- what a link asks for */

static uint32_t progress(stoa_carrier *carrier)
{
    uint32_t moved = stoa_ofi_endpoint_progress(carrier->now);
    return carrier->retired ? moved + stoa_ofi_endpoint_progress(carrier->retired) : moved;
}

static stoa_err begin_end(stoa_carrier *carrier, void *owner, stoa_carrier_end **out)
{
    return stoa_ofi_endpoint_begin(carrier->now, owner, out);
}

static stoa_err connect_end(stoa_carrier *carrier, stoa_carrier_end *end, const void *address, uint32_t size_bytes)
{
    (void)carrier;
    return stoa_ofi_endpoint_connect(end, address, size_bytes);
}

static void disconnect_end(stoa_carrier *carrier, stoa_carrier_end *end)
{
    stoa_ofi_endpoint_disconnect(end);
    renew(carrier);
}

static stoa_err send_message(stoa_carrier *carrier, stoa_carrier_end *end, const void *header, const void *body,
                             uint32_t body_bytes, void *token)
{
    (void)carrier;
    return stoa_ofi_endpoint_send(end, header, body, body_bytes, token);
}

static bool arm(stoa_carrier *carrier)
{
    struct fid *queues[2] = {&carrier->now->cq->fid, carrier->retired ? &carrier->retired->cq->fid : NULL};
    return fi_trywait(carrier->fabric, queues, carrier->retired ? 2 : 1) == 0;
}

static uint32_t address_of(stoa_carrier *carrier, const stoa_carrier_end *end, const struct sockaddr *here,
                           uint8_t out[STOA_CARRIER_ADDRESS_BYTES])
{
    (void)carrier, (void)here;
    memcpy(out, end->endpoint->name, end->endpoint->name_bytes);
    return (uint32_t)end->endpoint->name_bytes;
}

/* --- open and close */

static void close_fid(struct fid *fid)
{
    if (fid) { (void)fi_close(fid); }
}

static void close_carrier(stoa_carrier *carrier)
{
    stoa_ofi_endpoint_close(carrier->retired);
    stoa_ofi_endpoint_close(carrier->now);
    close_fid(carrier->domain ? &carrier->domain->fid : NULL);
    close_fid(carrier->fabric ? &carrier->fabric->fid : NULL);
    if (carrier->info) { fi_freeinfo(carrier->info); }
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

static stoa_err open_carrier(const stoa_carrier_settings *settings, stoa_carrier **out)
{
    stoa_carrier *carrier = calloc(1, sizeof *carrier);
    if (!carrier) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    carrier->link = settings->context;
    carrier->epoll = settings->epoll;
    carrier->message_bytes = STOA_CARRIER_HEADER_BYTES + settings->body_limit;
    for (unsigned i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        if (strcmp(transports[i].transport, settings->transport) == 0) { carrier->provider = transports[i].provider; }
    }
    STOA_ASSERT(carrier->provider);
    stoa_err err = info_get(carrier, settings->local);
    int rc = err ? 0 : fi_fabric(carrier->info->fabric_attr, &carrier->fabric, NULL);
    if (!err && !rc) { rc = fi_domain(carrier->fabric, carrier->info, &carrier->domain, NULL); }
    if (rc != 0) { err = fail(STOA_E_UNSUPPORTED, carrier->provider, rc); }
    if (!err) { err = open_endpoint(carrier, &carrier->now); }
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
    .begin = begin_end,
    .address = address_of,
    .connect = connect_end,
    .disconnect = disconnect_end,
    .send = send_message,
    .progress = progress,
    .arm = arm,
    .describe = describe,
};
