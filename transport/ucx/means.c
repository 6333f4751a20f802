/* ucx/means.c - as ucx/means.h says.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ucx/means.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

stoa_err stoa_ucx_ports_read(const char *text, stoa_ucx_ports *ports)
{
    unsigned first = 0, last = 0;
    int count = text ? sscanf(text, "%u-%u", &first, &last) : 2;
    if (count == 1) { last = first; }
    if (count < 1 || first > last || last > UINT16_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "UCX_TCP_PORT_RANGE: '%s' is no range of ports", text);
    }
    ports->first = first;
    ports->last = last;
    return STOA_OK;
}

static stoa_err descriptors_left(void)
{
    int fds[STOA_UCX_SPARE], count = 0;
    fds[0] = eventfd(0, EFD_CLOEXEC);
    while (fds[count] >= 0 && ++count < STOA_UCX_SPARE) {
        fds[count] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    }
    for (int i = 0; i < count; i++) {
        (void)close(fds[i]);
    }
    return count == STOA_UCX_SPARE ? STOA_OK
                                   : STOA_FAIL(STOA_E_FULL, "%d descriptors are left, a connection over UCX asks for %d",
                                               count, STOA_UCX_SPARE);
}

/* As UCX will try it; what else is wrong with a port UCX says itself. */
static bool port_free(struct sockaddr_storage at, uint16_t port)
{
    if (at.ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)&at)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)(void *)&at)->sin_port = htons(port);
    }
    socklen_t size_bytes = at.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) { return false; }
    bool is_free = bind(fd, (const struct sockaddr *)&at, size_bytes) == 0 || errno != EADDRINUSE;
    (void)close(fd);
    return is_free;
}

static stoa_err ports_left(const stoa_ucx_ports *ports)
{
    unsigned count = 0;
    if (ports->last == 0) { return STOA_OK; }
    for (unsigned port = ports->first; port <= ports->last; port++) {
        if (port_free(ports->at, (uint16_t)port) && ++count == STOA_UCX_SPARE_PORTS) { return STOA_OK; }
    }
    return STOA_FAIL(STOA_E_FULL, "UCX_TCP_PORT_RANGE: of the ports %u to %u %u is free, a connection asks for %d",
                     ports->first, ports->last, count, STOA_UCX_SPARE_PORTS);
}

stoa_err stoa_ucx_means(const stoa_ucx_ports *ports)
{
    stoa_err err = descriptors_left();
    return err || !ports ? err : ports_left(ports);
}
