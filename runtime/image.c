/* image.c - see image.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/ledger.h"
#include "runtime/shard.h"

/* A stream as image 0 has it, little endian as memory is. */
typedef struct record {
    char kind[40];
    char name[STOA_NAME_MAX + 1];
    uint64_t state_bytes, fingerprint, reserved64;
} record;
_Static_assert(sizeof(record) == 128 && STOA_SNAPSHOT_CHUNK % sizeof(record) == 0, "image.h says so");

/* --- layouts */

static uint64_t fold_text(uint64_t hash, const char *text)
{
    return stoa_hash64(hash, text, strlen(text) + 1);
}

static uint64_t fold_number(uint64_t hash, uint64_t number)
{
    return stoa_hash64(hash, &number, sizeof number);
}

static uint64_t fold_type(uint64_t hash, const stoa_type *type)
{
    hash = fold_text(hash, type->name);
    hash = fold_number(hash, (uint64_t)type->cls << 32 | type->size_bytes);
    hash = fold_number(hash, type->limit);
    if (type->element) { hash = fold_type(hash, type->element); }
    for (uint32_t i = 0; type->cls == STOA_CLASS_RECORD && i < type->field_count; i++) {
        hash = fold_text(hash, type->fields[i].name);
        hash = fold_type(fold_number(hash, type->fields[i].offset), type->fields[i].type);
    }
    return hash;
}

uint64_t stoa_kind_fingerprint(const stoa_kind *kind)
{
    uint64_t hash = fold_text(1, kind->name);
    hash = fold_number(hash, kind->state_bytes);
    hash = fold_number(hash, kind->state_version);
    return kind->state_type ? fold_type(hash, kind->state_type) : hash;
}

static uint64_t room_of(const stoa_kind *kind)
{
    return (kind->state_bytes + 15) & ~(uint64_t)15;
}

/* --- writing */

static uint64_t chunks_of(uint64_t bytes)
{
    return (bytes + STOA_SNAPSHOT_CHUNK - 1) / STOA_SNAPSHOT_CHUNK;
}

stoa_err stoa_imaging_begin(stoa_imaging *imaging, stoa_snapshot_store *store, const stoa_fold *fold,
                            const stoa_snapshot_info *info, const uint64_t *before, uint32_t before_count)
{
    const stoa_streams *streams = stoa_log_streams(fold->reader);
    stoa_err err = stoa_snapshot_begin(store, info);
    if (err) { return err; }
    *imaging = (stoa_imaging){.store = store, .fold = fold, .before = before, .before_count = before_count,
                              .buffer = malloc(STOA_SNAPSHOT_CHUNK)};
    if (!imaging->buffer) {
        stoa_snapshot_abandon(store);
        return STOA_FAIL(STOA_E_NOMEM, "chunk");
    }
    imaging->bytes[STOA_IMAGE_WHO] = (uint64_t)(fold->count + 1) * sizeof(record);
    imaging->bytes[STOA_IMAGE_SEQS] = (uint64_t)(fold->count + 1) * sizeof(uint64_t);
    for (uint32_t i = 0; i <= fold->count; i++) { imaging->bytes[STOA_IMAGE_STATES] += room_of(streams->at[i].kind); }
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; i++) { imaging->total += chunks_of(imaging->bytes[i]); }
    return STOA_OK;
}

void stoa_imaging_end(stoa_imaging *imaging)
{
    free(imaging->buffer);
    *imaging = (stoa_imaging){0};
}

static void fill_who(stoa_imaging *imaging, uint64_t from, uint32_t size_bytes)
{
    const stoa_streams *streams = stoa_log_streams(imaging->fold->reader);
    uint32_t stream = (uint32_t)(from / sizeof(record));
    for (uint32_t at = 0; at < size_bytes; at += (uint32_t)sizeof(record), stream++) {
        const stoa_stream *who = &streams->at[stream];
        record entry = {.state_bytes = who->kind->state_bytes, .fingerprint = stoa_kind_fingerprint(who->kind)};
        (void)snprintf(entry.kind, sizeof entry.kind, "%s", who->kind->name);
        memcpy(entry.name, who->name, sizeof entry.name);
        memcpy(imaging->buffer + at, &entry, sizeof entry);
    }
}

/* Gather what of the states lies in the chunk. Whether all of it is as it was in the last snapshot. */
static bool fill_states(stoa_imaging *imaging, uint64_t from, uint32_t size_bytes)
{
    const stoa_fold *fold = imaging->fold;
    const stoa_streams *streams = stoa_log_streams(fold->reader);
    uint64_t end = from + size_bytes, at = imaging->at;
    bool untouched = true;
    memset(imaging->buffer, 0, size_bytes);
    for (uint32_t stream = imaging->stream; at < end; stream++) {
        const stoa_kind *kind = streams->at[stream].kind;
        uint64_t low = at > from ? at : from, high = at + kind->state_bytes < end ? at + kind->state_bytes : end;
        untouched = untouched && stream < imaging->before_count && imaging->before[stream] == fold->seqs[stream];
        if (high > low) {
            memcpy(imaging->buffer + (low - from), (const uint8_t *)fold->states[stream] + (low - at), high - low);
        }
        uint64_t next = at + room_of(kind);
        if (next > end) { break; } /* the next chunk begins in it */
        at = next;
        imaging->at = at;
        imaging->stream = stream + 1;
    }
    return untouched;
}

static bool same(const stoa_imaging *imaging, uint32_t size_bytes)
{
    return stoa_snapshot_same(imaging->store, imaging->image, imaging->chunk, size_bytes);
}

/* A chunk within one state need not be copied where no event came for that since the last snapshot, or where it is zero because it
 * was never touched. */
static bool known(stoa_imaging *imaging, uint64_t from, uint32_t size_bytes)
{
    const stoa_fold *fold = imaging->fold;
    uint32_t stream = imaging->stream;
    const stoa_kind *kind = stoa_log_streams(fold->reader)->at[stream].kind;
    if (imaging->at > from || from + size_bytes >= imaging->at + kind->state_bytes) { return false; }
    if (stream < imaging->before_count && imaging->before[stream] == fold->seqs[stream] && same(imaging, size_bytes)) { return true; }
    if (imaging->walk.at != fold->states[stream]) {
        imaging->walk = (stoa_sparse_walk){.at = fold->states[stream], .bytes = kind->state_bytes};
    }
    return !stoa_sparse_touched(&imaging->walk, from - imaging->at, from - imaging->at + size_bytes);
}

static stoa_err write_chunk(stoa_imaging *imaging)
{
    uint64_t from = imaging->chunk * STOA_SNAPSHOT_CHUNK, left = imaging->bytes[imaging->image] - from;
    uint32_t size_bytes = left < STOA_SNAPSHOT_CHUNK ? (uint32_t)left : STOA_SNAPSHOT_CHUNK;
    if (imaging->image == STOA_IMAGE_WHO) {
        fill_who(imaging, from, size_bytes);
    } else if (imaging->image == STOA_IMAGE_SEQS) {
        memcpy(imaging->buffer, (const uint8_t *)imaging->fold->seqs + from, size_bytes);
    } else {
        if (known(imaging, from, size_bytes)) { return STOA_OK; }
        if (fill_states(imaging, from, size_bytes) && same(imaging, size_bytes)) { return STOA_OK; }
    }
    return stoa_snapshot_put(imaging->store, imaging->image, imaging->chunk, imaging->buffer, size_bytes);
}

stoa_err stoa_imaging_go(stoa_imaging *imaging, uint32_t count, bool *more_out)
{
    stoa_err err = STOA_OK;
    while (imaging->image < STOA_SNAPSHOT_IMAGES && !err) {
        if (imaging->chunk * STOA_SNAPSHOT_CHUNK >= imaging->bytes[imaging->image]) {
            imaging->image++;
            imaging->chunk = 0;
            continue;
        }
        if (count-- == 0) { break; }
        err = write_chunk(imaging);
        imaging->chunk++;
        imaging->done++;
    }
    *more_out = imaging->image < STOA_SNAPSHOT_IMAGES;
    return err;
}

/* --- reading */

static stoa_err corrupt(const stoa_snapshot *snapshot, const char *what)
{
    return STOA_FAIL(STOA_E_CORRUPT, "snapshot at %" PRIu64 ": %s", stoa_snapshot_look(snapshot)->position, what);
}

static const stoa_kind *kind_named(const stoa_kind *const *kinds, const char *name, bool own)
{
    if (own) { return strcmp(name, stoa_shard_log_kind.name) == 0 ? &stoa_shard_log_kind : NULL; }
    for (; kinds && *kinds; kinds++) {
        if (strcmp((*kinds)->name, name) == 0) { return *kinds; }
    }
    return NULL;
}

static stoa_err take_record(const stoa_snapshot *snapshot, const stoa_kind *const *kinds, record *entry, bool own,
                            stoa_image_stream *out)
{
    entry->kind[sizeof entry->kind - 1] = entry->name[sizeof entry->name - 1] = '\0';
    out->kind = kind_named(kinds, entry->kind, own);
    memcpy(out->name, entry->name, sizeof out->name);
    uint64_t position = stoa_snapshot_look(snapshot)->position;
    if (!out->kind) { return STOA_FAIL(STOA_E_VERSION, "snapshot at %" PRIu64 ": no kind '%s' is registered", position, entry->kind); }
    if (entry->state_bytes != out->kind->state_bytes || entry->fingerprint != stoa_kind_fingerprint(out->kind)) {
        return STOA_FAIL(STOA_E_VERSION, "snapshot at %" PRIu64 ": the state of %s had another layout", position, entry->kind);
    }
    return STOA_OK;
}

static stoa_err read_who(stoa_snapshot *snapshot, const stoa_kind *const *kinds, stoa_image_directory *directory)
{
    uint64_t at = 0;
    for (uint32_t stream = 0; stream <= directory->count; stream++) {
        stoa_image_stream *who = &directory->streams[stream];
        record entry;
        stoa_err err = stoa_snapshot_read(snapshot, STOA_IMAGE_WHO, (uint64_t)stream * sizeof entry, &entry, sizeof entry, false);
        if (!err) { err = take_record(snapshot, kinds, &entry, stream == 0, who); }
        if (err) { return err; }
        who->at = at;
        at += room_of(who->kind);
    }
    return at == stoa_snapshot_bytes(snapshot, STOA_IMAGE_STATES) ? STOA_OK : corrupt(snapshot, "its states have another size");
}

static stoa_err read_seqs(stoa_snapshot *snapshot, stoa_image_directory *directory)
{
    stoa_err err = STOA_OK;
    for (uint32_t stream = 0; stream <= directory->count && !err; stream++) {
        uint64_t *seq = &directory->streams[stream].seq;
        err = stoa_snapshot_read(snapshot, STOA_IMAGE_SEQS, (uint64_t)stream * sizeof *seq, seq, sizeof *seq, false);
    }
    return err;
}

stoa_err stoa_image_open(stoa_snapshot *snapshot, const stoa_kind *const *kinds, stoa_image_directory *out)
{
    uint64_t bytes = stoa_snapshot_bytes(snapshot, STOA_IMAGE_WHO), count = bytes / sizeof(record);
    bool whole = bytes % sizeof(record) == 0 && count > 0 && count <= STOA_SHARD_ACTORS_MAX &&
                 stoa_snapshot_bytes(snapshot, STOA_IMAGE_SEQS) == count * sizeof(uint64_t);
    if (!whole) { return corrupt(snapshot, "its images have other sizes"); }
    stoa_image_directory directory = {.streams = calloc(count, sizeof *directory.streams), .count = (uint32_t)count - 1};
    if (!directory.streams) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu64 " streams", count); }
    stoa_err err = read_who(snapshot, kinds, &directory);
    if (!err) { err = read_seqs(snapshot, &directory); }
    if (err) {
        stoa_image_close(&directory);
        return err;
    }
    *out = directory;
    return STOA_OK;
}

void stoa_image_close(stoa_image_directory *directory)
{
    free(directory->streams);
    *directory = (stoa_image_directory){0};
}

stoa_err stoa_image_state(stoa_snapshot *snapshot, const stoa_image_directory *directory, uint32_t stream, void *out)
{
    const stoa_image_stream *who = &directory->streams[stream];
    stoa_err err = stoa_snapshot_read(snapshot, STOA_IMAGE_STATES, who->at, out, who->kind->state_bytes, true);
    if (err || stream) { return err; }
    const char *why = stoa_ledger_unsound(out, directory->count, stoa_snapshot_look(snapshot)->position);
    return why ? STOA_FAIL(STOA_E_CORRUPT, "snapshot at %" PRIu64 ": in the ledger %s", stoa_snapshot_look(snapshot)->position, why) : STOA_OK;
}

stoa_err stoa_image_fold(stoa_snapshot *snapshot, const stoa_kind *const *kinds, stoa_fold *fold)
{
    stoa_image_directory directory;
    stoa_err err = stoa_image_open(snapshot, kinds, &directory);
    if (err) { return err; }
    for (uint32_t stream = 0; stream <= directory.count && !err; stream++) {
        const stoa_image_stream *who = &directory.streams[stream];
        err = stoa_fold_stream(fold, stream, who->kind, who->name, who->seq);
        if (!err) { err = stoa_image_state(snapshot, &directory, stream, fold->states[stream]); }
    }
    if (!err) {
        fold->applied = stoa_snapshot_look(snapshot)->position;
        stoa_log_learned(fold->reader, fold->applied);
    }
    if (err) { stoa_fold_clear(fold); }
    stoa_image_close(&directory);
    return err;
}

/* --- where a log's beginning is gone */

enum { POSITIONS_MAX = 64 };

typedef struct beginnings {
    uint64_t from, until, at[POSITIONS_MAX]; /* rising */
    uint32_t count;
} beginnings;

static void note_position(void *context, const stoa_snapshot_info *info)
{
    beginnings *b = context;
    if (info->position >= b->from && info->position <= b->until && b->count < POSITIONS_MAX) { b->at[b->count++] = info->position; }
}

static stoa_err begin_at(stoa_log_reader *reader, uint64_t position, stoa_fold *fold)
{
    stoa_snapshot *snapshot;
    stoa_err err = stoa_snapshot_open(stoa_log_journal(reader), position, &snapshot);
    if (err) { return err; }
    err = stoa_snapshot_stands(stoa_log_journal(reader), stoa_snapshot_look(snapshot));
    if (!err) { err = stoa_image_fold(snapshot, stoa_log_kinds(reader), fold); }
    stoa_snapshot_close(snapshot);
    return err;
}

stoa_err stoa_image_begin(stoa_log_reader *reader, uint64_t until, stoa_fold *fold)
{
    uint64_t first = stoa_journal_first(stoa_log_journal(reader));
    beginnings b = {.from = first - 1, .until = until};
    if (first == 1) { return STOA_OK; }
    stoa_err err = stoa_snapshots_visit(stoa_log_journal(reader), note_position, &b);
    if (err) { return err; }
    err = STOA_FAIL(STOA_E_GONE, "the log of %s begins at %" PRIu64 ", and no snapshot stands for what was before",
                    stoa_log_streams(reader)->at[0].name, first);
    for (uint32_t i = 0; i < b.count && err && err != STOA_E_NOMEM; i++) { err = begin_at(reader, b.at[i], fold); }
    return err;
}
