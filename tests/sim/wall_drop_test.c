/* wall_drop_test.c - goal: a shard that cannot commit is dropped and comes back as its log has it, and nobody hears of what it took with
 * it. Method: the keeper of wall_stage.h; drops by order, by a journal that refuses, on a full disk, by a later epoch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/wall_stage.h"

static void nobody_hears_of_what_a_drop_took(void **unused)
{
    (void)unused;
    for (unsigned target = 0; target < OUTSIDE; target++) {
        for (uint64_t way = 0; way < WAY_COUNT; way++) {
            begin(target);
            set_out(way);
            assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK);
            uint32_t downs = OUTSIDE; /* their monitors hear that the keeper began anew, and that alone */
            go(STOA_MS(500));
            assert_int_equal(state()->count, 0);
            bool gone = s.answers != (way >= WAY_LATER && way != WAY_FAIL ? 2 : 1) || s.heard > downs || s.error != STOA_E_UNAVAILABLE;
            if (gone) { fail_msg("way %u: %u heard, %u answers, %s", (unsigned)way, s.heard, s.answers, stoa_err_name(s.error)); }
            ask(&keeper_rows[keeper_ROW_again], &(keeper_again){WAY_READ});
            go(STOA_S(1));
            assert_int_equal(s.error, STOA_OK);
            assert_int_equal(s.count, 0);
            end();
        }
    }
}

static void a_refused_block_drops_the_shard_and_a_retry_has_one_effect(void **unused)
{
    (void)unused;
    begin(0);
    stoa_request_name name = {1, 1, 1};
    stoa_sim_injection refuses = {.fault = STOA_SIM_DISK_REFUSES, .at = "wall"};
    assert_int_equal(stoa_sim_inject(s.sim, &refuses), STOA_OK);
    for (int i = 0; i < 3; i++) {
        const stoa_row *row = &keeper_rows[keeper_ROW_keep];
        assert_int_equal(stoa_port_ask_once(s.port, s.keeper, row, &(keeper_keep){WAY_ANSWER}, &name, STOA_S(60), 1), STOA_OK);
        stoa_port_flush(s.port);
        go(STOA_S(1));
        assert_int_equal(s.answers, i + 1);
        assert_int_equal(s.error, i ? STOA_OK : STOA_E_UNAVAILABLE);
    }
    stoa_shard_view view;
    assert_int_equal(stoa_shard_look(s.shard, &view), STOA_OK);
    assert_int_equal(view.drops, 1);
    assert_false(view.down);
    assert_int_equal(state()->count, 1);
    check_log();
    end();
}

static stoa_shard_view look(void)
{
    stoa_shard_view view;
    assert_int_equal(stoa_shard_look(s.shard, &view), STOA_OK);
    return view;
}

static void a_drop_on_a_full_disk_is_refused_and_changes_nothing(void **unused)
{
    (void)unused;
    for (uint64_t way = 0; way < WAY_COUNT; way++) {
        begin(0);
        stoa_sim_injection full = {.fault = STOA_SIM_DISK_FULL, .at = "wall", .for_ns = STOA_MS(200)};
        set_out(way);
        uint32_t heard = s.heard;
        assert_int_equal(stoa_sim_inject(s.sim, &full), STOA_OK);
        assert_int_equal(stoa_shard_drop(s.shard, EPOCH + 1), STOA_E_FULL);
        assert_int_equal(look().drops, 0);
        assert_true(look().epoch == EPOCH);
        go(STOA_MS(100));
        assert_int_equal(s.heard, heard);
        go(STOA_S(2));
        assert_int_equal(state()->count, 1);
        check_log();
        end();
    }
}

/* The disk fills behind the block that the journal refuses, before the log is synced. */
static void a_shard_that_its_journal_drops_on_a_full_disk_is_down_until_there_is_space(void **unused)
{
    (void)unused;
    begin(0);
    stoa_sim_injection refuses = {.fault = STOA_SIM_DISK_REFUSES, .at = "wall"};
    stoa_sim_injection full = {.fault = STOA_SIM_DISK_FULL, .at = "wall", .for_ns = STOA_MS(450), .skip = 1};
    assert_int_equal(stoa_sim_inject(s.sim, &refuses), STOA_OK);
    assert_int_equal(stoa_sim_inject(s.sim, &full), STOA_OK);
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_MS(150));
    assert_int_equal(s.answers, 0); /* the block may be in the log */
    assert_true(look().down);
    ask(&keeper_rows[keeper_ROW_again], &(keeper_again){WAY_READ});
    go(STOA_MS(1));
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.error, STOA_E_UNAVAILABLE);
    assert_int_equal(stoa_shard_drop(s.shard, EPOCH + 1), STOA_E_FULL);
    assert_true(look().down && look().epoch == EPOCH && look().drops == 0);
    go(STOA_MS(600));
    assert_int_equal(s.answers, 2);
    assert_int_equal(s.error, STOA_E_UNAVAILABLE);
    assert_true(!look().down && look().drops == 1);
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_S(1));
    assert_int_equal(s.error, STOA_OK);
    assert_int_equal(state()->count, s.count);
    check_log();
    end();
}

static void what_was_committed_survives_a_drop_and_timers_run_again(void **unused)
{
    (void)unused;
    begin(0);
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_S(1));
    assert_int_equal(s.error, STOA_OK);
    stoa_ref before = s.keeper;
    assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK);
    assert_int_equal(s.resumed, 1);
    assert_int_equal(state()->count, 1);
    assert_true(stoa_ref_equal(stoa_find(s.node, "keeper/k"), before));
    go(STOA_S(35));
    assert_int_equal(state()->ticks, 3);
    check_log();
    crash();
    go(STOA_S(1));
    assert_int_equal(state()->count, 1);
    assert_int_equal(state()->ticks, 3);
    end();
}

/* The port does not answer: the deadline of the question that resume asked anew ends it. */
static void resume_arms_timers_and_asks_and_replay_runs_no_handler(void **unused)
{
    (void)unused;
    begin(0);
    for (int i = 0; i < 5; i++) { ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER}); }
    go(STOA_S(1));
    assert_int_equal(state()->count, 5);
    uint32_t handled = s.handled;
    crash();
    assert_int_equal(state()->count, 5);
    assert_int_equal(s.handled, handled);
    assert_int_equal(s.resumed, 1);
    assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK); /* the port is there now */
    assert_int_equal(s.handled, handled);
    assert_int_equal(s.resumed, 2);
    assert_int_equal(s.asked, STOA_E_AGAIN);
    go(STOA_S(12));
    assert_int_equal(s.asked, STOA_E_TIMEOUT);
    assert_int_equal(state()->ticks, 1);
    end();
}

static void an_actor_whose_spawning_was_lost_is_spawned_again(void **unused)
{
    (void)unused;
    begin(0);
    stoa_ref late;
    assert_int_equal(stoa_spawn(s.node, &keeper_kind, "keeper/late", &(stoa_spawn_options){.shard = s.shard}, &late), STOA_OK);
    assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK);
    s.keeper = late;
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_S(1));
    assert_int_equal(s.error, STOA_OK);
    check_log();
    crash();
    assert_int_equal(((const keeper *)stoa_sim_state(s.sim, stoa_find(s.node, "keeper/late"), NULL))->count, 1);
    end();
}

static void a_deposed_shard_is_down_until_it_gets_a_later_epoch(void **unused)
{
    (void)unused;
    begin(0);
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_S(1));
    assert_int_equal(stoa_shard_drop(s.shard, EPOCH - 1), STOA_E_STALE);
    ask(&keeper_rows[keeper_ROW_again], &(keeper_again){WAY_READ});
    go(STOA_S(20));
    assert_int_equal(s.error, STOA_E_UNAVAILABLE);
    stoa_shard_view view;
    assert_int_equal(stoa_shard_look(s.shard, &view), STOA_OK);
    assert_true(view.down);
    stoa_ref other;
    assert_int_equal(stoa_spawn(s.node, &keeper_kind, "keeper/other", &(stoa_spawn_options){.shard = s.shard}, &other),
                     STOA_E_UNAVAILABLE);
    assert_int_equal(stoa_shard_drop(s.shard, EPOCH + 1), STOA_OK);
    ask(&keeper_rows[keeper_ROW_again], &(keeper_again){WAY_READ});
    go(STOA_S(1));
    assert_int_equal(s.error, STOA_OK);
    assert_int_equal(s.count, 1);
    check_log();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_hears_of_what_a_drop_took),
        cmocka_unit_test(a_refused_block_drops_the_shard_and_a_retry_has_one_effect),
        cmocka_unit_test(a_drop_on_a_full_disk_is_refused_and_changes_nothing),
        cmocka_unit_test(a_shard_that_its_journal_drops_on_a_full_disk_is_down_until_there_is_space),
        cmocka_unit_test(what_was_committed_survives_a_drop_and_timers_run_again),
        cmocka_unit_test(resume_arms_timers_and_asks_and_replay_runs_no_handler),
        cmocka_unit_test(an_actor_whose_spawning_was_lost_is_spawned_again),
        cmocka_unit_test(a_deposed_shard_is_down_until_it_gets_a_later_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
