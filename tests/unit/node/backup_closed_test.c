/* backup_closed_test.c - goal: a shard that does not run is in the backup of a node that does, with all that it has, at whatever times its
 * blocks were committed; and what the node commits from then on is later. Method: purses (tests/sim/purse.h) on a real node, first with
 * one shard, whose commit times are an hour ahead; then with another shard alone, and the first one's journal among the sources.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include "base/clock.h"
#include "node/archive/closed.h"
#include "node/archive/restore.h"
#include "node/roll.h"
#include "storage/rocksdb/journal.h"
#include "tests/sim/purse.h"

#define AHEAD STOA_S(3600)
static const stoa_kind *const kinds[] = {&purse_kind, NULL};

typedef struct world {
    char folder[KIT_PATH_MAX], backup[KIT_PATH_MAX + 32], into[KIT_PATH_MAX + 32];
    stoa_node *node;
    stoa_shard *shard;
} world;

/* A node with that shard alone. */
static void start(world *w, const char *shard)
{
    char path[KIT_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/%s", w->folder, shard);
    kit_ok(stoa_node_open(&(const stoa_options){.cores = 1, .kinds = kinds}, &w->node));
    stoa_shard_options options = {.name = shard, .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb, .path = path};
    kit_ok(stoa_shard_open(w->node, &options, &w->shard));
    kit_ok(stoa_roll_add(w->folder, shard));
}

/* A purse more; where its shard ends then. */
static uint64_t grow(world *w, const char *name)
{
    stoa_ref ref;
    purse_linked linked;
    stoa_shard_view view;
    kit_ok(stoa_spawn(w->node, &purse_kind, name, &(stoa_spawn_options){.shard = w->shard}, &ref));
    kit_ok(purse_call_link(w->node, ref, (purse_link){.index = 1, .sibling = 1}, STOA_S(30), &linked));
    kit_ok(stoa_shard_look(w->shard, &view));
    return view.applied;
}

static stoa_err note_commit(void *context, const stoa_block *block)
{
    *(uint64_t *)context = block->commit_ns;
    return STOA_OK;
}

static uint64_t commit_of(stoa_journal *journal, uint64_t position)
{
    uint64_t commit_ns = 0;
    stoa_journal_state state;
    do { journal->ops->state(journal, &state); } while (state.last < position);
    kit_ok(journal->ops->read(journal, position, note_commit, &commit_ns));
    return commit_ns;
}

static stoa_settings *settings;
static stoa_closed *closed;
static stoa_catalog *catalog;
static stoa_restored *restored;

static stoa_err back_up(world *w, uint64_t *closed_ns)
{
    static stoa_backup_source sources[STOA_CATALOG_SHARDS];
    static stoa_backup_step steps[STOA_CATALOG_SHARDS];
    uint32_t count = 1;
    sources[0] = (stoa_backup_source){.name = "north", .journal = stoa_shard_journal(w->shard), .shard = w->shard};
    memset(closed, 0, sizeof *closed);
    stoa_err err = stoa_closed_open(closed, settings, NULL, true, sources, &count);
    if (!err) {
        assert_int_equal(count, 2);
        assert_string_equal(sources[1].name, "east");
        stoa_journal_state state;
        sources[1].journal->ops->state(sources[1].journal, &state);
        *closed_ns = commit_of(sources[1].journal, state.last);
        stoa_backup backup = {.folder = w->backup, .node_name = "test", .sources = sources, .source_count = count, .kinds = kinds};
        err = stoa_backup_run(&backup, NULL, steps);
    }
    stoa_closed_close(closed);
    return err;
}

static void a_closed_log_of_later_times_is_whole_in_the_backup(void **state)
{
    (void)state;
    world w = {.node = NULL};
    uint64_t closed_ns = 0;
    kit_folder(w.folder);
    (void)snprintf(w.backup, sizeof w.backup, "%s/backup", w.folder);
    (void)snprintf(w.into, sizeof w.into, "%s/restored", w.folder);
    assert_true(strlen(w.folder) < sizeof settings->data);
    memcpy(settings->data, w.folder, strlen(w.folder) + 1);
    start(&w, "east");
    stoa_shard_commit_behind(w.shard, stoa_clock_real.wall_ns(&stoa_clock_real) + AHEAD);
    uint64_t east = grow(&w, "purse/east");
    stoa_node_close(w.node, STOA_S(10));
    start(&w, "north");
    uint64_t north = grow(&w, "purse/north");
    kit_ok(back_up(&w, &closed_ns));
    uint64_t north_ns = commit_of(stoa_shard_journal(w.shard), north);
    assert_true(north_ns < closed_ns);
    kit_ok(stoa_catalog_load(w.backup, catalog));
    assert_true(catalog->consistent_ns >= closed_ns);
    assert_true(commit_of(stoa_shard_journal(w.shard), grow(&w, "purse/later")) > catalog->consistent_ns); /* what comes now is not within it */

    stoa_restore request = {.from = w.backup, .into = w.into, .kinds = kinds, .journal = &stoa_journal_rocksdb};
    kit_ok(stoa_restore_run(&request, false, NULL, restored));
    assert_int_equal(restored->shard_count, 2);
    assert_int_equal(restored->shards[0].last, north);
    assert_int_equal(restored->shards[1].last, east);
    kit_ok(stoa_roll_check(w.into));
    char gone[KIT_PATH_MAX + 64];
    (void)snprintf(gone, sizeof gone, "%s/east", w.into);
    kit_remove(gone);
    kit_err(stoa_roll_check(w.into), STOA_E_NOT_FOUND); /* the restored node knows what it has */

    (void)snprintf(gone, sizeof gone, "%s/east", w.folder);
    kit_remove(gone);
    kit_err(back_up(&w, &closed_ns), STOA_E_NOT_FOUND);
    stoa_node_close(w.node, STOA_S(10));
    kit_remove(w.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_closed_log_of_later_times_is_whole_in_the_backup)};
    stoa_log_level_set(STOA_LOG_ERROR);
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    settings = calloc(1, sizeof *settings);
    closed = calloc(1, sizeof *closed);
    catalog = calloc(1, sizeof *catalog);
    restored = calloc(1, sizeof *restored);
    STOA_ASSERT(settings && closed && catalog && restored);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(restored);
    free(catalog);
    free(closed);
    free(settings);
    return failed;
}
