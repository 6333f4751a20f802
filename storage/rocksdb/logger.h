/* logger.h - where RocksDB's own messages go: into a callback, never into a file.
 *
 * RocksDB writes a file named LOG beside its data unless it is given a logger. On a full disk that write fails, and
 * the next one aborts the process: Debian builds the library with assertions, and one of them says that nobody writes
 * to a file after an error. The C API can set a logger but not make one, hence the one C++ file of this room.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_LOGGER_H
#define STOA_STORAGE_ROCKSDB_LOGGER_H

#include <rocksdb/c.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The process's logger; line gets each warning and error of RocksDB, on whichever thread it arises. The first call
 * decides on line. Never freed. Any thread. */
rocksdb_logger_t *stoa_rocksdb_logger(void (*line)(const char *text));

#ifdef __cplusplus
}
#endif

#endif
