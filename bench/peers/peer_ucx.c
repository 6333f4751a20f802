/* peer_ucx.c - the UCX peer of bench_links: HOW flow|echo SIZE RUNS RUN_MS, see bench/links/duel.h. HOW is a transport of
 * UCX_TLS: posix, tcp.
 *
 * Active messages with UCP, eager where UCX thinks so; a bounded number of sends is under way, from a copy of each frame.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>

#include "bench/links/duel.h"

enum { AM = 7, SENDS_MAX = 64, ADDRESS_MAX = 2048, RECEIVES_MAX = 64 };

typedef struct end end;
typedef struct receive { /* of a message that comes by rendezvous */
    end *of;
    uint8_t *bytes;
    size_t size_bytes;
} receive;

struct end {
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h ep;
    uint32_t size_bytes;
    uint8_t *copies[SENDS_MAX];
    void *sends[SENDS_MAX]; /* NULL: free */
    uint32_t next;
    receive receives[RECEIVES_MAX];
    uint32_t next_receive;
    uint64_t welcomes;
    duel_take *take;
    void *of;
};

static void must(ucs_status_t status, const char *what)
{
    if (status == UCS_OK) { return; }
    (void)fprintf(stderr, "peer_ucx: %s: %s\n", what, ucs_status_string(status));
    exit(1);
}

static void hand_on(end *e, const void *bytes, size_t size_bytes)
{
    if (size_bytes == 1) {
        e->welcomes++;
    } else if (e->take) {
        e->take(e->of, bytes, (uint32_t)size_bytes);
    }
}

static void received(void *request, ucs_status_t status, size_t size_bytes, void *of)
{
    receive *r = of;
    must(status, "receive");
    hand_on(r->of, r->bytes, size_bytes);
    ucp_request_free(request);
}

static ucs_status_t came(void *of, const void *header, size_t header_bytes, void *data, size_t size_bytes,
                         const ucp_am_recv_param_t *param)
{
    end *e = of;
    (void)header, (void)header_bytes;
    if (!(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)) {
        hand_on(e, data, size_bytes);
        return UCS_OK;
    }
    receive *r = &e->receives[e->next_receive++ % RECEIVES_MAX];
    ucp_request_param_t how = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                                               UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
                               .cb.recv_am = received,
                               .user_data = r};
    void *request = ucp_am_recv_data_nbx(e->worker, data, r->bytes, size_bytes, &how);
    if (UCS_PTR_IS_ERR(request)) { must(UCS_PTR_STATUS(request), "rendezvous"); }
    return UCS_OK;
}

static bool ucx_send(void *of, const void *bytes, uint32_t size_bytes)
{
    end *e = of;
    uint32_t at = e->next % SENDS_MAX;
    ucp_request_param_t how = {0};
    if (e->sends[at]) {
        if (ucp_request_check_status(e->sends[at]) == UCS_INPROGRESS) {
            (void)ucp_worker_progress(e->worker);
            return false;
        }
        ucp_request_free(e->sends[at]);
        e->sends[at] = NULL;
    }
    memcpy(e->copies[at], bytes, size_bytes);
    void *request = ucp_am_send_nbx(e->ep, AM, NULL, 0, e->copies[at], size_bytes, &how);
    if (UCS_PTR_IS_ERR(request)) { must(UCS_PTR_STATUS(request), "send"); }
    e->sends[at] = request;
    e->next++;
    return true;
}

static void ucx_poll(void *of, duel_take *take, void *context)
{
    end *e = of;
    e->take = take;
    e->of = context;
    (void)ucp_worker_progress(e->worker);
}

static void meet(end *e, duel_page *page, int side)
{
    ucp_address_t *address;
    size_t bytes;
    uint8_t theirs[ADDRESS_MAX];
    must(ucp_worker_get_address(e->worker, &address, &bytes), "address");
    duel_note(page, side, address, (uint32_t)bytes);
    ucp_worker_release_address(e->worker, address);
    (void)duel_note_of(page, 1 - side, theirs, sizeof theirs);
    ucp_ep_params_t to = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
                          .address = (const ucp_address_t *)(const void *)theirs};
    must(ucp_ep_create(e->worker, &to, &e->ep), "endpoint");
    uint8_t one = 1;
    while (!ucx_send(e, &one, 1)) {}
    while (!e->welcomes) {
        (void)ucp_worker_progress(e->worker);
    }
}

static void *ucx_open(duel_page *page, int side, const char *how, uint32_t size_bytes)
{
    char transports[64];
    ucp_config_t *config;
    end *e = calloc(1, sizeof *e);
    if (!e) { duel_fail("no memory"); }
    (void)snprintf(transports, sizeof transports, "%s,self", how);
    e->size_bytes = size_bytes;
    for (uint32_t i = 0; i < SENDS_MAX; i++) {
        e->copies[i] = malloc(size_bytes);
        e->receives[i] = (receive){.of = e, .bytes = malloc(size_bytes)};
        if (!e->copies[i] || !e->receives[i].bytes) { duel_fail("no memory"); }
    }
    must(ucp_config_read(NULL, NULL, &config), "configuration");
    must(ucp_config_modify(config, "TLS", transports), "UCX_TLS");
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM};
    must(ucp_init(&params, config, &e->context), "context");
    ucp_config_release(config);
    ucp_worker_params_t worker = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    must(ucp_worker_create(e->context, &worker, &e->worker), "worker");
    ucp_am_handler_param_t handler = {.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                                                    UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                      .id = AM,
                                      .cb = came,
                                      .arg = e};
    must(ucp_worker_set_am_recv_handler(e->worker, &handler), "handler");
    meet(e, page, side);
    return e;
}

static void ucx_close(void *of)
{
    end *e = of; /* the process ends: what UCX would do to part in order is not what is measured */
    (void)e;
}

int main(int argc, char **argv)
{
    static const duel_wire wire = {ucx_open, ucx_send, NULL, ucx_poll, ucx_close};
    return duel_main(argc, argv, &wire, "ucx");
}
