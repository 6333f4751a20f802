/* effects.h - outside effects of a running shard: from the turn that wants one to the port that has it done. Internal to runtime/.
 *
 * A turn stages an effect (stoa_turn_effect) as it stages events; it is pending (outbox.h) when the turn takes effect. When that is
 * committed, the shard hands it to the port that serves its table (stoa_port_serve), the oldest first, STOA_HANDED_MAX at a time.
 * The port says when it is done, or has failed for good (stoa_port_effected); that is journaled, and the next one goes. What was
 * handed out by an earlier life of the process, or to a port that has closed, is handed out once more, marked `again`: it may have
 * been done. So each effect is done at least once, and once in effect where the outside can be asked about its name.
 *
 * One that this build cannot read - of a later one, whose table has more rows, or other fields - is set aside: it is logged
 * (effect_unreadable), shown as `unreadable`, and tried again with each other table that a port comes to serve. An operator who
 * knows what became of it settles it (stoa_shard_settle, effects_look.c).
 *
 * Room: a cascade's first turn may stage while STOA_OUTBOX_SPARE effects would still have room, later ones of the cascade
 * while there is any; so an outbox that fills refuses turns as a whole (FULL) before it leaves a cascade half done.
 *
 * Core: the shard's, but for what says otherwise.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_EFFECTS_H
#define STOA_RUNTIME_EFFECTS_H

#include "runtime/shard.h"

enum { STOA_HANDED_MAX = 64, STOA_OUTBOX_SPARE = 128 };

struct stoa_shard;

/* Who serves which table; under node->lock, and read by cores without it. */
typedef struct stoa_server {
    _Atomic(const stoa_table *) table; /* NULL: nobody any more */
    stoa_ref port;
} stoa_server;
enum { STOA_SERVERS_MAX = 32 };

/* What this life knows of a pending effect, by its slot. */
typedef struct stoa_handed {
    uint64_t epoch, position;
    uint32_t n;
    bool known; /* the slot is in use */
    bool again; /* it may have been handed out before */
    stoa_ref to; /* NONE: it is not out */
    const stoa_table *tried; /* unreadable: it is not of this table */
    stoa_err unreadable;     /* why; OK: nothing is known against it */
} stoa_handed;

struct stoa_effects {
    stoa_handed at[STOA_OUTBOX_MAX + 1], before[STOA_OUTBOX_MAX + 1];
    uint32_t out; /* how many are handed out */
    uint32_t staged, staged_pieces; /* by the turn that runs */
    uint64_t cause; /* position that the last effect is named by */
    uint32_t n;
    stoa_msg_list reports; /* acts */
    uint8_t payload[STOA_EFFECT_BYTES];
};

/* Errors: NOMEM. */
stoa_err stoa_effects_init(struct stoa_shard *shard);
void stoa_effects_deinit(struct stoa_shard *shard);
/* One staged event of an effect takes effect: give it its name. */
void stoa_effects_note(struct stoa_shard *shard, stoa_shard_log_effect *event, const stoa_turning *turning);
void stoa_effects_clear_staged(struct stoa_shard *shard);
/* The shard was recovered: what is pending may have been handed out before. Dropped: what is, still is. */
void stoa_effects_recovered(struct stoa_shard *shard);
void stoa_effects_dropped(struct stoa_shard *shard);
/* Journal what ports have said. */
void stoa_effects_hear(struct stoa_shard *shard);
/* Hand out what is committed. */
void stoa_effects_pump(struct stoa_shard *shard);
/* All that was handed to that port is to be handed out again. */
void stoa_effects_abandoned(struct stoa_shard *shard, stoa_ref port);
/* Whether something has come that is to be journaled. */
bool stoa_effects_waiting(const struct stoa_shard *shard);

/* Who serves its table; NULL: nobody. */
const stoa_server *stoa_effects_server(stoa_node *node, const stoa_pending *pending);
/* Whether its cascade is in the log. */
bool stoa_effects_written(const struct stoa_shard *shard, const stoa_pending *pending);
/* Journal what became of it. */
void stoa_effects_settle(struct stoa_shard *shard, uint32_t slot, stoa_err outcome);

/* What stands behind the payload of an effect on its way to a port (context.named is STOA_NAMED_EFFECT). */
enum { STOA_NAMED_REQUEST = 1, STOA_NAMED_EFFECT = 2, STOA_NAMED_PASSED = 3 /* a stoa_passed: stand.h */ };

#endif
