/* archive.c - opening, looking into and reading an archive: storage/archive/archive.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "storage/archive/file.h"
#include "storage/archive/internal.h"
#include "storage/archive/snapshot.h"
#include "storage/rocksdb/folder.h"

enum { SEGMENT_BYTES = 32 << 20, LEVEL = 3, COLD_LEVEL = 12 };

const char *stoa_archive_folder(const stoa_archive *archive, stoa_tier tier)
{
    return tier == STOA_TIER_WARM ? archive->folder : archive->cold_folder;
}

stoa_err stoa_archive_path(const stoa_archive *archive, const stoa_manifest_entry *entry, char path[PATH_MAX])
{
    char name[STOA_SEGMENT_NAME_MAX];
    stoa_segment_name(&entry->segment, entry->open, name);
    return stoa_file_path(stoa_archive_folder(archive, entry->tier), name, path);
}

stoa_err stoa_progress_tell(const stoa_progress_to *to, const stoa_progress *progress)
{
    return to && to->tell ? to->tell(to->context, progress) : STOA_OK;
}

stoa_err stoa_archive_replace(stoa_archive *archive, stoa_manifest *next)
{
    next->written_ns = archive->clock->wall_ns(archive->clock);
    stoa_err err = stoa_manifest_save(archive->folder, next);
    if (err) { return err; }
    (void)pthread_mutex_lock(&archive->lock);
    stoa_manifest before = archive->manifest;
    archive->manifest = *next;
    (void)pthread_mutex_unlock(&archive->lock);
    stoa_manifest_deinit(&before);
    return STOA_OK;
}

/* --- open */

/* *found_out: there was a manifest. */
static stoa_err load(stoa_archive *archive, const stoa_archive_options *options, bool *found_out)
{
    stoa_manifest m;
    stoa_err err = stoa_manifest_load(archive->folder, &m);
    *found_out = !err;
    if (err == STOA_E_NOT_FOUND && !options->read_only) { return STOA_OK; }
    if (!err && strcmp(m.shard, options->shard) != 0) {
        err = STOA_FAIL(STOA_E_CORRUPT, "%s: the manifest is of shard %s", archive->folder, m.shard);
        stoa_manifest_deinit(&m);
    }
    if (err) { return err; }
    if (archive->manifest.class_name[0]) { memcpy(m.class_name, archive->manifest.class_name, sizeof m.class_name); }
    archive->manifest = m;
    return STOA_OK;
}

static stoa_err make_folders(stoa_archive *archive)
{
    stoa_err err = stoa_folder_make_all(archive->folder);
    if (!err) { err = stoa_folder_make_all(archive->cold_folder); }
    return err ? err : stoa_file_lock(archive->folder, "lock", &archive->lock_fd);
}

stoa_err stoa_archive_prepare(const stoa_archive_options *options, stoa_archive **out)
{
    stoa_archive *archive = calloc(1, sizeof *archive);
    if (!archive) { return STOA_FAIL(STOA_E_NOMEM, "archive"); }
    STOA_ASSERT(pthread_mutex_init(&archive->lock, NULL) == 0);
    archive->lock_fd = -1;
    archive->clock = options->clock ? options->clock : &stoa_clock_real;
    archive->segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES;
    archive->level = options->level ? options->level : LEVEL;
    archive->cold_level = options->cold_level ? options->cold_level : COLD_LEVEL;
    stoa_manifest *m = &archive->manifest;
    (void)snprintf(m->shard, sizeof m->shard, "%s", options->shard);
    (void)snprintf(m->class_name, sizeof m->class_name, "%s", options->class_name ? options->class_name : "");
    size_t length = strlen(options->shard);
    stoa_err err = length == 0 || length > STOA_SEGMENT_SHARD_MAX || strchr(options->shard, '/')
                       ? STOA_FAIL(STOA_E_INVALID, "shard's name '%s'", options->shard)
                       : stoa_file_path(options->folder, options->shard, archive->folder);
    if (!err) { err = stoa_file_path(options->cold_folder ? options->cold_folder : options->folder, options->shard, archive->cold_folder); }
    if (!err && !options->read_only) { err = make_folders(archive); }
    if (err) {
        stoa_archive_close(archive);
        return err;
    }
    *out = archive;
    return STOA_OK;
}

stoa_err stoa_archive_open(const stoa_archive_options *options, stoa_archive **out)
{
    stoa_archive *archive;
    bool found;
    stoa_err err = stoa_archive_prepare(options, &archive);
    if (err) { return err; }
    err = load(archive, options, &found);
    if (!err && !options->read_only) { err = stoa_archive_tidy(archive, found); }
    if (err) {
        stoa_archive_close(archive);
        return err;
    }
    *out = archive;
    return STOA_OK;
}

void stoa_archive_close(stoa_archive *archive)
{
    if (!archive) { return; }
    if (archive->lock_fd >= 0) { (void)close(archive->lock_fd); }
    stoa_manifest_deinit(&archive->manifest);
    (void)pthread_mutex_destroy(&archive->lock);
    free(archive);
}

/* --- looking */

stoa_err stoa_archive_look(stoa_archive *archive, stoa_manifest *out)
{
    (void)pthread_mutex_lock(&archive->lock);
    stoa_err err = stoa_manifest_copy(&archive->manifest, out);
    (void)pthread_mutex_unlock(&archive->lock);
    return err;
}

uint64_t stoa_archive_last(stoa_archive *archive, bool sealed)
{
    uint64_t last, epoch;
    stoa_hash256 hash;
    (void)pthread_mutex_lock(&archive->lock);
    stoa_manifest_end(&archive->manifest, sealed, &last, &epoch, &hash);
    (void)pthread_mutex_unlock(&archive->lock);
    return last;
}

uint64_t stoa_archive_first(stoa_archive *archive)
{
    (void)pthread_mutex_lock(&archive->lock);
    uint64_t first = archive->manifest.expired + 1;
    (void)pthread_mutex_unlock(&archive->lock);
    return first;
}

/* --- reading */

/* The segment that holds position, its file open, so that it may be moved or removed while it is read. */
static stoa_err open_entry(stoa_archive *archive, uint64_t position, stoa_manifest_entry *entry, char path[PATH_MAX], int *fd_out)
{
    (void)pthread_mutex_lock(&archive->lock);
    uint32_t index = stoa_manifest_find(&archive->manifest, position);
    stoa_err err = index < archive->manifest.count
                       ? STOA_OK
                       : STOA_FAIL(STOA_E_NOT_FOUND, "position %" PRIu64 " is not in the archive of %s", position,
                                   archive->manifest.shard);
    if (!err) {
        *entry = archive->manifest.entries[index];
        err = stoa_archive_path(archive, entry, path);
    }
    int fd = err ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (!err && fd < 0) { err = errno == ENOENT ? STOA_FAIL(STOA_E_GAP, "%s is missing", path) : stoa_os_error("open", path); }
    (void)pthread_mutex_unlock(&archive->lock);
    if (!err) { *fd_out = fd; }
    return err;
}

stoa_err stoa_archive_read(stoa_archive *archive, uint64_t from, uint64_t until, stoa_stored_visit visit, void *context)
{
    uint64_t last = stoa_archive_last(archive, false);
    if (until > last) { until = last; }
    if (from > until) { return STOA_FAIL(STOA_E_NOT_FOUND, "position %" PRIu64 " of %" PRIu64, from, last); }
    stoa_err err = STOA_OK;
    for (uint64_t next = from; next <= until && !err;) {
        stoa_manifest_entry entry;
        char path[PATH_MAX];
        int fd;
        err = open_entry(archive, next, &entry, path, &fd);
        if (err) { break; }
        err = stoa_segment_read(fd, path, &entry.segment, next, visit, context);
        (void)close(fd);
        next = entry.segment.last + 1;
    }
    return err;
}

stoa_err stoa_archive_prove(stoa_archive *archive, uint32_t index, const stoa_progress_to *progress)
{
    stoa_manifest_entry entry = {0};
    char path[PATH_MAX];
    stoa_segment found;
    (void)pthread_mutex_lock(&archive->lock);
    bool there = index < archive->manifest.count;
    if (there) { entry = archive->manifest.entries[index]; }
    (void)pthread_mutex_unlock(&archive->lock);
    stoa_err err = there ? stoa_archive_path(archive, &entry, path) : STOA_FAIL(STOA_E_INVALID, "segment %" PRIu32, index);
    if (!err) { err = stoa_segment_check(path, &entry.segment, &found); }
    if (err) { return err; }
    stoa_progress p = {.step = "verify", .shard = found.shard, .position = found.last, .last = found.last, .raw_bytes = found.raw_bytes};
    return stoa_progress_tell(progress, &p);
}

stoa_err stoa_archive_verify(stoa_archive *archive, uint64_t until, const stoa_progress_to *progress, uint64_t *verified_out)
{
    stoa_manifest m;
    stoa_err err = stoa_archive_look(archive, &m);
    if (err) { return err; }
    *verified_out = m.expired;
    stoa_progress p = {.step = "verify", .shard = m.shard, .last = m.count ? m.entries[m.count - 1].segment.last : 0};
    for (uint32_t i = 0; i < m.count && !err && m.entries[i].segment.first <= until; i++) {
        char path[PATH_MAX];
        stoa_segment found;
        err = stoa_archive_path(archive, &m.entries[i], path);
        if (!err) { err = stoa_segment_check(path, &m.entries[i].segment, &found); }
        if (err) { break; }
        *verified_out = p.position = found.last;
        p.raw_bytes += found.raw_bytes;
        err = stoa_progress_tell(progress, &p);
    }
    for (uint32_t i = 0; i < m.snapshot_count && !err && m.snapshots[i].info.position <= until; i++) {
        err = stoa_archive_prove_snapshot(archive, &m.snapshots[i], progress);
    }
    stoa_manifest_deinit(&m);
    return err;
}
