/* move_world.h - actors for the tests of moves: a nomad that checks the order of what it gets and can be made busy in any way, a
 * sender that numbers what it sends to one reference, and an atlas whose state is mapped.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_MOVE_WORLD_H
#define STOA_TESTS_MOVE_WORLD_H

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

enum { SENDERS = 12, ARGS = 0x5ca1ab1e };

/* --- nomad */

#define nomad_note_FIELDS(F, S)  F(S, uint64_t, who) F(S, uint64_t, n)
#define nomad_order_FIELDS(F, S) F(S, uint64_t, who) F(S, uint64_t, n)
#define nomad_ack_FIELDS(F, S)   F(S, uint64_t, n)
#define nomad_seen_FIELDS(F, S)                                                                                        \
    F(S, uint64_t, count) F(S, uint64_t, disorder) F(S, uint64_t, sum) F(S, uint64_t, args) F(S, uint64_t, starts)     \
    F(S, uint64_t, downs) F(S, uint64_t, down_ref) F(S, uint64_t, down_core) F(S, uint64_t, news)
#define nomad_read_FIELDS       STOA_NO_FIELDS
#define nomad_busy_FIELDS(F, S) F(S, uint64_t, what) F(S, uint64_t, ref)
#define nomad_tick_FIELDS       STOA_NO_FIELDS
#define nomad_hold_FIELDS       STOA_NO_FIELDS
#define nomad_news_FIELDS(F, S) F(S, uint64_t, n)
#define nomad_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, note, _, "A sender's next number.")                                                                   \
    ROW(K, COMMAND, order, ack, "A sender's next number, to be answered.")                                             \
    ROW(K, REPLY, ack, _, "The number.")                                                                               \
    ROW(K, COMMAND, read, seen, "What arrived.")                                                                       \
    ROW(K, COMMAND, busy, seen, "Do something, or have it under way.")                                                 \
    ROW(K, COMMAND, hold, ack, "Never answered.")                                                                      \
    ROW(K, CAST, tick, _, "A timer.")                                                                                  \
    ROW(K, REPLY, seen, _, "What arrived.")                                                                            \
    ROW(K, TOPIC, news, _, "What is published.")
STOA_TABLE_HERE(nomad)

enum nomad_what {
    TIMER, NO_TIMER, ASK, GATHER, MONITOR, NO_MONITOR, LINK, UNLINK, CHILD, MEMORY, NO_MEMORY, SUBSCRIBE, UNSUBSCRIBE, JOIN, LEAVE,
    WAIT_FOR_ROOM, BIND, PUBLISH, TELL_MEMBER, STOP, FAIL,
};

typedef struct nomad {
    nomad_seen seen;
    uint64_t next[SENDERS], monitor;
    stoa_timer timer;
    void *memory;
} nomad;
typedef struct nomad_args {
    uint64_t mark;
} nomad_args;
#define nomad_HEARS(HEAR, K)                                                                                           \
    HEAR(K, stoa_system, down) HEAR(K, stoa_system, gathered) HEAR(K, stoa_system, room) HEAR(K, nomad, ack)           \
    HEAR(K, nomad, news)

static stoa_err nomad_start(stoa_turn *turn, void *state, const void *args)
{
    nomad *self = state;
    (void)turn;
    self->seen.args = args ? ((const nomad_args *)args)->mark : 0;
    self->seen.starts++;
    return STOA_OK;
}
STOA_PLAIN_KIND(nomad, .mailbox_limit = 1 << 20, .start = nomad_start, .args_bytes = sizeof(nomad_args),
                .supervision = {.strategy = STOA_ONE_FOR_ONE, .backoff_min_ms = 1, .backoff_max_ms = 2})

static void got(nomad *self, uint64_t who, uint64_t n)
{
    self->seen.count++;
    self->seen.sum += n;
    self->seen.disorder += n != self->next[who]++;
}
static stoa_err nomad_on_note(stoa_turn *turn, nomad *self, const nomad_note *in)
{
    (void)turn;
    got(self, in->who, in->n);
    return STOA_OK;
}
static stoa_err nomad_on_order(stoa_turn *turn, nomad *self, const nomad_order *in, nomad_ack *out)
{
    (void)turn;
    got(self, in->who, in->n);
    out->n = in->n;
    return STOA_OK;
}
static stoa_err nomad_on_read(stoa_turn *turn, nomad *self, const nomad_read *in, nomad_seen *out)
{
    (void)turn;
    (void)in;
    *out = self->seen;
    return STOA_OK;
}
static stoa_err nomad_on_hold(stoa_turn *turn, nomad *self, const nomad_hold *in, nomad_ack *out)
{
    (void)self;
    (void)in;
    (void)out;
    stoa_turn_no_answer(turn);
    return STOA_OK;
}
static stoa_err nomad_on_tick(stoa_turn *turn, nomad *self, const nomad_tick *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}
static stoa_err nomad_on_stoa_system_down(stoa_turn *turn, nomad *self, const stoa_system_down *in)
{
    (void)turn;
    self->seen.downs++;
    self->seen.down_ref = in->ref;
    self->seen.down_core = in->core;
    return STOA_OK;
}
static stoa_err nomad_on_stoa_system_gathered(stoa_turn *turn, nomad *self, const stoa_system_gathered *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}
static stoa_err nomad_on_stoa_system_room(stoa_turn *turn, nomad *self, const stoa_system_room *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}
static stoa_err nomad_on_nomad_ack(stoa_turn *turn, nomad *self, const nomad_ack *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}
static stoa_err nomad_on_nomad_news(stoa_turn *turn, nomad *self, const nomad_news *in)
{
    (void)turn;
    self->seen.news += in->n;
    return STOA_OK;
}

static stoa_err gather(stoa_turn *turn, stoa_ref other)
{
    stoa_gather all;
    stoa_err err = stoa_turn_gather(turn, STOA_S(3600), 2, &all);
    return err ? err : nomad_gather_hold(turn, &all, other, (nomad_hold){{0}});
}
/* Named by its parent's key, with its arguments, restarted always. */
static stoa_err have_child(stoa_turn *turn)
{
    char name[64];
    stoa_ref child;
    nomad_args args = {ARGS + 1};
    (void)snprintf(name, sizeof name, "nomad/%s.child", stoa_turn_key(turn));
    return stoa_turn_spawn(turn, &nomad_kind, &(stoa_child){.name = name, .args = &args, .restart = STOA_PERMANENT}, &child);
}
static stoa_err with_others(stoa_turn *turn, nomad *self, uint64_t what, stoa_ref other)
{
    nomad_news news = {1};
    if (what == MONITOR) { return (self->monitor = stoa_turn_monitor(turn, other)) ? STOA_OK : STOA_E_FULL; }
    if (what == LINK) { return stoa_turn_link(turn, other); }
    if (what == ASK) { return nomad_ask_hold(turn, other, (nomad_hold){{0}}, STOA_S(3600), 1); }
    if (what == GATHER) { return gather(turn, other); }
    if (what == STOP) { return stoa_turn_stop(turn, other, NULL); }
    if (what == WAIT_FOR_ROOM) { return stoa_turn_when_room(turn, other, 1); }
    if (what == SUBSCRIBE) { return stoa_turn_subscribe(turn, "news.*"); }
    if (what == JOIN) { return stoa_turn_join(turn, "crew"); }
    if (what == BIND) {
        stoa_err err = stoa_turn_bind(turn, 2, "news.nomad");
        return err ? err : stoa_turn_bind(turn, 3, "crew");
    }
    if (what == PUBLISH) { return nomad_publish_news(turn, 2, &news); }
    if (what == TELL_MEMBER) { return nomad_send_news(turn, stoa_turn_member_next(turn, 3), &news); }
    if (what == MEMORY) { return (self->memory = stoa_turn_alloc(turn, 100)) ? STOA_OK : STOA_E_FULL; }
    return what == CHILD ? have_child(turn) : stoa_fail(turn, "asked to");
}
static stoa_err nomad_on_busy(stoa_turn *turn, nomad *self, const nomad_busy *in, nomad_seen *out)
{
    stoa_err err = STOA_OK;
    *out = self->seen;
    if (in->what == TIMER) {
        err = nomad_after_tick(turn, STOA_S(3600), (nomad_tick){{0}}, &self->timer);
    } else if (in->what == NO_TIMER) {
        stoa_turn_cancel(turn, self->timer);
    } else if (in->what == NO_MONITOR) {
        stoa_turn_demonitor(turn, self->monitor);
    } else if (in->what == UNLINK) {
        stoa_turn_unlink(turn, (stoa_ref){in->ref});
    } else if (in->what == NO_MEMORY) {
        stoa_turn_free(turn, self->memory);
    } else if (in->what == UNSUBSCRIBE) {
        err = stoa_turn_unsubscribe(turn, "news.*");
    } else if (in->what == LEAVE) {
        err = stoa_turn_leave(turn, "crew");
    } else {
        err = with_others(turn, self, in->what, (stoa_ref){in->ref});
    }
    return err;
}

/* --- helpers */

static inline stoa_ref spawn(stoa_node *node, const stoa_kind *kind, const char *name, uint32_t core)
{
    stoa_ref ref;
    nomad_args args = {ARGS};
    stoa_spawn_options options = {.core = core, .args = kind == &nomad_kind ? &args : NULL};
    assert_int_equal(stoa_spawn(node, kind, name, &options, &ref), STOA_OK);
    return ref;
}

static inline nomad_seen read_seen(stoa_node *node, stoa_ref who)
{
    nomad_seen seen;
    assert_int_equal(nomad_call_read(node, who, (nomad_read){{0}}, STOA_S(10), &seen), STOA_OK);
    return seen;
}

static inline stoa_err be_busy(stoa_node *node, stoa_ref who, enum nomad_what what, stoa_ref other)
{
    nomad_seen seen;
    return nomad_call_busy(node, who, (nomad_busy){(uint64_t)what, other.at}, STOA_S(10), &seen);
}

static inline stoa_ref moved(stoa_node *node, stoa_ref who, uint32_t core)
{
    stoa_ref out;
    assert_int_equal(stoa_move(node, who, core, &out), STOA_OK);
    assert_int_equal(stoa_ref_place(out), core);
    return out;
}

/* Used by messages and what actors hold, on all cores. */
static inline uint64_t used(stoa_node *node)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < node->core_count; i++) {
        stoa_core_view view;
        assert_int_equal(stoa_core_look(node, i, &view), STOA_OK);
        bytes += view.used_bytes;
    }
    return bytes;
}

static inline void view_one(void *context, const stoa_actor_view *view)
{
    stoa_actor_view *one = context;
    assert_null(one->kind); /* it is seen once */
    *one = *view;
}
static inline stoa_actor_view view_of(stoa_node *node, const char *name)
{
    stoa_actor_view view = {0};
    assert_int_equal(stoa_actors(node, name, view_one, &view), STOA_OK);
    return view;
}

#endif
