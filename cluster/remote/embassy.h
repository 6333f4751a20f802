/* remote/embassy.h - the actor that watches others of this node for its remote. Internal to cluster/remote/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_REMOTE_EMBASSY_H
#define STOA_CLUSTER_REMOTE_EMBASSY_H

#include "runtime/node.h"

#define stoa_embassy_watch_FIELDS(F, S) F(S, uint64_t, ref)
#define stoa_embassy_await_FIELDS(F, S) F(S, uint64_t, ref)
#define stoa_embassy_ended_FIELDS(F, S)                                                                                     \
    F(S, uint64_t, ref) F(S, stoa_text62, text) F(S, stoa_end, why) F(S, uint8_t, returns) F(S, uint16_t, pad0)        \
    F(S, uint32_t, pad1)
#define stoa_embassy_roomy_FIELDS(F, S) F(S, uint64_t, ref)
#define stoa_embassy_ROWS(ROW, K)                                                                                           \
    ROW(K, CAST, watch, _, "Tell the port when that actor ends.")                                                      \
    ROW(K, CAST, ended, _, "To the port: an actor that was watched has ended.")                                       \
    ROW(K, CAST, await, _, "Tell the port when the mailbox of that actor has room.")                                   \
    ROW(K, CAST, roomy, _, "To the port: the mailbox of an actor that was waited for has room, or it is gone.")
STOA_TABLE(stoa_embassy)

typedef struct stoa_embassy {
    stoa_ref port;
} stoa_embassy;
extern const stoa_kind stoa_embassy_kind;

#endif
