/* sim_fault.c - what goes wrong in the simulator: by chance from the seed, or by order. See sim.h.
 *
 * Nothing of the runtime knows of these faults but two lines: a turn asks whether it is lost, and a batch whether the
 * timers stand still. The rest is done from outside: a held ring is hidden from its reader, memory is used up by taking
 * it, a stalled core is not run, a disk's answer is given in the disk's place.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <fnmatch.h>
#include <string.h>

#include "runtime/move.h"
#include "runtime/sim_internal.h"

typedef enum occasion { TURN, APPEND, STEP } occasion;
typedef struct fault_row {
    const char *name, *doc;
    occasion when;
    uint64_t longest_ns;
} fault_row;

#define ROW_(constant, name_, occasion_, longest, doc_)                                                                \
    [STOA_SIM_##constant] = {.name = name_, .doc = doc_, .when = occasion_, .longest_ns = longest},
static const fault_row rows[STOA_SIM_FAULT_COUNT] = {STOA_SIM_FAULTS(ROW_)};

const stoa_sim_plan stoa_sim_rough = {.per_million = {[STOA_SIM_TURN_LOST] = 500,
                                                      [STOA_SIM_TURN_LAST] = 500,
                                                      [STOA_SIM_DISK_SLOW] = 20000,
                                                      [STOA_SIM_DISK_FULL] = 5000,
                                                      [STOA_SIM_TIMERS_LATE] = 1000,
                                                      [STOA_SIM_RING_HELD] = 2000,
                                                      [STOA_SIM_CORE_STALLED] = 1000,
                                                      [STOA_SIM_MEMORY_OUT] = 200}};

const char *stoa_sim_fault_name(stoa_sim_fault fault)
{
    return fault < STOA_SIM_FAULT_COUNT ? rows[fault].name : "?";
}

const char *stoa_sim_fault_doc(stoa_sim_fault fault)
{
    return fault < STOA_SIM_FAULT_COUNT ? rows[fault].doc : "?";
}

/* --- when */

static void arm(stoa_sim *sim)
{
    sim->armed = 0;
    for (unsigned i = 0; i < STOA_SIM_FAULT_COUNT; i++) {
        sim->armed |= (uint32_t)(sim->plan.per_million[i] != 0) << i;
    }
    for (uint32_t i = 0; i < sim->order_count; i++) { sim->armed |= UINT32_C(1) << sim->orders[i].what.fault; }
}

static void note(stoa_sim *sim, stoa_sim_fault fault, uint32_t core, const char *name, uint64_t for_ns)
{
    sim->faulted[fault]++;
    stoa_sim_fold(sim, UINT64_C(0xfa) << 56 | (uint64_t)fault << 32 | core);
    stoa_sim_fold(sim, for_ns);
    stoa_sim_event event = {.what = STOA_SIM_FAULTED, .fault = fault, .core = core, .name = name, .for_ns = for_ns};
    stoa_sim_emit(sim, event);
}

static bool fits(const stoa_sim_order *order, uint32_t core, const char *name)
{
    if (rows[order->what.fault].when == STEP) { return order->what.core == core; }
    return !order->what.at || fnmatch(order->what.at, name, 0) == 0;
}

/* An order that is due here, done with when it strikes. */
static bool ordered(stoa_sim *sim, stoa_sim_fault fault, uint32_t core, const char *name, uint64_t *for_ns_out)
{
    for (uint32_t i = 0; i < sim->order_count; i++) {
        stoa_sim_order *order = &sim->orders[i];
        if (order->what.fault != fault || sim->clock.now < order->from_ns || !fits(order, core, name)) { continue; }
        if (order->what.skip) {
            order->what.skip--;
            continue;
        }
        *for_ns_out = order->what.for_ns ? order->what.for_ns : rows[fault].longest_ns;
        for (uint32_t k = i + 1; k < sim->order_count; k++) {
            sim->orders[k - 1] = sim->orders[k];
            if (sim->orders[k - 1].what.at) { sim->orders[k - 1].what.at = sim->orders[k - 1].name; }
        }
        sim->order_count--;
        arm(sim);
        return true;
    }
    return false;
}

static bool by_chance(stoa_sim *sim, stoa_sim_fault fault, uint64_t *for_ns_out)
{
    uint32_t per_million = sim->plan.per_million[fault];
    if (!per_million || stoa_random_below(&sim->chance, 1000000) >= per_million) { return false; }
    uint64_t longest = sim->plan.longest_ns[fault] ? sim->plan.longest_ns[fault] : rows[fault].longest_ns;
    *for_ns_out = longest ? 1 + stoa_random_below(&sim->chance, longest) : 0;
    return true;
}

bool stoa_sim_strikes(stoa_sim *sim, stoa_sim_fault fault, uint32_t core, const char *name, uint64_t *for_ns_out)
{
    if (!(sim->armed >> fault & 1)) { return false; }
    if (!ordered(sim, fault, core, name, for_ns_out) && !by_chance(sim, fault, for_ns_out)) { return false; }
    note(sim, fault, core, name, *for_ns_out);
    return true;
}

uint64_t stoa_sim_orders_ns(const stoa_sim *sim)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < sim->order_count; i++) {
        const stoa_sim_order *order = &sim->orders[i];
        if (rows[order->what.fault].when == STEP && order->from_ns < next) { next = order->from_ns; }
    }
    return next;
}

/* --- what */

static uint64_t until(stoa_sim *sim, uint64_t for_ns)
{
    uint64_t end = sim->clock.now + for_ns;
    if (end < sim->lift_ns) { sim->lift_ns = end; }
    return end;
}

static void hold(stoa_sim *sim, uint32_t core, uint32_t from, uint64_t for_ns)
{
    stoa_sim_core *at = &sim->cores[core];
    stoa_place *place = &sim->node->cores[core]->place;
    uint64_t bit = UINT64_C(1) << from;
    if (!(atomic_load(&place->inbound) & bit)) { return; } /* none, or held already */
    at->held |= bit;
    at->held_until[from] = until(sim, for_ns);
    (void)atomic_fetch_and(&place->inbound, ~bit);
}

static void let_go(stoa_sim *sim, uint32_t core, uint32_t from)
{
    uint64_t bit = UINT64_C(1) << from;
    (void)atomic_fetch_or(&sim->node->cores[core]->place.inbound, bit);
    sim->cores[core].held &= ~bit;
}

/* Take every free block, the largest first. */
static void use_up(stoa_sim *sim, uint32_t core)
{
    stoa_slab *slab = &sim->node->cores[core]->place.slab;
    for (uint32_t size_class = STOA_SLAB_CLASSES; size_class--;) {
        uint32_t bytes = size_class ? (UINT32_C(64) << size_class) - 64 : 0;
        stoa_msg *block;
        while ((block = stoa_slab_new(slab, bytes, 0)) != NULL) {
            block->next = sim->cores[core].hogged;
            sim->cores[core].hogged = block;
        }
    }
}

static void give_back(stoa_sim *sim, uint32_t core)
{
    stoa_slab *slab = &sim->node->cores[core]->place.slab;
    while (sim->cores[core].hogged) {
        stoa_msg *block = sim->cores[core].hogged;
        sim->cores[core].hogged = block->next;
        stoa_slab_free(slab, block);
    }
    sim->cores[core].memory_until = 0;
    sim->cores[core].called = true;
}

static void hold_some(stoa_sim *sim, uint32_t core, uint64_t for_ns)
{
    uint32_t places = stoa_node_places(sim->node);
    uint32_t from = (uint32_t)stoa_random_below(&sim->chance, places);
    stoa_sim_fold(sim, from);
    hold(sim, core, from, for_ns);
}

static void hold_all(stoa_sim *sim, uint32_t core, uint64_t for_ns)
{
    for (uint32_t from = 0; from < stoa_node_places(sim->node); from++) { hold(sim, core, from, for_ns); }
}

static void strike(stoa_sim *sim, stoa_sim_fault fault, uint32_t core, uint64_t for_ns, bool order)
{
    stoa_sim_core *at = &sim->cores[core];
    if (fault == STOA_SIM_TIMERS_LATE) {
        at->timers_from = until(sim, for_ns);
        sim->node->cores[core]->timers_from_ns = at->timers_from;
    } else if (fault == STOA_SIM_CORE_STALLED) {
        at->stalled_until = until(sim, for_ns);
    } else if (fault == STOA_SIM_MEMORY_OUT) {
        use_up(sim, core);
        at->memory_until = until(sim, for_ns);
    } else if (fault == STOA_SIM_KILLED) {
        stoa_sim_die(sim, "killed", NULL);
    } else if (order) {
        hold_all(sim, core, for_ns);
    } else {
        hold_some(sim, core, for_ns);
    }
}

static void step_fault(stoa_sim *sim, stoa_sim_fault fault, bool alive)
{
    uint64_t for_ns;
    for (uint32_t core = 0; core < sim->node->core_count && sim->node; core++) {
        if (!ordered(sim, fault, core, NULL, &for_ns)) { continue; }
        note(sim, fault, core, NULL, for_ns);
        strike(sim, fault, core, for_ns, true);
    }
    if (!alive || !by_chance(sim, fault, &for_ns)) { return; }
    uint32_t core = (uint32_t)stoa_random_below(&sim->chance, sim->node->core_count);
    note(sim, fault, core, NULL, for_ns);
    strike(sim, fault, core, for_ns, false);
}

void stoa_sim_fault_step(stoa_sim *sim, bool alive)
{
    if (sim->clock.now >= sim->lift_ns) { stoa_sim_lift(sim, false); }
    for (unsigned fault = 0; fault < STOA_SIM_FAULT_COUNT && !sim->dead[0]; fault++) {
        if (rows[fault].when == STEP && (sim->armed >> fault & 1)) { step_fault(sim, (stoa_sim_fault)fault, alive); }
    }
}

static bool over(stoa_sim *sim, uint64_t end, bool all)
{
    if (all || end <= sim->clock.now) { return true; }
    if (end < sim->lift_ns) { sim->lift_ns = end; }
    return false;
}

void stoa_sim_lift(stoa_sim *sim, bool all)
{
    sim->lift_ns = UINT64_MAX;
    for (uint32_t i = 0; i < sim->node->core_count; i++) {
        stoa_sim_core *at = &sim->cores[i];
        if (at->stalled_until && over(sim, at->stalled_until, all)) { at->stalled_until = 0; }
        if (at->timers_from && over(sim, at->timers_from, all)) {
            sim->node->cores[i]->timers_from_ns = at->timers_from = 0;
        }
        if (at->memory_until && over(sim, at->memory_until, all)) { give_back(sim, i); }
        for (uint64_t held = at->held; held; held &= held - 1) {
            uint32_t from = (uint32_t)__builtin_ctzll(held);
            if (over(sim, at->held_until[from], all)) { let_go(sim, i, from); }
        }
        at->not_before = 0;
    }
    for (uint32_t i = 0; i < STOA_SIM_SHARDS_MAX; i++) {
        if (all) { sim->full_until[i] = 0; }
    }
}

void stoa_sim_fault_begin(stoa_sim *sim)
{
    memset(sim->cores, 0, sizeof sim->cores);
    memset(sim->full_until, 0, sizeof sim->full_until);
    sim->lift_ns = UINT64_MAX;
    arm(sim);
}

/* --- from outside */

void stoa_sim_faults(stoa_sim *sim, const stoa_sim_plan *plan)
{
    sim->plan = plan ? *plan : (stoa_sim_plan){0};
    arm(sim);
    if (!plan && sim->node) { stoa_sim_lift(sim, true); }
}

stoa_err stoa_sim_inject(stoa_sim *sim, const stoa_sim_injection *injection)
{
    if (injection->fault >= STOA_SIM_FAULT_COUNT) { return STOA_FAIL(STOA_E_INVALID, "no such fault"); }
    if (injection->at && strlen(injection->at) > STOA_NAME_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "%s", injection->at);
    }
    if (rows[injection->fault].when == STEP && injection->core >= sim->node->core_count) {
        return STOA_FAIL(STOA_E_INVALID, "no core %u", injection->core);
    }
    if (sim->order_count == STOA_SIM_ORDERS_MAX) {
        return STOA_FAIL(STOA_E_FULL, "%d faults are waiting", STOA_SIM_ORDERS_MAX);
    }
    stoa_sim_order *order = &sim->orders[sim->order_count++];
    *order = (stoa_sim_order){.what = *injection, .from_ns = sim->clock.now + injection->after_ns};
    if (injection->at) {
        memcpy(order->name, injection->at, strlen(injection->at));
        order->what.at = order->name;
    }
    arm(sim);
    return STOA_OK;
}

uint64_t stoa_sim_faulted(stoa_sim *sim, stoa_sim_fault fault)
{
    return fault < STOA_SIM_FAULT_COUNT ? sim->faulted[fault] : 0;
}

static stoa_core *core_of(stoa_sim *sim, stoa_ref ref)
{
    uint32_t place = stoa_ref_place(ref);
    return sim->node && ref.at && place < sim->node->core_count ? sim->node->cores[place] : NULL;
}

/* Wherever it is by now. */
static stoa_actor *actor_of(stoa_sim *sim, stoa_ref ref, stoa_core **core_out)
{
    for (uint32_t i = 0; i < STOA_CORES_MAX; i++) {
        stoa_core *core = core_of(sim, ref);
        stoa_actor *actor = core ? stoa_core_actor(core, ref) : NULL;
        *core_out = core;
        if (actor || !core || !stoa_away_follow(core, &ref)) { return actor; }
    }
    return NULL;
}

stoa_err stoa_sim_fail(stoa_sim *sim, stoa_ref ref, const char *reason)
{
    stoa_core *core;
    stoa_actor *actor = actor_of(sim, ref, &core);
    if (!actor) { return STOA_FAIL(STOA_E_CLOSED, "no such actor"); }
    if (!(actor->flags & STOA_ACTOR_DOWN)) { stoa_actor_fail(core, actor, reason); }
    return STOA_OK;
}

const void *stoa_sim_state(stoa_sim *sim, stoa_ref ref, const stoa_kind **kind_out)
{
    stoa_core *core;
    const stoa_actor *actor = actor_of(sim, ref, &core);
    if (!actor) { return NULL; }
    if (kind_out) { *kind_out = actor->kind; }
    return actor->state;
}
