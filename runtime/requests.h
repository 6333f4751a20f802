/* requests.h - which request was answered how: what a shard remembers of its clients' requests. Internal to runtime/.
 *
 * A request names itself by (client, session, number); a retry has the same name. What had an effect - an event of any actor
 * of the shard - is remembered with its reply as an event of the shard's own (ledger.h), in the block of the cascade that
 * answered it, so the memory is as durable as the effect is. This file is that memory: a plain struct, a function of those
 * events alone. once.h is the running shard's side of it.
 *
 * Names grow. A client's sessions are numbered by who hands them out, each above all earlier ones of all clients; a session's
 * requests are numbered by the client, upwards (gaps are fine, and the order in which they arrive does not matter while they
 * are within the window). So the memory can be bounded and still be safe: what is forgotten raises a floor, and what is not
 * known at or below a floor is STALE and is never executed, as it may have been executed before:
 *
 *     request forgotten      the floor of its session: its number
 *     session forgotten      the floor of its client: its number
 *     client forgotten       the floor of the shard: the highest number of its sessions
 *
 * Bounds, of a shard and of one client in it, so that a client that asks much forgets its own requests first:
 *
 *                 shard    client
 *     requests    16,384   4,096     the client's oldest goes; where the shard is full, the oldest of who has most
 *     replies     1.9 MB   491 KB    in pieces of 60 bytes, of at most 4 KB each; a longer reply is not kept: a retry is
 *                                    refused with TOO_LARGE then, and not executed
 *     sessions    4,096    64        the one that was quiet for longest goes; of who has most
 *     clients     2,048              the one that was quiet for longest goes
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_REQUESTS_H
#define STOA_RUNTIME_REQUESTS_H

#include "base/map64.h"
#include "base/pool.h"
#include "base/table.h"

enum {
    STOA_REQUESTS_MAX = 16384,
    STOA_REQUESTS_OF_CLIENT_MAX = 4096,
    STOA_PIECE_BYTES = 60,
    STOA_PIECES_MAX = 32768,
    STOA_PIECES_OF_CLIENT_MAX = 8192,
    STOA_KEPT_REPLY_MAX = 4096,
    STOA_SESSIONS_MAX = 4096,
    STOA_SESSIONS_OF_CLIENT_MAX = 64,
    STOA_CLIENTS_MAX = 2048,
};

/* What the shard knows of a request that had an effect. */
#define stoa_request_state_VALUES(V, E)                                                                                \
    V(E, ANSWERED, "answered") V(E, BEGUN, "begun") V(E, TOO_LONG, "too_long")
STOA_ENUM(stoa_request_state)
STOA_BYTES(stoa_kept_reply, STOA_KEPT_REPLY_MAX)

/* fingerprint: of what was asked, of whom. position: of the event itself. reply: of the asked row's reply type, as msgpack. */
#define stoa_shard_log_answered_FIELDS(F, S)                                                                           \
    F(S, uint64_t, client) F(S, uint64_t, session) F(S, uint64_t, number) F(S, uint64_t, fingerprint)                  \
    F(S, uint64_t, position) F(S, int32_t, error) F(S, uint16_t, reserved16) F(S, uint8_t, reserved8)                  \
    F(S, stoa_request_state, state) F(S, stoa_kept_reply, reply)

/* A request's number fits in one word of a map's key, beside the index of its session. */
enum { STOA_REQUEST_NUMBER_BITS = 50 };
_Static_assert(STOA_SESSIONS_MAX >> (64 - STOA_REQUEST_NUMBER_BITS) == 0, "an index fits beside a number");

typedef struct stoa_request {
    uint64_t number, fingerprint, position;
    uint32_t session, piece;  /* piece: the first of its reply */
    uint32_t older, newer;    /* of the client's */
    uint32_t bytes;           /* of its reply */
    int32_t error;
    uint32_t state, pad_;
} stoa_request;
_Static_assert(sizeof(stoa_request) == 56, "no padding");

typedef struct stoa_request_session {
    uint64_t number, floor;
    uint64_t last;         /* when it was heard last, by stoa_requests.tick */
    uint32_t client, next; /* next: of the client's */
} stoa_request_session;
_Static_assert(sizeof(stoa_request_session) == 32, "no padding");

typedef struct stoa_request_client {
    uint64_t id, floor, last;
    uint32_t oldest, newest; /* requests */
    uint32_t sessions, pad_; /* the first of them, the newest */
} stoa_request_client;
_Static_assert(sizeof(stoa_request_client) == 40, "no padding");

typedef struct stoa_piece {
    uint32_t next;
    uint8_t at[STOA_PIECE_BYTES];
} stoa_piece;

/* What a client holds: by client, [0] unused. */
typedef struct stoa_request_shares {
    uint32_t requests[STOA_CLIENTS_MAX + 2], pieces[STOA_CLIENTS_MAX + 2], sessions[STOA_CLIENTS_MAX + 2];
} stoa_request_shares;

typedef struct stoa_requests {
    uint64_t floor, tick;
    uint64_t forgotten; /* requests, to make room */
    stoa_request_shares shares;
    STOA_MAP64(32768) by_number;
    STOA_MAP64(4096) by_client;
    STOA_POOL(stoa_request_client, STOA_CLIENTS_MAX) clients;
    STOA_POOL(stoa_request_session, STOA_SESSIONS_MAX) sessions;
    STOA_POOL(stoa_request, STOA_REQUESTS_MAX) requests;
    STOA_POOL(stoa_piece, STOA_PIECES_MAX) pieces;
} stoa_requests;

/* Remember. Replaces what was BEGUN under the same name. */
struct stoa_shard_log_answered;
void stoa_requests_apply(stoa_requests *requests, const struct stoa_shard_log_answered *event);

/* Whether a request of that name may be executed: OK, or STALE; *known_out is what is remembered of it, or NULL. */
stoa_err stoa_requests_find(const stoa_requests *requests, uint64_t client, uint64_t session, uint64_t number,
                            const stoa_request **known_out);
/* Copy its reply, known->bytes long, into at. */
void stoa_requests_reply(const stoa_requests *requests, const stoa_request *known, uint8_t *at);

#endif
