/* undo_test.c - goal: a cascade that is undone (stoa_fail or stoa_turn_undo in its middle) has not happened, in nothing that a turn may
 * do: events, mail, outside effects, timers, children, asks, topics, sends; who asked hears why, under its request's name may ask
 * again, and what was mailed comes back. Cascades before it in the same block stay. An error alone undoes nothing. That holds for turns
 * without events, too. Who begins anew gets nothing that its last incarnation was to get, and a resume that leads into the next undo
 * does not take the core.
 *
 * Method: a walker does all of that and hands on to its peer, which does what it was told. Two shards in the simulator.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/kit.h"
#include "runtime/log_reader.h"
#include "storage/sim/journal.h"

enum { HOW_FINE, HOW_FAIL, HOW_UNDO, HOW_ERROR };
#define DEADLINE STOA_S(5)

#define outdoors_do_FIELDS(F, S) F(S, uint64_t, number)
#define outdoors_ROWS(ROW, K)    ROW(K, CAST, do, _, "Be done outside.")
STOA_TABLE_HERE(outdoors)

#define bystander_hear_FIELDS(F, S)  F(S, uint64_t, number)
#define bystander_reply_FIELDS(F, S) F(S, uint64_t, number)
#define bystander_ROWS(ROW, K)                                                                                         \
    ROW(K, COMMAND, hear, reply, "Be asked.")                                                                          \
    ROW(K, REPLY, reply, _, "Heard.")
STOA_TABLE_HERE(bystander)

#define walker_go_FIELDS(F, S)      F(S, uint64_t, number) F(S, uint64_t, how) F(S, uint64_t, much)
#define walker_next_FIELDS(F, S)    F(S, uint64_t, number) F(S, uint64_t, how)
#define walker_post_FIELDS(F, S)    F(S, uint64_t, number) F(S, uint64_t, how)
#define walker_carry_FIELDS(F, S)   F(S, uint64_t, number) F(S, uint64_t, how)
#define walker_wonder_FIELDS(F, S)  F(S, uint64_t, number) F(S, uint64_t, how)
#define walker_hint_FIELDS(F, S)    F(S, uint64_t, number)
#define walker_wait_FIELDS(F, S)    F(S, uint64_t, number)
#define walker_hold_FIELDS(F, S)    F(S, uint64_t, number)
#define walker_tell_FIELDS(F, S)    F(S, uint64_t, number)
#define walker_arm_FIELDS(F, S)     F(S, uint64_t, number)
#define walker_slip_FIELDS(F, S)    F(S, uint64_t, number)
#define walker_child_FIELDS(F, S)   F(S, uint64_t, number) F(S, uint64_t, how)
#define walker_tick_FIELDS(F, S)    F(S, uint64_t, number)
#define walker_gone_FIELDS(F, S)    F(S, uint64_t, number)
#define walker_walked_FIELDS(F, S)  F(S, uint64_t, number)
#define walker_came_back_FIELDS(F, S) F(S, uint64_t, number) F(S, int64_t, error)
#define walker_heard_FIELDS(F, S)   F(S, int64_t, error)
#define walker_passing_FIELDS(F, S) F(S, uint64_t, number)
#define walker_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, go, gone, "Walk, do everything that can be undone (much), and have the peer walk, too.")           \
    ROW(K, CAST, next, _, "The peer's part.")                                                                          \
    ROW(K, COMMAND, post, gone, "Mail a carry to the walker abroad.")                                                  \
    ROW(K, CAST, carry, _, "Mailed: walk, and have the peer walk, too.")                                               \
    ROW(K, COMMAND, wonder, gone, "Ask the peer to go, and take note of what it says.")                                \
    ROW(K, COMMAND, hint, gone, "Without an event: say so on the topic, answer, and have the peer carry what is undone.")  \
    ROW(K, COMMAND, wait, gone, "Ask the peer to hold.")                                                               \
    ROW(K, COMMAND, hold, gone, "Answer when told.")                                                                   \
    ROW(K, CAST, tell, _, "Have the peer undo, and behind that answer what is held.")                                  \
    ROW(K, CAST, arm, _, "Tick in some ms, slip at the same time.")                                                    \
    ROW(K, CAST, slip, _, "A timer: carry what is undone.")                                                            \
    ROW(K, CAST, child, _, "Without an event: a named child and a timer; then hand on.")                               \
    ROW(K, CAST, tick, _, "A timer.")                                                                                  \
    ROW(K, REPLY, gone, _, "Walked.")                                                                                  \
    ROW(K, EVENT, walked, _, "It walked.")                                                                             \
    ROW(K, EVENT, came_back, _, "What it mailed was refused.")                                                         \
    ROW(K, EVENT, heard, _, "The peer has answered.")                                                                  \
    ROW(K, TOPIC, passing, _, "Somebody walks.")
STOA_TABLE_HERE(walker)

typedef struct bystander {
    uint64_t heard;
} bystander;
#define bystander_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(bystander, .mailbox_limit = 64)

typedef struct walker {
    uint64_t walked, came_back, heard;
    int64_t error;
} walker;
static stoa_err resume(stoa_turn *turn, const void *state);
STOA_PROXY(outdoors)
#define walker_HEARS(HEAR, K) HEAR(K, stoa_system, undelivered) HEAR(K, walker, gone) HEAR(K, bystander, reply)
STOA_KIND(walker, .resume = resume)

static stoa_ref onlooker;              /* the bystander */
static unsigned ticks, children, asked; /* what has come of it, outside of states */
static unsigned resumes;
static bool loops;                      /* a resume leads to what is undone */
static stoa_asker held;

static stoa_err bystander_on_hear(stoa_turn *turn, bystander *self, const bystander_hear *in, bystander_reply *out)
{
    (void)turn;
    self->heard++;
    asked++;
    out->number = in->number;
    return STOA_OK;
}

static stoa_err resume(stoa_turn *turn, const void *state)
{
    (void)state;
    resumes++;
    stoa_err err = stoa_turn_bind(turn, 0, "walkers");
    if (!err && loops && stoa_turn_stream(turn) == 1) { err = walker_send_carry(turn, turn->self, (walker_carry){1, HOW_UNDO}); }
    return err;
}

static stoa_ref peer(const stoa_turn *turn)
{
    return stoa_turn_peer(turn, 3 - stoa_turn_stream(turn));
}

/* All that a turn may do. */
static stoa_err do_much(stoa_turn *turn, uint64_t number)
{
    stoa_ref child;
    stoa_err err = walker_mail_carry(turn, "abroad:walker/c", (walker_carry){number, HOW_FINE}, number);
    if (!err) { err = outdoors_effect_do(turn, (outdoors_do){number}); }
    if (!err) { err = walker_after_tick(turn, STOA_MS(5), (walker_tick){number}, NULL); }
    if (!err) { err = walker_publish_passing(turn, 0, &(walker_passing){number}); }
    if (!err) { err = bystander_ask_hear(turn, onlooker, (bystander_hear){number}, DEADLINE, 1); }
    if (!err) { err = stoa_turn_spawn(turn, &bystander_kind, NULL, &child); }
    if (!err) { children++; }
    return err;
}

static stoa_err walker_on_go(stoa_turn *turn, const walker *self, const walker_go *in, walker_gone *out)
{
    (void)self, (void)out;
    stoa_err err = walker_emit_walked(turn, (walker_walked){in->number});
    if (!err && in->much) { err = do_much(turn, in->number); }
    return err ? err : walker_forward_next(turn, peer(turn), (walker_next){in->number, in->how});
}

static stoa_err walker_on_next(stoa_turn *turn, const walker *self, const walker_next *in)
{
    (void)self;
    if (in->how == HOW_FAIL) { return stoa_fail(turn, "told to"); }
    if (in->how == HOW_UNDO) { return stoa_turn_undo(turn, STOA_E_PRECISION); }
    if (in->how == HOW_ERROR) { return STOA_E_RANGE; }
    stoa_err err = walker_emit_walked(turn, (walker_walked){in->number});
    return err ? err : walker_answer_gone(turn, (walker_gone){in->number});
}

static stoa_err walker_on_post(stoa_turn *turn, const walker *self, const walker_post *in, walker_gone *out)
{
    (void)self;
    out->number = in->number;
    return walker_mail_carry(turn, "abroad:walker/c", (walker_carry){in->number, in->how}, in->number);
}

static stoa_err walker_on_carry(stoa_turn *turn, const walker *self, const walker_carry *in)
{
    (void)self;
    stoa_err err = walker_emit_walked(turn, (walker_walked){in->number});
    return err ? err : walker_send_next(turn, peer(turn), (walker_next){in->number, in->how});
}

/* A turn without events asks; the peer's go, and what follows from it, may be undone. */
static stoa_err walker_on_wonder(stoa_turn *turn, const walker *self, const walker_wonder *in, walker_gone *out)
{
    (void)self;
    out->number = in->number;
    return walker_ask_go(turn, peer(turn), (walker_go){.number = in->number, .how = in->how}, DEADLINE, in->number);
}

static stoa_err walker_on_hint(stoa_turn *turn, const walker *self, const walker_hint *in, walker_gone *out)
{
    (void)self;
    out->number = in->number;
    stoa_err err = walker_publish_passing(turn, 0, &(walker_passing){in->number});
    return err ? err : walker_send_carry(turn, peer(turn), (walker_carry){in->number, HOW_UNDO});
}

static stoa_err walker_on_wait(stoa_turn *turn, const walker *self, const walker_wait *in, walker_gone *out)
{
    (void)self, (void)out;
    return walker_ask_hold(turn, peer(turn), (walker_hold){in->number}, DEADLINE, in->number);
}

static stoa_err walker_on_hold(stoa_turn *turn, const walker *self, const walker_hold *in, walker_gone *out)
{
    (void)self, (void)in, (void)out;
    stoa_turn_keep(turn, &held);
    return STOA_OK;
}

static stoa_err walker_on_tell(stoa_turn *turn, const walker *self, const walker_tell *in)
{
    (void)self;
    stoa_err err = walker_send_next(turn, peer(turn), (walker_next){in->number, HOW_UNDO});
    return err ? err : stoa_turn_answer_kept(turn, &held, &walker_rows[walker_ROW_gone], &(walker_gone){in->number}, STOA_OK);
}

static stoa_err walker_on_arm(stoa_turn *turn, const walker *self, const walker_arm *in)
{
    (void)self;
    stoa_err err = walker_after_slip(turn, STOA_MS(5), (walker_slip){in->number}, NULL);
    return err ? err : walker_after_tick(turn, STOA_MS(5), (walker_tick){in->number}, NULL);
}

static stoa_err walker_on_slip(stoa_turn *turn, const walker *self, const walker_slip *in)
{
    return walker_on_carry(turn, self, &(walker_carry){in->number, HOW_UNDO});
}

static stoa_err walker_on_child(stoa_turn *turn, const walker *self, const walker_child *in)
{
    (void)self;
    stoa_ref child;
    stoa_err err = stoa_turn_spawn(turn, &bystander_kind, &(stoa_child){.name = "bystander/kid"}, &child);
    if (!err) { err = walker_after_tick(turn, STOA_MS(5), (walker_tick){in->number}, NULL); }
    return err ? err : walker_send_next(turn, peer(turn), (walker_next){in->number, in->how});
}

static stoa_err walker_on_walker_gone(stoa_turn *turn, const walker *self, const walker_gone *in)
{
    (void)self, (void)in;
    return walker_emit_heard(turn, (walker_heard){turn->error});
}

static stoa_err walker_on_bystander_reply(stoa_turn *turn, const walker *self, const bystander_reply *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}

static stoa_err walker_on_tick(stoa_turn *turn, const walker *self, const walker_tick *in)
{
    (void)turn, (void)self, (void)in;
    ticks++;
    return STOA_OK;
}

static stoa_err walker_on_stoa_system_undelivered(stoa_turn *turn, const walker *self, const stoa_system_undelivered *in)
{
    (void)self;
    return walker_emit_came_back(turn, (walker_came_back){in->token, in->error});
}

static void walker_apply_walked(walker *self, const walker_walked *event)
{
    self->walked += event->number;
}

static void walker_apply_came_back(walker *self, const walker_came_back *event)
{
    self->came_back += event->number;
    self->error = event->error;
}

static void walker_apply_heard(walker *self, const walker_heard *event)
{
    self->heard++;
    self->error = event->error;
}

/* --- the stage */

static struct stage {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shards[2];
    stoa_ref walkers[4]; /* a and b at home, c and d abroad */
    stoa_port *port;     /* where effects are done, topics are heard, and requests come from */
    unsigned effects, topics, answers, fine;
} s;

static void attach(stoa_durability durability)
{
    static const char *const shards[] = {"home", "abroad"};
    static const char *const names[] = {"walker/a", "walker/b", "walker/c", "walker/d"};
    for (uint32_t i = 0; i < 2; i++) {
        char path[24];
        (void)snprintf(path, sizeof path, "sim:%s", shards[i]);
        stoa_shard_options options = {.name = shards[i], .core = i, .durability = durability, .journal = &stoa_journal_sim, .path = path};
        if (durability == stoa_durability_NONE) { options.journal = NULL; }
        assert_int_equal(stoa_shard_open(s.node, &options, &s.shards[i]), STOA_OK);
        for (uint32_t k = 2 * i; k < 2 * i + 2; k++) {
            stoa_spawn_options where = {.shard = s.shards[i]};
            assert_int_equal(stoa_spawn(s.node, &walker_kind, names[k], &where, &s.walkers[k]), STOA_OK);
        }
    }
    assert_int_equal(stoa_spawn(s.node, &bystander_kind, "bystander/x", &(stoa_spawn_options){.core = 1}, &onlooker), STOA_OK);
    assert_int_equal(stoa_port_open(s.node, "outside", &s.port), STOA_OK);
    assert_int_equal(stoa_port_serve(s.port, &outdoors_table), STOA_OK);
    assert_int_equal(stoa_port_subscribe(s.port, "walkers"), STOA_OK);
}

static void begin(stoa_durability durability)
{
    static const stoa_kind *const kinds[] = {&walker_kind, NULL};
    stoa_sim_disk *disk;
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    stoa_sim_disks_free();
    s = (struct stage){0};
    ticks = children = asked = resumes = 0;
    loops = false;
    assert_int_equal(stoa_sim_disk_get("home", 1, &disk), STOA_OK);
    assert_int_equal(stoa_sim_disk_get("abroad", 2, &disk), STOA_OK);
    stoa_sim_options options = {.seed = 7, .cores = 2, .kinds = kinds, .trace = stoa_seeds_trace()};
    assert_int_equal(stoa_sim_new(&options, &s.sim, &s.node), STOA_OK);
    attach(durability);
}

static void end(void)
{
    stoa_sim_free(s.sim);
    stoa_sim_disks_free();
}

static void take(void *context, const stoa_delivery *d)
{
    (void)context;
    if (d->effect) {
        s.effects++;
        assert_int_equal(stoa_port_effected(s.port, d->effect, STOA_OK), STOA_OK);
        stoa_port_flush(s.port);
    } else if (d->answer) {
        s.answers++;
        s.fine += d->error == STOA_OK;
    } else {
        s.topics++;
    }
}

static void settle(void)
{
    do { assert_int_equal(stoa_sim_settle(s.sim, 1000000), STOA_OK); } while (stoa_port_poll(s.port, take, NULL, 64));
    assert_null(stoa_sim_dead(s.sim));
}

static const walker *at(unsigned i)
{
    return stoa_sim_state(s.sim, s.walkers[i], NULL);
}

static stoa_err in_order(void *context, const stoa_event_view *event)
{
    uint64_t *seqs = context;
    return event->seq == ++seqs[event->stream] ? STOA_OK : STOA_E_GAP;
}

static void check_replay(unsigned shard)
{
    uint64_t seqs[3] = {0};
    stoa_log_reader *reader;
    assert_int_equal(stoa_log_open(s.shards[shard], &reader), STOA_OK);
    assert_int_equal(stoa_log_read(reader, 1, UINT64_MAX, in_order, seqs, NULL), STOA_OK);
    stoa_log_close(reader);
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    assert_int_equal(stoa_shard_look(s.shards[shard], &live), STOA_OK);
    assert_int_equal(stoa_shard_replay(s.shards[shard], live.applied, &hash, &events), STOA_OK);
    assert_true(events == live.applied && hash == live.hash);
}

static uint64_t applied(unsigned shard)
{
    stoa_shard_view live;
    assert_int_equal(stoa_shard_look(s.shards[shard], &live), STOA_OK);
    return live.applied;
}

static stoa_err go(uint64_t number, uint64_t how, uint64_t much)
{
    walker_gone out;
    return walker_call_go(s.node, s.walkers[0], (walker_go){number, how, much}, DEADLINE, &out);
}

/* --- the tests */

static void nothing_of_it_has_happened(void **state)
{
    (void)state;
    static const struct { uint64_t how; stoa_err err; } ways[] = {{HOW_FAIL, STOA_E_FAILED}, {HOW_UNDO, STOA_E_PRECISION}};
    for (unsigned i = 0; i < 4; i++) {
        begin(i < 2 ? stoa_durability_DISK : stoa_durability_MEMORY);
        settle();
        uint64_t before = applied(0);
        bool effects = i < 2; /* names of effects may not return, which memory cannot promise */
        if (effects) { assert_int_equal(go(1, ways[i % 2].how, 1), ways[i % 2].err); }
        assert_int_equal(go(1, ways[i % 2].how, 0), ways[i % 2].err);
        stoa_sim_run(s.sim, STOA_S(2));
        settle();
        assert_int_equal(applied(0), before);
        assert_int_equal(applied(1), 2); /* its two actors */
        for (unsigned k = 0; k < 4; k++) { assert_int_equal(at(k)->walked, 0); }
        assert_int_equal(s.effects + s.topics + ticks + asked, 0);
        assert_int_equal(children, effects);
        assert_int_equal(go(1, HOW_FINE, effects), STOA_OK); /* and now all of it */
        stoa_sim_run(s.sim, STOA_S(2));
        settle();
        assert_int_equal(at(0)->walked, 1);
        assert_int_equal(at(1)->walked, 1);
        if (effects) { assert_true(s.effects == 1 && s.topics == 1 && ticks == 1 && asked == 1 && at(2)->walked == 1); }
        check_replay(0);
        check_replay(1);
        end();
    }
}

static void an_error_refuses_a_message_and_undoes_nothing(void **state)
{
    (void)state;
    begin(stoa_durability_DISK);
    assert_int_equal(go(1, HOW_ERROR, 1), STOA_E_RANGE);
    stoa_sim_run(s.sim, STOA_S(2));
    settle();
    assert_int_equal(at(0)->walked, 1);
    assert_int_equal(at(1)->walked, 0);
    assert_true(s.effects == 1 && s.topics == 1 && ticks == 1 && asked == 1 && at(2)->walked == 1);
    check_replay(0);
    end();
}

static void a_first_turn_is_refused_and_there_is_nothing_to_undo(void **state)
{
    (void)state;
    begin(stoa_durability_DISK);
    assert_int_equal(walker_post_next(s.node, s.walkers[1], (walker_next){1, HOW_UNDO}), STOA_OK);
    assert_int_equal(walker_post_next(s.node, s.walkers[1], (walker_next){1, HOW_FAIL}), STOA_OK);
    assert_int_equal(go(2, HOW_FINE, 0), STOA_OK);
    settle();
    assert_int_equal(at(0)->walked, 2);
    check_replay(0);
    end();
}

static void without_a_journal_the_message_alone_is_refused(void **state)
{
    (void)state;
    begin(stoa_durability_NONE);
    assert_int_equal(go(1, HOW_UNDO, 0), STOA_E_PRECISION);
    assert_int_equal(go(1, HOW_FAIL, 0), STOA_E_FAILED);
    assert_int_equal(at(0)->walked, 2);
    assert_int_equal(at(1)->walked, 0);
    end();
}

/* All are sent before any is handled: they share runs and blocks. */
static void cascades_before_and_behind_it_stay(void **state)
{
    (void)state;
    enum { MANY = 40 };
    begin(stoa_durability_DISK);
    const stoa_row *row = &walker_rows[walker_ROW_go];
    for (uint64_t i = 0; i < MANY; i++) {
        walker_go in = {.number = UINT64_C(1) << i, .how = i % 5 == 2 ? HOW_UNDO : HOW_FINE, .much = i % 8 == 0 || i == 2};
        assert_int_equal(stoa_port_ask(s.port, s.walkers[i % 2], row, &in, 0, stoa_sim_now(s.sim) + DEADLINE, i), STOA_OK);
    }
    stoa_port_flush(s.port);
    settle();
    assert_int_equal(s.answers, MANY);
    assert_int_equal(s.fine, MANY - MANY / 5);
    uint64_t expected = 0;
    for (uint64_t i = 0; i < MANY; i++) { expected |= i % 5 == 2 ? 0 : UINT64_C(1) << i; }
    assert_true(at(0)->walked == expected && at(1)->walked == expected);
    check_replay(0);
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("home", 1, &disk), STOA_OK);
    stoa_sim_disk_crash(disk);
    assert_int_equal(stoa_sim_crash(s.sim, &s.node), STOA_OK);
    attach(stoa_durability_DISK);
    settle();
    assert_true(at(0)->walked == expected && at(1)->walked == expected);
    check_replay(0);
    end();
}

static void what_was_mailed_comes_back(void **state)
{
    (void)state;
    walker_gone out;
    begin(stoa_durability_DISK);
    for (uint64_t how = HOW_FAIL; how <= HOW_UNDO; how++) {
        assert_int_equal(walker_call_post(s.node, s.walkers[0], (walker_post){how, how}, DEADLINE, &out), STOA_OK);
        stoa_sim_run(s.sim, STOA_S(2));
        settle();
        assert_int_equal(at(0)->error, how == HOW_FAIL ? STOA_E_FAILED : STOA_E_PRECISION);
    }
    assert_int_equal(at(0)->came_back, HOW_FAIL + HOW_UNDO);
    assert_int_equal(at(2)->walked, 0);
    assert_int_equal(walker_call_post(s.node, s.walkers[0], (walker_post){5, HOW_FINE}, DEADLINE, &out), STOA_OK);
    stoa_sim_run(s.sim, STOA_S(2));
    settle();
    assert_int_equal(at(2)->walked, 5);
    assert_int_equal(at(3)->walked, 5);
    check_replay(0);
    check_replay(1);
    end();
}

/* The ask was of the cascade, too. */
static void what_asked_within_it_has_not_asked(void **state)
{
    (void)state;
    walker_gone out;
    begin(stoa_durability_DISK);
    stoa_err err = walker_call_wonder(s.node, s.walkers[1], (walker_wonder){3, HOW_UNDO}, DEADLINE, &out);
    assert_int_equal(err, STOA_E_PRECISION);
    settle();
    assert_int_equal(at(1)->heard, 0);
    assert_int_equal(at(0)->walked, 0);
    assert_int_equal(walker_call_wonder(s.node, s.walkers[1], (walker_wonder){3, HOW_FINE}, DEADLINE, &out), STOA_OK);
    settle();
    assert_true(at(1)->heard == 1 && at(1)->error == STOA_OK && at(0)->walked == 3);
    check_replay(0);
    end();
}

static void who_asked_before_it_hears_of_it(void **state)
{
    (void)state;
    walker_gone out;
    begin(stoa_durability_DISK);
    assert_int_equal(walker_call_wait(s.node, s.walkers[0], (walker_wait){3}, DEADLINE, &out), STOA_OK);
    assert_int_equal(walker_post_tell(s.node, s.walkers[1], (walker_tell){3}), STOA_OK);
    settle();
    assert_int_equal(at(0)->heard, 1);
    assert_int_equal(at(0)->error, STOA_E_PRECISION);
    check_replay(0);
    end();
}

static stoa_err ask_once(uint64_t number, unsigned row, const void *payload)
{
    stoa_request_name name = {1, 1, number};
    unsigned answers = s.answers, fine = s.fine;
    assert_int_equal(stoa_port_ask_once(s.port, s.walkers[0], &walker_rows[row], payload, &name, DEADLINE, 1), STOA_OK);
    stoa_port_flush(s.port);
    settle();
    assert_int_equal(s.answers, answers + 1);
    return s.fine > fine ? STOA_OK : STOA_E_FAILED;
}

static stoa_err go_once(uint64_t number, walker_go in)
{
    return ask_once(number, walker_ROW_go, &in);
}

static void a_request_may_be_repeated_under_its_name(void **state)
{
    (void)state;
    begin(stoa_durability_DISK);
    walker_go in = {.number = 4, .how = HOW_FINE, .much = 1};
    stoa_sim_injection lost = {.fault = STOA_SIM_TURN_LOST, .at = "walker/b"};
    assert_int_equal(stoa_sim_inject(s.sim, &lost), STOA_OK);
    assert_int_equal(go_once(1, in), STOA_E_FAILED);
    assert_int_equal(at(0)->walked, 0);
    stoa_sim_run(s.sim, STOA_S(2));
    assert_int_equal(go_once(1, in), STOA_OK);
    assert_int_equal(go_once(1, in), STOA_OK); /* the same answer again */
    assert_int_equal(at(0)->walked, 4);
    stoa_sim_run(s.sim, STOA_S(2));
    settle();
    assert_true(s.effects == 1 && at(2)->walked == 4);
    check_replay(0);
    end();
}

static void a_turn_without_events_has_not_happened_either(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        walker_gone out;
        walker_hint in = {9};
        begin(i ? stoa_durability_MEMORY : stoa_durability_DISK);
        settle();
        uint64_t before = applied(0);
        assert_int_equal(walker_call_hint(s.node, s.walkers[0], in, DEADLINE, &out), STOA_E_PRECISION);
        assert_int_equal(ask_once(1, walker_ROW_hint, &in), STOA_E_FAILED);
        assert_int_equal(ask_once(1, walker_ROW_hint, &in), STOA_E_FAILED);
        assert_int_equal(s.topics, 0);
        assert_int_equal(applied(0), before);
        check_replay(0);
        end();
    }
}

static void nor_what_it_armed_and_spawned(void **state)
{
    (void)state;
    begin(stoa_durability_DISK);
    settle();
    uint64_t before = applied(0);
    assert_int_equal(walker_post_child(s.node, s.walkers[0], (walker_child){1, HOW_UNDO}), STOA_OK);
    settle();
    stoa_sim_run(s.sim, STOA_S(1));
    settle();
    assert_int_equal(ticks, 0);
    assert_int_equal(stoa_find(s.node, "bystander/kid").at, 0);
    assert_int_equal(applied(0), before);
    assert_int_equal(walker_post_child(s.node, s.walkers[0], (walker_child){1, HOW_FINE}), STOA_OK); /* its name is free */
    settle();
    stoa_sim_run(s.sim, STOA_S(1));
    settle();
    assert_int_equal(ticks, 1);
    assert_int_not_equal(stoa_find(s.node, "bystander/kid").at, 0);
    check_replay(0);
    end();
}

/* The tick has fired already, and waits behind the slip, when that is undone. */
static void timers_of_the_incarnation_before_do_not_reach_the_next(void **state)
{
    (void)state;
    begin(stoa_durability_DISK);
    settle();
    assert_int_equal(walker_post_arm(s.node, s.walkers[0], (walker_arm){1}), STOA_OK);
    settle();
    stoa_sim_run(s.sim, STOA_S(1));
    settle();
    assert_int_equal(at(0)->walked, 0);
    assert_int_equal(ticks, 0);
    check_replay(0);
    end();
}

static void a_resume_that_leads_into_the_next_undo_comes_later_and_later(void **state)
{
    (void)state;
    enum { SECONDS = 10 };
    begin(stoa_durability_DISK);
    settle();
    loops = true;
    resumes = 0;
    assert_int_equal(walker_post_carry(s.node, s.walkers[0], (walker_carry){1, HOW_UNDO}), STOA_OK);
    stoa_sim_run(s.sim, STOA_S(SECONDS));
    assert_in_range(resumes, SECONDS, SECONDS + 20); /* 1 ms, 2 ms ... 1 s */
    assert_int_equal(go(4, HOW_FINE, 0), STOA_E_FAILED); /* it is away */
    loops = false;
    stoa_sim_run(s.sim, STOA_S(2));
    assert_int_equal(go(4, HOW_FINE, 0), STOA_OK);
    assert_int_equal(at(0)->walked, 4);
    for (unsigned i = 0; i < 300; i++) { assert_int_equal(go(1, HOW_UNDO, 0), STOA_E_PRECISION); } /* that is nobody's failure */
    assert_int_equal(go(2, HOW_FINE, 0), STOA_OK);
    settle();
    assert_int_equal(at(0)->walked, 6);
    check_replay(0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_it_has_happened),
        cmocka_unit_test(an_error_refuses_a_message_and_undoes_nothing),
        cmocka_unit_test(a_first_turn_is_refused_and_there_is_nothing_to_undo),
        cmocka_unit_test(without_a_journal_the_message_alone_is_refused),
        cmocka_unit_test(cascades_before_and_behind_it_stay),
        cmocka_unit_test(what_was_mailed_comes_back),
        cmocka_unit_test(what_asked_within_it_has_not_asked),
        cmocka_unit_test(who_asked_before_it_hears_of_it),
        cmocka_unit_test(a_request_may_be_repeated_under_its_name),
        cmocka_unit_test(a_turn_without_events_has_not_happened_either),
        cmocka_unit_test(nor_what_it_armed_and_spawned),
        cmocka_unit_test(timers_of_the_incarnation_before_do_not_reach_the_next),
        cmocka_unit_test(a_resume_that_leads_into_the_next_undo_comes_later_and_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
