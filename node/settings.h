/* settings.h - everything a node can be told, as one struct that base/config.h fills from node/settings.c's table.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_SETTINGS_H
#define STOA_NODE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/decimal.h"
#include "node/archive/policy.h"

enum {
    STOA_SETTINGS_CORES = 16,
    STOA_SETTINGS_SYMBOLS = 16,
    STOA_SETTINGS_ACCOUNTS = 256,
    STOA_SETTINGS_VAULTS = 8, /* shards of accounts that do not trade */
    STOA_SETTINGS_CLIENTS = 64,
    STOA_SETTINGS_ROOMS = 64,
    STOA_SETTINGS_QUOTERS = 16,
    STOA_SETTINGS_PLUGINS = 16,
    STOA_SETTINGS_LINKS = 16,
    STOA_PATH_MAX = 255,
};

typedef enum stoa_source { STOA_SOURCE_NONE, STOA_SOURCE_SIM, STOA_SOURCE_REPLAY, STOA_SOURCE_LIVE } stoa_source;

typedef struct stoa_settings_symbol {
    char name[11], base[7], quote[7];
    stoa_decimal tick, lot, qty_min, qty_max, margin_rate;
} stoa_settings_symbol;

typedef struct stoa_settings_account {
    char name[31];
    char shard[31];
    char node[31]; /* empty: this one */
    bool away;     /* it lives on another node; stoa_settings_check fills it */
    char funds[256]; /* "100000 USDT, 2 BTC" */
    bool issuer, margin;
    stoa_decimal position_max, leverage_max, daily_loss_max;
} stoa_settings_account;

typedef struct stoa_settings_client {
    char name[31];
    char key[STOA_PATH_MAX + 1]; /* public key file */
    char accounts[256];          /* "alice, bob" */
    char plugins[256];           /* "tally, other" */
} stoa_settings_client;

typedef struct stoa_settings_room {
    char name[31];
} stoa_settings_room;

typedef struct stoa_settings_quoter {
    char name[31], account[31], symbol[11];
    stoa_decimal qty, half_spread, requote, inventory_max, skew;
    uint64_t stale_ns, retry_ns;
} stoa_settings_quoter;

typedef struct stoa_settings_plugin {
    char name[31];
    char library[STOA_PATH_MAX + 1];
    char actors[256]; /* "one, other": keys */
    char peers[512];  /* "kind/key, kind/key" */
    char hears[256], tells[256]; /* patterns of topics */
    char args[1024];             /* JSON */
    uint64_t memory_bytes, cpu_ns, turn_ns, start_ns, per_ns, backoff_ns, backoff_max_ns;
    int64_t sends, restarts, core; /* core -1: the last one */
    int32_t restart;               /* stoa_restart */
} stoa_settings_plugin;

typedef struct stoa_settings_link {
    char name[31], uri[STOA_PATH_MAX + 1];
    char nodes[256]; /* "b, c" */
    char key[STOA_PATH_MAX + 1]; /* public key file */
    bool listen, fenced, trusted;
    uint64_t heartbeat_ns, silence_ns;
} stoa_settings_link;

typedef struct stoa_settings_core {
    int32_t idle; /* stoa_idle */
} stoa_settings_core;

typedef struct stoa_settings {
    char node_name[31];
    char vaults[STOA_SETTINGS_VAULTS][31]; /* the shards that accounts of this node name beside trade; stoa_settings_check fills it */
    uint32_t vault_count;
    char data[STOA_PATH_MAX + 1];
    int64_t cores;
    bool pin;
    int32_t idle; /* stoa_idle */
    stoa_settings_core by_core[STOA_SETTINGS_CORES];
    uint32_t by_core_count;
    uint64_t memory_bytes;
    uint64_t drain_ns;
    char shares[256]; /* kinds: "room, trade_book" */
    uint64_t lost_ns;
    int32_t log_level;
    char flight_file[STOA_PATH_MAX + 1];
    uint64_t flight_bytes;
    uint64_t watch_interval_ns, watch_stall_ns, watch_limit_ns;
    char key_file[STOA_PATH_MAX + 1];
    uint64_t reserve_bytes;
    int64_t snapshot_every_events, snapshot_keep;
    uint64_t snapshot_every_ns;
    int32_t trade_durability, room_durability; /* 0 memory, 1 disk */
    char gateway_listen[STOA_PATH_MAX + 1];
    int64_t gateway_requests;
    char http_host[64];
    int64_t http_port;
    char admin_socket[STOA_PATH_MAX + 1];
    int32_t source; /* stoa_source */
    char market_venue[15];
    char market_file[STOA_PATH_MAX + 1];
    char market_speed[16];
    char market_host[128], market_ca[STOA_PATH_MAX + 1];
    int64_t market_port;
    char market_rest_host[128];
    int64_t market_rest_port;
    int64_t market_seed;
    stoa_decimal market_price;
    uint64_t market_interval_ns;
    char projection_postgres[512], projection_schema[41];
    int64_t projection_batch;
    uint64_t projection_interval_ns, projection_keep_orders_ns, projection_keep_market_ns;
    int32_t projection_expired; /* 0 drop, 1 move */
    uint64_t archive_interval_ns, archive_segment_bytes;
    char archive_path[STOA_PATH_MAX + 1], archive_cold_path[STOA_PATH_MAX + 1];
    int64_t archive_level, archive_cold_level;
    bool archive_expire;
    stoa_retention retention[STOA_RETENTION_COUNT];
    stoa_settings_symbol symbols[STOA_SETTINGS_SYMBOLS];
    stoa_settings_account accounts[STOA_SETTINGS_ACCOUNTS];
    stoa_settings_client clients[STOA_SETTINGS_CLIENTS];
    stoa_settings_room rooms[STOA_SETTINGS_ROOMS];
    stoa_settings_quoter quoters[STOA_SETTINGS_QUOTERS];
    stoa_settings_plugin plugins[STOA_SETTINGS_PLUGINS];
    stoa_settings_link links[STOA_SETTINGS_LINKS];
    uint32_t symbol_count, account_count, client_count, room_count, quoter_count, plugin_count, link_count;
} stoa_settings;

/* The table: every setting with default, bounds, unit and doc. */
extern const stoa_config_row stoa_settings_table[];

/* The settings of a node that was told nothing: one market, a few funded accounts, a room, a quoting strategy. YAML. */
extern const char stoa_settings_embedded[];

/* Load and check what no single row can: names that refer to others, tick and lot that make exact notionals, funds that
 * parse. Faults as in base/config.h. */
stoa_err stoa_settings_load(const stoa_config_source *source, stoa_settings *out, stoa_buf *faults);

#endif
