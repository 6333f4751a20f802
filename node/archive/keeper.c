/* keeper.c - node/archive/keeper.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/keeper.h"

#include <inttypes.h>

#include "storage/archive/journal.h"
#include "storage/archive/seam.h"
#include "storage/archive/snapshot.h"
#include "storage/snapshot.h"

/* --- sealing */

static stoa_err weigh(void *context, const void *bytes, size_t size_bytes)
{
    stoa_keeper *k = context;
    (void)bytes;
    k->seen_bytes += size_bytes;
    return STOA_OK;
}

static stoa_err note_age(void *context, const stoa_block *block)
{
    *(uint64_t *)context = block->commit_ns;
    return STOA_E_CANCELLED;
}

/* What lies behind the archive's sealed end: how much it is, and since when. Reads only what is new. */
static stoa_err look_behind(stoa_keeper *k, const stoa_journal_state *log)
{
    uint64_t sealed = stoa_archive_last(k->archive, true);
    if (k->sealed != sealed || k->seen < sealed) {
        k->sealed = k->seen = sealed;
        k->seen_bytes = k->oldest_ns = 0;
    }
    if (log->last > sealed && k->oldest_ns == 0) {
        stoa_err err = k->journal->ops->read(k->journal, sealed + 1, note_age, &k->oldest_ns);
        if (err && err != STOA_E_CANCELLED) { return err; }
    }
    if (log->last <= k->seen) { return STOA_OK; }
    stoa_err err = k->journal->ops->read_stored(k->journal, k->seen + 1, weigh, k);
    if (!err) { k->seen = log->last; }
    return err;
}

/* Where nobody waits for the disk (durability memory) nobody moves the mark, either. */
static stoa_err prove_log(stoa_keeper *k, stoa_journal_state *log)
{
    if (log->proven >= log->last) { return STOA_OK; }
    stoa_err err = k->journal->ops->put(k->journal, STOA_SPACE_META, NULL, 0, true);
    if (!err) { k->journal->ops->state(k->journal, log); }
    return err == STOA_E_FULL ? STOA_OK : err; /* the log says so itself */
}

static stoa_err seal(stoa_keeper *k, uint64_t now_ns, const stoa_progress_to *progress)
{
    stoa_journal_state log;
    k->journal->ops->state(k->journal, &log);
    stoa_err err = look_behind(k, &log);
    if (err) { return err; }
    bool full = k->seen_bytes >= k->segment_bytes;
    bool old = k->oldest_ns > 0 && now_ns > k->oldest_ns && now_ns - k->oldest_ns >= k->retention.hot_ns;
    if (!full && !old) { return STOA_OK; }
    err = prove_log(k, &log);
    if (err || log.proven <= stoa_archive_last(k->archive, true)) { return err; }
    err = stoa_archive_extend(k->archive, k->journal, &(const stoa_extent){.until = log.proven, .rest = old}, progress);
    k->sealed = 0; /* look again */
    return err;
}

/* --- what is due */

/* The reader says where a snapshot stood when it was made. The side store may have been found rotten and begun anew since. */
static bool stands_one(stoa_keeper *k, uint64_t below)
{
    stoa_snapshot *snapshot;
    if (stoa_snapshot_open(k->journal, UINT64_MAX, &snapshot)) { return false; }
    bool stands = stoa_snapshot_look(snapshot)->position + 1 >= below;
    stoa_snapshot_close(snapshot);
    return stands;
}

void stoa_keeper_plan(stoa_keeper *k, uint64_t now_ns, const stoa_manifest *manifest, stoa_retained *retained_out,
                      stoa_due *due_out)
{
    stoa_journal_state log;
    stoa_journal_log_state(k->journal, &log);
    *retained_out = (stoa_retained){.manifest = manifest, .now_ns = now_ns, .log_first = log.first, .log_mark = log.proven,
                                    .floor = stoa_readers_floor(k->readers)};
    if (!stoa_readers_find(k->readers, STOA_READER_SNAPSHOT, &retained_out->snapshot)) { retained_out->snapshot = 0; }
    stoa_retention_due(&k->retention, retained_out, due_out);
    if (due_out->purge_below && !stands_one(k, due_out->purge_below)) {
        retained_out->snapshot = 0;
        stoa_retention_due(&k->retention, retained_out, due_out);
    }
    due_out->noop = due_out->noop && k->noop && stands_one(k, log.last + 1);
}

/* The files that hold what goes are sound, on the disk, now; and they hold this log: its chain goes through where they end. */
static stoa_err prove(stoa_keeper *k, const stoa_manifest *m, uint64_t first, uint64_t below, const stoa_progress_to *progress)
{
    const stoa_segment *end = NULL;
    stoa_err err = STOA_OK;
    for (uint32_t i = stoa_manifest_find(m, first); i < m->count && m->entries[i].segment.first < below && !err; i++) {
        err = stoa_archive_prove(k->archive, i, progress);
        if (!err) { end = &m->entries[i].segment; }
    }
    if (!err && (!end || end->last + 1 < below)) { err = STOA_FAIL(STOA_E_GAP, "the archive of %s has not all below %" PRIu64, k->shard, below); }
    if (!err) { err = stoa_seam_passes(k->journal, end->last, &end->hash); }
    return err == STOA_E_FORKED ? STOA_PASS(err, "the archive of %s is of another history: nothing is purged", k->shard) : err;
}

static stoa_err purge(stoa_keeper *k, const stoa_manifest *m, const stoa_retained *retained, uint64_t below,
                      const stoa_progress_to *progress)
{
    stoa_err err = prove(k, m, retained->log_first, below, progress);
    if (!err && stoa_readers_floor(k->readers) + 1 < below) { return STOA_OK; } /* one came meanwhile */
    if (!err && !stands_one(k, below)) { return STOA_OK; } /* it went meanwhile */
    if (!err) { err = k->journal->ops->purge(k->journal, below); }
    if (!err) { k->purged = below - 1; }
    return err;
}

/* The newest one that the journal has, if the archive has none that new: others of its blocks are sealed later than it is made. */
static stoa_err take_snapshot(stoa_keeper *k, const stoa_manifest *m, const stoa_progress_to *progress)
{
    uint64_t last = m->snapshot_count ? m->snapshots[m->snapshot_count - 1].info.position : 0;
    stoa_journal_state log;
    stoa_journal_log_state(k->journal, &log);
    stoa_archive_window window = {.at_least = (last > m->expired ? last : m->expired) + 1, .at_most = log.proven, .newest = true};
    if (m->snapshot_count == 0 && m->expired) { window.at_least = m->expired; }
    stoa_err err = stoa_archive_take_snapshot(k->archive, k->journal, &window, progress, &k->snapshot);
    return err == STOA_E_NOT_FOUND || err == STOA_E_CORRUPT ? STOA_OK : err; /* there will be another */
}

static stoa_err move_on(stoa_keeper *k)
{
    stoa_err err = k->noop(k->noop_context);
    return err == STOA_E_AGAIN ? STOA_OK : err; /* a shard without room goes on by itself */
}

/* again: the last step has done all but the next move. */
static stoa_err act(stoa_keeper *k, uint64_t now_ns, const stoa_manifest *m, bool again, const stoa_progress_to *progress)
{
    stoa_retained retained;
    stoa_due due;
    stoa_keeper_plan(k, now_ns, m, &retained, &due);
    stoa_err err = STOA_OK;
    if (due.purge_below) { err = purge(k, m, &retained, due.purge_below, progress); }
    if (!err && due.move < m->count) {
        err = stoa_archive_move(k->archive, due.move, due.tier, progress);
        if (!err) { k->moved = m->entries[due.move].segment.last; }
        k->more = !err;
    }
    if (!err && due.snapshot && !again) { err = take_snapshot(k, m, progress); }
    bool needed = due.expire > 0 && stoa_readers_floor(k->readers) < m->entries[due.expire - 1].segment.last; /* one came meanwhile */
    if (!err && due.expire > 0 && !needed) {
        err = stoa_archive_expire(k->archive, due.expire, progress);
        if (!err) { k->expired = m->entries[due.expire - 1].segment.last; }
    }
    return !err && due.noop ? move_on(k) : err;
}

stoa_err stoa_keeper_step(stoa_keeper *k, uint64_t now_ns, const stoa_progress_to *progress)
{
    stoa_manifest m;
    bool again = k->more;
    k->steps++;
    k->more = false;
    stoa_err err = seal(k, now_ns, progress);
    if (!err) { err = stoa_archive_look(k->archive, &m); }
    if (!err) {
        err = act(k, now_ns, &m, again, progress);
        stoa_manifest_deinit(&m);
    }
    if (err && err != STOA_E_CANCELLED) { k->errors++; }
    return err;
}
