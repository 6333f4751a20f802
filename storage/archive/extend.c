/* extend.c - the archive follows the log, moves what is old, forgets what is over: storage/archive/archive.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/archive.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "storage/archive/file.h"
#include "storage/archive/internal.h"
#include "storage/archive/segment_header.h"
#include "storage/archive/snapshot.h"
#include "storage/block.h"

/* --- new segments */

typedef struct extension {
    stoa_archive *archive;
    const stoa_extent *extent;
    const stoa_progress_to *progress;
    stoa_progress told;
    stoa_segment_writer *writer; /* NULL: none begun */
    stoa_journal_state end;      /* of what is sealed and written */
    bool over;                   /* the rest of the log is not for us */
} extension;

/* The segment is there: let the manifest name it, in place of the open one, whose file then goes. */
static stoa_err adopt(stoa_archive *archive, const stoa_segment *segment, bool open)
{
    stoa_manifest next;
    stoa_manifest_entry replaced = {0};
    stoa_err err = stoa_manifest_copy(&archive->manifest, &next);
    if (err) { return err; }
    if (next.count > 0 && next.entries[next.count - 1].open) { replaced = next.entries[--next.count]; }
    err = stoa_manifest_add(&next, segment, open);
    if (!err) { err = stoa_archive_replace(archive, &next); }
    if (err) {
        stoa_manifest_deinit(&next);
        return err;
    }
    if (!replaced.open) { return STOA_OK; }
    char name[STOA_SEGMENT_NAME_MAX];
    stoa_segment_name(&replaced.segment, true, name);
    return stoa_file_remove(archive->folder, name);
}

static stoa_err seal(extension *x, bool open)
{
    stoa_segment_writer *writer = x->writer;
    stoa_segment segment;
    x->writer = NULL;
    stoa_err err = stoa_segment_seal(writer, open, &segment);
    if (!err) { err = adopt(x->archive, &segment, open); }
    if (err) { return STOA_PASS(err, "archive of %s", x->archive->manifest.shard); }
    stoa_log(STOA_LOG_DEBUG, "segment_sealed", STOA_KV("shard", segment.shard), STOA_KU("first", segment.first),
             STOA_KU("last", segment.last), STOA_KU("bytes", segment.file_bytes), STOA_KU("open", open));
    return STOA_OK;
}

/* A block behind another log's end would only be found at the end of the segment. */
static stoa_err continues(const extension *x, const stoa_block_view *view)
{
    bool same = view->block.first == x->end.last + 1 && memcmp(&view->previous, &x->end.hash, sizeof view->previous) == 0;
    return same ? STOA_OK
                : STOA_FAIL(STOA_E_FORKED, "the archive of %s ends at %" PRIu64 ", and the log's block at %" PRIu64
                            " does not continue it", x->archive->manifest.shard, x->end.last, view->block.first);
}

static stoa_err take(void *context, const void *bytes, size_t size_bytes)
{
    extension *x = context;
    stoa_archive *archive = x->archive;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (!err) { err = continues(x, &view); }
    if (err) { return err; }
    bool final = stoa_block_last(&view.block) <= x->extent->until;
    if (!final && x->writer && x->extent->rest && stoa_segment_so_far(x->writer)->last <= x->extent->until) { err = seal(x, false); }
    if (!err && !final && !x->extent->open) {
        x->over = true;
        return STOA_E_CANCELLED;
    }
    if (!err && !x->writer) { err = stoa_segment_begin(archive->folder, archive->manifest.shard, archive->level, NULL, &x->writer); }
    if (!err) { err = stoa_segment_add(x->writer, bytes, size_bytes); }
    if (err) { return err; }
    stoa_chain_advance(&x->end, &view.block, &view.hash);
    x->told.position = x->end.last;
    x->told.raw_bytes += size_bytes;
    if (final && stoa_segment_so_far(x->writer)->raw_bytes >= archive->segment_bytes) { err = seal(x, false); }
    return err ? err : stoa_progress_tell(x->progress, &x->told);
}

/* What is left when the log is at its end. */
static stoa_err finish(extension *x)
{
    if (!x->writer) { return STOA_OK; }
    if (x->extent->rest && x->end.last <= x->extent->until) { return seal(x, false); }
    if (x->extent->open) { return seal(x, true); }
    stoa_segment_abandon(x->writer);
    x->writer = NULL;
    return STOA_OK;
}

/* The open segment says already what an extend would only write again. */
static bool nothing_new(const stoa_archive *archive, const stoa_journal_state *log, const stoa_extent *extent)
{
    const stoa_manifest *m = &archive->manifest;
    const stoa_manifest_entry *end = m->count > 0 ? &m->entries[m->count - 1] : NULL;
    if (!end || !end->open || end->segment.last != log->last) { return false; }
    if (extent->rest && extent->until >= log->last) { return false; } /* it is to be sealed */
    return memcmp(&end->segment.hash, &log->hash, sizeof log->hash) == 0;
}

stoa_err stoa_archive_extend(stoa_archive *archive, stoa_journal *journal, const stoa_extent *extent,
                             const stoa_progress_to *progress)
{
    stoa_journal_state log;
    extension x = {.archive = archive, .extent = extent, .progress = progress};
    STOA_ASSERT(archive->lock_fd >= 0);
    journal->ops->state(journal, &log);
    stoa_manifest_end(&archive->manifest, true, &x.end.last, &x.end.epoch, &x.end.hash);
    if (log.last < x.end.last) {
        return STOA_FAIL(STOA_E_FORKED, "the archive of %s ends at %" PRIu64 ", the log at %" PRIu64, archive->manifest.shard,
                         x.end.last, log.last);
    }
    if (log.last == x.end.last) {
        bool same = memcmp(&log.hash, &x.end.hash, sizeof log.hash) == 0;
        return same ? STOA_OK : STOA_FAIL(STOA_E_FORKED, "the archive of %s and the log end with different blocks at %" PRIu64,
                                          archive->manifest.shard, log.last);
    }
    if (nothing_new(archive, &log, extent)) { return STOA_OK; }
    x.told = (stoa_progress){.step = "seal", .shard = archive->manifest.shard, .position = x.end.last, .last = log.last};
    stoa_err err = journal->ops->read_stored(journal, x.end.last + 1, take, &x);
    if (x.over) { err = STOA_OK; }
    if (!err) { err = finish(&x); }
    stoa_segment_abandon(x.writer);
    return err;
}

/* --- tiers */

typedef struct repack {
    stoa_segment_writer *writer;
    const stoa_progress_to *progress;
    stoa_progress told;
} repack;

static stoa_err pack_again(void *context, const void *bytes, size_t size_bytes)
{
    repack *r = context;
    stoa_err err = stoa_segment_add(r->writer, bytes, size_bytes);
    if (err) { return err; }
    r->told.position = stoa_segment_so_far(r->writer)->last;
    r->told.raw_bytes += size_bytes;
    return stoa_progress_tell(r->progress, &r->told);
}

/* The same blocks in the cold folder. */
static stoa_err repack_into(stoa_archive *archive, const stoa_manifest_entry *from, const stoa_progress_to *progress,
                            stoa_segment *out)
{
    repack r = {.progress = progress,
                .told = {.step = "pack", .shard = archive->manifest.shard, .last = from->segment.last}};
    stoa_segment packed;
    stoa_err err = stoa_segment_begin(archive->cold_folder, archive->manifest.shard, archive->cold_level, &from->segment, &r.writer);
    if (err) { return err; }
    err = stoa_archive_read(archive, from->segment.first, from->segment.first, pack_again, &r);
    if (err) {
        stoa_segment_abandon(r.writer);
        return err;
    }
    err = stoa_segment_seal(r.writer, false, &packed);
    if (err) { return err; }
    const char *fault = stoa_segment_difference(&from->segment, &packed, false);
    if (fault) { return STOA_FAIL(STOA_E_CORRUPT, "packed again: %s", fault); }
    *out = packed;
    return STOA_OK;
}

static stoa_err movable(const stoa_archive *archive, uint32_t index, stoa_tier tier)
{
    const stoa_manifest *m = &archive->manifest;
    if (index >= m->count || tier >= STOA_TIERS || tier < m->entries[index].tier || m->entries[index].open) {
        return STOA_FAIL(STOA_E_INVALID, "segment %" PRIu32 " of %s cannot be moved there", index, m->shard);
    }
    return m->hold[0] ? STOA_FAIL(STOA_E_DENIED, "%s is held: %s", m->shard, m->hold) : STOA_OK;
}

stoa_err stoa_archive_move(stoa_archive *archive, uint32_t index, stoa_tier tier, const stoa_progress_to *progress)
{
    stoa_err err = movable(archive, index, tier);
    if (err) { return err; }
    stoa_manifest next;
    stoa_manifest_entry before = archive->manifest.entries[index], after = before;
    bool file = before.tier == STOA_TIER_WARM && tier != STOA_TIER_WARM &&
                (strcmp(archive->folder, archive->cold_folder) != 0 || before.segment.level != archive->cold_level);
    if (file) { err = repack_into(archive, &before, progress, &after.segment); }
    after.tier = tier;
    if (!err) { err = stoa_manifest_copy(&archive->manifest, &next); }
    if (err) { return err; }
    next.entries[index] = after;
    err = stoa_archive_replace(archive, &next);
    if (err) {
        stoa_manifest_deinit(&next);
        return err;
    }
    char name[STOA_SEGMENT_NAME_MAX];
    stoa_segment_name(&before.segment, false, name);
    return file ? stoa_file_remove(archive->folder, name) : STOA_OK;
}

/* --- the end of it */

static stoa_err remove_files(const stoa_archive *archive, const stoa_manifest_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char name[STOA_SEGMENT_NAME_MAX];
        stoa_segment_name(&entries[i].segment, entries[i].open, name);
        stoa_err err = stoa_file_remove(stoa_archive_folder(archive, entries[i].tier), name);
        if (err) { return err; }
    }
    return STOA_OK;
}

/* One at a time, so that a crash leaves one file without a name at most. */
static stoa_err expire_first(stoa_archive *archive)
{
    stoa_manifest next;
    stoa_err err = stoa_manifest_copy(&archive->manifest, &next);
    if (err) { return err; }
    stoa_manifest_entry gone = next.entries[0];
    next.expired = gone.segment.last;
    next.expired_epoch = gone.segment.last_epoch;
    next.expired_hash = gone.segment.hash;
    next.count--;
    memmove(next.entries, next.entries + 1, next.count * sizeof *next.entries);
    err = stoa_archive_replace(archive, &next);
    if (err) {
        stoa_manifest_deinit(&next);
        return err;
    }
    stoa_log(STOA_LOG_INFO, "segment_expired", STOA_KV("shard", gone.segment.shard), STOA_KU("first", gone.segment.first),
             STOA_KU("last", gone.segment.last));
    return remove_files(archive, &gone, 1);
}

/* Something that was read back now stands for what is to go, and the blocks behind it are sealed. */
static stoa_err is_stood_for(stoa_archive *archive, uint64_t last, const stoa_progress_to *progress)
{
    stoa_manifest_snapshot found;
    stoa_archive_window window = {.at_least = last, .at_most = stoa_archive_last(archive, true)};
    stoa_err err = stoa_archive_stand_in(archive, &window, progress, &found);
    return err == STOA_E_NOT_FOUND ? STOA_PASS(STOA_E_GAP, "nothing would stand for what expires up to %" PRIu64, last) : err;
}

stoa_err stoa_archive_expire(stoa_archive *archive, uint32_t count, const stoa_progress_to *progress)
{
    const stoa_manifest *m = &archive->manifest;
    if (m->hold[0]) { return STOA_FAIL(STOA_E_DENIED, "%s is held: %s", m->shard, m->hold); }
    if (count >= m->count) { return STOA_FAIL(STOA_E_INVALID, "%" PRIu32 " of %" PRIu32 " segments", count, m->count); }
    if (count == 0) { return STOA_OK; }
    stoa_err err = is_stood_for(archive, m->entries[count - 1].segment.last, progress);
    while (count-- > 0 && !err) { err = expire_first(archive); }
    return err ? err : stoa_archive_forget_snapshots(archive, archive->manifest.expired, 0);
}

static bool is_text(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) { return false; }
    }
    return stoa_utf8_prefix(text, length) == length;
}

stoa_err stoa_archive_hold(stoa_archive *archive, const char *reason)
{
    stoa_manifest next;
    size_t length = strlen(reason);
    if (length > STOA_HOLD_MAX) { return STOA_FAIL(STOA_E_INVALID, "a reason of %zu bytes", length); }
    if (!is_text(reason, length)) { return STOA_FAIL(STOA_E_INVALID, "a reason that is no UTF-8, or has control characters"); }
    stoa_err err = stoa_manifest_copy(&archive->manifest, &next);
    if (err) { return err; }
    memcpy(next.hold, reason, length + 1);
    err = stoa_archive_replace(archive, &next);
    if (err) { stoa_manifest_deinit(&next); }
    return err;
}
