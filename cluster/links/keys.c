/* links/keys.c - which keys a link lets in, or is dialled with, and what happens when they change. See cluster/links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "cluster/links/inside.h"

enum { ROUNDS_AT_ONCE = 2 };

static uint32_t keys_of(const stoa_links *l, const char *name, const char *named, const stoa_key_list *list,
                        char keys_out[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES])
{
    char path[PATH_MAX + STOA_NODE_NAME_BYTES + 8], key[STOA_KEY_TEXT_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s.pub", l->folder, name);
    bool there = stoa_key_load_public(named[0] ? named : path, key) == STOA_OK;
    return stoa_key_list_keys(list, name, there ? key : NULL, stoa_clock_real.wall_ns(&stoa_clock_real), keys_out);
}

/* Visit the names of a link's nodes, with commas or blanks between. */
static char *next_name(char **rest)
{
    return strtok_r(NULL, ", ", rest);
}

/* NULL: no other name has this key. */
static const stoa_link_allowed *other_with_key(const stoa_link_allowed *of, const stoa_link_allowed *allowed, uint32_t count)
{
    for (const stoa_link_allowed *other = allowed; other < allowed + count; other++) {
        if (strcmp(other->public_key, of->public_key) == 0 && strcmp(other->name, of->name) != 0) { return other; }
    }
    return NULL;
}

static bool has_row(const stoa_link_allowed *row, const stoa_link_allowed *allowed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(allowed[i].public_key, row->public_key) == 0 && strcmp(allowed[i].name, row->name) == 0) { return true; }
    }
    return false;
}

static uint64_t hash_of(uint64_t hash, const stoa_link_allowed *row)
{
    hash = stoa_hash64(hash, row->name, strlen(row->name));
    return stoa_hash64(hash, row->public_key, strlen(row->public_key));
}

/* A key of several names proves none of them: nobody gets in by it, and the rest of the list counts. Said when it is news. */
static uint32_t drop_ambiguous(stoa_links_line *at, stoa_link_allowed *allowed, uint32_t count)
{
    const stoa_link_allowed *other[STOA_LINKS_ALLOWED];
    uint64_t before = at->ambiguous;
    uint32_t kept = 0;
    at->ambiguous = 0;
    for (uint32_t i = 0; i < count; i++) {
        other[i] = other_with_key(&allowed[i], allowed, count);
        if (other[i]) { at->ambiguous = hash_of(at->ambiguous, &allowed[i]); }
    }
    for (uint32_t i = 0; i < count && at->ambiguous != before; i++) {
        if (!other[i]) { continue; }
        stoa_log(STOA_LOG_WARN, "link_key_ambiguous", STOA_KV("link", at->name), STOA_KV("node", allowed[i].name), STOA_KV("other", other[i]->name));
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!other[i] && !has_row(&allowed[i], allowed, kept)) { allowed[kept++] = allowed[i]; }
    }
    return kept;
}

/* Of which nodes no key is known; said when it is news. */
static void note_keyless(stoa_links_line *at, const char *const *names, uint32_t count)
{
    uint64_t before = at->keyless;
    at->keyless = 0;
    for (uint32_t i = 0; i < count; i++) { at->keyless = stoa_hash64(at->keyless, names[i], strlen(names[i]) + 1); }
    for (uint32_t i = 0; i < count && at->keyless != before; i++) {
        stoa_log(STOA_LOG_WARN, "link_without_key", STOA_KV("link", at->name), STOA_KV("node", names[i]));
    }
}

/* Who gets in by which key, each key once. */
static uint32_t allowed_of(const stoa_links *l, stoa_links_line *at, const stoa_key_list *list, stoa_link_allowed *allowed)
{
    char names[sizeof at->nodes], *rest = names, keys[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES];
    const char *keyless[STOA_LINKS_NODES_A_LINK];
    uint32_t count = 0, keyless_count = 0;
    memcpy(names, at->nodes, sizeof names);
    for (char *name = next_name(&rest); name; name = next_name(&rest)) {
        uint32_t key_count = keys_of(l, name, at->key, list, keys);
        if (!key_count && keyless_count < STOA_LINKS_NODES_A_LINK) { keyless[keyless_count++] = name; }
        for (uint32_t i = 0; i < key_count && count < STOA_LINKS_ALLOWED; i++, count++) {
            (void)snprintf(allowed[count].name, sizeof allowed[count].name, "%s", name);
            memcpy(allowed[count].public_key, keys[i], sizeof allowed[count].public_key);
        }
    }
    note_keyless(at, keyless, keyless_count);
    return drop_ambiguous(at, allowed, count);
}

/* A key that nobody has: who has none that is known is not met. */
static void nobodys_key(char key[STOA_KEY_TEXT_BYTES])
{
    stoa_key_pair pair;
    (void)stoa_key_new(&pair);
    memcpy(key, pair.public_key, STOA_KEY_TEXT_BYTES);
    explicit_bzero(&pair, sizeof pair);
}

/* From here on so many rounds of its keys may be tried without a pause. */
static void may_try(stoa_links_line *at, uint32_t rounds)
{
    at->tried = 0;
    at->tries_left = rounds * at->key_count;
}

/* Find the keys of who a line dials; whether they are others than before. */
static bool find_keys(const stoa_links *l, stoa_links_line *at, const stoa_key_list *list)
{
    char keys[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES] = {{0}};
    uint32_t count = keys_of(l, at->nodes, at->key, list, keys);
    if (count == at->key_count && memcmp(keys, at->keys, sizeof keys) == 0) { return false; }
    memcpy(at->keys, keys, sizeof keys);
    at->key_count = count;
    at->key_at = count ? count - 1 : 0; /* the newest */
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(at->keys[i], at->in_use) == 0) { at->key_at = i; }
    }
    may_try(at, ROUNDS_AT_ONCE);
    return true;
}

static void say_keyless(const stoa_links_line *at)
{
    if (!at->key_count) { stoa_log(STOA_LOG_WARN, "link_without_key", STOA_KV("link", at->name), STOA_KV("node", at->nodes)); }
}

void stoa_links_line_find_keys(stoa_links *l, stoa_links_line *at, const stoa_key_list *list)
{
    (void)find_keys(l, at, list);
    say_keyless(at);
}

/* Whether they are others than before. */
static bool lets_in_others(stoa_links_line *at, const stoa_link_allowed *allowed, uint32_t count)
{
    uint64_t hash = count, before = at->allowed;
    for (uint32_t i = 0; i < count; i++) { hash = hash_of(hash, &allowed[i]); }
    at->allowed = hash;
    return hash != before;
}

stoa_link_options stoa_links_line_options(stoa_links *l, stoa_links_line *at, const stoa_key_list *list, stoa_link_allowed *allowed)
{
    stoa_link_options o = {.listen = at->listens, .fenced = at->fenced, .trusted = at->trusted};
    if (!at->keyed) { return o; }
    o.secret_key = l->own.secret_key;
    o.public_key = l->own.public_key;
    if (o.listen) {
        o.allowed = allowed;
        o.allowed_count = list ? allowed_of(l, at, list, allowed) : 0;
        (void)lets_in_others(at, allowed, o.allowed_count);
        return o;
    }
    if (at->key_count) {
        memcpy(at->in_use, at->keys[at->key_at], sizeof at->in_use);
    } else {
        nobodys_key(at->in_use);
    }
    o.server_key = at->in_use;
    return o;
}

static void reopen(stoa_links *l, uint32_t index, const stoa_link_options *options)
{
    const stoa_links_line *at = &l->lines[index];
    stoa_err err = stoa_remote_reopen(l->remote, index, options, !at->listens && !at->key_count);
    if (err) { stoa_log_error("link_reopen_failed", err); }
}

static bool still_has(const stoa_links_line *at)
{
    for (uint32_t i = 0; i < at->key_count; i++) {
        if (strcmp(at->keys[i], at->in_use) == 0) { return true; }
    }
    return false;
}

static void keys_changed(stoa_links *l, uint32_t index, bool own, const stoa_key_list *list, stoa_link_allowed *allowed)
{
    stoa_links_line *at = &l->lines[index];
    if (!at->keyed) { return; }
    bool others = !at->listens && find_keys(l, at, list);
    if (others) { say_keyless(at); }
    if (own || others) { stoa_links_line_say_anew(l, at); }
    if (own || (others && !still_has(at))) {
        may_try(at, ROUNDS_AT_ONCE);
        stoa_link_options options = stoa_links_line_options(l, at, list, allowed);
        reopen(l, index, &options);
    } else if (at->listens) {
        uint32_t count = allowed_of(l, at, list, allowed);
        if (lets_in_others(at, allowed, count)) { stoa_links_line_say_anew(l, at); }
        stoa_err err = stoa_remote_allow(l->remote, index, allowed, count);
        if (err) { stoa_log_error("link_keys_refused", err); }
    }
}

void stoa_links_keys(stoa_links *l, const stoa_key_pair *own, const stoa_key_list *list)
{
    if (!l) { return; }
    stoa_link_allowed *allowed = calloc(STOA_LINKS_ALLOWED, sizeof *allowed);
    if (!allowed) { return; }
    (void)pthread_mutex_lock(&l->busy);
    bool other = strcmp(l->own.public_key, own->public_key) != 0;
    l->own = *own;
    for (uint32_t i = 0; i < l->line_count; i++) { keys_changed(l, i, other, list, allowed); }
    (void)pthread_mutex_unlock(&l->busy);
    free(allowed);
}

typedef struct refusals {
    uint64_t count[STOA_REMOTE_LINKS];
    stoa_err why[STOA_REMOTE_LINKS];
    bool up[STOA_REMOTE_LINKS];
} refusals;

static void count_refusals(void *context, const stoa_remote_link_view *view)
{
    refusals *r = context;
    r->count[view->index] = view->strangers.link_refused;
    r->why[view->index] = view->strangers.link_why;
    r->up[view->index] = view->counts.ups > view->counts.downs;
}

/* The newest key of those that were not tried in this round; a round over, the next one begins. */
static void next_key(stoa_links_line *at)
{
    uint32_t all = (1U << at->key_count) - 1, i = at->key_count - 1;
    at->tried |= 1U << at->key_at;
    if (at->tried == all) { at->tried = 1U << at->key_at; }
    while (at->tried & 1U << i) { i--; }
    at->key_at = i;
    at->tries_left--;
}

/* Whether it is to be dialled with another key. */
static bool was_refused(stoa_links_line *at, const refusals *now, uint32_t index, bool regular)
{
    bool several = !at->listens && at->key_count > 1, denied = now->count[index] > at->refused && now->why[index] == STOA_E_DENIED;
    if (!several) { return false; }
    if (regular && at->tries_left < at->key_count) { at->tries_left = at->key_count; }
    if (now->up[index]) { may_try(at, ROUNDS_AT_ONCE); }
    if (now->up[index] || !denied) { at->refused = now->count[index]; }
    return denied && !now->up[index] && at->tries_left > 0;
}

void stoa_links_try(stoa_links *l, bool regular)
{
    refusals now = {0}, then = {0};
    uint32_t others = 0;
    if (!l) { return; }
    stoa_remote_links(l->remote, count_refusals, &now);
    (void)pthread_mutex_lock(&l->busy);
    for (uint32_t i = 0; i < l->line_count; i++) {
        if (!was_refused(&l->lines[i], &now, i, regular)) { continue; }
        next_key(&l->lines[i]);
        stoa_link_options options = stoa_links_line_options(l, &l->lines[i], NULL, NULL);
        reopen(l, i, &options);
        others |= 1U << i;
    }
    if (others) { stoa_remote_links(l->remote, count_refusals, &then); }
    for (uint32_t i = 0; i < l->line_count; i++) {
        if (others & 1U << i) { l->lines[i].refused = then.count[i]; } /* what the key before was refused is over */
    }
    (void)pthread_mutex_unlock(&l->busy);
}
