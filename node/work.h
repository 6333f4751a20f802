/* work.h - what takes long and is under way on a node, for who wants to see how far it is.
 *
 * Who does it puts a note on the board for as long as it lasts; who looks asks each for its figures. A note lies in the memory of
 * who does the work. Any thread but a core; looking runs under the board's lock, so a look never waits.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_WORK_H
#define STOA_NODE_WORK_H

#include <pthread.h>
#include <stdint.h>

typedef struct stoa_work_view {
    const char *command;           /* static: "journal verify" */
    const char *step, *unit;       /* static: "verify", "events" */
    char shard[32];
    uint64_t from, position, last; /* where it began, is, and will end; last 0: not known yet */
    uint64_t rate;                 /* a second; 0: from, position and time say it */
    uint64_t took_ns;              /* 0: not known */
} stoa_work_view;

typedef struct stoa_work {
    struct stoa_work *next;
    const char *command;
    const char *shard;
    uint64_t began_ns;
    void (*look)(void *context, stoa_work_view *view); /* fills in step, unit and positions, and shard where it is another */
    void *context;
} stoa_work;

typedef struct stoa_works {
    pthread_mutex_t lock;
    stoa_work *first;
} stoa_works;

void stoa_works_init(stoa_works *works);
void stoa_works_deinit(stoa_works *works);
/* work: command, shard, look and context are filled in; it stays where it is until it is ended. */
void stoa_work_begin(stoa_works *works, stoa_work *work);
void stoa_work_end(stoa_works *works, stoa_work *work);
/* The one that began first comes last. */
void stoa_works_visit(stoa_works *works, void (*visit)(void *context, const stoa_work_view *view), void *context);

#endif
