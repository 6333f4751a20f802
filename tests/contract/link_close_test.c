/* link_close_test.c - goal: who closes is heard out, who dies is told, who is lost is dialled again. Method and seed: links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/links_world.h"

#include <pthread.h>

static void *close_lingering(void *argument)
{
    end_stop(argument, DEADLINE_MS);
    return NULL;
}

/* Read a frame at a time, and answer each: a transport must not take what comes in for a reason to drop what goes out. */
static void hear_out(end *to, bool talks)
{
    uint8_t answer = 0;
    for (uint64_t until_ms = now_ms() + DEADLINE_MS; talks && to->downs == 0 && now_ms() < until_ms;) {
        (void)poll_some(to, 1);
        (void)to->link->ops->send(to->link, to->peer, &answer, 1); /* CLOSED in the end, or FULL */
        (void)poll(NULL, 0, 1);
    }
}

/* Everything between the ends is full when one closes, and it all arrives, then down. */
static void closes_with_a_full_queue(world *w, end *from, end *to, bool talks)
{
    uint32_t sent = fill(w, from, to, 16 * 1024);
    end closing = {.link = from->link};
    from->link = NULL;
    uint64_t began_ms = now_ms();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_lingering, &closing), 0);
    hear_out(to, talks);
    wait_for(w, &to->downs, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(now_ms() - began_ms < DEADLINE_MS); /* no longer than it was needed */
    assert_int_equal(to->frames, sent);
    assert_in_order(to);
    assert_true(to->lost == to->from);
    assert_int_equal(to->link->ops->send(to->link, to->lost, w->frame, 10), STOA_E_CLOSED);
}

static void peer_closes(world *w, bool talks)
{
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &server->ups, 1);
    wait_for(w, &client->ups, 1);
    closes_with_a_full_queue(w, client, server, talks);
}

static void listener_closes(world *w, bool talks)
{
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    closes_with_a_full_queue(w, server, client, talks);
}

static void a_peer_that_closes_is_down_after_its_last_frame(void **state)
{
    peer_closes(*state, false);
}

static void a_peer_that_closes_is_heard_out_by_a_listener_that_talks(void **state)
{
    peer_closes(*state, true);
}

static void a_listener_that_closes_is_down_after_its_last_frame(void **state)
{
    listener_closes(*state, false);
}

static void a_listener_that_closes_is_heard_out_by_a_peer_that_talks(void **state)
{
    listener_closes(*state, true);
}

static void a_lost_connection_is_dialled_again(void **state)
{
    enum { TIMES = 4 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    for (uint32_t i = 0; i < TIMES; i++) {
        wait_for(w, &client->ups, i + 1);
        wait_for(w, &server->ups, i + 1);
        send_patiently(w, client, 0, 0, 64);
        send_patiently(w, server, server->peer, 0, 64);
        wait_for(w, &server->frames, i + 1);
        wait_for(w, &client->frames, i + 1);
        end_stop(server, 0);
        wait_for(w, &client->downs, i + 1);
        assert_int_equal(client->link->ops->send(client->link, 0, w->frame, 10), STOA_E_CLOSED);
        server->peer_count = 0;
        stoa_link_options options = options_of(w, true);
        end_start(server, w->address, &options);
    }
    assert_in_order(server);
    assert_in_order(client);
    wait_for(w, &client->ups, TIMES + 1);
}

static void a_listener_may_come_after_who_dials(void **state)
{
    world *w = *state;
    end *server = listen_at(w); /* for an address that is free */
    end_stop(server, 0);
    end *client = dial(w);
    run_for(w, 300);
    assert_int_equal(client->ups, 0);
    assert_int_equal(client->link->ops->send(client->link, 0, w->frame, 10), STOA_E_CLOSED);
    end *late = listen_at(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &late->ups, 1);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &late->frames, 1);
    assert_int_equal(client->downs, 0);
}

static void a_killed_peer_is_down(void **state)
{
    world *w = *state;
    end *server = listen_at(w);
    pid_t child = end_spawn(w, "dial");
    wait_for(w, &server->ups, 1);
    kill(child, SIGKILL);
    wait_for(w, &server->downs, 1);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void who_is_parted_with_comes_back_and_others_do_not_notice(void **state)
{
    world *w = *state;
    stoa_link_counts counts;
    end *server = listen_at(w), *first = dial(w);
    wait_for(w, &server->ups, 1);
    stoa_peer parted = server->peer;
    end *second = dial(w);
    wait_for(w, &server->ups, 2);
    wait_for(w, &first->ups, 1);
    wait_for(w, &second->ups, 1);
    server->link->ops->part(server->link, parted);
    wait_for(w, &server->downs, 1);
    wait_for(w, &first->downs, 1);
    assert_true(server->lost == parted);
    assert_int_equal(server->link->ops->send(server->link, parted, w->frame, 10), STOA_E_CLOSED);
    server->link->ops->part(server->link, parted); /* nobody any more */
    wait_for(w, &server->ups, 3);
    wait_for(w, &first->ups, 2);
    send_patiently(w, first, 0, 0, 64);
    send_patiently(w, second, 0, 0, 64);
    wait_for(w, &server->frames, 2);
    assert_int_equal(server->downs, 1);
    assert_int_equal(second->downs, 0);
    server->link->ops->counts(server->link, &counts);
    assert_int_equal(counts.refused, 0);
    first->link->ops->counts(first->link, &counts);
    assert_int_equal(counts.refused, 0);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        TEST(a_peer_that_closes_is_down_after_its_last_frame),
        TEST(a_peer_that_closes_is_heard_out_by_a_listener_that_talks),
        TEST(a_listener_that_closes_is_down_after_its_last_frame),
        TEST(a_listener_that_closes_is_heard_out_by_a_peer_that_talks),
        TEST(a_lost_connection_is_dialled_again),
        TEST(a_listener_may_come_after_who_dials),
        TEST(who_is_parted_with_comes_back_and_others_do_not_notice),
        PROCESS_TEST(a_killed_peer_is_down),
    };
    return links_main(argc, argv, "transport/link.h, close", ON_DIFFERENT, tests, sizeof tests / sizeof tests[0]);
}
