/* remote/shards.c - durable channels between shards of different nodes (runtime/distant.h): nodes tell each other which shards they
 * serve, and what their channels say to each other goes over the bulk lane.
 *
 * What node b calls "vault" is "vault@b" here (distant.h): two nodes may each have one, and a node speaks for its own only.
 *
 * A frame that the lane or a core has no room for is dropped, and when there is room the channels are told to begin again; so is it
 * with each connection.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/log.h"
#include "cluster/remote/inner.h"

/* --- which shards there are */

static void tell(stoa_remote *remote, stoa_remote_peer *peer)
{
    const char *name;
    uint32_t count = stoa_node_shards(remote->node);
    if (count == peer->shards_told) { return; }
    for (uint32_t i = 0; stoa_node_shard_at(remote->node, i, &name); i++) {
        if (stoa_remote_send(remote, peer, STOA_LANE_BULK, STOA_REMOTE_SHARD, 0, 0, 0, name, (uint32_t)strlen(name), true)) { return; }
    }
    if (stoa_remote_send(remote, peer, STOA_LANE_BULK, STOA_REMOTE_ALL, 0, 0, 0, NULL, 0, true)) { return; }
    peer->shards_told = count;
}

static stoa_distant *known(const stoa_remote_peer *peer, const char *name)
{
    for (uint32_t i = 0; i < peer->distant_count; i++) {
        if (strcmp(stoa_distant_name(peer->distants[i]), name) == 0) { return peer->distants[i]; }
    }
    return NULL;
}

void stoa_remote_shard_told(stoa_remote *remote, stoa_remote_peer *peer, const char *shard)
{
    char name[2 * STOA_NAME_MAX + 2];
    (void)snprintf(name, sizeof name, "%s@%s", shard, peer->name);
    peer->shards_begin = true;
    if (known(peer, name)) { return; }
    stoa_err err = strchr(shard, '@') ? STOA_E_INVALID : STOA_OK;
    if (!err && peer->distant_count == STOA_REMOTE_SHARDS) { err = STOA_E_FULL; }
    if (!err) { err = stoa_distant_open(remote->port, name, &peer->distants[peer->distant_count]); }
    if (!err) {
        peer->distant_count++;
    } else {
        peer->shards_refused = true;
        stoa_log(STOA_LOG_WARN, "remote_shard_refused", STOA_KV("node", peer->name), STOA_KV("shard", shard), STOA_KV("why", stoa_err_name(err)));
    }
}

/* --- frames */

void stoa_remote_mail_taken(stoa_remote *remote, stoa_remote_peer *peer, const void *bytes, uint32_t size_bytes)
{
    stoa_err err = stoa_distant_take(remote->port, peer->distants, peer->distant_count, bytes, size_bytes);
    if (!err) { peer->counts.mail_in++; }
    if (err == STOA_E_FULL) { peer->shards_begin = true; }
    if (err == STOA_E_MALFORMED || err == STOA_E_VERSION || err == STOA_E_DENIED) { peer->counts.malformed++; }
}

static stoa_remote_peer *server_of(stoa_remote *remote, const stoa_distant *distant)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        for (uint32_t at = 0; at < remote->peers[i].distant_count; at++) {
            if (remote->peers[i].distants[at] == distant) { return &remote->peers[i]; }
        }
    }
    return NULL;
}

bool stoa_remote_mail_sent(stoa_remote *remote, const stoa_delivery *delivery)
{
    stoa_distant *to;
    uint32_t used;
    if (!stoa_distant_frame(delivery, remote->encoded, &to, &used)) { return false; }
    stoa_remote_peer *peer = server_of(remote, to);
    if (!peer || peer->shards_begin) { return true; } /* behind a gap nothing goes on */
    bool room = peer->up && peer->backlog[STOA_LANE_BULK].bytes < remote->options.mail_backlog_bytes;
    stoa_err err = room ? stoa_remote_send(remote, peer, STOA_LANE_BULK, STOA_REMOTE_MAIL, 0, 0, 0, remote->encoded, used, true) : STOA_E_FULL;
    if (err) {
        peer->shards_begin = true;
    } else {
        peer->counts.mail_out++;
    }
    return true;
}

/* --- with time */

void stoa_remote_shards_up(stoa_remote_peer *peer)
{
    peer->shards_told = UINT32_MAX; /* hearing of them each side's channels begin again */
}

void stoa_remote_shards_complete(stoa_remote *remote, stoa_remote_peer *peer)
{
    if (!peer->up || peer->shards_refused) { return; }
    stoa_err err = stoa_distants_complete(remote->port, peer->name, true);
    peer->shards_complete = err != STOA_OK;
}

void stoa_remote_shards_down(stoa_remote *remote, stoa_remote_peer *peer)
{
    peer->shards_complete = false;
    (void)stoa_distants_complete(remote->port, peer->name, false);
}

void stoa_remote_shards_step(stoa_remote *remote, stoa_remote_peer *peer)
{
    if (!peer->up || peer->paused) { return; }
    tell(remote, peer);
    if (peer->shards_complete) { stoa_remote_shards_complete(remote, peer); }
    if (!peer->shards_begin || peer->backlog[STOA_LANE_BULK].head) { return; }
    peer->shards_begin = false;
    for (uint32_t i = 0; i < peer->distant_count; i++) {
        if (stoa_distant_again(peer->distants[i])) { peer->shards_begin = true; }
    }
}

void stoa_remote_shards_close(stoa_remote *remote, stoa_remote_peer *peer)
{
    stoa_remote_shards_down(remote, peer);
    for (uint32_t i = 0; i < peer->distant_count; i++) { stoa_distant_close(peer->distants[i]); }
    peer->distant_count = 0;
    peer->shards_refused = false;
}
