/* readers.c - runtime/readers.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/readers.h"

#include <string.h>

void stoa_readers_init(stoa_readers *readers)
{
    memset(readers, 0, sizeof *readers);
    STOA_ASSERT(pthread_mutex_init(&readers->lock, NULL) == 0);
}

void stoa_readers_deinit(stoa_readers *readers)
{
    (void)pthread_mutex_destroy(&readers->lock);
}

/* Under the lock: the slot of that name; STOA_READERS_MAX when there is none. */
static uint32_t slot_of(stoa_readers *readers, const char *name)
{
    for (uint32_t i = 0; i < STOA_READERS_MAX; i++) {
        if (atomic_load(&readers->at[i].taken) && strcmp(readers->at[i].name, name) == 0) { return i; }
    }
    return STOA_READERS_MAX;
}

static stoa_err take_slot(stoa_readers *readers, const char *name, uint64_t position, uint32_t *slot_out)
{
    if (slot_of(readers, name) < STOA_READERS_MAX) { return STOA_FAIL(STOA_E_EXISTS, "reader %s", name); }
    for (uint32_t i = 0; i < STOA_READERS_MAX; i++) {
        if (atomic_load(&readers->at[i].taken)) { continue; }
        memcpy(readers->at[i].name, name, strlen(name) + 1);
        atomic_store(&readers->at[i].position, position);
        atomic_store(&readers->at[i].taken, true); /* last: the floor looks without the lock */
        *slot_out = i;
        return STOA_OK;
    }
    return STOA_FAIL(STOA_E_NOMEM, "reader %s: there are %d already", name, STOA_READERS_MAX);
}

stoa_err stoa_readers_add(stoa_readers *readers, const char *name, uint64_t position, uint32_t *slot_out)
{
    size_t length = strlen(name);
    if (length == 0 || length > STOA_READER_NAME_MAX) { return STOA_FAIL(STOA_E_INVALID, "reader's name of %zu bytes", length); }
    (void)pthread_mutex_lock(&readers->lock);
    stoa_err err = take_slot(readers, name, position, slot_out);
    (void)pthread_mutex_unlock(&readers->lock);
    return err;
}

void stoa_readers_move(stoa_readers *readers, uint32_t slot, uint64_t position)
{
    STOA_ASSERT(slot < STOA_READERS_MAX && atomic_load(&readers->at[slot].taken));
    if (position > atomic_load(&readers->at[slot].position)) { atomic_store(&readers->at[slot].position, position); }
}

void stoa_readers_leave(stoa_readers *readers, uint32_t slot)
{
    STOA_ASSERT(slot < STOA_READERS_MAX && atomic_load(&readers->at[slot].taken));
    (void)pthread_mutex_lock(&readers->lock);
    atomic_store(&readers->at[slot].taken, false);
    (void)pthread_mutex_unlock(&readers->lock);
}

uint64_t stoa_readers_floor(const stoa_readers *readers)
{
    uint64_t floor = UINT64_MAX;
    for (uint32_t i = 0; i < STOA_READERS_MAX; i++) {
        if (!atomic_load(&readers->at[i].taken)) { continue; }
        uint64_t position = atomic_load(&readers->at[i].position);
        if (position < floor) { floor = position; }
    }
    return floor;
}

bool stoa_readers_find(stoa_readers *readers, const char *name, uint64_t *position_out)
{
    (void)pthread_mutex_lock(&readers->lock);
    uint32_t slot = slot_of(readers, name);
    if (slot < STOA_READERS_MAX) { *position_out = atomic_load(&readers->at[slot].position); }
    (void)pthread_mutex_unlock(&readers->lock);
    return slot < STOA_READERS_MAX;
}

void stoa_readers_visit(stoa_readers *readers, void (*visit)(void *context, const char *name, uint64_t position), void *context)
{
    (void)pthread_mutex_lock(&readers->lock);
    for (uint32_t i = 0; i < STOA_READERS_MAX; i++) {
        if (atomic_load(&readers->at[i].taken)) { visit(context, readers->at[i].name, atomic_load(&readers->at[i].position)); }
    }
    (void)pthread_mutex_unlock(&readers->lock);
}
