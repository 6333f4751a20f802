/* capture.c - see capture.h. zlib reads gzip and plain text alike.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/ports/capture.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PROBE_FRAMES = 1000, TIME_DIGITS_MAX = 19, BUFFER_BYTES = MARKET_FRAME_BYTES_MAX + 64 };

struct stoa_capture {
    gzFile file;
    uint64_t skipped;
    size_t from, to; /* what was read and not used: bytes[from, to) */
    bool ended, damaged;
    char bytes[BUFFER_BYTES];
};

stoa_err stoa_capture_open(const char *path, stoa_capture **out)
{
    stoa_capture *capture = calloc(1, sizeof *capture);
    if (!capture) { return STOA_FAIL(STOA_E_NOMEM, "a capture's buffer"); }
    capture->file = gzopen(path, "rb");
    if (!capture->file) {
        stoa_err err = errno == ENOENT ? STOA_E_NOT_FOUND : STOA_E_IO;
        free(capture);
        return STOA_FAIL(err, "cannot open %s: %s", path, strerror(errno));
    }
    (void)gzbuffer(capture->file, 1 << 17);
    *out = capture;
    return STOA_OK;
}

void stoa_capture_close(stoa_capture *capture)
{
    if (!capture) { return; }
    (void)gzclose_r(capture->file);
    free(capture);
}

uint64_t stoa_capture_skipped(const stoa_capture *capture)
{
    return capture->skipped;
}

/* Read more behind what is there. */
static void fill(stoa_capture *capture)
{
    memmove(capture->bytes, capture->bytes + capture->from, capture->to - capture->from);
    capture->to -= capture->from;
    capture->from = 0;
    int got = gzread(capture->file, capture->bytes + capture->to, (unsigned)(sizeof capture->bytes - capture->to));
    int code = Z_OK;
    if (got > 0) { capture->to += (size_t)got; }
    (void)gzerror(capture->file, &code);
    capture->damaged = got < 0 || (code != Z_OK && code != Z_STREAM_END);
    capture->ended = got <= 0 || capture->damaged;
}

/* The next line without its end; NULL at the end of the file. whole_out: false for a piece of a line without end in
 * sight. */
static char *next_line(stoa_capture *capture, size_t *size_out, bool *whole_out)
{
    for (;;) {
        char *line = capture->bytes + capture->from;
        size_t held = capture->to - capture->from;
        char *end = held ? memchr(line, '\n', held) : NULL;
        bool full = held == sizeof capture->bytes;
        if (!end && !capture->ended && !full) {
            fill(capture);
            continue;
        }
        if (!end && held == 0) { return NULL; }
        *whole_out = end || !full;
        *size_out = end ? (size_t)(end - line) : held;
        capture->from += *size_out + (end ? 1 : 0);
        return line;
    }
}

/* Split "<local_ns> <frame>". */
static bool split(const char *line, size_t size, uint64_t *local_ns_out, const char **frame_out, size_t *size_out)
{
    uint64_t local_ns = 0;
    size_t digits = 0;
    for (; digits < size && line[digits] >= '0' && line[digits] <= '9'; digits++) {
        if (digits == TIME_DIGITS_MAX) { return false; }
        local_ns = local_ns * 10 + (uint64_t)(line[digits] - '0');
    }
    if (digits == 0 || digits + 1 >= size || line[digits] != ' ') { return false; }
    if (line[size - 1] == '\r') { size--; }
    *local_ns_out = local_ns;
    *frame_out = line + digits + 1;
    *size_out = size - digits - 1;
    return *size_out > 0 && *size_out <= MARKET_FRAME_BYTES_MAX;
}

stoa_err stoa_capture_next(stoa_capture *capture, uint64_t *local_ns_out, const char **frame_out, size_t *size_out)
{
    size_t size = 0;
    bool whole = true, long_line = false;
    const char *line = NULL;
    while ((line = next_line(capture, &size, &whole)) != NULL) {
        if (!whole || long_line) { /* pass over it up to its end */
            capture->skipped += whole;
            if (whole) { return STOA_E_TOO_LARGE; }
            long_line = true;
            continue;
        }
        if (split(line, size, local_ns_out, frame_out, size_out)) { return STOA_OK; }
        capture->skipped += size > 0;
    }
    return capture->damaged ? STOA_E_CORRUPT : STOA_E_AGAIN;
}

/* --- what is in it */

typedef struct probe {
    stoa_text14 *symbols;
    uint32_t max, count;
} probe;

static void note(probe *p, const stoa_text14 *symbol)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (STOA_TEXT_EQ(&p->symbols[i], symbol)) { return; }
    }
    if (p->count < p->max) { p->symbols[p->count++] = *symbol; }
}

static stoa_err probe_frames(stoa_capture *capture, const market_venue *venue, stoa_json_parser *parser,
                             market_news *news, probe *p)
{
    market_frame frame = {.symbol = NULL};
    uint64_t local_ns;
    for (int i = 0; i < PROBE_FRAMES; i++) {
        stoa_err err = stoa_capture_next(capture, &local_ns, &frame.bytes, &frame.size_bytes);
        if (err == STOA_E_TOO_LARGE) { continue; }
        if (err) { return err == STOA_E_AGAIN ? STOA_OK : err; }
        if (venue->decode(parser, &frame, news) == STOA_OK && news->row) { note(p, &news->symbol); }
    }
    return STOA_OK;
}

stoa_err stoa_capture_symbols(const char *path, const market_venue *venue, stoa_text14 *symbols, uint32_t symbols_max,
                              uint32_t *count_out)
{
    stoa_capture *capture = NULL;
    stoa_json_parser *parser = NULL;
    probe p = {.symbols = symbols, .max = symbols_max};
    stoa_err err = stoa_capture_open(path, &capture);
    if (err) { return err; }
    market_news *news = calloc(1, sizeof *news);
    err = news ? stoa_json_parser_new(MARKET_FRAME_BYTES_MAX, &parser) : STOA_E_NOMEM;
    if (!err) { err = probe_frames(capture, venue, parser, news, &p); }
    stoa_json_parser_free(parser);
    free(news);
    stoa_capture_close(capture);
    if (err) { return STOA_PASS(err, "reading %s", path); }
    if (p.count == 0) { return STOA_FAIL(STOA_E_NOT_FOUND, "no symbol of %s in %s", venue->name, path); }
    *count_out = p.count;
    return STOA_OK;
}
