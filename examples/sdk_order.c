/* sdk_order.c - place an order, see it trade or rest, cancel what is left, and be sure of each step.
 *
 *     sdk_order ENDPOINT SERVER.pub KEY ACCOUNT SYMBOL buy|sell PRICE QTY CLIENT_ORDER_ID
 *     sdk_order zmq+tcp://127.0.0.1:7400 ~/.stoa/keys/server.pub ~/.stoa/keys/demo alice BTCUSDT buy 60000.5 0.01 1
 *
 * Run it twice with the same CLIENT_ORDER_ID: it is the same order.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stoa_client.h>

static int fail(stoa_client *client, const char *what, stoa_err err)
{
    (void)fprintf(stderr, "%s: %s, %s; %s\n", what, stoa_client_error_name(err), stoa_client_error_meaning(err),
                  client ? stoa_client_error_text(client) : "");
    stoa_client_close(client);
    return 1;
}

static void on_item(void *context, const stoa_client_item *item)
{
    char filled[STOA_DECIMAL_TEXT_MAX];
    (void)context;
    if (item->cls != STOA_CLIENT_ITEM_ORDER) { return; }
    const trade_order *order = &item->as.order->order;
    printf("update %" PRIu64 ": order %" PRIu64 " status %d, filled %s\n", item->seq, order->order_id, order->status,
           stoa_client_decimal_text(order->filled_qty, filled));
}

static void print_order(const trade_order *order, const stoa_client_stamp *stamp)
{
    char filled[STOA_DECIMAL_TEXT_MAX];
    printf("order %" PRIu64 " status %d, filled %s; durable: %s, position %" PRIu64 "\n", order->order_id,
           order->status, stoa_client_decimal_text(order->filled_qty, filled),
           stoa_client_durability_name(stamp->durability), stamp->position);
}

int main(int argc, char **argv)
{
    stoa_client *client = NULL;
    trade_order order;
    stoa_client_stamp stamp;
    uint64_t stream;
    if (argc != 10) {
        (void)fprintf(stderr, "usage: %s ENDPOINT SERVER.pub KEY ACCOUNT SYMBOL buy|sell PRICE QTY CLIENT_ORDER_ID\n",
                      argv[0]);
        return 2;
    }
    const char *account = argv[4];
    trade_account_place place = {.side = strcmp(argv[6], "sell") == 0 ? trade_side_SELL : trade_side_BUY,
                                 .client_order_id = strtoull(argv[9], NULL, 10)};
    stoa_err err = STOA_TEXT_SETZ(&place.symbol, argv[5]);
    if (!err) { err = stoa_client_decimal(argv[7], &place.price); }
    if (!err) { err = stoa_client_decimal(argv[8], &place.qty); }
    if (err) { return fail(NULL, "arguments", err); }

    stoa_client_options options = {.endpoint = argv[1], .server_key = argv[2], .key = argv[3], .name = "sdk_order"};
    err = stoa_client_open(&options, &client);
    if (err) { return fail(NULL, "open", err); }
    err = stoa_client_subscribe(client, STOA_CLIENT_STREAM_ORDERS, account, STOA_CLIENT_NOW, on_item, NULL,
                                STOA_CLIENT_S(5), &stream);
    if (err) { return fail(client, "subscribe", err); }
    err = stoa_client_place(client, account, &place, STOA_CLIENT_S(5), &order, &stamp);
    if (err) { return fail(client, "place", err); }
    print_order(&order, &stamp);
    while (stoa_client_poll(client, STOA_CLIENT_MS(200)) == STOA_OK) {} /* until nothing has come for a while */
    err = stoa_client_cancel(client, account, order.order_id, 0, STOA_CLIENT_S(5), &order, &stamp);
    if (err) { return fail(client, "cancel", err); }
    print_order(&order, &stamp);
    stoa_client_close(client);
    return 0;
}
