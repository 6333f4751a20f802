/* actor.h - what the author of a kind uses: references, the turn, and the macros that make a kind from its table.
 *
 * An actor is a state, a mailbox and the handlers of its kind, on one core. A handler run is a turn. It may look at its
 * state, stage sends (and events) and answer. It returns OK and everything staged takes effect, or an error and none of it
 * does: the error is the answer to the sender. An error refuses a message; it never restarts an actor. stoa_fail() does.
 * A handler never blocks, locks, allocates or reads a clock: time is turn->now_ns.
 *
 *   event-sourced kind (STOA_KIND): handlers see const state and emit events; apply functions alone change state, live and
 *       in replay, and cannot fail; what must hold of state and event they assert (in a replay, whose bytes are input, what
 *       breaks is CORRUPT: docs/decisions/0026). The state holds no pointers: it is its own snapshot. Actors live in a shard; what leaves
 *       the shard (answers, refusals, topics) waits until the events before it are as durable as the shard promises.
 *   plain kind (STOA_PLAIN_KIND): handlers change the state in place; nothing is journaled; a restart begins anew.
 *
 * For each row of its table a kind defines static functions of these exact types (a wrong payload does not compile):
 *   COMMAND hello, welcome   stoa_err K_on_hello(stoa_turn *, [const] K *self, const K_hello *in, K_welcome *out)
 *   CAST tick                stoa_err K_on_tick(stoa_turn *, [const] K *self, const K_tick *in)
 *   CONTROL pause            the same; it is handled before all casts and commands that wait
 *   EVENT greeted            void K_apply_greeted(K *self, const K_greeted *event)           (event-sourced kinds)
 * and for each HEAR(K, other, row) of K_HEARS - topics it subscribes to, answers to its asks, others' casts:
 *                            stoa_err K_on_other_row(stoa_turn *, [const] K *self, const other_row *in)
 * HEAR(K, stoa_system, undelivered): what comes back of what it has mailed.
 * STOA_PROXY(other) in a .c file declares the typed sends to another kind: other_send_x, other_within_x, other_told_x, other_mail_x and
 * other_returned_x (casts), other_ask_x, other_forward_x, other_after_x, other_every_x, other_call_x (from outside the runtime) for commands and casts;
 * K_answer_x for replies, K_publish_x for topics (and K_send_x, to one actor), and for casts to all of a group. STOA_KIND and
 * STOA_PLAIN_KIND include the kind's own proxy; K_emit_x for events comes with STOA_KIND alone: nobody else may emit them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ACTOR_H
#define STOA_RUNTIME_ACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/api.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/durability.h"
#include "base/error.h"
#include "base/table.h"
#include "runtime/system.h"

STOA_API_BEGIN

/* Names an actor or a port of this node: generation, place, index. Zero is nobody. Not durable: never in a state or event. */
typedef struct stoa_ref {
    uint64_t at;
} stoa_ref;
#define STOA_REF_NONE ((stoa_ref){0})
static inline bool stoa_ref_equal(stoa_ref a, stoa_ref b)
{
    return a.at == b.at;
}

typedef struct stoa_node stoa_node;
typedef struct stoa_kind stoa_kind;

/* One handler run. Only the fields named here are the author's; valid until the handler returns. */
typedef struct stoa_turn {
    uint64_t now_ns;  /* monotonic, read once per batch; virtual in the simulator */
    uint64_t wall_ns; /* UTC; in event-sourced kinds the time that the events of this turn carry */
    stoa_ref self;    /* this actor */
    stoa_ref from;    /* who sent the message (for an answer: who answered) */
    uint64_t token;   /* for an answer: what the ask was given */
    stoa_err error;   /* for an answer: OK, or the refusal (then the payload is zero) */
    uint64_t command; /* id of the outside command this turn descends from, 0 for none */
} stoa_turn;

/* --- sending: staged, released when the turn returns OK. The payload is copied. Errors: FULL (mailbox, ring, quota; the turn
 * may go on or return it), CLOSED (no such actor), FAILED (one of this core that is down until its restart), TOO_LARGE (a payload
 * that no message has room for: no table that compiles has one). Use the typed proxies. */
stoa_err stoa_turn_send(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload);
/* The same with a deadline: what waited longer than within_ns is not handled any more but a dead letter (STALE). So are asks
 * whose deadline has passed before their turn came (TIMEOUT); the asker knows by then. */
stoa_err stoa_turn_send_within(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t within_ns);
/* The same, and told when it is refused after it was sent, as only the receiver's core knows of its mailbox: this actor then
 * hears stoa_system.refused with the token in place of a dead letter. Errors: also NO_HANDLER (this kind does not hear that). */
stoa_err stoa_turn_send_told(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t token);
/* Ask to be told when an actor's mailbox is half empty, on whatever core: stoa_system.room with the token, once; at once when it
 * is already, or when the actor has ended. What it says, how many this one may send, is its share of the room and is not kept
 * for it: who never sends more, asks anew then, and is the only one who does, is never refused. A call with a token that still
 * waits changes nothing. Errors: FULL, NO_HANDLER, INVALID (an actor of the same shard, which is never full). */
stoa_err stoa_turn_when_room(stoa_turn *turn, stoa_ref to, uint64_t token);
/* A request: the answer comes back as a message of the row's reply type, with token; without an answer within deadline_ns the
 * handler of the reply sees turn->error TIMEOUT. An answer of another row than row->reply comes as turn->error MALFORMED, without its
 * payload. Errors: also INVALID (a row without a reply). */
stoa_err stoa_turn_ask(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t deadline_ns,
                       uint64_t token);
/* Send and hand over the duty to answer the present message's asker. A command whose handler forwards does not answer itself
 * (out is ignored); the last one in the chain calls K_answer_x, with the reply that was asked for, or an error it returns is it. */
stoa_err stoa_turn_forward(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload);
/* Answer the asker that the present message was forwarded for. Nobody asked: OK, nothing happens. */
stoa_err stoa_turn_answer(stoa_turn *turn, const stoa_row *row, const void *payload);
/* Answer that asker with an error, while this turn takes effect. */
stoa_err stoa_turn_refuse(stoa_turn *turn, stoa_err why);
/* The answer comes later from a turn that holds the forwarded chain; this turn does not answer. */
void stoa_turn_no_answer(stoa_turn *turn);
/* The duty to answer the present message's asker, for a later turn of this actor; this turn does not answer then. What is kept and never
 * answered ends at the asker's deadline. Nobody asked: OK, and answering it does nothing. */
typedef struct stoa_asker {
    stoa_ref who; /* the runtime's, as the rest */
    uint64_t ask, command;
} stoa_asker;
void stoa_turn_keep(stoa_turn *turn, stoa_asker *out);
/* Answer whom was kept, once: with a reply, or where error is not OK with that (row and payload NULL). */
stoa_err stoa_turn_answer_kept(stoa_turn *turn, const stoa_asker *asker, const stoa_row *row, const void *payload, stoa_err error);

/* --- events (event-sourced kinds): applied and journaled in order when the turn returns OK. Errors: FULL (turn's arena),
 * INVALID (no event of this kind's own table), UNSUPPORTED (in resume; a plain kind). Use K_emit_x. */
stoa_err stoa_turn_emit(stoa_turn *turn, const stoa_row *row, const void *payload);

/* --- mail (event-sourced kinds of a shard with a journal): to an actor "kind/key" of another shard, which outlives both.
 * "shard:kind/key" names a shard that need not be open at the moment, one of another node "shard@node:kind/key" (distant.h). Part of the turn, as its events are: it leaves when they are
 * committed and takes effect there once, in the order in which this shard mailed to that one. What is refused there - an error of
 * the turn, no such actor, no handler - comes back: this actor hears stoa_system.undelivered with the token, once, however often
 * either side ends in between. A turn that hears so should not fail, nor need room for mail.
 * A cascade mails 64 messages and 32 KiB at most, a payload takes 4 KiB at most. Errors: NOT_FOUND (no such actor, or shard), FULL
 * (the channel, whose receiver is slow or away; a shard has 32; turns further down a cascade always have room: it does not begin before), FORKED
 * (the channel stopped: see the operator's command channel restart), TOO_LARGE, INVALID, UNSUPPORTED (a shard without a journal). */
stoa_err stoa_turn_mail(stoa_turn *turn, const char *to, const stoa_row *row, const void *payload, uint64_t token);
/* Who mailed the present message, "shard:kind/key", to mail back; "" where it was not mailed. Valid until the handler returns. */
const char *stoa_turn_mailed_by(const stoa_turn *turn);
/* What came back, for who hears stoa_system.undelivered (K_returned_x). Errors: NOT_FOUND (it was of another row, or nothing came
 * back); what decoding says. */
stoa_err stoa_turn_returned(const stoa_turn *turn, const stoa_row *row, void *payload_out);

/* --- outside effects (event-sourced kinds): row, a cast of a table that a port serves (stoa_port_serve), is to be done outside the
 * node. Staged as an event is; pending, in the log, from when the turn takes effect until its port says that it was done; handed to the
 * port when it is committed, and again after a crash under the same name. A payload takes 4 KiB at most. Errors: FULL (too much is
 * pending), TOO_LARGE, UNSUPPORTED (in resume; a plain kind; a shard whose names could return: durability NONE, or
 * MEMORY without a lease's epoch). Use K_effect_x. */
stoa_err stoa_turn_effect(stoa_turn *turn, const stoa_row *row, const void *payload);

/* --- time: a message to oneself after delay_ns. Timers of an event-sourced actor are armed again by its resume. */
typedef struct stoa_timer {
    uint64_t at; /* 0: none */
} stoa_timer;
stoa_err stoa_turn_after(stoa_turn *turn, uint64_t delay_ns, const stoa_row *row, const void *payload,
                         stoa_timer *timer_out);
/* The same every period_ns, on a beat that does not drift, until it is cancelled or the actor ends or is restarted. A tick is
 * refused like any message where the mailbox is full; those that a busy core missed are left out. Errors: FULL, INVALID (0). */
stoa_err stoa_turn_every(stoa_turn *turn, uint64_t period_ns, const stoa_row *row, const void *payload,
                         stoa_timer *timer_out);
/* Fires no more; what it sent already still arrives. A timer that fired or none: nothing happens. */
void stoa_turn_cancel(stoa_turn *turn, stoa_timer timer);

/* --- topics: names of segments with '.', patterns with '*' (one segment) and '>' (the rest), as NATS subjects. An actor hears
 * what is published on every topic that one of its patterns matches, once. Subscriptions take effect with the turn, and end
 * with the actor; a restarted one subscribes anew. They and bind take a lock: for start, resume and rare paths. A refused turn
 * changes none of them. slot: 0 .. STOA_TOPIC_SLOTS - 1. Errors: INVALID, FULL, NOMEM. */
enum { STOA_TOPIC_SLOTS = 4, STOA_NAME_MAX = 63 };
stoa_err stoa_turn_subscribe(stoa_turn *turn, const char *pattern);
/* One who has not subscribed: OK. */
stoa_err stoa_turn_unsubscribe(stoa_turn *turn, const char *pattern);
stoa_err stoa_turn_bind(stoa_turn *turn, unsigned slot, const char *topic);
/* Publish on the topic bound to slot. Unbound: INVALID. */
stoa_err stoa_turn_publish(stoa_turn *turn, unsigned slot, const stoa_row *row, const void *payload);
/* For a hearing handler: the topic's name the message was published on, "" when it was sent directly. */
const char *stoa_turn_topic(const stoa_turn *turn);

/* --- groups: a group is a topic with members. Members hear what is published on it, as its subscribers do, and one of them can
 * be chosen for a message of its own. join and leave are to members what subscribe and unsubscribe are to subscribers; who joins
 * needs a name, by which keys choose: INVALID. */
stoa_err stoa_turn_join(stoa_turn *turn, const char *group);
stoa_err stoa_turn_leave(stoa_turn *turn, const char *group);
/* A member of the group bound to slot, NONE where it has none or nothing is bound: the one for this key (the same for everybody
 * and after a restart of the process; when members come and go, only their own keys move; 1.5 ns a member), the next one in turn,
 * the next one on this core (where it has none there: of all). No lock. What is chosen may end before the message arrives. */
stoa_ref stoa_turn_member(stoa_turn *turn, unsigned slot, uint64_t key);
stoa_ref stoa_turn_member_next(stoa_turn *turn, unsigned slot);
stoa_ref stoa_turn_member_near(stoa_turn *turn, unsigned slot);
/* How many members the group bound to slot has. */
uint32_t stoa_turn_members(const stoa_turn *turn, unsigned slot);

/* --- names and neighbours */
/* This actor's name behind the slash: "BTCUSDT" of "trade_book/BTCUSDT". */
const char *stoa_turn_key(const stoa_turn *turn);
/* Look up "kind/key" (takes a lock: start, resume, rare paths). NONE when there is none. */
stoa_ref stoa_turn_find(stoa_turn *turn, const char *name);
/* The number of this actor in its shard: small, durable, may be kept in states and events; 0 outside a shard. */
uint32_t stoa_turn_stream(const stoa_turn *turn);
/* The actor of this shard with that number; NONE when there is none. A few ns. */
stoa_ref stoa_turn_peer(const stoa_turn *turn, uint32_t stream);
/* The number of the actor of this shard with that name, 0 when there is none. */
uint32_t stoa_turn_peer_find(stoa_turn *turn, const char *name);
/* 64 random bits of the core's seeded generator. Decisions that depend on them belong into events. */
uint64_t stoa_turn_random(stoa_turn *turn);

/* --- ends. Reasons are static texts. */
/* Fail this actor: nothing of this turn happened; its supervisor restarts it. Return the result. In a shard with a journal, where this
 * turn follows from others of the same cascade, nothing of the cascade happened: it is undone, and who asked hears FAILED; the
 * incarnations of actors that had events in it, or hold a timer, an ask, a child or a subscription of it, end. */
STOA_NODISCARD stoa_err stoa_fail(stoa_turn *turn, const char *reason);
/* The same undoing without a failure, for a turn that cannot be without leaving half of something: return the result. Who began the
 * cascade hears why. OK: nothing, so it may stand around a call. Where there is nothing before this turn, and where durability is NONE,
 * it is as if why was returned. It costs as much as a restart. */
STOA_NODISCARD stoa_err stoa_turn_undo(stoa_turn *turn, stoa_err why);
/* End this actor when the turn takes effect. NULL: it is done (normal); otherwise it ends as one that failed. Errors:
 * UNSUPPORTED (event-sourced kinds: they live as long as their shard). */
stoa_err stoa_turn_exit(stoa_turn *turn, const char *reason);
/* Tell an actor of this node to end, for good. It ends its children first, then within its own shutdown_ms handles what it
 * was sent before, then runs its kind's stopping. reason NULL: shutdown, which is no failure. Errors: CLOSED (no such
 * actor), UNSUPPORTED (event-sourced), FULL. */
stoa_err stoa_turn_stop(stoa_turn *turn, stoa_ref actor, const char *reason);

/* --- children: plain kinds, on their parent's core. A parent's end ends its children first, the youngest first. Failed ones
 * are restarted as the parent's kind says (stoa_supervision), under the same reference and name. */
typedef enum stoa_restart {
    STOA_TEMPORARY, /* never restarted */
    STOA_TRANSIENT, /* restarted when it failed */
    STOA_PERMANENT, /* also when it ended itself */
} stoa_restart;
typedef struct stoa_child {
    const char *name;     /* "kind/key"; NULL: none */
    const void *args;     /* copied, kind->args_bytes; NULL: none */
    stoa_restart restart;
    uint32_t shutdown_ms; /* how long it may take to end when it is told to; 0: at once, what it was sent is refused */
} stoa_child;
/* The child can be sent to at once; it starts when this turn takes effect and never was when it is refused. child NULL: no
 * name, no arguments, temporary. Errors: FULL (the core's actors of plain kinds and their states take memory_bytes already), NOMEM,
 * INVALID (name), EXISTS, UNSUPPORTED (an event-sourced kind). */
stoa_err stoa_turn_spawn(stoa_turn *turn, const stoa_kind *kind, const stoa_child *child, stoa_ref *out);

/* --- links and monitors: across cores, taking effect with the turn. */
/* Hear of an actor's end, once: stoa_system.down with the returned id as token; at once when there is none. A failure that is
 * restarted counts as an end. 0: no room, or this kind does not hear stoa_system.down. */
uint64_t stoa_turn_monitor(stoa_turn *turn, stoa_ref actor);
/* Not any more; a down that is already in the mailbox still comes. */
void stoa_turn_demonitor(stoa_turn *turn, uint64_t id);
/* When one of the two ends abnormally, the other fails for the same reason, or hears stoa_system.exit when its kind traps
 * exits. One that is already gone counts as abnormal. Restarts do not link again. Errors: FULL, INVALID (oneself). */
stoa_err stoa_turn_link(stoa_turn *turn, stoa_ref actor);
/* Not any more, whoever made the link. Looks through the links of both. */
void stoa_turn_unlink(stoa_turn *turn, stoa_ref actor);

/* --- asking many: one deadline, answers as of other asks, each with the gather's token; after the last one the actor hears
 * stoa_system.gathered {token, asked, answered, refused, timed_out}. */
typedef struct stoa_gather {
    uint64_t at, deadline_ns, token;
} stoa_gather;
/* Begin; the asks follow in the same turn (stoa_turn_gather_ask, K_gather_x), none at all is gathered at once. Errors: FULL,
 * NO_HANDLER (the kind does not hear stoa_system.gathered). */
stoa_err stoa_turn_gather(stoa_turn *turn, uint64_t deadline_ns, uint64_t token, stoa_gather *out);
/* As stoa_turn_ask; one that cannot be sent counts as refused. */
stoa_err stoa_turn_gather_ask(stoa_turn *turn, const stoa_gather *gather, stoa_ref to, const stoa_row *row,
                              const void *payload);
/* Give up this actor's asks with that token, gathers included: their answers become dead letters, their handlers do not run.
 * One that is already in the mailbox still comes. */
void stoa_turn_cancel_ask(stoa_turn *turn, uint64_t token);

/* --- descriptors (plain kinds, on a real node): tell this actor once, by HEAR(K, stoa_system, ready), when fd can be read or
 * written, was closed by the other side or failed; after that it is watched no more until it is watched again. The core looks
 * between its batches, and a sleeping one wakes. A descriptor has one watcher on a core; watches end with the actor or its
 * restart; the owner unwatches before it closes. Errors: INVALID (not a descriptor, or one that is always ready, as a file),
 * EXISTS (another actor watches it), FULL, NO_HANDLER, UNSUPPORTED (in a shard, in the simulator). Part of the turn: a refused one changes nothing. */
enum { STOA_READABLE = 1, STOA_WRITABLE = 2, STOA_HANGUP = 4 /* told, not asked for */ };
stoa_err stoa_turn_watch(stoa_turn *turn, int fd, unsigned events, uint64_t token);
stoa_err stoa_turn_unwatch(stoa_turn *turn, int fd);

/* --- memory of a plain actor beside its state: zeroed, aligned to 8, at most STOA_ALLOC_MAX a piece; it goes back as a whole at
 * the actor's end and before its restart. Not undone when the turn is refused, as changes to the state are not. NULL: a piece is
 * larger, three quarters of the core's memory are in use (the last one is for messages), or this is above
 * kind->memory_quota_bytes: then the actor fails with this turn. */
enum { STOA_ALLOC_MAX = (512 << 10) - 64 };
void *stoa_turn_alloc(stoa_turn *turn, size_t bytes);
void stoa_turn_free(stoa_turn *turn, void *at);

/* --- kinds */
typedef stoa_err (*stoa_handler)(stoa_turn *turn, void *state, const void *in, void *out);
typedef void (*stoa_applier)(void *state, const void *event);
typedef struct stoa_hear {
    const stoa_row *row;
    stoa_handler handler;
} stoa_hear;

/* What becomes of a cast or a published message that finds the mailbox full. Commands, asks and control rows are refused,
 * whatever the kind says; answers and timers that are due are always taken: the actor itself has asked for them. What is dropped
 * is a dead letter, counted with its reason. */
typedef enum stoa_full {
    STOA_FULL_REFUSE, /* an actor of the same core gets FULL from its send; from elsewhere, or with a key of conflation, it is a
                       * dead letter */
    STOA_FULL_DROP_OLDEST, /* the oldest one that may be dropped goes instead; none among the first 64: refused */
    STOA_FULL_DROP_NEWEST, /* it goes itself, and the sender does not learn of it */
} stoa_full;

/* How an actor of the kind treats its children. All zero: one_for_one, 100 restarts within 10 s, at once. */
typedef enum stoa_strategy {
    STOA_ONE_FOR_ONE,  /* the failed child alone */
    STOA_ONE_FOR_ALL,  /* all children are ended and started again */
    STOA_REST_FOR_ONE, /* the failed one and those started after it */
} stoa_strategy;
typedef struct stoa_supervision {
    stoa_strategy strategy;
    /* A bucket of restarts, refilled evenly within per_ms. When it is empty the supervisor itself fails ("escalated"). */
    uint32_t restarts, per_ms;
    /* The first restart is at once; further failures of a child within per_ms wait min, twice min, ... max. 0: at once. */
    uint32_t backoff_min_ms, backoff_max_ms;
    bool jitter; /* wait between half of that and all of it, at random */
} stoa_supervision;

/* Conflation: a cast or a published message that finds one of the same row and key waiting becomes one with it, in that one's
 * place, so that who is slow hears the newest of each key instead of all. turn->from is the newer one's. What must not be merged
 * keeps its order: a message for which key is 0, a command, an ask, an answer or a timer parts what was sent before it from what
 * is sent behind it. So there is at most one waiting message a key between two of those, and an actor that hears nothing else
 * is never full while its mailbox_limit is above its number of keys (and above). Messages of different keys change their order.
 * Both functions see payloads only; they are called on the receiver's core, and not for what a shard's actors send each other. */
typedef struct stoa_conflate {
    /* What the payload is about; 0: nothing can be merged with it. NULL: this kind does not conflate. */
    uint64_t (*key)(const stoa_row *row, const void *payload);
    /* Make older what both say together, with the same key; false, and older is as it was: they cannot be one (a gap between two
     * ranges of numbers), the newer one waits on its own. NULL: the newer one replaces the older one. */
    bool (*merge)(const stoa_row *row, void *older, const void *newer);
    uint32_t above; /* only while more than so many wait: a short burst is heard as it was sent */
} stoa_conflate;

/* What becomes of a stored event that its row cannot read any more. Appended fields need none of this; where a payload changes
 * otherwise, the row's schema goes up by one, and an upcast brings events of the schema before to it. Events are stored with
 * the schema that they were written under, and pass all upcasts from there on. */
typedef struct stoa_upcast {
    uint32_t row, schema;  /* from 1: an event of this row, written under this schema, ... */
    const stoa_type *type; /* ... had this payload: a STOA_RECORD that is kept for it */
    /* Make it one of schema + 1: the type of the upcast from there, or the row's payload. next is zero. Cannot fail. */
    void (*up)(const void *old, void *next);
} stoa_upcast;

struct stoa_kind {
    const char *name;
    const stoa_row *rows; /* of its table: what it handles itself */
    size_t rows_bytes;
    const stoa_handler *handlers; /* by row id */
    const stoa_table *table;
    const stoa_applier *appliers; /* by row id; event-sourced kinds */
    const stoa_hear *hears;       /* ends with row NULL */
    size_t state_bytes;
    bool sourced;

    /* The author's, as designated initializers behind the name in STOA_KIND: */
    uint32_t mailbox_limit;  /* messages; 0 means 1024. Control rows have 64 of their own. With conflate: 1048576 at most */
    stoa_full when_full;
    stoa_conflate conflate;
    /* Plain kinds: called as the first turn, at spawn and after each restart, with the arguments given at spawn. */
    stoa_err (*start)(stoa_turn *turn, void *state, const void *args);
    size_t args_bytes;
    /* Event-sourced kinds: called after spawn and after each recovery; may subscribe, bind, send, arm timers, not emit. */
    stoa_err (*resume)(stoa_turn *turn, const void *state);
    /* Plain kinds: release what the state holds of the outside (parsers); at stop and before a restart. */
    void (*stop)(void *state);
    /* Plain kinds: the last turn of an actor that was told to end; may send. AGAIN: not yet, call again after the next
     * answer or timer (nothing else is taken any more), until its shutdown_ms are over. */
    stoa_err (*stopping)(stoa_turn *turn, void *state);
    /* For the REPL: print the state as one JSON object; or the state is a STOA_RECORD, and its type says how (STOA_TYPE(K)).
     * Both NULL: nothing to see. */
    void (*inspect)(const void *state, stoa_buf *out);
    const stoa_type *state_type;
    /* Event-sourced kinds: raise it when the layout of the state changes, or what an apply function makes of an old event.
     * Snapshots of other versions are not used; the log is. A changed size, or a changed state_type, is noticed without it. */
    uint32_t state_version;
    /* Event-sourced kinds: from every schema there was, for each row that had several; ends with type NULL. NULL: none had. */
    const stoa_upcast *upcasts;
    stoa_supervision supervision;
    bool trap_exits;             /* links: hear stoa_system.exit instead of failing */
    uint64_t memory_quota_bytes; /* of stoa_turn_alloc, per actor; 0: what the core has for it */
    stoa_handler any; /* plain kinds: takes each row that no other handler takes. NULL: those are refused (NO_HANDLER) */
};

/* #define K_HEARS STOA_HEARS_NOTHING for a kind that hears nobody else. */
#define STOA_HEARS_NOTHING(HEAR, K)

/* --- proxies */
#define STOA_PROXY_FUNCTION_ static inline __attribute__((unused))
#define STOA_PROXY_SENDS_(K, name)                                                                                     \
    STOA_PROXY_FUNCTION_ stoa_err K##_send_##name(stoa_turn *turn, stoa_ref to, K##_##name payload)                           \
    {                                                                                                                  \
        return stoa_turn_send(turn, to, &K##_rows[K##_ROW_##name], &payload);                                          \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_within_##name(stoa_turn *turn, stoa_ref to, K##_##name payload, uint64_t within_ns)      \
    {                                                                                                                  \
        return stoa_turn_send_within(turn, to, &K##_rows[K##_ROW_##name], &payload, within_ns);                        \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_forward_##name(stoa_turn *turn, stoa_ref to, K##_##name payload)                        \
    {                                                                                                                  \
        return stoa_turn_forward(turn, to, &K##_rows[K##_ROW_##name], &payload);                                       \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_after_##name(stoa_turn *turn, uint64_t delay_ns, K##_##name payload, stoa_timer *out)   \
    {                                                                                                                  \
        return stoa_turn_after(turn, delay_ns, &K##_rows[K##_ROW_##name], &payload, out);                              \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_every_##name(stoa_turn *turn, uint64_t period_ns, K##_##name payload, stoa_timer *out)  \
    {                                                                                                                  \
        return stoa_turn_every(turn, period_ns, &K##_rows[K##_ROW_##name], &payload, out);                             \
    }
#define STOA_PROXY_COMMAND_(K, name, reply)                                                                            \
    STOA_PROXY_SENDS_(K, name)                                                                                         \
    STOA_PROXY_FUNCTION_ stoa_err K##_ask_##name(stoa_turn *turn, stoa_ref to, K##_##name payload, uint64_t deadline_ns,      \
                                          uint64_t token)                                                              \
    {                                                                                                                  \
        return stoa_turn_ask(turn, to, &K##_rows[K##_ROW_##name], &payload, deadline_ns, token);                       \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_gather_##name(stoa_turn *turn, const stoa_gather *gather, stoa_ref to,           \
                                                    K##_##name payload)                                                \
    {                                                                                                                  \
        return stoa_turn_gather_ask(turn, gather, to, &K##_rows[K##_ROW_##name], &payload);                            \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_call_##name(stoa_node *node, stoa_ref to, K##_##name payload, uint64_t deadline_ns,     \
                                           K##_##reply *out)                                                           \
    {                                                                                                                  \
        return stoa_call(node, to, &K##_rows[K##_ROW_##name], &payload, deadline_ns, out, sizeof *out);                \
    }
#define STOA_PROXY_CAST_(K, name, reply)                                                                               \
    STOA_PROXY_SENDS_(K, name)                                                                                         \
    STOA_PROXY_FUNCTION_ stoa_err K##_publish_##name(stoa_turn *turn, unsigned slot, const K##_##name *payload)               \
    {                                                                                                                  \
        return stoa_turn_publish(turn, slot, &K##_rows[K##_ROW_##name], payload);                                      \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_effect_##name(stoa_turn *turn, K##_##name payload)                                \
    {                                                                                                                  \
        return stoa_turn_effect(turn, &K##_rows[K##_ROW_##name], &payload);                                            \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_told_##name(stoa_turn *turn, stoa_ref to, K##_##name payload, uint64_t token)            \
    {                                                                                                                  \
        return stoa_turn_send_told(turn, to, &K##_rows[K##_ROW_##name], &payload, token);                              \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_mail_##name(stoa_turn *turn, const char *to, K##_##name payload, uint64_t token) \
    {                                                                                                                  \
        return stoa_turn_mail(turn, to, &K##_rows[K##_ROW_##name], &payload, token);                                   \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_returned_##name(const stoa_turn *turn, K##_##name *out)                          \
    {                                                                                                                  \
        return stoa_turn_returned(turn, &K##_rows[K##_ROW_##name], out);                                               \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_post_##name(stoa_node *node, stoa_ref to, K##_##name payload)                           \
    {                                                                                                                  \
        return stoa_post(node, to, &K##_rows[K##_ROW_##name], &payload);                                               \
    }
#define STOA_PROXY_CONTROL_(K, name, reply) STOA_PROXY_CAST_(K, name, reply)
#define STOA_PROXY_EVENT_(K, name, reply) /* the kind's own: STOA_EMIT_EVENT_ */
#define STOA_PROXY_REPLY_(K, name, reply)                                                                              \
    STOA_PROXY_FUNCTION_ stoa_err K##_answer_##name(stoa_turn *turn, K##_##name payload)                                      \
    {                                                                                                                  \
        return stoa_turn_answer(turn, &K##_rows[K##_ROW_##name], &payload);                                            \
    }
#define STOA_PROXY_TOPIC_(K, name, reply)                                                                              \
    STOA_PROXY_FUNCTION_ stoa_err K##_send_##name(stoa_turn *turn, stoa_ref to, const K##_##name *payload)             \
    {                                                                                                                  \
        return stoa_turn_send(turn, to, &K##_rows[K##_ROW_##name], payload);                                           \
    }                                                                                                                  \
    STOA_PROXY_FUNCTION_ stoa_err K##_publish_##name(stoa_turn *turn, unsigned slot, const K##_##name *payload)               \
    {                                                                                                                  \
        return stoa_turn_publish(turn, slot, &K##_rows[K##_ROW_##name], payload);                                      \
    }
#define STOA_PROXY_ROW_(K, cls, name, reply, doc) STOA_PROXY_##cls##_(K, name, reply)
#define STOA_PROXY(K)                             K##_ROWS(STOA_PROXY_ROW_, K)

/* Call from a thread outside the runtime and wait for the answer (see runtime/node.h). out_bytes: of the reply's payload. */
stoa_err stoa_call(stoa_node *node, stoa_ref to, const stoa_row *row, const void *payload, uint64_t deadline_ns,
                   void *out, size_t out_bytes);
stoa_err stoa_post(stoa_node *node, stoa_ref to, const stoa_row *row, const void *payload);

/* --- what an event-sourced kind alone may do: emit its events */
#define STOA_EMIT_COMMAND_(K, name)
#define STOA_EMIT_CAST_(K, name)
#define STOA_EMIT_CONTROL_(K, name)
#define STOA_EMIT_EVENT_(K, name)                                                                                      \
    STOA_PROXY_FUNCTION_ stoa_err K##_emit_##name(stoa_turn *turn, K##_##name payload)                                 \
    {                                                                                                                  \
        return stoa_turn_emit(turn, &K##_rows[K##_ROW_##name], &payload);                                              \
    }
#define STOA_EMIT_REPLY_(K, name)
#define STOA_EMIT_TOPIC_(K, name)
#define STOA_EMIT_ROW_(K, cls, name, reply, doc) STOA_EMIT_##cls##_(K, name)

/* --- the kind itself; SELF is "const" for event-sourced kinds and empty for plain ones */
#define STOA_ON_COMMAND_(SELF, K, name, reply)                                                                         \
    static stoa_err K##_on_##name(stoa_turn *turn, SELF K *self, const K##_##name *in, K##_##reply *out);              \
    static stoa_err K##_do_##name##_(stoa_turn *turn, void *state, const void *in, void *out)                          \
    {                                                                                                                  \
        return K##_on_##name(turn, state, in, out);                                                                    \
    }
#define STOA_ON_CAST_(SELF, K, name, reply)                                                                            \
    static stoa_err K##_on_##name(stoa_turn *turn, SELF K *self, const K##_##name *in);                                \
    static stoa_err K##_do_##name##_(stoa_turn *turn, void *state, const void *in, void *out)                          \
    {                                                                                                                  \
        (void)out;                                                                                                     \
        return K##_on_##name(turn, state, in);                                                                         \
    }
#define STOA_ON_CONTROL_(SELF, K, name, reply) STOA_ON_CAST_(SELF, K, name, reply)
#define STOA_ON_EVENT_(SELF, K, name, reply)                                                                           \
    static void K##_apply_##name(K *self, const K##_##name *event);                                                    \
    static void K##_fold_##name##_(void *state, const void *event)                                                     \
    {                                                                                                                  \
        K##_apply_##name(state, event);                                                                                \
    }
#define STOA_ON_REPLY_(SELF, K, name, reply)
#define STOA_ON_TOPIC_(SELF, K, name, reply)
#define STOA_ON_CONST_(K, cls, name, reply, doc) STOA_ON_##cls##_(const, K, name, reply)
#define STOA_ON_PLAIN_(K, cls, name, reply, doc) STOA_ON_##cls##_(, K, name, reply)
#define STOA_HEAR_(SELF, K, other, name)                                                                               \
    static stoa_err K##_on_##other##_##name(stoa_turn *turn, SELF K *self, const other##_##name *in);                  \
    static stoa_err K##_do_##other##_##name##_(stoa_turn *turn, void *state, const void *in, void *out)                \
    {                                                                                                                  \
        (void)out;                                                                                                     \
        return K##_on_##other##_##name(turn, state, in);                                                               \
    }
#define STOA_HEAR_CONST_(K, other, name) STOA_HEAR_(const, K, other, name)
#define STOA_HEAR_PLAIN_(K, other, name) STOA_HEAR_(, K, other, name)
#define STOA_HEAR_ROW_(K, other, name)   {&other##_rows[other##_ROW_##name], K##_do_##other##_##name##_},

#define STOA_HANDLER_COMMAND_(K, name) [K##_ROW_##name] = K##_do_##name##_,
#define STOA_HANDLER_CAST_(K, name)    [K##_ROW_##name] = K##_do_##name##_,
#define STOA_HANDLER_CONTROL_(K, name) STOA_HANDLER_CAST_(K, name)
#define STOA_HANDLER_EVENT_(K, name)
#define STOA_HANDLER_REPLY_(K, name)
#define STOA_HANDLER_TOPIC_(K, name)
#define STOA_HANDLER_ROW_(K, cls, name, reply, doc) STOA_HANDLER_##cls##_(K, name)
#define STOA_APPLIER_COMMAND_(K, name)
#define STOA_APPLIER_CAST_(K, name)
#define STOA_APPLIER_CONTROL_(K, name)
#define STOA_APPLIER_EVENT_(K, name) [K##_ROW_##name] = K##_fold_##name##_,
#define STOA_APPLIER_REPLY_(K, name)
#define STOA_APPLIER_TOPIC_(K, name)
#define STOA_APPLIER_ROW_(K, cls, name, reply, doc) STOA_APPLIER_##cls##_(K, name)

#define STOA_KIND_TABLES_(K)                                                                                           \
    static const stoa_handler K##_handlers_[K##_ROW_END_ + 1] = {K##_ROWS(STOA_HANDLER_ROW_, K)[K##_ROW_END_] = NULL}; \
    static const stoa_hear K##_hears_[] = {K##_HEARS(STOA_HEAR_ROW_, K){NULL, NULL}};
#define STOA_KIND(K, ...)                                                                                              \
    STOA_PROXY(K) K##_ROWS(STOA_EMIT_ROW_, K)                                                                          \
    K##_ROWS(STOA_ON_CONST_, K) K##_HEARS(STOA_HEAR_CONST_, K) STOA_KIND_TABLES_(K)                                    \
    static const stoa_applier K##_appliers_[K##_ROW_END_ + 1] = {K##_ROWS(STOA_APPLIER_ROW_, K)[K##_ROW_END_] = NULL}; \
    const stoa_kind K##_kind = {.name = #K,                                                                            \
                                .rows = K##_rows,                                                                      \
                                .rows_bytes = sizeof(stoa_row) * K##_ROW_END_,                                         \
                                .table = &K##_table,                                                                   \
                                .handlers = K##_handlers_,                                                             \
                                .appliers = K##_appliers_,                                                             \
                                .hears = K##_hears_,                                                                   \
                                .state_bytes = sizeof(K),                                                              \
                                .sourced = true,                                                                       \
                                __VA_ARGS__};
#define STOA_PLAIN_KIND(K, ...)                                                                                        \
    STOA_PROXY(K)                                                                                                      \
    K##_ROWS(STOA_ON_PLAIN_, K) K##_HEARS(STOA_HEAR_PLAIN_, K) STOA_KIND_TABLES_(K)                                    \
    const stoa_kind K##_kind = {.name = #K,                                                                            \
                                .rows = K##_rows,                                                                      \
                                .rows_bytes = sizeof(stoa_row) * K##_ROW_END_,                                         \
                                .table = &K##_table,                                                                   \
                                .handlers = K##_handlers_,                                                             \
                                .hears = K##_hears_,                                                                   \
                                .state_bytes = sizeof(K),                                                              \
                                __VA_ARGS__};

STOA_API_END

#endif
