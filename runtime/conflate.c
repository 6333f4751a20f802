/* conflate.c - one waiting message a key: the index of what waits, and how two messages become one.
 *
 * The index is a table of open addressing, twice as large as the mailbox, made with the actor: row and key to the last message of
 * them that waits. It is found by the functions of the kind alone, so nothing is kept in messages. A message that cannot be
 * merged ends a stretch: entries of earlier stretches still find their message when it leaves, but nothing is merged with it any
 * more.
 *
 * Payloads of published messages are shared. Where the newer one replaces the older one, the waiting message refers to the newer
 * payload from then on; where the two must be merged, into a copy of the older one that nobody else has (a published message
 * with one reader), which is made once and merged into again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>

#include "base/hash.h"
#include "runtime/internal.h"
#include "runtime/mailbox.h"

typedef struct entry {
    uint64_t key;
    stoa_msg *msg; /* NULL: empty */
    uint64_t stretch;
} entry;

struct stoa_conflating {
    uint64_t stretch;
    uint32_t mask, pad_;
    size_t bytes;
    entry at[];
};

stoa_err stoa_conflating_new(stoa_core *core, stoa_actor *actor)
{
    uint32_t size = 2;
    if (!actor->kind->conflate.key) { return STOA_OK; }
    stoa_actor_more *more = stoa_more(core, actor);
    while (more && size < actor->limit * UINT64_C(2)) { size *= 2; }
    size_t bytes = sizeof(struct stoa_conflating) + size * sizeof(entry);
    void *at = more ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : MAP_FAILED;
    if (at == MAP_FAILED) { return STOA_E_NOMEM; }
    more->conflating = at;
    more->conflating->mask = size - 1;
    more->conflating->bytes = bytes;
    return STOA_OK;
}

void stoa_conflating_free(stoa_actor *actor)
{
    struct stoa_conflating *all = actor->more ? actor->more->conflating : NULL;
    if (!all) { return; }
    (void)munmap(all, all->bytes);
    actor->more->conflating = NULL;
}

/* --- the index */

static uint32_t home_of(const struct stoa_conflating *all, const stoa_row *row, uint64_t key)
{
    return (uint32_t)stoa_mix64(key + row->id * UINT64_C(0x9e3779b97f4a7c15)) & all->mask;
}

/* The entry of row and key, or the empty one that ends the search. */
static uint32_t find(const struct stoa_conflating *all, const stoa_row *row, uint64_t key)
{
    uint32_t i = home_of(all, row, key);
    while (all->at[i].msg && !(all->at[i].key == key && all->at[i].msg->row == row)) { i = (i + 1) & all->mask; }
    return i;
}

/* What follows is shifted back (Knuth, The Art of Computer Programming 3, algorithm 6.4R). */
static void take_out(struct stoa_conflating *all, uint32_t hole)
{
    for (uint32_t i = (hole + 1) & all->mask; all->at[i].msg; i = (i + 1) & all->mask) {
        uint32_t home = home_of(all, all->at[i].msg->row, all->at[i].key);
        if (((i - home) & all->mask) < ((i - hole) & all->mask)) { continue; } /* its search does not pass the hole */
        all->at[hole] = all->at[i];
        hole = i;
    }
    all->at[hole].msg = NULL;
}

static uint64_t key_of(const stoa_actor *actor, stoa_msg *msg)
{
    return stoa_msg_may_be_dropped(msg) ? actor->kind->conflate.key(msg->row, stoa_msg_payload(msg)) : 0;
}

void stoa_conflating_in(stoa_actor *actor, stoa_msg *msg)
{
    if (msg->flags & STOA_MSG_URGENT) { return; }
    struct stoa_conflating *all = actor->more->conflating;
    uint64_t key = key_of(actor, msg);
    if (key) {
        all->at[find(all, msg->row, key)] = (entry){key, msg, all->stretch};
    } else {
        all->stretch++;
    }
}

void stoa_conflating_out(stoa_actor *actor, stoa_msg *msg)
{
    if (msg->flags & STOA_MSG_URGENT) { return; }
    struct stoa_conflating *all = actor->more->conflating;
    uint64_t key = key_of(actor, msg);
    uint32_t i = key ? find(all, msg->row, key) : 0;
    if (key && all->at[i].msg == msg) { take_out(all, i); }
}

static stoa_msg *waiting(const stoa_actor *actor, const stoa_row *row, uint64_t key)
{
    const struct stoa_conflating *all = actor->more->conflating;
    if (!key || actor->queued - actor->urgent <= actor->kind->conflate.above) { return NULL; }
    const entry *e = &all->at[find(all, row, key)];
    return e->msg && e->stretch == all->stretch ? e->msg : NULL;
}

uint64_t stoa_conflating_key(const stoa_actor *actor, const stoa_row *row, const void *payload)
{
    return (actor->flags & STOA_ACTOR_CONFLATES) ? actor->kind->conflate.key(row, payload) : 0;
}

/* --- merging */

static stoa_topic *topic_of(stoa_msg *lent)
{
    return stoa_msg_context(stoa_msg_lent(lent)->held)->topic;
}

/* Only what came the same way becomes one. */
static bool alike(stoa_msg *a, stoa_msg *b)
{
    uint32_t way = STOA_MSG_CONTEXT | STOA_MSG_LENT | STOA_MSG_TOLD;
    if ((a->flags & way) != (b->flags & way)) { return false; }
    return !(a->flags & STOA_MSG_LENT) || topic_of(a) == topic_of(b);
}

/* Whether the waiting lent message is the only reader of a payload that was published here, now and later. */
static bool is_own(const stoa_core *core, stoa_msg *lent)
{
    stoa_msg *held = stoa_msg_lent(lent)->held;
    if (held != stoa_msg_lent(lent)->holder || held->home != core->place.index || stoa_msg_context(held)->lent != 1) { return false; }
    /* acquire: the other places' reads came before they let go */
    return atomic_load_explicit(&stoa_msg_context(held)->holders, memory_order_acquire) == 1;
}

/* Give the waiting lent message a copy of its own to refer to. */
static bool make_own(stoa_core *core, stoa_msg *lent)
{
    if (is_own(core, lent)) { return true; }
    stoa_msg *held = stoa_msg_lent(lent)->held;
    stoa_msg *copy = stoa_slab_new(&core->place.slab, held->size_bytes, STOA_MSG_CONTEXT | STOA_MSG_TOPIC);
    if (!copy) { return false; }
    copy->to = held->to;
    copy->from = held->from;
    copy->row = held->row;
    stoa_msg_context(copy)->topic = stoa_msg_context(held)->topic;
    stoa_topic_takes_off(stoa_msg_context(copy)->topic);
    stoa_msg_context(copy)->command = stoa_msg_context(held)->command;
    stoa_msg_context(copy)->lent = 1;
    atomic_store_explicit(&stoa_msg_context(copy)->holders, 1, memory_order_relaxed);
    memcpy(stoa_msg_body(copy), stoa_msg_body(held), held->size_bytes);
    stoa_fan_let_go(&core->place, lent);
    *stoa_msg_lent(lent) = (stoa_lent){.held = copy, .holder = copy};
    return true;
}

static bool merge_payloads(stoa_core *core, const stoa_actor *actor, stoa_msg *older, stoa_msg *newer)
{
    bool (*merge)(const stoa_row *row, void *older, const void *newer) = actor->kind->conflate.merge;
    if (older->flags & STOA_MSG_LENT) {
        if (merge) { return make_own(core, older) && merge(older->row, stoa_msg_body(stoa_msg_lent(older)->held), stoa_msg_payload(newer)); }
        stoa_lent before = *stoa_msg_lent(older);
        *stoa_msg_lent(older) = *stoa_msg_lent(newer);
        *stoa_msg_lent(newer) = before; /* let go with the newer message */
        return true;
    }
    if (merge) { return merge(older->row, stoa_msg_body(older), stoa_msg_payload(newer)); }
    memcpy(stoa_msg_body(older), stoa_msg_body(newer), older->size_bytes);
    return true;
}

bool stoa_conflating_merge(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    uint64_t key = (msg->flags & STOA_MSG_URGENT) ? 0 : key_of(actor, msg);
    stoa_msg *older = waiting(actor, msg->row, key);
    if (!older || !alike(older, msg) || !merge_payloads(core, actor, older, msg)) { return false; }
    STOA_ASSERT(key_of(actor, older) == key); /* a merge that changes the key is a broken kind */
    older->from = msg->from;
    if (older->flags & STOA_MSG_CONTEXT) {
        *stoa_msg_context(older) = *stoa_msg_context(msg);
        older->flags = (uint16_t)((older->flags & ~STOA_MSG_DUE) | (msg->flags & STOA_MSG_DUE));
    }
    if (msg->flags & (STOA_MSG_MARKED | STOA_MSG_LENT)) { (void)stoa_trace_without_turn(core, msg, msg->to, STOA_OK); }
    core->conflated++;
    actor->more->conflated++;
    stoa_place_free(&core->place, msg);
    return true;
}
