/* undo_test.c - goal: cascades of a shard on a real journal are undone while its thread writes and others call, and nothing that was
 * answered is lost, nothing that was refused has happened; before and after the node is opened again. Method: threads have one actor
 * credit another, which pays afterwards, or has the cascade undone, or fails.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

enum { THREADS = 3, CALLS = 300, UNDO_EVERY = 7, FAIL_EVERY = 100 };

#define payer_credit_FIELDS(F, S) F(S, uint64_t, how)
#define payer_pay_FIELDS(F, S)    F(S, uint64_t, how)
#define payer_sum_FIELDS(F, S)    F(S, int64_t, total)
#define payer_read_FIELDS         STOA_NO_FIELDS
#define payer_moved_FIELDS(F, S)  F(S, int64_t, by)
#define payer_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, credit, sum, "Get one, and have the other pay it.")                                                \
    ROW(K, CAST, pay, _, "Pay it: how 0; or have it undone: 1; or fail: 2.")                                           \
    ROW(K, COMMAND, read, sum, "Only look.")                                                                           \
    ROW(K, REPLY, sum, _, "What it is now.")                                                                           \
    ROW(K, EVENT, moved, _, "It came or went.")
STOA_TABLE_HERE(payer)
typedef struct payer {
    int64_t total;
} payer;
#define payer_HEARS STOA_HEARS_NOTHING
STOA_KIND(payer, .mailbox_limit = 64)

static stoa_err payer_on_credit(stoa_turn *turn, const payer *self, const payer_credit *in, payer_sum *out)
{
    (void)self, (void)out;
    stoa_err err = payer_emit_moved(turn, (payer_moved){1});
    return err ? err : payer_forward_pay(turn, stoa_turn_peer(turn, 3 - stoa_turn_stream(turn)), (payer_pay){in->how});
}

static stoa_err payer_on_pay(stoa_turn *turn, const payer *self, const payer_pay *in)
{
    if (in->how == 2) { return stoa_fail(turn, "told to"); }
    if (in->how == 1) { return stoa_turn_undo(turn, STOA_E_RANGE); }
    stoa_err err = payer_emit_moved(turn, (payer_moved){-1});
    return err ? stoa_turn_undo(turn, err) : payer_answer_sum(turn, (payer_sum){self->total - 1});
}

static stoa_err payer_on_read(stoa_turn *turn, const payer *self, const payer_read *in, payer_sum *out)
{
    (void)turn, (void)in;
    out->total = self->total;
    return STOA_OK;
}

static void payer_apply_moved(payer *self, const payer_moved *event)
{
    self->total += event->by;
}

/* --- the stage */

static char folder[64];
static stoa_node *node;
static stoa_shard *shard;
static stoa_ref payers[2];
static atomic_int answered, undone, failed;

static const stoa_kind *const kinds[] = {&payer_kind, NULL};

static void open_node(stoa_durability durability)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/payer", folder);
    stoa_options options = {.cores = 1, .kinds = kinds, .snapshot_events = 50};
    assert_int_equal(stoa_node_open(&options, &node), STOA_OK);
    stoa_shard_options in = {.name = "payer", .durability = durability, .journal = &stoa_journal_rocksdb, .path = path};
    assert_int_equal(stoa_shard_open(node, &in, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &payer_kind, "payer/a", &(stoa_spawn_options){.shard = shard}, &payers[0]), STOA_OK);
    assert_int_equal(stoa_spawn(node, &payer_kind, "payer/b", &(stoa_spawn_options){.shard = shard}, &payers[1]), STOA_OK);
}

static void *call(void *unused)
{
    (void)unused;
    for (int i = 1; i <= CALLS; i++) {
        payer_sum sum;
        uint64_t how = i % UNDO_EVERY == 0;
        if (i % FAIL_EVERY == 0) { how = 2; }
        stoa_err err = payer_call_credit(node, payers[0], (payer_credit){how}, STOA_S(60), &sum);
        if (err == STOA_OK && how == 0) {
            atomic_fetch_add(&answered, 1);
        } else if (err == STOA_E_RANGE && how == 1) {
            atomic_fetch_add(&undone, 1);
        } else if (err == STOA_E_FAILED) { /* told to, or away behind that */
            atomic_fetch_add(&failed, 1);
        } else {
            (void)fprintf(stderr, "%s\n", stoa_err_trail());
            abort();
        }
    }
    return NULL;
}

static void check(void)
{
    payer_sum a = {0}, b = {0};
    stoa_shard_view view;
    uint64_t hash, events;
    stoa_err err;
    do { err = payer_call_read(node, payers[0], (payer_read){0}, STOA_S(60), &a); } while (err == STOA_E_FAILED);
    assert_int_equal(err, STOA_OK);
    do { err = payer_call_read(node, payers[1], (payer_read){0}, STOA_S(60), &b); } while (err == STOA_E_FAILED);
    assert_int_equal(err, STOA_OK);
    assert_int_equal(a.total, atomic_load(&answered));
    assert_int_equal(b.total, -atomic_load(&answered));
    assert_int_equal(stoa_shard_look(shard, &view), STOA_OK);
    assert_int_equal(stoa_shard_replay(shard, view.applied, &hash, &events), STOA_OK);
    assert_true(hash == view.hash);
    assert_int_equal(view.applied, 2 + 2 * atomic_load(&answered)); /* nothing else is in the log */
    assert_int_equal(view.drops, 0);
}

static void nobody_pays_what_nobody_got(void **state)
{
    (void)state;
    static const stoa_durability durabilities[] = {stoa_durability_DISK, stoa_durability_MEMORY};
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    for (unsigned d = 0; d < 2; d++) {
        pthread_t threads[THREADS];
        char command[192];
        (void)snprintf(folder, sizeof folder, "/tmp/stoa-undo-%d", (int)getpid());
        (void)snprintf(command, sizeof command, "rm -rf %s && mkdir %s", folder, folder);
        assert_int_equal(system(command), 0);
        atomic_store(&answered, 0);
        open_node(durabilities[d]);
        for (int i = 0; i < THREADS; i++) { assert_int_equal(pthread_create(&threads[i], NULL, call, NULL), 0); }
        for (int i = 0; i < THREADS; i++) { assert_int_equal(pthread_join(threads[i], NULL), 0); }
        check();
        stoa_node_close(node, STOA_S(10));
        open_node(durabilities[d]);
        check();
        stoa_node_close(node, STOA_S(10));
        (void)snprintf(command, sizeof command, "rm -rf %s", folder);
        assert_int_equal(system(command), 0);
    }
    print_message("%d undone, %d failed or were away\n", atomic_load(&undone), atomic_load(&failed));
    assert_true(atomic_load(&undone) > 0 && atomic_load(&failed) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_pays_what_nobody_got)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
