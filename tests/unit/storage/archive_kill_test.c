/* archive_kill_test.c - goal: whatever moment a process that writes an archive is killed at, the archive is valid and holds all
 * that was reported as sealed, and what stands for what it has let go. Method: children that seal, move, take snapshots and expire are
 * killed after a seeded time; the parent then opens the archive for writing, verifies every file and imports it. STOA_DEEP runs ten times as many.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/snapshot_kit.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "storage/archive/snapshot.h"
#include "storage/sim/journal.h"

enum { KILLS = 60, BLOCKS = 300, EVENTS = 4, PAYLOAD = 2000, SEGMENT = 12000 };

/* What the child reports: each of them was true when it was written. */
typedef struct report {
    uint64_t sealed, expired;
} report;

static stoa_archive *opened(const char *folder)
{
    char cold[KIT_PATH_MAX + 8];
    stoa_archive *archive = NULL;
    (void)snprintf(cold, sizeof cold, "%s/cold", folder);
    stoa_archive_options options = {.folder = folder, .cold_folder = cold, .shard = "trade", .segment_bytes = SEGMENT};
    kit_ok(stoa_archive_open(&options, &archive));
    return archive;
}

static void tell(int to, stoa_archive *archive)
{
    report r = {.sealed = stoa_archive_last(archive, true), .expired = stoa_archive_first(archive) - 1};
    assert_int_equal(write(to, &r, sizeof r), sizeof r);
}

/* The first segment, with something that stands for it. */
static void let_go(stoa_archive *archive, stoa_journal *log)
{
    uint64_t position, stands = 0;
    stoa_snapshot *newest;
    if (stoa_snapshot_open(log, UINT64_MAX, &newest) == STOA_OK) {
        stands = stoa_snapshot_look(newest)->position;
        stoa_snapshot_close(newest);
    }
    if (kit_last(log) > stands) { kit_snapshot(log); }
    kit_ok(stoa_archive_take_snapshot(archive, log, &(const stoa_archive_window){.at_most = UINT64_MAX, .newest = true}, NULL, &position));
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = UINT64_MAX, .rest = true}, NULL));
    kit_ok(stoa_archive_expire(archive, 1, NULL));
    kit_ok(stoa_archive_forget_snapshots(archive, 0, 2));
}

/* Seal, move, expire, for as long as it lives. */
static void work(const char *folder, uint64_t seed, bool expire, int to)
{
    stoa_random random;
    stoa_journal *log;
    stoa_random_seed(&random, seed);
    kit_ok(stoa_journal_sim.open("sim:child", &log));
    stoa_archive *archive = opened(folder);
    kit_grow(log, BLOCKS / 4, EVENTS, PAYLOAD);
    while (kit_last(log) < stoa_archive_last(archive, false)) { kit_grow(log, 1, EVENTS, PAYLOAD); }
    for (;;) {
        if (kit_last(log) < BLOCKS * EVENTS) { kit_grow(log, 1 + (unsigned)stoa_random_below(&random, 9), EVENTS, PAYLOAD); }
        stoa_extent extent = {.until = stoa_random_below(&random, kit_last(log) + 1),
                              .rest = stoa_random_chance(&random, 300),
                              .open = stoa_random_chance(&random, 500)};
        kit_ok(stoa_archive_extend(archive, log, &extent, NULL));
        tell(to, archive);
        stoa_manifest m;
        kit_ok(stoa_archive_look(archive, &m));
        for (uint32_t i = 0; i < m.count && m.count > 2; i++) {
            if (m.entries[i].tier == STOA_TIER_WARM && !m.entries[i].open) {
                kit_ok(stoa_archive_move(archive, i, STOA_TIER_COLD, NULL));
                break;
            }
        }
        bool many = m.count > 8;
        stoa_manifest_deinit(&m);
        if (expire && many) { let_go(archive, log); }
        tell(to, archive);
    }
}

static report kill_one(const char *folder, stoa_random *random, bool expire)
{
    int ends[2];
    uint64_t seed = stoa_random_next(random);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        work(folder, seed, expire, ends[1]);
        _exit(0);
    }
    (void)close(ends[1]);
    struct timespec wait = {.tv_nsec = (long)stoa_random_below(random, 150000000)};
    report last = {0}, next;
    ssize_t got = read(ends[0], &next, sizeof next); /* it has begun */
    if (got == (ssize_t)sizeof next) { last = next; }
    (void)nanosleep(&wait, NULL);
    (void)kill(child, SIGKILL);
    while (read(ends[0], &next, sizeof next) == (ssize_t)sizeof next) { last = next; }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* not by a failed check of its own */
    (void)close(ends[0]);
    return last;
}

static void check(const char *folder, const report *last, unsigned round)
{
    char name[32];
    uint64_t verified = 0;
    stoa_archive *archive = opened(folder);
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
    assert_true(stoa_archive_last(archive, true) >= last->sealed);
    assert_true(stoa_archive_first(archive) - 1 >= last->expired);
    uint64_t stands = 0, first = stoa_archive_first(archive);
    stoa_journal *copy;
    (void)snprintf(name, sizeof name, "sim:copy%u", round);
    kit_ok(stoa_journal_sim.open(name, &copy));
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, &stands));
    kit_check_from(copy, first, stoa_archive_last(archive, false));
    assert_true((first > 1) == (stands > 0));
    if (stands) { kit_check_snapshot(copy, stands); }
    copy->ops->close(copy);
    stoa_sim_disks_free();
    stoa_archive_close(archive);
}

static void a_killed_writer_leaves_a_valid_archive(void **state)
{
    (void)state;
    stoa_random random = kit_random(21);
    unsigned kills = getenv("STOA_DEEP") ? KILLS * 10 : KILLS;
    char folder[KIT_PATH_MAX];
    kit_folder(folder);
    for (unsigned round = 0; round < kills; round++) {
        bool expire = round % 3 == 2;
        if (round % 6 == 0) {
            kit_remove(folder);
            assert_int_equal(mkdir(folder, 0700), 0);
        }
        report last = kill_one(folder, &random, expire);
        check(folder, &last, round);
    }
    kit_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_killed_writer_leaves_a_valid_archive)};
    stoa_log_level_set(STOA_LOG_WARN);
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
