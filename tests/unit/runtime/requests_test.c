/* requests_test.c - goal: what is forgotten is never executed again, the bounds hold, and nobody's requests are pushed out by a
 * client that asks more. Method: the memory alone, fed with random requests of a seed, against a plain list of all that ever
 * was; and each bound by itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/random.h"
#include "runtime/ledger.h"
#include "runtime/requests.h"

static stoa_requests *r;
static stoa_shard_log_answered event;

static int fresh(void **state)
{
    (void)state;
    free(r);
    r = calloc(1, sizeof *r);
    return r ? 0 : -1;
}

static void remember(uint64_t client, uint64_t session, uint64_t number, uint32_t bytes)
{
    event.client = client;
    event.session = session;
    event.number = number;
    event.fingerprint = client ^ number;
    event.position++;
    event.state = stoa_request_state_ANSWERED;
    event.reply.count = bytes;
    for (uint32_t i = 0; i < bytes; i++) { event.reply.at[i] = (uint8_t)(number * 7 + i); }
    stoa_requests_apply(r, &event);
}

/* OK: known; AGAIN: not known and may be executed; STALE. */
static stoa_err verdict(uint64_t client, uint64_t session, uint64_t number)
{
    const stoa_request *known;
    stoa_err err = stoa_requests_find(r, client, session, number, &known);
    if (err || !known) { return err ? err : STOA_E_AGAIN; }
    uint8_t reply[STOA_KEPT_REPLY_MAX];
    assert_int_equal(known->number, number);
    assert_true(known->fingerprint == (client ^ number));
    stoa_requests_reply(r, known, reply);
    for (uint32_t i = 0; i < known->bytes; i++) { assert_int_equal(reply[i], (uint8_t)(number * 7 + i)); }
    return STOA_OK;
}

static void an_empty_memory_knows_nobody(void **state)
{
    (void)state;
    assert_int_equal(verdict(1, 1, 1), STOA_E_AGAIN);
}

static void replies_of_any_length_come_back(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 1, 59, 60, 61, 119, 120, 121, 4095, 4096};
    for (uint64_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) { remember(1, 1, i + 1, lengths[i]); }
    for (uint64_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) { assert_int_equal(verdict(1, 1, i + 1), STOA_OK); }
}

static void a_client_forgets_its_own_oldest(void **state)
{
    (void)state;
    remember(2, 1, 1, 8);
    for (uint64_t n = 1; n <= STOA_REQUESTS_OF_CLIENT_MAX + 10; n++) { remember(1, 1, n, 8); }
    assert_int_equal(verdict(1, 1, 10), STOA_E_STALE);
    assert_int_equal(verdict(1, 1, 11), STOA_OK);
    assert_int_equal(verdict(2, 1, 1), STOA_OK);
    assert_int_equal(r->forgotten, 10);
}

static void a_client_forgets_its_own_for_long_replies(void **state)
{
    (void)state;
    remember(2, 1, 1, 4096);
    for (uint64_t n = 1; n <= 1000; n++) { remember(1, 1, n, 4096); }
    assert_int_equal(verdict(2, 1, 1), STOA_OK);
    assert_true(r->shares.pieces[1] + r->shares.pieces[2] <= STOA_PIECES_OF_CLIENT_MAX + 69);
    assert_int_equal(verdict(1, 1, 1000), STOA_OK);
    assert_int_equal(verdict(1, 1, 1), STOA_E_STALE);
}

static void when_the_shard_is_full_who_has_most_makes_room(void **state)
{
    (void)state;
    remember(99, 1, 1, 8);
    for (uint64_t n = 1; n <= STOA_REQUESTS_OF_CLIENT_MAX; n++) {
        for (uint64_t client = 1; client <= 12; client++) { remember(client, 1, n, 8); }
    }
    assert_int_equal(r->requests.pool.used, STOA_REQUESTS_MAX);
    assert_int_equal(verdict(99, 1, 1), STOA_OK);
    for (uint64_t client = 1; client <= 12; client++) {
        assert_int_equal(verdict(client, 1, STOA_REQUESTS_OF_CLIENT_MAX), STOA_OK);
        assert_int_equal(verdict(client, 1, STOA_REQUESTS_OF_CLIENT_MAX - 1000), STOA_OK);
        assert_int_equal(verdict(client, 1, 1), STOA_E_STALE);
    }
}

static void a_forgotten_session_is_stale_as_a_whole(void **state)
{
    (void)state;
    for (uint64_t session = 1; session <= STOA_SESSIONS_OF_CLIENT_MAX; session++) { remember(1, session, 5, 8); }
    remember(1, 1, 6, 8); /* the first is busy, so the second is the quietest */
    remember(1, 100, 1, 8);
    assert_int_equal(verdict(1, 1, 5), STOA_OK);
    assert_int_equal(verdict(1, 1, 7), STOA_E_AGAIN);
    assert_int_equal(verdict(1, 2, 5), STOA_E_STALE);
    assert_int_equal(verdict(1, 2, 6), STOA_E_STALE);
    remember(1, 2, 6, 8); /* it was under way when its session was forgotten */
    assert_int_equal(verdict(1, 2, 6), STOA_OK);
    assert_int_equal(verdict(1, 2, 5), STOA_E_STALE);
    assert_int_equal(verdict(1, 2, 9), STOA_E_STALE);
}

static void a_forgotten_client_is_stale_as_a_whole(void **state)
{
    (void)state;
    for (uint64_t client = 1; client <= STOA_CLIENTS_MAX + 1; client++) { remember(client, 10000 + client, 5, 8); }
    assert_int_equal(verdict(1, 10001, 5), STOA_E_STALE);
    assert_int_equal(verdict(1, 10001, 6), STOA_E_STALE);
    assert_int_equal(verdict(1, 20000, 1), STOA_E_AGAIN); /* a session that was begun later */
    assert_int_equal(verdict(7777, 10001, 1), STOA_E_STALE); /* whoever has a session that old */
    remember(1, 20000, 1, 8);
    assert_int_equal(verdict(1, 10001, 5), STOA_E_STALE);
    assert_int_equal(verdict(1, 20000, 1), STOA_OK);
}

static void the_shard_forgets_sessions_of_who_has_most(void **state)
{
    (void)state;
    remember(400, 1, 1, 8);
    for (uint64_t i = 0; i < STOA_SESSIONS_MAX + 100; i++) { remember(1 + i % 200, 10 + i, 1, 8); }
    assert_int_equal(r->sessions.pool.used, STOA_SESSIONS_MAX);
    assert_int_equal(verdict(400, 1, 1), STOA_OK);
}

/* --- against a list of all that ever was */

enum { ALL_MAX = 80000, WHO_MAX = 6000 };

typedef struct name {
    uint64_t client, session, number;
} name;

static void what_was_executed_is_never_executed_again(void **state)
{
    (void)state;
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_random random;
    stoa_random_seed(&random, seed);
    name *all = calloc(ALL_MAX, sizeof *all);
    assert_non_null(all);
    static uint64_t session_of[WHO_MAX][2];
    uint64_t sessions = 0, executed = 0, stale = 0;
    for (uint32_t count = 0; count < ALL_MAX; count++) {
        uint64_t client = 1 + stoa_random_below(&random, 1 + stoa_random_below(&random, WHO_MAX - 1));
        uint64_t *mine = &session_of[client][stoa_random_below(&random, 2)];
        if (!*mine || stoa_random_below(&random, 10) == 0) { *mine = ++sessions; }
        name n = {client, *mine, 1 + stoa_random_below(&random, 20 + count / 40)};
        stoa_err err = verdict(n.client, n.session, n.number);
        stale += err == STOA_E_STALE;
        if (err == STOA_E_AGAIN) {
            all[count] = n;
            executed++;
            remember(n.client, n.session, n.number, (uint32_t)stoa_random_below(&random, 300));
        }
        if (stoa_random_below(&random, 5000)) { continue; }
        for (uint32_t i = 0; i <= count; i++) {
            if (all[i].client) { assert_int_not_equal(verdict(all[i].client, all[i].session, all[i].number), STOA_E_AGAIN); }
        }
    }
    print_message("%llu executed, %llu stale, %llu forgotten\n", (unsigned long long)executed, (unsigned long long)stale,
                  (unsigned long long)r->forgotten);
    assert_true(executed > 20000 && stale > 100 && r->forgotten > 1000);
    for (uint32_t i = 0; i < ALL_MAX; i++) {
        if (all[i].client) { assert_int_not_equal(verdict(all[i].client, all[i].session, all[i].number), STOA_E_AGAIN); }
    }
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_memory_knows_nobody, fresh),
        cmocka_unit_test_setup(replies_of_any_length_come_back, fresh),
        cmocka_unit_test_setup(a_client_forgets_its_own_oldest, fresh),
        cmocka_unit_test_setup(a_client_forgets_its_own_for_long_replies, fresh),
        cmocka_unit_test_setup(when_the_shard_is_full_who_has_most_makes_room, fresh),
        cmocka_unit_test_setup(a_forgotten_session_is_stale_as_a_whole, fresh),
        cmocka_unit_test_setup(a_forgotten_client_is_stale_as_a_whole, fresh),
        cmocka_unit_test_setup(the_shard_forgets_sessions_of_who_has_most, fresh),
        cmocka_unit_test_setup(what_was_executed_is_never_executed_again, fresh),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(r);
    return failed;
}
