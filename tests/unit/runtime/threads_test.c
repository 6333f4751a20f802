/* threads_test.c - goal: what the simulator shows about one thread also holds for many: nothing is lost, doubled or out of
 * order between cores, ports and callers. Method: real cores under every idle policy, counted and checksummed; meant for TSan.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

/* --- relay: passes numbers on to the next one; the last checks their order */

#define relay_number_FIELDS(F, S) F(S, uint64_t, n) F(S, uint64_t, hops)
#define relay_start_FIELDS(F, S)  F(S, uint64_t, count)
#define relay_credit_FIELDS       STOA_NO_FIELDS
#define relay_read_FIELDS         STOA_NO_FIELDS
#define relay_seen_FIELDS(F, S)   F(S, uint64_t, count) F(S, uint64_t, sum) F(S, uint64_t, disorder)
#define relay_large_FIELDS(F, S)  F(S, stoa_text1022, text)
#define relay_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, number, _, "A number on its way.")                                                                    \
    ROW(K, CAST, start, _, "Send so many numbers, a window at a time.")                                                \
    ROW(K, CAST, credit, _, "The last one has taken another part of the window.")                                      \
    ROW(K, COMMAND, read, seen, "What arrived.")                                                                       \
    ROW(K, REPLY, seen, _, "What arrived.")                                                                            \
    ROW(K, COMMAND, large, seen, "A payload that does not fit a slot.")
STOA_TABLE(relay)
STOA_TABLE_DEFINE(relay)
enum { CHUNK = 64, WINDOW_CHUNKS = 8 };
typedef struct relay {
    relay_seen seen;
    uint64_t next_n, left, credit;
    stoa_ref next, first;
} relay;
typedef struct relay_args {
    const char *next;
} relay_args;
#define relay_HEARS STOA_HEARS_NOTHING
static stoa_err relay_begin(stoa_turn *turn, void *state, const void *args)
{
    const relay_args *with = args;
    relay *self = state;
    self->next = stoa_turn_find(turn, with->next);
    self->credit = WINDOW_CHUNKS;
    return STOA_OK;
}
STOA_PLAIN_KIND(relay, .mailbox_limit = 1 << 20, .start = relay_begin, .args_bytes = sizeof(relay_args))

static stoa_err relay_on_number(stoa_turn *turn, relay *self, const relay_number *in)
{
    self->seen.disorder += in->n != self->next_n;
    self->next_n = in->n + 1;
    self->seen.count++;
    self->seen.sum += in->n;
    if (self->next.at) { return relay_send_number(turn, self->next, (relay_number){in->n, in->hops + 1}); }
    if (!self->first.at) { self->first = stoa_turn_find(turn, "relay/first"); }
    return self->next_n % CHUNK ? STOA_OK : relay_send_credit(turn, self->first, (relay_credit){0});
}

/* Send whole chunks while there is credit. */
static stoa_err send_more(stoa_turn *turn, relay *self)
{
    stoa_err err = STOA_OK;
    for (; self->credit && self->left && !err; self->credit--) {
        for (uint64_t i = 0; i < CHUNK && self->left && !err; i++, self->left--) {
            err = relay_send_number(turn, self->next, (relay_number){self->next_n++, 0});
        }
    }
    return err;
}
static stoa_err relay_on_start(stoa_turn *turn, relay *self, const relay_start *in)
{
    self->left = in->count;
    return send_more(turn, self);
}
static stoa_err relay_on_credit(stoa_turn *turn, relay *self, const relay_credit *in)
{
    (void)in;
    self->credit++;
    return send_more(turn, self);
}
static stoa_err relay_on_read(stoa_turn *turn, relay *self, const relay_read *in, relay_seen *out)
{
    (void)turn;
    (void)in;
    *out = self->seen;
    return STOA_OK;
}
static stoa_err relay_on_large(stoa_turn *turn, relay *self, const relay_large *in, relay_seen *out)
{
    (void)turn;
    (void)self;
    for (uint32_t i = 0; i < in->text.len; i++) { out->sum += (unsigned char)in->text.at[i]; }
    return STOA_OK;
}

/* --- tests */

static stoa_ref spawn(stoa_node *node, const char *name, uint32_t core, const char *next)
{
    stoa_ref ref;
    relay_args args = {next};
    assert_int_equal(stoa_spawn(node, &relay_kind, name, &(stoa_spawn_options){.core = core, .args = &args}, &ref), STOA_OK);
    return ref;
}

static void wait_for(stoa_node *node, stoa_ref last, uint64_t count, relay_seen *seen)
{
    for (int i = 0; i < 12000; i++) { /* two minutes: a machine may be slow */
        assert_int_equal(relay_call_read(node, last, (relay_read){0}, STOA_S(60), seen), STOA_OK);
        if (seen->count >= count) { return; }
        (void)poll(NULL, 0, 10);
    }
    fail_msg("only %llu of %llu arrived", (unsigned long long)seen->count, (unsigned long long)count);
}

static void numbers_keep_their_order_across_cores(void **state)
{
    enum { COUNT = 100000 };
    static const stoa_idle idles[] = {STOA_IDLE_ECO, STOA_IDLE_BALANCED, STOA_IDLE_LATENCY};
    (void)state;
    for (size_t i = 0; i < sizeof idles / sizeof idles[0]; i++) {
        stoa_node *node;
        relay_seen seen;
        assert_int_equal(stoa_node_open(&(stoa_options){.cores = 3, .idle = idles[i]}, &node), STOA_OK);
        stoa_ref last = spawn(node, "relay/last", 0, "");
        (void)spawn(node, "relay/b", 2, "relay/last");
        (void)spawn(node, "relay/a", 1, "relay/b");
        stoa_ref first = spawn(node, "relay/first", 0, "relay/a");
        assert_int_equal(relay_post_start(node, first, (relay_start){COUNT}), STOA_OK);
        wait_for(node, last, COUNT, &seen);
        assert_int_equal(seen.count, COUNT);
        assert_int_equal(seen.disorder, 0);
        assert_true(seen.sum == (uint64_t)COUNT * (COUNT - 1) / 2);
        stoa_node_close(node, STOA_S(1));
    }
}

typedef struct caller {
    stoa_node *node;
    stoa_ref target;
    int failures;
} caller;

static void *call_many(void *argument)
{
    caller *c = argument;
    relay_large large = {0};
    uint64_t expected = 0;
    for (int i = 0; i < 1000; i++) { expected += (unsigned char)(large.text.at[i] = (char)('a' + i % 26)); }
    large.text.len = 1000;
    for (int i = 0; i < 300; i++) {
        relay_seen out;
        stoa_err err = relay_call_large(c->node, c->target, large, STOA_S(60), &out);
        c->failures += err != STOA_OK || out.sum != expected;
    }
    return NULL;
}

static void callers_on_many_threads_get_their_own_answers(void **state)
{
    (void)state;
    stoa_node *node;
    pthread_t threads[4];
    caller callers[4];
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 2}, &node), STOA_OK);
    for (uint32_t i = 0; i < 4; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "relay/%u", i);
        callers[i] = (caller){.node = node, .target = spawn(node, name, i % 2, "")};
    }
    for (int i = 0; i < 4; i++) { assert_int_equal(pthread_create(&threads[i], NULL, call_many, &callers[i]), 0); }
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].failures, 0);
    }
    stoa_node_close(node, STOA_S(1));
}

static void who_only_posts_never_runs_out_of_memory(void **state)
{
    enum { POSTS = 400000 }; /* of 1 KiB: six times what the port may hold */
    (void)state;
    stoa_node *node;
    relay_large large = {.text = stoa_text("posted")};
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    stoa_ref target = spawn(node, "relay/last", 0, "");
    for (int i = 0; i < POSTS; i++) {
        stoa_err err = stoa_post(node, target, &relay_rows[relay_ROW_large], &large);
        for (int tries = 0; err == STOA_E_FULL && tries < 60000; tries++) { /* the core is slower than we: later */
            (void)poll(NULL, 0, 1);
            err = stoa_post(node, target, &relay_rows[relay_ROW_large], &large);
        }
        assert_int_equal(err, STOA_OK);
    }
    stoa_node_close(node, STOA_S(1));
}

static void a_node_closes_with_messages_under_way(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        stoa_node *node;
        assert_int_equal(stoa_node_open(&(stoa_options){.cores = 3}, &node), STOA_OK);
        (void)spawn(node, "relay/last", 2, "");
        (void)spawn(node, "relay/b", 1, "relay/last");
        stoa_ref first = spawn(node, "relay/first", 0, "relay/b");
        assert_int_equal(relay_post_start(node, first, (relay_start){UINT64_C(1) << 40}), STOA_OK);
        (void)poll(NULL, 0, 5);
        stoa_node_close(node, 0);
    }
}

/* --- a journaled counter under callers, with a replay beside */

#define tally_add_FIELDS(F, S)   F(S, uint64_t, amount)
#define tally_total_FIELDS(F, S) F(S, uint64_t, total)
#define tally_added_FIELDS(F, S) F(S, uint64_t, amount)
#define tally_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, add, total, "Add.")                                                                                \
    ROW(K, REPLY, total, _, "The total.")                                                                              \
    ROW(K, EVENT, added, _, "Added.")
STOA_TABLE(tally)
STOA_TABLE_DEFINE(tally)
typedef struct tally {
    uint64_t total;
} tally;
#define tally_HEARS STOA_HEARS_NOTHING
STOA_KIND(tally, .mailbox_limit = 1024)
static stoa_err tally_on_add(stoa_turn *turn, const tally *self, const tally_add *in, tally_total *out)
{
    out->total = self->total + in->amount;
    return tally_emit_added(turn, (tally_added){in->amount});
}
static void tally_apply_added(tally *self, const tally_added *event)
{
    self->total += event->amount;
}

typedef struct port_count {
    uint64_t answers, errors, last_position;
} port_count;

static void on_delivery(void *context, const stoa_delivery *d)
{
    port_count *count = context;
    if (!d->answer) { return; }
    count->answers++;
    count->errors += d->error != STOA_OK || d->durability != stoa_durability_DISK || d->position < count->last_position;
    count->last_position = d->position;
}

static void a_port_gets_every_answer_once_in_order_and_durable(void **state)
{
    enum { COUNT = 5000, UNDER_WAY = 200 };
    (void)state;
    char folder[] = "/tmp/stoa-threads-XXXXXX", path[64], remove[96];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/log", folder);
    const stoa_kind *const kinds[] = {&tally_kind, NULL};
    for (int round = 1; round <= 2; round++) { /* the second round recovers what the first one left */
        stoa_node *node;
        stoa_shard *shard;
        stoa_port *port;
        stoa_ref ref;
        port_count count = {0};
        stoa_options with = {.cores = 2, .kinds = kinds, .snapshot_events = 400}; /* the follower works meanwhile */
        assert_int_equal(stoa_node_open(&with, &node), STOA_OK);
        stoa_shard_options options = {.name = "t", .core = 1, .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb, .path = path};
        assert_int_equal(stoa_shard_open(node, &options, &shard), STOA_OK);
        assert_int_equal(stoa_spawn(node, &tally_kind, "tally/t", &(stoa_spawn_options){.shard = shard}, &ref), STOA_OK);
        assert_int_equal(stoa_port_open(node, "test", &port), STOA_OK);
        for (uint64_t sent = 0; count.answers < COUNT;) {
            while (sent < COUNT && sent - count.answers < UNDER_WAY) {
                tally_add add = {1};
                assert_int_equal(stoa_port_ask(port, ref, &tally_rows[tally_ROW_add], &add, sent + 1, STOA_S(120), sent), STOA_OK);
                sent++;
            }
            stoa_port_flush(port);
            if (stoa_port_poll(port, on_delivery, &count, 64) == 0) {
                struct pollfd bell = {.fd = stoa_port_fd(port), .events = POLLIN};
                (void)poll(&bell, 1, 100);
            }
        }
        assert_int_equal(count.answers, COUNT);
        assert_int_equal(count.errors, 0);
        tally_total total;
        assert_int_equal(tally_call_add(node, ref, (tally_add){0}, STOA_S(60), &total), STOA_OK);
        assert_int_equal(total.total, (uint64_t)round * COUNT);
        stoa_shard_view view;
        uint64_t hash, events;
        assert_int_equal(stoa_shard_look(shard, &view), STOA_OK);
        assert_int_equal(stoa_shard_replay(shard, view.applied, &hash, &events), STOA_OK);
        assert_true(hash == view.hash);
        assert_true(round == 1 ? view.snapshot == 0 : view.snapshot > 0);
        stoa_following_view following;
        assert_int_equal(stoa_shard_snapshot(shard, STOA_S(120), &following), STOA_OK);
        assert_int_equal(following.snapshot, view.applied);
        assert_int_equal(following.differences, 0);
        assert_true(following.compared > 0);
        stoa_port_close(port);
        stoa_node_close(node, STOA_S(2));
    }
    (void)snprintf(remove, sizeof remove, "rm -rf %s", folder);
    assert_int_equal(system(remove), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_order_across_cores),
        cmocka_unit_test(callers_on_many_threads_get_their_own_answers),
        cmocka_unit_test(who_only_posts_never_runs_out_of_memory),
        cmocka_unit_test(a_node_closes_with_messages_under_way),
        cmocka_unit_test(a_port_gets_every_answer_once_in_order_and_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
