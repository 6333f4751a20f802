/* topic_test.c - goal: names and patterns match segment by segment, as NATS subjects do. Method: a table.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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
    static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "a.*", "a.>"};
    static const char *const bad_patterns[] = {"", ">.a", "a.>.b", "a..*"};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_the_table_says),
        cmocka_unit_test(names_that_are_not_well_formed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
