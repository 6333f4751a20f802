/* block.c - the bytes of storage/block.h and the rules of the chain.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/block.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Where the header's fields are. What the hash covers: all before AT_HASH, and all behind the header. */
enum {
    AT_MAGIC = 0,
    AT_COUNT = 4,
    AT_FIRST = 8,
    AT_EPOCH = 16,
    AT_COMMIT_NS = 24,
    AT_PAYLOAD_BYTES = 32,
    AT_INDEX_COUNT = 36,
    AT_PREVIOUS = 40,
    AT_HASH = 72
};
_Static_assert(AT_HASH + sizeof(stoa_hash256) == STOA_BLOCK_HEADER_BYTES, "journal.h describes these bytes");

static const uint8_t magic_plain[4] = {'S', 'T', 'B', '1'}, magic_sealed[4] = {'S', 'T', 'B', '2'};

static void put32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static void put64(uint8_t *at, uint64_t value)
{
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get64(const uint8_t *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static bool hash_equal(const stoa_hash256 *a, const stoa_hash256 *b)
{
    return memcmp(a->at, b->at, sizeof a->at) == 0;
}

/* The rules that a block to be written and a block found share; NULL, or what is wrong. */
static const char *fault_of_range(const stoa_block *block)
{
    if (block->count == 0) { return "it has no events"; }
    if (block->first == 0) { return "positions start at 1"; }
    if (block->first > UINT64_MAX - block->count) { return "its positions overflow"; }
    return NULL;
}

static const char *fault_of_size(const stoa_block *block)
{
    if (block->count > STOA_BLOCK_EVENTS_MAX) { return "it has too many events"; }
    if (block->payload_bytes > STOA_BLOCK_PAYLOAD_MAX + (block->key ? STOA_SEAL_BYTES : 0u)) { return "its payload is too large"; }
    if (block->index_count > STOA_BLOCK_INDEX_MAX) { return "it has too many index entries"; }
    return NULL;
}

static bool holds(const stoa_block *block, uint64_t position)
{
    return position >= block->first && position <= stoa_block_last(block);
}

stoa_err stoa_block_check(const stoa_block *block)
{
    const char *fault = fault_of_size(block);
    if (fault) { return STOA_FAIL(STOA_E_TOO_LARGE, "block at %" PRIu64 ": %s", block->first, fault); }
    fault = fault_of_range(block);
    if (fault) { return STOA_FAIL(STOA_E_INVALID, "block at %" PRIu64 ": %s", block->first, fault); }

    for (uint32_t i = 0; i < block->index_count; i++) {
        if (!holds(block, block->index[i].position)) {
            return STOA_FAIL(STOA_E_INVALID, "block at %" PRIu64 ": index entry %" PRIu32 " is for position %" PRIu64,
                             block->first, i, block->index[i].position);
        }
    }
    return STOA_OK;
}

size_t stoa_block_bytes(const stoa_block *block)
{
    return STOA_BLOCK_HEADER_BYTES + (size_t)block->payload_bytes + (size_t)block->index_count * STOA_BLOCK_ENTRY_BYTES;
}

/* Header but for the hash, and index entries; payload_bytes: as it is stored. Returns where the payload belongs. */
static uint8_t *put_frame(const stoa_block *block, const stoa_hash256 *previous, bool sealed, uint32_t payload_bytes,
                          uint8_t *header)
{
    memcpy(header + AT_MAGIC, sealed ? magic_sealed : magic_plain, sizeof magic_plain);
    put32(header + AT_COUNT, block->count);
    put64(header + AT_FIRST, block->first);
    put64(header + AT_EPOCH, block->epoch);
    put64(header + AT_COMMIT_NS, block->commit_ns);
    put32(header + AT_PAYLOAD_BYTES, payload_bytes);
    put32(header + AT_INDEX_COUNT, block->index_count);
    memcpy(header + AT_PREVIOUS, previous->at, sizeof previous->at);

    uint8_t *payload = header + STOA_BLOCK_HEADER_BYTES, *entry = payload + payload_bytes;
    for (uint32_t i = 0; i < block->index_count; i++, entry += STOA_BLOCK_ENTRY_BYTES) {
        put64(entry, block->index[i].id);
        put64(entry + 8, block->index[i].position);
    }
    return payload;
}

static void put_hash(uint8_t *header, size_t rest_bytes, stoa_hash256 *hash_out)
{
    stoa_hash256 hash;
    stoa_hash256_parts(&hash, header, AT_HASH, header + STOA_BLOCK_HEADER_BYTES, rest_bytes);
    memcpy(header + AT_HASH, hash.at, sizeof hash.at);
    *hash_out = hash;
}

void stoa_block_encode(const stoa_block *block, const stoa_hash256 *previous, void *bytes, stoa_hash256 *hash_out)
{
    uint8_t *payload = put_frame(block, previous, block->key != 0, block->payload_bytes, bytes);
    if (block->payload_bytes > 0) { memcpy(payload, block->payload, block->payload_bytes); }
    put_hash(bytes, stoa_block_bytes(block) - STOA_BLOCK_HEADER_BYTES, hash_out);
}

stoa_err stoa_block_seal(const stoa_block *block, const stoa_hash256 *previous, const stoa_keyring *keys, const uint8_t *nonce,
                         void *bytes, stoa_hash256 *hash_out)
{
    uint8_t *payload = put_frame(block, previous, true, block->payload_bytes + STOA_SEAL_BYTES, bytes);
    stoa_err err = stoa_seal(keys, nonce, bytes, AT_HASH, block->payload, block->payload_bytes, payload);
    if (!err) { put_hash(bytes, stoa_block_bytes(block) + STOA_SEAL_BYTES - STOA_BLOCK_HEADER_BYTES, hash_out); }
    return err;
}

stoa_err stoa_block_unseal(const stoa_block_view *view, const stoa_keyring *keys, void *plain)
{
    const uint8_t *payload = view->block.payload, *header = payload - STOA_BLOCK_HEADER_BYTES;
    return stoa_unseal(keys, header, AT_HASH, payload, view->block.payload_bytes, plain);
}

/* The header's fields, without a look at what they mean. */
static void read_header(const uint8_t *bytes, stoa_block_view *view)
{
    *view = (stoa_block_view){.block = {.first = get64(bytes + AT_FIRST),
                                        .epoch = get64(bytes + AT_EPOCH),
                                        .commit_ns = get64(bytes + AT_COMMIT_NS),
                                        .count = get32(bytes + AT_COUNT),
                                        .payload_bytes = get32(bytes + AT_PAYLOAD_BYTES),
                                        .index_count = get32(bytes + AT_INDEX_COUNT),
                                        .payload = bytes + STOA_BLOCK_HEADER_BYTES}};
    bool sealed = memcmp(bytes + AT_MAGIC, magic_sealed, sizeof magic_sealed) == 0;
    if (sealed && view->block.payload_bytes >= STOA_SEAL_BYTES) { view->block.key = stoa_sealed_with(view->block.payload); }
    memcpy(view->previous.at, bytes + AT_PREVIOUS, sizeof view->previous.at);
    memcpy(view->hash.at, bytes + AT_HASH, sizeof view->hash.at);
    view->entries = bytes + STOA_BLOCK_HEADER_BYTES + view->block.payload_bytes;
}

static const char *fault_of_bytes(const uint8_t *bytes, size_t size_bytes, stoa_block_view *view)
{
    if (size_bytes < STOA_BLOCK_HEADER_BYTES) { return "shorter than a header"; }
    bool sealed = memcmp(bytes + AT_MAGIC, magic_sealed, sizeof magic_sealed) == 0;
    if (!sealed && memcmp(bytes + AT_MAGIC, magic_plain, sizeof magic_plain) != 0) { return "not a block of version 1 or 2"; }

    /* The key's id is read from the payload: only when that is there. */
    uint64_t payload_bytes = get32(bytes + AT_PAYLOAD_BYTES);
    if (payload_bytes > size_bytes - STOA_BLOCK_HEADER_BYTES) { return "its size is not what its header says"; }
    read_header(bytes, view);
    const char *fault = fault_of_size(&view->block);
    if (fault) { return fault; }
    if (sealed && view->block.key == 0) { return "its payload is not a sealed one"; }
    if (stoa_block_bytes(&view->block) != size_bytes) { return "its size is not what its header says"; }

    stoa_hash256 hash;
    stoa_hash256_parts(&hash, bytes, AT_HASH, bytes + STOA_BLOCK_HEADER_BYTES, size_bytes - STOA_BLOCK_HEADER_BYTES);
    if (!hash_equal(&hash, &view->hash)) { return "its hash does not match its bytes"; }

    fault = fault_of_range(&view->block);
    if (fault) { return fault; }
    for (uint32_t i = 0; i < view->block.index_count; i++) {
        if (!holds(&view->block, stoa_block_entry(view, i).position)) { return "an index entry points outside it"; }
    }
    return NULL;
}

void stoa_block_peek(const void *bytes, stoa_block_view *out)
{
    read_header(bytes, out);
}

stoa_err stoa_block_decode(const void *bytes, size_t size_bytes, stoa_block_view *out)
{
    stoa_block_view view;
    const char *fault = fault_of_bytes(bytes, size_bytes, &view);
    if (fault) { return STOA_FAIL(STOA_E_CORRUPT, "block of %zu bytes: %s", size_bytes, fault); }
    *out = view;
    return STOA_OK;
}

stoa_index_entry stoa_block_entry(const stoa_block_view *view, uint32_t i)
{
    const uint8_t *entry = view->entries + (size_t)i * STOA_BLOCK_ENTRY_BYTES;
    return (stoa_index_entry){.id = get64(entry), .position = get64(entry + 8)};
}

stoa_err stoa_chain_admit(const stoa_journal_state *at, const stoa_block *block)
{
    stoa_err err = stoa_block_check(block);
    if (err) { return err; }
    if (block->first != at->last + 1) {
        return STOA_FAIL(STOA_E_INVALID, "block at %" PRIu64 ": the log ends at %" PRIu64, block->first, at->last);
    }
    if (block->epoch < at->epoch) {
        return STOA_FAIL(STOA_E_INVALID, "block at %" PRIu64 ": epoch %" PRIu64 " is older than the log's %" PRIu64,
                         block->first, block->epoch, at->epoch);
    }
    return STOA_OK;
}

stoa_err stoa_chain_link(const stoa_journal_state *at, const stoa_block_view *view)
{
    const stoa_block *block = &view->block;
    if (block->first != at->last + 1) {
        return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": the next block begins at %" PRIu64, at->last + 1,
                         block->first);
    }
    if (!hash_equal(&view->previous, &at->hash)) {
        return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": the block does not continue the one before it",
                         block->first);
    }
    if (block->epoch < at->epoch) {
        return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": epoch falls from %" PRIu64 " to %" PRIu64, block->first,
                         at->epoch, block->epoch);
    }
    return STOA_OK;
}

stoa_err stoa_chain_admit_stored(const stoa_journal_state *at, const void *bytes, size_t size_bytes, stoa_block_view *out)
{
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return err; }
    stoa_block block = view.block;
    block.index_count = 0; /* decode has looked at the entries */
    err = stoa_chain_admit(at, &block);
    if (err) { return err; }
    if (!hash_equal(&view.previous, &at->hash)) {
        return STOA_FAIL(STOA_E_FORKED, "block at %" PRIu64 ": it continues another log than this one", block.first);
    }
    *out = view;
    return STOA_OK;
}

bool stoa_chain_begins(const stoa_journal_state *anchor)
{
    return anchor->last > 0 && anchor->last < UINT64_MAX - STOA_BLOCK_EVENTS_MAX;
}

void stoa_chain_advance(stoa_journal_state *at, const stoa_block *block, const stoa_hash256 *hash)
{
    at->last = stoa_block_last(block);
    at->epoch = block->epoch;
    at->hash = *hash;
}

/* Aligned copies of the index entries, in memory that the walk keeps. */
static stoa_err copy_entries(stoa_block_walk *walk, const stoa_block_view *view)
{
    uint32_t count = view->block.index_count;
    if (count > walk->entries_cap) {
        stoa_index_entry *grown = realloc(walk->entries, count * sizeof *grown);
        if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu32 " index entries", count); }
        walk->entries = grown;
        walk->entries_cap = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        walk->entries[i] = stoa_block_entry(view, i);
    }
    return STOA_OK;
}

/* The payload in plain, in memory that the walk keeps. */
static stoa_err open_payload(stoa_block_walk *walk, stoa_block_view *view)
{
    size_t bytes = view->block.payload_bytes - STOA_SEAL_BYTES;
    if (bytes > walk->plain_cap || !walk->plain) {
        uint8_t *grown = realloc(walk->plain, bytes + 1);
        if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "payload of %zu bytes", bytes); }
        walk->plain = grown;
        walk->plain_cap = bytes;
    }
    stoa_err err = stoa_block_unseal(view, walk->keys, walk->plain);
    if (err) { return STOA_PASS(err, "block at %" PRIu64, view->block.first); }
    view->block.payload = walk->plain;
    view->block.payload_bytes = (uint32_t)bytes;
    return STOA_OK;
}

stoa_err stoa_block_walk_next(stoa_block_walk *walk, const void *bytes, size_t size_bytes, stoa_block *out)
{
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return STOA_PASS(err, "position %" PRIu64, walk->at.last + 1); }
    if (walk->linked) { err = stoa_chain_link(&walk->at, &view); }
    if (!err) { err = copy_entries(walk, &view); }
    if (!err && view.block.key && !walk->as_stored) { err = open_payload(walk, &view); }
    if (err) { return err; }

    stoa_chain_advance(&walk->at, &view.block, &view.hash);
    walk->linked = true;
    *out = view.block;
    out->index = walk->entries;
    out->hash = &walk->at.hash;
    return STOA_OK;
}

void stoa_block_walk_deinit(stoa_block_walk *walk)
{
    free(walk->entries);
    free(walk->plain);
    *walk = (stoa_block_walk){0};
}

stoa_err stoa_block_show(const stoa_keyring *keys, const void *bytes, size_t size_bytes, stoa_err (*visit)(void *context, const stoa_block *block),
                         void *context)
{
    stoa_block_walk walk = {.keys = keys};
    stoa_block block;
    stoa_err err = stoa_block_walk_next(&walk, bytes, size_bytes, &block);
    if (!err) { err = visit(context, &block); }
    stoa_block_walk_deinit(&walk);
    return err;
}
