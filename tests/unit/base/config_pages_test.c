/* config_pages_test.c - goal: printed settings load again to the same bytes, and pages and help name every row. Method: settings
 * at random from a fixed seed over one table with every class (config_rows.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/base/config_rows.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/random.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed_settings_load_again_to_the_same),
        cmocka_unit_test(the_printed_page_is_sectioned_and_commented),
        cmocka_unit_test(docs_and_help_name_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
