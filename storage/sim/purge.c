/* purge.c - where a simulated log begins: behind what was purged, or behind what it never had (storage/sim/journal.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block.h"
#include "storage/sim/disk.h"

/* How many blocks end below the position. */
static size_t blocks_below(const stoa_sim_disk *disk, uint64_t below)
{
    size_t count = 0;
    while (count < disk->count && disk->blocks[count].last < below) {
        count++;
    }
    return count;
}

stoa_err stoa_sim_purge(stoa_journal *journal, uint64_t below)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_sim_disk *disk = h->disk;
    if (disk->appends_refused > 0) { return STOA_FAIL(STOA_E_FULL, "disk %s is full", disk->name); }
    size_t count = blocks_below(disk, below < h->state.proven ? below : h->state.proven);
    if (count == 0) { return STOA_OK; }

    stoa_block_view view;
    stoa_err err = stoa_block_decode(disk->blocks[count - 1].bytes, disk->blocks[count - 1].size_bytes, &view);
    if (err) { return err; }
    stoa_chain_advance(&disk->anchor, &view.block, &view.hash);
    for (size_t i = 0; i < count; i++) {
        free(disk->blocks[i].bytes);
    }
    disk->count -= count;
    disk->synced -= count;
    memmove(disk->blocks, disk->blocks + count, disk->count * sizeof *disk->blocks);
    h->state.first = disk->anchor.last + 1;
    return STOA_OK;
}

/* The sync fails or it does not: the log begins there or it is empty. */
stoa_err stoa_sim_begin(stoa_journal *journal, const stoa_journal_state *anchor)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_sim_disk *disk = h->disk;
    if (!stoa_chain_begins(anchor)) { return STOA_FAIL(STOA_E_INVALID, "a log that begins behind position %" PRIu64, anchor->last); }
    if (h->state.last > 0) { return STOA_FAIL(STOA_E_EXISTS, "the log has come to %" PRIu64 " already", h->state.last); }
    if (disk->appends_refused > 0) { return STOA_FAIL(STOA_E_FULL, "disk %s is full", disk->name); }
    stoa_err err = stoa_sim_disk_sync(h);
    if (err) { return err; }
    disk->anchor = (stoa_journal_state){.last = anchor->last, .epoch = anchor->epoch, .hash = anchor->hash, .begun = anchor->last};
    disk->mark = disk->mark_on_platter = (stoa_sim_mark){.position = anchor->last, .hash = anchor->hash};
    h->state = (stoa_journal_state){.first = anchor->last + 1, .last = anchor->last, .epoch = anchor->epoch, .hash = anchor->hash,
                                    .proven = anchor->last, .begun = anchor->last};
    return STOA_OK;
}
