/* side.h - what all side stores (storage/journal.h) share: which batches may be put, how values are kept.
 *
 * A value is stored as one byte that says how it is kept (0 plain, 1 sealed) and then its bytes, or the sealed text
 * (storage/seal.h, bound to space and key).
 *
 * Pure functions over the caller's memory.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_SIDE_H
#define STOA_STORAGE_SIDE_H

#include <stdbool.h>

#include "base/error.h"
#include "storage/journal.h"
#include "storage/seal.h"

/* Whether the batch may be put, whatever the store holds. Errors: INVALID, TOO_LARGE. */
stoa_err stoa_side_check(stoa_space space, const stoa_side_entry *entries, uint32_t count);

/* The same for values as they are stored. Errors: INVALID, TOO_LARGE, CORRUPT. */
stoa_err stoa_side_check_stored(stoa_space space, const stoa_side_entry *entries, uint32_t count);

/* A stored value that is not sealed, as it was put. False: it is sealed, or stored in no known form. */
bool stoa_side_plain(const stoa_side_entry *stored, stoa_side_entry *value_out);

/* Whether a scan may begin, or an erased range begin and end, with keys of these sizes. Errors: INVALID, TOO_LARGE. */
stoa_err stoa_side_check_range(stoa_space space, uint32_t from_bytes, uint32_t to_bytes);

enum { STOA_SIDE_FORM_BYTES_MAX = 1 + STOA_SEAL_BYTES }; /* what a stored value is longer than the value, at most */

/* The value as it is stored, sealed where keys is not NULL, into out. nonce as in storage/seal.h. Errors: stoa_seal's. */
stoa_err stoa_side_wrap(stoa_space space, const stoa_side_entry *entry, const stoa_keyring *keys, const uint8_t *nonce,
                        uint8_t *out, uint32_t *bytes_out);

/* Memory that the values of a scan are opened into. Zero it; free at. */
typedef struct stoa_side_room {
    uint8_t *at;
    uint32_t cap_bytes;
} stoa_side_room;

/* entry has a stored value, and gets the value itself, in its place or in the room. Errors: CORRUPT, SEALED, NOMEM. */
stoa_err stoa_side_unwrap(stoa_space space, stoa_side_entry *entry, const stoa_keyring *keys, stoa_side_room *room);

/* <0, 0, >0: as keys are ordered. */
int stoa_side_compare(const void *a, uint32_t a_bytes, const void *b, uint32_t b_bytes);

#endif
