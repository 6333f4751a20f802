/* once.c - requests with a name in a running shard. See once.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/once.h"

#include <string.h>
#include <sys/mman.h>

#include "base/hash.h"
#include "base/map64.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

/* Whom an answer goes to. */
typedef struct asker {
    stoa_ref to;
    uint64_t ask, command;
} asker;

typedef struct under_way {
    stoa_request_key key; /* its fingerprint is of the actor, too */
    const stoa_row *reply;
    asker askers[1 + STOA_JOINED_MAX]; /* who asked first, and who joined */
    uint32_t asker_count; /* 0: the slot is free */
    uint32_t generation, next_free;
    bool away;   /* forwarded out of the shard: the answer comes from outside */
    bool effect; /* it had one */
    bool noted;  /* as begun */
} under_way;

struct stoa_once {
    under_way at[STOA_UNDER_WAY_MAX + 1]; /* [0] unused */
    STOA_MAP64(2 * STOA_UNDER_WAY_MAX) by_name; /* those that are away */
    uint32_t used, free, count;
    uint64_t began;        /* position applied when the cascade began */
    stoa_msg *answer;      /* its answer, which waits behind the wall */
    stoa_msg_list joined;  /* answers to who came later, stamped */
    stoa_shard_log_answered event;
    uint8_t reply[STOA_KEPT_REPLY_MAX];
};

uint64_t stoa_request_fingerprint(const stoa_row *row, const void *payload)
{
    const unsigned char *at = payload;
    size_t bytes = row->payload.size_bytes;
    while (bytes && at[bytes - 1] == 0) { bytes--; }
    uint64_t seed = stoa_hash64(row->id, row->kind, strlen(row->kind));
    return stoa_hash64(seed, payload, bytes);
}

stoa_err stoa_once_init(struct stoa_shard *shard)
{
    void *at = mmap(NULL, sizeof(struct stoa_once), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "requests of shard %s", shard->name); }
    shard->once = at;
    return STOA_OK;
}

void stoa_once_deinit(struct stoa_shard *shard)
{
    if (shard->once) { (void)munmap(shard->once, sizeof *shard->once); }
    shard->once = NULL;
}

/* --- slots */

/* By which the map finds it; two requests may have the same, and then one of them must wait. */
static uint64_t name_of(const stoa_request_key *key)
{
    uint64_t name = stoa_mix64(key->client ^ stoa_mix64(key->session ^ stoa_mix64(key->number)));
    return name ? name : 1;
}

static bool same_name(const stoa_request_key *a, const stoa_request_key *b)
{
    return a->client == b->client && a->session == b->session && a->number == b->number;
}

static uint32_t slot_new(struct stoa_once *once)
{
    uint32_t index = once->free;
    if (index) {
        once->free = once->at[index].next_free;
    } else if (once->used < STOA_UNDER_WAY_MAX) {
        index = ++once->used;
    }
    return index;
}

static void slot_free(struct stoa_once *once, under_way *slot)
{
    if (slot->away) {
        (void)STOA_MAP64_REMOVE(&once->by_name, name_of(&slot->key));
        once->count--;
    }
    *slot = (under_way){.generation = slot->generation, .next_free = once->free};
    once->free = (uint32_t)(slot - once->at);
}

/* The shard as one who asks: its place among those of the core, and the slot. */
static stoa_ref own_ref(const struct stoa_shard *shard)
{
    uint32_t index = 0;
    while (shard->core->shards[index] != shard) { index++; }
    return stoa_ref_make(0, shard->core->place.index, index + 1);
}

static uint64_t own_ask(const struct stoa_once *once, const under_way *slot)
{
    return (uint64_t)slot->generation << 32 | (uint32_t)(slot - once->at);
}

static under_way *slot_of_ask(struct stoa_once *once, uint64_t ask)
{
    uint32_t index = (uint32_t)ask;
    under_way *slot = index <= once->used ? &once->at[index] : &once->at[0];
    return slot->asker_count && slot->generation == ask >> 32 ? slot : NULL;
}

static asker asker_of(stoa_msg *msg)
{
    const stoa_context *context = stoa_msg_context(msg);
    return (asker){context->reply_to, context->ask, context->command};
}

/* --- answers */

static stoa_msg *answer_new(struct stoa_shard *shard, asker to, stoa_ref from, const stoa_row *row, stoa_err error)
{
    uint32_t bytes = row ? row->payload.size_bytes : 0;
    stoa_msg *msg = stoa_slab_new_surely(&shard->core->place.slab, bytes, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
    if (!msg) { return NULL; } /* who asked hears of its deadline, and asks again */
    msg->to = to.to;
    msg->from = from;
    msg->row = row;
    stoa_context *context = stoa_msg_context(msg);
    context->ask = to.ask;
    context->command = to.command;
    context->error = (int32_t)error;
    return msg;
}

/* An answer that depends on nothing behind `position`. */
static void answer_at(struct stoa_shard *shard, stoa_msg *msg, uint64_t position)
{
    stoa_msg_context(msg)->position = position;
    if (position <= shard->committed) {
        stoa_shard_release(shard, msg);
    } else {
        stoa_msg_list_push(&shard->once->joined, msg);
    }
}

void stoa_once_release(struct stoa_shard *shard)
{
    stoa_msg_list waiting = shard->once->joined;
    if (!waiting.head) { return; }
    shard->once->joined = (stoa_msg_list){0};
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(&waiting));) {
        answer_at(shard, msg, stoa_msg_context(msg)->position);
    }
}

static void refuse(struct stoa_shard *shard, stoa_msg *msg, stoa_err why)
{
    stoa_msg *answer = answer_new(shard, asker_of(msg), msg->to, NULL, why);
    if (answer) { answer_at(shard, answer, shard->applied); }
    stoa_place_free(&shard->core->place, msg);
}

/* The kept reply again. */
static void answer_again(struct stoa_shard *shard, stoa_msg *msg, const stoa_request *known)
{
    const stoa_row *row = known->error ? NULL : msg->row->reply;
    stoa_msg *answer = answer_new(shard, asker_of(msg), msg->to, row, (stoa_err)known->error);
    if (answer && row) {
        stoa_requests_reply(&shard->ledger->requests, known, shard->once->reply);
        stoa_err err = stoa_decode(&row->payload, shard->once->reply, known->bytes, stoa_msg_body(answer), NULL);
        if (err) { /* written by another build, whose reply this one cannot read */
            answer->row = NULL;
            stoa_msg_context(answer)->error = (int32_t)STOA_E_VERSION;
        }
    }
    if (answer) { answer_at(shard, answer, known->position); }
    stoa_place_free(&shard->core->place, msg);
}

/* --- a request arrives */

static void join(struct stoa_shard *shard, under_way *slot, stoa_msg *msg)
{
    if (slot->asker_count == 1 + STOA_JOINED_MAX) {
        stoa_msg *told = answer_new(shard, slot->askers[0], msg->to, NULL, STOA_E_UNAVAILABLE);
        if (told) { answer_at(shard, told, shard->applied); }
        memmove(slot->askers, slot->askers + 1, STOA_JOINED_MAX * sizeof slot->askers[0]);
        slot->asker_count--;
    }
    slot->askers[slot->asker_count++] = asker_of(msg);
    stoa_place_free(&shard->core->place, msg);
}

static void begin_new(struct stoa_shard *shard, uint32_t index, const stoa_request_key *key, stoa_msg *msg)
{
    under_way *slot = &shard->once->at[index];
    *slot = (under_way){.key = *key,
                        .reply = msg->row->reply,
                        .askers = {asker_of(msg)},
                        .asker_count = 1,
                        .generation = slot->generation + 1};
    shard->request = index;
    shard->once->began = shard->applied;
}

/* One that this shard forwarded comes back to one of its actors. */
static void begin_again(struct stoa_shard *shard, uint64_t ask)
{
    const under_way *slot = slot_of_ask(shard->once, ask);
    shard->request = slot ? (uint32_t)(slot - shard->once->at) : 0;
    shard->once->began = shard->applied;
}

static bool begin_named(struct stoa_shard *shard, const stoa_actor *actor, stoa_msg *msg)
{
    struct stoa_once *once = shard->once;
    stoa_request_key key = *stoa_msg_key(msg);
    key.fingerprint = stoa_mix64(key.fingerprint ^ actor->stream);
    const stoa_request *known;
    stoa_err err = stoa_requests_find(&shard->ledger->requests, key.client, key.session, key.number, &known);
    uint32_t there = once->count ? STOA_MAP64_GET(&once->by_name, name_of(&key)) : 0;
    under_way *slot = there ? &once->at[there] : NULL;
    if (!err && known && known->fingerprint != key.fingerprint) { err = STOA_E_DUPLICATE; }
    if (!err && known && known->state == stoa_request_state_TOO_LONG) { err = STOA_E_TOO_LARGE; }
    if (!err && known && known->state == stoa_request_state_ANSWERED) {
        answer_again(shard, msg, known);
        return true;
    }
    if (!err && slot && !same_name(&slot->key, &key)) { err = STOA_E_FULL; }
    if (!err && slot && slot->key.fingerprint != key.fingerprint) { err = STOA_E_DUPLICATE; }
    if (!err && slot) {
        join(shard, slot, msg);
        return true;
    }
    if (!err && known) { err = STOA_E_STALE; } /* its answer is lost */
    uint32_t index = err ? 0 : slot_new(once);
    if (!err && !index) { err = STOA_E_FULL; }
    if (err) {
        refuse(shard, msg, err);
        return true;
    }
    begin_new(shard, index, &key, msg);
    return false;
}

bool stoa_once_begin(struct stoa_shard *shard, stoa_actor *actor, stoa_msg *msg)
{
    if ((msg->flags & (STOA_MSG_CONTEXT | STOA_MSG_ANSWER | STOA_MSG_FIRED | STOA_MSG_LENT)) != STOA_MSG_CONTEXT) { return false; }
    const stoa_context *context = stoa_msg_context(msg);
    if (context->named) { return begin_named(shard, actor, msg); }
    if (!context->reply_to.at || !stoa_ref_equal(context->reply_to, own_ref(shard))) { return false; }
    begin_again(shard, context->ask);
    if (shard->request) { return false; }
    stoa_core_dead_letter(shard->core, msg, STOA_E_STALE); /* it was given up, and may have been asked anew */
    stoa_place_free(&shard->core->place, msg);
    return true;
}

/* --- what leaves */

static bool is_for(const stoa_msg *msg, const stoa_context *context, asker who)
{
    return stoa_ref_equal(msg->to, who.to) && context->ask == who.ask;
}

/* The answer of a request that was away: to who asked, in place of the shard. */
static void turn_home(struct stoa_shard *shard, stoa_msg *msg, const under_way *slot)
{
    stoa_context *context = stoa_msg_context(msg);
    if (!stoa_ref_equal(msg->to, own_ref(shard)) || context->ask != own_ask(shard->once, slot)) { return; }
    msg->to = slot->askers[0].to;
    context->ask = slot->askers[0].ask;
    context->command = slot->askers[0].command;
}

/* Forwarded out of the shard: the answer is to come back here. */
static void send_away(struct stoa_shard *shard, stoa_context *context, under_way *slot)
{
    struct stoa_once *once = shard->once;
    uint64_t name = name_of(&slot->key);
    bool taken = STOA_MAP64_GET(&once->by_name, name) != 0;
    if (!slot->away && taken) { return; } /* answered past the shard: a retry finds it begun, and its answer lost */
    if (!slot->away) {
        STOA_MAP64_PUT(&once->by_name, name, (uint32_t)(slot - once->at));
        once->count++;
    }
    slot->away = true;
    context->reply_to = own_ref(shard);
    context->ask = own_ask(once, slot);
}

void stoa_once_leaving(struct stoa_shard *shard, stoa_msg *msg)
{
    if (!(msg->flags & STOA_MSG_CONTEXT) || (msg->flags & (STOA_MSG_TOPIC | STOA_MSG_ACT))) { return; }
    under_way *slot = &shard->once->at[shard->request];
    stoa_context *context = stoa_msg_context(msg);
    if (!(msg->flags & STOA_MSG_ANSWER)) {
        bool first = stoa_ref_equal(context->reply_to, slot->askers[0].to) && context->ask == slot->askers[0].ask;
        if (first && context->reply_to.at) { send_away(shard, context, slot); }
        return;
    }
    turn_home(shard, msg, slot);
    if (!shard->once->answer && is_for(msg, context, slot->askers[0])) { shard->once->answer = msg; }
}

/* --- the end of its cascade */

static void note(struct stoa_shard *shard, const under_way *slot, stoa_request_state state, stoa_msg *answer)
{
    stoa_shard_log_answered *event = &shard->once->event;
    const stoa_request_key *key = &slot->key;
    stoa_writer w = {.at = event->reply.at, .cap_bytes = sizeof event->reply.at};
    if (answer && answer->row && stoa_encode(&answer->row->payload, stoa_msg_body(answer), &w)) {
        state = stoa_request_state_TOO_LONG;
        w.used_bytes = 0;
    }
    event->client = key->client;
    event->session = key->session;
    event->number = key->number;
    event->fingerprint = key->fingerprint;
    event->position = shard->applied + 1;
    event->error = answer ? stoa_msg_context(answer)->error : 0;
    event->state = state;
    event->reply.count = (uint32_t)w.used_bytes;
    stoa_shard_note(shard, stoa_shard_log_ROW_answered, event, NULL);
}

/* The same for who joined. */
static void answer_joined(struct stoa_shard *shard, const under_way *slot, stoa_msg *answer)
{
    for (uint32_t i = 1; i < slot->asker_count; i++) {
        stoa_err error = (stoa_err)stoa_msg_context(answer)->error;
        stoa_msg *copy = answer_new(shard, slot->askers[i], answer->from, answer->row, error);
        if (!copy) { continue; }
        if (answer->row) { memcpy(stoa_msg_body(copy), stoa_msg_body(answer), answer->size_bytes); }
        answer_at(shard, copy, stoa_msg_context(answer)->position);
    }
}

void stoa_once_end(struct stoa_shard *shard)
{
    struct stoa_once *once = shard->once;
    under_way *slot = &once->at[shard->request];
    stoa_msg *answer = once->answer;
    shard->request = 0;
    once->answer = NULL;
    if (answer && answer->row && answer->row != slot->reply) { stoa_msg_refuse(answer, STOA_E_MALFORMED); }
    slot->effect = slot->effect || shard->applied != once->began;
    if (shard->down) { slot->effect = false; } /* nothing is noted */
    if (answer) {
        if (slot->effect) {
            note(shard, slot, stoa_request_state_ANSWERED, answer);
            stoa_msg_context(answer)->position = shard->applied;
        }
        answer_joined(shard, slot, answer);
    } else if (slot->effect && !slot->noted) {
        note(shard, slot, stoa_request_state_BEGUN, NULL);
        slot->noted = true;
    }
    if (answer || !slot->away) { slot_free(once, slot); }
}

/* --- answers from outside */

void stoa_once_take(stoa_core *core, stoa_msg *msg)
{
    uint32_t index = stoa_ref_index(msg->to);
    struct stoa_shard *shard = index && index <= core->shard_count ? core->shards[index - 1] : NULL;
    if (!shard || shard->down) {
        stoa_core_dead_letter(core, msg, STOA_E_CLOSED);
        stoa_place_free(&core->place, msg);
        return;
    }
    stoa_msg_list_push(&shard->inbox, msg);
    if (!shard->stalled) { stoa_core_enqueue(core, &shard->run); }
}

void stoa_once_returned(struct stoa_shard *shard, stoa_msg *msg)
{
    begin_again(shard, stoa_msg_context(msg)->ask);
    if (!shard->request) {
        stoa_core_dead_letter(shard->core, msg, STOA_E_TIMEOUT);
        stoa_place_free(&shard->core->place, msg);
        return;
    }
    stoa_shard_wall(shard, msg);
}

void stoa_once_drop(struct stoa_shard *shard, stoa_err err)
{
    struct stoa_once *once = shard->once;
    for (uint32_t i = 1; i <= once->used; i++) {
        under_way *slot = &once->at[i];
        for (uint32_t k = 0; k < slot->asker_count; k++) {
            stoa_msg *told = answer_new(shard, slot->askers[k], STOA_REF_NONE, NULL, err);
            if (told) { stoa_shard_release(shard, told); }
        }
        if (slot->asker_count) { slot_free(once, slot); }
    }
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(&once->joined));) {
        asker who = {msg->to, stoa_msg_context(msg)->ask, stoa_msg_context(msg)->command};
        stoa_msg *told = answer_new(shard, who, msg->from, NULL, err);
        if (told) { stoa_shard_release(shard, told); }
        stoa_place_free(&shard->core->place, msg);
    }
}
