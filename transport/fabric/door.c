/* fabric/door.c - messages over a socket, as fabric/door.h says.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/fabric/door.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/bytes.h"

enum { SIZE_BYTES = 2, HEAD_BYTES = 3 };

void stoa_door_init(stoa_door *door, int fd)
{
    memset(door, 0, sizeof *door);
    door->fd = fd;
}

void stoa_door_close(stoa_door *door)
{
    if (door->fd < 0) { return; }
    (void)stoa_door_flush(door);
    (void)close(door->fd);
    door->fd = -1;
    stoa_secure_stream_close(&door->in_stream);
    stoa_secure_stream_close(&door->out_stream);
}

bool stoa_door_flush(stoa_door *door)
{
    uint32_t sent = 0;
    while (door->fd >= 0 && sent < door->out_bytes) {
        ssize_t took = send(door->fd, door->out + sent, door->out_bytes - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (took <= 0) { break; } /* a broken one is seen by who reads */
        sent += (uint32_t)took;
    }
    door->out_bytes -= sent;
    memmove(door->out, door->out + sent, door->out_bytes);
    return door->out_bytes == 0;
}

stoa_err stoa_door_send(stoa_door *door, uint8_t kind, const void *body, uint32_t size_bytes)
{
    uint32_t tag_bytes = door->secured ? STOA_SECURE_TAG_BYTES : 0;
    uint32_t whole = HEAD_BYTES + size_bytes + tag_bytes;
    STOA_ASSERT(size_bytes <= STOA_DOOR_BODY_MAX);
    if (door->fd < 0) { return STOA_E_CLOSED; }
    if (door->out_bytes + whole > sizeof door->out) { return STOA_E_FULL; }
    uint8_t *at = door->out + door->out_bytes, *text = at + HEAD_BYTES;
    stoa_put_u16(at, (uint16_t)(whole - SIZE_BYTES));
    at[SIZE_BYTES] = kind;
    if (size_bytes > 0) { memcpy(text, body, size_bytes); }
    if (door->secured) {
        stoa_secure_seal(&door->out_stream, door->out_number++, at, HEAD_BYTES, text, size_bytes, text + size_bytes);
    }
    door->out_bytes += whole;
    (void)stoa_door_flush(door);
    return STOA_OK;
}

void stoa_door_read(stoa_door *door)
{
    while (door->fd >= 0 && !door->ended && door->in_bytes < sizeof door->in) {
        ssize_t came = recv(door->fd, door->in + door->in_bytes, sizeof door->in - door->in_bytes, MSG_DONTWAIT);
        if (came < 0 && errno == EINTR) { continue; }
        if (came < 0 && errno == EAGAIN) { break; }
        if (came <= 0) {
            door->ended = true;
            break;
        }
        door->in_bytes += (uint32_t)came;
    }
}

stoa_err stoa_door_next(stoa_door *door, uint8_t *kind_out, uint8_t body_out[STOA_DOOR_BODY_MAX], uint32_t *size_out)
{
    if (door->in_bytes < HEAD_BYTES) { return STOA_E_AGAIN; }
    uint32_t tag_bytes = door->secured ? STOA_SECURE_TAG_BYTES : 0, whole = SIZE_BYTES + stoa_get_u16(door->in);
    if (whole < HEAD_BYTES + tag_bytes || whole > HEAD_BYTES + STOA_DOOR_BODY_MAX + tag_bytes) {
        return STOA_E_MALFORMED;
    }
    if (door->in_bytes < whole) { return STOA_E_AGAIN; }
    uint8_t head[HEAD_BYTES], *text = door->in + HEAD_BYTES;
    uint32_t size_bytes = whole - HEAD_BYTES - tag_bytes;
    memcpy(head, door->in, sizeof head);
    if (door->secured && stoa_secure_unseal(&door->in_stream, door->in_number++, head, sizeof head, text, size_bytes,
                                            text + size_bytes) != STOA_OK) {
        return STOA_E_MALFORMED;
    }
    memcpy(body_out, text, size_bytes);
    *kind_out = head[SIZE_BYTES];
    *size_out = size_bytes;
    door->in_bytes -= whole;
    memmove(door->in, door->in + whole, door->in_bytes);
    return STOA_OK;
}
