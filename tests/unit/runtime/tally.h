/* tally.h - a counter in one shard on a real journal, which a test stands behind functions of its own: for drop_test.c and
 * drop_full_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_RUNTIME_TALLY_H
#define STOA_TESTS_UNIT_RUNTIME_TALLY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

#define tally_add_FIELDS(F, S)   F(S, uint64_t, by)
#define tally_many_FIELDS(F, S)  F(S, uint64_t, times)
#define tally_sum_FIELDS(F, S)   F(S, uint64_t, total)
#define tally_read_FIELDS        STOA_NO_FIELDS
#define tally_added_FIELDS(F, S) F(S, uint64_t, by)
#define tally_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, add, sum, "Add.")                                                                                  \
    ROW(K, COMMAND, many, sum, "Add one so many times, each an event of its own.")                                     \
    ROW(K, COMMAND, read, sum, "Only look.")                                                                           \
    ROW(K, REPLY, sum, _, "What it is now.")                                                                           \
    ROW(K, EVENT, added, _, "It grew.")
STOA_TABLE_HERE(tally)
typedef struct tally {
    uint64_t total;
} tally;
#define tally_HEARS STOA_HEARS_NOTHING
STOA_KIND(tally, .mailbox_limit = 64)

static stoa_err tally_on_add(stoa_turn *turn, const tally *self, const tally_add *in, tally_sum *out)
{
    out->total = self->total + in->by;
    return tally_emit_added(turn, (tally_added){in->by});
}

static stoa_err tally_on_many(stoa_turn *turn, const tally *self, const tally_many *in, tally_sum *out)
{
    stoa_err err = STOA_OK;
    out->total = self->total + in->times;
    for (uint64_t i = 0; i < in->times && !err; i++) { err = tally_emit_added(turn, (tally_added){1}); }
    return err;
}

static stoa_err tally_on_read(stoa_turn *turn, const tally *self, const tally_read *in, tally_sum *out)
{
    (void)turn, (void)in;
    out->total = self->total;
    return STOA_OK;
}

static void tally_apply_added(tally *self, const tally_added *event)
{
    self->total += event->by;
}

/* --- the journal: RocksDB's, but for the operations that a test has put in their place */

static const stoa_journal_ops *real;
static stoa_journal_ops standing;

static inline stoa_err stand_before(void *context, stoa_journal **journal)
{
    const stoa_journal_ops *ops = context; /* members that are NULL are the real ones */
    real = (*journal)->ops;
    standing = *real;
    if (ops->append) { standing.append = ops->append; }
    if (ops->sync) { standing.sync = ops->sync; }
    if (ops->state) { standing.state = ops->state; }
    (*journal)->ops = &standing;
    return STOA_OK;
}

/* --- the stage */

static char folder[64];
static stoa_node *node;
static stoa_shard *shard;
static stoa_ref counter;

static inline void pause_ms(long ms)
{
    (void)nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

static inline void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

static inline void make_folder(void)
{
    char command[192];
    (void)snprintf(folder, sizeof folder, "/tmp/stoa-tally-%d", (int)getpid());
    (void)snprintf(command, sizeof command, "rm -rf %s && mkdir %s", folder, folder);
    run(command);
}

static inline void remove_folder(void)
{
    char command[192];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    run(command);
}

static inline void open_node(stoa_journal_ops *ops)
{
    static const stoa_kind *const kinds[] = {&tally_kind, NULL};
    char path[96];
    (void)snprintf(path, sizeof path, "%s/tally", folder);
    stoa_options options = {.cores = 1, .kinds = kinds};
    assert_int_equal(stoa_node_open(&options, &node), STOA_OK);
    stoa_shard_options in = {.name = "tally", .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb, .path = path,
                             .front = stand_before, .front_context = ops};
    assert_int_equal(stoa_shard_open(node, &in, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &tally_kind, "tally/t", &(stoa_spawn_options){.shard = shard}, &counter), STOA_OK);
}

static inline uint64_t total(void)
{
    tally_sum sum = {0};
    assert_int_equal(tally_call_read(node, counter, (tally_read){0}, STOA_S(60), &sum), STOA_OK);
    return sum.total;
}

static inline stoa_shard_view glance(void)
{
    stoa_shard_view view;
    assert_int_equal(stoa_shard_glance(shard, &view), STOA_OK);
    return view;
}

#endif
