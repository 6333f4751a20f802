/* wire.h - what the two sides of cluster/ship/log.h say over their ship. Internal to cluster/ship/.
 *
 * A record is a head of 8 bytes and a part of an item; the items:
 *
 *     BEGIN     u64 last | u64 epoch | 32 B hash: the log begins behind this
 *     BLOCK     one, as it is stored
 *     SNAPSHOT  u64 position | u64 epoch | 32 B hash of the block there | 32 B hash of the manifest: entries follow
 *     ENTRY     u32 key_bytes | key | value as it is stored
 *     WHOLE     that was the last; nothing
 *
 * The copy's note is a stoa_log_note. All little endian.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_SHIP_WIRE_H
#define STOA_CLUSTER_SHIP_WIRE_H

#include "base/hash.h"
#include "storage/block.h"

enum { STOA_LOG_BEGIN, STOA_LOG_BLOCK, STOA_LOG_SNAPSHOT, STOA_LOG_ENTRY, STOA_LOG_WHOLE, STOA_LOG_ITEMS };

typedef struct stoa_log_head {
    uint8_t item;
    uint8_t last; /* part of it */
    uint8_t spare[6];
} stoa_log_head;

enum {
    STOA_LOG_KEY_MAX = 33,                                   /* of a snapshot's entries */
    STOA_LOG_ITEM_MAX = STOA_BLOCK_BYTES_MAX                 /* bytes */
};

typedef struct stoa_log_anchor {
    uint64_t last, epoch;
    stoa_hash256 hash;
} stoa_log_anchor;

typedef struct stoa_log_picture {
    uint64_t position, epoch;
    stoa_hash256 block, hash;
} stoa_log_picture;

enum { STOA_LOG_NOTE_VERSION = 1 };

typedef struct stoa_log_note {
    uint32_t version;
    int32_t refused; /* a stoa_err */
    uint64_t last, epoch;
    stoa_hash256 hash;
    uint64_t snapshot; /* its newest whole one */
    uint64_t partial;  /* one of which it has all entries up to key; 0: none */
    stoa_hash256 partial_hash;
    uint32_t key_bytes;
    uint8_t key[STOA_LOG_KEY_MAX + 3];
} stoa_log_note;
_Static_assert(sizeof(stoa_log_note) == 144, "a note has no holes");

#endif
