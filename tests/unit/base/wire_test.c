/* wire_test.c - the codec: bytes against the msgpack specification, values at their limits, every refusal by
 * its name.
 *
 * Bytes are written by hand from the specification, not by the code under test. Random payloads come from the
 * seed that is printed; STOA_TEST_SEED repeats a run.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "base/wire.h"
#include "tests/unit/base/every_class.h"

enum { UNTOUCHED = 4242 };

/* Bytes of a string literal, NULs included. */
#define BYTES(literal) (literal), sizeof(literal) - 1

/* --- tokens */

static stoa_token tokens[64];

static uint32_t tokenize(const char *bytes, size_t size_bytes)
{
    uint32_t count = 0;
    assert_int_equal(stoa_tokenize(bytes, size_bytes, tokens, 64, &count, NULL), STOA_OK);
    return count;
}

static void check_number(const char *bytes, size_t size_bytes, stoa_token_class cls, uint64_t bits)
{
    assert_int_equal(tokenize(bytes, size_bytes), 1);
    assert_int_equal(tokens[0].cls, cls);
    assert_int_equal(tokens[0].as.u, bits);
    assert_int_equal(tokens[0].next, 1);
}

static void every_form_of_a_number_is_read(void **state)
{
    (void)state;
    check_number(BYTES("\x00"), STOA_TOKEN_UINT, 0);
    check_number(BYTES("\x7f"), STOA_TOKEN_UINT, 127);
    check_number(BYTES("\xcc\xff"), STOA_TOKEN_UINT, 255);
    check_number(BYTES("\xcd\x01\x02"), STOA_TOKEN_UINT, 0x0102);
    check_number(BYTES("\xce\x01\x02\x03\x04"), STOA_TOKEN_UINT, 0x01020304);
    check_number(BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), STOA_TOKEN_UINT, UINT64_MAX);
    check_number(BYTES("\xe0"), STOA_TOKEN_INT, (uint64_t)-32);
    check_number(BYTES("\xff"), STOA_TOKEN_INT, (uint64_t)-1);
    check_number(BYTES("\xd0\x80"), STOA_TOKEN_INT, (uint64_t)-128);
    check_number(BYTES("\xd1\x80\x00"), STOA_TOKEN_INT, (uint64_t)INT16_MIN);
    check_number(BYTES("\xd2\x80\x00\x00\x00"), STOA_TOKEN_INT, (uint64_t)INT32_MIN);
    check_number(BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), STOA_TOKEN_INT, (uint64_t)INT64_MIN);
    /* longer than needed, and positive in a signed form: numbers all the same */
    check_number(BYTES("\xcf\x00\x00\x00\x00\x00\x00\x00\x05"), STOA_TOKEN_UINT, 5);
    check_number(BYTES("\xd0\x05"), STOA_TOKEN_UINT, 5);
    check_number(BYTES("\xd3\x00\x00\x00\x00\x00\x00\x00\x00"), STOA_TOKEN_UINT, 0);
    check_number(BYTES("\xd1\xff\xff"), STOA_TOKEN_INT, (uint64_t)-1);
    check_number(BYTES("\xc2"), STOA_TOKEN_UINT, 0);
    check_number(BYTES("\xc3"), STOA_TOKEN_UINT, 1);
    check_number(BYTES("\xc0"), STOA_TOKEN_NIL, 0);
}

static void check_bytes(const char *bytes, size_t size_bytes, stoa_token_class cls, size_t head_bytes)
{
    assert_int_equal(tokenize(bytes, size_bytes), 1);
    assert_int_equal(tokens[0].cls, cls);
    assert_int_equal(tokens[0].size, size_bytes - head_bytes);
    assert_ptr_equal(tokens[0].size ? tokens[0].as.bytes : bytes + head_bytes, bytes + head_bytes);
}

static void every_form_of_text_and_bytes_is_read_in_place(void **state)
{
    (void)state;
    check_bytes(BYTES("\xa0"), STOA_TOKEN_TEXT, 1);
    check_bytes(BYTES("\xa3"
                      "abc"),
                STOA_TOKEN_TEXT, 1);
    check_bytes(BYTES("\xd9\x00"), STOA_TOKEN_TEXT, 2);
    check_bytes(BYTES("\xd9\x03"
                      "abc"),
                STOA_TOKEN_TEXT, 2);
    check_bytes(BYTES("\xda\x00\x03"
                      "abc"),
                STOA_TOKEN_TEXT, 3);
    check_bytes(BYTES("\xdb\x00\x00\x00\x03"
                      "abc"),
                STOA_TOKEN_TEXT, 5);
    check_bytes(BYTES("\xc4\x00"), STOA_TOKEN_BYTES, 2);
    check_bytes(BYTES("\xc4\x03"
                      "a\0c"),
                STOA_TOKEN_BYTES, 2);
    check_bytes(BYTES("\xc5\x00\x03"
                      "abc"),
                STOA_TOKEN_BYTES, 3);
    check_bytes(BYTES("\xc6\x00\x00\x00\x03"
                      "abc"),
                STOA_TOKEN_BYTES, 5);
}

/* [1, [2, [], [3, 4]], [], 5]: an array's next is the token behind all that is in it. */
static void next_leads_behind_nested_arrays(void **state)
{
    (void)state;
    static const uint32_t next[] = {10, 2, 8, 4, 5, 8, 7, 8, 9, 10};
    static const uint32_t size[] = {4, 0, 3, 0, 0, 2, 0, 0, 0, 0};
    assert_int_equal(tokenize(BYTES("\x94\x01\x93\x02\x90\x92\x03\x04\x90\x05")), 10);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(tokens[i].next, next[i]);
        assert_int_equal(tokens[i].size, size[i]);
    }
    assert_int_equal(tokenize(BYTES("\xdc\x00\x02\x01\xdd\x00\x00\x00\x02\x02\x03")), 5);
    assert_int_equal(tokens[0].next, 5);
    assert_int_equal(tokens[2].next, 5);
    assert_int_equal(tokenize(BYTES("\x90")), 1);
    assert_int_equal(tokens[0].next, 1);
}

static void refuse_tokens(const char *bytes, size_t size_bytes, uint32_t tokens_max, stoa_err err)
{
    uint32_t count = UNTOUCHED;
    size_t used_bytes = UNTOUCHED;
    assert_int_equal(stoa_tokenize(bytes, size_bytes, tokens, tokens_max, &count, &used_bytes), err);
    assert_int_equal(stoa_tokenize(bytes, size_bytes, tokens, tokens_max, &count, NULL), err);
    assert_int_equal(count, UNTOUCHED);
    assert_int_equal(used_bytes, UNTOUCHED);
}

static void what_we_do_not_speak_is_malformed(void **state)
{
    (void)state;
    refuse_tokens(BYTES(""), 64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xc1"), 64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xca\x3f\x80\x00\x00"), 64, STOA_E_MALFORMED);                 /* 1.0f */
    refuse_tokens(BYTES("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"), 64, STOA_E_MALFORMED); /* 1.0 */
    refuse_tokens(BYTES("\x80"), 64, STOA_E_MALFORMED);                                 /* {} */
    refuse_tokens(BYTES("\x81\x01\x02"), 64, STOA_E_MALFORMED);                         /* {1: 2} */
    refuse_tokens(BYTES("\xde\x00\x01\x01\x02"), 64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xdf\x00\x00\x00\x01\x01\x02"), 64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xd4\x01\x02"), 64, STOA_E_MALFORMED); /* fixext 1 */
    refuse_tokens(BYTES("\xd6\xff\x00\x00\x00\x00"), 64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xd8\x01"
                        "0123456789abcdef"),
                  64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xc7\x01\x05x"), 64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xc9\xff\xff\xff\xff\x05x"), 64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\x92\x01\xc1"), 64, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xdb\xff\xff\xff\xff"
                        "abc"),
                  64, STOA_E_MALFORMED);
}

static void every_cut_is_malformed(void **state)
{
    (void)state;
    static const char whole[] = "\x95\xcd\x01\x02\xd9\x03"
                                "abc\xdc\x00\x02\x01\x02\xc4\x02xy\xd3\x80\x00\x00\x00\x00\x00\x00\x00";
    assert_int_equal(tokenize(BYTES(whole)), 8);
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        char *copy = malloc(size + 1); /* so that the sanitizer sees a read behind the cut */
        memcpy(copy, whole, size);
        copy = realloc(copy, size ? size : 1);
        refuse_tokens(copy, size, 64, STOA_E_MALFORMED);
        free(copy);
    }
}

static void arrays_nest_sixteen_deep(void **state)
{
    (void)state;
    char nested[64];
    memset(nested, '\x91', sizeof nested);
    nested[15] = '\x90';
    assert_int_equal(tokenize(nested, 16), 16);
    nested[15] = '\x91';
    nested[16] = '\x01';
    assert_int_equal(tokenize(nested, 17), 17);
    assert_int_equal(tokens[15].next, 17);
    nested[16] = '\x90';
    refuse_tokens(nested, 17, 64, STOA_E_MALFORMED);
}

static void too_many_tokens_are_too_large(void **state)
{
    (void)state;
    uint32_t count;
    assert_int_equal(stoa_tokenize("\x93\x01\x02\x03", 4, tokens, 4, &count, NULL), STOA_OK);
    refuse_tokens(BYTES("\x93\x01\x02\x03"), 3, STOA_E_TOO_LARGE);
    refuse_tokens(BYTES("\x01"), 0, STOA_E_TOO_LARGE);
    /* a count that cannot be true is seen before any element: not TOO_LARGE */
    refuse_tokens(BYTES("\xdc\x00\x08\x01\x02\x03\x04\x05\x06\x07"), 3, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\xdd\xff\xff\xff\xff\x01\x02\x03\x04\x05\x06\x07"), 3, STOA_E_MALFORMED);
    refuse_tokens(BYTES("\x92\x01\x9f\x01\x01\x01"), 3, STOA_E_MALFORMED);
}

static void values_follow_one_another(void **state)
{
    (void)state;
    uint32_t count;
    size_t used_bytes;
    assert_int_equal(stoa_tokenize("\x92\x01\x02\xc0", 4, tokens, 64, &count, &used_bytes), STOA_OK);
    assert_int_equal(count, 3);
    assert_int_equal(used_bytes, 3);
    count = UNTOUCHED;
    assert_int_equal(stoa_tokenize("\x92\x01\x02\xc0", 4, tokens, 64, &count, NULL), STOA_E_MALFORMED);
    assert_int_equal(count, UNTOUCHED);
}

/* --- the writer */

static uint8_t storage[8192];
#define WRITER(bytes) ((stoa_writer){.at = storage, .cap_bytes = (bytes)})

static void check_written(const stoa_writer *w, const char *bytes, size_t size_bytes)
{
    assert_false(w->cut);
    assert_int_equal(w->used_bytes, size_bytes);
    assert_memory_equal(w->at, bytes, size_bytes);
}

static void check_int(int64_t value, const char *bytes, size_t size_bytes)
{
    stoa_writer w = WRITER(sizeof storage);
    stoa_write_int(&w, value);
    check_written(&w, bytes, size_bytes);
    if (value < 0) { return; }
    w.used_bytes = 0;
    stoa_write_uint(&w, (uint64_t)value);
    check_written(&w, bytes, size_bytes);
}

static void numbers_take_their_shortest_form(void **state)
{
    (void)state;
    check_int(0, BYTES("\x00"));
    check_int(127, BYTES("\x7f"));
    check_int(128, BYTES("\xcc\x80"));
    check_int(255, BYTES("\xcc\xff"));
    check_int(256, BYTES("\xcd\x01\x00"));
    check_int(65535, BYTES("\xcd\xff\xff"));
    check_int(65536, BYTES("\xce\x00\x01\x00\x00"));
    check_int(UINT32_MAX, BYTES("\xce\xff\xff\xff\xff"));
    check_int(INT64_C(1) << 32, BYTES("\xcf\x00\x00\x00\x01\x00\x00\x00\x00"));
    check_int(INT64_MAX, BYTES("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"));
    check_int(-1, BYTES("\xff"));
    check_int(-32, BYTES("\xe0"));
    check_int(-33, BYTES("\xd0\xdf"));
    check_int(-128, BYTES("\xd0\x80"));
    check_int(-129, BYTES("\xd1\xff\x7f"));
    check_int(INT16_MIN, BYTES("\xd1\x80\x00"));
    check_int(INT16_MIN - 1, BYTES("\xd2\xff\xff\x7f\xff"));
    check_int(INT32_MIN, BYTES("\xd2\x80\x00\x00\x00"));
    check_int(INT64_C(-2147483649), BYTES("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"));
    check_int(INT64_MIN, BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"));
}

/* What write puts first for a value of size: head, whose length write checks itself. */
static void check_head(void (*write)(stoa_writer *w, size_t size), size_t size, const char *bytes,
                       size_t size_bytes)
{
    stoa_writer w = {.at = storage, .cap_bytes = sizeof storage};
    write(&w, size);
    w.used_bytes = size_bytes;
    check_written(&w, bytes, size_bytes);
}

static char filler[8000];
static void write_text(stoa_writer *w, size_t size)
{
    stoa_write_text(w, filler, size);
    assert_int_equal(w->used_bytes, size + (size < 32 ? 1 : size < 256 ? 2 : 3));
}
static void write_bytes(stoa_writer *w, size_t size)
{
    stoa_write_bytes(w, filler, size);
    assert_int_equal(w->used_bytes, size + (size < 256 ? 2 : 3));
}
static void write_array(stoa_writer *w, size_t size)
{
    stoa_write_array(w, (uint32_t)size);
    assert_int_equal(w->used_bytes, size < 16 ? 1 : size < 65536 ? 3 : 5);
}

static void heads_carry_their_size(void **state)
{
    (void)state;
    memset(filler, 'f', sizeof filler);
    check_head(write_text, 0, BYTES("\xa0"));
    check_head(write_text, 31,
               BYTES("\xbf"
                     "f"));
    check_head(write_text, 32,
               BYTES("\xd9\x20"
                     "f"));
    check_head(write_text, 255,
               BYTES("\xd9\xff"
                     "f"));
    check_head(write_text, 256,
               BYTES("\xda\x01\x00"
                     "f"));
    check_head(write_bytes, 0, BYTES("\xc4\x00"));
    check_head(write_bytes, 255,
               BYTES("\xc4\xff"
                     "f"));
    check_head(write_bytes, 256,
               BYTES("\xc5\x01\x00"
                     "f"));
    check_head(write_array, 0, BYTES("\x90"));
    check_head(write_array, 15, BYTES("\x9f"));
    check_head(write_array, 16, BYTES("\xdc\x00\x10"));
    check_head(write_array, 65536, BYTES("\xdd\x00\x01\x00\x00"));
    stoa_writer w = WRITER(8);
    stoa_write_nil(&w);
    stoa_write_raw(&w, "\x92\x01\x02", 3);
    stoa_write_raw(&w, NULL, 0);
    check_written(&w, BYTES("\xc0\x92\x01\x02"));
}

static void a_full_writer_drops_and_says_so(void **state)
{
    (void)state;
    storage[4] = 0xee;
    stoa_writer w = WRITER(4);
    stoa_write_uint(&w, 1);
    stoa_write_uint(&w, UINT32_MAX); /* five bytes, three left */
    assert_true(w.cut);
    assert_int_equal(w.used_bytes, 1);
    w = WRITER(4);
    stoa_write_text(&w, "abc", 3);
    assert_false(w.cut);
    stoa_write_nil(&w);
    assert_true(w.cut);
    assert_int_equal(w.used_bytes, 4);
    assert_int_equal(storage[4], 0xee);
}

/* --- payloads */

static const stoa_type *const all_type = &sample_rows[sample_ROW_all].payload;

/* Encode, decode, and compare bytes: in memory, and encoded again. */
static size_t check_round_trip(const stoa_type *type, const void *payload, void *back)
{
    static uint8_t again[sizeof storage];
    stoa_writer w = WRITER(sizeof storage), w2 = {.at = again, .cap_bytes = sizeof again};
    memset(back, 0xa5, type->size_bytes);
    assert_int_equal(stoa_encode(type, payload, &w), STOA_OK);
    stoa_err err = stoa_decode(type, storage, w.used_bytes, back, NULL);
    if (err) { fail_msg("%s", stoa_err_trail()); }
    assert_memory_equal(back, payload, type->size_bytes);
    assert_int_equal(stoa_encode(type, back, &w2), STOA_OK);
    assert_int_equal(w2.used_bytes, w.used_bytes);
    assert_memory_equal(again, storage, w.used_bytes);
    return w.used_bytes;
}

static void a_table_knows_its_rows(void **state)
{
    (void)state;
    assert_int_equal(sample_table.row_count, 6);
    for (uint32_t id = 1; id <= sample_table.row_count; id++) {
        assert_int_equal(sample_table.rows[id].id, id);
        assert_string_equal(sample_table.rows[id].kind, "sample");
    }
    assert_ptr_equal(sample_rows[sample_ROW_all].reply, &sample_rows[sample_ROW_done]);
    assert_null(sample_rows[sample_ROW_ping].reply);
    assert_int_equal(sample_rows[sample_ROW_moved].cls, STOA_ROW_EVENT);
    assert_string_equal(all_type->name, "sample.all");
    assert_int_equal(all_type->size_bytes, sizeof(sample_all));
    assert_int_equal(all_type->field_count, 15);
}

static void a_payload_is_an_array_of_its_fields(void **state)
{
    (void)state;
    sample_all all = {.id = 1, .i64 = -1, .price = -STOA_DECIMAL_ONE / 2, .u16 = 300, .colour = colour_BLUE};
    all.code = (stoa_text6)stoa_text("EUR");
    all.origin.y = STOA_DECIMAL_ONE;
    all.numbers = (numbers){.count = 2, .at = {7, 8}};
    all.lines.count = 1;
    all.lines.at[0].points = (points){.count = 1, .at = {{3, 0}}};
    stoa_writer w = WRITER(sizeof storage);
    assert_int_equal(stoa_encode(all_type, &all, &w), STOA_OK);
    check_written(&w, BYTES("\x9f\x01\x00\xff\xa4-0.5\x00\x00\x00\xcd\x01\x2c\x00\x02\xa3"
                            "EUR\xa0\x92\x00\xa1"
                            "1"
                            "\x92\x07\x08\x91\x93\x00\xa0\x91\x92\x03\xa1"
                            "0"));
    sample_all back;
    check_round_trip(all_type, &all, &back);
}

static void every_class_round_trips_at_its_limits(void **state)
{
    (void)state;
    static sample_all all, back;
    check_round_trip(all_type, &all, &back);

    all = (sample_all){
        .id = UINT64_MAX, .u64 = UINT64_MAX, .i64 = INT64_MAX, .price = INT64_MAX, .u32 = UINT32_MAX};
    all.i32 = INT32_MAX, all.more = 1, all.u16 = UINT16_MAX, all.u8 = UINT8_MAX,
    all.colour = colour_COUNT - 1;
    assert_int_equal(STOA_TEXT_SETZ(&all.code, "123456"), STOA_OK);
    assert_int_equal(STOA_TEXT_SET(&all.note, filler, 254), STOA_OK);
    all.origin = (point){INT64_MIN, INT64_MIN};
    all.numbers.count = 20;
    memset(all.numbers.at, 0xff, sizeof all.numbers.at);
    all.lines.count = 3;
    for (int i = 0; i < 3; i++) {
        all.lines.at[i].points.count = 5;
        all.lines.at[i].points.at[4] = (point){-33, -1};
    }
    check_round_trip(all_type, &all, &back);

    all.i64 = INT64_MIN, all.i32 = INT32_MIN, all.price = INT64_MIN;
    check_round_trip(all_type, &all, &back);
}

static void an_empty_payload_is_an_empty_array(void **state)
{
    (void)state;
    sample_ping ping = {0}, back;
    assert_int_equal(check_round_trip(&sample_rows[sample_ROW_ping].payload, &ping, &back), 1);
    assert_int_equal(storage[0], 0x90);
    /* one day it may carry something */
    assert_int_equal(stoa_decode(&sample_rows[sample_ROW_ping].payload, "\x92\x01\x91\x02", 4, &back, NULL),
                     STOA_OK);
    assert_int_equal(back.none.nothing, 0);
    assert_int_equal(check_round_trip(&stoa_type_stoa_none, &ping.none, &back), 1);
    assert_int_equal(storage[0], 0xc0);
}

static void encoding_into_too_little_room_is_too_large(void **state)
{
    (void)state;
    static sample_all all, back;
    all.colour = colour_GREEN;
    all.numbers.count = 20;
    size_t whole = check_round_trip(all_type, &all, &back);
    for (size_t cap = 0; cap < whole; cap++) {
        stoa_writer w = WRITER(cap);
        assert_int_equal(stoa_encode(all_type, &all, &w), STOA_E_TOO_LARGE);
        assert_true(w.used_bytes <= cap);
    }
    stoa_writer w = WRITER(whole);
    assert_int_equal(stoa_encode(all_type, &all, &w), STOA_OK);
}

/* --- evolution: the same record as an older and a newer version know it */

#define old_leg_FIELDS(F, S) F(S, uint64_t, a)
#define new_leg_FIELDS(F, S) F(S, uint64_t, a) F(S, points, route)
STOA_RECORD(old_leg)
STOA_RECORD_DEFINE(old_leg)
STOA_RECORD(new_leg)
STOA_RECORD_DEFINE(new_leg)
STOA_LIST(old_legs, old_leg, 4)
STOA_LIST_DEFINE(old_legs, old_leg, 4)
STOA_LIST(new_legs, new_leg, 4)
STOA_LIST_DEFINE(new_legs, new_leg, 4)
#define old_trip_FIELDS(F, S) F(S, old_legs, legs) F(S, uint64_t, fare)
#define new_trip_FIELDS(F, S)                                                                                \
    F(S, new_legs, legs) F(S, uint64_t, fare) F(S, stoa_text30, name) F(S, points, stops)
STOA_RECORD(old_trip)
STOA_RECORD_DEFINE(old_trip)
STOA_RECORD(new_trip)
STOA_RECORD_DEFINE(new_trip)

static void an_old_reader_ignores_what_it_does_not_know(void **state)
{
    (void)state;
    new_trip sent = {
        .legs = {.count = 2, .at = {{.a = 10}, {.a = 20}}}, .fare = 30, .name = stoa_text("Ohm")};
    sent.legs.at[0].route = (points){.count = 2, .at = {{1, 2}, {3, 4}}};
    sent.stops = (points){.count = 1, .at = {{5, 6}}};
    old_trip got;
    stoa_writer w = WRITER(sizeof storage);
    assert_int_equal(stoa_encode(&stoa_type_new_trip, &sent, &w), STOA_OK);
    assert_int_equal(stoa_decode(&stoa_type_old_trip, storage, w.used_bytes, &got, NULL), STOA_OK);
    old_trip expected = {.legs = {.count = 2, .at = {{10}, {20}}}, .fare = 30};
    assert_memory_equal(&got, &expected, sizeof expected);
}

static void a_new_reader_takes_missing_fields_as_zero(void **state)
{
    (void)state;
    old_trip sent = {.legs = {.count = 2, .at = {{10}, {20}}}, .fare = 30};
    new_trip got;
    memset(&got, 0xa5, sizeof got);
    stoa_writer w = WRITER(sizeof storage);
    assert_int_equal(stoa_encode(&stoa_type_old_trip, &sent, &w), STOA_OK);
    assert_int_equal(stoa_decode(&stoa_type_new_trip, storage, w.used_bytes, &got, NULL), STOA_OK);
    new_trip expected = {.legs = {.count = 2, .at = {{.a = 10}, {.a = 20}}}, .fare = 30};
    assert_memory_equal(&got, &expected, sizeof expected);
    assert_int_equal(stoa_decode(&stoa_type_new_trip, "\x90", 1, &got, NULL), STOA_OK);
    expected = (new_trip){.fare = 0};
    assert_memory_equal(&got, &expected, sizeof expected);
}

/* --- refusals */

typedef struct refusal {
    const stoa_type *type;
    const char *bytes;
    size_t size_bytes;
    stoa_err err;
} refusal;

static void every_refusal_has_its_name(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {&stoa_type_uint8_t, BYTES("\xcd\x01\x00"), STOA_E_RANGE},
        {&stoa_type_uint8_t, BYTES("\xff"), STOA_E_RANGE},
        {&stoa_type_uint8_t,
         BYTES("\xa1"
               "1"),
         STOA_E_INVALID},
        {&stoa_type_uint8_t, BYTES("\xc0"), STOA_E_INVALID},
        {&stoa_type_uint8_t, BYTES("\x90"), STOA_E_INVALID},
        {&stoa_type_uint16_t, BYTES("\xce\x00\x01\x00\x00"), STOA_E_RANGE},
        {&stoa_type_uint32_t, BYTES("\xcf\x00\x00\x00\x01\x00\x00\x00\x00"), STOA_E_RANGE},
        {&stoa_type_uint64_t, BYTES("\xff"), STOA_E_RANGE},
        {&stoa_type_stoa_id, BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), STOA_E_RANGE},
        {&stoa_type_int32_t, BYTES("\xce\x80\x00\x00\x00"), STOA_E_RANGE},
        {&stoa_type_int32_t, BYTES("\xce\xff\xff\xff\xff"), STOA_E_RANGE},
        {&stoa_type_int32_t, BYTES("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"), STOA_E_RANGE},
        {&stoa_type_int32_t, BYTES("\xd3\xff\xff\xff\xff\x00\x00\x00\x01"), STOA_E_RANGE},
        {&stoa_type_int32_t, BYTES("\xcf\x00\x00\x00\x01\x00\x00\x00\x01"), STOA_E_RANGE},
        {&stoa_type_int32_t, BYTES("\xd3\xff\xff\xff\xfd\xff\xff\xff\xff"), STOA_E_RANGE},
        {&stoa_type_int64_t, BYTES("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"), STOA_E_RANGE},
        {&stoa_type_int64_t, BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), STOA_E_RANGE},
        {&stoa_type_int64_t, BYTES("\xc4\x01\x01"), STOA_E_INVALID},
        {&stoa_type_colour, BYTES("\x03"), STOA_E_INVALID},
        {&stoa_type_colour, BYTES("\xcd\x01\x00"), STOA_E_INVALID},
        {&stoa_type_colour, BYTES("\xff"), STOA_E_INVALID},
        {&stoa_type_colour,
         BYTES("\xa3"
               "red"),
         STOA_E_INVALID},
        {&stoa_type_stoa_decimal, BYTES("\x05"), STOA_E_INVALID},
        {&stoa_type_stoa_decimal, BYTES("\xa0"), STOA_E_INVALID},
        {&stoa_type_stoa_decimal,
         BYTES("\xa3"
               "1,5"),
         STOA_E_INVALID},
        {&stoa_type_stoa_decimal,
         BYTES("\xc4\x01"
               "1"),
         STOA_E_INVALID},
        {&stoa_type_stoa_decimal,
         BYTES("\xab"
               "0.000000001"),
         STOA_E_PRECISION},
        {&stoa_type_stoa_decimal,
         BYTES("\xab"
               "92233720369"),
         STOA_E_RANGE},
        {&stoa_type_stoa_text6,
         BYTES("\xa7"
               "1234567"),
         STOA_E_TOO_LARGE},
        {&stoa_type_stoa_text6, BYTES("\xa1\xff"), STOA_E_INVALID},
        {&stoa_type_stoa_text30,
         BYTES("\xac"
               "12345678abc\xc3"),
         STOA_E_INVALID},
        {&stoa_type_stoa_text6,
         BYTES("\xc4\x01"
               "a"),
         STOA_E_INVALID},
        {&stoa_type_stoa_text6, BYTES("\x01"), STOA_E_INVALID},
        {&stoa_type_points, BYTES("\x96\x90\x90\x90\x90\x90\x90"), STOA_E_TOO_LARGE},
        {&stoa_type_points, BYTES("\x01"), STOA_E_INVALID},
        {&stoa_type_points, BYTES("\x91\x01"), STOA_E_INVALID},
        {&stoa_type_point, BYTES("\xc0"), STOA_E_INVALID},
        {&stoa_type_point, BYTES("\xa1x"), STOA_E_INVALID},
        {&stoa_type_stoa_none, BYTES("\x00"), STOA_E_INVALID},
        {&stoa_type_point, BYTES("\x92\x01"), STOA_E_MALFORMED},
        {&stoa_type_point, BYTES("\x90\x90"), STOA_E_MALFORMED},
        {&stoa_type_uint8_t, BYTES("\xca\x00\x00\x00\x00"), STOA_E_MALFORMED},
    };
    static uint8_t payload[sizeof(sample_all)];
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const refusal *r = &refusals[i];
        size_t used_bytes = UNTOUCHED;
        stoa_err err = stoa_decode(r->type, r->bytes, r->size_bytes, payload, NULL);
        if (err != r->err) { fail_msg("case %zu, %s: %s", i, r->type->name, stoa_err_name(err)); }
        if (r->err != STOA_E_MALFORMED) {
            assert_int_equal(stoa_decode(r->type, r->bytes, r->size_bytes, payload, &used_bytes), r->err);
            assert_int_equal(used_bytes, UNTOUCHED);
            assert_non_null(strstr(stoa_err_trail(), r->type->name));
        }
    }
}

static void a_refusal_names_the_field(void **state)
{
    (void)state;
    static sample_all all;
    /* all but lines as zero, then one line whose second point has a y that is no decimal */
    static const char bytes[] = "\x9f\0\0\0\xa1"
                                "0\0\0\0\0\0\0\xa0\xa0\x90\x90"
                                "\x91\x93\0\xa0\x92\x92\x01\xa1"
                                "1\x92\x01\xa1x";
    assert_int_equal(stoa_decode(all_type, BYTES(bytes), &all, NULL), STOA_E_INVALID);
    static const char *const parts[] = {"sample.all.lines", "lines[0]", "line.points",
                                        "points[1]",        "point.y",  "not a decimal"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!strstr(stoa_err_trail(), parts[i])) { fail_msg("no %s in\n%s", parts[i], stoa_err_trail()); }
    }
}

static void tokens_may_be_part_of_a_longer_message(void **state)
{
    (void)state;
    /* ["head", [3, "4"], 5]: the payload is the second element; points have nested arrays of their own */
    point point_got;
    points points_got;
    uint32_t count = tokenize(BYTES("\x93\xa4head\x92\x03\xa1"
                                    "4\x05"));
    assert_int_equal(stoa_decode_tokens(&stoa_type_point, tokens + 2, count - 2, &point_got), STOA_OK);
    assert_int_equal(point_got.x, 3);
    assert_int_equal(point_got.y, 4 * STOA_DECIMAL_ONE);

    count = tokenize(BYTES("\x92\x01\x92\x92\x03\xa1"
                           "4\x94\x05\xa1"
                           "6\x91\x07\x08"));
    assert_int_equal(stoa_decode_tokens(&stoa_type_points, tokens + 2, count - 2, &points_got), STOA_OK);
    assert_int_equal(points_got.count, 2);
    assert_int_equal(points_got.at[1].x, 5);
    for (uint32_t cut = 0; cut < count - 2; cut++) {
        assert_int_equal(stoa_decode_tokens(&stoa_type_points, tokens + 2, cut, &points_got), STOA_E_INVALID);
    }
}

static void decoding_says_where_the_next_value_starts(void **state)
{
    (void)state;
    uint64_t value;
    size_t used_bytes;
    assert_int_equal(stoa_decode(&stoa_type_uint64_t, "\xcc\x80\x05", 3, &value, &used_bytes), STOA_OK);
    assert_int_equal(value, 128);
    assert_int_equal(used_bytes, 2);
    assert_int_equal(stoa_decode(&stoa_type_uint64_t, "\xcc\x80\x05", 3, &value, NULL), STOA_E_MALFORMED);
    assert_int_equal(value, 0);
}

/* --- random payloads */

static void fill(const stoa_type *type, uint8_t *at, stoa_random *random);

static void fill_number(const stoa_type *type, uint8_t *at, stoa_random *random)
{
    uint64_t bits = stoa_random_next(random) >> stoa_random_below(random, 64);
    bits = stoa_random_chance(random, 500) ? bits : 0 - bits;
    if (type->cls == STOA_CLASS_ENUM) { bits = stoa_random_below(random, type->limit); }
    memcpy(at, &bits, type->size_bytes);
}

static void fill_text(const stoa_type *type, uint8_t *at, stoa_random *random)
{
    static const char *const letters[] = {
        "a", "Z", "\"", "\n", "\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    uint16_t used = 0, limit = (uint16_t)stoa_random_below(random, type->limit + 1);
    for (;;) {
        const char *letter = letters[stoa_random_below(random, 7)];
        if (used + strlen(letter) > limit) { break; }
        memcpy(at + 2 + used, letter, strlen(letter));
        used = (uint16_t)(used + strlen(letter));
    }
    memcpy(at, &used, sizeof used);
}

static void fill_list(const stoa_type *type, uint8_t *at, stoa_random *random)
{
    uint32_t count = (uint32_t)stoa_random_below(random, type->limit + 1);
    memcpy(at, &count, sizeof count);
    for (uint32_t i = 0; i < count; i++) {
        fill(type->element, at + 8 + i * type->element->size_bytes, random);
    }
}

static void fill_bytes(const stoa_type *type, uint8_t *at, stoa_random *random)
{
    uint32_t count = (uint32_t)stoa_random_below(random, type->limit + 1);
    memcpy(at, &count, sizeof count);
    for (uint32_t i = 0; i < count; i++) { at[8 + i] = (uint8_t)stoa_random_next(random); }
}

static void fill_record(const stoa_type *type, uint8_t *at, stoa_random *random)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        fill(type->fields[i].type, at + type->fields[i].offset, random);
    }
}

static void fill(const stoa_type *type, uint8_t *at, stoa_random *random)
{
    static void (*const fillers[])(const stoa_type *type, uint8_t *at, stoa_random *random) = {
        [STOA_CLASS_UINT] = fill_number,    [STOA_CLASS_INT] = fill_number, [STOA_CLASS_ENUM] = fill_number,
        [STOA_CLASS_DECIMAL] = fill_number, [STOA_CLASS_TEXT] = fill_text,  [STOA_CLASS_LIST] = fill_list,
        [STOA_CLASS_RECORD] = fill_record,  [STOA_CLASS_BYTES] = fill_bytes,
    };
    if (type->cls != STOA_CLASS_NONE) { fillers[type->cls](type, at, random); }
}

static void random_payloads_of_every_row_round_trip(void **state)
{
    (void)state;
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("STOA_TEST_SEED=%" PRIu64 "\n", seed);
    stoa_random random;
    stoa_random_seed(&random, seed);
    static sample_all payload, back;
    for (int i = 0; i < 20000; i++) {
        const stoa_type *type = &sample_rows[1 + stoa_random_below(&random, sample_table.row_count)].payload;
        memset(&payload, 0, sizeof payload);
        fill(type, (uint8_t *)&payload, &random);
        check_round_trip(type, &payload, &back);
    }
}

/* --- walking */

static void payloads_print_as_json(void **state)
{
    (void)state;
    sample_all all = {.id = 18446744073709551615u, .i64 = -5, .price = 1, .colour = colour_GREEN};
    all.code = (stoa_text6)stoa_text("a\"b");
    all.numbers = (numbers){.count = 2, .at = {1, 2}};
    all.lines =
        (lines){.count = 1, .at = {{.id = 9, .points = {.count = 1, .at = {{1, -STOA_DECIMAL_ONE}}}}}};
    stoa_buf out = STOA_BUF_GROWING;
    stoa_print_json(all_type, &all, &out);
    assert_string_equal(
        out.at, "{\"id\":18446744073709551615,\"u64\":0,\"i64\":-5,\"price\":\"0.00000001\",\"u32\":0,"
                "\"i32\":0,\"more\":0,\"u16\":0,\"u8\":0,\"colour\":\"green\",\"code\":\"a\\\"b\","
                "\"note\":\"\",\"origin\":{\"x\":0,\"y\":\"0\"},\"numbers\":[1,2],"
                "\"lines\":[{\"id\":9,\"label\":\"\",\"points\":[{\"x\":1,\"y\":\"-1\"}]}]}");
    stoa_buf_clear(&out);
    sample_ping ping = {0};
    stoa_print_json(&sample_rows[sample_ROW_ping].payload, &ping, &out);
    assert_string_equal(out.at, "{}");
    stoa_buf_deinit(&out);
}

typedef struct ids {
    uint64_t at[8];
    size_t count;
} ids;

static void collect(void *context, uint64_t id)
{
    ids *seen = context;
    assert_true(seen->count < 8);
    seen->at[seen->count++] = id;
}

static void ids_are_visited_in_table_order(void **state)
{
    (void)state;
    ids seen = {.count = 0};
    sample_all all = {.id = 7, .u64 = 8, .lines = {.count = 3, .at = {{.id = 9}, {.id = 0}, {.id = 10}}}};
    stoa_each_index(all_type, &all, collect, &seen);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.at[0], 7);
    assert_int_equal(seen.at[1], 9);
    assert_int_equal(seen.at[2], 10);

    seen.count = 0;
    all.id = 0;
    all.lines.count = 1; /* what lies behind the count is not there */
    stoa_each_index(all_type, &all, collect, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.at[0], 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_a_number_is_read),
        cmocka_unit_test(every_form_of_text_and_bytes_is_read_in_place),
        cmocka_unit_test(next_leads_behind_nested_arrays),
        cmocka_unit_test(what_we_do_not_speak_is_malformed),
        cmocka_unit_test(every_cut_is_malformed),
        cmocka_unit_test(arrays_nest_sixteen_deep),
        cmocka_unit_test(too_many_tokens_are_too_large),
        cmocka_unit_test(values_follow_one_another),
        cmocka_unit_test(numbers_take_their_shortest_form),
        cmocka_unit_test(heads_carry_their_size),
        cmocka_unit_test(a_full_writer_drops_and_says_so),
        cmocka_unit_test(a_table_knows_its_rows),
        cmocka_unit_test(a_payload_is_an_array_of_its_fields),
        cmocka_unit_test(every_class_round_trips_at_its_limits),
        cmocka_unit_test(an_empty_payload_is_an_empty_array),
        cmocka_unit_test(encoding_into_too_little_room_is_too_large),
        cmocka_unit_test(an_old_reader_ignores_what_it_does_not_know),
        cmocka_unit_test(a_new_reader_takes_missing_fields_as_zero),
        cmocka_unit_test(every_refusal_has_its_name),
        cmocka_unit_test(a_refusal_names_the_field),
        cmocka_unit_test(tokens_may_be_part_of_a_longer_message),
        cmocka_unit_test(decoding_says_where_the_next_value_starts),
        cmocka_unit_test(random_payloads_of_every_row_round_trip),
        cmocka_unit_test(payloads_print_as_json),
        cmocka_unit_test(ids_are_visited_in_table_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
