/* names_test.c - goal: a name that goes from its actor to a lost node and back is never one that nobody knows. Method: one thread has it kept,
 * taken and given back; another looks, all the while.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "runtime/internal.h"
#include "runtime/stand.h"
#include "runtime/stoa.h"

enum { ROUNDS = 100000 };

typedef struct world {
    stoa_node *node;
    atomic_bool over;
    atomic_uint looks;
    unsigned unknown;
} world;

static void *look(void *context)
{
    world *w = context;
    stoa_absence absent;
    for (; !w->over; w->looks++) {
        stoa_ref ref = stoa_find_or_absent(w->node, "room/lobby", &absent);
        w->unknown += !ref.at == !absent.of[0] || absent.unmet;
    }
    return NULL;
}

static void a_name_on_its_way_is_found_or_absent(void **state)
{
    (void)state;
    world w = {0};
    pthread_t thread;
    const stoa_ref ref = {.at = 12345};
    kit_ok(stoa_node_open(&(stoa_options){.cores = 1}, &w.node));
    kit_ok(stoa_names_add(&w.node->names, "room/lobby", ref));
    assert_int_equal(pthread_create(&thread, NULL, look, &w), 0);
    for (unsigned i = 0; i < ROUNDS || w.looks < ROUNDS; i++) {
        stoa_names_keep(w.node, "room/lobby", "a");
        stoa_names_remove(&w.node->names, "room/lobby");
        kit_ok(stoa_names_add(&w.node->names, "room/lobby", ref));
    }
    w.over = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(w.unknown, 0);
    stoa_names_remove(&w.node->names, "room/lobby");
    stoa_node_close(w.node, STOA_S(1));
}

static void a_name_of_a_node_that_was_not_met_is_not_nobodys(void **state)
{
    (void)state;
    const stoa_kind room = {.name = "room"};
    const stoa_kind *const kinds[] = {&room, NULL};
    stoa_absence absent;
    stoa_node *node;
    kit_ok(stoa_node_open(&(stoa_options){.cores = 1}, &node));
    stoa_names_await(node, "b, c", kinds);
    assert_int_equal(stoa_find_or_absent(node, "room/lobby", &absent).at, 0);
    assert_true(absent.unmet);
    assert_string_equal(absent.of, "b, c");
    static const char *const others[] = {"trade_account/lobby", "roo/m", "rooms/lobby"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        (void)stoa_find_or_absent(node, others[i], &absent);
        assert_false(absent.unmet || absent.of[0]);
    }
    stoa_names_await(node, "", NULL);
    (void)stoa_find_or_absent(node, "room/lobby", &absent);
    assert_false(absent.unmet || absent.of[0]);
    stoa_node_close(node, STOA_S(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_name_on_its_way_is_found_or_absent),
                                       cmocka_unit_test(a_name_of_a_node_that_was_not_met_is_not_nobodys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
