/* document.c - the writer of document.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/document.h"

#include <inttypes.h>
#include <string.h>

#include "base/decimal.h"

static void begin(stoa_doc *doc, const char *key)
{
    if (doc->comma) { stoa_buf_puts(doc->out, ","); }
    doc->comma = true;
    if (!key) { return; }
    stoa_buf_json_string(doc->out, key, strlen(key));
    stoa_buf_puts(doc->out, ":");
}

void stoa_doc_open(stoa_doc *doc, const char *key, char what)
{
    begin(doc, key);
    stoa_buf_put(doc->out, &what, 1);
    doc->comma = false;
}

void stoa_doc_close(stoa_doc *doc, char what)
{
    stoa_buf_put(doc->out, &what, 1);
    doc->comma = true;
}

void stoa_doc_uint(stoa_doc *doc, const char *key, uint64_t value)
{
    begin(doc, key);
    stoa_buf_printf(doc->out, "%" PRIu64, value);
}

void stoa_doc_int(stoa_doc *doc, const char *key, int64_t value)
{
    begin(doc, key);
    stoa_buf_printf(doc->out, "%" PRId64, value);
}

void stoa_doc_bool(stoa_doc *doc, const char *key, bool value)
{
    begin(doc, key);
    stoa_buf_puts(doc->out, value ? "true" : "false");
}

void stoa_doc_null(stoa_doc *doc, const char *key)
{
    begin(doc, key);
    stoa_buf_puts(doc->out, "null");
}

void stoa_doc_text(stoa_doc *doc, const char *key, const char *text)
{
    if (text) {
        stoa_doc_bytes(doc, key, text, strlen(text));
    } else {
        stoa_doc_null(doc, key);
    }
}

void stoa_doc_bytes(stoa_doc *doc, const char *key, const char *text, size_t size_bytes)
{
    begin(doc, key);
    stoa_buf_json_string(doc->out, text, size_bytes);
}

void stoa_doc_printf(stoa_doc *doc, const char *key, const char *fmt, ...)
{
    char text[1024];
    stoa_buf buf = STOA_BUF_FIXED(text);
    va_list args;
    va_start(args, fmt);
    stoa_buf_vprintf(&buf, fmt, args);
    va_end(args);
    stoa_doc_bytes(doc, key, buf.at, buf.used_bytes);
}

void stoa_doc_decimal(stoa_doc *doc, const char *key, int64_t value)
{
    char text[STOA_DECIMAL_TEXT_MAX];
    stoa_doc_bytes(doc, key, text, stoa_decimal_print(value, 0, text));
}

void stoa_doc_json(stoa_doc *doc, const char *key, const char *json, size_t size_bytes)
{
    begin(doc, key);
    stoa_buf_put(doc->out, json, size_bytes);
}
