/* loss_test.c - goal: no message of a cascade can be lost alone: whichever it is, the cascade is refused as a whole, and money, orders
 * and books are as before it.
 *
 * Method: scenes of a market - transfers, orders that rest, trade, sweep, are cancelled - are played again and again, and each time the
 * next one of their turns is lost (its actor fails in its place), or finds no memory, or its actor fails behind it. What was refused
 * must have left no trace: not in a state, not in the log, not on a topic. The time at which the scene plays undisturbed, money and
 * replay are looked at. On shards that are durable on disk and in memory; and with the power cut behind the loss.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/trade_world.h"

#include "base/log.h"
#include "runtime/internal.h"

enum { MAKERS = 3, TAKER = 3, SELLER = 4, ACCOUNTS = 5, SWEPT = 600, HURRY = 41 };

typedef struct scene {
    const char *name;
    unsigned messages; /* at least, that one can be lost */
    void (*prepare)(world *w);
    stoa_err (*act)(world *w); /* the same each time, until it has happened */
} scene;

/* --- what happens in them */

static stoa_err order(world *w, unsigned account, uint64_t client, trade_side side, trade_tif tif, const char *price, const char *qty,
                      trade_order *out)
{
    trade_account_order answer = {0};
    trade_account_place in = {.client_order_id = client, .symbol = world_symbols[0].name, .side = side, .tif = tif,
                              .price = dec(price), .qty = dec(qty)};
    stoa_err err = trade_account_call_place(w->node, w->accounts[account], in, WORLD_DEADLINE, &answer);
    if (!err && out) { *out = answer.order; }
    return err;
}

static void fund(world *w)
{
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        deposit(w, a, "USDT", "100000");
        deposit(w, a, "BTC", "1000");
    }
    w->clients++;
    w->transfers++;
}

static void post_makers(world *w)
{
    fund(w);
    for (unsigned a = 0; a < MAKERS; a++) {
        assert_int_equal(order(w, a, w->clients, trade_side_SELL, trade_tif_GTC, "100", "2", NULL), STOA_OK);
    }
    assert_int_equal(order(w, TAKER, w->clients++, trade_side_SELL, trade_tif_GTC, "200", "1", NULL), STOA_OK);
}

static void post_many(world *w)
{
    post_makers(w);
    for (unsigned i = 0; i < SWEPT; i++) {
        assert_int_equal(order(w, i % MAKERS, w->clients++, trade_side_SELL, trade_tif_GTC, "100", "0.01", NULL), STOA_OK);
    }
}

static void post_one(world *w)
{
    fund(w);
    assert_int_equal(order(w, TAKER, 1, trade_side_BUY, trade_tif_GTC, "90", "1", NULL), STOA_OK);
}

static stoa_err pay(world *w)
{
    return transfer(w, w->accounts[0], w->transfers, "a1", "USDT", dec("7"));
}

static stoa_err issue(world *w)
{
    return transfer(w, w->bank, w->transfers, "a1", "USDT", dec("7"));
}

static stoa_err rest_first(world *w)
{
    return order(w, SELLER, w->clients, trade_side_SELL, trade_tif_GTC, "150", "1", NULL);
}

static stoa_err take_all(world *w)
{
    return order(w, TAKER, w->clients, trade_side_BUY, trade_tif_GTC, "110", "7", NULL);
}

static stoa_err take_part(world *w)
{
    return order(w, TAKER, w->clients, trade_side_BUY, trade_tif_IOC, "110", "3", NULL);
}

static stoa_err miss(world *w)
{
    return order(w, TAKER, w->clients, trade_side_BUY, trade_tif_FOK, "110", "70", NULL);
}

static stoa_err ask_too_much(world *w)
{
    return order(w, TAKER, w->clients, trade_side_BUY, trade_tif_GTC, "110", "7000", NULL);
}

static stoa_err meet_oneself(world *w)
{
    return order(w, TAKER, w->clients, trade_side_BUY, trade_tif_GTC, "210", "9", NULL);
}

static stoa_err sweep(world *w)
{
    return order(w, TAKER, w->clients, trade_side_BUY, trade_tif_GTC, "110", "13", NULL);
}

static stoa_err cancel(world *w)
{
    trade_account_order answer;
    trade_account_cancel in = {.client_order_id = 1};
    return trade_account_call_cancel(w->node, w->accounts[TAKER], in, WORLD_DEADLINE, &answer);
}

static const scene scenes[] = {
    {"an amount is sent", 3, fund, pay},
    {"an amount is issued", 3, fund, issue},
    {"a first order rests", 6, fund, rest_first},
    {"an order takes all and rests", 11, post_makers, take_all},
    {"an order takes a part and goes", 9, post_makers, take_part},
    {"an order finds too little", 5, post_makers, miss},
    {"risk refuses an order", 3, post_makers, ask_too_much},
    {"an order meets one of its own account", 11, post_makers, meet_oneself},
    {"an order sweeps through several turns of the book", SWEPT, post_many, sweep},
    {"an order is cancelled", 3, post_one, cancel},
};
enum { SCENES = sizeof scenes / sizeof scenes[0] };

/* --- who listens */

static void count_one(void *context, const stoa_delivery *delivery)
{
    (void)delivery;
    ++*(unsigned *)context;
}

static unsigned heard(stoa_port *port)
{
    unsigned count = 0;
    while (stoa_port_poll(port, count_one, &count, 64)) {}
    return count;
}

static stoa_port *listen(world *w)
{
    stoa_port *port;
    assert_int_equal(stoa_port_open(w->node, "listener", &port), STOA_OK);
    assert_int_equal(stoa_port_subscribe(port, "trade.>"), STOA_OK);
    return port;
}

/* --- losing */

/* The next turn to lose: all of a short scene; of a long one the first ones, and then, unless there is time, some. */
static uint64_t next(uint64_t k)
{
    return k < 20 || getenv("STOA_DEEP") ? k + 1 : k + HURRY;
}

static void rest_a_while(world *w)
{
    assert_int_equal(stoa_sim_settle(w->sim, 10000000), STOA_OK);
    stoa_sim_run(w->sim, STOA_MS(1200)); /* who fails again is away for up to a second */
    assert_null(stoa_sim_dead(w->sim));
}

static void finish(world *w, const scene *s, uint64_t lost)
{
    if (lost < s->messages) { fail_msg("%s: only %llu turns", s->name, (unsigned long long)lost); }
    rest_a_while(w);
    stoa_err err = s->act(w); /* again, which changes nothing */
    if (err) { fail_msg("%s, again: %s", s->name, stoa_err_name(err)); }
    check_money(w);
    check_replay(w);
    if (world_durability > stoa_durability_MEMORY) {
        world_crash(w);
        check_money(w);
    }
    world_free(w);
}

/* Have the next turn but skip struck. */
static void arm(world *w, stoa_sim_fault fault, uint64_t skip)
{
    assert_int_equal(stoa_sim_inject(w->sim, &(stoa_sim_injection){.fault = fault, .skip = skip}), STOA_OK);
}

/* What did not strike does so now, and harms nobody. */
static void disarm(world *w, stoa_sim_fault fault, uint64_t faults)
{
    trade_account_holdings out;
    while (stoa_sim_faulted(w->sim, fault) == faults) {
        (void)trade_account_call_balances(w->node, w->accounts[0], (trade_account_balances){{0}}, WORLD_DEADLINE, &out);
    }
}

static void lose_each(const scene *s, uint64_t seed)
{
    world w = world_new(seed, ACCOUNTS);
    s->prepare(&w);
    stoa_port *port = listen(&w);
    uint64_t k = 0;
    for (;; k = next(k)) {
        rest_a_while(&w);
        (void)heard(port);
        uint64_t before = fingerprint(&w), faults = stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST);
        arm(&w, STOA_SIM_TURN_LOST, k);
        stoa_err err = s->act(&w);
        if (stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST) == faults) {
            assert_int_equal(err, STOA_OK);
            disarm(&w, STOA_SIM_TURN_LOST, faults);
            break;
        }
        rest_a_while(&w);
        bool same = before == fingerprint(&w);
        unsigned told = heard(port);
        if (err != STOA_E_FAILED || !same || told) {
            fail_msg("%s, turn %llu lost: %s, %s, %u heard", s->name, (unsigned long long)k, stoa_err_name(err),
                     same ? "nothing happened" : "something happened", told);
        }
    }
    finish(&w, s, k);
}

static void lose_all(uint64_t seed)
{
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    for (unsigned i = 0; i < SCENES; i++) { lose_each(&scenes[i], seed + i); }
}

static void a_cascade_that_loses_a_turn_has_not_happened(void **state)
{
    (void)state;
    world_durability = stoa_durability_DISK;
    lose_all(1);
}

static void nor_has_it_where_only_memory_was_promised(void **state)
{
    (void)state;
    world_durability = stoa_durability_MEMORY;
    lose_all(101);
}

/* --- the actor fails behind its turn: what it sent goes on */

static void an_actor_that_fails_behind_its_turn_loses_nothing(void **state)
{
    (void)state;
    world_durability = stoa_durability_DISK;
    stoa_log_level_set(STOA_LOG_OFF);
    for (unsigned i = 0; i < SCENES; i++) {
        const scene *s = &scenes[i];
        if (s->messages >= SWEPT) { continue; }
        for (uint64_t k = 0, struck = 1; struck; k++) {
            world w = world_new(200 + i, ACCOUNTS);
            s->prepare(&w);
            rest_a_while(&w);
            arm(&w, STOA_SIM_TURN_LAST, k);
            assert_int_equal(s->act(&w), STOA_OK);
            struck = stoa_sim_faulted(w.sim, STOA_SIM_TURN_LAST);
            rest_a_while(&w);
            disarm(&w, STOA_SIM_TURN_LAST, 0);
            finish(&w, s, struck ? s->messages : k);
        }
    }
}

/* --- a power cut while it is lost */

static void what_was_lost_stays_so_behind_a_power_cut(void **state)
{
    (void)state;
    world_durability = stoa_durability_DISK;
    stoa_log_level_set(STOA_LOG_OFF);
    for (unsigned i = 0; i < SCENES; i++) {
        const scene *s = &scenes[i];
        world w = world_new(300 + i, ACCOUNTS);
        s->prepare(&w);
        uint64_t k = 0;
        for (;; k = next(k)) {
            rest_a_while(&w);
            uint64_t before = fingerprint(&w), faults = stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST);
            arm(&w, STOA_SIM_TURN_LOST, k);
            stoa_err err = s->act(&w);
            if (stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST) == faults) {
                disarm(&w, STOA_SIM_TURN_LOST, faults);
                break;
            }
            world_crash(&w);
            assert_int_equal(err, STOA_E_FAILED);
            assert_true(before == fingerprint(&w));
        }
        finish(&w, s, k);
    }
}

/* --- no memory from the kth turn on */

static struct hunger {
    world *w;
    uint64_t left; /* turns until then; 0: now, or not at all */
    bool waits;
    stoa_msg *taken;
} hunger;

static void take_memory(stoa_slab *slab)
{
    stoa_msg *block;
    for (uint32_t size_class = STOA_SLAB_CLASSES; size_class--;) {
        while ((block = stoa_slab_new(slab, size_class ? (UINT32_C(64) << size_class) - 64 : 0, 0)) != NULL) {
            block->next = hunger.taken;
            hunger.taken = block;
        }
    }
}

static void give_memory(stoa_slab *slab)
{
    while (hunger.taken) {
        stoa_msg *block = hunger.taken;
        hunger.taken = block->next;
        stoa_slab_free(slab, block);
    }
}

static void count_turns(void *context, const stoa_sim_event *event)
{
    (void)context;
    if (event->what != STOA_SIM_TURN || !hunger.waits || hunger.left-- > 0) { return; }
    hunger.waits = false;
    take_memory(&hunger.w->node->cores[0]->place.slab);
}

static void a_cascade_that_finds_no_memory_happens_or_not(void **state)
{
    (void)state;
    world_durability = stoa_durability_DISK;
    stoa_log_level_set(STOA_LOG_OFF);
    world_observer = count_turns;
    unsigned refused = 0;
    for (unsigned i = 0; i < SCENES; i++) {
        const scene *s = &scenes[i];
        world w = world_new(400 + i, ACCOUNTS);
        s->prepare(&w);
        uint64_t k = 0;
        for (stoa_err err = STOA_E_FULL; err; k = next(k)) {
            rest_a_while(&w);
            uint64_t before = fingerprint(&w);
            hunger = (struct hunger){.w = &w, .left = k, .waits = true};
            err = s->act(&w);
            hunger.waits = false;
            give_memory(&w.node->cores[0]->place.slab);
            rest_a_while(&w);
            if (!err) { break; }
            bool listed = s->prepare == fund && s->act == rest_first; /* the rules of a symbol may be known now */
            if (!listed && before != fingerprint(&w)) { fail_msg("%s: no memory from turn %llu on", s->name, (unsigned long long)k); }
            check_money(&w);
            refused++;
        }
        finish(&w, s, s->messages);
    }
    world_observer = NULL;
    assert_true(refused >= SCENES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cascade_that_loses_a_turn_has_not_happened),
        cmocka_unit_test(nor_has_it_where_only_memory_was_promised),
        cmocka_unit_test(an_actor_that_fails_behind_its_turn_loses_nothing),
        cmocka_unit_test(what_was_lost_stays_so_behind_a_power_cut),
        cmocka_unit_test(a_cascade_that_finds_no_memory_happens_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
