/* session_fuzz.c - a session that is up is told anything at all by its peer, with sums that are right: it stays within its
 * bounds, what it tells its user is in order and within the credit, and when the peer is proper again messages go both ways.
 * The first byte says whether its user consumes (as cluster/remote does) and whether both trust the link (as over shm).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "tests/session_ignored.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

enum { PIECE_MAX = 8192, BATCH_BYTES = 1024, WINDOW_BYTES = 8192 };

enum { CONSUMES = 1, TRUSTS = 2 };                  /* of the first byte */
enum { OPEN = 0x40, SEALED = 0x80, LONG = 0x08 }; /* of how a piece is said */

static uint64_t last[STOA_LANE_COUNT], held[STOA_LANE_COUNT], told_bytes;
static bool consumes;

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    (void)context, (void)session;
    STOA_ASSERT(m->seq > last[m->lane] && m->size_bytes <= PIECE_MAX); /* transfers take numbers, too */
    last[m->lane] = m->seq;
    held[m->lane] += m->credit_bytes;
    STOA_ASSERT(!consumes || held[m->lane] <= WINDOW_BYTES);
    told_bytes += m->size_bytes ? ((const uint8_t *)m->bytes)[m->size_bytes - 1] : 0;
}
static void on_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    (void)context, (void)session;
    if (!here) {
        STOA_ASSERT(message->seq > last[message->lane]);
        last[message->lane] = message->seq;
    }
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    (void)context, (void)session, (void)resumed;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    (void)context, (void)session, (void)why;
}
static void on_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    (void)context, (void)session, (void)reset;
    memset(last, 0, sizeof last);
    memset(held, 0, sizeof held);
}

/* Transfers come into a place of just their size. */
static uint8_t *place;

static stoa_err on_offered(void *context, stoa_session *session, const stoa_transfer *offer, void **into_out,
                           uint64_t *have_out)
{
    (void)context, (void)session;
    if (offer->size_bytes > PIECE_MAX || place) { return STOA_E_FULL; }
    place = calloc(1, offer->size_bytes);
    STOA_ASSERT(place);
    *into_out = place;
    *have_out = offer->size_bytes / 2;
    return STOA_OK;
}
static void on_came(void *context, stoa_session *session, const stoa_transfer *offer, uint64_t have, stoa_err why)
{
    (void)context, (void)session;
    STOA_ASSERT(have <= offer->size_bytes && (why || have == offer->size_bytes));
    free(place);
    place = NULL;
}
static void on_gone(void *context, stoa_session *session, uint64_t id, stoa_err why)
{
    (void)context, (void)session, (void)why;
    STOA_ASSERT(id > 0);
}

/* A link that takes everything and tells nothing. */
static stoa_err sink(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    (void)link, (void)peer;
    STOA_ASSERT(size_bytes >= STOA_ENVELOPE_BYTES && size_bytes <= PIECE_MAX);
    told_bytes += ((const uint8_t *)bytes)[size_bytes - 1];
    return STOA_OK;
}

static stoa_session_view view_of(const stoa_session *s)
{
    stoa_session_view view;
    stoa_session_look(s, &view);
    return view;
}

static void hello_from(stoa_session *s, uint64_t incarnation, uint64_t now_ns)
{
    struct {
        stoa_envelope e;
        stoa_hello body;
    } piece = {.e = {.flags = stoa_envelope_flags(STOA_ENVELOPE_HELLO, STOA_LANE_CONTROL)}};
    piece.body = (stoa_hello){.version_min = STOA_SESSION_VERSION,
                              .version_max = STOA_SESSION_VERSION,
                              .flags = STOA_HELLO_TRUSTS,
                              .number = 1,
                              .heard = UINT64_MAX,
                              .incarnation = incarnation,
                              .peer_incarnation = 1,
                              .epoch = view_of(s).peer_epoch,
                              .name = "b"};
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        piece.body.lanes[i].credit = WINDOW_BYTES;
    }
    stoa_envelope_seal(&piece.e, sizeof piece, 0);
    (void)stoa_session_take(s, "", &piece, sizeof piece, now_ns);
}

/* One piece of what the fuzzer says: a head of {size, how}, then its bytes. */
static size_t say(stoa_session *s, const uint8_t *at, size_t left_bytes, uint64_t now_ns)
{
    uint8_t piece[PIECE_MAX] __attribute__((aligned(8)));
    size_t size_bytes = (size_t)at[0] * (at[1] & LONG ? 32 : 4) + at[1] % 4;
    if (size_bytes > left_bytes - 2) { size_bytes = left_bytes - 2; }
    memcpy(piece, at + 2, size_bytes);
    if (size_bytes >= STOA_ENVELOPE_BYTES && at[1] & SEALED) {
        stoa_envelope *e = (stoa_envelope *)(void *)piece;
        e->flags &= STOA_ENVELOPE_FLAGS;
        stoa_session_view view = view_of(s);
        e->epoch = (uint32_t)view.peer_epoch;
        stoa_envelope_what what = stoa_envelope_is(e);
        bool open = what == STOA_ENVELOPE_HELLO || (what == STOA_ENVELOPE_REFUSE && at[1] & OPEN);
        stoa_envelope_seal(e, (uint32_t)size_bytes, open ? 0 : stoa_session_id_of("b", view.peer_incarnation, "a", 1));
    }
    (void)stoa_session_take(s, "", piece, (uint32_t)size_bytes, now_ns);
    return size_bytes + 2;
}

static void consume(stoa_session *s)
{
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        stoa_session_consumed(s, (stoa_lane)i, held[i]);
        held[i] = 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    static const stoa_session_events events = {.message = on_message,
                                               .up = on_up,
                                               .down = on_down,
                                               .reset = on_reset,
                                               .refused = ignore_refused,
                                               .expired = on_expired,
                                               .room = ignore_room};
    static const stoa_transfer_events transfers = {.offered = on_offered, .came = on_came, .gone = on_gone};
    static const stoa_link_ops ops = {.scheme = "sink", .send = sink};
    stoa_link link = {.ops = &ops};
    stoa_session_options options = {.name = "a",
                                    .incarnation = 1,
                                    .batch_bytes = BATCH_BYTES,
                                    .consumes = size_bytes > 0 && bytes[0] & CONSUMES,
                                    .trusts_link = size_bytes > 0 && bytes[0] & TRUSTS,
                                    .transfers = &transfers,
                                    .events = &events,
                                    .window_bytes = {WINDOW_BYTES, WINDOW_BYTES, WINDOW_BYTES}};
    stoa_session *s;
    uint64_t now_ns = STOA_S(1), seq;
    memset(last, 0, sizeof last);
    memset(held, 0, sizeof held);
    consumes = options.consumes;
    STOA_ASSERT(stoa_session_new(&options, &s) == STOA_OK);
    stoa_session_up(s, &link, 1, now_ns);
    (void)stoa_session_step(s, now_ns);
    hello_from(s, 1, now_ns);
    STOA_ASSERT(view_of(s).state == STOA_SESSION_UP);
    uint64_t id;
    STOA_ASSERT(stoa_session_transfer(s, 1, "some bytes to be sent", 20, &id) == STOA_OK);
    for (size_t at = 1; at + 2 < size_bytes;) {
        (void)stoa_session_send(s, (stoa_lane)(bytes[at] % STOA_LANE_COUNT), 1, 1, 2,
                                bytes[at + 1] & 1 ? now_ns + 5 : 0, bytes + at, 2, now_ns, &seq);
        at += say(s, bytes + at, size_bytes - at, now_ns);
        if (bytes[at - 1] & 1) { consume(s); }
        now_ns += STOA_MS(3);
        STOA_ASSERT(stoa_session_step(s, now_ns) >= now_ns);
    }
    stoa_session_down(s, now_ns);
    stoa_session_up(s, &link, 2, now_ns);
    (void)stoa_session_step(s, now_ns);
    hello_from(s, UINT64_MAX, now_ns);
    stoa_session_view view = view_of(s);
    STOA_ASSERT(view.state == STOA_SESSION_UP || view.peer_incarnation == UINT64_MAX || strcmp(view.peer, "b") != 0);
    stoa_session_free(s);
    free(place);
    place = NULL;
    return 0;
}
