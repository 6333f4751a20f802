/* transfer_test.c - goal: a transfer between accounts of different shards arrives once or comes back, whichever turn of it is lost, and
 * what does not fit is refused. Method: the shards of transfer_world.h, one transfer at a time, a fault at each turn on its way.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/transfer_world.h"

static void an_amount_arrives_in_another_shard_or_comes_back(void **context)
{
    (void)context;
    world w = world_new(1, 0);
    assert_int_equal(transfer(&w, 0, "alice", 1, 500), STOA_OK);
    assert_int_equal(transfer(&w, 1, "safe", 1, 200), STOA_OK);
    assert_int_equal(transfer(&w, 1, "safe", 1, 200), STOA_OK); /* again */
    assert_int_equal(transfer(&w, 1, "safe", 1, 100), STOA_E_DUPLICATE);
    assert_int_equal(transfer(&w, 1, "chest", 1, 200), STOA_E_DUPLICATE);
    assert_int_equal(transfer(&w, 1, "safe", 2, 301), STOA_E_RANGE);
    assert_int_equal(transfer(&w, 1, "nobody", 2, 1), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_sim_settle(w.sim, 1000000), STOA_OK);
    assert_int_equal(total(&w, 1), 300);
    assert_int_equal(total(&w, 2), 200);
    /* an account that was spawned and never opened refuses it */
    stoa_ref closed;
    stoa_spawn_options options = {.shard = w.shards[2]};
    assert_int_equal(stoa_spawn(w.node, &trade_account_kind, "trade_account/closed", &options, &closed), STOA_OK);
    assert_int_equal(transfer(&w, 1, "closed", 3, 50), STOA_OK);
    assert_int_equal(stoa_sim_settle(w.sim, 1000000), STOA_OK);
    assert_int_equal(total(&w, 1), 300);
    assert_int_equal(transfer(&w, 1, "closed", 3, 50), STOA_E_CANCELLED); /* it came back */
    trade_account_place order = {.client_order_id = 1, .symbol = stoa_text("BTCUSDT")};
    trade_account_order out;
    assert_int_equal(trade_account_call_place(w.node, w.accounts[2], order, DEADLINE, &out), STOA_E_UNSUPPORTED); /* a wallet */
    trade_account_deposit forged = {.transfer_id = 9, .asset = stoa_text("USDT"), .amount = 1000};
    assert_int_equal(trade_account_post_deposit(w.node, w.accounts[1], forged), STOA_OK); /* nobody mailed it */
    assert_int_equal(stoa_sim_settle(w.sim, 1000000), STOA_OK);
    check(&w);
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
}

static void come_to_rest(world *w)
{
    stoa_sim_run(w->sim, STOA_S(20)); /* who fails often is away for a second */
    assert_int_equal(stoa_sim_settle(w->sim, 10000000), STOA_OK);
    assert_null(stoa_sim_dead(w->sim));
}

/* Each turn on the way, there and back, is lost once; a transfer that failed has not happened. */
static void whichever_turn_of_it_is_lost(void **context)
{
    (void)context;
    static const struct { uint32_t from; const char *to; stoa_decimal arrives; uint64_t turns; } ways[] = {
        {1, "safe", 1, 2}, {2, "alice", 1, 2}, {2, "chest", 1, 3}, {1, "closed", 0, 3}, {2, "pension", 1, 2}};
    stoa_ref closed;
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    world w = world_new(3, 0);
    assert_int_equal(stoa_spawn(w.node, &trade_account_kind, "trade_account/closed", &(stoa_spawn_options){.shard = w.shards[2]}, &closed),
                     STOA_OK);
    assert_int_equal(transfer(&w, 0, "alice", 1, 10000), STOA_OK);
    assert_int_equal(transfer(&w, 0, "safe", 2, 10000), STOA_OK);
    come_to_rest(&w);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        uint64_t struck = 1;
        for (uint64_t k = 0; struck; k++) {
            stoa_decimal before = total(&w, ways[i].from);
            uint64_t faults = stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST);
            assert_int_equal(stoa_sim_inject(w.sim, &(stoa_sim_injection){.fault = STOA_SIM_TURN_LOST, .skip = k}), STOA_OK);
            stoa_err err = transfer(&w, ways[i].from, ways[i].to, 100 * (i + 1) + k, 7);
            come_to_rest(&w);
            struck = stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST) - faults;
            if (!struck) { assert_true(k >= ways[i].turns && !err); }
            while (stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST) == faults) { (void)transfer(&w, 0, "nobody", 1, 1); }
            come_to_rest(&w);
            stoa_decimal gone = before - total(&w, ways[i].from);
            assert_true(gone == 0 || (gone == 7 && !err && ways[i].arrives));
            check(&w);
        }
    }
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
}

static void who_fails_often_hears_of_what_came_back_all_the_same(void **context)
{
    (void)context;
    stoa_ref closed;
    stoa_log_level_set(STOA_LOG_OFF);
    world w = world_new(4, 0);
    assert_int_equal(stoa_spawn(w.node, &trade_account_kind, "trade_account/closed", &(stoa_spawn_options){.shard = w.shards[2]}, &closed),
                     STOA_OK);
    assert_int_equal(transfer(&w, 0, "alice", 1, 500), STOA_OK);
    come_to_rest(&w);
    for (int i = 0; i < 20; i++) { /* all but the first turn, which sends it */
        stoa_sim_injection lost = {.fault = STOA_SIM_TURN_LOST, .at = "trade_account/alice", .skip = 1};
        assert_int_equal(stoa_sim_inject(w.sim, &lost), STOA_OK);
    }
    assert_int_equal(transfer(&w, 1, "closed", 1, 50), STOA_OK);
    come_to_rest(&w);
    assert_int_equal(stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST), 20);
    assert_int_equal(total(&w, 1), 500);
    check(&w);
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_amount_arrives_in_another_shard_or_comes_back),
        cmocka_unit_test(whichever_turn_of_it_is_lost),
        cmocka_unit_test(who_fails_often_hears_of_what_came_back_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
