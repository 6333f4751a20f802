/* listener.h - what RocksDB meets in the background, and would go on behind.
 *
 * Where a table or its MANIFEST finds no space, RocksDB waits until there is some and mends itself, as behind a write so behind a sync.
 * But what a failed sync was to bring to the disk may be gone, whatever the error: such a database takes no further write, and each one
 * gets that error. The C API has no listener, hence this C++ file beside logger.cc.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_LISTENER_H
#define STOA_STORAGE_ROCKSDB_LISTENER_H

#include <rocksdb/c.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Databases opened with the options, or a copy of them, end with a sync that fails. */
void stoa_rocksdb_listen(rocksdb_options_t *options);

#ifdef __cplusplus
}
#endif

#endif
