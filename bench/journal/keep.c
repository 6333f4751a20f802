/* keep.c - the kind of bench/journal/rig.h, and a node that has one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "bench/journal/rig.h"

STOA_TABLE_DEFINE(keep)
#define keep_HEARS STOA_HEARS_NOTHING
STOA_KIND(keep, .mailbox_limit = 1 << 20)
_Static_assert(sizeof(keep_kept) == BENCH_EVENT_BYTES && sizeof(keep_put) == sizeof(keep_kept), "as it is called");

enum { ANSWER_S_MAX = 120 };

keep_put keep_event_of(uint64_t n)
{
    keep_put event = {.key = n, .value = stoa_mix64(n + 1), .note = stoa_text("what was kept, said in just as many bytes as there are here.")};
    event.a = event.value ^ 1;
    event.b = event.value ^ 2;
    event.c = event.value ^ 3;
    event.d = n * 4;
    event.e = n * 5;
    event.f = n * 6;
    return event;
}

static keep_kept kept_of(const keep_put *put)
{
    keep_kept event;
    memcpy(&event, put, sizeof event);
    return event;
}

static stoa_err keep_on_put(stoa_turn *turn, const keep *self, const keep_put *in, keep_done *out)
{
    out->value = self->values[in->key % KEEP_KEYS];
    out->ran_ns = bench_now_ns();
    return keep_emit_kept(turn, kept_of(in));
}

static stoa_err keep_on_fill(stoa_turn *turn, const keep *self, const keep_fill *in, keep_done *out)
{
    if (in->count > KEEP_FILL_MAX) { return STOA_E_TOO_LARGE; }
    for (uint64_t i = 0; i < in->count; i++) {
        keep_put put = keep_event_of(in->from + i);
        stoa_err err = keep_emit_kept(turn, kept_of(&put));
        if (err) { return err; }
    }
    out->value = self->count;
    return STOA_OK;
}

static void keep_apply_kept(keep *self, const keep_kept *event)
{
    self->count++;
    self->sum += event->value;
    self->values[event->key % KEEP_KEYS] = event->value;
}

bench_store bench_store_open(const char *path, stoa_durability durability)
{
    bench_store store;
    stoa_options options = {.cores = 1, .idle = STOA_IDLE_LATENCY, .pin = true, .kinds = STOA_KINDS(&keep_kind), .memory_bytes = UINT64_C(1) << 30,
                            .snapshot_events = UINT64_MAX, .seed = 1};
    stoa_shard_options shard = {.name = "keep", .durability = durability, .journal = &stoa_journal_rocksdb, .path = path};
    bench_must(stoa_node_open(&options, &store.node), "node");
    bench_must(stoa_shard_open(store.node, &shard, &store.shard), path);
    bench_must(stoa_spawn(store.node, &keep_kind, "keep/it", &(stoa_spawn_options){.shard = store.shard}, &store.keep), "keep/it");
    return store;
}

void bench_beside_core(bool beside)
{
    static cpu_set_t all;
    if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all)) { bench_fail("sched_getaffinity"); }
    cpu_set_t set = all;
    for (size_t cpu = 0; beside && CPU_COUNT(&all) > 1 && CPU_COUNT(&set) == CPU_COUNT(&all); cpu++) { CPU_CLR(cpu, &set); }
    if (sched_setaffinity(0, sizeof set, &set)) { bench_fail("sched_setaffinity"); }
}

void bench_store_close(bench_store *store)
{
    stoa_node_close(store->node, STOA_S(ANSWER_S_MAX));
}

void bench_store_fill(bench_store *store, uint64_t from, uint64_t count)
{
    for (uint64_t end = from + count; from < end;) {
        uint64_t part = end - from < KEEP_FILL_MAX ? end - from : KEEP_FILL_MAX;
        keep_done done;
        stoa_err err = keep_call_fill(store->node, store->keep, (keep_fill){.from = from, .count = part}, STOA_S(ANSWER_S_MAX), &done);
        if (err == STOA_E_FULL) { continue; } /* the disk is behind */
        bench_must(err, "fill");
        from += part;
    }
}
