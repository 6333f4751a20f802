/* envelope.h - what two sessions say to each other: batches of frames, hellos, refusals, pulses. See session.h.
 *
 * Everything is little-endian. What goes over a link in one piece is an envelope of 32 bytes and, by its flags, one of
 *
 *     DATA     the number of the first frame, 8 bytes, and count frames of one lane, whose numbers follow one another;
 *              none of either: it only acknowledges, and with RESEND says what is missing
 *     HELLO    who I am, whom I know, from which number on I expect each lane        not part of any lane, no session yet
 *     REFUSE   why not (or, with CLOSED, good-bye)
 *     PULSE    I am here, I have heard your pulse so and so, and all lanes' acknowledgements and credit
 *
 * DATA and PULSE bear the tag of their session, a mix of both sides' names and incarnations and the direction, and their checksum
 * begins with more of it: what belongs to another session, or to the other direction, is not taken for this one's.
 *
 * A frame is a head of 8 bytes; with STOA_FRAME_ADDRESSED source and target, 16, or else they are those of the frame before; with
 * STOA_FRAME_TIMED how many nanoseconds it had left when it was sent, 8; then the message, filled up to 8.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_ENVELOPE_H
#define STOA_TRANSPORT_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "transport/bytes.h"

/* Which messages go first; each lane has an order, room and credit of its own. */
typedef enum stoa_lane { STOA_LANE_CONTROL, STOA_LANE_NORMAL, STOA_LANE_BULK, STOA_LANE_COUNT } stoa_lane;

enum {
    STOA_ENVELOPE_MAGIC = 0x7453, /* "St" */
    STOA_SESSION_VERSION = 2,
    STOA_ENVELOPE_BYTES = 32,
    STOA_BATCH_HEAD_BYTES = STOA_ENVELOPE_BYTES + 8, /* with the first number */
    STOA_FRAME_HEAD_BYTES = 8,
    STOA_FRAME_ADDRESS_BYTES = 16,
    STOA_FRAME_TIME_BYTES = 8,
    STOA_BATCH_FRAMES_MAX = UINT16_MAX,
    STOA_NODE_NAME_BYTES = 64, /* with NUL */
};

typedef enum stoa_envelope_what {
    STOA_ENVELOPE_DATA,
    STOA_ENVELOPE_HELLO,
    STOA_ENVELOPE_REFUSE,
    STOA_ENVELOPE_PULSE,
    STOA_ENVELOPE_WHATS
} stoa_envelope_what;

/* flags: the lane in bits 0 and 1, what it is in bits 2 to 4. */
enum {
    STOA_ENVELOPE_RESEND = 0x20, /* something is missing behind what is acked */
    STOA_ENVELOPE_BARE = 0x40,   /* the frames have no checksum: both sides trust the link with them */
    STOA_ENVELOPE_ASKS = 0x80,   /* for an acknowledgement at once: what is in flight must arrive before more is sent */
    STOA_ENVELOPE_FLAGS = 0xff,
};

typedef struct stoa_envelope {
    uint16_t magic;
    uint8_t version, flags;
    uint16_t count, tag;
    uint32_t epoch;  /* the sender's, its low half */
    uint32_t crc;    /* CRC-32C of all, this field as 0; with STOA_ENVELOPE_BARE of the envelope alone */
    uint64_t acked;  /* of the lane: the last number that arrived here */
    uint64_t credit; /* of the lane: bytes of frames that may ever be sent here */
} stoa_envelope;
_Static_assert(sizeof(stoa_envelope) == STOA_ENVELOPE_BYTES, "wire format");

static inline stoa_lane stoa_envelope_lane(const stoa_envelope *e)
{
    return (stoa_lane)(e->flags & 3);
}
static inline stoa_envelope_what stoa_envelope_is(const stoa_envelope *e)
{
    return (stoa_envelope_what)(e->flags >> 2 & 7);
}
static inline uint8_t stoa_envelope_flags(stoa_envelope_what what, stoa_lane lane)
{
    return (uint8_t)((unsigned)what << 2 | (unsigned)lane);
}

/* Who says it to whom, out of both names and incarnations; 0 for HELLO and REFUSE. */
typedef uint64_t stoa_session_id;
stoa_session_id stoa_session_id_of(const char *from, uint64_t from_incarnation, const char *to,
                                   uint64_t to_incarnation);

/* Fill in what makes size_bytes at envelope, which are all but that in place, a piece of the session's. */
void stoa_envelope_seal(stoa_envelope *envelope, uint32_t size_bytes, stoa_session_id id);

/* What bytes are before their session is known: only the form is looked at.
 * Errors: MALFORMED (no envelope), VERSION (of another wire format). */
stoa_err stoa_envelope_read(const void *bytes, uint32_t size_bytes, stoa_envelope *out);
/* Whether they are a whole piece of this session's. Errors: STALE (of another session), CORRUPT. */
stoa_err stoa_envelope_check(const void *bytes, uint32_t size_bytes, stoa_session_id id);

/* --- frames */

typedef enum stoa_frame_type {
    STOA_FRAME_NONE,
    STOA_FRAME_MESSAGE, /* the session's user's */
    STOA_FRAME_EXPIRED, /* took this number, and its time was over before it was sent */
    STOA_FRAME_OFFER,   /* of a transfer, and so are the next three */
    STOA_FRAME_ACCEPT,
    STOA_FRAME_CHUNK,
    STOA_FRAME_DONE,
    STOA_FRAME_TYPES
} stoa_frame_type;

enum { STOA_FRAME_TIMED = 1, STOA_FRAME_ADDRESSED = 2, STOA_FRAME_FLAGS = 3 };

typedef struct stoa_frame_head {
    uint32_t size_bytes; /* with the head, without what fills it up */
    uint8_t type, flags;
    uint8_t user; /* the session's user's */
    uint8_t zero;
} stoa_frame_head;
_Static_assert(sizeof(stoa_frame_head) == STOA_FRAME_HEAD_BYTES, "wire format");

static inline uint32_t stoa_frame_room(uint32_t size_bytes)
{
    return (size_bytes + 7U) & ~7U;
}

/* What is before a frame's time and message. */
static inline uint32_t stoa_frame_head_bytes(uint8_t flags)
{
    return STOA_FRAME_HEAD_BYTES + (flags & STOA_FRAME_ADDRESSED ? STOA_FRAME_ADDRESS_BYTES : 0);
}

/* A frame where it lies, with what the ones before it said. stoa_frame_next goes to the next of a batch that stoa_frames_check
 * found good, from stoa_frame_before the first one on. */
typedef struct stoa_frame {
    stoa_frame_head head;
    uint64_t seq, source, target;
    uint8_t *at, *end;
} stoa_frame;

static inline stoa_frame stoa_frame_before(const void *frames, uint64_t first)
{
    return (stoa_frame){.seq = first - 1, .end = (uint8_t *)(uintptr_t)frames};
}

static inline void stoa_frame_next(stoa_frame *f)
{
    f->at = f->end;
    f->seq++;
    memcpy(&f->head, f->at, sizeof f->head);
    if (f->head.flags & STOA_FRAME_ADDRESSED) {
        f->source = stoa_get_u64(f->at + STOA_FRAME_HEAD_BYTES);
        f->target = stoa_get_u64(f->at + STOA_FRAME_HEAD_BYTES + 8);
    }
    f->end += stoa_frame_room(f->head.size_bytes);
}

/* Whether what follows a batch's head is count well-formed frames, numbered from first on, and nothing else. Errors: MALFORMED. */
stoa_err stoa_frames_check(const void *bytes, uint32_t size_bytes, uint32_t count, uint64_t first);

/* Behind a DATA with RESEND and no frames, as many of kept as there are: what lies between them and acked is missing. Without it
 * all behind acked is. */
enum { STOA_EARLY_BATCHES = 32 }; /* that came before one that is missing, and are kept; per lane */
typedef struct stoa_missing {
    uint64_t came; /* first number of the batch that came last */
    uint64_t kept[STOA_EARLY_BATCHES];
} stoa_missing;
_Static_assert(sizeof(stoa_missing) == 8 + 8 * STOA_EARLY_BATCHES, "wire format");

/* --- hellos, refusals, pulses */

enum {
    STOA_HELLO_WANTS = 1,  /* flags: an answer, because I have none of yours yet that knows me */
    STOA_HELLO_TRUSTS = 2, /* the link with bytes: batches need no checksum */
};

typedef struct stoa_lane_mark {
    uint64_t acked, credit;
} stoa_lane_mark;

typedef struct stoa_hello {
    uint16_t version_min, version_max;
    uint32_t flags;
    uint64_t number;           /* counts an incarnation's hellos */
    uint64_t heard;            /* number of the other side's last that was accepted since this side greets; 0: none */
    uint64_t incarnation;      /* grows with each start of the node; not 0 */
    uint64_t peer_incarnation; /* of the other side, as far as known; 0: not */
    uint64_t epoch;
    stoa_lane_mark lanes[STOA_LANE_COUNT];
    char name[STOA_NODE_NAME_BYTES];
} stoa_hello;
_Static_assert(sizeof(stoa_hello) == 160, "wire format");

typedef struct stoa_refusal {
    int32_t why; /* a stoa_err */
    uint16_t version_min, version_max;
    uint64_t number; /* of the hello that is refused */
} stoa_refusal;
_Static_assert(sizeof(stoa_refusal) == 16, "wire format");

typedef struct stoa_pulse {
    uint64_t number;
    uint64_t heard;   /* the other side's last that came; 0: none */
    uint64_t held_ns; /* so long ago */
    stoa_lane_mark lanes[STOA_LANE_COUNT];
} stoa_pulse;
_Static_assert(sizeof(stoa_pulse) == 72, "wire format");

/* The body of a piece that stoa_envelope_read found good. Errors: MALFORMED. */
stoa_err stoa_hello_read(const void *bytes, uint32_t size_bytes, stoa_hello *out);
stoa_err stoa_refusal_read(const void *bytes, uint32_t size_bytes, stoa_refusal *out);
stoa_err stoa_pulse_read(const void *bytes, uint32_t size_bytes, stoa_pulse *out);

/* Whether text is the name of a node: 1 to 63 of [a-z0-9_.-]. */
bool stoa_node_name_is_good(const char *text, size_t size_bytes);
/* Whether a node that says this is its name may, on a connection of this identity: "" proves nothing, "uid:1000" a user,
 * who may speak for any of its nodes, and any other one is the name of the node. */
bool stoa_node_name_is_proven(const char *name, const char *identity);

#endif
