/* log.h - JSON lines on stderr: {"time":...,"level":"info","event":"shard_open","shard":"trade",...}.
 *
 * One line per event, written with one write(2). An event is a stable name in snake_case; details are key/value pairs,
 * never part of the name. Cold paths only: formatting costs microseconds. Any thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_LOG_H
#define STOA_BASE_LOG_H

#include <stdint.h>

#include "base/error.h"

typedef enum stoa_log_level { STOA_LOG_DEBUG, STOA_LOG_INFO, STOA_LOG_WARN, STOA_LOG_ERROR, STOA_LOG_OFF } stoa_log_level;

typedef struct stoa_log_pair {
    const char *key;
    enum { STOA_LOG_TEXT, STOA_LOG_INT, STOA_LOG_UINT } cls;
    const char *text;
    int64_t i;
    uint64_t u;
} stoa_log_pair;
#define STOA_KV(key_, text_) ((stoa_log_pair){.key = (key_), .cls = STOA_LOG_TEXT, .text = (text_)})
#define STOA_KI(key_, int_)  ((stoa_log_pair){.key = (key_), .cls = STOA_LOG_INT, .i = (int64_t)(int_)})
#define STOA_KU(key_, uint_) ((stoa_log_pair){.key = (key_), .cls = STOA_LOG_UINT, .u = (uint64_t)(uint_)})

/* stoa_log(STOA_LOG_INFO, "shard_open", STOA_KV("shard", name), STOA_KU("position", p)); pairs may be absent. */
#define stoa_log(level, ...) STOA_LOG_PICK_(__VA_ARGS__, STOA_LOG_MORE_, STOA_LOG_MORE_, STOA_LOG_MORE_, STOA_LOG_MORE_, STOA_LOG_MORE_, STOA_LOG_MORE_, STOA_LOG_MORE_, STOA_LOG_MORE_, STOA_LOG_ONE_, 0)(level, __VA_ARGS__)
#define STOA_LOG_PICK_(a, b, c, d, e, f, g, h, i, pick, ...) pick
#define STOA_LOG_ONE_(level, event) stoa_log_write((level), (event), (const stoa_log_pair *)0, 0)
#define STOA_LOG_MORE_(level, event, ...)                                                                              \
    stoa_log_write((level), (event), (const stoa_log_pair[]){__VA_ARGS__},                                             \
                   (unsigned)(sizeof((const stoa_log_pair[]){__VA_ARGS__}) / sizeof(stoa_log_pair)))
void stoa_log_write(stoa_log_level level, const char *event, const stoa_log_pair *pairs, unsigned count);

/* An error with its name, text and the calling thread's trail. */
void stoa_log_error(const char *event, stoa_err err);

/* Lines below level are not written. Default INFO. Any thread, any time. */
void stoa_log_level_set(stoa_log_level level);
stoa_log_level stoa_log_level_get(void);
const char *stoa_log_level_name(stoa_log_level level);
stoa_err stoa_log_level_parse(const char *name, stoa_log_level *out);

#endif
