/* channel.h - durable channels between shards: what is mailed arrives once in effect, in order. Internal to runtime/.
 *
 * A turn of an event-sourced actor mails a message to an actor of another shard (stoa_turn_mail). It is an event of the shard's
 * own, in the block of the cascade, and waits in the channel's ring (channel_book.h). When that block is committed it is sent;
 * the receiver runs it as a cascade of its own, and its cursor moves in the same block as the effect. When that is committed the
 * receiver answers with the cursor, and the sender forgets what is below it.
 *
 * Frames. Two shards talk in frames, one block of a slab each; those of different nodes are carried between them (distant.h):
 *
 *     sender    HELLO   {session, epoch, generation, acked}          when both are there, and after every disorder
 *     receiver  ANSWER  {cursor: generation, seq, chain; refusals}   to a hello, and when its block has committed
 *     sender    MAIL    {session, epoch, acked; messages}            from the cursor on
 *
 * Frames of another session are dropped; a gap ends the session, and a hello begins the next. A cursor that the sender does not
 * know - above what it mailed, below what was acknowledged before, or of another chain - is a fork: somebody lost what the other
 * one has committed. The channel stops, new mail for it is refused with FORKED, and an operator decides (stoa_channel_restart).
 *
 * Absent. A receiver that never answered has taken nothing, as no mail goes out before the log says that it did (contact). What waits
 * for a shard of another node that never did, or that its node does not have, an operator may have back, too.
 *
 * Room. A cascade mails STOA_CASCADE_MAILS messages of STOA_CASCADE_MAIL_BYTES in all at most (TOO_LARGE beyond), and begins only
 * while each channel has room for that: what is half done never finds a full ring. The first turn of a cascade is refused with
 * FULL before, while there is still room for two such cascades, since nothing has happened then; so one slow receiver stalls
 * only who mails to it. What has come for a shard without room waits STOA_MAIL_PATIENCE_NS, then is refused with FULL, so that a
 * ring of full shards gets on.
 *
 * Who returns: a refused message - an error of its turn, no such actor, no such row - is journaled as refused, and its sender
 * hears stoa_system.undelivered once, in the block that journals that it has. A turn that fails hearing so is tried again when its
 * actor is back, and what waits in the channel behind it waits, too; one whose cascade is undone, up to STOA_RETURN_TRIES times.
 *
 * All of it runs on the shard's core, in its run and its poll, and needs no lock but to look up a name for the first time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_CHANNEL_H
#define STOA_RUNTIME_CHANNEL_H

#include "runtime/shard.h"

enum {
    STOA_CASCADE_MAILS = 64,
    STOA_CASCADE_MAIL_BYTES = 32 << 10,
    STOA_RETURN_TRIES = 8,
    STOA_DISORDERS_MAX = 16, /* sessions that end in a gap, without any message taken: then it is a fork */
    STOA_ADDRESS_MAX = 31 + 1 + STOA_NAME_MAX, /* "shard:kind/key" */
};
#define STOA_MAIL_PATIENCE_NS STOA_S(1)

typedef enum stoa_phase_of_channel {
    STOA_CHANNEL_APART,  /* the receiver is not here, or is still to be greeted */
    STOA_CHANNEL_ASKED,  /* for its cursor */
    STOA_CHANNEL_RUNS,
    STOA_CHANNEL_FORKED,
} stoa_phase_of_channel;

typedef struct stoa_out_live {
    const stoa_channel_peer *peer;
    const char *forked; /* why */
    stoa_cursor known, theirs; /* acknowledged, perhaps not yet journaled; what the other side said last */
    uint64_t known_at, sent_at; /* bytes of the ring: behind known, and behind what was sent */
    uint64_t sent_seq;
    uint64_t begun_at;          /* position where it was begun anew: nobody may hear of it before that is committed */
    uint64_t met_at;            /* position where its receiver answered first: no mail goes out before that is committed */
    uint64_t acked, sealed_acked[STOA_BLOCKS]; /* durably acknowledged */
    uint64_t recovered;         /* the last one mailed that recovery found */
    uint32_t their_generation, pad_;
    uint32_t session, there;    /* there: its number at the receiver */
    uint32_t disorders;         /* since the last one that was acknowledged */
    stoa_phase_of_channel phase;
    bool short_of_room;
    bool absence_told;          /* in the log */
    bool is_new;                /* its first message is in the open block, which says that there was no contact */
    uint32_t news;              /* of distant shards, when it was looked for */
} stoa_out_live;

typedef struct stoa_in_live {
    const stoa_channel_peer *peer;
    stoa_cursor committed, sealed[STOA_BLOCKS];
    uint32_t committed_generation, sealed_generation[STOA_BLOCKS];
    uint64_t answered; /* seq */
    uint32_t session, there;
    bool asked;
    stoa_err disorder; /* to be told with the next answer */
} stoa_in_live;

/* Who is where: names that were looked up. Actors of shards never end, so an entry stays true. */
typedef struct stoa_known_name {
    char text[STOA_ADDRESS_MAX + 1];
    uint32_t channel; /* or, of an actor here, its stream */
} stoa_known_name;
enum { STOA_KNOWN_NAMES = 512 };

struct stoa_mailing {
    stoa_out_live out[STOA_CHANNELS_MAX + 1];
    stoa_in_live in[STOA_CHANNELS_MAX + 1];
    stoa_msg_list answers, mail; /* frames that have come */
    uint32_t answers_done, mail_done; /* what was done of the first of each: entries, bytes */
    uint32_t tries;                   /* of the first answer's next return */
    uint32_t staged, staged_bytes, used, used_bytes; /* mailed by the turn that runs, and by the cascade before it */
    bool first, closed;   /* the turn is its cascade's first; nothing may be mailed */
    bool blocked;         /* the first frame waits for more than a block */
    bool scarce;          /* a channel has not room for a cascade */
    uint64_t scarce_ns;   /* since */
    uint64_t again_ns;    /* something could not be sent: when to try again; 0: nothing */
    /* the message under way, until it takes effect; NULL: none */
    const stoa_mail *taking;
    uint32_t taking_channel;
    uint64_t taking_epoch;
    char address[STOA_ADDRESS_MAX + 1]; /* of who mailed it */
    const stoa_shard_log_returned *returning; /* the same for a return */
    const stoa_mail *returned;
    uint32_t in_count; /* highest number in use */
    stoa_known_name far[STOA_KNOWN_NAMES], near[STOA_KNOWN_NAMES];
};

/* Life: behind recovery; when the shard is open and others may find it; when another one has opened. On the core. */
void stoa_channels_recovered(struct stoa_shard *shard);
void stoa_channels_connect(struct stoa_shard *shard);

/* The shard was dropped, and is as its log has it: what had come is gone, and every channel begins with a hello again. */
void stoa_channels_dropped(struct stoa_shard *shard);

/* A cascade begins; closed: it may not mail. */
void stoa_channels_begin(struct stoa_shard *shard, bool closed);
/* A turn of the shard takes effect: before its events; after them. */
void stoa_channels_before_effect(struct stoa_shard *shard, const stoa_turning *turning);
void stoa_channels_after_effect(struct stoa_shard *shard);
/* One staged event of a mailed row. */
void stoa_channels_mail(struct stoa_shard *shard, stoa_shard_log_mailed *event, const stoa_turning *turning);
/* Whether no channel is short of room for a cascade. */
static inline bool stoa_channels_room(const struct stoa_shard *shard)
{
    return !shard->mailing->scarce;
}

/* Frames to that shard may have been lost: greet it, and have it greet. On the core. */
void stoa_channels_again(struct stoa_shard *shard, const stoa_channel_peer *peer);

/* Handle what has come: answers, before new cascades; mail, at most so much. Returns whether there is more that can be handled. */
void stoa_channels_hear(struct stoa_shard *shard);
bool stoa_channels_take(struct stoa_shard *shard, uint32_t budget);
/* Send what is committed, and answer. */
void stoa_channels_pump(struct stoa_shard *shard);
/* The open block is about to be sealed into that slot; blocks up to that slot are durable. */
void stoa_channels_sealing(struct stoa_shard *shard, uint32_t slot);
void stoa_channels_durable(struct stoa_shard *shard, uint32_t slot);

/* --- between channel.c, channel_send.c and channel_take.c */
typedef enum stoa_frame_class { STOA_FRAME_HELLO, STOA_FRAME_ANSWER, STOA_FRAME_MAIL } stoa_frame_class;

typedef struct stoa_refusal {
    uint64_t seq;
    int64_t error;
} stoa_refusal;

typedef struct stoa_frame {
    stoa_act act;
    const stoa_channel_peer *to, *from;
    stoa_frame_class cls;
    uint32_t session;
    uint32_t channel, there; /* its number at who sent the frame, and at who gets it (HELLO: 0) */
    uint32_t generation;
    int32_t error;           /* ANSWER: a gap, a stale epoch, or AGAIN: an answer was lost on the way; a cursor with STALE alone */
    uint64_t epoch;          /* of the sender's writer */
    stoa_cursor cursor;      /* ANSWER */
    uint64_t base;           /* HELLO: the last number before the generation; ANSWER: refusals are told from behind there */
    uint64_t acked;          /* HELLO, MAIL: durable at the sender; ANSWER: settled at the receiver */
    uint64_t upto;           /* ANSWER: refusals are told up to here */
    uint32_t bytes, pad_;    /* behind this: messages, or refusals */
} stoa_frame;

enum { STOA_FRAME_BLOCK_BYTES = 16 << 10, STOA_FRAME_BODY_BYTES = STOA_FRAME_BLOCK_BYTES - sizeof(stoa_msg) - sizeof(stoa_frame) };

/* A frame to peer with so many bytes behind it; NULL: no room now, again_ns is set. */
stoa_frame *stoa_frame_new(struct stoa_shard *shard, const stoa_channel_peer *peer, stoa_frame_class cls, uint32_t bytes);
/* A frame has reached its shard's core. */
void stoa_frame_arrive(stoa_core *core, stoa_msg *msg);
void stoa_frame_send(struct stoa_shard *shard, stoa_frame *frame);
static inline void *stoa_frame_body(stoa_frame *frame)
{
    return frame + 1;
}
/* The channel stops. why: a static text. */
void stoa_channel_fork(struct stoa_shard *shard, uint32_t channel, const char *why);
/* After rings have changed. */
void stoa_channels_measure(struct stoa_shard *shard);
/* Run a turn and what follows from it, behind stoa_channels_begin. OK, or why it was refused or undone. The shard may be down then. */
stoa_err stoa_channels_turn(struct stoa_shard *shard, stoa_actor *actor, stoa_msg *msg, bool *undone_out);
/* Tell the sender of a refused message, as a cascade. AGAIN: not now. */
stoa_err stoa_channel_return(struct stoa_shard *shard, uint32_t channel, const stoa_mail *mail, stoa_err error);
/* Whether the message is of that row. */
bool stoa_mail_is(const stoa_mail *mail, const stoa_row *row);
void stoa_channel_note_acknowledged(struct stoa_shard *shard, uint32_t channel);
void stoa_channel_note_contact(struct stoa_shard *shard, uint32_t channel, stoa_contact contact);

#endif
