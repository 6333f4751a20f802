/* client.c - opening and closing a client, waiting for events, and the helpers of sdk/stoa_client.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sdk/inside.h"
#include "transport/keys.h"

enum { QUEUE_FRAMES = 1024, LINGER_MS = 100, SLEEP_MS_MAX = 1000 };

static _Thread_local char open_text[512]; /* why the last open failed */

/* --- opening */

static stoa_err open_link(stoa_client *c, const stoa_key_pair *own, const char *server, stoa_link **out)
{
    stoa_link_options link = {.secret_key = own->secret_key,
                              .public_key = own->public_key,
                              .server_key = server,
                              .frame_limit = STOA_PROTOCOL_FRAME_MAX,
                              .queue_frames = QUEUE_FRAMES};
    return stoa_link_open(c->endpoint, &link, out);
}

static stoa_err open_first(stoa_client *c)
{
    stoa_key_pair own;
    stoa_err err = stoa_key_load(c->key, &own);
    if (!err) { err = stoa_key_load_public(c->server_key, c->server); }
    if (err) { return err; }
    memcpy(c->own_public, own.public_key, sizeof c->own_public);
    err = open_link(c, &own, c->server, &c->link);
    explicit_bzero(&own, sizeof own);
    return err;
}

/* --- other keys */

/* SERVER.next.pub beside SERVER.pub: what the node has announced; false: there is none. */
static bool next_server(const stoa_client *c, char key_out[STOA_KEY_TEXT_BYTES])
{
    char path[PATH_MAX];
    size_t length = strlen(c->server_key);
    if (length < 4 || strcmp(c->server_key + length - 4, ".pub") != 0) { return false; }
    int used = snprintf(path, sizeof path, "%.*s.next.pub", (int)(length - 4), c->server_key);
    return used < (int)sizeof path && stoa_key_load_public(path, key_out) == STOA_OK;
}

static bool was_refused(const stoa_client *c, const char *server)
{
    return strcmp(c->refused_keys[0], server) == 0 || strcmp(c->refused_keys[1], server) == 0;
}

static void choose(stoa_client *c, const char server[STOA_KEY_TEXT_BYTES])
{
    memcpy(c->next_server, server, sizeof c->next_server);
    c->redial = c->redial || strcmp(server, c->server) != 0;
}

static bool own_differs(const stoa_client *c)
{
    stoa_key_pair own;
    bool differs = stoa_key_load(c->key, &own) == STOA_OK && strcmp(own.public_key, c->own_public) != 0;
    explicit_bzero(&own, sizeof own);
    return differs;
}

bool client_refused(stoa_client *c)
{
    char has[2][STOA_KEY_TEXT_BYTES] = {"", ""};
    if (stoa_key_load_public(c->server_key, has[0])) { return true; }
    unsigned count = next_server(c, has[1]) ? 2 : 1;
    c->redial = own_differs(c);
    if (c->redial) { memset(c->refused_keys, 0, sizeof c->refused_keys); }
    if (!c->redial && !was_refused(c, c->server)) {
        memcpy(c->refused_keys[1], c->refused_keys[0], sizeof c->refused_keys[1]);
        memcpy(c->refused_keys[0], c->server, sizeof c->refused_keys[0]);
    }
    for (unsigned i = 0; i < count; i++) {
        if (was_refused(c, has[i])) { continue; }
        choose(c, has[i]);
        return false;
    }
    memset(c->refused_keys, 0, sizeof c->refused_keys); /* and from the beginning */
    choose(c, strcmp(has[0], c->server) != 0 || count == 1 ? has[0] : has[1]);
    return true;
}

void client_redial(stoa_client *c)
{
    stoa_key_pair own;
    stoa_link *link = NULL;
    c->redial = false;
    if (!stoa_key_load(c->key, &own) && !open_link(c, &own, c->next_server, &link)) {
        struct epoll_event readable = {.events = EPOLLIN};
        (void)epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->link->ops->fd(c->link), NULL);
        c->link->ops->close(c->link, 0);
        c->link = link;
        (void)epoll_ctl(c->epoll, EPOLL_CTL_ADD, link->ops->fd(link), &readable);
        memcpy(c->own_public, own.public_key, sizeof c->own_public);
        memcpy(c->server, c->next_server, sizeof c->server);
        c->phase = PHASE_DOWN;
        calls_unsent(c);
    }
    explicit_bzero(&own, sizeof own);
}

/* --- opening */

static stoa_err watch(stoa_client *c, int fd)
{
    struct epoll_event readable = {.events = EPOLLIN};
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &readable) != 0) {
        return STOA_FAIL(STOA_E_IO, "epoll: %s", strerror(errno));
    }
    return STOA_OK;
}

static stoa_err open_descriptors(stoa_client *c)
{
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (c->epoll < 0 || c->timer < 0) { return STOA_FAIL(STOA_E_IO, "descriptors: %s", strerror(errno)); }
    stoa_err err = watch(c, c->timer);
    return err ? err : watch(c, c->link->ops->fd(c->link));
}

static stoa_err set_up(stoa_client *c, const stoa_client_options *options)
{
    c->calls_max = options->calls_max ? options->calls_max : CALLS_DEFAULT;
    if (c->calls_max > CALLS_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "calls_max %u is above %d", c->calls_max, CALLS_MAX);
    }
    c->calls = calloc(c->calls_max, sizeof *c->calls);
    if (!c->calls) { return STOA_FAIL(STOA_E_NOMEM, "client"); }
    (void)snprintf(c->name, sizeof c->name, "%s", options->name ? options->name : "");
    session_number_own(c);
    c->now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    c->due_ns = UINT64_MAX;
    c->endpoint = strdup(options->endpoint);
    c->key = strdup(options->key);
    c->server_key = strdup(options->server_key);
    if (!c->endpoint || !c->key || !c->server_key) { return STOA_FAIL(STOA_E_NOMEM, "client"); }
    stoa_err err = open_first(c);
    return err ? err : open_descriptors(c);
}

/* The trail's first line without its head, "NAME file:line: ". */
static stoa_err open_failed(stoa_err err)
{
    const char *head_end = strstr(stoa_err_trail(), ": ");
    const char *text = head_end ? head_end + 2 : "";
    (void)snprintf(open_text, sizeof open_text, "%.*s", (int)strcspn(text, "\n"), text);
    return err;
}

stoa_err stoa_client_open(const stoa_client_options *options, stoa_client **out)
{
    if (!options->endpoint || !options->server_key || !options->key) {
        return open_failed(STOA_FAIL(STOA_E_INVALID, "client: endpoint, server_key and key are needed"));
    }
    stoa_client *c = calloc(1, sizeof *c);
    if (!c) { return open_failed(STOA_FAIL(STOA_E_NOMEM, "client")); }
    c->epoll = c->timer = -1;
    stoa_err err = set_up(c, options);
    if (err) {
        (void)open_failed(err);
        stoa_client_close(c);
        return STOA_PASS(err, "client of %s", options->endpoint);
    }
    *out = c;
    return STOA_OK;
}

void stoa_client_close(stoa_client *client)
{
    if (!client) { return; }
    for (uint32_t i = 0; client->calls && i < client->calls_max; i++) {
        free(client->calls[i].payload);
    }
    for (stream *s = client->streams; s; s = s->next) {
        s->ended = true;
    }
    streams_sweep(client);
    if (client->link) { client->link->ops->close(client->link, LINGER_MS); }
    if (client->timer >= 0) { (void)close(client->timer); }
    if (client->epoll >= 0) { (void)close(client->epoll); }
    free(client->calls);
    free(client->endpoint);
    free(client->key);
    free(client->server_key);
    free(client);
}

/* --- waiting */

static uint64_t next_ns(const stoa_client *c)
{
    uint64_t a = session_next_ns(c), b = calls_next_ns(c);
    return a < b ? a : b;
}

/* The timer makes the descriptor readable when time demands something. */
static void arm(stoa_client *c, uint64_t at_ns)
{
    bool rings = c->armed_ns <= c->now_ns;
    if (rings ? at_ns <= c->now_ns : at_ns >= c->armed_ns) { return; } /* as early as that it wakes anyway */
    uint64_t in_ns = at_ns > c->now_ns ? at_ns - c->now_ns : 1;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(in_ns / STOA_S(1)), .tv_nsec = (long)(in_ns % STOA_S(1))}};
    if (at_ns == UINT64_MAX) { when.it_value = (struct timespec){0}; }
    (void)timerfd_settime(c->timer, 0, &when, NULL);
    c->armed_ns = at_ns;
}

void client_stir(stoa_client *c)
{
    if (!c->inside) { arm(c, c->now_ns); }
}

/* One round; afterwards the descriptor is readable when there is something to do, and now and then when there is not: setting
 * the timer costs more than waking once in vain. */
static bool step(stoa_client *c)
{
    bool settled = session_step(c);
    streams_sweep(c);
    arm(c, settled ? next_ns(c) : c->now_ns);
    return settled;
}

static void sleep_until(stoa_client *c, uint64_t until_ns)
{
    struct epoll_event events[2];
    uint64_t wait_ms = until_ns > c->now_ns ? (until_ns - c->now_ns) / STOA_MS(1) + 1 : 0;
    (void)epoll_wait(c->epoll, events, 2, (int)(wait_ms < SLEEP_MS_MAX ? wait_ms : SLEEP_MS_MAX));
    c->now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    if (c->now_ns >= c->armed_ns) { c->armed_ns = 0; } /* it rang, or is about to: set it anew, which silences it */
}

void client_run(stoa_client *c, const bool *done)
{
    while (!*done) {
        bool settled = step(c);
        if (!*done && settled) { sleep_until(c, UINT64_MAX); }
    }
}

stoa_err stoa_client_poll(stoa_client *client, uint64_t timeout_ns)
{
    if (client->inside) { return STOA_FAIL(STOA_E_INVALID, "poll from a callback"); }
    uint64_t before = client->handled;
    stoa_err refused_before = client->refused;
    client->now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    uint64_t until_ns = timeout_ns < UINT64_MAX - client->now_ns ? client->now_ns + timeout_ns : UINT64_MAX;
    if (client->now_ns >= client->armed_ns) { client->armed_ns = 0; }
    for (;;) {
        bool settled = step(client);
        if (client->handled != before) { return STOA_OK; }
        bool over = client->now_ns >= until_ns;
        if (client->refused && (over || !refused_before)) { return client->refused; }
        if (over) { return STOA_E_AGAIN; }
        if (settled) { sleep_until(client, until_ns); }
    }
}

int stoa_client_fd(stoa_client *client)
{
    return client->epoll;
}

stoa_err stoa_client_wait(stoa_client *client, uint64_t deadline_ns)
{
    if (client->inside) { return STOA_FAIL(STOA_E_INVALID, "wait from a callback"); }
    uint64_t until_ns = stoa_clock_real.now_ns(&stoa_clock_real) + deadline_ns;
    for (;;) {
        bool settled = step(client);
        if (client->phase == PHASE_READY) { return STOA_OK; }
        if (client->refused) { return STOA_FAIL(client->refused, "the node does not take this client"); }
        if (client->now_ns >= until_ns) { return STOA_FAIL(STOA_E_TIMEOUT, "no session"); }
        if (settled) { sleep_until(client, until_ns); }
    }
}

void stoa_client_look(const stoa_client *client, stoa_client_view *out)
{
    *out = (stoa_client_view){.connected = client->phase == PHASE_READY,
                              .sessions = client->sessions,
                              .calls = client->call_count,
                              .streams = client->stream_count,
                              .requests_max = client->welcome.requests_max,
                              .streams_max = client->welcome.streams_max,
                              .refused = client->refused};
    memcpy(out->identity, client->welcome.identity.at, client->welcome.identity.len);
    memcpy(out->server, client->welcome.server.at, client->welcome.server.len);
}

/* --- helpers */

const char *stoa_client_error_text(const stoa_client *client)
{
    return client ? client->error_text : open_text;
}

const char *stoa_client_error_name(stoa_err err)
{
    return stoa_err_name(err);
}

const char *stoa_client_error_meaning(stoa_err err)
{
    return stoa_err_text(err);
}

const char *stoa_client_error_remedy(stoa_err err)
{
    return stoa_err_remedy(err);
}

const char *stoa_client_durability_name(stoa_durability durability)
{
    return durability < stoa_durability_COUNT ? stoa_durability_texts[durability] : "unknown";
}

const char *stoa_client_status_name(trade_status status)
{
    return status < trade_status_COUNT ? trade_status_texts[status] : "unknown";
}

const char *stoa_client_reason_name(trade_reason reason)
{
    return reason < trade_reason_COUNT ? trade_reason_texts[reason] : "unknown";
}

stoa_err stoa_client_decimal(const char *text, stoa_decimal *out)
{
    return stoa_decimal_parse(text, strlen(text), out);
}

const char *stoa_client_decimal_text(stoa_decimal value, char *text)
{
    (void)stoa_decimal_print(value, 0, text);
    return text;
}
