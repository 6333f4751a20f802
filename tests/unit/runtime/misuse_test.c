/* misuse_test.c - goal: what the author of a kind, or the embedding program, gets wrong is refused by name, and neither ends the
 * process nor harms memory or the log: events of other kinds, answers of other rows, payloads and pieces of memory that are too
 * large, requests of rows that are not answered.
 * Method: actors that do what they are told on a node with one core; rows that no table compiles are made by hand. The log
 * that such turns left is read again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

/* --- other: a table that both know by its proxy */

#define other_go_FIELDS(F, S)   F(S, uint64_t, n)
#define other_went_FIELDS(F, S) F(S, stoa_text30, name)
#define other_far_FIELDS(F, S)  F(S, uint64_t, n)
#define other_tiny_FIELDS(F, S) F(S, uint64_t, n)
#define other_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, go, _, "Go.")                                                                                         \
    ROW(K, EVENT, went, _, "Went.")                                                                                    \
    ROW(K, REPLY, tiny, _, "A reply.")                                                                                 \
    ROW(K, CAST, unused, _, "Unused.")                                                                                 \
    ROW(K, CAST, more, _, "Unused.")                                                                                   \
    ROW(K, CAST, idle, _, "Unused.")                                                                                   \
    ROW(K, EVENT, far, _, "A row that the others have not.")
#define other_unused_FIELDS STOA_NO_FIELDS
#define other_more_FIELDS   STOA_NO_FIELDS
#define other_idle_FIELDS   STOA_NO_FIELDS
STOA_TABLE_HERE(other)
STOA_PROXY(other)

/* A proxy emits nothing: otherwise this would be the second of that name. */
static stoa_err other_emit_went(stoa_turn *turn)
{
    return stoa_turn_emit(turn, &other_rows[other_ROW_went], &(other_went){stoa_text("somebody")});
}

/* --- what both do */

enum { LOOK, NOTE, FOREIGN, FAR, NO_EVENT, WRONG_REPLY, ALLOC, ASK_CAST, SEND_LARGE, ANSWER_LARGE, HEARD };
static stoa_row large; /* other.go, of a MiB */

static stoa_err carry_out(stoa_turn *turn, uint64_t way, uint64_t arg, uint64_t *at_out)
{
    static other_go whole[(1 << 20) / sizeof(other_go)];
    switch (way) {
    case FOREIGN: return other_emit_went(turn);
    case FAR: return stoa_turn_emit(turn, &other_rows[other_ROW_far], &(other_far){1});
    case WRONG_REPLY: return other_answer_tiny(turn, (other_tiny){0x1111111111111111});
    case ALLOC: *at_out = stoa_turn_alloc(turn, (size_t)arg) != NULL; return STOA_OK;
    case ASK_CAST: return stoa_turn_ask(turn, turn->self, &other_rows[other_ROW_go], &(other_go){1}, STOA_MS(1), 1);
    case SEND_LARGE: return stoa_turn_send(turn, turn->self, &large, whole);
    case ANSWER_LARGE: return stoa_turn_answer(turn, &large, whole);
    default: return STOA_OK;
    }
}

/* --- clerk: event-sourced */

#define clerk_do_FIELDS(F, S)    F(S, uint64_t, way) F(S, uint64_t, arg)
#define clerk_done_FIELDS(F, S)  F(S, uint64_t, sum) F(S, uint64_t, at)
#define clerk_noted_FIELDS(F, S) F(S, uint64_t, by)
#define clerk_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, do, done, "Do what way says.")                                                                     \
    ROW(K, REPLY, done, _, "What came of it.")                                                                         \
    ROW(K, EVENT, noted, _, "Noted.")
STOA_TABLE_HERE(clerk)
typedef struct clerk {
    uint64_t sum;
} clerk;
static stoa_err resumed;
static stoa_err clerk_resume(stoa_turn *turn, const void *state);
#define clerk_HEARS STOA_HEARS_NOTHING
STOA_KIND(clerk, .resume = clerk_resume)

static stoa_err clerk_resume(stoa_turn *turn, const void *state)
{
    (void)state;
    resumed = clerk_emit_noted(turn, (clerk_noted){1000});
    return STOA_OK;
}
static stoa_err clerk_on_do(stoa_turn *turn, const clerk *self, const clerk_do *in, clerk_done *out)
{
    out->sum = self->sum;
    if (in->way == NOTE) { return clerk_emit_noted(turn, (clerk_noted){in->arg}); }
    if (in->way == NO_EVENT) { return stoa_turn_emit(turn, &clerk_rows[clerk_ROW_done], &(clerk_done){1, 1}); }
    return carry_out(turn, in->way, in->arg, &out->at);
}
static void clerk_apply_noted(clerk *self, const clerk_noted *event)
{
    self->sum += event->by;
}

/* --- hand: plain, and asks a clerk or a hand */

#define hand_do_FIELDS(F, S)   F(S, uint64_t, way) F(S, uint64_t, arg)
#define hand_done_FIELDS(F, S) F(S, uint64_t, at) F(S, uint64_t, b) F(S, uint64_t, c) F(S, uint64_t, d)
#define hand_pass_FIELDS(F, S) F(S, uint64_t, to) F(S, uint64_t, way)
#define hand_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, do, done, "Do what way says.")                                                                     \
    ROW(K, REPLY, done, _, "What came of it.")                                                                         \
    ROW(K, CAST, pass, _, "Ask that one to do it.")
STOA_TABLE_HERE(hand)
typedef struct hand {
    uint64_t heard;
    int64_t error;
    hand_done last;
} hand;
#define hand_HEARS(HEAR, K) HEAR(K, hand, done) HEAR(K, other, go)
STOA_PLAIN_KIND(hand, .mailbox_limit = 64)
static stoa_err hand_on_do(stoa_turn *turn, hand *self, const hand_do *in, hand_done *out)
{
    if (in->way == HEARD) {
        *out = (hand_done){self->heard, (uint64_t)-self->error, self->last.at | self->last.b, 0};
        return STOA_OK;
    }
    if (in->way == NOTE) { return stoa_turn_emit(turn, &clerk_rows[clerk_ROW_noted], &(clerk_noted){1}); }
    return carry_out(turn, in->way, in->arg, &out->at);
}
static stoa_err hand_on_pass(stoa_turn *turn, hand *self, const hand_pass *in)
{
    (void)self;
    return hand_ask_do(turn, (stoa_ref){in->to}, (hand_do){in->way, 0}, STOA_S(60), 7);
}
static stoa_err hand_on_hand_done(stoa_turn *turn, hand *self, const hand_done *in)
{
    self->heard++;
    self->error = turn->error;
    self->last = *in;
    return STOA_OK;
}
static stoa_err hand_on_other_go(stoa_turn *turn, hand *self, const other_go *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}

/* --- the node */

static char folder[] = "/tmp/stoa-misuse-XXXXXX";
static char path[sizeof folder + 16];

static int make_folder(void **state)
{
    (void)state;
    large = other_rows[other_ROW_go];
    large.payload.size_bytes = 1 << 20;
    if (!mkdtemp(folder)) { return -1; }
    (void)snprintf(path, sizeof path, "%s/own.db", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[sizeof folder + 16];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static stoa_node *open_journaled(void)
{
    stoa_node *node = NULL;
    stoa_options options = {.kinds = STOA_KINDS(&clerk_kind), .journal = &stoa_journal_rocksdb, .path = path};
    if (stoa_node_open(&options, &node)) { fail_msg("%s", stoa_err_trail()); }
    return node;
}

static stoa_node *open_plain(stoa_ref *out)
{
    stoa_node *node = NULL;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &hand_kind, "hand/a", NULL, out), STOA_OK);
    return node;
}

static void hand_does(stoa_node *node, stoa_ref ref, uint64_t way, uint64_t arg, stoa_err expected)
{
    hand_done out;
    stoa_err err = hand_call_do(node, ref, (hand_do){way, arg}, STOA_S(60), &out);
    if (err != expected) { fail_msg("way %d: %s, not %s", (int)way, stoa_err_name(err), stoa_err_name(expected)); }
}

/* --- events */

static void events_of_others_are_refused_and_the_log_stays_readable(void **state)
{
    (void)state;
    static const struct {
        uint64_t way;
        stoa_err expected;
    } ways[] = {{FOREIGN, STOA_E_INVALID}, {FAR, STOA_E_INVALID}, {NO_EVENT, STOA_E_INVALID}, {NOTE, STOA_OK}};
    for (uint64_t life = 0; life < 2; life++) {
        stoa_node *node = open_journaled();
        stoa_ref ref;
        clerk_done out = {0};
        assert_int_equal(stoa_spawn(node, &clerk_kind, "clerk/a", STOA_DISK, &ref), STOA_OK);
        assert_int_equal(resumed, STOA_E_UNSUPPORTED);
        for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
            assert_int_equal(clerk_call_do(node, ref, (clerk_do){ways[i].way, 5}, STOA_S(60), &out), ways[i].expected);
        }
        assert_int_equal(clerk_call_do(node, ref, (clerk_do){LOOK, 0}, STOA_S(60), &out), STOA_OK);
        assert_int_equal(out.sum, 5 * (life + 1));
        stoa_node_close(node, STOA_S(10));
    }
}

static void a_plain_kind_emits_nothing(void **state)
{
    (void)state;
    stoa_ref ref;
    stoa_node *node = open_plain(&ref);
    hand_does(node, ref, NOTE, 0, STOA_E_UNSUPPORTED);
    stoa_node_close(node, 0);
}

/* --- answers */

static void an_answer_of_another_row_is_an_error_without_its_payload(void **state)
{
    (void)state;
    stoa_ref a, b;
    hand_done out;
    stoa_node *node = open_plain(&a);
    assert_int_equal(stoa_spawn(node, &hand_kind, "hand/b", NULL, &b), STOA_OK);
    memset(&out, 0x77, sizeof out);
    assert_int_equal(hand_call_do(node, a, (hand_do){WRONG_REPLY, 0}, STOA_S(60), &out), STOA_E_MALFORMED);
    assert_int_equal(out.at, 0x7777777777777777); /* untouched */
    assert_int_equal(hand_post_pass(node, a, (hand_pass){b.at, WRONG_REPLY}), STOA_OK);
    for (out.at = 0; !out.at;) {
        assert_int_equal(hand_call_do(node, a, (hand_do){HEARD, 0}, STOA_S(60), &out), STOA_OK);
    }
    assert_int_equal(out.b, -STOA_E_MALFORMED);
    assert_int_equal(out.c, 0);
    stoa_node_close(node, 0);
}

typedef struct inbox {
    uint32_t count;
    stoa_err error;
    bool payload;
} inbox;

static void take(void *context, const stoa_delivery *delivery)
{
    inbox *in = context;
    in->count++;
    in->error = delivery->error;
    in->payload = delivery->payload != NULL;
}

static inbox wait_for_answer(stoa_port *port)
{
    inbox in = {0};
    stoa_port_flush(port);
    while (!in.count) {
        (void)stoa_port_poll(port, take, &in, 1);
        (void)usleep(1000);
    }
    return in;
}

/* Asked again, also after a restart, it is the same error: what is kept of it is no reply that cannot be read. */
static void of_a_request_that_is_remembered_too(void **state)
{
    (void)state;
    clerk_do wrong = {WRONG_REPLY, 0};
    stoa_request_name name = {1, 1, 1};
    for (int life = 0; life < 2; life++) {
        stoa_node *node = open_journaled();
        stoa_port *port;
        stoa_ref ref;
        assert_int_equal(stoa_spawn(node, &clerk_kind, "clerk/a", STOA_DISK, &ref), STOA_OK);
        assert_int_equal(stoa_port_open(node, "p", &port), STOA_OK);
        for (int times = 0; times < 2; times++) {
            assert_int_equal(stoa_port_ask_once(port, ref, &clerk_rows[clerk_ROW_do], &wrong, &name, STOA_S(60), 1), STOA_OK);
            inbox in = wait_for_answer(port);
            assert_int_equal(in.error, STOA_E_MALFORMED);
            assert_false(in.payload);
        }
        stoa_node_close(node, STOA_S(10));
    }
}

/* --- requests of what is not answered */

static void only_what_has_a_reply_is_asked(void **state)
{
    (void)state;
    stoa_ref ref;
    stoa_port *port;
    stoa_node *node = open_plain(&ref);
    hand_pass pass = {0};
    hand_do order = {0};
    uint64_t small = 42;
    hand_does(node, ref, ASK_CAST, 0, STOA_E_INVALID);
    assert_int_equal(stoa_port_open(node, "p", &port), STOA_OK);
    const stoa_row *cast = &hand_rows[hand_ROW_pass];
    assert_int_equal(stoa_port_ask(port, ref, cast, &pass, 0, STOA_S(1), 1), STOA_E_INVALID);
    assert_int_equal(stoa_port_ask_once(port, ref, cast, &pass, &(stoa_request_name){1, 1, 1}, STOA_S(1), 1), STOA_E_INVALID);
    assert_int_equal(stoa_call(node, ref, cast, &pass, STOA_S(1), &small, sizeof small), STOA_E_INVALID);
    assert_int_equal(stoa_call(node, ref, &hand_rows[hand_ROW_do], &order, STOA_S(1), &small, sizeof small), STOA_E_INVALID);
    assert_int_equal(small, 42);
    hand_does(node, ref, LOOK, 0, STOA_OK);
    stoa_node_close(node, 0);
}

/* --- sizes */

static void what_no_message_has_room_for_is_too_large(void **state)
{
    (void)state;
    static unsigned char payload[1 << 20];
    stoa_ref ref;
    stoa_port *port;
    stoa_node *node = open_plain(&ref);
    hand_does(node, ref, SEND_LARGE, 0, STOA_E_TOO_LARGE);
    hand_does(node, ref, ANSWER_LARGE, 0, STOA_E_TOO_LARGE);
    assert_int_equal(stoa_post(node, ref, &large, payload), STOA_E_TOO_LARGE);
    assert_int_equal(stoa_port_open(node, "p", &port), STOA_OK);
    assert_int_equal(stoa_port_send(port, ref, &large, payload, 0), STOA_E_TOO_LARGE);
    stoa_node_close(node, 0);
}

static void an_arena_has_no_piece_above_its_limit(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes, got;
    } pieces[] = {{SIZE_MAX, 0},           {SIZE_MAX - 7, 0}, {SIZE_MAX - 15, 0}, {SIZE_MAX - 16, 0}, {UINT64_C(1) << 32, 0},
                  {STOA_ALLOC_MAX + 1, 0}, {STOA_ALLOC_MAX, 1}};
    stoa_ref ref;
    hand_done out;
    stoa_node *node = open_plain(&ref);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        assert_int_equal(hand_call_do(node, ref, (hand_do){ALLOC, pieces[i].bytes}, STOA_S(60), &out), STOA_OK);
        if (out.at != pieces[i].got) { fail_msg("%llu bytes", (unsigned long long)pieces[i].bytes); }
    }
    stoa_node_close(node, 0);
}

static void a_kind_with_a_row_that_is_too_large_has_no_actors(void **state)
{
    (void)state;
    stoa_row rows[hand_ROW_END_];
    stoa_kind vast = hand_kind;
    stoa_ref ref = {77};
    stoa_node *node;
    memcpy(rows, hand_rows, sizeof rows);
    rows[hand_ROW_done].payload.size_bytes = 1 << 20;
    vast.rows = rows;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &vast, "hand/a", NULL, &ref), STOA_E_TOO_LARGE);
    rows[hand_ROW_done].payload.size_bytes = sizeof(hand_done);
    rows[hand_ROW_do].reply = NULL;
    assert_int_equal(stoa_spawn(node, &vast, "hand/a", NULL, &ref), STOA_E_INVALID);
    assert_int_equal(ref.at, 77);
    assert_int_equal(stoa_spawn(node, &hand_kind, "hand/a", NULL, &ref), STOA_OK);
    stoa_node_close(node, 0);
    vast = clerk_kind;
    vast.hears = (const stoa_hear[]){{&large, NULL}, {NULL, NULL}};
    assert_int_equal(stoa_node_open(&(stoa_options){.kinds = STOA_KINDS(&vast)}, &node), STOA_E_TOO_LARGE);
}

static uint64_t key_of(const stoa_row *row, const void *payload)
{
    (void)row;
    return ((const other_go *)payload)->n;
}

static void a_conflating_kind_has_a_mailbox_with_an_end(void **state)
{
    (void)state;
    stoa_kind newest = hand_kind;
    stoa_ref ref;
    stoa_node *node;
    newest.conflate.key = key_of;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    newest.mailbox_limit = UINT32_MAX;
    assert_int_equal(stoa_spawn(node, &newest, "hand/a", NULL, &ref), STOA_E_INVALID);
    newest.mailbox_limit = (1 << 20) + 1;
    assert_int_equal(stoa_spawn(node, &newest, "hand/a", NULL, &ref), STOA_E_INVALID);
    newest.mailbox_limit = 1 << 20;
    assert_int_equal(stoa_spawn(node, &newest, "hand/a", NULL, &ref), STOA_OK);
    stoa_node_close(node, 0);
}

/* --- the node's memory */

static void memory_beyond_what_can_be_is_refused(void **state)
{
    (void)state;
    static const uint64_t bytes[] = {UINT64_MAX, UINT64_MAX - (1 << 20), STOA_MEMORY_MAX + 1};
    stoa_node *node = NULL;
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1, .memory_bytes = bytes[i]}, &node), STOA_E_INVALID);
    }
    assert_null(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_of_others_are_refused_and_the_log_stays_readable),
        cmocka_unit_test(a_plain_kind_emits_nothing),
        cmocka_unit_test(an_answer_of_another_row_is_an_error_without_its_payload),
        cmocka_unit_test(of_a_request_that_is_remembered_too),
        cmocka_unit_test(only_what_has_a_reply_is_asked),
        cmocka_unit_test(what_no_message_has_room_for_is_too_large),
        cmocka_unit_test(an_arena_has_no_piece_above_its_limit),
        cmocka_unit_test(a_kind_with_a_row_that_is_too_large_has_no_actors),
        cmocka_unit_test(a_conflating_kind_has_a_mailbox_with_an_end),
        cmocka_unit_test(memory_beyond_what_can_be_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
