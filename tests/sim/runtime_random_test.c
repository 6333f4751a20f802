/* runtime_random_test.c - goal: whatever actors do and whatever goes wrong, the runtime keeps its promises. Method: plain
 * actors (rovers, and the pups they spawn) and event-sourced ones (vaults, in shards) over up to STOA_CORES_MAX cores do
 * random things - send, ask, forward, publish, fan out, arm and cancel timers, spawn, stop, link, monitor, refuse, fail,
 * exit - under all faults of the simulator, over several lives of the process. The test keeps books of every message, ask and timer from what the simulator tells, and compares:
 *
 *   - what was acknowledged is in the states after every crash, once; nothing is there twice
 *   - between two actors order is kept, and no message is handled twice
 *   - an ask is answered at most once; exactly once where its asker did not fail meanwhile
 *   - who monitors an actor hears of its end once; at the latest when it is gone
 *   - a timer never fires early, nor twice, nor after its actor failed, and fires where nothing stood in its way
 *   - every message of a turn that took effect ended: handled, refused, or a dead letter; one of a turn that did not, never was
 *   - the counters of cores agree with the books; the states are what the journals say
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/random.h"
#include "runtime/kit.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

enum { ROVERS = 9, VAULTS = 6, SHARDS = 3, ACTORS = ROVERS + VAULTS, ENTRIES_MAX = 1 << 16, PUTS_MAX = 1 << 13, LIVES = 3 };
enum { STAGED_MAX = 64, PENDING_MAX = 4, WATCHES_MAX = 1 << 14 };
#define DEADLINE_MAX STOA_MS(200)

/* --- the tables */

#define rover_hop_FIELDS(F, S)   F(S, uint64_t, id) F(S, uint64_t, from) F(S, uint64_t, ttl)
#define rover_note_FIELDS(F, S)  F(S, uint64_t, id) F(S, uint64_t, from)
#define rover_query_FIELDS(F, S) F(S, uint64_t, id) F(S, uint64_t, from)
#define rover_tick_FIELDS(F, S)  F(S, uint64_t, id) F(S, uint64_t, due_ns)
#define rover_told_FIELDS(F, S)  F(S, uint64_t, id)
#define rover_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, hop, _, "From rover to rover, and on while ttl lasts.")                                               \
    ROW(K, CAST, note, _, "From a vault.")                                                                             \
    ROW(K, COMMAND, query, told, "Asked by rovers and vaults.")                                                        \
    ROW(K, CAST, tick, _, "A timer.")                                                                                  \
    ROW(K, REPLY, told, _, "The query's id.")
STOA_TABLE(rover)
STOA_TABLE_DEFINE(rover)

#define vault_put_FIELDS(F, S)     F(S, uint64_t, id) F(S, uint64_t, from) F(S, stoa_id, put) F(S, uint64_t, pass_on)
#define vault_poke_FIELDS(F, S)    F(S, uint64_t, id) F(S, uint64_t, from)
#define vault_share_FIELDS(F, S)   F(S, stoa_id, put)
#define vault_tick_FIELDS(F, S)    F(S, uint64_t, id) F(S, uint64_t, due_ns)
#define vault_stored_FIELDS(F, S)  F(S, stoa_id, put)
#define vault_kept_FIELDS(F, S)    F(S, stoa_id, put)
#define vault_learned_FIELDS(F, S) F(S, uint64_t, id)
#define vault_grown_FIELDS(F, S)   F(S, uint64_t, id) F(S, uint64_t, from)
#define vault_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, put, stored, "Keep a number, here or at a neighbour of the shard.")                                \
    ROW(K, CAST, poke, _, "Ask a rover, write to one, publish.")                                                       \
    ROW(K, CAST, share, _, "Keep it for a neighbour and answer its asker.")                                            \
    ROW(K, CAST, tick, _, "A timer.")                                                                                  \
    ROW(K, REPLY, stored, _, "The number.")                                                                            \
    ROW(K, EVENT, kept, _, "A number was kept.")                                                                       \
    ROW(K, EVENT, learned, _, "A rover told something.")                                                               \
    ROW(K, TOPIC, grown, _, "Something happened at a vault.")
STOA_TABLE(vault)
STOA_TABLE_DEFINE(vault)

#define pup_do_FIELDS(F, S) F(S, uint64_t, id) F(S, uint64_t, what)
#define pup_ROWS(ROW, K)    ROW(K, CAST, do, _, "End, fail, or nothing.")
STOA_TABLE(pup)
STOA_TABLE_DEFINE(pup)

/* --- the books */

typedef enum entry_class { CAST = 1, ASK, TIMER } entry_class;
typedef struct entry {
    uint8_t cls, turns, dead, answers;
    bool committed;
    bool cancelled; /* a timer: by a turn that took effect */
    bool in_time;   /* and before it was due: it must not fire */
    uint8_t life;
    uint8_t owner; /* the sender; a timer's actor */
    uint32_t incarnation;
    uint64_t put, due_ns;
} entry;

typedef struct watch {
    uint64_t id;
    stoa_ref whom;
    uint32_t incarnation; /* of the watcher */
    uint8_t owner, life, downs;
    bool committed;
} watch;

static struct books {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shards[SHARDS];
    stoa_ref actors[ACTORS]; /* rovers, then vaults */
    uint32_t incarnations[ACTORS];
    uint64_t last[ACTORS][ACTORS], heard[ACTORS][ACTORS]; /* [from][to]: ids handled */
    entry *entries;
    watch *watches;
    uint32_t watch_count, watch_staged; /* 1 + index of the one that the turn made; 0: none */
    uint64_t used, puts, staged[STAGED_MAX];
    uint32_t staged_count;
    uint8_t acked[PUTS_MAX];
    uint32_t durable_shards, life;
    uint64_t dead_letters, turns;
    bool quiet;
} b;

static unsigned slot_of(const char *name)
{
    unsigned number = (unsigned)atoi(strchr(name, '/') + 1);
    return name[0] == 'r' ? number : ROVERS + number;
}

/* A new entry, of the turn that runs; 0: the books are full, send nothing. */
static uint64_t enter(entry_class cls, unsigned owner)
{
    if (b.used + 1 == ENTRIES_MAX || b.staged_count == STAGED_MAX || b.quiet) { return 0; }
    uint64_t id = ++b.used;
    b.entries[id] = (entry){.cls = (uint8_t)cls, .life = (uint8_t)b.life, .owner = (uint8_t)owner,
                            .incarnation = b.incarnations[owner]};
    b.staged[b.staged_count++] = id;
    return id;
}

/* The runtime did not take it: it never was. */
static void strike_out(uint64_t id)
{
    assert_int_equal(b.staged[b.staged_count - 1], id);
    b.staged_count--;
}

static void in_order(uint64_t (*last)[ACTORS], uint64_t from, unsigned to, uint64_t id)
{
    assert_true(from < ACTORS);
    if (id <= last[from][to]) { fail_msg("%u got %llu from %llu behind %llu", to, (unsigned long long)id,
                                         (unsigned long long)from, (unsigned long long)last[from][to]); }
    last[from][to] = id;
}

/* --- what actors do at random */

static uint64_t below(stoa_turn *turn, uint64_t n)
{
    return stoa_turn_random(turn) % n;
}

typedef struct vault {
    uint64_t bits[PUTS_MAX / 64];
    uint64_t doubles, learned;
} vault;
#define vault_HEARS(HEAR, K) HEAR(K, rover, told)
static stoa_err vault_resume(stoa_turn *turn, const void *state);
STOA_KIND(vault, .mailbox_limit = 48, .resume = vault_resume)

typedef struct rover {
    uint64_t slot;
    uint64_t seen;
    stoa_timer timers[PENDING_MAX];
    uint64_t timer_ids[PENDING_MAX];
    uint64_t last_ask;
    stoa_ref pups[PENDING_MAX];
} rover;
typedef struct rover_args {
    uint64_t slot;
} rover_args;
#define rover_HEARS(HEAR, K)                                                                                           \
    HEAR(K, rover, told) HEAR(K, vault, stored) HEAR(K, vault, grown) HEAR(K, stoa_system, down)
static stoa_err rover_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(rover, .mailbox_limit = 24, .start = rover_start, .args_bytes = sizeof(rover_args),
                .supervision = {.strategy = STOA_REST_FOR_ONE, .restarts = 20, .per_ms = 1000, .backoff_max_ms = 20})

typedef struct pup {
    uint64_t done;
} pup;
#define pup_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(pup, .mailbox_limit = 8)

static void send_hop(stoa_turn *turn, unsigned me, uint64_t ttl)
{
    uint64_t id = enter(CAST, me);
    if (id && rover_send_hop(turn, b.actors[below(turn, ROVERS)], (rover_hop){id, me, ttl})) { strike_out(id); }
}

static void send_poke(stoa_turn *turn, unsigned me)
{
    uint64_t id = enter(CAST, me);
    if (id && vault_send_poke(turn, b.actors[ROVERS + below(turn, VAULTS)], (vault_poke){id, me})) { strike_out(id); }
}

static uint64_t ask_rover(stoa_turn *turn, unsigned me)
{
    uint64_t id = enter(ASK, me), deadline_ns = 1 + below(turn, DEADLINE_MAX);
    stoa_ref to = b.actors[below(turn, ROVERS)];
    if (id && rover_ask_query(turn, to, (rover_query){id, me}, deadline_ns, id)) {
        strike_out(id);
        id = 0;
    }
    return id;
}

static void ask_vault(stoa_turn *turn, unsigned me)
{
    if (b.puts + 1 == PUTS_MAX) { return; }
    uint64_t id = enter(ASK, me), deadline_ns = 1 + below(turn, DEADLINE_MAX);
    vault_put put = {id, me, b.puts + 1, below(turn, 3) == 0};
    if (!id) { return; }
    b.entries[id].put = ++b.puts;
    if (vault_ask_put(turn, b.actors[ROVERS + below(turn, VAULTS)], put, deadline_ns, id)) { strike_out(id); }
}

static void arm_timer(stoa_turn *turn, rover *self)
{
    unsigned at = (unsigned)below(turn, PENDING_MAX), me = (unsigned)self->slot;
    uint64_t id = enter(TIMER, me), delay_ns = below(turn, STOA_MS(30));
    if (!id) { return; }
    if (rover_after_tick(turn, delay_ns, (rover_tick){id, turn->now_ns + delay_ns}, &self->timers[at])) {
        strike_out(id);
        self->timer_ids[at] = 0;
        self->timers[at].at = 0;
        return;
    }
    b.entries[id].due_ns = turn->now_ns + delay_ns;
    self->timer_ids[at] = id;
}

static uint64_t cancelling, cancelling_ask; /* in the turn that runs: 0: none */

static void cancel_timer(stoa_turn *turn, rover *self)
{
    unsigned at = (unsigned)below(turn, PENDING_MAX);
    if (!self->timer_ids[at] || cancelling) { return; }
    stoa_turn_cancel(turn, self->timers[at]);
    cancelling = self->timer_ids[at];
    b.entries[cancelling].in_time = b.entries[cancelling].due_ns > turn->now_ns;
    self->timer_ids[at] = 0;
}

static void send_pup(stoa_turn *turn, unsigned me, stoa_ref to)
{
    uint64_t id = enter(CAST, me);
    if (id && pup_send_do(turn, to, (pup_do){id, below(turn, 8)})) { strike_out(id); }
}

static void watch_pup(stoa_turn *turn, unsigned me, stoa_ref whom)
{
    if (b.watch_count + 1 == WATCHES_MAX || b.watch_staged) { return; }
    uint64_t id = stoa_turn_monitor(turn, whom);
    if (!id) { return; }
    b.watches[b.watch_count++] = (watch){.id = id, .whom = whom, .owner = (uint8_t)me, .life = (uint8_t)b.life,
                                         .incarnation = b.incarnations[me]};
    b.watch_staged = b.watch_count;
}

static void raise_pup(stoa_turn *turn, rover *self)
{
    stoa_ref *at = &self->pups[below(turn, PENDING_MAX)], ref;
    stoa_child child = {.restart = (stoa_restart)below(turn, 3), .shutdown_ms = (uint32_t)below(turn, 2) * 5};
    if (at->at) { (void)stoa_turn_stop(turn, *at, NULL); }
    *at = STOA_REF_NONE;
    if (stoa_turn_spawn(turn, &pup_kind, &child, &ref)) { return; }
    *at = ref;
    send_pup(turn, (unsigned)self->slot, ref);
    watch_pup(turn, (unsigned)self->slot, ref);
}

static stoa_err act(stoa_turn *turn, rover *self)
{
    unsigned me = (unsigned)self->slot;
    uint64_t what = below(turn, 64);
    if (b.quiet) { return STOA_OK; }
    if (what < 14) { send_hop(turn, me, below(turn, 3)); }
    if (what >= 14 && what < 20) {
        for (int i = 0; i < 12; i++) { send_hop(turn, me, 0); } /* a burst */
    }
    if (what >= 20 && what < 28) { self->last_ask = ask_rover(turn, me); }
    if (what >= 28 && what < 44) { ask_vault(turn, me); }
    if (what >= 44 && what < 50) { send_poke(turn, me); }
    if (what >= 50 && what < 56) { cancel_timer(turn, self); }
    if (what >= 56 && what < 58) { raise_pup(turn, self); }
    if (what == 58) { send_pup(turn, me, self->pups[below(turn, PENDING_MAX)]); }
    if (what == 59 && below(turn, 4) == 0) { (void)stoa_turn_link(turn, b.actors[below(turn, ROVERS)]); }
    if (what == 62 && self->last_ask) {
        stoa_turn_cancel_ask(turn, self->last_ask);
        cancelling_ask = self->last_ask;
    }
    if (what == 63) { watch_pup(turn, me, self->pups[below(turn, PENDING_MAX)]); }
    if (what == 60) { return STOA_E_INVALID; } /* refuses what it was sent */
    if (what == 61 && below(turn, 4) == 0) { return stoa_fail(turn, "at random"); }
    arm_timer(turn, self);
    return STOA_OK;
}

static stoa_err rover_start(stoa_turn *turn, void *state, const void *args)
{
    rover *self = state;
    self->slot = ((const rover_args *)args)->slot;
    stoa_err err = stoa_turn_subscribe(turn, "vault.*");
    for (int i = 0; i < 2 && !err; i++) { arm_timer(turn, self); }
    for (uint32_t i = 0; i < b.staged_count; i++) { b.entries[b.staged[i]].committed = true; }
    b.staged_count = 0;
    return err;
}

static stoa_err rover_on_hop(stoa_turn *turn, rover *self, const rover_hop *in)
{
    in_order(b.last, in->from, (unsigned)self->slot, in->id);
    self->seen++;
    if (in->ttl) { send_hop(turn, (unsigned)self->slot, in->ttl - 1); }
    return below(turn, 4) ? STOA_OK : act(turn, self);
}

static stoa_err rover_on_note(stoa_turn *turn, rover *self, const rover_note *in)
{
    in_order(b.last, in->from, (unsigned)self->slot, in->id);
    return below(turn, 4) ? STOA_OK : act(turn, self);
}

static stoa_err rover_on_query(stoa_turn *turn, rover *self, const rover_query *in, rover_told *out)
{
    in_order(b.last, in->from, (unsigned)self->slot, in->id);
    out->id = in->id;
    if (below(turn, 10) == 0) { stoa_turn_no_answer(turn); } /* its deadline answers */
    return below(turn, 8) ? STOA_OK : act(turn, self);
}

static stoa_err rover_on_tick(stoa_turn *turn, rover *self, const rover_tick *in)
{
    assert_true(turn->now_ns >= in->due_ns);
    return act(turn, self);
}

static stoa_err rover_on_rover_told(stoa_turn *turn, rover *self, const rover_told *in)
{
    assert_true(turn->error || in->id == turn->token);
    return below(turn, 4) ? STOA_OK : act(turn, self);
}

static stoa_err rover_on_vault_stored(stoa_turn *turn, rover *self, const vault_stored *in)
{
    assert_true(turn->error || in->put == b.entries[turn->token].put);
    return below(turn, 2) ? STOA_OK : act(turn, self);
}

static watch *watch_of(uint64_t id, unsigned owner)
{
    for (uint32_t i = b.watch_count; i-- && b.watches[i].life == b.life;) {
        if (b.watches[i].id == id && b.watches[i].owner == owner) { return &b.watches[i]; }
    }
    return NULL;
}

static stoa_err rover_on_stoa_system_down(stoa_turn *turn, rover *self, const stoa_system_down *in)
{
    watch *w = watch_of(in->token, (unsigned)self->slot);
    if (!w) {
        fail_msg("rover %llu heard of an end that it does not monitor", (unsigned long long)self->slot);
        return STOA_E_INVALID;
    }
    assert_true(w->committed && in->ref == w->whom.at && w->incarnation == b.incarnations[w->owner]);
    assert_int_equal(++w->downs, 1);
    return below(turn, 4) ? STOA_OK : act(turn, self);
}

static stoa_err pup_on_do(stoa_turn *turn, pup *self, const pup_do *in)
{
    self->done++;
    switch (in->what) {
    case 0: return stoa_turn_exit(turn, NULL);
    case 1: return stoa_turn_exit(turn, "of its own will");
    case 2: return stoa_fail(turn, "at random");
    default: return STOA_OK;
    }
}

static stoa_err rover_on_vault_grown(stoa_turn *turn, rover *self, const vault_grown *in)
{
    in_order(b.heard, in->from, (unsigned)self->slot, in->id);
    return below(turn, 16) ? STOA_OK : act(turn, self);
}

/* --- the vaults */

static unsigned vault_slot(const stoa_turn *turn)
{
    return ROVERS + (unsigned)atoi(stoa_turn_key(turn));
}

static void vault_arm(stoa_turn *turn)
{
    uint64_t id = enter(TIMER, vault_slot(turn)), delay_ns = below(turn, STOA_MS(40));
    if (!id) { return; }
    b.entries[id].due_ns = turn->now_ns + delay_ns;
    if (vault_after_tick(turn, delay_ns, (vault_tick){id, turn->now_ns + delay_ns}, NULL)) { strike_out(id); }
}

static stoa_err vault_resume(stoa_turn *turn, const void *state)
{
    (void)state;
    char topic[STOA_NAME_MAX];
    (void)snprintf(topic, sizeof topic, "vault.%s", stoa_turn_key(turn));
    vault_arm(turn);
    for (uint32_t i = 0; i < b.staged_count; i++) { b.entries[b.staged[i]].committed = true; }
    b.staged_count = 0;
    return stoa_turn_bind(turn, 0, topic);
}

static stoa_err vault_on_put(stoa_turn *turn, const vault *self, const vault_put *in, vault_stored *out)
{
    (void)self;
    in_order(b.last, in->from, vault_slot(turn), in->id);
    if (below(turn, 40) == 0) { return stoa_fail(turn, "at random"); }
    if (below(turn, 20) == 0) { return STOA_E_RANGE; }
    out->put = in->put;
    if (in->pass_on) {
        stoa_ref peer = stoa_turn_peer(turn, stoa_turn_stream(turn) % 2 + 1);
        return vault_forward_share(turn, peer, (vault_share){in->put});
    }
    return vault_emit_kept(turn, (vault_kept){in->put});
}

static stoa_err vault_on_share(stoa_turn *turn, const vault *self, const vault_share *in)
{
    (void)self;
    if (below(turn, 40) == 0) { return STOA_E_RANGE; }
    stoa_err err = vault_emit_kept(turn, (vault_kept){in->put});
    return err ? err : vault_answer_stored(turn, (vault_stored){in->put});
}

static stoa_err vault_on_poke(stoa_turn *turn, const vault *self, const vault_poke *in)
{
    unsigned me = vault_slot(turn);
    (void)self;
    in_order(b.last, in->from, me, in->id);
    uint64_t id = enter(CAST, me);
    if (id && rover_send_note(turn, b.actors[below(turn, ROVERS)], (rover_note){id, me})) { strike_out(id); }
    if (below(turn, 2)) { (void)ask_rover(turn, me); }
    vault_grown grown = {++b.used, me}; /* an id, without an entry: topics may be dropped */
    return b.used + 1 < ENTRIES_MAX ? vault_publish_grown(turn, 0, &grown) : STOA_OK;
}

static stoa_err vault_on_tick(stoa_turn *turn, const vault *self, const vault_tick *in)
{
    (void)self;
    assert_true(turn->now_ns >= in->due_ns);
    vault_arm(turn);
    return below(turn, 100) ? STOA_OK : stoa_fail(turn, "at random");
}

static stoa_err vault_on_rover_told(stoa_turn *turn, const vault *self, const rover_told *in)
{
    (void)self;
    return turn->error ? STOA_OK : vault_emit_learned(turn, (vault_learned){in->id});
}

static void vault_apply_kept(vault *self, const vault_kept *event)
{
    uint64_t bit = UINT64_C(1) << event->put % 64, *word = &self->bits[event->put / 64 % (PUTS_MAX / 64)];
    self->doubles += (*word & bit) != 0;
    *word |= bit;
}

static void vault_apply_learned(vault *self, const vault_learned *event)
{
    self->learned += event->id != 0;
}

/* --- keeping books of what happens */

static bool booked(const stoa_row *row)
{
    static const stoa_row *const rows[] = {
        &rover_rows[rover_ROW_hop], &rover_rows[rover_ROW_note], &rover_rows[rover_ROW_query], &rover_rows[rover_ROW_tick],
        &vault_rows[vault_ROW_put], &vault_rows[vault_ROW_poke], &vault_rows[vault_ROW_tick], &pup_rows[pup_ROW_do]};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i] == row) { return true; }
    }
    return false;
}

static entry *entry_of(const stoa_sim_event *event)
{
    uint64_t id;
    if (!event->row || !event->payload || !booked(event->row)) { return NULL; }
    memcpy(&id, event->payload, sizeof id);
    assert_true(id > 0 && id <= b.used);
    return &b.entries[id];
}

static void an_answer(const stoa_sim_event *event)
{
    entry *e = &b.entries[event->token];
    assert_int_equal(e->cls, ASK);
    assert_true(e->committed && e->life == b.life);
    assert_int_equal(++e->answers, 1);
    assert_int_equal(e->incarnation, b.incarnations[e->owner]);
    if (!event->answer_err && event->row == &vault_rows[vault_ROW_stored]) { b.acked[e->put] = 1; }
}

static void a_turn(const stoa_sim_event *event)
{
    entry *e = event->answer ? NULL : entry_of(event);
    b.turns++;
    if (event->answer) { an_answer(event); }
    if (e) {
        assert_true(e->committed && e->life == b.life);
        assert_int_equal(++e->turns, 1);
        assert_false(e->cancelled && e->in_time && stoa_sim_faulted(b.sim, STOA_SIM_MEMORY_OUT) == 0);
        assert_true(e->cls != TIMER || e->incarnation == b.incarnations[e->owner]);
    }
    for (uint32_t i = 0; i < b.staged_count; i++) { b.entries[b.staged[i]].committed = !event->err; }
    if (cancelling && !event->err) { b.entries[cancelling].cancelled = true; }
    if (cancelling_ask && !event->err) { b.entries[cancelling_ask].cancelled = true; }
    if (b.watch_staged) { b.watches[b.watch_staged - 1].committed = !event->err; }
    b.staged_count = b.watch_staged = 0;
    cancelling = cancelling_ask = 0;
}

static void observe(void *context, const stoa_sim_event *event)
{
    (void)context;
    entry *e;
    if (event->what == STOA_SIM_TURN) { a_turn(event); }
    bool known = event->what == STOA_SIM_FAILED && strchr(event->name, '/'); /* pups have no name */
    if (known) { b.incarnations[slot_of(event->name)]++; }
    if (event->what == STOA_SIM_DEAD_LETTER) {
        b.dead_letters++;
        e = entry_of(event);
        if (e) { assert_int_equal(++e->dead, 1); }
    }
}

/* --- the stage */

static const stoa_kind *const kinds[] = {&vault_kind, NULL};

static void disk_name(uint32_t shard, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "random-%u", shard);
}

static void open_process(void)
{
    uint32_t cores = stoa_core_count(b.node);
    b.dead_letters = b.turns = 0;
    b.quiet = true; /* the actors there are do nothing before all are there */
    for (uint32_t i = 0; i < SHARDS; i++) {
        char name[24], path[32], actor[24];
        disk_name(i, name, sizeof name);
        (void)snprintf(path, sizeof path, "sim:%s", name);
        stoa_shard_options options = {.name = name, .core = (i * 5 + 1) % cores, .durability = stoa_durability_DISK,
                                      .journal = &stoa_journal_sim, .path = path};
        assert_int_equal(stoa_shard_open(b.node, &options, &b.shards[i]), STOA_OK);
        for (uint32_t k = 0; k < VAULTS / SHARDS; k++) {
            uint32_t number = i * (VAULTS / SHARDS) + k;
            (void)snprintf(actor, sizeof actor, "vault/%u", number);
            assert_int_equal(stoa_spawn(b.node, &vault_kind, actor, &(stoa_spawn_options){.shard = b.shards[i]},
                                        &b.actors[ROVERS + number]), STOA_OK);
        }
    }
    b.quiet = false;
    for (uint32_t i = 0; i < ROVERS; i++) {
        char actor[24];
        rover_args args = {i};
        (void)snprintf(actor, sizeof actor, "rover/%u", i);
        stoa_spawn_options options = {.core = i % cores, .args = &args};
        assert_int_equal(stoa_spawn(b.node, &rover_kind, actor, &options, &b.actors[i]), STOA_OK);
    }
}

static void crash(bool power)
{
    char name[24];
    stoa_sim_disk *disk;
    stoa_sim_faults(b.sim, NULL);
    for (uint32_t i = 0; i < SHARDS && power; i++) {
        disk_name(i, name, sizeof name);
        assert_int_equal(stoa_sim_disk_get(name, 0, &disk), STOA_OK);
        stoa_sim_disk_crash(disk);
    }
    assert_int_equal(stoa_sim_crash(b.sim, &b.node), STOA_OK);
    b.life++;
    b.staged_count = b.watch_staged = 0;
    cancelling = cancelling_ask = 0;
    memset(b.incarnations, 0, sizeof b.incarnations);
    open_process();
}

/* --- comparing */

static void check_states(void)
{
    const vault *vaults[VAULTS];
    for (uint32_t i = 0; i < VAULTS; i++) {
        vaults[i] = stoa_sim_state(b.sim, b.actors[ROVERS + i], NULL);
        assert_non_null(vaults[i]);
        assert_int_equal(vaults[i]->doubles, 0);
    }
    for (uint64_t put = 1; put <= b.puts; put++) {
        uint64_t kept = 0;
        for (uint32_t i = 0; i < VAULTS; i++) { kept += (vaults[i]->bits[put / 64] >> (put % 64)) & 1; }
        if (kept > 1 || kept < b.acked[put]) {
            fail_msg("put %llu, acknowledged %d, is kept %llu times", (unsigned long long)put, b.acked[put],
                     (unsigned long long)kept);
        }
    }
}

static void check_entry(uint64_t id, const entry *e)
{
    bool same = e->incarnation == b.incarnations[e->owner];
    bool ended = e->cls == CAST ? e->turns + e->dead > 0 : e->cls == ASK ? e->answers == 1 || e->cancelled || !same
                                                         : e->turns == 1 || e->cancelled || !same;
    if (!ended) { fail_msg("entry %llu of %u (class %u) never ended", (unsigned long long)id, e->owner, e->cls); }
}

static void check_watches(void)
{
    for (uint32_t i = 0; i < b.watch_count; i++) {
        const watch *w = &b.watches[i];
        bool counts = w->committed && w->life == b.life && w->incarnation == b.incarnations[w->owner];
        if (counts && !w->downs && !stoa_sim_state(b.sim, w->whom, NULL)) {
            fail_msg("rover %u never heard of an end (monitor %llx)", w->owner, (unsigned long long)w->id);
        }
    }
}

static void check_counters(void)
{
    uint64_t dead = 0, messages = 0;
    for (uint32_t i = 0; i < stoa_core_count(b.node); i++) {
        stoa_core_view view;
        assert_int_equal(stoa_core_look(b.node, i, &view), STOA_OK);
        assert_int_equal(view.queued, 0);
        dead += view.dead_letters;
        messages += view.messages;
    }
    assert_int_equal(dead, b.dead_letters);
    assert_true(messages >= b.turns); /* a shard counts those too that its failed actors refuse */
}

static void check_journals(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view live;
        uint64_t hash = 0, events = 0;
        assert_int_equal(stoa_shard_look(b.shards[i], &live), STOA_OK);
        assert_int_equal(live.waiting, 0);
        assert_int_equal(stoa_shard_replay(b.shards[i], live.applied, &hash, &events), STOA_OK);
        assert_int_equal(events, live.applied);
        assert_true(hash == live.hash);
        stoa_sim_fold(b.sim, hash);
    }
}

/* No more faults, nothing new: what is under way ends, and then the books must be even. */
static void come_to_rest(void)
{
    stoa_sim_faults(b.sim, NULL);
    b.quiet = true;
    stoa_sim_run(b.sim, STOA_S(5));
    if (stoa_sim_dead(b.sim)) { return; }
    for (uint64_t id = 1; id <= b.used; id++) {
        const entry *e = &b.entries[id];
        if (e->cls && e->committed && e->life == b.life) { check_entry(id, e); }
    }
    check_watches();
    check_counters();
    check_states();
    check_journals();
}

/* --- a run */

static stoa_sim_plan plan_of(stoa_random *chance)
{
    stoa_sim_plan plan = stoa_sim_rough;
    if (stoa_random_below(chance, 4) == 0) { memset(&plan, 0, sizeof plan); } /* nothing goes wrong but what actors do */
    for (int i = 0; i < STOA_SIM_FAULT_COUNT; i++) {
        uint32_t how = (uint32_t)stoa_random_below(chance, 4); /* none, as it is, more, much more */
        plan.per_million[i] = how ? plan.per_million[i] << ((how - 1) * 2) : 0;
    }
    if (stoa_random_below(chance, 4) == 0) { plan.per_million[STOA_SIM_KILLED] = 100; }
    if (stoa_random_below(chance, 4) == 0) { plan.per_million[STOA_SIM_DISK_BROKEN] = 5000; }
    return plan;
}

static void live(stoa_random *chance)
{
    stoa_sim_plan plan = plan_of(chance);
    stoa_sim_faults(b.sim, &plan);
    stoa_sim_run(b.sim, STOA_MS(20) + stoa_random_below(chance, STOA_MS(120)));
    if (!stoa_sim_dead(b.sim) && stoa_random_below(chance, 2)) { come_to_rest(); }
}

static uint64_t run(uint64_t seed)
{
    static const uint32_t cores[] = {1, 2, 3, 4, 8, STOA_CORES_MAX};
    entry *entries = calloc(ENTRIES_MAX, sizeof *entries);
    watch *watches = calloc(WATCHES_MAX, sizeof *watches);
    stoa_random chance;
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    stoa_random_seed(&chance, seed);
    b = (struct books){.entries = entries, .watches = watches};
    stoa_sim_disks_free();
    for (uint32_t i = 0; i < SHARDS; i++) {
        char name[24];
        stoa_sim_disk *disk;
        disk_name(i, name, sizeof name);
        assert_int_equal(stoa_sim_disk_get(name, seed + i, &disk), STOA_OK);
    }
    stoa_sim_options options = {.seed = seed,
                                .cores = cores[stoa_random_below(&chance, sizeof cores / sizeof cores[0])],
                                .kinds = kinds,
                                .memory_bytes = UINT64_C(4) << 20,
                                .observe = observe,
                                .trace = stoa_seeds_trace()};
    if (stoa_random_below(&chance, 4)) { options.snapshot_events = 50 + stoa_random_below(&chance, 1000); }
    assert_int_equal(stoa_sim_new(&options, &b.sim, &b.node), STOA_OK);
    open_process();
    for (int i = 0; i < LIVES; i++) {
        live(&chance);
        crash(stoa_random_below(&chance, 2));
        check_states();
    }
    come_to_rest();
    assert_null(stoa_sim_dead(b.sim));
    uint64_t hash = stoa_sim_hash(b.sim);
    stoa_sim_free(b.sim);
    stoa_sim_disks_free();
    free(entries);
    free(watches);
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void the_promises_hold_whatever_goes_wrong(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_promises_hold_whatever_goes_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
