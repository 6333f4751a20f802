/* mailbox_world.h - actors for the tests of mailboxes: a box that notes what it hears, and a hand that fills boxes, on real cores and
 * in the simulator alike. A box is made under each policy by a kind of its own, which differs in that alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_MAILBOX_WORLD_H
#define STOA_TESTS_MAILBOX_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/sim.h"
#include "runtime/stoa.h"

/* --- box */

#define box_entry_FIELDS(F, S) F(S, uint64_t, key) F(S, uint64_t, first) F(S, uint64_t, last) F(S, uint64_t, value)
STOA_RECORD(box_entry)
STOA_LIST(box_entries, box_entry, 128)
STOA_RECORD_DEFINE(box_entry)
STOA_LIST_DEFINE(box_entries, box_entry, 128)

/* A range first..last of the numbers of key; value is what is true after the last. */
#define box_item_FIELDS(F, S)  box_entry_FIELDS(F, S)
#define box_news_FIELDS(F, S)  box_entry_FIELDS(F, S)
#define box_part_FIELDS        STOA_NO_FIELDS
#define box_pause_FIELDS(F, S) F(S, uint64_t, value)
#define box_read_FIELDS        STOA_NO_FIELDS
#define box_heard_FIELDS(F, S) F(S, uint64_t, count) F(S, box_entries, entries)
#define box_ROWS(ROW, K)                                                                                               \
    ROW(K, CAST, item, _, "Something to note.")                                                                        \
    ROW(K, TOPIC, news, _, "The same, published.")                                                                     \
    ROW(K, COMMAND, part, heard, "Noted with key 0: parts what was sent before from what is sent behind.")             \
    ROW(K, CONTROL, pause, _, "Noted with key 1000: overtakes the others.")                                            \
    ROW(K, COMMAND, read, heard, "What was noted.")                                                                    \
    ROW(K, REPLY, heard, _, "In the order in which it came; the first 128.")
STOA_TABLE_HERE(box)

enum { CONTROL_KEY = 1000, BOX_LIMIT = 8 };

typedef struct box {
    box_heard heard;
} box;
#define box_HEARS(HEAR, K) HEAR(K, box, news)
static stoa_err box_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    return stoa_turn_subscribe(turn, "news");
}
static uint64_t box_key(const stoa_row *row, const void *payload)
{
    (void)row;
    return ((const box_entry *)payload)->key;
}
static bool box_merge(const stoa_row *row, void *older, const void *newer)
{
    box_entry *into = older;
    const box_entry *from = newer;
    (void)row;
    if (from->first != into->last + 1) { return false; }
    into->last = from->last;
    into->value = from->value;
    return true;
}
STOA_PLAIN_KIND(box, .mailbox_limit = BOX_LIMIT, .start = box_begin)

static void note(box *self, box_entry entry)
{
    if (self->heard.entries.count < 128) { self->heard.entries.at[self->heard.entries.count++] = entry; }
    self->heard.count++;
}
static stoa_err box_on_item(stoa_turn *turn, box *self, const box_item *in)
{
    (void)turn;
    note(self, (box_entry){in->key, in->first, in->last, in->value});
    return STOA_OK;
}
static stoa_err box_on_box_news(stoa_turn *turn, box *self, const box_news *in)
{
    assert_string_equal(stoa_turn_topic(turn), "news");
    note(self, (box_entry){in->key, in->first, in->last, in->value});
    return STOA_OK;
}
static stoa_err box_on_pause(stoa_turn *turn, box *self, const box_pause *in)
{
    (void)turn;
    note(self, (box_entry){.key = CONTROL_KEY, .value = in->value});
    return STOA_OK;
}
static stoa_err box_on_part(stoa_turn *turn, box *self, const box_part *in, box_heard *out)
{
    (void)turn;
    (void)in;
    (void)out;
    note(self, (box_entry){0});
    return STOA_OK;
}
static stoa_err box_on_read(stoa_turn *turn, box *self, const box_read *in, box_heard *out)
{
    (void)turn;
    (void)in;
    *out = self->heard;
    return STOA_OK;
}

/* --- hand: sends so many in one turn, so that nobody reads meanwhile */

#define hand_fill_FIELDS(F, S)                                                                                         \
    F(S, uint64_t, to) F(S, uint64_t, count) F(S, uint64_t, keys) F(S, uint64_t, way) F(S, uint64_t, within_ns)
#define hand_filled_FIELDS(F, S) F(S, uint64_t, sent) F(S, uint64_t, full) F(S, uint64_t, error)
#define hand_pour_FIELDS(F, S)   F(S, uint64_t, to) F(S, uint64_t, count)
#define hand_look_FIELDS         STOA_NO_FIELDS
#define hand_told_FIELDS(F, S)                                                                                         \
    F(S, uint64_t, rooms) F(S, uint64_t, room) F(S, uint64_t, token) F(S, int64_t, error) F(S, uint64_t, refused)      \
    F(S, uint64_t, poured) F(S, uint64_t, left) F(S, uint64_t, late)
#define hand_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, fill, filled, "Send so many to a box in one turn, the way that way says.")                          \
    ROW(K, REPLY, filled, _, "What the sends returned.")                                                               \
    ROW(K, CAST, pour, _, "Send so many, as many at a time as there is room for.")                                     \
    ROW(K, COMMAND, look, told, "What it was told.")                                                                   \
    ROW(K, REPLY, told, _, "What it was told.")
STOA_TABLE_HERE(hand)
enum {
    WAY_ITEM, WAY_PAUSE, WAY_NEWS, WAY_GAP, WAY_PART, WAY_WITHIN, WAY_TOLD, WAY_WAIT, WAY_ASK, WAY_ITEM_PAUSE,
};

typedef struct hand {
    hand_told told;
    stoa_ref to;
    uint64_t n;
} hand;
#define hand_HEARS(HEAR, K) HEAR(K, stoa_system, room) HEAR(K, stoa_system, refused) HEAR(K, box, heard)
static stoa_err hand_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    return stoa_turn_bind(turn, 0, "news");
}
STOA_PLAIN_KIND(hand, .start = hand_begin, .mailbox_limit = 1024)

static stoa_err send_one(stoa_turn *turn, hand *self, const hand_fill *in, uint64_t i)
{
    stoa_ref to = {in->to};
    uint64_t key = 1 + i % in->keys, n = i / in->keys + 1;
    box_item item = {key, n, n, i};
    box_news news = {key, n, n, i};
    switch (in->way) {
    case WAY_PAUSE: return box_send_pause(turn, to, (box_pause){i});
    case WAY_NEWS: return box_publish_news(turn, 0, &news);
    case WAY_GAP: return box_send_item(turn, to, (box_item){key, n + (i > 2), n + (i > 2), i});
    case WAY_PART: return i % 3 == 1 ? box_send_part(turn, to, (box_part){0}) : box_send_item(turn, to, item);
    case WAY_WITHIN: return box_within_item(turn, to, item, in->within_ns);
    case WAY_TOLD: return box_told_item(turn, to, item, i);
    case WAY_WAIT: return stoa_turn_when_room(turn, to, 7 + i);
    case WAY_ASK: return box_ask_part(turn, to, (box_part){0}, in->within_ns, i);
    case WAY_ITEM_PAUSE: return i % 2 ? box_send_pause(turn, to, (box_pause){i}) : box_send_item(turn, to, item);
    default: self->n++; return box_send_item(turn, to, item);
    }
}
static stoa_err hand_on_fill(stoa_turn *turn, hand *self, const hand_fill *in, hand_filled *out)
{
    for (uint64_t i = 0; i < in->count; i++) {
        stoa_err err = send_one(turn, self, in, i);
        out->sent += err == STOA_OK;
        out->full += err == STOA_E_FULL;
        if (err && err != STOA_E_FULL) { out->error = (uint64_t)-err; }
    }
    return STOA_OK;
}

static stoa_err pour(stoa_turn *turn, hand *self, uint64_t room)
{
    stoa_err err = STOA_OK;
    for (; room && self->told.left && !err; room--) {
        err = box_told_item(turn, self->to, (box_item){1, self->n + 1, self->n + 1, self->n}, self->n);
        if (!err) {
            self->n++;
            self->told.poured++;
            self->told.left--;
        }
    }
    return self->told.left ? stoa_turn_when_room(turn, self->to, 1) : STOA_OK;
}
static stoa_err hand_on_pour(stoa_turn *turn, hand *self, const hand_pour *in)
{
    self->to.at = in->to;
    self->told.left = in->count;
    return pour(turn, self, 0);
}
static stoa_err hand_on_stoa_system_room(stoa_turn *turn, hand *self, const stoa_system_room *in)
{
    self->told.rooms++;
    self->told.room = in->room;
    self->told.token = in->token;
    self->told.error = in->error;
    return self->told.left ? pour(turn, self, in->room) : STOA_OK;
}
static stoa_err hand_on_stoa_system_refused(stoa_turn *turn, hand *self, const stoa_system_refused *in)
{
    (void)turn;
    assert_int_equal(in->row, box_ROW_item);
    self->told.refused++;
    self->told.error = in->error;
    return STOA_OK;
}
static stoa_err hand_on_box_heard(stoa_turn *turn, hand *self, const box_heard *in)
{
    (void)in;
    self->told.late += turn->error == STOA_E_TIMEOUT;
    return STOA_OK;
}
static stoa_err hand_on_look(stoa_turn *turn, hand *self, const hand_look *in, hand_told *out)
{
    (void)turn;
    (void)in;
    *out = self->told;
    return STOA_OK;
}

/* --- a box of each policy */

enum { KEEPS, DROPS_OLDEST, DROPS_NEWEST, TAKES_NEWEST, TAKES_RANGES, TAKES_LATE, ROOMY, BOXES };
static stoa_kind box_kinds[BOXES];

static void make_kinds(void)
{
    static const char *const names[] = {"keeps", "oldest", "newest", "values", "ranges", "late", "roomy"};
    for (int i = 0; i < BOXES; i++) {
        box_kinds[i] = box_kind;
        box_kinds[i].name = names[i];
    }
    box_kinds[DROPS_OLDEST].when_full = STOA_FULL_DROP_OLDEST;
    box_kinds[DROPS_NEWEST].when_full = STOA_FULL_DROP_NEWEST;
    box_kinds[TAKES_NEWEST].conflate = (stoa_conflate){.key = box_key};
    box_kinds[TAKES_RANGES].conflate = (stoa_conflate){.key = box_key, .merge = box_merge};
    box_kinds[TAKES_LATE].conflate = (stoa_conflate){.key = box_key, .above = 4};
    box_kinds[ROOMY].mailbox_limit = 1 << 20;
}

#endif
