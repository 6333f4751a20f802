/* two_links_test.c - goal: a node on two links: what happens to the one is not the other's, and none lowers what the other has proven. Method:
 * simulated nodes with two links each, in one process.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cluster/remote_kit.h"

typedef struct way {
    const char *uri;
    bool listens;
    const char *peer; /* who is dialled */
} way;

static void open_kit(kit *k)
{
    *k = (kit){.dials = "", .tick_ns = STOA_US(500)};
    stoa_clock_virtual_init(&k->clock, 1);
    stoa_sim_net_options net = {.seed = 5, .clock = &k->clock.clock, .delay_ns_min = STOA_US(50), .delay_ns_max = STOA_US(400)};
    assert_int_equal(stoa_sim_net_new("remote", &net, &k->net), STOA_OK);
}

/* The next node of the kit. */
static void begin(kit *k, const char *name, uint64_t incarnation, const way *ways, uint32_t count)
{
    static const stoa_kind *const kinds[] = {&talker_kind, &trapper_kind, NULL};
    kit_node *n = &k->nodes[k->count++];
    stoa_sim_options sim = {.seed = 7 + k->count, .cores = 2};
    stoa_remote_link links[2] = {0};
    stoa_remote_events events = {.peer = kit_on_peer, .context = n};
    stoa_remote_options options = {.node = NULL, .name = name, .incarnation = incarnation, .epoch = 1, .kinds = kinds, .links = links,
                                   .link_count = count, .events = &events};
    n->kit = k;
    for (uint32_t i = 0; i < count; i++) { links[i] = (stoa_remote_link){.uri = ways[i].uri, .link.listen = ways[i].listens, .peer = ways[i].peer}; }
    assert_int_equal(stoa_sim_new(&sim, &n->sim, &n->node), STOA_OK);
    options.node = n->node;
    assert_int_equal(stoa_remote_new(&options, &n->remote), STOA_OK);
}

typedef struct seen {
    const char *of;
    uint32_t link; /* that carries it */
    bool up, lost;
    uint64_t incarnation;
} seen;

static void see(void *context, const stoa_remote_peer_view *view)
{
    seen *s = context;
    if (view->spare || strcmp(view->name, s->of) != 0) { return; }
    s->link = view->link;
    s->up = view->session.state == STOA_SESSION_UP;
    s->lost = view->lost;
    s->incarnation = view->session.peer_incarnation;
}

static seen look(kit *k, uint32_t node, const char *of)
{
    seen s = {.of = of};
    stoa_remote_peers(k->nodes[node].remote, see, &s);
    return s;
}

/* a listens on y, and dials where b does not let it in; it takes the key of that link away while y carries what is said. */
static void who_leaves_one_link_stays_on_the_other(void **state)
{
    (void)state;
    kit k;
    open_kit(&k);
    begin(&k, "a", 1, (const way[]){{"sim://remote/y", true, NULL}, {"sim://remote/x", false, "b"}}, 2);
    begin(&k, "b", 1, (const way[]){{"sim://remote/y", false, "a"}, {"sim://remote/z", true, NULL}}, 2);
    kit_spawn(&k, 1, "talker/2");
    kit_run(&k, 100);
    assert_int_equal(look(&k, 0, "b").link, 0);
    assert_int_equal(stoa_remote_reopen(k.nodes[0].remote, 1, &(stoa_link_options){0}, true), STOA_OK);
    kit_run(&k, 20000);
    assert_true(look(&k, 0, "b").up && look(&k, 1, "a").up);
    assert_int_equal(k.nodes[0].losts + k.nodes[1].losts, 0);
    stoa_ref who = kit_spawn(&k, 0, "talker/1");
    kit_go(&k, 0, who, "talker/2", TALK_ADD, 5, 1000);
    kit_run(&k, 100);
    assert_int_equal(kit_state(&k, 0, who)->answers, 1);
    kit_close(&k);
}

/* b has come over a link that proves it. Another one says over a link that proves nothing that it is a later life of b. */
static void who_was_proven_is_not_replaced_by_who_is_not(void **state)
{
    (void)state;
    kit k;
    open_kit(&k);
    begin(&k, "a", 1, (const way[]){{"sim://remote/keyed", true, NULL}, {"sim://remote/bare", true, NULL}}, 2);
    begin(&k, "b", 1, (const way[]){{"sim://remote/keyed?as=b", false, "a"}}, 1);
    kit_run(&k, 100);
    assert_true(look(&k, 0, "b").up);
    begin(&k, "b", 99, (const way[]){{"sim://remote/bare", false, "a"}}, 1);
    kit_run(&k, 30000);
    seen b = look(&k, 0, "b");
    assert_true(b.up && !b.lost);
    assert_int_equal(b.link, 0);
    assert_int_equal(b.incarnation, 1);
    assert_int_equal(k.nodes[0].resets, 0);
    assert_true(look(&k, 1, "a").up);
    assert_false(look(&k, 2, "a").up);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_leaves_one_link_stays_on_the_other),
                                       cmocka_unit_test(who_was_proven_is_not_replaced_by_who_is_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
