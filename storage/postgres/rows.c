/* rows.c - the encodings of rows.h.
 *
 * numeric is i16 digits, i16 weight, u16 sign, u16 decimals, then digits to base 10,000, the first of which counts
 * 10,000^weight; zeros at either end are left out (src/backend/utils/adt/numeric.c, numeric_send).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/postgres/rows.h"

#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

enum {
    NUMERIC_BASE = 10000,
    NUMERIC_NEGATIVE = 0x4000,
    NUMERIC_DIGITS_MAX = 10, /* 10,000^10 > 2^128 */
    NUMERIC_HEADER_BYTES = 8,
    AMOUNT_PLACES = 8, /* two digits to base 10,000 */
    FIRST_BYTES = 4096,
};
#define POSTGRES_EPOCH_US (INT64_C(946684800) * 1000000) /* 2000-01-01 */

/* --- bytes */

static void store(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) { at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i))); }
}

static uint64_t fetch(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) { value = value << 8 | at[i]; }
    return value;
}

/* Room for more bytes, NULL and cut when there is none. */
static uint8_t *grow(stoa_pg_rows *rows, size_t bytes)
{
    size_t need = rows->used_bytes + bytes, have = rows->have_bytes ? rows->have_bytes : FIRST_BYTES;
    if (rows->cut || need > rows->cap_bytes) {
        rows->cut = true;
        return NULL;
    }
    if (need > rows->have_bytes) {
        while (have < need) { have *= 2; }
        if (have > rows->cap_bytes) { have = rows->cap_bytes; }
        uint8_t *at = realloc(rows->at, have);
        if (!at) {
            rows->cut = true;
            return NULL;
        }
        rows->at = at;
        rows->have_bytes = have;
    }
    uint8_t *place = rows->at + rows->used_bytes;
    rows->used_bytes = need;
    return place;
}

/* --- rows */

void stoa_pg_rows_init(stoa_pg_rows *rows, const stoa_pg_table *table, size_t cap_bytes)
{
    STOA_ASSERT(table->column_count <= STOA_PG_COLUMNS_MAX);
    *rows = (stoa_pg_rows){.table = table, .cap_bytes = cap_bytes};
}

void stoa_pg_rows_deinit(stoa_pg_rows *rows)
{
    free(rows->at);
    *rows = (stoa_pg_rows){0};
}

void stoa_pg_rows_clear(stoa_pg_rows *rows)
{
    rows->used_bytes = 0;
    rows->count = 0;
    rows->field = 0;
    rows->cut = false;
}

void stoa_pg_row_begin(stoa_pg_rows *rows)
{
    rows->field = 0;
    uint8_t *at = grow(rows, 2);
    if (at) { store(at, rows->table->column_count, 2); }
}

void stoa_pg_row_end(stoa_pg_rows *rows)
{
    STOA_ASSERT(rows->field == rows->table->column_count);
    rows->count++;
}

/* The next column's length, and room for its bytes. */
static uint8_t *field(stoa_pg_rows *rows, stoa_pg_class cls, size_t bytes)
{
    STOA_ASSERT(rows->field < rows->table->column_count && rows->table->columns[rows->field].cls == cls);
    rows->field++;
    uint8_t *at = grow(rows, 4 + bytes);
    if (!at) { return NULL; }
    store(at, bytes, 4);
    return at + 4;
}

void stoa_pg_put_null(stoa_pg_rows *rows)
{
    STOA_ASSERT(rows->field < rows->table->column_count);
    rows->field++;
    uint8_t *at = grow(rows, 4);
    if (at) { store(at, UINT32_MAX, 4); }
}

void stoa_pg_put_uuid(stoa_pg_rows *rows, stoa_pg_uuid value)
{
    uint8_t *at = field(rows, STOA_PG_UUID, 16);
    if (!at) { return; }
    store(at, value.high, 8);
    store(at + 8, value.low, 8);
}

void stoa_pg_put_text(stoa_pg_rows *rows, const char *bytes, size_t size_bytes)
{
    uint8_t *at = field(rows, STOA_PG_TEXT, size_bytes);
    if (at && size_bytes) { memcpy(at, bytes, size_bytes); }
}

void stoa_pg_put_textz(stoa_pg_rows *rows, const char *text)
{
    stoa_pg_put_text(rows, text, strlen(text));
}

/* Digits of magnitude, the last of which counts 10,000^lowest. */
static void put_numeric(stoa_pg_rows *rows, stoa_pg_class cls, wide magnitude, bool negative, int lowest, unsigned places)
{
    uint16_t digits[NUMERIC_DIGITS_MAX];
    int count = 0, weight = lowest - 1;
    while (magnitude && magnitude % NUMERIC_BASE == 0) {
        magnitude /= NUMERIC_BASE;
        lowest++;
    }
    for (weight = lowest - 1; magnitude; magnitude /= NUMERIC_BASE) {
        digits[count++] = (uint16_t)(magnitude % NUMERIC_BASE);
        weight++;
    }
    uint8_t *at = field(rows, cls, NUMERIC_HEADER_BYTES + 2 * (size_t)count);
    if (!at) { return; }
    store(at, (uint64_t)count, 2);
    store(at + 2, count ? (uint16_t)(int16_t)weight : 0, 2);
    store(at + 4, negative ? NUMERIC_NEGATIVE : 0, 2);
    store(at + 6, places, 2);
    for (int i = 0; i < count; i++) { store(at + NUMERIC_HEADER_BYTES + 2 * i, digits[count - 1 - i], 2); }
}

void stoa_pg_put_amount(stoa_pg_rows *rows, stoa_pg_amount value)
{
    wide magnitude = value < 0 ? -(wide)value : (wide)value;
    put_numeric(rows, STOA_PG_AMOUNT, magnitude, value < 0, -(AMOUNT_PLACES / 4), AMOUNT_PLACES);
}

void stoa_pg_put_big(stoa_pg_rows *rows, uint64_t value)
{
    put_numeric(rows, STOA_PG_BIG, value, false, 0, 0);
}

void stoa_pg_put_int(stoa_pg_rows *rows, int64_t value)
{
    STOA_ASSERT(rows->field < rows->table->column_count);
    stoa_pg_class cls = rows->table->columns[rows->field].cls;
    if (cls == STOA_PG_INT4) {
        STOA_ASSERT(value == (int32_t)value);
        uint8_t *at = field(rows, STOA_PG_INT4, 4);
        if (at) { store(at, (uint32_t)(int32_t)value, 4); }
        return;
    }
    uint8_t *at = field(rows, STOA_PG_INT, 8);
    if (at) { store(at, (uint64_t)value, 8); }
}

void stoa_pg_put_bool(stoa_pg_rows *rows, bool value)
{
    uint8_t *at = field(rows, STOA_PG_BOOL, 1);
    if (at) { *at = value; }
}

void stoa_pg_put_time(stoa_pg_rows *rows, uint64_t wall_ns)
{
    uint8_t *at = field(rows, STOA_PG_TIME, 8);
    if (at) { store(at, (uint64_t)((int64_t)(wall_ns / 1000) - POSTGRES_EPOCH_US), 8); }
}

uint32_t stoa_pg_tuple(const uint8_t **at, stoa_pg_value *values)
{
    uint32_t count = (uint32_t)fetch(*at, 2);
    *at += 2;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = (uint32_t)fetch(*at, 4);
        *at += 4;
        bool null = size == UINT32_MAX;
        values[i] = (stoa_pg_value){.bytes = null ? NULL : *at, .size_bytes = null ? 0 : size};
        if (!null) { *at += size; }
    }
    return count;
}

/* --- values */

static stoa_err broken(const char *what)
{
    return STOA_FAIL(STOA_E_CORRUPT, "a column that should be %s is not", what);
}

stoa_err stoa_pg_read_uuid(const stoa_pg_value *value, stoa_pg_uuid *out)
{
    if (!value->bytes || value->size_bytes != 16) { return broken("uuid"); }
    *out = (stoa_pg_uuid){fetch(value->bytes, 8), fetch(value->bytes + 8, 8)};
    return STOA_OK;
}

stoa_err stoa_pg_read_text(const stoa_pg_value *value, char *text, size_t cap)
{
    if (!value->bytes) { return broken("text"); }
    if (value->size_bytes >= cap) { return STOA_FAIL(STOA_E_RANGE, "a text of %u bytes", value->size_bytes); }
    memcpy(text, value->bytes, value->size_bytes);
    text[value->size_bytes] = '\0';
    return STOA_OK;
}

/* All digits down to 10,000^lowest; below that there may only be zeros. */
static stoa_err read_numeric(const stoa_pg_value *value, int lowest, bool *negative_out, wide *out)
{
    if (!value->bytes || value->size_bytes < NUMERIC_HEADER_BYTES) { return broken("numeric"); }
    int count = (int16_t)fetch(value->bytes, 2), weight = (int16_t)fetch(value->bytes + 2, 2);
    uint16_t sign = (uint16_t)fetch(value->bytes + 4, 2);
    bool shaped = count >= 0 && value->size_bytes == NUMERIC_HEADER_BYTES + 2 * (uint32_t)count;
    if (!shaped || (sign && sign != NUMERIC_NEGATIVE)) { return broken("numeric"); }
    wide sum = 0;
    for (int i = 0; i < count || weight - i >= lowest; i++) {
        uint64_t digit = i < count ? fetch(value->bytes + NUMERIC_HEADER_BYTES + 2 * i, 2) : 0;
        if (weight - i < lowest) {
            if (digit) { return STOA_FAIL(STOA_E_RANGE, "a number with more decimals than we write"); }
            continue;
        }
        if (count && (__builtin_mul_overflow(sum, (wide)NUMERIC_BASE, &sum) || __builtin_add_overflow(sum, (wide)digit, &sum))) {
            return STOA_FAIL(STOA_E_RANGE, "a number beyond 128 bits");
        }
    }
    *negative_out = sign == NUMERIC_NEGATIVE;
    *out = sum;
    return STOA_OK;
}

stoa_err stoa_pg_read_amount(const stoa_pg_value *value, stoa_pg_amount *out)
{
    wide magnitude;
    bool negative;
    stoa_err err = read_numeric(value, -(AMOUNT_PLACES / 4), &negative, &magnitude);
    if (err) { return err; }
    if (magnitude >> 127) { return STOA_FAIL(STOA_E_RANGE, "a number beyond 127 bits"); }
    *out = negative ? -(stoa_pg_amount)magnitude : (stoa_pg_amount)magnitude;
    return STOA_OK;
}

stoa_err stoa_pg_read_big(const stoa_pg_value *value, uint64_t *out)
{
    wide magnitude;
    bool negative;
    stoa_err err = read_numeric(value, 0, &negative, &magnitude);
    if (err) { return err; }
    if (negative || magnitude >> 64) { return STOA_FAIL(STOA_E_RANGE, "a number beyond 64 bits"); }
    *out = (uint64_t)magnitude;
    return STOA_OK;
}

stoa_err stoa_pg_read_int(const stoa_pg_value *value, int64_t *out)
{
    if (!value->bytes) { return broken("a whole number"); }
    uint64_t raw = value->size_bytes <= 8 ? fetch(value->bytes, value->size_bytes) : 0;
    switch (value->size_bytes) {
    case 2: *out = (int16_t)raw; return STOA_OK;
    case 4: *out = (int32_t)raw; return STOA_OK;
    case 8: *out = (int64_t)raw; return STOA_OK;
    default: return broken("a whole number");
    }
}

stoa_err stoa_pg_read_bool(const stoa_pg_value *value, bool *out)
{
    if (!value->bytes || value->size_bytes != 1) { return broken("boolean"); }
    *out = value->bytes[0] != 0;
    return STOA_OK;
}

stoa_err stoa_pg_read_time(const stoa_pg_value *value, uint64_t *wall_ns_out)
{
    int64_t us;
    if (!value->bytes || value->size_bytes != 8) { return broken("a time"); }
    us = (int64_t)fetch(value->bytes, 8);
    if (us < -POSTGRES_EPOCH_US || us > INT64_MAX / 1000 - POSTGRES_EPOCH_US) {
        return STOA_FAIL(STOA_E_RANGE, "a time outside of 1970 to 2262");
    }
    *wall_ns_out = (uint64_t)(us + POSTGRES_EPOCH_US) * 1000;
    return STOA_OK;
}
