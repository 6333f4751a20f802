/* link_full_test.c - goal: a queue that is full says so, for the one peer that does not read, and wakes who waits for room. Method and seed:
 * links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/links_world.h"

static bool can_send(const void *of)
{
    const end *e = *(const end *const *)of;
    uint8_t one = 0;
    return e->link->ops->send(e->link, e->peer, &one, 1) == STOA_OK;
}

static void full_then_all_arrive(world *w, end *from, end *to)
{
    enum { SIZE_BYTES = 32 * 1024 };
    uint32_t sent = fill(w, from, to, SIZE_BYTES);
    assert_true(sent > QUEUE_FRAMES / 4); /* a transport may count messages of its own, or bytes */
    wait_for(w, &to->frames, sent);
    assert_int_equal(to->frames, sent);
    assert_in_order(to);
    const end *sender = from;
    assert_true(runs_until(w, NULL, can_send, &sender, DEADLINE_MS)); /* woken by the descriptor */
    wait_for(w, &to->frames, sent + 1);
}

static void a_listener_that_does_not_read_makes_send_full(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    full_then_all_arrive(w, client, server);
}

static void a_peer_that_does_not_read_makes_send_full_for_it_alone(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *idle = dial(w);
    wait_for(w, &server->ups, 1);
    stoa_peer idle_peer = server->peer;
    end *busy = dial(w);
    wait_for(w, &server->ups, 2);
    stoa_peer busy_peer = server->peer;
    server->peer = idle_peer;
    uint32_t sent = fill(w, server, idle, 32 * 1024);
    frame_fill(w->frame, 0, 100);
    assert_int_equal(server->link->ops->send(server->link, busy_peer, w->frame, 100), STOA_OK);
    expectation come = {&busy->frames, 1};
    assert_true(runs_until(w, idle, has_come, &come, DEADLINE_MS));
    assert_int_equal(idle->frames, 0);
    wait_for(w, &idle->frames, sent);
    assert_in_order(idle);
    const end *sender = server;
    assert_true(runs_until(w, NULL, can_send, &sender, DEADLINE_MS));
}

/* Room that comes between the full send and the poll before the sleep is not slept through. */
static void wakes_although_polled(world *w, end *from, end *to)
{
    bool polled = w->as->waits;
    uint32_t sent = fill(w, from, to, 32 * 1024);
    expectation come = {&to->frames, polled ? 0 : sent};
    assert_true(runs_until(w, from, has_come, &come, DEADLINE_MS));
    (void)poll(NULL, 0, 50); /* the news is at the sender by now, so the poll can swallow it */
    stoa_err err = STOA_E_FULL;
    for (uint64_t until_ms = now_ms() + DEADLINE_MS; err == STOA_E_FULL;) {
        while (poll_some(from, POLL_MAX) == POLL_MAX) {}
        if (polled) { settle(w, from); }
        assert_true(sleep_on(w, polled ? NULL : to, until_ms));
        err = from->link->ops->send(from->link, from->peer, w->frame, 32 * 1024);
    }
    assert_int_equal(err, STOA_OK);
}

static void room_is_not_slept_through(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    wakes_although_polled(w, client, server);
    wakes_although_polled(w, server, client);
}

static void dies_with_a_full_queue(world *w, end *from, end *to, uint32_t sent)
{
    wait_for(w, &to->downs, 1);
    assert_in_order(to);
    assert_true(to->frames <= sent && !from->link);
}

/* One dials, the other listens; both at once, because of the pause. */
static void a_peer_may_die_while_its_queue_is_full(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    address_new(w, names[1]);
    end *dying = listen_at(w), *left = dial(w);
    wait_for(w, &left->ups, 1);
    wait_for(w, &dying->ups, 1);
    uint32_t sent = fill(w, client, server, 1024);
    server->looks_away = true;
    uint32_t sent_back = fill(w, dying, left, 1024);
    server->looks_away = false;
    end_stop(client, 0);
    end_stop(dying, 0);
    (void)poll(NULL, 0, 700); /* long enough for whatever a transport does by the clock twice a second */
    dies_with_a_full_queue(w, client, server, sent);
    dies_with_a_full_queue(w, dying, left, sent_back);
}

/* The listener never finds its queue empty, and still tells who has left. */
static void a_stream_does_not_hold_back_a_down(void **state)
{
    enum { SIZE_BYTES = 4096 };
    world *w = *state;
    end *server = listen_at(w), *stream = dial(w), *leaver = dial(w);
    wait_for(w, &server->ups, 2);
    wait_for(w, &stream->ups, 1);
    wait_for(w, &leaver->ups, 1);
    uint32_t sent = fill(w, stream, server, SIZE_BYTES);
    end_stop(leaver, 0);
    (void)poll(NULL, 0, 100);
    for (uint64_t until_ms = now_ms() + DEADLINE_MS; server->downs == 0;) {
        assert_true(now_ms() < until_ms && server->frames < sent);
        (void)poll_some(server, 1);
        (void)poll(NULL, 0, 1); /* time for the queue to be filled again */
        sent = send_until_full(w, stream, sent, SIZE_BYTES);
    }
    assert_in_order(server);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        TEST(a_listener_that_does_not_read_makes_send_full),
        TEST(a_peer_that_does_not_read_makes_send_full_for_it_alone),
        TEST(room_is_not_slept_through),
        TEST(a_peer_may_die_while_its_queue_is_full),
        TEST(a_stream_does_not_hold_back_a_down),
    };
    return links_main(argc, argv, "transport/link.h, full", ON_DIFFERENT, tests, sizeof tests / sizeof tests[0]);
}
