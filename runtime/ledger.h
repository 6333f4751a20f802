/* ledger.h - what a shard remembers beside its actors: the state of its stream 0. Internal to runtime/.
 *
 * The shard's own events (the table below) are journaled in the block of the cascade they belong to, and folded into one
 * plain struct by their apply functions, as an actor's are into its state: so the ledger is replayed, hashed, put into
 * snapshots and looked at in the past like any state, and can never disagree with the log. No pointers, no padding that is
 * read; zeroed memory is the empty ledger. Apply functions cannot fail and see nothing but the ledger and the event; what
 * else an event causes in the running shard is done by who journals it (stoa_shard_note) and by recovery.
 *
 * It is reserved at its full size and mostly zero: who hashes, compares, clears or images it goes through sparse.h, and pays for
 * what is used of it.
 *
 * Appending a row: add it to the table, its apply function to ledger.c and what it asks for to ledger_check.c; rows and fields are never moved or changed.
 * Another layout of the struct: raise state_version in ledger.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_LEDGER_H
#define STOA_RUNTIME_LEDGER_H

#include "runtime/actor.h"
#include "runtime/channel_book.h"
#include "runtime/outbox.h"
#include "runtime/requests.h"

#define stoa_shard_log_spawned_FIELDS(F, S) F(S, uint64_t, stream) F(S, stoa_text30, kind) F(S, stoa_text62, name)
#define stoa_shard_log_epoch_started_FIELDS(F, S) F(S, uint64_t, epoch)
#define stoa_shard_log_ROWS(ROW, K)                                                                                         \
    ROW(K, EVENT, spawned, _, "An actor exists from here on.")                                                         \
    ROW(K, EVENT, epoch_started, _, "The epoch of who writes: it took over, or the log has to go on.")                                                             \
    ROW(K, EVENT, answered, _, "A request with a name had an effect; its reply.")                                      \
    STOA_CHANNEL_ROWS(ROW, K)                                                                                          \
    STOA_OUTBOX_ROWS(ROW, K)                                                                                           \
    STOA_CONTACT_ROWS(ROW, K)
STOA_TABLE(stoa_shard_log)

typedef struct stoa_shard_log {
    uint64_t epoch;   /* of the last writer that said so */
    uint64_t streams; /* actors that were spawned */
    stoa_requests requests;
    stoa_channel_book channels;
    stoa_outbox outbox;
} stoa_shard_log;

/* Why an event that was read back cannot follow the ledger as it is, as a static text; NULL: it can. payload: of the row's type,
 * decoded; position: the event's. Before each apply of a replay, whose bytes are input (ledger_check.c). */
const char *stoa_ledger_refuses(const stoa_shard_log *ledger, uint32_t row, const void *payload, uint64_t position);
/* The same of a whole ledger that was read back, of a shard with so many actors at that position (ledger_sound.c). */
const char *stoa_ledger_unsound(const stoa_shard_log *ledger, uint64_t streams, uint64_t position);

/* The ledger as a kind: no handlers, and no actor of it is ever spawned. */
extern const stoa_kind stoa_shard_log_kind;

#endif
