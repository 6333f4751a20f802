/* channel_book.h - what a shard remembers of its durable channels: the part of its ledger. Internal to runtime/.
 *
 * A channel goes from one shard to another, one way. The sender keeps what it mailed in a ring of bytes until it knows that the
 * receiver has committed it; the receiver keeps the cursor (generation, seq) of the last message that took effect or was refused,
 * and which ones were refused until the sender has journaled that it heard so. Both are folds of events of stream 0:
 *
 *     sender                                              receiver
 *     mailed        into the ring, seq posted + 1         delivered   the cursor moves, in the block of the effect
 *     acknowledged  trims the ring (lazily, batched)      refused     the cursor moves, nothing else happened
 *     returned      trims to a refused message, in the    settled     refusals up to seq are forgotten
 *                   block of the turn that hears of it
 *     restarted     a new generation, by an operator      restarted_in  the same, at the receiver
 *     contact       whether the receiver has ever answered in this generation
 *
 * No mail goes out before a contact that was made is committed: where the log says that there was none, nothing was ever sent.
 *
 * Every message carries a running hash of all before it (chain). A cursor whose chain is not that of the sender's message of the
 * same number is of another history: the channel is forked.
 *
 * Pure functions over plain memory, no pointers; zeroed memory is no channels. Channels are numbered from 1, each side by itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_CHANNEL_BOOK_H
#define STOA_RUNTIME_CHANNEL_BOOK_H

#include <stdbool.h>

#include "base/table.h"

enum {
    STOA_CHANNELS_MAX = 32,          /* of a shard, each way */
    STOA_CHANNEL_BYTES = 256 << 10,  /* ring of a channel */
    STOA_CHANNEL_MESSAGES = 4096,    /* that wait in it at most */
    STOA_MAIL_BYTES = 4096,          /* payload of a message, packed */
};

STOA_BYTES(stoa_mail_bytes, STOA_MAIL_BYTES)

/* position: of this event, and so the message's stamp; stream: whose turn mailed it; table, row: what the payload is;
 * payload last: a staged event ends with its last byte. */
#define stoa_shard_log_mailed_FIELDS(F, S)                                                                             \
    F(S, uint64_t, seq)                                                                                                \
    F(S, uint64_t, position)                                                                                           \
    F(S, uint64_t, token)                                                                                              \
    F(S, uint64_t, command)                                                                                            \
    F(S, uint32_t, channel) F(S, uint32_t, stream) F(S, uint32_t, row) F(S, uint32_t, reserved32)                      \
    F(S, stoa_text30, shard) F(S, stoa_text30, table) F(S, stoa_text62, to) F(S, stoa_text62, from)                    \
    F(S, stoa_mail_bytes, payload)
#define stoa_shard_log_acknowledged_FIELDS(F, S) F(S, uint64_t, seq) F(S, uint32_t, channel) F(S, uint32_t, reserved32)
#define stoa_shard_log_returned_FIELDS(F, S)                                                                           \
    F(S, uint64_t, seq) F(S, uint32_t, channel) F(S, int32_t, error)                                                   \
    F(S, uint32_t, stream) F(S, uint32_t, reserved32)
#define stoa_shard_log_restarted_FIELDS(F, S)                                                                          \
    F(S, uint64_t, base) F(S, uint32_t, channel) F(S, uint32_t, generation)
/* position: of the sender's mailed event; epoch: of the writer that sent it. */
#define stoa_shard_log_delivered_FIELDS(F, S)                                                                          \
    F(S, uint64_t, seq)                                                                                                \
    F(S, uint64_t, position)                                                                                           \
    F(S, uint64_t, chain)                                                                                              \
    F(S, uint64_t, epoch)                                                                                              \
    F(S, uint32_t, channel) F(S, uint32_t, generation) F(S, stoa_text30, shard)
#define stoa_shard_log_refused_FIELDS(F, S)                                                                            \
    F(S, uint64_t, seq)                                                                                                \
    F(S, uint64_t, position)                                                                                           \
    F(S, uint64_t, chain)                                                                                              \
    F(S, uint64_t, epoch)                                                                                              \
    F(S, uint32_t, channel) F(S, uint32_t, generation) F(S, stoa_text30, shard)                                        \
    F(S, int32_t, error) F(S, uint32_t, reserved32)
#define stoa_shard_log_settled_FIELDS(F, S) F(S, uint64_t, seq) F(S, uint32_t, channel) F(S, uint32_t, reserved32)
#define stoa_shard_log_restarted_in_FIELDS(F, S)                                                                       \
    F(S, uint64_t, base) F(S, uint64_t, epoch) F(S, uint32_t, channel) F(S, uint32_t, generation) F(S, stoa_text30, shard)

#define stoa_shard_log_contact_FIELDS(F, S) F(S, uint32_t, channel) F(S, uint32_t, contact)

/* Rows of the table stoa_shard_log (ledger.h). */
#define STOA_CHANNEL_ROWS(ROW, K)                                                                                      \
    ROW(K, EVENT, mailed, _, "A turn mailed a message to an actor of another shard.")                                  \
    ROW(K, EVENT, acknowledged, _, "The receiver has committed a channel's messages up to seq.")                       \
    ROW(K, EVENT, returned, _, "The receiver refused a message; its sender hears of it.")                              \
    ROW(K, EVENT, restarted, _, "An operator began a channel anew behind a fork.")                                     \
    ROW(K, EVENT, delivered, _, "A message of another shard takes effect.")                                            \
    ROW(K, EVENT, refused, _, "A message of another shard was refused and has no effect.")                             \
    ROW(K, EVENT, settled, _, "The sender has heard of a channel's refusals up to seq.")                               \
    ROW(K, EVENT, restarted_in, _, "The sender began a channel anew behind a fork.")
#define STOA_CONTACT_ROWS(ROW, K) ROW(K, EVENT, contact, _, "Whether a channel's receiver has answered since it began.")

/* A message in the ring, and on its way: this head, then the texts table, to, from, then the payload. */
typedef struct stoa_mail {
    uint32_t bytes; /* with everything, a multiple of 8 */
    uint32_t row;   /* 0: filler, up to the ring's end */
    uint64_t seq, chain, position, token, command;
    uint32_t stream;
    uint16_t payload_bytes;
    uint8_t table_bytes, to_bytes;
    uint8_t from_bytes, pad_[7];
} stoa_mail;
_Static_assert(sizeof(stoa_mail) == 64, "the head of a message");
enum { STOA_MAIL_MAX = sizeof(stoa_mail) + 30 + 62 + 62 + STOA_MAIL_BYTES + 6 };

static inline const char *stoa_mail_table(const stoa_mail *mail)
{
    return (const char *)(mail + 1);
}
static inline const char *stoa_mail_to(const stoa_mail *mail)
{
    return stoa_mail_table(mail) + mail->table_bytes;
}
static inline const char *stoa_mail_from(const stoa_mail *mail)
{
    return stoa_mail_to(mail) + mail->to_bytes;
}
static inline const void *stoa_mail_payload(const stoa_mail *mail)
{
    return stoa_mail_from(mail) + mail->from_bytes;
}

/* Of a generation of a channel, with its receiver. Journal format: append only. */
typedef enum stoa_contact {
    STOA_CONTACT_UNSAID, /* by a build that did not say: it may have been made */
    STOA_CONTACT_NONE,   /* nothing was ever sent */
    STOA_CONTACT_MADE,   /* it has answered, and mail may have been sent */
} stoa_contact;

/* What this side of a channel knows of the last message it counts. */
typedef struct stoa_cursor {
    uint64_t seq, chain;
} stoa_cursor;

typedef struct stoa_channel_out {
    stoa_text30 shard;  /* where it goes; empty: not in use */
    stoa_cursor posted; /* the last one mailed */
    stoa_cursor acked;  /* the last one that is known to be committed there */
    uint64_t head, tail; /* bytes ever put in and taken out */
    uint64_t returned;   /* messages that were refused, ever */
    uint64_t base;       /* the last number before this generation */
    uint32_t generation, contact;
    uint8_t ring[STOA_CHANNEL_BYTES];
} stoa_channel_out;

typedef struct stoa_channel_in {
    stoa_text30 shard; /* where it comes from; empty: not in use */
    stoa_cursor cursor;
    uint64_t epoch;    /* of the writer behind the cursor */
    uint64_t settled;  /* refusals up to here are forgotten, and so is what is STOA_CHANNEL_MESSAGES below the cursor */
    uint64_t refused;  /* messages, ever */
    uint32_t generation, open; /* open: refusals that are kept */
    int16_t refusals[STOA_CHANNEL_MESSAGES]; /* of the last ones up to the cursor, by seq; 0: not refused, or not kept */
} stoa_channel_in;

typedef struct stoa_channel_book {
    uint32_t out_count, in_count; /* highest numbers in use */
    stoa_channel_out out[STOA_CHANNELS_MAX + 1];
    stoa_channel_in in[STOA_CHANNELS_MAX + 1];
} stoa_channel_book;

/* Numbers of messages end so far below that of the type that counting on never wraps. */
#define STOA_SEQ_MAX (UINT64_C(1) << 62)

/* The bytes that a message would take, and what is free in the ring, seen so that a filler always fits. */
uint32_t stoa_mail_size(size_t table_bytes, size_t to_bytes, size_t from_bytes, size_t payload_bytes);
static inline uint64_t stoa_channel_free(const stoa_channel_out *out)
{
    uint64_t used = out->head - out->tail + STOA_MAIL_MAX;
    return used < STOA_CHANNEL_BYTES ? STOA_CHANNEL_BYTES - used : 0;
}
/* Whether a message of so many bytes fits, with the filler that it may need. */
bool stoa_channel_fits(const stoa_channel_out *out, uint32_t bytes);
static inline uint64_t stoa_channel_waits(const stoa_channel_out *out)
{
    return out->posted.seq - out->acked.seq;
}
/* The message at byte *at of the ring, stepping over a filler; NULL: none yet. *at moves to where it begins. */
const stoa_mail *stoa_channel_mail(const stoa_channel_out *out, uint64_t *at);
/* The first message whose refusal may be kept: before it another one has its place. */
static inline uint64_t stoa_channel_unsettled(const stoa_channel_in *in)
{
    uint64_t gone = in->cursor.seq > STOA_CHANNEL_MESSAGES ? in->cursor.seq - STOA_CHANNEL_MESSAGES : 0;
    return (in->settled > gone ? in->settled : gone) + 1;
}
/* How a message from there up to the cursor was refused; OK: it was not. */
static inline stoa_err stoa_channel_refusal(const stoa_channel_in *in, uint64_t seq)
{
    return (stoa_err)in->refusals[seq % STOA_CHANNEL_MESSAGES];
}
/* The chain behind a message. */
uint64_t stoa_mail_chain(uint64_t before, const stoa_mail *mail);
/* Where the chain of a generation begins. */
stoa_cursor stoa_channel_begin(uint32_t generation, uint64_t base);

/* The events' effects (ledger.c's apply functions). */
struct stoa_shard_log_mailed;
struct stoa_shard_log_acknowledged;
struct stoa_shard_log_returned;
struct stoa_shard_log_restarted;
struct stoa_shard_log_delivered;
struct stoa_shard_log_refused;
struct stoa_shard_log_settled;
struct stoa_shard_log_restarted_in;
struct stoa_shard_log_contact;
void stoa_channel_mailed(stoa_channel_book *book, const struct stoa_shard_log_mailed *event);
void stoa_channel_acknowledged(stoa_channel_book *book, const struct stoa_shard_log_acknowledged *event);
void stoa_channel_returned(stoa_channel_book *book, const struct stoa_shard_log_returned *event);
void stoa_channel_restarted(stoa_channel_book *book, const struct stoa_shard_log_restarted *event);
void stoa_channel_delivered(stoa_channel_book *book, const struct stoa_shard_log_delivered *event);
void stoa_channel_refused(stoa_channel_book *book, const struct stoa_shard_log_refused *event);
void stoa_channel_settled(stoa_channel_book *book, const struct stoa_shard_log_settled *event);
void stoa_channel_restarted_in(stoa_channel_book *book, const struct stoa_shard_log_restarted_in *event);
void stoa_channel_contact(stoa_channel_book *book, const struct stoa_shard_log_contact *event);

#endif
