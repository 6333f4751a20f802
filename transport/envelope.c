/* envelope.c - writes and checks what sessions say to each other. See envelope.h for the format.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/envelope.h"

#include <string.h>

#include "base/hash.h"

stoa_session_id stoa_session_id_of(const char *from, uint64_t from_incarnation, const char *to, uint64_t to_incarnation)
{
    return stoa_mix64(stoa_hash64(from_incarnation, from, strlen(from)) * 3 +
                      stoa_hash64(to_incarnation, to, strlen(to)));
}

static uint16_t tag_of(stoa_session_id id)
{
    return (uint16_t)id;
}

/* Of all that it covers, with its own field as 0. */
static uint32_t checksum(const uint8_t *bytes, uint32_t size_bytes, stoa_session_id id)
{
    stoa_envelope e;
    memcpy(&e, bytes, sizeof e);
    e.crc = 0;
    uint32_t crc = stoa_crc32c((uint32_t)(id >> 32), &e, sizeof e);
    if (e.flags & STOA_ENVELOPE_BARE) { return crc; }
    return stoa_crc32c(crc, bytes + sizeof e, size_bytes - sizeof e);
}

void stoa_envelope_seal(stoa_envelope *envelope, uint32_t size_bytes, stoa_session_id id)
{
    envelope->magic = STOA_ENVELOPE_MAGIC;
    envelope->version = STOA_SESSION_VERSION;
    envelope->tag = tag_of(id);
    envelope->crc = checksum((const uint8_t *)envelope, size_bytes, id);
}

stoa_err stoa_envelope_read(const void *bytes, uint32_t size_bytes, stoa_envelope *out)
{
    stoa_envelope e;
    if (size_bytes < sizeof e) { return STOA_E_MALFORMED; }
    memcpy(&e, bytes, sizeof e);
    if (e.magic != STOA_ENVELOPE_MAGIC) { return STOA_E_MALFORMED; }
    if (e.version != STOA_SESSION_VERSION) { return STOA_E_VERSION; }
    bool good = (e.flags & ~STOA_ENVELOPE_FLAGS) == 0 && stoa_envelope_lane(&e) < STOA_LANE_COUNT &&
                stoa_envelope_is(&e) < STOA_ENVELOPE_WHATS;
    bool data = stoa_envelope_is(&e) == STOA_ENVELOPE_DATA;
    if (!good || (!data && (e.count != 0 || e.flags & STOA_ENVELOPE_BARE))) { return STOA_E_MALFORMED; }
    *out = e;
    return STOA_OK;
}

stoa_err stoa_envelope_check(const void *bytes, uint32_t size_bytes, stoa_session_id id)
{
    stoa_envelope e;
    memcpy(&e, bytes, sizeof e);
    if (e.tag != tag_of(id)) { return STOA_E_STALE; }
    return e.crc == checksum(bytes, size_bytes, id) ? STOA_OK : STOA_E_CORRUPT;
}

/* --- frames */

static bool is_frame(const stoa_frame_head *head, uint32_t left_bytes)
{
    uint32_t least_bytes = stoa_frame_head_bytes(head->flags) + (head->flags & STOA_FRAME_TIMED ? STOA_FRAME_TIME_BYTES : 0);
    return head->size_bytes >= least_bytes && head->size_bytes <= left_bytes && stoa_frame_room(head->size_bytes) <= left_bytes &&
           head->type > STOA_FRAME_NONE && head->type < STOA_FRAME_TYPES && (head->flags & ~STOA_FRAME_FLAGS) == 0 && head->zero == 0;
}

stoa_err stoa_frames_check(const void *bytes, uint32_t size_bytes, uint32_t count, uint64_t first)
{
    const uint8_t *at = bytes;
    uint32_t left_bytes = size_bytes;
    if (first == 0 || first > UINT64_MAX - count) { return STOA_E_MALFORMED; }
    for (uint32_t i = 0; i < count; i++) {
        stoa_frame_head head;
        if (left_bytes < sizeof head) { return STOA_E_MALFORMED; }
        memcpy(&head, at, sizeof head);
        if (!is_frame(&head, left_bytes) || (i == 0 && !(head.flags & STOA_FRAME_ADDRESSED))) { return STOA_E_MALFORMED; }
        at += stoa_frame_room(head.size_bytes);
        left_bytes -= stoa_frame_room(head.size_bytes);
    }
    return left_bytes == 0 ? STOA_OK : STOA_E_MALFORMED;
}

/* --- hellos, refusals, pulses */

bool stoa_node_name_is_good(const char *text, size_t size_bytes)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t i = 0;
    while (i < size_bytes && text[i] && strchr(letters, text[i])) {
        i++;
    }
    return i == size_bytes && size_bytes > 0 && size_bytes < STOA_NODE_NAME_BYTES;
}

bool stoa_node_name_is_proven(const char *name, const char *identity)
{
    return !identity[0] || strncmp(identity, "uid:", 4) == 0 || strcmp(name, identity) == 0;
}

stoa_err stoa_hello_read(const void *bytes, uint32_t size_bytes, stoa_hello *out)
{
    stoa_hello h;
    if (size_bytes != STOA_ENVELOPE_BYTES + sizeof h) { return STOA_E_MALFORMED; }
    memcpy(&h, (const uint8_t *)bytes + STOA_ENVELOPE_BYTES, sizeof h);
    size_t name_bytes = strnlen(h.name, sizeof h.name);
    bool good = stoa_node_name_is_good(h.name, name_bytes) && h.incarnation > 0 && h.number > 0 && h.version_min > 0 &&
                h.version_min <= h.version_max && (h.flags & ~(uint32_t)(STOA_HELLO_WANTS | STOA_HELLO_TRUSTS)) == 0;
    for (size_t i = name_bytes; good && i < sizeof h.name; i++) {
        good = h.name[i] == '\0';
    }
    if (!good) { return STOA_E_MALFORMED; }
    *out = h;
    return STOA_OK;
}

stoa_err stoa_refusal_read(const void *bytes, uint32_t size_bytes, stoa_refusal *out)
{
    stoa_refusal r;
    if (size_bytes != STOA_ENVELOPE_BYTES + sizeof r) { return STOA_E_MALFORMED; }
    memcpy(&r, (const uint8_t *)bytes + STOA_ENVELOPE_BYTES, sizeof r);
    if (r.why >= 0 || r.why < -1000) { return STOA_E_MALFORMED; }
    *out = r;
    return STOA_OK;
}

stoa_err stoa_pulse_read(const void *bytes, uint32_t size_bytes, stoa_pulse *out)
{
    if (size_bytes != STOA_ENVELOPE_BYTES + sizeof *out) { return STOA_E_MALFORMED; }
    memcpy(out, (const uint8_t *)bytes + STOA_ENVELOPE_BYTES, sizeof *out);
    return out->number > 0 ? STOA_OK : STOA_E_MALFORMED;
}
