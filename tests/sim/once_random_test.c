/* once_random_test.c - goal: whatever goes wrong, what was acknowledged is in the log, no request has its effect twice, and who
 * asks again gets the first answer. Method: clients ask tellers in shards of all durabilities, under names, and ask the same
 * again at random, in time and late, with or without having got an answer, under all faults of the simulator and over several
 * lives of the process (with and without the power) and of its shards, which are dropped and rebuilt now and then. The test keeps the first answer to each request, and compares:
 *
 *   - an effect that was acknowledged by a shard on disk is in the states after every crash
 *   - no request's effect is in the states twice
 *   - a second answer equals the first one: row, payload, error, position; or it is a refusal that says so (TIMEOUT, UNAVAILABLE, ...)
 *   - the states, the memory of requests included, are what the journals say
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/random.h"
#include "runtime/kit.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"
#include "tests/sim/once_kinds.h"

enum { SHARDS = 3, CLIENTS = 4, ASKED_MAX = 2000, LIVES = 4, TOKENS = 1 << 16 };

typedef struct question {
    uint64_t how;
    uint32_t client, shard;
    uint64_t number, session;
    bool acked; /* an answer came that tells of an effect */
    uint32_t answers;
    stoa_err error;
    uint64_t tag, nonce, position;
} question;

static struct books {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shards[SHARDS];
    stoa_ref tellers[SHARDS][2];
    stoa_port *ports[CLIENTS];
    question asked[ASKED_MAX]; /* by tag */
    uint32_t count, token_count;
    uint32_t tags[TOKENS]; /* by token */
    uint32_t life_of[TOKENS], life;
    uint64_t numbers[CLIENTS], sessions[CLIENTS], session_count;
    uint32_t drops;
    uint64_t same; /* second answers that were compared */
} b;

static const stoa_kind *const kinds[] = {&teller_kind, NULL};
static const stoa_durability promises[SHARDS] = {stoa_durability_DISK, stoa_durability_DISK, stoa_durability_MEMORY};

static void open_shard(uint32_t i)
{
    char name[24], path[32], actor[32];
    (void)snprintf(name, sizeof name, "once-%u", i);
    (void)snprintf(path, sizeof path, "sim:%s", name);
    stoa_shard_options options = {.name = name, .core = i % stoa_core_count(b.node), .durability = promises[i],
                                  .journal = &stoa_journal_sim, .path = path};
    assert_int_equal(stoa_shard_open(b.node, &options, &b.shards[i]), STOA_OK);
    for (uint32_t k = 0; k < 2; k++) {
        (void)snprintf(actor, sizeof actor, "teller/%u-%u", i, k);
        assert_int_equal(stoa_spawn(b.node, &teller_kind, actor, &(stoa_spawn_options){.shard = b.shards[i]}, &b.tellers[i][k]),
                         STOA_OK);
    }
}

static void open_process(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) { open_shard(i); }
    stoa_spawn_options outside = {.core = stoa_core_count(b.node) - 1};
    assert_int_equal(stoa_spawn(b.node, &relay_kind, "relay/r", &outside, &relay_at), STOA_OK);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "client-%u", i);
        assert_int_equal(stoa_port_open(b.node, name, &b.ports[i]), STOA_OK);
    }
}

static void crash(bool power)
{
    stoa_sim_faults(b.sim, NULL);
    for (uint32_t i = 0; i < SHARDS && power; i++) {
        char name[24];
        stoa_sim_disk *disk;
        (void)snprintf(name, sizeof name, "once-%u", i);
        assert_int_equal(stoa_sim_disk_get(name, 0, &disk), STOA_OK);
        stoa_sim_disk_crash(disk);
    }
    assert_int_equal(stoa_sim_crash(b.sim, &b.node), STOA_OK);
    b.life++;
    open_process();
}

/* --- asking */

static void ask(stoa_random *chance, uint32_t tag)
{
    const question *q = &b.asked[tag];
    stoa_request_name name = {100 + q->client, q->session, q->number};
    uint64_t deadline_ns = stoa_random_below(chance, 4) ? STOA_S(2) : STOA_MS(1 + stoa_random_below(chance, 10));
    if (b.token_count == TOKENS) { return; }
    stoa_err err = stoa_port_ask_once(b.ports[q->client], b.tellers[q->shard][0], &teller_rows[teller_ROW_note],
                                      &(teller_note){tag, q->how}, &name, deadline_ns, b.token_count);
    if (err) { return; }
    b.life_of[b.token_count] = b.life;
    b.tags[b.token_count++] = tag;
    stoa_port_flush(b.ports[q->client]);
}

static void ask_new(stoa_random *chance)
{
    if (b.count == ASKED_MAX - 1) { return; }
    uint32_t tag = ++b.count, client = (uint32_t)stoa_random_below(chance, CLIENTS);
    uint64_t how = stoa_random_below(chance, HOW_COUNT);
    if (!b.sessions[client] || stoa_random_below(chance, 100) == 0) { b.sessions[client] = ++b.session_count; }
    b.asked[tag] = (question){.how = stoa_random_below(chance, 2) ? how : HOW_PLAIN,
                              .client = client,
                              .shard = (uint32_t)stoa_random_below(chance, SHARDS),
                              .session = b.sessions[client],
                              .number = ++b.numbers[client]};
    ask(chance, tag);
}

/* Behind its answer the peer may fail, and there is none. */
static bool has_effect(uint64_t how)
{
    return how != HOW_READ && how != HOW_REFUSE && how != HOW_BEHIND;
}

/* The answer was made by the request itself, not by what stood in its way. */
static bool is_its_own(const question *q, stoa_err error)
{
    return !error || (q->how == HOW_PEER_NO && error == STOA_E_RANGE);
}

static bool stands_in_the_way(stoa_err error)
{
    return error == STOA_E_TIMEOUT || error == STOA_E_UNAVAILABLE || error == STOA_E_STALE || error == STOA_E_FAILED ||
           error == STOA_E_FULL || error == STOA_E_TOO_LARGE || error == STOA_E_CLOSED || error == STOA_E_NOMEM ||
           error == STOA_E_DENIED;
}

static void take(void *context, const stoa_delivery *d)
{
    (void)context;
    assert_true(d->answer && d->token < b.token_count);
    uint32_t tag = b.tags[d->token];
    question *q = &b.asked[tag];
    const teller_noted *noted = d->payload;
    stoa_sim_fold(b.sim, d->token << 8 | (uint8_t)-d->error);
    if (!is_its_own(q, d->error)) {
        if (!stands_in_the_way(d->error)) { fail_msg("request %u (%llu): %s", tag, (unsigned long long)q->how, stoa_err_name(d->error)); }
        return;
    }
    if (!d->error) { assert_int_equal(noted->tag, tag); }
    if (!has_effect(q->how)) { return; }
    assert_int_equal(d->durability, promises[q->shard]);
    bool may_differ = promises[q->shard] == stoa_durability_MEMORY && (b.life || b.drops); /* a crash took it back */
    if (q->acked && !may_differ) {
        b.same++;
        assert_int_equal(d->error, q->error);
        assert_int_equal(d->position, q->position);
        if (noted) { assert_true(noted->nonce == q->nonce); }
    }
    q->acked = true;
    q->error = d->error;
    q->position = d->position;
    q->nonce = noted ? noted->nonce : 0;
}

static void poll_all(void)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        while (stoa_port_poll(b.ports[i], take, NULL, 64)) {}
    }
}

/* --- comparing */

static void check_states(void)
{
    for (uint32_t tag = 1; tag <= b.count; tag++) {
        const question *q = &b.asked[tag];
        uint32_t first = 0, second = 0;
        for (uint32_t i = 0; i < SHARDS; i++) {
            const teller *one = stoa_sim_state(b.sim, b.tellers[i][0], NULL), *two = stoa_sim_state(b.sim, b.tellers[i][1], NULL);
            first += one->counts[tag];
            second += two->counts[tag];
            assert_true(i == q->shard || one->counts[tag] + two->counts[tag] == 0);
        }
        bool must = q->acked && has_effect(q->how) && promises[q->shard] == stoa_durability_DISK;
        if (first > 1 || second > 1 || first + second > 1 || (must && first + second == 0)) {
            fail_msg("request %u (%llu, acknowledged %d) had its effect %u and %u times", tag, (unsigned long long)q->how, q->acked,
                     first, second);
        }
    }
}

static void check_journals(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view live;
        uint64_t hash = 0, events = 0;
        assert_int_equal(stoa_shard_look(b.shards[i], &live), STOA_OK);
        assert_int_equal(stoa_shard_replay(b.shards[i], live.applied, &hash, &events), STOA_OK);
        assert_true(hash == live.hash);
        stoa_sim_fold(b.sim, hash);
    }
}

static void come_to_rest(void)
{
    stoa_sim_faults(b.sim, NULL);
    stoa_sim_run(b.sim, STOA_S(5));
    if (stoa_sim_dead(b.sim)) { return; }
    poll_all();
    check_states();
    check_journals();
}

/* --- a run */

static void live(stoa_random *chance)
{
    stoa_sim_plan plan = stoa_sim_rough;
    if (stoa_random_below(chance, 4) == 0) { memset(&plan, 0, sizeof plan); }
    if (stoa_random_below(chance, 3) == 0) { plan.per_million[STOA_SIM_KILLED] = 100; }
    if (stoa_random_below(chance, 3) == 0) { plan.per_million[STOA_SIM_DISK_BROKEN] = 5000; }
    if (stoa_random_below(chance, 2) == 0) { plan.per_million[STOA_SIM_DISK_REFUSES] = 20000; }
    b.drops += plan.per_million[STOA_SIM_DISK_REFUSES] > 0;
    stoa_sim_faults(b.sim, &plan);
    uint32_t rounds = 20 + (uint32_t)stoa_random_below(chance, 100);
    for (uint32_t i = 0; i < rounds && !stoa_sim_dead(b.sim); i++) {
        uint32_t fresh = (uint32_t)stoa_random_below(chance, 4), again = (uint32_t)stoa_random_below(chance, 4);
        for (uint32_t k = 0; k < fresh; k++) { ask_new(chance); }
        for (uint32_t k = 0; k < again && b.count; k++) {
            uint64_t back = stoa_random_below(chance, stoa_random_below(chance, 2) ? 10 : 400);
            ask(chance, back < b.count ? b.count - (uint32_t)back : 1);
        }
        if (stoa_random_below(chance, 50) == 0) {
            b.drops++;
            stoa_err err = stoa_shard_drop(b.shards[stoa_random_below(chance, SHARDS)], 0);
            assert_true(!err || err == STOA_E_FULL);
        }
        stoa_sim_run(b.sim, stoa_random_below(chance, STOA_MS(3)));
        poll_all();
    }
    if (!stoa_sim_dead(b.sim) && stoa_random_below(chance, 2)) { come_to_rest(); }
}

static uint64_t run(uint64_t seed)
{
    stoa_random chance;
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    stoa_random_seed(&chance, seed);
    memset(&b, 0, sizeof b);
    stoa_sim_disks_free();
    for (uint32_t i = 0; i < SHARDS; i++) {
        char name[24];
        stoa_sim_disk *disk;
        (void)snprintf(name, sizeof name, "once-%u", i);
        assert_int_equal(stoa_sim_disk_get(name, seed + i, &disk), STOA_OK);
    }
    stoa_sim_options options = {.seed = seed,
                                .cores = 1 + (uint32_t)stoa_random_below(&chance, 4),
                                .kinds = kinds,
                                .memory_bytes = UINT64_C(8) << 20,
                                .trace = stoa_seeds_trace()};
    assert_int_equal(stoa_sim_new(&options, &b.sim, &b.node), STOA_OK);
    open_process();
    for (int i = 0; i < LIVES; i++) {
        live(&chance);
        crash(stoa_random_below(&chance, 2));
        check_states();
    }
    for (uint32_t tag = 1; tag <= b.count; tag++) { ask(&chance, tag); } /* all once more */
    come_to_rest();
    assert_null(stoa_sim_dead(b.sim));
    assert_true(b.count < 50 || b.same > 0);
    uint64_t hash = stoa_sim_hash(b.sim);
    stoa_sim_free(b.sim);
    stoa_sim_disks_free();
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void requests_have_their_effect_once_whatever_goes_wrong(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests_have_their_effect_once_whatever_goes_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
