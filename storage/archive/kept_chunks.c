/* kept_chunks.c - the entries of snapshots in files: storage/archive/kept.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zstd.h>

#include "base/os.h"
#include "storage/archive/file.h"
#include "storage/archive/kept.h"
#include "storage/side.h"

/* --- writing */

struct stoa_kept_writer {
    int fd;
    int32_t level;
    uint64_t position, at;
    uint8_t *packed;
    size_t packed_cap;
    char path[PATH_MAX], named[PATH_MAX];
};

stoa_err stoa_kept_begin(const char *folder, uint64_t position, int32_t level, stoa_kept_writer **out)
{
    char name[STOA_KEPT_NAME_MAX];
    stoa_kept_writer *w = calloc(1, sizeof *w);
    if (!w) { return STOA_FAIL(STOA_E_NOMEM, "a copy of a snapshot"); }
    w->fd = -1;
    w->level = level;
    w->position = position;
    stoa_kept_name(position, stoa_kept_chunks_ending, name);
    stoa_err err = stoa_file_path(folder, name, w->named);
    if (!err && snprintf(w->path, sizeof w->path, "%s.tmp", w->named) >= (int)sizeof w->path) { err = STOA_FAIL(STOA_E_INVALID, "path of %s", folder); }
    if (!err) { w->fd = open(w->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); }
    if (!err && w->fd < 0) { err = stoa_os_error("make", w->path); }
    if (err) {
        stoa_kept_abandon(w);
        return err;
    }
    *out = w;
    return STOA_OK;
}

void stoa_kept_abandon(stoa_kept_writer *w)
{
    if (!w) { return; }
    if (w->fd >= 0) {
        (void)close(w->fd);
        (void)unlink(w->path);
    }
    free(w->packed);
    free(w);
}

static stoa_err write_out(stoa_kept_writer *w, const uint8_t *bytes, size_t size_bytes)
{
    for (size_t done = 0; done < size_bytes;) {
        ssize_t wrote = write(w->fd, bytes + done, size_bytes - done);
        if (wrote < 0 && errno == EINTR) { continue; }
        if (wrote < 0) { return stoa_os_error("write", w->path); }
        done += (size_t)wrote;
    }
    w->at += size_bytes;
    return STOA_OK;
}

static stoa_err reserve(uint8_t **at, size_t *cap, size_t size_bytes)
{
    if (size_bytes <= *cap) { return STOA_OK; }
    uint8_t *grown = realloc(*at, size_bytes);
    if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "an entry of %zu bytes", size_bytes); }
    *at = grown;
    *cap = size_bytes;
    return STOA_OK;
}

stoa_err stoa_kept_put(stoa_kept_writer *w, const stoa_side_entry *stored, stoa_kept_entry *out)
{
    bool fits = stored->key_bytes > 0 && stored->key_bytes <= STOA_KEPT_KEY_MAX && stored->value_bytes > 0 &&
                stored->value_bytes <= STOA_SIDE_VALUE_MAX + STOA_SIDE_FORM_BYTES_MAX;
    if (!fits) { return STOA_FAIL(STOA_E_INVALID, "an entry with a key of %u and a value of %u bytes", stored->key_bytes, stored->value_bytes); }
    stoa_kept_entry e = {.key_bytes = (uint8_t)stored->key_bytes, .stored_bytes = stored->value_bytes, .file = w->position, .at = w->at};
    memcpy(e.key, stored->key, stored->key_bytes);
    stoa_hash256_parts(&e.hash, stored->value, stored->value_bytes, NULL, 0);
    size_t bound = ZSTD_compressBound(stored->value_bytes);
    stoa_err err = reserve(&w->packed, &w->packed_cap, bound);
    if (err) { return err; }
    size_t packed = ZSTD_compress(w->packed, bound, stored->value, stored->value_bytes, w->level);
    bool smaller = !ZSTD_isError(packed) && packed < stored->value_bytes; /* what is sealed is not */
    e.packed_bytes = smaller ? (uint32_t)packed : stored->value_bytes;
    err = write_out(w, smaller ? w->packed : stored->value, e.packed_bytes);
    if (!err) { *out = e; }
    return err;
}

stoa_err stoa_kept_settle(stoa_kept_writer *w)
{
    stoa_err err = stoa_file_settle(w->fd, w->path, w->named);
    if (!err) {
        (void)close(w->fd);
        w->fd = -1; /* nothing to remove any more */
    }
    stoa_kept_abandon(w);
    return err;
}

/* --- reading */

void stoa_kept_reader_init(stoa_kept_reader *r, const char *folder)
{
    *r = (stoa_kept_reader){.open_count = 0};
    (void)snprintf(r->folder, sizeof r->folder, "%s", folder);
}

void stoa_kept_reader_deinit(stoa_kept_reader *r)
{
    for (uint32_t i = 0; i < r->open_count; i++) { (void)close(r->open[i].fd); }
    free(r->packed);
    free(r->stored);
    *r = (stoa_kept_reader){.open_count = 0};
}

/* Its file, open from now on; a list names no more of them than there is room for. */
static stoa_err file_of(stoa_kept_reader *r, uint64_t file, int *fd_out, char path[PATH_MAX])
{
    char name[STOA_KEPT_NAME_MAX];
    stoa_kept_name(file, stoa_kept_chunks_ending, name);
    stoa_err err = stoa_file_path(r->folder, name, path);
    if (err) { return err; }
    for (uint32_t i = 0; i < r->open_count; i++) {
        if (r->open[i].file != file) { continue; }
        *fd_out = r->open[i].fd;
        return STOA_OK;
    }
    if (r->open_count == STOA_SNAPSHOT_PACKS) { (void)close(r->open[--r->open_count].fd); }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return errno == ENOENT ? STOA_FAIL(STOA_E_GAP, "%s is missing", path) : stoa_os_error("open", path); }
    r->open[r->open_count].file = file;
    r->open[r->open_count++].fd = *fd_out = fd;
    return STOA_OK;
}

static stoa_err read_packed(stoa_kept_reader *r, const stoa_kept_entry *e, int fd, const char *path)
{
    for (size_t done = 0; done < e->packed_bytes;) {
        ssize_t got = pread(fd, r->packed + done, e->packed_bytes - done, (off_t)(e->at + done));
        if (got < 0 && errno == EINTR) { continue; }
        if (got < 0) { return stoa_os_error("read", path); }
        if (got == 0) { return STOA_FAIL(STOA_E_CORRUPT, "%s ends before byte %" PRIu64, path, e->at + e->packed_bytes); }
        done += (size_t)got;
    }
    return STOA_OK;
}

stoa_err stoa_kept_get(stoa_kept_reader *r, const stoa_kept_entry *e, stoa_side_entry *out)
{
    char path[PATH_MAX];
    int fd = -1;
    stoa_hash256 hash;
    if (e->at > (uint64_t)INT64_MAX - UINT32_MAX) { return STOA_FAIL(STOA_E_CORRUPT, "an entry at byte %" PRIu64, e->at); }
    stoa_err err = file_of(r, e->file, &fd, path);
    if (!err) { err = reserve(&r->packed, &r->packed_cap, e->packed_bytes); }
    if (!err) { err = reserve(&r->stored, &r->stored_cap, e->stored_bytes); }
    if (!err) { err = read_packed(r, e, fd, path); }
    if (err) { return err; }
    const uint8_t *stored = r->packed;
    bool whole = true;
    if (e->packed_bytes < e->stored_bytes) {
        size_t bytes = ZSTD_decompress(r->stored, e->stored_bytes, r->packed, e->packed_bytes);
        whole = !ZSTD_isError(bytes) && bytes == e->stored_bytes;
        stored = r->stored;
    }
    if (whole) { stoa_hash256_parts(&hash, stored, e->stored_bytes, NULL, 0); }
    if (!whole || memcmp(&hash, &e->hash, sizeof hash) != 0) {
        return STOA_FAIL(STOA_E_CORRUPT, "%s: what lies at byte %" PRIu64 " is not what was written", path, e->at);
    }
    *out = (stoa_side_entry){.key = e->key, .key_bytes = e->key_bytes, .value = stored, .value_bytes = e->stored_bytes};
    return STOA_OK;
}
