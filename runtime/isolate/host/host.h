/* host/host.h - the child: one actor, its turn, its timers, and the pipe to its node. Internal to runtime/.
 *
 * One thread. It acts only when its node gives it a turn; between turns it sleeps on its socket.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_HOST_HOST_H
#define STOA_RUNTIME_ISOLATE_HOST_HOST_H

#include "runtime/isolate/frame.h"
#include "runtime/isolate/process.h"

typedef struct stoa_host_timer {
    uint64_t id, due_ns, period_ns; /* id 0: free */
    const stoa_row *row;
    void *payload;
} stoa_host_timer;

/* What a turn asked for and has not taken effect: frames one behind the other, each behind its size. */
enum { STOA_HOST_STAGED_BYTES = 256 << 10 };

typedef struct stoa_host {
    stoa_isolate_pipe pipe;
    const stoa_kind *kind;
    void *state;
    stoa_isolate_given given;
    uint64_t turn_number;
    uint64_t known[STOA_ISOLATE_KNOWN];
    uint32_t known_count;
    uint64_t now_ns, timers_made, woken_ns; /* woken_ns: when the node is to wake us, 0: not */
    stoa_host_timer timers[STOA_ISOLATE_TIMERS];
    uint64_t random;
    uint32_t asks;                             /* under way */
    uint64_t ended[STOA_ISOLATE_PEERS];        /* who a peer was, before nobody was; 0: none */
    uint64_t monitors_made, monitors[STOA_ISOLATE_MONITORS]; /* the child's own numbers, 0: free */
    bool bound[STOA_TOPIC_SLOTS];

    /* of the turn under way */
    stoa_turn turn;
    bool later; /* somebody else would answer, which nobody can here */
    uint64_t kept, keeps_made; /* the asker it keeps, 0: none; all it has kept */
    bool exits, exits_failed;
    const stoa_row *reply; /* of the command being handled */
    void *answer;          /* room for it */
    const char *failed;
    stoa_err refused;      /* it answers so, and takes effect */
    char topic[STOA_NAME_MAX + 1];
    uint32_t staged_bytes, staged_count, asked;
    uint64_t monitors_before; /* those from there on are of this turn */
    uint64_t demonitored[STOA_ISOLATE_MONITORS];
    uint32_t demonitored_count;
    bool bound_before[STOA_TOPIC_SLOTS];
    uint64_t timers_before;               /* timers from there on are of this turn */
    uint64_t cancelled[STOA_ISOLATE_TIMERS];
    uint32_t cancelled_count;
    uint8_t staged[STOA_HOST_STAGED_BYTES];
} stoa_host;

extern stoa_host stoa_the_host;

/* Put limits on this process: memory, processor time, descriptors, processes; no core, no new rights, nobody of its user
 * looks into it; it dies with its parent. */
stoa_err stoa_host_limit(uint64_t memory_bytes, uint64_t cpu_s, int parent);
/* From now on no file can be opened but to read this one, libraries in the system's folders and the loader's cache of
 * those. After stoa_host_limit. Errors: UNSUPPORTED (no Landlock), IO. */
stoa_err stoa_host_close_files(const char *library);
/* From now on only the calls of a table, any other kills the process: while the library is loaded, and behind that. */
stoa_err stoa_host_seal_for_loading(void);
stoa_err stoa_host_seal(void);

/* Take the kind, and make room for its state and for what it hears. */
void stoa_host_take(const stoa_kind *kind);
/* Do what a frame of the node's says; what is none ends the process. */
void stoa_host_turn(const uint8_t *bytes, uint32_t size_bytes);
/* Look for frames until the node hangs up. */
__attribute__((noreturn)) void stoa_host_serve(void);
/* Sleep until the node rings. */
void stoa_host_wait(void);
/* Tell the node what the kind is (describe.h), in the turn that asks for it. */
void stoa_host_describe(const stoa_isolate_head *head);

/* Begin a turn: nothing is staged. topic: what its message was published on. */
void stoa_host_begin(const stoa_isolate_head *head, const char *topic);
/* Put a frame aside; text NULL: none; row NULL: without a payload. Errors: FULL, TOO_LARGE. */
stoa_err stoa_host_stage(stoa_isolate_head *head, const char *text, const stoa_row *row, const void *payload);
/* Another one has a peer's name now, or nobody (0). */
void stoa_host_has_peer(uint32_t peer, uint64_t ref);
/* Whether the child may send to it, monitor it and so on. Errors: DENIED, CLOSED (nobody). */
stoa_err stoa_host_may_reach(stoa_ref to);
/* A down is about to be heard: its monitor is no more. */
void stoa_host_went_down(uint64_t token);
/* Monitors and bindings of the turn hold, or never were. */
void stoa_host_settle_ties(bool ok);
/* What was staged takes effect (error OK) or not, and the node is told how the turn ended. */
void stoa_host_settle(stoa_err error);
/* Write a frame, waiting for room. */
void stoa_host_write(const void *bytes, uint32_t size_bytes);
/* Have the node wake us for the next timer. */
void stoa_host_arm(void);

#endif
