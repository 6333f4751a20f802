/* segment_write.c - the writer of storage/archive/segment.h.
 *
 * The header's place is left free at first and filled when all is known; until the file has its name nobody looks at it.
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
#include "storage/archive/segment_header.h"
#include "storage/block.h"

enum { OUT_BYTES = 256 << 10, LENGTH_BYTES = 4 };

struct stoa_segment_writer {
    stoa_segment segment; /* so far */
    stoa_journal_state at;
    ZSTD_CStream *packer;
    int fd;
    uint64_t packed_bytes;
    char folder[PATH_MAX], path[PATH_MAX]; /* path: while it is written */
    char out[OUT_BYTES];
};

static stoa_err open_file(stoa_segment_writer *w, const char *folder, const char *shard)
{
    char name[STOA_SEGMENT_SHARD_MAX + 8];
    if (snprintf(w->folder, sizeof w->folder, "%s", folder) >= (int)sizeof w->folder) {
        return STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", strlen(folder));
    }
    (void)snprintf(name, sizeof name, "%s.tmp", shard);
    stoa_err err = stoa_file_path(folder, name, w->path);
    if (err) { return err; }
    w->fd = open(w->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w->fd < 0) { return stoa_os_error("make", w->path); }
    if (lseek(w->fd, STOA_SEGMENT_HEADER_BYTES, SEEK_SET) < 0) { return stoa_os_error("seek in", w->path); }
    return STOA_OK;
}

static bool set_up(ZSTD_CStream *packer, int32_t level, const stoa_segment *like)
{
    if (ZSTD_isError(ZSTD_CCtx_setParameter(packer, ZSTD_c_compressionLevel, level))) { return false; }
    if (ZSTD_isError(ZSTD_CCtx_setParameter(packer, ZSTD_c_checksumFlag, 1))) { return false; }
    uint64_t bytes = like ? like->raw_bytes + like->blocks * LENGTH_BYTES : ZSTD_CONTENTSIZE_UNKNOWN;
    return !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(packer, bytes));
}

stoa_err stoa_segment_begin(const char *folder, const char *shard, int32_t level, const stoa_segment *like,
                            stoa_segment_writer **out)
{
    size_t length = strlen(shard);
    if (length == 0 || length > STOA_SEGMENT_SHARD_MAX) { return STOA_FAIL(STOA_E_INVALID, "shard's name of %zu bytes", length); }
    if (level < STOA_SEGMENT_LEVEL_MIN || level > STOA_SEGMENT_LEVEL_MAX) { return STOA_FAIL(STOA_E_INVALID, "level %" PRId32, level); }
    stoa_segment_writer *w = calloc(1, sizeof *w);
    if (!w) { return STOA_FAIL(STOA_E_NOMEM, "segment"); }
    w->fd = -1;
    w->segment.level = level;
    memcpy(w->segment.shard, shard, length);
    w->packer = ZSTD_createCStream();
    bool ready = w->packer && set_up(w->packer, level, like);
    stoa_err err = ready ? open_file(w, folder, shard) : STOA_FAIL(STOA_E_NOMEM, "compression at level %" PRId32, level);
    if (err) {
        stoa_segment_abandon(w);
        return err;
    }
    *out = w;
    return STOA_OK;
}

void stoa_segment_abandon(stoa_segment_writer *w)
{
    if (!w) { return; }
    if (w->fd >= 0) {
        (void)close(w->fd);
        (void)unlink(w->path);
    }
    (void)ZSTD_freeCStream(w->packer);
    free(w);
}

static stoa_err write_out(stoa_segment_writer *w, size_t size_bytes)
{
    for (size_t done = 0; done < size_bytes;) {
        ssize_t wrote = write(w->fd, w->out + done, size_bytes - done);
        if (wrote < 0 && errno == EINTR) { continue; }
        if (wrote < 0) { return stoa_os_error("write", w->path); }
        done += (size_t)wrote;
    }
    w->packed_bytes += size_bytes;
    return STOA_OK;
}

/* Feed all of in; with ZSTD_e_end also bring out what is still inside. */
static stoa_err pack(stoa_segment_writer *w, const void *bytes, size_t size_bytes, ZSTD_EndDirective how)
{
    ZSTD_inBuffer in = {.src = bytes, .size = size_bytes};
    for (;;) {
        ZSTD_outBuffer out = {.dst = w->out, .size = sizeof w->out};
        size_t left = ZSTD_compressStream2(w->packer, &out, &in, how);
        if (ZSTD_isError(left)) { return STOA_FAIL(STOA_E_NOMEM, "compress: %s", ZSTD_getErrorName(left)); }
        stoa_err err = write_out(w, out.pos);
        if (err) { return err; }
        if (how == ZSTD_e_end ? left == 0 : in.pos == in.size) { return STOA_OK; }
    }
}

static void count(stoa_segment_writer *w, const stoa_block_view *view, size_t size_bytes)
{
    stoa_segment *s = &w->segment;
    const stoa_block *block = &view->block;
    if (s->blocks == 0) {
        s->first = block->first;
        s->first_ns = block->commit_ns;
        s->first_epoch = block->epoch;
        s->previous = view->previous;
    }
    s->last = stoa_block_last(block);
    s->last_ns = block->commit_ns;
    s->last_epoch = block->epoch;
    s->hash = view->hash;
    s->blocks++;
    s->raw_bytes += size_bytes;
    stoa_chain_advance(&w->at, block, &view->hash);
}

stoa_err stoa_segment_add(stoa_segment_writer *w, const void *bytes, size_t size_bytes)
{
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (!err && w->segment.blocks > 0) { err = stoa_chain_link(&w->at, &view); }
    if (err) { return STOA_PASS(err, "shard %s", w->segment.shard); }

    uint8_t length[LENGTH_BYTES];
    for (unsigned i = 0; i < sizeof length; i++) { length[i] = (uint8_t)(size_bytes >> (8 * i)); }
    err = pack(w, length, sizeof length, ZSTD_e_continue);
    if (!err) { err = pack(w, bytes, size_bytes, ZSTD_e_continue); }
    if (!err) { count(w, &view, size_bytes); }
    return err;
}

const stoa_segment *stoa_segment_so_far(const stoa_segment_writer *w)
{
    return &w->segment;
}

static stoa_err finish(stoa_segment_writer *w)
{
    uint8_t header[STOA_SEGMENT_HEADER_BYTES];
    stoa_err err = pack(w, NULL, 0, ZSTD_e_end);
    if (err) { return err; }
    w->segment.file_bytes = w->packed_bytes + sizeof header;
    stoa_segment_header_encode(&w->segment, header);
    ssize_t wrote = pwrite(w->fd, header, sizeof header, 0);
    if (wrote != (ssize_t)sizeof header) { return stoa_os_error("write", w->path); }
    return fsync(w->fd) == 0 ? STOA_OK : stoa_os_error("sync", w->path);
}

/* What lies on the disk is what was added, or it gets no name. */
static stoa_err prove(stoa_segment_writer *w, stoa_segment *out)
{
    stoa_segment found;
    stoa_err err = stoa_segment_check(w->path, NULL, &found);
    if (err) { return err; }
    const char *fault = stoa_segment_difference(&w->segment, &found, false);
    if (fault) { return STOA_FAIL(STOA_E_CORRUPT, "%s: read back: %s", w->path, fault); }
    *out = found;
    return STOA_OK;
}

stoa_err stoa_segment_seal(stoa_segment_writer *w, bool open, stoa_segment *out)
{
    stoa_segment found;
    char name[STOA_SEGMENT_NAME_MAX], path[PATH_MAX];
    stoa_err err = w->segment.blocks > 0 ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "a segment without blocks");
    if (!err) { err = finish(w); }
    if (!err) { err = prove(w, &found); }
    stoa_segment_name(&w->segment, open, name);
    if (!err) { err = stoa_file_path(w->folder, name, path); }
    if (!err) { err = stoa_file_settle(w->fd, w->path, path); }
    if (!err) {
        (void)close(w->fd);
        w->fd = -1; /* nothing to remove any more */
        *out = found;
    }
    stoa_segment_abandon(w);
    return err;
}
