/* resume_test.c - goal: an actor on a real journal that is dropped with its shard, or opened again with its node, arms its timers and
 * asks its questions anew, once each, and goes on counting where its log ends. Method: its resume arms a beat, asks somebody who answers
 * and somebody who never does; each beat, answer and deadline is an event. After each drop and each new opening, of RocksDB's journal,
 * all three come again; what an earlier life armed or asked does not go on beside it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

enum { DROPS = 5, OPENINGS = 3, BEATS = 3, BEAT_MS = 5, DEADLINE_MS = 50, LOOKS_MAX = 60000 /* 1 ms each, at least */ };

/* --- who is asked */

#define oracle_query_FIELDS  STOA_NO_FIELDS
#define oracle_riddle_FIELDS STOA_NO_FIELDS
#define oracle_told_FIELDS   STOA_NO_FIELDS
#define oracle_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, query, told, "It is answered.")                                                                    \
    ROW(K, COMMAND, riddle, told, "It is never answered.")                                                             \
    ROW(K, REPLY, told, _, "The answer.")
STOA_TABLE_HERE(oracle)
typedef struct oracle {
    stoa_asker asker;
} oracle;
#define oracle_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(oracle, .mailbox_limit = 64)

static stoa_err oracle_on_query(stoa_turn *turn, oracle *self, const oracle_query *in, oracle_told *out)
{
    (void)turn, (void)self, (void)in, (void)out;
    return STOA_OK;
}

static stoa_err oracle_on_riddle(stoa_turn *turn, oracle *self, const oracle_riddle *in, oracle_told *out)
{
    (void)in, (void)out;
    stoa_turn_keep(turn, &self->asker);
    return STOA_OK;
}

/* --- who resumes */

#define waker_beat_FIELDS(F, S)   F(S, uint64_t, life)
#define waker_read_FIELDS         STOA_NO_FIELDS
#define waker_sums_FIELDS(F, S)   F(S, uint64_t, beats) F(S, uint64_t, answers) F(S, uint64_t, deadlines)
#define waker_beaten_FIELDS       STOA_NO_FIELDS
#define waker_answered_FIELDS     STOA_NO_FIELDS
#define waker_unanswered_FIELDS   STOA_NO_FIELDS
#define waker_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, beat, _, "A timer, armed by resume.")                                                                 \
    ROW(K, COMMAND, read, sums, "Only look.")                                                                          \
    ROW(K, REPLY, sums, _, "What came, over all lives.")                                                               \
    ROW(K, EVENT, beaten, _, "The timer fired.")                                                                       \
    ROW(K, EVENT, answered, _, "A question of resume was answered.")                                                   \
    ROW(K, EVENT, unanswered, _, "A question of resume was not answered in time.")
STOA_TABLE_HERE(waker)
typedef struct waker {
    uint64_t beats, answers, deadlines;
} waker;
#define waker_HEARS(HEAR, K) HEAR(K, oracle, told)
static stoa_err waker_resume(stoa_turn *turn, const void *state);
STOA_KIND(waker, .resume = waker_resume)

static atomic_ullong lives;
static atomic_uint late;                               /* of an earlier life, when the present one was at work */
static atomic_ullong beats_of_life, questions_of_life; /* the present one's */

static stoa_err waker_resume(stoa_turn *turn, const void *state)
{
    (void)state;
    uint64_t life = atomic_fetch_add(&lives, 1) + 1;
    stoa_ref asked = stoa_turn_find(turn, "oracle/o");
    atomic_store(&beats_of_life, 0);
    atomic_store(&questions_of_life, 0);
    stoa_err err = waker_every_beat(turn, STOA_MS(BEAT_MS), (waker_beat){life}, NULL);
    if (!err) { err = oracle_ask_query(turn, asked, (oracle_query){0}, STOA_S(60), life); }
    return err ? err : oracle_ask_riddle(turn, asked, (oracle_riddle){0}, STOA_MS(DEADLINE_MS), life);
}

static stoa_err waker_on_beat(stoa_turn *turn, const waker *self, const waker_beat *in)
{
    (void)self;
    if (in->life == atomic_load(&lives)) {
        atomic_fetch_add(&beats_of_life, 1);
    } else if (atomic_load(&beats_of_life) > 1) { /* one that was sent before may still have been on its way */
        atomic_fetch_add(&late, 1);
    }
    return waker_emit_beaten(turn, (waker_beaten){0});
}

static stoa_err waker_on_oracle_told(stoa_turn *turn, const waker *self, const oracle_told *in)
{
    (void)self, (void)in;
    if (turn->token != atomic_load(&lives) || atomic_fetch_add(&questions_of_life, 1) > 1) { atomic_fetch_add(&late, 1); }
    return turn->error == STOA_E_TIMEOUT ? waker_emit_unanswered(turn, (waker_unanswered){0})
                                         : waker_emit_answered(turn, (waker_answered){0});
}

static stoa_err waker_on_read(stoa_turn *turn, const waker *self, const waker_read *in, waker_sums *out)
{
    (void)turn, (void)in;
    *out = (waker_sums){self->beats, self->answers, self->deadlines};
    return STOA_OK;
}

static void waker_apply_beaten(waker *self, const waker_beaten *event)
{
    (void)event;
    self->beats++;
}

static void waker_apply_answered(waker *self, const waker_answered *event)
{
    (void)event;
    self->answers++;
}

static void waker_apply_unanswered(waker *self, const waker_unanswered *event)
{
    (void)event;
    self->deadlines++;
}

/* --- the stage */

static char folder[64];
static stoa_node *node;
static stoa_shard *shard;
static stoa_ref actor;

static void run(const char *program)
{
    char command[192];
    (void)snprintf(command, sizeof command, "%s %s", program, folder);
    assert_int_equal(system(command), 0);
}

static void open_node(void)
{
    static const stoa_kind *const kinds[] = {&waker_kind, NULL};
    char path[96];
    stoa_ref asked;
    (void)snprintf(path, sizeof path, "%s/waker", folder);
    stoa_options options = {.cores = 1, .kinds = kinds};
    stoa_shard_options in = {.name = "waker", .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb, .path = path};
    assert_int_equal(stoa_node_open(&options, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &oracle_kind, "oracle/o", &(stoa_spawn_options){.core = 0}, &asked), STOA_OK);
    assert_int_equal(stoa_shard_open(node, &in, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(node, &waker_kind, "waker/w", &(stoa_spawn_options){.shard = shard}, &actor), STOA_OK);
}

static waker_sums sums(void)
{
    waker_sums out = {0};
    stoa_err err;
    do { err = waker_call_read(node, actor, (waker_read){0}, STOA_S(60), &out); } while (err == STOA_E_UNAVAILABLE);
    assert_int_equal(err, STOA_OK);
    return out;
}

/* Of this life: its beats go on, and both of its questions are over. */
static waker_sums all_have_come_again(waker_sums before)
{
    waker_sums now;
    uint64_t looks = 0;
    do {
        if (++looks > LOOKS_MAX) { fail_msg("life %llu: %llu beats, and not all has come", atomic_load(&lives), atomic_load(&beats_of_life)); }
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
        now = sums();
        assert_true(now.beats >= before.beats && now.answers >= before.answers && now.deadlines >= before.deadlines);
    } while (atomic_load(&beats_of_life) < BEATS || now.beats < before.beats + BEATS || now.answers == before.answers ||
             now.deadlines == before.deadlines);
    assert_int_equal(now.answers, before.answers + 1);
    assert_int_equal(now.deadlines, before.deadlines + 1);
    assert_int_equal(atomic_load(&late), 0);
    return now;
}

static void the_log_is_the_state(void)
{
    stoa_shard_view view;
    uint64_t hash, events;
    assert_int_equal(stoa_shard_look(shard, &view), STOA_OK);
    assert_int_equal(stoa_shard_replay(shard, view.applied, &hash, &events), STOA_OK);
    assert_true(hash == view.hash);
}

static void timers_and_questions_come_again_after_each_drop_and_opening(void **state)
{
    (void)state;
    waker_sums before = {0};
    (void)snprintf(folder, sizeof folder, "/tmp/stoa-resume-%d", (int)getpid());
    run("rm -rf");
    run("mkdir");
    for (uint64_t opening = 1, life = 1; opening <= OPENINGS; opening++, life++) {
        open_node();
        before = all_have_come_again(before);
        for (int i = 0; i < DROPS; i++, life++) {
            assert_int_equal(stoa_shard_drop(shard, 0), STOA_OK);
            before = all_have_come_again(before);
        }
        assert_int_equal(atomic_load(&lives), life);
        the_log_is_the_state();
        stoa_node_close(node, STOA_S(10));
    }
    run("rm -rf");
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(timers_and_questions_come_again_after_each_drop_and_opening)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
