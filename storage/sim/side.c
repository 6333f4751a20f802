/* side.c - sim/side.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/sim/side.h"

#include <stdlib.h>
#include <string.h>

#include "storage/side.h"

struct stoa_sim_bytes {
    uint32_t refs, size_bytes;
    bool rotten;
    uint8_t at[];
};

/* --- bytes */

static stoa_sim_bytes *bytes_new(const void *at, uint32_t size_bytes)
{
    stoa_sim_bytes *bytes = malloc(sizeof *bytes + size_bytes);
    if (!bytes) { return NULL; }
    *bytes = (stoa_sim_bytes){.refs = 1, .size_bytes = size_bytes};
    if (size_bytes) { memcpy(bytes->at, at, size_bytes); }
    return bytes;
}

static stoa_sim_bytes *share(stoa_sim_bytes *bytes)
{
    if (bytes) { bytes->refs++; }
    return bytes;
}

static void drop(stoa_sim_bytes *bytes)
{
    if (bytes && --bytes->refs == 0) { free(bytes); }
}

/* --- entries in order */

static void clear(stoa_sim_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        drop(entries->at[i].key);
        drop(entries->at[i].value);
    }
    entries->count = 0;
}

static bool reserve(stoa_sim_entries *entries, size_t count)
{
    if (count <= entries->cap) { return true; }
    size_t cap = entries->cap * 2 > count ? entries->cap * 2 : count + 16;
    stoa_sim_entry *grown = realloc(entries->at, cap * sizeof *grown);
    if (!grown) { return false; }
    entries->at = grown;
    entries->cap = cap;
    return true;
}

static bool copy(stoa_sim_entries *to, const stoa_sim_entries *from)
{
    clear(to);
    if (!reserve(to, from->count)) { return false; }
    for (size_t i = 0; i < from->count; i++) {
        to->at[i] = (stoa_sim_entry){share(from->at[i].key), share(from->at[i].value)};
    }
    to->count = from->count;
    return true;
}

/* Index of the first entry whose key is not before key. */
static size_t find(const stoa_sim_entries *entries, const void *key, uint32_t key_bytes)
{
    size_t low = 0, high = entries->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const stoa_sim_bytes *there = entries->at[middle].key;
        if (stoa_side_compare(there->at, there->size_bytes, key, key_bytes) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void take_out(stoa_sim_entries *entries, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        drop(entries->at[i].key);
        drop(entries->at[i].value);
    }
    if (to > from) { memmove(entries->at + from, entries->at + to, (entries->count - to) * sizeof *entries->at); }
    entries->count -= to - from;
}

/* There is room for one entry more. */
static void apply(stoa_sim_entries *entries, const stoa_sim_change *change)
{
    size_t at = find(entries, change->key->at, change->key->size_bytes);
    if (change->to) {
        bool open_end = change->to->size_bytes == 0;
        size_t end = open_end ? entries->count : find(entries, change->to->at, change->to->size_bytes);
        if (end > at) { take_out(entries, at, end); }
        return;
    }
    bool there = at < entries->count &&
                 stoa_side_compare(entries->at[at].key->at, entries->at[at].key->size_bytes, change->key->at,
                                   change->key->size_bytes) == 0;
    if (there) { take_out(entries, at, at + 1); }
    if (!change->value) { return; }
    memmove(entries->at + at + 1, entries->at + at, (entries->count - at) * sizeof *entries->at);
    entries->at[at] = (stoa_sim_entry){share(change->key), share(change->value)};
    entries->count++;
}

/* --- changes */

static void drop_changes(stoa_sim_side *side)
{
    for (size_t i = 0; i < side->change_count; i++) {
        drop(side->changes[i].key);
        drop(side->changes[i].value);
        drop(side->changes[i].to);
    }
    side->change_count = side->batches = 0;
}

static bool reserve_changes(stoa_sim_side *side, size_t more)
{
    size_t count = side->change_count + more;
    if (count <= side->change_cap) { return true; }
    size_t cap = side->change_cap * 2 > count ? side->change_cap * 2 : count + 16;
    stoa_sim_change *grown = realloc(side->changes, cap * sizeof *grown);
    if (!grown) { return false; }
    side->changes = grown;
    side->change_cap = cap;
    return true;
}

static stoa_err no_memory(void)
{
    return STOA_FAIL(STOA_E_NOMEM, "simulated side store");
}

stoa_err stoa_sim_side_put(stoa_sim_side *side, stoa_space space, const stoa_side_entry *entries, uint32_t count)
{
    if (!reserve_changes(side, count) || !reserve(&side->now[space], side->now[space].count + count)) {
        return no_memory();
    }
    for (uint32_t i = 0; i < count; i++) {
        const stoa_side_entry *entry = &entries[i];
        stoa_sim_change change = {.space = space, .last = i + 1 == count};
        change.key = bytes_new(entry->key, entry->key_bytes);
        change.value = entry->value ? bytes_new(entry->value, entry->value_bytes) : NULL;
        if (!change.key || (entry->value && !change.value)) {
            drop(change.key);
            return no_memory();
        }
        side->changes[side->change_count++] = change;
        apply(&side->now[space], &change);
    }
    side->batches += count > 0;
    return STOA_OK;
}

stoa_err stoa_sim_side_erase(stoa_sim_side *side, stoa_space space, const void *from, uint32_t from_bytes, const void *to,
                             uint32_t to_bytes)
{
    stoa_sim_change change = {.space = space, .last = true};
    if (!reserve_changes(side, 1)) { return no_memory(); }
    change.key = bytes_new(from, from_bytes);
    change.to = bytes_new(to, to_bytes);
    if (!change.key || !change.to) {
        drop(change.key);
        return no_memory();
    }
    side->changes[side->change_count++] = change;
    side->batches++;
    apply(&side->now[space], &change);
    return STOA_OK;
}

void stoa_sim_side_sync(stoa_sim_side *side)
{
    if (side->change_count == 0) { return; }
    for (unsigned i = 0; i < STOA_SPACES; i++) {
        STOA_ASSERT(copy(&side->synced[i], &side->now[i]));
    }
    drop_changes(side);
}

void stoa_sim_side_crash(stoa_sim_side *side, size_t kept)
{
    for (unsigned i = 0; i < STOA_SPACES; i++) {
        STOA_ASSERT(copy(&side->now[i], &side->synced[i]));
    }
    for (size_t i = 0; i < side->change_count && kept > 0; i++) {
        const stoa_sim_change *change = &side->changes[i];
        stoa_sim_entries *entries = &side->now[change->space];
        STOA_ASSERT(reserve(entries, entries->count + 1));
        apply(entries, change);
        kept -= change->last;
    }
    stoa_sim_side_sync(side);
}

void stoa_sim_side_free(stoa_sim_side *side)
{
    drop_changes(side);
    free(side->changes);
    for (unsigned i = 0; i < STOA_SPACES; i++) {
        clear(&side->now[i]);
        clear(&side->synced[i]);
        free(side->now[i].at);
        free(side->synced[i].at);
    }
    *side = (stoa_sim_side){0};
}

/* --- reading */

stoa_err stoa_sim_side_scan(const stoa_sim_side *side, stoa_space space, const void *from, uint32_t from_bytes,
                            stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    const stoa_sim_entries *entries = &side->now[space];
    stoa_err err = STOA_OK;
    for (size_t i = find(entries, from, from_bytes); i < entries->count && !err; i++) {
        const stoa_sim_bytes *key = entries->at[i].key, *value = entries->at[i].value;
        if (value->rotten) { return STOA_FAIL(STOA_E_CORRUPT, "scan: a value of %u bytes is rotten", value->size_bytes); }
        err = visit(context, &(stoa_side_entry){.key = key->at,
                                                .value = value->at,
                                                .key_bytes = key->size_bytes,
                                                .value_bytes = value->size_bytes});
    }
    return err;
}

void stoa_sim_side_rot(stoa_sim_side *side, stoa_space space, size_t n, uint64_t bit, bool silent)
{
    stoa_sim_bytes *value = side->now[space].at[n].value;
    if (!silent || value->size_bytes == 0) {
        value->rotten = true;
        return;
    }
    uint64_t at = bit % ((uint64_t)value->size_bytes * 8);
    value->at[at / 8] ^= (uint8_t)(1u << (at % 8));
}
