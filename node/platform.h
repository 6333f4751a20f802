/* platform.h - the composition root: from settings to a running node with its shards, actors, ports and doors.
 *
 *     trade   shard: risk/main, trade_book/SYMBOL, trade_account/NAME, strategy_quoter/NAME      journal DATA/trade
 *     VAULT   shards that accounts name beside trade: trade_account/NAME, as wallets              journal DATA/VAULT
 *     room    shard: room/NAME                                                                   journal DATA/room
 *     venue   shard without a journal: trade_book/SIM.SYMBOL, when the market is simulated
 *     plain   market_book/VENUE.SYMBOL, market_connector/VENUE, market_exchange/SYMBOL
 *     plug-ins  plugin/NAME and below it NAME/KEY, each with a process of its own
 *     ports   gateway (clients), replay or live (market data)
 *     doors   http (health, metrics), admin (the REPL)
 *     archives     sealed segments of the journals; backups       DATA/archive, DATA/cold
 *     projection   rows in PostgreSQL, of the shards with journals
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PLATFORM_H
#define STOA_NODE_PLATFORM_H

#include <stdatomic.h>

#include "base/metrics.h"
#include "node/settings.h"
#include "node/work.h"
#include "runtime/node.h"

typedef enum stoa_phase { STOA_STARTING, STOA_READY, STOA_DRAINING } stoa_phase;

typedef struct stoa_platform {
    stoa_settings settings;
    stoa_metrics *metrics;
    stoa_node *node;
    stoa_shard *vaults[STOA_SETTINGS_VAULTS]; /* as settings.vaults */
    stoa_shard *trade, *room, *venue; /* venue: NULL unless the market is simulated */
    struct stoa_coord *coord;
    struct stoa_keyring *keys; /* that seal what is stored; NULL: nothing is sealed */
    struct stoa_node_keys *own_keys; /* of the node and of who may come in */
    struct stoa_node_links *links; /* to other nodes; NULL: none are configured */
    uint64_t epoch; /* of the lease on the data folder */
    struct stoa_gateway *gateway;
    struct stoa_market_source *source;
    struct stoa_http *http;
    struct stoa_door *door;
    struct stoa_projection *projection; /* NULL: none is configured */
    struct stoa_archives *archives; /* NULL: none are kept */
    struct stoa_job *job; /* a backup or a restore */
    struct stoa_plugins *plugins; /* kinds from libraries; NULL: none are configured */
    stoa_works works;     /* what commands do that takes long */
    uint64_t started_ns; /* wall */
    _Atomic int phase;   /* stoa_phase */
} stoa_platform;

/* Bring everything up, in this order: folders, the lease on them, node, shards (recovered), actors, market, gateway, projection, doors; then
 * phase is READY. settings are copied. On error everything is taken down again and the trail says what failed. */
stoa_err stoa_platform_open(const stoa_settings *settings, stoa_platform **out);

/* Drain and take everything down in the opposite order: no new work, finish what is under way, sync the journals. */
void stoa_platform_close(stoa_platform *platform);

/* All metrics as Prometheus text, the runtime's figures refreshed. Any thread but a core. */
void stoa_platform_metrics(stoa_platform *platform, stoa_buf *out);

/* Replay with exit: wait for the end of the capture and print the mirror's figures as one JSON line. */
stoa_err stoa_platform_replay_result(stoa_platform *platform, stoa_buf *out);

const char *stoa_phase_name(int phase);

#endif
