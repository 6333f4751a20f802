/* large_state.c - a diary: thousands of notes, by name and by day, in a state that is plain memory all the same.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stoa/base/omap.h>
#include <stoa/base/pool.h>
#include <stoa/base/text_map.h>
#include <stoa/base/texts.h>
#include <stoa/stoa.h>
#include <stoa/storage/rocksdb/journal.h>

#define diary_note_FIELDS(F, S)     F(S, stoa_text30, name) F(S, uint64_t, day) F(S, stoa_text254, text)
#define diary_noted_FIELDS(F, S)    F(S, stoa_text30, name) F(S, uint64_t, day) F(S, stoa_text254, text)
#define diary_since_FIELDS(F, S)    F(S, uint64_t, day)
#define diary_entry_FIELDS(F, S)    F(S, uint64_t, day) F(S, stoa_text254, text)
#define diary_done_FIELDS           STOA_NO_FIELDS
#define diary_ROWS(ROW, K)                                                                  \
    ROW(K, COMMAND, note, done, "Write a note, in place of an older one of that name.")    \
    ROW(K, COMMAND, since, entry, "The first note of that day or a later one.")            \
    ROW(K, EVENT, noted, _, "A note was written.")                                         \
    ROW(K, REPLY, entry, _, "A note.")                                                     \
    ROW(K, REPLY, done, _, "Done.")
STOA_TABLE_HERE(diary)

enum { NOTES = 10000, SLOTS = 16384 };

typedef struct diary_page {
    stoa_text30 name;
    uint64_t day;
    uint32_t text, pad_;
} diary_page;

typedef struct diary {
    STOA_POOL(diary_page, NOTES) pages;
    STOA_TEXT_MAP(stoa_text30, SLOTS) by_name; /* to its place in pages */
    STOA_OMAP(NOTES) by_day;                   /* day and place in one key: many notes have the same day */
    STOA_TEXTS(1 << 20, NOTES) texts;
} diary;

#define diary_HEARS STOA_HEARS_NOTHING
STOA_KIND(diary, .mailbox_limit = 1024)

static uint64_t day_key(uint64_t day, uint32_t place)
{
    return day << 32 | place;
}

static stoa_err diary_on_note(stoa_turn *turn, const diary *self, const diary_note *in, diary_done *out)
{
    (void)out;
    if (in->name.len == 0 || in->day > UINT32_MAX) { return STOA_E_INVALID; }
    bool known = STOA_TEXT_MAP_GET(&self->by_name, &in->name) != 0;
    if (!known && self->pages.pool.used == NOTES - 1) { return STOA_E_FULL; } /* apply cannot fail: ask before */
    if (!STOA_TEXTS_ROOM(&self->texts, in->text.len)) { return STOA_E_FULL; }
    return diary_emit_noted(turn, (diary_noted){.name = in->name, .day = in->day, .text = in->text});
}

static void diary_apply_noted(diary *self, const diary_noted *event)
{
    uint32_t place = STOA_TEXT_MAP_GET(&self->by_name, &event->name);
    uint32_t text = STOA_TEXTS_PUT(&self->texts, event->text.at, event->text.len);
    if (place == 0) {
        place = STOA_POOL_TAKE(&self->pages);
        STOA_TEXT_MAP_PUT(&self->by_name, &event->name, place);
    } else {
        STOA_TEXTS_GIVE(&self->texts, self->pages.at[place].text);
        STOA_OMAP_REMOVE(&self->by_day, day_key(self->pages.at[place].day, place));
    }
    self->pages.at[place] = (diary_page){.name = event->name, .day = event->day, .text = text};
    STOA_OMAP_PUT(&self->by_day, day_key(event->day, place), place);
}

static stoa_err diary_on_since(stoa_turn *turn, const diary *self, const diary_since *in, diary_entry *out)
{
    (void)turn;
    size_t size;
    uint32_t place = STOA_OMAP_FROM(&self->by_day, day_key(in->day, 0)).value;
    if (place == 0) { return STOA_E_NOT_FOUND; }
    const char *text = STOA_TEXTS_GET(&self->texts, self->pages.at[place].text, &size);
    out->day = self->pages.at[place].day;
    return STOA_TEXT_SET(&out->text, text, size);
}

int main(void)
{
    stoa_options options = {.kinds = STOA_KINDS(&diary_kind), .journal = &stoa_journal_rocksdb, .path = "diary.db"};
    stoa_node *node = NULL;
    stoa_ref mine = {0};
    diary_done done;
    diary_entry entry = {0};
    diary_note tea = {.name = stoa_text("tea"), .day = 12, .text = stoa_text("Tea with Ada.")};
    diary_note again = {.name = stoa_text("tea"), .day = 30, .text = stoa_text("Tea with Ada was put off.")};
    stoa_err err = stoa_node_open(&options, &node);
    if (!err) { err = stoa_spawn(node, &diary_kind, "diary/mine", STOA_DISK, &mine); }
    if (!err) { err = diary_call_note(node, mine, tea, STOA_S(10), &done); }
    if (!err) { err = diary_call_note(node, mine, again, STOA_S(10), &done); }
    if (!err) { err = diary_call_since(node, mine, (diary_since){13}, STOA_S(10), &entry); }
    if (!err) { printf("day %" PRIu64 ": %.*s\n", entry.day, STOA_TEXT_ARGS(&entry.text)); }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
