/* text_map.c - the hash table of text_map.h. A slot whose value is 0 is empty.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/text_map.h"

#include "base/error.h"
#include "base/hash.h"

typedef struct table {
    uint32_t *values;
    unsigned char *keys;
    uint32_t slot_bytes, mask;
} table;

/* A key is its length and so many bytes, whatever stoa_textN it is. */
static size_t key_bytes(const void *key)
{
    uint16_t len;
    memcpy(&len, key, sizeof len);
    return sizeof len + len;
}

static const unsigned char *key_at(const table *t, uint32_t slot)
{
    return t->keys + (size_t)slot * t->slot_bytes;
}

static uint32_t home_of(const table *t, const void *key)
{
    return (uint32_t)stoa_hash64(0, key, key_bytes(key)) & t->mask;
}

static bool equal(const void *a, const void *b)
{
    return memcmp(a, b, key_bytes(b)) == 0;
}

/* Where key is, or the empty slot that ends the search for it. */
static uint32_t slot_of(const table *t, const void *key)
{
    uint32_t slot = home_of(t, key);
    while (t->values[slot] && !equal(key_at(t, slot), key)) { slot = (slot + 1) & t->mask; }
    return slot;
}

/* Looking does not write, though a table could. */
static table table_of(const uint32_t *values, const void *keys, uint32_t slot_bytes, uint32_t slots)
{
    union {
        const uint32_t *looked;
        uint32_t *at;
    } v = {values};
    union {
        const void *looked;
        unsigned char *at;
    } k = {keys};
    return (table){.values = v.at, .keys = k.at, .slot_bytes = slot_bytes, .mask = slots - 1};
}

uint32_t stoa_text_map_get(const uint32_t *values, const void *keys, uint32_t slot_bytes, uint32_t slots, const void *key)
{
    table t = table_of(values, keys, slot_bytes, slots);
    return t.values[slot_of(&t, key)]; /* an empty slot's value is 0 */
}

void stoa_text_map_put(uint32_t *count, uint32_t *values, void *keys, uint32_t slot_bytes, uint32_t slots, const void *key,
                       uint32_t value)
{
    table t = table_of(values, keys, slot_bytes, slots);
    STOA_ASSERT(key_bytes(key) > sizeof(uint16_t) && key_bytes(key) <= slot_bytes && value != 0);
    uint32_t slot = slot_of(&t, key);
    if (t.values[slot] == 0) {
        STOA_ASSERT(*count < STOA_TEXT_MAP_MAX(slots));
        ++*count;
        memcpy(t.keys + (size_t)slot * slot_bytes, key, key_bytes(key));
    }
    t.values[slot] = value;
}

static void empty(const table *t, uint32_t slot)
{
    memset(t->keys + (size_t)slot * t->slot_bytes, 0, t->slot_bytes);
    t->values[slot] = 0;
}

bool stoa_text_map_remove(uint32_t *count, uint32_t *values, void *keys, uint32_t slot_bytes, uint32_t slots, const void *key)
{
    table t = table_of(values, keys, slot_bytes, slots);
    uint32_t hole = slot_of(&t, key);
    if (t.values[hole] == 0) { return false; }
    for (uint32_t i = (hole + 1) & t.mask; t.values[i] != 0; i = (i + 1) & t.mask) {
        uint32_t home = home_of(&t, key_at(&t, i));
        if (((i - home) & t.mask) < ((i - hole) & t.mask)) { continue; } /* its search does not pass the hole */
        memcpy(t.keys + (size_t)hole * slot_bytes, key_at(&t, i), slot_bytes);
        t.values[hole] = t.values[i];
        hole = i;
    }
    empty(&t, hole);
    --*count;
    return true;
}
