/* market_test.c - goal: the mirror of an outside book is exact or not live, whatever the feed does. Method: a made-up venue
 * (market_venue.h) writes Binance frames; the real connector and mirror hear them under the simulator, with frames dropped, doubled,
 * reordered, cut and broken, one thing at a time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/market_venue.h"

static void diffs_wait_for_the_snapshot(void **state)
{
    (void)state;
    world w;
    begin(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.diffs_applied, 5);
    assert_int_equal(s.dropped, 5);
    assert_int_equal(s.gaps, 0);
    assert_int_equal(s.duplicates, 0);
    assert_int_equal(s.resyncs, 0);
    assert_int_equal(s.snapshots, 1);
    assert_int_equal(heard_now.diffs, 5);
    assert_int_equal(heard_now.jumps, 1); /* the first */
    assert_int_equal(counts_of(&w).wanted, 1);
    end(&w);
}

static void a_dropped_diff_is_noticed_and_resynced(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(5);
    for (uint32_t i = 11; i < 14; i++) { send_diff(&w, &made_up, i); } /* 10 is lost */
    settle(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.status, market_book_status_RESYNCING);
    assert_int_equal(s.gaps, 1);
    assert_int_equal(s.resyncs, 1);
    assert_int_equal(s.waiting, 3);
    assert_int_equal(s.last_id, made_up.diffs[9].last_id);
    assert_int_equal(heard_now.top.bid, 0); /* nobody may act on what it was */
    assert_int_equal(heard_now.top.ask, 0);
    assert_int_equal(counts_of(&w).wanted, 2);
    send_snapshot(&w, &made_up, 12);
    send_diff(&w, &made_up, 14);
    check_live(&w, &made_up);
    s = look(&w);
    assert_int_equal(s.gaps, 1);
    assert_int_equal(s.resyncs, 1);
    assert_int_equal(s.healed, 0);
    assert_int_equal(s.snapshots, 2);
    assert_int_equal(s.diffs_applied, 5 + 2);
    end(&w);
}

static void a_doubled_diff_is_noticed_and_not_applied_twice(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(3);
    send_diff(&w, &made_up, 10);
    send_diff(&w, &made_up, 11);
    send_diff(&w, &made_up, 11);
    send_diff(&w, &made_up, 12);
    check_live(&w, &made_up);
    market_book_state s = look(&w);
    assert_int_equal(s.duplicates, 1);
    assert_int_equal(s.resyncs, 1);
    assert_int_equal(s.gaps, 0);
    assert_int_equal(s.diffs_applied, 5 + 3);
    assert_int_equal(s.snapshots, 1);
    assert_int_equal(heard_now.jumps, 1);
    end(&w);
}

static void reordered_diffs_are_noticed_and_put_right(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(4);
    send_diff(&w, &made_up, 12);
    send_diff(&w, &made_up, 11);
    send_diff(&w, &made_up, 10);
    send_diff(&w, &made_up, 13);
    check_live(&w, &made_up);
    market_book_state s = look(&w);
    assert_int_equal(s.gaps, 1);
    assert_int_equal(s.resyncs, 1);
    assert_int_equal(s.healed, 1);
    assert_int_equal(s.diffs_applied, 5 + 4);
    assert_int_equal(heard_now.jumps, 1); /* what was published is in order */
    end(&w);
}

static void a_snapshot_older_than_the_backlog_is_not_enough(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(6);
    for (uint32_t i = 12; i < 15; i++) { send_diff(&w, &made_up, i); }
    send_snapshot(&w, &made_up, 10); /* 11 is missing between it and the backlog */
    settle(&w);
    assert_int_equal(look(&w).status, market_book_status_RESYNCING);
    assert_int_equal(counts_of(&w).wanted, 3);
    send_snapshot(&w, &made_up, 11);
    send_diff(&w, &made_up, 15);
    check_live(&w, &made_up);
    end(&w);
}

static void a_snapshot_that_nobody_needs_changes_nothing(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(2);
    send_snapshot(&w, &made_up, 3);
    send_diff(&w, &made_up, 10);
    send_snapshot(&w, &made_up, 11);
    send_diff(&w, &made_up, 11);
    check_live(&w, &made_up);
    market_book_state s = look(&w);
    assert_int_equal(s.snapshots, 1);
    assert_int_equal(s.resyncs + s.gaps + s.duplicates, 0);
    end(&w);
}

static void a_new_stream_begins_with_an_empty_book(void **state)
{
    (void)state;
    world w;
    begin(&w);
    venue_free(&made_up);
    venue_new(&made_up, first_seed + 1, 5); /* another venue, with lower ids */
    open_stream(&w);
    settle(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.status, market_book_status_RESYNCING);
    assert_int_equal(s.bid_levels + s.ask_levels, 0);
    assert_int_equal(heard_now.top.bid, 0);
    more_diffs(3);
    send_diff(&w, &made_up, 0);
    send_snapshot(&w, &made_up, 0);
    send_diff(&w, &made_up, 1);
    send_diff(&w, &made_up, 2);
    check_live(&w, &made_up);
    assert_int_equal(look(&w).resyncs, 1);
    end(&w);
}

static void the_backlog_is_bounded(void **state)
{
    (void)state;
    world w;
    begin(&w);
    for (uint32_t i = 10; i < 1500; i++) {
        venue_diff(&made_up, 3);
        if (i != 10) { send_diff(&w, &made_up, i); }
        if (i % 100 == 0) { settle(&w); }
    }
    settle(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.waiting, 1024);
    assert_int_equal(s.dropped, 5 + 1489 - 1024);
    send_snapshot(&w, &made_up, 1200);
    check_live(&w, &made_up);
    end(&w);
}

static void a_snapshot_that_never_comes_is_wanted_again(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(2);
    send_diff(&w, &made_up, 11);
    settle(&w);
    assert_int_equal(counts_of(&w).wanted, 2);
    stoa_sim_run(w.sim, STOA_S(25));
    assert_int_equal(counts_of(&w).wanted, 4);
    send_snapshot(&w, &made_up, 11);
    check_live(&w, &made_up);
    stoa_sim_run(w.sim, STOA_S(25));
    assert_int_equal(counts_of(&w).wanted, 4);
    end(&w);
}

/* --- frames */

static void bad_frames_are_counted_and_change_nothing(void **state)
{
    (void)state;
    static const char *const frames[] = {
        "not json",
        "{\"e\":\"depthUpdate\",\"s\":\"BTCUSDT\"}",
        "{\"e\":\"kline\"}",
        "{\"e\":\"trade\",\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"0.000000001\",\"q\":\"1\",\"T\":1,\"m\":true}",
        "{\"e\":\"trade\",\"s\":\"ETHUSDT\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1,\"m\":true}",
        "{\"result\":null,\"id\":1}",
    };
    world w;
    begin(&w);
    market_book_state before = look(&w);
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) { post_frame(&w, frames[i], strlen(frames[i])); }
    settle(&w);
    market_book_state after = look(&w);
    assert_memory_equal(&before, &after, sizeof before);
    market_connector_counts counts = counts_of(&w);
    assert_int_equal(counts.malformed, 2);
    assert_int_equal(counts.unknown, 1);
    assert_int_equal(counts.numbers, 1);
    assert_int_equal(counts.unrouted, 1);
    assert_int_equal(counts.idle, 1);
    more_diffs(1);
    send_diff(&w, &made_up, 10);
    check_live(&w, &made_up);
    end(&w);
}

static void a_torn_frame_is_counted_and_the_next_one_is_whole(void **state)
{
    (void)state;
    world w;
    begin(&w);
    market_connector_frame part = {.number = 777777, .more = 1};
    assert_int_equal(STOA_TEXT_SETZ(&part.bytes, "{\"e\":\"depth"), STOA_OK);
    assert_int_equal(market_connector_post_frame(w.node, w.connector, part), STOA_OK);
    for (uint32_t i = 10; i < 12; i++) {
        venue_diff(&made_up, 190); /* several parts */
        send_diff(&w, &made_up, i);
    }
    check_live(&w, &made_up);
    assert_int_equal(counts_of(&w).torn, 1);
    part.bytes.len = 0;
    for (int i = 0; i < 300; i++) { /* more than a frame may have */
        memset(part.bytes.at, 'x', sizeof part.bytes.at);
        part.bytes.len = sizeof part.bytes.at;
        part.number = 888888;
        part.more = i < 299;
        assert_int_equal(market_connector_post_frame(w.node, w.connector, part), STOA_OK);
        if (i % 50 == 0) { settle(&w); }
    }
    settle(&w);
    assert_int_equal(counts_of(&w).too_large, 1);
    more_diffs(1);
    send_diff(&w, &made_up, 12);
    check_live(&w, &made_up);
    end(&w);
}

static void tops_of_the_venue_run_ahead_of_its_diffs(void **state)
{
    (void)state;
    char text[256];
    world w;
    begin(&w);
    uint64_t tops = heard_now.tops;
    (void)snprintf(text, sizeof text,
                   "{\"u\":%" PRIu64 ",\"s\":\"BTCUSDT\",\"b\":\"98.5\",\"B\":\"3\",\"a\":\"98.75\",\"A\":\"1\"}",
                   made_up.last_id + 1);
    post_frame(&w, text, strlen(text));
    post_frame(&w, text, strlen(text)); /* nothing new: not published again */
    settle(&w);
    assert_int_equal(heard_now.tops, tops + 1);
    assert_int_equal(heard_now.top.bid, 9850000000);
    (void)snprintf(text, sizeof text,
                   "{\"u\":%" PRIu64 ",\"s\":\"BTCUSDT\",\"b\":\"1\",\"B\":\"3\",\"a\":\"2\",\"A\":\"1\"}",
                   made_up.last_id);
    post_frame(&w, text, strlen(text)); /* older than the book */
    settle(&w);
    assert_int_equal(heard_now.top.bid, 9850000000);
    more_diffs(2);
    send_diff(&w, &made_up, 10);
    send_diff(&w, &made_up, 11);
    check_live(&w, &made_up); /* overtaken by the book */
    (void)snprintf(text, sizeof text,
                   "{\"u\":%" PRIu64 ",\"s\":\"BTCUSDT\",\"b\":\"97.5\",\"B\":\"3\",\"a\":\"97.75\",\"A\":\"1\"}",
                   made_up.last_id + 1000);
    post_frame(&w, text, strlen(text));
    more_diffs(2);
    send_diff(&w, &made_up, 12);
    send_diff(&w, &made_up, 13);
    settle(&w);
    assert_int_equal(look(&w).last_id, made_up.last_id);
    assert_int_equal(heard_now.top.bid, 9750000000); /* the book has not got there yet */
    end(&w);
}

/* --- credit */

static uint64_t granted_to_port;

static void hear_granted(void *context, const stoa_delivery *delivery)
{
    (void)context;
    if (delivery->row != &market_connector_rows[market_connector_ROW_granted]) { return; }
    granted_to_port = ((const market_connector_granted *)delivery->payload)->frames;
}

/* Send count trades through a port to a connector of this mirror's kind; how many the connector grants again. */
static uint64_t granted_of(const stoa_kind *mirror, uint32_t count)
{
    static const char trade[] =
        "{\"e\":\"trade\",\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1,\"m\":true}";
    static const market_connector_options options = {
        .venue = stoa_text("binance"), .symbol_count = 1, .symbols = {stoa_text("BTCUSDT")}};
    market_connector_frame frame = {.number = 0};
    stoa_spawn_options here = {.core = 0, .args = &options};
    stoa_sim *sim;
    stoa_node *node;
    stoa_port *port;
    stoa_ref ignored, connector;
    granted_to_port = 0;
    assert_int_equal(STOA_TEXT_SETZ(&frame.bytes, trade), STOA_OK);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = first_seed}, &sim, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, mirror, "market_book/binance.BTCUSDT", &here, &ignored), STOA_OK);
    assert_int_equal(stoa_spawn(node, &market_connector_kind, "market_connector/binance", &here, &connector), STOA_OK);
    assert_int_equal(stoa_port_open(node, "test", &port), STOA_OK);
    for (uint32_t i = 0; i < count; i++) {
        frame.number++;
        assert_int_equal(
            stoa_port_send(port, connector, &market_connector_rows[market_connector_ROW_frame], &frame, 0), STOA_OK);
        stoa_port_flush(port);
        assert_int_equal(stoa_sim_settle(sim, 1000000), STOA_OK);
        while (stoa_port_poll(port, hear_granted, NULL, 64)) {}
    }
    stoa_port_close(port);
    stoa_sim_free(sim);
    return granted_to_port;
}

static void credit_stops_when_the_mirror_does_not_keep_up(void **state)
{
    (void)state;
    stoa_kind deaf = listener_kind; /* hears, and does not say so */
    deaf.name = "market_book";
    deaf.start = NULL;
    assert_int_equal(granted_of(&market_book_kind, 3200), 3200);
    assert_int_equal(granted_of(&deaf, 3200), 512);
}

int main(void)
{
    choose_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diffs_wait_for_the_snapshot),
        cmocka_unit_test(a_dropped_diff_is_noticed_and_resynced),
        cmocka_unit_test(a_doubled_diff_is_noticed_and_not_applied_twice),
        cmocka_unit_test(reordered_diffs_are_noticed_and_put_right),
        cmocka_unit_test(a_snapshot_older_than_the_backlog_is_not_enough),
        cmocka_unit_test(a_snapshot_that_nobody_needs_changes_nothing),
        cmocka_unit_test(a_new_stream_begins_with_an_empty_book),
        cmocka_unit_test(the_backlog_is_bounded),
        cmocka_unit_test(a_snapshot_that_never_comes_is_wanted_again),
        cmocka_unit_test(bad_frames_are_counted_and_change_nothing),
        cmocka_unit_test(a_torn_frame_is_counted_and_the_next_one_is_whole),
        cmocka_unit_test(tops_of_the_venue_run_ahead_of_its_diffs),
        cmocka_unit_test(credit_stops_when_the_mirror_does_not_keep_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
