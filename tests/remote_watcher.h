/* remote_watcher.h - actors that watch those of another node, for tests/remote_node.c. A watcher monitors three of them, and has a child
 * that is linked to one: when the node is lost, the watcher hears of each of the three, the child fails with it, and is restarted as its
 * parent's supervision says. Both count what they hear by its reason.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_REMOTE_WATCHER_H
#define TESTS_REMOTE_WATCHER_H

#include <stdio.h>

#include "runtime/stoa.h"

enum { WATCHED = 3 };
static const char *const watched_names[WATCHED] = {"ponger/po", "sink/all", "listener/house.>"};

/* --- the child: linked to somebody, traps nothing */

#define held_hold_FIELDS STOA_NO_FIELDS
#define held_done_FIELDS STOA_NO_FIELDS
#define held_ROWS(ROW, K)                                                 \
    ROW(K, COMMAND, hold, done, "Link oneself to the first of the watched.") \
    ROW(K, REPLY, done, _, "Linked.")
STOA_TABLE_HERE(held)

typedef struct held {
    uint64_t unused;
} held;
#define held_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(held, .mailbox_limit = 16)

static stoa_err held_on_hold(stoa_turn *turn, held *self, const held_hold *in, held_done *out)
{
    (void)self, (void)in, (void)out;
    return stoa_turn_link(turn, stoa_turn_find(turn, watched_names[0]));
}

/* --- who watches */

#define watcher_watch_FIELDS       STOA_NO_FIELDS
#define watcher_look_FIELDS        STOA_NO_FIELDS
#define watcher_seen_FIELDS(F, S)  F(S, uint64_t, watched) F(S, uint64_t, lost) F(S, uint64_t, twice) F(S, uint64_t, other) F(S, uint64_t, restarts)
#define watcher_ROWS(ROW, K)                                       \
    ROW(K, COMMAND, watch, seen, "Monitor them, and have a child; again: once more.") \
    ROW(K, COMMAND, look, seen, "What was heard?")                 \
    ROW(K, REPLY, seen, _, "Downs, by what they said.")
STOA_TABLE_HERE(watcher)

typedef struct watcher {
    uint64_t monitors[WATCHED], of_child;
    uint64_t heard[WATCHED];
    watcher_seen seen;
} watcher;
#define watcher_HEARS(HEAR, K) HEAR(K, stoa_system, down)
STOA_PLAIN_KIND(watcher, .supervision = {.restarts = 3, .per_ms = 1000})

static stoa_err watcher_on_watch(stoa_turn *turn, watcher *self, const watcher_watch *in, watcher_seen *out)
{
    char name[STOA_NAME_MAX + 1];
    stoa_err err = STOA_OK;
    (void)in;
    for (uint32_t i = 0; i < WATCHED; i++) {
        self->monitors[i] = stoa_turn_monitor(turn, stoa_turn_find(turn, watched_names[i]));
        self->seen.watched += self->monitors[i] != 0;
        self->heard[i] = 0;
    }
    (void)snprintf(name, sizeof name, "held/%s", stoa_turn_key(turn));
    stoa_ref child = stoa_turn_find(turn, name);
    if (!child.at) { err = stoa_turn_spawn(turn, &held_kind, &(stoa_child){.name = name, .restart = STOA_TRANSIENT}, &child); }
    if (err) { return err; }
    self->of_child = stoa_turn_monitor(turn, child);
    *out = self->seen;
    return STOA_OK;
}

static stoa_err watcher_on_stoa_system_down(stoa_turn *turn, watcher *self, const stoa_system_down *in)
{
    (void)turn;
    bool lost = in->reason == stoa_end_LOST && STOA_TEXT_EQZ(&in->text, "node lost");
    if (in->token == self->of_child) { /* it has failed for the same reason, and is restarted */
        self->seen.restarts += lost && in->returns;
        self->seen.other += !(lost && in->returns);
        return STOA_OK;
    }
    for (uint32_t i = 0; i < WATCHED; i++) {
        if (in->token != self->monitors[i]) { continue; }
        self->seen.lost += lost && self->heard[i] == 0;
        self->seen.twice += self->heard[i]++ > 0;
        self->seen.other += !lost;
        return STOA_OK;
    }
    self->seen.other++;
    return STOA_OK;
}

static stoa_err watcher_on_look(stoa_turn *turn, watcher *self, const watcher_look *in, watcher_seen *out)
{
    (void)turn, (void)in;
    *out = self->seen;
    return STOA_OK;
}

#endif
