/* open.c - from a folder to a journal: what rocksdb/journal.h says of opening.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/os.h"
#include "storage/rocksdb/folder.h"
#include "storage/rocksdb/internal.h"
#include "storage/rocksdb/look.h"
#include "storage/rocksdb/tail.h"

static const char format_key[] = "format", format_value[] = "1";

/* What the database says of itself. found: false for one that was just made. Errors: VERSION, CORRUPT, IO. */
static stoa_err read_format(const stoa_engine *engine, bool *found)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    size_t bytes = 0;
    char *text = NULL, *value = rocksdb_get_cf(engine->db, options, engine->families[STOA_FAMILY_META], format_key,
                                               sizeof format_key - 1, &bytes, &text);
    rocksdb_readoptions_destroy(options);
    stoa_err err = stoa_engine_error(text, "read the format");
    *found = value;
    if (value && (bytes != sizeof format_value - 1 || memcmp(value, format_value, bytes) != 0)) {
        err = STOA_FAIL(STOA_E_VERSION, "format %.*s, this build has %s", (int)(bytes < 32 ? bytes : 32), value,
                        format_value);
    }
    rocksdb_free(value);
    return err;
}

static stoa_err write_format(stoa_rocks *j)
{
    char *text = NULL;
    rocksdb_put_cf(j->engine.db, j->synced, j->engine.families[STOA_FAMILY_META], format_key, sizeof format_key - 1,
                   format_value, sizeof format_value - 1, &text);
    return stoa_engine_error(text, "write the format");
}

static void log_cut(const stoa_rocks *j, const stoa_tail *tail, const char *reason)
{
    stoa_log(STOA_LOG_ERROR, "journal_tail_cut", STOA_KV("path", j->path), STOA_KU("kept", tail->at.last),
             STOA_KU("mark", j->mark.value.position), STOA_KU("appended", j->mark.value.appended),
             STOA_KV("reason", reason));
}

/* The mark has lost its newest value: what is broken behind the older one may have been acknowledged. */
static stoa_err refuse(const stoa_rocks *j)
{
    return STOA_PASS(STOA_E_CORRUPT,
                     "the newest slot of %s/commit.mark is rotten, so that synced blocks may be among what is broken behind position "
                     "%" PRIu64 ": restore a backup, or accept the loss (stoad --accept-loss)",
                     j->path, j->mark.value.position);
}

static stoa_err no_space_to_repair(void)
{
    return STOA_FAIL(STOA_E_FULL, "no space to repair the end of the log");
}

/* RocksDB's own log is rotten somewhere. Look, without writing, whether the rot is above the mark. */
static stoa_err look_for_rot(const stoa_rocks *j, stoa_tail *tail_out)
{
    char reason[512];
    (void)snprintf(reason, sizeof reason, "%s", stoa_err_trail());

    stoa_engine peek;
    stoa_err err = stoa_engine_open(&peek, j->db_path, (stoa_engine_mode){.read_only = true, .to_rot = true});
    if (err) { return err; }
    stoa_journal_state anchor;
    err = stoa_rocks_read_anchor(&peek, &anchor);
    if (!err) { err = stoa_tail_follow(&peek, &anchor, &j->mark.value, tail_out); }
    stoa_engine_close(&peek);
    return err ? STOA_PASS(err, "%s", reason) : STOA_OK;
}

/* What is above it is dropped. */
static stoa_err open_up_to_rot(stoa_rocks *j)
{
    char reason[512];
    (void)snprintf(reason, sizeof reason, "%s", stoa_err_trail());
    stoa_tail tail;
    stoa_err err = look_for_rot(j, &tail);
    if (err) { return err; }
    log_cut(j, &tail, reason);
    return stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.to_rot = true, .first = &j->first, .disk = j->disk});
}

/* Or what is left of one: RocksDB would begin a new one beside tables and logs whose CURRENT is gone, and remove them. */
static bool database_exists(const char *db_path)
{
    char current[PATH_MAX + 16];
    (void)snprintf(current, sizeof current, "%s/CURRENT", db_path);
    return access(current, F_OK) == 0 || stoa_folder_has_data(db_path);
}

/* The mark is there before the database is. */
bool stoa_journal_rocksdb_begun(const char *path)
{
    char mark_path[PATH_MAX + 16], db_path[PATH_MAX];
    (void)snprintf(mark_path, sizeof mark_path, "%s/commit.mark", path);
    int bytes = snprintf(db_path, sizeof db_path, "%s/db", path);
    return stoa_mark_is_written(mark_path) || (bytes > 0 && bytes < (int)sizeof db_path && database_exists(db_path));
}

/* Whether a journal is there, by its mark and its database. Errors: CORRUPT (the database is gone). */
static stoa_err look_for_database(const stoa_rocks *j, bool *exists_out)
{
    const stoa_mark_value *mark = &j->mark.value;
    *exists_out = database_exists(j->db_path);
    if (*exists_out || (mark->appended == 0 && !j->mark.damaged)) { return STOA_OK; }
    return STOA_FAIL(STOA_E_CORRUPT, "position 1: the database is gone; the commit mark is at %" PRIu64, mark->position);
}

/* On a full disk a journal can still be read: append then opens it for writing when there is space. Opened for writing, RocksDB makes
 * a table file of what its log holds, and syncs that; opened for reading it does not, and what a process that was killed had not
 * synced is there for as long as the power is. Syncing takes no space, and what is shown then was read from the disk: it stays. Where the
 * log has to be cut there must be space first. */
static stoa_err open_for_reading(stoa_rocks *j, bool whole)
{
    stoa_tail tail;
    stoa_err err = stoa_folder_sync_logs_afresh(j->db_path);
    if (!err) { err = stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.read_only = true, .whole = whole}); }
    j->full = !err;
    if (err != STOA_E_CORRUPT) { return err; }
    if (whole) { return refuse(j); }
    err = look_for_rot(j, &tail);
    return err ? err : no_space_to_repair();
}

static stoa_err open_engine(stoa_rocks *j)
{
    bool exists, whole = j->mark.damaged;
    stoa_err err = look_for_database(j, &exists);
    if (err) { return err; }
    err = stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.create = !exists, .whole = whole, .first = &j->first, .disk = j->disk});
    if (err == STOA_E_CORRUPT && exists) { err = whole ? refuse(j) : open_up_to_rot(j); }
    if (err == STOA_E_FULL && exists) { err = open_for_reading(j, whole); }
    return err || j->full ? err : stoa_folder_sync_parent(j->db_path); /* its name: it may be new since a crash, too */
}

/* How far the log once went is in the mark: say so once when it does not go there any more. */
static stoa_err report_lost(stoa_rocks *j, uint64_t last)
{
    stoa_mark_value value = j->mark.value;
    if (j->looks || value.appended <= last) { return STOA_OK; }
    stoa_log(STOA_LOG_WARN, "journal_tail_lost", STOA_KV("path", j->path), STOA_KU("kept", last),
             STOA_KU("mark", value.position), STOA_KU("appended", value.appended));
    value.appended = last;
    return stoa_mark_write(&j->mark, &value);
}

/* Write down what a new database is, and cut off what is broken above the mark; a look leaves both. */
static stoa_err repair(stoa_rocks *j, bool formatted, const stoa_tail *tail)
{
    if (formatted && !tail->broken) { return STOA_OK; }
    if (j->mark.damaged) { return refuse(j); }
    if (!formatted && (tail->at.last > 0 || tail->broken)) {
        return STOA_FAIL(STOA_E_CORRUPT, "position 1: the database has blocks but no format");
    }
    if (j->looks) { return STOA_OK; }
    if (j->full) { return no_space_to_repair(); }
    if (!formatted) { return write_format(j); }
    log_cut(j, tail, stoa_err_trail());
    return stoa_tail_cut(&j->engine, tail->at.last);
}

/* Find the end of the log in the database that was just opened. */
static stoa_err recover(stoa_rocks *j)
{
    bool formatted;
    stoa_err err = read_format(&j->engine, &formatted);
    stoa_journal_state anchor;
    if (!err) { err = stoa_rocks_read_anchor(&j->engine, &anchor); }
    if (!err) { stoa_rocks_set_anchor(j, &anchor); }
    stoa_tail tail;
    if (!err) { err = stoa_tail_follow(&j->engine, &j->anchor, &j->mark.value, &tail); }
    if (!err) { err = repair(j, formatted, &tail); }
    if (!err) { err = report_lost(j, tail.at.last); }
    if (err) { return err; }

    tail.at.proven = j->mark.value.position > anchor.last ? j->mark.value.position : anchor.last;
    stoa_rocks_set_state(j, &tail.at);
    return STOA_OK;
}

/* The folder, and the mark, whose lock makes the rest ours. */
static stoa_err open_folder(stoa_rocks *j, const char *path, bool look)
{
    char mark_path[PATH_MAX];
    int path_bytes = snprintf(j->path, sizeof j->path, "%s", path);
    int db_bytes = snprintf(j->db_path, sizeof j->db_path, "%s/db", path);
    int side_bytes = snprintf(j->side.path, sizeof j->side.path, "%s/side", path);
    int mark_bytes = snprintf(mark_path, sizeof mark_path, "%s/commit.mark", path);
    if (path_bytes <= 0 || db_bytes < 0 || side_bytes < 0 || mark_bytes < 0 || mark_bytes >= (int)sizeof mark_path) {
        return STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", strlen(path));
    }
    if (look) { return access(path, F_OK) == 0 ? stoa_mark_open(&j->mark, mark_path, STOA_MARK_LOOK) : stoa_os_error("look at", path); }
    stoa_err err = stoa_folder_make(path);
    return err ? err : stoa_mark_open(&j->mark, mark_path, database_exists(j->db_path) ? STOA_MARK_OPEN : STOA_MARK_BEGIN);
}

/* The first write: where it finds no space, the journal is read as one that was opened on a full disk. */
static stoa_err note_open(stoa_rocks *j)
{
    stoa_err err = stoa_rocks_note_open(j);
    if (err == STOA_E_FULL) { err = stoa_rocks_enter_full(j); }
    return err == STOA_E_FULL ? STOA_OK : err;
}

stoa_err stoa_rocks_open(stoa_rocks *j, const char *path)
{
    stoa_err err = open_folder(j, path, false);
    if (!err) { err = open_engine(j); }
    if (!err) { err = recover(j); }
    if (!err) { err = stoa_rocks_look_at_index(j); }
    if (!err && !j->full) { err = note_open(j); }
    if (!err && !j->full) { stoa_engine_fold(&j->engine); }
    stoa_reindexed ignored;
    if (!err && !j->full && atomic_load(&j->index_broken)) { err = stoa_rocks_reindex(&j->base, &ignored); }
    stoa_journal_state ignored_state;
    return err ? err : stoa_rocks_look(j, &ignored_state);
}

/* As an open would: there is no journal yet, or there is one. Nothing of RocksDB is open then where none of it was ever written. */
static stoa_err look_at_engine(stoa_rocks *j, bool *empty_out)
{
    bool exists, whole = j->mark.damaged;
    stoa_err err = look_for_database(j, &exists);
    *empty_out = !exists;
    if (err || !exists) { return err; }
    if (j->mark.lost) { return stoa_mark_lost(j->path); }
    err = stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.read_only = true, .whole = whole});
    *empty_out = err == STOA_E_CORRUPT && !whole && j->mark.value.position == 0 && stoa_engine_unfinished(j->db_path);
    if (err != STOA_E_CORRUPT || *empty_out) { return *empty_out ? STOA_OK : err; }
    return whole ? refuse(j) : stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.read_only = true, .to_rot = true});
}

stoa_err stoa_rocks_open_to_look(stoa_rocks *j, const char *path)
{
    bool empty = false;
    j->looks = j->full = j->side.looks = true;
    stoa_err err = open_folder(j, path, true);
    if (!err) { err = look_at_engine(j, &empty); }
    if (err || empty) { return err; }
    err = recover(j);
    return err ? err : stoa_rocks_look_at_index(j);
}
