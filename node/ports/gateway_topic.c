/* gateway_topic.c - the backlogs: what was published on each subscribed topic lately, encoded once for all
 * its subscribers (node/ports/gateway.h).
 *
 * A topic keeps its backlog when its last subscriber goes, so that one who lost the connection finds it
 * again; when topics_max is reached, the one that was without subscribers for the longest time makes room.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "node/ports/gateway_inside.h"

static topic **bucket(stoa_gateway *g, const char *name)
{
    return &g->topics[stoa_hash64(0, name, strlen(name)) % TOPIC_BUCKETS];
}

static topic *find(stoa_gateway *g, const char *name)
{
    topic *t = *bucket(g, name);
    while (t && strcmp(t->name, name) != 0) {
        t = t->next;
    }
    return t;
}

backlog_item *topic_item(const stoa_gateway *g, const topic *t, uint64_t place)
{
    return &t->items[place % g->options.backlog_items];
}

static void drop_oldest(stoa_gateway *g, topic *t)
{
    backlog_item *item = topic_item(g, t, t->begin++);
    t->size_bytes -= item->size_bytes;
    free(item->tail);
    item->tail = NULL;
}

static void free_topic(stoa_gateway *g, topic *t)
{
    topic **at = bucket(g, t->name);
    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
    (void)stoa_port_unsubscribe(g->port, t->name);
    while (t->begin < t->end) {
        drop_oldest(g, t);
    }
    free(t->items);
    free(t);
    g->topic_count--;
}

void topic_free_all(stoa_gateway *g)
{
    for (uint32_t b = 0; b < TOPIC_BUCKETS; b++) {
        while (g->topics[b]) {
            free_topic(g, g->topics[b]);
        }
    }
}

static topic *least_used(stoa_gateway *g)
{
    topic *found = NULL;
    for (uint32_t b = 0; b < TOPIC_BUCKETS; b++) {
        for (topic *t = g->topics[b]; t; t = t->next) {
            if (!t->subscribers && (!found || t->used_ns < found->used_ns)) { found = t; }
        }
    }
    return found;
}

static stoa_err make_room(stoa_gateway *g)
{
    if (g->topic_count < g->options.topics_max) { return STOA_OK; }
    topic *old = least_used(g);
    if (!old) { return STOA_E_FULL; }
    free_topic(g, old);
    return STOA_OK;
}

/* The topic's name: the stream's with the target put in for "%s". */
static void name_of(const stoa_protocol_stream *stream, const stoa_text30 *target, char *out, size_t size_bytes)
{
    const char *hole = strstr(stream->topic, "%s");
    STOA_ASSERT(hole);
    int length = snprintf(out, size_bytes, "%.*s%.*s%s", (int)(hole - stream->topic), stream->topic,
                          STOA_TEXT_ARGS(target), hole + 2);
    STOA_ASSERT(length > 0 && (size_t)length < size_bytes);
}

stoa_err topic_open(stoa_gateway *g, const stoa_protocol_stream *stream, const stoa_text30 *target, topic **out)
{
    char name[STOA_NAME_MAX + 1];
    name_of(stream, target, name, sizeof name);
    *out = find(g, name);
    if (*out) { return STOA_OK; }
    stoa_err err = make_room(g);
    if (err) { return err; }
    topic *t = calloc(1, sizeof *t);
    backlog_item *items = calloc(g->options.backlog_items, sizeof *items);
    err = t && items ? stoa_port_subscribe(g->port, name) : STOA_E_NOMEM;
    if (err) {
        free(items);
        free(t);
        return err;
    }
    topic **at = bucket(g, name);
    *t = (topic){.next = *at, .stream = stream, .items = items};
    memcpy(t->name, name, sizeof name);
    *at = t;
    g->topic_count++;
    *out = t;
    return STOA_OK;
}

/* A change that ends before what is kept: the publisher began anew (a venue's mirror after another feed), and
 * numbers mean something else now. */
static bool begins_anew(const stoa_gateway *g, const topic *t, uint64_t last)
{
    if (t->begin == t->end || t->stream->order == STOA_STREAM_LATEST) { return false; }
    return last < topic_item(g, t, t->end - 1)->last;
}

static void keep(stoa_gateway *g, topic *t, backlog_item item)
{
    const backlog_item *newest = t->begin < t->end ? topic_item(g, t, t->end - 1) : NULL;
    item.begins = !newest || newest->whole || newest->first != item.first;
    while (t->begin < t->end && (t->end - t->begin == g->options.backlog_items ||
                                 t->size_bytes + item.size_bytes > g->options.backlog_bytes)) {
        drop_oldest(g, t);
    }
    *topic_item(g, t, t->end++) = item;
    t->size_bytes += item.size_bytes;
}

void topic_published(stoa_gateway *g, const stoa_delivery *d)
{
    topic *t = find(g, d->topic);
    const stoa_protocol_item *change = t ? stoa_protocol_item_find(t->stream->change) : NULL;
    if (!change || change->row != d->row) { return; }
    backlog_item item = {0};
    stoa_protocol_item_seq(change->no, d->payload, &item.first, &item.last, &item.whole);
    stoa_writer w = gateway_writer(g);
    stoa_item_tail_write(&w, change->no, item.last, (stoa_stamp){STOA_OK, d->durability, d->position}, &d->row->payload,
                         d->payload);
    STOA_ASSERT(!w.cut);
    item.size_bytes = (uint32_t)w.used_bytes;
    item.tail = malloc(w.used_bytes);
    if (!item.tail) { return; } /* the next item shows the hole */
    memcpy(item.tail, w.at, w.used_bytes);
    if (begins_anew(g, t, item.last)) {
        while (t->begin < t->end) {
            drop_oldest(g, t);
        }
        stream_began_anew(g, t, item.first);
    }
    keep(g, t, item);
    for (subscription *sub = t->subscribers; sub; sub = sub->next_of_topic) {
        stream_ready(g, sub);
    }
}

uint64_t topic_seek(const stoa_gateway *g, const topic *t, uint64_t seq)
{
    uint64_t low = t->begin, high = t->end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (topic_item(g, t, middle)->last > seq) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}
