/* log.c - the one place that writes the lines of base/log.h.
 *
 * A line is built on the stack, so that logging works when memory is out. The buffer keeps TAIL_BYTES back
 * for what closes the line, and a pair that does not fit is taken back as a whole: whatever was cut, the line
 * is well-formed JSON.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

enum { TRIES = 64, WAIT_MS = 10 };
enum { TAIL_BYTES = 64 }; /* ,"cut":true,"lost":18446744073709551615} and newline */

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};
enum { LEVELS = sizeof level_names / sizeof level_names[0] };

/* Relaxed, both: a level that changes may take effect a line later, and a count orders nothing. */
static _Atomic stoa_log_level level_min = STOA_LOG_INFO;
static _Atomic uint64_t lost_lines;
static atomic_flag writing = ATOMIC_FLAG_INIT;
static _Thread_local bool never_waits;

static void put_value(stoa_buf *line, const stoa_log_pair *pair, size_t text_bytes)
{
    if (pair->cls == STOA_LOG_INT) {
        stoa_buf_printf(line, "%" PRId64, pair->i);
    } else if (pair->cls == STOA_LOG_UINT) {
        stoa_buf_printf(line, "%" PRIu64, pair->u);
    } else if (pair->text) {
        stoa_buf_json_string(line, pair->text, text_bytes);
    } else {
        stoa_buf_puts(line, "null");
    }
}

/* Half as much of text, ending where a character ends. */
static size_t shorten(const char *text, size_t text_bytes)
{
    text_bytes /= 2;
    while (text_bytes && ((unsigned char)text[text_bytes] & 0xc0) == 0x80) {
        text_bytes--;
    }
    return text_bytes;
}

/* Append the pair, its text shortened until it fits, or nothing; false when anything is missing. */
static bool put_pair(stoa_buf *line, const stoa_log_pair *pair)
{
    size_t before_bytes = line->used_bytes;
    size_t all_bytes = pair->cls == STOA_LOG_TEXT && pair->text ? strlen(pair->text) : 0;
    for (size_t text_bytes = all_bytes;; text_bytes = shorten(pair->text, text_bytes)) {
        stoa_buf_puts(line, before_bytes > 1 ? "," : "");
        stoa_buf_json_string(line, pair->key, strlen(pair->key));
        stoa_buf_puts(line, ":");
        put_value(line, pair, text_bytes);
        if (!line->cut) { return text_bytes == all_bytes; }
        line->used_bytes = before_bytes;
        line->cut = false;
        if (!text_bytes) { return false; }
    }
}

/* Whether stderr takes a line now, or within patience_ms: a pipe that says so takes STOA_LOG_LINE_MAX bytes without waiting. */
static bool ready(int patience_ms)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&out, 1, patience_ms) > 0;
}

/* The whole line; a regular file may take it in parts. */
static bool write_whole(const char *at, size_t size_bytes)
{
    while (size_bytes) {
        ssize_t written = write(STDERR_FILENO, at, size_bytes);
        if (written < 0 && errno == EINTR) { continue; }
        if (written <= 0) { return false; }
        at += written;
        size_bytes -= (size_t)written;
    }
    return true;
}

/* One thread at a time, so that the room that one saw is not filled by another. What holds it does not wait; a thread that must
 * not wait either tries some times, for holders that were just interrupted. */
static bool write_alone(const char *at, size_t size_bytes)
{
    bool held = true, written = false;
    for (int i = 0; i < TRIES && (held = atomic_flag_test_and_set_explicit(&writing, memory_order_acquire)); i++) {
        (void)sched_yield();
    }
    if (held) { return false; }
    if (ready(0)) { written = write_whole(at, size_bytes); }
    atomic_flag_clear_explicit(&writing, memory_order_release);
    return written;
}

static bool write_line(const char *at, size_t size_bytes, bool waits)
{
    if (write_alone(at, size_bytes)) { return true; }
    for (int ms = 0; waits && ms < STOA_LOG_PATIENCE_MS; ms += WAIT_MS) {
        if (ready(WAIT_MS) && write_alone(at, size_bytes)) { return true; }
    }
    return false;
}

static void close_and_write(stoa_buf *line, bool whole)
{
    uint64_t lost = atomic_exchange_explicit(&lost_lines, 0, memory_order_relaxed);
    line->cap_bytes = STOA_LOG_LINE_MAX;
    if (!whole) { stoa_buf_puts(line, ",\"cut\":true"); }
    if (lost) { stoa_buf_printf(line, ",\"lost\":%" PRIu64, lost); }
    stoa_buf_puts(line, "}\n");
    bool waits = !never_waits && !lost; /* somebody has waited in vain already */
    if (!write_line(line->at, line->used_bytes, waits)) {
        atomic_fetch_add_explicit(&lost_lines, lost + 1, memory_order_relaxed);
    }
}

void stoa_log_write(stoa_log_level level, const char *event, const stoa_log_pair *pairs, unsigned count)
{
    if (level < stoa_log_level_get() || level >= STOA_LOG_OFF) { return; }
    int errno_before = errno;
    char storage[STOA_LOG_LINE_MAX], time[STOA_TIME_TEXT_MAX];
    stoa_buf line = {.at = storage, .cap_bytes = sizeof storage - TAIL_BYTES};
    stoa_time_print(stoa_clock_real.wall_ns(&stoa_clock_real), time);
    const stoa_log_pair head[] = {STOA_KV("time", time), STOA_KV("level", level_names[level]),
                                  STOA_KV("event", event)};

    bool whole = true;
    stoa_buf_puts(&line, "{");
    for (unsigned i = 0; i < sizeof head / sizeof head[0]; i++) {
        whole &= put_pair(&line, &head[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        whole &= put_pair(&line, &pairs[i]);
    }
    close_and_write(&line, whole);
    errno = errno_before;
}

/* The calling thread's trail if its last line tells of err; a trail that an earlier failure left behind is
 * not err's. */
static const char *trail_of(stoa_err err)
{
    const char *trail = stoa_err_trail(), *name = stoa_err_name(err), *last = strrchr(trail, '\n');
    size_t name_bytes = strlen(name);
    last = last ? last + 1 : trail;
    return strncmp(last, name, name_bytes) == 0 && last[name_bytes] == ' ' ? trail : NULL;
}

void stoa_log_error(const char *event, stoa_err err)
{
    const char *trail = trail_of(err);
    if (trail) {
        stoa_log(STOA_LOG_ERROR, event, STOA_KV("error", stoa_err_name(err)),
                 STOA_KV("text", stoa_err_text(err)), STOA_KV("trail", trail));
    } else {
        stoa_log(STOA_LOG_ERROR, event, STOA_KV("error", stoa_err_name(err)),
                 STOA_KV("text", stoa_err_text(err)));
    }
}

void stoa_log_never_wait(bool never)
{
    never_waits = never;
}

void stoa_log_level_set(stoa_log_level level)
{
    atomic_store_explicit(&level_min, level, memory_order_relaxed);
}

stoa_log_level stoa_log_level_get(void)
{
    return atomic_load_explicit(&level_min, memory_order_relaxed);
}

const char *stoa_log_level_name(stoa_log_level level)
{
    STOA_ASSERT((unsigned)level < LEVELS);
    return level_names[level];
}

stoa_err stoa_log_level_parse(const char *name, stoa_log_level *out)
{
    for (unsigned i = 0; i < LEVELS; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (stoa_log_level)i;
            return STOA_OK;
        }
    }
    return STOA_FAIL(STOA_E_INVALID, "\"%.32s\" is no log level: debug, info, warn, error, off", name);
}
