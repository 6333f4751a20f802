/* two_nodes.c - the ball of ping_pong.c between two processes: the actors do not see that there are two.
 *
 *     example_two_nodes keys DATA           a key pair, where there is none; DATA/keys/server.pub is for the other one
 *     example_two_nodes left URI [DATA]     listens, and has a ponger; the end of its input ends it
 *     example_two_nodes right URI [DATA]    dials, and plays; without DATA there are no keys: for shm, ipc and loopback
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <stoa/cluster/links.h>
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

#define pinger_serve_FIELDS(F, S) F(S, uint64_t, rounds)
#define pinger_game_FIELDS(F, S)  F(S, uint64_t, rounds)
#define pinger_ROWS(ROW, K) ROW(K, COMMAND, serve, game, "Play so many rounds.") ROW(K, REPLY, game, _, "That was all.")
STOA_TABLE_HERE(pinger)
typedef struct pinger {
    uint64_t rounds;
    stoa_asker asker;
} pinger;
#define pinger_HEARS(HEAR, K) HEAR(K, ponger, pong) HEAR(K, stoa_system, down)
STOA_PLAIN_KIND(pinger, .mailbox_limit = 16)

static stoa_err pinger_on_serve(stoa_turn *turn, pinger *self, const pinger_serve *in, pinger_game *out)
{
    stoa_ref there = stoa_turn_find(turn, "ponger/po");
    (void)out;
    self->rounds = in->rounds;
    stoa_turn_keep(turn, &self->asker); /* answered when the game is over, or the other node is */
    return stoa_turn_monitor(turn, there) ? ponger_send_ping(turn, there, (ponger_ping){1}) : STOA_E_FULL;
}

static stoa_err pinger_on_ponger_pong(stoa_turn *turn, pinger *self, const ponger_pong *in)
{
    pinger_game game = {in->n};
    if (in->n < self->rounds) { return ponger_send_ping(turn, turn->from, (ponger_ping){in->n + 1}); }
    return stoa_turn_answer_kept(turn, &self->asker, &pinger_rows[pinger_ROW_game], &game, STOA_OK);
}

static stoa_err pinger_on_stoa_system_down(stoa_turn *turn, pinger *self, const stoa_system_down *in)
{
    (void)in; /* its reason: LOST where the node was */
    return stoa_turn_answer_kept(turn, &self->asker, &pinger_rows[pinger_ROW_game], NULL, STOA_E_CLOSED);
}

static void say_address(void *context, const stoa_links_link_view *view)
{
    (void)context;
    printf("left listens at %s\n", view->address);
    fflush(stdout);
}

static void say_refused(void *context, const char *node, stoa_remote_what what, stoa_err why)
{
    bool *said = context, refused = what == STOA_REMOTE_REFUSED || what == STOA_REMOTE_TURNED_AWAY;
    if (refused && !*said) { fprintf(stderr, "no link with %s: %s\n", *node ? node : "who comes", stoa_err_text(why)); }
    *said = refused;
}

int main(int count, char **args)
{
    bool keys = count == 3 && strcmp(args[1], "keys") == 0, left = count > 2 && strcmp(args[1], "left") == 0;
    bool right = count > 2 && strcmp(args[1], "right") == 0, said = false;
    if (!keys && !left && !right) { return fprintf(stderr, "keys DATA, left URI [DATA] or right URI [DATA]\n"), 2; }
    if (keys) { return stoa_links_pair(args[2]) ? fprintf(stderr, "%s\n", stoa_err_trail()), 1 : 0; }
    stoa_node *node = NULL;
    stoa_links *links = NULL;
    stoa_ref ping = {0}, pong = {0};
    pinger_game game = {0};
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    stoa_links_options options = {.node = node, .name = args[1], .data = count > 3 ? args[3] : NULL,
                                  .kinds = STOA_KINDS(&ponger_kind, &pinger_kind),
                                  .links = {{.uri = args[2], .listen = left, .nodes = left ? "right" : "left"}}};
    if (!err && left) { err = stoa_spawn(node, &ponger_kind, "ponger/po", NULL, &pong); }
    options.told = say_refused, options.context = &said;
    if (!err) { err = stoa_links_open(&options, &links); }
    if (!err && left) {
        stoa_links_visit(links, say_address, NULL);
        while (getchar() != EOF) {}
    } else if (!err) {
        err = stoa_links_find(links, "ponger/po", STOA_S(60), &pong);
        if (!err) { err = stoa_spawn(node, &pinger_kind, "pinger/pi", NULL, &ping); }
        if (!err) { err = pinger_call_serve(node, ping, (pinger_serve){1000}, STOA_S(60), &game); }
        printf("%" PRIu64 " rounds\n", game.rounds);
    }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    stoa_links_close(links, STOA_MS(200));
    stoa_node_close(node, STOA_MS(200));
    return err ? 1 : 0;
}
