/* catalog_fuzz.c - goal: no bytes in a backup's catalogue (backup.json) make a reader crash or accept what makes no sense: above all no
 * name of a shard that is not a plain name, as a restore makes folders of them. Method: the text as it is, and with its check put right.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "node/archive/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATH_BYTES = 64, NAME_BYTES = 128 };

static char path[PATH_BYTES];

static void remove_folder(void)
{
    char file[NAME_BYTES];
    (void)snprintf(file, sizeof file, "%s/backup.json", path);
    (void)unlink(file);
    (void)rmdir(path);
}

static const char *folder(void)
{
    if (!path[0]) {
        (void)snprintf(path, sizeof path, "%s/catalog-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        STOA_ASSERT(mkdtemp(path) && atexit(remove_folder) == 0);
    }
    return path;
}

static void put(const uint8_t *text, size_t size, bool sound)
{
    char file_path[NAME_BYTES], digits[STOA_HASH256_TEXT];
    (void)snprintf(file_path, sizeof file_path, "%s/backup.json", folder());
    FILE *file = fopen(file_path, "wb");
    STOA_ASSERT(file && fwrite(text, 1, size, file) == size);
    if (sound) {
        stoa_hash256 check;
        stoa_hash256_parts(&check, text, size, NULL, 0);
        stoa_hash256_print(&check, digits);
        STOA_ASSERT(fprintf(file, ",\n  \"check\": \"%s\"\n}\n", digits) > 0);
    }
    STOA_ASSERT(fclose(file) == 0);
}

static void check_names(const stoa_catalog *c)
{
    STOA_ASSERT(c->shard_count <= STOA_CATALOG_SHARDS && c->kind_count <= STOA_CATALOG_KINDS && c->key_count <= STOA_KEYS_MAX);
    for (uint32_t i = 0; i < c->shard_count; i++) {
        const char *name = c->shards[i].name;
        STOA_ASSERT(name[0] && name[0] != '.' && !strchr(name, '/') && memchr(name, '\0', sizeof c->shards[i].name));
        STOA_ASSERT(stoa_catalog_find(c, name) == &c->shards[i]); /* no name twice */
    }
}

static void try_text(const uint8_t *data, size_t size, bool sound)
{
    static stoa_catalog catalog, again;
    put(data, size, sound);
    stoa_err err = stoa_catalog_load(folder(), &catalog);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_CORRUPT || err == STOA_E_VERSION || err == STOA_E_TOO_LARGE);
    if (err) { return; }
    check_names(&catalog);
    STOA_ASSERT(stoa_catalog_save(folder(), &catalog) == STOA_OK && stoa_catalog_load(folder(), &again) == STOA_OK);
    STOA_ASSERT(memcmp(&catalog, &again, sizeof catalog) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_text(data, size, false);
    try_text(data, size, true);
    return 0;
}
