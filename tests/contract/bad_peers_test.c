/* bad_peers_test.c - goal: a node that does not keep the rules of transport/session.h is refused by a name that is
 * counted, and nobody else notices: over every kind of link, over real sockets and memory. Method: node a listens;
 * node b talks with it properly, and before, between and after what the bad node c does messages pass between a and b
 * in order, on one connection. c is a link of its own that says anything, or a proper session whose pieces are
 * recorded, cut short and said again.
 *
 * Below sessions the same is asked of each link by tests/unit/transport/{strangers,fabric_strangers,shm}_test.c. What
 * is random comes from a printed seed; STOA_TEST_SEED repeats it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/bad_peers.h"

enum { CASES = 6 };

static void who_has_no_listed_key_or_anothers_name_is_denied(void **state)
{
    world *w = *state;
    if (!w->as->keys) { skip(); } /* anybody of this user may connect, and call itself as it likes */
    node_begin(w, &w->c, "c", &w->keys[3]);
    session_begin(&w->c, (stoa_session_options){0});
    UNTIL(w, of_strangers(w).link_refused > 0);
    assert_int_equal(of_strangers(w).link_why, STOA_E_DENIED);
    assert_int_equal(w->c.ups, 0);
    assert_served(w);
    node_end(&w->c);
    node_begin(w, &w->c, "b", &w->keys[2]); /* c's key */
    session_begin(&w->c, (stoa_session_options){0});
    UNTIL(w, w->c.refusals > 0);
    assert_int_equal(w->c.why_refused, STOA_E_DENIED);
    assert_int_equal(of_strangers(w).stranger_why, STOA_E_DENIED);
    assert_int_equal(w->c.ups, 0);
    assert_served(w);
}

static void who_speaks_another_version_is_told_so(void **state)
{
    world *w = *state;
    stoa_envelope e = {.flags = stoa_envelope_flags(STOA_ENVELOPE_HELLO, STOA_LANE_CONTROL)};
    node_begin(w, &w->c, "c", &w->keys[2]);
    session_begin(&w->c, (stoa_session_options){.version_min = STOA_SESSION_VERSION + 1, .version_max = STOA_SESSION_VERSION + 2});
    UNTIL(w, w->c.refusals > 0);
    assert_int_equal(w->c.why_refused, STOA_E_VERSION);
    assert_int_equal(of_strangers(w).stranger_why, STOA_E_VERSION);
    node_end(&w->c);
    node_begin(w, &w->c, "c", &w->keys[2]);
    UNTIL(w, w->c.ups > 0);
    uint64_t before = of_strangers(w).strangers_refused;
    stoa_envelope_seal(&e, sizeof e, 0);
    e.version = 9; /* another form of all that follows */
    say_raw(w, &e, sizeof e);
    UNTIL(w, of_strangers(w).strangers_refused > before);
    assert_int_equal(of_strangers(w).stranger_why, STOA_E_VERSION);
    assert_int_equal(stoa_sessions_count(w->a.sessions), 1);
    assert_served(w);
}

static void garbage_is_counted_and_nothing_else(void **state)
{
    world *w = *state;
    uint8_t bytes[2048];
    node_begin(w, &w->c, "c", &w->keys[2]);
    UNTIL(w, w->c.ups > 0);
    for (unsigned i = 0; i < GARBAGE; i++) {
        uint32_t size_bytes = 1 + (uint32_t)stoa_random_below(&chance, sizeof bytes);
        for (uint32_t at = 0; at < size_bytes; at++) {
            bytes[at] = (uint8_t)stoa_random_next(&chance);
        }
        if (size_bytes > 3 && i % 2) { memcpy(bytes, (uint8_t[]){'S', 't', STOA_SESSION_VERSION}, 3); } /* as an envelope begins */
        say_raw(w, bytes, size_bytes);
    }
    UNTIL(w, of_strangers(w).strangers_refused == GARBAGE);
    assert_int_not_equal(of_strangers(w).stranger_why, STOA_OK);
    assert_int_equal(stoa_sessions_count(w->a.sessions), 1);
    assert_served(w);
}

static void c_begins(world *w)
{
    node_begin(w, &w->c, "c", &w->keys[2]);
    session_begin(&w->c, (stoa_session_options){0});
    UNTIL(w, w->c.ups == 1 && w->a.ups == 2);
    c_says(w, FEW);
}

/* The recorded batches that have messages; how many. */
static unsigned batches_of(const world *w, unsigned *out)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->pieces; i++) {
        stoa_envelope e;
        memcpy(&e, w->piece[i], sizeof e);
        if (stoa_envelope_is(&e) == STOA_ENVELOPE_DATA && e.count > 0) { out[count++] = i; }
    }
    return count;
}

static void truncated_batches_are_corrupt_or_malformed(void **state)
{
    world *w = *state;
    unsigned batches[PIECES];
    c_begins(w);
    assert_true(batches_of(w, batches) >= FEW);
    uint32_t size_bytes = w->piece_bytes[batches[0]], said = 0;
    for (uint32_t at = 1; at < size_bytes; at += 1 + (uint32_t)stoa_random_below(&chance, 40)) {
        say_raw(w, w->piece[batches[0]], at);
        said++;
    }
    UNTIL(w, of_c(w).corrupt + of_c(w).malformed == said);
    assert_true(of_c(w).corrupt > 0 && of_c(w).malformed > 0);
    c_says(w, FEW); /* and goes on, as if it had not */
    assert_int_equal(w->c.downs + w->c_downs, 0);
    assert_served(w);
}

static void what_is_said_again_is_not_heard_again(void **state)
{
    world *w = *state;
    unsigned batches[PIECES];
    c_begins(w);
    uint32_t count = batches_of(w, batches), pieces = w->pieces;
    uint64_t duplicates = of_c(w).duplicates, stale = of_c(w).stale;
    for (unsigned i = 0; i < count; i++) {
        say_raw(w, w->piece[batches[i]], w->piece_bytes[batches[i]]);
    }
    say_raw(w, w->piece[0], w->piece_bytes[0]); /* its first hello */
    UNTIL(w, of_c(w).duplicates >= duplicates + count && of_c(w).stale == stale + 1);
    c_says(w, FEW);
    assert_int_equal(w->c.downs + w->c_downs, 0);

    /* All of it, over a connection of its own */
    stoa_sessions *sessions = w->c.sessions;
    w->c.link->ops->close(w->c.link, 0);
    w->c.sessions = NULL;
    w->c.link = NULL;
    UNTIL(w, w->c_downs == 1);
    link_open(w, &w->c, &w->keys[2]);
    UNTIL(w, w->c.ups == 2);
    uint64_t before = of_strangers(w).strangers_refused;
    for (unsigned i = 0; i < pieces; i++) {
        say_raw(w, w->piece[i], w->piece_bytes[i]);
    }
    UNTIL(w, of_strangers(w).strangers_refused == before + pieces);
    assert_int_equal(of_strangers(w).stranger_why, STOA_E_STALE);
    w->c.link->ops->close(w->c.link, 0);
    link_open(w, &w->c, &w->keys[2]);
    w->c.sessions = sessions;
    stoa_sessions_relink(sessions, &w->c.tap, now_ns());
    c_says(w, FEW);
    assert_served(w);
}

static void who_never_reads_is_full_then_down_and_loses_nothing(void **state)
{
    world *w = *state;
    uint64_t number = 0;
    c_begins(w);
    w->c.looks_away = true;
    for (stoa_err err = STOA_OK; !err; number += !err) {
        err = say(&w->a, "c", number + 1);
    }
    assert_true(number > FEW);
    assert_served(w);
    UNTIL(w, w->c_downs == 1);
    assert_int_equal(w->a.why_down, STOA_E_TIMEOUT);
    assert_served(w);
    w->c.looks_away = false;
    UNTIL(w, w->c.came == number);
    assert_served(w);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } tests[CASES] = {
#define TEST(name) {#name, name}
        TEST(who_has_no_listed_key_or_anothers_name_is_denied),
        TEST(who_speaks_another_version_is_told_so),
        TEST(garbage_is_counted_and_nothing_else),
        TEST(truncated_batches_are_corrupt_or_malformed),
        TEST(what_is_said_again_is_not_heard_again),
        TEST(who_never_reads_is_full_then_down_and_loses_nothing),
#undef TEST
    };
    static struct CMUnitTest cases[VARIANT_COUNT * CASES];
    static char titles[VARIANT_COUNT * CASES][128];
    const char *given = getenv("STOA_TEST_SEED");
    if (argc == 2) { cmocka_set_test_filter(argv[1]); }
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < VARIANT_COUNT * CASES; i++) {
        const variant *as = &variants[i / CASES];
        (void)snprintf(titles[i], sizeof titles[i], "%s: %s", as->name, tests[i % CASES].name);
        cases[i] = (struct CMUnitTest){.name = titles[i],
                                       .test_func = tests[i % CASES].run,
                                       .setup_func = world_open,
                                       .teardown_func = world_close,
                                       .initial_state = (void *)(uintptr_t)as};
    }
    return cmocka_run_group_tests(cases, NULL, NULL);
}
