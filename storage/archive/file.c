/* file.c - storage/archive/file.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"
#include "storage/rocksdb/folder.h"

stoa_err stoa_file_path(const char *folder, const char *name, char path[PATH_MAX])
{
    int bytes = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return bytes > 0 && bytes < PATH_MAX ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", strlen(folder));
}

stoa_err stoa_folder_make_all(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part) { return STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", length); }
    memcpy(part, path, length + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        stoa_err err = stoa_folder_make(part);
        if (err) { return err; }
        *slash = '/';
    }
    return stoa_folder_make(part);
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

stoa_err stoa_folder_visit(const char *folder, const char *suffix, stoa_err (*visit)(void *context, const char *name),
                           void *context)
{
    DIR *dir = opendir(folder);
    if (!dir) { return errno == ENOENT ? STOA_OK : stoa_os_error("list", folder); }
    stoa_err err = STOA_OK;
    const struct dirent *entry;
    while (!err && (entry = readdir(dir)) != NULL) {
        bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!dots && ends_in(entry->d_name, suffix)) { err = visit(context, entry->d_name); }
    }
    (void)closedir(dir);
    return err;
}

static stoa_err not_empty(void *context, const char *name)
{
    (void)name;
    *(bool *)context = false;
    return STOA_OK;
}

stoa_err stoa_folder_empty(const char *path, bool *empty_out)
{
    bool empty = true;
    stoa_err err = stoa_folder_visit(path, "", not_empty, &empty);
    if (!err) { *empty_out = empty; }
    return err;
}

stoa_err stoa_file_settle(int fd, const char *from, const char *to)
{
    if (fsync(fd) != 0) { return stoa_os_error("sync", from); }
    if (rename(from, to) != 0) { return stoa_os_error("rename", from); }
    return stoa_folder_sync_parent(to);
}

static stoa_err write_all(int fd, const char *path, const void *bytes, size_t size_bytes)
{
    const char *at = bytes;
    while (size_bytes > 0) {
        ssize_t done = write(fd, at, size_bytes);
        if (done < 0 && errno == EINTR) { continue; }
        if (done < 0) { return stoa_os_error("write", path); }
        at += done;
        size_bytes -= (size_t)done;
    }
    return STOA_OK;
}

stoa_err stoa_file_put(const char *folder, const char *name, const void *bytes, size_t size_bytes)
{
    char path[PATH_MAX], other[PATH_MAX + 8];
    stoa_err err = stoa_file_path(folder, name, path);
    if (err) { return err; }
    (void)snprintf(other, sizeof other, "%s.tmp", path);
    int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) { return stoa_os_error("make", other); }
    err = write_all(fd, other, bytes, size_bytes);
    if (!err) { err = stoa_file_settle(fd, other, path); }
    (void)close(fd);
    if (err) { (void)unlink(other); }
    return err;
}

static stoa_err read_all(int fd, const char *path, size_t limit_bytes, stoa_buf *out)
{
    char piece[64 << 10];
    size_t begin = out->used_bytes;
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR) { continue; }
        if (got < 0) { return stoa_os_error("read", path); }
        if (got == 0) { return out->cut ? STOA_FAIL(STOA_E_NOMEM, "%s", path) : STOA_OK; }
        if (out->used_bytes - begin + (size_t)got > limit_bytes) {
            return STOA_FAIL(STOA_E_TOO_LARGE, "%s has more than %zu bytes", path, limit_bytes);
        }
        stoa_buf_put(out, piece, (size_t)got);
    }
}

stoa_err stoa_file_get(const char *folder, const char *name, size_t limit_bytes, stoa_buf *out)
{
    char path[PATH_MAX];
    stoa_err err = stoa_file_path(folder, name, path);
    if (err) { return err; }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return errno == ENOENT ? STOA_FAIL(STOA_E_NOT_FOUND, "%s is not there", path) : stoa_os_error("open", path); }
    err = read_all(fd, path, limit_bytes, out);
    (void)close(fd);
    return err;
}

stoa_err stoa_file_remove(const char *folder, const char *name)
{
    char path[PATH_MAX];
    stoa_err err = stoa_file_path(folder, name, path);
    if (err) { return err; }
    if (unlink(path) != 0) { return errno == ENOENT ? STOA_OK : stoa_os_error("remove", path); }
    return stoa_folder_sync_parent(path);
}

static stoa_err sweep_one(void *context, const char *name)
{
    return stoa_file_remove(context, name);
}

stoa_err stoa_file_sweep(const char *folder)
{
    char copy[PATH_MAX];
    int bytes = snprintf(copy, sizeof copy, "%s", folder);
    if (bytes < 0 || bytes >= (int)sizeof copy) { return STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", strlen(folder)); }
    return stoa_folder_visit(folder, ".tmp", sweep_one, copy);
}

stoa_err stoa_file_lock(const char *folder, const char *name, int *fd_out)
{
    char path[PATH_MAX];
    stoa_err err = stoa_file_path(folder, name, path);
    if (err) { return err; }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) { return stoa_os_error("open", path); }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? STOA_FAIL(STOA_E_DENIED, "%s: another process writes here", folder) : stoa_os_error("lock", path);
        (void)close(fd);
        return err;
    }
    *fd_out = fd;
    return STOA_OK;
}
