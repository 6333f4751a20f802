/* links.c - links, monitors and the signals they pass on. See links.h for the protocol.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/links.h"

#include <string.h>
#include <sys/mman.h>

#include "runtime/internal.h"
#include "runtime/move.h"
#include "runtime/shard.h"
#include "runtime/stand.h"

enum {
    FREE,
    ACTIVE,
    LEAVING,         /* the request is under way */
    LEAVING_HOME,    /* the same, and the block is here */
    LEAVING_UNASKED, /* the block comes by itself: there was no memory to ask for it, or the request has passed it */
};

/* A tie's block. Before it comes home it is an act, then the message itself. */
typedef struct tie_block {
    union {
        stoa_act act;
        stoa_system_down down;
        stoa_system_exit exit;
    };
    stoa_msg *next, *prev; /* the target's list */
    stoa_ref target;
    uint64_t id;
    stoa_fate fate;        /* homewards: what became of the target */
    uint32_t restarts, core; /* where the target ended */
    bool link, listed, returns, unlinked;
} tie_block;

/* Asks for a tie's block. */
typedef struct request {
    stoa_act act;
    stoa_msg *block;
    uint64_t id;
    stoa_fate fate; /* of the maker */
    bool ended;     /* the maker has: a link tells the target */
    bool found;     /* the block, in the target's list */
    bool consumed;  /* the block became the target's exit */
} request;

/* An actor to end, between two turns. */
typedef struct end_signal {
    stoa_act act;
    stoa_fate fate;
    bool stop;
} end_signal;

static tie_block *block_of(stoa_msg *msg)
{
    return stoa_msg_body(msg);
}

static bool abnormal(stoa_end why)
{
    return why != stoa_end_NORMAL && why != stoa_end_SHUTDOWN;
}

/* --- the table */

enum { RESERVED_BYTES = STOA_TIES_MAX * sizeof(stoa_tie) };

stoa_err stoa_ties_init(stoa_ties *ties)
{
    void *at = mmap(NULL, RESERVED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "ties"); }
    *ties = (stoa_ties){.at = at, .used = 1};
    return STOA_OK;
}

void stoa_ties_deinit(stoa_ties *ties)
{
    if (ties->at) { (void)munmap(ties->at, RESERVED_BYTES); }
    memset(ties, 0, sizeof *ties);
}

static stoa_tie *find(stoa_core *core, uint64_t id)
{
    uint32_t index = (uint32_t)id;
    if (index == 0 || index >= core->ties.used) { return NULL; }
    stoa_tie *tie = &core->ties.at[index];
    return tie->state != FREE && tie->generation == (uint32_t)(id >> 32) ? tie : NULL;
}

static void own(stoa_core *core, stoa_actor_more *more, uint32_t index)
{
    stoa_tie *all = core->ties.at;
    all[index].next = more->ties;
    all[index].prev = 0;
    if (all[index].next) { all[all[index].next].prev = index; }
    more->ties = index;
}

static void disown(stoa_core *core, stoa_tie *tie)
{
    stoa_tie *all = core->ties.at;
    if (tie->next) { all[tie->next].prev = tie->prev; }
    if (tie->prev) {
        all[tie->prev].next = tie->next;
    } else {
        stoa_actor *maker = stoa_core_actor(core, tie->maker);
        STOA_ASSERT(maker); /* what an actor made ends before it does */
        maker->more->ties = tie->next;
    }
}

static void tie_free(stoa_core *core, stoa_tie *tie)
{
    tie->state = FREE;
    tie->next = core->ties.free;
    core->ties.free = (uint32_t)(tie - core->ties.at);
    core->ties.count--;
}

/* --- signals: what ends an actor waits until no turn is under way */

static void post_signal(stoa_core *core, stoa_msg *msg)
{
    msg->next = NULL;
    if (core->signals) {
        core->signals_tail->next = msg;
    } else {
        core->signals = msg;
    }
    core->signals_tail = msg;
}

static void carry_out(stoa_core *core, const stoa_msg *msg, const end_signal *what)
{
    stoa_actor *actor = stoa_core_actor(core, msg->to);
    if (!actor) { return; }
    if (what->stop) {
        if (!actor->shard) { stoa_tree_stop(core, actor, what->fate); }
    } else if (!(actor->flags & STOA_ACTOR_DOWN)) {
        stoa_tree_over(core, actor, what->fate);
    }
}

void stoa_signals_run(stoa_core *core)
{
    stoa_msg *msg = core->signals;
    core->signals = NULL;
    while (msg) {
        stoa_msg *next = msg->next;
        if (!stoa_away_act(core, msg)) {
            carry_out(core, msg, stoa_msg_body(msg));
            stoa_place_free(&core->place, msg);
        }
        msg = next;
    }
    if (core->unfinished.at) { stoa_tree_continue(core); }
}

/* --- messages */

/* The block becomes a message of row for `to`, about `about`. */
static void tell(stoa_core *core, stoa_msg *msg, stoa_ref to, stoa_ref about, unsigned row, const stoa_fate *fate)
{
    const tie_block *block = block_of(msg);
    stoa_system_down down = {.ref = about.at, .token = block->id, .reason = fate->why, .returns = block->returns,
                             .core = (uint16_t)block->core, .restarts = block->restarts};
    size_t length = fate->text ? strlen(fate->text) : 0;
    (void)STOA_TEXT_SET(&down.text, fate->text, length < sizeof down.text.at ? length : sizeof down.text.at);
    memcpy(stoa_msg_body(msg), &down, sizeof down);
    msg->to = to;
    msg->from = about;
    msg->row = &stoa_system_rows[row];
    msg->size_bytes = sizeof down;
    msg->flags = STOA_MSG_SYSTEM;
    stoa_core_take(core, msg);
}

/* One end of a link is gone: the other one, here, fails with it or hears of it. The block is used up. */
static void pass_on(stoa_core *core, stoa_msg *msg, stoa_actor *actor, stoa_ref about, stoa_fate fate)
{
    stoa_ref to = actor->self;
    if (actor->kind->trap_exits) {
        tell(core, msg, to, about, stoa_system_ROW_exit, &fate);
    } else if (abnormal(fate.why)) {
        *(end_signal *)stoa_msg_body(msg) = (end_signal){.act = {.run = post_signal},
                                                          .fate = {.text = fate.text, .why = fate.why}};
        msg->to = to;
        post_signal(core, msg);
    } else {
        stoa_place_free(&core->place, msg);
    }
}

/* What an event-sourced actor's turn or end sets going tells of its shard: it waits behind the wall. from may be NULL. */
static void send(stoa_core *core, const stoa_actor *from, stoa_msg *msg)
{
    if (from && from->shard) {
        stoa_shard_carry(from->shard, msg);
    } else {
        stoa_core_deliver(core, msg);
    }
}

/* An end elsewhere that a port tells of: to is linked to `from` of it. */
static void exit_arrives(stoa_core *core, stoa_msg *msg)
{
    if (stoa_away_act(core, msg)) { return; }
    tie_block *block = block_of(msg);
    stoa_actor *actor = stoa_core_actor(core, msg->to);
    if (actor) {
        pass_on(core, msg, actor, block->target, block->fate);
    } else {
        stoa_place_free(&core->place, msg);
    }
}

static void tell_of(stoa_port *port, stoa_ref to, stoa_ref about, stoa_end why, const char *text,
                    void (*run)(stoa_core *core, stoa_msg *msg))
{
    stoa_msg *msg = stoa_slab_new_surely(&port->place.slab, sizeof(tie_block), STOA_MSG_ACT);
    if (!msg) { return; }
    *block_of(msg) = (tie_block){.act = {.run = run}, .target = about, .fate = {.text = text, .why = why}};
    msg->to = to;
    msg->from = about;
    msg->row = NULL;
    stoa_place_push(&port->place, stoa_ref_place(to), msg);
}

void stoa_port_exit(stoa_port *port, stoa_ref to, stoa_ref about, stoa_end why, const char *text)
{
    tell_of(port, to, about, why, text, exit_arrives);
}

/* --- the block's way */

static void come_home(stoa_core *core, stoa_msg *msg)
{
    const tie_block *block = block_of(msg);
    stoa_tie *tie = find(core, block->id);
    STOA_ASSERT(tie && tie->block == msg);
    if (tie->state == LEAVING) { /* the request finds it here */
        tie->state = LEAVING_HOME;
        return;
    }
    if (tie->state == LEAVING_UNASKED) {
        tie_free(core, tie);
        stoa_place_free(&core->place, msg);
        return;
    }
    stoa_actor *maker = stoa_core_actor(core, tie->maker);
    disown(core, tie);
    tie_free(core, tie);
    if (block->unlinked) {
        stoa_place_free(&core->place, msg);
    } else if (block->link) {
        pass_on(core, msg, maker, block->target, block->fate);
    } else {
        tell(core, msg, msg->to, block->target, stoa_system_ROW_down, &block->fate);
    }
}

static void send_home(stoa_core *core, const stoa_actor *target, stoa_msg *msg, const stoa_fate *fate)
{
    tie_block *block = block_of(msg);
    block->act = (stoa_act){.run = come_home};
    block->fate = *fate;
    msg->to = msg->from;
    send(core, target, msg);
}

static void arrive(stoa_core *core, stoa_msg *msg)
{
    static const stoa_fate gone = {.text = "no such actor", .why = stoa_end_GONE};
    static const stoa_fate no_room = {.text = "no memory to be watched", .why = stoa_end_NO_MEMORY};
    if (stoa_away_act(core, msg)) { return; }
    tie_block *block = block_of(msg);
    stoa_actor *target = stoa_core_actor(core, msg->to);
    stoa_actor_more *more = target ? stoa_more(core, target) : NULL;
    if (!more || (block->link && !stoa_stand_told(core, target, msg->from, stoa_stand_ROW_linked, NULL))) {
        send_home(core, NULL, msg, target ? &no_room : &gone);
        return;
    }
    block->next = more->watched;
    block->prev = NULL;
    if (block->next) { block_of(block->next)->prev = msg; }
    more->watched = msg;
    block->listed = true;
}

static void unlist(stoa_actor *target, tie_block *block)
{
    if (block->next) { block_of(block->next)->prev = block->prev; }
    if (block->prev) {
        block_of(block->prev)->next = block->next;
    } else {
        target->more->watched = block->next;
    }
    block->listed = false;
}

static void set_out(stoa_core *core, stoa_msg *msg)
{
    tie_block *block = block_of(msg);
    block->act = (stoa_act){.run = arrive};
    msg->to = block->target;
    if (!block->target.at || stoa_ref_place(block->target) >= core->place.node->core_count) {
        arrive(core, msg); /* nobody, or a port: no such actor */
    } else {
        send(core, stoa_core_actor(core, msg->from), msg);
    }
}

static void never_set_out(stoa_core *core, stoa_msg *msg)
{
    stoa_tie *tie = find(core, block_of(msg)->id);
    STOA_ASSERT(tie);
    disown(core, tie);
    tie_free(core, tie);
    stoa_place_free(&core->place, msg);
}

/* --- taking it back */

static void request_back(stoa_core *core, stoa_msg *msg)
{
    const request *what = stoa_msg_body(msg);
    stoa_tie *tie = find(core, what->id);
    STOA_ASSERT(tie && (tie->state == LEAVING || tie->state == LEAVING_HOME));
    if (what->found || tie->state == LEAVING_HOME) {
        if (!what->consumed) { stoa_place_free(&core->place, tie->block); }
        tie_free(core, tie);
    } else {
        tie->state = LEAVING_UNASKED; /* the target had moved and ended: the block takes the longer way */
    }
    stoa_place_free(&core->place, msg);
}

static void request_arrives(stoa_core *core, stoa_msg *msg)
{
    if (stoa_away_act(core, msg)) { return; }
    request *what = stoa_msg_body(msg);
    tie_block *block = block_of(what->block);
    if (block->listed) {
        stoa_actor *target = stoa_core_actor(core, msg->to);
        STOA_ASSERT(target); /* it came here by the same way */
        unlist(target, block);
        what->found = true;
        if (block->link && stoa_is_stand(target)) {
            unsigned row = what->ended ? stoa_stand_ROW_over : stoa_stand_ROW_unlinked;
            (void)stoa_stand_told(core, target, msg->from, row, what->ended ? &what->fate : NULL);
        } else if (what->ended && block->link) {
            what->consumed = true;
            pass_on(core, what->block, target, msg->from, what->fate);
        }
    }
    what->act.run = request_back;
    msg->to = msg->from;
    stoa_core_deliver(core, msg);
}

/* The maker gives the tie up; fate: because it ended. */
static void leave(stoa_core *core, stoa_tie *tie, const stoa_fate *fate)
{
    disown(core, tie);
    stoa_msg *msg = stoa_slab_new_surely(&core->place.slab, sizeof(request), STOA_MSG_ACT);
    tie->state = msg ? LEAVING : LEAVING_UNASKED;
    if (!msg) { return; }
    *(request *)stoa_msg_body(msg) = (request){.act = {.run = request_arrives},
                                               .block = tie->block,
                                               .id = (uint64_t)tie->generation << 32 | (uint32_t)(tie - core->ties.at),
                                               .fate = fate ? *fate : (stoa_fate){0},
                                               .ended = fate != NULL};
    msg->from = tie->maker;
    msg->to = tie->target;
    msg->row = NULL;
    send(core, stoa_core_actor(core, tie->maker), msg);
}

void stoa_links_release(stoa_core *core, stoa_actor *actor, const stoa_fate *fate, bool returns)
{
    while (actor->more->watched) {
        stoa_msg *msg = actor->more->watched;
        tie_block *block = block_of(msg);
        unlist(actor, block);
        block->returns = returns;
        block->restarts = actor->restarts;
        block->core = core->place.index;
        send_home(core, actor, msg, fate);
    }
    while (actor->more->ties) { leave(core, &core->ties.at[actor->more->ties], fate); }
}

/* --- the turn's */

stoa_msg *stoa_act_new(stoa_turning *t, uint32_t bytes, void (*run)(stoa_core *core, stoa_msg *msg),
                       void (*undo)(stoa_core *core, stoa_msg *msg))
{
    uint32_t flags = t->actor->shard ? STOA_MSG_ACT | STOA_MSG_CONTEXT : STOA_MSG_ACT;
    stoa_msg *msg = stoa_slab_new(&t->core->place.slab, bytes, flags);
    if (!msg) { return NULL; }
    memset(stoa_msg_body(msg), 0, bytes);
    *(stoa_act *)stoa_msg_body(msg) = (stoa_act){.run = run, .undo = undo};
    msg->to = STOA_REF_NONE;
    msg->from = t->turn.self;
    msg->row = NULL;
    return msg;
}

bool stoa_kind_hears(const stoa_kind *kind, const stoa_row *row)
{
    const stoa_hear *hear = kind->hears;
    while (hear->row && hear->row != row) { hear++; }
    return hear->row != NULL;
}

static stoa_err tie_new(stoa_turning *t, stoa_ref target, bool link, uint64_t *id_out)
{
    stoa_core *core = t->core;
    stoa_ties *ties = &core->ties;
    stoa_actor_more *more = stoa_more(core, t->actor);
    if (!more || (!ties->free && ties->used == STOA_TIES_MAX)) { return STOA_E_FULL; }
    /* without a context: it becomes a message of its own, and leaves no shard that it could tell of */
    stoa_msg *msg = stoa_slab_new(&core->place.slab, sizeof(tie_block), STOA_MSG_ACT);
    if (!msg) { return STOA_E_FULL; }
    uint32_t index = ties->free ? ties->free : ties->used++;
    stoa_tie *tie = &ties->at[index];
    if (ties->free) { ties->free = tie->next; }
    *tie = (stoa_tie){.block = msg, .maker = t->turn.self, .target = target, .generation = tie->generation + 1,
                      .state = ACTIVE, .link = link};
    ties->count++;
    own(core, more, index);
    *id_out = (uint64_t)tie->generation << 32 | index;
    memset(stoa_msg_body(msg), 0, sizeof(tie_block));
    tie_block *block = block_of(msg);
    block->act = (stoa_act){.run = set_out, .undo = never_set_out};
    block->target = target;
    block->core = stoa_ref_place(target);
    block->id = *id_out;
    block->link = link;
    msg->to = STOA_REF_NONE;
    msg->from = t->turn.self;
    msg->row = NULL;
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

uint64_t stoa_turn_monitor(stoa_turn *turn, stoa_ref actor)
{
    stoa_turning *t = (stoa_turning *)turn;
    uint64_t id;
    if (!stoa_kind_hears(t->actor->kind, &stoa_system_rows[stoa_system_ROW_down])) { return 0; }
    return tie_new(t, actor, false, &id) ? 0 : id;
}

stoa_err stoa_turn_link(stoa_turn *turn, stoa_ref actor)
{
    uint64_t id;
    if (stoa_ref_equal(actor, turn->self)) { return STOA_E_INVALID; }
    return tie_new((stoa_turning *)turn, actor, true, &id);
}

typedef struct undoing {
    stoa_act act;
    stoa_ref other;
    uint64_t id;
} undoing;

static void stop_monitoring(stoa_core *core, stoa_msg *msg)
{
    const undoing *what = stoa_msg_body(msg);
    stoa_tie *tie = find(core, what->id);
    bool mine = tie && tie->state == ACTIVE && !tie->link && stoa_ref_equal(tie->maker, msg->from);
    if (mine) { leave(core, tie, NULL); }
    stoa_place_free(&core->place, msg);
}

static bool unlink_made(stoa_core *core, stoa_actor *actor, stoa_ref other)
{
    bool any = false;
    for (uint32_t at = actor->more->ties; at;) {
        stoa_tie *tie = &core->ties.at[at];
        at = tie->next;
        if (!tie->link || !stoa_ref_equal(tie->target, other)) { continue; }
        leave(core, tie, NULL);
        any = true;
    }
    return any;
}

static void unlink_watched(stoa_core *core, stoa_actor *actor, stoa_ref other)
{
    static const stoa_fate none = {0};
    for (stoa_msg *at = actor->more->watched; at;) {
        stoa_msg *msg = at;
        tie_block *block = block_of(msg);
        at = block->next;
        if (!block->link || !stoa_ref_equal(msg->from, other)) { continue; }
        unlist(actor, block);
        block->unlinked = true;
        send_home(core, actor, msg, &none);
    }
}

static void unlink_here(stoa_core *core, stoa_msg *msg);

/* The other end may have made a link that is still on its way here: it is undone there, behind the link. */
static void unlink_there(stoa_core *core, stoa_msg *msg)
{
    if (stoa_away_act(core, msg)) { return; }
    const undoing *what = stoa_msg_body(msg);
    stoa_actor *actor = stoa_core_actor(core, msg->to);
    if (actor && stoa_is_stand(actor)) { (void)stoa_stand_told(core, actor, what->other, stoa_stand_ROW_unlinked, NULL); }
    if (actor && actor->more) { (void)unlink_made(core, actor, what->other); }
    stoa_place_free(&core->place, msg);
}

void stoa_port_unlink(stoa_port *port, stoa_ref to, stoa_ref stand)
{
    stoa_msg *msg = stoa_slab_new_surely(&port->place.slab, sizeof(undoing), STOA_MSG_ACT);
    if (!msg) { return; }
    *(undoing *)stoa_msg_body(msg) = (undoing){.act = {.run = unlink_there}, .other = stand};
    msg->to = to;
    msg->from = stand;
    msg->row = NULL;
    stoa_place_push(&port->place, stoa_ref_place(to), msg);
}

static void break_arrives(stoa_core *core, stoa_msg *msg)
{
    if (stoa_away_act(core, msg)) { return; }
    const tie_block *block = block_of(msg);
    stoa_actor *actor = stoa_core_actor(core, msg->to);
    bool linked = actor && actor->more && unlink_made(core, actor, block->target);
    if (linked) {
        pass_on(core, msg, actor, block->target, block->fate);
    } else {
        stoa_place_free(&core->place, msg);
    }
}

void stoa_port_break(stoa_port *port, stoa_ref to, stoa_ref about, stoa_end why, const char *text)
{
    tell_of(port, to, about, why, text, break_arrives);
}

static void unlink_here(stoa_core *core, stoa_msg *msg)
{
    undoing *what = stoa_msg_body(msg);
    stoa_ref self = msg->from, other = what->other;
    stoa_actor *actor = stoa_core_actor(core, self);
    if (actor && actor->more) {
        (void)unlink_made(core, actor, other);
        unlink_watched(core, actor, other);
    }
    if (!other.at || stoa_ref_place(other) >= core->place.node->core_count) {
        stoa_place_free(&core->place, msg);
        return;
    }
    what->act = (stoa_act){.run = unlink_there};
    what->other = self;
    msg->to = other;
    send(core, actor, msg);
}

static void stage_undoing(stoa_turn *turn, void (*run)(stoa_core *core, stoa_msg *msg), stoa_ref other, uint64_t id)
{
    stoa_turning *t = (stoa_turning *)turn;
    stoa_msg *msg = stoa_act_new(t, sizeof(undoing), run, NULL);
    if (!msg) { return; } /* no memory: what is not undone tells once too often */
    undoing *what = stoa_msg_body(msg);
    what->other = other;
    what->id = id;
    stoa_turning_stage(t, msg);
}

void stoa_turn_demonitor(stoa_turn *turn, uint64_t id)
{
    stage_undoing(turn, stop_monitoring, STOA_REF_NONE, id);
}

void stoa_turn_unlink(stoa_turn *turn, stoa_ref actor)
{
    stage_undoing(turn, unlink_here, actor, 0);
}

/* --- stopping others */

stoa_err stoa_turn_stop(stoa_turn *turn, stoa_ref actor, const char *reason)
{
    stoa_turning *t = (stoa_turning *)turn;
    uint32_t place = stoa_ref_place(actor);
    if (!actor.at || place >= t->core->place.node->core_count) { return STOA_E_CLOSED; }
    if (place == t->core->place.index) {
        const stoa_actor *target = stoa_core_actor(t->core, actor);
        if (!target && !stoa_away(t->core, actor)) { return STOA_E_CLOSED; }
        if (target && target->shard) { return STOA_E_UNSUPPORTED; }
    }
    stoa_msg *msg = stoa_act_new(t, sizeof(end_signal), post_signal, NULL);
    if (!msg) { return STOA_E_FULL; }
    end_signal *what = stoa_msg_body(msg);
    what->stop = true;
    what->fate = (stoa_fate){.text = reason ? reason : "shutdown",
                             .why = reason ? stoa_end_FAILED : stoa_end_SHUTDOWN,
                             .stays_away = true};
    msg->to = actor;
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_exit(stoa_turn *turn, const char *reason)
{
    stoa_turning *t = (stoa_turning *)turn;
    if (t->actor->shard) { return STOA_E_UNSUPPORTED; }
    t->after |= STOA_AFTER_EXIT;
    t->exits = reason;
    return STOA_OK;
}
