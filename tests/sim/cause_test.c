/* cause_test.c - goal: from any event of a story that goes through several shards the same tree is told, with the client's request at its
 * root; what is refused, still under way, purged or beyond the bounds is told as that. Method: purses in two shards of the
 * simulator, trees as text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/cause.h"
#include "runtime/log_reader.h"
#include "runtime/sim.h"
#include "storage/sim/journal.h"
#include "tests/sim/purse.h"

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *here, *there;
    stoa_ref a, b;
    stoa_port *port;
    char told[16384]; /* the last tree */
    stoa_cause_root root;
    stoa_err noted;
} world;

static stoa_text62 text(const char *from)
{
    stoa_text62 out = {0};
    assert_int_equal(STOA_TEXT_SETZ(&out, from), STOA_OK);
    return out;
}

static void attach(world *w, const char *name, uint32_t core, const char *purse_name, stoa_shard **shard_out, stoa_ref *ref_out)
{
    char path[32];
    (void)snprintf(path, sizeof path, "sim:%s", name);
    stoa_shard_options options = {
        .name = name, .core = core, .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = path};
    assert_int_equal(stoa_shard_open(w->node, &options, shard_out), STOA_OK);
    assert_int_equal(stoa_spawn(w->node, &purse_kind, purse_name, &(stoa_spawn_options){.shard = *shard_out}, ref_out), STOA_OK);
    purse_linked linked;
    purse_link link = {.index = core + 1, .sibling = 1, .next = text("here:purse/here")};
    assert_int_equal(purse_call_link(w->node, *ref_out, link, STOA_S(30), &linked), STOA_OK);
}

static void settle(world *w)
{
    assert_int_equal(stoa_sim_settle(w->sim, 1000000), STOA_OK);
}

static world *two_shards(void)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    static world w;
    stoa_sim_disk *disk;
    w = (world){0};
    assert_int_equal(stoa_sim_disk_get("here", 1, &disk), STOA_OK);
    assert_int_equal(stoa_sim_disk_get("there", 2, &disk), STOA_OK);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 5, .cores = 2, .kinds = kinds}, &w.sim, &w.node), STOA_OK);
    attach(&w, "here", 0, "purse/here", &w.here, &w.a);
    attach(&w, "there", 1, "purse/there", &w.there, &w.b);
    assert_int_equal(stoa_port_open(w.node, "client", &w.port), STOA_OK);
    settle(&w);
    return &w;
}

static void finish(world *w)
{
    stoa_port_close(w->port);
    stoa_sim_free(w->sim);
    stoa_sim_disks_free();
}

/* Pay by a request with a name. */
static void ask_to_pay(world *w, const char *to, uint64_t amount, uint64_t hops, uint64_t number)
{
    stoa_request_name name = {77, 3, number};
    purse_pay pay = {.amount = amount, .hops = hops, .to = text(to)};
    assert_int_equal(stoa_port_ask_once(w->port, w->a, &purse_rows[purse_ROW_pay], &pay, &name, STOA_S(60), 1), STOA_OK);
    stoa_port_flush(w->port);
    settle(w);
}

/* --- a tree as text: "root here 77/3/1 here:sent here:mailed( there:delivered there:got )" */

STOA_PRINTF(2, 3) static void say(world *w, const char *fmt, ...)
{
    size_t used = strlen(w->told);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(w->told + used, sizeof w->told - used, fmt, args);
    va_end(args);
}

static void put_root(void *context, const stoa_cause_root *root)
{
    world *w = context;
    w->root = *root;
    say(w, "%s", root->shard);
}

static void put_event(void *context, const char *shard, const stoa_event_view *event)
{
    say(context, " %s.%s(", shard, event->row->name);
}

static void put_end(void *context)
{
    say(context, ")");
}

static void put_note(void *context, const stoa_cause_note *note)
{
    world *w = context;
    w->noted = note->err;
    say(w, " [%s %s] ", note->shard, stoa_err_name(note->err));
}

static stoa_err tell_within(world *w, stoa_shard *shard, uint64_t position, uint32_t shards, uint64_t events, uint64_t looked)
{
    stoa_shard *const all[] = {w->here, w->there};
    const stoa_cause_to to = {.context = w, .root = put_root, .event = put_event, .end = put_end, .note = put_note};
    w->told[0] = '\0';
    w->noted = STOA_OK;
    return stoa_cause_tell(all, shards, shard, position, &to, &events, &looked);
}

static const char *tell(world *w, stoa_shard *shard, uint64_t position)
{
    assert_int_equal(tell_within(w, shard, position, 2, STOA_CAUSE_EVENTS, STOA_CAUSE_LOOKED), STOA_OK);
    return w->told;
}

static uint64_t last(stoa_shard *shard)
{
    return stoa_shard_durable(shard);
}

/* --- scenes */

static void from_any_event_the_same_tree_is_told(void **context)
{
    (void)context;
    world *w = two_shards();
    uint64_t here = last(w->here), there = last(w->there);
    ask_to_pay(w, "purse/there", 3, 2, 1); /* here, there, here, and once more to itself */
    static const char *const tree = "here here.sent() here.mailed( there.delivered() there.got() there.sent() there.mailed("
                                    " here.delivered() here.got() here.sent() here.mailed( here.delivered() here.got())))";
    assert_memory_equal(tell(w, w->here, here + 1), tree, strlen(tree));
    char whole[sizeof w->told];
    memcpy(whole, w->told, sizeof whole);
    assert_non_null(strstr(whole, "here.answered()"));
    assert_true(w->root.asked);
    assert_int_equal(w->root.client, 77);
    assert_int_equal(w->root.session, 3);
    assert_int_equal(w->root.number, 1);
    assert_int_equal(w->root.position, here + 1);
    unsigned told = 0;
    for (uint64_t at = here + 1; at <= last(w->here); at++) {
        if (strstr(tell(w, w->here, at), "acknowledged") || strstr(w->told, "settled") || strstr(w->told, "contact")) { continue; } /* the channel's own */
        assert_string_equal(w->told, whole);
        told++;
    }
    for (uint64_t at = there + 1; at <= last(w->there); at++) {
        if (strstr(tell(w, w->there, at), "acknowledged") || strstr(w->told, "contact")) { continue; }
        assert_string_equal(w->told, whole);
        told++;
    }
    assert_int_equal(told, 13);
    assert_int_equal(w->noted, STOA_OK);
    finish(w);
}

static void what_was_refused_is_told_with_its_return(void **context)
{
    (void)context;
    world *w = two_shards();
    uint64_t here = last(w->here);
    ask_to_pay(w, "purse/there", PURSE_REFUSES, 0, 1);
    static const char *const tree = "here here.sent() here.mailed( there.refused() here.returned() here.back())";
    assert_memory_equal(tell(w, w->here, here + 1), tree, strlen(tree));
    char whole[sizeof w->told];
    memcpy(whole, w->told, sizeof whole);
    bool back = false;
    for (uint64_t at = here + 4; at <= last(w->here); at++) { back = back || strcmp(tell(w, w->here, at), whole) == 0; }
    assert_true(back); /* also from the return */
    assert_string_equal(tell(w, w->there, last(w->there)), whole);
    finish(w);
}

static void where_the_trail_ends_it_is_said_why(void **context)
{
    (void)context;
    world *w = two_shards();
    uint64_t here = last(w->here), there = last(w->there);
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("there", 2, &disk), STOA_OK);
    stoa_sim_disk_fill(disk, 1000); /* a receiver that cannot commit */
    stoa_request_name name = {77, 3, 1};
    purse_pay pay = {.amount = 3, .to = text("purse/there")};
    assert_int_equal(stoa_port_ask_once(w->port, w->a, &purse_rows[purse_ROW_pay], &pay, &name, STOA_S(60), 1), STOA_OK);
    stoa_port_flush(w->port);
    stoa_sim_run(w->sim, STOA_S(2));
    assert_non_null(strstr(tell(w, w->here, here + 1), "here.mailed( [here AGAIN] )"));
    stoa_sim_disk_fill(disk, 0);
    settle(w);
    assert_non_null(strstr(tell(w, w->here, here + 1), "there.got()"));
    assert_int_equal(tell_within(w, w->here, here + 1, 1, 100, 100000), STOA_OK); /* the other shard is not looked into */
    assert_non_null(strstr(w->told, "here.mailed( [there NOT_FOUND] )"));
    assert_int_equal(tell_within(w, w->there, there + 1, 1, 100, 100000), STOA_OK); /* up is, and down again is not */
    assert_non_null(strstr(w->told, "here.mailed( [there NOT_FOUND] )"));
    assert_int_equal(tell_within(w, w->here, here + 1, 2, 2, 100000), STOA_OK);
    assert_int_equal(w->noted, STOA_E_TIMEOUT);
    assert_string_equal(w->told, "here here.sent() here.mailed( [there TIMEOUT] )");
    assert_int_equal(tell_within(w, w->here, here + 1, 2, 100, 0), STOA_OK);
    assert_non_null(strstr(w->told, "here.mailed( [there TIMEOUT] )"));
    assert_int_equal(tell_within(w, w->here, last(w->here) + 1, 2, 100, 100000), STOA_E_NOT_FOUND);
    finish(w);
}

static void what_was_purged_is_told_as_that(void **context)
{
    (void)context;
    world *w = two_shards();
    uint64_t here = last(w->here), there = last(w->there);
    ask_to_pay(w, "purse/there", 3, 0, 1);
    for (uint64_t i = 2; i < 6; i++) { ask_to_pay(w, "purse/there", 1, 0, i); }
    uint64_t end = last(w->here) - 1;
    stoa_journal *journal = stoa_shard_journal(w->here);
    assert_int_equal(journal->ops->purge(journal, end), STOA_OK);
    assert_int_equal(tell_within(w, w->here, here + 1, 2, 100, 100000), STOA_E_GONE);
    assert_memory_equal(tell(w, w->there, there + 1), " [here GONE] there there.delivered()", 36);
    journal = stoa_shard_journal(w->there);
    assert_int_equal(journal->ops->purge(journal, last(w->there)), STOA_OK);
    assert_int_equal(tell_within(w, w->there, there + 1, 2, 100, 100000), STOA_E_GONE);
    finish(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_any_event_the_same_tree_is_told),
        cmocka_unit_test(what_was_refused_is_told_with_its_return),
        cmocka_unit_test(where_the_trail_ends_it_is_said_why),
        cmocka_unit_test(what_was_purged_is_told_as_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
