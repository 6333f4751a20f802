/* archive_damage_test.c - goal: what is not the log as it was sealed is named, never passed on. Method: bits flipped, files cut,
 * made longer, lost and swapped, in segments and in the manifest; each is verified and read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/archive_tiers.h"

static void damaged(stoa_archive **archive)
{
    stoa_journal *log = sim("log");
    *archive = tiers("trade", 3000);
    kit_grow(log, 40, 3, 400);
    seal_all(*archive, log);
    kit_ok(stoa_archive_move(*archive, 0, STOA_TIER_COLD, NULL));
    log->ops->close(log);
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
    stoa_archive *trade = tiers("trade", 1000), *room = tiers("room", 1000);
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
        stoa_err err = try_tiers("trade", 0, true, &archive);
        if (!err) { /* a digit's case in the check itself */
            stoa_archive_close(archive);
            assert_true(mask == 0x20 && (uint64_t)at > size - 80);
        } else {
            assert_int_equal(err, STOA_E_CORRUPT);
        }
        flip(path, at, mask);
    }
    assert_int_equal(truncate(path, (off_t)size / 2), 0);
    kit_err(try_tiers("trade", 0, false, &archive), STOA_E_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_flipped_bit_of_a_segment_is_found),
        TEST(a_segment_cut_short_or_made_longer_is_found),
        TEST(a_missing_or_swapped_segment_is_named),
        TEST(a_segment_of_another_shard_with_the_same_positions_is_found),
        TEST(every_flipped_bit_of_the_manifest_is_found),
    };
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
