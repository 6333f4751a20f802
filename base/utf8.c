/* utf8.c - the check of base/utf8.h, by the table of well-formed sequences (Unicode 15, table 3-7).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <stdint.h>

typedef struct form {
    uint8_t lead_min, lead_max;
    uint8_t second_min, second_max; /* the second byte; later ones are 80..BF */
    uint8_t size_bytes;
} form;

static const form forms[] = {
    {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* Bytes of the sequence at at, 0 when it is malformed or cut short. */
static size_t sequence_bytes(const uint8_t *at, size_t left_bytes)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const form *f = &forms[i];
        if (at[0] < f->lead_min || at[0] > f->lead_max) { continue; }
        if (f->size_bytes == 1) { return 1; }
        if (left_bytes < f->size_bytes || at[1] < f->second_min || at[1] > f->second_max) { return 0; }
        for (size_t k = 2; k < f->size_bytes; k++) {
            if ((at[k] & 0xc0) != 0x80) { return 0; }
        }
        return f->size_bytes;
    }
    return 0;
}

size_t stoa_utf8_prefix(const char *bytes, size_t size_bytes)
{
    const uint8_t *at = (const uint8_t *)bytes;
    size_t used_bytes = 0;
    while (used_bytes < size_bytes) {
        size_t step_bytes = sequence_bytes(at + used_bytes, size_bytes - used_bytes);
        if (!step_bytes) { break; }
        used_bytes += step_bytes;
    }
    return used_bytes;
}
