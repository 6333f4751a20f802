/* room.c - the kind "room" (event-sourced): a chat room with members and durable, gapless sequence numbers.
 *
 * A member posts; the post gets the next number and is published on "room.<name>". Who retries a post whose
 * answer was lost gets the first post's answer: the last ANSWERS_KEPT posts are remembered by (author,
 * client_post_id), found through a hash table of chains. The last POSTS_KEPT posts are held for history.
 *
 * Limits: a retry that comes after ANSWERS_KEPT other posts is a new post.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/room/room.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/room/room_msgs.h"
#include "base/hash.h"
#include "base/utf8.h"

enum { POSTS_KEPT = 1024, ANSWERS_KEPT = 4096, MEMBERS_MAX = 256, PAGE_MAX = 16, TOPIC_SLOT = 0 };

/* What a retry is answered from. Slots are numbered by seq modulo ANSWERS_KEPT; links are slot + 1, 0 ends a
 * chain. */
typedef struct answer {
    stoa_text30 author;
    uint64_t client_post_id, seq, at_ns, text_hash;
} answer;

typedef struct room {
    uint64_t last; /* sequence number of the newest post */
    room_names members;
    uint16_t chains[ANSWERS_KEPT]; /* newest first */
    uint16_t older[ANSWERS_KEPT];
    answer answers[ANSWERS_KEPT];
    room_entry posts[POSTS_KEPT];
} room;

#define room_HEARS STOA_HEARS_NOTHING
static stoa_err resume(stoa_turn *turn, const void *state);
static void inspect(const void *state, stoa_buf *out);
STOA_KIND(room, .resume = resume, .inspect = inspect)

/* --- members */

/* Index of name among the members, or members.count. */
static uint32_t member_index(const room *self, const stoa_text30 *name)
{
    uint32_t i = 0;
    while (i < self->members.count && !STOA_TEXT_EQ(&self->members.at[i], name)) {
        i++;
    }
    return i;
}

static bool is_member(const room *self, const stoa_text30 *name)
{
    return member_index(self, name) < self->members.count;
}

/* The node itself reads without being a member. */
static bool may_read(const room *self, const stoa_text30 *author)
{
    return author->len == 0 || is_member(self, author);
}

static stoa_err room_on_join(stoa_turn *turn, const room *self, const room_join *in, room_done *out)
{
    (void)out;
    if (in->author.len == 0) { return STOA_E_INVALID; }
    if (is_member(self, &in->author)) { return STOA_OK; }
    if (self->members.count == MEMBERS_MAX) { return STOA_E_FULL; }
    return room_emit_joined(turn, (room_joined){.author = in->author});
}

static void room_apply_joined(room *self, const room_joined *event)
{
    STOA_ASSERT(self->members.count < MEMBERS_MAX);
    self->members.at[self->members.count++] = event->author;
}

static stoa_err room_on_leave(stoa_turn *turn, const room *self, const room_leave *in, room_done *out)
{
    (void)out;
    if (!is_member(self, &in->author)) { return STOA_OK; }
    return room_emit_left(turn, (room_left){.author = in->author});
}

static void room_apply_left(room *self, const room_left *event)
{
    uint32_t at = member_index(self, &event->author);
    STOA_ASSERT(at < self->members.count);
    self->members.count--;
    memmove(&self->members.at[at], &self->members.at[at + 1], (self->members.count - at) * sizeof self->members.at[0]);
    memset(&self->members.at[self->members.count], 0, sizeof self->members.at[0]);
}

static stoa_err room_on_members(stoa_turn *turn, const room *self, const room_members *in, room_roster *out)
{
    (void)turn;
    if (!may_read(self, &in->author)) { return STOA_E_DENIED; }
    *out = (room_roster){.last = self->last, .members = self->members};
    return STOA_OK;
}

/* --- posts */

static uint64_t answer_slot(uint64_t seq)
{
    return seq % ANSWERS_KEPT;
}

static uint16_t *chain_of(room *self, const stoa_text30 *author, uint64_t client_post_id)
{
    return &self->chains[stoa_hash64(client_post_id, author->at, author->len) % ANSWERS_KEPT];
}

static const answer *find_answer(const room *self, const stoa_text30 *author, uint64_t client_post_id)
{
    uint16_t link = self->chains[stoa_hash64(client_post_id, author->at, author->len) % ANSWERS_KEPT];
    for (; link; link = self->older[link - 1]) {
        const answer *known = &self->answers[link - 1];
        if (known->client_post_id == client_post_id && STOA_TEXT_EQ(&known->author, author)) { return known; }
    }
    return NULL;
}

/* The slot's answer is the oldest one of all, so it stands at the end of its chain. */
static void forget_answer(room *self, uint64_t slot)
{
    const answer *oldest = &self->answers[slot];
    if (oldest->seq == 0) { return; }
    uint16_t *link = chain_of(self, &oldest->author, oldest->client_post_id);
    while (*link != slot + 1) {
        link = &self->older[*link - 1];
    }
    *link = 0;
}

static uint64_t text_hash(const stoa_text1022 *text)
{
    return stoa_hash64(text->len, text->at, text->len);
}

static stoa_err room_on_post(stoa_turn *turn, const room *self, const room_post *in, room_posted *out)
{
    if (in->author.len == 0 || in->client_post_id == 0 || !room_text_is_good(&in->text)) { return STOA_E_INVALID; }
    if (!is_member(self, &in->author)) { return STOA_E_DENIED; }
    const answer *known = find_answer(self, &in->author, in->client_post_id);
    if (known && known->text_hash != text_hash(&in->text)) { return STOA_E_DUPLICATE; }
    if (known) {
        *out = (room_posted){.seq = known->seq, .at_ns = known->at_ns};
        return STOA_OK;
    }
    room_message said = {.entry = {.seq = self->last + 1,
                                   .at_ns = turn->wall_ns,
                                   .client_post_id = in->client_post_id,
                                   .author = in->author,
                                   .text = in->text}};
    stoa_err err = room_emit_said(turn, (room_said){.entry = said.entry});
    if (err) { return err; }
    *out = (room_posted){.seq = said.entry.seq, .at_ns = said.entry.at_ns};
    return room_publish_message(turn, TOPIC_SLOT, &said);
}

static void room_apply_said(room *self, const room_said *event)
{
    const room_entry *entry = &event->entry;
    STOA_ASSERT(entry->seq == self->last + 1);
    uint64_t slot = answer_slot(entry->seq);
    forget_answer(self, slot);
    uint16_t *chain = chain_of(self, &entry->author, entry->client_post_id);
    self->answers[slot] = (answer){.author = entry->author,
                                   .client_post_id = entry->client_post_id,
                                   .seq = entry->seq,
                                   .at_ns = entry->at_ns,
                                   .text_hash = text_hash(&entry->text)};
    self->older[slot] = *chain;
    *chain = (uint16_t)(slot + 1);
    self->posts[entry->seq % POSTS_KEPT] = *entry;
    self->last = entry->seq;
}

/* --- history */

static uint64_t first_kept(const room *self)
{
    if (self->last == 0) { return 0; }
    return self->last < POSTS_KEPT ? 1 : self->last - POSTS_KEPT + 1;
}

static stoa_err room_on_history(stoa_turn *turn, const room *self, const room_history *in, room_page *out)
{
    (void)turn;
    if (!may_read(self, &in->author)) { return STOA_E_DENIED; }
    uint64_t limit = in->limit == 0 || in->limit > PAGE_MAX ? PAGE_MAX : in->limit;
    uint64_t seq = in->from_seq;
    if (seq == 0 && self->last >= limit) { seq = self->last - limit + 1; }
    if (seq < first_kept(self)) { seq = first_kept(self); }
    out->first_kept = first_kept(self);
    out->last = self->last;
    out->entries.count = 0;
    for (; seq != 0 && seq <= self->last && out->entries.count < limit; seq++) {
        out->entries.at[out->entries.count++] = self->posts[seq % POSTS_KEPT];
    }
    return STOA_OK;
}

/* --- the rest */

static stoa_err resume(stoa_turn *turn, const void *state)
{
    (void)state;
    char topic[STOA_NAME_MAX + 1];
    int length = snprintf(topic, sizeof topic, "room.%s", stoa_turn_key(turn));
    if (length < 0 || (size_t)length >= sizeof topic) { return STOA_E_INVALID; }
    return stoa_turn_bind(turn, TOPIC_SLOT, topic);
}

static void inspect(const void *state, stoa_buf *out)
{
    const room *self = state;
    stoa_buf_printf(out, "{\"last\":%" PRIu64 ",\"first_kept\":%" PRIu64 ",\"members\":[", self->last,
                    first_kept(self));
    for (uint32_t i = 0; i < self->members.count; i++) {
        stoa_buf_puts(out, i ? "," : "");
        stoa_buf_json_string(out, self->members.at[i].at, self->members.at[i].len);
    }
    stoa_buf_puts(out, "]}");
}
