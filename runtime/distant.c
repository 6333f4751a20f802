/* distant.c - runtime/distant.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/distant_internal.h"
#include "runtime/internal.h"

enum { FRAME_VERSION = 1 };
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are little endian");

struct stoa_distant {
    stoa_channel_peer peer; /* first */
    struct stoa_distant *next;
    stoa_port *port;
    _Atomic uint64_t way; /* the port's reference; 0: nobody carries to it */
    uint32_t there_bytes; /* of its name: what it calls itself */
    char name[STOA_SHARD_NAME_MAX];
};

/* Where an actor is expected. */
typedef struct stoa_distant_actor {
    struct stoa_distant_actor *next;
    const stoa_distant *home;
    char name[STOA_NAME_MAX + 1];
} stoa_distant_actor;

typedef struct stoa_distant_node {
    struct stoa_distant_node *next;
    bool complete;
    char name[STOA_SHARD_NAME_MAX];
} stoa_distant_node;

const stoa_row stoa_distant_row = {.kind = "channel", .name = "frame", .doc = "What a channel tells a shard of another node."};

/* --- who there is */

struct stoa_shard *stoa_node_shard_open(stoa_node *node, const char *name, size_t size)
{
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct stoa_shard *shard = node->shards[i];
        bool same = strlen(shard->name) == size && memcmp(shard->name, name, size) == 0;
        if (same && atomic_load_explicit(&shard->open, memory_order_acquire)) { return shard; }
    }
    return NULL;
}

static stoa_distant *distant_named(const stoa_node *node, const char *name, size_t size)
{
    stoa_distant *at = node->distants;
    while (at && !(strlen(at->name) == size && memcmp(at->name, name, size) == 0)) { at = at->next; }
    return at;
}

const stoa_channel_peer *stoa_distant_named(const stoa_node *node, const char *name, size_t size)
{
    const stoa_distant *found = distant_named(node, name, size);
    return found ? &found->peer : NULL;
}

stoa_ref stoa_distant_way(const stoa_channel_peer *peer)
{
    const stoa_distant *distant = (const stoa_distant *)(const void *)peer;
    return (stoa_ref){atomic_load_explicit(&distant->way, memory_order_relaxed)};
}

static const stoa_distant_actor *actor_named(const stoa_node *node, const char *actor)
{
    const stoa_distant_actor *at = node->distant_actors;
    while (at && strcmp(at->name, actor) != 0) { at = at->next; }
    return at;
}

const stoa_channel_peer *stoa_distant_home(const stoa_node *node, const char *actor)
{
    const stoa_distant_actor *found = actor_named(node, actor);
    return found ? &found->home->peer : NULL;
}

void stoa_distants_free(stoa_node *node)
{
    while (node->distant_actors) {
        stoa_distant_actor *first = node->distant_actors;
        node->distant_actors = first->next;
        free(first);
    }
    while (node->distant_nodes) {
        stoa_distant_node *first = node->distant_nodes;
        node->distant_nodes = first->next;
        free(first);
    }
    while (node->distants) {
        stoa_distant *first = node->distants;
        node->distants = first->next;
        free(first);
    }
}

const char *stoa_distant_name(const stoa_distant *distant)
{
    return distant->name;
}

uint32_t stoa_node_shards(stoa_node *node)
{
    return atomic_load_explicit(&node->shards_open, memory_order_acquire);
}

bool stoa_node_shard_at(stoa_node *node, uint32_t index, const char **name_out)
{
    bool found = false;
    (void)pthread_mutex_lock(&node->lock);
    for (uint32_t i = 0; i < node->shard_count && !found; i++) {
        const struct stoa_shard *shard = node->shards[i];
        bool mails = shard->durability != stoa_durability_NONE && atomic_load_explicit(&shard->open, memory_order_acquire);
        if (!mails || index-- > 0) { continue; }
        *name_out = shard->name;
        found = true;
    }
    (void)pthread_mutex_unlock(&node->lock);
    return found;
}

/* --- their lives */

static stoa_err check_name(const stoa_node *node, const char *name)
{
    bool good = name && name[0] && name[0] != '@' && strlen(name) < STOA_SHARD_NAME_MAX && !strpbrk(name, ":/");
    if (!good) { return STOA_FAIL(STOA_E_INVALID, "'%s' is no name of a shard, of %d bytes at most", name ? name : "", STOA_SHARD_NAME_MAX - 1); }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (strcmp(node->shards[i]->name, name) == 0) { return STOA_FAIL(STOA_E_EXISTS, "shard %s is of this node", name); }
    }
    return STOA_OK;
}

static stoa_err distant_new(stoa_node *node, const char *name, stoa_distant **out)
{
    uint32_t count = 0;
    for (const stoa_distant *at = node->distants; at; at = at->next) { count++; }
    if (count == STOA_DISTANTS_MAX) { return STOA_FAIL(STOA_E_FULL, "%u distant shards", count); }
    stoa_distant *distant = calloc(1, sizeof *distant);
    if (!distant) { return STOA_FAIL(STOA_E_NOMEM, "distant shard %s", name); }
    memcpy(distant->name, name, strlen(name) + 1);
    distant->there_bytes = (uint32_t)strcspn(name, "@");
    distant->peer.name = distant->name;
    distant->next = node->distants;
    node->distants = distant;
    *out = distant;
    return STOA_OK;
}

/* The one of that name, or a new one. Under node->lock. */
static stoa_err distant_get(stoa_node *node, const char *name, stoa_distant **out)
{
    stoa_err err = check_name(node, name);
    if (err) { return err; }
    *out = distant_named(node, name, strlen(name));
    return *out ? STOA_OK : distant_new(node, name, out);
}

static stoa_err actor_new(stoa_node *node, const char *name, const stoa_distant *home)
{
    uint32_t count = 0;
    for (const stoa_distant_actor *at = node->distant_actors; at; at = at->next) { count++; }
    if (count == STOA_DISTANT_ACTORS_MAX) { return STOA_FAIL(STOA_E_FULL, "%u actors of distant shards", count); }
    stoa_distant_actor *actor = calloc(1, sizeof *actor);
    if (!actor) { return STOA_FAIL(STOA_E_NOMEM, "%s", name); }
    memcpy(actor->name, name, strlen(name) + 1);
    actor->home = home;
    actor->next = node->distant_actors;
    node->distant_actors = actor;
    return STOA_OK;
}

stoa_err stoa_distant_expect(stoa_node *node, const char *shard, const char *actor)
{
    stoa_distant *home = NULL;
    bool good = actor && strlen(actor) <= STOA_NAME_MAX && strchr(actor, '/') && !strchr(actor, ':');
    if (!good) { return STOA_FAIL(STOA_E_INVALID, "'%s' is no name of an actor", actor ? actor : ""); }
    (void)pthread_mutex_lock(&node->lock);
    stoa_err err = distant_get(node, shard, &home);
    const stoa_distant_actor *known = err ? NULL : actor_named(node, actor);
    if (known && known->home != home) { err = STOA_FAIL(STOA_E_EXISTS, "%s is expected in shard %s", actor, known->home->name); }
    if (!err && !known) { err = actor_new(node, actor, home); }
    (void)pthread_mutex_unlock(&node->lock);
    return err;
}

stoa_err stoa_distant_open(stoa_port *port, const char *shard, stoa_distant **out)
{
    stoa_node *node = port->place.node;
    stoa_distant *distant = NULL;
    (void)pthread_mutex_lock(&node->lock);
    stoa_err err = distant_get(node, shard, &distant);
    uint64_t way = err ? 0 : atomic_load(&distant->way);
    if (way && !stoa_place_left(node, (stoa_ref){way})) { err = STOA_FAIL(STOA_E_EXISTS, "shard %s is carried to", shard); }
    if (!err) {
        distant->port = port;
        atomic_store(&distant->way, stoa_port_ref(port).at);
        *out = distant;
    }
    (void)pthread_mutex_unlock(&node->lock);
    return err;
}

typedef struct news {
    stoa_act act;
    const stoa_distant *distant;
} news;

/* On each core. */
static void greet_again(stoa_core *core, stoa_msg *msg)
{
    const stoa_distant *distant = ((const news *)stoa_msg_body(msg))->distant;
    for (uint32_t i = 0; i < core->shard_count; i++) { stoa_channels_again(core->shards[i], &distant->peer); }
    stoa_place_free(&core->place, msg);
}

static stoa_err to_cores(stoa_port *port, void (*run)(stoa_core *core, stoa_msg *msg), const stoa_distant *distant)
{
    stoa_place *place = &port->place;
    for (uint32_t i = 0; i < place->node->core_count; i++) {
        stoa_msg *msg = stoa_place_room(place, i) ? stoa_slab_new_surely(&place->slab, sizeof(news), STOA_MSG_ACT) : NULL;
        if (!msg) { return STOA_E_FULL; } /* saying it twice does no harm */
        msg->to = stoa_ref_make(0, i, 0);
        msg->from = STOA_REF_NONE;
        msg->row = NULL;
        *(news *)stoa_msg_body(msg) = (news){.act = {.run = run}, .distant = distant};
        stoa_place_push(place, i, msg);
    }
    return STOA_OK;
}

stoa_err stoa_distant_again(stoa_distant *distant)
{
    return to_cores(distant->port, greet_again, distant);
}

void stoa_distant_close(stoa_distant *distant)
{
    atomic_store(&distant->way, 0);
}

/* --- what their nodes do not have */

static stoa_distant_node *node_named(const stoa_node *node, const char *name, size_t size)
{
    stoa_distant_node *at = node->distant_nodes;
    while (at && !(strlen(at->name) == size && memcmp(at->name, name, size) == 0)) { at = at->next; }
    return at;
}

/* Under node->lock. */
static stoa_err note_complete(stoa_node *node, const char *name, bool complete)
{
    stoa_distant_node *known = node_named(node, name, strlen(name));
    if (!known && !complete) { return STOA_OK; }
    if (!known) {
        known = calloc(1, sizeof *known);
        if (!known) { return STOA_FAIL(STOA_E_NOMEM, "node %s", name); }
        (void)snprintf(known->name, sizeof known->name, "%s", name);
        known->next = node->distant_nodes;
        node->distant_nodes = known;
    }
    known->complete = complete;
    atomic_fetch_add(&node->distant_news, 1);
    return STOA_OK;
}

bool stoa_distant_absent(stoa_node *node, const stoa_text30 *shard)
{
    const char *at = memchr(shard->at, '@', shard->len);
    if (!at) { return false; }
    (void)pthread_mutex_lock(&node->lock);
    const stoa_distant_node *home = node_named(node, at + 1, shard->len - (size_t)(at + 1 - shard->at));
    const stoa_distant *distant = distant_named(node, shard->at, shard->len);
    bool absent = home && home->complete && (!distant || !atomic_load(&distant->way));
    (void)pthread_mutex_unlock(&node->lock);
    return absent;
}

uint32_t stoa_distant_news(const stoa_node *node)
{
    return atomic_load_explicit(&node->distant_news, memory_order_acquire);
}

/* On each core. */
static void look_for_absent(stoa_core *core, stoa_msg *msg)
{
    for (uint32_t i = 0; i < core->shard_count; i++) { stoa_channels_pump(core->shards[i]); }
    stoa_place_free(&core->place, msg);
}

stoa_err stoa_distants_complete(stoa_port *port, const char *node, bool complete)
{
    (void)pthread_mutex_lock(&port->place.node->lock);
    stoa_err err = note_complete(port->place.node, node, complete);
    (void)pthread_mutex_unlock(&port->place.node->lock);
    return err || !complete ? err : to_cores(port, look_for_absent, NULL);
}

/* --- frames out */

bool stoa_distant_frame(const stoa_delivery *delivery, void *bytes, stoa_distant **to_out, uint32_t *used_out)
{
    if (delivery->row != &stoa_distant_row) { return false; }
    const stoa_frame *frame = delivery->payload;
    stoa_distant_head head = {.version = FRAME_VERSION,
                              .cls = (uint8_t)frame->cls,
                              .session = frame->session,
                              .channel = frame->channel,
                              .there = frame->there,
                              .generation = frame->generation,
                              .error = frame->error,
                              .epoch = frame->epoch,
                              .cursor_seq = frame->cursor.seq,
                              .cursor_chain = frame->cursor.chain,
                              .base = frame->base,
                              .acked = frame->acked,
                              .upto = frame->upto};
    stoa_distant *to = (stoa_distant *)(uintptr_t)frame->to;
    (void)STOA_TEXT_SETZ(&head.from, frame->from->name); /* names of shards fit */
    (void)STOA_TEXT_SET(&head.to, to->name, to->there_bytes);
    memcpy(bytes, &head, sizeof head);
    memcpy((uint8_t *)bytes + sizeof head, frame + 1, frame->bytes);
    *to_out = to;
    *used_out = (uint32_t)sizeof head + frame->bytes;
    return true;
}

/* --- frames in: bytes of another node */

static bool text_good(const stoa_text30 *text)
{
    return text->len > 0 && text->len < STOA_SHARD_NAME_MAX && !memchr(text->at, '\0', text->len);
}

static bool channel_good(uint32_t number)
{
    return number >= 1 && number <= STOA_CHANNELS_MAX;
}

static bool body_empty(const stoa_distant_head *head, const uint8_t *body, uint32_t bytes)
{
    (void)head;
    (void)body;
    return bytes == 0;
}

static bool refusals_good(const stoa_distant_head *head, const uint8_t *body, uint32_t bytes)
{
    stoa_refusal refusal;
    uint64_t last = 0;
    if (bytes % sizeof refusal || head->upto > head->cursor_seq || !channel_good(head->there)) { return false; }
    for (uint32_t at = 0; at < bytes; at += (uint32_t)sizeof refusal) {
        memcpy(&refusal, body + at, sizeof refusal);
        bool good = refusal.seq > last && refusal.seq <= head->upto && refusal.error < 0 && refusal.error >= INT16_MIN;
        if (!good) { return false; }
        last = refusal.seq;
    }
    return true;
}

static bool mail_whole(const stoa_mail *mail, uint32_t left)
{
    if (left < sizeof *mail || mail->bytes > left || mail->row == 0 || mail->seq == 0 || mail->seq > STOA_SEQ_MAX) { return false; }
    bool fits = mail->table_bytes <= 30 && mail->to_bytes <= 62 && mail->from_bytes <= 62 && mail->payload_bytes <= STOA_MAIL_BYTES &&
                mail->bytes == stoa_mail_size(mail->table_bytes, mail->to_bytes, mail->from_bytes, mail->payload_bytes);
    return fits && !memchr(stoa_mail_table(mail), '\0', (size_t)mail->table_bytes + mail->to_bytes + mail->from_bytes);
}

static bool mail_good(const stoa_distant_head *head, const uint8_t *body, uint32_t bytes)
{
    if (bytes == 0 || !channel_good(head->there)) { return false; }
    for (uint32_t at = 0; at < bytes;) {
        const stoa_mail *mail = (const stoa_mail *)(const void *)(body + at);
        if (!mail_whole(mail, bytes - at)) { return false; }
        at += mail->bytes;
    }
    return true;
}

/* By class of frame. */
static bool (*const body_good[])(const stoa_distant_head *head, const uint8_t *body, uint32_t bytes) = {
    [STOA_FRAME_HELLO] = body_empty, [STOA_FRAME_ANSWER] = refusals_good, [STOA_FRAME_MAIL] = mail_good};

/* body: aligned as a message in a ring is. */
static stoa_err check(const stoa_distant_head *head, const uint8_t *body, uint32_t bytes)
{
    if (head->version != FRAME_VERSION) { return STOA_E_VERSION; }
    bool good = head->cls < STOA_COUNT_OF_(body_good) && channel_good(head->channel) && head->error <= 0 && head->error >= INT16_MIN &&
                head->cursor_seq <= STOA_SEQ_MAX && head->base <= STOA_SEQ_MAX && head->acked <= STOA_SEQ_MAX &&
                text_good(&head->from) && text_good(&head->to);
    return good && body_good[head->cls](head, body, bytes) ? STOA_OK : STOA_E_MALFORMED;
}

static stoa_distant *speaker(stoa_distant *const *from, uint32_t count, const stoa_text30 *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (name->len == from[i]->there_bytes && memcmp(name->at, from[i]->name, name->len) == 0) { return from[i]; }
    }
    return NULL;
}

static stoa_msg *frame_message(stoa_port *port, uint32_t bytes)
{
    stoa_msg *msg = stoa_slab_new(&port->place.slab, (uint32_t)sizeof(stoa_frame) + bytes, STOA_MSG_ACT);
    if (!msg) { return NULL; }
    msg->from = STOA_REF_NONE;
    msg->row = NULL;
    return msg;
}

static void fill(stoa_frame *frame, const stoa_distant_head *head, uint32_t bytes)
{
    *frame = (stoa_frame){.act = {.run = stoa_frame_arrive},
                          .cls = (stoa_frame_class)head->cls,
                          .session = head->session,
                          .channel = head->channel,
                          .there = head->there,
                          .generation = head->generation,
                          .error = head->error,
                          .epoch = head->epoch,
                          .cursor = {head->cursor_seq, head->cursor_chain},
                          .base = head->base,
                          .acked = head->acked,
                          .upto = head->upto,
                          .bytes = bytes};
}

/* To the core of its shard. */
static stoa_err pass_on(stoa_port *port, const stoa_distant *from, const stoa_text30 *name, stoa_msg *msg)
{
    stoa_node *node = port->place.node;
    (void)pthread_mutex_lock(&node->lock);
    const struct stoa_shard *to = stoa_node_shard_open(node, name->at, name->len);
    (void)pthread_mutex_unlock(&node->lock);
    if (!to || to->durability == stoa_durability_NONE) { return STOA_E_NOT_FOUND; }
    uint32_t place = to->core->place.index;
    if (!stoa_place_room(&port->place, place)) { return STOA_E_FULL; }
    stoa_frame *frame = stoa_msg_body(msg);
    frame->to = &to->peer;
    frame->from = &from->peer;
    msg->to = stoa_ref_make(0, place, 0);
    stoa_place_push(&port->place, place, msg);
    return STOA_OK;
}

stoa_err stoa_distant_take(stoa_port *port, stoa_distant *const *from, uint32_t count, const void *bytes, uint32_t size_bytes)
{
    stoa_distant_head head;
    if (size_bytes < sizeof head || size_bytes > STOA_DISTANT_FRAME_MAX) { return STOA_E_MALFORMED; }
    memcpy(&head, bytes, sizeof head);
    uint32_t body_bytes = size_bytes - (uint32_t)sizeof head;
    stoa_msg *msg = frame_message(port, body_bytes);
    if (!msg) { return STOA_E_FULL; }
    stoa_frame *frame = stoa_msg_body(msg);
    memcpy(frame + 1, (const uint8_t *)bytes + sizeof head, body_bytes); /* checked where it stays */
    stoa_err err = check(&head, (const uint8_t *)(frame + 1), body_bytes);
    const stoa_distant *distant = err ? NULL : speaker(from, count, &head.from);
    if (!err && !distant) { err = STOA_E_DENIED; }
    if (!err) {
        fill(frame, &head, body_bytes);
        err = pass_on(port, distant, &head.to, msg);
    }
    if (err) { stoa_place_free(&port->place, msg); }
    return err;
}
