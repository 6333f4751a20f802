/* fabric/dial.c - the side that dials: one connection at a time.
 *
 * The pause between attempts doubles from 40 to 1,000 ms, less up to a half by chance so that many do not come back at once,
 * and begins anew with a connection that came up.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/fabric/inner.h"

enum { PAUSE_FIRST_MS = 40, PAUSE_MAX_MS = 1000 };

void stoa_fabric_dial_rest(stoa_fabric *link, bool was_up)
{
    if (was_up) { link->pause_ms = PAUSE_FIRST_MS; }
    uint32_t half_ms = link->pause_ms / 2;
    uint32_t pause_ms = half_ms + (uint32_t)stoa_random_below(&link->random, half_ms);
    link->dial_ns = stoa_fabric_now_ns() + STOA_MS(pause_ms);
    stoa_link_timer_set(&link->timer, pause_ms);
    link->pause_ms = link->pause_ms * 2 < PAUSE_MAX_MS ? link->pause_ms * 2 : PAUSE_MAX_MS;
}

static void attempt(stoa_fabric *link)
{
    int fd = socket(link->where.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        int rc = connect(fd, (const struct sockaddr *)&link->where, link->where_bytes);
        bool begun = rc == 0 || errno == EINPROGRESS;
        if (begun && stoa_conn_new(link, fd, STOA_PHASE_CONNECTING)) { return; }
        (void)close(fd);
    }
    stoa_fabric_dial_rest(link, false);
}

stoa_err stoa_fabric_dial_open(stoa_fabric *link)
{
    uint64_t seed;
    stoa_random_system(&seed, sizeof seed);
    stoa_random_seed(&link->random, seed);
    link->pause_ms = PAUSE_FIRST_MS;
    attempt(link);
    return STOA_OK;
}

void stoa_fabric_dial_tick(stoa_fabric *link, uint64_t now_ns)
{
    if (!link->conns[0] && !link->leaving && now_ns >= link->dial_ns) { attempt(link); }
}
