/* venue.h - what the dialect of a venue must provide: pure functions over bytes, one row in a table.
 *
 * A dialect says where the venue's streams and snapshots are found and turns one frame (a WebSocket message, the body
 * of a REST answer, a line of a capture) into news: levels that changed, a whole book, a trade, a best bid and ask.
 * It keeps nothing between two frames and knows no socket; the connector calls it, the mirror (market_book) does the
 * rest.
 *
 * Sequence numbers come out in one form whatever the venue's rule is: a diff covers first_id .. last_id and continues
 * the one whose last_id is first_id - 1; it also continues a snapshot of a last_id in first_id - 1 .. last_id - 1,
 * and is old news to a snapshot of last_id or above. A dialect whose venue links messages otherwise (a previous id,
 * for instance) computes first_id so that this holds.
 *
 * A new venue is one file with its market_venue and one row in market_venues[] (venue.c). Start reading in binance.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_VENUE_H
#define STOA_ACTORS_MARKET_VENUE_H

#include <stddef.h>
#include <stdint.h>

#include "actors/market/feed_msgs.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

enum {
    MARKET_NEWS_LEVELS_MAX = 8192,   /* per side in one frame */
    MARKET_FRAME_BYTES_MAX = 1 << 20 /* a snapshot of 5,000 levels a side is about 350 KiB */
};

/* One frame as it came. */
typedef struct market_frame {
    const char *bytes;
    size_t size_bytes;
    const stoa_text14 *symbol; /* what was asked for, where the frame does not say (a snapshot); NULL: not known */
} market_frame;

/* What one frame told, of any size. */
typedef struct market_news {
    uint32_t row; /* market_feed_ROW_diff, _snapshot, _trade or _top; 0: nothing that concerns a book */
    uint32_t bid_count, ask_count;
    uint32_t pad_;
    stoa_text14 symbol;
    uint64_t first_id, last_id, venue_time_ms; /* diff and snapshot; a snapshot has no first_id */
    market_feed_trade trade;
    market_feed_top top;
    market_level bids[MARKET_NEWS_LEVELS_MAX], asks[MARKET_NEWS_LEVELS_MAX];
} market_news;

typedef struct market_venue {
    const char *name; /* "binance" */

    /* Where the stream and the snapshots are served, over TLS. */
    const char *stream_host, *snapshot_host;
    uint16_t stream_port, snapshot_port;

    /* Print path and query of the stream of all symbols / of one symbol's snapshot. Core: any. */
    void (*stream_path)(const stoa_text14 *symbols, uint32_t count, stoa_buf *out);
    void (*snapshot_path)(const stoa_text14 *symbol, stoa_buf *out);

    /* Turn one frame into news. Everything is checked before OK: news is whole or not to be used. Numbers are exact.
     * A frame that is right but tells nothing about a book (the answer to a subscription) gives row 0. Errors:
     * MALFORMED (not the venue's message), NO_HANDLER (an event this dialect does not know), TOO_LARGE (more levels
     * than fit), PRECISION, RANGE (a number), INVALID (a snapshot, and the frame's symbol is not known). Core: any,
     * never blocks; allocates only what the parser does. */
    stoa_err (*decode)(stoa_json_parser *parser, const market_frame *frame, market_news *news);
} market_venue;

/* All dialects, ending with NULL; by name, NULL when there is none. Core: any. */
extern const market_venue *const market_venues[];
const market_venue *market_venue_find(const char *name, size_t size_bytes);

/* Cut news into rows of actors/market/feed_msgs.h and hand each to take, in order; an error of take ends it and is
 * returned. Core: any, never allocates. */
typedef stoa_err (*market_take)(void *context, const stoa_row *row, const void *payload);
stoa_err market_news_rows(const market_news *news, market_take take, void *context);

#endif
