/* mark.h - the commit mark: a small file that says how much of the log was synced, so that a log that lost some is
 * noticed.
 *
 * The file holds two slots, in pages of their own; the valid one with the highest sequence counts. Writing costs a
 * pwrite, which outlives the process; only stoa_mark_sync makes it outlive the machine. Between two syncs the same
 * slot is overwritten, so the other one, which is on the platter, survives whatever happens to this one. The mark is
 * written after the log's own sync, therefore it may lag behind the log but never leads it.
 *
 * A slot is 64 bytes in a sector of its own, which disks write whole or not at all: no crash tears it. One that is not valid
 * is rot, and what it said is not known: the other one is older, by up to all that was written since the last open. Such a mark
 * is damaged, and who opens the log must not take what is broken behind it for the end that a crash leaves (open.c). The next
 * write goes over the damaged slot.
 *
 * Slot, little endian: u32 magic "STM1" | u32 CRC-32C of the rest | u64 sequence | u64 position | u64 appended | 32 B
 * hash.
 *
 * An open mark holds an exclusive flock on its file, which is what makes a second open of a journal DENIED.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_MARK_H
#define STOA_STORAGE_ROCKSDB_MARK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"

enum { STOA_MARK_PAGE_BYTES = 4096, STOA_MARK_SLOT_BYTES = 64, STOA_MARK_SLOTS = 2 };

typedef struct stoa_mark_value {
    uint64_t position; /* the log is synced up to here */
    uint64_t appended; /* the log was written up to here; a hint: above position it may be lost with the machine */
    stoa_hash256 hash; /* of the block that ends at position; zero for position 0 */
} stoa_mark_value;

typedef struct stoa_mark {
    stoa_mark_value value; /* as last written or read */
    uint64_t sequence, synced_at_ns;
    int fd;
    unsigned slot; /* to be written next */
    bool dirty;    /* written since the last sync */
    bool damaged;  /* one slot was not valid when it was opened: value may be older than the one that was written last */
    char path[PATH_MAX];
    bool lost;     /* there was no file, or no slot was valid: value is zero, and vouches for nothing */
} stoa_mark;

/* What becomes of a mark that is lost. */
typedef enum stoa_mark_use {
    STOA_MARK_OPEN,  /* it is CORRUPT */
    STOA_MARK_BEGIN, /* one that is missing, or was never written, is made, with position 0; else CORRUPT */
    STOA_MARK_RENEW, /* the file is made where it is missing; the value is the caller's to write */
    STOA_MARK_LOOK   /* it stays as it is, and so does a sound one: nothing is made, and nothing can be written; a missing one is not locked */
} stoa_mark_use;

/* Lock and read the mark. Blocks. Errors: DENIED (locked by another), CORRUPT, IO, FULL. */
stoa_err stoa_mark_open(stoa_mark *mark, const char *path, stoa_mark_use use);

/* Whether the mark at path was ever written, valid or not; one that cannot be read was. Blocks. */
bool stoa_mark_is_written(const char *path);

/* The refusal of a mark that is lost, with the ways out: CORRUPT. */
stoa_err stoa_mark_lost(const char *path);

/* Write value into the slot at hand. Errors: IO, FULL. */
stoa_err stoa_mark_write(stoa_mark *mark, const stoa_mark_value *value);

/* Bring what was written to the platter. Blocks. Errors: IO, whatever the reason: what was written may be gone. So it is where the file was
 * taken from its path, or another put there: who opens the log next would not find what was written. */
stoa_err stoa_mark_sync(stoa_mark *mark);

/* Bring the value into both slots and to the platter. Blocks. Errors: IO, FULL. */
stoa_err stoa_mark_settle(stoa_mark *mark);

/* Settle it, and release the lock. */
void stoa_mark_close(stoa_mark *mark);

/* Release without another write, after an error. */
void stoa_mark_abandon(stoa_mark *mark);

#endif
