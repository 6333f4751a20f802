/* distant_fuzz.c - goal: whatever a node that may speak for a shard sends as channel frames, ours refuses it by name or goes on,
 * and its log stays one that can be replayed. Method: a simulated node with a shard that mails to the distant one; an input is
 * cut into frames, of which each bears the right version and names, so that what is behind them is looked at.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "runtime/distant_internal.h"
#include "runtime/sim.h"
#include "storage/sim/journal.h"
#include "tests/sim/purse.h"

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_port *port;
    stoa_shard *shard;
    stoa_distant *distant;
    stoa_ref purse;
} world;

static stoa_text62 text(const char *from)
{
    stoa_text62 out = {0};
    STOA_ASSERT(STOA_TEXT_SETZ(&out, from) == STOA_OK);
    return out;
}

static void open_world(world *w)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    stoa_sim_disk *disk;
    purse_linked linked;
    STOA_ASSERT(stoa_sim_disk_get("here", 1, &disk) == STOA_OK);
    STOA_ASSERT(stoa_sim_new(&(stoa_sim_options){.seed = 1, .cores = 1, .kinds = kinds, .memory_bytes = 32 << 20}, &w->sim, &w->node) == STOA_OK);
    stoa_shard_options options = {.name = "here", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:here"};
    STOA_ASSERT(stoa_shard_open(w->node, &options, &w->shard) == STOA_OK);
    STOA_ASSERT(stoa_spawn(w->node, &purse_kind, "purse/a", &(stoa_spawn_options){.shard = w->shard}, &w->purse) == STOA_OK);
    purse_link link = {.index = 0, .sibling = 1, .next = text("there:purse/b")};
    STOA_ASSERT(purse_call_link(w->node, w->purse, link, STOA_S(1), &linked) == STOA_OK);
    STOA_ASSERT(stoa_port_open(w->node, "nodes", &w->port) == STOA_OK);
    STOA_ASSERT(stoa_distant_open(w->port, "there", &w->distant) == STOA_OK);
    STOA_ASSERT(stoa_distant_again(w->distant) == STOA_OK);
    for (uint64_t i = 0; i < 4; i++) {
        (void)purse_post_push(w->node, w->purse, (purse_push){.amount = 1 + i, .to = text("there:purse/b")});
    }
    stoa_sim_run(w->sim, STOA_MS(20));
}

static void heard(void *context, const stoa_delivery *delivery)
{
    uint8_t bytes[STOA_DISTANT_FRAME_MAX];
    stoa_distant *to;
    uint32_t used;
    (void)context;
    (void)stoa_distant_frame(delivery, bytes, &to, &used);
}

static void offer(world *w, const uint8_t *data, size_t size)
{
    uint8_t bytes[STOA_DISTANT_FRAME_MAX] = {0};
    stoa_distant_head head = {0};
    memcpy(&head, data, size < sizeof head ? size : sizeof head);
    head.version = 1;
    (void)STOA_TEXT_SETZ(&head.from, "there");
    (void)STOA_TEXT_SETZ(&head.to, "here");
    memcpy(bytes, &head, sizeof head);
    uint32_t used = (uint32_t)(size < sizeof head ? sizeof head : size);
    if (size > sizeof head) { memcpy(bytes + sizeof head, data + sizeof head, size - sizeof head); }
    stoa_distant *const from[] = {w->distant};
    (void)stoa_distant_take(w->port, from, 1, bytes, used);
    stoa_port_flush(w->port);
    stoa_sim_run(w->sim, STOA_MS(10));
    (void)stoa_port_poll(w->port, heard, NULL, 64);
}

static void check_log(world *w)
{
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    STOA_ASSERT(stoa_sim_settle(w->sim, 1000000) == STOA_OK);
    STOA_ASSERT(stoa_shard_look(w->shard, &live) == STOA_OK);
    STOA_ASSERT(stoa_shard_replay(w->shard, live.applied, &hash, &events) == STOA_OK);
    STOA_ASSERT(events == live.applied && hash == live.hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world w = {0};
    stoa_log_level_set(STOA_LOG_OFF);
    open_world(&w);
    for (uint32_t frames = 0; size > 2 && frames < 16; frames++) {
        size_t bytes = ((size_t)data[0] << 8 | data[1]) % (STOA_DISTANT_FRAME_MAX + 1);
        data += 2;
        size -= 2;
        if (bytes > size) { bytes = size; }
        offer(&w, data, bytes);
        data += bytes;
        size -= bytes;
    }
    check_log(&w);
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
    return 0;
}
