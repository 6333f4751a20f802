/* key_change.c - new, allow, revoke, rotate, and what falls due. See key_list.h.
 *
 * A rotation writes the fresh pair as NAME.next, then the list, then renames NAME.next.key and NAME.next.pub to NAME's: whatever a
 * crash leaves, the row of the key of NAME.next.key says whether to go on or back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/key_list_inside.h"
#include "transport/z85.h"

/* A change under way. */
typedef struct change {
    const char *folder, *name;
    int lock;
    stoa_key_list list;
    uint64_t now_ns;
    stoa_key_change done;
} change;

/* --- paths, the lock */

stoa_err stoa_key_path(const char *folder, const char *name, const char *more, char out[PATH_MAX])
{
    int used = snprintf(out, PATH_MAX, "%s/%s%s", folder, name, more);
    return used > 0 && used < PATH_MAX ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "the path of the keys is longer than %d bytes", PATH_MAX - 1);
}

static int open_folder(const char *folder)
{
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static stoa_err folder_failed(const char *folder)
{
    stoa_err err = errno == ENOENT || errno == ENOTDIR ? STOA_E_NOT_FOUND : errno == EACCES ? STOA_E_DENIED : STOA_E_IO;
    return STOA_FAIL(err, "folder of keys %s: %s", folder, strerror(errno));
}

stoa_err stoa_key_folder_sync(const char *folder)
{
    int fd = open_folder(folder);
    bool synced = fd >= 0 && fsync(fd) == 0;
    stoa_err err = synced ? STOA_OK : folder_failed(folder);
    if (fd >= 0) { (void)close(fd); }
    return err;
}

static stoa_err settle(change *c, bool *changed_out);

static void end(change *c)
{
    stoa_key_list_free(&c->list);
    if (c->lock >= 0) { (void)close(c->lock); } /* and unlocked */
}

/* Lock, read, and do what is due; ended with end in any case. */
static stoa_err begin(change *c, const char *folder, const char *name, uint64_t now_ns)
{
    bool changed = false;
    *c = (change){.folder = folder, .name = name, .lock = -1, .now_ns = now_ns - now_ns % STOA_S(1)};
    if (name && !stoa_key_name_good(name)) { return STOA_FAIL(STOA_E_INVALID, "'%s': a name is of letters, digits, - and _, at most %d", name, STOA_KEY_NAME_MAX); }
    c->lock = open_folder(folder);
    if (c->lock < 0) { return folder_failed(folder); }
    while (flock(c->lock, LOCK_EX)) {
        if (errno != EINTR) { return folder_failed(folder); }
    }
    stoa_err err = stoa_key_list_read(folder, &c->list);
    if (!err) { err = settle(c, &changed); }
    return !err && changed ? stoa_key_list_write(folder, &c->list) : err;
}

static bool is_server(const change *c)
{
    return strcmp(c->name, STOA_KEY_SERVER) == 0;
}

/* --- rows */

static stoa_err full(const change *c)
{
    return STOA_FAIL(STOA_E_FULL, "the list has %u keys, and takes no more: take lines of names that are no more out of %s/allowed", c->list.count, c->folder);
}

static stoa_err add_row(change *c, const char *key, stoa_key_standing standing, uint64_t until_ns)
{
    if (c->list.count == STOA_KEY_ROWS_MAX + STOA_KEY_ROWS_KEPT) { return full(c); }
    stoa_key_row *row = &c->list.rows[c->list.count++];
    *row = (stoa_key_row){.standing = standing, .since_ns = c->now_ns, .until_ns = until_ns};
    (void)snprintf(row->name, sizeof row->name, "%s", c->name);
    (void)snprintf(row->key, sizeof row->key, "%s", key);
    return STOA_OK;
}

static stoa_key_row *row_of(change *c, const char *key)
{
    for (uint32_t i = 0; i < c->list.count; i++) {
        if (strcmp(c->list.rows[i].key, key) == 0 && (key[0] || strcmp(c->list.rows[i].name, c->name) == 0)) { return &c->list.rows[i]; }
    }
    return NULL;
}

static void remove_row(change *c, stoa_key_row *row)
{
    stoa_key_row *end_of_rows = c->list.rows + c->list.count--;
    memmove(row, row + 1, (size_t)(end_of_rows - row - 1) * sizeof *row);
}

/* The key of FOLDER/NAME.pub; false: there is none that can be read. */
static bool pub_of(const change *c, const char *name, const char *more, char key_out[STOA_KEY_TEXT_BYTES])
{
    char path[PATH_MAX];
    return !stoa_key_path(c->folder, name, more, path) && !stoa_key_load_public(path, key_out);
}

/* Whose NAME.pub has this key already, beside the change's own. */
static bool owner_by_file(const change *c, const char *key, char name_out[STOA_KEY_NAME_MAX + 1])
{
    bool found = false;
    DIR *folder = opendir(c->folder);
    for (const struct dirent *file; folder && !found && (file = readdir(folder)) != NULL;) {
        char name[STOA_KEY_NAME_MAX + 1], other[STOA_KEY_TEXT_BYTES];
        size_t length = strcspn(file->d_name, ".");
        if (length >= sizeof name || (strcmp(file->d_name + length, ".pub") != 0 && strcmp(file->d_name + length, ".next.pub") != 0)) { continue; }
        memcpy(name, file->d_name, length);
        name[length] = '\0';
        found = strcmp(name, c->name) != 0 && pub_of(c, file->d_name, "", other) && strcmp(other, key) == 0;
        if (found) { memcpy(name_out, name, sizeof name); }
    }
    if (folder) { (void)closedir(folder); }
    return found;
}

/* Whose secret half it is, as far as the public one is known here. */
static bool is_secret(change *c, const char *key, char name_out[STOA_KEY_NAME_MAX + 1])
{
    char half[STOA_KEY_TEXT_BYTES], own[STOA_KEY_TEXT_BYTES];
    if (!stoa_key_derive(key, half)) { return false; }
    const stoa_key_row *row = row_of(c, half);
    bool mine = pub_of(c, c->name, ".pub", own) && strcmp(own, half) == 0;
    if (row || mine) { (void)snprintf(name_out, STOA_KEY_NAME_MAX + 1, "%s", row ? row->name : c->name); }
    return row || mine || owner_by_file(c, half, name_out);
}

/* A key may be let in as the change's name. */
static stoa_err check_key(change *c, const char *key)
{
    uint8_t bytes[STOA_Z85_KEY_BYTES];
    char owner[STOA_KEY_NAME_MAX + 1];
    if (!stoa_z85_decode(key, bytes)) { return STOA_FAIL(STOA_E_INVALID, "that is not a public key: 40 characters of Z85"); }
    if (is_secret(c, key, owner)) { return STOA_FAIL(STOA_E_INVALID, "that is the secret half of a key of %s, which stays where it is: give the public one", owner); }
    const stoa_key_row *row = row_of(c, key);
    if (row && strcmp(row->name, c->name) != 0) { return STOA_FAIL(STOA_E_EXISTS, "this key is %s's", row->name); }
    if (row && row->standing == STOA_KEY_REVOKED) { return STOA_FAIL(STOA_E_DENIED, "this key was revoked, and does not come back: make another one"); }
    return owner_by_file(c, key, owner) ? STOA_FAIL(STOA_E_EXISTS, "this key is %s's", owner) : STOA_OK;
}

/* --- pairs */

static stoa_err move(const change *c, const char *name, const char *from, const char *to)
{
    char old_path[PATH_MAX], new_path[PATH_MAX];
    stoa_err err = stoa_key_path(c->folder, name, from, old_path);
    if (!err) { err = stoa_key_path(c->folder, name, to, new_path); }
    if (err || rename(old_path, new_path) == 0 || errno == ENOENT) { return err; }
    return STOA_FAIL(STOA_E_IO, "%s: %s", new_path, strerror(errno));
}

static void erase(const change *c, const char *name, const char *more)
{
    char path[PATH_MAX];
    if (!stoa_key_path(c->folder, name, more, path)) { (void)unlink(path); }
}

static void erase_pair(const change *c)
{
    erase(c, c->name, ".key");
    erase(c, c->name, ".pub");
}

static stoa_err take_over(const change *c, const char *name)
{
    stoa_err err = move(c, name, ".next.key", ".key");
    if (!err) { err = move(c, name, ".next.pub", ".pub"); }
    return err ? err : stoa_key_folder_sync(c->folder);
}

/* A fresh pair as FOLDER/NAME and what follows. */
static stoa_err make_pair(change *c, const char *more)
{
    char path[PATH_MAX];
    stoa_key_pair pair;
    stoa_err err = stoa_key_path(c->folder, c->name, more, path);
    if (!err) { err = stoa_key_new(&pair); }
    if (err) { return err; }
    memcpy(c->done.key, pair.public_key, sizeof c->done.key);
    err = stoa_key_save(path, &pair);
    explicit_bzero(&pair, sizeof pair);
    return err ? err : stoa_key_folder_sync(c->folder);
}

static bool pair_of(const change *c, const char *name, const char *more, char key_out[STOA_KEY_TEXT_BYTES])
{
    char path[PATH_MAX];
    stoa_key_pair pair;
    if (stoa_key_path(c->folder, name, more, path) || stoa_key_load(path, &pair)) { return false; }
    memcpy(key_out, pair.public_key, STOA_KEY_TEXT_BYTES);
    explicit_bzero(&pair, sizeof pair);
    return true;
}

/* --- what is due */

/* A pair that was on its way. The node's waits for its time; one without a row was never announced. */
static stoa_err settle_pair(change *c, const char *name)
{
    char key[STOA_KEY_TEXT_BYTES];
    if (!pair_of(c, name, ".next", key)) { return STOA_OK; }
    stoa_key_row *row = row_of(c, key);
    if (!row) {
        erase(c, name, ".next.key");
        erase(c, name, ".next.pub");
        return STOA_OK;
    }
    return row->standing == STOA_KEY_NEXT && row->until_ns > c->now_ns ? STOA_OK : take_over(c, name);
}

/* Where only the public half was left to be renamed. */
static stoa_err settle_half(change *c, const char *name)
{
    char key[STOA_KEY_TEXT_BYTES], own[STOA_KEY_TEXT_BYTES], path[PATH_MAX];
    stoa_err err = stoa_key_path(c->folder, name, ".next.key", path);
    if (err || access(path, F_OK) == 0 || !pub_of(c, name, ".next.pub", key)) { return err; }
    if (pair_of(c, name, "", own) && strcmp(own, key) == 0) { return take_over(c, name); }
    erase(c, name, ".next.pub");
    return STOA_OK;
}

static stoa_err settle_files(change *c)
{
    char name[STOA_KEY_NAME_MAX + 1];
    stoa_err err = STOA_OK;
    DIR *folder = opendir(c->folder);
    for (const struct dirent *file; folder && !err && (file = readdir(folder)) != NULL;) {
        size_t length = strcspn(file->d_name, ".");
        bool half = strcmp(file->d_name + length, ".next.pub") == 0;
        if (length == 0 || length >= sizeof name || (!half && strcmp(file->d_name + length, ".next.key") != 0)) { continue; }
        memcpy(name, file->d_name, length);
        name[length] = '\0';
        err = half ? settle_half(c, name) : settle_pair(c, name);
    }
    if (folder) { (void)closedir(folder); }
    return err;
}

static stoa_err settle(change *c, bool *changed_out)
{
    char key[STOA_KEY_TEXT_BYTES] = "";
    stoa_err err = settle_files(c);
    (void)(err || pair_of(c, STOA_KEY_SERVER, ".next", key));
    for (uint32_t i = 0; i < c->list.count && !err;) {
        stoa_key_row *row = &c->list.rows[i];
        if (row->standing == STOA_KEY_NEXT && strcmp(row->key, key) != 0) { /* it has taken over, or its pair is gone */
            remove_row(c, row);
            *changed_out = true;
            continue;
        }
        if (row->standing == STOA_KEY_ALLOWED && row->until_ns && row->until_ns <= c->now_ns) {
            row->standing = STOA_KEY_REVOKED;
            *changed_out = true;
        }
        i++;
    }
    return err;
}

stoa_err stoa_keys_settle(const char *folder, uint64_t now_ns, uint64_t *next_ns_out)
{
    change c;
    stoa_err err = begin(&c, folder, NULL, now_ns);
    if (!err) { *next_ns_out = UINT64_MAX; }
    for (uint32_t i = 0; i < c.list.count && !err; i++) {
        const stoa_key_row *row = &c.list.rows[i];
        bool waits = row->standing != STOA_KEY_REVOKED && row->until_ns;
        if (waits && row->until_ns < *next_ns_out) { *next_ns_out = row->until_ns; }
    }
    end(&c);
    return err;
}

/* --- allow, new */

/* The key of the name's file, the one elsewhere or NAME.pub; false: there is none that lets it in now. */
static bool key_by_file(const change *c, const char *file_key, char key_out[STOA_KEY_TEXT_BYTES])
{
    if (file_key) { memcpy(key_out, file_key, STOA_KEY_TEXT_BYTES); }
    return (file_key || pub_of(c, c->name, ".pub", key_out)) && stoa_key_file_lets(&c->list, c->name, key_out);
}

/* How many keys let the name in now. */
static uint32_t keys_now(const change *c, const char *file_key)
{
    char key[STOA_KEY_TEXT_BYTES];
    uint32_t count = key_by_file(c, file_key, key);
    for (uint32_t i = 0; i < c->list.count; i++) { count += stoa_key_row_lets(&c->list.rows[i], c->name, c->now_ns); }
    return count;
}

/* For one key more in the list, and of the name; no_more: the name has no more of them than before. */
static stoa_err room(const change *c, const char *file_key, bool no_more)
{
    if (c->list.count >= STOA_KEY_ROWS_MAX) { return full(c); }
    if (no_more || keys_now(c, file_key) < STOA_KEYS_PER_NAME) { return STOA_OK; }
    return STOA_FAIL(STOA_E_FULL, "%s has %d keys already: end one that is of no use any more (key revoke %s KEY), or wait until the old ones end", c->name,
                     STOA_KEYS_PER_NAME, c->name);
}

static stoa_err not_server(const change *c, const char *what)
{
    return is_server(c) ? STOA_FAIL(STOA_E_INVALID, "server is the node's own key: it cannot be %s, only rotated", what) : STOA_OK;
}

static stoa_err let_in(change *c, const char *key, const char *file_key)
{
    char by_file[STOA_KEY_TEXT_BYTES];
    stoa_err err = not_server(c, "let in");
    if (!err) { err = check_key(c, key); }
    if (err) { return err; }
    memcpy(c->done.key, key, strlen(key) + 1);
    stoa_key_row *row = row_of(c, key);
    if (row) {
        row->until_ns = 0;
    } else {
        err = room(c, file_key, key_by_file(c, file_key, by_file) && strcmp(by_file, key) == 0);
        if (!err) { err = add_row(c, key, STOA_KEY_ALLOWED, 0); }
    }
    return err ? err : stoa_key_list_write(c->folder, &c->list);
}

/* It was let in as somebody else by mistake: its row goes. What a file says is not taken back by a word. */
static stoa_err take_back(change *c, const char *key, const char *from)
{
    char owner[STOA_KEY_NAME_MAX + 1];
    stoa_key_row *row = row_of(c, key);
    if (strcmp(from, c->name) == 0) { return STOA_FAIL(STOA_E_INVALID, "--from is another name than the one it is let in as"); }
    if (!row || !key[0] || strcmp(row->name, from) != 0) { return STOA_FAIL(STOA_E_NOT_FOUND, "this key was never let in as %s", from); }
    if (row->standing == STOA_KEY_NEXT) { return not_server(c, "let in as somebody else"); }
    if (owner_by_file(c, key, owner)) { return STOA_FAIL(STOA_E_EXISTS, "this key is %s's: it is in %s.pub", owner, owner); }
    remove_row(c, row);
    return STOA_OK;
}

stoa_err stoa_keys_allow(const char *folder, const char *name, const char *key, const char *from, const char *file_key, uint64_t now_ns,
                         stoa_key_change *out)
{
    change c;
    stoa_err err = begin(&c, folder, name, now_ns);
    if (!err && from) { err = take_back(&c, key, from); }
    if (!err) { err = let_in(&c, key, file_key); }
    if (!err) { *out = c.done; }
    end(&c);
    return err;
}

/* The name gets in by rows alone, so its fresh pair has one. */
static stoa_err let_in_pair(change *c)
{
    stoa_err err = add_row(c, c->done.key, STOA_KEY_ALLOWED, 0);
    if (!err) { err = stoa_key_list_write(c->folder, &c->list); }
    if (err) { erase_pair(c); }
    return err;
}

static stoa_err make_new(change *c)
{
    char key[STOA_KEY_TEXT_BYTES];
    bool by_rows = row_of(c, "") != NULL, pair = pair_of(c, c->name, "", key);
    const stoa_key_row *row = pair ? row_of(c, key) : NULL;
    bool useless = row && row->standing == STOA_KEY_REVOKED;
    if (pair && by_rows && !row) {
        return STOA_FAIL(STOA_E_EXISTS, "%s has a pair in %s that is not let in: key allow %s %s/%s.pub", c->name, c->folder, c->name, c->folder, c->name);
    }
    stoa_err err = by_rows && (!pair || useless) ? room(c, NULL, false) : STOA_OK;
    if (err) { return err; }
    if (useless) { erase_pair(c); }
    err = make_pair(c, "");
    if (err != STOA_E_EXISTS) { return !err && by_rows ? let_in_pair(c) : err; }
    return STOA_FAIL(err, "%s has a pair in %s: key rotate %s makes another one", c->name, c->folder, c->name);
}

stoa_err stoa_keys_new(const char *folder, const char *name, uint64_t now_ns, stoa_key_change *out)
{
    change c;
    stoa_err err = begin(&c, folder, name, now_ns);
    if (!err) { err = make_new(&c); }
    if (!err) { *out = c.done; }
    end(&c);
    return err;
}

/* --- revoke, rotate */

/* A key ends: revoked now, or allowed until then. */
static void end_row(change *c, stoa_key_row *row, uint64_t until_ns)
{
    stoa_key_change *done = &c->done;
    if (row->until_ns > until_ns && row->until_ns > done->sooner_ns) { done->sooner_ns = row->until_ns; }
    if (!until_ns || !row->until_ns || row->until_ns > until_ns) { row->until_ns = until_ns ? until_ns : c->now_ns; }
    if (!until_ns) { row->standing = STOA_KEY_REVOKED; }
    if (done->old_count < STOA_KEYS_ENDED_SHOWN) { memcpy(done->old[done->old_count], row->key, sizeof row->key); }
    done->old_count++;
}

/* Since when a key without a row has been the name's: as old as NAME.pub where it is that one. */
static uint64_t since_of(const change *c, const char *key)
{
    char own[STOA_KEY_TEXT_BYTES], path[PATH_MAX];
    struct stat found;
    bool is_file = pub_of(c, c->name, ".pub", own) && strcmp(own, key) == 0 && !stoa_key_path(c->folder, c->name, ".pub", path) &&
                   !stat(path, &found) && found.st_mtim.tv_sec > 0;
    uint64_t made_ns = is_file ? STOA_S((uint64_t)found.st_mtim.tv_sec) : c->now_ns;
    return made_ns < c->now_ns ? made_ns : c->now_ns;
}

/* What ends has a row, the key of the file as well. */
static stoa_err add_file_row(change *c, const char *file_key)
{
    char key[STOA_KEY_TEXT_BYTES];
    if (!key_by_file(c, file_key, key)) { return STOA_OK; }
    stoa_err err = add_row(c, key, STOA_KEY_ALLOWED, 0);
    if (!err) { c->list.rows[c->list.count - 1].since_ns = since_of(c, key); }
    return err;
}

/* All keys that the name has end, however many. */
static stoa_err end_keys(change *c, const char *file_key, uint64_t until_ns)
{
    stoa_err err = add_file_row(c, file_key);
    for (uint32_t i = 0; i < c->list.count && !err; i++) {
        if (stoa_key_row_lets(&c->list.rows[i], c->name, c->now_ns)) { end_row(c, &c->list.rows[i], until_ns); }
    }
    return err;
}

static stoa_err revoke_all(change *c, const char *file_key, bool plan)
{
    stoa_err err = not_server(c, "revoked");
    if (err) { return err; }
    bool known = stoa_key_list_knows(&c->list, c->name);
    err = end_keys(c, file_key, 0);
    if (err) { return err; }
    if (!known && !c->done.old_count) { return STOA_FAIL(STOA_E_NOT_FOUND, "there is no key of %s in %s", c->name, c->folder); }
    if (!row_of(c, "")) { err = add_row(c, "", STOA_KEY_REVOKED, 0); }
    return err || plan ? err : stoa_key_list_write(c->folder, &c->list);
}

/* One key, where there is another to get in by. */
static stoa_err revoke_one(change *c, const char *key, const char *file_key, bool plan)
{
    char by_file[STOA_KEY_TEXT_BYTES];
    bool is_file = key_by_file(c, file_key, by_file) && strcmp(by_file, key) == 0;
    stoa_err err = is_file ? add_file_row(c, file_key) : STOA_OK;
    if (err) { return err; }
    stoa_key_row *row = row_of(c, key);
    if (!row || !stoa_key_row_lets(row, c->name, c->now_ns)) { return STOA_FAIL(STOA_E_NOT_FOUND, "%s does not get in by this key", c->name); }
    if (keys_now(c, file_key) == 1) { return STOA_FAIL(STOA_E_INVALID, "this is the only key of %s: key revoke %s, if it is to be let in no more", c->name, c->name); }
    end_row(c, row, 0);
    return plan ? STOA_OK : stoa_key_list_write(c->folder, &c->list);
}

stoa_err stoa_keys_revoke(const char *folder, const char *name, const char *key, const char *file_key, uint64_t now_ns, bool plan,
                          stoa_key_change *out)
{
    change c;
    stoa_err err = begin(&c, folder, name, now_ns);
    if (!err) { err = key && !is_server(&c) ? revoke_one(&c, key, file_key, plan) : revoke_all(&c, file_key, plan); }
    if (!err) { *out = c.done; }
    end(&c);
    return err;
}

/* The node's own: announced, or another time for what is announced. */
static stoa_err rotate_server(change *c, uint64_t until_ns, bool plan)
{
    stoa_key_row *row = NULL;
    for (uint32_t i = 0; i < c->list.count && !row; i++) {
        if (c->list.rows[i].standing == STOA_KEY_NEXT) { row = &c->list.rows[i]; }
    }
    if (!pair_of(c, c->name, "", c->done.old[0])) { return STOA_FAIL(STOA_E_NOT_FOUND, "the node's own pair %s/server.key is not there, or not good", c->folder); }
    c->done.old_count = 1;
    if (row) { memcpy(c->done.key, row->key, sizeof c->done.key); }
    if (plan) { return STOA_OK; }
    stoa_err err = row ? STOA_OK : make_pair(c, ".next");
    if (!err && !row) { err = add_row(c, c->done.key, STOA_KEY_NEXT, 0); }
    if (err) { return err; }
    row = row ? row : &c->list.rows[c->list.count - 1];
    row->until_ns = until_ns ? until_ns : c->now_ns;
    err = stoa_key_list_write(c->folder, &c->list);
    if (err || until_ns) { return err; }
    err = take_over(c, c->name);
    remove_row(c, row);
    return err ? err : stoa_key_list_write(c->folder, &c->list);
}

static stoa_err rotate_given(change *c, const char *key, const char *file_key, uint64_t until_ns, bool plan)
{
    stoa_err err = check_key(c, key);
    if (err) { return err; }
    if (row_of(c, key) || (file_key && strcmp(file_key, key) == 0)) { return STOA_FAIL(STOA_E_EXISTS, "%s has this key already", c->name); }
    err = room(c, file_key, !until_ns);
    if (!err) { err = end_keys(c, file_key, until_ns); }
    if (!err && !c->done.old_count) { err = STOA_FAIL(STOA_E_NOT_FOUND, "%s has no key that could be replaced: key allow", c->name); }
    if (!err) { err = add_row(c, key, STOA_KEY_ALLOWED, 0); }
    (void)snprintf(c->done.key, sizeof c->done.key, "%s", key);
    return err || plan ? err : stoa_key_list_write(c->folder, &c->list);
}

static stoa_err rotate_pair(change *c, const char *file_key, uint64_t until_ns, bool plan)
{
    char key[STOA_KEY_TEXT_BYTES];
    if (!pair_of(c, c->name, "", key)) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "the secret half of %s's key is not in %s: make a pair where it is used, and give its public half here", c->name, c->folder);
    }
    stoa_err err = room(c, file_key, !until_ns);
    if (!err) { err = end_keys(c, file_key, until_ns); }
    if (err || plan) { return err; }
    err = make_pair(c, ".next");
    if (!err) { err = add_row(c, c->done.key, STOA_KEY_ALLOWED, 0); }
    if (!err) { err = stoa_key_list_write(c->folder, &c->list); }
    return err ? err : take_over(c, c->name);
}

static stoa_err rotate_any(change *c, const char *key, const char *file_key, uint64_t until_ns, bool plan)
{
    c->done.until_ns = until_ns;
    if (is_server(c)) {
        return key ? STOA_FAIL(STOA_E_INVALID, "the node's own key is made here, and not given") : rotate_server(c, until_ns, plan);
    }
    if (row_of(c, "") && !keys_now(c, file_key)) { return STOA_FAIL(STOA_E_DENIED, "%s was revoked: let a new key in with key allow", c->name); }
    return key ? rotate_given(c, key, file_key, until_ns, plan) : rotate_pair(c, file_key, until_ns, plan);
}

stoa_err stoa_keys_rotate(const char *folder, const char *name, const char *key, const char *file_key, uint64_t overlap_ns,
                          uint64_t now_ns, bool plan, stoa_key_change *out)
{
    change c;
    stoa_err err = begin(&c, folder, name, now_ns);
    uint64_t until_ns = overlap_ns ? c.now_ns + (overlap_ns + STOA_S(1) - 1) / STOA_S(1) * STOA_S(1) : 0;
    if (!err) { err = rotate_any(&c, key, file_key, until_ns, plan); }
    if (!err) { *out = c.done; }
    end(&c);
    return err;
}
