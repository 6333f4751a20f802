/* backup.c - node/archive/backup.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "node/archive/cut.h"
#include "runtime/readers.h"
#include "storage/archive/snapshot.h"

enum { WAIT_MS = 10000, SNAPSHOTS = 2 /* that are kept beside the first */ };

static stoa_archive_options options_of(const stoa_backup *backup, const char *shard, bool read_only)
{
    return (stoa_archive_options){.folder = backup->folder, .shard = shard, .segment_bytes = backup->segment_bytes,
                                  .read_only = read_only, .clock = backup->clock};
}

static uint64_t last_of(const stoa_backup_source *source)
{
    stoa_journal_state state;
    source->journal->ops->state(source->journal, &state);
    return state.last;
}

/* --- what the running shards say of themselves */

/* What the shard shows is what it applied, which the log may trail by a moment. */
static stoa_err wait_for(const stoa_backup_source *source, uint64_t position)
{
    for (int ms = 0; ms < WAIT_MS; ms++) {
        if (last_of(source) >= position) { return STOA_OK; }
        struct timespec wait = {0, 1000000};
        (void)nanosleep(&wait, NULL);
    }
    return STOA_FAIL(STOA_E_TIMEOUT, "shard %s: position %" PRIu64 " is not in the log", source->name, position);
}

static stoa_err note_states(const stoa_backup *backup, stoa_catalog *catalog)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < backup->source_count && !err; i++) {
        const stoa_backup_source *source = &backup->sources[i];
        stoa_catalog_shard *shard = &catalog->shards[catalog->shard_count++];
        stoa_shard_view view = {0};
        (void)snprintf(shard->name, sizeof shard->name, "%s", source->name);
        if (!source->shard) { continue; }
        err = stoa_shard_look(source->shard, &view);
        shard->state_position = view.applied;
        shard->state_hash = view.hash;
    }
    for (uint32_t i = 0; i < backup->source_count && !err; i++) {
        err = wait_for(&backup->sources[i], catalog->shards[i].state_position);
    }
    return err;
}

static stoa_err latest_commit(void *context, const stoa_block *block)
{
    uint64_t *latest = context;
    if (block->commit_ns > *latest) { *latest = block->commit_ns; }
    return STOA_OK;
}

/* Logs of shards that do not run are complete: where none runs, the latest block of all is the time. Those that run go on behind it. */
static stoa_err note_time(const stoa_backup *backup, stoa_catalog *catalog)
{
    uint64_t latest = 0, least = UINT64_MAX;
    for (uint32_t i = 0; i < backup->source_count; i++) {
        const stoa_backup_source *source = &backup->sources[i];
        stoa_journal_state log;
        source->journal->ops->state(source->journal, &log);
        bool empty = log.last < log.first; /* what went before it may not be */
        stoa_err err = source->shard || empty ? STOA_OK : source->journal->ops->read(source->journal, log.last, latest_commit, &latest);
        if (err) { return err; }
    }
    for (uint32_t i = 0; i < backup->source_count; i++) {
        stoa_shard *shard = backup->sources[i].shard;
        if (!shard) { continue; }
        stoa_shard_commit_behind(shard, latest);
        uint64_t covered = stoa_shard_covered_ns(shard);
        if (covered < least) { least = covered; }
    }
    catalog->consistent_ns = least < UINT64_MAX ? least : latest;
    return STOA_OK;
}

/* --- one shard */

static void sum_up(const stoa_manifest *m, stoa_backup_step *step)
{
    step->segments = m->count;
    step->raw_bytes = step->file_bytes = 0;
    step->first = m->expired + 1;
    step->snapshots = m->snapshot_count;
    step->snapshot = m->snapshot_count ? m->snapshots[0].info.position : 0;
    for (uint32_t i = 0; i < m->snapshot_count; i++) { step->file_bytes += m->snapshots[i].packed_bytes; }
    for (uint32_t i = 0; i < m->count; i++) {
        step->raw_bytes += m->entries[i].segment.raw_bytes;
        step->file_bytes += m->entries[i].segment.file_bytes;
    }
}

static stoa_err look_into(stoa_archive *archive, stoa_backup_step *step)
{
    stoa_manifest m;
    stoa_err err = stoa_archive_look(archive, &m);
    if (err) { return err; }
    sum_up(&m, step);
    step->sealed = stoa_archive_last(archive, true);
    step->last = stoa_archive_last(archive, false);
    stoa_manifest_deinit(&m);
    return STOA_OK;
}

static stoa_err note_end(stoa_archive *archive, stoa_catalog_shard *shard)
{
    stoa_manifest m;
    uint64_t epoch;
    stoa_err err = stoa_archive_look(archive, &m);
    if (err) { return err; }
    stoa_manifest_end(&m, false, &shard->last, &epoch, &shard->hash);
    stoa_manifest_deinit(&m);
    return STOA_OK;
}

static stoa_err nothing_stands(const stoa_backup_source *source, uint64_t first, stoa_err err)
{
    return STOA_PASS(err, "the log of %s begins at %" PRIu64 ", and no snapshot stands for what was before: make one (snapshot)", source->name, first);
}

static stoa_err cannot_go_on(const stoa_backup_source *source, uint64_t sealed, uint64_t first)
{
    return STOA_FAIL(STOA_E_GAP, "the backup of %s is sealed up to %" PRIu64 ", and the log begins at %" PRIu64
                     " now: what is between is gone; make a new backup into another folder", source->name, sealed, first);
}

/* The one nearest to the beginning, from wherever it is to be had. at_most: what is behind that could not be compared with the live state. */
static stoa_err take_first(stoa_archive *archive, const stoa_backup_source *source, uint64_t at_most, const stoa_progress_to *progress)
{
    uint64_t position, first = stoa_archive_first(archive);
    stoa_archive_window window = {.at_least = first - 1, .at_most = at_most};
    stoa_err err = STOA_E_NOT_FOUND;
    if (source->archive) { err = stoa_archive_copy_snapshot(archive, source->archive, &window, progress, &position); }
    if (err == STOA_E_NOT_FOUND || err == STOA_E_CORRUPT || err == STOA_E_GAP) {
        err = stoa_archive_take_snapshot(archive, source->journal, &window, progress, &position);
    }
    if (err != STOA_E_NOT_FOUND && err != STOA_E_CORRUPT) { return err; }
    return nothing_stands(source, first, STOA_E_GAP);
}

/* The newest, too: where the first is rotten one day a restore goes on from another. None is not missed. */
static stoa_err take_newest(stoa_archive *archive, const stoa_backup_source *source, uint64_t at_most, const stoa_progress_to *progress)
{
    uint64_t position;
    stoa_archive_window window = {.at_least = stoa_archive_first(archive), .at_most = at_most, .newest = true};
    stoa_err err = stoa_archive_take_snapshot(archive, source->journal, &window, progress, &position);
    if (err == STOA_E_NOT_FOUND || err == STOA_E_CORRUPT) { return STOA_OK; }
    return err ? err : stoa_archive_forget_snapshots(archive, stoa_archive_first(archive) - 1, SNAPSHOTS);
}

static bool has_one_at_most(stoa_archive *archive, uint64_t at_most)
{
    stoa_manifest m;
    if (stoa_archive_look(archive, &m)) { return false; }
    bool has = false;
    for (uint32_t i = stoa_manifest_snapshot_from(&m, m.expired); i < m.snapshot_count && !has; i++) {
        uint64_t position = m.snapshots[i].info.position;
        has = position <= at_most && stoa_archive_has_snapshot(archive, position);
    }
    stoa_manifest_deinit(&m);
    return has;
}

/* Where the log's beginning is gone the backup begins where the log does, with what stands for it. */
static stoa_err see_to_beginning(stoa_archive *archive, const stoa_backup_source *source, uint64_t at_most, const stoa_progress_to *progress)
{
    stoa_journal_state log;
    source->journal->ops->state(source->journal, &log);
    uint64_t held = stoa_archive_last(archive, true), first = stoa_archive_first(archive);
    stoa_err err = STOA_OK;
    bool nothing = stoa_archive_last(archive, false) + 1 == first;
    if (nothing && log.first != first) {
        err = stoa_archive_begin(archive, source->journal);
    } else if (held + 1 < log.first) {
        return cannot_go_on(source, held, log.first);
    }
    if (err || stoa_archive_first(archive) == 1) { return err; }
    if (!has_one_at_most(archive, at_most)) { err = take_first(archive, source, at_most, progress); }
    return err ? err : take_newest(archive, source, at_most, progress);
}

static stoa_err extend(stoa_archive *archive, const stoa_backup_source *source, const stoa_extent *extent, const stoa_progress_to *progress)
{
    stoa_err err = stoa_archive_extend(archive, source->journal, extent, progress);
    if (err != STOA_E_GAP || !source->archive) { return err; }
    return STOA_PASS(err, "the archive of %s is not whole: put that back, or stop the node and back up what its log has, with "
                     "--archive.path and --archive.cold_path of empty folders", source->name);
}

/* What the folder has of a log is its beginning, or it has another one's. */
static stoa_err is_beginning(const stoa_backup_source *source, uint64_t held)
{
    uint64_t last = last_of(source);
    if (held <= last) { return STOA_OK; }
    return STOA_FAIL(STOA_E_FORKED, "the backup has %s up to position %" PRIu64 ", and the log ends at %" PRIu64 ": its end is lost, or it was begun anew; "
                     "restore what the backup has, or make a new one into another folder", source->name, held, last);
}

static stoa_err copy_one(stoa_archive *archive, const stoa_backup_source *source, const stoa_progress_to *progress,
                         stoa_catalog_shard *shard, stoa_backup_step *step)
{
    stoa_journal_state log;
    step->held = stoa_archive_last(archive, false);
    source->journal->ops->state(source->journal, &log);
    stoa_extent extent = {.until = log.proven, .open = true};
    uint64_t at_most = shard->state_position ? shard->state_position : log.last;
    stoa_err err = is_beginning(source, step->held);
    if (!err) { err = see_to_beginning(archive, source, at_most, progress); }
    if (!err) { err = extend(archive, source, &extent, progress); }
    if (!err) { err = look_into(archive, step); }
    return err ? err : note_end(archive, shard);
}

static stoa_err run_one(const stoa_backup *backup, const stoa_backup_source *source, const stoa_progress_to *progress,
                        stoa_catalog_shard *shard, stoa_backup_step *step)
{
    stoa_archive *archive;
    stoa_archive_options options = options_of(backup, source->name, false);
    stoa_err err = stoa_archive_open(&options, &archive);
    if (err) { return err; }
    err = copy_one(archive, source, progress, shard, step);
    stoa_archive_close(archive);
    return err;
}

/* --- all of them */

static stoa_err named(const stoa_backup *backup, const stoa_backup_source *source, stoa_err err)
{
    return STOA_PASS(err, "backup of shard %s to %s", source->name, backup->folder);
}

static bool is_source(const stoa_backup *backup, const char *shard)
{
    uint32_t i = 0;
    while (i < backup->source_count && strcmp(backup->sources[i].name, shard) != 0) { i++; }
    return i < backup->source_count;
}

/* A folder's next backup has each shard of the one before it: what takes its place is not less. */
static stoa_err follows_older(const stoa_backup *backup)
{
    stoa_catalog older;
    stoa_err err = stoa_catalog_load(backup->folder, &older);
    if (err == STOA_E_NOT_FOUND) { return STOA_OK; }
    if (err) { return STOA_PASS(err, "which shards the backup in %s has is not known: make a new one into another folder", backup->folder); }
    for (uint32_t i = 0; i < older.shard_count; i++) {
        const char *shard = older.shards[i].name;
        if (is_source(backup, shard)) { continue; }
        return STOA_FAIL(STOA_E_NOT_FOUND, "the backup in %s has shard %s, and the node has none: it would be in this backup no more; bring its folder back, "
                         "or make a new backup into another folder", backup->folder, shard);
    }
    return STOA_OK;
}

/* A backup reads from the beginnings on. They are held before the catalogue's time is taken, until the last shard is copied: so what is
 * gone of any shard is before that time. */
typedef struct holding {
    uint32_t slots[STOA_CATALOG_SHARDS], count;
} holding;

/* Who keeps the archive has seen that there is one reader more. */
static stoa_err hold_beginning(const stoa_backup_source *source, uint32_t *slot_out)
{
    stoa_err err = source->shard ? stoa_readers_add(stoa_shard_readers(source->shard), "backup", 0, slot_out) : STOA_OK;
    if (err || !source->work) { return err; }
    (void)stoa_handover_take(source->work, UINT64_MAX);
    stoa_handover_give(source->work);
    return STOA_OK;
}

static stoa_err hold(const stoa_backup *backup, holding *h)
{
    stoa_err err = STOA_OK;
    for (h->count = 0; h->count < backup->source_count && !err; h->count += !err) {
        err = hold_beginning(&backup->sources[h->count], &h->slots[h->count]);
    }
    return err ? named(backup, &backup->sources[h->count], err) : STOA_OK;
}

static void let_go(const stoa_backup *backup, const holding *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        stoa_shard *shard = backup->sources[i].shard;
        if (shard) { stoa_readers_leave(stoa_shard_readers(shard), h->slots[i]); }
    }
}

stoa_err stoa_backup_run(const stoa_backup *backup, const stoa_progress_to *progress, stoa_backup_step *steps)
{
    stoa_clock *clock = backup->clock ? backup->clock : &stoa_clock_real;
    stoa_catalog catalog = {.settings = backup->settings};
    if (backup->source_count > STOA_CATALOG_SHARDS) { return STOA_FAIL(STOA_E_TOO_LARGE, "%" PRIu32 " shards", backup->source_count); }
    (void)snprintf(catalog.node, sizeof catalog.node, "%s", backup->node_name);
    (void)snprintf(catalog.version, sizeof catalog.version, "%s", STOA_VERSION);
    stoa_catalog_put_keys(&catalog, backup->keys);
    stoa_err err = stoa_catalog_put_kinds(&catalog, backup->kinds);
    holding held = {.count = 0};
    if (!err) { err = follows_older(backup); }
    if (!err) { err = hold(backup, &held); }
    if (!err) { err = note_states(backup, &catalog); }
    if (!err) { err = note_time(backup, &catalog); } /* behind the states: they are within it */
    for (uint32_t i = 0; i < backup->source_count && !err; i++) {
        steps[i] = (stoa_backup_step){.shard = backup->sources[i].name};
        err = run_one(backup, &backup->sources[i], progress, &catalog.shards[i], &steps[i]);
        if (err) { err = named(backup, &backup->sources[i], err); }
    }
    let_go(backup, &held);
    catalog.written_ns = clock->wall_ns(clock);
    return err ? err : stoa_catalog_save(backup->folder, &catalog);
}

typedef struct nearest {
    uint64_t from, found; /* 0: none */
} nearest;

static void look_at_snapshot(void *context, const stoa_snapshot_info *info)
{
    nearest *n = context;
    if (info->position >= n->from && (n->found == 0 || info->position < n->found)) { n->found = info->position; }
}

static stoa_err find_nearest(const stoa_backup_source *source, nearest *n)
{
    stoa_manifest m = {.count = 0};
    stoa_err err = source->archive ? stoa_archive_look(source->archive, &m) : STOA_OK;
    for (uint32_t i = 0; i < m.snapshot_count && !err; i++) { look_at_snapshot(n, &m.snapshots[i].info); }
    stoa_manifest_deinit(&m);
    return err ? err : stoa_snapshots_visit(source->journal, look_at_snapshot, n);
}

/* What a run would begin with, or be refused for. */
static stoa_err plan_beginning(const stoa_backup_source *source, stoa_backup_step *step)
{
    stoa_journal_state log;
    source->journal->ops->state(source->journal, &log);
    if (step->held >= step->first && step->first > 0) {
        return step->sealed + 1 >= log.first ? STOA_OK : cannot_go_on(source, step->sealed, log.first);
    }
    nearest n = {.from = log.first - 1};
    step->first = log.first;
    stoa_err err = log.first > 1 ? find_nearest(source, &n) : STOA_OK;
    step->snapshot = n.found;
    if (err || log.first == 1 || n.found) { return err; }
    return nothing_stands(source, log.first, STOA_E_GAP);
}

static stoa_err plan_one(const stoa_backup *backup, const stoa_backup_source *source, stoa_backup_step *step)
{
    stoa_archive *archive;
    stoa_archive_options options = options_of(backup, source->name, true);
    *step = (stoa_backup_step){.shard = source->name};
    stoa_err err = stoa_archive_open(&options, &archive);
    if (!err) {
        err = look_into(archive, step);
        step->held = step->last;
        stoa_archive_close(archive);
    }
    if (err && err != STOA_E_NOT_FOUND) { return err; }
    step->last = last_of(source);
    err = is_beginning(source, step->held);
    return err ? err : plan_beginning(source, step);
}

stoa_err stoa_backup_plan(const stoa_backup *backup, stoa_backup_step *steps)
{
    stoa_err err = follows_older(backup);
    for (uint32_t i = 0; i < backup->source_count && !err; i++) { err = plan_one(backup, &backup->sources[i], &steps[i]); }
    return err;
}

/* --- verification */

/* What the catalogue names is there: a backup that was stopped in the middle has gone on behind it in some shards. */
static stoa_err holds_end(stoa_archive *archive, const stoa_catalog_shard *shard)
{
    stoa_catalog_shard end = {.last = 0};
    stoa_err err = note_end(archive, &end);
    if (err) { return err; }
    if (end.last < shard->last) {
        return STOA_FAIL(STOA_E_GAP, "the archive of shard %s ends at %" PRIu64 ", the catalogue says %" PRIu64, shard->name, end.last,
                         shard->last);
    }
    stoa_archive_block block = {.last = end.last, .hash = end.hash};
    if (shard->last && end.last > shard->last) { err = stoa_archive_block_at(archive, shard->last, &block); }
    bool same = shard->last == 0 || (block.last == shard->last && memcmp(&block.hash, &shard->hash, sizeof block.hash) == 0);
    if (err || same) { return err; }
    return STOA_FAIL(STOA_E_FORKED, "the archive of shard %s has another block at %" PRIu64 " than the catalogue", shard->name,
                     shard->last);
}

static stoa_err verify_one(const char *folder, const stoa_catalog *catalog, uint32_t index, const stoa_progress_to *progress,
                           stoa_backup_step *step)
{
    stoa_archive *archive;
    stoa_archive_block cut;
    const stoa_catalog_shard *shard = &catalog->shards[index];
    stoa_archive_options options = {.folder = folder, .shard = shard->name, .read_only = true};
    uint64_t verified = 0, beginning = 0;
    stoa_err err = stoa_archive_open(&options, &archive);
    if (err == STOA_E_NOT_FOUND) { return STOA_PASS(STOA_E_GAP, "the archive of shard %s is missing", shard->name); }
    if (err) { return err; }
    err = look_into(archive, step);
    if (!err) { err = stoa_archive_verify(archive, UINT64_MAX, progress, &verified); }
    if (!err) { err = holds_end(archive, shard); }
    if (!err) { err = stoa_backup_cut(catalog, index, archive, catalog->consistent_ns, &cut); }
    if (!err && cut.last) { err = stoa_archive_reaches(archive, cut.last, progress, &beginning); }
    stoa_archive_close(archive);
    return err;
}

stoa_err stoa_backup_verify(const char *folder, const stoa_progress_to *progress, stoa_catalog *catalog_out,
                            stoa_backup_step steps[STOA_CATALOG_SHARDS])
{
    stoa_err err = stoa_catalog_load(folder, catalog_out);
    for (uint32_t i = 0; !err && i < catalog_out->shard_count; i++) {
        steps[i] = (stoa_backup_step){.shard = catalog_out->shards[i].name};
        err = verify_one(folder, catalog_out, i, progress, &steps[i]);
    }
    return err;
}
