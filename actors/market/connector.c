/* connector.c - kind market_connector: a venue's frames become rows of market_feed for the mirrors of its symbols.
 *
 * Generic over the venue: the dialect (venue.h) decodes, this file puts frames together from their parts, counts, and
 * sends the rows to market_book/VENUE.SYMBOL. A frame that the dialect refuses changes a counter and nothing else.
 *
 * Credit: the source port may have MARKET_CONNECTOR_WINDOW frame messages under way. What was taken is granted again
 * in steps, and only while the mirrors keep up (they report what they heard), so that nothing overflows on the way.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/connector_msgs.h"

#include <string.h>

#include "actors/market/book_msgs.h"
#include "actors/market/market.h"
#include "actors/market/venue.h"
#include "base/wire.h"

enum {
    GRANT_EVERY = 32,       /* frame messages between two grants */
    ROWS_UNDER_WAY_MAX = 512 /* rows that mirrors have not heard before credit stops; a mirror's mailbox holds 8192 */
};

typedef struct route {
    stoa_text14 symbol;
    stoa_ref book;
    uint64_t sent, heard;
    bool wanted; /* a snapshot was asked for and has not come */
} route;

typedef struct market_connector {
    const market_venue *venue;
    stoa_json_parser *parser;
    stoa_ref source;
    market_connector_counts counts;
    uint64_t taken, granted; /* frame messages */
    uint32_t route_count;
    route routes[MARKET_CONNECTOR_SYMBOLS_MAX];
    /* The frame whose parts are coming. */
    uint64_t number;
    stoa_text14 symbol;
    size_t used_bytes;
    bool open, skipped;
    market_news news;
    char bytes[MARKET_FRAME_BYTES_MAX];
} market_connector;

#define market_connector_HEARS(HEAR, K) HEAR(K, market_book, wanted) HEAR(K, market_book, heard)

STOA_PROXY(market_book)

static stoa_err start(stoa_turn *turn, void *state, const void *args);
static void stop(void *state);
static void inspect(const void *state, stoa_buf *out);
STOA_PLAIN_KIND(market_connector, .start = start, .stop = stop, .inspect = inspect,
                .args_bytes = sizeof(market_connector_options), .mailbox_limit = 2048)

/* --- mirrors */

static void find_book(stoa_turn *turn, const market_connector *self, route *to)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf name = STOA_BUF_FIXED(text);
    stoa_buf_printf(&name, "market_book/%s.%.*s", self->venue->name, STOA_TEXT_ARGS(&to->symbol));
    to->book = stoa_turn_find(turn, text);
}

static route *route_of(market_connector *self, const stoa_text14 *symbol)
{
    for (uint32_t i = 0; i < self->route_count; i++) {
        if (STOA_TEXT_EQ(&self->routes[i].symbol, symbol)) { return &self->routes[i]; }
    }
    return NULL;
}

static stoa_err start(stoa_turn *turn, void *state, const void *args)
{
    market_connector *self = state;
    const market_connector_options *options = args;
    self->venue = market_venue_find(options->venue.at, options->venue.len);
    bool countable = options->symbol_count > 0 && options->symbol_count <= MARKET_CONNECTOR_SYMBOLS_MAX;
    if (!self->venue || !countable) { return STOA_E_INVALID; }
    self->counts.venue = options->venue;
    self->route_count = options->symbol_count;
    for (uint32_t i = 0; i < self->route_count; i++) {
        self->routes[i].symbol = options->symbols[i];
        find_book(turn, self, &self->routes[i]);
    }
    return stoa_json_parser_new(MARKET_FRAME_BYTES_MAX, &self->parser);
}

static void stop(void *state)
{
    market_connector *self = state;
    stoa_json_parser_free(self->parser);
}

/* --- credit */

static uint64_t rows_under_way(const market_connector *self)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < self->route_count; i++) {
        rows += self->routes[i].sent - self->routes[i].heard;
    }
    return rows;
}

static void grant(stoa_turn *turn, market_connector *self)
{
    bool due = self->taken - self->granted >= GRANT_EVERY || (self->counts.ended && self->taken > self->granted);
    if (!due || !self->source.at || rows_under_way(self) > ROWS_UNDER_WAY_MAX) { return; }
    market_connector_granted row = {.frames = self->taken};
    if (market_connector_send_granted(turn, self->source, &row) == STOA_OK) { self->granted = self->taken; }
}

/* --- news go to the mirrors */

typedef struct sending {
    stoa_turn *turn;
    market_connector *self;
    route *to;
} sending;

static stoa_err send_row(void *context, const stoa_row *row, const void *payload)
{
    sending *s = context;
    stoa_err err = stoa_turn_send(s->turn, s->to->book, row, payload);
    if (err == STOA_E_CLOSED) { /* stopped and spawned anew: it has another place */
        find_book(s->turn, s->self, s->to);
        err = stoa_turn_send(s->turn, s->to->book, row, payload);
    }
    if (err) { return err; }
    s->to->sent++;
    s->self->counts.rows++;
    return STOA_OK;
}

static void deliver(stoa_turn *turn, market_connector *self)
{
    if (self->news.row == market_feed_ROW_NONE_) {
        self->counts.idle++;
        return;
    }
    route *to = route_of(self, &self->news.symbol);
    if (!to) {
        self->counts.unrouted++;
        return;
    }
    if (self->news.row == market_feed_ROW_snapshot) { to->wanted = false; }
    stoa_err err = market_news_rows(&self->news, send_row, &(sending){.turn = turn, .self = self, .to = to});
    if (err == STOA_E_CLOSED) {
        self->counts.unrouted++;
    } else if (err) {
        self->counts.overruns++; /* the mirror will see the gap */
    }
}

/* --- frames */

static void count_refusal(market_connector_counts *counts, stoa_err why)
{
    static const struct {
        stoa_err why;
        size_t counter;
    } rows[] = {
        {STOA_E_NO_HANDLER, offsetof(market_connector_counts, unknown)},
        {STOA_E_TOO_LARGE, offsetof(market_connector_counts, too_large)},
        {STOA_E_PRECISION, offsetof(market_connector_counts, numbers)},
        {STOA_E_RANGE, offsetof(market_connector_counts, numbers)},
        {STOA_E_INVALID, offsetof(market_connector_counts, unrouted)},
    };
    size_t counter = offsetof(market_connector_counts, malformed);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].why == why) { counter = rows[i].counter; }
    }
    ++*(uint64_t *)(void *)((char *)counts + counter);
}

/* One whole frame. Where it does not name its symbol, it is the one that was asked for, or the only one. */
static void take_frame(stoa_turn *turn, market_connector *self, const char *bytes, size_t size,
                       const stoa_text14 *symbol)
{
    const stoa_text14 *only = self->route_count == 1 ? &self->routes[0].symbol : NULL;
    market_frame frame = {.bytes = bytes, .size_bytes = size, .symbol = symbol->len ? symbol : only};
    self->counts.frames++;
    stoa_err err = self->venue->decode(self->parser, &frame, &self->news);
    if (err) {
        count_refusal(&self->counts, err);
    } else {
        deliver(turn, self);
    }
}

/* Add a part to the frame that is being put together. */
static void add_part(market_connector *self, const market_connector_frame *in)
{
    if (self->open && in->number != self->number) {
        self->counts.torn++;
        self->open = false;
    }
    if (!self->open) {
        self->open = true;
        self->skipped = false;
        self->number = in->number;
        self->symbol = in->symbol;
        self->used_bytes = 0;
    }
    if (in->bytes.len > sizeof self->bytes - self->used_bytes) { self->skipped = true; }
    if (self->skipped) { return; }
    memcpy(self->bytes + self->used_bytes, in->bytes.at, in->bytes.len);
    self->used_bytes += in->bytes.len;
}

static stoa_err market_connector_on_frame(stoa_turn *turn, market_connector *self,
                                          const market_connector_frame *in)
{
    self->source = turn->from;
    self->taken++;
    if (!in->more && !self->open) { /* most frames come in one part */
        take_frame(turn, self, in->bytes.at, in->bytes.len, &in->symbol);
    } else {
        add_part(self, in);
        if (!in->more) {
            self->open = false;
            self->counts.too_large += self->skipped;
            if (!self->skipped) { take_frame(turn, self, self->bytes, self->used_bytes, &self->symbol); }
        }
    }
    grant(turn, self);
    return STOA_OK;
}

static stoa_err market_connector_on_opened(stoa_turn *turn, market_connector *self,
                                           const market_connector_opened *in)
{
    (void)in;
    if (!stoa_ref_equal(self->source, turn->from)) { self->taken = self->granted = 0; }
    self->source = turn->from;
    self->counts.connections++;
    self->counts.ended = 0;
    self->counts.torn += self->open;
    self->open = false;
    for (uint32_t i = 0; i < self->route_count; i++) {
        if (!self->routes[i].book.at) { find_book(turn, self, &self->routes[i]); }
        market_book_send_begin(turn, self->routes[i].book, (market_book_begin){0});
    }
    return STOA_OK;
}

static stoa_err market_connector_on_missing(stoa_turn *turn, market_connector *self,
                                            const market_connector_missing *in)
{
    (void)turn;
    route *of = route_of(self, &in->symbol);
    if (of && of->wanted) {
        of->wanted = false;
        self->counts.missing++;
    }
    return STOA_OK;
}

static stoa_err market_connector_on_ended(stoa_turn *turn, market_connector *self,
                                          const market_connector_ended *in)
{
    (void)in;
    self->counts.ended = 1;
    self->counts.torn += self->open;
    self->open = false;
    grant(turn, self);
    return STOA_OK;
}

/* --- the mirrors speak */

static stoa_err market_connector_on_market_book_wanted(stoa_turn *turn, market_connector *self,
                                                       const market_book_wanted *in)
{
    route *of = route_of(self, &in->symbol);
    if (!of) { return STOA_E_NOT_FOUND; }
    of->wanted = true;
    self->counts.wanted++;
    if (!self->source.at) { return STOA_OK; }
    return market_connector_send_want(turn, self->source, &(market_connector_want){.symbol = in->symbol});
}

static stoa_err market_connector_on_market_book_heard(stoa_turn *turn, market_connector *self,
                                                      const market_book_heard *in)
{
    for (uint32_t i = 0; i < self->route_count; i++) {
        route *of = &self->routes[i];
        if (!stoa_ref_equal(of->book, turn->from)) { continue; }
        of->heard = in->rows <= of->sent ? in->rows : of->sent;
    }
    grant(turn, self);
    return STOA_OK;
}

static void look(const market_connector *self, market_connector_counts *out)
{
    *out = self->counts;
    for (uint32_t i = 0; i < self->route_count; i++) {
        out->heard += self->routes[i].heard;
    }
}

static stoa_err market_connector_on_status(stoa_turn *turn, market_connector *self,
                                           const market_connector_status *in, market_connector_counts *out)
{
    (void)turn, (void)in;
    look(self, out);
    return STOA_OK;
}

static void inspect(const void *state, stoa_buf *out)
{
    market_connector_counts shown;
    look(state, &shown);
    stoa_print_json(&market_connector_rows[market_connector_ROW_counts].payload, &shown, out);
}
