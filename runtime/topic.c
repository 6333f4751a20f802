/* topic.c - topics and who hears them.
 *
 * Publishing reads one word (which places have subscribers) and per place one immutable list. Subscribing is rare: it takes
 * the lock, builds new lists for every topic that the pattern matches and puts them in place; a replaced list may still be in
 * a reader's hands and is freed with the node.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "runtime/internal.h"

stoa_err stoa_topics_init(stoa_topics_table *topics)
{
    memset(topics, 0, sizeof *topics);
    (void)pthread_mutex_init(&topics->lock, NULL);
    return STOA_OK;
}

void stoa_topics_deinit(stoa_topics_table *topics)
{
    while (topics->head) {
        stoa_topic *topic = topics->head;
        topics->head = topic->next;
        for (uint32_t i = 0; i < STOA_PLACES_MAX; i++) { free(atomic_load(&topic->at[i])); }
        free(topic);
    }
    for (uint32_t i = 0; i < topics->retired_count; i++) { free(topics->retired[i]); }
    free(topics->retired);
    free(topics->subscriptions);
    (void)pthread_mutex_destroy(&topics->lock);
}

static size_t segment(const char *text)
{
    return strcspn(text, ".");
}

stoa_err stoa_topic_check(const char *text, bool pattern)
{
    if (strlen(text) > STOA_NAME_MAX) { return STOA_FAIL(STOA_E_INVALID, "topic longer than %d", STOA_NAME_MAX); }
    for (const char *at = text;; at++) {
        size_t len = segment(at);
        bool last = at[len] == '\0';
        bool wild = len == 1 && (*at == '*' || *at == '>');
        if (len == 0) { return STOA_FAIL(STOA_E_INVALID, "topic '%s' has an empty segment", text); }
        if (wild && !pattern) { return STOA_FAIL(STOA_E_INVALID, "topic '%s' has a wildcard", text); }
        if (len == 1 && *at == '>' && !last) { return STOA_FAIL(STOA_E_INVALID, "'>' is not last in '%s'", text); }
        if (last) { return STOA_OK; }
        at += len;
    }
}

bool stoa_topic_matches(const char *pattern, const char *name)
{
    for (;;) {
        size_t p = segment(pattern), n = segment(name);
        if (p == 1 && *pattern == '>') { return true; }
        bool any = p == 1 && *pattern == '*';
        if (!any && (p != n || memcmp(pattern, name, p) != 0)) { return false; }
        pattern += p;
        name += n;
        if (!*pattern || !*name) { return !*pattern && !*name; }
        pattern++;
        name++;
    }
}

static void retire(stoa_topics_table *topics, stoa_subscribers *list)
{
    if (!list) { return; }
    if (topics->retired_count == topics->retired_cap) {
        uint32_t cap = topics->retired_cap ? topics->retired_cap * 2 : 64;
        stoa_subscribers **retired = realloc(topics->retired, cap * sizeof *retired);
        if (!retired) { return; } /* the list is lost until the process ends, not dangling */
        topics->retired = retired;
        topics->retired_cap = cap;
    }
    topics->retired[topics->retired_count++] = list;
}

/* Put together anew who hears topic at place. Under the lock. */
static stoa_err rebuild(stoa_topics_table *topics, stoa_topic *topic, uint32_t place)
{
    stoa_subscribers *list = malloc(sizeof *list + topics->subscription_count * sizeof(stoa_ref));
    if (!list) { return STOA_E_NOMEM; }
    list->count = 0;
    for (uint32_t i = 0; i < topics->subscription_count; i++) {
        const stoa_subscription *s = &topics->subscriptions[i];
        if (stoa_ref_place(s->who) != place || !stoa_topic_matches(s->pattern, topic->name)) { continue; }
        bool twice = false;
        for (uint32_t k = 0; k < list->count && !twice; k++) { twice = stoa_ref_equal(list->at[k], s->who); }
        if (!twice) { list->at[list->count++] = s->who; }
    }
    uint64_t bit = UINT64_C(1) << place;
    if (list->count == 0) {
        free(list);
        list = NULL;
        atomic_fetch_and(&topic->places, ~bit);
    }
    retire(topics, atomic_exchange_explicit(&topic->at[place], list, memory_order_acq_rel));
    if (list) { atomic_fetch_or(&topic->places, bit); }
    return STOA_OK;
}

static stoa_err open_locked(stoa_node *node, const char *name, stoa_topic **out)
{
    stoa_topics_table *topics = &node->topics;
    for (stoa_topic *topic = topics->head; topic; topic = topic->next) {
        if (strcmp(topic->name, name) == 0) {
            *out = topic;
            return STOA_OK;
        }
    }
    if (topics->count == STOA_TOPICS_MAX) { return STOA_FAIL(STOA_E_FULL, "%d topics", STOA_TOPICS_MAX); }
    stoa_topic *topic = calloc(1, sizeof *topic);
    if (!topic) { return STOA_FAIL(STOA_E_NOMEM, "topic %s", name); }
    (void)strncpy(topic->name, name, STOA_NAME_MAX);
    for (uint32_t place = 0; place < stoa_node_places(node); place++) {
        stoa_err err = rebuild(topics, topic, place);
        if (err) {
            free(topic);
            return err;
        }
    }
    topic->next = topics->head;
    topics->head = topic;
    topics->count++;
    *out = topic;
    return STOA_OK;
}

stoa_err stoa_topics_open(stoa_node *node, const char *name, stoa_topic **out)
{
    stoa_err err = stoa_topic_check(name, false);
    if (err) { return err; }
    (void)pthread_mutex_lock(&node->topics.lock);
    err = open_locked(node, name, out);
    (void)pthread_mutex_unlock(&node->topics.lock);
    return err;
}

static stoa_err rebuild_matching(stoa_topics_table *topics, const char *pattern, uint32_t place)
{
    stoa_err err = STOA_OK;
    for (stoa_topic *topic = topics->head; topic && !err; topic = topic->next) {
        if (!pattern || stoa_topic_matches(pattern, topic->name)) { err = rebuild(topics, topic, place); }
    }
    return err;
}

static stoa_err subscribe_locked(stoa_topics_table *topics, const char *pattern, stoa_ref who)
{
    if (topics->subscription_count == STOA_SUBSCRIPTIONS_MAX) { return STOA_FAIL(STOA_E_FULL, "subscriptions"); }
    if (topics->subscription_count == topics->subscription_cap) {
        uint32_t cap = topics->subscription_cap ? topics->subscription_cap * 2 : 64;
        stoa_subscription *at = realloc(topics->subscriptions, cap * sizeof *at);
        if (!at) { return STOA_FAIL(STOA_E_NOMEM, "subscriptions"); }
        topics->subscriptions = at;
        topics->subscription_cap = cap;
    }
    stoa_subscription *s = &topics->subscriptions[topics->subscription_count++];
    memset(s, 0, sizeof *s);
    (void)strncpy(s->pattern, pattern, STOA_NAME_MAX);
    s->who = who;
    return rebuild_matching(topics, pattern, stoa_ref_place(who));
}

stoa_err stoa_topics_subscribe(stoa_node *node, const char *pattern, stoa_ref who)
{
    stoa_err err = stoa_topic_check(pattern, true);
    if (err) { return err; }
    (void)pthread_mutex_lock(&node->topics.lock);
    err = subscribe_locked(&node->topics, pattern, who);
    (void)pthread_mutex_unlock(&node->topics.lock);
    return err;
}

void stoa_topics_unsubscribe(stoa_node *node, const char *pattern, stoa_ref who)
{
    stoa_topics_table *topics = &node->topics;
    (void)pthread_mutex_lock(&topics->lock);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < topics->subscription_count; i++) {
        stoa_subscription *s = &topics->subscriptions[i];
        bool gone = stoa_ref_equal(s->who, who) && (!pattern || strcmp(s->pattern, pattern) == 0);
        if (!gone) { topics->subscriptions[kept++] = *s; }
    }
    bool changed = kept != topics->subscription_count;
    topics->subscription_count = kept;
    if (changed) { (void)rebuild_matching(topics, pattern, stoa_ref_place(who)); }
    (void)pthread_mutex_unlock(&topics->lock);
}
