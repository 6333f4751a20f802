/* config.c - settings from all sources in the order of base/config.h, and every fault on the way.
 *
 * Happy path: stoa_config_load asserts the table, fills the defaults, reads the file (config_file.c), then
 * the environment, then the overrides, each value through stoa_config_scope_set, and tells what is still
 * missing. A fault never stops it, but for a file that cannot be read. Whatever is wrong with a value, its
 * row counts as given, so that one mistake is told once.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config_internal.h"

enum {
    FILE_BYTES_MAX = 1 << 20,
    FAULTS_MAX = 100,      /* listed; the rest is counted */
    TEXT_BYTES_MAX = 1024, /* of a fault, behind its key; longer ones are cut */
    QUOTE_BYTES_MAX = 48,  /* of a value, in a fault */
};

/* --- faults */

/* text with control characters as '?': parts of all of it come from outside. */
static void put_printable(stoa_buf *out, const char *text)
{
    for (; *text; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        stoa_buf_put(out, control ? "?" : text, 1);
    }
}

void stoa_config_fault(stoa_config_faults *faults, stoa_config_place place, const char *key, const char *fmt,
                       ...)
{
    char text_at[TEXT_BYTES_MAX];
    stoa_buf text = STOA_BUF_FIXED(text_at);
    va_list args;
    if (faults->count++ >= FAULTS_MAX) { return; }
    va_start(args, fmt);
    stoa_buf_vprintf(&text, fmt, args);
    va_end(args);
    put_printable(faults->out, place.name);
    if (place.line) { stoa_buf_printf(faults->out, ":%u", place.line); }
    stoa_buf_puts(faults->out, ": ");
    if (key) {
        put_printable(faults->out, key);
        stoa_buf_puts(faults->out, ": ");
    }
    put_printable(faults->out, text.at);
    stoa_buf_puts(faults->out, "\n");
}

/* --- where keys stand: lines "KEY NAME:LINE", the last one of a key counts */

void stoa_config_note(stoa_config_faults *faults, stoa_config_place place, const char *prefix, const char *key)
{
    if (!faults->places) { return; }
    stoa_buf_printf(faults->places, "%s%s ", prefix, key);
    put_printable(faults->places, place.name);
    if (place.line) { stoa_buf_printf(faults->places, ":%u", place.line); }
    stoa_buf_puts(faults->places, "\n");
}

/* The last line of a key, behind the key; NULL: there is none. */
static const char *place_of(const char *places, const char *key, size_t key_bytes, size_t *size_out)
{
    const char *found = NULL;
    for (const char *line = places; *line; line += strcspn(line, "\n") + 1) {
        if (strncmp(line, key, key_bytes) != 0 || line[key_bytes] != ' ') { continue; }
        found = line + key_bytes + 1;
        *size_out = strcspn(found, "\n");
    }
    return found;
}

void stoa_config_vtell(const stoa_buf *places, stoa_buf *faults, const char *key, const char *cause, const char *fmt, va_list args)
{
    char text_at[TEXT_BYTES_MAX];
    stoa_buf text = STOA_BUF_FIXED(text_at);
    const char *all = places && places->used_bytes ? places->at : "", *group = strrchr(key, '.');
    size_t size_bytes = 0;
    const char *place = place_of(all, key, strlen(key), &size_bytes);
    if (!place && cause) { place = place_of(all, cause, strlen(cause), &size_bytes); }
    if (!place && group) { place = place_of(all, key, (size_t)(group - key), &size_bytes); }
    stoa_buf_vprintf(&text, fmt, args);
    if (place) { stoa_buf_printf(faults, "%.*s: ", (int)size_bytes, place); }
    stoa_buf_printf(faults, "%s: ", key);
    put_printable(faults, text.at);
    stoa_buf_puts(faults, "\n");
}

/* --- tables */

bool stoa_config_in_section(const char *path, const char *section, size_t section_bytes)
{
    return strncmp(path, section, section_bytes) == 0 && path[section_bytes] == '.';
}

static bool path_is_valid(const char *path)
{
    size_t size_bytes = strlen(path);
    return size_bytes && size_bytes < STOA_CONFIG_PATH_MAX &&
           strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789_.") == size_bytes && path[0] != '.' &&
           path[size_bytes - 1] != '.' && !strstr(path, "..");
}

/* The rows of each section around the index-th row stand together. */
static bool sections_are_whole(const stoa_config_row *table, unsigned index)
{
    const char *path = table[index].path;
    for (const char *dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.')) {
        size_t section_bytes = (size_t)(dot - path);
        if (!index || stoa_config_in_section(table[index - 1].path, path, section_bytes)) { continue; }
        for (unsigned i = 0; i < index; i++) {
            if (stoa_config_in_section(table[i].path, path, section_bytes)) { return false; }
        }
    }
    return true;
}

static void check_table(const stoa_config_row *table);

static void check_row(const stoa_config_row *row)
{
    STOA_ASSERT(row->doc && !strchr(row->doc, '\n') && path_is_valid(row->path));
    STOA_ASSERT(row->min <= row->max || row->cls == STOA_CONFIG_BOOL || row->cls == STOA_CONFIG_CHOICE);
    STOA_ASSERT(row->min >= 0 || row->cls == STOA_CONFIG_INT || row->cls == STOA_CONFIG_DECIMAL);
    STOA_ASSERT(row->choices || row->cls != STOA_CONFIG_CHOICE);
    if (row->cls == STOA_CONFIG_GROUPS) {
        STOA_ASSERT(row->group && row->group_bytes && row->max > 0 && row->max < INT32_MAX && !row->fallback);
        check_table(row->group);
    }
}

/* What base/config.h asks of a table; that defaults parse is asserted where they are set. */
static void check_table(const stoa_config_row *table)
{
    for (unsigned i = 0; table[i].path; i++) {
        STOA_ASSERT(i < STOA_CONFIG_ROWS_MAX);
        check_row(&table[i]);
        STOA_ASSERT(sections_are_whole(table, i));
        for (unsigned k = 0; k < i; k++) {
            STOA_ASSERT(strcmp(table[i].path, table[k].path) != 0);
            STOA_ASSERT(!stoa_config_in_section(table[i].path, table[k].path, strlen(table[k].path)));
            STOA_ASSERT(!stoa_config_in_section(table[k].path, table[i].path, strlen(table[i].path)));
        }
    }
}

/* --- one table being filled */

void stoa_config_scope_begin(stoa_config_scope *scope, const stoa_config_row *table, void *settings,
                             const char *name, stoa_config_place place)
{
    memset(scope, 0, sizeof *scope);
    scope->table = table;
    scope->settings = settings;
    scope->place = place;
    (void)snprintf(scope->prefix, sizeof scope->prefix, "%s%s", name, *name ? "." : "");
    for (const stoa_config_row *row = table; row->path; row++) {
        const char *why = NULL;
        memset(scope->settings + row->offset, 0, stoa_config_value_bytes(row));
        if (row->cls == STOA_CONFIG_GROUPS) {
            memset(scope->settings + row->count_offset, 0, sizeof(uint32_t));
        } else if (row->fallback) {
            STOA_ASSERT(!stoa_config_parse_value(row, row->fallback, scope->settings + row->offset, &why));
        }
    }
}

/* scope's full path of key, as faults show it. */
static const char *full_key(const stoa_config_scope *scope, const char *key, char *text, size_t text_bytes)
{
    int size = snprintf(text, text_bytes, "%s%s", scope->prefix, key);
    return size > 0 ? text : key;
}

void stoa_config_scope_set(stoa_config_scope *scope, unsigned index, const char *text, size_t size_bytes,
                           stoa_config_place place, stoa_config_faults *faults)
{
    const stoa_config_row *row = &scope->table[index];
    const char *why = "";
    char key[2 * STOA_CONFIG_PATH_MAX], quoted_at[8 * QUOTE_BYTES_MAX], expected_at[512];
    stoa_buf quoted = STOA_BUF_FIXED(quoted_at), expected = STOA_BUF_FIXED(expected_at);
    scope->rows[index].given = true;
    stoa_config_note(faults, place, scope->prefix, row->path);
    if (!stoa_config_parse_bytes(row, text, size_bytes, scope->settings + row->offset, &why)) { return; }

    bool whole = size_bytes <= QUOTE_BYTES_MAX;
    stoa_buf_json_string(&quoted, text, whole ? size_bytes : QUOTE_BYTES_MAX);
    stoa_config_print_expected(row, &expected);
    stoa_config_fault(faults, place, full_key(scope, row->path, key, sizeof key), "%s%s %s; expected %s",
                      quoted.at, whole ? "" : "...", why, expected.at);
}

void stoa_config_scope_end(const stoa_config_scope *scope, stoa_config_faults *faults)
{
    for (unsigned i = 0; scope->table[i].path; i++) {
        const stoa_config_row *row = &scope->table[i];
        stoa_config_place place = scope->place;
        char key[2 * STOA_CONFIG_PATH_MAX], expected_at[512];
        stoa_buf expected = STOA_BUF_FIXED(expected_at);
        bool required = row->cls == STOA_CONFIG_GROUPS ? row->min > 0 : !row->fallback;
        if (!required || scope->rows[i].given) { continue; }
        if (scope->rows[i].section_line) { place.line = scope->rows[i].section_line; }
        stoa_config_print_expected(row, &expected);
        stoa_config_fault(faults, place, full_key(scope, row->path, key, sizeof key),
                          "is required and missing; expected %s", expected.at);
    }
}

/* --- the nearest known key */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many single letters to insert, drop or replace, or neighbours to swap, between a and b (optimal string
 * alignment). b is a row's path or the start of one. */
static unsigned distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    unsigned lines[3][STOA_CONFIG_PATH_MAX] = {0}; /* of the matrix; line i in lines[i % 3] */
    for (unsigned k = 0; k <= b_bytes; k++) {
        lines[0][k] = k;
    }
    for (unsigned i = 1; i <= a_bytes; i++) {
        unsigned *line = lines[i % 3], *above = lines[(i + 2) % 3], *above2 = lines[(i + 1) % 3];
        line[0] = i;
        for (unsigned k = 1; k <= b_bytes; k++) {
            line[k] = least(above[k - 1] + (a[i - 1] != b[k - 1]), 1 + least(above[k], line[k - 1]));
            bool swapped = i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1];
            if (swapped) { line[k] = least(line[k], above2[k - 2] + 1); }
        }
    }
    return lines[a_bytes % 3][b_bytes];
}

typedef struct nearest {
    const char *path; /* of a row; its first path_bytes are the suggestion */
    size_t path_bytes;
    unsigned distance;
} nearest;

/* Compare path with the row's key and with each section around it. */
static void compare_row(const stoa_config_row *row, const char *path, nearest *best)
{
    size_t path_bytes = strlen(path), row_bytes = strlen(row->path);
    for (size_t end = 1; end <= row_bytes; end++) {
        if (row->path[end] != '.' && row->path[end] != '\0') { continue; }
        unsigned d = distance(path, path_bytes, row->path, end);
        if (d < best->distance) { *best = (nearest){row->path, end, d}; }
    }
}

/* A row whose last name is path's last name, in whatever section: a key in the wrong place. */
static const char *elsewhere(const stoa_config_row *table, const char *path)
{
    const char *dot = strrchr(path, '.'), *name = dot ? dot + 1 : path;
    for (const stoa_config_row *row = table; row->path; row++) {
        const char *row_dot = strrchr(row->path, '.');
        if (row_dot && strcmp(row_dot + 1, name) == 0) { return row->path; }
    }
    return NULL;
}

void stoa_config_scope_unknown(const stoa_config_scope *scope, const char *path, stoa_config_place place,
                               stoa_config_faults *faults)
{
    char key[3 * STOA_CONFIG_PATH_MAX];
    const char *dot = strrchr(path, '.'), *moved = elsewhere(scope->table, path);
    size_t path_bytes = strlen(path), name_bytes = dot ? path_bytes - (size_t)(dot + 1 - path) : path_bytes;
    nearest best = {.distance = 2 + (unsigned)name_bytes / 4}; /* farther away is no help */
    (void)full_key(scope, path, key, sizeof key);
    for (const stoa_config_row *row = scope->table; row->path && path_bytes < STOA_CONFIG_PATH_MAX; row++) {
        compare_row(row, path, &best);
    }
    if (best.path) {
        stoa_config_fault(faults, place, key, "no such key; did you mean %s%.*s?", scope->prefix,
                          (int)best.path_bytes, best.path);
    } else if (moved) {
        stoa_config_fault(faults, place, key, "no such key here; did you mean %s%s?", scope->prefix, moved);
    } else {
        stoa_config_fault(faults, place, key, "no such key");
    }
}

/* --- sources */

/* The whole file, at most FILE_BYTES_MAX + 1 bytes of it; to be freed. */
static stoa_err read_file(const char *path, char **text_out, size_t *size_out)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return STOA_FAIL(errno == ENOENT ? STOA_E_NOT_FOUND : STOA_E_IO, "%s: %s", path, strerror(errno));
    }
    char *text = malloc(FILE_BYTES_MAX + 1);
    size_t size_bytes = 0;
    ssize_t got = text ? 1 : 0;
    while (got > 0 && size_bytes <= FILE_BYTES_MAX) {
        got = read(file, text + size_bytes, FILE_BYTES_MAX + 1 - size_bytes);
        size_bytes += got > 0 ? (size_t)got : 0;
    }
    stoa_err err = STOA_OK;
    if (!text) { err = STOA_FAIL(STOA_E_NOMEM, "%s", path); }
    if (got < 0) { err = STOA_FAIL(STOA_E_IO, "%s: %s", path, strerror(errno)); }
    (void)close(file);
    if (err) {
        free(text);
        return err;
    }
    *text_out = text;
    *size_out = size_bytes;
    return STOA_OK;
}

static stoa_err load_file(stoa_config_scope *scope, const char *path, stoa_config_faults *faults)
{
    char *text = NULL;
    size_t size_bytes = 0;
    stoa_err err = read_file(path, &text, &size_bytes);
    if (err) {
        stoa_config_fault(faults, (stoa_config_place){path, 0}, NULL, "cannot be read: %s",
                          err == STOA_E_NOT_FOUND ? "no such file" : stoa_err_text(err));
        return err;
    }
    if (size_bytes > FILE_BYTES_MAX) {
        stoa_config_fault(faults, (stoa_config_place){path, 0}, NULL, "is larger than %u bytes",
                          FILE_BYTES_MAX);
        err = STOA_FAIL(STOA_E_INVALID, "%s is larger than %u bytes", path, FILE_BYTES_MAX);
    } else {
        err = stoa_config_read_yaml(scope, text, size_bytes, path, faults);
    }
    free(text);
    return err;
}

/* Whether name (without STOA_, of name_bytes) is path in capitals with '_' for '.'. */
static bool is_environment_name(const char *path, const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < name_bytes; i++) {
        char upper = path[i] >= 'a' && path[i] <= 'z' ? (char)(path[i] - 'a' + 'A') : path[i];
        if (!path[i] || (upper == '.' ? '_' : upper) != name[i]) { return false; }
    }
    return path[name_bytes] == '\0';
}

static void set_from_name(stoa_config_scope *scope, unsigned index, const char *value, const char *name,
                          stoa_config_faults *faults)
{
    stoa_config_place place = {name, 0};
    const stoa_config_row *row = &scope->table[index];
    if (row->cls == STOA_CONFIG_GROUPS) {
        scope->rows[index].given = true;
        stoa_config_fault(faults, place, row->path, "is a list of groups; only a file can set it");
    } else {
        stoa_config_scope_set(scope, index, value, strlen(value), place, faults);
    }
}

static void load_environment(stoa_config_scope *scope, char *const *environment, stoa_config_faults *faults)
{
    static const char start[] = "STOA_";
    enum { START_BYTES = sizeof start - 1 };
    for (; environment && *environment; environment++) {
        const char *entry = *environment, *equals = strchr(entry, '=');
        if (!equals || strncmp(entry, start, START_BYTES) != 0) { continue; }
        for (unsigned i = 0; scope->table[i].path; i++) {
            const char *path = scope->table[i].path;
            if (!is_environment_name(path, entry + START_BYTES, (size_t)(equals - entry) - START_BYTES)) {
                continue;
            }
            char name[START_BYTES + STOA_CONFIG_PATH_MAX];
            (void)snprintf(name, sizeof name, "%.*s", (int)(equals - entry), entry);
            set_from_name(scope, i, equals + 1, name, faults);
        }
    }
}

static void load_override(stoa_config_scope *scope, const char *entry, stoa_config_faults *faults)
{
    char name[2 + STOA_CONFIG_PATH_MAX];
    size_t path_bytes = strcspn(entry, "=");
    (void)snprintf(name, sizeof name, "--%.*s", (int)(path_bytes < sizeof name ? path_bytes : sizeof name),
                   entry);
    stoa_config_place place = {name, 0};
    for (unsigned i = 0; scope->table[i].path; i++) {
        if (strlen(scope->table[i].path) != path_bytes ||
            memcmp(scope->table[i].path, entry, path_bytes) != 0) {
            continue;
        }
        if (entry[path_bytes] == '=') {
            set_from_name(scope, i, entry + path_bytes + 1, name, faults);
        } else {
            stoa_config_fault(faults, place, scope->table[i].path, "has no value; write %s=VALUE", name);
        }
        return;
    }
    stoa_config_scope_unknown(scope, name + 2, place, faults);
}

/* All sources into a scope that is begun. */
static stoa_err load_sources(stoa_config_scope *scope, const stoa_config_source *source,
                             stoa_config_faults *faults)
{
    stoa_err err = STOA_OK;
    if (source->file) {
        err = load_file(scope, source->file, faults);
    } else if (source->text) {
        err = stoa_config_read_yaml(scope, source->text, strlen(source->text), scope->place.name, faults);
    }
    if (err) { return err; }
    load_environment(scope, source->environment, faults);
    for (const char *const *entry = source->overrides; entry && *entry; entry++) {
        load_override(scope, *entry, faults);
    }
    stoa_config_scope_end(scope, faults);
    return STOA_OK;
}

stoa_err stoa_config_load(const stoa_config_row *table, const stoa_config_source *source, void *settings,
                          stoa_buf *faults)
{
    stoa_config_scope scope;
    stoa_config_faults told = {.out = faults, .places = source->places};
    bool has_file = source->file || source->text;
    stoa_config_place place = {source->file ? source->file : "settings", has_file ? 1 : 0};
    check_table(table);
    stoa_config_scope_begin(&scope, table, settings, "", place);

    stoa_err err = load_sources(&scope, source, &told);
    if (err) { return STOA_PASS(err, "settings"); }
    if (told.count > FAULTS_MAX) { stoa_buf_printf(faults, "and %u more faults\n", told.count - FAULTS_MAX); }
    if (told.count) { return STOA_FAIL(STOA_E_INVALID, "%u faults in the settings", told.count); }
    return STOA_OK;
}
