/* isolate/describe.h - a kind as data: what a child tells of the kind in its library, so that a node that was built without its table
 * can have it. Internal to runtime/.
 *
 * The child fills it in (host/describe.c), encodes it as any payload, and cuts it into DESCRIPTION frames; the node decodes it, and
 * believes none of it: build.c holds it to what the macros of base/table.h hold theirs to.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_DESCRIBE_H
#define STOA_RUNTIME_ISOLATE_DESCRIBE_H

#include "base/table.h"

enum {
    STOA_DESCRIBED_TYPES = 256,
    STOA_DESCRIBED_FIELDS = 1024,
    STOA_DESCRIBED_VALUES = 256,
    STOA_DESCRIBED_ROWS = 128,
    STOA_DESCRIBED_HEARS = 64,
    STOA_DESCRIBED_BYTES = 256 << 10, /* of one, encoded */
};

/* A type names only types before it. first, count: RECORD, of fields; ENUM, of values; LIST, first is the element's type. */
#define stoa_described_type_FIELDS(F, S)                                                                               \
    F(S, stoa_text62, name)                                                                                            \
    F(S, uint32_t, cls) F(S, uint32_t, size_bytes) F(S, uint32_t, limit) F(S, uint32_t, first) F(S, uint32_t, count)    \
    F(S, uint32_t, indexed)
#define stoa_described_field_FIELDS(F, S) F(S, stoa_text62, name) F(S, uint32_t, type) F(S, uint32_t, offset)
#define stoa_described_value_FIELDS(F, S) F(S, stoa_text62, name)
/* From 1 on, as their numbers are; reply: a row's number, or 0. */
#define stoa_described_row_FIELDS(F, S)                                                                                \
    F(S, stoa_text62, name) F(S, stoa_text254, doc) F(S, uint32_t, cls) F(S, uint32_t, reply) F(S, uint32_t, type)      \
    F(S, uint32_t, reserved)
#define stoa_described_hear_FIELDS(F, S) F(S, stoa_text62, table) F(S, stoa_text62, name) F(S, uint32_t, row) F(S, uint32_t, cls)
STOA_RECORD(stoa_described_type)
STOA_RECORD(stoa_described_field)
STOA_RECORD(stoa_described_value)
STOA_RECORD(stoa_described_row)
STOA_RECORD(stoa_described_hear)
STOA_LIST(stoa_described_types, stoa_described_type, STOA_DESCRIBED_TYPES)
STOA_LIST(stoa_described_fields, stoa_described_field, STOA_DESCRIBED_FIELDS)
STOA_LIST(stoa_described_values, stoa_described_value, STOA_DESCRIBED_VALUES)
STOA_LIST(stoa_described_rows, stoa_described_row, STOA_DESCRIBED_ROWS)
STOA_LIST(stoa_described_hears, stoa_described_hear, STOA_DESCRIBED_HEARS)
#define stoa_description_FIELDS(F, S)                                                                                  \
    F(S, stoa_text62, kind)                                                                                            \
    F(S, uint32_t, mailbox_limit) F(S, uint32_t, when_full) F(S, uint32_t, args_bytes) F(S, uint32_t, trap_exits)       \
    F(S, stoa_described_types, types) F(S, stoa_described_fields, fields) F(S, stoa_described_values, values)           \
    F(S, stoa_described_rows, rows) F(S, stoa_described_hears, hears)
STOA_RECORD(stoa_description)

#endif
