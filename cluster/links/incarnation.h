/* links/incarnation.h - the number that tells one life of a node from another under its name; peers refuse those that are lower (transport/session.h).
 *
 * The wall's milliseconds when it was taken, or one more than the last one of this data folder where the clock was set back. So it grows with
 * each start, and also where the folder was begun anew or restored, whatever epoch that then has.
 *
 * Any thread but a core; blocks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_LINKS_INCARNATION_H
#define STOA_CLUSTER_LINKS_INCARNATION_H

#include <stdint.h>

#include "base/error.h"

/* Durable in DATA/node.incarnation on return. Errors: CORRUPT (what is there is no number), IO, FULL. */
stoa_err stoa_incarnation_next(const char *data, uint64_t wall_ns, uint64_t *out);

#endif
