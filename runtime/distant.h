/* distant.h - shards of other nodes, as the durable channels of this one see them (channel.h).
 *
 * Whoever talks to other nodes opens a port, and a distant shard for each shard that a node on the other side serves. Mail to
 * "shard:kind/key" then finds it as it finds one of this node, and the channel's frames come out of the port as deliveries:
 *
 *     in the port's handler      if (stoa_distant_frame(delivery, bytes, &to, &used)) { carry them to the node that serves `to` }
 *     when frames have come      stoa_distant_take(port, distants of that node, count, bytes, size)
 *     when some were lost        stoa_distant_again(distant): or may have been; and when the way to it is there at first
 *     when the node is gone      stoa_distant_close(distant)
 *     when all it has are open   stoa_distants_complete(port, node, true): what is mailed to another one of its is for nobody
 *
 * A carrier owes order while it carries, and nothing else. What it cannot carry it drops, and says again when there is room: every
 * channel between the two shards begins with the receiver's committed cursor and goes on from there. So what is mailed takes effect
 * once, whatever happens between the nodes. Only who dropped something has to say so; where it is not known, both say it. Frames are of a fixed layout, little endian, and of one version; what comes is checked
 * before it is anybody's: lengths, numbers, texts, and that it is from a shard that its node may speak for.
 *
 * Nodes may have shards of one name. "SHARD@NODE" is what others call a shard that calls itself SHARD: so each is one shard, whatever
 * the shards here are called, and frames say SHARD to it. A name without @ is the same on both sides; one that is here is EXISTS, and
 * so is one that another port carries to.
 *
 * What another node mails is casts and control rows, never commands, and nothing that the runtime says (stoa_system): DENIED
 * otherwise, and its sender hears so.
 *
 * Threads: the port's. A distant shard lives as long as its node; what is closed is opened again under its name.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_DISTANT_H
#define STOA_RUNTIME_DISTANT_H

#include "runtime/node.h"

typedef struct stoa_distant stoa_distant;

enum { STOA_DISTANT_FRAME_MAX = 8 << 10, STOA_DISTANTS_MAX = 256, STOA_DISTANT_ACTORS_MAX = 4096 };

/* Before anyone carries to it: mail to it is taken, and waits. actor: "kind/key", who lives in it; mail to that name finds it there, if
 * none of that name is here. Saying the same again is no change. Errors: INVALID (a name), EXISTS (the shard is here, or the actor
 * is said to live in another one), FULL, NOMEM. Any thread. */
stoa_err stoa_distant_expect(stoa_node *node, const char *shard, const char *actor);
/* Channels to it greet it as soon as again is said. Errors: INVALID (a name), EXISTS (here, or carried to by another port),
 * FULL, NOMEM. */
stoa_err stoa_distant_open(stoa_port *port, const char *shard, stoa_distant **out);
const char *stoa_distant_name(const stoa_distant *distant);
/* The way is there, and what went before may be lost. Errors: FULL (later, then). */
stoa_err stoa_distant_again(stoa_distant *distant);
/* What is mailed to it waits from here on. */
void stoa_distant_close(stoa_distant *distant);

/* Whether the node of that name (behind the @) is here and all shards that it serves are open. Channels to others of its are `absent`, and
 * those in which something waits are told in the log, once. Errors: FULL (later, then: it is known, and not yet in the log), NOMEM. */
stoa_err stoa_distants_complete(stoa_port *port, const char *node, bool complete);

/* Whether that is a frame for a distant shard; its bytes then, STOA_DISTANT_FRAME_MAX at most. */
bool stoa_distant_frame(const stoa_delivery *delivery, void *bytes, stoa_distant **to_out, uint32_t *used_out);
/* A frame has come; from: those that its node speaks for. Leave with stoa_port_flush. Errors: MALFORMED, VERSION, DENIED (from
 * another shard than those), NOT_FOUND (for a shard that is not open here), FULL (say so to the other side: it begins again). */
stoa_err stoa_distant_take(stoa_port *port, stoa_distant *const *from, uint32_t count, const void *bytes, uint32_t size_bytes);

/* How many shards have been opened here: a look for whether there are more now. */
uint32_t stoa_node_shards(stoa_node *node);
/* The shards of this node that others may mail to, by number from 0; false: no more. They stay until the node closes. */
bool stoa_node_shard_at(stoa_node *node, uint32_t index, const char **name_out);

#endif
