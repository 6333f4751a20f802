/* undo_fails_test.c - goal: a cascade that is to be undone, while the states from before it cannot be had (its log cannot be read for a
 * while), has not happened either, and nobody decides anything by the states that it left. The shard serves nobody until it has
 * begun anew from its log: it notes nothing, lets nothing out, and all that was under way is answered.
 *
 * Method: two mails of one frame; the cascade of the first, which gives, is undone and cannot be read back; the second takes what
 * was given. On disk and in memory; and the same with messages that wait in the shard's inbox, one of them under a request's name. A
 * front of the journal fails one read.
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
#include "storage/sim/journal.h"

enum { AMOUNT = 100 };
#define DEADLINE STOA_S(5)

#define purse_put_FIELDS(F, S)   F(S, int64_t, by)
#define purse_take_FIELDS(F, S)  F(S, int64_t, by)
#define purse_give_FIELDS(F, S)  F(S, int64_t, by)
#define purse_pay_FIELDS(F, S)   F(S, int64_t, by)
#define purse_next_FIELDS(F, S)  F(S, int64_t, by)
#define purse_both_FIELDS(F, S)  F(S, int64_t, by)
#define purse_done_FIELDS(F, S)  F(S, int64_t, by)
#define purse_moved_FIELDS(F, S) F(S, int64_t, by)
#define purse_heard_FIELDS(F, S) F(S, uint64_t, token) F(S, int64_t, error)
#define purse_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, both, done, "Mail put and take abroad in one turn.")                                               \
    ROW(K, CAST, put, _, "Get, and hand on to the peer, who undoes.")                                                  \
    ROW(K, CAST, take, _, "Pay what is there.")                                                                        \
    ROW(K, COMMAND, give, done, "The same as put, for who asks.")                                                      \
    ROW(K, COMMAND, pay, done, "The same as take.")                                                                    \
    ROW(K, CAST, next, _, "Undo.")                                                                                     \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, EVENT, moved, _, "So much came.")                                                                           \
    ROW(K, EVENT, heard, _, "What it mailed came back.")
STOA_TABLE_HERE(purse)

typedef struct purse {
    int64_t total;
    int64_t errors[3]; /* by token */
} purse;
#define purse_HEARS(HEAR, K) HEAR(K, stoa_system, undelivered)
STOA_KIND(purse, .mailbox_limit = 64)

static bool armed, broken; /* the next undo cannot read; reading fails */
static unsigned phantoms;  /* decisions by what never was */

static stoa_err purse_on_both(stoa_turn *turn, const purse *self, const purse_both *in, purse_done *out)
{
    (void)self, (void)out;
    stoa_err err = purse_mail_put(turn, "abroad:purse/c", (purse_put){in->by}, 1);
    return err ? err : purse_mail_take(turn, "abroad:purse/c", (purse_take){in->by}, 2);
}

static stoa_err purse_on_put(stoa_turn *turn, const purse *self, const purse_put *in)
{
    (void)self;
    stoa_err err = purse_emit_moved(turn, (purse_moved){in->by});
    return err ? err : purse_send_next(turn, stoa_turn_peer(turn, 3 - stoa_turn_stream(turn)), (purse_next){in->by});
}

static stoa_err purse_on_give(stoa_turn *turn, const purse *self, const purse_give *in, purse_done *out)
{
    (void)out;
    return purse_on_put(turn, self, &(purse_put){in->by});
}

static stoa_err purse_on_take(stoa_turn *turn, const purse *self, const purse_take *in)
{
    if (self->total) { phantoms++; }
    if (self->total < in->by) { return STOA_E_RANGE; }
    return purse_emit_moved(turn, (purse_moved){-in->by});
}

static stoa_err purse_on_pay(stoa_turn *turn, const purse *self, const purse_pay *in, purse_done *out)
{
    (void)out;
    return purse_on_take(turn, self, &(purse_take){in->by});
}

static stoa_err purse_on_next(stoa_turn *turn, const purse *self, const purse_next *in)
{
    (void)self, (void)in;
    broken = armed;
    return stoa_turn_undo(turn, STOA_E_PRECISION);
}

static stoa_err purse_on_stoa_system_undelivered(stoa_turn *turn, const purse *self, const stoa_system_undelivered *in)
{
    (void)self;
    return purse_emit_heard(turn, (purse_heard){in->token, in->error});
}

static void purse_apply_moved(purse *self, const purse_moved *event)
{
    STOA_ASSERT(self->total + event->by >= 0);
    self->total += event->by;
}

static void purse_apply_heard(purse *self, const purse_heard *event)
{
    self->errors[event->token % 3] = event->error;
}

/* --- a journal that cannot be read once */

static stoa_journal_ops ops;
static stoa_err (*read_log)(stoa_journal *journal, uint64_t from, stoa_err (*visit)(void *, const stoa_block *), void *context);

static stoa_err read_unless_broken(stoa_journal *journal, uint64_t from, stoa_err (*visit)(void *, const stoa_block *), void *context)
{
    if (!broken) { return read_log(journal, from, visit, context); }
    broken = armed = false;
    return STOA_FAIL(STOA_E_IO, "injected: the log cannot be read");
}

static stoa_err break_reads(void *context, stoa_journal **journal)
{
    (void)context;
    ops = *(*journal)->ops;
    read_log = ops.read;
    ops.read = read_unless_broken;
    (*journal)->ops = &ops;
    return STOA_OK;
}

/* --- the stage */

static struct stage {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shards[2];
    stoa_ref purses[4]; /* a and b at home, c and d abroad */
    stoa_port *port;
    unsigned answers[3]; /* OK, UNAVAILABLE, others */
} s;

static void begin(stoa_durability durability)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    static const char *const names[] = {"home", "abroad"}, *const purses[] = {"purse/a", "purse/b", "purse/c", "purse/d"};
    stoa_sim_disk *disk;
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_sim_disks_free();
    s = (struct stage){0};
    armed = broken = false;
    phantoms = 0;
    for (unsigned i = 0; i < 2; i++) { assert_int_equal(stoa_sim_disk_get(names[i], i + 1, &disk), STOA_OK); }
    stoa_sim_options options = {.seed = 7, .cores = 2, .kinds = kinds, .trace = stoa_seeds_trace()};
    assert_int_equal(stoa_sim_new(&options, &s.sim, &s.node), STOA_OK);
    for (uint32_t i = 0; i < 2; i++) {
        char path[24];
        (void)snprintf(path, sizeof path, "sim:%s", names[i]);
        stoa_shard_options shard = {.name = names[i], .core = i, .durability = durability, .journal = &stoa_journal_sim,
                                    .path = path, .front = i ? break_reads : NULL};
        assert_int_equal(stoa_shard_open(s.node, &shard, &s.shards[i]), STOA_OK);
        for (uint32_t k = 2 * i; k < 2 * i + 2; k++) {
            stoa_spawn_options where = {.shard = s.shards[i]};
            assert_int_equal(stoa_spawn(s.node, &purse_kind, purses[k], &where, &s.purses[k]), STOA_OK);
        }
    }
    assert_int_equal(stoa_port_open(s.node, "outside", &s.port), STOA_OK);
    assert_int_equal(stoa_sim_settle(s.sim, 1000000), STOA_OK);
}

static void take(void *context, const stoa_delivery *d)
{
    (void)context;
    assert_true(d->answer);
    s.answers[d->error == STOA_OK ? 0 : d->error == STOA_E_UNAVAILABLE ? 1 : 2]++;
}

static void settle(void)
{
    stoa_sim_run(s.sim, STOA_S(3));
    do { assert_int_equal(stoa_sim_settle(s.sim, 1000000), STOA_OK); } while (stoa_port_poll(s.port, take, NULL, 64));
    assert_null(stoa_sim_dead(s.sim));
}

static const purse *at(unsigned i)
{
    return stoa_sim_state(s.sim, s.purses[i], NULL);
}

static void end(void)
{
    for (unsigned i = 0; i < 2; i++) {
        stoa_shard_view live;
        uint64_t hash, events;
        assert_int_equal(stoa_shard_look(s.shards[i], &live), STOA_OK);
        assert_false(live.down);
        assert_int_equal(stoa_shard_replay(s.shards[i], live.applied, &hash, &events), STOA_OK);
        assert_true(hash == live.hash && events == live.applied);
    }
    assert_int_equal(phantoms, 0);
    assert_int_equal(at(2)->total, 0);
    stoa_sim_free(s.sim);
    stoa_sim_disks_free();
}

/* --- the tests */

static void mail_behind_it_is_not_handled_by_what_it_left(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        purse_done out;
        begin(i ? stoa_durability_MEMORY : stoa_durability_DISK);
        armed = true;
        assert_int_equal(purse_call_both(s.node, s.purses[0], (purse_both){AMOUNT}, DEADLINE, &out), STOA_OK);
        settle();
        assert_false(armed);
        assert_int_equal(at(0)->errors[1], STOA_E_PRECISION); /* when the log could be read again */
        assert_int_equal(at(0)->errors[2], STOA_E_RANGE);
        end();
    }
}

static void what_waits_in_the_inbox_is_answered_and_not_handled(void **state)
{
    (void)state;
    enum { MANY = 10 };
    for (unsigned i = 0; i < 2; i++) {
        begin(i ? stoa_durability_MEMORY : stoa_durability_DISK);
        armed = true;
        purse_give give = {AMOUNT};
        purse_pay pay = {AMOUNT};
        uint64_t due = stoa_sim_now(s.sim) + DEADLINE;
        stoa_request_name name = {1, 1, 1};
        assert_int_equal(stoa_port_ask_once(s.port, s.purses[2], &purse_rows[purse_ROW_give], &give, &name, DEADLINE, 1), STOA_OK);
        for (uint64_t k = 1; k < MANY; k++) {
            assert_int_equal(stoa_port_ask(s.port, s.purses[2], &purse_rows[purse_ROW_pay], &pay, 0, due, 1 + k), STOA_OK);
        }
        stoa_port_flush(s.port);
        settle();
        assert_false(armed);
        assert_int_equal(s.answers[0], 0);
        assert_int_equal(s.answers[1] + s.answers[2], MANY); /* each once */
        assert_true(s.answers[1] >= MANY - 1);
        assert_int_equal(stoa_port_ask_once(s.port, s.purses[2], &purse_rows[purse_ROW_give], &give, &name, DEADLINE, 1), STOA_OK);
        stoa_port_flush(s.port);
        settle(); /* under the same name again: it is begun once more, and undone as it should be */
        assert_int_equal(s.answers[1] + s.answers[2], MANY + 1);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_behind_it_is_not_handled_by_what_it_left),
        cmocka_unit_test(what_waits_in_the_inbox_is_answered_and_not_handled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
