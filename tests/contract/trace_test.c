/* trace_test.c - goal: one and the same crash leaves one and the same log, whichever journal it struck. Method: seeded traces
 * of appends, syncs, purges and crashes are run on the simulated journal and on the one on RocksDB side by side. At a crash
 * the simulated disk says how many unsynced blocks stay; RocksDB's own log is cut behind the same block, or in the middle of
 * the next one. Then both are opened, and their logs compared: state and every stored byte.
 *
 * The seed is printed; STOA_SEED repeats it. STOA_DEEP runs 400 traces.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/journals.h"

#include <dirent.h>

#include "base/log.h"

enum { STEPS = 60, POSITIONS_MAX = 4000 };

/* How far RocksDB's log went when the journal ended at a position. */
typedef struct reach {
    char file[32];
    off_t size;
} reach;

typedef struct pair {
    stoa_journal *sim, *rocks;
    stoa_sim_disk *disk;
    char path[KIT_PATH_MAX + 32]; /* of the one on RocksDB */
    uint64_t last;
    reach reached[POSITIONS_MAX];
} pair;

/* The newest of RocksDB's own logs. */
static reach look(const char *path)
{
    char name[KIT_PATH_MAX + 64];
    (void)snprintf(name, sizeof name, "%s/db", path);
    DIR *dir = opendir(name);
    assert_non_null(dir);
    reach found = {.file = ""};
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t length = strlen(entry->d_name);
        bool log = length > 4 && length < sizeof found.file && strcmp(entry->d_name + length - 4, ".log") == 0;
        if (log && strcmp(entry->d_name, found.file) > 0) { memcpy(found.file, entry->d_name, length + 1); }
    }
    assert_int_equal(closedir(dir), 0);
    struct stat status;
    (void)snprintf(name, sizeof name, "%s/db/%s", path, found.file);
    assert_int_equal(stat(name, &status), 0);
    found.size = status.st_size;
    return found;
}

static void note(pair *p)
{
    p->last = kit_last(p->rocks);
    assert_true(p->last < POSITIONS_MAX);
    p->reached[p->last] = look(p->path);
}

static void open_both(pair *p)
{
    kit_ok(stoa_journal_sim.open("sim:trace", &p->sim));
    kit_ok(stoa_journal_rocksdb.open(p->path, &p->rocks));
    note(p);
}

/* --- equal? */

typedef struct stored {
    uint8_t *bytes;
    size_t used, cap;
} stored;

static stoa_err gather(void *context, const void *bytes, size_t size_bytes)
{
    stored *s = context;
    if (s->used + size_bytes > s->cap) {
        s->cap = (s->used + size_bytes) * 2;
        s->bytes = realloc(s->bytes, s->cap);
        assert_non_null(s->bytes);
    }
    memcpy(s->bytes + s->used, bytes, size_bytes);
    s->used += size_bytes;
    return STOA_OK;
}

static void check_equal(const pair *p)
{
    stoa_journal_state a, b;
    stoa_journal_sim.state(p->sim, &a);
    stoa_journal_rocksdb.state(p->rocks, &b);
    assert_int_equal(a.first, b.first);
    assert_int_equal(a.last, b.last);
    assert_int_equal(a.epoch, b.epoch);
    assert_memory_equal(a.hash.at, b.hash.at, sizeof a.hash.at);
    stored one = {0}, two = {0};
    if (a.last > 0) {
        kit_ok(stoa_journal_sim.read_stored(p->sim, a.first, gather, &one));
        kit_ok(stoa_journal_rocksdb.read_stored(p->rocks, a.first, gather, &two));
    }
    assert_int_equal(one.used, two.used);
    if (one.used) { assert_memory_equal(one.bytes, two.bytes, one.used); }
    kit_check_index_from(p->sim, a.first, a.last);
    kit_check_index_from(p->rocks, a.first, a.last);
    free(one.bytes);
    free(two.bytes);
}

/* --- steps */

static void append_both(pair *p, stoa_random *random)
{
    uint32_t count = 1 + (uint32_t)stoa_random_below(random, 5), bytes = (uint32_t)stoa_random_below(random, 400);
    bool sync = stoa_random_chance(random, 250);
    kit_ok(kit_append(p->sim, p->last + 1, count, bytes, sync));
    kit_ok(kit_append(p->rocks, p->last + 1, count, bytes, sync));
    note(p);
}

static void sync_both(pair *p)
{
    kit_ok(stoa_journal_sim.sync(p->sim));
    kit_ok(stoa_journal_rocksdb.sync(p->rocks));
    note(p);
}

/* Synced first, so that both know the same to be safe. */
static void purge_both(pair *p, stoa_random *random)
{
    sync_both(p);
    uint64_t below = stoa_random_below(random, p->last + 1);
    kit_ok(stoa_journal_sim.purge(p->sim, below));
    kit_ok(stoa_journal_rocksdb.purge(p->rocks, below));
    note(p);
}

/* What was written of RocksDB's log ends behind the block that ends at kept, and a piece of the next, and the mark is the one
 * of the moment of the crash. The database is closed first: a copy of its files while its compactions delete some of them is
 * not what any crash leaves, and closing it writes nothing that the cut log does not take back. */
static void cut_rocks(pair *p, uint64_t kept, stoa_random *random)
{
    char command[4 * KIT_PATH_MAX];
    reach now = look(p->path), then = p->reached[kept];
    assert_string_equal(now.file, then.file); /* what may be lost is in the newest file */
    (void)snprintf(command, sizeof command, "cp %s/commit.mark %s", p->path, folder);
    assert_int_equal(system(command), 0);
    stoa_journal_rocksdb.close(p->rocks);
    (void)snprintf(command, sizeof command, "mv %s/commit.mark %s", folder, p->path);
    assert_int_equal(system(command), 0);
    assert_string_equal(look(p->path).file, now.file);

    char log[KIT_PATH_MAX + 96];
    (void)snprintf(log, sizeof log, "%s/db/%s", p->path, now.file);
    uint64_t next = kept + 1;
    while (next <= p->last && p->reached[next].file[0] == '\0') {
        next++;
    }
    off_t size = then.size;
    if (next <= p->last && stoa_random_chance(random, 500)) {
        size += (off_t)stoa_random_below(random, (uint64_t)(p->reached[next].size - then.size));
    }
    assert_int_equal(truncate(log, size), 0);
}

static uint64_t crash_both(pair *p, stoa_random *random)
{
    uint64_t before = p->last;
    stoa_sim_disk_crash(p->disk);
    stoa_journal_sim.close(p->sim);
    kit_ok(stoa_journal_sim.open("sim:trace", &p->sim));
    uint64_t kept = kit_last(p->sim);
    stoa_journal_sim.close(p->sim);
    cut_rocks(p, kept, random);
    memset(&p->reached[kept + 1], 0, (POSITIONS_MAX - kept - 1) * sizeof p->reached[0]);
    open_both(p);
    return before - kept;
}

static void one_trace(uint64_t seed, uint64_t *lost)
{
    static pair p;
    stoa_random random;
    stoa_random_seed(&random, seed);
    memset(&p, 0, sizeof p);
    kit_folder(folder);
    (void)snprintf(p.path, sizeof p.path, "%s/j", folder);
    kit_ok(stoa_sim_disk_get("trace", seed, &p.disk));
    open_both(&p);
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t what = stoa_random_below(&random, 100);
        if (what < 80) {
            append_both(&p, &random);
        } else if (what < 88) {
            sync_both(&p);
        } else if (what < 92) {
            purge_both(&p, &random);
        } else {
            *lost += crash_both(&p, &random);
            check_equal(&p);
        }
    }
    check_equal(&p);
    stoa_journal_sim.close(p.sim);
    stoa_journal_rocksdb.close(p.rocks);
    stoa_sim_disks_free();
    kit_remove(folder);
}

static void a_crash_leaves_the_same_log_in_every_journal(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(31));
    unsigned traces = getenv("STOA_DEEP") ? 400 : 15;
    uint64_t lost = 0;
    for (unsigned i = 0; i < traces; i++) {
        one_trace(stoa_random_next(&random), &lost);
    }
    print_message("%u traces, %" PRIu64 " unsynced events lost, every log the same\n", traces, lost);
    assert_true(lost > traces);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_crash_leaves_the_same_log_in_every_journal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
