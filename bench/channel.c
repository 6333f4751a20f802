/* channel.c - bench_channel: what is mailed from one shard to another, a second.
 *
 *     channel.memory.1, .2   two shards of durability MEMORY, on one core and on two
 *     channel.disk.1, .2     the same with DISK: two syncs and an acknowledgement on the way of each message, many at a time
 *     channel.trip.disk      one message alone: from the request that mails it to the answer of the actor that it came to
 *
 * A source mails 60 messages of 24 bytes a turn as long as the channel takes them, and waits 50 us where it is full. What the sink
 * has counted is compared with what was mailed. Journals are RocksDBs in a folder of $TMPDIR that is removed at the end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/common/figure.h"
#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

enum { BATCH = 60, RUNS = 5, TRIPS = 300 };
#define PAUSE_NS STOA_US(50)
#define DEADLINE STOA_S(60)

#define sink_note_FIELDS(F, S)  F(S, uint64_t, number) F(S, uint64_t, a) F(S, uint64_t, b)
#define sink_ask_FIELDS         STOA_NO_FIELDS
#define sink_sum_FIELDS(F, S)   F(S, uint64_t, count) F(S, uint64_t, sum)
#define sink_noted_FIELDS(F, S) F(S, uint64_t, number)
#define sink_ROWS(ROW, K)                                                                                              \
    ROW(K, CAST, note, _, "Count it.")                                                                                 \
    ROW(K, COMMAND, ask, sum, "How many came.")                                                                        \
    ROW(K, REPLY, sum, _, "How many, and the sum of their numbers.")                                                   \
    ROW(K, EVENT, noted, _, "It was counted.")
STOA_TABLE_HERE(sink)
typedef struct sink {
    uint64_t count, sum;
} sink;
#define sink_HEARS STOA_HEARS_NOTHING
STOA_KIND(sink, .mailbox_limit = 64)

static stoa_err sink_on_note(stoa_turn *turn, const sink *self, const sink_note *in)
{
    (void)self;
    return sink_emit_noted(turn, (sink_noted){in->number});
}

static stoa_err sink_on_ask(stoa_turn *turn, const sink *self, const sink_ask *in, sink_sum *out)
{
    (void)turn, (void)in;
    *out = (sink_sum){self->count, self->sum};
    return STOA_OK;
}

static void sink_apply_noted(sink *self, const sink_noted *event)
{
    self->count++;
    self->sum += event->number;
}

#define source_go_FIELDS(F, S)    F(S, uint64_t, until)
#define source_done_FIELDS        STOA_NO_FIELDS
#define source_more_FIELDS(F, S)  source_go_FIELDS(F, S)
#define source_moved_FIELDS(F, S) F(S, uint64_t, by)
#define source_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, go, done, "Mail until so many were mailed.")                                                       \
    ROW(K, REPLY, done, _, "It has begun.")                                                                            \
    ROW(K, CAST, more, _, "Go on.")                                                                                    \
    ROW(K, EVENT, moved, _, "So many more were mailed.")
STOA_TABLE_HERE(source)
typedef struct source {
    uint64_t mailed;
} source;
#define source_HEARS STOA_HEARS_NOTHING
STOA_KIND(source, .mailbox_limit = 64)

static stoa_err source_on_more(stoa_turn *turn, const source *self, const source_more *in)
{
    uint64_t count = 0;
    while (count < BATCH && self->mailed + count < in->until) {
        if (sink_mail_note(turn, "sink/it", (sink_note){.number = self->mailed + count + 1}, 0)) { break; }
        count++;
    }
    stoa_err err = count ? source_emit_moved(turn, (source_moved){count}) : STOA_OK;
    if (err || self->mailed + count == in->until) { return err; }
    return source_after_more(turn, count ? 0 : PAUSE_NS, *in, NULL);
}

static stoa_err source_on_go(stoa_turn *turn, const source *self, const source_go *in, source_done *out)
{
    (void)out;
    return source_on_more(turn, self, &(source_more){in->until});
}

static void source_apply_moved(source *self, const source_moved *event)
{
    self->mailed += event->by;
}

/* --- the rig */

static char folder[512];

static void remove_folder(void)
{
    char command[600];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (folder[0]) { (void)!system(command); }
}

typedef struct rig {
    stoa_node *node;
    stoa_ref source, sink;
    uint64_t mailed;
} rig;

static rig rig_open(const char *name, uint32_t cores, stoa_durability durability)
{
    static const stoa_kind *const kinds[] = {&source_kind, &sink_kind, NULL};
    rig r = {0};
    stoa_shard *shards[2];
    bench_must(stoa_node_open(&(stoa_options){.cores = cores, .kinds = kinds}, &r.node), "node");
    for (uint32_t i = 0; i < 2; i++) {
        char path[600], shard[16];
        (void)snprintf(path, sizeof path, "%s/%s.%u", folder, name, i);
        (void)snprintf(shard, sizeof shard, "shard%u", i);
        stoa_shard_options options = {.name = shard, .core = i % cores, .durability = durability, .journal = &stoa_journal_rocksdb,
                                      .path = path};
        bench_must(stoa_shard_open(r.node, &options, &shards[i]), "shard");
    }
    bench_must(stoa_spawn(r.node, &source_kind, "source/it", &(stoa_spawn_options){.shard = shards[0]}, &r.source), "source");
    bench_must(stoa_spawn(r.node, &sink_kind, "sink/it", &(stoa_spawn_options){.shard = shards[1]}, &r.sink), "sink");
    return r;
}

/* Mail so many more; the time until the sink has committed the last. */
static uint64_t mail(rig *r, uint64_t count, uint64_t pause_ns)
{
    source_done done;
    sink_sum sum;
    uint64_t began_ns = bench_now_ns();
    r->mailed += count;
    bench_must(source_call_go(r->node, r->source, (source_go){r->mailed}, DEADLINE, &done), "go");
    for (;;) {
        bench_must(sink_call_ask(r->node, r->sink, (sink_ask){{0}}, DEADLINE, &sum), "ask");
        if (sum.count == r->mailed) { break; }
        struct timespec wait = {0, (long)pause_ns};
        (void)nanosleep(&wait, NULL);
    }
    if (sum.sum != r->mailed * (r->mailed + 1) / 2) { bench_fail("the sink counted something else"); }
    return bench_now_ns() - began_ns;
}

static void throughput(const char *name, uint32_t cores, stoa_durability durability, uint64_t count)
{
    bench_figure figure = {.name = name, .unit = "messages/s"};
    rig r = rig_open(name, cores, durability);
    (void)mail(&r, count / 4, STOA_US(200));
    for (int i = 0; i < RUNS; i++) { bench_add(&figure.ours, (double)count / (double)mail(&r, count, STOA_US(200)) * 1e9); }
    bench_print(&figure);
    stoa_node_close(r.node, STOA_S(5));
}

static void trip(void)
{
    bench_figure figure = {.name = "channel.trip.disk", .unit = "us", .less = true};
    rig r = rig_open("trip", 2, stoa_durability_DISK);
    (void)mail(&r, TRIPS / 10, 0);
    for (int run = 0; run < RUNS; run++) {
        uint64_t ns = 0;
        for (int i = 0; i < TRIPS / RUNS; i++) { ns += mail(&r, 1, 1000); }
        bench_add(&figure.ours, (double)ns / (TRIPS / RUNS) / 1000);
    }
    bench_print(&figure);
    stoa_node_close(r.node, STOA_S(5));
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    uint64_t scale = quick ? 100 : 1;
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/stoa-bench-channel-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder)) { bench_fail("a folder"); }
    (void)atexit(remove_folder);
    throughput("channel.memory.1", 1, stoa_durability_MEMORY, 400000 / scale);
    throughput("channel.memory.2", 2, stoa_durability_MEMORY, 400000 / scale);
    throughput("channel.disk.1", 1, stoa_durability_DISK, 100000 / scale);
    throughput("channel.disk.2", 2, stoa_durability_DISK, 100000 / scale);
    trip();
    return 0;
}
