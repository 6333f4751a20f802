/* table.c - the types that every table may use: numbers, ids, decimals and texts.
 *
 * Enumerations, records and lists are defined beside the tables that use them (STOA_..._DEFINE of
 * base/table.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#define SCALAR(type, class_)                                                                                 \
    const stoa_type stoa_type_##type = {.name = #type, .cls = (class_), .size_bytes = sizeof(type)};
SCALAR(stoa_none, STOA_CLASS_NONE)
SCALAR(uint8_t, STOA_CLASS_UINT)
SCALAR(uint16_t, STOA_CLASS_UINT)
SCALAR(uint32_t, STOA_CLASS_UINT)
SCALAR(uint64_t, STOA_CLASS_UINT)
SCALAR(int32_t, STOA_CLASS_INT)
SCALAR(int64_t, STOA_CLASS_INT)
SCALAR(stoa_decimal, STOA_CLASS_DECIMAL)

const stoa_type stoa_type_stoa_id = {
    .name = "stoa_id", .cls = STOA_CLASS_UINT, .size_bytes = sizeof(stoa_id), .indexed = true};

#define TEXT(N)                                                                                              \
    const stoa_type stoa_type_stoa_text##N = {                                                               \
        .name = "stoa_text" #N, .cls = STOA_CLASS_TEXT, .size_bytes = sizeof(stoa_text##N), .limit = (N)};
STOA_TEXT_SIZES(TEXT)

const char *stoa_row_class_name(stoa_row_class cls)
{
    static const char *const names[] = {"command", "cast", "event", "reply", "topic", "control"};
    return (size_t)cls < sizeof names / sizeof names[0] ? names[cls] : "?";
}
