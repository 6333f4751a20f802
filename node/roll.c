/* roll.c - node/roll.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/roll.h"

#include <string.h>
#include <unistd.h>

#include "storage/archive/file.h"

enum { ROLL_BYTES_MAX = 65536 };

static const char file[] = "shards";

static stoa_err load(const char *data, stoa_buf *out)
{
    stoa_err err = stoa_file_get(data, file, ROLL_BYTES_MAX, out);
    return err == STOA_E_NOT_FOUND ? STOA_OK : err;
}

/* The next name; NULL behind the last. It ends with a NUL in place of its newline. */
static char *next(char **at)
{
    char *name = *at;
    if (!name || !*name) { return NULL; }
    char *end = name + strcspn(name, "\n");
    *at = end + (*end == '\n');
    *end = '\0';
    return name;
}

static stoa_err check_one(const char *data, const char *shard)
{
    char path[PATH_MAX];
    stoa_err err = stoa_file_path(data, shard, path);
    if (err || access(path, F_OK) == 0) { return err; }
    return STOA_FAIL(STOA_E_NOT_FOUND, "%s is gone, and shard %s has been there: bring it back, or restore a backup; to begin it anew, take its "
                     "line out of %s/%s", path, shard, data, file);
}

stoa_err stoa_roll_check(const char *data)
{
    stoa_buf roll = STOA_BUF_GROWING;
    stoa_err err = load(data, &roll);
    char *at = roll.at;
    for (const char *name; !err && (name = next(&at)) != NULL;) {
        if (*name) { err = check_one(data, name); }
    }
    stoa_buf_deinit(&roll);
    return err;
}

static bool has(char *at, const char *shard)
{
    for (const char *name; (name = next(&at)) != NULL;) {
        if (strcmp(name, shard) == 0) { return true; }
    }
    return false;
}

stoa_err stoa_roll_add(const char *data, const char *shard)
{
    stoa_buf roll = STOA_BUF_GROWING, names = STOA_BUF_GROWING;
    stoa_err err = load(data, &roll);
    if (roll.used_bytes) { stoa_buf_put(&names, roll.at, roll.used_bytes); }
    if (!err && !has(roll.at, shard)) {
        stoa_buf_printf(&names, "%s%s\n", names.used_bytes && names.at[names.used_bytes - 1] != '\n' ? "\n" : "", shard);
        err = names.cut ? STOA_FAIL(STOA_E_NOMEM, "%s", file) : stoa_file_put(data, file, names.at, names.used_bytes);
    }
    stoa_buf_deinit(&roll);
    stoa_buf_deinit(&names);
    return err;
}
