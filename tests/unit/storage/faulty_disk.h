/* faulty_disk.h - a disk with faults under the journals of a test: full or broken from the n-th write on.
 *
 * It concerns files in folders of kit_folder whose path contains a text. These are this program's own write and fdatasync, which
 * RocksDB's shared library finds before the C library's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_STORAGE_FAULTY_DISK_H
#define STOA_TESTS_UNIT_STORAGE_FAULTY_DISK_H

#include "tests/unit/storage/kit.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static struct {
    _Atomic(const char *) full, broken; /* writes: ENOSPC; syncs: EIO */
    atomic_long writes_left;            /* before the disk is full */
} disk;

static inline bool concerns(int fd, const char *text)
{
    char link[64], file[KIT_PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = text ? readlink(link, file, sizeof file - 1) : -1;
    if (bytes < 0) { return false; }
    file[bytes] = '\0';
    return strstr(file, "/stoa-journal-") && strstr(file, text);
}

__attribute__((visibility("default"))) ssize_t write(int fd, const void *bytes, size_t size)
{
    if (concerns(fd, atomic_load(&disk.full)) && atomic_fetch_sub(&disk.writes_left, 1) <= 0) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, size);
}

static atomic_uint logs_synced;

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    if (concerns(fd, "/db/") && concerns(fd, ".log")) { atomic_fetch_add(&logs_synced, 1); }
    if (concerns(fd, atomic_load(&disk.broken))) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static inline void disk_full(const char *text, long writes_left)
{
    atomic_store(&disk.writes_left, writes_left);
    atomic_store(&disk.full, text);
}

static inline void disk_good(void)
{
    atomic_store(&disk.full, NULL);
    atomic_store(&disk.broken, NULL);
}

#endif
