/* migrate.h - numbered changes of a schema, recorded in its table `migrations`.
 *
 * Each step runs once, whole or not at all, in a transaction of its own, under a lock that keeps others from doing the same. A
 * step only adds what the build before it can live with (columns with defaults, tables, indexes): so a build runs on its own
 * number and on one above. What is further ahead is VERSION.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_POSTGRES_MIGRATE_H
#define STOA_STORAGE_POSTGRES_MIGRATE_H

#include "storage/postgres/pg.h"

/* number: 1, 2, ... without gaps. up and down: statements, run with the schema as search_path. */
typedef struct stoa_pg_migration {
    uint32_t number;
    const char *name, *up, *down;
} stoa_pg_migration;

/* The number of the last step that the schema has; 0: none, or there is no schema. */
stoa_err stoa_pg_migrated(stoa_pg *pg, const char *schema, uint32_t *number_out);

/* Bring the schema to number target, up or down; it is made when it is not there. The session's search_path is the schema.
 * Errors: VERSION (the schema is two or more ahead of the list), DENIED, and what statements return. */
stoa_err stoa_pg_migrate(stoa_pg *pg, const char *schema, const stoa_pg_migration *list, uint32_t count, uint32_t target);

#endif
