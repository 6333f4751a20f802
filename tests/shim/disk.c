/* disk.c - a disk with faults under a real process: a library for LD_PRELOAD. It concerns files below one folder only.
 *
 *     STOA_DISK_ROOT     the folder, absolute
 *     STOA_DISK_SEED     where chance comes from
 *     STOA_DISK_CRASH    n: at the n-th sync the power fails
 *     STOA_DISK_LOSS     "lost": then all that was not synced is gone; "torn": then of each file a part stays, its end torn;
 *                        without it, file by file what chance wants
 *     STOA_DISK_EIO      n: the n-th sync fails with EIO, and what it should have kept is lost with the next power cut
 *     STOA_DISK_ERROR    or with this errno
 *     STOA_DISK_FULL     n: behind n bytes written no write succeeds (ENOSPC), until STOA_DISK_SPACE is there
 *     STOA_DISK_SPACE    a file; while it is there the disk has space
 *     STOA_DISK_HOLD     a file that holds a number n; while it is there no write behind the n-th begins: whoever wants to waits, behind
 *                        a line "held PATH N" in STOA_DISK_SAID
 *     STOA_DISK_SAID     a file that gets a line about what was done: "eio PATH N" is a sync that failed, the line before it,
 *                        "behind PATH N", what the same thread had synced last
 *
 * Power failure: of each file only what was synced is sure. What was appended since stays up to a random place, or not at all,
 * and its end is cut, zeroed from a sector on (its size was kept, and what was written not) or (of *.log, where no file
 * system's promise is leaned on) garbage; what was overwritten (files up to 64 KiB are remembered whole) is as it was or as it
 * became; a file made since the last sync of anything may be gone. The process ends with 137, as if killed.
 *
 * A file counts as synced as it is when the process starts. Not modelled: writes through mappings, lost renames and removals.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))
enum { FILES_MAX = 4096, REMEMBERED_MAX = 64 << 10, TORN_MAX = 512, SECTOR_BYTES = 512, EXIT_POWER = 137 };

/* What is on the platter of one file. */
typedef struct file {
    dev_t device;
    ino_t inode;
    off_t size;
    uint64_t known_since; /* number of syncs when it was first seen; 0: before the start */
    uint8_t *content;     /* of a small file that was overwritten since; NULL otherwise */
} file;

static struct {
    pthread_mutex_t lock;
    char root[PATH_MAX], space[PATH_MAX], said[PATH_MAX], hold[PATH_MAX];
    size_t root_bytes;
    int error;
    uint64_t random, syncs, crash_at, eio_at, full_after, written, writes;
    bool all_lost, all_torn;
    file files[FILES_MAX];
    unsigned count;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t chance(uint64_t below)
{
    disk.random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = disk.random;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return below ? (x ^ (x >> 31)) % below : 0;
}

static uint64_t number_of(const char *name)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

static void text_of(const char *name, char out[PATH_MAX])
{
    const char *text = getenv(name);
    (void)snprintf(out, PATH_MAX, "%s", text ? text : "");
}

static void say(const char *what, const char *about, uint64_t number)
{
    char line[PATH_MAX + 128];
    int bytes = snprintf(line, sizeof line, "%s %s %llu\n", what, about, (unsigned long long)number);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, disk.said, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) { return; }
    if (syscall(SYS_write, fd, line, bytes) < 0) { bytes = 0; }
    (void)close(fd);
}

static bool concerns(int fd, char path[PATH_MAX])
{
    char link[64];
    if (disk.root_bytes == 0) { return false; }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, path, PATH_MAX - 1);
    if (bytes <= 0) { return false; }
    path[bytes] = '\0';
    return strncmp(path, disk.root, disk.root_bytes) == 0 && path[disk.root_bytes] == '/';
}

static file *find(const struct stat *status)
{
    for (unsigned i = 0; i < disk.count; i++) {
        if (disk.files[i].inode == status->st_ino && disk.files[i].device == status->st_dev) { return &disk.files[i]; }
    }
    return NULL;
}

static file *add(const struct stat *status, off_t size, uint64_t since)
{
    if (disk.count == FILES_MAX) { return NULL; }
    disk.files[disk.count] = (file){.device = status->st_dev, .inode = status->st_ino, .size = size, .known_since = since};
    return &disk.files[disk.count++];
}

static file *file_of(int fd, struct stat *status)
{
    if (syscall(SYS_fstat, fd, status) != 0 || !S_ISREG(status->st_mode)) { return NULL; }
    file *found = find(status);
    return found ? found : add(status, 0, disk.syncs + 1);
}

static int begin_file(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (flag == FTW_F) { (void)add(status, status->st_size, 0); }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    char root[PATH_MAX];
    text_of("STOA_DISK_ROOT", root);
    text_of("STOA_DISK_SPACE", disk.space);
    text_of("STOA_DISK_SAID", disk.said);
    text_of("STOA_DISK_HOLD", disk.hold);
    disk.random = number_of("STOA_DISK_SEED");
    disk.crash_at = number_of("STOA_DISK_CRASH");
    disk.eio_at = number_of("STOA_DISK_EIO");
    disk.error = (int)number_of("STOA_DISK_ERROR");
    disk.full_after = number_of("STOA_DISK_FULL");
    const char *loss = getenv("STOA_DISK_LOSS");
    disk.all_lost = loss && strcmp(loss, "lost") == 0;
    disk.all_torn = loss && strcmp(loss, "torn") == 0;
    if (!root[0]) { return; }
    (void)nftw(root, begin_file, 16, FTW_PHYS);
    memcpy(disk.root, root, sizeof root);
    disk.root_bytes = strlen(root);
}

/* --- the power fails */

/* What stays is as it was written, or ends in zeroes from a sector on, or in garbage. */
static void tear(int fd, const char *path, off_t synced, off_t kept)
{
    size_t length = strlen(path);
    bool log = length > 4 && strcmp(path + length - 4, ".log") == 0;
    uint64_t how = disk.all_torn ? 1 + chance(log ? 2 : 1) : chance(log ? 3 : 2);
    if (kept <= synced || how == 0) { return; }
    off_t from = synced + (off_t)chance((uint64_t)(kept - synced));
    if (how == 1) {
        from -= from % SECTOR_BYTES;
    } else if (kept - from > TORN_MAX) {
        from = kept - TORN_MAX;
    }
    if (from < synced) { from = synced; }
    uint8_t bytes[TORN_MAX] = {0};
    for (off_t i = 0; how == 2 && i < TORN_MAX; i++) {
        bytes[i] = (uint8_t)chance(256);
    }
    for (off_t at = from, part; at < kept; at += part) {
        part = kept - at < TORN_MAX ? kept - at : TORN_MAX;
        if (syscall(SYS_pwrite64, fd, bytes, part, at) != part) { return; }
    }
}

static void lose(const char *path, const struct stat *status, const file *at)
{
    off_t synced = at ? at->size : 0;
    bool fresh = at && at->known_since > disk.syncs;
    if (fresh && !disk.all_torn && (disk.all_lost || chance(2))) {
        (void)unlink(path);
        say("gone", path, (uint64_t)status->st_size);
        return;
    }
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) { return; }
    if (at && at->content && (disk.all_lost || chance(2))) {
        if (syscall(SYS_pwrite64, fd, at->content, at->size, 0) >= 0) { say("back", path, (uint64_t)at->size); }
    }
    if (status->st_size > synced) {
        bool some = disk.all_torn || (!disk.all_lost && chance(2));
        off_t kept = synced + (some ? (off_t)chance((uint64_t)(status->st_size - synced) + 1) : 0);
        if (ftruncate(fd, kept) == 0) { say("cut", path, (uint64_t)(status->st_size - kept)); }
        tear(fd, path, synced, kept);
    }
    (void)close(fd);
}

static int lose_file(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)ftw;
    if (flag == FTW_F) { lose(path, status, find(status)); }
    return 0;
}

/* A thread that still writes through a mapping of what was cut: the power is off, it stands still. */
static void stand_still(int number)
{
    (void)number;
    for (;;) { (void)pause(); }
}

static void power_fails(void)
{
    say("power", disk.root, disk.syncs);
    (void)signal(SIGBUS, stand_still);
    (void)nftw(disk.root, lose_file, 16, FTW_PHYS);
    _exit(EXIT_POWER);
}

/* --- what the process calls */

/* By this thread, last: a folder's sync belongs to the file before it. */
static _Thread_local char synced_before[PATH_MAX];

/* 0, or an errno. */
static int sync_file(int fd, long call)
{
    char path[PATH_MAX];
    if (!concerns(fd, path)) { return syscall(call, fd) == 0 ? 0 : errno; }
    (void)pthread_mutex_lock(&disk.lock);
    struct stat status;
    file *at = file_of(fd, &status); /* NULL: a folder */
    int error = 0;
    disk.syncs++;
    if (disk.syncs == disk.crash_at) { power_fails(); }
    if (disk.syncs == disk.eio_at) {
        if (synced_before[0]) { say("behind", synced_before, disk.syncs); }
        say("eio", path, disk.syncs);
        error = disk.error ? disk.error : EIO;
    } else if (syscall(call, fd) != 0) {
        error = errno;
    } else if (at) {
        at->size = status.st_size;
        free(at->content);
        at->content = NULL;
    }
    memcpy(synced_before, path, sizeof path);
    (void)pthread_mutex_unlock(&disk.lock);
    return error;
}

static int answer(int error)
{
    if (error == 0) { return 0; }
    errno = error;
    return -1;
}

SHOWN int fdatasync(int fd);
SHOWN int fdatasync(int fd)
{
    return answer(sync_file(fd, SYS_fdatasync));
}

SHOWN int fsync(int fd);
SHOWN int fsync(int fd)
{
    return answer(sync_file(fd, SYS_fsync));
}

static bool no_space(size_t bytes)
{
    if (disk.full_after == 0 || (disk.space[0] && access(disk.space, F_OK) == 0)) { return false; }
    disk.written += bytes;
    return disk.written > disk.full_after;
}

/* What a small file's overwritten bytes were. */
static void remember(int fd, off_t offset)
{
    struct stat status;
    file *at = file_of(fd, &status);
    if (!at || at->content || offset >= at->size || at->size > REMEMBERED_MAX) { return; }
    at->content = malloc((size_t)at->size);
    int reader = at->content ? (int)syscall(SYS_dup, fd) : -1;
    if (reader < 0 || syscall(SYS_pread64, reader, at->content, at->size, 0) != (long)at->size) {
        free(at->content);
        at->content = NULL;
    }
    if (reader >= 0) { (void)close(reader); }
}

static bool is_held(uint64_t number)
{
    char text[32] = "";
    int fd = disk.hold[0] ? (int)syscall(SYS_openat, AT_FDCWD, disk.hold, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) { return false; }
    long bytes = syscall(SYS_read, fd, text, sizeof text - 1);
    (void)close(fd);
    return bytes > 0 && number > strtoull(text, NULL, 10);
}

/* Without the lock: others go on. */
static void wait_to_write(const char *path, uint64_t number)
{
    if (!is_held(number)) { return; }
    say("held", path, number);
    while (is_held(number)) { (void)nanosleep(&(struct timespec){0, 1000000}, NULL); }
}

/* Whether the write may be made. */
static bool may_write(int fd, size_t bytes, off_t offset)
{
    char path[PATH_MAX];
    if (!concerns(fd, path)) { return true; }
    (void)pthread_mutex_lock(&disk.lock);
    bool full = no_space(bytes);
    struct stat status;
    if (!full && offset < 0) { (void)file_of(fd, &status); }
    if (!full && offset >= 0) { remember(fd, offset); }
    uint64_t number = ++disk.writes;
    (void)pthread_mutex_unlock(&disk.lock);
    wait_to_write(path, number);
    if (full) { errno = ENOSPC; }
    return !full;
}

SHOWN ssize_t write(int fd, const void *bytes, size_t size);
SHOWN ssize_t write(int fd, const void *bytes, size_t size)
{
    return may_write(fd, size, -1) ? syscall(SYS_write, fd, bytes, size) : -1;
}

SHOWN ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset);
SHOWN ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    return may_write(fd, size, offset) ? syscall(SYS_pwrite64, fd, bytes, size, offset) : -1;
}

SHOWN ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset);
SHOWN ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset)
{
    return pwrite(fd, bytes, size, offset);
}

SHOWN int statvfs(const char *path, struct statvfs *out);
SHOWN int statvfs(const char *path, struct statvfs *out)
{
    static int (*real)(const char *path, struct statvfs *out);
    if (!real) {
        union {
            void *symbol;
            int (*function)(const char *path, struct statvfs *out);
        } as = {.symbol = dlsym(RTLD_NEXT, "statvfs")};
        real = as.function;
    }
    int result = real(path, out);
    (void)pthread_mutex_lock(&disk.lock);
    bool ours = disk.root_bytes && strncmp(path, disk.root, disk.root_bytes) == 0;
    if (result == 0 && ours && disk.full_after) {
        bool full = no_space(0) || disk.written >= disk.full_after;
        bool back = disk.space[0] && access(disk.space, F_OK) == 0;
        uint64_t left = full && !back ? 0 : back ? UINT64_C(1) << 40 : disk.full_after - disk.written;
        out->f_bavail = (fsblkcnt_t)(left / out->f_frsize);
    }
    (void)pthread_mutex_unlock(&disk.lock);
    return result;
}
