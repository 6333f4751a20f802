/* keys.c - CURVE keys in files, as transport/keys.h says.
 *
 * A file appears whole or not at all: it is written under another name, synced, and linked to its own; link(2) is also
 * what refuses to replace a file. Secrets are wiped from the stack once used.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/log.h"
#include "base/random.h"
#include "transport/z85.h"

enum { KEY_BYTES = 32, KEY_CHARS = STOA_KEY_TEXT_BYTES - 1, FILE_BYTES_MAX = KEY_CHARS + 2 };
enum { MODE_SECRET = 0600, MODE_PUBLIC = 0644, MODE_OTHERS = 077 };

stoa_err stoa_key_new(stoa_key_pair *out)
{
    uint8_t secret[KEY_BYTES], public_key[KEY_BYTES];
    stoa_random_system(secret, sizeof secret);
    (void)crypto_scalarmult_base(public_key, secret);
    stoa_z85_encode(secret, out->secret_key);
    stoa_z85_encode(public_key, out->public_key);
    explicit_bzero(secret, sizeof secret);
    return STOA_OK;
}

static stoa_err path_join(const char *path, const char *ending, char out[PATH_MAX])
{
    int size_bytes = snprintf(out, PATH_MAX, "%s%s", path, ending);
    if (size_bytes < 0 || size_bytes >= PATH_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "the key's path is longer than %d bytes", PATH_MAX - 1);
    }
    return STOA_OK;
}

static stoa_err fail_with_errno(const char *path)
{
    static const struct {
        int number;
        stoa_err err;
    } rows[] = {
        {ENOENT, STOA_E_NOT_FOUND},     {EEXIST, STOA_E_EXISTS},     {EACCES, STOA_E_DENIED}, {EPERM, STOA_E_DENIED},
        {ENAMETOOLONG, STOA_E_INVALID}, {ENOTDIR, STOA_E_NOT_FOUND}, {ENOSPC, STOA_E_FULL},   {ELOOP, STOA_E_INVALID},
    };
    int number = errno;
    stoa_err err = STOA_E_IO;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].number == number) { err = rows[i].err; }
    }
    char text[128];
    return STOA_FAIL(err, "%s: %s", path, strerror_r(number, text, sizeof text));
}

/* --- writing */

static bool write_synced(int fd, const char *key, mode_t mode)
{
    char line[KEY_CHARS + 1];
    memcpy(line, key, KEY_CHARS);
    line[KEY_CHARS] = '\n';
    bool done = fchmod(fd, mode) == 0 && write(fd, line, sizeof line) == (ssize_t)sizeof line && fsync(fd) == 0;
    explicit_bzero(line, sizeof line);
    return done;
}

/* Write one line to a new file of its own, 0600 until the mode is set. */
static stoa_err write_new(const char *path, const char *key, mode_t mode)
{
    char draft[PATH_MAX];
    stoa_err err = path_join(path, ".XXXXXX", draft);
    if (err) { return err; }
    int fd = mkostemp(draft, O_CLOEXEC);
    if (fd < 0) { return fail_with_errno(path); }
    if (!write_synced(fd, key, mode) || link(draft, path) != 0) { err = fail_with_errno(path); }
    unlink(draft);
    close(fd);
    return err;
}

stoa_err stoa_key_save(const char *path, const stoa_key_pair *pair)
{
    char secret_path[PATH_MAX], public_path[PATH_MAX];
    stoa_err err = path_join(path, ".key", secret_path);
    if (!err) { err = path_join(path, ".pub", public_path); }
    if (!err) { err = write_new(secret_path, pair->secret_key, MODE_SECRET); }
    if (err) { return err; }

    err = write_new(public_path, pair->public_key, MODE_PUBLIC);
    if (err) { unlink(secret_path); }
    return err;
}

/* --- reading */

/* One line of exactly 40 characters of Z85; the line's end may be missing. */
static bool parse(const char *bytes, size_t size_bytes, char key_out[STOA_KEY_TEXT_BYTES])
{
    uint8_t key[KEY_BYTES];
    char text[STOA_KEY_TEXT_BYTES] = "";
    if (size_bytes > KEY_CHARS && bytes[size_bytes - 1] == '\n') { size_bytes--; }
    if (size_bytes > KEY_CHARS && bytes[size_bytes - 1] == '\r') { size_bytes--; }
    if (size_bytes != KEY_CHARS || memchr(bytes, '\0', size_bytes)) { return false; }
    memcpy(text, bytes, KEY_CHARS);
    bool is_key = stoa_z85_decode(text, key);
    if (is_key) { memcpy(key_out, text, sizeof text); }
    explicit_bzero(key, sizeof key);
    explicit_bzero(text, sizeof text);
    return is_key;
}

static stoa_err read_open(int fd, const char *path, bool secret, char key_out[STOA_KEY_TEXT_BYTES])
{
    struct stat status;
    if (fstat(fd, &status) != 0) { return fail_with_errno(path); }
    if (!S_ISREG(status.st_mode)) { return STOA_FAIL(STOA_E_INVALID, "%s is not a file", path); }
    if (secret && (status.st_mode & MODE_OTHERS)) {
        return STOA_FAIL(STOA_E_DENIED, "%s is open to others (mode %03o): chmod 600", path,
                         (unsigned)status.st_mode & 0777U);
    }
    char bytes[FILE_BYTES_MAX + 1]; /* one more, so that a longer file is seen */
    ssize_t size_bytes = read(fd, bytes, sizeof bytes);
    if (size_bytes < 0) { return fail_with_errno(path); }
    bool is_key = parse(bytes, (size_t)size_bytes, key_out);
    explicit_bzero(bytes, sizeof bytes);
    return is_key ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "%s is not one line of 40 characters of Z85", path);
}

static stoa_err read_key(const char *path, bool secret, char key_out[STOA_KEY_TEXT_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) { return fail_with_errno(path); }
    stoa_err err = read_open(fd, path, secret, key_out);
    close(fd);
    return err;
}

stoa_err stoa_key_have(const char *path, stoa_key_pair *out)
{
    stoa_err err = stoa_key_load(path, out);
    if (err != STOA_E_NOT_FOUND) { return err; }
    err = stoa_key_new(out);
    if (!err) { err = stoa_key_save(path, out); }
    if (err == STOA_E_EXISTS) {
        return STOA_FAIL(err, "%s.pub is there, and its secret half %s.key is gone: bring it back, or remove the .pub for a new pair", path, path);
    }
    if (!err) { stoa_log(STOA_LOG_INFO, "key_made", STOA_KV("path", path)); }
    return err;
}

stoa_err stoa_key_load_public(const char *path, char public_key_out[STOA_KEY_TEXT_BYTES])
{
    static const char ending[] = ".key";
    size_t path_bytes = strlen(path), ending_bytes = sizeof ending - 1;
    if (path_bytes > ending_bytes && strcmp(path + path_bytes - ending_bytes, ending) == 0) {
        return STOA_FAIL(STOA_E_INVALID, "%s is a secret half, which stays where it is: the public one is in %.*s.pub", path,
                         (int)(path_bytes - ending_bytes), path);
    }
    return read_key(path, false, public_key_out);
}

bool stoa_key_derive(const char *secret_key, char public_key_out[STOA_KEY_TEXT_BYTES])
{
    uint8_t secret[KEY_BYTES] = {0}, public_key[KEY_BYTES];
    bool is_key = stoa_z85_decode(secret_key, secret);
    if (is_key) {
        (void)crypto_scalarmult_base(public_key, secret);
        stoa_z85_encode(public_key, public_key_out);
    }
    explicit_bzero(secret, sizeof secret);
    return is_key;
}

stoa_err stoa_key_load(const char *path, stoa_key_pair *out)
{
    char secret_path[PATH_MAX];
    stoa_key_pair pair;
    stoa_err err = path_join(path, ".key", secret_path);
    if (!err) { err = read_key(secret_path, true, pair.secret_key); }
    if (!err) {
        STOA_ASSERT(stoa_key_derive(pair.secret_key, pair.public_key)); /* it was read as one */
        *out = pair;
    }
    explicit_bzero(&pair, sizeof pair);
    return err;
}
