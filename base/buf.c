/* buf.c - the byte buffer of base/buf.h.
 *
 * A fixed buffer keeps the head of what was printed and says so in cut; a growing one doubles and is cut only
 * when memory is out. One byte is always kept for the NUL.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { FIRST_BYTES = 256 };

/* How many of size more bytes fit, with the NUL; grows the buffer when it may. */
static size_t room_for(stoa_buf *buf, size_t size_bytes)
{
    size_t left = buf->cap_bytes - buf->used_bytes;
    if (size_bytes < left) { return size_bytes; }
    if (buf->grows && size_bytes < SIZE_MAX / 2 - buf->used_bytes) {
        size_t need = buf->used_bytes + size_bytes + 1;
        size_t cap = buf->cap_bytes ? buf->cap_bytes : FIRST_BYTES;
        while (cap < need) {
            cap *= 2;
        }
        char *at = realloc(buf->at, cap);
        if (at) {
            buf->at = at;
            buf->cap_bytes = cap;
            return size_bytes;
        }
    }
    buf->cut = true;
    return left ? left - 1 : 0;
}

void stoa_buf_deinit(stoa_buf *buf)
{
    if (!buf) { return; }
    if (buf->grows) {
        free(buf->at);
        *buf = STOA_BUF_GROWING;
    }
}

void stoa_buf_clear(stoa_buf *buf)
{
    buf->used_bytes = 0;
    buf->cut = false;
    if (buf->cap_bytes) { buf->at[0] = '\0'; }
}

void stoa_buf_put(stoa_buf *buf, const void *bytes, size_t size_bytes)
{
    size_t fits = room_for(buf, size_bytes);
    if (fits) { memcpy(buf->at + buf->used_bytes, bytes, fits); }
    buf->used_bytes += fits;
    if (buf->cap_bytes) { buf->at[buf->used_bytes] = '\0'; }
}

void stoa_buf_puts(stoa_buf *buf, const char *text)
{
    stoa_buf_put(buf, text, strlen(text));
}

void stoa_buf_printf(stoa_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    stoa_buf_vprintf(buf, fmt, args);
    va_end(args);
}

void stoa_buf_vprintf(stoa_buf *buf, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    char *end = buf->cap_bytes ? buf->at + buf->used_bytes : NULL;
    int size = vsnprintf(end, buf->cap_bytes - buf->used_bytes, fmt, args);
    if (size > 0) {
        size_t left = buf->cap_bytes - buf->used_bytes;
        size_t fits = room_for(buf, (size_t)size);
        if (fits == (size_t)size && fits >= left) { /* it grew */
            (void)vsnprintf(buf->at + buf->used_bytes, fits + 1, fmt, again);
        }
        buf->used_bytes += fits;
    }
    va_end(again);
}

/* One character as it stands inside a JSON string literal. */
static void put_escaped(stoa_buf *buf, unsigned char c)
{
    static const char letters[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char letter = c < 32 ? letters[c] : (char)c;
    if (letter) {
        stoa_buf_put(buf, (const char[]){'\\', letter}, 2);
    } else {
        stoa_buf_printf(buf, "\\u%04x", (unsigned)c);
    }
}

/* Well-formed text, in runs of what stands for itself. */
static void put_text(stoa_buf *buf, const char *text, size_t size_bytes)
{
    size_t run = 0;
    for (size_t at = 0; at < size_bytes; at++) {
        unsigned char c = (unsigned char)text[at];
        if (c >= 32 && c != '"' && c != '\\') { continue; }
        stoa_buf_put(buf, text + run, at - run);
        put_escaped(buf, c);
        run = at + 1;
    }
    stoa_buf_put(buf, text + run, size_bytes - run);
}

void stoa_buf_json_string(stoa_buf *buf, const char *bytes, size_t size_bytes)
{
    stoa_buf_put(buf, "\"", 1);
    while (size_bytes > 0) {
        size_t text_bytes = stoa_utf8_prefix(bytes, size_bytes);
        put_text(buf, bytes, text_bytes);
        if (text_bytes < size_bytes) {
            stoa_buf_puts(buf, "\xEF\xBF\xBD");
            text_bytes++;
        }
        bytes += text_bytes;
        size_bytes -= text_bytes;
    }
    stoa_buf_put(buf, "\"", 1);
}
