/* isolate/plugin.c - have a child describe its kind. See plugin.h.
 *
 * The child is one of its own: it loads the library under its limits and its filter, says what it has, and is ended. What it says
 * is bounded in bytes and in time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/plugin.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/wire.h"
#include "runtime/isolate/build.h"
#include "runtime/isolate/frame.h"
#include "runtime/isolate/process.h"

typedef struct asking {
    stoa_isolate_pipe pipe;
    uint64_t until_ns;
    bool done;
    size_t told_bytes;
    stoa_description description;
    uint8_t told[STOA_DESCRIBED_BYTES];
    uint8_t frame[STOA_ISOLATE_FRAME_MAX];
} asking;

#define WRONG(...) STOA_FAIL(STOA_E_MALFORMED, __VA_ARGS__)

static stoa_err take_frame(asking *a, uint32_t size_bytes)
{
    stoa_isolate_head head;
    const uint8_t *payload;
    uint32_t payload_bytes;
    bool frame = !stoa_isolate_frame_read(a->frame, size_bytes, &head, &payload, &payload_bytes);
    if (!frame || head.turn || head.text_bytes) { return WRONG("what the child wrote is no message"); }
    if (head.word == STOA_ISOLATE_FAILED) { return STOA_FAIL(STOA_E_TOO_LARGE, "its table is too large to be described"); }
    a->done = head.word == STOA_ISOLATE_DONE && !head.error && !payload_bytes;
    if (a->done) { return STOA_OK; }
    bool fits = head.word == STOA_ISOLATE_DESCRIPTION && payload_bytes && payload_bytes <= sizeof a->told - a->told_bytes;
    if (!fits) { return WRONG("what the child wrote is no description"); }
    memcpy(a->told + a->told_bytes, payload, payload_bytes);
    a->told_bytes += payload_bytes;
    return STOA_OK;
}

static stoa_err take_frames(asking *a)
{
    uint32_t size_bytes = 1;
    stoa_err err = STOA_OK;
    while (!a->done && size_bytes && !err) {
        if (stoa_isolate_pipe_read(&a->pipe, a->frame, &size_bytes)) { return WRONG("the child's ring holds no message"); }
        if (size_bytes) { err = take_frame(a, size_bytes); }
    }
    stoa_isolate_pipe_wake(&a->pipe);
    return err;
}

/* What its socket says. Errors: FAILED, it is gone. */
static stoa_err hear(asking *a)
{
    stoa_shm_note note;
    for (int said = 0; said < STOA_ISOLATE_SAID_MAX; said++) {
        int memory = -1;
        stoa_shm_heard heard = stoa_shm_socket_hear(a->pipe.socket, &note, &memory);
        if (heard == STOA_SHM_NOTHING) { return STOA_OK; }
        if (heard == STOA_SHM_GONE) { return STOA_E_FAILED; }
        if (heard == STOA_SHM_NOISE) { return WRONG("noise on the child's socket"); }
        if (heard == STOA_SHM_NOTE) {
            stoa_err err = stoa_isolate_pipe_meet(&a->pipe, &note, STOA_SHM_WELCOME, memory);
            if (memory >= 0) { (void)close(memory); }
            if (err) { return err; }
        }
    }
    return STOA_OK;
}

static stoa_err converse(asking *a)
{
    uint8_t frame[sizeof(stoa_isolate_head)];
    stoa_isolate_head head = {.word = STOA_ISOLATE_DESCRIBE};
    memcpy(frame, &head, sizeof head);
    stoa_err err = stoa_isolate_pipe_write(&a->pipe, frame, sizeof frame);
    while (!err && !a->done) {
        uint64_t now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
        if (now_ns >= a->until_ns) { return STOA_FAIL(STOA_E_TIMEOUT, "its library does not come to an end of loading"); }
        struct pollfd on = {.fd = a->pipe.socket, .events = POLLIN};
        if (stoa_isolate_pipe_sleep(&a->pipe)) { (void)poll(&on, 1, (int)((a->until_ns - now_ns) / 1000000 + 1)); }
        stoa_isolate_pipe_awake(&a->pipe);
        stoa_err heard = hear(a);
        err = stoa_isolate_pipe_met(&a->pipe) ? take_frames(a) : STOA_OK; /* what it wrote before it went counts */
        if (!err && !a->done) { err = heard; }
    }
    return err;
}

static stoa_err ask(asking *a, const stoa_isolate *isolate)
{
    stoa_isolate_order order;
    stoa_isolate_process process;
    int socket;
    stoa_err err = stoa_isolate_process_order(isolate, &order, &socket);
    if (err) { return err; }
    int rc = stoa_isolate_process_spawn(&order, &process);
    if (rc) {
        (void)close(socket);
        return STOA_FAIL(STOA_E_IO, "%s cannot be started: %s", order.path, strerror(rc));
    }
    err = stoa_isolate_pipe_offer(&a->pipe, socket, STOA_SHM_HELLO);
    if (err) { (void)close(socket); }
    if (!err) { err = converse(a); }
    stoa_isolate_pipe_close(&a->pipe);
    const char *why = stoa_isolate_process_end(&process);
    return err == STOA_E_FAILED ? STOA_FAIL(err, "%s: %s", isolate->library, why) : err;
}

stoa_err stoa_plugged_open(const stoa_isolate *isolate, const stoa_table *const *tables, stoa_plugged **out)
{
    asking *a = calloc(1, sizeof *a);
    if (!a) { return STOA_FAIL(STOA_E_NOMEM, "a description"); }
    a->pipe.socket = -1;
    a->until_ns = stoa_clock_real.now_ns(&stoa_clock_real) + (isolate->start_ns ? isolate->start_ns : STOA_S(10));
    stoa_err err = ask(a, isolate);
    if (!err && stoa_decode(STOA_TYPE(stoa_description), a->told, a->told_bytes, &a->description, NULL)) {
        err = STOA_PASS(STOA_E_MALFORMED, "what the child told is no description");
    }
    if (!err) { err = stoa_plugged_build(&a->description, tables, out); }
    free(a);
    return err;
}
