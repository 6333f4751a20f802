/* port.c - ports: places owned by foreign threads; and calls from any thread through the node's own port "front".
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/once.h"
#include "runtime/requests.h"
#include "runtime/stand.h"

enum { PORT_MEMORY_BYTES = 64 << 20, DEADLINE_CHECK_MS = 1 };

/* --- life */

static stoa_err set_name(stoa_port *port, const char *name)
{
    size_t bytes = strlen(name);
    if (!bytes || bytes + sizeof "port/" > sizeof port->name) { return STOA_FAIL(STOA_E_INVALID, "'%s' is no name of a port", name); }
    (void)snprintf(port->name, sizeof port->name, "port/%s", name);
    return STOA_OK;
}

const char *stoa_port_name(stoa_node *node, stoa_ref ref)
{
    uint32_t place = stoa_ref_place(ref);
    bool there = place < stoa_node_places(node) && !stoa_place_left(node, ref);
    return there ? node->ports[place - node->core_count]->name : "";
}

/* What others see of the port comes last: once they have its rings, it stays. */
static stoa_err port_join(stoa_node *node, stoa_port *port)
{
    stoa_place *cores[STOA_CORES_MAX];
    for (uint32_t i = 0; i < node->core_count; i++) { cores[i] = &node->cores[i]->place; }
    stoa_err err = stoa_asks_init(&port->asks);
    if (err) { return err; }
    err = stoa_names_add(&node->names, port->name, stoa_port_ref(port));
    if (!err) {
        err = stoa_place_connect(&port->place, cores, node->core_count);
        if (err) { stoa_names_remove(&node->names, port->name); }
    }
    if (err) { stoa_asks_deinit(&port->asks); }
    return err;
}

/* Topics opened before the port know nothing of its place: nothing to do, subscribing builds their lists. */
static stoa_err port_new(stoa_node *node, const char *name, stoa_port **out)
{
    uint32_t index = atomic_load(&node->port_count);
    if (index == STOA_PORTS_MAX) { return STOA_FAIL(STOA_E_FULL, "%d ports", STOA_PORTS_MAX); }
    stoa_port *port = aligned_alloc(128, (sizeof *port + 127) / 128 * 128);
    if (!port) { return STOA_FAIL(STOA_E_NOMEM, "port %s", name); }
    memset(port, 0, sizeof *port);
    port->generation = 1;
    stoa_err err = set_name(port, name);
    if (!err) { err = stoa_place_init(&port->place, node, node->core_count + index, PORT_MEMORY_BYTES); }
    if (!err) {
        err = port_join(node, port);
        if (err) { stoa_place_deinit(&port->place); }
    }
    if (err) {
        free(port);
        return STOA_PASS(err, "port %s", name);
    }
    node->ports[index] = port; /* freed with the node */
    atomic_store_explicit(&node->port_count, index + 1, memory_order_release);
    *out = port;
    return STOA_OK;
}

/* One that has closed, and whose references have not all been used. */
static stoa_port *port_closed(stoa_node *node)
{
    for (uint32_t i = 0; i < atomic_load(&node->port_count); i++) {
        if (node->ports[i]->parted && node->ports[i]->generation < STOA_GENERATION_LAST) { return node->ports[i]; }
    }
    return NULL;
}

/* Its memory and its rings are the next one's, who has other references: nothing that was meant for the last one reaches it. */
static stoa_err port_again(stoa_node *node, stoa_port *port, const char *name, stoa_port **out)
{
    stoa_err err = set_name(port, name);
    port->generation++;
    if (!err) { err = stoa_names_add(&node->names, port->name, stoa_port_ref(port)); }
    if (err) { return STOA_PASS(err, "port %s", name); }
    for (uint32_t i = 1; i < port->asks.used; i++) {
        if (port->asks.at[i].asker.at) { stoa_asks_drop(&port->asks, &port->asks.at[i]); }
    }
    port->parted = false;
    for (uint32_t i = 0; i < node->core_count; i++) {
        atomic_fetch_or(&node->cores[i]->place.inbound, UINT64_C(1) << port->place.index);
    }
    atomic_store_explicit(&port->place.serves, port->generation, memory_order_release); /* the name is there */
    *out = port;
    return STOA_OK;
}

stoa_err stoa_port_open(stoa_node *node, const char *name, stoa_port **out)
{
    (void)pthread_mutex_lock(&node->lock);
    stoa_port *again = port_closed(node);
    stoa_err err = again ? port_again(node, again, name, out) : port_new(node, name, out);
    (void)pthread_mutex_unlock(&node->lock);
    return err;
}

static void take_on_core(stoa_place *place, stoa_msg *msg)
{
    stoa_core_take((stoa_core *)place, msg);
}

static void part(stoa_core *core, void *context)
{
    stoa_place_part(&core->place, context, take_on_core);
}

void stoa_port_close(stoa_port *port)
{
    if (!port) { return; }
    stoa_node *node = port->place.node;
    stoa_node_outside(node, "stoa_port_close within a turn");
    if (!atomic_load(&port->place.serves)) { return; }
    stoa_port_stop_serving(port);
    atomic_store(&port->place.serves, 0);
    stoa_topics_unsubscribe(node, NULL, stoa_port_ref(port));
    stoa_names_remove(&node->names, port->name);
    for (uint32_t i = 0; i < node->core_count; i++) { stoa_core_do(node->cores[i], part, &port->place); }
    (void)pthread_mutex_lock(&node->lock);
    port->parted = true;
    (void)pthread_mutex_unlock(&node->lock);
}

stoa_ref stoa_port_ref(stoa_port *port)
{
    return stoa_ref_make(port->generation, port->place.index, 0);
}

int stoa_port_fd(stoa_port *port)
{
    return port->place.bell;
}

/* --- receiving */

static void hand(stoa_port *port, stoa_msg *msg)
{
    stoa_context none = {0};
    stoa_msg *whole = (msg->flags & STOA_MSG_LENT) ? stoa_msg_lent(msg)->held : msg;
    stoa_context *context = (whole->flags & STOA_MSG_CONTEXT) ? stoa_msg_context(whole) : &none;
    stoa_delivery d = {.row = msg->row,
                       .payload = stoa_msg_payload(msg),
                       .from = msg->from,
                       .durability = (stoa_durability)context->durability,
                       .position = context->position,
                       .effect = context->named == STOA_NAMED_EFFECT && !(whole->flags & STOA_MSG_ANSWER)
                                     ? (const stoa_effect *)(const void *)stoa_msg_key(whole)
                                     : NULL,
                       .passed = context->named == STOA_NAMED_PASSED && !(whole->flags & STOA_MSG_ANSWER)
                                     ? (const stoa_passed *)(const void *)stoa_msg_key(whole)
                                     : NULL,
                       .topic = (msg->flags & STOA_MSG_TOPIC) && context->topic ? context->topic->name : ""};
    if (!(msg->flags & STOA_MSG_ANSWER)) {
        port->handler(port->context, &d);
        return;
    }
    stoa_ask *ask = stoa_asks_find(&port->asks, context->ask);
    if (!ask) { /* answered by its deadline before */
        stoa_port_lost(port->place.node, STOA_DROP_LATE);
        return;
    }
    d.answer = true;
    d.token = ask->token;
    d.error = (stoa_err)context->error;
    d.row = ask->reply;
    if (msg->row && msg->row != ask->reply) { d.error = STOA_E_MALFORMED; }
    if (msg->row != ask->reply) { d.payload = NULL; }
    stoa_asks_free(&port->asks, context->ask);
    port->handler(port->context, &d);
}

static void take(stoa_place *place, stoa_msg *msg)
{
    stoa_port *port = (stoa_port *)place;
    port->polled++;
    hand(port, msg);
    stoa_place_free(place, msg);
}

/* Asks past their deadline. All are looked at only when the earliest that there was may be due, which is once in the time that
 * asks have, however often the port is polled. */
static void check_deadlines(stoa_port *port)
{
    stoa_clock *clock = port->place.node->clock;
    uint64_t now = clock->now_ns(clock), next = UINT64_MAX;
    if (now < port->due_ns) { return; }
    port->due_ns = UINT64_MAX; /* what is asked meanwhile counts from here */
    for (uint32_t i = 1; i < port->asks.used; i++) {
        stoa_ask *ask = &port->asks.at[i];
        if (ask->asker.at && ask->due_ns > now && ask->due_ns < next) { next = ask->due_ns; }
        if (!ask->asker.at || ask->due_ns > now) { continue; }
        stoa_delivery d = {.row = ask->reply, .answer = true, .token = ask->token, .error = STOA_E_TIMEOUT, .topic = ""};
        stoa_asks_free(&port->asks, (uint64_t)ask->generation << 32 | i);
        port->polled++;
        port->handler(port->context, &d);
    }
    next = next < UINT64_MAX - STOA_MS(DEADLINE_CHECK_MS) ? next + STOA_MS(DEADLINE_CHECK_MS) : next; /* a burst's together */
    if (next < port->due_ns) { port->due_ns = next; }
}

uint32_t stoa_port_poll(stoa_port *port, stoa_port_handler handler, void *context, uint32_t max)
{
    uint64_t rings;
    ssize_t got = read(port->place.bell, &rings, sizeof rings);
    (void)got; /* nothing rang: there may be work all the same */
    port->handler = handler;
    port->context = context;
    port->polled = 0;
    while (port->polled < max && stoa_place_drain(&port->place, take)) {}
    check_deadlines(port);
    /* armed again before looking once more: what comes after this look rings the bell */
    atomic_store(&port->place.sleeping, 1);
    if (stoa_place_pending(&port->place)) {
        atomic_store(&port->place.sleeping, 0);
        uint64_t one = 1;
        ssize_t written = write(port->place.bell, &one, sizeof one);
        (void)written;
    }
    stoa_place_flush(&port->place);
    return port->polled;
}

/* --- sending */

enum { MARK_EVERY = 128 }; /* a look at the clock takes a tenth of what sending does */

/* Marked while a root is waited for, as it may become that, and now and then to time its way. */
static stoa_msg *block_new(stoa_port *port, uint32_t payload_bytes, uint32_t flags)
{
    stoa_node *node = port->place.node;
    bool marks = atomic_load_explicit(&node->tracing.armed, memory_order_relaxed);
    if (node->options.metrics && !node->options.sim && node->options.time_every && !port->mark_left--) {
        port->mark_left = MARK_EVERY - 1;
        marks = true;
    }
    if (!marks) { return stoa_slab_new(&port->place.slab, payload_bytes, flags); }
    stoa_mark mark = {.sent_ns = node->clock->now_ns(node->clock), .stands_for = MARK_EVERY};
    return stoa_slab_new_marked(&port->place.slab, payload_bytes, flags, mark);
}

/* key NULL: the request has no name. */
static stoa_err port_message(stoa_port *port, stoa_ref to, const stoa_row *row, const void *payload, uint64_t command,
                             uint32_t flags, const stoa_request_key *key, stoa_msg **out)
{
    uint32_t place = stoa_ref_place(to);
    if (!to.at || place >= stoa_node_places(port->place.node)) { return STOA_E_CLOSED; }
    if (!atomic_load(&port->place.out[place])) { return STOA_E_CLOSED; }
    if (!stoa_place_room(&port->place, place)) { return STOA_E_FULL; }
    if (command) { flags |= STOA_MSG_CONTEXT; }
    flags |= stoa_row_flags(row);
    uint32_t bytes = row->payload.size_bytes;
    if (bytes > STOA_PAYLOAD_MAX) { return STOA_E_TOO_LARGE; }
    stoa_msg *msg = block_new(port, key ? stoa_request_key_at(bytes) + (uint32_t)sizeof *key : bytes, flags);
    if (!msg) { return STOA_E_FULL; }
    msg->size_bytes = bytes;
    msg->to = to;
    msg->from = stoa_port_ref(port);
    msg->row = row;
    if (flags & STOA_MSG_CONTEXT) { stoa_msg_context(msg)->command = command; }
    memcpy(stoa_msg_body(msg), payload, bytes);
    if (key) {
        stoa_msg_context(msg)->named = 1;
        *stoa_msg_key(msg) = *key;
    }
    *out = msg;
    return STOA_OK;
}

stoa_err stoa_port_send(stoa_port *port, stoa_ref to, const stoa_row *row, const void *payload, uint64_t command)
{
    stoa_msg *msg;
    stoa_err err = port_message(port, to, row, payload, command, 0, NULL, &msg);
    if (!err) { stoa_place_push(&port->place, stoa_ref_place(to), msg); }
    return err;
}

stoa_err stoa_port_send_as(stoa_port *port, const stoa_sending *how, stoa_ref to, const stoa_row *row, const void *payload)
{
    uint32_t flags = how->due_ns ? STOA_MSG_CONTEXT | STOA_MSG_DUE : how->tells ? STOA_MSG_CONTEXT | STOA_MSG_TOLD : 0;
    stoa_msg *msg;
    stoa_err err = port_message(port, to, row, payload, 0, flags, NULL, &msg);
    if (err) { return err; }
    msg->from = how->from;
    if (how->due_ns) {
        stoa_msg_context(msg)->due_ns = how->due_ns;
    } else if (how->tells) {
        stoa_msg_context(msg)->ask = how->told;
        stoa_msg_context(msg)->told_of = to;
    }
    stoa_place_push(&port->place, stoa_ref_place(to), msg);
    return STOA_OK;
}

/* from: in whose name; the answer comes here. */
static stoa_err ask(stoa_port *port, stoa_ref from, stoa_ref to, const stoa_row *row, const void *payload, uint64_t command,
                    const stoa_request_key *key, uint64_t deadline_ns, uint64_t token)
{
    stoa_clock *clock = port->place.node->clock;
    stoa_msg *msg;
    uint64_t id;
    if (!row->reply) { return STOA_FAIL(STOA_E_INVALID, "%s.%s is not answered", row->kind, row->name); }
    stoa_err err = port_message(port, to, row, payload, command, STOA_MSG_CONTEXT | STOA_MSG_DUE, key, &msg);
    if (err) { return err; }
    uint64_t due_ns = stoa_time_after(clock->now_ns(clock), deadline_ns);
    if (!stoa_asks_new(&port->asks, stoa_port_ref(port), token, due_ns, row->reply, &id)) {
        stoa_place_free(&port->place, msg);
        return STOA_E_FULL;
    }
    if (due_ns < port->due_ns) { port->due_ns = due_ns; }
    msg->from = from;
    stoa_msg_context(msg)->reply_to = stoa_port_ref(port);
    stoa_msg_context(msg)->ask = id;
    stoa_msg_context(msg)->due_ns = due_ns;
    stoa_place_push(&port->place, stoa_ref_place(to), msg);
    return STOA_OK;
}

stoa_err stoa_port_ask(stoa_port *port, stoa_ref to, const stoa_row *row, const void *payload, uint64_t command,
                       uint64_t deadline_ns, uint64_t token)
{
    return ask(port, stoa_port_ref(port), to, row, payload, command, NULL, deadline_ns, token);
}

stoa_err stoa_port_ask_as(stoa_port *port, stoa_ref from, stoa_ref to, const stoa_row *row, const void *payload,
                          uint64_t deadline_ns, uint64_t token)
{
    return ask(port, from, to, row, payload, 0, NULL, deadline_ns, token);
}

stoa_err stoa_port_ask_once(stoa_port *port, stoa_ref to, const stoa_row *row, const void *payload,
                            const stoa_request_name *name, uint64_t deadline_ns, uint64_t token)
{
    _Static_assert(STOA_REQUEST_NUMBER_MAX >> STOA_REQUEST_NUMBER_BITS == 0, "numbers are what the memory can hold");
    bool valid = name->client && name->session && name->session <= STOA_REQUEST_SESSION_MAX && name->number &&
                 name->number <= STOA_REQUEST_NUMBER_MAX;
    if (!valid) { return STOA_FAIL(STOA_E_INVALID, "the name of a request"); }
    stoa_request_key key = {name->client, name->session, name->number, stoa_request_fingerprint(row, payload)};
    uint64_t command = stoa_mix64(key.client ^ stoa_mix64(key.session ^ stoa_mix64(key.number)));
    return ask(port, stoa_port_ref(port), to, row, payload, command ? command : 1, &key, deadline_ns, token);
}

stoa_err stoa_port_subscribe(stoa_port *port, const char *pattern)
{
    return stoa_topics_subscribe(port->place.node, pattern, stoa_port_ref(port));
}

stoa_err stoa_port_unsubscribe(stoa_port *port, const char *pattern)
{
    stoa_topics_unsubscribe(port->place.node, pattern, stoa_port_ref(port));
    return STOA_OK;
}

void stoa_port_flush(stoa_port *port)
{
    stoa_place_flush(&port->place);
}

/* --- calls from any thread: whoever waits polls for all */

typedef struct stoa_call_wait {
    struct stoa_call_wait *next;
    uint64_t token;
    void *out;
    size_t out_bytes;
    stoa_err err;
    bool done;
} stoa_call_wait;

static void answered(void *context, const stoa_delivery *d)
{
    stoa_node *node = context;
    if (!d->answer) { /* sent to turn->from, and that was a caller */
        stoa_port_lost(node, STOA_DROP_NO_HANDLER);
        return;
    }
    for (stoa_call_wait *wait = node->waiting; wait; wait = wait->next) {
        if (wait->token != d->token) { continue; }
        wait->err = d->error;
        if (!d->error && d->payload) { memcpy(wait->out, d->payload, wait->out_bytes); }
        wait->done = true;
    }
}

static void forget(stoa_node *node, stoa_call_wait *wait)
{
    for (stoa_call_wait **at = &node->waiting; *at; at = &(*at)->next) {
        if (*at == wait) {
            *at = wait->next;
            return;
        }
    }
}

/* One look for answers; *done_out: this one has come. Returns false when nothing more can happen (simulator). */
static bool wait_a_little(stoa_node *node, const stoa_call_wait *wait, bool *done_out)
{
    bool alive = true;
    if (node->options.sim) { alive = stoa_sim_step_for_call(node->options.sim); }
    (void)pthread_mutex_lock(&node->front_lock);
    if (!wait->done) { (void)stoa_port_poll(node->front, answered, node, STOA_DRAIN_MAX); }
    *done_out = wait->done;
    (void)pthread_mutex_unlock(&node->front_lock);
    if (!*done_out && !node->options.sim) {
        struct pollfd bell = {.fd = stoa_port_fd(node->front), .events = POLLIN};
        (void)poll(&bell, 1, 1); /* another waiter may take the bell: look again after a millisecond at the latest */
    }
    return alive;
}

/* Blocks come home through the rings: who only posts must look now and then. Under the lock. */
static void take_back_blocks(stoa_node *node, stoa_ref to)
{
    const stoa_place *front = &node->front->place;
    uint32_t place = stoa_ref_place(to) % STOA_PLACES_MAX;
    if (stoa_slab_ample(&front->slab) && front->abroad[place] < front->slab.limit_bytes / STOA_ABROAD_PART / 2) { return; }
    (void)stoa_port_poll(node->front, answered, node, STOA_DRAIN_MAX);
}

stoa_err stoa_call(stoa_node *node, stoa_ref to, const stoa_row *row, const void *payload, uint64_t deadline_ns,
                   void *out, size_t out_bytes)
{
    stoa_node_outside(node, "stoa_call within a turn: there use stoa_turn_ask");
    if (!row->reply || row->reply->payload.size_bytes != out_bytes) {
        return STOA_FAIL(STOA_E_INVALID, "%s.%s is not answered with %zu bytes", row->kind, row->name, out_bytes);
    }
    stoa_call_wait wait = {.out = out, .out_bytes = out_bytes};
    uint64_t now = node->clock->now_ns(node->clock);
    (void)pthread_mutex_lock(&node->front_lock);
    take_back_blocks(node, to);
    wait.token = ++node->front->command_base;
    stoa_err err = stoa_port_ask(node->front, to, row, payload, 0, deadline_ns, wait.token);
    if (!err) {
        wait.next = node->waiting;
        node->waiting = &wait;
        stoa_port_flush(node->front);
    }
    (void)pthread_mutex_unlock(&node->front_lock);
    if (err) { return STOA_FAIL(err, "%s.%s", row->kind, row->name); }

    bool alive = true, done = false;
    uint64_t until = stoa_time_after(stoa_time_after(now, deadline_ns), STOA_S(1));
    while (!done && alive && node->clock->now_ns(node->clock) < until) {
        alive = wait_a_little(node, &wait, &done);
    }
    (void)pthread_mutex_lock(&node->front_lock);
    forget(node, &wait);
    done = wait.done;
    (void)pthread_mutex_unlock(&node->front_lock);
    if (!done) { return STOA_FAIL(STOA_E_TIMEOUT, "%s.%s", row->kind, row->name); }
    return wait.err ? STOA_FAIL(wait.err, "%s.%s: %s", row->kind, row->name, stoa_err_text(wait.err)) : STOA_OK;
}

stoa_err stoa_post(stoa_node *node, stoa_ref to, const stoa_row *row, const void *payload)
{
    (void)pthread_mutex_lock(&node->front_lock);
    take_back_blocks(node, to);
    uint32_t place = stoa_ref_place(to);
    bool known = to.at && place < node->core_count;
    stoa_err err = !known                                             ? STOA_E_CLOSED
                   : !stoa_place_has_slot(&node->front->place, place) ? STOA_E_FULL
                                                                      : stoa_port_send(node->front, to, row, payload, 0);
    stoa_port_flush(node->front);
    (void)pthread_mutex_unlock(&node->front_lock);
    return err;
}
