/* kept.c - storage/archive/kept.h: names and lists; kept_chunks.c has the entries themselves.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/kept.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/archive/file.h"

enum {
    VERSION = 1,
    HEADER_BYTES = 152,
    ENTRY_BYTES = 90,
    HASH_BYTES = 32,
    AT_SHARD = 56,
    AT_BLOCK = 88,
    AT_HASH = 120,
    AT_FILE = 34,
    AT_ENTRY_HASH = 58,
    STORED_MAX = STOA_SIDE_VALUE_MAX + 64,
};
#define LIST_BYTES_MAX ((size_t)4 << 30)

static const char magic[4] = {'S', 'T', 'L', '1'}, prefix[] = "snapshot-", newer[] = "it is of another build";

void stoa_kept_name(uint64_t position, const char *ending, char name[STOA_KEPT_NAME_MAX])
{
    (void)snprintf(name, STOA_KEPT_NAME_MAX, "%s%" PRIu64 "%s", prefix, position, ending);
}

bool stoa_kept_parse(const char *name, const char *ending, uint64_t *position_out)
{
    char again[STOA_KEPT_NAME_MAX];
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) { return false; }
    uint64_t position = strtoull(name + sizeof prefix - 1, NULL, 10);
    stoa_kept_name(position, ending, again);
    if (position == 0 || strcmp(again, name) != 0) { return false; }
    *position_out = position;
    return true;
}

/* --- the list */

void stoa_kept_list_deinit(stoa_kept_list *list)
{
    free(list->entries);
    *list = (stoa_kept_list){0};
}

stoa_err stoa_kept_list_add(stoa_kept_list *list, const stoa_kept_entry *entry)
{
    if (list->count == list->cap) {
        uint64_t cap = list->cap * 2 + 64;
        stoa_kept_entry *grown = realloc(list->entries, cap * sizeof *grown);
        if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu64 " entries of a snapshot", cap); }
        list->entries = grown;
        list->cap = cap;
    }
    list->entries[list->count++] = *entry;
    return STOA_OK;
}

static int order(const stoa_kept_entry *entry, const void *key, uint32_t key_bytes)
{
    uint32_t both = entry->key_bytes < key_bytes ? entry->key_bytes : key_bytes;
    int by_bytes = memcmp(entry->key, key, both);
    return by_bytes ? by_bytes : (int)entry->key_bytes - (int)key_bytes;
}

const stoa_kept_entry *stoa_kept_list_find(const stoa_kept_list *list, const void *key, uint32_t key_bytes)
{
    uint64_t low = 0, high = list->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (order(&list->entries[middle], key, key_bytes) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < list->count && order(&list->entries[low], key, key_bytes) == 0 ? &list->entries[low] : NULL;
}

bool stoa_kept_list_files(const stoa_kept_list *list, uint64_t files[STOA_SNAPSHOT_PACKS], uint32_t *count_out)
{
    uint32_t count = 0;
    for (uint64_t e = 0; e < list->count; e++) {
        uint64_t file = list->entries[e].file;
        uint32_t i = 0;
        while (i < count && files[i] < file) { i++; }
        if (i < count && files[i] == file) { continue; }
        if (count == STOA_SNAPSHOT_PACKS) { return false; }
        memmove(files + i + 1, files + i, (count - i) * sizeof *files);
        files[i] = file;
        count++;
    }
    *count_out = count;
    return true;
}

/* --- as bytes */

static void put_le(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) { at[i] = (uint8_t)(value >> (8 * i)); }
}

static uint64_t get_le(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) { value |= (uint64_t)at[i] << (8 * i); }
    return value;
}

static void encode_entry(const stoa_kept_entry *e, uint8_t *at)
{
    at[0] = e->key_bytes;
    memcpy(at + 1, e->key, sizeof e->key);
    put_le(at + AT_FILE, e->file, 8);
    put_le(at + AT_FILE + 8, e->at, 8);
    put_le(at + AT_FILE + 16, e->packed_bytes, 4);
    put_le(at + AT_FILE + 20, e->stored_bytes, 4);
    memcpy(at + AT_ENTRY_HASH, e->hash.at, HASH_BYTES);
}

static void encode_header(const stoa_kept_list *list, uint8_t *at)
{
    const stoa_snapshot_info *info = &list->info;
    const uint64_t numbers[] = {info->position, info->epoch, info->wall_ns, info->chunks, info->bytes, list->count};
    memcpy(at, magic, sizeof magic);
    put_le(at + 4, VERSION, 4);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) { put_le(at + 8 + i * 8, numbers[i], 8); }
    memcpy(at + AT_SHARD, list->shard, sizeof list->shard);
    memcpy(at + AT_BLOCK, info->block.at, HASH_BYTES);
    memcpy(at + AT_HASH, info->hash.at, HASH_BYTES);
}

stoa_err stoa_kept_list_save(const char *folder, const stoa_kept_list *list, stoa_hash256 *hash_out)
{
    char name[STOA_KEPT_NAME_MAX];
    size_t size_bytes = HEADER_BYTES + list->count * ENTRY_BYTES;
    uint8_t *bytes = malloc(size_bytes + HASH_BYTES);
    stoa_hash256 check;
    if (!bytes) { return STOA_FAIL(STOA_E_NOMEM, "a list of %" PRIu64 " entries", list->count); }
    encode_header(list, bytes);
    for (uint64_t i = 0; i < list->count; i++) { encode_entry(&list->entries[i], bytes + HEADER_BYTES + i * ENTRY_BYTES); }
    stoa_hash256_parts(&check, bytes, size_bytes, NULL, 0);
    memcpy(bytes + size_bytes, check.at, HASH_BYTES);
    stoa_hash256_parts(hash_out, bytes, size_bytes + HASH_BYTES, NULL, 0);
    stoa_kept_name(list->info.position, stoa_kept_list_ending, name);
    stoa_err err = stoa_file_put(folder, name, bytes, size_bytes + HASH_BYTES);
    free(bytes);
    return err;
}

/* What no snapshot says of itself. */
static bool makes_sense(const stoa_kept_entry *e, const stoa_kept_entry *before, uint64_t position)
{
    bool sizes = e->stored_bytes > 0 && e->stored_bytes <= STORED_MAX && e->packed_bytes > 0 && e->packed_bytes <= e->stored_bytes;
    bool key = e->key_bytes > 0 && e->key_bytes <= STOA_KEPT_KEY_MAX && (!before || order(before, e->key, e->key_bytes) < 0);
    return sizes && key && e->file > 0 && e->file <= position;
}

static const char *decode_entries(const uint8_t *at, uint64_t count, stoa_kept_list *list)
{
    for (uint64_t i = 0; i < count; i++, at += ENTRY_BYTES) {
        stoa_kept_entry e = {.key_bytes = at[0],
                             .file = get_le(at + AT_FILE, 8),
                             .at = get_le(at + AT_FILE + 8, 8),
                             .packed_bytes = (uint32_t)get_le(at + AT_FILE + 16, 4),
                             .stored_bytes = (uint32_t)get_le(at + AT_FILE + 20, 4)};
        memcpy(e.key, at + 1, sizeof e.key);
        memcpy(e.hash.at, at + AT_ENTRY_HASH, HASH_BYTES);
        if (!makes_sense(&e, i ? &list->entries[i - 1] : NULL, list->info.position)) { return "an entry that makes no sense"; }
        if (stoa_kept_list_add(list, &e)) { return "too many entries"; }
    }
    return NULL;
}

static void decode_header(const uint8_t *at, stoa_kept_list *list)
{
    stoa_snapshot_info *info = &list->info;
    uint64_t *const numbers[] = {&info->position, &info->epoch, &info->wall_ns, &info->chunks, &info->bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) { *numbers[i] = get_le(at + 8 + i * 8, 8); }
    memcpy(list->shard, at + AT_SHARD, sizeof list->shard);
    memcpy(info->block.at, at + AT_BLOCK, HASH_BYTES);
    memcpy(info->hash.at, at + AT_HASH, HASH_BYTES);
}

/* NULL, or what is wrong with it. */
static const char *decode(const uint8_t *bytes, size_t size_bytes, uint64_t position, stoa_kept_list *list)
{
    stoa_hash256 check;
    uint64_t files[STOA_SNAPSHOT_PACKS];
    uint32_t file_count;
    if (size_bytes < HEADER_BYTES + HASH_BYTES || memcmp(bytes, magic, sizeof magic) != 0) { return "it is no list"; }
    stoa_hash256_parts(&check, bytes, size_bytes - HASH_BYTES, NULL, 0);
    if (memcmp(check.at, bytes + size_bytes - HASH_BYTES, HASH_BYTES) != 0) { return "its check does not match its bytes"; }
    if (get_le(bytes + 4, 4) != VERSION) { return newer; }
    decode_header(bytes, list);
    uint64_t count = get_le(bytes + 48, 8), room = (size_bytes - HEADER_BYTES - HASH_BYTES) / ENTRY_BYTES;
    if (list->info.position != position) { return "it is of another position"; }
    if (list->shard[STOA_SEGMENT_SHARD_MAX] != '\0') { return "the shard's name"; }
    if (count == 0 || count != room || size_bytes != HEADER_BYTES + count * ENTRY_BYTES + HASH_BYTES) { return "it is cut short"; }
    const char *fault = decode_entries(bytes + HEADER_BYTES, count, list);
    if (!fault && !stoa_kept_list_files(list, files, &file_count)) { fault = "it leans on too many files"; }
    return fault;
}

stoa_err stoa_kept_list_load(const char *folder, uint64_t position, stoa_kept_list *out, stoa_hash256 *hash_out)
{
    char name[STOA_KEPT_NAME_MAX];
    stoa_buf text = STOA_BUF_GROWING;
    stoa_kept_list list = {.count = 0};
    stoa_kept_name(position, stoa_kept_list_ending, name);
    stoa_err err = stoa_file_get(folder, name, LIST_BYTES_MAX, &text);
    if (err == STOA_E_NOT_FOUND) { err = STOA_PASS(STOA_E_GAP, "the snapshot at %" PRIu64, position); }
    const char *fault = err ? NULL : decode((const uint8_t *)text.at, text.used_bytes, position, &list);
    if (fault == newer) {
        err = STOA_FAIL(STOA_E_VERSION, "%s/%s: %s", folder, name, newer);
    } else if (fault) { err = STOA_FAIL(STOA_E_CORRUPT, "%s/%s: %s", folder, name, fault); }
    if (!err) { stoa_hash256_parts(hash_out, text.at, text.used_bytes, NULL, 0); }
    stoa_buf_deinit(&text);
    if (err) {
        stoa_kept_list_deinit(&list);
        return err;
    }
    *out = list;
    return STOA_OK;
}
