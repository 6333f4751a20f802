/* platform.c - brings a node up step by step, and down in the opposite order. See platform.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/platform.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/local/coord.h"
#include "node/door.h"
#include "node/http.h"
#include "node/keys.h"
#include "node/links.h"
#include "node/measure.h"
#include "node/ports/gateway.h"
#include "node/archive/archives.h"
#include "node/plugin/plugins.h"
#include "node/projection/projection.h"
#include "node/roll.h"
#include "node/source.h"
#include "node/world.h"
#include "storage/rocksdb/journal.h"
#include "storage/seal.h"

enum { TIME_EVERY = 1024 }; /* a timed turn costs up to 100 ns more: under a hundredth of the shortest turns */

const char *stoa_phase_name(int phase)
{
    static const char *const names[] = {"starting", "ready", "draining"};
    return phase >= STOA_STARTING && phase <= STOA_DRAINING ? names[phase] : "unknown";
}

/* The core of everything that is not the trading shard. */
static uint32_t other_core(const stoa_platform *p)
{
    return (uint32_t)p->settings.cores - 1;
}

/* --- steps up */

static stoa_err make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) { return STOA_OK; }
    return STOA_FAIL(STOA_E_IO, "folder %s: %s", path, strerror(errno));
}

static stoa_err folders(stoa_platform *p)
{
    char keys[STOA_PATH_MAX + 16];
    (void)snprintf(keys, sizeof keys, "%s/keys", p->settings.data);
    stoa_err err = make_folder(p->settings.data);
    return err ? err : make_folder(keys);
}

/* One node per data folder, and an epoch that no earlier one had. */
static stoa_err lease(stoa_platform *p)
{
    stoa_err err = stoa_coord_local.open(p->settings.data, &p->coord);
    if (!err) { err = p->coord->ops->acquire(p->coord, "node", &p->epoch); }
    return err == STOA_E_DENIED ? STOA_PASS(err, "another node runs on %s", p->settings.data) : err;
}

static void escalated(void *context, const char *reason)
{
    (void)context;
    stoa_log(STOA_LOG_ERROR, "node_exit", STOA_KV("reason", reason));
    abort();
}

static stoa_err node(stoa_platform *p)
{
    const stoa_settings *s = &p->settings;
    char flight[STOA_PATH_MAX + 16];
    (void)snprintf(flight, sizeof flight, "%s%s", s->flight_file[0] ? s->flight_file : s->data, s->flight_file[0] ? "" : "/flight");
    stoa_idle idle[STOA_SETTINGS_CORES];
    for (uint32_t i = 0; i < STOA_SETTINGS_CORES; i++) {
        idle[i] = (stoa_idle)(i < s->by_core_count ? s->by_core[i].idle : s->idle);
    }
    stoa_options options = {.cores = (uint32_t)s->cores,
                            .pin = s->pin,
                            .idle_by_core = idle,
                            .memory_bytes = s->memory_bytes,
                            .kinds = stoa_world_kinds,
                            .metrics = p->metrics,
                            .time_every = TIME_EVERY,
                            .flight_path = flight,
                            .flight_bytes = s->flight_bytes,
                            .name = s->node_name,
                            .watch_ns = s->watch_interval_ns,
                            .stall_ns = s->watch_stall_ns,
                            .hard_ns = s->watch_limit_ns,
                            .snapshot_events = (uint64_t)s->snapshot_every_events,
                            .snapshot_ns = s->snapshot_every_ns,
                            .snapshot_keep = (uint32_t)s->snapshot_keep,
                            .catch_signals = true,
                            .escalate = escalated};
    return stoa_node_open(&options, &p->node);
}

static stoa_err keys(stoa_platform *p)
{
    if (!p->settings.key_file[0]) { return STOA_OK; }
    stoa_err err = stoa_keyring_open(p->settings.key_file, &p->keys);
    if (!err) { stoa_log(STOA_LOG_INFO, "sealing", STOA_KU("key", stoa_keyring_newest(p->keys))); }
    return err;
}

static stoa_err open_shard(stoa_platform *p, const char *name, uint32_t core, int32_t durability, stoa_shard **out)
{
    char path[STOA_PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", p->settings.data, name);
    stoa_shard_options options = {.name = name,
                                  .core = core,
                                  .durability = durability ? stoa_durability_DISK : stoa_durability_MEMORY,
                                  .epoch = p->epoch,
                                  .journal = &stoa_journal_rocksdb,
                                  .keys = p->keys,
                                  .reserve_bytes = p->settings.reserve_bytes,
                                  .path = path};
    if (p->archives) {
        options.front = stoa_archives_front;
        options.front_context = stoa_archives_of(p->archives, name);
    }
    stoa_err err = stoa_shard_open(p->node, &options, out);
    if (err) { return err; }
    if (p->archives) { err = stoa_archives_attach(p->archives, name, *out); }
    if (!err) { err = stoa_roll_add(p->settings.data, name); }
    if (err) { return err; }
    stoa_shard_view view;
    err = stoa_shard_look(*out, &view);
    stoa_log(STOA_LOG_INFO, "shard_open", STOA_KV("shard", name), STOA_KU("events", view.recovered), STOA_KU("snapshot", view.snapshot),
             STOA_KU("unproven", view.unproven), STOA_KU("actors", view.actors), STOA_KU("recovery_us", view.recovery_ns / 1000));
    return err;
}

static stoa_err archives(stoa_platform *p)
{
    p->job = calloc(1, sizeof *p->job);
    if (!p->job) { return STOA_FAIL(STOA_E_NOMEM, "job"); }
    stoa_job_init(p->job);
    return stoa_archives_new(&p->settings, p->metrics, &p->archives);
}

/* Behind everything that reads the logs: who is not there yet would be passed over. */
static stoa_err keeper(stoa_platform *p)
{
    return p->archives ? stoa_archives_start(p->archives) : STOA_OK;
}

/* Its log stays as it is, and backups take it along; its accounts are not there. */
static stoa_err say_left_out(void *context, const char *shard)
{
    const stoa_platform *p = context;
    bool open = strcmp(shard, "trade") == 0 || strcmp(shard, "room") == 0;
    for (uint32_t i = 0; i < p->settings.vault_count && !open; i++) { open = strcmp(shard, p->settings.vaults[i]) == 0; }
    if (open) { return STOA_OK; }
    stoa_log(STOA_LOG_WARN, "shard_left_out", STOA_KV("shard", shard), STOA_KV("why", "it has been there, and no account in the settings names it"));
    return STOA_OK;
}

static stoa_err shards(stoa_platform *p)
{
    stoa_err err = stoa_roll_check(p->settings.data);
    if (!err) { err = open_shard(p, "trade", 0, p->settings.trade_durability, &p->trade); }
    for (uint32_t i = 0; i < p->settings.vault_count && !err; i++) {
        err = open_shard(p, p->settings.vaults[i], other_core(p), p->settings.trade_durability, &p->vaults[i]);
    }
    if (!err) { err = open_shard(p, "room", other_core(p), p->settings.room_durability, &p->room); }
    return err ? err : stoa_roll_visit(p->settings.data, say_left_out, p);
}

static stoa_err market(stoa_platform *p)
{
    return stoa_world_market(p, other_core(p));
}

static stoa_err source(stoa_platform *p)
{
    return stoa_source_open(p, other_core(p), &p->source);
}

static stoa_err plugins(stoa_platform *p)
{
    return stoa_plugins_open(p, &p->plugins);
}

static stoa_err gateway(stoa_platform *p)
{
    stoa_err err = stoa_node_keys_open(p, &p->own_keys);
    if (!err) { err = stoa_node_keys_start(p->own_keys); }
    if (!err && p->gateway) { stoa_log(STOA_LOG_INFO, "gateway_listens", STOA_KV("address", stoa_gateway_address(p->gateway))); }
    return err;
}

static stoa_err http(stoa_platform *p)
{
    if (p->settings.http_port < 0) { return STOA_OK; }
    stoa_err err = stoa_http_open(p, p->settings.http_host, (int)p->settings.http_port, &p->http);
    if (!err) { stoa_log(STOA_LOG_INFO, "http_listens", STOA_KV("address", stoa_http_address(p->http)), STOA_KI("port", stoa_http_port(p->http))); }
    return err;
}

static stoa_err door(stoa_platform *p)
{
    char path[STOA_PATH_MAX + 16];
    const char *named = p->settings.admin_socket;
    (void)snprintf(path, sizeof path, "%s%s", named[0] ? named : p->settings.data, named[0] ? "" : "/admin.sock");
    return stoa_door_open(p, path, &p->door);
}

static stoa_err projection(stoa_platform *p)
{
    return stoa_projection_open(p, &p->projection);
}

static stoa_err (*const steps[])(stoa_platform *p) = {
    folders, lease, keys, node, http, archives, shards, stoa_world_trade, stoa_world_rooms, market, source, stoa_world_quoters, plugins, gateway, projection, keeper,
    door,
};

stoa_err stoa_platform_open(const stoa_settings *settings, stoa_platform **out)
{
    stoa_platform *p = calloc(1, sizeof *p);
    if (!p) { return STOA_FAIL(STOA_E_NOMEM, "platform"); }
    p->settings = *settings;
    stoa_works_init(&p->works);
    p->started_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    stoa_err err = stoa_metrics_new(&p->metrics);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && !err; i++) { err = steps[i](p); }
    if (err) {
        stoa_log_error("start_failed", err);
        stoa_platform_close(p);
        return err;
    }
    atomic_store(&p->phase, STOA_READY);
    stoa_log(STOA_LOG_INFO, "ready", STOA_KV("node", p->settings.node_name), STOA_KV("data", p->settings.data));
    *out = p;
    return STOA_OK;
}

void stoa_platform_close(stoa_platform *p)
{
    if (!p) { return; }
    atomic_store(&p->phase, STOA_DRAINING);
    if (p->gateway) { stoa_gateway_drain(p->gateway); }
    stoa_door_close(p->door); /* its commands look into all that goes now */
    stoa_node_keys_stop(p->own_keys);
    stoa_source_close(p->source);
    stoa_gateway_close(p->gateway, p->settings.drain_ns);
    stoa_http_close(p->http);
    if (p->job) { stoa_job_deinit(p->job); }
    free(p->job);
    stoa_archives_stop(p->archives);
    stoa_node_links_close(p->links);
    stoa_projection_close(p->projection); /* what it has not written it finds in the log */
    stoa_node_close(p->node, p->settings.drain_ns);
    stoa_plugins_free(p->plugins); /* the node had their kinds */
    stoa_archives_free(p->archives); /* the journals read through them */
    stoa_metrics_free(p->metrics);
    stoa_node_keys_close(p->own_keys);
    stoa_keyring_close(p->keys);
    if (p->coord) { p->coord->ops->close(p->coord); }
    stoa_works_deinit(&p->works);
    free(p);
}

void stoa_platform_metrics(stoa_platform *p, stoa_buf *out)
{
    /* while shards recover their cores answer nobody: what is registered must do */
    if (atomic_load(&p->phase) != STOA_STARTING) { stoa_measure(p); }
    stoa_metrics_print(p->metrics, out);
}

stoa_err stoa_platform_replay_result(stoa_platform *p, stoa_buf *out)
{
    return stoa_source_result(p, p->source, out);
}
