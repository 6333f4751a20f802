/* config_internal.h - what the parts of config share: config.c (sources, faults, tables), config_file.c
 * (YAML), config_value.c (one value), config_print.c (pages). Nobody else includes it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_CONFIG_INTERNAL_H
#define STOA_BASE_CONFIG_INTERNAL_H

#include <stdbool.h>

#include "base/config.h"

/* --- faults */

typedef struct stoa_config_faults {
    stoa_buf *out;
    unsigned count;
    stoa_buf *places; /* NULL: nobody asks */
} stoa_config_faults;

/* Where a value stands: file and line, or a name alone with line 0. */
typedef struct stoa_config_place {
    const char *name;
    unsigned line;
} stoa_config_place;

/* One line "place: key: text"; key may be NULL. Control characters become '?'. */
void stoa_config_fault(stoa_config_faults *faults, stoa_config_place place, const char *key, const char *fmt,
                       ...) STOA_PRINTF(4, 5);

/* Note where a key, a list or an element of one was given. */
void stoa_config_note(stoa_config_faults *faults, stoa_config_place place, const char *prefix, const char *key);

/* --- one table being filled */

typedef struct stoa_config_row_state {
    unsigned line;         /* of the key in the file; 0: not there */
    unsigned section_line; /* of the innermost section around it that was opened in the file */
    size_t section_bytes;  /* length of that section's path; 0: none was opened */
    bool given;            /* by any source, rightly or not */
} stoa_config_row_state;

typedef struct stoa_config_scope {
    const stoa_config_row *table;
    char *settings;
    stoa_config_place place;           /* of the group element; the file's first line at the top */
    char prefix[STOA_CONFIG_PATH_MAX]; /* of keys in faults: "symbols[2]." */
    stoa_config_row_state rows[STOA_CONFIG_ROWS_MAX];
} stoa_config_scope;

/* Zero settings and set the defaults. name: of the element, "symbols[2]", "" at the top; cut when it is too
 * long. */
void stoa_config_scope_begin(stoa_config_scope *scope, const stoa_config_row *table, void *settings,
                             const char *name, stoa_config_place place);
/* Tell what is missing. */
void stoa_config_scope_end(const stoa_config_scope *scope, stoa_config_faults *faults);
/* Set the index-th row from text, or tell why not. */
void stoa_config_scope_set(stoa_config_scope *scope, unsigned index, const char *text, size_t size_bytes,
                           stoa_config_place place, stoa_config_faults *faults);
/* Tell that there is no such key, with the nearest there is. */
void stoa_config_scope_unknown(const stoa_config_scope *scope, const char *path, stoa_config_place place,
                               stoa_config_faults *faults);

/* Whether path lies in section (of section_bytes), at any depth. */
bool stoa_config_in_section(const char *path, const char *section, size_t section_bytes);

/* --- file */

/* Read YAML text into scope, which is begun. */
stoa_err stoa_config_read_yaml(stoa_config_scope *scope, const char *text, size_t size_bytes,
                               const char *name, stoa_config_faults *faults);

/* --- values */

/* As stoa_config_parse_value. */
stoa_err stoa_config_parse_bytes(const stoa_config_row *row, const char *text, size_t size_bytes,
                                 void *value_out, const char **why_out);
/* The value as a file would have it: texts as JSON strings. */
void stoa_config_print_value(const stoa_config_row *row, const void *value, stoa_buf *out);
/* What the row takes, in words: "a whole number from 1 to 65535". */
void stoa_config_print_expected(const stoa_config_row *row, stoa_buf *out);
/* Bytes of the row's field in the settings struct. */
size_t stoa_config_value_bytes(const stoa_config_row *row);

#endif
