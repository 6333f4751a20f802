/* retention_test.c - goal: what is kept where for how long is what the policy's rows say, and nothing goes that somebody needs.
 * Method: keepers of every class live through ten years and more of a virtual clock, over a simulated journal that grows by
 * seeded chance; after each step every event is where its age says, and the whole log still reads as it was written. Then
 * readers, snapshots, holds, rot and archives of another history stand in the way.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/snapshot_kit.h"

#include <fcntl.h>

#include "base/log.h"
#include "node/archive/keeper.h"
#include "storage/archive/journal.h"
#include "storage/sim/journal.h"

#define SECONDS(n) ((uint64_t)(n) * 1000000000)
static const uint64_t began_ns = SECONDS(1800000000);

typedef struct world {
    char folder[KIT_PATH_MAX];
    stoa_clock_virtual clock;
    stoa_readers readers;
    uint32_t snapshot, projection; /* slots */
    stoa_keeper keeper;
    stoa_journal *both; /* log and archive */
    uint64_t snapshot_at;
} world;

static stoa_retention rows[STOA_RETENTION_COUNT] = {
#define ROW(name, hot, warm, cold, archive, doc) {SECONDS(hot), SECONDS(warm), SECONDS(cold), SECONDS(archive), true},
    STOA_RETENTION_CLASSES(ROW)
#undef ROW
};

static void open_world(world *w, const char *name, const stoa_retention *retention)
{
    char warm[KIT_PATH_MAX + 8], cold[KIT_PATH_MAX + 8], path[80];
    stoa_journal *log;
    memset(w, 0, sizeof *w);
    kit_folder(w->folder);
    stoa_clock_virtual_init(&w->clock, began_ns);
    stoa_readers_init(&w->readers);
    (void)snprintf(warm, sizeof warm, "%s/warm", w->folder);
    (void)snprintf(cold, sizeof cold, "%s/cold", w->folder);
    (void)snprintf(path, sizeof path, "sim:%s", name);
    stoa_archive_options options = {.folder = warm, .cold_folder = cold, .shard = name, .segment_bytes = 4000, .clock = &w->clock.clock};
    w->keeper = (stoa_keeper){.shard = name, .readers = &w->readers, .retention = *retention, .segment_bytes = 4000};
    kit_ok(stoa_archive_open(&options, &w->keeper.archive));
    kit_ok(stoa_journal_sim.open(path, &log));
    kit_ok(stoa_journal_archived(log, w->keeper.archive, &w->both));
    w->keeper.journal = w->both;
    kit_ok(stoa_readers_add(&w->readers, STOA_READER_SNAPSHOT, 0, &w->snapshot));
    kit_ok(stoa_readers_add(&w->readers, "projection", 0, &w->projection));
}

static void close_world(world *w)
{
    w->both->ops->close(w->both);
    stoa_archive_close(w->keeper.archive);
    stoa_readers_deinit(&w->readers);
    kit_remove(w->folder);
    stoa_sim_disks_free();
}

static uint64_t now(world *w)
{
    return w->clock.clock.wall_ns(&w->clock.clock);
}

static void pass(world *w, uint64_t ns)
{
    w->clock.now += ns;
}

/* A block committed now; its first event's position stands in its payload. */
static void write_block(world *w, uint32_t count, uint32_t payload_bytes)
{
    uint64_t first = kit_last(w->both) + 1;
    kit_block made = kit_make(first, count, payload_bytes, 1);
    made.block.commit_ns = now(w);
    kit_ok(w->both->ops->append(w->both, &made.block, true));
    kit_drop(&made);
}

/* The follower's part: one at the log's end, of which the archive takes what it wants. */
static void snapshot(world *w)
{
    if (kit_last(w->both) == w->snapshot_at) { return; }
    kit_ok(kit_try_sized(w->both, 3, true));
    w->snapshot_at = kit_last(w->both);
}

static void all_have_read(world *w)
{
    snapshot(w);
    stoa_readers_move(&w->readers, w->snapshot, kit_last(w->both));
    stoa_readers_move(&w->readers, w->projection, kit_last(w->both));
}

static stoa_journal_state log_state(world *w)
{
    stoa_journal_state state;
    stoa_journal_log_state(w->both, &state);
    return state;
}

static void step(world *w)
{
    kit_ok(stoa_keeper_step(&w->keeper, now(w), NULL));
}

/* Until nothing is due any more, and the keeper knows: one move a step. */
static void settle(world *w)
{
    bool done = false;
    for (unsigned steps = 0; !done; steps++) {
        stoa_manifest m;
        stoa_retained retained;
        stoa_due due;
        assert_true(steps < 10000);
        step(w);
        kit_ok(stoa_archive_look(w->keeper.archive, &m));
        stoa_keeper_plan(&w->keeper, now(w), &m, &retained, &due);
        assert_true(w->keeper.more || due.move == m.count);
        done = due.purge_below == 0 && due.expire == 0 && due.move == m.count && !w->keeper.more;
        stoa_manifest_deinit(&m);
    }
}

typedef struct whole {
    uint64_t next;
} whole;

static stoa_err look_at(void *context, const stoa_block *block)
{
    whole *seen = context;
    kit_block wanted = kit_make(block->first, block->count, block->payload_bytes, 1);
    assert_int_equal(block->first, seen->next);
    assert_true(block->payload_bytes == 0 || memcmp(block->payload, wanted.payload, block->payload_bytes) == 0);
    kit_drop(&wanted);
    seen->next = block->first + block->count;
    return STOA_OK;
}

/* Log and archive together hold all that has not expired, and it is what was written. */
static void reads_whole(world *w)
{
    stoa_journal_state state;
    w->both->ops->state(w->both, &state);
    if (state.last == 0) { return; }
    assert_int_equal(state.first, stoa_archive_first(w->keeper.archive));
    whole seen = {.next = state.first};
    kit_ok(w->both->ops->read(w->both, state.first, look_at, &seen));
    assert_int_equal(seen.next, state.last + 1);
}

/* The newest snapshot that is no younger than the segments whose time is over. */
static uint64_t stands_for_the_old(world *w, const stoa_manifest *m, const stoa_retention *r)
{
    uint64_t stands = 0, old = 0;
    for (uint32_t i = 0; i < m->count && now(w) - m->entries[i].segment.last_ns >= r->archive_ns; i++) { old = m->entries[i].segment.last; }
    for (uint32_t i = 0; i < m->snapshot_count && m->snapshots[i].info.position <= old; i++) { stands = m->snapshots[i].info.position; }
    return stands;
}

/* Every segment is where the policy has it at its age, and what expired was old enough. */
static void is_where_its_age_says(world *w, const stoa_retention *r)
{
    stoa_manifest m;
    stoa_journal_state log = log_state(w);
    kit_ok(stoa_archive_look(w->keeper.archive, &m));
    for (uint32_t i = 0; i < m.count; i++) {
        uint64_t age = now(w) - m.entries[i].segment.last_ns;
        stoa_tier tier = age < r->warm_ns ? STOA_TIER_WARM : age < r->cold_ns ? STOA_TIER_COLD : STOA_TIER_ARCHIVE;
        assert_int_equal(m.entries[i].tier, tier);
        /* the last one never goes, nor what nothing stands for that is as old */
        assert_true(age < r->archive_ns || i + 1 == m.count || m.entries[i].segment.last > stands_for_the_old(w, &m, r));
        if (age < r->hot_ns) { assert_true(log.first <= m.entries[i].segment.first); }
        if (age >= r->hot_ns && i + 1 < m.count) { assert_true(log.first > m.entries[i].segment.last); }
    }
    stoa_manifest_deinit(&m);
}

/* All that is not over yet can be had again from the archive alone. */
static void comes_back(world *w, const stoa_retention *r)
{
    stoa_journal *copy;
    stoa_manifest m;
    uint64_t stands = 0;
    kit_ok(stoa_journal_sim.open("sim:copy", &copy));
    kit_ok(stoa_archive_import(w->keeper.archive, copy, &(const stoa_import){0}, NULL, &stands));
    assert_int_equal(kit_last(copy), stoa_archive_last(w->keeper.archive, false));
    kit_ok(stoa_archive_look(w->keeper.archive, &m));
    uint32_t young = stoa_manifest_find(&m, stands);
    assert_true(stands >= m.expired && (young == m.count || young == 0 || now(w) - m.entries[young - 1].segment.last_ns >= r->archive_ns));
    stoa_manifest_deinit(&m);
    copy->ops->close(copy);
}

/* Ten years and one, in strides from minutes to months. */
static void live_through(stoa_retention_class cls)
{
    static const uint64_t strides[] = {60, 1800, 3600, 86400, 7 * 86400, 30 * 86400, 90 * 86400};
    world w;
    stoa_random random = kit_random(100 + (uint64_t)cls);
    open_world(&w, stoa_retention_name(cls), &rows[cls]);
    uint64_t end = SECONDS(11ull * 365 * 86400);
    while (w.clock.now < end) {
        unsigned blocks = (unsigned)stoa_random_below(&random, 4);
        for (unsigned i = 0; i < blocks; i++) {
            write_block(&w, 1 + (uint32_t)stoa_random_below(&random, 3), 500 + (uint32_t)stoa_random_below(&random, 900));
            pass(&w, SECONDS(1));
        }
        all_have_read(&w);
        pass(&w, SECONDS(strides[stoa_random_below(&random, sizeof strides / sizeof strides[0])]));
        settle(&w);
        is_where_its_age_says(&w, &rows[cls]);
        reads_whole(&w);
    }
    assert_true(stoa_archive_first(w.keeper.archive) > 1); /* the first year has expired */
    assert_true(log_state(&w).first > 1);
    comes_back(&w, &rows[cls]);
    close_world(&w);
}

static void ten_years_of_every_class_are_kept_as_its_row_says(void **state)
{
    (void)state;
    for (stoa_retention_class cls = 0; cls < STOA_RETENTION_COUNT; cls++) { live_through(cls); }
}

static void the_rows_are_those_of_the_requirements(void **state)
{
    (void)state;
    assert_int_equal(rows[STOA_RETENTION_orders].warm_ns, SECONDS(90 * 86400));
    assert_int_equal(rows[STOA_RETENTION_trades].warm_ns, SECONDS(90 * 86400));
    for (unsigned i = 0; i < STOA_RETENTION_COUNT; i++) {
        assert_int_equal(rows[i].hot_ns, SECONDS(3600));
        assert_int_equal(rows[i].cold_ns, SECONDS(220752000));
        assert_int_equal(rows[i].archive_ns, SECONDS(315360000));
    }
    assert_int_equal(stoa_retention_class_of("trade"), STOA_RETENTION_orders);
    assert_int_equal(stoa_retention_class_of("room"), STOA_RETENTION_chat);
    assert_int_equal(stoa_retention_class_of("unheard of"), STOA_RETENTION_orders);
}

static void a_log_is_kept_as_long_as_the_last_of_its_classes(void **state)
{
    (void)state;
    const stoa_retention set[STOA_RETENTION_COUNT] = {[STOA_RETENTION_orders] = {1, 20, 3, 40, true},
                                                      [STOA_RETENTION_trades] = {10, 2, 30, 4, false},
                                                      [STOA_RETENTION_chat] = {100, 200, 300, 400, true}};
    static const struct {
        const char *shard;
        stoa_retention expected;
    } cases[] = {{"trade", {10, 20, 30, 40, true}}, {"unheard of", {10, 20, 30, 40, true}}, {"room", {100, 200, 300, 400, true}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stoa_retention is = stoa_retention_of(cases[i].shard, set);
        assert_int_equal(is.hot_ns, cases[i].expected.hot_ns);
        assert_int_equal(is.warm_ns, cases[i].expected.warm_ns);
        assert_int_equal(is.cold_ns, cases[i].expected.cold_ns);
        assert_int_equal(is.archive_ns, cases[i].expected.archive_ns);
        assert_int_equal(is.expire, cases[i].expected.expire);
    }
}

static void each_tier_ends_at_its_second(void **state)
{
    (void)state;
    world w;
    open_world(&w, "trade", &rows[STOA_RETENTION_orders]);
    write_block(&w, 3, 100); /* at 0 s */
    pass(&w, SECONDS(3599));
    all_have_read(&w);
    settle(&w);
    assert_int_equal(stoa_archive_last(w.keeper.archive, true), 0); /* 3,599 s: hot, and only hot */
    pass(&w, SECONDS(1));
    write_block(&w, 2, 100); /* what is newest never leaves the journal */
    all_have_read(&w);
    settle(&w);
    assert_int_equal(stoa_archive_last(w.keeper.archive, true), 5);
    assert_int_equal(log_state(&w).first, 1); /* its youngest event is hot */
    pass(&w, SECONDS(3600));
    write_block(&w, 1, 100);
    all_have_read(&w);
    settle(&w);
    assert_int_equal(log_state(&w).first, 6); /* warm */
    stoa_manifest m;
    static const struct { uint64_t at; stoa_tier tier; } table[] = {
        {7776000 - 1, STOA_TIER_WARM},   {7776000, STOA_TIER_COLD},   {220752000 - 1, STOA_TIER_COLD},
        {220752000, STOA_TIER_ARCHIVE}, {315360000 - 1, STOA_TIER_ARCHIVE},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        w.clock.now = SECONDS(3600) + SECONDS(table[i].at); /* the segment's youngest event is of 3,600 s */
        settle(&w);
        kit_ok(stoa_archive_look(w.keeper.archive, &m));
        assert_int_equal(m.entries[0].segment.last, 5);
        assert_int_equal(m.entries[0].tier, table[i].tier);
        stoa_manifest_deinit(&m);
        reads_whole(&w);
    }
    w.clock.now = SECONDS(3600) + SECONDS(315360000);
    w.keeper.retention.expire = false; /* no policy, no end */
    settle(&w);
    assert_int_equal(stoa_archive_first(w.keeper.archive), 1);
    w.keeper.retention.expire = true;
    settle(&w);
    assert_int_equal(stoa_archive_first(w.keeper.archive), 6);
    reads_whole(&w);
    close_world(&w);
}

/* A log of three sealed segments, all of them old. */
static void old_world(world *w)
{
    open_world(w, "trade", &rows[STOA_RETENTION_orders]);
    for (unsigned i = 0; i < 3; i++) {
        write_block(w, 10, 500);
        pass(w, SECONDS(4000));
        step(w);
    }
    write_block(w, 1, 100);
    assert_int_equal(stoa_archive_last(w->keeper.archive, true), 30);
    assert_int_equal(log_state(w).first, 1);
}

static void nothing_leaves_the_journal_before_snapshot_and_readers_have_passed(void **state)
{
    (void)state;
    world w;
    uint32_t late;
    old_world(&w);
    stoa_readers_move(&w.readers, w.projection, 31);
    settle(&w);
    assert_int_equal(log_state(&w).first, 1); /* no snapshot */
    snapshot(&w);
    stoa_readers_move(&w.readers, w.snapshot, 19);
    settle(&w);
    assert_int_equal(log_state(&w).first, 11); /* whole segments below it */
    stoa_readers_move(&w.readers, w.snapshot, 31);
    kit_ok(stoa_readers_add(&w.readers, "channel trade room", 20, &late));
    settle(&w);
    assert_int_equal(log_state(&w).first, 21); /* a reader stands at 20 */
    stoa_readers_leave(&w.readers, late);
    settle(&w);
    assert_int_equal(log_state(&w).first, 31);
    reads_whole(&w);
    close_world(&w);
}

static void without_a_snapshot_at_all_nothing_is_purged(void **state)
{
    (void)state;
    world w;
    old_world(&w);
    stoa_readers_move(&w.readers, w.projection, 31);
    stoa_readers_leave(&w.readers, w.snapshot);
    pass(&w, SECONDS(400000000));
    settle(&w);
    assert_int_equal(log_state(&w).first, 1);
    assert_int_equal(stoa_archive_first(w.keeper.archive), 1);
    close_world(&w);
}

/* Found rotten while it is in use, it begins anew, and is empty: what the reader says was true before. */
static void snapshots_that_are_gone_stop_the_purge(void **state)
{
    (void)state;
    world w;
    stoa_sim_disk *disk;
    old_world(&w);
    all_have_read(&w);
    kit_ok(stoa_sim_disk_get("trade", 0, &disk));
    stoa_sim_disk_lose_side(disk);
    settle(&w);
    assert_int_equal(log_state(&w).first, 1);
    w.snapshot_at = 0;
    snapshot(&w);
    settle(&w);
    assert_true(log_state(&w).first > 1);
    reads_whole(&w);
    close_world(&w);
}

static void a_hold_keeps_everything_where_it_is(void **state)
{
    (void)state;
    world w;
    old_world(&w);
    all_have_read(&w);
    kit_ok(stoa_archive_hold(w.keeper.archive, "case 7"));
    pass(&w, SECONDS(400000000));
    settle(&w);
    assert_int_equal(log_state(&w).first, 1);
    assert_int_equal(stoa_archive_first(w.keeper.archive), 1);
    stoa_manifest m;
    kit_ok(stoa_archive_look(w.keeper.archive, &m));
    assert_int_equal(m.entries[0].tier, STOA_TIER_WARM);
    stoa_manifest_deinit(&m);
    kit_ok(stoa_archive_hold(w.keeper.archive, ""));
    settle(&w);
    assert_int_equal(log_state(&w).first, 31);
    assert_true(stoa_archive_first(w.keeper.archive) > 1);
    close_world(&w);
}

static void nothing_is_forgotten_that_no_snapshot_in_the_archive_stands_for(void **state)
{
    (void)state;
    world w;
    stoa_manifest m;
    stoa_retained retained;
    stoa_due due;
    old_world(&w);
    stoa_readers_move(&w.readers, w.snapshot, 31); /* they say so, but there is none to be taken */
    stoa_readers_move(&w.readers, w.projection, 31);
    pass(&w, SECONDS(400000000));
    for (unsigned i = 0; i < 20; i++) { step(&w); }
    assert_int_equal(log_state(&w).first, 1);
    kit_ok(w.both->ops->purge(w.both, 31)); /* as while there was one */
    step(&w);
    assert_int_equal(log_state(&w).first, 31);
    assert_int_equal(stoa_archive_first(w.keeper.archive), 1);
    kit_ok(stoa_archive_look(w.keeper.archive, &m));
    stoa_keeper_plan(&w.keeper, now(&w), &m, &retained, &due);
    assert_true(due.expire == 0 && due.snapshot);
    assert_non_null(strstr(stoa_retention_why_kept(&w.keeper.retention, &retained), "no snapshot"));
    stoa_manifest_deinit(&m);
    kit_err(stoa_archive_expire(w.keeper.archive, 1, NULL), STOA_E_GAP);
    write_block(&w, 1, 100);
    snapshot(&w); /* younger than all that is old: what is between could not be had any more */
    step(&w);
    assert_int_equal(w.keeper.snapshot, 32);
    assert_int_equal(stoa_archive_first(w.keeper.archive), 1);
    pass(&w, SECONDS(400000000));
    step(&w);
    write_block(&w, 1, 100);
    all_have_read(&w);
    settle(&w);
    assert_true(stoa_archive_first(w.keeper.archive) > 30); /* it is as old as they are now */
    comes_back(&w, &rows[STOA_RETENTION_orders]);
    close_world(&w);
}

static void a_rotten_segment_stops_the_purge_of_what_it_holds(void **state)
{
    (void)state;
    world w;
    char path[KIT_PATH_MAX + 160], name[STOA_SEGMENT_NAME_MAX];
    stoa_manifest m;
    uint8_t byte;
    old_world(&w);
    kit_ok(stoa_archive_look(w.keeper.archive, &m));
    stoa_segment_name(&m.entries[1].segment, false, name);
    (void)snprintf(path, sizeof path, "%s/warm/trade/%s", w.folder, name);
    int fd = open(path, O_RDWR);
    off_t at = (off_t)m.entries[1].segment.file_bytes / 2;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    all_have_read(&w);
    kit_err(stoa_keeper_step(&w.keeper, now(&w), NULL), STOA_E_CORRUPT);
    assert_int_equal(log_state(&w).first, 1);
    assert_int_equal(w.keeper.errors, 1);
    assert_int_equal(unlink(path), 0);
    kit_err(stoa_keeper_step(&w.keeper, now(&w), NULL), STOA_E_GAP);
    assert_int_equal(log_state(&w).first, 1); /* the log has it still */
    (void)close(fd);
    stoa_manifest_deinit(&m);
    close_world(&w);
}

/* Under a keeper that was never asked whether the archive is this log's: it has sealed more than the log has, so that nothing is to be sealed. */
static void nothing_is_purged_that_only_the_archive_of_another_history_has(void **state)
{
    (void)state;
    world w;
    stoa_journal *log;
    old_world(&w);
    w.both->ops->close(w.both);
    for (uint32_t alike = 0; alike < 3; alike++) {
        char path[80];
        (void)snprintf(path, sizeof path, "sim:other%u", alike);
        kit_ok(stoa_journal_sim.open(path, &log));
        w.keeper.journal = w.both = log;
        w.snapshot_at = 0;
        w.clock.now = 0; /* the same times, too */
        for (uint32_t i = 0; i < 2; i++) {
            write_block(&w, 10, i < alike ? 500 : 501);
            pass(&w, SECONDS(4000));
        }
        write_block(&w, 1, 100);
        all_have_read(&w);
        w.clock.now = SECONDS(40000);
        stoa_err err = stoa_keeper_step(&w.keeper, now(&w), NULL);
        assert_int_equal(err, alike == 2 ? STOA_OK : STOA_E_FORKED);
        assert_int_equal(log_state(&w).first, alike == 2 ? 21 : 1); /* the same blocks are the same log */
        log->ops->close(log);
    }
    kit_ok(stoa_journal_sim.open("sim:trade", &log));
    w.keeper.journal = w.both = log;
    close_world(&w);
}

static void a_full_segment_is_sealed_before_its_time(void **state)
{
    (void)state;
    world w;
    open_world(&w, "trade", &rows[STOA_RETENTION_orders]);
    for (unsigned i = 0; i < 20; i++) { write_block(&w, 2, 700); }
    step(&w);
    assert_int_equal(stoa_archive_last(w.keeper.archive, true), 40 / 10 * 10);
    assert_int_equal(log_state(&w).first, 1);
    close_world(&w);
}

/* --- what is said of it */

static void says(world *w, const char *purge, const char *forget)
{
    stoa_manifest m;
    stoa_retained retained;
    stoa_due due;
    kit_ok(stoa_archive_look(w->keeper.archive, &m));
    stoa_keeper_plan(&w->keeper, now(w), &m, &retained, &due);
    assert_string_equal(stoa_retention_why_not(&w->keeper.retention, &retained), purge);
    assert_string_equal(stoa_retention_why_kept(&w->keeper.retention, &retained), forget);
    assert_int_equal(due.purge_below > 0, strcmp(purge, "nothing: it is due") == 0);
    assert_int_equal(due.expire > 0, strcmp(forget, "nothing: it is due") == 0);
    stoa_manifest_deinit(&m);
}

/* Each thing that something waits for is brought about, then taken away; the next is what it waits for from then on. */
static void what_it_waits_for_is_what_is_said(void **state)
{
    (void)state;
    static const char due[] = "nothing: it is due";
    const stoa_retention *r = &rows[STOA_RETENTION_orders];
    world w;
    open_world(&w, "trade", r);
    says(&w, "nothing more is sealed", "nothing is sealed");
    write_block(&w, 8, 5000);
    step(&w);
    says(&w, "it is hot", "nothing is so old");
    pass(&w, r->hot_ns);
    says(&w, "it is the log's end", "nothing is so old");
    w.keeper.retention.expire = false;
    says(&w, "it is the log's end", "archive.expire is off");
    w.keeper.retention.expire = true;
    pass(&w, r->archive_ns);
    says(&w, "it is the log's end", "it is the log's end");
    write_block(&w, 1, 100);
    says(&w, "no snapshot stands behind it", "no snapshot stands behind it");
    stoa_readers_move(&w.readers, w.snapshot, 7);
    says(&w, "a snapshot that is kept is before its end", "a snapshot that is kept is before its end");
    snapshot(&w);
    stoa_readers_move(&w.readers, w.snapshot, 9);
    says(&w, "a reader is behind", "a reader is behind");
    stoa_readers_move(&w.readers, w.projection, 9);
    kit_ok(stoa_archive_hold(w.keeper.archive, "case 7"));
    says(&w, "a hold", "a hold");
    kit_ok(stoa_archive_hold(w.keeper.archive, ""));
    says(&w, due, "the journal has it");
    kit_ok(w.both->ops->purge(w.both, 9));
    says(&w, "nothing more is sealed", "nothing is sealed behind it");
    pass(&w, r->hot_ns);
    step(&w);
    step(&w); /* the archive has its snapshot, which is not of that age */
    says(&w, "it is the log's end", "no snapshot of that age in the archive stands for it");
    pass(&w, r->archive_ns);
    says(&w, "it is the log's end", due);
    step(&w);
    says(&w, "it is the log's end", "it is the log's end");
    reads_whole(&w);
    close_world(&w);
}

/* --- terms of logs that write little */

enum { TICK_S = 300, WRITTEN_MAX = 1000 };

/* archive.interval, snapshot.every, snapshot.keep: who waits for whom. */
typedef struct pace {
    uint64_t interval_s, every_s;
    uint32_t keep;
} pace;
static const pace paces[] = {{600, 900, 3}, {600, 60, 1}, {600, 60, 20}, {3600, 60, 20}, {1800, 900, 4}, {600, 7200, 20}, {3600, 86400, 5}, {3600, 60, 100}};
enum { PACES = sizeof paces / sizeof paces[0] };

static const stoa_retention term = {SECONDS(3600), SECONDS(86400), SECONDS(2 * 86400), SECONDS(10 * 86400), true};

/* What docs/guide/backup.md says: nothing is kept longer. */
static uint64_t longest_ns(const stoa_retention *r, const pace *p)
{
    uint64_t slower_s = p->every_s > p->interval_s ? p->every_s : p->interval_s;
    return r->archive_ns + r->archive_ns / 4 + 2 * r->hot_ns + p->keep * SECONDS(slower_s) + 10 * SECONDS(p->interval_s);
}

typedef struct small {
    world w;
    uint64_t positions[WRITTEN_MAX], ns[WRITTEN_MAX]; /* of what somebody wrote */
    uint32_t written, gone;
    uint64_t followed_ns, stepped_ns, noops;
    const pace *pace;
    bool held; /* something keeps what is over */
} small;

static stoa_err append_noop(void *context)
{
    small *s = context;
    s->noops++;
    write_block(&s->w, 1, 20);
    return STOA_OK;
}

static void open_small(small *s, const char *name, const pace *p)
{
    memset(s, 0, sizeof *s);
    s->pace = p;
    open_world(&s->w, name, &term);
    s->w.keeper.noop = append_noop;
    s->w.keeper.noop_context = s;
    stoa_readers_leave(&s->w.readers, s->w.projection);
}

static void write_small(small *s)
{
    assert_true(s->written < WRITTEN_MAX);
    s->positions[s->written] = kit_last(s->w.both) + 1;
    s->ns[s->written++] = now(&s->w);
    write_block(&s->w, 1, 100);
}

static void note_oldest(void *context, const stoa_snapshot_info *info)
{
    uint64_t *oldest = context;
    if (*oldest == 0) { *oldest = info->position; }
}

/* As runtime/follow.h does: where there were events, so long after the last one; the reader is at the oldest of those it keeps. States are
 * large beside what is written. */
static void follow(small *s)
{
    world *w = &s->w;
    uint64_t oldest = 0;
    if (kit_last(w->both) == w->snapshot_at || now(w) - s->followed_ns < SECONDS(s->pace->every_s)) { return; }
    kit_ok(kit_try_sized(w->both, s->pace->keep, false));
    w->snapshot_at = kit_last(w->both);
    s->followed_ns = now(w);
    kit_ok(stoa_snapshots_visit(w->both, note_oldest, &oldest));
    stoa_readers_move(&w->readers, w->snapshot, oldest);
}

/* What is gone was over, and what is over is gone. */
static void term_is_kept(small *s)
{
    uint64_t archived = stoa_archive_first(s->w.keeper.archive), logged = log_state(&s->w).first;
    uint64_t first = archived < logged ? archived : logged;
    while (s->gone < s->written && s->positions[s->gone] < first) {
        assert_true(now(&s->w) - s->ns[s->gone] >= term.archive_ns);
        s->gone++;
    }
    assert_true(s->held || s->gone == s->written || now(&s->w) - s->ns[s->gone] <= longest_ns(&term, s->pace));
}

static void live(small *s, uint64_t for_ns)
{
    for (uint64_t end = now(&s->w) + for_ns; now(&s->w) < end;) {
        pass(&s->w, SECONDS(TICK_S));
        follow(s);
        if (now(&s->w) - s->stepped_ns < SECONDS(s->pace->interval_s)) { continue; }
        s->stepped_ns = now(&s->w);
        step(&s->w);
        term_is_kept(s);
    }
}

static void a_log_that_has_fallen_silent_keeps_its_term(void **state)
{
    (void)state;
    for (const pace *p = paces; p < paces + PACES; p++) {
        small s;
        open_small(&s, "room", p);
        for (unsigned i = 0; i < 2 * p->keep; i++) { /* each behind a snapshot of its own: as many no-ops have to pass as are kept */
            write_small(&s);
            live(&s, SECONDS(p->every_s + TICK_S));
        }
        live(&s, 2 * longest_ns(&term, p));
        assert_int_equal(s.gone, 2 * p->keep);
        assert_in_range(s.noops, 1, 4 * p->keep);
        reads_whole(&s.w);
        comes_back(&s.w, &term);
        close_world(&s.w);
    }
}

static void a_silent_log_waits_for_readers_and_holds(void **state)
{
    (void)state;
    small s;
    uint32_t late;
    open_small(&s, "room", &paces[0]);
    kit_ok(stoa_readers_add(&s.w.readers, "channel trade room", 0, &late));
    for (unsigned i = 0; i < 10; i++) { write_small(&s); }
    s.held = true;
    live(&s, 2 * longest_ns(&term, s.pace));
    assert_int_equal(s.gone, 0);
    assert_in_range(s.noops, 1, 4 * s.pace->keep); /* for one that never comes the log does not grow */
    kit_ok(stoa_archive_hold(s.w.keeper.archive, "case 7"));
    stoa_readers_leave(&s.w.readers, late);
    uint64_t before = s.noops;
    live(&s, 2 * longest_ns(&term, s.pace));
    assert_int_equal(s.gone, 0);
    assert_int_equal(s.noops, before);
    kit_ok(stoa_archive_hold(s.w.keeper.archive, ""));
    live(&s, SECONDS(86400));
    assert_int_equal(s.gone, 10);
    comes_back(&s.w, &term);
    close_world(&s.w);
}

static void a_log_that_writes_now_and_then_keeps_its_term(void **state)
{
    static const uint64_t strides[] = {1, 600, 3600, 86400, 3 * 86400, 15 * 86400};
    (void)state;
    stoa_random random = kit_random(7);
    for (const pace *p = paces; p < paces + PACES - 1; p++) { /* the last one takes long */
        small s;
        open_small(&s, "trade", p);
        uint64_t end = now(&s.w) + 15 * term.archive_ns;
        while (now(&s.w) < end && s.written < WRITTEN_MAX) {
            write_small(&s);
            live(&s, SECONDS(strides[stoa_random_below(&random, sizeof strides / sizeof strides[0])]));
        }
        assert_true(s.gone > 0);
        assert_in_range(s.noops, 0, 20 * p->keep);
        reads_whole(&s.w);
        comes_back(&s.w, &term);
        close_world(&s.w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rows_are_those_of_the_requirements),
        cmocka_unit_test(a_log_is_kept_as_long_as_the_last_of_its_classes),
        cmocka_unit_test(each_tier_ends_at_its_second),
        cmocka_unit_test(ten_years_of_every_class_are_kept_as_its_row_says),
        cmocka_unit_test(nothing_leaves_the_journal_before_snapshot_and_readers_have_passed),
        cmocka_unit_test(without_a_snapshot_at_all_nothing_is_purged),
        cmocka_unit_test(snapshots_that_are_gone_stop_the_purge),
        cmocka_unit_test(a_hold_keeps_everything_where_it_is),
        cmocka_unit_test(nothing_is_forgotten_that_no_snapshot_in_the_archive_stands_for),
        cmocka_unit_test(a_rotten_segment_stops_the_purge_of_what_it_holds),
        cmocka_unit_test(nothing_is_purged_that_only_the_archive_of_another_history_has),
        cmocka_unit_test(a_full_segment_is_sealed_before_its_time),
        cmocka_unit_test(what_it_waits_for_is_what_is_said),
        cmocka_unit_test(a_log_that_has_fallen_silent_keeps_its_term),
        cmocka_unit_test(a_silent_log_waits_for_readers_and_holds),
        cmocka_unit_test(a_log_that_writes_now_and_then_keeps_its_term),
    };
    stoa_log_level_set(STOA_LOG_WARN);
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
