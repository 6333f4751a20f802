/* keys.c - the node's keys. See keys.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/keys.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "admin/key.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/clients.h"
#include "node/link_check.h"
#include "node/links.h"
#include "node/ports/gateway.h"

enum { LOOK_MS = 1000, USERS_MAX = STOA_SETTINGS_CLIENTS + 256 };

struct stoa_node_keys {
    stoa_platform *platform;
    char folder[STOA_PATH_MAX + 16], list_path[STOA_PATH_MAX + 32];
    stoa_key_pair own;
    stoa_key_list list;
    struct stat seen;     /* the list's file, when it was read */
    uint64_t due_ns;      /* UTC */
    stoa_key_user users[USERS_MAX];
    char link_nodes[STOA_SETTINGS_LINKS][sizeof(((stoa_settings_link *)0)->nodes)]; /* names of users */
    uint32_t user_count;
    pthread_mutex_t busy; /* of all of these, once the thread runs */

    pthread_t thread;
    bool threaded, stop, rung;
    pthread_mutex_t lock; /* of stop, rung */
    pthread_cond_t bell;
};

static uint64_t utc_ns(void)
{
    return stoa_clock_real.wall_ns(&stoa_clock_real);
}

/* --- what is on the disk */

static void note_seen(stoa_node_keys *k)
{
    if (stat(k->list_path, &k->seen)) { k->seen = (struct stat){0}; }
}

static bool differs(const stoa_node_keys *k)
{
    struct stat now;
    if (stat(k->list_path, &now)) { return k->seen.st_ino != 0; }
    return now.st_ino != k->seen.st_ino || now.st_size != k->seen.st_size || now.st_mtim.tv_sec != k->seen.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != k->seen.st_mtim.tv_nsec || now.st_mode != k->seen.st_mode;
}

static stoa_err read_list(stoa_node_keys *k, stoa_key_list *out)
{
    uint64_t due_ns = 0;
    stoa_err err = stoa_keys_settle(k->folder, utc_ns(), &due_ns);
    if (!err) {
        k->due_ns = due_ns;
        note_seen(k);
        err = stoa_key_list_read(k->folder, out);
    }
    return err;
}

static stoa_err load_own(const stoa_node_keys *k, stoa_key_pair *out)
{
    char path[STOA_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/%s", k->folder, STOA_KEY_SERVER);
    return stoa_key_have(path, out);
}

static void have_list(stoa_node_keys *k, stoa_key_list *list)
{
    stoa_key_list_free(&k->list);
    k->list = *list;
}

/* Another pair of its own has taken over. */
static stoa_err apply_own(stoa_node_keys *k)
{
    stoa_key_pair own;
    char print[STOA_KEY_PRINT_BYTES];
    stoa_err err = load_own(k, &own);
    if (!err && strcmp(own.public_key, k->own.public_key) != 0) {
        k->own = own;
        stoa_key_print(own.public_key, print);
        stoa_log(STOA_LOG_INFO, "server_key_rotated", STOA_KV("fingerprint", print));
        if (k->platform->gateway) { stoa_gateway_rekey(k->platform->gateway, own.secret_key); }
    }
    explicit_bzero(&own, sizeof own);
    return err;
}

static stoa_err apply(stoa_node_keys *k)
{
    stoa_key_list list;
    stoa_err err = read_list(k, &list);
    if (err) { return err; }
    err = stoa_clients_allow(k->platform, &list);
    if (err) {
        stoa_key_list_free(&list);
        return err;
    }
    have_list(k, &list);
    stoa_log(STOA_LOG_INFO, "keys_read", STOA_KU("rows", k->list.count));
    err = apply_own(k);
    stoa_node_links_keys(k->platform->links, &k->own, &k->list);
    return err;
}

stoa_err stoa_node_keys_apply(stoa_node_keys *k)
{
    (void)pthread_mutex_lock(&k->busy);
    stoa_err err = apply(k);
    (void)pthread_mutex_unlock(&k->busy);
    return err;
}

/* --- the thread */

static void look(stoa_node_keys *k)
{
    (void)pthread_mutex_lock(&k->busy);
    if (differs(k) || utc_ns() >= k->due_ns) {
        stoa_err err = apply(k);
        if (err) {
            stoa_log_error("keys_refused", err);
            note_seen(k); /* once for each list */
            k->due_ns = utc_ns() + STOA_S(60);
        }
    }
    (void)pthread_mutex_unlock(&k->busy);
}

/* Until it is time for the next look, or somebody rings. Whether the node goes on. */
static bool rest(stoa_node_keys *k, const struct timespec *until, bool *regular_out)
{
    (void)pthread_mutex_lock(&k->lock);
    int waited = 0;
    while (!k->stop && !k->rung && waited != ETIMEDOUT) { waited = pthread_cond_timedwait(&k->bell, &k->lock, until); }
    bool goes_on = !k->stop;
    *regular_out = waited == ETIMEDOUT;
    k->rung = false;
    (void)pthread_mutex_unlock(&k->lock);
    return goes_on;
}

static void *run(void *context)
{
    stoa_node_keys *k = context;
    bool regular = true;
    stoa_links_look_up(&k->platform->settings); /* here nobody waits for it */
    for (struct timespec until;;) {
        if (regular) {
            (void)clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += LOOK_MS / 1000;
        }
        if (!rest(k, &until, &regular)) { return NULL; }
        if (regular) { look(k); }
        stoa_node_links_look(k->platform->links, regular);
    }
}

void stoa_node_keys_ring(stoa_node_keys *k)
{
    if (!k) { return; }
    (void)pthread_mutex_lock(&k->lock);
    k->rung = true;
    (void)pthread_cond_signal(&k->bell);
    (void)pthread_mutex_unlock(&k->lock);
}

static stoa_err start_thread(stoa_node_keys *k)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&k->thread, NULL, run, k);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) { return STOA_FAIL(STOA_E_IO, "the keys' thread: %s", strerror(failed)); }
    (void)pthread_setname_np(k->thread, "stoa-keys");
    k->threaded = true;
    return STOA_OK;
}

/* --- life */

static void find_users(stoa_node_keys *k)
{
    const stoa_settings *s = &k->platform->settings;
    for (uint32_t i = 0; i < s->client_count; i++) {
        const stoa_settings_client *client = &s->clients[i];
        k->users[k->user_count++] = (stoa_key_user){.name = client->name, .use = "client", .file = client->key[0] ? client->key : NULL};
    }
    for (uint32_t i = 0; i < s->link_count; i++) {
        char *rest = k->link_nodes[i];
        memcpy(rest, s->links[i].nodes, sizeof k->link_nodes[i]);
        for (char *name = strtok_r(NULL, ", ", &rest); name && k->user_count < USERS_MAX; name = strtok_r(NULL, ", ", &rest)) {
            k->users[k->user_count++] = (stoa_key_user){.name = name, .use = "link", .file = s->links[i].key[0] ? s->links[i].key : NULL};
        }
    }
}

stoa_err stoa_node_keys_open(stoa_platform *p, stoa_node_keys **out)
{
    pthread_condattr_t monotonic;
    stoa_node_keys *k = calloc(1, sizeof *k);
    if (!k) { return STOA_FAIL(STOA_E_NOMEM, "keys"); }
    k->platform = p;
    (void)snprintf(k->folder, sizeof k->folder, "%s/keys", p->settings.data);
    (void)snprintf(k->list_path, sizeof k->list_path, "%s/allowed", k->folder);
    (void)pthread_mutex_init(&k->busy, NULL);
    (void)pthread_mutex_init(&k->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&k->bell, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    find_users(k);
    stoa_err err = read_list(k, &k->list);
    if (!err) { err = load_own(k, &k->own); }
    if (err) {
        stoa_node_keys_close(k);
        return err;
    }
    *out = k;
    return STOA_OK;
}

stoa_err stoa_node_keys_start(stoa_node_keys *k)
{
    stoa_node_links_await(k->platform);
    stoa_err err = stoa_clients_open(k->platform, &k->own, &k->list, &k->platform->gateway);
    if (!err) { err = stoa_node_links_open(k->platform, &k->own, &k->list, &k->platform->links); }
    return err ? err : start_thread(k);
}

void stoa_node_keys_stop(stoa_node_keys *k)
{
    if (!k || !k->threaded) { return; }
    (void)pthread_mutex_lock(&k->lock);
    k->stop = true;
    (void)pthread_cond_signal(&k->bell);
    (void)pthread_mutex_unlock(&k->lock);
    (void)pthread_join(k->thread, NULL);
    k->threaded = false;
}

void stoa_node_keys_close(stoa_node_keys *k)
{
    if (!k) { return; }
    stoa_node_keys_stop(k);
    stoa_key_list_free(&k->list);
    (void)pthread_mutex_destroy(&k->busy);
    (void)pthread_mutex_destroy(&k->lock);
    (void)pthread_cond_destroy(&k->bell);
    explicit_bzero(&k->own, sizeof k->own);
    free(k);
}

/* --- commands */

stoa_err stoa_node_keys_command(stoa_node_keys *k, stoa_door_call *call)
{
    bool changed = false;
    stoa_key_place place = {.folder = k->folder, .users = k->users, .user_count = k->user_count, .now_ns = utc_ns()};
    stoa_err err = stoa_key_command_run(&place, &call->said, &call->document, &call->view, &changed);
    if (err || !changed) { return err; }
    err = stoa_node_keys_apply(k);
    return err ? STOA_FAIL(err, "the keys are on the disk, but the node goes on with those it had: its log says why (keys_refused)") : STOA_OK;
}

void stoa_node_keys_visit(stoa_node_keys *k, void (*visit)(void *context, const char *name), void *context)
{
    (void)pthread_mutex_lock(&k->busy);
    for (uint32_t i = 0; i < k->user_count; i++) { visit(context, k->users[i].name); }
    for (uint32_t i = 0; i < k->list.count; i++) {
        uint32_t first = 0;
        while (strcmp(k->list.rows[first].name, k->list.rows[i].name) != 0) { first++; }
        bool known = first < i;
        for (uint32_t u = 0; u < k->user_count; u++) { known = known || strcmp(k->users[u].name, k->list.rows[i].name) == 0; }
        if (!known) { visit(context, k->list.rows[i].name); }
    }
    (void)pthread_mutex_unlock(&k->busy);
    visit(context, STOA_KEY_SERVER);
}
