/* shim.h - what RocksDB can do and its C API does not offer: a logger, a listener, a look at a lock, and a word of each sync that failed.
 * The one C++ file of this room is behind it.
 *
 * RocksDB writes a file named LOG beside its data unless it is given a logger. On a full disk that write fails, and
 * the next one aborts the process: Debian builds the library with assertions, and one of them says that nobody writes
 * to a file after an error.
 *
 * Where a table or its MANIFEST finds no space, RocksDB waits until there is some and mends itself, as behind a write so behind a sync.
 * But what a failed sync was to bring to the disk may be gone, whatever the error: a database with our listener takes no further write,
 * and each one gets that error.
 *
 * Nor is that all: the kernel tells of what it could not write once, to the descriptors that were open then. Behind a sync of RocksDB's that
 * failed, one by a descriptor of ours finds nothing wrong. So a disk notes which of them failed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_SHIM_H
#define STOA_STORAGE_ROCKSDB_SHIM_H

#include <rocksdb/c.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The process's logger; line gets each warning and error of RocksDB, on whichever thread it arises. The first call
 * decides on line. Never freed. Any thread. */
rocksdb_logger_t *stoa_rocksdb_logger(void (*line)(const char *text));

/* Whether the database in folder path is open for writing, in whatever process. Blocks. */
bool stoa_rocksdb_is_open(const char *path);

/* Databases opened with the options, or a copy of them, end with a sync that fails, on any thread. */
void stoa_rocksdb_end_with_sync(rocksdb_options_t *options);

/* The disk as one database sees it, or one behind the other: it notes each sync or close of a file or folder of theirs that fails, and does
 * not forget it. Freed once they are closed; NULL is nothing to free. */
typedef struct stoa_rocksdb_disk stoa_rocksdb_disk;
stoa_rocksdb_disk *stoa_rocksdb_disk_new(void);
void stoa_rocksdb_disk_free(stoa_rocksdb_disk *disk);
void stoa_rocksdb_disk_use(stoa_rocksdb_disk *disk, rocksdb_options_t *options);

/* Whether one has failed. Any thread. */
bool stoa_rocksdb_disk_failed(const stoa_rocksdb_disk *disk);

/* Wait for those that are under way: one of them may have been told what a sync by another descriptor then was not. Any thread. */
void stoa_rocksdb_disk_settle(stoa_rocksdb_disk *disk);

#ifdef __cplusplus
}
#endif

#endif
