/* any_payload.h - a random payload of any type: what a codec must carry, from a seed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_ANY_PAYLOAD_H
#define STOA_TESTS_ANY_PAYLOAD_H

#include <string.h>

#include "base/random.h"
#include "base/wire_memory.h"

/* Tame values are small: numbers below 128, the first two values of an enumeration, short texts and lists. Wild ones reach
 * up to what the type holds, or to the maxima given here (0: none). */
typedef struct any {
    stoa_random *random;
    uint32_t text_max, list_max;
} any;
enum { ANY_TAME_BELOW = 128, ANY_TAME_VALUES = 2, ANY_TAME_BYTES = 6, ANY_TAME_ELEMENTS = 3 };

static inline uint64_t any_size(const any *a, uint32_t limit, uint32_t max, uint32_t tame, bool wild)
{
    uint32_t most = wild ? limit : tame;
    if (max && most > max) { most = max; }
    return stoa_random_below(a->random, (uint64_t)(most < limit ? most : limit) + 1);
}

/* at is zero. */
static inline void any_payload(const any *a, const stoa_type *type, uint8_t *at, bool wild)
{
    uint64_t value = stoa_random_next(a->random) >> (wild ? stoa_random_below(a->random, 64) : 0);
    if (!wild) { value %= ANY_TAME_BELOW; }
    if (type->cls == STOA_CLASS_ENUM) {
        value %= wild || type->limit < ANY_TAME_VALUES ? type->limit : ANY_TAME_VALUES;
    }
    if (type->cls == STOA_CLASS_INT && stoa_random_chance(a->random, 500)) { value = 0 - value; }
    if (type->cls >= STOA_CLASS_UINT && type->cls <= STOA_CLASS_DECIMAL) {
        stoa_store_uint(at, type->size_bytes, value);
    }
    if (type->cls == STOA_CLASS_TEXT) {
        uint64_t size = any_size(a, type->limit, a->text_max, ANY_TAME_BYTES, wild);
        memset(at + offsetof(stoa_text6, at), (int)('a' + stoa_random_below(a->random, 26)), size);
        stoa_store_uint(at, 2, size);
    }
    if (type->cls == STOA_CLASS_BYTES) {
        uint64_t count = any_size(a, type->limit, a->text_max, ANY_TAME_BYTES, wild);
        memset(at + STOA_LIST_AT, (int)stoa_random_below(a->random, 256), count);
        stoa_store_uint(at, 4, count);
    }
    if (type->cls == STOA_CLASS_LIST) {
        uint64_t count = any_size(a, type->limit, a->list_max, ANY_TAME_ELEMENTS, wild);
        stoa_store_uint(at, 4, count);
        for (uint64_t i = 0; i < count; i++) {
            any_payload(a, type->element, at + STOA_LIST_AT + i * type->element->size_bytes,
                        wild && stoa_random_chance(a->random, 200));
        }
    }
    for (uint32_t i = 0; type->cls == STOA_CLASS_RECORD && i < stoa_wire_fields(type); i++) {
        any_payload(a, type->fields[i].type, at + type->fields[i].offset, wild && stoa_random_chance(a->random, 200));
    }
}

#endif
