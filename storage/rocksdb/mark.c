/* mark.c - the two slots of rocksdb/mark.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os.h"
#include "storage/rocksdb/folder.h"

enum { AT_MAGIC = 0, AT_CRC = 4, AT_SEQUENCE = 8, AT_POSITION = 16, AT_APPENDED = 24, AT_HASH = 32 };
_Static_assert(AT_HASH + sizeof(stoa_hash256) == STOA_MARK_SLOT_BYTES, "mark.h describes these bytes");

static const uint8_t magic[4] = {'S', 'T', 'M', '1'};
static const uint8_t unwritten[STOA_MARK_SLOT_BYTES];

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint32_t crc_of(const uint8_t *slot)
{
    return stoa_crc32c(0, slot + AT_SEQUENCE, STOA_MARK_SLOT_BYTES - AT_SEQUENCE);
}

/* Take the slot's value if it is valid and newer than what the mark has. */
static bool adopt(stoa_mark *mark, unsigned index, const uint8_t *slot)
{
    if (memcmp(slot, magic, sizeof magic) != 0 || get(slot + AT_CRC, 4) != crc_of(slot)) { return false; }
    uint64_t sequence = get(slot + AT_SEQUENCE, 8);
    if (sequence > mark->sequence) {
        mark->sequence = sequence;
        mark->value.position = get(slot + AT_POSITION, 8);
        mark->value.appended = get(slot + AT_APPENDED, 8);
        memcpy(mark->value.hash.at, slot + AT_HASH, sizeof mark->value.hash.at);
        mark->slot = 1 - index;
    }
    return true;
}

/* One sector is written whole or not at all, so no crash leaves a slot that is neither valid nor what it was before. A slot has
 * never been written only beside the first value of all. */
static bool is_damaged(const stoa_mark *mark, const bool valid[STOA_MARK_SLOTS], const bool blank[STOA_MARK_SLOTS])
{
    if (valid[0] && valid[1]) { return false; }
    bool fresh = blank[1] && (blank[0] || (valid[0] && mark->sequence == 1));
    return !fresh;
}

static stoa_err load(stoa_mark *mark, const char *path)
{
    bool valid[STOA_MARK_SLOTS], blank[STOA_MARK_SLOTS];
    for (unsigned i = 0; i < STOA_MARK_SLOTS; i++) {
        uint8_t slot[STOA_MARK_SLOT_BYTES] = {0};
        ssize_t bytes = pread(mark->fd, slot, sizeof slot, (off_t)i * STOA_MARK_PAGE_BYTES);
        if (bytes < 0) { return stoa_os_error("read", path); }
        valid[i] = adopt(mark, i, slot);
        blank[i] = memcmp(slot, unwritten, sizeof slot) == 0;
    }
    mark->lost = mark->sequence == 0;
    mark->damaged = is_damaged(mark, valid, blank);
    if (mark->damaged) {
        stoa_log(STOA_LOG_ERROR, "journal_mark_damaged", STOA_KV("path", path), STOA_KU("position", mark->value.position));
    }
    return STOA_OK;
}

bool stoa_mark_is_written(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return errno != ENOENT && errno != ENOTDIR; }
    bool written = false;
    for (unsigned i = 0; i < STOA_MARK_SLOTS && !written; i++) {
        uint8_t slot[STOA_MARK_SLOT_BYTES] = {0};
        ssize_t bytes = pread(fd, slot, sizeof slot, (off_t)i * STOA_MARK_PAGE_BYTES);
        written = bytes < 0 || memcmp(slot, unwritten, sizeof slot) != 0;
    }
    (void)close(fd);
    return written;
}

/* From here on a crash leaves a mark, so its absence beside a database means that somebody took it away. */
static stoa_err make(stoa_mark *mark, const char *path)
{
    stoa_err err = stoa_mark_write(mark, &(stoa_mark_value){0});
    if (!err) { err = stoa_mark_sync(mark); }
    return err ? err : stoa_folder_sync_parent(path);
}

stoa_err stoa_mark_lost(const char *path)
{
    return STOA_FAIL(STOA_E_CORRUPT,
                     "%s: position 1: there is no valid mark, so that what was acknowledged is not known: bring it back, restore a backup, or "
                     "go on with what the log has (stoad --accept-loss)",
                     path);
}

static stoa_err lock_and_load(stoa_mark *mark, const char *path, stoa_mark_use use)
{
    if (flock(mark->fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? STOA_FAIL(STOA_E_DENIED, "%s: the journal is open elsewhere", path)
                                    : stoa_os_error("lock", path);
    }
    stoa_err err = load(mark, path);
    if (err || use == STOA_MARK_LOOK) { return err; }
    if (!mark->lost) { return stoa_mark_sync(mark); } /* what was found may be in the page cache only, and the next write goes over the other slot */
    if (use == STOA_MARK_RENEW) { return STOA_OK; }
    return use == STOA_MARK_BEGIN && !mark->damaged ? make(mark, path) : stoa_mark_lost(path);
}

stoa_err stoa_mark_open(stoa_mark *mark, const char *path, stoa_mark_use use)
{
    static const int flags[] = {
        [STOA_MARK_OPEN] = O_RDWR, [STOA_MARK_BEGIN] = O_RDWR | O_CREAT, [STOA_MARK_RENEW] = O_RDWR | O_CREAT, [STOA_MARK_LOOK] = O_RDONLY};
    stoa_mark opened = {.fd = open(path, flags[use] | O_CLOEXEC, 0600), .lost = true};
    bool missing = opened.fd < 0 && errno == ENOENT && !(flags[use] & O_CREAT);
    if (opened.fd < 0 && !missing) { return stoa_os_error("open", path); }
    if (missing && use != STOA_MARK_LOOK) { return stoa_mark_lost(path); }
    (void)snprintf(opened.path, sizeof opened.path, "%s", path);
    stoa_err err = missing ? STOA_OK : lock_and_load(&opened, path, use);
    if (err) {
        (void)close(opened.fd);
        return err;
    }
    *mark = opened;
    return STOA_OK;
}

stoa_err stoa_mark_write(stoa_mark *mark, const stoa_mark_value *value)
{
    uint8_t slot[STOA_MARK_SLOT_BYTES];
    memcpy(slot + AT_MAGIC, magic, sizeof magic);
    put(slot + AT_SEQUENCE, mark->sequence + 1, 8);
    put(slot + AT_POSITION, value->position, 8);
    put(slot + AT_APPENDED, value->appended, 8);
    memcpy(slot + AT_HASH, value->hash.at, sizeof value->hash.at);
    put(slot + AT_CRC, crc_of(slot), 4);

    ssize_t bytes = pwrite(mark->fd, slot, sizeof slot, (off_t)mark->slot * STOA_MARK_PAGE_BYTES);
    if (bytes != (ssize_t)sizeof slot) {
        if (bytes >= 0) { errno = ENOSPC; }
        return stoa_os_error("write", "the commit mark");
    }
    mark->sequence++;
    mark->lost = false;
    mark->value = *value;
    mark->dirty = true;
    return STOA_OK;
}

static bool is_at_its_path(const stoa_mark *mark)
{
    struct stat ours, found;
    return fstat(mark->fd, &ours) == 0 && stat(mark->path, &found) == 0 && ours.st_ino == found.st_ino && ours.st_dev == found.st_dev;
}

stoa_err stoa_mark_sync(stoa_mark *mark)
{
    if (fdatasync(mark->fd) != 0) { return STOA_FAIL(STOA_E_IO, "sync the commit mark: %s", strerror(errno)); }
    if (!is_at_its_path(mark)) { return STOA_FAIL(STOA_E_IO, "%s was taken away, or replaced, while the journal was open", mark->path); }
    if (mark->dirty) { mark->slot = 1 - mark->slot; }
    mark->dirty = false;
    mark->synced_at_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    return STOA_OK;
}

stoa_err stoa_mark_settle(stoa_mark *mark)
{
    stoa_err err = stoa_mark_sync(mark);
    if (!err) { err = stoa_mark_write(mark, &mark->value); }
    return err ? err : stoa_mark_sync(mark);
}

void stoa_mark_close(stoa_mark *mark)
{
    stoa_err err = stoa_mark_settle(mark);
    if (err) { stoa_log_error("journal_mark_stuck", err); }
    stoa_mark_abandon(mark);
}

void stoa_mark_abandon(stoa_mark *mark)
{
    if (mark->fd >= 0) { (void)close(mark->fd); }
    *mark = (stoa_mark){.fd = -1};
}
