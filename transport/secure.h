/* secure.h - who the other end is, and batches that only it can read: for links whose library has no encryption.
 *
 * The key exchange is Noise_IK_25519_AESGCM_SHA256 (Noise Protocol Framework, revision 34): who dials knows the
 * listener's public key, sends its own under it, and each side proves its secret. The keys are the same Curve25519 pairs
 * that zmq's CURVE uses (transport/keys.h). Two messages:
 *
 *     dials -> listens     e, es, s, ss     96 bytes + payload
 *     listens -> dials     e, ee, se        48 bytes + payload
 *
 * The first message can be replayed by anyone who saw it; who sent it is proven to the listener only by the first thing
 * that comes under the keys agreed. Nothing is to happen before that.
 *
 * Afterwards each direction has a key, from which streams of messages are keyed by number: AES-256-GCM, the message's
 * number in its stream as nonce, and a new key (the old one is lost) every STOA_SECURE_GENERATION messages. Who gets
 * messages keeps the keys of the present and the previous generation, so they may come a little out of order; who
 * refuses numbers that came before is the caller.
 *
 * No I/O, no allocation after a stream is open; one thread at a time. Bad bytes are DENIED or CORRUPT, never an assert.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SECURE_H
#define STOA_TRANSPORT_SECURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    STOA_SECURE_KEY_BYTES = 32,
    STOA_SECURE_TAG_BYTES = 16,
    STOA_SECURE_HELLO_BYTES = 96,  /* of the first message, without its payload */
    STOA_SECURE_ANSWER_BYTES = 48, /* of the second */
    STOA_SECURE_GENERATION = 65536,
};

/* A key exchange in progress. Plain memory; wipe it with stoa_secure_forget. */
typedef struct stoa_secure {
    bool dials, keyed;
    uint8_t messages; /* written or read so far */
    uint64_t nonce;
    uint8_t chain[STOA_SECURE_KEY_BYTES], hash[STOA_SECURE_KEY_BYTES], key[STOA_SECURE_KEY_BYTES];
    uint8_t own_secret[STOA_SECURE_KEY_BYTES], own_public[STOA_SECURE_KEY_BYTES];
    uint8_t once_secret[STOA_SECURE_KEY_BYTES], once_public[STOA_SECURE_KEY_BYTES]; /* for this exchange only */
    uint8_t other_public[STOA_SECURE_KEY_BYTES], other_once[STOA_SECURE_KEY_BYTES];
} stoa_secure;

/* Begin: server_key is the listener's public key where this side dials, NULL where it listens. Both sides must give the
 * same prologue: what was said before, so that nobody changed it. Errors: DENIED (not a key). */
stoa_err stoa_secure_begin(stoa_secure *secure, const uint8_t secret_key[STOA_SECURE_KEY_BYTES],
                           const uint8_t *server_key, const void *prologue, size_t prologue_bytes);

/* The next message of this side, which is size_bytes of payload longer than its enum says. out has room for it.
 * Errors: DENIED (the other's key is none). Not this side's turn is a broken invariant. */
stoa_err stoa_secure_write(stoa_secure *secure, const void *payload, size_t size_bytes, uint8_t *out);

/* The other side's message; the payload is written to payload_out, which has room for size_bytes.
 * Errors: MALFORMED (too short), DENIED (it is not meant for our key, or not from the key we want). */
stoa_err stoa_secure_read(stoa_secure *secure, const uint8_t *message, size_t size_bytes, uint8_t *payload_out);

/* Both messages have passed. */
bool stoa_secure_is_done(const stoa_secure *secure);

/* The keys of both directions, of an exchange that is done. */
void stoa_secure_split(const stoa_secure *secure, uint8_t sending_out[STOA_SECURE_KEY_BYTES],
                       uint8_t receiving_out[STOA_SECURE_KEY_BYTES]);

void stoa_secure_forget(stoa_secure *secure);

/* One stream of numbered messages in one direction. */
typedef struct stoa_secure_stream {
    bool seals;
    uint64_t generation;
    uint8_t key[STOA_SECURE_KEY_BYTES]; /* of the generation, from which the next one's is derived */
    void *ciphers[2];                   /* of this generation and the one before (NULL: none), at generation % 2 */
} stoa_secure_stream;

/* Key stream number of a direction: to seal what is sent, or to unseal. Errors: NOMEM. */
stoa_err stoa_secure_stream_open(stoa_secure_stream *stream, const uint8_t key[STOA_SECURE_KEY_BYTES], uint32_t number,
                                 bool seals);
/* A stream that was zeroed and never opened is allowed. */
void stoa_secure_stream_close(stoa_secure_stream *stream);

/* Encrypt in place; head is authenticated too, not encrypted. Numbers must grow. */
void stoa_secure_seal(stoa_secure_stream *stream, uint64_t number, const void *head, size_t head_bytes, void *bytes,
                      size_t size_bytes, uint8_t tag_out[STOA_SECURE_TAG_BYTES]);

/* Decrypt in place; on an error bytes are of no use. A number of a later generation than the next, or of one that is
 * lost, is CORRUPT like any forged message, and changes nothing. Errors: CORRUPT. */
stoa_err stoa_secure_unseal(stoa_secure_stream *stream, uint64_t number, const void *head, size_t head_bytes,
                            void *bytes, size_t size_bytes, const uint8_t tag[STOA_SECURE_TAG_BYTES]);

#endif
