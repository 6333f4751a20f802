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

/* One of the child's own table, or of a table that it was given. */
static const stoa_row *find_row(const stoa_turn *turn, const stoa_isolated *self, const stoa_isolate_head *head)
{
    const stoa_row *row = row_of(((const stoa_turning *)turn)->actor->kind->table, head);
    for (uint32_t i = 0; !row && self->options.tables && self->options.tables[i]; i++) {
        row = row_of(self->options.tables[i], head);
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
    if (!may_send_to(turn, self, o->head->ref)) { return TARGET; }
    if (!row || row->cls == STOA_ROW_EVENT || row->cls == STOA_ROW_REPLY) { return ROW; }
    if (!read_payload(row, o)) { return GARBAGE; }
    *row_out = row;
    return NULL;
}

static const char *obey_send(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    const stoa_row *row;
    const char *fault = read_message(turn, self, o, &row);
    if (!fault && stoa_turn_send(turn, (stoa_ref){o->head->ref}, row, decoded)) { self->dropped++; }
    return fault;
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
    if (stoa_isolate_tell(self, &head, row->reply, decoded)) { return "isolate: no room to answer it"; }
    self->known_count = stoa_isolate_know(self->known, self->known_count, STOA_ISOLATE_KNOWN_HERE, head.ref);
    return NULL;
}

static const char *obey_wake(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    if (++self->ops > STOA_ISOLATE_SENDS || o->payload_bytes) { return FLOOD; }
    stoa_turn_cancel(turn, self->tick);
    self->tick = (stoa_timer){0};
    stoa_isolate_self_tick nothing = {0};
    const stoa_row *row = &stoa_isolate_self_rows[stoa_isolate_self_ROW_tick];
    return stoa_turn_after(turn, o->head->ns, row, &nothing, &self->tick) ? "isolate: no room for its timer" : NULL;
}

/* An error is one of the vocabulary, as a handler returns it. */
static const char *obey_done(stoa_turn *turn, stoa_isolated *self, const order *o)
{
    uint64_t slot = self->done % STOA_ISOLATE_SLOTS;
    const stoa_row *row = self->turns[slot].row, *reply = row ? row->reply : NULL;
    stoa_err error = (stoa_err)o->head->error;
    if (error && (o->head->error > 0 || strcmp(stoa_err_name(error), "UNKNOWN") == 0)) { return GARBAGE; }
    if (reply && !error && !read_payload(reply, o)) { return GARBAGE; }
    if ((!reply || error) && o->payload_bytes) { return GARBAGE; }
    if (self->done == 0 && error) { return "isolate: it refused to start"; }
    if (reply) { (void)stoa_turn_answer_kept(turn, &self->turns[slot].asker, reply, decoded, error); }
    self->done++;
    self->ops = 0;
    if (self->exits) { return self->exit_reason; }
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
    } words[] = {{STOA_ISOLATE_SEND, obey_send}, {STOA_ISOLATE_ASK, obey_ask},       {STOA_ISOLATE_WAKE, obey_wake},
                 {STOA_ISOLATE_DONE, obey_done}, {STOA_ISOLATE_FAILED, obey_failed}, {STOA_ISOLATE_EXIT, obey_exit}};
    stoa_isolate_head head;
    order o = {.head = &head};
    if (stoa_isolate_frame_read(bytes, size_bytes, &head, &o.payload, &o.payload_bytes)) { return GARBAGE; }
    if (head.turn != self->done || self->done == self->sent) { return GARBAGE; }
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].word == head.word) { return words[i].obey(turn, self, &o); }
    }
    return GARBAGE;
}
