/* node.h - a node: cores, shards, actors and ports of one process, as the embedding program sees them.
 *
 * Life: stoa_node_open, then shards (each recovers from its journal), then actors and ports; stoa_node_close drains. The
 * cores run from open on. The library takes one thread per core and one per journal, and one more where stalls are
 * watched; no signals unless it is told to, no global state but theirs.
 *
 * Unless said otherwise functions may be called from any thread that is not a core, may block and may allocate. From within a
 * turn they are a mistake, which ends the process with a line that says what to use there (stoa_turn_spawn for stoa_spawn): a
 * core that waits for a core may wait for ever. Only stoa_find and stoa_post may be called there, and take a lock.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_NODE_H
#define STOA_RUNTIME_NODE_H

#include "base/api.h"
#include "base/metrics.h"
#include "runtime/actor.h"
#include "storage/journal.h"

STOA_API_BEGIN

/* What a core does when it has nothing to do: spin (lowest latency, burns its CPU), spin for 50 us then sleep, or sleep. */
typedef enum stoa_idle { STOA_IDLE_ECO, STOA_IDLE_BALANCED, STOA_IDLE_LATENCY } stoa_idle;

typedef struct stoa_shard stoa_shard;
typedef struct stoa_port stoa_port;

typedef struct stoa_options {
    uint32_t cores;                 /* 0 means 1; at most STOA_CORES_MAX */
    bool pin;                       /* pin core i to the i-th CPU the process may use; what runs beside the cores uses the others */
    stoa_idle idle;
    const stoa_idle *idle_by_core;  /* one for each core, or NULL: idle for all */
    /* Per core, for messages, and as much again for actors that actors spawn; 0 means 256 MiB; at most STOA_MEMORY_MAX. */
    uint64_t memory_bytes;
    uint64_t seed;                  /* of the cores' random generators; 0: from the system's entropy */
    const stoa_kind *const *kinds;  /* NULL-terminated, copied: all event-sourced kinds that a journal may name */
    /* The node's own shard, "main" on core 0, on disk: where event-sourced actors live that name no shard. NULL: none. */
    const stoa_journal_ops *journal;
    const char *path;
    const struct stoa_keyring *keys; /* as in stoa_shard_options */
    stoa_metrics *metrics;          /* NULL: none kept */
    /* With metrics: one turn in so many of a core is timed, and more of them where turns are long; each stands for those since
     * the last in the histograms of its kind. 0: none. */
    uint32_t time_every;
    /* The flight recorder: a file of so many bytes a core that survives the process; read it with `stoa flight`. NULL: none.
     * Where it cannot be made, that is logged, and the node runs without. */
    const char *flight_path;
    uint64_t flight_bytes;          /* 0 means 1 MiB */
    const char *name;               /* of the node, for the recorder; NULL: "" */
    /* The stall detector: a thread that looks at each core every watch_ns, where one of the limits is set. */
    uint64_t watch_ns;              /* 0 means 10 ms */
    uint64_t stall_ns;              /* a turn that takes longer is listed, counted and logged; 0: none */
    uint64_t hard_ns;               /* a turn that takes longer ends the process; 0: never */
    /* Take SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and SIGRTMIN + 7 of the process, to record how it ended and where a stalled
     * core is. */
    bool catch_signals;
    /* Snapshots of each shard with a journal: behind so many events, and after so long with any; 0, 0: none, and every recovery reads
     * the whole log. One thread follows all shards' logs beside them, with a copy of their states. */
    uint64_t snapshot_events, snapshot_ns;
    uint32_t snapshot_keep;         /* 0 means 3 */
    struct stoa_sim *sim;           /* the simulator that runs this node; set by stoa_sim_new only */
    /* Escalation: the restarts of what hangs below a core's root exceeded their intensity (100 within 10 s). Called on the core
     * with the reason; default: log node_exit and end the process with status 71. If it returns, the node goes on without the actor
     * that failed: it stays down and is restarted no more. What it is sent is refused with FAILED; stoa_stop ends one of a plain
     * kind, and its name is free again. */
    void (*escalate)(void *context, const char *reason);
    void *context;
} stoa_options;
enum { STOA_CORES_MAX = 16, STOA_PORTS_MAX = 16 };
#define STOA_MEMORY_MAX (UINT64_C(1) << 44)

/* STOA_KINDS(&greeter_kind, &clerk_kind) for options.kinds, which is copied. */
#define STOA_KINDS(...) ((const stoa_kind *const[]){__VA_ARGS__, NULL})

/* Errors: INVALID, NOMEM, IO (threads, descriptors), those of stoa_shard_open. */
stoa_err stoa_node_open(const stoa_options *options, stoa_node **out);

/* Stop in order: mailboxes and cascades run out, then on every core the actors end, the youngest first and children before
 * their parents, each within its shutdown_ms; journals are synced, threads end. What has not ended after grace_ns is killed
 * and named in the log; with 0 nobody is asked. Everything of the node is released. NULL is allowed. */
void stoa_node_close(stoa_node *node, uint64_t grace_ns);

/* --- shards */
typedef struct stoa_shard_options {
    const char *name;              /* "trade": 1 to 30 bytes without ':' and '/' */
    uint32_t core;
    stoa_durability durability;    /* NONE: no journal, forgotten at the end; MEMORY; DISK; others need a cluster */
    uint64_t epoch;                /* of the writer's lease, at least the log's; 0: the log's own */
    const stoa_journal_ops *journal; /* unused for NONE */
    /* NULL, or: puts another journal in front of the one that was opened, which it then owns (storage/archive/journal.h). An
     * error is the open's. */
    stoa_err (*front)(void *context, struct stoa_journal **journal);
    void *front_context;
    const char *path;
    const struct stoa_keyring *keys; /* storage/seal.h; NULL: what is stored is not sealed. It outlives the node */
    /* With less room on the journal's disk events are refused with FULL, so that what was accepted still finds room, and reads
     * are answered; above it again they are accepted again. 0: only once nothing fits any more, and then reads that wait for
     * what does not fit wait with it. */
    uint64_t reserve_bytes;
} stoa_shard_options;

/* Open a shard: replay its journal into its actors (which exist from then on), resume them, start serving. One that could not be
 * opened never was: nothing answers for it, and it may be tried again. Errors: the journal's; INVALID (name, core, no journal);
 * EXISTS (a shard of that name); FULL (64 a node, 16 a core); NOMEM, IO (threads); UNSUPPORTED (a durability that needs copies); CORRUPT; VERSION (an event of a row or kind that this build has not); STALE (the log has seen a higher epoch). */
stoa_err stoa_shard_open(stoa_node *node, const stoa_shard_options *options, stoa_shard **out);

/* Who reads the shard's committed log (runtime/readers.h). The shard's; valid until the node closes. */
struct stoa_readers *stoa_shard_readers(stoa_shard *shard);
/* Its journal, for what may run beside the writer (storage/journal.h); NULL: it has none. Valid until the node closes. */
stoa_journal *stoa_shard_journal(stoa_shard *shard);
/* A commit time: every block of the shard with this one or an earlier one is in its journal, and later blocks have later ones.
 * Waits for an append under way. */
uint64_t stoa_shard_covered_ns(stoa_shard *shard);
/* What the shard's node commits from here on has later commit times than this one, of a log that it has not open. */
void stoa_shard_commit_behind(stoa_shard *shard, uint64_t commit_ns);
/* Append a no-op to the log: an event that says the writer's epoch, and changes nothing else. For who needs a silent log to go on, so that
 * what is at its end is behind it. Any thread outside of a turn; waits for the core, not for the disk. Errors: UNSUPPORTED (no journal),
 * UNAVAILABLE (the shard is down), FULL (its disk is down to the reserve), AGAIN (it has no room now). */
stoa_err stoa_shard_noop(stoa_shard *shard);

typedef struct stoa_shard_view {
    const char *name;
    stoa_durability durability;
    uint64_t applied, committed, epoch; /* positions */
    uint64_t recovered;                 /* last position found at open */
    uint64_t unproven;                  /* recovered positions above the commit mark at open */
    uint64_t recovery_ns;
    uint64_t snapshot;                  /* position of the snapshot that recovery began with, 0: none */
    uint32_t actors;
    uint64_t blocks, waiting; /* blocks written; messages behind the wall */
    uint64_t hash;            /* of all states, at position applied */
    uint32_t drops;           /* how often it was rebuilt since it was opened */
    bool down;                /* it was dropped and could not be rebuilt, or not yet: it serves nobody */
} stoa_shard_view;
/* Drop a shard and rebuild it from its log: what it could not commit never was, all that waits for it is answered UNAVAILABLE (asked
 * again under the same name it takes effect once), its actors begin anew under their references. epoch: from now on; 0: as it was. It
 * happens by itself when the journal refuses a block. With durability `memory`, what was acknowledged and is not yet in the log is
 * lost, as when the process ends. Errors: UNSUPPORTED (no journal), FULL (the disk is: nothing has changed), and recovery's (STALE: the
 * log is of a later epoch); then the shard refuses everything with UNAVAILABLE until a later drop succeeds. One that happens by itself on
 * a full disk does so until there is space. */
stoa_err stoa_shard_drop(stoa_shard *shard, uint64_t epoch);
/* A consistent look between two cascades. Runs on the shard's core, which waits for it: hashing takes about 1 ms a 10 MB. */
stoa_err stoa_shard_look(stoa_shard *shard, stoa_shard_view *out);
/* The same without the hash (0), in a microsecond: for who looks often. */
stoa_err stoa_shard_glance(stoa_shard *shard, stoa_shard_view *out);
/* Replay the journal up to position (0: all of it) into fresh states and hash them. Does not disturb the shard. */
stoa_err stoa_shard_replay(stoa_shard *shard, uint64_t position, uint64_t *hash_out, uint64_t *events_out);

/* What follows a shard's committed log beside it and makes snapshots (options.snapshot_...; runtime/follow.h). */
typedef struct stoa_following_view {
    const char *phase;              /* "starts", "follows", "compares", "writes", "verifies", "prunes", "failed" */
    uint64_t followed;              /* position */
    uint64_t snapshot, oldest;      /* positions of the newest and the oldest snapshot, 0: none */
    uint64_t made, failures;        /* snapshots by this process; given up */
    uint64_t compared, differences; /* states found equal to the running ones, and not */
    uint64_t put_bytes, took_ns;    /* of the last one: what was new; from being due to being verified */
    uint64_t done, total;           /* chunks, of the phase under way */
} stoa_following_view;
/* Errors: UNSUPPORTED (this shard, or this node, makes none). */
stoa_err stoa_shard_following(stoa_shard *shard, stoa_following_view *out);
/* Have one made of what is committed now, and wait. Errors: UNSUPPORTED; TIMEOUT (out says how far it is; it goes on); FAILED (the log
 * of this process says why). */
stoa_err stoa_shard_snapshot(stoa_shard *shard, uint64_t timeout_ns, stoa_following_view *out);
typedef struct stoa_snapshot_view {
    uint64_t position, epoch, wall_ns;
    uint64_t chunks, bytes; /* of 64 KiB that are not zero; those that did not change are shared with the one before */
    stoa_hash256 hash;      /* of everything */
} stoa_snapshot_view;
/* Visit the snapshots there are, oldest first. Errors: UNSUPPORTED (the shard has no journal), IO, CORRUPT. */
stoa_err stoa_shard_snapshots(stoa_shard *shard, void (*visit)(void *context, const stoa_snapshot_view *view), void *context);

/* One event as the log has it. */
typedef struct stoa_event_view {
    uint64_t position, wall_ns, command, seq;
    uint64_t cause;     /* the first position of the cascade that it is of */
    uint64_t commit_ns; /* when the write of its block began */
    uint64_t epoch;     /* of the writer */
    uint32_t stream;
    uint32_t sender;      /* stream of the actor of this shard that sent the message it came from; 0: none */
    const char *actor;    /* "trade_account/alice"; of the shard's own events, its name */
    const stoa_kind *kind;
    const stoa_row *row;
    const void *payload;  /* decoded, row->payload */
} stoa_event_view;
/* Visit the committed events indexed under id (a stoa_id field), in order of position. */
stoa_err stoa_shard_lookup(stoa_shard *shard, uint64_t id, void (*visit)(void *context, const stoa_event_view *event),
                           void *context);
/* The same without the index, block by block, in positions from to until: for what was purged with the index's entries of it and an
 * archive still has (from: where the journal with its archive begins). go_on (NULL: always) is asked before each block.
 * *looked_out: all up to there was looked at. Errors: what reading returns. */
stoa_err stoa_shard_lookup_scan(stoa_shard *shard, uint64_t id, uint64_t from, uint64_t until, bool (*go_on)(void *context),
                                void *go_context, void (*visit)(void *context, const stoa_event_view *event), void *context,
                                uint64_t *looked_out);

/* --- channels: what a shard's actors mail to those of other shards (stoa_turn_mail) */
typedef struct stoa_channel_view {
    const char *from;
    char to[32];         /* shard */
    const char *status;  /* "runs"; "apart" (the other shard is not open); "absent" (its node is here, and has none of that name); "asks", "forked" */
    const char *forked;  /* why, or "" */
    const char *met;     /* whether the receiver has answered since it was begun: "never", "yes"; "": the log does not say */
    uint32_t generation; /* how often it was begun anew */
    uint64_t mailed, sent, acknowledged, returned; /* numbers of the last ones; how many were refused, ever */
    uint64_t journaled;  /* of acknowledged, what the sender's log has */
    uint64_t cursor;     /* what the receiver has committed, as it said last */
    uint64_t taken;      /* up to there nothing is returned nor mailed once more, when it is begun anew */
    uint64_t doubtful;   /* of waiting, what may have been sent */
    uint64_t waiting, bytes, room_bytes; /* not acknowledged; what they take of the ring; its size */
} stoa_channel_view;
/* Visit the channels that go out of a shard. */
void stoa_channels(stoa_shard *shard, void (*visit)(void *context, const stoa_channel_view *view), void *context);
/* Begin a forked channel anew: what waits is returned to who mailed it, as undelivered with FORKED, or mailed once more (again).
 * What was mailed before the sender lost its end and is not above the receiver's cursor counts as taken, unless an operator knows
 * better (none_taken). plan: only look. One to another node is returned, too, where its receiver has never answered; and where its node is here and has
 * no such shard, if nothing was acknowledged and the operator says that none was taken: doubtful is what he answers for. *out: as it was before,
 * with what counts as taken. Errors: NOT_FOUND, INVALID (it is none of these: the trail says why), UNAVAILABLE (the shard is down),
 * AGAIN (the shard has no room now for all that is to be returned: again, then). */
typedef struct stoa_channel_anew {
    bool again, none_taken, plan;
} stoa_channel_anew;
stoa_err stoa_channel_restart(stoa_shard *shard, const char *to, const stoa_channel_anew *how, stoa_channel_view *out);

/* A state as it was: that of an actor of the shard (by the shard's own name: what the shard remembers beside its actors) when
 * position was the last one, printed as stoa_inspect prints it. Errors: NOT_FOUND (no such actor, or it was not there yet), INVALID
 * (not committed yet), GONE (the log was purged, and no snapshot says), UNSUPPORTED (the kind prints nothing), what reading returns. */
typedef struct stoa_past_view {
    uint64_t position;
    uint64_t seq;           /* events of the actor by then */
    uint64_t last, last_ns; /* position and time of the last of them, 0: it is in the snapshot */
    uint64_t snapshot;      /* position of the one that was read, 0: none */
    uint64_t events;        /* of it behind that */
} stoa_past_view;
stoa_err stoa_shard_state_at(stoa_shard *shard, const char *actor, uint64_t position, stoa_buf *out, stoa_past_view *view_out);

/* What a shard wants done outside and is not done. */
typedef struct stoa_outbox_view {
    uint32_t pending, handed; /* of those, with a port */
    uint32_t unreadable;      /* of those, of no row or shape that this build knows: they wait for another one, or for stoa_shard_settle */
    uint64_t done, failed;    /* ever */
} stoa_outbox_view;
typedef struct stoa_pending_view {
    char name[96];      /* stoa_effect_text */
    stoa_text30 table;
    uint32_t row, bytes;
    const char *actor, *status;
    bool again;         /* it may have been done before */
    stoa_err unreadable; /* why this build cannot read it; OK: it can, or has not tried */
} stoa_pending_view;
/* visit, where it is not NULL, sees the pending ones, the oldest first, on the shard's core. */
void stoa_shard_outbox(stoa_shard *shard, stoa_outbox_view *out, void (*visit)(void *context, const stoa_pending_view *view),
                       void *context);
/* Say in a port's place what became of a pending effect, by its name: it was done, or never will be. plan: only look. *out: as it was
 * before. Errors: NOT_FOUND, INVALID (a port has it), AGAIN (it is not committed yet, or the shard has no room now), UNAVAILABLE. */
stoa_err stoa_shard_settle(stoa_shard *shard, const char *effect, bool done, bool plan, stoa_pending_view *out);

/* --- actors */
typedef struct stoa_spawn_options {
    stoa_shard *shard; /* event-sourced kinds: where it lives; NULL: in the node's own */
    stoa_durability durability; /* event-sourced kinds: INVALID where the shard promises less */
    uint32_t core;     /* plain kinds */
    const void *args;  /* plain kinds: copied, kind->args_bytes */
    uint32_t shutdown_ms; /* plain kinds: as stoa_child's */
} stoa_spawn_options;
/* What an event-sourced actor of the node's own shard is spawned with. */
#define STOA_DISK (&(const stoa_spawn_options){.durability = stoa_durability_DISK})

/* Create the actor "kind/key", or find it (event-sourced: it may have come back from its shard's journal). EXISTS: a plain kind's
 * name that is taken; an event-sourced one that lives in another shard. Errors: also INVALID (name; a kind that cannot have actors),
 * TOO_LARGE (such a kind's rows), NOMEM, what start or resume returned. */
stoa_err stoa_spawn(stoa_node *node, const stoa_kind *kind, const char *name, const stoa_spawn_options *options,
                    stoa_ref *out);
/* Tell an actor of a plain kind to end, as stoa_turn_stop does. With shutdown_ms 0 (and no children that take longer) it is gone
 * on return; what waits in its mailbox is refused. Errors: CLOSED, UNSUPPORTED (event-sourced), AGAIN (a move of it does not end). */
stoa_err stoa_stop(stoa_node *node, stoa_ref actor);
/* Move an idle actor of a plain kind that was spawned by stoa_spawn, and with it all that are below it, to another core; *out is
 * its reference there. Where it is there already nothing is done. State, name, args, its supervisor's memory of it (restarts,
 * backoff, the last end), its counters, topic slots, and who monitors it or linked themselves to it go along; a restart begins
 * there, from its root or its parent there. Its handlers see another turn->self. The state must not point into itself.
 *
 * All references to it stay good until it ends: each core where it was passes on what comes, asks, stops, monitors and links
 * too, and answers go straight to who asked. The name resolves to the new reference, at no moment to none. What one sender
 * sends to one reference arrives in order, across any number of moves of both; nothing orders what it sends to the reference it had
 * and to the one it looked up anew. A monitor or link is taken back by the reference it was made with; so is what tells of
 * an end, of room or of a refusal. An end is told to the other cores: until it has come there, sends from them are refused
 * or dead letters at the last core.
 *
 * One move at a time; it waits for the cores, in the simulator it lets them go on. Errors, after which it
 * is where it was, with all that was sent; the trail says why:
 *   INVALID      no such core
 *   CLOSED       no such actor
 *   UNSUPPORTED  event-sourced (it lives with its shard); another actor's child (it moves with it); it, or one below it, has
 *                subscriptions or is in a group
 *   AGAIN        something is under way, of it or of one below it: it starts, ends or is down; a message, a timer, an ask, a
 *                gather; a monitor or a link that it made itself; somebody waits for room in its mailbox; a descriptor that
 *                it has not unwatched; memory of its own; or what was sent to it or by it is on its way, and does not arrive soon
 *   FULL         more than 255 are below it
 *   NOMEM, UNAVAILABLE (the node ends) */
stoa_err stoa_move(stoa_node *node, stoa_ref actor, uint32_t core, stoa_ref *out);
/* NONE when there is none. */
stoa_ref stoa_find(stoa_node *node, const char *name);
enum { STOA_ABSENT_MAX = 16384, STOA_ABSENT_NODES_BYTES = 256 };
/* Where an actor is that is not found now. */
typedef struct stoa_absence {
    char of[STOA_ABSENT_NODES_BYTES]; /* a node; "": nowhere */
    bool unmet; /* of: nodes ("b, c") that were not met yet, and of which one may have it; else it was that node's when it was lost */
} stoa_absence;
/* As stoa_find; in the same look, where there is none: whether a node that is lost, or was not met yet, has it or may have. At most STOA_ABSENT_MAX
 * are remembered of lost nodes, others are as if they had never been. Any thread; takes a lock. */
stoa_ref stoa_find_or_absent(stoa_node *node, const char *name, stoa_absence *out);

/* stoa_call and stoa_post are declared in actor.h: use the typed K_call_x, K_post_x. stoa_call's errors: the answer's, or
 * TIMEOUT, CLOSED, FULL. */

/* Why a message reached nobody, or was not handled: DROP(constant, name, what happened). */
#define STOA_DROPS(DROP)                                                                                               \
    DROP(FULL, "full", "the mailbox was full, and nobody was there to be told")                                        \
    DROP(OLDEST, "oldest", "it was the oldest of a full mailbox whose kind drops those")                               \
    DROP(NEWEST, "newest", "the mailbox was full, and its kind drops what comes then")                                 \
    DROP(STALE, "stale", "its deadline had passed before its turn came")                                               \
    DROP(LATE, "late", "an answer to an ask that had ended")                                                           \
    DROP(CLOSED, "closed", "the receiver is gone")                                                                     \
    DROP(FAILED, "failed", "the receiver failed before, or began anew")                                                \
    DROP(MEMORY, "memory", "the core's memory was used up")                                                            \
    DROP(NO_HANDLER, "no_handler", "the receiver's kind does not take it")                                             \
    DROP(REFUSED, "refused", "its handler returned an error, and nobody was there to be told")
#define STOA_DROP_NAME_(NAME, text, doc) STOA_DROP_##NAME,
typedef enum stoa_drop { STOA_DROPS(STOA_DROP_NAME_) STOA_DROP_COUNT } stoa_drop;
const char *stoa_drop_name(stoa_drop reason);
const char *stoa_drop_text(stoa_drop reason); /* what happened */

typedef struct stoa_actor_view {
    char name[STOA_NAME_MAX + 1];
    const char *kind;
    stoa_ref ref;
    uint32_t core, queued;
    uint64_t messages, refused, restarts, state_bytes;
    uint64_t handler_ns; /* of the last turn that was timed, 0: none yet */
    stoa_err last_refusal;
    uint64_t dropped[STOA_DROP_COUNT]; /* by reason; zero for an actor without a name that holds nothing */
    uint64_t conflated;                /* messages that became one with another that waited */
    const char *shard; /* or NULL */
    stoa_ref parent;   /* NONE: it hangs below its core's root */
    uint32_t children;
    const char *status;   /* "serves", "starts", "down" (until its restart), "ends" */
    const char *restart;  /* "permanent", "transient", "temporary" */
    const char *strategy; /* how it restarts its children */
    const char *last_end, *last_why; /* of its last incarnation: the reason, and its class; NULL: the first one lives */
} stoa_actor_view;
/* Visit all actors whose name matches the glob pattern (NULL: all), ordered by name. */
stoa_err stoa_actors(stoa_node *node, const char *pattern, void (*visit)(void *context, const stoa_actor_view *view),
                     void *context);
/* Print the actor's state as JSON, between two turns. What an event-sourced one shows is committed: it waits for that, two seconds
 * at most. Errors: NOT_FOUND, UNSUPPORTED (the kind prints nothing), TIMEOUT (the disk does not take it), UNAVAILABLE (its shard is
 * down). On errors out is as it was. */
stoa_err stoa_inspect(stoa_node *node, const char *name, stoa_buf *out);

/* --- traces: one outside cause, and every turn that followed from it. A root is chosen: the next message that matches, or one
 * in so many. What is sent in a turn of a trace carries it on: on a core and across, requests and answers, one-shot timers,
 * topics, through the wall of a shard. Ticks of periodic timers and timeouts of asks begin anew, and so does what comes
 * behind the 16th timer of a line. Each turn leaves a span; the last STOA_SPANS of each core are kept. */
enum { STOA_SPANS = 2048, STOA_TRACE_PATTERN_MAX = 127 };
typedef struct stoa_span {
    uint64_t trace, span, parent; /* parent 0: the root */
    uint64_t sent_ns;             /* monotonic; 0: not known; of a timer: when it was due */
    uint64_t began_ns, ended_ns;  /* of the turn; equal where there was none: refused before, or left for a port */
    stoa_ref actor, from;
    const stoa_row *row;          /* NULL: an answer that is a refusal, on its way out */
    stoa_err outcome;             /* of the turn, or why there was none */
    stoa_err error;               /* the message is an answer: the refusal it brings */
    uint32_t core;
    char name[STOA_NAME_MAX + 1]; /* of the actor or port, "" where it has none */
} stoa_span;
/* Make the next message a root whose actor's name, or whose "kind.row", the glob pattern matches (NULL: any). Until then every
 * turn is looked at, which costs some ten ns each. A later call takes the place of an earlier one. Errors: INVALID (too long). */
stoa_err stoa_trace_next(stoa_node *node, const char *pattern);
/* The trace of the root that was waited for last; 0: it has not come yet. */
uint64_t stoa_trace_awaited(stoa_node *node);
/* No root is waited for any more. */
void stoa_trace_cancel(stoa_node *node);
/* One turn in n of each core begins a trace, about: among those that are timed (time_every). 0: none. */
void stoa_trace_every(stoa_node *node, uint32_t n);
/* The latest trace, numbered from 1; 0: none yet. */
uint64_t stoa_trace_last(stoa_node *node);
/* Visit what is kept of a trace in the order of time; 0: of all. Errors: NOMEM. */
stoa_err stoa_spans(stoa_node *node, uint64_t trace, void (*visit)(void *context, const stoa_span *span), void *context);

/* What was measured of a kind on a core, in ns; counts are of what the samples stand for: of turns, about all there were. */
typedef struct stoa_times_view {
    const char *kind;
    uint32_t core;
    uint64_t turns, turn_p50_ns, turn_p99_ns;  /* of its turns */
    uint64_t waits, queue_p50_ns, queue_p99_ns; /* from a message's sending to its turn */
} stoa_times_view;
/* Visit all kinds on all cores; nothing without options.metrics. */
stoa_err stoa_kind_times(stoa_node *node, void (*visit)(void *context, const stoa_times_view *view), void *context);

typedef struct stoa_core_view {
    uint32_t core, actors, queued;
    uint64_t messages, cross, wakeups, timers, dead_letters, restarts;
    uint64_t fanned, lent; /* published messages that came by, and what subscribers here got of them */
    uint64_t dropped[STOA_DROP_COUNT], conflated;
    uint64_t memory_bytes, used_bytes; /* ever used for messages, and in use */
    uint64_t busy_ns;                  /* spent in batches that found something to do */
} stoa_core_view;
/* queued is counted some thousand actors at a time, while the core goes on. */
stoa_err stoa_core_look(stoa_node *node, uint32_t core, stoa_core_view *out);
/* What reached a port, or the node's own for stoa_call, and nobody there: answers to asks that had ended (LATE), what was sent to
 * who calls (NO_HANDLER), what the port had no memory for (MEMORY). All ports together, those that were closed too. Any thread. */
typedef struct stoa_ports_view {
    uint64_t dropped[STOA_DROP_COUNT];
} stoa_ports_view;
void stoa_ports_look(stoa_node *node, stoa_ports_view *out);
uint32_t stoa_core_count(stoa_node *node);

/* name lives as long as the visit. */
typedef struct stoa_topic_view {
    const char *name;
    uint64_t published;
    uint32_t subscribers; /* by pattern, and members of the group: who is both, or has two patterns, counts twice */
} stoa_topic_view;
/* Visit all topics that the pattern of '*' and '>' matches (NULL: all), in no order; no call into the node from visit. */
stoa_err stoa_topics(stoa_node *node, const char *pattern, void (*visit)(void *context, const stoa_topic_view *view),
                     void *context);

typedef struct stoa_group_view {
    const char *name; /* lives as long as the visit */
    uint32_t members;
    uint64_t published; /* to all of them */
} stoa_group_view;
/* The same for groups: topics that have members now. */
stoa_err stoa_groups(stoa_node *node, const char *pattern, void (*visit)(void *context, const stoa_group_view *view),
                     void *context);
typedef struct stoa_member_view {
    char name[STOA_NAME_MAX + 1];
    stoa_ref ref;
    uint32_t core;
} stoa_member_view;
/* Visit the members of one group by name. Errors: INVALID, NOT_FOUND (it has none), NOMEM. */
stoa_err stoa_members(stoa_node *node, const char *group, void (*visit)(void *context, const stoa_member_view *view),
                      void *context);

/* The last dead letters (up to 256 are kept per core), newest last. */
typedef struct stoa_dead_letter {
    uint64_t wall_ns;
    const stoa_row *row;
    stoa_ref to, from;
    stoa_err why;
    stoa_drop reason;
    char name[STOA_NAME_MAX + 1]; /* of the target, if it is known */
} stoa_dead_letter;
stoa_err stoa_dead_letters(stoa_node *node, void (*visit)(void *context, const stoa_dead_letter *letter), void *context);

/* A turn that took too long, or still does. The last STOA_STALLS of a node are kept. */
enum { STOA_STALLS = 64, STOA_STALL_FRAMES = 24 };
typedef struct stoa_stall_frame {
    uint64_t address, offset; /* offset: into in */
    char in[80];              /* function; where that is not known, module */
} stoa_stall_frame;
typedef struct stoa_stall_view {
    uint64_t number;      /* from 1 */
    uint64_t wall_ns;     /* when the turn began, as far as the detector saw */
    uint64_t ns, cpu_ns;  /* so far, or in the end; what of it the core's thread ran on a processor */
    uint32_t core;
    bool over;
    stoa_ref ref;
    char actor[STOA_NAME_MAX + 1];
    const stoa_row *row;  /* its message; NULL: it starts */
    const char *without;  /* why there are no frames, or "" */
    uint32_t frame_count; /* innermost first */
    stoa_stall_frame frames[STOA_STALL_FRAMES];
} stoa_stall_view;
/* Visit them, oldest first. Errors: NOMEM. */
stoa_err stoa_stalls(stoa_node *node, void (*visit)(void *context, const stoa_stall_view *stall), void *context);

/* --- ports: a foreign thread with its own event loop that looks like an actor. All calls from that one thread. */
typedef struct stoa_effect stoa_effect;
typedef struct stoa_passed stoa_passed;
typedef struct stoa_delivery {
    const stoa_row *row; /* what the payload is; for an answer: the reply's row */
    const void *payload; /* valid until the handler returns */
    stoa_ref from;
    bool answer;
    uint64_t token;             /* answer: as given to ask */
    stoa_err error;             /* answer: OK or the refusal */
    stoa_durability durability; /* answer, or message from a shard: what it is worth */
    uint64_t position;          /* the shard's position it is stamped with, 0 from elsewhere */
    const char *topic;          /* published: the topic's name, else "" */
    const stoa_effect *effect;  /* an outside effect that is to be done: its name; else NULL */
    const stoa_passed *passed;  /* handed over by an actor that stands for another one (runtime/stand.h); else NULL */
} stoa_delivery;
typedef void (*stoa_port_handler)(void *context, const stoa_delivery *delivery);

/* Open the port "port/<name>". Errors: INVALID (a name of more than 58 bytes, or none), EXISTS, FULL (STOA_PORTS_MAX are open; the
 * node has one itself), NOMEM, IO. */
stoa_err stoa_port_open(stoa_node *node, const char *name, stoa_port **out);
/* What the port sent is still delivered; what it was sent and never read is counted on the core that sent it, as a dead letter
 * ("closed"). Waits for each core in turn. Its place is then the next port's, which hears nothing that was meant for this one. NULL
 * is allowed. */
void stoa_port_close(stoa_port *port);
stoa_ref stoa_port_ref(stoa_port *port);
/* Readable when stoa_port_poll may have work. */
int stoa_port_fd(stoa_port *port);
/* Handle up to max deliveries; asks past their deadline are delivered as TIMEOUT. Returns how many. */
uint32_t stoa_port_poll(stoa_port *port, stoa_port_handler handler, void *context, uint32_t max);
/* Send, or ask. Leave with stoa_port_flush. command: id that the events and turns that follow from it carry.
 * Errors: FULL, CLOSED. */
stoa_err stoa_port_send(stoa_port *port, stoa_ref to, const stoa_row *row, const void *payload, uint64_t command);
stoa_err stoa_port_ask(stoa_port *port, stoa_ref to, const stoa_row *row, const void *payload, uint64_t command,
                       uint64_t deadline_ns, uint64_t token);
/* --- outside effects: what event-sourced actors want done outside (stoa_turn_effect). A port that serves a table gets them when
 * they are committed, in order, 64 at a time and shard, as deliveries with `effect`; copy it, have it done, and say so, or that it
 * will never be done (then it is given up, and counted as failed). What is not done is delivered again after a restart, or after its
 * port was closed, with the same name and `again`: ask the outside about the name first, it may have been done. */
struct stoa_effect {
    stoa_shard *shard;
    uint64_t epoch, position; /* of the writer, and in the log, of what wanted it */
    uint32_t n;               /* counts those of one position */
    bool again;
};
/* "trade-1-4711-0", the same for ever; returns text. */
enum { STOA_EFFECT_TEXT = 96 };
const char *stoa_effect_text(const stoa_effect *effect, char text[STOA_EFFECT_TEXT]);
/* Get the effects of that table from now on. Waits for each core in turn. Errors: EXISTS (another port serves it), FULL. */
stoa_err stoa_port_serve(stoa_port *port, const stoa_table *table);
/* Not any more; closing the port does the same. */
void stoa_port_stop_serving(stoa_port *port);
/* It was done (OK), or will never be. Leave with stoa_port_flush. Errors: FULL. */
stoa_err stoa_port_effected(stoa_port *port, const stoa_effect *effect, stoa_err outcome);

/* A request with a name, so that asking again is safe: what had an effect in an event-sourced actor is done once, and whoever asks
 * again under the same name gets the same answer, also after a crash (within the durability that the answer names). All three
 * are above 0. client: who asks, the same for ever. session, up to 2^63 - 1: handed out by who keeps the counter, each
 * above all earlier ones of all clients. number, up to 2^50 - 1: counts upwards within a session; requests under way at once may come in any order.
 * Plain actors do not remember: asked again they do it again. Further answers: STALE (asked too long ago to be remembered: not
 * executed, now or ever), DUPLICATE (the name of another request), TOO_LARGE (it was executed; its reply was too long to
 * keep), UNAVAILABLE (asked a sixth time while it is under way). Errors: as above, INVALID. */
#define STOA_REQUEST_SESSION_MAX ((UINT64_C(1) << 63) - 1)
#define STOA_REQUEST_NUMBER_MAX  ((UINT64_C(1) << 50) - 1)
typedef struct stoa_request_name {
    uint64_t client, session, number;
} stoa_request_name;
stoa_err stoa_port_ask_once(stoa_port *port, stoa_ref to, const stoa_row *row, const void *payload,
                            const stoa_request_name *name, uint64_t deadline_ns, uint64_t token);
/* Subscribe the port: deliveries carry the topic. */
stoa_err stoa_port_subscribe(stoa_port *port, const char *pattern);
stoa_err stoa_port_unsubscribe(stoa_port *port, const char *pattern);
/* Publish what was sent since the last flush; wakes sleeping cores. */
void stoa_port_flush(stoa_port *port);

STOA_API_END

#endif
