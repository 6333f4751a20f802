/* drop_test.c - goal: a shard on a real journal is dropped and rebuilt while threads call it, and each call that was answered OK, and
 * no other, is in its state; before and after the node is opened again. Method: several threads add to a counter; meanwhile the
 * shard is dropped by command, and its journal refuses blocks as that of a deposed writer does (RocksDB's, behind a function that
 * says STALE now and then; the block before may have been written). One refusal is one drop, also where the journal's thread, which has
 * told of the refusal, comes to nothing else before the core has seen to it: it is held up there, in the lock that it takes next (the
 * linker puts a function of ours in its place), for so long that a core that does not wait for it has rebuilt the shard.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

enum { THREADS = 3, CALLS = 400, DROPS = 20, HELD_MS = 60, REBUILT_MS = 600 };

#define tally_add_FIELDS(F, S)   F(S, uint64_t, by)
#define tally_sum_FIELDS(F, S)   F(S, uint64_t, total)
#define tally_read_FIELDS        STOA_NO_FIELDS
#define tally_added_FIELDS(F, S) F(S, uint64_t, by)
#define tally_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, add, sum, "Add.")                                                                                  \
    ROW(K, COMMAND, read, sum, "Only look.")                                                                           \
    ROW(K, REPLY, sum, _, "What it is now.")                                                                           \
    ROW(K, EVENT, added, _, "It grew.")
STOA_TABLE_HERE(tally)
typedef struct tally {
    uint64_t total;
} tally;
#define tally_HEARS STOA_HEARS_NOTHING
STOA_KIND(tally, .mailbox_limit = 64)

static stoa_err tally_on_add(stoa_turn *turn, const tally *self, const tally_add *in, tally_sum *out)
{
    out->total = self->total + in->by;
    return tally_emit_added(turn, (tally_added){in->by});
}

static stoa_err tally_on_read(stoa_turn *turn, const tally *self, const tally_read *in, tally_sum *out)
{
    (void)turn, (void)in;
    out->total = self->total;
    return STOA_OK;
}

static void tally_apply_added(tally *self, const tally_added *event)
{
    self->total += event->by;
}

/* --- a journal that refuses */

static const stoa_journal_ops *real;
static stoa_journal_ops refusing;
static atomic_bool refuse_next;
static atomic_uint refused;

/* Of the thread that was refused: locks that it has taken since. */
static _Thread_local unsigned locks_since;
static atomic_uint held, looked_at; /* looked_at: the core asks where the log ends when it begins to rebuild */

/* A core that does not wait for this thread is at it soon, and then has its time. */
static void hold_up(void)
{
    unsigned before = atomic_load(&looked_at);
    atomic_fetch_add(&held, 1);
    for (int ms = 0; ms < (atomic_load(&looked_at) == before ? HELD_MS : REBUILT_MS); ms++) { (void)nanosleep(&(struct timespec){0, 1000000}, NULL); }
}

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (locks_since && ++locks_since > 2) { /* the first one is that of the telling */
        locks_since = 0;
        hold_up();
    }
    return __real_pthread_mutex_lock(mutex);
}

static stoa_err append(stoa_journal *journal, const stoa_block *block, bool sync)
{
    if (atomic_exchange(&refuse_next, false)) {
        atomic_fetch_add(&refused, 1);
        locks_since = 1;
        return STOA_FAIL(STOA_E_STALE, "a later epoch, says the test");
    }
    return real->append(journal, block, sync);
}

static void state_of(stoa_journal *journal, stoa_journal_state *out)
{
    atomic_fetch_add(&looked_at, 1);
    real->state(journal, out);
}

static stoa_err open_refusing(const char *path, stoa_journal **out)
{
    stoa_err err = stoa_journal_rocksdb.open(path, out);
    if (err) { return err; }
    real = (*out)->ops;
    refusing = *real;
    refusing.append = append;
    refusing.state = state_of;
    refusing.open = open_refusing;
    (*out)->ops = &refusing;
    return STOA_OK;
}
static const stoa_journal_ops opener = {.scheme = "refusing", .open = open_refusing};

/* --- the stage */

static char folder[64];
static stoa_node *node;
static stoa_shard *shard;
static stoa_ref counter;
static atomic_ullong answered;
static atomic_uint turned_away;

static const stoa_kind *const kinds[] = {&tally_kind, NULL};

static void open_node(void)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/tally", folder);
    stoa_options options = {.cores = 1, .kinds = kinds};
    assert_int_equal(stoa_node_open(&options, &node), STOA_OK);
    stoa_shard_options in = {.name = "tally", .durability = stoa_durability_DISK, .journal = &opener, .path = path};
    assert_int_equal(stoa_shard_open(node, &in, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &tally_kind, "tally/t", &(stoa_spawn_options){.shard = shard}, &counter), STOA_OK);
}

static void *call(void *unused)
{
    (void)unused;
    for (int i = 0; i < CALLS; i++) {
        tally_sum sum;
        stoa_err err = tally_call_add(node, counter, (tally_add){1}, STOA_S(60), &sum);
        if (err && err != STOA_E_UNAVAILABLE) { (void)fprintf(stderr, "%s\n", stoa_err_trail()); abort(); }
        if (err) {
            atomic_fetch_add(&turned_away, 1);
        } else {
            atomic_fetch_add(&answered, 1);
        }
    }
    return NULL;
}

static void pause_ms(long ms)
{
    (void)nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

static uint64_t total(void)
{
    tally_sum sum = {0};
    assert_int_equal(tally_call_read(node, counter, (tally_read){0}, STOA_S(60), &sum), STOA_OK);
    return sum.total;
}

/* One that is in the log. */
static void add_one(void)
{
    tally_sum sum;
    stoa_err err = STOA_E_UNAVAILABLE;
    while (err == STOA_E_UNAVAILABLE) { err = tally_call_add(node, counter, (tally_add){1}, STOA_S(60), &sum); }
    assert_int_equal(err, STOA_OK);
    atomic_fetch_add(&answered, 1);
}

/* Seen when the journal's thread is at work again: no other refusal meets what it does until then. */
static void one_refusal_was_one_drop(void)
{
    stoa_shard_view view;
    while (atomic_load(&refuse_next)) { pause_ms(1); }
    for (uint32_t drops = 0; drops < atomic_load(&refused);) {
        pause_ms(1);
        assert_int_equal(stoa_shard_glance(shard, &view), STOA_OK);
        drops = view.drops;
    }
    add_one();
    assert_int_equal(stoa_shard_glance(shard, &view), STOA_OK);
    assert_int_equal(view.drops, atomic_load(&refused));
}

static void what_was_answered_is_there_and_nothing_else(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    stoa_shard_view view;
    (void)snprintf(folder, sizeof folder, "/tmp/stoa-drop-%d", (int)getpid());
    char command[192];
    (void)snprintf(command, sizeof command, "rm -rf %s && mkdir %s", folder, folder);
    assert_int_equal(system(command), 0);
    open_node();
    for (int i = 0; i < THREADS; i++) { assert_int_equal(pthread_create(&threads[i], NULL, call, NULL), 0); }
    for (int i = 0; i < DROPS; i++) {
        pause_ms(5);
        if (i >= DROPS / 2) {
            assert_int_equal(stoa_shard_drop(shard, 0), STOA_OK);
        } else {
            atomic_store(&refuse_next, true);
            one_refusal_was_one_drop();
        }
    }
    for (int i = 0; i < THREADS; i++) { assert_int_equal(pthread_join(threads[i], NULL), 0); }
    atomic_store(&refuse_next, false);
    assert_true(total() == atomic_load(&answered));
    assert_int_equal(stoa_shard_look(shard, &view), STOA_OK);
    assert_int_equal(view.drops, DROPS / 2 + atomic_load(&refused));
    print_message("%llu answered, %u turned away, %u drops, held up %u times\n", (unsigned long long)atomic_load(&answered),
                  atomic_load(&turned_away), view.drops, atomic_load(&held));
    assert_int_equal(atomic_load(&held), atomic_load(&refused));
    uint64_t hash, events;
    assert_int_equal(stoa_shard_replay(shard, view.applied, &hash, &events), STOA_OK);
    assert_true(hash == view.hash);
    stoa_node_close(node, STOA_S(10));
    open_node();
    assert_true(total() == atomic_load(&answered));
    stoa_node_close(node, STOA_S(10));
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_answered_is_there_and_nothing_else)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
