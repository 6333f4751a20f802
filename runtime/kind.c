/* kind.c - whether there can be actors of a kind: looked at when the node is opened or its first actor is made, so that no
 * message has to be.
 *
 * What STOA_KIND and its tables make is right but for what they are told: bounds. Tables made otherwise are held to what the
 * macros hold theirs to (base/table.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/core.h"

enum { CONFLATED_MAX = 1 << 20 };

static stoa_err check_bytes(const stoa_row *row, uint32_t most)
{
    uint32_t bytes = row->payload.size_bytes;
    return bytes <= most ? STOA_OK : STOA_FAIL(STOA_E_TOO_LARGE, "%s.%s of %u bytes: at most %u", row->kind, row->name, bytes, most);
}

static stoa_err check_row(const stoa_row *row)
{
    static const uint32_t most[] = {
        [STOA_ROW_COMMAND] = STOA_PAYLOAD_MAX, [STOA_ROW_CAST] = STOA_PAYLOAD_MAX, [STOA_ROW_CONTROL] = STOA_PAYLOAD_MAX,
        [STOA_ROW_TOPIC] = STOA_PAYLOAD_MAX,   [STOA_ROW_REPLY] = STOA_REPLY_MAX,  [STOA_ROW_EVENT] = STOA_EVENT_MAX};
    bool whole = row->cls < STOA_COUNT_OF_(most) && (row->cls == STOA_ROW_COMMAND) == (row->reply != NULL);
    if (!whole) { return STOA_FAIL(STOA_E_INVALID, "%s.%s: its class, or its reply", row->kind, row->name); }
    stoa_err err = check_bytes(row, most[row->cls]);
    return !err && row->reply ? check_bytes(row->reply, STOA_REPLY_MAX) : err;
}

stoa_err stoa_kind_check(const stoa_kind *kind)
{
    stoa_err err = STOA_OK;
    if (kind->conflate.key && kind->mailbox_limit > CONFLATED_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "kind %s conflates: its mailbox_limit is %u, at most %d", kind->name, kind->mailbox_limit,
                         CONFLATED_MAX);
    }
    for (uint32_t id = 1; id < kind->rows_bytes / sizeof(stoa_row) && !err; id++) { err = check_row(&kind->rows[id]); }
    for (const stoa_hear *hear = kind->hears; hear->row && !err; hear++) { err = check_row(hear->row); }
    return err;
}
