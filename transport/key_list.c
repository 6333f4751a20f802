/* key_list.c - the list's file: read, written, asked. The changes: key_change.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/key_list.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "transport/key_list_inside.h"
#include "transport/z85.h"

enum { ROWS = STOA_KEY_ROWS_MAX + STOA_KEY_ROWS_KEPT, LINE_BYTES = 256, MODE_OTHERS_WRITE = 022, MODE_LIST = 0644 };

static const char *const standings[] = {"allowed", "revoked", "next"};

const char *stoa_key_standing_name(stoa_key_standing standing)
{
    return standings[standing];
}

bool stoa_key_name_good(const char *name)
{
    size_t length = strnlen(name, STOA_KEY_NAME_MAX + 1);
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_') { return false; }
    }
    return length > 0 && length <= STOA_KEY_NAME_MAX && (unsigned char)name[0] != '-';
}

void stoa_key_print(const char *key, char text[STOA_KEY_PRINT_BYTES])
{
    uint8_t bytes[STOA_Z85_KEY_BYTES];
    stoa_hash256 hash;
    text[0] = '\0';
    if (!stoa_z85_decode(key, bytes)) { return; }
    stoa_hash256_parts(&hash, bytes, sizeof bytes, NULL, 0);
    for (unsigned i = 0; i < 5; i++) {
        (void)snprintf(text + i * 5, STOA_KEY_PRINT_BYTES - i * 5, "%02x%02x%s", hash.at[i * 2], hash.at[i * 2 + 1], i < 4 ? "-" : "");
    }
}

/* --- lines */

static bool read_time(const char *text, uint64_t *out)
{
    struct tm parts = {0};
    if (strcmp(text, "-") == 0) {
        *out = 0;
        return true;
    }
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    time_t seconds = end && !*end ? timegm(&parts) : -1;
    if (seconds <= 0 || (uint64_t)seconds > UINT64_MAX / STOA_S(1)) { return false; }
    *out = STOA_S(seconds);
    return true;
}

static void write_time(uint64_t wall_ns, char text[STOA_TIME_TEXT_MAX])
{
    struct tm parts;
    time_t seconds = (time_t)(wall_ns / STOA_S(1));
    if (!wall_ns || !gmtime_r(&seconds, &parts) || !strftime(text, STOA_TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts)) {
        memcpy(text, "-", 2);
    }
}

static bool read_standing(const char *text, stoa_key_standing *out)
{
    for (unsigned i = 0; i < sizeof standings / sizeof standings[0]; i++) {
        if (strcmp(text, standings[i]) == 0) {
            *out = (stoa_key_standing)i;
            return true;
        }
    }
    return false;
}

static bool key_good(const char *text)
{
    uint8_t bytes[STOA_Z85_KEY_BYTES];
    return stoa_z85_decode(text, bytes);
}

/* A key, or - for the name itself; who has no key is revoked, next is the node's own only. */
static bool read_row(char *line, stoa_key_row *out)
{
    char *words[6] = {0}, *rest = NULL;
    unsigned count = 0;
    for (char *word = strtok_r(line, " \n", &rest); word && count < 6; word = strtok_r(NULL, " \n", &rest)) { words[count++] = word; }
    if (count != 5 || !stoa_key_name_good(words[0]) || !read_standing(words[2], &out->standing)) { return false; }
    bool bare = strcmp(words[1], "-") == 0, next = out->standing == STOA_KEY_NEXT;
    if (bare ? out->standing != STOA_KEY_REVOKED : !key_good(words[1])) { return false; }
    if (next != (strcmp(words[0], STOA_KEY_SERVER) == 0)) { return false; }
    (void)snprintf(out->name, sizeof out->name, "%s", words[0]);
    (void)snprintf(out->key, sizeof out->key, "%s", bare ? "" : words[1]);
    return read_time(words[3], &out->since_ns) && read_time(words[4], &out->until_ns);
}

static bool is_twice(const stoa_key_list *list, const stoa_key_row *row)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const stoa_key_row *other = &list->rows[i];
        if (row->key[0] ? strcmp(other->key, row->key) == 0 : !other->key[0] && strcmp(other->name, row->name) == 0) { return true; }
    }
    return false;
}

static stoa_err read_lines(FILE *file, const char *path, stoa_key_list *list)
{
    char line[LINE_BYTES];
    for (unsigned number = 1; fgets(line, sizeof line, file); number++) {
        stoa_key_row row;
        if (line[strspn(line, " \t\r\n")] == '\0' || strncmp(line, "# ", 2) == 0) { continue; }
        if (!strchr(line, '\n') || !read_row(line, &row)) { return STOA_FAIL(STOA_E_MALFORMED, "%s:%u: not NAME KEY STANDING SINCE UNTIL", path, number); }
        if (is_twice(list, &row)) { return STOA_FAIL(STOA_E_MALFORMED, "%s:%u: there is a line of this key already", path, number); }
        if (list->count == ROWS) { return STOA_FAIL(STOA_E_FULL, "%s: more than %d keys", path, ROWS); }
        list->rows[list->count++] = row;
    }
    return ferror(file) ? STOA_FAIL(STOA_E_IO, "%s: %s", path, strerror(errno)) : STOA_OK;
}

static stoa_err read_file(const char *path, stoa_key_list *list)
{
    struct stat found;
    FILE *file = fopen(path, "re");
    if (!file && errno == ENOENT) { return STOA_OK; }
    if (!file) { return STOA_FAIL(errno == EACCES ? STOA_E_DENIED : STOA_E_IO, "%s: %s", path, strerror(errno)); }
    stoa_err err = STOA_OK;
    if (fstat(fileno(file), &found) || !S_ISREG(found.st_mode)) {
        err = STOA_FAIL(STOA_E_INVALID, "%s is not a file", path);
    } else if (found.st_mode & MODE_OTHERS_WRITE) {
        err = STOA_FAIL(STOA_E_DENIED, "%s may be written by others (mode %03o): chmod go-w", path, (unsigned)found.st_mode & 0777U);
    } else {
        err = read_lines(file, path, list);
    }
    (void)fclose(file);
    return err;
}

stoa_err stoa_key_list_read(const char *folder, stoa_key_list *out)
{
    char path[PATH_MAX];
    stoa_key_list list = {.rows = calloc(ROWS, sizeof *list.rows)};
    if (!list.rows) { return STOA_FAIL(STOA_E_NOMEM, "list of keys"); }
    stoa_err err = stoa_key_path(folder, "allowed", "", path);
    if (!err) { err = read_file(path, &list); }
    if (err) {
        free(list.rows);
        return err;
    }
    *out = list;
    return STOA_OK;
}

void stoa_key_list_free(stoa_key_list *list)
{
    free(list->rows);
    *list = (stoa_key_list){0};
}

static void write_rows(FILE *file, const stoa_key_list *list)
{
    (void)fputs("# Whose keys may connect; changed with `stoa key`. NAME KEY STANDING SINCE UNTIL\n", file);
    for (uint32_t i = 0; i < list->count; i++) {
        const stoa_key_row *row = &list->rows[i];
        char since[STOA_TIME_TEXT_MAX], until[STOA_TIME_TEXT_MAX];
        write_time(row->since_ns, since);
        write_time(row->until_ns, until);
        (void)fprintf(file, "%s %s %s %s %s\n", row->name, row->key[0] ? row->key : "-", standings[row->standing], since, until);
    }
}

stoa_err stoa_key_list_write(const char *folder, const stoa_key_list *list)
{
    char path[PATH_MAX], draft[PATH_MAX];
    stoa_err err = stoa_key_path(folder, "allowed", "", path);
    if (!err) { err = stoa_key_path(folder, "allowed", ".XXXXXX", draft); }
    if (err) { return err; }
    int fd = mkostemp(draft, O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file) {
        if (fd >= 0) { (void)close(fd); }
        return STOA_FAIL(errno == EACCES ? STOA_E_DENIED : STOA_E_IO, "%s: %s", path, strerror(errno));
    }
    write_rows(file, list);
    bool written = fflush(file) == 0 && fchmod(fd, MODE_LIST) == 0 && fsync(fd) == 0;
    if (!written || rename(draft, path)) {
        err = STOA_FAIL(errno == ENOSPC ? STOA_E_FULL : STOA_E_IO, "%s: %s", path, strerror(errno));
        (void)unlink(draft);
    }
    (void)fclose(file);
    return err ? err : stoa_key_folder_sync(folder);
}

/* --- what it says */

const stoa_key_row *stoa_key_list_of(const stoa_key_list *list, const char *key)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->rows[i].key[0] && strcmp(list->rows[i].key, key) == 0) { return &list->rows[i]; }
    }
    return NULL;
}

bool stoa_key_list_knows(const stoa_key_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (strcmp(list->rows[i].name, name) == 0) { return true; }
    }
    return false;
}

static bool name_revoked(const stoa_key_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (!list->rows[i].key[0] && strcmp(list->rows[i].name, name) == 0) { return true; }
    }
    return false;
}

bool stoa_key_row_lets(const stoa_key_row *row, const char *name, uint64_t now_ns)
{
    bool lets = row->standing == STOA_KEY_ALLOWED && (!row->until_ns || row->until_ns > now_ns);
    return lets && strcmp(row->name, name) == 0;
}

bool stoa_key_file_lets(const stoa_key_list *list, const char *name, const char *file_key)
{
    return !stoa_key_list_of(list, file_key) && !name_revoked(list, name);
}

uint32_t stoa_key_list_keys(const stoa_key_list *list, const char *name, const char *file_key, uint64_t now_ns,
                            char keys_out[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES])
{
    uint32_t count = 0;
    if (file_key && stoa_key_file_lets(list, name, file_key)) { memcpy(keys_out[count++], file_key, STOA_KEY_TEXT_BYTES); }
    for (uint32_t i = 0; i < list->count && count < STOA_KEYS_PER_NAME; i++) {
        const stoa_key_row *row = &list->rows[i];
        if (stoa_key_row_lets(row, name, now_ns)) { memcpy(keys_out[count++], row->key, STOA_KEY_TEXT_BYTES); }
    }
    return count;
}
