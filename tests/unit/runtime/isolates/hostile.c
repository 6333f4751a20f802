/* isolates/hostile.c - a program in the place of stoa-isolate that keeps to no rule; which one it breaks is its "library".
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/isolate/frame.h"
#include "runtime/isolate/process.h"
#include "tests/unit/runtime/isolates/odd.h"

STOA_TABLE_DEFINE(helper)
STOA_TABLE_DEFINE(odd)

static stoa_isolate_pipe tube = {.socket = -1};
static stoa_isolate_given given;
static stoa_isolate_head head; /* of the last frame that was heard */
static uint8_t frame[STOA_ISOLATE_FRAME_MAX];

static void rest(void)
{
    for (;;) { (void)pause(); }
}

static void hear(void)
{
    stoa_shm_note note;
    int memory = -1;
    struct pollfd on = {.fd = STOA_ISOLATE_FD, .events = POLLIN};
    (void)poll(&on, 1, 10);
    stoa_shm_heard heard = stoa_shm_socket_hear(STOA_ISOLATE_FD, &note, &memory);
    if (heard == STOA_SHM_GONE) { _exit(0); }
    if (heard == STOA_SHM_NOTE) { (void)stoa_isolate_pipe_meet(&tube, &note, STOA_SHM_HELLO, memory); }
}

/* Wait for the next turn. */
static void next(void)
{
    uint32_t size_bytes = 0, payload_bytes;
    const uint8_t *payload = frame;
    while (!size_bytes) {
        if (stoa_isolate_pipe_read(&tube, frame, &size_bytes)) { _exit(1); }
        if (!size_bytes && stoa_isolate_pipe_sleep(&tube)) { hear(); }
        stoa_isolate_pipe_awake(&tube);
    }
    (void)stoa_isolate_frame_read(frame, size_bytes, &head, &payload, &payload_bytes);
    if (head.word == STOA_ISOLATE_START) { memcpy(&given, payload, sizeof given); }
}

static void put(stoa_isolate_head *what, const stoa_row *row, const void *payload)
{
    what->turn = head.turn;
    uint32_t size_bytes = stoa_isolate_frame_write(frame, what, NULL, row, payload);
    while (stoa_isolate_pipe_write(&tube, frame, size_bytes) == STOA_E_FULL) { stoa_isolate_pipe_wake(&tube); }
    stoa_isolate_pipe_wake(&tube);
}

static void done(void)
{
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_DONE}, NULL, NULL);
}

/* --- what it does once it was started and a message came, or is asked to describe itself */

static void do_garbage(void)
{
    memset(tube.own.ring + (tube.writer.at & tube.writer.mask), 0xa5, 4096);
    stoa_shm_socket_ring(STOA_ISOLATE_FD);
}
static void do_huge(void)
{
    uint64_t word = (tube.writer.frames + 1) << 32 | 0x7fffffff;
    memcpy(tube.own.ring + (tube.writer.at & tube.writer.mask), &word, sizeof word);
    stoa_shm_socket_ring(STOA_ISOLATE_FD);
}
static void do_short(void)
{
    (void)stoa_isolate_pipe_write(&tube, "x", 1);
    stoa_isolate_pipe_wake(&tube);
}
static void do_word(void)
{
    put(&(stoa_isolate_head){.word = 99}, NULL, NULL);
}
static void do_bytes(void)
{
    uint8_t random[200];
    for (unsigned i = 0; i < sizeof random; i++) { random[i] = (uint8_t)rand(); }
    memcpy(frame, &(stoa_isolate_head){.word = STOA_ISOLATE_DONE, .turn = head.turn}, sizeof head);
    memcpy(frame + sizeof head, random, sizeof random);
    (void)stoa_isolate_pipe_write(&tube, frame, sizeof head + sizeof random);
    stoa_isolate_pipe_wake(&tube);
}
static void do_beyond(void)
{
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_DONE, .error = (int32_t)STOA_E_RANGE}, NULL, NULL);
    head.turn++;
    done(); /* of a turn that it was not given */
}
static void do_stranger(void)
{
    helper_note note = {1};
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_SEND, .ref = head.ref ^ 0x10000001}, &helper_rows[helper_ROW_note], &note);
}
static void do_row(void)
{
    stoa_system_refused row = {.row = 1};
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_SEND, .ref = given.peers[0].ref}, &stoa_system_rows[stoa_system_ROW_refused], &row);
}
static void do_reply(void)
{
    helper_doubled reply = {1};
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_SEND, .ref = given.peers[0].ref}, &helper_rows[helper_ROW_doubled], &reply);
}
static void do_flood(void)
{
    helper_note note = {1};
    for (;;) { put(&(stoa_isolate_head){.word = STOA_ISOLATE_SEND, .ref = given.peers[0].ref}, &helper_rows[helper_ROW_note], &note); }
}
static void do_error(void)
{
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_DONE, .error = -12345}, NULL, NULL);
}
static void do_cursor(void)
{
    atomic_store(&tube.own.face->read_frames, 1 << 20);
    atomic_store(&tube.own.face->read_bytes, UINT64_C(1) << 40);
    rest();
}
static void do_noise(void)
{
    (void)send(STOA_ISOLATE_FD, "a noise", 7, 0);
}
static void do_memory_again(void)
{
    static stoa_isolate_pipe second = {.socket = -1}; /* as good as the first one */
    (void)stoa_isolate_pipe_offer(&second, STOA_ISOLATE_FD, STOA_SHM_WELCOME);
}
static void do_mute(void)
{
    (void)signal(SIGTERM, SIG_IGN);
    rest();
}

static void describe(void)
{
    uint8_t random[1000];
    for (unsigned i = 0; i < sizeof random; i++) { random[i] = (uint8_t)rand(); }
    memcpy(frame, &(stoa_isolate_head){.word = STOA_ISOLATE_DESCRIPTION, .turn = head.turn}, sizeof head);
    memcpy(frame + sizeof head, random, sizeof random);
    while (stoa_isolate_pipe_write(&tube, frame, sizeof head + sizeof random) == STOA_E_FULL) { stoa_isolate_pipe_wake(&tube); }
    stoa_isolate_pipe_wake(&tube);
}
static void do_described(void)
{
    describe();
    done();
}
static void do_endless(void)
{
    for (;;) { describe(); }
}
static void do_untold(void)
{
    done();
}
static void do_topic(void)
{
    stoa_isolate_head what = {.word = STOA_ISOLATE_TOPIC, .turn = head.turn, .token = STOA_ISOLATE_SUBSCRIBE};
    uint32_t size_bytes = stoa_isolate_frame_write(frame, &what, "helper.>", NULL, NULL);
    (void)stoa_isolate_pipe_write(&tube, frame, size_bytes);
    stoa_isolate_pipe_wake(&tube);
}
static void do_publish(void)
{
    helper_note note = {1};
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_PUBLISH, .token = 3}, &helper_rows[helper_ROW_note], &note);
}
static void do_kept(void)
{
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_KEPT}, NULL, NULL); /* without a number */
}
static void do_answer(void)
{
    for (;;) { put(&(stoa_isolate_head){.word = STOA_ISOLATE_ANSWER, .token = 7}, NULL, NULL); }
}
static void do_link(void)
{
    put(&(stoa_isolate_head){.word = STOA_ISOLATE_LINK, .ref = head.ref ^ 0x10000001}, NULL, NULL);
}
static void do_demonitor(void)
{
    for (;;) { put(&(stoa_isolate_head){.word = STOA_ISOLATE_DEMONITOR, .token = 1}, NULL, NULL); }
}

static const struct {
    const char *name;
    void (*run)(void);
} deeds[] = {{"garbage", do_garbage},   {"huge", do_huge},     {"short", do_short},   {"word", do_word},     {"bytes", do_bytes},
             {"beyond", do_beyond},     {"row", do_row},       {"reply", do_reply},   {"flood", do_flood},   {"error", do_error},
             {"described", do_described}, {"endless", do_endless}, {"untold", do_untold},
             {"topic", do_topic}, {"publish", do_publish}, {"link", do_link}, {"kept", do_kept}, {"answer", do_answer}, {"demonitor", do_demonitor},
             {"stranger", do_stranger}, {"cursor", do_cursor}, {"noise", do_noise},   {"again", do_memory_again}, {"mute", do_mute}};

/* Memory that can shrink under its reader. */
static void offer_unsealed(void)
{
    int memory = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    (void)!ftruncate(memory, STOA_SHM_FACE_BYTES + STOA_SHM_RING_MIN);
    stoa_shm_note note = {
        .magic = STOA_SHM_MAGIC, .version = STOA_SHM_VERSION, .word = STOA_SHM_WELCOME, .ring_bytes = STOA_SHM_RING_MIN};
    (void)stoa_shm_socket_say(STOA_ISOLATE_FD, &note, memory);
    rest();
}

int main(int count, char **args)
{
    const char *deed = count > 1 ? args[1] : "";
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* where a test fails */
    if (strcmp(deed, "silent") == 0) { rest(); }
    if (strcmp(deed, "unsealed") == 0) { offer_unsealed(); }
    if (stoa_isolate_pipe_offer(&tube, STOA_ISOLATE_FD, STOA_SHM_WELCOME)) { return 1; }
    while (!stoa_isolate_pipe_met(&tube)) { hear(); }
    next();
    if (head.word != STOA_ISOLATE_DESCRIBE) {
        done();
        next();
    }
    for (unsigned i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
        if (strcmp(deeds[i].name, deed) == 0) { deeds[i].run(); }
    }
    rest();
}
