/* block.h - one block's bytes (storage/journal.h has the layout) and how a block joins the chain.
 *
 * Pure functions over the caller's memory; no I/O, no clock, no chance. Bytes are hostile until stoa_block_decode has accepted
 * them: it checks sizes before it reads, then the hash, then what the hash cannot promise (a writer's mistakes). What
 * is accepted encodes to the same bytes again: a block whose key is not 0 has its sealed payload as it is stored. Every implementation of the journal checks its blocks here and nowhere
 * else.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_BLOCK_H
#define STOA_STORAGE_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"
#include "storage/journal.h"
#include "storage/seal.h"

enum {
    STOA_BLOCK_HEADER_BYTES = 104,
    STOA_BLOCK_ENTRY_BYTES = 16,
    STOA_BLOCK_BYTES_MAX =
        STOA_BLOCK_HEADER_BYTES + STOA_BLOCK_PAYLOAD_MAX + STOA_SEAL_BYTES + STOA_BLOCK_INDEX_MAX * STOA_BLOCK_ENTRY_BYTES
};

/* Position of the block's last event. */
static inline uint64_t stoa_block_last(const stoa_block *block)
{
    return block->first + (block->count - 1);
}

/* Whether the block may be written at all, whatever the log holds. Errors: INVALID (count 0, first 0, positions
 * overflow, an index position outside the block), TOO_LARGE. */
stoa_err stoa_block_check(const stoa_block *block);

/* Bytes that the block, which passed stoa_block_check, takes. */
size_t stoa_block_bytes(const stoa_block *block);

/* Write the block behind the one with hash *previous into bytes (stoa_block_bytes of them). *hash_out: its own hash. */
void stoa_block_encode(const stoa_block *block, const stoa_hash256 *previous, void *bytes, stoa_hash256 *hash_out);

/* The same for a block with a plain payload, which is sealed with the newest of keys on its way into bytes, for which it takes
 * STOA_SEAL_BYTES more. nonce as in storage/seal.h. Errors: stoa_seal's. */
stoa_err stoa_block_seal(const stoa_block *block, const stoa_hash256 *previous, const stoa_keyring *keys, const uint8_t *nonce,
                         void *bytes, stoa_hash256 *hash_out);

/* What accepted bytes say. block.payload and entries point into the bytes; block.index is NULL, because entries in the
 * bytes are not aligned: see stoa_block_entry. */
typedef struct stoa_block_view {
    stoa_block block;
    stoa_hash256 previous, hash;
    const uint8_t *entries;
} stoa_block_view;

/* Errors: CORRUPT, with what is wrong in the trail; *out is untouched. */
stoa_err stoa_block_decode(const void *bytes, size_t size_bytes, stoa_block_view *out);

/* The same of bytes that were accepted before: nothing is checked again. */
void stoa_block_peek(const void *bytes, stoa_block_view *out);

/* Open a sealed payload of accepted bytes into plain, which has room for STOA_SEAL_BYTES less. Errors: SEALED. */
stoa_err stoa_block_unseal(const stoa_block_view *view, const stoa_keyring *keys, void *plain);

/* The i-th index entry; i < view->block.index_count. */
stoa_index_entry stoa_block_entry(const stoa_block_view *view, uint32_t i);

/* --- the chain. Of a stoa_journal_state only last, epoch and hash matter here. */

/* Whether block, to be appended by us, continues the log at *at. Errors: INVALID, TOO_LARGE. */
stoa_err stoa_chain_admit(const stoa_journal_state *at, const stoa_block *block);

/* Whether view, found on disk, continues the log at *at. Errors: CORRUPT, with position and reason in the trail. */
stoa_err stoa_chain_link(const stoa_journal_state *at, const stoa_block_view *view);

/* Decode bytes that another journal stored, and see whether they continue the log at *at. Errors: CORRUPT (no block),
 * INVALID (another position, an older epoch), FORKED (behind another block). */
stoa_err stoa_chain_admit_stored(const stoa_journal_state *at, const void *bytes, size_t size_bytes, stoa_block_view *out);

/* Whether a log can begin behind that. */
bool stoa_chain_begins(const stoa_journal_state *anchor);

/* *at becomes the end of the log behind the block. */
void stoa_chain_advance(stoa_journal_state *at, const stoa_block *block, const stoa_hash256 *hash);

/* --- walking over stored blocks: decode, link, and hand out as journal.h shows a block. Zero it, then set at and
 * linked (false: the first block is taken for granted, because the walk starts in the middle of the log). */
typedef struct stoa_block_walk {
    stoa_journal_state at; /* the end of the last good block */
    stoa_index_entry *entries;
    uint32_t entries_cap;
    bool linked;
    bool as_stored;           /* sealed payloads are handed out as they are */
    const stoa_keyring *keys; /* else opened with these; NULL: there are none */
    uint8_t *plain;
    size_t plain_cap;
} stoa_block_walk;

/* The next stored block. *out is valid until the next call and as long as bytes are. Errors: CORRUPT and SEALED (at stays
 * where the log is good), NOMEM. */
stoa_err stoa_block_walk_next(stoa_block_walk *walk, const void *bytes, size_t size_bytes, stoa_block *out);
/* That for one block, whatever was before it. Errors: CORRUPT, SEALED, NOMEM, what visit returns. */
stoa_err stoa_block_show(const stoa_keyring *keys, const void *bytes, size_t size_bytes, stoa_err (*visit)(void *context, const stoa_block *block),
                         void *context);
void stoa_block_walk_deinit(stoa_block_walk *walk);

#endif
