/* log_reader.c - from stored blocks to decoded events. See log_reader.h; fold.h has what is internal.
 *
 * An event is a msgpack array (shard.h). Its envelope names stream and row; the directory of streams names the kind, whose
 * table says how the payload is read. Bytes are hostile until that is done.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/log_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/fold.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

/* an event is at most STOA_ARENA_BYTES in memory, and a token takes at least a byte of it */
enum { TOKENS_MAX = STOA_ARENA_BYTES + 16, ENVELOPE_FIELDS = 9 };

struct stoa_log_reader {
    stoa_journal *journal;
    stoa_shard *shard;             /* NULL: over a bare journal */
    const stoa_streams *streams;   /* the shard's, or own */
    stoa_streams own;              /* a bare journal's, filled as it is read */
    const stoa_kind *const *kinds; /* of a bare journal */
    uint64_t known;                /* own has all that were spawned up to here */
    uint32_t only;
    bool whole;                    /* reads end with a block */
    void *payload;                 /* STOA_REPLY_MAX bytes */
    void *older;                   /* an event of an older schema; NULL: there was none */
    stoa_token *tokens;            /* NULL: all that was read was in plain form */
    stoa_log_end end;
};

/* --- life */

static stoa_err reader_new(stoa_journal *journal, stoa_log_reader **out)
{
    stoa_log_reader *reader = calloc(1, sizeof *reader);
    if (reader) {
        reader->journal = journal;
        reader->only = STOA_LOG_ALL;
        reader->payload = malloc(STOA_REPLY_MAX);
    }
    if (!reader || !reader->payload) {
        stoa_log_close(reader);
        return STOA_FAIL(STOA_E_NOMEM, "log reader");
    }
    *out = reader;
    return STOA_OK;
}

stoa_err stoa_log_open(stoa_shard *shard, stoa_log_reader **out)
{
    if (!shard->journal) { return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s has no journal", shard->name); }
    stoa_err err = reader_new(shard->journal, out);
    if (err) { return err; }
    (*out)->shard = shard;
    (*out)->streams = &shard->streams;
    return STOA_OK;
}

stoa_err stoa_log_open_journal(stoa_journal *journal, const stoa_kind *const *kinds, const char *name,
                               stoa_log_reader **out)
{
    stoa_log_reader *reader;
    stoa_err err = reader_new(journal, &reader);
    if (!err) { err = stoa_streams_init(&reader->own, name); }
    if (err) {
        stoa_log_close(reader);
        return err;
    }
    reader->streams = &reader->own;
    reader->kinds = kinds;
    *out = reader;
    return STOA_OK;
}

void stoa_log_close(stoa_log_reader *reader)
{
    if (!reader) { return; }
    stoa_streams_deinit(&reader->own);
    free(reader->payload);
    free(reader->tokens);
    free(reader->older);
    free(reader);
}

stoa_journal *stoa_log_journal(const stoa_log_reader *reader)
{
    return reader->journal;
}

const stoa_kind *const *stoa_log_kinds(const stoa_log_reader *reader)
{
    return reader->shard ? reader->shard->node->options.kinds : reader->kinds;
}

void stoa_log_whole(stoa_log_reader *reader)
{
    reader->whole = true;
}

void stoa_log_only(stoa_log_reader *reader, uint32_t stream)
{
    reader->only = stream;
}

const stoa_streams *stoa_log_streams(const stoa_log_reader *reader)
{
    return reader->streams;
}

stoa_log_end stoa_log_ended(const stoa_log_reader *reader)
{
    return reader->end;
}

const stoa_kind *stoa_log_actor(stoa_log_reader *reader, const char *name, uint32_t *stream_out)
{
    uint32_t stream = stoa_streams_named(reader->streams, name);
    if (stream == UINT32_MAX) { return NULL; }
    if (stream_out) { *stream_out = stream; }
    return reader->streams->at[stream].kind;
}

/* --- one event */

static stoa_err refuse(const stoa_log_reader *r, stoa_err err, uint64_t position, const char *what)
{
    return STOA_FAIL(err, "shard %s, position %" PRIu64 ": %s", r->streams->at[0].name, position, what);
}

static stoa_err corrupt(const stoa_log_reader *r, uint64_t position, const char *what)
{
    return refuse(r, STOA_E_CORRUPT, position, what);
}

static bool read_uint(const stoa_token *token, uint64_t *out)
{
    *out = token->as.u;
    return token->cls == STOA_TOKEN_UINT;
}

/* The envelope says what the payload is. */
static stoa_err resolve(const stoa_log_reader *r, const uint64_t *field, stoa_event_view *view)
{
    const stoa_stream *stream = stoa_streams_find(r->streams, field[3]);
    if (field[0] != 1) { return refuse(r, STOA_E_VERSION, view->position, "event of a later version"); }
    if (!stream || field[1] == 0) { return corrupt(r, view->position, "event of no kind"); }
    const stoa_table *table = stream->kind->table;
    if (field[1] > table->row_count) {
        char what[96];
        (void)snprintf(what, sizeof what, "row %" PRIu64 " of %s, which has %" PRIu32 " here", field[1], table->name,
                       table->row_count);
        return refuse(r, STOA_E_VERSION, view->position, what);
    }
    view->stream = (uint32_t)field[3];
    view->kind = stream->kind;
    view->actor = stream->name;
    view->row = &table->rows[field[1]];
    if (field[2] == 0 || field[2] > stoa_kind_schema(stream->kind, view->row->id)) {
        char what[96];
        (void)snprintf(what, sizeof what, "schema %" PRIu64 " of %s.%s, of which %" PRIu32 " is the last here", field[2], table->name,
                       view->row->name, stoa_kind_schema(stream->kind, view->row->id));
        return refuse(r, STOA_E_VERSION, view->position, what);
    }
    if (!stream->kind->appliers[field[1]]) { return corrupt(r, view->position, "not an event row"); }
    return view->row->payload.size_bytes > STOA_REPLY_MAX ? corrupt(r, view->position, "payload size") : STOA_OK;
}

static bool wanted(const stoa_log_reader *r, const stoa_event_view *view)
{
    return r->only == STOA_LOG_ALL || view->stream == r->only || (r->kinds && view->stream == 0);
}

static void take_envelope(const uint64_t *field, stoa_event_view *view)
{
    view->seq = field[4];
    view->wall_ns = field[5];
    view->cause = field[6] ? field[6] : view->position;
    view->command = field[7];
    view->sender = (uint32_t)field[8];
}

/* An event as our own writer wrote it. False: it is to be judged, below; *at is where it was. */
static bool read_plain(stoa_log_reader *r, const uint8_t **at, const uint8_t *end, stoa_event_view *view, stoa_err *err_out)
{
    const uint8_t *from = *at;
    uint64_t field[ENVELOPE_FIELDS];
    uint32_t count;
    if (!stoa_plain_array(&from, end, &count) || count != ENVELOPE_FIELDS + 1) { return false; }
    for (uint32_t i = 0; i < ENVELOPE_FIELDS; i++) {
        if (!stoa_plain_uint(&from, end, &field[i])) { return false; }
    }
    *err_out = resolve(r, field, view);
    if (*err_out) { return true; }
    take_envelope(field, view);
    if (field[2] != stoa_kind_schema(view->kind, view->row->id)) { return false; }
    if (wanted(r, view)) {
        if (!stoa_plain_value(&view->row->payload, &from, end, r->payload)) { return false; }
        view->payload = r->payload;
    } else if (!stoa_plain_skip(&from, end)) {
        return false;
    }
    *at = from;
    return true;
}

static const stoa_upcast *upcast_from(const stoa_kind *kind, uint32_t row, uint64_t schema)
{
    for (const stoa_upcast *at = kind->upcasts; at && at->type; at++) {
        if (at->row == row && at->schema == schema) { return at; }
    }
    return NULL;
}

/* Read it as it was written, and bring it from schema to schema up to the row's own. */
static stoa_err decode_older(stoa_log_reader *r, const stoa_event_view *view, uint64_t schema, const stoa_token *tokens, uint32_t count)
{
    const stoa_upcast *upcast = upcast_from(view->kind, view->row->id, schema);
    if (!upcast || upcast->type->size_bytes > STOA_REPLY_MAX) { return STOA_FAIL(STOA_E_VERSION, "no upcast from schema %" PRIu64, schema); }
    if (!r->older) { r->older = malloc(STOA_REPLY_MAX); }
    if (!r->older) { return STOA_FAIL(STOA_E_NOMEM, "log reader"); }
    stoa_err err = stoa_decode_tokens(upcast->type, tokens, count, r->older);
    while (!err && upcast) {
        const stoa_upcast *next = upcast_from(view->kind, view->row->id, ++schema);
        uint32_t bytes = next ? next->type->size_bytes : view->row->payload.size_bytes;
        if (bytes > STOA_REPLY_MAX) { return STOA_FAIL(STOA_E_VERSION, "schema %" PRIu64, schema); }
        memset(r->payload, 0, bytes);
        upcast->up(r->older, r->payload);
        if (next) { memcpy(r->older, r->payload, bytes); }
        upcast = next;
    }
    return err;
}

static stoa_err judge_event(stoa_log_reader *r, const uint8_t **at, const uint8_t *end, stoa_event_view *view)
{
    uint64_t field[ENVELOPE_FIELDS];
    uint32_t count;
    size_t used;
    if (!r->tokens) { r->tokens = malloc(TOKENS_MAX * sizeof *r->tokens); }
    if (!r->tokens) { return STOA_FAIL(STOA_E_NOMEM, "log reader"); }
    if (stoa_tokenize(*at, (size_t)(end - *at), r->tokens, TOKENS_MAX, &count, &used)) {
        return STOA_PASS(STOA_E_CORRUPT, "shard %s, position %" PRIu64, r->streams->at[0].name, view->position);
    }
    *at += used;
    if (r->tokens[0].cls != STOA_TOKEN_ARRAY || r->tokens[0].size < ENVELOPE_FIELDS + 1) {
        return corrupt(r, view->position, "not an event");
    }
    for (uint32_t i = 0; i < ENVELOPE_FIELDS; i++) {
        if (!read_uint(&r->tokens[1 + i], &field[i])) { return corrupt(r, view->position, "envelope"); }
    }
    stoa_err err = resolve(r, field, view);
    if (err) { return err; }
    take_envelope(field, view);
    if (!wanted(r, view)) { return STOA_OK; }
    view->payload = r->payload;
    const stoa_token *tokens = r->tokens + 1 + ENVELOPE_FIELDS;
    count -= 1 + ENVELOPE_FIELDS;
    bool older = field[2] < stoa_kind_schema(view->kind, view->row->id);
    err = older ? decode_older(r, view, field[2], tokens, count) : stoa_decode_tokens(&view->row->payload, tokens, count, r->payload);
    if (err == STOA_E_VERSION) { return STOA_PASS(err, "shard %s, position %" PRIu64, r->streams->at[0].name, view->position); }
    return err ? STOA_PASS(STOA_E_CORRUPT, "shard %s, position %" PRIu64, r->streams->at[0].name, view->position) : STOA_OK;
}

/* One event of a block's payload, and where the next begins. view->payload is NULL when it is not wanted. */
static stoa_err read_event(stoa_log_reader *r, const uint8_t **at, const uint8_t *end, stoa_event_view *view)
{
    stoa_err err;
    return read_plain(r, at, end, view, &err) ? err : judge_event(r, at, end, view);
}

/* --- the directory of a bare journal */

static const stoa_kind *kind_named(const stoa_log_reader *r, const stoa_text30 *name)
{
    for (const stoa_kind *const *at = r->kinds; at && *at; at++) {
        if (strlen((*at)->name) == name->len && memcmp((*at)->name, name->at, name->len) == 0) { return *at; }
    }
    return NULL;
}

static stoa_err learn(stoa_log_reader *r, const stoa_event_view *view)
{
    const stoa_shard_log_spawned *spawned = view->payload;
    char name[sizeof spawned->name.at + 1];
    if (!r->kinds || view->position <= r->known) { return STOA_OK; }
    r->known = view->position;
    if (view->stream != 0 || view->row->id != stoa_shard_log_ROW_spawned) { return STOA_OK; }
    const stoa_kind *kind = kind_named(r, &spawned->kind);
    (void)snprintf(name, sizeof name, "%.*s", STOA_TEXT_ARGS(&spawned->kind));
    if (!kind) { return stoa_log_no_kind(r->own.at[0].name, view->position, name); }
    if (spawned->stream != atomic_load(&r->own.count) + 1) { return corrupt(r, view->position, "streams out of order"); }
    (void)snprintf(name, sizeof name, "%.*s", STOA_TEXT_ARGS(&spawned->name));
    return stoa_streams_add(&r->own, kind, name);
}

stoa_err stoa_log_learn(stoa_log_reader *reader, uint32_t stream, const stoa_kind *kind, const char *name)
{
    if (reader->kinds && stream == atomic_load(&reader->own.count) + 1) { return stoa_streams_add(&reader->own, kind, name); }
    const stoa_stream *known = stoa_streams_find(reader->streams, stream);
    bool same = known && known->kind == kind && (stream == 0 || strcmp(known->name, name) == 0);
    return same ? STOA_OK : STOA_FAIL(STOA_E_CORRUPT, "shard %s: stream %u is not %s", reader->streams->at[0].name, stream, name);
}

void stoa_log_learned(stoa_log_reader *reader, uint64_t position)
{
    if (position > reader->known) { reader->known = position; }
}

stoa_err stoa_log_no_kind(const char *shard, uint64_t position, const char *kind)
{
    return STOA_FAIL(STOA_E_VERSION, "shard %s, position %" PRIu64 ": no kind '%s' is registered", shard, position, kind);
}

/* --- blocks */

typedef struct reading {
    stoa_log_reader *reader;
    uint64_t from, until, next; /* next: behind the last event that was visited */
    stoa_log_visit visit;
    void *context;
    bool enough; /* visit said so */
} reading;

static stoa_err visit_event(reading *run, const stoa_event_view *view)
{
    stoa_log_reader *r = run->reader;
    stoa_err err = view->payload ? learn(r, view) : STOA_OK;
    if (err || view->position < run->from) { return err; }
    bool shown = view->payload && (r->only == STOA_LOG_ALL || view->stream == r->only);
    if (shown && run->visit) { err = run->visit(run->context, view); }
    run->enough = err == STOA_E_CANCELLED;
    if (!err || run->enough) { run->next = view->position + 1; }
    return err;
}

static stoa_err read_block(void *context, const stoa_block *block)
{
    reading *run = context;
    const uint8_t *at = block->payload, *end = at + block->payload_bytes;
    for (uint32_t i = 0; i < block->count; i++) {
        stoa_event_view view = {.position = block->first + i, .commit_ns = block->commit_ns, .epoch = block->epoch};
        if (view.position > run->until && (i == 0 || !run->reader->whole)) {
            run->enough = true;
            return STOA_E_CANCELLED;
        }
        stoa_err err = read_event(run->reader, &at, end, &view);
        if (!err) { err = visit_event(run, &view); }
        if (err) { return err; }
    }
    run->reader->end = (stoa_log_end){.position = block->first + block->count - 1, .epoch = block->epoch};
    if (block->hash) { run->reader->end.hash = *block->hash; }
    return STOA_OK;
}

stoa_err stoa_log_read_block(stoa_log_reader *reader, const stoa_block *block, uint64_t from, uint64_t until,
                             stoa_log_visit visit, void *context)
{
    reading run = {.reader = reader, .from = from, .until = until, .visit = visit, .context = context};
    stoa_err err = read_block(&run, block);
    return run.enough ? STOA_OK : err;
}

/* --- the log */

uint64_t stoa_journal_first(stoa_journal *journal)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    return state.first;
}

static uint64_t committed(const stoa_log_reader *r)
{
    stoa_journal_state state;
    if (r->shard) { return stoa_shard_durable(r->shard); }
    r->journal->ops->state(r->journal, &state);
    return state.last;
}

/* Where a read begins in the middle of a bare journal: who was spawned before. */
static stoa_err learn_before(stoa_log_reader *r, uint64_t from)
{
    uint32_t only = r->only;
    if (!r->kinds || r->known + 1 >= from) { return STOA_OK; }
    reading run = {.reader = r, .from = from, .until = from - 1};
    r->only = 0;
    stoa_err err = r->journal->ops->read(r->journal, r->known + 1, read_block, &run);
    r->only = only;
    if (!err || run.enough) { r->known = from - 1; }
    return run.enough ? STOA_OK : err;
}

stoa_err stoa_log_read(stoa_log_reader *reader, uint64_t from, uint64_t until, stoa_log_visit visit, void *context,
                       uint64_t *next_out)
{
    reading run = {.reader = reader, .from = from, .next = from, .until = until, .visit = visit, .context = context};
    uint64_t last = committed(reader);
    if (next_out) { *next_out = from; }
    if (from == 0) { return STOA_FAIL(STOA_E_INVALID, "positions start at 1"); }
    if (until > last) { run.until = last; }
    if (from > run.until) { return STOA_OK; }
    stoa_err err = learn_before(reader, from);
    if (!err) { err = reader->journal->ops->read(reader->journal, from, read_block, &run); }
    if (next_out) { *next_out = run.next; }
    return run.enough ? STOA_OK : err;
}

uint64_t stoa_shard_durable(const stoa_shard *shard)
{
    /* acquire: what was appended up to there can be read */
    return atomic_load_explicit(&shard->durable, memory_order_acquire);
}

bool stoa_log_wait(stoa_shard *shard, uint64_t position, uint64_t timeout_ns)
{
    struct timespec until;
    STOA_ASSERT(!shard->node->options.sim); /* there time goes on only when nobody waits */
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t at = stoa_time_after((uint64_t)until.tv_sec * UINT64_C(1000000000) + (uint64_t)until.tv_nsec, timeout_ns);
    until.tv_sec = (time_t)(at / 1000000000);
    until.tv_nsec = (long)(at % 1000000000);
    int waited = 0;
    (void)pthread_mutex_lock(&shard->lock);
    while (stoa_shard_durable(shard) < position && !waited) {
        waited = pthread_cond_clockwait(&shard->grown, &shard->lock, CLOCK_MONOTONIC, &until);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return stoa_shard_durable(shard) >= position;
}

/* --- times */

typedef struct timing {
    uint64_t wall_ns, found; /* last position that is not later; 0: none */
    bool later;              /* one that is was seen */
} timing;

static stoa_err look_at_time(void *context, const stoa_event_view *view)
{
    timing *t = context;
    t->later = view->commit_ns > t->wall_ns;
    if (!t->later) { t->found = view->position; }
    return t->later ? STOA_E_CANCELLED : STOA_OK;
}

/* Only the first event from there on. */
static stoa_err look_once(void *context, const stoa_event_view *view)
{
    (void)look_at_time(context, view);
    return STOA_E_CANCELLED;
}

enum { STEP = 256 }; /* events, about a block: below it is read one by one */

stoa_err stoa_log_position_at(stoa_log_reader *reader, uint64_t wall_ns, uint64_t *position_out)
{
    timing t = {.wall_ns = wall_ns};
    uint64_t low = stoa_journal_first(reader->journal), high = committed(reader); /* it is at low - 1 or above, at high or below */
    uint32_t only = reader->only;
    stoa_err err = STOA_OK;
    reader->only = STOA_LOG_ALL;
    while (!err && high > low && high - low > STEP) {
        uint64_t middle = low + (high - low) / 2;
        err = stoa_log_read(reader, middle, middle, look_once, &t, NULL);
        *(t.later ? &high : &low) = middle;
    }
    if (!err && low <= high) { err = stoa_log_read(reader, low, high, look_at_time, &t, NULL); }
    reader->only = only;
    if (!err) { *position_out = t.found; }
    return err;
}
