/* link_keys_test.c - goal: only keys that are listed get in, and frames carry their names. Runs where there are keys. Method and seed: links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/links_world.h"

static void frames_carry_the_name_of_the_key(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    stoa_link_options options = options_of(w, false);
    options.secret_key = w->other.secret_key;
    options.public_key = w->other.public_key;
    end *other = end_open(w, w->address, &options);
    wait_for(w, &client->ups, 1);
    wait_for(w, &other->ups, 1);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 1);
    assert_string_equal(server->identity, "client");
    send_patiently(w, other, 0, 0, 10);
    wait_for(w, &server->frames, 2);
    assert_string_equal(server->identity, "other");
    wait_for(w, &server->ups, 2);
    assert_int_equal(server->downs, 0);
}

/* Who it was said to be there is not who it is. */
static void a_key_that_is_anothers_now_ends_where_it_is_connected(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    stoa_link_options options = options_of(w, false);
    options.secret_key = w->other.secret_key;
    options.public_key = w->other.public_key;
    wait_for(w, &server->ups, 1);
    end *other = end_open(w, w->address, &options);
    wait_for(w, &server->ups, 2);
    wait_for(w, &other->ups, 1);
    stoa_peer gone = server->peer;
    send_patiently(w, other, 0, 0, 10);
    wait_for(w, &server->frames, 1);

    stoa_link_allowed renamed = w->allowed[1];
    (void)snprintf(renamed.name, sizeof renamed.name, "another");
    frame_fill(w->frame, 1, 10);
    assert_int_equal(other->link->ops->send(other->link, 0, w->frame, 10), STOA_OK);
    assert_int_equal(server->link->ops->allow(server->link, (stoa_link_allowed[]){w->allowed[0], renamed}, 2), STOA_OK);
    assert_int_equal(server->link->ops->send(server->link, gone, w->frame, 10), STOA_E_CLOSED);
    wait_for(w, &server->downs, 1);
    assert_true(server->lost == gone);
    wait_for(w, &other->downs, 1);
    wait_for(w, &server->ups, 3); /* it comes back, as who it is */
    wait_for(w, &other->ups, 2);
    assert_int_equal(server->frames, 1);
    assert_int_equal(server->refusals + other->refusals, 0);
    send_patiently(w, other, 0, 0, 10);
    wait_for(w, &server->frames, 2);
    assert_string_equal(server->identity, "another");
    assert_in_order(server);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 3);
    assert_int_equal(client->downs, 0);
}

static void a_key_that_is_not_listed_is_refused_until_it_is(void **state)
{
    world *w = *state;
    stoa_link_options options = options_of(w, true);
    options.allowed_count = 1;
    end *server = end_open(w, w->address, &options);
    (void)snprintf(w->address, sizeof w->address, "%s", server->link->ops->address(server->link));
    end *client = dial(w);
    options = options_of(w, false);
    options.secret_key = w->other.secret_key;
    options.public_key = w->other.public_key;
    end *other = end_open(w, w->address, &options);

    wait_for(w, &other->refusals, 3);
    wait_for(w, &server->refusals, 1);
    wait_for(w, &client->ups, 1);
    assert_int_equal(other->why, STOA_E_DENIED);
    assert_int_equal(server->why, STOA_E_DENIED);
    assert_int_equal(other->ups, 0);
    assert_true(counts_of(server).refused >= 2);
    assert_int_equal(other->link->ops->send(other->link, 0, w->frame, 10), STOA_E_CLOSED);

    assert_int_equal(server->link->ops->allow(server->link, w->allowed, 2), STOA_OK);
    wait_for(w, &other->ups, 1);
    send_patiently(w, other, 0, 0, 10);
    wait_for(w, &server->frames, 1);
    assert_string_equal(server->identity, "other");
    assert_int_equal(client->downs, 0);
}

static void a_removed_key_is_refused_where_it_is_connected(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    stoa_link_options options = options_of(w, false);
    options.secret_key = w->other.secret_key;
    options.public_key = w->other.public_key;
    wait_for(w, &server->ups, 1);
    end *other = end_open(w, w->address, &options);
    wait_for(w, &server->ups, 2);
    wait_for(w, &other->ups, 1);
    stoa_peer gone = server->peer;
    send_patiently(w, other, 0, 0, 10);
    wait_for(w, &server->frames, 1);

    frame_fill(w->frame, 1, 10);
    assert_int_equal(other->link->ops->send(other->link, 0, w->frame, 10), STOA_OK);
    assert_int_equal(server->link->ops->allow(server->link, w->allowed, 1), STOA_OK);
    assert_int_equal(server->link->ops->send(server->link, gone, w->frame, 10), STOA_E_CLOSED);
    wait_for(w, &server->downs, 1);
    assert_true(server->lost == gone);
    wait_for(w, &other->downs, 1);
    wait_for(w, &other->refusals, 2);
    assert_int_equal(other->why, STOA_E_DENIED);
    assert_int_equal(server->frames, 1);
    assert_in_order(server);
    assert_int_equal(other->ups, 1);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 2);
    assert_int_equal(client->downs, 0);
}

static void a_bad_allow_list_leaves_the_old_one(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &server->ups, 1);
    wait_for(w, &client->ups, 1);
    stoa_link_allowed bad[3][2] = {{w->allowed[0], w->allowed[0]}, {w->allowed[0], {.name = "x"}}, {w->allowed[0]}};
    memcpy(bad[2][1].public_key, w->other.public_key, STOA_KEY_TEXT_BYTES); /* and no name */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(server->link->ops->allow(server->link, bad[i], 2), STOA_E_INVALID);
    }
    assert_int_equal(client->link->ops->allow(client->link, w->allowed, 2), STOA_E_INVALID);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 1);
    assert_string_equal(server->identity, "client");
}

static void a_wrong_server_key_is_refused(void **state)
{
    world *w = *state;
    end *server = listen_at(w);
    stoa_link_options options = options_of(w, false);
    options.server_key = w->other.public_key;
    end *client = end_open(w, w->address, &options);
    wait_for(w, &client->refusals, 2);
    wait_for(w, &server->refusals, 1);
    assert_int_equal(client->why, STOA_E_DENIED);
    assert_int_equal(server->why, STOA_E_DENIED);
    assert_int_equal(client->ups + server->ups, 0);
}

static void who_does_not_encrypt_is_refused_by_who_does(void **state)
{
    world *w = *state;
    end *server = listen_at(w);
    stoa_link_options plain = {.frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
    end *client = end_open(w, w->address, &plain);
    wait_for(w, &client->refusals, 2);
    wait_for(w, &server->refusals, 1);
    assert_int_equal(client->why, STOA_E_DENIED);
    assert_true(server->why == STOA_E_DENIED || server->why == STOA_E_MALFORMED); /* the client may notice first */
    end_stop(server, 0);
    end_stop(client, 0);

    plain.listen = true;
    end *open_server = end_open(w, w->address, &plain);
    end *wary = dial(w);
    wait_for(w, &wary->refusals, 2);
    assert_int_equal(wary->why, STOA_E_DENIED);
    assert_int_equal(client->ups + server->ups + open_server->ups + wary->ups, 0);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        KEY_TEST(frames_carry_the_name_of_the_key),
        KEY_TEST(a_key_that_is_anothers_now_ends_where_it_is_connected),
        KEY_TEST(a_key_that_is_not_listed_is_refused_until_it_is),
        KEY_TEST(a_removed_key_is_refused_where_it_is_connected),
        KEY_TEST(a_bad_allow_list_leaves_the_old_one),
        KEY_TEST(a_wrong_server_key_is_refused),
        KEY_TEST(who_does_not_encrypt_is_refused_by_who_does),
    };
    return links_main(argc, argv, "transport/link.h, keys", ON_DIFFERENT, tests, sizeof tests / sizeof tests[0]);
}
