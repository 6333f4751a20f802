/* log.h - JSON lines on stderr: {"time":...,"level":"info","event":"shard_open","shard":"trade",...}.
 *
 * One line per event, written with one write(2). An event is a stable name in snake_case; details are
 * key/value pairs, never part of the name. Cold paths only: formatting costs microseconds. Any thread. errno
 * is left as it was.
 *
 * A line is at most STOA_LOG_LINE_MAX bytes, which a pipe takes whole or not at all, so lines of several
 * threads and processes never mix. Values that do not fit are shortened or left out, and the line then says
 * "cut":true. A line that could not be written is counted, and the next one that could says "lost":N.
 *
 * Who reads stderr may be slow, or stop reading. A thread waits for it STOA_LOG_PATIENCE_MS at most, and no more until a
 * line has found room again; cores never wait (stoa_log_never_wait). What is not written is lost, and counted.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_LOG_H
#define STOA_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/api.h"
#include "base/error.h"

STOA_API_BEGIN

typedef enum stoa_log_level {
    STOA_LOG_DEBUG,
    STOA_LOG_INFO,
    STOA_LOG_WARN,
    STOA_LOG_ERROR,
    STOA_LOG_OFF
} stoa_log_level;

enum { STOA_LOG_LINE_MAX = 4096, STOA_LOG_PATIENCE_MS = 1000 };

typedef struct stoa_log_pair {
    const char *key;
    enum { STOA_LOG_TEXT, STOA_LOG_INT, STOA_LOG_UINT } cls;
    const char *text; /* NULL is printed as null; bytes that are not UTF-8 as U+FFFD */
    int64_t i;
    uint64_t u;
} stoa_log_pair;
#define STOA_KV(key_, text_) ((stoa_log_pair){.key = (key_), .cls = STOA_LOG_TEXT, .text = (text_)})
#define STOA_KI(key_, int_)  ((stoa_log_pair){.key = (key_), .cls = STOA_LOG_INT, .i = (int64_t)(int_)})
#define STOA_KU(key_, uint_) ((stoa_log_pair){.key = (key_), .cls = STOA_LOG_UINT, .u = (uint64_t)(uint_)})

/* stoa_log(STOA_LOG_INFO, "shard_open", STOA_KV("shard", name), STOA_KU("position", p)) with 0 to 8 pairs;
 * more do not compile. The pairs are evaluated even when the level is not written. */
#define stoa_log(level, ...)                                                                                 \
    STOA_LOG_PICK_(__VA_ARGS__, MORE, MORE, MORE, MORE, MORE, MORE, MORE, MORE, NONE, 0)(level, __VA_ARGS__)
#define STOA_LOG_PICK_(event, p1, p2, p3, p4, p5, p6, p7, p8, pick, ...) STOA_LOG_##pick##_
#define STOA_LOG_NONE_(level, event)                                     stoa_log_write((level), (event), NULL, 0)
#define STOA_LOG_MORE_(level, event, ...)                                                                    \
    stoa_log_write((level), (event), (const stoa_log_pair[]){__VA_ARGS__},                                   \
                   (unsigned)(sizeof((const stoa_log_pair[]){__VA_ARGS__}) / sizeof(stoa_log_pair)))
void stoa_log_write(stoa_log_level level, const char *event, const stoa_log_pair *pairs, unsigned count);

/* At level ERROR: err's name and text, and the calling thread's trail where it is err's. */
void stoa_log_error(const char *event, stoa_err err);

/* From now on lines of the calling thread that stderr does not take at once are lost and counted; false: it waits, as threads do. */
void stoa_log_never_wait(bool never);

/* Lines below level are not written. Default INFO; OFF: none at all. Any thread, any time. */
void stoa_log_level_set(stoa_log_level level);
stoa_log_level stoa_log_level_get(void);
/* "debug", "info", "warn", "error", "off". Static string. */
const char *stoa_log_level_name(stoa_log_level level);
/* The level of that name. Errors: INVALID. */
stoa_err stoa_log_level_parse(const char *name, stoa_log_level *out);

STOA_API_END

#endif
