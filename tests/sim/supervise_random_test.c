/* supervise_random_test.c - goal: whatever fails, exits, stops or is lost, in whatever order: trees stay whole, every permanent
 * child is there, no ask has two outcomes, no acknowledged addition is lost, and nothing that anybody held is left at the end.
 * Method: random trees of supervisors of all strategies and workers on 1 to 3 simulated cores, with links, monitors, gathers,
 * timers and memory across them, under injected faults; a client on every core adds to an event-sourced ledger meanwhile. Each
 * seed runs twice and must fold to the same hash.
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
#include "runtime/internal.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

enum { KNOWN_MAX = 512, ASKS_MAX = 4096, KIDS = 16, STEPS = 150 };

/* --- the book: what the test knows besides the actors */

static struct {
    stoa_ref known[KNOWN_MAX]; /* supervisors and workers, some of them gone */
    uint32_t count;
    uint8_t outcomes[ASKS_MAX];
    uint32_t asked, acknowledged;
    uint32_t downs, gathered, restarts, most, deaths; /* most actors alive at a time */
} book;

static void know(stoa_ref ref)
{
    if (book.count < KNOWN_MAX) { book.known[book.count++] = ref; }
}

static stoa_ref somebody(uint64_t random)
{
    return book.count ? book.known[random % book.count] : STOA_REF_NONE;
}

/* --- ledger: event-sourced */

#define ledger_add_FIELDS(F, S)   F(S, uint64_t, amount)
#define ledger_read_FIELDS        STOA_NO_FIELDS
#define ledger_total_FIELDS(F, S) F(S, uint64_t, total)
#define ledger_added_FIELDS(F, S) F(S, uint64_t, amount)
#define ledger_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, add, total, "Add.")                                                                                \
    ROW(K, COMMAND, read, total, "The total.")                                                                         \
    ROW(K, REPLY, total, _, "The total.")                                                                              \
    ROW(K, EVENT, added, _, "Added.")
STOA_TABLE(ledger)
STOA_TABLE_DEFINE(ledger)
typedef struct ledger {
    uint64_t total;
} ledger;
#define ledger_HEARS STOA_HEARS_NOTHING
STOA_KIND(ledger, .mailbox_limit = 64)
static stoa_err ledger_on_add(stoa_turn *turn, const ledger *self, const ledger_add *in, ledger_total *out)
{
    out->total = self->total + in->amount;
    return ledger_emit_added(turn, (ledger_added){in->amount});
}
static stoa_err ledger_on_read(stoa_turn *turn, const ledger *self, const ledger_read *in, ledger_total *out)
{
    (void)turn;
    (void)in;
    out->total = self->total;
    return STOA_OK;
}
static void ledger_apply_added(ledger *self, const ledger_added *event)
{
    self->total += event->amount;
}

/* --- limb: a supervisor, a worker or both */

#define limb_grow_FIELDS(F, S) F(S, uint64_t, children)
#define limb_shake_FIELDS      STOA_NO_FIELDS
#define limb_work_FIELDS       STOA_NO_FIELDS
#define limb_done_FIELDS       STOA_NO_FIELDS
#define limb_tick_FIELDS       STOA_NO_FIELDS
#define limb_ROWS(ROW, K)                                                                                              \
    ROW(K, CAST, grow, _, "Spawn so many.")                                                                            \
    ROW(K, CAST, shake, _, "Do something unexpected.")                                                                 \
    ROW(K, COMMAND, work, done, "Answer, mostly.")                                                                     \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, CAST, tick, _, "Timer.")
STOA_TABLE(limb)
STOA_TABLE_DEFINE(limb)
typedef struct limb {
    stoa_ref permanent[KIDS];
    uint64_t count, work;
} limb;
#define limb_HEARS(HEAR, K) HEAR(K, stoa_system, down) HEAR(K, stoa_system, gathered) HEAR(K, limb, done)
static stoa_err limb_begin(stoa_turn *turn, void *state, const void *args);
static stoa_err limb_stopping(stoa_turn *turn, void *state)
{
    (void)state;
    return stoa_turn_random(turn) % 4 == 0 ? STOA_E_AGAIN : STOA_OK;
}
STOA_PLAIN_KIND(limb, .mailbox_limit = 16, .start = limb_begin, .stopping = limb_stopping, .memory_quota_bytes = 2048,
                .supervision = {.restarts = 1000000, .per_ms = 1})
#define ALIKE(kind, ...)                                                                                               \
    static const stoa_kind kind = {.name = "limb", .table = &limb_table, .rows = limb_rows,                            \
                                   .rows_bytes = sizeof limb_rows, .handlers = limb_handlers_, .hears = limb_hears_,   \
                                   .state_bytes = sizeof(limb), .start = limb_begin, .stopping = limb_stopping,        \
                                   .mailbox_limit = 16, __VA_ARGS__};
ALIKE(all_kind, .supervision = {.strategy = STOA_ONE_FOR_ALL, .restarts = 1000000, .per_ms = 1})
ALIKE(rest_kind, .supervision = {.strategy = STOA_REST_FOR_ONE, .restarts = 1000000, .per_ms = 1}, .trap_exits = true)
ALIKE(slow_kind, .supervision = {.restarts = 1000000, .per_ms = 1, .backoff_min_ms = 1, .backoff_max_ms = 4, .jitter = true})
ALIKE(slow_all_kind, .supervision = {.strategy = STOA_ONE_FOR_ALL, .restarts = 1000000, .per_ms = 1, .backoff_min_ms = 1,
                                     .backoff_max_ms = 4})
ALIKE(strict_kind, .supervision = {.strategy = STOA_REST_FOR_ONE, .restarts = 3, .per_ms = 1000})
static const stoa_kind *const limbs[] = {&limb_kind, &all_kind, &rest_kind, &slow_kind, &slow_all_kind, &strict_kind};

static stoa_err limb_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    if (stoa_turn_random(turn) % 32 == 0) { return STOA_E_UNAVAILABLE; } /* does not start: fails */
    return limb_after_tick(turn, STOA_MS(3), (limb_tick){0}, NULL);
}

static stoa_err limb_on_grow(stoa_turn *turn, limb *self, const limb_grow *in)
{
    for (uint64_t i = 0; i < in->children; i++) {
        uint64_t random = stoa_turn_random(turn);
        stoa_ref ref;
        stoa_child child = {.restart = (stoa_restart)(random % 3), .shutdown_ms = random % 5 == 0 ? 2 : 0};
        if (self->count == KIDS) { child.restart = STOA_TEMPORARY; }
        stoa_err err = stoa_turn_spawn(turn, limbs[random / 16 % 6], &child, &ref);
        if (err) { return STOA_OK; }
        if (child.restart == STOA_PERMANENT) { self->permanent[self->count++] = ref; }
        know(ref);
        if (random / 128 % 4 == 0) { (void)limb_send_grow(turn, ref, (limb_grow){1 + random / 1024 % 3}); }
    }
    return STOA_OK;
}

static void forget(limb *self, stoa_ref ref)
{
    for (uint64_t i = 0; i < self->count; i++) {
        if (stoa_ref_equal(self->permanent[i], ref)) { self->permanent[i] = self->permanent[--self->count]; }
    }
}

static stoa_err tie_up(stoa_turn *turn, uint64_t random)
{
    stoa_ref other = somebody(random / 64);
    uint64_t id;
    stoa_gather gather;
    switch (random % 8) {
    case 0: return stoa_turn_link(turn, other);
    case 1: stoa_turn_unlink(turn, other); return STOA_OK;
    case 2:
        id = stoa_turn_monitor(turn, other);
        if (random % 3 == 0) { stoa_turn_demonitor(turn, id); }
        return STOA_OK;
    case 3: return stoa_turn_alloc(turn, random % 1500) ? STOA_OK : STOA_E_NOMEM;
    case 4: stoa_turn_cancel_ask(turn, 7); return STOA_OK;
    default:
        if (stoa_turn_gather(turn, STOA_MS(2), 7, &gather)) { return STOA_OK; }
        for (uint64_t i = 0; i < 3; i++) { (void)limb_gather_work(turn, &gather, somebody(random / 64 + i), (limb_work){0}); }
        return random % 16 == 8 ? STOA_E_DENIED : STOA_OK;
    }
}

static stoa_err limb_on_shake(stoa_turn *turn, limb *self, const limb_shake *in)
{
    (void)in;
    uint64_t random = stoa_turn_random(turn);
    switch (random % 16) {
    case 0: return stoa_fail(turn, "shaken");
    case 1: return stoa_turn_exit(turn, NULL);
    case 2: return stoa_turn_exit(turn, "shaken off");
    case 3: {
        stoa_ref kid = self->count ? self->permanent[random / 16 % self->count] : STOA_REF_NONE;
        forget(self, kid);
        return stoa_turn_stop(turn, kid, random % 3 ? NULL : "pruned");
    }
    case 4: return limb_on_grow(turn, self, &(limb_grow){2});
    default: return tie_up(turn, random / 16);
    }
}

static stoa_err limb_on_work(stoa_turn *turn, limb *self, const limb_work *in, limb_done *out)
{
    (void)in;
    (void)out;
    self->work++;
    uint64_t random = stoa_turn_random(turn);
    if (random % 16 == 0) { return stoa_fail(turn, "overworked"); }
    if (random % 16 == 1) { return stoa_turn_exit(turn, NULL); }
    if (random % 16 == 2) { stoa_turn_no_answer(turn); }
    return random % 16 == 3 ? STOA_E_DENIED : STOA_OK;
}
static stoa_err limb_on_tick(stoa_turn *turn, limb *self, const limb_tick *in)
{
    stoa_err err = limb_after_tick(turn, STOA_MS(3), *in, NULL);
    return err ? err : limb_on_shake(turn, self, &(limb_shake){{0}});
}
static stoa_err limb_on_limb_done(stoa_turn *turn, limb *self, const limb_done *in)
{
    (void)turn;
    (void)in;
    self->work++;
    return STOA_OK;
}
static stoa_err limb_on_stoa_system_down(stoa_turn *turn, limb *self, const stoa_system_down *in)
{
    (void)self;
    book.downs++;
    assert_true(turn->from.at == in->ref && in->reason < stoa_end_COUNT);
    return STOA_OK;
}
static stoa_err limb_on_stoa_system_gathered(stoa_turn *turn, limb *self, const stoa_system_gathered *in)
{
    (void)turn;
    (void)self;
    book.gathered++;
    assert_int_equal(in->asked, in->answered + in->refused + in->timed_out);
    return STOA_OK;
}

/* --- client: adds to the ledger */

#define client_tick_FIELDS STOA_NO_FIELDS
#define client_ROWS(ROW, K) ROW(K, CAST, tick, _, "Timer.")
STOA_TABLE(client)
STOA_TABLE_DEFINE(client)
typedef struct client {
    uint64_t nothing;
} client;
#define client_HEARS(HEAR, K) HEAR(K, ledger, total)
static stoa_err client_begin(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(client, .start = client_begin)
static stoa_err client_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    return client_after_tick(turn, STOA_MS(1), (client_tick){0}, NULL);
}
static stoa_err client_on_tick(stoa_turn *turn, client *self, const client_tick *in)
{
    (void)self;
    stoa_ref to = stoa_turn_find(turn, "ledger/one");
    stoa_err err = client_after_tick(turn, STOA_MS(1), *in, NULL);
    if (err || book.asked == ASKS_MAX) { return err; }
    return ledger_ask_add(turn, to, (ledger_add){1}, STOA_MS(30), book.asked++);
}
static stoa_err client_on_ledger_total(stoa_turn *turn, client *self, const ledger_total *in)
{
    (void)self;
    (void)in;
    assert_int_equal(book.outcomes[turn->token]++, 0);
    book.acknowledged += turn->error == STOA_OK;
    return STOA_OK;
}

/* --- a run */

static void check_families(const stoa_core *core)
{
    uint32_t at = 0;
    for (stoa_actor *actor; (actor = stoa_actor_next(core, &at));) {
        const limb *self = actor->state;
        bool serves = actor->kind->table == &limb_table && !(actor->flags & (STOA_ACTOR_DOWN | STOA_ACTOR_ENDING));
        for (uint64_t i = 0; serves && i < self->count; i++) {
            const stoa_actor *child = stoa_core_actor(core, self->permanent[i]);
            bool mine = child && child->parent == stoa_actor_index(actor) + 1;
            if (!mine) { fail_msg("a permanent child is missing"); }
        }
    }
}

static void check(stoa_node *node)
{
    for (uint32_t i = 0; i < node->core_count; i++) {
        const char *wrong = stoa_tree_check(node->cores[i]);
        if (wrong) { fail_msg("core %u: %s", i, wrong); }
    }
}

static uint64_t used(stoa_node *node, uint32_t core)
{
    stoa_core_view view;
    assert_int_equal(stoa_core_look(node, core, &view), STOA_OK);
    return view.used_bytes;
}

static stoa_ref open_ledger(stoa_node *node)
{
    stoa_shard *shard;
    stoa_ref ref;
    stoa_shard_options in = {.name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:s"};
    assert_int_equal(stoa_shard_open(node, &in, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &ledger_kind, "ledger/one", &(stoa_spawn_options){.shard = shard}, &ref), STOA_OK);
    return ref;
}

static void check_ledger(stoa_node *node, stoa_ref one)
{
    ledger_total total = {0};
    stoa_err err = STOA_E_FAILED;
    for (int i = 0; i < 50 && err; i++) { err = ledger_call_read(node, one, (ledger_read){0}, STOA_S(1), &total); }
    assert_int_equal(err, STOA_OK);
    if (total.total < book.acknowledged) { fail_msg("an acknowledged addition is lost"); }
    assert_true(total.total <= book.asked);
}

/* All blocks of all cores are back, but those of who stays. */
static void check_nothing_left(stoa_node *node, const uint64_t *base)
{
    for (uint32_t i = 0; i < 2 * node->core_count; i++) { /* an idle core sends blocks home when it is looked at again */
        (void)stoa_core_batch(node->cores[i % node->core_count]);
    }
    for (uint32_t i = 0; i < node->core_count; i++) {
        const stoa_core *core = node->cores[i];
        assert_int_equal(core->actor_alive, i == 0 ? 1 : 0);
        assert_int_equal(core->ties.count, 0);
        if (used(node, i) != base[i]) { fail_msg("core %u: %lld bytes left", i, (long long)(used(node, i) - base[i])); }
    }
}

static void check_all(stoa_node *node)
{
    uint32_t alive = 0;
    check(node);
    for (uint32_t i = 0; i < node->core_count; i++) {
        check_families(node->cores[i]);
        alive += node->cores[i]->actor_alive;
    }
    if (alive > book.most) { book.most = alive; }
}

/* Grow and shake whom there is; until the steps are over, or so much failed that the node ends. */
static void live(stoa_sim *sim, stoa_node *node)
{
    for (int step = 0; step < STEPS && !stoa_sim_dead(sim); step++) {
        stoa_ref who = somebody(stoa_sim_random(sim));
        if (stoa_sim_random(sim) % 2) {
            (void)limb_post_shake(node, who, (limb_shake){{0}});
        } else {
            (void)limb_post_grow(node, who, (limb_grow){1 + stoa_sim_random(sim) % 3});
        }
        stoa_sim_run(sim, stoa_sim_random(sim) % STOA_MS(2));
        check_all(node);
    }
    for (uint32_t i = 0; i < node->core_count; i++) { book.restarts += (uint32_t)node->cores[i]->restarts; }
}

static uint64_t random_run(uint64_t seed)
{
    static const stoa_kind *const kinds[] = {&ledger_kind, NULL};
    stoa_sim *sim;
    stoa_node *node;
    stoa_ref ref;
    stoa_sim_disk *disk;
    memset(&book, 0, sizeof book);
    assert_int_equal(stoa_sim_disk_get("s", seed, &disk), STOA_OK);
    stoa_sim_options options = {.seed = seed, .cores = 1 + (uint32_t)(seed % 3), .kinds = kinds};
    options.faults.per_million[STOA_SIM_TURN_LOST] = 2000;
    options.faults.per_million[STOA_SIM_TURN_LAST] = 2000;
    options.faults.per_million[STOA_SIM_RING_HELD] = 200;
    options.faults.per_million[STOA_SIM_CORE_STALLED] = 100;
    options.faults.per_million[STOA_SIM_TIMERS_LATE] = 100;
    options.faults.per_million[STOA_SIM_MEMORY_OUT] = 50;
    options.faults.longest_ns[STOA_SIM_MEMORY_OUT] = STOA_MS(2);
    assert_int_equal(stoa_sim_new(&options, &sim, &node), STOA_OK);
    stoa_ref one = open_ledger(node);
    stoa_sim_run(sim, STOA_MS(20));
    uint64_t base[4];
    for (uint32_t i = 0; i < node->core_count; i++) { base[i] = used(node, i); }

    for (uint32_t i = 0; i < 2 * node->core_count; i++) {
        char name[32];
        stoa_spawn_options at = {.core = i / 2};
        (void)snprintf(name, sizeof name, i % 2 ? "client/%u" : "limb/%u", i);
        if (stoa_spawn(node, i % 2 ? &client_kind : limbs[seed % 6], name, &at, &ref) || i % 2) { continue; }
        know(ref);
        (void)limb_post_grow(node, ref, (limb_grow){8});
    }
    live(sim, node);
    if (stoa_sim_dead(sim)) {
        book.deaths++;
        assert_int_equal(stoa_sim_crash(sim, &node), STOA_OK);
        check_ledger(node, open_ledger(node));
    } else {
        stoa_sim_faults(sim, NULL);
        for (uint32_t i = 0; i < node->core_count; i++) { stoa_tree_shutdown(node->cores[i]); }
        stoa_sim_run(sim, STOA_MS(200));
        for (uint32_t i = 0; i < node->core_count; i++) { assert_true(stoa_tree_ended(node->cores[i])); }
        check(node);
        check_ledger(node, one);
        stoa_sim_run(sim, STOA_S(2));
        check_nothing_left(node, base);
    }
    uint64_t hash = stoa_sim_hash(sim);
    stoa_sim_free(sim);
    stoa_sim_disks_free();
    return hash;
}

static void trees_stay_whole_whatever_fails(void **state)
{
    (void)state;
    uint64_t seeds = getenv("STOA_DEEP") ? 10000 : 300, all = 0, downs = 0, gathered = 0, acknowledged = 0;
    uint64_t restarts = 0, most = 0, deaths = 0;
    uint64_t only = getenv("STOA_SEED") ? strtoull(getenv("STOA_SEED"), NULL, 10) : 0;
    for (uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); seed++) {
        printf("seed %llu (again: STOA_SEED=%llu)\r", (unsigned long long)seed, (unsigned long long)seed);
        (void)fflush(stdout);
        uint64_t first = random_run(seed), second = random_run(seed);
        all = all * 31 + first;
        downs += book.downs;
        gathered += book.gathered;
        acknowledged += book.acknowledged;
        restarts += book.restarts;
        most += book.most;
        deaths += book.deaths;
        if (first != second) { fail_msg("seed %llu is not deterministic", (unsigned long long)seed); }
    }
    printf("%llu seeds, hash of all %016llx (the same in every build)\n", (unsigned long long)seeds, (unsigned long long)all);
    printf("%llu actors at most, %llu nodes ended, %llu restarts, %llu ends heard of, %llu gathers, %llu additions\n",
           (unsigned long long)most, (unsigned long long)deaths, (unsigned long long)restarts, (unsigned long long)downs,
           (unsigned long long)gathered, (unsigned long long)acknowledged);
    if (!only) { assert_true(downs > seeds && gathered > seeds && acknowledged > seeds); } /* it really happened */
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(trees_stay_whole_whatever_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
