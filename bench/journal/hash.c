/* hash.c - journal.hash: the hash of a block's bytes, which links it to the one before it, beside libsodium's of the same.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "base/hash.h"
#include "bench/journal/rig.h"

enum { RUNS = 9, BYTES = 256 * BENCH_EVENT_BYTES, TIMES = 1000, QUICK_TIMES = 10 };

static unsigned char block[BYTES];

static void ours(stoa_hash256 *out)
{
    stoa_hash256_parts(out, block, BYTES, NULL, 0);
}

static void theirs(stoa_hash256 *out)
{
    (void)crypto_generichash(out->at, sizeof out->at, block, BYTES, NULL, 0);
}

/* Gigabytes a second; each hash goes into the next block, and the last one out. */
static double rate(void (*hash)(stoa_hash256 *out), uint32_t times, stoa_hash256 *out)
{
    memset(block, 0, sizeof block);
    uint64_t began = bench_now_ns();
    for (uint32_t i = 0; i < times; i++) {
        hash(out);
        memcpy(block, out, sizeof *out);
    }
    return (double)times * BYTES / (double)(bench_now_ns() - began);
}

void bench_hash(const bench_journal_task *task)
{
    bench_samples by_us = {0}, by_them = {0};
    uint32_t times = task->quick ? QUICK_TIMES : TIMES;
    if (sodium_init() < 0) { bench_fail("libsodium"); }
    for (uint32_t run = 0; run < (task->quick ? 1 : RUNS); run++) {
        stoa_hash256 mine, yours;
        bench_add(&by_us, rate(ours, times, &mine));
        bench_add(&by_them, rate(theirs, times, &yours));
        if (memcmp(&mine, &yours, sizeof mine) != 0) { bench_fail("the hashes differ"); }
    }
    bench_print(&(bench_figure){.name = "journal.hash", .unit = "GB/s", .ours = by_us, .theirs = by_them, .peer = "libsodium"});
}
