/* file.h - files that are whole or not there: written under another name, synced, renamed.
 *
 * Whatever moment the process or the machine stops at, a reader finds the old file, or the new one, or none if there was none.
 * What a crash leaves under the other name ends in ".tmp" and is removed by stoa_file_sweep.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_FILE_H
#define STOA_STORAGE_ARCHIVE_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

/* folder/name into path. Errors: INVALID (too long). */
stoa_err stoa_file_path(const char *folder, const char *name, char path[PATH_MAX]);

/* Make the folder and those above it that are missing; private to the user. Blocks. Errors: IO, FULL, INVALID. */
stoa_err stoa_folder_make_all(const char *path);

/* Whether the folder is missing or has nothing in it. Errors: IO (it is a file, or cannot be read). */
stoa_err stoa_folder_empty(const char *path, bool *empty_out);

/* Give the synced file open as fd, named from, its name in the same folder: durable on return. fd stays open. Blocks.
 * Errors: IO, FULL. */
stoa_err stoa_file_settle(int fd, const char *from, const char *to);

/* Put the bytes into the file folder/name, as a whole. Blocks. Errors: IO, FULL, INVALID. */
stoa_err stoa_file_put(const char *folder, const char *name, const void *bytes, size_t size_bytes);

/* The whole file, appended to out. Blocks. Errors: NOT_FOUND, TOO_LARGE, IO, NOMEM. */
stoa_err stoa_file_get(const char *folder, const char *name, size_t limit_bytes, stoa_buf *out);

/* Remove the file durably; one that is not there is OK. Blocks. Errors: IO, FULL. */
stoa_err stoa_file_remove(const char *folder, const char *name);

/* Visit the names in the folder that end in suffix; none is OK. Errors: IO, what visit returns. */
stoa_err stoa_folder_visit(const char *folder, const char *suffix, stoa_err (*visit)(void *context, const char *name),
                           void *context);

/* Remove what a crash left. Blocks. Errors: IO. */
stoa_err stoa_file_sweep(const char *folder);

/* A lock that the process holds while it has the file open. Errors: DENIED (another has it), IO. */
stoa_err stoa_file_lock(const char *folder, const char *name, int *fd_out);

#endif
