/* log_reader_test.c - goal: a reader shows every committed event once, in order, under its actor's name, from wherever it
 * begins, also over a journal that nobody has open; times find positions; what is no event is refused by name. Method: two
 * actors of one kind in a simulated shard, readers at every position; then a journal into which a test writes by hand.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/wire.h"
#include "runtime/log_reader.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

#define jar_put_FIELDS(F, S)  F(S, uint64_t, coins)
#define jar_held_FIELDS(F, S) F(S, uint64_t, coins)
#define jar_got_FIELDS(F, S)  F(S, uint64_t, coins)
#define jar_ROWS(ROW, K)                                                                                               \
    ROW(K, COMMAND, put, held, "Put coins in, one by one.")                                                            \
    ROW(K, REPLY, held, _, "How many there are.")                                                                      \
    ROW(K, EVENT, got, _, "A coin came.")
STOA_TABLE_HERE(jar)

typedef struct jar {
    uint64_t coins;
} jar;
#define jar_HEARS STOA_HEARS_NOTHING
STOA_KIND(jar, .mailbox_limit = 64)

static stoa_err jar_on_put(stoa_turn *turn, const jar *self, const jar_put *in, jar_held *out)
{
    stoa_err err = STOA_OK;
    for (uint64_t i = 1; i <= in->coins && !err; i++) { err = jar_emit_got(turn, (jar_got){i}); }
    out->coins = self->coins + in->coins;
    return err;
}

static void jar_apply_got(jar *self, const jar_got *event)
{
    (void)event;
    self->coins++;
}

static const stoa_kind *const kinds[] = {&jar_kind, NULL};

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref one, two;
} world;

static void open_world(world *w)
{
    stoa_sim_options options = {.seed = 3, .kinds = kinds};
    assert_int_equal(stoa_sim_new(&options, &w->sim, &w->node), STOA_OK);
    stoa_shard_options shard = {
        .name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:jars"};
    assert_int_equal(stoa_shard_open(w->node, &shard, &w->shard), STOA_OK);
    stoa_spawn_options spawn = {.shard = w->shard};
    assert_int_equal(stoa_spawn(w->node, &jar_kind, "jar/one", &spawn, &w->one), STOA_OK);
    assert_int_equal(stoa_spawn(w->node, &jar_kind, "jar/two", &spawn, &w->two), STOA_OK);
}

static void put(world *w, stoa_ref into, uint64_t coins)
{
    jar_held held;
    assert_int_equal(jar_call_put(w->node, into, (jar_put){coins}, STOA_S(5), &held), STOA_OK);
}

/* Positions 1, 2: spawned. 3, 4, 5: one. 6, 7: two. 8: one. */
static void fill(world *w)
{
    open_world(w);
    put(w, w->one, 3);
    put(w, w->two, 2);
    put(w, w->one, 1);
}

static int forget(void **state)
{
    (void)state;
    stoa_sim_disks_free();
    return 0;
}

typedef struct seen {
    char text[512];
    uint64_t enough_at; /* position at which to say so; 0: never */
    uint64_t commit_ns, fell;
} seen;

static stoa_err see(void *context, const stoa_event_view *e)
{
    seen *s = context;
    stoa_buf out = {.at = s->text, .used_bytes = strlen(s->text), .cap_bytes = sizeof s->text};
    stoa_buf_printf(&out, "%u %s %s %u.%u; ", (unsigned)e->position, e->actor, e->row->name, (unsigned)e->stream,
                    (unsigned)e->seq);
    assert_string_equal(e->kind->name, e->row->kind);
    s->fell += e->commit_ns < s->commit_ns;
    s->commit_ns = e->commit_ns;
    return e->position == s->enough_at ? STOA_E_CANCELLED : STOA_OK;
}

static const char all[] = "1 s spawned 0.1; 2 s spawned 0.2; 3 jar/one got 1.1; 4 jar/one got 1.2; 5 jar/one got 1.3; "
                          "6 jar/two got 2.1; 7 jar/two got 2.2; 8 jar/one got 1.4; ";

/* What lies from position from on. */
static const char *behind(uint64_t from)
{
    const char *at = all;
    while (--from) { at = strchr(at, ';') + 2; }
    return at;
}

static void expect_from_everywhere(stoa_log_reader *reader)
{
    for (uint64_t from = 8; from >= 1; from--) {
        seen s = {.text = ""};
        uint64_t next = 0;
        assert_int_equal(stoa_log_read(reader, from, UINT64_MAX, see, &s, &next), STOA_OK);
        assert_string_equal(s.text, behind(from));
        assert_int_equal(next, 9);
        assert_int_equal(s.fell, 0);
    }
}

static void events_are_shown_once_and_in_order_from_every_position(void **state)
{
    (void)state;
    world w;
    fill(&w);
    stoa_log_reader *reader;
    assert_int_equal(stoa_log_open(w.shard, &reader), STOA_OK);
    expect_from_everywhere(reader);
    seen s = {.text = ""};
    uint64_t next;
    assert_int_equal(stoa_log_read(reader, 9, UINT64_MAX, see, &s, &next), STOA_OK); /* not there yet */
    assert_int_equal(next, 9);
    assert_int_equal(stoa_log_read(reader, 2, 3, see, &s, &next), STOA_OK);
    assert_int_equal(next, 4);
    assert_string_equal(s.text, "2 s spawned 0.2; 3 jar/one got 1.1; ");
    s = (seen){.enough_at = 4};
    assert_int_equal(stoa_log_read(reader, 4, UINT64_MAX, see, &s, &next), STOA_OK);
    assert_string_equal(s.text, "4 jar/one got 1.2; ");
    assert_int_equal(next, 5);
    assert_int_equal(stoa_log_read(reader, 0, 1, see, &s, &next), STOA_E_INVALID);
    stoa_log_close(reader);
    stoa_sim_free(w.sim);
}

static void one_stream_can_be_read_alone(void **state)
{
    (void)state;
    world w;
    fill(&w);
    stoa_log_reader *reader;
    uint32_t stream = 0;
    seen s = {.text = ""};
    assert_int_equal(stoa_log_open(w.shard, &reader), STOA_OK);
    assert_ptr_equal(stoa_log_actor(reader, "jar/two", &stream), &jar_kind);
    assert_int_equal(stream, 2);
    assert_null(stoa_log_actor(reader, "jar/three", &stream));
    stoa_log_only(reader, stream);
    assert_int_equal(stoa_log_read(reader, 1, UINT64_MAX, see, &s, NULL), STOA_OK);
    assert_string_equal(s.text, "6 jar/two got 2.1; 7 jar/two got 2.2; ");
    s = (seen){.text = ""};
    stoa_log_only(reader, 0);
    assert_int_equal(stoa_log_read(reader, 1, UINT64_MAX, see, &s, NULL), STOA_OK);
    assert_string_equal(s.text, "1 s spawned 0.1; 2 s spawned 0.2; ");
    stoa_log_close(reader);
    stoa_sim_free(w.sim);
}

static void a_journal_that_nobody_has_open_is_read_alike(void **state)
{
    (void)state;
    world w;
    stoa_journal *journal;
    stoa_log_reader *reader;
    fill(&w);
    stoa_sim_free(w.sim);
    assert_int_equal(stoa_journal_sim.open("sim:jars", &journal), STOA_OK);
    for (uint64_t from = 1; from <= 8; from++) { /* the names must be found by one that begins in the middle */
        seen s = {.text = ""};
        assert_int_equal(stoa_log_open_journal(journal, kinds, "s", &reader), STOA_OK);
        stoa_log_only(reader, from % 2 ? STOA_LOG_ALL : 1);
        assert_int_equal(stoa_log_read(reader, from, from, see, &s, NULL), STOA_OK);
        stoa_log_only(reader, STOA_LOG_ALL);
        expect_from_everywhere(reader);
        stoa_log_close(reader);
    }
    const stoa_kind *const none[] = {NULL};
    assert_int_equal(stoa_log_open_journal(journal, none, "s", &reader), STOA_OK);
    assert_int_equal(stoa_log_read(reader, 5, 5, NULL, NULL, NULL), STOA_E_VERSION);
    assert_non_null(strstr(stoa_err_trail(), "no kind 'jar'"));
    stoa_log_close(reader);
    stoa_journal_sim.close(journal);
}

static void a_time_finds_the_last_position_committed_by_then(void **state)
{
    (void)state;
    enum { PUTS = 2000 };
    static uint64_t commit_ns[PUTS * 2], position[PUTS * 2];
    world w;
    open_world(&w);
    stoa_log_reader *reader;
    assert_int_equal(stoa_log_open(w.shard, &reader), STOA_OK);
    uint64_t found = 7;
    assert_int_equal(stoa_log_position_at(reader, 1, &found), STOA_OK);
    assert_int_equal(found, 0);
    for (unsigned i = 0; i < PUTS; i++) { put(&w, i % 3 ? w.one : w.two, 1); }
    for (uint64_t at = 1; at <= PUTS + 2; at++) {
        seen s = {.text = ""};
        assert_int_equal(stoa_log_read(reader, at, at, see, &s, NULL), STOA_OK);
        commit_ns[at] = s.commit_ns;
        position[at] = at;
    }
    for (uint64_t at = PUTS + 1; at >= 1; at--) { /* whole blocks */
        if (commit_ns[at] == commit_ns[at + 1]) { position[at] = position[at + 1]; }
    }
    for (uint64_t at = 1; at <= PUTS + 2; at++) {
        assert_int_equal(stoa_log_position_at(reader, commit_ns[at], &found), STOA_OK);
        assert_int_equal(found, position[at]);
    }
    assert_int_equal(stoa_log_position_at(reader, UINT64_MAX, &found), STOA_OK);
    assert_int_equal(found, PUTS + 2);
    stoa_log_close(reader);
    stoa_sim_free(w.sim);
}

/* --- bytes that are no event, in a block whose hash is right */

static void append(stoa_journal *journal, uint64_t first, const void *bytes, size_t size_bytes)
{
    stoa_block block = {.first = first, .epoch = 1, .commit_ns = first, .count = 1, .payload = bytes,
                        .payload_bytes = (uint32_t)size_bytes};
    assert_int_equal(stoa_journal_sim.append(journal, &block, true), STOA_OK);
}

typedef struct envelope {
    uint64_t version, type, schema, stream;
    const char *word; /* of the refusal; NULL: it is read */
    stoa_err err;
} envelope;

static size_t write_event(const envelope *e, uint8_t *bytes, size_t cap_bytes, bool cut)
{
    stoa_writer w = {.at = bytes, .cap_bytes = cap_bytes};
    const uint64_t rest[] = {1, 5, 0, 0, 0}; /* seq, time, cause, command, actor */
    stoa_write_array(&w, 10);
    stoa_write_uint(&w, e->version);
    stoa_write_uint(&w, e->type);
    stoa_write_uint(&w, e->schema);
    stoa_write_uint(&w, e->stream);
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) { stoa_write_uint(&w, rest[i]); }
    stoa_write_array(&w, 1);
    stoa_write_uint(&w, 3);
    return w.used_bytes - cut;
}

static void refused(const envelope *e, bool cut)
{
    world w;
    stoa_journal *journal;
    stoa_log_reader *reader;
    uint8_t bytes[128];
    seen s = {.text = ""};
    uint64_t next;
    fill(&w);
    stoa_sim_free(w.sim);
    assert_int_equal(stoa_journal_sim.open("sim:jars", &journal), STOA_OK);
    append(journal, 9, bytes, write_event(e, bytes, sizeof bytes, cut));
    assert_int_equal(stoa_log_open_journal(journal, kinds, "s", &reader), STOA_OK);
    assert_int_equal(stoa_log_read(reader, 8, UINT64_MAX, see, &s, &next), e->err);
    assert_int_equal(next, e->err ? 9 : 10);
    if (e->word && !strstr(stoa_err_trail(), e->word)) { fail_msg("no '%s' in\n%s", e->word, stoa_err_trail()); }
    if (e->word) { assert_non_null(strstr(stoa_err_trail(), "position 9")); }
    stoa_log_close(reader);
    stoa_journal_sim.close(journal);
    stoa_sim_disks_free();
}

static void what_is_no_event_is_refused_by_name(void **state)
{
    (void)state;
    const envelope wrong[] = {
        {1, jar_ROW_got, 1, 2, NULL, STOA_OK},
        {2, jar_ROW_got, 1, 2, "event of a later version", STOA_E_VERSION},
        {1, 4, 1, 2, "row 4 of jar, which has 3 here", STOA_E_VERSION},
        {1, 0, 1, 2, "event of no kind", STOA_E_CORRUPT},
        {1, jar_ROW_got, 1, 3, "event of no kind", STOA_E_CORRUPT},
        {1, jar_ROW_got, 1, UINT64_MAX, "event of no kind", STOA_E_CORRUPT},
        {1, jar_ROW_put, 1, 2, "not an event row", STOA_E_CORRUPT},
        {1, jar_ROW_got, 2, 2, "schema 2 of jar.got, of which 1 is the last here", STOA_E_VERSION},
        {1, jar_ROW_got, 0, 2, "schema 0 of jar.got", STOA_E_VERSION},
        {1, 1, 1, 0, "no kind ''", STOA_E_VERSION}, /* spawned, without its later fields */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) { refused(&wrong[i], false); }
    refused(&(envelope){1, jar_ROW_got, 1, 2, "msgpack", STOA_E_CORRUPT}, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_are_shown_once_and_in_order_from_every_position, forget, forget),
        cmocka_unit_test_setup_teardown(one_stream_can_be_read_alone, forget, forget),
        cmocka_unit_test_setup_teardown(a_journal_that_nobody_has_open_is_read_alike, forget, forget),
        cmocka_unit_test_setup_teardown(a_time_finds_the_last_position_committed_by_then, forget, forget),
        cmocka_unit_test_setup_teardown(what_is_no_event_is_refused_by_name, forget, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
