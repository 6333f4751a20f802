/* link_frames_test.c - goal: frames arrive whole, in order and with the name that was proven; sizes have limits, poll has one, and no wake-up is forgotten.
 * Method and seed: links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/links_world.h"

static void frames_arrive_whole_and_in_order_both_ways(void **state)
{
    enum { FRAMES = 600 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < FRAMES; i++) {
        uint32_t most = stoa_random_chance(&w->random, 100) ? FRAME_LIMIT : 300;
        uint32_t to_bytes = 4 + (uint32_t)stoa_random_below(&w->random, most - 3);
        uint32_t from_bytes = 4 + (uint32_t)stoa_random_below(&w->random, most - 3);
        send_patiently(w, client, client->peer, i, to_bytes);
        send_patiently(w, server, server->peer, i, from_bytes);
        bytes += to_bytes;
        if (stoa_random_chance(&w->random, 200)) { settle(w, NULL); }
    }
    wait_for(w, &server->frames, FRAMES);
    wait_for(w, &client->frames, FRAMES);
    assert_in_order(server);
    assert_in_order(client);
    assert_true(server->bytes == bytes);
    char user[64];
    (void)snprintf(user, sizeof user, "uid:%lu", (unsigned long)geteuid());
    assert_string_equal(server->identity, w->as->curve ? "client" : w->as->users ? user : "");
}

static void sizes_up_to_the_limit_pass_and_others_are_named(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    uint32_t sizes[] = {1, 255, 256, 8192, FRAME_LIMIT - 1, FRAME_LIMIT};
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        send_patiently(w, client, client->peer, i, sizes[i]);
        wait_for(w, &server->frames, i + 1);
        assert_int_equal(server->size_bytes, sizes[i]);
    }
    send_patiently(w, server, server->peer, 0, FRAME_LIMIT);
    wait_for(w, &client->frames, 1);
    assert_int_equal(client->link->ops->send(client->link, 0, w->frame, FRAME_LIMIT + 1), STOA_E_TOO_LARGE);
    assert_int_equal(client->link->ops->send(client->link, 0, w->frame, 0), STOA_E_INVALID);
    assert_int_equal(server->link->ops->send(server->link, server->peer, w->frame, FRAME_LIMIT + 1), STOA_E_TOO_LARGE);
    assert_int_equal(server->link->ops->send(server->link, server->peer, w->frame, 0), STOA_E_INVALID);
    run_for(w, 50);
    assert_in_order(server);
    assert_int_equal(server->frames, sizeof sizes / sizeof sizes[0]);
    assert_int_equal(server->downs + client->downs, 0);
}

static void a_frame_over_the_limit_closes_only_its_connection(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *good = dial(w);
    stoa_link_options options = options_of(w, false);
    options.frame_limit = 4 * FRAME_LIMIT;
    wait_for(w, &server->ups, 1);
    end *bad = end_open(w, w->address, &options);
    wait_for(w, &bad->ups, 1);
    wait_for(w, &server->ups, 2);
    stoa_peer bad_peer = server->peer;

    send_patiently(w, bad, 0, 0, FRAME_LIMIT + 1);
    wait_for(w, &bad->downs, 1);
    wait_for(w, &server->downs, 1);
    assert_true(server->lost == bad_peer);
    assert_int_equal(server->link->ops->send(server->link, bad_peer, w->frame, 10), STOA_E_CLOSED);
    wait_for(w, &bad->ups, 2);
    send_patiently(w, bad, 0, 0, FRAME_LIMIT);
    send_patiently(w, good, 0, 0, 100);
    wait_for(w, &server->frames, 2);
    assert_in_order(server);
    assert_int_equal(good->downs, 0);
}

static void a_listener_that_sends_too_much_loses_only_that_peer(void **state)
{
    world *w = *state;
    stoa_link_options options = options_of(w, true);
    options.frame_limit = 4 * FRAME_LIMIT;
    end *server = end_open(w, w->address, &options);
    (void)snprintf(w->address, sizeof w->address, "%s", server->link->ops->address(server->link));
    end *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    send_patiently(w, server, server->peer, 0, FRAME_LIMIT + 1);
    wait_for(w, &client->downs, 1);
    wait_for(w, &server->downs, 1);
    wait_for(w, &client->ups, 2);
    wait_for(w, &server->ups, 2);
    send_patiently(w, server, server->peer, 0, FRAME_LIMIT);
    wait_for(w, &client->frames, 1);
    assert_in_order(client);
}

static void up_can_be_answered_at_once(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    server->greets = client->greets = true;
    wait_for(w, &server->frames, 1);
    wait_for(w, &client->frames, 1);
    assert_in_order(server);
    assert_in_order(client);
}

static void a_burst_never_sleeps_through_a_frame(void **state)
{
    enum { ROUNDS = 300, BURST_MAX = 24 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    server->echo = true;
    wait_for(w, &client->ups, 1);
    uint32_t sent = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t burst = 1 + (uint32_t)stoa_random_below(&w->random, BURST_MAX);
        for (uint32_t i = 0; i < burst; i++) {
            send_patiently(w, client, 0, sent++, 16);
        }
        wait_for(w, &client->frames, sent); /* sleeps only on descriptors */
    }
    assert_in_order(server);
    assert_in_order(client);
}

static void poll_tells_no_more_than_it_is_asked_for(void **state)
{
    enum { FRAMES = 20 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    assert_int_equal(poll_some(server, 0), 0);
    for (uint32_t i = 0; i < FRAMES; i++) {
        send_patiently(w, client, 0, i, 16);
    }
    wait_for(w, &server->ups, 1);
    uint64_t until_ms = now_ms() + DEADLINE_MS;
    while (server->frames < FRAMES && now_ms() < until_ms) {
        uint32_t before = server->frames;
        assert_true(poll_some(server, 1) <= 1);
        assert_true(server->frames <= before + 1);
    }
    assert_int_equal(server->frames, FRAMES);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        TEST(frames_arrive_whole_and_in_order_both_ways),
        TEST(sizes_up_to_the_limit_pass_and_others_are_named),
        TEST(a_frame_over_the_limit_closes_only_its_connection),
        TEST(a_listener_that_sends_too_much_loses_only_that_peer),
        TEST(up_can_be_answered_at_once),
        TEST(a_burst_never_sleeps_through_a_frame),
        TEST(poll_tells_no_more_than_it_is_asked_for),
    };
    return links_main(argc, argv, "transport/link.h, frames", ON_ALL, tests, sizeof tests / sizeof tests[0]);
}
