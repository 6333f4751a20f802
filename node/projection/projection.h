/* projection.h - the node's projection: the settings' part in it, and the projector over the shards that have a log.
 *
 * Where to start reading: schema.h (what rows there are), model.h (which events become which rows), target.h (how they are
 * written), projector.h (the thread).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_PROJECTION_H
#define STOA_NODE_PROJECTION_PROJECTION_H

#include "node/platform.h"
#include "node/projection/projector.h"

struct stoa_projection;

/* OK with NULL where the settings name no database; PostgreSQL need not answer. */
stoa_err stoa_projection_open(stoa_platform *platform, struct stoa_projection **out);
void stoa_projection_close(struct stoa_projection *projection); /* NULL is allowed */
stoa_projector *stoa_projection_projector(struct stoa_projection *projection);

#endif
