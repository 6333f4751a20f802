/* links.c - the node's links: opened from the settings, their keys, what can be seen of them. See links.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/links.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "node/incarnation.h"
#include "node/keys.h"
#include "node/world.h"

enum { NODES_A_LINK = 64, ALLOWED_MAX = NODES_A_LINK * STOA_KEYS_PER_NAME, LINGER_MS = 200, KINDS_MAX = 16, ROUNDS_AT_ONCE = 2 };
#define SAY_AGAIN_NS STOA_S(3600) /* of a refusal that goes on */

typedef struct line {
    const stoa_settings_link *is;
    char keys[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES]; /* dial: of the other node */
    uint32_t key_count, key_at;
    uint32_t tried, tries_left; /* dial: keys (bits) refused since it was up last; how many more before the next regular look */
    char in_use[STOA_KEY_TEXT_BYTES];
    uint64_t refused; /* when it was looked at last */
} line;

struct stoa_node_links {
    stoa_platform *platform;
    stoa_remote *remote;
    stoa_key_pair own;
    line lines[STOA_REMOTE_LINKS];
    uint32_t line_count;
    pthread_mutex_t busy; /* of what is above: keys */
    pthread_mutex_t lock; /* of faults */
    stoa_link_fault faults[STOA_REMOTE_PEERS];
    uint32_t fault_count;
};

/* --- keys */

static bool has_keys(const stoa_settings_link *is)
{
    const char *uri = is->uri;
    while (strncmp(uri, "fault+", 6) == 0) { uri += 6; }
    return strncmp(uri, "shm:", 4) != 0;
}

static uint32_t keys_of(const stoa_platform *p, const char *name, const char *named, const stoa_key_list *list,
                        char keys_out[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES])
{
    char path[2 * STOA_PATH_MAX], key[STOA_KEY_TEXT_BYTES];
    (void)snprintf(path, sizeof path, "%s/keys/%s.pub", p->settings.data, name);
    bool there = stoa_key_load_public(named[0] ? named : path, key) == STOA_OK;
    return stoa_key_list_keys(list, name, there ? key : NULL, stoa_clock_real.wall_ns(&stoa_clock_real), keys_out);
}

/* Visit the names of a link's nodes, with commas or blanks between. */
static char *next_name(char **rest)
{
    return strtok_r(NULL, ", ", rest);
}

static uint32_t allowed_of(const stoa_platform *p, const stoa_settings_link *is, const stoa_key_list *list, stoa_link_allowed *allowed)
{
    char names[sizeof is->nodes], *rest = names, keys[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES];
    uint32_t count = 0;
    memcpy(names, is->nodes, sizeof names);
    for (char *name = next_name(&rest); name; name = next_name(&rest)) {
        uint32_t key_count = keys_of(p, name, is->key, list, keys);
        for (uint32_t i = 0; i < key_count && count < ALLOWED_MAX; i++, count++) {
            (void)snprintf(allowed[count].name, sizeof allowed[count].name, "%s", name);
            memcpy(allowed[count].public_key, keys[i], sizeof allowed[count].public_key);
        }
    }
    return count;
}

/* A key that nobody has: who has none that is known is not met. */
static void nobodys_key(char key[STOA_KEY_TEXT_BYTES])
{
    stoa_key_pair pair;
    (void)stoa_key_new(&pair);
    memcpy(key, pair.public_key, STOA_KEY_TEXT_BYTES);
    explicit_bzero(&pair, sizeof pair);
}

/* From here on so many rounds of its keys may be tried without a pause. */
static void may_try(line *at, uint32_t rounds)
{
    at->tried = 0;
    at->tries_left = rounds * at->key_count;
}

static void find_keys(stoa_node_links *l, line *at, const stoa_key_list *list)
{
    at->key_count = keys_of(l->platform, at->is->nodes, at->is->key, list, at->keys);
    at->key_at = at->key_count ? at->key_count - 1 : 0; /* the newest */
    for (uint32_t i = 0; i < at->key_count; i++) {
        if (strcmp(at->keys[i], at->in_use) == 0) { at->key_at = i; }
    }
    may_try(at, ROUNDS_AT_ONCE);
    if (!at->key_count) { stoa_log(STOA_LOG_WARN, "link_without_key", STOA_KV("link", at->is->name), STOA_KV("node", at->is->nodes)); }
}

/* What a link is opened with. allowed: the caller's room for ALLOWED_MAX. */
static stoa_link_options options_of(stoa_node_links *l, line *at, const stoa_key_list *list, stoa_link_allowed *allowed)
{
    stoa_link_options o = {.listen = at->is->listen, .fenced = at->is->fenced, .trusted = at->is->trusted};
    if (!has_keys(at->is)) { return o; }
    o.secret_key = l->own.secret_key;
    o.public_key = l->own.public_key;
    if (o.listen) {
        o.allowed = allowed;
        o.allowed_count = list ? allowed_of(l->platform, at->is, list, allowed) : 0;
        return o;
    }
    if (at->key_count) {
        memcpy(at->in_use, at->keys[at->key_at], sizeof at->in_use);
    } else {
        nobodys_key(at->in_use);
    }
    o.server_key = at->in_use;
    return o;
}

static void reopen(stoa_node_links *l, uint32_t index, const stoa_link_options *options)
{
    stoa_err err = stoa_remote_reopen(l->remote, index, options);
    if (err) { stoa_log_error("link_reopen_failed", err); }
}

static bool still_has(const line *at)
{
    for (uint32_t i = 0; i < at->key_count; i++) {
        if (strcmp(at->keys[i], at->in_use) == 0) { return true; }
    }
    return false;
}

static void keys_changed(stoa_node_links *l, uint32_t index, bool own, const stoa_key_list *list, stoa_link_allowed *allowed)
{
    line *at = &l->lines[index];
    if (!has_keys(at->is)) { return; }
    if (!at->is->listen) { find_keys(l, at, list); }
    if (own || (!at->is->listen && !still_has(at))) {
        stoa_link_options options = options_of(l, at, list, allowed);
        reopen(l, index, &options);
    } else if (at->is->listen) {
        uint32_t count = allowed_of(l->platform, at->is, list, allowed);
        stoa_err err = stoa_remote_allow(l->remote, index, allowed, count);
        if (err) { stoa_log_error("link_keys_refused", err); }
    }
}

void stoa_node_links_keys(stoa_node_links *l, const stoa_key_pair *own, const stoa_key_list *list)
{
    if (!l) { return; }
    stoa_link_allowed *allowed = calloc(ALLOWED_MAX, sizeof *allowed);
    if (!allowed) { return; }
    (void)pthread_mutex_lock(&l->busy);
    bool other = strcmp(l->own.public_key, own->public_key) != 0;
    l->own = *own;
    for (uint32_t i = 0; i < l->line_count; i++) { keys_changed(l, i, other, list, allowed); }
    (void)pthread_mutex_unlock(&l->busy);
    free(allowed);
}

typedef struct refusals {
    uint64_t count[STOA_REMOTE_LINKS];
    stoa_err why[STOA_REMOTE_LINKS];
    bool up[STOA_REMOTE_LINKS];
} refusals;

static void count_refusals(void *context, const stoa_remote_link_view *view)
{
    refusals *r = context;
    r->count[view->index] = view->strangers.link_refused;
    r->why[view->index] = view->strangers.link_why;
    r->up[view->index] = view->counts.ups > view->counts.downs;
}

/* The newest key of those that were not tried in this round; a round over, the next one begins. */
static void next_key(line *at)
{
    uint32_t all = (1U << at->key_count) - 1, i = at->key_count - 1;
    at->tried |= 1U << at->key_at;
    if (at->tried == all) { at->tried = 1U << at->key_at; }
    while (at->tried & 1U << i) { i--; }
    at->key_at = i;
    at->tries_left--;
}

/* Whether it is to be dialled with another key. */
static bool was_refused(line *at, const refusals *now, uint32_t index, bool regular)
{
    bool several = !at->is->listen && at->key_count > 1, denied = now->count[index] > at->refused && now->why[index] == STOA_E_DENIED;
    if (!several) { return false; }
    if (regular && at->tries_left < at->key_count) { at->tries_left = at->key_count; }
    if (now->up[index]) { may_try(at, ROUNDS_AT_ONCE); }
    if (now->up[index] || !denied) { at->refused = now->count[index]; }
    return denied && !now->up[index] && at->tries_left > 0;
}

void stoa_node_links_look(stoa_node_links *l, bool regular)
{
    refusals now = {0}, then = {0};
    uint32_t others = 0;
    if (!l) { return; }
    stoa_remote_links(l->remote, count_refusals, &now);
    (void)pthread_mutex_lock(&l->busy);
    for (uint32_t i = 0; i < l->line_count; i++) {
        if (!was_refused(&l->lines[i], &now, i, regular)) { continue; }
        next_key(&l->lines[i]);
        stoa_link_options options = options_of(l, &l->lines[i], NULL, NULL);
        reopen(l, i, &options);
        others |= 1U << i;
    }
    if (others) { stoa_remote_links(l->remote, count_refusals, &then); }
    for (uint32_t i = 0; i < l->line_count; i++) {
        if (others & 1U << i) { l->lines[i].refused = then.count[i]; } /* what the key before was refused is over */
    }
    (void)pthread_mutex_unlock(&l->busy);
}

static void on_link_refused(void *context, uint32_t index, stoa_err why)
{
    stoa_node_links *l = context;
    const line *at = &l->lines[index];
    if (why == STOA_E_DENIED && !at->is->listen) { stoa_node_keys_ring(l->platform->own_keys); }
}

/* --- what happens to them */

/* The node's faults; under the lock. NULL: there are too many. */
static stoa_link_fault *fault_of(stoa_node_links *l, const char *node)
{
    for (uint32_t i = 0; i < l->fault_count; i++) {
        if (strcmp(l->faults[i].node, node) == 0) { return &l->faults[i]; }
    }
    if (l->fault_count == STOA_REMOTE_PEERS) { return NULL; }
    stoa_link_fault *fault = &l->faults[l->fault_count++];
    (void)snprintf(fault->node, sizeof fault->node, "%s", node);
    return fault;
}

/* Note it; whether it is to be said. */
static bool note(stoa_link_fault *f, stoa_remote_what what, stoa_err why, uint64_t now_ns)
{
    bool refusal = what == STOA_REMOTE_REFUSED || what == STOA_REMOTE_TURNED_AWAY;
    bool goes_on = refusal && f->refused_why == why && f->up_ns < f->said_ns && now_ns < f->said_ns + SAY_AGAIN_NS;
    switch (what) {
    case STOA_REMOTE_UP: f->up_ns = now_ns; break;
    case STOA_REMOTE_DOWN:
        f->down_why = why;
        f->down_ns = now_ns;
        break;
    case STOA_REMOTE_RESET:
    case STOA_REMOTE_LOST: f->lost_ns = now_ns; break;
    case STOA_REMOTE_REFUSED:
    case STOA_REMOTE_TURNED_AWAY:
        f->refused_why = why;
        f->refused_ns = now_ns;
        f->said_ns = goes_on ? f->said_ns : now_ns;
        break;
    }
    return !goes_on;
}

static void on_peer(void *context, const char *peer, stoa_remote_what what, stoa_err why)
{
    static const char *const said[] = {[STOA_REMOTE_UP] = "link_up", [STOA_REMOTE_DOWN] = "link_down", [STOA_REMOTE_LOST] = "link_lost",
                                       [STOA_REMOTE_RESET] = "link_reset", [STOA_REMOTE_REFUSED] = "link_refused",
                                       [STOA_REMOTE_TURNED_AWAY] = "link_turned_away"};
    stoa_node_links *l = context;
    (void)pthread_mutex_lock(&l->lock);
    stoa_link_fault *fault = fault_of(l, peer);
    bool say = fault && note(fault, what, why, stoa_clock_real.wall_ns(&stoa_clock_real));
    (void)pthread_mutex_unlock(&l->lock);
    if (say && why) { stoa_log(STOA_LOG_WARN, said[what], STOA_KV("node", peer), STOA_KV("error", stoa_err_name(why))); }
    if (say && !why) { stoa_log(STOA_LOG_INFO, said[what], STOA_KV("node", peer)); }
}

/* --- life */

/* The kinds that node.shares names; they were checked with the settings. */
static void find_kinds(const stoa_settings *s, const stoa_kind **kinds)
{
    char names[sizeof s->shares], *rest = names;
    uint32_t count = 0;
    memcpy(names, s->shares, sizeof names);
    for (char *name = next_name(&rest); name; name = next_name(&rest)) {
        const stoa_kind *kind = stoa_world_kind(name);
        if (kind && count < KINDS_MAX) { kinds[count++] = kind; }
    }
    kinds[count] = NULL;
}

static stoa_err start(stoa_node_links *l, const stoa_key_list *list, stoa_remote_link *links, stoa_link_allowed *allowed)
{
    stoa_platform *p = l->platform;
    const stoa_kind *kinds[KINDS_MAX + 1];
    const stoa_remote_events events = {.peer = on_peer, .link_refused = on_link_refused, .context = l};
    for (uint32_t i = 0; i < l->line_count; i++) {
        line *at = &l->lines[i];
        if (has_keys(at->is) && !at->is->listen) { find_keys(l, at, list); }
        links[i] = (stoa_remote_link){.uri = at->is->uri,
                                      .peer = at->is->listen || !at->is->nodes[0] ? NULL : at->is->nodes,
                                      .link = options_of(l, at, list, allowed + i * ALLOWED_MAX),
                                      .heartbeat_ns = at->is->heartbeat_ns,
                                      .silence_max_ns = at->is->silence_ns,
                                      .trusts_link = !has_keys(at->is)};
    }
    uint64_t incarnation = 0;
    stoa_err err = stoa_incarnation_next(p->settings.data, p->started_ns, &incarnation);
    if (err) { return err; }
    find_kinds(&p->settings, kinds);
    stoa_remote_options options = {.node = p->node,
                                   .name = p->settings.node_name,
                                   .incarnation = incarnation,
                                   .epoch = p->epoch,
                                   .kinds = kinds,
                                   .links = links,
                                   .link_count = l->line_count,
                                   .core = (uint32_t)p->settings.cores - 1,
                                   .lost_ns = p->settings.lost_ns,
                                   .events = &events};
    return stoa_remote_start(&options, &l->remote);
}

stoa_err stoa_node_links_open(stoa_platform *p, const stoa_key_pair *own, const stoa_key_list *list, stoa_node_links **out)
{
    *out = NULL;
    if (!p->settings.link_count) { return STOA_OK; }
    stoa_node_links *l = calloc(1, sizeof *l);
    stoa_remote_link *links = calloc(STOA_REMOTE_LINKS, sizeof *links);
    stoa_link_allowed *allowed = calloc((size_t)STOA_REMOTE_LINKS * ALLOWED_MAX, sizeof *allowed);
    stoa_err err = l && links && allowed ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "links");
    if (l) {
        l->platform = p;
        l->own = *own;
        (void)pthread_mutex_init(&l->busy, NULL);
        (void)pthread_mutex_init(&l->lock, NULL);
        for (; l->line_count < p->settings.link_count; l->line_count++) { l->lines[l->line_count].is = &p->settings.links[l->line_count]; }
    }
    if (!err) { err = start(l, list, links, allowed); }
    free(links);
    free(allowed);
    if (err) {
        stoa_node_links_close(l);
        return err;
    }
    *out = l;
    return STOA_OK;
}

void stoa_node_links_close(stoa_node_links *l)
{
    if (!l) { return; }
    stoa_remote_stop(l->remote, LINGER_MS);
    (void)pthread_mutex_destroy(&l->busy);
    (void)pthread_mutex_destroy(&l->lock);
    explicit_bzero(&l->own, sizeof l->own);
    free(l);
}

/* --- what can be seen */

typedef struct seeing {
    stoa_node_links *links;
    stoa_links_seen *seen;
} seeing;

static void see_link(void *context, const stoa_remote_link_view *view)
{
    const seeing *s = context;
    const line *at = &s->links->lines[view->index];
    stoa_link_seen *to = &s->seen->links[s->seen->link_count++];
    *to = (stoa_link_seen){.is = at->is, .traits = view->traits, .counts = view->counts, .strangers = view->strangers,
                            .refused = view->refused, .refused_why = view->refused_why, .sessions = view->sessions};
    (void)snprintf(to->address, sizeof to->address, "%s", view->address);
}

static void see_node(void *context, const stoa_remote_peer_view *view)
{
    const seeing *s = context;
    stoa_links_seen *seen = s->seen;
    if (seen->node_count == STOA_REMOTE_PEERS) { return; }
    stoa_node_seen *to = &seen->nodes[seen->node_count++];
    to->link = s->links->lines[view->link].is;
    to->view = *view;
    (void)snprintf(to->name, sizeof to->name, "%s", view->name);
    to->view.name = to->view.session.peer = NULL;
    to->view.session.rtt = NULL;
    if (!seen->rtt_of || strcmp(seen->rtt_of, view->name) != 0) { return; }
    seen->rtt.sum = view->session.rtt->sum;
    for (unsigned i = 0; i < STOA_HISTOGRAM_BUCKETS; i++) { seen->rtt.buckets[i] = view->session.rtt->buckets[i]; }
    to->rtt = &seen->rtt;
}

void stoa_node_links_see(stoa_node_links *l, stoa_links_seen *seen)
{
    if (!l) { return; }
    seeing s = {l, seen};
    stoa_remote_links(l->remote, see_link, &s);
    stoa_remote_peers(l->remote, see_node, &s);
    (void)pthread_mutex_lock(&l->busy);
    for (uint32_t i = 0; i < seen->link_count; i++) {
        const line *at = &l->lines[i];
        seen->links[i].keyless = has_keys(at->is) && !at->is->listen && !at->key_count;
    }
    (void)pthread_mutex_unlock(&l->busy);
    (void)pthread_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < seen->node_count; i++) {
        for (uint32_t k = 0; k < l->fault_count; k++) {
            if (strcmp(l->faults[k].node, seen->nodes[i].name) == 0) { seen->nodes[i].fault = l->faults[k]; }
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
}

stoa_remote *stoa_node_links_remote(stoa_node_links *l)
{
    return l ? l->remote : NULL;
}

/* --- figures */

typedef struct figure {
    const char *name, *help;
    size_t offset;
    bool grows;
} figure;

#define LINK(member) offsetof(stoa_link_seen, member)
static const figure link_figures[] = {
    {"stoa_link_connections_total", "Connections of a link.", LINK(counts.ups), true},
    {"stoa_link_lost_connections_total", "Of those, the ones that ended.", LINK(counts.downs), true},
    {"stoa_link_refused_total", "Connections refused, here or by the other side.", LINK(counts.refused), true},
};

#define NODE(member) offsetof(stoa_node_seen, view.member)
static const figure node_figures[] = {
    {"stoa_session_sent_total", "Messages sent to a node.", NODE(session.counts.sent), true},
    {"stoa_session_received_total", "Messages that came from it.", NODE(session.counts.received), true},
    {"stoa_session_sent_bytes_total", "Bytes of batches sent.", NODE(session.counts.bytes_sent), true},
    {"stoa_session_received_bytes_total", "Bytes of batches that came.", NODE(session.counts.bytes_received), true},
    {"stoa_session_resent_total", "Batches sent once more.", NODE(session.counts.resent), true},
    {"stoa_session_expired_total", "Messages dropped there or here on arrival: too late.", NODE(session.counts.expired_there), true},
    {"stoa_session_full_total", "Sends that found no room.", NODE(session.counts.full), true},
    {"stoa_session_resets_total", "Times the node had restarted.", NODE(session.counts.resets), true},
    {"stoa_session_silences_total", "Times it was silent for too long.", NODE(session.counts.silences), true},
    {"stoa_session_downs_total", "Times messages stopped passing.", NODE(session.counts.downs), true},
    {"stoa_session_rtt_ns", "Smoothed round trip.", NODE(session.rtt_ns), false},
    {"stoa_session_silence_ns", "After so long without an answer it is down.", NODE(session.silence_ns), false},
    {"stoa_session_backlog_bytes", "What waits for room in its lanes.", NODE(backlog_bytes), false},
};

static void set_figures(stoa_platform *p, const figure *figures, size_t count, const char *labels, const void *of)
{
    for (size_t i = 0; i < count; i++) {
        stoa_counter *metric;
        stoa_err err = figures[i].grows ? stoa_metrics_counter(p->metrics, figures[i].name, labels, figures[i].help, &metric)
                                        : stoa_metrics_gauge(p->metrics, figures[i].name, labels, figures[i].help, &metric);
        if (!err) { stoa_gauge_set(metric, *(const uint64_t *)(const void *)((const char *)of + figures[i].offset)); }
    }
}

void stoa_node_links_measure(stoa_node_links *l)
{
    stoa_links_seen *seen = l ? calloc(1, sizeof *seen) : NULL;
    char labels[160];
    if (!seen) { return; }
    stoa_node_links_see(l, seen);
    for (uint32_t i = 0; i < seen->link_count; i++) {
        (void)snprintf(labels, sizeof labels, "link=\"%s\"", seen->links[i].is->name);
        set_figures(l->platform, link_figures, sizeof link_figures / sizeof link_figures[0], labels, &seen->links[i]);
    }
    for (uint32_t i = 0; i < seen->node_count; i++) {
        const stoa_node_seen *node = &seen->nodes[i];
        stoa_counter *up;
        if (!node->name[0]) { continue; }
        (void)snprintf(labels, sizeof labels, "link=\"%s\",node=\"%s\"", node->link->name, node->name);
        set_figures(l->platform, node_figures, sizeof node_figures / sizeof node_figures[0], labels, node);
        if (!stoa_metrics_gauge(l->platform->metrics, "stoa_session_up", labels, "1: messages pass.", &up)) {
            stoa_gauge_set(up, node->view.session.state == STOA_SESSION_UP);
        }
    }
    free(seen);
}
