/* archive_journal_test.c - goal: a log that was purged reads as a whole through its archive, whatever was purged when, sealed
 * or not; an archive that is not its own is named, wherever the two part, and one that holds what a log lost gives it back. Method: seeded
 * logs of the kit, purged before and while they are read; logs that part from one that was archived at a block by chance.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/archive_tiers.h"

#include "storage/archive/journal.h"
#include "storage/archive/seam.h"
#include "storage/seal.h"

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
        stoa_archive *archive = tiers(name, 2000);
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
    stoa_archive *archive = tiers("trade", 3000);
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
    stoa_archive *archive = tiers("trade", 1000);
    kit_grow(log, 20, 3, 100);
    kit_ok(log->ops->sync(log));
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = 30, .rest = true}, NULL));
    kit_ok(log->ops->purge(log, 43));
    kit_err(stoa_journal_archived(log, archive, &both), STOA_E_GAP);
    stoa_archive_close(archive);
    stoa_journal *other = sim("other"); /* of the same length, with other blocks */
    kit_grow(other, 20, 3, 101);
    archive = tiers("room", 1000);
    seal_all(archive, other);
    kit_err(stoa_journal_archived(log, archive, &both), STOA_E_FORKED);
    stoa_archive_close(archive);
    log->ops->close(log);
    other->ops->close(other);
}

/* Blocks of one length each, of the first history up to alike and of another one behind it. */
static stoa_journal *history(const char *name, uint64_t alike, uint64_t last)
{
    stoa_journal *log = sim(name);
    for (uint64_t at = 3; at <= last; at += 3) { kit_ok(kit_append(log, at - 2, 3, at <= alike ? 100 : 101, false)); }
    kit_ok(log->ops->sync(log));
    return log;
}

static stoa_archive *archive_of(stoa_journal *log, const char *shard, uint64_t sealed)
{
    stoa_archive *archive = tiers(shard, 1000);
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = sealed, .rest = true}, NULL));
    assert_int_equal(stoa_archive_last(archive, true), sealed);
    return archive;
}

static void check_join(stoa_journal *log, stoa_archive *archive, bool its_own, bool lost)
{
    stoa_journal *both = NULL;
    stoa_err err = stoa_journal_archived(log, archive, &both);
    assert_int_equal(err, its_own ? STOA_OK : STOA_E_FORKED);
    if (its_own) {
        kit_check_all(both, kit_last(log));
        both->ops->close(both);
        return;
    }
    assert_non_null(strstr(stoa_err_trail(), "docs/guide/backup.md"));
    assert_true((strstr(stoa_err_trail(), "another history") == NULL) == lost);
    assert_true((strstr(stoa_err_trail(), "--accept-loss") != NULL) == lost);
    log->ops->close(log);
}

/* Nothing was purged from the log, and it may be shorter than the archive, as long, or longer: what counts is whether they part below
 * the sealed end. */
static void an_archive_of_another_history_is_refused_wherever_they_part(void **state)
{
    (void)state;
    stoa_random random = kit_random(19);
    unsigned own = 0, lost = 0;
    for (unsigned round = 0; round < 200; round++) {
        char first[32], second[32];
        (void)snprintf(first, sizeof first, "first%u", round);
        (void)snprintf(second, sizeof second, "second%u", round);
        uint64_t last = 3 * (1 + stoa_random_below(&random, 20)), sealed = 3 * (1 + stoa_random_below(&random, last / 3));
        uint64_t alike = 3 * stoa_random_below(&random, last / 3 + 1), end = 3 * stoa_random_below(&random, 22);
        if (round % 4 == 0) { alike = end; } /* a beginning of the first one, or it all and more */
        stoa_journal *log = history(first, last, last);
        stoa_archive *archive = archive_of(log, first, sealed);
        log->ops->close(log);
        bool its_own = end >= sealed && alike >= sealed, prefix = end > 0 && end < sealed && alike >= end;
        check_join(history(second, alike < last ? alike : last, end), archive, its_own, prefix);
        own += its_own;
        lost += prefix;
        stoa_archive_close(archive);
    }
    assert_true(own && lost);
}

static void what_a_log_lost_comes_back_from_its_own_archive_only(void **state)
{
    (void)state;
    stoa_journal_state end;
    uint64_t last;
    stoa_journal *log = history("log", 60, 60), *cut = history("cut", 30, 30), *other = history("other", 27, 30), *longer = history("longer", 60, 63);
    stoa_archive *archive = archive_of(log, "trade", 48);
    cut->ops->state(cut, &end);
    kit_ok(stoa_seam_behind(archive, &end, &last));
    assert_int_equal(last, 48);
    kit_ok(stoa_seam_give_back(archive, cut, NULL));
    kit_check_all(cut, 48);
    assert_int_equal(kit_proven(cut), 48);
    kit_ok(stoa_seam_give_back(archive, cut, NULL)); /* there is no more */
    kit_ok(stoa_seam_check(archive, cut));
    kit_err(stoa_seam_give_back(archive, other, NULL), STOA_E_FORKED);
    assert_int_equal(kit_last(other), 30);
    kit_ok(stoa_seam_give_back(archive, longer, NULL));
    assert_int_equal(kit_last(longer), 63);
    end = (stoa_journal_state){.last = 31, .hash = end.hash}; /* within a block */
    kit_err(stoa_seam_behind(archive, &end, &last), STOA_E_FORKED);
    stoa_archive_close(archive);
    log->ops->close(log);
    cut->ops->close(cut);
    other->ops->close(other);
    longer->ops->close(longer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_purged_log_reads_as_a_whole_through_its_archive),
        TEST(a_sealed_log_is_archived_and_restored_without_its_key),
        TEST(a_log_purged_further_than_its_archive_goes_is_named),
        TEST(an_archive_of_another_history_is_refused_wherever_they_part),
        TEST(what_a_log_lost_comes_back_from_its_own_archive_only),
    };
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
