/* remote/frames.c - see frames.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote/frames.h"

#include <string.h>

#include "base/hash.h"

uint64_t stoa_remote_row_word(const stoa_row *row)
{
    return stoa_hash64(0, row->kind, strlen(row->kind)) << 16 | (row->id & 0xffff);
}

/* Printable ASCII, or bytes of UTF-8, without white space where it is a name. */
static stoa_err read_text(char to[STOA_NAME_MAX + 1], const uint8_t *bytes, uint32_t size_bytes, bool name)
{
    if (size_bytes > STOA_NAME_MAX || (name && !size_bytes)) { return STOA_E_MALFORMED; }
    for (uint32_t i = 0; i < size_bytes; i++) {
        if (bytes[i] < (name ? '!' : ' ') || bytes[i] == 0x7f) { return STOA_E_MALFORMED; }
    }
    memcpy(to, bytes, size_bytes);
    to[size_bytes] = '\0';
    return STOA_OK;
}

static stoa_err read_name(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    return read_text(out->text, bytes, size_bytes, true);
}

/* "": all of them. */
static stoa_err read_unwanted(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    return size_bytes ? read_name(bytes, size_bytes, out) : STOA_OK;
}

static stoa_err read_end(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    if (size_bytes < 2 || bytes[0] >= stoa_end_COUNT || bytes[1] > 1) { return STOA_E_MALFORMED; }
    out->why = bytes[0];
    out->returns = bytes[1];
    return read_text(out->text, bytes + 2, size_bytes - 2, false);
}

static stoa_err read_nothing(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    (void)bytes, (void)out;
    return size_bytes ? STOA_E_MALFORMED : STOA_OK;
}

/* An error is one of the vocabulary. */
static stoa_err read_head(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    if (size_bytes < sizeof out->head) { return STOA_E_MALFORMED; }
    memcpy(&out->head, bytes, sizeof out->head);
    bool known = out->head.error <= 0 && strcmp(stoa_err_name((stoa_err)out->head.error), "UNKNOWN") != 0;
    if (!known || out->head.flags & ~(uint32_t)STOA_REMOTE_TELLS) { return STOA_E_MALFORMED; }
    out->payload = bytes + sizeof out->head;
    out->payload_bytes = size_bytes - (uint32_t)sizeof out->head;
    return STOA_OK;
}

static stoa_err read_message(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    stoa_err err = read_head(bytes, size_bytes, out);
    return !err && (!out->head.row || out->head.error) ? STOA_E_MALFORMED : err;
}

/* An error, or a row and its payload. */
static stoa_err read_answer(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    stoa_err err = read_head(bytes, size_bytes, out);
    bool is_error = !err && out->head.error;
    return !err && (is_error ? out->payload_bytes || out->head.row : !out->head.row) ? STOA_E_MALFORMED : err;
}

static stoa_err read_refusal(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    stoa_err err = read_head(bytes, size_bytes, out);
    return !err && (!out->head.error || !out->head.row || out->payload_bytes) ? STOA_E_MALFORMED : err;
}

static stoa_err read_published(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    stoa_err err = read_message(bytes, size_bytes, out);
    if (err || !out->payload_bytes || out->payload[0] >= out->payload_bytes) { return STOA_E_MALFORMED; }
    uint32_t name_bytes = out->payload[0];
    err = read_text(out->text, out->payload + 1, name_bytes, true);
    out->payload += 1 + name_bytes;
    out->payload_bytes -= 1 + name_bytes;
    return err;
}

/* Whose it is reads it (runtime/distant.h). */
static stoa_err read_mail(const uint8_t *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    out->payload = bytes;
    out->payload_bytes = size_bytes;
    return STOA_OK;
}

stoa_err stoa_remote_frame_read(uint8_t type, const void *bytes, uint32_t size_bytes, stoa_remote_body *out)
{
    static stoa_err (*const readers[STOA_REMOTE_FRAMES])(const uint8_t *, uint32_t, stoa_remote_body *) = {
        [STOA_REMOTE_NAME] = read_name,       [STOA_REMOTE_GONE] = read_end,          [STOA_REMOTE_CAST] = read_message,
        [STOA_REMOTE_ASK] = read_message,     [STOA_REMOTE_ANSWER] = read_answer,     [STOA_REMOTE_REFUSAL] = read_refusal,
        [STOA_REMOTE_EXIT] = read_end,        [STOA_REMOTE_FULL] = read_nothing,      [STOA_REMOTE_ROOM] = read_nothing,
        [STOA_REMOTE_WANT] = read_name,       [STOA_REMOTE_UNWANT] = read_unwanted,   [STOA_REMOTE_PUBLISH] = read_published,
        [STOA_REMOTE_SHARD] = read_name,      [STOA_REMOTE_MAIL] = read_mail,       [STOA_REMOTE_AGAIN] = read_nothing,
        [STOA_REMOTE_LINK] = read_nothing,    [STOA_REMOTE_UNLINK] = read_nothing,
        [STOA_REMOTE_ALL] = read_nothing,     [STOA_REMOTE_NAMED] = read_nothing};
    *out = (stoa_remote_body){0};
    return type < STOA_REMOTE_FRAMES && readers[type] ? readers[type](bytes, size_bytes, out) : STOA_E_MALFORMED;
}
