/* shard.h - event-sourced actors that share a core, a journal and a fate. Internal to runtime/.
 *
 * Cascades. A message from outside the shard starts a cascade: its turn, then all messages the turns send to actors of the
 * same shard, first in first out, until none is left. Cascades run one after the other; a block holds whole cascades. So what
 * belongs together (reserve, match, settle) commits together, nobody sees its middle, and a crash never leaves half of it.
 * A cascade ends: its turns send STOA_CASCADE_MAX messages within the shard at most, and further sends and asks are TOO_LARGE.
 * A turn that returns that, or any error, is refused; those before it stand. But who fails in the middle of a cascade, or says
 * stoa_turn_undo there, takes all of it with him: it is undone as if it had never begun (shard_undo.c). What resumes send within
 * the shard, and what undoing leaves, is the rest: each message of it begins a cascade of its own, before what waits from outside.
 *
 * The wall. What leaves the shard - answers, refusals, reads, topics, sends - is stamped with the last position applied and
 * waits until its cascade is over and that position is committed: at once for NONE and MEMORY, when its block is synced for DISK.
 *
 * Blocks. Events of cascades gather in the open block. When the run ends and a block slot is free, the block is sealed and
 * handed to the journal's thread, which appends all blocks it finds with one sync; meanwhile the next block fills. With all
 * slots under way the shard takes no new cascade until one is done: its inbox fills and refuses.
 *
 * Across shards: what a turn mails is an event of the shard's own; see channel.h.
 *
 * An event in a block is a msgpack array [version 1, type, schema, stream, seq, time, cause, command, actor, payload].
 * Stream 0 is the shard itself: ledger.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_SHARD_H
#define STOA_RUNTIME_SHARD_H

#include "base/wire.h"
#include "runtime/acks.h"
#include "runtime/core.h"
#include "runtime/ledger.h"
#include "runtime/readers.h"
#include "runtime/streams.h"
#include "storage/journal.h"

enum {
    STOA_SHARD_ACTORS_MAX = 1 << 20,
    STOA_BLOCKS = 4,
    STOA_SHARD_BLOCK_BYTES = 4 << 20,       /* room of a block: what one cascade may emit at most */
    STOA_SHARD_SEAL_BYTES = 256 << 10, /* from here on a block takes no further cascade */
    STOA_SHARD_INDEX_MAX = 1 << 16,
    STOA_SHARD_LAZY_BYTES = 64 << 10, /* MEMORY: a block is written when it has so much, or is so old */
    STOA_SHARD_LAZY_NS = 1000000,
    STOA_WALL_MAX = 1 << 16,
    STOA_SHARD_NAME_MAX = 31, /* its end included: a stoa_text30 */
    STOA_CASCADE_MAX = 1 << 16, /* messages that the turns of one cascade send within the shard */
    STOA_ARENA_BYTES = 256 << 10, /* events of one turn, in memory */
    STOA_SHARD_NOTES_BYTES = 64 << 10, /* of a block, kept for the shard's own events */
};

typedef struct stoa_block_slot {
    uint8_t *bytes; /* STOA_SHARD_BLOCK_BYTES, mapped */
    stoa_index_entry *index;
    uint32_t used_bytes, count, index_count;
    uint64_t first, opened_ns;
} stoa_block_slot;

/* Events staged by the turn that runs: {row, payload} one after the other. */
typedef struct stoa_staged_event {
    const stoa_row *row;
    uint32_t bytes; /* of this entry, payload included, multiple of 8 */
    uint32_t pad_;
} stoa_staged_event;

/* Where the cascade under way began. */
typedef struct stoa_cascade_mark {
    uint64_t applied;
    uint32_t used_bytes, count, index_count; /* of the open block */
    uint32_t wall;                           /* messages that waited there before */
} stoa_cascade_mark;
typedef enum stoa_cascade_stage { STOA_CASCADE_NONE, STOA_CASCADE_FIRST, STOA_CASCADE_WITHIN } stoa_cascade_stage; /* its turn */

typedef struct stoa_msg_list {
    stoa_msg *head, *tail;
    uint32_t count;
} stoa_msg_list;
void stoa_msg_list_push(stoa_msg_list *list, stoa_msg *msg);
stoa_msg *stoa_msg_list_pop(stoa_msg_list *list);
/* Take msg out; before is the one before it, NULL for the first. */
void stoa_msg_list_take(stoa_msg_list *list, stoa_msg *before, stoa_msg *msg);

/* The other end of a channel. */
typedef struct stoa_channel_peer {
    const char *name;
    struct stoa_shard *here; /* NULL: a shard of another node (distant.c) */
} stoa_channel_peer;

struct stoa_shard {
    stoa_runnable run; /* first */
    stoa_core *core;
    stoa_node *node;
    char name[STOA_SHARD_NAME_MAX];
    stoa_durability durability;
    stoa_msg_list control, inbox, cascade, wall; /* control: the control lane of all its actors, before the inbox */
    stoa_msg_list rest;    /* before both of them: to its own actors, from resumes and undone cascades */
    uint32_t cascade_left; /* messages that the cascade under way may yet send within the shard */
    stoa_msg_list unstamped; /* carried without memory for a stamp: behind the wall, all up to unstamped_at */
    uint64_t unstamped_at;
    stoa_actor **actors; /* by stream; [0] is NULL */
    uint64_t *seqs;      /* last event of each stream */
    uint32_t actor_count;
    stoa_streams streams;    /* kinds and names of them, for any thread */
    stoa_shard_log *ledger;  /* state of stream 0 */
    struct stoa_effects *effects; /* outside effects (effects.h) */
    struct stoa_once *once;  /* requests with a name (once.h) */
    uint32_t request;        /* of the cascade under way; 0: it has no name */
    struct stoa_mailing *mailing; /* its channels (channel.h) */
    stoa_channel_peer peer;  /* what it is to other shards' */
    _Atomic bool open;       /* other shards may greet it */
    bool stalled; /* no block slot or no room behind the wall */

    uint64_t applied;   /* last position applied */
    uint64_t committed; /* released up to here: what acks and durability say */
    stoa_acks acks;
    bool down;          /* dropped, and not rebuilt: serves nobody */
    uint32_t drops;
    uint64_t epoch;
    bool leased;        /* the epoch is a lease's: no other life of this shard has the same */
    stoa_block_slot blocks[STOA_BLOCKS];
    uint64_t block_open, block_done; /* running numbers; open - done <= STOA_BLOCKS - 1 */
    uint64_t cause; /* first position of the cascade under way */
    stoa_cascade_mark mark;
    stoa_cascade_stage stage;
    stoa_err torn;     /* it is to be undone, and why */
    bool own;          /* nobody outside has begun it: the rest, a timer, an answer */
    uint64_t cascades; /* its number */
    uint32_t touched, touched_last; /* streams whose incarnations hold something of it (stoa_shard_touch), a list; 0: none */
    uint8_t *arena;
    uint32_t arena_used, arena_ids; /* bytes and ids staged */
    uint64_t arena_worst;           /* what they may take in the block */

    /* the journal's thread */
    stoa_journal *journal;
    pthread_t thread;
    bool threaded;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Atomic uint64_t block_submitted;   /* blocks below this number are the thread's; changed under lock */
    bool quit;
    bool park, parked;                  /* under lock: it is to touch nothing, and does not */
    pthread_cond_t settled;             /* with lock: parked has changed */
    _Atomic int32_t refused;            /* the error that the journal refused a block with; 0: none */
    uint64_t drop_again_ns;             /* it waits for space to be dropped: when to look again; 0: it does not */
    pthread_cond_t grown;               /* with lock: durable has moved */
    uint64_t reserve_bytes;             /* as in stoa_shard_options */
    _Atomic bool no_room;               /* the disk has less than that */
    bool watches_room;                  /* under lock: the journal is open, its room is looked at */
    _Atomic uint64_t durable_block;     /* blocks below this number are as durable as promised */
    _Atomic uint64_t durable;           /* and so is what the log has up to this position: for readers on other threads */
    uint64_t sim_due_ns;                /* simulator: when the submitted blocks are durable */

    uint64_t recovered, unproven, recovery_ns, blocks_written;
    uint64_t snapshot;           /* position of what recovery began with, 0: the log alone */
    struct stoa_follow *follow;  /* NULL: nobody makes snapshots of it */
    stoa_readers readers; /* of the committed log */
    pthread_mutex_t append_lock; /* from a block's commit time to its being in the journal */
};

/* Actors (on the core). */
stoa_err stoa_shard_spawn(struct stoa_shard *shard, const stoa_kind *kind, const char *name, stoa_actor **out);
/* The same as an event of the shard's log: the actor is there after every replay. Resumes it. */
stoa_err stoa_shard_create(struct stoa_shard *shard, const stoa_kind *kind, const char *name, stoa_actor **out);

/* An event of the shard's own: applied to the ledger, and journaled in the open block. The caller has seen to the room. */
void stoa_shard_note(struct stoa_shard *shard, uint32_t row_id, const void *payload, const stoa_turning *turning);
/* The same outside of a turn, where nothing else follows that would commit it. */
void stoa_shard_note_alone(struct stoa_shard *shard, uint32_t row_id, const void *payload);
/* The state of a stream; 0: the ledger. */
static inline void *stoa_shard_state(const struct stoa_shard *shard, uint32_t stream)
{
    return stream ? shard->actors[stream]->state : shard->ledger;
}

/* The event that says so, for an actor that is there. */
void stoa_shard_note_spawned(struct stoa_shard *shard, uint32_t stream);

/* The scheduler's. */
void stoa_shard_take(struct stoa_shard *shard, stoa_actor *actor, stoa_msg *msg); /* from outside: checks the limit */
bool stoa_shard_run(struct stoa_shard *shard);
/* The actor failed: answers to its asks and timers that wait in the inbox were for who it was. */
void stoa_shard_disown(struct stoa_shard *shard, stoa_actor *actor);
/* Look what the journal has done; release; returns whether anything happened. */
bool stoa_shard_poll(struct stoa_shard *shard);
/* Whether it had no room for another cascade, and has now: poll it. */
bool stoa_shard_may_go_on(const struct stoa_shard *shard);
/* When the shard wants to be polled though nothing came; UINT64_MAX: never. */
uint64_t stoa_shard_due_ns(const struct stoa_shard *shard);
bool stoa_shard_idle(const struct stoa_shard *shard);
/* A cascade begins. */
void stoa_shard_begin(struct stoa_shard *shard);
/* Behind its first turn: run what waits within the shard, and end it. OK, or why the cascade was undone. The shard may be down then. */
stoa_err stoa_shard_cascade(struct stoa_shard *shard);
/* Before a cascade that begins otherwise than in the shard's run: the rest goes first, as far as there is room. */
void stoa_shard_rest(struct stoa_shard *shard);
/* The actor holds something of the cascade under way that is no event and no message: a timer, an ask, a child. If it is undone, its
 * incarnation ends. */
static inline void stoa_shard_touch(stoa_actor *actor)
{
    struct stoa_shard *shard = actor->shard;
    stoa_actor_more *more = actor->more;
    if (shard->stage == STOA_CASCADE_NONE || more->touched_in == shard->cascades) { return; }
    more->touched_in = shard->cascades;
    more->touched_next = 0;
    *(shard->touched ? &shard->actors[shard->touched_last]->more->touched_next : &shard->touched) = actor->stream;
    shard->touched_last = actor->stream;
}
/* A message is lost in the middle of a cascade: it is undone when the turn is over. */
void stoa_shard_tear(struct stoa_shard *shard, stoa_err why);
/* What is refused tells of the shard, too: behind the wall. */
void stoa_shard_refuse(struct stoa_shard *shard, stoa_msg *msg, stoa_err why);
/* Whether the cascade under way may have one more message, which is then counted: TOO_LARGE. */
static inline stoa_err stoa_shard_cascade_room(struct stoa_shard *shard)
{
    if (!shard->cascade_left) { return STOA_E_TOO_LARGE; }
    shard->cascade_left--;
    return STOA_OK;
}
/* Whether the open block has room for a cascade; seals it where that helps, and stalls the shard where it does not. */
bool stoa_shard_room(struct stoa_shard *shard);

/* The turn's. */
void stoa_shard_clear_staged(struct stoa_shard *shard);
stoa_err stoa_shard_stage(struct stoa_shard *shard, const stoa_row *row, const void *payload);
/* The same for a payload of which only the first bytes are in use. */
stoa_err stoa_shard_stage_bytes(struct stoa_shard *shard, const stoa_row *row, const void *payload, uint32_t payload_bytes);
void stoa_shard_apply_staged(struct stoa_shard *shard, const stoa_turning *turning);
/* Put a message that leaves the shard behind the wall. */
void stoa_shard_wall(struct stoa_shard *shard, stoa_msg *msg);
/* Let go what depends on nothing that is not committed. */
void stoa_shard_release(struct stoa_shard *shard, stoa_msg *msg);
/* What has no stamp of its own, whatever is committed. */
bool stoa_shard_release_unstamped(struct stoa_shard *shard);
/* What waits for positions that are committed now. */
bool stoa_shard_release_committed(struct stoa_shard *shard);
/* Deliver a message, of whatever class, when what is applied now is committed: the signals of links. */
void stoa_shard_carry(struct stoa_shard *shard, stoa_msg *msg);
bool stoa_shard_carries(stoa_msg *msg);

/* The journal's (shard_commit.c). */
stoa_err stoa_shard_commit_start(struct stoa_shard *shard);
/* The journal is open: from now on see whether its disk has the reserve. */
void stoa_shard_watch_room(struct stoa_shard *shard);
void stoa_shard_commit_stop(struct stoa_shard *shard);
/* The node's commit times go on behind the log's last block. */
stoa_err stoa_shard_commit_after(struct stoa_shard *shard);
void stoa_shard_submit(struct stoa_shard *shard);
/* The first submitted block that is not in the log yet: a full disk may have taken a part. */
uint64_t stoa_shard_first_missing(const struct stoa_shard *shard);
/* Append blocks [from, to) now, and sync behind the last: the simulator. */
stoa_err stoa_shard_append(struct stoa_shard *shard, uint64_t from, uint64_t to, bool sync);
/* Blocks below this number are durable now: the core and the log's readers may know. */
void stoa_shard_grown(struct stoa_shard *shard, uint64_t until);

/* The journal's thread touches nothing until it is unparked. False: the node is ending. Blocks for as long as the disk takes. */
bool stoa_shard_commit_park(struct stoa_shard *shard);
void stoa_shard_commit_unpark(struct stoa_shard *shard);
/* Whether an error of append says that this shard may not write, and not that the disk cannot. */
bool stoa_journal_refuses(stoa_err err);

/* Dropping (shard_drop.c), on the core, between cascades. */
/* The journal refused a block: rebuild the shard. False: it did not, or its disk is full and drop_again_ns not yet. */
bool stoa_shard_drop_refused(struct stoa_shard *shard);

/* Replay (shard_recover.c). */
stoa_err stoa_shard_recover(struct stoa_shard *shard);
/* The state of one failed actor anew from the log and the blocks not yet in it (shard_undo.c). */
void stoa_shard_rebuild(struct stoa_shard *shard, stoa_actor *actor);
/* The cascade under way is torn: as if it had not begun. Returns why. */
stoa_err stoa_shard_undo(struct stoa_shard *shard);
uint64_t stoa_shard_hash(const struct stoa_shard *shard);
uint64_t stoa_state_hash(uint64_t seed, const void *state, size_t bytes);

#endif
