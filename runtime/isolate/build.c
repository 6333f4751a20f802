/* isolate/build.c - see build.h. What the codecs and the runtime take for granted of a table is checked here, each number before it is
 * used: types name earlier ones only, so there are no circles; a record's fields lie one behind the other and fill it; sizes are those
 * that the macros of base/table.h give; rows have a reply where they are commands.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_BYTES = 64,
    KIND_NAME_MAX = 30,
    DEPTH_MAX = 8,
    SIZE_MAX_BYTES = 64 << 10, /* of a payload: what a proxy takes */
    MAILBOX_MAX = 65536,
    OWN_HEARS = 6, /* the proxy's, and the end */
};

struct stoa_plugged {
    stoa_kind kind;
    stoa_table table;
    uint32_t args_bytes;
    uint32_t depth[STOA_DESCRIBED_TYPES];
    stoa_type types[STOA_DESCRIBED_TYPES];
    stoa_field fields[STOA_DESCRIBED_FIELDS];
    const char *values[STOA_DESCRIBED_VALUES];
    stoa_row rows[STOA_DESCRIBED_ROWS + 1];
    stoa_handler handlers[STOA_DESCRIBED_ROWS + 1];
    stoa_hear hears[STOA_DESCRIBED_HEARS + OWN_HEARS];
    char name[NAME_BYTES];
    char type_names[STOA_DESCRIBED_TYPES][NAME_BYTES], field_names[STOA_DESCRIBED_FIELDS][NAME_BYTES];
    char value_names[STOA_DESCRIBED_VALUES][NAME_BYTES], row_names[STOA_DESCRIBED_ROWS + 1][NAME_BYTES];
    char payload_names[STOA_DESCRIBED_ROWS + 1][2 * NAME_BYTES], docs[STOA_DESCRIBED_ROWS + 1][256];
};

#define WRONG(...) STOA_FAIL(STOA_E_MALFORMED, __VA_ARGS__)

/* --- names */

/* A name as C has it, of at most `most` bytes; '.' where dots is set. */
static stoa_err copy_name(const stoa_text62 *from, size_t most, bool dots, char to[NAME_BYTES])
{
    bool good = from->len > 0 && from->len <= most;
    for (uint16_t i = 0; i < from->len && good; i++) {
        char c = from->at[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9' && i) || (c == '.' && dots);
    }
    if (!good) { return WRONG("a name that is none: '%.*s'", STOA_TEXT_ARGS(from)); }
    memcpy(to, from->at, from->len);
    return STOA_OK;
}

/* What is shown to people. */
static void copy_shown(const char *at, size_t bytes, char *to)
{
    for (size_t i = 0; i < bytes; i++) { to[i] = (unsigned char)at[i] < ' ' || at[i] == 0x7f ? '?' : at[i]; }
}

/* --- types */

typedef struct making {
    const stoa_description *from;
    stoa_plugged *to;
    uint32_t at; /* the type that is made */
} making;

static bool fits_number(const making *m, const stoa_described_type *from)
{
    (void)m;
    static const uint8_t sizes[][9] = {
        [STOA_CLASS_NONE] = {[8] = 1}, [STOA_CLASS_UINT] = {[1] = 1, [2] = 1, [4] = 1, [8] = 1}, [STOA_CLASS_INT] = {[4] = 1, [8] = 1}, [STOA_CLASS_DECIMAL] = {[8] = 1}};
    return from->size_bytes <= 8 && sizes[from->cls][from->size_bytes];
}

static bool fits_enum(const making *m, const stoa_described_type *from)
{
    const stoa_described_values *values = &m->from->values;
    bool fits = from->size_bytes == 1 && from->limit >= 1 && from->limit <= 255 && from->count == from->limit;
    return fits && from->first <= values->count && from->count <= values->count - from->first;
}

static bool fits_text(const making *m, const stoa_described_type *from)
{
#define SIZE_(N) || from->limit == (N)
    (void)m;
    return from->size_bytes == from->limit + 2 && (false STOA_TEXT_SIZES(SIZE_));
#undef SIZE_
}

static bool fits_bytes(const making *m, const stoa_described_type *from)
{
    (void)m;
    return from->limit && from->limit % 8 == 0 && from->limit <= SIZE_MAX_BYTES && from->size_bytes == 8 + from->limit;
}

static bool fits_list(const making *m, const stoa_described_type *from)
{
    if (from->first >= m->at || !from->limit) { return false; }
    const stoa_type *element = &m->to->types[from->first];
    bool fits = element->cls != STOA_CLASS_NONE && from->size_bytes == 8 + (uint64_t)element->size_bytes * from->limit;
    m->to->depth[m->at] = m->to->depth[from->first] + 1;
    return fits;
}

/* One behind the other, and they fill it; each where the machine wants it. */
static bool fits_record(const making *m, const stoa_described_type *from)
{
    const stoa_described_fields *fields = &m->from->fields;
    uint64_t at = 0;
    if (!from->count || from->first > fields->count || from->count > fields->count - from->first) { return false; }
    for (uint32_t i = from->first; i < from->first + from->count; i++) {
        const stoa_described_field *field = &fields->at[i];
        if (field->type >= m->at || field->offset != at) { return false; }
        at += m->to->types[field->type].size_bytes;
        uint32_t depth = m->to->depth[field->type] + 1;
        if (depth > m->to->depth[m->at]) { m->to->depth[m->at] = depth; }
    }
    return at == from->size_bytes;
}

static const struct {
    const char *name;
    bool (*fits)(const making *m, const stoa_described_type *from);
} classes[] = {[STOA_CLASS_NONE] = {"none", fits_number},     [STOA_CLASS_UINT] = {"uint", fits_number}, [STOA_CLASS_INT] = {"int", fits_number},
               [STOA_CLASS_ENUM] = {"enum", fits_enum},       [STOA_CLASS_DECIMAL] = {"decimal", fits_number},
               [STOA_CLASS_TEXT] = {"text", fits_text},       [STOA_CLASS_LIST] = {"list", fits_list},
               [STOA_CLASS_RECORD] = {"record", fits_record}, [STOA_CLASS_BYTES] = {"bytes", fits_bytes}};

static stoa_err make_type(const making *m)
{
    const stoa_described_type *from = &m->from->types.at[m->at];
    stoa_type *to = &m->to->types[m->at];
    stoa_err err = copy_name(&from->name, sizeof from->name.at, true, m->to->type_names[m->at]);
    if (err) { return err; }
    bool fits = from->cls < STOA_COUNT_OF_(classes) && from->size_bytes && from->size_bytes <= SIZE_MAX_BYTES && from->indexed <= 1 &&
                classes[from->cls].fits(m, from) && m->to->depth[m->at] <= DEPTH_MAX;
    if (!fits) { return WRONG("type %s is none that a table has", m->to->type_names[m->at]); }
    bool index = from->indexed && from->cls == STOA_CLASS_UINT && from->size_bytes == 8;
    *to = (stoa_type){
        .name = m->to->type_names[m->at], .cls = from->cls, .size_bytes = from->size_bytes, .limit = from->limit, .indexed = index};
    if (from->cls == STOA_CLASS_LIST) { to->element = &m->to->types[from->first]; }
    if (from->cls == STOA_CLASS_ENUM) { to->values = &m->to->values[from->first]; }
    if (from->cls == STOA_CLASS_RECORD) {
        to->fields = &m->to->fields[from->first];
        to->field_count = from->count;
    }
    return STOA_OK;
}

static stoa_err make_types(const stoa_description *from, stoa_plugged *to)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < from->values.count; i++) {
        const stoa_text62 *name = &from->values.at[i].name;
        copy_shown(name->at, name->len, to->value_names[i]);
        to->values[i] = to->value_names[i];
    }
    for (uint32_t i = 0; i < from->fields.count && !err; i++) {
        const stoa_described_field *field = &from->fields.at[i];
        err = copy_name(&field->name, sizeof field->name.at, false, to->field_names[i]);
        if (!err && field->type >= from->types.count) { err = WRONG("field %s has no type", to->field_names[i]); }
        to->fields[i] = (stoa_field){.name = to->field_names[i], .type = &to->types[err ? 0 : field->type], .offset = field->offset};
    }
    for (uint32_t i = 0; i < from->types.count && !err; i++) { err = make_type(&(making){.from = from, .to = to, .at = i}); }
    return err;
}

/* --- rows */

static stoa_err make_row(const stoa_description *from, uint32_t id, stoa_plugged *to)
{
    const stoa_described_row *told = &from->rows.at[id - 1];
    stoa_err err = copy_name(&told->name, sizeof told->name.at, false, to->row_names[id]);
    if (err) { return err; }
    const char *name = to->row_names[id];
    bool command = told->cls == STOA_ROW_COMMAND;
    if (told->cls > STOA_ROW_CONTROL || told->cls == STOA_ROW_EVENT) { return WRONG("row %s is of no class that a plain kind has", name); }
    if (told->type >= from->types.count || to->types[told->type].cls != STOA_CLASS_RECORD) { return WRONG("row %s has no payload", name); }
    if (command != (told->reply != 0) || told->reply > from->rows.count) { return WRONG("row %s: its reply", name); }
    if (command && from->rows.at[told->reply - 1].cls != STOA_ROW_REPLY) { return WRONG("row %s: its reply is none", name); }
    (void)snprintf(to->payload_names[id], sizeof to->payload_names[id], "%s.%.*s", to->name, (int)told->name.len,
                   told->name.at);
    copy_shown(told->doc.at, told->doc.len, to->docs[id]);
    to->rows[id] = (stoa_row){.kind = to->name,
                              .name = name,
                              .doc = to->docs[id],
                              .reply = command ? &to->rows[told->reply] : NULL,
                              .cls = told->cls,
                              .id = id,
                              .payload = to->types[told->type]};
    to->rows[id].payload.name = to->payload_names[id];
    if (command || told->cls == STOA_ROW_CAST || told->cls == STOA_ROW_CONTROL) { to->handlers[id] = stoa_isolate_pass; }
    return STOA_OK;
}

static const stoa_table *table_named(const stoa_plugged *to, const stoa_table *const *tables, const char *name)
{
    if (strcmp(name, to->name) == 0) { return &to->table; }
    if (strcmp(name, stoa_system_table.name) == 0) { return &stoa_system_table; }
    for (; tables && *tables; tables++) {
        if (strcmp(name, (*tables)->name) == 0) { return *tables; }
    }
    return NULL;
}

static stoa_err make_hear(const stoa_description *from, uint32_t at, const stoa_table *const *tables, stoa_plugged *to)
{
    const stoa_described_hear *told = &from->hears.at[at];
    char table[NAME_BYTES] = "", name[NAME_BYTES] = "";
    stoa_err err = copy_name(&told->table, KIND_NAME_MAX, false, table);
    if (!err) { err = copy_name(&told->name, sizeof told->name.at, false, name); }
    if (err) { return err; }
    const stoa_table *known = table_named(to, tables, table);
    if (!known) { return STOA_FAIL(STOA_E_NOT_FOUND, "kind %s hears %s.%s: there is no table %s here", to->name, table, name, table); }
    bool same = told->row >= 1 && told->row <= known->row_count && strcmp(known->rows[told->row].name, name) == 0 && known->rows[told->row].cls == told->cls;
    if (!same) { return STOA_FAIL(STOA_E_NOT_FOUND, "kind %s hears %s.%s, which is another row here", to->name, table, name); }
    if (known->rows[told->row].payload.size_bytes > SIZE_MAX_BYTES || told->cls == STOA_ROW_EVENT) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "kind %s hears %s.%s, which no isolate can", to->name, table, name);
    }
    to->hears[OWN_HEARS - 1 + at] = (stoa_hear){&known->rows[told->row], stoa_isolate_pass};
    return STOA_OK;
}

/* --- the kind */

static stoa_err make_kind(const stoa_description *from, const stoa_table *const *tables, stoa_plugged *to)
{
    static const stoa_hear own[] = {STOA_ISOLATE_HEARS_{NULL, NULL}};
    _Static_assert(sizeof own / sizeof own[0] == OWN_HEARS, "the proxy's own, and the end");
    memcpy(to->hears, own, sizeof own);
    stoa_err err = copy_name(&from->kind, KIND_NAME_MAX, false, to->name);
    if (err) { return err; }
    if (table_named(&(stoa_plugged){0}, tables, to->name)) { return STOA_FAIL(STOA_E_EXISTS, "there is a kind %s here", to->name); }
    bool sane = from->mailbox_limit <= MAILBOX_MAX && from->when_full <= STOA_FULL_DROP_NEWEST && from->trap_exits <= 1;
    if (!sane || from->args_bytes > STOA_ISOLATE_ARGS_MAX) { return WRONG("kind %s: its limits", to->name); }
    to->table = (stoa_table){.name = to->name, .rows = to->rows, .row_count = from->rows.count};
    to->rows[0] = (stoa_row){.kind = to->name, .name = ""};
    to->args_bytes = from->args_bytes;
    to->kind = (stoa_kind){.name = to->name,
                           .rows = to->rows,
                           .rows_bytes = sizeof(stoa_row) * (from->rows.count + 1),
                           .table = &to->table,
                           .handlers = to->handlers,
                           .hears = to->hears,
                           .state_bytes = STOA_ISOLATE_STATE_BYTES,
                           .mailbox_limit = from->mailbox_limit,
                           .when_full = (stoa_full)from->when_full,
                           .trap_exits = from->trap_exits,
                           .start = stoa_isolate_start,
                           .args_bytes = sizeof(stoa_isolate),
                           .stop = stoa_isolate_stop,
                           .inspect = stoa_isolate_inspect};
    err = make_types(from, to);
    for (uint32_t id = 1; id <= from->rows.count && !err; id++) { err = make_row(from, id, to); }
    for (uint32_t i = 0; i < from->hears.count && !err; i++) { err = make_hear(from, i, tables, to); }
    return err;
}

stoa_err stoa_plugged_build(const stoa_description *description, const stoa_table *const *tables, stoa_plugged **out)
{
    stoa_plugged *plugged = calloc(1, sizeof *plugged);
    if (!plugged) { return STOA_FAIL(STOA_E_NOMEM, "a kind"); }
    stoa_err err = make_kind(description, tables, plugged);
    if (err) {
        free(plugged);
        return err;
    }
    *out = plugged;
    return STOA_OK;
}

const stoa_kind *stoa_plugged_kind(const stoa_plugged *plugged)
{
    return &plugged->kind;
}

uint32_t stoa_plugged_args_bytes(const stoa_plugged *plugged)
{
    return plugged->args_bytes;
}

void stoa_plugged_close(stoa_plugged *plugged)
{
    free(plugged);
}
