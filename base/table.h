/* table.h - one table per kind describes its payloads once; struct, codec, checks, printing and docs come from it.
 *
 *     #define greeter_hello_FIELDS(F, S)   F(S, stoa_text30, name)
 *     #define greeter_welcome_FIELDS(F, S) F(S, uint64_t, visitor)
 *     #define greeter_greeted_FIELDS(F, S) F(S, stoa_text30, name)
 *     #define greeter_ROWS(ROW, K)                                                           \
 *         ROW(K, COMMAND, hello, welcome, "Greet a visitor; answers the visitor's number.")  \
 *         ROW(K, REPLY, welcome, _, "The visitor's number.")                                 \
 *         ROW(K, EVENT, greeted, _, "A visitor was greeted.")
 *     STOA_TABLE(greeter)            in a header: structs greeter_hello, ... and greeter_rows[]
 *     STOA_TABLE_DEFINE(greeter)     in one .c file; STOA_TABLE_HERE(greeter) is both
 *
 * Row classes: COMMAND (answered with its reply), CAST (one way), CONTROL (a cast that is handled ahead of what waits), EVENT
 * (journaled), REPLY, TOPIC (published).
 * Rows and fields are wire and journal format. How a table may change, so that a node of one version understands its
 * neighbour, the version before or after it (tests/unit/base/evolution_test.c holds both against each other, and
 * tests/golden/tables.txt what was shipped):
 *     rows, fields, enum values   are appended; none is taken away, moved, or given another type
 *     missing trailing fields     were not known to an older writer: they read as zero, empty, no elements, the first value
 *     unknown trailing fields     of a newer writer are stepped over, in nested records and lists too
 *     a wider type                uint8 .. uint64, int32 .. int64, longer text, bytes, a longer list of the same elements: what an
 *                                 older reader cannot hold it refuses (RANGE, TOO_LARGE; a journal: CORRUPT, the trail
 *                                 says which), whole
 *     an unknown enum value       is refused (INVALID), never taken for another
 *     an unknown row              is refused: VERSION in a journal, NO_HANDLER for a message
 *     another type                is refused (INVALID), where the bytes show it
 * A field that stands for "not given" therefore uses zero; one without a meaning yet is called reserved and is zero.
 *
 * On the wire a payload is a msgpack array of its fields in table order. Payload structs must have no padding (a static
 * assertion checks it), so equal values are equal bytes. In memory a payload takes 512 KiB - 256 at most, a reply 256 KiB, an
 * event 256 KiB - 256: a larger one does not compile, either.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_TABLE_H
#define STOA_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/api.h"
#include "base/decimal.h"
#include "base/error.h"
#include "base/text.h"

STOA_API_BEGIN

typedef enum stoa_class {
    STOA_CLASS_NONE,    /* takes part in no codec: the member of an empty payload */
    STOA_CLASS_UINT,    /* msgpack integer >= 0 */
    STOA_CLASS_INT,     /* msgpack integer */
    STOA_CLASS_ENUM,    /* msgpack integer below limit; printed by name */
    STOA_CLASS_DECIMAL, /* msgpack string "-12.5", in memory int64 in units of 10^-8 */
    STOA_CLASS_TEXT,    /* msgpack string of up to limit bytes, UTF-8 */
    STOA_CLASS_LIST,    /* msgpack array of up to limit elements */
    STOA_CLASS_RECORD,  /* msgpack array of fields */
    STOA_CLASS_BYTES,   /* msgpack bin of up to limit bytes */
} stoa_class;

typedef struct stoa_type stoa_type;

typedef struct stoa_field {
    const char *name;
    const stoa_type *type;
    uint32_t offset;
} stoa_field;

struct stoa_type {
    const char *name;
    stoa_class cls;
    uint32_t size_bytes; /* in memory */
    uint32_t limit;      /* ENUM: values; TEXT, BYTES: bytes; LIST: elements */
    uint32_t field_count;
    const char *const *values; /* ENUM */
    const stoa_type *element;  /* LIST */
    const stoa_field *fields;  /* RECORD */
    bool indexed;              /* the journal keeps an index by this value (order ids) */
};

typedef enum stoa_row_class {
    STOA_ROW_COMMAND,
    STOA_ROW_CAST,
    STOA_ROW_EVENT,
    STOA_ROW_REPLY,
    STOA_ROW_TOPIC,
    STOA_ROW_CONTROL,
} stoa_row_class;
/* "command", "cast", ... */
const char *stoa_row_class_name(stoa_row_class cls);

typedef struct stoa_row {
    const char *kind, *name, *doc;
    const struct stoa_row *reply; /* COMMAND only */
    stoa_row_class cls;
    uint32_t id; /* place in the table, from 1: wire and journal format */
    stoa_type payload;
} stoa_row;

typedef struct stoa_table {
    const char *name;
    const stoa_row *rows; /* rows[0] is empty; rows[id] */
    uint32_t row_count;   /* highest id */
} stoa_table;

/* The header of a list, and of bytes, in memory: count, then elements at offset 8. */
typedef struct stoa_list_head {
    uint32_t count, pad_;
} stoa_list_head;

typedef struct stoa_none {
    uint64_t nothing;
} stoa_none;
/* An id the journal keeps an index by, 0 for none; on the wire an integer. */
typedef uint64_t stoa_id;

extern const stoa_type stoa_type_stoa_none, stoa_type_uint8_t, stoa_type_uint16_t, stoa_type_uint32_t,
    stoa_type_uint64_t, stoa_type_int32_t, stoa_type_int64_t, stoa_type_stoa_id, stoa_type_stoa_decimal;
#define STOA_TEXT_TYPE_(N) extern const stoa_type stoa_type_stoa_text##N;
STOA_TEXT_SIZES(STOA_TEXT_TYPE_)

/* Fields of a payload that carries nothing: #define K_ping_FIELDS STOA_NO_FIELDS */
#define STOA_NO_FIELDS(F, S) F(S, stoa_none, none)

/* --- enumerations:  #define side_VALUES(V, E) V(E, BUY, "buy") V(E, SELL, "sell")
 *                    STOA_ENUM(side) in a header, STOA_ENUM_DEFINE(side) in one .c file:
 *                    type side (uint8_t), constants side_BUY, ..., side_COUNT */
#define STOA_ENUM_VALUE_(E, name, text) E##_##name,
#define STOA_ENUM_TEXT_(E, name, text)  text,
#define STOA_ENUM(E)                                                                                                   \
    typedef uint8_t E;                                                                                                 \
    enum { E##_VALUES(STOA_ENUM_VALUE_, E) E##_COUNT };                                                                \
    extern const stoa_type stoa_type_##E;                                                                              \
    extern const char *const E##_texts[];
#define STOA_ENUM_DEFINE(E)                                                                                            \
    const char *const E##_texts[] = {E##_VALUES(STOA_ENUM_TEXT_, E)};                                                  \
    const stoa_type stoa_type_##E = {                                                                                  \
        .name = #E, .cls = STOA_CLASS_ENUM, .size_bytes = 1, .limit = E##_COUNT, .values = E##_texts};

/* --- records and lists inside payloads:
 *     #define level_FIELDS(F, S) F(S, int64_t, price_ticks) F(S, int64_t, qty_lots)
 *     STOA_RECORD(level)            STOA_RECORD_DEFINE(level)
 *     STOA_LIST(levels, level, 64)  STOA_LIST_DEFINE(levels, level, 64)
 * and bytes that this table knows nothing of (those behind count are zero), cap a multiple of 8:
 *     STOA_BYTES(packed, 4096)      STOA_BYTES_DEFINE(packed, 4096) */
#define STOA_FIELD_MEMBER_(S, type, name) type name;
#define STOA_FIELD_SIZE_(S, type, name)   +sizeof(type)
#define STOA_FIELD_ROW_(S, type, name)    {#name, &stoa_type_##type, (uint32_t)offsetof(S, name)},
#define STOA_STRUCT_(S)                                                                                                \
    typedef struct S {                                                                                                 \
        S##_FIELDS(STOA_FIELD_MEMBER_, S)                                                                              \
    } S;                                                                                                               \
    _Static_assert(sizeof(S) == 0 S##_FIELDS(STOA_FIELD_SIZE_, S), #S " has padding: reorder or widen its fields");
/* What a payload may have at most, in memory; a larger one does not compile. */
enum { STOA_PAYLOAD_MAX = (512 << 10) - 256, STOA_REPLY_MAX = 256 << 10, STOA_EVENT_MAX = (256 << 10) - 256 };
#define STOA_MOST_COMMAND_ STOA_PAYLOAD_MAX
#define STOA_MOST_CAST_    STOA_PAYLOAD_MAX
#define STOA_MOST_CONTROL_ STOA_PAYLOAD_MAX
#define STOA_MOST_TOPIC_   STOA_PAYLOAD_MAX
#define STOA_MOST_REPLY_   STOA_REPLY_MAX
#define STOA_MOST_EVENT_   STOA_EVENT_MAX
#define STOA_COUNT_OF_(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

#define STOA_RECORD(S)                                                                                                 \
    STOA_STRUCT_(S)                                                                                                    \
    extern const stoa_type stoa_type_##S;
#define STOA_RECORD_DEFINE(S)                                                                                          \
    static const stoa_field S##_fields_[] = {S##_FIELDS(STOA_FIELD_ROW_, S)};                                          \
    const stoa_type stoa_type_##S = {.name = #S,                                                                       \
                                     .cls = STOA_CLASS_RECORD,                                                         \
                                     .size_bytes = sizeof(S),                                                          \
                                     .fields = S##_fields_,                                                            \
                                     .field_count = STOA_COUNT_OF_(S##_fields_)};
/* Both, for a record that one file alone uses. */
#define STOA_RECORD_HERE(S) STOA_RECORD(S) STOA_RECORD_DEFINE(S)
#define STOA_TYPE(S) (&stoa_type_##S)
#define STOA_LIST(L, elem, cap)                                                                                        \
    typedef struct L {                                                                                                 \
        uint32_t count, pad_;                                                                                          \
        elem at[cap];                                                                                                  \
    } L;                                                                                                               \
    _Static_assert(sizeof(L) == 8 + sizeof(elem) * (cap) && offsetof(L, at) == 8, #L " has padding");                  \
    extern const stoa_type stoa_type_##L;
#define STOA_LIST_DEFINE(L, elem, cap)                                                                                 \
    const stoa_type stoa_type_##L = {.name = #L,                                                                       \
                                     .cls = STOA_CLASS_LIST,                                                           \
                                     .size_bytes = sizeof(L),                                                          \
                                     .limit = (cap),                                                                   \
                                     .element = &stoa_type_##elem};

#define STOA_BYTES(B, cap)                                                                                             \
    typedef struct B {                                                                                                 \
        uint32_t count, pad_;                                                                                          \
        uint8_t at[cap];                                                                                               \
    } B;                                                                                                               \
    _Static_assert((cap) % 8 == 0, #B " has padding behind it");                                                       \
    extern const stoa_type stoa_type_##B;
#define STOA_BYTES_DEFINE(B, cap)                                                                                      \
    const stoa_type stoa_type_##B = {.name = #B, .cls = STOA_CLASS_BYTES, .size_bytes = sizeof(B), .limit = (cap)};

/* --- the table of a kind */
#define STOA_ROW_STRUCT_(K, cls, name, reply, doc)                                                                     \
    STOA_STRUCT_(K##_##name)                                                                                           \
    _Static_assert(sizeof(K##_##name) <= STOA_MOST_##cls##_, #K "." #name " is too large for its class of row");
#define STOA_ROW_ID_(K, cls, name, reply, doc)     K##_ROW_##name,
#define STOA_ROW_FIELDS_(K, cls, name, reply, doc)                                                                     \
    static const stoa_field K##_##name##_fields_[] = {K##_##name##_FIELDS(STOA_FIELD_ROW_, K##_##name)};
#define STOA_REPLY_COMMAND_(K, reply) &K##_rows[K##_ROW_##reply]
#define STOA_REPLY_CAST_(K, reply)    NULL
#define STOA_REPLY_EVENT_(K, reply)   NULL
#define STOA_REPLY_REPLY_(K, reply)   NULL
#define STOA_REPLY_TOPIC_(K, reply)   NULL
#define STOA_REPLY_CONTROL_(K, reply) NULL
#define STOA_ROW_ENTRY_(K, cls_, name_, reply_, doc_)                                                                  \
    {.kind = #K,                                                                                                       \
     .name = #name_,                                                                                                   \
     .doc = doc_,                                                                                                      \
     .reply = STOA_REPLY_##cls_##_(K, reply_),                                                                         \
     .cls = STOA_ROW_##cls_,                                                                                           \
     .id = K##_ROW_##name_,                                                                                            \
     .payload = {.name = #K "." #name_,                                                                                \
                 .cls = STOA_CLASS_RECORD,                                                                             \
                 .size_bytes = sizeof(K##_##name_),                                                                    \
                 .fields = K##_##name_##_fields_,                                                                      \
                 .field_count = STOA_COUNT_OF_(K##_##name_##_fields_)}},

#define STOA_TABLE(K)                                                                                                  \
    K##_ROWS(STOA_ROW_STRUCT_, K) enum { K##_ROW_NONE_, K##_ROWS(STOA_ROW_ID_, K) K##_ROW_END_ };                      \
    extern const stoa_row K##_rows[K##_ROW_END_];                                                                      \
    extern const stoa_table K##_table;
#define STOA_TABLE_DEFINE(K)                                                                                           \
    K##_ROWS(STOA_ROW_FIELDS_, K) const stoa_row K##_rows[K##_ROW_END_] = {{.kind = #K, .name = ""},                   \
                                                                          K##_ROWS(STOA_ROW_ENTRY_, K)};              \
    const stoa_table K##_table = {#K, K##_rows, K##_ROW_END_ - 1};
/* Both, for a table that one file alone uses. */
#define STOA_TABLE_HERE(K) STOA_TABLE(K) STOA_TABLE_DEFINE(K)

STOA_API_END

#endif
