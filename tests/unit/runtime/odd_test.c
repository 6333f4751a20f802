/* odd_test.c - goal: what is odd is refused or harmless, and stays what it says: references to no place, to ports that closed, to
 * actors whose slot has been used as often as a generation counts; times that lie beyond the clock's end; timers of others; a
 * link whose maker fails without memory.
 * Method: an actor that does what it is told, in the simulator; counters and slots are looked at from within.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "runtime/internal.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"

/* --- odd */

#define odd_order_FIELDS(F, S) F(S, uint64_t, way) F(S, uint64_t, at) F(S, uint64_t, count)
#define odd_done_FIELDS(F, S)  F(S, int64_t, error) F(S, uint64_t, at) F(S, uint64_t, heard) F(S, uint64_t, answers)
#define odd_ping_FIELDS        STOA_NO_FIELDS
#define odd_ask_FIELDS         STOA_NO_FIELDS
#define odd_ROWS(ROW, K)                                                                                               \
    ROW(K, COMMAND, order, done, "Do what way says.")                                                                  \
    ROW(K, REPLY, done, _, "What came of it, and what was heard so far.")                                              \
    ROW(K, CAST, ping, _, "Counted.")                                                                                  \
    ROW(K, COMMAND, ask, done, "Answered.")
STOA_TABLE(odd)
STOA_TABLE_DEFINE(odd)
enum { LOOK, SEND, SEND_WITHIN, ASK, AFTER, EVERY, CANCEL, SPAWN, STOP, LINK };

typedef struct odd {
    uint64_t heard, answers;
} odd;
#define odd_HEARS(HEAR, K) HEAR(K, odd, done)
STOA_PLAIN_KIND(odd, .mailbox_limit = 1 << 16)

static stoa_err send_many(stoa_turn *turn, stoa_ref to, uint64_t count)
{
    stoa_err err = STOA_OK;
    for (uint64_t i = 0; i < count && !err; i++) { err = odd_send_ping(turn, to, (odd_ping){0}); }
    return err;
}

static stoa_err carry_out(stoa_turn *turn, const odd_order *in, odd_done *out)
{
    stoa_timer timer = {in->at};
    stoa_ref ref = {in->at};
    stoa_err err = STOA_OK;
    switch (in->way) {
    case SEND: return send_many(turn, ref, in->count);
    case SEND_WITHIN: return odd_within_ping(turn, ref, (odd_ping){0}, in->count);
    case ASK: return odd_ask_ask(turn, ref, (odd_ask){0}, in->count, 1);
    case AFTER: err = odd_after_ping(turn, in->count, (odd_ping){0}, &timer); break;
    case EVERY: err = odd_every_ping(turn, in->count, (odd_ping){0}, &timer); break;
    case CANCEL: stoa_turn_cancel(turn, timer); break;
    case SPAWN: err = stoa_turn_spawn(turn, &odd_kind, NULL, &ref); break;
    case LINK: return stoa_turn_link(turn, ref);
    case STOP: return stoa_turn_stop(turn, ref, NULL);
    default: break;
    }
    out->at = in->way == SPAWN ? ref.at : timer.at;
    return err;
}
static stoa_err odd_on_order(stoa_turn *turn, odd *self, const odd_order *in, odd_done *out)
{
    out->error = carry_out(turn, in, out);
    out->heard = self->heard;
    out->answers = self->answers;
    return STOA_OK;
}
static stoa_err odd_on_ping(stoa_turn *turn, odd *self, const odd_ping *in)
{
    (void)turn;
    (void)in;
    self->heard++;
    return STOA_OK;
}
static stoa_err odd_on_ask(stoa_turn *turn, odd *self, const odd_ask *in, odd_done *out)
{
    (void)turn;
    (void)in;
    out->heard = self->heard;
    return STOA_OK;
}
static stoa_err odd_on_odd_done(stoa_turn *turn, odd *self, const odd_done *in)
{
    (void)in;
    self->answers += turn->error == STOA_OK;
    return STOA_OK;
}

/* --- the world */

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_ref one, other;
} world;

static void open_world(world *w)
{
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 5, .cores = 1}, &w->sim, &w->node), STOA_OK);
    assert_int_equal(stoa_spawn(w->node, &odd_kind, "odd/one", NULL, &w->one), STOA_OK);
    assert_int_equal(stoa_spawn(w->node, &odd_kind, "odd/other", NULL, &w->other), STOA_OK);
}

static odd_done order(const world *w, stoa_ref who, uint64_t way, uint64_t at, uint64_t count)
{
    odd_done out;
    odd_order in = {.way = way, .at = at, .count = count};
    assert_int_equal(odd_call_order(w->node, who, in, STOA_S(10), &out), STOA_OK);
    return out;
}

static odd_done look(const world *w, stoa_ref who)
{
    return order(w, who, LOOK, 0, 0);
}

/* --- cases */

static void what_names_no_place_is_closed(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    for (uint32_t place = 1; place < 256; place++) {
        if (place == 1) { continue; } /* the node's own port */
        stoa_ref to = stoa_ref_make(1, place, 5);
        assert_int_equal(order(&w, w.one, SEND, to.at, 1).error, STOA_E_CLOSED);
        assert_int_equal(order(&w, w.one, SEND_WITHIN, to.at, 1).error, STOA_E_CLOSED);
        assert_int_equal(order(&w, w.one, ASK, to.at, 1).error, STOA_E_CLOSED);
    }
    stoa_sim_free(w.sim);
}

static void what_a_closed_port_is_sent_is_counted_and_the_core_rests(void **state)
{
    (void)state;
    enum { ROUNDS = 100, EACH = 60 };
    world w;
    stoa_port *port;
    open_world(&w);
    const stoa_core *core = w.node->cores[0];
    assert_int_equal(stoa_port_open(w.node, "gone", &port), STOA_OK);
    stoa_ref to = stoa_port_ref(port);
    assert_int_equal(order(&w, w.one, SEND, to.at, EACH).error, STOA_OK);
    stoa_port_close(port);
    uint64_t before = core->dropped[STOA_DROP_CLOSED];
    for (uint32_t i = 0; i < ROUNDS; i++) { assert_int_equal(order(&w, w.one, SEND, to.at, EACH).error, STOA_OK); }
    assert_int_equal(core->dropped[STOA_DROP_CLOSED] - before, ROUNDS * EACH);
    assert_int_equal(core->place.dirty, 0);
    stoa_sim_free(w.sim);
}

/* Nobody took what was sent to it before it closed. */
static void what_waits_for_a_port_that_closes_is_counted(void **state)
{
    (void)state;
    enum { ROUNDS = 200, EACH = 60, HELD = 4096 };
    world w;
    stoa_port *port;
    open_world(&w);
    const stoa_core *core = w.node->cores[0];
    assert_int_equal(stoa_port_open(w.node, "gone", &port), STOA_OK);
    stoa_ref to = stoa_port_ref(port);
    for (uint32_t i = 0; i < ROUNDS; i++) { assert_int_equal(order(&w, w.one, SEND, to.at, EACH).error, STOA_OK); }
    assert_int_not_equal(core->place.dirty, 0);
    atomic_store(&port->place.serves, 0); /* and it took nothing */
    (void)look(&w, w.one);
    assert_int_equal(core->dropped[STOA_DROP_CLOSED], ROUNDS * EACH - HELD);
    assert_int_equal(core->place.dirty, 0);
    stoa_sim_free(w.sim);
}

static void count_closed(void *context, const stoa_dead_letter *letter)
{
    uint32_t *count = context;
    *count += letter->reason == STOA_DROP_CLOSED && letter->why == STOA_E_CLOSED && letter->row == &odd_rows[odd_ROW_ping];
}

/* In the ring, gathered, spilled: each is counted once, wherever it was, and its memory comes back. */
static void what_a_port_never_read_is_counted_when_it_closes(void **state)
{
    (void)state;
    enum { EACH = 60 };
    static const uint32_t rounds[] = {1, 40, 200};
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++) {
        world w;
        stoa_port *port;
        uint32_t letters = 0;
        open_world(&w);
        const stoa_core *core = w.node->cores[0];
        assert_int_equal(stoa_port_open(w.node, "gone", &port), STOA_OK);
        stoa_ref to = stoa_port_ref(port);
        for (int k = 0; k < 3; k++) { (void)look(&w, w.one); } /* as many answers are on their way home as will be */
        uint64_t used = core->place.slab.used_bytes, before = core->dropped[STOA_DROP_CLOSED];
        for (uint32_t k = 0; k < rounds[i]; k++) { assert_int_equal(order(&w, w.one, SEND, to.at, EACH).error, STOA_OK); }
        assert_int_equal(order(&w, w.one, SEND_WITHIN, to.at, STOA_S(1)).error, STOA_OK); /* a block of its own */
        stoa_port_close(port);
        assert_int_equal(core->dropped[STOA_DROP_CLOSED] - before, rounds[i] * EACH + 1);
        assert_int_equal(core->place.dirty, 0);
        assert_int_equal(core->place.abroad[core->place.node->core_count + 1], 0);
        assert_int_equal(stoa_dead_letters(w.node, count_closed, &letters), STOA_OK);
        assert_true(letters >= EACH);
        stoa_port_close(port); /* twice is once */
        for (int k = 0; k < 3; k++) { (void)look(&w, w.one); }
        assert_int_equal(core->dropped[STOA_DROP_CLOSED] - before, rounds[i] * EACH + 1);
        assert_int_equal(core->place.slab.used_bytes, used);
        stoa_sim_free(w.sim);
    }
}

/* More than the ring holds, and the port closes behind it. */
static void what_a_port_sent_before_it_closed_is_delivered(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    world w;
    stoa_port *port;
    open_world(&w);
    assert_int_equal(stoa_port_open(w.node, "hasty", &port), STOA_OK);
    uint64_t before = look(&w, w.one).heard;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(stoa_port_send(port, w.one, &odd_rows[odd_ROW_ping], &(odd_ping){0}, 0), STOA_OK);
    }
    stoa_port_close(port);
    assert_int_equal(look(&w, w.one).heard - before, COUNT);
    assert_int_equal(w.node->cores[0]->dead_count, 0);
    stoa_sim_free(w.sim);
}

static void a_reference_never_names_a_stranger(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    stoa_core *core = w.node->cores[0];
    stoa_ref first = {order(&w, w.one, SPAWN, 0, 0).at};
    (void)order(&w, w.one, STOP, first.at, 0);
    stoa_sim_run(w.sim, STOA_MS(1));
    assert_null(stoa_core_actor(core, first));
    stoa_actor *slot = stoa_actor_slot(core, stoa_ref_index(first));
    slot->self = stoa_ref_make(STOA_GENERATION_LAST - 2, stoa_ref_place(first), stoa_ref_index(first)); /* as if so many had been here */
    for (uint32_t i = 0; i < 8; i++) {
        stoa_ref next = {order(&w, w.one, SPAWN, 0, 0).at};
        assert_non_null(stoa_core_actor(core, next));
        assert_null(stoa_core_actor(core, first));
        assert_int_equal(stoa_ref_index(next) == stoa_ref_index(first), i < 2);
        (void)order(&w, w.one, STOP, next.at, 0);
        stoa_sim_run(w.sim, STOA_MS(1));
        assert_null(stoa_core_actor(core, next));
    }
    stoa_sim_free(w.sim);
}

static void a_time_beyond_the_end_of_the_clock_is_never(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    for (uint64_t never = UINT64_MAX; never > UINT64_MAX / 2; never -= UINT64_MAX / 5) {
        odd_done before = look(&w, w.one);
        assert_int_equal(order(&w, w.one, AFTER, 0, never).error, STOA_OK);
        assert_int_equal(order(&w, w.one, EVERY, 0, never).error, STOA_OK);
        stoa_sim_run(w.sim, STOA_S(1));
        assert_int_equal(look(&w, w.one).heard, before.heard);
        assert_int_equal(order(&w, w.one, SEND_WITHIN, w.one.at, never).error, STOA_OK);
        assert_int_equal(order(&w, w.one, ASK, w.other.at, never).error, STOA_OK);
        stoa_sim_run(w.sim, STOA_S(1));
        assert_int_equal(look(&w, w.one).heard, before.heard + 1);
        assert_int_equal(look(&w, w.one).answers, before.answers + 1);
    }
    stoa_sim_free(w.sim);
}

static void timers_of_others_and_what_is_none_go_on(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    uint64_t timer = order(&w, w.one, AFTER, 0, STOA_MS(50)).at;
    (void)order(&w, w.one, ASK, w.other.at, STOA_S(5));
    for (uint64_t entry = 1; entry < 6; entry++) {
        for (uint64_t generation = 0; generation < 8; generation++) { (void)order(&w, w.other, CANCEL, generation << 32 | entry, 0); }
    }
    (void)order(&w, w.other, CANCEL, timer, 0);
    stoa_sim_run(w.sim, STOA_S(1));
    assert_int_equal(look(&w, w.one).heard, 1);
    assert_int_equal(look(&w, w.one).answers, 1);
    stoa_sim_free(w.sim);
}

/* The maker of a link fails while the core's quota is used up. */
static void a_link_holds_without_memory(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    stoa_core *core = w.node->cores[0];
    stoa_ref maker = {order(&w, w.one, SPAWN, 0, 0).at}, target = {order(&w, w.one, SPAWN, 0, 0).at};
    assert_int_equal(order(&w, maker, LINK, target.at, 0).error, STOA_OK);
    stoa_sim_run(w.sim, STOA_MS(1));
    stoa_msg *held = NULL;
    for (uint32_t bytes = 1 << 18; bytes; bytes /= 2) {
        for (stoa_msg *msg; (msg = stoa_slab_new(&core->place.slab, bytes, 0));) {
            msg->next = held;
            held = msg;
        }
    }
    assert_int_equal(stoa_sim_fail(w.sim, maker, "on purpose"), STOA_OK);
    stoa_sim_run(w.sim, STOA_MS(1));
    assert_null(stoa_core_actor(core, maker));
    assert_null(stoa_core_actor(core, target));
    while (held) {
        stoa_msg *next = held->next;
        stoa_slab_free(&core->place.slab, held);
        held = next;
    }
    stoa_sim_free(w.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_names_no_place_is_closed),
        cmocka_unit_test(what_a_closed_port_is_sent_is_counted_and_the_core_rests),
        cmocka_unit_test(what_waits_for_a_port_that_closes_is_counted),
        cmocka_unit_test(what_a_port_never_read_is_counted_when_it_closes),
        cmocka_unit_test(what_a_port_sent_before_it_closed_is_delivered),
        cmocka_unit_test(a_reference_never_names_a_stranger),
        cmocka_unit_test(a_time_beyond_the_end_of_the_clock_is_never),
        cmocka_unit_test(timers_of_others_and_what_is_none_go_on),
        cmocka_unit_test(a_link_holds_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
