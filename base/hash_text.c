/* hash_text.c - a 256-bit hash as text, and back: libsodium's. See hash.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "base/hash.h"

void stoa_hash256_print(const stoa_hash256 *hash, char text[STOA_HASH256_TEXT])
{
    (void)sodium_bin2hex(text, STOA_HASH256_TEXT, hash->at, sizeof hash->at);
}

int stoa_hash256_parse(const char *text, stoa_hash256 *out)
{
    stoa_hash256 hash;
    size_t bytes = 0;
    if (strnlen(text, STOA_HASH256_TEXT - 1) < STOA_HASH256_TEXT - 1) { return 0; }
    if (sodium_hex2bin(hash.at, sizeof hash.at, text, STOA_HASH256_TEXT - 1, NULL, &bytes, NULL) || bytes != sizeof hash.at) {
        return 0;
    }
    *out = hash;
    return 1;
}
