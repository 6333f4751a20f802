/* key_list_test.c - the list of keys: what it says holds over files that people and crashes have left, and nothing gets in by a mistake.
 *
 * Goal: transport/key_list.h. Method: a folder of the test's own; times are the test's; a random walk of changes, from a printed seed,
 * against a model in memory.
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
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "transport/key_list.h"
#include "transport/z85.h"

static const uint64_t T0 = STOA_S(UINT64_C(1800000000));

typedef struct folder {
    char path[64];
} folder;

static int folder_open(void **state)
{
    folder *f = calloc(1, sizeof *f);
    (void)snprintf(f->path, sizeof f->path, "/tmp/stoa-key-list-XXXXXX");
    *state = f;
    return mkdtemp(f->path) ? 0 : -1;
}

static int folder_close(void **state)
{
    folder *f = *state;
    DIR *open_folder = opendir(f->path);
    for (const struct dirent *file; (file = readdir(open_folder)) != NULL;) {
        if (file->d_name[0] != '.') { (void)unlinkat(dirfd(open_folder), file->d_name, 0); }
    }
    (void)closedir(open_folder);
    int failed = rmdir(f->path);
    free(f);
    return failed;
}

static void put_list(const folder *f, const char *text, mode_t mode)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/allowed", f->path);
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static void public_key(char out[STOA_KEY_TEXT_BYTES])
{
    stoa_key_pair pair;
    assert_int_equal(stoa_key_new(&pair), STOA_OK);
    memcpy(out, pair.public_key, STOA_KEY_TEXT_BYTES);
}

/* How many keys let the name in, and whether the key is one of them. */
static bool gets_in(const folder *f, const char *name, const char *file_key, const char *key, uint64_t now_ns)
{
    stoa_key_list list;
    char keys[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES];
    bool found = false;
    assert_int_equal(stoa_key_list_read(f->path, &list), STOA_OK);
    uint32_t count = stoa_key_list_keys(&list, name, file_key, now_ns, keys);
    for (uint32_t i = 0; i < count; i++) { found = found || strcmp(keys[i], key) == 0; }
    stoa_key_list_free(&list);
    return found;
}

static void a_list_that_is_none_is_named_with_its_line(void **state)
{
    const folder *f = *state;
    char key[STOA_KEY_TEXT_BYTES], text[512];
    stoa_key_list list = {0};
    public_key(key);
    static const char *const wrong[] = {
        "bob %s allowed 2026-01-01T00:00:00Z\n",     "bob %s allowed 2026-01-01T00:00:00Z - -\n", "bob %s welcome 2026-01-01T00:00:00Z -\n",
        "b.b %s allowed 2026-01-01T00:00:00Z -\n",   "bob x%s allowed 2026-01-01T00:00:00Z -\n",  "bob %s allowed yesterday -\n",
        "bob %s next 2026-01-01T00:00:00Z -\n",      "server %s allowed 2026-01-01T00:00:00Z -\n", "bob %s allowed 2026-01-01T00:00:00Z -",
        "-b %s allowed 2026-01-01T00:00:00Z -\n",    "bob %s allowed 2026-13-01T00:00:00Z -\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char line[256];
        (void)snprintf(line, sizeof line, "%.*s%s%s", (int)(strstr(wrong[i], "%s") - wrong[i]), wrong[i], key, strstr(wrong[i], "%s") + 2);
        (void)snprintf(text, sizeof text, "# a comment\n\n%s", line);
        put_list(f, text, 0644);
        assert_int_equal(stoa_key_list_read(f->path, &list), STOA_E_MALFORMED);
        assert_non_null(strstr(stoa_err_trail(), "allowed:3"));
        assert_null(list.rows);
    }
    put_list(f, "bob - allowed 2026-01-01T00:00:00Z -\n", 0644); /* a name without a key is revoked, or nothing */
    assert_int_equal(stoa_key_list_read(f->path, &list), STOA_E_MALFORMED);
    (void)snprintf(text, sizeof text, "bob %s allowed - -\nann %s allowed - -\n", key, key);
    put_list(f, text, 0644);
    assert_int_equal(stoa_key_list_read(f->path, &list), STOA_E_MALFORMED);
    put_list(f, "", 0666);
    assert_int_equal(stoa_key_list_read(f->path, &list), STOA_E_DENIED);
    assert_int_equal(stoa_key_list_read("/nowhere", &list), STOA_OK); /* no list lets nobody in */
    assert_int_equal(list.count, 0);
    stoa_key_list_free(&list);
}

static void what_is_over_and_what_is_revoked_never_comes_back(void **state)
{
    const folder *f = *state;
    char first[STOA_KEY_TEXT_BYTES], second[STOA_KEY_TEXT_BYTES];
    stoa_key_change change = {0};
    uint64_t next_ns = 0;
    public_key(first);
    public_key(second);
    assert_int_equal(stoa_keys_allow(f->path, "bob", first, NULL, NULL, T0, &change), STOA_OK);
    assert_int_equal(stoa_keys_allow(f->path, "ann", first, NULL, NULL, T0, &change), STOA_E_EXISTS);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", second, NULL, STOA_S(60), T0, true, &change), STOA_OK);
    assert_false(gets_in(f, "bob", NULL, second, T0)); /* planned only */
    assert_int_equal(stoa_keys_rotate(f->path, "bob", second, NULL, STOA_S(60), T0, false, &change), STOA_OK);
    assert_int_equal(change.until_ns, T0 + STOA_S(60));
    assert_int_equal(stoa_keys_settle(f->path, T0, &next_ns), STOA_OK);
    assert_int_equal(next_ns, T0 + STOA_S(60));
    assert_true(gets_in(f, "bob", NULL, first, T0 + STOA_S(60) - 1));
    assert_false(gets_in(f, "bob", NULL, first, T0 + STOA_S(60))); /* also before anybody has settled it */
    assert_int_equal(stoa_keys_settle(f->path, T0 + STOA_S(60), &next_ns), STOA_OK);
    assert_int_equal(next_ns, UINT64_MAX);
    assert_false(gets_in(f, "bob", NULL, first, T0)); /* nor where a clock goes back */
    assert_int_equal(stoa_keys_allow(f->path, "bob", first, NULL, NULL, T0, &change), STOA_E_DENIED);
    assert_true(gets_in(f, "bob", NULL, second, T0));
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, NULL, T0, false, &change), STOA_OK);
    assert_false(gets_in(f, "bob", NULL, second, T0));
    public_key(first);
    assert_false(gets_in(f, "bob", first, first, T0)); /* a file alone lets nobody in again */
    assert_int_equal(stoa_keys_allow(f->path, "bob", first, NULL, NULL, T0, &change), STOA_OK);
    assert_true(gets_in(f, "bob", first, first, T0));
}

static void a_wrong_name_is_taken_back_and_a_secret_half_refused(void **state)
{
    const folder *f = *state;
    char key[STOA_KEY_TEXT_BYTES];
    stoa_key_pair pair;
    stoa_key_change change = {0};
    public_key(key);
    assert_int_equal(stoa_keys_allow(f->path, "ann", key, NULL, NULL, T0, &change), STOA_OK);
    assert_int_equal(stoa_keys_revoke(f->path, "ann", NULL, NULL, T0, false, &change), STOA_OK);
    assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, NULL, T0, &change), STOA_E_EXISTS);
    assert_int_equal(stoa_keys_allow(f->path, "bob", key, "cid", NULL, T0, &change), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_keys_allow(f->path, "ann", key, "ann", NULL, T0, &change), STOA_E_INVALID); /* no way around a revocation */
    assert_int_equal(stoa_keys_allow(f->path, "bob", key, "ann", NULL, T0, &change), STOA_OK);
    assert_true(gets_in(f, "bob", NULL, key, T0));
    assert_false(gets_in(f, "ann", NULL, key, T0));
    assert_int_equal(stoa_keys_allow(f->path, "cid", key, "ann", NULL, T0, &change), STOA_E_NOT_FOUND); /* it is bob's now */
    assert_int_equal(stoa_key_new(&pair), STOA_OK);
    assert_int_equal(stoa_keys_allow(f->path, "bob", pair.public_key, NULL, NULL, T0, &change), STOA_OK);
    assert_int_equal(stoa_keys_allow(f->path, "bob", pair.secret_key, NULL, NULL, T0, &change), STOA_E_INVALID);
    assert_int_equal(stoa_keys_allow(f->path, "cid", pair.secret_key, NULL, NULL, T0, &change), STOA_E_INVALID);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", pair.secret_key, NULL, 0, T0, false, &change), STOA_E_INVALID);
}

static void a_name_has_few_keys_and_their_number_is_checked_first(void **state)
{
    const folder *f = *state;
    char key[STOA_KEY_TEXT_BYTES];
    stoa_key_change change = {0};
    for (int i = 0; i < STOA_KEYS_PER_NAME; i++) {
        public_key(key);
        assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, NULL, T0, &change), STOA_OK);
    }
    assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, NULL, T0, &change), STOA_OK); /* it is there */
    public_key(key);
    assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, NULL, T0, &change), STOA_E_FULL);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", key, NULL, STOA_S(60), T0, false, &change), STOA_E_FULL);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", key, NULL, 0, T0, false, &change), STOA_OK);
    assert_int_equal(change.old_count, STOA_KEYS_PER_NAME);
    assert_true(gets_in(f, "bob", NULL, key, T0));
}

/* As often as you like: what a rotation leaves behind ends by its time, or one by one, and the key in use is not touched. */
static void a_name_is_rotated_any_number_of_times(void **state)
{
    enum { TIMES = 10 };
    const folder *f = *state;
    char keys[TIMES][STOA_KEY_TEXT_BYTES], strange[STOA_KEY_TEXT_BYTES];
    stoa_key_change change = {0};
    public_key(keys[0]);
    public_key(strange);
    assert_int_equal(stoa_keys_allow(f->path, "bob", keys[0], NULL, NULL, T0, &change), STOA_OK);
    assert_int_equal(stoa_keys_revoke(f->path, "bob", keys[0], NULL, T0, false, &change), STOA_E_INVALID); /* its only one */
    assert_int_equal(stoa_keys_revoke(f->path, "bob", strange, NULL, T0, false, &change), STOA_E_NOT_FOUND);
    for (unsigned i = 1; i < TIMES; i++) {
        public_key(keys[i]);
        assert_int_equal(stoa_keys_rotate(f->path, "bob", keys[i], NULL, STOA_S(3600), T0, false, &change), STOA_OK);
        assert_true(gets_in(f, "bob", NULL, keys[i - 1], T0) && gets_in(f, "bob", NULL, keys[i], T0));
        assert_int_equal(stoa_keys_revoke(f->path, "bob", keys[i - 1], NULL, T0, true, &change), STOA_OK);
        assert_true(gets_in(f, "bob", NULL, keys[i - 1], T0)); /* planned only */
        assert_int_equal(stoa_keys_revoke(f->path, "bob", keys[i - 1], NULL, T0, false, &change), STOA_OK);
        assert_int_equal(change.old_count, 1);
        assert_string_equal(change.old[0], keys[i - 1]);
        assert_true(!gets_in(f, "bob", NULL, keys[i - 1], T0) && gets_in(f, "bob", NULL, keys[i], T0));
        assert_int_equal(stoa_keys_revoke(f->path, "bob", keys[i - 1], NULL, T0, false, &change), STOA_E_NOT_FOUND);
        assert_int_equal(stoa_keys_allow(f->path, "bob", keys[i - 1], NULL, NULL, T0, &change), STOA_E_DENIED); /* for ever */
    }
    assert_true(gets_in(f, "bob", strange, strange, T0)); /* the name itself is as it was */
    assert_int_equal(stoa_keys_revoke(f->path, "bob", strange, strange, T0, false, &change), STOA_OK); /* the one in a file, too */
    assert_false(gets_in(f, "bob", strange, strange, T0));
}

/* --- more keys than there may be */

enum { FIVE = STOA_KEYS_PER_NAME + 1 };

/* Four rows, and bob.pub put there behind them. */
static void have_five(const folder *f, char keys[FIVE][STOA_KEY_TEXT_BYTES])
{
    char path[128];
    stoa_key_change change;
    for (int i = 0; i < FIVE; i++) { public_key(keys[i]); }
    for (int i = 0; i < FIVE - 1; i++) { assert_int_equal(stoa_keys_allow(f->path, "bob", keys[i], NULL, NULL, T0, &change), STOA_OK); }
    (void)snprintf(path, sizeof path, "%s/bob.pub", f->path);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    (void)fprintf(out, "%s\n", keys[FIVE - 1]);
    (void)fclose(out);
}

static void nobody_gets_in(const folder *f, char keys[FIVE][STOA_KEY_TEXT_BYTES])
{
    for (int i = 0; i < FIVE; i++) { assert_false(gets_in(f, "bob", keys[FIVE - 1], keys[i], T0)); }
}

static void who_is_revoked_has_none_left_of_more_keys_than_there_may_be(void **state)
{
    const folder *f = *state;
    char keys[FIVE][STOA_KEY_TEXT_BYTES];
    stoa_key_change change = {0};
    have_five(f, keys);
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, NULL, T0, true, &change), STOA_OK);
    assert_int_equal(change.old_count, FIVE);
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, NULL, T0, false, &change), STOA_OK);
    assert_int_equal(change.old_count, FIVE);
    nobody_gets_in(f, keys);
    for (int i = 0; i < FIVE; i++) { assert_int_equal(stoa_keys_allow(f->path, "bob", keys[i], NULL, NULL, T0, &change), STOA_E_DENIED); }
}

static void any_key_of_more_than_there_may_be_ends_by_itself_or_with_a_rotation(void **state)
{
    const folder *f = *state;
    char keys[FIVE][STOA_KEY_TEXT_BYTES], fresh[STOA_KEY_TEXT_BYTES];
    stoa_key_change change = {0};
    have_five(f, keys);
    public_key(fresh);
    assert_int_equal(stoa_keys_revoke(f->path, "bob", keys[FIVE - 2], NULL, T0, false, &change), STOA_OK); /* the newest, which was the fifth */
    assert_int_equal(change.old_count, 1);
    assert_string_equal(change.old[0], keys[FIVE - 2]);
    for (int i = 0; i < FIVE; i++) { assert_int_equal(gets_in(f, "bob", keys[FIVE - 1], keys[i], T0), i != FIVE - 2); }
    assert_int_equal(stoa_keys_rotate(f->path, "bob", fresh, NULL, STOA_S(60), T0, false, &change), STOA_E_FULL);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", fresh, NULL, 0, T0, false, &change), STOA_OK);
    assert_int_equal(change.old_count, FIVE - 1);
    nobody_gets_in(f, keys);
    assert_true(gets_in(f, "bob", keys[FIVE - 1], fresh, T0));
}

static void the_key_of_a_file_elsewhere_is_one_of_the_few(void **state)
{
    const folder *f = *state;
    char elsewhere[STOA_KEY_TEXT_BYTES], key[STOA_KEY_TEXT_BYTES];
    stoa_key_change change = {0};
    public_key(elsewhere);
    for (int i = 1; i < STOA_KEYS_PER_NAME; i++) {
        public_key(key);
        assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, elsewhere, T0, &change), STOA_OK);
    }
    public_key(key);
    assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, elsewhere, T0, &change), STOA_E_FULL);
    assert_int_equal(stoa_keys_allow(f->path, "bob", elsewhere, NULL, elsewhere, T0, &change), STOA_OK); /* it has no more than before */
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, elsewhere, T0, false, &change), STOA_OK);
    assert_int_equal(change.old_count, STOA_KEYS_PER_NAME);
    assert_false(gets_in(f, "bob", elsewhere, elsewhere, T0));
}

static void a_full_list_lets_nobody_in_and_revokes(void **state)
{
    const folder *f = *state;
    char path[128], key[STOA_KEY_TEXT_BYTES] = "", bob[STOA_KEY_TEXT_BYTES];
    uint8_t bytes[STOA_Z85_KEY_BYTES] = {0};
    stoa_key_change change = {0};
    (void)snprintf(path, sizeof path, "%s/allowed", f->path);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    for (uint32_t i = 0; i < STOA_KEY_ROWS_MAX; i++) {
        memcpy(bytes, &i, sizeof i);
        stoa_z85_encode(bytes, key);
        (void)fprintf(out, "old%u %s revoked 2025-01-01T00:00:00Z -\n", i, key);
    }
    (void)fclose(out);
    public_key(bob);
    public_key(key);
    assert_int_equal(stoa_keys_allow(f->path, "ann", key, NULL, NULL, T0, &change), STOA_E_FULL);
    assert_non_null(strstr(stoa_err_trail(), "allowed"));
    assert_int_equal(stoa_keys_rotate(f->path, "bob", key, bob, 0, T0, true, &change), STOA_E_FULL);
    assert_true(gets_in(f, "bob", bob, bob, T0));
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, bob, T0, false, &change), STOA_OK);
    assert_false(gets_in(f, "bob", bob, bob, T0));
    assert_int_equal(stoa_keys_allow(f->path, "bob", bob, NULL, bob, T0, &change), STOA_E_DENIED);
}

/* A key that was let in again is one like any other. */
static void who_was_revoked_and_let_in_again_is_rotated_and_revoked_as_anybody(void **state)
{
    const folder *f = *state;
    char keys[3][STOA_KEY_TEXT_BYTES], elsewhere[STOA_KEY_TEXT_BYTES];
    stoa_key_change change = {0};
    for (int i = 0; i < 3; i++) { public_key(keys[i]); }
    public_key(elsewhere);
    assert_int_equal(stoa_keys_allow(f->path, "bob", keys[0], NULL, NULL, T0, &change), STOA_OK);
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, elsewhere, T0, false, &change), STOA_OK);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", keys[1], NULL, STOA_S(60), T0, false, &change), STOA_E_DENIED);
    assert_int_equal(stoa_keys_allow(f->path, "bob", keys[1], NULL, NULL, T0, &change), STOA_OK);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", keys[2], elsewhere, STOA_S(60), T0, false, &change), STOA_OK);
    assert_int_equal(change.old_count, 1);
    assert_true(gets_in(f, "bob", elsewhere, keys[1], T0) && gets_in(f, "bob", elsewhere, keys[2], T0));
    assert_true(!gets_in(f, "bob", elsewhere, keys[1], T0 + STOA_S(60)) && !gets_in(f, "bob", elsewhere, elsewhere, T0));
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, NULL, T0, false, &change), STOA_OK);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", elsewhere, NULL, 0, T0, false, &change), STOA_E_DENIED);
}

static void a_pair_that_is_made_for_who_was_revoked_counts(void **state)
{
    const folder *f = *state;
    char path[128], first[STOA_KEY_TEXT_BYTES], key[STOA_KEY_TEXT_BYTES];
    stoa_key_pair pair;
    stoa_key_change change = {0};
    assert_int_equal(stoa_keys_new(f->path, "bob", T0, &change), STOA_OK);
    memcpy(first, change.key, sizeof first);
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, NULL, T0, false, &change), STOA_OK);
    assert_int_equal(stoa_keys_new(f->path, "bob", T0, &change), STOA_OK);
    assert_true(gets_in(f, "bob", change.key, change.key, T0) && !gets_in(f, "bob", change.key, first, T0));
    assert_int_equal(stoa_keys_new(f->path, "bob", T0, &change), STOA_E_EXISTS);
    assert_int_equal(stoa_keys_rotate(f->path, "bob", NULL, NULL, 0, T0, false, &change), STOA_OK);
    assert_true(gets_in(f, "bob", change.key, change.key, T0));
    assert_int_equal(stoa_keys_revoke(f->path, "bob", NULL, NULL, T0, false, &change), STOA_OK);
    for (unsigned i = 0; i < 2; i++) { /* a pair that was put there by hand is nobody's yet, and stays */
        (void)snprintf(path, sizeof path, "%s/bob%s", f->path, i ? ".key" : ".pub");
        assert_int_equal(unlink(path), 0);
    }
    (void)snprintf(path, sizeof path, "%s/bob", f->path);
    assert_int_equal(stoa_key_new(&pair), STOA_OK);
    assert_int_equal(stoa_key_save(path, &pair), STOA_OK);
    assert_int_equal(stoa_keys_new(f->path, "bob", T0, &change), STOA_E_EXISTS);
    assert_non_null(strstr(stoa_err_trail(), "key allow bob"));
    assert_int_equal(stoa_keys_allow(f->path, "bob", pair.public_key, NULL, NULL, T0, &change), STOA_OK);
    for (int i = 1; i < STOA_KEYS_PER_NAME; i++) { /* and it is one of the few */
        public_key(key);
        assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, NULL, T0, &change), STOA_OK);
    }
    public_key(key);
    assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, NULL, T0, &change), STOA_E_FULL);
    assert_int_equal(stoa_keys_revoke(f->path, "bob", pair.public_key, NULL, T0, false, &change), STOA_OK);
    assert_int_equal(stoa_keys_allow(f->path, "bob", key, NULL, NULL, T0, &change), STOA_OK);
    assert_int_equal(stoa_keys_new(f->path, "bob", T0, &change), STOA_E_FULL);
}

/* --- against a model */

enum { NAMES = 3, KEYS = 12, STEPS = 400 };
static const char *const names[NAMES] = {"ann", "bob", "cy"};

typedef struct model {
    char keys[KEYS][STOA_KEY_TEXT_BYTES];
    int owner[KEYS]; /* -1: nobody's */
    bool revoked[KEYS];
    uint64_t until_ns[KEYS];
} model;

static uint32_t model_count(const model *m, int name, uint64_t now_ns)
{
    uint32_t count = 0;
    for (int i = 0; i < KEYS; i++) { count += m->owner[i] == name && !m->revoked[i] && (!m->until_ns[i] || m->until_ns[i] > now_ns); }
    return count;
}

static void model_settle(model *m, uint64_t now_ns)
{
    for (int i = 0; i < KEYS; i++) {
        if (m->owner[i] >= 0 && m->until_ns[i] && m->until_ns[i] <= now_ns) { m->revoked[i] = true; }
    }
}

static void model_allow(model *m, const folder *f, int name, int key, uint64_t now_ns)
{
    stoa_key_change change;
    stoa_err err = stoa_keys_allow(f->path, names[name], m->keys[key], NULL, NULL, now_ns, &change);
    bool fresh = m->owner[key] < 0;
    if (!fresh && m->owner[key] != name) {
        assert_int_equal(err, STOA_E_EXISTS);
    } else if (m->revoked[key]) {
        assert_int_equal(err, STOA_E_DENIED);
    } else if (fresh && model_count(m, name, now_ns) == STOA_KEYS_PER_NAME) {
        assert_int_equal(err, STOA_E_FULL);
    } else {
        assert_int_equal(err, STOA_OK);
        m->owner[key] = name;
        m->until_ns[key] = 0;
    }
}

static void model_end(model *m, int name, uint64_t until_ns, uint64_t now_ns)
{
    for (int i = 0; i < KEYS; i++) {
        if (m->owner[i] != name || m->revoked[i]) { continue; }
        if (!until_ns) { m->revoked[i] = true; }
        if (!m->until_ns[i] || m->until_ns[i] > until_ns) { m->until_ns[i] = until_ns ? until_ns : now_ns; }
    }
}

static void a_walk_of_changes_is_what_the_model_says(void **state)
{
    const folder *f = *state;
    stoa_random random;
    const char *given = getenv("STOA_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL), now_ns = T0;
    (void)printf("STOA_SEED=%llu\n", (unsigned long long)seed);
    stoa_random_seed(&random, seed);
    model m = {0};
    for (int i = 0; i < KEYS; i++) {
        public_key(m.keys[i]);
        m.owner[i] = -1;
    }
    for (int step = 0; step < STEPS; step++) {
        int name = (int)stoa_random_below(&random, NAMES), key = (int)stoa_random_below(&random, KEYS);
        stoa_key_change change;
        now_ns += STOA_S(stoa_random_below(&random, 20));
        model_settle(&m, now_ns);
        uint64_t pick = stoa_random_below(&random, 100);
        if (pick < 60) {
            model_allow(&m, f, name, key, now_ns);
        } else if (pick < 97) {
            uint64_t overlap_ns = STOA_S(stoa_random_below(&random, 30));
            uint32_t had = model_count(&m, name, now_ns);
            stoa_err err = stoa_keys_rotate(f->path, names[name], m.keys[key], NULL, overlap_ns, now_ns, false, &change);
            bool good = m.owner[key] < 0 && had && (!overlap_ns || had < STOA_KEYS_PER_NAME);
            assert_int_equal(err == STOA_OK, good);
            if (!good) { continue; }
            model_end(&m, name, overlap_ns ? now_ns + overlap_ns : 0, now_ns);
            m.owner[key] = name;
        } else {
            stoa_err err = stoa_keys_revoke(f->path, names[name], NULL, NULL, now_ns, false, &change);
            if (err) { continue; }
            model_end(&m, name, 0, now_ns);
        }
        for (int i = 0; i < KEYS; i++) {
            bool in = m.owner[i] == name && !m.revoked[i] && (!m.until_ns[i] || m.until_ns[i] > now_ns);
            assert_int_equal(gets_in(f, names[name], NULL, m.keys[i], now_ns), in);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_open, folder_close)
        TEST(a_list_that_is_none_is_named_with_its_line),
        TEST(a_name_is_rotated_any_number_of_times),
        TEST(what_is_over_and_what_is_revoked_never_comes_back),
        TEST(a_wrong_name_is_taken_back_and_a_secret_half_refused),
        TEST(a_name_has_few_keys_and_their_number_is_checked_first),
        TEST(who_is_revoked_has_none_left_of_more_keys_than_there_may_be),
        TEST(any_key_of_more_than_there_may_be_ends_by_itself_or_with_a_rotation),
        TEST(the_key_of_a_file_elsewhere_is_one_of_the_few),
        TEST(a_full_list_lets_nobody_in_and_revokes),
        TEST(who_was_revoked_and_let_in_again_is_rotated_and_revoked_as_anybody),
        TEST(a_pair_that_is_made_for_who_was_revoked_counts),
        TEST(a_walk_of_changes_is_what_the_model_says),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
