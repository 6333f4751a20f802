/* source.h - what the source ports of market data (replay, live) have in common: frames cut into messages, within
 * credit.
 *
 * One thread per source.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PORTS_SOURCE_H
#define STOA_NODE_PORTS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/market/connector_msgs.h"
#include "runtime/node.h"

typedef struct stoa_source {
    stoa_port *port;
    stoa_ref connector;
    uint64_t number;        /* of the last frame */
    uint64_t sent, granted; /* frame messages */
} stoa_source;

/* Whether the connector would take another frame message now. */
bool stoa_source_credit(const stoa_source *source);

/* The frame that is being sent, from from_bytes on. */
typedef struct stoa_source_frame {
    const char *bytes;
    size_t size_bytes, from_bytes;
    stoa_text14 symbol; /* of a snapshot that was asked for, else empty */
} stoa_source_frame;

/* Send as much of frame as credit allows, moving from_bytes on; OK when all of it went. Errors: AGAIN (credit or room
 * ran out: call again after the port was polled), CLOSED (the connector is gone). Never blocks. */
stoa_err stoa_source_send(stoa_source *source, stoa_source_frame *frame);

/* Send a message without payload of interest: opened, ended, missing. Errors: AGAIN, CLOSED. */
stoa_err stoa_source_tell(stoa_source *source, const stoa_row *row, const void *payload);

#endif
