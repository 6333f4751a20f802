/* link.c - our links as a wire of bench/links/wires.h: through transport/link.h alone, both owners spinning.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/common/figure.h"
#include "bench/links/wires.h"
#include "transport/keys.h"
#include "transport/link.h"

enum { QUEUE_FRAMES = 4096, POLL_MAX = 64, FRAME_LIMIT_MIN = 1024 };
#define CURVE "+curve"

typedef struct end {
    stoa_link *link;
    stoa_peer peer;
    bool is_up;
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

static void poll_some(end *e, uint32_t max)
{
    stoa_link_events events = {.frame = on_frame, .up = on_up, .down = on_down, .context = e};
    (void)e->link->ops->poll(e->link, &events, max);
}

static void link_poll(void *of, duel_take *take, void *context)
{
    end *e = of;
    e->take = take;
    e->context = context;
    poll_some(e, POLL_MAX);
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

static void *link_open(duel_page *page, int side, const char *how, uint32_t size_bytes)
{
    static meeting m;
    bool curve = strlen(how) > strlen(CURVE) && strcmp(how + strlen(how) - strlen(CURVE), CURVE) == 0;
    end *e = calloc(1, sizeof *e);
    if (!e) { duel_fail("no memory"); }
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
        .frame_limit = size_bytes > FRAME_LIMIT_MIN ? size_bytes : FRAME_LIMIT_MIN,
        .queue_frames = QUEUE_FRAMES,
        .secret_key = curve ? m.keys[side].secret_key : NULL,
        .public_key = curve && side == 1 ? m.keys[side].public_key : NULL,
        .server_key = curve && side == 1 ? m.keys[0].public_key : NULL,
        .allowed = curve && side == 0 ? &allowed : NULL,
        .allowed_count = curve && side == 0,
    };
    bench_must(stoa_link_open(m.address, &options, &e->link), m.address);
    if (side == 0) {
        (void)snprintf(m.address, sizeof m.address, "%s", e->link->ops->address(e->link));
        duel_note(page, 0, &m, sizeof m);
    }
    stoa_link_spin(e->link, true);
    while (!e->is_up) {
        poll_some(e, 1); /* one event: the frames behind it are for later */
    }
    return e;
}

const duel_wire bench_wire_link = {.open = link_open, .send = link_send, .poll = link_poll, .close = link_close};
