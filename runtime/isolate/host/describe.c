/* host/describe.c - the kind of the library as data (isolate/describe.h).
 *
 * Where it does not fit, or has no place for a name, it is refused: the turn fails, and says so.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/wire.h"
#include "runtime/isolate/describe.h"
#include "runtime/isolate/host/host.h"

#define host (&stoa_the_host)

typedef struct telling {
    stoa_description *to;
    const stoa_type *types[STOA_DESCRIBED_TYPES]; /* whose number is their place */
    bool cut;
} telling;

/* As many of a list as there are, and one more; NULL: it is full. */
#define NEXT(list, most) ((list)->count < (most) ? &(list)->at[(list)->count++] : NULL)

static void put_text(telling *t, stoa_text62 *to, const char *text)
{
    if (STOA_TEXT_SETZ(to, text)) { t->cut = true; }
}

static uint32_t put_type(telling *t, const stoa_type *type);

static uint32_t put_values(telling *t, const stoa_type *type)
{
    uint32_t first = t->to->values.count;
    for (uint32_t i = 0; i < type->limit && !t->cut; i++) {
        stoa_described_value *value = NEXT(&t->to->values, STOA_DESCRIBED_VALUES);
        t->cut = !value;
        if (value) { put_text(t, &value->name, type->values[i]); }
    }
    return first;
}

/* The fields' types come first: the fields of a record stand together. */
static uint32_t put_fields(telling *t, const stoa_type *type)
{
    uint32_t first;
    for (uint32_t i = 0; i < type->field_count && !t->cut; i++) { (void)put_type(t, type->fields[i].type); }
    first = t->to->fields.count;
    for (uint32_t i = 0; i < type->field_count && !t->cut; i++) {
        stoa_described_field *field = NEXT(&t->to->fields, STOA_DESCRIBED_FIELDS);
        t->cut = !field;
        if (!field) { break; }
        put_text(t, &field->name, type->fields[i].name);
        field->type = put_type(t, type->fields[i].type);
        field->offset = type->fields[i].offset;
    }
    return first;
}

static uint32_t put_type(telling *t, const stoa_type *type)
{
    uint32_t at = 0;
    while (at < t->to->types.count && t->types[at] != type) { at++; }
    if (at < t->to->types.count || t->cut) { return at; }
    stoa_described_type told = {.cls = type->cls, .size_bytes = type->size_bytes, .limit = type->limit, .indexed = type->indexed};
    put_text(t, &told.name, type->name);
    if (type->cls == STOA_CLASS_LIST) { told.first = put_type(t, type->element); }
    if (type->cls == STOA_CLASS_ENUM) { told.first = put_values(t, type); }
    if (type->cls == STOA_CLASS_RECORD) { told.first = put_fields(t, type); }
    told.count = type->cls == STOA_CLASS_ENUM ? type->limit : type->cls == STOA_CLASS_RECORD ? type->field_count : 0;
    at = t->to->types.count;
    stoa_described_type *place = NEXT(&t->to->types, STOA_DESCRIBED_TYPES);
    t->cut = t->cut || !place;
    if (!place) { return 0; }
    *place = told;
    t->types[at] = type;
    return at;
}

static void put_row(telling *t, const stoa_row *row)
{
    stoa_described_row *told = NEXT(&t->to->rows, STOA_DESCRIBED_ROWS);
    t->cut = t->cut || !told;
    if (!told) { return; }
    put_text(t, &told->name, row->name);
    if (STOA_TEXT_SETZ(&told->doc, row->doc)) { t->cut = true; }
    told->cls = row->cls;
    told->reply = row->reply ? row->reply->id : 0;
    told->type = put_type(t, &row->payload);
}

static void put_hear(telling *t, const stoa_row *row)
{
    stoa_described_hear *told = NEXT(&t->to->hears, STOA_DESCRIBED_HEARS);
    t->cut = t->cut || !told;
    if (!told) { return; }
    put_text(t, &told->table, row->kind);
    put_text(t, &told->name, row->name);
    told->row = row->id;
    told->cls = row->cls;
}

static bool fill(stoa_description *to, const stoa_kind *kind)
{
    telling t = {.to = to};
    put_text(&t, &to->kind, kind->name);
    to->mailbox_limit = kind->mailbox_limit;
    to->when_full = kind->when_full;
    to->args_bytes = (uint32_t)kind->args_bytes;
    to->trap_exits = kind->trap_exits;
    for (uint32_t id = 1; id <= kind->table->row_count; id++) { put_row(&t, &kind->table->rows[id]); }
    for (const stoa_hear *hear = kind->hears; hear->row; hear++) { put_hear(&t, hear->row); }
    return !t.cut;
}

static void write_pieces(const stoa_isolate_head *head, const uint8_t *bytes, size_t size_bytes)
{
    uint8_t frame[sizeof *head + STOA_ISOLATE_PAYLOAD_MAX];
    for (size_t at = 0, piece; at < size_bytes; at += piece) {
        stoa_isolate_head told = {.word = STOA_ISOLATE_DESCRIPTION, .turn = head->turn};
        piece = size_bytes - at < STOA_ISOLATE_PAYLOAD_MAX ? size_bytes - at : STOA_ISOLATE_PAYLOAD_MAX;
        memcpy(frame, &told, sizeof told);
        memcpy(frame + sizeof told, bytes + at, piece);
        stoa_host_write(frame, (uint32_t)(sizeof told + piece));
    }
}

void stoa_host_describe(const stoa_isolate_head *head)
{
    stoa_description *description = calloc(1, sizeof *description);
    stoa_writer w = {.at = malloc(STOA_DESCRIBED_BYTES), .cap_bytes = STOA_DESCRIBED_BYTES};
    if (!fill(description, host->kind) || stoa_encode(STOA_TYPE(stoa_description), description, &w)) {
        host->failed = "its table is too large to be described";
    } else {
        write_pieces(head, w.at, w.used_bytes);
    }
    free(w.at);
    free(description);
}
