/* isolate/describe.c - the types of describe.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/describe.h"

STOA_RECORD_DEFINE(stoa_described_type)
STOA_RECORD_DEFINE(stoa_described_field)
STOA_RECORD_DEFINE(stoa_described_value)
STOA_RECORD_DEFINE(stoa_described_row)
STOA_RECORD_DEFINE(stoa_described_hear)
STOA_LIST_DEFINE(stoa_described_types, stoa_described_type, STOA_DESCRIBED_TYPES)
STOA_LIST_DEFINE(stoa_described_fields, stoa_described_field, STOA_DESCRIBED_FIELDS)
STOA_LIST_DEFINE(stoa_described_values, stoa_described_value, STOA_DESCRIBED_VALUES)
STOA_LIST_DEFINE(stoa_described_rows, stoa_described_row, STOA_DESCRIBED_ROWS)
STOA_LIST_DEFINE(stoa_described_hears, stoa_described_hear, STOA_DESCRIBED_HEARS)
STOA_RECORD_DEFINE(stoa_description)
