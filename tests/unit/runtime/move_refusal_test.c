/* move_refusal_test.c - goal: what cannot be moved stays where it is, with all that was sent to it, and the refusal says why; what
 * fails half way is undone. Method: each reason on simulated cores, alone and below another actor; memory that is used up at
 * either end while messages come; a watched descriptor on real cores.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/runtime/move_world.h"

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
} world;

static world open_world(uint64_t seed, uint32_t cores)
{
    world w;
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = seed, .cores = cores}, &w.sim, &w.node), STOA_OK);
    return w;
}

static void rest(const world *w)
{
    assert_int_equal(stoa_sim_settle(w->sim, 100000), STOA_OK);
}

static void refused(stoa_node *node, stoa_ref who, uint32_t core, stoa_err err, const char *what)
{
    stoa_ref out = {7};
    assert_int_equal(stoa_move(node, who, core, &out), err);
    assert_int_equal(out.at, 7);
    if (!strstr(stoa_err_trail(), what)) { fail_msg("'%s' does not say '%s'", stoa_err_trail(), what); }
}

/* --- what is under way */

static const struct reason {
    enum nomad_what what;
    stoa_err err;
    const char *text;
    int ends; /* by this, -1: not */
} reasons[] = {
    {TIMER, STOA_E_AGAIN, "it has a timer", NO_TIMER},
    {MEMORY, STOA_E_AGAIN, "it holds memory of its own", NO_MEMORY},
    {SUBSCRIBE, STOA_E_UNSUPPORTED, "it has subscriptions or is in a group", UNSUBSCRIBE},
    {JOIN, STOA_E_UNSUPPORTED, "it has subscriptions or is in a group", LEAVE},
    {ASK, STOA_E_AGAIN, "it has an ask under way", -1},
    {GATHER, STOA_E_AGAIN, "it has a gather under way", -1},
    {MONITOR, STOA_E_AGAIN, "it monitors or has linked itself", NO_MONITOR},
    {LINK, STOA_E_AGAIN, "it monitors or has linked itself", UNLINK},
};

static void what_is_under_way_keeps_it_where_it_is(void **state)
{
    (void)state;
    world w = open_world(1, 2);
    stoa_ref other = spawn(w.node, &nomad_kind, "nomad/other", 1);
    for (const struct reason *r = reasons; r < reasons + sizeof reasons / sizeof reasons[0]; r++) {
        stoa_ref who = spawn(w.node, &nomad_kind, "nomad/busy", 0);
        assert_int_equal(be_busy(w.node, who, r->what, other), STOA_OK);
        rest(&w);
        refused(w.node, who, 1, r->err, "nomad/busy cannot be moved");
        refused(w.node, who, 1, r->err, r->text);
        assert_int_equal(view_of(w.node, "nomad/busy").core, 0);
        if (r->ends >= 0) {
            assert_int_equal(be_busy(w.node, who, (enum nomad_what)r->ends, other), STOA_OK);
            rest(&w);
            (void)moved(w.node, who, 1);
        }
        assert_int_equal(stoa_stop(w.node, who), STOA_OK);
        rest(&w);
        refused(w.node, who, 1, STOA_E_CLOSED, "no such actor");
    }
    stoa_sim_free(w.sim);
}

static void what_is_below_it_keeps_it_too(void **state)
{
    (void)state;
    world w = open_world(2, 2);
    stoa_ref other = spawn(w.node, &nomad_kind, "nomad/other", 1);
    for (const struct reason *r = reasons; r < reasons + sizeof reasons / sizeof reasons[0]; r++) {
        stoa_ref top = spawn(w.node, &nomad_kind, "nomad/top", 0);
        assert_int_equal(be_busy(w.node, top, CHILD, other), STOA_OK);
        rest(&w);
        stoa_ref child = stoa_find(w.node, "nomad/top.child");
        refused(w.node, child, 1, STOA_E_UNSUPPORTED, "nomad/top.child cannot be moved: it is a child of nomad/top, and moves with it");
        assert_int_equal(be_busy(w.node, child, r->what, other), STOA_OK);
        rest(&w);
        refused(w.node, top, 1, r->err, "nomad/top cannot be moved: nomad/top.child below it: ");
        refused(w.node, top, 1, r->err, r->text);
        assert_int_equal(view_of(w.node, "nomad/top").core, 0);
        assert_int_equal(view_of(w.node, "nomad/top.child").core, 0);
        assert_int_equal(stoa_stop(w.node, top), STOA_OK);
        rest(&w);
    }
    stoa_sim_free(w.sim);
}

static void who_starts_or_is_down_stays(void **state)
{
    (void)state;
    world w = open_world(3, 2);
    stoa_ref out, who = spawn(w.node, &nomad_kind, "nomad/n", 0);
    assert_int_equal(stoa_sim_fail(w.sim, who, "first"), STOA_OK); /* the first restart is at once, the next one waits */
    refused(w.node, who, 1, STOA_E_AGAIN, "it has yet to start");
    assert_int_equal(stoa_sim_fail(w.sim, who, "second"), STOA_OK);
    refused(w.node, who, 1, STOA_E_AGAIN, "it is down until its restart");
    stoa_sim_run(w.sim, STOA_MS(100));
    refused(w.node, who, 2, STOA_E_INVALID, "no core 2: there are 2");
    refused(w.node, stoa_port_ref(w.node->front), 1, STOA_E_CLOSED, "no such actor");
    refused(w.node, STOA_REF_NONE, 1, STOA_E_CLOSED, "no such actor");
    assert_int_equal(stoa_move(w.node, who, 0, &out), STOA_OK); /* it is there */
    assert_true(stoa_ref_equal(out, who));
    assert_false(stoa_ref_equal(moved(w.node, who, 1), who));
    stoa_tree_shutdown(w.node->cores[0]);
    refused(w.node, who, 0, STOA_E_UNAVAILABLE, "the node is ending");
    stoa_sim_free(w.sim);
}

/* More than a batch handles, from several places; then one batch. */
static void fill(const world *w, stoa_ref who)
{
    for (uint64_t i = 0; i < 4; i++) {
        stoa_port *port;
        char name[16];
        (void)snprintf(name, sizeof name, "p%u", (unsigned)i);
        assert_int_equal(stoa_port_open(w->node, name, &port), STOA_OK);
        for (uint64_t n = 0; n < 250; n++) {
            assert_int_equal(stoa_port_send(port, who, &nomad_rows[nomad_ROW_note], &(nomad_note){i, n}, 0), STOA_OK);
        }
        stoa_port_flush(port);
    }
    (void)stoa_core_batch(w->node->cores[0]);
    assert_true(view_of(w->node, "nomad/full").queued > 500);
}

static void who_has_messages_or_is_waited_for_stays(void **state)
{
    (void)state;
    static stoa_kind small;
    small = nomad_kind;
    small.mailbox_limit = 1000;
    for (int waited_for = 0; waited_for < 2; waited_for++) {
        world w = open_world(4, 2);
        nomad_args args = {ARGS};
        stoa_ref who, waits = spawn(w.node, &nomad_kind, "nomad/waits", 0);
        assert_int_equal(stoa_spawn(w.node, &small, "nomad/full", &(stoa_spawn_options){.args = &args}, &who), STOA_OK);
        nomad_busy wait = {WAIT_FOR_ROOM, who.at}; /* it has its turn first in that batch, and finds the mailbox full */
        if (waited_for) { assert_int_equal(stoa_post(w.node, waits, &nomad_rows[nomad_ROW_busy], &wait), STOA_OK); }
        fill(&w, who);
        refused(w.node, who, 1, STOA_E_AGAIN, waited_for ? "another actor waits for room in its mailbox" : "messages wait for it");
        rest(&w);
        (void)moved(w.node, who, 1);
        assert_int_equal(read_seen(w.node, who).count, 1000);
        assert_int_equal(read_seen(w.node, who).disorder, 0);
        stoa_sim_free(w.sim);
    }
}

#define vault_put_FIELDS  STOA_NO_FIELDS
#define vault_ROWS(ROW, K) ROW(K, CAST, put, _, "Nothing.")
STOA_TABLE_HERE(vault)
typedef struct vault {
    uint64_t nothing;
} vault;
#define vault_HEARS STOA_HEARS_NOTHING
STOA_KIND(vault, .mailbox_limit = 4)
static stoa_err vault_on_put(stoa_turn *turn, const vault *self, const vault_put *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}

static void who_lives_with_a_shard_stays_there(void **state)
{
    (void)state;
    world w = open_world(5, 2);
    stoa_shard *shard;
    stoa_ref who;
    assert_int_equal(stoa_shard_open(w.node, &(stoa_shard_options){.name = "s", .durability = stoa_durability_NONE}, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(w.node, &vault_kind, "vault/x", &(stoa_spawn_options){.shard = shard}, &who), STOA_OK);
    refused(w.node, who, 1, STOA_E_UNSUPPORTED, "vault/x cannot be moved: it is event-sourced");
    stoa_sim_free(w.sim);
}

/* --- too many */

#define crowd_more_FIELDS(F, S) F(S, uint64_t, count)
#define crowd_ROWS(ROW, K)      ROW(K, CAST, more, _, "So many children more, without a name.")
STOA_TABLE_HERE(crowd)
typedef struct crowd {
    uint64_t nothing;
} crowd;
#define crowd_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(crowd, .mailbox_limit = 16)
static stoa_err crowd_on_more(stoa_turn *turn, crowd *self, const crowd_more *in)
{
    stoa_ref child;
    stoa_err err = STOA_OK;
    (void)self;
    for (uint64_t i = 0; i < in->count && !err; i++) { err = stoa_turn_spawn(turn, &crowd_kind, NULL, &child); }
    return err;
}

static void a_tree_of_256_moves_and_no_larger_one(void **state)
{
    (void)state;
    world w = open_world(6, 2);
    stoa_ref who = spawn(w.node, &crowd_kind, "crowd/x", 0);
    assert_int_equal(crowd_post_more(w.node, who, (crowd_more){255}), STOA_OK);
    rest(&w);
    stoa_ref then = moved(w.node, who, 1);
    assert_int_equal(w.node->cores[0]->actor_alive, 0);
    assert_int_equal(w.node->cores[1]->actor_alive, 256);
    for (uint32_t i = 0; i < 2; i++) { assert_null(stoa_tree_check(w.node->cores[i])); }
    assert_int_equal(crowd_post_more(w.node, who, (crowd_more){1}), STOA_OK);
    rest(&w);
    refused(w.node, then, 0, STOA_E_FULL, "there are too many below it");
    assert_int_equal(w.node->cores[1]->actor_alive, 257);
    assert_int_equal(stoa_stop(w.node, who), STOA_OK);
    rest(&w);
    assert_int_equal(w.node->cores[1]->actor_alive, 0);
    stoa_sim_free(w.sim);
}

/* --- undone half way */

static void use_up(const world *w, uint32_t core)
{
    stoa_sim_injection out = {.fault = STOA_SIM_MEMORY_OUT, .core = core, .for_ns = STOA_S(1)};
    assert_int_equal(stoa_sim_inject(w->sim, &out), STOA_OK);
    stoa_sim_run(w->sim, STOA_US(10));
    assert_int_equal(w->node->cores[core]->place.slab.used_bytes, w->node->cores[core]->place.slab.limit_bytes);
}

static void without_memory_at_either_end_nothing_has_happened(void **state)
{
    (void)state;
    for (uint32_t without = 0; without < 2; without++) {
        world w = open_world(7 + without, 2);
        stoa_ref who = spawn(w.node, &nomad_kind, "nomad/top", 0);
        assert_int_equal(be_busy(w.node, who, CHILD, who), STOA_OK);
        if (without == 0) { (void)moved(w.node, moved(w.node, who, 1), 0); } /* its slots there are those of before */
        rest(&w);
        uint64_t before = used(w.node), known = stoa_find(w.node, "nomad/top.child").at;
        use_up(&w, without);
        refused(w.node, who, 1, STOA_E_NOMEM, without ? "no memory for it there" : "no memory to pass on what comes");
        for (uint32_t i = 0; i < 2; i++) { assert_null(stoa_tree_check(w.node->cores[i])); }
        stoa_sim_run(w.sim, STOA_S(2));
        rest(&w);
        assert_int_equal(used(w.node), before);
        assert_int_equal(view_of(w.node, "nomad/top").core, 0);
        assert_int_equal(stoa_find(w.node, "nomad/top.child").at, known);
        assert_int_equal(stoa_ref_place((stoa_ref){known}), 0);
        (void)moved(w.node, who, 1);
        assert_int_equal(read_seen(w.node, (stoa_ref){known}).args, ARGS + 1);
        stoa_sim_free(w.sim);
    }
}

/* What came meanwhile is where it would have been, in order. */
static void what_was_kept_goes_on_when_a_move_is_undone(void **state)
{
    (void)state;
    world w = open_world(9, 2);
    stoa_ref who = spawn(w.node, &nomad_kind, "nomad/n", 0), there = moved(w.node, who, 1);
    assert_true(stoa_ref_equal(moved(w.node, there, 0), who));
    stoa_core **cores = w.node->cores;
    for (uint64_t n = 0; n < 50;) {
        (void)atomic_fetch_and(&cores[0]->place.inbound, ~UINT64_C(2)); /* what core 1 passes on does not arrive */
        for (int burst = 0; burst < 5; burst++) { assert_int_equal(nomad_post_note(w.node, there, (nomad_note){1, n++}), STOA_OK); }
        (void)stoa_core_batch(cores[1]);
        for (int burst = 0; burst < 5; burst++) { assert_int_equal(nomad_post_note(w.node, there, (nomad_note){1, n++}), STOA_OK); }
        refused(w.node, who, 1, STOA_E_AGAIN, "messages for it are on their way");
        for (int burst = 0; burst < 5; burst++) { assert_int_equal(nomad_post_note(w.node, there, (nomad_note){1, n++}), STOA_OK); }
        (void)atomic_fetch_or(&cores[0]->place.inbound, UINT64_C(2));
        rest(&w);
        assert_int_equal(read_seen(w.node, who).count, n);
        assert_int_equal(read_seen(w.node, who).disorder, 0);
    }
    (void)moved(w.node, who, 1);
    stoa_sim_free(w.sim);
}

/* --- what it sent must have arrived */

static void a_port_that_does_not_read_keeps_it(void **state)
{
    (void)state;
    world w = open_world(10, 2);
    stoa_port *port;
    stoa_ref who = spawn(w.node, &nomad_kind, "nomad/n", 0);
    assert_int_equal(stoa_port_open(w.node, "reader", &port), STOA_OK);
    assert_int_equal(stoa_port_ask(port, who, &nomad_rows[nomad_ROW_order], &(nomad_order){0, 0}, 0, STOA_S(10), 1), STOA_OK);
    stoa_port_flush(port);
    rest(&w);
    refused(w.node, who, 1, STOA_E_AGAIN, "what it sent is on its way");
    stoa_port_close(port);
    (void)moved(w.node, who, 1);
    stoa_sim_free(w.sim);
}

/* --- on real cores */

#define guard_done_FIELDS       STOA_NO_FIELDS
#define guard_watch_FIELDS(F, S) F(S, int64_t, fd)
#define guard_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, watch, done, "Watch a descriptor; negative: no more.")                                             \
    ROW(K, REPLY, done, _, "It does.")
STOA_TABLE_HERE(guard)
typedef struct guard {
    uint64_t nothing;
} guard;
#define guard_HEARS(HEAR, K) HEAR(K, stoa_system, ready)
STOA_PLAIN_KIND(guard, .mailbox_limit = 4)
static stoa_err guard_on_watch(stoa_turn *turn, guard *self, const guard_watch *in, guard_done *out)
{
    (void)self;
    (void)out;
    if (in->fd < 0) { return stoa_turn_unwatch(turn, (int)-in->fd); }
    return stoa_turn_watch(turn, (int)in->fd, STOA_READABLE, 1);
}
static stoa_err guard_on_stoa_system_ready(stoa_turn *turn, guard *self, const stoa_system_ready *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}

static void who_watches_a_descriptor_stays(void **state)
{
    (void)state;
    stoa_node *node;
    guard_done done;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 2, .seed = 1}, &node), STOA_OK);
    stoa_ref who = spawn(node, &guard_kind, "guard/x", 0);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_int_equal(guard_call_watch(node, who, (guard_watch){fd}, STOA_S(10), &done), STOA_OK);
    refused(node, who, 1, STOA_E_AGAIN, "it watches a descriptor");
    assert_int_equal(guard_call_watch(node, who, (guard_watch){-fd}, STOA_S(10), &done), STOA_OK);
    (void)moved(node, who, 1);
    stoa_node_close(node, STOA_S(1));
    (void)close(fd);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_under_way_keeps_it_where_it_is),
        cmocka_unit_test(what_is_below_it_keeps_it_too),
        cmocka_unit_test(who_starts_or_is_down_stays),
        cmocka_unit_test(who_has_messages_or_is_waited_for_stays),
        cmocka_unit_test(who_lives_with_a_shard_stays_there),
        cmocka_unit_test(a_tree_of_256_moves_and_no_larger_one),
        cmocka_unit_test(without_memory_at_either_end_nothing_has_happened),
        cmocka_unit_test(what_was_kept_goes_on_when_a_move_is_undone),
        cmocka_unit_test(a_port_that_does_not_read_keeps_it),
        cmocka_unit_test(who_watches_a_descriptor_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
