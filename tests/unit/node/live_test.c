/* live_test.c - goal: the live port keeps a mirror exact over a real TLS WebSocket connection, whatever the venue
 * does, and talks to nobody it cannot verify. Method: tests/venue_server.py is the venue; it drops, doubles,
 * reorders, cuts the connection, goes deaf and refuses snapshots on command, and says what is true; the mirror must
 * come to say the same.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/market/binance.h"
#include "actors/market/book_msgs.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/ports/live.h"
#include "tests/unit/node/feed_sink.h"

STOA_PROXY(market_book)

/* --- the venue */

typedef struct truth {
    uint64_t last_id, connections, snapshots, refused, pongs;
    char bid[32], ask[32];
} truth;

static struct {
    pid_t pid;
    FILE *to, *from;
    char folder[64], line[65536];
    char ca[128], other_ca[128];
    uint16_t port;
} venue;

static void get_text(const char *line, const char *name, char *out, size_t room)
{
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\": \"", name);
    const char *at = strstr(line, key);
    assert_non_null(at);
    at += strlen(key);
    (void)snprintf(out, room, "%.*s", (int)strcspn(at, "\""), at);
}

static uint64_t get_count(const char *line, const char *name)
{
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\": ", name);
    const char *at = strstr(line, key);
    assert_non_null(at);
    return strtoull(at + strlen(key), NULL, 10);
}

static truth tell(const char *command)
{
    truth t;
    assert_true(fprintf(venue.to, "%s\n", command) > 0);
    assert_int_equal(fflush(venue.to), 0);
    assert_non_null(fgets(venue.line, sizeof venue.line, venue.from));
    if (strstr(venue.line, "\"error\"")) { fail_msg("%s: %s", command, venue.line); }
    t.last_id = get_count(venue.line, "last_id");
    t.connections = get_count(venue.line, "connections");
    t.snapshots = get_count(venue.line, "snapshots");
    t.refused = get_count(venue.line, "refused");
    t.pongs = get_count(venue.line, "pongs");
    get_text(venue.line, "bid", t.bid, sizeof t.bid);
    get_text(venue.line, "ask", t.ask, sizeof t.ask);
    return t;
}

static int start_venue(void **state)
{
    const char *source = getenv("STOA_SOURCE");
    char script[1024];
    int in[2], out[2];
    (void)state;
    (void)snprintf(script, sizeof script, "%s/tests/venue_server.py", source ? source : ".");
    (void)strcpy(venue.folder, "/tmp/stoa_venue_XXXXXX");
    if (!mkdtemp(venue.folder) || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) { return -1; }
    venue.pid = fork();
    if (venue.pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        (void)execlp("python3", "python3", script, venue.folder, "1", (char *)NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    venue.to = fdopen(in[1], "w");
    venue.from = fdopen(out[0], "r");
    if (venue.pid < 0 || !venue.to || !venue.from || !fgets(venue.line, sizeof venue.line, venue.from)) { return -1; }
    venue.port = (uint16_t)get_count(venue.line, "port");
    get_text(venue.line, "ca", venue.ca, sizeof venue.ca);
    get_text(venue.line, "other_ca", venue.other_ca, sizeof venue.other_ca);
    stoa_log_level_set(STOA_LOG_ERROR);
    return 0;
}

static int stop_venue(void **state)
{
    int status;
    char command[96];
    (void)state;
    (void)fprintf(venue.to, "quit\n");
    (void)fclose(venue.to);
    (void)fclose(venue.from);
    (void)waitpid(venue.pid, &status, 0);
    (void)snprintf(command, sizeof command, "rm -r %s", venue.folder);
    return system(command);
}

/* --- the node */

typedef struct client {
    stoa_node *node;
    stoa_live *live;
    stoa_ref connector, book;
    uint64_t idle_ns; /* after so much silence the stream is made again; 0: hardly ever, however busy the machine */
    truth before;     /* what the venue counted when it began */
} client;

enum { WAITS = 12000, WAIT_US = 10000 }; /* no measure of anything: where something does not come, a test ends then */
#define IDLE_NS STOA_S(2)
#define LONG_NS STOA_S(600)

static void client_connect(client *c, const char *host, const char *ca)
{
    stoa_live_options options = {.venue = &market_venue_binance,
                                 .connector = c->connector,
                                 .symbol_count = 1,
                                 .symbols = {stoa_text("BTCUSDT")},
                                 .stream_host = host,
                                 .snapshot_host = host,
                                 .ca_file = ca,
                                 .stream_port = venue.port,
                                 .snapshot_port = venue.port,
                                 .idle_ns = c->idle_ns ? c->idle_ns : LONG_NS,
                                 .retry_ns = STOA_MS(20),
                                 .snapshot_wait_ns = STOA_MS(20)};
    c->before = tell("state");
    assert_int_equal(stoa_live_start(c->node, &options, &c->live), STOA_OK);
}

static void client_begin(client *c, const char *host, const char *ca)
{
    market_connector_options market = {
        .symbol_count = 1, .symbols = {stoa_text("BTCUSDT")}, .venue = stoa_text("binance")};
    *c = (client){.idle_ns = c->idle_ns};
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1, .idle = STOA_IDLE_ECO}, &c->node), STOA_OK);
    assert_int_equal(market_spawn_venue(c->node, &market, 0, &c->connector), STOA_OK);
    c->book = stoa_find(c->node, "market_book/binance.BTCUSDT");
    client_connect(c, host, ca);
}

static void client_end(client *c)
{
    stoa_live_stop(c->live);
    stoa_node_close(c->node, 0);
}

static market_book_state look(client *c)
{
    market_book_state state;
    market_book_view view = {.limit = 1};
    assert_int_equal(market_book_call_view(c->node, c->book, view, STOA_S(5), &state), STOA_OK);
    return state;
}

static bool agrees(const market_book_state *mirror, const truth *t)
{
    char bid[STOA_DECIMAL_TEXT_MAX], ask[STOA_DECIMAL_TEXT_MAX];
    if (mirror->status != market_book_status_LIVE || mirror->last_id != t->last_id) { return false; }
    (void)stoa_decimal_print(mirror->bids.at[0].price, 2, bid);
    (void)stoa_decimal_print(mirror->asks.at[0].price, 2, ask);
    return strcmp(bid, t->bid) == 0 && strcmp(ask, t->ask) == 0;
}

/* Wait until the mirror says what the venue says. */
static market_book_state wait_for_truth(client *c)
{
    truth t = tell("state");
    market_book_state mirror = {0};
    for (int i = 0; i < WAITS; i++) {
        mirror = look(c);
        if (agrees(&mirror, &t)) { return mirror; }
        (void)usleep(WAIT_US);
    }
    fail_msg("the mirror is %s at %" PRIu64 ", the venue at %" PRIu64, market_book_status_texts[mirror.status],
             mirror.last_id, t.last_id);
    return mirror;
}

static stoa_live_view live_look(client *c)
{
    stoa_live_view view;
    stoa_live_look(c->live, &view);
    return view;
}

static void wait_for_connections(client *c, uint64_t count)
{
    for (int i = 0; i < WAITS && live_look(c).connections < count; i++) { (void)usleep(WAIT_US); }
    assert_true(live_look(c).connections >= count);
}

static void begin_live(client *c)
{
    client_begin(c, "localhost", venue.ca);
    wait_for_connections(c, 1);
    (void)tell("diffs 20");
    (void)wait_for_truth(c);
}

static void a_live_market_is_mirrored(void **state)
{
    (void)state;
    client c = {0};
    begin_live(&c);
    (void)tell("diffs 500");
    market_book_state mirror = wait_for_truth(&c);
    assert_int_equal(mirror.gaps + mirror.resyncs + mirror.duplicates, 0);
    (void)tell("trade");
    for (int i = 0; i < WAITS && look(&c).trades == 0; i++) { (void)usleep(WAIT_US); }
    assert_int_equal(look(&c).trades, 1);
    assert_non_null(strstr(venue.line, "/stream?streams=btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker"));
    assert_non_null(strstr(venue.line, "/api/v3/depth?symbol=BTCUSDT&limit=5000"));
    truth t = tell("state");
    assert_int_equal(t.connections - c.before.connections, 1);
    assert_int_equal(t.snapshots - c.before.snapshots, 1);
    client_end(&c);
}

static void lost_doubled_and_reordered_diffs_are_resynced(void **state)
{
    (void)state;
    client c = {0};
    begin_live(&c);
    (void)tell("drop");
    (void)tell("diffs 3");
    market_book_state mirror = wait_for_truth(&c);
    assert_int_equal(mirror.gaps, 1);
    assert_int_equal(mirror.resyncs, 1);
    assert_int_equal(mirror.snapshots, 2);
    (void)tell("double");
    (void)tell("diffs 3");
    mirror = wait_for_truth(&c);
    assert_int_equal(mirror.duplicates, 1);
    assert_int_equal(mirror.resyncs, 2);
    (void)tell("reorder");
    (void)tell("diffs 3");
    mirror = wait_for_truth(&c);
    assert_int_equal(mirror.gaps, 2);
    assert_int_equal(mirror.resyncs, 3);
    assert_int_equal(live_look(&c).connections, 1); /* all of it on one connection */
    client_end(&c);
}

static void a_lost_connection_is_made_again(void **state)
{
    (void)state;
    static const char *const ends[] = {"close", "cut"};
    client c = {0};
    begin_live(&c);
    for (uint64_t i = 0; i < 2; i++) {
        (void)tell(ends[i]);
        (void)tell("diffs 5"); /* nobody hears these */
        wait_for_connections(&c, 2 + i);
        (void)tell("diffs 5");
        market_book_state mirror = wait_for_truth(&c);
        assert_int_equal(mirror.resyncs, 1 + i);
        assert_int_equal(mirror.gaps, 0);
    }
    assert_int_equal(live_look(&c).losses, 2);
    client_end(&c);
}

static void a_deaf_venue_is_left_for_a_new_connection(void **state)
{
    (void)state;
    client c = {.idle_ns = IDLE_NS};
    begin_live(&c);
    (void)tell("deaf");
    for (int i = 0; i < WAITS && live_look(&c).losses == 0; i++) { (void)usleep(WAIT_US); }
    assert_true(live_look(&c).losses >= 1);
    (void)tell("hear");
    wait_for_connections(&c, 2);
    (void)tell("diffs 5");
    (void)wait_for_truth(&c);
    client_end(&c);
}

/* It answers pings, but nothing comes: after idle_ns the stream is made again, until it says something. */
static void a_silent_stream_is_made_again(void **state)
{
    (void)state;
    client c = {.idle_ns = IDLE_NS};
    begin_live(&c);
    wait_for_connections(&c, 2);
    (void)tell("diffs 5");
    (void)wait_for_truth(&c);
    client_end(&c);
}

static void refused_and_old_snapshots_are_asked_for_again(void **state)
{
    (void)state;
    client c = {0};
    (void)tell("diffs 60");
    (void)tell("refuse 3");
    begin_live(&c);
    assert_int_equal(live_look(&c).connections, 1); /* not by way of new streams */
    assert_int_equal(tell("state").refused - c.before.refused, 3);
    assert_int_equal(live_look(&c).snapshots_failed, 3);
    (void)tell("stale 1");
    (void)tell("drop");
    (void)tell("diffs 2");
    market_book_state mirror = wait_for_truth(&c);
    assert_int_equal(mirror.gaps, 1);
    assert_int_equal(tell("state").snapshots - c.before.snapshots, 3); /* at first, the old one, a fresh one */
    client_end(&c);
}

static void a_venue_that_refuses_snapshots_is_not_pressed(void **state)
{
    (void)state;
    client c = {0};
    (void)tell("refuse 1000");
    client_begin(&c, "localhost", venue.ca);
    wait_for_connections(&c, 1);
    for (int i = 0; i < 50; i++) {
        (void)tell("diffs 20");
        (void)usleep(WAIT_US);
    }
    assert_in_range(tell("state").refused - c.before.refused, 2, 10); /* the pauses double from 20 ms */
    (void)tell("refuse 0");
    (void)wait_for_truth(&c);
    client_end(&c);
}

static void odd_frames_are_taken_or_counted(void **state)
{
    (void)state;
    client c = {0};
    begin_live(&c);
    truth before = tell("fragment");
    (void)tell("big");
    (void)tell("text this is not JSON");
    (void)tell("text {\"result\":null,\"id\":1}");
    (void)tell("diffs 1");
    market_book_state mirror = wait_for_truth(&c);
    assert_int_equal(mirror.gaps + mirror.resyncs, 0);
    market_connector_counts counts;
    market_connector_status in = {0};
    assert_int_equal(market_connector_call_status(c.node, c.connector, in, STOA_S(5), &counts), STOA_OK);
    assert_int_equal(counts.malformed, 1);
    assert_int_equal(counts.idle, 1);
    for (int i = 0; i < WAITS && tell("state").pongs == before.pongs; i++) { (void)usleep(WAIT_US); }
    assert_int_equal(tell("state").pongs, before.pongs + 1); /* its ping in the middle of a message was answered */
    client_end(&c);
}

static void a_flood_is_held_back_not_lost(void **state)
{
    (void)state;
    client c = {0};
    begin_live(&c);
    for (int i = 0; i < 10; i++) { (void)tell("diffs 400"); }
    for (int i = 0; i < 40; i++) { (void)tell("big"); }
    market_book_state mirror = wait_for_truth(&c);
    assert_int_equal(mirror.gaps + mirror.resyncs, 0);
    assert_int_equal(live_look(&c).overruns, 0);
    client_end(&c);
}

/* A connector without credit: the stream is read no further than the queue holds, and goes on when there is
 * credit. */
static void a_connector_that_lags_stops_the_reading(void **state)
{
    (void)state;
    client c = {0};
    feed_sink_taken taken;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1, .idle = STOA_IDLE_ECO}, &c.node), STOA_OK);
    stoa_spawn_options here = {.core = 0};
    assert_int_equal(stoa_spawn(c.node, &feed_sink_kind, "feed_sink/x", &here, &c.connector), STOA_OK);
    client_connect(&c, "localhost", venue.ca);
    wait_for_connections(&c, 1);
    for (int i = 0; i < 150; i++) { (void)tell("big"); } /* 5 MB; the window and the queue hold 2 */
    for (int i = 0; i < WAITS && live_look(&c).messages < 30; i++) { (void)usleep(WAIT_US); }
    (void)usleep(300000);
    assert_in_range(live_look(&c).messages, 30, 100);
    for (int i = 0; i < WAITS && live_look(&c).messages < 150; i++) {
        feed_sink_give give = {.frames = 64};
        assert_int_equal(feed_sink_call_give(c.node, c.connector, give, STOA_S(5), &taken), STOA_OK);
        (void)usleep(WAIT_US);
    }
    assert_int_equal(live_look(&c).messages, 150);
    assert_int_equal(live_look(&c).overruns, 0);
    assert_int_equal(live_look(&c).losses, 0);
    client_end(&c);
}

/* The certificate is another's, or of another name: no connection, no snapshot, again and again. */
static void check_untrusted(const char *host, const char *ca)
{
    client c = {0};
    client_begin(&c, host, ca);
    for (int i = 0; i < WAITS && live_look(&c).losses < 3; i++) { (void)usleep(WAIT_US); }
    assert_true(live_look(&c).losses >= 3);
    assert_int_equal(live_look(&c).connections, 0);
    assert_false(live_look(&c).connected);
    assert_int_equal(look(&c).rows, 0);
    assert_int_equal(tell("state").connections, c.before.connections);
    client_end(&c);
}

static void an_unverified_venue_is_not_talked_to(void **state)
{
    (void)state;
    check_untrusted("localhost", venue.other_ca);
    check_untrusted("127.0.0.1", venue.ca);
    check_untrusted("localhost", NULL);
}

static void bad_settings_are_refused(void **state)
{
    (void)state;
    stoa_node *node = NULL;
    stoa_live *live = NULL;
    stoa_live_options options = {.venue = &market_venue_binance};
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1, .idle = STOA_IDLE_ECO}, &node), STOA_OK);
    assert_int_equal(stoa_live_start(node, &options, &live), STOA_E_INVALID);
    options.symbol_count = 1;
    options.ca_file = "/nonexistent/ca.pem";
    assert_int_equal(stoa_live_start(node, &options, &live), STOA_E_IO);
    assert_null(live);
    stoa_live_stop(live);
    stoa_node_close(node, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_live_market_is_mirrored),
        cmocka_unit_test(lost_doubled_and_reordered_diffs_are_resynced),
        cmocka_unit_test(a_lost_connection_is_made_again),
        cmocka_unit_test(a_deaf_venue_is_left_for_a_new_connection),
        cmocka_unit_test(a_silent_stream_is_made_again),
        cmocka_unit_test(refused_and_old_snapshots_are_asked_for_again),
        cmocka_unit_test(a_venue_that_refuses_snapshots_is_not_pressed),
        cmocka_unit_test(odd_frames_are_taken_or_counted),
        cmocka_unit_test(a_flood_is_held_back_not_lost),
        cmocka_unit_test(a_connector_that_lags_stops_the_reading),
        cmocka_unit_test(an_unverified_venue_is_not_talked_to),
        cmocka_unit_test(bad_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, start_venue, stop_venue);
}
