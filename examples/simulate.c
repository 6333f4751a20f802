/* simulate.c - a year in a blink: a savings account under the simulator, with a power cut in the middle of it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include <stoa/runtime/sim.h>
#include <stoa/stoa.h>
#include <stoa/storage/sim/journal.h>

#define WEEK_NS STOA_S(7 * 24 * 3600)

#define savings_week_FIELDS           STOA_NO_FIELDS
#define savings_show_FIELDS           STOA_NO_FIELDS
#define savings_balance_FIELDS(F, S)  F(S, uint64_t, weeks) F(S, uint64_t, cents)
#define savings_credited_FIELDS(F, S) F(S, uint64_t, cents) F(S, uint64_t, next_ns)
#define savings_ROWS(ROW, K)                              \
    ROW(K, CAST, week, _, "Timer: a week has passed.")    \
    ROW(K, COMMAND, show, balance, "How much is there?")  \
    ROW(K, REPLY, balance, _, "After so many weeks.")     \
    ROW(K, EVENT, credited, _, "The weekly deposit, and when the next one is due.")
STOA_TABLE_HERE(savings)
typedef struct savings {
    savings_balance balance;
    uint64_t next_ns; /* UTC: a state knows no timers, only when something is due */
} savings;
#define savings_HEARS STOA_HEARS_NOTHING
static stoa_err savings_resume(stoa_turn *turn, const void *state);
STOA_KIND(savings, .resume = savings_resume)

/* After it was spawned and each time it comes back: arm what the state says is due. */
static stoa_err savings_resume(stoa_turn *turn, const void *state)
{
    const savings *self = state;
    uint64_t due_ns = self->next_ns ? self->next_ns : turn->wall_ns + WEEK_NS;
    return savings_after_week(turn, due_ns > turn->wall_ns ? due_ns - turn->wall_ns : 0, (savings_week){0}, NULL);
}

static stoa_err savings_on_week(stoa_turn *turn, const savings *self, const savings_week *in)
{
    (void)self;
    stoa_err err = savings_emit_credited(turn, (savings_credited){1000, turn->wall_ns + WEEK_NS});
    return err ? err : savings_after_week(turn, WEEK_NS, *in, NULL);
}

static stoa_err savings_on_show(stoa_turn *turn, const savings *self, const savings_show *in, savings_balance *out)
{
    (void)turn, (void)in;
    *out = self->balance;
    return STOA_OK;
}

static void savings_apply_credited(savings *self, const savings_credited *event)
{
    self->balance.weeks++;
    self->balance.cents += event->cents;
    self->next_ns = event->next_ns;
}

static stoa_err open_account(stoa_node *node, stoa_ref *out)
{
    stoa_shard *shard = NULL;
    stoa_shard_options disk = {
        .name = "bank", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:bank"};
    stoa_err err = stoa_shard_open(node, &disk, &shard);
    return err ? err : stoa_spawn(node, &savings_kind, "savings/ada", &(stoa_spawn_options){.shard = shard}, out);
}

/* A year from the seed; returns the hash of every decision that the simulator took. */
static uint64_t year(uint64_t seed, savings_balance *out)
{
    stoa_sim *sim = NULL;
    stoa_node *node = NULL;
    stoa_ref ada = {0};
    stoa_err err = stoa_sim_new(&(stoa_sim_options){.seed = seed, .kinds = STOA_KINDS(&savings_kind)}, &sim, &node);
    if (!err) { err = open_account(node, &ada); }
    if (!err) { stoa_sim_run(sim, 26 * WEEK_NS + STOA_S(3600)); }
    if (!err) { err = stoa_sim_crash(sim, &node); } /* without a goodbye: memory is gone, the disk remains */
    if (!err) { err = open_account(node, &ada); }
    if (!err) { stoa_sim_run(sim, 26 * WEEK_NS); }
    if (!err) { err = savings_call_show(node, ada, (savings_show){0}, STOA_S(1), out); }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    uint64_t hash = stoa_sim_hash(sim);
    stoa_sim_free(sim);
    stoa_sim_disks_free();
    return err ? 0 : hash;
}

int main(void)
{
    savings_balance balance = {0}, again = {0};
    uint64_t hash = year(7, &balance);
    printf("after %" PRIu64 " weeks: %" PRIu64 " cents\n", balance.weeks, balance.cents);
    printf("the same seed decides the same: %s\n", hash && hash == year(7, &again) ? "yes" : "no");
    return hash ? 0 : 1;
}
