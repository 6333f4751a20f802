/* system.h - what the runtime tells actors: the table stoa_system. A kind hears a row of it as it hears another kind's:
 * HEAR(K, stoa_system, down) in K_HEARS gives stoa_err K_on_stoa_system_down(turn, self, const stoa_system_down *in).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_SYSTEM_H
#define STOA_RUNTIME_SYSTEM_H

#include "base/api.h"
#include "base/table.h"

STOA_API_BEGIN

/* Why an actor ended. NORMAL and SHUTDOWN are no failures: nobody linked to it fails, a transient child stays away. */
#define stoa_end_VALUES(V, E)                                                                                         \
    V(E, NORMAL, "normal")       /* it ended itself */                                                                 \
    V(E, SHUTDOWN, "shutdown")   /* it was told to */                                                                  \
    V(E, FAILED, "failed")       /* stoa_fail, an exit with a reason, or whom it was linked to */                      \
    V(E, KILLED, "killed")       /* it did not end within its deadline */                                              \
    V(E, ESCALATED, "escalated") /* its children failed more often than it may restart them */                         \
    V(E, NO_MEMORY, "no memory") /* above its kind's memory_quota_bytes */                                             \
    V(E, GONE, "gone")           /* there was no such actor */                                                         \
    V(E, LOST, "lost")           /* it is of another node, which cannot be reached any more or has restarted */
STOA_ENUM(stoa_end)

#define stoa_system_down_FIELDS(F, S)                                                                                  \
    F(S, uint64_t, ref)                                                                                                \
    F(S, uint64_t, token)                                                                                              \
    F(S, stoa_text62, text)                                                                                            \
    F(S, stoa_end, reason) F(S, uint8_t, returns) F(S, uint16_t, core) F(S, uint32_t, restarts)
#define stoa_system_exit_FIELDS(F, S) stoa_system_down_FIELDS(F, S)
#define stoa_system_gathered_FIELDS(F, S)                                                                              \
    F(S, uint64_t, token)                                                                                              \
    F(S, uint32_t, asked) F(S, uint32_t, answered) F(S, uint32_t, refused) F(S, uint32_t, timed_out)
#define stoa_system_ready_FIELDS(F, S) F(S, uint64_t, token) F(S, int32_t, fd) F(S, uint32_t, events)
#define stoa_system_room_FIELDS(F, S)                                                                                  \
    F(S, uint64_t, ref)                                                                                                \
    F(S, uint64_t, token)                                                                                              \
    F(S, int32_t, error)                                                                                               \
    F(S, uint32_t, room)
#define stoa_system_refused_FIELDS(F, S)                                                                               \
    F(S, uint64_t, ref)                                                                                                \
    F(S, uint64_t, token)                                                                                              \
    F(S, int32_t, error)                                                                                               \
    F(S, uint32_t, row)
#define stoa_system_undelivered_FIELDS(F, S)                                                                           \
    F(S, uint64_t, token)                                                                                              \
    F(S, int32_t, error)                                                                                               \
    F(S, uint32_t, row)                                                                                                \
    F(S, stoa_text30, table)                                                                                           \
    F(S, stoa_text62, to)
#define stoa_system_ROWS(ROW, K)                                                                                       \
    ROW(K, CONTROL, down, _,                                                                                           \
        "A monitored actor ended; token is the monitor. returns: it is restarted under the same ref. May overtake what " \
        "that actor sent before.")                                                                                     \
    ROW(K, CONTROL, exit, _, "A linked actor ended, and this one traps exits.")                                        \
    ROW(K, CAST, gathered, _, "Every ask of a gather was answered, refused or timed out.")                             \
    ROW(K, CAST, ready, _, "A watched descriptor is ready; it is watched no more until the actor watches it again.")    \
    ROW(K, CONTROL, room, _,                                                                                           \
        "So many messages may go to an actor that was waited for; error FULL: too many wait, try again in a while; CLOSED: " \
        "it is gone.")                                                                                                 \
    ROW(K, CONTROL, refused, _, "A message that was sent to be told of (row is its number) was refused, and why.") \
    ROW(K, CAST, undelivered, _,                                                                                       \
        "A message that was mailed to an actor of another shard was refused there and has no effect. Heard once.")
STOA_TABLE(stoa_system)

STOA_API_END

#endif
