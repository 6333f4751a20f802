/* once_kinds.h - who the tests of exactly-once ask: tellers (event-sourced), and a relay outside their shard.
 *
 * A teller counts how often each request had its effect, so that a second time shows. Include it in one file of a program.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_ONCE_KINDS_H
#define STOA_TESTS_ONCE_KINDS_H

#include "runtime/stoa.h"

enum { TAGS_MAX = 1 << 14 };

/* What a teller does with a request. */
enum {
    HOW_PLAIN,     /* takes note and answers */
    HOW_PEER,      /* takes note, and a peer of the shard takes note and answers */
    HOW_READ,      /* answers only */
    HOW_REFUSE,    /* refuses, without any effect */
    HOW_PEER_NO,   /* takes note, and the peer refuses */
    HOW_RELAY,     /* takes note, and the relay outside answers */
    HOW_RELAY_BACK, /* the relay outside sends it back to the peer, which takes note and answers */
    HOW_RELAY_LOSES, /* takes note, and the relay outside forgets it */
    HOW_BEHIND,    /* answers, and the peer takes note behind that */
    HOW_LONG,      /* takes note; the answer is too long to be kept */
    HOW_COUNT
};

STOA_BYTES(teller_bulk, 8192)
STOA_BYTES_DEFINE(teller_bulk, 8192)
#define teller_note_FIELDS(F, S)  F(S, uint64_t, tag) F(S, uint64_t, how)
#define teller_pass_FIELDS(F, S)  F(S, uint64_t, tag) F(S, uint64_t, how)
#define teller_noted_FIELDS(F, S) F(S, uint64_t, tag) F(S, uint64_t, nonce) F(S, teller_bulk, bulk)
#define teller_taken_FIELDS(F, S) F(S, uint64_t, tag)
#define teller_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, note, noted, "Take note of something.")                                                            \
    ROW(K, CAST, pass, _, "From a teller of the same shard, or from the relay.")                                       \
    ROW(K, REPLY, noted, _, "The tag, and a number that no other answer has.")                                         \
    ROW(K, EVENT, taken, _, "Note was taken.")
STOA_TABLE_HERE(teller)

#define relay_pass_FIELDS(F, S) F(S, uint64_t, tag) F(S, uint64_t, how) F(S, uint64_t, back)
#define relay_ROWS(ROW, K)      ROW(K, CAST, pass, _, "Answer, send back, or forget.")
STOA_TABLE_HERE(relay)

typedef struct teller {
    uint64_t taken;
    uint8_t counts[TAGS_MAX];
} teller;
static stoa_ref relay_at; /* set by the test */

#define teller_HEARS STOA_HEARS_NOTHING
STOA_KIND(teller, .mailbox_limit = 4096)
#define relay_HEARS STOA_HEARS_NOTHING

/* The other teller of the shard: they are streams 1 and 2. */
static stoa_ref peer(stoa_turn *turn)
{
    return stoa_turn_peer(turn, 3 - stoa_turn_stream(turn));
}

static stoa_err teller_on_note(stoa_turn *turn, const teller *self, const teller_note *in, teller_noted *out)
{
    bool takes = in->how != HOW_READ && in->how != HOW_REFUSE && in->how != HOW_RELAY_BACK && in->how != HOW_BEHIND;
    out->tag = in->tag;
    out->nonce = (uint64_t)stoa_turn_stream(turn) << 32 | (self->taken + 1);
    if (in->how == HOW_REFUSE) { return STOA_E_DENIED; }
    if (in->how == HOW_LONG) { out->bulk.count = sizeof out->bulk.at; }
    stoa_err err = takes ? teller_emit_taken(turn, (teller_taken){in->tag}) : STOA_OK;
    if (!err && (in->how == HOW_PEER || in->how == HOW_PEER_NO)) {
        err = teller_forward_pass(turn, peer(turn), (teller_pass){in->tag, in->how});
    }
    if (!err && in->how >= HOW_RELAY && in->how <= HOW_RELAY_LOSES) {
        err = stoa_turn_forward(turn, relay_at, &relay_rows[relay_ROW_pass], &(relay_pass){in->tag, in->how, peer(turn).at});
    }
    if (!err && in->how == HOW_BEHIND) { err = teller_send_pass(turn, peer(turn), (teller_pass){in->tag, in->how}); }
    return err;
}

static stoa_err teller_on_pass(stoa_turn *turn, const teller *self, const teller_pass *in)
{
    stoa_err err = STOA_OK;
    if (in->how == HOW_PEER_NO) { return stoa_turn_refuse(turn, STOA_E_RANGE); }
    if (in->how != HOW_PEER) { err = teller_emit_taken(turn, (teller_taken){in->tag}); }
    uint64_t nonce = (uint64_t)1 << 40 | (uint64_t)stoa_turn_stream(turn) << 32 | (self->taken + in->tag);
    if (!err && in->how != HOW_BEHIND) { err = teller_answer_noted(turn, (teller_noted){.tag = in->tag, .nonce = nonce}); }
    return err;
}

static void teller_apply_taken(teller *self, const teller_taken *event)
{
    self->taken++;
    self->counts[event->tag]++;
}

typedef struct relay {
    uint64_t passed;
} relay;
STOA_PLAIN_KIND(relay, .mailbox_limit = 4096)

static stoa_err relay_on_pass(stoa_turn *turn, relay *self, const relay_pass *in)
{
    self->passed++;
    if (in->how == HOW_RELAY_LOSES) { return STOA_OK; }
    if (in->how == HOW_RELAY_BACK) {
        return teller_forward_pass(turn, (stoa_ref){in->back}, (teller_pass){in->tag, in->how});
    }
    return teller_answer_noted(turn, (teller_noted){.tag = in->tag, .nonce = (uint64_t)2 << 40 | self->passed});
}

#endif
