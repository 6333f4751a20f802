/* fault/out.c - what an end with faults sends and puts: lost, doubled, late. See fault/link.h.
 *
 * A flush passes behind all that was put to its peer before, doubles included, so that it stays true that what was put is there
 * when it is told, unless it was lost.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "transport/fault/inner.h"

enum { AGAIN_US = 1000 };

typedef stoa_fault fault;
typedef stoa_fault_held held;

/* --- what waits */

void stoa_fault_arm(fault *f)
{
    uint64_t at_ns = stoa_fault_next_ns(&f->link);
    if (f->timer < 0 || at_ns == f->armed_ns) { return; }
    f->armed_ns = at_ns;
    uint64_t now_ns = stoa_fault_now(f);
    uint64_t wait_ns = at_ns == UINT64_MAX ? 0 : at_ns <= now_ns ? 1 : at_ns - now_ns;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(wait_ns / STOA_S(1)), .tv_nsec = (long)(wait_ns % STOA_S(1))}};
    STOA_ASSERT(timerfd_settime(f->timer, 0, &when, NULL) == 0);
}

static void drop(fault *f, held **at)
{
    held *gone = *at;
    *at = gone->next;
    f->held_count--;
    free(gone);
}

void stoa_fault_forget(fault *f, stoa_peer peer)
{
    for (held **at = &f->first; *at;) {
        if (peer == 0 || (*at)->peer == peer) {
            drop(f, at);
        } else {
            at = &(*at)->next;
        }
    }
}

static stoa_err pass_on(fault *f, const held *h)
{
    const stoa_link_ops *ops = f->below->ops;
    if (h->kind == STOA_FAULT_FRAME) { return ops->send(f->below, h->peer, h->bytes, h->size_bytes); }
    if (h->kind == STOA_FAULT_FLUSH) { return ops->flush(f->below, h->peer, h->at); }
    const stoa_link_window *window = (const void *)h->bytes;
    return ops->put(f->below, h->peer, window, h->at, h->put, h->size_bytes);
}

void stoa_fault_release(fault *f, bool all)
{
    while (f->first && (all || f->first->due_ns <= stoa_fault_now(f))) {
        if (pass_on(f, f->first) == STOA_E_FULL && !all) {
            f->full_ns = stoa_fault_now(f) + STOA_US(AGAIN_US);
            return;
        }
        drop(f, &f->first);
    }
}

/* Keep a copy of what is to be passed on when it is due, and of the bytes that belong to it. */
static stoa_err hold(fault *f, const held *what, const void *bytes, size_t size_bytes)
{
    held *h = malloc(sizeof *h + size_bytes), **at = &f->first;
    if (!h) { return STOA_E_NOMEM; }
    *h = *what;
    if (size_bytes > 0) { memcpy(h->bytes, bytes, size_bytes); }
    while (*at && (*at)->due_ns <= h->due_ns) {
        at = &(*at)->next;
    }
    h->next = *at;
    *at = h;
    f->held_count++;
    stoa_fault_arm(f);
    return STOA_OK;
}

/* --- chance */

/* When what is sent now is due. */
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

static bool is_faultless(const fault *f)
{
    static const stoa_faults none;
    return !f->first && !f->cut_out && memcmp(&f->faults, &none, sizeof none) == 0;
}

/* Whether it does not come to pass: nothing goes that way now, or it has bad luck. Counted. */
static bool is_gone(fault *f)
{
    if (stoa_fault_out_cut(f)) {
        f->counts.cut++;
        return true;
    }
    if (f->faults.loss && stoa_random_chance(&f->random, f->faults.loss)) {
        f->counts.lost++;
        return true;
    }
    return false;
}

static stoa_err is_taken(const fault *f, uint32_t size_bytes)
{
    if (size_bytes == 0) { return STOA_E_INVALID; }
    if (size_bytes > f->frame_limit) { return STOA_E_TOO_LARGE; }
    return f->held_count + 2 > f->held_max ? STOA_E_FULL : STOA_OK;
}

/* Now, or when it is due. bytes: what what->bytes are to be. */
static stoa_err pass(fault *f, held *what, const void *bytes, size_t size_bytes)
{
    uint64_t now_ns = stoa_fault_now(f);
    what->due_ns = due_of(f, now_ns);
    if (what->due_ns > now_ns || f->first) { return hold(f, what, bytes, size_bytes); }
    return what->kind == STOA_FAULT_FRAME
               ? f->below->ops->send(f->below, what->peer, bytes, what->size_bytes)
               : f->below->ops->put(f->below, what->peer, bytes, what->at, what->put, what->size_bytes);
}

/* Perhaps twice. */
static stoa_err pass_by_chance(fault *f, held *what, const void *bytes, size_t size_bytes)
{
    if (is_gone(f)) { return STOA_OK; }
    bool twice = f->faults.duplicate && stoa_random_chance(&f->random, f->faults.duplicate);
    stoa_err err = pass(f, what, bytes, size_bytes);
    if (!err && twice) {
        f->counts.duplicated++;
        (void)pass(f, what, bytes, size_bytes);
    }
    if (!err) { f->counts.passed++; }
    return err;
}

/* --- out */

stoa_err stoa_fault_send(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    fault *f = stoa_fault_own(link);
    if (is_faultless(f)) {
        f->counts.passed++;
        return f->below->ops->send(f->below, peer, bytes, size_bytes);
    }
    stoa_fault_release(f, false);
    stoa_err err = is_taken(f, size_bytes);
    if (err) { return err; }
    held frame = {.kind = STOA_FAULT_FRAME, .peer = peer, .size_bytes = size_bytes};
    return pass_by_chance(f, &frame, bytes, size_bytes);
}

stoa_err stoa_fault_put(stoa_link *link, stoa_peer peer, const stoa_link_window *window, uint64_t offset, const void *bytes,
                        uint32_t size_bytes)
{
    fault *f = stoa_fault_own(link);
    if (is_faultless(f)) {
        f->counts.passed++;
        return f->below->ops->put(f->below, peer, window, offset, bytes, size_bytes);
    }
    stoa_fault_release(f, false);
    stoa_err err = is_taken(f, size_bytes);
    if (err) { return err; }
    if (offset > window->size_bytes || size_bytes > window->size_bytes - offset) { return STOA_E_INVALID; }
    held put = {.kind = STOA_FAULT_PUT, .peer = peer, .size_bytes = size_bytes, .at = offset, .put = bytes};
    return pass_by_chance(f, &put, window, sizeof *window);
}

/* When the last of what was put to peer before is due; 0: nothing of it is held. */
static uint64_t puts_due_ns(const fault *f, stoa_peer peer)
{
    uint64_t due_ns = 0;
    for (const held *h = f->first; h; h = h->next) {
        if (h->kind != STOA_FAULT_FRAME && (f->dials || h->peer == peer)) { due_ns = h->due_ns; }
    }
    return due_ns;
}

stoa_err stoa_fault_flush(stoa_link *link, stoa_peer peer, uint64_t token)
{
    fault *f = stoa_fault_own(link);
    if (is_faultless(f)) { return f->below->ops->flush(f->below, peer, token); }
    stoa_fault_release(f, false);
    if (f->held_count + 2 > f->held_max) { return STOA_E_FULL; }
    if (is_gone(f)) { return STOA_OK; }
    uint64_t now_ns = stoa_fault_now(f), puts_ns = puts_due_ns(f, peer);
    held flush = {.kind = STOA_FAULT_FLUSH, .peer = peer, .at = token, .due_ns = due_of(f, now_ns)};
    if (flush.due_ns < puts_ns) { flush.due_ns = puts_ns; } /* it is put behind them */
    if (flush.due_ns > now_ns || f->first) { return hold(f, &flush, NULL, 0); }
    return f->below->ops->flush(f->below, peer, token);
}
