/* sim/link.c - the operations of transport/link.h inside one process. What lies between two ends is net.c's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/sim/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "transport/query.h"
#include "transport/sim/net.h"

static stoa_sim_end *own(stoa_link *link)
{
    return (stoa_sim_end *)(void *)link;
}

stoa_clock *stoa_sim_link_clock(const stoa_link *link)
{
    STOA_ASSERT(link->ops == &stoa_link_sim);
    return ((const stoa_sim_end *)(const void *)link)->net->options.clock;
}

static stoa_err options_check(const stoa_link_options *o)
{
    bool keys = o->secret_key || o->public_key || o->server_key || o->allowed || o->allowed_count > 0;
    if (keys) { return STOA_FAIL(STOA_E_INVALID, "a simulated link does not encrypt"); }
    if (o->frame_limit < STOA_LINK_FRAME_LIMIT_MIN || o->queue_frames == 0 || o->peer_limit > STOA_LINK_PEERS_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "frame_limit, queue_frames or peer_limit is out of range");
    }
    return STOA_OK;
}

static stoa_err open_link(const char *address, const stoa_link_options *options, stoa_link **out)
{
    stoa_err err = options_check(options);
    if (err) { return err; }
    stoa_sim_end *end = calloc(1, sizeof *end);
    if (!end) { return STOA_FAIL(STOA_E_NOMEM, "a simulated link"); }
    end->link.ops = &stoa_link_sim;
    end->listens = options->listen;
    end->frame_limit = options->frame_limit;
    end->queue_frames = options->queue_frames;
    end->peer_limit = options->peer_limit ? options->peer_limit : STOA_LINK_PEERS;
    end->armed_ns = UINT64_MAX;
    end->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    (void)stoa_query_text(address, "as", end->as, sizeof end->as);
    if (end->timer < 0) {
        err = STOA_FAIL(STOA_E_IO, "timerfd_create");
    } else {
        stoa_sim_net_lock();
        err = stoa_sim_end_join(end, address + strlen("sim://"));
        stoa_sim_net_unlock();
    }
    if (err) {
        if (end->timer >= 0) { (void)close(end->timer); }
        free(end);
        return err;
    }
    (void)snprintf(end->address, sizeof end->address, "%.*s", (int)strcspn(address, "?"), address);
    *out = &end->link;
    return STOA_OK;
}

static stoa_sim_half *half_of(stoa_sim_end *end, stoa_peer peer)
{
    stoa_sim_half *half = end->halves;
    while (half && end->listens && half->peer != peer) {
        half = half->next;
    }
    return half;
}

static stoa_err send_frame(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    stoa_sim_end *end = own(link);
    if (size_bytes == 0) { return STOA_E_INVALID; }
    if (size_bytes > end->frame_limit) { return STOA_E_TOO_LARGE; }
    stoa_sim_net_lock();
    stoa_sim_half *half = half_of(end, peer);
    stoa_err err = half && half->up ? stoa_sim_half_post(half, bytes, size_bytes) : STOA_E_CLOSED;
    stoa_sim_net_unlock();
    return err;
}

static void tell(const stoa_link_events *events, const stoa_sim_notice *notice, stoa_peer peer, const char *identity)
{
    switch (notice->what) {
    case STOA_SIM_UP: events->up(events->context, peer); break;
    case STOA_SIM_DOWN: events->down(events->context, peer); break;
    case STOA_SIM_FRAME: events->frame(events->context, peer, identity, notice->bytes, notice->size_bytes); break;
    case STOA_SIM_REFUSED:
        if (events->refused) { events->refused(events->context, notice->why); }
        break;
    }
}

/* Take note of what is about to be told; returns the peer it is about. */
static stoa_peer note(stoa_sim_end *end, const stoa_sim_notice *notice, char identity[64])
{
    if (!notice->half) { return 0; }
    stoa_peer peer = notice->half->peer;
    memcpy(identity, notice->half->identity, sizeof notice->half->identity);
    if (notice->what == STOA_SIM_UP) {
        notice->half->up = true;
        end->counts.ups++;
    } else if (notice->what == STOA_SIM_DOWN) {
        end->counts.downs++;
        stoa_sim_half_forget(notice->half);
    }
    return peer;
}

static uint32_t poll_link(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    stoa_sim_end *end = own(link);
    uint32_t told = 0;
    while (told < max) {
        char identity[64] = "";
        stoa_sim_net_lock();
        stoa_sim_end_dial(end);
        stoa_sim_notice *notice = stoa_sim_end_take(end);
        stoa_peer peer = notice ? note(end, notice, identity) : 0;
        stoa_sim_net_unlock();
        if (!notice) { break; }
        tell(events, notice, peer, identity);
        free(notice);
        told++;
    }
    stoa_sim_net_lock();
    stoa_sim_end_arm(end);
    stoa_sim_net_unlock();
    return told;
}

static int link_fd(stoa_link *link)
{
    return own(link)->timer;
}

static const char *link_address(stoa_link *link)
{
    return own(link)->address;
}

static stoa_err allow(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count)
{
    (void)link, (void)allowed, (void)count;
    return STOA_FAIL(STOA_E_INVALID, "a simulated link has no keys");
}

static void part(stoa_link *link, stoa_peer peer)
{
    stoa_sim_end *end = own(link);
    stoa_sim_net_lock();
    stoa_sim_half *half = end->listens ? half_of(end, peer) : NULL;
    if (half && half->up) { stoa_sim_half_end(half); }
    stoa_sim_net_unlock();
}

static void counts_of(stoa_link *link, stoa_link_counts *out)
{
    stoa_sim_net_lock();
    *out = own(link)->counts;
    stoa_sim_net_unlock();
}

static void close_link(stoa_link *link, uint32_t linger_ms)
{
    if (!link) { return; }
    stoa_sim_end *end = own(link);
    stoa_sim_net_lock();
    stoa_sim_end_part(end, linger_ms == 0);
    stoa_sim_net_unlock();
    (void)close(end->timer);
    free(end);
}

const stoa_link_ops stoa_link_sim = {
    .scheme = "sim",
    .open = open_link,
    .send = send_frame,
    .poll = poll_link,
    .fd = link_fd,
    .address = link_address,
    .allow = allow,
    .part = part,
    .counts = counts_of,
    .close = close_link,
};
