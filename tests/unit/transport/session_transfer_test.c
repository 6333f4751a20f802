/* session_transfer_test.c - goal: what is too large for a message arrives whole, over lost frames and lost connections; what
 * a restart interrupts goes on where it was; what is refused or spoilt is named on both sides. Method: two sessions over a
 * simulated link (session_kit.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/transport/session_kit.h"

enum { SIZE_BYTES = 3 << 20 };

static uint8_t from[SIZE_BYTES], into[2][SIZE_BYTES];
static struct {
    uint32_t offers, cames, gones;
    stoa_err refuse, came, gone;
    uint64_t have, gone_id, kept;
    stoa_transfer offer;
} seen;

static stoa_err on_offered(void *context, stoa_session *session, const stoa_transfer *offer, void **into_out,
                           uint64_t *have_out)
{
    (void)context, (void)session, (void)offer;
    if (seen.refuse) { return seen.refuse; }
    *into_out = into[seen.offers++ % 2];
    if (seen.kept) { *into_out = into[0]; }
    *have_out = seen.kept;
    return STOA_OK;
}

static void on_came(void *context, stoa_session *session, const stoa_transfer *offer, uint64_t have, stoa_err why)
{
    (void)context, (void)session;
    seen.cames++;
    seen.came = why;
    seen.have = have;
    seen.offer = *offer;
}

static void on_gone(void *context, stoa_session *session, uint64_t id, stoa_err why)
{
    (void)context, (void)session;
    seen.gones++;
    seen.gone = why;
    seen.gone_id = id;
}

static const stoa_transfer_events transfers = {.offered = on_offered, .came = on_came, .gone = on_gone};

static int begin(void **state)
{
    memset(&seen, 0, sizeof seen);
    memset(into, 0, sizeof into);
    for (uint32_t i = 0; i < SIZE_BYTES; i++) {
        from[i] = (uint8_t)(i * 31 + (i >> 11));
    }
    (void)kit_open(state);
    kit *k = *state;
    k->options.transfers = &transfers;
    k->options.link_frames = 8; /* two chunks on their way: it takes some time */
    kit_up(k);
    return 0;
}

static uint64_t offer(kit *k, uint64_t size_bytes)
{
    uint64_t id = 0;
    assert_int_equal(stoa_session_transfer(kit_session(&k->a), 9, from, size_bytes, &id), STOA_OK);
    return id;
}

static void it_arrives_whole_beside_messages(void **state)
{
    kit *k = *state;
    uint64_t id = offer(k, SIZE_BYTES);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(kit_send(&k->a, STOA_LANE_BULK, &i, sizeof i, 0), STOA_OK);
        assert_int_equal(kit_send(&k->a, STOA_LANE_NORMAL, &i, sizeof i, 0), STOA_OK);
        kit_run(k, 3);
    }
    kit_run(k, 300);
    assert_int_equal(seen.cames, 1);
    assert_int_equal(seen.came, STOA_OK);
    assert_int_equal(seen.have, SIZE_BYTES);
    assert_int_equal(seen.offer.target, 9);
    assert_memory_equal(into[0], from, SIZE_BYTES);
    assert_int_equal(seen.gones, 1);
    assert_int_equal(seen.gone, STOA_OK);
    assert_true(seen.gone_id == id);
    assert_int_equal(k->b.messages, 200);
    assert_int_equal(kit_view(&k->b).counts.malformed + kit_view(&k->a).counts.malformed, 0);
    (void)offer(k, 1); /* and a small one */
    kit_run(k, 20);
    assert_int_equal(seen.gones, 2);
}

static void loss_and_cuts_do_not_spoil_it(void **state)
{
    kit *k = *state;
    stoa_faults faults = {.loss = 50, .duplicate = 50, .reorder = 100, .delay_ns = STOA_MS(1)};
    assert_int_equal(stoa_fault_set(k->a.link, &faults), STOA_OK);
    assert_int_equal(stoa_fault_set(k->b.link, &faults), STOA_OK);
    (void)offer(k, SIZE_BYTES);
    for (uint32_t i = 0; i < 100 && seen.gones == 0; i++) {
        kit_run(k, 300);
        stoa_fault_cut(k->a.link, i % 3 == 0, i % 3 == 1);
    }
    assert_int_equal(seen.gones, 1);
    assert_int_equal(seen.gone, STOA_OK);
    assert_memory_equal(into[0], from, SIZE_BYTES);
    assert_true(kit_view(&k->a).counts.resent > 0);
}

/* The receiver keeps what came, and the next offer of the same hash goes on from there. */
static void after_a_restart_it_goes_on_where_it_was(void **state)
{
    kit *k = *state;
    (void)offer(k, SIZE_BYTES);
    kit_run(k, 30);
    assert_int_equal(seen.cames, 0);
    kit_end_now(&k->a); /* the sender dies */
    stoa_session_options a = kit_options(k, &k->a);
    a.incarnation = 2;
    kit_begin(k, &k->a, &a);
    kit_run(k, 300);
    assert_int_equal(seen.cames, 1);
    assert_int_equal(seen.came, STOA_E_CLOSED);
    assert_true(seen.have > 0 && seen.have < SIZE_BYTES);
    stoa_hash256 hash = seen.offer.hash;
    seen.kept = seen.have;
    memset(from, 0, 1000); /* what was there need not be sent again: it is not, or this would arrive */
    memcpy(from, into[0], 1000);
    uint64_t before_bytes = kit_view(&k->b).counts.bytes_received;
    (void)offer(k, SIZE_BYTES);
    kit_run(k, 500);
    assert_int_equal(seen.cames, 2);
    assert_int_equal(seen.came, STOA_OK);
    assert_memory_equal(&hash, &seen.offer.hash, sizeof hash);
    assert_memory_equal(into[0], from, SIZE_BYTES);
    assert_true(kit_view(&k->b).counts.bytes_received - before_bytes < SIZE_BYTES - seen.kept + (SIZE_BYTES >> 4));
}

static void who_sent_is_told_when_the_receiver_has_restarted(void **state)
{
    kit *k = *state;
    uint64_t id = offer(k, SIZE_BYTES);
    kit_run(k, 30);
    kit_end_now(&k->b);
    stoa_session_options b = kit_options(k, &k->b);
    b.incarnation = 2;
    kit_begin(k, &k->b, &b);
    kit_run(k, 200);
    assert_int_equal(seen.gones, 1);
    assert_int_equal(seen.gone, STOA_E_CLOSED);
    assert_true(seen.gone_id == id);
}

static void a_refusal_is_told(void **state)
{
    kit *k = *state;
    seen.refuse = STOA_E_FULL;
    (void)offer(k, 100000);
    kit_run(k, 50);
    assert_int_equal(seen.gone, STOA_E_FULL);
    assert_int_equal(seen.cames, 0);
}

static void bytes_that_change_meanwhile_are_noticed(void **state)
{
    kit *k = *state;
    (void)offer(k, SIZE_BYTES);
    kit_run(k, 30);
    assert_int_equal(seen.gones, 0);
    from[SIZE_BYTES - 5] ^= 1;
    kit_run(k, 500);
    assert_int_equal(seen.came, STOA_E_CORRUPT);
    assert_int_equal(seen.have, 0);
    assert_int_equal(seen.gone, STOA_E_CORRUPT);
}

static void so_many_at_once_and_no_more(void **state)
{
    kit *k = *state;
    uint64_t id;
    for (uint32_t i = 0; i < STOA_TRANSFERS; i++) {
        (void)offer(k, 100000 + i);
    }
    assert_int_equal(stoa_session_transfer(kit_session(&k->a), 9, from, 1, &id), STOA_E_FULL);
    assert_int_equal(stoa_session_transfer(kit_session(&k->a), 9, from, 0, &id), STOA_E_INVALID);
    kit_run(k, 500);
    assert_int_equal(seen.gones, STOA_TRANSFERS);
    assert_int_equal(seen.gone, STOA_OK);
    (void)offer(k, 5);
    kit_run(k, 50);
    assert_int_equal(seen.gones, STOA_TRANSFERS + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, kit_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_arrives_whole_beside_messages),
        TEST(loss_and_cuts_do_not_spoil_it),
        TEST(after_a_restart_it_goes_on_where_it_was),
        TEST(who_sent_is_told_when_the_receiver_has_restarted),
        TEST(a_refusal_is_told),
        TEST(bytes_that_change_meanwhile_are_noticed),
        TEST(so_many_at_once_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
