/* topic_test.c - goal: names and patterns match segment by segment, as NATS subjects do; and the tree of them, which topics
 * and patterns find each other by, says the same in any order of coming and going. Method: a table; random names and
 * patterns from a printed seed (or the one in STOA_SEED), held against the matcher; the memory left at the end.
 * (tests/integration/nats_test.py asks nats-server itself.)
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/random.h"
#include "runtime/internal.h"

static const struct {
    const char *pattern, *name;
    bool matches;
} rows[] = {
    {"a", "a", true},          {"a", "b", false},         {"a", "a.b", false},     {"a.b", "a", false},
    {"a.b.c", "a.b.c", true},  {"a.*.c", "a.b.c", true},  {"a.*", "a.b.c", false}, {"*", "a", true},
    {"*", "a.b", false},       {"*.*", "a.b", true},      {">", "a", true},        {">", "a.b.c", true},
    {"a.>", "a", false},       {"a.>", "a.b", true},      {"a.>", "a.b.c", true},  {"a.>", "b.a", false},
    {"a.*.>", "a.b", false},   {"a.*.>", "a.b.c", true},  {"*.b", "a.b", true},    {"*.b", "a.c", false},
    {"ab", "a", false},        {"a", "ab", false},        {"a.b", "a.bc", false},  {"a.bc", "a.b", false},
};

static void patterns_match_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (stoa_topic_matches(rows[i].pattern, rows[i].name) != rows[i].matches) {
            fail_msg("pattern '%s', name '%s'", rows[i].pattern, rows[i].name);
        }
    }
}

static void names_that_are_not_well_formed_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b", "\t", "a.b\n"};
    static const char *const bad_patterns[] = {"", ">.a", "a.>.b", "a..*", "* ", "a.\r"};
    char longest[STOA_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(stoa_topic_check(bad[i], false), STOA_E_INVALID);
    }
    for (size_t i = 0; i < sizeof bad_patterns / sizeof bad_patterns[0]; i++) {
        assert_int_equal(stoa_topic_check(bad_patterns[i], true), STOA_E_INVALID);
    }
    memset(longest, 'x', sizeof longest);
    longest[STOA_NAME_MAX + 1] = '\0';
    assert_int_equal(stoa_topic_check(longest, false), STOA_E_INVALID);
    longest[STOA_NAME_MAX] = '\0';
    assert_int_equal(stoa_topic_check(longest, false), STOA_OK);
    assert_int_equal(stoa_topic_check("a.*.>", true), STOA_OK);
}

/* --- the tree */

static uint64_t seed_of(void)
{
    const char *given = getenv("STOA_SEED");
    uint64_t seed;
    stoa_random_system(&seed, sizeof seed);
    if (given) { seed = strtoull(given, NULL, 0); }
    print_message("STOA_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void random_text(stoa_random *random, bool pattern, char *out)
{
    static const char *const words[] = {"a", "b", "c", "dd", "e*", ">f", "*", "*", ">"};
    uint64_t segments = 1 + stoa_random_below(random, 5);
    *out = '\0';
    for (uint64_t i = 0; i < segments; i++) {
        const char *word = words[stoa_random_below(random, pattern ? 9 : 6)];
        if (*word == '>' && !word[1] && i + 1 < segments) { word = "a"; }
        if (i) { strcat(out, "."); }
        strcat(out, word);
    }
}

enum { WHO = 40, PLACES = 3, NAMES = 150, STEPS = 6000, HELD = 8 };

typedef struct model {
    stoa_node node;
    char names[NAMES][STOA_NAME_MAX + 1];
    stoa_topic *topics[NAMES]; /* NULL: not made yet */
    char patterns[WHO][HELD][STOA_NAME_MAX + 1]; /* "": none */
} model;

static stoa_ref subscriber(uint32_t i)
{
    return stoa_ref_make(1 + i % 2, i % PLACES, i);
}

/* How often who is in the lists of its place. */
static uint32_t times_in_lists(stoa_topic *topic, stoa_ref who)
{
    uint32_t times = 0;
    stoa_audiences *list = atomic_load(&topic->audiences);
    for (uint32_t i = 0; list && i < atomic_load(&list->used); i++) {
        stoa_audience *audience = atomic_load(&list->at[i]);
        stoa_subscribers *here = audience ? atomic_load(&audience->at[stoa_ref_place(who)]) : NULL;
        for (uint32_t k = 0; here && k < atomic_load(&here->used); k++) { times += atomic_load(&here->at[k]) == who.at; }
    }
    return times;
}

static void check_topic(model *m, uint32_t name)
{
    uint64_t places = 0;
    for (uint32_t i = 0; i < WHO; i++) {
        uint32_t matching = 0;
        for (uint32_t k = 0; k < HELD; k++) {
            matching += m->patterns[i][k][0] && stoa_topic_matches(m->patterns[i][k], m->names[name]);
        }
        assert_int_equal(times_in_lists(m->topics[name], subscriber(i)), matching);
        if (matching) { places |= UINT64_C(1) << i % PLACES; }
    }
    assert_true(stoa_topic_places(m->topics[name]) == places);
}

static void subscribe_or_not(model *m, stoa_random *random)
{
    uint32_t i = (uint32_t)stoa_random_below(random, WHO);
    char *pattern = m->patterns[i][stoa_random_below(random, HELD)];
    uint64_t dice = stoa_random_below(random, 20);
    if (dice == 0) {
        stoa_topics_unsubscribe(&m->node, NULL, subscriber(i));
        memset(m->patterns[i], 0, sizeof m->patterns[i]);
    } else if (*pattern) {
        stoa_topics_unsubscribe(&m->node, pattern, subscriber(i));
        *pattern = '\0';
    } else {
        random_text(random, true, pattern);
        assert_int_equal(stoa_topics_subscribe(&m->node, pattern, subscriber(i)), STOA_OK);
        char *same = NULL; /* a pattern that it has already: nothing changes */
        for (uint32_t k = 0; k < HELD; k++) {
            if (m->patterns[i][k] != pattern && strcmp(m->patterns[i][k], pattern) == 0) { same = pattern; }
        }
        if (same) { *same = '\0'; }
    }
}

static void topics_and_patterns_find_each_other_in_any_order(void **state)
{
    (void)state;
    model *m = calloc(1, sizeof *m);
    stoa_random random;
    stoa_random_seed(&random, seed_of());
    assert_int_equal(stoa_topics_init(&m->node.topics), STOA_OK);
    for (uint32_t i = 0; i < NAMES; i++) { random_text(&random, false, m->names[i]); }
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t name = (uint32_t)stoa_random_below(&random, NAMES);
        if (stoa_random_below(&random, 10) == 0) {
            assert_int_equal(stoa_topics_open(&m->node, m->names[name], &m->topics[name]), STOA_OK);
            assert_string_equal(m->topics[name]->name, m->names[name]);
        } else {
            subscribe_or_not(m, &random);
        }
        if (m->topics[name]) { check_topic(m, name); }
    }
    for (uint32_t i = 0; i < NAMES; i++) {
        if (m->topics[i]) { check_topic(m, i); }
    }
    for (uint32_t i = 0; i < WHO; i++) { stoa_topics_unsubscribe(&m->node, NULL, subscriber(i)); }
    assert_int_equal(m->node.topics.reclaim.used_bytes, 0); /* no core reads: all is freed at once */
    assert_int_equal(m->node.topics.subscriptions.count, 0);
    assert_int_equal(m->node.topics.owners.count, 0);
    stoa_topics_deinit(&m->node.topics);
    free(m);
}

/* Who came last takes the seat of who left; a list that is nearly empty is replaced by a small one. */
static void lists_fill_their_holes_and_shrink(void **state)
{
    enum { MANY = 1000, FEW = 10, TURNOVER = 500 };
    (void)state;
    stoa_node *node = calloc(1, sizeof *node);
    stoa_topic *topic;
    stoa_random random;
    bool in[MANY + 1] = {0};
    stoa_random_seed(&random, seed_of());
    assert_int_equal(stoa_topics_init(&node->topics), STOA_OK);
    assert_int_equal(stoa_topics_open(node, "a.b", &topic), STOA_OK);
    for (uint32_t i = 1; i <= MANY; i++) {
        assert_int_equal(stoa_topics_subscribe(node, "a.*", stoa_ref_make(1, 0, i)), STOA_OK);
        in[i] = true;
    }
    size_t full_bytes = node->topics.reclaim.used_bytes;
    for (uint32_t i = 0; i < TURNOVER; i++) {
        uint32_t from = (uint32_t)stoa_random_below(&random, MANY), count = 1 + (uint32_t)stoa_random_below(&random, 50);
        for (uint32_t k = 0; k < count; k++) { stoa_topics_unsubscribe(node, NULL, stoa_ref_make(1, 0, (from + k) % MANY + 1)); }
        for (uint32_t k = count; k--;) {
            assert_int_equal(stoa_topics_subscribe(node, "a.*", stoa_ref_make(1, 0, (from + k) % MANY + 1)), STOA_OK);
        }
        assert_int_equal(node->topics.reclaim.used_bytes, full_bytes);
    }
    uint32_t left = MANY;
    while (left > FEW) {
        uint32_t goes = 1 + (uint32_t)stoa_random_below(&random, MANY);
        stoa_topics_unsubscribe(node, NULL, stoa_ref_make(1, 0, goes));
        left -= in[goes];
        in[goes] = false;
    }
    assert_in_range(node->topics.reclaim.used_bytes, 1, full_bytes / 10);
    for (uint32_t i = 1; i <= MANY; i++) { assert_int_equal(times_in_lists(topic, stoa_ref_make(1, 0, i)), in[i]); }
    for (uint32_t i = 1; i <= MANY; i++) { stoa_topics_unsubscribe(node, NULL, stoa_ref_make(1, 0, i)); }
    assert_int_equal(node->topics.reclaim.used_bytes, 0);
    assert_true(stoa_topic_places(topic) == 0);
    stoa_topics_deinit(&node->topics);
    free(node);
}

static double seconds_since(uint64_t *from_ns)
{
    uint64_t now = stoa_clock_real.now_ns(&stoa_clock_real), from = *from_ns;
    *from_ns = now;
    return (double)(now - from) / 1e9;
}

/* 100,000 names in four segments, 100,000 patterns of which each matches ten, and ten that match all. Looking at all pairs
 * would be 10 billion matches, ten minutes; the test's limit is five. */
static void many_topics_and_patterns_are_no_product(void **state)
{
    enum { MANY = 100000, ALL = 10 };
    (void)state;
    stoa_node *node = calloc(1, sizeof *node);
    stoa_topic *topic;
    char text[64];
    uint64_t from_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    assert_int_equal(stoa_topics_init(&node->topics), STOA_OK);
    for (uint32_t i = 0; i < ALL; i++) {
        assert_int_equal(stoa_topics_subscribe(node, i % 2 ? ">" : "m.*.>", stoa_ref_make(1, 0, i)), STOA_OK);
    }
    for (uint32_t i = 0; i < MANY / 2; i++) { /* before the topics, and after them */
        (void)snprintf(text, sizeof text, "m.%u.*.x", i);
        assert_int_equal(stoa_topics_subscribe(node, text, stoa_ref_make(1, 1, i)), STOA_OK);
    }
    print_message("subscribe without topics: %.3f s\n", seconds_since(&from_ns));
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(text, sizeof text, "m.%u.%u.x", i / 10 * 10, i % 10);
        assert_int_equal(stoa_topics_open(node, text, &topic), STOA_OK);
    }
    print_message("make topics: %.3f s\n", seconds_since(&from_ns));
    for (uint32_t i = MANY / 2; i < MANY; i++) {
        (void)snprintf(text, sizeof text, "m.%u.*.x", i);
        assert_int_equal(stoa_topics_subscribe(node, text, stoa_ref_make(1, 1, i)), STOA_OK);
    }
    print_message("subscribe with topics: %.3f s\n", seconds_since(&from_ns));
    assert_int_equal(stoa_topics_subscribe(node, "m.>", stoa_ref_make(1, 2, 0)), STOA_OK);
    print_message("one pattern that matches all: %.3f s\n", seconds_since(&from_ns));
    for (uint32_t i = 0; i < MANY; i += 1000) {
        (void)snprintf(text, sizeof text, "m.%u.%u.x", i / 10 * 10, i % 10);
        assert_int_equal(stoa_topics_open(node, text, &topic), STOA_OK);
        assert_int_equal(times_in_lists(topic, stoa_ref_make(1, 1, i / 10 * 10)), 1);
        assert_int_equal(times_in_lists(topic, stoa_ref_make(1, 2, 0)), 1);
        assert_true(stoa_topic_places(topic) == 7);
    }
    assert_int_equal(node->topics.count, MANY);
    for (uint32_t i = 0; i < MANY; i++) { stoa_topics_unsubscribe(node, NULL, stoa_ref_make(1, 1, i)); }
    print_message("unsubscribe: %.3f s\n", seconds_since(&from_ns));
    stoa_topics_deinit(&node->topics);
    free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_the_table_says),
        cmocka_unit_test(names_that_are_not_well_formed_are_refused),
        cmocka_unit_test(topics_and_patterns_find_each_other_in_any_order),
        cmocka_unit_test(lists_fill_their_holes_and_shrink),
        cmocka_unit_test(many_topics_and_patterns_are_no_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
