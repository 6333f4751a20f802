/* outbox_random_test.c - goal: what an actor wants done outside is done once in effect, whatever goes wrong, and nothing is done that
 * did not happen. Method: a biller charges, each charge an event and one or two effects; a port has them done by an outside that
 * knows which names it has seen, and is asked about those that come again. Now and then the port forgets to say that something
 * was done, says it late, closes, or the process and its power go, or the shard is dropped. At the end every charge that is in
 * the log was done once, and nothing else; a name always meant the same effect. One seed in three has durability MEMORY, which may
 * lose with the power what was done outside: the names hold there, too.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/random.h"
#include "runtime/kit.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

enum { CHARGES_MAX = 3000, LIVES = 4, LATE_MAX = 64, GIVEN_MAX = 4 * CHARGES_MAX };

#define till_pay_FIELDS(F, S) F(S, uint64_t, number) F(S, uint64_t, part) F(S, stoa_text254, memo)
#define till_ROWS(ROW, K)     ROW(K, CAST, pay, _, "Pay outside.")
STOA_TABLE_HERE(till)

#define biller_charge_FIELDS(F, S)  F(S, uint64_t, number) F(S, uint64_t, parts)
#define biller_pass_FIELDS(F, S)    F(S, uint64_t, number)
#define biller_done_FIELDS(F, S)    F(S, uint64_t, number)
#define biller_charged_FIELDS(F, S) F(S, uint64_t, number) F(S, uint64_t, parts)
#define biller_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, charge, done, "Charge.")                                                                           \
    ROW(K, CAST, pass, _, "The second part of a charge, at a neighbour.")                                              \
    ROW(K, REPLY, done, _, "Charged.")                                                                                 \
    ROW(K, EVENT, charged, _, "It was charged.")
STOA_TABLE_HERE(biller)

typedef struct biller {
    uint8_t parts[CHARGES_MAX];
} biller;
#define biller_HEARS STOA_HEARS_NOTHING
STOA_PROXY(till)
STOA_KIND(biller, .mailbox_limit = 4096)

static stoa_err pay(stoa_turn *turn, uint64_t number, uint64_t part)
{
    till_pay pays = {.number = number, .part = part, .memo = stoa_text("for services rendered, with thanks")};
    return till_effect_pay(turn, pays);
}

static stoa_err biller_on_charge(stoa_turn *turn, const biller *self, const biller_charge *in, biller_done *out)
{
    (void)self;
    stoa_err err = biller_emit_charged(turn, (biller_charged){in->number, in->parts & 1});
    out->number = in->number;
    if (!err) { err = pay(turn, in->number, 0); }
    if (!err && in->parts > 1) {
        err = biller_send_pass(turn, stoa_turn_peer(turn, 3 - stoa_turn_stream(turn)), (biller_pass){in->number});
    }
    return err;
}

static stoa_err biller_on_pass(stoa_turn *turn, const biller *self, const biller_pass *in)
{
    (void)self;
    stoa_err err = pay(turn, in->number, 1);
    return err ? err : biller_emit_charged(turn, (biller_charged){in->number, 2});
}

static void biller_apply_charged(biller *self, const biller_charged *event)
{
    self->parts[event->number] |= (uint8_t)(event->parts == 2 ? 2 : 1);
}

/* --- the outside, and who serves it */

typedef struct late {
    stoa_effect effect;
    bool used;
} late;

static struct books {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref billers[2];
    stoa_port *till, *client;
    stoa_random *chance;
    char names[CHARGES_MAX][2][STOA_EFFECT_TEXT]; /* done outside, under that name */
    uint8_t done[CHARGES_MAX][2];
    late late[LATE_MAX];
    uint64_t number, again;
    bool acked[CHARGES_MAX];
    uint32_t ports;
    struct given {
        uint64_t epoch, position, number, part;
        uint32_t n;
    } given[GIVEN_MAX]; /* every name that was ever heard */
    uint32_t given_count;
    uint64_t epoch; /* of this life's lease, with MEMORY */
    bool memory, power_lost;
} b;

static const stoa_kind *const kinds[] = {&biller_kind, NULL};

static void say_done(const stoa_effect *effect)
{
    if (stoa_port_effected(b.till, effect, STOA_OK) == STOA_OK) { stoa_port_flush(b.till); }
}

static void a_name_means_one_effect(const stoa_effect *effect, const till_pay *pays)
{
    for (uint32_t i = 0; i < b.given_count; i++) {
        const struct given *g = &b.given[i];
        if (g->epoch != effect->epoch || g->position != effect->position || g->n != effect->n) { continue; }
        assert_true(g->number == pays->number && g->part == pays->part);
        return;
    }
    assert_true(b.given_count < GIVEN_MAX);
    b.given[b.given_count++] = (struct given){effect->epoch, effect->position, pays->number, pays->part, effect->n};
}

static void serve(void *context, const stoa_delivery *d)
{
    (void)context;
    const till_pay *pays = d->payload;
    char name[STOA_EFFECT_TEXT];
    assert_non_null(d->effect);
    assert_ptr_equal(d->row, &till_rows[till_ROW_pay]);
    (void)stoa_effect_text(d->effect, name);
    a_name_means_one_effect(d->effect, pays);
    char *seen = b.names[pays->number][pays->part];
    stoa_sim_fold(b.sim, pays->number << 2 | pays->part << 1 | d->effect->again);
    if (stoa_random_below(b.chance, 20) == 0) { return; } /* it was handed over, and nothing came of it */
    b.again += d->effect->again;
    if (d->effect->again && seen[0]) {
        assert_string_equal(seen, name);
    } else {
        if (b.done[pays->number][pays->part]) { fail_msg("%s: done before, as %s", name, seen); }
        b.done[pays->number][pays->part]++;
        (void)snprintf(seen, STOA_EFFECT_TEXT, "%s", name);
    }
    uint64_t how = stoa_random_below(b.chance, 8);
    late *slot = &b.late[stoa_random_below(b.chance, LATE_MAX)];
    if (how == 0) { return; } /* done, and forgotten to say so */
    if (how < 3) {
        *slot = (late){*d->effect, true};
    } else {
        say_done(d->effect);
    }
}

static void open_till(void)
{
    char name[24];
    (void)snprintf(name, sizeof name, "till-%u", b.ports++ % 12);
    assert_int_equal(stoa_port_open(b.node, name, &b.till), STOA_OK);
    assert_int_equal(stoa_port_serve(b.till, &till_table), STOA_OK);
}

static void open_process(void)
{
    stoa_durability durability = b.memory ? stoa_durability_MEMORY : stoa_durability_DISK;
    b.epoch += b.memory;
    stoa_shard_options options = {.name = "bills", .durability = durability, .epoch = b.epoch, .journal = &stoa_journal_sim, .path = "sim:bills"};
    memset(b.late, 0, sizeof b.late);
    b.ports = 0;
    assert_int_equal(stoa_shard_open(b.node, &options, &b.shard), STOA_OK);
    stoa_spawn_options in = {.shard = b.shard};
    assert_int_equal(stoa_spawn(b.node, &biller_kind, "biller/a", &in, &b.billers[0]), STOA_OK);
    assert_int_equal(stoa_spawn(b.node, &biller_kind, "biller/b", &in, &b.billers[1]), STOA_OK);
    assert_int_equal(stoa_port_open(b.node, "client", &b.client), STOA_OK);
    open_till();
}

static void crash(bool power)
{
    stoa_sim_disk *disk;
    stoa_sim_faults(b.sim, NULL);
    assert_int_equal(stoa_sim_disk_get("bills", 0, &disk), STOA_OK);
    if (power) { stoa_sim_disk_crash(disk); }
    b.power_lost = b.power_lost || power;
    assert_int_equal(stoa_sim_crash(b.sim, &b.node), STOA_OK);
    open_process();
}

static void taken(void *context, const stoa_delivery *d)
{
    (void)context;
    if (!d->error) { b.acked[d->token] = true; }
}

static void act(void)
{
    for (uint64_t n = stoa_random_below(b.chance, 12); n && b.number + 1 < CHARGES_MAX; n--) {
        biller_charge charge = {++b.number, 1 + stoa_random_below(b.chance, 2) * 2};
        (void)stoa_port_ask(b.client, b.billers[0], &biller_rows[biller_ROW_charge], &charge, 0, STOA_S(1), b.number);
    }
    stoa_port_flush(b.client);
    if (stoa_random_below(b.chance, 60) == 0) {
        stoa_err err = stoa_shard_drop(b.shard, 0);
        assert_true(!err || err == STOA_E_FULL);
    }
    if (stoa_random_below(b.chance, 60) == 0 && b.ports < 8) {
        stoa_port_close(b.till);
        memset(b.late, 0, sizeof b.late);
        open_till();
    }
    stoa_sim_run(b.sim, stoa_random_below(b.chance, STOA_MS(3)));
    while (stoa_port_poll(b.client, taken, NULL, 64)) {}
    if (stoa_random_below(b.chance, 3) == 0) { while (stoa_port_poll(b.till, serve, NULL, 16)) {} }
    late *slot = &b.late[stoa_random_below(b.chance, LATE_MAX)];
    if (slot->used) { say_done(&slot->effect); }
    slot->used = false;
}

static uint32_t pending(void)
{
    stoa_outbox_view view;
    stoa_shard_outbox(b.shard, &view, NULL, NULL);
    return view.pending;
}

/* New ports, until all is done. */
static void finish(void)
{
    for (int rounds = 0; pending(); rounds++) {
        assert_true(rounds < 100);
        stoa_port_close(b.till);
        if (b.ports > 8) { crash(false); } else { open_till(); }
        for (int i = 0; i < 40 && pending(); i++) {
            stoa_sim_run(b.sim, STOA_MS(10));
            while (stoa_port_poll(b.till, serve, NULL, 64)) {}
        }
    }
    stoa_sim_run(b.sim, STOA_S(1));
}

static void check(void)
{
    const biller *one = stoa_sim_state(b.sim, b.billers[0], NULL), *two = stoa_sim_state(b.sim, b.billers[1], NULL);
    for (uint64_t i = 1; i <= b.number; i++) {
        uint32_t first = one->parts[i] & 1, second = two->parts[i] >> 1;
        if (b.memory) {
            if (b.power_lost) { continue; }
        } else if (b.acked[i]) {
            assert_int_equal(first, 1);
        }
        if (b.done[i][0] != first || b.done[i][1] != second) {
            fail_msg("charge %llu is there %u and %u times, and was done %u and %u times", (unsigned long long)i, first, second,
                     b.done[i][0], b.done[i][1]);
        }
    }
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    assert_int_equal(stoa_shard_look(b.shard, &live), STOA_OK);
    assert_int_equal(stoa_shard_replay(b.shard, live.applied, &hash, &events), STOA_OK);
    assert_true(hash == live.hash);
    stoa_sim_fold(b.sim, hash);
}

static uint64_t run(uint64_t seed)
{
    stoa_random chance;
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    stoa_random_seed(&chance, seed);
    memset(&b, 0, sizeof b);
    b.chance = &chance;
    b.memory = seed % 3 == 0;
    stoa_sim_disks_free();
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("bills", seed, &disk), STOA_OK);
    stoa_sim_options options = {.seed = seed, .cores = 1 + (uint32_t)stoa_random_below(&chance, 2), .kinds = kinds,
                                .trace = stoa_seeds_trace()};
    assert_int_equal(stoa_sim_new(&options, &b.sim, &b.node), STOA_OK);
    open_process();
    for (int life = 0; life < LIVES; life++) {
        stoa_sim_plan plan = stoa_sim_rough;
        plan.per_million[STOA_SIM_TURN_LOST] = plan.per_million[STOA_SIM_TURN_LAST] = 0;
        if (stoa_random_below(&chance, 3) == 0) { plan.per_million[STOA_SIM_KILLED] = 100; }
        if (stoa_random_below(&chance, 2) == 0) { plan.per_million[STOA_SIM_DISK_REFUSES] = 20000; }
        stoa_sim_faults(b.sim, &plan);
        for (uint64_t i = 20 + stoa_random_below(&chance, 80); i && !stoa_sim_dead(b.sim); i--) { act(); }
        crash(stoa_random_below(&chance, 2));
    }
    finish();
    check();
    assert_true(b.number < 100 || b.again > 0);
    uint64_t hash = stoa_sim_hash(b.sim);
    stoa_sim_free(b.sim);
    stoa_sim_disks_free();
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void effects_are_done_once_whatever_goes_wrong(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

/* --- where names could return */

static void a_shard_whose_names_could_return_refuses_effects(void **state)
{
    (void)state;
    static const struct {
        stoa_durability durability;
        uint64_t epoch;
        stoa_err err;
    } cases[] = {
        {stoa_durability_NONE, 0, STOA_E_UNSUPPORTED}, {stoa_durability_NONE, 7, STOA_E_UNSUPPORTED},
        {stoa_durability_MEMORY, 0, STOA_E_UNSUPPORTED}, {stoa_durability_MEMORY, 7, STOA_OK}, {stoa_durability_DISK, 0, STOA_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stoa_ref to;
        biller_done done;
        stoa_sim_disks_free();
        memset(&b, 0, sizeof b);
        assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 1, .kinds = kinds}, &b.sim, &b.node), STOA_OK);
        stoa_shard_options options = {.name = "bills", .durability = cases[i].durability, .epoch = cases[i].epoch,
                                      .journal = &stoa_journal_sim, .path = "sim:bills"};
        assert_int_equal(stoa_shard_open(b.node, &options, &b.shard), STOA_OK);
        assert_int_equal(stoa_spawn(b.node, &biller_kind, "biller/a", &(stoa_spawn_options){.shard = b.shard}, &to), STOA_OK);
        assert_int_equal(biller_call_charge(b.node, to, (biller_charge){1, 1}, STOA_S(9), &done), cases[i].err);
        const biller *one = stoa_sim_state(b.sim, to, NULL);
        assert_int_equal(one->parts[1], !cases[i].err); /* the turn as a whole */
        stoa_sim_free(b.sim);
    }
    stoa_sim_disks_free();
}

/* --- a full outbox */

static stoa_err last_error;
static void keep_error(void *context, const stoa_delivery *d)
{
    (void)context;
    last_error = d->error;
}

static void a_full_outbox_refuses_the_turn_and_goes_on_when_there_is_room(void **state)
{
    (void)state;
    stoa_random chance;
    stoa_random_seed(&chance, 1);
    memset(&b, 0, sizeof b);
    b.chance = &chance;
    stoa_sim_disks_free();
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 1, .kinds = kinds}, &b.sim, &b.node), STOA_OK);
    open_process();
    stoa_port_stop_serving(b.till); /* nobody has anything done */
    uint32_t refused = 0;
    for (uint64_t i = 1; i <= 1200; i++) {
        biller_charge charge = {i, 1};
        assert_int_equal(stoa_port_ask(b.client, b.billers[0], &biller_rows[biller_ROW_charge], &charge, 0, STOA_S(9), i), STOA_OK);
        stoa_port_flush(b.client);
        stoa_sim_run(b.sim, STOA_MS(5));
        while (stoa_port_poll(b.client, keep_error, NULL, 8)) {}
        refused += last_error == STOA_E_FULL;
        const biller *one = stoa_sim_state(b.sim, b.billers[0], NULL);
        assert_int_equal(one->parts[i], last_error ? 0 : 1);
    }
    assert_true(refused > 100 && pending() > 500 && pending() + refused == 1200);
    assert_int_equal(stoa_port_serve(b.till, &till_table), STOA_OK);
    finish();
    biller_done done;
    assert_int_equal(biller_call_charge(b.node, b.billers[0], (biller_charge){1201, 1}, STOA_S(9), &done), STOA_OK);
    stoa_sim_free(b.sim);
    stoa_sim_disks_free();
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_whose_names_could_return_refuses_effects),
        cmocka_unit_test(a_full_outbox_refuses_the_turn_and_goes_on_when_there_is_room),
        cmocka_unit_test(effects_are_done_once_whatever_goes_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
