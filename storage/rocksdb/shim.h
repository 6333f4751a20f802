/* shim.h - what RocksDB can do and its C API does not offer: a logger, a listener, and a look at a lock. The one C++ file of this room is behind it.
 *
 * RocksDB writes a file named LOG beside its data unless it is given a logger. On a full disk that write fails, and
 * the next one aborts the process: Debian builds the library with assertions, and one of them says that nobody writes
 * to a file after an error.
 *
 * Where a table or its MANIFEST finds no space, RocksDB waits until there is some and mends itself, as behind a write so behind a sync.
 * But what a failed sync was to bring to the disk may be gone, whatever the error: a database with our listener takes no further write,
 * and each one gets that error.
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

#ifdef __cplusplus
}
#endif

#endif
