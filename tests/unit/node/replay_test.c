/* replay_test.c - goal: a capture is played to the mirror whole and in order, at its pace or as fast as it goes, and
 * the report says what came of it. Method: real threads; made-up captures, sound and broken; the recorded day where
 * it is at hand (STOA_DATA, or ../shared/data beside the repository).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/market/binance.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "node/ports/replay.h"
#include "tests/unit/node/feed_sink.h"

static char path[] = "/tmp/stoa_replay_XXXXXX";

/* --- made-up captures: diff i covers the ids 10 i + 1 .. 10 i + 10 and sets bid 100 + i and ask 10000 - i */

enum { STEP_NS = 1000000 };

static void put_diff(FILE *file, unsigned i)
{
    (void)fprintf(file,
                  "%u {\"stream\":\"x@depth\",\"data\":{\"e\":\"depthUpdate\",\"E\":%u,\"s\":\"XUSD\","
                  "\"U\":%u,\"u\":%u,\"b\":[[\"%u\",\"1\"]],\"a\":[[\"%u\",\"1\"]]}}\n",
                  (i + 1) * STEP_NS, i, i * 10 + 1, i * 10 + 10, 100 + i, 10000 - i);
}

static void put_snapshot(FILE *file, unsigned i)
{
    (void)fprintf(file, "%u {\"lastUpdateId\":%u,\"bids\":[[\"50\",\"1\"]],\"asks\":[[\"20000\",\"1\"]]}\n",
                  (i + 1) * STEP_NS, i * 10 + 10);
}

static FILE *begin_capture(void)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    return file;
}

static void write_capture(unsigned count)
{
    FILE *file = begin_capture();
    for (unsigned i = 0; i < count; i++) {
        put_diff(file, i);
        if (i == 1) { put_snapshot(file, i); }
    }
    assert_int_equal(fclose(file), 0);
}

/* --- playing */

typedef struct play {
    stoa_node *node;
    stoa_replay *replay;
    char report[1024];
} play;

static void play_begin(play *p, const char *file, const char *speed)
{
    char text[1100];
    stoa_replay_options options;
    *p = (play){0};
    (void)snprintf(text, sizeof text, "%s@%s", file, speed);
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 2, .idle = STOA_IDLE_ECO}, &p->node), STOA_OK);
    assert_int_equal(stoa_replay_parse(text, &options), STOA_OK);
    assert_int_equal(stoa_replay_market(p->node, &market_venue_binance, &options, 1), STOA_OK);
    assert_int_equal(stoa_replay_start(p->node, &options, &p->replay), STOA_OK);
}

static void play_report(play *p)
{
    stoa_buf line = STOA_BUF_FIXED(p->report);
    assert_int_equal(stoa_replay_report(p->node, p->replay, &line), STOA_OK);
    assert_false(line.cut);
}

static void play_end(play *p)
{
    stoa_replay_stop(p->replay);
    stoa_node_close(p->node, 0);
}

/* The whole of it: play to the end, report. Returns what the wait said. */
static stoa_err play_all(play *p, const char *file, const char *speed)
{
    play_begin(p, file, speed);
    stoa_err err = stoa_replay_wait(p->replay, STOA_S(60));
    play_report(p);
    return err;
}

static uint64_t count_in(const play *p, const char *name)
{
    stoa_json_parser *parser = NULL;
    stoa_json root, value;
    uint64_t number = 0;
    assert_int_equal(stoa_json_parser_new(4096, &parser), STOA_OK);
    assert_int_equal(stoa_json_parse(parser, p->report, strlen(p->report), &root), STOA_OK);
    assert_int_equal(stoa_json_get(root, name, &value), STOA_OK);
    assert_int_equal(stoa_json_uint(value, &number), STOA_OK);
    stoa_json_parser_free(parser);
    return number;
}

static void check_says(const play *p, const char *text)
{
    if (!strstr(p->report, text)) { fail_msg("no %s in %s", text, p->report); }
}

static void a_capture_is_played_whole(void **state)
{
    (void)state;
    play p;
    write_capture(5000);
    assert_int_equal(play_all(&p, path, "max"), STOA_OK);
    assert_int_equal(count_in(&p, "diffs_applied"), 4998);
    assert_int_equal(count_in(&p, "last_update_id"), 50000);
    assert_int_equal(count_in(&p, "gaps") + count_in(&p, "resyncs") + count_in(&p, "refused"), 0);
    assert_int_equal(count_in(&p, "frames"), 5001);
    assert_true(count_in(&p, "events_per_s") > 0);
    check_says(&p, "\"best_bid\":\"5099.00\",\"best_ask\":\"5001.00\"");
    check_says(&p, "\"status\":\"live\"");
    assert_true(stoa_replay_ended(p.replay));
    play_end(&p);
}

static void the_pace_is_the_recorded_one(void **state)
{
    (void)state;
    play p;
    write_capture(300); /* 299 ms of recording */
    uint64_t began = stoa_clock_real.now_ns(&stoa_clock_real);
    assert_int_equal(play_all(&p, path, "2"), STOA_OK);
    uint64_t took = stoa_clock_real.now_ns(&stoa_clock_real) - began;
    assert_true(took >= STOA_MS(149));
    assert_int_equal(count_in(&p, "last_update_id"), 3000);
    play_end(&p);
}

static void a_missing_snapshot_leaves_the_mirror_waiting(void **state)
{
    (void)state;
    play p;
    FILE *file = begin_capture();
    for (unsigned i = 0; i < 50; i++) { put_diff(file, i); }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(play_all(&p, path, "max"), STOA_OK);
    check_says(&p, "\"status\":\"waiting\"");
    check_says(&p, "\"best_bid\":\"0.00\"");
    assert_int_equal(count_in(&p, "diffs_applied"), 0);
    play_end(&p);
}

static void a_gap_in_the_file_ends_with_its_next_snapshot(void **state)
{
    (void)state;
    play p;
    FILE *file = begin_capture();
    for (unsigned i = 0; i < 2000; i++) {
        if (i != 500) { put_diff(file, i); }
        if (i == 1 || i == 1500) { put_snapshot(file, i); }
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(play_all(&p, path, "max"), STOA_OK);
    assert_int_equal(count_in(&p, "gaps"), 1);
    assert_int_equal(count_in(&p, "resyncs"), 1);
    assert_int_equal(count_in(&p, "snapshots"), 2);
    assert_int_equal(count_in(&p, "last_update_id"), 20000);
    check_says(&p, "\"status\":\"live\"");
    check_says(&p, "\"best_bid\":\"2099.00\"");
    play_end(&p);
}

static void broken_lines_are_counted(void **state)
{
    (void)state;
    play p;
    FILE *file = begin_capture();
    for (unsigned i = 0; i < 20; i++) {
        put_diff(file, i);
        if (i == 1) { put_snapshot(file, i); }
        if (i == 5) { (void)fprintf(file, "no time\n7 {broken\n8 {\"e\":\"unheard of\"}\n"); }
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(play_all(&p, path, "max"), STOA_OK);
    assert_int_equal(count_in(&p, "refused"), 3);
    assert_int_equal(count_in(&p, "last_update_id"), 200);
    assert_int_equal(count_in(&p, "gaps"), 0);
    play_end(&p);
}

static void a_replay_can_be_stopped_at_any_time(void **state)
{
    (void)state;
    play p;
    write_capture(5000);
    for (unsigned i = 0; i < 5; i++) {
        play_begin(&p, path, i % 2 ? "max" : "1");
        (void)usleep(i * 3000);
        play_end(&p);
    }
    play_begin(&p, path, "0.5"); /* ten seconds */
    assert_int_equal(stoa_replay_wait(p.replay, STOA_MS(20)), STOA_E_TIMEOUT);
    assert_false(stoa_replay_ended(p.replay));
    play_end(&p);
}

static feed_sink_taken sink_after(stoa_node *node, stoa_ref sink, uint64_t frames)
{
    feed_sink_taken taken = {0};
    feed_sink_look look = {{0}};
    for (int i = 0; i < 1000 && taken.frames < frames; i++) {
        (void)usleep(5000);
        assert_int_equal(feed_sink_call_look(node, sink, look, STOA_S(5), &taken), STOA_OK);
    }
    (void)usleep(50000); /* for what should not come */
    assert_int_equal(feed_sink_call_look(node, sink, look, STOA_S(5), &taken), STOA_OK);
    return taken;
}

static void no_more_is_sent_than_there_is_credit_for(void **state)
{
    (void)state;
    stoa_node *node = NULL;
    stoa_replay *replay = NULL;
    stoa_replay_options options;
    feed_sink_taken ignored;
    write_capture(1000); /* 1001 frames */
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1, .idle = STOA_IDLE_ECO}, &node), STOA_OK);
    assert_int_equal(stoa_replay_parse(path, &options), STOA_OK);
    options.speed = 0;
    stoa_spawn_options here = {.core = 0};
    assert_int_equal(stoa_spawn(node, &feed_sink_kind, "feed_sink/x", &here, &options.connector), STOA_OK);
    assert_int_equal(stoa_replay_start(node, &options, &replay), STOA_OK);
    uint64_t credit = MARKET_CONNECTOR_WINDOW;
    assert_int_equal(sink_after(node, options.connector, credit).frames, credit);
    for (uint64_t more = 1; more < 300; more *= 3) {
        feed_sink_give give = {.frames = more};
        credit += more;
        assert_int_equal(feed_sink_call_give(node, options.connector, give, STOA_S(5), &ignored), STOA_OK);
        assert_int_equal(sink_after(node, options.connector, credit).frames, credit);
    }
    assert_false(stoa_replay_ended(replay));
    feed_sink_give rest = {.frames = 1001 - credit}, last = {.frames = MARKET_CONNECTOR_WINDOW};
    assert_int_equal(feed_sink_call_give(node, options.connector, rest, STOA_S(5), &ignored), STOA_OK);
    feed_sink_taken taken = sink_after(node, options.connector, 1001);
    assert_int_equal(taken.frames, 1001);
    assert_int_equal(taken.ended, 1);
    assert_false(stoa_replay_ended(replay)); /* it is, once all was taken */
    assert_int_equal(feed_sink_call_give(node, options.connector, last, STOA_S(5), &ignored), STOA_OK);
    assert_int_equal(stoa_replay_wait(replay, STOA_S(5)), STOA_OK);
    stoa_replay_stop(replay);
    stoa_node_close(node, 0);
}

static void speeds_are_read_or_refused(void **state)
{
    (void)state;
    stoa_replay_options options;
    assert_int_equal(stoa_replay_parse("a@b/day.gz", &options), STOA_E_INVALID);
    assert_int_equal(stoa_replay_parse("day.gz", &options), STOA_OK);
    assert_int_equal(options.speed, STOA_DECIMAL_ONE);
    assert_int_equal(stoa_replay_parse("day.gz@2.5", &options), STOA_OK);
    assert_int_equal(options.speed, 250000000);
    assert_string_equal(options.path, "day.gz");
    assert_int_equal(stoa_replay_parse("day.gz@max", &options), STOA_OK);
    assert_int_equal(options.speed, 0);
    assert_int_equal(stoa_replay_parse("day.gz@0", &options), STOA_E_INVALID);
    assert_int_equal(stoa_replay_parse("day.gz@-1", &options), STOA_E_INVALID);
    assert_int_equal(stoa_replay_parse("day.gz@", &options), STOA_E_INVALID);
    assert_int_equal(stoa_replay_parse("@max", &options), STOA_E_INVALID);
}

static void the_recorded_day_comes_out_exactly(void **state)
{
    (void)state;
    const char *folder = getenv("STOA_DATA"), *source = getenv("STOA_SOURCE");
    char day[1024];
    play p;
    (void)snprintf(day, sizeof day, "%s%s/binance_spot_btcusdt_20240808.gz", folder ? folder : source ? source : ".",
                   folder ? "" : "/../shared/data");
    if (access(day, R_OK)) {
        print_message("skipped: no recorded day at %s\n", day);
        skip();
    }
    assert_int_equal(play_all(&p, day, "max"), STOA_OK);
    print_message("%s\n", p.report);
    assert_int_equal(count_in(&p, "diffs_applied"), 3449);
    assert_int_equal(count_in(&p, "gaps") + count_in(&p, "resyncs") + count_in(&p, "refused"), 0);
    assert_int_equal(count_in(&p, "last_update_id"), 50093421584);
    assert_int_equal(count_in(&p, "trades"), 9757);
    check_says(&p, "\"best_bid\":\"61685.99\",\"best_ask\":\"61686.00\"");
    play_end(&p);
}

static int make_path(void **state)
{
    (void)state;
    stoa_log_level_set(STOA_LOG_WARN);
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_capture_is_played_whole),
        cmocka_unit_test(the_pace_is_the_recorded_one),
        cmocka_unit_test(a_missing_snapshot_leaves_the_mirror_waiting),
        cmocka_unit_test(a_gap_in_the_file_ends_with_its_next_snapshot),
        cmocka_unit_test(broken_lines_are_counted),
        cmocka_unit_test(a_replay_can_be_stopped_at_any_time),
        cmocka_unit_test(no_more_is_sent_than_there_is_credit_for),
        cmocka_unit_test(speeds_are_read_or_refused),
        cmocka_unit_test(the_recorded_day_comes_out_exactly),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
