/* ucx/means.h - what a worker takes and UCX 1.13 does not take no for: where descriptors end while one is made, it ends the
 * process; where no port of its range is free, it tries them for ever. So they are asked for before UCX does; that others take the last ports
 * between the two is worker.c's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_UCX_MEANS_H
#define STOA_TRANSPORT_UCX_MEANS_H

#include <sys/socket.h>

#include "base/error.h"

enum {
    STOA_UCX_SPARE = 32,     /* descriptors: some seven are a connection's, the rest for who takes one meanwhile */
    STOA_UCX_SPARE_PORTS = 2 /* and so one of these */
};

/* Where workers over tcp listen. */
typedef struct stoa_ucx_ports {
    unsigned first, last;       /* last 0: at any */
    struct sockaddr_storage at; /* an address of this machine, or all; its port is not looked at */
} stoa_ucx_ports;

/* The range in text ("41000-41999", "41000", "0"; NULL: any port). Errors: INVALID. */
stoa_err stoa_ucx_ports_read(const char *text, stoa_ucx_ports *ports);

/* Whether there are descriptors and a port for one connection more; ports NULL: it needs none. Any thread; takes what it asks for and
 * gives it back, some 20 us, and 3 us for each port in use. Errors: FULL. */
stoa_err stoa_ucx_means(const stoa_ucx_ports *ports);

#endif
