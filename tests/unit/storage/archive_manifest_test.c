/* archive_manifest_test.c - goal: a manifest that is old or gone costs no segment, and what a crash leaves is swept. Method:
 * manifests replaced by older ones, or removed, over logs that have nothing left but their archive; then made anew.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/archive_tiers.h"

#include <fcntl.h>

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
    stoa_archive *archive = tiers("trade", 1000);
    kit_grow(log, 2 * segments, 3, 400);
    seal_all(archive, log);
    kit_ok(log->ops->sync(log));
    kit_ok(log->ops->purge(log, kit_last(log)));
    stoa_archive_close(archive);
}

static void holds_all(stoa_journal *log, const char *name)
{
    uint64_t verified;
    stoa_archive *archive = tiers("trade", 1000);
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
    archive = tiers("trade", 1000);
    kit_ok(stoa_archive_hold(archive, ""));
    kit_ok(stoa_archive_move(archive, 0, STOA_TIER_COLD, NULL));
    stoa_archive_close(archive);
    copy_file("older", "warm/trade/manifest.json");
    for (unsigned i = 0; i < 2; i++) { kit_err(try_tiers("trade", 1000, false, &archive), STOA_E_CORRUPT); }
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
        kit_err(try_tiers("trade", 0, false, &archive), STOA_E_CORRUPT);
        kit_ok(rebuild(true, &made));
        assert_int_not_equal(access(path, F_OK), 0);
        kit_ok(rebuild(false, &made));
        assert_int_equal(made.segments, before);
        assert_true(made.first == 1 && made.last == kit_last(log) && made.rotten == 0 && made.held);
        assert_int_equal(files_in("warm/trade"), before);
        holds_all(log, copy);
        archive = tiers("trade", 0);
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
    stoa_archive *archive = tiers("trade", 1000);
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
    stoa_archive *archive = tiers("trade", 1000);
    stoa_archive_close(archive);
    kit_ok(try_tiers("trade", 1000, true, &archive));
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
    stoa_archive *archive = tiers("trade", 1000);
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
    archive = tiers("trade", 1000);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) { assert_false(is_there(names[i])); }
    assert_false(is_there(warm));
    imports_equal(archive, log, "copy");
    stoa_archive_close(archive);

    static const char odd[] = "warm/trade/0000000000000031-0000000000000033.03.seg"; /* no crash leaves half of one */
    make_file(odd);
    kit_err(try_tiers("trade", 1000, false, &archive), STOA_E_CORRUPT);
    assert_non_null(strstr(stoa_err_trail(), odd));
    assert_true(is_there(odd));
    log->ops->close(log);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
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
