/* names.c - the node's names: "kind/key" to reference. Takes a lock: never per message.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/internal.h"

stoa_err stoa_names_init(stoa_names *names)
{
    names->buckets = calloc(STOA_NAME_BUCKETS, sizeof *names->buckets);
    if (!names->buckets) { return STOA_FAIL(STOA_E_NOMEM, "names"); }
    (void)pthread_mutex_init(&names->lock, NULL);
    return STOA_OK;
}

void stoa_names_deinit(stoa_names *names)
{
    if (!names->buckets) { return; }
    for (uint32_t i = 0; i < STOA_NAME_BUCKETS; i++) {
        while (names->buckets[i]) {
            stoa_name *name = names->buckets[i];
            names->buckets[i] = name->next;
            free(name);
        }
    }
    free(names->buckets);
    (void)pthread_mutex_destroy(&names->lock);
}

/* The link that points to the name, or to the end of its bucket. */
static stoa_name **locate(stoa_names *names, const char *text)
{
    stoa_name **at = &names->buckets[stoa_hash64(0, text, strlen(text)) % STOA_NAME_BUCKETS];
    while (*at && strcmp((*at)->text, text) != 0) { at = &(*at)->next; }
    return at;
}

stoa_err stoa_names_add(stoa_names *names, const char *text, stoa_ref ref)
{
    stoa_err err = STOA_OK;
    (void)pthread_mutex_lock(&names->lock);
    stoa_name **at = locate(names, text);
    if (*at) {
        err = STOA_E_EXISTS;
    } else {
        *at = calloc(1, sizeof **at);
        if (*at) {
            (*at)->ref = ref;
            (void)strncpy((*at)->text, text, STOA_NAME_MAX);
        } else {
            err = STOA_E_NOMEM;
        }
    }
    (void)pthread_mutex_unlock(&names->lock);
    return err;
}

void stoa_names_remove(stoa_names *names, const char *text)
{
    (void)pthread_mutex_lock(&names->lock);
    stoa_name **at = locate(names, text);
    if (*at) {
        stoa_name *gone = *at;
        *at = gone->next;
        free(gone);
    }
    (void)pthread_mutex_unlock(&names->lock);
}

stoa_ref stoa_names_find(stoa_names *names, const char *text)
{
    (void)pthread_mutex_lock(&names->lock);
    stoa_name *name = *locate(names, text);
    stoa_ref ref = name ? name->ref : STOA_REF_NONE;
    (void)pthread_mutex_unlock(&names->lock);
    return ref;
}
