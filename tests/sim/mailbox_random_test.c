/* mailbox_random_test.c - goal: whatever is sent to mailboxes is handled, refused, dropped for a reason, or made one with another
 * message; nothing is lost between these, nothing is there twice, and each lane keeps its order. Method: three sources on three
 * cores send casts, control rows, messages with deadlines and messages to be told of, some published, to actors of every policy,
 * plain and of a shard, while turns are lost, actors fail, cores and rings stall and memory runs out. Books are kept outside of
 * the actors and must balance when all is quiet.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "runtime/kit.h"
#include "runtime/stoa.h"

enum { SOURCES = 3, SINKS = 9, KEYS = 4, ROUNDS = 60, LIMIT = 12, CORES = 3 };

/* Numbers first..last of (source, sink, key); value is their sum. */
#define sink_item_FIELDS(F, S)                                                                                         \
    F(S, uint64_t, sink) F(S, uint64_t, source) F(S, uint64_t, key) F(S, uint64_t, first) F(S, uint64_t, last)         \
    F(S, uint64_t, value)
#define sink_news_FIELDS(F, S)  sink_item_FIELDS(F, S)
#define sink_pause_FIELDS(F, S) F(S, uint64_t, sink) F(S, uint64_t, source) F(S, uint64_t, n)
#define sink_ROWS(ROW, K)                                                                                              \
    ROW(K, CAST, item, _, "Something of a key.")                                                                       \
    ROW(K, TOPIC, news, _, "The same, to all who hear it.")                                                            \
    ROW(K, CONTROL, pause, _, "On the control lane.")
STOA_TABLE_HERE(sink)

/* What happened in one run, of all actors. */
static struct {
    uint64_t sent, handled, told, letters, dead, heard, published;
    uint64_t numbers[SOURCES][SINKS][KEYS], last[SOURCES][SINKS][KEYS];
    uint64_t pauses[SOURCES][SINKS], paused[SOURCES][SINKS];
    uint64_t news[SOURCES], news_last[SOURCES][SINKS];
    stoa_ref sinks[SINKS];
    stoa_sim *sim;
} books;

static uint64_t sum(uint64_t first, uint64_t last)
{
    return (first + last) * (last - first + 1) / 2;
}

static void handled_item(const sink_item *in)
{
    uint64_t *last = &books.last[in->source][in->sink][in->key];
    assert_true(in->first > *last && in->last >= in->first); /* in order, and nothing twice */
    assert_int_equal(in->value, sum(in->first, in->last));   /* what was merged is whole */
    *last = in->last;
    books.handled++;
}

static uint64_t sink_number(const stoa_turn *turn)
{
    for (uint64_t i = 0; i < SINKS; i++) {
        if (stoa_ref_equal(turn->self, books.sinks[i])) { return i; }
    }
    return SINKS; /* it starts, and hears before it is entered */
}

/* --- plain sinks */

typedef struct sink {
    uint64_t nothing;
} sink;
#define sink_HEARS(HEAR, K) HEAR(K, sink, news)
static stoa_err sink_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    return stoa_turn_subscribe(turn, "news");
}
static uint64_t sink_key(const stoa_row *row, const void *payload)
{
    const sink_item *item = payload;
    (void)row;
    return 1 + item->source * KEYS + item->key;
}
static bool sink_merge(const stoa_row *row, void *older, const void *newer)
{
    sink_item *into = older;
    const sink_item *from = newer;
    (void)row;
    if (from->first != into->last + 1) { return false; }
    into->last = from->last;
    into->value += from->value;
    return true;
}
STOA_PLAIN_KIND(sink, .mailbox_limit = LIMIT, .start = sink_begin)
static stoa_err sink_on_item(stoa_turn *turn, sink *self, const sink_item *in)
{
    (void)self;
    assert_int_equal(sink_number(turn), in->sink);
    handled_item(in);
    return STOA_OK;
}
static stoa_err sink_on_sink_news(stoa_turn *turn, sink *self, const sink_news *in)
{
    uint64_t number = sink_number(turn);
    (void)self;
    books.heard++;
    assert_int_equal(in->value, sum(in->first, in->last));
    if (number == SINKS) { return STOA_OK; }
    assert_true(in->first > books.news_last[in->source][number]);
    books.news_last[in->source][number] = in->last;
    return STOA_OK;
}
static stoa_err sink_on_pause(stoa_turn *turn, sink *self, const sink_pause *in)
{
    (void)turn;
    (void)self;
    assert_true(in->n > books.paused[in->source][in->sink]);
    books.paused[in->source][in->sink] = in->n;
    books.handled++;
    return STOA_OK;
}

/* --- sinks of a shard */

#define vault_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, item, _, "Something of a key.")                                                                       \
    ROW(K, CONTROL, pause, _, "On the control lane.")
#define vault_item_FIELDS(F, S)  sink_item_FIELDS(F, S)
#define vault_pause_FIELDS(F, S) sink_pause_FIELDS(F, S)
STOA_TABLE_HERE(vault)
typedef struct vault {
    uint64_t nothing;
} vault;
#define vault_HEARS STOA_HEARS_NOTHING
STOA_KIND(vault, .mailbox_limit = LIMIT, .conflate = {.key = sink_key, .merge = sink_merge})
static stoa_err vault_on_item(stoa_turn *turn, const vault *self, const vault_item *in)
{
    sink_item item;
    (void)turn;
    (void)self;
    memcpy(&item, in, sizeof item);
    handled_item(&item);
    return STOA_OK;
}
static stoa_err vault_on_pause(stoa_turn *turn, const vault *self, const vault_pause *in)
{
    (void)turn;
    (void)self;
    assert_true(in->n > books.paused[in->source][in->sink]);
    books.paused[in->source][in->sink] = in->n;
    books.handled++;
    return STOA_OK;
}

/* --- sources */

#define source_go_FIELDS STOA_NO_FIELDS
#define source_ROWS(ROW, K) ROW(K, CAST, go, _, "Send some.")
STOA_TABLE_HERE(source)
typedef struct source {
    uint64_t number, rounds;
} source;
typedef struct source_args {
    uint64_t number;
} source_args;
#define source_HEARS(HEAR, K) HEAR(K, stoa_system, refused) HEAR(K, stoa_system, room)
static stoa_err source_begin(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(source, .start = source_begin, .args_bytes = sizeof(source_args), .mailbox_limit = 4096)
static stoa_err source_begin(stoa_turn *turn, void *state, const void *args)
{
    source *self = state;
    self->number = ((const source_args *)args)->number;
    stoa_err err = stoa_turn_bind(turn, 0, "news");
    return err ? err : source_after_go(turn, STOA_MS(1), (source_go){0}, NULL);
}

static stoa_err send_item(stoa_turn *turn, const source *self, uint64_t to, uint64_t way)
{
    uint64_t key = stoa_turn_random(turn) % KEYS, n = books.numbers[self->number][to][key] + 1;
    sink_item item = {to, self->number, key, n, n, n};
    const stoa_row *row = to + 2 >= SINKS ? &vault_rows[vault_ROW_item] : &sink_rows[sink_ROW_item];
    stoa_err err = way == 0   ? stoa_turn_send_told(turn, books.sinks[to], row, &item, n)
                   : way == 1 ? stoa_turn_send_within(turn, books.sinks[to], row, &item, STOA_US(300))
                              : stoa_turn_send(turn, books.sinks[to], row, &item);
    if (!err) { books.numbers[self->number][to][key] = n; }
    return err;
}
static stoa_err send_pause(stoa_turn *turn, const source *self, uint64_t to)
{
    sink_pause pause = {to, self->number, books.pauses[self->number][to] + 1};
    const stoa_row *row = to + 2 >= SINKS ? &vault_rows[vault_ROW_pause] : &sink_rows[sink_ROW_pause];
    stoa_err err = stoa_turn_send(turn, books.sinks[to], row, &pause);
    if (!err) { books.pauses[self->number][to]++; }
    return err;
}
static void publish(stoa_turn *turn, const source *self)
{
    uint64_t n = books.news[self->number] + 1;
    sink_news news = {0, self->number, 0, n, n, n};
    if (sink_publish_news(turn, 0, &news)) { return; }
    books.news[self->number] = n;
    books.published++;
}
static stoa_err source_on_go(stoa_turn *turn, source *self, const source_go *in)
{
    uint64_t count = 1 + stoa_turn_random(turn) % 60;
    (void)in;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t to = stoa_turn_random(turn) % SINKS, way = stoa_turn_random(turn) % 12;
        stoa_err err = STOA_OK;
        if (way == 2) {
            publish(turn, self);
            continue;
        }
        if (way == 3) {
            (void)stoa_turn_when_room(turn, books.sinks[to], to);
            continue;
        }
        err = way == 4 ? send_pause(turn, self, to) : send_item(turn, self, to, way);
        books.sent += err == STOA_OK;
    }
    if (++self->rounds >= ROUNDS) { return STOA_OK; }
    return source_after_go(turn, STOA_US(50 + stoa_turn_random(turn) % 1000), (source_go){0}, NULL);
}
static stoa_err source_on_stoa_system_refused(stoa_turn *turn, source *self, const stoa_system_refused *in)
{
    (void)turn;
    (void)self;
    (void)in;
    books.told++;
    return STOA_OK;
}
static stoa_err source_on_stoa_system_room(stoa_turn *turn, source *self, const stoa_system_room *in)
{
    (void)turn;
    (void)self;
    assert_true(in->error ? in->room == 0 : in->room >= 1 && in->room <= LIMIT);
    return STOA_OK;
}

/* --- a run */

static void observe(void *context, const stoa_sim_event *event)
{
    (void)context;
    if (event->what != STOA_SIM_DEAD_LETTER) { return; }
    books.dead++;
    if (!event->row) { return; }
    books.told += event->row == &stoa_system_rows[stoa_system_ROW_refused]; /* told somebody who had failed */
    bool ours = event->row->kind[0] == 's' ? strcmp(event->row->kind, "sink") == 0 : strcmp(event->row->kind, "vault") == 0;
    books.letters += ours && event->row != &sink_rows[sink_ROW_news];
}

static stoa_kind kinds[SINKS];

static void make_kinds(void)
{
    static const char *const names[] = {"keeps", "oldest", "newest", "values", "ranges", "late", "both"};
    for (uint32_t i = 0; i + 2 < SINKS; i++) {
        kinds[i] = sink_kind;
        kinds[i].name = names[i];
    }
    kinds[1].when_full = kinds[6].when_full = STOA_FULL_DROP_OLDEST;
    kinds[2].when_full = STOA_FULL_DROP_NEWEST;
    for (int i = 3; i < 7; i++) { kinds[i].conflate = (stoa_conflate){.key = sink_key, .merge = i > 3 ? sink_merge : NULL}; }
    kinds[5].conflate.above = 5;
    kinds[7] = kinds[8] = vault_kind;
    kinds[8].when_full = STOA_FULL_DROP_OLDEST;
    kinds[8].conflate.key = NULL;
    kinds[8].name = "safe";
}

static void spawn_all(stoa_node *node)
{
    stoa_shard *shard;
    stoa_shard_options options = {.name = "s", .core = 1, .durability = stoa_durability_NONE};
    assert_int_equal(stoa_shard_open(node, &options, &shard), STOA_OK);
    for (uint32_t i = 0; i < SINKS; i++) {
        char name[32];
        stoa_spawn_options with = {.core = i % CORES, .shard = shard};
        (void)snprintf(name, sizeof name, "%s/x", kinds[i].name);
        if (!kinds[i].sourced) { with.shard = NULL; }
        assert_int_equal(stoa_spawn(node, &kinds[i], name, &with, &books.sinks[i]), STOA_OK);
    }
    for (uint64_t i = 0; i < SOURCES; i++) {
        char name[32];
        source_args args = {i};
        stoa_ref ref;
        (void)snprintf(name, sizeof name, "source/%u", (unsigned)i);
        assert_int_equal(stoa_spawn(node, &source_kind, name, &(stoa_spawn_options){.core = (uint32_t)i, .args = &args}, &ref),
                         STOA_OK);
    }
}

static void check_balance(stoa_node *node)
{
    uint64_t dropped = 0, conflated = 0, dead = 0, queued = 0;
    for (uint32_t i = 0; i < CORES; i++) {
        stoa_core_view view;
        assert_int_equal(stoa_core_look(node, i, &view), STOA_OK);
        for (int reason = 0; reason < STOA_DROP_COUNT; reason++) { dropped += view.dropped[reason]; }
        conflated += view.conflated;
        dead += view.dead_letters;
        queued += view.queued;
        assert_true(view.used_bytes < 128 << 10); /* nothing held that nobody waits for */
    }
    assert_int_equal(queued, 0);
    assert_int_equal(dropped, dead); /* each under a reason */
    assert_int_equal(dead, books.dead);
    /* what was published: each of 7 hears it, or it is a dead letter, or one with another */
    uint64_t news = books.dead - books.letters, merged_news = conflated;
    (void)news;
    assert_true(books.heard <= books.published * 7);
    assert_true(books.handled + books.letters + books.told <= books.sent);
    uint64_t merged = books.sent - books.handled - books.letters - books.told;
    assert_true(merged <= merged_news);
    stoa_sim_fold(books.sim, merged);
}

static void check_news(uint64_t letters_of_news, uint64_t conflated)
{
    uint64_t merged = books.sent - books.handled - books.letters - books.told;
    assert_int_equal(books.published * 7, books.heard + letters_of_news + (conflated - merged));
}

static uint64_t news_letters;
static void observe_all(void *context, const stoa_sim_event *event)
{
    observe(context, event);
    if (event->what == STOA_SIM_DEAD_LETTER && event->row == &sink_rows[sink_ROW_news]) { news_letters++; }
}

static uint64_t random_run(uint64_t seed)
{
    stoa_random chance;
    stoa_node *node;
    memset(&books, 0, sizeof books);
    news_letters = 0;
    make_kinds();
    stoa_random_seed(&chance, seed);
    stoa_sim_options options = {.seed = seed, .cores = CORES, .observe = observe_all, .trace = stoa_seeds_trace()};
    const stoa_kind *const sourced[] = {&kinds[7], &kinds[8], NULL};
    options.kinds = sourced;
    bool calm = stoa_random_below(&chance, 3) == 0; /* then every message of the balance can be followed, published ones too */
    if (!calm) { options.faults = stoa_sim_rough; }
    options.faults.per_million[STOA_SIM_CORE_STALLED] = 300; /* so that mailboxes fill */
    options.faults.per_million[STOA_SIM_RING_HELD] = 300;
    assert_int_equal(stoa_sim_new(&options, &books.sim, &node), STOA_OK);
    spawn_all(node);
    stoa_sim_run(books.sim, STOA_MS(80));
    stoa_sim_faults(books.sim, NULL);
    stoa_sim_run(books.sim, STOA_MS(200));
    assert_int_equal(stoa_sim_settle(books.sim, 1000000), STOA_OK);
    assert_null(stoa_sim_dead(books.sim));
    check_balance(node);
    if (calm) {
        uint64_t conflated = 0;
        for (uint32_t i = 0; i < CORES; i++) {
            stoa_core_view view;
            assert_int_equal(stoa_core_look(node, i, &view), STOA_OK);
            conflated += view.conflated;
        }
        check_news(news_letters, conflated);
    }
    uint64_t hash = stoa_sim_hash(books.sim);
    stoa_sim_free(books.sim);
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = random_run};

static void every_message_is_accounted_for(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_message_is_accounted_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
