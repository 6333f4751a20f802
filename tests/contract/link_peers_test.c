/* link_peers_test.c - goal: a listener keeps its peers apart, counts them, and mixes up neither them nor their connections. Method and seed:
 * links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/links_world.h"

static void many_peers_are_kept_apart(void **state)
{
    enum { PEERS = 48, PEERS_WHO_WAIT = 16, AT_ONCE = 8, ROUNDS = 12 }; /* more at once may take longer than a handshake may */
    world *w = *state;
    const uint32_t peers = w->as->waits && !is_deep() ? PEERS_WHO_WAIT : PEERS; /* such links are slow to open */
    end *server = listen_at(w);
    end *clients[PEERS];
    server->echo = true;
    for (uint32_t i = 0, up = 0; i < peers; i++) {
        clients[i] = dial(w);
        for (; i % AT_ONCE == AT_ONCE - 1 && up <= i; up++) {
            wait_for(w, &clients[up]->ups, 1);
        }
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < peers; i++) {
            send_patiently(w, clients[i], 0, round, 8 + i);
        }
    }
    for (uint32_t i = 0; i < peers; i++) {
        wait_for(w, &clients[i]->frames, ROUNDS);
        assert_in_order(clients[i]);
        assert_int_equal(clients[i]->size_bytes, 8 + i);
        end_stop(clients[i], 0);
    }
    wait_for(w, &server->downs, peers);
    assert_in_order(server);
    assert_int_equal(server->ups, peers);
    assert_int_equal(counts_of(server).downs, peers);
}

/* Connections that come while the listener polls all the time are not taken for old ones. */
static void a_listener_that_never_sleeps_keeps_all_peers(void **state)
{
    enum { ROUNDS = 20, PEERS = 8, SELDOM = 4096, ROUNDS_WHO_WAITS = 2, SELDOM_WHO_WAITS = 64 };
    world *w = *state;
    uint32_t seldom = w->as->waits ? SELDOM_WHO_WAITS : SELDOM; /* who dials has steps of his own to take */
    uint32_t rounds = w->as->waits && !is_deep() ? ROUNDS_WHO_WAITS : ROUNDS; /* and such links are slow to open */
    end *server = listen_at(w);
    end *clients[PEERS] = {NULL};
    stoa_link_options options = options_of(w, false);
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < PEERS; i++) {
            if (!clients[i]) { clients[i] = calloc(1, sizeof *clients[i]); }
            assert_non_null(clients[i]);
            memset(clients[i], 0, sizeof *clients[i]);
            end_start(clients[i], w->address, &options);
        }
        server->peer_count = 0;
        uint64_t until_ms = now_ms() + DEADLINE_MS;
        for (uint32_t i = 1; server->ups < PEERS && now_ms() < until_ms; i++) {
            (void)poll_some(server, POLL_MAX);
            if (i % seldom) { continue; }
            (void)poll_some(clients[i / seldom % PEERS], POLL_MAX); /* it may have to dial again */
        }
        assert_int_equal(server->ups, PEERS);
        assert_int_equal(server->downs, 0);
        for (uint32_t i = 0; i < PEERS; i++) {
            end_stop(clients[i], 0);
        }
        wait_for(w, &server->downs, PEERS);
        server->ups = server->downs = 0;
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        free(clients[i]);
    }
}

enum { SHORT_FRAMES = 3 };

/* Whether one peer is left, with one frame more than the short ones have. */
static bool all_but_the_last_are_gone(const void *of)
{
    const end *server = of;
    uint32_t i = 0;
    while (i < server->peer_count && !server->peers[i].up) {
        i++;
    }
    return server->ups == server->downs + 1 && server->peers[i].next == SHORT_FRAMES + 1;
}

/* Many short connections, whose descriptors are used again at once, while the listener seldom looks. They close without
 * waiting for it, so what they sent last may not come; what comes is told. */
static void short_connections_are_told_whole(void **state)
{
    enum { LIVES = 60, LIVES_WHO_WAIT = 15, LINGER_MS = 1 };
    world *w = *state;
    const uint32_t lives = w->as->waits && !is_deep() ? LIVES_WHO_WAIT : LIVES;
    end *server = listen_at(w), *client = dial(w);
    for (uint32_t life = 0; life <= lives; life++) {
        if (life > 0) {
            stoa_link_options options = options_of(w, false);
            memset(client, 0, sizeof *client);
            end_start(client, w->address, &options);
        }
        expectation up = {&client->ups, 1};
        assert_true(runs_until(w, w->as->by_itself ? server : NULL, has_come, &up, DEADLINE_MS));
        for (uint32_t i = 0; i < SHORT_FRAMES + (life == lives); i++) {
            frame_fill(w->frame, i, 40);
            assert_int_equal(client->link->ops->send(client->link, 0, w->frame, 40), STOA_OK);
        }
        if (life < lives) { end_stop(client, LINGER_MS); }
        if (stoa_random_chance(&w->random, 200)) { (void)poll_some(server, 1 + life % 7); }
    }
    assert_true(runs_until(w, NULL, all_but_the_last_are_gone, server, DEADLINE_MS));
    assert_in_order(server);
    assert_int_equal(counts_of(server).frames_dropped, 0);
    print_message("%u of %u frames came\n", server->frames, lives * SHORT_FRAMES + SHORT_FRAMES + 1);
}

static void one_peer_more_than_the_limit_is_refused_until_one_leaves(void **state)
{
    world *w = *state;
    stoa_link_options options = options_of(w, true);
    options.peer_limit = 2;
    end *server = end_open(w, w->address, &options);
    (void)snprintf(w->address, sizeof w->address, "%s", server->link->ops->address(server->link));
    end *first = dial(w), *second = dial(w);
    wait_for(w, &server->ups, 2);
    end *third = dial(w);
    const uint32_t times = is_deep() ? 3 : 1; /* a second each */
    wait_for(w, &third->refusals, times);
    wait_for(w, &server->refusals, times);
    assert_int_equal(server->why, STOA_E_FULL);
    assert_int_equal(third->why, STOA_E_FULL);
    assert_int_equal(server->ups, 2);
    assert_true(counts_of(server).refused >= times);
    end_stop(first, 0);
    wait_for(w, &server->ups, 3);
    wait_for(w, &third->ups, 1);
    uint32_t ups = third->ups;
    send_patiently(w, second, 0, 0, 10);
    wait_for(w, &server->frames, 1);
    uint32_t downs = third->downs;
    assert_int_equal(ups, downs + 1);
    assert_int_equal(second->downs, 0);
}

/* What came over the old connection is told before its down, what comes over a new one after its up. The listener does
 * not wait longer than it was told, so not all of the old need have come. */
static void connections_are_not_mixed_by_who_looks_away(void **state)
{
    enum { FRAMES = 5, LINGER_MS = 200 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &server->ups, 1);
    wait_for(w, &client->ups, 1);
    for (int twice = 0; twice < 2; twice++) {
        for (uint32_t i = 0; i < FRAMES; i++) {
            frame_fill(w->frame, i, 100);
            assert_int_equal(server->link->ops->send(server->link, server->peer, w->frame, 100), STOA_OK);
        }
        if (twice) { break; }
        end_stop(server, LINGER_MS);
        server->peer_count = 0;
        stoa_link_options options = options_of(w, true);
        end_start(server, w->address, &options);
        expectation again = {&server->ups, 2};
        if (!runs_until(w, client, has_come, &again, LINGER_MS)) { wait_for(w, &server->ups, 2); }
    }
    wait_for(w, &client->ups, 2);
    wait_for(w, &client->peers[1].next, FRAMES);
    assert_true(client->peers[0].next <= FRAMES && client->peers[1].next == FRAMES);
    assert_in_order(client);
    assert_int_equal(client->downs, 1);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        TEST(many_peers_are_kept_apart),
        TEST(a_listener_that_never_sleeps_keeps_all_peers),
        TEST(short_connections_are_told_whole),
        TEST(one_peer_more_than_the_limit_is_refused_until_one_leaves),
        TEST(connections_are_not_mixed_by_who_looks_away),
    };
    return links_main(argc, argv, "transport/link.h, peers", ON_DIFFERENT, tests, sizeof tests / sizeof tests[0]);
}
