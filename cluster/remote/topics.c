/* remote/topics.c - what is published goes to another node once, where one of the patterns that it wants matches the topic.
 *
 * A node tells others the patterns that its actors and ports subscribed to, and groups with members. For those of others its port
 * subscribes. What has come from another node goes to no third one: the port published it, and does not hear itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote/inner.h"

enum { WANTS_MAX = 4096 };

static stoa_remote_want *find(const stoa_remote_wants *wants, const char *pattern)
{
    for (uint32_t i = 0; i < wants->count; i++) {
        if (strcmp(wants->at[i].pattern, pattern) == 0) { return &wants->at[i]; }
    }
    return NULL;
}

/* NULL: there are too many. */
static stoa_remote_want *add(stoa_remote_wants *wants, const char *pattern)
{
    if (wants->count == WANTS_MAX) { return NULL; }
    if (wants->count == wants->room) {
        uint32_t room = wants->room ? wants->room * 2 : 16;
        stoa_remote_want *more = realloc(wants->at, room * sizeof *more);
        if (!more) { return NULL; }
        wants->at = more;
        wants->room = room;
    }
    stoa_remote_want *want = &wants->at[wants->count++];
    *want = (stoa_remote_want){0};
    memcpy(want->pattern, pattern, strlen(pattern) + 1);
    return want;
}

static void take_out(stoa_remote_wants *wants, stoa_remote_want *want)
{
    *want = wants->at[--wants->count];
}

/* --- ours */

static void tell(stoa_remote *remote, stoa_remote_peer *peer, const char *pattern, bool wants)
{
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, wants ? STOA_REMOTE_WANT : STOA_REMOTE_UNWANT, 0, 0, 0, pattern,
                           (uint32_t)strlen(pattern), false);
}

static void tell_all(stoa_remote *remote, const char *pattern, bool wants)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        if (remote->peers[i].up) { tell(remote, &remote->peers[i], pattern, wants); }
    }
}

void stoa_remote_patterns_tell(stoa_remote *remote, stoa_remote_peer *peer)
{
    tell(remote, peer, "", false); /* what was told before, and perhaps is under way still */
    for (uint32_t i = 0; i < remote->ours.count; i++) { tell(remote, peer, remote->ours.at[i].pattern, true); }
}

static void find_pattern(void *context, const char *pattern)
{
    stoa_remote *remote = context;
    stoa_remote_want *want = find(&remote->ours, pattern);
    if (!want) {
        want = add(&remote->ours, pattern);
        if (!want) { return; }
        want->count = 1; /* to be told */
    }
    want->seen = remote->patterns_look;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const stoa_remote_want *)a)->pattern, ((const stoa_remote_want *)b)->pattern);
}

void stoa_remote_patterns_look(stoa_remote *remote)
{
    uint64_t changes = stoa_patterns_changes(remote->node);
    if (changes == remote->patterns_seen) { return; }
    remote->patterns_seen = changes;
    remote->patterns_look++;
    stoa_patterns_each(remote->port, find_pattern, remote);
    if (remote->ours.count) { qsort(remote->ours.at, remote->ours.count, sizeof *remote->ours.at, by_text); } /* no order is theirs */
    for (uint32_t i = 0; i < remote->ours.count;) {
        stoa_remote_want *want = &remote->ours.at[i];
        bool gone = want->seen != remote->patterns_look;
        if (gone || want->count) { tell_all(remote, want->pattern, !gone); }
        want->count = 0;
        if (gone) {
            take_out(&remote->ours, want);
        } else {
            i++;
        }
    }
}

/* --- theirs */

static void hear(stoa_remote *remote, const char *pattern)
{
    stoa_remote_want *want = find(&remote->heard, pattern);
    if (!want) {
        want = add(&remote->heard, pattern);
        if (want && stoa_port_subscribe(remote->port, pattern)) { /* no pattern, or no room */
            take_out(&remote->heard, want);
            want = NULL;
        }
    }
    if (want) { want->count++; }
}

static void hear_no_more(stoa_remote *remote, const char *pattern)
{
    stoa_remote_want *want = find(&remote->heard, pattern);
    if (!want || --want->count) { return; }
    (void)stoa_port_unsubscribe(remote->port, pattern);
    take_out(&remote->heard, want);
}

void stoa_remote_wanted(stoa_remote *remote, stoa_remote_peer *peer, const char *pattern, bool wants)
{
    stoa_remote_want *want = find(&peer->wants, pattern);
    if (!pattern[0]) {
        stoa_remote_wants_clear(remote, peer);
    } else if (wants && !want) {
        if (!add(&peer->wants, pattern)) {
            peer->counts.dropped[STOA_DROP_FULL]++;
            return;
        }
        hear(remote, pattern);
    } else if (!wants && want) {
        take_out(&peer->wants, want);
        hear_no_more(remote, pattern);
    }
}

void stoa_remote_wants_clear(stoa_remote *remote, stoa_remote_peer *peer)
{
    while (peer->wants.count) { hear_no_more(remote, peer->wants.at[--peer->wants.count].pattern); }
}

/* --- what is published */

static bool wants(const stoa_remote_peer *peer, const char *topic)
{
    for (uint32_t i = 0; i < peer->wants.count; i++) {
        if (stoa_pattern_hears(peer->wants.at[i].pattern, topic)) { return true; }
    }
    return false;
}

static void publish_to(stoa_remote *remote, stoa_remote_peer *peer, const stoa_delivery *d)
{
    stoa_remote_head head = {.row = stoa_remote_row_word(d->row)};
    uint32_t size_bytes;
    if (peer->lost || stoa_remote_peer_backed(peer)) { /* it is slow: that is its subscribers' loss */
        peer->counts.dropped[peer->lost ? STOA_DROP_CLOSED : STOA_DROP_FULL]++;
        return;
    }
    stoa_err err = stoa_remote_encode(remote, &head, d->topic, d->row, d->payload, &size_bytes);
    uint64_t source = stoa_remote_number(remote, peer, d->from);
    if (!err) {
        err = stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_PUBLISH, source, 0, 0, remote->encoded, size_bytes, true);
    }
    peer->counts.published_out += !err;
    peer->counts.dropped[STOA_DROP_FULL] += err != STOA_OK;
}

void stoa_remote_publish(stoa_remote *remote, const stoa_delivery *d)
{
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        if (wants(&remote->peers[i], d->topic)) { publish_to(remote, &remote->peers[i], d); }
    }
}

stoa_err stoa_remote_published(stoa_remote *remote, stoa_ref from, const char *topic, const stoa_row *row)
{
    if (row->cls != STOA_ROW_TOPIC && row->cls != STOA_ROW_CAST && row->cls != STOA_ROW_CONTROL) { return STOA_E_NO_HANDLER; }
    stoa_ref as = from.at ? from : stoa_port_ref(remote->port);
    return stoa_port_publish_as(remote->port, as, remote->options.core, topic, row, remote->payload);
}
