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

/* The first piece that is there to its last byte and is not sound: where it ends, and where the last whole record before it
 * does. False: there is none. */
static bool find_rot(const manifest *m, size_t *good_out, size_t *end_out)
{
    size_t at = 0;
    *good_out = 0;
    for (;;) {
        size_t left = BLOCK_BYTES - at % BLOCK_BYTES;
        if (left < HEADER_BYTES) {
            at += left;
            continue;
        }
        if (at >= m->size_bytes || m->size_bytes - at < HEADER_BYTES) { return false; }
        const uint8_t *piece = m->bytes + at;
        size_t length = little(piece + 4, 2);
        *end_out = at + HEADER_BYTES + length;
        if (*end_out > m->size_bytes) { return false; }
        if (length > left - HEADER_BYTES || !is_sound(piece, length)) { return true; }
        at = *end_out;
        if (piece[6] == PIECE_WHOLE || piece[6] == PIECE_LAST) { *good_out = at; }
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
    size_t good, end;
    bool mended = find(path, &m) && load(&m) && find_rot(&m, &good, &end) && zeroes_from(&m) < end && cut(&m, good);
    free(m.bytes);
    if (m.fd >= 0) { (void)close(m.fd); }
    return mended;
}
