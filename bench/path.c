/* path.c - bench_path: what an order costs on its whole way, and on its parts.
 *
 *     path.ack.memory.p50/.p99   order in at the SDK to acknowledgement, over ipc, durability memory
 *     path.ack.disk.p50/.p99     the same, durability disk (synced before it is acknowledged)
 *     path.throughput.disk       durable orders a second, 128 under way on one connection
 *     path.inside.p50/.p99       port to fill and back inside one node without the disk, spinning core
 *     path.risk.p50/.p99         one risk check as a turn
 *
 * The first three start a stoad of their own beside this program and speak CURVE over a UNIX socket; the last two run a node
 * in this process. Every second order rests and every other takes it, so half of the acknowledgements carry a fill; the sum
 * of filled quantities is checked at the end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "actors/risk/risk.h"
#include "actors/risk/risk_msgs.h"
#include "actors/trade/trade.h"
#include "base/log.h"
#include "base/metrics.h"
#include "node/platform.h"
#include "sdk/stoa_client.h"

enum { WARM_UP = 500, ORDERS = 4000, UNDER_WAY = 128, THROUGHPUT_S = 5, INSIDE_WARM_UP = 20000, INSIDE = 200000 };

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* goal 0: none. less: the goal is an upper bound. */
static void row(const char *name, double value, const char *unit, uint64_t n, double min, double max, double goal, bool less)
{
    printf("{\"bench\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"n\":%" PRIu64 ",\"min\":%.3f,\"max\":%.3f", name, value, unit, n, min, max);
    if (goal > 0) { printf(",\"goal\":%.3f,\"ok\":%s", goal, (less ? value <= goal : value >= goal) ? "true" : "false"); }
    printf("}\n");
    (void)fflush(stdout);
}

static void quantiles(const char *name, uint64_t *ns, size_t n, const char *unit, double per_unit, double goal50, double goal99)
{
    char full[64];
    qsort(ns, n, sizeof *ns, by_value);
    double min = (double)ns[0] / per_unit, max = (double)ns[n - 1] / per_unit;
    (void)snprintf(full, sizeof full, "%s.p50", name);
    row(full, (double)ns[n / 2] / per_unit, unit, n, min, max, goal50, true);
    (void)snprintf(full, sizeof full, "%s.p99", name);
    row(full, (double)ns[n * 99 / 100] / per_unit, unit, n, min, max, goal99, true);
}

static void must(stoa_err err, const char *what)
{
    if (!err) { return; }
    (void)fprintf(stderr, "bench_path: %s: %s\n%s\n", what, stoa_err_name(err), stoa_err_trail());
    exit(1);
}

/* --- with a node beside us */

typedef struct beside {
    char data[128], endpoint[160], server_key[160], key[160];
    pid_t pid;
    stoa_client *client;
} beside;

static beside start(const char *bin, const char *durability)
{
    beside b;
    char program[512], listen[192], policy[64];
    (void)snprintf(b.data, sizeof b.data, "/tmp/stoa-bench-%d-%s", (int)getpid(), durability);
    (void)snprintf(b.endpoint, sizeof b.endpoint, "zmq+ipc://%s/gateway.sock", b.data);
    (void)snprintf(b.server_key, sizeof b.server_key, "%s/keys/server.pub", b.data);
    (void)snprintf(b.key, sizeof b.key, "%s/keys/demo", b.data);
    (void)snprintf(program, sizeof program, "%s/stoad", bin);
    (void)snprintf(listen, sizeof listen, "--gateway.listen=%s", b.endpoint);
    (void)snprintf(policy, sizeof policy, "--trade.durability=%s", durability);
    b.pid = fork();
    if (b.pid == 0) {
        (void)execl(program, "stoad", "--data", b.data, listen, policy, "--market.source=none", "--http.port=-1",
                    "--log.level=error", "--node.idle=balanced", (char *)NULL);
        _exit(127);
    }
    stoa_client_options options = {.endpoint = b.endpoint, .server_key = b.server_key, .key = b.key, .name = "bench"};
    stoa_err err = STOA_E_NOT_FOUND;
    for (int i = 0; i < 500 && err == STOA_E_NOT_FOUND; i++) {
        (void)usleep(10000);
        err = stoa_client_open(&options, &b.client);
    }
    must(err, "client");
    must(stoa_client_wait(b.client, STOA_CLIENT_S(10)), "connect");
    return b;
}

static void stop(beside *b)
{
    char remove[192];
    int status;
    stoa_client_close(b->client);
    (void)kill(b->pid, SIGTERM);
    (void)waitpid(b->pid, &status, 0);
    (void)snprintf(remove, sizeof remove, "rm -rf %s", b->data);
    if (system(remove)) { (void)fprintf(stderr, "bench_path: %s stays\n", b->data); }
}

static trade_account_place order_number(uint64_t n)
{
    trade_account_place order = {.client_order_id = n + 1,
                                 .symbol = stoa_text("BTCUSDT"),
                                 .side = n % 2 ? trade_side_BUY : trade_side_SELL,
                                 .tif = n % 2 ? trade_tif_IOC : trade_tif_GTC,
                                 .price = 60000 * STOA_DECIMAL_ONE,
                                 .qty = STOA_DECIMAL_ONE / 1000};
    return order;
}

/* Pairs of orders, a sale that rests and a purchase that takes it; the two accounts change places from pair to pair, so that
 * neither runs out of anything. */
static bool by_bob(uint64_t n)
{
    return (n / 2 + n) % 2 == 1;
}

static void acks(const char *bin, const char *durability, double goal50, double goal99)
{
    static uint64_t ns[ORDERS];
    char name[64];
    stoa_decimal filled = 0;
    (void)fprintf(stderr, "path: %d orders one after the other, durability %s\n", ORDERS, durability);
    beside b = start(bin, durability);
    for (uint64_t n = 0; n < WARM_UP + ORDERS; n++) {
        trade_account_place order = order_number(n);
        trade_order out;
        uint64_t began = now_ns();
        must(stoa_client_place(b.client, by_bob(n) ? "bob" : "alice", &order, STOA_CLIENT_S(10), &out, NULL), "place");
        if (n >= WARM_UP) { ns[n - WARM_UP] = now_ns() - began; }
        if (n % 2) { filled += out.filled_qty; }
    }
    if (filled != (WARM_UP + ORDERS) / 2 * (STOA_DECIMAL_ONE / 1000)) { must(STOA_E_CORRUPT, "filled quantity"); }
    (void)snprintf(name, sizeof name, "path.ack.%s", durability);
    quantiles(name, ns, ORDERS, "us", 1e3, goal50, goal99);
    stop(&b);
}

typedef struct flow {
    beside *b;
    uint64_t started, answered, errors;
    uint32_t under_way;
} flow;

static void on_answer(void *context, const stoa_client_answer *answer)
{
    flow *f = context;
    f->under_way--;
    f->answered++;
    f->errors += answer->error || ((const trade_account_order *)answer->payload)->order.status == trade_status_REJECTED;
}

static void throughput(const char *bin)
{
    (void)fprintf(stderr, "path: durable orders for %d s, %d under way\n", THROUGHPUT_S, UNDER_WAY);
    beside b = start(bin, "disk");
    flow f = {.b = &b};
    uint64_t began = now_ns(), until = began + STOA_CLIENT_S(THROUGHPUT_S);
    while (now_ns() < until || f.under_way) {
        while (f.under_way < UNDER_WAY && now_ns() < until) {
            trade_account_place order = order_number(f.started);
            must(stoa_client_start(b.client, STOA_CLIENT_ORDER_PLACE, by_bob(f.started) ? "bob" : "alice", &order,
                                   STOA_CLIENT_S(10), on_answer, &f), "start");
            f.started++;
            f.under_way++;
        }
        (void)stoa_client_poll(b.client, STOA_CLIENT_MS(100));
    }
    double seconds = (double)(now_ns() - began) / 1e9;
    if (f.errors) { must(STOA_E_FAILED, "orders were refused"); }
    double rate = (double)f.answered / seconds;
    row("path.throughput.disk", rate, "orders/s", f.answered, rate, rate, 0, false);
    stop(&b);
}

/* --- inside this process */

STOA_PROXY(trade_account)
STOA_PROXY(trade_book)
STOA_PROXY(risk)

typedef struct inside {
    stoa_platform *platform;
    stoa_port *port;
    stoa_ref alice, bob;
    bool answered;
    stoa_decimal filled;
} inside;

static void on_delivery(void *context, const stoa_delivery *d)
{
    inside *in = context;
    if (!d->answer) { return; }
    must(d->error, "order inside");
    in->answered = true;
    in->filled += ((const trade_account_order *)d->payload)->order.filled_qty;
}

static uint64_t one_inside(inside *in, uint64_t n)
{
    trade_account_place order = order_number(n);
    uint64_t began = now_ns();
    in->answered = false;
    must(stoa_port_ask(in->port, by_bob(n) ? in->bob : in->alice, &trade_account_rows[trade_account_ROW_place], &order, n + 1,
                       STOA_S(5), n), "ask");
    stoa_port_flush(in->port);
    while (!in->answered) { (void)stoa_port_poll(in->port, on_delivery, in, 16); }
    return now_ns() - began;
}

static void risk_times(stoa_metrics *metrics)
{
    stoa_histogram *h;
    must(stoa_metrics_histogram(metrics, "stoa_turn_seconds", "kind=\"risk\",core=\"0\"", "Time of a turn, sampled.", &h), "risk histogram");
    uint64_t n = stoa_histogram_count(h);
    row("path.risk.p50", (double)stoa_histogram_quantile(h, 5000), "ns", n, 0, (double)stoa_histogram_quantile(h, 10000), 0, true);
    row("path.risk.p99", (double)stoa_histogram_quantile(h, 9900), "ns", n, 0, (double)stoa_histogram_quantile(h, 10000), 500, true);
}

static void inside_one_node(void)
{
    static uint64_t ns[INSIDE / 2];
    static stoa_settings settings;
    stoa_buf faults = STOA_BUF_GROWING;
    char data[128], remove[160];
    (void)snprintf(data, sizeof data, "/tmp/stoa-bench-%d-inside", (int)getpid());
    char folder[160];
    (void)snprintf(folder, sizeof folder, "node.data=%s", data);
    const char *overrides[] = {folder, "market.source=none", "gateway.listen=", "http.port=-1", "log.level=error",
                               "node.idle=latency", "node.pin=true", "trade.durability=memory", NULL};
    (void)fprintf(stderr, "path: %d orders inside one process, spinning core, no disk on the way\n", INSIDE);
    stoa_log_level_set(STOA_LOG_ERROR);
    must(stoa_settings_load(&(stoa_config_source){.text = stoa_settings_embedded, .overrides = overrides}, &settings, &faults), "settings");
    inside in = {0};
    must(stoa_platform_open(&settings, &in.platform), "platform");
    must(stoa_port_open(in.platform->node, "bench", &in.port), "port");
    in.alice = stoa_find(in.platform->node, "trade_account/alice");
    in.bob = stoa_find(in.platform->node, "trade_account/bob");
    uint64_t n = 0;
    for (; n < INSIDE_WARM_UP; n++) { (void)one_inside(&in, n); }
    for (uint64_t i = 0; i < INSIDE; i++, n++) {
        uint64_t took = one_inside(&in, n);
        if (i % 2) { ns[i / 2] = took; } /* the odd ones take: gateway to fill */
    }
    if (in.filled != (stoa_decimal)(n / 2) * (STOA_DECIMAL_ONE / 1000)) { must(STOA_E_CORRUPT, "filled quantity inside"); }
    quantiles("path.inside", ns, INSIDE / 2, "us", 1e3, 0, 20);
    risk_times(in.platform->metrics);
    stoa_port_close(in.port);
    stoa_platform_close(in.platform);
    stoa_buf_deinit(&faults);
    (void)snprintf(remove, sizeof remove, "rm -rf %s", data);
    if (system(remove)) { (void)fprintf(stderr, "bench_path: %s stays\n", data); }
}

int main(int argc, char **argv)
{
    const char *bin = argc > 1 && argv[1][0] != '-' ? argv[1] : "build/release/bin";
    acks(bin, "memory", 150, 0);
    acks(bin, "disk", 1000, 0);
    throughput(bin);
    inside_one_node();
    return 0;
}
