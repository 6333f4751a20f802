/* watch.h - descriptors that actors watch: one epoll a core, looked at between batches and slept on. Internal to runtime/.
 *
 * A watch tells once (EPOLLONESHOT) and is armed again by who heard it, so that a descriptor nobody serves costs nothing and a
 * busy one floods nobody. Watches belong to an incarnation of their actor and end with it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_WATCH_H
#define STOA_RUNTIME_WATCH_H

#include "runtime/actor.h"

struct stoa_core;
struct stoa_actor;

enum { STOA_WATCHES_MAX = 4096 };

typedef struct stoa_watched {
    stoa_ref who;
    uint64_t token;
    int fd;
    uint32_t interest; /* of epoll */
    uint32_t next;     /* of the actor's list, or of the free list; 0: the end */
} stoa_watched;

typedef struct stoa_watches {
    stoa_watched *at; /* STOA_WATCHES_MAX + 1, made with the first watch; entry 0 unused */
    uint32_t used, free, count;
    int epoll; /* with the first watch */
    uint64_t looked_ns;
} stoa_watches;

void stoa_watches_deinit(stoa_watches *watches);
/* Tell those whose descriptors are ready. Returns how many. */
uint32_t stoa_watches_look(struct stoa_core *core);
/* An incarnation ended: its watches too. */
void stoa_watches_release(struct stoa_core *core, struct stoa_actor *actor);

#endif
