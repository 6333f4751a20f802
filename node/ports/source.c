/* source.c - see source.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/ports/source.h"

bool stoa_source_credit(const stoa_source *source)
{
    return source->sent < source->granted + MARKET_CONNECTOR_WINDOW;
}

stoa_err stoa_source_tell(stoa_source *source, const stoa_row *row, const void *payload)
{
    stoa_err err = stoa_port_send(source->port, source->connector, row, payload, 0);
    return err == STOA_E_FULL ? STOA_E_AGAIN : err;
}

stoa_err stoa_source_send(stoa_source *source, stoa_source_frame *frame)
{
    const stoa_row *row = &market_connector_rows[market_connector_ROW_frame];
    if (frame->from_bytes == 0) { source->number++; }
    while (frame->from_bytes < frame->size_bytes) {
        market_connector_frame part;
        size_t left = frame->size_bytes - frame->from_bytes;
        size_t size = left < sizeof part.bytes.at ? left : sizeof part.bytes.at;
        if (!stoa_source_credit(source)) { return STOA_E_AGAIN; }
        part.number = source->number;
        part.more = size < left;
        part.symbol = frame->symbol;
        (void)STOA_TEXT_SET(&part.bytes, frame->bytes + frame->from_bytes, size);
        stoa_err err = stoa_source_tell(source, row, &part);
        if (err) { return err; }
        source->sent++;
        frame->from_bytes += size;
    }
    return STOA_OK;
}
