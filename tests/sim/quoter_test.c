/* quoter_test.c - goal: the quoter keeps one order a side where its configuration says, within its inventory limit,
 * and knows what it traded, through fills, refusals, silence and power cuts. Method: the real trading kinds in a
 * simulated shard; a test actor publishes tops as a mirror does; by hand, then at random from a printed seed, with
 * the account's own balances as the judge.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/trade_world.h"

#include <inttypes.h>
#include <time.h>

#include "actors/market/feed_msgs.h"
#include "actors/strategy/quoter_msgs.h"
#include "base/random.h"
#include "runtime/log_reader.h"
#include "runtime/shard.h"

STOA_PROXY(strategy_quoter)

/* --- a mirror: publishes what it is told */

#define teller_tell_FIELDS(F, S) F(S, stoa_decimal, bid) F(S, stoa_decimal, ask) F(S, uint64_t, id)
#define teller_ROWS(ROW, K)      ROW(K, CAST, tell, _, "Publish this top.")
STOA_TABLE(teller)
STOA_TABLE_DEFINE(teller)
typedef struct teller {
    uint64_t nothing;
} teller;
#define teller_HEARS STOA_HEARS_NOTHING
static stoa_err teller_start(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    return stoa_turn_bind(turn, 0, "market.sim.BTCUSDT.top");
}
STOA_PROXY(market_feed)
STOA_PLAIN_KIND(teller, .start = teller_start)
static stoa_err teller_on_tell(stoa_turn *turn, teller *self, const teller_tell *in)
{
    (void)self;
    market_feed_top top = {.symbol = stoa_text("BTCUSDT"), .last_id = in->id, .bid = in->bid, .ask = in->ask};
    return market_feed_publish_top(turn, 0, &top);
}

/* --- the scene: a0 quotes, a1 takes */

typedef struct scene {
    world w;
    stoa_ref teller, quoter;
    uint64_t top_id;
} scene;

static void attach(scene *s)
{
    s->quoter = world_spawn(&s->w, &strategy_quoter_kind, "strategy_quoter/maker");
    assert_int_equal(stoa_spawn(s->w.node, &teller_kind, "teller/sim", &(stoa_spawn_options){.core = 0}, &s->teller),
                     STOA_OK);
}

static strategy_quoter_configure settings(void)
{
    return (strategy_quoter_configure){.config = {.venue = stoa_text("sim"),
                                                  .symbol = stoa_text("BTCUSDT"),
                                                  .account = stoa_text("a0"),
                                                  .tick = dec("0.01"),
                                                  .qty = dec("0.5"),
                                                  .half_spread = dec("1"),
                                                  .requote = dec("0.25"),
                                                  .inventory_max = dec("2"),
                                                  .skew = dec("0.4"),
                                                  .stale_ns = STOA_S(10),
                                                  .retry_ns = STOA_S(5)}};
}

static void settle(scene *s)
{
    assert_int_equal(stoa_sim_settle(s->w.sim, 1000000), STOA_OK);
}

static stoa_err configure(scene *s, strategy_quoter_configure in)
{
    strategy_quoter_done done;
    stoa_err err = strategy_quoter_call_configure(s->w.node, s->quoter, in, WORLD_DEADLINE, &done);
    settle(s);
    return err;
}

static scene scene_new(uint64_t seed, bool funded)
{
    scene s = {.w = world_new(seed, 2)};
    attach(&s);
    if (funded) {
        deposit(&s.w, 0, "USDT", "100000");
        deposit(&s.w, 0, "BTC", "100");
    }
    deposit(&s.w, 1, "USDT", "1000000");
    deposit(&s.w, 1, "BTC", "1000");
    assert_int_equal(configure(&s, settings()), STOA_OK);
    return s;
}

static void scene_free(scene *s)
{
    check_money(&s->w);
    check_replay(&s->w);
    world_free(&s->w);
}

static void tell(scene *s, const char *bid, const char *ask)
{
    teller_tell in = {.bid = dec(bid), .ask = dec(ask), .id = ++s->top_id};
    assert_int_equal(teller_post_tell(s->w.node, s->teller, in), STOA_OK);
    settle(s);
}

static strategy_quoter_state status(scene *s)
{
    strategy_quoter_state out;
    strategy_quoter_status in = {{0}};
    assert_int_equal(strategy_quoter_call_status(s->w.node, s->quoter, in, WORLD_DEADLINE, &out), STOA_OK);
    return out;
}

/* The taker's IOC order; what it filled. */
static stoa_decimal take(scene *s, trade_side side, const char *price, const char *qty)
{
    trade_account_order out = {0};
    trade_account_place in = {.client_order_id = ++s->w.clients,
                              .symbol = stoa_text("BTCUSDT"),
                              .side = side,
                              .tif = trade_tif_IOC,
                              .price = dec(price),
                              .qty = dec(qty)};
    assert_int_equal(trade_account_call_place(s->w.node, s->w.accounts[1], in, WORLD_DEADLINE, &out), STOA_OK);
    settle(s);
    return out.order.filled_qty;
}

/* The book's only orders are the quoter's: "0" for a side without one. */
static void check_book(scene *s, const char *bid, const char *ask)
{
    trade_book_view book = depth(&s->w, 0);
    assert_int_equal(book.bids.count, dec(bid) != 0);
    assert_int_equal(book.asks.count, dec(ask) != 0);
    if (book.bids.count) { assert_int_equal(book.bids.at[0].price, dec(bid)); }
    if (book.asks.count) { assert_int_equal(book.asks.at[0].price, dec(ask)); }
}

static void check_mode(scene *s, strategy_quoter_mode mode)
{
    strategy_quoter_mode is = status(s).mode;
    if (is != mode) { fail_msg("%s, not %s", strategy_quoter_mode_texts[is], strategy_quoter_mode_texts[mode]); }
}

/* What it thinks it traded is what its account has. */
static void check_books_agree(scene *s, const char *usdt, const char *btc)
{
    strategy_quoter_state is = status(s);
    trade_balance base = balance(&s->w, 0, "BTC"), quote = balance(&s->w, 0, "USDT");
    assert_int_equal(base.free + base.reserved, dec(btc) + is.inventory);
    assert_int_equal(quote.free + quote.reserved, dec(usdt) + is.cash);
}

static void count_reports(void *context, const stoa_event_view *event)
{
    *(uint64_t *)context += event->row == &strategy_quoter_rows[strategy_quoter_ROW_reported];
}

static stoa_err count_listed(void *context, const stoa_event_view *event)
{
    *(uint64_t *)context += strcmp(event->row->name, "listed") == 0 && strcmp(event->actor, "trade_account/a0") == 0;
    return STOA_OK;
}

static uint64_t symbols_listed(const scene *s)
{
    uint64_t count = 0;
    stoa_log_reader *reader;
    assert_int_equal(stoa_log_open(s->w.shard, &reader), STOA_OK);
    assert_int_equal(stoa_log_read(reader, 1, stoa_shard_durable(s->w.shard), count_listed, &count, NULL), STOA_OK);
    stoa_log_close(reader);
    return count;
}

/* --- by hand */

static void it_quotes_both_sides_of_the_top(void **state)
{
    (void)state;
    scene s = scene_new(1, true);
    check_mode(&s, strategy_quoter_mode_STALE);
    check_book(&s, "0", "0");
    tell(&s, "100", "100.02");
    check_mode(&s, strategy_quoter_mode_QUOTING);
    check_book(&s, "99.01", "101.01");
    strategy_quoter_state is = status(&s);
    assert_int_equal(is.bid.phase, strategy_quoter_phase_WORKING);
    assert_int_equal(is.ask.phase, strategy_quoter_phase_WORKING);
    assert_true(is.bid.order_id && is.ask.order_id);
    assert_int_equal(is.orders, 2);
    uint64_t reports = 0;
    assert_int_equal(stoa_shard_lookup(s.w.shard, is.bid.order_id, count_reports, &reports), STOA_OK);
    assert_int_equal(reports, 1); /* hearing the same again is no news */
    assert_int_equal(symbols_listed(&s), 1); /* though both orders, of one turn, were the account's first in it */
    scene_free(&s);
}

static void orders_move_only_as_far_as_it_is_worth(void **state)
{
    (void)state;
    scene s = scene_new(2, true);
    tell(&s, "100", "100.02");
    tell(&s, "100.2", "100.22");
    check_book(&s, "99.01", "101.01");
    assert_int_equal(status(&s).orders, 2);
    tell(&s, "100.25", "100.27");
    check_book(&s, "99.26", "101.26");
    assert_int_equal(status(&s).orders, 4);
    assert_int_equal(holdings(&s.w, s.w.accounts[0]).open_orders, 2);
    scene_free(&s);
}

static void a_fill_moves_both_quotes_against_the_inventory(void **state)
{
    (void)state;
    scene s = scene_new(3, true);
    tell(&s, "100", "100.02");
    assert_int_equal(take(&s, trade_side_BUY, "101.01", "0.2"), dec("0.2")); /* a part: the rest stays */
    strategy_quoter_state is = status(&s);
    assert_int_equal(is.inventory, -dec("0.2"));
    assert_int_equal(is.cash, dec("20.202"));
    check_book(&s, "99.01", "101.01"); /* 0.04 up: not worth a move */
    assert_int_equal(take(&s, trade_side_BUY, "101.01", "1"), dec("0.3"));
    is = status(&s);
    assert_int_equal(is.inventory, -dec("0.5"));
    assert_int_equal(is.fills, 2);
    check_book(&s, "99.01", "101.01"); /* 0.1 up: still not, but the side that traded is out again */
    assert_int_equal(take(&s, trade_side_BUY, "101.01", "1"), dec("0.5"));
    assert_int_equal(take(&s, trade_side_BUY, "102", "1"), dec("0.5"));
    check_book(&s, "99.31", "101.31"); /* 1.5 short of 2: 0.3 up */
    check_books_agree(&s, "100000", "100");
    scene_free(&s);
}

static void the_inventory_limit_holds(void **state)
{
    (void)state;
    scene s = scene_new(4, true);
    tell(&s, "100", "100.02");
    stoa_decimal bought = 0;
    for (int i = 0; i < 8; i++) { bought += take(&s, trade_side_BUY, "110", "5"); }
    assert_int_equal(bought, dec("2"));
    strategy_quoter_state is = status(&s);
    assert_int_equal(is.inventory, -dec("2"));
    assert_int_equal(is.ask.want_price, 0);
    check_book(&s, "99.41", "0");
    assert_int_equal(take(&s, trade_side_SELL, "99.41", "0.5"), dec("0.5"));
    check_book(&s, "99.31", "101.31"); /* room again */
    check_books_agree(&s, "100000", "100");
    scene_free(&s);
}

static void a_silent_market_is_not_quoted(void **state)
{
    (void)state;
    scene s = scene_new(5, true);
    tell(&s, "100", "100.02");
    stoa_sim_run(s.w.sim, STOA_S(9));
    tell(&s, "100.01", "100.03"); /* alive, nothing to do */
    stoa_sim_run(s.w.sim, STOA_S(9));
    check_book(&s, "99.01", "101.01");
    stoa_sim_run(s.w.sim, STOA_S(5));
    check_mode(&s, strategy_quoter_mode_STALE);
    check_book(&s, "0", "0");
    tell(&s, "100", "100.02");
    check_mode(&s, strategy_quoter_mode_QUOTING);
    check_book(&s, "99.01", "101.01");
    scene_free(&s);
}

static void a_one_sided_or_crossed_market_is_not_quoted(void **state)
{
    (void)state;
    static const char *const tops[][2] = {{"0", "100"}, {"100", "0"}, {"0", "0"}, {"100", "100"}, {"101", "100"}};
    scene s = scene_new(6, true);
    for (size_t i = 0; i < sizeof tops / sizeof *tops; i++) {
        tell(&s, "100", "100.02");
        check_book(&s, "99.01", "101.01");
        tell(&s, tops[i][0], tops[i][1]);
        check_mode(&s, strategy_quoter_mode_ONE_SIDED);
        check_book(&s, "0", "0");
    }
    scene_free(&s);
}

static void it_pauses_and_resumes_on_command(void **state)
{
    (void)state;
    strategy_quoter_done done;
    scene s = scene_new(7, true);
    tell(&s, "100", "100.02");
    strategy_quoter_pause pause_it = {{0}};
    strategy_quoter_resume resume_it = {{0}};
    assert_int_equal(strategy_quoter_call_pause(s.w.node, s.quoter, pause_it, WORLD_DEADLINE, &done), STOA_OK);
    settle(&s);
    check_book(&s, "0", "0");
    tell(&s, "105", "105.02");
    stoa_sim_run(s.w.sim, STOA_S(30));
    check_mode(&s, strategy_quoter_mode_PAUSED);
    check_book(&s, "0", "0");
    assert_int_equal(strategy_quoter_call_resume(s.w.node, s.quoter, resume_it, WORLD_DEADLINE, &done), STOA_OK);
    check_book(&s, "0", "0"); /* not before the market is heard again */
    tell(&s, "110", "110.02");
    check_book(&s, "109.01", "111.01");
    scene_free(&s);
}

static void refused_orders_are_tried_again_but_not_at_once(void **state)
{
    (void)state;
    scene s = scene_new(8, false); /* no money: risk refuses */
    tell(&s, "100", "100.02");
    for (int i = 0; i < 20; i++) { tell(&s, i % 2 ? "100" : "103", i % 2 ? "100.02" : "103.02"); }
    assert_int_equal(status(&s).refused, 2);
    assert_int_equal(status(&s).orders, 2);
    deposit(&s.w, 0, "USDT", "1000");
    deposit(&s.w, 0, "BTC", "10");
    stoa_sim_run(s.w.sim, STOA_S(8));
    check_book(&s, "99.01", "101.01");
    assert_int_equal(status(&s).orders, 4);
    scene_free(&s);
}

static void a_quote_that_would_take_waits(void **state)
{
    (void)state;
    scene s = scene_new(9, true);
    trade_account_order out = {0};
    trade_account_place ask = {.client_order_id = 900,
                               .symbol = stoa_text("BTCUSDT"),
                               .side = trade_side_SELL,
                               .tif = trade_tif_GTC,
                               .price = dec("98"),
                               .qty = dec("1")};
    assert_int_equal(trade_account_call_place(s.w.node, s.w.accounts[1], ask, WORLD_DEADLINE, &out), STOA_OK);
    tell(&s, "100", "100.02");
    strategy_quoter_state is = status(&s);
    assert_int_equal(is.bid.phase, strategy_quoter_phase_IDLE);
    assert_int_equal(is.inventory, 0); /* it never takes */
    assert_int_equal(is.refused, 1);
    tell(&s, "100.01", "100.03");
    assert_int_equal(status(&s).refused, 1); /* held */
    trade_account_cancel cancel = {.client_order_id = 900}; /* out of its way */
    assert_int_equal(trade_account_call_cancel(s.w.node, s.w.accounts[1], cancel, WORLD_DEADLINE, &out), STOA_OK);
    stoa_sim_run(s.w.sim, STOA_S(8));
    check_book(&s, "99.01", "101.01");
    scene_free(&s);
}

static void settings_are_checked(void **state)
{
    (void)state;
    scene s = scene_new(10, true);
    strategy_quoter_configure in = settings();
    in.config.qty = dec("3"); /* above the limit */
    assert_int_equal(configure(&s, in), STOA_E_RANGE);
    in = settings();
    in.config.tick = 0;
    assert_int_equal(configure(&s, in), STOA_E_INVALID);
    in = settings();
    in.config.stale_ns = 1;
    assert_int_equal(configure(&s, in), STOA_E_RANGE);
    in = settings();
    assert_int_equal(STOA_TEXT_SETZ(&in.config.account, "nobody"), STOA_OK);
    assert_int_equal(configure(&s, in), STOA_E_NOT_FOUND);
    tell(&s, "100", "100.02");
    in = settings();
    assert_int_equal(STOA_TEXT_SETZ(&in.config.account, "a1"), STOA_OK);
    assert_int_equal(configure(&s, in), STOA_E_INVALID); /* orders are out */
    in = settings();
    in.config.half_spread = dec("2");
    assert_int_equal(configure(&s, in), STOA_OK);
    tell(&s, "100", "100.02");
    check_book(&s, "98.01", "102.01");
    scene_free(&s);
}

static void its_orders_are_adopted_after_a_power_cut(void **state)
{
    (void)state;
    scene s = scene_new(11, true);
    tell(&s, "100", "100.02");
    strategy_quoter_state before = status(&s);
    world_crash(&s.w);
    attach(&s);
    settle(&s);
    strategy_quoter_state after = status(&s);
    assert_int_equal(after.orders, 2);
    assert_int_equal(after.bid.order_id, before.bid.order_id);
    assert_int_equal(after.ask.order_id, before.ask.order_id);
    tell(&s, "100", "100.02");
    check_book(&s, "99.01", "101.01");
    assert_int_equal(status(&s).orders, 2);
    assert_int_equal(take(&s, trade_side_SELL, "99.01", "0.5"), dec("0.5"));
    tell(&s, "102", "102.02"); /* it still moves them */
    check_book(&s, "100.91", "102.91");
    check_books_agree(&s, "100000", "100");
    scene_free(&s);
}

/* --- an account that does not answer, but for questions */

#define mute_said_FIELDS(F, S) F(S, uint64_t, nothing)
#define mute_ROWS(ROW, K)      ROW(K, EVENT, said, _, "Nothing.")
STOA_TABLE(mute)
STOA_TABLE_DEFINE(mute)
typedef struct mute {
    uint64_t nothing;
} mute;
static struct {
    uint64_t placed, asked, last;
    bool knows; /* the last order exists */
} mute_now;
#define mute_HEARS(HEAR, K)                                                                                            \
    HEAR(K, trade_account, place) HEAR(K, trade_account, cancel) HEAR(K, trade_account, query)
STOA_KIND(mute, .mailbox_limit = 64)
static void mute_apply_said(mute *self, const mute_said *event)
{
    (void)self, (void)event;
}
static stoa_err mute_on_trade_account_place(stoa_turn *turn, const mute *self, const trade_account_place *in)
{
    (void)self;
    mute_now.placed += in->side == trade_side_BUY;
    if (in->side == trade_side_BUY) { mute_now.last = in->client_order_id; }
    stoa_turn_no_answer(turn);
    return STOA_OK;
}
static stoa_err mute_on_trade_account_cancel(stoa_turn *turn, const mute *self, const trade_account_cancel *in)
{
    (void)self, (void)in;
    stoa_turn_no_answer(turn);
    return STOA_OK;
}
static stoa_err mute_on_trade_account_query(stoa_turn *turn, const mute *self, const trade_account_query *in)
{
    (void)self;
    if (in->client_order_id != mute_now.last) { return STOA_E_NOT_FOUND; }
    mute_now.asked++;
    if (!mute_now.knows) { return STOA_E_NOT_FOUND; }
    trade_order order = {.order_id = 77, .client_order_id = in->client_order_id, .status = trade_status_OPEN};
    return trade_account_answer_order(turn, (trade_account_order){.order = order});
}

static void an_unanswered_order_is_asked_about(void **state)
{
    (void)state;
    stoa_kind account = mute_kind;
    account.name = "trade_account";
    const stoa_kind *const kinds[] = {&account, &strategy_quoter_kind, NULL};
    stoa_shard_options shard = {.name = "trade", .durability = stoa_durability_NONE};
    stoa_ref ignored;
    scene s = {.top_id = 0};
    memset(&mute_now, 0, sizeof mute_now);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 12, .kinds = kinds}, &s.w.sim, &s.w.node), STOA_OK);
    assert_int_equal(stoa_shard_open(s.w.node, &shard, &s.w.shard), STOA_OK);
    stoa_spawn_options there = {.shard = s.w.shard};
    assert_int_equal(stoa_spawn(s.w.node, &account, "trade_account/a0", &there, &ignored), STOA_OK);
    attach(&s);
    assert_int_equal(configure(&s, settings()), STOA_OK);
    tell(&s, "100", "100.02");
    assert_int_equal(mute_now.placed, 1);
    assert_int_equal(status(&s).bid.phase, strategy_quoter_phase_PLACING);
    uint64_t first = mute_now.last;
    stoa_sim_run(s.w.sim, STOA_S(8)); /* it does not exist: another one, under another id */
    assert_true(mute_now.asked >= 1);
    assert_true(mute_now.placed >= 1);
    mute_now.knows = true;
    for (int i = 0; i < 8; i++) { tell(&s, i % 2 ? "100" : "100.01", "100.02"), stoa_sim_run(s.w.sim, STOA_S(5)); }
    strategy_quoter_state is = status(&s);
    assert_int_equal(is.bid.phase, strategy_quoter_phase_WORKING); /* it does: it is adopted */
    assert_int_equal(is.bid.order_id, 77);
    assert_int_equal(is.bid.client_order_id, mute_now.last);
    assert_int_equal(mute_now.placed, 2);
    assert_true(mute_now.last > first);
    world_free(&s.w);
}

/* --- at random */

static stoa_random chance;

static void check_invariants(scene *s)
{
    strategy_quoter_state is = status(s);
    trade_account_page page = {0};
    trade_account_orders in = {.open_only = 1};
    uint32_t sides[trade_side_COUNT] = {0};
    assert_int_equal(trade_account_call_orders(s->w.node, s->w.accounts[0], in, WORLD_DEADLINE, &page), STOA_OK);
    for (uint32_t i = 0; i < page.orders.count; i++) { sides[page.orders.at[i].side]++; }
    assert_true(sides[trade_side_BUY] <= 1 && sides[trade_side_SELL] <= 1);
    assert_true(is.inventory <= is.config.inventory_max && is.inventory >= -is.config.inventory_max);
    check_books_agree(s, "100000", "100");
}

/* Power fails in the middle of what a top, or a taker's order, sets off. */
static void fail_amid(scene *s, const char *bid, const char *ask)
{
    if (bid) {
        teller_tell in = {.bid = dec(bid), .ask = dec(ask), .id = ++s->top_id};
        assert_int_equal(teller_post_tell(s->w.node, s->teller, in), STOA_OK);
    } else {
        uint64_t buys = stoa_random_below(&chance, 2);
        trade_account_place in = {.client_order_id = ++s->w.clients,
                                  .symbol = stoa_text("BTCUSDT"),
                                  .side = buys ? trade_side_BUY : trade_side_SELL,
                                  .tif = trade_tif_IOC,
                                  .price = dec(buys ? "110" : "90"),
                                  .qty = dec("0.3")};
        const stoa_row *row = &trade_account_rows[trade_account_ROW_place];
        assert_int_equal(stoa_post(s->w.node, s->w.accounts[1], row, &in), STOA_OK);
    }
    for (uint64_t i = stoa_random_below(&chance, 25); i > 0; i--) { stoa_sim_run(s->w.sim, STOA_US(200)); }
    world_crash(&s->w);
    attach(s);
    settle(s);
}

static void act_at_random(scene *s)
{
    char bid[32], ask[32];
    uint64_t cents = 9800 + stoa_random_below(&chance, 400);
    (void)snprintf(bid, sizeof bid, "%" PRIu64 ".%02" PRIu64, cents / 100, cents % 100);
    (void)snprintf(ask, sizeof ask, "%" PRIu64 ".%02" PRIu64, (cents + 2) / 100, (cents + 2) % 100);
    switch (stoa_random_below(&chance, 12)) {
    case 0: (void)take(s, trade_side_BUY, "110", "0.3"); break;
    case 1: (void)take(s, trade_side_SELL, "90", "0.3"); break;
    case 2: (void)take(s, trade_side_BUY, "110", "2"); break;
    case 3: (void)take(s, trade_side_SELL, "90", "2"); break;
    case 4: tell(s, "0", ask); break;
    case 5: stoa_sim_run(s->w.sim, STOA_MS(1) * stoa_random_below(&chance, 15000)); break;
    case 6: fail_amid(s, bid, ask); break;
    case 7: fail_amid(s, NULL, NULL); break;
    default: tell(s, bid, ask);
    }
}

static uint64_t run(uint64_t seed)
{
    stoa_random_seed(&chance, seed);
    scene s = scene_new(seed, true);
    for (int i = 0; i < 60; i++) {
        act_at_random(&s);
        settle(&s);
        check_invariants(&s);
    }
    stoa_sim_run(s.w.sim, STOA_S(30)); /* every question is settled by then */
    tell(&s, "100", "100.02");
    strategy_quoter_state is = status(&s);
    bool may_buy = is.inventory + is.config.qty <= is.config.inventory_max;
    bool may_sell = is.inventory - is.config.qty >= -is.config.inventory_max;
    assert_int_equal(is.bid.phase, may_buy ? strategy_quoter_phase_WORKING : strategy_quoter_phase_IDLE);
    assert_int_equal(is.ask.phase, may_sell ? strategy_quoter_phase_WORKING : strategy_quoter_phase_IDLE);
    assert_true(is.fills > 0);
    uint64_t hash = stoa_sim_hash(s.w.sim);
    scene_free(&s);
    return hash;
}

static const stoa_seeds seeds = {.count = 20, .deep = 500, .run = run};

static void it_stays_sound_whatever_happens(void **state)
{
    const uint64_t seed = *(const uint64_t *)*state;
    for (uint64_t i = 0; i < 4; i++) { (void)run(seed + i); }
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const char *given = getenv("STOA_SEED");
    static uint64_t seed;
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("STOA_SEED=%" PRIu64 "\n", seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_quotes_both_sides_of_the_top),
        cmocka_unit_test(orders_move_only_as_far_as_it_is_worth),
        cmocka_unit_test(a_fill_moves_both_quotes_against_the_inventory),
        cmocka_unit_test(the_inventory_limit_holds),
        cmocka_unit_test(a_silent_market_is_not_quoted),
        cmocka_unit_test(a_one_sided_or_crossed_market_is_not_quoted),
        cmocka_unit_test(it_pauses_and_resumes_on_command),
        cmocka_unit_test(refused_orders_are_tried_again_but_not_at_once),
        cmocka_unit_test(a_quote_that_would_take_waits),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(its_orders_are_adopted_after_a_power_cut),
        cmocka_unit_test(an_unanswered_order_is_asked_about),
        cmocka_unit_test_prestate(it_stays_sound_whatever_happens, &seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
