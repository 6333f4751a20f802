/* links.c - the node's links: opened from the settings, their keys, what can be seen of them. See links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/links/incarnation.h"
#include "node/figures.h"
#include "node/keys.h"
#include "node/plugin/keeper.h"
#include "node/plugin/plugins.h"
#include "node/world.h"
#include "runtime/stand.h"

enum { LINGER_MS = 200, KINDS_MAX = 16 };

struct stoa_node_links {
    stoa_platform *platform;
    stoa_links *links;
};

/* --- life */

/* A kind that can be shared: the platform's, that of plug-ins' supervisors, or a plug-in's; NULL: that was refused. */
static const stoa_kind *kind_named(const stoa_platform *p, const char *name)
{
    if (strcmp(name, plugin_kind.name) == 0) { return &plugin_kind; }
    const stoa_kind *kind = stoa_world_kind(name);
    const stoa_plugin_unit *unit = kind ? NULL : stoa_plugin_named(p->plugins, name);
    return unit && unit->plugged ? stoa_plugged_kind(unit->plugged) : kind;
}

/* The kinds that node.shares names; they were checked with the settings. */
static void find_kinds(const stoa_platform *p, const stoa_kind **kinds)
{
    char names[sizeof p->settings.shares], *rest = names;
    uint32_t count = 0;
    memcpy(names, p->settings.shares, sizeof names);
    for (char *name = strtok_r(NULL, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
        const stoa_kind *kind = kind_named(p, name);
        if (kind && count < KINDS_MAX) { kinds[count++] = kind; }
    }
    kinds[count] = NULL;
}

static void denied(void *context)
{
    const stoa_platform *p = context;
    stoa_node_keys_ring(p->own_keys);
}

static void say_listens(void *context, const stoa_remote_link_view *view)
{
    const stoa_node_links *l = context;
    const stoa_settings_link *is = &l->platform->settings.links[view->index];
    if (is->listen) { stoa_log(STOA_LOG_INFO, "link_listens", STOA_KV("link", is->name), STOA_KV("address", view->address)); }
}

stoa_err stoa_node_links_open(stoa_platform *p, const stoa_key_pair *own, const stoa_key_list *list, stoa_node_links **out)
{
    const stoa_settings *s = &p->settings;
    const stoa_kind *kinds[KINDS_MAX + 1];
    char folder[STOA_PATH_MAX + 16];
    stoa_links_start with = {.folder = folder, .own = own, .list = list, .epoch = p->epoch, .denied = denied, .context = p};
    stoa_links_options options = {.node = p->node, .name = s->node_name, .kinds = kinds, .lost_ns = s->lost_ns, .core = (uint32_t)s->cores - 1};
    *out = NULL;
    if (!s->link_count) { return STOA_OK; }
    for (uint32_t i = 0; i < s->link_count; i++) {
        const stoa_settings_link *is = &s->links[i];
        options.links[i] = (stoa_links_link){.uri = is->uri, .listen = is->listen, .nodes = is->nodes, .name = is->name, .key = is->key,
                                             .fenced = is->fenced, .trusted = is->trusted, .heartbeat_ns = is->heartbeat_ns,
                                             .silence_ns = is->silence_ns};
    }
    (void)snprintf(folder, sizeof folder, "%s/keys", s->data);
    find_kinds(p, kinds);
    stoa_node_links *l = calloc(1, sizeof *l);
    if (!l) { return STOA_FAIL(STOA_E_NOMEM, "links"); }
    l->platform = p;
    stoa_err err = stoa_incarnation_next(s->data, p->started_ns, &with.incarnation);
    if (!err) { err = stoa_links_start_with(&options, &with, &l->links); }
    if (err) {
        free(l);
        return err;
    }
    *out = l;
    stoa_remote_links(stoa_links_remote(l->links), say_listens, l);
    return STOA_OK;
}

void stoa_node_links_close(stoa_node_links *l)
{
    if (!l) { return; }
    stoa_links_close(l->links, STOA_MS(LINGER_MS));
    free(l);
}

void stoa_node_links_keys(stoa_node_links *l, const stoa_key_pair *own, const stoa_key_list *list)
{
    if (l) { stoa_links_keys(l->links, own, list); }
}

void stoa_node_links_look(stoa_node_links *l, bool regular)
{
    if (l) { stoa_links_try(l->links, regular); }
}

/* --- what can be seen */

typedef struct seeing {
    stoa_node_links *links;
    stoa_links_seen *seen;
} seeing;

static void see_link(void *context, const stoa_remote_link_view *view)
{
    const seeing *s = context;
    stoa_link_seen *to = &s->seen->links[s->seen->link_count++];
    *to = (stoa_link_seen){.is = &s->links->platform->settings.links[view->index], .traits = view->traits, .counts = view->counts, .strangers = view->strangers,
                            .refused = view->refused, .refused_why = view->refused_why, .shut = view->shut, .sessions = view->sessions};
    (void)snprintf(to->address, sizeof to->address, "%s", view->address);
}

static void see_node(void *context, const stoa_remote_peer_view *view)
{
    const seeing *s = context;
    stoa_links_seen *seen = s->seen;
    if (seen->node_count == STOA_REMOTE_PEERS) { return; }
    stoa_node_seen *to = &seen->nodes[seen->node_count++];
    to->link = &s->links->platform->settings.links[view->link];
    to->over = view->spare && view->over != UINT32_MAX ? &s->links->platform->settings.links[view->over] : NULL;
    to->view = *view;
    (void)snprintf(to->name, sizeof to->name, "%s", view->name);
    to->view.name = to->view.session.peer = NULL;
    to->view.session.rtt = NULL;
    if (view->spare || !seen->rtt_of || strcmp(seen->rtt_of, view->name) != 0) { return; }
    seen->rtt.sum = view->session.rtt->sum;
    for (unsigned i = 0; i < STOA_HISTOGRAM_BUCKETS; i++) { seen->rtt.buckets[i] = view->session.rtt->buckets[i]; }
    to->rtt = &seen->rtt;
}

void stoa_node_links_see(stoa_node_links *l, stoa_links_seen *seen)
{
    if (!l) { return; }
    seeing s = {l, seen};
    stoa_remote *remote = stoa_links_remote(l->links);
    stoa_remote_links(remote, see_link, &s);
    stoa_remote_peers(remote, see_node, &s);
    for (uint32_t i = 0; i < seen->link_count; i++) { seen->links[i].keyless = stoa_links_keyless(l->links, i); }
    for (uint32_t i = 0; i < seen->node_count; i++) { stoa_links_fault(l->links, seen->nodes[i].name, &seen->nodes[i].fault); }
}

stoa_remote *stoa_node_links_remote(stoa_node_links *l)
{
    return l ? stoa_links_remote(l->links) : NULL;
}

static bool named_before(const stoa_settings *s, uint32_t link, const char *in, const char *name)
{
    for (uint32_t i = 0; i <= link; i++) {
        char names[sizeof s->links[i].nodes], *rest = names;
        memcpy(names, s->links[i].nodes, sizeof names);
        if (i == link) { names[in - s->links[i].nodes] = '\0'; }
        for (char *at = strtok_r(NULL, ", ", &rest); at; at = strtok_r(NULL, ", ", &rest)) {
            if (strcmp(at, name) == 0) { return true; }
        }
    }
    return false;
}

void stoa_node_links_names(const stoa_settings *s, void (*visit)(void *context, const char *name), void *context)
{
    for (uint32_t i = 0; i < s->link_count; i++) {
        const char *at = s->links[i].nodes;
        for (size_t bytes; at += strspn(at, ", "), (bytes = strcspn(at, ", ")) > 0; at += bytes) {
            char name[sizeof s->links[i].nodes];
            memcpy(name, at, bytes);
            name[bytes] = '\0';
            if (!named_before(s, i, at, name)) { visit(context, name); }
        }
    }
}

typedef struct listing {
    char text[STOA_ABSENT_NODES_BYTES];
    size_t at;
} listing;

static void list_node(void *context, const char *name)
{
    listing *l = context;
    if (l->at < sizeof l->text) { l->at += (size_t)snprintf(l->text + l->at, sizeof l->text - l->at, "%s%s", l->at ? ", " : "", name); }
}

void stoa_node_links_await(const stoa_platform *p)
{
    listing l = {.at = 0};
    stoa_node_links_names(&p->settings, list_node, &l);
    stoa_names_await(p->node, l.text, NULL);
}

/* --- figures */

#define LINK(member) STOA_FIGURE(stoa_link_seen, member)
static const stoa_figure link_figures[] = {
    {"stoa_link_connections_total", "Connections of a link.", LINK(counts.ups)},
    {"stoa_link_lost_connections_total", "Of those, the ones that ended.", LINK(counts.downs)},
    {"stoa_link_refused_total", "Connections and greetings refused, here or by the other side.", LINK(refused)},
};

#define NODE(member) STOA_FIGURE(stoa_node_seen, view.member)
static const stoa_figure node_figures[] = {
    {"stoa_session_sent_total", "Messages sent to a node.", NODE(session.counts.sent)},
    {"stoa_session_received_total", "Messages that came from it.", NODE(session.counts.received)},
    {"stoa_session_sent_bytes_total", "Bytes of batches sent.", NODE(session.counts.bytes_sent)},
    {"stoa_session_received_bytes_total", "Bytes of batches that came.", NODE(session.counts.bytes_received)},
    {"stoa_session_resent_total", "Batches sent once more.", NODE(session.counts.resent)},
    {"stoa_session_expired_total", "Messages dropped there or here on arrival: too late.", NODE(session.counts.expired_there)},
    {"stoa_session_full_total", "Sends that found no room.", NODE(session.counts.full)},
    {"stoa_session_resets_total", "Times the node had restarted.", NODE(session.counts.resets)},
    {"stoa_session_silences_total", "Times it was silent for too long.", NODE(session.counts.silences)},
    {"stoa_session_in_doubt_total", "Messages that were on their way when it restarted: some may have arrived.", NODE(counts.in_doubt)},
    {"stoa_session_downs_total", "Times messages stopped passing.", NODE(session.counts.downs)},
    {"stoa_session_rtt_ns", "Smoothed round trip.", NODE(session.rtt_ns)},
    {"stoa_session_silence_ns", "After so long without an answer it is down.", NODE(session.silence_ns)},
    {"stoa_session_backlog_bytes", "What waits for room in its lanes.", NODE(backlog_bytes)},
};

void stoa_node_links_measure(stoa_node_links *l)
{
    stoa_links_seen *seen = l ? calloc(1, sizeof *seen) : NULL;
    stoa_metrics *metrics = seen ? l->platform->metrics : NULL;
    char labels[160];
    if (!seen) { return; }
    stoa_node_links_see(l, seen);
    for (uint32_t i = 0; i < seen->link_count; i++) {
        (void)snprintf(labels, sizeof labels, "link=\"%s\"", seen->links[i].is->name);
        stoa_figures_set(metrics, link_figures, sizeof link_figures / sizeof link_figures[0], labels, &seen->links[i]);
    }
    for (uint32_t i = 0; i < seen->node_count; i++) {
        const stoa_node_seen *node = &seen->nodes[i];
        stoa_counter *up;
        if (!node->name[0]) { continue; }
        (void)snprintf(labels, sizeof labels, "link=\"%s\",node=\"%s\"", node->link->name, node->name);
        if (!node->view.spare) {
            stoa_figures_set(metrics, node_figures, sizeof node_figures / sizeof node_figures[0], labels, node);
            stoa_figures_set_drops(metrics, "stoa_session_dropped_total", labels, "Messages to and from a node that were dropped here, by reason.", node->view.counts.dropped);
        }
        if (!stoa_metrics_gauge(metrics, "stoa_session_up", labels, "1: messages pass.", &up)) {
            stoa_gauge_set(up, node->view.session.state == STOA_SESSION_UP);
        }
    }
    free(seen);
}
