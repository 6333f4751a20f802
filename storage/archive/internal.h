/* internal.h - what the files of storage/archive know of an archive.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_INTERNAL_H
#define STOA_STORAGE_ARCHIVE_INTERNAL_H

#include <limits.h>
#include <pthread.h>

#include "storage/archive/archive.h"
#include "storage/archive/kept.h"

struct stoa_archive {
    pthread_mutex_t lock;   /* the manifest, and which files are there; the one who writes reads the manifest without it */
    stoa_manifest manifest;
    stoa_clock *clock;
    uint64_t segment_bytes;
    int32_t level, cold_level;
    int lock_fd; /* -1: read only */
    char folder[PATH_MAX], cold_folder[PATH_MAX]; /* SHARD's own */
};

const char *stoa_archive_folder(const stoa_archive *archive, stoa_tier tier);

/* An archive with its folders and its lock, and an empty manifest; the caller's to close. Errors: as stoa_archive_open. */
stoa_err stoa_archive_prepare(const stoa_archive_options *options, stoa_archive **out);

/* See to the files that the manifest does not name (tidy.c); found: there was a manifest, otherwise it is made. Errors: CORRUPT,
 * IO, FULL, NOMEM. */
stoa_err stoa_archive_tidy(stoa_archive *archive, bool found);

/* snapshot.c: read all entries of a list that need not be named, as stoa_archive_prove_snapshot does; remove .chunks that no snapshot of the
 * manifest leans on. */
stoa_err stoa_archive_prove_list(stoa_archive *archive, const stoa_kept_list *list, const stoa_progress_to *progress);
stoa_err stoa_archive_sweep_chunks(stoa_archive *archive);

/* tidy_snapshots.c: name in next those in the folder that are whole and of use; and when next is the manifest see to the others: they
 * go, or are set aside. */
stoa_err stoa_archive_find_snapshots(stoa_archive *archive, stoa_manifest *next, uint32_t *named_out);
stoa_err stoa_archive_settle_snapshots(stoa_archive *archive);

/* The path of an entry's file. Errors: INVALID. */
stoa_err stoa_archive_path(const stoa_archive *archive, const stoa_manifest_entry *entry, char path[PATH_MAX]);

/* Save the manifest that is to be, then let it be; on error the old one stays, and next is the caller's. Takes next otherwise. */
stoa_err stoa_archive_replace(stoa_archive *archive, stoa_manifest *next);

stoa_err stoa_progress_tell(const stoa_progress_to *to, const stoa_progress *progress);

#endif
