/* book_ops_test.c - goal: long streams of orders, cancels and replacements give the trades and the book that
 * price-time priority says. Method: three seeded flows against an array kept sorted: touch (around the best prices),
 * deep (thousands of orders over thousands of levels), move (nearly all replacements, which lose their priority).
 * Rules: trades at the maker's price, one per maker touched, the rest of an IOC is dropped, a cancel of what does not
 * rest is nothing, nobody owns orders.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/trade_world.h"

#include <inttypes.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"

enum { BOOK_MAX = 8000, PRICE = 100000, LOOK_EVERY = 250 };

/* --- the sorted array: best first, within a price oldest first */

typedef struct entry {
    uint64_t id;
    int64_t price, qty;
} entry;

typedef struct sorted_side {
    entry at[BOOK_MAX];
    uint32_t count;
} sorted_side;

typedef struct reference {
    sorted_side sides[trade_side_COUNT];
    uint64_t trades, trade_hash;
} reference;

static bool before(trade_side side, int64_t a, int64_t b)
{
    return side == trade_side_BUY ? a > b : a < b;
}

static void rest(sorted_side *s, trade_side side, entry e)
{
    assert_true(s->count < BOOK_MAX);
    uint32_t i = s->count++;
    for (; i && before(side, e.price, s->at[i - 1].price); i--) {
        s->at[i] = s->at[i - 1];
    }
    s->at[i] = e;
}

static uint64_t fold(uint64_t hash, int64_t price, int64_t qty)
{
    return stoa_mix64(hash ^ stoa_mix64((uint64_t)price * 31 + (uint64_t)qty));
}

static void reference_place(reference *r, trade_side side, bool ioc, entry e)
{
    sorted_side *other = &r->sides[!side];
    while (e.qty && other->count && !before(side, other->at[0].price, e.price)) {
        int64_t qty = e.qty < other->at[0].qty ? e.qty : other->at[0].qty;
        r->trades++;
        r->trade_hash = fold(r->trade_hash, other->at[0].price, qty);
        e.qty -= qty;
        other->at[0].qty -= qty;
        if (other->at[0].qty == 0) { memmove(other->at, other->at + 1, --other->count * sizeof other->at[0]); }
    }
    if (e.qty && !ioc) { rest(&r->sides[side], side, e); }
}

static bool reference_cancel(reference *r, uint64_t id)
{
    for (int side = 0; side < trade_side_COUNT; side++) {
        sorted_side *s = &r->sides[side];
        for (uint32_t i = 0; i < s->count; i++) {
            if (s->at[i].id != id) { continue; }
            memmove(s->at + i, s->at + i + 1, (--s->count - i) * sizeof s->at[0]);
            return true;
        }
    }
    return false;
}

/* --- the flow */

typedef struct flow {
    const char *name;
    uint32_t warm, ops;                                   /* orders before, operations */
    uint32_t orders;                                      /* resting orders to keep */
    uint32_t new_permille, cancel_permille, ioc_permille; /* the others replace */
    uint32_t depth_ticks;                                 /* of orders that go anywhere */
    uint32_t anywhere_permille;
} flow;

static const flow flows[] = {
    {"touch", 2000, 12000, 2000, 600, 300, 100, 200, 50},
    {"deep", 6000, 6000, 6000, 600, 300, 100, 3000, 300},
    {"move", 1000, 12000, 1000, 90, 60, 30, 375, 1000},
};

typedef struct stage {
    world w;
    reference r;
    stoa_random random;
    stoa_port *port;
    uint64_t trades, trade_hash, next_id;
} stage;

static void take_trade(void *context, const stoa_delivery *delivery)
{
    stage *s = context;
    const market_feed_trade *trade = delivery->payload;
    assert_int_equal(trade->trade_id, ++s->trades);
    const trade_symbol *symbol = &world_symbols[0];
    s->trade_hash = fold(s->trade_hash, trade->price / symbol->tick, trade->qty / symbol->lot);
}

static void place(stage *s, trade_side side, bool ioc, entry e)
{
    trade_book_place in = {.order_id = e.id,
                           .side = side,
                           .tif = ioc ? trade_tif_IOC : trade_tif_GTC,
                           .price_ticks = e.price,
                           .qty_lots = e.qty};
    assert_int_equal(trade_book_post_place(s->w.node, s->w.books[0], in), STOA_OK);
    reference_place(&s->r, side, ioc, e);
}

static bool cancel(stage *s, uint64_t id)
{
    assert_int_equal(trade_book_post_cancel(s->w.node, s->w.books[0], (trade_book_cancel){.order_id = id}), STOA_OK);
    return reference_cancel(&s->r, id);
}

/* A price for a new order: geometric behind the other side's touch, or anywhere in the depth. */
static int64_t price_for(stage *s, const flow *f, trade_side side)
{
    const sorted_side *other = &s->r.sides[!side];
    int64_t touch = other->count ? other->at[0].price : PRICE, away = 1;
    if (stoa_random_chance(&s->random, f->anywhere_permille)) {
        touch = PRICE;
        away += (int64_t)stoa_random_below(&s->random, f->depth_ticks);
    } else {
        while (stoa_random_chance(&s->random, 750)) {
            away++;
        }
    }
    return side == trade_side_BUY ? touch - away : touch + away;
}

static int64_t random_qty(stage *s)
{
    return 1 + (int64_t)stoa_random_below(&s->random, 100);
}

static void step_new(stage *s, const flow *f)
{
    trade_side side = (trade_side)stoa_random_below(&s->random, 2);
    place(s, side, false, (entry){++s->next_id, price_for(s, f, side), random_qty(s)});
}

/* One that takes: reaches ten ticks through the touch. */
static void step_ioc(stage *s)
{
    trade_side side = (trade_side)stoa_random_below(&s->random, 2);
    const sorted_side *other = &s->r.sides[!side];
    int64_t touch = other->count ? other->at[0].price : PRICE, reach = side == trade_side_BUY ? 10 : -10;
    place(s, side, true, (entry){++s->next_id, touch + reach, 3 * random_qty(s)});
}

/* An id that rests, or sometimes one that did. */
static uint64_t some_id(stage *s, trade_side *side)
{
    *side = (trade_side)stoa_random_below(&s->random, 2);
    const sorted_side *mine = &s->r.sides[*side];
    bool any = mine->count == 0 || stoa_random_chance(&s->random, 50);
    if (any) { return 1 + stoa_random_below(&s->random, s->next_id); }
    return mine->at[stoa_random_below(&s->random, mine->count)].id;
}

static void step(stage *s, const flow *f)
{
    uint32_t dice = (uint32_t)stoa_random_below(&s->random, 1000);
    uint32_t resting = s->r.sides[0].count + s->r.sides[1].count;
    trade_side side;
    if (dice < f->new_permille || resting < f->orders / 2) {
        step_new(s, f);
    } else if (dice < f->new_permille + f->cancel_permille || resting > f->orders * 5 / 4) {
        (void)cancel(s, some_id(s, &side));
    } else if (dice < f->new_permille + f->cancel_permille + f->ioc_permille) {
        step_ioc(s);
    } else {
        uint64_t id = some_id(s, &side);
        if (cancel(s, id)) { place(s, side, false, (entry){id, price_for(s, f, side), random_qty(s)}); }
    }
}

/* --- comparing */

static void compare_side(const reference *r, trade_side side, const market_levels *got)
{
    const sorted_side *s = &r->sides[side];
    uint32_t level = 0;
    for (uint32_t i = 0; i < s->count && level < MARKET_LEVELS_MAX; level++) {
        int64_t price = s->at[i].price, qty = 0;
        for (; i < s->count && s->at[i].price == price; i++) {
            qty += s->at[i].qty;
        }
        assert_true(level < got->count);
        assert_int_equal(got->at[level].price, price * world_symbols[0].tick);
        assert_int_equal(got->at[level].qty, qty * world_symbols[0].lot);
    }
    assert_int_equal(got->count, level);
}

static void compare(stage *s)
{
    assert_int_equal(stoa_sim_settle(s->w.sim, 10000000), STOA_OK);
    while (stoa_port_poll(s->port, take_trade, s, 64)) {}
    trade_book_view view = depth(&s->w, 0);
    assert_int_equal(view.orders, s->r.sides[0].count + s->r.sides[1].count);
    assert_int_equal(view.trades, s->r.trades);
    assert_int_equal(s->trades, s->r.trades);
    assert_true(s->trade_hash == s->r.trade_hash);
    compare_side(&s->r, trade_side_BUY, &view.bids);
    compare_side(&s->r, trade_side_SELL, &view.asks);
}

static void run(const flow *f, uint64_t seed)
{
    stage *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->w = world_new(seed, 0);
    stoa_random_seed(&s->random, seed);
    assert_int_equal(stoa_port_open(s->w.node, "tape", &s->port), STOA_OK);
    assert_int_equal(stoa_port_subscribe(s->port, "trade.BTCUSDT.trade"), STOA_OK);
    for (uint32_t i = 0; i < f->warm + f->ops; i++) {
        if (i < f->warm) {
            step_new(s, f);
        } else {
            step(s, f);
        }
        if (i % LOOK_EVERY == LOOK_EVERY - 1) { compare(s); }
    }
    compare(s);
    printf("%s, seed %" PRIu64 ": %" PRIu64 " trades, %" PRIu32 " orders\n", f->name, seed, s->r.trades,
           s->r.sides[0].count + s->r.sides[1].count);
    assert_true(s->r.trades > f->ops / 50);
    check_replay(&s->w);
    world_free(&s->w);
    free(s);
}

static void long_flows_give_what_price_time_priority_says(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof flows / sizeof flows[0]; i++) {
        run(&flows[i], 2026 + i);
    }
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(long_flows_give_what_price_time_priority_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
