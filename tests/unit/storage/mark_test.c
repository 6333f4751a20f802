/* mark_test.c - goal: the commit mark survives a torn write and never claims what was not written. Method: the file's
 * bytes are broken by hand, one slot or both, bit by bit.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <fcntl.h>

#include "base/log.h"
#include "storage/rocksdb/mark.h"

static char folder[KIT_PATH_MAX], path[KIT_PATH_MAX + 16];

static int setup(void **state)
{
    (void)state;
    kit_folder(folder);
    (void)snprintf(path, sizeof path, "%s/commit.mark", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_remove(folder);
    return 0;
}

static stoa_mark opened(stoa_mark_use use)
{
    stoa_mark mark;
    kit_ok(stoa_mark_open(&mark, path, use));
    return mark;
}

static void write_value(stoa_mark *mark, uint64_t position)
{
    stoa_mark_value value = {.position = position, .appended = position + 5};
    memset(value.hash.at, (int)position, sizeof value.hash.at);
    kit_ok(stoa_mark_write(mark, &value));
}

static void check_value(const stoa_mark *mark, uint64_t position)
{
    assert_int_equal(mark->value.position, position);
    assert_int_equal(mark->value.appended, position ? position + 5 : 0);
    assert_int_equal(mark->value.hash.at[31], (uint8_t)position);
}

static void flip(size_t bit)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
    byte ^= (uint8_t)(1u << (bit % 8));
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
    assert_int_equal(close(fd), 0);
}

/* Die without a goodbye: only the lock goes. */
static void die(stoa_mark *mark)
{
    stoa_mark_abandon(mark);
}

static void a_new_mark_is_at_zero(void **state)
{
    (void)state;
    stoa_mark mark = opened(STOA_MARK_BEGIN);
    check_value(&mark, 0);
    die(&mark);
    mark = opened(STOA_MARK_OPEN);
    check_value(&mark, 0);
    stoa_mark_close(&mark);
}

static void a_mark_that_is_missing_is_corrupt_where_there_must_be_one(void **state)
{
    (void)state;
    stoa_mark mark;
    kit_err(stoa_mark_open(&mark, path, STOA_MARK_OPEN), STOA_E_CORRUPT);
    kit_err(stoa_mark_open(&mark, path, STOA_MARK_OPEN), STOA_E_CORRUPT); /* and the first try did not make one */
}

static void the_mark_is_locked(void **state)
{
    (void)state;
    stoa_mark mark = opened(STOA_MARK_BEGIN), second;
    kit_err(stoa_mark_open(&second, path, STOA_MARK_BEGIN), STOA_E_DENIED);
    stoa_mark_close(&mark);
    mark = opened(STOA_MARK_BEGIN);
    stoa_mark_close(&mark);
}

static void what_was_written_last_counts_synced_or_not(void **state)
{
    (void)state;
    stoa_mark mark = opened(STOA_MARK_BEGIN);
    for (uint64_t i = 1; i <= 30; i++) {
        write_value(&mark, i);
        if (i % 4 == 0) { kit_ok(stoa_mark_sync(&mark)); }
        if (i % 7 == 0) {
            die(&mark);
            mark = opened(STOA_MARK_OPEN);
            check_value(&mark, i);
        }
    }
    stoa_mark_close(&mark);
    mark = opened(STOA_MARK_OPEN);
    check_value(&mark, 30);
    stoa_mark_close(&mark);
}

/* A torn write is at worst any bit of the slot that was written since the last sync. */
static void a_torn_write_leaves_the_last_synced_value(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < STOA_MARK_SLOT_BYTES * 8; bit += 3) {
        (void)unlink(path);
        stoa_mark mark = opened(STOA_MARK_BEGIN);
        write_value(&mark, 1);
        kit_ok(stoa_mark_sync(&mark));
        size_t slot = mark.slot;
        write_value(&mark, 2);
        write_value(&mark, 3);
        assert_int_equal(mark.slot, slot); /* one slot until the next sync */
        die(&mark);
        flip(slot * STOA_MARK_PAGE_BYTES * 8 + bit);

        mark = opened(STOA_MARK_OPEN);
        check_value(&mark, 1);
        assert_true(mark.damaged);
        write_value(&mark, 4); /* over the torn one */
        die(&mark);
        mark = opened(STOA_MARK_OPEN);
        check_value(&mark, 4);
        assert_false(mark.damaged);
        die(&mark);
    }
}

static void a_closed_mark_survives_the_loss_of_either_slot(void **state)
{
    (void)state;
    for (size_t slot = 0; slot < STOA_MARK_SLOTS; slot++) {
        (void)unlink(path);
        stoa_mark mark = opened(STOA_MARK_BEGIN);
        write_value(&mark, 9);
        stoa_mark_close(&mark);
        flip(slot * STOA_MARK_PAGE_BYTES * 8 + 200);
        mark = opened(STOA_MARK_OPEN);
        check_value(&mark, 9);
        die(&mark);
    }
}

static void wipe(size_t slot)
{
    static const uint8_t zeros[STOA_MARK_SLOT_BYTES];
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, (off_t)slot * STOA_MARK_PAGE_BYTES), sizeof zeros);
    assert_int_equal(close(fd), 0);
}

/* Zeros are what a slot is before its first write, which a crash can lose; later they are rot. */
static void a_slot_of_zeros_is_sound_only_beside_the_first_value(void **state)
{
    (void)state;
    stoa_mark mark = opened(STOA_MARK_BEGIN);
    write_value(&mark, 1);
    die(&mark);
    wipe(1);
    mark = opened(STOA_MARK_OPEN);
    check_value(&mark, 0);
    assert_false(mark.damaged);
    for (uint64_t i = 1; i < 4; i++) {
        write_value(&mark, i);
        kit_ok(stoa_mark_sync(&mark));
    }
    die(&mark);
    wipe(1);
    mark = opened(STOA_MARK_OPEN);
    check_value(&mark, 2);
    assert_true(mark.damaged);
    die(&mark);
    wipe(0);
    kit_err(stoa_mark_open(&mark, path, STOA_MARK_OPEN), STOA_E_CORRUPT);
}

static void two_broken_slots_are_corrupt(void **state)
{
    (void)state;
    stoa_mark mark = opened(STOA_MARK_BEGIN);
    write_value(&mark, 9);
    stoa_mark_close(&mark);
    flip(100);
    flip(STOA_MARK_PAGE_BYTES * 8 + 100);
    kit_err(stoa_mark_open(&mark, path, STOA_MARK_OPEN), STOA_E_CORRUPT);
    kit_err(stoa_mark_open(&mark, path, STOA_MARK_BEGIN), STOA_E_CORRUPT); /* no reason to begin anew */
    assert_int_equal(truncate(path, 0), 0);
    kit_err(stoa_mark_open(&mark, path, STOA_MARK_OPEN), STOA_E_CORRUPT);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_mark_is_at_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mark_that_is_missing_is_corrupt_where_there_must_be_one, setup, teardown),
        cmocka_unit_test_setup_teardown(the_mark_is_locked, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_written_last_counts_synced_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_write_leaves_the_last_synced_value, setup, teardown),
        cmocka_unit_test_setup_teardown(a_closed_mark_survives_the_loss_of_either_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slot_of_zeros_is_sound_only_beside_the_first_value, setup, teardown),
        cmocka_unit_test_setup_teardown(two_broken_slots_are_corrupt, setup, teardown),
    };
    return cmocka_run_group_tests_name("mark", tests, NULL, NULL);
}
