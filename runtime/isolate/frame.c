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

/* Whether grant says all that pattern does. */
static bool covers(const char *grant, const char *pattern)
{
    for (;;) {
        size_t here = strcspn(grant, "."), there = strcspn(pattern, ".");
        if (here == 1 && *grant == '>') { return there > 0; }
        bool any = here == 1 && *grant == '*' && !(there == 1 && *pattern == '>');
        if (!there || (!any && (here != there || memcmp(grant, pattern, here) != 0))) { return false; }
        if (!grant[here] || !pattern[there]) { return grant[here] == pattern[there]; }
        grant += here + 1;
        pattern += there + 1;
    }
}

bool stoa_isolate_grants(char (*grants)[64], uint32_t count, const char *pattern)
{
    for (uint32_t i = 0; i < count; i++) {
        if (covers(grants[i], pattern)) { return true; }
    }
    return false;
}

uint32_t stoa_isolate_frame_write(uint8_t *to, stoa_isolate_head *head, const char *text, const stoa_row *row, const void *payload)
{
    size_t text_bytes = text ? strlen(text) : 0;
    stoa_writer w = {.at = to + sizeof *head + text_bytes, .cap_bytes = STOA_ISOLATE_PAYLOAD_MAX};
    if (text_bytes > STOA_NAME_MAX) { return 0; }
    head->text_bytes = (uint32_t)text_bytes;
    if (text_bytes) { memcpy(to + sizeof *head, text, text_bytes); }
    if (row) {
        size_t name_bytes = strlen(row->kind);
        if (name_bytes >= sizeof head->table || stoa_encode(&row->payload, payload, &w)) { return 0; }
        memset(head->table, 0, sizeof head->table);
        memcpy(head->table, row->kind, name_bytes);
        head->row = row->id;
    }
    memcpy(to, head, sizeof *head);
    return (uint32_t)(sizeof *head + text_bytes + w.used_bytes);
}
