/* journal.h - what every journal must provide: an append-only log of blocks of whole transactions, chained by hash.
 *
 * Implementations: storage/rocksdb (one RocksDB per shard) and storage/sim (in memory, seeded faults, virtual disk).
 * The contract below is tested once, against all of them, by tests/contract/journal_test.c.
 *
 * A position numbers events from 1; a block covers positions first .. first + count - 1 and is written as one value.
 * Blocks are dense: first = last + 1, otherwise INVALID. Each block carries the hash of the block before it; its own
 * hash covers header and payload. Positions, hashes and epochs are ours: RocksDB's sequence numbers are not used.
 *
 * Beside the log lies the side store: ordered keys and values of what was derived from the log and can be derived again
 * (snapshots, notes about the log). It is never ahead of the log: what a synced put made durable was made from a log that
 * is durable, too. All of it may be gone after any open; it is never a reason to refuse the log.
 *
 * Threads: one at a time appends, syncs and closes; all else may run on others meanwhile, several at a time
 * (storage/sim: one thread for all). A visit function may read, look up and scan; it must do nothing else here.
 *
 * Block on disk, little endian:
 *     u32 magic "STB1" | u32 count | u64 first | u64 epoch | u64 commit_ns (wall) | u32 payload_bytes |
 *     u32 index_count | 32 B previous hash | 32 B own hash (BLAKE2b-256 of everything before it, then the payload and
 *     index) | payload | index
 * or, where the payload is sealed (storage/seal.h, bound to the 72 bytes before its own hash), with magic "STB2". The hash is
 * over the sealed bytes: the chain is proven without a key.
 * payload: events, each a msgpack array (runtime/shard.h). index: index_count x (u64 id, u64 position), so that the
 * index column family is derived from the block and can be rebuilt from it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_JOURNAL_H
#define STOA_STORAGE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/api.h"
#include "base/error.h"
#include "base/hash.h"

STOA_API_BEGIN

/* What a block holds at most; more is TOO_LARGE. */
enum {
    STOA_BLOCK_EVENTS_MAX = 1 << 20,
    STOA_BLOCK_PAYLOAD_MAX = 64 << 20, /* bytes */
    STOA_BLOCK_INDEX_MAX = 1 << 20
};

typedef struct stoa_index_entry {
    uint64_t id, position;
} stoa_index_entry;

/* A block as it is appended or read; bytes belong to the caller (append) or to the journal during visit (read). */
typedef struct stoa_block {
    uint64_t first, epoch, commit_ns;
    uint32_t count, payload_bytes, index_count;
    const void *payload;
    const stoa_index_entry *index;
    const stoa_hash256 *hash; /* read: its own; append: unused */
    uint32_t key; /* read: the key that it is sealed with where it is stored, 0: none; append: not looked at */
} stoa_block;

/* Parts of the side store, each with an order of keys of its own. */
typedef enum stoa_space { STOA_SPACE_SNAPSHOT, STOA_SPACE_META, STOA_SPACES } stoa_space;

/* What the side store takes at most; more is TOO_LARGE. A batch holds up the next one while it is written: a few hundred
 * KiB are a good size. */
enum {
    STOA_SIDE_KEY_MAX = 255,          /* bytes, at least 1 */
    STOA_SIDE_VALUE_MAX = 4 << 20,    /* bytes */
    STOA_SIDE_ENTRIES_MAX = 1 << 16,  /* of a batch */
    STOA_SIDE_BATCH_MAX = 16 << 20    /* bytes of a batch's keys and values */
};

typedef struct stoa_side_entry {
    const void *key, *value; /* put: value NULL erases the key, with value_bytes 0 */
    uint32_t key_bytes, value_bytes;
} stoa_side_entry;

typedef struct stoa_journal_state {
    uint64_t first;       /* position of the first event that is still there; 1 for a log of which nothing was purged */
    uint64_t last;        /* position of the last event, 0 when empty */
    uint64_t epoch;       /* of the last block */
    stoa_hash256 hash;    /* of the last block; zero when empty */
    uint64_t proven;      /* the commit mark: everything up to here was synced before the mark was */
    uint64_t begun;       /* what ends here was never in this log: it was begun behind it; 0 for one that begins with position 1 */
} stoa_journal_state;

/* What an index held before it was made anew, and after: equal, unless it was damaged. */
typedef struct stoa_reindexed {
    uint64_t entries_before, entries; /* of blocks that are there; each id and position once */
    uint64_t hash_before, hash;       /* over all of them, in their order */
} stoa_reindexed;

typedef struct stoa_journal_figures {
    uint64_t blocks;                /* about */
    uint64_t log_bytes, side_bytes; /* on the disk: the log with its index, the side store */
    uint64_t reindexed;             /* up to which position the index that is being made anew has come; 0: none is */
} stoa_journal_figures;

typedef struct stoa_journal stoa_journal;
struct stoa_keyring; /* storage/seal.h */

typedef struct stoa_journal_ops {
    const char *scheme; /* "rocksdb", "sim" */

    /* Open or create the log at path, verify the chain, find the last block. Blocks. Errors: IO, CORRUPT (broken at or
     * below the commit mark: the trail names the position), DENIED (another process has it), VERSION (written by a
     * newer build), FULL. On error nothing stays open. What is broken above the mark is cut off, and logged as
     * journal_tail_cut. What is there when OK returns is durable, whether it was synced before or not: who opens it builds on it,
     * also where the disk is so full that the log is opened to be read only. */
    stoa_err (*open)(const char *path, stoa_journal **out);

    /* From now on payloads and values of the side store are sealed with the newest key of the ring, NULL: not at all; what was
     * sealed before is opened with its own key. What is plain stays plain, and readable. Called before the first append and
     * read. The ring outlives the journal. */
    void (*seal)(stoa_journal *journal, const struct stoa_keyring *keys);

    /* Append one block; with sync it is durable when OK returns, without it is readable but may be lost by a power cut
     * (not by the death of the process). Blocks for as long as the disk takes. An error leaves the journal unusable:
     * every later call returns it (an I/O error on sync cannot be retried). FULL (disk full) is the exception: nothing
     * was written and the call may be repeated, with this block or another; reads work meanwhile. INVALID and
     * TOO_LARGE refuse the block before anything happens and leave the journal as it was. Errors: INVALID (first is
     * not last + 1, epoch lower than the last, count 0, an index position outside the block), TOO_LARGE, FULL, IO. */
    stoa_err (*append)(stoa_journal *journal, const stoa_block *block, bool sync);

    /* Make everything appended so far durable and move the commit mark there. Blocks. Errors: as append; FULL where an append has
     * found no space, until there is some: then nothing has become durable, and the call may be repeated. */
    stoa_err (*sync)(stoa_journal *journal);

    /* Visit whole blocks in order from the one that holds position from to the one that was last when the call began.
     * Each block's hash and its link to the block before it are checked. visit returning an error ends the read with
     * it. Errors: NOT_FOUND (from is 0 or above last), GONE (from is below first), CORRUPT, SEALED (with a
     * key that is not at hand: the trail names it). Blocks. */
    stoa_err (*read)(stoa_journal *journal, uint64_t from, stoa_err (*visit)(void *context, const stoa_block *block),
                     void *context);

    /* The same for blocks as they are stored, byte for byte; the bytes are the journal's during visit. For copies that are
     * to prove the same chain (storage/archive); sealed payloads stay sealed. Errors: as read, but for SEALED. */
    stoa_err (*read_stored)(stoa_journal *journal, uint64_t from,
                            stoa_err (*visit)(void *context, const void *bytes, size_t size_bytes), void *context);

    /* Show a block, given as it is stored here or in a copy of this log, as read would show it. Errors: CORRUPT (the bytes are
     * no block), SEALED, what visit returns. */
    stoa_err (*show)(stoa_journal *journal, const void *bytes, size_t size_bytes,
                     stoa_err (*visit)(void *context, const stoa_block *block), void *context);

    /* Let the log, which is empty, begin behind an anchor: last, hash and epoch of a block that is not to be here, as if all up to
     * it had been appended and purged. The next block must continue it. Durable when OK returns; a crash meanwhile leaves the log
     * empty, or begun. By the one who appends. Blocks. Errors: EXISTS (it is not empty, or was begun), INVALID (no such position),
     * FULL, IO. */
    stoa_err (*begin)(stoa_journal *journal, const stoa_journal_state *anchor);

    /* Append a block byte for byte as another journal had it stored. Where this one is empty it must be a log's first.
     * Errors: as append; CORRUPT (the bytes are no block) and FORKED (not the block that continues this chain) refuse it
     * and leave the journal as it was. */
    stoa_err (*append_stored)(stoa_journal *journal, const void *bytes, size_t size_bytes, bool sync);

    /* Visit positions indexed under id, ascending, each once; none below first. None is OK. Errors: UNAVAILABLE (the index
     * is being made anew). */
    stoa_err (*lookup)(stoa_journal *journal, uint64_t id, stoa_err (*visit)(void *context, uint64_t position),
                       void *context);

    void (*state)(stoa_journal *journal, stoa_journal_state *out);

    /* Blocks: reads sizes of files. */
    void (*measure)(stoa_journal *journal, stoa_journal_figures *out);

    /* Throw the index away and make it anew from the blocks. Until that is done, also over a crash, lookup answers
     * UNAVAILABLE; open goes on with it. Appends go on meanwhile. One thread at a time, not only the appending one. A journal
     * without an index answers OK and all zero. Errors: FULL, IO, CORRUPT. Blocks. */
    stoa_err (*reindex)(stoa_journal *journal, stoa_reindexed *out);

    /* Bytes that are left on the journal's disk; UINT64_MAX where nobody knows. Never blocks for long. */
    uint64_t (*room)(stoa_journal *journal);

    /* Forget the blocks that end below position below; never the block under the commit mark, nor what is behind it. Where
     * the log begins now is durable when OK returns, with hash and epoch of the last block forgotten, so that the chain
     * verifies from there; the space is given back before OK returns. Reads under way go on to their end. Whether anybody
     * still needs the blocks is the caller's to know. One thread at a time, not only the appending one. Blocks. Errors: FULL
     * and IO (nothing is forgotten unless first has moved). */
    stoa_err (*purge)(stoa_journal *journal, uint64_t below);

    /* Put (or erase) all entries, in their order, or none; with no entry and sync: only what sync says of the log. With sync they are durable when OK returns, and so is all
     * that was put or erased before, and the log as it was when put was called, up to where the commit mark moves; without, they may be lost with the
     * machine. A crash keeps a prefix of what was put and erased. Blocks. Errors: INVALID (an empty key), TOO_LARGE, FULL
     * (nothing was put; append goes on finding out by itself), IO (the log is not harmed unless append says so), CORRUPT (the
     * store was rotten and is thrown away: all that was put is gone, the next put finds an empty one). */
    stoa_err (*put)(stoa_journal *journal, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool sync);

    /* Erase all keys from from (no bytes: the first) up to, not including, to (no bytes: all to the end); as a put without
     * sync. Their space comes back in time. */
    stoa_err (*erase)(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes, const void *to,
                      uint32_t to_bytes);

    /* Visit entries in the order of their keys (bytes as unsigned numbers, a prefix before what it begins), from the first
     * that is not before from (no bytes: from the first of all), as they were when the scan began. An entry is valid during
     * its visit, and value is not NULL. visit returning an error ends the scan with it. Bytes are checked, but who must
     * be sure of them puts a hash beside them. Errors: CORRUPT (rot), IO, SEALED. Blocks. */
    stoa_err (*scan)(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes,
                     stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context);

    /* The same for values as they are stored, sealed ones sealed, for a copy that takes no key; and back, into a store that has the
     * key they are sealed with, or will: a value is bound to its space and key, to nothing else. Nothing is erased by it. Errors: as
     * scan but for SEALED; as put, and CORRUPT (a value that is stored in no known form; nothing was put). */
    stoa_err (*scan_stored)(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes,
                            stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context);
    stoa_err (*put_stored)(stoa_journal *journal, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool sync);

    /* Sync and release. NULL is allowed. */
    void (*close)(stoa_journal *journal);
} stoa_journal_ops;

/* First member of every implementation's struct. */
struct stoa_journal {
    const stoa_journal_ops *ops;
};

/* Read the whole log: every hash, every link, from the first block that is left (and its link to the last one that was
 * purged) to the last. *verified_out is the last position that is sound, on CORRUPT too (there it is where the sound part
 * ends; 0: nothing is). Errors: CORRUPT, what read_stored returns. Blocks. */
stoa_err stoa_journal_verify(stoa_journal *journal, uint64_t *verified_out);

enum { STOA_VERIFY_KEYS_MAX = 16 };

/* What was read, and found sound. Zeroed. */
typedef struct stoa_journal_check {
    uint64_t from, verified; /* positions: where it began, up to where it came */
    uint64_t blocks, bytes, events;
    uint32_t key_count; /* of the keys that sealed them, 0 for plain ones; no more than there is room for */
    struct {
        uint32_t id;
        uint64_t blocks;
    } keys[STOA_VERIFY_KEYS_MAX];
} stoa_journal_check;

/* The same from the block that holds position from on (0: from the first that is left), for as long as go_on says so, which is
 * asked after each block (NULL: to the end). Other users of the journal are let in between every 64 MiB. Errors: CANCELLED
 * (go_on said no: all up to verified is sound), else as above. */
stoa_err stoa_journal_check_from(stoa_journal *journal, uint64_t from, bool (*go_on)(void *context), void *context,
                                 stoa_journal_check *out);

/* The value of one key of the side store, copied to bytes, which has room for cap_bytes. Errors: NOT_FOUND, TOO_LARGE (no
 * room), what scan returns. Blocks. */
stoa_err stoa_side_get(stoa_journal *journal, stoa_space space, const void *key, uint32_t key_bytes, void *bytes,
                       uint32_t cap_bytes, uint32_t *bytes_out);

STOA_API_END

#endif
