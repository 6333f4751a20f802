/* allocation_test.c - goal: once a node has warmed up, its cores call no allocator, whatever actors do with messages. Method:
 * two cores under sends, asks, timers, periodic timers, topics, groups, births, ends, restarts and a shard, here and across; malloc
 * and all its kin are counted on every thread but this one over ten million messages. A sanitized build has an allocator of its own: there nothing is counted.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/stoa.h"

static _Atomic uint64_t allocations;
static _Atomic int counting;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { COUNTED = 1 };
static pthread_t tester;

static void count(void)
{
    if (atomic_load_explicit(&counting, memory_order_relaxed) && !pthread_equal(pthread_self(), tester)) {
        atomic_fetch_add(&allocations, 1);
    }
}

#define ALLOCATOR __attribute__((visibility("default")))
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *at, size_t bytes);
ALLOCATOR void *malloc(size_t bytes)
{
    count();
    return __libc_malloc(bytes);
}
ALLOCATOR void *calloc(size_t number, size_t bytes)
{
    count();
    return __libc_calloc(number, bytes);
}
ALLOCATOR void *realloc(void *at, size_t bytes)
{
    count();
    return __libc_realloc(at, bytes);
}
extern void *__libc_memalign(size_t alignment, size_t bytes);
ALLOCATOR void *aligned_alloc(size_t alignment, size_t bytes)
{
    count();
    return __libc_memalign(alignment, bytes);
}
ALLOCATOR void *memalign(size_t alignment, size_t bytes)
{
    count();
    return __libc_memalign(alignment, bytes);
}
ALLOCATOR int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    count();
    void *at = __libc_memalign(alignment, bytes);
    if (at) { *out = at; }
    return at ? 0 : ENOMEM;
}
#else
enum { COUNTED = 0 };
static pthread_t tester;
#endif

/* --- mote: plain, without a name; ends or fails when it is told to */

#define mote_end_FIELDS(F, S) F(S, uint64_t, fail)
#define mote_ROWS(ROW, K) ROW(K, CAST, end, _, "End, or fail.")
STOA_TABLE_HERE(mote)
typedef struct mote {
    uint64_t number;
} mote;
#define mote_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(mote, .mailbox_limit = 64)
static _Atomic uint64_t ends, fails;
static stoa_err mote_on_end(stoa_turn *turn, mote *self, const mote_end *in)
{
    (void)self;
    atomic_fetch_add(in->fail ? &fails : &ends, 1);
    return in->fail ? stoa_fail(turn, "told to") : stoa_turn_exit(turn, NULL);
}

/* --- till: event-sourced; passes half on within its shard */

#define till_put_FIELDS(F, S)  F(S, uint64_t, amount)
#define till_half_FIELDS(F, S) F(S, uint64_t, amount)
#define till_kept_FIELDS(F, S) F(S, uint64_t, amount)
#define till_sum_FIELDS(F, S)  F(S, uint64_t, sum)
#define till_ROWS(ROW, K)                                   \
    ROW(K, COMMAND, put, sum, "Keep it; pass half on.")     \
    ROW(K, CAST, half, _, "Keep it.")                       \
    ROW(K, EVENT, kept, _, "Kept.")                         \
    ROW(K, REPLY, sum, _, "The sum.")
STOA_TABLE_HERE(till)
typedef struct till {
    uint64_t sum;
} till;
#define till_HEARS STOA_HEARS_NOTHING
STOA_KIND(till, .mailbox_limit = 4096)
static stoa_err till_on_put(stoa_turn *turn, const till *self, const till_put *in, till_sum *out)
{
    out->sum = self->sum;
    stoa_err err = till_emit_kept(turn, (till_kept){in->amount});
    return err ? err : till_send_half(turn, turn->self, (till_half){in->amount / 2});
}
static stoa_err till_on_half(stoa_turn *turn, const till *self, const till_half *in)
{
    (void)self;
    return till_emit_kept(turn, (till_kept){in->amount});
}
static void till_apply_kept(till *self, const till_kept *event)
{
    self->sum += event->amount;
}

/* --- an actor that does a bit of everything each time it goes round */

#define mill_round_FIELDS(F, S)  F(S, uint64_t, number)
#define mill_ball_FIELDS(F, S)   F(S, uint64_t, number)
#define mill_parcel_FIELDS(F, S) F(S, stoa_text62, words) F(S, stoa_text62, more)
#define mill_ask_FIELDS(F, S)    F(S, uint64_t, number)
#define mill_answer_FIELDS(F, S) F(S, uint64_t, number)
#define mill_tick_FIELDS         STOA_NO_FIELDS
#define mill_news_FIELDS(F, S)   F(S, uint64_t, number)
#define mill_ROWS(ROW, K)                             \
    ROW(K, CAST, round, _, "To oneself: once more.")  \
    ROW(K, CAST, ball, _, "Small.")                   \
    ROW(K, CAST, parcel, _, "Larger than a slot.")    \
    ROW(K, COMMAND, ask, answer, "Echo.")             \
    ROW(K, REPLY, answer, _, "Echo.")                 \
    ROW(K, CAST, tick, _, "Timer.")                   \
    ROW(K, TOPIC, news, _, "For both.")
STOA_TABLE(mill)
STOA_TABLE_DEFINE(mill)
typedef struct mill {
    stoa_ref here, there;
    stoa_ref till, phoenix; /* phoenix: a child that fails and comes back */
    stoa_timer timer;
    uint64_t answers, ticks, news;
} mill;
typedef struct mill_args {
    const char *here, *there;
} mill_args;
#define mill_HEARS(HEAR, K) HEAR(K, mill, answer) HEAR(K, mill, news) HEAR(K, till, sum)
static stoa_err mill_start(stoa_turn *turn, void *state, const void *args)
{
    mill *self = state;
    const mill_args *with = args;
    self->here = stoa_turn_find(turn, with->here);
    self->there = stoa_turn_find(turn, with->there);
    stoa_err err = stoa_turn_subscribe(turn, "news.>");
    if (!err) { err = stoa_turn_bind(turn, 0, "news.mill"); }
    if (!err) { err = stoa_turn_bind(turn, 1, "mills"); }
    if (!err) { err = stoa_turn_join(turn, "mills"); }
    if (!err) { err = stoa_turn_spawn(turn, &mote_kind, &(stoa_child){.restart = STOA_PERMANENT}, &self->phoenix); }
    self->till = stoa_turn_find(turn, "till/one");
    return err ? err : stoa_turn_every(turn, STOA_MS(1), &mill_rows[mill_ROW_tick], &(mill_tick){0}, NULL);
}
STOA_PLAIN_KIND(mill, .mailbox_limit = 4096, .start = mill_start, .args_bytes = sizeof(mill_args),
                .supervision = {.restarts = 1 << 30, .per_ms = 1})

/* Full is an answer: what finds no room is left out. */
static stoa_err unless_full(stoa_err err)
{
    return err == STOA_E_FULL ? STOA_OK : err;
}

/* One is born and ends; the phoenix fails; a member is chosen; the shard has its part. */
static stoa_err live_and_die(stoa_turn *turn, mill *self, uint64_t n)
{
    stoa_ref born;
    stoa_err err = stoa_turn_spawn(turn, &mote_kind, NULL, &born);
    if (!err) { err = mote_send_end(turn, born, (mote_end){0}); }
    if (!err && n % 1024 == 0) { err = unless_full(mote_send_end(turn, self->phoenix, (mote_end){1})); }
    if (err == STOA_E_FAILED) { err = STOA_OK; } /* it is down */
    if (!err) { err = unless_full(mill_send_ball(turn, stoa_turn_member(turn, 1, n), (mill_ball){n})); }
    if (!err) { err = unless_full(till_ask_put(turn, self->till, (till_put){n}, STOA_S(10), n)); }
    return unless_full(err);
}

static stoa_err mill_on_round(stoa_turn *turn, mill *self, const mill_round *in)
{
    uint64_t n = in->number;
    stoa_err err = unless_full(mill_send_ball(turn, self->here, (mill_ball){n}));
    if (!err) { err = unless_full(mill_send_ball(turn, self->there, (mill_ball){n})); }
    if (!err && n % 8 == 0) { err = unless_full(mill_send_parcel(turn, self->there, (mill_parcel){.words = stoa_text("parcel")})); }
    if (!err && n % 16 == 0) { err = unless_full(mill_ask_ask(turn, self->there, (mill_ask){n}, STOA_S(10), n)); }
    if (!err && n % 32 == 0) { err = unless_full(mill_publish_news(turn, 0, &(mill_news){n})); }
    if (!err && n % 64 == 0) {
        stoa_turn_cancel(turn, self->timer);
        err = unless_full(mill_after_tick(turn, STOA_MS(1), (mill_tick){0}, &self->timer));
    }
    if (!err && n % 128 == 0) { err = live_and_die(turn, self, n); }
    if (!err && n % 256 == 0 && !stoa_turn_random(turn)) { err = stoa_fail(turn, "once in a very long time"); }
    return err ? err : mill_send_round(turn, turn->self, (mill_round){n + 1});
}
static stoa_err mill_on_ball(stoa_turn *turn, mill *self, const mill_ball *in)
{
    (void)turn, (void)self;
    return in->number % 100 == 99 ? STOA_E_INVALID : STOA_OK; /* refusals are dead letters: they too */
}
static stoa_err mill_on_parcel(stoa_turn *turn, mill *self, const mill_parcel *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}
static stoa_err mill_on_ask(stoa_turn *turn, mill *self, const mill_ask *in, mill_answer *out)
{
    (void)turn, (void)self;
    out->number = in->number;
    return STOA_OK;
}
static stoa_err mill_on_mill_answer(stoa_turn *turn, mill *self, const mill_answer *in)
{
    (void)turn, (void)in;
    self->answers++;
    return STOA_OK;
}
static stoa_err mill_on_till_sum(stoa_turn *turn, mill *self, const till_sum *in)
{
    (void)turn, (void)in;
    self->answers++;
    return STOA_OK;
}
static stoa_err mill_on_tick(stoa_turn *turn, mill *self, const mill_tick *in)
{
    (void)turn, (void)in;
    self->ticks++;
    return STOA_OK;
}
static stoa_err mill_on_mill_news(stoa_turn *turn, mill *self, const mill_news *in)
{
    (void)turn, (void)in;
    self->news++;
    return STOA_OK;
}

/* --- */

static uint64_t messages(stoa_node *node)
{
    uint64_t sum = 0;
    for (uint32_t core = 0; core < 2; core++) {
        stoa_core_view view;
        assert_int_equal(stoa_core_look(node, core, &view), STOA_OK);
        sum += view.messages;
    }
    return sum;
}

static void run_for(stoa_node *node, uint64_t count)
{
    uint64_t until = messages(node) + count;
    while (messages(node) < until) {
        struct timespec wait = {0, 5000000};
        (void)nanosleep(&wait, NULL);
    }
}

static void spawn_mill(stoa_node *node, const char *name, uint32_t core, const mill_args *args, stoa_ref *out)
{
    assert_int_equal(stoa_spawn(node, &mill_kind, name, &(stoa_spawn_options){.core = core, .args = args}, out), STOA_OK);
}

static void a_warm_core_calls_no_allocator(void **state)
{
    (void)state;
    stoa_node *node;
    stoa_ref sink[2], pair[2];
    tester = pthread_self();
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 2, .seed = 1}, &node), STOA_OK);
    stoa_shard *shard;
    stoa_ref one;
    stoa_log_level_set(STOA_LOG_OFF);
    assert_int_equal(stoa_shard_open(node, &(stoa_shard_options){.name = "s", .durability = stoa_durability_NONE}, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &till_kind, "till/one", &(stoa_spawn_options){.shard = shard}, &one), STOA_OK);
    const mill_args none = {"", ""}, first = {"mill/sink0", "mill/sink1"}, second = {"mill/sink1", "mill/sink0"};
    spawn_mill(node, "mill/sink0", 0, &none, &sink[0]);
    spawn_mill(node, "mill/sink1", 1, &none, &sink[1]);
    spawn_mill(node, "mill/a", 0, &first, &pair[0]);
    spawn_mill(node, "mill/b", 1, &second, &pair[1]);
    for (int i = 0; i < 2; i++) { assert_int_equal(mill_post_round(node, pair[i], (mill_round){1}), STOA_OK); }
    run_for(node, COUNTED ? 1000000 : 10000);
    atomic_store(&counting, 1);
    run_for(node, COUNTED ? 10000000 : 100000);
    atomic_store(&counting, 0);
    printf("%llu allocations\n", (unsigned long long)atomic_load(&allocations));
    assert_int_equal(atomic_load(&allocations), 0);
    assert_true(atomic_load(&ends) > 0 && atomic_load(&fails) > 0);
    stoa_node_close(node, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_warm_core_calls_no_allocator)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
