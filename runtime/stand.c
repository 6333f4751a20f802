/* stand.c - see stand.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stand.h"

#include "runtime/links.h"
#include "runtime/mailbox.h"
#include "runtime/once.h"
#include "runtime/turning.h"

typedef struct stand {
    stoa_ref port;
    uint64_t word;
    bool held;
} stand;

/* --- its turns */

static stoa_err pass(stoa_turn *turn, void *state, const void *in, void *out)
{
    stoa_turning *t = stoa_turning_of(turn);
    const stand *self = state;
    stoa_msg *was = t->msg;
    uint32_t bytes = was->row->payload.size_bytes, place = stoa_ref_place(self->port);
    (void)out;
    if (!stoa_place_room(&t->core->place, place)) { return STOA_E_FULL; }
    stoa_msg *msg = stoa_slab_new(&t->core->place.slab, stoa_request_key_at(bytes) + (uint32_t)sizeof(stoa_passed), STOA_MSG_CONTEXT);
    if (!msg) { return STOA_E_FULL; }
    msg->size_bytes = bytes;
    msg->to = self->port;
    msg->from = was->from;
    msg->row = was->row;
    stoa_msg_context(msg)->named = STOA_NAMED_PASSED;
    memcpy(stoa_msg_body(msg), in, bytes);
    stoa_passed *passed = (stoa_passed *)(void *)stoa_msg_key(msg);
    *passed = (stoa_passed){.stand = turn->self, .word = self->word, .urgent = was->flags & STOA_MSG_URGENT};
    if (was->flags & STOA_MSG_DUE) { passed->due_ns = stoa_msg_context(was)->due_ns; }
    passed->tells = was->flags & STOA_MSG_TOLD;
    if (passed->tells) { passed->told = stoa_msg_context(was)->ask; }
    if (t->reply_to.at) { stoa_turn_keep(turn, &passed->asker); }
    t->listed |= UINT64_C(1) << place;
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

STOA_TABLE_DEFINE(stoa_stand)

static const stoa_handler handlers[stoa_stand_ROW_END_ + 1] = {
    [stoa_stand_ROW_linked] = pass, [stoa_stand_ROW_unlinked] = pass, [stoa_stand_ROW_over] = pass};
static const stoa_hear hears[] = {{NULL, NULL}};
static const stoa_kind stand_kind = {.name = "stand",
                                     .rows = stoa_stand_rows,
                                     .rows_bytes = sizeof stoa_stand_rows,
                                     .table = &stoa_stand_table,
                                     .handlers = handlers,
                                     .hears = hears,
                                     .state_bytes = sizeof(stand),
                                     .any = pass};

/* --- links to it, which may tell more than its mailbox has room for */

bool stoa_stand_told(stoa_core *core, const stoa_actor *actor, stoa_ref who, unsigned row, const stoa_fate *fate)
{
    if (actor->kind != &stand_kind) { return true; }
    const stand *self = actor->state;
    stoa_stand_over over = {0};
    uint32_t bytes = stoa_stand_rows[row].payload.size_bytes;
    stoa_msg *msg = stoa_slab_new_surely(&core->place.slab, stoa_request_key_at(bytes) + (uint32_t)sizeof(stoa_passed), STOA_MSG_CONTEXT);
    if (!msg) { return false; }
    if (fate) {
        size_t length = fate->text ? strlen(fate->text) : 0;
        over.why = fate->why;
        (void)STOA_TEXT_SET(&over.text, fate->text, length < sizeof over.text.at ? length : sizeof over.text.at);
    }
    msg->size_bytes = bytes;
    msg->to = self->port;
    msg->from = who;
    msg->row = &stoa_stand_rows[row];
    *stoa_msg_context(msg) = (stoa_context){.named = STOA_NAMED_PASSED};
    memcpy(stoa_msg_body(msg), &over, bytes);
    *(stoa_passed *)(void *)stoa_msg_key(msg) = (stoa_passed){.stand = actor->self, .word = self->word};
    stoa_core_deliver(core, msg);
    return true;
}

bool stoa_is_stand(const stoa_actor *actor)
{
    return actor->kind == &stand_kind;
}

/* --- its life */

typedef struct order {
    stoa_port *port;
    stoa_ref ref;
    const stoa_ref *refs;
    uint32_t count;
    uint64_t word;
    const char *name, *text;
    stoa_end why;
    bool held;
    stoa_err err;
} order;

static void do_on_core(const order *o, uint32_t core, void (*fn)(stoa_core *core, void *context), order *context)
{
    stoa_node *node = o->port->place.node;
    if (core < node->core_count) { stoa_core_do(node->cores[core], fn, context); }
}

static void make(stoa_core *core, void *context)
{
    order *o = context;
    stoa_actor *actor;
    if (core->shutting_down) {
        o->err = STOA_E_UNAVAILABLE;
        return;
    }
    o->err = stoa_actor_new(core, &stand_kind, NULL, NULL, &actor);
    if (o->err) { return; }
    stoa_tree_add(core, NULL, actor);
    *(stand *)actor->state = (stand){.port = stoa_port_ref(o->port), .word = o->word};
    o->ref = actor->self;
}

stoa_err stoa_stand_new(stoa_port *port, uint32_t core, uint64_t word, stoa_ref *out)
{
    order o = {.port = port, .word = word, .err = STOA_E_INVALID};
    do_on_core(&o, core, make, &o);
    if (!o.err) { *out = o.ref; }
    return o.err;
}

static stoa_actor *stand_of(stoa_core *core, stoa_ref ref)
{
    stoa_actor *actor = stoa_core_actor(core, ref);
    return actor && actor->kind == &stand_kind ? actor : NULL;
}

static void give_name(stoa_core *core, void *context)
{
    order *o = context;
    stoa_actor *actor = stand_of(core, o->ref);
    stoa_actor_more *more = actor ? stoa_more(core, actor) : NULL;
    o->err = !actor ? STOA_E_CLOSED : !more ? STOA_E_NOMEM : stoa_names_add(&core->place.node->names, o->name, o->ref);
    if (o->err) { return; }
    (void)strncpy(more->name, o->name, STOA_NAME_MAX);
    const char *slash = strchr(more->name, '/');
    more->key = slash ? slash + 1 : more->name;
}

stoa_err stoa_stand_name(stoa_port *port, stoa_ref ref, const char *name)
{
    order o = {.port = port, .ref = ref, .name = name, .err = STOA_E_INVALID};
    if (strlen(name) <= STOA_NAME_MAX) { do_on_core(&o, stoa_ref_place(ref), give_name, &o); }
    return o.err;
}

static void take_name(stoa_core *core, void *context)
{
    const order *o = context;
    stoa_actor *actor = stand_of(core, o->ref);
    if (!actor || !actor->more || !actor->more->name[0]) { return; }
    stoa_names_remove(&core->place.node->names, actor->more->name);
    actor->more->name[0] = '\0';
}

void stoa_stand_unname(stoa_port *port, stoa_ref ref)
{
    order o = {.port = port, .ref = ref};
    do_on_core(&o, stoa_ref_place(ref), take_name, &o);
}

/* A mailbox that counts so many more than wait in it is full, and nobody runs it for that. */
static void set_held(stoa_core *core, stoa_actor *actor, bool held)
{
    stand *self = actor->state;
    if (self->held == held) { return; }
    self->held = held;
    actor->queued = held ? actor->queued + actor->limit : actor->queued - actor->limit;
    if (!held && (actor->flags & STOA_ACTOR_AWAITED)) { stoa_room_tell(core, actor, STOA_OK); }
}

static void end(stoa_core *core, void *context)
{
    const order *o = context;
    for (uint32_t i = 0; i < o->count; i++) {
        stoa_actor *actor = stand_of(core, o->refs[i]);
        if (!actor) { continue; }
        set_held(core, actor, false);
        stoa_tree_stop(core, actor, (stoa_fate){.text = o->text, .why = o->why, .stays_away = true, .kill = true});
    }
}

void stoa_stand_end(stoa_port *port, const stoa_ref *stands, uint32_t count, stoa_end why, const char *text)
{
    order o = {.port = port, .refs = stands, .count = count, .why = why, .text = text};
    if (count) { do_on_core(&o, stoa_ref_place(stands[0]), end, &o); }
}

static void hold(stoa_core *core, void *context)
{
    const order *o = context;
    stoa_actor *actor = stand_of(core, o->ref);
    if (actor) { set_held(core, actor, o->held); }
}

void stoa_stand_hold(stoa_port *port, stoa_ref ref, bool held)
{
    order o = {.port = port, .ref = ref, .held = held};
    do_on_core(&o, stoa_ref_place(ref), hold, &o);
}

/* --- answers */

/* An answer for who asked from another port, to which this one has no ring: a core of both sends it. */
typedef struct relay {
    stoa_act act;
    stoa_asker asker;
    stoa_ref from;
    const stoa_row *row;
    int64_t error;
} relay;

static void relay_runs(stoa_core *core, stoa_msg *msg)
{
    const relay *what = stoa_msg_body(msg);
    uint32_t bytes = what->row ? what->row->payload.size_bytes : 0;
    stoa_msg *answer = stoa_slab_new_surely(&core->place.slab, bytes, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
    if (answer) {
        answer->to = what->asker.who;
        answer->from = what->from;
        answer->row = what->row;
        *stoa_msg_context(answer) =
            (stoa_context){.ask = what->asker.ask, .command = what->asker.command, .error = (int32_t)what->error};
        memcpy(stoa_msg_body(answer), what + 1, bytes);
    }
    stoa_place_free(&core->place, msg);
    if (answer) { stoa_core_deliver(core, answer); }
}

static stoa_err relay_answer(stoa_port *port, const stoa_passed *passed, const stoa_row *row, const void *payload, stoa_err error)
{
    uint32_t bytes = row ? row->payload.size_bytes : 0;
    stoa_msg *msg = stoa_slab_new_surely(&port->place.slab, (uint32_t)sizeof(relay) + bytes, STOA_MSG_ACT);
    if (!msg) { return stoa_slab_why_not(bytes); }
    relay *what = stoa_msg_body(msg);
    *what = (relay){.act = {.run = relay_runs}, .asker = passed->asker, .from = passed->stand, .row = row, .error = error};
    if (bytes) { memcpy(what + 1, payload, bytes); }
    msg->to = passed->stand;
    msg->from = stoa_port_ref(port);
    msg->row = NULL;
    stoa_place_push(&port->place, stoa_ref_place(passed->stand), msg);
    return STOA_OK;
}

stoa_err stoa_port_answer(stoa_port *port, const stoa_passed *passed, const stoa_row *row, const void *payload, stoa_err error)
{
    uint32_t place = stoa_ref_place(passed->asker.who);
    if (!passed->asker.who.at) { return STOA_OK; }
    if (error) { row = NULL; }
    if (place >= port->place.node->core_count) { return relay_answer(port, passed, row, payload, error); }
    uint32_t bytes = row ? row->payload.size_bytes : 0;
    stoa_msg *msg = stoa_slab_new_surely(&port->place.slab, bytes, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
    if (!msg) { return stoa_slab_why_not(bytes); }
    msg->to = passed->asker.who;
    msg->from = passed->stand;
    msg->row = row;
    *stoa_msg_context(msg) =
        (stoa_context){.ask = passed->asker.ask, .command = passed->asker.command, .error = (int32_t)error};
    if (row) { memcpy(stoa_msg_body(msg), payload, bytes); }
    stoa_place_push(&port->place, place, msg);
    return STOA_OK;
}

bool stoa_port_refuse(stoa_port *port, stoa_ref from, const stoa_passed *passed, const stoa_row *row, stoa_err why)
{
    if (passed->asker.who.at) { return stoa_port_answer(port, passed, NULL, NULL, why) == STOA_OK; }
    if (!passed->tells || stoa_ref_place(from) >= port->place.node->core_count) { return false; }
    stoa_system_refused says = {.ref = passed->stand.at, .token = passed->told, .error = why, .row = row->id};
    stoa_msg *msg = stoa_slab_new_surely(&port->place.slab, sizeof says, STOA_MSG_CONTEXT | STOA_MSG_SYSTEM);
    if (!msg) { return false; }
    msg->to = from;
    msg->from = passed->stand;
    msg->row = &stoa_system_rows[stoa_system_ROW_refused];
    memcpy(stoa_msg_body(msg), &says, sizeof says);
    stoa_place_push(&port->place, stoa_ref_place(from), msg);
    return true;
}

/* --- dead letters */

typedef struct letter {
    stoa_act act;
    const stoa_row *row;
    stoa_ref to;
} letter;

static void letter_arrives(stoa_core *core, stoa_msg *msg)
{
    const letter *what = stoa_msg_body(msg);
    stoa_core_letter(core, what->to, msg->from, what->row, STOA_E_STALE);
    stoa_place_free(&core->place, msg);
}

void stoa_port_letter(stoa_port *port, uint32_t core, stoa_ref to, stoa_ref from, const stoa_row *row)
{
    uint32_t place = to.at && stoa_ref_place(to) < port->place.node->core_count ? stoa_ref_place(to) : core;
    stoa_msg *msg = stoa_slab_new(&port->place.slab, sizeof(letter), STOA_MSG_ACT);
    if (!msg) { return; } /* counted by who dropped it */
    *(letter *)stoa_msg_body(msg) = (letter){.act = {.run = letter_arrives}, .row = row, .to = to};
    msg->to = stoa_ref_make(0, place, 0);
    msg->from = from;
    msg->row = NULL;
    stoa_place_push(&port->place, place, msg);
}

/* --- topics */

uint64_t stoa_patterns_changes(stoa_node *node)
{
    return atomic_load_explicit(&node->topics.changes, memory_order_relaxed);
}

static bool wanted(const stoa_audience *audience, uint64_t others)
{
    return audience && (atomic_load_explicit(&audience->places, memory_order_relaxed) & others);
}

void stoa_patterns_each(stoa_port *port, void (*visit)(void *context, const char *pattern), void *context)
{
    stoa_topics_table *topics = &port->place.node->topics;
    uint64_t others = ~(UINT64_C(1) << port->place.index);
    (void)pthread_mutex_lock(&topics->lock);
    for (uint32_t i = 0; i < topics->words.chains.size; i++) {
        for (stoa_link *link = topics->words.chains.at[i]; link; link = link->next) {
            const stoa_word *word = (const stoa_word *)link;
            const stoa_audience *members = word->topic ? atomic_load_explicit(&word->topic->members, memory_order_relaxed) : NULL;
            if (wanted(word->audience, others)) {
                visit(context, word->audience->pattern);
            } else if (wanted(members, others)) {
                visit(context, members->pattern);
            }
        }
    }
    (void)pthread_mutex_unlock(&topics->lock);
}

/* Published blocks are at home where they are counted: the core makes one of its own. */
typedef struct publishing {
    stoa_act act;
    stoa_topic *topic; /* in flight with this */
    const stoa_row *row;
    stoa_ref from;
    uint64_t place; /* who does not hear it */
} publishing;

static void publish(stoa_core *core, stoa_msg *msg)
{
    const publishing *what = stoa_msg_body(msg);
    uint32_t bytes = what->row->payload.size_bytes, place = (uint32_t)what->place;
    stoa_msg *published = stoa_slab_new(&core->place.slab, bytes, STOA_MSG_CONTEXT | STOA_MSG_TOPIC);
    if (published) {
        published->to = stoa_ref_make(0, core->place.index, 0);
        published->from = what->from;
        published->row = what->row;
        stoa_msg_context(published)->topic = what->topic;
        memcpy(stoa_msg_body(published), what + 1, bytes);
        stoa_core_fan_out_but(core, published, place);
    } else {
        core->dropped[STOA_DROP_MEMORY]++;
        stoa_topic_landed(what->topic);
    }
    stoa_place_free(&core->place, msg);
}

stoa_err stoa_port_publish_as(stoa_port *port, stoa_ref from, uint32_t core, const char *name, const stoa_row *row,
                              const void *payload)
{
    uint32_t bytes = row->payload.size_bytes;
    stoa_topic *topic;
    if (!stoa_place_room(&port->place, core)) { return STOA_E_FULL; }
    stoa_err err = stoa_topics_open(port->place.node, name, &topic);
    if (err) { return err; }
    atomic_fetch_add_explicit(&topic->published, 1, memory_order_relaxed);
    stoa_msg *msg = stoa_slab_new(&port->place.slab, (uint32_t)sizeof(publishing) + bytes, STOA_MSG_ACT);
    if (msg) { stoa_topic_takes_off(topic); }
    stoa_topics_unbind(port->place.node, topic);
    if (!msg) { return stoa_slab_why_not(bytes); }
    *(publishing *)stoa_msg_body(msg) =
        (publishing){.act = {.run = publish}, .topic = topic, .row = row, .from = from, .place = port->place.index};
    memcpy((publishing *)stoa_msg_body(msg) + 1, payload, bytes);
    msg->to = stoa_ref_make(0, core, 0);
    msg->from = stoa_port_ref(port);
    msg->row = NULL;
    stoa_place_push(&port->place, core, msg);
    return STOA_OK;
}

bool stoa_pattern_hears(const char *pattern, const char *topic)
{
    return stoa_topic_matches(pattern, topic);
}

/* --- the node */

stoa_clock *stoa_node_clock(stoa_node *node)
{
    return node->clock;
}

bool stoa_ref_is_port(stoa_node *node, stoa_ref ref)
{
    return stoa_ref_place(ref) >= node->core_count;
}

uint64_t stoa_port_due(const stoa_port *port)
{
    return port->due_ns;
}
