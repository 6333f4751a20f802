/* keep.c - the files of transport/keep.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/os.h"

enum { SIZE_MAX_BYTES = 64 << 20, FILES_MAX = 16 };
#define ENDING ".part"

typedef struct record_head { /* what a piece's hash binds it to */
    char form[8];
    uint64_t at, size_bytes;
    stoa_hash256 whole;
} record_head;

typedef struct under_way {
    bool used;
    stoa_err err; /* of its file: nothing more goes there */
    int fd;
    stoa_hash256 hash;
    uint64_t size_bytes, kept; /* kept: whole pieces */
    uint8_t *bytes;
} under_way;

struct stoa_keep {
    int folder;
    uint64_t size_max_bytes;
    uint32_t files_max;
    under_way transfers[]; /* files_max */
};

typedef struct file_name {
    char text[STOA_HASH256_TEXT + sizeof ENDING];
} file_name;

static file_name name_of(const stoa_hash256 *hash)
{
    file_name name;
    char text[STOA_HASH256_TEXT];
    stoa_hash256_print(hash, text);
    (void)snprintf(name.text, sizeof name.text, "%s" ENDING, text);
    return name;
}

static under_way *find(const stoa_keep *keep, const stoa_hash256 *hash)
{
    for (uint32_t i = 0; i < keep->files_max; i++) {
        const under_way *u = &keep->transfers[i];
        if (u->used && memcmp(&u->hash, hash, sizeof *hash) == 0) { return (under_way *)(uintptr_t)u; }
    }
    return NULL;
}

/* --- the folder */

static stoa_err folder_open(const char *path, int *out)
{
    if (mkdir(path, 0700) && errno != EEXIST) { return stoa_os_error("mkdir", path); }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) { return stoa_os_error("open", path); }
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        stoa_err err = errno == EWOULDBLOCK ? STOA_FAIL(STOA_E_EXISTS, "%s: another process keeps there", path)
                                            : stoa_os_error("flock", path);
        (void)close(fd);
        return err;
    }
    *out = fd;
    return STOA_OK;
}

/* Whether it is a file of ours, and whose. */
static bool name_parse(const char *name, stoa_hash256 *out)
{
    return strlen(name) == STOA_HASH256_TEXT - 1 + strlen(ENDING) && stoa_hash256_parse(name, out) &&
           strcmp(name + STOA_HASH256_TEXT - 1, ENDING) == 0;
}

/* How many files there are; and which of those that are not under way was written to longest ago: "" where there is none. */
static stoa_err files_count(const stoa_keep *keep, uint32_t *count_out, file_name *oldest_out)
{
    int fd = openat(keep->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        stoa_err err = stoa_os_error("read", "the folder of transfers");
        if (fd >= 0) { (void)close(fd); }
        return err;
    }
    struct timespec oldest = {0};
    oldest_out->text[0] = '\0';
    *count_out = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        stoa_hash256 hash;
        struct stat is;
        if (!name_parse(entry->d_name, &hash)) { continue; }
        ++*count_out;
        if (find(keep, &hash) || fstatat(keep->folder, entry->d_name, &is, AT_SYMLINK_NOFOLLOW)) { continue; }
        bool older = is.st_mtim.tv_sec < oldest.tv_sec ||
                     (is.st_mtim.tv_sec == oldest.tv_sec && is.st_mtim.tv_nsec < oldest.tv_nsec);
        if (oldest_out->text[0] && !older) { continue; }
        oldest = is.st_mtim;
        *oldest_out = name_of(&hash);
    }
    (void)closedir(folder);
    return STOA_OK;
}

/* A new file finds room: there are fewer than files_max. Of those there are, more than that only where it was once more. */
static stoa_err room_make(const stoa_keep *keep)
{
    for (;;) {
        uint32_t count = 0;
        file_name oldest;
        stoa_err err = files_count(keep, &count, &oldest);
        if (err || count < keep->files_max) { return err; }
        if (!oldest.text[0]) { return STOA_E_FULL; }
        if (unlinkat(keep->folder, oldest.text, 0)) { return stoa_os_error("unlink", oldest.text); }
    }
}

static stoa_err file_open(const stoa_keep *keep, under_way *u)
{
    enum { HOW = O_RDWR | O_NOFOLLOW | O_CLOEXEC };
    file_name name = name_of(&u->hash);
    u->fd = openat(keep->folder, name.text, HOW);
    if (u->fd < 0 && errno == ENOENT) {
        stoa_err err = room_make(keep);
        if (err) { return err; }
        u->fd = openat(keep->folder, name.text, HOW | O_CREAT | O_EXCL, 0600);
    }
    return u->fd < 0 ? stoa_os_error("open", name.text) : STOA_OK;
}

/* --- pieces */

static stoa_hash256 piece_hash(const under_way *u, uint64_t at)
{
    record_head head = {.form = "piece 1", .at = at, .size_bytes = u->size_bytes, .whole = u->hash};
    stoa_hash256 hash;
    stoa_hash256_parts(&hash, &head, sizeof head, u->bytes + at, STOA_KEEP_PIECE_BYTES);
    return hash;
}

static off_t place_of(uint64_t at)
{
    return (off_t)(at / STOA_KEEP_PIECE_BYTES * (STOA_KEEP_PIECE_BYTES + sizeof(stoa_hash256)));
}

/* Take into memory what of the file proves itself. */
static void pieces_read(under_way *u)
{
    while (u->size_bytes - u->kept >= STOA_KEEP_PIECE_BYTES) {
        stoa_hash256 said;
        struct iovec record[2] = {{&said, sizeof said}, {u->bytes + u->kept, STOA_KEEP_PIECE_BYTES}};
        if (preadv(u->fd, record, 2, place_of(u->kept)) != (ssize_t)(sizeof said + STOA_KEEP_PIECE_BYTES)) { return; }
        stoa_hash256 is = piece_hash(u, u->kept);
        if (memcmp(&is, &said, sizeof is) != 0) { return; }
        u->kept += STOA_KEEP_PIECE_BYTES;
    }
}

static stoa_err piece_write(under_way *u)
{
    stoa_hash256 hash = piece_hash(u, u->kept);
    struct iovec record[2] = {{&hash, sizeof hash}, {u->bytes + u->kept, STOA_KEEP_PIECE_BYTES}};
    ssize_t wrote = pwritev(u->fd, record, 2, place_of(u->kept));
    if (wrote < 0) { return stoa_os_error("write", name_of(&u->hash).text); }
    if (wrote != (ssize_t)(sizeof hash + STOA_KEEP_PIECE_BYTES)) {
        return STOA_FAIL(STOA_E_FULL, "%s: no room for a piece", name_of(&u->hash).text);
    }
    u->kept += STOA_KEEP_PIECE_BYTES;
    return STOA_OK;
}

/* --- what a user calls */

stoa_err stoa_keep_open(const stoa_keep_options *options, stoa_keep **out)
{
    if (!options->folder || !options->folder[0]) { return STOA_FAIL(STOA_E_INVALID, "transfers are kept in no folder"); }
    uint32_t files_max = options->files_max ? options->files_max : FILES_MAX;
    stoa_keep *keep = calloc(1, sizeof *keep + files_max * sizeof keep->transfers[0]);
    if (!keep) { return STOA_FAIL(STOA_E_NOMEM, "no memory for %u transfers", files_max); }
    keep->files_max = files_max;
    keep->size_max_bytes = options->size_max_bytes ? options->size_max_bytes : SIZE_MAX_BYTES;
    stoa_err err = folder_open(options->folder, &keep->folder);
    if (err) {
        free(keep);
        return err;
    }
    *out = keep;
    return STOA_OK;
}

static void release(under_way *u)
{
    if (u->fd >= 0) { (void)close(u->fd); }
    if (u->bytes) { (void)munmap(u->bytes, u->size_bytes); }
    *u = (under_way){.fd = -1};
}

void stoa_keep_close(stoa_keep *keep)
{
    if (!keep) { return; }
    for (uint32_t i = 0; i < keep->files_max; i++) {
        if (keep->transfers[i].used) { release(&keep->transfers[i]); }
    }
    (void)close(keep->folder);
    free(keep);
}

stoa_err stoa_keep_offered(stoa_keep *keep, const stoa_transfer *offer, void **into_out, uint64_t *have_out)
{
    under_way *u = keep->transfers, *end = u + keep->files_max;
    if (offer->size_bytes > keep->size_max_bytes) { return STOA_E_TOO_LARGE; }
    if (find(keep, &offer->hash)) { return STOA_E_EXISTS; }
    while (u < end && u->used) {
        u++;
    }
    if (u == end) { return STOA_E_FULL; }
    *u = (under_way){.used = true, .fd = -1, .hash = offer->hash, .size_bytes = offer->size_bytes};
    void *bytes = mmap(NULL, u->size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stoa_err err = STOA_E_NOMEM;
    if (bytes != MAP_FAILED) {
        u->bytes = bytes;
        err = file_open(keep, u);
    }
    if (err) {
        release(u);
        return err;
    }
    pieces_read(u);
    *into_out = u->bytes;
    *have_out = u->kept;
    return STOA_OK;
}

stoa_err stoa_keep_grew(stoa_keep *keep, const stoa_transfer *offer, uint64_t have)
{
    under_way *u = find(keep, &offer->hash);
    STOA_ASSERT(u && have <= u->size_bytes);
    if (u->err || have == u->size_bytes) { return STOA_OK; } /* of a whole one nothing need be kept */
    while (!u->err && have >= u->kept + STOA_KEEP_PIECE_BYTES) {
        u->err = piece_write(u);
    }
    return u->err;
}

const void *stoa_keep_bytes(const stoa_keep *keep, const stoa_transfer *offer)
{
    const under_way *u = find(keep, &offer->hash);
    return u ? u->bytes : NULL;
}

void stoa_keep_came(stoa_keep *keep, const stoa_transfer *offer, stoa_err why)
{
    under_way *u = find(keep, &offer->hash);
    STOA_ASSERT(u);
    if (why != STOA_E_CLOSED) { (void)unlinkat(keep->folder, name_of(&u->hash).text, 0); }
    release(u);
}
