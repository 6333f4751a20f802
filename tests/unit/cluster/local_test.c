/* local_test.c - goal: one holder at a time, epochs that only grow, also over deaths. Method: two coords on one folder, children
 * that are killed while they hold a lease, broken files.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster/local/coord.h"

static char folder[] = "/tmp/stoa-coord-XXXXXX";

static stoa_coord *open_coord(void)
{
    stoa_coord *coord;
    assert_int_equal(stoa_coord_local.open(folder, &coord), STOA_OK);
    return coord;
}

static void one_holds_and_the_next_has_a_higher_epoch(void **state)
{
    (void)state;
    stoa_coord *a = open_coord(), *b = open_coord();
    uint64_t first = 0, second = 0, third = 7;
    assert_int_equal(a->ops->acquire(a, "node", &first), STOA_OK);
    assert_int_equal(a->ops->acquire(a, "node", &third), STOA_E_EXISTS);
    assert_int_equal(b->ops->acquire(b, "node", &third), STOA_E_DENIED);
    assert_non_null(strstr(stoa_err_trail(), "process"));
    assert_int_equal(third, 7);
    assert_int_equal(b->ops->release(b, "node"), STOA_E_NOT_FOUND);
    assert_int_equal(a->ops->release(a, "node"), STOA_OK);
    assert_int_equal(b->ops->acquire(b, "node", &second), STOA_OK);
    assert_true(second == first + 1);
    b->ops->close(b); /* closing gives back as well */
    assert_int_equal(a->ops->acquire(a, "node", &third), STOA_OK);
    assert_true(third == second + 1);
    a->ops->close(a);
}

static void leases_of_other_names_are_others(void **state)
{
    (void)state;
    stoa_coord *a = open_coord(), *b = open_coord();
    uint64_t epoch;
    assert_int_equal(a->ops->acquire(a, "trade", &epoch), STOA_OK);
    assert_int_equal(epoch, 1);
    assert_int_equal(b->ops->acquire(b, "room", &epoch), STOA_OK);
    assert_int_equal(epoch, 1);
    a->ops->close(a);
    b->ops->close(b);
}

static void a_killed_holder_frees_its_lease(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (int round = 0; round < 20; round++) {
        int ready[2];
        char byte;
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0) {
            stoa_coord *coord;
            uint64_t epoch;
            if (stoa_coord_local.open(folder, &coord) || coord->ops->acquire(coord, "mortal", &epoch)) { _exit(1); }
            if (write(ready[1], "x", 1) != 1) { _exit(1); }
            for (;;) { (void)pause(); }
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        stoa_coord *coord = open_coord();
        uint64_t epoch;
        assert_int_equal(coord->ops->acquire(coord, "mortal", &epoch), STOA_E_DENIED);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(coord->ops->acquire(coord, "mortal", &epoch), STOA_OK);
        assert_true(epoch == last + 2); /* the child's, then ours */
        last = epoch;
        coord->ops->close(coord);
        (void)close(ready[0]);
        (void)close(ready[1]);
    }
}

static void epochs_go_on_above_those_of_a_log_that_was_put_here(void **state)
{
    (void)state;
    uint64_t epoch = 0;
    assert_int_equal(stoa_coord_local_raise(folder, "put-here", 41), STOA_OK);
    assert_int_equal(stoa_coord_local_raise(folder, "put-here", 7), STOA_OK); /* never back */
    stoa_coord *coord = open_coord();
    assert_int_equal(coord->ops->acquire(coord, "put-here", &epoch), STOA_OK);
    assert_true(epoch > 41);
    assert_int_equal(stoa_coord_local_raise(folder, "put-here", 99), STOA_E_DENIED);
    coord->ops->close(coord);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    stoa_coord *coord = open_coord(), *none;
    uint64_t epoch;
    char path[128];
    assert_int_equal(stoa_coord_local.open("/nonexistent/folder", &none), STOA_E_NOT_FOUND);
    assert_int_equal(coord->ops->acquire(coord, "", &epoch), STOA_E_INVALID);
    assert_int_equal(coord->ops->acquire(coord, "../escape", &epoch), STOA_E_INVALID);
    (void)snprintf(path, sizeof path, "%s/broken.lease", folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs("rubbish\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(coord->ops->acquire(coord, "broken", &epoch), STOA_E_CORRUPT);
    for (int i = 0; i < 64; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "l%d", i);
        assert_int_equal(coord->ops->acquire(coord, name, &epoch), STOA_OK);
    }
    assert_int_equal(coord->ops->acquire(coord, "one-more", &epoch), STOA_E_FULL);
    coord->ops->close(coord);
}

/* Who starts a node has to know that it is space, and not the disk, that is missing. */
static void a_full_disk_is_full(void **state)
{
    (void)state;
    char path[128];
    uint64_t epoch = 7;
    stoa_coord *coord = open_coord();
    (void)snprintf(path, sizeof path, "%s/brim.lease.new", folder);
    assert_int_equal(symlink("/dev/full", path), 0);
    assert_int_equal(coord->ops->acquire(coord, "brim", &epoch), STOA_E_FULL);
    assert_non_null(strstr(stoa_err_trail(), "No space left"));
    assert_int_equal(epoch, 7);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(coord->ops->acquire(coord, "brim", &epoch), STOA_OK);
    assert_int_equal(epoch, 1);
    coord->ops->close(coord);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_holds_and_the_next_has_a_higher_epoch),
        cmocka_unit_test(leases_of_other_names_are_others),
        cmocka_unit_test(a_killed_holder_frees_its_lease),
        cmocka_unit_test(epochs_go_on_above_those_of_a_log_that_was_put_here),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_full_disk_is_full),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
