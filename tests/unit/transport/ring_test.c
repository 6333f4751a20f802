/* ring_test.c - goal: what goes into a ring comes out of the other one, whole and in order, and what a peer invents is refused.
 * Method: two rings and a carrier that is a list here, which delivers and acknowledges at random; then places at random.
 * Chance comes from a printed seed; set STOA_TEST_SEED to repeat.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "transport/fabric/ring.h"

enum { FRAME_LIMIT = 100000, QUEUE_FRAMES = 32, FRAMES = 20000 };

static stoa_random chance;

static uint8_t pattern(uint32_t number, uint32_t at)
{
    return (uint8_t)(number * 31 + at * 7 + (at >> 8));
}

static uint32_t size_of(uint32_t number)
{
    stoa_random own;
    stoa_random_seed(&own, number);
    return (uint32_t)stoa_random_below(&own, stoa_random_chance(&own, 20) ? FRAME_LIMIT : 400) + 1;
}

typedef struct pipe {
    stoa_out out;
    stoa_in in;
    stoa_batch *flying[STOA_RING_BATCHES];
    unsigned count;
    uint32_t sent, got;
    uint8_t *frame;
} pipe;

static void pipe_open(pipe *p)
{
    uint32_t body_limit = stoa_ring_body_limit(FRAME_LIMIT);
    uint64_t ring_bytes = stoa_ring_bytes(FRAME_LIMIT, QUEUE_FRAMES);
    memset(p, 0, sizeof *p);
    assert_int_equal(stoa_out_open(&p->out, p, ring_bytes, body_limit, QUEUE_FRAMES), STOA_OK);
    assert_int_equal(stoa_in_open(&p->in, p, ring_bytes, body_limit), STOA_OK);
    p->frame = malloc(FRAME_LIMIT);
    assert_non_null(p->frame);
}

static void pipe_close(pipe *p)
{
    stoa_out_close(&p->out);
    stoa_in_close(&p->in);
    free(p->frame);
}

static void add_one(pipe *p)
{
    uint32_t size_bytes = size_of(p->sent);
    for (uint32_t i = 0; i < size_bytes; i++) {
        p->frame[i] = pattern(p->sent, i);
    }
    uint32_t head_bytes = (uint32_t)stoa_random_below(&chance, size_bytes);
    stoa_err err = stoa_out_add(&p->out, p->sent, p->frame, head_bytes, p->frame + head_bytes, size_bytes - head_bytes);
    assert_true(err == STOA_OK || err == STOA_E_FULL);
    p->sent += err == STOA_OK;
}

static void fly_one(pipe *p)
{
    stoa_batch *batch = stoa_out_next(&p->out, stoa_random_chance(&chance, 300));
    if (!batch) { return; }
    stoa_out_take(&p->out);
    if (stoa_random_chance(&chance, 100)) { /* no room on the wire */
        stoa_out_untake(&p->out);
        return;
    }
    p->flying[p->count++] = batch;
}

static void land_one(pipe *p)
{
    if (p->count == 0) { return; }
    unsigned i = (unsigned)stoa_random_below(&chance, p->count);
    stoa_batch *batch = p->flying[i];
    stoa_arrival *arrival = NULL;
    assert_int_equal(stoa_in_place(&p->in, batch->number, batch->position, batch->bytes, &arrival), STOA_OK);
    memcpy(stoa_in_bytes(&p->in, arrival), stoa_out_bytes(&p->out, batch), batch->bytes);
    stoa_arrival *again = NULL;
    assert_int_equal(stoa_in_place(&p->in, batch->number, batch->position, batch->bytes, &again), STOA_E_STALE);
    stoa_in_landed(&p->in, arrival, true);
    stoa_out_done(&p->out, batch);
    p->flying[i] = p->flying[--p->count];
}

static void read_one(pipe *p)
{
    stoa_in_frame frame;
    if (stoa_in_frame_next(&p->in, &frame) != STOA_OK) { return; }
    assert_int_equal(frame.kind, p->got);
    assert_int_equal(frame.size_bytes, size_of(p->got));
    for (uint32_t i = 0; i < frame.size_bytes; i++) {
        assert_int_equal(frame.bytes[i], pattern(p->got, i));
    }
    stoa_in_drop(&p->in, &frame);
    p->got++;
}

static void frames_come_out_whole_and_in_order(void **state)
{
    pipe p;
    (void)state;
    pipe_open(&p);
    while (p.got < FRAMES) {
        switch (stoa_random_below(&chance, 5)) {
        case 0: add_one(&p); break;
        case 1: fly_one(&p); break;
        case 2: land_one(&p); break;
        case 3: read_one(&p); break;
        default: assert_int_equal(stoa_out_acked(&p.out, p.in.read), STOA_OK); break;
        }
    }
    assert_int_equal(stoa_out_acked(&p.out, p.in.read + (1 << 20)), STOA_E_MALFORMED);
    pipe_close(&p);
}

static void who_does_not_read_makes_it_full(void **state)
{
    pipe p;
    (void)state;
    pipe_open(&p);
    stoa_err err = STOA_OK;
    uint32_t added = 0;
    while ((err = stoa_out_add(&p.out, 0, NULL, 0, p.frame, 30000)) == STOA_OK) {
        added++;
        if (stoa_out_next(&p.out, true)) { stoa_out_take(&p.out); }
        assert_true(added < 1000);
    }
    assert_int_equal(err, STOA_E_FULL);
    assert_true(added >= QUEUE_FRAMES);
    assert_false(stoa_out_is_read(&p.out));
    assert_int_equal(stoa_out_add(&p.out, 0, NULL, 0, p.frame, p.out.body_limit), STOA_E_TOO_LARGE);
    pipe_close(&p);
}

/* Whatever is said, no two places overlap, and none leaves the ring. */
static void invented_places_never_overlap(void **state)
{
    enum { TRIES = 200000 };
    pipe p;
    uint32_t placed = 0;
    (void)state;
    pipe_open(&p);
    stoa_arrival *open[STOA_RING_BATCHES] = {NULL};
    for (uint32_t i = 0; i < TRIES; i++) {
        uint64_t number = stoa_random_below(&chance, 80), position = stoa_random_below(&chance, p.in.ring_bytes * 2);
        uint32_t bytes = (uint32_t)stoa_random_below(&chance, p.in.body_limit + 100);
        if (stoa_random_chance(&chance, 800)) { position = position / 64 * 64, bytes = bytes / 8 * 8; }
        stoa_arrival *arrival = NULL;
        if (stoa_in_place(&p.in, number, position, bytes, &arrival) != STOA_OK) { continue; }
        placed++;
        uint64_t first = position % p.in.ring_bytes;
        assert_true(first + bytes <= p.in.ring_bytes);
        for (unsigned k = 0; k < STOA_RING_BATCHES; k++) {
            if (!open[k]) { continue; }
            uint64_t other = open[k]->position % p.in.ring_bytes;
            assert_true(other + open[k]->bytes <= first || first + bytes <= other);
        }
        open[number % STOA_RING_BATCHES] = arrival;
        if (stoa_random_chance(&chance, 300)) { /* it was not genuine */
            stoa_in_landed(&p.in, arrival, false);
            open[number % STOA_RING_BATCHES] = NULL;
        }
    }
    assert_true(placed > 10);
    pipe_close(&p);
}

static void a_frame_that_is_longer_than_its_batch_is_refused(void **state)
{
    pipe p;
    stoa_arrival *arrival = NULL;
    stoa_in_frame frame;
    (void)state;
    pipe_open(&p);
    assert_int_equal(stoa_in_place(&p.in, 0, 0, 16, &arrival), STOA_OK);
    memset(stoa_in_bytes(&p.in, arrival), 0xff, 16);
    stoa_in_landed(&p.in, arrival, true);
    assert_int_equal(stoa_in_frame_next(&p.in, &frame), STOA_E_MALFORMED);
    stoa_out out;
    assert_int_equal(stoa_out_open(&out, NULL, 1 << 20, 12345, 1), STOA_E_MALFORMED);
    assert_int_equal(stoa_out_open(&out, NULL, UINT64_MAX, 65536, 1), STOA_E_MALFORMED);
    pipe_close(&p);
}

int main(void)
{
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_random_seed(&chance, seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_whole_and_in_order),
        cmocka_unit_test(who_does_not_read_makes_it_full),
        cmocka_unit_test(invented_places_never_overlap),
        cmocka_unit_test(a_frame_that_is_longer_than_its_batch_is_refused),
    };
    return cmocka_run_group_tests_name("transport/fabric/ring.h", tests, NULL, NULL);
}
