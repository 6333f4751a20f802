/* config_test.c - goal: settings come from the right source, and each mistake is told once, with line and
 * key. Method: one table with every class, small files that are wrong in one way each, and files that are
 * wrong in many; the printed settings must load again to the same bytes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/decimal.h"
#include "base/random.h"

/* --- the table */

typedef struct tier {
    int64_t from;
    stoa_decimal fee;
} tier;

typedef struct symbol {
    char name[13];
    stoa_decimal price_step;
    int64_t depth;
    uint64_t window_ns;
    tier tiers[2];
    uint32_t tier_count;
} symbol;

typedef struct settings {
    char listen[33];
    int64_t port;
    bool tls;
    uint64_t linger_ns;
    uint64_t ring_bytes;
    int32_t idle;
    stoa_decimal fee;
    char data[65];
    int64_t offset;
    symbol symbols[3];
    uint32_t symbol_count;
} settings;

static const char *const idles[] = {"latency", "balanced", "eco", NULL};

#define AT(type, member) .offset = offsetof(type, member)
static const stoa_config_row tier_rows[] = {
    {.path = "from",
     .cls = STOA_CONFIG_INT,
     AT(tier, from),
     .min = 0,
     .max = 1000,
     .doc = "From this volume."},
    {.path = "fee",
     .cls = STOA_CONFIG_DECIMAL,
     AT(tier, fee),
     .fallback = "0.1",
     .min = 0,
     .max = STOA_DECIMAL_ONE,
     .doc = "Fee."},
    {0},
};
static const stoa_config_row symbol_rows[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, AT(symbol, name), .min = 1, .max = 12, .doc = "Name."},
    {.path = "price_step",
     .cls = STOA_CONFIG_DECIMAL,
     AT(symbol, price_step),
     .min = 1,
     .max = INT64_MAX,
     .doc = "Tick."},
    {.path = "book.depth",
     .cls = STOA_CONFIG_INT,
     AT(symbol, depth),
     .fallback = "50",
     .min = 1,
     .max = 1000,
     .unit = "levels",
     .doc = "Depth."},
    {.path = "book.window",
     .cls = STOA_CONFIG_DURATION,
     AT(symbol, window_ns),
     .fallback = "100ms",
     .min = 1000,
     .max = INT64_C(60000000000),
     .doc = "Window."},
    {.path = "tiers",
     .cls = STOA_CONFIG_GROUPS,
     AT(symbol, tiers),
     .min = 0,
     .max = 2,
     .doc = "Fee tiers.",
     .group = tier_rows,
     .group_bytes = sizeof(tier),
     .count_offset = offsetof(symbol, tier_count)},
    {0},
};
static const stoa_config_row rows[] = {
    {.path = "gateway.listen",
     .cls = STOA_CONFIG_TEXT,
     AT(settings, listen),
     .min = 1,
     .max = 32,
     .doc = "Where clients connect."},
    {.path = "gateway.port",
     .cls = STOA_CONFIG_INT,
     AT(settings, port),
     .fallback = "7001",
     .min = 1,
     .max = 65535,
     .doc = "Port."},
    {.path = "gateway.tls.on",
     .cls = STOA_CONFIG_BOOL,
     AT(settings, tls),
     .fallback = "false",
     .doc = "Whether to encrypt."},
    {.path = "gateway.linger",
     .cls = STOA_CONFIG_DURATION,
     AT(settings, linger_ns),
     .fallback = "5ms",
     .min = 0,
     .max = INT64_C(3600000000000),
     .doc = "How long to wait."},
    {.path = "core.ring",
     .cls = STOA_CONFIG_SIZE,
     AT(settings, ring_bytes),
     .fallback = "64KiB",
     .min = 512,
     .max = 1 << 30,
     .doc = "Ring."},
    {.path = "core.idle",
     .cls = STOA_CONFIG_CHOICE,
     AT(settings, idle),
     .fallback = "balanced",
     .choices = idles,
     .doc = "What an idle core does."},
    {.path = "fee",
     .cls = STOA_CONFIG_DECIMAL,
     AT(settings, fee),
     .fallback = "0.00075",
     .min = -STOA_DECIMAL_ONE,
     .max = STOA_DECIMAL_ONE,
     .doc = "Fee | rebate."},
    {.path = "data",
     .cls = STOA_CONFIG_TEXT,
     AT(settings, data),
     .fallback = "",
     .min = 0,
     .max = 64,
     .doc = "Folder."},
    {.path = "offset",
     .cls = STOA_CONFIG_INT,
     AT(settings, offset),
     .fallback = "-3",
     .min = INT64_MIN,
     .max = INT64_MAX,
     .doc = "Any number."},
    {.path = "symbols",
     .cls = STOA_CONFIG_GROUPS,
     AT(settings, symbols),
     .min = 1,
     .max = 3,
     .doc = "What is traded.",
     .group = symbol_rows,
     .group_bytes = sizeof(symbol),
     .count_offset = offsetof(settings, symbol_count)},
    {0},
};

/* What a file needs at least, one line each. */
#define LISTEN "gateway.listen: a\n"
#define SYMBOL "symbols: [{name: A, price_step: 1}]\n"

static stoa_err load(const stoa_config_source *source, settings *out, stoa_buf *faults)
{
    memset(out, 0x5a, sizeof *out);
    stoa_buf_clear(faults);
    return stoa_config_load(rows, source, out, faults);
}

static void assert_loads(const stoa_config_source *source, settings *out)
{
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_err err = load(source, out, &faults);
    if (err || faults.used_bytes) { fail_msg("%s: %s", stoa_err_name(err), faults.at ? faults.at : ""); }
    stoa_buf_deinit(&faults);
}

/* text is refused with exactly these faults. */
static void assert_faults(const char *text, const char *want)
{
    settings s;
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_err err = load(&(stoa_config_source){.text = text}, &s, &faults);
    assert_int_equal(err, STOA_E_INVALID);
    assert_non_null(faults.at);
    assert_string_equal(faults.at, want);
    stoa_buf_deinit(&faults);
}

/* --- what is read */

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

/* --- what is refused */

static void each_bad_value_is_told_with_line_key_and_what_is_expected(void **state)
{
    (void)state;
    static const struct {
        const char *line, *fault;
    } cases[] = {
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
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], want[256];
        (void)snprintf(text, sizeof text, "%s%s%s\n", LISTEN, SYMBOL, cases[i].line);
        (void)snprintf(want, sizeof want, "settings:3: %s\n", cases[i].fault);
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

/* --- pages */

static uint64_t number(stoa_random *random, uint64_t min, uint64_t max)
{
    uint64_t low = min + stoa_random_below(random, max - min + 1 ? max - min + 1 : max);
    return stoa_random_chance(random, 100) ? min : stoa_random_chance(random, 100) ? max : low;
}

static void text_of(stoa_random *random, char *text, size_t min, size_t max)
{
    static const char *const pieces[] = {"a",
                                         "\"",
                                         "\\",
                                         "#",
                                         ": ",
                                         "'",
                                         "- ",
                                         "&x",
                                         "*x",
                                         " ",
                                         "\xc3\xa9",
                                         "~",
                                         "\xe2\x80\xa8",
                                         "\xf0\x9f\x98\x80",
                                         "{",
                                         "%",
                                         "!",
                                         "null",
                                         "\xc2\xa0",
                                         "\xef\xbb\xbf"};
    size_t used = 0, want = min + stoa_random_below(random, max - min + 1);
    while (used < want) {
        const char *piece = pieces[stoa_random_below(random, sizeof pieces / sizeof pieces[0])];
        if (used + strlen(piece) > max) { piece = "a"; }
        memcpy(text + used, piece, strlen(piece));
        used += strlen(piece);
    }
}

static void random_settings(stoa_random *random, settings *s)
{
    memset(s, 0, sizeof *s);
    text_of(random, s->listen, 1, 32);
    s->port = (int64_t)number(random, 1, 65535);
    s->tls = stoa_random_chance(random, 500);
    s->linger_ns = number(random, 0, UINT64_C(3600000000000));
    s->ring_bytes = number(random, 512, 1 << 30);
    s->idle = (int32_t)stoa_random_below(random, 3);
    s->fee = (int64_t)number(random, 0, 2 * (uint64_t)STOA_DECIMAL_ONE) - STOA_DECIMAL_ONE;
    text_of(random, s->data, 0, 64);
    s->offset = (int64_t)stoa_random_next(random);
    s->symbol_count = (uint32_t)number(random, 1, 3);
    for (uint32_t i = 0; i < s->symbol_count; i++) {
        symbol *y = &s->symbols[i];
        text_of(random, y->name, 1, 12);
        y->price_step = (int64_t)number(random, 1, INT64_MAX);
        y->depth = (int64_t)number(random, 1, 1000);
        y->window_ns = number(random, 1000, UINT64_C(60000000000));
        y->tier_count = (uint32_t)number(random, 0, 2);
        for (uint32_t k = 0; k < y->tier_count; k++) {
            y->tiers[k] = (tier){(int64_t)number(random, 0, 1000),
                                 (int64_t)number(random, 0, (uint64_t)STOA_DECIMAL_ONE)};
        }
    }
}

static void printed_settings_load_again_to_the_same(void **state)
{
    (void)state;
    stoa_random random;
    uint64_t seed = UINT64_C(11);
    print_message("seed %" PRIu64 "\n", seed);
    stoa_random_seed(&random, seed);
    stoa_buf page = STOA_BUF_GROWING, again = STOA_BUF_GROWING;
    for (unsigned round = 0; round < 500; round++) {
        static settings before, after;
        random_settings(&random, &before);
        stoa_buf_clear(&page);
        stoa_buf_clear(&again);
        stoa_config_print(rows, &before, &page);
        assert_loads(&(stoa_config_source){.text = page.at}, &after);
        stoa_config_print(rows, &after, &again);
        assert_string_equal(page.at, again.at);
        assert_string_equal(before.listen, after.listen);
        assert_true(before.offset == after.offset && before.linger_ns == after.linger_ns);
        assert_int_equal(before.symbol_count, after.symbol_count);
        assert_memory_equal(before.symbols[0].name, after.symbols[0].name, sizeof after.symbols[0].name);
    }
    stoa_buf_deinit(&page);
    stoa_buf_deinit(&again);
}

static void the_printed_page_is_sectioned_and_commented(void **state)
{
    (void)state;
    settings s;
    stoa_buf page = STOA_BUF_GROWING;
    assert_loads(
        &(stoa_config_source){
            .text =
                LISTEN "symbols: [{name: A, price_step: 0.5, tiers: [{from: 1}]}, {name: B, price_step: 1}]"},
        &s);
    stoa_config_print(rows, &s, &page);
    assert_string_equal(page.at, "gateway:\n"
                                 "  # Where clients connect. (text of 1 to 32 bytes)\n"
                                 "  listen: \"a\"\n"
                                 "  # Port. (a whole number from 1 to 65535)\n"
                                 "  port: 7001\n"
                                 "  tls:\n"
                                 "    # Whether to encrypt. (true or false)\n"
                                 "    on: false\n"
                                 "  # How long to wait. (a duration from 0s to 1h)\n"
                                 "  linger: 5ms\n"
                                 "core:\n"
                                 "  # Ring. (a size from 512 to 1GiB)\n"
                                 "  ring: 64KiB\n"
                                 "  # What an idle core does. (one of latency, balanced, eco)\n"
                                 "  idle: balanced\n"
                                 "# Fee | rebate. (a decimal number from -1 to 1)\n"
                                 "fee: 0.00075\n"
                                 "# Folder. (text of 0 to 64 bytes)\n"
                                 "data: \"\"\n"
                                 "# Any number. (a whole number)\n"
                                 "offset: -3\n"
                                 "# What is traded. (a list of 1 to 3 groups)\n"
                                 "symbols:\n"
                                 "  # name: Name. (text of 1 to 12 bytes)\n"
                                 "  # price_step: Tick. (a decimal number of at least 0.00000001)\n"
                                 "  # book.depth: Depth. (a whole number from 1 to 1000, in levels)\n"
                                 "  # book.window: Window. (a duration from 1us to 1m)\n"
                                 "  # tiers: Fee tiers. (a list of 0 to 2 groups)\n"
                                 "  - name: \"A\"\n"
                                 "    price_step: 0.5\n"
                                 "    book:\n"
                                 "      depth: 50\n"
                                 "      window: 100ms\n"
                                 "    tiers:\n"
                                 "      - from: 1\n"
                                 "        fee: 0.1\n"
                                 "  - name: \"B\"\n"
                                 "    price_step: 1\n"
                                 "    book:\n"
                                 "      depth: 50\n"
                                 "      window: 100ms\n"
                                 "    tiers: []\n");
    stoa_buf_deinit(&page);
}

static void docs_and_help_name_every_row(void **state)
{
    (void)state;
    stoa_buf docs = STOA_BUF_GROWING, help = STOA_BUF_GROWING;
    stoa_config_print_docs(rows, &docs);
    stoa_config_print_help(rows, &help);
    for (const stoa_config_row *row = rows; row->path; row++) {
        char docs_row[128], help_row[128];
        (void)snprintf(docs_row, sizeof docs_row, "\n| `%s` | ", row->path);
        (void)snprintf(help_row, sizeof help_row, "  --%s=VALUE\n", row->path);
        assert_non_null(strstr(docs.at, docs_row));
        assert_int_equal(strstr(help.at, help_row) != NULL, row->cls != STOA_CONFIG_GROUPS);
    }
    assert_non_null(strstr(
        docs.at, "| `gateway.listen` | text of 1 to 32 bytes | required | Where clients connect. |\n"));
    assert_non_null(
        strstr(docs.at, "| `fee` | a decimal number from -1 to 1 | `0.00075` | Fee \\| rebate. |\n"));
    assert_non_null(
        strstr(docs.at,
               "\n\n## `symbols[]`\n\n| key | value | default | meaning |\n|---|---|---|---|\n| `name` | "));
    assert_non_null(strstr(docs.at, "\n\n## `symbols[].tiers[]`\n\n"));
    assert_non_null(strstr(
        help.at,
        "  --gateway.port=VALUE\n        Port. Takes a whole number from 1 to 65535; default 7001.\n"));
    stoa_buf_deinit(&docs);
    stoa_buf_deinit(&help);
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
        cmocka_unit_test(a_file_is_named_in_its_faults),
        cmocka_unit_test(a_file_with_a_nul_or_of_more_than_a_mebibyte_is_refused),
        cmocka_unit_test(printed_settings_load_again_to_the_same),
        cmocka_unit_test(the_printed_page_is_sectioned_and_commented),
        cmocka_unit_test(docs_and_help_name_every_row),
        cmocka_unit_test(one_value_is_parsed_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
