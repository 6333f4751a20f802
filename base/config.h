/* config.h - settings from one table: default < YAML file < environment STOA_* < command-line flags.
 *
 * A scalar setting is a row of a table: path ("gateway.listen"), type, default, bounds, unit, doc, and where
 * it goes in the settings struct. A list of groups (symbols, clients) is a row of type GROUPS with its own
 * table for the elements. From the rows come: reading, --check with line and key of each fault, --help,
 * docs/reference/config.md. The environment name of "gateway.listen" is STOA_GATEWAY_LISTEN, its flag
 * --gateway.listen=VALUE. Unknown keys are faults, and the nearest known key is suggested. Unknown STOA_*
 * names are not: the environment belongs to others too.
 *
 * In the file, "gateway.listen" is a key "listen" in the section "gateway", or "gateway.listen" in one.
 * Anchors, aliases and merges (<<: *name, explicit keys win) work; a key at the top that starts with "x-" is
 * skipped: a place for anchors. A list of groups is a sequence of mappings. Only a file can set one.
 *
 * Limits: a file of 1 MiB, 100,000 keys counted with those that aliases repeat, STOA_CONFIG_ROWS_MAX rows in
 * a table, 100 faults listed. What a table must fulfil is asserted on each load: paths of [a-z0-9_] joined by
 * dots, each once, none both key and section, the rows of a section together, defaults that parse, group
 * defaults NULL.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_CONFIG_H
#define STOA_BASE_CONFIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum { STOA_CONFIG_ROWS_MAX = 256, STOA_CONFIG_PATH_MAX = 96 };

typedef enum stoa_config_class {
    STOA_CONFIG_BOOL,     /* bool: true, false */
    STOA_CONFIG_INT,      /* int64_t within [min, max] */
    STOA_CONFIG_DURATION, /* uint64_t nanoseconds: 500ns, 100us, 5ms, 2s, 1m, 12h, within [min, max] ns */
    STOA_CONFIG_SIZE,     /* uint64_t bytes: 512, 64KiB, 16MiB, 1GiB, within [min, max] */
    STOA_CONFIG_DECIMAL,  /* stoa_decimal within [min, max], exact */
    STOA_CONFIG_TEXT,   /* char[max + 1], NUL-terminated, at least min bytes; UTF-8 without control characters
                         */
    STOA_CONFIG_CHOICE, /* int32_t: index into choices */
    STOA_CONFIG_GROUPS, /* an array of min to max structs, and their count (uint32_t at count_offset) */
} stoa_config_class;

typedef struct stoa_config_row {
    const char *path; /* within the table's group, dots for nesting; NULL ends a table */
    stoa_config_class cls;
    size_t offset;                       /* of the value in the table's struct */
    const char *fallback;                /* default, written as in a file; NULL: the key is required */
    int64_t min, max;                    /* bounds, by class; both always count */
    const char *const *choices;          /* CHOICE: NULL-terminated */
    const char *unit, *doc;              /* unit: what is counted ("messages"), or NULL; doc: one sentence */
    const struct stoa_config_row *group; /* GROUPS: table of an element */
    size_t group_bytes, count_offset;    /* GROUPS: size of an element, where the count goes */
} stoa_config_row;

typedef struct stoa_config_source {
    const char *file;         /* path, or NULL; "-" is not special */
    const char *text;         /* YAML text used when file is NULL; may be NULL */
    char *const *environment; /* NULL-terminated "NAME=value" (environ), or NULL */
    const char *const
        *overrides; /* NULL-terminated "path=value" from flags, or NULL; the last of a path counts */
    stoa_buf *places; /* gets where each key, list and element was given, for stoa_config_vtell; or NULL */
} stoa_config_source;

/* Fill every field of settings that a row names (zeroed first). Every fault is one line in faults
 * ("stoa.yaml:12: gateway.listen: ..."; instead of file and line the variable or the flag), all of them are
 * found in one go, but for broken YAML, which is told alone. On error settings are not for use. Errors:
 * INVALID (faults says what), NOT_FOUND (no file), IO (file), NOMEM. Allocates while it runs. */
stoa_err stoa_config_load(const stoa_config_row *table, const stoa_config_source *source, void *settings,
                          stoa_buf *faults);

/* A fault that the table cannot see, as one line like those of load: "stoa.yaml:12: links[0].uri: ...". places: as load filled it (NULL is
 * allowed). A key that was not given is told where cause stands, another key (or NULL), or else the element that it is missing in. */
void stoa_config_vtell(const stoa_buf *places, stoa_buf *faults, const char *key, const char *cause, const char *fmt, va_list args)
    STOA_PRINTF(5, 0);

/* Appended to out: the reference page's tables in Markdown; one line per flag for --help; the effective
 * settings as YAML with comments (a file that loads again, to the same settings). */
void stoa_config_print_docs(const stoa_config_row *table, stoa_buf *out);
void stoa_config_print_help(const stoa_config_row *table, stoa_buf *out);
void stoa_config_print(const stoa_config_row *table, const void *settings, stoa_buf *out);

/* One value of row's class (any but GROUPS) from text, with the row's bounds; why_out receives a static
 * reason that follows the value in a sentence ("is above the maximum"). Both outputs unchanged where they do
 * not apply. Errors: INVALID, RANGE, PRECISION. For other tables' use. */
stoa_err stoa_config_parse_value(const stoa_config_row *row, const char *text, void *value_out,
                                 const char **why_out);

#endif
