/* archive_test.c - goal: an archive holds exactly the log, byte for byte, whatever was sealed when; what is not so is named,
 * never passed on. Method: seeded logs of the kit, whose blocks follow from their positions; extends at random moments;
 * imports into both kinds of journal compared by their hashes; then damage of each sort.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/snapshot_kit.h"

#include <dirent.h>
#include <fcntl.h>

#include "storage/archive/archive.h"
#include "storage/archive/journal.h"
#include "storage/archive/snapshot.h"
#include "storage/rocksdb/journal.h"
#include "storage/seal.h"
#include "storage/sim/journal.h"

static char folder[KIT_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    kit_folder(folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_remove(folder);
    stoa_sim_disks_free();
    return 0;
}

/* --- helpers */

static stoa_journal *sim(const char *name)
{
    stoa_journal *journal;
    char path[80];
    (void)snprintf(path, sizeof path, "sim:%s", name);
    kit_ok(stoa_journal_sim.open(path, &journal));
    return journal;
}

static stoa_err try_open(const char *shard, uint64_t segment_bytes, bool read_only, stoa_archive **out)
{
    char warm[KIT_PATH_MAX + 8], cold[KIT_PATH_MAX + 8];
    (void)snprintf(warm, sizeof warm, "%s/warm", folder);
    (void)snprintf(cold, sizeof cold, "%s/cold", folder);
    stoa_archive_options options = {.folder = warm, .cold_folder = cold, .shard = shard, .class_name = "orders",
                                    .segment_bytes = segment_bytes, .read_only = read_only};
    return stoa_archive_open(&options, out);
}

static stoa_archive *opened(const char *shard, uint64_t segment_bytes)
{
    stoa_archive *archive = NULL;
    kit_ok(try_open(shard, segment_bytes, false, &archive));
    return archive;
}

static stoa_manifest looked(stoa_archive *archive)
{
    stoa_manifest m;
    kit_ok(stoa_archive_look(archive, &m));
    return m;
}

static void seal_all(stoa_archive *archive, stoa_journal *journal)
{
    kit_ok(stoa_archive_extend(archive, journal, &(const stoa_extent){.until = UINT64_MAX, .rest = true}, NULL));
}

static void path_of(const stoa_manifest_entry *entry, char path[KIT_PATH_MAX + 128])
{
    char name[STOA_SEGMENT_NAME_MAX];
    stoa_segment_name(&entry->segment, entry->open, name);
    (void)snprintf(path, KIT_PATH_MAX + 128, "%s/%s/%s/%s", folder, entry->tier == STOA_TIER_WARM ? "warm" : "cold",
                   entry->segment.shard, name);
}

static void same_state(stoa_journal *a, stoa_journal *b)
{
    stoa_journal_state x, y;
    a->ops->state(a, &x);
    b->ops->state(b, &y);
    assert_int_equal(x.last, y.last);
    assert_int_equal(x.epoch, y.epoch);
    assert_memory_equal(&x.hash, &y.hash, sizeof x.hash);
}

/* Import all and compare with the log. */
static void imports_equal(stoa_archive *archive, stoa_journal *log, const char *name)
{
    stoa_journal *copy = sim(name);
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, NULL));
    same_state(copy, log);
    kit_check_all(copy, kit_last(log));
    kit_check_index(copy, kit_last(log));
    copy->ops->close(copy);
}

static unsigned files_in(const char *sub)
{
    char path[KIT_PATH_MAX + 32];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, sub);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) { count += strstr(entry->d_name, ".seg") != NULL; }
    (void)closedir(dir);
    return count;
}

/* --- what an archive holds */

static void an_empty_log_makes_an_empty_archive(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = NULL;
    kit_err(try_open("trade", 0, true, &archive), STOA_E_NOT_FOUND);
    archive = opened("trade", 0);
    seal_all(archive, log);
    assert_int_equal(stoa_archive_last(archive, true), 0);
    assert_int_equal(stoa_archive_first(archive), 1);
    kit_err(stoa_archive_read(archive, 1, UINT64_MAX, NULL, NULL), STOA_E_NOT_FOUND);
    imports_equal(archive, log, "copy");
    stoa_archive_close(archive);
    log->ops->close(log);
}

static void an_archive_is_written_by_one_at_a_time(void **state)
{
    (void)state;
    stoa_archive *one = opened("trade", 0), *two = NULL;
    kit_err(try_open("trade", 0, false, &two), STOA_E_DENIED);
    stoa_archive *other = opened("room", 0);
    stoa_archive_close(one);
    one = opened("trade", 0);
    stoa_archive_close(one);
    stoa_archive_close(other);
    stoa_archive_close(NULL);
    kit_err(try_open("", 0, false, &two), STOA_E_INVALID);
    kit_err(try_open("a/b", 0, false, &two), STOA_E_INVALID);
}

static void full_segments_are_sealed_and_the_rest_waits(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, 10, 3, 400); /* about 550 bytes each */
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = 27}, NULL));
    stoa_manifest m = looked(archive);
    assert_int_equal(m.count, 4); /* two blocks each; the ninth waits, the tenth is above until */
    assert_int_equal(stoa_archive_last(archive, true), 24);
    stoa_manifest_deinit(&m);
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = 27, .rest = true}, NULL));
    assert_int_equal(stoa_archive_last(archive, true), 27);
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = 27, .rest = true, .open = true}, NULL));
    assert_int_equal(stoa_archive_last(archive, true), 27);
    assert_int_equal(stoa_archive_last(archive, false), 30);
    imports_equal(archive, log, "copy");
    stoa_archive_close(archive);
    log->ops->close(log);
}

static void an_open_segment_is_replaced_when_the_log_goes_on(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("trade", 100000);
    const stoa_extent provisional = {.until = UINT64_MAX, .open = true};
    for (unsigned i = 1; i <= 5; i++) {
        kit_grow(log, 2, 3, 400);
        kit_ok(stoa_archive_extend(archive, log, &provisional, NULL));
        kit_ok(stoa_archive_extend(archive, log, &provisional, NULL)); /* nothing new */
        assert_int_equal(files_in("warm/trade"), 1);
        assert_int_equal(stoa_archive_last(archive, false), i * 6);
        assert_int_equal(stoa_archive_last(archive, true), 0);
    }
    imports_equal(archive, log, "copy");
    seal_all(archive, log);
    assert_int_equal(files_in("warm/trade"), 1);
    assert_int_equal(stoa_archive_last(archive, true), 30);
    stoa_archive_close(archive);
    archive = opened("trade", 0);
    imports_equal(archive, log, "copy 2");
    stoa_archive_close(archive);
    log->ops->close(log);
}

enum { ROUNDS = 60 };

/* Logs of random shape, sealed at random moments in random ways, closed and opened, moved to the cold: always the log. */
static void any_log_sealed_in_any_way_comes_back_the_same(void **state)
{
    (void)state;
    stoa_random random = kit_random(11);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char name[32], copy[32];
        (void)snprintf(name, sizeof name, "log%u", round);
        (void)snprintf(copy, sizeof copy, "copy%u", round);
        stoa_journal *log = sim(name);
        stoa_archive *archive = opened(name, 1 + stoa_random_below(&random, 5000));
        unsigned steps = 1 + (unsigned)stoa_random_below(&random, 12);
        for (unsigned step = 0; step < steps; step++) {
            kit_grow(log, (unsigned)stoa_random_below(&random, 9), 1 + (uint32_t)stoa_random_below(&random, 5),
                     (uint32_t)stoa_random_below(&random, 1500));
            stoa_extent extent = {.until = stoa_random_below(&random, kit_last(log) + 5),
                                  .rest = stoa_random_chance(&random, 500),
                                  .open = stoa_random_chance(&random, 500)};
            kit_ok(stoa_archive_extend(archive, log, &extent, NULL));
            stoa_manifest m = looked(archive);
            uint32_t at = (uint32_t)stoa_random_below(&random, m.count + 1);
            if (at < m.count && !m.entries[at].open) {
                stoa_tier tier = m.entries[at].tier + (stoa_tier)stoa_random_below(&random, STOA_TIERS - m.entries[at].tier);
                kit_ok(stoa_archive_move(archive, at, tier, NULL));
            }
            stoa_manifest_deinit(&m);
            if (stoa_random_chance(&random, 300)) {
                stoa_archive_close(archive);
                archive = opened(name, 1 + stoa_random_below(&random, 5000));
            }
        }
        kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = kit_last(log) / 2, .open = true}, NULL));
        uint64_t verified = 0;
        kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
        assert_int_equal(verified, kit_last(log));
        imports_equal(archive, log, copy);
        stoa_archive_close(archive);
        log->ops->close(log);
    }
}

static void the_hashes_survive_rocksdb_archive_rocksdb(void **state)
{
    (void)state;
    stoa_journal *from, *to;
    char path[KIT_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/from", folder);
    kit_ok(stoa_journal_rocksdb.open(path, &from));
    kit_grow(from, 200, 5, 3000);
    kit_ok(from->ops->sync(from));
    stoa_archive *archive = opened("trade", 100000);
    seal_all(archive, from);
    (void)snprintf(path, sizeof path, "%s/to", folder);
    kit_ok(stoa_journal_rocksdb.open(path, &to));
    kit_ok(stoa_archive_import(archive, to, &(const stoa_import){0}, NULL, NULL));
    same_state(from, to);
    assert_int_equal(kit_proven(to), 1000);
    to->ops->close(to);
    kit_ok(stoa_journal_rocksdb.open(path, &to));
    kit_check_all(to, 1000);
    kit_check_index(to, 1000);
    kit_err(stoa_archive_import(archive, to, &(const stoa_import){0}, NULL, NULL), STOA_E_EXISTS);
    to->ops->close(to);
    from->ops->close(from);
    stoa_archive_close(archive);
}

/* --- reading */

typedef struct counting {
    uint64_t first, blocks;
    stoa_err stop;
} counting;

static stoa_err count_block(void *context, const void *bytes, size_t size_bytes)
{
    counting *c = context;
    assert_true(size_bytes > 104);
    if (c->blocks++ == 0) { memcpy(&c->first, (const char *)bytes + 8, sizeof c->first); }
    return c->stop;
}

static void a_read_begins_with_the_block_that_holds_the_position(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, 20, 3, 400);
    seal_all(archive, log);
    for (uint64_t from = 1; from <= 60; from++) {
        counting c = {0};
        kit_ok(stoa_archive_read(archive, from, UINT64_MAX, count_block, &c));
        assert_int_equal(c.first, (from - 1) / 3 * 3 + 1);
        assert_int_equal(c.blocks, 20 - (from - 1) / 3);
    }
    counting c = {.stop = STOA_E_TIMEOUT};
    kit_err(stoa_archive_read(archive, 5, UINT64_MAX, count_block, &c), STOA_E_TIMEOUT);
    assert_int_equal(c.blocks, 1);
    kit_err(stoa_archive_read(archive, 61, UINT64_MAX, count_block, &c), STOA_E_NOT_FOUND);
    kit_err(stoa_archive_read(archive, 0, UINT64_MAX, count_block, &c), STOA_E_NOT_FOUND);
    stoa_archive_close(archive);
    log->ops->close(log);
}

static stoa_err cut_here(void *context, stoa_journal *journal, const void *bytes, size_t size_bytes, uint64_t until)
{
    (void)journal;
    (void)bytes;
    (void)size_bytes;
    *(uint64_t *)context = until;
    return STOA_OK;
}

static void an_import_ends_at_a_position_or_a_time(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, 20, 3, 100);
    seal_all(archive, log);
    static const struct { uint64_t until, until_ns, last, cut; } rows[] = {
        {0, 0, 60, 0}, {60, 0, 60, 0}, {99, 0, 60, 0}, {30, 0, 30, 0}, {31, 0, 30, 31}, {29, 0, 27, 29}, {2, 0, 0, 2},
        {0, 1007, 3, 0}, {0, 1006, 0, 0}, {0, 4006, 3, 0}, {0, 4007, 6, 0}, {0, UINT64_MAX, 60, 0}, {5, 1007, 3, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[16];
        uint64_t cut = 0;
        (void)snprintf(name, sizeof name, "cut%zu", i);
        stoa_journal *copy = sim(name);
        stoa_import import = {.until = rows[i].until, .until_ns = rows[i].until_ns, .cut = cut_here, .context = &cut};
        kit_ok(stoa_archive_import(archive, copy, &import, NULL, NULL));
        kit_check_all(copy, rows[i].last);
        assert_int_equal(cut, rows[i].cut);
        copy->ops->close(copy);
    }
    stoa_archive_close(archive);
    log->ops->close(log);
}

/* --- the archive in front of its log */

typedef struct overtaking {
    stoa_journal *log;
    uint64_t below; /* purged at the first block that comes from the archive; 0: not */
    kit_reader reader;
} overtaking;

static stoa_err read_and_purge(void *context, const stoa_block *block)
{
    overtaking *o = context;
    stoa_journal_state state;
    o->log->ops->state(o->log, &state);
    if (o->below && block->first < state.first) { /* the log's own visits may not purge it */
        kit_ok(o->log->ops->purge(o->log, o->below));
        o->below = 0;
    }
    return kit_visit(&o->reader, block);
}

/* Whatever was purged, before the read or by another one while it runs: every read is that of the whole log. */
static void a_purged_log_reads_as_a_whole_through_its_archive(void **state)
{
    (void)state;
    stoa_random random = kit_random(17);
    for (unsigned round = 0; round < 40; round++) {
        char name[32];
        (void)snprintf(name, sizeof name, "log%u", round);
        stoa_journal *log = sim(name), *both;
        stoa_archive *archive = opened(name, 2000);
        kit_grow(log, 5 + (unsigned)stoa_random_below(&random, 40), 1 + (uint32_t)stoa_random_below(&random, 4), 300);
        kit_ok(log->ops->sync(log));
        kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = stoa_random_below(&random, kit_last(log) + 1), .rest = true}, NULL));
        kit_grow(log, 1 + (unsigned)stoa_random_below(&random, 20), 3, 200);
        kit_ok(log->ops->sync(log));
        uint64_t sealed = stoa_archive_last(archive, true), last = kit_last(log);
        kit_ok(log->ops->purge(log, stoa_random_below(&random, sealed + 2)));
        kit_ok(stoa_journal_archived(log, archive, &both));
        for (unsigned i = 0; i < 20; i++) {
            overtaking o = {.log = log, .below = stoa_random_chance(&random, 200) ? stoa_random_below(&random, sealed + 2) : 0};
            uint64_t from = 1 + stoa_random_below(&random, last);
            kit_ok(both->ops->read(both, from, read_and_purge, &o));
            assert_true(o.reader.first <= from);
            assert_int_equal(o.reader.last, last);
        }
        stoa_journal_state now;
        both->ops->state(both, &now);
        assert_int_equal(now.first, 1);
        kit_check_all(both, last);
        kit_err(both->ops->read(both, 0, kit_visit, NULL), STOA_E_NOT_FOUND);
        kit_err(both->ops->read(both, last + 1, kit_visit, NULL), STOA_E_NOT_FOUND);
        both->ops->close(both);
        stoa_archive_close(archive);
    }
}

/* What is sealed stays sealed in the archive; chain and files are proven without a key, and with it all can be read. */
static void a_sealed_log_is_archived_and_restored_without_its_key(void **state)
{
    (void)state;
    char path[KIT_PATH_MAX + 16];
    uint32_t id;
    uint64_t verified = 0;
    stoa_keyring *keys;
    (void)snprintf(path, sizeof path, "%s/keys", folder);
    kit_ok(stoa_key_file_add(path, &id));
    kit_ok(stoa_keyring_open(path, &keys));
    stoa_journal *log = sim("log"), *copy = sim("copy"), *both;
    log->ops->seal(log, keys);
    kit_grow(log, 30, 3, 400);
    kit_ok(log->ops->sync(log));
    stoa_archive *archive = opened("trade", 3000);
    seal_all(archive, log);
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, NULL));
    same_state(copy, log);
    kit_reader reader = {0};
    kit_err(copy->ops->read(copy, 1, kit_visit, &reader), STOA_E_SEALED);
    copy->ops->seal(copy, keys);
    kit_check_all(copy, 90);
    kit_ok(log->ops->purge(log, 61));
    kit_ok(stoa_journal_archived(log, archive, &both));
    kit_check_all(both, 90);
    both->ops->seal(both, NULL);
    kit_err(both->ops->read(both, 1, kit_visit, &reader), STOA_E_SEALED);
    both->ops->close(both);
    copy->ops->close(copy);
    stoa_archive_close(archive);
    stoa_keyring_close(keys);
}

static void a_log_purged_further_than_its_archive_goes_is_named(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *both = NULL;
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, 20, 3, 100);
    kit_ok(log->ops->sync(log));
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = 30, .rest = true}, NULL));
    kit_ok(log->ops->purge(log, 43));
    kit_err(stoa_journal_archived(log, archive, &both), STOA_E_GAP);
    stoa_archive_close(archive);
    stoa_journal *other = sim("other"); /* of the same length, with other blocks */
    kit_grow(other, 20, 3, 101);
    archive = opened("room", 1000);
    seal_all(archive, other);
    kit_err(stoa_journal_archived(log, archive, &both), STOA_E_FORKED);
    stoa_archive_close(archive);
    log->ops->close(log);
    other->ops->close(other);
}

/* --- another log */

static void a_log_that_is_another_one_is_refused(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *other = sim("other"), *shorter = sim("shorter");
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, 10, 3, 100);
    seal_all(archive, log);
    kit_grow(other, 1, 3, 101); /* another first block */
    kit_grow(other, 11, 3, 100);
    kit_grow(shorter, 9, 3, 100);
    const stoa_extent extent = {.until = UINT64_MAX, .rest = true, .open = true};
    kit_err(stoa_archive_extend(archive, other, &extent, NULL), STOA_E_FORKED);
    kit_err(stoa_archive_extend(archive, shorter, &extent, NULL), STOA_E_FORKED);
    stoa_journal *twin = sim("twin");
    kit_grow(twin, 1, 3, 99);
    kit_grow(twin, 9, 3, 100); /* as long as the archive */
    kit_err(stoa_archive_extend(archive, twin, &extent, NULL), STOA_E_FORKED);
    assert_int_equal(stoa_archive_last(archive, false), 30);
    imports_equal(archive, log, "copy");
    stoa_archive_close(archive);
    log->ops->close(log);
    other->ops->close(other);
    shorter->ops->close(shorter);
    twin->ops->close(twin);
}

static void an_open_segment_of_a_tail_that_was_lost_heals_itself(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *again = sim("again");
    stoa_archive *archive = opened("trade", 100000);
    kit_grow(log, 4, 3, 100);
    kit_grow(again, 4, 3, 100);
    const stoa_extent extent = {.until = 12, .rest = true, .open = true};
    kit_grow(log, 3, 3, 100);
    kit_ok(stoa_archive_extend(archive, log, &extent, NULL));
    kit_grow(again, 5, 2, 70); /* what was written after a crash took the unsynced tail */
    kit_ok(stoa_archive_extend(archive, again, &extent, NULL));
    imports_equal(archive, again, "copy");
    stoa_archive_close(archive);
    log->ops->close(log);
    again->ops->close(again);
}

/* --- tiers, holds, the end */

static void tiers_are_moved_through_and_hold_stops_all(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, 20, 3, 400);
    seal_all(archive, log);
    kit_ok(stoa_archive_move(archive, 0, STOA_TIER_COLD, NULL));
    kit_ok(stoa_archive_move(archive, 0, STOA_TIER_ARCHIVE, NULL));
    kit_ok(stoa_archive_move(archive, 1, STOA_TIER_ARCHIVE, NULL));
    kit_err(stoa_archive_move(archive, 0, STOA_TIER_WARM, NULL), STOA_E_INVALID);
    kit_err(stoa_archive_move(archive, 99, STOA_TIER_COLD, NULL), STOA_E_INVALID);
    assert_int_equal(files_in("cold/trade"), 2);
    assert_int_equal(files_in("warm/trade"), 8);
    imports_equal(archive, log, "copy");

    uint64_t verified = 0;
    kit_ok(stoa_archive_hold(archive, "case 7"));
    kit_err(stoa_archive_expire(archive, 1, NULL), STOA_E_DENIED);
    kit_err(stoa_archive_move(archive, 2, STOA_TIER_COLD, NULL), STOA_E_DENIED);
    stoa_archive_close(archive);
    archive = opened("trade", 1000); /* a hold outlives the process */
    kit_err(stoa_archive_expire(archive, 1, NULL), STOA_E_DENIED);
    kit_ok(stoa_archive_hold(archive, ""));
    kit_err(stoa_archive_expire(archive, 10, NULL), STOA_E_INVALID); /* never the last one */
    kit_err(stoa_archive_expire(archive, 3, NULL), STOA_E_GAP); /* nothing stands for it */
    kit_snapshot(log);
    kit_ok(stoa_archive_take_snapshot(archive, log, &(const stoa_archive_window){.at_most = UINT64_MAX}, NULL, &verified));
    kit_ok(stoa_archive_expire(archive, 3, NULL));
    assert_int_equal(stoa_archive_first(archive), 19);
    assert_int_equal(files_in("cold/trade") + files_in("warm/trade"), 7);
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
    assert_int_equal(verified, 60);
    stoa_journal *copy = sim("copy 2");
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, NULL));
    kit_check_from(copy, 19, 60);
    kit_grow(log, 5, 3, 400); /* and it goes on */
    seal_all(archive, log);
    assert_int_equal(stoa_archive_last(archive, true), 75);
    copy->ops->close(copy);
    stoa_archive_close(archive);
    log->ops->close(log);
}

/* --- damage */

static void damaged(stoa_archive **archive)
{
    stoa_journal *log = sim("log");
    *archive = opened("trade", 3000);
    kit_grow(log, 40, 3, 400);
    seal_all(*archive, log);
    kit_ok(stoa_archive_move(*archive, 0, STOA_TIER_COLD, NULL));
    log->ops->close(log);
}

static void flip(const char *path, off_t at, uint8_t mask)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static off_t size_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

static stoa_err ignore_block(void *context, const void *bytes, size_t size_bytes)
{
    (void)context;
    (void)bytes;
    (void)size_bytes;
    return STOA_OK;
}

enum { FLIPS = 600 };

static void a_hold_is_text_that_can_be_read_again(void **state)
{
    (void)state;
    char longest[STOA_HOLD_MAX + 2];
    stoa_archive *archive = opened("trade", 0);
    static const char *const no_text[] = {"case\n7", "\x01", "case \x7f", "\xe4", "caf\xe9 7", "\xc3"};
    for (size_t i = 0; i < sizeof no_text / sizeof no_text[0]; i++) { kit_err(stoa_archive_hold(archive, no_text[i]), STOA_E_INVALID); }
    memset(longest, '"', sizeof longest);
    longest[STOA_HOLD_MAX + 1] = '\0';
    kit_err(stoa_archive_hold(archive, longest), STOA_E_INVALID);
    longest[STOA_HOLD_MAX] = '\0';
    const char *const good[] = {longest, "Fall \xc3\xa4 \\ 7", ""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        kit_ok(stoa_archive_hold(archive, good[i]));
        stoa_archive_close(archive);
        archive = opened("trade", 0);
        stoa_manifest m = looked(archive);
        assert_string_equal(m.hold, good[i]);
        stoa_manifest_deinit(&m);
    }
    stoa_archive_close(archive);
}

static void every_flipped_bit_of_a_segment_is_found(void **state)
{
    (void)state;
    stoa_random random = kit_random(3);
    stoa_archive *archive;
    damaged(&archive);
    stoa_manifest m = looked(archive);
    for (unsigned i = 0; i < FLIPS; i++) {
        const stoa_manifest_entry *e = &m.entries[stoa_random_below(&random, m.count)];
        char path[KIT_PATH_MAX + 128];
        path_of(e, path);
        /* the header, and any byte */
        off_t at = (off_t)stoa_random_below(&random, i % 2 ? (uint64_t)size_of(path) : STOA_SEGMENT_HEADER_BYTES);
        uint8_t mask = (uint8_t)(1u << stoa_random_below(&random, 8));
        uint64_t verified = 0;
        flip(path, at, mask);
        stoa_err err = stoa_archive_verify(archive, UINT64_MAX, NULL, &verified);
        assert_true(err == STOA_E_CORRUPT || err == STOA_E_VERSION);
        assert_int_equal(verified, e->segment.first - 1);
        stoa_err read = stoa_archive_read(archive, e->segment.first, e->segment.last, ignore_block, NULL);
        assert_true(read == STOA_E_CORRUPT || read == STOA_E_VERSION);
        flip(path, at, mask);
    }
    uint64_t verified = 0;
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
    stoa_manifest_deinit(&m);
    stoa_archive_close(archive);
}

static void a_segment_cut_short_or_made_longer_is_found(void **state)
{
    (void)state;
    stoa_random random = kit_random(4);
    stoa_archive *archive;
    damaged(&archive);
    stoa_manifest m = looked(archive);
    char path[KIT_PATH_MAX + 128];
    path_of(&m.entries[1], path);
    off_t whole = size_of(path);
    uint8_t *bytes = malloc((size_t)whole);
    int fd = open(path, O_RDWR);
    uint64_t verified;
    assert_int_equal(pread(fd, bytes, (size_t)whole, 0), whole);
    for (unsigned i = 0; i < 60; i++) {
        off_t cut = i == 0 ? 0 : (off_t)stoa_random_below(&random, (uint64_t)whole);
        assert_int_equal(ftruncate(fd, cut), 0);
        kit_err(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified), STOA_E_CORRUPT);
        kit_err(stoa_archive_read(archive, m.entries[1].segment.first, m.entries[1].segment.last, ignore_block, NULL), STOA_E_CORRUPT);
        assert_int_equal(pwrite(fd, bytes, (size_t)whole, 0), whole);
    }
    assert_int_equal(pwrite(fd, bytes, 9, whole), 9);
    kit_err(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified), STOA_E_CORRUPT);
    (void)close(fd);
    free(bytes);
    stoa_manifest_deinit(&m);
    stoa_archive_close(archive);
}

static void a_missing_or_swapped_segment_is_named(void **state)
{
    (void)state;
    stoa_archive *archive;
    damaged(&archive);
    stoa_manifest m = looked(archive);
    char one[KIT_PATH_MAX + 128], two[KIT_PATH_MAX + 128], aside[KIT_PATH_MAX + 136];
    uint64_t verified;
    path_of(&m.entries[1], one);
    path_of(&m.entries[2], two);
    (void)snprintf(aside, sizeof aside, "%s.aside", one);
    assert_int_equal(rename(one, aside), 0);
    kit_err(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified), STOA_E_GAP);
    assert_non_null(strstr(stoa_err_trail(), one)); /* which */
    kit_err(stoa_archive_read(archive, 1, UINT64_MAX, ignore_block, NULL), STOA_E_GAP);
    stoa_journal *copy = sim("copy");
    kit_err(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, NULL), STOA_E_GAP);

    assert_int_equal(rename(two, one), 0);
    assert_int_equal(rename(aside, two), 0); /* swapped */
    kit_err(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified), STOA_E_CORRUPT);
    assert_int_equal(verified, m.entries[0].segment.last);
    kit_err(stoa_archive_read(archive, m.entries[1].segment.first, UINT64_MAX, ignore_block, NULL), STOA_E_CORRUPT);
    copy->ops->close(copy);
    stoa_manifest_deinit(&m);
    stoa_archive_close(archive);
}

static void a_segment_of_another_shard_with_the_same_positions_is_found(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    kit_grow(log, 10, 3, 100);
    stoa_archive *trade = opened("trade", 1000), *room = opened("room", 1000);
    seal_all(trade, log);
    seal_all(room, log);
    stoa_manifest a = looked(trade), b = looked(room);
    char one[KIT_PATH_MAX + 128], two[KIT_PATH_MAX + 128];
    uint64_t verified;
    path_of(&a.entries[0], one);
    path_of(&b.entries[0], two);
    assert_int_equal(rename(two, one), 0);
    kit_err(stoa_archive_verify(trade, UINT64_MAX, NULL, &verified), STOA_E_CORRUPT);
    stoa_manifest_deinit(&a);
    stoa_manifest_deinit(&b);
    stoa_archive_close(trade);
    stoa_archive_close(room);
    log->ops->close(log);
}

static void every_flipped_bit_of_the_manifest_is_found(void **state)
{
    (void)state;
    stoa_random random = kit_random(6);
    stoa_archive *archive;
    char path[KIT_PATH_MAX + 64];
    damaged(&archive);
    stoa_archive_close(archive);
    (void)snprintf(path, sizeof path, "%s/warm/trade/manifest.json", folder);
    uint64_t size = (uint64_t)size_of(path);
    for (unsigned i = 0; i < FLIPS; i++) {
        off_t at = (off_t)stoa_random_below(&random, size);
        uint8_t mask = (uint8_t)(1u << stoa_random_below(&random, 8));
        flip(path, at, mask);
        stoa_err err = try_open("trade", 0, true, &archive);
        if (!err) { /* a digit's case in the check itself */
            stoa_archive_close(archive);
            assert_true(mask == 0x20 && (uint64_t)at > size - 80);
        } else {
            assert_int_equal(err, STOA_E_CORRUPT);
        }
        flip(path, at, mask);
    }
    assert_int_equal(truncate(path, (off_t)size / 2), 0);
    kit_err(try_open("trade", 0, false, &archive), STOA_E_CORRUPT);
}

/* --- progress */

typedef struct told {
    const char *step;
    uint64_t position, last, raw_bytes, calls;
    bool good; /* it never went back, nor beyond its end, and was of this step and shard */
    stoa_err answer;
} told;

static stoa_err hear(void *context, const stoa_progress *p)
{
    told *t = context;
    t->good &= strcmp(p->step, t->step) == 0 && strcmp(p->shard, "trade") == 0;
    t->good &= p->position > t->position && p->position <= p->last && p->raw_bytes > t->raw_bytes && (t->calls == 0 || p->last == t->last);
    t->position = p->position;
    t->last = p->last;
    t->raw_bytes = p->raw_bytes;
    t->calls++;
    return t->calls == 3 ? t->answer : STOA_OK;
}

static void ended_at(const told *t, uint64_t calls, uint64_t position, uint64_t raw_bytes)
{
    assert_true(t->good);
    assert_int_equal(t->calls, calls);
    assert_int_equal(t->position, position);
    assert_int_equal(t->last, position);
    assert_int_equal(t->raw_bytes, raw_bytes);
}

static void progress_says_where_it_is_and_where_it_will_end(void **state)
{
    (void)state;
    enum { BLOCKS = 12, LAST = BLOCKS * 3 };
    stoa_journal *log = sim("log"), *copy = sim("copy"), *other = sim("other");
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, BLOCKS, 3, 400);
    told sealing = {.step = "seal", .good = true};
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = UINT64_MAX, .rest = true},
                               &(const stoa_progress_to){hear, &sealing}));
    stoa_manifest m = looked(archive);
    uint64_t raw_bytes = 0, verified;
    for (uint32_t i = 0; i < m.count; i++) { raw_bytes += m.entries[i].segment.raw_bytes; }
    ended_at(&sealing, BLOCKS, LAST, raw_bytes);
    told proving = {.step = "verify", .good = true};
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, &(const stoa_progress_to){hear, &proving}, &verified));
    ended_at(&proving, m.count, LAST, raw_bytes);
    told importing = {.step = "import", .good = true};
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, &(const stoa_progress_to){hear, &importing}, NULL));
    ended_at(&importing, BLOCKS, LAST, raw_bytes);
    told stopped = {.step = "import", .good = true, .answer = STOA_E_CANCELLED}; /* who hears of it can end it */
    kit_err(stoa_archive_import(archive, other, &(const stoa_import){0}, &(const stoa_progress_to){hear, &stopped}, NULL), STOA_E_CANCELLED);
    assert_true(stopped.good && stopped.calls == 3 && stopped.position == 9 && stopped.last == LAST);
    stoa_manifest_deinit(&m);
    stoa_archive_close(archive);
    log->ops->close(log);
    copy->ops->close(copy);
    other->ops->close(other);
}

/* --- files that the manifest does not name */

static void copy_file(const char *from, const char *to)
{
    char command[3 * KIT_PATH_MAX];
    (void)snprintf(command, sizeof command, "cp %s/%s %s/%s", folder, from, folder, to);
    assert_int_equal(system(command), 0);
}

static stoa_err rebuild(bool plan, stoa_archive_rebuilt *out)
{
    char warm[KIT_PATH_MAX + 8], cold[KIT_PATH_MAX + 8];
    (void)snprintf(warm, sizeof warm, "%s/warm", folder);
    (void)snprintf(cold, sizeof cold, "%s/cold", folder);
    return stoa_archive_rebuild(&(const stoa_archive_options){.folder = warm, .cold_folder = cold, .shard = "trade"}, plan, out);
}

/* The log grows by so many segments, which then are all that has what it had. */
static void seal_and_purge(stoa_journal *log, unsigned segments)
{
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, 2 * segments, 3, 400);
    seal_all(archive, log);
    kit_ok(log->ops->sync(log));
    kit_ok(log->ops->purge(log, kit_last(log)));
    stoa_archive_close(archive);
}

static void holds_all(stoa_journal *log, const char *name)
{
    uint64_t verified;
    stoa_archive *archive = opened("trade", 1000);
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
    assert_int_equal(verified, kit_last(log));
    imports_equal(archive, log, name);
    stoa_archive_close(archive);
}

static void an_older_manifest_costs_no_segment(void **state)
{
    (void)state;
    static const char manifest[] = "warm/trade/manifest.json";
    for (unsigned segments = 1; segments < 6; segments++) {
        char name[16], copy[16];
        (void)snprintf(name, sizeof name, "log%u", segments);
        (void)snprintf(copy, sizeof copy, "copy%u", segments);
        stoa_journal *log = sim(name);
        seal_and_purge(log, 3);
        copy_file(manifest, "older");
        seal_and_purge(log, segments);
        unsigned before = files_in("warm/trade");
        copy_file("older", manifest);
        holds_all(log, copy);
        assert_int_equal(files_in("warm/trade"), before);
        log->ops->close(log);
        char warm[KIT_PATH_MAX + 8];
        (void)snprintf(warm, sizeof warm, "%s/warm", folder);
        kit_remove(warm);
    }
}

static void an_older_manifest_that_names_what_was_moved_is_refused(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = NULL;
    stoa_archive_rebuilt made;
    seal_and_purge(log, 3);
    copy_file("warm/trade/manifest.json", "older");
    archive = opened("trade", 1000);
    kit_ok(stoa_archive_hold(archive, ""));
    kit_ok(stoa_archive_move(archive, 0, STOA_TIER_COLD, NULL));
    stoa_archive_close(archive);
    copy_file("older", "warm/trade/manifest.json");
    for (unsigned i = 0; i < 2; i++) { kit_err(try_open("trade", 1000, false, &archive), STOA_E_CORRUPT); }
    assert_int_equal(files_in("cold/trade"), 1);
    kit_ok(rebuild(false, &made));
    assert_false(made.held); /* the older one could be read, and had no hold */
    holds_all(log, "copy");
    log->ops->close(log);
}

static void without_a_manifest_nothing_is_removed_until_it_is_made_anew(void **state)
{
    (void)state;
    for (unsigned segments = 1; segments < 5; segments++) {
        char name[16], copy[16], path[KIT_PATH_MAX + 64];
        (void)snprintf(name, sizeof name, "log%u", segments);
        (void)snprintf(copy, sizeof copy, "copy%u", segments);
        (void)snprintf(path, sizeof path, "%s/warm/trade/manifest.json", folder);
        stoa_journal *log = sim(name);
        stoa_archive *archive = NULL;
        stoa_archive_rebuilt made;
        seal_and_purge(log, segments);
        unsigned before = files_in("warm/trade");
        assert_int_equal(unlink(path), 0);
        kit_err(try_open("trade", 0, false, &archive), STOA_E_CORRUPT);
        kit_ok(rebuild(true, &made));
        assert_int_not_equal(access(path, F_OK), 0);
        kit_ok(rebuild(false, &made));
        assert_int_equal(made.segments, before);
        assert_true(made.first == 1 && made.last == kit_last(log) && made.rotten == 0 && made.held);
        assert_int_equal(files_in("warm/trade"), before);
        holds_all(log, copy);
        archive = opened("trade", 0);
        kit_err(stoa_archive_expire(archive, 0, NULL), STOA_E_DENIED); /* until somebody has looked */
        stoa_archive_close(archive);
        log->ops->close(log);
        (void)snprintf(path, sizeof path, "%s/warm", folder);
        kit_remove(path);
    }
}

static void a_manifest_is_made_anew_only_of_one_chain(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive_rebuilt made;
    kit_err(rebuild(true, &made), STOA_E_NOT_FOUND);
    seal_and_purge(log, 4);
    stoa_archive *archive = opened("trade", 1000);
    stoa_manifest m = looked(archive);
    stoa_archive_close(archive);
    char path[KIT_PATH_MAX + 128];
    path_of(&m.entries[3], path); /* the last one: the log has it no more, but the chain up to it is whole */
    flip(path, 300, 1);
    kit_ok(rebuild(true, &made));
    assert_true(made.segments == 3 && made.rotten == 1 && made.last == m.entries[2].segment.last);
    flip(path, 300, 1);
    path_of(&m.entries[1], path);
    flip(path, 300, 1);
    kit_err(rebuild(false, &made), STOA_E_GAP);
    flip(path, 300, 1);
    kit_ok(rebuild(false, &made));
    assert_int_equal(made.last, kit_last(log));
    holds_all(log, "copy");
    stoa_manifest_deinit(&m);
    log->ops->close(log);
}

static void there_is_a_manifest_before_there_is_a_segment(void **state)
{
    (void)state;
    stoa_archive *archive = opened("trade", 1000);
    stoa_archive_close(archive);
    kit_ok(try_open("trade", 1000, true, &archive));
    assert_int_equal(stoa_archive_last(archive, false), 0);
    stoa_archive_close(archive);
}

static void make_file(const char *name)
{
    char path[KIT_PATH_MAX + 128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    (void)close(fd);
}

static bool is_there(const char *name)
{
    char path[KIT_PATH_MAX + 128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void what_a_crash_leaves_is_swept(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("trade", 1000);
    kit_grow(log, 10, 3, 400);
    seal_all(archive, log);
    stoa_manifest m = looked(archive);
    char moved[STOA_SEGMENT_NAME_MAX], warm[128];
    stoa_segment_name(&m.entries[0].segment, false, moved);
    stoa_manifest_deinit(&m);
    (void)snprintf(warm, sizeof warm, "warm/trade/%s", moved);
    copy_file(warm, "aside");
    kit_ok(stoa_archive_move(archive, 0, STOA_TIER_COLD, NULL));
    stoa_archive_close(archive);
    copy_file("aside", warm); /* the crash came before it went */
    static const char *const names[] = {"warm/trade/trade.tmp", "warm/trade/manifest.json.tmp", "cold/trade/trade.tmp"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) { make_file(names[i]); }
    archive = opened("trade", 1000);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) { assert_false(is_there(names[i])); }
    assert_false(is_there(warm));
    imports_equal(archive, log, "copy");
    stoa_archive_close(archive);

    static const char odd[] = "warm/trade/0000000000000031-0000000000000033.03.seg"; /* no crash leaves half of one */
    make_file(odd);
    kit_err(try_open("trade", 1000, false, &archive), STOA_E_CORRUPT);
    assert_non_null(strstr(stoa_err_trail(), odd));
    assert_true(is_there(odd));
    log->ops->close(log);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_log_makes_an_empty_archive),
        TEST(an_archive_is_written_by_one_at_a_time),
        TEST(full_segments_are_sealed_and_the_rest_waits),
        TEST(an_open_segment_is_replaced_when_the_log_goes_on),
        TEST(any_log_sealed_in_any_way_comes_back_the_same),
        TEST(the_hashes_survive_rocksdb_archive_rocksdb),
        TEST(a_read_begins_with_the_block_that_holds_the_position),
        TEST(an_import_ends_at_a_position_or_a_time),
        TEST(a_purged_log_reads_as_a_whole_through_its_archive),
        TEST(a_sealed_log_is_archived_and_restored_without_its_key),
        TEST(a_log_purged_further_than_its_archive_goes_is_named),
        TEST(a_log_that_is_another_one_is_refused),
        TEST(an_open_segment_of_a_tail_that_was_lost_heals_itself),
        TEST(tiers_are_moved_through_and_hold_stops_all),
        TEST(a_hold_is_text_that_can_be_read_again),
        TEST(every_flipped_bit_of_a_segment_is_found),
        TEST(a_segment_cut_short_or_made_longer_is_found),
        TEST(a_missing_or_swapped_segment_is_named),
        TEST(a_segment_of_another_shard_with_the_same_positions_is_found),
        TEST(every_flipped_bit_of_the_manifest_is_found),
        TEST(progress_says_where_it_is_and_where_it_will_end),
        TEST(an_older_manifest_costs_no_segment),
        TEST(an_older_manifest_that_names_what_was_moved_is_refused),
        TEST(without_a_manifest_nothing_is_removed_until_it_is_made_anew),
        TEST(a_manifest_is_made_anew_only_of_one_chain),
        TEST(there_is_a_manifest_before_there_is_a_segment),
        TEST(what_a_crash_leaves_is_swept),
    };
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
