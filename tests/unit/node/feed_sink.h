/* feed_sink.h - a connector for tests that takes what a source port sends and gives credit only when it is told to.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_NODE_FEED_SINK_H
#define STOA_TESTS_UNIT_NODE_FEED_SINK_H

#include "actors/market/connector_msgs.h"
#include "runtime/stoa.h"

#define feed_sink_give_FIELDS(F, S)  F(S, uint64_t, frames)
#define feed_sink_look_FIELDS        STOA_NO_FIELDS
#define feed_sink_taken_FIELDS(F, S) F(S, uint64_t, frames) F(S, uint64_t, bytes) F(S, uint64_t, ended)
#define feed_sink_ROWS(ROW, K)                                                                                         \
    ROW(K, COMMAND, give, taken, "Grant credit for so many more frame messages.")                                      \
    ROW(K, COMMAND, look, taken, "What came so far.")                                                                  \
    ROW(K, REPLY, taken, _, "What came so far.")
STOA_TABLE(feed_sink)
STOA_TABLE_DEFINE(feed_sink)
typedef struct feed_sink {
    feed_sink_taken taken;
    uint64_t granted;
    stoa_ref source;
} feed_sink;
#define feed_sink_HEARS(HEAR, K)                                                                                       \
    HEAR(K, market_connector, frame) HEAR(K, market_connector, opened) HEAR(K, market_connector, ended)
STOA_PROXY(market_connector)
STOA_PLAIN_KIND(feed_sink, .mailbox_limit = 65536)

static stoa_err feed_sink_on_market_connector_frame(stoa_turn *turn, feed_sink *self, const market_connector_frame *in)
{
    self->source = turn->from;
    self->taken.frames++;
    self->taken.bytes += in->bytes.len;
    return STOA_OK;
}
static stoa_err feed_sink_on_market_connector_opened(stoa_turn *turn, feed_sink *self,
                                                     const market_connector_opened *in)
{
    (void)in;
    self->source = turn->from;
    return STOA_OK;
}
static stoa_err feed_sink_on_market_connector_ended(stoa_turn *turn, feed_sink *self, const market_connector_ended *in)
{
    (void)turn, (void)in;
    self->taken.ended = 1;
    return STOA_OK;
}
static stoa_err feed_sink_on_give(stoa_turn *turn, feed_sink *self, const feed_sink_give *in, feed_sink_taken *out)
{
    *out = self->taken;
    self->granted += in->frames;
    market_connector_granted row = {.frames = self->granted};
    return market_connector_send_granted(turn, self->source, &row);
}
static stoa_err feed_sink_on_look(stoa_turn *turn, feed_sink *self, const feed_sink_look *in, feed_sink_taken *out)
{
    (void)turn, (void)in;
    *out = self->taken;
    return STOA_OK;
}

#endif
