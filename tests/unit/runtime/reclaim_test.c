/* reclaim_test.c - goal: what subscribing replaces is freed, never too early, and what waits is bounded. Method: a core that
 * does not pass, by hand; then real cores where actors subscribe, join and leave a million times while others publish and
 * choose: the memory of the tables is looked at all the while, that of the process where no sanitizer keeps what is freed.
 * Meant for TSan and ASan: a list that is freed too early is read there.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/internal.h"
#include "runtime/stoa.h"

/* Of each actor; each is three subscriptions and their ends. */
#if defined(__SANITIZE_THREAD__)
enum { CYCLES = 15000, SANITIZED = 1 };
#elif defined(__SANITIZE_ADDRESS__)
enum { CYCLES = 115000, SANITIZED = 1 };
#else
enum { CYCLES = 115000, SANITIZED = 0 };
#endif

/* --- by hand */

static void what_a_core_may_still_read_stays(void **state)
{
    (void)state;
    stoa_reclaim *reclaim = calloc(1, sizeof *reclaim);
    stoa_reclaim_init(reclaim);
    stoa_reclaim_pass(reclaim, 0);
    stoa_reclaim_pass(reclaim, 5);
    stoa_reclaim_retire(reclaim, stoa_reclaim_new(reclaim, 100));
    assert_int_equal(reclaim->used_bytes, 100);
    stoa_reclaim_pass(reclaim, 0);
    assert_true(stoa_reclaim_room(reclaim));
    assert_int_equal(reclaim->used_bytes, 100); /* core 5 has not passed */
    stoa_reclaim_retire(reclaim, stoa_reclaim_new(reclaim, 30));
    stoa_reclaim_park(reclaim, 5);
    assert_true(stoa_reclaim_room(reclaim));
    assert_int_equal(reclaim->used_bytes, 30); /* core 0 passed in between */
    stoa_reclaim_pass(reclaim, 5);
    stoa_reclaim_pass(reclaim, 0);
    assert_true(stoa_reclaim_room(reclaim));
    assert_int_equal(reclaim->used_bytes, 0);
    stoa_reclaim_deinit(reclaim);
    free(reclaim);
}

static void while_a_core_is_stuck_what_waits_is_bounded(void **state)
{
    (void)state;
    stoa_node *node = calloc(1, sizeof *node);
    stoa_topic *topic;
    stoa_err err = STOA_OK;
    stoa_ref who = stoa_ref_make(1, 0, 1);
    assert_int_equal(stoa_topics_init(&node->topics), STOA_OK);
    assert_int_equal(stoa_topics_open(node, "t", &topic), STOA_OK);
    stoa_reclaim_pass(&node->topics.reclaim, 3);
    uint32_t cycles = 0;
    for (; !err && cycles < 10000000; cycles++) {
        err = stoa_topics_subscribe(node, "t", who);
        if (!err) { stoa_topics_unsubscribe(node, "t", who); }
    }
    assert_int_equal(err, STOA_E_FULL);
    assert_in_range(node->topics.reclaim.used_bytes, STOA_RETIRED_MAX, STOA_RETIRED_MAX + 4096);
    stoa_reclaim_pass(&node->topics.reclaim, 3);
    assert_int_equal(stoa_topics_subscribe(node, "t", who), STOA_OK);
    assert_in_range(node->topics.reclaim.used_bytes, 1, 4096);
    stoa_topics_deinit(&node->topics);
    free(node);
}

/* --- real cores */

#define fickle_flip_FIELDS        STOA_NO_FIELDS
#define fickle_job_FIELDS         STOA_NO_FIELDS
#define fickle_poke_FIELDS        STOA_NO_FIELDS
#define fickle_look_FIELDS        STOA_NO_FIELDS
#define fickle_news_FIELDS(F, S)  F(S, uint64_t, n)
#define fickle_seen_FIELDS(F, S)  F(S, uint64_t, cycles) F(S, uint64_t, news) F(S, uint64_t, jobs) F(S, uint64_t, errors)
#define fickle_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, flip, _, "Subscribe and join if not, else unsubscribe and leave; and again.")                         \
    ROW(K, CAST, job, _, "For one member.")                                                                            \
    ROW(K, CAST, poke, _, "Publish, and choose a member.")                                                             \
    ROW(K, COMMAND, look, seen, "What happened so far.")                                                               \
    ROW(K, TOPIC, news, _, "For all.")                                                                                 \
    ROW(K, REPLY, seen, _, "What happened so far.")
STOA_TABLE(fickle)
STOA_TABLE_DEFINE(fickle)
typedef struct fickle {
    fickle_seen seen;
    stoa_ref speaker;
    bool in;
    bool is_speaker;
} fickle;
#define fickle_HEARS(HEAR, K) HEAR(K, fickle, news)
static stoa_err fickle_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(fickle, .mailbox_limit = 1 << 20, .start = fickle_start)

static stoa_err fickle_start(stoa_turn *turn, void *state, const void *args)
{
    fickle *self = state;
    (void)args;
    self->speaker = stoa_turn_find(turn, "fickle/speaker");
    self->is_speaker = !self->speaker.at || stoa_ref_equal(self->speaker, turn->self);
    stoa_err err = stoa_turn_bind(turn, 0, "news.of.today");
    return err ? err : stoa_turn_bind(turn, 1, "crew");
}

static stoa_err come(stoa_turn *turn)
{
    stoa_err err = stoa_turn_subscribe(turn, "news.>");
    if (!err) { err = stoa_turn_subscribe(turn, "news.of.*"); }
    return err ? err : stoa_turn_join(turn, "crew");
}

static stoa_err go(stoa_turn *turn)
{
    stoa_err err = stoa_turn_unsubscribe(turn, "news.of.*");
    if (!err) { err = stoa_turn_unsubscribe(turn, "news.>"); }
    return err ? err : stoa_turn_leave(turn, "crew");
}

static stoa_err fickle_on_flip(stoa_turn *turn, fickle *self, const fickle_flip *in)
{
    (void)in;
    stoa_err err = self->in ? go(turn) : come(turn);
    self->seen.errors += err && err != STOA_E_FULL;
    if (!err) { /* FULL: a core was not given time to pass; the rest is tried again */
        self->seen.cycles += self->in;
        self->in = !self->in;
    }
    (void)fickle_send_poke(turn, self->speaker, (fickle_poke){0}); /* FULL: once less */
    return self->seen.cycles < CYCLES ? fickle_send_flip(turn, turn->self, (fickle_flip){0}) : STOA_OK;
}

static stoa_err fickle_on_poke(stoa_turn *turn, fickle *self, const fickle_poke *in)
{
    (void)in;
    fickle_news news = {++self->seen.news};
    (void)fickle_publish_news(turn, 0, &news);
    stoa_ref one = stoa_turn_member(turn, 1, news.n), next = stoa_turn_member_next(turn, 1);
    if (one.at) { (void)fickle_send_job(turn, one, (fickle_job){0}); }
    if (next.at) { (void)fickle_send_job(turn, next, (fickle_job){0}); }
    return STOA_OK;
}

static stoa_err fickle_on_job(stoa_turn *turn, fickle *self, const fickle_job *in)
{
    (void)turn;
    (void)in;
    self->seen.jobs++;
    return STOA_OK;
}

static stoa_err fickle_on_fickle_news(stoa_turn *turn, fickle *self, const fickle_news *in)
{
    (void)in;
    self->seen.news += stoa_turn_topic(turn)[0] == 'n';
    return STOA_OK;
}

static stoa_err fickle_on_look(stoa_turn *turn, fickle *self, const fickle_look *in, fickle_seen *out)
{
    (void)turn;
    (void)in;
    *out = self->seen;
    return STOA_OK;
}

static size_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    (void)fclose(file);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t table_bytes(stoa_node *node)
{
    (void)pthread_mutex_lock(&node->topics.lock);
    (void)stoa_reclaim_room(&node->topics.reclaim);
    size_t used = node->topics.reclaim.used_bytes;
    (void)pthread_mutex_unlock(&node->topics.lock);
    return used;
}

/* Everything that cores handed to subscribers was heard: their mailboxes hold all of it. False: not yet. (What found no room on
 * its way to a core that was not given time was not handed to anybody.) */
static bool all_is_accounted_for(stoa_node *node, const stoa_ref *who, uint32_t count)
{
    uint64_t lent = 0, heard = 0;
    fickle_seen seen;
    stoa_core_view view;
    for (uint32_t i = 0; i < stoa_core_count(node); i++) {
        assert_int_equal(stoa_core_look(node, i, &view), STOA_OK);
        lent += view.lent;
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(fickle_call_look(node, who[i], (fickle_look){0}, STOA_S(60), &seen), STOA_OK);
        heard += seen.news;
    }
    return lent == heard;
}

static void a_million_subscriptions_and_their_ends_leave_nothing(void **state)
{
    enum { FICKLE = 3, CORES = 3 };
    static const char *const names[FICKLE] = {"fickle/a", "fickle/b", "fickle/c"};
    (void)state;
    stoa_node *node;
    stoa_ref speaker, who[FICKLE];
    fickle_seen seen;
    uint64_t done = 0, news = 0, jobs = 0;
    size_t most = 0, resident_begin = 0;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = CORES}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &fickle_kind, "fickle/speaker", &(stoa_spawn_options){.core = 0}, &speaker), STOA_OK);
    for (uint32_t i = 0; i < FICKLE; i++) {
        stoa_spawn_options options = {.core = i % CORES};
        assert_int_equal(stoa_spawn(node, &fickle_kind, names[i], &options, &who[i]), STOA_OK);
        assert_int_equal(fickle_post_flip(node, who[i], (fickle_flip){0}), STOA_OK);
    }
    while (done < FICKLE * (uint64_t)CYCLES) {
        (void)poll(NULL, 0, 20);
        done = news = jobs = 0;
        for (uint32_t i = 0; i < FICKLE; i++) {
            assert_int_equal(fickle_call_look(node, who[i], (fickle_look){0}, STOA_S(60), &seen), STOA_OK);
            assert_int_equal(seen.errors, 0);
            done += seen.cycles;
            news += seen.news;
            jobs += seen.jobs;
        }
        size_t used = table_bytes(node);
        if (used > most) { most = used; }
        if (!resident_begin && done > (uint64_t)CYCLES / 4) { resident_begin = resident_bytes(); }
    }
    print_message("%llu cycles of three subscriptions, %llu news and %llu jobs meanwhile; tables %zu bytes at most, ",
                  (unsigned long long)done, (unsigned long long)news, (unsigned long long)jobs, most);
    size_t resident = resident_bytes();
    print_message("process %zu then %zu KiB\n", resident_begin / 1024, resident / 1024);
    assert_true(news > 0);
    assert_true(jobs > 0);
    assert_in_range(most, 1, STOA_RETIRED_MAX + (1 << 20));
    if (!SANITIZED) { assert_true(resident < resident_begin + (64U << 20)); }
    for (uint32_t waited_ms = 0; table_bytes(node) && waited_ms < 60000; waited_ms++) { (void)poll(NULL, 0, 1); }
    bool whole = false;
    for (uint32_t waited_ms = 0; !whole && waited_ms < 60000; waited_ms++) {
        whole = all_is_accounted_for(node, who, FICKLE);
        (void)poll(NULL, 0, 1);
    }
    assert_true(whole);
    assert_int_equal(table_bytes(node), 0); /* nobody is subscribed, every core has passed or sleeps */
    stoa_node_close(node, STOA_S(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_core_may_still_read_stays),
        cmocka_unit_test(while_a_core_is_stuck_what_waits_is_bounded),
        cmocka_unit_test(a_million_subscriptions_and_their_ends_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
