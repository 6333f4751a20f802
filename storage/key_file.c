/* key_file.c - the key file of storage/seal.h: read, checked, added to.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/os.h"
#include "base/random.h"
#include "storage/keyring.h"
#include "storage/rocksdb/folder.h"

enum { FILE_BYTES_MAX = 64 << 10, HEX_DIGITS = 2 * STOA_KEY_SECRET_BYTES };

/* The keys of a file in the order of their ids; cleansed by who has it. */
typedef struct keys {
    stoa_key at[STOA_KEYS_MAX];
    uint32_t count;
} keys;

static const char *hex_value(const char *at, uint8_t *out)
{
    for (unsigned i = 0; i < HEX_DIGITS; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) { return NULL; }
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | digit : digit << 4);
    }
    return at + HEX_DIGITS;
}

/* "key ID HEX", as a whole line. */
static bool parse_key(const char *line, stoa_key *out)
{
    if (strncmp(line, "key ", 4) != 0) { return false; }
    const char *at = line + 4;
    uint64_t id = 0;
    for (; *at >= '0' && *at <= '9' && id <= UINT32_MAX; at++) {
        id = id * 10 + (uint64_t)(*at - '0');
    }
    if (id == 0 || id > UINT32_MAX || *at != ' ') { return false; }
    out->id = (uint32_t)id;
    const char *end = hex_value(at + 1, out->secret);
    return end && (*end == '\0' || *end == '\r');
}

static stoa_err insert(keys *list, const stoa_key *key, const char *path)
{
    if (list->count == STOA_KEYS_MAX) { return STOA_FAIL(STOA_E_INVALID, "%s: more than %d keys", path, STOA_KEYS_MAX); }
    uint32_t at = list->count;
    while (at > 0 && list->at[at - 1].id > key->id) {
        at--;
    }
    if (at > 0 && list->at[at - 1].id == key->id) {
        return STOA_FAIL(STOA_E_INVALID, "%s: key %" PRIu32 " is there twice", path, key->id);
    }
    memmove(&list->at[at + 1], &list->at[at], (list->count - at) * sizeof *list->at);
    list->at[at] = *key;
    list->count++;
    return STOA_OK;
}

/* text is changed. */
static stoa_err parse(char *text, const char *path, keys *out)
{
    char *rest = text;
    unsigned number = 0;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        number++;
        if (*line == '\0' || *line == '#' || *line == '\r') { continue; }
        stoa_key key;
        bool good = parse_key(line, &key);
        stoa_err err = good ? insert(out, &key, path)
                            : STOA_FAIL(STOA_E_INVALID, "%s:%u: expected: key ID and 64 hex digits", path, number);
        OPENSSL_cleanse(&key, sizeof key);
        if (err) { return err; }
    }
    return out->count ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "%s: there is no key in it", path);
}

/* What may be read of a secret file; text has room for FILE_BYTES_MAX + 1. */
static stoa_err check_file(int fd, const char *path)
{
    struct stat status;
    if (fstat(fd, &status) != 0) { return stoa_os_error("look at", path); }
    if (!S_ISREG(status.st_mode)) { return STOA_FAIL(STOA_E_INVALID, "%s is not a file", path); }
    if (status.st_mode & (S_IRWXG | S_IRWXO)) {
        return STOA_FAIL(STOA_E_DENIED, "%s is open to others (mode %04o): chmod 600 it", path, status.st_mode & 07777u);
    }
    if (status.st_size > FILE_BYTES_MAX) { return STOA_FAIL(STOA_E_INVALID, "%s is too long for a key file", path); }
    return STOA_OK;
}

static stoa_err read_text(const char *path, char *text, size_t *bytes_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        stoa_err err = errno == ENOENT ? STOA_E_NOT_FOUND : errno == EACCES ? STOA_E_DENIED : STOA_E_IO;
        return STOA_FAIL(err, "key file %s: %s", path, strerror(errno));
    }
    stoa_err err = check_file(fd, path);
    size_t used = 0;
    while (!err && used < FILE_BYTES_MAX) {
        ssize_t bytes = read(fd, text + used, FILE_BYTES_MAX - used);
        if (bytes < 0) { err = stoa_os_error("read", path); }
        if (bytes <= 0) { break; }
        used += (size_t)bytes;
    }
    (void)close(fd);
    if (!err && memchr(text, '\0', used)) { err = STOA_FAIL(STOA_E_INVALID, "%s is not a text", path); }
    text[used] = '\0';
    *bytes_out = used;
    return err;
}

static stoa_err load(const char *path, keys *out)
{
    static _Thread_local char text[FILE_BYTES_MAX + 1];
    size_t bytes;
    stoa_err err = read_text(path, text, &bytes);
    if (!err) { err = parse(text, path, out); }
    OPENSSL_cleanse(text, sizeof text);
    return err;
}

/* Whether the keys that are known are all there and the same, and the others have higher ids. */
static stoa_err compare(const stoa_keyring *ring, uint32_t known, const keys *found)
{
    for (uint32_t i = 0, k = 0; i < found->count; i++) {
        while (k < known && ring->keys[k].id < found->at[i].id) {
            k++;
        }
        if (k == known) { return STOA_OK; }
        if (ring->keys[k].id != found->at[i].id) {
            return STOA_FAIL(STOA_E_INVALID, "%s: new key %" PRIu32 " is not above key %" PRIu32, ring->path, found->at[i].id,
                             ring->keys[known - 1].id);
        }
        if (CRYPTO_memcmp(ring->keys[k].secret, found->at[i].secret, STOA_KEY_SECRET_BYTES) != 0) {
            return STOA_FAIL(STOA_E_INVALID, "%s: key %" PRIu32 " is another one than before", ring->path, found->at[i].id);
        }
    }
    return STOA_OK;
}

/* Keys that are gone from the file stay known until the ring is closed. */
static stoa_err take_new(stoa_keyring *ring, const keys *found)
{
    uint32_t known = atomic_load_explicit(&ring->count, memory_order_relaxed), count = known; /* relaxed: the lock is held */
    stoa_err err = compare(ring, known, found);
    if (err) { return err; }
    for (uint32_t i = 0; i < found->count; i++) {
        if (known > 0 && found->at[i].id <= ring->keys[known - 1].id) { continue; }
        if (count == STOA_KEYS_MAX) { return STOA_FAIL(STOA_E_INVALID, "%s: more than %d keys", ring->path, STOA_KEYS_MAX); }
        ring->keys[count++] = found->at[i];
    }
    atomic_store_explicit(&ring->count, count, memory_order_release); /* release: with the keys below it */
    return STOA_OK;
}

stoa_err stoa_keyring_reload(stoa_keyring *ring)
{
    keys found = {.count = 0};
    stoa_err err = load(ring->path, &found);
    (void)pthread_mutex_lock(&ring->lock);
    if (!err) { err = take_new(ring, &found); }
    (void)pthread_mutex_unlock(&ring->lock);
    OPENSSL_cleanse(&found, sizeof found);
    return err;
}

/* --- a new key */

static stoa_err write_all(int fd, const stoa_buf *text, const char *path)
{
    size_t used = 0;
    while (used < text->used_bytes) {
        ssize_t bytes = write(fd, text->at + used, text->used_bytes - used);
        if (bytes < 0) { return stoa_os_error("write", path); }
        used += (size_t)bytes;
    }
    return fsync(fd) == 0 ? STOA_OK : stoa_os_error("sync", path);
}

/* The file is there as a whole or as it was. */
static stoa_err replace_file(const char *path, const stoa_buf *text)
{
    char fresh[PATH_MAX];
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh) {
        return STOA_FAIL(STOA_E_INVALID, "key file: a path of %zu bytes", strlen(path));
    }
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) { return errno == EEXIST ? STOA_FAIL(STOA_E_EXISTS, "%s is in the way", fresh) : stoa_os_error("make", fresh); }
    stoa_err err = write_all(fd, text, fresh);
    (void)close(fd);
    if (!err && rename(fresh, path) != 0) { err = stoa_os_error("rename", fresh); }
    if (err) {
        (void)unlink(fresh);
        return err;
    }
    return stoa_folder_sync_parent(path);
}

static void print_key(stoa_buf *text, uint32_t id)
{
    uint8_t secret[STOA_KEY_SECRET_BYTES];
    stoa_random_system(secret, sizeof secret);
    stoa_buf_printf(text, "key %" PRIu32 " ", id);
    for (unsigned i = 0; i < sizeof secret; i++) {
        stoa_buf_printf(text, "%02x", secret[i]);
    }
    stoa_buf_puts(text, "\n");
    OPENSSL_cleanse(secret, sizeof secret);
}

stoa_err stoa_key_file_add(const char *path, uint32_t *id_out)
{
    static _Thread_local char old[FILE_BYTES_MAX + 1], storage[FILE_BYTES_MAX + 2 * HEX_DIGITS];
    keys there = {.count = 0};
    stoa_buf text = STOA_BUF_FIXED(storage);
    stoa_buf_clear(&text);
    size_t bytes = 0;
    stoa_err err = read_text(path, old, &bytes);
    if (err == STOA_E_NOT_FOUND) {
        err = STOA_OK;
        stoa_buf_puts(&text, "# Keys of stored data. The one with the highest id seals, all open; keep copies elsewhere.\n");
    } else if (!err) {
        stoa_buf_puts(&text, old);
        if (bytes && old[bytes - 1] != '\n') { stoa_buf_puts(&text, "\n"); }
        err = parse(old, path, &there);
    }
    uint32_t id = there.count ? there.at[there.count - 1].id + 1 : 1;
    if (!err && (there.count == STOA_KEYS_MAX || id == 0)) { err = STOA_FAIL(STOA_E_INVALID, "%s has no room for a key", path); }
    if (!err) { print_key(&text, id); }
    if (!err && text.cut) { err = STOA_FAIL(STOA_E_INVALID, "%s is too long for a key file", path); }
    if (!err) { err = replace_file(path, &text); }
    OPENSSL_cleanse(old, sizeof old);
    OPENSSL_cleanse(storage, sizeof storage);
    OPENSSL_cleanse(&there, sizeof there);
    if (!err) { *id_out = id; }
    return err;
}
