/* side.h - what all side stores (storage/journal.h) share: which batches may be put.
 *
 * Pure functions over the caller's memory.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_SIDE_H
#define STOA_STORAGE_SIDE_H

#include "base/error.h"
#include "storage/journal.h"

/* Whether the batch may be put, whatever the store holds. Errors: INVALID, TOO_LARGE. */
stoa_err stoa_side_check(stoa_space space, const stoa_side_entry *entries, uint32_t count);

/* Whether a scan may begin, or an erased range begin and end, with keys of these sizes. Errors: INVALID, TOO_LARGE. */
stoa_err stoa_side_check_range(stoa_space space, uint32_t from_bytes, uint32_t to_bytes);

/* <0, 0, >0: as keys are ordered. */
int stoa_side_compare(const void *a, uint32_t a_bytes, const void *b, uint32_t b_bytes);

#endif
