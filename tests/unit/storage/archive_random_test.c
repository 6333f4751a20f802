/* archive_random_test.c - goal: whatever a seed does to a log that is archived, expired, backed up and restored, and wherever it stops
 * or breaks in the middle, what the archive and the last backup that was finished hold comes back: the same blocks, and images that the
 * snapshot's position dictates. Method: seeded steps over a simulated log, its archive and backups of it: appends, snapshots, sealing,
 * expiry, purges, backups; each may be stopped at any moment of its progress, its disk may crash, fail a put or a sync, lose or rot
 * its side store; files without a name are left as a crash leaves them. After each step all that is there is imported and
 * compared; and a log that was brought back up to somewhere and went on another way is never taken for the archive's. STOA_DEEP runs ten times as many.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/snapshot_kit.h"

#include "base/log.h"
#include "storage/archive/journal.h"
#include "storage/archive/snapshot.h"
#include "storage/sim/journal.h"

enum { ROUNDS = 25, STEPS = 60, COUNT = 4, PAYLOAD = 500, SEGMENT = 1500 };

typedef struct world {
    char folder[KIT_PATH_MAX];
    stoa_random random;
    stoa_sim_disk *disk;
    stoa_journal *log, *both;
    stoa_archive *archive;
    unsigned backup;      /* number of the folder under way */
    uint64_t backed_up;   /* the last position of the backup that was finished last; 0: none was */
    unsigned finished;    /* its folder */
    unsigned stop_after;  /* steps of progress; UINT_MAX: never */
    bool stopped;
    struct {
        unsigned stops, crashes, faults, expired, backups, begun, imports, behind, parted;
    } seen;
} world;

static uint64_t below(world *w, uint64_t end)
{
    return stoa_random_below(&w->random, end);
}

static stoa_archive *open_in(const world *w, const char *name)
{
    char path[KIT_PATH_MAX + 32];
    stoa_archive *archive = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", w->folder, name);
    kit_ok(stoa_archive_open(&(const stoa_archive_options){.folder = path, .shard = "trade", .segment_bytes = SEGMENT}, &archive));
    return archive;
}

static void open_log(world *w)
{
    kit_ok(stoa_journal_sim.open("sim:log", &w->log));
    w->archive = open_in(w, "warm");
    kit_ok(stoa_journal_archived(w->log, w->archive, &w->both));
}

static void close_log(world *w)
{
    w->both->ops->close(w->both);
    stoa_archive_close(w->archive);
}

static stoa_err tell(void *context, const stoa_progress *progress)
{
    world *w = context;
    (void)progress;
    w->stopped = w->stop_after-- == 0;
    return w->stopped ? STOA_E_CANCELLED : STOA_OK;
}

/* One in three is stopped on its way. */
static stoa_progress_to progress_of(world *w)
{
    w->stopped = false;
    w->stop_after = below(w, 3) ? UINT32_MAX : (unsigned)below(w, 30);
    return (stoa_progress_to){tell, w};
}

/* OK, or what a stop or the fault that was set has led to. */
static bool went_well(world *w, stoa_err err, stoa_err also)
{
    w->seen.stops += w->stopped;
    if (w->stopped) { assert_int_equal(err, STOA_E_CANCELLED); }
    if (err && !w->stopped && err != also) { kit_ok(err); }
    return err == STOA_OK;
}

/* --- steps */

static void append(world *w)
{
    kit_grow(w->both, 1 + (unsigned)below(w, 4), COUNT, PAYLOAD);
    if (below(w, 2)) { kit_ok(w->both->ops->sync(w->both)); }
}

static void make_snapshot(world *w)
{
    stoa_snapshot *newest;
    uint64_t there = 0;
    if (stoa_snapshot_open(w->both, UINT64_MAX, &newest) == STOA_OK) {
        there = stoa_snapshot_look(newest)->position;
        stoa_snapshot_close(newest);
    }
    if (kit_last(w->both) <= there) { return; }
    stoa_err err = kit_try_snapshot(w->both, 3);
    assert_true(err == STOA_OK || err == STOA_E_IO || err == STOA_E_CORRUPT || err == STOA_E_EXISTS); /* a fault of the side store */
}

static void seal(world *w)
{
    stoa_journal_state state;
    stoa_progress_to progress = progress_of(w);
    w->log->ops->state(w->log, &state);
    stoa_extent extent = {.until = state.proven, .rest = below(w, 2) == 0};
    (void)went_well(w, stoa_archive_extend(w->archive, w->both, &extent, &progress), STOA_OK);
}

static void take(world *w)
{
    uint64_t position;
    stoa_journal_state state;
    stoa_progress_to progress = progress_of(w);
    w->log->ops->state(w->log, &state);
    stoa_archive_window window = {.at_most = state.proven, .newest = below(w, 2) == 0};
    stoa_err err = stoa_archive_take_snapshot(w->archive, w->both, &window, &progress, &position);
    if (err != STOA_E_NOT_FOUND && err != STOA_E_CORRUPT) { (void)went_well(w, err, STOA_OK); }
}

static void expire(world *w)
{
    stoa_manifest m;
    stoa_progress_to progress = progress_of(w);
    kit_ok(stoa_archive_look(w->archive, &m));
    uint32_t count = m.count > 1 ? 1 + (uint32_t)below(w, m.count - 1) : 0, sealed = m.count && m.entries[m.count - 1].open ? m.count - 1 : m.count;
    uint64_t last = count ? m.entries[count - 1].segment.last : 0;
    stoa_manifest_deinit(&m);
    if (count == 0 || count >= sealed) { return; }
    bool done = went_well(w, stoa_archive_expire(w->archive, count, &progress), STOA_E_GAP);
    if (done) { assert_true(stoa_archive_first(w->archive) == last + 1); }
    w->seen.expired += done;
}

static void purge(world *w)
{
    uint64_t sealed = stoa_archive_last(w->archive, true);
    kit_ok(w->log->ops->purge(w->log, sealed ? 1 + below(w, sealed) : 0));
}

static void end_backup(world *w, stoa_archive *backup)
{
    uint64_t verified;
    kit_ok(stoa_archive_verify(backup, UINT64_MAX, NULL, &verified));
    w->backed_up = stoa_archive_last(backup, false);
    w->finished = w->backup;
    w->seen.backups++;
}

/* As node/archive/backup.c does it. */
static stoa_err back_up_into(world *w, stoa_archive *backup, const stoa_progress_to *progress)
{
    stoa_journal_state both, log;
    uint64_t position;
    stoa_err err = STOA_OK;
    w->both->ops->state(w->both, &both);
    w->log->ops->state(w->log, &log);
    if (stoa_archive_last(backup, false) + 1 == stoa_archive_first(backup) && both.first != stoa_archive_first(backup)) {
        err = stoa_archive_begin(backup, w->both);
        w->seen.begun += !err;
    }
    if (!err && stoa_archive_first(backup) > 1) {
        stoa_archive_window window = {.at_least = stoa_archive_first(backup) - 1, .at_most = both.last};
        err = stoa_archive_copy_snapshot(backup, w->archive, &window, progress, &position);
        window.newest = true;
        stoa_err more = err ? STOA_OK : stoa_archive_take_snapshot(backup, w->both, &window, progress, &position);
        if (more != STOA_E_NOT_FOUND && more != STOA_E_CORRUPT && more) { err = more; }
        if (!err) { err = stoa_archive_forget_snapshots(backup, stoa_archive_first(backup) - 1, 2); }
    }
    return err ? err : stoa_archive_extend(backup, w->both, &(const stoa_extent){.until = log.proven, .open = true}, progress);
}

static void back_up(world *w)
{
    char name[32];
    stoa_progress_to progress = progress_of(w);
    (void)snprintf(name, sizeof name, "backup%u", w->backup);
    stoa_archive *backup = open_in(w, name);
    uint64_t sealed = stoa_archive_last(backup, true), held = stoa_archive_last(backup, false);
    stoa_journal_state both;
    w->both->ops->state(w->both, &both);
    bool gone = held + 1 > stoa_archive_first(backup) && sealed + 1 < both.first;
    bool lost = held > both.last || sealed > both.last; /* a crash took what it has */
    stoa_err err = gone || lost ? STOA_E_GAP : back_up_into(w, backup, &progress);
    if (!gone && !lost && err != STOA_E_FORKED && went_well(w, err, STOA_OK)) { end_backup(w, backup); }
    if (gone || lost || err == STOA_E_FORKED || below(w, 4) == 0) { w->backup++; }
    stoa_archive_close(backup);
}

/* What a power cut leaves: unsynced blocks and puts may be gone, and so may files without a name. */
static void crash(world *w)
{
    stoa_sim_disk_crash(w->disk);
    close_log(w);
    open_log(w);
    w->seen.crashes++;
}

static void break_side(world *w)
{
    w->seen.faults++;
    switch (below(w, 3)) {
    case 0: stoa_sim_disk_fail_put(w->disk, 1 + (uint32_t)below(w, 8)); break;
    case 1: stoa_sim_disk_lose_side(w->disk); break;
    default: (void)stoa_sim_disk_rot_side(w->disk, STOA_SPACE_SNAPSHOT); break;
    }
}

/* --- what must hold */

static void comes_back(world *w, stoa_archive *archive, uint64_t last)
{
    stoa_journal *copy;
    stoa_sim_disk *disk;
    uint64_t stands = 0, first = stoa_archive_first(archive);
    if (stoa_archive_last(archive, false) < first) { return; }
    kit_ok(stoa_sim_disk_get("copy", 1, &disk));
    kit_ok(stoa_journal_sim.open("sim:copy", &copy));
    stoa_err err = stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, &stands);
    kit_ok(err);
    kit_check_from(copy, first, last);
    assert_true((first > 1) == (stands > 0));
    if (stands) { kit_check_snapshot(copy, stands); }
    w->seen.imports++;
    w->seen.behind += stands > 0;
    copy->ops->close(copy);
    stoa_sim_disk_free(disk);
}

/* A restore that is stopped leaves nothing that the next one minds: it begins anew, in a log of its own. */
static void restore_with_stops(world *w, stoa_archive *archive)
{
    stoa_journal *copy;
    stoa_sim_disk *disk;
    stoa_progress_to progress = progress_of(w);
    kit_ok(stoa_sim_disk_get("stopped", below(w, 1000), &disk));
    kit_ok(stoa_journal_sim.open("sim:stopped", &copy));
    (void)went_well(w, stoa_archive_import(archive, copy, &(const stoa_import){0}, &progress, NULL), STOA_OK);
    stoa_sim_disk_crash(disk);
    copy->ops->close(copy);
    stoa_err err = stoa_journal_sim.open("sim:stopped", &copy); /* whatever is in it opens */
    kit_ok(err);
    copy->ops->close(copy);
    stoa_sim_disk_free(disk);
}

/* What a restore to a moment, or a beginning anew, leaves beside an archive of what was. */
static void another_history(world *w)
{
    stoa_journal *other, *both;
    stoa_sim_disk *disk;
    uint64_t sealed = stoa_archive_last(w->archive, true), until = sealed ? below(w, sealed) : 0;
    if (sealed == 0 || sealed + 1 == stoa_archive_first(w->archive)) { return; }
    kit_ok(stoa_sim_disk_get("other", 1, &disk));
    kit_ok(stoa_journal_sim.open("sim:other", &other));
    stoa_err err = until ? stoa_archive_import(w->archive, other, &(const stoa_import){.until = until}, NULL, NULL) : STOA_OK;
    if (err != STOA_E_RANGE && err != STOA_E_GAP) { kit_ok(err); } /* that beginning is gone: it begins anew */
    if (below(w, 3)) { kit_grow(other, 1 + (unsigned)below(w, 20), COUNT, PAYLOAD + 1); }
    kit_err(stoa_journal_archived(other, w->archive, &both), STOA_E_FORKED);
    w->seen.parted++;
    other->ops->close(other);
    stoa_sim_disk_free(disk);
}

static void check(world *w)
{
    char name[32];
    uint64_t verified;
    kit_ok(stoa_archive_verify(w->archive, UINT64_MAX, NULL, &verified));
    if (stoa_archive_first(w->archive) == 1 || stoa_archive_last(w->archive, true) >= stoa_archive_first(w->archive)) {
        comes_back(w, w->archive, stoa_archive_last(w->archive, false));
    }
    if (below(w, 8) == 0) { another_history(w); }
    if (w->backed_up == 0) { return; }
    (void)snprintf(name, sizeof name, "backup%u", w->finished);
    stoa_archive *backup = open_in(w, name);
    assert_true(stoa_archive_last(backup, false) >= w->backed_up || stoa_archive_last(backup, true) <= w->backed_up);
    comes_back(w, backup, stoa_archive_last(backup, false));
    if (below(w, 4) == 0) { restore_with_stops(w, backup); }
    stoa_archive_close(backup);
}

static void live(world *w, uint64_t seed)
{
    static void (*const steps[])(world *) = {append, append, append, make_snapshot, make_snapshot, seal, seal, take, expire, expire, purge,
                                             back_up, back_up, crash, break_side};
    stoa_random_seed(&w->random, seed);
    w->backup = w->finished = 0;
    w->backed_up = 0;
    kit_folder(w->folder);
    kit_ok(stoa_sim_disk_get("log", seed, &w->disk));
    open_log(w);
    for (unsigned i = 0; i < STEPS; i++) {
        steps[below(w, sizeof steps / sizeof steps[0])](w);
        stoa_sim_disk_fail_put(w->disk, 0);
        check(w);
    }
    close_log(w);
    stoa_sim_disks_free();
    kit_remove(w->folder);
}

static void whatever_happens_what_was_kept_comes_back(void **state)
{
    (void)state;
    static world w;
    stoa_random random = kit_random(81);
    unsigned rounds = getenv("STOA_DEEP") ? ROUNDS * 10 : ROUNDS;
    for (unsigned i = 0; i < rounds; i++) { live(&w, stoa_random_next(&random)); }
    print_message("%u stops, %u crashes, %u faults; expired %u times, %u backups, %u of them begun behind an anchor; %u imports, %u behind a snapshot; %u other histories\n",
                  w.seen.stops, w.seen.crashes, w.seen.faults, w.seen.expired, w.seen.backups, w.seen.begun, w.seen.imports, w.seen.behind, w.seen.parted);
    assert_true(w.seen.stops && w.seen.expired && w.seen.begun && w.seen.behind && w.seen.parted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whatever_happens_what_was_kept_comes_back)};
    stoa_log_level_set(STOA_LOG_OFF);
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
