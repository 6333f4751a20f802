/* own_shard_test.c - goal: a node's own shard takes the actors that name none, remembers them, and every way in which that
 * cannot be is refused by name. Method: nodes with real cores over a RocksDB journal in a folder of their own.
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

#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

#define tally_add_FIELDS(F, S)   F(S, uint64_t, by)
#define tally_sum_FIELDS(F, S)   F(S, uint64_t, sum)
#define tally_added_FIELDS(F, S) F(S, uint64_t, by)
#define tally_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, add, sum, "Add.")                                                                                  \
    ROW(K, REPLY, sum, _, "The sum.")                                                                                  \
    ROW(K, EVENT, added, _, "It was added.")
STOA_TABLE_HERE(tally)
typedef struct tally {
    uint64_t sum;
} tally;
#define tally_HEARS STOA_HEARS_NOTHING
STOA_KIND(tally, .mailbox_limit = 16)

static stoa_err tally_on_add(stoa_turn *turn, const tally *self, const tally_add *in, tally_sum *out)
{
    out->sum = self->sum + in->by;
    return tally_emit_added(turn, (tally_added){in->by});
}

static void tally_apply_added(tally *self, const tally_added *event)
{
    self->sum += event->by;
}

static char folder[] = "/tmp/stoa-own-XXXXXX";
static char path[sizeof folder + 16];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) { return -1; }
    (void)snprintf(path, sizeof path, "%s/own.db", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[sizeof folder + 16];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static stoa_node *open_node(void)
{
    stoa_node *node = NULL;
    stoa_options options = {.kinds = STOA_KINDS(&tally_kind), .journal = &stoa_journal_rocksdb, .path = path};
    if (stoa_node_open(&options, &node)) { fail_msg("%s", stoa_err_trail()); }
    return node;
}

static uint64_t add(stoa_node *node, stoa_ref to, uint64_t by)
{
    tally_sum out = {0};
    if (tally_call_add(node, to, (tally_add){by}, STOA_S(60), &out)) { fail_msg("%s", stoa_err_trail()); }
    return out.sum;
}

static void it_takes_who_names_no_shard_and_remembers_it(void **state)
{
    (void)state;
    stoa_ref disk, any;
    for (uint64_t life = 0; life < 3; life++) {
        stoa_node *node = open_node();
        assert_int_equal(stoa_spawn(node, &tally_kind, "tally/disk", STOA_DISK, &disk), STOA_OK);
        assert_int_equal(stoa_spawn(node, &tally_kind, "tally/any", NULL, &any), STOA_OK);
        assert_int_equal(add(node, disk, 3), 3 * (life + 1));
        assert_int_equal(add(node, any, 5), 5 * (life + 1));
        stoa_node_close(node, STOA_S(10));
    }
}

static void check_refused(stoa_err err, const char *why)
{
    assert_int_equal(err, STOA_E_INVALID);
    if (!strstr(stoa_err_trail(), why)) { fail_msg("no '%s' in %s", why, stoa_err_trail()); }
}

static void without_one_an_actor_needs_a_shard(void **state)
{
    (void)state;
    stoa_node *node = NULL;
    stoa_ref ref = {77};
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    check_refused(stoa_spawn(node, &tally_kind, "tally/a", STOA_DISK, &ref), "needs a shard");
    check_refused(stoa_spawn(node, &tally_kind, "tally/a", NULL, &ref), "needs a shard");
    assert_int_equal(ref.at, 77);
    stoa_node_close(node, 0);
}

static void a_shard_that_promises_less_is_refused(void **state)
{
    (void)state;
    stoa_node *node = open_node();
    stoa_shard *shard = NULL;
    stoa_ref ref = {77};
    stoa_shard_options brief = {.name = "brief", .durability = stoa_durability_NONE};
    assert_int_equal(stoa_shard_open(node, &brief, &shard), STOA_OK);
    stoa_spawn_options with = {.shard = shard, .durability = stoa_durability_DISK};
    check_refused(stoa_spawn(node, &tally_kind, "tally/brief", &with, &ref), "promises none");
    assert_int_equal(ref.at, 77);
    with.durability = stoa_durability_NONE;
    assert_int_equal(stoa_spawn(node, &tally_kind, "tally/brief", &with, &ref), STOA_OK);
    assert_int_equal(add(node, ref, 1), 1);
    stoa_node_close(node, STOA_S(10));
}

static void a_journal_without_a_path_or_in_use_opens_no_node(void **state)
{
    (void)state;
    stoa_node *node = open_node(), *other = NULL;
    check_refused(stoa_node_open(&(stoa_options){.journal = &stoa_journal_rocksdb}, &other), "without a path");
    stoa_options taken = {.journal = &stoa_journal_rocksdb, .path = path, .kinds = STOA_KINDS(&tally_kind)};
    assert_int_equal(stoa_node_open(&taken, &other), STOA_E_DENIED);
    assert_null(other);
    stoa_node_close(node, STOA_S(10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_who_names_no_shard_and_remembers_it),
        cmocka_unit_test(without_one_an_actor_needs_a_shard),
        cmocka_unit_test(a_shard_that_promises_less_is_refused),
        cmocka_unit_test(a_journal_without_a_path_or_in_use_opens_no_node),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
