/* evolution_test.c - goal: two neighbouring versions of a table understand each other as base/table.h says, both ways.
 * Method: random payloads of either version, seeded, are written by one and read by the other; what must come out, or
 * which error, is worked out here from the two types side by side, without the codec. Then every class against every
 * other, bytes that were recorded once, and damaged bytes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "base/wire.h"
#include "base/wire_memory.h"
#include "tests/unit/base/any_payload.h"
#include "tests/unit/base/two_versions.h"

static stoa_random chance;
static const any anything = {.random = &chance};
static uint8_t bytes[65536];
static const stoa_type *const v1_type = &v1_rows[v1_ROW_trip].payload, *const v2_type = &v2_rows[v2_ROW_trip].payload;

static size_t encode(const stoa_type *type, const void *payload)
{
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    assert_int_equal(stoa_encode(type, payload, &w), STOA_OK);
    return w.used_bytes;
}

static const uint8_t *element(const stoa_type *list, const void *at, uint32_t index)
{
    return (const uint8_t *)at + STOA_LIST_AT + (size_t)index * list->element->size_bytes;
}

static bool is_zero(const void *at, size_t size_bytes)
{
    const uint8_t *byte = at;
    for (size_t i = 0; i < size_bytes; i++) {
        if (byte[i]) { return false; }
    }
    return true;
}

/* --- what must come out */

static stoa_err expected_number(const stoa_type *to, const uint8_t *from_at, uint32_t from_bytes)
{
    uint64_t value = stoa_load_uint(from_at, from_bytes);
    if (to->cls == STOA_CLASS_UINT) {
        return value <= UINT64_MAX >> (64 - 8 * to->size_bytes) ? STOA_OK : STOA_E_RANGE;
    }
    int64_t number = stoa_sign_extend(value, from_bytes);
    return stoa_sign_extend((uint64_t)number, to->size_bytes) == number ? STOA_OK : STOA_E_RANGE;
}

/* The error that a reader with type to must give for the value of type from, in the order of the fields. */
static stoa_err expected(const stoa_type *from, const void *at, const stoa_type *to)
{
    stoa_err err = STOA_OK;
    assert_int_equal(from->cls, to->cls);
    if (to->cls == STOA_CLASS_ENUM) { return *(const uint8_t *)at < to->limit ? STOA_OK : STOA_E_INVALID; }
    if (to->cls == STOA_CLASS_TEXT) { return stoa_load_uint(at, 2) <= to->limit ? STOA_OK : STOA_E_TOO_LARGE; }
    if (to->cls == STOA_CLASS_UINT || to->cls == STOA_CLASS_INT) { return expected_number(to, at, from->size_bytes); }
    if (to->cls == STOA_CLASS_BYTES) { return stoa_load_count(from, at) <= to->limit ? STOA_OK : STOA_E_TOO_LARGE; }
    if (to->cls == STOA_CLASS_LIST) {
        uint32_t count = stoa_load_count(from, at);
        if (count > to->limit) { return STOA_E_TOO_LARGE; }
        for (uint32_t i = 0; i < count && !err; i++) {
            err = expected(from->element, element(from, at, i), to->element);
        }
        return err;
    }
    for (uint32_t i = 0; to->cls == STOA_CLASS_RECORD && i < stoa_wire_fields(to) && i < stoa_wire_fields(from) && !err;
         i++) {
        err = expected(from->fields[i].type, (const uint8_t *)at + from->fields[i].offset, to->fields[i].type);
    }
    return err;
}

/* What both know is equal, and what only the reader knows is zero. */
static void check_same(const stoa_type *from, const void *from_at, const stoa_type *to, const void *to_at)
{
    if (to->cls == STOA_CLASS_RECORD) {
        uint32_t sent = stoa_wire_fields(from);
        for (uint32_t i = 0; i < to->field_count; i++) {
            const stoa_field *field = &to->fields[i];
            const uint8_t *value = (const uint8_t *)to_at + field->offset;
            if (i < sent && field->type->cls != STOA_CLASS_NONE) {
                check_same(from->fields[i].type, (const uint8_t *)from_at + from->fields[i].offset, field->type, value);
            } else if (!is_zero(value, field->type->size_bytes)) {
                fail_msg("%s.%s is not zero", to->name, field->name);
            }
        }
    } else if (to->cls == STOA_CLASS_LIST) {
        uint32_t count = stoa_load_count(from, from_at);
        assert_int_equal(stoa_load_count(to, to_at), count);
        for (uint32_t i = 0; i < count; i++) {
            check_same(from->element, element(from, from_at, i), to->element, element(to, to_at, i));
        }
        assert_true(is_zero(element(to, to_at, count), (size_t)(to->limit - count) * to->element->size_bytes));
    } else if (to->cls == STOA_CLASS_BYTES) {
        uint32_t count = stoa_load_count(from, from_at);
        assert_int_equal(stoa_load_count(to, to_at), count);
        assert_memory_equal((const uint8_t *)from_at + STOA_LIST_AT, (const uint8_t *)to_at + STOA_LIST_AT, count);
        assert_true(is_zero((const uint8_t *)to_at + STOA_LIST_AT + count, to->limit - count));
    } else if (to->cls == STOA_CLASS_TEXT) {
        size_t from_bytes, to_bytes;
        const char *from_text = stoa_load_text(from, from_at, &from_bytes),
                   *to_text = stoa_load_text(to, to_at, &to_bytes);
        assert_int_equal(from_bytes, to_bytes);
        assert_memory_equal(from_text, to_text, to_bytes);
    } else if (to->cls == STOA_CLASS_INT) {
        assert_true(stoa_load_int(from_at, from->size_bytes) == stoa_load_int(to_at, to->size_bytes));
    } else {
        assert_true(stoa_load_uint(from_at, from->size_bytes) == stoa_load_uint(to_at, to->size_bytes));
    }
}

/* --- both directions */

typedef union either {
    v1_trip v1;
    v2_trip v2;
    v1_ping ping1;
    v2_ping ping2;
    v1_done done;
} either;

typedef struct tally {
    uint32_t understood, refused;
} tally;

static void exchange(const stoa_type *from, const stoa_type *to, bool wild, tally *t)
{
    static either sent, got;
    memset(&sent, 0, sizeof sent);
    memset(&got, 0xa5, sizeof got);
    any_payload(&anything, from, (uint8_t *)&sent, wild);
    stoa_err must = expected(from, &sent, to), err = stoa_decode(to, bytes, encode(from, &sent), &got, NULL);
    if (err != must) {
        fail_msg("%s as %s: %s, not %s", from->name, to->name, stoa_err_name(err), stoa_err_name(must));
    }
    if (err) {
        assert_non_null(strstr(stoa_err_trail(), to->name));
        t->refused++;
        return;
    }
    check_same(from, &sent, to, &got);
    t->understood++;
}

static void exchange_many(const stoa_type *from, const stoa_type *to, tally *tame, tally *wild)
{
    *tame = *wild = (tally){0};
    for (int i = 0; i < 4000; i++) {
        exchange(from, to, false, tame);
        exchange(from, to, true, wild);
    }
}

static void an_older_reader_understands_or_refuses_a_newer_writer(void **state)
{
    (void)state;
    tally tame, wild;
    exchange_many(v2_type, v1_type, &tame, &wild);
    assert_true(tame.understood > 1000);
    assert_true(wild.understood > 100 && wild.refused > 100);
}

static void a_newer_reader_understands_every_older_writer(void **state)
{
    (void)state;
    tally tame, wild;
    exchange_many(v1_type, v2_type, &tame, &wild);
    assert_int_equal(tame.refused + wild.refused, 0);
}

static void an_empty_payload_may_get_fields(void **state)
{
    (void)state;
    tally t = {0};
    for (int i = 0; i < 200; i++) {
        exchange(&v1_rows[v1_ROW_ping].payload, &v2_rows[v2_ROW_ping].payload, true, &t);
        exchange(&v2_rows[v2_ROW_ping].payload, &v1_rows[v1_ROW_ping].payload, true, &t);
        exchange(&v2_rows[v2_ROW_done].payload, &v1_rows[v1_ROW_done].payload, true, &t);
    }
    assert_int_equal(t.refused, 0);
}

/* A value that an older version passed on is, to the newer one, what the older version knows of it. */
static void what_goes_through_an_older_version_keeps_what_that_knows(void **state)
{
    (void)state;
    static v2_trip sent, back;
    static v1_trip between;
    for (int i = 0; i < 1000; i++) {
        memset(&sent, 0, sizeof sent);
        any_payload(&anything, v2_type, (uint8_t *)&sent, false);
        if (stoa_decode(v1_type, bytes, encode(v2_type, &sent), &between, NULL)) { continue; }
        assert_int_equal(stoa_decode(v2_type, bytes, encode(v1_type, &between), &back, NULL), STOA_OK);
        check_same(v1_type, &between, v2_type, &back);
        assert_memory_equal(&back.id, &sent.id, offsetof(v2_trip, first));
    }
}

/* --- a type that changed */

#define BYTES(literal) (literal), sizeof(literal) - 1

static void another_type_is_refused_where_the_bytes_show_it(void **state)
{
    (void)state;
    static const struct {
        const char *what, *bytes;
        size_t size_bytes;
        const char *readers; /* by class, in the order of types below: y understands it */
    } writers[] = {
        {"a number", BYTES("\x05"), "yy......"},
        {"a small number", BYTES("\x01"), "yyy....."},
        {"a negative number", BYTES("\xfb"), "ry......"},
        {"a decimal",
         BYTES("\xa3"
               "1.5"),
         "...yy..."},
        {"a text",
         BYTES("\xa3"
               "abc"),
         "....y..."},
        {"a list of numbers, or a record", BYTES("\x92\x01\x02"), ".....yy."},
        {"a list of lists", BYTES("\x92\x90\x90"), "........"},
        {"nothing", BYTES("\xc0"), ".......y"},
        {"bytes", BYTES("\xc4\x01\x05"), "........"},
    };
    static const stoa_type *const types[] = {
        &stoa_type_uint64_t,    &stoa_type_int64_t,    &stoa_type_v1_state, &stoa_type_stoa_decimal,
        &stoa_type_stoa_text30, &stoa_type_v1_numbers, &stoa_type_v1_leg,   &stoa_type_stoa_none,
    };
    static either got;
    for (size_t i = 0; i < STOA_COUNT_OF_(writers); i++) {
        for (size_t k = 0; k < STOA_COUNT_OF_(types); k++) {
            char reads = writers[i].readers[k];
            stoa_err must = reads == 'y' ? STOA_OK : reads == 'r' ? STOA_E_RANGE : STOA_E_INVALID;
            stoa_err err = stoa_decode(types[k], writers[i].bytes, writers[i].size_bytes, &got, NULL);
            if (err != must) { fail_msg("%s read as %s: %s", writers[i].what, types[k]->name, stoa_err_name(err)); }
        }
    }
}

/* --- bytes that were recorded once: as v1 wrote them, and as v2 did */

static const char v1_recorded[] = "\x9e\x07\xcd\x01\x00\xfb\xa4-0.5\x02\xd1\xff\x00\x03\x04\x01\x00\xa3"
                                  "AMS"
                                  "\x92\x01\x02\x92\x05\xce\xff\xff\xff\xff\x91\x92\x08\x09";
static const char v2_recorded[] = "\xdc\x00\x1a\x07\xcd\x01\x00\xfb\xa4-0.5\x02\xd1\xff\x00\x03\x04\x01\x00\xa3"
                                  "AMS"
                                  "\x94\x01\x02\xa1"
                                  "3\x91\x04\x92\x05\xce\xff\xff\xff\xff\x91\x94\x08\x09\xa1"
                                  "0\x90"
                                  "\x0b\x0c\x0d\xa1"
                                  "1\xa2hi\x94\x00\x00\xa1"
                                  "0\x90\x90\x90\x03\x01\x00\x02";
#define V1_JSON                                                                                                        \
    "{\"id\":7,\"wide\":256,\"deep\":-5,\"fare\":\"-0.5\",\"seats\":2,\"delta\":-256,\"gate\":3,\"lane\":4,"           \
    "\"state\":\"done\",\"reserved32\":0,\"code\":\"AMS\","

static void check_json(const stoa_type *type, const char *recorded, size_t size_bytes, const char *json)
{
    static either got;
    stoa_buf out = STOA_BUF_GROWING;
    if (stoa_decode(type, recorded, size_bytes, &got, NULL)) { fail_msg("%s", stoa_err_trail()); }
    stoa_print_json(type, &got, &out);
    assert_string_equal(out.at, json);
    stoa_buf_deinit(&out);
}

static void recorded_bytes_mean_the_same_for_ever_and_print_by_the_readers_table(void **state)
{
    (void)state;
    static const char as_v1[] = V1_JSON "\"first\":{\"from\":1,\"to\":2},\"numbers\":[5,4294967295],"
                                        "\"legs\":[{\"from\":8,\"to\":9}]}";
    check_json(v1_type, BYTES(v1_recorded), as_v1);
    check_json(v1_type, BYTES(v2_recorded), as_v1);
    static const char zero_leg[] = "{\"from\":0,\"to\":0,\"toll\":\"0\",\"stops\":[]}";
    char json[2048];
    (void)snprintf(json, sizeof json,
                   V1_JSON
                   "\"first\":{\"from\":1,\"to\":2,\"toll\":\"0\",\"stops\":[]},\"numbers\":[5,4294967295],"
                   "\"legs\":[{\"from\":8,\"to\":9,\"toll\":\"0\",\"stops\":[]}],\"owner\":0,\"more\":0,\"less\":0,"
                   "\"tip\":\"0\",\"note\":\"\",\"last\":%s,\"extras\":[],\"detours\":[],\"wish\":\"open\",\"rank\":0,"
                   "\"reserved16\":0,\"tail32\":0}",
                   zero_leg);
    check_json(v2_type, BYTES(v1_recorded), json);
    (void)snprintf(
        json, sizeof json,
        V1_JSON "\"first\":{\"from\":1,\"to\":2,\"toll\":\"3\",\"stops\":[4]},\"numbers\":[5,4294967295],"
                "\"legs\":[{\"from\":8,\"to\":9,\"toll\":\"0\",\"stops\":[]}],\"owner\":11,\"more\":12,\"less\":13,"
                "\"tip\":\"1\",\"note\":\"hi\",\"last\":%s,\"extras\":[],\"detours\":[],\"wish\":\"lost\",\"rank\":1,"
                "\"reserved16\":0,\"tail32\":2}",
        zero_leg);
    check_json(v2_type, BYTES(v2_recorded), json);
}

/* --- damage: a value or an error with a name, never anything else */

static void damaged_bytes_are_a_value_or_a_named_error(void **state)
{
    (void)state;
    static const stoa_err named[] = {STOA_OK,      STOA_E_MALFORMED, STOA_E_INVALID,
                                     STOA_E_RANGE, STOA_E_PRECISION, STOA_E_TOO_LARGE};
    static either sent, got;
    stoa_buf json = STOA_BUF_GROWING;
    for (int i = 0; i < 20000; i++) {
        const stoa_type *from = i % 2 ? v1_type : v2_type, *to = i % 4 < 2 ? v1_type : v2_type;
        memset(&sent, 0, sizeof sent);
        any_payload(&anything, from, (uint8_t *)&sent, true);
        size_t size = encode(from, &sent);
        for (uint64_t n = stoa_random_below(&chance, 4); n > 0; n--) {
            bytes[stoa_random_below(&chance, size)] = (uint8_t)stoa_random_next(&chance);
        }
        if (stoa_random_chance(&chance, 200)) { size = stoa_random_below(&chance, size + 1); }
        stoa_err err = stoa_decode(to, bytes, size, &got, NULL);
        bool has_name = false;
        for (size_t k = 0; k < STOA_COUNT_OF_(named); k++) {
            has_name = has_name || err == named[k];
        }
        assert_true(has_name);
        if (!err) { stoa_print_json(to, &got, &json); }
        stoa_buf_clear(&json);
    }
    stoa_buf_deinit(&json);
}

static int seed(void **state)
{
    (void)state;
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("STOA_TEST_SEED=%" PRIu64 "\n", seed);
    stoa_random_seed(&chance, seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_reader_understands_or_refuses_a_newer_writer),
        cmocka_unit_test(a_newer_reader_understands_every_older_writer),
        cmocka_unit_test(an_empty_payload_may_get_fields),
        cmocka_unit_test(what_goes_through_an_older_version_keeps_what_that_knows),
        cmocka_unit_test(another_type_is_refused_where_the_bytes_show_it),
        cmocka_unit_test(recorded_bytes_mean_the_same_for_ever_and_print_by_the_readers_table),
        cmocka_unit_test(damaged_bytes_are_a_value_or_a_named_error),
    };
    return cmocka_run_group_tests(tests, seed, NULL);
}
