/* text.h - text of bounded length inside a struct: no pointer, no allocation, no padding.
 *
 * stoa_textN holds up to N bytes of UTF-8 (not NUL-terminated); bytes behind len are zero, so that equal texts are equal
 * bytes. Sizes are multiples of 8 so that payload structs have no holes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_TEXT_H
#define STOA_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

#define STOA_TEXT_SIZES(T) T(6) T(14) T(30) T(62) T(254) T(1022) T(4094)

#define STOA_TEXT_STRUCT_(N)                                                                                           \
    typedef struct stoa_text##N {                                                                                      \
        uint16_t len;                                                                                                  \
        char at[N];                                                                                                    \
    } stoa_text##N;
STOA_TEXT_SIZES(STOA_TEXT_STRUCT_)

/* Initializer of any stoa_textN from a string literal; one that is too long is warned of (here: an error), and is an assertion
 * where the text is used. */
#define stoa_text(literal) {.len = (uint16_t)(sizeof(literal) - 1), .at = literal}

/* Copy size bytes into a text of capacity cap; TOO_LARGE (and no change) when they do not fit. Use STOA_TEXT_SET. */
static inline stoa_err stoa_text_copy(uint16_t *len, char *at, size_t cap, const char *bytes, size_t size)
{
    if (size > cap) { return STOA_E_TOO_LARGE; }
    memset(at, 0, cap);
    if (size) { memcpy(at, bytes, size); }
    *len = (uint16_t)size;
    return STOA_OK;
}

#define STOA_TEXT_SET(text, bytes, size) stoa_text_copy(&(text)->len, (text)->at, sizeof((text)->at), (bytes), (size))
#define STOA_TEXT_SETZ(text, cstring)    STOA_TEXT_SET((text), (cstring), strlen(cstring))
#define STOA_TEXT_EQ(a, b)               ((a)->len == (b)->len && memcmp((a)->at, (b)->at, (a)->len) == 0)
#define STOA_TEXT_EQZ(a, cstring)        ((a)->len == strlen(cstring) && memcmp((a)->at, (cstring), (a)->len) == 0)
/* For printf("%.*s", STOA_TEXT_ARGS(&text)). */
#define STOA_TEXT_ARGS(text) (int)(text)->len, (text)->at

#endif
