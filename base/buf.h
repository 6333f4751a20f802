/* buf.h - a byte buffer that text is printed into: fixed (cut when full) or growing (cold paths only).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_BUF_H
#define STOA_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/api.h"
#include "base/error.h"

STOA_API_BEGIN

typedef struct stoa_buf {
    char *at;          /* always NUL-terminated once something was printed */
    size_t used_bytes; /* without the NUL */
    size_t cap_bytes;
    bool grows; /* at is malloc'ed and owned; free with stoa_buf_deinit */
    bool cut;   /* something did not fit */
} stoa_buf;

/* A growing buffer, empty. Core: any; allocates when printed to. */
#define STOA_BUF_GROWING ((stoa_buf){.grows = true})
/* A fixed buffer over the char array storage. */
#define STOA_BUF_FIXED(storage) ((stoa_buf){.at = (storage), .cap_bytes = sizeof(storage)})

void stoa_buf_deinit(stoa_buf *buf);
void stoa_buf_clear(stoa_buf *buf);
void stoa_buf_put(stoa_buf *buf, const void *bytes, size_t size_bytes);
void stoa_buf_puts(stoa_buf *buf, const char *text);
void stoa_buf_printf(stoa_buf *buf, const char *fmt, ...) STOA_PRINTF(2, 3);
void stoa_buf_vprintf(stoa_buf *buf, const char *fmt, va_list args) STOA_PRINTF(2, 0);
/* A JSON string literal with quotes; bytes that are not UTF-8 become U+FFFD. */
void stoa_buf_json_string(stoa_buf *buf, const char *bytes, size_t size_bytes);

STOA_API_END

#endif
