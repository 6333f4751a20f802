/* archives_test.c - goal: a backlog is worked off at once, by the shards that have one and by no other; who wants a shard meanwhile comes
 * in between two steps; and who asked for a round hears of it when nothing is due. Method: the thread of node/archive/archives.h over
 * small logs on simulated disks, with an interval that does not pass within the test; the files of one of them are damaged.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "node/archive/archives.h"
#include "storage/sim/journal.h"

enum { SHARDS = 3, BUSY = 0, BROKEN = 1, IDLE = 2, SEGMENTS = 40, MINUTES_5 = 300 };
#define SECONDS(n) ((uint64_t)(n) * 1000000000)
static const char *const names[SHARDS] = {"busy", "broken", "idle"};
static const uint64_t began_ns = SECONDS(1500000000); /* long ago */

typedef struct world {
    char folder[KIT_PATH_MAX];
    stoa_settings *settings;
    stoa_metrics *metrics;
    stoa_archives *archives;
    stoa_readers readers[SHARDS];
    stoa_journal *journals[SHARDS];
    stoa_archives_shard *shards[SHARDS];
} world;

/* Blocks of a segment each; the keeper has sealed them as they came, and nothing was due then. */
static void fill(world *w, uint32_t i)
{
    stoa_journal *journal = w->journals[i];
    for (uint32_t n = 0; n < SEGMENTS; n++) {
        kit_block made = kit_make(kit_last(journal) + 1, 1, 5000, 1);
        made.block.commit_ns = began_ns;
        kit_ok(journal->ops->append(journal, &made.block, true));
        kit_drop(&made);
    }
    kit_ok(stoa_keeper_step(&w->shards[i]->keeper, began_ns, NULL));
    assert_true(stoa_archive_last(w->shards[i]->archive, true) >= SEGMENTS - 1);
    w->shards[i]->keeper.steps = 0;
}

static void open_shard(world *w, uint32_t i)
{
    char path[80];
    (void)snprintf(path, sizeof path, "sim:%s", names[i]);
    kit_ok(stoa_journal_sim.open(path, &w->journals[i]));
    stoa_readers_init(&w->readers[i]);
    w->shards[i] = stoa_archives_of(w->archives, names[i]);
    kit_ok(stoa_archives_front(w->shards[i], &w->journals[i]));
    kit_ok(stoa_archives_attach_log(w->archives, names[i], w->journals[i], &w->readers[i]));
}

/* What is in the archives is of an age that belongs into the cold folder. */
static void open_world(world *w)
{
    const stoa_retention old = {.hot_ns = 1, .warm_ns = SECONDS(1), .cold_ns = UINT64_MAX, .archive_ns = UINT64_MAX};
    memset(w, 0, sizeof *w);
    kit_folder(w->folder);
    w->settings = calloc(1, sizeof *w->settings);
    assert_non_null(w->settings);
    assert_true(strlen(w->folder) < sizeof w->settings->data);
    memcpy(w->settings->data, w->folder, strlen(w->folder) + 1);
    w->settings->archive_interval_ns = SECONDS(86400);
    w->settings->archive_segment_bytes = 4096;
    w->settings->archive_level = w->settings->archive_cold_level = 1;
    for (stoa_retention_class cls = 0; cls < STOA_RETENTION_COUNT; cls++) { w->settings->retention[cls] = old; }
    kit_ok(stoa_metrics_new(&w->metrics));
    kit_ok(stoa_archives_new(w->settings, w->metrics, &w->archives));
    for (uint32_t i = 0; i < SHARDS; i++) { open_shard(w, i); }
    fill(w, BUSY);
    fill(w, BROKEN);
}

static void close_world(world *w)
{
    stoa_archives_stop(w->archives);
    for (uint32_t i = 0; i < SHARDS; i++) {
        w->journals[i]->ops->close(w->journals[i]);
        stoa_readers_deinit(&w->readers[i]);
    }
    stoa_archives_free(w->archives);
    stoa_metrics_free(w->metrics);
    free(w->settings);
    kit_remove(w->folder);
    stoa_sim_disks_free();
}

static uint32_t cold_of(world *w, uint32_t i)
{
    stoa_manifest m;
    uint32_t cold = 0;
    kit_ok(stoa_archive_look(w->shards[i]->archive, &m));
    for (uint32_t n = 0; n < m.count; n++) { cold += m.entries[n].tier == STOA_TIER_COLD; }
    stoa_manifest_deinit(&m);
    return cold;
}

static stoa_keeper *take(world *w, uint32_t i)
{
    stoa_archives_shard *s;
    kit_ok(stoa_archives_take(w->archives, i, SECONDS(MINUTES_5), &s));
    return &s->keeper;
}

/* The first segment's file is no segment any more: moving it fails. */
static void damage(world *w, uint32_t i)
{
    char path[KIT_PATH_MAX + 160], name[STOA_SEGMENT_NAME_MAX];
    stoa_manifest m;
    kit_ok(stoa_archive_look(w->shards[i]->archive, &m));
    stoa_segment_name(&m.entries[0].segment, false, name);
    (void)snprintf(path, sizeof path, "%s/archive/%s/%s", w->folder, names[i], name);
    stoa_manifest_deinit(&m);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void a_backlog_is_worked_off_at_once_by_who_has_one(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    damage(&w, BROKEN);
    kit_ok(stoa_archives_start(w.archives));
    assert_true(stoa_archives_run(w.archives, SECONDS(MINUTES_5)));
    assert_true(cold_of(&w, BUSY) >= SEGMENTS - 1); /* nothing is due when that is told */
    assert_true(take(&w, BUSY)->steps >= SEGMENTS - 1);
    stoa_archives_give(w.shards[BUSY]);
    /* the round as it starts, and the one that was asked for */
    assert_in_range(take(&w, IDLE)->steps, 1, 2);
    stoa_archives_give(w.shards[IDLE]);
    stoa_keeper *broken = take(&w, BROKEN);
    assert_in_range(broken->steps, 1, 2);
    assert_int_equal(broken->errors, broken->steps);
    assert_true(w.shards[BROKEN]->fault[0] != '\0');
    stoa_archives_give(w.shards[BROKEN]);
    assert_int_equal(cold_of(&w, BROKEN), 0);
    close_world(&w);
}

static void a_little_while(void)
{
    (void)nanosleep(&(const struct timespec){.tv_nsec = 1000000}, NULL);
}

typedef struct visitor {
    world *world;
    uint64_t steps; /* of the keeper, as it comes in */
} visitor;

static void *come_in(void *context)
{
    visitor *v = context;
    v->steps = take(v->world, BUSY)->steps;
    stoa_archives_give(v->world->shards[BUSY]);
    return NULL;
}

static void who_wants_a_shard_comes_in_between_two_steps_of_a_backlog(void **state)
{
    (void)state;
    world w;
    pthread_t threads[3];
    visitor visitors[3];
    open_world(&w);
    (void)take(&w, BUSY);
    kit_ok(stoa_archives_start(w.archives));
    for (unsigned i = 0; i < 3; i++) {
        visitors[i] = (visitor){.world = &w};
        assert_int_equal(pthread_create(&threads[i], NULL, come_in, &visitors[i]), 0);
    }
    while (stoa_handover_waiting(&w.shards[BUSY]->work) < 3) { a_little_while(); }
    stoa_archives_give(w.shards[BUSY]);
    for (unsigned i = 0; i < 3; i++) { assert_int_equal(pthread_join(threads[i], NULL), 0); }
    for (unsigned i = 0; i < 3; i++) { assert_in_range(visitors[i].steps, 0, 1); } /* the keeper may have come before them */
    assert_true(stoa_archives_run(w.archives, SECONDS(MINUTES_5)));
    assert_true(cold_of(&w, BUSY) >= SEGMENTS - 1);
    close_world(&w);
}

static void nobody_waits_longer_than_was_said(void **state)
{
    (void)state;
    stoa_handover h;
    stoa_handover_init(&h);
    assert_true(stoa_handover_take(&h, 0));
    assert_false(stoa_handover_take(&h, 1000000));
    assert_int_equal(stoa_handover_waiting(&h), 0);
    stoa_handover_give(&h);
    stoa_handover_take_after(&h); /* for nobody waits */
    assert_false(stoa_handover_take(&h, 0));
    stoa_handover_give(&h);
    assert_true(stoa_handover_take(&h, UINT64_MAX));
    stoa_handover_give(&h);
    stoa_handover_deinit(&h);
}

typedef struct queue {
    stoa_handover handover;
    char order[8]; /* who came in; under handover */
    unsigned count;
} queue;

static void *visit(void *context)
{
    queue *q = context;
    assert_true(stoa_handover_take(&q->handover, SECONDS(MINUTES_5)));
    q->order[q->count++] = 'v';
    stoa_handover_give(&q->handover);
    return NULL;
}

static void *work(void *context)
{
    queue *q = context;
    for (unsigned i = 0; i < 2; i++) {
        stoa_handover_take_after(&q->handover);
        q->order[q->count++] = 'w';
        stoa_handover_give(&q->handover);
    }
    return NULL;
}

static bool worker_waits(queue *q)
{
    (void)pthread_mutex_lock(&q->handover.lock);
    bool waits = q->handover.after > 0;
    (void)pthread_mutex_unlock(&q->handover.lock);
    return waits;
}

static void a_worker_comes_in_behind_those_who_wait_and_before_those_who_come_then(void **state)
{
    (void)state;
    queue q = {.count = 0};
    pthread_t worker, visitors[3];
    stoa_handover_init(&q.handover);
    assert_true(stoa_handover_take(&q.handover, 0));
    assert_int_equal(pthread_create(&worker, NULL, work, &q), 0);
    while (!worker_waits(&q)) { a_little_while(); }
    for (unsigned i = 0; i < 3; i++) { assert_int_equal(pthread_create(&visitors[i], NULL, visit, &q), 0); }
    while (stoa_handover_waiting(&q.handover) < 3) { a_little_while(); }
    stoa_handover_give(&q.handover);
    for (unsigned i = 0; i < 3; i++) { assert_int_equal(pthread_join(visitors[i], NULL), 0); }
    assert_int_equal(pthread_join(worker, NULL), 0);
    assert_string_equal(q.order, "wvvvw");
    stoa_handover_deinit(&q.handover);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backlog_is_worked_off_at_once_by_who_has_one),
        cmocka_unit_test(who_wants_a_shard_comes_in_between_two_steps_of_a_backlog),
        cmocka_unit_test(a_worker_comes_in_behind_those_who_wait_and_before_those_who_come_then),
        cmocka_unit_test(nobody_waits_longer_than_was_said),
    };
    stoa_log_level_set(STOA_LOG_OFF);
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
