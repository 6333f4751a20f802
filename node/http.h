/* http.h - /healthz, /readyz and /metrics on a local port, for probes and Prometheus.
 *
 *     GET /healthz   200 while the process serves: "ok"
 *     GET /readyz    200 when work is taken, 503 while starting or draining: the phase's name
 *     GET /metrics   Prometheus text
 * Anything else is 404, other methods 405. One thread on libwebsockets; at most 64 connections.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_HTTP_H
#define STOA_NODE_HTTP_H

#include "base/error.h"

struct stoa_platform;
typedef struct stoa_http stoa_http;

/* Listen on host:port (0: any), and on no other address; host: an address of this machine, or a name of one (of several the first that can
 * be had). Errors: NOT_FOUND (nobody knows the name), EXISTS (the port is taken), IO, NOMEM; the trail says why. */
stoa_err stoa_http_open(struct stoa_platform *platform, const char *host, int port, stoa_http **out);
/* The port really bound. */
int stoa_http_port(const stoa_http *http);
/* "127.0.0.1:7401", "[::1]:7401": as bound. */
const char *stoa_http_address(const stoa_http *http);
void stoa_http_close(stoa_http *http);

#endif
