/* cut_test.c - goal: a backup of shards that mail each other while it is taken restores to a state that the node could have
 * stopped in, at its end and at any moment before; a cut that is none is named. Method: purses (tests/sim/purse.h) on a real node
 * with two cores pay each other across three shards while backups run; every restore compares state hashes with the live ones and
 * what the logs say of their mail; then the same logs are cut at different times, which must be found out.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "node/archive/backup.h"
#include "node/archive/restore.h"
#include "runtime/mail_check.h"
#include "storage/rocksdb/journal.h"
#include "tests/sim/purse.h"

enum { SHARDS = 3, PURSES = 2 * SHARDS, BACKUPS = 2, MOMENTS = 4, PAY_MAX = 6 };
static const char *const shard_names[SHARDS] = {"north", "east", "south"};
static const stoa_kind *const kinds[] = {&purse_kind, NULL};

typedef struct world {
    char folder[KIT_PATH_MAX];
    stoa_node *node;
    stoa_shard *shards[SHARDS];
    stoa_ref purses[PURSES];
    stoa_backup_source sources[SHARDS];
    pthread_t payer;
    uint64_t seed;
    _Atomic bool over;
} world;


static stoa_text62 address(uint32_t index)
{
    char name[64];
    stoa_text62 out = {0};
    (void)snprintf(name, sizeof name, "purse/%s%u", shard_names[index / 2], index % 2);
    STOA_ASSERT(STOA_TEXT_SETZ(&out, name) == STOA_OK);
    return out;
}

static void spawn_purse(world *w, uint32_t i)
{
    char name[64];
    purse_linked linked;
    (void)snprintf(name, sizeof name, "purse/%s%u", shard_names[i / 2], i % 2);
    kit_ok(stoa_spawn(w->node, &purse_kind, name, &(stoa_spawn_options){.shard = w->shards[i / 2]}, &w->purses[i]));
    purse_link link = {.index = i, .sibling = (i ^ 1) % 2 + 1, .next = address((i + 2) % PURSES)};
    kit_ok(purse_call_link(w->node, w->purses[i], link, STOA_S(30), &linked));
}

/* Amounts that hop on from shard to shard, so that what one block leads to is soon in another log. */
static void *pay(void *argument)
{
    world *w = argument;
    stoa_random random;
    stoa_random_seed(&random, w->seed);
    while (!atomic_load(&w->over)) {
        uint32_t from = (uint32_t)stoa_random_below(&random, PURSES), to = (uint32_t)stoa_random_below(&random, PURSES);
        if (from / 2 == to / 2) { to = (to + 2) % PURSES; }
        purse_push push = {.amount = 1 + stoa_random_below(&random, 100), .hops = stoa_random_below(&random, PAY_MAX), .to = address(to)};
        (void)purse_post_push(w->node, w->purses[from], push);
        struct timespec wait = {0, (long)stoa_random_below(&random, 400000)};
        (void)nanosleep(&wait, NULL);
    }
    return NULL;
}

static void open_world(world *w, stoa_random *random)
{
    memset(w, 0, sizeof *w);
    kit_folder(w->folder);
    w->seed = stoa_random_next(random);
    kit_ok(stoa_node_open(&(const stoa_options){.cores = 2, .kinds = kinds}, &w->node));
    for (uint32_t i = 0; i < SHARDS; i++) {
        char path[KIT_PATH_MAX + 32];
        (void)snprintf(path, sizeof path, "%s/%s", w->folder, shard_names[i]);
        stoa_shard_options options = {.name = shard_names[i], .core = i % 2, .durability = stoa_durability_DISK,
                                      .journal = &stoa_journal_rocksdb, .path = path};
        kit_ok(stoa_shard_open(w->node, &options, &w->shards[i]));
        w->sources[i] = (stoa_backup_source){.name = shard_names[i], .journal = stoa_shard_journal(w->shards[i]), .shard = w->shards[i]};
    }
    for (uint32_t i = 0; i < PURSES; i++) { spawn_purse(w, i); }
    assert_int_equal(pthread_create(&w->payer, NULL, pay, w), 0);
}

static void rest(world *w)
{
    atomic_store(&w->over, true);
    assert_int_equal(pthread_join(w->payer, NULL), 0);
}

static void close_world(world *w)
{
    stoa_node_close(w->node, STOA_S(10));
    kit_remove(w->folder);
}

static void back_up(world *w, const char *folder)
{
    stoa_backup_step steps[SHARDS];
    stoa_backup backup = {.folder = folder, .node_name = "test", .sources = w->sources, .source_count = SHARDS, .kinds = kinds,
                          .segment_bytes = 20000};
    kit_ok(stoa_backup_run(&backup, NULL, steps));
}

static stoa_restored *restored;

static stoa_err restore(const char *from, const char *into, const char *until)
{
    stoa_restore request = {.from = from, .into = into, .until = until, .kinds = kinds, .journal = &stoa_journal_rocksdb};
    stoa_err err = stoa_restore_run(&request, false, NULL, restored);
    if (!err) { kit_remove(into); }
    return err;
}

/* At the backup's end, at seeded moments of its life, and at seeded positions of each log. */
static void restore_everywhere(world *w, const char *folder, stoa_random *random, uint64_t began_ns)
{
    char into[KIT_PATH_MAX + 32], until[80];
    (void)snprintf(into, sizeof into, "%s/restored", w->folder);
    kit_ok(restore(folder, into, NULL));
    for (uint32_t i = 0; i < SHARDS; i++) { assert_true(restored->shards[i].compared > 0); }
    uint64_t end_ns = restored->cut_ns, last[SHARDS];
    for (uint32_t i = 0; i < SHARDS; i++) { last[i] = restored->shards[i].last; }
    for (unsigned i = 0; i < MOMENTS; i++) {
        uint64_t ns = began_ns + stoa_random_below(random, end_ns - began_ns);
        uint32_t shard = (uint32_t)stoa_random_below(random, SHARDS);
        if (i % 2) {
            char text[STOA_TIME_TEXT_MAX];
            stoa_time_print(ns, text);
            (void)snprintf(until, sizeof until, "%s", text);
        } else {
            (void)snprintf(until, sizeof until, "%s:%" PRIu64, shard_names[shard], 1 + stoa_random_below(random, last[shard]));
        }
        stoa_err err = restore(folder, into, until);
        if (err == STOA_E_RANGE) { assert_int_equal(restored->shard_count, SHARDS); }
        for (uint32_t at = 0; err == STOA_E_RANGE && at < SHARDS; at++) { assert_int_equal(restored->shards[at].last, 0); }
        if (err != STOA_E_RANGE) { kit_ok(err); } /* a moment before anything was whole */
    }
}

static void a_backup_of_shards_that_mail_each_other_is_one_moment(void **state)
{
    (void)state;
    stoa_random random = kit_random(33);
    world w;
    char folder[KIT_PATH_MAX + 32];
    uint64_t began_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    open_world(&w, &random);
    (void)snprintf(folder, sizeof folder, "%s/backup", w.folder);
    for (unsigned i = 0; i < BACKUPS; i++) {
        struct timespec wait = {0, 60000000};
        (void)nanosleep(&wait, NULL);
        back_up(&w, folder);
        restore_everywhere(&w, folder, &random, began_ns);
    }
    rest(&w);
    close_world(&w);
}

static void import_until(const char *folder, const char *shard, uint64_t until_ns, const char *path, stoa_mail_log *out)
{
    stoa_archive *archive;
    stoa_journal *journal;
    stoa_log_reader *reader;
    stoa_archive_options options = {.folder = folder, .shard = shard, .read_only = true};
    kit_ok(stoa_archive_open(&options, &archive));
    kit_ok(stoa_journal_rocksdb.open(path, &journal));
    kit_ok(stoa_archive_import(archive, journal, &(const stoa_import){.until_ns = until_ns}, NULL, NULL));
    kit_ok(stoa_log_open_journal(journal, kinds, shard, &reader));
    kit_ok(stoa_mail_collect(reader, shard, out));
    stoa_log_close(reader);
    journal->ops->close(journal);
    stoa_archive_close(archive);
    kit_remove(path);
}

/* The check can fail: one log cut earlier than the others has not sent what they took, or took not what they forgot. */
static void logs_cut_at_different_times_do_not_agree(void **state)
{
    (void)state;
    stoa_random random = kit_random(34);
    world w;
    char folder[KIT_PATH_MAX + 32], path[KIT_PATH_MAX + 32];
    stoa_mail_log *logs = calloc(SHARDS, sizeof *logs);
    uint64_t began_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    assert_non_null(logs);
    open_world(&w, &random);
    struct timespec wait = {0, 400000000};
    (void)nanosleep(&wait, NULL);
    rest(&w);
    (void)snprintf(folder, sizeof folder, "%s/backup", w.folder);
    (void)snprintf(path, sizeof path, "%s/import", w.folder);
    back_up(&w, folder);
    kit_ok(restore(folder, path, NULL));
    uint64_t end_ns = restored->cut_ns, half_ns = began_ns + (end_ns - began_ns) / 2;
    for (uint32_t odd = 0; odd < SHARDS; odd++) {
        for (uint32_t i = 0; i < SHARDS; i++) { import_until(folder, shard_names[i], i == odd ? half_ns : end_ns, path, &logs[i]); }
        kit_err(stoa_mail_agree(logs, SHARDS), STOA_E_FORKED);
    }
    for (uint32_t i = 0; i < SHARDS; i++) { import_until(folder, shard_names[i], half_ns, path, &logs[i]); }
    kit_ok(stoa_mail_agree(logs, SHARDS));
    free(logs);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_of_shards_that_mail_each_other_is_one_moment),
        cmocka_unit_test(logs_cut_at_different_times_do_not_agree),
    };
    stoa_log_level_set(STOA_LOG_ERROR);
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    restored = calloc(1, sizeof *restored);
    STOA_ASSERT(restored);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(restored);
    return failed;
}
