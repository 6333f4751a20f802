/* peers_test.c - the table of a listener's connections, told out of step.
 *
 * Goal: transport/zmq/peers.h: whatever order the monitor's words and the messages come in, every peer goes up, ending
 * and shut exactly once, and none outlives its connection when a descriptor is used again. Method: the orders that
 * cannot be forced with real sockets, one by one, then random ones from a printed seed (STOA_TEST_SEED).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "transport/zmq/peers.h"

enum { LIMIT = 8 };

static int table_open(void **state)
{
    static stoa_zmq_peers peers;
    *state = &peers;
    return stoa_zmq_peers_init(&peers, LIMIT);
}

static int table_close(void **state)
{
    stoa_zmq_peers_deinit(*state);
    return 0;
}

static stoa_peer shut_next(stoa_zmq_peers *peers)
{
    const stoa_zmq_peer *peer = stoa_zmq_peers_ending(peers);
    assert_non_null(peer);
    stoa_zmq_peers_shut(peers);
    assert_int_equal(peer->stage, STOA_ZMQ_SHUT);
    return peer->number;
}

static void a_peer_is_found_until_it_is_forgotten(void **state)
{
    stoa_zmq_peers *peers = *state;
    stoa_zmq_peers_opened(peers, 7);
    stoa_zmq_peer *peer = stoa_zmq_peers_add(peers, 100, 7, 0);
    assert_non_null(peer);
    assert_int_equal(peer->stage, STOA_ZMQ_UP);
    assert_ptr_equal(stoa_zmq_peers_by_routing_id(peers, 100), peer);
    assert_ptr_equal(stoa_zmq_peers_by_number(peers, peer->number), peer);
    assert_null(stoa_zmq_peers_by_routing_id(peers, 101));
    assert_null(stoa_zmq_peers_by_number(peers, 0));
    assert_null(stoa_zmq_peers_by_number(peers, peer->number + 1));
    assert_null(stoa_zmq_peers_ending(peers));

    stoa_zmq_peers_closed(peers, 7, 55);
    assert_ptr_equal(stoa_zmq_peers_ending(peers), peer);
    assert_true(peer->drained_at == 55);
    assert_true(shut_next(peers) == peer->number);
    assert_ptr_equal(stoa_zmq_peers_by_routing_id(peers, 100), peer); /* a late message is known for one */
    stoa_zmq_peers_closed(peers, 7, 60);
    assert_null(stoa_zmq_peers_ending(peers));
}

static void a_first_message_after_the_end_makes_a_peer_that_ends(void **state)
{
    stoa_zmq_peers *peers = *state;
    stoa_zmq_peers_opened(peers, 7);
    stoa_zmq_peers_closed(peers, 7, 0);
    stoa_zmq_peer *peer = stoa_zmq_peers_add(peers, 100, 7, 5);
    assert_int_equal(peer->stage, STOA_ZMQ_ENDING);
    assert_true(shut_next(peers) == peer->number);
    assert_null(stoa_zmq_peers_door(peers, 8000));
    assert_int_equal(stoa_zmq_peers_add(peers, 101, 8000, 5)->stage, STOA_ZMQ_ENDING); /* never heard of */
}

static void a_later_peer_on_the_descriptor_ends_the_one_before(void **state)
{
    stoa_zmq_peers *peers = *state;
    stoa_zmq_peers_opened(peers, 7);
    stoa_zmq_peers_closed(peers, 7, 0);
    stoa_zmq_peers_opened(peers, 7); /* both connections were told before a message was read */
    stoa_zmq_peer *first = stoa_zmq_peers_add(peers, UINT32_MAX, 7, 5);
    assert_int_equal(first->stage, STOA_ZMQ_UP);                /* nothing speaks against it yet */
    stoa_zmq_peer *second = stoa_zmq_peers_add(peers, 0, 7, 6); /* routing ids wrap around */
    assert_int_equal(first->stage, STOA_ZMQ_ENDING);
    assert_int_equal(second->stage, STOA_ZMQ_UP);
    stoa_zmq_peers_closed(peers, 7, 9);
    assert_true(shut_next(peers) == first->number);
    assert_true(shut_next(peers) == second->number);
}

static void an_earlier_peer_on_the_descriptor_does_not_disturb_the_later(void **state)
{
    stoa_zmq_peers *peers = *state;
    stoa_zmq_peers_opened(peers, 7);
    stoa_zmq_peers_closed(peers, 7, 0);
    stoa_zmq_peers_opened(peers, 7);
    stoa_zmq_peer *second = stoa_zmq_peers_add(peers, 101, 7, 5); /* libzmq served the later one first */
    stoa_zmq_peer *first = stoa_zmq_peers_add(peers, 100, 7, 5);
    assert_int_equal(first->stage, STOA_ZMQ_ENDING);
    assert_int_equal(second->stage, STOA_ZMQ_UP);
    assert_true(shut_next(peers) == first->number);
    assert_int_equal(second->stage, STOA_ZMQ_UP);
    stoa_zmq_peers_closed(peers, 7, 9);
    assert_true(shut_next(peers) == second->number);
}

static void a_refused_peer_keeps_its_slot_while_it_is_connected(void **state)
{
    stoa_zmq_peers *peers = *state;
    stoa_zmq_peers_opened(peers, 7);
    stoa_zmq_peer *refused = stoa_zmq_peers_add(peers, 100, 7, 0);
    stoa_zmq_peers_refuse(peers, refused, STOA_E_DENIED);
    assert_true(shut_next(peers) == refused->number);
    for (uint32_t i = 1; i < 4 * (LIMIT + STOA_ZMQ_PEERS_SPARE); i++) { /* all other slots come round, more than once */
        stoa_zmq_peers_opened(peers, 8);
        assert_non_null(stoa_zmq_peers_add(peers, 100 + i, 8, 0));
        stoa_zmq_peers_closed(peers, 8, 0);
        (void)shut_next(peers);
    }
    assert_ptr_equal(stoa_zmq_peers_by_routing_id(peers, 100), refused);
    assert_int_equal(refused->why, STOA_E_DENIED);
    stoa_zmq_peers_closed(peers, 7, 0);
    assert_null(stoa_zmq_peers_ending(peers));
}

static void no_more_than_the_limit_are_live(void **state)
{
    stoa_zmq_peers *peers = *state;
    for (int i = 0; i < LIMIT; i++) {
        stoa_zmq_peers_opened(peers, i);
        assert_non_null(stoa_zmq_peers_add(peers, (uint32_t)i, i, 0));
    }
    stoa_zmq_peers_opened(peers, LIMIT);
    assert_null(stoa_zmq_peers_add(peers, LIMIT, LIMIT, 0));
    stoa_zmq_peers_closed(peers, 3, 0);
    assert_null(stoa_zmq_peers_add(peers, LIMIT, LIMIT, 0)); /* its down is not told yet */
    (void)shut_next(peers);
    assert_non_null(stoa_zmq_peers_add(peers, LIMIT, LIMIT, 0));
}

/* Real connections, and the two stories told of them: the monitor's words in order, messages of any connection whose
 * accept was told before. */
static void random_orders_end_every_peer_once(void **state)
{
    enum { STEPS = 20000, FDS = 6 };
    stoa_zmq_peers *peers = *state;
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    stoa_random random;
    stoa_random_seed(&random, seed);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);

    uint32_t ids = (uint32_t)stoa_random_next(&random), shuts = 0, adds = 0;
    struct {
        bool open, spoken;
        uint32_t id, unread; /* unread: id of a closed connection whose first message comes late, 0 for none */
    } doors[FDS] = {0};
    for (uint32_t i = 0; i < STEPS; i++) {
        int fd = (int)stoa_random_below(&random, FDS);
        if (!doors[fd].open) {
            stoa_zmq_peers_opened(peers, fd);
            doors[fd].open = true;
            doors[fd].spoken = false;
            doors[fd].id = ids++;
        } else if (stoa_random_chance(&random, 500)) {
            if (!doors[fd].spoken && stoa_random_chance(&random, 500)) { doors[fd].unread = doors[fd].id; }
            stoa_zmq_peers_closed(peers, fd, 0);
            doors[fd].open = false;
        } else if (!doors[fd].spoken) {
            doors[fd].spoken = true;
            adds += stoa_zmq_peers_add(peers, doors[fd].id, fd, 0) != NULL;
        }
        if (doors[fd].unread && stoa_random_chance(&random, 300)) {
            adds += stoa_zmq_peers_add(peers, doors[fd].unread, fd, 0) != NULL;
            doors[fd].unread = 0;
        }
        while (stoa_zmq_peers_ending(peers) && stoa_random_chance(&random, 700)) {
            (void)shut_next(peers);
            shuts++;
        }
        assert_true(peers->live == adds - shuts && peers->live <= LIMIT);
    }
    for (int fd = 0; fd < FDS; fd++) {
        stoa_zmq_peers_closed(peers, fd, 0);
    }
    for (; stoa_zmq_peers_ending(peers); shuts++) {
        (void)shut_next(peers);
    }
    assert_int_equal(adds, shuts);
    assert_int_equal(peers->live, 0);
    assert_int_equal(peers->open_doors, 0);
    assert_true(adds > STEPS / 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, table_open, table_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_peer_is_found_until_it_is_forgotten),
        TEST(a_first_message_after_the_end_makes_a_peer_that_ends),
        TEST(a_later_peer_on_the_descriptor_ends_the_one_before),
        TEST(an_earlier_peer_on_the_descriptor_does_not_disturb_the_later),
        TEST(a_refused_peer_keeps_its_slot_while_it_is_connected),
        TEST(no_more_than_the_limit_are_live),
        TEST(random_orders_end_every_peer_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
