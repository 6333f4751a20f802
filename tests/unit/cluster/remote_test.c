/* remote_test.c - goal: what cluster/remote/remote.h promises, case by case. Method: two or three simulated nodes in one process, a
 * simulated network between them, and actors that do as they are told (remote_kit.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cluster/remote_kit.h"

#include "base/log.h"

static int setup(void **state)
{
    kit *k = calloc(1, sizeof *k);
    *state = k;
    return k ? 0 : -1;
}

static int teardown(void **state)
{
    kit_close(*state);
    free(*state);
    return 0;
}

/* --- names */

static void an_actor_is_found_on_other_nodes(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    kit_spawn(k, 0, "talker/ann");
    kit_run(k, 5);
    assert_true(stoa_find(k->nodes[1].node, "talker/ann").at != 0);
    kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    assert_true(stoa_find(k->nodes[0].node, "talker/bob").at != 0);
    stoa_remote_peer_view b = kit_peer(k, 0, "b");
    assert_int_equal(b.names, 1);
    assert_int_equal(b.stands, 1);
    assert_int_equal(b.told, 1);
    assert_int_equal(b.counts.malformed, 0);
}

static void a_name_does_not_go_on_to_a_third_node(void **state)
{
    kit *k = *state;
    kit_open(k, 3);
    kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    assert_true(stoa_find(k->nodes[0].node, "talker/bob").at != 0);
    assert_true(stoa_find(k->nodes[2].node, "talker/bob").at == 0);
}

static void the_lesser_node_has_a_name_and_the_other_inherits_it(void **state)
{
    kit *k = *state;
    kit_open(k, 3);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_ref c = kit_spawn(k, 2, "talker/one");
    kit_run(k, 5);
    stoa_ref b = kit_spawn(k, 1, "talker/one");
    kit_run(k, 5);
    assert_int_equal(kit_peer(k, 0, "b").names, 1);
    assert_int_equal(kit_peer(k, 0, "c").names, 0);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann");
    kit_go(k, 0, ann, "talker/one", TALK_SAY, 1, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 1, b)->said, 1);
    assert_int_equal(stoa_stop(k->nodes[1].node, b), STOA_OK);
    kit_run(k, 5);
    assert_int_equal(kit_peer(k, 0, "c").names, 1);
    kit_go(k, 0, ann, "talker/one", TALK_SAY, 2, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 2, c)->said_last, 2);
    stoa_log_level_set(STOA_LOG_INFO);
}

/* --- casts */

static void who_sends_can_be_answered(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    for (uint64_t n = 1; n <= 50; n++) { kit_go(k, 0, ann, "talker/bob", TALK_SAY, n, 0); }
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 1, bob)->said, 50);
    assert_int_equal(kit_state(k, 1, bob)->said_last, 50);
    assert_int_equal(kit_state(k, 0, ann)->echoed, 50);
    assert_int_equal(kit_state(k, 0, ann)->echoed_last, 50);
    assert_int_equal(kit_peer(k, 0, "b").stands, 1);
}

static void a_control_row_goes_on_the_control_lane(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_POKE, 1, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 1, bob)->poked, 1);
    assert_int_equal(kit_peer(k, 0, "b").session.lanes[STOA_LANE_CONTROL].next, 2);
}

static void what_is_larger_than_a_batch_comes_in_pieces(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_LONG, 200000, 0);
    kit_go(k, 0, ann, "talker/bob", TALK_LONG, 3, 0);
    kit_go(k, 0, ann, "talker/bob", TALK_SAY, 9, 0);
    kit_run(k, 60);
    assert_int_equal(kit_state(k, 1, bob)->longs, 200003);
    assert_int_equal(kit_state(k, 1, bob)->said_last, 9);
}

/* --- asks */

static void an_ask_is_answered_refused_or_late(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_ADD, 3, 100);
    kit_go(k, 0, ann, "talker/bob", TALK_ADD, 4, 100);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 0, ann)->answers, 2);
    assert_int_equal(kit_state(k, 0, ann)->answer_sum, 7);
    assert_int_equal(kit_state(k, 0, ann)->answer_error, STOA_OK);
    kit_go(k, 0, ann, "talker/bob", TALK_FORGET, 6, 100); /* refused with -6 */
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 0, ann)->answer_error, STOA_E_DENIED);
    kit_go(k, 0, ann, "talker/bob", TALK_ADD, UINT64_MAX, 20);
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 0, ann)->answers, 3);
    assert_int_equal(kit_peer(k, 0, "b").asks_out, 1);
    assert_int_equal(kit_peer(k, 1, "a").asks_in, 1);
    kit_run(k, 100);
    assert_int_equal(kit_state(k, 0, ann)->answers, 4);
    assert_int_equal(kit_state(k, 0, ann)->answer_error, STOA_E_TIMEOUT);
    assert_int_equal(kit_peer(k, 0, "b").asks_out, 0);
    assert_int_equal(kit_peer(k, 1, "a").asks_in, 0);
    assert_int_equal(kit_state(k, 1, bob)->sum, 7);
}

/* --- ends */

static void who_watches_hears_of_an_end_and_its_reason(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob"), eve = kit_spawn(k, 1, "talker/eve");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_MONITOR, 0, 0);
    kit_run(k, 5);
    assert_int_equal(stoa_stop(k->nodes[1].node, bob), STOA_OK);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 0, ann)->downs, 1);
    assert_int_equal(kit_state(k, 0, ann)->down_reason, stoa_end_SHUTDOWN);
    assert_string_equal(kit_state(k, 0, ann)->down_text, "stopped");
    assert_true(stoa_find(k->nodes[0].node, "talker/bob").at == 0);
    kit_go(k, 0, ann, "talker/eve", TALK_MONITOR, 0, 0);
    kit_run(k, 5);
    stoa_log_level_set(STOA_LOG_OFF);
    assert_int_equal(stoa_sim_fail(k->nodes[1].sim, eve, "broke down"), STOA_OK); /* and is restarted */
    kit_run(k, 10);
    stoa_log_level_set(STOA_LOG_INFO);
    assert_int_equal(kit_state(k, 0, ann)->downs, 2);
    assert_int_equal(kit_state(k, 0, ann)->down_reason, stoa_end_FAILED);
    assert_string_equal(kit_state(k, 0, ann)->down_text, "broke down");
    assert_true(stoa_find(k->nodes[0].node, "talker/eve").at != 0); /* another stand */
    kit_go(k, 0, ann, "talker/eve", TALK_SAY, 8, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 1, eve)->said_last, 8);
}

static void a_link_works_both_ways(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob"), eve = kit_spawn(k, 1, "talker/eve");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_LINK, 0, 0);
    kit_go(k, 0, ann, "talker/eve", TALK_SAY, 4, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 1, bob)->said, 0);
    kit_go(k, 1, bob, "talker/ann", TALK_SAY, 3, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 1, bob)->echoed, 1);
    assert_int_equal(stoa_sim_fail(k->nodes[0].sim, ann, "fell"), STOA_OK);
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 1, bob)->echoed, 0); /* it failed with it, and began anew */
    assert_int_equal(kit_state(k, 1, eve)->said, 1);   /* who was not linked did not */
    kit_go(k, 0, ann, "talker/bob", TALK_LINK, 0, 0);
    kit_go(k, 0, ann, "talker/bob", TALK_SAY, 5, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 0, ann)->echoed, 1);
    assert_int_equal(stoa_sim_fail(k->nodes[1].sim, bob, "fell"), STOA_OK);
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 0, ann)->echoed, 0);
    stoa_log_level_set(STOA_LOG_INFO);
}

/* Whoever made it, whether it traps exits or not; lost: the node is never seen again, else it is back at once. */
static void a_link_ends_with_its_node(kit *k, bool lost)
{
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), cid = kit_spawn(k, 0, "talker/cid"), eve = kit_spawn(k, 0, "talker/eve");
    stoa_ref dan = kit_trapper(k, 0, "trapper/dan"), fay = kit_trapper(k, 0, "trapper/fay");
    stoa_ref bob = kit_spawn(k, 1, "talker/bob"), gus = kit_trapper(k, 1, "trapper/gus");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_LINK, 0, 0);
    kit_link(k, 0, dan, "trapper/gus", true);
    kit_go(k, 1, bob, "talker/cid", TALK_LINK, 0, 0);
    kit_link(k, 1, gus, "trapper/fay", true);
    for (uint32_t i = 0; i < 3; i++) { kit_go(k, 1, bob, i == 0 ? "talker/ann" : i == 1 ? "talker/cid" : "talker/eve", TALK_SAY, 7, 0); }
    kit_run(k, 10);
    assert_int_equal(kit_peer(k, 0, "b").links, 2);
    assert_int_equal(kit_peer(k, 1, "a").links, 2);
    assert_int_equal(kit_state(k, 0, cid)->said, 1);
    kit_kill(k, 1);
    if (lost) {
        kit_run(k, 5000);
    } else {
        kit_begin(k, 1);
        kit_run(k, 3000);
        assert_int_equal(k->nodes[0].resets, 1);
    }
    assert_int_equal(kit_state(k, 0, ann)->said, 0); /* it failed, and began anew */
    assert_int_equal(kit_state(k, 0, cid)->said, 0);
    assert_int_equal(kit_state(k, 0, eve)->said, 1); /* who was not linked did not */
    for (uint32_t i = 0; i < 2; i++) {
        const trapper *who = kit_trapped(k, 0, i ? fay : dan);
        assert_int_equal(who->exits, 1);
        assert_int_equal(who->reason, stoa_end_LOST);
        assert_string_equal(who->text, "node lost");
    }
    assert_int_equal(kit_peer(k, 0, "b").links, 0);
    if (lost) { kit_begin(k, 1); } /* for the teardown */
    kit_run(k, 3000);
    assert_int_equal(kit_trapped(k, 0, fay)->exits, 1);
    stoa_log_level_set(STOA_LOG_INFO);
}

static void both_ends_of_a_link_hear_that_a_node_is_lost(void **state)
{
    a_link_ends_with_its_node(*state, true);
}

static void both_ends_of_a_link_hear_that_a_node_has_restarted(void **state)
{
    a_link_ends_with_its_node(*state, false);
}

/* One side is quick to take the other for lost, which has not noticed. */
static void who_was_taken_for_lost_hears_that_its_links_are_over(void **state)
{
    kit *k = *state;
    k->lost_ns[0] = STOA_MS(1);
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_ref ann = kit_trapper(k, 0, "trapper/ann"), cid = kit_trapper(k, 0, "trapper/cid");
    stoa_ref bob = kit_trapper(k, 1, "trapper/bob"), gus = kit_trapper(k, 1, "trapper/gus");
    kit_run(k, 5);
    kit_link(k, 0, ann, "trapper/bob", true);
    kit_link(k, 1, gus, "trapper/cid", true);
    kit_run(k, 10);
    assert_int_equal(stoa_remote_drop(k->nodes[1].remote, "a"), STOA_OK);
    kit_run(k, 3000);
    assert_int_equal(k->nodes[0].losts, 1);
    assert_int_equal(k->nodes[1].losts, 0);
    assert_int_equal(kit_trapped(k, 0, ann)->exits, 1);
    assert_int_equal(kit_trapped(k, 1, bob)->exits, 1);
    assert_int_equal(kit_trapped(k, 0, cid)->exits, 1);
    assert_int_equal(kit_trapped(k, 1, gus)->exits, 1);
    assert_int_equal(kit_trapped(k, 1, gus)->reason, stoa_end_LOST);
    assert_int_equal(kit_peer(k, 0, "b").links + kit_peer(k, 1, "a").links, 0);
    stoa_log_level_set(STOA_LOG_INFO);
}

static void a_link_is_taken_back_by_either_end(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_ref ann = kit_trapper(k, 0, "trapper/ann"), cid = kit_trapper(k, 0, "trapper/cid");
    stoa_ref bob = kit_trapper(k, 1, "trapper/bob"), gus = kit_trapper(k, 1, "trapper/gus");
    kit_run(k, 5);
    kit_link(k, 0, ann, "trapper/bob", true);
    kit_link(k, 0, cid, "trapper/gus", true);
    kit_run(k, 10);
    assert_int_equal(kit_peer(k, 1, "a").links, 2);
    kit_link(k, 0, ann, "trapper/bob", false); /* who made it */
    kit_link(k, 1, gus, "trapper/cid", false); /* who was linked */
    kit_run(k, 10);
    assert_int_equal(kit_peer(k, 1, "a").links, 0);
    assert_int_equal(trapper_post_end(k->nodes[0].node, ann, (trapper_end){1}), STOA_OK);
    assert_int_equal(trapper_post_end(k->nodes[1].node, gus, (trapper_end){1}), STOA_OK);
    kit_run(k, 10);
    assert_int_equal(kit_trapped(k, 1, bob)->exits, 0);
    assert_int_equal(kit_trapped(k, 0, cid)->exits, 0);
    kit_link(k, 0, cid, "trapper/bob", true);
    kit_run(k, 10);
    assert_int_equal(trapper_post_end(k->nodes[0].node, cid, (trapper_end){0}), STOA_OK);
    kit_run(k, 10);
    assert_int_equal(kit_trapped(k, 1, bob)->exits, 1); /* that it ended in order, too */
    assert_int_equal(kit_trapped(k, 1, bob)->reason, stoa_end_NORMAL);
    stoa_log_level_set(STOA_LOG_INFO);
}

static void what_a_node_says_fails_so_many_at_once_and_the_others_later(void **state)
{
    enum { MANY = 30, AT_ONCE = 20 };
    kit *k = *state;
    stoa_ref who[MANY], bob[MANY];
    char name[32];
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "trapper/a%u", i);
        who[i] = kit_trapper(k, 0, name);
        (void)snprintf(name, sizeof name, "trapper/b%u", i);
        bob[i] = kit_trapper(k, 1, name);
    }
    kit_run(k, 10);
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "trapper/b%u", i);
        kit_link(k, 0, who[i], name, true);
    }
    kit_run(k, 10);
    for (uint32_t i = 0; i < MANY; i++) { assert_int_equal(trapper_post_end(k->nodes[0].node, who[i], (trapper_end){1}), STOA_OK); }
    uint64_t heard = 0, later = 0;
    kit_run(k, 100);
    for (uint32_t i = 0; i < MANY; i++) { heard += kit_trapped(k, 1, bob[i])->exits; }
    assert_int_equal(heard, AT_ONCE);
    kit_run(k, 10000);
    for (uint32_t i = 0; i < MANY; i++) {
        later += kit_trapped(k, 1, bob[i])->exits;
        assert_int_equal(kit_trapped(k, 1, bob[i])->reason, stoa_end_FAILED);
    }
    assert_int_equal(later, MANY);
    stoa_log_level_set(STOA_LOG_INFO);
}

static void a_lost_node_is_the_end_of_all_its_actors(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann");
    kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_MONITOR, 0, 0);
    kit_go(k, 0, ann, "talker/bob", TALK_ADD, UINT64_MAX, 60000);
    kit_run(k, 5);
    kit_kill(k, 1);
    kit_run(k, 1000);
    assert_int_equal(kit_state(k, 0, ann)->downs, 0); /* not yet: it may come back */
    kit_run(k, 4000);
    assert_int_equal(kit_state(k, 0, ann)->downs, 1);
    assert_int_equal(kit_state(k, 0, ann)->down_reason, stoa_end_LOST);
    assert_int_equal(kit_state(k, 0, ann)->answers, 1);
    assert_int_equal(kit_state(k, 0, ann)->answer_error, STOA_E_TIMEOUT);
    assert_true(stoa_find(k->nodes[0].node, "talker/bob").at == 0);
    kit_begin(k, 1);
    stoa_ref bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 3000);
    assert_int_equal(k->nodes[0].resets, 1);
    kit_go(k, 0, ann, "talker/bob", TALK_SAY, 6, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 1, bob)->said_last, 6);
    assert_int_equal(kit_state(k, 0, ann)->downs, 1);
    assert_int_equal(kit_state(k, 0, ann)->echoed_last, 6);
    stoa_log_level_set(STOA_LOG_INFO);
}

static bool is_absent(const kit *k, const char *name)
{
    stoa_absence absent;
    bool found = stoa_find_or_absent(k->nodes[0].node, name, &absent).at != 0;
    assert_true(!absent.of[0] || (!found && strcmp(absent.of, "b") == 0));
    return absent.of[0] && !absent.unmet;
}

static void the_names_of_a_lost_node_are_remembered_until_it_is_back(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    kit_spawn(k, 1, "talker/bob");
    stoa_ref eve = kit_spawn(k, 1, "talker/eve");
    kit_spawn(k, 1, "talker/dan");
    kit_run(k, 5);
    assert_int_equal(stoa_stop(k->nodes[1].node, eve), STOA_OK);
    kit_run(k, 5);
    kit_kill(k, 1);
    kit_run(k, 5000);
    assert_true(is_absent(k, "talker/bob") && is_absent(k, "talker/dan"));
    assert_false(is_absent(k, "talker/eve") || is_absent(k, "talker/fay")); /* it had ended; it never was */
    kit_begin(k, 1);
    kit_spawn(k, 1, "talker/bob");
    kit_run(k, 3000);
    assert_true(stoa_find(k->nodes[0].node, "talker/bob").at != 0);
    assert_false(is_absent(k, "talker/bob"));
    assert_true(is_absent(k, "talker/dan")); /* it may be told yet */
    assert_int_equal(stoa_remote_pause(k->nodes[0].remote, "b", true), STOA_OK);
    kit_run(k, 10000);
    assert_true(is_absent(k, "talker/dan")); /* of what it tells nothing is read */
    assert_int_equal(stoa_remote_pause(k->nodes[0].remote, "b", false), STOA_OK);
    kit_run(k, 3000);
    assert_true(is_absent(k, "talker/dan"));
    kit_run(k, 10000);
    assert_false(is_absent(k, "talker/dan"));
    kit_kill(k, 1);
    kit_run(k, 5000);
    assert_true(is_absent(k, "talker/bob"));
    kit_spawn(k, 0, "talker/bob"); /* it lives here from now on */
    assert_false(is_absent(k, "talker/bob"));
    kit_begin(k, 1);
    kit_run(k, 3000);
    stoa_log_level_set(STOA_LOG_INFO);
}

static bool is_unmet(const kit *k, const char *name, const char *of)
{
    stoa_absence absent;
    (void)stoa_find_or_absent(k->nodes[0].node, name, &absent);
    return absent.unmet && strcmp(absent.of, of) == 0;
}

static void a_name_may_be_one_of_a_node_that_was_not_met_yet(void **state)
{
    kit *k = *state;
    k->awaits[0] = "b, c";
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    kit_spawn(k, 1, "talker/bob");
    kit_kill(k, 0);
    kit_begin(k, 0);
    assert_true(is_unmet(k, "talker/bob", "b, c") && is_unmet(k, "talker/nobody", "b, c"));
    assert_false(is_unmet(k, "other/bob", "b, c")); /* no kind that others may have here */
    kit_run(k, 4000);
    assert_true(stoa_find(k->nodes[0].node, "talker/bob").at != 0);
    assert_true(is_unmet(k, "talker/nobody", "c")); /* b has told all its names, c never comes */
    kit_run(k, 9000);
    stoa_absence absent;
    assert_int_equal(stoa_find_or_absent(k->nodes[0].node, "talker/nobody", &absent).at, 0);
    assert_false(absent.unmet || absent.of[0]);
    stoa_log_level_set(STOA_LOG_INFO);
}

static void who_is_back_and_gone_again_has_not_told_its_names(void **state)
{
    kit *k = *state;
    k->lost_ns[0] = STOA_S(60);
    kit_open(k, 2);
    stoa_log_level_set(STOA_LOG_OFF);
    kit_spawn(k, 1, "talker/dan");
    kit_run(k, 5);
    kit_kill(k, 1);
    kit_run(k, 70000);
    assert_true(is_absent(k, "talker/dan"));
    kit_begin(k, 1);
    kit_run(k, 3000);
    kit_kill(k, 1);
    kit_run(k, 20000); /* down, and not lost yet */
    assert_true(is_absent(k, "talker/dan"));
    kit_begin(k, 1);
    kit_run(k, 3000);
    assert_true(is_absent(k, "talker/dan"));
    kit_run(k, 10000);
    assert_false(is_absent(k, "talker/dan"));
    stoa_log_level_set(STOA_LOG_INFO);
}

static void a_connection_that_comes_and_goes_is_nothing(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_MONITOR, 0, 0);
    kit_run(k, 5);
    uint64_t said = 0;
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(stoa_remote_drop(k->nodes[i % 2].remote, i % 2 ? "a" : "b"), STOA_OK);
        kit_go(k, 0, ann, "talker/bob", TALK_SAY, ++said, 0);
        kit_run(k, 1500);
    }
    assert_int_equal(kit_state(k, 0, ann)->downs, 0);
    assert_int_equal(kit_state(k, 1, bob)->said, said);
    assert_int_equal(kit_state(k, 0, ann)->echoed, said);
    assert_true(k->nodes[0].downs >= 6);
    assert_int_equal(k->nodes[0].losts, 0);
    assert_int_equal(kit_peer(k, 0, "b").stands, 1);
    assert_int_equal(stoa_remote_drop(k->nodes[0].remote, "nobody"), STOA_E_NOT_FOUND);
}

/* --- refusals and room */

static void who_wants_to_be_told_of_a_refusal_is(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    kit_go(k, 0, ann, "talker/bob", TALK_TELL, 1, 0);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 0, ann)->refused, 0);
    assert_int_equal(kit_state(k, 1, bob)->said, 1);
    stoa_ref stand = stoa_find(k->nodes[0].node, "talker/bob");
    assert_int_equal(stoa_stop(k->nodes[1].node, bob), STOA_OK);
    kit_go(k, 0, ann, "talker/bob", TALK_TELL, 2, 0);
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 0, ann)->refused, 1);
    assert_int_equal(kit_state(k, 0, ann)->refused_error, STOA_E_CLOSED);
    (void)stand;
}

typedef struct letters {
    const char *to, *row;
    uint32_t count;
    stoa_ref from;
} letters;

static void count_letter(void *context, const stoa_dead_letter *letter)
{
    letters *of = context;
    if (letter->reason != STOA_DROP_STALE || strcmp(letter->name, of->to) != 0 || !letter->row || strcmp(letter->row->name, of->row) != 0) { return; }
    of->count++;
    of->from = letter->from;
}

static letters letters_to(kit *k, uint32_t i, const char *to, const char *row)
{
    letters of = {.to = to, .row = row};
    assert_int_equal(stoa_dead_letters(k->nodes[i].node, count_letter, &of), STOA_OK);
    return of;
}

static void a_deadline_that_passes_on_the_way_is_counted_where_it_is_seen(void **state)
{
    kit *k = *state;
    k->dials = "&delay_us=5000";
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 30);
    kit_go(k, 1, bob, "talker/ann", TALK_WITHIN, 1, 2);
    kit_go(k, 1, bob, "talker/ann", TALK_WITHIN, 2, 200);
    kit_run(k, 50);
    assert_int_equal(kit_state(k, 0, ann)->said, 1);
    assert_int_equal(kit_state(k, 0, ann)->said_last, 2);
    assert_int_equal(kit_peer(k, 0, "b").counts.dropped[STOA_DROP_STALE], 1);
    assert_int_equal(kit_peer(k, 1, "a").counts.dropped[STOA_DROP_STALE], 0);
    letters of = letters_to(k, 0, "talker/ann", "say");
    assert_int_equal(of.count, 1);
    assert_true(stoa_ref_equal(of.from, stoa_find(k->nodes[0].node, "talker/bob"))); /* the sender's stand */
    assert_int_equal(letters_to(k, 1, "talker/ann", "say").count, 0);
}

static void a_deadline_that_passes_before_a_message_leaves_is_counted_there(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    assert_int_equal(stoa_remote_pause(k->nodes[1].remote, "a", true), STOA_OK);
    kit_go(k, 1, bob, "talker/ann", TALK_WITHIN, 1, 2);
    kit_go(k, 1, bob, "talker/ann", TALK_ADD, 1, 2);
    kit_go(k, 1, bob, "talker/ann", TALK_WITHIN, 2, 20000);
    kit_run(k, 30);
    assert_int_equal(stoa_remote_pause(k->nodes[1].remote, "a", false), STOA_OK);
    kit_run(k, 30);
    assert_int_equal(kit_state(k, 0, ann)->said, 1);
    assert_int_equal(kit_state(k, 0, ann)->said_last, 2);
    assert_int_equal(kit_state(k, 1, bob)->answer_error, STOA_E_TIMEOUT);
    assert_int_equal(kit_peer(k, 1, "a").counts.dropped[STOA_DROP_STALE], 2);
    assert_int_equal(letters_to(k, 1, "talker/ann", "add").count, 1);
    letters of = letters_to(k, 1, "talker/ann", "say"); /* ann's stand */
    assert_int_equal(of.count, 1);
    assert_true(stoa_ref_equal(of.from, bob));
    assert_int_equal(kit_peer(k, 0, "b").counts.dropped[STOA_DROP_STALE], 0);
}

/* --- room */

static void who_floods_hears_full_and_then_room(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    for (uint32_t i = 0; i < 200; i++) { /* more at once than bob's mailbox holds */
        kit_topic(k, 0, ann, &talker_rows[talker_ROW_spam], "talker/bob", 200);
        if (i % 2) { kit_tick(k); }
    }
    kit_run(k, 20);
    kit_go(k, 0, ann, "talker/bob", TALK_ROOM, 0, 0);
    kit_run(k, 500);
    const talker *a = kit_state(k, 0, ann), *b = kit_state(k, 1, bob);
    stoa_remote_peer_view there = kit_peer(k, 1, "a");
    assert_true(b->said > 0);
    assert_int_equal(b->said + there.counts.dropped[STOA_DROP_FULL], a->taken); /* all are accounted for */
    assert_int_equal(a->rooms, 1);
    assert_true(a->full > 0);
    assert_int_equal(kit_peer(k, 0, "b").backlog_bytes, 0);
    uint64_t said = b->said;
    kit_go(k, 0, ann, "talker/bob", TALK_SAY, 4242, 0);
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 1, bob)->said, said + 1);
}

static void a_paused_node_is_full_in_time_and_loses_nothing(void **state)
{
    kit *k = *state;
    kit_open(k, 2);
    stoa_ref ann = kit_spawn(k, 0, "talker/ann"), bob = kit_spawn(k, 1, "talker/bob");
    kit_run(k, 5);
    assert_int_equal(stoa_remote_pause(k->nodes[0].remote, "b", true), STOA_OK);
    assert_int_equal(stoa_remote_pause(k->nodes[0].remote, "x", true), STOA_E_NOT_FOUND);
    for (uint64_t n = 0; n < 30; n++) { kit_go(k, 0, ann, "talker/bob", TALK_LONG, 100000, 0); }
    kit_go(k, 1, bob, "talker/ann", TALK_SAY, 5, 0);
    kit_run(k, 5000);
    assert_int_equal(kit_state(k, 1, bob)->longs, 0);
    assert_int_equal(kit_state(k, 0, ann)->said, 0);
    stoa_remote_peer_view b = kit_peer(k, 0, "b");
    assert_true(b.paused && b.backlog_bytes > 1 << 20);
    assert_int_equal(k->nodes[0].losts + k->nodes[1].losts, 0); /* heartbeats go on */
    kit_topic(k, 0, ann, &talker_rows[talker_ROW_spam], "talker/bob", 10);
    kit_run(k, 5);
    assert_int_equal(kit_state(k, 0, ann)->full + kit_state(k, 0, ann)->taken, 1 + kit_state(k, 0, ann)->taken);
    assert_int_equal(stoa_remote_pause(k->nodes[0].remote, "b", false), STOA_OK);
    kit_run(k, 2000);
    assert_int_equal(kit_state(k, 1, bob)->longs % 100000, 0);
    assert_true(kit_state(k, 1, bob)->longs > 1000000);
    assert_int_equal(kit_state(k, 0, ann)->said_last, 5);
    assert_int_equal(kit_peer(k, 0, "b").backlog_bytes, 0);
}

/* --- topics */

static void a_topic_crosses_once_a_node_and_no_further(void **state)
{
    kit *k = *state;
    kit_open(k, 3);
    const stoa_row *hear = &talker_rows[talker_ROW_hear], *publish = &talker_rows[talker_ROW_tell];
    stoa_ref a = kit_spawn(k, 0, "talker/a"), b = kit_spawn(k, 1, "talker/b"), b2 = kit_spawn(k, 1, "talker/b2");
    stoa_ref c = kit_spawn(k, 2, "talker/c");
    kit_topic(k, 0, a, hear, "news.>", 0);
    kit_topic(k, 1, b, hear, "news.*", 0);
    kit_topic(k, 1, b, hear, "news.sport", 0);
    kit_topic(k, 1, b2, hear, "news.sport", 0);
    kit_topic(k, 2, c, hear, "news.sport", 0);
    kit_run(k, 10);
    kit_topic(k, 0, a, publish, "news.sport", 7);
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 0, a)->heard, 1);
    assert_int_equal(kit_state(k, 1, b)->heard, 1);
    assert_int_equal(kit_state(k, 1, b2)->heard_last, 7);
    assert_int_equal(kit_state(k, 2, c)->heard, 1);
    assert_int_equal(kit_state(k, 0, a)->echoed, 4); /* whoever heard it could answer */
    assert_int_equal(kit_peer(k, 0, "b").counts.published_out, 1);
    kit_topic(k, 1, b, publish, "news.sport", 8);
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 0, a)->heard, 2);
    assert_int_equal(kit_state(k, 1, b2)->heard, 2);
    assert_int_equal(kit_state(k, 2, c)->heard, 1); /* it knows no way there but by a */
    kit_topic(k, 2, c, hear, "news.sport", 1);
    kit_topic(k, 0, a, hear, "news.>", 1);
    kit_run(k, 10);
    kit_topic(k, 0, a, publish, "news.sport", 9);
    kit_run(k, 10);
    assert_int_equal(kit_state(k, 2, c)->heard, 1);
    assert_int_equal(kit_peer(k, 0, "c").counts.published_out, 1);
    assert_int_equal(kit_state(k, 1, b)->heard, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_actor_is_found_on_other_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_does_not_go_on_to_a_third_node, setup, teardown),
        cmocka_unit_test_setup_teardown(the_lesser_node_has_a_name_and_the_other_inherits_it, setup, teardown),
        cmocka_unit_test_setup_teardown(who_sends_can_be_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_control_row_goes_on_the_control_lane, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_larger_than_a_batch_comes_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ask_is_answered_refused_or_late, setup, teardown),
        cmocka_unit_test_setup_teardown(who_watches_hears_of_an_end_and_its_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_works_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(both_ends_of_a_link_hear_that_a_node_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(both_ends_of_a_link_hear_that_a_node_has_restarted, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_taken_for_lost_hears_that_its_links_are_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_is_taken_back_by_either_end, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_node_says_fails_so_many_at_once_and_the_others_later, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_node_is_the_end_of_all_its_actors, setup, teardown),
        cmocka_unit_test_setup_teardown(the_names_of_a_lost_node_are_remembered_until_it_is_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_may_be_one_of_a_node_that_was_not_met_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_back_and_gone_again_has_not_told_its_names, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_that_comes_and_goes_is_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(who_wants_to_be_told_of_a_refusal_is, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deadline_that_passes_on_the_way_is_counted_where_it_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deadline_that_passes_before_a_message_leaves_is_counted_there, setup, teardown),
        cmocka_unit_test_setup_teardown(who_floods_hears_full_and_then_room, setup, teardown),
        cmocka_unit_test_setup_teardown(a_paused_node_is_full_in_time_and_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_topic_crosses_once_a_node_and_no_further, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
