/* catalog_fuzz.c - goal: no bytes in a backup's catalogue (backup.json) make a reader crash or accept what makes no sense: above all no
 * name of a shard that is not a plain name, as a restore makes folders of them. Method: the text as it is, and with its check put right.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/hash.h"
#include "node/archive/catalog.h"
#include "tests/fuzz/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    scratch_note("backup.json", data, size, sound);
    stoa_err err = stoa_catalog_load(scratch_folder(), &catalog);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_CORRUPT || err == STOA_E_VERSION || err == STOA_E_TOO_LARGE);
    if (err) { return; }
    check_names(&catalog);
    STOA_ASSERT(stoa_catalog_save(scratch_folder(), &catalog) == STOA_OK && stoa_catalog_load(scratch_folder(), &again) == STOA_OK);
    STOA_ASSERT(memcmp(&catalog, &again, sizeof catalog) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_text(data, size, false);
    try_text(data, size, true);
    return 0;
}
