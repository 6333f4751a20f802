/* link_check.c - see link_check.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/link_check.h"

#include <string.h>

#include "node/world.h"
#include "transport/envelope.h"
#include "transport/key_list.h"

/* One of the nodes on a link's other side. */
static void check_node(const stoa_settings *s, const stoa_settings_link *link, const char *name, stoa_buf *faults)
{
    if (!stoa_node_name_is_good(name, strlen(name)) || !stoa_key_name_good(name)) {
        stoa_buf_printf(faults, "links: %s: nodes: '%s' cannot be a node's name\n", link->name, name);
    }
    if (strcmp(name, s->node_name) == 0) { stoa_buf_printf(faults, "links: %s: nodes: %s is this node's own name (node.name)\n", link->name, name); }
    if (strcmp(name, STOA_KEY_SERVER) == 0) { stoa_buf_printf(faults, "links: %s: nodes: server is the node's own key's name\n", link->name); }
    for (uint32_t i = 0; i < s->client_count; i++) {
        if (strcmp(name, s->clients[i].name) == 0) { stoa_buf_printf(faults, "links: %s: nodes: %s is a client; a key is one's only\n", link->name, name); }
    }
}

static void check_link(const stoa_settings *s, const stoa_settings_link *link, stoa_buf *faults)
{
    char names[sizeof link->nodes], *rest = names;
    uint32_t count = 0;
    memcpy(names, link->nodes, sizeof names);
    for (char *name = strtok_r(NULL, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest), count++) { check_node(s, link, name, faults); }
    bool memory = strncmp(link->uri, "shm:", 4) == 0;
    if (!link->listen && count > 1) { stoa_buf_printf(faults, "links: %s: nodes: a link that dials has one node\n", link->name); }
    if (!memory && !count) { stoa_buf_printf(faults, "links: %s: nodes: whose keys are let in? Name the nodes on the other side\n", link->name); }
    if (link->key[0] && count != 1) { stoa_buf_printf(faults, "links: %s: key: a key is of one node\n", link->name); }
    if (!stoa_link_find(link->uri)) { stoa_buf_printf(faults, "links: %s: uri: %.*s\n", link->name, (int)strcspn(stoa_err_trail(), "\n"), stoa_err_trail()); }
    if (link->silence_ns < 3 * link->heartbeat_ns) { stoa_buf_printf(faults, "links: %s: silence: less than three heartbeats\n", link->name); }
}

void stoa_links_check(const stoa_settings *s, stoa_buf *faults)
{
    char kinds[sizeof s->shares], *rest = kinds;
    for (uint32_t i = 0; i < s->link_count; i++) { check_link(s, &s->links[i], faults); }
    if (s->link_count && !stoa_node_name_is_good(s->node_name, strlen(s->node_name))) {
        stoa_buf_printf(faults, "node.name: '%s' cannot be a node's name among others\n", s->node_name);
    }
    memcpy(kinds, s->shares, sizeof kinds);
    for (char *kind = strtok_r(NULL, ", ", &rest); kind; kind = strtok_r(NULL, ", ", &rest)) {
        if (!stoa_world_kind(kind)) { stoa_buf_printf(faults, "node.shares: there is no kind '%s' that could be shared\n", kind); }
    }
}
