/* wall_test.c - goal: nothing that leaves a shard depends on an event that is lost, whichever way it leaves. Method: a keeper
 * (wall_stage.h) takes note of something, and in the same turn or in a later one, while its block is still on its way to a slow disk,
 * something leaves: an answer, a read, a refusal, a message here and to another core, a question, a topic, a child, an end that others
 * hear of. Nobody outside may have heard anything before the block is there, nor ever when the power goes before that.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/wall_stage.h"

#include <stdlib.h>

#include "runtime/acks.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

/* The first request is answered, or is forwarded to who does not answer; what else there is to hear. */
static uint32_t answers_of(uint64_t way)
{
    if (way == WAY_FORWARD) { return 0; }
    return way < WAY_LATER || way == WAY_FAIL ? 1 : 2;
}

static bool is_heard(uint64_t way)
{
    return way != WAY_ANSWER && way != WAY_READ && way != WAY_REFUSE;
}

static void everything_waits_for_the_disk_and_then_leaves(void **unused)
{
    (void)unused;
    for (unsigned target = 0; target < OUTSIDE; target++) {
        for (uint64_t way = 0; way < WAY_COUNT; way++) {
            begin(target);
            set_out(way);
            go(STOA_MS(200));
            if (s.answers != answers_of(way)) { fail_msg("way %u: %u answers", (unsigned)way, s.answers); }
            if (!s.heard != !is_heard(way)) { fail_msg("way %u: %u heard", (unsigned)way, s.heard); }
            if (way == WAY_REFUSE) { assert_int_equal(s.error, STOA_E_RANGE); }
            if (way == WAY_READ) { assert_int_equal(s.count, 1); }
            end();
        }
    }
}

static void nobody_hears_of_what_a_crash_took(void **unused)
{
    (void)unused;
    for (unsigned target = 0; target < OUTSIDE; target++) {
        for (uint64_t way = 0; way < WAY_COUNT; way++) {
            begin(target);
            set_out(way);
            crash();
            go(STOA_S(1));
            assert_int_equal(state()->count, 0);
            assert_int_equal(s.heard + s.answers, 0);
            end();
        }
    }
}

/* --- who looks in from outside reads, too */

static void strike(stoa_sim_fault fault, uint64_t for_ns)
{
    assert_int_equal(stoa_sim_inject(s.sim, &(stoa_sim_injection){.fault = fault, .at = "wall", .for_ns = for_ns}), STOA_OK);
}

static uint64_t committed(void)
{
    stoa_shard_view view;
    assert_int_equal(stoa_shard_glance(s.shard, &view), STOA_OK);
    return view.committed;
}

static void a_look_waits_for_the_disk(void **unused)
{
    (void)unused;
    static const struct {
        stoa_sim_fault fault; /* STOA_SIM_FAULT_COUNT: none */
        stoa_err err;
        const char *shows;
    } cases[] = {
        {STOA_SIM_FAULT_COUNT, STOA_OK, "before 1 notes"},
        {STOA_SIM_DISK_FULL, STOA_E_TIMEOUT, "before "},
        {STOA_SIM_DISK_REFUSES, STOA_OK, "before 0 notes"}, /* what was there first never was */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char storage[64];
        stoa_buf out = STOA_BUF_FIXED(storage);
        stoa_buf_puts(&out, "before ");
        begin(0);
        uint64_t before = committed();
        if (cases[i].fault != STOA_SIM_FAULT_COUNT) { strike(cases[i].fault, STOA_S(36000)); }
        set_out(WAY_ANSWER);
        assert_true(committed() == before);
        assert_int_equal(stoa_inspect(s.node, "keeper/k", &out), cases[i].err);
        assert_string_equal(out.at, cases[i].shows);
        if (cases[i].err == STOA_OK && state()->count == 1) { assert_true(committed() > before); }
        end();
    }
}

/* --- a core without memory */

static stoa_msg *hogged;

static void use_up_memory(void)
{
    stoa_slab *slab = &s.node->cores[0]->place.slab;
    for (uint32_t size_class = STOA_SLAB_CLASSES; size_class--;) {
        uint32_t bytes = size_class ? (UINT32_C(64) << size_class) - 64 : 0;
        for (stoa_msg *block; (block = stoa_slab_new_surely(slab, bytes, 0)) != NULL;) {
            block->next = hogged;
            hogged = block;
        }
    }
}

static void give_memory_back(void)
{
    while (hogged) {
        stoa_msg *block = hogged;
        hogged = block->next;
        stoa_slab_free(&s.node->cores[0]->place.slab, block);
    }
}

static void hear(stoa_core *core, stoa_msg *msg)
{
    s.heard++;
    stoa_place_free(&core->place, msg);
}

/* A signal of links, which has a block of its own and no room for a stamp. */
static stoa_msg *signal_of_an_end(void)
{
    stoa_msg *msg = stoa_slab_new(&s.node->cores[0]->place.slab, sizeof(stoa_act), STOA_MSG_ACT);
    if (!msg) { abort(); }
    *(stoa_act *)stoa_msg_body(msg) = (stoa_act){.run = hear};
    msg->to = stoa_ref_make(0, 0, 0);
    msg->from = STOA_REF_NONE;
    msg->row = NULL;
    return msg;
}

static void an_end_waits_for_the_disk_without_memory_too(void **unused)
{
    (void)unused;
    for (int drops = 0; drops < 2; drops++) {
        begin(0);
        stoa_msg *signals[] = {signal_of_an_end(), signal_of_an_end()};
        set_out(WAY_ANSWER);
        use_up_memory();
        stoa_shard_carry(s.shard, signals[0]);
        give_memory_back();
        stoa_shard_carry(s.shard, signals[1]); /* in order, though there is memory for this one */
        go(STOA_MS(1));
        assert_int_equal(state()->count, 1);
        assert_int_equal(s.heard, 0);
        if (drops) { assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK); }
        go(STOA_MS(500));
        assert_true(s.heard >= 2);
        end();
    }
}

/* --- who has acknowledged what */

static void a_shard_that_needs_copies_cannot_be_opened(void **unused)
{
    (void)unused;
    static const stoa_durability needs[] = {stoa_durability_REPLICA, stoa_durability_QUORUM};
    begin(0);
    for (size_t i = 0; i < 2; i++) {
        stoa_shard *shard;
        stoa_shard_options options = {.name = "far", .durability = needs[i], .journal = &stoa_journal_sim, .path = "sim:far"};
        assert_int_equal(stoa_shard_open(s.node, &options, &shard), STOA_E_UNSUPPORTED);
    }
    end();
}

static void committed_is_what_enough_have_acknowledged(void **unused)
{
    (void)unused;
    stoa_acks acks = {.memory = 100, .disk = 50};
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_MEMORY), 100);
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_DISK), 50);
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_REPLICA), 0);
    acks = (stoa_acks){.memory = 100, .disk = 50, .copies = {70, 20}, .copy_count = 2};
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_REPLICA), 50);
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_QUORUM), 50); /* 70 50 20: two of three */
    acks.copies[0] = 30;
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_REPLICA), 30);
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_QUORUM), 30);
    acks = (stoa_acks){.disk = 10, .copies = {40, 30, 20, 0}, .copy_count = 4};
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_QUORUM), 20); /* 40 30 20 10 0: three of five */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_waits_for_the_disk_and_then_leaves),
        cmocka_unit_test(nobody_hears_of_what_a_crash_took),
        cmocka_unit_test(a_look_waits_for_the_disk),
        cmocka_unit_test(an_end_waits_for_the_disk_without_memory_too),
        cmocka_unit_test(a_shard_that_needs_copies_cannot_be_opened),
        cmocka_unit_test(committed_is_what_enough_have_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
