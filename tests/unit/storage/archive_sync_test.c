/* archive_sync_test.c - goal: an archive names no snapshot whose files are gone, whichever sync of its folder fails; and one whose list is
 * missing nevertheless is taken again, unless others lean on what is left of it. Method: this program's own fsync fails for the n-th
 * folder; the archive is opened again, as after a crash that kept the renames.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/archive_kit.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "storage/archive/kept.h"

static unsigned fails_in; /* folders to be synced until one fails; 0: none does */

__attribute__((visibility("default"))) int fsync(int fd)
{
    struct stat status;
    bool is_folder = fails_in && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
    if (is_folder && --fails_in == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* How many snapshots the manifest names; all of them are whole. */
static uint32_t all_are_whole(stoa_archive *archive)
{
    stoa_manifest m;
    kit_ok(stoa_archive_look(archive, &m));
    uint32_t count = m.snapshot_count;
    for (uint32_t i = 0; i < count; i++) { kit_ok(stoa_archive_prove_snapshot(archive, &m.snapshots[i], NULL)); }
    stoa_manifest_deinit(&m);
    return count;
}

static void a_sync_that_fails_leaves_no_snapshot_without_its_files(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    unsigned failed = 0;
    grow(log, BLOCKS);
    for (unsigned n = 1;; n++) {
        char name[16];
        uint64_t position;
        (void)snprintf(name, sizeof name, "warm%u", n);
        stoa_archive *archive = opened(name);
        kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
        fails_in = n;
        stoa_err err = stoa_archive_take_snapshot(archive, log, &any_of_them, NULL, &position);
        bool done = fails_in > 0; /* there are not so many */
        fails_in = 0;
        assert_int_equal(err, done ? STOA_OK : STOA_E_IO);
        failed += err != STOA_OK;
        stoa_archive_close(archive);
        archive = opened(name);
        assert_true(all_are_whole(archive) <= 1);
        kit_ok(stoa_archive_take_snapshot(archive, log, &any_of_them, NULL, &position));
        assert_int_equal(all_are_whole(archive), 1);
        stoa_archive_close(archive);
        if (done) { break; }
    }
    assert_int_equal(failed, 3); /* the entries, the list, the manifest */
    log->ops->close(log);
}

static void remove_list(uint64_t position)
{
    char name[STOA_KEPT_NAME_MAX], path[KIT_PATH_MAX + STOA_KEPT_NAME_MAX + 32];
    stoa_kept_name(position, stoa_kept_list_ending, name);
    (void)snprintf(path, sizeof path, "%s/warm/trade/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

static void one_whose_list_is_gone_is_taken_again(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("warm");
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    uint64_t position = take(archive, log, 0, UINT64_MAX, false);
    remove_list(position);
    assert_false(stoa_archive_has_snapshot(archive, position));
    assert_int_equal(take(archive, log, 0, UINT64_MAX, false), position);
    assert_int_equal(all_are_whole(archive), 1);
    assert_true(stoa_archive_has_snapshot(archive, position));
    stoa_archive_close(archive);
    archive = opened("warm");
    assert_int_equal(all_are_whole(archive), 1);
    stoa_archive_close(archive);
    log->ops->close(log);
}

static void what_others_lean_on_is_not_written_over(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = opened("warm");
    stoa_manifest m;
    grow(log, BLOCKS);
    kit_ok(stoa_archive_extend(archive, log, &all_of_it, NULL));
    uint64_t first = take(archive, log, 0, UINT64_MAX, false), second = take(archive, log, first + 1, UINT64_MAX, true);
    remove_list(first);
    uint64_t taken = take(archive, log, 0, UINT64_MAX, false); /* the next one that can be had */
    assert_true(taken > first && taken < second);
    kit_ok(stoa_archive_look(archive, &m));
    assert_int_equal(m.snapshots[m.snapshot_count - 1].info.position, second);
    kit_ok(stoa_archive_prove_snapshot(archive, &m.snapshots[m.snapshot_count - 1], NULL));
    stoa_manifest_deinit(&m);
    stoa_archive_close(archive);
    log->ops->close(log);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sync_that_fails_leaves_no_snapshot_without_its_files, setup, teardown),
        cmocka_unit_test_setup_teardown(one_whose_list_is_gone_is_taken_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_others_lean_on_is_not_written_over, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
