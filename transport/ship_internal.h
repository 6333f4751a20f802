/* ship_internal.h - what the files of a ship share: ship.c has its life and its words, ship_out.c the sender, ship_in.c the receiver.
 * Internal to transport/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SHIP_INTERNAL_H
#define STOA_TRANSPORT_SHIP_INTERNAL_H

#include "base/hash.h"
#include "transport/ship.h"

enum {
    STOA_SHIP_MAGIC = 0x31504853, /* "SHP1" */
    STOA_SHIP_ALIGN = 16,
    STOA_SHIP_FLUSHES = 4, /* under way */
    STOA_SHIP_PARTS = 8    /* of the ring, in which it is flushed at least, and announced */
};

/* A frame: this, little endian, and what is behind it. */
typedef struct stoa_ship_word {
    uint32_t magic;
    uint8_t kind, flags;
    uint16_t spare;
    uint64_t from, to; /* incarnations; to 0: unknown */
    uint64_t number;   /* HELLO: of the connection; START: of the hello it answers; TAKEN: grows */
    uint64_t position, released;
    uint32_t round;
    uint32_t check; /* CRC-32C of all, with 0 in its place, and of what is behind */
} stoa_ship_word;
_Static_assert(sizeof(stoa_ship_word) == 56, "a word has no holes");

enum {
    STOA_SHIP_HELLO, /* receiver: here I stand (position: taken), this is my ring; a stoa_ship_hello */
    STOA_SHIP_START, /* sender: and I begin at position */
    STOA_SHIP_DATA,  /* sender: bytes, for position */
    STOA_SHIP_HEAD,  /* sender: all below position is there */
    STOA_SHIP_TAKEN, /* receiver: position is taken, released is released; the note */
    STOA_SHIP_KINDS
};
enum { STOA_SHIP_AGAIN = 1 }; /* flag of TAKEN: what is behind position is not whole */

typedef struct stoa_ship_hello {
    uint64_t ring_bytes;
    uint32_t note_bytes, has_window;
    stoa_link_window window;
    uint8_t note[STOA_SHIP_NOTE_MAX];
} stoa_ship_hello;

typedef struct stoa_ship_header {
    uint32_t bytes, check;
    uint64_t position;
} stoa_ship_header;
#define STOA_SHIP_FILL UINT32_MAX

struct stoa_ship {
    stoa_ship_options options;
    stoa_link *link; /* NULL: no connection */
    stoa_peer peer;
    uint64_t theirs; /* incarnation of the other end; 0: unknown */
    bool begun;      /* over this connection */
    uint8_t *ring;   /* the sender's image of it */
    uint64_t mask;
    uint8_t *frame; /* one, to be built in */
    uint32_t seed;  /* checksums of the stream's records begin with it */
    uint64_t number; /* of the last HELLO or TAKEN, ours or theirs */
    uint64_t hello;  /* that of the connection's HELLO */
    uint32_t round;  /* grows when the sender goes back; the last one heard of */
    uint64_t head, taken, released;
    uint64_t again_ns, wait_ns; /* when, and after how long, it is said again */
    uint8_t note[STOA_SHIP_NOTE_MAX];
    uint32_t note_bytes;
    stoa_link_window window; /* of the ring; size 0: none */
    stoa_ship_counts counts;

    /* sender */
    uint64_t put, furthest;       /* position: put so far; the furthest that was */
    uint64_t asked, told, flushed; /* flushed for; announced; flushed */
    uint64_t fill_at, fill_end;   /* the last gap at the ring's end */
    bool start_due, head_due;
    uint64_t token, oldest; /* of flushes */
    struct {
        uint64_t position;
        uint32_t round;
    } flushes[STOA_SHIP_FLUSHES];

    /* receiver */
    uint64_t announced; /* there is all below it */
    bool taken_due, broken, waits; /* waits: the user does not take the next record now */
};

/* Send a word, and what is behind it. Errors: those of the link's send. */
stoa_err stoa_ship_say(stoa_ship *ship, stoa_ship_word *word, const void *bytes, uint32_t size_bytes);
/* Say something again, later each time. */
void stoa_ship_heard(stoa_ship *ship, uint64_t now_ns);
bool stoa_ship_again(stoa_ship *ship, uint64_t now_ns);
/* The stream of these two ends begins. */
void stoa_ship_begin(stoa_ship *ship, uint64_t theirs);
uint32_t stoa_ship_check(const stoa_ship *ship, const stoa_ship_header *header, const void *bytes);

static inline uint64_t stoa_ship_span(uint64_t size_bytes)
{
    return sizeof(stoa_ship_header) + ((size_bytes + STOA_SHIP_ALIGN - 1) & ~(uint64_t)(STOA_SHIP_ALIGN - 1));
}

/* --- sender */
stoa_err stoa_ship_take_hello(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes);
stoa_err stoa_ship_take_taken(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes);
void stoa_ship_out_step(stoa_ship *ship, uint64_t now_ns);
/* --- receiver */
stoa_err stoa_ship_take_start(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes);
stoa_err stoa_ship_take_data(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes);
stoa_err stoa_ship_take_head(stoa_ship *ship, const stoa_ship_word *word, const uint8_t *bytes, uint32_t size_bytes);
void stoa_ship_in_step(stoa_ship *ship, uint64_t now_ns);

#endif
