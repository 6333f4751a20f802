/* stuck_test.c - goal: a handler that is stuck for ten seconds holds up its own core and nobody else: it is named while it lasts,
 * others are served, what it is sent is bounded and refused with a reason, and afterwards everything that was taken is handled.
 * Method: an actor that sleeps in its turn, a witness on another core, callers outside; then the books must balance.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "runtime/stoa.h"

enum { STUCK_S = 10, LIMIT = 64 };

#define sleeper_nap_FIELDS   STOA_NO_FIELDS
#define sleeper_ping_FIELDS  STOA_NO_FIELDS
#define sleeper_ask_FIELDS   STOA_NO_FIELDS
#define sleeper_done_FIELDS(F, S) F(S, uint64_t, pings)
#define sleeper_ROWS(ROW, K)                                                                                           \
    ROW(K, CAST, nap, _, "Be stuck.")                                                                                  \
    ROW(K, CAST, ping, _, "Counted.")                                                                                  \
    ROW(K, COMMAND, ask, done, "Answered.")                                                                            \
    ROW(K, REPLY, done, _, "So many pings.")
STOA_TABLE(sleeper)
STOA_TABLE_DEFINE(sleeper)
typedef struct sleeper {
    uint64_t pings;
} sleeper;
#define sleeper_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(sleeper, .mailbox_limit = LIMIT)

static _Atomic bool napping;
static _Atomic uint64_t ended_ns;

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* The stall detector's question interrupts it: it goes on. */
__attribute__((noinline)) static void sleep_in_a_turn(void)
{
    struct timespec left = {.tv_sec = STUCK_S};
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

static stoa_err sleeper_on_nap(stoa_turn *turn, sleeper *self, const sleeper_nap *in)
{
    (void)turn, (void)self, (void)in;
    sleep_in_a_turn();
    atomic_store(&ended_ns, now_ns());
    atomic_store(&napping, false);
    return STOA_OK;
}
static stoa_err sleeper_on_ping(stoa_turn *turn, sleeper *self, const sleeper_ping *in)
{
    (void)turn, (void)in;
    self->pings++;
    return STOA_OK;
}
static stoa_err sleeper_on_ask(stoa_turn *turn, sleeper *self, const sleeper_ask *in, sleeper_done *out)
{
    (void)turn, (void)in;
    out->pings = self->pings;
    return STOA_OK;
}

static void see(void *context, const stoa_stall_view *stall)
{
    stoa_stall_view *last = context;
    if (stall->row == &sleeper_rows[sleeper_ROW_nap]) { *last = *stall; }
}

/* The stall that is, or was: looks for a minute, as a machine may be slow. */
static stoa_stall_view wait_for_stall(stoa_node *node, bool over)
{
    for (int i = 0; i < 6000; i++) {
        stoa_stall_view last = {0};
        assert_int_equal(stoa_stalls(node, see, &last), STOA_OK);
        if (last.number && last.over == over) { return last; }
        (void)poll(NULL, 0, 10);
    }
    fail_msg("no stall was seen");
    return (stoa_stall_view){0};
}

typedef struct books {
    uint64_t accepted, full, served, timeouts;
    uint64_t stalled_ns; /* as the detector said last */
} books;

/* While it sleeps. */
static void live_on(stoa_node *node, stoa_ref stuck, stoa_ref witness, books *b)
{
    sleeper_done out;
    while (atomic_load(&napping)) {
        assert_int_equal(sleeper_call_ask(node, witness, (sleeper_ask){0}, STOA_S(60), &out), STOA_OK);
        b->served++;
        for (int i = 0; i < 500; i++) {
            stoa_err err = sleeper_post_ping(node, stuck, (sleeper_ping){0});
            assert_true(!err || err == STOA_E_FULL);
            b->accepted += !err;
            b->full += err != STOA_OK;
        }
        stoa_err err = sleeper_call_ask(node, stuck, (sleeper_ask){0}, STOA_MS(50), &out);
        bool slept = atomic_load(&napping); /* all the while */
        if (slept) { assert_true(err == STOA_E_TIMEOUT || err == STOA_E_FULL); }
        b->timeouts += err == STOA_E_TIMEOUT;
        stoa_stall_view stall = {0};
        assert_int_equal(stoa_stalls(node, see, &stall), STOA_OK);
        assert_true(stall.ns >= b->stalled_ns);
        b->stalled_ns = stall.ns;
    }
}

static void a_handler_that_is_stuck_holds_up_nobody_else(void **state)
{
    stoa_node *node;
    stoa_ref stuck, witness;
    sleeper_done out = {0};
    books b = {0};
    (void)state;
    stoa_options options = {.cores = 2, .stall_ns = STOA_MS(50), .catch_signals = true, .memory_bytes = 32 << 20};
    assert_int_equal(stoa_node_open(&options, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &sleeper_kind, "sleeper/stuck", &(stoa_spawn_options){.core = 1}, &stuck), STOA_OK);
    assert_int_equal(stoa_spawn(node, &sleeper_kind, "sleeper/witness", NULL, &witness), STOA_OK);
    uint64_t began_ns = now_ns();
    atomic_store(&napping, true);
    assert_int_equal(sleeper_post_nap(node, stuck, (sleeper_nap){0}), STOA_OK);
    stoa_stall_view stall = wait_for_stall(node, false); /* while it lasts */
    assert_string_equal(stall.actor, "sleeper/stuck");
    assert_int_equal(stall.core, 1);
    live_on(node, stuck, witness, &b);
    assert_true(atomic_load(&ended_ns) - began_ns >= STOA_S(STUCK_S));

    stall = wait_for_stall(node, true);
    assert_true(stall.ns >= b.stalled_ns && b.stalled_ns > STOA_MS(50));
    stoa_core_view core = {0};
    for (int i = 0; i < 6000; i++) { /* what was taken is handled, or counted where the mailbox had no room */
        stoa_err err = sleeper_call_ask(node, stuck, (sleeper_ask){0}, STOA_S(60), &out);
        assert_true(!err || err == STOA_E_FULL); /* for a moment, while it catches up */
        assert_int_equal(stoa_core_look(node, 1, &core), STOA_OK);
        if (out.pings + core.dropped[STOA_DROP_FULL] >= b.accepted) { break; }
        (void)poll(NULL, 0, 10);
    }
    printf("served %llu, timeouts %llu; posted %llu, handled %llu, dropped %llu, refused %llu\n", (unsigned long long)b.served,
           (unsigned long long)b.timeouts, (unsigned long long)b.accepted, (unsigned long long)out.pings,
           (unsigned long long)core.dropped[STOA_DROP_FULL], (unsigned long long)b.full);
    assert_int_equal(out.pings + core.dropped[STOA_DROP_FULL], b.accepted);
    assert_true(b.served > 0 && b.timeouts > 0 && b.full > 0 && out.pings >= LIMIT / 2);
    stoa_node_close(node, STOA_S(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_that_is_stuck_holds_up_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
