/* distant_test.c - goal: each promise of shards of other nodes (runtime/distant.h), one scene each: two nodes have shards of one name, and
 * each is found by its own; who is expected elsewhere is mailed to before that node was ever there; a node commands nobody on another
 * one. Method: two nodes in the simulator whose frames are carried by hand.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/distant.h"
#include "runtime/sim.h"
#include "storage/sim/journal.h"

enum { SIDES = 2, ROUNDS = 50, POLL = 64 };
typedef enum what { NOTE, OBEY, SYSTEM } what;

#define teller_mail_FIELDS(F, S)   F(S, uint64_t, what) F(S, stoa_text62, to)
#define teller_done_FIELDS(F, S)   F(S, int64_t, error)
#define teller_note_FIELDS(F, S)   F(S, uint64_t, number)
#define teller_obey_FIELDS(F, S)   F(S, uint64_t, number)
#define teller_noted_FIELDS(F, S)  F(S, stoa_text254, by)
#define teller_obeyed_FIELDS       STOA_NO_FIELDS
#define teller_came_FIELDS(F, S)   F(S, int64_t, error)
#define teller_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, mail, done, "Mail that to there.")                                                                 \
    ROW(K, REPLY, done, _, "What became of it.")                                                                       \
    ROW(K, CAST, note, _, "To be told.")                                                                               \
    ROW(K, COMMAND, obey, done, "To be commanded.")                                                                    \
    ROW(K, EVENT, noted, _, "It was told.")                                                                            \
    ROW(K, EVENT, obeyed, _, "It obeyed, or heard that its mail came back that it never sent.")                        \
    ROW(K, EVENT, came, _, "What it mailed came back.")
STOA_TABLE_HERE(teller)

typedef struct teller {
    stoa_text254 by;
    uint64_t noted, obeyed, back;
    int64_t error;
} teller;
#define teller_HEARS(HEAR, K) HEAR(K, stoa_system, undelivered)
STOA_KIND(teller, .mailbox_limit = 8)

static stoa_err teller_on_mail(stoa_turn *turn, const teller *self, const teller_mail *in, teller_done *out)
{
    (void)self;
    char to[64];
    (void)snprintf(to, sizeof to, "%.*s", STOA_TEXT_ARGS(&in->to));
    static const stoa_system_undelivered fake = {.token = 7};
    static const teller_note note = {.number = 7};
    const stoa_row *rows[] = {[NOTE] = &teller_rows[teller_ROW_note], [OBEY] = &teller_rows[teller_ROW_obey],
                              [SYSTEM] = &stoa_system_rows[stoa_system_ROW_undelivered]};
    const void *payload = in->what == SYSTEM ? (const void *)&fake : &note; /* obey is laid out as note */
    out->error = stoa_turn_mail(turn, to, rows[in->what], payload, 1);
    return STOA_OK;
}

static stoa_err teller_on_note(stoa_turn *turn, const teller *self, const teller_note *in)
{
    (void)self, (void)in;
    teller_noted noted = {{0}};
    (void)STOA_TEXT_SETZ(&noted.by, stoa_turn_mailed_by(turn));
    return teller_emit_noted(turn, noted);
}

static stoa_err teller_on_obey(stoa_turn *turn, const teller *self, const teller_obey *in, teller_done *out)
{
    (void)self, (void)in, (void)out;
    return teller_emit_obeyed(turn, (teller_obeyed){{0}});
}

static stoa_err teller_on_stoa_system_undelivered(stoa_turn *turn, const teller *self, const stoa_system_undelivered *in)
{
    (void)self;
    return in->token == 7 ? teller_emit_obeyed(turn, (teller_obeyed){{0}}) : teller_emit_came(turn, (teller_came){in->error});
}

static void teller_apply_noted(teller *self, const teller_noted *event)
{
    self->noted++;
    self->by = event->by;
}

static void teller_apply_obeyed(teller *self, const teller_obeyed *event)
{
    (void)event;
    self->obeyed++;
}

static void teller_apply_came(teller *self, const teller_came *event)
{
    self->back++;
    self->error = event->error;
}

/* --- the world: nodes a and b, each with a shard trade; a has teller/one in it, b has teller/two */

typedef struct side {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref teller;
    stoa_port *port;
    stoa_distant *other;
    struct side *peer;
} side;

typedef struct world {
    side at[SIDES];
} world;

static stoa_text62 text(const char *from)
{
    stoa_text62 out = {0};
    assert_int_equal(STOA_TEXT_SETZ(&out, from), STOA_OK);
    return out;
}

static void world_new(world *w)
{
    static const stoa_kind *const kinds[] = {&teller_kind, NULL};
    for (uint32_t i = 0; i < SIDES; i++) {
        side *s = &w->at[i];
        stoa_sim_disk *disk;
        const char *disk_name = i ? "b" : "a";
        *s = (side){.peer = &w->at[1 - i]};
        assert_int_equal(stoa_sim_disk_get(disk_name, 1 + i, &disk), STOA_OK);
        assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 5 + i, .cores = 1, .kinds = kinds}, &s->sim, &s->node), STOA_OK);
        stoa_shard_options options = {.name = "trade", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim,
                                      .path = i ? "sim:b" : "sim:a"};
        assert_int_equal(stoa_shard_open(s->node, &options, &s->shard), STOA_OK);
        assert_int_equal(stoa_spawn(s->node, &teller_kind, i ? "teller/two" : "teller/one", &(stoa_spawn_options){.shard = s->shard}, &s->teller),
                         STOA_OK);
    }
}

static void world_free(world *w)
{
    for (uint32_t i = 0; i < SIDES; i++) { stoa_sim_free(w->at[i].sim); }
    stoa_sim_disks_free();
}

/* From now on their frames are carried. */
static void meet(world *w)
{
    for (uint32_t i = 0; i < SIDES; i++) {
        side *s = &w->at[i];
        assert_int_equal(stoa_port_open(s->node, "nodes", &s->port), STOA_OK);
        assert_int_equal(stoa_distant_open(s->port, i ? "trade@a" : "trade@b", &s->other), STOA_OK);
        assert_int_equal(stoa_distant_again(s->other), STOA_OK);
        stoa_port_flush(s->port);
    }
}

static void carry(void *context, const stoa_delivery *delivery)
{
    const side *from = context;
    uint8_t bytes[STOA_DISTANT_FRAME_MAX];
    stoa_distant *to;
    uint32_t used;
    assert_true(stoa_distant_frame(delivery, bytes, &to, &used));
    assert_ptr_equal(to, from->other);
    assert_int_equal(stoa_distant_take(from->peer->port, &from->peer->other, 1, bytes, used), STOA_OK);
}

static void settle(world *w)
{
    for (uint32_t rounds = 0; rounds < ROUNDS; rounds++) {
        for (uint32_t i = 0; i < SIDES; i++) {
            side *s = &w->at[i];
            stoa_sim_run(s->sim, STOA_MS(1));
            if (!s->port) { continue; }
            (void)stoa_port_poll(s->port, carry, s, POLL);
            stoa_port_flush(s->port);
            stoa_port_flush(s->peer->port);
        }
    }
}

static int64_t mail(side *from, what kind, const char *to)
{
    teller_done done;
    assert_int_equal(teller_call_mail(from->node, from->teller, (teller_mail){.what = kind, .to = text(to)}, STOA_S(30), &done), STOA_OK);
    return done.error;
}

static const teller *state(const side *s)
{
    return stoa_sim_state(s->sim, s->teller, NULL);
}

static void keep(void *context, const stoa_channel_view *view)
{
    *(stoa_channel_view *)context = *view;
}

static stoa_channel_view channel(const side *s)
{
    stoa_channel_view view = {0};
    stoa_channels(s->shard, keep, &view);
    return view;
}

/* --- scenes */

static void shards_of_one_name_are_told_apart(void **context)
{
    (void)context;
    world w;
    world_new(&w);
    meet(&w);
    settle(&w);
    assert_int_equal(mail(&w.at[0], NOTE, "trade@b:teller/two"), STOA_OK);
    assert_int_equal(mail(&w.at[1], NOTE, "trade@a:teller/one"), STOA_OK);
    assert_int_equal(mail(&w.at[1], NOTE, "trade:teller/two"), STOA_OK); /* its own */
    settle(&w);
    assert_int_equal(state(&w.at[0])->noted, 1);
    assert_int_equal(state(&w.at[1])->noted, 2);
    assert_true(STOA_TEXT_EQZ(&state(&w.at[0])->by, "trade@b:teller/two"));
    assert_string_equal(channel(&w.at[0]).to, "trade@b");
    assert_string_equal(channel(&w.at[0]).status, "runs");
    world_free(&w);
}

static void who_is_expected_elsewhere_is_mailed_to_before_anybody_carries(void **context)
{
    (void)context;
    world w;
    world_new(&w);
    side *a = &w.at[0];
    assert_int_equal(mail(a, NOTE, "teller/two"), STOA_E_NOT_FOUND);
    assert_int_equal(mail(a, NOTE, "trade@b:teller/two"), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_distant_expect(a->node, "trade@b", "teller/two"), STOA_OK);
    assert_int_equal(stoa_distant_expect(a->node, "trade@b", "teller/two"), STOA_OK);
    for (uint32_t i = 0; i < 3; i++) { assert_int_equal(mail(a, NOTE, i % 2 ? "trade@b:teller/two" : "teller/two"), STOA_OK); }
    settle(&w);
    assert_string_equal(channel(a).status, "apart");
    assert_int_equal(channel(a).waiting, 3);
    meet(&w);
    settle(&w);
    assert_string_equal(channel(a).status, "runs");
    assert_int_equal(channel(a).waiting, 0);
    assert_int_equal(state(&w.at[1])->noted, 3);
    assert_true(STOA_TEXT_EQZ(&state(&w.at[1])->by, "trade@a:teller/one"));
    world_free(&w);
}

static void who_is_here_is_found_first(void **context)
{
    (void)context;
    world w;
    world_new(&w);
    assert_int_equal(stoa_distant_expect(w.at[0].node, "trade@b", "teller/one"), STOA_OK);
    assert_int_equal(mail(&w.at[0], NOTE, "teller/one"), STOA_OK);
    settle(&w);
    assert_int_equal(state(&w.at[0])->noted, 1);
    world_free(&w);
}

static void bad_names_are_refused(void **context)
{
    (void)context;
    world w;
    world_new(&w);
    stoa_node *node = w.at[0].node;
    static const char *const shards[] = {"", "@b", "a:b", "a/b@c", "a_name_of_thirty-one_bytes@nodes"};
    static const char *const actors[] = {"", "teller", "trade@b:teller/two"};
    for (size_t i = 0; i < sizeof shards / sizeof shards[0]; i++) {
        assert_int_equal(stoa_distant_expect(node, shards[i], "teller/two"), STOA_E_INVALID);
    }
    for (size_t i = 0; i < sizeof actors / sizeof actors[0]; i++) {
        assert_int_equal(stoa_distant_expect(node, "trade@b", actors[i]), STOA_E_INVALID);
    }
    assert_int_equal(stoa_distant_expect(node, "trade@b", NULL), STOA_E_INVALID);
    assert_int_equal(stoa_distant_expect(node, "trade", "teller/two"), STOA_E_EXISTS); /* a shard of this node */
    assert_int_equal(stoa_distant_expect(node, "trade@b", "teller/two"), STOA_OK);
    assert_int_equal(stoa_distant_expect(node, "trade@c", "teller/two"), STOA_E_EXISTS);
    stoa_shard *shard;
    stoa_shard_options options = {.name = "trade@b", .durability = stoa_durability_NONE};
    assert_int_equal(stoa_shard_open(node, &options, &shard), STOA_E_INVALID);
    world_free(&w);
}

static void another_node_commands_nobody(void **context)
{
    (void)context;
    world w;
    world_new(&w);
    meet(&w);
    settle(&w);
    assert_int_equal(mail(&w.at[1], OBEY, "trade:teller/two"), STOA_OK); /* of its own node, it may */
    settle(&w);
    assert_int_equal(state(&w.at[1])->obeyed, 1);
    assert_int_equal(mail(&w.at[0], OBEY, "trade@b:teller/two"), STOA_OK);
    assert_int_equal(mail(&w.at[0], SYSTEM, "trade@b:teller/two"), STOA_OK);
    assert_int_equal(mail(&w.at[0], NOTE, "trade@b:teller/two"), STOA_OK);
    settle(&w);
    assert_int_equal(state(&w.at[1])->obeyed, 1);
    assert_int_equal(state(&w.at[1])->noted, 1);
    assert_int_equal(state(&w.at[0])->back, 2);
    assert_int_equal(state(&w.at[0])->error, STOA_E_DENIED);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_of_one_name_are_told_apart),
        cmocka_unit_test(who_is_expected_elsewhere_is_mailed_to_before_anybody_carries),
        cmocka_unit_test(who_is_here_is_found_first),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(another_node_commands_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
