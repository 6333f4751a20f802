/* requests.c - the memory of requests: maps and pools of fixed size, replies in pieces. See requests.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/requests.h"

#include <string.h>

#include "runtime/ledger.h"

STOA_ENUM_DEFINE(stoa_request_state)
STOA_BYTES_DEFINE(stoa_kept_reply, STOA_KEPT_REPLY_MAX)

_Static_assert(STOA_REQUESTS_MAX <= STOA_MAP64_MAX(32768) && STOA_CLIENTS_MAX <= STOA_MAP64_MAX(4096),
               "all that the pools hold have room in the maps");

/* A session's index and a request's number, in one word that is not 0. */
static uint64_t key_of(uint32_t session, uint64_t number)
{
    return (uint64_t)session << STOA_REQUEST_NUMBER_BITS | number;
}

/* 0: not known. A client has few, and mostly goes on with its newest. */
static uint32_t session_of(const stoa_requests *r, uint32_t client, uint64_t number)
{
    uint32_t at = r->clients.at[client].sessions;
    while (at && r->sessions.at[at].number != number) { at = r->sessions.at[at].next; }
    return at;
}

/* --- forgetting */

static void forget_reply(stoa_requests *r, uint32_t client, const stoa_request *request)
{
    for (uint32_t at = request->piece; at;) {
        uint32_t next = r->pieces.at[at].next;
        STOA_POOL_GIVE(&r->pieces, at);
        r->shares.pieces[client]--;
        at = next;
    }
}

static void unlink_request(stoa_requests *r, stoa_request_client *client, const stoa_request *request)
{
    if (request->older) {
        r->requests.at[request->older].newer = request->newer;
    } else {
        client->oldest = request->newer;
    }
    if (request->newer) {
        r->requests.at[request->newer].older = request->older;
    } else {
        client->newest = request->older;
    }
}

/* Take a request out; no floor rises. */
static void take_out(stoa_requests *r, uint32_t index)
{
    const stoa_request *request = &r->requests.at[index];
    uint32_t client = r->sessions.at[request->session].client;
    forget_reply(r, client, request);
    unlink_request(r, &r->clients.at[client], request);
    (void)STOA_MAP64_REMOVE(&r->by_number, key_of(request->session, request->number));
    r->shares.requests[client]--;
    STOA_POOL_GIVE(&r->requests, index);
}

static void raise(uint64_t *floor, uint64_t to)
{
    if (*floor < to) { *floor = to; }
}

static void forget_oldest(stoa_requests *r, uint32_t client)
{
    uint32_t index = r->clients.at[client].oldest;
    STOA_ASSERT(index);
    raise(&r->sessions.at[r->requests.at[index].session].floor, r->requests.at[index].number);
    take_out(r, index);
    r->forgotten++;
}

static void forget_session(stoa_requests *r, uint32_t index)
{
    stoa_request_session *session = &r->sessions.at[index];
    stoa_request_client *client = &r->clients.at[session->client];
    for (uint32_t at = client->oldest; at;) {
        uint32_t newer = r->requests.at[at].newer;
        if (r->requests.at[at].session == index) {
            take_out(r, at);
            r->forgotten++;
        }
        at = newer;
    }
    uint32_t *link = &client->sessions;
    while (*link != index) { link = &r->sessions.at[*link].next; }
    *link = session->next;
    raise(&client->floor, session->number);
    r->shares.sessions[session->client]--;
    STOA_POOL_GIVE(&r->sessions, index);
}

static void forget_client(stoa_requests *r, uint32_t index)
{
    stoa_request_client *client = &r->clients.at[index];
    while (client->sessions) { forget_session(r, client->sessions); }
    raise(&r->floor, client->floor);
    (void)STOA_MAP64_REMOVE(&r->by_client, client->id);
    STOA_POOL_GIVE(&r->clients, index);
}

/* --- who must make room */

/* Who has the most of something; the first of them. */
static uint32_t most(const uint32_t *shares)
{
    uint32_t who = 1;
    for (uint32_t i = 2; i <= STOA_CLIENTS_MAX; i++) {
        if (shares[i] > shares[who]) { who = i; }
    }
    return who;
}

static uint32_t quietest_client(const stoa_requests *r)
{
    uint32_t who = 1;
    for (uint32_t i = 2; i <= STOA_CLIENTS_MAX; i++) {
        if (r->clients.at[i].last < r->clients.at[who].last) { who = i; }
    }
    return who;
}

static uint32_t quietest_session(const stoa_requests *r, uint32_t client)
{
    uint32_t who = r->clients.at[client].sessions;
    for (uint32_t at = who; at; at = r->sessions.at[at].next) {
        if (r->sessions.at[at].last < r->sessions.at[who].last) { who = at; }
    }
    return who;
}

static void make_room(stoa_requests *r, uint32_t client, uint32_t pieces)
{
    while (r->shares.requests[client] >= STOA_REQUESTS_OF_CLIENT_MAX ||
           r->shares.pieces[client] + pieces > STOA_PIECES_OF_CLIENT_MAX) {
        forget_oldest(r, client);
    }
    while (r->requests.pool.used == STOA_REQUESTS_MAX) { forget_oldest(r, most(r->shares.requests)); }
    while (r->pieces.pool.used + pieces > STOA_PIECES_MAX) { forget_oldest(r, most(r->shares.pieces)); }
}

/* --- remembering */

/* What was forgotten before it came back is below its floor. */
static uint32_t client_for(stoa_requests *r, uint64_t id)
{
    uint32_t index = STOA_MAP64_GET(&r->by_client, id);
    if (index) { return index; }
    if (r->clients.pool.used == STOA_CLIENTS_MAX) { forget_client(r, quietest_client(r)); }
    index = STOA_POOL_TAKE(&r->clients);
    r->clients.at[index] = (stoa_request_client){.id = id, .floor = r->floor};
    STOA_MAP64_PUT(&r->by_client, id, index);
    return index;
}

static uint32_t session_for(stoa_requests *r, uint32_t client, uint64_t number)
{
    uint32_t index = session_of(r, client, number);
    if (index) { return index; }
    if (r->shares.sessions[client] == STOA_SESSIONS_OF_CLIENT_MAX) { forget_session(r, quietest_session(r, client)); }
    if (r->sessions.pool.used == STOA_SESSIONS_MAX) {
        forget_session(r, quietest_session(r, most(r->shares.sessions)));
    }
    index = STOA_POOL_TAKE(&r->sessions);
    stoa_request_client *owner = &r->clients.at[client];
    r->sessions.at[index] = (stoa_request_session){.number = number,
                                                   .floor = number <= owner->floor ? UINT64_MAX : 0,
                                                   .client = client,
                                                   .next = owner->sessions};
    owner->sessions = index;
    r->shares.sessions[client]++;
    return index;
}

static uint32_t pieces_of(uint32_t bytes)
{
    return (bytes + STOA_PIECE_BYTES - 1) / STOA_PIECE_BYTES;
}

static uint32_t keep_reply(stoa_requests *r, const stoa_kept_reply *reply)
{
    uint32_t first = 0;
    for (uint32_t i = pieces_of(reply->count); i > 0; i--) { /* from the end, so that each knows the next */
        uint32_t from = (i - 1) * STOA_PIECE_BYTES, left = reply->count - from;
        uint32_t index = STOA_POOL_TAKE(&r->pieces);
        r->pieces.at[index].next = first;
        memcpy(r->pieces.at[index].at, reply->at + from, left < STOA_PIECE_BYTES ? left : STOA_PIECE_BYTES);
        first = index;
    }
    return first;
}

static void link_newest(stoa_requests *r, stoa_request_client *client, uint32_t index)
{
    r->requests.at[index].older = client->newest;
    if (client->newest) {
        r->requests.at[client->newest].newer = index;
    } else {
        client->oldest = index;
    }
    client->newest = index;
}

void stoa_requests_apply(stoa_requests *r, const struct stoa_shard_log_answered *event)
{
    uint32_t client = client_for(r, event->client);
    uint32_t session = session_for(r, client, event->session);
    uint64_t key = key_of(session, event->number);
    uint32_t begun = STOA_MAP64_GET(&r->by_number, key);
    if (begun) { take_out(r, begun); }
    make_room(r, client, pieces_of(event->reply.count));
    uint32_t index = STOA_POOL_TAKE(&r->requests);
    r->requests.at[index] = (stoa_request){.number = event->number,
                                           .fingerprint = event->fingerprint,
                                           .position = event->position,
                                           .session = session,
                                           .piece = keep_reply(r, &event->reply),
                                           .bytes = event->reply.count,
                                           .error = event->error,
                                           .state = event->state};
    STOA_MAP64_PUT(&r->by_number, key, index);
    link_newest(r, &r->clients.at[client], index);
    r->shares.requests[client]++;
    r->shares.pieces[client] += pieces_of(event->reply.count);
    r->clients.at[client].last = r->sessions.at[session].last = ++r->tick;
}

/* --- asking */

static stoa_err above(uint64_t floor, uint64_t name)
{
    return name > floor ? STOA_OK : STOA_E_STALE;
}

stoa_err stoa_requests_find(const stoa_requests *r, uint64_t client, uint64_t session, uint64_t number,
                            const stoa_request **known_out)
{
    *known_out = NULL;
    uint32_t who = STOA_MAP64_GET(&r->by_client, client);
    if (!who) { return above(r->floor, session); }
    uint32_t at = session_of(r, who, session);
    if (!at) { return above(r->clients.at[who].floor, session); }
    uint32_t index = STOA_MAP64_GET(&r->by_number, key_of(at, number));
    if (!index) { return above(r->sessions.at[at].floor, number); }
    *known_out = &r->requests.at[index];
    return STOA_OK;
}

void stoa_requests_reply(const stoa_requests *r, const stoa_request *known, uint8_t *at)
{
    uint32_t left = known->bytes;
    for (uint32_t piece = known->piece; piece; piece = r->pieces.at[piece].next) {
        uint32_t bytes = left < STOA_PIECE_BYTES ? left : STOA_PIECE_BYTES;
        memcpy(at, r->pieces.at[piece].at, bytes);
        at += bytes;
        left -= bytes;
    }
}
