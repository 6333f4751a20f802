/* host/unsupported.c - what a handler may call in a node and not in a child; a library that calls it loads, and hears UNSUPPORTED.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/isolate.h"

#define NOT_HERE(name, ...)                                                                                            \
    stoa_err name(__VA_ARGS__)                                                                                         \
    {                                                                                                                  \
        return STOA_E_UNSUPPORTED;                                                                                     \
    }
#pragma GCC diagnostic ignored "-Wunused-parameter"

NOT_HERE(stoa_turn_forward, stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload)
NOT_HERE(stoa_turn_emit, stoa_turn *turn, const stoa_row *row, const void *payload)
NOT_HERE(stoa_turn_mail, stoa_turn *turn, const char *to, const stoa_row *row, const void *payload, uint64_t token)
NOT_HERE(stoa_turn_returned, const stoa_turn *turn, const stoa_row *row, void *payload_out)
NOT_HERE(stoa_turn_effect, stoa_turn *turn, const stoa_row *row, const void *payload)
NOT_HERE(stoa_turn_stop, stoa_turn *turn, stoa_ref actor, const char *reason)
NOT_HERE(stoa_turn_spawn, stoa_turn *turn, const stoa_kind *kind, const stoa_child *child, stoa_ref *out)
NOT_HERE(stoa_turn_gather, stoa_turn *turn, uint64_t deadline_ns, uint64_t token, stoa_gather *out)
NOT_HERE(stoa_turn_gather_ask, stoa_turn *turn, const stoa_gather *gather, stoa_ref to, const stoa_row *row, const void *payload)
NOT_HERE(stoa_turn_watch, stoa_turn *turn, int fd, unsigned events, uint64_t token)
NOT_HERE(stoa_turn_unwatch, stoa_turn *turn, int fd)
NOT_HERE(stoa_call, stoa_node *node, stoa_ref to, const stoa_row *row, const void *payload, uint64_t deadline_ns, void *out, size_t out_bytes)
NOT_HERE(stoa_post, stoa_node *node, stoa_ref to, const stoa_row *row, const void *payload)

/* These tell nothing but that there is none. */
#define NONE(type, name, none, ...)                                                                                    \
    type name(__VA_ARGS__)                                                                                             \
    {                                                                                                                  \
        return none;                                                                                                   \
    }
NONE(stoa_ref, stoa_turn_member, STOA_REF_NONE, stoa_turn *turn, unsigned slot, uint64_t key)
NONE(stoa_ref, stoa_turn_member_next, STOA_REF_NONE, stoa_turn *turn, unsigned slot)
NONE(stoa_ref, stoa_turn_member_near, STOA_REF_NONE, stoa_turn *turn, unsigned slot)
NONE(uint32_t, stoa_turn_members, 0, const stoa_turn *turn, unsigned slot)
NONE(uint32_t, stoa_turn_stream, 0, const stoa_turn *turn)
NONE(stoa_ref, stoa_turn_peer, STOA_REF_NONE, const stoa_turn *turn, uint32_t stream)
NONE(uint32_t, stoa_turn_peer_find, 0, stoa_turn *turn, const char *name)
NONE(const char *, stoa_turn_mailed_by, "", const stoa_turn *turn)

#define NOTHING(name, ...)                                                                                             \
    void name(__VA_ARGS__)                                                                                             \
    {                                                                                                                  \
    }
NOTHING(stoa_turn_cancel_ask, stoa_turn *turn, uint64_t token)
