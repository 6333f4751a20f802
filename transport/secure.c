/* secure.c - the key exchange and the streams of transport/secure.h. X25519, HMAC and SHA-256 are libsodium's, AES-256-GCM
 * is OpenSSL's. Names of steps are those of the Noise specification: mix_hash, mix_key, encrypt_and_hash.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/secure.h"

#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "base/random.h"

enum { KEY = STOA_SECURE_KEY_BYTES, TAG = STOA_SECURE_TAG_BYTES, NONCE_BYTES = 12 };

static const char protocol_name[] = "Noise_IK_25519_AESGCM_SHA256"; /* shorter than a hash: it is its own */

/* --- AES-256-GCM */

static EVP_CIPHER_CTX *cipher_new(const uint8_t key[KEY], bool seals)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (cipher && EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, NULL, seals) == 1) { return cipher; }
    EVP_CIPHER_CTX_free(cipher);
    return NULL;
}

/* Four zero bytes and the number, big-endian, as in Noise. */
static void nonce_of(uint64_t number, uint8_t out[NONCE_BYTES])
{
    memset(out, 0, NONCE_BYTES);
    for (unsigned i = NONCE_BYTES; i-- > NONCE_BYTES - sizeof number; number >>= 8) {
        out[i] = (uint8_t)(number & 0xff);
    }
}

/* Run the cipher over bytes in place: seal and give the tag, or check it. */
static bool run(EVP_CIPHER_CTX *cipher, bool seals, uint64_t number, const void *head, size_t head_bytes, void *bytes,
                size_t size_bytes, uint8_t tag[TAG])
{
    uint8_t nonce[NONCE_BYTES], none[TAG];
    int done = 0;
    nonce_of(number, nonce);
    bool good = EVP_CipherInit_ex(cipher, NULL, NULL, NULL, nonce, seals) == 1;
    if (head_bytes > 0) { good = good && EVP_CipherUpdate(cipher, NULL, &done, head, (int)head_bytes) == 1; }
    if (size_bytes > 0) { good = good && EVP_CipherUpdate(cipher, bytes, &done, bytes, (int)size_bytes) == 1; }
    if (!seals) { good = good && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1; }
    good = good && EVP_CipherFinal_ex(cipher, none, &done) == 1;
    if (seals) { good = good && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1; }
    return good;
}

/* --- what the exchange has agreed on so far */

static void hash_of(const void *a, size_t a_bytes, const void *b, size_t b_bytes, uint8_t out[KEY])
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, a, a_bytes);
    crypto_hash_sha256_update(&state, b, b_bytes);
    crypto_hash_sha256_final(&state, out);
}

static void mac_of(const uint8_t key[KEY], const void *a, size_t a_bytes, const void *b, size_t b_bytes,
                   uint8_t out[KEY])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, KEY);
    crypto_auth_hmacsha256_update(&state, a, a_bytes);
    crypto_auth_hmacsha256_update(&state, b, b_bytes);
    crypto_auth_hmacsha256_final(&state, out);
    explicit_bzero(&state, sizeof state);
}

/* Two keys from a chaining key and what is mixed in; HKDF of the specification. */
static void derive(const uint8_t chain[KEY], const void *with, size_t with_bytes, uint8_t first_out[KEY],
                   uint8_t second_out[KEY])
{
    static const uint8_t one = 1, two = 2;
    uint8_t extract[KEY], first[KEY];
    mac_of(chain, with, with_bytes, NULL, 0, extract);
    mac_of(extract, &one, 1, NULL, 0, first);
    mac_of(extract, first, KEY, &two, 1, second_out);
    memcpy(first_out, first, KEY);
    explicit_bzero(extract, sizeof extract);
    explicit_bzero(first, sizeof first);
}

static void mix_hash(stoa_secure *secure, const void *bytes, size_t size_bytes)
{
    hash_of(secure->hash, KEY, bytes, size_bytes, secure->hash);
}

/* Agree on a secret with the other side's key and mix it in. */
static stoa_err mix_key(stoa_secure *secure, const uint8_t secret[KEY], const uint8_t public_key[KEY])
{
    uint8_t shared[KEY];
    if (crypto_scalarmult(shared, secret, public_key) != 0) { return STOA_E_DENIED; } /* a point of low order */
    derive(secure->chain, shared, KEY, secure->chain, secure->key);
    explicit_bzero(shared, sizeof shared);
    secure->keyed = true;
    secure->nonce = 0;
    return STOA_OK;
}

/* Seal size_bytes to out, TAG longer. */
static stoa_err encrypt_and_hash(stoa_secure *secure, const void *bytes, size_t size_bytes, uint8_t *out)
{
    STOA_ASSERT(secure->keyed);
    EVP_CIPHER_CTX *cipher = cipher_new(secure->key, true);
    if (size_bytes > 0) { memmove(out, bytes, size_bytes); }
    bool good = cipher && run(cipher, true, secure->nonce++, secure->hash, KEY, out, size_bytes, out + size_bytes);
    EVP_CIPHER_CTX_free(cipher);
    if (!good) { return STOA_E_NOMEM; }
    mix_hash(secure, out, size_bytes + TAG);
    return STOA_OK;
}

/* Open size_bytes, of which the last TAG are the tag, to out. */
static stoa_err decrypt_and_hash(stoa_secure *secure, const uint8_t *bytes, size_t size_bytes, uint8_t *out)
{
    STOA_ASSERT(secure->keyed && size_bytes >= TAG);
    uint8_t tag[TAG], hash[KEY];
    EVP_CIPHER_CTX *cipher = cipher_new(secure->key, false);
    if (!cipher) { return STOA_E_NOMEM; }
    memcpy(tag, bytes + size_bytes - TAG, TAG);
    memcpy(hash, secure->hash, KEY);
    mix_hash(secure, bytes, size_bytes);
    if (size_bytes > TAG) { memmove(out, bytes, size_bytes - TAG); }
    bool good = run(cipher, false, secure->nonce++, hash, KEY, out, size_bytes - TAG, tag);
    EVP_CIPHER_CTX_free(cipher);
    return good ? STOA_OK : STOA_E_DENIED;
}

/* --- the exchange */

stoa_err stoa_secure_begin(stoa_secure *secure, const uint8_t secret_key[STOA_SECURE_KEY_BYTES],
                           const uint8_t *server_key, const void *prologue, size_t prologue_bytes)
{
    memset(secure, 0, sizeof *secure);
    secure->dials = server_key != NULL;
    memcpy(secure->own_secret, secret_key, KEY);
    if (crypto_scalarmult_base(secure->own_public, secret_key) != 0) { return STOA_FAIL(STOA_E_DENIED, "not a key"); }
    stoa_random_system(secure->once_secret, KEY);
    (void)crypto_scalarmult_base(secure->once_public, secure->once_secret);
    memcpy(secure->hash, protocol_name, sizeof protocol_name - 1);
    memcpy(secure->chain, secure->hash, KEY);
    mix_hash(secure, prologue, prologue_bytes);
    if (server_key) { memcpy(secure->other_public, server_key, KEY); }
    mix_hash(secure, server_key ? server_key : secure->own_public, KEY);
    return STOA_OK;
}

static stoa_err write_hello(stoa_secure *secure, const void *payload, size_t size_bytes, uint8_t *out)
{
    memcpy(out, secure->once_public, KEY);
    mix_hash(secure, out, KEY);
    stoa_err err = mix_key(secure, secure->once_secret, secure->other_public);
    if (!err) { err = encrypt_and_hash(secure, secure->own_public, KEY, out + KEY); }
    if (!err) { err = mix_key(secure, secure->own_secret, secure->other_public); }
    return err ? err : encrypt_and_hash(secure, payload, size_bytes, out + KEY + KEY + TAG);
}

static stoa_err write_answer(stoa_secure *secure, const void *payload, size_t size_bytes, uint8_t *out)
{
    memcpy(out, secure->once_public, KEY);
    mix_hash(secure, out, KEY);
    stoa_err err = mix_key(secure, secure->once_secret, secure->other_once);
    if (!err) { err = mix_key(secure, secure->once_secret, secure->other_public); }
    return err ? err : encrypt_and_hash(secure, payload, size_bytes, out + KEY);
}

stoa_err stoa_secure_write(stoa_secure *secure, const void *payload, size_t size_bytes, uint8_t *out)
{
    STOA_ASSERT(secure->messages == (secure->dials ? 0 : 1));
    secure->messages++;
    return secure->dials ? write_hello(secure, payload, size_bytes, out)
                         : write_answer(secure, payload, size_bytes, out);
}

static stoa_err read_hello(stoa_secure *secure, const uint8_t *message, size_t size_bytes, uint8_t *payload_out)
{
    const uint8_t *behind = message + KEY + KEY + TAG;
    memcpy(secure->other_once, message, KEY);
    mix_hash(secure, message, KEY);
    stoa_err err = mix_key(secure, secure->own_secret, secure->other_once);
    if (!err) { err = decrypt_and_hash(secure, message + KEY, KEY + TAG, secure->other_public); }
    if (!err) { err = mix_key(secure, secure->own_secret, secure->other_public); }
    return err ? err : decrypt_and_hash(secure, behind, size_bytes - (size_t)(behind - message), payload_out);
}

static stoa_err read_answer(stoa_secure *secure, const uint8_t *message, size_t size_bytes, uint8_t *payload_out)
{
    memcpy(secure->other_once, message, KEY);
    mix_hash(secure, message, KEY);
    stoa_err err = mix_key(secure, secure->once_secret, secure->other_once);
    if (!err) { err = mix_key(secure, secure->own_secret, secure->other_once); }
    return err ? err : decrypt_and_hash(secure, message + KEY, size_bytes - KEY, payload_out);
}

stoa_err stoa_secure_read(stoa_secure *secure, const uint8_t *message, size_t size_bytes, uint8_t *payload_out)
{
    STOA_ASSERT(secure->messages == (secure->dials ? 1 : 0));
    if (size_bytes < (secure->dials ? STOA_SECURE_ANSWER_BYTES : STOA_SECURE_HELLO_BYTES)) { return STOA_E_MALFORMED; }
    secure->messages++;
    return secure->dials ? read_answer(secure, message, size_bytes, payload_out)
                         : read_hello(secure, message, size_bytes, payload_out);
}

bool stoa_secure_is_done(const stoa_secure *secure)
{
    return secure->messages == 2;
}

void stoa_secure_split(const stoa_secure *secure, uint8_t sending_out[STOA_SECURE_KEY_BYTES],
                       uint8_t receiving_out[STOA_SECURE_KEY_BYTES])
{
    STOA_ASSERT(stoa_secure_is_done(secure));
    derive(secure->chain, NULL, 0, secure->dials ? sending_out : receiving_out,
           secure->dials ? receiving_out : sending_out);
}

void stoa_secure_forget(stoa_secure *secure)
{
    explicit_bzero(secure, sizeof *secure);
}

/* --- streams */

stoa_err stoa_secure_stream_open(stoa_secure_stream *stream, const uint8_t key[STOA_SECURE_KEY_BYTES], uint32_t number,
                                 bool seals)
{
    uint8_t label[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16), (uint8_t)(number >> 24)};
    static const char what[] = "stoa stream";
    *stream = (stoa_secure_stream){.seals = seals};
    mac_of(key, what, sizeof what, label, sizeof label, stream->key);
    stream->ciphers[0] = cipher_new(stream->key, seals);
    return stream->ciphers[0] ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "no memory for a cipher");
}

void stoa_secure_stream_close(stoa_secure_stream *stream)
{
    EVP_CIPHER_CTX_free(stream->ciphers[0]);
    EVP_CIPHER_CTX_free(stream->ciphers[1]);
    explicit_bzero(stream, sizeof *stream);
}

static void next_key(const uint8_t key[KEY], uint8_t out[KEY])
{
    static const char what[] = "stoa next key";
    uint8_t next[KEY];
    mac_of(key, what, sizeof what, NULL, 0, next);
    memcpy(out, next, KEY);
    explicit_bzero(next, sizeof next);
}

/* Go on to the next generation with its cipher; the one before the present is lost. */
static void advance(stoa_secure_stream *stream, EVP_CIPHER_CTX *cipher)
{
    next_key(stream->key, stream->key);
    stream->generation++;
    EVP_CIPHER_CTX_free(stream->ciphers[stream->generation % 2]);
    stream->ciphers[stream->generation % 2] = cipher;
}

void stoa_secure_seal(stoa_secure_stream *stream, uint64_t number, const void *head, size_t head_bytes, void *bytes,
                      size_t size_bytes, uint8_t tag_out[STOA_SECURE_TAG_BYTES])
{
    uint64_t generation = number / STOA_SECURE_GENERATION;
    STOA_ASSERT(stream->seals && generation - stream->generation <= 1);
    if (generation > stream->generation) {
        uint8_t key[KEY];
        next_key(stream->key, key);
        advance(stream, cipher_new(key, true));
        explicit_bzero(key, sizeof key);
    }
    EVP_CIPHER_CTX *cipher = stream->ciphers[generation % 2];
    STOA_ASSERT(cipher && run(cipher, true, number, head, head_bytes, bytes, size_bytes, tag_out));
}

/* A message of the next generation: its key is kept only when the message is genuine. */
static stoa_err unseal_next(stoa_secure_stream *stream, uint64_t number, const void *head, size_t head_bytes,
                            void *bytes, size_t size_bytes, uint8_t tag[TAG])
{
    uint8_t key[KEY];
    next_key(stream->key, key);
    EVP_CIPHER_CTX *cipher = cipher_new(key, false);
    explicit_bzero(key, sizeof key);
    if (!cipher || !run(cipher, false, number, head, head_bytes, bytes, size_bytes, tag)) {
        EVP_CIPHER_CTX_free(cipher);
        return STOA_E_CORRUPT;
    }
    advance(stream, cipher);
    return STOA_OK;
}

stoa_err stoa_secure_unseal(stoa_secure_stream *stream, uint64_t number, const void *head, size_t head_bytes,
                            void *bytes, size_t size_bytes, const uint8_t tag[STOA_SECURE_TAG_BYTES])
{
    uint64_t generation = number / STOA_SECURE_GENERATION;
    uint8_t expected[TAG]; /* OpenSSL wants it writable */
    memcpy(expected, tag, TAG);
    STOA_ASSERT(!stream->seals);
    if (generation == stream->generation + 1) {
        return unseal_next(stream, number, head, head_bytes, bytes, size_bytes, expected);
    }
    bool known = generation == stream->generation || generation + 1 == stream->generation;
    EVP_CIPHER_CTX *cipher = known ? stream->ciphers[generation % 2] : NULL;
    return cipher && run(cipher, false, number, head, head_bytes, bytes, size_bytes, expected) ? STOA_OK
                                                                                               : STOA_E_CORRUPT;
}
