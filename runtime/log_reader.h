/* log_reader.h - a shard's committed log as decoded events, from any position on, on any thread but a core.
 *
 *     stoa_log_reader *reader;
 *     stoa_log_open(shard, &reader);
 *     for (uint64_t next = 1;;) {
 *         err = stoa_log_read(reader, next, UINT64_MAX, on_event, context, &next);
 *         if (err) { ... }
 *         stoa_log_wait(shard, next, STOA_S(1));
 *     }
 *
 * Committed: as durable as the shard promises (of a MEMORY shard: written, but a power cut may take it back; then the log is
 * shorter than what was read, see stoa_shard_durable). Each event is checked and decoded against its kind's table, brought to
 * the row's present schema, and shown with the name of its actor, wherever the read begins.
 *
 * A reader belongs to one thread at a time; a shard may have any number. It costs one event's room (256 KiB, touched as used).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_LOG_READER_H
#define STOA_RUNTIME_LOG_READER_H

#include "runtime/node.h"
#include "storage/journal.h"

STOA_API_BEGIN

typedef struct stoa_log_reader stoa_log_reader;

/* Called with each event; payload and actor are valid until it returns. What it returns ends the read: CANCELLED is OK there,
 * and the event counts as read. */
typedef stoa_err (*stoa_log_visit)(void *context, const stoa_event_view *event);

/* The shard must outlive the reader. Errors: UNSUPPORTED (the shard has no journal), NOMEM. */
stoa_err stoa_log_open(stoa_shard *shard, stoa_log_reader **out);
/* One over a journal that no shard has open, all of which counts as committed. kinds: NULL-terminated; name: the shard's.
 * Errors: NOMEM. */
stoa_err stoa_log_open_journal(stoa_journal *journal, const stoa_kind *const *kinds, const char *name,
                               stoa_log_reader **out);
/* NULL is allowed. */
void stoa_log_close(stoa_log_reader *reader);

/* Show the events of this stream alone (0: the shard's own), and step over the others without decoding them. */
#define STOA_LOG_ALL UINT32_MAX
void stoa_log_only(stoa_log_reader *reader, uint32_t stream);

/* Visit the committed events from position from on, up to until. *next_out: the position behind the last event read, also on
 * error; from where nothing was (not committed yet is OK). next_out may be NULL. Errors: INVALID (from is 0), what the journal's
 * read and visit return, CORRUPT (an event that is none), VERSION (a row, schema or kind that this build has not); the trail
 * names shard and position. */
stoa_err stoa_log_read(stoa_log_reader *reader, uint64_t from, uint64_t until, stoa_log_visit visit, void *context,
                       uint64_t *next_out);

/* The last position that is as durable as the shard promises. Any thread. */
uint64_t stoa_shard_durable(const stoa_shard *shard);
/* Wait until position is committed, for timeout_ns at most; returns whether it is. Not in the simulator. */
bool stoa_log_wait(stoa_shard *shard, uint64_t position, uint64_t timeout_ns);

/* Fold the log up to position until (as far as it is committed) into fresh states and hash them: equal positions of equal
 * logs, equal hashes, and the same that a running shard shows. Where the log's beginning is gone, from the oldest snapshot on that can be
 * used. *position_out: how far it came; it may be NULL. Takes the memory
 * of the shard's states. Errors: as stoa_log_read, GONE (no snapshot stands for a
 * beginning that is gone), VERSION, NOMEM. */
stoa_err stoa_log_hash(stoa_log_reader *reader, uint64_t until, uint64_t *hash_out, uint64_t *position_out);

/* The actor of that name in this shard's log, and its number there; NULL: there is none. stream_out may be NULL. */
const stoa_kind *stoa_log_actor(stoa_log_reader *reader, const char *name, uint32_t *stream_out);

/* The last position that was committed at wall_ns (UTC) or before, by the commit times of the blocks, which grow over all shards
 * of a node: one time cuts them all where the node as a whole could have stopped. 0: all came later. Reads some 20 blocks.
 * Errors: as stoa_log_read. */
stoa_err stoa_log_position_at(stoa_log_reader *reader, uint64_t wall_ns, uint64_t *position_out);

STOA_API_END

#endif
