/* manifest_test.c - goal: a MANIFEST that a power cut left with zeroes for its end is opened without them, and no other damage
 * is taken for that. Method: a real database gets one record more, which says nothing that matters, in one piece or over the
 * end of a block; then its end is zeroed from every place on, rotted, or cut short.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <fcntl.h>

#include "base/hash.h"
#include "base/log.h"
#include "storage/rocksdb/engine.h"
#include "storage/rocksdb/manifest.h"

enum { BLOCK_BYTES = 32 << 10, HEADER_BYTES = 7, SECTOR_BYTES = 512, EDITS_MAX = BLOCK_BYTES * 2, FILE_MAX = BLOCK_BYTES * 4 };

static char folder[KIT_PATH_MAX], database[KIT_PATH_MAX + 8], file[KIT_PATH_MAX + 64];
static uint8_t bytes[FILE_MAX];
static size_t before, whole; /* bytes of the file without and with the record that was added */

static stoa_err open_and_read(void)
{
    stoa_engine engine;
    stoa_err err = stoa_engine_open(&engine, database, (stoa_engine_mode){0});
    if (err) { return err; }
    size_t value_bytes = 0;
    char *text = NULL;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    char *value = rocksdb_get_cf(engine.db, options, engine.families[STOA_FAMILY_META], "key", 3, &value_bytes, &text);
    assert_null(text);
    assert_int_equal(value_bytes, 5);
    assert_memory_equal(value, "value", 5);
    rocksdb_free(value);
    rocksdb_readoptions_destroy(options);
    stoa_engine_close(&engine);
    return STOA_OK;
}

static void make_database(void)
{
    stoa_engine engine;
    kit_ok(stoa_engine_open(&engine, database, (stoa_engine_mode){.create = true}));
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    char *text = NULL;
    rocksdb_put_cf(engine.db, options, engine.families[STOA_FAMILY_META], "key", 3, "value", 5, &text);
    assert_null(text);
    rocksdb_writeoptions_destroy(options);
    stoa_engine_close(&engine);
}

static void put_piece(uint8_t type, const uint8_t *content, size_t length)
{
    uint8_t *piece = bytes + whole;
    piece[4] = (uint8_t)length, piece[5] = (uint8_t)(length >> 8), piece[6] = type;
    memcpy(piece + HEADER_BYTES, content, length);
    uint32_t crc = stoa_crc32c(0, piece + HEADER_BYTES - 1, length + 1);
    crc = ((crc >> 15) | (crc << 17)) + UINT32_C(0xa282ead8);
    for (unsigned i = 0; i < 4; i++) { piece[i] = (uint8_t)(crc >> (8 * i)); }
    whole += HEADER_BYTES + length;
}

/* RocksDB's record of so many bytes that says again and again that the next file's number is 10,000. */
static void put_record(size_t size_bytes)
{
    static uint8_t edits[EDITS_MAX];
    size_bytes -= size_bytes % 3;
    for (size_t i = 0; i < size_bytes; i += 3) { memcpy(edits + i, "\x03\x90\x4e", 3); }
    for (size_t at = 0, part; at < size_bytes; at += part) {
        size_t left = BLOCK_BYTES - whole % BLOCK_BYTES;
        if (left < HEADER_BYTES) { whole += left, left = BLOCK_BYTES; }
        part = size_bytes - at < left - HEADER_BYTES ? size_bytes - at : left - HEADER_BYTES;
        bool last = at + part == size_bytes;
        put_piece(at == 0 ? (last ? 1 : 2) : last ? 4 : 3, edits + at, part);
    }
}

/* The database, its file read, and a record of so many bytes added in memory. */
static void make(size_t record_bytes)
{
    make_database();
    char current[KIT_PATH_MAX + 32], line[32];
    (void)snprintf(current, sizeof current, "%s/CURRENT", database);
    FILE *in = fopen(current, "re");
    assert_true(in && fgets(line, sizeof line, in));
    assert_int_equal(fclose(in), 0);
    line[strcspn(line, "\n")] = '\0';
    (void)snprintf(file, sizeof file, "%s/%s", database, line);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    memset(bytes, 0, sizeof bytes);
    ssize_t got = pread(fd, bytes, sizeof bytes, 0);
    assert_in_range(got, HEADER_BYTES, BLOCK_BYTES - 4096);
    assert_int_equal(close(fd), 0);
    whole = before = (size_t)got;
    put_record(record_bytes);
}

static void write_file(const uint8_t *content, size_t size_bytes)
{
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(pwrite(fd, content, size_bytes, 0), size_bytes);
    assert_int_equal(close(fd), 0);
}

static size_t file_bytes(void)
{
    struct stat status;
    assert_int_equal(stat(file, &status), 0);
    return (size_t)status.st_size;
}

static void write_zeroed(size_t from)
{
    static uint8_t zeroed[FILE_MAX];
    memcpy(zeroed, bytes, from);
    memset(zeroed + from, 0, whole - from);
    write_file(zeroed, whole);
}

static const size_t sizes[] = {30, 700, 5000, BLOCK_BYTES - 300, BLOCK_BYTES + 5000};
#define FOR_EACH_SIZE for (const size_t *size = sizes; size < sizes + sizeof sizes / sizeof sizes[0]; size++)

static int setup(void **state)
{
    (void)state;
    kit_folder(folder);
    (void)snprintf(database, sizeof database, "%s/db", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_remove(folder);
    return 0;
}

static void a_whole_record_stays(void **state)
{
    (void)state;
    FOR_EACH_SIZE
    {
        make(*size);
        write_file(bytes, whole);
        assert_false(stoa_manifest_mend(database));
        assert_int_equal(file_bytes(), whole);
        kit_ok(open_and_read());
        kit_remove(database);
    }
}

static void zeroes_from_a_sector_on_are_cut_off_with_their_record(void **state)
{
    (void)state;
    FOR_EACH_SIZE
    {
        make(*size);
        size_t cuts = 0;
        for (size_t from = before / SECTOR_BYTES * SECTOR_BYTES; from < whole; from += SECTOR_BYTES) {
            write_zeroed(from < before ? before : from);
            if (!stoa_manifest_mend(database)) { continue; } /* RocksDB skips a header of zeroes */
            assert_int_equal(file_bytes(), before);
            assert_false(stoa_manifest_mend(database));
            cuts++;
        }
        assert_true(cuts + 1 >= (whole - before) / SECTOR_BYTES);
        kit_remove(database);
    }
}

static void a_database_opens_whatever_end_is_zeroes(void **state)
{
    (void)state;
    stoa_random random = kit_random(11);
    for (unsigned round = 0; round < 40; round++) {
        make(*(sizes + stoa_random_below(&random, sizeof sizes / sizeof sizes[0])));
        size_t from = before + stoa_random_below(&random, whole - before);
        from -= from % SECTOR_BYTES;
        write_zeroed(from < before ? before : from);
        kit_ok(open_and_read());
        kit_remove(database);
    }
}

static void a_record_cut_short_is_left_to_rocksdb(void **state)
{
    (void)state;
    stoa_random random = kit_random(12);
    for (unsigned round = 0; round < 20; round++) {
        make(5000);
        write_file(bytes, before + stoa_random_below(&random, whole - before));
        assert_false(stoa_manifest_mend(database));
        kit_ok(open_and_read());
        kit_remove(database);
    }
}

static void rot_is_refused_and_nothing_is_cut(void **state)
{
    (void)state;
    stoa_random random = kit_random(13);
    for (unsigned round = 0; round < 40; round++) {
        make(5000);
        size_t at = stoa_random_below(&random, whole);
        uint8_t sound = bytes[at];
        bytes[at] ^= (uint8_t)(1 + stoa_random_below(&random, 255));
        write_file(bytes, whole);
        assert_false(stoa_manifest_mend(database));
        assert_int_equal(file_bytes(), whole);
        stoa_err err = open_and_read(); /* a rotten length may look like a record that is not at its end yet */
        assert_true(err == STOA_E_CORRUPT || !err);
        bytes[at] = sound;
        kit_remove(database);
    }
}

/* A record, behind others, that ends one byte behind a sector's beginning, in a zero or not: a flush of several families, of which
 * RocksDB notes how many are to follow, ends in one. */
static void make_one_byte_behind_a_sector(uint8_t last)
{
    uint8_t edits[] = {0x03, 0x90, 0x4e, 0x09, last};
    make(30);
    while ((whole + HEADER_BYTES + sizeof edits) % SECTOR_BYTES != 1) {
        size_t missing = (SECTOR_BYTES + 1 - (whole + HEADER_BYTES + sizeof edits) % SECTOR_BYTES) % SECTOR_BYTES;
        bool fits = missing >= HEADER_BYTES + 3 && (missing - HEADER_BYTES) % 3 == 0;
        put_record(fits ? missing - HEADER_BYTES : 30);
    }
    before = whole;
    put_piece(1, edits, sizeof edits);
}

static void rot_in_a_record_that_ends_in_a_zero_of_its_own_is_refused(void **state)
{
    (void)state;
    make_one_byte_behind_a_sector(0);
    for (size_t at = before; at + 1 < whole; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[at] ^= (uint8_t)(1u << bit);
            write_file(bytes, whole);
            assert_false(stoa_manifest_mend(database));
            assert_int_equal(file_bytes(), whole);
            bytes[at] ^= (uint8_t)(1u << bit);
        }
    }
    write_file(bytes, whole);
    kit_ok(open_and_read());
}

static void a_single_byte_that_is_missing_is_cut_off_with_its_record(void **state)
{
    (void)state;
    make_one_byte_behind_a_sector(1);
    write_zeroed(whole - 1);
    assert_true(stoa_manifest_mend(database));
    assert_int_equal(file_bytes(), before);
    kit_ok(open_and_read());
}

static void zeroes_that_begin_within_a_sector_are_rot(void **state)
{
    (void)state;
    make(5000);
    while (whole % SECTOR_BYTES < 100) { put_record(30); }
    size_t last = whole - 20;
    write_zeroed(last);
    assert_false(stoa_manifest_mend(database));
    kit_err(open_and_read(), STOA_E_CORRUPT);
    assert_int_equal(file_bytes(), whole);
}

static void what_is_not_a_database_is_left_alone(void **state)
{
    (void)state;
    assert_false(stoa_manifest_mend(database));
    make(700);
    write_file(bytes, 0);
    assert_false(stoa_manifest_mend(database));
    memset(bytes, 0, sizeof bytes);
    write_file(bytes, 4096);
    assert_false(stoa_manifest_mend(database)); /* nothing whole would be left */
    assert_int_equal(file_bytes(), 4096);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_whole_record_stays),
        TEST(zeroes_from_a_sector_on_are_cut_off_with_their_record),
        TEST(a_database_opens_whatever_end_is_zeroes),
        TEST(a_record_cut_short_is_left_to_rocksdb),
        TEST(rot_is_refused_and_nothing_is_cut),
        TEST(rot_in_a_record_that_ends_in_a_zero_of_its_own_is_refused),
        TEST(a_single_byte_that_is_missing_is_cut_off_with_its_record),
        TEST(zeroes_that_begin_within_a_sector_are_rot),
        TEST(what_is_not_a_database_is_left_alone),
    };
    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
