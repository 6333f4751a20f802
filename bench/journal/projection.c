/* projection.c - journal.projection: rows a second from a shard's log into PostgreSQL, beside raw COPY of the same rows.
 *
 * A node with the embedded settings takes ORDERS orders, every second of which fills the one before: nine rows a pair (orders,
 * their history, trades) and a few that are written again and again. Ours: a projector that catches up from position 1, from its
 * first connection to its last commit: reading, decoding, folding, writing. Theirs: the same rows, encoded beforehand, by COPY
 * BINARY into equal tables with equal keys and indexes in transactions of COPY_ROWS. Both run in turns, each time into a schema
 * of its own, on a server of this program's own with Debian's settings and fsync; the tables are compared by their checksums.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/trade/account_msgs.h"
#include "bench/journal/postgres.h"
#include "bench/journal/rig.h"
#include "node/platform.h"
#include "node/projection/projector.h"
#include "runtime/log_reader.h"
#include "storage/postgres/write.h"

enum { ORDERS = 100000, QUICK_PART = 100, RUNS = 5, COPY_ROWS = 10000, WINDOW = 128, BATCH = 16384 };
#define GOAL 0.6 /* of raw COPY */

/* --- the log */

typedef struct flow {
    stoa_platform *platform;
    stoa_port *port;
    stoa_ref alice, bob;
    uint64_t started, answered;
} flow;

static void on_delivery(void *context, const stoa_delivery *d)
{
    flow *f = context;
    if (!d->answer) { return; }
    bench_must(d->error, "order");
    f->answered++;
}

/* Pairs of orders, a sale that rests and a purchase that takes it; the two accounts change places from pair to pair. */
static void place(flow *f)
{
    uint64_t n = f->started++;
    trade_account_place order = {.client_order_id = n + 1,
                                 .symbol = stoa_text("BTCUSDT"),
                                 .side = n % 2 ? trade_side_BUY : trade_side_SELL,
                                 .tif = n % 2 ? trade_tif_IOC : trade_tif_GTC,
                                 .price = 60000 * STOA_DECIMAL_ONE,
                                 .qty = STOA_DECIMAL_ONE / 1000};
    bench_must(stoa_port_ask(f->port, (n / 2 + n) % 2 ? f->bob : f->alice, &trade_account_rows[trade_account_ROW_place], &order, n + 1,
                             STOA_S(30), n), "ask");
}

static void trade(flow *f, uint64_t orders)
{
    bench_must(stoa_port_open(f->platform->node, "bench", &f->port), "port");
    f->alice = stoa_find(f->platform->node, "trade_account/alice");
    f->bob = stoa_find(f->platform->node, "trade_account/bob");
    while (f->answered < orders) {
        while (f->started < orders && f->started - f->answered < WINDOW) { place(f); }
        stoa_port_flush(f->port);
        (void)stoa_port_poll(f->port, on_delivery, f, WINDOW);
    }
    stoa_port_close(f->port);
    f->port = NULL;
}

static void open_platform(flow *f, const char *data)
{
    static stoa_settings settings;
    stoa_buf faults = STOA_BUF_GROWING;
    char folder[BENCH_PATH_BYTES + 16];
    (void)snprintf(folder, sizeof folder, "node.data=%s", data);
    const char *overrides[] = {folder, "market.source=none", "gateway.listen=", "http.port=-1", "log.level=error",
                               "trade.durability=memory", NULL};
    bench_must(stoa_settings_load(&(stoa_config_source){.text = stoa_settings_embedded, .overrides = overrides}, &settings, &faults),
               "settings");
    stoa_buf_deinit(&faults);
    bench_must(stoa_platform_open(&settings, &f->platform), "platform");
}

/* --- ours */

static double project(const flow *f, const char *conninfo, uint64_t goal, stoa_projection_way way)
{
    stoa_metrics *metrics;
    stoa_projector *projector;
    stoa_projection_view view;
    bench_must(stoa_metrics_new(&metrics), "metrics");
    stoa_projector_options options = {.target = {.conninfo = conninfo, .way = way}, .schema = "ours", .shards = &f->platform->trade,
                                      .shard_count = 1, .batch = BATCH, .interval_ns = STOA_MS(1), .metrics = metrics};
    uint64_t began = bench_now_ns();
    bench_must(stoa_projector_open(&options, &projector), "projector");
    do {
        struct timespec wait = {0, 1000000};
        (void)nanosleep(&wait, NULL);
        stoa_projector_look(projector, &view);
        if (view.error[0] || view.shards[0].error[0]) { bench_fail(view.error[0] ? view.error : view.shards[0].error); }
    } while (view.shards[0].position < goal);
    uint64_t took = bench_now_ns() - began;
    stoa_projector_close(projector);
    stoa_metrics_free(metrics);
    return (double)view.rows * 1e9 / (double)took;
}

/* --- theirs */

static stoa_err fold(void *context, const stoa_event_view *event)
{
    return stoa_model_apply(context, event);
}

/* Rows first to last of the table. */
static void copy_part(stoa_pg *pg, const stoa_pg_rows *rows)
{
    const uint8_t *at = rows->at;
    stoa_pg_value values[STOA_PG_COLUMNS_MAX];
    for (uint32_t done = 0; done < rows->count;) {
        stoa_pg_rows part = *rows;
        const uint8_t *from = at;
        for (part.count = 0; part.count < COPY_ROWS && done < rows->count; part.count++, done++) { (void)stoa_pg_tuple(&at, values); }
        part.used_bytes = (size_t)(at - from);
        part.at = rows->at + (from - rows->at);
        bench_must(stoa_pg_run(pg, "BEGIN", NULL), "BEGIN");
        bench_must(stoa_pg_copy(pg, &part), "COPY");
        bench_must(stoa_pg_run(pg, "COMMIT", NULL), "COMMIT");
    }
}

static double copy_raw(const char *conninfo, const stoa_model *model)
{
    stoa_target_options options = {.conninfo = conninfo, .schema = "raw", .stop_fd = -1};
    stoa_target *target;
    stoa_pg *pg;
    uint64_t rows = 0;
    bench_must(stoa_target_open(&options, &target), "raw schema");
    bench_must(stoa_target_tidy(target, stoa_clock_real.wall_ns(&stoa_clock_real)), "partitions");
    stoa_target_close(target);
    uint64_t began = bench_now_ns();
    bench_must(stoa_pg_open(&(stoa_pg_options){.conninfo = conninfo, .application = "raw", .schema = "raw", .stop_fd = -1}, &pg), "connect");
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) {
        copy_part(pg, stoa_model_fresh(model, t));
        rows += stoa_model_fresh(model, t)->count;
    }
    uint64_t took = bench_now_ns() - began;
    stoa_pg_close(pg);
    return (double)rows * 1e9 / (double)took;
}

/* --- both */

static void drop_schemas(stoa_pg *pg)
{
    bench_must(stoa_pg_run(pg, "DROP SCHEMA IF EXISTS ours CASCADE; DROP SCHEMA IF EXISTS raw CASCADE; CHECKPOINT", NULL), "drop");
}

static void compare(stoa_pg *pg)
{
    static const char *const names[] = {"orders", "order_history", "trades", "balances", "positions"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char sql[512];
        int64_t equal = 0;
        (void)snprintf(sql, sizeof sql,
                       "SELECT count(*) FROM (SELECT sum(hashtextextended(o::text, 0)) FROM ours.%s o) a, "
                       "(SELECT sum(hashtextextended(r::text, 0)) FROM raw.%s r) b WHERE a.sum = b.sum", names[i], names[i]);
        bench_must(stoa_pg_number(pg, sql, &equal), "compare");
        if (!equal) { bench_fail("the rows are others than those that were copied"); }
    }
}

void bench_projection(const bench_journal_task *task)
{
    char path[BENCH_PATH_BYTES], more[160];
    flow f = {0};
    bench_server server;
    bench_figure figure = {.name = "journal.projection", .unit = "rows/s", .peer = "COPY"};
    stoa_log_reader *reader;
    stoa_model *model;
    stoa_pg *pg;
    bench_path(path, "projection");
    open_platform(&f, path);
    trade(&f, task->quick ? ORDERS / QUICK_PART : ORDERS);
    stoa_shard_view view;
    bench_must(stoa_shard_look(f.platform->trade, &view), "look");
    bench_must(stoa_log_wait(f.platform->trade, view.applied, STOA_S(30)) ? STOA_OK : STOA_E_TIMEOUT, "log");
    bench_must(stoa_log_open(f.platform->trade, &reader), "log");
    bench_must(stoa_model_new("trade", &model), "model");
    uint64_t began = bench_now_ns();
    bench_must(stoa_log_read(reader, 1, view.applied, fold, model, NULL), "fold");
    bench_must(stoa_model_collect(model), "rows");
    double folded = (double)view.applied * 1e9 / (double)(bench_now_ns() - began);
    bench_server_start(&server);
    bench_must(stoa_pg_open(&(stoa_pg_options){.conninfo = server.conninfo, .application = "bench", .stop_fd = -1}, &pg), "connect");
    for (uint32_t i = 0; i < (task->quick ? 1 : RUNS); i++) {
        drop_schemas(pg);
        bench_add(&figure.theirs, copy_raw(server.conninfo, model));
        bench_add(&figure.ours, project(&f, server.conninfo, view.applied, STOA_WAY_BY_SIZE));
        compare(pg);
    }
    (void)snprintf(more, sizeof more, ",\"events\":%llu,\"folded_per_s\":%.0f", (unsigned long long)view.applied, folded);
    figure.more = more;
    figure.goal = GOAL * bench_median(&figure.theirs);
    bench_print(&figure);
    stoa_pg_close(pg);
    bench_server_stop(&server);
    stoa_model_free(model);
    stoa_log_close(reader);
    stoa_platform_close(f.platform);
    bench_remove(path);
}
