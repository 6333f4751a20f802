/* seal.c - storage/seal.h: sealing and opening with OpenSSL's AES-256-GCM, which is there with and without the processor's
 * help. Key files: key_file.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/mman.h>

#include "storage/keyring.h"

enum { AT_NONCE = 4, AT_TEXT = AT_NONCE + STOA_NONCE_BYTES, TAG_BYTES = 16 };
_Static_assert(AT_TEXT + TAG_BYTES == STOA_SEAL_BYTES, "seal.h describes these bytes");

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

stoa_err stoa_keyring_open(const char *path, stoa_keyring **out)
{
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof((stoa_keyring *)NULL)->path) {
        return STOA_FAIL(STOA_E_INVALID, "key file: a path of %zu bytes", length);
    }
    stoa_keyring *ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "keyring"); }
    (void)madvise(ring, sizeof *ring, MADV_DONTDUMP);
    memcpy(ring->path, path, length + 1);
    STOA_ASSERT(pthread_mutex_init(&ring->lock, NULL) == 0);
    ring->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    stoa_err err = ring->cipher ? stoa_keyring_reload(ring) : STOA_FAIL(STOA_E_UNSUPPORTED, "OpenSSL has no AES-256-GCM");
    if (err) {
        stoa_keyring_close(ring);
        return err;
    }
    *out = ring;
    return STOA_OK;
}

void stoa_keyring_close(stoa_keyring *ring)
{
    if (!ring) { return; }
    EVP_CIPHER_free(ring->cipher);
    (void)pthread_mutex_destroy(&ring->lock);
    OPENSSL_cleanse(ring, sizeof *ring);
    (void)munmap(ring, sizeof *ring);
}

/* Ids rise, so that the newest is the last. */
static uint32_t count_of(const stoa_keyring *ring)
{
    return atomic_load_explicit(&ring->count, memory_order_acquire); /* acquire: keys below it are written */
}

uint32_t stoa_keyring_count(const stoa_keyring *ring)
{
    return count_of(ring);
}

uint32_t stoa_keyring_id(const stoa_keyring *ring, uint32_t i)
{
    STOA_ASSERT(i < count_of(ring));
    return ring->keys[i].id;
}

uint32_t stoa_keyring_newest(const stoa_keyring *ring)
{
    return ring->keys[count_of(ring) - 1].id;
}

static const stoa_key *key_of(const stoa_keyring *ring, uint32_t id)
{
    for (uint32_t i = ring ? count_of(ring) : 0; i > 0; i--) {
        if (ring->keys[i - 1].id == id) { return &ring->keys[i - 1]; }
    }
    return NULL;
}

/* One run of the cipher; each step must succeed for the next to be made. */
static bool run(EVP_CIPHER_CTX *context, const void *bound, size_t bound_bytes, const void *in, size_t size_bytes,
                uint8_t *out)
{
    int used = 0;
    return EVP_CipherUpdate(context, NULL, &used, bound, (int)bound_bytes) == 1 &&
           (size_bytes == 0 || EVP_CipherUpdate(context, out, &used, in, (int)size_bytes) == 1);
}

stoa_err stoa_seal(const stoa_keyring *ring, const uint8_t *nonce, const void *bound, size_t bound_bytes, const void *plain,
                   size_t size_bytes, void *out)
{
    STOA_ASSERT(size_bytes <= INT32_MAX && bound_bytes <= INT32_MAX);
    const stoa_key *key = &ring->keys[count_of(ring) - 1];
    uint8_t *sealed = out, *text = sealed + AT_TEXT;
    put32(sealed, key->id);
    memcpy(sealed + AT_NONCE, nonce, STOA_NONCE_BYTES);

    int used = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = context && EVP_EncryptInit_ex2(context, ring->cipher, key->secret, nonce, NULL) == 1 &&
                run(context, bound, bound_bytes, plain, size_bytes, text) &&
                EVP_EncryptFinal_ex(context, text + size_bytes, &used) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, text + size_bytes) == 1;
    EVP_CIPHER_CTX_free(context);
    return good ? STOA_OK : STOA_FAIL(STOA_E_IO, "OpenSSL refused to seal with key %" PRIu32, key->id);
}

stoa_err stoa_unseal(const stoa_keyring *ring, const void *bound, size_t bound_bytes, const void *sealed, size_t size_bytes,
                     void *out)
{
    if (size_bytes < STOA_SEAL_BYTES || size_bytes > INT32_MAX) {
        return STOA_FAIL(STOA_E_CORRUPT, "a sealed text of %zu bytes", size_bytes);
    }
    const uint8_t *bytes = sealed;
    uint32_t id = get32(bytes);
    const stoa_key *key = key_of(ring, id);
    if (!key) {
        return STOA_FAIL(STOA_E_SEALED, "sealed with key %" PRIu32 ", which %s", id,
                         ring ? "the key file does not have" : "is not at hand: there is no key file");
    }
    size_t plain_bytes = size_bytes - STOA_SEAL_BYTES;
    uint8_t tag[TAG_BYTES], rest[16];
    memcpy(tag, bytes + AT_TEXT + plain_bytes, sizeof tag);

    int used = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = context && EVP_DecryptInit_ex2(context, ring->cipher, key->secret, bytes + AT_NONCE, NULL) == 1 &&
                run(context, bound, bound_bytes, bytes + AT_TEXT, plain_bytes, out) &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1 &&
                EVP_DecryptFinal_ex(context, rest, &used) == 1;
    EVP_CIPHER_CTX_free(context);
    if (good) { return STOA_OK; }
    return STOA_FAIL(STOA_E_SEALED, "key %" PRIu32 " of the key file does not open it: it was sealed with another key %" PRIu32
                     ", or for another place", id, id);
}

uint32_t stoa_sealed_with(const void *sealed)
{
    return get32(sealed);
}
