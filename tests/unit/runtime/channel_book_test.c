/* channel_book_test.c - goal: the receiver of a channel knows of each message that may still be told how it was refused, whatever came
 * before it. Method: messages taken, refused and settled at random - also none refused for longer than refusals are kept - against a
 * plain list of all that there ever were; the seed is printed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "runtime/channel_book.h"
#include "runtime/ledger.h"

enum { SEEDS = 8, MESSAGES = 40000, CHANNEL = 1, CHECKED_EVERY = 61 };

typedef struct world {
    stoa_channel_book *book;
    int16_t *refused; /* by seq: how, 0: not, or settled */
    uint64_t taken, settled;
} world;

static void take(world *w, int16_t error)
{
    uint64_t seq = ++w->taken;
    w->refused[seq] = error;
    if (error) {
        stoa_channel_refused(w->book, &(stoa_shard_log_refused){.seq = seq, .channel = CHANNEL, .shard = stoa_text("far"), .error = error});
    } else {
        stoa_channel_delivered(w->book, &(stoa_shard_log_delivered){.seq = seq, .channel = CHANNEL, .shard = stoa_text("far")});
    }
}

static void settle(world *w, uint64_t upto)
{
    for (uint64_t seq = 1; seq <= upto; seq++) { w->refused[seq] = 0; }
    w->settled = upto;
    stoa_channel_settled(w->book, &(stoa_shard_log_settled){.seq = upto, .channel = CHANNEL});
}

static void check(const world *w)
{
    const stoa_channel_in *in = &w->book->in[CHANNEL];
    uint64_t gone = w->taken > STOA_CHANNEL_MESSAGES ? w->taken - STOA_CHANNEL_MESSAGES : 0;
    uint32_t open = 0;
    for (uint64_t seq = gone + 1; seq <= w->taken; seq++) { open += w->refused[seq] != 0; }
    assert_int_equal(in->open, open);
    assert_int_equal(stoa_channel_unsettled(in), (w->settled > gone ? w->settled : gone) + 1);
    for (uint64_t seq = stoa_channel_unsettled(in); seq <= w->taken; seq++) { assert_int_equal(stoa_channel_refusal(in, seq), w->refused[seq]); }
}

static void run(world *w, stoa_random *random)
{
    uint64_t permille = 0, change = 0; /* how many are refused, and until when */
    while (w->taken < MESSAGES) {
        if (w->taken >= change) {
            permille = stoa_random_chance(random, 500) ? 0 : stoa_random_below(random, 300);
            change = w->taken + 1 + stoa_random_below(random, 2 * STOA_CHANNEL_MESSAGES);
        }
        take(w, stoa_random_chance(random, (uint32_t)permille) ? (int16_t)-(1 + (int)stoa_random_below(random, 20)) : 0);
        bool settles = w->book->in[CHANNEL].open && stoa_random_chance(random, 10); /* nobody says so where there is nothing to forget */
        if (settles) { settle(w, w->settled + stoa_random_below(random, w->taken - w->settled + 1)); }
        if (w->taken % CHECKED_EVERY == 0) { check(w); }
    }
}

static void refusals_are_known_until_they_are_settled(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world w = {.book = calloc(1, sizeof *w.book), .refused = calloc(MESSAGES + 1, sizeof *w.refused)};
        stoa_random random;
        assert_true(w.book && w.refused);
        print_message("seed %" PRIu64 "\n", seed);
        stoa_random_seed(&random, seed);
        run(&w, &random);
        free(w.refused);
        free(w.book);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refusals_are_known_until_they_are_settled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
