/* isolate/isolate.h - actors whose handlers run in a process of their own: plug-ins, and whatever must not take the node along.
 *
 * To everybody an isolate is an actor of its kind: it is spawned, sent to, asked, monitored and supervised, and has a bounded
 * mailbox. In the node a proxy stands for it, which copies messages into shared memory (transport/shm/ring.h) and does, in turns of
 * its own, what the child asks for. The child, `stoa-isolate`, loads one library and runs its kind's handlers.
 *
 * The kind is written as any plain kind is. Its library ends with STOA_PLUGIN(K), and is linked to nothing of Stoa's. A node that
 * runs it needs its table alone: STOA_ISOLATED_KIND(K) in place of STOA_PLAIN_KIND(K), with the same K_HEARS, and spawns it with
 * stoa_isolate as its args.
 *
 * Nothing that the child writes is trusted: it is copied, then decoded against the row's type, then held to what the child may do. It
 * may send to whom has sent to it (the last STOA_ISOLATE_KNOWN of them) and to the peers it was given by name, rows of its own
 * table, those it hears and those of the tables it was given. It may subscribe to, join and publish on topics that it was given. It acts only in turns that the node has it run: what it writes
 * beyond that ends it. Each of these ends the child, and the proxy fails with a reason that says which, so that its supervisor
 * restarts it or not: a crash, a kill, a turn above turn_ns, a system call that is not allowed, memory or processor time above
 * its limits, more messages in a turn than `sends`, bytes that are no message, a receiver, a row or a topic it may not use.
 *
 * What a handler may call there: send, within, told, when_room, ask, after, every, cancel, answer, refuse, keep, fail, exit, key, random, alloc
 * and free, find for its peers, monitor and link for whom it may send to, subscribe, join, bind and publish (topics it was not given:
 * DENIED). All else answers UNSUPPORTED. A send is not refused in the child's turn: casts that find their receiver full or gone are
 * dropped: dead letters of its core, counted by reason (`inspect`, drops); asks are answered with the error, and who is told is told. An event-sourced kind is refused by the
 * child (docs/decisions/0030), an isolate in a simulated node by its start: UNSUPPORTED. So is one where the kernel has no
 * Landlock, by which a child has no file but its library and those of the system.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_ISOLATE_H
#define STOA_RUNTIME_ISOLATE_ISOLATE_H

#include "base/api.h"
#include "base/metrics.h"
#include "runtime/actor.h"

STOA_API_BEGIN

enum {
    STOA_ISOLATE_WINDOW = 256,           /* messages on their way to a child; one more is refused with FULL */
    STOA_ISOLATE_KNOWN = 256,            /* of those who sent to it, the last ones that it may send to */
    STOA_ISOLATE_PEERS = 16,             /* names it may be given */
    STOA_ISOLATE_GRANTS = 8,             /* patterns of topics it may hear; that it may publish on */
    STOA_ISOLATE_MONITORS = 64,          /* of a child */
    STOA_ISOLATE_KEEPS = 128,            /* askers that it keeps; with one more the oldest is forgotten, and ends at its deadline */
    STOA_ISOLATE_PAYLOAD_MAX = 16 << 10, /* of a message, encoded */
    STOA_ISOLATE_SENDS = 64,             /* of one turn, at most */
    STOA_ISOLATE_ASKS = 256,             /* of a child, under way */
    STOA_ISOLATE_TIMERS = 64,            /* of a child */
    STOA_ISOLATE_ARGS_MAX = 4096,
};

/* The args an isolate is spawned with. All it points to outlives the actor. */
typedef struct stoa_isolate {
    const char *library;              /* path of the .so */
    const char *host;                 /* path of stoa-isolate; NULL: beside the program that runs, or in bin where libstoa.so is installed */
    const char *const *peers;         /* "kind/key", ends with NULL: whom it may find and send to: who has the name as a turn begins. NULL: nobody */
    const stoa_table *const *tables;  /* of what it may send beside its own and what it hears; ends with NULL. NULL: none */
    const void *args;                 /* for the kind's own start; NULL: none */
    uint32_t args_bytes;              /* as the kind has it, at most STOA_ISOLATE_ARGS_MAX */
    uint32_t sends;                   /* messages of one turn; 0 means STOA_ISOLATE_SENDS, which is the most */
    uint64_t memory_bytes;            /* address space; 0 means 256 MiB */
    uint64_t cpu_s;                   /* processor time of its whole life; 0 means an hour */
    uint64_t turn_ns;                 /* that a turn may take; 0 means 1 s */
    uint64_t start_ns;                /* that loading and start may take; 0 means 10 s */
    const char *const *hears;         /* patterns of topics and groups that it may subscribe to or join; ends with NULL. NULL: none */
    const char *const *tells;         /* those that it may publish on, likewise */
    stoa_counter *drops;              /* STOA_DROP_COUNT: what it sent and nobody got, by reason (node.h), over all its lives. NULL: not counted */
} stoa_isolate;

/* What the library exports. */
enum { STOA_PLUGIN_VERSION = 1 };
typedef struct stoa_plugin {
    uint32_t version, turn_bytes, kind_bytes;
    const stoa_kind *kind;
} stoa_plugin;
#define STOA_PLUGIN(K)                                                                                                 \
    extern const stoa_plugin stoa_plugin_of_library;                                                                   \
    __attribute__((visibility("default"))) const stoa_plugin stoa_plugin_of_library = {                                \
        STOA_PLUGIN_VERSION, sizeof(stoa_turn), sizeof(stoa_kind), &K##_kind};

/* --- the kind in the node */
#define stoa_isolate_self_look_FIELDS STOA_NO_FIELDS
#define stoa_isolate_self_beat_FIELDS STOA_NO_FIELDS
#define stoa_isolate_self_tick_FIELDS STOA_NO_FIELDS
#define stoa_isolate_self_ended_FIELDS STOA_NO_FIELDS
#define stoa_isolate_self_ROWS(ROW, K)                                           \
    ROW(K, CAST, look, _, "Look at what the child has written.")                \
    ROW(K, CONTROL, beat, _, "See whether the child comes on.")                 \
    ROW(K, CAST, tick, _, "A timer of the child is due.")                       \
    ROW(K, CONTROL, ended, _, "See whether its process has ended.")
STOA_TABLE(stoa_isolate_self)

stoa_err stoa_isolate_start(stoa_turn *turn, void *state, const void *args);
void stoa_isolate_stop(void *state);
void stoa_isolate_inspect(const void *state, stoa_buf *out);
stoa_err stoa_isolate_pass(stoa_turn *turn, void *state, const void *in, void *out);
stoa_err stoa_isolate_on_look(stoa_turn *turn, void *state, const void *in, void *out);
stoa_err stoa_isolate_on_beat(stoa_turn *turn, void *state, const void *in, void *out);
stoa_err stoa_isolate_on_tick(stoa_turn *turn, void *state, const void *in, void *out);
stoa_err stoa_isolate_on_ended(stoa_turn *turn, void *state, const void *in, void *out);
stoa_err stoa_isolate_on_ready(stoa_turn *turn, void *state, const void *in, void *out);
enum { STOA_ISOLATE_STATE_BYTES = 48 << 10 };

#define STOA_ISOLATED_COMMAND_(K, name) [K##_ROW_##name] = stoa_isolate_pass,
#define STOA_ISOLATED_CAST_(K, name)    STOA_ISOLATED_COMMAND_(K, name)
#define STOA_ISOLATED_CONTROL_(K, name) STOA_ISOLATED_COMMAND_(K, name)
#define STOA_ISOLATED_EVENT_(K, name)
#define STOA_ISOLATED_REPLY_(K, name)
#define STOA_ISOLATED_TOPIC_(K, name)
#define STOA_ISOLATED_ROW_(K, cls, name, reply, doc) STOA_ISOLATED_##cls##_(K, name)
#define STOA_ISOLATED_HEAR_(K, other, name)          {&other##_rows[other##_ROW_##name], stoa_isolate_pass},
/* The proxy's own, before all that the kind hears. */
#define STOA_ISOLATE_HEARS_                                                                                            \
    {&stoa_isolate_self_rows[stoa_isolate_self_ROW_look], stoa_isolate_on_look},                                       \
        {&stoa_isolate_self_rows[stoa_isolate_self_ROW_beat], stoa_isolate_on_beat},                                   \
        {&stoa_isolate_self_rows[stoa_isolate_self_ROW_tick], stoa_isolate_on_tick},                                   \
        {&stoa_isolate_self_rows[stoa_isolate_self_ROW_ended], stoa_isolate_on_ended},                                 \
        {&stoa_system_rows[stoa_system_ROW_ready], stoa_isolate_on_ready},
#define STOA_ISOLATED_KIND(K, ...)                                                                                     \
    STOA_PROXY(K)                                                                                                      \
    static const stoa_handler K##_handlers_[K##_ROW_END_ + 1] = {K##_ROWS(STOA_ISOLATED_ROW_, K)[K##_ROW_END_] = NULL}; \
    static const stoa_hear K##_hears_[] = {STOA_ISOLATE_HEARS_ K##_HEARS(STOA_ISOLATED_HEAR_, K){NULL, NULL}};         \
    const stoa_kind K##_kind = {.name = #K,                                                                            \
                                .rows = K##_rows,                                                                      \
                                .rows_bytes = sizeof(stoa_row) * K##_ROW_END_,                                         \
                                .table = &K##_table,                                                                   \
                                .handlers = K##_handlers_,                                                             \
                                .hears = K##_hears_,                                                                   \
                                .state_bytes = STOA_ISOLATE_STATE_BYTES,                                               \
                                .start = stoa_isolate_start,                                                           \
                                .args_bytes = sizeof(stoa_isolate),                                                    \
                                .stop = stoa_isolate_stop,                                                             \
                                .inspect = stoa_isolate_inspect,                                                       \
                                __VA_ARGS__};

STOA_API_END

#endif
