/* read.h - messages by name, and payloads from JSON that an operator or a client typed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PLUGIN_READ_H
#define STOA_NODE_PLUGIN_READ_H

#include "base/json.h"
#include "base/table.h"

/* The message of that name that somebody may send; NULL: there is none. */
const stoa_row *stoa_message_named(const stoa_table *table, const char *name, size_t name_bytes);

/* Fill a value of type, all zero before: records as objects, what they leave out is zero; enums by name, decimals as strings. Errors:
 * INVALID (another kind of value, a member that there is not, bytes), RANGE, PRECISION, TOO_LARGE; the trail says where. */
stoa_err stoa_payload_from_json(const stoa_type *type, stoa_json value, void *out);

/* What a kind from a library is started with, size_bytes of it as its table has it in the row `args`, from JSON. Errors: as above,
 * NOT_FOUND (no such row, or not so large: they cannot be given), MALFORMED, NOMEM. */
stoa_err stoa_args_from_json(const stoa_table *table, const char *json, uint32_t size_bytes, void *out);

#endif
