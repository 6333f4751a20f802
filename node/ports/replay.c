/* replay.c - see replay.h.
 *
 * The thread: wait until the next frame is due, poll the port meanwhile, send it within credit. A file position is
 * turned into time by local_ns alone: a frame is due at start + (local_ns - first local_ns) / speed; time that runs
 * backwards in the file is due at once.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/ports/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/market/book_msgs.h"
#include "base/log.h"
#include "node/ports/capture.h"
#include "node/ports/source.h"

__extension__ typedef unsigned __int128 uint128;

enum { POLL_MS = 50, POLL_MAX = 64 };

STOA_PROXY(market_book)
STOA_PROXY(market_connector)

struct stoa_replay {
    stoa_replay_options options;
    stoa_capture *capture;
    stoa_source source;
    pthread_t thread;
    _Atomic bool stop;
    /* under lock: */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended; /* the file is at its end and the connector took all of it */
    stoa_err result;
    uint64_t skipped, began_ns, ended_ns;
};

/* --- options */

stoa_err stoa_replay_parse(const char *text, stoa_replay_options *out)
{
    const char *at = strrchr(text, '@');
    size_t size = at ? (size_t)(at - text) : strlen(text);
    stoa_decimal speed = STOA_DECIMAL_ONE;
    if (size == 0) { return STOA_FAIL(STOA_E_INVALID, "no file is named"); }
    if (size >= sizeof out->path) { return STOA_FAIL(STOA_E_TOO_LARGE, "the path of the capture"); }
    if (at && strcmp(at + 1, "max") == 0) {
        speed = 0;
    } else if (at && (stoa_decimal_parse(at + 1, strlen(at + 1), &speed) || speed <= 0)) {
        return STOA_FAIL(STOA_E_INVALID, "speed \"%s\" is neither a positive number nor \"max\"", at + 1);
    }
    *out = (stoa_replay_options){.speed = speed};
    memcpy(out->path, text, size);
    return STOA_OK;
}

stoa_err stoa_replay_market(stoa_node *node, const market_venue *venue, stoa_replay_options *options, uint32_t core)
{
    market_connector_options market = {0};
    stoa_err err = STOA_TEXT_SETZ(&market.venue, venue->name);
    if (!err) {
        err = stoa_capture_symbols(options->path, venue, market.symbols, MARKET_CONNECTOR_SYMBOLS_MAX,
                                   &market.symbol_count);
    }
    if (!err) { err = market_spawn_venue(node, &market, core, &options->connector); }
    if (err) { return err; }
    options->venue = market.venue;
    options->symbol = market.symbols[0];
    return STOA_OK;
}

/* --- the thread */

static void hear(void *context, const stoa_delivery *delivery)
{
    stoa_replay *replay = context;
    if (delivery->row == &market_connector_rows[market_connector_ROW_granted]) {
        const market_connector_granted *granted = delivery->payload;
        replay->source.granted = granted->frames;
    } else if (delivery->row == &market_connector_rows[market_connector_ROW_want] && replay->ended) {
        const market_connector_want *want = delivery->payload;
        market_connector_missing none = {.symbol = want->symbol};
        (void)stoa_source_tell(&replay->source, &market_connector_rows[market_connector_ROW_missing], &none);
    }
}

/* Let the port work for up to timeout_ns, less when something came. */
static void attend(stoa_replay *replay, uint64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / STOA_S(1)), .tv_nsec = (long)(timeout_ns % STOA_S(1))};
    struct pollfd ready = {.fd = stoa_port_fd(replay->source.port), .events = POLLIN};
    stoa_port_flush(replay->source.port);
    if (stoa_port_poll(replay->source.port, hear, replay, POLL_MAX)) { return; }
    if (timeout_ns) { (void)ppoll(&ready, 1, &timeout, NULL); }
    (void)stoa_port_poll(replay->source.port, hear, replay, POLL_MAX);
}

static bool stopped(stoa_replay *replay)
{
    return atomic_load_explicit(&replay->stop, memory_order_relaxed);
}

static uint64_t due_ns(const stoa_replay *replay, uint64_t first_ns, uint64_t local_ns)
{
    if (replay->options.speed == 0 || local_ns <= first_ns) { return 0; }
    uint128 recorded = local_ns - first_ns;
    return replay->began_ns + (uint64_t)(recorded * STOA_DECIMAL_ONE / (uint64_t)replay->options.speed);
}

static void wait_until(stoa_replay *replay, uint64_t due)
{
    for (;;) {
        uint64_t now = stoa_clock_real.now_ns(&stoa_clock_real);
        if (now >= due || stopped(replay)) { return; }
        attend(replay, due - now < STOA_MS(POLL_MS) ? due - now : STOA_MS(POLL_MS));
    }
}

/* Repeat try until it is something else than AGAIN. */
static stoa_err send_frame(stoa_replay *replay, const char *bytes, size_t size)
{
    stoa_source_frame frame = {.bytes = bytes, .size_bytes = size};
    stoa_err err;
    while ((err = stoa_source_send(&replay->source, &frame)) == STOA_E_AGAIN && !stopped(replay)) {
        attend(replay, STOA_MS(POLL_MS));
    }
    return err;
}

static stoa_err tell(stoa_replay *replay, uint32_t row)
{
    const stoa_none nothing = {0};
    stoa_err err;
    while ((err = stoa_source_tell(&replay->source, &market_connector_rows[row], &nothing)) == STOA_E_AGAIN &&
           !stopped(replay)) {
        attend(replay, STOA_MS(POLL_MS));
    }
    return err;
}

static stoa_err play(stoa_replay *replay)
{
    uint64_t first_ns = 0, local_ns = 0;
    const char *bytes = NULL;
    size_t size = 0;
    stoa_err err = tell(replay, market_connector_ROW_opened);
    while (!err && !stopped(replay)) {
        err = stoa_capture_next(replay->capture, &local_ns, &bytes, &size);
        if (err == STOA_E_TOO_LARGE) {
            err = STOA_OK;
            continue;
        }
        if (err) { break; }
        if (first_ns == 0) { first_ns = local_ns; }
        wait_until(replay, due_ns(replay, first_ns, local_ns));
        err = send_frame(replay, bytes, size);
    }
    return stopped(replay) ? STOA_E_CLOSED : err;
}

static void finish(stoa_replay *replay, stoa_err result)
{
    (void)pthread_mutex_lock(&replay->lock);
    replay->ended = true;
    replay->result = result == STOA_E_AGAIN ? STOA_OK : result;
    replay->skipped = stoa_capture_skipped(replay->capture);
    replay->ended_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    (void)pthread_cond_broadcast(&replay->changed);
    (void)pthread_mutex_unlock(&replay->lock);
}

static void *run(void *context)
{
    stoa_replay *replay = context;
    stoa_err result = play(replay);
    if (result == STOA_E_CORRUPT) { stoa_log_error("replay_damaged", result); }
    (void)tell(replay, market_connector_ROW_ended);
    while (replay->source.granted < replay->source.sent && !stopped(replay) && result != STOA_E_CLOSED) {
        attend(replay, STOA_MS(POLL_MS));
    }
    finish(replay, result);
    while (!stopped(replay)) { /* snapshots may still be wanted */
        attend(replay, STOA_MS(POLL_MS));
    }
    return NULL;
}

/* --- life */

static stoa_err start(stoa_node *node, stoa_replay *replay)
{
    stoa_err err = stoa_capture_open(replay->options.path, &replay->capture);
    if (!err) { err = stoa_port_open(node, "replay", &replay->source.port); }
    if (err) { return err; }
    replay->source.connector = replay->options.connector;
    replay->began_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    if (pthread_create(&replay->thread, NULL, run, replay)) { return STOA_FAIL(STOA_E_IO, "the replay's thread"); }
    stoa_log(STOA_LOG_INFO, "replay_started", STOA_KV("file", replay->options.path));
    return STOA_OK;
}

static void release(stoa_replay *replay)
{
    stoa_port_close(replay->source.port);
    stoa_capture_close(replay->capture);
    (void)pthread_mutex_destroy(&replay->lock);
    (void)pthread_cond_destroy(&replay->changed);
    free(replay);
}

stoa_err stoa_replay_start(stoa_node *node, const stoa_replay_options *options, stoa_replay **out)
{
    stoa_replay *replay = calloc(1, sizeof *replay);
    pthread_condattr_t monotonic;
    if (!replay) { return STOA_FAIL(STOA_E_NOMEM, "a replay"); }
    replay->options = *options;
    (void)pthread_mutex_init(&replay->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&replay->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    stoa_err err = start(node, replay);
    if (err) {
        release(replay);
        return err;
    }
    *out = replay;
    return STOA_OK;
}

void stoa_replay_stop(stoa_replay *replay)
{
    if (!replay) { return; }
    atomic_store_explicit(&replay->stop, true, memory_order_relaxed);
    (void)pthread_join(replay->thread, NULL);
    release(replay);
}

bool stoa_replay_ended(stoa_replay *replay)
{
    (void)pthread_mutex_lock(&replay->lock);
    bool ended = replay->ended;
    (void)pthread_mutex_unlock(&replay->lock);
    return ended;
}

stoa_err stoa_replay_wait(stoa_replay *replay, uint64_t deadline_ns)
{
    struct timespec until;
    stoa_err err = STOA_OK;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t at = (uint64_t)until.tv_sec * STOA_S(1) + (uint64_t)until.tv_nsec + deadline_ns;
    until = (struct timespec){.tv_sec = (time_t)(at / STOA_S(1)), .tv_nsec = (long)(at % STOA_S(1))};
    (void)pthread_mutex_lock(&replay->lock);
    while (!replay->ended && !err) {
        if (pthread_cond_timedwait(&replay->changed, &replay->lock, &until) == ETIMEDOUT) { err = STOA_E_TIMEOUT; }
    }
    if (replay->ended) { err = replay->result; }
    (void)pthread_mutex_unlock(&replay->lock);
    return err;
}

/* --- the report */

static stoa_ref mirror_of(stoa_node *node, const stoa_replay_options *options)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf name = STOA_BUF_FIXED(text);
    stoa_buf_printf(&name, "market_book/%.*s.%.*s", STOA_TEXT_ARGS(&options->venue), STOA_TEXT_ARGS(&options->symbol));
    return stoa_find(node, text);
}

static void put_count(stoa_buf *out, const char *name, uint64_t value)
{
    stoa_buf_printf(out, "\"%s\":%" PRIu64 ",", name, value);
}

static void put_price(stoa_buf *out, const char *name, const market_levels *levels)
{
    char text[STOA_DECIMAL_TEXT_MAX];
    (void)stoa_decimal_print(levels->count ? levels->at[0].price : 0, 2, text);
    stoa_buf_printf(out, "\"%s\":\"%s\",", name, text);
}

static void print_report(const market_book_state *book, const market_connector_counts *counts, uint64_t skipped,
                         uint64_t events_per_s, stoa_buf *out)
{
    uint64_t refused = counts->malformed + counts->unknown + counts->too_large + counts->numbers + counts->torn +
                       counts->unrouted + counts->overruns + skipped;
    stoa_buf_puts(out, "{");
    put_count(out, "diffs_applied", book->diffs_applied);
    put_count(out, "gaps", book->gaps);
    put_count(out, "duplicates", book->duplicates);
    put_count(out, "resyncs", book->resyncs);
    put_count(out, "dropped", book->dropped);
    put_count(out, "last_update_id", book->last_id);
    put_price(out, "best_bid", &book->bids);
    put_price(out, "best_ask", &book->asks);
    put_count(out, "trades", book->trades);
    put_count(out, "snapshots", book->snapshots);
    stoa_buf_printf(out, "\"status\":\"%s\",", market_book_status_texts[book->status]);
    put_count(out, "frames", counts->frames);
    put_count(out, "refused", refused);
    stoa_buf_printf(out, "\"events_per_s\":%" PRIu64 "}", events_per_s);
}

stoa_err stoa_replay_report(stoa_node *node, stoa_replay *replay, stoa_buf *out)
{
    market_book_state book;
    market_connector_counts counts;
    (void)pthread_mutex_lock(&replay->lock);
    uint64_t until = replay->ended ? replay->ended_ns : stoa_clock_real.now_ns(&stoa_clock_real);
    uint64_t skipped = replay->skipped;
    (void)pthread_mutex_unlock(&replay->lock);
    stoa_err err = market_connector_call_status(node, replay->options.connector, (market_connector_status){0},
                                                STOA_S(5), &counts);
    /* the mirror is asked behind the connector: it has heard what the connector had sent by then */
    if (!err) {
        err = market_book_call_view(node, mirror_of(node, &replay->options), (market_book_view){.limit = 1}, STOA_S(5),
                                    &book);
    }
    if (err) { return STOA_PASS(err, "asking the mirror of the replay"); }
    uint64_t elapsed = until > replay->began_ns ? until - replay->began_ns : 1;
    print_report(&book, &counts, skipped, (uint64_t)((uint128)counts.frames * STOA_S(1) / elapsed), out);
    return STOA_OK;
}
