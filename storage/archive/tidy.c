/* tidy.c - files of an archive that its manifest does not name, and the manifest made anew.
 *
 * A crash leaves such files: a segment that was sealed and not yet named, one that was replaced, moved or expired and not yet
 * removed. So does a manifest that is an older copy, and then they can be the only copy of what the journal has purged. Which
 * of both it was is not to be seen, so nothing is removed but what is held elsewhere, in a file that is read again first:
 *
 *     what continues the archive's chain is named from now on;
 *     what named segments hold, or what has expired, goes; so does an open segment that begins where more was sealed since;
 *     anything else is CORRUPT, by name, and stays.
 *
 * Of snapshots that are not named those that are whole are named from now on (tidy_snapshots.c).
 *
 * Made anew, the manifest names all segments that are whole, if they are one chain.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "base/os.h"
#include "storage/archive/file.h"
#include "storage/archive/internal.h"
#include "storage/rocksdb/folder.h"

typedef enum fate { UNDECIDED, NAMED, REDUNDANT, ROTTEN } fate;

typedef struct stray {
    stoa_segment segment;
    stoa_tier tier;
    bool open;
    fate fate;
    char name[STOA_SEGMENT_NAME_MAX];
} stray;

typedef struct strays {
    stoa_archive *archive;
    const stoa_manifest *known; /* what it names is not looked at */
    stoa_tier tier;             /* of the folder that is visited */
    bool pass_rot;              /* what is rotten is left out, not refused */
    stray *at;
    uint32_t count, cap;
} strays;

/* --- finding them */

static bool is_named(const strays *s, const char *file)
{
    for (uint32_t i = 0; i < s->known->count; i++) {
        const stoa_manifest_entry *e = &s->known->entries[i];
        char name[STOA_SEGMENT_NAME_MAX];
        stoa_segment_name(&e->segment, e->open, name);
        bool here = strcmp(stoa_archive_folder(s->archive, e->tier), stoa_archive_folder(s->archive, s->tier)) == 0;
        if (here && strcmp(name, file) == 0) { return true; }
    }
    return false;
}

static stoa_err reserve(strays *s)
{
    stray *at = stoa_array_room(s->at, s->count, &s->cap, sizeof *at);
    if (!at) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu32 " segments", s->count + 1); }
    s->at = at;
    return STOA_OK;
}

/* The segment in a file that should have this name. */
static stoa_err look_into(const strays *s, const char *path, stray *out)
{
    char name[STOA_SEGMENT_NAME_MAX];
    stoa_err err = stoa_segment_check(path, NULL, &out->segment);
    if (err) { return err; }
    stoa_segment_name(&out->segment, out->open, name);
    bool ours = strcmp(name, out->name) == 0 && strcmp(out->segment.shard, s->archive->manifest.shard) == 0;
    return ours ? STOA_OK : STOA_FAIL(STOA_E_CORRUPT, "%s is the segment %s of %s", path, name, out->segment.shard);
}

static stoa_err take(void *context, const char *name)
{
    static const char ending[] = ".open.seg";
    strays *s = context;
    char path[PATH_MAX];
    size_t length = strlen(name);
    if (is_named(s, name)) { return STOA_OK; }
    if (length >= STOA_SEGMENT_NAME_MAX) { return STOA_FAIL(STOA_E_CORRUPT, "%s is no segment of ours", name); }
    stray found = {.tier = s->tier, .open = length > sizeof ending && strcmp(name + length - (sizeof ending - 1), ending) == 0};
    memcpy(found.name, name, length + 1);
    stoa_err err = stoa_file_path(stoa_archive_folder(s->archive, s->tier), name, path);
    if (!err) { err = look_into(s, path, &found); }
    if (err == STOA_E_CORRUPT && s->pass_rot) {
        found.fate = ROTTEN;
        err = STOA_OK;
    }
    if (!err) { err = reserve(s); }
    if (!err) { s->at[s->count++] = found; }
    return err;
}

/* By where they begin; of those that begin together the one to be named first. */
static int by_worth(const void *a, const void *b)
{
    const stray *x = a, *y = b;
    if (x->segment.first != y->segment.first) { return x->segment.first < y->segment.first ? -1 : 1; }
    if (x->open != y->open) { return x->open ? 1 : -1; }
    if (x->segment.last != y->segment.last) { return x->segment.last > y->segment.last ? -1 : 1; }
    return (int)y->tier - (int)x->tier;
}

static stoa_err find(strays *s)
{
    const stoa_archive *archive = s->archive;
    stoa_err err = stoa_folder_visit(archive->folder, ".seg", take, s);
    s->tier = STOA_TIER_COLD;
    if (!err && strcmp(archive->folder, archive->cold_folder) != 0) { err = stoa_folder_visit(archive->cold_folder, ".seg", take, s); }
    if (!err && s->count > 1) { qsort(s->at, s->count, sizeof *s->at, by_worth); }
    return err;
}

/* --- deciding */

static bool is_sound(const stoa_archive *archive, const stoa_manifest_entry *entry)
{
    char path[PATH_MAX];
    stoa_segment found;
    return stoa_archive_path(archive, entry, path) == STOA_OK && stoa_segment_check(path, &entry->segment, &found) == STOA_OK;
}

/* Whether what it holds is held by segments that are named, and whole. */
static bool is_redundant(const stoa_archive *archive, const stoa_manifest *m, const stray *s)
{
    uint64_t sealed, epoch, next = s->segment.first > m->expired ? s->segment.first : m->expired + 1, last = s->segment.last;
    stoa_hash256 hash;
    stoa_manifest_end(m, true, &sealed, &epoch, &hash);
    if (s->open && s->segment.first <= sealed && last > sealed) { last = sealed; }
    while (next <= last) {
        uint32_t index = stoa_manifest_find(m, next);
        if (index == m->count || !is_sound(archive, &m->entries[index])) { return false; }
        const stoa_segment *holds = &m->entries[index].segment;
        if (holds->last == s->segment.last && memcmp(&holds->hash, &s->segment.hash, sizeof holds->hash) != 0) { return false; }
        next = holds->last + 1;
    }
    return true;
}

/* Name it, behind what is sealed and in place of an open segment that ends before it. */
static stoa_err name_it(const stray *s, stoa_manifest *m, bool *named_out)
{
    uint64_t sealed, epoch;
    stoa_hash256 hash;
    *named_out = false;
    stoa_manifest_end(m, true, &sealed, &epoch, &hash);
    bool continues = s->segment.first == sealed + 1 && memcmp(&s->segment.previous, &hash, sizeof hash) == 0 &&
                     s->segment.first_epoch >= epoch;
    if (!continues) { return STOA_OK; }
    if (m->count > 0 && m->entries[m->count - 1].open) { m->count--; }
    stoa_err err = stoa_manifest_add(m, &s->segment, s->open);
    if (!err) { m->entries[m->count - 1].tier = s->tier; }
    *named_out = !err;
    return err;
}

/* *fate stays where it is for another one to come first. */
static stoa_err decide(const stoa_archive *archive, stoa_manifest *m, stray *s)
{
    bool named;
    if (is_redundant(archive, m, s)) {
        s->fate = REDUNDANT;
        return STOA_OK;
    }
    stoa_err err = name_it(s, m, &named);
    if (!err && named) { s->fate = NAMED; }
    return err;
}

static stoa_err undecided(const strays *s, const stray *one, const stoa_manifest *m)
{
    uint64_t last, epoch;
    stoa_hash256 hash;
    stoa_manifest_end(m, false, &last, &epoch, &hash);
    return STOA_FAIL(STOA_E_CORRUPT, "%s/%s is not in the manifest, which ends at %" PRIu64 ", and does not fit: is the manifest an old one? "
                     "(stoad --rebuild-archive makes it anew)", stoa_archive_folder(s->archive, one->tier), one->name, last);
}

static stoa_err decide_all(strays *s, stoa_manifest *m)
{
    bool more = true;
    const stray *left = NULL;
    while (more) {
        more = false;
        left = NULL;
        for (uint32_t i = 0; i < s->count; i++) {
            if (s->at[i].fate != UNDECIDED) { continue; }
            stoa_err err = decide(s->archive, m, &s->at[i]);
            if (err) { return err; }
            if (s->at[i].fate == UNDECIDED) { left = &s->at[i]; }
            more |= s->at[i].fate != UNDECIDED;
        }
    }
    return left ? undecided(s, left, m) : STOA_OK;
}

/* --- doing it */

static uint32_t count_of(const strays *s, fate wanted)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->count; i++) { count += s->at[i].fate == wanted; }
    return count;
}

static stoa_err set_aside(const strays *s, const stray *one)
{
    char path[PATH_MAX], aside[PATH_MAX + 8];
    stoa_err err = stoa_file_path(stoa_archive_folder(s->archive, one->tier), one->name, path);
    if (err) { return err; }
    (void)snprintf(aside, sizeof aside, "%s.rotten", path);
    if (rename(path, aside) != 0) { return stoa_os_error("rename", path); }
    return stoa_folder_sync_parent(path);
}

static stoa_err settle_one(const strays *s, const stray *one)
{
    static const char *const events[] = {[NAMED] = "archive_adopted", [REDUNDANT] = "archive_swept", [ROTTEN] = "archive_set_aside"};
    stoa_log(STOA_LOG_INFO, events[one->fate], STOA_KV("shard", s->archive->manifest.shard), STOA_KV("file", one->name));
    if (one->fate == NAMED) { return STOA_OK; }
    return one->fate == ROTTEN ? set_aside(s, one) : stoa_file_remove(stoa_archive_folder(s->archive, one->tier), one->name);
}

/* The manifest first: a file goes when it is named no more. */
static stoa_err settle(const strays *s, stoa_manifest *next, bool save)
{
    stoa_err err = save ? stoa_archive_replace(s->archive, next) : STOA_OK;
    if (err || !save) { stoa_manifest_deinit(next); }
    for (uint32_t i = 0; i < s->count && !err; i++) { err = settle_one(s, &s->at[i]); }
    return err;
}

/* The named open segment that another one takes the place of is a file without a name from then on. */
static stoa_err note_replaced(strays *s, const stoa_manifest_entry *before, const stoa_manifest *next)
{
    uint32_t index = stoa_manifest_find(next, before->segment.first);
    bool stays = index < next->count && next->entries[index].open && next->entries[index].segment.last == before->segment.last;
    if (stays) { return STOA_OK; }
    stoa_err err = reserve(s);
    if (err) { return err; }
    stray *gone = &s->at[s->count++];
    *gone = (stray){.segment = before->segment, .tier = before->tier, .open = true, .fate = REDUNDANT};
    stoa_segment_name(&before->segment, true, gone->name);
    return STOA_OK;
}

stoa_err stoa_archive_tidy(stoa_archive *archive, bool found)
{
    strays s = {.archive = archive, .known = &archive->manifest};
    stoa_manifest next = {0};
    stoa_err err = stoa_file_sweep(archive->folder);
    if (!err) { err = stoa_file_sweep(archive->cold_folder); }
    if (!err) { err = find(&s); }
    if (!err && !found && s.count > 0) {
        err = STOA_FAIL(STOA_E_CORRUPT, "%s: the manifest is gone, and %" PRIu32 " segments are there (stoad --rebuild-archive makes it anew)",
                        archive->folder, s.count);
    }
    if (!err) { err = stoa_manifest_copy(&archive->manifest, &next); }
    if (!err) { err = decide_all(&s, &next); }
    const stoa_manifest *m = &archive->manifest;
    if (!err && m->count > 0 && m->entries[m->count - 1].open) { err = note_replaced(&s, &m->entries[m->count - 1], &next); }
    uint32_t snapshots = 0;
    if (!err) { err = stoa_archive_find_snapshots(archive, &next, &snapshots); }
    if (!err && !found && snapshots > 0) {
        err = STOA_FAIL(STOA_E_CORRUPT, "%s: the manifest is gone, and %" PRIu32 " snapshots are there", archive->folder, snapshots);
    }
    if (!err) {
        err = settle(&s, &next, !found || snapshots > 0 || count_of(&s, NAMED) > 0);
    } else {
        stoa_manifest_deinit(&next);
    }
    free(s.at);
    return err ? err : stoa_archive_settle_snapshots(archive);
}

/* --- the manifest made anew */

/* What only the manifest knew; where that cannot be read nothing shall expire before somebody has thought about it. */
static void carry_over(const stoa_archive *archive, stoa_manifest *next, bool *held_out)
{
    stoa_manifest before = {0};
    bool readable = stoa_manifest_load(archive->folder, &before) == STOA_OK && strcmp(before.shard, next->shard) == 0;
    (void)snprintf(next->hold, sizeof next->hold, "%s",
                   readable ? before.hold : "the manifest was made anew; what was held before is not known");
    if (readable && !next->class_name[0]) { memcpy(next->class_name, before.class_name, sizeof next->class_name); }
    *held_out = next->hold[0] != '\0';
    stoa_manifest_deinit(&before);
}

static const stray *first_whole(const strays *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->at[i].fate == UNDECIDED) { return &s->at[i]; }
    }
    return NULL;
}

static stoa_err rebuild(stoa_archive *archive, strays *s, stoa_manifest *next, stoa_archive_rebuilt *out)
{
    stoa_err err = find(s);
    if (err) { return err; }
    const stray *first = first_whole(s);
    if (!first) { return STOA_FAIL(STOA_E_NOT_FOUND, "%s has no segment that is whole", archive->folder); }
    next->expired = first->segment.first - 1;
    next->expired_epoch = next->expired ? first->segment.first_epoch : 0;
    next->expired_hash = first->segment.previous;
    carry_over(archive, next, &out->held);
    err = decide_all(s, next);
    uint32_t snapshots;
    if (!err) { err = stoa_archive_find_snapshots(archive, next, &snapshots); }
    if (err) { return STOA_PASS(STOA_E_GAP, "the segments in %s are not one chain", archive->folder); }
    out->segments = next->count;
    out->first = next->expired + 1;
    out->last = next->entries[next->count - 1].segment.last;
    out->rotten = count_of(s, ROTTEN);
    return STOA_OK;
}

stoa_err stoa_archive_rebuild(const stoa_archive_options *options, bool plan, stoa_archive_rebuilt *out)
{
    stoa_archive *archive;
    stoa_archive_rebuilt result = {0};
    stoa_archive_options as = *options;
    as.read_only = plan;
    stoa_err err = stoa_archive_prepare(&as, &archive);
    if (err) { return err; }
    stoa_manifest next = archive->manifest;
    const stoa_manifest none = {.count = 0};
    strays s = {.archive = archive, .known = &none, .pass_rot = true};
    err = rebuild(archive, &s, &next, &result);
    if (err || plan) {
        stoa_manifest_deinit(&next);
    } else {
        err = settle(&s, &next, true);
    }
    free(s.at);
    stoa_archive_close(archive);
    if (!err) { *out = result; }
    return err;
}
