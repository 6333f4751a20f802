/* read.c - see read.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/plugin/read.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"

const stoa_row *stoa_message_named(const stoa_table *table, const char *name, size_t name_bytes)
{
    for (uint32_t id = 1; id <= table->row_count; id++) {
        const stoa_row *row = &table->rows[id];
        bool taken = row->cls == STOA_ROW_COMMAND || row->cls == STOA_ROW_CAST || row->cls == STOA_ROW_CONTROL;
        if (taken && strlen(row->name) == name_bytes && memcmp(row->name, name, name_bytes) == 0) { return row; }
    }
    return NULL;
}

static stoa_err put_uint(const stoa_type *type, stoa_json value, void *out)
{
    uint64_t number;
    uint64_t most = UINT64_MAX >> (64 - 8 * type->size_bytes);
    stoa_err err = stoa_json_uint(value, &number);
    if (!err && number > most) { err = STOA_E_RANGE; }
    if (err) { return STOA_FAIL(err, "a whole number from 0 to %" PRIu64, most); }
    memcpy(out, &number, type->size_bytes); /* little-endian, as the machine is */
    return STOA_OK;
}

static stoa_err put_int(const stoa_type *type, stoa_json value, void *out)
{
    int64_t number;
    int64_t most = type->size_bytes == 4 ? INT32_MAX : INT64_MAX;
    stoa_err err = stoa_json_int(value, &number);
    if (!err && (number < -most - 1 || number > most)) { err = STOA_E_RANGE; }
    if (err) { return STOA_FAIL(err, "a whole number from %" PRId64 " to %" PRId64, -most - 1, most); }
    memcpy(out, &number, type->size_bytes);
    return STOA_OK;
}

static stoa_err put_enum(const stoa_type *type, stoa_json value, void *out)
{
    const char *text = "";
    size_t bytes = 0;
    char values[192];
    stoa_buf all = STOA_BUF_FIXED(values);
    stoa_err err = stoa_json_text(value, &text, &bytes);
    for (uint32_t i = 0; i < type->limit && !err; i++) {
        if (strlen(type->values[i]) != bytes || memcmp(type->values[i], text, bytes) != 0) { continue; }
        *(uint8_t *)out = (uint8_t)i;
        return STOA_OK;
    }
    for (uint32_t i = 0; i < type->limit; i++) { stoa_buf_printf(&all, "%s\"%s\"", i ? ", " : "", type->values[i]); }
    return STOA_FAIL(STOA_E_INVALID, "one of %s", values);
}

static stoa_err put_decimal(const stoa_type *type, stoa_json value, void *out)
{
    (void)type;
    stoa_err err = stoa_json_decimal(value, out);
    return err ? STOA_FAIL(err, "a decimal in quotes, of at most 11 digits and 8 decimals") : STOA_OK;
}

static stoa_err put_text(const stoa_type *type, stoa_json value, void *out)
{
    const char *text;
    size_t bytes;
    stoa_err err = stoa_json_text(value, &text, &bytes);
    if (!err && bytes > type->limit) { err = STOA_E_TOO_LARGE; }
    if (err) { return STOA_FAIL(err, "a text of at most %u bytes", type->limit); }
    uint16_t length = (uint16_t)bytes;
    memcpy(out, &length, sizeof length);
    memcpy((uint8_t *)out + sizeof length, text, bytes);
    return STOA_OK;
}

static stoa_err put_list(const stoa_type *type, stoa_json value, void *out)
{
    stoa_json_iter it;
    uint32_t count = 0;
    uint8_t *at = (uint8_t *)out + sizeof(stoa_list_head);
    stoa_err err = stoa_json_first(value, &it);
    for (; !err && it.more; stoa_json_next(&it), at += type->element->size_bytes) {
        if (count++ == type->limit) { return STOA_FAIL(STOA_E_TOO_LARGE, "at most %u elements", type->limit); }
        err = stoa_payload_from_json(type->element, it.value, at);
    }
    memcpy(out, &count, sizeof count);
    return err;
}

static stoa_err put_record(const stoa_type *type, stoa_json value, void *out)
{
    stoa_json_members it;
    stoa_err err = stoa_json_first_member(value, &it);
    for (; !err && it.more; stoa_json_next_member(&it)) {
        uint32_t at = 0;
        while (at < type->field_count && strcmp(type->fields[at].name, it.key) != 0) { at++; }
        if (at == type->field_count) { return STOA_FAIL(STOA_E_INVALID, "%s has no field '%s'", type->name, it.key); }
        err = stoa_payload_from_json(type->fields[at].type, it.value, (uint8_t *)out + type->fields[at].offset);
        if (err) { err = STOA_PASS(err, "%s.%s", type->name, it.key); }
    }
    return err;
}

stoa_err stoa_payload_from_json(const stoa_type *type, stoa_json value, void *out)
{
    static stoa_err (*const put[])(const stoa_type *type, stoa_json value, void *out) = {
        [STOA_CLASS_UINT] = put_uint, [STOA_CLASS_INT] = put_int,   [STOA_CLASS_ENUM] = put_enum,    [STOA_CLASS_DECIMAL] = put_decimal,
        [STOA_CLASS_TEXT] = put_text, [STOA_CLASS_LIST] = put_list, [STOA_CLASS_RECORD] = put_record};
    bool can = (size_t)type->cls < sizeof put / sizeof put[0] && put[type->cls];
    return can ? put[type->cls](type, value, out) : STOA_FAIL(STOA_E_INVALID, "%s cannot be given as JSON", type->name);
}

stoa_err stoa_args_from_json(const stoa_table *table, const char *json, uint32_t size_bytes, void *out)
{
    stoa_json_parser *parser = NULL;
    stoa_json value;
    uint32_t id = 1;
    while (id <= table->row_count && strcmp(table->rows[id].name, "args") != 0) { id++; }
    bool fits = id <= table->row_count && table->rows[id].payload.size_bytes == size_bytes;
    if (!size_bytes) { return STOA_FAIL(STOA_E_NOT_FOUND, "args: the kind %s takes none", table->name); }
    if (!fits) { return STOA_FAIL(STOA_E_NOT_FOUND, "args: the table of %s has no row args of %u bytes", table->name, size_bytes); }
    memset(out, 0, size_bytes);
    stoa_err err = stoa_json_parser_new(strlen(json) + 1, &parser);
    if (!err) { err = stoa_json_parse(parser, json, strlen(json), &value); }
    if (!err) { err = stoa_payload_from_json(&table->rows[id].payload, value, out); }
    stoa_json_parser_free(parser);
    return err ? STOA_PASS(err, "args") : STOA_OK;
}
