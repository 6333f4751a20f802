/* session_flow.c - how much of a lane may be in flight: as much as the path has shown that it carries.
 *
 * Each lane has a limit of its own, so that none waits for another. It begins with BEGIN_BYTES, what a path of 10 kB/s carries in
 * half a second, and grows with what is acknowledged while it is what holds a lane back: it doubles in a round trip, or, above what
 * was once too much, grows by a step (RFC 5681; binomial: the root of the limit, at most a batch). It is lowered by three signs:
 *
 *     a batch is missing               by a quarter: it was chance, or a queue that was full
 *     none arrives for a timeout,      begin again with the least, and be careful from half of what was in flight on
 *     or the session falls silent
 *     round trips take a heartbeat     in proportion: the path carries all it can, and what more is sent only waits on
 *     longer than they could           the way, before the pulses (normal and bulk lane; compare RFC 6817)
 *
 * How long a round trip takes on an empty path is the shortest that was seen; when none was nearly as short for ten
 * seconds, a queue may have stood there all the time, or the path is another one: then the limits go down for a moment, to
 * see. On a path that loses nothing and has no queue a limit grows to the lane's window within a few round trips.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/session_internal.h"

/* No limit is lower than LEAST_BYTES; and one batch may always be in flight. */
enum { BEGIN_BYTES = 4 * STOA_SESSION_BATCH_MIN, LEAST_BYTES = 2 * STOA_SESSION_BATCH_MIN, BATCHES_LEAST = 4 };
enum { BATCHES_FIRST = 2, LOOK_AGAIN_S = 10 };

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint32_t stoa_flow_batch_bytes(const stoa_session *s, const stoa_lane_out *out)
{
    uint64_t parts = s->carries_known ? BATCHES_LEAST : BATCHES_FIRST;
    uint64_t part = most(out->flow.limit_bytes / parts, STOA_SESSION_BATCH_MIN);
    return (uint32_t)stoa_sooner(part, s->options.batch_bytes);
}

void stoa_flow_begin(stoa_session *s)
{
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        stoa_flow *flow = &s->out[i].flow;
        flow->limit_bytes = BEGIN_BYTES;
        flow->calm_bytes = UINT64_MAX;
        flow->slowed_ns = 0;
    }
    s->empty_rtt_ns = UINT64_MAX;
    s->queue_ns = 0;
    s->carries_known = false;
}

bool stoa_flow_lets(const stoa_lane_out *out, uint32_t bytes)
{
    const stoa_flow *flow = &out->flow;
    return flow->flight_bytes == 0 || flow->flight_bytes + bytes <= flow->limit_bytes;
}

bool stoa_flow_is_full(const stoa_session *s, const stoa_lane_out *out, uint32_t bytes)
{
    const stoa_flow *flow = &out->flow;
    return flow->limit_bytes < out->window_bytes &&
           flow->flight_bytes + bytes + stoa_flow_batch_bytes(s, out) > flow->limit_bytes;
}

/* So much a limit grows in a round trip above what was once too much: the root of it in KiB, and a batch at most. Less than in
 * proportion, so that of two directions that share a queue limit the one that has less catches up; and little where little goes through. */
static uint64_t step_bytes(const stoa_session *s, const stoa_flow *flow)
{
    uint64_t step = STOA_SESSION_BATCH_MIN;
    while (step < s->options.batch_bytes && step * step < flow->limit_bytes * 1024) { step += STOA_SESSION_BATCH_MIN / 2; }
    return step;
}

void stoa_flow_acked(stoa_session *s, stoa_lane_out *out, uint64_t bytes)
{
    stoa_flow *flow = &out->flow;
    bool was_held = out->oldest <= flow->held;
    if (s->queue_ns > s->options.heartbeat_ns / 2 && flow->limit_bytes < flow->calm_bytes) {
        flow->calm_bytes = flow->limit_bytes;
    }
    if (bytes == 0 || !was_held || s->queue_ns > s->options.heartbeat_ns || flow->limit_bytes >= out->window_bytes) {
        return;
    }
    flow->limit_bytes +=
        flow->limit_bytes < flow->calm_bytes ? bytes : step_bytes(s, flow) * bytes / flow->limit_bytes;
}

void stoa_flow_lost(stoa_lane_out *out)
{
    stoa_flow *flow = &out->flow;
    flow->limit_bytes = flow->calm_bytes = most(flow->limit_bytes * 3 / 4, LEAST_BYTES);
}

void stoa_flow_timeout(stoa_lane_out *out)
{
    stoa_flow *flow = &out->flow;
    flow->calm_bytes = most(flow->flight_bytes / 2, LEAST_BYTES);
    flow->limit_bytes = LEAST_BYTES;
}

/* --- queues */

/* At most once in a round trip: what was done for the last one does not show sooner. */
static void drain(stoa_flow *flow, uint64_t rtt_ns, uint64_t good_ns, uint64_t now_ns)
{
    if (now_ns - flow->slowed_ns < rtt_ns) { return; }
    flow->slowed_ns = now_ns;
    uint64_t lower =
        good_ns < rtt_ns / 2 ? flow->limit_bytes / 2 : flow->limit_bytes * (good_ns / 1024) / (rtt_ns / 1024 + 1);
    flow->limit_bytes = flow->calm_bytes = most(lower, LEAST_BYTES);
}

static void look_again(stoa_flow *flow)
{
    flow->calm_bytes = flow->limit_bytes;
    flow->limit_bytes = LEAST_BYTES;
}

void stoa_flow_sample(stoa_session *s, uint64_t rtt_ns, uint64_t now_ns)
{
    uint64_t queue_ns = s->options.heartbeat_ns;
    bool look = rtt_ns > s->empty_rtt_ns && now_ns - s->empty_at_ns > STOA_S(LOOK_AGAIN_S);
    if (rtt_ns < s->empty_rtt_ns || look) { s->empty_rtt_ns = rtt_ns; }
    if (rtt_ns <= s->empty_rtt_ns + queue_ns / 8) { s->empty_at_ns = now_ns; }
    s->queue_ns = rtt_ns - s->empty_rtt_ns;
    for (unsigned i = STOA_LANE_NORMAL; i < STOA_LANE_COUNT; i++) {
        stoa_flow *flow = &s->out[i].flow;
        if (look) { look_again(flow); }
        if (rtt_ns > s->empty_rtt_ns + queue_ns) { drain(flow, rtt_ns, s->empty_rtt_ns + queue_ns, now_ns); }
    }
}
