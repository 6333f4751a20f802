/* projection.c - from settings to a projector. See projection.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/projection/projection.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/clients.h"
#include "transport/keys.h"

#define TIMEOUT_NS STOA_S(30)

struct stoa_projection {
    stoa_projector *projector;
    stoa_projection_exchange exchange;
    stoa_projection_client clients[STOA_SETTINGS_CLIENTS];
    char keys[STOA_SETTINGS_CLIENTS][STOA_KEY_TEXT_BYTES];
    uint32_t client_count;
};

/* Clients whose key there is; one that nobody could connect with is no user. */
static void take_clients(const stoa_settings *s, struct stoa_projection *out)
{
    for (uint32_t i = 0; i < s->client_count; i++) {
        stoa_projection_client *client = &out->clients[out->client_count];
        if (stoa_clients_key(s, &s->clients[i], out->keys[out->client_count], &client->created_ns)) { continue; }
        client->name = s->clients[i].name;
        client->accounts = s->clients[i].accounts;
        client->public_key = out->keys[out->client_count++];
    }
}

/* The outside market's venue. */
static uint32_t take_exchange(const stoa_settings *s, stoa_projection_exchange *out)
{
    static const char *const kinds[] = {[STOA_SOURCE_NONE] = NULL, [STOA_SOURCE_SIM] = "simulated", [STOA_SOURCE_REPLAY] = "recorded",
                                        [STOA_SOURCE_LIVE] = "live"};
    *out = (stoa_projection_exchange){.name = s->source == STOA_SOURCE_SIM ? "sim" : s->market_venue, .kind = kinds[s->source]};
    return out->kind && strcmp(out->name, "stoa") != 0 ? 1 : 0;
}

/* All that have a log: accounts live in trade and in the vaults. */
static uint32_t take_shards(const stoa_platform *platform, stoa_shard *out[STOA_TARGET_SHARDS_MAX])
{
    _Static_assert(STOA_SETTINGS_VAULTS + 2 <= STOA_TARGET_SHARDS_MAX, "every shard of a node has its cursor");
    uint32_t count = 0;
    out[count++] = platform->trade;
    for (uint32_t i = 0; i < platform->settings.vault_count; i++) { out[count++] = platform->vaults[i]; }
    out[count++] = platform->room;
    return count;
}

stoa_err stoa_projection_open(stoa_platform *platform, struct stoa_projection **out)
{
    const stoa_settings *s = &platform->settings;
    if (!s->projection_postgres[0]) { return STOA_OK; }
    struct stoa_projection *p = calloc(1, sizeof *p);
    if (!p) { return STOA_FAIL(STOA_E_NOMEM, "projection"); }
    take_clients(s, p);
    stoa_shard *shards[STOA_TARGET_SHARDS_MAX];
    uint32_t shard_count = take_shards(platform, shards);
    stoa_projector_options options = {
        .target = {.conninfo = s->projection_postgres,
                   .timeout_ns = TIMEOUT_NS,
                   .keep_orders_ns = s->projection_keep_orders_ns,
                   .keep_market_ns = s->projection_keep_market_ns,
                   .move_expired = s->projection_expired == 1,
                   .exchanges = &p->exchange,
                   .exchange_count = take_exchange(s, &p->exchange),
                   .clients = p->clients,
                   .client_count = p->client_count},
        .schema = s->projection_schema,
        .shards = shards,
        .shard_count = shard_count,
        .batch = (uint32_t)s->projection_batch,
        .interval_ns = s->projection_interval_ns,
        .metrics = platform->metrics};
    stoa_err err = stoa_projector_open(&options, &p->projector);
    if (err) {
        stoa_projection_close(p);
        return STOA_PASS(err, "projection");
    }
    *out = p;
    return STOA_OK;
}

void stoa_projection_close(struct stoa_projection *projection)
{
    if (!projection) { return; }
    stoa_projector_close(projection->projector);
    free(projection);
}

stoa_projector *stoa_projection_projector(struct stoa_projection *projection)
{
    return projection->projector;
}
