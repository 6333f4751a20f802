/* hash_test.c - hashes against known answers (they are kept in files and compared between machines), and
 * against themselves in pieces.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"

static uint32_t crc_of_both(uint32_t crc, const void *bytes, size_t size_bytes)
{
    uint32_t portable = stoa_crc32c_portable(crc, bytes, size_bytes);
    assert_int_equal(stoa_crc32c(crc, bytes, size_bytes), portable);
    return portable;
}

/* The vectors of RFC 3720, appendix B.4, and the catalogue's check value. */
static void crc32c_gives_the_published_answers(void **state)
{
    (void)state;
    uint8_t bytes[32];
    assert_int_equal(crc_of_both(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc_of_both(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc_of_both(0, bytes, sizeof bytes), 0x62a8ab43);
    for (uint8_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = i;
    }
    assert_int_equal(crc_of_both(0, bytes, sizeof bytes), 0x46dd794e);
    assert_int_equal(crc_of_both(0, "", 0), 0);
}

static void crc32c_continues_where_it_stopped(void **state)
{
    (void)state;
    uint8_t bytes[97];
    stoa_random random;
    stoa_random_seed(&random, 5);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)stoa_random_next(&random);
    }
    uint32_t whole = crc_of_both(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) { /* also every alignment */
        uint32_t crc = crc_of_both(0, bytes, cut);
        assert_int_equal(crc_of_both(crc, bytes + cut, sizeof bytes - cut), whole);
    }
}

/* Computed by an independent program from the definition in hash.c: a change here breaks stored state hashes.
 */
static void hash64_never_changes(void **state)
{
    (void)state;
    uint8_t bytes[64];
    for (uint8_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = i;
    }
    assert_int_equal(stoa_hash64(0, NULL, 0), UINT64_C(0xb55a8fa067537a73));
    assert_int_equal(stoa_hash64(1, NULL, 0), UINT64_C(0xea2f888548029643));
    assert_int_equal(stoa_hash64(0, "a", 1), UINT64_C(0x577ffe8b709e2299));
    assert_int_equal(stoa_hash64(0, "stoa", 4), UINT64_C(0xcd99c51ff4dcd68a));
    assert_int_equal(stoa_hash64(7, "12345678", 8), UINT64_C(0xf6a3f678a245427f));
    assert_int_equal(stoa_hash64(7, "123456789", 9), UINT64_C(0x4cb1d24ca60efafd));
    assert_int_equal(stoa_hash64(0, bytes, sizeof bytes), UINT64_C(0x3ff747f7ef590bdf));
}

/* Each flipped input bit flips about half of the 64 output bits; zero bytes at the end count. */
static void hash64_sees_every_bit(void **state)
{
    (void)state;
    uint8_t bytes[37] = {0};
    uint64_t plain = stoa_hash64(0, bytes, sizeof bytes), flipped_bits = 0;
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        uint64_t difference = stoa_hash64(0, bytes, sizeof bytes) ^ plain;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_in_range(__builtin_popcountll(difference), 8, 56);
        flipped_bits += (uint64_t)__builtin_popcountll(difference);
    }
    assert_in_range(flipped_bits / (sizeof bytes * 8), 30, 34);
    for (size_t size = 0; size < sizeof bytes; size++) {
        assert_int_not_equal(stoa_hash64(0, bytes, size), stoa_hash64(0, bytes, size + 1));
    }
}

static void hash256_is_blake2b_over_both_parts(void **state)
{
    (void)state;
    static const uint8_t of_nothing[32] = {
        0x0e, 0x57, 0x51, 0xc0, 0x26, 0xe5, 0x43, 0xb2, 0xe8, 0xab, 0x2e, 0xb0, 0x60, 0x99, 0xda, 0xa1,
        0xd1, 0xe5, 0xdf, 0x47, 0x77, 0x8f, 0x77, 0x87, 0xfa, 0xab, 0x45, 0xcd, 0xf1, 0x2f, 0xe3, 0xa8,
    };
    static const uint8_t of_abc[32] = {
        0xbd, 0xdd, 0x81, 0x3c, 0x63, 0x42, 0x39, 0x72, 0x31, 0x71, 0xef, 0x3f, 0xee, 0x98, 0x57, 0x9b,
        0x94, 0x96, 0x4e, 0x3b, 0xb1, 0xcb, 0x3e, 0x42, 0x72, 0x62, 0xc8, 0xc0, 0x68, 0xd5, 0x23, 0x19,
    };
    stoa_hash256 hash;
    stoa_hash256_parts(&hash, NULL, 0, NULL, 0);
    assert_memory_equal(hash.at, of_nothing, 32);
    for (size_t cut = 0; cut <= 3; cut++) {
        stoa_hash256_parts(&hash, "abc", cut, &"abc"[cut], 3 - cut);
        assert_memory_equal(hash.at, of_abc, 32);
    }
}

/* Every length around blocks, in pieces that end anywhere. */
static void hash256_is_libsodiums(void **state)
{
    (void)state;
    static uint8_t bytes[1100];
    uint8_t theirs[32];
    stoa_hash256_run run;
    stoa_hash256 ours;
    stoa_random random;
    stoa_random_seed(&random, 6);
    for (size_t i = 0; i < sizeof bytes; i++) { bytes[i] = (uint8_t)stoa_random_next(&random); }
    for (size_t size = 0; size <= sizeof bytes; size++) {
        assert_int_equal(crypto_generichash(theirs, sizeof theirs, bytes, size, NULL, 0), 0);
        for (unsigned times = 0; times < 4; times++) {
            stoa_hash256_begin(&run);
            for (size_t at = 0, part; at < size || (size == 0 && at == 0); at += part) {
                part = times == 0 ? size : stoa_random_below(&random, size - at + 1);
                stoa_hash256_add(&run, bytes + at, part);
                if (size == 0) { break; }
            }
            stoa_hash256_end(&run, &ours);
            assert_memory_equal(ours.at, theirs, sizeof theirs);
        }
    }
}

static void a_hash_is_read_back_from_its_digits(void **state)
{
    (void)state;
    stoa_hash256 hash, back = {{0}};
    char text[STOA_HASH256_TEXT];
    stoa_hash256_parts(&hash, "abc", 3, NULL, 0);
    stoa_hash256_print(&hash, text);
    assert_string_equal(text, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    assert_true(stoa_hash256_parse(text, &back));
    assert_memory_equal(&back, &hash, sizeof hash);
    text[63] = 'g';
    assert_false(stoa_hash256_parse(text, &back));
    text[63] = '\0';
    assert_false(stoa_hash256_parse(text, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_published_answers),
        cmocka_unit_test(crc32c_continues_where_it_stopped),
        cmocka_unit_test(hash64_never_changes),
        cmocka_unit_test(hash64_sees_every_bit),
        cmocka_unit_test(hash256_is_blake2b_over_both_parts),
        cmocka_unit_test(hash256_is_libsodiums),
        cmocka_unit_test(a_hash_is_read_back_from_its_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
