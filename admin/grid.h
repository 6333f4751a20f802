/* grid.h - a table as text: columns as wide as they need, narrower where the terminal is, never wider than it.
 *
 *     stoa_grid_column(&grid, "name", 0);
 *     stoa_grid_cell(&grid, "alice", 5);      row by row
 *     stoa_grid_print(&grid, &style, &out);
 *     stoa_grid_deinit(&grid);
 *
 * Where the columns do not fit, those that may take several lines are made narrower, then optional ones are left out,
 * the last first, then all text is made narrower, the widest first; figures stay whole. What is still too wide ends at
 * the terminal's edge. Cells are safe text (value.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_GRID_H
#define STOA_ADMIN_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { STOA_GRID_COLUMNS_MAX = 24 };

/* How things look: of the terminal, or of a pipe. */
typedef struct stoa_style {
    size_t columns; /* 0: as wide as it takes */
    bool colour;    /* bold and faint may be used */
    bool utf8;      /* line drawing and ellipsis may be used */
} stoa_style;

/* POINT: right, decimal points below each other. */
enum { STOA_GRID_RIGHT = 1, STOA_GRID_WRAP = 2, STOA_GRID_POINT = 4, STOA_GRID_OPTIONAL = 8 };

typedef struct stoa_grid {
    bool headless;
    uint32_t column_count;
    struct {
        char title[32];
        unsigned flags;
        size_t width, places; /* places: columns from the decimal point on */
        bool left_out;
    } columns[STOA_GRID_COLUMNS_MAX];
    stoa_buf text;   /* of all cells */
    size_t *ends;    /* where each ends in text */
    size_t count;
    uint32_t cap;
    bool cut;        /* no memory for all cells */
} stoa_grid;

/* An empty grid; headless: without a line of titles. */
void stoa_grid_init(stoa_grid *grid, bool headless);
void stoa_grid_deinit(stoa_grid *grid);
/* All columns first. More than STOA_GRID_COLUMNS_MAX are left out, with their cells. */
void stoa_grid_column(stoa_grid *grid, const char *title, unsigned flags);
void stoa_grid_cell(stoa_grid *grid, const char *text, size_t size_bytes);
void stoa_grid_print(stoa_grid *grid, const stoa_style *style, stoa_buf *out);

#endif
