/* fault/link.c - see fault/link.h.
 *
 * A frame that is sent is lost, or goes to the link below, now or later: later ones wait in a list ordered by when they are
 * due. poll passes on what is due, then what the link below has to tell. Who sends faster than the link below takes finds
 * what was held before it first in the list, so that nothing overtakes by itself.
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

#include "base/random.h"
#include "transport/query.h"
#include "transport/sim/link.h"

enum { ADDRESS_BYTES = 512, HELD_QUEUES = 4, PERMILLE = 1000, AGAIN_US = 1000 };

typedef struct held {
    struct held *next;
    uint64_t due_ns;
    stoa_peer peer;
    uint32_t size_bytes;
    uint8_t bytes[];
} held;

typedef struct fault {
    stoa_link link;
    stoa_link *below;
    stoa_clock *clock;
    int epoll, timer; /* -1 where the clock is a simulation's */
    stoa_random random;
    stoa_faults faults;
    stoa_fault_counts counts;
    bool cut_out, cut_in;           /* by order */
    bool away_out, away_in;         /* by chance */
    uint64_t next_cut_ns, until_ns; /* of those by chance */
    held *first;
    uint32_t held_count, held_max, frame_limit;
    uint64_t last_ns; /* due time of the last frame that kept its place */
    uint64_t full_ns; /* the link below was full: not before */
    uint64_t armed_ns;
    const stoa_link_events *events; /* during poll */
    char options[ADDRESS_BYTES];    /* "?seed=7...", or nothing */
    char address[2 * ADDRESS_BYTES];
} fault;

static fault *own(stoa_link *link)
{
    return (fault *)(void *)link;
}

static uint64_t now_of(const fault *f)
{
    return f->clock->now_ns(f->clock);
}

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

static stoa_err faults_read(fault *f, const char *address)
{
    uint64_t is[SETTING_COUNT] = {[SEED] = 1};
    for (unsigned i = 0; i < SETTING_COUNT; i++) {
        stoa_err err = stoa_query_number(address, settings[i].key, settings[i].most, &is[i]);
        if (err) { return err; }
    }
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

static bool is_out_cut(fault *f)
{
    cuts_by_chance(f, now_of(f));
    return f->cut_out || f->away_out;
}

static bool is_in_cut(fault *f)
{
    cuts_by_chance(f, now_of(f));
    return f->cut_in || f->away_in;
}

stoa_err stoa_fault_set(stoa_link *link, const stoa_faults *faults)
{
    fault *f = own(link);
    if (faults->loss > PERMILLE || faults->duplicate > PERMILLE || faults->reorder > PERMILLE) {
        return STOA_FAIL(STOA_E_INVALID, "a fault strikes at most 1000 of a thousand frames");
    }
    f->faults = *faults;
    f->away_out = f->away_in = false;
    f->next_cut_ns = faults->cut_every_ns ? now_of(f) + around(f, faults->cut_every_ns) : UINT64_MAX;
    return STOA_OK;
}

void stoa_fault_cut(stoa_link *link, bool out, bool in)
{
    fault *f = own(link);
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

/* --- frames out */

/* Wake the owner when the first held frame is due. */
static void arm(fault *f)
{
    uint64_t at_ns = stoa_fault_next_ns(&f->link);
    if (f->timer < 0 || at_ns == f->armed_ns) { return; }
    f->armed_ns = at_ns;
    uint64_t now_ns = now_of(f);
    uint64_t wait_ns = at_ns == UINT64_MAX ? 0 : at_ns <= now_ns ? 1 : at_ns - now_ns;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(wait_ns / STOA_S(1)), .tv_nsec = (long)(wait_ns % STOA_S(1))}};
    STOA_ASSERT(timerfd_settime(f->timer, 0, &when, NULL) == 0);
}

static void drop_first(held **at, fault *f)
{
    held *gone = *at;
    *at = gone->next;
    f->held_count--;
    free(gone);
}

/* Pass on what is due, or all of it. */
static void release(fault *f, bool all)
{
    while (f->first && (all || f->first->due_ns <= now_of(f))) {
        held *h = f->first;
        if (f->below->ops->send(f->below, h->peer, h->bytes, h->size_bytes) == STOA_E_FULL && !all) {
            f->full_ns = now_of(f) + STOA_US(AGAIN_US);
            return;
        }
        drop_first(&f->first, f);
    }
}

static stoa_err hold(fault *f, stoa_peer peer, const void *bytes, uint32_t size_bytes, uint64_t due_ns)
{
    held *h = malloc(sizeof *h + size_bytes), **at = &f->first;
    if (!h) { return STOA_E_NOMEM; }
    *h = (held){.due_ns = due_ns, .peer = peer, .size_bytes = size_bytes};
    memcpy(h->bytes, bytes, size_bytes);
    while (*at && (*at)->due_ns <= due_ns) {
        at = &(*at)->next;
    }
    h->next = *at;
    *at = h;
    f->held_count++;
    arm(f);
    return STOA_OK;
}

/* When a frame that is sent now is due. */
static uint64_t due_of(fault *f, uint64_t now_ns)
{
    const stoa_faults *is = &f->faults;
    uint64_t due_ns = now_ns + is->delay_ns + (is->jitter_ns ? stoa_random_below(&f->random, is->jitter_ns + 1) : 0);
    if (is->reorder && stoa_random_chance(&f->random, is->reorder)) {
        uint64_t window_ns = is->delay_ns + is->jitter_ns;
        f->counts.reordered++;
        return due_ns + stoa_random_below(&f->random, window_ns > STOA_MS(1) ? window_ns : STOA_MS(1));
    }
    if (due_ns < f->last_ns) { due_ns = f->last_ns; }
    f->last_ns = due_ns;
    return due_ns;
}

static stoa_err pass(fault *f, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    uint64_t now_ns = now_of(f), due_ns = due_of(f, now_ns);
    if (due_ns > now_ns || f->first) { return hold(f, peer, bytes, size_bytes, due_ns); }
    return f->below->ops->send(f->below, peer, bytes, size_bytes);
}

static bool is_faultless(const fault *f)
{
    static const stoa_faults none;
    return !f->first && !f->cut_out && memcmp(&f->faults, &none, sizeof none) == 0;
}

static stoa_err send_frame(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    fault *f = own(link);
    if (is_faultless(f)) {
        f->counts.passed++;
        return f->below->ops->send(f->below, peer, bytes, size_bytes);
    }
    release(f, false);
    if (size_bytes == 0) { return STOA_E_INVALID; }
    if (size_bytes > f->frame_limit) { return STOA_E_TOO_LARGE; }
    if (f->held_count + 2 > f->held_max) { return STOA_E_FULL; }
    if (is_out_cut(f)) {
        f->counts.cut++;
        return STOA_OK;
    }
    if (f->faults.loss && stoa_random_chance(&f->random, f->faults.loss)) {
        f->counts.lost++;
        return STOA_OK;
    }
    bool twice = f->faults.duplicate && stoa_random_chance(&f->random, f->faults.duplicate);
    stoa_err err = pass(f, peer, bytes, size_bytes);
    if (!err && twice) {
        f->counts.duplicated++;
        (void)pass(f, peer, bytes, size_bytes);
    }
    if (!err) { f->counts.passed++; }
    return err;
}

/* --- events in */

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    fault *f = context;
    if (is_in_cut(f)) {
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
    for (held **at = &f->first; *at;) {
        if ((*at)->peer == peer) {
            drop_first(at, f);
        } else {
            at = &(*at)->next;
        }
    }
    f->events->down(f->events->context, peer);
}

static void on_refused(void *context, stoa_err why)
{
    fault *f = context;
    if (f->events->refused) { f->events->refused(f->events->context, why); }
}

static uint32_t poll_link(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    fault *f = own(link);
    const stoa_link_events wrapped = {
        .frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = f};
    release(f, false);
    f->events = events;
    uint32_t told = f->below->ops->poll(f->below, &wrapped, max);
    f->events = NULL;
    arm(f);
    return told;
}

/* --- the rest */

static int link_fd(stoa_link *link)
{
    return own(link)->epoll;
}

static const char *link_address(stoa_link *link)
{
    fault *f = own(link);
    const char *below = f->below->ops->address(f->below);
    (void)snprintf(f->address, sizeof f->address, "fault+%.*s%s", (int)strcspn(below, "?"), below, f->options);
    return f->address;
}

static stoa_err allow(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count)
{
    return own(link)->below->ops->allow(own(link)->below, allowed, count);
}

static void counts_of(stoa_link *link, stoa_link_counts *out)
{
    own(link)->below->ops->counts(own(link)->below, out);
}

static void close_link(stoa_link *link, uint32_t linger_ms)
{
    if (!link) { return; }
    fault *f = own(link);
    if (f->below && linger_ms > 0) { release(f, true); }
    while (f->first) {
        drop_first(&f->first, f);
    }
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

static stoa_clock *clock_of(const stoa_link *below)
{
    if (below->ops == &stoa_link_sim) { return stoa_sim_link_clock(below); }
    if (below->ops == &stoa_link_fault) { return ((const fault *)(const void *)below)->clock; }
    return &stoa_clock_real;
}

static stoa_err open_link(const char *address, const stoa_link_options *options, stoa_link **out)
{
    char below[ADDRESS_BYTES];
    stoa_err err = stoa_query_without(address + strlen("fault+"), is_own, below, sizeof below);
    if (err) { return err; }
    fault *f = calloc(1, sizeof *f);
    if (!f) { return STOA_FAIL(STOA_E_NOMEM, "a link with faults"); }
    f->link.ops = &stoa_link_fault;
    f->epoll = f->timer = -1;
    f->armed_ns = UINT64_MAX;
    f->frame_limit = options->frame_limit;
    f->held_max = options->queue_frames > UINT32_MAX / HELD_QUEUES ? UINT32_MAX : options->queue_frames * HELD_QUEUES;
    (void)snprintf(f->options, sizeof f->options, "%s", address + strcspn(address, "?"));
    err = stoa_link_open(below, options, &f->below);
    if (!err) {
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

const stoa_link_ops stoa_link_fault = {
    .scheme = "fault+",
    .open = open_link,
    .send = send_frame,
    .poll = poll_link,
    .fd = link_fd,
    .address = link_address,
    .allow = allow,
    .counts = counts_of,
    .close = close_link,
};
