/* http.c - the local HTTP server of http.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/http.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/platform.h"

enum { CONNECTIONS_MAX = 64 };

struct stoa_http {
    stoa_platform *platform;
    struct lws_context *context;
    struct lws_vhost *vhost;
    int listener, port;
    char address[NI_MAXHOST + 16];
    pthread_t thread;
    bool threaded, served; /* served: the listener is libwebsockets' to close */
    _Atomic bool stop;
};

/* An answer on its way out. */
typedef struct answer {
    stoa_buf body;
    size_t sent_bytes;
} answer;

typedef unsigned (*page)(stoa_platform *platform, stoa_buf *body);

static unsigned healthz(stoa_platform *platform, stoa_buf *body)
{
    (void)platform;
    stoa_buf_puts(body, "ok\n");
    return HTTP_STATUS_OK;
}

static unsigned readyz(stoa_platform *platform, stoa_buf *body)
{
    int phase = atomic_load(&platform->phase);
    stoa_buf_printf(body, "%s\n", stoa_phase_name(phase));
    return phase == STOA_READY ? HTTP_STATUS_OK : HTTP_STATUS_SERVICE_UNAVAILABLE;
}

static unsigned metrics(stoa_platform *platform, stoa_buf *body)
{
    stoa_platform_metrics(platform, body);
    return HTTP_STATUS_OK;
}

static const struct {
    const char *path, *type;
    page page;
} pages[] = {
    {"/healthz", "text/plain; charset=utf-8", healthz},
    {"/readyz", "text/plain; charset=utf-8", readyz},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", metrics},
};

static int start_answer(struct lws *wsi, stoa_http *http, answer *out, const char *path)
{
    unsigned char buffer[LWS_PRE + 1024], *start = buffer + LWS_PRE, *at = start, *end = buffer + sizeof buffer - 1;
    unsigned status = HTTP_STATUS_NOT_FOUND;
    const char *type = "text/plain; charset=utf-8";
    out->body = STOA_BUF_GROWING;
    out->sent_bytes = 0;
    bool get = lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
    for (size_t i = 0; get && i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(path, pages[i].path) != 0) { continue; }
        type = pages[i].type;
        status = pages[i].page(http->platform, &out->body);
    }
    if (!get) { status = HTTP_STATUS_METHOD_NOT_ALLOWED; }
    if (!out->body.used_bytes) { stoa_buf_puts(&out->body, get ? "not found\n" : "only GET\n"); }
    if (lws_add_http_common_headers(wsi, status, type, out->body.used_bytes, &at, end)) { return 1; }
    if (lws_finalize_write_http_header(wsi, start, &at, end)) { return 1; }
    lws_callback_on_writable(wsi);
    return 0;
}

static int continue_answer(struct lws *wsi, answer *out)
{
    unsigned char buffer[LWS_PRE + 4096];
    size_t left = out->body.used_bytes - out->sent_bytes;
    size_t n = left < sizeof buffer - LWS_PRE ? left : sizeof buffer - LWS_PRE;
    if (!out->body.at) { return 0; }
    memcpy(buffer + LWS_PRE, out->body.at + out->sent_bytes, n);
    enum lws_write_protocol how = n == left ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP;
    if (lws_write(wsi, buffer + LWS_PRE, n, how) != (int)n) { return 1; }
    out->sent_bytes += n;
    if (out->sent_bytes < out->body.used_bytes) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    stoa_buf_deinit(&out->body);
    out->body.at = NULL;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    stoa_http *http = lws_context_user(lws_get_context(wsi));
    answer *out = user;
    if (reason == LWS_CALLBACK_HTTP) { return start_answer(wsi, http, out, in); }
    if (reason == LWS_CALLBACK_HTTP_WRITEABLE) { return continue_answer(wsi, out); }
    if (reason == LWS_CALLBACK_CLOSED_HTTP && out) {
        stoa_buf_deinit(&out->body);
        out->body.at = NULL;
    }
    return lws_callback_http_dummy(wsi, reason, user, in, len);
}

static void *serve(void *argument)
{
    stoa_http *http = argument;
    while (!atomic_load(&http->stop)) { (void)lws_service(http->context, 0); }
    return NULL;
}

/* --- the listening socket. It is ours: libwebsockets takes a host for the name of an interface, and listens everywhere where none has it. */

static int on_listener(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    stoa_http *http = lws_context_user(lws_get_context(wsi));
    (void)user;
    (void)in;
    (void)len;
    if (reason != LWS_CALLBACK_RAW_RX_FILE) { return 0; }
    int fd = accept4(http->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) { (void)lws_adopt_socket_vhost(http->vhost, fd); } /* which closes it where there are too many */
    return 0;
}

/* Listen at one address. Returns the descriptor, or -1 and errno. */
static int listen_at(const struct addrinfo *address)
{
    const int yes = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) { return -1; }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, CONNECTIONS_MAX) == 0) { return fd; }
    int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

/* At the first of the host's addresses that can be had. */
static stoa_err listen_on(const char *host, int port, int *fd_out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses;
    char service[16];
    int fd = -1, why = 0;
    (void)snprintf(service, sizeof service, "%d", port);
    int unknown = getaddrinfo(host, service, &hints, &addresses);
    if (unknown) { return STOA_FAIL(STOA_E_NOT_FOUND, "http: no address is known by the name of '%s': %s; see --http.host", host, gai_strerror(unknown)); }
    for (const struct addrinfo *at = addresses; at && fd < 0; at = at->ai_next) {
        fd = listen_at(at);
        if (fd < 0 && !why) { why = errno; }
    }
    freeaddrinfo(addresses);
    if (fd < 0) {
        return STOA_FAIL(why == EADDRINUSE ? STOA_E_EXISTS : STOA_E_IO, "http: cannot listen on %s:%d: %s; see --http.host and --http.port", host,
                         port, strerror(why));
    }
    *fd_out = fd;
    return STOA_OK;
}

/* What it is really bound to, as the kernel says. */
static void note_address(stoa_http *http)
{
    struct sockaddr_storage bound;
    socklen_t size_bytes = sizeof bound;
    char host[NI_MAXHOST], service[NI_MAXSERV];
    if (getsockname(http->listener, (struct sockaddr *)&bound, &size_bytes) ||
        getnameinfo((struct sockaddr *)&bound, size_bytes, host, sizeof host, service, sizeof service, NI_NUMERICHOST | NI_NUMERICSERV)) {
        return;
    }
    http->port = atoi(service);
    (void)snprintf(http->address, sizeof http->address, bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}

/* --- life */

/* Have libwebsockets serve what the listener accepts; from then on it owns the listener. */
static stoa_err serve_listener(stoa_http *http)
{
    static const struct lws_protocols protocols[] = {
        {"http", on_http, sizeof(answer), 0, 0, NULL, 0}, {"listener", on_listener, 0, 0, 0, NULL, 0}, {0}};
    lws_set_log_level(0, NULL);
    struct lws_context_creation_info info = {.port = CONTEXT_PORT_NO_LISTEN_SERVER,
                                             .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
                                             .user = http,
                                             .gid = -1,
                                             .uid = -1,
                                             .fd_limit_per_thread = CONNECTIONS_MAX + 8};
    http->context = lws_create_context(&info);
    info.protocols = protocols;
    info.options = 0;
    http->vhost = http->context ? lws_create_vhost(http->context, &info) : NULL;
    const lws_sock_file_fd_type fd = {.filefd = http->listener};
    http->served = http->vhost && lws_adopt_descriptor_vhost(http->vhost, LWS_ADOPT_RAW_FILE_DESC, fd, "listener", NULL);
    return http->served ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "http: libwebsockets");
}

stoa_err stoa_http_open(struct stoa_platform *platform, const char *host, int port, stoa_http **out)
{
    stoa_http *http = calloc(1, sizeof *http);
    if (!http) { return STOA_FAIL(STOA_E_NOMEM, "http"); }
    http->platform = platform;
    http->listener = -1;
    stoa_err err = listen_on(host, port, &http->listener);
    if (!err) {
        note_address(http);
        err = serve_listener(http);
    }
    if (!err && pthread_create(&http->thread, NULL, serve, http)) { err = STOA_FAIL(STOA_E_NOMEM, "http: its thread"); }
    if (err) {
        stoa_http_close(http);
        return err;
    }
    (void)pthread_setname_np(http->thread, "stoa-http");
    http->threaded = true;
    *out = http;
    return STOA_OK;
}

int stoa_http_port(const stoa_http *http)
{
    return http->port;
}

const char *stoa_http_address(const stoa_http *http)
{
    return http->address;
}

void stoa_http_close(stoa_http *http)
{
    if (!http) { return; }
    atomic_store(&http->stop, true);
    if (http->threaded) {
        lws_cancel_service(http->context);
        (void)pthread_join(http->thread, NULL);
    }
    if (http->context) { lws_context_destroy(http->context); }
    if (http->listener >= 0 && !http->served) { (void)close(http->listener); }
    free(http);
}
