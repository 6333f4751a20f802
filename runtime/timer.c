/* timer.c - the timing wheel of timer.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/timer.h"

#include <string.h>
#include <sys/mman.h>

static const uint64_t TICK_NS = UINT64_C(1) << STOA_TICK_SHIFT, LAST_TICK = UINT64_MAX >> STOA_TICK_SHIFT;

static size_t reserved_bytes(const stoa_wheel *wheel)
{
    return ((size_t)wheel->limit + 1) * sizeof *wheel->entries;
}

stoa_err stoa_wheel_init(stoa_wheel *wheel, uint64_t now_ns, uint32_t limit)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->limit = limit;
    wheel->used = 1;
    wheel->now_tick = now_ns >> STOA_TICK_SHIFT;
    wheel->next_ns = UINT64_MAX;
    void *at = mmap(NULL, reserved_bytes(wheel), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "timer wheel"); }
    wheel->entries = at;
    return STOA_OK;
}

void stoa_wheel_deinit(stoa_wheel *wheel)
{
    if (wheel->entries) { (void)munmap(wheel->entries, reserved_bytes(wheel)); }
    memset(wheel, 0, sizeof *wheel);
}

stoa_err stoa_wheel_new(stoa_wheel *wheel, uint16_t cls, void *what, uint64_t *id_out)
{
    uint32_t at = wheel->free;
    if (at) {
        wheel->free = wheel->entries[at].next;
    } else {
        if (wheel->used > wheel->limit) { return STOA_E_FULL; }
        at = wheel->used++;
    }
    stoa_wheel_entry *entry = &wheel->entries[at];
    entry->generation++;
    entry->cls = cls;
    entry->what = what;
    entry->slot = 0;
    *id_out = (uint64_t)entry->generation << 32 | at;
    return STOA_OK;
}

static void append(stoa_wheel *wheel, uint32_t at, unsigned level, unsigned slot)
{
    stoa_wheel_entry *entry = &wheel->entries[at];
    uint32_t head = wheel->heads[level][slot];
    entry->next = 0;
    if (head) {
        stoa_wheel_entry *first = &wheel->entries[head];
        entry->prev = first->prev;
        wheel->entries[first->prev].next = at;
        first->prev = at;
    } else {
        entry->prev = at;
        wheel->heads[level][slot] = at;
    }
    entry->slot = (uint16_t)(level * STOA_WHEEL_SLOTS + slot + 1);
    wheel->filled[level] |= UINT64_C(1) << slot;
}

/* Into the level of the highest bit in which it differs from now. */
static void insert(stoa_wheel *wheel, uint32_t at)
{
    uint64_t due = wheel->entries[at].due_tick, differs = due ^ wheel->now_tick;
    unsigned level = differs ? (63 - (unsigned)__builtin_clzll(differs)) / 6 : 0;
    if (level >= STOA_WHEEL_LEVELS) { level = STOA_WHEEL_LEVELS - 1; }
    append(wheel, at, level, (unsigned)(due >> (6 * level)) & 63);
}

/* Behind what is still in the slot that is being emptied, where it belongs into that: it was started later. */
static void insert_new(stoa_wheel *wheel, uint32_t at)
{
    unsigned level = wheel->open / STOA_WHEEL_SLOTS, slot = wheel->open % STOA_WHEEL_SLOTS;
    if (wheel->open && wheel->entries[at].due_tick >> (6 * level) == wheel->now_tick >> (6 * level)) {
        append(wheel, at, level, slot);
    } else {
        insert(wheel, at);
    }
}

static void take_out(stoa_wheel *wheel, uint32_t at)
{
    stoa_wheel_entry *entry = &wheel->entries[at];
    unsigned level = (entry->slot - 1u) / STOA_WHEEL_SLOTS, slot = (entry->slot - 1u) % STOA_WHEEL_SLOTS;
    uint32_t head = wheel->heads[level][slot];
    if (at == head) {
        wheel->heads[level][slot] = entry->next;
    } else {
        wheel->entries[entry->prev].next = entry->next;
    }
    uint32_t behind = entry->next ? entry->next : head; /* who knows the one before: the next one, or the first of the last */
    if (behind != at) { wheel->entries[behind].prev = entry->prev; }
    if (!wheel->heads[level][slot]) { wheel->filled[level] &= ~(UINT64_C(1) << slot); }
    entry->slot = 0;
}

static void release(stoa_wheel *wheel, uint32_t at)
{
    wheel->entries[at].generation++; /* the id is dead */
    wheel->entries[at].what = NULL;
    wheel->entries[at].next = wheel->free;
    wheel->free = at;
}

void stoa_wheel_start(stoa_wheel *wheel, uint64_t id, uint64_t due_ns)
{
    uint32_t at = (uint32_t)id;
    uint64_t tick = due_ns <= LAST_TICK << STOA_TICK_SHIFT ? (due_ns + TICK_NS - 1) >> STOA_TICK_SHIFT : LAST_TICK;
    if (tick <= wheel->now_tick) { tick = wheel->now_tick + 1; }
    wheel->entries[at].due_tick = tick;
    insert_new(wheel, at);
    if (tick << STOA_TICK_SHIFT < wheel->next_ns) { wheel->next_ns = tick << STOA_TICK_SHIFT; }
}

void *stoa_wheel_stop(stoa_wheel *wheel, uint64_t id, bool *ran_out)
{
    uint32_t at = (uint32_t)id;
    if (at == 0 || at >= wheel->used || wheel->entries[at].generation != (uint32_t)(id >> 32)) { return NULL; }
    *ran_out = wheel->entries[at].slot != 0;
    if (*ran_out) { take_out(wheel, at); }
    return wheel->entries[at].what;
}

void *stoa_wheel_what(const stoa_wheel *wheel, uint64_t id, uint16_t cls)
{
    uint32_t at = (uint32_t)id;
    if (at == 0 || at >= wheel->used) { return NULL; }
    const stoa_wheel_entry *entry = &wheel->entries[at];
    return entry->generation == (uint32_t)(id >> 32) && entry->cls == cls ? entry->what : NULL;
}

void *stoa_wheel_cancel(stoa_wheel *wheel, uint64_t id)
{
    bool ran;
    void *what = stoa_wheel_stop(wheel, id, &ran);
    if (what) { release(wheel, (uint32_t)id); }
    return what;
}

/* The tick at which the lowest level that is not empty has its next slot. */
static bool next_tick(const stoa_wheel *wheel, uint64_t *tick_out, unsigned *level_out, unsigned *slot_out)
{
    if (wheel->open) {
        *tick_out = wheel->now_tick;
        *level_out = wheel->open / STOA_WHEEL_SLOTS;
        *slot_out = wheel->open % STOA_WHEEL_SLOTS;
        return true;
    }
    for (unsigned level = 0; level < STOA_WHEEL_LEVELS; level++) {
        if (!wheel->filled[level]) { continue; }
        unsigned slot = (unsigned)__builtin_ctzll(wheel->filled[level]);
        uint64_t above = level + 1 < STOA_WHEEL_LEVELS ? wheel->now_tick >> (6 * (level + 1)) << (6 * (level + 1)) : 0;
        *tick_out = above | (uint64_t)slot << (6 * level);
        *level_out = level;
        *slot_out = slot;
        return true;
    }
    return false;
}

/* The entry is out of the wheel; fire may cancel it, start and cancel others. */
static void fire_one(stoa_wheel *wheel, uint32_t at, stoa_wheel_fire fire, void *context)
{
    stoa_wheel_entry *entry = &wheel->entries[at];
    uint32_t generation = entry->generation;
    uint64_t again_ns = fire(context, entry->cls, entry->what);
    if (entry->generation != generation) { return; } /* cancelled meanwhile */
    if (again_ns) {
        stoa_wheel_start(wheel, (uint64_t)generation << 32 | at, again_ns);
    } else {
        release(wheel, at);
    }
}

/* Up to max of the slot's timers, one by one: what fire starts goes to later slots, what it cancels may be of this one. */
static uint32_t empty_slot(stoa_wheel *wheel, unsigned level, unsigned slot, uint32_t max, stoa_wheel_fire fire, void *context)
{
    uint32_t done = 0;
    uint32_t *head = &wheel->heads[level][slot];
    wheel->open = level ? level * STOA_WHEEL_SLOTS + slot : 0;
    for (; *head && done < max; done++) {
        uint32_t at = *head;
        take_out(wheel, at);
        if (wheel->entries[at].due_tick > wheel->now_tick) {
            insert(wheel, at); /* one level down */
        } else {
            fire_one(wheel, at, fire, context);
        }
    }
    if (!*head) { wheel->open = 0; }
    return done;
}

uint32_t stoa_wheel_advance(stoa_wheel *wheel, uint64_t now_ns, uint32_t max, stoa_wheel_fire fire, void *context)
{
    uint64_t until = now_ns >> STOA_TICK_SHIFT, tick;
    unsigned level, slot;
    uint32_t done = 0;
    while (done < max && next_tick(wheel, &tick, &level, &slot) && tick <= until) {
        if (tick > wheel->now_tick) { wheel->now_tick = tick; }
        done += empty_slot(wheel, level, slot, max - done, fire, context);
    }
    bool more = next_tick(wheel, &tick, &level, &slot);
    wheel->next_ns = more ? tick << STOA_TICK_SHIFT : UINT64_MAX;
    if ((!more || tick > until) && until > wheel->now_tick) { wheel->now_tick = until; }
    return done;
}
