/* link_options_test.c - goal: what cannot be listened at or dialled is named. Method and seed: links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/links_world.h"

static void an_address_is_listened_at_once(void **state)
{
    world *w = *state;
    stoa_link_options options = options_of(w, true);
    end *server = listen_at(w), *client = dial(w);
    stoa_link *second = NULL;
    assert_int_equal(stoa_link_open(w->address, &options, &second), STOA_E_EXISTS);
    assert_null(second);
    wait_for(w, &server->ups, 1);
    wait_for(w, &client->ups, 1);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 1);
}

static void bad_options_are_named(void **state)
{
    world *w = *state;
    stoa_link *link = NULL;
    for (int listen = 0; listen < 2; listen++) {
        stoa_link_options good = options_of(w, listen);
        stoa_link_options bad[] = {good, good, good, good, good};
        bad[0].frame_limit = STOA_LINK_FRAME_LIMIT_MIN - 1;
        bad[1].queue_frames = 0;
        bad[2].peer_limit = STOA_LINK_PEERS_MAX + 1;
        bad[3].secret_key = "too short";
        bad[4].secret_key = "not Z85, but forty characters long: ~~~~";
        for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            assert_int_equal(stoa_link_open(w->address, &bad[i], &link), STOA_E_INVALID);
        }
        assert_int_equal(stoa_link_open("zmq+sctp://127.0.0.1:1", &good, &link), STOA_E_UNSUPPORTED);
        assert_int_equal(stoa_link_open("zmq+tcp:/127.0.0.1:1", &good, &link), STOA_E_UNSUPPORTED);
        char nowhere[32];
        (void)snprintf(nowhere, sizeof nowhere, "%s://", w->as->scheme);
        assert_int_equal(stoa_link_open(nowhere, &good, &link), STOA_E_INVALID);
        if (w->as->place != AT_PORT) { continue; }
        (void)snprintf(nowhere, sizeof nowhere, "%s://127.0.0.1:port", w->as->scheme);
        assert_int_equal(stoa_link_open(nowhere, &good, &link), STOA_E_INVALID);
    }
    assert_null(link);
}

static void without_keys_nothing_leaves_the_machine(void **state)
{
    world *w = *state;
    stoa_link *link = NULL;
    stoa_link_options plain = {.frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
    const char *addresses[] = {"zmq+tcp://192.0.2.1:7000", "zmq+tcp://0.0.0.0:7000", "zmq+tcp://*:7000",
                               "zmq+tcp://127.example.org:7000", "zmq+tcp://[2001:db8::1]:7000"};
    for (int listen = 0; listen < 2; listen++) {
        plain.listen = listen;
        for (unsigned i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
            assert_int_equal(stoa_link_open(addresses[i], &plain, &link), STOA_E_INVALID);
        }
    }
    plain.listen = true;
    plain.allowed = w->allowed; /* names without encryption prove nothing */
    plain.allowed_count = 1;
    assert_int_equal(stoa_link_open(w->address, &plain, &link), STOA_E_INVALID);
    assert_null(link);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        TEST(an_address_is_listened_at_once),
        TEST(bad_options_are_named),
        TEST(without_keys_nothing_leaves_the_machine),
    };
    return links_main(argc, argv, "transport/link.h, options", ON_DIFFERENT, tests, sizeof tests / sizeof tests[0]);
}
