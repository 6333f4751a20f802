/* append.c - journal.append: events a second that reach the disk, in blocks of so many events, each block synced.
 *
 * Ours: a block of events through the journal's interface (hash chain, commit mark and all). Peers, in turns with it: RocksDB as
 * it comes, with one key an event in one batch, and with the block as one value. The log is read back at the end and what was
 * written compared with what there is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "bench/journal/rig.h"

enum { RUNS = 9, BATCH_MAX = 256, SYNCS = 300, WARM_UP = 50, QUICK_SYNCS = 3 };
#define GOAL 0.8 /* of the peer */

typedef struct batch {
    const char *name;
    uint32_t events;
} batch;

typedef struct bed {
    stoa_journal *journal;
    bench_raw *keys, *values;
    uint64_t next, sum, payload_sum;
    unsigned char payload[BATCH_MAX * BENCH_EVENT_BYTES];
} bed;

static void fill_payload(bed *b, uint32_t events)
{
    uint64_t at = b->next;
    for (size_t i = 0; i < (size_t)events * BENCH_EVENT_BYTES; i += sizeof at) {
        at = stoa_mix64(at + 1);
        memcpy(b->payload + i, &at, sizeof at);
    }
    b->payload_sum = stoa_hash64(b->next, b->payload, (size_t)events * BENCH_EVENT_BYTES); /* of the peers', too: it takes time */
}

static void append_ours(bed *b, uint32_t events)
{
    stoa_block block = {.first = b->next, .epoch = 1, .commit_ns = b->next, .count = events, .payload = b->payload,
                        .payload_bytes = events * BENCH_EVENT_BYTES};
    b->sum ^= b->payload_sum;
    bench_must(b->journal->ops->append(b->journal, &block, true), "append");
    b->next += events;
}

enum { OURS, KEYS, VALUES, WRITERS };

static void write_once(bed *b, uint32_t events, int who)
{
    fill_payload(b, events);
    if (who == OURS) { append_ours(b, events); }
    if (who == KEYS) { bench_raw_write(b->keys, b->payload, BENCH_EVENT_BYTES, events); }
    if (who == VALUES) { bench_raw_write(b->values, b->payload, (size_t)events * BENCH_EVENT_BYTES, 1); }
}

/* Events a second. */
static double write_many(bed *b, uint32_t events, int who, uint32_t syncs)
{
    uint64_t began = bench_now_ns();
    for (uint32_t i = 0; i < syncs; i++) { write_once(b, events, who); }
    return (double)syncs * events * 1e9 / (double)(bench_now_ns() - began);
}

static stoa_err add_up(void *context, const stoa_block *block)
{
    *(uint64_t *)context ^= stoa_hash64(block->first, block->payload, block->payload_bytes);
    return STOA_OK;
}

static void measure(bed *b, const batch *of, const bench_journal_task *task)
{
    bench_samples by[WRITERS] = {0};
    uint32_t syncs = task->quick ? QUICK_SYNCS : SYNCS;
    for (int who = 0; who < WRITERS; who++) { (void)write_many(b, of->events, who, task->quick ? 1 : WARM_UP); }
    for (uint32_t run = 0; run < (task->quick ? 1 : RUNS); run++) {
        for (int who = 0; who < WRITERS; who++) { bench_add(&by[who], write_many(b, of->events, who, syncs)); }
    }
    static const char *const peers[WRITERS] = {[KEYS] = "rocksdb: a key an event", [VALUES] = "rocksdb: a value a block"};
    for (int peer = KEYS; peer < WRITERS; peer++) {
        bench_print(&(bench_figure){.name = of->name, .unit = "events/s", .goal = GOAL * bench_median(&by[peer]), .ours = by[OURS],
                                    .theirs = by[peer], .peer = peers[peer]});
    }
}

void bench_append(const bench_journal_task *task)
{
    static const batch batches[] = {{"journal.append_16", 16}, {"journal.append", BATCH_MAX}};
    char path[BENCH_PATH_BYTES];
    bed *b = calloc(1, sizeof *b);
    if (!b) { bench_fail("no memory"); }
    b->next = 1;
    bench_path(path, "ours");
    bench_must(stoa_journal_rocksdb.open(path, &b->journal), path);
    bench_path(path, "keys");
    b->keys = bench_raw_open(path);
    bench_path(path, "values");
    b->values = bench_raw_open(path);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) { measure(b, &batches[i], task); }
    uint64_t sum = 0;
    bench_must(b->journal->ops->read(b->journal, 1, add_up, &sum), "read");
    if (sum != b->sum) { bench_fail("the log is not what was written"); }
    b->journal->ops->close(b->journal);
    bench_raw_close(b->keys);
    bench_raw_close(b->values);
    free(b);
}
