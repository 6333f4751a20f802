/* core.h - a core and the actors it owns. Internal to runtime/.
 *
 * A core is one thread (or a turn-taker of the simulator). It alone touches its actors, shards, timers, asks and slab.
 * Runnables wait in one queue: actors of plain kinds, and shards, which run their actors one cascade after the other.
 *
 * A batch: read the clock, drain the rings, fire timers, run what was runnable when the batch began (each actor at most what
 * was queued when its turn came, and at most STOA_BUDGET messages), release what shards have committed, publish.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_CORE_H
#define STOA_RUNTIME_CORE_H

#include <pthread.h>

#include "base/random.h"
#include "runtime/fatal.h"
#include "runtime/flight.h"
#include "runtime/links.h"
#include "runtime/node.h"
#include "runtime/place.h"
#include "runtime/stall.h"
#include "runtime/timer.h"
#include "runtime/trace.h"
#include "runtime/watch.h"
#include "runtime/tree.h"

enum {
    STOA_BUDGET = 64,
    STOA_BATCH_MESSAGES = 256,
    STOA_SLICE_NS = 250000, /* an actor, and a batch, goes on for about so long at most */
    STOA_SENDS_A_TURN = 8,  /* so many messages sent weigh as much as one handled */
    STOA_ACTOR_CHUNK = 4096,  /* actors in a chunk */
    STOA_ACTOR_CHUNKS = 4096, /* chunks of a core */
    STOA_STATE_INLINE = 1024, /* larger states lie apart from their actor */
    STOA_SENT_MAX = 64, /* messages a turn may put ahead; the others wait in its list */
    STOA_STRIDES = STOA_STATE_INLINE / 16 + 1,
    STOA_MAILBOX_DEFAULT = 1024,
    STOA_DEAD_LETTERS = 256,
    STOA_TIMERS_MAX = 1 << 22,
    STOA_ASKS_MAX = 1 << 20,
    STOA_TIMED_KINDS = 128, /* the last one is for all that find none */
};

typedef struct stoa_runnable {
    struct stoa_runnable *next;
    bool queued, is_shard;
} stoa_runnable;

/* ALIVE alone: it serves, and messages go straight into its mailbox. See tree.h for the other states. 0: nobody. */
enum {
    STOA_ACTOR_ALIVE = 1,
    STOA_ACTOR_DOWN = 2,     /* takes nothing: failed, or ending after it failed or exited */
    STOA_ACTOR_IN_SHARD = 4, /* has no mailbox of its own */
    STOA_ACTOR_ENDING = 8,
    STOA_ACTOR_CLOSING = 16, /* takes only answers and timers */
    STOA_ACTOR_FRESH = 32,   /* its start is still to be run */
    STOA_ACTOR_CONFLATES = 64, /* what comes may become one with what waits (conflate.c) */
    STOA_ACTOR_AWAITED = 128,  /* somebody waits for room in its mailbox (credit.c) */
    STOA_ACTOR_AWAY = STOA_ACTOR_FRESH, /* without ALIVE: a slot that stands for who moved away, or is about to come (move.h) */
};

/* What few actors have or nobody needs often: a block of the core's slab (stoa_more). */
typedef struct stoa_actor_more {
    char name[STOA_NAME_MAX + 1];
    const char *key; /* into name */
    stoa_topic *topics[STOA_TOPIC_SLOTS];
    uint32_t turns[STOA_TOPIC_SLOTS]; /* where the round through a group's members stands */
    uint64_t heard;                   /* the last message of several audiences, by core->fanned */
    void *args; /* a block of the slab */
    bool subscribed;

    stoa_restart restart;
    stoa_family family;
    stoa_fate fate;  /* ENDING: what follows; otherwise the last end */
    uint64_t ending; /* timer: deadline while ENDING, restart while DOWN; 0: none */
    uint64_t failed_ns;
    uint32_t backoff_ms, shutdown_ms;

    uint32_t ties;     /* made by this actor: first entry of core->ties */
    uint32_t asks;     /* under way: first entry of core->asks */
    uint32_t gathers;  /* under way: first entry of core->gathers */
    uint32_t watches;  /* first entry of core->watches */
    stoa_msg *watched; /* blocks of ties to this actor */
    stoa_msg *timers;  /* armed */
    struct stoa_held *arena;
    uint64_t arena_bytes; /* of its blocks */

    struct stoa_conflating *conflating; /* what waits, by key; NULL: its kind does not conflate */
    stoa_msg *awaiting;                 /* who waits for room in its mailbox */
    uint32_t awaiting_count;
    uint32_t dropped[STOA_DROP_COUNT];
    uint64_t conflated;

    uint64_t touched_in;   /* of a shard: the last cascade that it holds something of (stoa_shard_touch) */
    uint32_t touched_next; /* the next one of the same, by stream; 0: none */

    stoa_msg *slots; /* one act for each of its slots on other cores, which lets that go */
    stoa_ref away;   /* AWAY: where it went, NONE: it is about to come here */
    stoa_msg *acts, *acts_last; /* AWAY: to be run when it has come */
    bool over;                  /* AWAY: it ended before it came */
} stoa_actor_more;

/* Two cache lines; the state follows where it is small (actor.c). */
typedef struct stoa_actor {
    stoa_runnable run; /* first: plain actors are runnables */
    const stoa_kind *kind;
    void *state;
    struct stoa_shard *shard;
    stoa_msg *head, *tail; /* mailbox of a plain actor, first in first out */
    stoa_msg *control;     /* its control lane: the last message, whose next is the first */
    stoa_actor_more *more;
    uint64_t messages;
    stoa_ref self;         /* its index stays with the slot, its generation is of this life */
    uint32_t queued, limit; /* messages waiting, or staged for it in the turn that runs */
    uint32_t stream;
    uint32_t restarts, refused;
    uint32_t handler_ns;             /* of the last turn that was timed */
    uint32_t parent, elder, younger; /* index + 1 of the parent and of its children beside this one, 0: the root, none */
    int16_t last_refusal;
    uint8_t flags;
    uint8_t urgent; /* control rows among those queued */
} stoa_actor;
_Static_assert(sizeof(stoa_actor) == 128, "an idle actor stays small");

/* Actors of one size, side by side. */
typedef struct stoa_actor_chunk {
    unsigned char *base;
    uint32_t stride, used;
} stoa_actor_chunk;

/* An ask under way: who asked at this place, and its deadline. It ends with the incarnation that asked. */
typedef struct stoa_ask {
    stoa_ref asker; /* NONE: free */
    uint64_t token, deadline_timer, due_ns;
    const stoa_row *reply;
    uint64_t gather;     /* 0: none */
    uint32_t generation;
    uint32_t next, prev; /* of the asker's list; next also of the free ones */
    uint32_t pad_;
} stoa_ask;
_Static_assert(sizeof(stoa_ask) == 64, "one cache line");

typedef struct stoa_asks {
    stoa_ask *at; /* STOA_ASKS_MAX of them, reserved and touched as they are used; entry 0 unused */
    uint32_t used, free;
} stoa_asks;
stoa_err stoa_asks_init(stoa_asks *asks);
void stoa_asks_deinit(stoa_asks *asks);
/* A new ask; NULL: there are too many. */
stoa_ask *stoa_asks_new(stoa_asks *asks, stoa_ref asker, uint64_t token, uint64_t due_ns, const stoa_row *reply, uint64_t *id_out);
/* The ask with that id, or NULL when it was answered, cancelled or never was. */
stoa_ask *stoa_asks_find(stoa_asks *asks, uint64_t id);
void stoa_asks_free(stoa_asks *asks, uint64_t id);
/* The same for one that is at hand. */
static inline void stoa_asks_drop(stoa_asks *asks, stoa_ask *ask)
{
    ask->asker = STOA_REF_NONE;
    ask->next = asks->free;
    asks->free = (uint32_t)(ask - asks->at);
}
/* End an actor's ask: its deadline, its entry, its place in the asker's list. */
void stoa_ask_end(struct stoa_core *core, stoa_actor *asker, stoa_ask *ask);

enum { STOA_TIMER_MESSAGE, STOA_TIMER_ASK, STOA_TIMER_RESTART, STOA_TIMER_KILL };

/* Asks under way that end in one message (gather.c). */
typedef struct stoa_gathering {
    stoa_msg *block; /* the message */
    stoa_ref asker;
    uint32_t left, next, prev, generation; /* next also of the free list */
    bool alive;
} stoa_gathering;
typedef struct stoa_gathers {
    stoa_gathering *at; /* STOA_GATHERS_MAX, reserved and touched as they are used; entry 0 unused */
    uint32_t used, free;
} stoa_gathers;
enum { STOA_GATHERS_MAX = 1 << 20 };
stoa_err stoa_gathers_init(stoa_gathers *gathers);
void stoa_gathers_deinit(stoa_gathers *gathers);
/* The answer of a gather's ask was handled. */
void stoa_gather_count(struct stoa_core *core, uint64_t id, stoa_err error);
void stoa_gathers_release(struct stoa_core *core, stoa_actor *actor);
void stoa_gathers_cancel(struct stoa_core *core, stoa_actor *actor, uint64_t token);

/* What is left to do behind a turn: with REST, before it is over. */
enum { STOA_AFTER_FAILED = 1, STOA_AFTER_EXIT = 2, STOA_AFTER_GATHER = 4, STOA_AFTER_SPAN = 8, STOA_AFTER_REST = 16 };

/* What the messages that a turn sends need: a context (the actor's shard, or the command, is told), a mark (trace.c). */
enum { STOA_MARKS_CONTEXT = 1, STOA_MARKS_TRACE = 2 };

/* A turn as the runtime sees it. */
typedef struct stoa_turning {
    stoa_turn turn; /* first: what the handler sees */
    struct stoa_core *core;
    stoa_actor *actor;
    stoa_msg *msg;               /* being handled; NULL in start and resume */
    stoa_ref reply_to;           /* who asked, NONE: nobody */
    uint64_t ask;                /* their ask */
    stoa_msg *staged, **staged_end; /* list; where its next goes */
    const char *failed, *exits;  /* reason of stoa_fail and stoa_turn_exit, or NULL */
    uint64_t gather;             /* AFTER_GATHER: the message is an answer of that gather */
    uint32_t born, born_last;    /* children spawned: index + 1, chained through younger */
    uint64_t rings, listed;      /* places: slots written ahead into their ring; messages in the list */
    uint32_t sent;               /* messages put into mailboxes of this core already */
    uint32_t charge;             /* messages sent in this go */
    uint32_t sent_max;           /* how many may be: none past what waits in the list, or where contexts are needed */
    bool handed_over;            /* somebody else answers */
    bool answered;
    bool plain;                  /* nothing of a context is set */
    uint8_t after;               /* STOA_AFTER_*; REST: more takes effect than what was sent ahead: rings, list, births, subscriptions */
    stoa_end why;                /* of failed */
    uint8_t marks;               /* STOA_MARKS_* */
    uint8_t bound;               /* topic slots that it bound anew, a bit each */
    uint32_t timers;             /* MARKS_TRACE: since the trace's root */
    stoa_span span;              /* MARKS_TRACE: of this turn; its trace is 0 where what it sends is timed only */
    const char *topic;
    struct stoa_subscription *changed; /* subscriptions it made, or wants to end */
    struct {
        stoa_actor *to;   /* whose mailbox it is the last of */
        stoa_msg *behind; /* the one before it there, or NULL */
    } ahead[STOA_SENT_MAX]; /* what was sent, in its order */
} stoa_turning;

/* What is measured of a kind on a core. */
typedef struct stoa_times {
    const stoa_kind *kind; /* NULL: not in use */
    stoa_histogram *turns, *waits;
} stoa_times;

typedef struct stoa_core {
    stoa_place place; /* first */
    stoa_runnable *run_head, *run_tail;
    stoa_actor_chunk chunks[STOA_ACTOR_CHUNKS];
    uint32_t chunk_count, actor_alive;
    uint64_t plain_bytes; /* of actors of plain kinds, with their states */
    const stoa_kind *checked; /* the kind of the newest actor: there can be actors of it */
    struct {
        uint32_t free;  /* index + 1 of the first free actor, chained through stream */
        uint32_t chunk; /* number + 1 of the chunk with room, 0: none */
    } strides[STOA_STRIDES];
    stoa_turning turning; /* of the message being handled */
    struct stoa_shard *shards[16];
    uint32_t shard_count, shards_opening; /* opening: each has its place in shards already */
    stoa_wheel wheel;
    stoa_asks asks;
    stoa_watches watches;
    stoa_random random;
    uint64_t now_ns;
    uint64_t wall_ns, wall_read_ns; /* UTC at now_ns; when it was last read from the clock */
    void *reply; /* scratch of STOA_REPLY_MAX bytes */
    stoa_dead_letter *dead;
    uint64_t dead_count;
    uint64_t dropped[STOA_DROP_COUNT], conflated;
    uint64_t messages, cross, wakeups, timers, restarts, busy_ns;
    uint64_t fanned, lent; /* published messages that came by, and what subscribers got of them */
    stoa_idle idle;
    bool was_busy; /* the last batch found something to do */
    uint32_t slice;       /* messages that take about STOA_SLICE_NS, as messages went lately */
    uint64_t message_ns;  /* what one took, smoothed */
    uint64_t timed_count; /* messages, when the clock was read last */
    uint32_t time_every; /* one turn in about so many, or more of them, is timed, 0: none; 1 in the simulator, which looks at each */
    uint32_t time_left;  /* turns until then */
    uint64_t not_timed;  /* turns since the last one that was */
    uint64_t timers_from_ns;        /* the simulator's: no timer fires before; 0 elsewhere */
    stoa_times times[STOA_TIMED_KINDS];
    stoa_family root;
    stoa_ties ties;
    stoa_gathers gathers;
    stoa_msg *signals, *signals_tail; /* to be carried out between two turns (links.c) */
    stoa_ref unfinished;              /* an end that goes on in the next batch */
    struct {
        uint64_t window_ns;
        uint32_t written, left_out;
    } failure_log;
    bool shutting_down;
    /* work from other threads: stoa_core_do */
    _Atomic(struct stoa_errand *) errands;
    pthread_t thread;
    bool started;
    _Atomic bool stop;
    stoa_tracing tracing;
    stoa_flight_lane *flight; /* NULL: no recorder */
    uint64_t turn_due_ns;     /* from when on a timed turn is recorded */
    stoa_probe probe;
} stoa_core;

/* A function to run on a core between two batches, for a thread that waits. */
typedef struct stoa_errand {
    void (*run)(stoa_core *core, void *context);
    void *context;
    struct stoa_errand *next;
    bool done;
} stoa_errand;

stoa_err stoa_core_init(stoa_core *core, stoa_node *node, uint32_t index);
/* End all actors; what waits in their mailboxes is refused. Before any core of the node is gone. */
void stoa_core_end_actors(stoa_core *core);
void stoa_core_deinit(stoa_core *core);
void stoa_actors_init(stoa_core *core);
void stoa_actors_deinit(stoa_core *core);
stoa_err stoa_core_start(stoa_core *core);
void stoa_core_join(stoa_core *core);

/* Run fn on the core and wait; direct when the caller is the core or the simulator. Any thread. */
void stoa_core_do(stoa_core *core, void (*fn)(stoa_core *core, void *context), void *context);

/* One batch; returns whether anything was done. The thread's loop and the simulator call it. */
bool stoa_core_batch(stoa_core *core);
bool stoa_core_has_work(stoa_core *core);
/* When the core must run again without anybody calling it; UINT64_MAX: never. */
uint64_t stoa_core_next_ns(stoa_core *core);

/* Give a message to where its `to` says, here or elsewhere; ownership goes. Never fails: what cannot be delivered is answered
 * with an error or becomes a dead letter. */
void stoa_core_deliver(stoa_core *core, stoa_msg *msg);
/* The same for a message that is here already: to an actor of this core, or published. */
void stoa_core_take(stoa_core *core, stoa_msg *msg);
/* Into the mailbox of a plain actor, whatever its limit and state. */
void stoa_core_push(stoa_core *core, stoa_actor *actor, stoa_msg *msg);
/* Whether the rules of a mailbox allow to drop or merge it. */
bool stoa_msg_may_be_dropped(stoa_msg *msg);
/* Refuse all that waits in the mailbox of a plain actor. */
void stoa_mailbox_refuse(stoa_core *core, stoa_actor *actor, stoa_err why);
/* An answer meets its ask: the ask ends, the message (perhaps another) carries its token. NULL: too late, freed. */
stoa_msg *stoa_core_resolve(stoa_core *core, stoa_msg *msg);
static inline void stoa_core_enqueue(stoa_core *core, stoa_runnable *runnable)
{
    if (runnable->queued) { return; }
    runnable->queued = true;
    runnable->next = NULL;
    if (core->run_head) {
        core->run_tail->next = runnable;
    } else {
        core->run_head = runnable;
    }
    core->run_tail = runnable;
}
/* Refuse msg: the asker gets why, who wanted to be told is told, otherwise it is a dead letter. Frees msg. */
void stoa_core_refuse(stoa_core *core, stoa_msg *msg, stoa_err why);
/* The same, and what there is to deliver is returned instead; NULL: nothing. */
stoa_msg *stoa_core_refusal(stoa_core *core, stoa_msg *msg, stoa_err why);
/* The same for what nobody asked, with the reason it is counted under. */
void stoa_core_drop(stoa_core *core, stoa_msg *msg, stoa_err why, stoa_drop reason);
/* A record of what happened to actor (NULL: to the core) into the flight recorder, if there is one. name stays where it is. */
void stoa_core_record(stoa_core *core, stoa_flight_code code, const stoa_actor *actor, const stoa_row *row, const char *name,
                      uint64_t a, uint64_t b);
static inline void stoa_core_note(stoa_core *core, stoa_flight_code code, const stoa_actor *actor, const stoa_row *row,
                                  const char *name, uint64_t a, uint64_t b)
{
    if (core->flight) { stoa_core_record(core, code, actor, row, name, a, b); }
}
/* The reason that follows from why. */
stoa_drop stoa_drop_of(stoa_err why);
/* Note and count it; the reason follows from why. Does not free msg. */
void stoa_core_dead_letter(stoa_core *core, stoa_msg *msg, stoa_err why);
/* The same of a message that never was one here. */
void stoa_core_letter(stoa_core *core, stoa_ref to, stoa_ref from, const stoa_row *row, stoa_err why);
/* Hand msg (published on its topic) to this core's subscribers and pass it on to other places; frees or lends it (fan.c). */
void stoa_core_fan_out(stoa_core *core, stoa_msg *msg);
/* The same but for one place, which does not hear it. */
void stoa_core_fan_out_but(stoa_core *core, stoa_msg *msg, uint32_t place);

/* A fresh actor of kind with zeroed state, nobody's child yet (stoa_tree_add). Errors: NOMEM, those of stoa_kind_check. */
stoa_err stoa_actor_new(stoa_core *core, const stoa_kind *kind, const char *name, const void *args, stoa_actor **out);
void stoa_actor_free(stoa_core *core, stoa_actor *actor);
/* What one of that kind takes, with its state. */
uint64_t stoa_actor_bytes(const stoa_kind *kind);
/* A slot that is AWAY, for an actor that is to come; what is mapped for its state comes with it. name "": none. Errors: NOMEM. */
stoa_err stoa_actor_new_away(stoa_core *core, const stoa_kind *kind, const char *name, stoa_actor **out);
/* What waits in it is refused with CLOSED. */
void stoa_actor_free_away(stoa_core *core, stoa_actor *slot);
/* Give the slot of a freed actor back that waited in the run queue. */
void stoa_actor_recycle(stoa_core *core, stoa_actor *actor);
static inline uint32_t stoa_actor_index(const stoa_actor *actor)
{
    return stoa_ref_index(actor->self);
}
/* The actor in that slot, alive or not; any index has one. Slots are numbered chunk by chunk; all of those that were never
 * mapped are one that is never alive. */
static inline stoa_actor *stoa_actor_slot(const stoa_core *core, uint32_t index)
{
    const stoa_actor_chunk *chunk = &core->chunks[index / STOA_ACTOR_CHUNK % STOA_ACTOR_CHUNKS];
    return (stoa_actor *)(void *)(chunk->base + (size_t)(index % STOA_ACTOR_CHUNK) * chunk->stride);
}
static inline stoa_actor *stoa_core_actor(const stoa_core *core, stoa_ref ref)
{
    stoa_actor *actor = stoa_actor_slot(core, stoa_ref_index(ref));
    bool same = stoa_ref_equal(actor->self, ref) && (actor->flags & STOA_ACTOR_ALIVE);
    return __builtin_expect(same, 1) ? actor : NULL;
}
/* The actors alive, one after the other: begin with at = 0; NULL at the end. */
stoa_actor *stoa_actor_next(const stoa_core *core, uint32_t *at);
const char *stoa_actor_name(const stoa_actor *actor);

/* --- for what is added to a turn (turn.c, links.c) */
/* An act of so many bytes, zeroed behind its head, from this actor, to == NONE; NULL: no memory. */
stoa_msg *stoa_act_new(stoa_turning *t, uint32_t bytes, void (*run)(stoa_core *core, stoa_msg *msg),
                       void (*undo)(stoa_core *core, stoa_msg *msg));
/* Put msg at the end of what the turn asks for. */
static inline void stoa_turning_stage(stoa_turning *t, stoa_msg *msg)
{
    msg->next = NULL;
    *t->staged_end = msg;
    t->staged_end = &msg->next;
    t->sent_max = 0;
    t->after |= STOA_AFTER_REST;
    if (msg->flags & STOA_MSG_ACT) { t->listed = UINT64_MAX; } /* a monitor, a link, a stop: nothing sent later may overtake it */
}
/* Whether actors of kind can be: what STOA_KIND and STOA_PLAIN_KIND cannot see to. Errors: INVALID, TOO_LARGE. */
stoa_err stoa_kind_check(const stoa_kind *kind);
bool stoa_kind_hears(const stoa_kind *kind, const stoa_row *row);

void stoa_turning_init(stoa_core *core);
/* Handle one message in one turn (turn.c); frees msg. */
void stoa_turn_run(stoa_core *core, stoa_actor *actor, stoa_msg *msg);
/* So many messages at one go, fewer where they take long. */
static inline uint32_t stoa_core_quantum(const stoa_core *core, uint32_t messages)
{
    return messages < core->slice ? messages : core->slice;
}
/* Run what is runnable now, once each, up to STOA_BATCH_MESSAGES; returns how many actors and shards had their go. */
uint32_t stoa_core_run(stoa_core *core);
/* Subscriptions that a turn made and ended take effect, or not (group.c). */
void stoa_topics_let_go(stoa_turning *turning);
void stoa_topics_take_back(stoa_turning *turning);
/* The turn that comes after so many is timed; 0: none. */
static inline void stoa_core_time_in(stoa_core *core, uint32_t turns)
{
    core->time_left = turns ? turns : UINT32_MAX;
}
/* Note how long a turn of kind took, and how long a message to one was on its way; each stands for so many. */
void stoa_core_timed(stoa_core *core, const stoa_kind *kind, uint64_t ns, uint64_t stands_for);
/* Make what that needs, where it is missing: when an actor comes, not when its first message does. */
void stoa_core_will_time(stoa_core *core, const stoa_kind *kind);
void stoa_core_waited(stoa_core *core, const stoa_kind *kind, uint64_t ns, uint64_t stands_for);
/* start of a plain actor, resume of an event-sourced one. */
stoa_err stoa_turn_first(stoa_core *core, stoa_actor *actor);
/* stopping of a plain actor. AGAIN: it wants to be called again. */
stoa_err stoa_turn_last(stoa_core *core, stoa_actor *actor);
/* Fail an actor outside its turn (supervise.c): it is restarted or ends, as its supervisor has it. */
void stoa_actor_fail(stoa_core *core, stoa_actor *actor, const char *reason);

/* --- what actors hold (held.c) */
/* actor->more, made when it is missing; NULL: no memory. */
stoa_actor_more *stoa_more(stoa_core *core, stoa_actor *actor);
/* A zeroed block of the core's slab. */
void *stoa_block_new(stoa_core *core, size_t bytes);
void stoa_block_free(stoa_core *core, void *at);
/* Running timers of an actor, by their message. */
void stoa_timer_own(stoa_actor_more *more, stoa_msg *msg);
void stoa_timer_disown(stoa_actor_more *more, stoa_msg *msg);
void stoa_ask_own(stoa_core *core, stoa_actor_more *more, uint64_t id);
/* Everything an incarnation holds but its children, names and ties goes back. */
void stoa_held_release(stoa_core *core, stoa_actor *actor);

#endif
