/* roll_test.c - goal: a shard whose folder is gone is refused by name, and only that. Method: folders made and taken away.
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
    static char path[64];
    (void)snprintf(path, sizeof path, "%s/%s", data, name);
    return path;
}

static void a_shard_that_is_gone_is_refused(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(data));
    assert_int_equal(stoa_roll_check(data), STOA_OK); /* a new folder */
    assert_int_equal(mkdir(in_data("trade"), 0700), 0);
    assert_int_equal(mkdir(in_data("room"), 0700), 0);
    assert_int_equal(stoa_roll_add(data, "trade"), STOA_OK);
    assert_int_equal(stoa_roll_add(data, "room"), STOA_OK);
    assert_int_equal(stoa_roll_add(data, "trade"), STOA_OK);
    assert_int_equal(stoa_roll_check(data), STOA_OK);

    assert_int_equal(rmdir(in_data("room")), 0);
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);
    assert_non_null(strstr(stoa_err_trail(), "shard room has been there"));

    FILE *file = fopen(in_data("shards"), "w"); /* as an operator edits it: no line for room, no newline at the end */
    assert_non_null(file);
    assert_true(fputs("trade", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(stoa_roll_check(data), STOA_OK);
    assert_int_equal(stoa_roll_add(data, "room"), STOA_OK);
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);
    assert_int_equal(mkdir(in_data("room"), 0700), 0);
    assert_int_equal(stoa_roll_check(data), STOA_OK);
    assert_int_equal(rmdir(in_data("trade")), 0);
    assert_int_equal(stoa_roll_check(data), STOA_E_NOT_FOUND);

    assert_int_equal(rmdir(in_data("room")), 0);
    assert_int_equal(unlink(in_data("shards")), 0);
    assert_int_equal(rmdir(data), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_shard_that_is_gone_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
