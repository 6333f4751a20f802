/* audit.h - for realm.c: what the logs of its node say, and whether that is what was acknowledged, answered and owned. What is
 * checked stands in the head of realm.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CHAOS_AUDIT_H
#define STOA_TESTS_CHAOS_AUDIT_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "actors/trade/account_msgs.h"
#include "actors/trade/trade.h"
#include "node/platform.h"
#include "runtime/log_reader.h"
#include "runtime/stoa.h"

STOA_PROXY(trade_account)

enum { TREASURY, ALICE, BOB, SAFE, CHEST, PENSION, CHARITY, ACCOUNTS, CLOSED = ACCOUNTS, NAMES };
enum { ASSETS = 2, SHARDS = 3, DEEDS = 1 << 20, QUIET_MS = 120000, EXIT_WRONG = 3 };
static const char *const names[NAMES] = {"treasury", "alice", "bob", "safe", "chest", "pension", "charity", "closed"};
static const uint8_t homes[NAMES] = {0, 0, 0, 1, 1, 2, 2, 2};
static const char *const shard_names[SHARDS] = {"trade", "vault", "fund"};
#define DEADLINE STOA_S(60)

static stoa_platform *platform;
static stoa_shard *shards[SHARDS];
static stoa_ref accounts[NAMES];
static int notebook;
static char books_path[512];

static void check(bool good, const char *what, uint64_t number)
{
    if (good) { return; }
    (void)fprintf(stderr, "wrong: %s (%" PRIu64 ")\n", what, number);
    _exit(EXIT_WRONG);
}

static void die(const char *what)
{
    (void)fprintf(stderr, "wrong: %s: %s\n", what, stoa_err_trail());
    _exit(EXIT_WRONG);
}

static void pause_ms(long ms)
{
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
}

__extension__ typedef __int128 wide;

/* --- what was acknowledged */

typedef struct note {
    uint64_t id, order_id; /* order_id 0: a payment */
    uint64_t account;
} note;

static void note_down(note n)
{
    if (write(notebook, &n, sizeof n) != sizeof n) { die("the notebook"); }
}

/* --- the audit: what the logs say */

typedef struct deed {
    uint64_t id, order_id;
    stoa_decimal amount, came; /* what left, and what came or came back */
    uint8_t account, to, asset;
    uint8_t left, arrived, returned, ordered, noted; /* how often */
    bool order, used;
} deed;

typedef struct audit {
    deed *deeds;
    uint64_t count, payments, orders;
    wide moved[ACCOUNTS][ASSETS];
    uint32_t shard; /* that is read */
    uint32_t streams[NAMES];
} audit;

static deed *deed_of(audit *a, uint32_t account, uint64_t id, bool order)
{
    uint64_t slot = (id * UINT64_C(0x9e3779b97f4a7c15) ^ (account * 2 + order) * UINT64_C(0xd6e8feb86659fd93)) >> 32;
    deed *d = &a->deeds[slot % DEEDS];
    while (d->used && (d->id != id || d->account != account || d->order != order)) { d = &a->deeds[++slot % DEEDS]; }
    if (!d->used) {
        a->count++;
        check(a->count < DEEDS / 2, "more deeds than the audit has room for", a->count);
        *d = (deed){.id = id, .account = (uint8_t)account, .order = order, .used = true};
    }
    return d;
}

static uint32_t name_index(const char *name, size_t size)
{
    for (uint32_t i = 0; i < NAMES; i++) {
        if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0) { return i; }
    }
    check(false, "an account that nobody opened", size);
    return 0;
}

static uint32_t stream_index(const audit *a, uint64_t stream)
{
    for (uint32_t i = 0; i < NAMES; i++) {
        if (homes[i] == a->shard && a->streams[i] == stream) { return i; }
    }
    check(false, "an account that is not in its shard", stream);
    return 0;
}

static uint32_t asset_index(const stoa_text6 *asset)
{
    return STOA_TEXT_EQZ(asset, "BTC") ? 0 : 1;
}

static void leave(audit *a, uint32_t from, uint32_t to, uint64_t id, const stoa_text6 *asset, stoa_decimal amount)
{
    deed *d = deed_of(a, from, id, false);
    d->left++;
    d->to = (uint8_t)to;
    d->amount = amount;
    d->asset = (uint8_t)asset_index(asset);
    a->moved[from][d->asset] -= amount;
    a->payments++;
}

static void arrive(audit *a, uint32_t from, uint32_t at, uint64_t id, const stoa_text6 *asset, stoa_decimal amount)
{
    deed *d = deed_of(a, from, id, false);
    d->arrived++;
    d->came += amount;
    check(!d->left || (d->to == at && d->asset == asset_index(asset)), "a payment came to another account than it was for", id);
    check(at < ACCOUNTS, "a closed account took money", id);
    a->moved[at][asset_index(asset)] += amount;
}

static void take_mailed(audit *a, uint32_t who, const void *payload)
{
    const trade_account_mailed *in = payload;
    leave(a, who, name_index(in->to.at, in->to.len), in->transfer_id, &in->asset, in->amount);
}

static void take_sent(audit *a, uint32_t who, const void *payload)
{
    const trade_account_sent *in = payload;
    leave(a, who, stream_index(a, in->to_stream), in->transfer_id, &in->asset, in->amount);
}

static void take_deposited(audit *a, uint32_t who, const void *payload)
{
    const trade_account_deposited *in = payload;
    const char *slash = memrchr(in->from.at, '/', in->from.len);
    check(slash != NULL, "a deposit from nobody", in->transfer_id);
    uint32_t from = name_index(slash + 1, (size_t)(in->from.at + in->from.len - slash - 1));
    arrive(a, from, who, in->transfer_id, &in->asset, in->amount);
}

static void take_credited(audit *a, uint32_t who, const void *payload)
{
    const trade_account_credited *in = payload;
    arrive(a, stream_index(a, in->from_stream), who, in->transfer_id, &in->asset, in->amount);
}

static void take_returned(audit *a, uint32_t who, const void *payload)
{
    const trade_account_returned *in = payload;
    deed *d = deed_of(a, who, in->transfer_id, false);
    d->returned++;
    d->came += in->amount;
    check(in->error == (d->to == CLOSED ? STOA_E_NOT_FOUND : STOA_E_FULL), "a payment came back that could arrive", in->transfer_id);
    a->moved[who][asset_index(&in->asset)] += in->amount;
}

static void take_order(audit *a, uint32_t who, uint64_t client_order_id, uint64_t order_id)
{
    deed *d = deed_of(a, who, client_order_id, true);
    d->ordered++;
    d->order_id = order_id;
    a->orders++;
}

static void take_ordered(audit *a, uint32_t who, const void *payload)
{
    const trade_account_ordered *in = payload;
    take_order(a, who, in->order.client_order_id, in->order_id);
    deed *d = deed_of(a, who, in->order.client_order_id, true);
    d->to = (uint8_t)in->order.side;
    deed_of(a, CLOSED, in->order_id, true)->to = (uint8_t)in->order.side; /* by its number: for its fills */
}

static void take_rejected(audit *a, uint32_t who, const void *payload)
{
    const trade_account_rejected *in = payload;
    take_order(a, who, in->order.client_order_id, in->order_id);
}

static void take_filled(audit *a, uint32_t who, const void *payload)
{
    const trade_account_filled *in = payload;
    wide sign = deed_of(a, CLOSED, in->order_id, true)->to == trade_side_BUY ? 1 : -1;
    a->moved[who][0] += sign * in->qty;
    a->moved[who][1] -= sign * ((wide)in->price * in->qty / STOA_DECIMAL_ONE);
}

static void (*const takers[trade_account_ROW_END_])(audit *a, uint32_t who, const void *payload) = {
    [trade_account_ROW_mailed] = take_mailed,       [trade_account_ROW_sent] = take_sent,
    [trade_account_ROW_deposited] = take_deposited, [trade_account_ROW_credited] = take_credited,
    [trade_account_ROW_returned] = take_returned,   [trade_account_ROW_ordered] = take_ordered,
    [trade_account_ROW_rejected] = take_rejected,   [trade_account_ROW_filled] = take_filled,
};

static stoa_err take_event(void *context, const stoa_event_view *event)
{
    audit *a = context;
    if (event->kind != &trade_account_kind || !takers[event->row->id]) { return STOA_OK; }
    takers[event->row->id](a, stream_index(a, event->stream), event->payload);
    return STOA_OK;
}

static stoa_err read_log(audit *a, uint32_t shard)
{
    stoa_log_reader *reader;
    char name[64];
    stoa_err err = stoa_log_open(shards[shard], &reader);
    if (err) { return err; }
    a->shard = shard;
    for (uint32_t i = 0; i < NAMES; i++) {
        (void)snprintf(name, sizeof name, "trade_account/%s", names[i]);
        if (homes[i] == shard) { check(stoa_log_actor(reader, name, &a->streams[i]) != NULL, "an account is not in its log", i); }
    }
    err = stoa_log_read(reader, 1, UINT64_MAX, take_event, a, NULL);
    stoa_log_close(reader);
    return err;
}

static stoa_err same_hash(uint32_t shard)
{
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    if (stoa_shard_look(shards[shard], &live)) { die("look"); }
    stoa_err err = stoa_shard_replay(shards[shard], live.applied, &hash, &events);
    if (!err) { check(hash == live.hash, "the replay differs from the live state", shard); }
    return err;
}

/* --- the audit: what holds */

static void check_notes(audit *a)
{
    note n;
    check(lseek(notebook, 0, SEEK_SET) == 0, "the notebook", 0);
    while (read(notebook, &n, sizeof n) == sizeof n) {
        deed *d = deed_of(a, (uint32_t)n.account, n.id, n.order_id != 0);
        check(d->left + d->ordered > 0, n.order_id ? "an acknowledged order is gone" : "an acknowledged payment is gone", n.id);
        check(d->order_id == n.order_id, "an acknowledged order is another one", n.id);
        check(d->noted++ == 0, "noted twice", n.id);
    }
}

static void check_deeds(const audit *a)
{
    for (uint32_t i = 0; i < DEEDS; i++) {
        const deed *d = &a->deeds[i];
        if (!d->used || (d->order && d->account == CLOSED)) { continue; }
        check(d->ordered == (d->order ? 1 : 0), "an order happened twice", d->id);
        if (d->order) { continue; }
        check(d->left == 1, d->left ? "a payment was made twice" : "what nobody has paid came to somebody", d->id);
        check(d->arrived + d->returned <= 1, "a payment arrived twice, or arrived and came back", d->id);
        check(d->arrived + d->returned == 1, "a payment is nowhere", d->id);
        check(d->came == d->amount, "another amount came than left", d->id);
    }
}

/* As the accounts answer. */
static void ask_all(stoa_decimal held[ACCOUNTS][ASSETS])
{
    wide all[ASSETS] = {0}, transit[ASSETS] = {0}, sums[SHARDS][ASSETS] = {{0}};
    memset(held, 0, sizeof(stoa_decimal[ACCOUNTS][ASSETS]));
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        trade_account_holdings h;
        if (trade_account_call_balances(platform->node, accounts[i], (trade_account_balances){{0}}, DEADLINE, &h)) { die("balances"); }
        for (uint32_t k = 0; k < h.balances.count; k++) {
            const trade_balance *b = &h.balances.at[k];
            uint32_t asset = asset_index(&b->asset);
            held[i][asset] += b->free + b->reserved;
            all[asset] += b->free + b->reserved;
            transit[asset] += b->transit;
            sums[homes[i]][asset] += b->free + b->reserved + b->transit;
        }
    }
    for (uint32_t k = 0; k < ASSETS; k++) {
        check(all[k] == 0 && transit[k] == 0, "money was lost or made", k);
        for (uint32_t i = 0; i < SHARDS; i++) { check(sums[i][k] == 0, "a shard does not sum to zero", i); }
    }
}

static void check_books(const audit *a, const stoa_decimal held[ACCOUNTS][ASSETS])
{
    FILE *file = fopen(books_path, "we");
    if (!file) { die(books_path); }
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        for (uint32_t k = 0; k < ASSETS; k++) {
            check(a->moved[i][k] == held[i][k], "an account holds something else than its events say", i * ASSETS + k);
            (void)fprintf(file, "%" PRId64 "\n", held[i][k]);
        }
    }
    if (fclose(file)) { die(books_path); }
}

/* Where a log cannot be read: all is as it was at the last good audit. */
static void check_old_books(const stoa_decimal held[ACCOUNTS][ASSETS])
{
    FILE *file = fopen(books_path, "re");
    if (!file) { die(books_path); }
    for (uint32_t i = 0; i < ACCOUNTS * ASSETS; i++) {
        int64_t was = 0;
        check(fscanf(file, "%" SCNd64, &was) == 1 && was == held[i / ASSETS][i % ASSETS], "an account changed without an event", i);
    }
    (void)fclose(file);
}

static void count_waiting(void *context, const stoa_channel_view *view)
{
    check(strcmp(view->status, "forked") != 0, view->forked, 0);
    *(uint64_t *)context += view->waiting + (strcmp(view->status, "runs") != 0);
}

static void wait_for_quiet(void)
{
    uint64_t before = 0;
    for (int ms = 0; ms < QUIET_MS; ms++) {
        uint64_t waiting = 0, applied = 0;
        for (uint32_t i = 0; i < SHARDS; i++) {
            stoa_shard_view view;
            if (stoa_shard_glance(shards[i], &view)) { die("glance"); }
            applied += view.applied + (view.applied != view.committed);
            stoa_channels(shards[i], count_waiting, &waiting);
        }
        if (!waiting && applied == before) { return; }
        before = applied;
        pause_ms(2);
    }
    check(false, "the channels do not come to rest", 0);
}

static void run_audit(void)
{
    static stoa_decimal held[ACCOUNTS][ASSETS];
    audit a = {.deeds = calloc(DEEDS, sizeof(deed))};
    if (!a.deeds) { die("memory"); }
    wait_for_quiet();
    ask_all(held);
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < SHARDS && !err; i++) { err = read_log(&a, i); }
    for (uint32_t i = 0; i < SHARDS && !err; i++) { err = same_hash(i); }
    if (err) {
        check_old_books((const stoa_decimal (*)[ASSETS])held);
        (void)printf("rotten %s\n", stoa_err_name(err));
        (void)fprintf(stderr, "rotten: %s\n", stoa_err_trail());
    } else {
        check_notes(&a);
        check_deeds(&a);
        check_books(&a, (const stoa_decimal (*)[ASSETS])held);
        (void)printf("good %" PRIu64 " %" PRIu64 "\n", a.payments, a.orders);
    }
    (void)fflush(stdout);
    free(a.deeds);
}

#endif
