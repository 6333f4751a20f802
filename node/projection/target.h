/* target.h - one schema in one database, and the models of the shards that are written into it.
 *
 * A batch is one transaction: the rows of all tables and the shard's cursor. The cursor moves only from where it was read, and
 * one session at a time holds the schema (an advisory lock), so two projectors never write the same rows. After any error the
 * target is closed and opened again: the models are then what the database says.
 *
 * One thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_TARGET_H
#define STOA_NODE_PROJECTION_TARGET_H

#include "node/projection/model.h"

enum { STOA_TARGET_SHARDS_MAX = 16, STOA_SCHEMA_NAME_MAX = 40 };

/* What the settings say and no log does. */
typedef struct stoa_projection_exchange {
    const char *name, *kind; /* "simulated", "recorded", "live" */
} stoa_projection_exchange;
typedef struct stoa_projection_client {
    const char *name, *public_key, *accounts;
    uint64_t created_ns; /* when its key was written */
} stoa_projection_client;

typedef enum stoa_projection_way { STOA_WAY_BY_SIZE, STOA_WAY_PIPE, STOA_WAY_COPY } stoa_projection_way;

typedef struct stoa_target_options {
    const char *conninfo, *schema;
    int stop_fd;
    uint64_t timeout_ns;
    bool shadow;                /* being built beside another: not locked, and without what the settings say until it is whole */
    stoa_projection_way way;    /* tests: always that way */
    uint64_t keep_orders_ns, keep_market_ns; /* older days are dropped; 0: none */
    bool move_expired;          /* into the schema SCHEMA_expired instead */
    const char *const *shards;
    uint32_t shard_count;
    const stoa_projection_exchange *exchanges;
    uint32_t exchange_count;
    const stoa_projection_client *clients;
    uint32_t client_count;
} stoa_target_options;

typedef struct stoa_target stoa_target;

/* Connect, migrate, lock, load. options and what they point to must outlive the target. Errors: what storage/postgres returns;
 * DENIED: another projector has the schema; VERSION; CORRUPT. */
stoa_err stoa_target_open(const stoa_target_options *options, stoa_target **out);
void stoa_target_close(stoa_target *target); /* NULL is allowed */

const char *stoa_target_where(const stoa_target *target);
stoa_model *stoa_target_model(stoa_target *target, uint32_t shard);
/* The last position in the rows, and the mark stored with it (0 at position 0). */
uint64_t stoa_target_position(const stoa_target *target, uint32_t shard);
uint64_t stoa_target_mark(const stoa_target *target, uint32_t shard);
uint64_t stoa_target_event_ns(const stoa_target *target, uint32_t shard);

/* How a batch was written: few rows by the pipeline, in one round trip; many by COPY. */
typedef struct stoa_target_written {
    uint64_t rows;
    bool piped;
} stoa_target_written;

/* Write what the shard's model has gathered up to position, whose event happened at event_ns. Errors: STALE (the cursor is not where we left it), what storage/postgres returns, with the table in the trail. */
stoa_err stoa_target_write(stoa_target *target, uint32_t shard, uint64_t position, uint64_t mark, uint64_t event_ns,
                           stoa_target_written *out);

/* Make partitions for the days around now_ns, and drop or move days that are too old. A day with an order that is not final
 * stays, and so do those behind it. */
stoa_err stoa_target_tidy(stoa_target *target, uint64_t now_ns);

/* kept_from of all tables as in from: before the first batch of a rebuild. */
stoa_err stoa_target_keep_as(stoa_target *target, const stoa_target *from);

/* Put the schema shadow in the place of options->schema, in one step; the old one is called SCHEMA_old then. Close both
 * targets. */
stoa_err stoa_target_swap(stoa_target *target, const char *shadow);
/* Drop a schema that a rebuild made or put aside, one table after the other; none is OK. Errors: EXISTS (there is something in it
 * that no projection makes: it stays as it is). */
stoa_err stoa_target_drop(stoa_target *target, const char *schema);
/* Rows of a table; 0 where that is not known without counting. */
stoa_err stoa_target_rows(stoa_target *target, stoa_model_table table, uint64_t *out);

#endif
