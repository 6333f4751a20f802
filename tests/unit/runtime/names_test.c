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
    char of[STOA_NAME_MAX + 1];
    for (; !w->over; w->looks++) {
        stoa_ref ref = stoa_find_or_absent(w->node, "room/lobby", of);
        w->unknown += !ref.at == !of[0];
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_name_on_its_way_is_found_or_absent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
