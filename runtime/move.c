/* move.c - moving an idle actor, with all that is below it, to another core: stoa_move. See move.h for how, node.h for what is
 * promised.
 *
 * Each step is an errand on the core that it touches. What one step leaves in `moving` the next one finds: errands and who
 * waits for them exchange it under a lock. A state is written by the source core right into the target's slot, which its own
 * core leaves alone while it is AWAY; a mapped one only changes hands. So do the blocks of those who monitor it or are linked
 * to it: whoever lists them may write to them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/internal.h"
#include "runtime/mailbox.h"

/* One actor of the tree that moves. */
typedef struct mover {
    stoa_ref from, to; /* its references before and then */
    stoa_ref was;      /* to where the slot at the target passed on; NONE: it is a new one */
    uint32_t parent;   /* in the list; of the first one nothing */
    bool has_args;
    const stoa_kind *kind;
    char name[STOA_NAME_MAX + 1];
    uint64_t messages;  /* handled, and restarts, when it was noted what its core had sent */
    uint32_t restarts;
    void *state, *args; /* at the target */
    stoa_msg *over;     /* ends the slot that it leaves */
    stoa_actor actor;   /* as it left */
    stoa_actor_more more;
} mover;

typedef struct moving {
    uint32_t target, count;
    uint32_t prepared; /* so many have their slot */
    stoa_ref who;
    bool found, there; /* there: at the target already */
    mover *all;        /* parents before their children, the older of these first */
    stoa_sent sent;    /* by the source core */
    char name[STOA_NAME_MAX + 1];
    stoa_err err;
    char trail[256];
} moving;

/* who: the one it is about, or NULL: the first one, or none of them. */
static void refuse(moving *m, stoa_err why, const mover *who, const char *what)
{
    bool below = who && who != m->all;
    const char *name = !below ? "" : who->name[0] ? who->name : who->kind->name;
    m->err = why;
    (void)snprintf(m->trail, sizeof m->trail, "%s%s%s", name, below ? " below it: " : "", what);
}

/* --- may it? */

static const char *under_way(const stoa_actor *actor)
{
    static const stoa_actor_more nothing;
    const stoa_actor_more *more = actor->more ? actor->more : &nothing;
    const struct {
        bool is;
        const char *what;
    } all[] = {
        {actor->flags & STOA_ACTOR_FRESH, "it has yet to start"},
        {actor->flags & (STOA_ACTOR_ENDING | STOA_ACTOR_CLOSING), "it ends"},
        {actor->flags & STOA_ACTOR_DOWN, "it is down until its restart"},
        {more->awaiting != NULL, "another actor waits for room in its mailbox"},
        {actor->queued > 0, "messages wait for it"},
        {more->timers != NULL, "it has a timer"},
        {more->gathers != 0, "it has a gather under way"},
        {more->asks != 0, "it has an ask under way"},
        {more->ties != 0, "it monitors or has linked itself to another actor"},
        {more->watches != 0, "it watches a descriptor, or has not unwatched it"},
        {more->arena != NULL, "it holds memory of its own"},
        {more->family.rebuild != 0, "its children are restarted"},
        {more->ending != 0, "a restart is due"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].is) { return all[i].what; }
    }
    return NULL;
}

/* Whether the i-th can be moved, now. */
static bool may_leave(stoa_core *core, const stoa_actor *actor, moving *m, uint32_t i)
{
    const mover *who = &m->all[i];
    const char *what = under_way(actor);
    bool subscribed = actor->more && actor->more->subscribed;
    if (subscribed && stoa_topics_has(core->place.node, actor->self)) {
        refuse(m, STOA_E_UNSUPPORTED, who, "it has subscriptions or is in a group");
    } else if (what) {
        refuse(m, STOA_E_AGAIN, who, what);
    }
    return m->err == STOA_OK;
}

static bool tree_may_leave(stoa_core *core, const stoa_actor *top, moving *m)
{
    if (top->shard) {
        refuse(m, STOA_E_UNSUPPORTED, NULL, "it is event-sourced");
    } else if (core->shutting_down) {
        refuse(m, STOA_E_UNAVAILABLE, NULL, "the node is ending");
    } else if (top->parent) {
        char what[STOA_NAME_MAX + 64];
        const stoa_actor *parent = stoa_tree_parent(core, top);
        (void)snprintf(what, sizeof what, "it is a child of %s, and moves with it", parent ? stoa_actor_name(parent) : "nobody yet");
        refuse(m, STOA_E_UNSUPPORTED, NULL, what);
    }
    return m->err == STOA_OK;
}

/* The next one below top, children behind their parents. */
static stoa_actor *next_below(stoa_core *core, const stoa_actor *top, stoa_actor *at)
{
    const stoa_family *family = stoa_tree_family(core, at);
    if (family && family->oldest) { return stoa_tree_at(core, family->oldest); }
    while (at != top && !at->younger) { at = stoa_tree_parent(core, at); }
    return at == top ? NULL : stoa_tree_at(core, at->younger);
}

static stoa_ref slot_at(const stoa_actor *actor, uint32_t place)
{
    for (const stoa_msg *msg = actor->more ? actor->more->slots : NULL; msg; msg = msg->next) {
        if (stoa_ref_place(msg->to) == place) { return msg->to; }
    }
    return STOA_REF_NONE;
}

static void list(stoa_core *core, moving *m, const stoa_actor *actor)
{
    mover *one = &m->all[m->count];
    *one = (mover){.from = actor->self,
                   .to = slot_at(actor, m->target),
                   .kind = actor->kind,
                   .has_args = actor->more && actor->more->args};
    if (actor->more) { memcpy(one->name, actor->more->name, sizeof one->name); }
    stoa_ref parent = m->count ? stoa_tree_parent(core, actor)->self : one->from;
    while (!stoa_ref_equal(m->all[one->parent].from, parent)) { one->parent++; }
    m->count++;
}

static void look(stoa_core *core, void *context)
{
    moving *m = context;
    stoa_actor *top = stoa_core_actor(core, m->who);
    if (!top && stoa_away_follow(core, &m->who)) { return; }
    m->found = true;
    if (!top) {
        refuse(m, STOA_E_CLOSED, NULL, "no such actor");
        return;
    }
    (void)snprintf(m->name, sizeof m->name, "%s", stoa_actor_name(top));
    m->there = core->place.index == m->target;
    if (m->there || !tree_may_leave(core, top, m)) { return; }
    for (stoa_actor *at = top; at && !m->err; at = next_below(core, top, at)) {
        if (m->count == STOA_MOVE_MAX) {
            refuse(m, STOA_E_FULL, NULL, "there are too many below it");
            return;
        }
        list(core, m, at);
        (void)may_leave(core, at, m, m->count - 1);
    }
}

/* --- the target's slots */

/* The slot at the target, which keeps what comes from now on. */
static bool prepare_one(stoa_core *core, moving *m, mover *one)
{
    stoa_actor *slot = one->to.at ? stoa_away(core, one->to) : NULL;
    if (one->to.at && !slot) {
        refuse(m, STOA_E_CLOSED, one, "it has ended");
        return false;
    }
    stoa_err err = slot ? stoa_conflating_new(core, slot) : stoa_actor_new_away(core, one->kind, one->name, &slot);
    if (err) {
        refuse(m, STOA_E_NOMEM, one, "no memory for it there");
        return false;
    }
    stoa_actor_more *more = slot->more;
    if (one->has_args && !more->args) { more->args = stoa_block_new(core, one->kind->args_bytes); }
    if (one->has_args && !more->args) {
        refuse(m, STOA_E_NOMEM, one, "no memory for its arguments there");
        stoa_away_let_go(core, slot); /* a new one: others have theirs */
        return false;
    }
    one->was = more->away;
    one->to = slot->self;
    one->state = slot->state;
    one->args = more->args;
    more->away = STOA_REF_NONE;
    if (one->kind->conflate.key) { slot->flags |= STOA_ACTOR_CONFLATES; }
    return true;
}

static void prepare(stoa_core *core, void *context)
{
    moving *m = context;
    if (core->shutting_down) {
        refuse(m, STOA_E_UNAVAILABLE, NULL, "the node is ending");
        return;
    }
    while (m->prepared < m->count && prepare_one(core, m, &m->all[m->prepared])) { m->prepared++; }
}

static void undo(stoa_core *core, void *context)
{
    const moving *m = context;
    for (const mover *one = m->all; one < m->all + m->prepared; one++) {
        stoa_actor *slot = stoa_away(core, one->to);
        STOA_ASSERT(slot); /* it is let go here only */
        if (!one->was.at || slot->more->over) {
            stoa_away_let_go(core, slot);
        } else {
            stoa_away_pass_on_to(core, slot, one->was);
        }
    }
}

/* --- the fences: what was sent to them, and by them, is where it goes */

static void await_passed(stoa_node *node, moving *m, const mover *one)
{
    stoa_err err = one->was.at ? stoa_way_await(node, one->to, one->was, one->from) : STOA_OK;
    if (err) { refuse(m, err, one, err == STOA_E_CLOSED ? "it has ended" : "messages for it are on their way"); }
}

static void note_sent(stoa_core *core, void *context)
{
    moving *m = context;
    stoa_sent_note(core, &m->sent);
    for (mover *one = m->all; one < m->all + m->count; one++) {
        const stoa_actor *actor = stoa_core_actor(core, one->from);
        one->messages = actor ? actor->messages : 0;
        one->restarts = actor ? actor->restarts : 0;
    }
}

static void await_sent(stoa_node *node, moving *m, stoa_core *source)
{
    for (uint32_t looks = 0; looks < STOA_MOVE_LOOKS; looks++) {
        if (!m->sent.published) { stoa_core_do(source, note_sent, m); }
        if (stoa_sent_is_taken(source, &m->sent)) { return; }
        if (!stoa_move_go_on(node)) { break; }
    }
    refuse(m, STOA_E_AGAIN, NULL, "what it sent is on its way");
}

/* They had no turn since, or nothing of that is on its way. */
static bool sent_has_come(stoa_core *core, moving *m)
{
    bool same = true;
    for (const mover *one = m->all; same && one < m->all + m->count; one++) {
        const stoa_actor *actor = stoa_core_actor(core, one->from);
        same = actor && actor->messages == one->messages && actor->restarts == one->restarts;
    }
    if (same) { return true; }
    note_sent(core, m);
    if (!stoa_sent_is_taken(core, &m->sent)) { refuse(m, STOA_E_AGAIN, NULL, "it was busy just now, and what it sent is on its way"); }
    return m->err == STOA_OK;
}

/* --- over there */

/* The tree is what was looked at, and all of it idle; what leaving needs is there. */
static bool ready_to_leave(stoa_core *core, stoa_actor *top, moving *m)
{
    uint32_t i = 0;
    if (!tree_may_leave(core, top, m)) { return false; }
    for (stoa_actor *at = top; at; at = next_below(core, top, at), i++) {
        if (i == m->count || !stoa_ref_equal(at->self, m->all[i].from)) { break; }
        if (!may_leave(core, at, m, i)) { return false; }
        m->all[i].over = stoa_more(core, at) ? stoa_away_over_new(core, m->all[i].from) : NULL;
        if (!m->all[i].over) {
            refuse(m, STOA_E_NOMEM, &m->all[i], "no memory to pass on what comes");
            return false;
        }
    }
    if (i != m->count) { refuse(m, STOA_E_AGAIN, NULL, "its children come and go"); }
    return m->err == STOA_OK;
}

/* The slot keeps its name, for dead letters, and room for state and arguments, for its return. */
static void leave_behind(stoa_core *core, stoa_actor *actor, stoa_ref to)
{
    stoa_actor_more *more = actor->more;
    stoa_conflating_free(actor);
    stoa_actor_more kept = *more;
    actor->parent = STOA_NO_FAMILY;
    actor->elder = actor->younger = 0;
    actor->refused = 0;
    actor->flags = STOA_ACTOR_AWAY;
    core->actor_alive--;
    *more = (stoa_actor_more){.key = kept.key, .args = kept.args, .away = to};
    memcpy(more->name, kept.name, sizeof more->name);
    if (more->name[0]) { stoa_names_move(&core->place.node->names, more->name, to); }
}

static void leave_one(stoa_core *core, stoa_actor *actor, mover *one)
{
    if (!one->state) { /* mapped */
        one->state = actor->state;
        actor->state = NULL;
    } else {
        memcpy(one->state, actor->state, one->kind->state_bytes);
    }
    if (one->has_args) { memcpy(one->args, actor->more->args, one->kind->args_bytes); }
    one->actor = *actor;
    one->more = *actor->more;
    one->over->next = one->more.slots;
    one->more.slots = one->over;
    one->over = NULL;
    leave_behind(core, actor, one->to);
}

static void leave(stoa_core *core, void *context)
{
    moving *m = context;
    stoa_actor *top = stoa_core_actor(core, m->who);
    if (!top) { refuse(m, STOA_E_CLOSED, NULL, "it has ended"); }
    if (top && ready_to_leave(core, top, m) && sent_has_come(core, m)) {
        stoa_tree_remove(core, top);
        for (uint32_t i = 0; i < m->count; i++) { leave_one(core, stoa_core_actor(core, m->all[i].from), &m->all[i]); }
    }
    for (mover *one = m->all; one < m->all + m->count; one++) { /* of those that stay */
        if (one->over) { stoa_place_free(&core->place, one->over); }
    }
}

/* All of what was in its slots, but for what the target's own passed on. */
static stoa_msg *without_own(stoa_core *core, stoa_msg *slots, stoa_ref own)
{
    stoa_msg **at = &slots;
    while (*at && !stoa_ref_equal((*at)->to, own)) { at = &(*at)->next; }
    if (*at) {
        stoa_msg *msg = *at;
        *at = msg->next;
        stoa_place_free(&core->place, msg);
    }
    return slots;
}

static void take_over_more(stoa_core *core, stoa_actor_more *more, const mover *one)
{
    const stoa_actor_more *was = &one->more;
    memcpy(more->topics, was->topics, sizeof more->topics);
    memcpy(more->turns, was->turns, sizeof more->turns);
    more->restart = was->restart;
    more->fate = was->fate;
    more->failed_ns = was->failed_ns;
    more->backoff_ms = was->backoff_ms;
    more->shutdown_ms = was->shutdown_ms;
    more->family = (stoa_family){.bucket_ns = was->family.bucket_ns};
    more->watched = was->watched;
    for (unsigned reason = 0; reason < STOA_DROP_COUNT; reason++) { more->dropped[reason] += was->dropped[reason]; }
    more->conflated += was->conflated;
    more->slots = without_own(core, was->slots, one->to);
}

static void take_over(stoa_core *core, stoa_actor *actor, const mover *one)
{
    actor->state = one->state;
    actor->messages = one->actor.messages;
    actor->restarts = one->actor.restarts;
    actor->refused += one->actor.refused;
    actor->last_refusal = one->actor.last_refusal;
    actor->handler_ns = one->actor.handler_ns;
    take_over_more(core, actor->more, one);
    actor->flags = one->kind->conflate.key ? STOA_ACTOR_ALIVE | STOA_ACTOR_CONFLATES : STOA_ACTOR_ALIVE;
    core->actor_alive++;
    stoa_core_note(core, STOA_FLIGHT_MOVED, actor, NULL, NULL, one->from.at, 0);
}

static void come(stoa_core *core, void *context)
{
    const moving *m = context;
    for (uint32_t i = 0; i < m->count; i++) {
        stoa_actor *actor = stoa_away(core, m->all[i].to);
        STOA_ASSERT(actor && !actor->more->over); /* it lived when it left */
        take_over(core, actor, &m->all[i]);
        stoa_tree_add(core, i ? stoa_core_actor(core, m->all[m->all[i].parent].to) : NULL, actor);
    }
    for (uint32_t i = 0; i < m->count; i++) { /* all are there: acts may end some */
        stoa_actor *actor = stoa_core_actor(core, m->all[i].to);
        if (actor) { stoa_away_come(core, actor); }
    }
}

static void move(stoa_node *node, moving *m)
{
    while (!m->found) { stoa_core_do(node->cores[stoa_ref_place(m->who)], look, m); }
    if (m->err || m->there) { return; }
    stoa_core *source = node->cores[stoa_ref_place(m->who)], *target = node->cores[m->target];
    stoa_core_do(target, prepare, m);
    stoa_move_meanwhile(node);
    for (uint32_t i = 0; i < m->count && !m->err; i++) {
        await_passed(node, m, &m->all[i]);
    }
    if (!m->err) { await_sent(node, m, source); }
    if (!m->err) { stoa_core_do(source, leave, m); }
    stoa_move_meanwhile(node);
    stoa_core_do(target, m->err ? undo : come, m);
}

stoa_err stoa_move(stoa_node *node, stoa_ref actor, uint32_t core, stoa_ref *out)
{
    moving m = {.who = actor, .target = core};
    stoa_node_outside(node, "stoa_move within a turn");
    if (core >= node->core_count) { return STOA_FAIL(STOA_E_INVALID, "no core %u: there are %u", core, node->core_count); }
    if (!actor.at || stoa_ref_place(actor) >= node->core_count) { return STOA_FAIL(STOA_E_CLOSED, "no such actor"); }
    m.all = calloc(STOA_MOVE_MAX, sizeof *m.all);
    if (!m.all) { return STOA_FAIL(STOA_E_NOMEM, "a move"); }
    (void)pthread_mutex_lock(&node->move_lock);
    move(node, &m);
    (void)pthread_mutex_unlock(&node->move_lock);
    if (m.err) {
        m.err = STOA_FAIL(m.err, "%s%s%s", m.name, m.name[0] ? " cannot be moved: " : "", m.trail);
    } else {
        *out = m.there ? m.who : m.all[0].to;
    }
    free(m.all);
    return m.err;
}
