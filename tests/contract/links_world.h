/* links_world.h - the contract of links (links.h): an end in a process of its own, how a test begins and ends, which kinds of links
 * a group of tests is run over.
 *
 *     test_contract_link_GROUP                all kinds
 *     test_contract_link_GROUP FAMILY         shm, zmq, ucx, ofi, sim or fault
 *     test_contract_link_GROUP '*CURVE: a_*'  the tests of that name
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CONTRACT_LINKS_WORLD_H
#define STOA_TESTS_CONTRACT_LINKS_WORLD_H

#include "tests/contract/links.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

/* --- an end in another process, which can be stopped and killed */

/* Arguments: "listen" or "dial", address, then keys: server's public and secret, client's public and secret. */
static inline int end_main(char **arguments)
{
    static world w;
    static const variant plain = {.curve = false}, curve = {.curve = true};
    w.as = arguments[2][0] ? &curve : &plain;
    char *keys[] = {w.server.public_key, w.server.secret_key, w.client.public_key, w.client.secret_key};
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(keys[i], STOA_KEY_TEXT_BYTES, "%s", arguments[2 + i]);
    }
    (void)snprintf(w.address, sizeof w.address, "%s", arguments[1]);
    (void)snprintf(w.allowed[0].name, sizeof w.allowed[0].name, "client");
    (void)snprintf(w.allowed[1].name, sizeof w.allowed[1].name, "server");
    memcpy(w.allowed[0].public_key, w.client.public_key, STOA_KEY_TEXT_BYTES);
    memcpy(w.allowed[1].public_key, w.server.public_key, STOA_KEY_TEXT_BYTES);
    (void)(strcmp(arguments[0], "listen") == 0 ? listen_at(&w) : dial(&w));
    run_for(&w, DEADLINE_MS);
    return 0;
}

static inline pid_t end_spawn(world *w, const char *side)
{
    char flag[] = "--end", none[] = "", program[] = "/proc/self/exe", role[8];
    (void)snprintf(role, sizeof role, "%s", side);
    char *server_public = w->as->curve ? w->server.public_key : none;
    char *arguments[] = {program,
                         flag,
                         role,
                         w->address,
                         server_public,
                         w->server.secret_key,
                         w->client.public_key,
                         w->client.secret_key,
                         NULL};
    pid_t child = -1;
    assert_int_equal(posix_spawn(&child, program, NULL, NULL, arguments, environ), 0);
    return child;
}

/* --- worlds */

/* An address that nobody listens at; a port is chosen when somebody does. */
static inline void address_new(world *w, const char *name)
{
    const char *folder = w->as->place == BY_NAME ? strrchr(w->folder, '/') + 1 : w->folder;
    if (w->as->place == AT_PORT) {
        (void)snprintf(w->address, sizeof w->address, "%s://127.0.0.1:0", w->as->scheme);
    } else {
        (void)snprintf(w->address, sizeof w->address, "%s://%s%s", w->as->scheme, folder,
                       w->as->place == BY_NAME ? name + 1 : name);
    }
}

static inline int world_open(void **state)
{
    world *w = calloc(1, sizeof *w);
    if (!w) { return -1; }
    w->as = *state;
    (void)snprintf(w->folder, sizeof w->folder, "/tmp/stoa-link-XXXXXX");
    if (!mkdtemp(w->folder)) { return -1; }
    address_new(w, names[0]);
    if (stoa_key_new(&w->server) || stoa_key_new(&w->client) || stoa_key_new(&w->other)) { return -1; }
    (void)snprintf(w->allowed[0].name, sizeof w->allowed[0].name, "client");
    (void)snprintf(w->allowed[1].name, sizeof w->allowed[1].name, "other");
    memcpy(w->allowed[0].public_key, w->client.public_key, STOA_KEY_TEXT_BYTES);
    memcpy(w->allowed[1].public_key, w->other.public_key, STOA_KEY_TEXT_BYTES);
    w->frame = malloc(4 * FRAME_LIMIT);
    stoa_random_seed(&w->random, seed);
    *state = w;
    return w->frame ? 0 : -1;
}

static inline int world_close(void **state)
{
    world *w = *state;
    for (uint32_t i = 0; i < w->end_count; i++) {
        end_stop(w->ends[i], 0);
        free(w->ends[i]);
    }
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s%s", w->folder, names[i]);
        (void)unlink(path);
    }
    int rc = rmdir(w->folder);
    free(w->frame);
    free(w);
    return rc;
}

/* --- running */

typedef struct test {
    const char *name;
    CMUnitTestFunction run;
    bool needs_curve, needs_process;
} test;

#define TEST(name)         {#name, name, false, false}
#define KEY_TEST(name)     {#name, name, true, false}
#define PROCESS_TEST(name) {#name, name, false, true}

enum { CASES_MAX = 256 };

static struct CMUnitTest cases[CASES_MAX];
static uint32_t case_count;

static inline void case_add(const test *of, const variant *as)
{
    static char titles[CASES_MAX][160];
    assert_true(case_count < CASES_MAX);
    (void)snprintf(titles[case_count], sizeof titles[case_count], "%s: %s", as->name, of->name);
    cases[case_count] = (struct CMUnitTest){.name = titles[case_count],
                                            .test_func = of->run,
                                            .setup_func = world_open,
                                            .teardown_func = world_close,
                                            .initial_state = (void *)(uintptr_t)as};
    case_count++;
}

/* Whether a kind of link is of that family, "": of any. */
static inline bool is_asked_for(const variant *as, const char *family)
{
    return strncmp(as->scheme, family, strlen(family)) == 0;
}

/* The family that the arguments ask for; "": all. Where they say that this process is to be an end (end_spawn), it does not
 * return. */
static inline const char *links_arguments(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "--end") == 0) { exit(end_main(argv + 2)); }
    const char *given = getenv("STOA_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    if (argc < 2) { return ""; }
    if (!strchr(argv[1], '*')) { return argv[1]; }
    cmocka_set_test_filter(argv[1]);
    return "";
}

enum { ON_DIFFERENT, ON_ALL }; /* rows: without those that are marked again, unless the long form is asked for; with them */

static inline int links_main(int argc, char **argv, const char *group, int rows, const test *tests, size_t test_count)
{
    const char *family = links_arguments(argc, argv);
    for (uint32_t v = 0; v < VARIANT_COUNT; v++) {
        const variant *as = &variants[v];
        if (!is_asked_for(as, family) || (as->again && rows == ON_DIFFERENT && !is_deep())) { continue; }
        for (uint32_t t = 0; t < test_count; t++) {
            bool runs = (as->curve || !tests[t].needs_curve) && !(as->inside && tests[t].needs_process);
            if (runs) { case_add(&tests[t], as); }
        }
    }
    return _cmocka_run_group_tests(group, cases, case_count, NULL, NULL);
}

#endif
