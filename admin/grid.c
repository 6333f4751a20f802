/* grid.c - the layout of grid.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/grid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/value.h"
#include "base/array.h"

enum { GAP = 2, WRAP_MIN = 24, TEXT_MIN = 8 };

void stoa_grid_init(stoa_grid *grid, bool headless)
{
    memset(grid, 0, sizeof *grid);
    grid->headless = headless;
    grid->text = STOA_BUF_GROWING;
}

void stoa_grid_deinit(stoa_grid *grid)
{
    stoa_buf_deinit(&grid->text);
    free(grid->ends);
    grid->ends = NULL;
}

void stoa_grid_column(stoa_grid *grid, const char *title, unsigned flags)
{
    if (grid->column_count == STOA_GRID_COLUMNS_MAX) { return; }
    (void)snprintf(grid->columns[grid->column_count].title, sizeof grid->columns[0].title, "%s", title);
    grid->columns[grid->column_count++].flags = flags;
}

void stoa_grid_cell(stoa_grid *grid, const char *text, size_t size_bytes)
{
    size_t *ends = stoa_array_room(grid->ends, grid->count, &grid->cap, sizeof *ends);
    if (!ends) {
        grid->cut = true;
        return;
    }
    grid->ends = ends;
    if (size_bytes) { stoa_buf_put(&grid->text, text, size_bytes); }
    grid->cut = grid->cut || grid->text.cut;
    grid->ends[grid->count++] = grid->text.used_bytes;
}

static const char *cell(const stoa_grid *grid, size_t index, size_t *size_out)
{
    size_t begin = index ? grid->ends[index - 1] : 0;
    *size_out = grid->ends[index] - begin;
    return grid->text.at ? grid->text.at + begin : "";
}

/* --- widths */

/* Columns of a decimal number from its point on. */
static size_t places_of(const char *text, size_t size_bytes)
{
    const char *point = memchr(text, '.', size_bytes);
    return point ? size_bytes - (size_t)(point - text) : 0;
}

static void measure_places(stoa_grid *grid)
{
    for (size_t i = 0; i < grid->count; i++) {
        size_t size_bytes, *places = &grid->columns[i % grid->column_count].places;
        const char *text = cell(grid, i, &size_bytes);
        if (!(grid->columns[i % grid->column_count].flags & STOA_GRID_POINT)) { continue; }
        size_t own = places_of(text, size_bytes);
        *places = own > *places ? own : *places;
    }
}

static void measure(stoa_grid *grid)
{
    for (uint32_t c = 0; c < grid->column_count; c++) {
        const char *title = grid->columns[c].title;
        grid->columns[c].width = grid->headless ? 0 : stoa_text_columns(title, strlen(title));
    }
    measure_places(grid);
    for (size_t i = 0; i < grid->count; i++) {
        uint32_t c = (uint32_t)(i % grid->column_count);
        size_t size_bytes, *width = &grid->columns[c].width;
        const char *text = cell(grid, i, &size_bytes);
        size_t columns = stoa_text_columns(text, size_bytes);
        if (grid->columns[c].places) { columns += grid->columns[c].places - places_of(text, size_bytes); }
        if (columns > *width) { *width = columns; }
    }
}

static size_t total(const stoa_grid *grid)
{
    size_t columns = 0;
    for (uint32_t c = 0; c < grid->column_count; c++) {
        if (!grid->columns[c].left_out) { columns += grid->columns[c].width + (columns ? GAP : 0); }
    }
    return columns;
}

/* Make the widest column that may give way narrower, down to min; all: not only those that wrap. */
static bool give_way(stoa_grid *grid, size_t min, bool all)
{
    size_t *widest = NULL;
    for (uint32_t c = 0; c < grid->column_count; c++) {
        unsigned flags = grid->columns[c].flags;
        size_t *width = &grid->columns[c].width;
        bool may = (flags & STOA_GRID_WRAP) || (all && !(flags & STOA_GRID_RIGHT));
        if (may && !grid->columns[c].left_out && *width > min && (!widest || *width > *widest)) { widest = width; }
    }
    if (widest) { --*widest; }
    return widest != NULL;
}

static bool leave_out(stoa_grid *grid)
{
    for (uint32_t c = grid->column_count; c > 1; c--) {
        bool may = (grid->columns[c - 1].flags & STOA_GRID_OPTIONAL) && !grid->columns[c - 1].left_out;
        if (!may) { continue; }
        grid->columns[c - 1].left_out = true;
        return true;
    }
    return false;
}

static void fit(stoa_grid *grid, size_t columns)
{
    measure(grid);
    if (!columns) { return; }
    while (total(grid) > columns && give_way(grid, WRAP_MIN, false)) {}
    if (total(grid) > columns && leave_out(grid)) {
        fit(grid, columns); /* what gave way has more room now; as often as there are columns */
        return;
    }
    while (total(grid) > columns && give_way(grid, TEXT_MIN, true)) {}
}

/* --- lines */

/* One printed line; ends at the terminal's edge. */
typedef struct line {
    stoa_buf *out;
    const stoa_style *style;
    size_t at, blanks; /* columns written; not yet written because nothing may follow */
} line;

static void put(line *l, const char *text, size_t size_bytes, size_t columns)
{
    if (!columns) { return; }
    size_t edge = l->style->columns;
    if (edge && l->at + l->blanks >= edge) { return; }
    stoa_buf_printf(l->out, "%*s", (int)l->blanks, "");
    l->at += l->blanks;
    l->blanks = 0;
    if (edge && l->at + columns > edge) {
        size_bytes = stoa_text_fit(text, size_bytes, edge - l->at);
        columns = edge - l->at;
        while (size_bytes && text[size_bytes - 1] == ' ') { size_bytes--; }
    }
    stoa_buf_put(l->out, text, size_bytes);
    l->at += columns;
}

/* Part of a cell that stands on one line. */
static size_t line_of_cell(const char *text, size_t size_bytes, size_t width)
{
    size_t fits = stoa_text_fit(text, size_bytes, width);
    if (fits == size_bytes) { return fits; }
    if (text[fits] == ' ') { return fits; }
    for (size_t at = fits; at > fits / 2; at--) {
        if (text[at - 1] == ' ') { return at - 1; }
    }
    return fits;
}

/* Print what of the cell belongs here; returns how much of it is done. point: it is a number with a decimal point to be
 * stood below the others'. */
static size_t put_cell(line *l, const stoa_grid *grid, uint32_t c, const char *text, size_t size_bytes, bool point)
{
    size_t width = grid->columns[c].width, columns = stoa_text_columns(text, size_bytes);
    bool wrap = grid->columns[c].flags & STOA_GRID_WRAP;
    size_t done = size_bytes, shown = size_bytes;
    bool shortened = columns > width;
    if (shortened) {
        shown = wrap ? line_of_cell(text, size_bytes, width) : stoa_text_fit(text, size_bytes, width ? width - 1 : 0);
        if (!shown && wrap) { shown = stoa_text_fit(text, size_bytes, width + 2); }
        columns = stoa_text_columns(text, shown);
        done = wrap ? shown : size_bytes;
        while (wrap && done < size_bytes && text[done] == ' ') { done++; }
        while (wrap && shown && text[shown - 1] == ' ') {
            shown--;
            columns--;
        }
    }
    size_t pad = width > columns + (shortened && !wrap) ? width - columns - (shortened && !wrap) : 0;
    size_t before = grid->columns[c].flags & STOA_GRID_RIGHT ? pad : 0;
    if (point) { before -= grid->columns[c].places - places_of(text, size_bytes); }
    l->blanks += before;
    put(l, text, shown, columns);
    if (shortened && !wrap) { put(l, l->style->utf8 ? "\xe2\x80\xa6" : "~", l->style->utf8 ? 3 : 1, 1); }
    l->blanks += pad - before;
    return done;
}

static void print_titles(const stoa_grid *grid, const stoa_style *style, stoa_buf *out)
{
    line l = {.out = out, .style = style};
    if (style->colour) { stoa_buf_puts(out, "\x1b[1m"); }
    for (uint32_t c = 0; c < grid->column_count; c++) {
        if (grid->columns[c].left_out) { continue; }
        if (c) { l.blanks += GAP; }
        (void)put_cell(&l, grid, c, grid->columns[c].title, strlen(grid->columns[c].title), false);
    }
    stoa_buf_puts(out, style->colour ? "\x1b[0m\n" : "\n");
}

/* One row; where a cell goes on below, as many lines as it takes. */
static void print_row(const stoa_grid *grid, size_t first, const stoa_style *style, stoa_buf *out)
{
    size_t done[STOA_GRID_COLUMNS_MAX] = {0};
    bool more = true;
    for (unsigned nth = 0; more; nth++) {
        line l = {.out = out, .style = style};
        more = false;
        for (uint32_t c = 0; c < grid->column_count; c++) {
            size_t size_bytes;
            const char *text = cell(grid, first + c, &size_bytes);
            if (grid->columns[c].left_out) { continue; }
            if (c) { l.blanks += GAP; }
            bool outside = style->columns && l.at + l.blanks >= style->columns; /* the terminal ends before it */
            if (outside || (nth && done[c] == size_bytes)) {
                l.blanks += grid->columns[c].width;
                continue;
            }
            done[c] += put_cell(&l, grid, c, text + done[c], size_bytes - done[c],
                                grid->columns[c].flags & STOA_GRID_POINT);
            more = more || done[c] < size_bytes;
        }
        stoa_buf_puts(out, "\n");
    }
}

void stoa_grid_print(stoa_grid *grid, const stoa_style *style, stoa_buf *out)
{
    if (!grid->column_count) { return; }
    for (uint32_t c = 0; c < grid->column_count; c++) {
        if (grid->columns[c].flags & STOA_GRID_POINT) { grid->columns[c].flags |= STOA_GRID_RIGHT; }
    }
    fit(grid, style->columns);
    if (!grid->headless) { print_titles(grid, style, out); }
    for (size_t i = 0; i + grid->column_count <= grid->count; i += grid->column_count) {
        print_row(grid, i, style, out);
    }
    if (grid->cut) { stoa_buf_puts(out, "(no memory for more)\n"); }
}
