/* keys.h - CURVE key pairs in files: NAME.key (secret, mode 0600) and NAME.pub.
 *
 * A key file is one line of Z85 text (40 characters). Secret files that others may read are refused.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_KEYS_H
#define STOA_TRANSPORT_KEYS_H

#include <stdbool.h>

#include "base/error.h"
#include "transport/link.h"

typedef struct stoa_key_pair {
    char public_key[STOA_KEY_TEXT_BYTES];
    char secret_key[STOA_KEY_TEXT_BYTES];
} stoa_key_pair;

/* A fresh pair from the system's entropy. */
stoa_err stoa_key_new(stoa_key_pair *out);
/* Write path.key (0600) and path.pub, synced; neither is overwritten, and it is both or none.
 * Errors: EXISTS, NOT_FOUND (folder), DENIED, INVALID (path), FULL, IO. */
stoa_err stoa_key_save(const char *path, const stoa_key_pair *pair);
/* Read path.key and derive the public key. Errors: NOT_FOUND, DENIED (mode, rights), INVALID (not a key), IO. */
stoa_err stoa_key_load(const char *path, stoa_key_pair *out);
/* The same, and a fresh pair is made and saved where there is none, and logged. Errors: as load and save; EXISTS (path.pub is there, its secret half is not). */
stoa_err stoa_key_have(const char *path, stoa_key_pair *out);
/* The public half that belongs to a secret one; false: secret_key is not a key. */
bool stoa_key_derive(const char *secret_key, char public_key_out[STOA_KEY_TEXT_BYTES]);
/* Read a .pub file (path is given with its ending; one that ends in .key is a secret half, and INVALID). Errors: NOT_FOUND, DENIED, INVALID, IO. */
stoa_err stoa_key_load_public(const char *path, char public_key_out[STOA_KEY_TEXT_BYTES]);

#endif
