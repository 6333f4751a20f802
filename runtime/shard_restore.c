/* shard_restore.c - a shard's actors from a snapshot, and which snapshots may be used at all. See follow.h.
 *
 * A snapshot is used when its manifest holds, its block is the log's, this build knows all its kinds with the layouts they had,
 * and every chunk that is read has the bytes that were written. Otherwise the next older one is tried, then the log alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "runtime/follow.h"
#include "runtime/internal.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

/* --- which may be used */

static void refuse(const struct stoa_shard *shard, uint64_t position, stoa_err err)
{
    stoa_log(STOA_LOG_WARN, "snapshot_refused", STOA_KV("shard", shard->name), STOA_KU("position", position),
             STOA_KV("error", stoa_err_name(err)), STOA_KV("why", stoa_err_trail()));
}

stoa_err stoa_shard_snapshot_find(struct stoa_shard *shard, uint64_t at_most, bool log, stoa_snapshot **out,
                                  stoa_image_directory *directory_out)
{
    for (;;) {
        stoa_snapshot *snapshot;
        stoa_err err = stoa_snapshot_open(shard->journal, at_most, &snapshot);
        if (err) { return err == STOA_E_NOMEM ? err : STOA_E_NOT_FOUND; } /* a store that cannot be read has none */
        uint64_t position = stoa_snapshot_look(snapshot)->position;
        err = stoa_snapshot_stands(shard->journal, stoa_snapshot_look(snapshot));
        if (!err) { err = stoa_image_open(snapshot, shard->node->options.kinds, directory_out); }
        if (!err) {
            *out = snapshot;
            return STOA_OK;
        }
        if (log) { refuse(shard, position, err); }
        stoa_snapshot_close(snapshot);
        if (err == STOA_E_NOMEM || position == 0) { return err; }
        at_most = position - 1;
    }
}

/* --- at open */

/* The actor of a stream: spawned now, or there already where the shard was dropped (shard_drop.c). */
static stoa_err spawn_one(struct stoa_shard *shard, uint32_t stream, const stoa_image_stream *who)
{
    stoa_actor *actor;
    if (stream == 0) { return STOA_OK; }
    if (stream > shard->actor_count) { return stoa_shard_spawn(shard, who->kind, who->name, &actor); }
    actor = shard->actors[stream];
    bool same = actor->kind == who->kind && strcmp(stoa_actor_name(actor), who->name) == 0;
    return same ? STOA_OK : STOA_FAIL(STOA_E_CORRUPT, "stream %u is not %s", stream, who->name);
}

void stoa_shard_unrestore(struct stoa_shard *shard, uint32_t there)
{
    for (uint32_t stream = shard->actor_count; stream > there; stream--) {
        stoa_actor_free(shard->core, shard->actors[stream]);
        shard->actors[stream] = NULL;
        shard->seqs[stream] = 0;
    }
    for (uint32_t stream = 0; stream <= there; stream++) {
        stoa_sparse_clear(stoa_shard_state(shard, stream), shard->streams.at[stream].kind->state_bytes);
        shard->seqs[stream] = 0;
    }
    shard->actor_count = there;
    shard->applied = 0;
    atomic_store(&shard->streams.count, there);
}

static stoa_err spawn_all(struct stoa_shard *shard, stoa_snapshot *snapshot, const stoa_image_directory *directory)
{
    uint32_t there = shard->actor_count;
    stoa_err err = STOA_OK;
    for (uint32_t stream = 0; stream <= directory->count && !err; stream++) {
        err = spawn_one(shard, stream, &directory->streams[stream]);
        if (err) { break; }
        shard->seqs[stream] = directory->streams[stream].seq;
        err = stoa_image_state(snapshot, directory, stream, stoa_shard_state(shard, stream));
    }
    if (err) { stoa_shard_unrestore(shard, there); }
    return err;
}

stoa_err stoa_shard_restore(struct stoa_shard *shard, uint64_t at_most, uint64_t *position_out)
{
    for (*position_out = 0;;) {
        stoa_snapshot *snapshot;
        stoa_image_directory directory;
        stoa_err err = stoa_shard_snapshot_find(shard, at_most, true, &snapshot, &directory);
        if (err) { return err == STOA_E_NOMEM ? err : STOA_OK; }
        uint64_t position = stoa_snapshot_look(snapshot)->position;
        err = spawn_all(shard, snapshot, &directory);
        stoa_image_close(&directory);
        stoa_snapshot_close(snapshot);
        if (!err) {
            *position_out = position;
            return STOA_OK;
        }
        refuse(shard, position, err);
        if (err == STOA_E_NOMEM || position == 0) { return err; }
        at_most = position - 1;
    }
}
