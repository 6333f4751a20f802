/* catalog.h - what a backup says of the node it is of: backup.json beside the shards' archives.
 *
 * Enough to tell on an empty machine what is needed: shards with where they ended and which state hash they had live, the
 * kinds and the shape of their tables and states, the settings' fingerprint, the ids of the keys that opened the blocks.
 * Never a key.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_CATALOG_H
#define STOA_NODE_ARCHIVE_CATALOG_H

#include <stdint.h>

#include "base/hash.h"
#include "node/settings.h"
#include "runtime/actor.h"
#include "storage/seal.h"

enum { STOA_CATALOG_SHARDS = 64, STOA_CATALOG_KINDS = 64, STOA_CATALOG_NAME = 31 };

typedef struct stoa_catalog_kind {
    char name[STOA_CATALOG_NAME + 1];
    uint64_t state_bytes;
    stoa_hash256 table; /* rows, fields and types */
} stoa_catalog_kind;

typedef struct stoa_catalog_shard {
    char name[STOA_CATALOG_NAME + 1];
    uint64_t last;                       /* position */
    stoa_hash256 hash;                   /* of its last block */
    uint64_t state_position, state_hash; /* what the running shard showed there; 0: nothing ran */
} stoa_catalog_shard;

typedef struct stoa_catalog {
    char node[STOA_CATALOG_NAME + 1], version[STOA_CATALOG_NAME + 1];
    uint64_t written_ns;
    uint64_t consistent_ns; /* commit time up to which all shards are complete: the latest that the node can be cut at */
    stoa_hash256 settings;
    uint32_t keys[STOA_KEYS_MAX]; /* ids of those that the node had, rising */
    uint32_t key_count;
    stoa_catalog_kind kinds[STOA_CATALOG_KINDS];
    stoa_catalog_shard shards[STOA_CATALOG_SHARDS];
    uint32_t kind_count, shard_count;
    char left_out[STOA_CATALOG_SHARDS][STOA_CATALOG_NAME + 1]; /* of one that was loaded: archives beside it that it does not name, sorted */
    uint32_t left_out_count;
} stoa_catalog;

/* Errors: those of stoa_note_load. */
stoa_err stoa_catalog_load(const char *folder, stoa_catalog *out);
stoa_err stoa_catalog_save(const char *folder, const stoa_catalog *catalog);

/* Fill in the kinds, a NULL-terminated list. Errors: TOO_LARGE. */
stoa_err stoa_catalog_put_kinds(stoa_catalog *catalog, const stoa_kind *const *kinds);

/* Of all settings in effect, as they would be printed. */
stoa_hash256 stoa_settings_fingerprint(const stoa_settings *settings);

/* ring: NULL where nothing is sealed. */
void stoa_catalog_put_keys(stoa_catalog *catalog, const stoa_keyring *ring);

/* The name of the first kind that this build has in another shape than the catalogue's; NULL: none. With state_only tables may
 * differ, because events of older ones are still read: it is the states that are then laid out in another way. */
const char *stoa_catalog_other_kind(const stoa_catalog *catalog, const stoa_kind *const *kinds, bool state_only);

const stoa_catalog_shard *stoa_catalog_find(const stoa_catalog *catalog, const char *shard);

#endif
