/* manifest.c - rocksdb/manifest.h.
 *
 * The file is a row of blocks of 32 KiB. A record lies in a block, or in pieces, each in a block: masked CRC-32C of type and
 * bytes, 4 bytes; length, 2 bytes; type, 1 byte; bytes. What is left of a block and too small for a header is zero.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/manifest.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"

enum { BLOCK_BYTES = 32 << 10, HEADER_BYTES = 7, SECTOR_BYTES = 512, FILE_BYTES_MAX = 256 << 20 };
enum { PIECE_WHOLE = 1, PIECE_FIRST = 2, PIECE_MIDDLE = 3, PIECE_LAST = 4 };

typedef struct manifest {
    int fd;
    uint8_t *bytes;
    size_t size_bytes;
    char path[PATH_MAX + 64];
} manifest;

/* CURRENT holds the name and a line's end. */
static bool find(const char *folder, manifest *out)
{
    char current[PATH_MAX + 16], name[32] = "";
    (void)snprintf(current, sizeof current, "%s/CURRENT", folder);
    FILE *in = fopen(current, "re");
    bool named = in && fgets(name, sizeof name, in) && strncmp(name, "MANIFEST-", 9) == 0 && !strchr(name, '/');
    if (in) { (void)fclose(in); }
    name[strcspn(name, "\n")] = '\0';
    (void)snprintf(out->path, sizeof out->path, "%s/%s", folder, name);
    return named;
}

static bool load(manifest *m)
{
    struct stat status;
    m->fd = open(m->path, O_RDWR | O_CLOEXEC);
    if (m->fd < 0 || fstat(m->fd, &status) != 0 || status.st_size <= 0 || status.st_size > FILE_BYTES_MAX) { return false; }
    m->size_bytes = (size_t)status.st_size;
    m->bytes = malloc(m->size_bytes);
    return m->bytes && pread(m->fd, m->bytes, m->size_bytes, 0) == (ssize_t)m->size_bytes;
}

static uint32_t little(const uint8_t *bytes, unsigned count)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        value |= (uint32_t)bytes[i] << (8 * i);
    }
    return value;
}

static bool is_sound(const uint8_t *piece, size_t length)
{
    uint32_t crc = stoa_crc32c(0, piece + HEADER_BYTES - 1, length + 1); /* the type is the byte before the piece's own */
    uint32_t masked = ((crc >> 15) | (crc << 17)) + UINT32_C(0xa282ead8);
    return masked == little(piece, 4) && piece[6] >= PIECE_WHOLE && piece[6] <= PIECE_LAST;
}

typedef struct rot {
    size_t good;       /* where the last whole record before it ends */
    size_t begin, end; /* of the piece */
} rot;

/* The first piece that is there to its last byte and is not sound. False: there is none. */
static bool find_rot(const manifest *m, rot *out)
{
    size_t at = 0;
    out->good = 0;
    for (;;) {
        size_t left = BLOCK_BYTES - at % BLOCK_BYTES;
        if (left < HEADER_BYTES) {
            at += left;
            continue;
        }
        if (at >= m->size_bytes || m->size_bytes - at < HEADER_BYTES) { return false; }
        const uint8_t *piece = m->bytes + at;
        size_t length = little(piece + 4, 2);
        out->begin = at;
        out->end = at + HEADER_BYTES + length;
        if (out->end > m->size_bytes) { return false; }
        if (length > left - HEADER_BYTES || !is_sound(piece, length)) { return true; }
        at = out->end;
        if (piece[6] == PIECE_WHOLE || piece[6] == PIECE_LAST) { out->good = at; }
    }
}

/* Where the zeroes begin that go from a sector's beginning to the end. */
static size_t zeroes_from(const manifest *m)
{
    size_t at = m->size_bytes;
    while (at > 0 && m->bytes[at - 1] == 0) {
        at--;
    }
    return (at + SECTOR_BYTES - 1) / SECTOR_BYTES * SECTOR_BYTES;
}

/* Whether another last byte would make it sound. */
static bool lacks_last_byte(const manifest *m, const rot *r)
{
    uint8_t *last = m->bytes + r->end - 1;
    bool lacks = false;
    for (unsigned value = 1; value <= UINT8_MAX && !lacks; value++) {
        *last = (uint8_t)value;
        lacks = is_sound(m->bytes + r->begin, r->end - r->begin - HEADER_BYTES);
    }
    *last = 0;
    return lacks;
}

/* A record may end in a zero of its own, as that of a flush of several families does, which is synced and names their tables; in two
 * none does. So two are of a tear; a single one is only where the checksum says so. */
static bool is_torn(const manifest *m, const rot *r)
{
    size_t zeroes = zeroes_from(m);
    if (zeroes >= r->end) { return false; }
    return zeroes + 1 < r->end || r->end - r->begin <= HEADER_BYTES || lacks_last_byte(m, r);
}

static bool cut(const manifest *m, size_t good)
{
    bool done = good > 0 && ftruncate(m->fd, (off_t)good) == 0 && fsync(m->fd) == 0;
    if (done) {
        stoa_log(STOA_LOG_WARN, "journal_manifest_cut", STOA_KV("path", m->path), STOA_KU("bytes", m->size_bytes - good),
                 STOA_KV("reason", "its last record, never synced, ends in zeroes"));
    }
    return done;
}

bool stoa_manifest_mend(const char *path)
{
    manifest m = {.fd = -1};
    rot r;
    bool mended = find(path, &m) && load(&m) && find_rot(&m, &r) && is_torn(&m, &r) && cut(&m, r.good);
    free(m.bytes);
    if (m.fd >= 0) { (void)close(m.fd); }
    return mended;
}
