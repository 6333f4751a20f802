/* once_test.c - goal: a request with a name has its effect once, and whoever asks again under its name gets the same answer.
 * Method: two tellers in a shard of the simulator count the effect of each request; a port asks, asks again, and again after
 * crashes; disks are slow where it matters what waits for them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"
#include "tests/sim/once_kinds.h"

enum { ANSWERS_MAX = 64 };
#define LONG_NS STOA_S(3600)

typedef struct answer {
    stoa_err error;
    teller_noted noted;
    uint64_t position;
    stoa_durability durability;
    uint32_t count;
} answer;

static struct stage {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_port *port;
    stoa_ref tellers[2];
    stoa_durability durability;
    answer answers[ANSWERS_MAX]; /* by token */
} s;

static const stoa_kind *const kinds[] = {&teller_kind, NULL};

static void open_process(void)
{
    stoa_shard_options options = {.name = "once", .durability = s.durability, .journal = &stoa_journal_sim, .path = "sim:once"};
    assert_int_equal(stoa_shard_open(s.node, &options, &s.shard), STOA_OK);
    stoa_spawn_options in = {.shard = s.shard};
    assert_int_equal(stoa_spawn(s.node, &teller_kind, "teller/a", &in, &s.tellers[0]), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &teller_kind, "teller/b", &in, &s.tellers[1]), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &relay_kind, "relay/r", &(stoa_spawn_options){.core = 1}, &relay_at), STOA_OK);
    assert_int_equal(stoa_port_open(s.node, "client", &s.port), STOA_OK);
}

static void begin(stoa_durability durability, uint64_t sync_ns)
{
    stoa_sim_disks_free();
    stoa_log_level_set(STOA_LOG_OFF);
    s = (struct stage){.durability = durability};
    stoa_sim_options options = {.seed = 7, .cores = 2, .kinds = kinds, .sync_ns_min = sync_ns, .sync_ns_max = sync_ns};
    assert_int_equal(stoa_sim_new(&options, &s.sim, &s.node), STOA_OK);
    open_process();
}

static void end(void)
{
    stoa_sim_free(s.sim);
    stoa_sim_disks_free();
}

/* The power goes; what was not synced is lost. */
static void crash(void)
{
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("once", 0, &disk), STOA_OK);
    stoa_sim_disk_crash(disk);
    assert_int_equal(stoa_sim_crash(s.sim, &s.node), STOA_OK);
    open_process();
}

static void take(void *context, const stoa_delivery *d)
{
    (void)context;
    assert_true(d->answer && d->token < ANSWERS_MAX);
    answer *a = &s.answers[d->token];
    a->count++;
    a->error = d->error;
    a->position = d->position;
    a->durability = d->durability;
    memset(&a->noted, 0, sizeof a->noted);
    if (d->payload) { memcpy(&a->noted, d->payload, sizeof a->noted); }
}

static void ask(uint64_t token, stoa_request_name name, uint64_t tag, uint64_t how)
{
    s.answers[token] = (answer){0};
    assert_int_equal(stoa_port_ask_once(s.port, s.tellers[0], &teller_rows[teller_ROW_note], &(teller_note){tag, how}, &name,
                                        LONG_NS, token), STOA_OK);
    stoa_port_flush(s.port);
}

static void go(uint64_t ns)
{
    stoa_sim_run(s.sim, ns);
    while (stoa_port_poll(s.port, take, NULL, 64)) {}
}

static answer asked(stoa_request_name name, uint64_t tag, uint64_t how)
{
    ask(0, name, tag, how);
    go(STOA_S(1));
    return s.answers[0];
}

/* How often the request had its effect, at both tellers. */
static uint32_t effects(uint64_t tag)
{
    const teller *a = stoa_sim_state(s.sim, s.tellers[0], NULL), *b = stoa_sim_state(s.sim, s.tellers[1], NULL);
    return a->counts[tag] + b->counts[tag];
}

static void assert_same(const answer *a, const answer *b)
{
    assert_int_equal(a->count, 1);
    assert_int_equal(b->count, 1);
    assert_int_equal(a->error, b->error);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->durability, b->durability);
    assert_memory_equal(&a->noted, &b->noted, sizeof a->noted);
}

static const stoa_request_name FIRST = {.client = 5, .session = 10, .number = 1};

static stoa_request_name named(uint64_t number)
{
    return (stoa_request_name){.client = 5, .session = 10, .number = number};
}

static const uint64_t effective[] = {HOW_PLAIN, HOW_PEER, HOW_PEER_NO, HOW_RELAY, HOW_RELAY_BACK, HOW_BEHIND};
enum { EFFECTIVE = sizeof effective / sizeof effective[0] };

static void asked_again_it_answers_the_same_and_does_nothing(void **state)
{
    (void)state;
    static const stoa_durability promises[] = {stoa_durability_NONE, stoa_durability_MEMORY, stoa_durability_DISK};
    for (size_t d = 0; d < sizeof promises / sizeof promises[0]; d++) {
        begin(promises[d], STOA_MS(1));
        for (uint64_t i = 0; i < EFFECTIVE; i++) {
            answer first = asked(named(i + 1), i, effective[i]);
            answer again = asked(named(i + 1), i, effective[i]);
            assert_same(&first, &again);
            assert_int_equal(first.error, effective[i] == HOW_PEER_NO ? STOA_E_RANGE : STOA_OK);
            assert_int_equal(first.durability, promises[d]);
            assert_int_equal(effects(i), 1);
        }
        end();
    }
}

static void the_answer_survives_with_the_effect(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(1));
    answer first[EFFECTIVE];
    for (uint64_t i = 0; i < EFFECTIVE; i++) { first[i] = asked(named(i + 1), i, effective[i]); }
    for (int lives = 0; lives < 2; lives++) {
        crash();
        for (uint64_t i = 0; i < EFFECTIVE; i++) {
            answer again = asked(named(i + 1), i, effective[i]);
            assert_same(&first[i], &again);
            assert_int_equal(effects(i), 1);
        }
    }
    end();
}

static void what_had_no_effect_is_done_again(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(1));
    assert_int_equal(asked(FIRST, 1, HOW_REFUSE).error, STOA_E_DENIED);
    answer first = asked(FIRST, 1, HOW_READ);
    assert_int_equal(asked(named(2), 2, HOW_PLAIN).error, STOA_OK);
    answer again = asked(FIRST, 1, HOW_READ);
    assert_true(again.noted.nonce > first.noted.nonce);
    assert_int_equal(asked(FIRST, 1, HOW_PLAIN).error, STOA_OK); /* the name is still free */
    assert_int_equal(effects(1), 1);
    end();
}

/* The second one came while the first one's block was on its way to the disk, behind another request. */
static void a_retry_waits_at_the_wall_of_the_first(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(100));
    go(STOA_S(1));
    ask(1, FIRST, 1, HOW_PLAIN);
    go(STOA_MS(10)); /* it was handled, its block is being written */
    assert_int_equal(effects(1), 1);
    ask(3, named(2), 2, HOW_PLAIN); /* of the next block */
    go(STOA_MS(10));
    ask(2, FIRST, 1, HOW_PLAIN);
    go(STOA_MS(10));
    for (int i = 1; i <= 3; i++) { assert_int_equal(s.answers[i].count, 0); }
    go(STOA_MS(100)); /* the first block is there, the second one is not */
    assert_same(&s.answers[1], &s.answers[2]);
    assert_int_equal(effects(1), 1);
    assert_int_equal(s.answers[3].count, 0);
    go(STOA_MS(200));
    assert_true(s.answers[3].count == 1 && s.answers[3].position > s.answers[1].position);
    end();
}

static void what_was_behind_the_wall_at_a_crash_is_done_once(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < EFFECTIVE; i++) {
        begin(stoa_durability_DISK, STOA_MS(100));
        ask(1, FIRST, 1, effective[i]);
        go(STOA_MS(10));
        ask(2, FIRST, 1, effective[i]);
        go(STOA_MS(10));
        assert_int_equal(s.answers[1].count + s.answers[2].count, 0);
        crash();
        assert_int_equal(effects(1), 0);
        answer first = asked(FIRST, 1, effective[i]), again = asked(FIRST, 1, effective[i]);
        assert_same(&first, &again);
        assert_int_equal(effects(1), 1);
        end();
    }
}

static void a_retry_joins_what_is_still_outside(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(20));
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t how = i ? HOW_RELAY_BACK : HOW_RELAY, tag = 1 + i;
        ask(1, named(tag), tag, how);
        go(STOA_MS(1));
        ask(2, named(tag), tag, how); /* a relayed one waits for the disk first, so it is under way now */
        ask(3, named(tag), tag, HOW_READ);
        go(STOA_S(1));
        assert_same(&s.answers[1], &s.answers[2]);
        assert_int_equal(s.answers[3].error, STOA_E_DUPLICATE);
        assert_int_equal(effects(tag), 1);
    }
    end();
}

static void too_many_retries_push_out_the_one_who_waits_longest(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(20));
    for (uint64_t token = 1; token <= 6; token++) { ask(token, FIRST, 1, HOW_RELAY); }
    go(STOA_S(1));
    assert_int_equal(s.answers[1].error, STOA_E_UNAVAILABLE);
    for (uint64_t token = 2; token <= 5; token++) { assert_same(&s.answers[token], &s.answers[6]); }
    assert_int_equal(s.answers[6].error, STOA_OK);
    assert_int_equal(effects(1), 1);
    end();
}

static void an_effect_without_an_answer_is_never_repeated(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(1));
    ask(1, FIRST, 1, HOW_RELAY_LOSES);
    go(STOA_S(1));
    assert_int_equal(s.answers[1].count, 0);
    crash();
    assert_int_equal(effects(1), 1);
    assert_int_equal(asked(FIRST, 1, HOW_RELAY_LOSES).error, STOA_E_STALE);
    assert_int_equal(asked(FIRST, 1, HOW_PLAIN).error, STOA_E_DUPLICATE);
    assert_int_equal(effects(1), 1);
    end();
}

static void the_name_of_another_request_is_a_duplicate(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(1));
    answer first = asked(FIRST, 1, HOW_PLAIN);
    assert_int_equal(asked(FIRST, 2, HOW_PLAIN).error, STOA_E_DUPLICATE);
    assert_int_equal(asked(FIRST, 1, HOW_PEER).error, STOA_E_DUPLICATE);
    stoa_ref other = s.tellers[0];
    s.tellers[0] = s.tellers[1]; /* the same question to somebody else */
    assert_int_equal(asked(FIRST, 1, HOW_PLAIN).error, STOA_E_DUPLICATE);
    s.tellers[0] = other;
    answer again = asked(FIRST, 1, HOW_PLAIN);
    assert_same(&first, &again);
    assert_int_equal(effects(2), 0);
    end();
}

static void names_of_other_clients_and_sessions_are_others(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(1));
    assert_int_equal(asked((stoa_request_name){5, 10, 1}, 1, HOW_PLAIN).error, STOA_OK);
    assert_int_equal(asked((stoa_request_name){6, 10, 1}, 2, HOW_PLAIN).error, STOA_OK);
    assert_int_equal(asked((stoa_request_name){5, 11, 1}, 3, HOW_PLAIN).error, STOA_OK);
    for (uint64_t tag = 1; tag <= 3; tag++) { assert_int_equal(effects(tag), 1); }
    end();
}

static void an_answer_too_long_to_keep_says_so(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_MS(1));
    assert_int_equal(asked(FIRST, 1, HOW_LONG).error, STOA_OK);
    assert_int_equal(asked(FIRST, 1, HOW_LONG).error, STOA_E_TOO_LARGE);
    crash();
    assert_int_equal(asked(FIRST, 1, HOW_LONG).error, STOA_E_TOO_LARGE);
    assert_int_equal(effects(1), 1);
    end();
}

static void a_request_older_than_the_window_is_stale(void **state)
{
    (void)state;
    begin(stoa_durability_DISK, STOA_US(10));
    for (uint64_t n = 1; n <= 4200; n++) {
        ask(1 + n % 60, named(n), n, HOW_PLAIN);
        if (n % 60 == 0) { go(STOA_MS(2)); }
    }
    go(STOA_S(1));
    for (int lives = 0; lives < 2; lives++) {
        assert_int_equal(asked(named(1), 1, HOW_PLAIN).error, STOA_E_STALE);
        assert_int_equal(asked(named(104), 104, HOW_PLAIN).error, STOA_E_STALE);
        assert_int_equal(asked(named(105), 105, HOW_PLAIN).error, STOA_OK);
        assert_int_equal(asked((stoa_request_name){6, 1, 1}, 5000, HOW_PLAIN).error, STOA_OK); /* of another client */
        assert_int_equal(effects(1), 1);
        crash();
    }
    end();
}

static void a_bad_name_is_invalid(void **state)
{
    (void)state;
    static const stoa_request_name bad[] = {{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {1, UINT64_C(1) << 63, 1}, {1, 1, UINT64_C(1) << 50}};
    begin(stoa_durability_DISK, STOA_MS(1));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(stoa_port_ask_once(s.port, s.tellers[0], &teller_rows[teller_ROW_note], &(teller_note){1, 0}, &bad[i],
                                            LONG_NS, 1), STOA_E_INVALID);
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_again_it_answers_the_same_and_does_nothing),
        cmocka_unit_test(the_answer_survives_with_the_effect),
        cmocka_unit_test(what_had_no_effect_is_done_again),
        cmocka_unit_test(a_retry_waits_at_the_wall_of_the_first),
        cmocka_unit_test(what_was_behind_the_wall_at_a_crash_is_done_once),
        cmocka_unit_test(a_retry_joins_what_is_still_outside),
        cmocka_unit_test(too_many_retries_push_out_the_one_who_waits_longest),
        cmocka_unit_test(an_effect_without_an_answer_is_never_repeated),
        cmocka_unit_test(the_name_of_another_request_is_a_duplicate),
        cmocka_unit_test(names_of_other_clients_and_sessions_are_others),
        cmocka_unit_test(an_answer_too_long_to_keep_says_so),
        cmocka_unit_test(a_request_older_than_the_window_is_stale),
        cmocka_unit_test(a_bad_name_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
