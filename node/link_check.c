/* link_check.c - see link_check.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/link_check.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "actors/plugin/plugin_msgs.h"
#include "base/log.h"
#include "node/world.h"
#include "transport/address.h"
#include "transport/envelope.h"
#include "transport/key_list.h"
#include "transport/keys.h"

enum { HOST_BYTES = 256, FAULT_TEXT_MAX = 512 };

typedef struct checks {
    const stoa_settings *s;
    const stoa_settings_faults *faults;
} checks;

/* Of a link's key. */
#define TELL(c, link, key, ...) stoa_settings_fault_of((c)->faults, "links", (uint32_t)((link) - (c)->s->links), key, __VA_ARGS__)

/* What failed last, without code and place. */
static void last_failure(char out[FAULT_TEXT_MAX])
{
    const char *trail = stoa_err_trail(), *text = strstr(trail, ": ");
    text = text ? text + 2 : trail;
    (void)snprintf(out, FAULT_TEXT_MAX, "%.*s", (int)strcspn(text, "\n"), text);
}

/* --- the nodes on a link's other side */

static void check_node(const checks *c, const stoa_settings_link *link, const char *name)
{
    const stoa_settings *s = c->s;
    if (!stoa_node_name_is_good(name, strlen(name)) || !stoa_key_name_good(name)) { TELL(c, link, "nodes", "'%s' cannot be a node's name", name); }
    if (strcmp(name, s->node_name) == 0) { TELL(c, link, "nodes", "%s is this node's own name (node.name)", name); }
    if (strcmp(name, STOA_KEY_SERVER) == 0) { TELL(c, link, "nodes", "server is the node's own key's name"); }
    for (uint32_t i = 0; i < s->client_count; i++) {
        if (strcmp(name, s->clients[i].name) == 0) { TELL(c, link, "nodes", "%s is a client; a key is one's only", name); }
    }
}

/* Names with commas between, and blanks around them. Returns how many. */
static uint32_t check_nodes(const checks *c, const stoa_settings_link *link)
{
    char names[sizeof link->nodes], *rest = names, *seen[sizeof link->nodes];
    uint32_t count = 0;
    memcpy(names, link->nodes, sizeof names);
    if (!names[0]) { return 0; }
    for (char *name = strsep(&rest, ","); name; name = strsep(&rest, ",")) {
        name += strspn(name, " ");
        for (size_t end = strlen(name); end && name[end - 1] == ' '; end--) { name[end - 1] = '\0'; }
        check_node(c, link, name);
        for (uint32_t i = 0; i < count; i++) {
            if (strcmp(seen[i], name) == 0) { TELL(c, link, "nodes", "%s is there twice", name); }
        }
        seen[count++] = name;
    }
    if (!link->listen && count == 1 && strcmp(seen[0], link->nodes) != 0) { TELL(c, link, "nodes", "'%s' has blanks around the name", link->nodes); }
    return count;
}

static void check_key(const checks *c, const stoa_settings_link *link, uint32_t count)
{
    char key[STOA_KEY_TEXT_BYTES], why[FAULT_TEXT_MAX];
    if (!link->key[0]) { return; }
    if (count != 1) { TELL(c, link, "key", "a key is of one node"); }
    if (stoa_key_load_public(link->key, key)) {
        last_failure(why);
        TELL(c, link, "key", "%s", why);
    }
}

/* --- addresses */

/* Without fault+: what is really listened at or dialled. */
static const char *bare(const char *uri)
{
    while (strncmp(uri, "fault+", 6) == 0) { uri += 6; }
    return uri;
}

static bool is_of(const char *uri, const char *scheme)
{
    return strncmp(bare(uri), scheme, strlen(scheme)) == 0;
}

/* What stands behind the scheme, without the options of faults. */
static const char *place_of(const char *uri, size_t *size_out)
{
    const char *mark = strstr(uri, "://"), *place = mark ? mark + 3 : "";
    *size_out = bare(uri) == uri ? strlen(place) : strcspn(place, "?");
    return place;
}

/* The folder that a socket is to be made in; that of the data is made by the start. */
static bool folder_is_there(const stoa_settings *s, const char *uri)
{
    char folder[STOA_PATH_MAX + 1];
    struct stat found;
    size_t size_bytes;
    const char *place = place_of(uri, &size_bytes);
    bool path = is_of(uri, "zmq+ipc:") ? place[0] != '@' && place[0] != '*' : is_of(uri, "shm:") && place[0] == '/';
    if (!path) { return true; }
    (void)snprintf(folder, sizeof folder, "%.*s", (int)size_bytes, place);
    char *slash = strrchr(folder, '/');
    if (!slash) { return true; }
    slash[slash == folder] = '\0';
    bool made = strcmp(folder, s->data) == 0;
    return made || (stat(folder, &found) == 0 && S_ISDIR(found.st_mode));
}

/* Why a node cannot listen at or dial uri, into why_out; false: nothing speaks against it. */
static bool is_refused(const stoa_settings *s, const char *uri, bool listen, char why_out[FAULT_TEXT_MAX])
{
    if (is_of(uri, "sim:")) {
        (void)snprintf(why_out, FAULT_TEXT_MAX, "sim is within one process: a node is not reached by it");
    } else if (stoa_link_check(uri, listen)) {
        char why[FAULT_TEXT_MAX];
        last_failure(why);
        (void)snprintf(why_out, FAULT_TEXT_MAX, "%s: %.*s", uri, FAULT_TEXT_MAX - STOA_PATH_MAX - 3, why);
    } else if (listen && !folder_is_there(s, uri)) {
        (void)snprintf(why_out, FAULT_TEXT_MAX, "%s: there is no such folder", uri);
    } else {
        return false;
    }
    return true;
}

/* Whether the ports that the library itself opens are for strangers to reach (transport/README.md). Of names only the start knows. */
static bool is_open_to_strangers(const char *uri)
{
    char host[HOST_BYTES], text[STOA_PATH_MAX + 1];
    size_t size_bytes;
    if (!is_of(uri, "ucx+") && !is_of(uri, "ofi+")) { return false; }
    if (!is_of(uri, "ucx+tcp:") && !is_of(uri, "ofi+tcp:")) { return true; } /* an adapter's port is where its cable leads */
    const char *place = place_of(uri, &size_bytes);
    (void)snprintf(text, sizeof text, "%.*s", (int)size_bytes, place);
    return stoa_address_host(text, host, sizeof host) && stoa_address_leaves(host);
}

static void check_uri(const checks *c, const stoa_settings_link *link)
{
    char why[FAULT_TEXT_MAX];
    if (is_refused(c->s, link->uri, link->listen, why)) {
        TELL(c, link, "uri", "%s", why);
    } else if (!link->fenced && !link->trusted && is_open_to_strangers(link->uri)) {
        TELL(c, link, "uri", "%s leaves this machine: say that the network is fenced (or trusted), or use zmq+tcp", link->uri);
    }
}

/* Whether two cannot both be: the same address, or the same port of one host under two schemes. */
static bool same_place(const char *a, bool a_listens, const char *b, bool b_listens)
{
    size_t a_bytes, b_bytes;
    const char *a_place = place_of(a, &a_bytes), *b_place = place_of(b, &b_bytes);
    if (a_bytes == 0 || a_bytes != b_bytes || memcmp(a_place, b_place, a_bytes) != 0) { return false; }
    bool one_scheme = strncmp(bare(a), bare(b), strcspn(bare(a), ":") + 1) == 0;
    bool ports = !is_of(a, "shm:") && !is_of(a, "zmq+ipc:") && !is_of(b, "shm:") && !is_of(b, "zmq+ipc:");
    if (ports && a_bytes >= 2 && memcmp(a_place + a_bytes - 2, ":0", 2) == 0) { return false; } /* any port */
    return one_scheme || (ports && a_listens && b_listens);
}

static void check_twice(const checks *c, const stoa_settings_link *link)
{
    const stoa_settings *s = c->s;
    for (const stoa_settings_link *other = s->links; other < link; other++) {
        if (!same_place(link->uri, link->listen, other->uri, other->listen)) { continue; }
        TELL(c, link, "uri", "%s is the address of link %s", link->uri, other->name);
        return;
    }
    if (same_place(link->uri, link->listen, s->gateway_listen, true)) { TELL(c, link, "uri", "%s is where clients connect (gateway.listen)", link->uri); }
}

/* Where /metrics is. */
static bool is_http(const stoa_settings *s, const char *uri)
{
    char http[HOST_BYTES];
    (void)snprintf(http, sizeof http, "http://%s:%lld", s->http_host, (long long)s->http_port);
    return s->http_port > 0 && same_place(uri, true, http, true);
}

static void check_gateway(const checks *c)
{
    char why[FAULT_TEXT_MAX];
    const char *uri = c->s->gateway_listen;
    if (!uri[0]) { return; }
    if (is_of(uri, "shm:")) {
        stoa_settings_fault(c->faults, "gateway.listen", "shm proves users, and clients have keys");
    } else if (is_refused(c->s, uri, true, why)) {
        stoa_settings_fault(c->faults, "gateway.listen", "%s", why);
    } else if (is_open_to_strangers(uri)) {
        stoa_settings_fault(c->faults, "gateway.listen", "%s leaves this machine: clients come by zmq+tcp there", uri);
    } else if (is_http(c->s, uri)) {
        stoa_settings_fault(c->faults, "gateway.listen", "%s is where /metrics is (http.host, http.port)", uri);
    }
}

/* --- all of it */

static void check_link(const checks *c, const stoa_settings_link *link)
{
    uint32_t count = check_nodes(c, link);
    if (!link->listen && count > 1) { TELL(c, link, "nodes", "a link that dials has one node"); }
    if (!is_of(link->uri, "shm:") && !count) { TELL(c, link, "nodes", "whose keys are let in? Name the nodes on the other side"); }
    check_key(c, link, count);
    check_uri(c, link);
    check_twice(c, link);
    if (link->listen && is_http(c->s, link->uri)) { TELL(c, link, "uri", "%s is where /metrics is (http.host, http.port)", link->uri); }
    if (link->silence_ns < 4 * link->heartbeat_ns) { TELL(c, link, "silence", "less than four heartbeats"); }
}

/* A plug-in, or the kind of their supervisors. */
static bool is_plugin(const stoa_settings *s, const char *name)
{
    if (strcmp(name, plugin_table.name) == 0) { return true; }
    for (uint32_t i = 0; i < s->plugin_count; i++) {
        if (strcmp(s->plugins[i].name, name) == 0) { return true; }
    }
    return false;
}

void stoa_links_check(const stoa_settings *s, const stoa_settings_faults *faults)
{
    const checks c = {s, faults};
    char kinds[sizeof s->shares], *rest = kinds;
    for (uint32_t i = 0; i < s->link_count; i++) { check_link(&c, &s->links[i]); }
    check_gateway(&c);
    if (s->link_count && !stoa_node_name_is_good(s->node_name, strlen(s->node_name))) {
        stoa_settings_fault(faults, "node.name", "'%s' cannot be a node's name among others", s->node_name);
    }
    memcpy(kinds, s->shares, sizeof kinds);
    for (char *kind = strtok_r(NULL, ", ", &rest); kind; kind = strtok_r(NULL, ", ", &rest)) {
        if (!stoa_world_kind(kind) && !is_plugin(s, kind)) { stoa_settings_fault(faults, "node.shares", "there is no kind '%s' that could be shared", kind); }
    }
}

/* --- names of hosts, once it runs */

static void look_up(const stoa_settings_link *link)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char host[HOST_BYTES], text[STOA_PATH_MAX + 1];
    struct addrinfo *found;
    size_t size_bytes;
    const char *place = place_of(link->uri, &size_bytes);
    if (link->listen || is_of(link->uri, "shm:") || is_of(link->uri, "zmq+ipc:")) { return; }
    (void)snprintf(text, sizeof text, "%.*s", (int)size_bytes, place);
    if (!stoa_address_host(text, host, sizeof host) || !stoa_address_is_name(host)) { return; }
    int unknown = getaddrinfo(host, NULL, &hints, &found);
    if (!unknown) { freeaddrinfo(found); }
    if (unknown) { stoa_log(STOA_LOG_WARN, "link_host_unknown", STOA_KV("link", link->name), STOA_KV("host", host), STOA_KV("why", gai_strerror(unknown))); }
}

void stoa_links_look_up(const stoa_settings *s)
{
    for (uint32_t i = 0; i < s->link_count; i++) { look_up(&s->links[i]); }
}
