/* capture.h - reading a recorded stream: a text file, gzip or plain, with lines "<local_ns> <frame>".
 *
 * local_ns is when the frame was received (nanoseconds, any epoch, not decreasing by promise but not relied on); the
 * frame is what the venue sent, one line of JSON. Lines that are not of this form are counted and passed over.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PORTS_CAPTURE_H
#define STOA_NODE_PORTS_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "actors/market/venue.h"
#include "base/error.h"

typedef struct stoa_capture stoa_capture;

/* Open a file. Errors: NOT_FOUND, IO, NOMEM. Blocks, allocates. */
stoa_err stoa_capture_open(const char *path, stoa_capture **out);
void stoa_capture_close(stoa_capture *capture);

/* The next frame; valid until the next call. Errors: AGAIN (the end), CORRUPT (the gzip data is damaged or cut short:
 * no more frames come), TOO_LARGE (a line above MARKET_FRAME_BYTES_MAX is passed over; call again). Blocks. */
stoa_err stoa_capture_next(stoa_capture *capture, uint64_t *local_ns_out, const char **frame_out, size_t *size_out);

/* Lines passed over so far. */
uint64_t stoa_capture_skipped(const stoa_capture *capture);

/* What a capture holds: the symbols named in its first frames, as the venue's dialect reads them, in order of
 * appearance. Errors: stoa_capture_open's; NOT_FOUND when nothing in the first 1000 frames names a symbol. Blocks,
 * allocates. */
stoa_err stoa_capture_symbols(const char *path, const market_venue *venue, stoa_text14 *symbols, uint32_t symbols_max,
                              uint32_t *count_out);

#endif
