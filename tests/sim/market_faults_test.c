/* market_faults_test.c - goal: a live mirror is exact whatever comes together, and on a recorded day. Method: the made-up venue of
 * market_venue.h with faults at random from a printed seed. Where the recorded day is at hand (STOA_DATA, or ../shared/data
 * beside the repository), it must come out to the last digit.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/market_venue.h"

#include "node/ports/capture.h"

/* Snapshots that were wanted come a few diffs later, sometimes older than the newest diff, sometimes not at all. */
static void answer_wants(world *w, venue *v, uint64_t *answered, uint32_t sent)
{
    uint64_t wanted = counts_of(w).wanted;
    if (wanted == *answered || !stoa_random_chance(&v->random, 300)) { return; }
    *answered = wanted;
    uint32_t back = (uint32_t)stoa_random_below(&v->random, 4);
    if (stoa_random_chance(&v->random, 900)) { send_snapshot(w, v, sent > back ? sent - back : sent); }
}

static uint64_t one_faulty_run(uint64_t seed)
{
    world w;
    venue *v = &made_up;
    uint64_t answered = 0;
    world_new(&w, seed);
    venue_new(v, seed, stoa_mix64(seed) % 100000);
    open_stream(&w);
    venue_diff(v, 5);
    send_diff(&w, v, 0);
    for (uint32_t i = 1; i < 400; i++) {
        venue_diff(v, 1 + (uint32_t)stoa_random_below(&v->random, 40));
        uint64_t fault = stoa_random_below(&v->random, 100);
        if (fault == 0) { continue; }                                                       /* dropped */
        if (fault == 1) { send_diff(&w, v, i); }                                             /* doubled */
        if (fault == 2) { send_diff(&w, v, i - (uint32_t)stoa_random_below(&v->random, i)); } /* an old one again */
        if (fault == 3) {                                                                    /* reordered */
            venue_diff(v, 7);
            send_diff(&w, v, i + 1);
            send_diff(&w, v, i++);
            continue;
        }
        send_diff(&w, v, i);
        if (fault == 4) { open_stream(&w); }
        if (fault > 70) { settle(&w); }
        answer_wants(&w, v, &answered, i);
        market_book_state s = look(&w);
        if (s.status == market_book_status_LIVE) { check_exact(&s, v); }
    }
    settle(&w);
    if (look(&w).status != market_book_status_LIVE || look(&w).last_id != v->last_id) {
        venue_diff(v, 5);
        venue_diff(v, 5);
        send_diff(&w, v, v->count - 1); /* whatever it lacked, now it knows */
        settle(&w);
        send_snapshot(&w, v, v->count - 1);
    }
    check_live(&w, v);
    uint64_t hash = stoa_sim_hash(w.sim);
    world_free(&w);
    venue_free(v);
    return hash;
}

static const stoa_seeds seeds = {.count = 25, .deep = 1000, .run = one_faulty_run};

static void a_live_mirror_is_exact_under_faults(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + 5; seed++) { (void)one_faulty_run(seed); }
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

/* --- the recorded day */

static const char *recorded(char *path, size_t room)
{
    const char *folder = getenv("STOA_DATA");
    const char *source = getenv("STOA_SOURCE");
    const char *name = "binance_spot_btcusdt_20240808.gz";
    if (folder) {
        (void)snprintf(path, room, "%s/%s", folder, name);
    } else {
        (void)snprintf(path, room, "%s/../shared/data/%s", source ? source : ".", name);
    }
    FILE *file = fopen(path, "rb");
    if (!file) { return NULL; }
    (void)fclose(file);
    return path;
}

static void the_recorded_day_comes_out_exactly(void **state)
{
    (void)state;
    char path[1024];
    world w;
    stoa_capture *capture = NULL;
    const char *frame;
    uint64_t local_ns;
    size_t size;
    stoa_err err;
    if (!recorded(path, sizeof path)) {
        print_message("skipped: no recorded day at %s\n", path);
        skip();
    }
    world_new(&w, first_seed);
    open_stream(&w);
    assert_int_equal(stoa_capture_open(path, &capture), STOA_OK);
    for (int i = 0; (err = stoa_capture_next(capture, &local_ns, &frame, &size)) == STOA_OK; i++) {
        post_frame(&w, frame, size);
        if (i % 100 == 0) { make_room(&w); }
    }
    assert_int_equal(err, STOA_E_AGAIN);
    assert_int_equal(stoa_capture_skipped(capture), 0);
    stoa_capture_close(capture);
    settle(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.status, market_book_status_LIVE);
    assert_int_equal(s.diffs_applied, 3449);
    assert_int_equal(s.gaps, 0);
    assert_int_equal(s.resyncs, 0);
    assert_int_equal(s.duplicates, 0);
    assert_int_equal(s.dropped, 2);
    assert_int_equal(s.last_id, 50093421584);
    assert_int_equal(s.bids.at[0].price, 6168599000000);
    assert_int_equal(s.asks.at[0].price, 6168600000000);
    assert_int_equal(s.trades, 9757);
    assert_int_equal(heard_now.trades, 9757);
    assert_int_equal(heard_now.diffs, 3449);
    assert_int_equal(heard_now.jumps, 1);
    market_connector_counts counts = counts_of(&w);
    assert_int_equal(counts.frames, 41249);
    assert_int_equal(counts.malformed + counts.unknown + counts.numbers + counts.too_large + counts.torn, 0);
    assert_int_equal(counts.unrouted + counts.overruns + counts.idle, 0);
    world_free(&w);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    choose_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_live_mirror_is_exact_under_faults),
        cmocka_unit_test(the_recorded_day_comes_out_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
