/* rig.h - what the workloads of bench_journal share: folders, the raw database beside ours, the kind whose events are measured.
 * Internal to bench/.
 *
 * An event is 128 bytes: `keep` is a kind that keeps a number a key, changed by its event `kept`.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_JOURNAL_RIG_H
#define STOA_BENCH_JOURNAL_RIG_H

#include "bench/common/figure.h"
#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

enum { BENCH_EVENT_BYTES = 128, BENCH_PATH_BYTES = 512 };

typedef struct bench_journal_task {
    bool quick; /* a hundredth of the work, one run: for tests, no figure */
} bench_journal_task;

/* A path in a folder of this program's own, which lies where $TMPDIR says and is removed when the program ends. Each call
 * numbers on. */
void bench_path(char out[BENCH_PATH_BYTES], const char *name);
/* Remove a folder and all that is in it; one that does not exist is allowed. */
void bench_remove(const char *path);
/* Bytes of the files in a folder. */
uint64_t bench_folder_bytes(const char *path);

/* --- RocksDB as it comes, with its defaults: what ours is held against */
typedef struct bench_raw bench_raw;
bench_raw *bench_raw_open(const char *path);
/* Write count values of bytes each under the next keys (big-endian, ascending) in one batch; with sync. */
void bench_raw_write(bench_raw *raw, const void *values, size_t bytes, uint32_t count);
void bench_raw_close(bench_raw *raw);

/* --- the kind */
// clang-format off
#define keep_event_FIELDS(F, S)                                                                                            \
    F(S, uint64_t, key) F(S, uint64_t, value) F(S, stoa_text62, note)                                                      \
    F(S, uint64_t, a) F(S, uint64_t, b) F(S, uint64_t, c) F(S, uint64_t, d) F(S, uint64_t, e) F(S, uint64_t, f)
#define keep_kept_FIELDS(F, S) keep_event_FIELDS(F, S)
#define keep_put_FIELDS(F, S)  keep_event_FIELDS(F, S)
#define keep_done_FIELDS(F, S) F(S, uint64_t, value) F(S, uint64_t, ran_ns)
#define keep_fill_FIELDS(F, S) F(S, uint64_t, from) F(S, uint64_t, count)
#define keep_ROWS(ROW, K)                                                       \
    ROW(K, COMMAND, put, done, "Keep a value; answered with what was there.")   \
    ROW(K, REPLY, done, _, "What was there, and when the turn ran.")            \
    ROW(K, COMMAND, fill, done, "So many events at once, numbered from `from`.") \
    ROW(K, EVENT, kept, _, "A value was kept.")
// clang-format on
STOA_TABLE(keep)
enum { KEEP_KEYS = 1 << 23, KEEP_FILL_MAX = 1024 };
typedef struct keep {
    uint64_t count, sum;
    uint64_t values[KEEP_KEYS];
} keep;
extern const stoa_kind keep_kind;
/* The event number n: all its bytes follow from n. */
keep_put keep_event_of(uint64_t n);

/* A node of one core, which has a processor of its own, with one shard on RocksDB at path, and the actor "keep/it" in it. It makes
 * snapshots only when asked. */
typedef struct bench_store {
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref keep;
} bench_store;
bench_store bench_store_open(const char *path, stoa_durability durability);
void bench_store_close(bench_store *store);
/* The calling thread leaves the core's processor to it, as who asks a pinned core would; or goes back to all of them. */
void bench_beside_core(bool beside);
/* Add count events behind the `from` that there are. */
void bench_store_fill(bench_store *store, uint64_t from, uint64_t count);

/* --- the workloads; each prints its lines */
void bench_append(const bench_journal_task *task);
void bench_hash(const bench_journal_task *task);
void bench_group_commit(const bench_journal_task *task);
void bench_replay(const bench_journal_task *task);
void bench_snapshot(const bench_journal_task *task);
void bench_projection(const bench_journal_task *task);

#endif
