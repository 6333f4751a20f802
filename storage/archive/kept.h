/* kept.h - the files of a snapshot in an archive: its entries as the journal stored them, and the list of them.
 *
 *     snapshot-POSITION.list     which entries it is made of, and in which file each lies
 *     snapshot-POSITION.chunks   those that were new with it, one behind the other
 *
 * Entries are side values with their keys (storage/snapshot.h), sealed ones sealed: files are made, copied, proven and put back
 * without a key. Equal chunks have equal keys, so a list names what an older file has instead of writing it again; it leans on
 * STOA_SNAPSHOT_PACKS files at most, so that those that nobody names can go. A list, little endian:
 *     "STL1" | u32 version 1 | u64 position | u64 epoch | u64 wall_ns | u64 chunks | u64 bytes | u64 entries |
 *     32 B shard's name, padded with NULs | 32 B hash of the block at position | 32 B hash of the snapshot's manifest |
 *     entries x (u8 key_bytes | 33 B key, padded with NULs | u64 file | u64 at | u32 packed_bytes | u32 stored_bytes |
 *     32 B BLAKE2b-256 of the stored value), keys ascending | 32 B BLAKE2b-256 of all before it
 * packed: a zstd frame, or the stored value itself where that is not longer. Files are written under a name that ends in .tmp, synced, and
 * then named.
 *
 * Threads: a writer, reader or list belongs to one at a time. All functions block.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_KEPT_H
#define STOA_STORAGE_ARCHIVE_KEPT_H

#include "storage/archive/manifest.h"

enum { STOA_KEPT_NAME_MAX = 48, STOA_KEPT_KEY_MAX = 33 };

typedef struct stoa_kept_entry {
    uint8_t key[STOA_KEPT_KEY_MAX], key_bytes;
    uint32_t packed_bytes, stored_bytes;
    uint64_t file, at; /* the snapshot whose .chunks it lies in; there */
    stoa_hash256 hash; /* of the stored value */
} stoa_kept_entry;

typedef struct stoa_kept_list {
    stoa_snapshot_info info;
    char shard[STOA_SEGMENT_SHARD_MAX + 1];
    stoa_kept_entry *entries; /* keys ascending */
    uint64_t count, cap;
} stoa_kept_list;

static const char stoa_kept_list_ending[] = ".list", stoa_kept_chunks_ending[] = ".chunks";

/* snapshot-POSITION.list or .chunks. */
void stoa_kept_name(uint64_t position, const char *ending, char name[STOA_KEPT_NAME_MAX]);
/* Back: false where it is no such name. */
bool stoa_kept_parse(const char *name, const char *ending, uint64_t *position_out);

/* --- lists */

void stoa_kept_list_deinit(stoa_kept_list *list);
/* Add an entry behind the last. Errors: NOMEM. */
stoa_err stoa_kept_list_add(stoa_kept_list *list, const stoa_kept_entry *entry);
/* The entry of that key; NULL: there is none. */
const stoa_kept_entry *stoa_kept_list_find(const stoa_kept_list *list, const void *key, uint32_t key_bytes);
/* Which files it names, rising. False: more than there is room for. */
bool stoa_kept_list_files(const stoa_kept_list *list, uint64_t files[STOA_SNAPSHOT_PACKS], uint32_t *count_out);
/* Errors: NOMEM, IO, FULL. */
stoa_err stoa_kept_list_save(const char *folder, const stoa_kept_list *list, stoa_hash256 *hash_out);
/* The list of the snapshot at position, and its file's hash. Errors: GAP (it is not there), CORRUPT, VERSION, IO, NOMEM. */
stoa_err stoa_kept_list_load(const char *folder, uint64_t position, stoa_kept_list *out, stoa_hash256 *hash_out);

/* --- writing entries */

typedef struct stoa_kept_writer stoa_kept_writer;

/* Errors: NOMEM, IO, FULL. */
stoa_err stoa_kept_begin(const char *folder, uint64_t position, int32_t level, stoa_kept_writer **out);
/* Errors: INVALID (a key or value of no snapshot), IO, FULL. */
stoa_err stoa_kept_put(stoa_kept_writer *writer, const stoa_side_entry *stored, stoa_kept_entry *out);
/* Sync the file and give it its name. The writer is gone on return, and so is the file on error. Errors: IO, FULL. */
stoa_err stoa_kept_settle(stoa_kept_writer *writer);
/* Give up: nothing stays. NULL is allowed. */
void stoa_kept_abandon(stoa_kept_writer *writer);

/* --- reading entries */

typedef struct stoa_kept_reader {
    char folder[4096];
    struct {
        uint64_t file;
        int fd;
    } open[STOA_SNAPSHOT_PACKS];
    uint32_t open_count;
    uint8_t *packed, *stored; /* one entry each */
    size_t packed_cap, stored_cap;
} stoa_kept_reader;

void stoa_kept_reader_init(stoa_kept_reader *reader, const char *folder);
void stoa_kept_reader_deinit(stoa_kept_reader *reader);
/* The entry as it was stored, its hash compared; valid until the next call. Errors: GAP (its file is not there), CORRUPT (it is cut
 * short, or has other bytes: the trail names the file), IO, NOMEM. */
stoa_err stoa_kept_get(stoa_kept_reader *reader, const stoa_kept_entry *entry, stoa_side_entry *out);

#endif
