/* ws.h - a client of one TLS WebSocket stream and of HTTPS answers beside it, on libwebsockets.
 *
 * One context, one thread: everything but stoa_ws_wake is called from the thread that calls stoa_ws_service, and the
 * handler's functions are called within it. At most one stream and one request at a time. Certificates and host names
 * are verified against the system's authorities, or those in ca_file alone. No extensions are offered (no
 * permessage-deflate). Pings are answered; own pings go out when the peer proves nothing for half of idle_ns, and
 * after idle_ns the stream is closed.
 *
 * It does not reconnect and does not retry: that is policy, and its user's (live.c).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PORTS_WS_H
#define STOA_NODE_PORTS_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct stoa_ws stoa_ws;

typedef struct stoa_ws_options {
    const char *ca_file;        /* PEM; NULL: the system's authorities */
    size_t message_bytes_max;   /* a larger message closes the stream; a larger answer is TOO_LARGE */
    uint64_t connect_ns;        /* for a connection to be made, rounded up to seconds; 0 means 10 s */
    uint64_t idle_ns;           /* rounded up to seconds; 0 means 30 s */
} stoa_ws_options;

enum { STOA_WS_TIMERS = 4 };

/* What the user is told. Bytes are valid until the function returns. It may call everything but stoa_ws_free. */
typedef struct stoa_ws_handler {
    /* The stream is there. */
    void (*opened)(void *context);
    /* One whole message. */
    void (*message)(void *context, const char *bytes, size_t size_bytes);
    /* The stream is gone, or was never made; once for each stoa_ws_connect. why: a line for the log. */
    void (*closed)(void *context, const char *why);
    /* The answer to stoa_ws_get, once for each. err: OK whatever the status is; IO, TOO_LARGE. */
    void (*answered)(void *context, stoa_err err, unsigned status, const char *body, size_t size_bytes);
    /* The watched descriptor is readable. */
    void (*readable)(void *context);
    /* Timer number timer is due. */
    void (*due)(void *context, unsigned timer);
} stoa_ws_handler;

/* Errors: NOMEM, IO (no context: an unreadable ca_file, for instance). Allocates. */
stoa_err stoa_ws_new(const stoa_ws_options *options, const stoa_ws_handler *handler, void *context, stoa_ws **out);
/* Closes what is open without telling the handler. NULL is allowed. */
void stoa_ws_free(stoa_ws *ws);

/* Begin to connect; opened or closed follows. Errors: EXISTS (there is a stream), IO (nothing follows). */
stoa_err stoa_ws_connect(stoa_ws *ws, const char *host, uint16_t port, const char *path);
/* Close the stream, if there is one; closed follows. */
void stoa_ws_disconnect(stoa_ws *ws);
/* Stop (true) or go on (false) reading the stream. A message that was on its way may still come. */
void stoa_ws_hold(stoa_ws *ws, bool hold);

/* Begin a GET; answered follows. Errors: EXISTS (one is under way), IO (nothing follows). */
stoa_err stoa_ws_get(stoa_ws *ws, const char *host, uint16_t port, const char *path);
/* Give up the request, if there is one; answered follows with IO. */
void stoa_ws_give_up(stoa_ws *ws);

/* Call readable while fd is readable; fd stays the caller's. Errors: IO. */
stoa_err stoa_ws_watch(stoa_ws *ws, int fd);
/* Call due once, delay_ns from now; again: the new time counts. */
void stoa_ws_after(stoa_ws *ws, unsigned timer, uint64_t delay_ns);
void stoa_ws_cancel(stoa_ws *ws, unsigned timer);

/* Wait for something to happen and handle it. Blocks. */
void stoa_ws_service(stoa_ws *ws);
/* Let stoa_ws_service return soon. Any thread. */
void stoa_ws_wake(stoa_ws *ws);

#endif
