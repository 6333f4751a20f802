/* manifest.c - storage/archive/manifest.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "storage/archive/note.h"

enum { FORMAT = 1, FORMAT_WITH_SNAPSHOTS = 2, SNAPSHOTS_MAX = 1 << 16 };

static const char file_name[] = "manifest.json";
static const char *const tier_names[STOA_TIERS] = {"warm", "cold", "archive"};

const char *stoa_tier_name(stoa_tier tier)
{
    return tier_names[tier];
}

void stoa_manifest_deinit(stoa_manifest *manifest)
{
    free(manifest->entries);
    free(manifest->snapshots);
    *manifest = (stoa_manifest){0};
}

static stoa_err reserve(stoa_manifest *manifest)
{
    stoa_manifest_entry *entries = stoa_array_room(manifest->entries, manifest->count, &manifest->cap, sizeof *entries);
    if (!entries) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu32 " segments", manifest->count + 1); }
    manifest->entries = entries;
    return STOA_OK;
}

stoa_err stoa_manifest_copy(const stoa_manifest *from, stoa_manifest *out)
{
    stoa_manifest copy = *from;
    copy.cap = from->count ? from->count : 1;
    copy.entries = malloc(copy.cap * sizeof *copy.entries);
    if (!copy.entries) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu32 " segments", from->count); }
    copy.snapshots = malloc((from->snapshot_count + 1) * sizeof *copy.snapshots);
    if (!copy.snapshots) {
        free(copy.entries);
        return STOA_FAIL(STOA_E_NOMEM, "%" PRIu32 " snapshots", from->snapshot_count);
    }
    if (from->count > 0) { memcpy(copy.entries, from->entries, from->count * sizeof *copy.entries); }
    if (from->snapshot_count > 0) { memcpy(copy.snapshots, from->snapshots, from->snapshot_count * sizeof *copy.snapshots); }
    *out = copy;
    return STOA_OK;
}

void stoa_manifest_end(const stoa_manifest *manifest, bool sealed, uint64_t *last_out, uint64_t *epoch_out,
                       stoa_hash256 *hash_out)
{
    uint32_t count = manifest->count;
    if (sealed && count > 0 && manifest->entries[count - 1].open) { count--; }
    const stoa_segment *end = count > 0 ? &manifest->entries[count - 1].segment : NULL;
    *last_out = end ? end->last : manifest->expired;
    *epoch_out = end ? end->last_epoch : manifest->expired_epoch;
    *hash_out = end ? end->hash : manifest->expired_hash;
}

uint32_t stoa_manifest_find(const stoa_manifest *manifest, uint64_t position)
{
    uint32_t low = 0, high = manifest->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (manifest->entries[middle].segment.last < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < manifest->count && manifest->entries[low].segment.first <= position ? low : manifest->count;
}

stoa_err stoa_manifest_add(stoa_manifest *manifest, const stoa_segment *segment, bool open)
{
    uint64_t last, epoch;
    stoa_hash256 hash;
    stoa_manifest_end(manifest, false, &last, &epoch, &hash);
    if (manifest->count > 0 && manifest->entries[manifest->count - 1].open) {
        return STOA_FAIL(STOA_E_FORKED, "a segment at %" PRIu64 " behind an open one", segment->first);
    }
    if (segment->first != last + 1) {
        return STOA_FAIL(STOA_E_GAP, "the archive of %s ends at %" PRIu64 ", the next segment begins at %" PRIu64,
                         manifest->shard, last, segment->first);
    }
    if (memcmp(&segment->previous, &hash, sizeof hash) != 0 || segment->first_epoch < epoch) {
        return STOA_FAIL(STOA_E_FORKED, "the segment of %s at %" PRIu64 " does not continue the one before it",
                         manifest->shard, segment->first);
    }
    stoa_err err = reserve(manifest);
    if (!err) { manifest->entries[manifest->count++] = (stoa_manifest_entry){.segment = *segment, .open = open}; }
    return err;
}

/* --- snapshots */

uint32_t stoa_manifest_snapshot_from(const stoa_manifest *manifest, uint64_t position)
{
    uint32_t i = 0;
    while (i < manifest->snapshot_count && manifest->snapshots[i].info.position < position) { i++; }
    return i;
}

stoa_err stoa_manifest_name(stoa_manifest *manifest, const stoa_manifest_snapshot *snapshot)
{
    uint32_t at = stoa_manifest_snapshot_from(manifest, snapshot->info.position), count = manifest->snapshot_count;
    if (at < count && manifest->snapshots[at].info.position == snapshot->info.position) {
        return STOA_FAIL(STOA_E_EXISTS, "the archive of %s has a snapshot at %" PRIu64, manifest->shard, snapshot->info.position);
    }
    stoa_manifest_snapshot *grown = count < SNAPSHOTS_MAX ? realloc(manifest->snapshots, (count + 2) * sizeof *grown) : NULL;
    if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu32 " snapshots", count); }
    memmove(grown + at + 1, grown + at, (count - at) * sizeof *grown);
    grown[at] = *snapshot;
    manifest->snapshots = grown;
    manifest->snapshot_count++;
    return STOA_OK;
}

void stoa_manifest_unname(stoa_manifest *manifest, uint32_t index)
{
    uint32_t behind = --manifest->snapshot_count - index;
    memmove(manifest->snapshots + index, manifest->snapshots + index + 1, behind * sizeof *manifest->snapshots);
}

/* --- writing */

static void put_entry(stoa_buf *out, const stoa_manifest_entry *e)
{
    const stoa_segment *s = &e->segment;
    char name[STOA_SEGMENT_NAME_MAX], from[STOA_TIME_TEXT_MAX], to[STOA_TIME_TEXT_MAX];
    stoa_segment_name(s, e->open, name);
    stoa_time_print(s->first_ns, from);
    stoa_time_print(s->last_ns, to);
    stoa_buf_printf(out, "    {\"file\": \"%s\", \"tier\": \"%s\", \"open\": %s, \"level\": %" PRId32 ",\n", name,
                    stoa_tier_name(e->tier), e->open ? "true" : "false", s->level);
    stoa_buf_printf(out, "     \"first\": %" PRIu64 ", \"last\": %" PRIu64 ", \"blocks\": %" PRIu64 ", \"raw_bytes\": %" PRIu64
                    ", \"file_bytes\": %" PRIu64 ",\n", s->first, s->last, s->blocks, s->raw_bytes, s->file_bytes);
    stoa_buf_printf(out, "     \"first_ns\": %" PRIu64 ", \"last_ns\": %" PRIu64 ", \"from\": \"%s\", \"to\": \"%s\",\n",
                    s->first_ns, s->last_ns, from, to);
    stoa_buf_printf(out, "     \"first_epoch\": %" PRIu64 ", \"last_epoch\": %" PRIu64 ",\n     ", s->first_epoch, s->last_epoch);
    stoa_note_put_hash(out, "previous", &s->previous);
    stoa_buf_puts(out, ",\n     ");
    stoa_note_put_hash(out, "hash", &s->hash);
    stoa_buf_puts(out, ",\n     ");
    stoa_note_put_hash(out, "file_hash", &s->file_hash);
    stoa_buf_puts(out, "}");
}

static void put_snapshot(stoa_buf *out, const stoa_manifest_snapshot *s)
{
    char time[STOA_TIME_TEXT_MAX];
    stoa_time_print(s->info.wall_ns, time);
    stoa_buf_printf(out, "    {\"position\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"wall_ns\": %" PRIu64 ", \"made\": \"%s\",\n     \"chunks\": %" PRIu64
                    ", \"bytes\": %" PRIu64 ", \"packed_bytes\": %" PRIu64 ", \"files\": [", s->info.position, s->info.epoch,
                    s->info.wall_ns, time, s->info.chunks, s->info.bytes, s->packed_bytes);
    for (uint32_t i = 0; i < s->file_count; i++) { stoa_buf_printf(out, "%s%" PRIu64, i ? ", " : "", s->files[i]); }
    stoa_buf_puts(out, "],\n     ");
    stoa_note_put_hash(out, "block", &s->info.block);
    stoa_buf_puts(out, ",\n     ");
    stoa_note_put_hash(out, "hash", &s->info.hash);
    stoa_buf_puts(out, ",\n     ");
    stoa_note_put_hash(out, "list_hash", &s->list_hash);
    stoa_buf_puts(out, "}");
}

static void put_snapshots(stoa_buf *out, const stoa_manifest *m)
{
    if (m->snapshot_count == 0) { return; }
    stoa_buf_puts(out, "  \"snapshots\": [\n");
    for (uint32_t i = 0; i < m->snapshot_count; i++) {
        put_snapshot(out, &m->snapshots[i]);
        stoa_buf_puts(out, i + 1 < m->snapshot_count ? ",\n" : "\n");
    }
    stoa_buf_puts(out, "  ],\n");
}

static void put_manifest(stoa_buf *out, const stoa_manifest *m)
{
    char time[STOA_TIME_TEXT_MAX];
    stoa_time_print(m->written_ns, time);
    stoa_buf_printf(out, "{\n  \"format\": %d,\n", m->snapshot_count ? FORMAT_WITH_SNAPSHOTS : FORMAT);
    stoa_note_put_text(out, "shard", m->shard);
    stoa_buf_puts(out, ",\n");
    stoa_note_put_text(out, "class", m->class_name);
    stoa_buf_puts(out, ",\n");
    stoa_note_put_text(out, "hold", m->hold);
    stoa_buf_puts(out, ",\n");
    stoa_buf_printf(out, "  \"written_ns\": %" PRIu64 ", \"written\": \"%s\",\n", m->written_ns, time);
    stoa_buf_printf(out, "  \"expired\": {\"last\": %" PRIu64 ", \"epoch\": %" PRIu64 ", ", m->expired, m->expired_epoch);
    stoa_note_put_hash(out, "hash", &m->expired_hash);
    stoa_buf_puts(out, "},\n");
    put_snapshots(out, m);
    stoa_buf_puts(out, "  \"segments\": [\n");
    for (uint32_t i = 0; i < m->count; i++) {
        put_entry(out, &m->entries[i]);
        stoa_buf_puts(out, i + 1 < m->count ? ",\n" : "\n");
    }
    stoa_buf_puts(out, "  ]");
}

stoa_err stoa_manifest_save(const char *folder, const stoa_manifest *manifest)
{
    stoa_buf text = STOA_BUF_GROWING;
    put_manifest(&text, manifest);
    stoa_err err = stoa_note_save(folder, file_name, &text);
    stoa_buf_deinit(&text);
    return err;
}

/* --- reading */

static stoa_tier get_tier(stoa_note_reading *r, stoa_json object)
{
    char text[16];
    stoa_note_text(r, object, "tier", text, sizeof text);
    for (stoa_tier tier = STOA_TIER_WARM; tier < STOA_TIERS; tier++) {
        if (strcmp(text, tier_names[tier]) == 0) { return tier; }
    }
    if (!r->fault) { r->fault = "tier"; }
    return STOA_TIER_WARM;
}

/* What no segment says of itself (segment_header.c). */
static bool makes_sense(const stoa_segment *s, uint64_t level)
{
    bool positions = s->first > 0 && s->last >= s->first && s->last < UINT64_MAX;
    bool blocks = s->blocks > 0 && s->blocks <= s->last - s->first + 1;
    return positions && blocks && s->last_epoch >= s->first_epoch && level >= STOA_SEGMENT_LEVEL_MIN && level <= STOA_SEGMENT_LEVEL_MAX;
}

static void get_entry(stoa_note_reading *r, stoa_json object, const char *shard, stoa_manifest_entry *e)
{
    stoa_segment *s = &e->segment;
    stoa_json open = stoa_note_get(r, object, "open");
    if (!r->fault && stoa_json_bool(open, &e->open)) { r->fault = "open"; }
    e->tier = get_tier(r, object);
    uint64_t level = stoa_note_uint(r, object, "level");
    s->level = (int32_t)level;
    s->first = stoa_note_uint(r, object, "first");
    s->last = stoa_note_uint(r, object, "last");
    s->blocks = stoa_note_uint(r, object, "blocks");
    s->raw_bytes = stoa_note_uint(r, object, "raw_bytes");
    s->file_bytes = stoa_note_uint(r, object, "file_bytes");
    s->first_ns = stoa_note_uint(r, object, "first_ns");
    s->last_ns = stoa_note_uint(r, object, "last_ns");
    s->first_epoch = stoa_note_uint(r, object, "first_epoch");
    s->last_epoch = stoa_note_uint(r, object, "last_epoch");
    stoa_note_hash(r, object, "previous", &s->previous);
    stoa_note_hash(r, object, "hash", &s->hash);
    stoa_note_hash(r, object, "file_hash", &s->file_hash);
    if (!r->fault && !makes_sense(s, level)) { r->fault = "first"; }
    memcpy(s->shard, shard, sizeof s->shard);
}

static stoa_err add_entry(stoa_note_reading *r, stoa_json object, stoa_manifest *m)
{
    stoa_manifest_entry e = {0};
    get_entry(r, object, m->shard, &e);
    if (r->fault) { return STOA_OK; }
    stoa_err err = stoa_manifest_add(m, &e.segment, e.open);
    if (!err) { m->entries[m->count - 1].tier = e.tier; }
    return err;
}

static void get_files(stoa_note_reading *r, stoa_json object, stoa_manifest_snapshot *s)
{
    stoa_json list = stoa_note_get(r, object, "files");
    stoa_json_iter it = {.more = false};
    if (!r->fault && stoa_json_first(list, &it)) { r->fault = "files"; }
    for (; !r->fault && it.more; stoa_json_next(&it)) {
        bool rises = s->file_count < STOA_SNAPSHOT_PACKS && !stoa_json_uint(it.value, &s->files[s->file_count]);
        if (rises && s->file_count > 0) { rises = s->files[s->file_count] > s->files[s->file_count - 1]; }
        if (!rises) {
            r->fault = "files";
            return;
        }
        s->file_count++;
    }
}

static stoa_err add_snapshot(stoa_note_reading *r, stoa_json object, stoa_manifest *m)
{
    stoa_manifest_snapshot s = {.file_count = 0};
    s.info.position = stoa_note_uint(r, object, "position");
    s.info.epoch = stoa_note_uint(r, object, "epoch");
    s.info.wall_ns = stoa_note_uint(r, object, "wall_ns");
    s.info.chunks = stoa_note_uint(r, object, "chunks");
    s.info.bytes = stoa_note_uint(r, object, "bytes");
    s.packed_bytes = stoa_note_uint(r, object, "packed_bytes");
    stoa_note_hash(r, object, "block", &s.info.block);
    stoa_note_hash(r, object, "hash", &s.info.hash);
    stoa_note_hash(r, object, "list_hash", &s.list_hash);
    get_files(r, object, &s);
    uint64_t last = m->snapshot_count ? m->snapshots[m->snapshot_count - 1].info.position : 0;
    if (!r->fault && (s.info.position <= last || s.info.position == UINT64_MAX)) { r->fault = "position"; }
    return r->fault ? STOA_OK : stoa_manifest_name(m, &s);
}

static stoa_err read_snapshots(stoa_note_reading *r, stoa_json root, stoa_manifest *m)
{
    stoa_json list = stoa_note_get(r, root, "snapshots");
    stoa_json_iter it = {.more = false};
    stoa_err err = STOA_OK;
    if (!r->fault && stoa_json_first(list, &it)) { r->fault = "snapshots"; }
    for (; !err && !r->fault && it.more; stoa_json_next(&it)) { err = add_snapshot(r, it.value, m); }
    return err;
}

static stoa_err read_members(const char *folder, stoa_json root, stoa_manifest *m)
{
    stoa_note_reading r = {0};
    uint64_t format = stoa_note_uint(&r, root, "format");
    if (!r.fault && format != FORMAT && format != FORMAT_WITH_SNAPSHOTS) {
        return STOA_FAIL(STOA_E_VERSION, "%s/%s: format %" PRIu64 ", this build has %d", folder, file_name, format, FORMAT_WITH_SNAPSHOTS);
    }
    stoa_note_text(&r, root, "shard", m->shard, sizeof m->shard);
    stoa_note_text(&r, root, "class", m->class_name, sizeof m->class_name);
    stoa_note_text(&r, root, "hold", m->hold, sizeof m->hold);
    m->written_ns = stoa_note_uint(&r, root, "written_ns");
    stoa_json expired = stoa_note_get(&r, root, "expired");
    m->expired = stoa_note_uint(&r, expired, "last");
    m->expired_epoch = stoa_note_uint(&r, expired, "epoch");
    stoa_note_hash(&r, expired, "hash", &m->expired_hash);
    if (!r.fault && m->expired == UINT64_MAX) { r.fault = "expired"; }
    stoa_json segments = stoa_note_get(&r, root, "segments");
    stoa_json_iter it = {.more = false};
    if (!r.fault && stoa_json_first(segments, &it)) { r.fault = "segments"; }
    stoa_err err = STOA_OK;
    for (; !err && !r.fault && it.more; stoa_json_next(&it)) { err = add_entry(&r, it.value, m); }
    if (!err && !r.fault && format == FORMAT_WITH_SNAPSHOTS) { err = read_snapshots(&r, root, m); }
    if (r.fault) { return STOA_FAIL(STOA_E_CORRUPT, "%s/%s: %s", folder, file_name, r.fault); }
    return err ? STOA_PASS(err, "%s/%s", folder, file_name) : STOA_OK;
}

typedef struct loading_note {
    const char *folder;
    stoa_manifest *manifest;
} loading_note;

static stoa_err take_root(void *context, stoa_json root)
{
    loading_note *loading = context;
    return read_members(loading->folder, root, loading->manifest);
}

stoa_err stoa_manifest_load(const char *folder, stoa_manifest *out)
{
    stoa_manifest m = {0};
    loading_note loading = {.folder = folder, .manifest = &m};
    stoa_err err = stoa_note_load(folder, file_name, STOA_MANIFEST_BYTES_MAX, take_root, &loading);
    if (err) {
        stoa_manifest_deinit(&m);
        return err;
    }
    *out = m;
    return STOA_OK;
}
