/* secure_test.c - goal: the key exchange is Noise_IK_25519_AESGCM_SHA256 to the byte, it refuses whoever has not the keys, and
 * no message that was changed, cut, or is of another stream opens. Method: the published vector of that name (the
 * cacophony vectors), then both sides here, with each byte changed in turn.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/keys.h"
#include "transport/secure.h"
#include "transport/z85.h"

enum { KEY = STOA_SECURE_KEY_BYTES, TAG = STOA_SECURE_TAG_BYTES, MESSAGE_MAX = 256 };

static size_t unhex(const char *text, uint8_t *out)
{
    size_t count = strlen(text) / 2;
    for (size_t i = 0; i < count; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return count;
}

static void assert_hex(const uint8_t *bytes, const char *expected)
{
    uint8_t wanted[MESSAGE_MAX];
    size_t count = unhex(expected, wanted);
    assert_memory_equal(bytes, wanted, count);
}

/* --- the published vector */

#define PROLOGUE    "4a6f686e2047616c74"
#define INIT_STATIC "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"
#define INIT_ONCE   "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"
#define RESP_PUBLIC "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62"
#define RESP_STATIC "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"
#define RESP_ONCE   "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"
#define HASH        "669c8640d9e42a3cda2f232f78597ceefb01daa6e3df81181ccce6fc6b5026bf"
#define PAYLOAD_1   "4c756477696720766f6e204d69736573"
#define PAYLOAD_2   "4d757272617920526f746862617264"
#define MESSAGE_1                                                                                                      \
    "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444e417bc55c7a8166c993356c1be41ef67818a292426f3015" \
    "56c7f26b21d25ddb097153891a9a956cff47b83e63ad8d701c1342c209cff1ca5ecd43402762ac249e3bd3a4c0a145fe07cb5dae28ea13a3"
#define MESSAGE_2                                                                                                      \
    "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843af2ccf9972e22afc67aeafcd25162f7f98c363b7762e3e4c" \
    "b7d272e39f27a5"

/* A side with the vector's key for this exchange; the public half is that of an exchange that has it as its own key. */
static void side_begin(stoa_secure *side, const char *own, const char *once, const char *server)
{
    uint8_t secret[KEY], server_key[KEY], once_secret[KEY], prologue[16];
    size_t prologue_bytes = unhex(PROLOGUE, prologue);
    stoa_secure other;
    unhex(own, secret);
    unhex(once, once_secret);
    if (server) { unhex(server, server_key); }
    assert_int_equal(stoa_secure_begin(&other, once_secret, NULL, NULL, 0), STOA_OK);
    assert_int_equal(stoa_secure_begin(side, secret, server ? server_key : NULL, prologue, prologue_bytes), STOA_OK);
    memcpy(side->once_secret, once_secret, KEY);
    memcpy(side->once_public, other.own_public, KEY);
}

static void the_exchange_is_the_published_one(void **state)
{
    uint8_t payload[MESSAGE_MAX], message[MESSAGE_MAX], got[MESSAGE_MAX];
    uint8_t init_out[KEY], init_in[KEY], resp_out[KEY], resp_in[KEY];
    stoa_secure init, resp;
    (void)state;
    side_begin(&init, INIT_STATIC, INIT_ONCE, RESP_PUBLIC);
    side_begin(&resp, RESP_STATIC, RESP_ONCE, NULL);

    size_t size_bytes = unhex(PAYLOAD_1, payload);
    assert_int_equal(stoa_secure_write(&init, payload, size_bytes, message), STOA_OK);
    assert_hex(message, MESSAGE_1);
    assert_int_equal(stoa_secure_read(&resp, message, STOA_SECURE_HELLO_BYTES + size_bytes, got), STOA_OK);
    assert_hex(got, PAYLOAD_1);
    assert_memory_equal(resp.other_public, init.own_public, KEY);

    size_bytes = unhex(PAYLOAD_2, payload);
    assert_int_equal(stoa_secure_write(&resp, payload, size_bytes, message), STOA_OK);
    assert_hex(message, MESSAGE_2);
    assert_int_equal(stoa_secure_read(&init, message, STOA_SECURE_ANSWER_BYTES + size_bytes, got), STOA_OK);
    assert_hex(got, PAYLOAD_2);
    assert_hex(init.hash, HASH);
    assert_hex(resp.hash, HASH);

    assert_true(stoa_secure_is_done(&init) && stoa_secure_is_done(&resp));
    stoa_secure_split(&init, init_out, init_in);
    stoa_secure_split(&resp, resp_out, resp_in);
    assert_memory_equal(init_out, resp_in, KEY);
    assert_memory_equal(init_in, resp_out, KEY);
    assert_memory_not_equal(init_in, init_out, KEY);
}

/* --- who has not the keys */

typedef struct pair {
    uint8_t secret[KEY], public_key[KEY];
} pair;

static pair pair_new(void)
{
    stoa_key_pair text;
    pair made;
    assert_int_equal(stoa_key_new(&text), STOA_OK);
    assert_true(stoa_z85_decode(text.secret_key, made.secret) && stoa_z85_decode(text.public_key, made.public_key));
    return made;
}

static void any_changed_byte_is_refused(void **state)
{
    pair server = pair_new(), client = pair_new();
    uint8_t hello[STOA_SECURE_HELLO_BYTES], answer[STOA_SECURE_ANSWER_BYTES];
    (void)state;
    for (unsigned i = 0; i < sizeof hello; i++) {
        stoa_secure dials, listens;
        assert_int_equal(stoa_secure_begin(&dials, client.secret, server.public_key, "p", 1), STOA_OK);
        assert_int_equal(stoa_secure_begin(&listens, server.secret, NULL, "p", 1), STOA_OK);
        assert_int_equal(stoa_secure_write(&dials, NULL, 0, hello), STOA_OK);
        hello[i] ^= 1;
        assert_int_equal(stoa_secure_read(&listens, hello, sizeof hello, NULL), STOA_E_DENIED);
    }
    for (unsigned i = 0; i < sizeof answer; i++) {
        stoa_secure dials, listens;
        assert_int_equal(stoa_secure_begin(&dials, client.secret, server.public_key, "p", 1), STOA_OK);
        assert_int_equal(stoa_secure_begin(&listens, server.secret, NULL, "p", 1), STOA_OK);
        assert_int_equal(stoa_secure_write(&dials, NULL, 0, hello), STOA_OK);
        assert_int_equal(stoa_secure_read(&listens, hello, sizeof hello, NULL), STOA_OK);
        assert_int_equal(stoa_secure_write(&listens, NULL, 0, answer), STOA_OK);
        answer[i] ^= 0x80;
        assert_int_equal(stoa_secure_read(&dials, answer, sizeof answer, NULL), STOA_E_DENIED);
    }
}

static void another_key_or_prologue_is_refused(void **state)
{
    pair server = pair_new(), client = pair_new(), other = pair_new();
    uint8_t hello[STOA_SECURE_HELLO_BYTES];
    stoa_secure dials, listens;
    (void)state;
    assert_int_equal(stoa_secure_begin(&dials, client.secret, other.public_key, "p", 1), STOA_OK);
    assert_int_equal(stoa_secure_begin(&listens, server.secret, NULL, "p", 1), STOA_OK);
    assert_int_equal(stoa_secure_write(&dials, NULL, 0, hello), STOA_OK);
    assert_int_equal(stoa_secure_read(&listens, hello, sizeof hello, NULL), STOA_E_DENIED);

    assert_int_equal(stoa_secure_begin(&dials, client.secret, server.public_key, "p", 1), STOA_OK);
    assert_int_equal(stoa_secure_begin(&listens, server.secret, NULL, "q", 1), STOA_OK);
    assert_int_equal(stoa_secure_write(&dials, NULL, 0, hello), STOA_OK);
    assert_int_equal(stoa_secure_read(&listens, hello, sizeof hello, NULL), STOA_E_DENIED);

    assert_int_equal(stoa_secure_begin(&listens, server.secret, NULL, "p", 1), STOA_OK);
    assert_int_equal(stoa_secure_read(&listens, hello, sizeof hello - 1, NULL), STOA_E_MALFORMED);

    uint8_t nothing[KEY] = {0}; /* a point of low order: no secret would be agreed on */
    assert_int_equal(stoa_secure_begin(&dials, client.secret, nothing, "p", 1), STOA_OK);
    assert_int_equal(stoa_secure_write(&dials, NULL, 0, hello), STOA_E_DENIED);
}

/* --- streams */

static void open_both(stoa_secure_stream *out, stoa_secure_stream *in, uint32_t number)
{
    static const uint8_t key[KEY] = {1, 2, 3};
    assert_int_equal(stoa_secure_stream_open(out, key, number, true), STOA_OK);
    assert_int_equal(stoa_secure_stream_open(in, key, number, false), STOA_OK);
}

static void what_was_sealed_opens_once_unchanged_under_its_number(void **state)
{
    stoa_secure_stream out, in, other_out, other_in;
    uint8_t head[8] = "head", text[40], sealed[40], tag[TAG];
    (void)state;
    open_both(&out, &in, 1);
    open_both(&other_out, &other_in, 2);
    memset(text, 'x', sizeof text);
    memcpy(sealed, text, sizeof text);
    stoa_secure_seal(&out, 7, head, sizeof head, sealed, sizeof sealed, tag);
    assert_memory_not_equal(sealed, text, sizeof text);

    uint8_t got[40];
#define TRY(stream_, number_)                                                                                          \
    (memcpy(got, sealed, sizeof got), stoa_secure_unseal(stream_, number_, head, sizeof head, got, sizeof got, tag))
    assert_int_equal(TRY(&in, 8), STOA_E_CORRUPT);
    assert_int_equal(TRY(&other_in, 7), STOA_E_CORRUPT);
    assert_int_equal(TRY(&in, 7 + STOA_SECURE_GENERATION), STOA_E_CORRUPT);
    assert_int_equal(TRY(&in, 7 + 2 * (uint64_t)STOA_SECURE_GENERATION), STOA_E_CORRUPT);
    sealed[11] ^= 4;
    assert_int_equal(TRY(&in, 7), STOA_E_CORRUPT);
    sealed[11] ^= 4;
    head[2] ^= 1;
    assert_int_equal(TRY(&in, 7), STOA_E_CORRUPT);
    head[2] ^= 1;
    tag[15] ^= 1;
    assert_int_equal(TRY(&in, 7), STOA_E_CORRUPT);
    tag[15] ^= 1;
    assert_int_equal(TRY(&in, 7), STOA_OK); /* none of these has changed anything */
#undef TRY
    assert_memory_equal(got, text, sizeof text);
    stoa_secure_stream_close(&out);
    stoa_secure_stream_close(&in);
    stoa_secure_stream_close(&other_out);
    stoa_secure_stream_close(&other_in);
}

/* Through three generations of keys, with messages that come behind the first of the next. */
static void keys_are_renewed_under_way(void **state)
{
    enum { LAST = 2 * STOA_SECURE_GENERATION + 10, LATE = 3 };
    stoa_secure_stream out, in;
    uint64_t late[LATE];
    uint8_t late_text[LATE][8], late_tags[LATE][TAG], first_key[KEY];
    unsigned kept = 0;
    (void)state;
    open_both(&out, &in, 1);
    memcpy(first_key, out.key, KEY);
    for (uint64_t number = 0; number < LAST; number++) {
        uint8_t text[8], tag[TAG];
        memcpy(text, &number, sizeof text);
        stoa_secure_seal(&out, number, NULL, 0, text, sizeof text, tag);
        if (number >= STOA_SECURE_GENERATION - LATE && number < STOA_SECURE_GENERATION) {
            late[kept] = number;
            memcpy(late_text[kept], text, sizeof text);
            memcpy(late_tags[kept++], tag, TAG);
            continue;
        }
        assert_int_equal(stoa_secure_unseal(&in, number, NULL, 0, text, sizeof text, tag), STOA_OK);
        assert_memory_equal(text, &number, sizeof text);
        if (number != STOA_SECURE_GENERATION + 1) { continue; }
        for (unsigned i = 0; i < LATE; i++) {
            assert_int_equal(stoa_secure_unseal(&in, late[i], NULL, 0, late_text[i], 8, late_tags[i]), STOA_OK);
            assert_memory_equal(late_text[i], &late[i], 8);
        }
    }
    assert_int_equal(out.generation, 2);
    assert_memory_not_equal(out.key, first_key, KEY);
    stoa_secure_stream_close(&out);
    stoa_secure_stream_close(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exchange_is_the_published_one),
        cmocka_unit_test(any_changed_byte_is_refused),
        cmocka_unit_test(another_key_or_prologue_is_refused),
        cmocka_unit_test(what_was_sealed_opens_once_unchanged_under_its_number),
        cmocka_unit_test(keys_are_renewed_under_way),
    };
    return cmocka_run_group_tests_name("transport/secure.h", tests, NULL, NULL);
}
