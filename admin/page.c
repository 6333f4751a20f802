/* page.c - reads a view line by line and prints each section. See page.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/page.h"

#include <string.h>

#include "admin/value.h"

enum { KEY_MAX = 48, TREE_DEPTH_MAX = 16, GUIDE_MAX = 128 };

typedef struct column {
    char key[KEY_MAX], title[KEY_MAX];
    stoa_unit unit;
    bool optional;
} column;

typedef struct section {
    char style[KEY_MAX], path[KEY_MAX];
    column columns[STOA_GRID_COLUMNS_MAX];
    uint32_t count;
} section;

typedef struct page {
    const stoa_style *style;
    uint64_t now_ns;
    stoa_buf *out;
    stoa_buf cell; /* scratch */
} page;

/* --- reading a view */

/* Copy the next piece up to one of the stops into at, without blanks around it; returns what is behind it. Keys and
 * titles are ASCII; anything else in a view is not ours to show. */
static const char *piece(const char *text, const char *end, const char *stops, char at[KEY_MAX])
{
    size_t used = 0;
    while (text < end && *text == ' ') { text++; }
    for (; text < end && !strchr(stops, *text); text++) {
        if (used < KEY_MAX - 1) { at[used++] = *text >= ' ' && *text <= '~' ? *text : '?'; }
    }
    while (used && at[used - 1] == ' ') { used--; }
    at[used] = '\0';
    return text;
}

/* Whether the piece ends with a question mark, which is taken off. */
static bool take_mark(char at[KEY_MAX])
{
    size_t size = strlen(at);
    bool marked = size && at[size - 1] == '?';
    if (marked) { at[size - 1] = '\0'; }
    return marked;
}

static const char *read_column(const char *text, const char *end, column *out)
{
    char unit[KEY_MAX] = "";
    text = piece(text, end, "=/,", out->key);
    out->optional = take_mark(out->key);
    memcpy(out->title, out->key, KEY_MAX);
    if (text < end && *text == '=') { text = piece(text + 1, end, "/,", out->title); }
    if (text < end && *text == '/') { text = piece(text + 1, end, ",", unit); }
    if (take_mark(out->title) || take_mark(unit)) { out->optional = true; }
    out->unit = stoa_unit_named(unit, strlen(unit));
    for (char *at = out->title; *at; at++) {
        if (*at == '_') { *at = ' '; }
    }
    return text;
}

static void read_section(const char *text, const char *end, section *out)
{
    memset(out, 0, sizeof *out);
    text = piece(text, end, " ", out->style);
    text = piece(text, end, ":", out->path);
    while (text < end && out->count < STOA_GRID_COLUMNS_MAX) {
        text = read_column(text + 1, end, &out->columns[out->count]); /* behind ':' or ',' */
        if (out->columns[out->count].key[0]) { out->count++; }
    }
}

/* --- tables and trees */

static void put_cell(page *p, stoa_grid *grid, const char *guide, stoa_json row, const column *c)
{
    stoa_json value;
    bool there = stoa_json_get(row, c->key, &value) == STOA_OK;
    stoa_buf_clear(&p->cell);
    stoa_buf_puts(&p->cell, guide);
    stoa_value_print(there ? &value : NULL, c->unit, p->now_ns, &p->cell);
    stoa_grid_cell(grid, p->cell.at, p->cell.used_bytes);
}

static void put_row(page *p, stoa_grid *grid, const char *guide, stoa_json row, const section *s)
{
    for (uint32_t i = 0; i < s->count; i++) { put_cell(p, grid, i ? "" : guide, row, &s->columns[i]); }
}

static void put_columns(stoa_grid *grid, const section *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        stoa_unit unit = s->columns[i].unit;
        unsigned flags = stoa_unit_right(unit) ? STOA_GRID_RIGHT : 0;
        if (unit == STOA_UNIT_WRAP) { flags = STOA_GRID_WRAP; }
        if (unit == STOA_UNIT_DECIMAL) { flags = STOA_GRID_POINT; }
        if (s->columns[i].optional) { flags |= STOA_GRID_OPTIONAL; }
        stoa_grid_column(grid, s->columns[i].title, flags);
    }
}

static bool nothing(page *p, const section *s, const stoa_json_iter *it)
{
    if (it->more && s->count) { return false; }
    stoa_buf_puts(p->out, "no ");
    for (const char *at = s->path; *at; at++) { stoa_buf_put(p->out, *at == '_' ? " " : at, 1); }
    stoa_buf_puts(p->out, "\n");
    return true;
}

static void show_table(page *p, const section *s, stoa_json value)
{
    stoa_json_iter it;
    stoa_grid grid;
    if (stoa_json_first(value, &it) || nothing(p, s, &it)) { return; }
    stoa_grid_init(&grid, false);
    put_columns(&grid, s);
    for (; it.more; stoa_json_next(&it)) { put_row(p, &grid, "", it.value, s); }
    stoa_grid_print(&grid, p->style, p->out);
    stoa_grid_deinit(&grid);
}

/* What stands before a node: the lines of those around it, and its own branch. */
static void put_tree(page *p, stoa_grid *grid, stoa_json_iter it, const char *before, unsigned depth, const section *s)
{
    static const char *const plain[] = {"|- ", "`- ", "|  ", "   "};
    static const char *const drawn[] = {"├─ ", "└─ ", "│  ", "   "};
    const char *const *guides = p->style->utf8 ? drawn : plain;
    while (it.more) {
        char guide[GUIDE_MAX], below[GUIDE_MAX];
        stoa_buf guide_text = STOA_BUF_FIXED(guide), below_text = STOA_BUF_FIXED(below);
        stoa_json row = it.value, children;
        stoa_json_iter inner;
        stoa_json_next(&it);
        stoa_buf_printf(&guide_text, "%s%s", before, depth ? guides[it.more ? 0 : 1] : "");
        stoa_buf_printf(&below_text, "%s%s", before, depth ? guides[it.more ? 2 : 3] : "");
        put_row(p, grid, guide, row, s);
        bool has = stoa_json_get(row, "children", &children) == STOA_OK && stoa_json_first(children, &inner) == STOA_OK;
        if (has && depth + 1 < TREE_DEPTH_MAX) { put_tree(p, grid, inner, below, depth + 1, s); }
    }
}

static void show_tree(page *p, const section *s, stoa_json value)
{
    stoa_json_iter it;
    stoa_grid grid;
    if (stoa_json_first(value, &it) || nothing(p, s, &it)) { return; }
    stoa_grid_init(&grid, false);
    put_columns(&grid, s);
    put_tree(p, &grid, it, "", 0, s);
    stoa_grid_print(&grid, p->style, p->out);
    stoa_grid_deinit(&grid);
}

/* --- the others */

static void show_fields(page *p, const section *s, stoa_json value)
{
    stoa_grid grid;
    if (!stoa_json_is_object(value)) { return; }
    stoa_grid_init(&grid, true);
    stoa_grid_column(&grid, "", 0);
    stoa_grid_column(&grid, "", STOA_GRID_WRAP);
    for (uint32_t i = 0; i < s->count; i++) {
        stoa_json member;
        if (stoa_json_get(value, s->columns[i].key, &member)) { continue; }
        stoa_grid_cell(&grid, s->columns[i].title, strlen(s->columns[i].title));
        put_cell(p, &grid, "", value, &s->columns[i]);
    }
    stoa_grid_print(&grid, p->style, p->out);
    stoa_grid_deinit(&grid);
}

static void show_value(page *p, const section *s, stoa_json value)
{
    (void)s;
    stoa_value_page(value, 0, p->out);
}

static void show_lines(page *p, const section *s, stoa_json value)
{
    stoa_json_iter it;
    (void)s;
    if (stoa_json_first(value, &it)) { return; }
    for (; it.more; stoa_json_next(&it)) {
        stoa_value_print(&it.value, STOA_UNIT_TEXT, p->now_ns, p->out);
        stoa_buf_puts(p->out, "\n");
    }
}

static void show_text(page *p, const section *s, stoa_json value)
{
    const char *text;
    size_t size_bytes;
    (void)s;
    if (stoa_json_text(value, &text, &size_bytes)) { return; }
    stoa_text_safe(p->out, text, size_bytes, true);
    if (size_bytes && text[size_bytes - 1] != '\n') { stoa_buf_puts(p->out, "\n"); }
}

static const struct {
    const char *style;
    void (*show)(page *p, const section *s, stoa_json value);
} styles[] = {
    {"table", show_table}, {"tree", show_tree},   {"fields", show_fields},
    {"value", show_value}, {"lines", show_lines}, {"text", show_text},
};

static void show(page *p, const section *s, stoa_json root)
{
    stoa_json value;
    if (stoa_json_get(root, s->path, &value) || stoa_json_is_null(value)) { return; }
    if (p->out->used_bytes) { stoa_buf_puts(p->out, "\n"); }
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++) {
        if (strcmp(styles[i].style, s->style) == 0) { styles[i].show(p, s, value); }
    }
}

stoa_err stoa_page_print(stoa_json_parser *parser, const char *document, size_t document_bytes, const char *view,
                         size_t view_bytes, const stoa_style *style, uint64_t now_ns, stoa_buf *out)
{
    stoa_json root;
    stoa_err err = stoa_json_parse(parser, document, document_bytes, &root);
    if (err) { return STOA_FAIL(err, "the node's document"); }
    page p = {.style = style, .now_ns = now_ns, .out = out, .cell = STOA_BUF_GROWING};
    if (!view_bytes) { stoa_value_page(root, 0, out); }
    for (const char *at = view, *end = view + view_bytes; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        section s;
        stop = stop ? stop : end;
        read_section(at, stop, &s);
        show(&p, &s, root);
        at = stop + 1;
    }
    stoa_buf_deinit(&p.cell);
    return out->cut ? STOA_FAIL(STOA_E_NOMEM, "page") : STOA_OK;
}
