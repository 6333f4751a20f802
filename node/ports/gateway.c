/* gateway.c - the gateway's life, its thread's loop, and the way of a frame into the link
 * (node/ports/gateway.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/ports/gateway.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "node/ports/gateway_inside.h"

enum {
    EVENTS_PER_ROUND = 256,
    SLEEP_MS_MAX = 1000,
    SLEEP_MS_ASKING = 5, /* the port tells of deadlines only when it is polled */
    LINGER_MS = 200,
    LISTEN_AGAIN_MS = 100,
};

/* --- frames out */

bool frames_put(frames *list, const void *bytes, size_t size_bytes, bool answers)
{
    held_frame *f = malloc(sizeof *f + size_bytes);
    if (!f) { return false; }
    *f = (held_frame){.answers = answers, .size_bytes = (uint32_t)size_bytes};
    memcpy(f->bytes, bytes, size_bytes);
    if (list->tail) {
        list->tail->next = f;
    } else {
        list->head = f;
    }
    list->tail = f;
    list->count++;
    return true;
}

static void frames_pop(frames *list)
{
    held_frame *f = list->head;
    list->head = f->next;
    if (!list->head) { list->tail = NULL; }
    list->count--;
    free(f);
}

void frames_clear(frames *list)
{
    while (list->head) {
        frames_pop(list);
    }
}

static void sent(session *s, bool answers)
{
    if (answers && s->client) { s->client->requests--; }
}

bool gateway_push(stoa_gateway *g, const session *s, const void *bytes, size_t size_bytes)
{
    if (!g->link) { return true; } /* its sessions are gone */
    stoa_err err = g->link->ops->send(g->link, s->peer, bytes, (uint32_t)size_bytes);
    g->sent = g->sent || !err;
    return err != STOA_E_FULL; /* a peer that is gone takes everything: down is on its way */
}

bool gateway_send_frames(stoa_gateway *g, session *s, frames *waiting)
{
    while (waiting->head) {
        held_frame *f = waiting->head;
        if (!gateway_push(g, s, f->bytes, f->size_bytes)) { return false; }
        sent(s, f->answers);
        frames_pop(waiting);
    }
    return true;
}

void gateway_send(stoa_gateway *g, session *s, const void *bytes, size_t size_bytes, bool answers)
{
    if (!s->out.head && gateway_push(g, s, bytes, size_bytes)) {
        sent(s, answers);
        return;
    }
    /* Too many: refusals to a client that asks nonsense and does not read. No memory: its deadline tells the
     * client. */
    bool too_many = !answers && s->out.count >= g->options.requests_max + SESSION_REFUSALS_MAX;
    if (too_many || !frames_put(&s->out, bytes, size_bytes, answers)) {
        stoa_counter_add(g->count.dropped, 1);
        sent(s, answers);
        return;
    }
    stoa_counter_add(g->count.held, 1);
    gateway_ready(g, s);
}

void gateway_ready(stoa_gateway *g, session *s)
{
    if (s->ready) { return; }
    s->ready = true;
    s->next_ready = NULL;
    if (g->ready_tail) {
        g->ready_tail->next_ready = s;
    } else {
        g->ready_head = s;
    }
    g->ready_tail = s;
}

stoa_writer gateway_writer(stoa_gateway *g)
{
    return (stoa_writer){.at = g->scratch, .cap_bytes = sizeof g->scratch};
}

/* --- names and rights */

static void name_of(stoa_protocol_target_id target, const stoa_text30 *name, char text[STOA_NAME_MAX + 1])
{
    int length = snprintf(text, STOA_NAME_MAX + 1, "%s/%.*s", stoa_protocol_targets[target].kind, STOA_TEXT_ARGS(name));
    STOA_ASSERT(length > 0 && length <= STOA_NAME_MAX);
}

stoa_err gateway_find(stoa_gateway *g, stoa_protocol_target_id target, const stoa_text30 *name, stoa_ref *out,
                      char said[STOA_PROTOCOL_TEXT_MAX + 1])
{
    char text[STOA_NAME_MAX + 1];
    stoa_absence absent;
    name_of(target, name, text);
    *out = stoa_find_or_absent(g->node, text, &absent);
    if (out->at) { return STOA_OK; }
    if (!absent.of[0]) {
        (void)snprintf(said, STOA_PROTOCOL_TEXT_MAX + 1, "no %s", text);
        return stoa_protocol_targets[target].missing;
    }
    (void)snprintf(said, STOA_PROTOCOL_TEXT_MAX + 1, absent.unmet ? "no %s here, and not met yet: %s" : "%s is on node %s, which cannot be reached now",
                   text, absent.of);
    return STOA_E_UNAVAILABLE;
}

bool client_may(const client *c, stoa_right right, const stoa_text30 *target)
{
    bool plugin = right == STOA_RIGHT_PLUGIN;
    if (!plugin && right != STOA_RIGHT_ACCOUNT) { return true; }
    const stoa_text30 *mine = plugin ? c->is.plugins : c->is.accounts;
    uint32_t count = plugin ? c->is.plugin_count : c->is.account_count;
    for (uint32_t i = 0; i < count; i++) {
        if (STOA_TEXT_EQ(&mine[i], target)) { return true; }
    }
    return false;
}

/* --- clients */

static bool name_valid(const stoa_text30 *name)
{
    return stoa_protocol_target_valid(STOA_TARGET_ACCOUNT, name->at, name->len);
}

static stoa_err check_clients(const stoa_gateway_client *clients, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const stoa_gateway_client *c = &clients[i];
        if (!name_valid(&c->name)) { return STOA_FAIL(STOA_E_INVALID, "client %u: name", i); }
        if (c->key_count > STOA_GATEWAY_KEYS_MAX) {
            return STOA_FAIL(STOA_E_INVALID, "client %.*s: more than %d keys", STOA_TEXT_ARGS(&c->name), STOA_GATEWAY_KEYS_MAX);
        }
        if (c->account_count > STOA_GATEWAY_ACCOUNTS_MAX) {
            return STOA_FAIL(STOA_E_INVALID, "client %.*s: more than %d accounts", STOA_TEXT_ARGS(&c->name),
                             STOA_GATEWAY_ACCOUNTS_MAX);
        }
        for (uint32_t k = 0; k < c->account_count; k++) {
            if (!name_valid(&c->accounts[k])) {
                return STOA_FAIL(STOA_E_INVALID, "client %.*s: name of account %u", STOA_TEXT_ARGS(&c->name), k);
            }
        }
        if (c->plugin_count > STOA_GATEWAY_PLUGINS_MAX) {
            return STOA_FAIL(STOA_E_INVALID, "client %.*s: more than %d plug-ins", STOA_TEXT_ARGS(&c->name), STOA_GATEWAY_PLUGINS_MAX);
        }
        for (uint32_t k = 0; k < i; k++) {
            if (STOA_TEXT_EQ(&c->name, &clients[k].name)) {
                return STOA_FAIL(STOA_E_INVALID, "client %.*s: named twice", STOA_TEXT_ARGS(&c->name));
            }
        }
    }
    return STOA_OK;
}

static void add_keys(const stoa_gateway_client *c, stoa_link_allowed *allowed, uint32_t *used)
{
    for (uint32_t i = 0; i < c->key_count; i++) {
        stoa_link_allowed *to = &allowed[(*used)++];
        memcpy(to->name, c->name.at, c->name.len);
        memcpy(to->public_key, c->keys[i], sizeof to->public_key);
    }
}

/* The link's view of the clients; to be freed. NULL: no memory. */
static stoa_link_allowed *link_allowed(const stoa_gateway_client *clients, uint32_t count, uint32_t *count_out)
{
    stoa_link_allowed *allowed = calloc((size_t)count * STOA_GATEWAY_KEYS_MAX + 1, sizeof *allowed);
    *count_out = 0;
    for (uint32_t i = 0; allowed && i < count; i++) { add_keys(&clients[i], allowed, count_out); }
    return allowed;
}

static client *find_client(client **clients, uint32_t count, const stoa_text30 *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (STOA_TEXT_EQ(&clients[i]->is.name, name)) { return clients[i]; }
    }
    return NULL;
}

static void free_clients(client **clients, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        free(clients[i]);
    }
    free(clients);
}

static stoa_err new_clients(const stoa_gateway_client *from, uint32_t count, client ***out)
{
    client **clients = calloc(count ? count : 1, sizeof *clients);
    uint32_t made = 0;
    while (clients && made < count && (clients[made] = calloc(1, sizeof **clients)) != NULL) {
        clients[made]->is = from[made];
        made++;
    }
    if (!clients || made < count) {
        if (clients) { free_clients(clients, made); }
        return STOA_FAIL(STOA_E_NOMEM, "%u clients", count);
    }
    *out = clients;
    return STOA_OK;
}

/* Sessions of a client that stays keep it, under its new rights; those of one that goes are forgotten. */
static void adopt_clients(stoa_gateway *g, client **clients, uint32_t count)
{
    for (uint32_t b = 0; b < SESSION_BUCKETS; b++) {
        for (session *s = g->sessions[b]; s; s = s->next) {
            if (s->client && !find_client(clients, count, &s->client->is.name)) { session_reset(g, s); }
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        client *old = find_client(g->clients, g->client_count, &clients[i]->is.name);
        if (!old) { continue; }
        old->is = clients[i]->is;
        for (uint32_t k = 0; k < g->client_count; k++) {
            if (g->clients[k] == old) { g->clients[k] = clients[i]; } /* freed with the old table */
        }
        clients[i] = old;
    }
    free_clients(g->clients, g->client_count);
    g->clients = clients;
    g->client_count = count;
    for (uint32_t i = 0; i < count; i++) {
        stream_revoke(g, clients[i], NULL);
    }
}

static stoa_err allow(stoa_gateway *g, const stoa_gateway_client *from, uint32_t count)
{
    client **clients = NULL;
    uint32_t key_count;
    stoa_link_allowed *allowed = link_allowed(from, count, &key_count);
    stoa_err err = allowed ? new_clients(from, count, &clients) : STOA_FAIL(STOA_E_NOMEM, "%u clients", count);
    if (!err && g->link) { err = g->link->ops->allow(g->link, allowed, key_count); }
    free(allowed);
    if (err) {
        if (clients) { free_clients(clients, count); }
        return err;
    }
    adopt_clients(g, clients, count);
    return STOA_OK;
}

static void allow_if_wanted(stoa_gateway *g)
{
    (void)pthread_mutex_lock(&g->lock);
    if (g->allow_wanted) {
        g->allow_err = allow(g, g->allow, g->allow_count);
        g->allow_wanted = false;
        (void)pthread_cond_broadcast(&g->done);
    }
    (void)pthread_mutex_unlock(&g->lock);
}

/* --- another key */

static stoa_err listen_at(stoa_gateway *g, const char *address, const stoa_gateway_client *clients, uint32_t count)
{
    uint32_t key_count;
    stoa_link_allowed *allowed = link_allowed(clients, count, &key_count);
    if (!allowed) { return STOA_FAIL(STOA_E_NOMEM, "gateway: clients"); }
    stoa_link_options link = {.listen = true,
                              .secret_key = g->secret_key,
                              .allowed = allowed,
                              .allowed_count = key_count,
                              .frame_limit = STOA_PROTOCOL_FRAME_MAX,
                              .queue_frames = g->options.queue_frames,
                              .peer_limit = g->options.sessions_max};
    stoa_err err = stoa_link_open(address, &link, &g->link);
    free(allowed);
    return err;
}

/* Listen with the present key, where it does not; at most now and then. */
static void listen_again(stoa_gateway *g)
{
    if (g->link || g->now_ns < g->listen_ns) { return; }
    stoa_gateway_client *clients = calloc(g->client_count ? g->client_count : 1, sizeof *clients);
    for (uint32_t i = 0; clients && i < g->client_count; i++) { clients[i] = g->clients[i]->is; }
    stoa_err err = clients ? listen_at(g, g->address, clients, g->client_count) : STOA_FAIL(STOA_E_NOMEM, "gateway: clients");
    free(clients);
    g->listen_ns = g->now_ns + STOA_MS(LISTEN_AGAIN_MS);
    if (err) {
        stoa_log_error("gateway_rekey_failed", err);
    } else {
        stoa_log(STOA_LOG_INFO, "gateway_rekeyed", STOA_KV("address", g->address));
    }
}

static void rekey_if_wanted(stoa_gateway *g)
{
    (void)pthread_mutex_lock(&g->lock);
    bool wanted = g->rekey_wanted;
    if (wanted) {
        memcpy(g->secret_key, g->next_key, sizeof g->secret_key);
        explicit_bzero(g->next_key, sizeof g->next_key);
        g->rekey_wanted = false;
        (void)pthread_cond_broadcast(&g->done);
    }
    (void)pthread_mutex_unlock(&g->lock);
    if (!wanted) { return; }
    for (uint32_t b = 0; b < SESSION_BUCKETS; b++) {
        while (g->sessions[b]) { session_close(g, g->sessions[b]); }
    }
    if (g->link) { g->link->ops->close(g->link, LINGER_MS); }
    g->link = NULL;
    g->listen_ns = 0;
}

static void wake(stoa_gateway *g)
{
    uint64_t one = 1;
    ssize_t written = write(g->wake_fd, &one, sizeof one);
    (void)written; /* a full counter wakes as well */
}

stoa_err stoa_gateway_allow(stoa_gateway *gateway, const stoa_gateway_client *clients, uint32_t count)
{
    stoa_err err = check_clients(clients, count);
    if (err) { return err; }
    (void)pthread_mutex_lock(&gateway->lock);
    while (gateway->allow_wanted) {
        (void)pthread_cond_wait(&gateway->done, &gateway->lock);
    }
    gateway->allow = clients;
    gateway->allow_count = count;
    gateway->allow_wanted = true;
    wake(gateway);
    while (gateway->allow_wanted) {
        (void)pthread_cond_wait(&gateway->done, &gateway->lock);
    }
    err = gateway->allow_err;
    (void)pthread_mutex_unlock(&gateway->lock);
    return err ? STOA_FAIL(err, "gateway: clients") : STOA_OK;
}

void stoa_gateway_rekey(stoa_gateway *gateway, const char *secret_key)
{
    (void)pthread_mutex_lock(&gateway->lock);
    (void)snprintf(gateway->next_key, sizeof gateway->next_key, "%s", secret_key);
    gateway->rekey_wanted = true;
    wake(gateway);
    while (gateway->rekey_wanted) { (void)pthread_cond_wait(&gateway->done, &gateway->lock); }
    (void)pthread_mutex_unlock(&gateway->lock);
}

/* --- events */

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    session_frame(context, peer, identity, bytes, size_bytes);
}

static void on_up(void *context, stoa_peer peer)
{
    session_open(context, peer);
}

static void on_down(void *context, stoa_peer peer)
{
    stoa_gateway *g = context;
    session *s = session_find(g, peer);
    if (s) { session_close(g, s); }
}

static void on_refused(void *context, stoa_err why)
{
    stoa_gateway *g = context;
    stoa_counter_add(g->count.links_refused, 1);
    if (g->now_ns < g->refused_ns + STOA_S(1)) { return; } /* whoever knocks does not write our log */
    g->refused_ns = g->now_ns;
    stoa_log(STOA_LOG_WARN, "client_refused", STOA_KV("error", stoa_err_name(why)));
}

static void on_delivery(void *context, const stoa_delivery *delivery)
{
    stoa_gateway *g = context;
    if (!delivery->answer) {
        topic_published(g, delivery);
        return;
    }
    request *r = request_find(g, delivery->token);
    if (r) { request_answered(g, r, delivery); }
}

/* --- the loop */

/* One look at each session that may have something to send. */
static void pump(stoa_gateway *g)
{
    session *s = g->ready_head;
    g->ready_head = g->ready_tail = NULL;
    while (s) {
        session *next = s->next_ready;
        s->ready = false;
        session_pump(g, s);
        s = next;
    }
}

static void sleep_until_work(stoa_gateway *g, uint64_t next_ns)
{
    struct pollfd at[] = {{.fd = g->link ? g->link->ops->fd(g->link) : -1, .events = POLLIN},
                          {.fd = stoa_port_fd(g->port), .events = POLLIN},
                          {.fd = g->wake_fd, .events = POLLIN}};
    uint64_t wait_ms = SLEEP_MS_MAX;
    if (next_ns != UINT64_MAX) { wait_ms = next_ns <= g->now_ns ? 0 : (next_ns - g->now_ns) / STOA_MS(1) + 1; }
    if (!g->link && wait_ms > LISTEN_AGAIN_MS) { wait_ms = LISTEN_AGAIN_MS; }
    if (g->under_way && wait_ms > SLEEP_MS_ASKING) { wait_ms = SLEEP_MS_ASKING; }
    if (wait_ms > SLEEP_MS_MAX) { wait_ms = SLEEP_MS_MAX; }
    (void)poll(at, sizeof at / sizeof at[0], (int)wait_ms);
    if (at[2].revents) {
        uint64_t rings;
        ssize_t got = read(g->wake_fd, &rings, sizeof rings);
        (void)got;
    }
}

static void *run(void *context)
{
    stoa_gateway *g = context;
    const stoa_link_events events = {
        .frame = on_frame, .up = on_up, .down = on_down, .refused = on_refused, .context = g};
    while (!atomic_load_explicit(&g->stopping, memory_order_acquire)) {
        g->now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
        g->sent = false;
        allow_if_wanted(g);
        rekey_if_wanted(g);
        listen_again(g);
        uint32_t work = g->link ? g->link->ops->poll(g->link, &events, EVENTS_PER_ROUND) : 0;
        work += stoa_port_poll(g->port, on_delivery, g, EVENTS_PER_ROUND);
        uint64_t next_ns = stream_retry(g);
        pump(g);
        stoa_port_flush(g->port);
        stoa_gauge_set(g->count.under_way, g->under_way);
        if (work == 0 && !g->sent) { sleep_until_work(g, next_ns); }
    }
    return NULL;
}

/* --- opening */

static const struct {
    size_t offset;
    uint32_t otherwise, max;
} numbers[] = {
#define NUMBER(name, otherwise, max)                                                                                   \
    {                                                                                                                  \
        offsetof(stoa_gateway_options, name), (otherwise), (max)                                                       \
    }
    NUMBER(sessions_max, 256, STOA_LINK_PEERS_MAX),
    NUMBER(requests_max, 256, REQUESTS_MAX),
    NUMBER(streams_max, 64, 65536),
    NUMBER(topics_max, 256, 65536),
    NUMBER(backlog_items, 4096, 1 << 20),
    NUMBER(backlog_bytes, 4 << 20, 1 << 30),
    NUMBER(queue_frames, 256, 65536),
    NUMBER(heartbeat_ms, 1000, 600000),
    NUMBER(deadline_ms, 5000, 3600000),
    NUMBER(deadline_ms_max, 60000, 3600000),
#undef NUMBER
};

static stoa_err fill_numbers(stoa_gateway_options *options)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint32_t value;
        memcpy(&value, (char *)options + numbers[i].offset, sizeof value);
        if (value == 0) { value = numbers[i].otherwise; }
        if (value > numbers[i].max) {
            return STOA_FAIL(STOA_E_INVALID, "gateway: %u is above %u", value, numbers[i].max);
        }
        memcpy((char *)options + numbers[i].offset, &value, sizeof value);
    }
    if (options->deadline_ms > options->deadline_ms_max) { options->deadline_ms = options->deadline_ms_max; }
    return STOA_OK;
}

static stoa_err open_counter(stoa_metrics *metrics, const char *name, const char *key, const char *value,
                             const char *help, stoa_counter **out)
{
    char labels[128];
    stoa_buf buf = STOA_BUF_FIXED(labels);
    labels[0] = '\0';
    if (key) { stoa_metrics_label(&buf, key, value); }
    return stoa_metrics_counter(metrics, name, labels, help, out);
}

static stoa_err open_labelled(stoa_metrics *m, counters *c)
{
    stoa_err err = STOA_OK;
    STOA_ASSERT(stoa_protocol_op_count <= STOA_COUNT_OF_(c->requests));
    for (uint32_t i = 0; i < stoa_protocol_op_count && !err; i++) {
        err = open_counter(m, "stoa_gateway_requests_total", "op", stoa_protocol_ops[i].name,
                           "Requests that passed the gateway's checks.", &c->requests[i]);
    }
    for (uint32_t i = 0; stoa_err_at(i) != STOA_OK && !err; i++) {
        stoa_err code = stoa_err_at(i);
        STOA_ASSERT(-code > 0 && -code < (int)STOA_COUNT_OF_(c->refused));
        err = open_counter(m, "stoa_gateway_refused_total", "error", stoa_err_name(code),
                           "Requests answered with an error, by the gateway or an actor.", &c->refused[-code]);
    }
    return err;
}

static stoa_err open_counters(stoa_gateway *g)
{
    stoa_metrics *m = g->options.metrics;
    counters *c = &g->count;
    stoa_err err = open_labelled(m, c);
#define GAUGE(name, member, help)                                                                                      \
    if (!err) { err = stoa_metrics_gauge(m, name, "", help, &c->member); }
#define COUNTER(name, member, help)                                                                                    \
    if (!err) { err = stoa_metrics_counter(m, name, "", help, &c->member); }
    GAUGE("stoa_gateway_sessions", sessions, "Connections.")
    GAUGE("stoa_gateway_streams", streams, "Subscriptions.")
    GAUGE("stoa_gateway_requests_under_way", under_way, "Requests that actors have not answered yet.")
    COUNTER("stoa_gateway_items_total", items, "Stream items sent.")
    COUNTER("stoa_gateway_gaps_total", gaps, "Gap notices sent.")
    COUNTER("stoa_gateway_held_total", held, "Answers that had to wait for a slow client.")
    COUNTER("stoa_gateway_dropped_total", dropped, "Answers dropped: refusals to who does not read, or no memory.")
    COUNTER("stoa_gateway_links_refused_total", links_refused, "Reports of connections refused in the handshake.")
#undef GAUGE
#undef COUNTER
    if (err) { return err; }
    return stoa_metrics_histogram(m, "stoa_gateway_request_seconds", "", "From a request's frame to its answer.",
                                  &c->latency);
}

static stoa_err listen_for_clients(stoa_gateway *g, const stoa_gateway_options *options)
{
    (void)snprintf(g->secret_key, sizeof g->secret_key, "%s", options->secret_key);
    stoa_err err = listen_at(g, options->listen, options->clients, options->client_count);
    if (!err) { (void)snprintf(g->address, sizeof g->address, "%s", g->link->ops->address(g->link)); }
    return err;
}

static stoa_err start_thread(stoa_gateway *g)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's own threads */
    int failed = pthread_create(&g->thread, NULL, run, g);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) { return STOA_FAIL(STOA_E_IO, "gateway's thread: %s", strerror(failed)); }
    (void)pthread_setname_np(g->thread, "stoa-gateway");
    return STOA_OK;
}

static void release(stoa_gateway *g)
{
    for (uint32_t b = 0; b < SESSION_BUCKETS; b++) {
        while (g->sessions[b]) {
            session_close(g, g->sessions[b]);
        }
    }
    topic_free_all(g);
    if (g->link) { g->link->ops->close(g->link, LINGER_MS); }
    stoa_port_close(g->port);
    free_clients(g->clients, g->client_count);
    free(g->requests);
    stoa_metrics_free(g->own_metrics);
    if (g->wake_fd >= 0) { (void)close(g->wake_fd); }
    (void)pthread_mutex_destroy(&g->lock);
    (void)pthread_cond_destroy(&g->done);
    explicit_bzero(g->secret_key, sizeof g->secret_key);
    free(g);
}

static stoa_err set_up(stoa_gateway *g, const stoa_gateway_options *options)
{
    stoa_err err = fill_numbers(&g->options);
    if (!err) { err = check_clients(options->clients, options->client_count); }
    if (!err) { err = new_clients(options->clients, options->client_count, &g->clients); }
    if (err) { return err; }
    g->client_count = options->client_count;
    (void)snprintf(g->server_name, sizeof g->server_name, "%s", options->server_name ? options->server_name : "stoa");
    if (!options->metrics) {
        err = stoa_metrics_new(&g->own_metrics);
        g->options.metrics = g->own_metrics;
    }
    if (!err) { err = open_counters(g); }
    if (!err && g->wake_fd < 0) { err = STOA_FAIL(STOA_E_IO, "eventfd: %s", strerror(errno)); }
    if (!err) { err = stoa_port_open(g->node, "gateway", &g->port); }
    if (!err) { err = listen_for_clients(g, options); }
    return err ? err : start_thread(g);
}

stoa_err stoa_gateway_open(stoa_node *node, const stoa_gateway_options *options, stoa_gateway **out)
{
    if (!options->listen || !options->secret_key) { return STOA_FAIL(STOA_E_INVALID, "gateway: no address or key"); }
    stoa_gateway *g = calloc(1, sizeof *g);
    if (!g) { return STOA_FAIL(STOA_E_NOMEM, "gateway"); }
    g->options = *options;
    g->options.listen = g->options.secret_key = g->options.server_name = NULL; /* the caller's */
    g->options.clients = NULL;
    g->node = node;
    (void)pthread_mutex_init(&g->lock, NULL);
    (void)pthread_cond_init(&g->done, NULL);
    g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    stoa_err err = set_up(g, options);
    if (err) {
        release(g);
        return STOA_PASS(err, "gateway at %s; see gateway.listen", options->listen);
    }
    *out = g;
    return STOA_OK;
}

const char *stoa_gateway_address(const stoa_gateway *gateway)
{
    return gateway->address;
}

void stoa_gateway_drain(stoa_gateway *gateway)
{
    atomic_store_explicit(&gateway->draining, true, memory_order_release);
}

void stoa_gateway_close(stoa_gateway *gateway, uint64_t drain_ns)
{
    if (!gateway) { return; }
    stoa_gateway_drain(gateway);
    uint64_t until_ns = stoa_clock_real.now_ns(&stoa_clock_real) + drain_ns;
    while (stoa_counter_get(gateway->count.under_way) > 0 && stoa_clock_real.now_ns(&stoa_clock_real) < until_ns) {
        (void)poll(NULL, 0, 1);
    }
    atomic_store_explicit(&gateway->stopping, true, memory_order_release);
    wake(gateway);
    (void)pthread_join(gateway->thread, NULL);
    stoa_log(STOA_LOG_INFO, "gateway_closed", STOA_KU("unanswered", gateway->under_way));
    release(gateway);
}
