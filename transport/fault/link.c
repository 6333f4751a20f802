/* fault/link.c - see fault/link.h.
 *
 * A frame that is sent is lost, or goes to the link below, now or later: later ones wait in a list ordered by when they are
 * due. poll passes on what is due, then what the link below has to tell. Who sends faster than the link below takes finds
 * what was held before it first in the list, so that nothing overtakes by itself. So does what is put (out.c has both).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/fault/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "transport/fault/inner.h"
#include "transport/query.h"
#include "transport/sim/link.h"

enum { PERMILLE = 1000 };

typedef stoa_fault fault;

/* --- options */

typedef struct setting {
    const char *key;
    uint64_t most;
} setting;

enum { SEED, LOSS, DUP, REORDER, DELAY_US, JITTER_US, CUT_EVERY_MS, CUT_FOR_MS, SETTING_COUNT };
static const setting settings[SETTING_COUNT] = {
    [SEED] = {"seed", UINT64_MAX},
    [LOSS] = {"loss", PERMILLE},
    [DUP] = {"dup", PERMILLE},
    [REORDER] = {"reorder", PERMILLE},
    [DELAY_US] = {"delay_us", 60000000},
    [JITTER_US] = {"jitter_us", 60000000},
    [CUT_EVERY_MS] = {"cut_every_ms", 3600000},
    [CUT_FOR_MS] = {"cut_for_ms", 3600000},
};

static bool is_own(const char *key, size_t key_bytes)
{
    unsigned i = 0;
    while (i < SETTING_COUNT &&
           (strlen(settings[i].key) != key_bytes || memcmp(settings[i].key, key, key_bytes) != 0)) {
        i++;
    }
    return i < SETTING_COUNT;
}

static stoa_err options_read(const char *address, uint64_t is[SETTING_COUNT])
{
    for (unsigned i = 0; i < SETTING_COUNT; i++) {
        stoa_err err = stoa_query_number(address, settings[i].key, settings[i].most, &is[i]);
        if (err) { return err; }
    }
    return STOA_OK;
}

stoa_err stoa_fault_below(const char *address, char below_out[STOA_FAULT_ADDRESS_BYTES])
{
    uint64_t is[SETTING_COUNT];
    stoa_err err = options_read(address, is);
    return err ? err : stoa_query_without(address + strlen(stoa_link_fault.scheme), is_own, below_out, STOA_FAULT_ADDRESS_BYTES);
}

static stoa_err faults_read(fault *f, const char *address)
{
    uint64_t is[SETTING_COUNT] = {[SEED] = 1};
    stoa_err err = options_read(address, is);
    if (err) { return err; }
    stoa_random_seed(&f->random, is[SEED]);
    stoa_faults faults = {
        .loss = (uint32_t)is[LOSS],
        .duplicate = (uint32_t)is[DUP],
        .reorder = (uint32_t)is[REORDER],
        .delay_ns = STOA_US(is[DELAY_US]),
        .jitter_ns = STOA_US(is[JITTER_US]),
        .cut_every_ns = STOA_MS(is[CUT_EVERY_MS]),
        .cut_for_ns = STOA_MS(is[CUT_FOR_MS]),
    };
    return stoa_fault_set(&f->link, &faults);
}

/* --- chance */

/* Between half of about and one and a half times it. */
static uint64_t around(fault *f, uint64_t about)
{
    return about / 2 + stoa_random_below(&f->random, about + 1);
}

static void cuts_by_chance(fault *f, uint64_t now_ns)
{
    if (f->faults.cut_every_ns == 0) { return; }
    if (now_ns >= f->until_ns) { f->away_out = f->away_in = false; }
    if (now_ns < f->next_cut_ns) { return; }
    uint64_t which = stoa_random_below(&f->random, 4);
    f->away_out = which != 0;
    f->away_in = which != 1;
    f->until_ns = now_ns + around(f, f->faults.cut_for_ns);
    f->next_cut_ns = f->until_ns + around(f, f->faults.cut_every_ns);
    f->counts.cuts++;
}

bool stoa_fault_out_cut(fault *f)
{
    cuts_by_chance(f, stoa_fault_now(f));
    return f->cut_out || f->away_out;
}

bool stoa_fault_in_cut(fault *f)
{
    cuts_by_chance(f, stoa_fault_now(f));
    return f->cut_in || f->away_in;
}

stoa_err stoa_fault_set(stoa_link *link, const stoa_faults *faults)
{
    fault *f = stoa_fault_own(link);
    if (faults->loss > PERMILLE || faults->duplicate > PERMILLE || faults->reorder > PERMILLE) {
        return STOA_FAIL(STOA_E_INVALID, "a fault strikes at most 1000 of a thousand frames");
    }
    f->faults = *faults;
    f->away_out = f->away_in = false;
    f->next_cut_ns = faults->cut_every_ns ? stoa_fault_now(f) + around(f, faults->cut_every_ns) : UINT64_MAX;
    return STOA_OK;
}

void stoa_fault_cut(stoa_link *link, bool out, bool in)
{
    fault *f = stoa_fault_own(link);
    f->counts.cuts += (out && !f->cut_out) || (in && !f->cut_in);
    f->cut_out = out;
    f->cut_in = in;
}

void stoa_fault_counted(const stoa_link *link, stoa_fault_counts *out)
{
    *out = ((const fault *)(const void *)link)->counts;
}

uint64_t stoa_fault_next_ns(const stoa_link *link)
{
    const fault *f = (const fault *)(const void *)link;
    if (!f->first) { return UINT64_MAX; }
    return f->first->due_ns > f->full_ns ? f->first->due_ns : f->full_ns;
}

/* --- events in */

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    fault *f = context;
    if (stoa_fault_in_cut(f)) {
        f->counts.cut++;
        return;
    }
    f->events->frame(f->events->context, peer, identity, bytes, size_bytes);
}

static void on_up(void *context, stoa_peer peer)
{
    fault *f = context;
    f->events->up(f->events->context, peer);
}

static void on_down(void *context, stoa_peer peer)
{
    fault *f = context;
    stoa_fault_forget(f, f->dials ? 0 : peer);
    f->events->down(f->events->context, peer);
}

static void on_refused(void *context, stoa_err why)
{
    fault *f = context;
    if (f->events->refused) { f->events->refused(f->events->context, why); }
}

static void on_flushed(void *context, stoa_peer peer, uint64_t token)
{
    fault *f = context;
    if (stoa_fault_in_cut(f)) {
        f->counts.cut++;
    } else if (f->events->flushed) {
        f->events->flushed(f->events->context, peer, token);
    }
}

static uint32_t poll_link(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    fault *f = stoa_fault_own(link);
    const stoa_link_events wrapped = {.frame = on_frame,
                                      .down = on_down,
                                      .up = on_up,
                                      .refused = on_refused,
                                      .flushed = on_flushed,
                                      .context = f};
    stoa_fault_release(f, false);
    f->events = events;
    uint32_t told = f->below->ops->poll(f->below, &wrapped, max);
    f->events = NULL;
    stoa_fault_arm(f);
    return told;
}

/* --- the rest */

static int link_fd(stoa_link *link)
{
    return stoa_fault_own(link)->epoll;
}

static const char *link_address(stoa_link *link)
{
    fault *f = stoa_fault_own(link);
    const char *below = f->below->ops->address(f->below);
    (void)snprintf(f->address, sizeof f->address, "fault+%.*s%s", (int)strcspn(below, "?"), below, f->options);
    return f->address;
}

static stoa_err allow(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count)
{
    return stoa_fault_own(link)->below->ops->allow(stoa_fault_own(link)->below, allowed, count);
}

static void part(stoa_link *link, stoa_peer peer)
{
    stoa_fault_own(link)->below->ops->part(stoa_fault_own(link)->below, peer);
}

static void counts_of(stoa_link *link, stoa_link_counts *out)
{
    stoa_fault_own(link)->below->ops->counts(stoa_fault_own(link)->below, out);
}

static void describe(stoa_link *link, stoa_link_traits *out)
{
    stoa_link_describe(stoa_fault_own(link)->below, out);
    (void)snprintf(out->note, sizeof out->note, "with faults: %.100s", stoa_fault_own(link)->options);
}

static stoa_err expose(stoa_link *link, void *memory, uint64_t size_bytes, stoa_link_window *out)
{
    stoa_link *below = stoa_fault_own(link)->below;
    return below->ops->expose(below, memory, size_bytes, out);
}

static void conceal(stoa_link *link, const stoa_link_window *window)
{
    stoa_link *below = stoa_fault_own(link)->below;
    below->ops->conceal(below, window);
}

static void close_link(stoa_link *link, uint32_t linger_ms)
{
    if (!link) { return; }
    fault *f = stoa_fault_own(link);
    if (f->below && linger_ms > 0) { stoa_fault_release(f, true); }
    stoa_fault_forget(f, 0);
    if (f->below) { f->below->ops->close(f->below, linger_ms); }
    if (f->epoll >= 0) { (void)close(f->epoll); }
    if (f->timer >= 0) { (void)close(f->timer); }
    free(f);
}

static stoa_err descriptors_open(fault *f)
{
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (f->clock == &stoa_clock_real) { f->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC); }
    int fds[] = {f->below->ops->fd(f->below), f->timer};
    bool good = f->epoll >= 0 && (f->timer >= 0 || f->clock != &stoa_clock_real);
    for (unsigned i = 0; good && i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        good = fds[i] < 0 || epoll_ctl(f->epoll, EPOLL_CTL_ADD, fds[i], &event) == 0;
    }
    return good ? STOA_OK : STOA_FAIL(STOA_E_IO, "%s", strerror(errno));
}

static const stoa_link_ops with_puts;

static stoa_clock *clock_of(const stoa_link *below)
{
    if (below->ops == &stoa_link_sim) { return stoa_sim_link_clock(below); }
    if (below->ops == &stoa_link_fault || below->ops == &with_puts) { return ((const fault *)(const void *)below)->clock; }
    return &stoa_clock_real;
}

static stoa_err open_link(const char *address, const stoa_link_options *options, stoa_link **out)
{
    char below[STOA_FAULT_ADDRESS_BYTES];
    stoa_err err = stoa_fault_below(address, below);
    if (err) { return err; }
    fault *f = calloc(1, sizeof *f);
    if (!f) { return STOA_FAIL(STOA_E_NOMEM, "a link with faults"); }
    f->link.ops = &stoa_link_fault;
    f->epoll = f->timer = -1;
    f->armed_ns = UINT64_MAX;
    f->dials = !options->listen;
    f->frame_limit = options->frame_limit;
    f->held_max = options->queue_frames > UINT32_MAX / STOA_FAULT_HELD_QUEUES
                      ? UINT32_MAX
                      : options->queue_frames * STOA_FAULT_HELD_QUEUES;
    (void)snprintf(f->options, sizeof f->options, "%s", address + strcspn(address, "?"));
    err = stoa_link_open(below, options, &f->below);
    if (!err) {
        if (f->below->ops->put) { f->link.ops = &with_puts; }
        f->clock = clock_of(f->below);
        err = faults_read(f, address);
    }
    if (!err) { err = descriptors_open(f); }
    if (err) {
        close_link(&f->link, 0);
        return err;
    }
    *out = &f->link;
    return STOA_OK;
}

#define OF_ALL                                                                                                         \
    .scheme = "fault+", .open = open_link, .send = stoa_fault_send, .poll = poll_link, .fd = link_fd,                  \
    .address = link_address, .allow = allow, .part = part, .counts = counts_of, .describe = describe, .close = close_link

const stoa_link_ops stoa_link_fault = {OF_ALL};
/* Over a link that has them. */
static const stoa_link_ops with_puts = {
    OF_ALL, .expose = expose, .conceal = conceal, .put = stoa_fault_put, .flush = stoa_fault_flush};
