/* target_inside.h - what the files of a target share. Internal to node/projection/target*.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_TARGET_INSIDE_H
#define STOA_NODE_PROJECTION_TARGET_INSIDE_H

#include "node/projection/target.h"
#include "storage/postgres/pg.h"

/* Days in ascending order. */
typedef struct target_days {
    uint64_t *at;
    uint32_t count, cap;
} target_days;

typedef struct target_shard {
    stoa_model *model;
    uint64_t position, mark, event_ns;
} target_shard;

struct stoa_target {
    const stoa_target_options *options;
    stoa_pg *pg;
    target_shard shards[STOA_TARGET_SHARDS_MAX];
    target_days days[STOA_MODEL_TABLES]; /* partitions there are */
    uint64_t kept_from[STOA_MODEL_TABLES];
};

/* Read which partitions there are and from which day on rows are kept. */
stoa_err target_days_load(stoa_target *target);
void target_days_deinit(stoa_target *target);
/* Make the partitions that the shard's rows need. */
stoa_err target_days_ensure(stoa_target *target, const stoa_model *model);
/* Tell the models from which day on rows are kept. */
void target_keep(stoa_target *target);

/* Write what the settings say, in place of what they said before. */
stoa_err target_facts_write(stoa_target *target);

#endif
