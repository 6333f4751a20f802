/* journal.h - a journal in memory on a virtual disk that outlives it: for the simulator and for tests.
 *
 * Path "sim:<name>" names a disk. Opening creates it when there is none; closing leaves it, so a node can die and find
 * its log again. Nothing here reads a clock, starts a thread or touches a file, and every fault is drawn from the
 * disk's seed: the same calls give the same bytes and the same losses. Disks belong to the thread that first named
 * them, which must be the one to use and free them.
 *
 *     stoa_sim_disk *disk;
 *     stoa_sim_disk_get("trade", 7, &disk);
 *     stoa_journal_sim.open("sim:trade", &journal); ... append ...
 *     stoa_sim_disk_crash(disk);             power fails: journal answers CLOSED now, unsynced blocks may be gone
 *     stoa_journal_sim.close(journal);       releases the dead handle, writes nothing
 *     stoa_journal_sim.open("sim:trade", &journal);
 *     stoa_sim_disks_free();
 *
 * The death of a process alone needs no crash: close keeps all that was appended, as a page cache does.
 *
 * The commit mark follows every synced append at once, and reaches the platter with sync and close: a crash may set it
 * back to the last of those.
 *
 * Of what the side store was given since its last sync a crash keeps a prefix of seeded length.
 *
 * Limits: lookup walks all blocks (the real one has an index).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_SIM_JOURNAL_H
#define STOA_STORAGE_SIM_JOURNAL_H

#include <stdint.h>

#include "base/api.h"
#include "storage/journal.h"

STOA_API_BEGIN

extern const stoa_journal_ops stoa_journal_sim;

enum { STOA_SIM_DISK_NAME_MAX = 63 };

typedef struct stoa_sim_disk stoa_sim_disk;

/* The disk of that name; created empty, with seed, when there is none. Errors: INVALID (name empty or too long),
 * NOMEM. */
stoa_err stoa_sim_disk_get(const char *name, uint64_t seed, stoa_sim_disk **out);

/* A journal still open on a freed disk answers CLOSED. NULL is allowed. */
void stoa_sim_disk_free(stoa_sim_disk *disk);
/* All disks of this thread. */
void stoa_sim_disks_free(void);

/* Cut the power: of the blocks that were not synced, a prefix of seeded length stays; behind it, in half of the cases
 * in which something was lost, a torn piece of the next one. */
void stoa_sim_disk_crash(stoa_sim_disk *disk);

/* The nth sync from now on (1: the next; a synced append counts) fails with IO. 0: none. */
void stoa_sim_disk_fail_sync(stoa_sim_disk *disk, uint32_t nth);

/* The next appends answer FULL, so many of them, and each sync behind one that did counts as one; puts do meanwhile. */
void stoa_sim_disk_fill(stoa_sim_disk *disk, uint32_t appends);

/* Rot: flip one seeded bit of the block that holds position. Errors: NOT_FOUND. */
stoa_err stoa_sim_disk_rot(stoa_sim_disk *disk, uint64_t position);
/* The block that rotted last is as it was, as from a good copy. Errors: NOT_FOUND (none did, or it is gone). */
stoa_err stoa_sim_disk_mend(stoa_sim_disk *disk);

/* The nth put or erasure of the side store from now on (1: the next) fails with IO. 0: none. */
void stoa_sim_disk_fail_put(stoa_sim_disk *disk, uint32_t nth);

/* The side store is gone, as after an open that could not read it. */
void stoa_sim_disk_lose_side(stoa_sim_disk *disk);

/* Rot in the side store: a seeded value of the space has a bit flipped, or is CORRUPT to whoever scans it: one or the other
 * by the seed. Errors: NOT_FOUND (it is empty). */
stoa_err stoa_sim_disk_rot_side(stoa_sim_disk *disk, stoa_space space);

/* Figures since the disk was made, and what is on it. */
typedef struct stoa_sim_disk_view {
    uint64_t blocks, bytes;  /* on it now */
    uint64_t synced_blocks;  /* of those, the ones a crash cannot take */
    uint64_t syncs, crashes; /* syncs: asked for, failed ones too */
    uint64_t lost_blocks;    /* by crashes */
    uint64_t cut_blocks;     /* by open: broken above the mark */
    uint64_t marked;         /* position of the commit mark: what is broken up to here is refused */
} stoa_sim_disk_view;
void stoa_sim_disk_look(const stoa_sim_disk *disk, stoa_sim_disk_view *out);

STOA_API_END

#endif
