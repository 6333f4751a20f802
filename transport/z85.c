/* z85.c - four bytes, most significant first, are five digits to the base of 85.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/z85.h"

#include <string.h>

enum { BASE = 85, WORD_BYTES = 4, WORD_CHARS = 5 };

static const char digits[BASE + 1] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

void stoa_z85_encode(const uint8_t key[STOA_Z85_KEY_BYTES], char text_out[STOA_Z85_KEY_CHARS + 1])
{
    for (unsigned word = 0; word < STOA_Z85_KEY_BYTES / WORD_BYTES; word++) {
        uint32_t value = 0;
        for (unsigned i = 0; i < WORD_BYTES; i++) {
            value = value << 8 | key[word * WORD_BYTES + i];
        }
        for (unsigned i = WORD_CHARS; i-- > 0; value /= BASE) {
            text_out[word * WORD_CHARS + i] = digits[value % BASE];
        }
    }
    text_out[STOA_Z85_KEY_CHARS] = '\0';
}

static bool decode_word(const char *text, uint8_t out[WORD_BYTES])
{
    uint64_t value = 0;
    for (unsigned i = 0; i < WORD_CHARS; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit) { return false; }
        value = value * BASE + (uint64_t)(digit - digits);
    }
    for (unsigned i = WORD_BYTES; i-- > 0; value >>= 8) {
        out[i] = (uint8_t)(value & 0xff);
    }
    return value == 0;
}

bool stoa_z85_decode(const char *text, uint8_t key_out[STOA_Z85_KEY_BYTES])
{
    uint8_t key[STOA_Z85_KEY_BYTES];
    if (!text || strnlen(text, STOA_Z85_KEY_CHARS + 1) != STOA_Z85_KEY_CHARS) { return false; }
    bool good = true;
    for (unsigned word = 0; good && word < STOA_Z85_KEY_BYTES / WORD_BYTES; word++) {
        good = decode_word(text + word * WORD_CHARS, key + word * WORD_BYTES);
    }
    if (good) { memcpy(key_out, key, sizeof key); }
    explicit_bzero(key, sizeof key);
    return good;
}
