/* source.h - the outside market's port that settings ask for: a capture played, or a live connection.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_SOURCE_H
#define STOA_NODE_SOURCE_H

#include "node/platform.h"

typedef struct stoa_market_source stoa_market_source;

/* Spawn mirrors and connector and start the port. OK with NULL where the settings name no such source. */
stoa_err stoa_source_open(stoa_platform *platform, uint32_t core, stoa_market_source **out);
/* Replay: wait for the end of the capture, print the figures as one JSON line. INVALID for another source. */
stoa_err stoa_source_result(stoa_platform *platform, stoa_market_source *source, stoa_buf *out);
void stoa_source_close(stoa_market_source *source);

#endif
