/* sparse_test.c - goal: a large state costs what is used of it, to look at as to keep, and nothing that is not zero is ever passed
 * over. Method: seeded bytes in mapped memory of several windows of pages; walks, comparisons and hashes of it against what a look
 * at every byte gives, with the kernel's knowledge and without (no descriptor is left to ask with); and the faults of pages that a
 * look at a fresh shard takes. The first two are limits of pages and not of time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "runtime/kit.h"
#include "runtime/ledger.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"
#include "storage/sim/journal.h"

enum { PAGE = 4096, BYTES = 40 * 1024 * 1024 + 100, MARKS = 30, SEED = 7 };

static bool kernel_knows;

static size_t place(stoa_random *random)
{
    return (size_t)stoa_random_below(random, BYTES);
}

static uint8_t *marked(uint64_t seed)
{
    stoa_random random;
    uint8_t *at = stoa_sparse_map(BYTES);
    assert_non_null(at);
    stoa_random_seed(&random, seed);
    for (int i = 0; i < MARKS; i++) { at[place(&random)] = (uint8_t)(1 + i); }
    at[BYTES - 1] = 1;
    return at;
}

/* Bytes that a walk shows; runs are in order, and behind and between them there is nothing. */
static size_t walked(const uint8_t *at, size_t bytes)
{
    stoa_sparse_walk walk = {.at = at, .bytes = bytes};
    size_t shown = 0, end = 0;
    while (stoa_sparse_next(&walk)) {
        assert_true(walk.from >= end && walk.to > walk.from && walk.to <= bytes);
        assert_true(stoa_all_zero(at + end, walk.from - end)); /* reading maps it: it is behind the walk already */
        shown += walk.to - walk.from;
        end = walk.to;
    }
    assert_true(stoa_all_zero(at + end, bytes - end));
    return shown;
}

static void a_walk_shows_what_was_written_and_little_else(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED; seed++) {
        uint8_t *at = marked(seed);
        size_t shown = walked(at, BYTES);
        if (kernel_knows) { assert_true(shown <= (MARKS + 1) * PAGE); }
        assert_true(walked(at, BYTES) >= shown); /* now all was read */
        stoa_sparse_clear(at, BYTES);
        shown = walked(at, BYTES);
        if (kernel_knows) { assert_int_equal(shown, 0); }
        stoa_sparse_unmap(at, BYTES);
    }
}

static void small_memory_is_one_run(void **state)
{
    (void)state;
    uint8_t small[1000] = {0};
    stoa_sparse_walk walk = {.at = small, .bytes = sizeof small};
    assert_true(stoa_sparse_touched(&walk, 10, 20));
    assert_int_equal(walked(small, sizeof small), sizeof small);
    assert_int_equal(walked(small, 0), 0);
    small[3] = 1;
    stoa_sparse_clear(small, sizeof small);
    assert_true(stoa_all_zero(small, sizeof small));
}

static void ranges_are_known_by_what_was_written_in_them(void **state)
{
    (void)state;
    uint8_t *at = stoa_sparse_map(BYTES);
    assert_non_null(at);
    for (size_t i = 5; i < BYTES / PAGE; i += 300) { at[i * PAGE + 17] = 1; }
    stoa_sparse_walk walk = {.at = at, .bytes = BYTES};
    for (size_t i = 0; i < BYTES / PAGE; i += 100) {
        bool any = stoa_sparse_touched(&walk, i * PAGE, (i + 100) * PAGE);
        assert_true(any || i % 300);
        if (kernel_knows) { assert_true(any == (i % 300 == 0)); }
    }
    stoa_sparse_unmap(at, BYTES);
}

static void what_one_side_alone_has_touched_is_compared(void **state)
{
    (void)state;
    uint8_t *none = stoa_sparse_map(BYTES), *some = stoa_sparse_map(BYTES);
    assert_true(none && some && stoa_sparse_equal(none, some, BYTES));
    some[BYTES / 2] = 1;
    assert_false(stoa_sparse_equal(none, some, BYTES));
    assert_false(stoa_sparse_equal(some, none, BYTES));
    some[BYTES / 2] = 0;
    assert_true(stoa_sparse_equal(none, some, BYTES) && stoa_sparse_equal(some, none, BYTES));
    stoa_sparse_unmap(none, BYTES);
    stoa_sparse_unmap(some, BYTES);
}

static void a_hash_and_a_comparison_do_not_depend_on_what_was_touched(void **state)
{
    (void)state;
    uint8_t *a = marked(SEED), *b = marked(SEED);
    assert_true(stoa_sparse_equal(a, b, BYTES));
    uint64_t hash = stoa_state_hash(1, a, BYTES);
    for (size_t i = 0; i < BYTES; i += PAGE) { *(volatile uint8_t *)(b + i) = b[i]; } /* every page of b is touched */
    assert_true(stoa_sparse_equal(a, b, BYTES) && stoa_sparse_equal(b, a, BYTES));
    assert_true(stoa_state_hash(1, b, BYTES) == hash);
    stoa_random random;
    stoa_random_seed(&random, 99);
    for (int i = 0; i < 50; i++) {
        size_t at = place(&random);
        a[at] ^= 1;
        assert_false(stoa_sparse_equal(a, b, BYTES));
        assert_false(stoa_sparse_equal(b, a, BYTES));
        assert_true(stoa_state_hash(1, a, BYTES) != hash);
        a[at] ^= 1;
    }
    assert_true(stoa_state_hash(1, a, BYTES) == hash);
    stoa_sparse_unmap(a, BYTES);
    stoa_sparse_unmap(b, BYTES);
}

/* Where the kernel does not say, everything is looked at, and is the same. */
static void without_the_kernel_it_is_the_same(void **state)
{
    (void)state;
    uint8_t *at = marked(SEED);
    uint64_t hash = stoa_state_hash(1, at, BYTES);
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    stoa_sparse_walk walk = {.at = at, .bytes = BYTES};
    bool first = stoa_sparse_next(&walk), whole = walk.from == 0 && walk.to == BYTES, second = stoa_sparse_next(&walk);
    uint64_t again = stoa_state_hash(1, at, BYTES);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(first && whole && !second);
    assert_true(hash == again);
    stoa_sparse_unmap(at, BYTES);
}

static uint64_t faults(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (uint64_t)usage.ru_minflt;
}

/* A shard reserves some 17 MB for what it remembers beside its actors: opening one, hashing and replaying it must not touch that. */
static void a_fresh_shard_costs_little_and_so_does_a_look_at_it(void **state)
{
    enum { SHARDS = 8, LEDGER_PAGES = sizeof(stoa_shard_log) / PAGE };
    static const stoa_kind *const kinds[] = {NULL};
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shards[SHARDS];
    (void)state;
    assert_true(LEDGER_PAGES > 3000);
    stoa_sim_disks_free();
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = SEED, .kinds = kinds}, &sim, &node), STOA_OK);
    uint64_t before = faults();
    for (int i = 0; i < SHARDS; i++) {
        char name[24], path[32];
        (void)snprintf(name, sizeof name, "fresh-%d", i);
        (void)snprintf(path, sizeof path, "sim:%s", name);
        stoa_shard_options options = {.name = name, .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = path};
        assert_int_equal(stoa_shard_open(node, &options, &shards[i]), STOA_OK);
        stoa_shard_view view;
        uint64_t hash, events;
        assert_int_equal(stoa_shard_look(shards[i], &view), STOA_OK);
        assert_int_equal(stoa_shard_replay(shards[i], 0, &hash, &events), STOA_OK);
        assert_true(hash == view.hash);
    }
    uint64_t each = (faults() - before) / SHARDS;
    print_message("%llu faults a shard; %u pages are reserved for its ledger\n", (unsigned long long)each, (unsigned)LEDGER_PAGES);
    if (kernel_knows) { assert_true(each < LEDGER_PAGES / 8); }
    stoa_sim_free(sim);
    stoa_sim_disks_free();
}

int main(void)
{
    kernel_knows = access("/proc/self/pagemap", R_OK) == 0;
    print_message("the kernel %s which pages were touched\n", kernel_knows ? "says" : "does not say");
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_walk_shows_what_was_written_and_little_else),
                                       cmocka_unit_test(small_memory_is_one_run),
                                       cmocka_unit_test(ranges_are_known_by_what_was_written_in_them),
                                       cmocka_unit_test(what_one_side_alone_has_touched_is_compared),
                                       cmocka_unit_test(a_hash_and_a_comparison_do_not_depend_on_what_was_touched),
                                       cmocka_unit_test(without_the_kernel_it_is_the_same),
                                       cmocka_unit_test(a_fresh_shard_costs_little_and_so_does_a_look_at_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
