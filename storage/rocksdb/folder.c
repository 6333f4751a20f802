/* folder.c - rocksdb/folder.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

stoa_err stoa_os_error(const char *what, const char *path)
{
    int number = errno;
    stoa_err err = number == ENOSPC || number == EDQUOT ? STOA_E_FULL : STOA_E_IO;
    return STOA_FAIL(err, "%s %s: %s", what, path, strerror(number));
}

stoa_err stoa_folder_sync_parent(const char *path)
{
    char copy[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof copy) { return STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", length); }
    memcpy(copy, path, length + 1);

    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) { return stoa_os_error("open the folder of", path); }
    stoa_err err = fsync(fd) == 0 ? STOA_OK : stoa_os_error("sync the folder of", path);
    (void)close(fd);
    return err;
}

stoa_err stoa_folder_make(const char *path)
{
    if (mkdir(path, 0700) == 0) { return stoa_folder_sync_parent(path); }
    return errno == EEXIST ? STOA_OK : stoa_os_error("make", path);
}
