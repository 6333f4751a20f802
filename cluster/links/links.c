/* links/links.c - the life of links, what happens to the nodes on them, what can be seen. See cluster/links.h; keys.c has their keys.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/links.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/links/incarnation.h"
#include "cluster/links/inside.h"
#include "storage/archive/file.h"

enum { FIND_MS = 2 };
#define SAY_AGAIN_NS STOA_S(3600) /* of a refusal that goes on */
#define GOES_ON_NS   STOA_S(1)    /* one that is over sooner was for a key of several, or by a listener that ended */
#define IS_OVER_NS   STOA_S(3)    /* who dials comes once a second at least */

/* --- what happens to them */

static const char *const said[STOA_REMOTE_WHATS] = {
    [STOA_REMOTE_UP] = "link_up",           [STOA_REMOTE_DOWN] = "link_down",       [STOA_REMOTE_LOST] = "link_lost",
    [STOA_REMOTE_RESET] = "link_reset",     [STOA_REMOTE_REFUSED] = "link_refused", [STOA_REMOTE_TURNED_AWAY] = "link_turned_away",
    [STOA_REMOTE_LEFT] = "link_left",       [STOA_REMOTE_CLOSED] = "link_closed"};

/* Whether a link's nodes have this one among them. */
static bool is_of(const stoa_links_line *at, const char *node)
{
    static const char between[] = ", ";
    size_t bytes = strlen(node);
    for (const char *name = at->nodes + strspn(at->nodes, between); *name; name += strspn(name, between)) {
        size_t name_bytes = strcspn(name, between);
        if (name_bytes == bytes && memcmp(name, node, bytes) == 0) { return true; }
        name += name_bytes;
    }
    return false;
}

static bool is_named(const stoa_links *l, const char *node)
{
    bool named = false;
    for (uint32_t i = 0; i < l->line_count && !named; i++) { named = is_of(&l->lines[i], node); }
    return named;
}

static stoa_link_fault *find(stoa_link_fault *faults, uint32_t count, const char *node)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(faults[i].node, node) == 0) { return &faults[i]; }
    }
    return NULL;
}

/* Of those that are not up the one that was heard of least lately, nobody's first; NULL: all are up. */
static stoa_link_fault *oldest(stoa_link_fault *faults, uint32_t count)
{
    stoa_link_fault *found = NULL;
    for (stoa_link_fault *f = faults; f < faults + count; f++) {
        if (!f->up && (!found || f->last_ns < found->last_ns)) { found = f; }
    }
    return found;
}

/* The node's faults; under the lock. Where no key proves a name, names cost nothing: so those that no link names and that were never up have a
 * few places among themselves, and what was said there of one is said of whoever comes after it. A flood of names is as many lines an hour
 * as there are places, and takes none from a node. */
static stoa_link_fault *fault_of(stoa_links *l, const char *node, bool refusal)
{
    stoa_link_fault *known = find(l->faults, STOA_REMOTE_PEERS, node), *stranger = find(l->strangers, STOA_LINK_STRANGERS, node);
    if (known) { return known; }
    if (!refusal || is_named(l, node)) { known = oldest(l->faults, STOA_REMOTE_PEERS); }
    if (known) {
        *known = stranger ? *stranger : (stoa_link_fault){.node = ""};
        if (stranger) { stranger->node[0] = '\0'; }
    }
    stoa_link_fault *fault = known ? known : stranger ? stranger : oldest(l->strangers, STOA_LINK_STRANGERS);
    (void)snprintf(fault->node, sizeof fault->node, "%.*s", STOA_NODE_NAME_BYTES - 1, node);
    return fault;
}

static bool is_refusal(stoa_remote_what what)
{
    return what == STOA_REMOTE_REFUSED || what == STOA_REMOTE_TURNED_AWAY;
}

/* Note it; whether it is to be said. */
static bool note(stoa_link_fault *f, stoa_remote_what what, stoa_err why, uint64_t now_ns)
{
    uint64_t *said_ns = &f->said_ns[(uint32_t)-why % STOA_LINK_REASONS];
    bool goes_on = is_refusal(what) && f->up_ns < *said_ns && now_ns < *said_ns + SAY_AGAIN_NS;
    f->last_ns = now_ns;
    f->up = what == STOA_REMOTE_UP || (f->up && is_refusal(what));
    switch (what) {
    case STOA_REMOTE_UP: f->up_ns = now_ns; break;
    case STOA_REMOTE_LEFT:
    case STOA_REMOTE_CLOSED:
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
        *said_ns = goes_on ? *said_ns : now_ns;
        break;
    }
    return !goes_on;
}

static void on_peer(void *context, const char *peer, stoa_remote_what what, stoa_err why)
{
    stoa_links *l = context;
    (void)pthread_mutex_lock(&l->lock);
    bool say = note(fault_of(l, peer, is_refusal(what)), what, why, stoa_clock_real.wall_ns(&stoa_clock_real));
    for (uint32_t i = 0; what == STOA_REMOTE_UP && i < l->line_count; i++) {
        if (strcmp(l->lines[i].nodes, peer) == 0) { l->lines[i].refusing.since_ns = 0; }
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (say && why) { stoa_log(STOA_LOG_WARN, said[what], STOA_KV("node", peer), STOA_KV("error", stoa_err_name(why))); }
    if (say && !why) { stoa_log(STOA_LOG_INFO, said[what], STOA_KV("node", peer)); }
    if (l->told) { l->told(l->told_context, peer, what, why); }
}

/* Whether connections have been refused for a while; under the lock. */
static bool goes_on(stoa_links_line *at, bool up, uint64_t now_ns)
{
    if (now_ns > at->refusing.last_ns + IS_OVER_NS) { at->refusing.since_ns = 0; }
    at->refusing.last_ns = now_ns;
    if (!at->listens && up) {
        at->refusing.since_ns = 0;
        return false;
    }
    if (!at->refusing.since_ns) { at->refusing.since_ns = now_ns; }
    return now_ns >= at->refusing.since_ns + GOES_ON_NS;
}

/* Who dials knows whom; who listens knows no more than that somebody came. */
static void on_link_refused(void *context, uint32_t index, bool up, stoa_err why)
{
    stoa_links *l = context;
    stoa_links_line *at = &l->lines[index];
    uint64_t now_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    const char *node = at->listens ? "" : at->nodes;
    stoa_remote_what what = at->listens ? STOA_REMOTE_TURNED_AWAY : STOA_REMOTE_REFUSED;
    if (why == STOA_E_DENIED && !at->listens && l->denied) { l->denied(l->denied_context); }
    (void)pthread_mutex_lock(&l->lock);
    bool on = goes_on(at, up, now_ns);
    stoa_link_fault *fault = !on ? NULL : node[0] ? fault_of(l, node, true) : &at->strangers;
    bool say = fault && note(fault, what, why, now_ns);
    (void)pthread_mutex_unlock(&l->lock);
    if (say) { stoa_log(STOA_LOG_WARN, said[what], STOA_KV("link", at->name), STOA_KV("node", node), STOA_KV("error", stoa_err_name(why))); }
    if (on && l->told) { l->told(l->told_context, node, what, why); }
}

void stoa_links_line_say_anew(stoa_links *l, stoa_links_line *at)
{
    (void)pthread_mutex_lock(&l->lock);
    at->refusing.since_ns = 0;
    memset(at->strangers.said_ns, 0, sizeof at->strangers.said_ns);
    for (uint32_t i = 0; i < STOA_REMOTE_PEERS; i++) {
        if (l->faults[i].node[0] && is_of(at, l->faults[i].node)) { memset(l->faults[i].said_ns, 0, sizeof l->faults[i].said_ns); }
    }
    (void)pthread_mutex_unlock(&l->lock);
}

/* --- life */

/* Keys are of all links but those over shared memory. */
static bool has_keys(const char *uri)
{
    while (strncmp(uri, "fault+", 6) == 0) { uri += 6; }
    return strncmp(uri, "shm:", 4) != 0;
}

static bool fits(const char *text, size_t bytes)
{
    return !text || strlen(text) < bytes;
}

/* Whether the names are of nodes; counts them. */
static bool names_good(const char *nodes, uint32_t *count_out)
{
    static const char between[] = ", ";
    for (*count_out = 0; nodes[strspn(nodes, between)]; ++*count_out) {
        nodes += strspn(nodes, between);
        size_t bytes = strcspn(nodes, between);
        if (!stoa_node_name_is_good(nodes, bytes)) { return false; }
        nodes += bytes;
    }
    return *count_out <= STOA_LINKS_NODES_A_LINK;
}

static stoa_err line_init(stoa_links_line *at, const stoa_links_link *is, bool keys)
{
    uint32_t count;
    if (!fits(is->nodes, sizeof at->nodes) || !fits(is->key, sizeof at->key)) { return STOA_FAIL(STOA_E_INVALID, "link %s: a text is too long", is->uri); }
    (void)snprintf(at->name, sizeof at->name, "%.*s", (int)sizeof at->name - 1, is->name ? is->name : is->uri);
    (void)snprintf(at->nodes, sizeof at->nodes, "%s", is->nodes ? is->nodes : "");
    (void)snprintf(at->key, sizeof at->key, "%s", is->key ? is->key : "");
    at->keyed = keys && has_keys(is->uri);
    at->listens = is->listen, at->fenced = is->fenced, at->trusted = is->trusted;
    if (!names_good(at->nodes, &count)) { return STOA_FAIL(STOA_E_INVALID, "link %s: '%s' are no names of nodes", is->uri, at->nodes); }
    if (!is->listen && (count > 1 || (at->keyed && !count))) { return STOA_FAIL(STOA_E_INVALID, "link %s: who dials names one node", is->uri); }
    if (at->key[0] && count != 1) { return STOA_FAIL(STOA_E_INVALID, "link %s: a key is of one node", is->uri); }
    return STOA_OK;
}

static stoa_err start(stoa_links *l, const stoa_links_options *o, const stoa_links_start *with, stoa_remote_link *links, stoa_link_allowed *allowed)
{
    const stoa_remote_events events = {.peer = on_peer, .link_refused = on_link_refused, .context = l};
    for (uint32_t i = 0; i < l->line_count; i++) {
        stoa_links_line *at = &l->lines[i];
        const stoa_links_link *is = &o->links[i];
        if (at->keyed && !at->listens) { stoa_links_line_find_keys(l, at, with->list); }
        links[i] = (stoa_remote_link){.uri = is->uri,
                                      .awaits = at->nodes,
                                      .peer = at->listens || !at->nodes[0] ? NULL : at->nodes,
                                      .link = stoa_links_line_options(l, at, with->list, allowed + i * STOA_LINKS_ALLOWED),
                                      .heartbeat_ns = is->heartbeat_ns,
                                      .silence_max_ns = is->silence_ns,
                                      .trusts_link = !has_keys(is->uri)};
    }
    stoa_remote_options options = {.node = o->node,
                                   .name = o->name,
                                   .incarnation = with->incarnation,
                                   .epoch = with->epoch,
                                   .kinds = o->kinds,
                                   .links = links,
                                   .link_count = l->line_count,
                                   .core = o->core,
                                   .lost_ns = o->lost_ns,
                                   .events = &events};
    return stoa_remote_start(&options, &l->remote);
}

static stoa_err init(stoa_links *l, const stoa_links_options *o, const stoa_links_start *with)
{
    stoa_err err = STOA_OK;
    (void)pthread_mutex_init(&l->busy, NULL);
    (void)pthread_mutex_init(&l->lock, NULL);
    l->node = o->node;
    l->told = o->told, l->told_context = o->context;
    l->denied = with->denied, l->denied_context = with->context;
    if (with->own) { l->own = *with->own; }
    if (!fits(o->data, sizeof l->data) || !fits(with->folder, sizeof l->folder)) { return STOA_FAIL(STOA_E_INVALID, "a folder's path is too long"); }
    (void)snprintf(l->data, sizeof l->data, "%s", o->data ? o->data : "");
    (void)snprintf(l->folder, sizeof l->folder, "%s", with->folder ? with->folder : "");
    for (; !err && l->line_count < STOA_LINKS_MAX && o->links[l->line_count].uri; l->line_count++) {
        err = line_init(&l->lines[l->line_count], &o->links[l->line_count], with->own != NULL);
    }
    return err;
}

stoa_err stoa_links_start_with(const stoa_links_options *o, const stoa_links_start *with, stoa_links **out)
{
    stoa_links *l = calloc(1, sizeof *l);
    stoa_remote_link *links = calloc(STOA_REMOTE_LINKS, sizeof *links);
    stoa_link_allowed *allowed = calloc((size_t)STOA_REMOTE_LINKS * STOA_LINKS_ALLOWED, sizeof *allowed);
    stoa_err err = l && links && allowed ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "links");
    if (!err) { err = init(l, o, with); }
    if (!err) { err = start(l, o, with, links, allowed); }
    free(links);
    free(allowed);
    if (err) {
        stoa_links_close(l, 0);
        return err;
    }
    *out = l;
    return STOA_OK;
}

void stoa_links_close(stoa_links *l, uint64_t linger_ns)
{
    uint64_t linger_ms = linger_ns / STOA_MS(1);
    if (!l) { return; }
    stoa_remote_stop(l->remote, linger_ms < INT32_MAX ? (uint32_t)linger_ms : INT32_MAX);
    (void)pthread_mutex_destroy(&l->busy);
    (void)pthread_mutex_destroy(&l->lock);
    explicit_bzero(&l->own, sizeof l->own);
    free(l);
}

/* --- a program's own: keys and the number of its start are in a folder */

static stoa_err own_pair(const char *data, char folder[PATH_MAX], stoa_key_pair *out)
{
    char path[PATH_MAX];
    if (!*data) { return STOA_FAIL(STOA_E_INVALID, "the folder of the links (data) has no name: give one, or NULL for links without keys"); }
    stoa_err err = stoa_file_path(data, "keys", folder);
    if (!err) { err = stoa_folder_make_all(folder); }
    if (!err) { err = stoa_file_path(folder, STOA_KEY_SERVER, path); }
    return err ? err : stoa_key_have(path, out);
}

stoa_err stoa_links_pair(const char *data)
{
    char folder[PATH_MAX];
    stoa_key_pair own;
    stoa_err err = own_pair(data, folder, &own);
    explicit_bzero(&own, sizeof own);
    return err;
}

/* What is there now, after what is due; the list is the caller's to free. */
static stoa_err read_keys(const char *data, char folder[PATH_MAX], stoa_key_pair *own, stoa_key_list *list)
{
    uint64_t due_ns;
    stoa_err err = own_pair(data, folder, own);
    if (!err) { err = stoa_keys_settle(folder, stoa_clock_real.wall_ns(&stoa_clock_real), &due_ns); }
    if (!err) { err = own_pair(data, folder, own); } /* its next one may have taken over */
    return err ? err : stoa_key_list_read(folder, list);
}

stoa_err stoa_links_open(const stoa_links_options *o, stoa_links **out)
{
    char folder[PATH_MAX];
    stoa_key_pair own = {0};
    stoa_key_list list = {0};
    uint64_t wall_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    stoa_links_start with = {.incarnation = wall_ns / STOA_MS(1), .epoch = 1};
    stoa_err err = STOA_OK;
    if (o->data) {
        with.own = &own, with.list = &list, with.folder = folder;
        err = read_keys(o->data, folder, &own, &list);
        if (!err) { err = stoa_incarnation_next(o->data, wall_ns, &with.incarnation); }
    }
    if (!err) { err = stoa_links_start_with(o, &with, out); }
    stoa_key_list_free(&list);
    explicit_bzero(&own, sizeof own);
    return err;
}

void stoa_links_look(stoa_links *l)
{
    char folder[PATH_MAX];
    stoa_key_pair own = {0};
    stoa_key_list list = {0};
    if (!l->data[0]) { return; }
    stoa_err err = read_keys(l->data, folder, &own, &list);
    if (!err) { stoa_links_keys(l, &own, &list); }
    (void)pthread_mutex_lock(&l->busy);
    if (err && err != l->unread) { stoa_log_error("link_keys_unread", err); }
    l->unread = err;
    (void)pthread_mutex_unlock(&l->busy);
    stoa_links_try(l, true);
    stoa_key_list_free(&list);
    explicit_bzero(&own, sizeof own);
}

stoa_err stoa_links_find(stoa_links *l, const char *name, uint64_t wait_ns, stoa_ref *out)
{
    for (uint64_t from = stoa_clock_real.now_ns(&stoa_clock_real);; (void)poll(NULL, 0, FIND_MS)) {
        stoa_ref ref = stoa_find(l->node, name);
        if (ref.at) {
            *out = ref;
            return STOA_OK;
        }
        if (stoa_clock_real.now_ns(&stoa_clock_real) - from >= wait_ns) { return STOA_FAIL(STOA_E_NOT_FOUND, "%s", name); }
    }
}

/* --- what can be seen */

typedef struct visiting {
    void (*link)(void *context, const stoa_links_link_view *view);
    void (*node)(void *context, const stoa_links_node_view *view);
    void *context;
} visiting;

static void visit_link(void *context, const stoa_remote_link_view *view)
{
    const visiting *v = context;
    v->link(v->context, &(stoa_links_link_view){.index = view->index, .uri = view->uri, .address = view->address, .provider = view->traits.provider,
                                                .proves = view->traits.proves, .encrypts = view->traits.encrypts, .refused = view->refused,
                                                .refused_why = view->refused_why});
}

void stoa_links_visit(stoa_links *l, void (*visit)(void *context, const stoa_links_link_view *view), void *context)
{
    stoa_remote_links(l->remote, visit_link, &(visiting){.link = visit, .context = context});
}

static void visit_node(void *context, const stoa_remote_peer_view *view)
{
    const visiting *v = context;
    v->node(v->context, &(stoa_links_node_view){.name = view->name, .link = view->link, .up = view->session.state == STOA_SESSION_UP, .spare = view->spare, .lost = view->lost,
                                                .names = view->names, .rtt_ns = view->session.rtt_ns, .sent = view->session.counts.sent,
                                                .received = view->session.counts.received, .malformed = view->counts.malformed});
}

void stoa_links_visit_nodes(stoa_links *l, void (*visit)(void *context, const stoa_links_node_view *view), void *context)
{
    stoa_remote_peers(l->remote, visit_node, &(visiting){.node = visit, .context = context});
}

/* --- for the composition root */

void stoa_links_fault(stoa_links *l, const char *node, stoa_link_fault *out)
{
    (void)pthread_mutex_lock(&l->lock);
    const stoa_link_fault *known = find(l->faults, STOA_REMOTE_PEERS, node), *found = known ? known : find(l->strangers, STOA_LINK_STRANGERS, node);
    if (found && node[0]) { *out = *found; }
    (void)pthread_mutex_unlock(&l->lock);
}

bool stoa_links_keyless(stoa_links *l, uint32_t link)
{
    (void)pthread_mutex_lock(&l->busy);
    const stoa_links_line *at = &l->lines[link];
    bool keyless = at->keyed && (at->listens ? at->keyless != 0 : !at->key_count);
    (void)pthread_mutex_unlock(&l->busy);
    return keyless;
}

stoa_remote *stoa_links_remote(stoa_links *l)
{
    return l->remote;
}
