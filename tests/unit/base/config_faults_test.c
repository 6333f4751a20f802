/* config_faults_test.c - goal: each mistake in settings is told once, with line and key. Method: one table with every class
 * (config_rows.h), small texts that are wrong in one way each, and texts that are wrong in many.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/base/config_rows.h"

#include <stdio.h>

static const struct {
    const char *line, *fault;
} bad_values[] = {
    {"gateway.port: 0",
     "gateway.port: \"0\" is below the minimum; expected a whole number from 1 to 65535"},
    {"gateway.port: 70000",
     "gateway.port: \"70000\" is above the maximum; expected a whole number from 1 to 65535"},
    {"gateway.port: 1e3",
     "gateway.port: \"1e3\" is not a whole number; expected a whole number from 1 to 65535"},
    {"gateway.port: 0x10",
     "gateway.port: \"0x10\" is not a whole number; expected a whole number from 1 to 65535"},
    {"gateway.port: +1",
     "gateway.port: \"+1\" is not a whole number; expected a whole number from 1 to 65535"},
    {"gateway.port: \"\"",
     "gateway.port: \"\" is not a whole number; expected a whole number from 1 to 65535"},
    {"gateway.port: 1 2",
     "gateway.port: \"1 2\" is not a whole number; expected a whole number from 1 to 65535"},
    {"gateway.port: \"1\\0\"",
     "gateway.port: \"1\\u0000\" is not a whole number; expected a whole number from 1 to 65535"},
    {"gateway.port:", "gateway.port: has no value; expected a whole number from 1 to 65535"},
    {"gateway.port: ~", "gateway.port: has no value; expected a whole number from 1 to 65535"},
    {"gateway.port: [1]",
     "gateway.port: takes one value, not keys or a list; expected a whole number from 1 to 65535"},
    {"gateway.port: {a: 1}",
     "gateway.port: takes one value, not keys or a list; expected a whole number from 1 to 65535"},
    {"offset: 9223372036854775808",
     "offset: \"9223372036854775808\" is above the maximum; expected a whole number"},
    {"offset: -9223372036854775809",
     "offset: \"-9223372036854775809\" is below the minimum; expected a whole number"},
    {"gateway.tls.on: yes", "gateway.tls.on: \"yes\" is neither true nor false; expected true or false"},
    {"gateway.tls.on: True",
     "gateway.tls.on: \"True\" is neither true nor false; expected true or false"},
    {"gateway.linger: 5", "gateway.linger: \"5\" has no unit; expected a duration from 0s to 1h"},
    {"gateway.linger: 5 ms",
     "gateway.linger: \"5 ms\" has an unknown unit; expected a duration from 0s to 1h"},
    {"gateway.linger: 5min",
     "gateway.linger: \"5min\" has an unknown unit; expected a duration from 0s to 1h"},
    {"gateway.linger: 1.5s",
     "gateway.linger: \"1.5s\" is not a whole number with its unit; expected a duration from 0s to 1h"},
    {"gateway.linger: -1s",
     "gateway.linger: \"-1s\" is not a whole number with its unit; expected a duration from 0s to 1h"},
    {"gateway.linger: 99999999999999999999h",
     "gateway.linger: \"99999999999999999999h\" is above the maximum; expected a duration from 0s to 1h"},
    {"gateway.linger: 9999999999h",
     "gateway.linger: \"9999999999h\" is above the maximum; expected a duration from 0s to 1h"},
    {"core.ring: 64KB", "core.ring: \"64KB\" has an unknown unit; expected a size from 512 to 1GiB"},
    {"core.ring: 64k", "core.ring: \"64k\" has an unknown unit; expected a size from 512 to 1GiB"},
    {"core.ring: 511", "core.ring: \"511\" is below the minimum; expected a size from 512 to 1GiB"},
    {"core.ring: 2GiB", "core.ring: \"2GiB\" is above the maximum; expected a size from 512 to 1GiB"},
    {"core.ring: 99999999TiB",
     "core.ring: \"99999999TiB\" is above the maximum; expected a size from 512 to 1GiB"},
    {"gateway.linger: 2251799813685248h", /* 2^64 ns times a whole number: would wrap to 0 */
     "gateway.linger: \"2251799813685248h\" is above the maximum; expected a duration from 0s to 1h"},
    {"core.ring: 18014398509481985KiB",
     "core.ring: \"18014398509481985KiB\" is above the maximum; expected a size from 512 to 1GiB"},
    {"core.ring: 18446744073709552216",
     "core.ring: \"18446744073709552216\" is above the maximum; expected a size from 512 to 1GiB"},
    {"gateway.port: 18446744073709551617", "gateway.port: \"18446744073709551617\" is above the maximum; "
                                           "expected a whole number from 1 to 65535"},
    {"core.idle: fast",
     "core.idle: \"fast\" is not one of the choices; expected one of latency, balanced, eco"},
    {"core.idle: lat",
     "core.idle: \"lat\" is not one of the choices; expected one of latency, balanced, eco"},
    {"fee: 1e-3", "fee: \"1e-3\" is not a decimal number; expected a decimal number from -1 to 1"},
    {"fee: 0.000000001",
     "fee: \"0.000000001\" has more than eight places; expected a decimal number from -1 to 1"},
    {"fee: 1.00000001",
     "fee: \"1.00000001\" is above the maximum; expected a decimal number from -1 to 1"},
    {"fee: -99999999999999999999",
     "fee: \"-99999999999999999999\" is below the minimum; expected a decimal number from -1 to 1"},
    {"data: \"a\\nb\"", "data: \"a\\nb\" holds a control character; expected text of 0 to 64 bytes"},
    {"data: \"a\\0b\"", "data: \"a\\u0000b\" holds a control character; expected text of 0 to 64 bytes"},
    {"data: \"\\x85\"", "data: \"\xc2\x85\" holds a control character; expected text of 0 to 64 bytes"},
    {"data:", "data: has no value (an empty one is \"\"); expected text of 0 to 64 bytes"},
    {"data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "data: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"... is too long; expected text of 0 to "
     "64 bytes"},
    {"core: 5", "core: is a section: its keys stand below it, indented"},
    {"core: [a]", "core: is a section: its keys stand below it, indented"},
    {"data: *nowhere", "data: refers to an anchor that is not there"},
    {"data: 'a''''b'", "data: must stand on one line, and without quotes in a row inside '...'; expected "
                       "text of 0 to 64 bytes"},
    {"data: \"a\\n\\\n  b\"", "data: must stand on one line, and without quotes in a row inside '...'; "
                              "expected text of 0 to 64 bytes"},
    {"data: >-\n  a", "data: must stand on one line, and without quotes in a row inside '...'; expected "
                      "text of 0 to 64 bytes"},
    {"data: |-\n  a", "data: must stand on one line, and without quotes in a row inside '...'; expected "
                      "text of 0 to 64 bytes"},
    {"data: a\n  b", "data: must stand on one line, and without quotes in a row inside '...'; "
                     "expected text of 0 to 64 bytes"},
    {"'d''''ata': a", "a key must be plain text on one line"},
    {"<<: 5", "<<: merges keys with values, by *name or a list of them"},
};

static void each_bad_value_is_told_with_line_key_and_what_is_expected(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof bad_values / sizeof bad_values[0]; i++) {
        char text[256], want[256];
        (void)snprintf(text, sizeof text, "%s%s%s\n", LISTEN, SYMBOL, bad_values[i].line);
        (void)snprintf(want, sizeof want, "settings:3: %s\n", bad_values[i].fault);
        assert_faults(text, want);
    }
}

static void unknown_keys_are_told_with_the_nearest_known_one(void **state)
{
    (void)state;
    static const struct {
        const char *line, *fault;
    } cases[] = {
        {"gateway.prot: 1", "gateway.prot: no such key; did you mean gateway.port?"},
        {"gatway: {port: 1}", "gatway: no such key; did you mean gateway?"},
        {"gateway: {tls: {no: 1}}", "gateway.tls.no: no such key; did you mean gateway.tls.on?"},
        {"gateway: {tsl: {on: 1}}", "gateway.tsl: no such key; did you mean gateway.tls?"},
        {"linger: 1s", "linger: no such key here; did you mean gateway.linger?"},
        {"Fee: 1", "Fee: no such key; did you mean fee?"},
        {"something_else_entirely: 1", "something_else_entirely: no such key"},
        {"\"a\\0b c\\n\": 1", "a?b c?: no such key"},
        {"\"fee\\0\": 1", "fee?: no such key; did you mean fee?"},
        {"\"\": 1", ": no such key"},
        {"5: 1", "5: no such key"},
        {"gr\xc3\xb6\xc3\x9f\x65_und_mehr: 1", "gr\xc3\xb6\xc3\x9f\x65_und_mehr: no such key"},
        {"symbol: 1", "symbol: no such key; did you mean symbols?"},
        {"core: {x-ring: 1}", "core.x-ring: no such key; did you mean core.ring?"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], want[256];
        (void)snprintf(text, sizeof text, "%s%s%s\n", LISTEN, SYMBOL, cases[i].line);
        (void)snprintf(want, sizeof want, "settings:3: %s\n", cases[i].fault);
        assert_faults(text, want);
    }
}

static void all_faults_are_told_in_one_go(void **state)
{
    (void)state;
    static const char text[] = "gateway:\n"
                               "  port: 70000\n"
                               "  linger: 5\n"
                               "core:\n"
                               "  ringg: 1\n"
                               "symbols:\n"
                               "  - name: TOO_LONG_A_NAME\n"
                               "    book:\n"
                               "      depth: 0\n"
                               "  - price_step: 0\n"
                               "    tiers:\n"
                               "      - {fee: 2}\n"
                               "      - 5\n"
                               "  - 7\n";
    char ring_env[] = "STOA_CORE_RING=x";
    char *const environment[] = {ring_env, NULL};
    const char *const overrides[] = {"gatway.port=1", "symbols=1", "fee", "fee=2", NULL};
    static const char want[] =
        "settings:2: gateway.port: \"70000\" is above the maximum; expected a whole number from 1 to 65535\n"
        "settings:3: gateway.linger: \"5\" has no unit; expected a duration from 0s to 1h\n"
        "settings:5: core.ringg: no such key; did you mean core.ring?\n"
        "settings:7: symbols[0].name: \"TOO_LONG_A_NAME\" is too long; expected text of 1 to 12 bytes\n"
        "settings:9: symbols[0].book.depth: \"0\" is below the minimum; expected a whole number from 1 to "
        "1000, in levels\n"
        "settings:7: symbols[0].price_step: is required and missing; expected a decimal number of at least "
        "0.00000001\n"
        "settings:10: symbols[1].price_step: \"0\" is below the minimum; expected a decimal number of at "
        "least 0.00000001\n"
        "settings:12: symbols[1].tiers[0].fee: \"2\" is above the maximum; expected a decimal number from 0 "
        "to 1\n"
        "settings:12: symbols[1].tiers[0].from: is required and missing; expected a whole number from 0 to "
        "1000\n"
        "settings:13: symbols[1].tiers[1]: an item of this list takes keys with values\n"
        "settings:10: symbols[1].name: is required and missing; expected text of 1 to 12 bytes\n"
        "settings:14: symbols[2]: an item of this list takes keys with values\n"
        "STOA_CORE_RING: core.ring: \"x\" is not a whole number with its unit; expected a size from 512 to "
        "1GiB\n"
        "--gatway.port: gatway.port: no such key; did you mean gateway.port?\n"
        "--symbols: symbols: is a list of groups; only a file can set it\n"
        "--fee: fee: has no value; write --fee=VALUE\n"
        "--fee: fee: \"2\" is above the maximum; expected a decimal number from -1 to 1\n"
        "settings:1: gateway.listen: is required and missing; expected text of 1 to 32 bytes\n";
    settings s;
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_config_source source = {.text = text, .environment = environment, .overrides = overrides};
    assert_int_equal(load(&source, &s, &faults), STOA_E_INVALID);
    assert_string_equal(faults.at, want);
    assert_non_null(strstr(stoa_err_trail(), "18 faults"));
    stoa_buf_deinit(&faults);
}

static void what_a_section_lacks_is_told_where_it_was_opened(void **state)
{
    (void)state;
    assert_faults(SYMBOL "core: {}\ngateway:\n  port: 5\n",
                  "settings:3: gateway.listen: is required and missing; expected text of 1 to 32 bytes\n");
}

static void what_is_required_and_missing_is_told_without_any_source(void **state)
{
    (void)state;
    settings s;
    stoa_buf faults = STOA_BUF_GROWING;
    assert_int_equal(load(&(stoa_config_source){0}, &s, &faults), STOA_E_INVALID);
    assert_string_equal(faults.at,
                        "settings: gateway.listen: is required and missing; expected text of 1 to 32 bytes\n"
                        "settings: symbols: is required and missing; expected a list of 1 to 3 groups\n");
    stoa_buf_deinit(&faults);
    static const char *const empty[] = {"", "# nothing\n", "---\n", "~", "{}", "...\n"};
    for (unsigned i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        assert_faults(empty[i],
                      "settings:1: gateway.listen: is required and missing; expected text of 1 to 32 bytes\n"
                      "settings:1: symbols: is required and missing; expected a list of 1 to 3 groups\n");
    }
}

static void lists_are_bounded_and_must_be_lists(void **state)
{
    (void)state;
    assert_faults(LISTEN "symbols: 5\n", "settings:2: symbols: is not a list: each item starts with \"- \"; "
                                         "expected a list of 1 to 3 groups\n");
    assert_faults(LISTEN "symbols: {name: A}\n", "settings:2: symbols: is not a list: each item starts with "
                                                 "\"- \"; expected a list of 1 to 3 groups\n");
    assert_faults(LISTEN "symbols: []\n",
                  "settings:2: symbols: has too few items; expected a list of 1 to 3 groups\n");
    assert_faults(LISTEN "symbols:\n",
                  "settings:2: symbols: has too few items; expected a list of 1 to 3 groups\n");
    assert_faults(LISTEN "symbols:\n- &a {name: A, price_step: 1}\n- *a\n- *a\n- *a\n- {nonsense: 1}\n",
                  "settings:6: symbols: has too many items; expected a list of 1 to 3 groups\n");
}

static void duplicate_keys_and_sections_are_told_with_both_lines(void **state)
{
    (void)state;
    assert_faults(LISTEN SYMBOL "fee: 0.1\ndata: x\nfee: 0.2\nfee: 7\n",
                  "settings:5: fee: given again; the first is in line 3\n"
                  "settings:6: fee: given again; the first is in line 3\n");
    assert_faults(SYMBOL "gateway:\n  listen: a\ncore: {}\ngateway:\n  port: 5\n  listen: b\n",
                  "settings:5: gateway: section opened again; the first is in line 2\n"
                  "settings:7: gateway.listen: given again; the first is in line 3\n");
    assert_faults(SYMBOL "gateway:\n  listen: a\n  tls: {on: true, on: false}\n",
                  "settings:4: gateway.tls.on: given again; the first is in line 4\n");
}

static void broken_yaml_is_told_alone_with_its_line(void **state)
{
    (void)state;
    static const char *const broken[] = {"a: 1\nb: [1,\nc: 2\n",
                                         "a: 1\n\tb: 2\n",
                                         "a: b: c\n",
                                         "a: \"x\n",
                                         "a: 'x\n",
                                         "{a",
                                         "a: @x\n",
                                         "- a\nb: 1\n",
                                         "a: *\n",
                                         "%YAML 9\n---\na: 1\n"};
    for (unsigned i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        settings s;
        stoa_buf faults = STOA_BUF_GROWING;
        assert_int_equal(load(&(stoa_config_source){.text = broken[i]}, &s, &faults), STOA_E_INVALID);
        unsigned line = 0;
        char rest[32] = "";
        if (sscanf(faults.at, "settings:%u: %31[^\n]", &line, rest) != 2 ||
            strncmp(rest, "not YAML", 8) != 0 || line < 1) {
            fail_msg("%s -> %s", broken[i], faults.at);
        }
        assert_ptr_equal(strchr(faults.at, '\n'), faults.at + faults.used_bytes - 1);
        stoa_buf_deinit(&faults);
    }
    assert_faults("a: \"\\\x13\"\n", "settings:1: not YAML: invalid escape '?' in double-quoted string\n");
    assert_faults("a: 1\nb: \xff\n", "settings:2: not UTF-8 text\n");
    assert_faults("fee: 0.1\n---\nfee: 0.2\n", "settings:3: a second document; only one is taken\n");
    assert_faults("- a\n",
                  "settings:1: the file must hold keys with values\n"
                  "settings:1: gateway.listen: is required and missing; expected text of 1 to 32 bytes\n"
                  "settings:1: symbols: is required and missing; expected a list of 1 to 3 groups\n");
    assert_faults(LISTEN SYMBOL "? [a]\n: 1\n", "settings:3: a key must be plain text on one line\n");
}

static void a_file_that_repeats_itself_by_aliases_is_bounded(void **state)
{
    (void)state;
    assert_faults(LISTEN SYMBOL "<<: &a {<<: *a}\n", "settings:3: <<: merges nest too deep\n");
    assert_faults(LISTEN SYMBOL "<<: &a [*a]\n",
                  "settings:3: <<: merges keys with values, by *name or a list of them\n");
    stoa_buf text = STOA_BUF_GROWING, faults = STOA_BUF_GROWING;
    stoa_buf_puts(&text, LISTEN SYMBOL "x-a: &a0 {fee: 0}\n");
    for (unsigned level = 1; level < 8; level++) {
        stoa_buf_printf(&text, "x-%u: &a%u\n  <<: [", level, level);
        for (unsigned i = 0; i < 30; i++) {
            stoa_buf_printf(&text, "*a%u, ", level - 1);
        }
        stoa_buf_puts(&text, "]\n");
    }
    stoa_buf_puts(&text, "<<: *a4\n");
    settings s;
    assert_int_equal(load(&(stoa_config_source){.text = text.at}, &s, &faults), STOA_E_INVALID);
    assert_non_null(strstr(faults.at, "more than 100000 keys\n"));
    stoa_buf_deinit(&text);
    stoa_buf_deinit(&faults);
}

static void faults_beyond_a_hundred_are_counted(void **state)
{
    (void)state;
    settings s;
    stoa_buf text = STOA_BUF_GROWING, faults = STOA_BUF_GROWING;
    stoa_buf_puts(&text, LISTEN SYMBOL);
    for (unsigned i = 0; i < 250; i++) {
        stoa_buf_printf(&text, "completely_unknown_%u: 1\n", i);
    }
    assert_int_equal(load(&(stoa_config_source){.text = text.at}, &s, &faults), STOA_E_INVALID);
    unsigned lines = 0;
    for (const char *at = faults.at; *at; at++) {
        lines += *at == '\n';
    }
    assert_int_equal(lines, 101);
    assert_non_null(
        strstr(faults.at, "settings:102: completely_unknown_99: no such key\nand 150 more faults\n"));
    stoa_buf_deinit(&text);
    stoa_buf_deinit(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bad_value_is_told_with_line_key_and_what_is_expected),
        cmocka_unit_test(unknown_keys_are_told_with_the_nearest_known_one),
        cmocka_unit_test(all_faults_are_told_in_one_go),
        cmocka_unit_test(what_a_section_lacks_is_told_where_it_was_opened),
        cmocka_unit_test(what_is_required_and_missing_is_told_without_any_source),
        cmocka_unit_test(lists_are_bounded_and_must_be_lists),
        cmocka_unit_test(duplicate_keys_and_sections_are_told_with_both_lines),
        cmocka_unit_test(broken_yaml_is_told_alone_with_its_line),
        cmocka_unit_test(a_file_that_repeats_itself_by_aliases_is_bounded),
        cmocka_unit_test(faults_beyond_a_hundred_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
