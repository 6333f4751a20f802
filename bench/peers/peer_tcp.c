/* peer_tcp.c - the TCP peer of bench_links: HOW flow|echo SIZE RUNS RUN_MS, see bench/links/duel.h.
 *
 * `tcp`: a write a frame, without Nagle; `batched`: writes of 64 KiB of frames. Frames have one size, so nothing is said of it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/links/duel.h"

enum { BATCH_BYTES = 64 * 1024, READ_BYTES = 256 * 1024 };

typedef struct end {
    int socket;
    uint32_t size_bytes, held_bytes, batch_bytes, got_bytes;
    uint8_t *held, *got; /* what waits to be written; what was read */
} end;

static int connected(duel_page *page, int side)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0) { duel_fail("socket"); }
    if (side == 0) {
        if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1) ||
            getsockname(fd, (struct sockaddr *)&at, &at_bytes)) {
            duel_fail("listen");
        }
        duel_note(page, 0, &at, sizeof at);
        int accepted = accept(fd, NULL, NULL);
        if (accepted < 0) { duel_fail("accept"); }
        (void)close(fd);
        fd = accepted;
    } else {
        (void)duel_note_of(page, 0, &at, sizeof at);
        if (connect(fd, (struct sockaddr *)&at, sizeof at)) { duel_fail("connect"); }
    }
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) { duel_fail("TCP_NODELAY"); }
    return fd;
}

static void *tcp_open(duel_page *page, int side, const char *how, uint32_t size_bytes)
{
    end *e = calloc(1, sizeof *e);
    if (!e) { duel_fail("no memory"); }
    e->size_bytes = size_bytes;
    e->batch_bytes = strcmp(how, "batched") == 0 ? BATCH_BYTES : 0;
    e->held = malloc(BATCH_BYTES + size_bytes);
    e->got = malloc(READ_BYTES + size_bytes);
    if (!e->held || !e->got) { duel_fail("no memory"); }
    e->socket = connected(page, side);
    return e;
}

static void tcp_flush(void *of)
{
    end *e = of;
    for (uint32_t at = 0; at < e->held_bytes;) {
        ssize_t wrote = send(e->socket, e->held + at, e->held_bytes - at, MSG_NOSIGNAL);
        if (wrote < 0) { duel_fail("send"); }
        at += (uint32_t)wrote;
    }
    e->held_bytes = 0;
}

static bool tcp_send(void *of, const void *bytes, uint32_t size_bytes)
{
    end *e = of;
    memcpy(e->held + e->held_bytes, bytes, size_bytes);
    e->held_bytes += size_bytes;
    if (e->held_bytes >= e->batch_bytes) { tcp_flush(e); }
    return true;
}

static void tcp_poll(void *of, duel_take *take, void *context)
{
    end *e = of;
    ssize_t got = recv(e->socket, e->got + e->got_bytes, READ_BYTES + e->size_bytes - e->got_bytes, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno == EAGAIN)) { return; }
    if (got < 0) { duel_fail("recv"); }
    e->got_bytes += (uint32_t)got;
    uint32_t at = 0;
    for (; e->got_bytes - at >= e->size_bytes; at += e->size_bytes) {
        take(context, e->got + at, e->size_bytes);
    }
    e->got_bytes -= at;
    memmove(e->got, e->got + at, e->got_bytes);
}

static void tcp_close(void *of)
{
    end *e = of;
    (void)close(e->socket);
    free(e->held);
    free(e->got);
    free(e);
}

int main(int argc, char **argv)
{
    static const duel_wire wire = {tcp_open, tcp_send, tcp_flush, tcp_poll, tcp_close};
    return duel_main(argc, argv, &wire, "raw tcp");
}
