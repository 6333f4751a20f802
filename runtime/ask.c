/* ask.c - the table of asks under way at a place: constant time, ids that die with their ask.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>

#include "runtime/core.h"

enum { RESERVED_BYTES = STOA_ASKS_MAX * sizeof(stoa_ask) };

stoa_err stoa_asks_init(stoa_asks *asks)
{
    memset(asks, 0, sizeof *asks);
    void *at = mmap(NULL, RESERVED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "asks"); }
    asks->at = at;
    asks->used = 1;
    return STOA_OK;
}

void stoa_asks_deinit(stoa_asks *asks)
{
    if (asks->at) { (void)munmap(asks->at, RESERVED_BYTES); }
    memset(asks, 0, sizeof *asks);
}

/* Filled in place: an entry by value is read back in wider pieces than it was written in, which the processor waits for. */
stoa_ask *stoa_asks_new(stoa_asks *asks, stoa_ref asker, uint64_t token, uint64_t due_ns, const stoa_row *reply, uint64_t *id_out)
{
    uint32_t index = asks->free;
    stoa_ask *ask = &asks->at[index];
    if (index) {
        asks->free = ask->next;
    } else {
        if (asks->used == STOA_ASKS_MAX) { return NULL; }
        index = asks->used++;
        ask = &asks->at[index];
    }
    ask->asker = asker;
    ask->token = token;
    ask->deadline_timer = 0;
    ask->due_ns = due_ns;
    ask->reply = reply;
    ask->gather = 0;
    ask->generation++;
    ask->next = ask->prev = 0;
    *id_out = (uint64_t)ask->generation << 32 | index;
    return ask;
}

stoa_ask *stoa_asks_find(stoa_asks *asks, uint64_t id)
{
    uint32_t index = (uint32_t)id;
    if (index == 0 || index >= asks->used) { return NULL; }
    stoa_ask *ask = &asks->at[index];
    return ask->asker.at && ask->generation == (uint32_t)(id >> 32) ? ask : NULL;
}

void stoa_asks_free(stoa_asks *asks, uint64_t id)
{
    stoa_ask *ask = stoa_asks_find(asks, id);
    if (ask) { stoa_asks_drop(asks, ask); }
}
