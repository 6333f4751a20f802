/* config_test.c - goal: settings come from the right source: defaults, a file, the environment, flags, one value. Method: one table
 * with every class (config_rows.h), small texts and files.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/base/config_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void a_file_gives_every_class_of_value(void **state)
{
    (void)state;
    static const char text[] = "# all of it\n"
                               "gateway:\n"
                               "  listen: \"tcp://127.0.0.1:*\"\n"
                               "  port: 65535\n"
                               "  tls: {on: true}\n"
                               "  linger: 12h\n"
                               "core.ring: 1GiB\n"
                               "core.idle: eco\n"
                               "fee: -0.00012345\n"
                               "data: /var/lib/\xc3\xa9\n"
                               "offset: -9223372036854775808\n"
                               "symbols:\n"
                               "  - name: BTCUSDT\n"
                               "    price_step: \"0.01\"\n"
                               "    book:\n"
                               "      depth: 1\n"
                               "    tiers:\n"
                               "      - {from: 0}\n"
                               "      - {from: 10, fee: 0.05}\n"
                               "  - name: 'ETH'\n"
                               "    price_step: 92233720368.54775807\n"
                               "    book.window: 1us\n";
    settings s;
    stoa_buf faults = STOA_BUF_GROWING;
    assert_int_equal(load(&(stoa_config_source){.text = text}, &s, &faults), STOA_E_INVALID);
    assert_string_equal(
        faults.at,
        "settings:6: gateway.linger: \"12h\" is above the maximum; expected a duration from 0s to 1h\n");
    stoa_buf_deinit(&faults);

    char *fixed = strdup(text);
    assert_non_null(fixed);
    memcpy(strstr(fixed, "12h"), " 1h", 3);
    assert_loads(&(stoa_config_source){.text = fixed}, &s);
    free(fixed);
    assert_string_equal(s.listen, "tcp://127.0.0.1:*");
    assert_int_equal(s.port, 65535);
    assert_true(s.tls);
    assert_true(s.linger_ns == UINT64_C(3600000000000));
    assert_int_equal(s.ring_bytes, 1 << 30);
    assert_int_equal(s.idle, 2);
    assert_int_equal(s.fee, -12345);
    assert_string_equal(s.data, "/var/lib/\xc3\xa9");
    assert_true(s.offset == INT64_MIN);
    assert_int_equal(s.symbol_count, 2);
    assert_string_equal(s.symbols[0].name, "BTCUSDT");
    assert_int_equal(s.symbols[0].price_step, 1000000);
    assert_int_equal(s.symbols[0].depth, 1);
    assert_int_equal(s.symbols[0].window_ns, 100000000);
    assert_int_equal(s.symbols[0].tier_count, 2);
    assert_int_equal(s.symbols[0].tiers[0].fee, 10000000);
    assert_int_equal(s.symbols[0].tiers[1].from, 10);
    assert_true(s.symbols[1].price_step == INT64_MAX);
    assert_int_equal(s.symbols[1].depth, 50);
    assert_int_equal(s.symbols[1].window_ns, 1000);
    assert_int_equal(s.symbols[1].tier_count, 0);
}

static void defaults_stand_where_nothing_is_given(void **state)
{
    (void)state;
    settings s;
    assert_loads(&(stoa_config_source){.text = LISTEN SYMBOL "gateway:\ncore: {}\n"}, &s);
    assert_int_equal(s.port, 7001);
    assert_false(s.tls);
    assert_int_equal(s.linger_ns, 5000000);
    assert_int_equal(s.ring_bytes, 65536);
    assert_int_equal(s.idle, 1);
    assert_int_equal(s.fee, 75000);
    assert_string_equal(s.data, "");
    assert_int_equal(s.offset, -3);
    char zeros[sizeof s.symbols[1]] = {0};
    assert_memory_equal(&s.symbols[1], zeros, sizeof zeros);
}

static void flags_beat_the_environment_which_beats_the_file(void **state)
{
    (void)state;
    settings s;
    char port_env[] = "STOA_GATEWAY_PORT=2", tls_env[] = "STOA_GATEWAY_TLS_ON=true",
         other[] = "STOA_NO_SETTING=x";
    char near[] = "STOA_GATEWAY_PORTS=9", shorter[] = "STOA_GATEWAY_POR=9", bare[] = "STOA_FEE",
         idle_env[] = "STOA_CORE_IDLE=eco";
    char listen_env[] = "STOA_GATEWAY_LISTEN=env", lower[] = "STOA_gateway_port=9", empty[] = "STOA_=1";
    char *const environment[] = {port_env, other,      tls_env, near,  shorter, bare,
                                 idle_env, listen_env, lower,   empty, NULL};
    const char *const overrides[] = {"core.idle=eco", "core.idle=latency", "data=a=b", NULL};
    stoa_config_source source = {.text = "gateway: {port: 1}\nfee: 0.5\ncore.idle: balanced\n" SYMBOL,
                                 .environment = environment,
                                 .overrides = overrides};
    assert_loads(&source, &s);
    assert_int_equal(s.port, 2);
    assert_true(s.tls);
    assert_int_equal(s.fee, STOA_DECIMAL_ONE / 2);
    assert_int_equal(s.idle, 0);
    assert_string_equal(s.data, "a=b");
    assert_string_equal(s.listen, "env"); /* a required key may come from anywhere */
}

static void anchors_aliases_and_merges_are_followed(void **state)
{
    (void)state;
    settings s;
    static const char text[] = "x-defaults: &defaults {price_step: 0.5, book: {depth: 7}}\n"
                               "x-more: [&more {name: MORE, book: {depth: 9, window: 1s}}]\n"
                               "gateway: &g {listen: &l addr}\n"
                               "data: *l\n"
                               "symbols:\n"
                               "  - &a\n"
                               "    <<: *defaults\n"
                               "    name: A\n"
                               "  - <<: *a\n"
                               "    name: B\n"
                               "    book: {depth: 8}\n"
                               "  - <<: [*defaults, *more]\n";
    assert_loads(&(stoa_config_source){.text = text}, &s);
    assert_string_equal(s.data, "addr");
    assert_int_equal(s.symbol_count, 3);
    assert_string_equal(s.symbols[0].name, "A");
    assert_int_equal(s.symbols[0].price_step, STOA_DECIMAL_ONE / 2);
    assert_int_equal(s.symbols[0].depth, 7);
    assert_string_equal(s.symbols[1].name, "B");
    assert_int_equal(s.symbols[1].depth, 8);
    assert_int_equal(s.symbols[1].price_step, STOA_DECIMAL_ONE / 2);
    assert_string_equal(s.symbols[2].name, "MORE");
    assert_int_equal(s.symbols[2].depth, 7); /* the earlier one wins, whole sections at a time */
    assert_int_equal(s.symbols[2].window_ns, UINT64_C(100000000));
}

/* --- files */

static void write_file(char *path, const char *text, size_t size_bytes)
{
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, size_bytes), size_bytes);
    assert_int_equal(close(file), 0);
}

static void a_file_is_named_in_its_faults(void **state)
{
    (void)state;
    settings s;
    char path[] = "/tmp/stoa_config_XXXXXX", want[128];
    static const char text[] = LISTEN SYMBOL "fee: x\n";
    stoa_buf faults = STOA_BUF_GROWING;
    write_file(path, text, sizeof text - 1);
    stoa_err err = load(&(stoa_config_source){.file = path, .text = "ignored: 1"}, &s, &faults);
    (void)unlink(path);
    assert_int_equal(err, STOA_E_INVALID);
    (void)snprintf(want, sizeof want,
                   "%s:3: fee: \"x\" is not a decimal number; expected a decimal number from -1 to 1\n",
                   path);
    assert_string_equal(faults.at, want);

    err = load(&(stoa_config_source){.file = path}, &s, &faults);
    assert_int_equal(err, STOA_E_NOT_FOUND);
    (void)snprintf(want, sizeof want, "%s: cannot be read: ", path);
    assert_memory_equal(faults.at, want, strlen(want));
    assert_int_equal(load(&(stoa_config_source){.file = "/"}, &s, &faults), STOA_E_IO);
    stoa_buf_deinit(&faults);
}

static void a_file_with_a_nul_or_of_more_than_a_mebibyte_is_refused(void **state)
{
    (void)state;
    settings s;
    enum { BYTES = (1 << 20) + 1 };
    stoa_buf faults = STOA_BUF_GROWING;
    char nul_path[] = "/tmp/stoa_config_XXXXXX", large_path[] = "/tmp/stoa_config_XXXXXX";
    static const char nul[] = LISTEN SYMBOL "\0fee: x\n";
    write_file(nul_path, nul, sizeof nul - 1);
    stoa_err err = load(&(stoa_config_source){.file = nul_path}, &s, &faults);
    (void)unlink(nul_path);
    assert_int_equal(err, STOA_E_INVALID);
    assert_non_null(strstr(faults.at, ":3: not UTF-8 text\n"));

    char *large = malloc(BYTES);
    assert_non_null(large);
    memset(large, '\n', BYTES);
    memcpy(large, LISTEN SYMBOL, sizeof(LISTEN SYMBOL) - 1);
    write_file(large_path, large, BYTES);
    err = load(&(stoa_config_source){.file = large_path}, &s, &faults);
    assert_int_equal(err, STOA_E_INVALID);
    assert_non_null(strstr(faults.at, "is larger than 1048576 bytes\n"));
    assert_int_equal(truncate(large_path, BYTES - 1), 0);
    err = load(&(stoa_config_source){.file = large_path}, &s, &faults);
    (void)unlink(large_path);
    assert_int_equal(err, STOA_OK);
    free(large);
    stoa_buf_deinit(&faults);
}

static void one_value_is_parsed_by_itself(void **state)
{
    (void)state;
    const char *why = "untouched";
    int64_t port = 77;
    char listen[33] = "before";
    assert_int_equal(stoa_config_parse_value(&rows[1], "80", &port, &why), STOA_OK);
    assert_int_equal(port, 80);
    assert_string_equal(why, "untouched");
    assert_int_equal(stoa_config_parse_value(&rows[1], "0", &port, &why), STOA_E_RANGE);
    assert_string_equal(why, "is below the minimum");
    assert_int_equal(port, 80);
    assert_int_equal(stoa_config_parse_value(&rows[0], "", listen, &why), STOA_E_RANGE);
    assert_int_equal(stoa_config_parse_value(&rows[0], "\xff", listen, &why), STOA_E_INVALID);
    assert_string_equal(why, "is not UTF-8");
    assert_string_equal(listen, "before");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gives_every_class_of_value),
        cmocka_unit_test(defaults_stand_where_nothing_is_given),
        cmocka_unit_test(flags_beat_the_environment_which_beats_the_file),
        cmocka_unit_test(anchors_aliases_and_merges_are_followed),
        cmocka_unit_test(a_file_is_named_in_its_faults),
        cmocka_unit_test(a_file_with_a_nul_or_of_more_than_a_mebibyte_is_refused),
        cmocka_unit_test(one_value_is_parsed_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
