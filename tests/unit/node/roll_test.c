/* roll_test.c - goal: a shard whose folder is gone is refused by name, and only that; a list that is not as it was written is
 * said to be so. Method: folders made and taken away; every bit of the list changed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/roll.h"

static char data[] = "/tmp/stoa-roll-XXXXXX";

static const char *in_data(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", data, name);
    return path;
}

static size_t read_list(char *at, size_t size)
{
    FILE *file = fopen(in_data("shards"), "r");
    assert_non_null(file);
    size_t got = fread(at, 1, size, file);
    assert_int_equal(fclose(file), 0);
    return got;
}

static void write_list(const char *at, size_t size)
{
    FILE *file = fopen(in_data("shards"), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(at, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* A shard's folder, with the mark of its journal. */
static void make_shard(const char *name)
{
    char mark[64];
    (void)snprintf(mark, sizeof mark, "%s/commit.mark", name);
    assert_int_equal(mkdir(in_data(name), 0700), 0);
    FILE *file = fopen(in_data(mark), "w");
    assert_true(file && fputs("STM1", file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void empty_shard(const char *name)
{
    char mark[64];
    (void)snprintf(mark, sizeof mark, "%s/commit.mark", name);
    assert_int_equal(unlink(in_data(mark)), 0);
}

static void remove_shard(const char *name)
{
    empty_shard(name);
    assert_int_equal(rmdir(in_data(name)), 0);
}

static void touch(const char *name)
{
    FILE *file = fopen(in_data(name), "w");
    assert_true(file && fclose(file) == 0);
}

static void a_byte_that_has_changed_is_damage(char *list, size_t size)
{
    for (size_t bit = 0; bit < (size - 1) * 8; bit++) { /* the last newline may go */
        list[bit / 8] ^= (char)(1 << bit % 8);
        write_list(list, size);
        assert_int_equal(stoa_roll_check(data), STOA_E_CORRUPT);
        list[bit / 8] ^= (char)(1 << bit % 8);
    }
    write_list(list, size);
    assert_int_equal(stoa_roll_check(data), STOA_OK);
}

static void a_shard_that_is_gone_is_refused(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(data));
    assert_int_equal(stoa_roll_check(data), STOA_OK); /* a new folder */
    make_shard("trade");
    make_shard("room");
    assert_int_equal(stoa_roll_add(data, "trade"), STOA_OK);
    assert_int_equal(stoa_roll_add(data, "room"), STOA_OK);
    assert_int_equal(stoa_roll_add(data, "trade"), STOA_OK);
    assert_int_equal(stoa_roll_check(data), STOA_OK);
    char list[64];
    size_t size = read_list(list, sizeof list);
    a_byte_that_has_changed_is_damage(list, size);

    remove_shard("room");
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);
    assert_non_null(strstr(stoa_err_trail(), "shard room has been there"));

    write_list(list, strcspn(list, "\n")); /* as an operator edits it: no line for room, no newline at the end */
    assert_int_equal(stoa_roll_check(data), STOA_OK);
    assert_int_equal(stoa_roll_add(data, "room"), STOA_OK);
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);
    make_shard("room");
    assert_int_equal(stoa_roll_check(data), STOA_OK);
    empty_shard("trade"); /* as the place of a mount that failed */
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);
    assert_int_equal(mkdir(in_data("trade/db"), 0700), 0); /* what a journal would be begun in */
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);
    touch("trade/commit.mark");
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);
    touch("trade/db/000004.log"); /* for the journal to say what is missing */
    assert_int_equal(stoa_roll_check(data), STOA_OK);
    assert_int_equal(unlink(in_data("trade/commit.mark")), 0);
    assert_int_equal(stoa_roll_check(data), STOA_OK);
    assert_int_equal(unlink(in_data("trade/db/000004.log")), 0);
    assert_int_equal(rmdir(in_data("trade/db")), 0);
    assert_int_equal(rmdir(in_data("trade")), 0);
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);

    remove_shard("room");
    assert_int_equal(unlink(in_data("shards")), 0);
    assert_int_equal(rmdir(data), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_shard_that_is_gone_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
