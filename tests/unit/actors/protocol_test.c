/* protocol_test.c - goal: the client protocol's tables, codec and page agree with each other. Method: every frame is written and
 * read back, every row is measured against the limits that both ends rely on, and docs/reference/protocol.md is compared with
 * what the tables print (STOA_WRITE_DOCS=1 writes it).
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

#include "actors/client/client_msgs.h"
#include "actors/client/protocol_docs.h"
#include "base/durability.h"

static stoa_frame_tokens tokens;

/* --- tables */

static void numbers_are_unique_and_found(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < stoa_protocol_op_count; i++) {
        assert_ptr_equal(stoa_protocol_op_find(stoa_protocol_ops[i].no), &stoa_protocol_ops[i]);
        assert_true(stoa_protocol_ops[i].no < STOA_FRAME_ANSWER);
        assert_int_equal(stoa_protocol_ops[i].row->cls, STOA_ROW_COMMAND);
        assert_non_null(stoa_protocol_ops[i].row->reply);
    }
    for (uint32_t i = 0; i < stoa_protocol_item_count; i++) {
        assert_ptr_equal(stoa_protocol_item_find(stoa_protocol_items[i].no), &stoa_protocol_items[i]);
    }
    for (uint32_t i = 0; i < stoa_protocol_stream_count; i++) {
        const stoa_protocol_stream *stream = &stoa_protocol_streams[i];
        assert_ptr_equal(stoa_protocol_stream_find(stream->no), stream);
        assert_non_null(strstr(stream->topic, "%s"));
        assert_int_equal(stoa_protocol_item_find(stream->change)->cls, STOA_ITEM_CHANGE);
        const stoa_protocol_item *snapshot = stoa_protocol_item_find(stream->snapshot);
        assert_true(snapshot ? snapshot->cls == STOA_ITEM_SNAPSHOT : stream->snapshot == STOA_ITEM_NONE);
    }
    assert_null(stoa_protocol_op_find(0));
    assert_null(stoa_protocol_op_find(UINT64_MAX));
}

static void an_author_is_filled_in_where_a_payload_has_one(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < stoa_protocol_op_count; i++) {
        const stoa_protocol_op *op = &stoa_protocol_ops[i];
        int32_t offset = -1;
        for (uint32_t k = 0; k < op->row->payload.field_count; k++) {
            const stoa_field *field = &op->row->payload.fields[k];
            if (strcmp(field->name, "author") == 0) { offset = (int32_t)field->offset; }
        }
        assert_int_equal(op->author, offset);
    }
}

static void a_field_that_is_not_as_it_is_to_be_is_named(void **state)
{
    (void)state;
    const stoa_protocol_op *op = stoa_protocol_op_find(STOA_OP_ORDER_PLACE);
    trade_account_place order = {.client_order_id = 1, .price = 1, .qty = 1};
    char ticks[32];
    assert_int_equal(stoa_protocol_check(op, &order), STOA_OK);
    order.qty = 0;
    assert_int_equal(stoa_protocol_check(op, &order), STOA_E_INVALID);
    assert_non_null(strstr(stoa_err_trail(), "trade_account.place.qty is to be above 0"));
    assert_string_equal(stoa_protocol_field_rule(op->row, "price"), "above 0");
    assert_null(stoa_protocol_field_rule(op->row, "symbol"));
    (void)snprintf(ticks, sizeof ticks, "%d ticks", TRADE_PRICE_TICKS_MAX);
    assert_non_null(strstr(stoa_protocol_refusal(op, STOA_E_RANGE), ticks));
    assert_null(stoa_protocol_refusal(op, STOA_E_DUPLICATE));
}

/* Bytes of a value of type at most. */
static size_t longest(const stoa_type *type)
{
    size_t sum = 5;
    switch (type->cls) {
    case STOA_CLASS_NONE: return 1;
    case STOA_CLASS_UINT:
    case STOA_CLASS_INT:
    case STOA_CLASS_ENUM: return 9;
    case STOA_CLASS_DECIMAL: return 2 + STOA_DECIMAL_TEXT_MAX;
    case STOA_CLASS_TEXT:
    case STOA_CLASS_BYTES: return 5 + type->limit;
    case STOA_CLASS_LIST: return sum + type->limit * longest(type->element);
    case STOA_CLASS_RECORD:
        for (uint32_t i = 0; i < type->field_count; i++) {
            sum += longest(type->fields[i].type);
        }
        return sum;
    }
    return 0;
}

static void every_payload_fits_its_frame(void **state)
{
    (void)state;
    enum { HEAD = 64 };
    for (uint32_t i = 0; i < stoa_protocol_op_count; i++) {
        const stoa_row *row = stoa_protocol_ops[i].row;
        assert_true(longest(&row->payload) + HEAD + STOA_PROTOCOL_NAME_MAX <= STOA_PROTOCOL_REQUEST_MAX);
        assert_true(longest(&row->reply->payload) + HEAD <= STOA_PROTOCOL_FRAME_MAX);
        assert_true(row->payload.size_bytes <= 8192 && row->reply->payload.size_bytes <= 32768);
    }
    for (uint32_t i = 0; i < stoa_protocol_item_count; i++) {
        assert_true(longest(&stoa_protocol_items[i].row->payload) + HEAD <= STOA_PROTOCOL_FRAME_MAX / 2);
        assert_true(stoa_protocol_items[i].row->payload.size_bytes <= 32768);
    }
}

static void items_know_their_numbers(void **state)
{
    (void)state;
    uint64_t first, last;
    bool whole;
    market_feed_diff diff = {.first_id = 3, .last_id = 9, .more = 1};
    stoa_protocol_item_seq(STOA_ITEM_DIFF, &diff, &first, &last, &whole);
    assert_int_equal(first, 3);
    assert_int_equal(last, 9);
    assert_false(whole);
    trade_account_page page = {.seq = 4, .more = 1};
    stoa_protocol_item_seq(STOA_ITEM_ORDERS, &page, &first, &last, &whole);
    assert_int_equal(last, 4);
    assert_false(whole);
    room_message message = {.entry.seq = 8};
    stoa_protocol_item_seq(STOA_ITEM_MESSAGE, &message, &first, &last, &whole);
    assert_true(first == 8 && last == 8 && whole);
    static uint64_t zero[4096];
    for (uint32_t i = 0; i < stoa_protocol_item_count; i++) {
        assert_true(stoa_protocol_items[i].row->payload.size_bytes <= sizeof zero);
        stoa_protocol_item_seq(stoa_protocol_items[i].no, zero, &first, &last, &whole);
        assert_true(first == 0 && last == 0 && whole);
    }
}

static void targets_are_names(void **state)
{
    (void)state;
    static const struct {
        stoa_protocol_target_id target;
        const char *text;
        bool valid;
    } rows[] = {
        {STOA_TARGET_NONE, "", true},
        {STOA_TARGET_NONE, "x", false},
        {STOA_TARGET_ACCOUNT, "alice", true},
        {STOA_TARGET_ACCOUNT, "", false},
        {STOA_TARGET_ACCOUNT, "a/b", false},
        {STOA_TARGET_ACCOUNT, "a.b", false},
        {STOA_TARGET_ACCOUNT, "a b", false},
        {STOA_TARGET_ROOM, "room-of_30_bytes_is_the_longest", false},
        {STOA_TARGET_ROOM, "room-of_30_bytes_is_the_longes", true},
        {STOA_TARGET_VENUE, "binance.BTCUSDT", true},
        {STOA_TARGET_VENUE, "BTCUSDT", false},
        {STOA_TARGET_VENUE, ".BTCUSDT", false},
        {STOA_TARGET_VENUE, "binance.", false},
        {STOA_TARGET_VENUE, "a.b.c", false},
        {STOA_TARGET_SYMBOL, "SIM.BTCUSDT", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(stoa_protocol_target_valid(rows[i].target, rows[i].text, strlen(rows[i].text)), rows[i].valid);
    }
    for (uint32_t i = 0; i < STOA_TARGET_COUNT; i++) {
        const char *example = stoa_protocol_targets[i].example;
        assert_true(stoa_protocol_target_valid((stoa_protocol_target_id)i, example, strlen(example)));
    }
}

/* --- frames */

static void requests_are_read_as_written(void **state)
{
    (void)state;
    uint8_t bytes[256], payload[64];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes}, p = {.at = payload, .cap_bytes = sizeof payload};
    stoa_request_frame frame;
    client_ping ping = {.token = 77}, out;
    const stoa_type *type = &client_rows[client_ROW_ping].payload;
    assert_int_equal(stoa_encode(type, &ping, &p), STOA_OK);
    stoa_request_frame_write(&w, STOA_OP_PING, UINT64_MAX, "target", 250, payload, p.used_bytes);
    assert_int_equal(stoa_request_frame_read(bytes, w.used_bytes, &tokens, &frame), STOA_OK);
    assert_int_equal(frame.op, STOA_OP_PING);
    assert_true(frame.id == UINT64_MAX);
    assert_int_equal(frame.deadline_ms, 250);
    assert_int_equal(frame.target_bytes, 6);
    assert_memory_equal(frame.target, "target", 6);
    assert_int_equal(stoa_decode_tokens(type, frame.payload.tokens, frame.payload.count, &out), STOA_OK);
    assert_int_equal(out.token, 77);
    for (size_t cut = 0; cut < w.used_bytes; cut++) {
        assert_int_equal(stoa_request_frame_read(bytes, cut, &tokens, &frame), STOA_E_MALFORMED);
    }
}

static void longer_and_shorter_frames_are_read(void **state)
{
    (void)state;
    static const char longer[] = "\x98\x01\x02\x05\xa0\x91\x07\x0a\xa1x\x92\x01\x02";
    static const char shorter[] = "\x95\x01\x02\x05\xa0\x90";
    stoa_request_frame frame;
    client_ping ping;
    assert_int_equal(stoa_request_frame_read(longer, sizeof longer - 1, &tokens, &frame), STOA_OK);
    assert_int_equal(frame.deadline_ms, 10);
    assert_int_equal(stoa_request_frame_read(shorter, sizeof shorter - 1, &tokens, &frame), STOA_OK);
    assert_int_equal(frame.deadline_ms, 0);
    const stoa_type *type = &client_rows[client_ROW_ping].payload;
    assert_int_equal(stoa_decode_tokens(type, frame.payload.tokens, frame.payload.count, &ping), STOA_OK);
    assert_int_equal(ping.token, 0);
}

static void what_the_server_says_is_read_as_written(void **state)
{
    (void)state;
    uint8_t bytes[512], tail[256];
    char text[300];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes}, t = {.at = tail, .cap_bytes = sizeof tail};
    stoa_server_frame frame;
    stoa_stamp stamp = {.durability = stoa_durability_DISK, .position = 99};
    client_pong pong = {.token = 5, .server_ns = 6};
    const stoa_type *type = &client_rows[client_ROW_pong].payload;
    stoa_answer_frame_write(&w, 3, stamp, type, &pong);
    assert_int_equal(stoa_server_frame_read(bytes, w.used_bytes, &tokens, &frame), STOA_OK);
    assert_true(frame.cls == STOA_FRAME_ANSWER && frame.id == 3 && frame.error == STOA_OK);
    assert_true(frame.durability == stoa_durability_DISK && frame.position == 99);
    memset(&pong, 0, sizeof pong);
    assert_int_equal(stoa_decode_tokens(type, frame.payload.tokens, frame.payload.count, &pong), STOA_OK);
    assert_true(pong.token == 5 && pong.server_ns == 6);

    w.used_bytes = 0;
    stamp.error = STOA_E_DUPLICATE;
    memset(text, 'x', sizeof text);
    memcpy(text + STOA_PROTOCOL_TEXT_MAX - 1, "\xc3\xa9", 3); /* stands across the limit */
    stoa_refusal_frame_write(&w, 4, stamp, text);
    assert_int_equal(stoa_server_frame_read(bytes, w.used_bytes, &tokens, &frame), STOA_OK);
    assert_true(frame.id == 4 && frame.error == STOA_E_DUPLICATE && frame.position == 99);
    assert_int_equal(frame.text_bytes, STOA_PROTOCOL_TEXT_MAX - 1);

    w.used_bytes = 0;
    stamp.error = STOA_OK;
    stoa_item_tail_write(&t, STOA_ITEM_TOP, 8, stamp, type, &pong);
    stoa_item_frame_write(&w, 6, tail, t.used_bytes);
    assert_int_equal(stoa_server_frame_read(bytes, w.used_bytes, &tokens, &frame), STOA_OK);
    assert_true(frame.cls == STOA_FRAME_ITEM && frame.id == 6 && frame.item == STOA_ITEM_TOP && frame.seq == 8);
    assert_true(frame.position == 99);

    w.used_bytes = 0;
    stoa_gap_frame_write(&w, 6, 10, 20);
    assert_int_equal(stoa_server_frame_read(bytes, w.used_bytes, &tokens, &frame), STOA_OK);
    assert_true(frame.cls == STOA_FRAME_GAP && frame.id == 6 && frame.from_seq == 10 && frame.to_seq == 20);

    w.used_bytes = 0;
    stoa_end_frame_write(&w, 6, STOA_E_DENIED, "left");
    assert_int_equal(stoa_server_frame_read(bytes, w.used_bytes, &tokens, &frame), STOA_OK);
    assert_true(frame.cls == STOA_FRAME_END && frame.error == STOA_E_DENIED && frame.text_bytes == 4);
}

static void what_no_server_says_is_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size_bytes;
        stoa_err err;
    } rows[] = {
#define BYTES(text) text, sizeof(text) - 1
        {BYTES("\x97\x01\x63\x01\x00\x00\x00\x90"), STOA_E_MALFORMED}, /* class 99 */
        {BYTES("\x97\x01\x68\x01\x00\x00\x00\x90"), STOA_E_MALFORMED}, /* class 104 */
        {BYTES("\x97\x02\x64\x01\x00\x00\x00\x90"), STOA_E_VERSION},
        {BYTES("\x97\x01\x64\x01\x01\x00\x00\x90"), STOA_E_MALFORMED}, /* a positive error */
        {BYTES("\x97\x01\x64\x01\xff\x00\x00\x90"), STOA_E_MALFORMED}, /* an error without text */
        {BYTES("\x96\x01\x64\x01\x00\x00\x00"), STOA_E_MALFORMED},     /* no payload */
        {BYTES("\x94\x01\x66\x01\x02"), STOA_E_MALFORMED},             /* half a gap */
        {BYTES("\x95\x01\x66\x01\x02\xa1x"), STOA_E_MALFORMED},
#undef BYTES
    };
    stoa_server_frame frame;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(stoa_server_frame_read(rows[i].bytes, rows[i].size_bytes, &tokens, &frame), rows[i].err);
    }
}

/* --- the page */

static const char *page_path(void)
{
    static char path[1024];
    const char *here = strstr(__FILE__, "tests/unit/actors/protocol_test.c"), *source = getenv("STOA_SOURCE");
    assert_non_null(here);
    int bytes = source ? (int)strlen(source) : (int)(here - __FILE__); /* a compiler's cache may have another folder's file */
    (void)snprintf(path, sizeof path, "%.*s%sdocs/reference/protocol.md", bytes, source ? source : __FILE__, source ? "/" : "");
    return path;
}

static void the_page_is_what_the_tables_print(void **state)
{
    (void)state;
    stoa_buf printed = STOA_BUF_GROWING, found = STOA_BUF_GROWING;
    char bytes[4096];
    size_t got;
    stoa_protocol_print_docs(&printed);
    if (getenv("STOA_WRITE_DOCS")) {
        FILE *out = fopen(page_path(), "w");
        assert_non_null(out);
        assert_int_equal(fwrite(printed.at, 1, printed.used_bytes, out), printed.used_bytes);
        assert_int_equal(fclose(out), 0);
    }
    FILE *page = fopen(page_path(), "r");
    assert_non_null(page);
    while ((got = fread(bytes, 1, sizeof bytes, page)) > 0) {
        stoa_buf_put(&found, bytes, got);
    }
    (void)fclose(page);
    if (strcmp(printed.at, found.at) != 0) {
        fail_msg("docs/reference/protocol.md is old: run this test with STOA_WRITE_DOCS=1");
    }
    stoa_buf_deinit(&printed);
    stoa_buf_deinit(&found);
}

static bool has_field(const stoa_type *type, const char *name)
{
    size_t length = strlen(type->name);
    if (type->cls == STOA_CLASS_LIST) { return has_field(type->element, name); }
    if (type->cls != STOA_CLASS_RECORD) { return false; }
    for (uint32_t i = 0; i < type->field_count; i++) {
        const stoa_field *field = &type->fields[i];
        bool here = strncmp(name, type->name, length) == 0 && name[length] == '.' &&
                    strcmp(name + length + 1, field->name) == 0;
        if (here || has_field(field->type, name)) { return true; }
    }
    return false;
}

static void every_note_of_the_page_is_about_a_field_that_is_there(void **state)
{
    (void)state;
    for (size_t n = 0; stoa_protocol_docs_note(n); n++) {
        const char *name = stoa_protocol_docs_note(n);
        bool found = false;
        for (uint32_t i = 0; i < stoa_protocol_op_count && !found; i++) {
            const stoa_row *row = stoa_protocol_ops[i].row;
            found = has_field(&row->payload, name) || has_field(&row->reply->payload, name);
        }
        for (uint32_t i = 0; i < stoa_protocol_item_count && !found; i++) {
            found = has_field(&stoa_protocol_items[i].row->payload, name);
        }
        if (!found) { fail_msg("%s", name); }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_unique_and_found),
        cmocka_unit_test(an_author_is_filled_in_where_a_payload_has_one),
        cmocka_unit_test(a_field_that_is_not_as_it_is_to_be_is_named),
        cmocka_unit_test(every_payload_fits_its_frame),
        cmocka_unit_test(items_know_their_numbers),
        cmocka_unit_test(targets_are_names),
        cmocka_unit_test(requests_are_read_as_written),
        cmocka_unit_test(longer_and_shorter_frames_are_read),
        cmocka_unit_test(what_the_server_says_is_read_as_written),
        cmocka_unit_test(what_no_server_says_is_malformed),
        cmocka_unit_test(the_page_is_what_the_tables_print),
        cmocka_unit_test(every_note_of_the_page_is_about_a_field_that_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
