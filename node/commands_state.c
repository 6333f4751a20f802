/* commands_state.c - snapshots, and the past: `snapshot`, `snapshots`, `state`, `diff`.
 *
 * What the past says is read beside the running shards: a snapshot and the log behind it (runtime/past.c).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "node/archive/when.h"
#include "node/commands.h"
#include "runtime/log_reader.h"

enum { CHANGES_MAX = 1000, PATH_BYTES = 192, NESTED_MAX = 16 };

/* --- snapshots */

static void put_following(stoa_doc *doc, const char *name, const stoa_following_view *view)
{
    stoa_doc_text(doc, "shard", name);
    stoa_doc_text(doc, "phase", view->phase);
    stoa_doc_uint(doc, "snapshot", view->snapshot);
    stoa_doc_uint(doc, "oldest", view->oldest);
    stoa_doc_uint(doc, "followed", view->followed);
    if (view->total) {
        stoa_doc_uint(doc, "done_permille", view->done * 1000 / view->total);
    } else {
        stoa_doc_null(doc, "done_permille");
    }
    stoa_doc_uint(doc, "made", view->made);
    stoa_doc_uint(doc, "failures", view->failures);
    stoa_doc_uint(doc, "compared", view->compared);
    stoa_doc_uint(doc, "differences", view->differences);
    stoa_doc_uint(doc, "put_bytes", view->put_bytes);
    stoa_doc_uint(doc, "took_ns", view->took_ns);
}

static const char following_view[] =
    "table shards: shard, phase, snapshot/id, followed/id, done_permille=done/permille?, made/n, failures/n?, compared=proved/n?, "
    "differences/n?, oldest/id?, put_bytes=written/bytes, took_ns=took/ns";

static void look_at_snapshot(void *context, stoa_work_view *view)
{
    stoa_following_view following;
    if (stoa_shard_following(context, &following)) { return; }
    view->step = following.phase;
    view->unit = "chunks";
    view->position = following.done;
    view->last = following.total;
}

static stoa_err make_snapshot(stoa_platform *platform, stoa_door_call *call, stoa_shard *shard, const char *name,
                              stoa_following_view *following)
{
    stoa_work work = {.command = "snapshot", .shard = name, .look = look_at_snapshot, .context = shard};
    stoa_work_begin(&platform->works, &work);
    stoa_err err = stoa_shard_snapshot(shard, stoa_call_left_ns(call), following);
    stoa_work_end(&platform->works, &work);
    return err;
}

/* One shard, or all of which snapshots are made: what the first error was. */
static stoa_err snapshot_each(stoa_platform *platform, stoa_door_call *call, const char *only, stoa_doc *doc, bool *any_out)
{
    stoa_shard *shard;
    stoa_err first = STOA_OK;
    for (uint32_t i = 0; (shard = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_shard_view view;
        stoa_following_view following;
        if (stoa_shard_glance(shard, &view) || (only && strcmp(only, view.name) != 0)) { continue; }
        stoa_err err = stoa_shard_following(shard, &following);
        if (err && !only) { continue; }
        if (!err) { err = make_snapshot(platform, call, shard, view.name, &following); }
        if (!first) { first = err; }
        if (err == STOA_E_UNSUPPORTED) { continue; }
        *any_out = true;
        stoa_doc_open(doc, NULL, '{');
        put_following(doc, view.name, &following);
        stoa_doc_close(doc, '}');
    }
    return first;
}

static stoa_err named_shard(stoa_platform *platform, const char *name, stoa_shard **out)
{
    *out = stoa_shard_named(platform, name);
    return *out ? STOA_OK : stoa_not_found(platform, "shard", "shards", name);
}

stoa_err stoa_command_snapshot(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *only = stoa_call_arg(call, 0);
    stoa_shard *shard;
    bool any = false;
    stoa_err err = only ? named_shard(platform, only, &shard) : STOA_OK;
    if (err) { return err; }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "shards", '[');
    err = snapshot_each(platform, call, only, &doc, &any);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    if (!any) {
        stoa_buf_clear(&call->document);
        return err ? err : STOA_FAIL(STOA_E_UNSUPPORTED, "no snapshots are made here: see snapshot.every_events");
    }
    stoa_buf_puts(&call->view, following_view);
    return err;
}

typedef struct listing {
    stoa_doc *doc;
    const char *shard;
} listing;

static void put_snapshot(void *context, const stoa_snapshot_view *view)
{
    const listing *l = context;
    char hash[STOA_HASH256_TEXT];
    stoa_hash256_print(&view->hash, hash);
    stoa_doc_open(l->doc, NULL, '{');
    stoa_doc_text(l->doc, "shard", l->shard);
    stoa_doc_uint(l->doc, "position", view->position);
    stoa_doc_uint(l->doc, "at_ns", view->wall_ns);
    stoa_doc_uint(l->doc, "epoch", view->epoch);
    stoa_doc_uint(l->doc, "chunks", view->chunks);
    stoa_doc_uint(l->doc, "bytes", view->bytes);
    stoa_doc_text(l->doc, "hash", hash);
    stoa_doc_close(l->doc, '}');
}

stoa_err stoa_command_snapshots(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *only = stoa_call_arg(call, 0);
    stoa_shard *shard;
    stoa_err err = only ? named_shard(platform, only, &shard) : STOA_OK;
    if (err) { return err; }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "shards", '[');
    for (uint32_t i = 0; (shard = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_shard_view view;
        stoa_following_view following;
        bool wanted = !stoa_shard_glance(shard, &view) && (!only || strcmp(only, view.name) == 0);
        if (!wanted || stoa_shard_following(shard, &following)) { continue; }
        stoa_doc_open(&doc, NULL, '{');
        put_following(&doc, view.name, &following);
        stoa_doc_close(&doc, '}');
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_open(&doc, "snapshots", '[');
    for (uint32_t i = 0; !err && (shard = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_shard_view view;
        listing l = {.doc = &doc, .shard = view.name};
        if (stoa_shard_glance(shard, &view) || (only && strcmp(only, view.name) != 0)) { continue; }
        l.shard = view.name;
        err = stoa_shard_snapshots(shard, put_snapshot, &l);
        if (err == STOA_E_UNSUPPORTED) { err = STOA_OK; }
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, following_view);
    stoa_buf_puts(&call->view, "\ntable snapshots: shard, position/id, at_ns=time/time, epoch/id?, chunks/n, bytes/bytes, hash?");
    return err;
}

/* --- the past of one actor */

/* The shard that the actor lives in; by a shard's name: that one. */
static stoa_err shard_of(stoa_platform *platform, const char *name, stoa_shard **out)
{
    stoa_shard *shard = stoa_shard_named(platform, name);
    for (uint32_t i = 0; !shard && (*out = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_log_reader *reader;
        if (stoa_log_open(*out, &reader)) { continue; }
        if (stoa_log_actor(reader, name, NULL)) { shard = *out; }
        stoa_log_close(reader);
    }
    *out = shard;
    return shard ? STOA_OK : STOA_FAIL(STOA_E_NOT_FOUND, "no actor '%s' in a shard with a journal", name);
}

/* A position as it was said; NULL: the last one. */
static stoa_err position_of(stoa_shard *shard, const char *text, uint64_t *out)
{
    stoa_when when = {0};
    stoa_log_reader *reader;
    stoa_shard_view view;
    if (!text) {
        *out = stoa_shard_durable(shard);
        return STOA_OK;
    }
    stoa_err err = stoa_when_parse(text, &when);
    if (!err && when.shard[0]) { err = stoa_shard_glance(shard, &view); }
    if (!err && when.shard[0] && strcmp(view.name, when.shard) != 0) {
        return STOA_FAIL(STOA_E_INVALID, "it lives in shard %s, not in %s", view.name, when.shard);
    }
    *out = when.position;
    if (err || when.position) { return err; }
    err = stoa_log_open(shard, &reader);
    if (!err) {
        err = stoa_log_position_at(reader, when.time_ns, out);
        stoa_log_close(reader);
    }
    return err || *out ? err : STOA_FAIL(STOA_E_NOT_FOUND, "the log begins behind %s", text);
}

static void put_past(stoa_doc *doc, const char *key, const char *name, const stoa_past_view *past)
{
    stoa_doc_open(doc, key, '{');
    stoa_doc_text(doc, "actor", name);
    stoa_doc_uint(doc, "position", past->position);
    stoa_doc_uint(doc, "events", past->seq);
    if (past->last) {
        stoa_doc_uint(doc, "last_position", past->last);
        stoa_doc_uint(doc, "last_at_ns", past->last_ns);
    }
    if (past->snapshot) { stoa_doc_uint(doc, "snapshot", past->snapshot); }
    stoa_doc_uint(doc, "read", past->events);
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_state(stoa_platform *platform, stoa_door_call *call)
{
    const char *name = stoa_call_arg(call, 0);
    stoa_buf state = STOA_BUF_GROWING;
    stoa_past_view past;
    stoa_shard *shard;
    uint64_t position;
    stoa_err err = shard_of(platform, name, &shard);
    if (!err) { err = position_of(shard, stoa_invocation_option(&call->said, "at"), &position); }
    if (!err) { err = stoa_shard_state_at(shard, name, position, &state, &past); }
    if (!err && state.cut) { err = STOA_FAIL(STOA_E_NOMEM, "the state of %s is too large to print", name); }
    if (!err) {
        stoa_doc doc = stoa_doc_to(&call->document);
        stoa_doc_open(&doc, NULL, '{');
        put_past(&doc, "at", name, &past);
        stoa_doc_json(&doc, "state", state.at, state.used_bytes);
        stoa_doc_close(&doc, '}');
        stoa_buf_puts(&call->view, "fields at: actor, position/id, events/n, last_position=last event/id, last_at_ns=at/time, "
                                   "snapshot/id, read=events read/n\nvalue state");
    }
    stoa_buf_deinit(&state);
    return err;
}

/* --- what changed: both states as lists of paths and values */

typedef struct leaf {
    char path[PATH_BYTES];
    const char *value; /* into the printed state */
    size_t value_bytes;
    size_t order; /* as printed */
} leaf;

typedef struct leaves {
    leaf *at;
    size_t count, cap;
    bool cut; /* no memory */
} leaves;

static const char *string_end(const char *at)
{
    for (at++; *at && *at != '"'; at++) {
        if (*at == '\\' && at[1]) { at++; }
    }
    return *at ? at + 1 : at;
}

static void add_leaf(leaves *list, const char *path, const char *from, const char *end)
{
    if (list->count == list->cap) {
        size_t cap = list->cap * 2 + 64;
        leaf *at = realloc(list->at, cap * sizeof *at);
        list->cut |= !at;
        if (!at) { return; }
        list->at = at;
        list->cap = cap;
    }
    leaf *new = &list->at[list->count];
    *new = (leaf){.value = from, .value_bytes = (size_t)(end - from), .order = list->count};
    (void)snprintf(new->path, sizeof new->path, "%s", path);
    list->count++;
}

/* One value of what our own printers wrote, under path; returns what stands behind it. */
static const char *flatten(leaves *list, const char *at, const char *path, unsigned depth)
{
    char below[PATH_BYTES];
    bool object = *at == '{';
    if (*at == '"') {
        const char *end = string_end(at);
        add_leaf(list, path, at, end);
        return end;
    }
    if ((!object && *at != '[') || depth == NESTED_MAX) {
        size_t length = strcspn(at, ",]}");
        add_leaf(list, path, at, at + length);
        return at + length;
    }
    at++;
    for (unsigned i = 0; *at && *at != '}' && *at != ']'; i++) {
        if (object) {
            const char *end = string_end(at);
            (void)snprintf(below, sizeof below, "%s%s%.*s", path, path[0] ? "." : "", (int)(end - at - 2), at + 1);
            at = *end ? end + 1 : end;
        } else {
            (void)snprintf(below, sizeof below, "%s[%u]", path, i);
        }
        at = flatten(list, at, below, depth + 1);
        if (*at == ',') { at++; }
    }
    return *at ? at + 1 : at;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const leaf *)a)->path, ((const leaf *)b)->path);
}

static void sort(leaves *list)
{
    if (list->count) { qsort(list->at, list->count, sizeof *list->at, by_path); }
}

static void put_side(stoa_doc *doc, const char *key, const leaf *value)
{
    if (value) {
        stoa_doc_json(doc, key, value->value, value->value_bytes);
    } else {
        stoa_doc_null(doc, key);
    }
}

static bool same(const leaf *a, const leaf *b)
{
    return a->value_bytes == b->value_bytes && memcmp(a->value, b->value, a->value_bytes) == 0;
}

/* Both lists are in the order of their paths. Returns how many differ. */
static size_t put_changes(stoa_doc *doc, const leaves *before, const leaves *after)
{
    size_t i = 0, k = 0, changes = 0;
    while (i < before->count || k < after->count) {
        int order = i == before->count ? 1 : k == after->count ? -1 : strcmp(before->at[i].path, after->at[k].path);
        const leaf *old = order <= 0 ? &before->at[i++] : NULL, *new = order >= 0 ? &after->at[k++] : NULL;
        if ((old && new && same(old, new)) || ++changes > CHANGES_MAX) { continue; }
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "field", old ? old->path : new->path);
        put_side(doc, "before", old);
        put_side(doc, "after", new);
        stoa_doc_close(doc, '}');
    }
    return changes;
}

static void put_diff(stoa_door_call *call, const char *name, const stoa_past_view past[2], const leaves lists[2])
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    put_past(&doc, "before", name, &past[0]);
    put_past(&doc, "after", name, &past[1]);
    stoa_doc_open(&doc, "changes", '[');
    size_t changes = put_changes(&doc, &lists[0], &lists[1]);
    stoa_doc_close(&doc, ']');
    stoa_doc_uint(&doc, "change_count", changes);
    if (changes > CHANGES_MAX) { stoa_doc_printf(&doc, "note", "the first %d of %zu changes are shown", CHANGES_MAX, changes); }
    if (!changes) { stoa_doc_text(&doc, "note", "nothing changed"); }
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields before: position/id, events/n\nfields after: position/id, events/n\n"
                               "table changes: field, before, after/wrap\ntext note");
}

stoa_err stoa_command_diff(stoa_platform *platform, stoa_door_call *call)
{
    const char *name = stoa_call_arg(call, 0);
    stoa_buf states[2] = {STOA_BUF_GROWING, STOA_BUF_GROWING};
    stoa_past_view past[2];
    leaves lists[2] = {{0}, {0}};
    stoa_shard *shard;
    stoa_err err = shard_of(platform, name, &shard);
    for (uint32_t i = 0; i < 2 && !err; i++) {
        uint64_t position;
        err = position_of(shard, stoa_call_arg(call, 1 + i), &position);
        if (!err) { err = stoa_shard_state_at(shard, name, position, &states[i], &past[i]); }
        if (!err && states[i].cut) { err = STOA_FAIL(STOA_E_NOMEM, "the state of %s is too large to print", name); }
        if (!err && states[i].used_bytes) { (void)flatten(&lists[i], states[i].at, "", 0); }
        if (!err && lists[i].cut) { err = STOA_FAIL(STOA_E_NOMEM, "the state of %s has too many fields", name); }
        sort(&lists[i]);
    }
    if (!err) { put_diff(call, name, past, lists); }
    for (uint32_t i = 0; i < 2; i++) {
        free(lists[i].at);
        stoa_buf_deinit(&states[i]);
    }
    return err;
}
