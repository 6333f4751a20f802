/* config_file.c - the YAML file: libfyaml makes the tree, the rows of the tables drive the walk.
 *
 * The tree keeps its aliases: they are followed where the walk meets them, so a file that repeats itself by
 * aliases of aliases costs no memory, and a budget of visits bounds the time. Duplicate keys are let through
 * by the parser, because it would stop at the first one, and are told here. A mapping is read in two passes,
 * its own keys first, then what is merged into it ("<<"), which never replaces anything.
 *
 * libfyaml 0.7.12 misreads some YAML (compared with PyYAML): it takes bytes that are not UTF-8 for null and a
 * NUL for the end, loses letters where escaped quotes follow each other in '...', and gives uninitialised
 * memory for some folded texts. So the text is checked before the parser sees it, and a scalar that spans
 * lines or holds '' twice in a row is refused before its text is asked for.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <libfyaml.h>
#include <stdio.h>
#include <string.h>

#include "base/config_internal.h"
#include "base/utf8.h"

enum { VISITS_MAX = 100000, MERGES_MAX = 8, KEY_BYTES_MAX = 2 * STOA_CONFIG_PATH_MAX };

typedef struct walk {
    stoa_config_faults *faults;
    const char *name, *text; /* of the file */
    size_t size_bytes;
    unsigned visits_left;
} walk;

/* Where the walk stands: in which table, in which section of it, and how many merges deep. */
typedef struct spot {
    stoa_config_scope *scope;
    const char *section;
    size_t section_bytes;
    unsigned merges;
} spot;

static void read_mapping(walk *w, const spot *at, struct fy_node *mapping);

/* --- nodes */

/* The node itself, or what it is an alias of; NULL for an empty value or an unknown anchor. */
static struct fy_node *follow(struct fy_node *node)
{
    return node && fy_node_is_alias(node) ? fy_node_resolve_alias(node) : node;
}

static bool is_mapping(struct fy_node *node)
{
    return node && fy_node_get_type(node) == FYNT_MAPPING;
}

static bool is_sequence(struct fy_node *node)
{
    return node && fy_node_get_type(node) == FYNT_SEQUENCE;
}

static bool is_scalar(struct fy_node *node)
{
    return node && fy_node_get_type(node) == FYNT_SCALAR;
}

/* Whether the parser may have misread the scalar; see above. */
static bool is_misread(const walk *w, struct fy_node *node)
{
    struct fy_token *token = fy_node_get_scalar_token(node);
    const struct fy_mark *start = token ? fy_token_start_mark(token) : NULL;
    const struct fy_mark *end = token ? fy_token_end_mark(token) : NULL;
    if (!start || !end) { return false; }
    if (start->line != end->line) { return true; }
    if (start->input_pos > end->input_pos || end->input_pos > w->size_bytes) { return true; }
    return fy_node_get_style(node) == FYNS_SINGLE_QUOTED &&
           memmem(w->text + start->input_pos, end->input_pos - start->input_pos, "''''", 4);
}

/* The text of a scalar; NULL when it has none that can be trusted. */
static const char *scalar_text(const walk *w, struct fy_node *node, size_t *size_out)
{
    *size_out = 0;
    return is_scalar(node) && !is_misread(w, node) ? fy_node_get_scalar(node, size_out) : NULL;
}

static bool is_plain_text(const walk *w, struct fy_node *node, const char *text)
{
    size_t size_bytes = 0;
    const char *at = scalar_text(w, node, &size_bytes);
    return at && fy_node_get_style(node) == FYNS_PLAIN && size_bytes == strlen(text) &&
           memcmp(at, text, size_bytes) == 0;
}

/* No value: nothing, ~ or null, unquoted. */
static bool is_null(const walk *w, struct fy_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (!node || (is_scalar(node) && !fy_node_get_scalar_token(node))) { return true; }
    for (unsigned i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        if (is_plain_text(w, node, nulls[i])) { return true; }
    }
    return false;
}

/* Line of the first scalar of node, fallback when there is none. */
static unsigned line_of(struct fy_node *node, unsigned fallback)
{
    while (is_mapping(node) || is_sequence(node)) {
        node = is_mapping(node) ? fy_node_pair_key(fy_node_mapping_get_by_index(node, 0))
                                : fy_node_sequence_get_by_index(node, 0);
    }
    struct fy_token *token = node ? fy_node_get_scalar_token(node) : NULL;
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    return mark ? (unsigned)mark->line + 1 : fallback;
}

static bool is_merge(const walk *w, struct fy_node_pair *pair)
{
    return is_plain_text(w, fy_node_pair_key(pair), "<<");
}

/* Count one visit; false when there were too many, which is told once. */
static bool visit(walk *w, unsigned line)
{
    if (!w->visits_left) { return false; }
    if (--w->visits_left) { return true; }
    stoa_config_fault(w->faults, (stoa_config_place){w->name, line}, NULL, "more than %u keys", VISITS_MAX);
    return false;
}

/* --- values */

static void fault_at(walk *w, const spot *at, unsigned line, const char *key, const char *text)
{
    char full[2 * KEY_BYTES_MAX];
    (void)snprintf(full, sizeof full, "%s%s", at->scope->prefix, key);
    stoa_config_fault(w->faults, (stoa_config_place){w->name, line}, full, "%s", text);
}

static void fault_expected(walk *w, const spot *at, unsigned line, const stoa_config_row *row,
                           const char *text)
{
    char words_at[640];
    stoa_buf words = STOA_BUF_FIXED(words_at);
    stoa_buf_printf(&words, "%s; expected ", text);
    stoa_config_print_expected(row, &words);
    fault_at(w, at, line, row->path, words.at);
}

/* One element of a list, named name in faults, with a scope of its own. */
static void read_group(walk *w, const stoa_config_row *row, struct fy_node *item, char *settings,
                       const char *name, unsigned line)
{
    stoa_config_scope scope;
    spot at = {.scope = &scope, .section = ""};
    struct fy_node *mapping = follow(item);
    stoa_config_place place = {w->name, line_of(item, line)};
    stoa_config_scope_begin(&scope, row->group, settings, name, place);
    stoa_config_note(w->faults, place, "", name);
    if (is_mapping(mapping)) {
        read_mapping(w, &at, mapping);
        stoa_config_scope_end(&scope, w->faults);
    } else {
        stoa_config_fault(w->faults, place, name, "an item of this list takes keys with values");
    }
}

static void read_groups(walk *w, const spot *at, unsigned index, struct fy_node *list, unsigned line)
{
    const stoa_config_row *row = &at->scope->table[index];
    char *elements = at->scope->settings + row->offset;
    uint32_t count = 0;
    void *next = NULL;
    if (!is_sequence(list) && !is_null(w, list)) {
        fault_expected(w, at, line, row, "is not a list: each item starts with \"- \"");
        return;
    }
    for (struct fy_node *item; list && (item = fy_node_sequence_iterate(list, &next)) && visit(w, line);) {
        char prefix_at[STOA_CONFIG_PATH_MAX];
        stoa_buf prefix = STOA_BUF_FIXED(prefix_at);
        if (count == row->max) {
            fault_expected(w, at, line_of(item, line), row, "has too many items");
            break;
        }
        stoa_buf_printf(&prefix, "%s%s[%u]", at->scope->prefix, row->path, count);
        read_group(w, row, item, elements + count * row->group_bytes, prefix.at, line);
        count++;
    }
    if (count < row->min) { fault_expected(w, at, line, row, "has too few items"); }
    memcpy(at->scope->settings + row->count_offset, &count, sizeof count);
}

static void read_scalar(walk *w, const spot *at, unsigned index, struct fy_node *value, unsigned line)
{
    const stoa_config_row *row = &at->scope->table[index];
    size_t size_bytes = 0;
    const char *text = scalar_text(w, value, &size_bytes);
    if (is_null(w, value)) {
        fault_expected(w, at, line, row,
                       row->cls == STOA_CONFIG_TEXT ? "has no value (an empty one is \"\")" : "has no value");
    } else if (is_scalar(value) && !text) {
        fault_expected(w, at, line, row, "must stand on one line, and without quotes in a row inside '...'");
    } else if (!text) {
        fault_expected(w, at, line, row, "takes one value, not keys or a list");
    } else {
        stoa_config_scope_set(at->scope, index, text, size_bytes, (stoa_config_place){w->name, line},
                              w->faults);
    }
}

/* --- keys */

static void read_row(walk *w, const spot *at, unsigned index, struct fy_node *value, unsigned line)
{
    stoa_config_row_state *state = &at->scope->rows[index];
    const stoa_config_row *row = &at->scope->table[index];
    if (state->line) {
        char text[64];
        (void)snprintf(text, sizeof text, "given again; the first is in line %u", state->line);
        if (!at->merges) { fault_at(w, at, line, row->path, text); }
        return;
    }
    state->line = line;
    state->given = true;
    if (row->cls == STOA_CONFIG_GROUPS) {
        stoa_config_note(w->faults, (stoa_config_place){w->name, line}, at->scope->prefix, row->path);
        read_groups(w, at, index, value, line);
    } else {
        read_scalar(w, at, index, value, line);
    }
}

/* Note on its rows that the section was opened; returns the line where it was opened before, or 0. */
static unsigned open_section(stoa_config_scope *scope, const char *section, size_t section_bytes,
                             unsigned line)
{
    unsigned before = 0;
    for (unsigned i = 0; scope->table[i].path; i++) {
        stoa_config_row_state *state = &scope->rows[i];
        if (!stoa_config_in_section(scope->table[i].path, section, section_bytes)) { continue; }
        if (state->section_bytes >= section_bytes) {
            before = state->section_line;
        } else {
            state->section_line = line;
            state->section_bytes = section_bytes;
        }
    }
    return before;
}

static void read_section(walk *w, const spot *at, const char *path, struct fy_node *value, unsigned line)
{
    spot inside = {at->scope, path, strlen(path), at->merges};
    unsigned before = open_section(at->scope, path, inside.section_bytes, line);
    if (before && at->merges) { return; }
    if (before) {
        char text[64];
        (void)snprintf(text, sizeof text, "section opened again; the first is in line %u", before);
        fault_at(w, at, line, path, text);
    }
    if (is_mapping(value)) {
        read_mapping(w, &inside, value);
    } else if (!is_null(w, value)) {
        fault_at(w, at, line, path, "is a section: its keys stand below it, indented");
    }
}

/* at's section and the key, joined; a NUL or too long a key makes a path that no row has. */
static void join_path(const spot *at, const char *key, size_t key_bytes, char *path, size_t path_max)
{
    int start =
        snprintf(path, path_max, "%.*s%s", (int)at->section_bytes, at->section, at->section_bytes ? "." : "");
    size_t used = start > 0 ? (size_t)start : 0;
    for (size_t i = 0; i < key_bytes && used + 1 < path_max; i++) {
        path[used++] = key[i] ? key[i] : '?';
    }
    path[used] = '\0';
}

static void read_pair(walk *w, const spot *at, struct fy_node_pair *pair)
{
    char path[KEY_BYTES_MAX];
    size_t key_bytes = 0;
    struct fy_node *key = follow(fy_node_pair_key(pair)), *value = fy_node_pair_value(pair);
    unsigned line = line_of(fy_node_pair_key(pair), at->scope->place.line);
    const char *text = scalar_text(w, key, &key_bytes);
    if (!visit(w, line)) { return; }
    if (!text) {
        stoa_config_fault(w->faults, (stoa_config_place){w->name, line}, NULL,
                          "a key must be plain text on one line");
        return;
    }
    join_path(at, text, key_bytes, path, sizeof path);
    if (!at->section_bytes && !at->scope->prefix[0] && strncmp(path, "x-", 2) == 0) { return; }
    if (value && !follow(value)) {
        fault_at(w, at, line, path, "refers to an anchor that is not there");
        return;
    }
    for (unsigned i = 0; at->scope->table[i].path; i++) {
        if (strcmp(at->scope->table[i].path, path) == 0) {
            read_row(w, at, i, follow(value), line);
            return;
        }
        if (stoa_config_in_section(at->scope->table[i].path, path, strlen(path))) {
            read_section(w, at, path, follow(value), line);
            return;
        }
    }
    stoa_config_scope_unknown(at->scope, path, (stoa_config_place){w->name, line}, w->faults);
}

/* One mapping that is merged into the one at at. */
static void merge_mapping(walk *w, const spot *at, struct fy_node *from, unsigned line)
{
    spot deeper = {at->scope, at->section, at->section_bytes, at->merges + 1};
    if (!visit(w, line)) { return; }
    if (!is_mapping(from)) {
        fault_at(w, at, line, "<<", "merges keys with values, by *name or a list of them");
    } else if (at->merges == MERGES_MAX) {
        fault_at(w, at, line, "<<", "merges nest too deep");
    } else {
        read_mapping(w, &deeper, from);
    }
}

static void read_merge(walk *w, const spot *at, struct fy_node_pair *pair)
{
    struct fy_node *from = follow(fy_node_pair_value(pair)), *item;
    unsigned line = line_of(fy_node_pair_key(pair), at->scope->place.line);
    void *next = NULL;
    if (!is_sequence(from)) {
        merge_mapping(w, at, from, line);
        return;
    }
    while ((item = fy_node_sequence_iterate(from, &next))) {
        merge_mapping(w, at, follow(item), line);
    }
}

static void read_mapping(walk *w, const spot *at, struct fy_node *mapping)
{
    struct fy_node_pair *pair;
    void *next = NULL;
    while ((pair = fy_node_mapping_iterate(mapping, &next))) {
        if (!is_merge(w, pair)) { read_pair(w, at, pair); }
    }
    next = NULL;
    while ((pair = fy_node_mapping_iterate(mapping, &next))) {
        if (is_merge(w, pair)) { read_merge(w, at, pair); }
    }
}

/* --- documents */

static void read_document(stoa_config_scope *scope, struct fy_document *document, walk *w)
{
    spot at = {.scope = scope, .section = ""};
    struct fy_node *root = document ? follow(fy_document_root(document)) : NULL;
    if (is_mapping(root)) {
        read_mapping(w, &at, root);
    } else if (!is_null(w, root)) {
        stoa_config_fault(w->faults, (stoa_config_place){w->name, line_of(root, 1)}, NULL,
                          "the file must hold keys with values");
    }
}

/* What libfyaml found wrong, one line each. */
static stoa_err tell_syntax(struct fy_diag *diag, walk *w)
{
    struct fy_diag_error *error;
    void *next = NULL;
    bool told = false;
    while ((error = fy_diag_errors_iterate(diag, &next))) {
        unsigned line = error->line > 0 ? (unsigned)error->line : 1;
        stoa_config_fault(w->faults, (stoa_config_place){w->name, line}, NULL, "not YAML: %.*s",
                          (int)strcspn(error->msg, "\n"), error->msg);
        told = true;
    }
    if (!told) { stoa_config_fault(w->faults, (stoa_config_place){w->name, 1}, NULL, "not YAML"); }
    return STOA_FAIL(STOA_E_INVALID, "%s is not YAML", w->name);
}

static stoa_err read_stream(stoa_config_scope *scope, struct fy_parser *parser, struct fy_diag *diag, walk *w)
{
    struct fy_document *document = fy_parse_load_document(parser);
    struct fy_document *second = document ? fy_parse_load_document(parser) : NULL;
    stoa_err err = STOA_OK;
    if (fy_parser_get_stream_error(parser)) {
        err = tell_syntax(diag, w);
    } else if (second) {
        unsigned line = line_of(fy_document_root(second), 1);
        stoa_config_fault(w->faults, (stoa_config_place){w->name, line}, NULL,
                          "a second document; only one is taken");
        err = STOA_FAIL(STOA_E_INVALID, "%s holds two documents", w->name);
    } else {
        read_document(scope, document, w);
    }
    if (second) { fy_parse_document_destroy(parser, second); }
    if (document) { fy_parse_document_destroy(parser, document); }
    return err;
}

static unsigned count_lines(const char *text, size_t size_bytes)
{
    unsigned lines = 1;
    for (size_t i = 0; i < size_bytes; i++) {
        lines += text[i] == '\n';
    }
    return lines;
}

stoa_err stoa_config_read_yaml(stoa_config_scope *scope, const char *text, size_t size_bytes,
                               const char *name, stoa_config_faults *faults)
{
    walk w = {faults, name, text, size_bytes, VISITS_MAX};
    const char *nul = memchr(text, '\0', size_bytes);
    size_t good_bytes = stoa_utf8_prefix(text, nul ? (size_t)(nul - text) : size_bytes);
    if (good_bytes < size_bytes) {
        stoa_config_place place = {name, count_lines(text, good_bytes)};
        stoa_config_fault(faults, place, NULL, "not UTF-8 text");
        return STOA_FAIL(STOA_E_INVALID, "%s is not UTF-8 text", name);
    }

    struct fy_diag *diag = fy_diag_create(&(struct fy_diag_cfg){.level = FYET_ERROR, .module_mask = ~0U});
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_ALLOW_DUPLICATE_KEYS | FYPCF_JSON_NONE,
                               .diag = diag};
    if (diag) { fy_diag_set_collect_errors(diag, true); }
    struct fy_parser *parser = diag ? fy_parser_create(&cfg) : NULL;
    stoa_err err = STOA_OK;
    if (!parser || fy_parser_set_string(parser, text, size_bytes) != 0) {
        err = STOA_FAIL(STOA_E_NOMEM, "YAML parser");
    } else if (size_bytes) {
        err = read_stream(scope, parser, diag, &w);
    }
    if (parser) { fy_parser_destroy(parser); }
    if (diag) { fy_diag_destroy(diag); }
    return err;
}
