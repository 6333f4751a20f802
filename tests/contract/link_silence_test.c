/* link_silence_test.c - goal: a quiet connection stays up, and a listener that is stopped or killed is down. Method and seed: links.h;
 * all kinds of links that were asked for at once, because it takes its time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/links_world.h"

typedef struct vigil {
    world *world;
    end *server, *quiet; /* have nothing to say to each other */
    end *client;         /* of the child */
    pid_t child;
} vigil;

static const char *family;

static bool has_vigil(const variant *as)
{
    return !as->inside && is_asked_for(as, family);
}

static void vigil_begin(vigil *v)
{
    v->server = listen_at(v->world);
    v->quiet = dial(v->world);
    wait_for(v->world, &v->quiet->ups, 1);
    address_new(v->world, names[1]);
    end_stop(listen_at(v->world), 0); /* for an address that is free */
    v->client = dial(v->world);
    v->child = end_spawn(v->world, "listen");
    wait_for(v->world, &v->client->ups, 1);
}

static void assert_quiet(const vigil *v)
{
    assert_int_equal(v->quiet->downs + v->server->downs, 0);
    assert_int_equal(v->quiet->frames + v->server->frames, 0);
}

static void vigils_signal(world *w, vigil *vigils, int number, bool up, uint32_t least)
{
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        if (!has_vigil(&variants[i])) { continue; }
        assert_int_equal(kill(vigils[i].child, number), 0);
    }
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        if (!has_vigil(&variants[i])) { continue; }
        wait_for(w, up ? &vigils[i].client->ups : &vigils[i].client->downs, least);
        assert_quiet(&vigils[i]);
    }
}

/* Who dials asks, and a listener that has nothing to say answers: so a connection lives on in a silence that is long
 * enough to hold another listener for dead. */
static void a_quiet_connection_stays_and_a_stopped_listener_is_down(void **state)
{
    world *all = *state;
    vigil vigils[VARIANT_COUNT];
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        if (!has_vigil(&variants[i])) { continue; }
        void *opened = (void *)(uintptr_t)&variants[i];
        assert_int_equal(world_open(&opened), 0);
        vigils[i].world = opened;
        vigil_begin(&vigils[i]);
        for (uint32_t *count = &vigils[i].world->end_count; *count > 0;) {
            all->ends[all->end_count++] = vigils[i].world->ends[--*count];
        }
    }
    vigils_signal(all, vigils, SIGSTOP, false, 1);
    vigils_signal(all, vigils, SIGCONT, true, 2);
    vigils_signal(all, vigils, SIGKILL, false, 2);
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        if (!has_vigil(&variants[i])) { continue; }
        assert_int_equal(waitpid(vigils[i].child, NULL, 0), vigils[i].child);
        assert_int_equal(vigils[i].client->refusals, 0);
        void *opened = vigils[i].world;
        assert_int_equal(world_close(&opened), 0);
    }
}

int main(int argc, char **argv)
{
    static const test of_all = TEST(a_quiet_connection_stays_and_a_stopped_listener_is_down);
    family = links_arguments(argc, argv);
    case_add(&of_all, &variants[0]);
    return _cmocka_run_group_tests("transport/link.h, silence", cases, case_count, NULL, NULL);
}
