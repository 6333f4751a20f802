/* isolates/early_read.c - a library that reads what it can when it is loaded, keeps it, and tells it in its answers:
 * of its node (whose number is the last argument) the memory and what it was started with; beside itself, where the
 * test has put a data folder, keys and settings; and what it may have, to see that it looks at all. It needs libz and
 * libm.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/isolates/early_read.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

STOA_TABLE_DEFINE(early_read)
typedef struct early_read {
    uint64_t nothing;
} early_read;
STOA_PLAIN_KIND(early_read, .mailbox_limit = 64)

static const char *const beside[] = {"early_read.so", "data", "data/keys", "data/keys/server.key", "data/node.id", "settings.yaml"};
static const char *const of_node[] = {"mem", "environ", "maps", "cmdline", "status", "stat", "fd", "exe", "root/etc/passwd", "cwd"};
static const char *const others[] = {"/etc/ld.so.cache", "/etc/passwd",     "/etc/ld.so.conf", "/",        "/proc",
                                     "/proc/self/mem",   "/proc/self/maps", "/proc/version",   "/dev/zero", "/usr/lib"};
enum { BESIDE = sizeof beside / sizeof *beside, OF_NODE = sizeof of_node / sizeof *of_node, OTHERS = sizeof others / sizeof *others };

static early_read_found found[BESIDE + OF_NODE + OTHERS];
static uint64_t descriptors;

static void read_into(early_read_found *to, const char *path)
{
    (void)STOA_TEXT_SETZ(&to->path, path);
    int fd = open(path, O_RDONLY);
    to->error = fd < 0 ? (uint64_t)errno : 0;
    if (fd < 0) { return; }
    ssize_t size_bytes = read(fd, &to->bytes, sizeof to->bytes);
    to->size_bytes = size_bytes > 0 ? (uint64_t)size_bytes : 0;
    (void)close(fd);
}

__attribute__((constructor)) static void early(int count, char **args)
{
    char path[254];
    struct stat is;
    const char *library = args[1], *name = strrchr(library, '/');
    for (int fd = 0; fd < 16; fd++) { descriptors |= (uint64_t)(fstat(fd, &is) == 0) << fd; }
    for (int i = 0; i < BESIDE; i++) {
        (void)snprintf(path, sizeof path, "%.*s/%s", (int)(name - library), library, beside[i]);
        read_into(&found[i], path);
    }
    for (int i = 0; i < OF_NODE; i++) {
        (void)snprintf(path, sizeof path, "/proc/%s/%s", args[count - 1], of_node[i]);
        read_into(&found[BESIDE + i], path);
    }
    for (int i = 0; i < OTHERS; i++) { read_into(&found[BESIDE + OF_NODE + i], others[i]); }
}

static stoa_err early_read_on_look(stoa_turn *turn, early_read *self, const early_read_look *in, early_read_found *out)
{
    (void)turn, (void)self;
    if (in->n < sizeof found / sizeof *found) { *out = found[in->n]; }
    return STOA_OK;
}

static stoa_err early_read_on_sum(stoa_turn *turn, early_read *self, const early_read_sum *in, early_read_sums *out)
{
    (void)turn, (void)self;
    out->crc = crc32(0, (const Bytef *)in->text.at, in->text.len);
    out->root = (uint64_t)cbrt((double)in->n);
    out->descriptors = descriptors;
    return STOA_OK;
}

STOA_PLUGIN(early_read)
