/* flight.c - the classes of records, and reading a recorder's file. See flight.h.
 *
 * The file may be anything: sizes are checked once against the bytes that are there, then each record by its own check.
 * What a record refers to and the file does not have is left empty.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/flight.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_ALIGN = 4096, NAMES_MAX = 1 << 20, RECORDS_MAX = 1 << 26 };

static const stoa_flight_row rows[] = {
#define FLIGHT(code, NAME, text, ring, limit, name, a, b, doc)                                                         \
    {(code), STOA_FLIGHT_##ring, (limit), text, name, a, b, doc},
#include "base/flight.def"
#undef FLIGHT
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

const stoa_flight_row *stoa_flight_row_at(uint32_t index)
{
    return index < ROW_COUNT ? &rows[index] : NULL;
}

const stoa_flight_row *stoa_flight_row_of(uint32_t code)
{
    for (uint32_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].code == code) { return &rows[i]; }
    }
    return NULL;
}

/* --- the head */

uint64_t stoa_flight_lane_bytes(const stoa_flight_head *head)
{
    return head->names * (uint64_t)sizeof(stoa_flight_name) + head->actors * (uint64_t)sizeof(stoa_flight_actor) +
           head->rings * (uint64_t)head->records * sizeof(stoa_flight_record);
}

uint64_t stoa_flight_lanes_at(uint32_t classes)
{
    uint64_t bytes = sizeof(stoa_flight_head) + classes * (uint64_t)sizeof(stoa_flight_class);
    return (bytes + HEAD_ALIGN - 1) / HEAD_ALIGN * HEAD_ALIGN;
}

uint32_t stoa_flight_head_check(const void *file, uint32_t classes)
{
    const char *at = file;
    uint32_t check = stoa_crc32c(0, at, offsetof(stoa_flight_head, check));
    return stoa_crc32c(check, at + sizeof(stoa_flight_head), classes * sizeof(stoa_flight_class));
}

static bool sizes_agree(const stoa_flight_head *head)
{
    bool within = head->head_bytes == sizeof *head && head->lanes && head->lanes <= STOA_FLIGHT_LANES_MAX &&
                  head->rings == STOA_FLIGHT_RINGS && head->records && head->records <= RECORDS_MAX && head->names &&
                  head->names <= NAMES_MAX && head->actors && head->actors <= NAMES_MAX;
    return within && head->lanes_at == stoa_flight_lanes_at(head->classes) &&
           head->lane_bytes == stoa_flight_lane_bytes(head) &&
           head->file_bytes == head->lanes_at + head->lanes * head->lane_bytes;
}

static stoa_err check_head(const void *bytes, size_t size_bytes, stoa_flight_head *out)
{
    stoa_flight_head head;
    if (size_bytes < sizeof head.magic || memcmp(bytes, STOA_FLIGHT_MAGIC, sizeof head.magic) != 0) {
        return STOA_FAIL(STOA_E_MALFORMED, "not the file of a flight recorder");
    }
    if (size_bytes < sizeof head) {
        return STOA_FAIL(STOA_E_CORRUPT, "cut off: %zu bytes are not even a head", size_bytes);
    }
    memcpy(&head, bytes, sizeof head);
    if (head.version != STOA_FLIGHT_VERSION) {
        return STOA_FAIL(STOA_E_VERSION, "format version %" PRIu32 " of the flight recorder; this reads version %d",
                         head.version, STOA_FLIGHT_VERSION);
    }
    uint64_t lanes_at = stoa_flight_lanes_at(head.classes);
    if (head.classes > STOA_FLIGHT_CLASSES_MAX || size_bytes < lanes_at) {
        return STOA_FAIL(STOA_E_CORRUPT, "cut off within its head, or the head is damaged");
    }
    if (stoa_flight_head_check(bytes, head.classes) != head.check || !sizes_agree(&head)) {
        return STOA_FAIL(STOA_E_CORRUPT, "the head fails its check");
    }
    if (size_bytes < head.file_bytes) {
        return STOA_FAIL(STOA_E_CORRUPT, "cut off: %zu of %" PRIu64 " bytes", size_bytes, head.file_bytes);
    }
    *out = head;
    return STOA_OK;
}

/* --- its records, in order */

typedef struct place {
    uint64_t time_ns, seq, at; /* at: offset in the file */
    uint32_t lane, ring;
} place;

typedef struct reading {
    const char *bytes;
    stoa_flight_head head;
    const stoa_flight_query *query;
    stoa_flight_summary *summary;
    place *places;
    size_t count;
} reading;

static uint64_t ring_at(const stoa_flight_head *head, uint32_t lane, uint32_t ring)
{
    uint64_t before = head->lanes_at + lane * head->lane_bytes;
    return before + head->names * (uint64_t)sizeof(stoa_flight_name) +
           head->actors * (uint64_t)sizeof(stoa_flight_actor) +
           ring * (uint64_t)head->records * sizeof(stoa_flight_record);
}

static stoa_flight_record record_at(const reading *r, uint64_t at)
{
    stoa_flight_record record;
    memcpy(&record, r->bytes + at, sizeof record);
    return record;
}

static bool untouched(const stoa_flight_record *record)
{
    static const stoa_flight_record none;
    return memcmp(record, &none, sizeof none) == 0;
}

static void collect_ring(reading *r, uint32_t lane, uint32_t ring)
{
    const stoa_flight_head *head = &r->head;
    uint64_t first = ring_at(head, lane, ring), highest = 0, here = 0;
    for (uint32_t i = 0; i < head->records; i++) {
        uint64_t at = first + i * (uint64_t)sizeof(stoa_flight_record);
        stoa_flight_record record = record_at(r, at);
        if (untouched(&record)) { continue; }
        if (stoa_flight_check(&record) != record.check || !record.seq || (record.seq - 1) % head->records != i) {
            r->summary->torn++;
            continue;
        }
        highest = record.seq > highest ? record.seq : highest;
        here++;
        if (r->query->one_core && record.core != r->query->core) { continue; }
        r->places[r->count++] = (place){record.time_ns, record.seq, at, lane, ring};
    }
    r->summary->records += here;
    r->summary->overwritten += highest > head->records ? highest - head->records : 0;
}

static int in_order(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->time_ns != y->time_ns) { return x->time_ns < y->time_ns ? -1 : 1; }
    if (x->lane != y->lane) { return x->lane < y->lane ? -1 : 1; }
    if (x->ring != y->ring) { return x->ring < y->ring ? -1 : 1; }
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* --- words for a record */

/* Copy up to cap bytes of what may have no NUL; out has room for one more. */
static void copy_text(char *out, const char *text, size_t cap)
{
    size_t size = strnlen(text, cap);
    memcpy(out, text, size);
    out[size] = '\0';
}

static void name_of(const reading *r, uint32_t lane, uint32_t number, char *out)
{
    stoa_flight_name name;
    out[0] = '\0';
    if (!number || number > r->head.names) { return; }
    memcpy(&name, r->bytes + r->head.lanes_at + lane * r->head.lane_bytes + (number - 1) * sizeof name, sizeof name);
    if (stoa_crc32c(0, name.text, sizeof name.text) == name.check) { copy_text(out, name.text, sizeof name.text); }
}

static void actor_of(const reading *r, uint32_t lane, uint64_t ref, char *out)
{
    stoa_flight_actor actor;
    out[0] = '\0';
    if (!ref) { return; }
    uint64_t first = r->head.lanes_at + lane * r->head.lane_bytes + r->head.names * (uint64_t)sizeof(stoa_flight_name);
    memcpy(&actor, r->bytes + first + stoa_flight_slot(ref, r->head.actors) * sizeof actor, sizeof actor);
    bool sound = stoa_crc32c(0, &actor, offsetof(stoa_flight_actor, check)) == actor.check;
    if (sound && actor.ref == ref) { copy_text(out, actor.text, sizeof actor.text); }
}

static void class_of(const reading *r, stoa_flight_event *event)
{
    for (uint32_t i = 0; i < r->head.classes; i++) {
        stoa_flight_class cls;
        memcpy(&cls, r->bytes + sizeof(stoa_flight_head) + i * sizeof cls, sizeof cls);
        if (cls.code != event->code) { continue; }
        copy_text(event->text, cls.text, sizeof cls.text);
        copy_text(event->name_label, cls.name, sizeof cls.name);
        copy_text(event->a_label, cls.a, sizeof cls.a);
        copy_text(event->b_label, cls.b, sizeof cls.b);
        return;
    }
    (void)snprintf(event->text, sizeof event->text, "class %" PRIu32, event->code % 1000000);
    (void)snprintf(event->name_label, sizeof event->name_label, "name");
    (void)snprintf(event->a_label, sizeof event->a_label, "a/hex");
    (void)snprintf(event->b_label, sizeof event->b_label, "b/hex");
}

static void tell(const reading *r, const place *p, stoa_flight_event *out)
{
    stoa_flight_record record = record_at(r, p->at);
    memset(out, 0, offsetof(stoa_flight_event, frames));
    out->time_ns = record.time_ns;
    out->seq = record.seq;
    out->actor = record.actor;
    out->a = record.a;
    out->b = record.b;
    out->code = record.code;
    out->core = record.core;
    out->skipped = record.skipped;
    class_of(r, out);
    actor_of(r, p->lane, record.actor, out->actor_name);
    name_of(r, p->lane, record.row, out->message);
    name_of(r, p->lane, record.name, out->name);
}

static bool is_frame(const reading *r, const place *p)
{
    return record_at(r, p->at).code == STOA_FLIGHT_FRAME;
}

/* The frames that follow the record at index i; returns the index behind them. */
static size_t take_frames(const reading *r, size_t i, stoa_flight_event *event)
{
    const place *head = &r->places[i];
    for (i++; i < r->count && r->places[i].lane == head->lane && is_frame(r, &r->places[i]); i++) {
        if (event->frame_count == STOA_FLIGHT_FRAMES_MAX) { continue; }
        stoa_flight_record record = record_at(r, r->places[i].at);
        stoa_flight_frame *frame = &event->frames[event->frame_count++];
        frame->address = record.a;
        frame->offset = record.b;
        name_of(r, head->lane, record.name, frame->in);
    }
    return i;
}

/* The first of the last so many; frames do not count. */
static size_t begin_of_last(const reading *r, uint64_t last)
{
    size_t i = r->count;
    while (i && last) {
        i--;
        if (!is_frame(r, &r->places[i])) { last--; }
    }
    return i;
}

stoa_err stoa_flight_read(const void *bytes, size_t size_bytes, const stoa_flight_query *query,
                          stoa_flight_summary *out, void (*visit)(void *context, const stoa_flight_event *event),
                          void *context)
{
    reading r = {.bytes = bytes, .query = query, .summary = out};
    stoa_err err = check_head(bytes, size_bytes, &r.head);
    if (err) { return err; }
    size_t all = (size_t)r.head.lanes * r.head.rings * r.head.records;
    r.places = malloc(all * sizeof *r.places);
    if (!r.places) { return STOA_FAIL(STOA_E_NOMEM, "%zu records", all); }
    *out = (stoa_flight_summary){.pid = r.head.pid, .opened_ns = r.head.opened_ns, .cores = r.head.lanes - 1};
    copy_text(out->build, r.head.build, sizeof r.head.build);
    copy_text(out->node, r.head.node, sizeof r.head.node);
    for (uint32_t lane = 0; lane < r.head.lanes; lane++) {
        for (uint32_t ring = 0; ring < r.head.rings; ring++) {
            collect_ring(&r, lane, ring);
        }
    }
    if (r.count) { qsort(r.places, r.count, sizeof *r.places, in_order); }
    size_t i = query->last ? begin_of_last(&r, query->last) : 0;
    while (i < r.count) {
        stoa_flight_event event;
        if (is_frame(&r, &r.places[i])) { /* its head made room for later ones */
            i++;
            continue;
        }
        tell(&r, &r.places[i], &event);
        i = take_frames(&r, i, &event);
        visit(context, &event);
    }
    free(r.places);
    return STOA_OK;
}
