/* commands_market.c - orders, books and rooms: what the actors answer, asked page by page.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/market/book_msgs.h"
#include "actors/room/room_msgs.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "node/commands.h"

STOA_PROXY(trade_account)
STOA_PROXY(trade_book)
STOA_PROXY(market_book)
STOA_PROXY(room)

enum { ORDERS_SHOWN = 2000, LEVELS_DEFAULT = 10, POSTS_DEFAULT = 16, ACCOUNTS_MAX = 4096 };

/* The actor kind/key; NONE when there is none or the name is too long. */
static stoa_ref find_actor(stoa_platform *platform, const char *kind, const char *key)
{
    char name[STOA_NAME_MAX + 1];
    int length = snprintf(name, sizeof name, "%s/%s", kind, key);
    return length < (int)sizeof name ? stoa_find(platform->node, name) : STOA_REF_NONE;
}

static const stoa_sought an_account = {"account", "accounts", {"trade_account"}};

/* --- orders */

typedef struct order_list {
    stoa_platform *platform;
    stoa_door_call *call;
    stoa_doc *doc;
    bool all; /* closed ones as well */
    uint32_t count;
    bool more;
} order_list;

static void put_order(order_list *list, const char *account, const trade_order *order)
{
    stoa_doc *doc = list->doc;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_uint(doc, "order_id", order->order_id);
    stoa_doc_text(doc, "account", account);
    stoa_doc_uint(doc, "client_order_id", order->client_order_id);
    stoa_doc_bytes(doc, "symbol", order->symbol.at, order->symbol.len);
    stoa_doc_text(doc, "side", trade_side_texts[order->side]);
    stoa_doc_text(doc, "tif", trade_tif_texts[order->tif]);
    stoa_doc_text(doc, "status", trade_status_texts[order->status]);
    stoa_doc_text(doc, "reason", order->reason ? trade_reason_texts[order->reason] : NULL);
    stoa_doc_decimal(doc, "price", order->price);
    stoa_doc_decimal(doc, "qty", order->qty);
    stoa_doc_decimal(doc, "filled_qty", order->filled_qty);
    stoa_doc_decimal(doc, "filled_notional", order->filled_notional);
    stoa_doc_uint(doc, "fills", order->fills);
    stoa_doc_uint(doc, "placed_ns", order->placed_ns);
    stoa_doc_uint(doc, "changed_ns", order->changed_ns);
    stoa_doc_close(doc, '}');
    list->count++;
}

static stoa_err put_orders_of(order_list *list, stoa_ref ref, const char *account)
{
    trade_account_page *page = malloc(sizeof *page);
    if (!page) { return STOA_FAIL(STOA_E_NOMEM, "orders"); }
    trade_account_orders ask = {.open_only = !list->all};
    stoa_err err;
    do {
        err = trade_account_call_orders(list->platform->node, ref, ask, stoa_call_left_ns(list->call), page);
        for (uint32_t i = 0; i < page->orders.count && !err && list->count < ORDERS_SHOWN; i++) {
            put_order(list, account, &page->orders.at[i]);
            ask.after_order_id = page->orders.at[i].order_id;
        }
        list->more = list->more || (!err && page->more && list->count == ORDERS_SHOWN);
    } while (!err && page->more && page->orders.count && list->count < ORDERS_SHOWN);
    free(page);
    return err;
}

typedef struct account_names {
    char (*at)[STOA_NAME_MAX + 1];
    uint32_t count;
} account_names;

static void note_account(void *context, const char *name)
{
    account_names *names = context;
    if (names->count < ACCOUNTS_MAX) { (void)snprintf(names->at[names->count++], sizeof names->at[0], "%s", name); }
}

static stoa_err put_orders_of_all(order_list *list)
{
    account_names names = {.at = malloc(ACCOUNTS_MAX * sizeof names.at[0])};
    if (!names.at) { return STOA_FAIL(STOA_E_NOMEM, "orders"); }
    stoa_err err = stoa_names_visit(list->platform, "accounts", note_account, &names);
    for (uint32_t i = 0; i < names.count && !err && list->count < ORDERS_SHOWN; i++) {
        stoa_ref ref = find_actor(list->platform, "trade_account", names.at[i]);
        if (ref.at) { err = put_orders_of(list, ref, names.at[i]); }
    }
    free(names.at);
    return err;
}

static void put_order_note(const order_list *list, const char *account)
{
    if (list->more) {
        stoa_doc_printf(list->doc, "note", "the first %d are shown", ORDERS_SHOWN);
    } else if (!list->count && !list->all && account) {
        stoa_doc_printf(list->doc, "note", "none rests; 'orders %s all' shows closed ones too", account);
    }
}

stoa_err stoa_command_orders(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *account = stoa_call_arg(call, 0), *which = stoa_call_arg(call, 1);
    order_list list = {.platform = platform, .call = call, .doc = &doc, .all = which && strcmp(which, "all") == 0};
    stoa_ref ref = STOA_REF_NONE;
    stoa_err err = account ? stoa_find_sought(platform, &an_account, account, &ref, NULL) : STOA_OK;
    if (err) { return err; }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "orders", '[');
    err = account ? put_orders_of(&list, ref, account) : put_orders_of_all(&list);
    stoa_doc_close(&doc, ']');
    put_order_note(&list, account);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table orders: order_id=order/id, account, symbol, side, price/dec, qty/dec, "
                               "filled_qty=filled/dec, tif?, status, reason?, client_order_id=client id/id?, "
                               "placed_ns=placed/time?\ntext note");
    return err;
}

/* --- books */

static void put_level(stoa_doc *doc, const market_level *level, const char *price, const char *qty)
{
    if (level) {
        stoa_doc_decimal(doc, price, level->price);
        stoa_doc_decimal(doc, qty, level->qty);
    } else {
        stoa_doc_null(doc, price);
        stoa_doc_null(doc, qty);
    }
}

/* Both sides side by side, best first. */
static void put_levels(stoa_doc *doc, const market_levels *bids, const market_levels *asks, uint64_t limit)
{
    stoa_doc_open(doc, "levels", '[');
    for (uint32_t i = 0; i < limit && (i < bids->count || i < asks->count); i++) {
        stoa_doc_open(doc, NULL, '{');
        put_level(doc, i < bids->count ? &bids->at[i] : NULL, "bid", "bid_qty");
        put_level(doc, i < asks->count ? &asks->at[i] : NULL, "ask", "ask_qty");
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

static stoa_err put_own_book(stoa_platform *platform, stoa_door_call *call, stoa_ref ref, const char *name,
                             uint64_t limit)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    trade_book_view *view = calloc(1, sizeof *view);
    if (!view) { return STOA_FAIL(STOA_E_NOMEM, "book"); }
    stoa_err err = trade_book_call_depth(platform->node, ref, (trade_book_depth){.limit = limit},
                                         stoa_call_left_ns(call), view);
    if (!err) {
        stoa_doc_open(&doc, NULL, '{');
        stoa_doc_open(&doc, "book", '{');
        stoa_doc_text(&doc, "symbol", name);
        stoa_doc_text(&doc, "kind", "our own");
        stoa_doc_uint(&doc, "orders", view->orders);
        stoa_doc_uint(&doc, "trades", view->trades);
        stoa_doc_decimal(&doc, "volume", view->volume);
        stoa_doc_uint(&doc, "last_id", view->last_id);
        stoa_doc_close(&doc, '}');
        put_levels(&doc, &view->bids, &view->asks, limit);
        stoa_doc_close(&doc, '}');
        stoa_buf_puts(&call->view, "fields book: symbol, kind, orders/n, trades/n, volume/dec, last_id=last update/id\n"
                                   "table levels: bid_qty=bid qty/dec, bid/dec, ask/dec, ask_qty=ask qty/dec");
    }
    free(view);
    return err;
}

static stoa_err put_mirror(stoa_platform *platform, stoa_door_call *call, stoa_ref ref, const char *name,
                           uint64_t limit)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    market_book_state *state = calloc(1, sizeof *state);
    if (!state) { return STOA_FAIL(STOA_E_NOMEM, "book"); }
    stoa_err err = market_book_call_view(platform->node, ref, (market_book_view){.limit = limit},
                                         stoa_call_left_ns(call), state);
    if (!err) {
        stoa_doc_open(&doc, NULL, '{');
        stoa_doc_open(&doc, "book", '{');
        stoa_doc_text(&doc, "symbol", name);
        stoa_doc_text(&doc, "kind", "mirror of an outside one");
        stoa_doc_text(&doc, "status", market_book_status_texts[state->status]);
        stoa_doc_uint(&doc, "diffs_applied", state->diffs_applied);
        stoa_doc_uint(&doc, "gaps", state->gaps);
        stoa_doc_uint(&doc, "resyncs", state->resyncs);
        stoa_doc_uint(&doc, "trades", state->trades);
        stoa_doc_uint(&doc, "last_id", state->last_id);
        stoa_doc_close(&doc, '}');
        put_levels(&doc, &state->bids, &state->asks, limit);
        stoa_doc_close(&doc, '}');
        stoa_buf_puts(&call->view, "fields book: symbol, kind, status, diffs_applied/n, gaps/n, resyncs/n, trades/n, "
                                   "last_id=last update/id\n"
                                   "table levels: bid_qty=bid qty/dec, bid/dec, ask/dec, ask_qty=ask qty/dec");
    }
    free(state);
    return err;
}

stoa_err stoa_command_book(stoa_platform *platform, stoa_door_call *call)
{
    const char *name = stoa_call_arg(call, 0);
    uint64_t limit = stoa_call_number(call, 1, LEVELS_DEFAULT);
    static const stoa_sought a_book = {"book", "symbols", {"trade_book", "market_book"}};
    uint32_t kind;
    stoa_ref ref;
    stoa_err err = stoa_find_sought(platform, &a_book, name, &ref, &kind);
    if (err) { return err; }
    return kind == 0 ? put_own_book(platform, call, ref, name, limit) : put_mirror(platform, call, ref, name, limit);
}

/* --- rooms */

static void put_posts(stoa_doc *doc, const room_page *page, uint64_t from_seq)
{
    for (uint32_t i = 0; i < page->entries.count; i++) {
        const room_entry *entry = &page->entries.at[i];
        if (entry->seq < from_seq) { continue; }
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_uint(doc, "seq", entry->seq);
        stoa_doc_uint(doc, "at_ns", entry->at_ns);
        stoa_doc_bytes(doc, "author", entry->author.at, entry->author.len);
        stoa_doc_bytes(doc, "text", entry->text.at, entry->text.len);
        stoa_doc_close(doc, '}');
    }
}

/* All of [from_seq, last], a page at a time. */
static stoa_err put_history(stoa_platform *platform, stoa_door_call *call, stoa_ref ref, uint64_t from_seq,
                            uint64_t last, stoa_doc *doc)
{
    room_page *page = malloc(sizeof *page);
    stoa_err err = page ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "posts");
    stoa_doc_open(doc, "posts", '[');
    while (!err && from_seq <= last) {
        err = room_call_history(platform->node, ref, (room_history){.from_seq = from_seq}, stoa_call_left_ns(call),
                                page);
        if (err || !page->entries.count) { break; }
        put_posts(doc, page, from_seq);
        from_seq = page->entries.at[page->entries.count - 1].seq + 1;
    }
    stoa_doc_close(doc, ']');
    free(page);
    return err;
}

static void put_roster(stoa_doc *doc, const char *name, const room_roster *roster, uint64_t first_kept)
{
    stoa_doc_open(doc, "room", '{');
    stoa_doc_text(doc, "name", name);
    stoa_doc_uint(doc, "last", roster->last);
    stoa_doc_uint(doc, "first_kept", first_kept);
    stoa_doc_uint(doc, "member_count", roster->members.count);
    stoa_doc_open(doc, "members", '[');
    for (uint32_t i = 0; i < roster->members.count; i++) {
        stoa_doc_bytes(doc, NULL, roster->members.at[i].at, roster->members.at[i].len);
    }
    stoa_doc_close(doc, ']');
    stoa_doc_close(doc, '}');
}

/* What is asked before the posts: who is here, and which posts there are. */
typedef struct room_look {
    room_roster roster;
    room_page page;
} room_look;

static stoa_err look_at_room(stoa_platform *platform, stoa_door_call *call, stoa_ref ref, room_look *out)
{
    stoa_err err = room_call_members(platform->node, ref, (room_members){0}, stoa_call_left_ns(call), &out->roster);
    if (err) { return err; }
    return room_call_history(platform->node, ref, (room_history){.limit = 1}, stoa_call_left_ns(call), &out->page);
}

stoa_err stoa_command_room(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *name = stoa_call_arg(call, 0);
    uint64_t posts = stoa_call_number(call, 1, POSTS_DEFAULT);
    static const stoa_sought a_room = {"room", "rooms", {"room"}};
    stoa_ref ref;
    stoa_err err = stoa_find_sought(platform, &a_room, name, &ref, NULL);
    if (err) { return err; }
    room_look *look = malloc(sizeof *look);
    if (!look) { return STOA_FAIL(STOA_E_NOMEM, "room"); }
    err = look_at_room(platform, call, ref, look);
    if (!err) {
        uint64_t last = look->page.last, from_seq = last >= posts ? last - posts + 1 : 1;
        if (from_seq < look->page.first_kept) { from_seq = look->page.first_kept; }
        stoa_doc_open(&doc, NULL, '{');
        put_roster(&doc, name, &look->roster, look->page.first_kept);
        err = put_history(platform, call, ref, from_seq ? from_seq : 1, last, &doc);
        stoa_doc_close(&doc, '}');
        stoa_buf_puts(&call->view, "fields room: name, last=posts/n, first_kept=kept from/id, members\n"
                                   "table posts: seq/id, at_ns=time/time, author, text/wrap");
    }
    free(look);
    return err;
}
