/* session_refused_random_test.c - goal: whatever a network does to frames, nobody is up with who refuses it (transport/session.h).
 * Method: two nodes over fault+sim talk, or do not; then one of them restarts with an incarnation, an epoch, a version or an
 * expectation that may be wrong, or without its memory, while frames are lost, doubled, late and out of order and the paths are
 * cut now and then. Where anything is wrong neither side may say up, ever; where nothing is, both do when the faults end. In the
 * end it restarts well, and both are up.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/transport/session_kit.h"

#include <inttypes.h>

#include "base/hash.h"
#include "base/random.h"
#include "runtime/kit.h"

enum { INCARNATION = 5, EPOCH = 5, TALK_MS = 300, PAUSE_MS = 50, WRONG_MS = 15000, SETTLE_MS = 30000 };

static uint64_t below(stoa_random *random, uint64_t most)
{
    return stoa_random_below(random, most);
}

static void faults_of(kit_end *e, stoa_random *random, bool rough)
{
    stoa_faults faults = {0};
    if (rough) {
        faults = (stoa_faults){.loss = (uint32_t)below(random, 200),
                               .duplicate = (uint32_t)below(random, 100),
                               .reorder = (uint32_t)below(random, 200),
                               .delay_ns = STOA_US(below(random, 3000)),
                               .jitter_ns = STOA_US(below(random, 2000))};
    }
    assert_int_equal(stoa_fault_set(e->link, &faults), STOA_OK);
    stoa_fault_cut(e->link, false, false);
}

/* Some messages, either way or both; whether any has come. */
static bool talk(kit *k, stoa_random *random)
{
    uint64_t who = below(random, 4);
    for (uint64_t i = below(random, 20); i > 0; i--) {
        stoa_lane lane = (stoa_lane)below(random, STOA_LANE_COUNT);
        if (who & 1) { assert_int_equal(kit_send(&k->a, lane, "a", 1, 0), STOA_OK); }
        if (who & 2) { assert_int_equal(kit_send(&k->b, lane, "b", 1, 0), STOA_OK); }
    }
    kit_run(k, TALK_MS);
    return k->a.messages + k->b.messages > 0;
}

/* The life that comes; whether it must be refused. */
static bool choose(stoa_random *random, bool has_talked, stoa_session_options *options)
{
    options->incarnation = INCARNATION - 1 + below(random, 3);
    options->epoch = EPOCH - 1 + below(random, 3);
    options->version_min = options->version_max = (uint16_t)(STOA_SESSION_VERSION + (below(random, 6) == 0));
    options->peer = options->name[0] == 'b' && below(random, 6) == 0 ? "c" : NULL;
    bool forked = options->incarnation == INCARNATION && has_talked;
    bool deposed = options->incarnation == INCARNATION && options->epoch < EPOCH;
    return options->incarnation < INCARNATION || deposed || options->version_min > STOA_SESSION_VERSION || options->peer || forked;
}

static void run_rough(kit *k, stoa_random *random, uint32_t a_ups, uint32_t b_ups)
{
    for (uint64_t ms = 0; ms < WRONG_MS; ms++) {
        if (ms % 500 == 0) {
            faults_of(&k->a, random, true);
            faults_of(&k->b, random, true);
            if (below(random, 4) == 0) { stoa_fault_cut(k->b.link, below(random, 2), below(random, 2)); }
        }
        stoa_seeds_at(ms);
        kit_run(k, 1);
        assert_true(k->a.ups <= a_ups && k->b.ups <= b_ups);
    }
}

static uint64_t refused_run(uint64_t seed)
{
    void *state;
    stoa_random random;
    stoa_random_seed(&random, seed);
    (void)kit_open(&state);
    kit *k = state;
    k->options.incarnation = INCARNATION;
    k->options.epoch = EPOCH;
    kit_up(k);
    bool has_talked = talk(k, &random), a_restarts = below(&random, 2);
    kit_end *one = a_restarts ? &k->a : &k->b, *other = a_restarts ? &k->b : &k->a;
    stoa_session_options options = kit_options(k, one);
    kit_end_now(one);
    kit_run(k, PAUSE_MS); /* what it said last has come, or never will */
    bool wrong = choose(&random, has_talked, &options);
    uint32_t ups = wrong ? other->ups : UINT32_MAX, other_ups = other->ups, again = wrong ? 0 : UINT32_MAX;
    kit_begin(k, one, &options);
    run_rough(k, &random, a_restarts ? again : ups, a_restarts ? ups : again);
    if (stoa_seeds_trace()) {
        (void)fprintf(stoa_seeds_trace(), "%s restarts: incarnation %" PRIu64 ", epoch %" PRIu64 ", version %u, expects %s, %s: %s; told %u and %u times\n",
                      options.name, options.incarnation, options.epoch, options.version_min, options.peer ? options.peer : "-",
                      has_talked ? "they had talked" : "nothing was said", wrong ? "refused" : "good", one->refusals, other->refusals);
    }
    faults_of(&k->a, &random, false);
    faults_of(&k->b, &random, false);
    if (wrong) {
        options = kit_options(k, one);
        options.incarnation = INCARNATION + 2;
        options.epoch = EPOCH + 2;
        kit_end_now(one);
        kit_begin(k, one, &options);
    }
    kit_run(k, SETTLE_MS);
    assert_true(one->ups > 0 && other->ups > other_ups);
    assert_int_equal(kit_view(one).state, STOA_SESSION_UP);
    uint64_t hash = stoa_mix64(one->ups ^ (uint64_t)other->ups << 16 ^ (uint64_t)other->refusals << 32 ^ (uint64_t)other->downs << 48);
    (void)kit_close(&state);
    return hash;
}

static const stoa_seeds seeds = {.count = 200, .deep = 10000, .run = refused_run};

static void nobody_is_up_with_who_refuses_it(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_is_up_with_who_refuses_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
