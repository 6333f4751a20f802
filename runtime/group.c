/* group.c - what a turn does with topics and groups, and how groups look from outside.
 *
 * A group is a topic with members: who joined it hears what is published on it, as a subscriber does, and can also be chosen,
 * one for each message. Binding it to a slot is the only look-up by name.
 *
 * Subscriptions take effect with the turn: a new one is taken back when the turn is refused, an ended one ends when it is not.
 * (Until then other cores may choose who is about to join, or to leave.)
 *
 * Choosing by key is rendezvous hashing (Thaler, Ravishankar, 1998): of all members the one whose hash with the key is highest.
 * A member that comes or goes changes the choice only for the keys that it gets or had; members are told apart by their names,
 * so that the same names give the same choices in every process. It looks at every member.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/internal.h"

/* --- coming and going */

static void list_change(stoa_turning *t, stoa_subscription *s)
{
    if (s->listed) { return; }
    s->listed = true;
    s->next_changed = t->changed;
    t->changed = s;
    t->after |= STOA_AFTER_REST;
}

static stoa_err enter(stoa_turn *turn, const char *pattern, bool members)
{
    stoa_turning *t = (stoa_turning *)turn;
    stoa_actor_more *more = stoa_more(t->core, t->actor);
    if (!more) { return STOA_E_FULL; }
    const char *name = more->name;
    if (members && !name[0]) { return STOA_FAIL(STOA_E_INVALID, "an actor without a name cannot join %s: members are chosen by it", pattern); }
    stoa_wish wish = {.pattern = pattern, .who = turn->self, .members = members};
    if (members) { wish.id = stoa_hash64(0, name, strlen(name)); }
    stoa_subscription *s;
    stoa_err err = stoa_topics_enter(&t->core->place.node->topics, &wish, &s);
    if (err) { return err; }
    more->subscribed = true;
    s->leaving = false;
    if (s->fresh) { list_change(t, s); }
    return STOA_OK;
}

static stoa_err quit(stoa_turn *turn, const char *pattern, bool members)
{
    stoa_turning *t = (stoa_turning *)turn;
    stoa_err err = stoa_topic_check(pattern, !members);
    if (err) { return err; }
    stoa_wish wish = {.pattern = pattern, .who = turn->self, .members = members};
    stoa_subscription *s = stoa_topics_lookup(&t->core->place.node->topics, &wish);
    if (!s) { return STOA_OK; }
    s->leaving = true;
    list_change(t, s);
    return STOA_OK;
}

static void settle(stoa_turning *t, bool refused)
{
    while (t->changed) {
        stoa_subscription *s = t->changed;
        t->changed = s->next_changed;
        bool gone = refused ? s->fresh : s->leaving;
        s->fresh = s->leaving = s->listed = false;
        if (gone) { stoa_topics_quit(&t->core->place.node->topics, s); }
    }
}

void stoa_topics_let_go(stoa_turning *turning)
{
    settle(turning, false);
}

void stoa_topics_take_back(stoa_turning *turning)
{
    settle(turning, true);
}

stoa_err stoa_turn_subscribe(stoa_turn *turn, const char *pattern)
{
    return enter(turn, pattern, false);
}

stoa_err stoa_turn_unsubscribe(stoa_turn *turn, const char *pattern)
{
    return quit(turn, pattern, false);
}

stoa_err stoa_turn_join(stoa_turn *turn, const char *group)
{
    return enter(turn, group, true);
}

stoa_err stoa_turn_leave(stoa_turn *turn, const char *group)
{
    return quit(turn, group, true);
}

/* What a slot was bound to before the turn. */
typedef struct binding {
    stoa_act act;
    stoa_ref who;
    stoa_topic *topic;
    uint32_t slot, turns;
} binding;

static void keep_bound(stoa_core *core, stoa_msg *msg)
{
    stoa_topics_unbind(core->place.node, ((const binding *)stoa_msg_body(msg))->topic);
    stoa_place_free(&core->place, msg);
}

static void bind_back(stoa_core *core, stoa_msg *msg)
{
    const binding *was = stoa_msg_body(msg);
    stoa_actor *actor = stoa_core_actor(core, was->who);
    STOA_ASSERT(actor && actor->more); /* whose turn it is */
    stoa_topics_unbind(core->place.node, actor->more->topics[was->slot]);
    actor->more->topics[was->slot] = was->topic;
    actor->more->turns[was->slot] = was->turns;
    stoa_place_free(&core->place, msg);
}

/* The first change of a slot in a turn notes what it was; later ones let go of what this turn bound. */
static stoa_err note_binding(stoa_turning *t, const stoa_actor_more *more, unsigned slot)
{
    if (t->bound & 1u << slot) {
        stoa_topics_unbind(t->core->place.node, more->topics[slot]);
        return STOA_OK;
    }
    stoa_msg *msg = stoa_act_new(t, sizeof(binding), keep_bound, bind_back);
    if (!msg) { return STOA_E_FULL; }
    binding *was = stoa_msg_body(msg);
    was->who = t->turn.self;
    was->slot = slot;
    was->topic = more->topics[slot];
    was->turns = more->turns[slot];
    t->bound |= (uint8_t)(1u << slot);
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_bind(stoa_turn *turn, unsigned slot, const char *topic)
{
    stoa_turning *t = (stoa_turning *)turn;
    if (slot >= STOA_TOPIC_SLOTS) { return STOA_FAIL(STOA_E_INVALID, "topic slot %u", slot); }
    stoa_actor_more *more = stoa_more(t->core, t->actor);
    stoa_topic *opened;
    stoa_err err = more ? stoa_topics_open(t->core->place.node, topic, &opened) : STOA_E_FULL;
    if (err) { return err; }
    bool same = opened == more->topics[slot];
    err = same ? STOA_OK : note_binding(t, more, slot);
    if (err || same) { stoa_topics_unbind(t->core->place.node, opened); }
    if (err) { return err; }
    more->topics[slot] = opened;
    more->turns[slot] = (uint32_t)stoa_mix64(turn->self.at); /* not all who send begin with the same member */
    return STOA_OK;
}

/* --- choosing */

/* The group bound to slot; NULL: none, or it has no members. */
static stoa_audience *members_of(const stoa_turning *t, unsigned slot)
{
    const stoa_actor_more *more = t->actor->more;
    stoa_topic *topic = more && slot < STOA_TOPIC_SLOTS ? more->topics[slot] : NULL;
    return topic ? atomic_load_explicit(&topic->members, memory_order_acquire) : NULL;
}

static uint64_t places_of(stoa_audience *members)
{
    return members ? atomic_load_explicit(&members->places, memory_order_acquire) : 0;
}

static stoa_subscribers *list_at(stoa_audience *members, uint64_t places)
{
    return atomic_load_explicit(&members->at[__builtin_ctzll(places)], memory_order_acquire);
}

static uint32_t used_of(stoa_subscribers *list)
{
    return list ? atomic_load_explicit(&list->used, memory_order_acquire) : 0;
}

typedef struct choice {
    uint64_t weight;
    stoa_ref who;
} choice;

static void choose(stoa_subscribers *list, uint64_t key, choice *best)
{
    uint32_t used = used_of(list);
    for (uint32_t i = 0; i < used; i++) {
        stoa_ref who = {atomic_load_explicit(&list->at[i], memory_order_acquire)};
        if (!who.at) { continue; }
        uint64_t weight = stoa_mix64(key ^ atomic_load_explicit(&list->seats[i].id, memory_order_relaxed));
        if (weight > best->weight || (weight == best->weight && who.at > best->who.at)) { *best = (choice){weight, who}; }
    }
}

stoa_ref stoa_turn_member(stoa_turn *turn, unsigned slot, uint64_t key)
{
    stoa_audience *members = members_of((stoa_turning *)turn, slot);
    choice best = {0};
    for (uint64_t places = places_of(members); places; places &= places - 1) {
        choose(list_at(members, places), stoa_mix64(key), &best);
    }
    return best.who;
}

/* The entry at index of the lists at places, one behind the other; NONE: a hole. */
static stoa_ref entry(stoa_audience *members, uint64_t places, uint32_t index)
{
    for (; places; places &= places - 1) {
        stoa_subscribers *list = list_at(members, places);
        uint32_t used = used_of(list);
        if (index < used) { return (stoa_ref){atomic_load_explicit(&list->at[index], memory_order_acquire)}; }
        index -= used;
    }
    return STOA_REF_NONE;
}

/* The next one at places after the last one chosen; NONE: there is none. */
static stoa_ref next_at(stoa_turning *t, unsigned slot, stoa_audience *members, uint64_t places)
{
    uint32_t all = 0;
    for (uint64_t rest = places; rest; rest &= rest - 1) { all += used_of(list_at(members, rest)); }
    for (uint32_t tried = 0; tried < all; tried++) {
        stoa_ref who = entry(members, places, t->actor->more->turns[slot]++ % all);
        if (who.at) { return who; }
    }
    return STOA_REF_NONE;
}

stoa_ref stoa_turn_member_next(stoa_turn *turn, unsigned slot)
{
    stoa_turning *t = (stoa_turning *)turn;
    stoa_audience *members = members_of(t, slot);
    return next_at(t, slot, members, places_of(members));
}

stoa_ref stoa_turn_member_near(stoa_turn *turn, unsigned slot)
{
    stoa_turning *t = (stoa_turning *)turn;
    stoa_audience *members = members_of(t, slot);
    uint64_t places = places_of(members), here = places & UINT64_C(1) << t->core->place.index;
    stoa_ref who = next_at(t, slot, members, here);
    return who.at ? who : next_at(t, slot, members, places);
}

uint32_t stoa_turn_members(const stoa_turn *turn, unsigned slot)
{
    stoa_audience *members = members_of((const stoa_turning *)turn, slot);
    return members ? atomic_load_explicit(&members->count, memory_order_relaxed) : 0;
}

/* --- looking in */

stoa_err stoa_groups(stoa_node *node, const char *pattern, void (*visit)(void *context, const stoa_group_view *view),
                     void *context)
{
    stoa_err err = pattern ? stoa_topic_check(pattern, true) : STOA_OK;
    if (err) { return err; }
    (void)pthread_mutex_lock(&node->topics.lock);
    for (stoa_topic *topic = node->topics.head; topic; topic = topic->next) {
        stoa_audience *members = atomic_load(&topic->members);
        if (!members || (pattern && !stoa_topic_matches(pattern, topic->name))) { continue; }
        visit(context, &(stoa_group_view){topic->name, atomic_load(&members->count), atomic_load(&topic->published)});
    }
    (void)pthread_mutex_unlock(&node->topics.lock);
    return STOA_OK;
}

typedef struct member_list {
    stoa_member_view *at;
    uint32_t count;
} member_list;

/* Under the lock. Errors: NOT_FOUND, NOMEM. */
static stoa_err list_members(stoa_topics_table *topics, const char *group, member_list *out)
{
    const stoa_word *word = stoa_words_find(&topics->words, group);
    stoa_audience *members = word && word->topic ? atomic_load(&word->topic->members) : NULL;
    if (!members) { return STOA_FAIL(STOA_E_NOT_FOUND, "no group '%s'", group); }
    out->at = calloc(atomic_load(&members->count), sizeof *out->at);
    if (!out->at) { return STOA_FAIL(STOA_E_NOMEM, "members of %s", group); }
    for (uint64_t places = places_of(members); places; places &= places - 1) {
        stoa_subscribers *list = list_at(members, places);
        for (uint32_t i = 0; i < used_of(list); i++) {
            stoa_ref who = {atomic_load(&list->at[i])};
            if (who.at) { out->at[out->count++] = (stoa_member_view){.ref = who, .core = stoa_ref_place(who)}; }
        }
    }
    return STOA_OK;
}

static void name_on_core(stoa_core *core, void *context)
{
    member_list *list = context;
    for (uint32_t i = 0; i < list->count; i++) {
        stoa_actor *actor = list->at[i].core == core->place.index ? stoa_core_actor(core, list->at[i].ref) : NULL;
        if (actor) { (void)snprintf(list->at[i].name, sizeof list->at[i].name, "%s", stoa_actor_name(actor)); }
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const stoa_member_view *)a)->name, ((const stoa_member_view *)b)->name);
}

stoa_err stoa_members(stoa_node *node, const char *group, void (*visit)(void *context, const stoa_member_view *view),
                      void *context)
{
    member_list list = {0};
    stoa_err err = stoa_topic_check(group, false);
    if (err) { return err; }
    (void)pthread_mutex_lock(&node->topics.lock);
    err = list_members(&node->topics, group, &list);
    (void)pthread_mutex_unlock(&node->topics.lock);
    if (err) { return err; }
    /* not under the lock: a core that waits for it could not name them */
    for (uint32_t i = 0; i < node->core_count; i++) { stoa_core_do(node->cores[i], name_on_core, &list); }
    qsort(list.at, list.count, sizeof *list.at, by_name);
    for (uint32_t i = 0; i < list.count; i++) {
        if (list.at[i].name[0]) { visit(context, &list.at[i]); } /* else it has ended meanwhile */
    }
    free(list.at);
    return STOA_OK;
}
