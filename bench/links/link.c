/* link.c - our links as a wire of bench/links/wires.h: through transport/link.h alone, both owners spinning; but over libzmq, whose
 * threads need the processors, an owner that has nothing to do sleeps for a millisecond at most, as the peer's does.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/common/figure.h"
#include "bench/links/wires.h"
#include "transport/keys.h"
#include "transport/link.h"

enum { QUEUE_FRAMES = 4096, POLL_MAX = 64, FRAME_LIMIT_MIN = 1024, NAP_MS = 1 };
#define CURVE "+curve"

typedef struct end {
    stoa_link *link;
    stoa_peer peer;
    bool is_up, naps;
    duel_take *take;
    void *context;
} end;

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    end *e = context;
    (void)peer, (void)identity;
    e->take(e->context, bytes, size_bytes);
}

static void on_up(void *context, stoa_peer peer)
{
    end *e = context;
    e->peer = peer;
    e->is_up = true;
}

static void on_down(void *context, stoa_peer peer)
{
    end *e = context;
    (void)peer;
    e->is_up = false;
}

static uint32_t poll_some(end *e, uint32_t max)
{
    stoa_link_events events = {.frame = on_frame, .up = on_up, .down = on_down, .context = e};
    return e->link->ops->poll(e->link, &events, max);
}

bool bench_link_naps(const char *how)
{
    return strncmp(how, "zmq", 3) == 0;
}

void bench_link_nap(stoa_link *link)
{
    struct pollfd fd = {.fd = link->ops->fd(link), .events = POLLIN};
    (void)poll(&fd, 1, NAP_MS);
}

static void link_poll(void *of, duel_take *take, void *context)
{
    end *e = of;
    e->take = take;
    e->context = context;
    if (poll_some(e, POLL_MAX) == 0 && e->naps) { bench_link_nap(e->link); }
    if (!e->is_up) { duel_fail("the connection was lost"); }
}

static bool link_send(void *of, const void *bytes, uint32_t size_bytes)
{
    end *e = of;
    stoa_err err = e->link->ops->send(e->link, e->peer, bytes, size_bytes);
    if (err && err != STOA_E_FULL) { bench_must(err, "send"); }
    return !err;
}

static void link_close(void *of)
{
    end *e = of;
    e->link->ops->close(e->link, 0);
    free(e);
}

/* Both sides' keys, made by the reader; the note carries them to the other. */
typedef struct meeting {
    char address[256];
    stoa_key_pair keys[2];
} meeting;

stoa_link *bench_link_meet(duel_page *page, int side, const char *how, uint32_t frame_limit, uint32_t queue_frames)
{
    static meeting m;
    bool curve = strlen(how) > strlen(CURVE) && strcmp(how + strlen(how) - strlen(CURVE), CURVE) == 0;
    stoa_link *link = NULL;
    if (side == 1) { (void)duel_note_of(page, 0, &m, sizeof m); }
    if (side == 0) {
        char pattern[sizeof m.address];
        (void)snprintf(pattern, sizeof pattern, "%.*s", (int)(strlen(how) - (curve ? strlen(CURVE) : 0)), how);
        char *number = strstr(pattern, "%d");
        if (number) { *number = '\0'; }
        if (number) {
            (void)snprintf(m.address, sizeof m.address, "%.200s%d", pattern, (int)getpid());
        } else {
            (void)snprintf(m.address, sizeof m.address, "%s", pattern);
        }
        for (int i = 0; i < 2; i++) {
            bench_must(stoa_key_new(&m.keys[i]), "key");
        }
    }
    stoa_link_allowed allowed = {.name = "writer"};
    memcpy(allowed.public_key, m.keys[1].public_key, sizeof allowed.public_key);
    stoa_link_options options = {
        .listen = side == 0,
        .frame_limit = frame_limit,
        .queue_frames = queue_frames,
        .secret_key = curve ? m.keys[side].secret_key : NULL,
        .public_key = curve && side == 1 ? m.keys[side].public_key : NULL,
        .server_key = curve && side == 1 ? m.keys[0].public_key : NULL,
        .allowed = curve && side == 0 ? &allowed : NULL,
        .allowed_count = curve && side == 0,
    };
    bench_must(stoa_link_open(m.address, &options, &link), m.address);
    if (side == 0) {
        (void)snprintf(m.address, sizeof m.address, "%s", link->ops->address(link));
        duel_note(page, 0, &m, sizeof m);
    }
    stoa_link_spin(link, !bench_link_naps(how));
    return link;
}

static void *link_open(duel_page *page, int side, const char *how, uint32_t size_bytes)
{
    end *e = calloc(1, sizeof *e);
    if (!e) { duel_fail("no memory"); }
    e->naps = bench_link_naps(how);
    e->link = bench_link_meet(page, side, how, size_bytes > FRAME_LIMIT_MIN ? size_bytes : FRAME_LIMIT_MIN, QUEUE_FRAMES);
    while (!e->is_up) {
        (void)poll_some(e, 1); /* one event: the frames behind it are for later */
    }
    return e;
}

const duel_wire bench_wire_link = {.open = link_open, .send = link_send, .poll = link_poll, .close = link_close};
