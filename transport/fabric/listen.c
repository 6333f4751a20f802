/* fabric/listen.c - the side that listens: a TCP socket, and a connection for each that comes.
 *
 * Beside those that are served some connections may be in their greeting, or about to be told that they are not; for one more
 * the oldest of them is closed. So strangers cost a bounded number of descriptors, and shut nobody out by saying nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "transport/fabric/inner.h"

enum { BACKLOG = 128, ACCEPTS_MAX = 16 }; /* ACCEPTS_MAX: at once, so that who came is heard before many more come */

static stoa_err fail(const stoa_fabric *link, const char *what)
{
    int number = errno;
    char text[128];
    stoa_err err = number == EADDRINUSE      ? STOA_E_EXISTS
                   : number == EACCES        ? STOA_E_DENIED
                   : number == EADDRNOTAVAIL ? STOA_E_INVALID
                                             : STOA_E_IO;
    return STOA_FAIL(err, "%s %s: %s", what, link->address, strerror_r(number, text, sizeof text));
}

stoa_err stoa_fabric_listen_open(stoa_fabric *link)
{
    int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0};
    link->listener = socket(link->where.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->listener < 0) { return fail(link, "socket for"); }
    (void)setsockopt(link->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(link->listener, (const struct sockaddr *)&link->where, link->where_bytes) != 0) {
        return fail(link, "bind");
    }
    if (listen(link->listener, BACKLOG) != 0) { return fail(link, "listen at"); }
    if (epoll_ctl(link->doors, EPOLL_CTL_ADD, link->listener, &event) != 0) { return fail(link, "watch"); }
    link->where_bytes = sizeof link->where;
    if (getsockname(link->listener, (struct sockaddr *)&link->where, &link->where_bytes) != 0) {
        return fail(link, "getsockname");
    }
    return STOA_OK;
}

/* Whether the listener is looked at. */
static void listens(stoa_fabric *link, bool on)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0};
    link->deaf = !on;
    (void)epoll_ctl(link->doors, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, link->listener, &event);
}

void stoa_fabric_listen_tick(stoa_fabric *link)
{
    if (link->deaf) { listens(link, true); }
}

static void drop_oldest_guest(stoa_fabric *link)
{
    stoa_conn *oldest = NULL;
    for (uint32_t i = 0; i < link->conn_top; i++) {
        stoa_conn *conn = link->conns[i];
        if (conn && !conn->served && (!oldest || conn->born < oldest->born)) { oldest = conn; }
    }
    STOA_ASSERT(oldest);
    stoa_fabric_refused(link, STOA_E_FULL);
    stoa_conn_drop(oldest);
}

void stoa_fabric_listen_accept(stoa_fabric *link)
{
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        int on = 1, fd = accept4(link->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        bool none = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
        if (none) { listens(link, false); } /* who waits would keep us awake */
        if (fd < 0) { return; }
        if (link->guests >= STOA_FABRIC_GREETING_MAX) { drop_oldest_guest(link); }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (!stoa_conn_new(link, fd, STOA_PHASE_HELLO)) {
            (void)close(fd);
            stoa_fabric_refused(link, STOA_E_FULL);
        }
    }
}
