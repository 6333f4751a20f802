/* topic.h - topics, patterns, groups and who hears them. Internal to runtime/.
 *
 *     word         one segment of names and patterns, in one tree: "a", below it "b" and "*"            trie.c
 *     audience     who subscribed to one pattern, or joined one group; per place a list of them         audience.c
 *     topic        a name that is published on: the audiences that hear it                              topic.c
 *     group        a topic's members: the audience of those who joined it; others may only listen       group.c
 *
 * A name and a pattern are segments joined by '.'; none is empty, none has white space; together at most STOA_NAME_MAX bytes.
 * In a pattern the segment '*' stands for any one segment and '>' as the last one for one or more. These are the rules of NATS
 * subjects. '*' and '>' as a part of a segment are themselves.
 *
 * A new topic looks up the patterns that match it in the tree, a new pattern the topics; each visits matching branches only.
 * An audience is shared by all topics that it hears, so that memory is one word per pair of a topic and a matching pattern,
 * however many there are who subscribed.
 *
 * All changes are made under the lock. Publishing takes none: a publisher's core reads the topic's audiences and the bit per
 * place of each, the receiving core its own list, for a choice among members all lists. What is replaced is reclaimed
 * (reclaim.h). Lists grow by halves, a leaver leaves a hole that the next one fills: mostly nothing needs to be replaced.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_TOPIC_H
#define STOA_RUNTIME_TOPIC_H

#include <pthread.h>
#include <stdatomic.h>

#include "runtime/chain.h"
#include "runtime/message.h"
#include "runtime/place.h"
#include "runtime/reclaim.h"

typedef struct stoa_word stoa_word;
typedef struct stoa_audience stoa_audience;
typedef struct stoa_subscription stoa_subscription;

enum { STOA_TOPICS_MAX = 1 << 20, STOA_SUBSCRIPTIONS_MAX = 1 << 22 };

/* --- who hears */

/* Under the lock, but for the id, which chooses among members. */
typedef struct stoa_seat {
    stoa_subscription *whose; /* NULL: a hole */
    _Atomic uint64_t id;
    uint32_t next_hole; /* + 1; 0: none */
} stoa_seat;

/* Those of one audience at one place. A reader looks at at[0 .. used) and passes over zeros, which are holes. */
typedef struct stoa_subscribers {
    stoa_retired retired; /* first */
    uint32_t cap, count, hole;
    _Atomic uint32_t used;
    stoa_seat *seats;      /* behind at */
    _Atomic uint64_t at[]; /* references */
} stoa_subscribers;

struct stoa_audience {
    stoa_retired retired; /* first */
    stoa_word *word;
    bool members; /* of a group, not subscribers to a pattern */
    _Atomic uint32_t count;
    _Atomic uint64_t places; /* bit per place that has some */
    _Atomic(stoa_subscribers *) at[STOA_PLACES_MAX];
    char pattern[STOA_NAME_MAX + 1];
};

struct stoa_subscription {
    stoa_link link; /* first; by who and audience */
    stoa_subscription *next, *previous; /* of the same who */
    stoa_ref who;
    stoa_audience *audience;
    uint32_t seat;
    /* of the turn that changes it, which its actor's core alone looks at */
    bool fresh, leaving, listed;
    stoa_subscription *next_changed;
};

/* Head of who's subscriptions. */
typedef struct stoa_owner {
    stoa_link link; /* first; by who */
    stoa_ref who;
    stoa_subscription *first;
} stoa_owner;

/* --- what is heard */

typedef struct stoa_audiences {
    stoa_retired retired; /* first */
    uint32_t cap;
    _Atomic uint32_t used;
    _Atomic(stoa_audience *) at[]; /* NULL: a hole */
} stoa_audiences;

/* Lives while a slot is bound to it, it has members, or a message is under way that was published on it. After that it goes when
 * others come: each new topic looks at some of those there are. */
struct stoa_topic {
    char name[STOA_NAME_MAX + 1];
    stoa_topic *next;
    stoa_word *word;
    uint32_t binds;          /* under the lock */
    _Atomic uint64_t flying; /* published messages that are not freed yet */
    _Atomic uint64_t published;
    _Atomic(stoa_audiences *) audiences;
    _Atomic(stoa_audience *) members; /* one of them; NULL: no group */
};

/* --- the tree */

struct stoa_word {
    stoa_link link; /* first; by parent and text */
    stoa_word *parent, *child, *next, *previous; /* the first child; siblings */
    stoa_topic *topic;                           /* whose name ends here */
    stoa_audience *audience;                     /* whose pattern ends here */
    uint8_t len;
    char text[];
};

typedef struct stoa_words {
    stoa_chains chains;
    stoa_word *root; /* no text */
} stoa_words;

/* Errors: NOMEM. */
stoa_err stoa_words_init(stoa_words *words);
void stoa_words_deinit(stoa_words *words);
/* The word that text ends at, NULL: none. */
stoa_word *stoa_words_find(stoa_words *words, const char *text);
/* The same, made where there is none; NULL: no memory. */
stoa_word *stoa_words_make(stoa_words *words, const char *text);
/* Free word and its parents as long as nothing hangs on them. */
void stoa_words_prune(stoa_words *words, stoa_word *word);
/* What visit returns other than OK ends the walk and is returned. */
typedef stoa_err (*stoa_word_visit)(void *context, stoa_word *word);
/* Visit every word with a topic that pattern matches. */
stoa_err stoa_words_topics(stoa_words *words, const char *pattern, stoa_word_visit visit, void *context);
/* Visit every word with an audience whose pattern matches name. */
stoa_err stoa_words_audiences(stoa_words *words, const char *name, stoa_word_visit visit, void *context);

/* --- audience.c; all under the lock */

/* Give who a seat at its place. Errors: NOMEM, FULL (too much waits for reclamation); then nothing has changed. */
stoa_err stoa_audience_seat(stoa_reclaim *reclaim, stoa_audience *audience, stoa_subscription *who, uint64_t id);
void stoa_audience_unseat(stoa_reclaim *reclaim, stoa_subscription *who);
/* Free it with its lists. */
void stoa_audience_free(stoa_reclaim *reclaim, stoa_audience *audience);

/* --- topic.c */

typedef struct stoa_topics_table {
    pthread_mutex_t lock;
    stoa_reclaim reclaim;
    stoa_words words;
    stoa_chains subscriptions, owners;
    stoa_topic *head, **hand; /* hand: whose turn it is to be looked at */
    uint32_t count;
    _Atomic uint64_t changes; /* of subscriptions */
    stoa_place *watcher;      /* under the lock: rung at each; NULL: nobody */
} stoa_topics_table;

stoa_err stoa_topics_init(stoa_topics_table *topics);
void stoa_topics_deinit(stoa_topics_table *topics);
/* The topic of that name, made where there is none, with one more binding. Errors: INVALID, FULL, NOMEM. */
stoa_err stoa_topics_open(stoa_node *node, const char *name, stoa_topic **out);
/* One binding less. NULL is allowed. */
void stoa_topics_unbind(stoa_node *node, stoa_topic *topic);
/* A message published on it is made; and freed. */
static inline void stoa_topic_takes_off(stoa_topic *topic)
{
    atomic_fetch_add_explicit(&topic->flying, 1, memory_order_relaxed);
}
static inline void stoa_topic_landed(stoa_topic *topic)
{
    atomic_fetch_sub_explicit(&topic->flying, 1, memory_order_release); /* release: whoever sees none may free the topic */
}
/* who hears what is published on topics that pattern matches; once, however many of its patterns match.
 * Errors: INVALID, FULL, NOMEM. */
stoa_err stoa_topics_subscribe(stoa_node *node, const char *pattern, stoa_ref who);
/* pattern NULL: all of who's, its memberships too. */
void stoa_topics_unsubscribe(stoa_node *node, const char *pattern, stoa_ref who);

/* Whether who has any. */
bool stoa_topics_has(stoa_node *node, stoa_ref who);

/* The same for a turn that may yet be refused: members: join the group of that name, with the id it is chosen by. */
typedef struct stoa_wish {
    const char *pattern;
    stoa_ref who;
    bool members;
    uint64_t id;
} stoa_wish;
/* The subscription that is there or was made (then fresh is set). */
stoa_err stoa_topics_enter(stoa_topics_table *topics, const stoa_wish *wish, stoa_subscription **out);
/* NULL: none. */
stoa_subscription *stoa_topics_lookup(stoa_topics_table *topics, const stoa_wish *wish);
void stoa_topics_quit(stoa_topics_table *topics, stoa_subscription *subscription);

/* Whether name matches pattern. Both are well formed. */
bool stoa_topic_matches(const char *pattern, const char *name);
/* A name or pattern that is not well formed is INVALID. */
stoa_err stoa_topic_check(const char *text, bool pattern);

/* Bit per place that has somebody who hears topic. Core. */
static inline uint64_t stoa_topic_places(stoa_topic *topic)
{
    /* acquire: pairs with the release that put it there */
    stoa_audiences *list = atomic_load_explicit(&topic->audiences, memory_order_acquire);
    uint32_t used = list ? atomic_load_explicit(&list->used, memory_order_acquire) : 0;
    uint64_t places = 0;
    for (uint32_t i = 0; i < used; i++) {
        stoa_audience *audience = atomic_load_explicit(&list->at[i], memory_order_acquire);
        if (audience) { places |= atomic_load_explicit(&audience->places, memory_order_relaxed); }
    }
    return places;
}

#endif
