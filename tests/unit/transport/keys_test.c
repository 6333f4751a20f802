/* keys_test.c - key files: what is written can be read, nothing is overwritten, and no careless file is used.
 *
 * Goal: transport/keys.h. Method: real files in a folder of the test's own.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/keys.h"

typedef struct folder {
    char path[64], key[80], secret[96], public_[96];
} folder;

static int folder_open(void **state)
{
    static folder f;
    (void)snprintf(f.path, sizeof f.path, "/tmp/stoa-keys-XXXXXX");
    if (!mkdtemp(f.path)) { return -1; }
    (void)snprintf(f.key, sizeof f.key, "%s/node", f.path);
    (void)snprintf(f.secret, sizeof f.secret, "%s.key", f.key);
    (void)snprintf(f.public_, sizeof f.public_, "%s.pub", f.key);
    *state = &f;
    return 0;
}

static int folder_close(void **state)
{
    const folder *f = *state;
    (void)unlink(f->secret);
    (void)unlink(f->public_);
    return rmdir(f->path); /* fails when anything else was left there */
}

static void put_file(const char *path, const char *bytes, size_t size_bytes, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size_bytes), (ssize_t)size_bytes);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void a_saved_pair_is_loaded_again(void **state)
{
    const folder *f = *state;
    stoa_key_pair made, loaded;
    char public_key[STOA_KEY_TEXT_BYTES];
    (void)umask(0); /* the modes are the file's own */
    assert_int_equal(stoa_key_new(&made), STOA_OK);
    assert_int_equal(strlen(made.public_key), STOA_KEY_TEXT_BYTES - 1);
    assert_int_equal(stoa_key_save(f->key, &made), STOA_OK);
    assert_int_equal(mode_of(f->secret), 0600);
    assert_int_equal(mode_of(f->public_), 0644);
    assert_int_equal(stoa_key_load(f->key, &loaded), STOA_OK);
    assert_memory_equal(&made, &loaded, sizeof made);
    assert_int_equal(stoa_key_load_public(f->public_, public_key), STOA_OK);
    assert_string_equal(public_key, made.public_key);
}

static void two_pairs_differ(void **state)
{
    (void)state;
    stoa_key_pair a, b;
    assert_int_equal(stoa_key_new(&a), STOA_OK);
    assert_int_equal(stoa_key_new(&b), STOA_OK);
    assert_string_not_equal(a.secret_key, b.secret_key);
    assert_string_not_equal(a.public_key, b.public_key);
    assert_string_not_equal(a.public_key, a.secret_key);
}

static void no_file_is_overwritten(void **state)
{
    const folder *f = *state;
    stoa_key_pair first, second, loaded;
    assert_int_equal(stoa_key_new(&first), STOA_OK);
    assert_int_equal(stoa_key_new(&second), STOA_OK);
    assert_int_equal(stoa_key_save(f->key, &first), STOA_OK);
    assert_int_equal(stoa_key_save(f->key, &second), STOA_E_EXISTS);
    assert_int_equal(stoa_key_load(f->key, &loaded), STOA_OK);
    assert_memory_equal(&first, &loaded, sizeof first);

    assert_int_equal(unlink(f->secret), 0); /* with only the public file there, none is written */
    assert_int_equal(stoa_key_save(f->key, &second), STOA_E_EXISTS);
    assert_int_equal(access(f->secret, F_OK), -1);
    char public_key[STOA_KEY_TEXT_BYTES];
    assert_int_equal(stoa_key_load_public(f->public_, public_key), STOA_OK);
    assert_string_equal(public_key, first.public_key);
}

static void a_secret_that_others_may_read_is_refused(void **state)
{
    const folder *f = *state;
    stoa_key_pair pair, untouched, loaded;
    assert_int_equal(stoa_key_new(&pair), STOA_OK);
    assert_int_equal(stoa_key_save(f->key, &pair), STOA_OK);
    memset(&loaded, 7, sizeof loaded);
    untouched = loaded;
    mode_t careless[] = {0640, 0604, 0660, 0644, 0610};
    for (unsigned i = 0; i < sizeof careless / sizeof careless[0]; i++) {
        assert_int_equal(chmod(f->secret, careless[i]), 0);
        assert_int_equal(stoa_key_load(f->key, &loaded), STOA_E_DENIED);
        assert_non_null(strstr(stoa_err_trail(), "chmod 600"));
    }
    assert_memory_equal(&loaded, &untouched, sizeof loaded);
    assert_int_equal(chmod(f->secret, 0400), 0);
    assert_int_equal(stoa_key_load(f->key, &loaded), STOA_OK);
}

static void what_is_no_key_is_named(void **state)
{
    const folder *f = *state;
    const char good[] = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    struct {
        const char *bytes;
        size_t size_bytes;
        stoa_err err;
    } rows[] = {
        {good, 40, STOA_OK},
        {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\n", 41, STOA_OK},
        {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\r\n", 42, STOA_OK},
        {"", 0, STOA_E_INVALID},
        {"\n", 1, STOA_E_INVALID},
        {good, 39, STOA_E_INVALID},
        {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7x", 41, STOA_E_INVALID},
        {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\n\n", 42, STOA_E_INVALID},
        {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\r\n#", 43, STOA_E_INVALID},
        {" q:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", 40, STOA_E_INVALID},
        {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]y~7", 40, STOA_E_INVALID},
        {"rq:rM>}U?@Lns47E1%kR\0o@n%FcmmsL/@{H8]yf7", 40, STOA_E_INVALID},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char public_key[STOA_KEY_TEXT_BYTES] = "before";
        stoa_key_pair pair;
        put_file(f->public_, rows[i].bytes, rows[i].size_bytes, 0644);
        put_file(f->secret, rows[i].bytes, rows[i].size_bytes, 0600);
        assert_int_equal(stoa_key_load_public(f->public_, public_key), rows[i].err);
        assert_string_equal(public_key, rows[i].err ? "before" : good);
        assert_int_equal(stoa_key_load(f->key, &pair), rows[i].err);
    }
}

static void missing_files_and_folders_are_named(void **state)
{
    const folder *f = *state;
    char path[128], *endless = malloc(8192);
    stoa_key_pair pair;
    assert_non_null(endless);
    assert_int_equal(stoa_key_new(&pair), STOA_OK);
    (void)snprintf(path, sizeof path, "%s/no/node", f->path);
    assert_int_equal(stoa_key_load(f->key, &pair), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_key_load(path, &pair), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_key_save(path, &pair), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_key_load_public(f->public_, pair.public_key), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_key_load_public(f->path, pair.public_key), STOA_E_INVALID);
    memset(endless, 'a', 8191);
    endless[8191] = '\0';
    assert_int_equal(stoa_key_save(endless, &pair), STOA_E_INVALID);
    assert_int_equal(stoa_key_load(endless, &pair), STOA_E_INVALID);
    free(endless);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_open, folder_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_saved_pair_is_loaded_again), TEST(two_pairs_differ),
        TEST(no_file_is_overwritten),       TEST(a_secret_that_others_may_read_is_refused),
        TEST(what_is_no_key_is_named),      TEST(missing_files_and_folders_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
