/* bounds_probe.h - for bounds_test.c: plain actors that do what they are told, up to the bounds of a core, and a simulated node for them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_BOUNDS_PROBE_H
#define STOA_TESTS_SIM_BOUNDS_PROBE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/internal.h"
#include "runtime/shard.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"

#define probe_aim_FIELDS(F, S)  F(S, uint64_t, target) F(S, uint64_t, sink) F(S, uint64_t, left)
#define probe_die_FIELDS        STOA_NO_FIELDS
#define probe_nop_FIELDS(F, S)  F(S, uint64_t, number)
#define probe_try_FIELDS(F, S)  F(S, uint64_t, way) F(S, uint64_t, number)
#define probe_seen_FIELDS(F, S) F(S, uint64_t, nops) F(S, uint64_t, downs) F(S, uint64_t, reason) F(S, uint64_t, count) F(S, int64_t, error)
#define probe_news_FIELDS(F, S) F(S, uint64_t, number)
#define probe_ROWS(ROW, K)                                                              \
    ROW(K, CAST, aim, _, "Send the sink so many, then monitor the target and tell it to end.")     \
    ROW(K, CAST, die, _, "End.")                                                        \
    ROW(K, CAST, nop, _, "Count.")                                                      \
    ROW(K, COMMAND, try, seen, "Try something; tell how far it went.")                  \
    ROW(K, REPLY, seen, _, "What was seen.")                                            \
    ROW(K, TOPIC, news, _, "News.")
STOA_TABLE_HERE(probe)
typedef struct probe {
    probe_seen seen;
} probe;
#define probe_HEARS(HEAR, K) HEAR(K, stoa_system, down)
STOA_PLAIN_KIND(probe, .mailbox_limit = 100000)

enum { TRY_LOOK, TRY_TAKE, TRY_TELL_CALLER, TRY_BEAR, TRY_BIND, TRY_BIND_NEW, TRY_BIND_REFUSED, TRY_PUBLISH };

#define kid_nop_FIELDS STOA_NO_FIELDS
#define kid_ROWS(ROW, K) ROW(K, CAST, nop, _, "Nothing.")
STOA_TABLE_HERE(kid)
typedef struct kid {
    unsigned char bytes[1000];
} kid;
static stoa_err joined;
static inline stoa_err kid_start(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    joined = stoa_turn_join(turn, "pool");
    return STOA_OK;
}
#define kid_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(kid, .start = kid_start)
static inline stoa_err kid_on_nop(stoa_turn *turn, kid *self, const kid_nop *in)
{
    (void)turn, (void)in;
    self->bytes[0] = 1;
    return STOA_OK;
}

static inline stoa_err aim(stoa_turn *turn, stoa_ref target)
{
    if (!stoa_turn_monitor(turn, target)) { return STOA_E_FULL; }
    return probe_send_die(turn, target, (probe_die){0});
}

static inline stoa_err probe_on_aim(stoa_turn *turn, probe *self, const probe_aim *in)
{
    (void)self;
    if (!in->left) { return aim(turn, (stoa_ref){in->target}); }
    uint64_t count = in->left < 50 ? in->left : 50;
    stoa_err err = STOA_OK;
    for (uint64_t i = 0; i < count && !err; i++) { err = probe_send_nop(turn, (stoa_ref){in->sink}, (probe_nop){i}); }
    return err ? err : probe_send_aim(turn, turn->self, (probe_aim){in->target, in->sink, in->left - count});
}

static inline stoa_err probe_on_die(stoa_turn *turn, probe *self, const probe_die *in)
{
    (void)self, (void)in;
    return stoa_turn_exit(turn, "told to");
}

static inline stoa_err probe_on_nop(stoa_turn *turn, probe *self, const probe_nop *in)
{
    (void)turn, (void)in;
    self->seen.nops++;
    return STOA_OK;
}

static inline stoa_err probe_on_stoa_system_down(stoa_turn *turn, probe *self, const stoa_system_down *in)
{
    (void)turn;
    self->seen.downs++;
    self->seen.reason = in->reason;
    return STOA_OK;
}

static inline uint64_t take_all(stoa_turn *turn)
{
    uint64_t taken = 0;
    for (size_t bytes = (512 << 10) - 64; bytes; bytes /= 2) {
        while (stoa_turn_alloc(turn, bytes)) { taken++; }
    }
    return taken;
}

static inline void bear(stoa_turn *turn, uint64_t most, probe_seen *out)
{
    stoa_ref ref;
    for (; out->count < most && !out->error; out->count += !out->error) { out->error = stoa_turn_spawn(turn, &kid_kind, NULL, &ref); }
}

/* A topic of that number, and something published on it. */
static inline stoa_err bind_new(stoa_turn *turn, uint64_t number)
{
    char name[STOA_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "order.%llu", (unsigned long long)number);
    stoa_err err = stoa_turn_bind(turn, 0, name);
    return err ? err : probe_publish_news(turn, 0, &(probe_news){number});
}

/* Two other topics, one behind the other, in a turn that is refused. */
static inline stoa_err bind_refused(stoa_turn *turn)
{
    stoa_err err = stoa_turn_bind(turn, 0, "two");
    if (!err) { err = stoa_turn_bind(turn, 0, "three"); }
    return err ? err : STOA_E_INVALID;
}

static inline stoa_err probe_on_try(stoa_turn *turn, probe *self, const probe_try *in, probe_seen *out)
{
    *out = self->seen;
    switch (in->way) {
    case TRY_TAKE: out->count = take_all(turn); return STOA_OK;
    case TRY_TELL_CALLER: out->error = probe_send_nop(turn, turn->from, (probe_nop){1}); return STOA_OK;
    case TRY_BEAR: bear(turn, in->number, out); return STOA_OK;
    case TRY_BIND: return stoa_turn_bind(turn, 0, "one");
    case TRY_BIND_NEW: return bind_new(turn, in->number);
    case TRY_BIND_REFUSED: return bind_refused(turn);
    case TRY_PUBLISH: out->error = probe_publish_news(turn, 0, &(probe_news){1}); return STOA_OK;
    default: return STOA_OK;
    }
}

typedef struct stage {
    stoa_sim *sim;
    stoa_node *node;
} stage;

static inline stage stage_open(uint64_t seed, uint32_t cores, uint64_t memory_bytes)
{
    stage s;
    stoa_sim_options options = {.seed = seed, .cores = cores, .memory_bytes = memory_bytes};
    stoa_log_level_set(STOA_LOG_OFF);
    assert_int_equal(stoa_sim_new(&options, &s.sim, &s.node), STOA_OK);
    return s;
}

static inline void stage_close(stage *s)
{
    stoa_sim_free(s->sim);
}

static inline stoa_ref spawn(stage *s, const char *key, uint32_t core)
{
    stoa_ref ref;
    char name[STOA_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "probe/%s", key);
    assert_int_equal(stoa_spawn(s->node, &probe_kind, name, &(stoa_spawn_options){.core = core}, &ref), STOA_OK);
    return ref;
}

static inline probe_seen try(stage *s, stoa_ref who, uint64_t way, uint64_t number)
{
    probe_seen out;
    assert_int_equal(probe_call_try(s->node, who, (probe_try){way, number}, STOA_S(5), &out), STOA_OK);
    return out;
}

static inline uint64_t dropped(stage *s, uint32_t core, stoa_drop reason)
{
    stoa_core_view view;
    assert_int_equal(stoa_core_look(s->node, core, &view), STOA_OK);
    return view.dropped[reason];
}

#endif
