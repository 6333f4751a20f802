/* commands_link.c - links to other nodes: which there are, what their providers were seen to do, one node's session in full; paused,
 * resumed, dropped.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "node/commands.h"
#include "node/links.h"

static const char *const lane_names[] = {[STOA_LANE_CONTROL] = "control", [STOA_LANE_NORMAL] = "normal", [STOA_LANE_BULK] = "bulk"};

static const char *state_of(const stoa_node_seen *node)
{
    static const char *const names[] = {[STOA_SESSION_AWAY] = "away", [STOA_SESSION_GREETING] = "greeting", [STOA_SESSION_UP] = "up"};
    if (node->over) { return node->link->listen ? "elsewhere" : node->view.ready ? "spare" : "away"; }
    if (node->view.paused) { return "paused"; }
    if (node->view.session.state == STOA_SESSION_UP) { return "up"; }
    if (node->view.left) { return "left"; }
    return node->view.lost ? "lost" : names[node->view.session.state];
}

/* --- links */

static const char *denied_note(const stoa_settings_link *link)
{
    const char *scheme = link->uri;
    while (strncmp(scheme, "fault+", 6) == 0) { scheme += 6; }
    return strncmp(scheme, "shm:", 4) == 0 ? "refused for a name: each side's node.name is to be in the other one's nodes of this link, and both run as one user"
                                           : "refused for a key, or a name: compare the fingerprints of key show on both nodes (key allow), and node.name there with this link's nodes";
}

/* Whether all nodes that were met on the link are up, on this or on another one. */
static bool all_up(const stoa_links_seen *seen, const stoa_link_seen *link)
{
    for (uint32_t i = 0; i < seen->node_count; i++) {
        const stoa_node_seen *node = &seen->nodes[i];
        if (node->link == link->is && !node->over && node->view.session.state != STOA_SESSION_UP) { return false; }
    }
    return true;
}

/* What is not as it should be with a link, and what helps. */
static void put_link_note(stoa_doc *doc, const stoa_links_seen *seen, const stoa_link_seen *link)
{
    const char *nodes = link->is->nodes[0] ? link->is->nodes : "anybody";
    if (link->shut) {
        stoa_doc_printf(doc, "note", "not open now: %s; it is tried again each second", stoa_err_name(link->shut));
    } else if (link->keyless) {
        stoa_doc_text(doc, "note", link->is->listen ? "of a node that it names no key is known (link_without_key in the log): key allow"
                                                    : "no key of that node is known: key allow");
    } else if (link->refused && link->refused_why == STOA_E_STALE) {
        stoa_doc_text(doc, "note", "last refused: an older copy of a node's data, or a second process of its name; where that goes on, stop it and start the other again");
    } else if (link->refused && link->refused_why == STOA_E_DENIED && (!link->sessions || !all_up(seen, link))) {
        stoa_doc_printf(doc, "note", "last %s", denied_note(link->is));
    } else if (!link->sessions) {
        stoa_doc_printf(doc, "note", "%s not met since the start: %s", nodes, link->is->listen ? "it has to dial this address" : "does it run, and listen at this address?");
    } else {
        stoa_doc_text(doc, "note", link->traits.note[0] ? link->traits.note : NULL);
    }
}

static void put_link(stoa_doc *doc, const stoa_links_seen *seen, const stoa_link_seen *link)
{
    stoa_doc_text(doc, "link", link->is->name);
    stoa_doc_text(doc, "role", link->is->listen ? "listens" : "dials");
    stoa_doc_text(doc, "nodes", link->is->nodes[0] ? link->is->nodes : NULL);
    stoa_doc_text(doc, "address", link->address);
    stoa_doc_text(doc, "provider", link->traits.provider);
    stoa_doc_bool(doc, "proves", link->traits.proves);
    stoa_doc_bool(doc, "encrypts", link->traits.encrypts);
    stoa_doc_text(doc, "one_sided", !link->traits.one_sided ? "no" : link->traits.writes_memory ? "by the provider" : "in frames");
    stoa_doc_bool(doc, "rendezvous", link->traits.rendezvous);
    stoa_doc_text(doc, "network", link->is->trusted ? "trusted" : link->is->fenced ? "fenced" : NULL);
    stoa_doc_uint(doc, "connections", link->counts.ups);
    stoa_doc_uint(doc, "refused", link->refused);
    stoa_doc_text(doc, "refused_why", link->refused ? stoa_err_name(link->refused_why) : NULL);
    stoa_doc_uint(doc, "strangers", link->strangers.strangers_refused);
    stoa_doc_text(doc, "strangers_why", link->strangers.strangers_refused ? stoa_err_name(link->strangers.stranger_why) : NULL);
    put_link_note(doc, seen, link);
}

/* Since when it is as it is; 0: that is not known. */
static uint64_t since_of(const stoa_node_seen *node)
{
    const stoa_link_fault *f = &node->fault;
    if (node->over || node->view.paused) { return 0; }
    return node->view.session.state == STOA_SESSION_UP ? f->up_ns : node->view.lost && !node->view.left ? f->lost_ns : f->down_ns;
}

static uint64_t dropped_of(const stoa_node_seen *node)
{
    uint64_t all = 0;
    for (unsigned reason = 0; reason < STOA_DROP_COUNT; reason++) { all += node->view.counts.dropped[reason]; }
    return all;
}

static stoa_err last_fault(const stoa_node_seen *node)
{
    return node->fault.refused_ns >= node->fault.down_ns ? node->fault.refused_why : node->fault.down_why;
}

/* What is not as it should be with a node, and what helps; null: it is well. */
static void put_node_note(stoa_doc *doc, const stoa_platform *p, const stoa_node_seen *node)
{
    bool up = node->view.session.state == STOA_SESSION_UP;
    stoa_err why = last_fault(node);
    if (node->over) {
        stoa_doc_printf(doc, "note", "here over %s; this link takes over when that one ends", node->over->name);
    } else if (node->view.paused) {
        stoa_doc_printf(doc, "note", "paused by an operator, nothing passes: link %s resume", node->name);
    } else if (!up && why == STOA_E_DENIED) {
        stoa_doc_text(doc, "note", denied_note(node->link));
    } else if (!up && why == STOA_E_STALE) {
        stoa_doc_text(doc, "note", "one of the two nodes is an older copy of its data, or a second process of its name: end that one, and start the other anew");
    } else if (!up && node->view.left) {
        stoa_doc_text(doc, "note", "it has said good-bye, or this node has: its actors are UNAVAILABLE here until it is started again, or let in");
    } else if (!up && node->view.lost) {
        stoa_doc_text(doc, "note", "its actors are UNAVAILABLE here; it is met again by itself: see that its stoad runs, the network to it, and whether its link refuses it");
    } else if (!up && !node->fault.up_ns) {
        stoa_doc_text(doc, "note", "not met since this node's start: see that its stoad runs, and the link's address; it is met by itself");
    } else if (!up) {
        stoa_doc_printf(doc, "note", "its connection is gone, and lost in %.3g s unless it is back; what is sent waits", (double)p->settings.lost_ns / 1e9);
    } else if (node->view.backlog_bytes) {
        stoa_doc_text(doc, "note", "slow: more is sent to it than it takes, and waits; who sends to it hears FULL in time");
    } else {
        stoa_doc_null(doc, "note");
    }
}

static void put_time(stoa_doc *doc, const char *key, uint64_t wall_ns)
{
    if (wall_ns) {
        stoa_doc_uint(doc, key, wall_ns);
    } else {
        stoa_doc_null(doc, key);
    }
}

static void put_node(stoa_doc *doc, const stoa_platform *p, const stoa_node_seen *node)
{
    uint64_t queued = 0, in_flight = 0;
    for (unsigned lane = 0; lane < STOA_LANE_COUNT; lane++) {
        queued += node->view.session.lanes[lane].queued;
        in_flight += node->view.session.lanes[lane].in_flight;
    }
    stoa_doc_text(doc, "node", node->name[0] ? node->name : NULL);
    stoa_doc_text(doc, "link", node->link->name);
    stoa_doc_text(doc, "state", state_of(node));
    stoa_doc_text(doc, "over", node->over ? node->over->name : NULL);
    put_time(doc, "since_ns", since_of(node));
    stoa_doc_uint(doc, "rtt_ns", node->view.session.rtt_ns);
    stoa_doc_uint(doc, "queued", queued);
    stoa_doc_uint(doc, "in_flight", in_flight);
    stoa_doc_uint(doc, "backlog_bytes", node->view.backlog_bytes);
    stoa_doc_uint(doc, "resent", node->view.session.counts.resent);
    stoa_doc_uint(doc, "resets", node->view.session.counts.resets);
    stoa_doc_uint(doc, "silences", node->view.session.counts.silences);
    stoa_doc_uint(doc, "dropped", dropped_of(node));
    stoa_doc_uint(doc, "names", node->view.names);
    stoa_doc_text(doc, "last_fault", last_fault(node) ? stoa_err_name(last_fault(node)) : NULL);
    put_node_note(doc, p, node);
}

static stoa_links_seen *look(stoa_platform *platform, const char *rtt_of)
{
    stoa_links_seen *seen = calloc(1, sizeof *seen);
    if (!seen) { return NULL; }
    seen->rtt_of = rtt_of;
    stoa_node_links_see(platform->links, seen);
    return seen;
}

stoa_err stoa_command_links(stoa_platform *platform, stoa_door_call *call)
{
    stoa_links_seen *seen = look(platform, NULL);
    if (!seen) { return STOA_FAIL(STOA_E_NOMEM, "links"); }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "links", '[');
    for (uint32_t i = 0; i < seen->link_count; i++) {
        stoa_doc_open(&doc, NULL, '{');
        put_link(&doc, seen, &seen->links[i]);
        stoa_doc_close(&doc, '}');
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_open(&doc, "nodes", '[');
    for (uint32_t i = 0; i < seen->node_count; i++) {
        stoa_doc_open(&doc, NULL, '{');
        put_node(&doc, platform, &seen->nodes[i]);
        stoa_doc_close(&doc, '}');
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table links: link, role, provider, encrypts, one_sided=one-sided?, connections=connections made/n?, refused/n, refused_why=why?, "
                               "address?, note/wrap\n"
                               "table nodes: node, link, state, over=here over?, since_ns=since/time, rtt_ns=rtt/ns?, queued/n, in_flight=in flight/bytes?, dropped/n, "
                               "resent/n?, resets=restarts seen/n?, silences/n?, names=actors/n?, last_fault=last fault?, note/wrap\n");
    free(seen);
    return STOA_OK;
}

/* --- one node's session */

static void put_lanes(stoa_doc *doc, const stoa_session_view *session)
{
    stoa_doc_open(doc, "lanes", '[');
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        const stoa_session_lane *lane = &session->lanes[i];
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "lane", lane_names[i]);
        stoa_doc_uint(doc, "queued", lane->queued);
        stoa_doc_uint(doc, "in_flight", lane->in_flight);
        stoa_doc_uint(doc, "credit", lane->credit);
        stoa_doc_uint(doc, "next", lane->next);
        stoa_doc_uint(doc, "acked", lane->acked);
        stoa_doc_uint(doc, "received", lane->received);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

/* Round trips between powers of two. */
static void put_rtt(stoa_doc *doc, const stoa_histogram *rtt)
{
    uint64_t count = rtt ? stoa_histogram_count(rtt) : 0, from = 0;
    stoa_doc_open(doc, "round_trips", '[');
    for (unsigned octave = 0; rtt && octave * 16 < STOA_HISTOGRAM_BUCKETS; octave++) {
        uint64_t in = 0, to = octave == 0 ? 16 : octave < 60 ? UINT64_C(1) << (octave + 4) : UINT64_MAX;
        for (unsigned i = 0; i < 16; i++) { in += atomic_load_explicit(&rtt->buckets[octave * 16 + i], memory_order_relaxed); }
        if (in) {
            stoa_doc_open(doc, NULL, '{');
            stoa_doc_uint(doc, "from_ns", from);
            stoa_doc_uint(doc, "to_ns", to);
            stoa_doc_uint(doc, "count", in);
            stoa_doc_uint(doc, "permille", in * 1000 / count);
            stoa_doc_close(doc, '}');
        }
        from = to;
    }
    stoa_doc_close(doc, ']');
}

/* What is noticed within which time: transport/session.h. */
static void put_times(stoa_doc *doc, const stoa_platform *p, const stoa_node_seen *node)
{
    const stoa_session_view *s = &node->view.session;
    stoa_doc_open(doc, "times", '{');
    stoa_doc_uint(doc, "rtt_ns", s->rtt_ns);
    stoa_doc_uint(doc, "rtt_spread_ns", s->rtt_spread_ns);
    stoa_doc_uint(doc, "rtt_p50_ns", node->rtt ? stoa_histogram_quantile(node->rtt, 5000) : 0);
    stoa_doc_uint(doc, "rtt_p99_ns", node->rtt ? stoa_histogram_quantile(node->rtt, 9900) : 0);
    stoa_doc_uint(doc, "heartbeat_ns", node->link->heartbeat_ns);
    stoa_doc_uint(doc, "silence_ns", s->silence_ns);
    stoa_doc_uint(doc, "noticed_within_ns", node->link->heartbeat_ns + node->link->silence_ns);
    stoa_doc_uint(doc, "lost_after_ns", p->settings.lost_ns);
    put_time(doc, "up_ns", node->fault.up_ns);
    put_time(doc, "down_ns", node->fault.down_ns);
    put_time(doc, "lost_ns", node->fault.lost_ns);
    put_time(doc, "refused_ns", node->fault.refused_ns);
    stoa_doc_close(doc, '}');
}

static void put_traffic(stoa_doc *doc, const stoa_node_seen *node)
{
    const stoa_session_counts *c = &node->view.session.counts;
    const stoa_remote_counts *r = &node->view.counts;
    stoa_doc_open(doc, "traffic", '{');
    stoa_doc_uint(doc, "sent", c->sent);
    stoa_doc_uint(doc, "received", c->received);
    stoa_doc_uint(doc, "bytes_sent", c->bytes_sent);
    stoa_doc_uint(doc, "bytes_received", c->bytes_received);
    stoa_doc_uint(doc, "batches_sent", c->batches_sent);
    stoa_doc_uint(doc, "batches_received", c->batches_received);
    stoa_doc_uint(doc, "casts_out", r->casts_out);
    stoa_doc_uint(doc, "casts_in", r->casts_in);
    stoa_doc_uint(doc, "asks_out", r->asks_out);
    stoa_doc_uint(doc, "asks_in", r->asks_in);
    stoa_doc_uint(doc, "published_out", r->published_out);
    stoa_doc_uint(doc, "published_in", r->published_in);
    stoa_doc_uint(doc, "mail_out", r->mail_out);
    stoa_doc_uint(doc, "mail_in", r->mail_in);
    stoa_doc_uint(doc, "backlog_bytes", node->view.backlog_bytes);
    stoa_doc_uint(doc, "names", node->view.names);
    stoa_doc_uint(doc, "told", node->view.told);
    stoa_doc_uint(doc, "bonds", node->view.links);
    stoa_doc_close(doc, '}');
}

static void put_faults(stoa_doc *doc, const stoa_node_seen *node)
{
    const stoa_session_counts *c = &node->view.session.counts;
    stoa_doc_open(doc, "faults", '{');
    stoa_doc_uint(doc, "resent", c->resent);
    stoa_doc_uint(doc, "gaps", c->gaps);
    stoa_doc_uint(doc, "duplicates", c->duplicates);
    stoa_doc_uint(doc, "early", c->early);
    stoa_doc_uint(doc, "full", c->full);
    stoa_doc_uint(doc, "expired_here", c->expired_here);
    stoa_doc_uint(doc, "expired_there", c->expired_there);
    stoa_doc_uint(doc, "downs", c->downs);
    stoa_doc_uint(doc, "silences", c->silences);
    stoa_doc_uint(doc, "resumes", c->resumes);
    stoa_doc_uint(doc, "resets", c->resets);
    stoa_doc_uint(doc, "lost", node->view.counts.lost);
    stoa_doc_uint(doc, "in_doubt", node->view.counts.in_doubt);
    stoa_doc_uint(doc, "malformed", c->malformed + node->view.counts.malformed);
    stoa_doc_uint(doc, "corrupt", c->corrupt);
    stoa_doc_uint(doc, "version", c->version);
    stoa_doc_uint(doc, "stale", c->stale);
    stoa_doc_uint(doc, "over_credit", c->over_credit);
    stoa_doc_uint(doc, "forked", c->forked);
    stoa_doc_uint(doc, "denied", c->denied);
    stoa_doc_text(doc, "down_why", node->fault.down_why ? stoa_err_name(node->fault.down_why) : NULL);
    stoa_doc_text(doc, "refused_why", node->fault.refused_why ? stoa_err_name(node->fault.refused_why) : NULL);
    stoa_doc_close(doc, '}');
}

/* What of messages to and from it was dropped here, by reason. */
static void put_dropped(stoa_doc *doc, const stoa_node_seen *node)
{
    stoa_doc_open(doc, "dropped", '[');
    for (int reason = 0; reason < STOA_DROP_COUNT; reason++) {
        if (!node->view.counts.dropped[reason]) { continue; }
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "dropped", stoa_drop_name((stoa_drop)reason));
        stoa_doc_text(doc, "means", stoa_drop_text((stoa_drop)reason));
        stoa_doc_uint(doc, "messages", node->view.counts.dropped[reason]);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

static void put_session(stoa_doc *doc, const stoa_platform *p, const stoa_node_seen *node)
{
    stoa_doc_open(doc, "session", '{');
    put_node(doc, p, node);
    stoa_doc_uint(doc, "incarnation", node->view.session.incarnation);
    stoa_doc_uint(doc, "peer_incarnation", node->view.session.peer_incarnation);
    stoa_doc_uint(doc, "peer_epoch", node->view.session.peer_epoch);
    stoa_doc_close(doc, '}');
    put_times(doc, p, node);
    put_lanes(doc, &node->view.session);
    put_rtt(doc, node->rtt);
    put_traffic(doc, node);
    put_faults(doc, node);
    put_dropped(doc, node);
}

static const char link_view[] =
    "fields session: node, state, over=here over, since_ns=since/time, note/wrap, names=actors found here/n, dropped/n, last_fault=last fault, "
    "incarnation=own incarnation/id, peer_incarnation=its incarnation/id, peer_epoch=its epoch/id\n"
    "fields link: link, role, nodes, address, provider, proves, encrypts, network, one_sided=one-sided, rendezvous, connections=connections made/n, refused/n, "
    "refused_why=refused why, strangers/n, strangers_why=strangers why, note/wrap\n"
    "fields times: rtt_ns=rtt/ns, rtt_spread_ns=spread/ns, rtt_p50_ns=median/ns, rtt_p99_ns=99 %/ns, heartbeat_ns=heartbeat/ns, "
    "silence_ns=down after silence of/ns, noticed_within_ns=noticed within/ns, lost_after_ns=lost when down for/ns, up_ns=last up/time, down_ns=last down/time, "
    "lost_ns=last lost/time, refused_ns=last refused/time\n"
    "table lanes: lane, queued/n, in_flight=in flight/bytes, credit/bytes, next/id, acked/id, received/id\n"
    "table round_trips: from_ns=from/ns, to_ns=to/ns, count/n, permille=share/permille\n"
    "fields traffic: sent=messages sent/n, received=messages received/n, bytes_sent/bytes, bytes_received/bytes, batches_sent/n, batches_received/n, casts_out/n, "
    "casts_in/n, asks_out/n, asks_in/n, published_out/n, published_in/n, mail_out/n, mail_in/n, backlog_bytes=waits for room/bytes, "
    "names=its actors found here/n, told=own actors that it knows/n, bonds=its links to actors here/n\n"
    "fields faults: resent=batches sent again/n, gaps/n, duplicates/n, early/n, full=sends without room/n, expired_here=too late here/n, "
    "expired_there=too late there/n, downs/n, silences/n, resumes/n, resets=restarts seen/n, lost=times lost/n, in_doubt=on their way when it restarted/n, malformed/n, "
    "corrupt/n, version=other version/n, stale/n, over_credit/n, forked/n, denied/n, down_why=last down for, refused_why=last refused for\n"
    "table dropped: dropped, means/wrap, messages/n\n";

/* The link of that name, or of the node of that name; and the node, where there is one only. */
static const stoa_link_seen *find(const stoa_links_seen *seen, const char *name, const stoa_node_seen **node_out)
{
    const stoa_settings_link *is = NULL;
    *node_out = NULL;
    for (uint32_t i = 0; i < seen->node_count && !is; i++) {
        if (seen->nodes[i].view.spare || strcmp(seen->nodes[i].name, name) != 0) { continue; }
        *node_out = &seen->nodes[i];
        is = seen->nodes[i].link;
    }
    for (uint32_t i = 0; i < seen->link_count; i++) {
        const stoa_link_seen *link = &seen->links[i];
        if (is ? link->is != is : strcmp(link->is->name, name) != 0) { continue; }
        for (uint32_t k = 0; !is && k < seen->node_count; k++) {
            if (seen->nodes[k].link == link->is) { *node_out = link->sessions == 1 ? &seen->nodes[k] : NULL; }
        }
        return link;
    }
    return NULL;
}

/* A link of the settings that leads to a node that was not met since the start; NULL: none. */
static const char *link_to(const stoa_platform *p, const char *node)
{
    for (uint32_t i = 0; i < p->settings.link_count; i++) {
        const char *at = p->settings.links[i].nodes;
        for (size_t bytes; at += strspn(at, ", "), (bytes = strcspn(at, ", ")) > 0; at += bytes) {
            if (strlen(node) == bytes && memcmp(at, node, bytes) == 0) { return p->settings.links[i].name; }
        }
    }
    return NULL;
}

static stoa_err none_found(stoa_platform *p, const char *name)
{
    const char *link = link_to(p, name);
    if (!link) { return stoa_not_found(p, "link or node", "links", name); }
    return STOA_FAIL(STOA_E_NOT_FOUND, "node %s was not met since the start; link %s leads to it", name, link);
}

static void show(const stoa_platform *p, stoa_door_call *call, const stoa_links_seen *seen, const stoa_link_seen *link, const stoa_node_seen *node)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "link", '{');
    put_link(&doc, seen, link);
    stoa_doc_close(&doc, '}');
    if (node && node->view.spare) {
        stoa_doc_open(&doc, "session", '{');
        put_node(&doc, p, node);
        stoa_doc_close(&doc, '}');
    } else if (node) {
        put_session(&doc, p, node);
    }
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, link_view);
}

/* --- what can be done */

typedef struct deed {
    const char *name, *outcome;
    stoa_err (*run)(stoa_remote *remote, const char *node);
} deed;

static stoa_err pause_node(stoa_remote *remote, const char *node) { return stoa_remote_pause(remote, node, true); }
static stoa_err resume_node(stoa_remote *remote, const char *node) { return stoa_remote_pause(remote, node, false); }

static const deed deeds[] = {
    {"pause", "nothing is sent to it and nothing taken from it until it is resumed; it is not lost; who asks there hears TIMEOUT, and who sends it much FULL; the other side sees no difference", pause_node},
    {"resume", "messages pass again", resume_node},
    {"drop", "its connection ends and comes back by itself; what is under way is sent again, and nothing is lost", stoa_remote_drop},
};

static stoa_err act(stoa_platform *platform, stoa_door_call *call, const stoa_node_seen *node, const char *action)
{
    const deed *d = deeds;
    bool plan = stoa_invocation_option(&call->said, "plan") != NULL;
    while (strcmp(d->name, action) != 0) { d++; }
    stoa_err err = plan ? STOA_OK : d->run(stoa_node_links_remote(platform->links), node->name);
    if (err) { return STOA_FAIL(err, "%s %s: %s", action, node->name, stoa_err_text(err)); }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "link", '{');
    stoa_doc_text(&doc, "node", node->name);
    stoa_doc_text(&doc, "link", node->link->name);
    stoa_doc_printf(&doc, "outcome", "%s: %s", plan ? "would be" : "done", d->outcome);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields link: node, link, outcome/wrap");
    return STOA_OK;
}

/* Whose round trips are wanted: the node of that name, or the only one of the link. */
static stoa_links_seen *look_at(stoa_platform *platform, const char *name, char node_name[STOA_NODE_NAME_BYTES])
{
    const stoa_node_seen *node = NULL;
    stoa_links_seen *seen = look(platform, NULL);
    if (!seen) { return NULL; }
    (void)find(seen, name, &node);
    node_name[0] = '\0';
    if (node) { memcpy(node_name, node->name, STOA_NODE_NAME_BYTES); }
    free(seen);
    return look(platform, node_name);
}

stoa_err stoa_command_link(stoa_platform *platform, stoa_door_call *call)
{
    char node_name[STOA_NODE_NAME_BYTES];
    const char *name = stoa_call_arg(call, 0), *action = stoa_call_arg(call, 1);
    const stoa_node_seen *node = NULL;
    stoa_links_seen *seen = look_at(platform, name, node_name);
    if (!seen) { return STOA_FAIL(STOA_E_NOMEM, "links"); }
    const stoa_link_seen *link = find(seen, name, &node);
    stoa_err err = STOA_OK;
    if (!link) {
        err = none_found(platform, name);
    } else if (!action) {
        show(platform, call, seen, link, node);
    } else if (!node || !node->name[0]) {
        err = STOA_FAIL(STOA_E_NOT_FOUND, link->sessions > 1 ? "%s has several nodes: name one of them" : "no node has come over %s yet", name);
    } else if (node->over) {
        err = STOA_FAIL(STOA_E_EXISTS, "%s is here over %s, and %s is spare: name the node, or that link", node->name, node->over->name, name);
    } else {
        err = act(platform, call, node, action);
    }
    free(seen);
    return err;
}
