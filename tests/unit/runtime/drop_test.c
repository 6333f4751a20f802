/* drop_test.c - goal: a shard on a real journal is dropped and rebuilt while threads call it, and each call that was answered OK, and
 * no other, is in its state; before and after the node is opened again. Method: several threads add to a counter; meanwhile the
 * shard is dropped by command, and its journal refuses blocks as that of a deposed writer does (RocksDB's, behind a function that
 * says STALE now and then; the block before may have been written). One refusal is one drop, also where the journal's thread, which has
 * told of the refusal, comes to nothing else before the core has seen to it: it is held up there, in the lock that it takes next (the
 * linker puts a function of ours in its place), for so long that a core that does not wait for it has rebuilt the shard.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/tally.h"

enum { THREADS = 3, CALLS = 400, DROPS = 20, HELD_MS = 60, REBUILT_MS = 600 };

/* --- a journal that refuses */

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

static stoa_journal_ops refusing = {.append = append, .state = state_of};

/* --- the stage */

static atomic_ullong answered;
static atomic_uint turned_away;

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
    while (atomic_load(&refuse_next)) { pause_ms(1); }
    while (glance().drops < atomic_load(&refused)) { pause_ms(1); }
    add_one();
    assert_int_equal(glance().drops, atomic_load(&refused));
}

static void what_was_answered_is_there_and_nothing_else(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    stoa_shard_view view;
    make_folder();
    open_node(&refusing);
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
    open_node(&refusing);
    assert_true(total() == atomic_load(&answered));
    stoa_node_close(node, STOA_S(10));
    remove_folder();
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_answered_is_there_and_nothing_else)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
