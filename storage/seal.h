/* seal.h - sealing what is stored: AES-256-GCM under the keys of a key file.
 *
 * A sealed text is
 *     u32 key id | 12 B nonce | ciphertext, as long as the plain text | 16 B tag           (numbers little endian)
 * and is bound to what its place says of it (associated data: a block's header, a side entry's space and key). Nonces are
 * random; with 2^32 texts under one key the chance that two share a nonce is 2^-33, so add a key before that.
 *
 * The key file, readable and writable by its owner only:
 *     # anything
 *     key 1 6f1c...  (64 hex digits)
 *     key 2 90ab...
 * The key with the highest id seals, all open. To rotate, add one (stoad --new-key FILE, or by hand) and have the file read
 * again; nothing is rewritten. A key may go from the file when nothing is left that was sealed with it.
 *
 * Sealed are payloads of blocks and values of the side store. Plain stay: headers of blocks (positions, times, epochs,
 * hashes, sizes), index entries (ids and positions), keys of the side store, so that chain, index and order work without
 * any key.
 *
 * A keyring's keys lie in memory that is left out of core dumps. Threads: any; reload and the rest at once.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_SEAL_H
#define STOA_STORAGE_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/api.h"
#include "base/error.h"

STOA_API_BEGIN

enum {
    STOA_KEYS_MAX = 64,
    STOA_KEY_SECRET_BYTES = 32,
    STOA_NONCE_BYTES = 12,
    STOA_SEAL_BYTES = 4 + STOA_NONCE_BYTES + 16 /* what a sealed text is longer than its plain text */
};

typedef struct stoa_keyring stoa_keyring;

/* The keys of the file. Blocks. Errors: NOT_FOUND (no file), DENIED (others may read or write it, or it may not be read),
 * INVALID (a line that is none, an id twice, no key), IO, NOMEM. */
stoa_err stoa_keyring_open(const char *path, stoa_keyring **out);

/* Read the file again and take the keys that are new. Errors: as open; INVALID also where a known id has another key now. On
 * error nothing changes. */
stoa_err stoa_keyring_reload(stoa_keyring *ring);

/* NULL is allowed. Nothing may use it any more. */
void stoa_keyring_close(stoa_keyring *ring);

/* The id that seals now. */
uint32_t stoa_keyring_newest(const stoa_keyring *ring);
uint32_t stoa_keyring_count(const stoa_keyring *ring);
/* The i-th lowest id. */
uint32_t stoa_keyring_id(const stoa_keyring *ring, uint32_t i);

/* Add a fresh random key to the file, which is made if it is not there; durable on OK. Errors: as open, FULL, EXISTS
 * (FILE.new is in the way: another one does this, or died doing it). */
stoa_err stoa_key_file_add(const char *path, uint32_t *id_out);

/* Seal size_bytes of plain with the newest key into out, which has room for STOA_SEAL_BYTES more. nonce: STOA_NONCE_BYTES
 * that were never used with that key. Errors: IO (the library refused). */
stoa_err stoa_seal(const stoa_keyring *ring, const uint8_t *nonce, const void *bound, size_t bound_bytes, const void *plain,
                   size_t size_bytes, void *out);

/* Open a sealed text of size_bytes into out, which has room for STOA_SEAL_BYTES less. ring may be NULL. Errors: SEALED (the
 * key, which the trail names, is not there or is another one; or the bytes are not what was sealed here), CORRUPT (too
 * short). */
stoa_err stoa_unseal(const stoa_keyring *ring, const void *bound, size_t bound_bytes, const void *sealed, size_t size_bytes,
                     void *out);

/* The id of the key that sealed it; at least STOA_SEAL_BYTES are there. */
uint32_t stoa_sealed_with(const void *sealed);

STOA_API_END

#endif
