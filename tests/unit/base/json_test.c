/* json_test.c - goal: venue messages are read exactly, and whatever is wrong with them has a name. Method:
 * made-up messages in the shape venues send, then every wrong type, number and byte.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_BYTES = 1 << 20 };

static const char depth[] =
    "{\"stream\":\"abcxyz@depth@100ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1700000000123,\"s\":\"ABCXYZ\","
    "\"U\":90071992547409931,\"u\":90071992547409937,"
    "\"b\":[[\"101.25000000\",\"0.00000000\"],[\"101.24000000\",\"92233720368.54775807\"]],\"a\":[]}}";
static const char trade[] =
    "{\"stream\":\"abcxyz@trade\",\"data\":{\"e\":\"trade\",\"E\":1700000000223,\"s\":\"ABCXYZ\","
    "\"t\":42,\"p\":\"101.26000000\",\"q\":\"0.00000001\",\"T\":1700000000222,\"m\":true,"
    "\"M\":false}}";
static const char snapshot[] =
    "{ \"lastUpdateId\": 90071992547409930,\n  \"bids\": [ [ \"101.20\", \"3\" ] ],\n"
    "  \"asks\": [ [ \"101.30\", \"4\" ], [ \"101.40\", \"5.5\" ] ] }";
static const char answer[] = "{\"result\":null,\"id\":7}";

static int parser_setup(void **state)
{
    stoa_json_parser *parser = NULL;
    stoa_err err = stoa_json_parser_new(LIMIT_BYTES, &parser);
    *state = parser;
    return err == STOA_OK ? 0 : -1;
}

static int parser_teardown(void **state)
{
    stoa_json_parser_free(*state);
    return 0;
}

static stoa_json parse(void **state, const char *text)
{
    stoa_json root = {0};
    assert_int_equal(stoa_json_parse(*state, text, strlen(text), &root), STOA_OK);
    return root;
}

static stoa_json get(stoa_json object, const char *key)
{
    stoa_json value = {0};
    assert_int_equal(stoa_json_get(object, key, &value), STOA_OK);
    return value;
}

static void assert_text(stoa_json value, const char *want)
{
    const char *text = NULL;
    size_t size_bytes = 0;
    assert_int_equal(stoa_json_text(value, &text, &size_bytes), STOA_OK);
    assert_int_equal(size_bytes, strlen(want));
    assert_memory_equal(text, want, size_bytes);
}

typedef struct level {
    stoa_decimal price, qty;
} level;

/* Read [["price","qty"],...] as a book does. */
static stoa_err read_levels(stoa_json array, level *levels, unsigned levels_max, unsigned *count_out)
{
    stoa_json_iter row, cell;
    unsigned count = 0;
    stoa_err err = stoa_json_first(array, &row);
    for (; !err && row.more; stoa_json_next(&row)) {
        if (count == levels_max) { return STOA_E_TOO_LARGE; }
        err = stoa_json_first(row.value, &cell);
        if (err || !cell.more) { return err ? err : STOA_E_MALFORMED; }
        err = stoa_json_decimal(cell.value, &levels[count].price);
        stoa_json_next(&cell);
        if (err || !cell.more) { return err ? err : STOA_E_MALFORMED; }
        err = stoa_json_decimal(cell.value, &levels[count++].qty);
    }
    *count_out = count;
    return err;
}

static void a_depth_message_is_read_exactly(void **state)
{
    level levels[4];
    unsigned count = 99;
    int64_t first = 0;
    uint64_t last = 0;
    stoa_json root = parse(state, depth), data = get(root, "data");
    assert_true(stoa_json_is_object(root) && stoa_json_is_object(data));
    assert_text(get(root, "stream"), "abcxyz@depth@100ms");
    assert_text(get(data, "e"), "depthUpdate");
    assert_int_equal(stoa_json_int(get(data, "U"), &first), STOA_OK);
    assert_int_equal(stoa_json_uint(get(data, "u"), &last), STOA_OK);
    assert_true(first == INT64_C(90071992547409931)); /* a double would make it ...928 */
    assert_true(last == UINT64_C(90071992547409937));
    assert_int_equal(read_levels(get(data, "b"), levels, 4, &count), STOA_OK);
    assert_int_equal(count, 2);
    assert_true(levels[0].price == INT64_C(10125000000) && levels[0].qty == 0);
    assert_true(levels[1].price == INT64_C(10124000000) && levels[1].qty == INT64_MAX);
    assert_int_equal(read_levels(get(data, "a"), levels, 4, &count), STOA_OK);
    assert_int_equal(count, 0);
}

static void a_trade_a_snapshot_and_an_answer_are_read(void **state)
{
    bool maker = false, other = true;
    stoa_decimal qty = 0;
    stoa_json data = get(parse(state, trade), "data");
    assert_int_equal(stoa_json_bool(get(data, "m"), &maker), STOA_OK);
    assert_int_equal(stoa_json_bool(get(data, "M"), &other), STOA_OK);
    assert_true(maker && !other);
    assert_int_equal(stoa_json_decimal(get(data, "q"), &qty), STOA_OK);
    assert_true(qty == 1);

    level levels[4];
    unsigned count = 0;
    assert_int_equal(read_levels(get(parse(state, snapshot), "asks"), levels, 4, &count), STOA_OK);
    assert_int_equal(count, 2);
    assert_true(levels[1].price == INT64_C(10140000000) && levels[1].qty == INT64_C(550000000));

    stoa_json result = get(parse(state, answer), "result");
    assert_true(stoa_json_is_null(result));
    assert_false(stoa_json_is_null(get(parse(state, answer), "id")));
}

static void a_parser_is_used_again_for_documents_of_every_size(void **state)
{
    enum { SIZES = 18 };
    for (unsigned round = 0; round < 2 * SIZES; round++) {
        size_t items = (size_t)1 << (round < SIZES ? round : 2 * SIZES - 1 - round);
        char *text = malloc(2 * items + 2), *at = text;
        assert_non_null(text);
        *at++ = '[';
        for (size_t i = 0; i < items; i++) {
            *at++ = (char)('0' + i % 10);
            *at++ = i + 1 < items ? ',' : ']';
        }
        stoa_json root = {0};
        assert_int_equal(stoa_json_parse(*state, text, (size_t)(at - text), &root), STOA_OK);
        free(text); /* the parser has its copy */
        stoa_json_iter it;
        size_t seen = 0;
        stoa_err err = STOA_OK;
        for (err = stoa_json_first(root, &it); !err && it.more; stoa_json_next(&it), seen++) {
            int64_t digit = -1;
            assert_int_equal(stoa_json_int(it.value, &digit), STOA_OK);
            assert_int_equal(digit, seen % 10);
        }
        assert_int_equal(err, STOA_OK);
        assert_int_equal(seen, items);
    }
}

static void an_array_of_mixed_values_is_walked_in_order(void **state)
{
    static const char *const types = "antobsuia";
    stoa_json_iter it;
    size_t seen = 0;
    stoa_json root = parse(
        state, "[[1,[2]],null,\"t\",{\"k\":{\"k\":[]}},true,-1,18446744073709551615,9223372036854775807,[]]");
    assert_int_equal(stoa_json_first(root, &it), STOA_OK);
    for (; it.more; stoa_json_next(&it), seen++) {
        int64_t i = 0;
        uint64_t u = 0;
        bool b = false;
        char type = types[seen];
        assert_int_equal(stoa_json_is_array(it.value), type == 'a');
        assert_int_equal(stoa_json_is_null(it.value), type == 'n');
        assert_int_equal(stoa_json_is_text(it.value), type == 't');
        assert_int_equal(stoa_json_is_object(it.value), type == 'o');
        assert_int_equal(stoa_json_bool(it.value, &b), type == 'b' ? STOA_OK : STOA_E_INVALID);
        stoa_err want_int = type == 's' || type == 'i' ? STOA_OK
                            : type == 'u'              ? STOA_E_RANGE
                                                       : STOA_E_INVALID;
        stoa_err want_uint = type == 'u' || type == 'i' ? STOA_OK
                             : type == 's'              ? STOA_E_RANGE
                                                        : STOA_E_INVALID;
        assert_int_equal(stoa_json_int(it.value, &i), want_int);
        assert_int_equal(stoa_json_uint(it.value, &u), want_uint);
    }
    assert_int_equal(seen, strlen(types));
}

static void an_object_is_walked_in_the_order_of_the_document(void **state)
{
    static const char *const keys[] = {"z", "a\"b", "", "z"};
    stoa_json_members it;
    size_t seen = 0;
    stoa_json root = parse(state, "{\"z\":{\"x\":[1,2]},\"a\\u0022b\":\"t\",\"\":2,\"z\":3}");
    assert_int_equal(stoa_json_first_member(root, &it), STOA_OK);
    for (; it.more; stoa_json_next_member(&it), seen++) {
        assert_string_equal(it.key, keys[seen]);
        assert_int_equal(it.key_bytes, strlen(keys[seen]));
        assert_int_equal(stoa_json_is_object(it.value), seen == 0);
    }
    assert_int_equal(seen, sizeof keys / sizeof keys[0]);
    assert_int_equal(stoa_json_first_member(parse(state, "{}"), &it), STOA_OK);
    assert_false(it.more);
    it.more = true;
    assert_int_equal(stoa_json_first_member(parse(state, "[{}]"), &it), STOA_E_INVALID);
    assert_true(it.more);
}

static void a_wrong_type_is_invalid_and_leaves_the_output(void **state)
{
    stoa_json root = parse(state, "{\"n\":1.5,\"t\":\"x\",\"p\":\"1.000000001\",\"big\":\"1e3\",\"i\":5}");
    stoa_json value = {0};
    stoa_json_iter it = {.more = true};
    int64_t i = 77;
    uint64_t u = 77;
    bool b = true;
    stoa_decimal d = 77;
    const char *text = "before";
    size_t size_bytes = 77;
    assert_int_equal(stoa_json_int(get(root, "n"), &i), STOA_E_INVALID);
    assert_int_equal(stoa_json_uint(get(root, "n"), &u), STOA_E_INVALID);
    assert_int_equal(stoa_json_decimal(get(root, "n"), &d), STOA_E_INVALID);
    assert_int_equal(stoa_json_decimal(get(root, "i"), &d), STOA_E_INVALID);
    assert_int_equal(stoa_json_decimal(get(root, "t"), &d), STOA_E_MALFORMED);
    assert_int_equal(stoa_json_decimal(get(root, "big"), &d), STOA_E_MALFORMED);
    assert_int_equal(stoa_json_decimal(get(root, "p"), &d), STOA_E_PRECISION);
    assert_int_equal(stoa_json_bool(get(root, "i"), &b), STOA_E_INVALID);
    assert_int_equal(stoa_json_text(get(root, "i"), &text, &size_bytes), STOA_E_INVALID);
    assert_int_equal(stoa_json_first(root, &it), STOA_E_INVALID);
    assert_int_equal(stoa_json_get(root, "absent", &value), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_json_get(get(root, "i"), "k", &value), STOA_E_INVALID);
    assert_int_equal(stoa_json_get(parse(state, "[]"), "k", &value), STOA_E_INVALID);
    assert_true(i == 77 && u == 77 && b && d == 77 && size_bytes == 77 && it.more && !value.document);
    assert_string_equal(text, "before");
}

static void escapes_and_nuls_in_texts_and_keys_are_undone(void **state)
{
    const char *text = NULL;
    size_t size_bytes = 0;
    stoa_json root = parse(state, "{\"a\\\"b\":\"x\\u0000y\\n\\ud83d\\ude00\",\"a\\\"b\":2,\"\":3}");
    assert_int_equal(stoa_json_text(get(root, "a\"b"), &text, &size_bytes), STOA_OK);
    assert_int_equal(size_bytes, 8);
    assert_memory_equal(text, "x\0y\n\xf0\x9f\x98\x80", 8);
    int64_t i = 0;
    assert_int_equal(stoa_json_int(get(root, ""), &i), STOA_OK);
    assert_int_equal(i, 3);
}

static void malformed_documents_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "[1 2]",
        "nul",
        "tru",
        "01",
        "-",
        "1.",
        "+1",
        ".5",
        "\"",
        "\"\\q\"",
        "\"\\ud800\"",
        "\"\n\"",
        "[1]x",
        "[1][2]",
        "\"\xff\"",
        "\"\xed\xa0\x80\"",
        "1e999",
        "18446744073709551616",
        "-9223372036854775809",
        "[1,/*c*/2]",
        "'a'",
        "NaN",
    };
    stoa_json untouched = {0};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stoa_err err = stoa_json_parse(*state, bad[i], strlen(bad[i]), &untouched);
        if (err != STOA_E_MALFORMED) { fail_msg("%s for: %s", stoa_err_name(err), bad[i]); }
        assert_null(untouched.document);
    }
    for (size_t cut = 0; cut < sizeof depth - 1; cut++) {
        assert_int_equal(stoa_json_parse(*state, depth, cut, &untouched), STOA_E_MALFORMED);
    }
    (void)parse(state, depth); /* and the parser still works */
}

static void nesting_is_bounded(void **state)
{
    char text[4096];
    stoa_json root = {0};
    memset(text, '[', 2048);
    memset(text + 2048, ']', 2048);
    assert_int_equal(stoa_json_parse(*state, text, sizeof text, &root), STOA_E_MALFORMED);
    assert_int_equal(stoa_json_parse(*state, text + 2048 - 1000, 2000, &root), STOA_OK);
}

static void a_document_over_the_limit_is_refused(void **state)
{
    (void)state;
    stoa_json_parser *parser = NULL;
    stoa_json root = {0};
    assert_int_equal(stoa_json_parser_new(0, &parser), STOA_E_INVALID);
    assert_int_equal(stoa_json_parser_new(SIZE_MAX, &parser), STOA_E_INVALID);
    assert_null(parser);
    assert_int_equal(stoa_json_parser_new(5, &parser), STOA_OK);
    assert_int_equal(stoa_json_parse(parser, "[1,2]", 5, &root), STOA_OK);
    assert_int_equal(stoa_json_parse(parser, "[1,2] ", 6, &root), STOA_E_TOO_LARGE);
    stoa_json_parser_free(parser);
    stoa_json_parser_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_depth_message_is_read_exactly, parser_setup, parser_teardown),
        cmocka_unit_test_setup_teardown(a_trade_a_snapshot_and_an_answer_are_read, parser_setup,
                                        parser_teardown),
        cmocka_unit_test_setup_teardown(a_parser_is_used_again_for_documents_of_every_size, parser_setup,
                                        parser_teardown),
        cmocka_unit_test_setup_teardown(an_object_is_walked_in_the_order_of_the_document, parser_setup,
                                        parser_teardown),
        cmocka_unit_test_setup_teardown(an_array_of_mixed_values_is_walked_in_order, parser_setup,
                                        parser_teardown),
        cmocka_unit_test_setup_teardown(a_wrong_type_is_invalid_and_leaves_the_output, parser_setup,
                                        parser_teardown),
        cmocka_unit_test_setup_teardown(escapes_and_nuls_in_texts_and_keys_are_undone, parser_setup,
                                        parser_teardown),
        cmocka_unit_test_setup_teardown(malformed_documents_are_refused, parser_setup, parser_teardown),
        cmocka_unit_test_setup_teardown(nesting_is_bounded, parser_setup, parser_teardown),
        cmocka_unit_test(a_document_over_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
