/* live.c - see live.h.
 *
 * Frames from the stream and bodies of snapshots enter one queue and leave it for the connector as its credit allows.
 * Above HOLD_BYTES the stream is not read, so that the venue's TCP connection waits; a message that came all the same
 * and does not fit drops the connection, and the mirrors begin anew.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/ports/live.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "node/ports/source.h"
#include "node/ports/ws.h"

enum { TIMER_CONNECT, TIMER_SNAPSHOT, TIMER_SILENCE, TIMER_PUMP };
enum {
    QUEUE_BYTES = 8 << 20,
    HOLD_BYTES = 1 << 20,
    GO_ON_BYTES = 1 << 18,
    HOST_MAX = 253,
    PATH_MAX_BYTES = 2048,
    PUMP_MS = 20,
    REQUEST_S = 20,
};
#define RETRY_NS          STOA_MS(250)
#define RETRY_MAX_NS      STOA_S(30)
#define SNAPSHOT_WAIT_NS  STOA_S(1)
#define SNAPSHOT_WAIT_MAX STOA_S(60)
#define IDLE_NS           STOA_S(30)
#define UNREACHABLE       "the host has no address here, or there is no network"

/* An entry of the queue; its bytes follow. */
typedef struct entry {
    stoa_text14 symbol; /* of a snapshot, else empty */
    uint64_t size_bytes;
} entry;

typedef struct endpoint {
    char host[HOST_MAX + 1];
    uint16_t port;
} endpoint;

struct stoa_live {
    stoa_live_options options;
    endpoint stream, snapshot;
    char ca_file[1024];
    stoa_ws *ws;
    stoa_source source;
    pthread_t thread;
    bool threaded;
    _Atomic bool stop;
    stoa_random random; /* jitter of the delays */
    uint64_t retry_ns, snapshot_wait_ns;
    bool connected, held, opened_due, requesting;
    bool pausing; /* no snapshot is asked for before TIMER_SNAPSHOT is due */
    uint32_t asked; /* whose snapshot the request is for */
    bool wanted[MARKET_CONNECTOR_SYMBOLS_MAX];
    uint64_t heard_ns; /* the last message */
    /* the queue: bytes [from, to) */
    char *queue;
    size_t from, to, sent; /* sent: of the first entry */
    _Atomic uint64_t connections, losses, messages, snapshots, snapshots_failed, overruns;
    _Atomic bool is_connected;
};

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* A delay of 75 to 125 %, so that many clients do not come back at once; the next one is twice as long. */
static uint64_t backoff(stoa_live *live, uint64_t *delay_ns, uint64_t most_ns)
{
    uint64_t delay = *delay_ns;
    *delay_ns = delay * 2 < most_ns ? delay * 2 : most_ns;
    return delay - delay / 4 + stoa_random_below(&live->random, delay / 2 + 1);
}

/* --- the queue */

static bool enqueue(stoa_live *live, const stoa_text14 *symbol, const char *bytes, size_t size)
{
    entry head = {.symbol = *symbol, .size_bytes = size};
    size_t needed = sizeof head + size;
    if (needed > QUEUE_BYTES - live->to && live->from) {
        memmove(live->queue, live->queue + live->from, live->to - live->from);
        live->to -= live->from;
        live->from = 0;
    }
    if (needed > QUEUE_BYTES - live->to) { return false; }
    memcpy(live->queue + live->to, &head, sizeof head);
    memcpy(live->queue + live->to + sizeof head, bytes, size);
    live->to += needed;
    return true;
}

/* Send the first entry, or what is left of it. Errors: AGAIN, CLOSED. */
static stoa_err send_first(stoa_live *live)
{
    entry head;
    memcpy(&head, live->queue + live->from, sizeof head);
    stoa_source_frame frame = {.bytes = live->queue + live->from + sizeof head,
                               .size_bytes = head.size_bytes,
                               .from_bytes = live->sent,
                               .symbol = head.symbol};
    stoa_err err = stoa_source_send(&live->source, &frame);
    live->sent = frame.from_bytes;
    if (err == STOA_E_AGAIN) { return err; }
    live->from += sizeof head + head.size_bytes;
    live->sent = 0;
    if (live->from == live->to) { live->from = live->to = 0; }
    return err;
}

/* Tell the connector that a stream begins, before any of its frames. */
static stoa_err send_opened(stoa_live *live)
{
    const stoa_none nothing = {0};
    stoa_err err =
        stoa_source_tell(&live->source, &market_connector_rows[market_connector_ROW_opened], &nothing);
    if (err != STOA_E_AGAIN) { live->opened_due = false; }
    return err;
}

static void set_hold(stoa_live *live, bool hold)
{
    if (live->held == hold) { return; }
    live->held = hold;
    stoa_ws_hold(live->ws, hold);
}

static void pump(stoa_live *live)
{
    stoa_err err = live->opened_due ? send_opened(live) : STOA_OK;
    while (err != STOA_E_AGAIN && live->from < live->to) {
        err = send_first(live);
    }
    stoa_port_flush(live->source.port);
    size_t waiting = live->to - live->from;
    if (waiting > HOLD_BYTES) { set_hold(live, true); }
    if (waiting < GO_ON_BYTES) { set_hold(live, false); }
    if (err == STOA_E_AGAIN) { stoa_ws_after(live->ws, TIMER_PUMP, STOA_MS(PUMP_MS)); }
}

/* --- the stream */

/* Count and log a stream that is gone or was never made, and try again later. */
static void lost(stoa_live *live, const char *why)
{
    uint64_t delay = backoff(live, &live->retry_ns, RETRY_MAX_NS);
    count(&live->losses);
    stoa_log(STOA_LOG_WARN, "venue_lost", STOA_KV("venue", live->options.venue->name),
             STOA_KV("host", live->stream.host), STOA_KV("why", why), STOA_KU("retry_ms", delay / STOA_MS(1)));
    stoa_ws_after(live->ws, TIMER_CONNECT, delay);
}

static void connect_stream(stoa_live *live)
{
    char text[PATH_MAX_BYTES];
    stoa_buf path = STOA_BUF_FIXED(text);
    live->options.venue->stream_path(live->options.symbols, live->options.symbol_count, &path);
    if (path.cut) {
        lost(live, "the stream of so many symbols has too long a name");
    } else if (stoa_ws_connect(live->ws, live->stream.host, live->stream.port, text)) {
        lost(live, UNREACHABLE);
    }
}

static void watch_silence(stoa_live *live)
{
    stoa_ws_after(live->ws, TIMER_SILENCE, live->options.idle_ns);
}

static void on_opened(void *context)
{
    stoa_live *live = context;
    count(&live->connections);
    atomic_store_explicit(&live->is_connected, true, memory_order_relaxed);
    live->connected = true;
    live->held = false;
    live->opened_due = true;
    live->from = live->to = live->sent = 0; /* what is left of the last stream is void */
    live->heard_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    stoa_log(STOA_LOG_INFO, "venue_connected", STOA_KV("venue", live->options.venue->name),
             STOA_KV("host", live->stream.host));
    watch_silence(live);
    pump(live);
}

static void on_message(void *context, const char *bytes, size_t size)
{
    static const stoa_text14 none;
    stoa_live *live = context;
    live->heard_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    count(&live->messages);
    live->retry_ns = live->options.retry_ns; /* it works: begin with short delays again */
    if (size && !enqueue(live, &none, bytes, size)) {
        count(&live->overruns);
        stoa_ws_disconnect(live->ws);
        return;
    }
    pump(live);
}

static void on_closed(void *context, const char *why)
{
    stoa_live *live = context;
    live->connected = false;
    atomic_store_explicit(&live->is_connected, false, memory_order_relaxed);
    stoa_ws_cancel(live->ws, TIMER_SILENCE);
    lost(live, why);
}

/* --- snapshots */

static void ask_again_later(stoa_live *live)
{
    live->pausing = true;
    stoa_ws_after(live->ws, TIMER_SNAPSHOT, backoff(live, &live->snapshot_wait_ns, SNAPSHOT_WAIT_MAX));
}

static void snapshot_failed(stoa_live *live, stoa_err err, unsigned status, const char *why)
{
    count(&live->snapshots_failed);
    stoa_log(STOA_LOG_WARN, "venue_snapshot_failed", STOA_KV("venue", live->options.venue->name),
             STOA_KV("host", live->snapshot.host), STOA_KV("error", stoa_err_name(err)), STOA_KU("status", status),
             STOA_KV("why", why));
    ask_again_later(live);
}

static void ask_snapshot(stoa_live *live)
{
    char text[PATH_MAX_BYTES];
    stoa_buf path = STOA_BUF_FIXED(text);
    uint32_t i = 0;
    if (live->requesting || live->pausing || !live->connected) { return; } /* a new stream wants anew */
    while (i < live->options.symbol_count && !live->wanted[i]) { i++; }
    if (i == live->options.symbol_count) { return; }
    live->asked = i;
    live->options.venue->snapshot_path(&live->options.symbols[i], &path);
    stoa_err err = stoa_ws_get(live->ws, live->snapshot.host, live->snapshot.port, text);
    if (err) {
        snapshot_failed(live, err, 0, UNREACHABLE);
        return;
    }
    live->requesting = true;
    stoa_ws_after(live->ws, TIMER_SNAPSHOT, STOA_S(REQUEST_S));
}

static void on_answered(void *context, stoa_err err, unsigned status, const char *body, size_t size)
{
    stoa_live *live = context;
    live->requesting = false;
    stoa_ws_cancel(live->ws, TIMER_SNAPSHOT);
    if (err || status != 200 || size == 0 || !enqueue(live, &live->options.symbols[live->asked], body, size)) {
        snapshot_failed(live, err, status, err ? "the request failed" : "the answer is no snapshot, or does not fit");
        return;
    }
    count(&live->snapshots);
    live->wanted[live->asked] = false;
    live->snapshot_wait_ns = live->options.snapshot_wait_ns;
    ask_again_later(live);                                   /* for who else wants one */
    live->snapshot_wait_ns = live->options.snapshot_wait_ns; /* a pause, not the first of several */
    pump(live);
}

/* --- the port */

static void want(stoa_live *live, const stoa_text14 *symbol)
{
    for (uint32_t i = 0; i < live->options.symbol_count; i++) {
        if (STOA_TEXT_EQ(&live->options.symbols[i], symbol)) { live->wanted[i] = true; }
    }
}

static void hear(void *context, const stoa_delivery *delivery)
{
    stoa_live *live = context;
    if (delivery->row == &market_connector_rows[market_connector_ROW_granted]) {
        live->source.granted = ((const market_connector_granted *)delivery->payload)->frames;
    } else if (delivery->row == &market_connector_rows[market_connector_ROW_want]) {
        want(live, &((const market_connector_want *)delivery->payload)->symbol);
    }
}

static void on_readable(void *context)
{
    stoa_live *live = context;
    while (stoa_port_poll(live->source.port, hear, live, 256) == 256) {}
    ask_snapshot(live);
    pump(live);
}

/* --- time */

static void silence_due(stoa_live *live)
{
    uint64_t quiet = stoa_clock_real.now_ns(&stoa_clock_real) - live->heard_ns;
    if (quiet < live->options.idle_ns) {
        stoa_ws_after(live->ws, TIMER_SILENCE, live->options.idle_ns - quiet);
    } else {
        stoa_ws_disconnect(live->ws);
    }
}

static void snapshot_due(stoa_live *live)
{
    if (live->requesting) {
        stoa_ws_give_up(live->ws);
        return;
    }
    live->pausing = false;
    ask_snapshot(live);
}

static void on_due(void *context, unsigned timer)
{
    static void (*const dues[STOA_WS_TIMERS])(stoa_live *live) = {
        [TIMER_CONNECT] = connect_stream,
        [TIMER_SNAPSHOT] = snapshot_due,
        [TIMER_SILENCE] = silence_due,
        [TIMER_PUMP] = pump,
    };
    dues[timer](context);
}

static const stoa_ws_handler handler = {
    .opened = on_opened,
    .message = on_message,
    .closed = on_closed,
    .answered = on_answered,
    .readable = on_readable,
    .due = on_due,
};

static void *run(void *context)
{
    stoa_live *live = context;
    on_readable(live); /* a port rings only after it was polled */
    connect_stream(live);
    while (!atomic_load_explicit(&live->stop, memory_order_relaxed)) {
        stoa_ws_service(live->ws);
    }
    return NULL;
}

/* --- life */

static stoa_err set_endpoint(endpoint *out, const char *host, uint16_t port, const char *other_host,
                             uint16_t other_port)
{
    const char *text = host ? host : other_host;
    if (strlen(text) > HOST_MAX) { return STOA_FAIL(STOA_E_INVALID, "the host name %s is too long", text); }
    (void)strcpy(out->host, text);
    out->port = port ? port : other_port;
    return STOA_OK;
}

static stoa_err set_options(stoa_live *live, const stoa_live_options *options)
{
    const market_venue *venue = options->venue;
    if (!venue || options->symbol_count == 0 || options->symbol_count > MARKET_CONNECTOR_SYMBOLS_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "a venue and 1 to %d symbols are needed", MARKET_CONNECTOR_SYMBOLS_MAX);
    }
    live->options = *options;
    if (!live->options.idle_ns) { live->options.idle_ns = IDLE_NS; }
    if (!live->options.retry_ns) { live->options.retry_ns = RETRY_NS; }
    if (!live->options.snapshot_wait_ns) { live->options.snapshot_wait_ns = SNAPSHOT_WAIT_NS; }
    live->retry_ns = live->options.retry_ns;
    live->snapshot_wait_ns = live->options.snapshot_wait_ns;
    live->options.ca_file = NULL;
    if (options->ca_file) {
        if (strlen(options->ca_file) >= sizeof live->ca_file) { return STOA_FAIL(STOA_E_INVALID, "path of ca_file"); }
        live->options.ca_file = strcpy(live->ca_file, options->ca_file);
    }
    stoa_err err = set_endpoint(&live->stream, options->stream_host, options->stream_port, venue->stream_host,
                                venue->stream_port);
    return err ? err
               : set_endpoint(&live->snapshot, options->snapshot_host, options->snapshot_port, venue->snapshot_host,
                              venue->snapshot_port);
}

static stoa_err start(stoa_node *node, stoa_live *live)
{
    stoa_ws_options options = {.ca_file = live->options.ca_file,
                               .message_bytes_max = MARKET_FRAME_BYTES_MAX,
                               .idle_ns = live->options.idle_ns};
    live->queue = malloc(QUEUE_BYTES);
    if (!live->queue) { return STOA_FAIL(STOA_E_NOMEM, "the queue of a live market"); }
    stoa_err err = stoa_ws_new(&options, &handler, live, &live->ws);
    if (!err) { err = stoa_port_open(node, "live", &live->source.port); }
    if (!err) { err = stoa_ws_watch(live->ws, stoa_port_fd(live->source.port)); }
    if (err) { return err; }
    live->source.connector = live->options.connector;
    if (pthread_create(&live->thread, NULL, run, live)) { return STOA_FAIL(STOA_E_IO, "the live market's thread"); }
    live->threaded = true;
    return STOA_OK;
}

stoa_err stoa_live_start(stoa_node *node, const stoa_live_options *options, stoa_live **out)
{
    stoa_live *live = calloc(1, sizeof *live);
    uint64_t seed;
    if (!live) { return STOA_FAIL(STOA_E_NOMEM, "a live market"); }
    stoa_random_system(&seed, sizeof seed);
    stoa_random_seed(&live->random, seed);
    stoa_err err = set_options(live, options);
    if (!err) { err = start(node, live); }
    if (err) {
        stoa_live_stop(live);
        return err;
    }
    *out = live;
    return STOA_OK;
}

void stoa_live_stop(stoa_live *live)
{
    if (!live) { return; }
    if (live->threaded) {
        atomic_store_explicit(&live->stop, true, memory_order_relaxed);
        stoa_ws_wake(live->ws);
        (void)pthread_join(live->thread, NULL);
    }
    stoa_ws_free(live->ws);
    stoa_port_close(live->source.port);
    free(live->queue);
    free(live);
}

void stoa_live_look(stoa_live *live, stoa_live_view *out)
{
    *out = (stoa_live_view){
        .connections = atomic_load_explicit(&live->connections, memory_order_relaxed),
        .losses = atomic_load_explicit(&live->losses, memory_order_relaxed),
        .messages = atomic_load_explicit(&live->messages, memory_order_relaxed),
        .snapshots = atomic_load_explicit(&live->snapshots, memory_order_relaxed),
        .snapshots_failed = atomic_load_explicit(&live->snapshots_failed, memory_order_relaxed),
        .overruns = atomic_load_explicit(&live->overruns, memory_order_relaxed),
        .connected = atomic_load_explicit(&live->is_connected, memory_order_relaxed),
    };
}
