/* topic.c - topics, and who subscribes to them. See topic.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/internal.h"

/* Topics that a new one looks at, to forget those that nobody uses. */
enum { LOOK_AT = 8, LOOK_AT_WHEN_FULL = 4096 };

/* --- names and patterns */

static size_t segment(const char *text)
{
    return strcspn(text, ".");
}

stoa_err stoa_topic_check(const char *text, bool pattern)
{
    if (strlen(text) > STOA_NAME_MAX) { return STOA_FAIL(STOA_E_INVALID, "topic longer than %d", STOA_NAME_MAX); }
    if (strpbrk(text, " \t\n\r\f")) { return STOA_FAIL(STOA_E_INVALID, "topic '%s' has white space", text); }
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

/* --- life */

stoa_err stoa_topics_init(stoa_topics_table *topics)
{
    memset(topics, 0, sizeof *topics);
    topics->hand = &topics->head;
    (void)pthread_mutex_init(&topics->lock, NULL);
    stoa_reclaim_init(&topics->reclaim);
    stoa_err err = stoa_words_init(&topics->words);
    if (!err) { err = stoa_chains_init(&topics->subscriptions, 256); }
    if (!err) { err = stoa_chains_init(&topics->owners, 256); }
    return err;
}

static void free_links(stoa_chains *chains)
{
    for (uint32_t i = 0; i < chains->size; i++) {
        while (chains->at[i]) {
            stoa_link *link = chains->at[i];
            chains->at[i] = link->next;
            free(link);
        }
    }
    stoa_chains_deinit(chains);
}

static void topic_free(stoa_topics_table *topics, stoa_topic *topic)
{
    stoa_audience *members = atomic_load_explicit(&topic->members, memory_order_relaxed);
    if (members) { stoa_audience_free(&topics->reclaim, members); }
    stoa_reclaim_free(&topics->reclaim, atomic_load_explicit(&topic->audiences, memory_order_relaxed));
    free(topic);
}

void stoa_topics_deinit(stoa_topics_table *topics)
{
    while (topics->head) {
        stoa_topic *topic = topics->head;
        topics->head = topic->next;
        topic_free(topics, topic);
    }
    for (uint32_t i = 0; i < topics->words.chains.size; i++) {
        for (stoa_link *link = topics->words.chains.at[i]; link; link = link->next) {
            stoa_audience *audience = ((stoa_word *)link)->audience;
            if (audience) { stoa_audience_free(&topics->reclaim, audience); }
        }
    }
    stoa_words_deinit(&topics->words);
    free_links(&topics->subscriptions);
    free_links(&topics->owners);
    stoa_reclaim_deinit(&topics->reclaim);
    (void)pthread_mutex_destroy(&topics->lock);
}

/* --- which audiences hear a topic; under the lock, as all below */

static stoa_audiences *list_with_hole(stoa_topics_table *topics, stoa_topic *topic)
{
    stoa_audiences *old = atomic_load_explicit(&topic->audiences, memory_order_relaxed);
    uint32_t used = old ? atomic_load_explicit(&old->used, memory_order_relaxed) : 0;
    if (old && used < old->cap) { return old; }
    uint32_t cap = old ? used * 2 : 1;
    stoa_audiences *list = stoa_reclaim_new(&topics->reclaim, sizeof *list + cap * sizeof list->at[0]);
    if (!list) { return NULL; }
    list->cap = cap;
    for (uint32_t i = 0; i < used; i++) {
        atomic_store_explicit(&list->at[i], atomic_load_explicit(&old->at[i], memory_order_relaxed), memory_order_relaxed);
    }
    atomic_store_explicit(&list->used, used, memory_order_relaxed);
    atomic_store_explicit(&topic->audiences, list, memory_order_release); /* release: it is complete */
    stoa_reclaim_retire(&topics->reclaim, old);
    return list;
}

static stoa_err link_audience(stoa_topics_table *topics, stoa_topic *topic, stoa_audience *audience)
{
    stoa_audiences *list = atomic_load_explicit(&topic->audiences, memory_order_relaxed);
    uint32_t used = list ? atomic_load_explicit(&list->used, memory_order_relaxed) : 0;
    uint32_t at = 0;
    while (at < used && atomic_load_explicit(&list->at[at], memory_order_relaxed)) { at++; }
    if (at == used) { list = list_with_hole(topics, topic); }
    if (!list) { return STOA_FAIL(STOA_E_NOMEM, "topic %s", topic->name); }
    /* release: the audience is complete, and then the list */
    atomic_store_explicit(&list->at[at], audience, memory_order_release);
    if (at == used) { atomic_store_explicit(&list->used, used + 1, memory_order_release); }
    return STOA_OK;
}

/* Nothing happens where it is not linked. */
static void unlink_audience(stoa_topics_table *topics, stoa_topic *topic, const stoa_audience *audience)
{
    stoa_audiences *list = atomic_load_explicit(&topic->audiences, memory_order_relaxed);
    uint32_t used = list ? atomic_load_explicit(&list->used, memory_order_relaxed) : 0, left = 0;
    for (uint32_t i = 0; i < used; i++) {
        if (atomic_load_explicit(&list->at[i], memory_order_relaxed) == audience) {
            atomic_store_explicit(&list->at[i], NULL, memory_order_relaxed);
        }
        left += atomic_load_explicit(&list->at[i], memory_order_relaxed) != NULL;
    }
    if (used && !left) {
        atomic_store_explicit(&topic->audiences, NULL, memory_order_relaxed);
        stoa_reclaim_retire(&topics->reclaim, list);
    }
}

typedef struct linking {
    stoa_topics_table *topics;
    stoa_topic *topic;
    stoa_audience *audience;
} linking;

static stoa_err link_word_audience(void *context, stoa_word *word)
{
    linking *l = context;
    return link_audience(l->topics, l->topic, word->audience);
}

static stoa_err link_word_topic(void *context, stoa_word *word)
{
    linking *l = context;
    return link_audience(l->topics, word->topic, l->audience);
}

static stoa_err unlink_word_topic(void *context, stoa_word *word)
{
    linking *l = context;
    unlink_audience(l->topics, word->topic, l->audience);
    return STOA_OK;
}

/* --- topics */

static bool is_idle(stoa_topic *topic)
{
    /* acquire: what messages read of it came before */
    return !topic->binds && !atomic_load_explicit(&topic->members, memory_order_relaxed) &&
           !atomic_load_explicit(&topic->flying, memory_order_acquire);
}

/* Nobody finds it any more: it is in no slot, no message and, now, no word. */
static void forget(stoa_topics_table *topics, stoa_topic *topic)
{
    topic->word->topic = NULL;
    stoa_words_prune(&topics->words, topic->word);
    topics->count--;
    topic_free(topics, topic);
}

/* Look at so many of those there are, going round. */
static void forget_idle(stoa_topics_table *topics, uint32_t look)
{
    while (look-- && topics->head) {
        stoa_topic *topic = *topics->hand;
        if (!topic) {
            topics->hand = &topics->head;
        } else if (is_idle(topic)) {
            *topics->hand = topic->next;
            forget(topics, topic);
        } else {
            topics->hand = &topic->next;
        }
    }
}

static stoa_err topic_new(stoa_topics_table *topics, const char *name, stoa_topic **out)
{
    forget_idle(topics, topics->count < STOA_TOPICS_MAX ? LOOK_AT : LOOK_AT_WHEN_FULL);
    if (topics->count == STOA_TOPICS_MAX) { return STOA_FAIL(STOA_E_FULL, "%d topics", STOA_TOPICS_MAX); }
    stoa_word *word = stoa_words_make(&topics->words, name);
    stoa_topic *topic = calloc(1, sizeof *topic);
    stoa_err err = word && topic ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "topic %s", name);
    linking l = {.topics = topics, .topic = topic};
    if (!err) {
        memcpy(topic->name, name, strlen(name) + 1);
        err = stoa_words_audiences(&topics->words, name, link_word_audience, &l);
    }
    if (err) {
        if (topic) { topic_free(topics, topic); }
        if (word) { stoa_words_prune(&topics->words, word); }
        return err;
    }
    word->topic = topic;
    topic->word = word;
    topic->next = topics->head;
    topics->head = topic;
    topics->count++;
    *out = topic;
    return STOA_OK;
}

static stoa_err open_locked(stoa_topics_table *topics, const char *name, stoa_topic **out)
{
    stoa_word *word = stoa_words_find(&topics->words, name);
    if (!word || !word->topic) { return topic_new(topics, name, out); }
    *out = word->topic;
    return STOA_OK;
}

stoa_err stoa_topics_open(stoa_node *node, const char *name, stoa_topic **out)
{
    stoa_err err = stoa_topic_check(name, false);
    if (err) { return err; }
    (void)pthread_mutex_lock(&node->topics.lock);
    err = open_locked(&node->topics, name, out);
    if (!err) { (*out)->binds++; }
    (void)pthread_mutex_unlock(&node->topics.lock);
    return err;
}

void stoa_topics_unbind(stoa_node *node, stoa_topic *topic)
{
    if (!topic) { return; }
    (void)pthread_mutex_lock(&node->topics.lock);
    topic->binds--;
    (void)pthread_mutex_unlock(&node->topics.lock);
}

/* --- audiences */

static void audience_end(stoa_topics_table *topics, stoa_audience *audience)
{
    stoa_word *word = audience->word;
    linking l = {.topics = topics, .audience = audience};
    if (audience->members) {
        atomic_store_explicit(&word->topic->members, NULL, memory_order_relaxed);
        unlink_audience(topics, word->topic, audience);
    } else {
        word->audience = NULL;
        (void)stoa_words_topics(&topics->words, audience->pattern, unlink_word_topic, &l);
    }
    stoa_reclaim_retire(&topics->reclaim, audience); /* it has no list any more */
    stoa_words_prune(&topics->words, word);
}

/* An error prunes word. */
static stoa_err audience_new(stoa_topics_table *topics, const stoa_wish *wish, stoa_word *word, stoa_audience **out)
{
    bool room = stoa_reclaim_room(&topics->reclaim);
    stoa_audience *audience = room ? stoa_reclaim_new(&topics->reclaim, sizeof *audience) : NULL;
    if (!audience) {
        stoa_words_prune(&topics->words, word);
        return STOA_FAIL(room ? STOA_E_NOMEM : STOA_E_FULL, "pattern %s", wish->pattern);
    }
    audience->word = word;
    audience->members = wish->members;
    memcpy(audience->pattern, wish->pattern, strlen(wish->pattern) + 1);
    linking l = {.topics = topics, .audience = audience};
    stoa_err err;
    if (wish->members) {
        err = link_audience(topics, word->topic, audience);
        /* release: the audience is complete */
        if (!err) { atomic_store_explicit(&word->topic->members, audience, memory_order_release); }
    } else {
        word->audience = audience;
        err = stoa_words_topics(&topics->words, wish->pattern, link_word_topic, &l);
    }
    if (err) {
        audience_end(topics, audience);
        return err;
    }
    *out = audience;
    return STOA_OK;
}

static stoa_audience *audience_of(const stoa_word *word, bool members)
{
    if (!members) { return word->audience; }
    return word->topic ? atomic_load_explicit(&word->topic->members, memory_order_relaxed) : NULL;
}

/* --- subscriptions */

static uint64_t hash_of(stoa_ref who, const stoa_audience *audience)
{
    return stoa_mix64(who.at + stoa_mix64((uint64_t)(uintptr_t)audience));
}

static stoa_subscription *find(stoa_topics_table *topics, stoa_ref who, const stoa_audience *audience)
{
    stoa_link *link = stoa_chains_first(&topics->subscriptions, hash_of(who, audience));
    for (; link; link = link->next) {
        stoa_subscription *s = (stoa_subscription *)link;
        if (stoa_ref_equal(s->who, who) && s->audience == audience) { return s; }
    }
    return NULL;
}

static stoa_owner *owner_find(stoa_topics_table *topics, stoa_ref who)
{
    stoa_link *link = stoa_chains_first(&topics->owners, stoa_mix64(who.at));
    while (link && !stoa_ref_equal(((stoa_owner *)link)->who, who)) { link = link->next; }
    return (stoa_owner *)link;
}

static stoa_owner *owner_make(stoa_topics_table *topics, stoa_ref who)
{
    stoa_owner *owner = owner_find(topics, who);
    if (owner) { return owner; }
    owner = calloc(1, sizeof *owner);
    if (!owner) { return NULL; }
    owner->who = who;
    stoa_chains_add(&topics->owners, &owner->link, stoa_mix64(who.at));
    return owner;
}

static void owner_prune(stoa_topics_table *topics, stoa_owner *owner)
{
    if (!owner || owner->first) { return; }
    stoa_chains_remove(&topics->owners, &owner->link);
    free(owner);
}

static void changed(stoa_topics_table *topics)
{
    atomic_fetch_add_explicit(&topics->changes, 1, memory_order_relaxed);
    if (topics->watcher) { stoa_place_ring_bell(topics->watcher); }
}

static stoa_err subscription_new(stoa_topics_table *topics, const stoa_wish *wish, stoa_audience *audience,
                                 stoa_subscription **out)
{
    stoa_owner *owner = owner_make(topics, wish->who);
    stoa_subscription *s = calloc(1, sizeof *s);
    stoa_err err = owner && s ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "subscription");
    if (!err) {
        s->who = wish->who;
        err = stoa_audience_seat(&topics->reclaim, audience, s, wish->id);
    }
    if (err) {
        owner_prune(topics, owner);
        free(s);
        return err;
    }
    s->fresh = true;
    s->next = owner->first;
    if (owner->first) { owner->first->previous = s; }
    owner->first = s;
    stoa_chains_add(&topics->subscriptions, &s->link, hash_of(wish->who, audience));
    changed(topics);
    *out = s;
    return STOA_OK;
}

static void quit(stoa_topics_table *topics, stoa_subscription *s)
{
    stoa_audience *audience = s->audience;
    stoa_owner *owner = owner_find(topics, s->who);
    stoa_audience_unseat(&topics->reclaim, s);
    stoa_chains_remove(&topics->subscriptions, &s->link);
    if (s->next) { s->next->previous = s->previous; }
    if (s->previous) {
        s->previous->next = s->next;
    } else {
        owner->first = s->next;
    }
    owner_prune(topics, owner);
    free(s);
    changed(topics);
    if (audience->count == 0) { audience_end(topics, audience); }
}

static stoa_err enter(stoa_topics_table *topics, const stoa_wish *wish, stoa_subscription **out)
{
    if (topics->subscriptions.count == STOA_SUBSCRIPTIONS_MAX) { return STOA_FAIL(STOA_E_FULL, "subscriptions"); }
    stoa_topic *topic;
    stoa_err err = wish->members ? open_locked(topics, wish->pattern, &topic) : STOA_OK;
    stoa_word *word = err ? NULL : stoa_words_make(&topics->words, wish->pattern);
    if (!word) { return err ? err : STOA_FAIL(STOA_E_NOMEM, "pattern %s", wish->pattern); }
    stoa_audience *audience = audience_of(word, wish->members);
    stoa_subscription *there = audience ? find(topics, wish->who, audience) : NULL;
    if (there) {
        *out = there;
        return STOA_OK;
    }
    err = audience ? STOA_OK : audience_new(topics, wish, word, &audience);
    if (err) { return err; }
    err = subscription_new(topics, wish, audience, out);
    if (err && audience->count == 0) { audience_end(topics, audience); }
    return err;
}

stoa_err stoa_topics_enter(stoa_topics_table *topics, const stoa_wish *wish, stoa_subscription **out)
{
    stoa_err err = stoa_topic_check(wish->pattern, !wish->members);
    if (err) { return err; }
    (void)pthread_mutex_lock(&topics->lock);
    err = enter(topics, wish, out);
    (void)pthread_mutex_unlock(&topics->lock);
    return err;
}

static stoa_subscription *lookup(stoa_topics_table *topics, const stoa_wish *wish)
{
    const stoa_word *word = stoa_words_find(&topics->words, wish->pattern);
    const stoa_audience *audience = word ? audience_of(word, wish->members) : NULL;
    return audience ? find(topics, wish->who, audience) : NULL;
}

stoa_subscription *stoa_topics_lookup(stoa_topics_table *topics, const stoa_wish *wish)
{
    (void)pthread_mutex_lock(&topics->lock);
    stoa_subscription *s = lookup(topics, wish);
    (void)pthread_mutex_unlock(&topics->lock);
    return s;
}

void stoa_topics_quit(stoa_topics_table *topics, stoa_subscription *subscription)
{
    (void)pthread_mutex_lock(&topics->lock);
    quit(topics, subscription);
    (void)pthread_mutex_unlock(&topics->lock);
}

stoa_err stoa_topics_subscribe(stoa_node *node, const char *pattern, stoa_ref who)
{
    stoa_subscription *s;
    stoa_err err = stoa_topics_enter(&node->topics, &(stoa_wish){.pattern = pattern, .who = who}, &s);
    if (!err) { s->fresh = false; }
    return err;
}

void stoa_topics_unsubscribe(stoa_node *node, const char *pattern, stoa_ref who)
{
    stoa_topics_table *topics = &node->topics;
    (void)pthread_mutex_lock(&topics->lock);
    stoa_subscription *s = pattern ? lookup(topics, &(stoa_wish){.pattern = pattern, .who = who}) : NULL;
    if (s) { quit(topics, s); }
    for (stoa_owner *owner = pattern ? NULL : owner_find(topics, who); owner; owner = owner_find(topics, who)) {
        quit(topics, owner->first);
    }
    (void)pthread_mutex_unlock(&topics->lock);
}

bool stoa_topics_has(stoa_node *node, stoa_ref who)
{
    stoa_topics_table *topics = &node->topics;
    (void)pthread_mutex_lock(&topics->lock);
    bool any = owner_find(topics, who) != NULL;
    (void)pthread_mutex_unlock(&topics->lock);
    return any;
}
