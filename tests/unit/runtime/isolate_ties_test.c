/* isolate_ties_test.c - goal: what an isolate has with others beside messages works as in a node: monitors, links, topics, groups,
 * rooms, refusals that are told; and it has none of it where it was not given the right. Method: a plug-in that does what it is
 * asked to (isolates/tied.c), and a victim in the node that counts, publishes and fails.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "runtime/stoa.h"
#include "tests/unit/runtime/isolates/tied.h"

STOA_TABLE_DEFINE(victim)
STOA_TABLE_DEFINE(tied)
STOA_ISOLATED_KIND(tied, .mailbox_limit = 64)

typedef struct victim {
    victim_count count;
} victim;
static stoa_err victim_start(stoa_turn *turn, void *state, const void *args);
#define victim_HEARS(HEAR, K) HEAR(K, tied, echo)
STOA_PLAIN_KIND(victim, .mailbox_limit = 4, .start = victim_start)
static stoa_err victim_start(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    stoa_err err = stoa_turn_bind(turn, 0, "tied.news.now");
    return err ? err : stoa_turn_subscribe(turn, "tied.echo");
}
static stoa_err victim_on_poke(stoa_turn *turn, victim *self, const victim_poke *in)
{
    (void)turn, (void)in;
    self->count.pokes++;
    return STOA_OK;
}
static stoa_err victim_on_tell(stoa_turn *turn, victim *self, const victim_tell *in, victim_count *out)
{
    (void)in;
    *out = self->count;
    return victim_publish_news(turn, 0, &(victim_news){7});
}
static stoa_err victim_on_die(stoa_turn *turn, victim *self, const victim_die *in, victim_count *out)
{
    (void)self, (void)in, (void)out;
    return stoa_fail(turn, "it was asked to");
}
static stoa_err victim_on_look(stoa_turn *turn, victim *self, const victim_look *in, victim_count *out)
{
    (void)turn, (void)in;
    *out = self->count;
    return STOA_OK;
}
static stoa_err victim_on_tied_echo(stoa_turn *turn, victim *self, const tied_echo *in)
{
    (void)turn;
    self->count.echoes += in->n;
    return STOA_OK;
}

/* --- the stage */

static char host[512], library[512];
static const char *const peers[] = {"victim/v", NULL};
static const char *const hears[] = {"tied.news.>", NULL}, *const tells[] = {"tied.echo", NULL};
static const stoa_table *const tables[] = {&victim_table, NULL};
static stoa_isolate isolate = {.host = host, .library = library, .peers = peers, .tables = tables, .hears = hears, .tells = tells};

typedef struct stage {
    stoa_node *node;
    stoa_ref victim, tied;
} stage;

static void open_stage(stage *s)
{
    *s = (stage){0};
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &s->node), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &victim_kind, "victim/v", NULL, &s->victim), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &tied_kind, "tied/t", &(stoa_spawn_options){.args = &isolate}, &s->tied), STOA_OK);
}

static stoa_err deed(stage *s, const char *what, uint64_t n, tied_seen *seen)
{
    tied_deed in = {.n = n};
    (void)STOA_TEXT_SETZ(&in.what, what);
    return tied_call_deed(s->node, s->tied, in, STOA_S(60), seen);
}

static tied_seen did(stage *s, const char *what, uint64_t n)
{
    tied_seen seen = {0};
    assert_int_equal(deed(s, what, n, &seen), STOA_OK);
    return seen;
}

static void kill_victim(stage *s)
{
    victim_count count;
    assert_int_equal(victim_call_die(s->node, s->victim, (victim_die){0}, STOA_S(60), &count), STOA_E_FAILED);
}

static victim_count look(stage *s)
{
    victim_count count = {0};
    stoa_err err = STOA_E_FAILED;
    while (err) { err = victim_call_look(s->node, s->victim, (victim_look){0}, STOA_S(60), &count); } /* between two lives it is down */
    return count;
}

static void tell(stage *s)
{
    victim_count count;
    assert_int_equal(victim_call_tell(s->node, s->victim, (victim_tell){0}, STOA_S(60), &count), STOA_OK);
}

/* --- monitors and links */

static void test_it_hears_of_an_end_once_and_by_its_own_number(void **state)
{
    stage s;
    (void)state;
    open_stage(&s);
    for (uint64_t i = 1; i <= 100; i++) { /* more than it may have at a time: each is used up, or taken back */
        (void)did(&s, "monitor", 0);
        if (i % 2) { (void)did(&s, "demonitor", 0); }
        if (i % 20) { continue; }
        kill_victim(&s);
        (void)look(&s);
        tied_seen seen = did(&s, "look", 0);
        while (seen.downs < i / 2) { seen = did(&s, "look", 0); }
        assert_int_equal(seen.downs, i / 2);
        assert_int_equal(seen.matched, i / 20); /* the last one of those */
    }
    stoa_node_close(s.node, STOA_S(10));
}

static void test_it_has_so_many_monitors_and_no_more(void **state)
{
    stage s;
    tied_seen seen;
    (void)state;
    open_stage(&s);
    for (int i = 0; i < STOA_ISOLATE_MONITORS; i++) { (void)did(&s, "monitor", 0); }
    assert_int_equal(deed(&s, "monitor", 0, &seen), STOA_E_FULL);
    kill_victim(&s);
    stoa_err err;
    do { err = deed(&s, "look", 0, &seen); } while (err == STOA_E_FULL || seen.downs < STOA_ISOLATE_MONITORS); /* they fill its mailbox */
    (void)did(&s, "monitor", 0);
    stoa_node_close(s.node, STOA_S(10));
}

static void test_who_is_linked_ends_with_the_other(void **state)
{
    stage s;
    tied_seen seen;
    stoa_err err;
    (void)state;
    open_stage(&s);
    assert_int_not_equal(did(&s, "base", 1).matched, 0);
    (void)did(&s, "link", 0);
    (void)did(&s, "unlink", 0);
    kill_victim(&s);
    (void)look(&s);
    assert_int_not_equal(did(&s, "look", 0).matched, 0);
    (void)did(&s, "link", 0);
    kill_victim(&s);
    do { err = deed(&s, "look", 0, &seen); } while (err || seen.matched); /* it began anew */
    stoa_node_close(s.node, STOA_S(10));
}

/* --- peers */

static void begin_victim(stage *s)
{
    assert_int_equal(stoa_spawn(s->node, &victim_kind, "victim/v", NULL, &s->victim), STOA_OK);
}

static void end_victim(stage *s)
{
    assert_int_equal(stoa_stop(s->node, s->victim), STOA_OK);
    while (stoa_find(s->node, "victim/v").at) {}
}

static void test_a_peer_is_who_has_its_name_as_the_turn_begins(void **state)
{
    stage s = {0};
    tied_seen seen;
    (void)state;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &s.node), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &tied_kind, "tied/t", &(stoa_spawn_options){.args = &isolate}, &s.tied), STOA_OK);
    assert_int_equal(deed(&s, "poke", 1, &seen), STOA_E_CLOSED); /* nobody has it */
    for (unsigned round = 0; round < 3; round++) {
        begin_victim(&s);
        if (round) { assert_int_equal(deed(&s, "kept", 1, &seen), STOA_E_CLOSED); } /* who had it is not who has */
        (void)did(&s, "poke", 1);
        (void)did(&s, "keep", 0);
        (void)did(&s, "kept", 1);
        while (look(&s).pokes < 2) {}
        end_victim(&s);
        assert_int_equal(deed(&s, "poke", 1, &seen), STOA_E_CLOSED);
        assert_int_equal(deed(&s, "kept", 1, &seen), STOA_E_CLOSED);
    }
    stoa_node_close(s.node, STOA_S(10));
}

/* More often than it knows others, and no turn while nobody has the name: the child, which is behind, is not taken for one that oversteps. */
static void test_a_peer_may_change_any_number_of_times(void **state)
{
    stage s;
    (void)state;
    open_stage(&s);
    for (unsigned round = 0; round < 5 * STOA_ISOLATE_KNOWN; round++) {
        (void)did(&s, "keep", 0);
        end_victim(&s);
        begin_victim(&s);
        (void)did(&s, "kept", 1); /* to nobody */
        (void)did(&s, "poke", 1);
    }
    while (look(&s).pokes < 1) {}
    stoa_node_close(s.node, STOA_S(10));
}

/* --- flow */

static void test_refusals_are_told_and_rooms_too(void **state)
{
    stage s;
    (void)state;
    open_stage(&s);
    (void)did(&s, "told", 10); /* four fit in */
    tied_seen seen;
    do { seen = did(&s, "look", 0); } while (seen.refused < 6);
    assert_int_equal(seen.refused, 6);
    assert_int_equal(seen.refusal, STOA_E_FULL);
    assert_int_equal(look(&s).pokes, 4);
    (void)did(&s, "room", 5);
    do { seen = did(&s, "look", 0); } while (!seen.rooms);
    assert_int_equal(seen.rooms, 5);
    (void)did(&s, "within", 1);
    while (look(&s).pokes < 5) {}
    stoa_node_close(s.node, STOA_S(10));
}

static void test_a_refusal_takes_effect_where_it_says_so(void **state)
{
    stage s;
    tied_seen seen;
    (void)state;
    open_stage(&s);
    assert_int_equal(deed(&s, "refuse", 1, &seen), STOA_E_RANGE);
    assert_int_equal(look(&s).pokes, 1);
    stoa_node_close(s.node, STOA_S(10));
}

/* --- topics */

static void test_it_hears_and_publishes_what_it_was_given(void **state)
{
    stage s;
    (void)state;
    open_stage(&s);
    static const char *const begins[] = {"subscribe", "join"}, *const ends[] = {"unsubscribe", "leave"};
    for (uint64_t i = 0; i < 2; i++) {
        tied_seen seen;
        (void)did(&s, begins[i], 0);
        tell(&s);
        do { seen = did(&s, "look", 0); } while (seen.news < 7 * (i + 1));
        assert_int_equal(seen.news, 7 * (i + 1));
        assert_true(STOA_TEXT_EQZ(&seen.topic, "tied.news.now"));
        (void)did(&s, ends[i], 0);
        tell(&s);
        (void)look(&s);
        assert_int_equal(did(&s, "look", 0).news, 7 * (i + 1));
    }
    (void)did(&s, "publish", 3);
    while (look(&s).echoes < 3) {}
    stoa_node_close(s.node, STOA_S(10));
}

static void test_other_topics_are_denied(void **state)
{
    stage s;
    tied_seen seen;
    (void)state;
    open_stage(&s);
    assert_int_equal(deed(&s, "overreach", 0, &seen), STOA_E_DENIED);
    assert_int_equal(deed(&s, "forge", 0, &seen), STOA_E_DENIED);
    assert_int_equal(deed(&s, "half", 0, &seen), STOA_E_RANGE); /* what a refused turn bound is not bound */
    assert_int_equal(deed(&s, "unbound", 0, &seen), STOA_E_INVALID);
    stoa_node_close(s.node, STOA_S(10));
}

/* --- base */

static void test_maps_hashes_and_random_numbers_are_those_of_the_node(void **state)
{
    stage s;
    stoa_random random;
    (void)state;
    open_stage(&s);
    stoa_random_seed(&random, 42);
    assert_int_equal(did(&s, "base", 42).matched, stoa_hash64(7, "bytes", 5) ^ stoa_random_next(&random));
    stoa_node_close(s.node, STOA_S(10));
}

int main(void)
{
    const char *bin = getenv("STOA_BIN"), *build = getenv("STOA_BUILD");
    if (!bin || !build) { return 1; }
    (void)snprintf(host, sizeof host, "%s/stoa-isolate", bin);
    (void)snprintf(library, sizeof library, "%s/plugins/tied.so", build);
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_hears_of_an_end_once_and_by_its_own_number),
        cmocka_unit_test(test_it_has_so_many_monitors_and_no_more),
        cmocka_unit_test(test_who_is_linked_ends_with_the_other),
        cmocka_unit_test(test_a_peer_is_who_has_its_name_as_the_turn_begins),
        cmocka_unit_test(test_a_peer_may_change_any_number_of_times),
        cmocka_unit_test(test_refusals_are_told_and_rooms_too),
        cmocka_unit_test(test_a_refusal_takes_effect_where_it_says_so),
        cmocka_unit_test(test_it_hears_and_publishes_what_it_was_given),
        cmocka_unit_test(test_other_topics_are_denied),
        cmocka_unit_test(test_maps_hashes_and_random_numbers_are_those_of_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
