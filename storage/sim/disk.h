/* disk.h - a simulated disk and the journal open on it, as their files see them. Internal to storage/.
 *
 * A disk is what survives: the stored blocks, how many of them are synced, the mark, the side store. A journal is a handle
 * on a disk with the end of the chain in it. disk->open and handle->disk point at each other; a crash parts them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_SIM_DISK_H
#define STOA_STORAGE_SIM_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/random.h"
#include "storage/seal.h"
#include "storage/sim/journal.h"
#include "storage/sim/side.h"

typedef struct stoa_sim_stored {
    uint8_t *bytes;
    size_t size_bytes;
    uint64_t last; /* of its events, as the writer knew it */
} stoa_sim_stored;

/* A commit mark: the log was synced up to here, and the block that ends here has this hash. */
typedef struct stoa_sim_mark {
    uint64_t position;
    stoa_hash256 hash;
} stoa_sim_mark;

typedef struct stoa_sim_handle {
    stoa_journal journal;
    stoa_sim_disk *disk; /* NULL: dead */
    stoa_journal_state state;
    stoa_err failed; /* what every call answers from now on */
    bool full;       /* the last append found no space */
    const stoa_keyring *keys;
} stoa_sim_handle;

struct stoa_sim_disk {
    char name[STOA_SIM_DISK_NAME_MAX + 1];
    stoa_sim_disk *next;
    stoa_sim_handle *open;
    stoa_random random, side_random; /* the side store's own, so that the log's faults are the same without it */
    stoa_sim_side side;
    stoa_sim_stored *blocks;
    size_t count, synced;
    uint32_t cap;
    stoa_sim_mark mark, mark_on_platter;
    stoa_journal_state anchor; /* last, hash, epoch and begun: the end of what was purged, or was never there */
    struct {
        uint64_t last, bit; /* of which block; last 0: none */
    } rotten;
    uint32_t syncs_to_failure, appends_refused, puts_to_failure;
    uint64_t syncs, crashes, lost_blocks, cut_blocks;
};

/* Everything stored is synced, or the disk says it could not. The mark follows. */
stoa_err stoa_sim_disk_sync(stoa_sim_handle *handle);
/* What every call answers once the journal has failed. */
stoa_err stoa_sim_disk_failed(const stoa_sim_handle *handle);

/* purge.c; as in storage/journal.h. */
stoa_err stoa_sim_purge(stoa_journal *journal, uint64_t below);
stoa_err stoa_sim_begin(stoa_journal *journal, const stoa_journal_state *anchor);

/* Index of the block that holds position; disk->count when it is behind the last. */
size_t stoa_sim_disk_block(const stoa_sim_disk *disk, uint64_t position);
/* Drop the blocks from index on. */
void stoa_sim_disk_cut(stoa_sim_disk *disk, size_t index);
/* The handle is dead from now on. */
void stoa_sim_disk_part(stoa_sim_handle *handle);

#endif
