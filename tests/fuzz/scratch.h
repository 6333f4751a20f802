/* scratch.h - a folder of the process's own, in memory where there is such, for fuzz targets whose readers take a path. It goes when the
 * process ends, with the one file that was put there.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_FUZZ_SCRATCH_H
#define STOA_TESTS_FUZZ_SCRATCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"

enum { SCRATCH_PATH_BYTES = 64, SCRATCH_FILE_BYTES = 128 };

static struct {
    char folder[SCRATCH_PATH_BYTES], file[SCRATCH_FILE_BYTES];
} scratch;

static void scratch_remove(void)
{
    (void)unlink(scratch.file);
    (void)rmdir(scratch.folder);
}

static const char *scratch_folder(void)
{
    if (!scratch.folder[0]) {
        const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        (void)snprintf(scratch.folder, sizeof scratch.folder, "%s/stoa-fuzz-XXXXXX", where);
        STOA_ASSERT(mkdtemp(scratch.folder) && atexit(scratch_remove) == 0);
    }
    return scratch.folder;
}

/* A note of storage/archive as it is, or with its end and check put behind it. Always the same name in one process. */
static void scratch_note(const char *name, const void *text, size_t size_bytes, bool sound)
{
    (void)snprintf(scratch.file, sizeof scratch.file, "%s/%s", scratch_folder(), name);
    FILE *file = fopen(scratch.file, "wb");
    STOA_ASSERT(file && fwrite(text, 1, size_bytes, file) == size_bytes);
    if (sound) {
        char digits[STOA_HASH256_TEXT];
        stoa_hash256 check;
        stoa_hash256_parts(&check, text, size_bytes, NULL, 0);
        stoa_hash256_print(&check, digits);
        STOA_ASSERT(fprintf(file, ",\n  \"check\": \"%s\"\n}\n", digits) > 0);
    }
    STOA_ASSERT(fclose(file) == 0);
}

#endif
