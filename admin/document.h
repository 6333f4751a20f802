/* document.h - writing an answer: a JSON document, and how a terminal shows it.
 *
 * Numbers in a document are integers; exact decimals are strings; times are nanoseconds of UTC.
 *
 * A view is text, one section a line:
 *     table PATH: COLUMN, COLUMN, ...     the array of objects under the key PATH, one row each
 *     tree PATH: COLUMN, ...              the same; an element's own "children" are indented below it
 *     fields PATH: COLUMN, ...            the object under PATH, one line for each column
 *     value PATH                          whatever stands there, indented
 *     lines PATH                          the array under PATH, one element a line
 *     text PATH                           the string, as it is
 *     COLUMN = KEY [=TITLE] [/UNIT] [?]          ?: left out where the terminal is too narrow
 *     UNIT   n a count; id a number as it is; ns a duration; bytes; time; dec a decimal in a string; permille; rate so
 *            many a second; wrap text that may take several lines
 * Without a unit a column is text. A section whose PATH the document does not have is not shown.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_DOCUMENT_H
#define STOA_ADMIN_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A document being written; commas come by themselves. */
typedef struct stoa_doc {
    stoa_buf *out;
    bool comma;
} stoa_doc;

static inline stoa_doc stoa_doc_to(stoa_buf *out)
{
    return (stoa_doc){.out = out};
}

/* what: '{' or '['; ended with '}' or ']'. key NULL: an element of an array, or the document itself. */
void stoa_doc_open(stoa_doc *doc, const char *key, char what);
void stoa_doc_close(stoa_doc *doc, char what);
void stoa_doc_uint(stoa_doc *doc, const char *key, uint64_t value);
void stoa_doc_int(stoa_doc *doc, const char *key, int64_t value);
void stoa_doc_bool(stoa_doc *doc, const char *key, bool value);
void stoa_doc_null(stoa_doc *doc, const char *key);
/* NULL is null. */
void stoa_doc_text(stoa_doc *doc, const char *key, const char *text);
void stoa_doc_bytes(stoa_doc *doc, const char *key, const char *text, size_t size_bytes);
void stoa_doc_printf(stoa_doc *doc, const char *key, const char *fmt, ...) STOA_PRINTF(3, 4);
/* An exact decimal in units of 10^-8, as a string. */
void stoa_doc_decimal(stoa_doc *doc, const char *key, int64_t value);
/* What already is JSON. */
void stoa_doc_json(stoa_doc *doc, const char *key, const char *json, size_t size_bytes);

#endif
