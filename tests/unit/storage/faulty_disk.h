/* faulty_disk.h - a disk with faults under the journals of a test: full from the n-th write on, or one that does not sync.
 *
 * It concerns files in folders of kit_folder whose path contains a text or is like a pattern (fnmatch). These are this program's own write,
 * fdatasync and fsync, which RocksDB's shared library finds before the C library's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_STORAGE_FAULTY_DISK_H
#define STOA_TESTS_UNIT_STORAGE_FAULTY_DISK_H

#include "tests/unit/storage/kit.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static struct {
    _Atomic(const char *) full, broken; /* writes: ENOSPC; syncs: error, or EIO */
    atomic_long writes_left;            /* before the disk is full */
    atomic_int error;
    atomic_long syncs_left; /* where there is an error, the last of so many fails */
    pthread_mutex_t lock;
    char unsynced[2][KIT_PATH_MAX]; /* under lock: which one that was, and which came before it */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline bool path_of_fd(int fd, char file[KIT_PATH_MAX])
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, file, KIT_PATH_MAX - 1);
    file[bytes > 0 ? bytes : 0] = '\0';
    return bytes > 0;
}

static inline bool concerns(int fd, const char *text)
{
    char file[KIT_PATH_MAX];
    if (!text || !path_of_fd(fd, file) || !strstr(file, "/stoa-journal-")) { return false; }
    return strstr(file, text) || fnmatch(text, file, 0) == 0;
}

__attribute__((visibility("default"))) ssize_t write(int fd, const void *bytes, size_t size)
{
    if (concerns(fd, atomic_load(&disk.full)) && atomic_fetch_sub(&disk.writes_left, 1) <= 0) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, size);
}

static atomic_uint logs_synced, tables_synced;

/* Whether this sync fails; then errno says how. */
static inline bool sync_fails(int fd)
{
    if (!concerns(fd, atomic_load(&disk.broken))) { return false; }
    int error = atomic_load(&disk.error);
    long left = error ? atomic_fetch_sub(&disk.syncs_left, 1) : 1;
    (void)pthread_mutex_lock(&disk.lock);
    if (left == 1 || left == 2) { (void)path_of_fd(fd, disk.unsynced[left - 1]); }
    (void)pthread_mutex_unlock(&disk.lock);
    errno = error ? error : EIO;
    return left == 1;
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    if (concerns(fd, "/db/") && concerns(fd, ".log")) { atomic_fetch_add(&logs_synced, 1); }
    if (concerns(fd, "/db/") && concerns(fd, ".sst")) { atomic_fetch_add(&tables_synced, 1); }
    return sync_fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static _Atomic(const char *) looking; /* for a sync of this folder while there is a database in it */
static atomic_bool named;             /* there was one */

__attribute__((visibility("default"))) int fsync(int fd)
{
    char file[KIT_PATH_MAX], current[KIT_PATH_MAX + 16];
    const char *parent = atomic_load(&looking);
    if (parent && path_of_fd(fd, file) && strcmp(file, parent) == 0) {
        (void)snprintf(current, sizeof current, "%s/db/CURRENT", parent);
        if (access(current, F_OK) == 0) { atomic_store(&named, true); }
    }
    return sync_fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

static inline void disk_full(const char *text, long writes_left)
{
    atomic_store(&disk.writes_left, writes_left);
    atomic_store(&disk.full, text);
}

/* The n-th sync of such a file fails with this error. */
static inline void disk_unsynced(const char *text, int error, long nth)
{
    (void)pthread_mutex_lock(&disk.lock);
    disk.unsynced[0][0] = disk.unsynced[1][0] = '\0';
    (void)pthread_mutex_unlock(&disk.lock);
    atomic_store(&disk.syncs_left, nth);
    atomic_store(&disk.error, error);
    atomic_store(&disk.broken, text);
}

static inline void disk_good(void)
{
    atomic_store(&disk.error, 0);
    atomic_store(&disk.full, NULL);
    atomic_store(&disk.broken, NULL);
}

#endif
