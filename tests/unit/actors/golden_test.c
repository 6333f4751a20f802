/* golden_test.c - goal: no table that was shipped loses, moves or changes a row, a field or a value, and every message
 * that was ever recorded still means the same. Method: tests/golden/tables.txt has a line for each row, record, list and
 * enumeration; tests/golden/messages.txt an encoded message of each row. What stands there must be the beginning of what
 * the tables of this build say. With STOA_UPDATE=1 what is new is appended to both; nothing is ever taken out.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/client/client_msgs.h"
#include "actors/market/book_msgs.h"
#include "actors/market/connector_msgs.h"
#include "actors/market/exchange_msgs.h"
#include "actors/market/feed_msgs.h"
#include "actors/risk/risk_msgs.h"
#include "actors/room/room_msgs.h"
#include "actors/strategy/quoter_msgs.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "base/hash.h"
#include "base/wire.h"
#include "tests/unit/base/any_payload.h"

/* What a shard writes of itself (runtime/shard.h, which is internal): journal format like the kinds' events. */
extern const stoa_table stoa_shard_log_table;

static const stoa_table *const tables[] = {
    &client_table,         &market_book_table, &market_connector_table, &market_exchange_table, &market_feed_table,
    &risk_table,           &room_table,        &strategy_quoter_table,  &trade_account_table,   &trade_book_table,
    &stoa_shard_log_table, &plugin_table,
};
enum { TABLES_OF_ACTORS = sizeof tables / sizeof tables[0] - 1 };

enum { LINES_MAX = 4096, WORDS_MAX = 128 };

/* --- files of lines */

typedef struct lines {
    char *text; /* owned; cut into lines */
    char *at[LINES_MAX];
    uint32_t count;
} lines;

static void cut(lines *l)
{
    for (char *line = strtok(l->text, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(l->count < LINES_MAX);
        if (line[0] != '#') { l->at[l->count++] = line; }
    }
}

static const char *path_of(const char *name, char path[512])
{
    const char *source = getenv("STOA_SOURCE");
    (void)snprintf(path, 512, "%s/tests/golden/%s", source ? source : ".", name);
    return path;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) { return calloc(1, 1); }
    char *text = calloc(1, 1 << 20);
    size_t size = fread(text, 1, (1 << 20) - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    return text;
}

static void append(const char *name, const char *line)
{
    char path[512];
    FILE *file = fopen(path_of(name, path), "a");
    assert_non_null(file);
    (void)fprintf(file, "%s\n", line);
    (void)fclose(file);
}

/* --- what the tables of this build say: one line each, words; the first ones name it, those behind may only become more */

static const char *const row_classes[] = {"command", "cast", "event", "reply", "topic"};
static const stoa_type *seen[WORDS_MAX * 4];
static uint32_t seen_count;

static void say_type(const stoa_type *type, stoa_buf *out);

static void say_fields(const stoa_type *record, stoa_buf *out)
{
    for (uint32_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].type->cls == STOA_CLASS_NONE) { continue; }
        stoa_buf_printf(out, " %s:%s", record->fields[i].name, record->fields[i].type->name);
    }
    stoa_buf_puts(out, "\n");
    for (uint32_t i = 0; i < record->field_count; i++) {
        say_type(record->fields[i].type, out);
    }
}

static void say_type(const stoa_type *type, stoa_buf *out)
{
    for (uint32_t i = 0; i < seen_count; i++) {
        if (seen[i] == type) { return; }
    }
    seen[seen_count++] = type;
    if (type->cls == STOA_CLASS_ENUM) {
        stoa_buf_printf(out, "enum %s", type->name);
        for (uint32_t i = 0; i < type->limit; i++) {
            stoa_buf_printf(out, " %s", type->values[i]);
        }
        stoa_buf_puts(out, "\n");
    } else if (type->cls == STOA_CLASS_LIST) {
        stoa_buf_printf(out, "list %s %s %u\n", type->name, type->element->name, type->limit);
        say_type(type->element, out);
    } else if (type->cls == STOA_CLASS_BYTES) {
        stoa_buf_printf(out, "bytes %s %u\n", type->name, type->limit);
    } else if (type->cls == STOA_CLASS_RECORD) {
        stoa_buf_printf(out, "record %s", type->name);
        say_fields(type, out);
    }
}

static void say_tables(lines *out)
{
    stoa_buf text = STOA_BUF_GROWING;
    seen_count = 0;
    for (size_t t = 0; t < STOA_COUNT_OF_(tables); t++) {
        for (uint32_t id = 1; id <= tables[t]->row_count; id++) {
            const stoa_row *row = &tables[t]->rows[id];
            stoa_buf_printf(&text, "row %s.%u %s %s %s", row->kind, id, row->name, row_classes[row->cls],
                            row->reply ? row->reply->name : "-");
            say_fields(&row->payload, &text);
        }
    }
    out->text = text.at;
    cut(out);
}

/* --- may this be what that was? */

/* The bytes that a base type takes, its class in the upper half; 0: not a base type. */
static uint64_t width(const char *name)
{
#define NUMBER_TYPE(name_) &stoa_type_##name_,
#define TEXT_TYPE(N)       &stoa_type_stoa_text##N,
    static const stoa_type *const types[] = {NUMBER_TYPE(uint8_t) NUMBER_TYPE(uint16_t) NUMBER_TYPE(
        uint32_t) NUMBER_TYPE(uint64_t) NUMBER_TYPE(int32_t) NUMBER_TYPE(int64_t) STOA_TEXT_SIZES(TEXT_TYPE)};
    for (size_t i = 0; i < STOA_COUNT_OF_(types); i++) {
        if (strcmp(types[i]->name, name) == 0) { return (uint64_t)types[i]->cls << 32 | types[i]->size_bytes; }
    }
    return 0;
}

static bool may_follow(const char *was, const char *is)
{
    if (strcmp(was, is) == 0) { return true; }
    const char *was_type = strchr(was, ':'), *is_type = strchr(is, ':');
    if (!was_type || !is_type) { return strtoul(was, NULL, 10) > 0 && strtoul(was, NULL, 10) <= strtoul(is, NULL, 10); }
    bool same_name = was_type - was == is_type - is && strncmp(was, is, (size_t)(is_type - is)) == 0;
    if (!same_name && strncmp(was, "reserved", strlen("reserved")) != 0) { return false; }
    uint64_t was_width = width(was_type + 1), is_width = width(is_type + 1);
    return strcmp(was_type, is_type) == 0 || (was_width && was_width >> 32 == is_width >> 32 && was_width <= is_width);
}

static uint32_t words_of(char *line, char *words[WORDS_MAX])
{
    uint32_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " ", &rest); word && count < WORDS_MAX; word = strtok_r(NULL, " ", &rest)) {
        words[count++] = word;
    }
    return count;
}

/* Words that both lines must share up to their name: "row kind.id", "record name". */
static bool same_subject(const char *a, const char *b)
{
    const char *a_end = strchr(strchr(a, ' ') + 1, ' '), *b_end = strchr(strchr(b, ' ') + 1, ' ');
    size_t a_bytes = a_end ? (size_t)(a_end - a) : strlen(a), b_bytes = b_end ? (size_t)(b_end - b) : strlen(b);
    return a_bytes == b_bytes && strncmp(a, b, a_bytes) == 0;
}

/* Why the line may not be what the recorded one has become, or NULL. */
static const char *fault_of(const char *recorded, const char *line)
{
    static char what[512];
    char *was[WORDS_MAX], *is[WORDS_MAX], a[4096], b[4096];
    (void)snprintf(a, sizeof a, "%s", recorded);
    (void)snprintf(b, sizeof b, "%s", line);
    uint32_t was_count = words_of(a, was), is_count = words_of(b, is);
    for (uint32_t i = 0; i < was_count; i++) {
        if (i < is_count && may_follow(was[i], is[i])) { continue; }
        (void)snprintf(what, sizeof what, "%s %s: '%s' has become '%s'", was[0], was[1], was[i],
                       i < is_count ? is[i] : "nothing");
        return what;
    }
    return NULL;
}

/* --- tests */

static void every_table_of_the_tree_is_looked_at(void **state)
{
    (void)state;
    glob_t found;
    char pattern[512];
    const char *source = getenv("STOA_SOURCE");
    (void)snprintf(pattern, sizeof pattern, "%s/actors/*/*_msgs.c", source ? source : ".");
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    uint32_t count = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = read_file(found.gl_pathv[i]);
        for (const char *at = strstr(text, "STOA_TABLE_DEFINE("); at; at = strstr(at + 1, "STOA_TABLE_DEFINE(")) {
            char name[64] = "";
            bool known = false;
            assert_int_equal(sscanf(at, "STOA_TABLE_DEFINE(%63[a-z_0-9])", name), 1);
            for (size_t t = 0; t < STOA_COUNT_OF_(tables); t++) {
                known = known || strcmp(tables[t]->name, name) == 0;
            }
            if (!known) { fail_msg("%s: add its table to tests/unit/actors/golden_test.c", name); }
            count++;
        }
        free(text);
    }
    globfree(&found);
    assert_int_equal(count, TABLES_OF_ACTORS);
}

static void tables_only_append_to_what_was_recorded(void **state)
{
    (void)state;
    static lines recorded, now;
    char path[512];
    uint32_t faults = 0;
    recorded.text = read_file(path_of("tables.txt", path));
    cut(&recorded);
    say_tables(&now);
    for (uint32_t i = 0; i < recorded.count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < now.count && !found; k++) {
            found = same_subject(recorded.at[i], now.at[k]);
            const char *fault = found ? fault_of(recorded.at[i], now.at[k]) : NULL;
            if (fault) { print_error("%s\n", fault), faults++; }
        }
        if (!found) { print_error("it is gone: %s\n", recorded.at[i]), faults++; }
    }
    assert_int_equal(faults, 0);
    for (uint32_t k = 0; k < now.count; k++) {
        bool found = false;
        for (uint32_t i = 0; i < recorded.count && !found; i++) {
            found = strcmp(recorded.at[i], now.at[k]) == 0;
        }
        if (found) { continue; }
        if (getenv("STOA_UPDATE")) {
            append("tables.txt", now.at[k]);
        } else {
            print_error("not recorded yet, STOA_UPDATE=1 appends it: %s\n", now.at[k]), faults++;
        }
    }
    free(recorded.text);
    free(now.text);
    assert_int_equal(faults, 0);
}

static void the_check_of_tables_sees_what_it_is_there_for(void **state)
{
    (void)state;
    static const char was[] = "record a x:uint32_t y:stoa_text6 reserved8:uint8_t";
    assert_null(fault_of(was, was));
    assert_null(fault_of(was, "record a x:uint32_t y:stoa_text6 reserved8:uint8_t z:int64_t"));
    assert_null(fault_of(was, "record a x:uint64_t y:stoa_text30 flag:uint8_t"));
    assert_non_null(fault_of(was, "record a x:uint32_t y:stoa_text6"));
    assert_non_null(fault_of(was, "record a y:stoa_text6 x:uint32_t reserved8:uint8_t"));
    assert_non_null(fault_of(was, "record a x:uint16_t y:stoa_text6 reserved8:uint8_t"));
    assert_non_null(fault_of(was, "record a x:int64_t y:stoa_text6 reserved8:uint8_t"));
    assert_non_null(fault_of(was, "record a x:uint32_t name:stoa_text6 reserved8:uint8_t"));
    assert_non_null(fault_of("enum e buy sell", "enum e sell buy"));
    assert_null(fault_of("list l a 8", "list l a 9"));
    assert_non_null(fault_of("list l a 8", "list l a 7"));
    assert_non_null(fault_of("row k.1 go command done", "row k.1 go cast -"));
    assert_false(same_subject("row k.1 go", "row k.10 go"));
}

/* What a field that was not sent reads as: 0, "", "0" (a decimal), or an array (its fields or elements follow). */
static bool is_nothing(const stoa_token *is)
{
    if (is->cls == STOA_TOKEN_BYTES) { return is->size == 0; }
    if (is->cls == STOA_TOKEN_TEXT) { return is->size == 0 || (is->size == 1 && is->as.bytes[0] == '0'); }
    if (is->cls == STOA_TOKEN_BYTES) { return is->size == 0; }
    return is->cls == STOA_TOKEN_ARRAY || (is->cls == STOA_TOKEN_UINT && is->as.u == 0);
}

/* Whether the value at b[k] says what the one at a[i] says: arrays may have become longer by fields that say nothing. */
static bool means(const stoa_token *a, uint32_t i, const stoa_token *b, uint32_t k)
{
    const stoa_token *was = &a[i], *is = &b[k];
    if (was->cls != is->cls) { return false; }
    if (is->cls == STOA_TOKEN_TEXT || is->cls == STOA_TOKEN_BYTES) {
        return was->size == is->size && memcmp(was->as.bytes, is->as.bytes, is->size) == 0;
    }
    if (is->cls != STOA_TOKEN_ARRAY) { return was->as.u == is->as.u; }
    bool same = was->size <= is->size;
    i++, k++;
    for (uint32_t n = 0; n < is->size && same; n++) {
        bool sent = n < was->size;
        same = sent ? means(a, i, b, k) : is_nothing(&b[k]);
        i = sent ? a[i].next : i;
        k = b[k].next;
    }
    return same;
}

static const stoa_row *row_named(const char *name)
{
    for (size_t t = 0; t < STOA_COUNT_OF_(tables); t++) {
        for (uint32_t id = 1; id <= tables[t]->row_count; id++) {
            if (strcmp(tables[t]->rows[id].payload.name, name) == 0) { return &tables[t]->rows[id]; }
        }
    }
    return NULL;
}

static uint8_t payload[1 << 20], bytes[1 << 16], again[1 << 16];
static stoa_token tokens[STOA_WIRE_TOKENS_MAX], tokens_again[STOA_WIRE_TOKENS_MAX];

static const char *message_fault(char *line)
{
    size_t used, size = 0;
    uint32_t count;
    char *hex = strchr(line, ' ');
    if (!hex) { return "no message"; }
    *hex++ = '\0';
    for (unsigned byte; hex[size * 2] && sscanf(hex + size * 2, "%2x", &byte) == 1; size++) {
        bytes[size] = (uint8_t)byte;
    }
    const stoa_row *row = row_named(line);
    if (!row) { return "there is no such row"; }
    stoa_writer w = {.at = again, .cap_bytes = sizeof again};
    if (stoa_decode(&row->payload, bytes, size, payload, NULL)) { return stoa_err_trail(); }
    if (stoa_encode(&row->payload, payload, &w)) { return "it does not encode again"; }
    bool read = !stoa_tokenize(bytes, size, tokens, STOA_WIRE_TOKENS_MAX, &count, &used) &&
                !stoa_tokenize(again, w.used_bytes, tokens_again, STOA_WIRE_TOKENS_MAX, &count, &used);
    return read && means(tokens, 0, tokens_again, 0) ? NULL : "it means something else";
}

/* A message of the row, as a line; the same for ever, as long as the row is the same. */
static void make_message(const stoa_row *row, stoa_buf *out)
{
    stoa_random random;
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_random_seed(&random, stoa_hash64(1, row->payload.name, strlen(row->payload.name)));
    memset(payload, 0, row->payload.size_bytes);
    any_payload(&(any){.random = &random, .text_max = 20, .list_max = 2}, &row->payload, payload, true);
    assert_int_equal(stoa_encode(&row->payload, payload, &w), STOA_OK);
    stoa_buf_printf(out, "%s ", row->payload.name);
    for (size_t i = 0; i < w.used_bytes; i++) {
        stoa_buf_printf(out, "%02x", bytes[i]);
    }
}

static void recorded_messages_mean_what_they_meant(void **state)
{
    (void)state;
    static lines recorded;
    static bool known[STOA_COUNT_OF_(tables)][128];
    char path[512];
    uint32_t faults = 0;
    recorded.text = read_file(path_of("messages.txt", path));
    cut(&recorded);
    for (uint32_t i = 0; i < recorded.count; i++) {
        const char *fault = message_fault(recorded.at[i]);
        if (fault) { print_error("message %s: %s\n", recorded.at[i], fault), faults++; }
        const stoa_row *row = row_named(recorded.at[i]);
        for (size_t t = 0; t < STOA_COUNT_OF_(tables) && row; t++) {
            if (strcmp(tables[t]->name, row->kind) == 0) { known[t][row->id] = true; }
        }
    }
    for (size_t t = 0; t < STOA_COUNT_OF_(tables); t++) {
        for (uint32_t id = 1; id <= tables[t]->row_count; id++) {
            if (known[t][id]) { continue; }
            stoa_buf line = STOA_BUF_GROWING;
            make_message(&tables[t]->rows[id], &line);
            if (getenv("STOA_UPDATE")) {
                append("messages.txt", line.at);
            } else {
                print_error("no message of %s yet, STOA_UPDATE=1 records one\n", tables[t]->rows[id].payload.name),
                    faults++;
            }
            stoa_buf_deinit(&line);
        }
    }
    free(recorded.text);
    assert_int_equal(faults, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_of_the_tree_is_looked_at),
        cmocka_unit_test(the_check_of_tables_sees_what_it_is_there_for),
        cmocka_unit_test(tables_only_append_to_what_was_recorded),
        cmocka_unit_test(recorded_messages_mean_what_they_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
