/* names.c - the node's names: "kind/key" to reference, and of which node those are that cannot be reached for now. Takes a lock: never per
 * message.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/internal.h"
#include "runtime/stand.h"

enum { CHAINS_FIRST = 1024 };

typedef struct name {
    stoa_link link; /* first; by text */
    stoa_ref ref; /* NONE: absent */
    char *of;     /* the node that it is absent with, or will be when it is removed; NULL: it goes */
    char text[];
} name;

stoa_err stoa_names_init(stoa_names *names)
{
    stoa_err err = stoa_chains_init(&names->chains, CHAINS_FIRST);
    if (!err) { (void)pthread_mutex_init(&names->lock, NULL); }
    return err;
}

void stoa_names_deinit(stoa_names *names)
{
    if (!names->chains.at) { return; }
    for (uint32_t i = 0; i < names->chains.size; i++) {
        while (names->chains.at[i]) {
            stoa_link *link = names->chains.at[i];
            names->chains.at[i] = link->next;
            free(((name *)link)->of);
            free(link);
        }
    }
    stoa_chains_deinit(&names->chains);
    (void)pthread_mutex_destroy(&names->lock);
}

static uint64_t hash_of(const char *text)
{
    return stoa_hash64(0, text, strlen(text));
}

static name *find(const stoa_names *names, const char *text, uint64_t hash)
{
    stoa_link *link = stoa_chains_first(&names->chains, hash);
    while (link && (link->hash != hash || strcmp(((name *)link)->text, text) != 0)) { link = link->next; }
    return (name *)link;
}

static void changed(stoa_names *names)
{
    atomic_fetch_add_explicit(&names->changes, 1, memory_order_relaxed);
    if (names->watcher) { stoa_place_ring_bell(names->watcher); }
}

static void keep_not(stoa_names *names, name *kept)
{
    if (!kept->of) { return; }
    names->kept--;
    free(kept->of);
    kept->of = NULL;
}

static stoa_err add(stoa_names *names, const char *text, stoa_ref ref)
{
    uint64_t hash = hash_of(text);
    name *there = find(names, text, hash);
    if (there && there->ref.at) { return STOA_E_EXISTS; }
    if (there) {
        keep_not(names, there);
        there->ref = ref;
        changed(names);
        return STOA_OK;
    }
    size_t len = strlen(text);
    name *added = malloc(sizeof *added + len + 1);
    if (!added) { return STOA_E_NOMEM; }
    added->ref = ref;
    added->of = NULL;
    memcpy(added->text, text, len + 1);
    stoa_chains_add(&names->chains, &added->link, hash);
    changed(names);
    return STOA_OK;
}

stoa_err stoa_names_add(stoa_names *names, const char *text, stoa_ref ref)
{
    (void)pthread_mutex_lock(&names->lock);
    stoa_err err = add(names, text, ref);
    (void)pthread_mutex_unlock(&names->lock);
    return err;
}

static void forget(stoa_names *names, name *gone)
{
    keep_not(names, gone);
    stoa_chains_remove(&names->chains, &gone->link);
    free(gone);
}

void stoa_names_remove(stoa_names *names, const char *text)
{
    (void)pthread_mutex_lock(&names->lock);
    name *gone = find(names, text, hash_of(text));
    if (gone && gone->ref.at) {
        gone->ref = STOA_REF_NONE;
        if (!gone->of) { forget(names, gone); }
        changed(names);
    }
    (void)pthread_mutex_unlock(&names->lock);
}

void stoa_names_move(stoa_names *names, const char *text, stoa_ref ref)
{
    (void)pthread_mutex_lock(&names->lock);
    name *moved = find(names, text, hash_of(text));
    if (moved && moved->ref.at) {
        moved->ref = ref;
        changed(names);
    }
    (void)pthread_mutex_unlock(&names->lock);
}

stoa_ref stoa_names_find(stoa_names *names, const char *text)
{
    (void)pthread_mutex_lock(&names->lock);
    const name *found = find(names, text, hash_of(text));
    stoa_ref ref = found ? found->ref : STOA_REF_NONE;
    (void)pthread_mutex_unlock(&names->lock);
    return ref;
}

bool stoa_names_of(stoa_names *names, stoa_ref ref, char *text)
{
    const name *found = NULL;
    (void)pthread_mutex_lock(&names->lock);
    for (uint32_t i = 0; i < names->chains.size && !found; i++) {
        const stoa_link *link = names->chains.at[i];
        while (link && !stoa_ref_equal(((const name *)link)->ref, ref)) { link = link->next; }
        found = (const name *)link;
    }
    if (found) {
        (void)strncpy(text, found->text, STOA_NAME_MAX);
        text[STOA_NAME_MAX] = '\0';
    }
    (void)pthread_mutex_unlock(&names->lock);
    return found != NULL;
}

uint64_t stoa_names_changes(stoa_node *node)
{
    return atomic_load_explicit(&node->names.changes, memory_order_relaxed);
}

void stoa_names_watch(stoa_node *node, stoa_port *port)
{
    (void)pthread_mutex_lock(&node->names.lock);
    node->names.watcher = port ? &port->place : NULL;
    (void)pthread_mutex_unlock(&node->names.lock);
    (void)pthread_mutex_lock(&node->topics.lock);
    node->topics.watcher = port ? &port->place : NULL;
    (void)pthread_mutex_unlock(&node->topics.lock);
}

void stoa_names_each(stoa_node *node, void (*visit)(void *context, const char *name, stoa_ref ref), void *context)
{
    stoa_names *names = &node->names;
    (void)pthread_mutex_lock(&names->lock);
    for (uint32_t i = 0; i < names->chains.size; i++) {
        for (stoa_link *link = names->chains.at[i]; link; link = link->next) {
            const name *at = (const name *)link;
            if (at->ref.at) { visit(context, at->text, at->ref); }
        }
    }
    (void)pthread_mutex_unlock(&names->lock);
}

/* --- of actors that cannot be reached */

void stoa_names_keep(stoa_node *node, const char *text, const char *of)
{
    stoa_names *names = &node->names;
    (void)pthread_mutex_lock(&names->lock);
    name *kept = find(names, text, hash_of(text));
    if (kept && !kept->of && names->kept < STOA_ABSENT_MAX) {
        kept->of = strdup(of);
        names->kept += kept->of != NULL;
    }
    (void)pthread_mutex_unlock(&names->lock);
}

void stoa_names_forget(stoa_node *node, const char *of)
{
    stoa_names *names = &node->names;
    (void)pthread_mutex_lock(&names->lock);
    for (uint32_t i = 0; names->kept && i < names->chains.size; i++) {
        for (stoa_link *link = names->chains.at[i], *next; link; link = next) {
            name *at = (name *)link;
            next = link->next;
            if (!at->ref.at && strcmp(at->of, of) == 0) { forget(names, at); }
        }
    }
    (void)pthread_mutex_unlock(&names->lock);
}

void stoa_names_await(stoa_node *node, const char *nodes, const stoa_kind *const *kinds)
{
    stoa_names *names = &node->names;
    (void)pthread_mutex_lock(&names->lock);
    (void)snprintf(names->awaited, sizeof names->awaited, "%s", nodes);
    names->awaited_kinds = kinds;
    (void)pthread_mutex_unlock(&names->lock);
}

static bool may_come(const stoa_names *names, const char *text)
{
    const stoa_kind *const *kind = names->awaited_kinds;
    size_t bytes = strcspn(text, "/");
    if (!names->awaited[0] || !kind) { return names->awaited[0]; }
    while (*kind && (strncmp((*kind)->name, text, bytes) != 0 || (*kind)->name[bytes])) { kind++; }
    return *kind;
}

stoa_ref stoa_find_or_absent(stoa_node *node, const char *text, stoa_absence *out)
{
    stoa_names *names = &node->names;
    (void)pthread_mutex_lock(&names->lock);
    const name *found = find(names, text, hash_of(text));
    stoa_ref ref = found ? found->ref : STOA_REF_NONE;
    out->unmet = !found && may_come(names, text);
    (void)snprintf(out->of, sizeof out->of, "%s", out->unmet ? names->awaited : found && !ref.at ? found->of : "");
    (void)pthread_mutex_unlock(&names->lock);
    return ref;
}
