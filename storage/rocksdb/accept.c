/* accept.c - storage/rocksdb/accept.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/accept.h"

#include <limits.h>
#include <stdio.h>

#include "base/log.h"
#include "storage/rocksdb/folder.h"
#include "storage/rocksdb/internal.h"
#include "storage/rocksdb/shim.h"
#include "storage/rocksdb/tail.h"

/* How far the log holds from the mark on; from its beginning, where that is lost. */
static stoa_err follow(const char *db_path, const stoa_mark *mark, stoa_journal_loss *loss)
{
    stoa_engine engine;
    stoa_err err = stoa_engine_open(&engine, db_path, (stoa_engine_mode){.read_only = true, .to_rot = true});
    if (err) { return err; }
    stoa_journal_state anchor;
    stoa_tail tail;
    err = stoa_rocks_read_anchor(&engine, &anchor);
    if (!err) { err = stoa_tail_follow(&engine, &anchor, &mark->value, &tail); }
    stoa_engine_close(&engine);
    if (err) { return err; }
    loss->first = anchor.last + 1;
    loss->kept = tail.at.last;
    loss->hash = tail.at.hash;
    loss->broken = tail.broken;
    return STOA_OK;
}

/* A process that died need not have synced the log, or may have failed to, which nobody is told again. What RocksDB's log holds becomes
 * table files as it is opened for writing, and those are synced. */
static stoa_err store(const char *db_path)
{
    stoa_rocksdb_disk *disk = stoa_rocksdb_disk_new();
    stoa_engine engine = {0};
    stoa_err err = stoa_engine_open(&engine, db_path, (stoa_engine_mode){.to_rot = true, .disk = disk});
    stoa_engine_close(&engine);
    if (!err && stoa_rocksdb_disk_failed(disk)) { err = STOA_FAIL(STOA_E_IO, "a sync of a file in %s failed", db_path); }
    stoa_rocksdb_disk_free(disk);
    return err;
}

/* The older value over the slot that is damaged, or a new one into both. Nobody else writes one that is lost. */
static stoa_err write_mark(const char *path, const stoa_journal_loss *loss)
{
    stoa_mark mark;
    stoa_mark_value value = {.position = loss->kept, .appended = loss->kept, .hash = loss->hash};
    stoa_err err = stoa_mark_open(&mark, path, STOA_MARK_RENEW);
    if (err) { return err; }
    if (loss->lost) { err = stoa_mark_write(&mark, &value); }
    if (!err) { err = stoa_mark_settle(&mark); }
    if (!err && loss->lost) { err = stoa_folder_sync_parent(path); }
    stoa_mark_abandon(&mark);
    return err;
}

stoa_err stoa_journal_rocksdb_accept(const char *path, bool plan, stoa_journal_loss *out)
{
    char mark_path[PATH_MAX], db_path[PATH_MAX];
    int bytes = snprintf(mark_path, sizeof mark_path, "%s/commit.mark", path);
    (void)snprintf(db_path, sizeof db_path, "%s/db", path);
    if (bytes < 0 || bytes >= (int)sizeof mark_path) { return STOA_FAIL(STOA_E_INVALID, "the journal's path"); }
    if (stoa_rocksdb_is_open(db_path)) { return STOA_FAIL(STOA_E_DENIED, "%s: the journal is open elsewhere", path); } /* a mark that is gone says nothing */
    stoa_mark mark;
    stoa_err err = stoa_mark_open(&mark, mark_path, STOA_MARK_LOOK);
    if (err) { return err; }
    stoa_journal_loss loss = {.damaged = mark.damaged && !mark.lost, .lost = mark.lost, .mark = mark.value.position};
    err = follow(db_path, &mark, &loss);
    stoa_mark_abandon(&mark);
    if (!err && !plan && (loss.damaged || loss.lost)) {
        stoa_log(STOA_LOG_WARN, "journal_loss_accepted", STOA_KV("path", path), STOA_KU("mark", loss.mark), STOA_KU("kept", loss.kept));
        if (loss.lost) { err = store(db_path); } /* the mark vouches for it */
        if (!err) { err = write_mark(mark_path, &loss); }
    }
    if (!err) { *out = loss; }
    return err;
}
