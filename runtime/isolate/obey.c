/* isolate/obey.c - what a child wants done, checked and done in a turn of its proxy.
 *
 * bytes are a copy: nothing changes them any more. A child that follows the rules is never refused here, so every refusal is an end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "runtime/isolate/proxy.h"
#include "runtime/turning.h"

#define GARBAGE "isolate: what it wrote is no message"
#define FLOOD   "isolate: too many messages of one turn"
#define TARGET  "isolate: it sent to whom it may not"
#define ROW     "isolate: it sent what it may not"
#define SUBJECT "isolate: a topic that it may not use"

/* Of what is decoded, in memory: rows that take more do not pass. */
enum { DECODED_MAX = 64 << 10 };
static _Thread_local _Alignas(16) uint8_t decoded[DECODED_MAX];

typedef struct order {
    const stoa_isolate_head *head;
    const uint8_t *payload;
    uint32_t payload_bytes;
} order;

static bool is_among(const uint64_t *refs, uint32_t count, uint64_t ref)
{
    for (uint32_t i = 0; i < count; i++) {
        if (refs[i] == ref) { return true; }
    }
    return false;
}

static bool may_send_to(const stoa_turn *turn, const stoa_isolated *self, uint64_t ref)
{
    return ref && (ref == turn->self.at || is_among(self->known, self->known_count, ref) ||
                   is_among(self->peers, self->peer_count, ref));
}

static const stoa_row *row_of(const stoa_table *table, const stoa_isolate_head *head)
{
    bool here = strcmp(table->name, head->table) == 0 && head->row >= 1 && head->row <= table->row_count;
    return here ? &table->rows[head->row] : NULL;
}

/* One of the child's own table, of those that others send it, or of a table that it was given. */
static const stoa_row *find_row(const stoa_turn *turn, const stoa_isolated *self, const stoa_isolate_head *head)
{
    const stoa_kind *kind = ((const stoa_turning *)turn)->actor->kind;
    const stoa_row *row = row_of(kind->table, head);
    for (uint32_t i = 0; !row && self->options.tables && self->options.tables[i]; i++) {
        row = row_of(self->options.tables[i], head);
    }
    for (const stoa_hear *hear = kind->hears; !row && hear->row; hear++) {
        bool passed = hear->handler == stoa_isolate_pass && strcmp(hear->row->kind, stoa_system_table.name) != 0;
        if (passed && hear->row->id == head->row && strcmp(hear->row->kind, head->table) == 0) { row = hear->row; }
    }
    return row;
}

static bool read_payload(const stoa_row *row, const order *o)
{
    return row->payload.size_bytes <= DECODED_MAX &&
           !stoa_isolate_payload_read(&row->payload, o->payload, o->payload_bytes, decoded);
}

/* The row and the payload of something to send. */
static const char *read_message(const stoa_turn *turn, stoa_isolated *self, const order *o, const stoa_row **row_out)
{
    uint32_t sends = self->options.sends ? self->options.sends : STOA_ISOLATE_SENDS;
    const stoa_row *row = find_row(turn, self, o->head);
    if (++self->ops > sends) { return FLOOD; }
    if (o->head->word != STOA_ISOLATE_PUBLISH && !may_send_to(turn, self, o->head->ref)) { return TARGET; }
    if (!row || row->cls == STOA_ROW_EVENT || row->cls == STOA_ROW_REPLY) { return ROW; }
    if (!read_payload(row, o)) { return GARBAGE; }
    *row_out = row;
    return NULL;
}

/* What it sent has reached nobody: a dead letter, and counted. */
static void dropped(stoa_turn *turn, stoa_isolated *self, stoa_ref to, const stoa_row *row, stoa_err why)
{
    stoa_drop reason = stoa_drop_of(why);
    self->dropped[reason]++;
    if (self->options.drops) { stoa_counter_add(&self->options.drops[reason], 1); }
    stoa_core_letter(((const stoa_turning *)turn)->core, to, turn->self, row, why);
}

static const char *obey_send(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const stoa_row *row;
    const char *fault = read_message(turn, self, o, &row);
    if (fault) { return fault; }
    stoa_ref to = {o->head->ref};
    uint64_t within_ns = o->head->ns;
    stoa_err err = within_ns ? stoa_turn_send_within(turn, to, row, decoded, within_ns) : stoa_turn_send(turn, to, row, decoded);
    if (err) { dropped(turn, self, to, row, err); }
    return NULL;
}

/* What the runtime would tell the child. Where so much is under way that there is no turn for it, it is lost, and counted. */
static void tell_system(stoa_turn *turn, stoa_isolated *self, unsigned row, const void *payload)
{
    stoa_isolate_head head = {.word = STOA_ISOLATE_MESSAGE, .ns = turn->now_ns, .wall_ns = turn->wall_ns};
    stoa_err err = stoa_isolate_tell(self, &head, NULL, &stoa_system_rows[row], payload);
    if (err) { dropped(turn, self, turn->self, &stoa_system_rows[row], err); }
}

static const char *obey_told(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const stoa_row *row;
    const char *fault = read_message(turn, self, o, &row);
    stoa_ref to = {o->head->ref};
    stoa_err err = fault ? STOA_OK : stoa_turn_send_told(turn, to, row, decoded, o->head->token);
    stoa_system_refused refused = {.ref = to.at, .token = o->head->token, .error = (int32_t)err, .row = o->head->row};
    if (err) { tell_system(turn, self, stoa_system_ROW_refused, &refused); }
    return fault;
}

static const char *obey_publish(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const stoa_row *row;
    const char *fault = read_message(turn, self, o, &row);
    if (fault) { return fault; }
    if (row->cls == STOA_ROW_COMMAND || o->head->token >= STOA_TOPIC_SLOTS) { return ROW; }
    stoa_err err = stoa_turn_publish(turn, (unsigned)o->head->token, row, decoded);
    if (err && err != STOA_E_INVALID) { dropped(turn, self, STOA_REF_NONE, row, err); }
    return err == STOA_E_INVALID ? SUBJECT : NULL;
}

/* An ask that cannot be sent is answered here, as it would be by who refuses it. */
static const char *obey_ask(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const stoa_row *row;
    const char *fault = read_message(turn, self, o, &row);
    if (fault) { return fault; }
    if (!row->reply || row->reply->payload.size_bytes > DECODED_MAX) { return ROW; }
    if (self->asks == STOA_ISOLATE_ASKS) { return FLOOD; }
    stoa_err err = stoa_turn_ask(turn, (stoa_ref){o->head->ref}, row, decoded, o->head->ns, o->head->token);
    if (!err) {
        self->asks++;
        return NULL;
    }
    memset(decoded, 0, row->reply->payload.size_bytes);
    stoa_isolate_head head = {.word = STOA_ISOLATE_MESSAGE,
                              .ref = o->head->ref,
                              .token = o->head->token,
                              .ns = turn->now_ns,
                              .wall_ns = turn->wall_ns,
                              .error = (int32_t)err};
    if (stoa_isolate_tell(self, &head, NULL, row->reply, decoded)) { return "isolate: no room to answer it"; }
    self->known_count = stoa_isolate_know(self->known, self->known_count, STOA_ISOLATE_KNOWN_HERE, head.ref);
    return NULL;
}

static const char *obey_wake(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    if (++self->ops > STOA_ISOLATE_SENDS + 1 || o->payload_bytes) { return FLOOD; } /* it comes on top of what a turn sent */
    stoa_turn_cancel(turn, self->tick);
    self->tick = (stoa_timer){0};
    stoa_isolate_self_tick nothing = {0};
    const stoa_row *row = &stoa_isolate_self_rows[stoa_isolate_self_ROW_tick];
    return stoa_turn_after(turn, o->head->ns, row, &nothing, &self->tick) ? "isolate: no room for its timer" : NULL;
}

/* --- rooms, monitors, links, topics: each counts as a message of the turn */

/* One without a payload that names an actor. */
static const char *read_actor(const stoa_turn *turn, stoa_isolated *self, const order *o)
{
    if (++self->ops > STOA_ISOLATE_SENDS) { return FLOOD; }
    if (o->payload_bytes) { return GARBAGE; }
    return may_send_to(turn, self, o->head->ref) ? NULL : TARGET;
}

static const char *obey_when_room(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const char *fault = read_actor(turn, self, o);
    stoa_ref to = {o->head->ref};
    stoa_err err = fault ? STOA_OK : stoa_turn_when_room(turn, to, o->head->token);
    stoa_system_room room = {.ref = to.at, .token = o->head->token, .error = (int32_t)err};
    if (err) { tell_system(turn, self, stoa_system_ROW_room, &room); }
    return fault;
}

static const char *obey_monitor(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const char *fault = read_actor(turn, self, o);
    uint32_t at = 0;
    if (fault) { return fault; }
    while (at < STOA_ISOLATE_MONITORS && self->monitors[at].id) { at++; }
    if (at == STOA_ISOLATE_MONITORS) { return FLOOD; }
    self->monitors[at].id = stoa_turn_monitor(turn, (stoa_ref){o->head->ref});
    self->monitors[at].token = o->head->token;
    return self->monitors[at].id ? NULL : "isolate: no room for its monitor";
}

static const char *obey_demonitor(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    if (++self->ops > STOA_ISOLATE_SENDS || o->payload_bytes) { return FLOOD; }
    for (uint32_t i = 0; i < STOA_ISOLATE_MONITORS; i++) {
        if (!self->monitors[i].id || self->monitors[i].token != o->head->token) { continue; }
        stoa_turn_demonitor(turn, self->monitors[i].id);
        self->monitors[i].id = 0;
    }
    return NULL;
}

static const char *obey_link(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const char *fault = read_actor(turn, self, o);
    if (fault) { return fault; }
    return stoa_turn_link(turn, (stoa_ref){o->head->ref}) ? "isolate: no room for its link" : NULL;
}

static const char *obey_unlink(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const char *fault = read_actor(turn, self, o);
    if (!fault) { stoa_turn_unlink(turn, (stoa_ref){o->head->ref}); }
    return fault;
}

static stoa_err bind(stoa_turn *turn, uint32_t slot, const char *name)
{
    return slot < STOA_TOPIC_SLOTS ? stoa_turn_bind(turn, slot, name) : STOA_E_INVALID;
}

static const char *obey_topic(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    static stoa_err (*const take[])(stoa_turn *turn, const char *name) = {
        [STOA_ISOLATE_SUBSCRIBE] = stoa_turn_subscribe,
        [STOA_ISOLATE_UNSUBSCRIBE] = stoa_turn_unsubscribe,
        [STOA_ISOLATE_JOIN] = stoa_turn_join,
        [STOA_ISOLATE_LEAVE] = stoa_turn_leave};
    char name[STOA_NAME_MAX + 1];
    if (++self->ops > STOA_ISOLATE_SENDS) { return FLOOD; }
    if (o->payload_bytes || o->head->token >= STOA_ISOLATE_TOPIC_COUNT) { return GARBAGE; }
    bool binds = o->head->token == STOA_ISOLATE_BIND;
    stoa_isolate_frame_text(o->head, o->payload, name);
    bool may = binds ? stoa_isolate_grants(self->tells, self->tells_count, name)
                     : stoa_isolate_grants(self->hears, self->hears_count, name);
    if (!may) { return SUBJECT; }
    stoa_err err = binds ? bind(turn, o->head->row, name) : take[o->head->token](turn, name);
    if (err == STOA_E_INVALID) { return SUBJECT; }
    return err ? "isolate: no room for its topics" : NULL;
}

/* --- ends of a turn */

static const char *over(stoa_isolated *self)
{
    self->done++;
    self->ops = 0;
    return self->exits ? self->exit_reason : NULL;
}

/* One of the vocabulary, as a handler returns it. */
static bool is_error(int32_t error)
{
    return error < 0 && strcmp(stoa_err_name((stoa_err)error), "UNKNOWN") != 0;
}

static const char *obey_done(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    uint64_t slot = self->done % STOA_ISOLATE_SLOTS;
    const stoa_row *row = self->turns[slot].row, *reply = row ? row->reply : NULL;
    stoa_err error = (stoa_err)o->head->error;
    if (error && !is_error(o->head->error)) { return GARBAGE; }
    if (reply && !error && !read_payload(reply, o)) { return GARBAGE; }
    if ((!reply || error) && o->payload_bytes) { return GARBAGE; }
    if (self->done == 0 && error) { return "isolate: it refused to start"; }
    if (reply) { (void)stoa_turn_answer_kept(turn, &self->turns[slot].asker, reply, decoded, error); }
    return over(self);
}

static const char *obey_kept(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    uint64_t slot = self->done % STOA_ISOLATE_SLOTS, at = o->head->token % STOA_ISOLATE_KEEPS;
    const stoa_row *row = self->turns[slot].row;
    (void)turn;
    if (!row || !row->reply || !o->head->token || o->payload_bytes) { return GARBAGE; }
    self->kept[at].asker = self->turns[slot].asker;
    self->kept[at].reply = row->reply;
    self->kept[at].token = o->head->token;
    return over(self);
}

/* One that was answered, or forgotten, is nobody any more. */
static const char *obey_answer(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    uint64_t at = o->head->token % STOA_ISOLATE_KEEPS;
    stoa_err error = (stoa_err)o->head->error;
    if (++self->ops > STOA_ISOLATE_SENDS) { return FLOOD; }
    if (error && !is_error(o->head->error)) { return GARBAGE; }
    if (!o->head->token || self->kept[at].token != o->head->token) { return NULL; }
    const stoa_row *reply = self->kept[at].reply;
    if (!error && (o->head->row != reply->id || strcmp(o->head->table, reply->kind) != 0)) { return ROW; }
    if (error ? o->payload_bytes != 0 : !read_payload(reply, o)) { return GARBAGE; }
    (void)stoa_turn_answer_kept(turn, &self->kept[at].asker, reply, decoded, error);
    self->kept[at].token = 0;
    return NULL;
}

static const char *obey_failed(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    char text[64] = "";
    (void)turn, (void)self;
    memcpy(text, o->payload, o->payload_bytes < sizeof text ? o->payload_bytes : sizeof text - 1);
    for (char *at = text; *at; at++) {
        if (*at < ' ' || *at > '~') { *at = '?'; }
    }
    stoa_log(STOA_LOG_WARN, "isolate_failed", STOA_KV("reason", text));
    return "isolate: its turn failed";
}

static const char *obey_exit(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    (void)turn;
    self->exits = true;
    self->exit_reason = o->head->error ? "isolate: ended with a reason" : "";
    return o->payload_bytes ? GARBAGE : NULL;
}

const char *stoa_isolate_obey(stoa_turn *turn, stoa_isolated *self, const uint8_t *bytes, uint32_t size_bytes)
{
    static const struct {
        uint32_t word;
        const char *(*obey)(stoa_turn *turn, stoa_isolated *self, const order *o);
    } words[] = {{STOA_ISOLATE_SEND, obey_send},       {STOA_ISOLATE_ASK, obey_ask},
                 {STOA_ISOLATE_WAKE, obey_wake},       {STOA_ISOLATE_DONE, obey_done},
                 {STOA_ISOLATE_FAILED, obey_failed},   {STOA_ISOLATE_EXIT, obey_exit},
                 {STOA_ISOLATE_TOLD, obey_told},       {STOA_ISOLATE_WHEN_ROOM, obey_when_room},
                 {STOA_ISOLATE_MONITOR, obey_monitor}, {STOA_ISOLATE_DEMONITOR, obey_demonitor},
                 {STOA_ISOLATE_LINK, obey_link},       {STOA_ISOLATE_UNLINK, obey_unlink},
                 {STOA_ISOLATE_TOPIC, obey_topic},     {STOA_ISOLATE_PUBLISH, obey_publish},
                 {STOA_ISOLATE_KEPT, obey_kept},       {STOA_ISOLATE_ANSWER, obey_answer}};
    stoa_isolate_head head;
    order o = {.head = &head};
    if (stoa_isolate_frame_read(bytes, size_bytes, &head, &o.payload, &o.payload_bytes)) { return GARBAGE; }
    if (head.turn != self->done || self->done == self->sent) { return GARBAGE; }
    if (head.text_bytes && head.word != STOA_ISOLATE_TOPIC) { return GARBAGE; }
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].word == head.word) { return words[i].obey(turn, self, &o); }
    }
    return GARBAGE;
}
