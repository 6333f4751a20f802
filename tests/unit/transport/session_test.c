/* session_test.c - goal: what transport/session.h promises of one session, case by case. Method: two sessions over a
 * simulated link under a clock that the test moves; what a hostile or old peer would say is put into the link by hand.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/transport/session_kit.h"

#include "transport/session_internal.h"

enum { BEAT_MS = 100, SILENCE_MAX_MS = 2000, HELLO_BYTES = STOA_ENVELOPE_BYTES + sizeof(stoa_hello),
       FRAME_BYTES = STOA_FRAME_HEAD_BYTES + STOA_FRAME_ADDRESS_BYTES };

/* --- the ordinary */

static void messages_come_in_order_on_each_lane(void **state)
{
    enum { EACH = 500 };
    kit *k = *state;
    kit_up(k);
    for (uint32_t i = 0; i < EACH; i++) {
        for (stoa_lane lane = STOA_LANE_CONTROL; lane < STOA_LANE_COUNT; lane++) {
            assert_int_equal(kit_send(&k->a, lane, &i, sizeof i, 0), STOA_OK);
            assert_int_equal(kit_send(&k->b, lane, &i, i % 5, 0), STOA_OK);
        }
    }
    kit_run(k, 50);
    assert_int_equal(k->a.messages, EACH * STOA_LANE_COUNT);
    assert_int_equal(k->b.messages, EACH * STOA_LANE_COUNT);
    assert_int_equal(k->b.type, 7);
    stoa_session_view a = kit_view(&k->a);
    assert_int_equal(a.lanes[STOA_LANE_NORMAL].queued, 0);
    assert_int_equal(a.lanes[STOA_LANE_NORMAL].acked, EACH);
    assert_int_equal(a.lanes[STOA_LANE_NORMAL].received, EACH);
    assert_true(a.counts.batches_sent < EACH); /* they went together */
    assert_int_equal(a.counts.resent, 0);
    assert_true(stoa_histogram_count(a.rtt) > 0);
    assert_string_equal(a.peer, "b");
}

static void who_trusts_the_link_sends_no_checksums_to_who_does_too(void **state)
{
    kit *k = *state;
    k->options.trusts_link = true;
    kit_up(k);
    assert_true(kit_session(&k->a)->bare && kit_session(&k->b)->bare);
    assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, "x", 1, 0), STOA_OK);
    kit_run(k, 5);
    assert_int_equal(k->b.messages, 1);
    kit_end_now(&k->b);
    stoa_session_options b = kit_options(k, &k->b);
    b.incarnation = 2;
    b.trusts_link = false;
    kit_begin(k, &k->b, &b);
    kit_run(k, 5);
    assert_false(kit_session(&k->a)->bare || kit_session(&k->b)->bare);
    assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, "x", 1, 0), STOA_OK);
    kit_run(k, 5);
    assert_int_equal(k->b.messages, 1);
}

static void a_batch_waits_for_more_no_longer_than_it_may(void **state)
{
    kit *k = *state;
    k->options.batch_ns = STOA_MS(20);
    kit_up(k);
    assert_int_equal(kit_send(&k->b, STOA_LANE_NORMAL, "x", 1, 0), STOA_OK);
    kit_run(k, 15);
    assert_int_equal(k->a.messages, 0);
    assert_int_equal(kit_send(&k->b, STOA_LANE_NORMAL, "y", 1, 0), STOA_OK);
    kit_run(k, 6);
    assert_int_equal(k->a.messages, 2);
    assert_int_equal(kit_view(&k->b).counts.batches_sent, 1);
}

static void a_message_too_large_is_named(void **state)
{
    kit *k = *state;
    kit_up(k);
    uint32_t most = stoa_session_message_max(kit_session(&k->a));
    static uint8_t bytes[64 * 1024];
    assert_int_equal(kit_send(&k->a, STOA_LANE_BULK, bytes, most + 1, 0), STOA_E_TOO_LARGE);
    assert_int_equal(kit_send(&k->a, STOA_LANE_BULK, bytes, most, STOA_S(100)), STOA_OK);
    assert_int_equal(kit_send(&k->a, STOA_LANE_COUNT, bytes, 1, 0), STOA_E_INVALID);
    kit_run(k, 5);
    assert_int_equal(k->b.size_bytes, most);
}

/* --- bounds */

/* A peer that never consumes fills one lane; the others go on. */
static void a_peer_that_does_not_consume_fills_its_lane_alone(void **state)
{
    kit *k = *state;
    k->options.consumes = true;
    kit_up(k);
    static uint8_t bytes[1000];
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        taken += kit_send(&k->a, STOA_LANE_BULK, bytes, sizeof bytes, 0) == STOA_OK;
        if (i % 10 == 0) { kit_run(k, 1); }
    }
    stoa_session_view a = kit_view(&k->a);
    assert_true(k->b.credit_bytes <= 1 << 20 && k->b.credit_bytes > (1 << 20) - 32768); /* what b gave */
    assert_true((uint64_t)taken * sizeof bytes < 3 << 20); /* that, and what a's queue holds */
    assert_true(a.counts.full > 0);
    assert_int_equal(kit_send(&k->a, STOA_LANE_BULK, bytes, sizeof bytes, 0), STOA_E_FULL);
    uint32_t before = k->b.messages;
    assert_int_equal(kit_send(&k->a, STOA_LANE_CONTROL, "!", 1, 0), STOA_OK);
    assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, "!", 1, 0), STOA_OK);
    kit_run(k, 5);
    assert_int_equal(k->b.messages, before + 2);
    stoa_session_consumed(kit_session(&k->b), STOA_LANE_BULK, k->b.credit_bytes);
    k->a.rooms = 0;
    kit_run(k, 200);
    assert_int_equal(k->a.rooms, 1);
    assert_int_equal(kit_view(&k->b).lanes[STOA_LANE_BULK].received, taken);
}

/* A peer that is stopped takes nothing from the link; send says FULL, and it is noticed. */
static void a_peer_that_never_reads_is_full_then_silent(void **state)
{
    kit *k = *state;
    kit_up(k);
    k->b.stopped = true;
    static uint8_t bytes[1000];
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < 4000 && !err; i++) {
        err = kit_send(&k->a, STOA_LANE_NORMAL, bytes, sizeof bytes, 0);
    }
    assert_int_equal(err, STOA_E_FULL);
    kit_run(k, BEAT_MS + SILENCE_MAX_MS);
    assert_int_equal(k->a.downs, 1);
    assert_int_equal(k->a.why_down, STOA_E_TIMEOUT);
    k->b.stopped = false;
    kit_run(k, 500);
    assert_int_equal(k->a.resumes, 1);
    assert_int_equal(kit_view(&k->a).lanes[STOA_LANE_NORMAL].queued, 0);
    assert_int_equal(kit_view(&k->a).counts.resets, 0);
}

static stoa_err send_full(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    (void)link, (void)peer, (void)bytes, (void)size_bytes;
    return STOA_E_FULL;
}

/* An acknowledgement is due: the link's descriptor says when there is room, and time does not. */
static void who_waits_for_room_does_not_spin(void **state)
{
    kit *k = *state;
    kit_up(k);
    const stoa_link_ops *before = k->a.link->ops;
    static stoa_link_ops full;
    full = *before;
    full.send = send_full;
    assert_int_equal(kit_send(&k->b, STOA_LANE_NORMAL, "x", 1, 0), STOA_OK);
    kit_run_end(&k->b);
    k->clock.now += STOA_MS(1);
    k->a.link->ops = &full;
    kit_run_end(&k->a);
    assert_int_equal(k->a.messages, 1);
    for (unsigned ms = 0; ms < 20; ms++) {
        k->clock.now += STOA_MS(1);
        assert_true(stoa_sessions_step(k->a.sessions, kit_now(k)) > kit_now(k));
    }
    k->a.link->ops = before;
    kit_run(k, 20);
    assert_int_equal(kit_view(&k->b).lanes[STOA_LANE_NORMAL].acked, 1);
}

/* --- deadlines */

static void a_message_past_its_deadline_is_dropped_where_it_is(void **state)
{
    kit *k = *state;
    kit_up(k);
    stoa_fault_cut(k->a.link, true, true);
    assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, "sent", 4, kit_now(k) + STOA_MS(10)), STOA_OK);
    kit_run(k, 1);
    assert_int_equal(k->a.expired_here, 0); /* it is on its way; who receives decides */
    k->a.stopped = true;
    assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, "over", 4, kit_now(k) + STOA_MS(5)), STOA_OK);
    assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, "good", 4, kit_now(k) + STOA_S(10)), STOA_OK);
    kit_run(k, 30);
    k->a.stopped = false;
    stoa_fault_cut(k->a.link, false, false);
    kit_run(k, 100);
    assert_int_equal(k->a.expired_here, 1);
    assert_int_equal(k->b.expired_there, 2);
    assert_int_equal(k->b.messages, 1);
    assert_memory_equal(k->b.bytes, "good", 4);
    assert_int_equal(k->b.last_seq[STOA_LANE_NORMAL], 3);
    assert_true(k->b.deadline_ns > kit_now(k) && k->b.deadline_ns <= kit_now(k) + STOA_S(10));
    stoa_session_view a = kit_view(&k->a), b = kit_view(&k->b);
    assert_int_equal(a.counts.expired_here, 1);
    assert_int_equal(b.counts.expired_there, 2);
}

/* --- addresses */

/* Of a batch; a source and a target are said where they change, also by what is over before it is sent. */
static const struct addressed {
    uint64_t source, target, deadline_ms; /* 0: none; 1: it is over */
    uint32_t size_bytes;
} addressed[] = {{1, 2, 0, 0},    {1, 2, 0, 9},    {3, 2, 0, 0},    {3, 2, 1, 20},   {3, 2, 0, 1},     {4, 5, 1, 8}, {4, 5, 0, 8},
                 {4, 5, 9999, 0}, {1, 5, 1, 0},    {1, 2, 9999, 7}, {1, 2, 9999, 16}, {0, 0, 0, 3},    {0, 0, 0, 0},
                 {0, 9, 1, 0},    {0, 9, 0, 200}, {0, 9, 0, 0},    {UINT64_MAX, 9, 0, 1}};
enum { ADDRESSED = sizeof addressed / sizeof addressed[0] };

static void is_as_it_was_sent(kit_end *e)
{
    const struct addressed *is = &addressed[e->last_seq[STOA_LANE_NORMAL] - 1];
    assert_int_not_equal(is->deadline_ms, 1);
    assert_int_equal(e->source, is->source);
    assert_int_equal(e->target, is->target);
    assert_int_equal(e->size_bytes, is->size_bytes);
    for (uint32_t i = 0; i < e->size_bytes; i++) { assert_int_equal(e->bytes[i], (uint8_t)(e->last_seq[STOA_LANE_NORMAL] + i)); }
}

static void each_message_has_its_own_source_and_target(void **state)
{
    kit *k = *state;
    uint8_t bytes[200];
    uint32_t over = 0;
    k->options.consumes = true;
    kit_up(k);
    k->b.told = is_as_it_was_sent;
    k->a.stopped = true;
    for (uint64_t i = 0, seq; i < ADDRESSED; i++) {
        const struct addressed *is = &addressed[i];
        for (uint32_t at = 0; at < is->size_bytes; at++) { bytes[at] = (uint8_t)(i + 1 + at); }
        uint64_t deadline_ns = is->deadline_ms ? kit_now(k) + STOA_MS(is->deadline_ms) : 0;
        assert_int_equal(stoa_session_send(kit_session(&k->a), STOA_LANE_NORMAL, 7, is->source, is->target, deadline_ns, bytes,
                                           is->size_bytes, kit_now(k), &seq),
                         STOA_OK);
        over += is->deadline_ms == 1;
    }
    kit_run(k, 20);
    uint64_t before = kit_view(&k->a).counts.batches_sent;
    k->a.stopped = false;
    kit_run(k, 20);
    assert_int_equal(kit_view(&k->a).counts.batches_sent, before + 1);
    assert_int_equal(k->b.messages, ADDRESSED - over);
    assert_int_equal(k->a.expired_here, over);
    assert_int_equal(k->b.expired_there, over);
    stoa_lane_in *in = &kit_session(&k->b)->in[STOA_LANE_NORMAL];
    assert_int_equal(in->bytes, kit_session(&k->a)->out[STOA_LANE_NORMAL].sent_bytes);
    stoa_session_consumed(kit_session(&k->b), STOA_LANE_NORMAL, k->b.credit_bytes);
    assert_int_equal(in->consumed, in->bytes); /* nothing of the credit is left out */
}

/* --- connections and incarnations */

static void a_session_goes_on_over_another_connection(void **state)
{
    kit *k = *state;
    kit_up(k);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, &i, sizeof i, 0), STOA_OK);
        assert_int_equal(kit_send(&k->b, STOA_LANE_NORMAL, &i, sizeof i, 0), STOA_OK);
        stoa_link_options options = {.frame_limit = 64 * 1024, .queue_frames = 64};
        k->b.link->ops->close(k->b.link, 0);
        assert_int_equal(stoa_link_open("fault+sim://kit/a", &options, &k->b.link), STOA_OK);
        stoa_sessions_relink(k->b.sessions, k->b.link, kit_now(k));
        kit_run(k, 50);
    }
    assert_int_equal(k->a.messages, 5);
    assert_int_equal(k->b.messages, 5);
    assert_int_equal(k->a.resumes, 5);
    assert_int_equal(k->a.resets + k->b.resets, 0);
}

static void a_restart_is_a_reset_that_says_what_was_lost(void **state)
{
    kit *k = *state;
    kit_up(k);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, &i, sizeof i, 0), STOA_OK);
        assert_int_equal(kit_send(&k->b, STOA_LANE_CONTROL, &i, sizeof i, 0), STOA_OK);
    }
    kit_run(k, 20);
    stoa_fault_cut(k->a.link, true, true);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, &i, sizeof i, 0), STOA_OK);
    }
    kit_run(k, 20);
    kit_end_now(&k->b);
    stoa_fault_cut(k->a.link, false, false);
    stoa_session_options b = kit_options(k, &k->b);
    b.incarnation = 2;
    kit_begin(k, &k->b, &b);
    kit_run(k, 50);
    assert_int_equal(k->a.resets, 1);
    assert_int_equal(k->a.reset.old_incarnation, 1);
    assert_int_equal(k->a.reset.new_incarnation, 2);
    assert_int_equal(k->a.reset.lanes[STOA_LANE_NORMAL].acked, 10);
    assert_int_equal(k->a.reset.lanes[STOA_LANE_NORMAL].lost, 3);
    assert_int_equal(k->a.reset.lanes[STOA_LANE_CONTROL].received, 10);
    assert_int_equal(k->a.ups, 2);
    assert_int_equal(k->a.resumes, 0);
    assert_int_equal(k->b.resets, 0); /* it has nothing to lose */
    assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, "1", 1, 0), STOA_OK);
    kit_run(k, 5);
    assert_int_equal(k->b.last_seq[STOA_LANE_NORMAL], 1);
}

/* --- refusals */

static void an_older_incarnation_is_refused_and_disturbs_nobody(void **state)
{
    kit *k = *state;
    k->options.incarnation = 5;
    kit_up(k);
    kit_end *old = &k->c;
    stoa_session_options options = kit_options(k, &k->b);
    options.name = "b";
    options.incarnation = 4;
    options.events = &old->events;
    kit_begin(k, old, &options);
    for (uint32_t i = 0; i < 20; i++) {
        kit_run(k, 1);
        kit_run_end(old);
    }
    assert_int_equal(old->ups, 0);
    assert_int_equal(old->refusals, 1);
    assert_int_equal(old->why_refused, STOA_E_STALE);
    assert_false(old->refused_here);
    stoa_sessions_counts counts;
    stoa_sessions_counted(k->a.sessions, &counts);
    assert_int_equal(counts.stranger_why, STOA_E_STALE);
    assert_int_equal(k->a.downs + k->b.downs, 0);
}

static void an_epoch_never_falls_within_a_life(void **state)
{
    kit *k = *state;
    k->options.epoch = 7;
    kit_up(k);
    assert_int_equal(stoa_session_epoch(kit_session(&k->b), 6, kit_now(k)), STOA_E_STALE);
    assert_int_equal(stoa_session_epoch(kit_session(&k->b), 9, kit_now(k)), STOA_OK);
    assert_int_equal(kit_send(&k->b, STOA_LANE_NORMAL, "x", 1, 0), STOA_OK);
    kit_run(k, 50);
    assert_int_equal(k->a.messages, 1);
    assert_int_equal(kit_view(&k->a).peer_epoch, 9);
}

/* Its data folder was begun anew, or is an older one: the later life counts, and each starts with its own epochs. */
static void a_later_life_is_met_whatever_its_epoch(void **state)
{
    kit *k = *state;
    k->options.epoch = 7;
    for (uint64_t life = 1; life <= 4; life++) {
        stoa_session_options b = kit_options(k, &k->b);
        b.incarnation = life;
        b.epoch = life == 4 ? 9 : 8 - 2 * life;
        if (life == 1) { kit_up(k); }
        if (life > 1) {
            kit_end_now(&k->b);
            kit_begin(k, &k->b, &b);
            kit_run(k, 1000);
            assert_int_equal(k->a.resets, life - 1);
            assert_int_equal(kit_view(&k->a).peer_epoch, b.epoch);
        }
        uint32_t before = k->a.messages;
        assert_int_equal(kit_send(&k->b, STOA_LANE_NORMAL, "x", 1, 0), STOA_OK);
        kit_run(k, 50);
        assert_int_equal(k->a.messages, before + 1);
    }
}

static void versions_without_a_common_one_are_refused(void **state)
{
    kit *k = *state;
    stoa_session_options a = kit_options(k, &k->a), b = kit_options(k, &k->b);
    b.version_min = STOA_SESSION_VERSION + 1;
    b.version_max = STOA_SESSION_VERSION + 2;
    kit_begin(k, &k->a, &a);
    kit_begin(k, &k->b, &b);
    kit_run(k, 1500);
    assert_int_equal(k->a.ups + k->b.ups, 0);
    assert_int_equal(k->b.why_refused, STOA_E_VERSION);
    assert_int_equal(k->b.refusals, 2); /* once a second */
    stoa_sessions_counts counts;
    stoa_sessions_counted(k->a.sessions, &counts);
    assert_int_equal(counts.stranger_why, STOA_E_VERSION);
    assert_int_equal(stoa_sessions_count(k->a.sessions), 0); /* it takes no place */
}

static void another_name_than_expected_is_denied(void **state)
{
    kit *k = *state;
    stoa_session_options a = kit_options(k, &k->a), b = kit_options(k, &k->b);
    b.peer = "c";
    kit_begin(k, &k->a, &a);
    kit_begin(k, &k->b, &b);
    kit_run(k, 20);
    assert_int_equal(k->b.why_refused, STOA_E_DENIED);
    assert_true(k->b.refused_here);
    assert_int_equal(k->b.ups, 0);
    assert_false(stoa_node_name_is_proven("b", "c"));
    assert_true(stoa_node_name_is_proven("b", "b") && stoa_node_name_is_proven("b", "uid:1000"));
}

/* --- what a peer may say that is not proper; the session goes on as if it had not */

static stoa_session_counts after(kit *k, const void *bytes, uint32_t size_bytes, stoa_err why)
{
    assert_int_equal(stoa_session_take(kit_session(&k->a), "", bytes, size_bytes, kit_now(k)), why);
    return kit_view(&k->a).counts;
}

/* A batch of one frame with a body of so many bytes, as b would send it. */
static uint32_t batch_with(kit *k, uint8_t *bytes, uint64_t seq, uint64_t acked, uint32_t body_bytes)
{
    stoa_session *b = kit_session(&k->b);
    stoa_envelope e = {.flags = stoa_envelope_flags(STOA_ENVELOPE_DATA, STOA_LANE_NORMAL), .count = 1, .acked = acked};
    stoa_frame_head head = {.size_bytes = FRAME_BYTES + body_bytes, .type = STOA_FRAME_MESSAGE, .flags = STOA_FRAME_ADDRESSED};
    uint32_t size_bytes = STOA_BATCH_HEAD_BYTES + FRAME_BYTES + body_bytes;
    memset(bytes, 0, size_bytes);
    memcpy(bytes, &e, sizeof e);
    stoa_put_u64(bytes + sizeof e, seq);
    memcpy(bytes + STOA_BATCH_HEAD_BYTES, &head, sizeof head);
    stoa_envelope_seal((stoa_envelope *)(void *)bytes, size_bytes, b->id_out);
    return size_bytes;
}

/* As b would send it next. */
static uint32_t batch_of(kit *k, uint8_t *bytes, uint64_t seq, uint64_t acked)
{
    return batch_with(k, bytes, seq, acked, 8);
}

static void improper_pieces_are_named_and_change_nothing(void **state)
{
    kit *k = *state;
    kit_up(k);
    uint8_t bytes[256] __attribute__((aligned(8))), bad[256] __attribute__((aligned(8)));
    stoa_envelope *e = (stoa_envelope *)(void *)bad;
    stoa_session_id id = kit_session(&k->b)->id_out;
    uint32_t size = batch_of(k, bytes, 1, 0);
#define BAD memcpy(bad, bytes, size)

    assert_int_equal(after(k, "garbage", 7, STOA_E_MALFORMED).malformed, 1);
    BAD;
    bad[0] ^= 1;
    assert_int_equal(after(k, bad, size, STOA_E_MALFORMED).malformed, 2);
    BAD;
    e->version = 9;
    assert_int_equal(after(k, bad, size, STOA_E_VERSION).version, 1);
    BAD;
    bad[size - 1] ^= 1;
    assert_int_equal(after(k, bad, size, STOA_E_CORRUPT).corrupt, 1);
    assert_int_equal(after(k, bytes, size - 8, STOA_E_CORRUPT).corrupt, 2); /* truncated */
    BAD;
    e->count = 2;
    stoa_envelope_seal(e, size, id);
    assert_int_equal(after(k, bad, size, STOA_E_MALFORMED).malformed, 3); /* one frame is missing */
    BAD;
    bad[STOA_BATCH_HEAD_BYTES + offsetof(stoa_frame_head, flags)] = 0; /* from and to whom? nobody was before it */
    stoa_envelope_seal(e, size, id);
    assert_int_equal(after(k, bad, size, STOA_E_MALFORMED).malformed, 4);
    BAD;
    bad[STOA_BATCH_HEAD_BYTES + offsetof(stoa_frame_head, zero)] = 1;
    stoa_envelope_seal(e, size, id);
    assert_int_equal(after(k, bad, size, STOA_E_MALFORMED).malformed, 5);
    (void)batch_of(k, bad, 0, 0); /* numbers begin at 1, and end */
    assert_int_equal(after(k, bad, size, STOA_E_MALFORMED).malformed, 6);
    (void)batch_of(k, bad, UINT64_MAX, 0);
    assert_int_equal(after(k, bad, size, STOA_E_MALFORMED).malformed, 7);
    BAD;
    e->count = 0; /* an acknowledgement with something behind it */
    stoa_envelope_seal(e, size, id);
    assert_int_equal(after(k, bad, size, STOA_E_MALFORMED).malformed, 8);
    BAD;
    e->flags |= STOA_ENVELOPE_BARE;
    stoa_envelope_seal(e, size, id);
    assert_int_equal(after(k, bad, size, STOA_E_CORRUPT).corrupt, 3); /* without a checksum, though we want one */
    BAD;
    e->tag ^= 1;
    assert_int_equal(after(k, bad, size, STOA_E_STALE).stale, 1);
    BAD;
    stoa_envelope_seal(e, size, kit_session(&k->a)->id_out); /* its own, come back */
    assert_int_equal(after(k, bad, size, STOA_E_STALE).stale, 2);
    BAD;
    e->epoch = 3;
    stoa_envelope_seal(e, size, id);
    assert_int_equal(after(k, bad, size, STOA_E_STALE).stale, 3);
    (void)batch_of(k, bad, 1, 17);
    assert_int_equal(after(k, bad, size, STOA_E_FORKED).forked, 1); /* 17 was never sent */

    assert_int_equal(k->a.messages, 0);
    assert_int_equal(after(k, bytes, size, STOA_OK).received, 1);
    assert_int_equal(after(k, bytes, size, STOA_OK).duplicates, 1); /* replayed */
    (void)batch_of(k, bad, 3, 0);
    assert_int_equal(after(k, bad, size, STOA_OK).gaps, 1);
    assert_int_equal(k->a.messages, 1);
    assert_int_equal(k->a.downs, 0);
    stoa_session_view a = kit_view(&k->a);
    assert_int_equal(a.state, STOA_SESSION_UP);
#undef BAD
}

/* There is batch_bytes of room for each batch that came too early: a longer one is taken when its turn has come. */
static void an_early_batch_above_batch_bytes_is_not_kept(void **state)
{
    enum { ABOVE = 2 * STOA_SESSION_BATCH_MIN };
    kit *k = *state;
    k->options.batch_bytes = STOA_SESSION_BATCH_MIN;
    kit_up(k);
    uint8_t early[STOA_BATCH_HEAD_BYTES + FRAME_BYTES + ABOVE] __attribute__((aligned(8))), first[128] __attribute__((aligned(8)));
    uint32_t early_bytes = batch_with(k, early, 2, 0, ABOVE), first_bytes = batch_of(k, first, 1, 0);
    assert_int_equal(after(k, early, early_bytes, STOA_OK).gaps, 1);
    assert_int_equal(after(k, first, first_bytes, STOA_OK).received, 1);
    assert_int_equal(after(k, early, early_bytes, STOA_OK).received, 2);
    assert_int_equal(k->a.size_bytes, ABOVE);
}

static void more_than_the_credit_is_refused(void **state)
{
    kit *k = *state;
    k->options.consumes = true;
    k->options.window_bytes[STOA_LANE_NORMAL] = 32768;
    kit_up(k);
    uint8_t bytes[128] __attribute__((aligned(8)));
    uint32_t size = 0;
    uint64_t seq = 1, most = 32768 / (FRAME_BYTES + 8);
    for (; seq <= most; seq++) {
        size = batch_of(k, bytes, seq, 0);
        assert_int_equal(stoa_session_take(kit_session(&k->a), "", bytes, size, kit_now(k)), STOA_OK);
    }
    size = batch_of(k, bytes, seq, 0);
    assert_int_equal(after(k, bytes, size, STOA_E_FULL).over_credit, 1);
    assert_int_equal(k->a.messages, most);
}

static void an_old_hello_says_nothing(void **state)
{
    kit *k = *state;
    kit_up(k);
    uint8_t bytes[HELLO_BYTES] __attribute__((aligned(8))) = {0};
    stoa_hello hello = {
        .version_min = STOA_SESSION_VERSION, .version_max = STOA_SESSION_VERSION, .number = 1, .incarnation = 1, .peer_incarnation = 1, .name = "b"};
    stoa_envelope e = {.flags = stoa_envelope_flags(STOA_ENVELOPE_HELLO, STOA_LANE_CONTROL)};
    memcpy(bytes, &e, sizeof e);
    memcpy(bytes + sizeof e, &hello, sizeof hello);
    stoa_envelope_seal((stoa_envelope *)(void *)bytes, sizeof bytes, 0);
    assert_int_equal(after(k, bytes, sizeof bytes, STOA_E_STALE).stale, 1);
    assert_int_equal(k->a.downs + k->a.refusals, 0);
}

static void ignore(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
}

static void ignore_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)peer, (void)identity, (void)bytes, (void)size_bytes;
}

/* Whoever has not said hello gets nowhere, and the node beside it does not notice. */
static void strangers_are_refused_by_name(void **state)
{
    static const char text[] = "GET / HTTP/1.1 and so on, longer than an envelope";
    static const stoa_link_events events = {.frame = ignore_frame, .up = ignore, .down = ignore};
    kit *k = *state;
    kit_up(k);
    stoa_link *stranger;
    stoa_link_options options = {.frame_limit = 64 * 1024, .queue_frames = 64};
    assert_int_equal(stoa_link_open("sim://kit/a", &options, &stranger), STOA_OK);
    (void)stranger->ops->poll(stranger, &events, 8);
    uint8_t data[STOA_ENVELOPE_BYTES] = {0x53, 0x74, STOA_SESSION_VERSION}, hello[HELLO_BYTES] = {0x53, 0x74, STOA_SESSION_VERSION, STOA_ENVELOPE_HELLO << 2};
    const struct {
        const void *bytes;
        uint32_t size_bytes;
        stoa_err why;
    } cases[] = {
        {text, sizeof text, STOA_E_MALFORMED},
        {data, sizeof data, STOA_E_STALE},
        {hello, sizeof hello, STOA_E_MALFORMED},
        {hello, sizeof hello - 1, STOA_E_MALFORMED},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stoa_sessions_counts counts;
        assert_int_equal(stranger->ops->send(stranger, 0, cases[i].bytes, cases[i].size_bytes), STOA_OK);
        kit_run(k, 2);
        stoa_sessions_counted(k->a.sessions, &counts);
        assert_int_equal(counts.strangers_refused, i + 1);
        assert_int_equal(counts.stranger_why, cases[i].why);
    }
    stranger->ops->close(stranger, 0);
    assert_int_equal(k->a.downs + k->b.downs, 0);
    assert_int_equal(stoa_sessions_count(k->a.sessions), 1);
}

/* --- silence */

/* From now until both have noticed, and up again when the cut is over. */
static void is_noticed(kit *k, bool out, bool in)
{
    uint64_t began_ns = kit_now(k);
    uint32_t a_downs = k->a.downs, b_downs = k->b.downs, a_ups = k->a.ups;
    stoa_fault_cut(k->a.link, out, in);
    kit_run(k, 5 * BEAT_MS + 20);
    assert_int_equal(k->a.downs, a_downs + 1);
    assert_int_equal(k->b.downs, b_downs + 1);
    assert_int_equal(k->a.why_down, STOA_E_TIMEOUT);
    assert_int_equal(k->b.why_down, STOA_E_TIMEOUT);
    assert_true(k->a.down_at_ns - began_ns <= STOA_MS(5 * BEAT_MS));
    kit_run(k, 3000);
    assert_int_equal(k->a.ups, a_ups); /* not on a path that works one way */
    assert_int_equal(k->a.downs, a_downs + 1);
    stoa_fault_cut(k->a.link, false, false);
    kit_run(k, 2 * BEAT_MS);
    assert_int_equal(k->a.ups, a_ups + 1);
    assert_int_equal(k->a.resumes, k->a.ups - 1);
}

static void silence_is_noticed_on_both_sides_in_five_heartbeats(void **state)
{
    kit *k = *state;
    kit_up(k);
    kit_run(k, 2000);
    assert_int_equal(k->a.downs + k->b.downs, 0);
    is_noticed(k, true, true);
    kit_run(k, 2000);
    is_noticed(k, true, false);
    kit_run(k, 2000);
    is_noticed(k, false, true);
}

/* Where answers come irregularly the threshold is higher, but has its end. */
static void the_threshold_adapts_within_bounds(void **state)
{
    kit *k = *state;
    kit_up(k);
    uint64_t calm_ns = 0;
    kit_run(k, 3000);
    calm_ns = kit_view(&k->a).silence_ns;
    assert_int_equal(calm_ns, STOA_MS(4 * BEAT_MS));
    stoa_faults rough = {.loss = 450};
    (void)stoa_fault_set(k->a.link, &rough);
    (void)stoa_fault_set(k->b.link, &rough);
    kit_run(k, 4000);
    uint64_t rough_ns = kit_view(&k->a).silence_ns;
    assert_true(rough_ns > calm_ns && rough_ns <= STOA_MS(SILENCE_MAX_MS));
}

/* A process that was itself stopped does not take its peer for dead. */
static void the_one_that_slept_blames_nobody(void **state)
{
    kit *k = *state;
    kit_up(k);
    kit_run(k, 1000);
    k->clock.now += STOA_S(30);
    kit_run(k, 1000);
    assert_int_equal(k->a.downs + k->b.downs, 0);
}

/* Nor is it slower to notice afterwards. */
static void who_slept_notices_within_its_threshold(void **state)
{
    kit *k = *state;
    kit_up(k);
    kit_run(k, 2000 + BEAT_MS / 2);
    k->b.stopped = true;
    kit_run(k, BEAT_MS);
    k->b.stopped = false; /* from here on they beat in turns */
    kit_run(k, BEAT_MS / 2 + 5);
    k->a.stopped = true; /* and an answer comes while it sleeps */
    kit_run(k, 3 * BEAT_MS);
    k->a.stopped = false;
    kit_run(k, 5);
    assert_int_equal(k->a.downs + k->b.downs, 0);
    uint64_t began_ns = kit_now(k), within_ns = kit_view(&k->a).silence_ns + STOA_MS(BEAT_MS);
    stoa_fault_cut(k->a.link, true, true);
    kit_run(k, SILENCE_MAX_MS);
    assert_int_equal(k->a.downs, 1);
    assert_in_range(k->a.down_at_ns - began_ns, 0, within_ns);
}

/* Let so much time go on for owners that step no more often than that. */
static void run_slowly(kit *k, uint64_t step_ms, uint64_t ms)
{
    for (; ms >= step_ms; ms -= step_ms) {
        k->clock.now += STOA_MS(step_ms);
        kit_run_end(&k->a);
        kit_run_end(&k->b);
        kit_run_end(&k->a);
    }
}

/* Each late step asks once and counts as two heartbeats: who answers is there, who does not is noticed. */
static void who_steps_seldom_notices_too(void **state)
{
    static const uint64_t steps_ms[] = {BEAT_MS, 2 * BEAT_MS - 10, 2 * BEAT_MS + 10, 5 * BEAT_MS / 2, 10 * BEAT_MS};
    kit *k = *state;
    kit_up(k);
    kit_run(k, 1000);
    for (unsigned i = 0; i < sizeof steps_ms / sizeof steps_ms[0]; i++) {
        uint64_t step_ms = steps_ms[i], counts_ms = step_ms < 2 * BEAT_MS ? step_ms : 2 * BEAT_MS;
        uint32_t downs = k->a.downs;
        run_slowly(k, step_ms, 60000);
        assert_int_equal(k->a.downs, downs);
        k->b.stopped = true;
        uint64_t began_ns = kit_now(k), most = SILENCE_MAX_MS / counts_ms + 2;
        run_slowly(k, step_ms, most * step_ms);
        assert_int_equal(k->a.downs, downs + 1);
        assert_int_equal(k->a.why_down, STOA_E_TIMEOUT);
        print_message("a step each %u ms: noticed after %u ms\n", (unsigned)step_ms, (unsigned)((k->a.down_at_ns - began_ns) / STOA_MS(1)));
        k->b.stopped = false;
        kit_run(k, 3000);
        assert_int_equal(kit_view(&k->a).state, STOA_SESSION_UP);
    }
}

static void a_good_bye_is_heard_at_once(void **state)
{
    kit *k = *state;
    kit_up(k);
    assert_int_equal(kit_send(&k->b, STOA_LANE_NORMAL, "last", 4, 0), STOA_OK);
    stoa_sessions_leave(k->b.sessions, kit_now(k));
    k->b.stopped = true;
    kit_run(k, 3);
    assert_int_equal(k->a.messages, 1);
    assert_int_equal(k->a.downs, 1);
    assert_int_equal(k->a.why_down, STOA_OK);
}

static void bad_options_are_named(void **state)
{
    kit *k = *state;
    stoa_session_options good = kit_options(k, &k->a), bad[] = {good, good, good, good, good, good};
    stoa_session *session = NULL;
    bad[0].name = "Not a name";
    bad[1].incarnation = 0;
    bad[2].batch_bytes = 100;
    bad[3].window_bytes[1] = 1000;
    bad[4].events = NULL;
    bad[5].peer = "";
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(stoa_session_new(&bad[i], &session), STOA_E_INVALID);
    }
    assert_null(session);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_come_in_order_on_each_lane),
        TEST(who_trusts_the_link_sends_no_checksums_to_who_does_too),
        TEST(a_batch_waits_for_more_no_longer_than_it_may),
        TEST(a_message_too_large_is_named),
        TEST(a_peer_that_does_not_consume_fills_its_lane_alone),
        TEST(a_peer_that_never_reads_is_full_then_silent),
        TEST(who_waits_for_room_does_not_spin),
        TEST(a_message_past_its_deadline_is_dropped_where_it_is),
        TEST(each_message_has_its_own_source_and_target),
        TEST(a_session_goes_on_over_another_connection),
        TEST(a_restart_is_a_reset_that_says_what_was_lost),
        TEST(an_older_incarnation_is_refused_and_disturbs_nobody),
        TEST(an_epoch_never_falls_within_a_life),
        TEST(a_later_life_is_met_whatever_its_epoch),
        TEST(versions_without_a_common_one_are_refused),
        TEST(another_name_than_expected_is_denied),
        TEST(improper_pieces_are_named_and_change_nothing),
        TEST(an_early_batch_above_batch_bytes_is_not_kept),
        TEST(more_than_the_credit_is_refused),
        TEST(an_old_hello_says_nothing),
        TEST(strangers_are_refused_by_name),
        TEST(silence_is_noticed_on_both_sides_in_five_heartbeats),
        TEST(the_threshold_adapts_within_bounds),
        TEST(the_one_that_slept_blames_nobody),
        TEST(who_slept_notices_within_its_threshold),
        TEST(who_steps_seldom_notices_too),
        TEST(a_good_bye_is_heard_at_once),
        TEST(bad_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
