/* isolate/frame.c - payloads in and out of frames. See frame.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/frame.h"

#include "base/wire.h"

stoa_err stoa_isolate_payload_read(const stoa_type *type, const uint8_t *bytes, uint32_t size_bytes, void *out)
{
    memset(out, 0, type->size_bytes);
    return stoa_decode(type, bytes, size_bytes, out, NULL);
}

uint32_t stoa_isolate_know(uint64_t *known, uint32_t count, uint32_t max, uint64_t ref)
{
    uint32_t at = 0;
    while (at < count && known[at] != ref) { at++; }
    if (at == count) {
        count += count < max;
        at = count - 1;
    }
    memmove(known + 1, known, at * sizeof *known);
    known[0] = ref;
    return count;
}

uint32_t stoa_isolate_frame_write(uint8_t *to, stoa_isolate_head *head, const stoa_row *row, const void *payload)
{
    stoa_writer w = {.at = to + sizeof *head, .cap_bytes = STOA_ISOLATE_PAYLOAD_MAX};
    if (row) {
        size_t name_bytes = strlen(row->kind);
        if (name_bytes >= sizeof head->table || stoa_encode(&row->payload, payload, &w)) { return 0; }
        memset(head->table, 0, sizeof head->table);
        memcpy(head->table, row->kind, name_bytes);
        head->row = row->id;
    }
    memcpy(to, head, sizeof *head);
    return (uint32_t)(sizeof *head + w.used_bytes);
}
