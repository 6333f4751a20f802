/* archive_fuzz.c - goal: no bytes in an archive's files - segments, lists of snapshots, their manifest - make a reader crash, read outside them, or accept
 * what makes no sense; what is accepted is read again the same. Method: the input's first byte says what the rest is: a file as it is,
 * or one whose hashes, sizes and packing are put right, so that what lies behind those checks is reached.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zstd.h>

#include "base/hash.h"
#include "storage/archive/file.h"
#include "storage/archive/kept.h"
#include "storage/archive/manifest.h"
#include "storage/archive/segment.h"
#include "storage/block.h"
#include "tests/fuzz/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { AT_PACKED_BYTES = 40, AT_CHECK = 184 };

/* --- segments */

static void write_all(int fd, const void *bytes, size_t size)
{
    STOA_ASSERT(write(fd, bytes, size) == (ssize_t)size);
}

static stoa_err count_blocks(void *context, const void *bytes, size_t size_bytes)
{
    stoa_block_view view;
    STOA_ASSERT(stoa_block_decode(bytes, size_bytes, &view) == STOA_OK);
    ++*(uint64_t *)context;
    return STOA_OK;
}

static void check_segment(int fd)
{
    char open_file[SCRATCH_PATH_BYTES];
    stoa_segment segment, again;
    (void)snprintf(open_file, sizeof open_file, "/proc/self/fd/%d", fd);
    stoa_err err = stoa_segment_check(open_file, NULL, &segment);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_CORRUPT || err == STOA_E_VERSION || err == STOA_E_GAP || err == STOA_E_FORKED);
    if (err) { return; }
    STOA_ASSERT(segment.first >= 1 && segment.last >= segment.first && segment.blocks >= 1 && segment.shard[0]);
    STOA_ASSERT(stoa_segment_check(open_file, &segment, &again) == STOA_OK);
    uint64_t blocks = 0;
    STOA_ASSERT(stoa_segment_read(fd, open_file, &segment, segment.first, count_blocks, &blocks) == STOA_OK && blocks == segment.blocks);
    segment.last++;
    STOA_ASSERT(stoa_segment_check(open_file, &segment, &again) == STOA_E_CORRUPT);
}

/* header: NULL for a file as it is; else its hash is put right. */
static void try_segment(const uint8_t *header, const uint8_t *rest, size_t size)
{
    uint8_t bytes[STOA_SEGMENT_HEADER_BYTES];
    int fd = memfd_create("segment", MFD_CLOEXEC);
    STOA_ASSERT(fd >= 0);
    if (header) {
        uint64_t packed = size;
        stoa_hash256 check;
        memcpy(bytes, header, sizeof bytes);
        memcpy(bytes, "STS1\1\0\0\0", 8);
        memcpy(bytes + AT_PACKED_BYTES, &packed, sizeof packed);
        stoa_hash256_parts(&check, bytes, AT_CHECK, NULL, 0);
        memcpy(bytes + AT_CHECK, &check, sizeof check);
        write_all(fd, bytes, sizeof bytes);
    }
    write_all(fd, rest, size);
    check_segment(fd);
    (void)close(fd);
}

static void try_packed(const uint8_t *data, size_t size)
{
    size_t cap = ZSTD_compressBound(size);
    uint8_t *packed = malloc(cap);
    STOA_ASSERT(packed);
    size_t bytes = ZSTD_compress(packed, cap, data + STOA_SEGMENT_HEADER_BYTES, size - STOA_SEGMENT_HEADER_BYTES, 1);
    STOA_ASSERT(!ZSTD_isError(bytes));
    try_segment(data, packed, bytes);
    free(packed);
}

/* --- manifests */

static void check_entries(const stoa_manifest *m)
{
    uint64_t next = m->expired + 1;
    STOA_ASSERT(next > 0);
    for (uint32_t i = 0; i < m->count; i++) {
        const stoa_segment *s = &m->entries[i].segment;
        STOA_ASSERT(s->first == next && s->last >= s->first && s->blocks >= 1 && s->blocks <= s->last - s->first + 1);
        STOA_ASSERT(s->last_epoch >= s->first_epoch && s->level >= STOA_SEGMENT_LEVEL_MIN && s->level <= STOA_SEGMENT_LEVEL_MAX);
        STOA_ASSERT(stoa_manifest_find(m, s->last) == i && (!m->entries[i].open || i + 1 == m->count));
        next = s->last + 1;
    }
}

static void try_manifest(const uint8_t *data, size_t size, bool sound)
{
    stoa_manifest m, again;
    scratch_note("manifest.json", data, size, sound);
    stoa_err err = stoa_manifest_load(scratch_folder(), &m);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_CORRUPT || err == STOA_E_VERSION || err == STOA_E_GAP || err == STOA_E_FORKED ||
                err == STOA_E_TOO_LARGE);
    if (err) { return; }
    check_entries(&m);
    STOA_ASSERT(stoa_manifest_save(scratch_folder(), &m) == STOA_OK && stoa_manifest_load(scratch_folder(), &again) == STOA_OK);
    STOA_ASSERT(again.count == m.count && again.expired == m.expired && strcmp(again.shard, m.shard) == 0);
    for (uint32_t i = 0; i < m.count; i++) {
        STOA_ASSERT(memcmp(&m.entries[i].segment.hash, &again.entries[i].segment.hash, sizeof(stoa_hash256)) == 0);
    }
    stoa_manifest_deinit(&m);
    stoa_manifest_deinit(&again);
}

/* --- lists of snapshots */

enum { LIST_POSITION = 7, LIST_HEADER_BYTES = 152, LIST_ENTRY_BYTES = 90 };

static void check_list(const stoa_kept_list *list)
{
    stoa_hash256 hash;
    stoa_kept_list again;
    STOA_ASSERT(list->count > 0 && list->info.position == LIST_POSITION);
    for (uint64_t i = 0; i < list->count; i++) {
        const stoa_kept_entry *e = &list->entries[i];
        STOA_ASSERT(e->key_bytes > 0 && e->key_bytes <= STOA_KEPT_KEY_MAX && e->packed_bytes <= e->stored_bytes && e->file <= LIST_POSITION);
        STOA_ASSERT(stoa_kept_list_find(list, e->key, e->key_bytes) == e);
    }
    STOA_ASSERT(stoa_kept_list_save(scratch_folder(), list, &hash) == STOA_OK);
    STOA_ASSERT(stoa_kept_list_load(scratch_folder(), LIST_POSITION, &again, &hash) == STOA_OK && again.count == list->count);
    stoa_kept_reader reader;
    stoa_side_entry entry;
    stoa_kept_reader_init(&reader, scratch_folder());
    STOA_ASSERT(stoa_kept_get(&reader, &again.entries[0], &entry) == STOA_E_GAP || list->entries[0].at > INT64_MAX / 2);
    stoa_kept_reader_deinit(&reader);
    stoa_kept_list_deinit(&again);
}

/* sound: what lies behind magic, numbers and check is reached. */
static void try_list(const uint8_t *data, size_t size, bool sound)
{
    uint8_t *bytes = malloc(size + sizeof(stoa_hash256));
    char name[STOA_KEPT_NAME_MAX];
    stoa_hash256 hash;
    stoa_kept_list list;
    STOA_ASSERT(bytes);
    if (size) { memcpy(bytes, data, size); }
    size_t used = size;
    if (sound && size >= LIST_HEADER_BYTES) {
        uint64_t position = LIST_POSITION, count = (size - LIST_HEADER_BYTES) / LIST_ENTRY_BYTES;
        used = LIST_HEADER_BYTES + count * LIST_ENTRY_BYTES;
        memcpy(bytes, "STL1\1\0\0\0", 8);
        memcpy(bytes + 8, &position, sizeof position);
        memcpy(bytes + 48, &count, sizeof count);
        stoa_hash256_parts(&hash, bytes, used, NULL, 0);
        memcpy(bytes + used, hash.at, sizeof hash.at);
        used += sizeof hash.at;
    }
    stoa_kept_name(LIST_POSITION, stoa_kept_list_ending, name);
    STOA_ASSERT(stoa_file_put(scratch_folder(), name, bytes, used) == STOA_OK);
    free(bytes);
    stoa_err err = stoa_kept_list_load(scratch_folder(), LIST_POSITION, &list, &hash);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_CORRUPT || err == STOA_E_VERSION);
    if (err) { return; }
    check_list(&list);
    stoa_kept_list_deinit(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) { return 0; }
    uint8_t what = *data++;
    size--;
    if (what >= 0xf0) {
        try_list(data, size, what % 2);
        return 0;
    }
    bool headed = size >= STOA_SEGMENT_HEADER_BYTES;
    if (what % 5 == 0) { try_segment(NULL, data, size); }
    if (what % 5 == 1 && headed) { try_segment(data, data + STOA_SEGMENT_HEADER_BYTES, size - STOA_SEGMENT_HEADER_BYTES); }
    if (what % 5 == 2 && headed) { try_packed(data, size); }
    if (what % 5 == 3) { try_manifest(data, size, false); }
    if (what % 5 == 4) { try_manifest(data, size, true); }
    return 0;
}
