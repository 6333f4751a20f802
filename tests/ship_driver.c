/* ship_driver.c - a journal on RocksDB that is copied to another process, for integration/ship_test.py, which kills both.
 *
 *     ship_driver log ADDRESS PATH LAST KEYS     appends blocks and makes snapshots up to position LAST, ships them; leaves when the copy
 *                                                has all: "done LAST SNAPSHOT RESUMES", and which way the bytes went: "puts N frames N" are
 *                                                records by the ship, "written N framed N" bytes by the link (transport/link.h,
 *                                                stoa_link_counts), "writes_memory 0|1" what the link says of its provider
 *     ship_driver copy ADDRESS PATH KEYS         listens, keeps the copy until it is told to end (TERM): "copy LAST SNAPSHOT"
 *     ship_driver keys FOLDER                    makes key files server, server.pub, client, client.pub
 *     ship_driver check PATH PATH                both chains, every block byte for byte, the copy's newest snapshot: "same LAST SNAPSHOT
 *                                                BLOCKS", else "different WHAT"
 *
 * KEYS: a folder of key files for a link that needs them, with "trusted:" ahead where the network is vouched for, or "-". What a block or a chunk holds follows from its position. A line
 * "at LAST" says what is durable at the copy, each time it has grown by a tenth.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "cluster/ship/log.h"
#include "storage/block.h"
#include "storage/rocksdb/journal.h"
#include "storage/snapshot.h"
#include "transport/keys.h"

enum {
    RING_BYTES = 1 << 20, FRAME_LIMIT = 64 * 1024, QUEUE_FRAMES = 256, COUNT = 8, PAYLOAD_MAX = 20000, SNAPSHOT_EVERY = 4000,
    CHUNKS = 40, AHEAD = 3000, POLL_MAX = 64, STEP_MAX_MS = 100
};

static stoa_journal *journal;
static stoa_link *link_to;
static stoa_peer peer_now;
static stoa_ship *ship;
static volatile sig_atomic_t ends;

static _Noreturn void fail(const char *what, stoa_err err)
{
    (void)fprintf(stderr, "ship_driver: %s: %s: %s\n", what, stoa_err_name(err), stoa_err_trail());
    exit(3);
}

static void must(const char *what, stoa_err err)
{
    if (err) { fail(what, err); }
}

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

static void fill(uint64_t of, uint8_t *bytes, uint32_t size_bytes)
{
    stoa_random random;
    stoa_random_seed(&random, of);
    for (uint32_t i = 0; i < size_bytes; i++) { bytes[i] = (uint8_t)(i % 8 ? i + of : stoa_random_next(&random)); }
}

static void on_term(int number)
{
    (void)number;
    ends = 1;
}

/* --- the log */

static uint64_t last_of(void)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    return state.last;
}

static void append_one(bool sync)
{
    static uint8_t payload[PAYLOAD_MAX];
    uint64_t first = last_of() + 1;
    uint32_t size_bytes = (uint32_t)(stoa_mix64(first) % PAYLOAD_MAX);
    fill(first, payload, size_bytes);
    stoa_block block = {
        .first = first, .epoch = 1 + first / 1000, .commit_ns = first, .count = COUNT, .payload_bytes = size_bytes, .payload = payload};
    must("append", journal->ops->append(journal, &block, sync));
}

/* Some chunks change from one to the next. */
static void snapshot_make(void)
{
    static uint8_t chunk[STOA_SNAPSHOT_CHUNK];
    const uint64_t image_bytes[STOA_SNAPSHOT_IMAGES] = {(uint64_t)CHUNKS * STOA_SNAPSHOT_CHUNK};
    stoa_snapshot_store *store;
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    stoa_snapshot_info info = {.position = state.last, .epoch = state.epoch, .block = state.hash, .wall_ns = state.last};
    uint64_t put_bytes;
    must("store", stoa_snapshot_store_open(journal, &store));
    must("begin", stoa_snapshot_begin(store, &info));
    for (uint64_t c = 0; c < CHUNKS; c++) {
        fill(c % 4 ? c : state.last + c, chunk, sizeof chunk);
        must("chunk", stoa_snapshot_put(store, 0, c, chunk, sizeof chunk));
    }
    must("end", stoa_snapshot_end(store, image_bytes, &info, &put_bytes));
    must("prune", stoa_snapshot_prune(store, 3, state.last));
    stoa_snapshot_store_close(store);
}

static void newest(void *context, const stoa_snapshot_info *info)
{
    if (info->position > *(uint64_t *)context) { *(uint64_t *)context = info->position; }
}

static uint64_t newest_of(void)
{
    uint64_t position = 0;
    must("snapshots", stoa_snapshots_visit(journal, newest, &position));
    return position;
}

/* Of every so many, and of the end. Who was killed before its snapshot was made has the next one. */
static void snapshot_if_due(uint64_t last)
{
    uint64_t at = last_of();
    if ((at == last || (at > 0 && at % SNAPSHOT_EVERY == 0)) && newest_of() != at) { snapshot_make(); }
}

/* --- the link */

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)identity;
    if (peer == peer_now) { (void)stoa_ship_take(ship, bytes, size_bytes, now_ns()); }
}

static void on_up(void *context, stoa_peer peer)
{
    (void)context;
    peer_now = peer;
    stoa_ship_up(ship, link_to, peer, now_ns());
}

static void on_down(void *context, stoa_peer peer)
{
    (void)context;
    if (peer == peer_now) { stoa_ship_down(ship); }
}

static void on_flushed(void *context, stoa_peer peer, uint64_t token)
{
    (void)context;
    if (peer == peer_now) { stoa_ship_flushed(ship, token, now_ns()); }
}

static void link_poll(void)
{
    stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .flushed = on_flushed};
    while (link_to->ops->poll(link_to, &events, POLL_MAX) == POLL_MAX) {}
}

static void link_sleep(uint64_t next_ns)
{
    uint64_t is_ns = now_ns(), wait_ms = next_ns > is_ns ? (next_ns - is_ns) / 1000000 : 0;
    struct pollfd fd = {.fd = link_to->ops->fd(link_to), .events = POLLIN};
    (void)poll(&fd, 1, wait_ms < STEP_MAX_MS ? (int)wait_ms : STEP_MAX_MS);
}

static void key_read(const char *folder, const char *name, stoa_key_pair *out)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    must(path, stoa_key_load(path, out));
}

static void link_begin(const char *address, bool listens, const char *keys)
{
    static stoa_key_pair server, client;
    static stoa_link_allowed allowed;
    const char trusted[] = "trusted:";
    bool with = strcmp(keys, "-") != 0, trusts = strncmp(keys, trusted, sizeof trusted - 1) == 0;
    if (trusts) { keys += sizeof trusted - 1; }
    if (with) { key_read(keys, "server", &server), key_read(keys, "client", &client); }
    (void)snprintf(allowed.name, sizeof allowed.name, "log");
    memcpy(allowed.public_key, client.public_key, sizeof allowed.public_key);
    stoa_link_options options = {
        .listen = listens, .frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES, .trusted = trusts};
    if (with) {
        options.secret_key = listens ? server.secret_key : client.secret_key;
        options.public_key = listens ? NULL : client.public_key;
        options.server_key = listens ? NULL : server.public_key;
        options.allowed = listens ? &allowed : NULL;
        options.allowed_count = listens;
    }
    must(address, stoa_link_open(address, &options, &link_to));
}

/* More than at the last start, also within one second. */
static stoa_log_options options_of(void)
{
    struct timespec wall;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    return (stoa_log_options){.journal = journal,
                              .incarnation = (uint64_t)wall.tv_sec * 1000000000 + (uint64_t)wall.tv_nsec,
                              .ring_bytes = RING_BYTES,
                              .frame_limit = FRAME_LIMIT};
}

/* --- what it does */

static void say_done(const stoa_log_out_view *view)
{
    stoa_ship_view how;
    stoa_link_traits traits;
    stoa_link_counts counts;
    stoa_ship_look(ship, &how);
    stoa_link_describe(link_to, &traits);
    link_to->ops->counts(link_to, &counts);
    printf("done %" PRIu64 " %" PRIu64 " %" PRIu64 " puts %" PRIu64 " frames %" PRIu64 " written %" PRIu64 " framed %" PRIu64
           " writes_memory %d\n",
           view->copy.last, view->copy.snapshot, how.counts.resumes, how.counts.puts, how.counts.frames, counts.written_bytes,
           counts.framed_bytes, traits.writes_memory);
}

static void say_at(uint64_t at, uint64_t all)
{
    static uint64_t said;
    if (at < said + all / 10) { return; }
    said = at;
    printf("at %" PRIu64 "\n", at);
    (void)fflush(stdout);
}

static int run_log(const char *address, const char *path, uint64_t last, const char *keys)
{
    stoa_log_out *log;
    stoa_log_out_view view = {0};
    must(path, stoa_journal_rocksdb.open(path, &journal));
    stoa_log_options options = options_of();
    must("log", stoa_log_out_new(&options, &log));
    ship = stoa_log_out_ship(log);
    link_begin(address, false, keys);
    snapshot_if_due(last);
    while (!ends && (view.copy.last < last || view.copy.snapshot < last)) {
        for (int i = 0; i < 8 && last_of() < last && last_of() < view.copy.last + AHEAD; i++) {
            append_one(i == 7);
            if (last_of() == last || last_of() % SNAPSHOT_EVERY == 0) { snapshot_if_due(last); }
        }
        must("sync", journal->ops->sync(journal));
        link_poll();
        uint64_t next_ns = stoa_log_out_step(log, last_of(), now_ns());
        stoa_log_out_look(log, &view);
        if (view.err) { fail("shipping", view.err); }
        say_at(view.copy.last, last);
        if (last_of() >= last || last_of() >= view.copy.last + AHEAD) { link_sleep(next_ns); }
    }
    say_done(&view);
    stoa_ship_down(ship);
    link_to->ops->close(link_to, 0);
    stoa_log_out_free(log);
    journal->ops->close(journal);
    return 0;
}

static int run_copy(const char *address, const char *path, const char *keys)
{
    stoa_log_in *log;
    stoa_log_in_view view;
    must(path, stoa_journal_rocksdb.open(path, &journal));
    stoa_log_options options = options_of();
    must("copy", stoa_log_in_new(&options, &log));
    ship = stoa_log_in_ship(log);
    link_begin(address, true, keys);
    printf("listening %s\n", link_to->ops->address(link_to));
    (void)fflush(stdout);
    while (!ends) {
        link_poll();
        link_sleep(stoa_log_in_step(log, now_ns()));
        stoa_log_in_look(log, &view);
        if (view.at.refused) { fail("the copy", view.at.refused); }
    }
    stoa_log_in_look(log, &view);
    printf("copy %" PRIu64 " %" PRIu64 "\n", view.at.last, view.at.snapshot);
    stoa_ship_down(ship);
    link_to->ops->close(link_to, 0);
    stoa_log_in_free(log);
    journal->ops->close(journal);
    return 0;
}

/* --- looking at both */

typedef struct digest {
    stoa_hash256 hash;
    uint64_t blocks;
} digest;

static stoa_err digest_add(void *context, const void *bytes, size_t size_bytes)
{
    digest *d = context;
    stoa_hash256 hash;
    stoa_hash256_parts(&hash, &d->hash, sizeof d->hash, bytes, size_bytes);
    d->hash = hash;
    d->blocks++;
    return STOA_OK;
}

static uint64_t digest_of(const char *path, digest *out, stoa_journal_state *state_out, stoa_snapshot_info *info_out)
{
    uint64_t verified;
    stoa_snapshot *snapshot = NULL;
    *out = (digest){0};
    *info_out = (stoa_snapshot_info){0};
    must(path, stoa_journal_rocksdb.open(path, &journal));
    must("verify", stoa_journal_verify(journal, &verified));
    must("read", journal->ops->read_stored(journal, 1, digest_add, out));
    journal->ops->state(journal, state_out);
    if (stoa_snapshot_open(journal, UINT64_MAX, &snapshot) == STOA_OK) {
        *info_out = *stoa_snapshot_look(snapshot);
        must("stands", stoa_snapshot_stands(journal, info_out));
        must("prove", stoa_snapshot_prove(journal, info_out));
        stoa_snapshot_close(snapshot);
    }
    journal->ops->close(journal);
    return verified;
}

static int run_check(const char *log, const char *copy)
{
    digest a, b;
    stoa_journal_state at_a, at_b;
    stoa_snapshot_info of_a, of_b;
    uint64_t verified = digest_of(log, &a, &at_a, &of_a);
    if (digest_of(copy, &b, &at_b, &of_b) != verified) { return printf("different length\n"), 1; }
    if (memcmp(&a, &b, sizeof a) != 0 || memcmp(&at_a.hash, &at_b.hash, sizeof at_a.hash) != 0) { return printf("different blocks\n"), 1; }
    if (of_a.position != of_b.position || memcmp(&of_a.hash, &of_b.hash, sizeof of_a.hash) != 0) { return printf("different snapshots\n"), 1; }
    printf("same %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", verified, of_b.position, b.blocks);
    return 0;
}

static int run_keys(const char *folder)
{
    static const char *const names[] = {"server", "client"};
    for (unsigned i = 0; i < 2; i++) {
        char path[4096];
        stoa_key_pair pair;
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        must("key", stoa_key_new(&pair));
        must(path, stoa_key_save(path, &pair));
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_term};
    (void)sigaction(SIGTERM, &action, NULL);
    stoa_log_level_set(STOA_LOG_ERROR);
    if (argc == 6 && strcmp(argv[1], "log") == 0) { return run_log(argv[2], argv[3], strtoull(argv[4], NULL, 10), argv[5]); }
    if (argc == 5 && strcmp(argv[1], "copy") == 0) { return run_copy(argv[2], argv[3], argv[4]); }
    if (argc == 4 && strcmp(argv[1], "check") == 0) { return run_check(argv[2], argv[3]); }
    if (argc == 3 && strcmp(argv[1], "keys") == 0) { return run_keys(argv[2]); }
    (void)fprintf(stderr, "usage: ship_driver log|copy|check|keys ...\n");
    return 2;
}
