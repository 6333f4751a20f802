/* z85.h - 32-byte keys as 40 characters of text, the form in which keys are shown, stored and passed (ZeroMQ RFC 32).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_Z85_H
#define STOA_TRANSPORT_Z85_H

#include <stdbool.h>
#include <stdint.h>

enum { STOA_Z85_KEY_BYTES = 32, STOA_Z85_KEY_CHARS = 40 };

/* Write 40 characters and a NUL. */
void stoa_z85_encode(const uint8_t key[STOA_Z85_KEY_BYTES], char text_out[STOA_Z85_KEY_CHARS + 1]);

/* False, and key_out as it was, unless text (NULL is allowed) is exactly 40 characters of Z85 that stand for a key. */
bool stoa_z85_decode(const char *text, uint8_t key_out[STOA_Z85_KEY_BYTES]);

#endif
