/* remote_kit.h - simulated nodes in one process, with a remote each, over a simulated network whose faults are the test's; and an
 * actor that does what it is told and notes what it hears.
 *
 * Node 0 listens; the others dial it. All live by one clock: the nodes' simulators and the network go on together, a tick at a time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_CLUSTER_REMOTE_KIT_H
#define TESTS_UNIT_CLUSTER_REMOTE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/remote/remote.h"
#include "runtime/sim.h"
#include "transport/fault/link.h"
#include "transport/sim/link.h"

/* --- the actor */

enum { TALK_SAY, TALK_TELL, TALK_WITHIN, TALK_POKE, TALK_ADD, TALK_MONITOR, TALK_LINK, TALK_ROOM, TALK_LONG, TALK_FORGET };
STOA_BYTES(talk_bytes, 200000)
STOA_BYTES_DEFINE(talk_bytes, 200000)

#define talker_say_FIELDS(F, S)  F(S, uint64_t, n)
#define talker_echo_FIELDS(F, S) F(S, uint64_t, n)
#define talker_poke_FIELDS(F, S) F(S, uint64_t, n)
#define talker_add_FIELDS(F, S)  F(S, uint64_t, n) F(S, uint64_t, fails)
#define talker_sum_FIELDS(F, S)  F(S, uint64_t, sum)
#define talker_long_FIELDS(F, S) F(S, talk_bytes, bytes)
#define talker_go_FIELDS(F, S)   F(S, stoa_text62, to) F(S, uint64_t, how) F(S, uint64_t, n) F(S, uint64_t, within_ns)
#define talker_end_FIELDS(F, S)  F(S, uint64_t, fails)
#define talker_spam_FIELDS(F, S) F(S, stoa_text62, to) F(S, uint64_t, count)
#define talker_news_FIELDS(F, S) F(S, uint64_t, n)
#define talker_hear_FIELDS(F, S) talker_spam_FIELDS(F, S)
#define talker_tell_FIELDS(F, S) talker_spam_FIELDS(F, S)
#define talker_ROWS(ROW, K)                                               \
    ROW(K, CAST, say, _, "A number; it is echoed to who sent it.")        \
    ROW(K, CAST, echo, _, "A number that came back.")                     \
    ROW(K, CONTROL, poke, _, "A number, ahead of others.")                \
    ROW(K, COMMAND, add, sum, "Add; fails: refuse with that error.")      \
    ROW(K, REPLY, sum, _, "What there is now.")                           \
    ROW(K, CAST, long, _, "Much.")                                        \
    ROW(K, CAST, go, _, "Do something to another one.")                   \
    ROW(K, CAST, end, _, "End.")                                          \
    ROW(K, CAST, spam, _, "Send as many as are taken.")                   \
    ROW(K, TOPIC, news, _, "What is published.")                          \
    ROW(K, CAST, hear, _, "Subscribe; count 1: unsubscribe.")             \
    ROW(K, CAST, tell, _, "Publish.")
STOA_TABLE_HERE(talker)

typedef struct talker {
    uint64_t said, said_last, echoed, echoed_last, poked, sum, answers, answer_sum, answer_errors, downs, refused, rooms, exits, longs,
        taken, full, heard, heard_last;
    stoa_err answer_error, refused_error;
    stoa_end down_reason, exit_reason;
    char down_text[64];
    uint64_t found, monitor;
} talker;

#define talker_HEARS(HEAR, K)       \
    HEAR(K, talker, news)           \
    HEAR(K, talker, sum)            \
    HEAR(K, stoa_system, down)      \
    HEAR(K, stoa_system, refused)   \
    HEAR(K, stoa_system, room)
STOA_PLAIN_KIND(talker, .mailbox_limit = 64)

static stoa_err talker_on_say(stoa_turn *turn, talker *self, const talker_say *in)
{
    self->said++;
    self->said_last = in->n;
    (void)talker_send_echo(turn, turn->from, (talker_echo){in->n});
    return STOA_OK;
}

static stoa_err talker_on_echo(stoa_turn *turn, talker *self, const talker_echo *in)
{
    (void)turn;
    self->echoed++;
    self->echoed_last = in->n;
    return STOA_OK;
}

static stoa_err talker_on_poke(stoa_turn *turn, talker *self, const talker_poke *in)
{
    (void)turn, (void)in;
    self->poked++;
    return STOA_OK;
}

static stoa_err talker_on_add(stoa_turn *turn, talker *self, const talker_add *in, talker_sum *out)
{
    (void)turn;
    if (in->fails) { return (stoa_err) - (int)in->fails; }
    if (in->n == UINT64_MAX) { /* never answers */
        stoa_turn_no_answer(turn);
        return STOA_OK;
    }
    self->sum += in->n;
    out->sum = self->sum;
    return STOA_OK;
}

static stoa_err talker_on_talker_sum(stoa_turn *turn, talker *self, const talker_sum *in)
{
    self->answers++;
    self->answer_error = turn->error;
    self->answer_errors += turn->error != STOA_OK;
    self->answer_sum = in->sum;
    return STOA_OK;
}

static stoa_err talker_on_long(stoa_turn *turn, talker *self, const talker_long *in)
{
    (void)turn;
    for (uint32_t i = 0; i < in->bytes.count; i++) {
        if (in->bytes.at[i] != (uint8_t)(i * 7)) { return STOA_OK; }
    }
    self->longs += in->bytes.count;
    return STOA_OK;
}

static stoa_err talker_on_go(stoa_turn *turn, talker *self, const talker_go *in)
{
    char name[64] = "";
    memcpy(name, in->to.at, in->to.len);
    stoa_ref to = stoa_turn_find(turn, name);
    static talker_long much; /* one thread */
    stoa_err err = STOA_OK;
    self->found = to.at;
    switch (in->how) {
    case TALK_SAY: err = talker_send_say(turn, to, (talker_say){in->n}); break;
    case TALK_TELL: err = talker_told_say(turn, to, (talker_say){in->n}, 77); break;
    case TALK_WITHIN: err = talker_within_say(turn, to, (talker_say){in->n}, in->within_ns); break;
    case TALK_POKE: err = talker_send_poke(turn, to, (talker_poke){in->n}); break;
    case TALK_ADD: err = talker_ask_add(turn, to, (talker_add){in->n, 0}, in->within_ns, 5); break;
    case TALK_FORGET: err = talker_ask_add(turn, to, (talker_add){0, in->n}, in->within_ns, 5); break;
    case TALK_MONITOR: self->monitor = stoa_turn_monitor(turn, to); break;
    case TALK_LINK: err = stoa_turn_link(turn, to); break;
    case TALK_ROOM: err = stoa_turn_when_room(turn, to, 9); break;
    case TALK_LONG:
        much.bytes.count = (uint32_t)in->n;
        memset(much.bytes.at, 0, sizeof much.bytes.at);
        for (uint32_t i = 0; i < in->n; i++) { much.bytes.at[i] = (uint8_t)(i * 7); }
        err = talker_send_long(turn, to, much);
        break;
    default: break;
    }
    return err;
}

static stoa_err talker_on_end(stoa_turn *turn, talker *self, const talker_end *in)
{
    (void)self;
    return stoa_turn_exit(turn, in->fails ? "as it was told" : NULL);
}

static stoa_err talker_on_spam(stoa_turn *turn, talker *self, const talker_spam *in)
{
    char name[64] = "";
    memcpy(name, in->to.at, in->to.len);
    stoa_ref to = stoa_turn_find(turn, name);
    for (uint64_t i = 0; i < in->count; i++) {
        stoa_err err = talker_send_say(turn, to, (talker_say){i + 1});
        if (err) {
            self->full += err == STOA_E_FULL;
            break;
        }
        self->taken++;
    }
    return STOA_OK;
}

static stoa_err talker_on_hear(stoa_turn *turn, talker *self, const talker_hear *in)
{
    char name[64] = "";
    (void)self;
    memcpy(name, in->to.at, in->to.len);
    return in->count ? stoa_turn_unsubscribe(turn, name) : stoa_turn_subscribe(turn, name);
}

static stoa_err talker_on_tell(stoa_turn *turn, talker *self, const talker_tell *in)
{
    char name[64] = "";
    (void)self;
    memcpy(name, in->to.at, in->to.len);
    stoa_err err = stoa_turn_bind(turn, 0, name);
    return err ? err : talker_publish_news(turn, 0, &(talker_news){in->count});
}

static stoa_err talker_on_talker_news(stoa_turn *turn, talker *self, const talker_news *in)
{
    self->heard++;
    self->heard_last = in->n;
    (void)talker_send_echo(turn, turn->from, (talker_echo){in->n});
    return STOA_OK;
}

static stoa_err talker_on_stoa_system_down(stoa_turn *turn, talker *self, const stoa_system_down *in)
{
    (void)turn;
    self->downs++;
    self->down_reason = in->reason;
    memset(self->down_text, 0, sizeof self->down_text);
    memcpy(self->down_text, in->text.at, in->text.len);
    return STOA_OK;
}

static stoa_err talker_on_stoa_system_refused(stoa_turn *turn, talker *self, const stoa_system_refused *in)
{
    (void)turn;
    assert_int_equal(in->token, 77);
    self->refused++;
    self->refused_error = (stoa_err)in->error;
    return STOA_OK;
}

static stoa_err talker_on_stoa_system_room(stoa_turn *turn, talker *self, const stoa_system_room *in)
{
    (void)turn, (void)in;
    self->rooms++;
    return STOA_OK;
}

/* --- one that traps exits */

#define trapper_link_FIELDS(F, S)   F(S, stoa_text62, to)
#define trapper_unlink_FIELDS(F, S) F(S, stoa_text62, to)
#define trapper_end_FIELDS(F, S)    F(S, uint64_t, fails)
#define trapper_ROWS(ROW, K)                              \
    ROW(K, CAST, link, _, "Link oneself to that one.")    \
    ROW(K, CAST, unlink, _, "Be linked to it no more.")   \
    ROW(K, CAST, end, _, "End.")
STOA_TABLE_HERE(trapper)

typedef struct trapper {
    uint64_t exits;
    stoa_end reason;
    char text[64];
} trapper;

#define trapper_HEARS(HEAR, K) HEAR(K, stoa_system, exit)
STOA_PLAIN_KIND(trapper, .trap_exits = true)

static inline stoa_ref trapper_find(stoa_turn *turn, const stoa_text62 *to)
{
    char name[64] = "";
    memcpy(name, to->at, to->len);
    return stoa_turn_find(turn, name);
}

static stoa_err trapper_on_link(stoa_turn *turn, trapper *self, const trapper_link *in)
{
    (void)self;
    return stoa_turn_link(turn, trapper_find(turn, &in->to));
}

static stoa_err trapper_on_unlink(stoa_turn *turn, trapper *self, const trapper_unlink *in)
{
    (void)self;
    stoa_turn_unlink(turn, trapper_find(turn, &in->to));
    return STOA_OK;
}

static stoa_err trapper_on_end(stoa_turn *turn, trapper *self, const trapper_end *in)
{
    (void)self;
    return stoa_turn_exit(turn, in->fails ? "as it was told" : NULL);
}

static stoa_err trapper_on_stoa_system_exit(stoa_turn *turn, trapper *self, const stoa_system_exit *in)
{
    (void)turn;
    self->exits++;
    self->reason = in->reason;
    memset(self->text, 0, sizeof self->text);
    memcpy(self->text, in->text.at, in->text.len);
    return STOA_OK;
}

/* --- the world */

enum { KIT_NODES = 3 };

typedef struct kit_node {
    stoa_sim *sim;
    stoa_node *node;
    stoa_remote *remote;
    uint64_t incarnation;
    uint32_t ups, downs, losts, resets;
    struct kit *kit;
} kit_node;

typedef struct kit {
    stoa_clock_virtual clock;
    stoa_sim_net *net;
    uint64_t tick_ns;
    uint32_t count;
    kit_node nodes[KIT_NODES];
    const char *dials; /* what else the address of who dials has, "" */
    uint64_t lost_ns[KIT_NODES];
    const char *awaits[KIT_NODES];
} kit;

static inline void kit_on_peer(void *context, const char *peer, stoa_remote_what what, stoa_err why)
{
    kit_node *n = context;
    (void)peer, (void)why;
    n->ups += what == STOA_REMOTE_UP;
    n->downs += what == STOA_REMOTE_DOWN;
    n->losts += what == STOA_REMOTE_LOST;
    n->resets += what == STOA_REMOTE_RESET;
}

static const char *const kit_names[KIT_NODES] = {"a", "b", "c"};

static inline void kit_begin(kit *k, uint32_t i)
{
    static const stoa_kind *const kinds[] = {&talker_kind, &trapper_kind, NULL};
    kit_node *n = &k->nodes[i];
    char uri[128];
    stoa_sim_options sim = {.seed = 7 + i, .cores = 2};
    n->kit = k;
    if (!n->sim) { assert_int_equal(stoa_sim_new(&sim, &n->sim, &n->node), STOA_OK); }
    (void)snprintf(uri, sizeof uri, "%ssim://remote/hub%s%s", i ? "fault+" : "", i ? "?seed=3" : "", i ? k->dials : "");
    stoa_remote_link link = {.uri = uri, .link.listen = i == 0, .awaits = k->awaits[i]};
    stoa_remote_events events = {.peer = kit_on_peer, .context = n};
    stoa_remote_options options = {.node = n->node,
                                   .name = kit_names[i],
                                   .incarnation = ++n->incarnation,
                                   .epoch = 1,
                                   .kinds = kinds,
                                   .links = &link,
                                   .link_count = 1,
                                   .core = 0,
                                   .lost_ns = k->lost_ns[i],
                                   .events = &events};
    stoa_err err = stoa_remote_new(&options, &n->remote);
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    assert_int_equal(err, STOA_OK);
}

/* As the end of a process: nobody says good-bye. */
static inline void kit_kill(kit *k, uint32_t i)
{
    kit_node *n = &k->nodes[i];
    stoa_remote_abandon(n->remote);
    n->remote = NULL;
    assert_int_equal(stoa_sim_crash(n->sim, &n->node), STOA_OK);
}

static inline void kit_tick(kit *k)
{
    k->clock.now += k->tick_ns;
    for (uint32_t i = 0; i < k->count; i++) {
        kit_node *n = &k->nodes[i];
        stoa_sim_run(n->sim, k->tick_ns);
        for (uint32_t again = 0; n->remote && again < 4 && stoa_remote_step(n->remote) <= stoa_sim_now(n->sim); again++) {}
    }
}

static inline void kit_run(kit *k, uint64_t ms)
{
    for (uint64_t until = k->clock.now + STOA_MS(ms); k->clock.now < until;) { kit_tick(k); }
}

static inline stoa_ref kit_spawn(kit *k, uint32_t i, const char *name)
{
    stoa_ref ref;
    assert_int_equal(stoa_spawn(k->nodes[i].node, &talker_kind, name, NULL, &ref), STOA_OK);
    return ref;
}

static inline stoa_ref kit_trapper(kit *k, uint32_t i, const char *name)
{
    stoa_ref ref;
    assert_int_equal(stoa_spawn(k->nodes[i].node, &trapper_kind, name, NULL, &ref), STOA_OK);
    return ref;
}

static inline void kit_link(kit *k, uint32_t i, stoa_ref who, const char *to, bool link)
{
    trapper_link what = {0}; /* unlink is the same */
    assert_int_equal(STOA_TEXT_SETZ(&what.to, to), STOA_OK);
    assert_int_equal(stoa_post(k->nodes[i].node, who, &trapper_rows[link ? trapper_ROW_link : trapper_ROW_unlink], &what), STOA_OK);
}

static inline const trapper *kit_trapped(kit *k, uint32_t i, stoa_ref ref)
{
    return stoa_sim_state(k->nodes[i].sim, ref, NULL);
}

static inline talker *kit_state(kit *k, uint32_t i, stoa_ref ref)
{
    union {
        const void *is;
        talker *state;
    } of = {.is = stoa_sim_state(k->nodes[i].sim, ref, NULL)};
    return of.state;
}

static inline void kit_go(kit *k, uint32_t i, stoa_ref who, const char *to, uint64_t how, uint64_t n, uint64_t within_ms)
{
    talker_go go = {.how = how, .n = n, .within_ns = STOA_MS(within_ms)};
    assert_int_equal(STOA_TEXT_SETZ(&go.to, to), STOA_OK);
    assert_int_equal(talker_post_go(k->nodes[i].node, who, go), STOA_OK);
}

static inline void kit_topic(kit *k, uint32_t i, stoa_ref who, const stoa_row *row, const char *topic, uint64_t count)
{
    talker_spam spam = {.count = count}; /* hear and tell are the same */
    assert_int_equal(STOA_TEXT_SETZ(&spam.to, topic), STOA_OK);
    assert_int_equal(stoa_post(k->nodes[i].node, who, row, &spam), STOA_OK);
}

static inline void kit_find_peer(void *context, const stoa_remote_peer_view *view)
{
    stoa_remote_peer_view *out = context;
    if (!out->name || strcmp(view->name, out->name) == 0) { *out = *view; }
}

static inline stoa_remote_peer_view kit_peer(kit *k, uint32_t i, const char *name)
{
    stoa_remote_peer_view view = {.name = name};
    stoa_remote_peers(k->nodes[i].remote, kit_find_peer, &view);
    return view;
}

static inline void kit_open(kit *k, uint32_t count)
{
    stoa_clock_virtual_init(&k->clock, 1);
    stoa_sim_net_options net = {
        .seed = 5, .clock = &k->clock.clock, .delay_ns_min = STOA_US(50), .delay_ns_max = STOA_US(400)};
    assert_int_equal(stoa_sim_net_new("remote", &net, &k->net), STOA_OK);
    k->tick_ns = STOA_US(500);
    k->count = count;
    if (!k->dials) { k->dials = ""; }
    for (uint32_t i = 0; i < count; i++) { kit_begin(k, i); }
    kit_run(k, 30);
    for (uint32_t i = 0; i < count; i++) { assert_true(k->nodes[i].ups > 0); }
}

static inline void kit_close(kit *k)
{
    for (uint32_t i = 0; i < k->count; i++) {
        stoa_remote_stop(k->nodes[i].remote, 0);
        stoa_sim_free(k->nodes[i].sim);
    }
    stoa_sim_net_free(k->net);
}

#endif
