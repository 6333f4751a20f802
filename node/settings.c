/* settings.c - the table of all settings, the embedded default, and how both are read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/settings.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/settings_check.h"

#define AT(member)             offsetof(stoa_settings, member)
#define TEXT_MAX(type, member) ((int64_t)sizeof(((type *)0)->member) - 1)

static const char *const idles[] = {"eco", "balanced", "latency", NULL};
static const char *const levels[] = {"debug", "info", "warn", "error", "off", NULL};
static const char *const durabilities[] = {"memory", "disk", NULL};
static const char *const expiries[] = {"drop", "move", NULL};
static const char *const restarts[] = {"temporary", "transient", "permanent", NULL};
static const char *const sources[] = {"none", "sim", "replay", "live", NULL};

#define SYMBOL(member) offsetof(stoa_settings_symbol, member)
static const stoa_config_row symbol_table[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, .offset = SYMBOL(name), .min = 1, .max = 10, .doc = "As orders name it."},
    {.path = "base", .cls = STOA_CONFIG_TEXT, .offset = SYMBOL(base), .min = 1, .max = 6, .doc = "What is traded."},
    {.path = "quote", .cls = STOA_CONFIG_TEXT, .offset = SYMBOL(quote), .min = 1, .max = 6, .doc = "What it is paid in."},
    {.path = "tick", .cls = STOA_CONFIG_DECIMAL, .offset = SYMBOL(tick), .min = 1, .max = INT64_MAX, .unit = "quote", .doc = "Prices are whole ticks."},
    {.path = "lot", .cls = STOA_CONFIG_DECIMAL, .offset = SYMBOL(lot), .min = 1, .max = INT64_MAX, .unit = "base", .doc = "Quantities are whole lots."},
    {.path = "qty_min", .cls = STOA_CONFIG_DECIMAL, .offset = SYMBOL(qty_min), .min = 1, .max = INT64_MAX, .unit = "base", .doc = "Smallest order."},
    {.path = "qty_max", .cls = STOA_CONFIG_DECIMAL, .offset = SYMBOL(qty_max), .min = 1, .max = INT64_MAX, .unit = "base", .doc = "Largest order."},
    {.path = "margin_rate", .cls = STOA_CONFIG_DECIMAL, .offset = SYMBOL(margin_rate), .fallback = "1", .min = 1, .max = STOA_DECIMAL_ONE, .doc = "Initial margin as a part of notional; 1: fully paid."},
    {0},
};

#define ACCOUNT(member) offsetof(stoa_settings_account, member)
static const stoa_config_row account_table[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, .offset = ACCOUNT(name), .min = 1, .max = 30, .doc = "Its actor is trade_account/NAME."},
    {.path = "shard", .cls = STOA_CONFIG_TEXT, .offset = ACCOUNT(shard), .fallback = "trade", .min = 1, .max = 30, .doc = "The shard it lives in. In another one than trade it is a wallet: it holds and transfers, and cannot trade."},
    {.path = "node", .cls = STOA_CONFIG_TEXT, .offset = ACCOUNT(node), .fallback = "", .max = 30, .doc = "The node it lives on, if that is another one that links lead to: it is not opened here, and its funds go there by mail between shards."},
    {.path = "issuer", .cls = STOA_CONFIG_BOOL, .offset = ACCOUNT(issuer), .fallback = "false", .doc = "The treasury: funds of the others come from it, its balances may be negative."},
    {.path = "margin", .cls = STOA_CONFIG_BOOL, .offset = ACCOUNT(margin), .fallback = "false", .doc = "May borrow within its limits."},
    {.path = "funds", .cls = STOA_CONFIG_TEXT, .offset = ACCOUNT(funds), .fallback = "", .max = 255, .doc = "Transferred from the issuer once: \"100000 USDT, 2 BTC\"."},
    {.path = "position_max", .cls = STOA_CONFIG_DECIMAL, .offset = ACCOUNT(position_max), .fallback = "0", .max = INT64_MAX, .unit = "base", .doc = "Largest position per symbol; 0: none."},
    {.path = "leverage_max", .cls = STOA_CONFIG_DECIMAL, .offset = ACCOUNT(leverage_max), .fallback = "0", .max = INT64_MAX, .doc = "Exposure as a multiple of equity; 0: none."},
    {.path = "daily_loss_max", .cls = STOA_CONFIG_DECIMAL, .offset = ACCOUNT(daily_loss_max), .fallback = "0", .max = INT64_MAX, .unit = "quote", .doc = "Realised loss of a UTC day from which orders are refused; 0: none."},
    {0},
};

#define CLIENT(member) offsetof(stoa_settings_client, member)
static const stoa_config_row client_table[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, .offset = CLIENT(name), .min = 1, .max = 30, .doc = "Who it is: author of its posts."},
    {.path = "key", .cls = STOA_CONFIG_TEXT, .offset = CLIENT(key), .fallback = "", .max = STOA_PATH_MAX, .doc = "Its public key file; empty: DATA/keys/NAME.pub, made together with NAME.key when there is none."},
    {.path = "accounts", .cls = STOA_CONFIG_TEXT, .offset = CLIENT(accounts), .fallback = "", .max = 255, .doc = "Accounts it may use, with commas between."},
    {.path = "plugins", .cls = STOA_CONFIG_TEXT, .offset = CLIENT(plugins), .fallback = "", .max = 255, .doc = "Plug-ins whose actors it may ask, with commas between."},
    {0},
};

static const stoa_config_row room_table[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, .offset = offsetof(stoa_settings_room, name), .min = 1, .max = 30, .doc = "Its actor is room/NAME."},
    {0},
};

#define QUOTER(member) offsetof(stoa_settings_quoter, member)
static const stoa_config_row quoter_table[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, .offset = QUOTER(name), .min = 1, .max = 30, .doc = "Its actor is strategy_quoter/NAME."},
    {.path = "account", .cls = STOA_CONFIG_TEXT, .offset = QUOTER(account), .min = 1, .max = 30, .doc = "Whose orders these are."},
    {.path = "symbol", .cls = STOA_CONFIG_TEXT, .offset = QUOTER(symbol), .min = 1, .max = 10, .doc = "Quoted in our book around the outside market's top."},
    {.path = "qty", .cls = STOA_CONFIG_DECIMAL, .offset = QUOTER(qty), .min = 1, .max = INT64_MAX, .unit = "base", .doc = "Of each order."},
    {.path = "half_spread", .cls = STOA_CONFIG_DECIMAL, .offset = QUOTER(half_spread), .min = 0, .max = INT64_MAX, .unit = "quote", .doc = "From the mid to each quote."},
    {.path = "requote", .cls = STOA_CONFIG_DECIMAL, .offset = QUOTER(requote), .min = 0, .max = INT64_MAX, .unit = "quote", .doc = "Smaller moves leave orders where they are."},
    {.path = "inventory_max", .cls = STOA_CONFIG_DECIMAL, .offset = QUOTER(inventory_max), .min = 1, .max = INT64_MAX, .unit = "base", .doc = "Bought less sold stays within."},
    {.path = "skew", .cls = STOA_CONFIG_DECIMAL, .offset = QUOTER(skew), .fallback = "0", .max = INT64_MAX, .unit = "quote", .doc = "Shift of both quotes at full inventory."},
    {.path = "stale", .cls = STOA_CONFIG_DURATION, .offset = QUOTER(stale_ns), .fallback = "5s", .min = 1000000, .max = INT64_MAX, .doc = "Nothing heard for so long: stop quoting."},
    {.path = "retry", .cls = STOA_CONFIG_DURATION, .offset = QUOTER(retry_ns), .fallback = "1s", .min = 1000000, .max = INT64_MAX, .doc = "Pause behind a refused order."},
    {0},
};

#define PLUGIN(member) offsetof(stoa_settings_plugin, member)
static const stoa_config_row library_table[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, .offset = PLUGIN(name), .min = 1, .max = 30, .doc = "The kind that the library has; its supervisor is plugin/NAME."},
    {.path = "library", .cls = STOA_CONFIG_TEXT, .offset = PLUGIN(library), .min = 1, .max = STOA_PATH_MAX, .doc = "The .so, loaded by a process of its own for each actor."},
    {.path = "actors", .cls = STOA_CONFIG_TEXT, .offset = PLUGIN(actors), .fallback = "main", .min = 1, .max = 255, .doc = "Keys, with commas between: its actors are NAME/KEY."},
    {.path = "peers", .cls = STOA_CONFIG_TEXT, .offset = PLUGIN(peers), .fallback = "", .max = 511, .doc = "Actors KIND/KEY, with commas between, that it may find and send to; beside them only who sent to it."},
    {.path = "hears", .cls = STOA_CONFIG_TEXT, .offset = PLUGIN(hears), .fallback = "", .max = 255, .doc = "Patterns of topics and groups, with commas between, that it may subscribe to or join."},
    {.path = "tells", .cls = STOA_CONFIG_TEXT, .offset = PLUGIN(tells), .fallback = "", .max = 255, .doc = "Patterns of topics, with commas between, that it may publish on."},
    {.path = "args", .cls = STOA_CONFIG_TEXT, .offset = PLUGIN(args), .fallback = "", .max = 1023, .doc = "What its actors start with, as the row args of its table, in JSON: '{\"n\": 5}'. Fields that are left out are zero; nothing: they start without."},
    {.path = "memory", .cls = STOA_CONFIG_SIZE, .offset = PLUGIN(memory_bytes), .fallback = "256MiB", .min = 16 << 20, .max = INT64_MAX, .doc = "Address space of each process; above it, it ends."},
    {.path = "cpu", .cls = STOA_CONFIG_DURATION, .offset = PLUGIN(cpu_ns), .fallback = "1h", .min = 1000000000, .max = INT64_MAX, .doc = "Processor time of each process, in whole seconds; above it, it ends."},
    {.path = "turn", .cls = STOA_CONFIG_DURATION, .offset = PLUGIN(turn_ns), .fallback = "1s", .min = 1000000, .max = INT64_MAX, .doc = "That a message may take; above it, the process is ended."},
    {.path = "start", .cls = STOA_CONFIG_DURATION, .offset = PLUGIN(start_ns), .fallback = "10s", .min = 1000000, .max = INT64_MAX, .doc = "That loading and starting may take."},
    {.path = "sends", .cls = STOA_CONFIG_INT, .offset = PLUGIN(sends), .fallback = "64", .min = 1, .max = 64, .unit = "messages", .doc = "That one message may lead to."},
    {.path = "restart", .cls = STOA_CONFIG_CHOICE, .offset = PLUGIN(restart), .choices = restarts, .fallback = "permanent", .doc = "Which ends are followed by a new beginning: none, failures, all."},
    {.path = "restarts", .cls = STOA_CONFIG_INT, .offset = PLUGIN(restarts), .fallback = "10", .min = 0, .max = 1000000, .doc = "Of one actor within plugins.per; with one more it stays away until `plugin start`."},
    {.path = "per", .cls = STOA_CONFIG_DURATION, .offset = PLUGIN(per_ns), .fallback = "1m", .min = 1000000, .max = INT64_C(3600000000000), .doc = "As restarts are counted."},
    {.path = "backoff", .cls = STOA_CONFIG_DURATION, .offset = PLUGIN(backoff_ns), .fallback = "100ms", .min = 1000000, .max = INT64_C(3600000000000), .doc = "Before the second restart within plugins.per; before each further one twice as long."},
    {.path = "backoff_max", .cls = STOA_CONFIG_DURATION, .offset = PLUGIN(backoff_max_ns), .fallback = "10s", .min = 1000000, .max = INT64_C(3600000000000), .doc = "At most so long."},
    {.path = "core", .cls = STOA_CONFIG_INT, .offset = PLUGIN(core), .fallback = "-1", .min = -1, .max = STOA_SETTINGS_CORES - 1, .doc = "Where the actors that stand for the processes run; -1: the last core."},
    {0},
};

#define LINK(member) offsetof(stoa_settings_link, member)
static const stoa_config_row link_table[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, .offset = LINK(name), .min = 1, .max = 30, .doc = "What the REPL calls it."},
    {.path = "uri", .cls = STOA_CONFIG_TEXT, .offset = LINK(uri), .min = 1, .max = STOA_PATH_MAX, .doc = "Where, and over what: shm://NAME, zmq+tcp://HOST:PORT, ucx+tcp://HOST:PORT, ofi+tcp://HOST:PORT, ... (transport/README.md)."},
    {.path = "listen", .cls = STOA_CONFIG_BOOL, .offset = LINK(listen), .fallback = "false", .doc = "Others dial it; else it dials."},
    {.path = "nodes", .cls = STOA_CONFIG_TEXT, .offset = LINK(nodes), .fallback = "", .max = 255, .doc = "Node names, with commas between: listen: who may connect; else the one that must answer."},
    {.path = "key", .cls = STOA_CONFIG_TEXT, .offset = LINK(key), .fallback = "", .max = STOA_PATH_MAX, .doc = "The node's public key file, where there is one node; empty: DATA/keys/NODE.pub, and what `stoa key allow` let in. Shared memory needs none: both run as one user."},
    {.path = "fenced", .cls = STOA_CONFIG_BOOL, .offset = LINK(fenced), .fallback = "false", .doc = "ucx, ofi, where the address leaves this machine: a firewall, or where the machines stand, keeps strangers from every port of the process. Who reaches the port that the library opens owns the process, with a key or without; so without this, or trusted, such an address is refused."},
    {.path = "trusted", .cls = STOA_CONFIG_BOOL, .offset = LINK(trusted), .fallback = "false", .doc = "ucx, ofi: the network between is the operator's own, and fenced. Keys are proven all the same, and nothing is encrypted where both sides say so."},
    {.path = "heartbeat", .cls = STOA_CONFIG_DURATION, .offset = LINK(heartbeat_ns), .fallback = "100ms", .min = 1000000, .max = INT64_C(60) * 1000000000, .doc = "How often it is asked whether the other side lives."},
    {.path = "silence", .cls = STOA_CONFIG_DURATION, .offset = LINK(silence_ns), .fallback = "2s", .min = 10000000, .max = INT64_C(3600) * 1000000000, .doc = "It is down when no answer came for so long, at the latest; the time adapts from four heartbeats up to this."},
    {0},
};

static const stoa_config_row core_table[] = {
    {.path = "idle", .cls = STOA_CONFIG_CHOICE, .offset = offsetof(stoa_settings_core, idle), .choices = idles, .doc = "As node.idle, for this core."},
    {0},
};

const stoa_config_row stoa_settings_table[] = {
    {.path = "node.name", .cls = STOA_CONFIG_TEXT, .offset = AT(node_name), .fallback = "stoa", .min = 1, .max = 30, .doc = "What clients are told."},
    {.path = "node.data", .cls = STOA_CONFIG_TEXT, .offset = AT(data), .fallback = "", .max = STOA_PATH_MAX, .doc = "Folder of journals, keys and the admin socket; empty: $HOME/.stoa."},
    {.path = "node.cores", .cls = STOA_CONFIG_INT, .offset = AT(cores), .fallback = "1", .min = 1, .max = 16, .unit = "cores", .doc = "Scheduler threads; the trading shard has the first one to itself when there are more."},
    {.path = "node.pin", .cls = STOA_CONFIG_BOOL, .offset = AT(pin), .fallback = "false", .doc = "Pin each core to a CPU; what runs beside the cores uses the others."},
    {.path = "node.idle", .cls = STOA_CONFIG_CHOICE, .offset = AT(idle), .fallback = "eco", .choices = idles, .doc = "What an idle core does: sleep; spin 50 us, then sleep; spin."},
    {.path = "node.memory", .cls = STOA_CONFIG_SIZE, .offset = AT(memory_bytes), .fallback = "256MiB", .min = 16 << 20, .max = INT64_C(1) << 40, .doc = "For messages, per core."},
    {.path = "node.drain", .cls = STOA_CONFIG_DURATION, .offset = AT(drain_ns), .fallback = "5s", .max = INT64_C(3600) * 1000000000, .doc = "How long SIGTERM lets work under way finish."},
    {.path = "node.shares", .cls = STOA_CONFIG_TEXT, .offset = AT(shares), .fallback = "", .max = TEXT_MAX(stoa_settings, shares), .doc = "Kinds whose actors other nodes find by name, with commas between: room, trade_book; and whose messages they may send. A plug-in's by its name; plugin: supervisors, so that clients and operators of other nodes may ask any plug-in of this one, and those here theirs. Empty: none."},
    {.path = "node.lost", .cls = STOA_CONFIG_DURATION, .offset = AT(lost_ns), .fallback = "2s", .min = 1000000, .max = INT64_C(3600) * 1000000000, .doc = "A node whose connection is gone for so long is lost: its actors have ended, for those here."},
    {.path = "log.level", .cls = STOA_CONFIG_CHOICE, .offset = AT(log_level), .fallback = "info", .choices = levels, .doc = "Lines below it are not written."},
    {.path = "flight.file", .cls = STOA_CONFIG_TEXT, .offset = AT(flight_file), .fallback = "", .max = STOA_PATH_MAX - 8, .doc = "The flight recorder, read with `stoa flight`; those of earlier runs end in .1 to .4; empty: DATA/flight."},
    {.path = "flight.size", .cls = STOA_CONFIG_SIZE, .offset = AT(flight_bytes), .fallback = "1MiB", .min = 64 << 10, .max = INT64_C(1) << 30, .doc = "Its records, per core."},
    {.path = "watch.interval", .cls = STOA_CONFIG_DURATION, .offset = AT(watch_interval_ns), .fallback = "10ms", .min = 1000000, .max = 1000000000, .doc = "How often it is looked what each core runs."},
    {.path = "watch.stall", .cls = STOA_CONFIG_DURATION, .offset = AT(watch_stall_ns), .fallback = "50ms", .max = INT64_C(3600) * 1000000000, .doc = "A turn that takes longer is a stall: logged, counted, listed; 0: none is."},
    {.path = "watch.limit", .cls = STOA_CONFIG_DURATION, .offset = AT(watch_limit_ns), .fallback = "10s", .max = INT64_C(3600) * 1000000000, .doc = "A turn that takes longer ends the process; 0: never."},
    {.path = "trade.durability", .cls = STOA_CONFIG_CHOICE, .offset = AT(trade_durability), .fallback = "disk", .choices = durabilities, .doc = "What an acknowledged order is worth, and what happens in the shards of accounts (accounts.shard)."},
    {.path = "room.durability", .cls = STOA_CONFIG_CHOICE, .offset = AT(room_durability), .fallback = "disk", .choices = durabilities, .doc = "What an acknowledged post is worth."},
    {.path = "storage.reserve", .cls = STOA_CONFIG_SIZE, .offset = AT(reserve_bytes), .fallback = "256MiB", .max = INT64_C(1) << 50, .doc = "With less room on the disk new work is refused (FULL) and reads go on; 0: no such reserve."},
    {.path = "storage.key_file", .cls = STOA_CONFIG_TEXT, .offset = AT(key_file), .fallback = "", .max = STOA_PATH_MAX, .doc = "Keys that seal stored payloads and snapshots (stoad --new-key FILE makes it or adds one); mode 0600; empty: nothing is sealed."},
    {.path = "snapshot.every_events", .cls = STOA_CONFIG_INT, .offset = AT(snapshot_every_events), .fallback = "100000", .max = INT64_MAX, .unit = "events", .doc = "Behind so many of a shard a snapshot of it is made; 0: not for their number."},
    {.path = "snapshot.every", .cls = STOA_CONFIG_DURATION, .offset = AT(snapshot_every_ns), .fallback = "60s", .max = INT64_MAX, .doc = "So long after the last one, where there were events; 0: not for the time. With both 0 every start reads the whole log."},
    {.path = "snapshot.keep", .cls = STOA_CONFIG_INT, .offset = AT(snapshot_keep), .fallback = "3", .min = 1, .max = 1000, .unit = "snapshots", .doc = "So many of each shard; what did not change is stored once."},
    {.path = "gateway.listen", .cls = STOA_CONFIG_TEXT, .offset = AT(gateway_listen), .fallback = "zmq+tcp://127.0.0.1:7400", .max = STOA_PATH_MAX, .doc = "Where clients connect; empty: nowhere."},
    {.path = "gateway.requests", .cls = STOA_CONFIG_INT, .offset = AT(gateway_requests), .fallback = "256", .min = 1, .max = 65536, .unit = "requests", .doc = "Under way per client before FULL."},
    {.path = "http.host", .cls = STOA_CONFIG_TEXT, .offset = AT(http_host), .fallback = "127.0.0.1", .min = 1, .max = 63, .doc = "Address of /healthz, /readyz and /metrics, or a name of it; it listens there only. 0.0.0.0: everywhere."},
    {.path = "http.port", .cls = STOA_CONFIG_INT, .offset = AT(http_port), .fallback = "7401", .min = -1, .max = 65535, .doc = "Its port; 0: any, -1: none."},
    {.path = "admin.socket", .cls = STOA_CONFIG_TEXT, .offset = AT(admin_socket), .fallback = "", .max = 107, .doc = "UNIX socket of the admin door; empty: DATA/admin.sock."},
    {.path = "market.source", .cls = STOA_CONFIG_CHOICE, .offset = AT(source), .fallback = "sim", .choices = sources, .doc = "Outside market: none, simulated, a recorded capture, live."},
    {.path = "market.venue", .cls = STOA_CONFIG_TEXT, .offset = AT(market_venue), .fallback = "binance", .min = 1, .max = 14, .doc = "Dialect of a capture or a live connection."},
    {.path = "market.file", .cls = STOA_CONFIG_TEXT, .offset = AT(market_file), .fallback = "", .max = STOA_PATH_MAX, .doc = "The capture to replay."},
    {.path = "market.speed", .cls = STOA_CONFIG_TEXT, .offset = AT(market_speed), .fallback = "1", .min = 1, .max = 15, .doc = "How many times as fast as recorded, or max."},
    {.path = "market.host", .cls = STOA_CONFIG_TEXT, .offset = AT(market_host), .fallback = "", .max = 127, .doc = "WebSocket host in place of the venue's public one."},
    {.path = "market.port", .cls = STOA_CONFIG_INT, .offset = AT(market_port), .fallback = "0", .max = 65535, .doc = "Its port; 0: the venue's."},
    {.path = "market.rest_host", .cls = STOA_CONFIG_TEXT, .offset = AT(market_rest_host), .fallback = "", .max = 127, .doc = "REST host in place of the venue's public one."},
    {.path = "market.rest_port", .cls = STOA_CONFIG_INT, .offset = AT(market_rest_port), .fallback = "0", .max = 65535, .doc = "Its port; 0: the venue's."},
    {.path = "market.ca", .cls = STOA_CONFIG_TEXT, .offset = AT(market_ca), .fallback = "", .max = STOA_PATH_MAX, .doc = "Certificates to trust in place of the system's."},
    {.path = "market.seed", .cls = STOA_CONFIG_INT, .offset = AT(market_seed), .fallback = "1", .min = 1, .max = INT64_MAX, .doc = "Of the simulated market: same seed, same market."},
    {.path = "market.price", .cls = STOA_CONFIG_DECIMAL, .offset = AT(market_price), .fallback = "60000", .min = 1, .max = INT64_MAX, .unit = "quote", .doc = "Where the simulated price begins."},
    {.path = "market.interval", .cls = STOA_CONFIG_DURATION, .offset = AT(market_interval_ns), .fallback = "10ms", .min = 1000000, .max = INT64_C(60) * 1000000000, .doc = "Between two orders of the simulated market."},
    {.path = "projection.postgres", .cls = STOA_CONFIG_TEXT, .offset = AT(projection_postgres), .fallback = "", .max = TEXT_MAX(stoa_settings, projection_postgres), .doc = "Database to keep read models in, as libpq takes it: \"host=a,b dbname=stoa target_session_attrs=read-write\"; empty: none. A password stands in PGPASSWORD, PGPASSFILE or ~/.pgpass, not here."},
    {.path = "projection.schema", .cls = STOA_CONFIG_TEXT, .offset = AT(projection_schema), .fallback = "stoa", .min = 1, .max = TEXT_MAX(stoa_settings, projection_schema), .doc = "Schema of the rows; a rebuild fills SCHEMA_shadow."},
    {.path = "projection.batch", .cls = STOA_CONFIG_INT, .offset = AT(projection_batch), .fallback = "16384", .min = 1, .max = 1000000, .unit = "events", .doc = "In one transaction, at most."},
    {.path = "projection.interval", .cls = STOA_CONFIG_DURATION, .offset = AT(projection_interval_ns), .fallback = "50ms", .min = 1000000, .max = INT64_C(60) * 1000000000, .doc = "Between two transactions of a shard whose rows are up to date."},
    {.path = "projection.keep_orders", .cls = STOA_CONFIG_DURATION, .offset = AT(projection_keep_orders_ns), .fallback = "2160h", .max = INT64_MAX, .doc = "Days of orders, their history and trades that are older go, unless an order of them is open; 0: none go."},
    {.path = "projection.keep_market", .cls = STOA_CONFIG_DURATION, .offset = AT(projection_keep_market_ns), .fallback = "720h", .max = INT64_MAX, .doc = "The same for market data, which is in no log."},
    {.path = "projection.expired", .cls = STOA_CONFIG_CHOICE, .offset = AT(projection_expired), .fallback = "drop", .choices = expiries, .doc = "What becomes of them: dropped, or moved into SCHEMA_expired."},
    {.path = "archive.interval", .cls = STOA_CONFIG_DURATION, .offset = AT(archive_interval_ns), .fallback = "10s", .max = INT64_C(86400) * 1000000000, .doc = "How often it is looked what is to be archived, purged, moved; 0: no archive is kept, and journals are never purged."},
    {.path = "archive.path", .cls = STOA_CONFIG_TEXT, .offset = AT(archive_path), .fallback = "", .max = STOA_PATH_MAX, .doc = "Folder of sealed segments and their manifests; empty: DATA/archive."},
    {.path = "archive.cold_path", .cls = STOA_CONFIG_TEXT, .offset = AT(archive_cold_path), .fallback = "", .max = STOA_PATH_MAX, .doc = "Folder of the cold ones; empty: DATA/cold."},
    {.path = "archive.segment", .cls = STOA_CONFIG_SIZE, .offset = AT(archive_segment_bytes), .fallback = "32MiB", .min = 4096, .max = INT64_C(1) << 32, .doc = "Of blocks: a segment that holds so many is full."},
    {.path = "archive.level", .cls = STOA_CONFIG_INT, .offset = AT(archive_level), .fallback = "3", .min = 1, .max = 19, .doc = "How hard zstd packs what is warm."},
    {.path = "archive.cold_level", .cls = STOA_CONFIG_INT, .offset = AT(archive_cold_level), .fallback = "12", .min = 1, .max = 19, .doc = "And what is cold."},
    {.path = "archive.expire", .cls = STOA_CONFIG_BOOL, .offset = AT(archive_expire), .fallback = "false", .doc = "Forget segments when retention.CLASS.archive is over, and a snapshot of that age in the archive stands for them; false: nothing is ever forgotten."},
    {.path = "retention.orders.hot", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_orders].hot_ns), .fallback = "1h", .max = INT64_MAX, .doc = "Orders, accounts and what settles them (shard trade): leave the journal at this age."},
    {.path = "retention.orders.warm", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_orders].warm_ns), .fallback = "2160h", .max = INT64_MAX, .doc = "Orders, accounts and what settles them (shard trade): leave the archive for the cold folder at this age."},
    {.path = "retention.orders.cold", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_orders].cold_ns), .fallback = "61320h", .max = INT64_MAX, .doc = "Orders, accounts and what settles them (shard trade): are only kept from this age on."},
    {.path = "retention.orders.archive", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_orders].archive_ns), .fallback = "87600h", .max = INT64_MAX, .doc = "Orders, accounts and what settles them (shard trade): are forgotten at this age, where archive.expire says so."},
    {.path = "retention.trades.hot", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_trades].hot_ns), .fallback = "1h", .max = INT64_MAX, .doc = "Executions (shard trade: in one log with the orders, which stays for the longer time of both): leave the journal at this age."},
    {.path = "retention.trades.warm", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_trades].warm_ns), .fallback = "2160h", .max = INT64_MAX, .doc = "Executions (shard trade: in one log with the orders, which stays for the longer time of both): leave the archive for the cold folder at this age."},
    {.path = "retention.trades.cold", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_trades].cold_ns), .fallback = "61320h", .max = INT64_MAX, .doc = "Executions (shard trade: in one log with the orders, which stays for the longer time of both): are only kept from this age on."},
    {.path = "retention.trades.archive", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_trades].archive_ns), .fallback = "87600h", .max = INT64_MAX, .doc = "Executions (shard trade: in one log with the orders, which stays for the longer time of both): are forgotten at this age, where archive.expire says so."},
    {.path = "retention.chat.hot", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_chat].hot_ns), .fallback = "1h", .max = INT64_MAX, .doc = "Rooms (shard room): leave the journal at this age."},
    {.path = "retention.chat.warm", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_chat].warm_ns), .fallback = "2160h", .max = INT64_MAX, .doc = "Rooms (shard room): leave the archive for the cold folder at this age."},
    {.path = "retention.chat.cold", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_chat].cold_ns), .fallback = "61320h", .max = INT64_MAX, .doc = "Rooms (shard room): are only kept from this age on."},
    {.path = "retention.chat.archive", .cls = STOA_CONFIG_DURATION, .offset = AT(retention[STOA_RETENTION_chat].archive_ns), .fallback = "87600h", .max = INT64_MAX, .doc = "Rooms (shard room): are forgotten at this age, where archive.expire says so."},
    {.path = "cores", .cls = STOA_CONFIG_GROUPS, .offset = AT(by_core), .min = 0, .max = STOA_SETTINGS_CORES, .group = core_table, .group_bytes = sizeof(stoa_settings_core), .count_offset = AT(by_core_count), .doc = "What the first cores do otherwise than the rest, in their order."},
    {.path = "symbols", .cls = STOA_CONFIG_GROUPS, .offset = AT(symbols), .min = 0, .max = STOA_SETTINGS_SYMBOLS, .group = symbol_table, .group_bytes = sizeof(stoa_settings_symbol), .count_offset = AT(symbol_count), .doc = "What can be traded."},
    {.path = "accounts", .cls = STOA_CONFIG_GROUPS, .offset = AT(accounts), .min = 0, .max = STOA_SETTINGS_ACCOUNTS, .group = account_table, .group_bytes = sizeof(stoa_settings_account), .count_offset = AT(account_count), .doc = "Who can trade."},
    {.path = "clients", .cls = STOA_CONFIG_GROUPS, .offset = AT(clients), .min = 0, .max = STOA_SETTINGS_CLIENTS, .group = client_table, .group_bytes = sizeof(stoa_settings_client), .count_offset = AT(client_count), .doc = "Who may connect, and as whom."},
    {.path = "rooms", .cls = STOA_CONFIG_GROUPS, .offset = AT(rooms), .min = 0, .max = STOA_SETTINGS_ROOMS, .group = room_table, .group_bytes = sizeof(stoa_settings_room), .count_offset = AT(room_count), .doc = "Where people talk."},
    {.path = "quoters", .cls = STOA_CONFIG_GROUPS, .offset = AT(quoters), .min = 0, .max = STOA_SETTINGS_QUOTERS, .group = quoter_table, .group_bytes = sizeof(stoa_settings_quoter), .count_offset = AT(quoter_count), .doc = "Strategies that quote both sides."},
    {.path = "plugins", .cls = STOA_CONFIG_GROUPS, .offset = AT(plugins), .min = 0, .max = STOA_SETTINGS_PLUGINS, .group = library_table, .group_bytes = sizeof(stoa_settings_plugin), .count_offset = AT(plugin_count), .doc = "Kinds from libraries, in processes of their own."},
    {.path = "links", .cls = STOA_CONFIG_GROUPS, .offset = AT(links), .min = 0, .max = STOA_SETTINGS_LINKS, .group = link_table, .group_bytes = sizeof(stoa_settings_link), .count_offset = AT(link_count), .doc = "Links to other nodes."},
    {0},
};

const char stoa_settings_embedded[] =
    "symbols:\n"
    "  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}\n"
    "accounts:\n"
    "  - {name: treasury, issuer: true}\n"
    "  - {name: maker, funds: \"10000000 USDT, 100 BTC\"}\n"
    "  - {name: alice, funds: \"1000000 USDT, 10 BTC\"}\n"
    "  - {name: bob, funds: \"1000000 USDT, 10 BTC\"}\n"
    "clients:\n"
    "  - {name: demo, accounts: \"alice, bob\"}\n"
    "rooms:\n"
    "  - {name: lobby}\n"
    "quoters:\n"
    "  - {name: maker, account: maker, symbol: BTCUSDT, qty: 0.05, half_spread: 1, requote: 0.5, inventory_max: 5, skew: 2}\n";

/* --- reading */

static stoa_err load(const stoa_config_source *source, stoa_settings *out, stoa_buf *faults)
{
    stoa_err err = stoa_config_load(stoa_settings_table, source, out, faults);
    if (err) { return err; }
    stoa_settings_check(out, &(stoa_settings_faults){source->places, faults});
    if (faults->used_bytes) { return STOA_FAIL(STOA_E_INVALID, "settings"); }
    if (out->data[0]) { return STOA_OK; }
    const char *home = getenv("HOME");
    (void)snprintf(out->data, sizeof out->data, "%s/.stoa", home ? home : ".");
    return STOA_OK;
}

stoa_err stoa_settings_load(const stoa_config_source *source, stoa_settings *out, stoa_buf *faults)
{
    stoa_buf places = STOA_BUF_GROWING;
    stoa_config_source noted = *source;
    if (!noted.places) { noted.places = &places; }
    stoa_err err = load(&noted, out, faults);
    stoa_buf_deinit(&places);
    return err;
}
