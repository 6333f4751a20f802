/* in.c - the copy of a log that is shipped: see cluster/ship/log.h.
 *
 * Items are put together from their parts, checked and appended at once, synced once a step. What cannot be taken because the disk is
 * full is tried again; whatever else cannot be taken is the last that was looked at, and is told as refused.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "cluster/ship/log.h"
#include "cluster/ship/wire.h"
#include "storage/side.h"
#include "storage/snapshot.h"

enum { BATCH = 8, KEPT = 3 };

/* Key of the space META: how far a snapshot has come that is not whole. */
static const char partial_key[] = "ship/partial";

typedef struct partial {
    uint64_t position;
    stoa_hash256 hash;
    uint32_t key_bytes;
    uint8_t key[STOA_LOG_KEY_MAX + 3];
} partial;

struct stoa_log_in {
    stoa_journal *journal;
    stoa_ship *ship;
    stoa_buf item;
    bool ready; /* the item is whole, and could not be taken yet */
    uint8_t item_kind;
    uint64_t end; /* of the last record that was taken */
    bool unsynced, news;
    stoa_log_note note;
    stoa_log_picture picture; /* position 0: none is coming */
    stoa_side_entry batch[BATCH];
    uint8_t keys[BATCH][STOA_LOG_KEY_MAX];
    stoa_buf values[BATCH];
    uint32_t count;
    stoa_log_in_view view;
};

static void refuse(stoa_log_in *log, stoa_err err)
{
    log->note.refused = err;
    log->news = true;
    stoa_log_error("log_copy_refused", err);
}

/* --- the log */

static stoa_err take_begin(stoa_log_in *log, const void *bytes, size_t size_bytes)
{
    stoa_log_anchor anchor;
    if (size_bytes != sizeof anchor) { return STOA_FAIL(STOA_E_MALFORMED, "an anchor of %zu bytes", size_bytes); }
    memcpy(&anchor, bytes, sizeof anchor);
    stoa_journal_state at = {.last = anchor.last, .epoch = anchor.epoch, .hash = anchor.hash};
    stoa_err err = log->journal->ops->begin(log->journal, &at);
    log->unsynced = log->unsynced || !err;
    return err;
}

static stoa_err take_block(stoa_log_in *log, const void *bytes, size_t size_bytes)
{
    stoa_err err = log->journal->ops->append_stored(log->journal, bytes, size_bytes, false);
    log->view.blocks += !err;
    log->unsynced = log->unsynced || !err;
    return err == STOA_E_INVALID ? STOA_FAIL(STOA_E_FORKED, "a block that does not continue the copy") : err;
}

/* --- snapshots */

static void batch_clear(stoa_log_in *log)
{
    for (uint32_t i = 0; i < BATCH; i++) { stoa_buf_clear(&log->values[i]); }
    log->count = 0;
}

static void picture_drop(stoa_log_in *log)
{
    log->picture.position = 0;
    log->note.partial = 0;
    log->note.key_bytes = 0;
    log->news = true;
    batch_clear(log);
}

/* Entries, then how far they go: a crash keeps a beginning of what was put. */
static stoa_err batch_put(stoa_log_in *log, bool sync)
{
    partial now = {.position = log->picture.position, .hash = log->picture.hash};
    if (log->count > 0) {
        const stoa_side_entry *last = &log->batch[log->count - 1];
        stoa_err err = log->journal->ops->put_stored(log->journal, STOA_SPACE_SNAPSHOT, log->batch, log->count, sync);
        if (err) { return err; }
        now.key_bytes = last->key_bytes;
        memcpy(now.key, last->key, last->key_bytes);
        stoa_side_entry entry = {partial_key, &now, sizeof partial_key - 1, sizeof now};
        err = log->journal->ops->put(log->journal, STOA_SPACE_META, &entry, 1, false);
        if (err) { return err; }
        log->note.key_bytes = now.key_bytes;
        memcpy(log->note.key, now.key, sizeof now.key);
        log->news = true;
    } else if (sync) {
        stoa_err err = log->journal->ops->put(log->journal, STOA_SPACE_SNAPSHOT, NULL, 0, true);
        if (err) { return err; }
    }
    batch_clear(log);
    return STOA_OK;
}

static stoa_err take_snapshot(stoa_log_in *log, const void *bytes, size_t size_bytes)
{
    stoa_log_picture picture;
    if (size_bytes != sizeof picture) { return STOA_FAIL(STOA_E_MALFORMED, "a snapshot's head of %zu bytes", size_bytes); }
    memcpy(&picture, bytes, sizeof picture);
    bool goes_on = log->note.partial == picture.position &&
                   memcmp(&log->note.partial_hash, &picture.hash, sizeof picture.hash) == 0;
    if (!goes_on) { picture_drop(log); }
    batch_clear(log);
    log->picture = picture;
    log->note.partial = picture.position;
    log->note.partial_hash = picture.hash;
    return STOA_OK;
}

/* A chunk goes by the hash of its bytes, which is looked at here where they are not sealed; a manifest by its position. */
static bool is_of_picture(const stoa_log_in *log, const stoa_side_entry *entry)
{
    const uint8_t *key = entry->key;
    stoa_side_entry plain;
    stoa_hash256 hash;
    if (entry->key_bytes == 1 + sizeof hash && key[0] == 'c') {
        if (!stoa_side_plain(entry, &plain)) { return true; }
        stoa_hash256_parts(&hash, plain.value, plain.value_bytes, NULL, 0);
        return memcmp(&hash, key + 1, sizeof hash) == 0;
    }
    uint64_t position = 0;
    for (unsigned i = 1; i <= 8 && i < entry->key_bytes; i++) { position = position << 8 | key[i]; }
    return entry->key_bytes == 13 && key[0] == 'm' && position == log->picture.position;
}

static stoa_err take_entry(stoa_log_in *log, const void *bytes, size_t size_bytes)
{
    stoa_side_entry entry = {0};
    if (log->picture.position == 0) { return STOA_OK; } /* it was dropped */
    if (size_bytes < sizeof entry.key_bytes) { return STOA_FAIL(STOA_E_MALFORMED, "an entry of %zu bytes", size_bytes); }
    memcpy(&entry.key_bytes, bytes, sizeof entry.key_bytes);
    size_t head_bytes = sizeof entry.key_bytes + (size_t)entry.key_bytes;
    if (entry.key_bytes > STOA_LOG_KEY_MAX || size_bytes <= head_bytes || size_bytes - head_bytes > UINT32_MAX) {
        return STOA_FAIL(STOA_E_MALFORMED, "an entry of %zu bytes, its key of %" PRIu32, size_bytes, entry.key_bytes);
    }
    entry.key = (const uint8_t *)bytes + sizeof entry.key_bytes;
    entry.value = (const uint8_t *)bytes + head_bytes;
    entry.value_bytes = (uint32_t)(size_bytes - head_bytes);
    if (!is_of_picture(log, &entry)) { return STOA_FAIL(STOA_E_CORRUPT, "an entry that is not of the snapshot"); }
    if (log->count == BATCH) {
        stoa_err err = batch_put(log, false);
        if (err) { return err; }
    }
    uint32_t i = log->count;
    memcpy(log->keys[i], entry.key, entry.key_bytes);
    stoa_buf_put(&log->values[i], entry.value, entry.value_bytes);
    if (log->values[i].cut) { return STOA_FAIL(STOA_E_NOMEM, "an entry of %" PRIu32 " bytes", entry.value_bytes); }
    log->batch[i] = (stoa_side_entry){log->keys[i], log->values[i].at, entry.key_bytes, entry.value_bytes};
    log->count++;
    log->view.entries++;
    return STOA_OK;
}

static stoa_err prune(stoa_log_in *log)
{
    stoa_snapshot_store *store;
    stoa_err err = stoa_snapshot_store_open(log->journal, &store);
    if (err) { return err; }
    err = stoa_snapshot_prune(store, KEPT, log->note.last);
    stoa_snapshot_store_close(store);
    return err;
}

static stoa_err take_whole(stoa_log_in *log, const void *bytes, size_t size_bytes)
{
    (void)bytes, (void)size_bytes;
    if (log->picture.position == 0) { return STOA_OK; }
    stoa_err err = batch_put(log, true);
    if (err) { return err; }
    stoa_snapshot_info info = {.position = log->picture.position,
                               .epoch = log->picture.epoch,
                               .block = log->picture.block,
                               .hash = log->picture.hash};
    err = stoa_snapshot_stands(log->journal, &info);
    if (!err || err == STOA_E_SEALED) { err = stoa_snapshot_prove(log->journal, &info); }
    if (err && err != STOA_E_SEALED) { /* it is not what was said: the next one will do */
        stoa_log_error("log_copy_snapshot", err);
        picture_drop(log);
        return STOA_OK;
    }
    log->note.snapshot = info.position;
    log->view.snapshots++;
    picture_drop(log);
    stoa_side_entry done = {partial_key, NULL, sizeof partial_key - 1, 0};
    err = log->journal->ops->put(log->journal, STOA_SPACE_META, &done, 1, false);
    if (!err) { err = prune(log); }
    if (err) { stoa_log_error("log_copy_prune", err); }
    return STOA_OK;
}

/* --- items */

static stoa_err (*const takes[STOA_LOG_ITEMS])(stoa_log_in *, const void *, size_t) = {
    [STOA_LOG_BEGIN] = take_begin, [STOA_LOG_BLOCK] = take_block, [STOA_LOG_SNAPSHOT] = take_snapshot,
    [STOA_LOG_ENTRY] = take_entry, [STOA_LOG_WHOLE] = take_whole,
};

/* What went wrong with an item, or with entries. */
static void take_failed(stoa_log_in *log, stoa_err err, bool of_side)
{
    if (err == STOA_E_CORRUPT && of_side) { /* the side store was rotten, and is empty now */
        stoa_log_error("log_copy_snapshot", err);
        picture_drop(log);
    } else if (err) {
        refuse(log, err);
    }
}

/* The item that is whole. False: the disk is full, it is tried again. */
static bool item_take(stoa_log_in *log)
{
    stoa_err err = takes[log->item_kind](log, log->item.at, log->item.used_bytes);
    log->ready = err == STOA_E_FULL;
    if (log->ready) { return false; }
    take_failed(log, err, log->item_kind >= STOA_LOG_SNAPSHOT);
    stoa_buf_clear(&log->item);
    return true;
}

static stoa_err part_take(stoa_log_in *log, const uint8_t *bytes, uint32_t size_bytes, bool *whole_out)
{
    stoa_log_head head;
    if (size_bytes <= sizeof head) { return STOA_FAIL(STOA_E_MALFORMED, "a record of %" PRIu32 " bytes", size_bytes); }
    memcpy(&head, bytes, sizeof head);
    size_t part_bytes = size_bytes - sizeof head;
    bool first = log->item.used_bytes == 0;
    if (head.item >= STOA_LOG_ITEMS || (!first && head.item != log->item_kind)) {
        return STOA_FAIL(STOA_E_MALFORMED, "part of an item of kind %u", head.item);
    }
    if (part_bytes > STOA_LOG_ITEM_MAX - log->item.used_bytes) { return STOA_FAIL(STOA_E_TOO_LARGE, "an item that does not end"); }
    log->item_kind = head.item;
    stoa_buf_put(&log->item, bytes + sizeof head, part_bytes);
    *whole_out = head.last;
    return log->item.cut ? STOA_FAIL(STOA_E_NOMEM, "an item of %zu bytes", log->item.used_bytes) : STOA_OK;
}

static bool on_record(void *context, stoa_ship *ship, const void *bytes, uint32_t size_bytes, uint64_t end)
{
    stoa_log_in *log = context;
    bool whole = log->ready;
    (void)ship;
    if (log->note.refused) { return true; } /* and is never released */
    if (!log->ready) {
        stoa_err err = part_take(log, bytes, size_bytes, &whole);
        if (err) {
            refuse(log, err);
            return true;
        }
    }
    if (whole && !item_take(log)) { return false; }
    if (!log->note.refused) { log->end = end; }
    return true;
}

static void on_begun(void *context, stoa_ship *ship, bool resumed, uint64_t lost)
{
    stoa_log_in *log = context;
    (void)ship, (void)lost;
    if (resumed) { return; }
    stoa_buf_clear(&log->item);
    batch_clear(log);
    log->ready = false;
    log->picture.position = 0;
    log->end = 0;
}

/* --- the owner's */

/* What is appended is durable from here on. */
static stoa_err settle(stoa_log_in *log)
{
    stoa_journal_state state;
    stoa_err err = log->unsynced ? log->journal->ops->sync(log->journal) : STOA_OK;
    if (err) { return err; }
    log->view.syncs += log->unsynced;
    log->unsynced = false;
    log->journal->ops->state(log->journal, &state);
    log->news = log->news || state.last != log->note.last;
    log->note.last = state.last;
    log->note.epoch = state.epoch;
    log->note.hash = state.hash;
    return STOA_OK;
}

uint64_t stoa_log_in_step(stoa_log_in *log, uint64_t now_ns)
{
    if (!log->note.refused) {
        stoa_err err = settle(log);
        if (!err) {
            stoa_ship_release(log->ship, log->end);
        } else if (err != STOA_E_FULL) {
            refuse(log, err);
        }
        err = log->count > 0 ? batch_put(log, false) : STOA_OK;
        if (err != STOA_E_FULL) { take_failed(log, err, true); }
    }
    if (log->news && stoa_ship_note(log->ship, &log->note, sizeof log->note) == STOA_OK) { log->news = false; }
    return stoa_ship_step(log->ship, now_ns);
}

static void newest(void *context, const stoa_snapshot_info *info)
{
    stoa_log_in *log = context;
    if (info->position > log->note.snapshot && info->position <= log->note.last) { log->note.snapshot = info->position; }
}

/* Where the copy was left. */
static stoa_err stand_up(stoa_log_in *log)
{
    partial was;
    uint32_t size_bytes = 0;
    log->note.version = STOA_LOG_NOTE_VERSION;
    log->news = true;
    stoa_err err = settle(log);
    if (!err) { err = stoa_snapshots_visit(log->journal, newest, log); }
    if (err) { return err; }
    err = stoa_side_get(log->journal, STOA_SPACE_META, partial_key, sizeof partial_key - 1, &was, sizeof was, &size_bytes);
    if (!err && size_bytes == sizeof was && was.key_bytes <= STOA_LOG_KEY_MAX) {
        log->note.partial = was.position;
        log->note.partial_hash = was.hash;
        log->note.key_bytes = was.key_bytes;
        memcpy(log->note.key, was.key, sizeof was.key);
    }
    return stoa_ship_note(log->ship, &log->note, sizeof log->note);
}

stoa_err stoa_log_in_new(const stoa_log_options *options, stoa_log_in **out)
{
    stoa_log_in *log = calloc(1, sizeof *log);
    if (!log) { return STOA_FAIL(STOA_E_NOMEM, "a log's copy"); }
    stoa_ship_options ship = {.incarnation = options->incarnation,
                              .ring_bytes = options->ring_bytes,
                              .frame_limit = options->frame_limit,
                              .again_ns = options->again_ns,
                              .events = {.record = on_record, .begun = on_begun, .context = log}};
    log->journal = options->journal;
    log->item = STOA_BUF_GROWING;
    for (uint32_t i = 0; i < BATCH; i++) { log->values[i] = STOA_BUF_GROWING; }
    stoa_err err = stoa_ship_new(&ship, &log->ship);
    if (!err) { err = stand_up(log); }
    if (err) {
        stoa_log_in_free(log);
        return err;
    }
    *out = log;
    return STOA_OK;
}

void stoa_log_in_free(stoa_log_in *log)
{
    if (!log) { return; }
    stoa_ship_free(log->ship);
    stoa_buf_deinit(&log->item);
    for (uint32_t i = 0; i < BATCH; i++) { stoa_buf_deinit(&log->values[i]); }
    free(log);
}

stoa_ship *stoa_log_in_ship(stoa_log_in *log)
{
    return log->ship;
}

void stoa_log_in_look(const stoa_log_in *log, stoa_log_in_view *out)
{
    *out = log->view;
    const stoa_log_note *note = &log->note;
    out->at = (stoa_log_place){note->last, note->epoch, note->hash, note->snapshot, (stoa_err)note->refused};
}
