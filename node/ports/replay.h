/* replay.h - a port that plays a capture file to a connector, as if the venue sent it now.
 *
 * A thread of its own reads the file (capture.h) and sends each frame, in parts, at the recorded pace times speed, or
 * as fast as the connector takes them (speed 0). It never has more frame messages under way than the connector's
 * window. Snapshots come where the file has them: a snapshot that is wanted is the next one in the file, and one that
 * is still wanted at its end is reported missing.
 *
 *     stoa_replay_options options;
 *     stoa_replay_parse("day.gz@max", &options);          path, speed
 *     stoa_replay_market(node, venue, &options, core);    mirrors and connector for the symbols in the file
 *     stoa_replay_start(node, &options, &replay);
 *     stoa_replay_wait(replay, STOA_S(60));               with --exit
 *     stoa_replay_report(node, replay, &line);
 *     stoa_replay_stop(replay);
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PORTS_REPLAY_H
#define STOA_NODE_PORTS_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/market/market.h"
#include "actors/market/venue.h"
#include "base/buf.h"
#include "base/decimal.h"

typedef struct stoa_replay stoa_replay;

typedef struct stoa_replay_options {
    char path[1024];
    stoa_decimal speed;  /* 1: as recorded, 10: ten times as fast; 0: as fast as it goes */
    stoa_ref connector;  /* set by stoa_replay_market */
    stoa_text14 venue;   /* set by stoa_replay_market */
    stoa_text14 symbol;  /* of the mirror that is reported on: the first in the file; set by stoa_replay_market */
} stoa_replay_options;

/* "FILE[@SPEED]", SPEED a positive number or "max"; without it 1. Errors: INVALID (no file, speed), TOO_LARGE. */
stoa_err stoa_replay_parse(const char *text, stoa_replay_options *out);

/* Spawn mirrors and connector for the symbols that the file names; fills options->connector and symbol.
 * Errors: stoa_capture_symbols', market_spawn_venue's. Blocks. */
stoa_err stoa_replay_market(stoa_node *node, const market_venue *venue, stoa_replay_options *options, uint32_t core);

/* Start playing. Errors: stoa_capture_open's, NOMEM, IO. */
stoa_err stoa_replay_start(stoa_node *node, const stoa_replay_options *options, stoa_replay **out);

/* Wait until the file is at its end and the mirrors have heard all of it. Errors: TIMEOUT, CORRUPT (the file is
 * damaged: what was before that was played), CLOSED (stopped). Blocks. */
stoa_err stoa_replay_wait(stoa_replay *replay, uint64_t deadline_ns);

/* Whether the file is at its end. Any thread. */
bool stoa_replay_ended(stoa_replay *replay);

/* Stop and release; NULL is allowed. Blocks for a moment. */
void stoa_replay_stop(stoa_replay *replay);

/* Print one line of JSON about the run: what the mirror of options.symbol made of it, what was refused on the way,
 * and how many frames a second. Errors: stoa_call's. Blocks. */
stoa_err stoa_replay_report(stoa_node *node, stoa_replay *replay, stoa_buf *out);

#endif
