/* postgres_test.c - goal: rows encoded here are the rows a real server has, whichever of the three ways they went; what a server
 * says is told in our errors; a connection never waits for ever.
 * Method: a PostgreSQL of its own; values at the ends of their ranges and random ones, written, read back by the server as text
 * and by us as values; the server killed, frozen, and its rights taken away.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/postgres_kit.h"

#include <inttypes.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/random.h"
#include "storage/postgres/migrate.h"
#include "storage/postgres/write.h"

static kit_server server;

static const stoa_pg_column columns[] = {
    {"id", STOA_PG_UUID},    {"name", STOA_PG_TEXT}, {"amount", STOA_PG_AMOUNT}, {"big", STOA_PG_BIG},
    {"whole", STOA_PG_INT},  {"small", STOA_PG_INT4}, {"yes", STOA_PG_BOOL},     {"\"at\"", STOA_PG_TIME},
    {"seq", STOA_PG_INT},
};
static const stoa_pg_table things = {.name = "things", .key = "id", .guard = "seq", .columns = columns, .column_count = 9};

typedef struct thing {
    stoa_pg_uuid id;
    const char *name; /* NULL: null */
    stoa_pg_amount amount;
    uint64_t big;
    int64_t whole;
    int32_t small;
    bool yes;
    uint64_t at_ns;
    int64_t seq;
} thing;

static int start_server(void **state)
{
    (void)state;
    kit_server_start(&server);
    return 0;
}

static int end_server(void **state)
{
    (void)state;
    kit_server_end(&server);
    return 0;
}

static stoa_pg *connect_with(uint64_t timeout_ns, int stop_fd)
{
    stoa_pg *pg;
    stoa_pg_options options = {.conninfo = server.conninfo, .application = "test", .timeout_ns = timeout_ns, .stop_fd = stop_fd};
    kit_ok(stoa_pg_open(&options, &pg));
    return pg;
}

static stoa_pg *connect_fresh(void)
{
    stoa_pg *pg = connect_with(0, -1);
    kit_ok(stoa_pg_run(pg, "DROP TABLE IF EXISTS things; CREATE TABLE things (id uuid PRIMARY KEY, name text, amount numeric(38,8), "
                           "big numeric(20,0), whole bigint, small integer, yes boolean, \"at\" timestamptz, seq bigint)", NULL));
    return pg;
}

static void put(stoa_pg_rows *rows, const thing *t)
{
    stoa_pg_row_begin(rows);
    stoa_pg_put_uuid(rows, t->id);
    if (t->name) {
        stoa_pg_put_textz(rows, t->name);
    } else {
        stoa_pg_put_null(rows);
    }
    stoa_pg_put_amount(rows, t->amount);
    stoa_pg_put_big(rows, t->big);
    stoa_pg_put_int(rows, t->whole);
    stoa_pg_put_int(rows, t->small);
    stoa_pg_put_bool(rows, t->yes);
    stoa_pg_put_time(rows, t->at_ns);
    stoa_pg_put_int(rows, t->seq);
    stoa_pg_row_end(rows);
}

/* The amount as numeric_out prints it. */
static void print_amount(stoa_pg_amount amount, char *text)
{
    __extension__ unsigned __int128 magnitude = amount < 0 ? -(unsigned __int128)amount : (unsigned __int128)amount;
    char digits[48];
    int n = 0;
    for (; magnitude || n < 9; magnitude /= 10) { digits[n++] = (char)('0' + (int)(magnitude % 10)); }
    if (amount < 0) { *text++ = '-'; }
    while (n > 0) {
        *text++ = digits[--n];
        if (n == 8) { *text++ = '.'; }
    }
    *text = '\0';
}

typedef struct found {
    thing at;
    char name[64];
    uint32_t count;
} found;

static stoa_err take(void *context, const stoa_pg_value *values, uint32_t count)
{
    found *f = context;
    int64_t small = 0;
    assert_int_equal(count, 9);
    f->count++;
    f->at.name = values[1].bytes ? f->name : NULL;
    if (values[1].bytes) { kit_ok(stoa_pg_read_text(&values[1], f->name, sizeof f->name)); }
    kit_ok(stoa_pg_read_uuid(&values[0], &f->at.id));
    kit_ok(stoa_pg_read_amount(&values[2], &f->at.amount));
    kit_ok(stoa_pg_read_big(&values[3], &f->at.big));
    kit_ok(stoa_pg_read_int(&values[4], &f->at.whole));
    kit_ok(stoa_pg_read_int(&values[5], &small));
    kit_ok(stoa_pg_read_bool(&values[6], &f->at.yes));
    kit_ok(stoa_pg_read_time(&values[7], &f->at.at_ns));
    kit_ok(stoa_pg_read_int(&values[8], &f->at.seq));
    f->at.small = (int32_t)small;
    return STOA_OK;
}

static void assert_same(const thing *a, const thing *b)
{
    assert_true(a->id.high == b->id.high && a->id.low == b->id.low);
    assert_true((a->name == NULL) == (b->name == NULL) && (!a->name || strcmp(a->name, b->name) == 0));
    assert_true(a->amount == b->amount);
    assert_true(a->big == b->big && a->whole == b->whole && a->small == b->small && a->yes == b->yes && a->seq == b->seq);
    assert_true(a->at_ns / 1000 == b->at_ns / 1000 && b->at_ns % 1000 == 0);
}

#define E8 INT64_C(100000000)
/* The ends of what columns hold, and what lies at the edges of numeric's digits of 10,000. */
static const thing edges[] = {
    {{0, 1}, "", 0, 0, 0, 0, false, 0, 1},
    {{UINT64_MAX, UINT64_MAX}, NULL, 1, UINT64_MAX, INT64_MAX, INT32_MAX, true, UINT64_C(4102444800000000999), INT64_MAX},
    {{1, 0}, "a'b\"c\\d,\te\nf", -1, 1, INT64_MIN, INT32_MIN, true, 1, 2},
    {{1, 1}, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8e", 9999, 9999, -1, -1, false, UINT64_C(946684800000000000), 3},
    {{1, 2}, "x", 10000, 10000, 1, 1, false, UINT64_C(946684799999999999), 4},
    {{1, 3}, "x", 99999999, 99999999, 2, 2, false, 5, 5},
    {{1, 4}, "x", E8, 100000000, 2, 2, false, 5, 6},
    {{1, 5}, "x", -E8, 12345678901234567890u, 2, 2, false, 5, 7},
    {{1, 6}, "x", (stoa_pg_amount)10000 * E8, 20000, 2, 2, false, 5, 8},
    {{1, 7}, "x", (stoa_pg_amount)1 << 120, 5, 2, 2, false, 5, 9},
    {{1, 8}, "x", -((stoa_pg_amount)1 << 120) + 1, 5, 2, 2, false, 5, 10},
    {{1, 9}, "x", (stoa_pg_amount)INT64_MAX * E8, 5, 2, 2, false, 5, 11},
    {{1, 10}, "x", INT64_MIN, 5, 2, 2, false, 5, 12},
};
enum { EDGES = sizeof edges / sizeof edges[0], RANDOM_THINGS = 400 };

static thing random_thing(stoa_random *random, uint64_t i)
{
    uint64_t bits = stoa_random_next(random) % 120;
    stoa_pg_amount amount = ((stoa_pg_amount)stoa_random_next(random) << 60 | (stoa_pg_amount)stoa_random_next(random)) &
                            (((stoa_pg_amount)1 << bits) - 1);
    return (thing){.id = {stoa_random_next(random), i},
                   .name = stoa_random_next(random) % 8 ? "name" : NULL,
                   .amount = stoa_random_next(random) & 1 ? -amount : amount,
                   .big = stoa_random_next(random) >> (stoa_random_next(random) % 64),
                   .whole = (int64_t)stoa_random_next(random),
                   .small = (int32_t)stoa_random_next(random),
                   .yes = stoa_random_next(random) & 1,
                   .at_ns = stoa_random_next(random) % UINT64_C(4102444800000000000),
                   .seq = (int64_t)(i + 100)};
}

static void check_with_server(stoa_pg *pg, const thing *t)
{
    char id[64], sql[256], amount[64];
    (void)snprintf(id, sizeof id, "%016" PRIx64 "%016" PRIx64, t->id.high, t->id.low);
    const char *params[] = {id};
    found f = {0};
    kit_ok(stoa_pg_select(pg, "SELECT * FROM things WHERE id = $1::uuid", params, 1, take, &f));
    assert_int_equal(f.count, 1);
    assert_same(t, &f.at);
    (void)snprintf(sql, sizeof sql, "SELECT amount, big, whole, small, yes, seq FROM things WHERE id = '%s'", id);
    print_amount(t->amount, amount);
    char expected[256];
    (void)snprintf(expected, sizeof expected, "%s|%" PRIu64 "|%" PRId64 "|%" PRId32 "|%s|%" PRId64, amount, t->big, t->whole,
                   t->small, t->yes ? "t" : "f", t->seq);
    assert_string_equal(kit_say(&server, sql), expected);
}

static void the_server_reads_what_we_wrote_whichever_way(void **state)
{
    (void)state;
    stoa_pg_rows rows;
    uint64_t seed = 20260131;
    print_message("seed %" PRIu64 "\n", seed);
    for (int way = 0; way < 3; way++) {
        stoa_pg *pg = connect_fresh();
        stoa_random random;
        stoa_random_seed(&random, seed);
        stoa_pg_rows_init(&rows, &things, 1 << 20);
        static thing written[EDGES + RANDOM_THINGS];
        for (uint32_t i = 0; i < EDGES + RANDOM_THINGS; i++) {
            written[i] = i < EDGES ? edges[i] : random_thing(&random, i);
            put(&rows, &written[i]);
        }
        assert_false(rows.cut);
        kit_ok(stoa_pg_run(pg, "BEGIN", NULL));
        const stoa_pg_rows *all[] = {&rows};
        kit_ok(way == 0 ? stoa_pg_copy(pg, &rows) : way == 1 ? stoa_pg_stage(pg, &rows) : stoa_pg_pipe(pg, all, 1));
        kit_ok(stoa_pg_run(pg, "COMMIT", NULL));
        for (uint32_t i = 0; i < EDGES + 20; i++) { check_with_server(pg, &written[i]); }
        found f = {0};
        kit_ok(stoa_pg_select(pg, "SELECT * FROM things", NULL, 0, take, &f));
        assert_int_equal(f.count, EDGES + RANDOM_THINGS);
        stoa_pg_rows_deinit(&rows);
        stoa_pg_close(pg);
    }
}

static void a_row_is_replaced_only_by_a_later_one(void **state)
{
    (void)state;
    stoa_pg *pg = connect_fresh();
    stoa_pg_rows rows;
    stoa_pg_rows_init(&rows, &things, 1 << 20);
    const stoa_pg_rows *all[] = {&rows};
    for (int way = 0; way < 2; way++) {
        static const int64_t seqs[] = {5, 4, 5, 6}, kept[] = {5, 5, 5, 6};
        kit_ok(stoa_pg_run(pg, "TRUNCATE things", NULL));
        for (int i = 0; i < 4; i++) {
            thing t = edges[0];
            t.seq = seqs[i];
            t.whole = i;
            stoa_pg_rows_clear(&rows);
            put(&rows, &t);
            kit_ok(stoa_pg_run(pg, "BEGIN", NULL));
            kit_ok(way == 0 ? stoa_pg_stage(pg, &rows) : stoa_pg_pipe(pg, all, 1));
            kit_ok(stoa_pg_run(pg, "COMMIT", NULL));
            int64_t seq = 0, whole = 0;
            kit_ok(stoa_pg_number(pg, "SELECT seq FROM things", &seq));
            kit_ok(stoa_pg_number(pg, "SELECT whole FROM things", &whole));
            assert_int_equal(seq, kept[i]);
            assert_int_equal(whole, i == 3 ? 3 : 0);
        }
    }
    stoa_pg_rows_deinit(&rows);
    stoa_pg_close(pg);
}

/* More than sockets hold, both ways: the writer must read while it writes. */
static void large_batches_do_not_jam(void **state)
{
    (void)state;
    stoa_pg *pg = connect_fresh();
    stoa_pg_rows rows;
    stoa_pg_rows_init(&rows, &things, 64 << 20);
    static char text[8192];
    memset(text, 'x', sizeof text - 1);
    for (uint64_t i = 0; i < STOA_PG_PIPE_MAX; i++) {
        thing t = edges[0];
        t.id.low = i;
        t.name = text;
        put(&rows, &t);
    }
    const stoa_pg_rows *all[] = {&rows};
    kit_ok(stoa_pg_run(pg, "BEGIN", NULL));
    kit_ok(stoa_pg_pipe(pg, all, 1));
    kit_ok(stoa_pg_run(pg, "TRUNCATE things", NULL));
    kit_ok(stoa_pg_copy(pg, &rows));
    kit_ok(stoa_pg_run(pg, "COMMIT", NULL));
    int64_t count = 0;
    kit_ok(stoa_pg_number(pg, "SELECT count(*) FROM things", &count));
    assert_int_equal(count, STOA_PG_PIPE_MAX);
    stoa_pg_rows_deinit(&rows);
    stoa_pg_close(pg);
}

static void rows_beyond_their_room_are_cut_not_written(void **state)
{
    (void)state;
    stoa_pg_rows rows;
    stoa_pg_rows_init(&rows, &things, 256);
    put(&rows, &edges[0]);
    assert_false(rows.cut);
    put(&rows, &edges[1]);
    put(&rows, &edges[2]);
    assert_true(rows.cut && rows.used_bytes <= 256);
    stoa_pg_rows_clear(&rows);
    assert_false(rows.cut);
    stoa_pg_rows_deinit(&rows);
}

static void errors_have_our_names_and_the_servers_words(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *code;
        stoa_err err;
    } cases[] = {
        {"SELECT 1/0", "22012", STOA_E_INVALID},
        {"SELECT 1", "", STOA_OK}, /* what follows an error is fine */
        {"SELECT 99999999999::int4", "22003", STOA_E_RANGE},
        {"SELECT * FROM no_such_table", "42P01", STOA_E_NOT_FOUND},
        {"SELECT no_such_column FROM things", "42703", STOA_E_NOT_FOUND},
        {"SELEC", "42601", STOA_E_INVALID},
        {"INSERT INTO things (id) VALUES ('00000000-0000-0000-0000-000000000001'), ('00000000-0000-0000-0000-000000000001')", "23505",
         STOA_E_EXISTS},
        {"SET statement_timeout = 10", "", STOA_OK},
        {"SELECT pg_sleep(10)", "57014", STOA_E_TIMEOUT},
        {"SET statement_timeout = 0", "", STOA_OK},
        {"BEGIN READ ONLY; CREATE TABLE t ()", "25006", STOA_E_UNAVAILABLE},
        {"ROLLBACK", "", STOA_OK},
        {"CREATE ROLE nobody_in_particular; SET ROLE nobody_in_particular; DELETE FROM things", "42501", STOA_E_DENIED},
    };
    stoa_pg *pg = connect_fresh();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stoa_err err = stoa_pg_run(pg, cases[i].sql, NULL);
        if (err != cases[i].err) { fail_msg("%s: %s, %s", cases[i].sql, stoa_err_name(err), stoa_err_trail()); }
        if (err) {
            assert_string_equal(stoa_pg_state(pg), cases[i].code);
            assert_non_null(strstr(stoa_err_trail(), cases[i].code));
        }
    }
    stoa_pg_close(pg);
}

/* A pipe names the server's reason though rows behind the bad one were skipped, a COPY names table and line. */
static void a_bad_row_is_told_by_pipe_and_copy(void **state)
{
    (void)state;
    stoa_pg_rows rows;
    stoa_pg_rows_init(&rows, &things, 1 << 20);
    for (uint64_t i = 0; i < 100; i++) {
        thing t = edges[0];
        t.id.low = i;
        t.whole = i == 40 ? 13 : 0;
        put(&rows, &t);
    }
    const stoa_pg_rows *all[] = {&rows};
    for (int way = 0; way < 3; way++) {
        stoa_pg *pg = connect_fresh();
        kit_ok(stoa_pg_run(pg, "ALTER TABLE things ADD CONSTRAINT unlucky CHECK (whole <> 13)", NULL));
        kit_ok(stoa_pg_run(pg, "BEGIN", NULL));
        stoa_err err = way == 0 ? stoa_pg_copy(pg, &rows) : way == 1 ? stoa_pg_stage(pg, &rows) : stoa_pg_pipe(pg, all, 1);
        assert_int_equal(err, STOA_E_INVALID);
        assert_non_null(strstr(stoa_err_trail(), "unlucky"));
        stoa_pg_close(pg);
        assert_string_equal(kit_say(&server, "SELECT count(*) FROM things"), "0");
    }
    stoa_pg_rows_deinit(&rows);
}

static void passwords_are_refused_and_never_repeated(void **state)
{
    (void)state;
    static const char *const secrets[] = {"host=a password=Tr0ub4dor", "postgresql://u:Tr0ub4dor@h/db", "password='Tr0ub4dor' host=b"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        assert_int_equal(stoa_pg_check(secrets[i]), STOA_E_DENIED);
        assert_null(strstr(stoa_err_trail(), "Tr0ub4dor"));
    }
    assert_int_equal(stoa_pg_check("hots=a"), STOA_E_INVALID);
    assert_int_equal(stoa_pg_check("password=Tr0ub4dor host"), STOA_E_INVALID);
    assert_null(strstr(stoa_err_trail(), "Tr0ub4dor"));
    kit_ok(stoa_pg_check("host=a,b port=1,2 dbname=x target_session_attrs=read-write"));
}

static void a_server_that_hangs_or_goes_is_told(void **state)
{
    (void)state;
    stoa_pg *pg = connect_with(STOA_MS(200), -1);
    (void)kit_say(&server, "freeze");
    assert_int_equal(stoa_pg_run(pg, "SELECT 1", NULL), STOA_E_TIMEOUT);
    (void)kit_say(&server, "thaw");
    stoa_pg_close(pg);

    int stop = eventfd(1, EFD_CLOEXEC);
    pg = connect_with(0, -1);
    stoa_pg_close(pg);
    stoa_pg_options options = {.conninfo = server.conninfo, .application = "test", .stop_fd = stop};
    assert_int_equal(stoa_pg_open(&options, &pg), STOA_E_CANCELLED);
    (void)close(stop);

    pg = connect_with(0, -1);
    (void)kit_say(&server, "kill");
    assert_int_equal(stoa_pg_run(pg, "SELECT 1", NULL), STOA_E_UNAVAILABLE);
    stoa_pg_close(pg);
    options.stop_fd = -1;
    assert_int_equal(stoa_pg_open(&options, &pg), STOA_E_UNAVAILABLE);
    (void)kit_say(&server, "start");
    stoa_pg_close(connect_with(0, -1));
}

/* --- migrations */

static const stoa_pg_migration steps[] = {
    {1, "one", "CREATE TABLE one (a int); INSERT INTO one VALUES (1)", "DROP TABLE one"},
    {2, "two", "ALTER TABLE one ADD b int NOT NULL DEFAULT 2", "ALTER TABLE one DROP b"},
    {3, "three", "CREATE TABLE three (); SELECT 1/0", "DROP TABLE three"},
};

static void migrations_run_once_whole_or_not_at_all_and_back(void **state)
{
    (void)state;
    stoa_pg *pg;
    stoa_pg_options options = {.conninfo = server.conninfo, .application = "test", .schema = "moved", .stop_fd = -1};
    kit_ok(stoa_pg_open(&options, &pg));
    uint32_t at = 9;
    kit_ok(stoa_pg_migrated(pg, "moved", &at));
    assert_int_equal(at, 0);
    kit_ok(stoa_pg_migrate(pg, "moved", steps, 2, 1));
    kit_ok(stoa_pg_migrate(pg, "moved", steps, 2, 2));
    kit_ok(stoa_pg_migrate(pg, "moved", steps, 2, 2));
    assert_string_equal(kit_say(&server, "SELECT * FROM moved.one"), "1|2");
    assert_string_equal(kit_say(&server, "SELECT number, name FROM moved.migrations ORDER BY 1"), "1|one;2|two");
    kit_ok(stoa_pg_migrate(pg, "moved", steps, 2, 1)); /* down, with data */
    assert_string_equal(kit_say(&server, "SELECT * FROM moved.one"), "1");
    kit_ok(stoa_pg_migrate(pg, "moved", steps, 2, 2));
    assert_int_equal(stoa_pg_migrate(pg, "moved", steps, 3, 3), STOA_E_INVALID);
    assert_non_null(strstr(stoa_err_trail(), "migration 3 (three)"));
    stoa_pg_close(pg);
    assert_string_equal(kit_say(&server, "SELECT count(*) FROM pg_tables WHERE schemaname = 'moved' AND tablename = 'three'"), "0");

    kit_ok(stoa_pg_open(&options, &pg));
    kit_ok(stoa_pg_migrate(pg, "moved", steps, 1, 1)); /* the build before: one ahead is as good, and left alone */
    assert_string_equal(kit_say(&server, "SELECT max(number) FROM moved.migrations"), "2");
    kit_ok(stoa_pg_run(pg, "INSERT INTO moved.migrations (number, name) VALUES (3, 'of tomorrow')", NULL));
    assert_int_equal(stoa_pg_migrate(pg, "moved", steps, 1, 1), STOA_E_VERSION);
    stoa_pg_close(pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_reads_what_we_wrote_whichever_way),
        cmocka_unit_test(a_row_is_replaced_only_by_a_later_one),
        cmocka_unit_test(large_batches_do_not_jam),
        cmocka_unit_test(rows_beyond_their_room_are_cut_not_written),
        cmocka_unit_test(errors_have_our_names_and_the_servers_words),
        cmocka_unit_test(a_bad_row_is_told_by_pipe_and_copy),
        cmocka_unit_test(passwords_are_refused_and_never_repeated),
        cmocka_unit_test(a_server_that_hangs_or_goes_is_told),
        cmocka_unit_test(migrations_run_once_whole_or_not_at_all_and_back),
    };
    return cmocka_run_group_tests(tests, start_server, end_server);
}
