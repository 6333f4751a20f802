/* fabric/door.h - the TCP connection beside every connection of a fabric link: it begins it, tells that it lives, and ends it.
 *
 * Messages of up to STOA_DOOR_BODY_MAX bytes, whole and in order: u16 size of what follows, u8 kind, body. Once secured, the
 * body is sealed, with the kind authenticated, and 16 bytes longer. Nothing blocks: what the socket does not take waits in
 * a small buffer, and what does not fit there is refused.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_FABRIC_DOOR_H
#define STOA_TRANSPORT_FABRIC_DOOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "transport/secure.h"

enum { STOA_DOOR_BODY_MAX = 1536, STOA_DOOR_BUFFER_BYTES = 4096 };

typedef struct stoa_door {
    int fd; /* -1: closed */
    bool ended, secured;
    uint32_t in_bytes, out_bytes;
    uint64_t in_number, out_number; /* of sealed messages */
    stoa_secure_stream in_stream, out_stream;
    uint8_t in[STOA_DOOR_BUFFER_BYTES], out[STOA_DOOR_BUFFER_BYTES];
} stoa_door;

void stoa_door_init(stoa_door *door, int fd);
/* Closes the socket; what waits is given to it once more. */
void stoa_door_close(stoa_door *door);

/* Queue a message and send what the socket takes. Errors: FULL, CLOSED. */
stoa_err stoa_door_send(stoa_door *door, uint8_t kind, const void *body, uint32_t size_bytes);
/* Send what waits; true when nothing does. */
bool stoa_door_flush(stoa_door *door);

/* Read what the socket has. ended is set when there will be no more. */
void stoa_door_read(stoa_door *door);
/* The next message that was read, opened if it is sealed.
 * Errors: AGAIN (none), MALFORMED (nor will there ever be one). */
stoa_err stoa_door_next(stoa_door *door, uint8_t *kind_out, uint8_t body_out[STOA_DOOR_BODY_MAX], uint32_t *size_out);

#endif
