/* folder.c - rocksdb/folder.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/os.h"

enum { SPACE_MIN_BYTES = 8 << 20 }; /* with less there is no point in opening a database for writing */

stoa_err stoa_folder_sync_parent(const char *path)
{
    char copy[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof copy) { return STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", length); }
    memcpy(copy, path, length + 1);

    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) { return stoa_os_error("open the folder of", path); }
    stoa_err err = fsync(fd) == 0 ? STOA_OK : STOA_FAIL(STOA_E_IO, "sync the folder of %s: %s", path, strerror(errno));
    (void)close(fd);
    return err;
}

stoa_err stoa_folder_make(const char *path)
{
    if (mkdir(path, 0700) == 0) { return stoa_folder_sync_parent(path); }
    return errno == EEXIST ? STOA_OK : stoa_os_error("make", path);
}

static bool ends_with(const char *name, const char *end)
{
    const char *found = strrchr(name, '.');
    return found && strcmp(found, end) == 0;
}

/* Whether it is durable; one that is gone meanwhile is in table files, which are. With fresh what is cached of it is let go. */
static bool sync_file(int folder, const char *name, bool fresh)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return errno == ENOENT; }
    bool good = fdatasync(fd) == 0;
    if (good && fresh) { (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); }
    (void)close(fd);
    return good;
}

/* Not by RocksDB: it must not be asked for a sync beside a write that fails (an assertion), and a lock that keeps the two
 * apart would let turns wait for the disk. */
static stoa_err sync_logs(const char *path, bool fresh)
{
    DIR *folder = opendir(path);
    bool good = folder;
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry && good; entry = readdir(folder)) {
        good = !ends_with(entry->d_name, ".log") || sync_file(dirfd(folder), entry->d_name, fresh);
    }
    good = good && fsync(dirfd(folder)) == 0;
    stoa_err err = good ? STOA_OK : STOA_FAIL(STOA_E_IO, "sync the logs in %s: %s", path, strerror(errno));
    if (folder) { (void)closedir(folder); }
    return err;
}

stoa_err stoa_folder_sync_logs(const char *path)
{
    return sync_logs(path, false);
}

stoa_err stoa_folder_sync_logs_afresh(const char *path)
{
    return sync_logs(path, true);
}

bool stoa_folder_has_data(const char *path)
{
    DIR *folder = opendir(path);
    bool found = false;
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry && !found; entry = readdir(folder)) {
        const char *name = entry->d_name;
        found = ends_with(name, ".log") || ends_with(name, ".sst") || ends_with(name, ".blob");
    }
    if (folder) { (void)closedir(folder); }
    return found;
}

uint64_t stoa_folder_bytes(const char *path)
{
    DIR *folder = opendir(path);
    uint64_t bytes = 0;
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        struct stat status;
        bool file = fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode);
        if (file) { bytes += (uint64_t)status.st_size; }
    }
    if (folder) { (void)closedir(folder); }
    return bytes;
}

uint64_t stoa_folder_room(const char *path)
{
    struct statvfs disk;
    return statvfs(path, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : UINT64_MAX;
}

bool stoa_folder_has_space(const char *path)
{
    return stoa_folder_room(path) >= SPACE_MIN_BYTES;
}

/* All files in the folder; the first that cannot be removed is the error. */
static stoa_err remove_files(DIR *folder, const char *path)
{
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        bool itself = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!itself && unlinkat(dirfd(folder), entry->d_name, 0) != 0) { return stoa_os_error("empty", path); }
    }
    return STOA_OK;
}

stoa_err stoa_folder_remove(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) { return errno == ENOENT ? STOA_OK : stoa_os_error("open", path); }
    stoa_err err = remove_files(folder, path);
    (void)closedir(folder);
    if (!err && rmdir(path) != 0) { err = stoa_os_error("remove", path); }
    return err ? err : stoa_folder_sync_parent(path);
}
