/* sdk_order.c - place an order, see it trade or rest, cancel what is left, and be sure of each step.
 *
 *     sdk_order ENDPOINT SERVER.pub KEY ACCOUNT SYMBOL buy|sell PRICE QTY CLIENT_ORDER_ID
 *     sdk_order zmq+tcp://127.0.0.1:7400 ~/.stoa/keys/server.pub ~/.stoa/keys/demo \
 *               bob BTCUSDT buy 60010.5 0.01 $(date +%s%6N)
 *
 * Run it twice with the same CLIENT_ORDER_ID: it is the same order. New ids must ascend within an account; the time does.
 * Exit status: 0 done, 1 refused or rejected, 2 wrong arguments.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stoa_client.h>

static int fail(stoa_client *client, const char *what, stoa_err err)
{
    const char *text = stoa_client_error_text(client);
    (void)fprintf(stderr, "%s: %s, %s\n", what, stoa_client_error_name(err),
                  text[0] ? text : stoa_client_error_meaning(err));
    stoa_client_close(client);
    return 1;
}

/* There is no session: for these two it is known what to look at. */
static int fail_to_reach(stoa_client *client, const char *endpoint, stoa_err err)
{
    if (err == STOA_E_TIMEOUT) { (void)fprintf(stderr, "nothing answers at %s\n", endpoint); }
    if (err == STOA_E_DENIED) {
        (void)fprintf(stderr, "the node does not know this key, or server.pub is another node's\n");
    }
    return fail(client, "connect", err);
}

static void on_item(void *context, const stoa_client_item *item)
{
    char filled[STOA_DECIMAL_TEXT_MAX];
    (void)context;
    if (item->cls != STOA_CLIENT_ITEM_ORDER) { return; }
    const trade_order *order = &item->as.order->order;
    printf("update %" PRIu64 ": order %" PRIu64 " %s, filled %s\n", item->seq, order->order_id,
           stoa_client_status_name(order->status), stoa_client_decimal_text(order->filled_qty, filled));
}

static void print_order(const trade_order *order, const stoa_client_stamp *stamp)
{
    char filled[STOA_DECIMAL_TEXT_MAX];
    printf("order %" PRIu64 " %s", order->order_id, stoa_client_status_name(order->status));
    if (order->reason != trade_reason_NONE) { printf(" (%s)", stoa_client_reason_name(order->reason)); }
    printf(", filled %s; durable: %s, position %" PRIu64 "\n", stoa_client_decimal_text(order->filled_qty, filled),
           stoa_client_durability_name(stamp->durability), stamp->position);
}

static bool read_amount(const char *what, const char *text, stoa_decimal *out)
{
    stoa_err err = stoa_client_decimal(text, out);
    if (!err && *out <= 0) { err = STOA_E_RANGE; }
    if (err) {
        (void)fprintf(stderr, "%s %s: %s, %s\n", what, text, stoa_client_error_name(err),
                      stoa_client_error_meaning(err));
    }
    return !err;
}

static bool read_id(const char *text, uint64_t *out)
{
    bool whole = strlen(text) < 20 && text[strspn(text, "0123456789")] == '\0';
    *out = whole ? strtoull(text, NULL, 10) : 0;
    if (*out == 0) { (void)fprintf(stderr, "CLIENT_ORDER_ID %s: not a whole number above 0\n", text); }
    return *out != 0;
}

static bool read_order(char **words, trade_account_place *out)
{
    bool sell = strcmp(words[1], "sell") == 0;
    if (!sell && strcmp(words[1], "buy") != 0) {
        (void)fprintf(stderr, "%s: not a side\n", words[1]);
        return false;
    }
    out->side = sell ? trade_side_SELL : trade_side_BUY;
    if (STOA_TEXT_SETZ(&out->symbol, words[0]) != STOA_OK) {
        (void)fprintf(stderr, "SYMBOL %s: too long\n", words[0]);
        return false;
    }
    return read_amount("PRICE", words[2], &out->price) && read_amount("QTY", words[3], &out->qty) &&
           read_id(words[4], &out->client_order_id);
}

/* Place it, and cancel what has not traded a moment later. Closes the client. */
static int trade(stoa_client *client, const char *account, const trade_account_place *place)
{
    trade_order order;
    stoa_client_stamp stamp;
    stoa_err err = stoa_client_query(client, account, 0, place->client_order_id, STOA_CLIENT_S(5), &order, &stamp);
    if (!err) { printf("this client_order_id was used before: it is this order\n"); }
    err = stoa_client_place(client, account, place, STOA_CLIENT_S(5), &order, &stamp);
    if (err) { return fail(client, "place", err); }
    print_order(&order, &stamp);
    while (stoa_client_poll(client, STOA_CLIENT_MS(200)) == STOA_OK) {} /* until nothing has come for a while */
    if (order.status != trade_status_REJECTED) {
        err = stoa_client_cancel(client, account, order.order_id, 0, STOA_CLIENT_S(5), &order, &stamp);
        if (err) { return fail(client, "cancel", err); }
        print_order(&order, &stamp);
    }
    stoa_client_close(client);
    return order.status == trade_status_REJECTED ? 1 : 0;
}

int main(int argc, char **argv)
{
    stoa_client *client = NULL;
    trade_account_place place = {0};
    uint64_t stream;
    if (argc != 10 || !read_order(argv + 5, &place)) {
        (void)fprintf(stderr, "usage: %s ENDPOINT SERVER.pub KEY ACCOUNT SYMBOL buy|sell PRICE QTY CLIENT_ORDER_ID\n",
                      argv[0]);
        return 2;
    }
    stoa_client_options options = {.endpoint = argv[1], .server_key = argv[2], .key = argv[3], .name = "sdk_order"};
    stoa_err err = stoa_client_open(&options, &client);
    if (err) { return fail(NULL, "open", err); }
    err = stoa_client_wait(client, STOA_CLIENT_S(5));
    if (err) { return fail_to_reach(client, argv[1], err); }
    err = stoa_client_subscribe(client, STOA_CLIENT_STREAM_ORDERS, argv[4], STOA_CLIENT_NOW, on_item, NULL,
                                STOA_CLIENT_S(5), &stream);
    if (err) { return fail(client, "subscribe", err); }
    return trade(client, argv[4], &place);
}
