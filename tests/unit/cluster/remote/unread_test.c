/* unread_test.c - goal: a node that says much and reads nothing takes a bounded part of memory here, whatever it says: it is lost when too
 * much waits for it, and what it hears when it reads again is so. Method: a node whose peer is a session that the test speaks for; it gives
 * no credit back until it is told to.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cluster/remote/frames.h"
#include "cluster/remote/remote.h"
#include "runtime/sim.h"
#include "tests/session_ignored.h"
#include "transport/sim/link.h"

enum { UNREAD_BYTES = 6 << 20, MANY = 40, SAYS_A_TICK = 2000, TICKS_MAX = 20000 };

#define cup_sip_FIELDS STOA_NO_FIELDS
#define cup_ROWS(ROW, K) ROW(K, CAST, sip, _, "Nothing.")
STOA_TABLE_HERE(cup)
typedef struct cup {
    uint8_t nothing;
} cup;
#define cup_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(cup, .mailbox_limit = 16)
static stoa_err cup_on_sip(stoa_turn *turn, cup *self, const cup_sip *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}

typedef struct world {
    stoa_clock_virtual clock;
    stoa_sim_net *net;
    stoa_sim *sim;
    stoa_node *node;
    stoa_remote *remote;
    stoa_ref cup;
    stoa_link *link; /* the peer's, and its sessions */
    stoa_sessions *sessions;
    uint64_t held[STOA_LANE_COUNT]; /* credit that it has not given back */
    bool up, reads;
    uint64_t of[STOA_REMOTE_FRAMES], gone, cup_number; /* frames that came; the number of the last that is gone */
    stoa_remote_peer_view seen;
} world;

/* --- the peer */

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    world *w = context;
    w->of[m->type]++;
    if (m->type == STOA_REMOTE_NAME) { w->cup_number = m->source; }
    if (m->type == STOA_REMOTE_GONE) { w->gone = m->source; }
    w->held[m->lane] += m->credit_bytes;
    if (!w->reads) { return; }
    stoa_session_consumed(session, m->lane, w->held[m->lane]);
    w->held[m->lane] = 0;
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    (void)session, (void)resumed;
    ((world *)context)->up = true;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    (void)session, (void)why;
    ((world *)context)->up = false;
}

/* --- the world */

static void look(void *context, const stoa_remote_peer_view *view)
{
    ((world *)context)->seen = *view;
}

static void tick(world *w)
{
    w->clock.now += STOA_US(500);
    stoa_sim_run(w->sim, STOA_US(500));
    (void)stoa_remote_step(w->remote);
    (void)stoa_sessions_poll(w->sessions, w->clock.now, 256);
    (void)stoa_sessions_step(w->sessions, w->clock.now);
    (void)stoa_remote_step(w->remote);
    stoa_remote_peers(w->remote, look, w);
    assert_in_range(w->seen.backlog_bytes, 0, 2 * UNREAD_BYTES); /* of a lane; and what begins as one is told to be lost */
}

#define UNTIL(w, what)                                                          \
    for (uint32_t ticks_ = 0; !(what); ticks_++) {                              \
        assert_true(ticks_ < TICKS_MAX);                                        \
        tick(w);                                                                \
    }

static int open_world(void **state)
{
    static const stoa_kind *const kinds[] = {&cup_kind, NULL};
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_clock_virtual_init(&w->clock, 1);
    stoa_sim_net_options net = {.seed = 1, .clock = &w->clock.clock};
    stoa_remote_link link = {.uri = "sim://unread/door", .link.listen = true};
    stoa_remote_options options = {
        .name = "a", .incarnation = 1, .epoch = 1, .kinds = kinds, .links = &link, .link_count = 1, .unread_bytes = UNREAD_BYTES};
    assert_int_equal(stoa_sim_net_new("unread", &net, &w->net), STOA_OK);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 1}, &w->sim, &w->node), STOA_OK);
    options.node = w->node;
    assert_int_equal(stoa_remote_new(&options, &w->remote), STOA_OK);
    assert_int_equal(stoa_spawn(w->node, &cup_kind, "cup/one", NULL, &w->cup), STOA_OK);
    static stoa_session_events events;
    events = (stoa_session_events){.message = on_message, .up = on_up, .down = on_down, .reset = ignore_reset,
                                   .refused = ignore_refused, .expired = ignore_expired, .room = ignore_room, .context = w};
    assert_int_equal(stoa_link_open("sim://unread/door", &(stoa_link_options){.frame_limit = 65536, .queue_frames = 64}, &w->link), STOA_OK);
    stoa_sessions_options sessions = {
        .link = w->link, .session = {.name = "b", .incarnation = 1, .epoch = 1, .consumes = true, .events = &events}};
    assert_int_equal(stoa_sessions_new(&sessions, &w->sessions), STOA_OK);
    *state = w;
    UNTIL(w, w->up && w->cup_number);
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    stoa_sessions_free(w->sessions);
    w->link->ops->close(w->link, 0);
    stoa_remote_stop(w->remote, 0);
    stoa_sim_free(w->sim);
    stoa_sim_net_free(w->net);
    free(w);
    return 0;
}

static void say(world *w, stoa_remote_frame type, uint64_t source, uint64_t target)
{
    uint64_t seq;
    (void)stoa_session_send(stoa_sessions_at(w->sessions, 0), STOA_LANE_NORMAL, type, source, target, 0, NULL, 0, w->clock.now, &seq);
}

/* --- */

static void who_reads_no_answers_is_lost_and_hears_all_again(void **state)
{
    world *w = *state;
    uint64_t source = UINT64_C(1) << 24, targets = 12345;
    for (uint32_t ticks = 0; w->seen.counts.lost == 0; ticks++) { /* links to nobody: each is answered with EXIT */
        assert_true(ticks < TICKS_MAX);
        for (uint32_t i = 0; i < SAYS_A_TICK; i++) { say(w, STOA_REMOTE_LINK, source | 1, targets++); }
        tick(w);
    }
    assert_in_range(w->seen.backlog_bytes, 0, UNREAD_BYTES / 4); /* what was for it is gone */
    UNTIL(w, !w->up);
    assert_int_equal(stoa_stop(w->node, w->cup), STOA_OK);
    UNTIL(w, w->up);
    uint64_t again = w->of[STOA_REMOTE_AGAIN];
    w->reads = true;
    for (uint32_t lane = 0; lane < STOA_LANE_COUNT; lane++) {
        stoa_session_consumed(stoa_sessions_at(w->sessions, 0), (stoa_lane)lane, w->held[lane]);
        w->held[lane] = 0;
    }
    UNTIL(w, w->of[STOA_REMOTE_AGAIN] > again && w->gone == w->cup_number && w->seen.backlog_bytes == 0);
    uint64_t exits = w->of[STOA_REMOTE_EXIT];
    say(w, STOA_REMOTE_LINK, source | 2, targets);
    UNTIL(w, w->of[STOA_REMOTE_EXIT] > exits); /* and it is answered again */
    assert_int_equal(w->seen.counts.lost, 1);
}

static void who_asks_for_all_again_and_again_is_told_as_there_is_room(void **state)
{
    world *w = *state;
    for (uint32_t i = 0; i < MANY; i++) {
        for (uint32_t said = 0; said < SAYS_A_TICK * 10; said++) { say(w, STOA_REMOTE_AGAIN, 0, 0); }
        tick(w);
    }
    uint64_t before = w->of[STOA_REMOTE_NAME];
    assert_int_equal(w->seen.counts.lost, 0);
    w->reads = true;
    for (uint32_t lane = 0; lane < STOA_LANE_COUNT; lane++) {
        stoa_session_consumed(stoa_sessions_at(w->sessions, 0), (stoa_lane)lane, w->held[lane]);
        w->held[lane] = 0;
    }
    for (uint32_t i = 0; i < 2000; i++) { tick(w); }
    assert_int_equal(w->seen.backlog_bytes, 0);
    uint64_t told = w->of[STOA_REMOTE_NAME];
    assert_in_range(told - 1, 1, 2 * (MANY + 1)); /* once a step at most, of 800,000 */
    say(w, STOA_REMOTE_AGAIN, 0, 0);
    UNTIL(w, w->of[STOA_REMOTE_NAME] > told);
    assert_true(told >= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_reads_no_answers_is_lost_and_hears_all_again, open_world, close_world),
        cmocka_unit_test_setup_teardown(who_asks_for_all_again_and_again_is_told_as_there_is_room, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
