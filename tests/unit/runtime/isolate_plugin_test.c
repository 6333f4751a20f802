/* isolate_plugin_test.c - goal: a node has a kind that it was not built with from what its library's child tells, and takes no other
 * description than one that the macros could have made. Method: real children; descriptions with one thing wrong each; and a good
 * one with bytes changed at random, where what is taken must be fit for the codec.
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

#include "base/log.h"
#include "base/random.h"
#include "base/wire.h"
#include "runtime/isolate/build.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "tests/unit/runtime/isolates/odd.h"
#include "tests/unit/runtime/isolates/tied.h"

enum { MUTATIONS = 20000 };
STOA_TABLE_DEFINE(helper)
STOA_TABLE_DEFINE(odd)
STOA_TABLE_DEFINE(tied)
STOA_TABLE_DEFINE(victim)

static char host[512], hostile[512], libraries[5][512];
enum { ODD, TIED, SOURCED, STUCK, RINGING };
static const stoa_table *const tables[] = {&helper_table, &victim_table, NULL};

static stoa_isolate plug_in(int which)
{
    return (stoa_isolate){.host = host, .library = libraries[which], .start_ns = STOA_S(60)};
}

static stoa_plugged *open_plugged(int which)
{
    stoa_plugged *plugged = NULL;
    stoa_isolate isolate = plug_in(which);
    assert_int_equal(stoa_plugged_open(&isolate, tables, &plugged), STOA_OK);
    return plugged;
}

static void assert_same_type(const stoa_type *a, const stoa_type *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->cls, b->cls);
    assert_int_equal(a->size_bytes, b->size_bytes);
    assert_int_equal(a->limit, b->limit);
    assert_int_equal(a->field_count, b->field_count);
    for (uint32_t i = 0; i < a->field_count; i++) {
        assert_string_equal(a->fields[i].name, b->fields[i].name);
        assert_int_equal(a->fields[i].offset, b->fields[i].offset);
        assert_same_type(a->fields[i].type, b->fields[i].type);
    }
}

static void test_a_table_that_was_told_is_the_table(void **state)
{
    static const stoa_table *const own[] = {[ODD] = &odd_table, [TIED] = &tied_table};
    (void)state;
    for (int which = ODD; which <= TIED; which++) {
        stoa_plugged *plugged = open_plugged(which);
        const stoa_kind *kind = stoa_plugged_kind(plugged);
        assert_string_equal(kind->name, own[which]->name);
        assert_int_equal(kind->table->row_count, own[which]->row_count);
        for (uint32_t id = 1; id <= kind->table->row_count; id++) {
            const stoa_row *a = &kind->table->rows[id], *b = &own[which]->rows[id];
            assert_string_equal(a->name, b->name);
            assert_string_equal(a->doc, b->doc);
            assert_int_equal(a->cls, b->cls);
            assert_int_equal(a->reply ? a->reply->id : 0, b->reply ? b->reply->id : 0);
            assert_same_type(&a->payload, &b->payload);
        }
        stoa_plugged_close(plugged);
    }
}

static void test_its_actors_serve(void **state)
{
    stoa_node *node;
    stoa_ref ref;
    odd_sum sum;
    uint64_t seven = 7;
    (void)state;
    stoa_plugged *plugged = open_plugged(ODD);
    const stoa_kind *kind = stoa_plugged_kind(plugged);
    stoa_isolate isolate = plug_in(ODD);
    isolate.args = &seven;
    isolate.args_bytes = stoa_plugged_args_bytes(plugged);
    assert_int_equal(isolate.args_bytes, sizeof seven);
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, kind, "odd/o", &(stoa_spawn_options){.args = &isolate}, &ref), STOA_OK);
    odd_add add = {5};
    assert_int_equal(stoa_call(node, stoa_find(node, "odd/o"), &kind->table->rows[odd_ROW_add], &add, STOA_S(60), &sum, sizeof sum), STOA_OK);
    assert_int_equal(sum.sum, 12);
    stoa_node_close(node, STOA_S(10));
    stoa_plugged_close(plugged);
}

static void test_what_cannot_be_had_says_why(void **state)
{
    static const stoa_table *const nothing[] = {NULL}, *const twice[] = {&helper_table, &odd_table, NULL};
    static const struct {
        int which;
        const stoa_table *const *tables;
        stoa_err err;
        const char *why;
    } all[] = {{SOURCED, tables, STOA_E_FAILED, "isolate: its kind is event-sourced"},
               {STUCK, tables, STOA_E_TIMEOUT, "does not come to an end of loading"},
               {RINGING, tables, STOA_E_TIMEOUT, "does not come to an end of loading"},
               {TIED, nothing, STOA_E_NOT_FOUND, "there is no table victim here"},
               {ODD, twice, STOA_E_EXISTS, "there is a kind odd here"}};
    (void)state;
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        stoa_plugged *plugged = NULL;
        stoa_isolate isolate = plug_in(all[i].which);
        if (all[i].err == STOA_E_TIMEOUT) { isolate.start_ns = STOA_MS(300); }
        assert_int_equal(stoa_plugged_open(&isolate, all[i].tables, &plugged), all[i].err);
        assert_non_null(strstr(stoa_err_trail(), all[i].why));
    }
    stoa_plugged *plugged = NULL;
    stoa_isolate isolate = {.host = host, .library = "/nowhere/at/all.so"};
    assert_int_equal(stoa_plugged_open(&isolate, tables, &plugged), STOA_E_FAILED);
    assert_non_null(strstr(stoa_err_trail(), "isolate: its library cannot be loaded"));
    isolate.host = "/nowhere/at/all";
    assert_int_equal(stoa_plugged_open(&isolate, tables, &plugged), STOA_E_IO);
}

static void test_hostile_children_are_no_kinds(void **state)
{
    static const char *const deeds[] = {"described", "endless", "untold", "noise", "garbage", "short", "word", "flood", "unsealed", "cursor"};
    (void)state;
    for (unsigned i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
        stoa_plugged *plugged = NULL;
        stoa_isolate isolate = {.host = hostile, .library = deeds[i], .start_ns = STOA_MS(500)};
        stoa_err err = stoa_plugged_open(&isolate, tables, &plugged);
        assert_true(err == STOA_E_MALFORMED || err == STOA_E_TIMEOUT);
    }
}

/* --- descriptions */

static stoa_description good;

static void put_row(uint32_t at, const char *name, stoa_row_class cls, uint32_t reply, uint32_t type)
{
    good.rows.at[at] = (stoa_described_row){.cls = cls, .reply = reply, .type = type};
    (void)STOA_TEXT_SETZ(&good.rows.at[at].name, name);
}

static void put_type(uint32_t at, const char *name, stoa_described_type type)
{
    good.types.at[at] = type;
    (void)STOA_TEXT_SETZ(&good.types.at[at].name, name);
}

static void put_field(uint32_t at, const char *name, uint32_t type, uint32_t offset)
{
    good.fields.at[at] = (stoa_described_field){.type = type, .offset = offset};
    (void)STOA_TEXT_SETZ(&good.fields.at[at].name, name);
}

/* One of each class of type. */
static void make_good(void)
{
    good = (stoa_description){.mailbox_limit = 64};
    (void)STOA_TEXT_SETZ(&good.kind, "made");
    put_type(0, "uint64_t", (stoa_described_type){.cls = STOA_CLASS_UINT, .size_bytes = 8});
    put_type(1, "stoa_text30", (stoa_described_type){.cls = STOA_CLASS_TEXT, .size_bytes = 32, .limit = 30});
    put_type(2, "side", (stoa_described_type){.cls = STOA_CLASS_ENUM, .size_bytes = 1, .limit = 2, .first = 0, .count = 2});
    put_type(3, "many", (stoa_described_type){.cls = STOA_CLASS_LIST, .size_bytes = 8 + 4 * 8, .limit = 4, .first = 0});
    put_type(4, "blob", (stoa_described_type){.cls = STOA_CLASS_BYTES, .size_bytes = 8 + 64, .limit = 64});
    put_type(5, "price", (stoa_described_type){.cls = STOA_CLASS_DECIMAL, .size_bytes = 8});
    put_type(6, "byte", (stoa_described_type){.cls = STOA_CLASS_UINT, .size_bytes = 1});
    put_type(7, "made.all", (stoa_described_type){.cls = STOA_CLASS_RECORD, .size_bytes = 8 + 32 + 40 + 72 + 8 + 8, .first = 0, .count = 13});
    good.types.count = 8;
    static const struct {
        uint32_t type, bytes;
    } fields[] = {{0, 8}, {1, 32}, {3, 40}, {4, 72}, {5, 8}, {2, 1}, {6, 1}, {6, 1}, {6, 1}, {6, 1}, {6, 1}, {6, 1}, {6, 1}};
    uint32_t at = 0;
    for (uint32_t i = 0; i < 13; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%u", i);
        put_field(i, name, fields[i].type, at);
        at += fields[i].bytes;
    }
    good.fields.count = 13;
    good.values.count = 2;
    put_row(0, "ask", STOA_ROW_COMMAND, 2, 7);
    put_row(1, "answer", STOA_ROW_REPLY, 0, 7);
    put_row(2, "news", STOA_ROW_TOPIC, 0, 7);
    good.rows.count = 3;
    (void)STOA_TEXT_SETZ(&good.hears.at[0].table, "helper");
    (void)STOA_TEXT_SETZ(&good.hears.at[0].name, "doubled");
    good.hears.at[0].row = helper_ROW_doubled;
    good.hears.at[0].cls = STOA_ROW_REPLY;
    good.hears.count = 1;
}

static stoa_err build(const stoa_description *description)
{
    stoa_plugged *plugged = NULL;
    stoa_err err = stoa_plugged_build(description, tables, &plugged);
    assert_true(err == STOA_OK || err == STOA_E_MALFORMED || err == STOA_E_NOT_FOUND || err == STOA_E_EXISTS);
    stoa_plugged_close(plugged);
    return err;
}

#define WITH(member, value) {#member, offsetof(stoa_description, member), (value)}
static void test_one_wrong_number_is_enough(void **state)
{
    static const struct {
        const char *what;
        size_t at;
        uint32_t value;
    } wrongs[] = {
        WITH(types.at[0].cls, 99), WITH(types.at[0].size_bytes, 3), WITH(types.at[0].size_bytes, 0), WITH(types.at[1].limit, 31),
        WITH(types.at[1].size_bytes, 40), WITH(types.at[2].limit, 3), WITH(types.at[2].first, 255), WITH(types.at[2].count, 300),
        WITH(types.at[2].size_bytes, 2), WITH(types.at[3].first, 3), WITH(types.at[3].first, 7), WITH(types.at[3].limit, 0x20000001),
        WITH(types.at[3].limit, 5), WITH(types.at[4].limit, 60), WITH(types.at[4].limit, 0), WITH(types.at[7].first, 1),
        WITH(types.at[7].first, 0xffffffff), WITH(types.at[7].count, 14), WITH(types.at[7].count, 0), WITH(types.at[7].count, 0xffffffff),
        WITH(types.at[7].size_bytes, 176), WITH(types.at[7].indexed, 2), WITH(fields.at[1].offset, 16), WITH(fields.at[0].type, 7),
        WITH(fields.at[0].type, 8), WITH(rows.at[0].cls, STOA_ROW_CAST), WITH(rows.at[0].reply, 0), WITH(rows.at[0].reply, 4),
        WITH(rows.at[0].reply, 1), WITH(rows.at[0].type, 0), WITH(rows.at[0].type, 8), WITH(rows.at[2].cls, STOA_ROW_EVENT),
        WITH(rows.at[2].cls, 6), WITH(rows.at[2].cls, STOA_ROW_COMMAND), WITH(hears.at[0].row, 0), WITH(hears.at[0].row, 6),
        WITH(hears.at[0].row, 1), WITH(hears.at[0].cls, STOA_ROW_CAST), WITH(mailbox_limit, 1 << 20), WITH(when_full, 3),
        WITH(args_bytes, 4097), WITH(trap_exits, 2),
    };
    (void)state;
    make_good();
    assert_int_equal(build(&good), STOA_OK);
    for (unsigned i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        stoa_description *one = malloc(sizeof *one);
        *one = good;
        memcpy((uint8_t *)one + wrongs[i].at, &wrongs[i].value, sizeof wrongs[i].value);
        if (build(one) == STOA_OK) { fail_msg("%s = %u was taken", wrongs[i].what, wrongs[i].value); }
        free(one);
    }
}

static void test_names_are_names(void **state)
{
    static const char *const names[] = {"", "9lives", "a b", "a/b", "a.b", "a\"b", "\x1b[2J", "a_name_that_is_much_longer_than_may_be"};
    (void)state;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        make_good();
        (void)STOA_TEXT_SETZ(&good.kind, names[i]);
        assert_int_equal(build(&good), STOA_E_MALFORMED);
    }
    make_good();
    (void)STOA_TEXT_SETZ(&good.kind, "stoa_system");
    assert_int_equal(build(&good), STOA_E_EXISTS);
}

/* The codec goes through every type of the kind. */
static void use(const stoa_kind *kind)
{
    static uint8_t payload[64 << 10], again[64 << 10], bytes[256 << 10];
    for (uint32_t id = 1; id <= kind->table->row_count; id++) {
        const stoa_type *type = &kind->table->rows[id].payload;
        stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
        memset(payload, 0, sizeof payload);
        if (stoa_encode(type, payload, &w) == STOA_OK) { (void)stoa_decode(type, bytes, w.used_bytes, again, NULL); }
    }
}

static void test_changed_bytes_make_no_bad_kind(void **state)
{
    stoa_random random;
    uint64_t seed, taken = 0;
    stoa_description *one = malloc(sizeof *one);
    (void)state;
    stoa_random_system(&seed, sizeof seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    stoa_random_seed(&random, seed);
    make_good();
    for (int i = 0; i < MUTATIONS; i++) {
        stoa_plugged *plugged = NULL;
        static const size_t parts[][2] = {
            {offsetof(stoa_description, types) + 8, 8 * sizeof(stoa_described_type)},
            {offsetof(stoa_description, fields) + 8, 13 * sizeof(stoa_described_field)},
            {offsetof(stoa_description, rows) + 8, 3 * sizeof(stoa_described_row)},
            {offsetof(stoa_description, hears) + 8, sizeof(stoa_described_hear)}};
        *one = good;
        for (uint64_t n = stoa_random_below(&random, 3); n < 3; n++) {
            const size_t *part = parts[stoa_random_below(&random, 4)];
            uint64_t number = stoa_random_below(&random, part[1] / 4);
            uint32_t value = stoa_random_chance(&random, 500) ? (uint32_t)stoa_random_below(&random, 16) : (uint32_t)stoa_random_next(&random);
            memcpy((uint8_t *)one + part[0] + number * 4, &value, sizeof value);
        }
        for (uint32_t at = 0; at < 8; at++) { /* texts stay texts: the codec sees to that */
            if (one->types.at[at].name.len > 62) { one->types.at[at].name.len = 62; }
        }
        for (uint32_t at = 0; at < 13; at++) {
            if (one->fields.at[at].name.len > 62) { one->fields.at[at].name.len = 62; }
        }
        for (uint32_t at = 0; at < 3; at++) {
            if (one->rows.at[at].name.len > 62) { one->rows.at[at].name.len = 62; }
            if (one->rows.at[at].doc.len > 254) { one->rows.at[at].doc.len = 254; }
        }
        if (one->hears.at[0].table.len > 62) { one->hears.at[0].table.len = 62; }
        if (one->hears.at[0].name.len > 62) { one->hears.at[0].name.len = 62; }
        if (stoa_plugged_build(one, tables, &plugged)) { continue; }
        taken++;
        use(stoa_plugged_kind(plugged));
        stoa_plugged_close(plugged);
    }
    assert_true(taken > 0);
    free(one);
}

/* --- the simulator */

static void test_a_simulated_node_has_no_children(void **state)
{
    stoa_ref ref;
    (void)state;
    stoa_plugged *plugged = open_plugged(ODD);
    stoa_sim *sim;
    stoa_node *node;
    stoa_isolate isolate = plug_in(ODD);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 1, .cores = 1}, &sim, &node), STOA_OK);
    stoa_err err = stoa_spawn(node, stoa_plugged_kind(plugged), "odd/o", &(stoa_spawn_options){.args = &isolate}, &ref);
    assert_int_equal(err, STOA_E_UNSUPPORTED);
    stoa_sim_free(sim);
    stoa_plugged_close(plugged);
}

int main(void)
{
    static const char *const names[] = {[ODD] = "odd", [TIED] = "tied", [SOURCED] = "sourced", [STUCK] = "stuck", [RINGING] = "ringing"};
    const char *bin = getenv("STOA_BIN"), *build_folder = getenv("STOA_BUILD");
    if (!bin || !build_folder) { return 1; }
    (void)snprintf(host, sizeof host, "%s/stoa-isolate", bin);
    (void)snprintf(hostile, sizeof hostile, "%s/tests/isolate_hostile", build_folder);
    for (int i = 0; i < 5; i++) { (void)snprintf(libraries[i], sizeof libraries[i], "%s/plugins/%s.so", build_folder, names[i]); }
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table_that_was_told_is_the_table),
        cmocka_unit_test(test_its_actors_serve),
        cmocka_unit_test(test_what_cannot_be_had_says_why),
        cmocka_unit_test(test_hostile_children_are_no_kinds),
        cmocka_unit_test(test_one_wrong_number_is_enough),
        cmocka_unit_test(test_names_are_names),
        cmocka_unit_test(test_changed_bytes_make_no_bad_kind),
        cmocka_unit_test(test_a_simulated_node_has_no_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
