/* distant_test.c - goal: each promise of shards of other nodes (runtime/distant.h), one scene each: two nodes have shards of one name, and
 * each is found by its own; who is expected elsewhere is mailed to before that node was ever there; a node commands nobody on another
 * one; what waits for a shard that never answered can be had back, and for one that is absent on an operator's word; a shard whose log was begun anew is
 * found out, and begins again. Method: two nodes in the simulator whose frames are carried by hand.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/distant_internal.h"
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
    bool is_open; /* the way to it */
    struct side *peer;
    bool keeps[3]; /* by class of frame: what it sends is lost */
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

static void attach(world *w, uint32_t i, uint64_t epoch)
{
    side *s = &w->at[i];
    stoa_shard_options options = {.name = "trade", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim,
                                  .path = i ? "sim:b" : "sim:a", .epoch = epoch};
    assert_int_equal(stoa_shard_open(s->node, &options, &s->shard), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &teller_kind, i ? "teller/two" : "teller/one", &(stoa_spawn_options){.shard = s->shard}, &s->teller),
                     STOA_OK);
}

static void world_new(world *w)
{
    static const stoa_kind *const kinds[] = {&teller_kind, NULL};
    for (uint32_t i = 0; i < SIDES; i++) {
        side *s = &w->at[i];
        stoa_sim_disk *disk;
        *s = (side){.peer = &w->at[1 - i]};
        assert_int_equal(stoa_sim_disk_get(i ? "b" : "a", 1 + i, &disk), STOA_OK);
        assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 5 + i, .cores = 1, .kinds = kinds}, &s->sim, &s->node), STOA_OK);
        attach(w, i, 5);
    }
}

static void world_free(world *w)
{
    for (uint32_t i = 0; i < SIDES; i++) { stoa_sim_free(w->at[i].sim); }
    stoa_sim_disks_free();
}

/* Its process dies and comes again. */
static void crash(world *w, uint32_t i, uint64_t epoch)
{
    side *s = &w->at[i];
    assert_int_equal(stoa_sim_crash(s->sim, &s->node), STOA_OK);
    s->port = NULL;
    s->is_open = false;
    attach(w, i, epoch);
}

static void meet_one(world *w, uint32_t i)
{
    side *s = &w->at[i];
    if (!s->port) { assert_int_equal(stoa_port_open(s->node, "nodes", &s->port), STOA_OK); }
    if (!s->is_open) { assert_int_equal(stoa_distant_open(s->port, i ? "trade@a" : "trade@b", &s->other), STOA_OK); }
    s->is_open = true;
    assert_int_equal(stoa_distants_complete(s->port, i ? "a" : "b", true), STOA_OK);
    assert_int_equal(stoa_distant_again(s->other), STOA_OK);
    stoa_port_flush(s->port);
}

/* From now on their frames are carried. */
static void meet(world *w)
{
    for (uint32_t i = 0; i < SIDES; i++) { meet_one(w, i); }
}

/* To a b is here, and has no shard trade. */
static void without_it(world *w)
{
    side *a = &w->at[0];
    if (!a->port) { assert_int_equal(stoa_port_open(a->node, "nodes", &a->port), STOA_OK); }
    if (a->is_open) { stoa_distant_close(a->other); }
    a->is_open = false;
    assert_int_equal(stoa_distants_complete(a->port, "b", true), STOA_OK);
    stoa_port_flush(a->port);
}

static void carry(void *context, const stoa_delivery *delivery)
{
    const side *from = context;
    uint8_t bytes[STOA_DISTANT_FRAME_MAX];
    stoa_distant *to;
    uint32_t used;
    assert_true(stoa_distant_frame(delivery, bytes, &to, &used));
    assert_ptr_equal(to, from->other);
    stoa_distant_head head;
    memcpy(&head, bytes, sizeof head);
    if (from->keeps[head.cls] || !from->peer->port) { return; }
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
            if (s->peer->port) { stoa_port_flush(s->peer->port); }
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

/* --- channels whose other side is absent */

static stoa_err anew(side *s, bool again, bool none_taken, bool plan, stoa_channel_view *out)
{
    return stoa_channel_restart(s->shard, "trade@b", &(stoa_channel_anew){.again = again, .none_taken = none_taken, .plan = plan}, out);
}

static void mail_three(side *a)
{
    for (uint32_t i = 0; i < 3; i++) { assert_int_equal(mail(a, NOTE, "trade@b:teller/two"), STOA_OK); }
}

/* Of which of a's mail comes back, nothing ever was at b. */
static void has_it_back(world *w, uint64_t back, uint32_t generation)
{
    side *a = &w->at[0];
    settle(w);
    assert_int_equal(state(a)->back, back);
    assert_int_equal(state(a)->error, STOA_E_FORKED);
    assert_int_equal(channel(a).waiting, 0);
    assert_int_equal(channel(a).generation, generation);
    assert_string_equal(channel(a).met, "never");
}

/* b comes, and is mailed to: that much is taken, and what came back is not. */
static void and_goes_on(world *w, uint64_t noted)
{
    meet(w);
    settle(w);
    assert_int_equal(mail(&w->at[0], NOTE, "trade@b:teller/two"), STOA_OK);
    settle(w);
    assert_string_equal(channel(&w->at[0]).status, "runs");
    assert_string_equal(channel(&w->at[0]).met, "yes");
    assert_int_equal(state(&w->at[1])->noted, noted);
}

static void what_waits_for_who_never_answered_can_be_had_back(void **context)
{
    (void)context;
    for (uint32_t kind = 0; kind < 3; kind++) { /* apart; absent; the same behind a restart */
        world w;
        stoa_channel_view view;
        world_new(&w);
        side *a = &w.at[0];
        assert_int_equal(stoa_distant_expect(a->node, "trade@b", "teller/two"), STOA_OK);
        mail_three(a);
        settle(&w);
        if (kind == 2) { crash(&w, 0, 6); }
        if (kind) { without_it(&w); }
        settle(&w);
        assert_string_equal(channel(a).status, kind ? "absent" : "apart");
        assert_string_equal(channel(a).met, "never");
        assert_int_equal(anew(a, true, false, false, &view), STOA_E_INVALID); /* it waits as it is */
        assert_int_equal(anew(a, false, false, true, &view), STOA_OK);
        assert_int_equal(view.waiting, 3);
        assert_int_equal(view.taken, 0);
        assert_int_equal(view.doubtful, 0);
        assert_int_equal(channel(a).waiting, 3); /* a plan changes nothing */
        assert_int_equal(anew(a, false, false, false, &view), STOA_OK);
        has_it_back(&w, 3, 1);
        assert_int_equal(anew(a, false, true, false, &view), STOA_E_INVALID); /* nothing waits */
        mail_three(a);
        assert_int_equal(anew(a, false, false, false, &view), STOA_OK);
        has_it_back(&w, 6, 2);
        and_goes_on(&w, 1);
        assert_int_equal(state(a)->back, 6);
        world_free(&w);
    }
}

/* b answers, and nothing comes through after that: it is a's word that b has none of it. */
static void who_answered_once_is_returned_on_an_operators_word(void **context)
{
    (void)context;
    world w;
    stoa_channel_view view;
    world_new(&w);
    side *a = &w.at[0];
    a->keeps[STOA_FRAME_MAIL] = true;
    meet(&w);
    settle(&w);
    mail_three(a);
    settle(&w);
    assert_string_equal(channel(a).status, "runs");
    assert_int_equal(anew(a, false, true, false, &view), STOA_E_INVALID); /* it is there */
    crash(&w, 0, 6);
    settle(&w);
    assert_string_equal(channel(a).status, "apart");
    assert_string_equal(channel(a).met, "yes");
    assert_int_equal(anew(a, false, true, false, &view), STOA_E_INVALID); /* b itself says nothing */
    without_it(&w);
    settle(&w);
    assert_int_equal(mail(a, NOTE, "trade@b:teller/two"), STOA_OK); /* nobody was there since this one was mailed */
    settle(&w);
    assert_string_equal(channel(a).status, "absent");
    assert_int_equal(anew(a, false, false, false, &view), STOA_E_INVALID);
    assert_non_null(strstr(stoa_err_trail(), "--none-taken"));
    assert_int_equal(anew(a, false, true, true, &view), STOA_OK);
    assert_int_equal(view.waiting, 4);
    assert_int_equal(view.taken, 0);
    assert_int_equal(view.doubtful, 3);
    assert_int_equal(channel(a).waiting, 4);
    assert_int_equal(anew(a, false, true, false, &view), STOA_OK);
    has_it_back(&w, 4, 1);
    a->keeps[STOA_FRAME_MAIL] = false;
    and_goes_on(&w, 1);
    world_free(&w);
}

static void what_was_acknowledged_is_not_returned_on_any_word(void **context)
{
    (void)context;
    world w;
    stoa_channel_view view;
    world_new(&w);
    side *a = &w.at[0];
    meet(&w);
    settle(&w);
    mail_three(a);
    settle(&w);
    assert_int_equal(state(&w.at[1])->noted, 3);
    without_it(&w);
    mail_three(a);
    settle(&w);
    assert_string_equal(channel(a).status, "absent");
    assert_int_equal(channel(a).waiting, 3);
    assert_int_equal(anew(a, false, true, false, &view), STOA_E_INVALID);
    assert_non_null(strstr(stoa_err_trail(), "was not always"));
    meet(&w); /* the way out is its own */
    settle(&w);
    assert_int_equal(state(&w.at[1])->noted, 6);
    world_free(&w);
}

/* No mail is on its way that the log does not know a receiver of, however late the disk is. */
static void mail_goes_out_behind_the_contact(void **context)
{
    (void)context;
    world w;
    stoa_sim_disk *disk;
    world_new(&w);
    side *a = &w.at[0];
    assert_int_equal(stoa_distant_expect(a->node, "trade@b", "teller/two"), STOA_OK);
    mail_three(a);
    settle(&w);
    assert_int_equal(stoa_sim_disk_get("a", 1, &disk), STOA_OK);
    stoa_sim_disk_fill(disk, 1000); /* it can commit nothing more */
    meet(&w);
    settle(&w);
    assert_string_equal(channel(a).status, "runs");
    assert_int_equal(channel(a).sent, 0);
    assert_int_equal(state(&w.at[1])->noted, 0);
    stoa_sim_disk_fill(disk, 0);
    stoa_sim_run(a->sim, STOA_S(5));
    settle(&w);
    assert_int_equal(state(&w.at[1])->noted, 3);
    world_free(&w);
}

/* --- a log that was begun anew, under a lower epoch */

static void begun_anew(world *w)
{
    stoa_sim_disk *disk;
    meet(w);
    settle(w);
    mail_three(&w->at[0]);
    settle(w);
    assert_int_equal(stoa_sim_disk_get("a", 1, &disk), STOA_OK);
    stoa_sim_disk_free(disk);
    assert_int_equal(stoa_sim_disk_get("a", 1, &disk), STOA_OK);
    crash(w, 0, 1);
    assert_int_equal(stoa_distant_expect(w->at[0].node, "trade@b", "teller/two"), STOA_OK);
    for (uint32_t i = 0; i < 2; i++) { assert_int_equal(mail(&w->at[0], NOTE, "teller/two"), STOA_OK); }
    settle(w);
    crash(w, 0, 2); /* so it is in the log that recovery finds */
    meet(w);
    settle(w);
    assert_string_equal(channel(&w->at[0]).status, "forked");
    assert_int_equal(channel(&w->at[0]).cursor, 3);
}

static void a_log_that_was_begun_anew_is_found_out_and_its_channel_begins_again(void **context)
{
    (void)context;
    for (uint32_t kind = 0; kind < 2; kind++) {
        world w;
        stoa_channel_view view;
        bool again = kind == 0;
        world_new(&w);
        begun_anew(&w);
        side *a = &w.at[0];
        assert_int_equal(anew(a, again, false, true, &view), STOA_OK);
        assert_int_equal(view.taken, 2); /* as if the log had lost its end alone */
        assert_int_equal(anew(a, again, true, true, &view), STOA_OK);
        assert_int_equal(view.taken, 0);
        assert_int_equal(anew(a, again, true, false, &view), STOA_OK);
        settle(&w);
        assert_string_equal(channel(a).status, "runs");
        assert_int_equal(channel(a).generation, 1);
        assert_int_equal(state(a)->back, again ? 0 : 2);
        assert_int_equal(state(&w.at[1])->noted, again ? 5 : 3);
        crash(&w, 0, 3);
        and_goes_on(&w, again ? 6 : 4);
        world_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_of_one_name_are_told_apart),
        cmocka_unit_test(who_is_expected_elsewhere_is_mailed_to_before_anybody_carries),
        cmocka_unit_test(who_is_here_is_found_first),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(another_node_commands_nobody),
        cmocka_unit_test(what_waits_for_who_never_answered_can_be_had_back),
        cmocka_unit_test(who_answered_once_is_returned_on_an_operators_word),
        cmocka_unit_test(what_was_acknowledged_is_not_returned_on_any_word),
        cmocka_unit_test(mail_goes_out_behind_the_contact),
        cmocka_unit_test(a_log_that_was_begun_anew_is_found_out_and_its_channel_begins_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
