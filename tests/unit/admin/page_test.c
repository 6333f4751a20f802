/* page_test.c - goal: a document is shown as its view says, with units, and nothing in it can steer the terminal.
 * Method: documents and views with the page they must give; figures at the edges of their units; hostile text; broken
 * views.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "admin/document.h"
#include "admin/value.h"
#include "base/clock.h"

static const uint64_t NOON = UINT64_C(1795262400) * 1000000000; /* 2026-11-21 12:00 UTC */

static int setup(void **state)
{
    stoa_json_parser *parser = NULL;
    stoa_err err = stoa_json_parser_new(1 << 20, &parser);
    *state = parser;
    return err ? -1 : 0;
}

static int teardown(void **state)
{
    stoa_json_parser_free(*state);
    return 0;
}

static void assert_page(void **state, const char *document, const char *view, const char *expected)
{
    static const stoa_style style = {.utf8 = true};
    stoa_buf out = STOA_BUF_GROWING;
    stoa_buf_puts(&out, "");
    assert_int_equal(stoa_page_print(*state, document, strlen(document), view, strlen(view), &style, NOON, &out),
                     STOA_OK);
    assert_string_equal(out.at ? out.at : "", expected);
    stoa_buf_deinit(&out);
}

static void a_table_shows_the_columns_of_its_view(void **state)
{
    assert_page(state,
                "{\"actors\":[{\"name\":\"a\",\"n\":1234567,\"x\":true},{\"name\":\"b/c\",\"n\":null,\"x\":false}]}",
                "table actors: name, n=count/n, x, absent",
                "name      count  x    absent\na     1,234,567  yes  -\nb/c           -  no   -\n");
    assert_page(state, "{\"dead_letters\":[]}", "table dead_letters: name", "no dead letters\n");
}

static void an_optional_column_is_left_out_where_there_is_no_room(void **state)
{
    static const char document[] = "{\"a\":[{\"x\":\"one\",\"y\":\"two\",\"z\":3}]}";
    static const char view[] = "table a: x, y=why?, z/n?", whole[] = "x    why  z\none  two  3\n";
    static const struct {
        size_t columns;
        const char *expected;
    } rows[] = {{0, whole}, {11, whole}, {10, "x    why\none  two\n"}, {5, "x\none\n"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stoa_style style = {.columns = rows[i].columns};
        stoa_buf out = STOA_BUF_GROWING;
        assert_int_equal(stoa_page_print(*state, document, sizeof document - 1, view, sizeof view - 1, &style, NOON,
                                         &out), STOA_OK);
        assert_string_equal(out.at, rows[i].expected);
        stoa_buf_deinit(&out);
    }
}

static void a_tree_shows_who_is_below_whom(void **state)
{
    assert_page(state,
                "{\"cores\":[{\"name\":\"core 0\",\"children\":["
                "{\"name\":\"s\",\"children\":[{\"name\":\"x\"},{\"name\":\"y\"}]},"
                "{\"name\":\"p\"}]},{\"name\":\"core 1\",\"children\":[]}]}",
                "tree cores: name", "name\ncore 0\n├─ s\n│  ├─ x\n│  └─ y\n└─ p\ncore 1\n");
}

static void sections_follow_each_other_and_missing_ones_are_left_out(void **state)
{
    assert_page(state, "{\"a\":{\"x\":1,\"long_key\":\"v\"},\"names\":[\"p\",\"q\"],\"note\":null,\"t\":\"l1\\nl2\"}",
                "fields a: x, long_key, gone\nlines names\ntext note\ntable nothing: x\ntext t",
                "x         1\nlong key  v\n\np\nq\n\nl1\nl2\n");
}

static void a_document_without_a_view_is_shown_whole(void **state)
{
    assert_page(state, "{\"a\":1,\"bcd\":{\"e\":[1,2],\"f\":[{\"g\":\"h\",\"i\":2},{\"j\":[3]}],\"k\":[]},\"l\":-5}",
                "",
                "a  1\nbcd\n  e\n    - 1\n    - 2\n  f\n    - g=h i=2\n    -\n      j\n        - 3\n  k\nl  -5\n");
    assert_page(state, "[]", "", "");
}

static void assert_value(void **state, const char *json, stoa_unit unit, const char *expected)
{
    char text[256];
    stoa_json value;
    stoa_buf out = STOA_BUF_FIXED(text);
    assert_int_equal(stoa_json_parse(*state, json, strlen(json), &value), STOA_OK);
    stoa_value_print(&value, unit, NOON, &out);
    assert_string_equal(text, expected);
}

static void figures_come_with_their_units(void **state)
{
    static const struct {
        const char *json;
        stoa_unit unit;
        const char *expected;
    } rows[] = {
        {"0", STOA_UNIT_COUNT, "0"},
        {"999", STOA_UNIT_COUNT, "999"},
        {"1000", STOA_UNIT_COUNT, "1,000"},
        {"18446744073709551615", STOA_UNIT_COUNT, "18,446,744,073,709,551,615"},
        {"-1234", STOA_UNIT_COUNT, "-1,234"},
        {"-9223372036854775808", STOA_UNIT_ID, "-9223372036854775808"},
        {"1234567", STOA_UNIT_ID, "1234567"},
        {"0", STOA_UNIT_NS, "0 ns"},
        {"999", STOA_UNIT_NS, "999 ns"},
        {"1000", STOA_UNIT_NS, "1.00 us"},
        {"12340", STOA_UNIT_NS, "12.3 us"},
        {"999999", STOA_UNIT_NS, "999 us"},
        {"1250000", STOA_UNIT_NS, "1.25 ms"},
        {"2000000000", STOA_UNIT_NS, "2.00 s"},
        {"119999999999", STOA_UNIT_NS, "119 s"},
        {"120000000000", STOA_UNIT_NS, "2 m 0 s"},
        {"3600000000000", STOA_UNIT_NS, "1 h 0 m"},
        {"273600000000000", STOA_UNIT_NS, "3 d 4 h"},
        {"512", STOA_UNIT_BYTES, "512 B"},
        {"1536", STOA_UNIT_BYTES, "1.50 KiB"},
        {"1048576", STOA_UNIT_BYTES, "1.00 MiB"},
        {"137438953472", STOA_UNIT_BYTES, "128 GiB"},
        {"5", STOA_UNIT_PERMILLE, "0.5 %"},
        {"1000", STOA_UNIT_PERMILLE, "100.0 %"},
        {"1500", STOA_UNIT_RATE, "1,500/s"},
        {"1795262400000001000", STOA_UNIT_TIME, "12:00:00.000001"},
        {"1795176000000000000", STOA_UNIT_TIME, "2026-11-20 12:00:00.000000"},
        {"\"12.50\"", STOA_UNIT_DECIMAL, "12.50"},
        {"null", STOA_UNIT_COUNT, "-"},
        {"[]", STOA_UNIT_TEXT, "-"},
        {"[1,\"b\"]", STOA_UNIT_TEXT, "1, b"},
        {"{\"a\":1,\"b\":[2,3]}", STOA_UNIT_TEXT, "a=1 b=2, 3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_value(state, rows[i].json, rows[i].unit, rows[i].expected);
    }
}

static void nothing_in_a_text_steers_the_terminal(void **state)
{
    assert_value(state, "\"\\u001b[2Jx\"", STOA_UNIT_TEXT, "\\u001b[2Jx");
    assert_value(state, "\"a\\nb\\tc\\u0000\\u007f\"", STOA_UNIT_TEXT, "a\\nb\\tc\\u0000\\u007f");
    assert_value(state, "\"\\u009b31m\\u202e\\u2066\\u200f\"", STOA_UNIT_TEXT, "\\u009b31m\\u202e\\u2066\\u200f");
    assert_page(state, "{\"k\\u001b\":\"v\\u0007\"}", "", "k\\u001b  v\\u0007\n");
    assert_page(state, "{\"t\":\"a\\n\\u001bb\\tc\"}", "text t", "a\n\\u001bb\tc\n");
    assert_page(state, "{\"a\":[{\"n\":\"x\\r\\ny\"}]}", "table a: n", "n\nx\\u000d\\ny\n");

    char text[64];
    stoa_buf out = STOA_BUF_FIXED(text);
    stoa_text_safe(&out, "a\xff\xc3", 3, false);
    assert_string_equal(text, "a\xef\xbf\xbd\xef\xbf\xbd");
}

static void a_view_that_cannot_be_read_shows_what_it_can(void **state)
{
    static const char *const views[] = {"\n\n", "table", "table a", "table a:", "table a: ,,", "table a: =/",
                                        "what a: n", ": :", "tree a: n,",
                                        "fields a: n", "lines a", "text a", "value a", "table a: n=/n/n=n"};
    static const stoa_style style = {.columns = 40};
    static const char document[] = "{\"a\":[{\"n\":1}]}";
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        stoa_buf out = STOA_BUF_GROWING;
        assert_int_equal(stoa_page_print(*state, document, sizeof document - 1, views[i], strlen(views[i]), &style,
                                         NOON, &out), STOA_OK);
        stoa_buf_deinit(&out);
    }
    stoa_buf out = STOA_BUF_GROWING;
    assert_int_equal(stoa_page_print(*state, "{", 1, "", 0, &style, NOON, &out), STOA_E_MALFORMED);
    stoa_buf_deinit(&out);
}

static void a_document_that_is_written_reads_as_written(void **state)
{
    stoa_buf out = STOA_BUF_GROWING;
    stoa_doc doc = stoa_doc_to(&out);
    (void)state;
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_uint(&doc, "u", UINT64_MAX);
    stoa_doc_int(&doc, "i", -5);
    stoa_doc_bool(&doc, "b", true);
    stoa_doc_null(&doc, "n");
    stoa_doc_text(&doc, "t", "a\"b\n");
    stoa_doc_text(&doc, "none", NULL);
    stoa_doc_decimal(&doc, "d", INT64_C(150000000));
    stoa_doc_open(&doc, "l", '[');
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_close(&doc, '}');
    stoa_doc_uint(&doc, NULL, 1);
    stoa_doc_json(&doc, NULL, "[2]", 3);
    stoa_doc_close(&doc, ']');
    stoa_doc_printf(&doc, "f", "%d%%", 7);
    stoa_doc_close(&doc, '}');
    assert_string_equal(out.at,
                        "{\"u\":18446744073709551615,\"i\":-5,\"b\":true,\"n\":null,\"t\":\"a\\\"b\\n\",\"none\":null,"
                                "\"d\":\"1.5\",\"l\":[{},1,[2]],\"f\":\"7%\"}");
    stoa_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_shows_the_columns_of_its_view),
        cmocka_unit_test(an_optional_column_is_left_out_where_there_is_no_room),
        cmocka_unit_test(a_tree_shows_who_is_below_whom),
        cmocka_unit_test(sections_follow_each_other_and_missing_ones_are_left_out),
        cmocka_unit_test(a_document_without_a_view_is_shown_whole),
        cmocka_unit_test(figures_come_with_their_units),
        cmocka_unit_test(nothing_in_a_text_steers_the_terminal),
        cmocka_unit_test(a_view_that_cannot_be_read_shows_what_it_can),
        cmocka_unit_test(a_document_that_is_written_reads_as_written),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
