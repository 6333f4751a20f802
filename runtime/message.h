/* message.h - a message in memory, and the slabs that messages live in. Internal to runtime/.
 *
 * A message is one block of the slab of the place that sent it: a 40-byte header, a context where one is needed (asks,
 * everything that leaves a shard, timers), the payload. Ownership moves with the send. A block that is freed at another place
 * is chained and sent home through the ring between the two, so that slabs need no lock.
 *
 * Blocks are powers of two from 64 B to 512 KiB of one range, which is reserved once and stays with the slab (slab.c). 2 MiB more
 * than the quota are kept for answers and for what the runtime tells actors.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_MESSAGE_H
#define STOA_RUNTIME_MESSAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "runtime/actor.h"

typedef struct stoa_msg stoa_msg;
struct stoa_core;
typedef struct stoa_topic stoa_topic;

enum {
    STOA_MSG_CONTEXT = 1, /* a stoa_context follows the header */
    STOA_MSG_ANSWER = 2,  /* answers the ask context.ask of the receiver's place */
    STOA_MSG_TIMER = 4,   /* staged: goes into the wheel; context.position is when */
    STOA_MSG_CANCEL = 8,  /* staged: cancels timer context.ask */
    STOA_MSG_TOPIC = 16,  /* published on context.topic; to names a place only; with LENT: what another place gets of it */
    STOA_MSG_LENT = 32,   /* the payload is that of a published message (stoa_lent; fan.c) */
    STOA_MSG_ASKS = 64,   /* staged: a new ask of this turn, taken back when the turn is refused */
    STOA_MSG_FIRED = 128, /* a timer that was due: never refused for want of room, an actor armed it itself */
    STOA_MSG_URGENT = 256, /* travels on the control lane of the mailbox, ahead of the normal one */
    STOA_MSG_COUNTED = 512, /* staged: has its place in the mailbox of a plain actor of this core already */
    STOA_MSG_ACT = 1024,    /* no message to an actor but something to do at its place: the body begins with a stoa_act */
    STOA_MSG_TOLD = 2048,   /* refused, its sender hears stoa_system.refused with the token context.ask */
    STOA_MSG_DUE = 4096,    /* not handled after context.due_ns */
    STOA_MSG_ABROAD = 8192, /* counts as held by the place that it was sent to, until it is home again (place.c) */
    STOA_MSG_MARKED = 16384, /* a stoa_mark stands at the end of the block (trace.c) */
    STOA_MSG_ROOT = 32768,   /* chosen when its turn came: the turn begins a trace, or marks what it sends */
    /* What the runtime tells an actor because it asked for it: ahead of the rest, and never refused. */
    STOA_MSG_SYSTEM = STOA_MSG_URGENT | STOA_MSG_FIRED,
};

struct stoa_msg {
    stoa_msg *next;
    stoa_ref to, from;
    const stoa_row *row;
    uint32_t size_bytes; /* of the payload */
    union {
        struct {
            uint16_t flags;
            uint8_t home;       /* place whose slab the block is of */
            uint8_t size_class;
        };
        uint32_t what; /* all three: compared with stoa_slab.plain */
    };
};

typedef struct stoa_context {
    union {
        stoa_ref reply_to; /* who is to be answered, NONE: nobody */
        uint64_t lent;     /* of a published message: messages at its place that refer to it */
        uint64_t period_ns; /* of a timer, 0: it fires once */
    };
    union {
        uint64_t ask;             /* the asker's ask */
        _Atomic uint64_t holders; /* of a published message: places that refer to it */
    };
    union {
        uint64_t command; /* outside command this descends from */
        stoa_msg *newer;  /* of a running timer: the list of its actor's */
    };
    uint64_t position;    /* stamp of the wall; of a timer: when it is due */
    union {
        stoa_topic *topic; /* published on */
        uint64_t due_ns;   /* DUE: of a request */
        stoa_ref told_of;  /* TOLD: whom it was sent to, as its sender knows it */
        uint64_t gather;   /* of an answer: the gather it counts for */
        stoa_msg *older;   /* of a running timer */
    };
    union {
        int32_t error; /* of an answer */
        int32_t named; /* what stands behind the payload: of a request 1, its stoa_request_key (once.h), of an effect 2 (effects.h), 3 (stand.h) */
    };
    uint32_t durability;  /* of what left a shard; of a timer: the actor's incarnation that armed it */
} stoa_context;

/* What an act begins with. A staged one with to == NONE is run when the turn takes effect; others are delivered and run by the
 * core that they reach, within a turn or between two: what ends an actor must wait (core->signals). run owns the block. */
typedef struct stoa_act {
    void (*run)(struct stoa_core *core, stoa_msg *msg);
    void (*undo)(struct stoa_core *core, stoa_msg *msg); /* staged, and the turn was refused; NULL: just free it */
} stoa_act;

/* Payload of a lent message: whose payload it has. */
typedef struct stoa_lent {
    stoa_msg *held;
    union {
        stoa_msg *holder; /* who counts it at this place: held itself, or the message by which it came here */
        uint64_t lent;    /* of that one: how many it counts */
    };
} stoa_lent;

/* Of a traced or sampled message: whose work it is, and since when it is on its way. */
typedef struct stoa_mark {
    uint64_t trace;   /* 0: of none, it is timed only */
    uint64_t parent;  /* span of the turn that sent it */
    uint64_t sent_ns; /* of a timer: when it was due */
    uint32_t timers;  /* how many there were on the way from the root */
    uint32_t stands_for; /* messages, for who counts how long they are on their way */
} stoa_mark;

static inline stoa_context *stoa_msg_context(stoa_msg *msg)
{
    return (stoa_context *)(void *)(msg + 1);
}

static inline void *stoa_msg_body(stoa_msg *msg)
{
    unsigned char *at = (unsigned char *)(msg + 1);
    return (msg->flags & STOA_MSG_CONTEXT) ? at + sizeof(stoa_context) : at;
}

/* An answer is this error instead. */
static inline void stoa_msg_refuse(stoa_msg *answer, stoa_err why)
{
    answer->row = NULL;
    answer->size_bytes = 0;
    stoa_msg_context(answer)->error = (int32_t)why;
}

static inline const stoa_act *stoa_msg_act(stoa_msg *msg)
{
    return stoa_msg_body(msg);
}

static inline stoa_lent *stoa_msg_lent(stoa_msg *msg)
{
    return stoa_msg_body(msg);
}

/* What the handler sees: the payload, wherever it is. */
static inline const void *stoa_msg_payload(stoa_msg *msg)
{
    return stoa_msg_body((msg->flags & STOA_MSG_LENT) ? stoa_msg_lent(msg)->held : msg);
}

enum {
    STOA_SLAB_CLASSES = 14,
    STOA_SLAB_RESERVED = 16, /* a block of the reserve: this and its class */
    STOA_SLAB_RESERVE_BYTES = 2 << 20,
    STOA_BLOCK_SHIFT = 6, /* the smallest block: 64 bytes */
    STOA_BLOCK_MAX = 1 << (STOA_BLOCK_SHIFT + STOA_SLAB_CLASSES - 1),
};
_Static_assert(STOA_PAYLOAD_MAX + sizeof(stoa_msg) + sizeof(stoa_context) + sizeof(stoa_mark) + 64 <= STOA_BLOCK_MAX,
               "with a context, a mark and a name");

/* Offsets of what was never used, and blocks that wait to be one with their other halves (slab.c). */
typedef struct stoa_bank {
    size_t fresh, end;
    stoa_msg *pool[STOA_SLAB_CLASSES];
    uint32_t filled; /* classes of pool that are not empty, a bit each */
} stoa_bank;

typedef struct stoa_slab {
    stoa_msg *free[2 * STOA_SLAB_RESERVED]; /* given back lately, by class */
    unsigned char *base;                    /* the quota, and the reserve behind it */
    uint8_t *joined;                        /* which blocks are in the pools */
    stoa_bank bank[2];                      /* of the quota, of the reserve */
    uint64_t limit_bytes, used_bytes;
    uint32_t plain; /* stoa_msg.what of the smallest block at home, without flags */
    uint8_t home;
} stoa_slab;

stoa_err stoa_slab_init(stoa_slab *slab, uint8_t home, uint64_t limit_bytes);
void stoa_slab_deinit(stoa_slab *slab);
/* A block of that class where its list is empty. NULL: the quota is used up. */
stoa_msg *stoa_slab_find(stoa_slab *slab, uint32_t size_class);
/* Bytes that were ever used: they stay with the slab. */
uint64_t stoa_slab_mapped(const stoa_slab *slab);

static inline uint32_t stoa_slab_class(size_t bytes)
{
    if (__builtin_expect(bytes <= 1 << STOA_BLOCK_SHIFT, 1)) { return 0; }
    size_t blocks = (bytes - 1) >> STOA_BLOCK_SHIFT;
    return 64 - (uint32_t)__builtin_clzl(blocks);
}

static inline size_t stoa_msg_bytes(uint32_t payload_bytes, uint32_t flags)
{
    return sizeof(stoa_msg) + payload_bytes + ((flags & STOA_MSG_CONTEXT) ? sizeof(stoa_context) : 0);
}

static inline uint64_t stoa_block_bytes(uint32_t size_class)
{
    return (uint64_t)1 << (STOA_BLOCK_SHIFT + size_class % STOA_SLAB_RESERVED);
}

static inline uint32_t stoa_msg_what(uint32_t flags, uint32_t home, uint32_t size_class)
{
    return flags | home << 16 | size_class << 24;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as the parts of stoa_msg.what lie in memory");

static inline void stoa_slab_fill(stoa_slab *slab, stoa_msg *msg, uint32_t payload_bytes, uint32_t flags, uint32_t size_class)
{
    slab->used_bytes += stoa_block_bytes(size_class);
    msg->next = NULL;
    msg->size_bytes = payload_bytes;
    msg->what = stoa_msg_what(flags, slab->home, size_class);
    if (flags & STOA_MSG_CONTEXT) { *stoa_msg_context(msg) = (stoa_context){0}; }
}

/* A block for a message of payload_bytes, header filled but for to, from, row; NULL when the quota is used up. */
static inline stoa_msg *stoa_slab_new(stoa_slab *slab, uint32_t payload_bytes, uint32_t flags)
{
    uint32_t size_class = stoa_slab_class(stoa_msg_bytes(payload_bytes, flags));
    if (__builtin_expect(size_class >= STOA_SLAB_CLASSES, 0)) { return NULL; }

    stoa_msg *msg = slab->free[size_class];
    if (__builtin_expect(msg != NULL, 1)) {
        slab->free[size_class] = msg->next;
    } else {
        msg = stoa_slab_find(slab, size_class);
        if (!msg) { return NULL; }
    }
    stoa_slab_fill(slab, msg, payload_bytes, flags, size_class);
    return msg;
}

/* Why there was no block for such a payload. */
static inline stoa_err stoa_slab_why_not(uint32_t payload_bytes)
{
    return payload_bytes > STOA_PAYLOAD_MAX ? STOA_E_TOO_LARGE : STOA_E_FULL;
}

/* The same for a message of up to STOA_PLAIN_BYTES without flags, where a block is at hand: *msg, the first of its list. next and
 * the payload are not filled. */
enum { STOA_PLAIN_BYTES = 24 };
static inline void stoa_slab_take_plain(stoa_slab *slab, stoa_msg *msg, uint32_t payload_bytes)
{
    slab->free[0] = msg->next;
    slab->used_bytes += 1 << STOA_BLOCK_SHIFT;
    msg->size_bytes = payload_bytes;
    msg->what = slab->plain;
}

stoa_msg *stoa_slab_new_reserved(stoa_slab *slab, uint32_t payload_bytes, uint32_t flags);
/* The same for answers and what the runtime tells actors: from the reserve where the quota is used up. */
static inline stoa_msg *stoa_slab_new_surely(stoa_slab *slab, uint32_t payload_bytes, uint32_t flags)
{
    stoa_msg *msg = stoa_slab_new(slab, payload_bytes, flags);
    return __builtin_expect(msg != NULL, 1) ? msg : stoa_slab_new_reserved(slab, payload_bytes, flags);
}

/* Payloads are mostly a few words: cheaper in place than through a call. */
static inline void stoa_copy_payload(void *to, const void *from, uint32_t bytes)
{
    if (bytes == 8) {
        memcpy(to, from, 8);
    } else if (bytes == 16) {
        memcpy(to, from, 16);
    } else if (bytes == 24) {
        memcpy(to, from, 24);
    } else {
        memcpy(to, from, bytes);
    }
}

static inline void stoa_clear_payload(void *at, uint32_t bytes)
{
    if (bytes == 8) {
        memset(at, 0, 8);
    } else {
        memset(at, 0, bytes);
    }
}

/* Whether a quarter of the quota is free: what may begin, may also need messages to end. */
static inline bool stoa_slab_ample(const stoa_slab *slab)
{
    return slab->used_bytes < slab->limit_bytes / 4 * 3;
}
/* The same with so much more in use. */
static inline bool stoa_slab_ample_for(const stoa_slab *slab, size_t bytes)
{
    uint64_t most = slab->limit_bytes / 4 * 3;
    return slab->used_bytes < most && bytes <= most - slab->used_bytes;
}
/* Back to this slab (msg->home must be it); the second one for msg->what == slab->plain. */
static inline void stoa_slab_free(stoa_slab *slab, stoa_msg *msg)
{
    slab->used_bytes -= stoa_block_bytes(msg->size_class);
    msg->next = slab->free[msg->size_class];
    slab->free[msg->size_class] = msg;
}
static inline void stoa_slab_free_plain(stoa_slab *slab, stoa_msg *msg)
{
    slab->used_bytes -= 1 << STOA_BLOCK_SHIFT;
    msg->next = slab->free[0];
    slab->free[0] = msg;
}

#endif
