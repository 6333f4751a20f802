/* ws.c - see ws.h. What libwebsockets calls back with is mapped, event by event, in the two tables below.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/ports/ws.h"

#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { CONNECT_S = 10, IDLE_S = 30, WHY_MAX = 160, READ_BYTES = 16384 };

typedef struct ws_timer {
    lws_sorted_usec_list_t sul; /* first */
    stoa_ws *ws;
    unsigned number;
} ws_timer;

/* Bytes that come in pieces. */
typedef struct ws_gather {
    char *bytes; /* message_bytes_max + 1 */
    size_t used_bytes;
    bool too_large;
} ws_gather;

struct stoa_ws {
    stoa_ws_options options;
    const stoa_ws_handler *handler;
    void *context;
    struct lws_context *lws;
    lws_retry_bo_t validity;
    struct lws *stream, *request, *watched;
    bool stream_open, stream_told, request_told, freeing;
    ws_gather message, answer;
    ws_timer timers[STOA_WS_TIMERS];
};

/* --- pieces */

static void gather_begin(ws_gather *gather)
{
    gather->used_bytes = 0;
    gather->too_large = false;
}

static void gather_add(const stoa_ws *ws, ws_gather *gather, const void *bytes, size_t size)
{
    if (size > ws->options.message_bytes_max - gather->used_bytes) { gather->too_large = true; }
    if (gather->too_large || size == 0) { return; }
    memcpy(gather->bytes + gather->used_bytes, bytes, size);
    gather->used_bytes += size;
}

/* --- the stream */

static void stream_gone(stoa_ws *ws, const char *bytes, size_t size)
{
    char why[WHY_MAX] = "the connection was closed";
    if (bytes && size) {
        if (size >= sizeof why) { size = sizeof why - 1; }
        memcpy(why, bytes, size);
        why[size] = '\0';
    }
    ws->stream = NULL;
    ws->stream_open = false;
    ws->stream_told = true;
    if (!ws->freeing) { ws->handler->closed(ws->context, why); }
}

static int on_stream_open(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    (void)wsi, (void)in, (void)size;
    gather_begin(&ws->message);
    ws->stream_open = true;
    ws->handler->opened(ws->context);
    return 0;
}

static int on_stream_receive(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    if (lws_is_first_fragment(wsi)) { gather_begin(&ws->message); }
    gather_add(ws, &ws->message, in, size);
    if (ws->message.too_large) { return -1; }
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi)) { return 0; }
    ws->handler->message(ws->context, ws->message.bytes, ws->message.used_bytes);
    gather_begin(&ws->message);
    return 0;
}

static int on_stream_error(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    if (wsi == ws->stream) { stream_gone(ws, in, in ? strnlen(in, size) : 0); }
    return 0;
}

static int on_stream_closed(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    (void)in, (void)size;
    if (wsi == ws->stream) { stream_gone(ws, NULL, 0); }
    return 0;
}

/* --- the request */

static void request_over(stoa_ws *ws, stoa_err err, unsigned status)
{
    ws->request_told = true;
    if (!err && ws->answer.too_large) { err = STOA_E_TOO_LARGE; }
    ws->request = NULL; /* the handler may begin the next one */
    if (ws->freeing) { return; }
    ws->handler->answered(ws->context, err, status, ws->answer.bytes, err ? 0 : ws->answer.used_bytes);
}

static int on_request_readable(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    char buffer[LWS_PRE + READ_BYTES];
    char *at = buffer + LWS_PRE;
    int room = READ_BYTES;
    (void)ws, (void)in, (void)size;
    return lws_http_client_read(wsi, &at, &room) < 0 ? -1 : 0;
}

static int on_request_body(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    if (wsi != ws->request) { return -1; }
    gather_add(ws, &ws->answer, in, size);
    return ws->answer.too_large ? -1 : 0;
}

static int on_request_complete(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    (void)in, (void)size;
    if (wsi == ws->request) { request_over(ws, STOA_OK, lws_http_client_http_response(wsi)); }
    return -1; /* close it: the next one begins afresh */
}

static int on_request_gone(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    (void)in, (void)size;
    if (wsi == ws->request) { request_over(ws, ws->answer.too_large ? STOA_E_TOO_LARGE : STOA_E_IO, 0); }
    return 0;
}

/* --- the watched descriptor */

static int on_readable(stoa_ws *ws, struct lws *wsi, void *in, size_t size)
{
    (void)wsi, (void)in, (void)size;
    ws->handler->readable(ws->context);
    return 0;
}

/* --- libwebsockets calls back */

typedef struct ws_event {
    enum lws_callback_reasons reason;
    int (*handle)(stoa_ws *ws, struct lws *wsi, void *in, size_t size);
} ws_event;

static const ws_event stream_events[] = {
    {LWS_CALLBACK_CLIENT_ESTABLISHED, on_stream_open},
    {LWS_CALLBACK_CLIENT_RECEIVE, on_stream_receive},
    {LWS_CALLBACK_CLIENT_CONNECTION_ERROR, on_stream_error},
    {LWS_CALLBACK_CLIENT_CLOSED, on_stream_closed},
    {LWS_CALLBACK_WSI_DESTROY, on_stream_closed},
};

static const ws_event request_events[] = {
    {LWS_CALLBACK_RECEIVE_CLIENT_HTTP, on_request_readable},
    {LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ, on_request_body},
    {LWS_CALLBACK_COMPLETED_CLIENT_HTTP, on_request_complete},
    {LWS_CALLBACK_CLIENT_CONNECTION_ERROR, on_request_gone},
    {LWS_CALLBACK_CLOSED_CLIENT_HTTP, on_request_gone},
    {LWS_CALLBACK_WSI_DESTROY, on_request_gone},
    {LWS_CALLBACK_RAW_RX_FILE, on_readable},
};

static int dispatch(const ws_event *events, size_t count, struct lws *wsi, enum lws_callback_reasons reason, void *in,
                    size_t size)
{
    struct lws_context *lws = wsi ? lws_get_context(wsi) : NULL;
    stoa_ws *ws = lws ? lws_context_user(lws) : NULL;
    for (size_t i = 0; ws && i < count; i++) {
        if (events[i].reason == reason) { return events[i].handle(ws, wsi, in, size); }
    }
    return 0;
}

static int on_stream(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
    (void)user;
    return dispatch(stream_events, sizeof stream_events / sizeof *stream_events, wsi, reason, in, size);
}

static int on_request(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
    (void)user;
    return dispatch(request_events, sizeof request_events / sizeof *request_events, wsi, reason, in, size);
}

static const struct lws_protocols protocols[] = {
    {.name = "stoa-request", .callback = on_request, .rx_buffer_size = READ_BYTES},
    {.name = "stoa-stream", .callback = on_stream, .rx_buffer_size = READ_BYTES},
    {.name = NULL},
};

/* --- life */

static unsigned seconds(uint64_t ns, unsigned fallback)
{
    return ns ? (unsigned)((ns + STOA_S(1) - 1) / STOA_S(1)) : fallback;
}

static stoa_err init(stoa_ws *ws)
{
    unsigned idle = seconds(ws->options.idle_ns, IDLE_S);
    ws->validity = (lws_retry_bo_t){.secs_since_valid_ping = (uint16_t)(idle / 2 ? idle / 2 : 1),
                                    .secs_since_valid_hangup = (uint16_t)(idle + 1)};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .user = ws,
        .gid = -1,
        .uid = -1,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .timeout_secs = seconds(ws->options.connect_ns, CONNECT_S),
        .connect_timeout_secs = seconds(ws->options.connect_ns, CONNECT_S),
        .retry_and_idle_policy = &ws->validity,
    };
    if (ws->options.ca_file) {
        if (access(ws->options.ca_file, R_OK)) { return STOA_FAIL(STOA_E_IO, "cannot read %s", ws->options.ca_file); }
        info.client_ssl_ca_filepath = ws->options.ca_file;
        info.options |= LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    }
    lws_set_log_level(0, NULL); /* what matters comes back as an event */
    ws->lws = lws_create_context(&info);
    return ws->lws ? STOA_OK : STOA_FAIL(STOA_E_IO, "libwebsockets makes no context");
}

stoa_err stoa_ws_new(const stoa_ws_options *options, const stoa_ws_handler *handler, void *context, stoa_ws **out)
{
    stoa_ws *ws = calloc(1, sizeof *ws);
    if (!ws) { return STOA_FAIL(STOA_E_NOMEM, "a WebSocket client"); }
    ws->options = *options;
    ws->handler = handler;
    ws->context = context;
    ws->message.bytes = malloc(options->message_bytes_max + 1);
    ws->answer.bytes = malloc(options->message_bytes_max + 1);
    stoa_err err = ws->message.bytes && ws->answer.bytes ? init(ws) : STOA_FAIL(STOA_E_NOMEM, "a message's buffer");
    if (err) {
        stoa_ws_free(ws);
        return err;
    }
    *out = ws;
    return STOA_OK;
}

void stoa_ws_free(stoa_ws *ws)
{
    if (!ws) { return; }
    ws->freeing = true;
    for (unsigned i = 0; ws->lws && i < STOA_WS_TIMERS; i++) { stoa_ws_cancel(ws, i); }
    if (ws->lws) { lws_context_destroy(ws->lws); }
    free(ws->message.bytes);
    free(ws->answer.bytes);
    free(ws);
}

/* --- connections */

static struct lws_client_connect_info connect_info(stoa_ws *ws, const char *host, uint16_t port, const char *path)
{
    return (struct lws_client_connect_info){
        .context = ws->lws,
        .address = host,
        .port = port,
        .path = path,
        .host = host,
        .origin = host,
        .ssl_connection = LCCSCF_USE_SSL,
        .alpn = "http/1.1",
        .retry_and_idle_policy = &ws->validity,
    };
}

stoa_err stoa_ws_connect(stoa_ws *ws, const char *host, uint16_t port, const char *path)
{
    if (ws->stream) { return STOA_E_EXISTS; }
    struct lws_client_connect_info info = connect_info(ws, host, port, path);
    info.local_protocol_name = "stoa-stream";
    info.pwsi = &ws->stream; /* set before any callback */
    ws->stream_told = false;
    if (lws_client_connect_via_info(&info) || ws->stream_told) { return STOA_OK; }
    ws->stream = NULL;
    return STOA_E_IO;
}

void stoa_ws_disconnect(stoa_ws *ws)
{
    if (ws->stream) { lws_set_timeout(ws->stream, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC); }
}

void stoa_ws_hold(stoa_ws *ws, bool hold)
{
    if (ws->stream && ws->stream_open) { (void)lws_rx_flow_control(ws->stream, !hold); }
}

stoa_err stoa_ws_get(stoa_ws *ws, const char *host, uint16_t port, const char *path)
{
    if (ws->request) { return STOA_E_EXISTS; }
    struct lws_client_connect_info info = connect_info(ws, host, port, path);
    gather_begin(&ws->answer);
    ws->request_told = false;
    info.method = "GET";
    info.local_protocol_name = "stoa-request";
    info.pwsi = &ws->request;
    if (lws_client_connect_via_info(&info) || ws->request_told) { return STOA_OK; }
    ws->request = NULL;
    return STOA_E_IO;
}

void stoa_ws_give_up(stoa_ws *ws)
{
    if (ws->request) { lws_set_timeout(ws->request, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC); }
}

/* --- descriptor, timers, the loop */

stoa_err stoa_ws_watch(stoa_ws *ws, int fd)
{
    struct lws_vhost *vhost = lws_get_vhost_by_name(ws->lws, "default");
    lws_sock_file_fd_type own = {.filefd = dup(fd)}; /* libwebsockets closes what it adopts */
    if (own.filefd < 0) { return STOA_FAIL(STOA_E_IO, "duplicating a descriptor"); }
    ws->watched = lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_RAW_FILE_DESC, own, "stoa-request", NULL);
    return ws->watched ? STOA_OK : STOA_FAIL(STOA_E_IO, "libwebsockets does not adopt the descriptor");
}

static void on_due(lws_sorted_usec_list_t *sul)
{
    ws_timer *timer = (ws_timer *)(void *)sul;
    timer->ws->handler->due(timer->ws->context, timer->number);
}

void stoa_ws_after(stoa_ws *ws, unsigned timer, uint64_t delay_ns)
{
    STOA_ASSERT(timer < STOA_WS_TIMERS);
    ws->timers[timer].ws = ws;
    ws->timers[timer].number = timer;
    lws_sul_schedule(ws->lws, 0, &ws->timers[timer].sul, on_due, (lws_usec_t)(delay_ns / STOA_US(1)) + 1);
}

void stoa_ws_cancel(stoa_ws *ws, unsigned timer)
{
    STOA_ASSERT(timer < STOA_WS_TIMERS);
    lws_sul_schedule(ws->lws, 0, &ws->timers[timer].sul, NULL, LWS_SET_TIMER_USEC_CANCEL);
}

void stoa_ws_service(stoa_ws *ws)
{
    (void)lws_service(ws->lws, 0);
}

void stoa_ws_wake(stoa_ws *ws)
{
    lws_cancel_service(ws->lws);
}
