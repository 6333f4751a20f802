/* replay.c - journal.replay and journal.recovery: from the log back to the state.
 *
 * replay: events a second from a log on disk through decode and `apply` into a fresh state, whose hash is compared with the
 * live one. recovery: seconds from opening the node on a log of RECOVERED events to serving, and the state is as it was; once
 * from the log alone, once with a snapshot at its end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/journal/rig.h"

enum { EVENTS = 2000000, RECOVERED = 10000000, QUICK_PART = 1000, RUNS = 5, RECOVERIES = 3 };
#define GOAL 3e6 /* events a second */

/* Up to the position that the view is of: what was acknowledged in memory may still be on its way to the log. */
static void replay_once(const bench_store *store, const stoa_shard_view *view, bench_samples *out)
{
    uint64_t replayed, events, began = bench_now_ns();
    bench_must(stoa_shard_replay(store->shard, view->applied, &replayed, &events), "replay");
    uint64_t took = bench_now_ns() - began;
    if (replayed != view->hash) { bench_fail("the replayed state is another"); }
    bench_add(out, (double)events * 1e9 / (double)took);
}

static stoa_shard_view filled(bench_store *store, uint64_t count)
{
    stoa_shard_view view;
    bench_store_fill(store, 0, count);
    bench_must(stoa_shard_look(store->shard, &view), "look");
    return view;
}

static void replay(const bench_journal_task *task)
{
    char path[BENCH_PATH_BYTES];
    bench_samples samples = {0};
    bench_path(path, "replay");
    bench_store store = bench_store_open(path, stoa_durability_MEMORY);
    stoa_shard_view view = filled(&store, task->quick ? EVENTS / QUICK_PART : EVENTS);
    bench_samples warm_up = {0};
    replay_once(&store, &view, &warm_up);
    for (uint32_t i = 0; i < (task->quick ? 1 : RUNS); i++) { replay_once(&store, &view, &samples); }
    bench_store_close(&store);
    bench_remove(path);
    bench_print(&(bench_figure){.name = "journal.replay", .unit = "events/s", .goal = GOAL, .ours = samples});
}

/* Open what is at path, some times; its state must be that of hash. */
static bench_samples recover(const char *path, uint64_t events, uint64_t hash, uint32_t runs)
{
    bench_samples samples = {0};
    for (uint32_t i = 0; i < runs; i++) {
        stoa_shard_view view;
        uint64_t began = bench_now_ns();
        bench_store store = bench_store_open(path, stoa_durability_MEMORY);
        bench_add(&samples, (double)(bench_now_ns() - began) / 1e9);
        bench_must(stoa_shard_look(store.shard, &view), "look");
        if (view.hash != hash || view.recovered < events) { bench_fail("the recovered state is another"); }
        bench_store_close(&store);
    }
    return samples;
}

static void recovery(const bench_journal_task *task)
{
    char path[BENCH_PATH_BYTES], more[128];
    bench_path(path, "recovery");
    uint64_t events = task->quick ? RECOVERED / QUICK_PART : RECOVERED;
    uint32_t runs = task->quick ? 1 : RECOVERIES;
    bench_store store = bench_store_open(path, stoa_durability_MEMORY);
    uint64_t hash = filled(&store, events).hash;
    bench_store_close(&store);
    (void)snprintf(more, sizeof more, ",\"events\":%llu,\"bytes\":%llu", (unsigned long long)events,
                   (unsigned long long)bench_folder_bytes(path));
    bench_samples log = recover(path, events, hash, runs);
    bench_print(&(bench_figure){.name = "journal.recovery", .unit = "s", .less = true, .ours = log, .more = more});

    stoa_following_view view;
    store = bench_store_open(path, stoa_durability_MEMORY);
    bench_must(stoa_shard_snapshot(store.shard, STOA_S(120), &view), "snapshot");
    bench_store_close(&store);
    bench_samples image = recover(path, events, hash, runs);
    bench_remove(path);
    bench_print(&(bench_figure){.name = "journal.recovery_snapshot", .unit = "s", .less = true, .ours = image, .theirs = log,
                                .peer = "from the log alone", .more = more});
}

void bench_replay(const bench_journal_task *task)
{
    replay(task);
    recovery(task);
}
