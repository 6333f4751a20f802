/* live.h - a port that connects to a venue and feeds its connector: the TLS WebSocket stream, and snapshots over
 * HTTPS.
 *
 * A thread of its own. The stream is made again whenever it is lost or silent, after a delay that doubles from 250 ms
 * to 30 s; each new stream begins with "opened", upon which the mirrors want snapshots. Snapshots are asked for one at
 * a time, with a pause of 1 s between them; one that cannot be had is tried again after a pause that doubles to 60 s.
 * What the connector has no credit for waits in a bounded queue while the stream is not read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PORTS_LIVE_H
#define STOA_NODE_PORTS_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/market/market.h"
#include "actors/market/venue.h"

typedef struct stoa_live stoa_live;

typedef struct stoa_live_options {
    const market_venue *venue;
    stoa_ref connector; /* market_spawn_venue's */
    uint32_t symbol_count;
    stoa_text14 symbols[MARKET_CONNECTOR_SYMBOLS_MAX];
    /* In place of the venue's own, when set (NULL, 0): a test's server, a proxy. Copied. */
    const char *stream_host, *snapshot_host, *ca_file;
    uint16_t stream_port, snapshot_port;
    uint64_t idle_ns;          /* a stream silent for so long is made again; 0 means 30 s */
    uint64_t retry_ns;         /* first delay before a new connection; 0 means 250 ms */
    uint64_t snapshot_wait_ns; /* shortest pause between two snapshots; 0 means 1 s */
} stoa_live_options;

/* Start connecting. Errors: INVALID (no venue, no symbols), NOMEM, IO. */
stoa_err stoa_live_start(stoa_node *node, const stoa_live_options *options, stoa_live **out);
/* Stop and release; NULL is allowed. Blocks for a moment. */
void stoa_live_stop(stoa_live *live);

typedef struct stoa_live_view {
    uint64_t connections, losses; /* streams made and lost, attempts that failed included */
    uint64_t messages, snapshots, snapshots_failed, overruns;
    bool connected;
} stoa_live_view;
/* Counters so far. Any thread. */
void stoa_live_look(stoa_live *live, stoa_live_view *out);

#endif
