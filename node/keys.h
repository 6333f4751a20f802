/* keys.h - DATA/keys while the node runs: its own pair, the list of who may come in, and whatever changes of them.
 *
 * One thread looks once a second whether the list is another one or something in it is due (the end of an overlap, the node's next key
 * taking over), so that what was changed beside the node counts, too; and after a link was refused, whether there is another key for it.
 * Commands have it at once. An error - a list that cannot be read, two clients with one key - leaves everything as it was; it is
 * logged, and shown by the command that made it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_KEYS_H
#define STOA_NODE_KEYS_H

#include "node/door.h"
#include "node/platform.h"
#include "transport/key_list.h"

typedef struct stoa_node_keys stoa_node_keys;

/* Do what is due, read the list, load the node's own pair or make it. */
stoa_err stoa_node_keys_open(stoa_platform *platform, stoa_node_keys **out);
/* Open the gateway and the links with them, and begin to watch. */
stoa_err stoa_node_keys_start(stoa_node_keys *keys);
/* End the thread: nobody is told of changes any more. NULL is allowed. */
void stoa_node_keys_stop(stoa_node_keys *keys);
void stoa_node_keys_close(stoa_node_keys *keys);

/* Have what is on the disk now. Blocks; any thread but a core's or the gateway's. */
stoa_err stoa_node_keys_apply(stoa_node_keys *keys);

/* A link was refused: it may have another key to try. Any thread; waits for nobody. NULL is allowed. */
void stoa_node_keys_ring(stoa_node_keys *keys);

/* Run a command `key ...` (admin/key.h), and have what it changed. */
stoa_err stoa_node_keys_command(stoa_node_keys *keys, stoa_door_call *call);

/* Visit all names with keys, or that the settings know. */
void stoa_node_keys_visit(stoa_node_keys *keys, void (*visit)(void *context, const char *name), void *context);

#endif
