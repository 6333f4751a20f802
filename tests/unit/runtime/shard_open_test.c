/* shard_open_test.c - goal: a shard opens whole or not at all: what fails on the way leaves no actor that is found, no place, no
 * thread, no open journal, and the same shard opens when the cause is gone; a node that cannot be opened gives back what it
 * took, once. Names of shards, and actors that live in another one, are what they say.
 * Method: logs that name a kind which this build has not, on a node with real cores; each of the mappings that opening makes
 * fails once, by a mmap of our own in front of the library's; and a close that counts what was not open.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/internal.h"
#include "runtime/shard.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"
#include "storage/sim/journal.h"

/* --- the mappings and descriptors of this thread */

static _Thread_local int maps_left = -1; /* so many succeed, the next one fails; negative: all succeed */
static _Thread_local int maps_alive, closed_twice;

/* Straight to the system: a sanitizer maps before there is anything to find the library's with. */
#define IN_FRONT __attribute__((visibility("default"), no_sanitize("thread", "address")))
IN_FRONT void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (maps_left == 0) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (maps_left > 0) { maps_left--; }
    maps_alive++;
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

IN_FRONT int munmap(void *at, size_t bytes)
{
    maps_alive--;
    return (int)syscall(SYS_munmap, at, bytes);
}

IN_FRONT int close(int fd)
{
    int failed = (int)syscall(SYS_close, fd);
    closed_twice += failed && errno == EBADF;
    return failed;
}

/* --- two kinds; the second is not of every build */

#define clerk_note_FIELDS(F, S)  F(S, uint64_t, by)
#define clerk_sum_FIELDS(F, S)   F(S, uint64_t, sum)
#define clerk_noted_FIELDS(F, S) F(S, uint64_t, by)
#define clerk_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, note, sum, "Note.")                                                                                \
    ROW(K, REPLY, sum, _, "The sum.")                                                                                  \
    ROW(K, EVENT, noted, _, "Noted.")
STOA_TABLE_HERE(clerk)
typedef struct clerk {
    uint64_t sum;
} clerk;
#define clerk_HEARS STOA_HEARS_NOTHING
STOA_KIND(clerk, .mailbox_limit = 64)

static stoa_err clerk_on_note(stoa_turn *turn, const clerk *self, const clerk_note *in, clerk_sum *out)
{
    out->sum = self->sum + in->by;
    return clerk_emit_noted(turn, (clerk_noted){in->by});
}
static void clerk_apply_noted(clerk *self, const clerk_noted *event)
{
    self->sum += event->by;
}

#define newer_went_FIELDS STOA_NO_FIELDS
#define newer_go_FIELDS   STOA_NO_FIELDS
#define newer_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, go, _, "Go.")                                                                                         \
    ROW(K, EVENT, went, _, "Went.")
STOA_TABLE_HERE(newer)
typedef struct newer {
    uint64_t went;
} newer;
#define newer_HEARS STOA_HEARS_NOTHING
STOA_KIND(newer, .mailbox_limit = 64)

static stoa_err newer_on_go(stoa_turn *turn, const newer *self, const newer_go *in)
{
    (void)self;
    (void)in;
    return newer_emit_went(turn, (newer_went){{0}});
}
static void newer_apply_went(newer *self, const newer_went *event)
{
    (void)event;
    self->went++;
}

/* --- cases */

static char folder[] = "/tmp/stoa-opens-XXXXXX";
static char path[sizeof folder + 16];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) { return -1; }
    (void)snprintf(path, sizeof path, "%s/s.db", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[sizeof folder + 16];
    (void)state;
    stoa_sim_disks_free();
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static stoa_node *open_node(const stoa_kind *const *kinds)
{
    stoa_node *node = NULL;
    stoa_options options = {.cores = 2, .kinds = kinds, .snapshot_events = 1000};
    if (stoa_node_open(&options, &node)) { fail_msg("%s", stoa_err_trail()); }
    return node;
}

static const stoa_shard_options on_disk = {
    .name = "s", .core = 1, .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb, .path = path};

static uint64_t note(stoa_node *node, stoa_ref ref, uint64_t by)
{
    clerk_sum out = {0};
    if (clerk_call_note(node, ref, (clerk_note){by}, STOA_S(60), &out)) { fail_msg("%s", stoa_err_trail()); }
    return out.sum;
}

/* Its log has an actor of a kind that is known, and then one of a kind that is not. */
static void one_whose_log_is_of_a_newer_build_leaves_nothing(void **state)
{
    (void)state;
    stoa_shard *shard = NULL;
    stoa_ref a, b;
    stoa_node *node = open_node(STOA_KINDS(&clerk_kind, &newer_kind));
    assert_int_equal(stoa_shard_open(node, &on_disk, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &clerk_kind, "clerk/a", &(stoa_spawn_options){.shard = shard}, &a), STOA_OK);
    assert_int_equal(stoa_spawn(node, &newer_kind, "newer/b", &(stoa_spawn_options){.shard = shard}, &b), STOA_OK);
    assert_int_equal(note(node, a, 4), 4);
    stoa_node_close(node, STOA_S(10));

    node = open_node(STOA_KINDS(&clerk_kind));
    shard = NULL;
    for (int i = 0; i < 70; i++) { /* more often than a node has places for shards */
        assert_int_equal(stoa_shard_open(node, &on_disk, &shard), STOA_E_VERSION);
        assert_non_null(strstr(stoa_err_trail(), "newer"));
        assert_null(shard);
        assert_int_equal(stoa_find(node, "clerk/a").at, 0);
    }
    assert_int_equal(node->shard_count, 0);
    assert_int_equal(node->cores[1]->actor_alive, 0);
    stoa_shard_options other = {.name = "other", .core = 1, .durability = stoa_durability_NONE};
    assert_int_equal(stoa_shard_open(node, &other, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &clerk_kind, "clerk/a", &(stoa_spawn_options){.shard = shard}, &a), STOA_OK);
    assert_int_equal(note(node, a, 1), 1);

    stoa_node *whole = open_node(STOA_KINDS(&clerk_kind, &newer_kind)); /* nobody has the journal open */
    assert_int_equal(stoa_shard_open(whole, &on_disk, &shard), STOA_OK);
    assert_int_equal(note(whole, stoa_find(whole, "clerk/a"), 4), 8);
    stoa_node_close(whole, STOA_S(10));
    stoa_node_close(node, STOA_S(10));
}

static void one_without_a_journal_or_a_core_is_refused(void **state)
{
    (void)state;
    stoa_shard *shard = NULL;
    stoa_node *node = open_node(STOA_KINDS(&clerk_kind));
    stoa_shard_options options = {.name = "s", .durability = stoa_durability_DISK};
    assert_int_equal(stoa_shard_open(node, &options, &shard), STOA_E_INVALID);
    options.journal = &stoa_journal_rocksdb;
    assert_int_equal(stoa_shard_open(node, &options, &shard), STOA_E_INVALID);
    options.path = "/nowhere/at/all";
    assert_int_not_equal(stoa_shard_open(node, &options, &shard), STOA_OK);
    options.core = 9;
    assert_int_equal(stoa_shard_open(node, &options, &shard), STOA_E_INVALID);
    assert_null(shard);
    assert_int_equal(node->shard_count, 0);
    stoa_node_close(node, 0);
}

/* On one thread, so that each of its mappings can fail: the journal's, the shard's, the follower's. */
static void each_mapping_may_fail(void **state)
{
    (void)state;
    static const stoa_kind *const kinds[] = {&clerk_kind, NULL};
    static const stoa_shard_options simulated = {
        .name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:opens"};
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard = NULL;
    stoa_ref ref;
    int failed = 0;
    stoa_sim_options options = {.seed = 3, .kinds = kinds, .snapshot_events = 1000};
    assert_int_equal(stoa_sim_new(&options, &sim, &node), STOA_OK);
    assert_int_equal(stoa_shard_open(node, &simulated, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &clerk_kind, "clerk/a", &(stoa_spawn_options){.shard = shard}, &ref), STOA_OK);
    assert_int_equal(note(node, ref, 7), 7);
    stoa_sim_free(sim);
    assert_int_equal(stoa_sim_new(&options, &sim, &node), STOA_OK);
    for (shard = NULL; !shard; failed++) {
        int alive = maps_alive - (int)node->cores[0]->chunk_count; /* chunks of actors stay with the core */
        maps_left = failed;
        stoa_err err = stoa_shard_open(node, &simulated, &shard);
        maps_left = -1;
        if (!err) { break; }
        assert_int_equal(err, STOA_E_NOMEM);
        assert_null(shard);
        assert_int_equal(maps_alive - (int)node->cores[0]->chunk_count, alive);
        assert_int_equal(node->shard_count, 0);
        assert_int_equal(node->cores[0]->actor_alive, 0);
        assert_int_equal(stoa_find(node, "clerk/a").at, 0);
    }
    printf("%d mappings failed\n", failed);
    assert_true(failed > 10);
    assert_int_equal(note(node, stoa_find(node, "clerk/a"), 1), 8);
    stoa_sim_free(sim);
}

static void a_name_is_one_and_short(void **state)
{
    (void)state;
    static const char *const names[] = {"", "a:b", "a/b", "1234567890123456789012345678901", NULL};
    stoa_shard *shard = NULL, *second = NULL;
    stoa_shard_view view;
    stoa_node *node = open_node(STOA_KINDS(&clerk_kind));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        stoa_shard_options bad = {.name = names[i], .durability = stoa_durability_NONE};
        assert_int_equal(stoa_shard_open(node, &bad, &shard), STOA_E_INVALID);
    }
    stoa_shard_options options = {.name = "123456789012345678901234567890", .durability = stoa_durability_NONE};
    assert_int_equal(stoa_shard_open(node, &options, &shard), STOA_OK);
    assert_int_equal(stoa_shard_glance(shard, &view), STOA_OK);
    assert_string_equal(view.name, options.name);
    options.core = 1;
    assert_int_equal(stoa_shard_open(node, &options, &second), STOA_E_EXISTS);
    assert_null(second);
    stoa_node_close(node, 0);
}

static void who_lives_in_another_shard_is_not_found_in_this_one(void **state)
{
    (void)state;
    stoa_shard *shards[3];
    stoa_node *node = open_node(STOA_KINDS(&clerk_kind));
    for (uint32_t i = 0; i < 3; i++) { /* one beside the first, one on another core */
        stoa_shard_options options = {.name = (const char *[]){"one", "two", "three"}[i], .core = i / 2, .durability = stoa_durability_NONE};
        assert_int_equal(stoa_shard_open(node, &options, &shards[i]), STOA_OK);
    }
    stoa_ref first, ref = {77};
    assert_int_equal(stoa_spawn(node, &clerk_kind, "clerk/a", &(stoa_spawn_options){.shard = shards[0]}, &first), STOA_OK);
    for (uint32_t i = 1; i < 3; i++) {
        assert_int_equal(stoa_spawn(node, &clerk_kind, "clerk/a", &(stoa_spawn_options){.shard = shards[i]}, &ref), STOA_E_EXISTS);
        assert_int_equal(ref.at, 77);
    }
    assert_int_equal(stoa_spawn(node, &clerk_kind, "clerk/a", &(stoa_spawn_options){.shard = shards[0]}, &ref), STOA_OK);
    assert_true(stoa_ref_equal(first, ref));
    stoa_node_close(node, 0);
}

/* --- nodes */

static void a_node_that_cannot_be_opened_closes_nothing_twice(void **state)
{
    (void)state;
    stoa_node *node = NULL;
    int failed = 0;
    closed_twice = 0;
    for (;; failed++) {
        int alive = maps_alive;
        maps_left = failed;
        stoa_err err = stoa_node_open(&(stoa_options){.cores = 2}, &node);
        maps_left = -1;
        if (!err) { break; }
        assert_int_equal(err, STOA_E_NOMEM);
        assert_null(node);
        assert_int_equal(closed_twice, 0);
        assert_int_equal(maps_alive, alive);
    }
    printf("%d mappings failed\n", failed);
    assert_true(failed > 8);
    stoa_node_close(node, 0);
    assert_int_equal(closed_twice, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_whose_log_is_of_a_newer_build_leaves_nothing),
        cmocka_unit_test(one_without_a_journal_or_a_core_is_refused),
        cmocka_unit_test(each_mapping_may_fail),
        cmocka_unit_test(a_name_is_one_and_short),
        cmocka_unit_test(who_lives_in_another_shard_is_not_found_in_this_one),
        cmocka_unit_test(a_node_that_cannot_be_opened_closes_nothing_twice),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
