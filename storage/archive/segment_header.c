/* segment_header.c - storage/archive/segment_header.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/segment_header.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 1, AT_SHARD = 88, AT_PREVIOUS = 120, AT_LAST = 152, AT_CHECK = 184, FIELDS = 9, AT_FIELDS = 8, AT_LEVEL = 80 };
_Static_assert(AT_FIELDS + 8 * FIELDS == AT_LEVEL, "segment.h describes these bytes");
_Static_assert(AT_CHECK + sizeof(stoa_hash256) == STOA_SEGMENT_HEADER_BYTES, "segment.h describes these bytes");

static const char magic[4] = {'S', 'T', 'S', '1'};

void stoa_segment_name(const stoa_segment *segment, bool open, char name[STOA_SEGMENT_NAME_MAX])
{
    (void)snprintf(name, STOA_SEGMENT_NAME_MAX, "%016" PRIu64 "-%016" PRIu64 ".%02u%s.seg", segment->first, segment->last,
                   (unsigned)segment->level % 100, open ? ".open" : "");
}

static void put64(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) { at[i] = (uint8_t)(value >> (8 * i)); }
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) { value |= (uint64_t)at[i] << (8 * i); }
    return value;
}

/* The numbers, in their order in the header. */
static void fields_of(stoa_segment *s, uint64_t *at[FIELDS], uint64_t *packed)
{
    uint64_t *fields[FIELDS] = {&s->first, &s->last,    &s->blocks,      &s->raw_bytes, packed,
                                &s->first_ns, &s->last_ns, &s->first_epoch, &s->last_epoch};
    memcpy(at, fields, sizeof fields);
}

void stoa_segment_header_encode(const stoa_segment *segment, uint8_t bytes[STOA_SEGMENT_HEADER_BYTES])
{
    stoa_segment copy = *segment;
    uint64_t packed = segment->file_bytes - STOA_SEGMENT_HEADER_BYTES, *fields[FIELDS];
    memset(bytes, 0, STOA_SEGMENT_HEADER_BYTES);
    memcpy(bytes, magic, sizeof magic);
    bytes[4] = VERSION;
    fields_of(&copy, fields, &packed);
    for (unsigned i = 0; i < FIELDS; i++) { put64(bytes + AT_FIELDS + 8 * i, *fields[i]); }
    put64(bytes + AT_LEVEL, (uint32_t)segment->level);
    memcpy(bytes + AT_SHARD, segment->shard, sizeof segment->shard);
    memcpy(bytes + AT_PREVIOUS, &segment->previous, sizeof segment->previous);
    memcpy(bytes + AT_LAST, &segment->hash, sizeof segment->hash);
    stoa_hash256 check;
    stoa_hash256_parts(&check, bytes, AT_CHECK, NULL, 0);
    memcpy(bytes + AT_CHECK, &check, sizeof check);
}

static const char *fault_of(const stoa_segment *s)
{
    if (s->first == 0 || s->last < s->first || s->last == UINT64_MAX) { return "its positions make no sense"; }
    if (s->blocks == 0 || s->blocks > s->last - s->first + 1) { return "its number of blocks makes no sense"; }
    if (s->last_epoch < s->first_epoch) { return "its epochs fall"; }
    if (s->level < STOA_SEGMENT_LEVEL_MIN || s->level > STOA_SEGMENT_LEVEL_MAX) { return "its level makes no sense"; }
    if (s->shard[0] == '\0' || s->shard[STOA_SEGMENT_SHARD_MAX] != '\0') { return "its shard has no name"; }
    return NULL;
}

stoa_err stoa_segment_header_decode(const uint8_t bytes[STOA_SEGMENT_HEADER_BYTES], stoa_segment *out)
{
    if (memcmp(bytes, magic, sizeof magic) != 0) { return STOA_FAIL(STOA_E_CORRUPT, "not a segment"); }
    stoa_hash256 check;
    stoa_hash256_parts(&check, bytes, AT_CHECK, NULL, 0);
    if (memcmp(bytes + AT_CHECK, &check, sizeof check) != 0) { return STOA_FAIL(STOA_E_CORRUPT, "its header's hash does not match"); }
    uint32_t version = (uint32_t)(get64(bytes) >> 32);
    if (version != VERSION) { return STOA_FAIL(STOA_E_VERSION, "a segment of version %" PRIu32 ", this build has %d", version, VERSION); }

    stoa_segment segment = {0};
    uint64_t packed, *fields[FIELDS];
    fields_of(&segment, fields, &packed);
    for (unsigned i = 0; i < FIELDS; i++) { *fields[i] = get64(bytes + AT_FIELDS + 8 * i); }
    segment.file_bytes = packed + STOA_SEGMENT_HEADER_BYTES;
    segment.level = (int32_t)(uint32_t)get64(bytes + AT_LEVEL);
    memcpy(segment.shard, bytes + AT_SHARD, sizeof segment.shard);
    memcpy(&segment.previous, bytes + AT_PREVIOUS, sizeof segment.previous);
    memcpy(&segment.hash, bytes + AT_LAST, sizeof segment.hash);
    const char *fault = fault_of(&segment);
    if (fault) { return STOA_FAIL(STOA_E_CORRUPT, "%s", fault); }
    *out = segment;
    return STOA_OK;
}

static bool same_hash(const stoa_hash256 *a, const stoa_hash256 *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

const char *stoa_segment_difference(const stoa_segment *a, const stoa_segment *b, bool with_file)
{
    if (strcmp(a->shard, b->shard) != 0) { return "it is of another shard"; }
    if (a->first != b->first || a->last != b->last) { return "it holds other positions"; }
    if (a->blocks != b->blocks || a->raw_bytes != b->raw_bytes) { return "it holds other blocks"; }
    if (!same_hash(&a->previous, &b->previous)) { return "it continues another chain"; }
    if (!same_hash(&a->hash, &b->hash)) { return "its last block is another one"; }
    if (a->first_epoch != b->first_epoch || a->last_epoch != b->last_epoch) { return "its epochs are others"; }
    if (a->first_ns != b->first_ns || a->last_ns != b->last_ns) { return "its times are others"; }
    if (!with_file) { return NULL; }
    if (a->file_bytes != b->file_bytes) { return "its file has another size"; }
    if (a->level != b->level) { return "it is packed in another way"; }
    if (!same_hash(&a->file_hash, &b->file_hash)) { return "its file has another hash"; }
    return NULL;
}
