/* backup.c - node/archive/backup.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

enum { WAIT_MS = 10000 };

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

/* Where nothing runs all logs are complete: the latest block of all is the time. */
static stoa_err note_time(const stoa_backup *backup, stoa_catalog *catalog)
{
    uint64_t latest = 0, least = UINT64_MAX;
    for (uint32_t i = 0; i < backup->source_count; i++) {
        const stoa_backup_source *source = &backup->sources[i];
        uint64_t last = last_of(source);
        stoa_err err = last ? source->journal->ops->read(source->journal, last, latest_commit, &latest) : STOA_OK;
        if (err) { return err; }
        uint64_t covered = source->shard ? stoa_shard_covered_ns(source->shard) : UINT64_MAX;
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

static stoa_err run_one(const stoa_backup *backup, const stoa_backup_source *source, const stoa_progress_to *progress,
                        stoa_catalog_shard *shard, stoa_backup_step *step)
{
    stoa_archive *archive;
    stoa_archive_options options = options_of(backup, source->name, false);
    stoa_journal_state log;
    stoa_err err = stoa_archive_open(&options, &archive);
    if (err) { return err; }
    step->held = stoa_archive_last(archive, false);
    source->journal->ops->state(source->journal, &log);
    stoa_extent extent = {.until = log.proven, .open = true};
    err = stoa_archive_extend(archive, source->journal, &extent, progress);
    if (!err) { err = look_into(archive, step); }
    if (!err) { err = note_end(archive, shard); }
    stoa_archive_close(archive);
    return err;
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
    if (!err) { err = note_states(backup, &catalog); }
    if (!err) { err = note_time(backup, &catalog); } /* behind the states: they are within it */
    for (uint32_t i = 0; i < backup->source_count && !err; i++) {
        steps[i] = (stoa_backup_step){.shard = backup->sources[i].name};
        err = run_one(backup, &backup->sources[i], progress, &catalog.shards[i], &steps[i]);
        if (err) { err = STOA_PASS(err, "backup of shard %s to %s", backup->sources[i].name, backup->folder); }
    }
    catalog.written_ns = clock->wall_ns(clock);
    return err ? err : stoa_catalog_save(backup->folder, &catalog);
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
    return STOA_OK;
}

stoa_err stoa_backup_plan(const stoa_backup *backup, stoa_backup_step *steps)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < backup->source_count && !err; i++) { err = plan_one(backup, &backup->sources[i], &steps[i]); }
    return err;
}

/* --- verification */

/* What the catalogue names is there: a backup that was stopped in the middle has gone on behind it in some shards. */
static stoa_err holds_end(stoa_archive *archive, const stoa_catalog_shard *shard)
{
    stoa_archive_block block = {0};
    uint64_t last = stoa_archive_last(archive, false);
    if (last < shard->last) {
        return STOA_FAIL(STOA_E_GAP, "the archive of shard %s ends at %" PRIu64 ", the catalogue says %" PRIu64, shard->name, last,
                         shard->last);
    }
    stoa_err err = shard->last ? stoa_archive_block_at(archive, shard->last, &block) : STOA_OK;
    bool same = shard->last == 0 || (block.last == shard->last && memcmp(&block.hash, &shard->hash, sizeof block.hash) == 0);
    if (err || same) { return err; }
    return STOA_FAIL(STOA_E_FORKED, "the archive of shard %s has another block at %" PRIu64 " than the catalogue", shard->name,
                     shard->last);
}

static stoa_err verify_one(const char *folder, const stoa_catalog_shard *shard, const stoa_progress_to *progress,
                           stoa_backup_step *step)
{
    stoa_archive *archive;
    stoa_archive_options options = {.folder = folder, .shard = shard->name, .read_only = true};
    uint64_t verified = 0;
    stoa_err err = stoa_archive_open(&options, &archive);
    if (err == STOA_E_NOT_FOUND) { return STOA_PASS(STOA_E_GAP, "the archive of shard %s is missing", shard->name); }
    if (err) { return err; }
    err = look_into(archive, step);
    if (!err) { err = stoa_archive_verify(archive, UINT64_MAX, progress, &verified); }
    if (!err) { err = holds_end(archive, shard); }
    stoa_archive_close(archive);
    return err;
}

stoa_err stoa_backup_verify(const char *folder, const stoa_progress_to *progress, stoa_catalog *catalog_out,
                            stoa_backup_step steps[STOA_CATALOG_SHARDS])
{
    stoa_err err = stoa_catalog_load(folder, catalog_out);
    for (uint32_t i = 0; !err && i < catalog_out->shard_count; i++) {
        steps[i] = (stoa_backup_step){.shard = catalog_out->shards[i].name};
        err = verify_one(folder, &catalog_out->shards[i], progress, &steps[i]);
    }
    return err;
}
