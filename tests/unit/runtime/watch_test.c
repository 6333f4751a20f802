/* watch_test.c - goal: an actor hears of its descriptors once each time it asks, awake or asleep, and nothing of a refused turn
 * or of a dead actor stays watched. Method: pipes, whose other end the test holds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/stoa.h"
#include "runtime/system.h"

#define reader_watch_FIELDS(F, S)   F(S, int32_t, fd) F(S, uint32_t, events) F(S, uint64_t, refuse)
#define reader_unwatch_FIELDS(F, S) F(S, int32_t, fd) F(S, uint32_t, refuse)
#define reader_again_FIELDS(F, S)   F(S, uint64_t, again)
#define reader_look_FIELDS          STOA_NO_FIELDS
#define reader_fail_FIELDS          STOA_NO_FIELDS
#define reader_seen_FIELDS(F, S)    F(S, uint64_t, told) F(S, uint64_t, bytes) F(S, uint64_t, sum) F(S, uint64_t, events) F(S, uint64_t, token)
#define reader_ROWS(ROW, K)                                                \
    ROW(K, COMMAND, watch, seen, "Watch; then refuse, if asked to.")       \
    ROW(K, COMMAND, unwatch, seen, "The same, not to watch.")              \
    ROW(K, COMMAND, again, seen, "Whether to watch again when it is ready.") \
    ROW(K, COMMAND, look, seen, "What came.")                              \
    ROW(K, COMMAND, fail, seen, "Fail.")                                   \
    ROW(K, REPLY, seen, _, "What came.")
STOA_TABLE(reader)
STOA_TABLE_DEFINE(reader)
typedef struct reader {
    reader_seen seen;
    uint64_t again;
} reader;
#define reader_HEARS(HEAR, K) HEAR(K, stoa_system, ready)
STOA_PLAIN_KIND(reader, .mailbox_limit = 16)

static stoa_err reader_on_watch(stoa_turn *turn, reader *self, const reader_watch *in, reader_seen *out)
{
    *out = self->seen;
    stoa_err err = stoa_turn_watch(turn, in->fd, in->events, (uint64_t)in->fd * 3);
    return err || !in->refuse ? err : STOA_E_STALE;
}
static stoa_err reader_on_unwatch(stoa_turn *turn, reader *self, const reader_unwatch *in, reader_seen *out)
{
    *out = self->seen;
    stoa_err err = stoa_turn_unwatch(turn, in->fd);
    return err || !in->refuse ? err : STOA_E_STALE;
}
static stoa_err reader_on_again(stoa_turn *turn, reader *self, const reader_again *in, reader_seen *out)
{
    (void)turn;
    self->again = in->again;
    *out = self->seen;
    return STOA_OK;
}
static stoa_err reader_on_look(stoa_turn *turn, reader *self, const reader_look *in, reader_seen *out)
{
    (void)turn, (void)in;
    *out = self->seen;
    return STOA_OK;
}
static stoa_err reader_on_fail(stoa_turn *turn, reader *self, const reader_fail *in, reader_seen *out)
{
    (void)self, (void)in, (void)out;
    return stoa_fail(turn, "asked to");
}
static stoa_err reader_on_stoa_system_ready(stoa_turn *turn, reader *self, const stoa_system_ready *in)
{
    uint8_t bytes[64];
    self->seen.told++;
    self->seen.events = in->events;
    self->seen.token = in->token;
    ssize_t got = (in->events & STOA_READABLE) ? read(in->fd, bytes, sizeof bytes) : 0;
    for (ssize_t i = 0; i < got; i++) { self->seen.sum += bytes[i]; }
    if (got > 0) { self->seen.bytes += (uint64_t)got; }
    return self->again ? stoa_turn_watch(turn, in->fd, STOA_READABLE, in->token) : STOA_OK;
}

typedef struct stage {
    stoa_node *node;
    stoa_ref reader;
    int pipe[2];
} stage;

static void stage_open(stage *s, stoa_idle idle)
{
    assert_int_equal(stoa_node_open(&(stoa_options){.idle = idle, .seed = 1}, &s->node), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &reader_kind, "reader/r", NULL, &s->reader), STOA_OK);
    assert_int_equal(pipe2(s->pipe, O_NONBLOCK | O_CLOEXEC), 0);
}

static void stage_close(stage *s)
{
    stoa_node_close(s->node, STOA_MS(100));
    (void)close(s->pipe[0]);
    (void)close(s->pipe[1]);
}

static stoa_err watch(stage *s, int fd, uint32_t events, bool refuse)
{
    reader_seen out;
    return reader_call_watch(s->node, s->reader, (reader_watch){fd, events, refuse}, STOA_S(10), &out);
}

static reader_seen look(stage *s)
{
    reader_seen out;
    assert_int_equal(reader_call_look(s->node, s->reader, (reader_look){0}, STOA_S(10), &out), STOA_OK);
    return out;
}

/* The core looks at its descriptors between batches: after so many calls it has. */
static reader_seen look_long(stage *s)
{
    for (int i = 0; i < 20; i++) {
        (void)look(s);
        (void)usleep(1000);
    }
    return look(s);
}

static reader_seen wait_for_bytes(stage *s, uint64_t bytes)
{
    reader_seen seen = look(s);
    for (int i = 0; seen.bytes < bytes && i < 10000; i++) {
        (void)usleep(1000);
        seen = look(s);
    }
    return seen;
}

static void every_byte_is_read(stoa_idle idle)
{
    stage s;
    reader_seen out;
    uint64_t sum = 0;
    stage_open(&s, idle);
    assert_int_equal(reader_call_again(s.node, s.reader, (reader_again){1}, STOA_S(10), &out), STOA_OK);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK);
    for (uint32_t i = 1; i <= 2000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        while (write(s.pipe[1], &byte, 1) != 1) {}
        sum += byte;
        if (i % 500 == 0) { /* the core sleeps in between, with nobody calling it but the descriptor */
            reader_seen seen = wait_for_bytes(&s, i);
            assert_int_equal(seen.bytes, i);
            assert_int_equal(seen.sum, sum);
            assert_int_equal(seen.token, (uint64_t)s.pipe[0] * 3);
        }
    }
    stage_close(&s);
}

static void a_sleeping_core_reads_every_byte(void **state)
{
    (void)state;
    every_byte_is_read(STOA_IDLE_ECO);
}

static void a_spinning_core_reads_every_byte(void **state)
{
    (void)state;
    every_byte_is_read(STOA_IDLE_LATENCY);
}

static void one_watch_tells_once(void **state)
{
    (void)state;
    stage s;
    stage_open(&s, STOA_IDLE_ECO);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK);
    assert_int_equal(write(s.pipe[1], "abc", 3), 3);
    assert_int_equal(wait_for_bytes(&s, 3).told, 1);
    assert_int_equal(write(s.pipe[1], "abc", 3), 3);
    assert_int_equal(look_long(&s).told, 1);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK);
    assert_int_equal(wait_for_bytes(&s, 6).told, 2);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK);
    (void)close(s.pipe[1]);
    reader_seen seen = look_long(&s);
    assert_int_equal(seen.told, 3);
    assert_true(seen.events & STOA_HANGUP);
    s.pipe[1] = -1;
    stage_close(&s);
}

static void a_refused_turn_changes_no_watch(void **state)
{
    (void)state;
    stage s;
    reader_seen out;
    stage_open(&s, STOA_IDLE_ECO);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, true), STOA_E_STALE);
    assert_int_equal(write(s.pipe[1], "abc", 3), 3);
    assert_int_equal(look_long(&s).told, 0);
    assert_int_equal(watch(&s, s.pipe[1], STOA_WRITABLE, false), STOA_OK); /* at once */
    assert_int_equal(look_long(&s).told, 1);
    assert_int_equal(read(s.pipe[0], (char[3]){0}, 3), 3);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK);
    assert_int_equal(reader_call_unwatch(s.node, s.reader, (reader_unwatch){s.pipe[0], 1}, STOA_S(10), &out), STOA_E_STALE);
    assert_int_equal(write(s.pipe[1], "abc", 3), 3);
    assert_int_equal(wait_for_bytes(&s, 3).told, 2);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK);
    assert_int_equal(reader_call_unwatch(s.node, s.reader, (reader_unwatch){s.pipe[0], 0}, STOA_S(10), &out), STOA_OK);
    assert_int_equal(write(s.pipe[1], "abc", 3), 3);
    assert_int_equal(look_long(&s).told, 2);
    stage_close(&s);
}

static void watches_end_with_their_actor(void **state)
{
    (void)state;
    stage s;
    reader_seen out;
    stage_open(&s, STOA_IDLE_ECO);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK);
    assert_int_equal(reader_call_fail(s.node, s.reader, (reader_fail){0}, STOA_S(10), &out), STOA_E_FAILED);
    assert_int_equal(write(s.pipe[1], "abc", 3), 3);
    assert_int_equal(look_long(&s).told, 0);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK); /* nobody else has it */
    assert_int_equal(wait_for_bytes(&s, 3).told, 1);
    stage_close(&s);
}

static void bad_descriptors_are_named(void **state)
{
    (void)state;
    stage s;
    stoa_ref other;
    reader_seen out;
    stage_open(&s, STOA_IDLE_ECO);
    assert_int_equal(watch(&s, 9999, STOA_READABLE, false), STOA_E_INVALID);
    assert_int_equal(watch(&s, s.pipe[0], 0, false), STOA_E_INVALID);
    assert_int_equal(watch(&s, s.pipe[0], 64, false), STOA_E_INVALID);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(watch(&s, file, STOA_READABLE, false), STOA_E_INVALID);
    (void)close(file);
    assert_int_equal(stoa_spawn(s.node, &reader_kind, "reader/other", NULL, &other), STOA_OK);
    assert_int_equal(watch(&s, s.pipe[0], STOA_READABLE, false), STOA_OK);
    assert_int_equal(reader_call_watch(s.node, other, (reader_watch){s.pipe[0], STOA_READABLE, 0}, STOA_S(10), &out),
                     STOA_E_EXISTS);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sleeping_core_reads_every_byte), cmocka_unit_test(a_spinning_core_reads_every_byte),
        cmocka_unit_test(one_watch_tells_once),             cmocka_unit_test(a_refused_turn_changes_no_watch),
        cmocka_unit_test(watches_end_with_their_actor),     cmocka_unit_test(bad_descriptors_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
