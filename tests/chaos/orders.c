/* orders.c - chaos_orders: places orders through the SDK without a pause, and says what was acknowledged; tells on request
 * whether the node still knows all of it. Driven by sigkill_test.py and disk_fault_test.py, line by line.
 *
 *     chaos_orders ENDPOINT SERVER.pub KEY SYMBOL SEED [ACCOUNT ...]     ACCOUNT: others that hold money there
 *     place N     place up to N orders until "stop" comes: one after the other, retried by the SDK over the node's death;
 *                 answers {"placed":..,"acknowledged":..,"errors":..}
 *     verify      ask for every order acknowledged since the last verify, compare all its fields; ask for all balances and
 *                 sum them; compare each account's assets with what its orders filled.
 *                 answers {"checked":..,"lost":..,"changed":..,"twice":..,"unbalanced":..,"drift":..,"unanswered":..}
 *     check       the same once more, when nothing was placed since
 *     probe       one order that trades with nobody and one read; answers {"place":"OK|FULL|..","read":"OK|.."}
 *     quit
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "sdk/stoa_client.h"

enum { ORDERS_MAX = 2000, ACCOUNTS = 2, ASSETS = 2 };
static const char *const traders[ACCOUNTS] = {"alice", "bob"};
enum { EVERYBODY_MAX = 16 };
static const char *everybody[EVERYBODY_MAX] = {"treasury", "maker", "alice", "bob"};
static int everybody_count = 4;
/* How long the node may take to come back and answer: long, since a busy machine is no loss. */
static const uint64_t PATIENCE_NS = STOA_CLIENT_S(120), PROBE_NS = STOA_CLIENT_S(2);

typedef struct placed {
    trade_account_place asked;
    trade_order answered;
    int account;
} placed;

typedef struct driver {
    stoa_client *client;
    stoa_random random;
    uint64_t next_id;
    placed orders[ORDERS_MAX];
    uint32_t count;
    stoa_decimal start[ACCOUNTS][ASSETS]; /* BTC, USDT */
    stoa_decimal moved[ACCOUNTS][ASSETS]; /* by fills of verified orders */
    uint64_t max_order_id;
} driver;

static bool told_to_stop(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&in, 1, 0) > 0;
}

static trade_account_place random_order(driver *d)
{
    trade_account_place order = {.client_order_id = ++d->next_id, .symbol = stoa_text("BTCUSDT")};
    order.side = (trade_side)stoa_random_below(&d->random, 2);
    order.tif = stoa_random_chance(&d->random, 300) ? trade_tif_IOC : trade_tif_GTC;
    order.price = (stoa_decimal)(60000 - 5 + (int64_t)stoa_random_below(&d->random, 11)) * STOA_DECIMAL_ONE;
    order.qty = (stoa_decimal)(1 + stoa_random_below(&d->random, 50)) * (STOA_DECIMAL_ONE / 100000);
    return order;
}

static void place(driver *d, uint32_t n)
{
    uint32_t tried = 0, errors = 0;
    d->count = 0;
    while (tried < n && d->count < ORDERS_MAX && !told_to_stop()) {
        placed *p = &d->orders[d->count];
        p->account = (int)stoa_random_below(&d->random, ACCOUNTS);
        p->asked = random_order(d);
        tried++;
        stoa_err err = stoa_client_place(d->client, traders[p->account], &p->asked, PATIENCE_NS, &p->answered, NULL);
        if (err) {
            errors++;
            (void)fprintf(stderr, "place %" PRIu64 ": %s %s\n", p->asked.client_order_id, stoa_client_error_name(err),
                          stoa_client_error_text(d->client));
            continue;
        }
        d->count++;
    }
    printf("{\"placed\":%u,\"acknowledged\":%u,\"errors\":%u}\n", tried, d->count, errors);
}

static stoa_err holdings(driver *d, const char *account, stoa_decimal out[ASSETS])
{
    trade_account_holdings h;
    stoa_err err = stoa_client_balances(d->client, account, PATIENCE_NS, &h, NULL);
    out[0] = out[1] = 0;
    for (uint32_t i = 0; i < h.balances.count && !err; i++) {
        const trade_balance *b = &h.balances.at[i];
        int asset = STOA_TEXT_EQZ(&b->asset, "BTC") ? 0 : 1;
        out[asset] += b->free + b->reserved;
    }
    return err;
}

/* Only what was open when it was acknowledged may have changed, and only by fills or its end. */
static bool same_order(const trade_order *before, const trade_order *now)
{
    return now->order_id == before->order_id && now->client_order_id == before->client_order_id && now->side == before->side &&
           now->price == before->price && now->qty == before->qty && now->filled_qty >= before->filled_qty &&
           (before->status == trade_status_OPEN || now->status == before->status);
}

/* Cancel what is still open, so that its fills are final when they are counted. */
static stoa_err settle(driver *d, placed *p, trade_order *out)
{
    stoa_err err = stoa_client_query(d->client, traders[p->account], 0, p->asked.client_order_id, PATIENCE_NS, out, NULL);
    if (!err && !same_order(&p->answered, out)) { return STOA_E_CORRUPT; }
    if (!err && out->status == trade_status_OPEN) {
        err = stoa_client_cancel(d->client, traders[p->account], out->order_id, 0, PATIENCE_NS, out, NULL);
    }
    return err;
}

/* again: nothing was placed since the last time, and nothing is counted twice. */
static void verify(driver *d, bool again)
{
    uint32_t lost = 0, changed = 0, twice = 0, unbalanced = 0, drift = 0, unanswered = 0;
    static trade_order now[ORDERS_MAX];
    for (uint32_t i = 0; i < d->count; i++) {
        stoa_err err = settle(d, &d->orders[i], &now[i]);
        changed += err == STOA_E_CORRUPT;
        unanswered += err == STOA_E_TIMEOUT;
        lost += err && err != STOA_E_CORRUPT && err != STOA_E_TIMEOUT;
        if (err) { now[i] = (trade_order){0}; }
        if (again) { continue; }
        twice += !err && now[i].order_id <= d->max_order_id; /* ids ascend: one seen before is another order's */
        if (!err) { d->max_order_id = now[i].order_id; }
    }
    for (uint32_t i = 0; i < d->count; i++) { /* fills of the others' cancels are over now: read once more */
        trade_order last;
        placed *p = &d->orders[i];
        if (stoa_client_query(d->client, traders[p->account], now[i].order_id, 0, PATIENCE_NS, &last, NULL)) {
            unanswered++;
            continue;
        }
        if (again) { continue; }
        stoa_decimal sign = last.side == trade_side_BUY ? 1 : -1;
        d->moved[p->account][0] += sign * last.filled_qty;
        d->moved[p->account][1] -= sign * last.filled_notional;
    }
    stoa_decimal sum[ASSETS] = {0}, has[ASSETS];
    for (int i = 0; i < everybody_count; i++) {
        if (holdings(d, everybody[i], has)) { unanswered++; }
        sum[0] += has[0];
        sum[1] += has[1];
    }
    unbalanced += sum[0] != 0 || sum[1] != 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        if (holdings(d, traders[i], has)) {
            unanswered++;
            continue;
        }
        for (int k = 0; k < ASSETS; k++) { drift += has[k] != d->start[i][k] + d->moved[i][k]; }
    }
    printf("{\"checked\":%u,\"lost\":%u,\"changed\":%u,\"twice\":%u,\"unbalanced\":%u,\"drift\":%u,\"unanswered\":%u}\n",
           d->count, lost, changed, twice, unbalanced, drift, unanswered);
}

/* One order and one read, as they are answered now. */
static void probe(driver *d)
{
    trade_account_place asked = random_order(d);
    trade_order answered;
    stoa_decimal has[ASSETS];
    asked.tif = trade_tif_IOC;
    asked.price = STOA_DECIMAL_ONE; /* a price at which nobody sells: it changes nothing but its own record */
    asked.side = trade_side_BUY;
    stoa_err order = stoa_client_place(d->client, traders[0], &asked, PROBE_NS, &answered, NULL);
    stoa_err read = holdings(d, traders[0], has);
    printf("{\"place\":\"%s\",\"read\":\"%s\"}\n", order ? stoa_client_error_name(order) : "OK",
           read ? stoa_client_error_name(read) : "OK");
}

int main(int argc, char **argv)
{
    static driver d;
    char line[64];
    if (argc < 6 || argc - 6 > EVERYBODY_MAX - everybody_count) { return 2; }
    for (int i = 6; i < argc; i++) { everybody[everybody_count++] = argv[i]; }
    stoa_random_seed(&d.random, (uint64_t)strtoull(argv[5], NULL, 10));
    stoa_client_options options = {.endpoint = argv[1], .server_key = argv[2], .key = argv[3], .name = "chaos"};
    if (stoa_client_open(&options, &d.client) || stoa_client_wait(d.client, STOA_CLIENT_S(20))) { return 1; }
    for (int i = 0; i < ACCOUNTS; i++) {
        if (holdings(&d, traders[i], d.start[i])) { return 1; }
    }
    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, "place ", 6) == 0) {
            place(&d, (uint32_t)atoi(line + 6));
        } else if (strcmp(line, "verify\n") == 0) {
            verify(&d, false);
        } else if (strcmp(line, "check\n") == 0) {
            verify(&d, true);
        } else if (strcmp(line, "probe\n") == 0) {
            probe(&d);
        } else if (strcmp(line, "quit\n") == 0) {
            break;
        }
        (void)fflush(stdout);
    }
    stoa_client_close(d.client);
    return 0;
}
