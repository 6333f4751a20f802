/* disk_random_test.c - goal: whatever the disks do and whenever the process or its power goes, nothing acknowledged is lost (promise
 * 1), the log gives the state (3) and money is conserved (7), with requests, channels, outside effects and snapshots in use at
 * once. Method: clients ask vaults in three shards under names, and ask again at random; each payment is an event, a mail to a
 * vault of another shard, which may come back, and an effect that is to be done outside. By the seed, beside all faults of
 * the simulator (appends that are slow, find no room, fail, or are refused): a sync of the disk itself fails, the disk is full
 * and has room again, the side store fails; at the end of a life unsynced blocks are lost and a block is torn, the side store
 * is lost or rots, and a block below the mark rots. Such a log is refused by name until it is mended. At the end
 *
 *   - each payment that was acknowledged is in the states, none is there twice, and who asks again gets the first answer
 *   - what was mailed has arrived or has come back, and all money is there; each vault asserts that it sums to zero at every event
 *   - outside each payment in the logs was done once, and nothing else
 *   - a replay of each log from its first event gives the live state, as it does behind every recovery
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

enum { SHARDS = 3, VAULTS = 2 * SHARDS, CLIENTS = 2, TAGS = 1000, LIVES = 3, TOKENS = 1 << 14, REFUSED = 7 /* amounts it divides */ };
static const char *const shard_names[SHARDS] = {"disk-a", "disk-b", "disk-c"};

/* --- vaults */

#define till_pay_FIELDS(F, S) F(S, uint64_t, tag)
#define till_ROWS(ROW, K)     ROW(K, CAST, pay, _, "Pay outside.")
STOA_TABLE_HERE(till)
STOA_PROXY(till)

#define vault_pay_FIELDS(F, S)  F(S, uint64_t, tag) F(S, uint64_t, amount) F(S, uint64_t, payer) F(S, stoa_text62, to)
#define vault_paid_FIELDS(F, S) F(S, uint64_t, tag) F(S, uint64_t, number)
#define vault_take_FIELDS(F, S) F(S, uint64_t, amount) F(S, uint64_t, payer) F(S, uint64_t, number)
#define vault_sent_FIELDS(F, S) F(S, uint64_t, tag) F(S, uint64_t, amount)
#define vault_got_FIELDS(F, S)  vault_take_FIELDS(F, S)
#define vault_back_FIELDS(F, S) F(S, uint64_t, amount)
#define vault_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, pay, paid, "Mail an amount to a vault of another shard, and have it told outside.")                \
    ROW(K, REPLY, paid, _, "It is on its way, as the vault's payment of that number.")                                 \
    ROW(K, CAST, take, _, "An amount from another vault.")                                                             \
    ROW(K, EVENT, sent, _, "An amount was mailed.")                                                                    \
    ROW(K, EVENT, got, _, "An amount came.")                                                                           \
    ROW(K, EVENT, back, _, "A mailed amount came back.")
STOA_TABLE_HERE(vault)

typedef struct vault {
    int64_t free, transit;
    uint64_t sent, got, back; /* how many */
    uint64_t last[VAULTS];    /* number of the last payment from each */
    uint8_t tags[TAGS];       /* payments by tag */
} vault;
#define vault_HEARS(HEAR, K) HEAR(K, stoa_system, undelivered)
STOA_KIND(vault, .mailbox_limit = 1024)

static stoa_err vault_on_pay(stoa_turn *turn, const vault *self, const vault_pay *in, vault_paid *out)
{
    char to[sizeof in->to + 1];
    (void)snprintf(to, sizeof to, "%.*s", STOA_TEXT_ARGS(&in->to));
    *out = (vault_paid){in->tag, self->sent + 1};
    stoa_err err = vault_emit_sent(turn, (vault_sent){in->tag, in->amount});
    if (!err) { err = vault_mail_take(turn, to, (vault_take){in->amount, in->payer, self->sent + 1}, in->amount); }
    return err ? err : till_effect_pay(turn, (till_pay){in->tag});
}

static stoa_err vault_on_take(stoa_turn *turn, const vault *self, const vault_take *in)
{
    (void)self;
    if (in->amount % REFUSED == 0) { return STOA_E_RANGE; }
    return vault_emit_got(turn, (vault_got){in->amount, in->payer, in->number});
}

static stoa_err vault_on_stoa_system_undelivered(stoa_turn *turn, const vault *self, const stoa_system_undelivered *in)
{
    vault_take take;
    (void)self;
    stoa_err err = vault_returned_take(turn, &take);
    STOA_ASSERT(!err && take.amount == in->token);
    return vault_emit_back(turn, (vault_back){take.amount});
}

static void move(vault *self, int64_t amount)
{
    self->free += amount;
    self->transit -= amount;
    STOA_ASSERT(self->free + self->transit == 0);
}

static void vault_apply_sent(vault *self, const vault_sent *event)
{
    self->sent++;
    self->tags[event->tag]++;
    move(self, -(int64_t)event->amount);
}

static void vault_apply_got(vault *self, const vault_got *event)
{
    STOA_ASSERT(event->number > self->last[event->payer]); /* in order, and once */
    self->last[event->payer] = event->number;
    self->got++;
    move(self, (int64_t)event->amount);
}

static void vault_apply_back(vault *self, const vault_back *event)
{
    self->back++;
    move(self, (int64_t)event->amount);
}

static const stoa_kind *const kinds[] = {&vault_kind, NULL};

/* --- the books */

typedef struct payment {
    vault_pay pay;
    stoa_request_name name;
    bool acked;
    uint64_t number, position; /* as the first answer said */
} payment;

static struct books {
    stoa_sim *sim;
    stoa_node *node;
    stoa_random chance;
    stoa_shard *shards[SHARDS];
    stoa_sim_disk *disks[SHARDS];
    stoa_ref vaults[VAULTS];
    stoa_port *clients[CLIENTS], *till;
    payment payments[TAGS]; /* by tag, from 1 */
    uint64_t count, numbers[CLIENTS];
    uint32_t tags[TOKENS], token_count, tills;
    char names[TAGS][STOA_EFFECT_TEXT]; /* done outside, under that name */
    uint8_t done[TAGS];
} b;

/* Over all seeds that one process runs. */
static struct sums {
    uint64_t faults[STOA_SIM_FAULT_COUNT];
    uint64_t syncs_failed, filled, drops_refused, puts_failed, power_cuts, lost, torn, rots, side_lost, side_rots, restored, mailed, returned, again, same;
} sums;

static uint64_t below(uint64_t n)
{
    return stoa_random_below(&b.chance, n);
}

/* --- lives */

static stoa_err open_shards(void)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < SHARDS && !err; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "sim:%s", shard_names[i]);
        stoa_shard_options options = {.name = shard_names[i], .core = i % stoa_core_count(b.node), .durability = stoa_durability_DISK,
                                      .journal = &stoa_journal_sim, .path = path};
        err = stoa_shard_open(b.node, &options, &b.shards[i]);
    }
    return err;
}

static void open_till(void)
{
    char name[24];
    (void)snprintf(name, sizeof name, "till-%u", b.tills++);
    assert_int_equal(stoa_port_open(b.node, name, &b.till), STOA_OK);
    assert_int_equal(stoa_port_serve(b.till, &till_table), STOA_OK);
}

static void vault_name(uint32_t i, char *out, size_t size)
{
    (void)snprintf(out, size, "vault/%u", i);
}

static void check_replays(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view live;
        uint64_t hash = 0, events = 0;
        assert_int_equal(stoa_shard_look(b.shards[i], &live), STOA_OK);
        assert_int_equal(stoa_shard_replay(b.shards[i], live.applied, &hash, &events), STOA_OK);
        assert_int_equal(events, live.applied);
        assert_true(hash == live.hash);
        stoa_sim_fold(b.sim, hash);
    }
}

static const vault *vault_state(uint32_t i)
{
    return stoa_sim_state(b.sim, b.vaults[i], NULL);
}

static uint32_t times(uint64_t tag)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < VAULTS; i++) { sum += vault_state(i)->tags[tag]; }
    return sum;
}

static void check_payments(void)
{
    for (uint64_t tag = 1; tag <= b.count; tag++) {
        uint32_t found = times(tag);
        bool right = found == 1 || (found == 0 && !b.payments[tag].acked);
        if (!right) { fail_msg("payment %llu, acknowledged %d, is there %u times", (unsigned long long)tag, b.payments[tag].acked, found); }
    }
}

static void begin_life(void)
{
    b.tills = 0;
    assert_int_equal(open_shards(), STOA_OK);
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view view;
        assert_int_equal(stoa_shard_glance(b.shards[i], &view), STOA_OK);
        sums.restored += view.snapshot != 0;
    }
    for (uint32_t i = 0; i < VAULTS; i++) {
        char name[24];
        vault_name(i, name, sizeof name);
        assert_int_equal(stoa_spawn(b.node, &vault_kind, name, &(stoa_spawn_options){.shard = b.shards[i / 2]}, &b.vaults[i]), STOA_OK);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "client-%u", i);
        assert_int_equal(stoa_port_open(b.node, name, &b.clients[i]), STOA_OK);
    }
    open_till();
    check_payments();
    check_replays();
}

/* A block below the mark rots: its shard says so and does not open; the others may. Then it comes back from a good copy. */
static void rot_one(void)
{
    uint64_t which = below(SHARDS);
    stoa_sim_disk_view view;
    stoa_sim_disk_look(b.disks[which], &view);
    if (!view.marked) { return; }
    assert_int_equal(stoa_sim_disk_rot(b.disks[which], 1 + below(view.marked)), STOA_OK);
    assert_int_equal(open_shards(), STOA_E_CORRUPT);
    assert_non_null(strstr(stoa_err_trail(), "position"));
    assert_int_equal(stoa_sim_crash(b.sim, &b.node), STOA_OK);
    assert_int_equal(stoa_sim_disk_mend(b.disks[which]), STOA_OK);
    sums.rots++;
}

static void cut_power(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_sim_disk_view before, after;
        stoa_sim_disk_look(b.disks[i], &before);
        stoa_sim_disk_crash(b.disks[i]);
        stoa_sim_disk_look(b.disks[i], &after);
        uint64_t lost = after.lost_blocks - before.lost_blocks;
        sums.lost += lost;
        sums.torn += after.blocks != before.blocks - lost;
    }
    sums.power_cuts++;
}

static void die(void)
{
    for (unsigned f = 0; f < STOA_SIM_FAULT_COUNT; f++) { sums.faults[f] = stoa_sim_faulted(b.sim, (stoa_sim_fault)f); }
    stoa_sim_faults(b.sim, NULL);
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_sim_disk_fail_sync(b.disks[i], 0);
        stoa_sim_disk_fill(b.disks[i], 0);
        stoa_sim_disk_fail_put(b.disks[i], 0);
    }
    if (below(3)) { cut_power(); }
    assert_int_equal(stoa_sim_crash(b.sim, &b.node), STOA_OK);
    if (below(2) == 0) { sums.side_rots += stoa_sim_disk_rot_side(b.disks[below(SHARDS)], STOA_SPACE_SNAPSHOT) == STOA_OK; }
    if (below(8) == 0) {
        stoa_sim_disk_lose_side(b.disks[below(SHARDS)]);
        sums.side_lost++;
    }
    if (below(3) == 0) { rot_one(); }
    begin_life();
}

/* --- clients */

static void ask(uint64_t tag)
{
    const payment *p = &b.payments[tag];
    if (b.token_count == TOKENS) { return; }
    stoa_port *port = b.clients[p->name.client - 1];
    stoa_err err = stoa_port_ask_once(port, b.vaults[p->pay.payer], &vault_rows[vault_ROW_pay], &p->pay, &p->name, STOA_S(2), b.token_count);
    if (err) { return; }
    b.tags[b.token_count++] = (uint32_t)tag;
    stoa_port_flush(port);
}

static void ask_new(void)
{
    if (b.count + 1 == TAGS) { return; }
    uint64_t tag = ++b.count, client = below(CLIENTS), payer = below(VAULTS);
    char name[24], to[64];
    vault_name((uint32_t)((payer / 2 + 1 + below(SHARDS - 1)) % SHARDS * 2 + below(2)), name, sizeof name);
    (void)snprintf(to, sizeof to, "%s", below(16) ? name : "disk-b:vault/nobody");
    payment *p = &b.payments[tag];
    *p = (payment){.pay = {.tag = tag, .amount = 1 + below(100), .payer = payer}, .name = {client + 1, 1, ++b.numbers[client]}};
    assert_int_equal(STOA_TEXT_SETZ(&p->pay.to, to), STOA_OK);
    ask(tag);
}

static bool stands_in_the_way(stoa_err error)
{
    static const stoa_err ways[] = {STOA_E_TIMEOUT, STOA_E_UNAVAILABLE, STOA_E_STALE, STOA_E_FAILED, STOA_E_FULL, STOA_E_CLOSED, STOA_E_NOMEM};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (ways[i] == error) { return true; }
    }
    return false;
}

static void answered(void *context, const stoa_delivery *d)
{
    (void)context;
    payment *p = &b.payments[b.tags[d->token]];
    stoa_sim_fold(b.sim, d->token << 8 | (uint8_t)-d->error);
    if (d->error) {
        if (!stands_in_the_way(d->error)) { fail_msg("payment %u: %s", b.tags[d->token], stoa_err_name(d->error)); }
        return;
    }
    const vault_paid *paid = d->payload;
    assert_int_equal(d->durability, stoa_durability_DISK);
    assert_int_equal(paid->tag, p->pay.tag);
    if (p->acked) {
        sums.same++;
        assert_true(paid->number == p->number && d->position == p->position);
    }
    p->acked = true;
    p->number = paid->number;
    p->position = d->position;
}

/* --- the outside: it knows which names it has seen, and is asked about those that come again */

static void serve(void *context, const stoa_delivery *d)
{
    (void)context;
    uint64_t tag = ((const till_pay *)d->payload)->tag;
    char name[STOA_EFFECT_TEXT], *seen = b.names[tag];
    (void)stoa_effect_text(d->effect, name);
    stoa_sim_fold(b.sim, tag << 1 | d->effect->again);
    sums.again += d->effect->again;
    if (below(20) == 0) { return; } /* handed over, and nothing came of it */
    if (!d->effect->again || !seen[0]) {
        if (b.done[tag]++) { fail_msg("%s: done before, as %s", name, seen); }
        memcpy(seen, name, sizeof name);
    }
    assert_string_equal(seen, name);
    if (below(8) == 0) { return; } /* done, and forgotten to say so */
    if (stoa_port_effected(b.till, d->effect, STOA_OK) == STOA_OK) { stoa_port_flush(b.till); }
}

static void poll_all(void)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        while (stoa_port_poll(b.clients[i], answered, NULL, 64)) {}
    }
    while (stoa_port_poll(b.till, serve, NULL, 64)) {}
}

/* --- a run */

static void harm_a_disk(void)
{
    stoa_sim_disk *disk = b.disks[below(SHARDS)];
    switch (below(3)) {
    case 0:
        stoa_sim_disk_fail_sync(disk, 1 + (uint32_t)below(4));
        sums.syncs_failed++;
        break;
    case 1:
        stoa_sim_disk_fill(disk, 1 + (uint32_t)below(6)); /* and then there is room again */
        sums.filled++;
        break;
    default:
        stoa_sim_disk_fail_put(disk, 1 + (uint32_t)below(12));
        sums.puts_failed++;
        break;
    }
}

static void act(uint64_t harm_of)
{
    for (uint64_t n = below(6); n; n--) { ask_new(); }
    for (uint64_t n = below(4); n && b.count; n--) { ask(b.count - below(b.count < 30 ? b.count : 30)); }
    if (below(harm_of) == 0) { harm_a_disk(); }
    if (below(60) == 0) {
        stoa_err err = stoa_shard_drop(b.shards[below(SHARDS)], 0);
        assert_true(!err || err == STOA_E_FULL || stoa_sim_dead(b.sim)); /* it syncs the log first */
        sums.drops_refused += err == STOA_E_FULL;
    }
    if (below(40) == 0 && b.tills < 8) {
        stoa_port_close(b.till);
        open_till();
    }
    stoa_sim_run(b.sim, below(STOA_MS(4)));
    if (below(2)) { poll_all(); }
}

static void live(void)
{
    stoa_sim_plan plan = stoa_sim_rough;
    plan.per_million[STOA_SIM_KILLED] = below(3) ? 0 : 1000;
    plan.per_million[STOA_SIM_DISK_BROKEN] = below(3) ? 0 : 5000;
    plan.per_million[STOA_SIM_DISK_REFUSES] = below(3) ? 0 : 20000;
    if (below(4)) { stoa_sim_faults(b.sim, &plan); }
    uint64_t harm_of = 10 + below(60);
    for (uint64_t rounds = 10 + below(40); rounds && !stoa_sim_dead(b.sim); rounds--) { act(harm_of); }
}

static void on_channel(void *context, const stoa_channel_view *view)
{
    (void)context;
    assert_string_equal(view->status, "runs");
    assert_int_equal(view->cursor, view->mailed);
    sums.mailed += view->mailed;
    sums.returned += view->returned;
}

static bool all_is_done(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_outbox_view view;
        stoa_shard_outbox(b.shards[i], &view, NULL, NULL);
        if (view.pending) { return false; }
    }
    return true;
}

/* No faults any more: all once again, and new tills until all is done outside. */
static void come_to_rest(void)
{
    for (uint64_t tag = 1; tag <= b.count; tag++) { ask(tag); }
    for (int rounds = 0; rounds == 0 || !all_is_done(); rounds++) {
        assert_true(rounds < 12);
        for (int i = 0; i < 40; i++) {
            stoa_sim_run(b.sim, STOA_MS(20));
            poll_all();
        }
        stoa_port_close(b.till);
        open_till();
    }
    assert_int_equal(stoa_sim_settle(b.sim, 10000000), STOA_OK);
    assert_null(stoa_sim_dead(b.sim));
    poll_all();
}

static void check_books(void)
{
    int64_t money = 0;
    uint64_t sent = 0, came = 0;
    for (uint32_t i = 0; i < VAULTS; i++) {
        const vault *v = vault_state(i);
        money += v->free;
        sent += v->sent;
        came += v->got + v->back;
    }
    assert_int_equal(money, 0);
    assert_int_equal(sent, came);
    for (uint32_t i = 0; i < SHARDS; i++) { stoa_channels(b.shards[i], on_channel, NULL); }
    check_payments();
    for (uint64_t tag = 1; tag <= b.count; tag++) {
        if (b.done[tag] != times(tag)) { fail_msg("payment %llu was done %u times outside", (unsigned long long)tag, b.done[tag]); }
    }
    check_replays();
}

static uint64_t run(uint64_t seed)
{
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    memset(&b, 0, sizeof b);
    stoa_random_seed(&b.chance, seed);
    stoa_sim_disks_free();
    for (uint32_t i = 0; i < SHARDS; i++) { assert_int_equal(stoa_sim_disk_get(shard_names[i], seed + i, &b.disks[i]), STOA_OK); }
    stoa_sim_options options = {.seed = seed,
                                .cores = 1 + (uint32_t)below(3),
                                .kinds = kinds,
                                .memory_bytes = UINT64_C(16) << 20,
                                .snapshot_events = below(3) ? 200 + below(2000) : 0,
                                .snapshot_keep = 1 + (uint32_t)below(3),
                                .trace = stoa_seeds_trace()};
    assert_int_equal(stoa_sim_new(&options, &b.sim, &b.node), STOA_OK);
    begin_life();
    for (int i = 0; i < LIVES; i++) {
        live();
        die();
    }
    come_to_rest();
    check_books();
    uint64_t hash = stoa_sim_hash(b.sim);
    stoa_sim_free(b.sim);
    stoa_sim_disks_free();
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void nothing_is_lost_or_done_twice_whatever_the_disks_do(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

/* A test of what never happens would show nothing. */
static void all_of_it_happens(void **state)
{
    (void)state;
    uint64_t faults[STOA_SIM_FAULT_COUNT] = {0};
    memset(&sums, 0, sizeof sums);
    for (uint64_t seed = 1; seed <= 120; seed++) {
        (void)run(seed);
        for (unsigned f = 0; f < STOA_SIM_FAULT_COUNT; f++) { faults[f] += sums.faults[f]; }
    }
    for (unsigned f = 0; f < STOA_SIM_FAULT_COUNT; f++) {
        print_message("%s %llu, ", stoa_sim_fault_name((stoa_sim_fault)f), (unsigned long long)faults[f]);
        assert_true(faults[f] > 0);
    }
    const struct { const char *name; uint64_t count; } others[] = {
        {"syncs failed", sums.syncs_failed}, {"disks filled", sums.filled}, {"drops refused", sums.drops_refused}, {"puts failed", sums.puts_failed},
        {"power cuts", sums.power_cuts}, {"blocks lost", sums.lost}, {"torn", sums.torn}, {"rotten", sums.rots},
        {"side stores lost", sums.side_lost}, {"rotten ones", sums.side_rots}, {"restored from snapshots", sums.restored},
        {"mailed", sums.mailed}, {"returned", sums.returned}, {"effects again", sums.again}, {"answers again", sums.same}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        print_message("%s %llu%s", others[i].name, (unsigned long long)others[i].count, i + 1 < sizeof others / sizeof others[0] ? ", " : "\n");
        assert_true(others[i].count > 0);
    }
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_of_it_happens),
                                       cmocka_unit_test(nothing_is_lost_or_done_twice_whatever_the_disks_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
