/* undo_room_test.c - goal: what an undone cascade leaves - an asker of the shard hears of it, and mails - finds the room that every
 * cascade finds: the ring of a channel never overflows, and nothing that was mailed is lost.
 *
 * Method: all come at once while nothing of what is mailed has left: as many mails as fill a ring but for one cascade; an answer that
 * is undone with its cascade, whose asker mails as much as it may; and one more who does. Any number of cascades before.
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

enum { LETTERS = 8, LETTER_BYTES = 3900, BURSTS_MAX = 9 }; /* a burst is what a cascade may mail, nearly; a ring takes 8 of them */
#define DEADLINE STOA_S(5)

STOA_BYTES(page, 4000)
STOA_BYTES_DEFINE(page, 4000)

#define poster_burst_FIELDS(F, S)  F(S, uint64_t, number)
#define poster_letter_FIELDS(F, S) F(S, page, page)
#define poster_two_FIELDS(F, S)    F(S, uint64_t, number)
#define poster_wonder_FIELDS(F, S) F(S, uint64_t, number)
#define poster_hold_FIELDS(F, S)   F(S, uint64_t, number)
#define poster_tell_FIELDS(F, S)   F(S, uint64_t, number)
#define poster_undo_FIELDS(F, S)   F(S, uint64_t, number)
#define poster_gone_FIELDS(F, S)   F(S, uint64_t, number)
#define poster_got_FIELDS(F, S)    F(S, uint64_t, number)
#define poster_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, burst, _, "Mail as much as a cascade may.")                                                           \
    ROW(K, CAST, letter, _, "Mailed.")                                                                                 \
    ROW(K, CAST, two, _, "Have the peer mail as much.")                                                                \
    ROW(K, CAST, wonder, _, "Ask the peer to hold; mail when it answers.")                                             \
    ROW(K, COMMAND, hold, gone, "Answer when told.")                                                                   \
    ROW(K, CAST, tell, _, "Have the peer undo, and behind that answer what is held.")                                  \
    ROW(K, CAST, undo, _, "Undo.")                                                                                     \
    ROW(K, REPLY, gone, _, "Answered.")                                                                                \
    ROW(K, EVENT, got, _, "A letter has come.")
STOA_TABLE_HERE(poster)

typedef struct poster {
    uint64_t got;
} poster;
#define poster_HEARS(HEAR, K) HEAR(K, stoa_system, undelivered) HEAR(K, poster, gone)
STOA_KIND(poster, .mailbox_limit = 1024)

static unsigned mailed, answers, refused, returned;
static stoa_asker held;

static stoa_ref peer(const stoa_turn *turn)
{
    return stoa_turn_peer(turn, 3 - stoa_turn_stream(turn));
}

static stoa_err poster_on_burst(stoa_turn *turn, const poster *self, const poster_burst *in)
{
    (void)self, (void)in;
    poster_letter letter = {.page.count = LETTER_BYTES};
    memset(letter.page.at, 'x', LETTER_BYTES);
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < LETTERS && !err; i++) { err = poster_mail_letter(turn, "abroad:poster/c", letter, 1); }
    if (err) {
        refused++;
    } else {
        mailed += LETTERS;
    }
    return err;
}

static stoa_err poster_on_letter(stoa_turn *turn, const poster *self, const poster_letter *in)
{
    (void)self, (void)in;
    return poster_emit_got(turn, (poster_got){1});
}

static stoa_err poster_on_two(stoa_turn *turn, const poster *self, const poster_two *in)
{
    (void)self;
    return poster_send_burst(turn, peer(turn), (poster_burst){in->number});
}

static stoa_err poster_on_wonder(stoa_turn *turn, const poster *self, const poster_wonder *in)
{
    (void)self;
    return poster_ask_hold(turn, peer(turn), (poster_hold){in->number}, DEADLINE, 1);
}

static stoa_err poster_on_hold(stoa_turn *turn, const poster *self, const poster_hold *in, poster_gone *out)
{
    (void)self, (void)in, (void)out;
    stoa_turn_keep(turn, &held);
    return STOA_OK;
}

static stoa_err poster_on_tell(stoa_turn *turn, const poster *self, const poster_tell *in)
{
    (void)self;
    stoa_err err = poster_send_undo(turn, peer(turn), (poster_undo){in->number});
    return err ? err : stoa_turn_answer_kept(turn, &held, &poster_rows[poster_ROW_gone], &(poster_gone){in->number}, STOA_OK);
}

static stoa_err poster_on_undo(stoa_turn *turn, const poster *self, const poster_undo *in)
{
    (void)self, (void)in;
    return stoa_turn_undo(turn, STOA_E_PRECISION);
}

static stoa_err poster_on_poster_gone(stoa_turn *turn, const poster *self, const poster_gone *in)
{
    (void)in;
    answers++;
    assert_int_equal(turn->error, STOA_E_PRECISION);
    return poster_on_burst(turn, self, NULL);
}

static stoa_err poster_on_stoa_system_undelivered(stoa_turn *turn, const poster *self, const stoa_system_undelivered *in)
{
    (void)turn, (void)self, (void)in;
    returned++;
    return STOA_OK;
}

static void poster_apply_got(poster *self, const poster_got *event)
{
    self->got += event->number;
}

/* --- the stage */

static stoa_sim *sim;
static stoa_port *port;
static stoa_ref posters[3]; /* a and b at home, c abroad */

static void begin(void)
{
    static const stoa_kind *const kinds[] = {&poster_kind, NULL};
    static const char *const names[] = {"home", "abroad"}, *const actors[] = {"poster/a", "poster/b", "poster/c"};
    stoa_node *node;
    stoa_sim_disk *disk;
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_sim_disks_free();
    mailed = answers = refused = returned = 0;
    for (unsigned i = 0; i < 2; i++) { assert_int_equal(stoa_sim_disk_get(names[i], i + 1, &disk), STOA_OK); }
    stoa_sim_options options = {.seed = 7, .cores = 2, .kinds = kinds, .trace = stoa_seeds_trace()};
    assert_int_equal(stoa_sim_new(&options, &sim, &node), STOA_OK);
    for (uint32_t i = 0; i < 2; i++) {
        char path[24];
        stoa_shard *shard;
        (void)snprintf(path, sizeof path, "sim:%s", names[i]);
        stoa_shard_options where = {
            .name = names[i], .core = i, .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = path};
        assert_int_equal(stoa_shard_open(node, &where, &shard), STOA_OK);
        for (uint32_t k = 2 * i; k < 2 + i; k++) {
            assert_int_equal(stoa_spawn(node, &poster_kind, actors[k], &(stoa_spawn_options){.shard = shard}, &posters[k]), STOA_OK);
        }
    }
    assert_int_equal(stoa_port_open(node, "outside", &port), STOA_OK);
}

static void settle(void)
{
    stoa_port_flush(port);
    assert_int_equal(stoa_sim_settle(sim, 1000000), STOA_OK);
    assert_null(stoa_sim_dead(sim));
}

static void send(unsigned to, unsigned row)
{
    uint64_t number = 1; /* all of their payloads are that */
    assert_int_equal(stoa_port_send(port, posters[to], &poster_rows[row], &number, 0), STOA_OK);
}

static void what_is_left_finds_room(void **state)
{
    (void)state;
    for (unsigned bursts = 0; bursts <= BURSTS_MAX; bursts++) {
        begin();
        settle();
        send(0, poster_ROW_wonder);
        settle();
        for (unsigned i = 0; i < bursts; i++) { send(0, poster_ROW_burst); }
        send(1, poster_ROW_tell);
        send(1, poster_ROW_two);
        settle();
        assert_int_equal(answers, 1);
        assert_true(mailed + LETTERS * refused == LETTERS * (bursts + 2));
        const poster *c = stoa_sim_state(sim, posters[2], NULL);
        assert_int_equal(c->got, mailed);
        assert_int_equal(returned, 0);
        stoa_sim_free(sim);
        stoa_sim_disks_free();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_left_finds_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
