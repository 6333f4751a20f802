/* segment_read.c - the reading side of storage/archive/segment.h.
 *
 * One scan serves both: the file's bytes go through the hash (check), then through zstd, and are cut into blocks, each of
 * which continues the chain. Bytes from disk are hostile until then: sizes are looked at before anything is allocated.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/os.h"
#include "storage/archive/file.h"
#include "storage/archive/segment_header.h"
#include "storage/block.h"

enum { IN_BYTES = 128 << 10, OUT_BYTES = 256 << 10, LENGTH_BYTES = 4, WINDOW_LOG_MAX = 27 };

typedef struct scan {
    int fd;
    const char *path;
    off_t offset;
    stoa_segment header;
    stoa_hash256_run *hash; /* of the file; NULL: not wanted */
    ZSTD_DStream *unpacker;
    bool ended; /* of the frame */

    uint8_t *pending; /* unpacked, not yet a whole block */
    size_t pending_bytes, pending_cap;
    stoa_journal_state at;
    uint64_t blocks, raw_bytes, from, first_ns;
    stoa_block last;
    stoa_stored_visit visit; /* NULL: nobody */
    void *context;
    char in[IN_BYTES], out[OUT_BYTES];
} scan;

static stoa_err corrupt(const scan *s, const char *what)
{
    return STOA_FAIL(STOA_E_CORRUPT, "%s: %s", s->path, what);
}

/* Up to size bytes of the file; *got_out is less only at its end. */
static stoa_err take_bytes(scan *s, void *bytes, size_t size_bytes, size_t *got_out)
{
    size_t got = 0;
    while (got < size_bytes) {
        ssize_t n = pread(s->fd, (char *)bytes + got, size_bytes - got, s->offset);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) { return stoa_os_error("read", s->path); }
        if (n == 0) { break; }
        got += (size_t)n;
        s->offset += n;
    }
    if (s->hash) { stoa_hash256_add(s->hash, bytes, got); }
    *got_out = got;
    return STOA_OK;
}

static stoa_err read_header(scan *s)
{
    uint8_t bytes[STOA_SEGMENT_HEADER_BYTES];
    size_t got;
    stoa_err err = take_bytes(s, bytes, sizeof bytes, &got);
    if (err) { return err; }
    if (got < sizeof bytes) { return corrupt(s, "shorter than a header"); }
    err = stoa_segment_header_decode(bytes, &s->header);
    return err ? STOA_PASS(err, "%s", s->path) : STOA_OK;
}

/* --- blocks */

/* The first block must follow the one that the header names, the others each other. */
static stoa_err follow(scan *s, const stoa_block_view *view)
{
    if (s->blocks == 0) {
        s->at = (stoa_journal_state){.last = s->header.first - 1, .hash = s->header.previous};
        s->first_ns = view->block.commit_ns;
        if (view->block.epoch != s->header.first_epoch) { return corrupt(s, "its first epoch is not that of its header"); }
    }
    return stoa_chain_link(&s->at, view);
}

static stoa_err take_block(scan *s, const uint8_t *bytes, size_t size_bytes)
{
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (!err) { err = follow(s, &view); }
    if (err) { return STOA_PASS(err, "%s", s->path); }
    stoa_chain_advance(&s->at, &view.block, &view.hash);
    s->last = view.block;
    s->blocks++;
    s->raw_bytes += size_bytes;
    return s->visit && s->at.last >= s->from ? s->visit(s->context, bytes, size_bytes) : STOA_OK;
}

static size_t length_at(const uint8_t *at)
{
    return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
}

/* All whole blocks among what is pending; what is left of it moves to the front. */
static stoa_err cut_blocks(scan *s)
{
    size_t at = 0;
    while (s->pending_bytes - at >= LENGTH_BYTES) {
        size_t length = length_at(s->pending + at);
        if (length > STOA_BLOCK_BYTES_MAX) { return corrupt(s, "a block is too large"); }
        if (s->pending_bytes - at - LENGTH_BYTES < length) { break; }
        stoa_err err = take_block(s, s->pending + at + LENGTH_BYTES, length);
        if (err) { return err; }
        at += LENGTH_BYTES + length;
    }
    memmove(s->pending, s->pending + at, s->pending_bytes - at);
    s->pending_bytes -= at;
    return STOA_OK;
}

static stoa_err keep(scan *s, const void *bytes, size_t size_bytes)
{
    if (s->pending_bytes + size_bytes > s->pending_cap) {
        size_t cap = (s->pending_bytes + size_bytes) * 2;
        uint8_t *grown = realloc(s->pending, cap);
        if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "block of %zu bytes", cap); }
        s->pending = grown;
        s->pending_cap = cap;
    }
    memcpy(s->pending + s->pending_bytes, bytes, size_bytes);
    s->pending_bytes += size_bytes;
    return cut_blocks(s);
}

/* --- the frame */

static stoa_err unpack(scan *s, size_t in_bytes)
{
    ZSTD_inBuffer in = {.src = s->in, .size = in_bytes};
    for (;;) {
        if (s->ended && in.pos < in.size) { return corrupt(s, "there is something behind its end"); }
        ZSTD_outBuffer out = {.dst = s->out, .size = sizeof s->out};
        size_t left = ZSTD_decompressStream(s->unpacker, &out, &in);
        if (ZSTD_isError(left)) { return corrupt(s, ZSTD_getErrorName(left)); }
        s->ended = left == 0;
        stoa_err err = out.pos ? keep(s, s->out, out.pos) : STOA_OK;
        if (err) { return err; }
        if (in.pos == in.size && out.pos < out.size) { return STOA_OK; }
        if (s->ended && in.pos == in.size) { return STOA_OK; }
    }
}

static stoa_err read_frame(scan *s)
{
    size_t got = sizeof s->in;
    while (got == sizeof s->in) {
        stoa_err err = take_bytes(s, s->in, sizeof s->in, &got);
        if (!err && got > 0) { err = unpack(s, got); }
        if (err) { return err; }
    }
    if (!s->ended || s->pending_bytes > 0) { return corrupt(s, "it is cut short"); }
    return STOA_OK;
}

/* What was read is what the header promised. */
static stoa_err compare(scan *s)
{
    stoa_segment found = s->header;
    if (s->blocks == 0) { return corrupt(s, "it has no blocks"); }
    found.last = s->at.last;
    found.blocks = s->blocks;
    found.raw_bytes = s->raw_bytes;
    found.first_ns = s->first_ns;
    found.last_ns = s->last.commit_ns;
    found.last_epoch = s->at.epoch;
    found.hash = s->at.hash;
    found.file_bytes = (uint64_t)s->offset;
    const char *fault = stoa_segment_difference(&s->header, &found, false);
    if (!fault && found.file_bytes != s->header.file_bytes) { fault = "it has another size than its header says"; }
    return fault ? corrupt(s, fault) : STOA_OK;
}

static stoa_err run(scan *s)
{
    s->unpacker = ZSTD_createDStream();
    if (!s->unpacker) { return STOA_FAIL(STOA_E_NOMEM, "%s", s->path); }
    (void)ZSTD_DCtx_setParameter(s->unpacker, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    stoa_err err = read_frame(s);
    return err ? err : compare(s);
}

static void scan_free(scan *s)
{
    (void)ZSTD_freeDStream(s->unpacker);
    free(s->pending);
    free(s);
}

/* --- the two uses */

static stoa_err check_open(int fd, const char *path, const stoa_segment *expected, stoa_segment *out)
{
    stoa_hash256_run hash;
    stoa_hash256_begin(&hash);
    scan *s = calloc(1, sizeof *s);
    if (!s) { return STOA_FAIL(STOA_E_NOMEM, "%s", path); }
    s->fd = fd;
    s->path = path;
    s->hash = &hash;
    stoa_err err = read_header(s);
    if (!err) { err = run(s); }
    if (!err) {
        stoa_hash256_end(&hash, &s->header.file_hash);
        const char *fault = expected ? stoa_segment_difference(expected, &s->header, true) : NULL;
        if (fault) { err = corrupt(s, fault); }
    }
    if (!err) { *out = s->header; }
    scan_free(s);
    return err;
}

stoa_err stoa_segment_check(const char *path, const stoa_segment *expected, stoa_segment *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return errno == ENOENT ? STOA_FAIL(STOA_E_GAP, "%s is missing", path) : stoa_os_error("open", path); }
    stoa_err err = check_open(fd, path, expected, out);
    (void)close(fd);
    return err;
}

stoa_err stoa_segment_read(int fd, const char *path, const stoa_segment *expected, uint64_t from, stoa_stored_visit visit,
                           void *context)
{
    if (from < expected->first || from > expected->last) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "%s: position %" PRIu64, path, from);
    }
    scan *s = calloc(1, sizeof *s);
    if (!s) { return STOA_FAIL(STOA_E_NOMEM, "%s", path); }
    s->fd = fd;
    s->path = path;
    s->from = from;
    s->visit = visit;
    s->context = context;
    stoa_err err = read_header(s);
    if (!err) {
        const char *fault = stoa_segment_difference(expected, &s->header, false);
        err = fault ? corrupt(s, fault) : run(s);
    }
    scan_free(s);
    return err;
}
