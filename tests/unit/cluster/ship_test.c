/* ship_test.c - goal: a copy of a log (cluster/ship/log.h) is the log, block by block and with its newest snapshot, whatever restarts
 * and whatever the link does; and what is not the log's continuation is refused by name. Method: a log and a copy on simulated
 * disks, two ends of a simulated link with faults, one thread; choices come from a printed seed; set STOA_TEST_SEED to repeat.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/snapshot_kit.h"

#include <poll.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "cluster/ship/log.h"
#include "storage/block.h"
#include "storage/sim/journal.h"

enum { RING_BYTES = 64 * 1024, FRAME_LIMIT = 8192, DEADLINE_S = 60, STEP_MAX_MS = 20, AGAIN_MS = 10 };

typedef struct side {
    stoa_link *link;
    stoa_peer peer;
    stoa_ship *ship; /* NULL: this side is not there */
} side;

typedef struct world {
    stoa_journal *log, *copy;
    stoa_log_out *out;
    stoa_log_in *in;
    side sides[2]; /* the log's, the copy's */
    char address[160];
    uint64_t incarnation;
    stoa_random random;
} world;

static uint64_t seed;

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* --- sides */

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    side *s = context;
    (void)identity;
    if (peer == s->peer && s->ship) { (void)stoa_ship_take(s->ship, bytes, size_bytes, now_ns()); }
}

static void on_up(void *context, stoa_peer peer)
{
    side *s = context;
    s->peer = peer;
    if (s->ship) { stoa_ship_up(s->ship, s->link, peer, now_ns()); }
}

static void on_down(void *context, stoa_peer peer)
{
    side *s = context;
    if (peer == s->peer && s->ship) { stoa_ship_down(s->ship); }
}

static void side_open(world *w, unsigned which)
{
    stoa_link_options options = {.listen = which == 0, .frame_limit = FRAME_LIMIT, .queue_frames = 64};
    kit_ok(stoa_link_open(w->address, &options, &w->sides[which].link));
}

static void side_close(side *s)
{
    if (s->ship) { stoa_ship_down(s->ship); }
    if (s->link) { s->link->ops->close(s->link, 0); }
    *s = (side){0};
}

static stoa_log_options options_of(world *w, stoa_journal *journal)
{
    return (stoa_log_options){.journal = journal,
                              .incarnation = ++w->incarnation,
                              .ring_bytes = RING_BYTES,
                              .frame_limit = FRAME_LIMIT,
                              .again_ns = STOA_MS(AGAIN_MS)};
}

static void log_begin(world *w)
{
    stoa_log_options options = options_of(w, w->log);
    kit_ok(stoa_log_out_new(&options, &w->out));
    side_open(w, 0);
    w->sides[0].ship = stoa_log_out_ship(w->out);
}

static void log_end(world *w)
{
    side_close(&w->sides[0]);
    stoa_log_out_free(w->out);
    w->out = NULL;
}

static void copy_begin(world *w)
{
    kit_ok(stoa_journal_sim.open("sim:copy", &w->copy));
    stoa_log_options options = options_of(w, w->copy);
    kit_ok(stoa_log_in_new(&options, &w->in));
    side_open(w, 1);
    w->sides[1].ship = stoa_log_in_ship(w->in);
}

static void copy_end(world *w)
{
    side_close(&w->sides[1]);
    stoa_log_in_free(w->in);
    w->in = NULL;
    if (w->copy) { w->copy->ops->close(w->copy); }
    w->copy = NULL;
}

/* Power fails under it. */
static void copy_crash(world *w)
{
    stoa_sim_disk *disk;
    kit_ok(stoa_sim_disk_get("copy", seed, &disk));
    stoa_sim_disk_crash(disk);
    copy_end(w);
}

static void run(world *w, uint64_t committed)
{
    uint64_t next_ns = UINT64_MAX;
    struct pollfd fds[2];
    nfds_t count = 0;
    for (unsigned i = 0; i < 2; i++) {
        side *s = &w->sides[i];
        if (!s->link) { continue; }
        stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .context = s};
        while (s->link->ops->poll(s->link, &events, 16) == 16) {}
        uint64_t at_ns = i == 0 ? stoa_log_out_step(w->out, committed, now_ns()) : stoa_log_in_step(w->in, now_ns());
        next_ns = at_ns < next_ns ? at_ns : next_ns;
        fds[count++] = (struct pollfd){.fd = s->link->ops->fd(s->link), .events = POLLIN};
    }
    uint64_t is_ns = now_ns(), wait_ms = next_ns > is_ns ? (next_ns - is_ns) / 1000000 : 0;
    (void)poll(fds, count, wait_ms < STEP_MAX_MS ? (int)wait_ms : STEP_MAX_MS);
}

static stoa_log_out_view out_view(const world *w)
{
    stoa_log_out_view view;
    stoa_log_out_look(w->out, &view);
    return view;
}

/* Until the log knows that the copy has that much, and this snapshot. */
static void run_until(world *w, uint64_t last, uint64_t snapshot)
{
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); now_ns() < until_ns;) {
        stoa_log_out_view view = out_view(w);
        if (view.err) { fail_msg("%s\n%s", stoa_err_name(view.err), stoa_err_trail()); }
        if (view.copy.last >= last && view.copy.snapshot >= snapshot) { return; }
        run(w, UINT64_MAX);
    }
    fail_msg("the copy has not come to %llu in time", (unsigned long long)last);
}

static void run_until_refused(world *w, stoa_err why)
{
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); now_ns() < until_ns && !out_view(w).err;) {
        run(w, UINT64_MAX);
    }
    assert_int_equal(out_view(w).err, why);
}

/* Bytes as they are stored, and where the chain ends. */
static void assert_same(world *w)
{
    stoa_journal_state a, b;
    uint64_t verified;
    w->log->ops->state(w->log, &a);
    w->copy->ops->state(w->copy, &b);
    assert_int_equal(b.last, a.last);
    assert_int_equal(b.first, a.first);
    assert_int_equal(b.epoch, a.epoch);
    assert_memory_equal(&b.hash, &a.hash, sizeof a.hash);
    kit_ok(stoa_journal_verify(w->copy, &verified));
    assert_int_equal(verified, a.last);
    if (a.first <= a.last) { kit_check_from(w->copy, a.first, a.last); }
}

static void grow(world *w, unsigned blocks)
{
    for (unsigned i = 0; i < blocks; i++) {
        kit_ok(kit_append(w->log, kit_last(w->log) + 1, 1 + (uint32_t)stoa_random_below(&w->random, 5),
                          (uint32_t)stoa_random_below(&w->random, 6000), false));
    }
    kit_ok(w->log->ops->sync(w->log));
}

/* --- the tests */

static void a_copy_is_the_log_and_has_its_newest_snapshot(void **state)
{
    world *w = *state;
    grow(w, 60);
    kit_snapshot(w->log);
    uint64_t at = kit_last(w->log);
    log_begin(w);
    copy_begin(w);
    run_until(w, at, at);
    grow(w, 40);
    run_until(w, kit_last(w->log), at);
    assert_same(w);
    kit_check_snapshot(w->copy, at);
    stoa_log_in_view view;
    stoa_log_in_look(w->in, &view);
    assert_true(view.syncs < view.blocks); /* one for many */
}

static void whoever_restarts_the_copy_goes_on(void **state)
{
    world *w = *state;
    log_begin(w);
    copy_begin(w);
    for (unsigned i = 0; i < 12; i++) {
        grow(w, 20);
        if (i % 4 == 1) { kit_snapshot(w->log); }
        for (uint64_t n = stoa_random_below(&w->random, 12); n > 0; n--) { run(w, UINT64_MAX); }
        if (i % 3 == 0) { copy_crash(w), copy_begin(w); }
        if (i % 3 == 1) { log_end(w), log_begin(w); }
        if (i % 3 == 2) { side_close(&w->sides[1]), side_open(w, 1), w->sides[1].ship = stoa_log_in_ship(w->in); }
    }
    kit_snapshot(w->log);
    grow(w, 1);
    run_until(w, kit_last(w->log), kit_last(w->log) - 5);
    assert_same(w);
    stoa_log_in_view view;
    stoa_log_in_look(w->in, &view);
    kit_check_snapshot(w->copy, view.at.snapshot);
}

/* What came of a snapshot before a restart does not come again. */
static void a_snapshot_goes_on_where_it_broke_off(void **state)
{
    world *w = *state;
    grow(w, 3);
    kit_snapshot(w->log);
    uint64_t at = kit_last(w->log), entries = 0, restarts = 0;
    log_begin(w);
    copy_begin(w);
    stoa_log_in_view view = {0};
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); view.at.snapshot < at && now_ns() < until_ns;) {
        run(w, UINT64_MAX);
        stoa_log_in_look(w->in, &view);
        if (view.entries == 0 || view.at.snapshot == at || restarts == 3) { continue; }
        entries += view.entries;
        restarts++;
        copy_end(w); /* keeps what was put */
        copy_begin(w);
    }
    assert_int_equal(view.at.snapshot, at);
    kit_check_snapshot(w->copy, at);
    assert_int_equal(restarts, 3);
    assert_int_equal(entries + view.entries, KIT_CHUNKS + 2); /* but for the zero one, with the small one and the manifest */
}

static void a_block_larger_than_the_ring_is_copied(void **state)
{
    world *w = *state;
    kit_ok(kit_append(w->log, 1, 3, 5 * RING_BYTES, true));
    grow(w, 3);
    log_begin(w);
    copy_begin(w);
    run_until(w, kit_last(w->log), 0);
    assert_same(w);
}

static void what_is_not_committed_stays(void **state)
{
    world *w = *state;
    kit_grow(w->log, 10, 2, 100);
    log_begin(w);
    copy_begin(w);
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); out_view(w).copy.last < 12 && now_ns() < until_ns;) { run(w, 13); }
    for (int i = 0; i < 10; i++) { run(w, 13); }
    assert_int_equal(out_view(w).copy.last, 12); /* the block of 13 and 14 is committed as a whole */
    run_until(w, 20, 0);
}

static void a_copy_begins_behind_what_was_purged(void **state)
{
    world *w = *state;
    grow(w, 40);
    kit_ok(w->log->ops->purge(w->log, 30));
    kit_snapshot(w->log);
    log_begin(w);
    copy_begin(w);
    run_until(w, kit_last(w->log), kit_last(w->log));
    assert_same(w);
    kit_check_snapshot(w->copy, kit_last(w->log));
    stoa_journal_state at;
    w->copy->ops->state(w->copy, &at);
    assert_true(at.begun > 0 && at.begun < 30);
}

static void a_copy_that_ends_before_what_is_left_is_not_served(void **state)
{
    world *w = *state;
    grow(w, 5);
    log_begin(w);
    copy_begin(w);
    run_until(w, kit_last(w->log), 0);
    copy_end(w);
    grow(w, 40);
    kit_ok(w->log->ops->purge(w->log, kit_last(w->log) - 10));
    copy_begin(w);
    run_until_refused(w, STOA_E_GONE);
}

static void another_history_is_not_served(void **state)
{
    world *w = *state;
    grow(w, 5);
    stoa_journal *copy;
    kit_ok(stoa_journal_sim.open("sim:copy", &copy));
    kit_ok(kit_append(copy, 1, 2, 77, true));
    copy->ops->close(copy);
    log_begin(w);
    copy_begin(w);
    run_until_refused(w, STOA_E_FORKED);
    assert_int_equal(kit_last(w->copy), 2);
}

static void a_copy_that_is_ahead_is_not_served(void **state)
{
    world *w = *state;
    stoa_journal *copy;
    kit_ok(stoa_journal_sim.open("sim:copy", &copy));
    kit_grow(copy, 5, 2, 50);
    copy->ops->close(copy);
    kit_grow(w->log, 3, 2, 50); /* the same as far as it goes */
    log_begin(w);
    copy_begin(w);
    run_until_refused(w, STOA_E_FORKED);
}

static void a_full_disk_is_waited_for(void **state)
{
    world *w = *state;
    stoa_sim_disk *disk;
    grow(w, 20);
    log_begin(w);
    copy_begin(w);
    kit_ok(stoa_sim_disk_get("copy", seed, &disk));
    stoa_sim_disk_fill(disk, 7);
    run_until(w, kit_last(w->log), 0);
    assert_same(w);
}

/* --- who ships what is not so: records made by hand, over the copy's own link */

static uint8_t *stolen;
static size_t stolen_bytes;

static stoa_err steal(void *context, const void *bytes, size_t size_bytes)
{
    (void)context;
    memcpy(stolen, bytes, size_bytes);
    stolen_bytes = size_bytes;
    return STOA_E_CANCELLED;
}

static void on_forger_begun(void *context, stoa_ship *ship, bool resumed, uint64_t lost)
{
    (void)ship, (void)lost;
    *(bool *)context = !resumed;
}

/* Ship these bytes as a part of an item; the copy's answer. */
static stoa_err forge(world *w, uint8_t item, bool last, const void *bytes, size_t size_bytes)
{
    bool begun = false;
    stoa_ship_options options = {.sends = true,
                                 .incarnation = ++w->incarnation,
                                 .ring_bytes = RING_BYTES,
                                 .frame_limit = FRAME_LIMIT,
                                 .again_ns = STOA_MS(AGAIN_MS),
                                 .events = {.begun = on_forger_begun, .context = &begun}};
    uint8_t record[RING_BYTES / 4] = {item, last};
    memcpy(record + 8, bytes, size_bytes);
    stoa_ship *forger;
    kit_ok(stoa_ship_new(&options, &forger));
    side_open(w, 0);
    w->sides[0].ship = forger;
    copy_begin(w);
    stoa_log_in_view view = {0};
    bool sent = false;
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); !view.at.refused && now_ns() < until_ns;) {
        for (unsigned i = 0; i < 2; i++) {
            side *s = &w->sides[i];
            stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .context = s};
            while (s->link->ops->poll(s->link, &events, 16) == 16) {}
        }
        if (begun && !sent) { sent = stoa_ship_send(forger, record, (uint32_t)size_bytes + 8) == STOA_OK; }
        (void)stoa_ship_step(forger, now_ns());
        (void)stoa_log_in_step(w->in, now_ns());
        stoa_log_in_look(w->in, &view);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(kit_last(w->copy), 4);
    side_close(&w->sides[0]);
    stoa_ship_free(forger);
    copy_end(w);
    return view.at.refused;
}

/* A sound block of that place, behind another one. */
static void reforge(uint8_t *bytes)
{
    kit_block made = kit_make(5, 2, 400, 1);
    stoa_hash256 other = {{1}}, hash;
    stoa_block_encode(&made.block, &other, bytes, &hash);
    stolen_bytes = stoa_block_bytes(&made.block);
    kit_drop(&made);
}

static void what_does_not_continue_the_copy_is_refused(void **state)
{
    world *w = *state;
    stolen = malloc(RING_BYTES);
    assert_non_null(stolen);
    kit_grow(w->log, 4, 2, 400);
    kit_ok(stoa_journal_sim.open("sim:copy", &w->copy));
    kit_grow(w->copy, 2, 2, 400);
    w->copy->ops->close(w->copy);
    enum { BLOCK = 1, ENTRY = 3 };
    kit_err(w->log->ops->read_stored(w->log, 7, steal, NULL), STOA_E_CANCELLED);
    assert_int_equal(forge(w, BLOCK, true, stolen, stolen_bytes), STOA_E_FORKED); /* one is missing between */
    kit_err(w->log->ops->read_stored(w->log, 5, steal, NULL), STOA_E_CANCELLED);
    stolen[stolen_bytes - 1] ^= 1;
    assert_int_equal(forge(w, BLOCK, true, stolen, stolen_bytes), STOA_E_CORRUPT);
    kit_err(w->log->ops->read_stored(w->log, 5, steal, NULL), STOA_E_CANCELLED);
    reforge(stolen);
    assert_int_equal(forge(w, BLOCK, true, stolen, stolen_bytes), STOA_E_FORKED); /* behind another block */
    assert_int_equal(forge(w, 9, true, stolen, 10), STOA_E_MALFORMED);
    assert_int_equal(forge(w, 0, true, stolen, 10), STOA_E_MALFORMED);
    free(stolen);
}

/* --- worlds */

static int world_open(void **state)
{
    static unsigned count;
    world *w = calloc(1, sizeof *w);
    if (!w) { return -1; }
    stoa_random_seed(&w->random, seed + count);
    (void)snprintf(w->address, sizeof w->address, "fault+sim://log-%u?loss=20&dup=20&reorder=20&seed=%llu", count++,
                   (unsigned long long)seed);
    kit_ok(stoa_journal_sim.open("sim:log", &w->log));
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    copy_end(w);
    if (w->out) { log_end(w); }
    w->log->ops->close(w->log);
    stoa_sim_disks_free();
    free(w);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const char *given = getenv("STOA_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {
        T(a_copy_is_the_log_and_has_its_newest_snapshot),
        T(whoever_restarts_the_copy_goes_on),
        T(a_snapshot_goes_on_where_it_broke_off),
        T(a_block_larger_than_the_ring_is_copied),
        T(what_is_not_committed_stays),
        T(a_copy_begins_behind_what_was_purged),
        T(a_copy_that_ends_before_what_is_left_is_not_served),
        T(another_history_is_not_served),
        T(a_copy_that_is_ahead_is_not_served),
        T(a_full_disk_is_waited_for),
        T(what_does_not_continue_the_copy_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
