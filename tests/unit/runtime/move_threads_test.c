/* move_threads_test.c - goal: on real cores, too, nothing is lost, doubled or out of order that goes to actors that are moved about, or
 * comes from them. Method: senders on all cores, a relay that is moved itself and callers from outside number what they send to
 * an actor that another thread moves all the time, its child with it; meant for TSan.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/move_world.h"

#define sender_begin_FIELDS(F, S) F(S, uint64_t, to) F(S, uint64_t, pace) F(S, uint64_t, count) F(S, uint64_t, who)
#define sender_go_FIELDS          STOA_NO_FIELDS
#define sender_look_FIELDS        STOA_NO_FIELDS
#define sender_relay_FIELDS(F, S) F(S, uint64_t, n)
#define sender_sent_FIELDS(F, S)  F(S, uint64_t, sent) F(S, uint64_t, asked) F(S, uint64_t, answered) F(S, uint64_t, refused)
#define sender_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, begin, _, "Send so many.")                                                                            \
    ROW(K, CAST, go, _, "Send a few.")                                                                                 \
    ROW(K, CAST, relay, _, "Send one.")                                                                                \
    ROW(K, COMMAND, look, sent, "What became of it.")                                                                  \
    ROW(K, REPLY, sent, _, "What became of it.")
STOA_TABLE_HERE(sender)
typedef struct sender {
    sender_begin what;
    sender_sent done;
} sender;
enum { PACE = 1 << 30 }; /* token of what is asked of another actor between two sends */
#define sender_HEARS(HEAR, K) HEAR(K, nomad, ack)
STOA_PLAIN_KIND(sender, .mailbox_limit = 100000)

static stoa_err sender_on_begin(stoa_turn *turn, sender *self, const sender_begin *in)
{
    self->what = *in;
    return in->count ? sender_send_go(turn, turn->self, (sender_go){{0}}) : STOA_OK;
}
static stoa_err sender_on_go(stoa_turn *turn, sender *self, const sender_go *in)
{
    (void)in;
    stoa_ref to = {self->what.to};
    uint64_t n = self->done.sent, asked = self->done.asked, until = n + 1 + stoa_turn_random(turn) % 3;
    for (; n < until && n < self->what.count; n++) {
        bool ask = stoa_turn_random(turn) % 4 == 0;
        stoa_err err = ask ? nomad_ask_order(turn, to, (nomad_order){self->what.who, n}, STOA_S(3600), n)
                           : nomad_send_note(turn, to, (nomad_note){self->what.who, n});
        if (err) { return err; }
        asked += ask;
    }
    stoa_err err = n < self->what.count
                       ? nomad_ask_order(turn, (stoa_ref){self->what.pace}, (nomad_order){0, 0}, STOA_S(3600), PACE)
                       : STOA_OK;
    if (!err) {
        self->done.sent = n;
        self->done.asked = asked;
    }
    return err;
}
static stoa_err sender_on_relay(stoa_turn *turn, sender *self, const sender_relay *in)
{
    (void)in;
    stoa_err err = nomad_send_note(turn, (stoa_ref){self->what.to}, (nomad_note){self->what.who, self->done.sent});
    if (!err) { self->done.sent++; }
    return err;
}
static stoa_err sender_on_look(stoa_turn *turn, sender *self, const sender_look *in, sender_sent *out)
{
    (void)turn;
    (void)in;
    *out = self->done;
    return STOA_OK;
}
static stoa_err sender_on_nomad_ack(stoa_turn *turn, sender *self, const nomad_ack *in)
{
    if (turn->token == PACE) { return sender_send_go(turn, turn->self, (sender_go){{0}}); }
    self->done.answered += !turn->error && in->n == turn->token;
    self->done.refused += turn->error != STOA_OK;
    return STOA_OK;
}

enum { COUNT = 2000, RELAY = SENDERS - 2, CALLER = SENDERS - 1, CORES = 4 };

/* A sender on some core; count 0: it relays. */
static stoa_ref begin(stoa_node *node, uint64_t who, stoa_ref to, uint64_t count)
{
    char name[32];
    (void)snprintf(name, sizeof name, "sender/%u", (unsigned)who);
    stoa_ref ref = spawn(node, &sender_kind, name, (uint32_t)(who % stoa_core_count(node)));
    assert_int_equal(sender_post_begin(node, ref, (sender_begin){to.at, stoa_find(node, "nomad/pace").at, count, who}), STOA_OK);
    return ref;
}

static void await_sender(stoa_node *node, stoa_ref ref)
{
    sender_sent sent = {0};
    while (sent.sent < COUNT || sent.answered + sent.refused < sent.asked) {
        assert_int_equal(sender_call_look(node, ref, (sender_look){{0}}, STOA_S(60), &sent), STOA_OK);
    }
    assert_int_equal(sent.refused, 0);
}

static uint64_t moves, refusals;
static void try_to_move(stoa_node *node, stoa_ref who, uint32_t core)
{
    stoa_ref out;
    stoa_err err = stoa_move(node, who, core, &out);
    if (err) { assert_int_equal(err, STOA_E_AGAIN); }
    moves += !err;
    refusals += err != STOA_OK;
}

static void call(stoa_node *node, stoa_ref who, uint64_t n)
{
    nomad_ack ack = {0};
    if (n % 8) {
        assert_int_equal(nomad_post_note(node, who, (nomad_note){CALLER, n}), STOA_OK);
    } else {
        assert_int_equal(nomad_call_order(node, who, (nomad_order){CALLER, n}, STOA_S(60), &ack), STOA_OK);
        assert_int_equal(ack.n, n);
    }
}

static void cores_and_callers_find_it_wherever_it_is(void **state)
{
    (void)state;
    stoa_node *node;
    stoa_ref senders[SENDERS];
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = CORES, .seed = 4}, &node), STOA_OK);
    stoa_ref first = spawn(node, &nomad_kind, "nomad/n", 0);
    (void)spawn(node, &nomad_kind, "nomad/pace", 1);
    assert_int_equal(be_busy(node, first, CHILD, first), STOA_OK);
    for (uint64_t who = 0; who < CALLER; who++) {
        senders[who] = begin(node, who, stoa_find(node, "nomad/n"), who == RELAY ? 0 : COUNT);
        try_to_move(node, first, (uint32_t)who % CORES);
    }
    for (uint32_t n = 0; n < COUNT; n++) {
        if (n % 3 == 0) { try_to_move(node, first, n % CORES); }
        if (n % 3 == 1) { try_to_move(node, senders[RELAY], n * 7 % CORES); }
        call(node, first, n);
        assert_int_equal(sender_post_relay(node, senders[RELAY], (sender_relay){n}), STOA_OK);
    }
    for (uint64_t who = 0; who < CALLER; who++) { await_sender(node, senders[who]); }
    nomad_seen seen = {0};
    while (seen.count < SENDERS * COUNT && !seen.disorder) { seen = read_seen(node, first); }
    assert_int_equal(seen.disorder, 0);
    assert_int_equal(seen.count, SENDERS * COUNT);
    assert_int_equal(seen.sum, SENDERS * ((uint64_t)COUNT * (COUNT - 1) / 2));
    assert_int_equal(seen.args, ARGS);
    printf("%llu moves, %llu refused as busy\n", (unsigned long long)moves, (unsigned long long)refusals);
    assert_true(moves > 0);
    assert_int_equal(view_of(node, "nomad/n").core, view_of(node, "nomad/n.child").core);
    assert_int_equal(stoa_stop(node, first), STOA_OK);
    stoa_node_close(node, STOA_S(1));
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(cores_and_callers_find_it_wherever_it_is)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
