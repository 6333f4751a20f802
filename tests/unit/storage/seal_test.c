/* seal_test.c - goal: what is sealed opens with its own key only, at its own place only, and not when a bit has changed; a key
 * file that others may read, or that makes no sense, is refused by name. Method: the published vector of AES-256-GCM with
 * associated data (McGrew and Viega, test case 16); every bit of a sealed text flipped; key files written by hand.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <fcntl.h>

#include "base/clock.h"
#include "storage/seal.h"

static char folder[KIT_PATH_MAX], path[KIT_PATH_MAX + 8];

static int setup(void **state)
{
    (void)state;
    kit_folder(folder);
    (void)snprintf(path, sizeof path, "%s/keys", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_remove(folder);
    return 0;
}

static void write_file(const char *text, mode_t mode)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode) | close(fd), 0);
}

static stoa_keyring *ring_of(const char *text)
{
    write_file(text, 0600);
    stoa_keyring *ring = NULL;
    kit_ok(stoa_keyring_open(path, &ring));
    return ring;
}

#define KEY_A "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define KEY_B "0011223344556677889900112233445566778899001122334455667788990011"

static size_t unhex(const char *text, uint8_t *out)
{
    size_t bytes = strlen(text) / 2;
    for (size_t i = 0; i < bytes; i++) {
        unsigned value;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &value), 1);
        out[i] = (uint8_t)value;
    }
    return bytes;
}

static void the_published_vector_comes_out(void **state)
{
    (void)state;
    uint8_t plain[60], bound[20], nonce[12], wanted[STOA_SEAL_BYTES + 60], sealed[STOA_SEAL_BYTES + 60], opened[60];
    assert_int_equal(unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
                           "b16aedf5aa0de657ba637b39", plain), sizeof plain);
    assert_int_equal(unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", bound), sizeof bound);
    assert_int_equal(unhex("cafebabefacedbaddecaf888", nonce), sizeof nonce);
    assert_int_equal(unhex("07000000" "cafebabefacedbaddecaf888"
                           "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
                           "c5f61e6393ba7a0abcc9f662" "76fc6ece0f4e1768cddf8853bb2d551b", wanted), sizeof wanted);
    stoa_keyring *ring = ring_of("key 7 " KEY_A "\n");
    kit_ok(stoa_seal(ring, nonce, bound, sizeof bound, plain, sizeof plain, sealed));
    assert_memory_equal(sealed, wanted, sizeof wanted);
    assert_int_equal(stoa_sealed_with(sealed), 7);
    kit_ok(stoa_unseal(ring, bound, sizeof bound, sealed, sizeof sealed, opened));
    assert_memory_equal(opened, plain, sizeof plain);
    stoa_keyring_close(ring);
    stoa_keyring_close(NULL);
}

static void a_changed_bit_or_another_place_does_not_open(void **state)
{
    (void)state;
    enum { PLAIN = 23 };
    stoa_keyring *ring = ring_of("key 1 " KEY_A "\n");
    uint8_t nonce[STOA_NONCE_BYTES] = {5}, sealed[PLAIN + STOA_SEAL_BYTES], opened[PLAIN];
    kit_ok(stoa_seal(ring, nonce, "here", 4, "twenty three bytes text", PLAIN, sealed));
    for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        kit_err(stoa_unseal(ring, "here", 4, sealed, sizeof sealed, opened), STOA_E_SEALED);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    kit_err(stoa_unseal(ring, "hero", 4, sealed, sizeof sealed, opened), STOA_E_SEALED);
    kit_err(stoa_unseal(ring, "here", 4, sealed, sizeof sealed - 1, opened), STOA_E_SEALED);
    kit_err(stoa_unseal(ring, "here", 4, sealed, STOA_SEAL_BYTES - 1, opened), STOA_E_CORRUPT);
    kit_ok(stoa_unseal(ring, "here", 4, sealed, sizeof sealed, opened));

    uint8_t nothing[STOA_SEAL_BYTES];
    kit_ok(stoa_seal(ring, nonce, "", 0, "", 0, nothing));
    kit_ok(stoa_unseal(ring, "", 0, nothing, sizeof nothing, opened));
    stoa_keyring_close(ring);
}

static void a_key_that_is_missing_or_wrong_is_named(void **state)
{
    (void)state;
    uint8_t nonce[STOA_NONCE_BYTES] = {5}, sealed[4 + STOA_SEAL_BYTES], opened[4];
    stoa_keyring *ring = ring_of("key 12 " KEY_A "\n");
    kit_ok(stoa_seal(ring, nonce, "", 0, "text", 4, sealed));
    stoa_keyring_close(ring);
    kit_err(stoa_unseal(NULL, "", 0, sealed, sizeof sealed, opened), STOA_E_SEALED);
    assert_non_null(strstr(stoa_err_trail(), "key 12"));
    static const char *const others[] = {"key 11 " KEY_A "\n", "key 12 " KEY_B "\n"};
    for (unsigned i = 0; i < 2; i++) {
        ring = ring_of(others[i]);
        kit_err(stoa_unseal(ring, "", 0, sealed, sizeof sealed, opened), STOA_E_SEALED);
        assert_non_null(strstr(stoa_err_trail(), "key 12"));
        stoa_keyring_close(ring);
    }
}

static void key_files_are_read_or_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        mode_t mode;
        stoa_err err;
        uint32_t count, newest;
    } rows[] = {
        {"key 1 " KEY_A "\n", 0600, STOA_OK, 1, 1},
        {"# two\n\nkey 9 " KEY_A "\nkey 4 " KEY_B, 0400, STOA_OK, 2, 9},
        {"key 4294967295 " KEY_A "\r\n", 0600, STOA_OK, 1, UINT32_MAX},
        {"key 1 " KEY_A "\n", 0640, STOA_E_DENIED, 0, 0},
        {"key 1 " KEY_A "\n", 0604, STOA_E_DENIED, 0, 0},
        {"", 0600, STOA_E_INVALID, 0, 0},
        {"# no key\n", 0600, STOA_E_INVALID, 0, 0},
        {"key 0 " KEY_A "\n", 0600, STOA_E_INVALID, 0, 0},
        {"key 4294967296 " KEY_A "\n", 0600, STOA_E_INVALID, 0, 0},
        {"key 1 " KEY_A "0\n", 0600, STOA_E_INVALID, 0, 0},
        {"key 1 " KEY_A " \n", 0600, STOA_E_INVALID, 0, 0},
        {"key 1 feff\n", 0600, STOA_E_INVALID, 0, 0},
        {"key x " KEY_A "\n", 0600, STOA_E_INVALID, 0, 0},
        {"key 1 " KEY_A "\nkey 1 " KEY_B "\n", 0600, STOA_E_INVALID, 0, 0},
        {"lock 1 " KEY_A "\n", 0600, STOA_E_INVALID, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_file(rows[i].text, rows[i].mode);
        stoa_keyring *ring = NULL;
        kit_err(stoa_keyring_open(path, &ring), rows[i].err);
        if (!rows[i].err) {
            assert_int_equal(stoa_keyring_count(ring), rows[i].count);
            assert_int_equal(stoa_keyring_newest(ring), rows[i].newest);
        }
        stoa_keyring_close(ring);
    }
    stoa_keyring *ring = NULL;
    kit_err(stoa_keyring_open(folder, &ring), STOA_E_INVALID);
    assert_int_equal(unlink(path), 0);
    kit_err(stoa_keyring_open(path, &ring), STOA_E_NOT_FOUND);
    assert_null(ring);
}

static void a_reload_takes_new_keys_and_no_others(void **state)
{
    (void)state;
    stoa_keyring *ring = ring_of("key 5 " KEY_A "\n");
    static const struct {
        const char *text;
        stoa_err err;
        uint32_t newest;
    } rows[] = {
        {"key 5 " KEY_A "\n", STOA_OK, 5},
        {"key 5 " KEY_B "\n", STOA_E_INVALID, 5},                 /* another key under the same id */
        {"key 3 " KEY_B "\nkey 5 " KEY_A "\n", STOA_E_INVALID, 5}, /* would never seal */
        {"nonsense\n", STOA_E_INVALID, 5},
        {"key 5 " KEY_A "\nkey 6 " KEY_B "\n", STOA_OK, 6},
        {"key 6 " KEY_B "\nkey 8 " KEY_A "\n", STOA_OK, 8}, /* 5 stays known until the end */
    };
    uint8_t nonce[STOA_NONCE_BYTES] = {1}, sealed[4 + STOA_SEAL_BYTES], opened[4];
    kit_ok(stoa_seal(ring, nonce, "", 0, "text", 4, sealed));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_file(rows[i].text, 0600);
        kit_err(stoa_keyring_reload(ring), rows[i].err);
        assert_int_equal(stoa_keyring_newest(ring), rows[i].newest);
        kit_ok(stoa_unseal(ring, "", 0, sealed, sizeof sealed, opened));
    }
    assert_int_equal(stoa_keyring_count(ring), 3);
    assert_int_equal(stoa_keyring_id(ring, 1), 6);
    stoa_keyring_close(ring);
}

static void a_new_key_goes_behind_the_others(void **state)
{
    (void)state;
    uint32_t id = 0;
    uint8_t nonce[STOA_NONCE_BYTES] = {1}, sealed[4 + STOA_SEAL_BYTES], opened[4];
    kit_ok(stoa_key_file_add(path, &id));
    assert_int_equal(id, 1);
    stoa_keyring *ring = NULL;
    kit_ok(stoa_keyring_open(path, &ring));
    kit_ok(stoa_seal(ring, nonce, "", 0, "text", 4, sealed));
    kit_ok(stoa_key_file_add(path, &id));
    kit_ok(stoa_key_file_add(path, &id));
    assert_int_equal(id, 3);
    kit_ok(stoa_keyring_reload(ring));
    assert_int_equal(stoa_keyring_newest(ring), 3);
    stoa_keyring_close(ring);
    kit_ok(stoa_keyring_open(path, &ring)); /* key 1 is still what it was */
    kit_ok(stoa_unseal(ring, "", 0, sealed, sizeof sealed, opened));
    stoa_keyring_close(ring);

    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777u, 0600);
    write_file("nonsense\n", 0600);
    kit_err(stoa_key_file_add(path, &id), STOA_E_INVALID);
    write_file("key 1 " KEY_A "\n", 0644);
    kit_err(stoa_key_file_add(path, &id), STOA_E_DENIED);
    write_file("key 4294967295 " KEY_A "\n", 0600);
    kit_err(stoa_key_file_add(path, &id), STOA_E_INVALID);
    assert_int_equal(id, 3);
}

static void what_it_costs_is_printed(void **state)
{
    (void)state;
    static const size_t sizes[] = {1 << 10, 25 << 10, 64 << 10};
    stoa_keyring *ring = ring_of("key 1 " KEY_A "\n");
    uint8_t nonce[STOA_NONCE_BYTES] = {1}, *plain = calloc(1, 64 << 10), *sealed = malloc((64 << 10) + STOA_SEAL_BYTES);
    assert_true(plain && sealed);
    for (unsigned i = 0; i < 3; i++) {
        enum { ROUNDS = 200 };
        uint64_t begin = stoa_clock_real.now_ns(&stoa_clock_real);
        for (unsigned k = 0; k < ROUNDS; k++) {
            kit_ok(stoa_seal(ring, nonce, nonce, sizeof nonce, plain, sizes[i], sealed));
        }
        uint64_t middle = stoa_clock_real.now_ns(&stoa_clock_real);
        for (unsigned k = 0; k < ROUNDS; k++) {
            kit_ok(stoa_unseal(ring, nonce, sizeof nonce, sealed, sizes[i] + STOA_SEAL_BYTES, plain));
        }
        uint64_t end = stoa_clock_real.now_ns(&stoa_clock_real);
        print_message("%zu KiB: seal %.1f us, open %.1f us\n", sizes[i] >> 10, (double)(middle - begin) / ROUNDS / 1e3,
                      (double)(end - middle) / ROUNDS / 1e3);
    }
    stoa_keyring_close(ring);
    free(plain);
    free(sealed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_published_vector_comes_out),          TEST(a_changed_bit_or_another_place_does_not_open),
        TEST(a_key_that_is_missing_or_wrong_is_named), TEST(key_files_are_read_or_refused_by_name),
        TEST(a_reload_takes_new_keys_and_no_others),   TEST(a_new_key_goes_behind_the_others),
        TEST(what_it_costs_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
