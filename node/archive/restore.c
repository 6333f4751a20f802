/* restore.c - node/archive/restore.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/os.h"
#include "base/random.h"
#include "cluster/local/coord.h"
#include "node/archive/cut.h"
#include "node/archive/when.h"
#include "node/roll.h"
#include "runtime/log_reader.h"
#include "runtime/mail_check.h"
#include "storage/archive/file.h"
#include "storage/rocksdb/folder.h"

enum { OPEN_FOLDERS = 16, EPOCHS_PER_SECOND = 4096, EPOCHS_BEGIN_S = 1735689600 /* 2025 */ };
static const char note_name[] = "restore.unfinished"; /* what a folder that is a restore's has in it until it is whole */

typedef struct restoring {
    const stoa_restore *restore;
    const stoa_progress_to *progress;
    stoa_restored *out;
    uint32_t cut_shard;    /* the one that is cut to the event; shard_count: none */
    uint64_t cut_position;
    char into[PATH_MAX], beside[PATH_MAX + 16]; /* where it goes; where it is made */
    int beside_fd; /* holds its lock */
    bool mine;     /* the folder beside is this restore's, to be removed when it fails */
    stoa_mail_log *mail;   /* of each shard; NULL: not to be compared */
    uint32_t mail_count;
} restoring;

static stoa_err open_archive(const restoring *r, uint32_t shard, stoa_archive **out)
{
    stoa_archive_options options = {.folder = r->restore->from, .shard = r->out->catalog.shards[shard].name, .read_only = true};
    stoa_err err = stoa_archive_open(&options, out);
    return err == STOA_E_NOT_FOUND ? STOA_PASS(STOA_E_GAP, "the archive of shard %s is missing", options.shard) : err;
}

/* --- where to cut */

/* first: where the shard begins that it is of. */
static stoa_err out_of_range(const restoring *r, const char *what, uint64_t first)
{
    char time[STOA_TIME_TEXT_MAX];
    stoa_time_print(r->out->catalog.consistent_ns, time);
    return STOA_FAIL(STOA_E_RANGE, "%s is not in this backup, whose shards are complete up to %s%s", what, time,
                     first > 1 ? "; the beginning of that one is gone" : "");
}

static stoa_err cut_at_position(restoring *r, uint32_t shard, uint64_t position)
{
    stoa_archive *archive;
    stoa_archive_block block;
    stoa_err err = open_archive(r, shard, &archive);
    if (err) { return err; }
    err = stoa_archive_block_at(archive, position, &block);
    uint64_t first = stoa_archive_first(archive);
    stoa_archive_close(archive);
    if (err == STOA_E_NOT_FOUND) { return out_of_range(r, r->restore->until, first); }
    if (err) { return err; }
    if (block.commit_ns > r->out->catalog.consistent_ns) { return out_of_range(r, r->restore->until, first); }
    r->out->cut_ns = block.commit_ns;
    r->cut_shard = shard;
    r->cut_position = position;
    return STOA_OK;
}

static stoa_err find_cut(restoring *r)
{
    const stoa_catalog *catalog = &r->out->catalog;
    const char *until = r->restore->until;
    stoa_when when;
    r->out->cut_ns = catalog->consistent_ns;
    r->cut_shard = catalog->shard_count;
    if (!until) { return STOA_OK; }
    stoa_err err = stoa_when_parse(until, &when);
    if (err) { return err; }
    if (when.time_ns) {
        if (when.time_ns > catalog->consistent_ns) { return out_of_range(r, until, 1); }
        r->out->cut_ns = when.time_ns;
        return STOA_OK;
    }
    uint32_t shard = 0;
    while (when.shard[0] && shard < catalog->shard_count && strcmp(catalog->shards[shard].name, when.shard) != 0) { shard++; }
    if (shard == catalog->shard_count) { return STOA_FAIL(STOA_E_NOT_FOUND, "the backup has no shard '%s'", when.shard); }
    return cut_at_position(r, shard, when.position);
}

/* What of a shard is before the cut, by its blocks. */
static stoa_err plan_shard(restoring *r, uint32_t index, stoa_archive *archive)
{
    stoa_restored_shard *shard = &r->out->shards[index];
    stoa_archive_block block;
    stoa_err err = stoa_backup_cut(&r->out->catalog, index, archive, r->out->cut_ns, &block);
    if (err) { return err; }
    shard->held = stoa_archive_last(archive, false);
    shard->last = index == r->cut_shard ? r->cut_position : block.last;
    shard->last_ns = block.commit_ns;
    shard->first = stoa_archive_first(archive);
    return shard->first > 1 ? stoa_archive_reaches(archive, shard->last, r->progress, &shard->snapshot) : STOA_OK;
}

/* --- one shard */

static stoa_err compare_states(restoring *r, uint32_t index, stoa_journal *journal)
{
    const stoa_catalog_shard *live = &r->out->catalog.shards[index];
    stoa_restored_shard *shard = &r->out->shards[index];
    stoa_log_reader *reader;
    uint64_t hash = 0, position = 0;
    stoa_err err = stoa_log_open_journal(journal, r->restore->kinds, live->name, &reader);
    if (err) { return err; }
    bool comparable = live->state_position >= shard->snapshot && live->state_position > 0 && live->state_position <= shard->last &&
                      !stoa_catalog_other_kind(&r->out->catalog, r->restore->kinds, true);
    if (comparable) {
        err = stoa_log_hash(reader, live->state_position, &hash, &position);
        if (!err && (hash != live->state_hash || position != live->state_position)) {
            err = STOA_FAIL(STOA_E_FORKED, "shard %s: at position %" PRIu64 " the states hash to %016" PRIx64
                            ", those of the live shard did to %016" PRIx64, live->name, position, hash, live->state_hash);
        }
        if (!err) { shard->compared = position; }
    }
    if (!err) { err = stoa_log_hash(reader, UINT64_MAX, &shard->hash, NULL); }
    if (!err && r->mail) { err = stoa_mail_collect(reader, live->name, &r->mail[r->mail_count]); }
    if (!err && r->mail) { r->mail_count++; }
    stoa_log_close(reader);
    shard->sealed = err == STOA_E_SEALED;
    return shard->sealed ? STOA_OK : err;
}

static stoa_err import_shard(restoring *r, uint32_t index, stoa_archive *archive, stoa_journal *journal, uint64_t *epoch_out)
{
    stoa_restored_shard *shard = &r->out->shards[index];
    stoa_import import = {.until_ns = r->out->cut_ns, .until = shard->last};
    stoa_journal_state state;
    if (index == r->cut_shard) { import.cut = stoa_block_cut; }
    stoa_err err = stoa_archive_import(archive, journal, &import, r->progress, &shard->snapshot);
    if (err) { return err; }
    journal->ops->state(journal, &state);
    shard->last = state.last;
    if (state.epoch > *epoch_out) { *epoch_out = state.epoch; }
    return compare_states(r, index, journal);
}

static stoa_err restore_shard(restoring *r, uint32_t index, bool plan, uint64_t *epoch_out)
{
    char path[PATH_MAX];
    stoa_archive *archive;
    stoa_journal *journal;
    stoa_restored_shard *shard = &r->out->shards[index];
    memcpy(shard->name, r->out->catalog.shards[index].name, sizeof shard->name);
    stoa_err err = open_archive(r, index, &archive);
    if (err) { return err; }
    err = plan_shard(r, index, archive);
    if (!err && !plan) { err = stoa_file_path(r->beside, shard->name, path); }
    if (!err && !plan) {
        err = r->restore->journal->open(path, &journal);
        if (!err) {
            journal->ops->seal(journal, r->restore->keys);
            err = import_shard(r, index, archive, journal, epoch_out);
            journal->ops->close(journal);
        }
    }
    stoa_archive_close(archive);
    return err ? STOA_PASS(err, "restore of shard %s", shard->name) : STOA_OK;
}

/* --- the folder */

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)status;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void remove_all(const char *path)
{
    (void)nftw(path, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
}

/* The new folder by its plain name, without slashes at its end. */
static stoa_err find_into(restoring *r)
{
    size_t length = strlen(r->restore->into);
    while (length > 1 && r->restore->into[length - 1] == '/') { length--; }
    const char *from = r->restore->into, *slash = memrchr(from, '/', length), *name = slash ? slash + 1 : from;
    size_t name_bytes = length - (size_t)(name - from);
    bool dots = (name_bytes == 1 && name[0] == '.') || (name_bytes == 2 && memcmp(name, "..", 2) == 0);
    if (name_bytes == 0 || dots) { return STOA_FAIL(STOA_E_INVALID, "'%s' is not the name of a new folder", from); }
    int bytes = snprintf(r->into, sizeof r->into, "%.*s", (int)length, from);
    int beside = snprintf(r->beside, sizeof r->beside, "%s.unfinished", r->into);
    bool fits = bytes > 0 && bytes < (int)sizeof r->into && beside > 0 && beside < (int)sizeof r->beside;
    return fits ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", length);
}

/* Whether a folder of that name is a restore's that was stopped, or empty: anybody else's is not ours to remove. */
static stoa_err may_replace(const restoring *r, bool *there_out)
{
    char note[PATH_MAX];
    bool empty = false;
    *there_out = access(r->beside, F_OK) == 0;
    if (!*there_out) { return STOA_OK; }
    stoa_err err = stoa_folder_empty(r->beside, &empty);
    if (!err) { err = stoa_file_path(r->beside, note_name, note); }
    if (err || empty || access(note, F_OK) == 0) { return err; }
    return STOA_FAIL(STOA_E_EXISTS, "%s is not what a restore left; it needs that name while it works", r->beside);
}

static stoa_err check_into(restoring *r)
{
    bool empty = false;
    stoa_err err = find_into(r);
    if (!err) { err = stoa_folder_empty(r->into, &empty); }
    if (!err && !empty) { err = STOA_FAIL(STOA_E_EXISTS, "%s is not empty; a restore makes a new folder", r->into); }
    return err ? err : may_replace(r, &r->out->replaces);
}

/* The lock is the folder itself: it stays with it when it gets its name, and goes with the process. */
static stoa_err lock_beside(restoring *r)
{
    struct stat mine, named;
    r->beside_fd = open(r->beside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->beside_fd < 0) { return stoa_os_error("open", r->beside); }
    bool locked = flock(r->beside_fd, LOCK_EX | LOCK_NB) == 0;
    bool same = locked && fstat(r->beside_fd, &mine) == 0 && stat(r->beside, &named) == 0 && mine.st_ino == named.st_ino;
    return same ? STOA_OK : STOA_FAIL(STOA_E_DENIED, "another restore works in %s", r->beside);
}

static int remove_within(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)status;
    (void)flag;
    bool keep = ftw->level == 0 || (ftw->level == 1 && strcmp(path + ftw->base, note_name) == 0);
    return keep ? 0 : remove(path);
}

static stoa_err make_beside(restoring *r)
{
    bool there;
    stoa_err err = stoa_folder_make_all(r->beside);
    if (!err) { err = lock_beside(r); }
    if (!err) { err = may_replace(r, &there); } /* it is ours alone now: look again */
    if (!err) { err = stoa_file_put(r->beside, note_name, "a restore is under way, or was stopped\n", 39); }
    if (err) { return err; }
    r->mine = true;
    (void)nftw(r->beside, remove_within, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS); /* of a restore that was stopped */
    return STOA_OK;
}

/* What is restored goes on beside what the original wrote behind the cut, or still writes, and what else is restored from the same
 * backup: names that are made of epochs (of effects, of sessions) must not meet. Who was never restored counts its lives from 1;
 * who was, from the second of that, which has room for 4,096. A second is one restore's alone, among those from one backup: it is
 * taken under a lock on the backup's folder, which is kept until the second is over. Where in its first half it begins is chance,
 * which keeps copies of a backup on several machines apart; so two lie 2,048 lives apart at least. */
static uint64_t epoch_of_second(uint64_t second, uint64_t logged)
{
    uint64_t apart;
    stoa_random_system(&apart, sizeof apart);
    apart %= EPOCHS_PER_SECOND / 2;
    uint64_t since = second > EPOCHS_BEGIN_S ? second - EPOCHS_BEGIN_S : 0;
    uint64_t behind = logged + EPOCHS_PER_SECOND, then = since * EPOCHS_PER_SECOND;
    return (then > behind ? then : behind) + apart;
}

static uint64_t second_now(void)
{
    return stoa_clock_real.wall_ns(&stoa_clock_real) / STOA_S(1);
}

static stoa_err claim(const char *backup, uint64_t logged, uint64_t *epoch_out)
{
    int fd = open(backup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) { return stoa_os_error("open", backup); }
    if (flock(fd, LOCK_EX) != 0) {
        (void)close(fd);
        return stoa_os_error("lock", backup);
    }
    uint64_t second = second_now();
    *epoch_out = epoch_of_second(second, logged);
    while (second_now() == second) {
        struct timespec wait = {0, 10000000};
        (void)nanosleep(&wait, NULL);
    }
    (void)close(fd);
    return STOA_OK;
}

static stoa_err settle(const restoring *r, uint64_t logged)
{
    uint64_t epoch = 0;
    stoa_err err = claim(r->restore->from, logged, &epoch);
    if (!err) { err = stoa_coord_local_raise(r->beside, "node", epoch); }
    for (uint32_t i = 0; i < r->out->shard_count && !err; i++) { err = stoa_roll_add(r->beside, r->out->shards[i].name); }
    if (!err) { err = stoa_file_remove(r->beside, note_name); }
    if (err) { return err; }
    if (rename(r->beside, r->into) != 0) { return stoa_os_error("rename", r->beside); }
    return stoa_folder_sync_parent(r->into);
}

/* A moment was given, and no shard has anything up to it: a slip of the pen, not a node to start. */
static bool is_before_all(const restoring *r)
{
    uint32_t empty = 0;
    while (empty < r->out->shard_count && r->out->shards[empty].last == 0) { empty++; }
    return r->restore->until && empty == r->out->shard_count;
}

static stoa_err run(restoring *r, bool plan)
{
    stoa_restored *out = r->out;
    uint64_t epoch = 0;
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < out->catalog.shard_count && !err; i++) {
        out->shard_count = i + 1;
        err = restore_shard(r, i, plan, &epoch);
    }
    if (!err && is_before_all(r)) {
        err = STOA_FAIL(STOA_E_RANGE, "nothing is left at %s: it is before the first event in this backup that is whole", r->restore->until);
    }
    if (!err && !plan) { err = stoa_mail_agree(r->mail, r->mail_count); }
    return err || plan ? err : settle(r, epoch);
}

stoa_err stoa_restore_run(const stoa_restore *restore, bool plan, const stoa_progress_to *progress, stoa_restored *out)
{
    restoring r = {.restore = restore, .progress = progress, .out = out, .beside_fd = -1};
    memset(out, 0, sizeof *out);
    stoa_err err = stoa_catalog_load(restore->from, &out->catalog);
    if (!err) { err = find_cut(&r); }
    if (err) { return STOA_PASS(err, "restore of %s", restore->from); }
    out->other_kind = stoa_catalog_other_kind(&out->catalog, restore->kinds, false);
    err = check_into(&r);
    if (!err && !plan) { err = make_beside(&r); }
    if (!err && !plan) {
        r.mail = calloc(STOA_CATALOG_SHARDS, sizeof *r.mail);
        if (!r.mail) { err = STOA_FAIL(STOA_E_NOMEM, "restore"); }
    }
    if (!err) { err = run(&r, plan); }
    free(r.mail);
    if (err && r.mine) { remove_all(r.beside); }
    if (r.beside_fd >= 0) { (void)close(r.beside_fd); }
    return err;
}
