/* seam.c - storage/archive/seam.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/seam.h"

#include <inttypes.h>
#include <string.h>

#include "storage/archive/internal.h"
#include "storage/block.h"

#define WAY_OUT "nothing of it is used: give this log another archive.path, or move that archive away (docs/guide/backup.md)"

/* --- one block of both */

typedef struct joint {
    uint64_t position;
    const stoa_hash256 *hash;
} joint;

/* The log's block behind the position. */
static stoa_err meet(void *context, const void *bytes, size_t size_bytes)
{
    const joint *j = context;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return err; }
    bool meets = view.block.first == j->position + 1 && memcmp(&view.previous, j->hash, sizeof view.previous) == 0;
    return meets ? STOA_E_CANCELLED
                 : STOA_FAIL(STOA_E_FORKED, "the log's block at %" PRIu64 " does not continue the archive's", view.block.first);
}

stoa_err stoa_seam_passes(stoa_journal *log, uint64_t position, const stoa_hash256 *hash)
{
    stoa_journal_state state;
    log->ops->state(log, &state);
    if (position > state.last) { return STOA_FAIL(STOA_E_FORKED, "the log ends at %" PRIu64 ", before %" PRIu64, state.last, position); }
    if (position == state.last) {
        bool same = memcmp(&state.hash, hash, sizeof state.hash) == 0;
        return same ? STOA_OK : STOA_FAIL(STOA_E_FORKED, "the log ends with another block at %" PRIu64, position);
    }
    stoa_err err = log->ops->read_stored(log, position + 1, meet, &(joint){position, hash});
    return err == STOA_E_CANCELLED ? STOA_OK : err;
}

/* The hash of the archive's block that ends at position; of one that has expired the manifest knows it. */
static stoa_err hash_at(stoa_archive *archive, uint64_t position, stoa_hash256 *out)
{
    stoa_archive_block block = {.last = 0};
    stoa_manifest m;
    stoa_err err = stoa_archive_look(archive, &m);
    if (err) { return err; }
    bool edge = m.expired == position;
    if (edge) { block = (stoa_archive_block){.last = m.expired, .hash = m.expired_hash}; } /* zeros in front of a whole log */
    if (position < m.expired) { err = STOA_FAIL(STOA_E_GAP, "the archive of %s begins at %" PRIu64, m.shard, m.expired + 1); }
    stoa_manifest_deinit(&m);
    if (!err && !edge) { err = stoa_archive_block_at(archive, position, &block); }
    if (!err && block.last != position) { err = STOA_FAIL(STOA_E_FORKED, "the archive's block at %" PRIu64 " is another one", block.first); }
    if (!err) { *out = block.hash; }
    return err;
}

/* --- where both end */

static stoa_err sealed_end(stoa_archive *archive, uint64_t *last_out, stoa_hash256 *hash_out)
{
    stoa_manifest m;
    uint64_t epoch;
    stoa_err err = stoa_archive_look(archive, &m);
    if (err) { return err; }
    stoa_manifest_end(&m, true, last_out, &epoch, hash_out);
    stoa_manifest_deinit(&m);
    return STOA_OK;
}

stoa_err stoa_seam_behind(stoa_archive *archive, const stoa_journal_state *end, uint64_t *last_out)
{
    stoa_hash256 hash;
    uint64_t last = stoa_archive_last(archive, true);
    *last_out = end->last;
    if (last <= end->last) { return STOA_OK; }
    stoa_err err = hash_at(archive, end->last, &hash);
    if (!err && memcmp(&hash, &end->hash, sizeof hash) != 0) {
        err = STOA_FAIL(STOA_E_FORKED, "the archive of %s has another block at %" PRIu64, archive->manifest.shard, end->last);
    }
    if (!err) { *last_out = last; }
    return err;
}

/* Which of the two it is, in words; the refusal is the same. */
static stoa_err goes_on(stoa_archive *archive, const stoa_journal_state *log, uint64_t sealed)
{
    uint64_t last;
    if (log->last == 0 || stoa_seam_behind(archive, log, &last)) { /* an empty log says nothing of its history */
        return STOA_FAIL(STOA_E_FORKED, "the archive of %s, up to %" PRIu64 ", is of another history than the log, up to %" PRIu64 ": " WAY_OUT,
                         archive->manifest.shard, sealed, log->last);
    }
    return STOA_FAIL(STOA_E_FORKED, "the archive of %s goes on to %" PRIu64 ", behind the log's end at %" PRIu64 "; " WAY_OUT "; or, where the log "
                     "lost that end: stoad --accept-loss %s --plan", archive->manifest.shard, sealed, log->last, archive->manifest.shard);
}

static stoa_err check_end(stoa_archive *archive, stoa_journal *log, const stoa_journal_state *state)
{
    uint64_t sealed;
    stoa_hash256 hash;
    stoa_err err = sealed_end(archive, &sealed, &hash);
    if (err) { return err; }
    if (sealed > state->last) { return goes_on(archive, state, sealed); }
    if (sealed + 1 < state->first) {
        return STOA_FAIL(STOA_E_GAP, "the log begins at %" PRIu64 ", its archive ends at %" PRIu64 ", and what is between is in neither: put the archive "
                         "back; or back this log up into a new folder while its node runs, and restore that (docs/guide/backup.md)", state->first, sealed);
    }
    err = stoa_seam_passes(log, sealed, &hash);
    return err == STOA_E_FORKED ? STOA_PASS(err, "the archive of %s, up to %" PRIu64 ", is of another history than the log, up to %" PRIu64 ": " WAY_OUT,
                                            archive->manifest.shard, sealed, state->last)
                                : err;
}

stoa_err stoa_seam_check(stoa_archive *archive, stoa_journal *log)
{
    stoa_journal_state state;
    stoa_hash256 hash;
    log->ops->state(log, &state);
    stoa_err err = check_end(archive, log, &state);
    if (err || state.first == 1 || stoa_archive_first(archive) > state.first) { return err; } /* it needs nothing in front of it */
    err = hash_at(archive, state.first - 1, &hash);
    return err ? err : stoa_seam_passes(log, state.first - 1, &hash);
}

/* --- what a log lost and its archive has */

typedef struct giving {
    stoa_journal *log;
    const stoa_progress_to *progress;
    stoa_progress told;
} giving;

static stoa_err give(void *context, const void *bytes, size_t size_bytes)
{
    giving *g = context;
    stoa_journal_state state;
    stoa_err err = g->log->ops->append_stored(g->log, bytes, size_bytes, false);
    if (err) { return err; }
    g->log->ops->state(g->log, &state);
    g->told.position = state.last;
    g->told.raw_bytes += size_bytes;
    return stoa_progress_tell(g->progress, &g->told);
}

stoa_err stoa_seam_give_back(stoa_archive *archive, stoa_journal *log, const stoa_progress_to *progress)
{
    stoa_journal_state end;
    uint64_t last;
    log->ops->state(log, &end);
    stoa_err err = stoa_seam_behind(archive, &end, &last);
    if (err || last == end.last) { return err; }
    giving g = {.log = log, .progress = progress, .told = {.step = "import", .shard = archive->manifest.shard, .last = last}};
    err = stoa_archive_read(archive, end.last + 1, last, give, &g);
    return err ? err : log->ops->sync(log);
}
