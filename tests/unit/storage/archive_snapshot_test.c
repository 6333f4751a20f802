/* archive_snapshot_test.c - goal: an archive whose beginning is gone is as good as a whole one from its snapshot on: it is imported to
 * the same log and the same images; nothing expires that none stands for; what of a snapshot is torn, rotten or missing is named, and
 * another one is used where there is one. Method: logs and snapshots of the kit, whose content follows from positions; each file of a
 * snapshot damaged in each way; archives that begin anywhere.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/archive_kit.h"

#include <dirent.h>
#include <fcntl.h>

#include "base/log.h"
#include "storage/archive/journal.h"
#include "storage/rocksdb/journal.h"
#include "storage/seal.h"

/* Import all, and compare with the log: end, hash, blocks, images. Returns where its snapshot stands. */
static uint64_t imports(stoa_archive *archive, stoa_journal *log, stoa_journal *copy)
{
    uint64_t position = 0, verified = 0;
    stoa_journal_state a, b;
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, &position));
    log->ops->state(log, &a);
    copy->ops->state(copy, &b);
    assert_int_equal(b.last, a.last);
    assert_memory_equal(&b.hash, &a.hash, sizeof b.hash);
    assert_int_equal(b.first, stoa_archive_first(archive));
    assert_int_equal(b.begun, b.first - 1);
    kit_ok(stoa_journal_verify(copy, &verified));
    assert_int_equal(verified, b.last);
    kit_reader reader = {0};
    kit_ok(copy->ops->read(copy, b.first, kit_visit, &reader));
    assert_true(reader.first == b.first && reader.last == b.last);
    kit_check_index_from(copy, b.first, b.last);
    if (position) { kit_check_snapshot(copy, position); }
    return position;
}

/* --- the tests */

static void nothing_expires_that_no_snapshot_stands_for(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *copy = sim("copy");
    stoa_archive *archive = opened("warm");
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    kit_err(stoa_archive_expire(archive, 1, NULL), STOA_E_GAP);
    assert_int_equal(stoa_archive_first(archive), 1);
    uint64_t end = sealed_end(archive, 1), stands = take(archive, log, end, UINT64_MAX, false);
    assert_true(stands >= end && stands < end + 3 * COUNT);
    kit_err(stoa_archive_expire(archive, 4, NULL), STOA_E_GAP); /* it stands before the end of those */
    kit_ok(stoa_archive_expire(archive, 2, NULL));
    assert_int_equal(stoa_archive_first(archive), end + 1);
    assert_int_equal(imports(archive, log, copy), stands);
    stoa_archive_close(archive);
    archive = opened("warm"); /* and when it is opened again */
    uint64_t verified = 0;
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
    stoa_journal *again = sim("again");
    assert_int_equal(imports(archive, log, again), stands);
    stoa_archive_close(archive);
    again->ops->close(again);
    copy->ops->close(copy);
    log->ops->close(log);
}

/* Of a log that is not: the snapshot does not stand for anything here. */
static void a_snapshot_of_another_log_stands_for_nothing(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *other = sim("other");
    stoa_archive *archive = opened("warm"), *foreign = opened("foreign");
    uint64_t position;
    grow(log, BLOCKS);
    kit_ok(kit_append(other, 1, COUNT, PAYLOAD + 1, true));
    grow(other, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    (void)take(foreign, other, 0, UINT64_MAX, true);
    kit_ok(stoa_archive_copy_snapshot(archive, foreign, &any_of_them, NULL, &position));
    kit_err(stoa_archive_expire(archive, 1, NULL), position > stoa_archive_last(archive, true) ? STOA_E_GAP : STOA_E_FORKED);
    assert_int_equal(stoa_archive_first(archive), 1);
    stoa_archive_close(archive);
    stoa_archive_close(foreign);
    log->ops->close(log);
    other->ops->close(other);
}

static void a_new_archive_begins_where_the_log_does(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *both;
    stoa_archive *archive = opened("warm"), *backup = opened("backup");
    uint64_t position;
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    uint64_t end = sealed_end(archive, 1), stands = take(archive, log, end, UINT64_MAX, false);
    kit_ok(stoa_archive_expire(archive, 2, NULL));
    kit_ok(log->ops->purge(log, kit_last(log)));
    kit_ok(stoa_journal_archived(log, archive, &both));
    kit_err(stoa_archive_extend(backup, both, &(const stoa_extent){.until = UINT64_MAX, .open = true}, NULL), STOA_E_GONE);
    kit_ok(stoa_archive_begin(backup, both));
    kit_ok(stoa_archive_copy_snapshot(backup, archive, &(const stoa_archive_window){.at_least = end, .at_most = UINT64_MAX}, NULL, &position));
    assert_int_equal(position, stands);
    kit_ok(stoa_archive_extend(backup, both, &(const stoa_extent){.until = UINT64_MAX, .open = true}, NULL));
    kit_err(stoa_archive_begin(backup, both), STOA_E_EXISTS);
    for (unsigned onto = 0; onto < 2; onto++) {
        char path[KIT_PATH_MAX + 32];
        stoa_journal *copy = sim("copy");
        if (onto == 1) {
            copy->ops->close(copy);
            (void)snprintf(path, sizeof path, "%s/copy", folder);
            kit_ok(stoa_journal_rocksdb.open(path, &copy));
        }
        assert_int_equal(imports(backup, both, copy), stands);
        kit_ok(kit_append(copy, kit_last(copy) + 1, COUNT, PAYLOAD, true)); /* and it goes on */
        copy->ops->close(copy);
        if (onto == 1) {
            kit_ok(stoa_journal_rocksdb.open(path, &copy));
            kit_check_from(copy, end + 1, kit_last(both) + COUNT);
            kit_check_snapshot(copy, stands);
            copy->ops->close(copy);
        }
    }
    stoa_archive_close(backup);
    both->ops->close(both);
    stoa_archive_close(archive);
}

static void what_was_before_the_snapshot_cannot_be_had(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("warm");
    char name[32];
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    uint64_t end = sealed_end(archive, 1), stands = take(archive, log, end + 1, UINT64_MAX, false), found = 0;
    assert_true(stands > end);
    kit_ok(stoa_archive_expire(archive, 2, NULL));
    for (uint64_t until = COUNT; until <= kit_last(log); until += COUNT) {
        (void)snprintf(name, sizeof name, "until%" PRIu64, until);
        stoa_journal *copy = sim(name);
        stoa_import by_position = {.until = until}, by_time = {.until_ns = (until - COUNT + 1) * 1000 + 7};
        const stoa_import *import = until % 2 ? &by_position : &by_time;
        stoa_err expected = until < stands ? STOA_E_RANGE : STOA_OK;
        kit_err(stoa_archive_reaches(archive, until, NULL, &found), expected);
        kit_err(stoa_archive_import(archive, copy, import, NULL, &found), expected);
        assert_int_equal(kit_last(copy), expected ? 0 : until);
        if (!expected) { kit_check_snapshot(copy, stands); }
        copy->ops->close(copy);
    }
    stoa_archive_close(archive);
    log->ops->close(log);
}

/* --- files */

static unsigned list_files(const char *sub, const char *ending, char names[][256], unsigned room)
{
    char path[KIT_PATH_MAX + 32];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%s/%s/trade", folder, sub);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t length = strlen(entry->d_name), tail = strlen(ending);
        if (length < tail || strcmp(entry->d_name + length - tail, ending) != 0) { continue; }
        assert_true(count < room);
        (void)snprintf(names[count++], 256, "%s", entry->d_name);
    }
    (void)closedir(dir);
    return count;
}

static uint64_t bytes_of(const char *sub, const char *ending)
{
    char names[64][256], path[KIT_PATH_MAX + 320];
    uint64_t bytes = 0;
    unsigned count = list_files(sub, ending, names, 64);
    for (unsigned i = 0; i < count; i++) {
        struct stat status;
        (void)snprintf(path, sizeof path, "%s/%s/trade/%.255s", folder, sub, names[i]);
        assert_int_equal(stat(path, &status), 0);
        bytes += (uint64_t)status.st_size;
    }
    return bytes;
}

static void snapshots_share_what_is_the_same(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("warm");
    char names[64][256];
    stoa_manifest m;
    kit_grow(log, 1, COUNT, PAYLOAD);
    kit_snapshot(log);
    (void)take(archive, log, 0, UINT64_MAX, true);
    uint64_t first = bytes_of("warm", ".chunks"), before = first;
    assert_true(first > 5 * STOA_SNAPSHOT_CHUNK); /* five chunks that nothing makes shorter, and an end */
    for (unsigned i = 2; i <= 40; i++) { /* more than a list may lean on */
        kit_grow(log, 1, COUNT, PAYLOAD);
        kit_snapshot(log);
        (void)take(archive, log, 0, UINT64_MAX, true);
        uint64_t now = bytes_of("warm", ".chunks");
        if (i <= STOA_SNAPSHOT_PACKS) { assert_true(now - before < 2 * STOA_SNAPSHOT_CHUNK); }
        before = now;
        kit_ok(stoa_archive_look(archive, &m));
        assert_int_equal(m.snapshot_count, i);
        assert_true(m.snapshots[i - 1].file_count <= STOA_SNAPSHOT_PACKS);
        stoa_manifest_deinit(&m);
    }
    assert_true(before < first + 60 * (uint64_t)STOA_SNAPSHOT_CHUNK);
    kit_ok(stoa_archive_forget_snapshots(archive, 0, 2));
    kit_ok(stoa_archive_look(archive, &m));
    assert_int_equal(m.snapshot_count, 3);
    assert_int_equal(m.snapshots[0].info.position, COUNT);
    assert_int_equal(m.snapshots[2].info.position, 40 * COUNT);
    assert_int_equal(list_files("warm", ".list", names, 64), 3);
    for (uint32_t i = 0; i < 3; i++) { kit_ok(stoa_archive_prove_snapshot(archive, &m.snapshots[i], NULL)); }
    stoa_manifest_deinit(&m);
    kit_ok(stoa_archive_forget_snapshots(archive, 40 * COUNT, 0));
    assert_int_equal(list_files("warm", ".list", names, 64), 1);
    assert_true(list_files("warm", ".chunks", names, 64) <= STOA_SNAPSHOT_PACKS);
    kit_ok(stoa_archive_look(archive, &m));
    kit_ok(stoa_archive_prove_snapshot(archive, &m.snapshots[0], NULL));
    stoa_manifest_deinit(&m);
    kit_ok(stoa_archive_forget_snapshots(archive, UINT64_MAX, 0));
    assert_int_equal(list_files("warm", ".list", names, 64) + list_files("warm", ".chunks", names, 64), 0);
    stoa_archive_close(archive);
    log->ops->close(log);
}

typedef enum damage { FLIP, CUT, EMPTY, MISSING, DAMAGES } damage;

/* The file as it was, into *out. */
static size_t spoil(const char *path, damage how, stoa_random *random, uint8_t **out)
{
    struct stat status;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0);
    size_t bytes = (size_t)status.st_size;
    *out = malloc(bytes);
    assert_int_equal(read(fd, *out, bytes), bytes);
    off_t at = (off_t)stoa_random_below(random, bytes);
    uint8_t byte = (uint8_t)((*out)[at] ^ (1u << stoa_random_below(random, 8)));
    if (how == FLIP) { assert_int_equal(pwrite(fd, &byte, 1, at), 1); }
    if (how == CUT) { assert_int_equal(ftruncate(fd, (off_t)bytes - 1 - at % (off_t)bytes), 0); }
    if (how == EMPTY) { assert_int_equal(ftruncate(fd, 0), 0); }
    if (how == MISSING) { assert_int_equal(unlink(path), 0); }
    (void)close(fd);
    return bytes;
}

static void put_back(const char *path, uint8_t *bytes, size_t size_bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && write(fd, bytes, size_bytes) == (ssize_t)size_bytes);
    (void)close(fd);
    free(bytes);
}

static void whatever_is_damaged_is_named_and_not_used(void **state)
{
    (void)state;
    stoa_random random = kit_random(71);
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("warm");
    char names[16][256], path[KIT_PATH_MAX + 320];
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    uint64_t end = sealed_end(archive, 1), verified, stands = take(archive, log, end, UINT64_MAX, false);
    kit_ok(stoa_archive_expire(archive, 2, NULL));
    for (unsigned round = 0; round < 40; round++) {
        uint8_t *whole;
        damage how = (damage)(round % DAMAGES);
        unsigned count = list_files("warm", round % 8 < 4 ? ".chunks" : ".list", names, 16);
        assert_int_equal(count, 1);
        (void)snprintf(path, sizeof path, "%s/warm/trade/%.255s", folder, names[0]);
        size_t bytes = spoil(path, how, &random, &whole);
        stoa_err expected = how == MISSING ? STOA_E_GAP : STOA_E_CORRUPT;
        kit_err(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified), expected);
        assert_non_null(strstr(stoa_err_trail(), names[0]));
        stoa_journal *copy = sim("copy");
        kit_err(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, NULL), expected);
        assert_int_equal(kit_last(copy), 0); /* found out before anything was written */
        copy->ops->close(copy);
        kit_err(stoa_archive_expire(archive, 1, NULL), sealed_end(archive, 0) > stands ? STOA_E_GAP : expected);
        assert_int_equal(stoa_archive_first(archive), end + 1);
        put_back(path, whole, bytes);
    }
    stoa_journal *copy = sim("copy");
    assert_int_equal(imports(archive, log, copy), stands);
    copy->ops->close(copy);
    stoa_archive_close(archive);
    log->ops->close(log);
}

/* A chunk that an older one has is rotten: the next snapshot is written whole, and an import goes on from that. */
static void another_snapshot_is_used_where_one_is_rotten(void **state)
{
    (void)state;
    stoa_random random = kit_random(72);
    stoa_journal *log = sim("log"), *copy = sim("copy");
    stoa_archive *archive = opened("warm");
    char names[16][256], path[KIT_PATH_MAX + 320];
    uint8_t *whole;
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    uint64_t end = sealed_end(archive, 1), first = take(archive, log, end, UINT64_MAX, false);
    kit_ok(stoa_archive_expire(archive, 2, NULL));
    assert_int_equal(list_files("warm", ".chunks", names, 16), 1);
    (void)snprintf(path, sizeof path, "%s/warm/trade/%.255s", folder, names[0]);
    (void)spoil(path, EMPTY, &random, &whole);
    free(whole);
    uint64_t second = take(archive, log, first + 1, UINT64_MAX, true);
    assert_true(second > first);
    assert_int_equal(imports(archive, log, copy), second);
    copy->ops->close(copy);
    stoa_archive_close(archive);
    log->ops->close(log);
}

static void a_rotten_side_store_gives_no_snapshot(void **state)
{
    (void)state;
    stoa_archive *archive = opened("warm");
    for (uint64_t seed = 0; seed < 30; seed++) {
        char name[16], names[16][256];
        stoa_sim_disk *disk;
        uint64_t position;
        (void)snprintf(name, sizeof name, "log%u", (unsigned)seed);
        kit_ok(stoa_sim_disk_get(name, seed, &disk));
        stoa_journal *log = sim(name);
        kit_grow(log, 1, COUNT, PAYLOAD);
        kit_snapshot(log);
        kit_ok(stoa_sim_disk_rot_side(disk, STOA_SPACE_SNAPSHOT));
        stoa_err err = stoa_archive_take_snapshot(archive, log, &any_of_them, NULL, &position);
        assert_true(err == STOA_E_CORRUPT || err == STOA_E_NOT_FOUND); /* its manifest */
        assert_int_equal(list_files("warm", ".chunks", names, 16) + list_files("warm", ".list", names, 16), 0);
        log->ops->close(log);
    }
    stoa_archive_close(archive);
}

static void without_its_key_a_sealed_snapshot_is_copied_and_given(void **state)
{
    (void)state;
    char key_path[KIT_PATH_MAX + 8];
    uint32_t id;
    stoa_keyring *keys;
    (void)snprintf(key_path, sizeof key_path, "%s/keys", folder);
    kit_ok(stoa_key_file_add(key_path, &id));
    kit_ok(stoa_keyring_open(key_path, &keys));
    stoa_journal *log = sim("log"), *copy = sim("copy");
    stoa_archive *archive = opened("warm"), *other = opened("other");
    uint64_t position, stands;
    log->ops->seal(log, keys);
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    uint64_t end = sealed_end(archive, 1);
    stands = take(archive, log, end, UINT64_MAX, false);
    kit_ok(stoa_archive_expire(archive, 2, NULL));
    kit_ok(stoa_archive_copy_snapshot(other, archive, &any_of_them, NULL, &position));
    assert_int_equal(position, stands);
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, &position));
    assert_int_equal(position, stands);
    stoa_snapshot *snapshot;
    kit_err(stoa_snapshot_open(copy, UINT64_MAX, &snapshot), STOA_E_SEALED);
    copy->ops->close(copy);
    copy = sim("copy");
    copy->ops->seal(copy, keys); /* the key comes later */
    kit_check_snapshot(copy, stands);
    log->ops->seal(log, NULL);
    kit_err(stoa_archive_take_snapshot(other, log, &any_of_them, NULL, &position), STOA_E_SEALED);
    copy->ops->close(copy);
    log->ops->close(log);
    stoa_archive_close(archive);
    stoa_archive_close(other);
    stoa_keyring_close(keys);
}

static void copy_file(const char *from, const char *to)
{
    char command[2 * KIT_PATH_MAX + 64];
    (void)snprintf(command, sizeof command, "cp -a %s/%s %s/%s", folder, from, folder, to);
    assert_int_equal(system(command), 0);
}

static void an_older_manifest_costs_no_snapshot(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *copy = sim("copy");
    stoa_archive *archive = opened("warm"), *gone;
    char names[16][256];
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    copy_file("warm/trade/manifest.json", "older.json");
    uint64_t end = sealed_end(archive, 1), stands = take(archive, log, end, UINT64_MAX, false);
    stoa_archive_close(archive);
    copy_file("older.json", "warm/trade/manifest.json");
    archive = opened("warm");
    kit_ok(stoa_archive_expire(archive, 2, NULL)); /* it is named again */
    stoa_archive_close(archive);

    copy_file("warm/trade/manifest.json", "newer.json");
    char path[KIT_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/warm/trade/manifest.json", folder);
    assert_int_equal(unlink(path), 0);
    kit_err(try_open("warm", &gone), STOA_E_CORRUPT); /* nothing goes, nothing is named, until somebody makes it anew */
    (void)snprintf(path, sizeof path, "%s/warm", folder);
    stoa_archive_rebuilt made;
    kit_ok(stoa_archive_rebuild(&(const stoa_archive_options){.folder = path, .shard = "trade"}, false, &made));
    archive = opened("warm");
    assert_int_equal(stoa_archive_first(archive), end + 1);
    assert_int_equal(imports(archive, log, copy), stands);
    stoa_archive_close(archive);

    copy_file("warm/trade/snapshot-*.list", "warm/trade/snapshot-1.list"); /* of another position */
    archive = opened("warm");
    assert_int_equal(list_files("warm", ".list", names, 16), 1);
    stoa_archive_close(archive);
    copy->ops->close(copy);
    log->ops->close(log);
}

/* It stops at its nth step. */
typedef struct stopping {
    unsigned left;
} stopping;

static stoa_err stop_at(void *context, const stoa_progress *progress)
{
    stopping *s = context;
    assert_true(progress->position <= progress->last);
    return s->left-- == 0 ? STOA_E_CANCELLED : STOA_OK;
}

static void one_that_is_stopped_anywhere_leaves_nothing_half_done(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    char names[16][256];
    stoa_manifest m;
    bool done = false;
    grow(log, 6);
    for (unsigned n = 0; !done; n++) {
        stoa_archive *archive = opened("warm");
        stopping s = {n};
        uint64_t position;
        stoa_err err = stoa_archive_take_snapshot(archive, log, &any_of_them, &(const stoa_progress_to){stop_at, &s}, &position);
        done = err == STOA_OK;
        if (!done) { kit_err(err, STOA_E_CANCELLED); }
        kit_ok(stoa_archive_look(archive, &m));
        assert_int_equal(m.snapshot_count, done);
        assert_int_equal(list_files("warm", ".list", names, 16), done);
        assert_int_equal(list_files("warm", ".chunks", names, 16), done);
        assert_int_equal(list_files("warm", ".tmp", names, 16), 0);
        stoa_manifest_deinit(&m);
        stoa_archive_close(archive);
        assert_true(n < 100);
    }
    log->ops->close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_expires_that_no_snapshot_stands_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_of_another_log_stands_for_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_archive_begins_where_the_log_does, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_before_the_snapshot_cannot_be_had, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshots_share_what_is_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(whatever_is_damaged_is_named_and_not_used, setup, teardown),
        cmocka_unit_test_setup_teardown(another_snapshot_is_used_where_one_is_rotten, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rotten_side_store_gives_no_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(without_its_key_a_sealed_snapshot_is_copied_and_given, setup, teardown),
        cmocka_unit_test_setup_teardown(an_older_manifest_costs_no_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_stopped_anywhere_leaves_nothing_half_done, setup, teardown),
    };
    stoa_log_level_set(STOA_LOG_OFF);
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
