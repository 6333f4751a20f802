/* out.c - the side of a log that is shipped: see cluster/ship/log.h.
 *
 * An item (a block, an entry of a snapshot) is copied once and cut into records as the ring takes them; the next one is read when
 * the last one is all in the ring. Reading breaks off there and begins again behind it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "cluster/ship/log.h"
#include "cluster/ship/wire.h"
#include "storage/snapshot.h"

enum { LOOK_S = 1 }; /* so often at most it is looked for a snapshot that could be shipped */

struct stoa_log_out {
    stoa_journal *journal;
    stoa_ship *ship;
    uint8_t *part; /* a record */
    stoa_buf item; /* what is being cut */
    size_t cut;
    uint8_t item_kind;
    bool placed, placing; /* where to begin is known; is to be found out */
    bool pictures_first;  /* in this step */
    stoa_err err;
    stoa_log_note note;
    uint64_t next, committed; /* positions: of the next block; of the last that may go */
    stoa_snapshot *picture;   /* under way */
    uint64_t pictured;        /* the last one that was begun */
    uint8_t key[STOA_LOG_KEY_MAX];
    uint32_t key_bytes; /* its entries up to this one are there, or in the ring */
    uint64_t looked_ns, looked_last;
    stoa_log_out_view view;
};

/* --- items */

static uint32_t part_max(const stoa_log_out *log)
{
    return stoa_ship_record_max(log->ship) - (uint32_t)sizeof(stoa_log_head);
}

/* Errors: FULL (the rest goes later), those of send. */
static stoa_err cut(stoa_log_out *log)
{
    while (log->cut < log->item.used_bytes) {
        size_t rest = log->item.used_bytes - log->cut;
        size_t size_bytes = rest < part_max(log) ? rest : part_max(log);
        stoa_log_head head = {.item = log->item_kind, .last = size_bytes == rest};
        memcpy(log->part, &head, sizeof head);
        memcpy(log->part + sizeof head, log->item.at + log->cut, size_bytes);
        stoa_err err = stoa_ship_send(log->ship, log->part, (uint32_t)(sizeof head + size_bytes));
        if (err) { return err; }
        log->cut += size_bytes;
    }
    return STOA_OK;
}

static void item_begin(stoa_log_out *log, uint8_t kind)
{
    STOA_ASSERT(log->cut == log->item.used_bytes);
    stoa_buf_clear(&log->item);
    log->cut = 0;
    log->item_kind = kind;
}

static void item_put(stoa_log_out *log, const void *bytes, size_t size_bytes)
{
    stoa_buf_put(&log->item, bytes, size_bytes);
}

/* Errors: FULL (it is in the ring in part, and the rest will be), NOMEM. */
static stoa_err item_end(stoa_log_out *log)
{
    if (log->item.cut) { return STOA_FAIL(STOA_E_NOMEM, "an item of %zu bytes", log->item.used_bytes); }
    return cut(log);
}

/* --- where to begin */

typedef struct finding {
    const stoa_log_note *note;
    stoa_log_anchor *anchor;
    bool found;
} finding;

static stoa_err is_its_last(void *context, const void *bytes, size_t size_bytes)
{
    finding *f = context;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return err; }
    f->found = stoa_block_last(&view.block) == f->note->last && memcmp(&view.hash, &f->note->hash, sizeof view.hash) == 0;
    return STOA_E_CANCELLED;
}

static stoa_err is_behind(void *context, const void *bytes, size_t size_bytes)
{
    finding *f = context;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return err; }
    *f->anchor = (stoa_log_anchor){view.block.first - 1, view.block.epoch, view.previous}; /* the epoch before is no higher */
    return STOA_E_CANCELLED;
}

/* The copy is empty, and the log does not begin with the first position. */
static stoa_err begin_behind(stoa_log_out *log, const stoa_journal_state *state)
{
    stoa_log_anchor anchor = {state->last, state->epoch, state->hash}; /* where there is no block left */
    if (state->last >= state->first) {
        finding f = {.anchor = &anchor};
        stoa_err err = log->journal->ops->read_stored(log->journal, state->first, is_behind, &f);
        if (err != STOA_E_CANCELLED) { return err; }
    }
    item_begin(log, STOA_LOG_BEGIN);
    item_put(log, &anchor, sizeof anchor);
    log->next = anchor.last + 1;
    stoa_err err = item_end(log);
    return err == STOA_E_FULL ? STOA_OK : err;
}

static stoa_err place(stoa_log_out *log)
{
    const stoa_log_note *note = &log->note;
    stoa_journal_state state;
    log->journal->ops->state(log->journal, &state);
    if (note->version != STOA_LOG_NOTE_VERSION) { return STOA_FAIL(STOA_E_VERSION, "the copy speaks version %" PRIu32, note->version); }
    if (note->refused) { return STOA_FAIL((stoa_err)note->refused, "the copy takes nothing more"); }
    log->next = note->last + 1;
    if (note->last == 0) { return state.first > 1 ? begin_behind(log, &state) : STOA_OK; }
    if (note->last > state.last) {
        return STOA_FAIL(STOA_E_FORKED, "the copy ends at %" PRIu64 ", and the log at %" PRIu64, note->last, state.last);
    }
    if (note->last + 1 < state.first) {
        return STOA_FAIL(STOA_E_GONE, "the copy ends at %" PRIu64 ", and the log begins with %" PRIu64, note->last, state.first);
    }
    if (note->last < state.first) { return STOA_OK; } /* the next block says whether it continues that one */
    finding f = {.note = note};
    stoa_err err = log->journal->ops->read_stored(log->journal, note->last, is_its_last, &f);
    if (err != STOA_E_CANCELLED) { return err ? err : STOA_E_CORRUPT; }
    return f.found ? STOA_OK : STOA_FAIL(STOA_E_FORKED, "the copy has another block at %" PRIu64, note->last);
}

/* --- blocks */

static stoa_err ship_block(void *context, const void *bytes, size_t size_bytes)
{
    stoa_log_out *log = context;
    stoa_block_view view;
    stoa_block_peek(bytes, &view);
    uint64_t last = stoa_block_last(&view.block);
    if (last > log->committed) { return STOA_E_CANCELLED; }
    item_begin(log, STOA_LOG_BLOCK);
    item_put(log, bytes, size_bytes);
    log->next = last + 1;
    log->view.shipped = last;
    log->view.blocks++;
    return item_end(log);
}

static stoa_err ship_blocks(stoa_log_out *log)
{
    stoa_journal_state state;
    log->journal->ops->state(log->journal, &state);
    if (log->next > state.last || log->next > log->committed) { return STOA_OK; }
    stoa_err err = log->journal->ops->read_stored(log->journal, log->next, ship_block, log);
    return err == STOA_E_CANCELLED || err == STOA_E_NOT_FOUND ? STOA_OK : err;
}

/* --- snapshots */

static void picture_close(stoa_log_out *log)
{
    stoa_snapshot_close(log->picture);
    log->picture = NULL;
}

/* Keys go in their order. */
static bool is_there(void *context, const void *key, uint32_t key_bytes)
{
    const stoa_log_out *log = context;
    uint32_t both = key_bytes < log->key_bytes ? key_bytes : log->key_bytes;
    int order = both ? memcmp(key, log->key, both) : 0;
    return log->key_bytes > 0 && (order < 0 || (order == 0 && key_bytes <= log->key_bytes));
}

static stoa_err ship_entry(void *context, const stoa_side_entry *entry)
{
    stoa_log_out *log = context;
    if (entry->key_bytes > STOA_LOG_KEY_MAX) { return STOA_FAIL(STOA_E_CORRUPT, "a key of %" PRIu32 " bytes", entry->key_bytes); }
    if (is_there(log, entry->key, entry->key_bytes)) { return STOA_OK; }
    item_begin(log, STOA_LOG_ENTRY);
    item_put(log, &entry->key_bytes, sizeof entry->key_bytes);
    item_put(log, entry->key, entry->key_bytes);
    item_put(log, entry->value, entry->value_bytes);
    memcpy(log->key, entry->key, entry->key_bytes);
    log->key_bytes = entry->key_bytes;
    log->view.entries++;
    return item_end(log);
}

/* The newest one that stands on what the copy has, and that it does not have. */
static stoa_err picture_begin(stoa_log_out *log, uint64_t now_ns)
{
    uint64_t known = log->note.snapshot > log->pictured ? log->note.snapshot : log->pictured;
    if (log->note.last == log->looked_last || now_ns < log->looked_ns + STOA_S(LOOK_S)) { return STOA_OK; }
    log->looked_ns = now_ns;
    log->looked_last = log->note.last;
    stoa_err err = stoa_snapshot_open(log->journal, log->note.last, &log->picture);
    if (err) { return err == STOA_E_NOT_FOUND ? STOA_OK : err; }
    const stoa_snapshot_info *info = stoa_snapshot_look(log->picture);
    if (info->position <= known) {
        picture_close(log);
        return STOA_OK;
    }
    bool goes_on =
        log->note.partial == info->position && memcmp(&log->note.partial_hash, &info->hash, sizeof info->hash) == 0;
    log->key_bytes = goes_on ? log->note.key_bytes : 0;
    memcpy(log->key, log->note.key, log->key_bytes);
    log->pictured = info->position;
    stoa_log_picture picture = {info->position, info->epoch, info->block, info->hash};
    item_begin(log, STOA_LOG_SNAPSHOT);
    item_put(log, &picture, sizeof picture);
    return item_end(log);
}

static stoa_err ship_pictures(stoa_log_out *log, uint64_t now_ns)
{
    stoa_err err = log->picture ? STOA_OK : picture_begin(log, now_ns);
    if (err || !log->picture) { return err; }
    stoa_snapshot_copy to = {.has = is_there, .take = ship_entry, .context = log};
    err = stoa_snapshot_export(log->picture, &to);
    if (err == STOA_E_FULL) { return err; }
    picture_close(log);
    if (err) { /* it was pruned meanwhile, or is rotten: the next one will do */
        stoa_log(STOA_LOG_WARN, "log_ship_snapshot", STOA_KU("position", log->pictured), STOA_KV("error", stoa_err_name(err)));
        return STOA_OK;
    }
    log->view.snapshots++;
    uint64_t position = log->pictured;
    item_begin(log, STOA_LOG_WHOLE);
    item_put(log, &position, sizeof position);
    return item_end(log);
}

/* --- what the ship tells */

static void note_read(stoa_log_out *log)
{
    uint32_t size_bytes = 0;
    const void *note = stoa_ship_noted(log->ship, &size_bytes);
    stoa_log_note read = {0};
    if (size_bytes == sizeof read) { memcpy(&read, note, sizeof read); }
    if (read.key_bytes > STOA_LOG_KEY_MAX) { read.key_bytes = 0; }
    log->note = read;
    log->view.copy = (stoa_log_place){read.last, read.epoch, read.hash, read.snapshot, (stoa_err)read.refused};
}

static void on_moved(void *context, stoa_ship *ship)
{
    (void)ship;
    note_read(context);
}

static void on_begun(void *context, stoa_ship *ship, bool resumed, uint64_t lost)
{
    stoa_log_out *log = context;
    (void)ship, (void)lost;
    note_read(log);
    if (resumed) { return; }
    stoa_buf_clear(&log->item);
    log->cut = 0;
    picture_close(log);
    log->pictured = log->looked_ns = log->looked_last = 0;
    log->placed = false;
    log->placing = true;
}

/* --- the owner's */

uint64_t stoa_log_out_step(stoa_log_out *log, uint64_t committed, uint64_t now_ns)
{
    log->committed = committed;
    if (log->placing) {
        log->placing = false;
        log->err = place(log);
        log->placed = log->err == STOA_OK;
        if (log->err) { stoa_log_error("log_ship_refused", log->err); }
    }
    stoa_err err = log->placed ? cut(log) : STOA_E_UNAVAILABLE;
    log->pictures_first = !log->pictures_first;
    if (!err && log->pictures_first) { err = ship_pictures(log, now_ns); }
    if (!err) { err = ship_blocks(log); }
    if (!err && !log->pictures_first) { err = ship_pictures(log, now_ns); }
    if (err && err != STOA_E_FULL && log->placed) { /* the journal cannot be read any further */
        log->err = err;
        log->placed = false;
        stoa_log_error("log_ship_refused", err);
    }
    uint64_t next_ns = stoa_ship_step(log->ship, now_ns), look_ns = log->looked_ns + STOA_S(LOOK_S);
    bool looks = log->placed && !log->picture && log->note.last != log->looked_last;
    return looks && look_ns < next_ns ? look_ns : next_ns;
}

stoa_err stoa_log_out_new(const stoa_log_options *options, stoa_log_out **out)
{
    stoa_log_out *log = calloc(1, sizeof *log);
    if (!log) { return STOA_FAIL(STOA_E_NOMEM, "a log's shipper"); }
    stoa_ship_options ship = {.sends = true,
                              .incarnation = options->incarnation,
                              .ring_bytes = options->ring_bytes,
                              .frame_limit = options->frame_limit,
                              .again_ns = options->again_ns,
                              .events = {.begun = on_begun, .moved = on_moved, .context = log}};
    log->journal = options->journal;
    log->item = STOA_BUF_GROWING;
    stoa_err err = stoa_ship_new(&ship, &log->ship);
    if (!err && !(log->part = malloc(stoa_ship_record_max(log->ship)))) { err = STOA_FAIL(STOA_E_NOMEM, "a record"); }
    if (err) {
        stoa_log_out_free(log);
        return err;
    }
    *out = log;
    return STOA_OK;
}

void stoa_log_out_free(stoa_log_out *log)
{
    if (!log) { return; }
    picture_close(log);
    stoa_ship_free(log->ship);
    stoa_buf_deinit(&log->item);
    free(log->part);
    free(log);
}

stoa_ship *stoa_log_out_ship(stoa_log_out *log)
{
    return log->ship;
}

void stoa_log_out_look(const stoa_log_out *log, stoa_log_out_view *out)
{
    *out = log->view;
    out->err = log->err;
}
