/* room_test.c - goal: a room's posts have durable numbers without gaps, an answered post is never lost nor
 * doubled, whatever is not allowed changes nothing. Method: small scenes in the simulator, and random runs
 * with power cuts over 100 seeds that are checked against a list kept beside.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/room/room.h"
#include "actors/room/room_msgs.h"
#include "base/random.h"
#include "runtime/sim.h"
#include "storage/sim/journal.h"

STOA_PROXY(room)

#define DEADLINE STOA_S(30)
enum { KEPT = 1024, ANSWERS = 4096, MEMBERS = 256, SEEDS = 100 };

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref lobby;
    uint64_t seed;
} world;

static void attach(world *w)
{
    stoa_shard_options options = {
        .name = "rooms", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:rooms"};
    assert_int_equal(stoa_shard_open(w->node, &options, &w->shard), STOA_OK);
    stoa_spawn_options spawn = {.shard = w->shard};
    assert_int_equal(stoa_spawn(w->node, &room_kind, "room/lobby", &spawn, &w->lobby), STOA_OK);
}

static world world_new(uint64_t seed)
{
    static const stoa_kind *const kinds[] = {&room_kind, NULL};
    world w = {.seed = seed};
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("rooms", seed, &disk), STOA_OK);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = seed, .kinds = kinds}, &w.sim, &w.node), STOA_OK);
    attach(&w);
    return w;
}

static void crash(world *w)
{
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("rooms", w->seed, &disk), STOA_OK);
    stoa_sim_disk_crash(disk);
    assert_int_equal(stoa_sim_crash(w->sim, &w->node), STOA_OK);
    attach(w);
}

/* The state is what the journal says, and goes. */
static void finish(world *w)
{
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    assert_int_equal(stoa_sim_settle(w->sim, 1000000), STOA_OK);
    assert_int_equal(stoa_shard_look(w->shard, &live), STOA_OK);
    assert_int_equal(stoa_shard_replay(w->shard, live.applied, &hash, &events), STOA_OK);
    assert_int_equal(events, live.applied);
    assert_true(hash == live.hash);
    stoa_sim_free(w->sim);
    stoa_sim_disks_free();
}

static uint64_t hash_of(world *w)
{
    stoa_shard_view view;
    assert_int_equal(stoa_shard_look(w->shard, &view), STOA_OK);
    return view.hash;
}

static stoa_text30 name(const char *text)
{
    stoa_text30 out = {0};
    assert_int_equal(STOA_TEXT_SETZ(&out, text), STOA_OK);
    return out;
}

static stoa_err join(world *w, const char *who)
{
    room_done done;
    return room_call_join(w->node, w->lobby, (room_join){name(who)}, DEADLINE, &done);
}

static stoa_err leave(world *w, const char *who)
{
    room_done done;
    return room_call_leave(w->node, w->lobby, (room_leave){name(who)}, DEADLINE, &done);
}

static stoa_err post_bytes(world *w, const char *who, uint64_t id, const void *bytes, size_t size, room_posted *out)
{
    room_post post = {.author = name(who), .client_post_id = id};
    assert_int_equal(STOA_TEXT_SET(&post.text, bytes, size), STOA_OK);
    return room_call_post(w->node, w->lobby, post, DEADLINE, out);
}

static stoa_err post(world *w, const char *who, uint64_t id, const char *text, room_posted *out)
{
    return post_bytes(w, who, id, text, strlen(text), out);
}

static room_page *history(world *w, const char *who, uint64_t from, uint64_t limit)
{
    static room_page page;
    room_history ask = {.author = name(who), .from_seq = from, .limit = limit};
    assert_int_equal(room_call_history(w->node, w->lobby, ask, DEADLINE, &page), STOA_OK);
    return &page;
}

static room_roster *members(world *w, const char *who)
{
    static room_roster roster;
    assert_int_equal(room_call_members(w->node, w->lobby, (room_members){name(who)}, DEADLINE, &roster), STOA_OK);
    return &roster;
}

/* --- scenes */

static void posts_are_numbered_from_one_without_gaps(void **state)
{
    (void)state;
    world w = world_new(1);
    room_posted posted;
    assert_int_equal(history(&w, "", 0, 0)->entries.count, 0);
    assert_int_equal(join(&w, "ann"), STOA_OK);
    for (uint64_t i = 1; i <= 40; i++) {
        assert_int_equal(post(&w, "ann", 100 + i, "hello", &posted), STOA_OK);
        assert_int_equal(posted.seq, i);
        assert_true(posted.at_ns > 0);
    }
    room_page *page = history(&w, "ann", 30, 4);
    assert_int_equal(page->first_kept, 1);
    assert_int_equal(page->last, 40);
    assert_int_equal(page->entries.count, 4);
    assert_int_equal(page->entries.at[3].seq, 33);
    assert_int_equal(page->entries.at[3].client_post_id, 133);
    assert_true(STOA_TEXT_EQZ(&page->entries.at[3].author, "ann"));
    assert_true(STOA_TEXT_EQZ(&page->entries.at[3].text, "hello"));
    page = history(&w, "", 0, 0);
    assert_int_equal(page->entries.count, 16);
    assert_int_equal(page->entries.at[15].seq, 40);
    assert_int_equal(history(&w, "ann", 41, 5)->entries.count, 0);
    finish(&w);
}

static void a_repeated_post_is_answered_with_the_first(void **state)
{
    (void)state;
    world w = world_new(2);
    room_posted first, again, other;
    assert_int_equal(join(&w, "ann"), STOA_OK);
    assert_int_equal(join(&w, "bob"), STOA_OK);
    assert_int_equal(post(&w, "ann", 7, "one", &first), STOA_OK);
    assert_int_equal(post(&w, "bob", 7, "two", &other), STOA_OK);
    assert_int_equal(other.seq, 2);
    stoa_sim_run(w.sim, STOA_S(1));
    uint64_t before = hash_of(&w);
    assert_int_equal(post(&w, "ann", 7, "one", &again), STOA_OK);
    assert_memory_equal(&first, &again, sizeof first);
    assert_int_equal(post(&w, "ann", 7, "another text", &again), STOA_E_DUPLICATE);
    assert_true(hash_of(&w) == before);
    crash(&w);
    assert_int_equal(post(&w, "ann", 7, "one", &again), STOA_OK);
    assert_memory_equal(&first, &again, sizeof first);
    finish(&w);
}

/* The oldest answer is forgotten when the window is full, the one behind it is not; over several windows, so that places in
 * the table of answers are used again and again. */
static void answers_are_remembered_for_a_bounded_number_of_posts(void **state)
{
    (void)state;
    enum { POSTS = 6 * ANSWERS + 1 };
    world w = world_new(3);
    room_posted posted;
    assert_int_equal(join(&w, "ann"), STOA_OK);
    for (uint64_t i = 1; i <= POSTS; i++) {
        assert_int_equal(post(&w, "ann", i, "x", &posted), STOA_OK);
    }
    for (uint64_t i = POSTS - ANSWERS + 1; i <= POSTS; i++) {
        assert_int_equal(post(&w, "ann", i, "x", &posted), STOA_OK);
        assert_int_equal(posted.seq, i);
    }
    assert_int_equal(post(&w, "ann", POSTS - ANSWERS, "x", &posted), STOA_OK);
    assert_int_equal(posted.seq, POSTS + 1);
    room_page *page = history(&w, "ann", 1, 16);
    assert_int_equal(page->first_kept, POSTS + 1 - KEPT + 1);
    assert_int_equal(page->entries.at[0].seq, page->first_kept);
    finish(&w);
}

static void only_members_post_and_read(void **state)
{
    (void)state;
    world w = world_new(4);
    room_posted posted;
    room_page page;
    room_roster roster;
    uint64_t before = hash_of(&w);
    assert_int_equal(post(&w, "ann", 1, "hello", &posted), STOA_E_DENIED);
    assert_int_equal(room_call_history(w.node, w.lobby, (room_history){.author = name("ann")}, DEADLINE, &page),
                     STOA_E_DENIED);
    assert_int_equal(room_call_members(w.node, w.lobby, (room_members){name("ann")}, DEADLINE, &roster), STOA_E_DENIED);
    assert_int_equal(join(&w, ""), STOA_E_INVALID);
    assert_int_equal(post(&w, "", 1, "hello", &posted), STOA_E_INVALID);
    assert_int_equal(leave(&w, "ann"), STOA_OK);
    assert_true(hash_of(&w) == before);
    assert_int_equal(join(&w, "ann"), STOA_OK);
    assert_int_equal(post(&w, "ann", 1, "hello", &posted), STOA_OK);
    assert_int_equal(leave(&w, "ann"), STOA_OK);
    assert_int_equal(post(&w, "ann", 2, "hello", &posted), STOA_E_DENIED);
    finish(&w);
}

static void members_are_listed_in_order_of_joining_and_bounded(void **state)
{
    (void)state;
    world w = world_new(5);
    char who[16];
    for (int i = 0; i < MEMBERS; i++) {
        (void)snprintf(who, sizeof who, "m%d", i);
        assert_int_equal(join(&w, who), STOA_OK);
    }
    assert_int_equal(join(&w, "late"), STOA_E_FULL);
    assert_int_equal(join(&w, "m7"), STOA_OK); /* is one already */
    assert_int_equal(leave(&w, "m3"), STOA_OK);
    assert_int_equal(join(&w, "late"), STOA_OK);
    room_roster *roster = members(&w, "late");
    assert_int_equal(roster->members.count, MEMBERS);
    assert_true(STOA_TEXT_EQZ(&roster->members.at[2], "m2"));
    assert_true(STOA_TEXT_EQZ(&roster->members.at[3], "m4"));
    assert_true(STOA_TEXT_EQZ(&roster->members.at[MEMBERS - 1], "late"));
    finish(&w);
}

static void texts_that_are_not_text_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        stoa_err err;
    } rows[] = {
        {"", 0, STOA_E_INVALID},
        {"a\0b", 3, STOA_E_INVALID},
        {"bell \a", 6, STOA_E_INVALID},
        {"\r\n", 2, STOA_E_INVALID},
        {"\x1b[31m", 5, STOA_E_INVALID},
        {"\x7f", 1, STOA_E_INVALID},
        {"\xc2\x85", 2, STOA_E_INVALID},     /* C1: next line */
        {"\xc3", 1, STOA_E_INVALID},         /* cut UTF-8 */
        {"\xed\xa0\x80", 3, STOA_E_INVALID}, /* a surrogate */
        {"tab\tand\nline", 12, STOA_OK},
        {"\xc2\xa0gr\xc3\xbc\xc3\x9f\xf0\x9f\x8f\x9b", 12, STOA_OK},
    };
    world w = world_new(6);
    room_posted posted;
    char longest[1022];
    assert_int_equal(join(&w, "ann"), STOA_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(post_bytes(&w, "ann", i + 1, rows[i].bytes, rows[i].size, &posted), rows[i].err);
    }
    assert_int_equal(post(&w, "ann", 0, "no id", &posted), STOA_E_INVALID);
    memset(longest, 'x', sizeof longest);
    assert_int_equal(post_bytes(&w, "ann", 99, longest, sizeof longest, &posted), STOA_OK);
    assert_int_equal(posted.seq, 3);
    finish(&w);
}

/* --- random runs */

typedef struct said {
    uint64_t id;
    room_posted answer;
    unsigned author;
} said;

enum { AUTHORS = 3, STEPS = 120 };
static const char *const authors[AUTHORS] = {"ann", "bob", "cyd"};

static void text_of(uint64_t id, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "post %llu", (unsigned long long)id);
}

static void check_all(world *w, const said *list, uint64_t count)
{
    for (uint64_t from = 1; from <= count; from += 16) {
        const room_page *page = history(w, "", from, 16);
        assert_int_equal(page->last, count);
        for (uint32_t i = 0; i < page->entries.count; i++) {
            const room_entry *entry = &page->entries.at[i];
            const said *was = &list[from + i - 1];
            char text[32];
            text_of(was->id, text, sizeof text);
            assert_int_equal(entry->seq, from + i);
            assert_int_equal(entry->client_post_id, was->id);
            assert_int_equal(entry->at_ns, was->answer.at_ns);
            assert_true(STOA_TEXT_EQZ(&entry->author, authors[was->author]));
            assert_true(STOA_TEXT_EQZ(&entry->text, text));
        }
    }
}

static void run_seed(uint64_t seed)
{
    world w = world_new(seed);
    stoa_random random;
    said list[STEPS];
    uint64_t count = 0;
    stoa_random_seed(&random, seed);
    for (unsigned i = 0; i < AUTHORS; i++) {
        assert_int_equal(join(&w, authors[i]), STOA_OK);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t dice = stoa_random_below(&random, 100);
        bool again = count > 0 && dice < 30;
        said now = {.id = 1000 + step, .author = (unsigned)stoa_random_below(&random, AUTHORS)};
        if (again) { now = list[stoa_random_below(&random, count)]; }
        char text[32];
        text_of(now.id, text, sizeof text);
        room_posted posted;
        assert_int_equal(post(&w, authors[now.author], now.id, text, &posted), STOA_OK);
        if (again) {
            assert_memory_equal(&posted, &now.answer, sizeof posted);
        } else {
            now.answer = posted;
            list[count++] = now;
            assert_int_equal(posted.seq, count);
        }
        if (dice >= 96) { crash(&w); }
    }
    check_all(&w, list, count);
    finish(&w);
}

static void answered_posts_survive_power_cuts_in_every_seed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %llu\r", (unsigned long long)seed);
        run_seed(seed);
    }
    print_message("\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posts_are_numbered_from_one_without_gaps),
        cmocka_unit_test(a_repeated_post_is_answered_with_the_first),
        cmocka_unit_test(answers_are_remembered_for_a_bounded_number_of_posts),
        cmocka_unit_test(only_members_post_and_read),
        cmocka_unit_test(members_are_listed_in_order_of_joining_and_bounded),
        cmocka_unit_test(texts_that_are_not_text_are_refused),
        cmocka_unit_test(answered_posts_survive_power_cuts_in_every_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
