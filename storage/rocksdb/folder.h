/* folder.h - making files that are still there after a power cut. What a failed sync leaves behind may or may not be on the disk: that is
 * IO, never FULL, which says that it is not.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_FOLDER_H
#define STOA_STORAGE_ROCKSDB_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Make the folder, private to the user, if it is not there; its parent must be. Blocks. Errors: IO, FULL. */
stoa_err stoa_folder_make(const char *path);

/* Make the entry of path in its parent folder durable. Blocks. Errors: IO. */
stoa_err stoa_folder_sync_parent(const char *path);

/* Make durable what has been written of RocksDB's logs (*.log) in the folder, and their entries. Blocks; writes go on beside it.
 * Errors: IO. */
stoa_err stoa_folder_sync_logs(const char *path);

/* And have what is read of them next come from the disk: of what an earlier process failed to sync the kernel tells nobody again, and has
 * it in memory as if it were there. Nobody writes them. Blocks. Errors: IO. */
stoa_err stoa_folder_sync_logs_afresh(const char *path);

/* Whether there are RocksDB's tables, blobs or logs in the folder. Blocks. */
bool stoa_folder_has_data(const char *path);

/* Bytes of the files in the folder; 0 where there is none. Blocks. */
uint64_t stoa_folder_bytes(const char *path);

/* Bytes that are left on the disk of path; UINT64_MAX where the system does not say. */
uint64_t stoa_folder_room(const char *path);

/* Whether that is so much that a database is worth opening. */
bool stoa_folder_has_space(const char *path);

/* Remove the folder and the files in it; it has no folders in it. One that is not there is OK. Blocks. Errors: IO. */
stoa_err stoa_folder_remove(const char *path);

#endif
