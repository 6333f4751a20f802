/* remote_node.c - a node that talks to another one, for integration/remote_test.py. Its actors are those of examples/ping_pong.c,
 * fan_in.c and topics.c, as they are.
 *
 *     remote_node NAME listen URI SECRET PUBLIC PEER_NAME PEER_PUBLIC     with "-" for what there is not
 *     remote_node NAME dial URI SECRET PUBLIC PEER_NAME PEER_PUBLIC
 *
 * It prints the address that it listens at, then obeys its standard input, a line a command, and answers each with a line:
 *
 *     serve              has a ponger, a sink and a listener
 *     ping ROUNDS        plays with the other side's ponger
 *     fan COUNT          eight sources send so many each to the other side's sink
 *     topic COUNT        a sensor publishes so many readings, and the other side's listener is asked what it heard
 *     watch COUNT        so many watchers (remote_watcher.h) watch what the other side serves, each with a child linked to its ponger
 *     seen COUNT         what they have heard so far, all together
 *     peer               what is known of the other node
 *     end                ends; so does the end of input
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/remote/remote.h"
#include "tests/remote_watcher.h"

extern const stoa_kind ponger_kind, pinger_kind, sink_kind, source_kind, sensor_kind, listener_kind;

typedef struct world {
    stoa_node *node;
    stoa_remote *remote;
} world;

static void say(const char *what, stoa_err err)
{
    printf("%s %s\n", what, err ? stoa_err_name(err) : "OK");
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    (void)fflush(stdout);
}

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* The other side's actor, once it is there. */
static stoa_err await(const world *w, const char *name, stoa_ref *out)
{
    for (uint64_t until = now_ns() + STOA_S(60); now_ns() < until; (void)poll(NULL, 0, 2)) {
        *out = stoa_find(w->node, name);
        if (out->at) { return STOA_OK; }
    }
    return STOA_FAIL(STOA_E_NOT_FOUND, "%s", name);
}

static const stoa_row *row_of(const stoa_kind *kind, const char *name)
{
    for (uint32_t id = 1; id <= kind->table->row_count; id++) {
        if (strcmp(kind->table->rows[id].name, name) == 0) { return &kind->table->rows[id]; }
    }
    abort();
}

/* The payloads as the examples have them. */
typedef struct serve {
    stoa_text62 to;
    uint64_t rounds;
} serve;
typedef struct go {
    stoa_text62 to;
    uint64_t source, count;
} go;
typedef struct sum {
    uint64_t got, out_of_order;
} sum;
typedef struct told {
    uint64_t readings;
    int64_t degrees;
    stoa_text62 topic;
} told;

static void do_serve(world *w, uint64_t unused)
{
    stoa_ref ref;
    (void)unused;
    stoa_err err = stoa_spawn(w->node, &ponger_kind, "ponger/po", NULL, &ref);
    if (!err) { err = stoa_spawn(w->node, &sink_kind, "sink/all", &(stoa_spawn_options){.core = 1}, &ref); }
    if (!err) { err = stoa_spawn(w->node, &listener_kind, "listener/house.>", NULL, &ref); }
    say("serve", err);
}

static void do_ping(world *w, uint64_t rounds)
{
    serve in = {stoa_text("ponger/po"), rounds};
    uint64_t out = 0;
    stoa_ref there, here = stoa_find(w->node, "pinger/pi");
    stoa_err err = await(w, "ponger/po", &there);
    if (!err && !here.at) { err = stoa_spawn(w->node, &pinger_kind, "pinger/pi", NULL, &here); }
    if (!err) { err = stoa_call(w->node, here, row_of(&pinger_kind, "serve"), &in, STOA_S(120), &out, sizeof out); }
    printf("rounds %" PRIu64 " ", out);
    say("ping", err);
}

static void do_fan(world *w, uint64_t count)
{
    stoa_ref all, from;
    sum out = {0};
    stoa_err err = await(w, "sink/all", &all);
    for (uint64_t i = 0; i < 8 && !err; i++) {
        char name[32];
        go in = {stoa_text("sink/all"), i, count};
        (void)snprintf(name, sizeof name, "source/%" PRIu64, i);
        err = stoa_spawn(w->node, &source_kind, name, &(stoa_spawn_options){.core = i % 2}, &from);
        if (!err) { err = stoa_post(w->node, from, row_of(&source_kind, "go"), &in); }
    }
    for (uint64_t nothing = 0, until = now_ns() + STOA_S(120); !err && out.got < 8 * count && now_ns() < until;) {
        err = stoa_call(w->node, all, row_of(&sink_kind, "count"), &nothing, STOA_S(60), &out, sizeof out);
    }
    printf("got %" PRIu64 " out_of_order %" PRIu64 " ", out.got, out.out_of_order);
    say("fan", err);
}

static void do_topic(world *w, uint64_t count)
{
    stoa_ref there, here = {0};
    told out = {0};
    uint64_t nothing = 0, done;
    stoa_err err = await(w, "listener/house.>", &there);
    if (!err) { err = stoa_spawn(w->node, &sensor_kind, "sensor/attic", NULL, &here); }
    /* that somebody there wants to hear it may not be known yet */
    for (uint64_t until = now_ns() + STOA_S(60); !err && !out.readings && now_ns() < until;) {
        int64_t degrees = -1;
        err = stoa_call(w->node, here, row_of(&sensor_kind, "measure"), &degrees, STOA_S(60), &done, sizeof done);
        if (!err) { err = stoa_call(w->node, there, row_of(&listener_kind, "tell"), &nothing, STOA_S(60), &out, sizeof out); }
    }
    uint64_t before = out.readings;
    for (int64_t i = 1; i <= (int64_t)count && !err; i++) {
        err = stoa_call(w->node, here, row_of(&sensor_kind, "measure"), &i, STOA_S(60), &done, sizeof done);
    }
    for (uint64_t until = now_ns() + STOA_S(60); !err && out.degrees != (int64_t)count && now_ns() < until;) {
        err = stoa_call(w->node, there, row_of(&listener_kind, "tell"), &nothing, STOA_S(60), &out, sizeof out);
    }
    printf("heard %d degrees %" PRId64 " topic %.*s ", out.readings > before, out.degrees, STOA_TEXT_ARGS(&out.topic));
    say("topic", err);
}

static void do_watch(world *w, uint64_t count)
{
    stoa_ref ref;
    uint64_t watched = 0;
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < WATCHED && !err; i++) { err = await(w, watched_names[i], &ref); }
    for (uint64_t i = 0; i < count && !err; i++) {
        char name[32];
        watcher_seen seen = {0};
        held_done done;
        (void)snprintf(name, sizeof name, "watcher/%" PRIu64, i);
        ref = stoa_find(w->node, name);
        if (!ref.at) { err = stoa_spawn(w->node, &watcher_kind, name, &(stoa_spawn_options){.core = i % 2}, &ref); }
        if (!err) { err = watcher_call_watch(w->node, ref, (watcher_watch){0}, STOA_S(60), &seen); }
        (void)snprintf(name, sizeof name, "held/%" PRIu64, i);
        if (!err) { err = await(w, name, &ref); }
        if (!err) { err = held_call_hold(w->node, ref, (held_hold){0}, STOA_S(60), &done); }
        watched += seen.watched;
    }
    printf("watched %" PRIu64 " ", watched);
    say("watch", err);
}

static void do_seen(world *w, uint64_t count)
{
    watcher_seen all = {0};
    stoa_err err = STOA_OK;
    for (uint64_t i = 0; i < count && !err; i++) {
        char name[32];
        stoa_ref ref;
        watcher_seen seen = {0};
        (void)snprintf(name, sizeof name, "watcher/%" PRIu64, i);
        err = await(w, name, &ref);
        if (!err) { err = watcher_call_look(w->node, ref, (watcher_look){0}, STOA_S(60), &seen); }
        all.lost += seen.lost, all.twice += seen.twice, all.other += seen.other, all.restarts += seen.restarts;
    }
    printf("lost %" PRIu64 " twice %" PRIu64 " other %" PRIu64 " restarts %" PRIu64 " ", all.lost, all.twice, all.other, all.restarts);
    say("seen", err);
}

static void print_peer(void *context, const stoa_remote_peer_view *view)
{
    (void)context;
    printf("peer %s names %u stands %u told %u malformed %" PRIu64 " lost %" PRIu64 " resets %" PRIu64 " ", view->name, view->names,
           view->stands, view->told, view->counts.malformed, view->counts.lost, view->session.counts.resets);
}

static void do_peer(world *w, uint64_t unused)
{
    (void)unused;
    stoa_remote_peers(w->remote, print_peer, NULL);
    say("peer", STOA_OK);
}

static void obey(world *w)
{
    static const struct {
        const char *name;
        void (*run)(world *w, uint64_t count);
    } commands[] = {{"serve", do_serve}, {"ping", do_ping}, {"fan", do_fan}, {"topic", do_topic},
                  {"watch", do_watch}, {"seen", do_seen}, {"peer", do_peer}};
    char line[128], name[64];
    while (fgets(line, sizeof line, stdin)) {
        uint64_t count = 0;
        if (sscanf(line, "%63s %" SCNu64, name, &count) < 1 || strcmp(name, "end") == 0) { return; }
        size_t i = 0, commands_count = sizeof commands / sizeof commands[0];
        while (i < commands_count && strcmp(commands[i].name, name) != 0) { i++; }
        if (i < commands_count) {
            commands[i].run(w, count);
        } else {
            say(name, STOA_E_NOT_FOUND);
        }
    }
}

static const char *given(const char *text)
{
    return strcmp(text, "-") == 0 ? NULL : text;
}

static void print_address(void *context, const stoa_remote_link_view *view)
{
    (void)context;
    printf("address %s provider %s\n", view->address, view->traits.provider);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const stoa_kind *const kinds[] = {&ponger_kind, &pinger_kind,   &sink_kind, &source_kind,
                                             &sensor_kind, &listener_kind, NULL};
    if (argc != 8) { return 2; }
    stoa_link_allowed allowed = {0};
    bool listens = strcmp(argv[2], "listen") == 0, keys = given(argv[4]) != NULL;
    stoa_remote_link link = {.uri = argv[3],
                             .peer = listens ? NULL : given(argv[6]),
                             .link = {.listen = listens, .secret_key = given(argv[4]), .public_key = given(argv[5])}};
    if (keys && listens) {
        (void)snprintf(allowed.name, sizeof allowed.name, "%s", argv[6]);
        (void)snprintf(allowed.public_key, sizeof allowed.public_key, "%s", argv[7]);
        link.link.allowed = &allowed;
        link.link.allowed_count = 1;
    } else if (keys) {
        link.link.server_key = argv[7];
    }
    world w = {0};
    struct timespec at;
    (void)clock_gettime(CLOCK_REALTIME, &at);
    stoa_remote_options options = {.name = argv[1], .incarnation = (uint64_t)at.tv_sec * 1000000000U + (uint64_t)at.tv_nsec,
                                   .epoch = 1, .kinds = kinds, .links = &link, .link_count = 1};
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 2}, &w.node);
    options.node = w.node;
    if (!err) { err = stoa_remote_start(&options, &w.remote); }
    if (!err) {
        stoa_remote_links(w.remote, print_address, NULL);
        obey(&w);
    } else {
        say("open", err);
    }
    stoa_remote_stop(w.remote, 200);
    stoa_node_close(w.node, STOA_MS(200));
    return err ? 1 : 0;
}
