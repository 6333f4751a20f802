/* full.c - a full disk: the database is closed and opened for reading, because RocksDB takes no write after a failed one;
 * each later write of the log tries to open it for writing again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "storage/rocksdb/folder.h"
#include "storage/rocksdb/internal.h"
#include "storage/rocksdb/tail.h"

static stoa_err reopen_for_reading(stoa_rocks *j)
{
    stoa_engine_close(&j->engine);
    stoa_err err = stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.read_only = true});
    return err ? err : stoa_rocks_look_at_index(j); /* a reindex that found no space may have begun or not */
}

stoa_err stoa_rocks_enter_full(stoa_rocks *j)
{
    char reason[512];
    (void)snprintf(reason, sizeof reason, "%s", stoa_err_trail());
    stoa_log(STOA_LOG_WARN, "journal_full", STOA_KV("path", j->path), STOA_KU("last", j->state.last),
             STOA_KV("reason", reason));
    stoa_rocks_begin_swap(j);
    j->full = true;
    stoa_err err = reopen_for_reading(j);
    if (err) { (void)stoa_rocks_fail(j, err); } /* before a reader can look at a closed database */
    stoa_rocks_end_swap(j);
    return err ? err : STOA_FAIL(STOA_E_FULL, "%s", reason);
}

/* Nothing but what the writer knows to be there may come back. The refused block can: its bytes may be on the disk. */
static stoa_err recover_same(stoa_rocks *j)
{
    stoa_tail tail;
    stoa_err err = stoa_tail_follow(&j->engine, &j->anchor, &j->mark.value, &tail);
    if (!err && tail.at.last > j->state.last) {
        err = stoa_tail_cut(&j->engine, j->state.last);
        if (!err) { err = stoa_tail_follow(&j->engine, &j->anchor, &j->mark.value, &tail); }
    }
    if (err) { return err; }
    if (tail.broken || tail.at.last != j->state.last ||
        memcmp(&tail.at.hash, &j->state.hash, sizeof tail.at.hash) != 0) {
        return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": the log changed while the disk was full",
                         tail.at.last + 1);
    }
    return STOA_OK;
}

static stoa_err reopen_for_writing(stoa_rocks *j)
{
    stoa_engine_close(&j->engine);
    stoa_err err = stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.first = &j->first, .disk = j->disk});
    if (!err) { err = recover_same(j); }
    if (!err) { err = stoa_rocks_look_at_index(j); }
    if (!err) { err = stoa_rocks_note_open(j); }
    stoa_journal_state ignored;
    if (!err) { err = stoa_rocks_look(j, &ignored); }
    if (err != STOA_E_FULL) { return err; }
    stoa_err reading = reopen_for_reading(j);
    return reading ? reading : STOA_FAIL(STOA_E_FULL, "the disk of %s is still full", j->path);
}

static stoa_err leave_full(stoa_rocks *j)
{
    if (!stoa_folder_has_space(j->path)) { return STOA_FAIL(STOA_E_FULL, "the disk of %s is full", j->path); }
    stoa_rocks_begin_swap(j);
    stoa_err err = reopen_for_writing(j);
    if (err && err != STOA_E_FULL) { (void)stoa_rocks_fail(j, err); }
    j->full = err != STOA_OK;
    stoa_rocks_end_swap(j);
    if (err) { return err; }
    stoa_log(STOA_LOG_INFO, "journal_writes_again", STOA_KV("path", j->path), STOA_KU("last", j->state.last));
    return STOA_OK;
}

stoa_err stoa_rocks_ready_to_write(stoa_rocks *j)
{
    stoa_journal_state state;
    stoa_err err = stoa_rocks_look(j, &state);
    if (!err && j->looks) { err = STOA_FAIL(STOA_E_DENIED, "%s is only looked at", j->path); }
    return err || !j->full ? err : leave_full(j);
}
