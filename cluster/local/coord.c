/* local/coord.c - leases as locked files. See local/coord.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/os.h"
#include "cluster/local/coord.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>


enum { LEASES_MAX = 64, FOLDER_MAX = 1023, PATH_MAX_BYTES = FOLDER_MAX + STOA_LEASE_NAME_MAX + 16 };

typedef struct lease {
    char name[STOA_LEASE_NAME_MAX + 1]; /* empty: free */
    int lock;
} lease;

typedef struct local {
    stoa_coord coord; /* first */
    char folder[FOLDER_MAX + 1];
    lease leases[LEASES_MAX];
} local;

static void path_of(const local *self, const char *name, const char *ending, char path[PATH_MAX_BYTES])
{
    (void)snprintf(path, PATH_MAX_BYTES, "%s/%s%s", self->folder, name, ending);
}

static stoa_err local_open(const char *address, stoa_coord **out)
{
    struct stat status;
    if (strlen(address) > FOLDER_MAX) { return STOA_FAIL(STOA_E_INVALID, "folder longer than %d", FOLDER_MAX); }
    if (stat(address, &status) || !S_ISDIR(status.st_mode)) { return STOA_FAIL(STOA_E_NOT_FOUND, "no folder %s", address); }
    local *self = calloc(1, sizeof *self);
    if (!self) { return STOA_FAIL(STOA_E_NOMEM, "coord"); }
    self->coord.ops = &stoa_coord_local;
    (void)snprintf(self->folder, sizeof self->folder, "%s", address);
    *out = &self->coord;
    return STOA_OK;
}

static lease *find(local *self, const char *name)
{
    for (size_t i = 0; i < LEASES_MAX; i++) {
        if (strcmp(self->leases[i].name, name) == 0) { return &self->leases[i]; }
    }
    return NULL;
}

static stoa_err check_name(const char *name)
{
    size_t len = strlen(name);
    bool good = len > 0 && len <= STOA_LEASE_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
    return good ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "lease '%s' is not 1 to %d of [a-z0-9_-]", name, STOA_LEASE_NAME_MAX);
}

/* What the last holder wrote; epoch 0 where there was none. */
static stoa_err read_epoch(const local *self, const char *name, uint64_t *epoch_out, long *pid_out)
{
    char path[PATH_MAX_BYTES];
    uint64_t epoch = 0;
    long pid = 0;
    path_of(self, name, ".lease", path);
    FILE *file = fopen(path, "re");
    if (!file && errno != ENOENT) { return stoa_os_error("read", path); }
    if (file) {
        bool good = fscanf(file, "%" SCNu64 " %ld", &epoch, &pid) == 2 && epoch > 0;
        (void)fclose(file);
        if (!good) { return STOA_FAIL(STOA_E_CORRUPT, "%s holds no epoch", path); }
    }
    *epoch_out = epoch;
    *pid_out = pid;
    return STOA_OK;
}

static stoa_err sync_folder(const local *self)
{
    int folder = open(self->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = folder >= 0 && fsync(folder) == 0;
    stoa_err err = good ? STOA_OK : stoa_os_error("sync", self->folder);
    if (folder >= 0) { (void)close(folder); }
    return err;
}

static stoa_err write_epoch(const local *self, const char *name, uint64_t epoch)
{
    char path[PATH_MAX_BYTES], beside[PATH_MAX_BYTES], text[64];
    path_of(self, name, ".lease", path);
    path_of(self, name, ".lease.new", beside);
    int size = snprintf(text, sizeof text, "%" PRIu64 " %ld\n", epoch, (long)getpid());
    int file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t put = file >= 0 ? write(file, text, (size_t)size) : -1;
    if (put >= 0 && put < size) { errno = ENOSPC; }
    stoa_err err = put == size && fsync(file) == 0 ? STOA_OK : stoa_os_error("write", beside);
    if (file >= 0) { (void)close(file); }
    if (!err && rename(beside, path)) { err = stoa_os_error("rename to", path); }
    return err ? err : sync_folder(self);
}

static stoa_err take_lock(const local *self, const char *name, int *lock_out)
{
    char path[PATH_MAX_BYTES];
    path_of(self, name, ".lock", path);
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) { return stoa_os_error("open", path); }
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
        *lock_out = lock;
        return STOA_OK;
    }
    bool taken = errno == EWOULDBLOCK;
    stoa_err err = taken ? STOA_E_DENIED : stoa_os_error("lock", path);
    (void)close(lock);
    if (!taken) { return err; }
    uint64_t epoch;
    long pid = 0;
    (void)read_epoch(self, name, &epoch, &pid);
    return STOA_FAIL(STOA_E_DENIED, "lease %s in %s is held by process %ld", name, self->folder, pid);
}

static stoa_err local_acquire(stoa_coord *coord, const char *name, uint64_t *epoch_out)
{
    local *self = (local *)coord;
    uint64_t epoch = 0;
    long pid;
    int lock = -1;
    stoa_err err = check_name(name);
    if (!err && find(self, name)) { err = STOA_FAIL(STOA_E_EXISTS, "lease %s is held here", name); }
    lease *slot = err ? NULL : find(self, "");
    if (!err && !slot) { err = STOA_FAIL(STOA_E_FULL, "%d leases", LEASES_MAX); }
    if (!err) { err = take_lock(self, name, &lock); }
    if (err) { return err; }
    err = read_epoch(self, name, &epoch, &pid);
    if (!err) { err = write_epoch(self, name, epoch + 1); }
    if (err) {
        (void)close(lock);
        return err;
    }
    (void)snprintf(slot->name, sizeof slot->name, "%s", name);
    slot->lock = lock;
    *epoch_out = epoch + 1;
    return STOA_OK;
}

static stoa_err local_release(stoa_coord *coord, const char *name)
{
    lease *held = name[0] ? find((local *)coord, name) : NULL;
    if (!held) { return STOA_FAIL(STOA_E_NOT_FOUND, "lease %s is not held here", name); }
    (void)close(held->lock);
    held->name[0] = '\0';
    return STOA_OK;
}

static void local_close(stoa_coord *coord)
{
    local *self = (local *)coord;
    if (!self) { return; }
    for (size_t i = 0; i < LEASES_MAX; i++) {
        if (self->leases[i].name[0]) { (void)close(self->leases[i].lock); }
    }
    free(self);
}

const stoa_coord_ops stoa_coord_local = {
    .scheme = "local", .open = local_open, .acquire = local_acquire, .release = local_release, .close = local_close};

stoa_err stoa_coord_local_raise(const char *folder, const char *name, uint64_t epoch)
{
    stoa_coord *coord;
    uint64_t held = 0;
    stoa_err err = local_open(folder, &coord);
    if (err) { return err; }
    err = local_acquire(coord, name, &held);
    if (!err && held < epoch) { err = write_epoch((local *)coord, name, epoch); }
    local_close(coord);
    return err;
}
