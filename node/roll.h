/* roll.h - which shards a data folder has had. One whose journal is gone (a mount that failed, a slip of rm) is refused, and not begun
 * anew beside those that remember: an empty ledger would look like a node that has never run.
 *
 * DATA/shards has a line for each: its name and the CRC-32C of that, in hex. A folder without that file is new.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ROLL_H
#define STOA_NODE_ROLL_H

#include "base/error.h"

/* Before the shards are opened. Blocks. Errors: NOT_FOUND (a shard's folder is gone, or has nothing of a journal), CORRUPT (a line is not
 * as it was written), IO, TOO_LARGE, NOMEM. */
stoa_err stoa_roll_check(const char *data);

/* Each name in it, in its order. Blocks. Errors: CORRUPT, IO, TOO_LARGE, NOMEM, what visit returns. */
stoa_err stoa_roll_visit(const char *data, stoa_err (*visit)(void *context, const char *shard), void *context);

/* Add a shard that has been opened, so that its journal was begun; one that is there already is no write. Blocks. Errors: those of check, FULL. */
stoa_err stoa_roll_add(const char *data, const char *shard);

#endif
