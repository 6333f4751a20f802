/* value.h - a JSON value as text for a cell or a page: units, and nothing that a terminal could obey.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_VALUE_H
#define STOA_ADMIN_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"

/* What a figure counts; the words of document.h. */
typedef enum stoa_unit {
    STOA_UNIT_TEXT,
    STOA_UNIT_WRAP,
    STOA_UNIT_COUNT,    /* 1,234,567 */
    STOA_UNIT_ID,       /* 1234567 */
    STOA_UNIT_NS,       /* 850 ns, 1.25 ms, 3 d 4 h */
    STOA_UNIT_BYTES,    /* 512 B, 1.5 MiB */
    STOA_UNIT_TIME,     /* 12:00:00.123456 today, else with its date; UTC */
    STOA_UNIT_DECIMAL,
    STOA_UNIT_PERMILLE, /* 12.3 % */
    STOA_UNIT_RATE,     /* 1,234/s */
} stoa_unit;

/* The unit of that name; TEXT for none and for one that a later node invented. */
stoa_unit stoa_unit_named(const char *name, size_t size_bytes);
/* Whether its figures stand at the right of their column. */
bool stoa_unit_right(stoa_unit unit);

/* Append the value; now_ns is UTC. null and what is not there (NULL): "-". Records and lists as one line of
 * JSON-like text. */
void stoa_value_print(const stoa_json *value, stoa_unit unit, uint64_t now_ns, stoa_buf *out);

/* Append the value as an indented page: objects "key  value", lists "- value". Ends with a newline. */
void stoa_value_page(stoa_json value, unsigned indent, stoa_buf *out);

/* Append text: control characters (C0, DEL, C1), what turns writing around and what is not UTF-8 come out as a
 * visible sign. lines: newline and tab stay. */
void stoa_text_safe(stoa_buf *out, const char *text, size_t size_bytes, bool lines);

/* Columns that safe text takes on a terminal in the locale's character set. */
size_t stoa_text_columns(const char *text, size_t size_bytes);
/* Bytes of the longest prefix that takes at most columns. */
size_t stoa_text_fit(const char *text, size_t size_bytes, size_t columns);

#endif
