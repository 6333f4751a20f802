/* read.h - a payload from JSON that an operator typed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PLUGIN_READ_H
#define STOA_NODE_PLUGIN_READ_H

#include "base/json.h"
#include "base/table.h"

/* Fill a value of type, all zero before: records as objects, what they leave out is zero; enums by name, decimals as strings. Errors:
 * INVALID (another kind of value, a member that there is not, bytes), RANGE, PRECISION, TOO_LARGE; the trail says where. */
stoa_err stoa_payload_from_json(const stoa_type *type, stoa_json value, void *out);

#endif
