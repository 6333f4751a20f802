/* ping_pong.c - two actors and a ball: neither knows where the other lives, and it makes no difference to what they do.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <stoa/stoa.h>

#define ponger_ping_FIELDS(F, S) F(S, uint64_t, n)
#define ponger_pong_FIELDS(F, S) F(S, uint64_t, n)
#define ponger_ROWS(ROW, K) ROW(K, CAST, ping, _, "A ball comes.") ROW(K, TOPIC, pong, _, "And goes back.")
STOA_TABLE_HERE(ponger)
typedef struct ponger {
    uint64_t hits;
} ponger;
#define ponger_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(ponger, .mailbox_limit = 16)

static stoa_err ponger_on_ping(stoa_turn *turn, ponger *self, const ponger_ping *in)
{
    self->hits++;
    return ponger_send_pong(turn, turn->from, &(ponger_pong){in->n});
}

#define pinger_serve_FIELDS(F, S) F(S, stoa_text62, to) F(S, uint64_t, rounds)
#define pinger_game_FIELDS(F, S)  F(S, uint64_t, rounds)
#define pinger_ROWS(ROW, K) ROW(K, COMMAND, serve, game, "Play so many rounds.") ROW(K, REPLY, game, _, "That was all.")
STOA_TABLE_HERE(pinger)
typedef struct pinger {
    uint64_t rounds;
    stoa_asker asker;
} pinger;
#define pinger_HEARS(HEAR, K) HEAR(K, ponger, pong)
STOA_PLAIN_KIND(pinger, .mailbox_limit = 16)

static stoa_err pinger_on_serve(stoa_turn *turn, pinger *self, const pinger_serve *in, pinger_game *out)
{
    char name[sizeof in->to.at + 1] = "";
    (void)out;
    memcpy(name, in->to.at, in->to.len);
    self->rounds = in->rounds;
    stoa_turn_keep(turn, &self->asker); /* answered when the game is over */
    return ponger_send_ping(turn, stoa_turn_find(turn, name), (ponger_ping){1});
}

static stoa_err pinger_on_ponger_pong(stoa_turn *turn, pinger *self, const ponger_pong *in)
{
    pinger_game game = {in->n};
    if (in->n < self->rounds) { return ponger_send_ping(turn, turn->from, (ponger_ping){in->n + 1}); }
    return stoa_turn_answer_kept(turn, &self->asker, &pinger_rows[pinger_ROW_game], &game, STOA_OK);
}

int main(void)
{
    stoa_node *node = NULL;
    stoa_ref ping = {0}, pong = {0};
    pinger_game game = {0};
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    if (!err) { err = stoa_spawn(node, &ponger_kind, "ponger/po", NULL, &pong); }
    if (!err) { err = stoa_spawn(node, &pinger_kind, "pinger/pi", NULL, &ping); }
    if (!err) { err = pinger_call_serve(node, ping, (pinger_serve){stoa_text("ponger/po"), 1000}, STOA_S(10), &game); }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    printf("%" PRIu64 " rounds\n", game.rounds);
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
