/* time.c - what takes or keeps time: runtime.request, runtime.timer, runtime.timer_cancel, runtime.wake.
 *
 * request: one actor asks another with a deadline of a second and asks again when the answer is there. The answer is the
 * question plus one; the sum is of all answers.
 *
 * timer: an actor arms TIMERS timers, 1 to 60 s ahead, and in its next turn cancels them all; from the beginning of a turn to
 * the beginning of the next, so that a turn's taking effect is in it. None of them may fire.
 *
 * wake: both cores sleep whenever they have nothing to do. After a pause of PAUSE_MS a timer runs an actor on the first one; it
 * reads the clock and sends to an actor on the second, which reads it again and says so. A run is the median of its wakes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "bench/runtime/rig.h"

enum { TIMERS = 256, PAUSE_MS = 2, WAKES_MAX = 1024 };

// clang-format off
#define server_question_FIELDS(F, S) F(S, uint64_t, n)
#define server_answer_FIELDS(F, S) F(S, uint64_t, n)
#define server_ROWS(ROW, K)                                    \
    ROW(K, COMMAND, question, answer, "Answered with n + 1.")  \
    ROW(K, REPLY, answer, _, "The question plus one.")

#define client_start_FIELDS(F, S) F(S, uint64_t, questions)
#define client_ROWS(ROW, K) ROW(K, CAST, start, _, "Ask so often, one after the other.")

#define alarms_start_FIELDS(F, S) F(S, uint64_t, rounds)
#define alarms_cancel_FIELDS STOA_NO_FIELDS
#define alarms_again_FIELDS STOA_NO_FIELDS
#define alarms_ring_FIELDS(F, S) F(S, uint64_t, n)
#define alarms_ROWS(ROW, K)                                   \
    ROW(K, CAST, start, _, "Arm and cancel, so many rounds.") \
    ROW(K, CAST, cancel, _, "Cancel all that are armed.")     \
    ROW(K, CAST, again, _, "The next round, or the end.")     \
    ROW(K, CAST, ring, _, "A timer fired.")

#define sleeper_poke_FIELDS(F, S) F(S, uint64_t, sent_ns)
#define sleeper_ROWS(ROW, K) ROW(K, CAST, poke, _, "Look how long it took.")

#define waker_start_FIELDS STOA_NO_FIELDS
#define waker_tick_FIELDS STOA_NO_FIELDS
#define waker_woken_FIELDS STOA_NO_FIELDS
#define waker_ROWS(ROW, K)                                \
    ROW(K, CAST, start, _, "Pause, and poke.")            \
    ROW(K, CAST, tick, _, "Poke now.")                    \
    ROW(K, CAST, woken, _, "The other is awake; pause, and poke again.")
// clang-format on
STOA_TABLE(server)
STOA_TABLE_DEFINE(server)
STOA_TABLE(client)
STOA_TABLE_DEFINE(client)
STOA_TABLE(alarms)
STOA_TABLE_DEFINE(alarms)
STOA_TABLE(sleeper)
STOA_TABLE_DEFINE(sleeper)
STOA_TABLE(waker)
STOA_TABLE_DEFINE(waker)

typedef struct server {
    uint64_t answered;
} server;

typedef struct client {
    stoa_ref server;
    uint64_t left, sum;
} client;

typedef struct alarms {
    uint64_t left, fired, began_ns, armed_ns, cancelled_ns;
    stoa_timer at[TIMERS];
} alarms;

typedef struct sleeper {
    uint64_t got;
} sleeper;

typedef struct waker {
    stoa_ref sleeper;
} waker;

typedef struct neighbour {
    stoa_ref at;
} neighbour;

static stoa_err client_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)turn;
    ((client *)state)->server = ((const neighbour *)args)->at;
    return STOA_OK;
}

static stoa_err waker_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)turn;
    ((waker *)state)->sleeper = ((const neighbour *)args)->at;
    return STOA_OK;
}

#define server_HEARS          STOA_HEARS_NOTHING
#define client_HEARS(HEAR, K) HEAR(K, server, answer)
#define alarms_HEARS          STOA_HEARS_NOTHING
#define sleeper_HEARS         STOA_HEARS_NOTHING
#define waker_HEARS           STOA_HEARS_NOTHING
STOA_PLAIN_KIND(server, .mailbox_limit = 16)
STOA_PLAIN_KIND(client, .start = client_begin, .args_bytes = sizeof(neighbour))
STOA_PLAIN_KIND(alarms, .mailbox_limit = 2 * TIMERS)
STOA_PLAIN_KIND(sleeper, .mailbox_limit = 16)
STOA_PLAIN_KIND(waker, .start = waker_begin, .args_bytes = sizeof(neighbour))

/* --- request */

static stoa_err server_on_question(stoa_turn *turn, server *self, const server_question *in, server_answer *out)
{
    (void)turn;
    self->answered++;
    out->n = in->n + 1;
    return STOA_OK;
}

static stoa_err client_on_start(stoa_turn *turn, client *self, const client_start *in)
{
    self->left = in->questions;
    self->sum = 0;
    return server_ask_question(turn, self->server, (server_question){self->left}, STOA_S(1), 0);
}

static stoa_err client_on_server_answer(stoa_turn *turn, client *self, const server_answer *in)
{
    if (turn->error) { bench_must(turn->error, "request"); }
    self->sum += in->n;
    if (--self->left == 0) {
        bench_ended(self->sum);
        return STOA_OK;
    }
    return server_ask_question(turn, self->server, (server_question){self->left}, STOA_S(1), 0);
}

typedef struct place {
    stoa_node *node;
    stoa_ref actor;
} place;

static double request_once(const bench_task *task, void *context)
{
    const place *p = context;
    uint64_t n = task->steps;
    bench_begin();
    bench_must(client_post_start(p->node, p->actor, (client_start){n}), task->name);
    return (double)bench_wait(task, n * (n + 1) / 2 + n) / (double)n;
}

/* A step is a call: question and answer. */
void bench_request(const bench_task *task, bench_samples *out)
{
    place p = {.node = bench_open(task->cores, STOA_IDLE_LATENCY)};
    stoa_ref responder = bench_spawn(p.node, &server_kind, 1, NULL);
    p.actor = bench_spawn(p.node, &client_kind, 0, &(neighbour){responder});
    bench_repeat(task, request_once, &p, out);
    bench_close(p.node);
}

/* --- timer. The times of a run are read by the program when the run has ended. */

static struct {
    uint64_t arming_ns, cancelling_ns;
} alarms_took;

static stoa_err arm(stoa_turn *turn, alarms *self)
{
    stoa_err err = STOA_OK;
    self->began_ns = bench_now_ns();
    for (uint64_t i = 0; i < TIMERS && !err; i++) {
        uint64_t delay_ns = STOA_S(1) + STOA_MS((self->left * TIMERS + i) * 7919 % 59000);
        err = alarms_after_ring(turn, delay_ns, (alarms_ring){i}, &self->at[i]);
    }
    return err ? err : alarms_send_cancel(turn, turn->self, (alarms_cancel){0});
}

static stoa_err alarms_on_start(stoa_turn *turn, alarms *self, const alarms_start *in)
{
    *self = (alarms){.left = in->rounds};
    return arm(turn, self);
}

static stoa_err alarms_on_cancel(stoa_turn *turn, alarms *self, const alarms_cancel *in)
{
    (void)in;
    uint64_t now = bench_now_ns();
    self->armed_ns += now - self->began_ns;
    self->began_ns = now;
    for (uint64_t i = 0; i < TIMERS; i++) { stoa_turn_cancel(turn, self->at[i]); }
    return alarms_send_again(turn, turn->self, (alarms_again){0});
}

static stoa_err alarms_on_again(stoa_turn *turn, alarms *self, const alarms_again *in)
{
    (void)in;
    self->cancelled_ns += bench_now_ns() - self->began_ns;
    if (--self->left) { return arm(turn, self); }
    alarms_took.arming_ns = self->armed_ns;
    alarms_took.cancelling_ns = self->cancelled_ns;
    bench_ended(self->fired);
    return STOA_OK;
}

static stoa_err alarms_on_ring(stoa_turn *turn, alarms *self, const alarms_ring *in)
{
    (void)turn;
    (void)in;
    self->fired++;
    return STOA_OK;
}

static void timer_run(const bench_task *task, const place *p)
{
    bench_begin();
    bench_must(alarms_post_start(p->node, p->actor, (alarms_start){task->steps}), task->name);
    (void)bench_wait(task, 0);
}

static double start_once(const bench_task *task, void *context)
{
    timer_run(task, context);
    return (double)alarms_took.arming_ns / (double)(task->steps * TIMERS);
}

static double cancel_once(const bench_task *task, void *context)
{
    timer_run(task, context);
    return (double)alarms_took.cancelling_ns / (double)(task->steps * TIMERS);
}

static void timers(const bench_task *task, double (*once)(const bench_task *task, void *context), bench_samples *out)
{
    place p = {.node = bench_open(task->cores, STOA_IDLE_LATENCY)};
    p.actor = bench_spawn(p.node, &alarms_kind, 0, NULL);
    bench_repeat(task, once, &p, out);
    bench_close(p.node);
}

/* A step is TIMERS timers armed and cancelled. */
void bench_timer_start(const bench_task *task, bench_samples *out)
{
    timers(task, start_once, out);
}

void bench_timer_cancel(const bench_task *task, bench_samples *out)
{
    timers(task, cancel_once, out);
}

/* --- wake. The second core alone writes what it took, the program reads it when the run has ended. */

static uint64_t wakes[WAKES_MAX];
static uint64_t wakes_wanted;

static stoa_err sleeper_on_poke(stoa_turn *turn, sleeper *self, const sleeper_poke *in)
{
    wakes[self->got++] = bench_now_ns() - in->sent_ns;
    if (self->got < wakes_wanted) { return waker_send_woken(turn, turn->from, (waker_woken){0}); }
    bench_ended(self->got);
    self->got = 0;
    return STOA_OK;
}

static stoa_err waker_on_start(stoa_turn *turn, waker *self, const waker_start *in)
{
    (void)self;
    (void)in;
    return waker_after_tick(turn, STOA_MS(PAUSE_MS), (waker_tick){0}, NULL);
}

static stoa_err waker_on_tick(stoa_turn *turn, waker *self, const waker_tick *in)
{
    (void)in;
    return sleeper_send_poke(turn, self->sleeper, (sleeper_poke){bench_now_ns()});
}

static stoa_err waker_on_woken(stoa_turn *turn, waker *self, const waker_woken *in)
{
    (void)self;
    (void)in;
    return waker_after_tick(turn, STOA_MS(PAUSE_MS), (waker_tick){0}, NULL);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double wake_once(const bench_task *task, void *context)
{
    const place *p = context;
    wakes_wanted = task->steps < WAKES_MAX ? task->steps : WAKES_MAX;
    bench_begin();
    bench_must(waker_post_start(p->node, p->actor, (waker_start){0}), task->name);
    (void)bench_wait(task, wakes_wanted);
    qsort(wakes, wakes_wanted, sizeof wakes[0], by_value);
    return (double)wakes[wakes_wanted / 2] / 1e3;
}

/* A step is a wake. */
void bench_wake(const bench_task *task, bench_samples *out)
{
    place p = {.node = bench_open(task->cores, STOA_IDLE_ECO)};
    stoa_ref other = bench_spawn(p.node, &sleeper_kind, 1, NULL);
    p.actor = bench_spawn(p.node, &waker_kind, 0, &(neighbour){other});
    bench_repeat(task, wake_once, &p, out);
    bench_close(p.node);
}
