/* archive_test.c - goal: an archive holds exactly the log, byte for byte, whatever was sealed when, and says where it is.
 * Method: seeded logs of the kit, whose blocks follow from their positions; extends at random moments; imports into both
 * kinds of journal compared by their hashes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/archive_tiers.h"

#include "storage/rocksdb/journal.h"

/* --- what an archive holds */

static void an_empty_log_makes_an_empty_archive(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = NULL;
    kit_err(try_tiers("trade", 0, true, &archive), STOA_E_NOT_FOUND);
    archive = tiers("trade", 0);
    seal_all(archive, log);
    assert_int_equal(stoa_archive_last(archive, true), 0);
    assert_int_equal(stoa_archive_first(archive), 1);
    kit_err(stoa_archive_read(archive, 1, UINT64_MAX, NULL, NULL), STOA_E_NOT_FOUND);
    imports_equal(archive, log, "copy");
    stoa_archive_close(archive);
    log->ops->close(log);
}

static void an_archive_is_written_by_one_at_a_time(void **state)
{
    (void)state;
    stoa_archive *one = tiers("trade", 0), *two = NULL;
    kit_err(try_tiers("trade", 0, false, &two), STOA_E_DENIED);
    stoa_archive *other = tiers("room", 0);
    stoa_archive_close(one);
    one = tiers("trade", 0);
    stoa_archive_close(one);
    stoa_archive_close(other);
    stoa_archive_close(NULL);
    kit_err(try_tiers("", 0, false, &two), STOA_E_INVALID);
    kit_err(try_tiers("a/b", 0, false, &two), STOA_E_INVALID);
}

static void full_segments_are_sealed_and_the_rest_waits(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = tiers("trade", 1000);
    kit_grow(log, 10, 3, 400); /* about 550 bytes each */
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = 27}, NULL));
    stoa_manifest m = looked(archive);
    assert_int_equal(m.count, 4); /* two blocks each; the ninth waits, the tenth is above until */
    assert_int_equal(stoa_archive_last(archive, true), 24);
    stoa_manifest_deinit(&m);
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = 27, .rest = true}, NULL));
    assert_int_equal(stoa_archive_last(archive, true), 27);
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = 27, .rest = true, .open = true}, NULL));
    assert_int_equal(stoa_archive_last(archive, true), 27);
    assert_int_equal(stoa_archive_last(archive, false), 30);
    imports_equal(archive, log, "copy");
    stoa_archive_close(archive);
    log->ops->close(log);
}

static void an_open_segment_is_replaced_when_the_log_goes_on(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = tiers("trade", 100000);
    const stoa_extent provisional = {.until = UINT64_MAX, .open = true};
    for (unsigned i = 1; i <= 5; i++) {
        kit_grow(log, 2, 3, 400);
        kit_ok(stoa_archive_extend(archive, log, &provisional, NULL));
        kit_ok(stoa_archive_extend(archive, log, &provisional, NULL)); /* nothing new */
        assert_int_equal(files_in("warm/trade"), 1);
        assert_int_equal(stoa_archive_last(archive, false), i * 6);
        assert_int_equal(stoa_archive_last(archive, true), 0);
    }
    imports_equal(archive, log, "copy");
    seal_all(archive, log);
    assert_int_equal(files_in("warm/trade"), 1);
    assert_int_equal(stoa_archive_last(archive, true), 30);
    stoa_archive_close(archive);
    archive = tiers("trade", 0);
    imports_equal(archive, log, "copy 2");
    stoa_archive_close(archive);
    log->ops->close(log);
}

enum { ROUNDS = 60 };

/* Logs of random shape, sealed at random moments in random ways, closed and opened, moved to the cold: always the log. */
static void any_log_sealed_in_any_way_comes_back_the_same(void **state)
{
    (void)state;
    stoa_random random = kit_random(11);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char name[32], copy[32];
        (void)snprintf(name, sizeof name, "log%u", round);
        (void)snprintf(copy, sizeof copy, "copy%u", round);
        stoa_journal *log = sim(name);
        stoa_archive *archive = tiers(name, 1 + stoa_random_below(&random, 5000));
        unsigned steps = 1 + (unsigned)stoa_random_below(&random, 12);
        for (unsigned step = 0; step < steps; step++) {
            kit_grow(log, (unsigned)stoa_random_below(&random, 9), 1 + (uint32_t)stoa_random_below(&random, 5),
                     (uint32_t)stoa_random_below(&random, 1500));
            stoa_extent extent = {.until = stoa_random_below(&random, kit_last(log) + 5),
                                  .rest = stoa_random_chance(&random, 500),
                                  .open = stoa_random_chance(&random, 500)};
            kit_ok(stoa_archive_extend(archive, log, &extent, NULL));
            stoa_manifest m = looked(archive);
            uint32_t at = (uint32_t)stoa_random_below(&random, m.count + 1);
            if (at < m.count && !m.entries[at].open) {
                stoa_tier tier = m.entries[at].tier + (stoa_tier)stoa_random_below(&random, STOA_TIERS - m.entries[at].tier);
                kit_ok(stoa_archive_move(archive, at, tier, NULL));
            }
            stoa_manifest_deinit(&m);
            if (stoa_random_chance(&random, 300)) {
                stoa_archive_close(archive);
                archive = tiers(name, 1 + stoa_random_below(&random, 5000));
            }
        }
        kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = kit_last(log) / 2, .open = true}, NULL));
        uint64_t verified = 0;
        kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
        assert_int_equal(verified, kit_last(log));
        imports_equal(archive, log, copy);
        stoa_archive_close(archive);
        log->ops->close(log);
    }
}

static void the_hashes_survive_rocksdb_archive_rocksdb(void **state)
{
    (void)state;
    stoa_journal *from, *to;
    char path[KIT_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/from", folder);
    kit_ok(stoa_journal_rocksdb.open(path, &from));
    kit_grow(from, 200, 5, 3000);
    kit_ok(from->ops->sync(from));
    stoa_archive *archive = tiers("trade", 100000);
    seal_all(archive, from);
    (void)snprintf(path, sizeof path, "%s/to", folder);
    kit_ok(stoa_journal_rocksdb.open(path, &to));
    kit_ok(stoa_archive_import(archive, to, &(const stoa_import){0}, NULL, NULL));
    same_state(from, to);
    assert_int_equal(kit_proven(to), 1000);
    to->ops->close(to);
    kit_ok(stoa_journal_rocksdb.open(path, &to));
    kit_check_all(to, 1000);
    kit_check_index(to, 1000);
    kit_err(stoa_archive_import(archive, to, &(const stoa_import){0}, NULL, NULL), STOA_E_EXISTS);
    to->ops->close(to);
    from->ops->close(from);
    stoa_archive_close(archive);
}

/* --- reading */

typedef struct counting {
    uint64_t first, blocks;
    stoa_err stop;
} counting;

static stoa_err count_block(void *context, const void *bytes, size_t size_bytes)
{
    counting *c = context;
    assert_true(size_bytes > 104);
    if (c->blocks++ == 0) { memcpy(&c->first, (const char *)bytes + 8, sizeof c->first); }
    return c->stop;
}

static void a_read_begins_with_the_block_that_holds_the_position(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = tiers("trade", 1000);
    kit_grow(log, 20, 3, 400);
    seal_all(archive, log);
    for (uint64_t from = 1; from <= 60; from++) {
        counting c = {0};
        kit_ok(stoa_archive_read(archive, from, UINT64_MAX, count_block, &c));
        assert_int_equal(c.first, (from - 1) / 3 * 3 + 1);
        assert_int_equal(c.blocks, 20 - (from - 1) / 3);
    }
    counting c = {.stop = STOA_E_TIMEOUT};
    kit_err(stoa_archive_read(archive, 5, UINT64_MAX, count_block, &c), STOA_E_TIMEOUT);
    assert_int_equal(c.blocks, 1);
    kit_err(stoa_archive_read(archive, 61, UINT64_MAX, count_block, &c), STOA_E_NOT_FOUND);
    kit_err(stoa_archive_read(archive, 0, UINT64_MAX, count_block, &c), STOA_E_NOT_FOUND);
    stoa_archive_close(archive);
    log->ops->close(log);
}

static stoa_err cut_here(void *context, stoa_journal *journal, const void *bytes, size_t size_bytes, uint64_t until)
{
    (void)journal;
    (void)bytes;
    (void)size_bytes;
    *(uint64_t *)context = until;
    return STOA_OK;
}

static void an_import_ends_at_a_position_or_a_time(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = tiers("trade", 1000);
    kit_grow(log, 20, 3, 100);
    seal_all(archive, log);
    static const struct { uint64_t until, until_ns, last, cut; } rows[] = {
        {0, 0, 60, 0}, {60, 0, 60, 0}, {99, 0, 60, 0}, {30, 0, 30, 0}, {31, 0, 30, 31}, {29, 0, 27, 29}, {2, 0, 0, 2},
        {0, 1007, 3, 0}, {0, 1006, 0, 0}, {0, 4006, 3, 0}, {0, 4007, 6, 0}, {0, UINT64_MAX, 60, 0}, {5, 1007, 3, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[16];
        uint64_t cut = 0;
        (void)snprintf(name, sizeof name, "cut%zu", i);
        stoa_journal *copy = sim(name);
        stoa_import import = {.until = rows[i].until, .until_ns = rows[i].until_ns, .cut = cut_here, .context = &cut};
        kit_ok(stoa_archive_import(archive, copy, &import, NULL, NULL));
        kit_check_all(copy, rows[i].last);
        assert_int_equal(cut, rows[i].cut);
        copy->ops->close(copy);
    }
    stoa_archive_close(archive);
    log->ops->close(log);
}

/* --- another log */

static void a_log_that_is_another_one_is_refused(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *other = sim("other"), *shorter = sim("shorter");
    stoa_archive *archive = tiers("trade", 1000);
    kit_grow(log, 10, 3, 100);
    seal_all(archive, log);
    kit_grow(other, 1, 3, 101); /* another first block */
    kit_grow(other, 11, 3, 100);
    kit_grow(shorter, 9, 3, 100);
    const stoa_extent extent = {.until = UINT64_MAX, .rest = true, .open = true};
    kit_err(stoa_archive_extend(archive, other, &extent, NULL), STOA_E_FORKED);
    kit_err(stoa_archive_extend(archive, shorter, &extent, NULL), STOA_E_FORKED);
    stoa_journal *twin = sim("twin");
    kit_grow(twin, 1, 3, 99);
    kit_grow(twin, 9, 3, 100); /* as long as the archive */
    kit_err(stoa_archive_extend(archive, twin, &extent, NULL), STOA_E_FORKED);
    assert_int_equal(stoa_archive_last(archive, false), 30);
    imports_equal(archive, log, "copy");
    stoa_archive_close(archive);
    log->ops->close(log);
    other->ops->close(other);
    shorter->ops->close(shorter);
    twin->ops->close(twin);
}

static void an_open_segment_of_a_tail_that_was_lost_heals_itself(void **state)
{
    (void)state;
    stoa_journal *log = sim("log"), *again = sim("again");
    stoa_archive *archive = tiers("trade", 100000);
    kit_grow(log, 4, 3, 100);
    kit_grow(again, 4, 3, 100);
    const stoa_extent extent = {.until = 12, .rest = true, .open = true};
    kit_grow(log, 3, 3, 100);
    kit_ok(stoa_archive_extend(archive, log, &extent, NULL));
    kit_grow(again, 5, 2, 70); /* what was written after a crash took the unsynced tail */
    kit_ok(stoa_archive_extend(archive, again, &extent, NULL));
    imports_equal(archive, again, "copy");
    stoa_archive_close(archive);
    log->ops->close(log);
    again->ops->close(again);
}

/* --- tiers, holds, the end */

static void tiers_are_moved_through_and_hold_stops_all(void **state)
{
    (void)state;
    stoa_journal *log = sim("log");
    stoa_archive *archive = tiers("trade", 1000);
    kit_grow(log, 20, 3, 400);
    seal_all(archive, log);
    kit_ok(stoa_archive_move(archive, 0, STOA_TIER_COLD, NULL));
    kit_ok(stoa_archive_move(archive, 0, STOA_TIER_ARCHIVE, NULL));
    kit_ok(stoa_archive_move(archive, 1, STOA_TIER_ARCHIVE, NULL));
    kit_err(stoa_archive_move(archive, 0, STOA_TIER_WARM, NULL), STOA_E_INVALID);
    kit_err(stoa_archive_move(archive, 99, STOA_TIER_COLD, NULL), STOA_E_INVALID);
    assert_int_equal(files_in("cold/trade"), 2);
    assert_int_equal(files_in("warm/trade"), 8);
    imports_equal(archive, log, "copy");

    uint64_t verified = 0;
    kit_ok(stoa_archive_hold(archive, "case 7"));
    kit_err(stoa_archive_expire(archive, 1, NULL), STOA_E_DENIED);
    kit_err(stoa_archive_move(archive, 2, STOA_TIER_COLD, NULL), STOA_E_DENIED);
    stoa_archive_close(archive);
    archive = tiers("trade", 1000); /* a hold outlives the process */
    kit_err(stoa_archive_expire(archive, 1, NULL), STOA_E_DENIED);
    kit_ok(stoa_archive_hold(archive, ""));
    kit_err(stoa_archive_expire(archive, 10, NULL), STOA_E_INVALID); /* never the last one */
    kit_err(stoa_archive_expire(archive, 3, NULL), STOA_E_GAP); /* nothing stands for it */
    kit_snapshot(log);
    kit_ok(stoa_archive_take_snapshot(archive, log, &(const stoa_archive_window){.at_most = UINT64_MAX}, NULL, &verified));
    kit_ok(stoa_archive_expire(archive, 3, NULL));
    assert_int_equal(stoa_archive_first(archive), 19);
    assert_int_equal(files_in("cold/trade") + files_in("warm/trade"), 7);
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, NULL, &verified));
    assert_int_equal(verified, 60);
    stoa_journal *copy = sim("copy 2");
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, NULL));
    kit_check_from(copy, 19, 60);
    kit_grow(log, 5, 3, 400); /* and it goes on */
    seal_all(archive, log);
    assert_int_equal(stoa_archive_last(archive, true), 75);
    copy->ops->close(copy);
    stoa_archive_close(archive);
    log->ops->close(log);
}

static void a_hold_is_text_that_can_be_read_again(void **state)
{
    (void)state;
    char longest[STOA_HOLD_MAX + 2];
    stoa_archive *archive = tiers("trade", 0);
    static const char *const no_text[] = {"case\n7", "\x01", "case \x7f", "\xe4", "caf\xe9 7", "\xc3"};
    for (size_t i = 0; i < sizeof no_text / sizeof no_text[0]; i++) { kit_err(stoa_archive_hold(archive, no_text[i]), STOA_E_INVALID); }
    memset(longest, '"', sizeof longest);
    longest[STOA_HOLD_MAX + 1] = '\0';
    kit_err(stoa_archive_hold(archive, longest), STOA_E_INVALID);
    longest[STOA_HOLD_MAX] = '\0';
    const char *const good[] = {longest, "Fall \xc3\xa4 \\ 7", ""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        kit_ok(stoa_archive_hold(archive, good[i]));
        stoa_archive_close(archive);
        archive = tiers("trade", 0);
        stoa_manifest m = looked(archive);
        assert_string_equal(m.hold, good[i]);
        stoa_manifest_deinit(&m);
    }
    stoa_archive_close(archive);
}

/* --- progress */

typedef struct told {
    const char *step;
    uint64_t position, last, raw_bytes, calls;
    bool good; /* it never went back, nor beyond its end, and was of this step and shard */
    stoa_err answer;
} told;

static stoa_err hear(void *context, const stoa_progress *p)
{
    told *t = context;
    t->good &= strcmp(p->step, t->step) == 0 && strcmp(p->shard, "trade") == 0;
    t->good &= p->position > t->position && p->position <= p->last && p->raw_bytes > t->raw_bytes && (t->calls == 0 || p->last == t->last);
    t->position = p->position;
    t->last = p->last;
    t->raw_bytes = p->raw_bytes;
    t->calls++;
    return t->calls == 3 ? t->answer : STOA_OK;
}

static void ended_at(const told *t, uint64_t calls, uint64_t position, uint64_t raw_bytes)
{
    assert_true(t->good);
    assert_int_equal(t->calls, calls);
    assert_int_equal(t->position, position);
    assert_int_equal(t->last, position);
    assert_int_equal(t->raw_bytes, raw_bytes);
}

static void progress_says_where_it_is_and_where_it_will_end(void **state)
{
    (void)state;
    enum { GROWN = 12, LAST = GROWN * 3 };
    stoa_journal *log = sim("log"), *copy = sim("copy"), *other = sim("other");
    stoa_archive *archive = tiers("trade", 1000);
    kit_grow(log, GROWN, 3, 400);
    told sealing = {.step = "seal", .good = true};
    kit_ok(stoa_archive_extend(archive, log, &(const stoa_extent){.until = UINT64_MAX, .rest = true},
                               &(const stoa_progress_to){hear, &sealing}));
    stoa_manifest m = looked(archive);
    uint64_t raw_bytes = 0, verified;
    for (uint32_t i = 0; i < m.count; i++) { raw_bytes += m.entries[i].segment.raw_bytes; }
    ended_at(&sealing, GROWN, LAST, raw_bytes);
    told proving = {.step = "verify", .good = true};
    kit_ok(stoa_archive_verify(archive, UINT64_MAX, &(const stoa_progress_to){hear, &proving}, &verified));
    ended_at(&proving, m.count, LAST, raw_bytes);
    told importing = {.step = "import", .good = true};
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, &(const stoa_progress_to){hear, &importing}, NULL));
    ended_at(&importing, GROWN, LAST, raw_bytes);
    told stopped = {.step = "import", .good = true, .answer = STOA_E_CANCELLED}; /* who hears of it can end it */
    kit_err(stoa_archive_import(archive, other, &(const stoa_import){0}, &(const stoa_progress_to){hear, &stopped}, NULL), STOA_E_CANCELLED);
    assert_true(stopped.good && stopped.calls == 3 && stopped.position == 9 && stopped.last == LAST);
    stoa_manifest_deinit(&m);
    stoa_archive_close(archive);
    log->ops->close(log);
    copy->ops->close(copy);
    other->ops->close(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_log_makes_an_empty_archive),
        TEST(an_archive_is_written_by_one_at_a_time),
        TEST(full_segments_are_sealed_and_the_rest_waits),
        TEST(an_open_segment_is_replaced_when_the_log_goes_on),
        TEST(any_log_sealed_in_any_way_comes_back_the_same),
        TEST(the_hashes_survive_rocksdb_archive_rocksdb),
        TEST(a_read_begins_with_the_block_that_holds_the_position),
        TEST(an_import_ends_at_a_position_or_a_time),
        TEST(a_log_that_is_another_one_is_refused),
        TEST(an_open_segment_of_a_tail_that_was_lost_heals_itself),
        TEST(tiers_are_moved_through_and_hold_stops_all),
        TEST(a_hold_is_text_that_can_be_read_again),
        TEST(progress_says_where_it_is_and_where_it_will_end),
    };
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
