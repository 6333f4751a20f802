/* policy.c - node/archive/policy.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/policy.h"

#include <string.h>

enum { SNAPSHOTS_A_TERM = 4 };

#define NAME(name, hot, warm, cold, archive, doc) #name,
static const char *const names[] = {STOA_RETENTION_CLASSES(NAME)};

/* What the logs have; of any other shard it is not known. */
typedef struct content {
    const char *shard;
    stoa_retention_class first, last; /* the same where it is one class */
} content;
static const content contents[] = {
    {"trade", STOA_RETENTION_orders, STOA_RETENTION_trades},
    {"room", STOA_RETENTION_chat, STOA_RETENTION_chat},
};
static const content unknown = {"", STOA_RETENTION_orders, STOA_RETENTION_trades};

static const content *content_of(const char *shard)
{
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        if (strcmp(contents[i].shard, shard) == 0) { return &contents[i]; }
    }
    return &unknown;
}

const char *stoa_retention_name(stoa_retention_class cls)
{
    return names[cls];
}

stoa_retention_class stoa_retention_class_of(const char *shard)
{
    return content_of(shard)->first;
}

static uint64_t later(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns > b_ns ? a_ns : b_ns;
}

stoa_retention stoa_retention_of(const char *shard, const stoa_retention rows[STOA_RETENTION_COUNT])
{
    const content *has = content_of(shard);
    const stoa_retention *a = &rows[has->first], *b = &rows[has->last];
    return (stoa_retention){.hot_ns = later(a->hot_ns, b->hot_ns),
                            .warm_ns = later(a->warm_ns, b->warm_ns),
                            .cold_ns = later(a->cold_ns, b->cold_ns),
                            .archive_ns = later(a->archive_ns, b->archive_ns),
                            .expire = a->expire};
}

static uint64_t age_of(const stoa_segment *segment, uint64_t now_ns)
{
    return now_ns > segment->last_ns ? now_ns - segment->last_ns : 0;
}

stoa_tier stoa_retention_tier(const stoa_retention *retention, uint64_t age_ns)
{
    if (age_ns < retention->warm_ns) { return STOA_TIER_WARM; }
    return age_ns < retention->cold_ns ? STOA_TIER_COLD : STOA_TIER_ARCHIVE;
}

/* Nobody misses what is up to here. */
static uint64_t passed_by_all(const stoa_retained *r)
{
    return r->floor < r->snapshot ? r->floor : r->snapshot;
}

/* Segments are in order of position and age: the first one that may not go ends it. */
static uint64_t purge_below(const stoa_retention *retention, const stoa_retained *r)
{
    const stoa_manifest *m = r->manifest;
    uint64_t below = 0;
    for (uint32_t i = 0; i < m->count && !m->entries[i].open; i++) {
        const stoa_segment *segment = &m->entries[i].segment;
        bool needed = segment->last > passed_by_all(r) || segment->last >= r->log_mark;
        if (needed || age_of(segment, r->now_ns) < retention->hot_ns) { break; }
        below = segment->last + 1;
    }
    return below > r->log_first ? below : 0;
}

/* How many from the beginning are old enough, and needed by nobody. */
static uint32_t count_old(const stoa_retention *retention, const stoa_retained *r)
{
    const stoa_manifest *m = r->manifest;
    uint32_t count = 0;
    while (count + 1 < m->count) {
        const stoa_segment *segment = &m->entries[count].segment;
        if (age_of(segment, r->now_ns) < retention->archive_ns || segment->last >= r->log_first ||
            segment->last > passed_by_all(r)) {
            break;
        }
        count++;
    }
    return count;
}

/* Up to where the time of all is over; 0: of nothing. */
static uint64_t over_at(const stoa_retention *retention, const stoa_retained *r)
{
    const stoa_manifest *m = r->manifest;
    uint64_t over = 0;
    for (uint32_t i = 0; i < m->count && age_of(&m->entries[i].segment, r->now_ns) >= retention->archive_ns; i++) { over = m->entries[i].segment.last; }
    return over;
}

/* The newest snapshot whose own time is over. */
static uint64_t stands_at(const stoa_retention *retention, const stoa_retained *r)
{
    const stoa_manifest *m = r->manifest;
    uint32_t younger = stoa_manifest_snapshot_from(m, over_at(retention, r) + 1);
    return younger > 0 ? m->snapshots[younger - 1].info.position : 0;
}

/* Of those, how many end below it. */
static uint32_t expire_count(const stoa_retention *retention, const stoa_retained *r)
{
    const stoa_manifest *m = r->manifest;
    uint32_t old = retention->expire ? count_old(retention, r) : 0, count = 0;
    uint64_t stands = stands_at(retention, r);
    while (count < old && m->entries[count].segment.last <= stands) { count++; }
    return count;
}

/* The archive has none that stands for its beginning, or much was sealed since the last one, or long ago. */
static bool wants_snapshot(const stoa_retention *retention, const stoa_retained *r)
{
    const stoa_manifest *m = r->manifest;
    const stoa_manifest_snapshot *last = m->snapshot_count ? &m->snapshots[m->snapshot_count - 1] : NULL;
    if (!retention->expire && m->expired == 0) { return false; }
    if (!last || last->info.position < m->expired) { return true; }
    uint64_t sealed = 0, waited_ns = 0;
    for (uint32_t i = m->count; i-- > 0 && m->entries[i].segment.last > last->info.position;) {
        sealed += m->entries[i].segment.raw_bytes;
        waited_ns = age_of(&m->entries[i].segment, r->now_ns);
    }
    return retention->expire && (sealed > last->info.bytes || waited_ns >= retention->archive_ns / SNAPSHOTS_A_TERM);
}

/* What is over waits for the log's end, or for the oldest snapshot kept, to be behind it. */
static bool wants_noop(const stoa_retention *retention, const stoa_retained *r)
{
    uint64_t over = retention->expire ? over_at(retention, r) : 0;
    return over > 0 && r->snapshot > 0 && (over >= r->log_mark || over > r->snapshot);
}

static void find_move(const stoa_retention *retention, const stoa_retained *r, stoa_due *out)
{
    const stoa_manifest *m = r->manifest;
    for (uint32_t i = 0; i < m->count && !m->entries[i].open; i++) {
        stoa_tier tier = stoa_retention_tier(retention, age_of(&m->entries[i].segment, r->now_ns));
        if (tier <= m->entries[i].tier) { continue; }
        out->move = i;
        out->tier = tier;
        return;
    }
}

void stoa_retention_due(const stoa_retention *retention, const stoa_retained *retained, stoa_due *out)
{
    *out = (stoa_due){.move = retained->manifest->count};
    if (retained->manifest->hold[0]) { return; }
    out->purge_below = purge_below(retention, retained);
    out->expire = expire_count(retention, retained);
    out->snapshot = wants_snapshot(retention, retained);
    out->noop = wants_noop(retention, retained);
    find_move(retention, retained, out);
}

/* What both wait for, from the nearest. */
static const char *why_needed(const stoa_segment *segment, const stoa_retained *r)
{
    if (segment->last >= r->log_mark) { return "it is the log's end"; }
    if (r->snapshot == 0) { return "no snapshot stands behind it"; }
    if (segment->last > r->snapshot) { return "a snapshot that is kept is before its end"; }
    return segment->last > r->floor ? "a reader is behind" : NULL;
}

const char *stoa_retention_why_not(const stoa_retention *retention, const stoa_retained *r)
{
    const stoa_manifest *m = r->manifest;
    if (m->hold[0]) { return "a hold"; }
    uint32_t next = stoa_manifest_find(m, r->log_first);
    if (next == m->count || m->entries[next].open) { return "nothing more is sealed"; }
    const stoa_segment *segment = &m->entries[next].segment;
    if (age_of(segment, r->now_ns) < retention->hot_ns) { return "it is hot"; }
    const char *needed = why_needed(segment, r);
    return needed ? needed : "nothing: it is due";
}

const char *stoa_retention_why_kept(const stoa_retention *retention, const stoa_retained *r)
{
    const stoa_manifest *m = r->manifest;
    if (m->hold[0]) { return "a hold"; }
    if (!retention->expire) { return "archive.expire is off"; }
    if (m->count == 0) { return "nothing is sealed"; }
    const stoa_segment *segment = &m->entries[0].segment;
    if (age_of(segment, r->now_ns) < retention->archive_ns) { return "nothing is so old"; }
    const char *needed = why_needed(segment, r);
    if (needed) { return needed; }
    if (segment->last >= r->log_first) { return "the journal has it"; }
    if (m->count == 1) { return "nothing is sealed behind it"; }
    return expire_count(retention, r) == 0 ? "no snapshot of that age in the archive stands for it" : "nothing: it is due";
}
