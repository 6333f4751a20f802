/* ledger.c - the shard's own events, folded. See ledger.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/ledger.h"

#include <inttypes.h>

STOA_TABLE_DEFINE(stoa_shard_log)

static void inspect(const void *state, stoa_buf *out)
{
    const stoa_shard_log *self = state;
    stoa_buf_printf(out, "{\"epoch\":%" PRIu64 ",\"streams\":%" PRIu64 ",\"requests\":%" PRIu32 ",\"forgotten\":%" PRIu64 "}",
                    self->epoch, self->streams, self->requests.requests.pool.used, self->requests.forgotten);
}

#define stoa_shard_log_HEARS STOA_HEARS_NOTHING
STOA_KIND(stoa_shard_log, .inspect = inspect)

static void stoa_shard_log_apply_spawned(stoa_shard_log *self, const stoa_shard_log_spawned *event)
{
    (void)event;
    self->streams++;
}

static void stoa_shard_log_apply_epoch_started(stoa_shard_log *self, const stoa_shard_log_epoch_started *event)
{
    self->epoch = event->epoch;
}

static void stoa_shard_log_apply_answered(stoa_shard_log *self, const stoa_shard_log_answered *event)
{
    stoa_requests_apply(&self->requests, event);
}

#define CHANNEL_EVENT_(name)                                                                                           \
    static void stoa_shard_log_apply_##name(stoa_shard_log *self, const stoa_shard_log_##name *event)                  \
    {                                                                                                                  \
        stoa_channel_##name(&self->channels, event);                                                                   \
    }
CHANNEL_EVENT_(mailed)
CHANNEL_EVENT_(acknowledged)
CHANNEL_EVENT_(returned)
CHANNEL_EVENT_(restarted)
CHANNEL_EVENT_(delivered)
CHANNEL_EVENT_(refused)
CHANNEL_EVENT_(settled)
CHANNEL_EVENT_(restarted_in)
CHANNEL_EVENT_(contact)

static void stoa_shard_log_apply_effect(stoa_shard_log *self, const stoa_shard_log_effect *event)
{
    stoa_outbox_effect(&self->outbox, event);
}

static void stoa_shard_log_apply_effected(stoa_shard_log *self, const stoa_shard_log_effected *event)
{
    stoa_outbox_effected(&self->outbox, event);
}
