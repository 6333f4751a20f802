/* accept.c - storage/rocksdb/accept.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/accept.h"

#include <limits.h>
#include <stdio.h>

#include "base/log.h"
#include "storage/rocksdb/internal.h"
#include "storage/rocksdb/tail.h"

/* How far the log holds from the mark on. */
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
    if (!err) {
        loss->kept = tail.at.last;
        loss->hash = tail.at.hash;
    }
    return err;
}

stoa_err stoa_journal_rocksdb_accept(const char *path, bool plan, stoa_journal_loss *out)
{
    char mark_path[PATH_MAX], db_path[PATH_MAX];
    int bytes = snprintf(mark_path, sizeof mark_path, "%s/commit.mark", path);
    (void)snprintf(db_path, sizeof db_path, "%s/db", path);
    if (bytes < 0 || bytes >= (int)sizeof mark_path) { return STOA_FAIL(STOA_E_INVALID, "the journal's path"); }
    stoa_mark mark;
    stoa_err err = stoa_mark_open(&mark, mark_path, false);
    if (err) { return err; }
    stoa_journal_loss loss = {.damaged = mark.damaged, .mark = mark.value.position};
    err = follow(db_path, &mark, &loss);
    if (err || plan || !mark.damaged) {
        stoa_mark_abandon(&mark);
    } else {
        stoa_log(STOA_LOG_WARN, "journal_loss_accepted", STOA_KV("path", path), STOA_KU("mark", loss.mark), STOA_KU("kept", loss.kept));
        stoa_mark_close(&mark); /* writes the older value over the slot that is damaged */
    }
    if (!err) { *out = loss; }
    return err;
}
