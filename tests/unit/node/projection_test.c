/* projection_test.c - goal: the rows in PostgreSQL are what the actors say, and a function of the log alone: not of batches, of the
 * way they were written, of restarts or rebuilds; what cannot be written stops its shard with position and table; days go when they
 * are old.
 * Method: a node with two markets in this process and random orders from a printed seed; a PostgreSQL of its own; schemas filled in
 * every way and compared by checksums of all tables; actors asked beside SQL; time moved by calls.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/postgres_kit.h"

#include <inttypes.h>
#include <ftw.h>
#include <time.h>

#include "actors/trade/account_msgs.h"
#include "base/log.h"
#include "base/random.h"
#include "node/platform.h"
#include "node/projection/projection.h"
#include "runtime/log_reader.h"
#include "runtime/readers.h"
#include "storage/postgres/write.h"

STOA_PROXY(trade_account)

enum { ORDERS = 1500, WAIT_MS = 60000 };
#define DEADLINE STOA_S(20)

static const char settings_text[] =
    "symbols:\n"
    "  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100, margin_rate: 0.1}\n"
    "  - {name: ETHUSDT, base: ETH, quote: USDT, tick: 0.1, lot: 0.001, qty_min: 0.001, qty_max: 100}\n"
    "accounts:\n"
    "  - {name: treasury, issuer: true}\n"
    "  - {name: alice, funds: \"1000000 USDT, 10 BTC, 100 ETH\"}\n"
    "  - {name: bob, funds: \"1000000 USDT, 10 BTC, 100 ETH\", position_max: 12}\n"
    "  - {name: carol, margin: true, leverage_max: 3, funds: \"100000 USDT\", daily_loss_max: 5000}\n"
    "clients:\n"
    "  - {name: alice, accounts: \"alice\"}\n"
    "  - {name: desk, accounts: \"bob, carol\"}\n"
    "rooms:\n"
    "  - {name: lobby}\n"
    "quoters: []\n";

static kit_server server;
static stoa_platform *platform;
static stoa_settings settings;
static char data[64];
static uint64_t last; /* position that all tests project up to */
static stoa_pg *pg;

/* --- a node with a history */

static void open_node(void)
{
    char folder[96], address[96];
    stoa_buf faults = STOA_BUF_GROWING;
    (void)snprintf(folder, sizeof folder, "node.data=%s", data);
    (void)snprintf(address, sizeof address, "gateway.listen=zmq+ipc://%s/gw", data);
    const char *overrides[] = {folder, "market.source=none", address, "http.port=-1", "trade.durability=memory", NULL};
    stoa_err err = stoa_settings_load(&(stoa_config_source){.text = settings_text, .overrides = overrides}, &settings, &faults);
    if (err) { fail_msg("%s", faults.at ? faults.at : stoa_err_trail()); }
    stoa_buf_deinit(&faults);
    kit_ok(stoa_platform_open(&settings, &platform));
}

static stoa_ref account(const char *name)
{
    char full[64];
    (void)snprintf(full, sizeof full, "trade_account/%s", name);
    return stoa_find(platform->node, full);
}

static const char *const names[] = {"alice", "bob", "carol"};

static trade_account_place random_order(stoa_random *random, uint64_t id)
{
    bool btc = stoa_random_below(random, 3) > 0;
    trade_account_place order = {.client_order_id = id,
                                 .side = (trade_side)stoa_random_below(random, 2),
                                 .tif = (trade_tif)stoa_random_below(random, 4)};
    kit_ok(STOA_TEXT_SETZ(&order.symbol, btc ? "BTCUSDT" : "ETHUSDT"));
    order.price = (btc ? 60000 * STOA_DECIMAL_ONE : 3000 * STOA_DECIMAL_ONE) +
                  ((stoa_decimal)stoa_random_below(random, 200) - 100) * STOA_DECIMAL_ONE / 10;
    order.qty = (stoa_decimal)(1 + stoa_random_below(random, 50)) * (btc ? 100000 : 10000000);
    if (stoa_random_below(random, 40) == 0) { order.qty *= 1000; } /* beyond funds, or limits */
    return order;
}

static void trade(uint64_t seed, uint64_t from, uint64_t count)
{
    stoa_random random;
    stoa_random_seed(&random, seed);
    for (uint64_t id = from; id < from + count; id++) {
        stoa_ref who = account(names[stoa_random_below(&random, 3)]);
        trade_account_place order = random_order(&random, id);
        trade_account_order out;
        (void)trade_account_call_place(platform->node, who, order, DEADLINE, &out);
        if (stoa_random_below(&random, 4) == 0) {
            trade_account_cancel cancel = {.client_order_id = from + stoa_random_below(&random, id - from + 1)};
            (void)trade_account_call_cancel(platform->node, who, cancel, DEADLINE, &out);
        }
    }
    stoa_shard_view view;
    kit_ok(stoa_shard_look(platform->trade, &view));
    assert_true(stoa_log_wait(platform->trade, view.applied, STOA_S(30)));
    last = view.applied;
}

static int remove_one(const char *path, const struct stat *found, int flag, struct FTW *walk)
{
    (void)found, (void)flag, (void)walk;
    return remove(path);
}

static int begin(void **state)
{
    (void)state;
    uint64_t seed = 20261121;
    stoa_log_level_set(STOA_LOG_OFF);
    print_message("seed %" PRIu64 "\n", seed);
    (void)snprintf(data, sizeof data, "/tmp/stoa-projection-%d", (int)getpid());
    open_node();
    trade(seed, 1, ORDERS);
    kit_server_start(&server);
    kit_ok(stoa_pg_open(&(stoa_pg_options){.conninfo = server.conninfo, .application = "test", .stop_fd = -1}, &pg));
    return 0;
}

static int end(void **state)
{
    (void)state;
    stoa_pg_close(pg);
    kit_server_end(&server);
    stoa_platform_close(platform);
    return nftw(data, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- filling a schema without a thread */

static const char *const trade_shard[] = {"trade"};

static stoa_target_options target_options(const char *schema, stoa_projection_way way)
{
    static const stoa_projection_exchange sim = {"sim", "simulated"};
    static const stoa_projection_client desk = {"desk", "0123456789012345678901234567890123456789", "bob, carol", STOA_S(1000000000)};
    return (stoa_target_options){.conninfo = server.conninfo, .schema = schema, .stop_fd = -1, .way = way, .shards = trade_shard,
                                 .shard_count = 1, .exchanges = &sim, .exchange_count = 1, .clients = &desk, .client_count = 1};
}

static stoa_err fold(void *context, const stoa_event_view *event)
{
    return stoa_model_apply(context, event);
}

typedef struct pace {
    uint32_t batch_max, restart_one_in; /* batches of 1 to batch_max events, random; 0: never restarted */
} pace;

static void fill_up_to(const stoa_target_options *options, pace how, uint64_t until)
{
    stoa_log_reader *reader;
    stoa_target *target;
    stoa_random random;
    stoa_random_seed(&random, how.batch_max);
    kit_ok(stoa_log_open(platform->trade, &reader));
    kit_ok(stoa_target_open(options, &target));
    while (stoa_target_position(target, 0) < until) {
        uint64_t from = stoa_target_position(target, 0) + 1, to = from + stoa_random_below(&random, how.batch_max);
        if (to > until) { to = until; }
        kit_ok(stoa_log_read(reader, from, to, fold, stoa_target_model(target, 0), NULL));
        stoa_target_written written;
        kit_ok(stoa_target_write(target, 0, to, to * 7, STOA_S(1), &written));
        assert_int_equal(written.piped, written.rows <= STOA_PG_PIPE_MAX / (options->way == STOA_WAY_PIPE ? 1 : 2) &&
                                        options->way != STOA_WAY_COPY);
        if (how.restart_one_in && stoa_random_below(&random, how.restart_one_in) == 0) {
            stoa_target_close(target);
            kit_ok(stoa_target_open(options, &target));
            assert_true(stoa_target_position(target, 0) == to && stoa_target_mark(target, 0) == to * 7);
        }
    }
    stoa_target_close(target);
    stoa_log_close(reader);
}

/* Checksums of all tables; those of partitions come by their parents. */
static const char *sums(const char *schema, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) {
        char sql[256];
        const char *name = stoa_projection_tables[t].name;
        (void)snprintf(sql, sizeof sql, "SELECT count(*), sum(hashtextextended(r::text, 0)) FROM %s.%s r", schema, name);
        used += (size_t)snprintf(out + used, cap - used, "%s %s\n", name, kit_say(&server, sql));
    }
    return out;
}

static void assert_alike(const char *a, const char *b)
{
    char of_a[2048], of_b[2048];
    assert_string_equal(sums(a, of_a, sizeof of_a), sums(b, of_b, sizeof of_b));
}

static void rows_do_not_depend_on_batches_ways_or_restarts(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        stoa_projection_way way;
        pace how;
    } runs[] = {
        {"whole", STOA_WAY_BY_SIZE, {1 << 20, 0}}, {"piped", STOA_WAY_PIPE, {40, 0}},      {"copied", STOA_WAY_COPY, {300, 0}},
        {"again", STOA_WAY_BY_SIZE, {500, 4}},     {"piped_again", STOA_WAY_PIPE, {25, 9}}, {"copied_again", STOA_WAY_COPY, {100, 5}},
    };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        stoa_target_options options = target_options(runs[i].schema, runs[i].way);
        fill_up_to(&options, runs[i].how, last);
        assert_alike("whole", runs[i].schema);
    }
    char text[2048];
    print_message("%s", sums("whole", text, sizeof text));
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) { /* no table was forgotten by the test */
        char sql[128];
        (void)snprintf(sql, sizeof sql, "SELECT count(*) > 0 FROM whole.%s", stoa_projection_tables[t].name);
        assert_string_equal(kit_say(&server, sql), "t");
    }
}

/* --- what actors say */

static void check_orders(const char *name)
{
    uint64_t after = 0, count = 0;
    trade_account_page page = {.more = 1};
    char sql[512], expected[512], number[STOA_DECIMAL_TEXT_MAX], filled[STOA_DECIMAL_TEXT_MAX];
    while (page.more) {
        kit_ok(trade_account_call_orders(platform->node, account(name), (trade_account_orders){.after_order_id = after}, DEADLINE, &page));
        for (uint32_t i = 0; i < page.orders.count; i++) {
            const trade_order *o = &page.orders.at[i];
            after = o->order_id;
            count++;
            if (count % 7) { continue; } /* SQL one by one is slow */
            (void)snprintf(sql, sizeof sql,
                           "SELECT o.symbol, o.side, o.status, o.reason, o.client_order_id, o.time_in_force, o.filled_quantity, "
                           "o.filled_notional, (extract(epoch FROM o.updated_at) * 1000000)::bigint FROM whole.orders o "
                           "WHERE o.number = %" PRIu64, o->order_id);
            (void)stoa_decimal_print(o->filled_qty, 8, number);
            (void)stoa_decimal_print(o->filled_notional, 8, filled);
            (void)snprintf(expected, sizeof expected, "%.*s|%s|%s|%s|%" PRIu64 "|%s|%s|%s|%" PRIu64, STOA_TEXT_ARGS(&o->symbol),
                           trade_side_texts[o->side], trade_status_texts[o->status], trade_reason_texts[o->reason], o->client_order_id,
                           trade_tif_texts[o->tif], number, filled, o->changed_ns / 1000);
            assert_string_equal(kit_say(&server, sql), expected);
        }
    }
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM whole.orders o JOIN whole.users u ON u.id = o.user_id WHERE u.name = '%s' AND u.shard = 'trade'",
                   name);
    (void)snprintf(expected, sizeof expected, "%" PRIu64, count);
    assert_string_equal(kit_say(&server, sql), expected);
}

static void check_money(const char *name)
{
    trade_account_holdings holdings;
    char sql[512], expected[512], free[STOA_DECIMAL_TEXT_MAX], locked[STOA_DECIMAL_TEXT_MAX], total[STOA_DECIMAL_TEXT_MAX];
    kit_ok(trade_account_call_balances(platform->node, account(name), (trade_account_balances){{0}}, DEADLINE, &holdings));
    assert_true(holdings.balances.count >= 2);
    for (uint32_t i = 0; i < holdings.balances.count; i++) {
        const trade_balance *b = &holdings.balances.at[i];
        (void)snprintf(sql, sizeof sql, "SELECT available, locked, total FROM whole.balances b JOIN whole.users u ON u.id = b.user_id "
                                        "WHERE u.name = '%s' AND currency = '%.*s'", name, STOA_TEXT_ARGS(&b->asset));
        (void)stoa_decimal_print(b->free, 8, free);
        (void)stoa_decimal_print(b->reserved, 8, locked);
        (void)stoa_decimal_print(b->free + b->reserved, 8, total);
        (void)snprintf(expected, sizeof expected, "%s|%s|%s", free, locked, total);
        assert_string_equal(kit_say(&server, sql), expected);
    }
    (void)snprintf(sql, sizeof sql, "SELECT sum(realized_pnl) FROM whole.positions p JOIN whole.users u ON u.id = p.user_id "
                                    "WHERE u.name = '%s'", name);
    (void)stoa_decimal_print(holdings.day_pnl, 8, expected); /* the test takes less than a day, unless it runs over midnight */
    time_t now = time(NULL);
    if (now % 86400 > 600) { assert_string_equal(kit_say(&server, sql), expected); }
}

static void rows_are_what_the_actors_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_orders(names[i]);
        check_money(names[i]);
    }
    /* what must hold between tables: each expression is 0 */
    static const char *const zero[] = {
        "SELECT count(*) FROM (SELECT currency FROM whole.balances GROUP BY 1 HAVING sum(total) <> 0) x", /* money is conserved */
        "SELECT count(*) FROM whole.orders o WHERE NOT EXISTS (SELECT FROM whole.users u WHERE u.id = o.user_id)",
        "SELECT count(*) FROM whole.orders o WHERE NOT EXISTS (SELECT FROM whole.symbols s WHERE s.symbol = o.symbol)",
        "SELECT count(*) FROM whole.trades t WHERE NOT EXISTS (SELECT FROM whole.orders o WHERE o.id = t.order_id)",
        "SELECT count(*) FROM whole.order_history h WHERE NOT EXISTS (SELECT FROM whole.orders o WHERE o.id = h.order_id)",
        "SELECT count(*) FROM whole.market_data m WHERE NOT EXISTS (SELECT FROM whole.symbols s WHERE s.symbol = m.symbol)",
        "SELECT count(*) FROM whole.users u WHERE (SELECT count(*) FROM whole.risk_limits r WHERE r.user_id = u.id) <> 1",
        "SELECT count(*) FROM whole.orders o WHERE filled_quantity <> coalesce((SELECT sum(quantity) FROM whole.trades t WHERE t.order_id = o.id), 0)",
        "SELECT count(*) FROM whole.orders o WHERE status <> (SELECT status FROM whole.order_history h WHERE h.order_id = o.id ORDER BY seq DESC LIMIT 1)",
        "SELECT count(*) FROM (SELECT number, symbol FROM whole.trades GROUP BY 1, 2 HAVING count(*) <> 2 OR count(DISTINCT side) <> 2) x",
        "SELECT sum(volume) - (SELECT sum(quantity) FROM whole.trades WHERE maker) FROM whole.market_data",
        ("SELECT count(*) FROM whole.positions p WHERE quantity <> (SELECT coalesce(sum(CASE t.side WHEN 'buy' THEN t.quantity ELSE -t.quantity END), 0) "
         "FROM whole.trades t JOIN whole.orders o ON o.id = t.order_id WHERE o.user_id = p.user_id AND t.symbol = p.symbol)"),
        "SELECT count(*) FROM whole.balances WHERE total <> available + locked",
    };
    for (size_t i = 0; i < sizeof zero / sizeof zero[0]; i++) {
        const char *answer = kit_say(&server, zero[i]);
        if (strtod(answer, NULL) != 0 || !answer[0]) { fail_msg("%s: %s", zero[i], answer); }
    }
    assert_string_equal(kit_say(&server, "SELECT name, role FROM whole.users ORDER BY role, name"),
                        "desk|client;treasury|issuer;carol|margin;alice|trader;bob|trader");
    assert_string_equal(kit_say(&server, "SELECT max_leverage, max_daily_loss, margin_requirement IS NULL FROM whole.risk_limits r "
                                         "JOIN whole.users u ON u.id = r.user_id WHERE u.name = 'carol'"),
                        "3.00000000|5000.00000000|t");
    assert_string_equal(kit_say(&server, "SELECT symbol, base_currency, exchange, price_precision, active FROM whole.symbols ORDER BY 1"),
                        "BTCUSDT|BTC|stoa|2|t;ETHUSDT|ETH|stoa|1|t");
}

/* --- the data model that was asked for: columns and keys, in its words */

static const struct {
    const char *table, *columns; /* name:type, in order; ours may follow */
} model[] = {
    {"users", "id:uuid email:text password_hash:text role:text created_at:timestamptz updated_at:timestamptz active:bool"},
    {"orders", "id:uuid user_id:uuid symbol:text type:text side:text price:numeric quantity:numeric filled_quantity:numeric status:text "
               "created_at:timestamptz updated_at:timestamptz"},
    {"trades", "id:uuid order_id:uuid symbol:text price:numeric quantity:numeric side:text fee:numeric executed_at:timestamptz"},
    {"positions", "id:uuid user_id:uuid symbol:text quantity:numeric avg_price:numeric unrealized_pnl:numeric realized_pnl:numeric "
                  "updated_at:timestamptz"},
    {"balances", "id:uuid user_id:uuid currency:text available:numeric locked:numeric total:numeric updated_at:timestamptz"},
    {"symbols", "symbol:text base_currency:text quote_currency:text exchange:text min_quantity:numeric max_quantity:numeric "
                "price_precision:int4 active:bool"},
    {"market_data", "id:uuid symbol:text price:numeric volume:numeric high:numeric low:numeric timestamp:timestamptz"},
    {"risk_limits", "id:uuid user_id:uuid max_position_size:numeric max_leverage:numeric max_daily_loss:numeric margin_requirement:numeric"},
    {"api_keys", "id:uuid user_id:uuid"},
    {"order_history", "id:uuid order_id:uuid"},
    {"exchanges", "name:text"},
};

static void the_catalog_is_the_data_model(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof model / sizeof model[0]; i++) {
        char sql[512];
        (void)snprintf(sql, sizeof sql,
                       "SELECT string_agg(column_name || ':' || udt_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns "
                       "WHERE table_schema = 'whole' AND table_name = '%s'", model[i].table);
        const char *found = kit_say(&server, sql);
        if (strncmp(found, model[i].columns, strlen(model[i].columns)) != 0) { fail_msg("%s: %s", model[i].table, found); }
    }
    static const char *const keys[][2] = {
        {"users", "PRIMARY KEY (id)"}, {"users", "UNIQUE (email)"}, {"symbols", "PRIMARY KEY (symbol)"},
        {"symbols", "FOREIGN KEY (exchange) REFERENCES whole.exchanges(name) DEFERRABLE INITIALLY DEFERRED"},
        {"risk_limits", "UNIQUE (user_id)"},
        {"risk_limits", "FOREIGN KEY (user_id) REFERENCES whole.users(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"},
        {"api_keys", "FOREIGN KEY (user_id) REFERENCES whole.users(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"},
        {"balances", "FOREIGN KEY (user_id) REFERENCES whole.users(id) DEFERRABLE INITIALLY DEFERRED"},
        {"positions", "FOREIGN KEY (user_id) REFERENCES whole.users(id) DEFERRABLE INITIALLY DEFERRED"},
        {"orders", "PRIMARY KEY (id, created_at)"}, {"trades", "PRIMARY KEY (id, executed_at)"},
        {"order_history", "PRIMARY KEY (id, changed_at)"}, {"market_data", "PRIMARY KEY (id, \"timestamp\")"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char sql[512];
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_constraint WHERE conrelid = 'whole.%s'::regclass AND pg_get_constraintdef(oid) = '%s'",
                       keys[i][0], keys[i][1]);
        if (strcmp(kit_say(&server, sql), "1") != 0) { fail_msg("%s: no %s", keys[i][0], keys[i][1]); }
    }
}

/* A day's orders of a user: one partition, and of it an index. */
static void queries_use_indexes_and_touch_only_their_days(void **state)
{
    (void)state;
    static const char *const queries[][2] = {
        {"SELECT * FROM whole.orders WHERE user_id = '00000000-0000-8000-8000-000000000001' AND created_at >= current_date", "user_id_created_at_idx"},
        {"SELECT * FROM whole.trades WHERE order_id = '00000000-0000-8000-8000-000000000001' AND executed_at >= current_date", "order_id_executed_at_idx"},
        {"SELECT * FROM whole.trades WHERE symbol = 'X' AND executed_at >= current_date", "symbol_executed_at_idx"},
        {"SELECT * FROM whole.order_history WHERE order_id = '00000000-0000-8000-8000-000000000001' AND changed_at >= current_date", "order_id_changed_at_idx"},
        {"SELECT * FROM whole.market_data WHERE symbol = 'X' AND \"timestamp\" >= current_date", "symbol_timestamp_idx"},
    };
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        char sql[512];
        (void)snprintf(sql, sizeof sql, "SET enable_seqscan = off; SET timezone = 'UTC'; EXPLAIN %s", queries[i][0]);
        const char *plan = kit_say(&server, sql);
        if (!strstr(plan, queries[i][1]) || strstr(plan, "Seq Scan")) { fail_msg("%s: %s", queries[i][0], plan); }
    }
}

static stoa_err migrate(const char *schema, uint32_t target)
{
    stoa_pg *session;
    stoa_pg_options options = {.conninfo = server.conninfo, .application = "test", .schema = schema, .stop_fd = -1};
    kit_ok(stoa_pg_open(&options, &session));
    stoa_err err = stoa_pg_migrate(session, schema, stoa_projection_migrations, stoa_projection_migration_count, target);
    stoa_pg_close(session);
    return err;
}

/* Down and up again with all rows in place; and with a schema that a later build has been at. */
/* With a column of tomorrow, or of an operator's, that rows must have and that we do not know. */
static void migrate_under(const char *schema, stoa_projection_way way, uint32_t batch_max, uint64_t first_id)
{
    char sql[256];
    stoa_target_options options = target_options(schema, way);
    fill_up_to(&options, (pace){batch_max, 0}, last / 2);
    for (uint32_t down = stoa_projection_migration_count; down-- > 1;) { kit_ok(migrate(schema, down)); }
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_indexes WHERE schemaname = '%s' AND indexname LIKE '%%order_id%%'", schema);
    assert_string_equal(kit_say(&server, sql), "0");
    fill_up_to(&options, (pace){batch_max, 0}, last); /* it migrates up by itself */
    assert_alike("whole", schema);
    (void)snprintf(sql, sizeof sql, "ALTER TABLE %s.orders ADD desk text NOT NULL DEFAULT 'none'; INSERT INTO %s.migrations (number, name) "
                   "SELECT max(number) + 1, 'of tomorrow' FROM %s.migrations", schema, schema, schema);
    kit_say(&server, sql);
    uint64_t before = last;
    trade(76, first_id, 20);
    assert_true(last > before);
    fill_up_to(&options, (pace){batch_max, 0}, last);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s.orders WHERE desk <> 'none'", schema);
    assert_string_equal(kit_say(&server, sql), "0");
    options = target_options("whole", STOA_WAY_COPY);
    fill_up_to(&options, (pace){100, 0}, last);
    (void)snprintf(sql, sizeof sql, "ALTER TABLE %s.orders DROP desk", schema);
    kit_say(&server, sql);
    assert_alike("whole", schema);
}

static void migrations_keep_the_rows(void **state)
{
    (void)state;
    migrate_under("older", STOA_WAY_BY_SIZE, 200, ORDERS + 1001);
    migrate_under("older_piped", STOA_WAY_PIPE, 25, ORDERS + 1101);
    migrate_under("older_copied", STOA_WAY_COPY, 200, ORDERS + 1201);
}

/* --- days */

static uint64_t now_ns(void)
{
    return stoa_clock_real.wall_ns(&stoa_clock_real);
}

static void tidy_at(const stoa_target_options *options, uint64_t days_later)
{
    stoa_target *target;
    kit_ok(stoa_target_open(options, &target));
    kit_ok(stoa_target_tidy(target, now_ns() + days_later * STOA_DAY_NS));
    stoa_target_close(target);
}

static void assert_rows(const char *schema, const char *table, bool some)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) > 0 FROM %s.%s", schema, table);
    if (strcmp(kit_say(&server, sql), some ? "t" : "f") != 0) { fail_msg("%s.%s: %s rows were expected", schema, table, some ? "some" : "no"); }
}

static void old_days_go_and_a_rebuild_does_not_bring_them_back(void **state)
{
    (void)state;
    stoa_target_options options = target_options("aged", STOA_WAY_BY_SIZE);
    options.keep_orders_ns = STOA_S(7776000);
    options.keep_market_ns = STOA_S(2592000);
    fill_up_to(&options, (pace){1 << 20, 0}, last);
    tidy_at(&options, 0);
    assert_alike("whole", "aged");
    assert_string_equal(kit_say(&server, "SELECT count(*) FROM pg_class WHERE relnamespace = 'aged'::regnamespace AND relname = 'orders_' || "
                                         "to_char((now() AT TIME ZONE 'UTC')::date + 2, 'YYYYMMDD')"), "1"); /* made ahead */
    tidy_at(&options, 30);
    assert_rows("aged", "market_data", true);
    tidy_at(&options, 32);
    assert_rows("aged", "market_data", false);
    assert_rows("aged", "trades", true);
    tidy_at(&options, 90);
    assert_rows("aged", "trades", true);
    tidy_at(&options, 92);
    assert_rows("aged", "trades", false);
    assert_rows("aged", "order_history", false);
    assert_rows("aged", "orders", true); /* one of that day is still open */
    kit_say(&server, "DELETE FROM aged.orders WHERE status IN ('new', 'open')");
    tidy_at(&options, 92);
    assert_rows("aged", "orders", false);

    stoa_target *old, *fresh;
    stoa_target_options shadow = target_options("aged_shadow", STOA_WAY_BY_SIZE);
    shadow.shadow = true;
    kit_ok(stoa_target_open(&options, &old));
    kit_ok(stoa_target_open(&shadow, &fresh));
    kit_ok(stoa_target_keep_as(fresh, old));
    stoa_target_close(fresh);
    stoa_target_close(old);
    fill_up_to(&shadow, (pace){1 << 20, 0}, last);
    assert_rows("aged_shadow", "orders", false);
    assert_rows("aged_shadow", "trades", false);
    assert_rows("aged_shadow", "market_data", false);
    assert_rows("aged_shadow", "balances", true);
}

static void old_days_can_be_moved_instead(void **state)
{
    (void)state;
    stoa_target_options options = target_options("kept", STOA_WAY_BY_SIZE);
    options.keep_market_ns = STOA_S(2592000);
    options.move_expired = true;
    fill_up_to(&options, (pace){1 << 20, 0}, last);
    tidy_at(&options, 32);
    assert_rows("kept", "market_data", false);
    assert_string_equal(kit_say(&server, "SELECT count(*) > 0 FROM pg_class WHERE relnamespace = 'kept_expired'::regnamespace AND relname LIKE 'market_data_%' "
                                         "AND relkind = 'r'"), "t");
}

static void two_projectors_do_not_share_a_schema(void **state)
{
    (void)state;
    stoa_target *one, *two;
    stoa_target_options options = target_options("mine", STOA_WAY_BY_SIZE);
    kit_ok(stoa_target_open(&options, &one));
    assert_int_equal(stoa_target_open(&options, &two), STOA_E_DENIED);
    stoa_target_close(one);
    kit_ok(stoa_target_open(&options, &two));
    kit_say(&server, "UPDATE mine.cursors SET position = 5"); /* somebody's hand: our cursor is not where we left it */
    stoa_target_written written;
    assert_int_equal(stoa_target_write(two, 0, 1, 1, 1, &written), STOA_E_STALE);
    stoa_target_close(two);
}

/* --- the thread */

typedef struct runner {
    stoa_metrics *metrics;
    stoa_projector *projector;
} runner;

static runner run(const char *schema, uint32_t batch)
{
    runner r;
    kit_ok(stoa_metrics_new(&r.metrics));
    stoa_target_options target = target_options(schema, STOA_WAY_BY_SIZE);
    stoa_projector_options options = {.target = target, .schema = schema, .shards = &platform->trade, .shard_count = 1, .batch = batch,
                                      .interval_ns = STOA_MS(1), .metrics = r.metrics};
    kit_ok(stoa_projector_open(&options, &r.projector));
    return r;
}

static void halt(runner *r)
{
    stoa_projector_close(r->projector);
    stoa_metrics_free(r->metrics);
}

/* Look until the first shard is in that state. */
static stoa_projection_view wait_for(const runner *r, stoa_projection_state state, uint64_t position)
{
    stoa_projection_view view;
    for (int ms = 0; ms < WAIT_MS; ms += 5) {
        stoa_projector_look(r->projector, &view);
        if (view.shards[0].state == state && view.shards[0].position >= position && !view.rebuilding) { return view; }
        struct timespec pause = {0, 5000000};
        (void)nanosleep(&pause, NULL);
    }
    fail_msg("%s at %" PRIu64 ", not %s: %s %s", stoa_projection_state_name(view.shards[0].state), view.shards[0].position,
             stoa_projection_state_name(state), view.error, view.shards[0].error);
    return view;
}

static void a_rebuild_gives_the_same_rows_and_so_does_dropping_all(void **state)
{
    (void)state;
    runner r = run("live", 500);
    (void)wait_for(&r, STOA_PROJECTION_LIVE, last);
    assert_alike("whole", "live");
    for (int i = 0; i < 2; i++) {
        kit_ok(stoa_projector_rebuild(r.projector));
        stoa_projection_view view = wait_for(&r, STOA_PROJECTION_LIVE, last);
        assert_int_equal(view.rebuilds, i + 1);
        assert_alike("whole", "live");
    }
    kit_say(&server, "DROP SCHEMA live CASCADE");
    trade(77, ORDERS + 1, 50); /* something to write: the projector finds nothing to write it to, and begins anew */
    (void)wait_for(&r, STOA_PROJECTION_LIVE, last);
    stoa_target_options options = target_options("whole", STOA_WAY_PIPE);
    fill_up_to(&options, (pace){100, 0}, last);
    assert_alike("whole", "live");
    assert_string_equal(kit_say(&server, "SELECT count(*) FROM pg_namespace WHERE nspname IN ('live_shadow', 'live_old')"), "0");
    halt(&r);
}

static void a_bad_row_stops_its_shard_with_position_and_table(void **state)
{
    (void)state;
    runner r = run("strict", 64);
    (void)wait_for(&r, STOA_PROJECTION_LIVE, last);
    char sql[256], where[64];
    kit_say(&server, "ALTER TABLE strict.trades ADD CONSTRAINT modest CHECK (seq < 0) NOT VALID");
    uint64_t before = last;
    trade(78, ORDERS + 101, 120);
    stoa_projection_view view = wait_for(&r, STOA_PROJECTION_STOPPED, before);
    uint64_t stopped_at = view.shards[0].position;
    (void)snprintf(where, sizeof where, "position %" PRIu64, stopped_at + 1);
    assert_non_null(strstr(view.shards[0].error, where));
    assert_non_null(strstr(view.shards[0].error, "trades"));
    assert_non_null(strstr(view.shards[0].error, "modest"));
    assert_non_null(strstr(view.shards[0].error, "INVALID"));
    (void)snprintf(sql, sizeof sql, "SELECT position = %" PRIu64 " FROM strict.cursors", stopped_at);
    assert_string_equal(kit_say(&server, sql), "t"); /* all before it is written, and nothing of it */
    assert_true(view.shards[0].behind == last - stopped_at);

    kit_say(&server, "ALTER TABLE strict.trades DROP CONSTRAINT modest");
    stoa_projector_retry(r.projector);
    (void)wait_for(&r, STOA_PROJECTION_LIVE, last);
    stoa_target_options options = target_options("whole", STOA_WAY_PIPE);
    fill_up_to(&options, (pace){100, 0}, last);
    assert_alike("whole", "strict");
    halt(&r);
}

static void a_server_that_is_away_is_waited_for(void **state)
{
    (void)state;
    runner r = run("patient", 64);
    (void)wait_for(&r, STOA_PROJECTION_LIVE, last);
    uint64_t before = last;
    stoa_pg_close(pg);
    pg = NULL;
    kit_say(&server, "kill");
    trade(79, ORDERS + 301, 100);
    stoa_projection_view view = wait_for(&r, STOA_PROJECTION_WAITING, before);
    assert_true(view.error[0] && !view.connected && view.shards[0].behind == last - before && view.shards[0].behind_ns > 0);
    uint64_t floor = 0; /* the log keeps what the rows have not */
    assert_true(stoa_readers_find(stoa_shard_readers(platform->trade), "projection", &floor));
    assert_int_equal(floor, before);
    kit_say(&server, "start");
    view = wait_for(&r, STOA_PROJECTION_LIVE, last);
    assert_true(stoa_readers_find(stoa_shard_readers(platform->trade), "projection", &floor));
    assert_int_equal(floor, last);
    assert_true(view.reconnects == 1 && view.error[0] == '\0');
    stoa_target_options options = target_options("whole", STOA_WAY_PIPE);
    fill_up_to(&options, (pace){100, 0}, last);
    assert_alike("whole", "patient");

    kit_say(&server, "freeze"); /* stuck is not slow: behind, and no step */
    before = last;
    trade(81, ORDERS + 601, 20);
    do { view = wait_for(&r, STOA_PROJECTION_CATCHING_UP, before); } while (view.shards[0].quiet_ns < STOA_S(1));
    assert_true(view.shards[0].behind == last - before);
    kit_say(&server, "thaw");
    view = wait_for(&r, STOA_PROJECTION_LIVE, last);
    assert_true(view.shards[0].quiet_ns == 0 && view.shards[0].behind_ns == 0);

    stoa_projector_pause(r.projector, true);
    (void)wait_for(&r, STOA_PROJECTION_PAUSED, last);
    before = last;
    trade(80, ORDERS + 501, 20);
    view = wait_for(&r, STOA_PROJECTION_PAUSED, before);
    assert_true(view.shards[0].behind == last - before);
    stoa_projector_pause(r.projector, false);
    (void)wait_for(&r, STOA_PROJECTION_LIVE, last);
    halt(&r);
}

static void rows_of_another_log_are_not_written_on(void **state)
{
    (void)state;
    stoa_target_options options = target_options("another", STOA_WAY_BY_SIZE);
    fill_up_to(&options, (pace){1 << 20, 0}, last - 10); /* with marks that are none of this log's */
    runner r = run("another", 64);
    stoa_projection_view view = wait_for(&r, STOA_PROJECTION_STOPPED, 0);
    assert_non_null(strstr(view.shards[0].error, "FORKED"));
    kit_ok(stoa_projector_rebuild(r.projector));
    (void)wait_for(&r, STOA_PROJECTION_LIVE, last);
    halt(&r);
    kit_say(&server, "UPDATE another.cursors SET position = position + 1000000");
    r = run("another", 64);
    view = wait_for(&r, STOA_PROJECTION_STOPPED, 0);
    assert_non_null(strstr(view.shards[0].error, "STALE"));
    halt(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_do_not_depend_on_batches_ways_or_restarts),
        cmocka_unit_test(rows_are_what_the_actors_say),
        cmocka_unit_test(the_catalog_is_the_data_model),
        cmocka_unit_test(queries_use_indexes_and_touch_only_their_days),
        cmocka_unit_test(migrations_keep_the_rows),
        cmocka_unit_test(old_days_go_and_a_rebuild_does_not_bring_them_back),
        cmocka_unit_test(old_days_can_be_moved_instead),
        cmocka_unit_test(two_projectors_do_not_share_a_schema),
        cmocka_unit_test(a_rebuild_gives_the_same_rows_and_so_does_dropping_all),
        cmocka_unit_test(a_bad_row_stops_its_shard_with_position_and_table),
        cmocka_unit_test(a_server_that_is_away_is_waited_for),
        cmocka_unit_test(rows_of_another_log_are_not_written_on),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
