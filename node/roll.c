/* roll.c - node/roll.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/roll.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "storage/archive/file.h"
#include "storage/rocksdb/look.h"

enum { ROLL_BYTES_MAX = 65536, MARK_BYTES = sizeof " 01234567" };

static const char file[] = "shards";

static stoa_err load(const char *data, stoa_buf *out)
{
    stoa_err err = stoa_file_get(data, file, ROLL_BYTES_MAX, out);
    return err == STOA_E_NOT_FOUND ? STOA_OK : err;
}

/* The next line; NULL behind the last. It ends with a NUL in place of its newline. */
static char *next(char **at)
{
    char *line = *at;
    if (!line || !*line) { return NULL; }
    char *end = line + strcspn(line, "\n");
    *at = end + (*end == '\n');
    *end = '\0';
    return line;
}

/* What stands behind a name, so that a byte that has changed does not make another one of it. */
static void mark_of(const char *name, char mark[MARK_BYTES])
{
    (void)snprintf(mark, MARK_BYTES, " %08" PRIx32, stoa_crc32c(0, name, strlen(name)));
}

/* Cut the mark off; false: it is not the name's. */
static bool unmark(char *line)
{
    char *space = strrchr(line, ' '), mark[MARK_BYTES], found[MARK_BYTES];
    if (!space || strlen(space) >= MARK_BYTES) { return false; }
    memcpy(found, space, strlen(space) + 1);
    *space = '\0';
    mark_of(line, mark);
    return strcmp(mark, found) == 0;
}

/* Where a part of the journal is left, what is missing is for it to say. An empty folder is where a mount failed. */
static stoa_err check_one(void *context, const char *shard)
{
    const char *data = *(const char *const *)context;
    char path[PATH_MAX];
    stoa_err err = stoa_file_path(data, shard, path);
    if (err || stoa_journal_rocksdb_begun(path)) { return err; }
    return STOA_FAIL(STOA_E_NOT_FOUND, "the journal in %s is gone, and shard %s has been there: bring it back, or restore a backup; to begin it anew, move its archive "
                     "away (archive.path/%s, archive.cold_path/%s) and take its line out of %s/%s", path, shard, shard, shard, data, file);
}

stoa_err stoa_roll_visit(const char *data, stoa_err (*visit)(void *context, const char *shard), void *context)
{
    stoa_buf roll = STOA_BUF_GROWING;
    stoa_err err = load(data, &roll);
    char *at = roll.at, *line;
    for (uint32_t number = 1; !err && (line = next(&at)) != NULL; number++) {
        if (unmark(line)) {
            err = visit(context, line);
        } else if (*line) {
            err = STOA_FAIL(STOA_E_CORRUPT, "line %" PRIu32 " of %s/%s is not as it was written: it names a shard that has been there; "
                            "take it out where all shards' folders are there", number, data, file);
        }
    }
    stoa_buf_deinit(&roll);
    return err;
}

stoa_err stoa_roll_check(const char *data)
{
    return stoa_roll_visit(data, check_one, &data);
}

static bool has(char *at, const char *shard)
{
    for (char *line; (line = next(&at)) != NULL;) {
        if (unmark(line) && strcmp(line, shard) == 0) { return true; }
    }
    return false;
}

stoa_err stoa_roll_add(const char *data, const char *shard)
{
    stoa_buf roll = STOA_BUF_GROWING, names = STOA_BUF_GROWING;
    stoa_err err = load(data, &roll);
    if (roll.used_bytes) { stoa_buf_put(&names, roll.at, roll.used_bytes); }
    if (!err && !has(roll.at, shard)) {
        char mark[MARK_BYTES];
        mark_of(shard, mark);
        stoa_buf_printf(&names, "%s%s%s\n", names.used_bytes && names.at[names.used_bytes - 1] != '\n' ? "\n" : "", shard, mark);
        err = names.cut ? STOA_FAIL(STOA_E_NOMEM, "%s", file) : stoa_file_put(data, file, names.at, names.used_bytes);
    }
    stoa_buf_deinit(&roll);
    stoa_buf_deinit(&names);
    return err;
}
