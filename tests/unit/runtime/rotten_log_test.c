/* rotten_log_test.c - goal: an event that has the right hash and cannot be - of a hostile archive, or of a build with a bug - is CORRUPT
 * with its position and its row, wherever the log is read: a shard that opens, one that is dropped, a replay beside, time travel; and a
 * snapshot that no events have made is not used. Nothing of it ends the process.
 * Method: logs written event by event into simulated journals, one row of the ledger or of an actor after the other with a number
 * that makes no sense; images of folds that were changed by hand before.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "runtime/follow.h"
#include "runtime/internal.h"
#include "runtime/log_reader.h"
#include "runtime/shard.h"
#include "runtime/sim.h"
#include "storage/sim/journal.h"

/* --- a kind whose apply asks for something */

#define shelf_fill_FIELDS(F, S)   F(S, uint64_t, at) F(S, uint64_t, with)
#define shelf_done_FIELDS         STOA_NO_FIELDS
#define shelf_filled_FIELDS(F, S) F(S, uint64_t, at) F(S, uint64_t, with)
#define shelf_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, fill, done, "Fill a place.")                                                                       \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, EVENT, filled, _, "A place was filled.")
STOA_TABLE_HERE(shelf)
typedef struct shelf {
    uint64_t places[8];
} shelf;
#define shelf_HEARS STOA_HEARS_NOTHING
static void inspect(const void *state, stoa_buf *out)
{
    stoa_buf_printf(out, "{\"first\":%llu}", (unsigned long long)((const shelf *)state)->places[0]);
}
STOA_KIND(shelf, .inspect = inspect)

static stoa_err shelf_on_fill(stoa_turn *turn, const shelf *self, const shelf_fill *in, shelf_done *out)
{
    (void)out;
    if (in->at >= 8 || self->places[in->at]) { return STOA_E_INVALID; }
    return shelf_emit_filled(turn, (shelf_filled){in->at, in->with});
}
static void shelf_apply_filled(shelf *self, const shelf_filled *event)
{
    STOA_ASSERT(event->at < 8 && !self->places[event->at]);
    self->places[event->at] = event->with;
}

static const stoa_kind *const kinds[] = {&shelf_kind, NULL};

/* --- logs by hand */

typedef struct scribe {
    stoa_journal *journal;
    uint64_t position, seqs[2];
} scribe;

static scribe begin(void)
{
    scribe s = {.position = 0};
    stoa_sim_disks_free();
    assert_int_equal(stoa_journal_sim.open("sim:rotten", &s.journal), STOA_OK);
    return s;
}

static void write_event(scribe *s, uint32_t stream, const stoa_row *row, const void *payload)
{
    static uint8_t bytes[16384];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_write_array(&w, 10);
    const uint64_t fields[] = {1, row->id, 1, stream, ++s->seqs[stream], 1, 0, 0, 0};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) { stoa_write_uint(&w, fields[i]); }
    assert_int_equal(stoa_encode(&row->payload, payload, &w), STOA_OK);
    assert_false(w.cut);
    stoa_block block = {
        .first = ++s->position, .epoch = 1, .commit_ns = s->position, .count = 1, .payload = bytes, .payload_bytes = (uint32_t)w.used_bytes};
    assert_int_equal(s->journal->ops->append(s->journal, &block, true), STOA_OK);
}
#define OWN(s, name, ...)                                                                                              \
    write_event((s), 0, &stoa_shard_log_rows[stoa_shard_log_ROW_##name], &(stoa_shard_log_##name){__VA_ARGS__})

static void write_shelf(scribe *s, uint64_t at, uint64_t with)
{
    write_event(s, 1, &shelf_rows[shelf_ROW_filled], &(shelf_filled){at, with});
}

/* A shelf, and an event of it. */
static scribe begin_with_shelf(void)
{
    scribe s = begin();
    OWN(&s, spawned, .stream = 1, .kind = stoa_text("shelf"), .name = stoa_text("shelf/a"));
    write_shelf(&s, 0, 7);
    return s;
}

static void end(scribe *s)
{
    stoa_journal_sim.close(s->journal);
}

/* --- readers */

static void assert_told(uint64_t position, const char *what)
{
    char where[32];
    (void)snprintf(where, sizeof where, "position %llu:", (unsigned long long)position);
    if (!strstr(stoa_err_trail(), where) || !strstr(stoa_err_trail(), what)) { fail_msg("%s, %s: %s", where, what, stoa_err_trail()); }
}

static const stoa_shard_options rotten = {
    .name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:rotten"};

/* As a shard that opens, and as a replay of a journal that nobody has open. */
static void assert_refused(scribe *s, const char *what)
{
    uint64_t position = s->position, hash;
    stoa_log_reader *reader;
    assert_int_equal(stoa_log_open_journal(s->journal, kinds, "s", &reader), STOA_OK);
    assert_int_equal(stoa_log_hash(reader, UINT64_MAX, &hash, NULL), STOA_E_CORRUPT);
    assert_told(position, what);
    assert_int_equal(stoa_log_hash(reader, position - 1, &hash, NULL), STOA_OK); /* what lies before is what it was */
    stoa_log_close(reader);
    end(s);

    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard = NULL;
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 1, .kinds = kinds}, &sim, &node), STOA_OK);
    assert_int_equal(stoa_shard_open(node, &rotten, &shard), STOA_E_CORRUPT);
    assert_told(position, what);
    assert_null(shard);
    assert_int_equal(stoa_find(node, "shelf/a").at, 0);
    stoa_sim_free(sim);
}

/* --- events that cannot be */

static void one_that_its_kind_cannot_apply_is_named(void **state)
{
    (void)state;
    scribe s = begin_with_shelf();
    write_shelf(&s, 1 << 20, 1);
    assert_refused(&s, "shelf.filled");
    s = begin_with_shelf();
    write_shelf(&s, 0, 8); /* twice */
    assert_refused(&s, "shelf.filled");
}

#define REFUSED(text, name, ...)                                                                                       \
    do {                                                                                                               \
        scribe at_ = begin_with_shelf();                                                                               \
        OWN(&at_, name, __VA_ARGS__);                                                                                  \
        assert_refused(&at_, "stoa_shard_log." #name);                                                                 \
        if (!strstr(stoa_err_trail(), text)) { fail_msg("%s: %s", text, stoa_err_trail()); }                            \
    } while (0)
#define S .shard = stoa_text("b")

static void numbers_of_channels_are_looked_at(void **state)
{
    (void)state;
    REFUSED("no such channel", mailed, .channel = 0, S, .stream = 1, .row = 1);
    REFUSED("no such channel", mailed, .channel = 33, S, .stream = 1, .row = 1);
    REFUSED("without a name", mailed, .channel = 1, .stream = 1, .row = 1);
    REFUSED("no actor", mailed, .channel = 1, S, .stream = 2, .row = 1);
    REFUSED("no row", mailed, .channel = 1, S, .stream = 1);
    REFUSED("later event", mailed, .channel = 1, S, .stream = 1, .row = 1, .position = 4);
    REFUSED("no such channel", acknowledged, .channel = UINT32_MAX);
    REFUSED("not mailed", acknowledged, .channel = 1, .seq = 1);
    REFUSED("no such channel", returned, .channel = 33);
    REFUSED("not mailed", returned, .channel = 1, .seq = 1);
    REFUSED("no such channel", restarted, .channel = 33, .generation = 1);
    REFUSED("number of a message", restarted, .channel = 1, .generation = 1, .base = UINT64_MAX);
    REFUSED("older beginning", restarted, .channel = 1);
    REFUSED("no such channel", contact, .channel = 33, .contact = 1);
    REFUSED("without a name", contact, .channel = 32, .contact = 1);
    REFUSED("none of those", contact, .channel = 1, .contact = 0);
    REFUSED("none of those", contact, .channel = 1, .contact = 3);
    REFUSED("no such channel", delivered, .channel = 33, S, .seq = 1);
    REFUSED("out of order", delivered, .channel = 1, S, .seq = 2);
    REFUSED("without a name", delivered, .channel = 1, .seq = 1);
    REFUSED("no such channel", refused, .channel = 0, S, .seq = 1, .error = -1);
    REFUSED("without an error", refused, .channel = 1, S, .seq = 1, .error = 1 << 16);
    REFUSED("no such channel", settled, .channel = 33);
    REFUSED("not taken", settled, .channel = 1, .seq = UINT64_MAX);
    REFUSED("no such channel", restarted_in, .channel = 33, S, .generation = 1);
    REFUSED("number of a message", restarted_in, .channel = 1, S, .generation = 1, .base = UINT64_MAX);
}

static void names_of_requests_and_effects_are_looked_at(void **state)
{
    (void)state;
    REFUSED("nobody", answered, .client = 0, .session = 1, .number = 1);
    REFUSED("nobody", answered, .client = 1, .session = 0, .number = 1);
    REFUSED("number of a request", answered, .client = 1, .session = 1, .number = 0);
    REFUSED("number of a request", answered, .client = 1, .session = 1, .number = UINT64_C(1) << 50);
    REFUSED("answered later", answered, .client = 1, .session = 1, .number = 1, .position = 4);
    REFUSED("no actor", effect, .stream = 2, .row = 1);
    REFUSED("no actor", effect, .stream = 0, .row = 1);
    REFUSED("no row", effect, .stream = 1);
    REFUSED("no row", effect, .stream = 1, .row = UINT64_C(1) << 32 | 1);
    REFUSED("later event", effect, .stream = 1, .row = 1, .position = 4);
}

static void a_ring_and_an_outbox_hold_so_much(void **state)
{
    (void)state;
    scribe s = begin_with_shelf();
    for (uint32_t i = 0; i < 4096; i++) { OWN(&s, mailed, .channel = 1, S, .stream = 1, .row = 1, .position = s.position + 1); }
    OWN(&s, mailed, .channel = 1, S, .stream = 1, .row = 1);
    assert_refused(&s, "more mail than waits");

    s = begin_with_shelf();
    for (uint32_t i = 0; i < 63; i++) { OWN(&s, mailed, .channel = 1, S, .stream = 1, .row = 1, .payload.count = 4090); }
    OWN(&s, mailed, .channel = 1, S, .stream = 1, .row = 1, .payload.count = 4096);
    assert_refused(&s, "more mail than the channel holds");

    s = begin_with_shelf();
    for (uint32_t i = 0; i < 254; i++) { OWN(&s, effect, .stream = 1, .row = 1, .n = i, .payload.count = 4090); }
    assert_refused(&s, "more effects than may be pending");
}

/* --- a log that breaks while a shard runs */

static void a_dropped_shard_stays_down_and_time_travel_says_why(void **state)
{
    (void)state;
    scribe s = begin_with_shelf();
    end(&s);
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard = NULL;
    char text[64];
    stoa_buf buf = STOA_BUF_FIXED(text);
    shelf_done done;
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 1, .kinds = kinds}, &sim, &node), STOA_OK);
    assert_int_equal(stoa_shard_open(node, &rotten, &shard), STOA_OK);
    s = (scribe){.journal = shard->journal, .position = 2, .seqs = {1, 1}};
    write_shelf(&s, 9, 1); /* behind its back */
    atomic_store(&shard->durable, 3);
    assert_int_equal(stoa_shard_state_at(shard, "shelf/a", 2, &buf, NULL), STOA_OK);
    assert_string_equal(text, "{\"first\":7}");
    assert_int_equal(stoa_shard_state_at(shard, "shelf/a", 3, &buf, NULL), STOA_E_CORRUPT);
    assert_told(3, "shelf.filled");
    assert_int_equal(stoa_shard_drop(shard, 0), STOA_E_CORRUPT);
    assert_told(3, "shelf.filled");
    assert_int_equal(shelf_call_fill(node, stoa_find(node, "shelf/a"), (shelf_fill){1, 1}, STOA_S(1), &done), STOA_E_UNAVAILABLE);
    stoa_sim_free(sim);
}

/* --- snapshots */

/* What is changed of the fold before its image is made. */
typedef void (*spoiler)(stoa_shard_log *ledger, shelf *a);

static void snapshot(scribe *s, spoiler spoil)
{
    stoa_log_reader *reader;
    stoa_fold fold;
    stoa_snapshot_store *store;
    stoa_imaging imaging;
    bool more = true;
    uint64_t put;
    assert_int_equal(stoa_log_open_journal(s->journal, kinds, "s", &reader), STOA_OK);
    assert_int_equal(stoa_fold_init(&fold, reader), STOA_OK);
    assert_int_equal(stoa_fold_until(&fold, UINT64_MAX), STOA_OK);
    assert_null(stoa_ledger_unsound(fold.states[0], 1, s->position));
    if (spoil) { spoil(fold.states[0], fold.states[1]); }
    stoa_log_end at = stoa_log_ended(reader);
    stoa_snapshot_info info = {.position = at.position, .epoch = at.epoch, .block = at.hash, .wall_ns = 1};
    assert_int_equal(stoa_snapshot_store_open(s->journal, &store), STOA_OK);
    assert_int_equal(stoa_imaging_begin(&imaging, store, &fold, &info, NULL, 0), STOA_OK);
    while (more) { assert_int_equal(stoa_imaging_go(&imaging, 64, &more), STOA_OK); }
    assert_int_equal(stoa_snapshot_end(store, imaging.bytes, &info, &put), STOA_OK);
    stoa_imaging_end(&imaging);
    stoa_snapshot_store_close(store);
    stoa_fold_deinit(&fold);
    stoa_log_close(reader);
}

/* The position of the snapshot that a shard over the log opens with. */
static uint64_t opens_from(scribe *s)
{
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard = NULL;
    stoa_shard_view view;
    end(s);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 1, .kinds = kinds}, &sim, &node), STOA_OK);
    if (stoa_shard_open(node, &rotten, &shard)) { fail_msg("%s", stoa_err_trail()); }
    assert_int_equal(stoa_shard_glance(shard, &view), STOA_OK);
    assert_int_equal(view.recovered, s->position);
    assert_true(stoa_find(node, "shelf/a").at != 0);
    stoa_sim_free(sim);
    return view.snapshot;
}

/* Something of everything. */
static scribe begin_full(void)
{
    scribe s = begin_with_shelf();
    for (uint64_t i = 1; i <= 3; i++) {
        OWN(&s, answered, .client = i, .session = i, .number = i, .position = s.position + 1, .reply.count = 100);
        OWN(&s, mailed, .channel = 1, S, .stream = 1, .row = 1, .position = s.position + 1, .payload.count = 10);
        OWN(&s, refused, .channel = 1, S, .seq = i, .error = -1);
        OWN(&s, effect, .epoch = 1, .position = s.position + 1, .stream = 1, .row = 1, .payload.count = 100);
    }
    return s;
}

static void spoil_request_list(stoa_shard_log *l, shelf *a) { (void)a; l->requests.requests.at[2].newer = 1 << 20; }
static void spoil_request_pool(stoa_shard_log *l, shelf *a) { (void)a; l->requests.requests.pool.free = 1 << 20; }
static void spoil_piece(stoa_shard_log *l, shelf *a) { (void)a; l->requests.pieces.at[1].next = 1; }
static void spoil_session(stoa_shard_log *l, shelf *a) { (void)a; l->requests.requests.at[1].session = UINT32_MAX; }
static void spoil_client(stoa_shard_log *l, shelf *a) { (void)a; l->requests.sessions.at[1].client = 2; }
static void spoil_map(stoa_shard_log *l, shelf *a) { (void)a; memset(l->requests.by_number.keys, 1, sizeof l->requests.by_number.keys); }
static void spoil_shares(stoa_shard_log *l, shelf *a) { (void)a; l->requests.shares.pieces[1] = 0; }
static void spoil_out_count(stoa_shard_log *l, shelf *a) { (void)a; l->channels.out_count = 33; }
static void spoil_ring(stoa_shard_log *l, shelf *a) { (void)a; l->channels.out[1].head += 8; }
static void spoil_mail(stoa_shard_log *l, shelf *a) { (void)a; ((stoa_mail *)(void *)l->channels.out[1].ring)->bytes = 1 << 20; }
static void spoil_mail_stream(stoa_shard_log *l, shelf *a) { (void)a; ((stoa_mail *)(void *)l->channels.out[1].ring)->stream = 9; }
static void spoil_tail(stoa_shard_log *l, shelf *a) { (void)a; l->channels.out[1].tail = UINT64_MAX - 7; }
static void spoil_contact(stoa_shard_log *l, shelf *a) { (void)a; l->channels.out[1].contact = 3; }
static void spoil_open(stoa_shard_log *l, shelf *a) { (void)a; l->channels.in[1].open = 4; }
static void spoil_settled(stoa_shard_log *l, shelf *a) { (void)a; l->channels.in[1].settled = 4; }
static void spoil_unused(stoa_shard_log *l, shelf *a) { (void)a; l->channels.in[32].shard.len = 60000; }
static void spoil_pending(stoa_shard_log *l, shelf *a) { (void)a; l->outbox.pending.at[2].newer = 2; }
static void spoil_oldest(stoa_shard_log *l, shelf *a) { (void)a; l->outbox.oldest = 1 << 20; }
static void spoil_payload(stoa_shard_log *l, shelf *a) { (void)a; l->outbox.pending.at[1].bytes = 1 << 20; }
static void spoil_stream(stoa_shard_log *l, shelf *a) { (void)a; l->outbox.pending.at[1].stream = 2; }
static void spoil_streams(stoa_shard_log *l, shelf *a) { (void)a; l->streams = UINT64_MAX; }

static void a_ledger_that_no_events_have_made_is_not_used(void **state)
{
    (void)state;
    static const spoiler spoilers[] = {spoil_request_list, spoil_request_pool, spoil_piece,  spoil_session,     spoil_client,
                                       spoil_map,          spoil_shares,       spoil_out_count, spoil_ring,     spoil_mail,
                                       spoil_mail_stream,  spoil_tail, spoil_contact,         spoil_open,   spoil_settled,     spoil_unused,
                                       spoil_pending,      spoil_oldest,       spoil_payload, spoil_stream,     spoil_streams};
    scribe s = begin_full();
    snapshot(&s, NULL);
    assert_int_equal(opens_from(&s), s.position);
    for (size_t i = 0; i < sizeof spoilers / sizeof spoilers[0]; i++) {
        s = begin_full();
        snapshot(&s, spoilers[i]);
        write_shelf(&s, 1, 1);
        uint64_t from = opens_from(&s);
        if (from) { fail_msg("the snapshot that spoiler %zu made was used", i); }
    }
}

static void an_older_snapshot_is_used_in_its_place(void **state)
{
    (void)state;
    scribe s = begin_full();
    snapshot(&s, NULL);
    uint64_t sound = s.position;
    write_shelf(&s, 1, 1);
    snapshot(&s, spoil_pending);
    assert_int_equal(opens_from(&s), sound);
}

static void spoil_shelf(stoa_shard_log *ledger, shelf *a)
{
    (void)ledger;
    a->places[5] = 1;
}

/* Nobody sees that the image is wrong; the log does. */
static void a_snapshot_that_the_log_cannot_follow_is_given_up(void **state)
{
    (void)state;
    scribe s = begin_full();
    snapshot(&s, NULL);
    uint64_t sound = s.position;
    write_shelf(&s, 1, 1);
    snapshot(&s, spoil_shelf);
    OWN(&s, spawned, .stream = 2, .kind = stoa_text("shelf"), .name = stoa_text("shelf/b"));
    write_shelf(&s, 5, 1);
    assert_int_equal(opens_from(&s), sound);
}

static int forget(void **state)
{
    (void)state;
    stoa_sim_disks_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(one_that_its_kind_cannot_apply_is_named, forget),
        cmocka_unit_test_teardown(numbers_of_channels_are_looked_at, forget),
        cmocka_unit_test_teardown(names_of_requests_and_effects_are_looked_at, forget),
        cmocka_unit_test_teardown(a_ring_and_an_outbox_hold_so_much, forget),
        cmocka_unit_test_teardown(a_dropped_shard_stays_down_and_time_travel_says_why, forget),
        cmocka_unit_test_teardown(a_ledger_that_no_events_have_made_is_not_used, forget),
        cmocka_unit_test_teardown(an_older_snapshot_is_used_in_its_place, forget),
        cmocka_unit_test_teardown(a_snapshot_that_the_log_cannot_follow_is_given_up, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
