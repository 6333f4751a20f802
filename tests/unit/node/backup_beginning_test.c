/* backup_beginning_test.c - goal: what is forgotten of one shard while another is copied does not make a backup that cannot be restored, and
 * one whose time is just where a shard's beginning is gone can be. Method: purses (tests/sim/purse.h) on a real node with two shards, whose
 * keepers (node/archive/keeper.h) forget at once whatever they may; the backup's progress has the second one grow and forget while the
 * first is copied; then a catalogue's time is put where nothing of the second shard is left but what stands for its beginning.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include "base/clock.h"
#include "node/archive/backup.h"
#include "node/archive/keeper.h"
#include "node/archive/restore.h"
#include "runtime/readers.h"
#include "storage/archive/journal.h"
#include "storage/rocksdb/journal.h"
#include "tests/sim/purse.h"

enum { SHARDS = 2, NORTH = 0, EAST = 1, PAYS = 20, STEPS = 200 };
static const char *const shard_names[SHARDS] = {"north", "east"};
static const stoa_kind *const kinds[] = {&purse_kind, NULL};

typedef struct world {
    char folder[KIT_PATH_MAX], backup[KIT_PATH_MAX + 32], into[KIT_PATH_MAX + 32];
    stoa_node *node;
    stoa_shard *shards[SHARDS];
    stoa_archive *archives[SHARDS];
    stoa_keeper keepers[SHARDS];
    stoa_backup_source sources[SHARDS];
    stoa_ref purses[SHARDS];
    bool plain; /* no archives */
    bool grew; /* the second shard, while the first one was copied */
} world;

typedef struct fronted {
    world *world;
    uint32_t index;
} fronted;

static stoa_err put_archive_in_front(void *context, stoa_journal **journal)
{
    fronted *f = context;
    char warm[KIT_PATH_MAX + 32];
    stoa_journal *both;
    (void)snprintf(warm, sizeof warm, "%s/archive", f->world->folder);
    stoa_archive_options options = {.folder = warm, .shard = shard_names[f->index], .segment_bytes = 1};
    stoa_err err = stoa_archive_open(&options, &f->world->archives[f->index]);
    if (!err) { err = stoa_journal_archived(*journal, f->world->archives[f->index], &both); }
    if (!err) { *journal = both; }
    return err;
}

static stoa_text62 address(uint32_t index)
{
    char name[64];
    stoa_text62 out = {0};
    (void)snprintf(name, sizeof name, "purse/%s", shard_names[index]);
    STOA_ASSERT(STOA_TEXT_SETZ(&out, name) == STOA_OK);
    return out;
}

static void open_shard(world *w, uint32_t i)
{
    char path[KIT_PATH_MAX + 32], name[64];
    purse_linked linked;
    fronted front = {w, i};
    (void)snprintf(path, sizeof path, "%s/%s", w->folder, shard_names[i]);
    stoa_shard_options options = {.name = shard_names[i], .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb,
                                  .path = path, .front = w->plain ? NULL : put_archive_in_front, .front_context = &front};
    kit_ok(stoa_shard_open(w->node, &options, &w->shards[i]));
    stoa_journal *journal = stoa_shard_journal(w->shards[i]);
    w->keepers[i] = (stoa_keeper){.shard = shard_names[i], .journal = journal, .readers = stoa_shard_readers(w->shards[i]),
                                  .archive = w->archives[i], .retention = {1, 2, 3, 4, true}, .segment_bytes = 1};
    w->sources[i] = (stoa_backup_source){.name = shard_names[i], .journal = journal, .shard = w->shards[i], .archive = w->archives[i]};
    (void)snprintf(name, sizeof name, "purse/%s", shard_names[i]);
    kit_ok(stoa_spawn(w->node, &purse_kind, name, &(stoa_spawn_options){.shard = w->shards[i]}, &w->purses[i]));
    purse_link link = {.index = i, .sibling = 1, .next = address(1 - i)};
    kit_ok(purse_call_link(w->node, w->purses[i], link, STOA_S(30), &linked));
}

static void start(world *w)
{
    kit_ok(stoa_node_open(&(const stoa_options){.cores = 1, .kinds = kinds, .snapshot_events = 1000000}, &w->node));
    for (uint32_t i = 0; i < SHARDS; i++) { open_shard(w, i); }
}

static void open_world(world *w)
{
    memset(w, 0, sizeof *w);
    kit_folder(w->folder);
    (void)snprintf(w->backup, sizeof w->backup, "%s/backup", w->folder);
    (void)snprintf(w->into, sizeof w->into, "%s/restored", w->folder);
    start(w);
}

static void close_world(world *w)
{
    stoa_node_close(w->node, STOA_S(10));
    for (uint32_t i = 0; i < SHARDS; i++) { stoa_archive_close(w->archives[i]); }
    kit_remove(w->folder);
}

/* Both shards get events of it. */
static void pay(world *w, unsigned times)
{
    purse_paid paid;
    for (unsigned i = 0; i < times; i++) {
        kit_ok(purse_call_pay(w->node, w->purses[NORTH], (purse_pay){.amount = 5, .to = address(EAST)}, STOA_S(30), &paid));
    }
}

static void snapshot(world *w, uint32_t shard)
{
    stoa_following_view view;
    kit_ok(stoa_shard_snapshot(w->shards[shard], STOA_S(60), &view));
}

static void forget(world *w, uint32_t shard)
{
    for (unsigned i = 0; i < STEPS; i++) {
        kit_ok(stoa_keeper_step(&w->keepers[shard], stoa_clock_real.wall_ns(&stoa_clock_real), NULL));
    }
}

/* What came to a shard from the other one is behind it. */
static stoa_shard_view settled(world *w, uint32_t shard)
{
    stoa_shard_view view, before = {.applied = UINT64_MAX};
    for (;;) {
        kit_ok(stoa_shard_look(w->shards[shard], &view));
        if (view.applied == before.applied && view.committed == view.applied) { return view; }
        before = view;
        (void)usleep(50000);
    }
}

static stoa_err grow_and_forget(void *context, const stoa_progress *progress)
{
    world *w = context;
    if (w->grew || strcmp(progress->shard, shard_names[NORTH]) != 0) { return STOA_OK; }
    w->grew = true;
    pay(w, PAYS);
    (void)settled(w, EAST);
    snapshot(w, EAST);
    pay(w, PAYS);
    (void)settled(w, EAST);
    forget(w, EAST);
    return STOA_OK;
}

static void back_up(world *w, const stoa_progress_to *progress, stoa_backup_step steps[SHARDS])
{
    stoa_backup backup = {.folder = w->backup, .node_name = "test", .sources = w->sources, .source_count = SHARDS, .kinds = kinds};
    kit_ok(stoa_backup_run(&backup, progress, steps));
}

static stoa_catalog *catalog;
static stoa_restored *restored;

static stoa_err verify(world *w)
{
    stoa_backup_step steps[STOA_CATALOG_SHARDS];
    return stoa_backup_verify(w->backup, NULL, catalog, steps);
}

static stoa_err restore_and_keep(world *w, bool plan)
{
    stoa_restore request = {.from = w->backup, .into = w->into, .kinds = kinds, .journal = &stoa_journal_rocksdb};
    return stoa_restore_run(&request, plan, NULL, restored);
}

static stoa_err restore(world *w, bool plan)
{
    stoa_err err = restore_and_keep(w, plan);
    if (!err && !plan) { kit_remove(w->into); }
    return err;
}

static void of_a_node_that_does_not_run(world *w)
{
    char path[KIT_PATH_MAX + 32];
    stoa_backup_step steps[SHARDS];
    for (uint32_t i = 0; i < SHARDS; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->folder, shard_names[i]);
        w->sources[i] = (stoa_backup_source){.name = shard_names[i]};
        kit_ok(stoa_journal_rocksdb.open(path, &w->sources[i].journal));
    }
    back_up(w, NULL, steps);
    for (uint32_t i = 0; i < SHARDS; i++) { w->sources[i].journal->ops->close(w->sources[i].journal); }
    kit_ok(verify(w));
}

/* What was restored is backed up before a node runs on it, and while one does; then restored once more. */
static void goes_on(const world *from)
{
    world w = {.plain = true};
    stoa_backup_step steps[SHARDS];
    assert_true(strlen(from->into) < sizeof w.folder);
    memcpy(w.folder, from->into, strlen(from->into) + 1);
    (void)snprintf(w.backup, sizeof w.backup, "%s/stopped", from->folder);
    of_a_node_that_does_not_run(&w);
    (void)snprintf(w.backup, sizeof w.backup, "%s/running", from->folder);
    (void)snprintf(w.into, sizeof w.into, "%s/again", from->folder);
    start(&w);
    pay(&w, PAYS);
    stoa_shard_view then = settled(&w, EAST);
    back_up(&w, NULL, steps);
    kit_ok(verify(&w));
    kit_ok(restore(&w, false));
    assert_int_equal(restored->shards[EAST].last, then.applied);
    assert_int_equal(restored->shards[EAST].hash, then.hash);
    close_world(&w);
}

static void what_one_shard_forgets_while_another_is_copied_is_not_missed(void **state)
{
    (void)state;
    world w;
    stoa_backup_step steps[SHARDS];
    open_world(&w);
    pay(&w, PAYS);
    (void)settled(&w, EAST);
    snapshot(&w, EAST);
    back_up(&w, &(const stoa_progress_to){.tell = grow_and_forget, .context = &w}, steps);
    assert_true(w.grew);
    assert_int_equal(stoa_archive_first(w.archives[EAST]), 1); /* it was held */
    kit_ok(verify(&w));
    kit_ok(restore(&w, false));
    for (uint32_t i = 0; i < SHARDS; i++) { assert_true(restored->shards[i].compared > 0); }
    forget(&w, EAST);
    assert_true(stoa_archive_first(w.archives[EAST]) > 1); /* no longer */
    close_world(&w);
}

/* The time of the backup is after what is gone of the shard and before all that is left, as its state at that time says. */
static void put_time_before(world *w, const stoa_shard_view *then)
{
    stoa_archive *archive;
    stoa_archive_block block;
    stoa_archive_options options = {.folder = w->backup, .shard = shard_names[EAST], .read_only = true};
    kit_ok(stoa_archive_open(&options, &archive));
    assert_int_equal(stoa_archive_first(archive), then->applied + 1);
    kit_ok(stoa_archive_block_at(archive, then->applied + 1, &block));
    stoa_archive_close(archive);
    kit_ok(stoa_catalog_load(w->backup, catalog));
    catalog->consistent_ns = block.commit_ns - 1;
    catalog->shards[EAST].state_position = then->applied;
    catalog->shards[EAST].state_hash = then->hash;
    kit_ok(stoa_catalog_save(w->backup, catalog));
}

static void a_cut_where_a_shard_s_beginning_ends_is_within_the_backup(void **state)
{
    (void)state;
    world w;
    stoa_backup_step steps[SHARDS];
    open_world(&w);
    pay(&w, PAYS);
    stoa_shard_view then = settled(&w, EAST);
    snapshot(&w, EAST);
    pay(&w, PAYS);
    (void)settled(&w, EAST);
    forget(&w, EAST);
    back_up(&w, NULL, steps);
    assert_int_equal(steps[EAST].first, then.applied + 1);
    kit_ok(restore(&w, false));
    put_time_before(&w, &then);
    kit_ok(verify(&w));
    kit_ok(restore(&w, true));
    kit_ok(restore_and_keep(&w, false));
    assert_int_equal(restored->shards[EAST].last, then.applied);
    assert_int_equal(restored->shards[EAST].compared, then.applied);
    assert_int_equal(restored->shards[EAST].hash, then.hash);
    goes_on(&w);
    kit_ok(stoa_catalog_load(w.backup, catalog));

    catalog->shards[EAST].state_position--; /* then it was behind that time: nobody knows how the shard was */
    kit_ok(stoa_catalog_save(w.backup, catalog));
    kit_err(verify(&w), STOA_E_RANGE);
    for (unsigned plan = 0; plan < 2; plan++) { kit_err(restore(&w, plan), STOA_E_RANGE); }
    close_world(&w);
}

static void who_cannot_be_held_is_named(void **state)
{
    (void)state;
    world w;
    uint32_t slot;
    stoa_backup_step steps[SHARDS];
    open_world(&w);
    stoa_readers *readers = stoa_shard_readers(w.shards[EAST]);
    kit_ok(stoa_readers_add(readers, "backup", 0, &slot)); /* as another one's */
    stoa_backup backup = {.folder = w.backup, .node_name = "test", .sources = w.sources, .source_count = SHARDS, .kinds = kinds};
    kit_err(stoa_backup_run(&backup, NULL, steps), STOA_E_EXISTS);
    char wanted[KIT_PATH_MAX + 64];
    (void)snprintf(wanted, sizeof wanted, "backup of shard east to %s", w.backup);
    assert_non_null(strstr(stoa_err_trail(), wanted));
    stoa_readers_leave(readers, slot);
    kit_ok(stoa_backup_run(&backup, NULL, steps));
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_shard_forgets_while_another_is_copied_is_not_missed),
        cmocka_unit_test(a_cut_where_a_shard_s_beginning_ends_is_within_the_backup),
        cmocka_unit_test(who_cannot_be_held_is_named),
    };
    stoa_log_level_set(STOA_LOG_ERROR);
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    catalog = calloc(1, sizeof *catalog);
    restored = calloc(1, sizeof *restored);
    STOA_ASSERT(catalog && restored);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(restored);
    free(catalog);
    return failed;
}
