/* flood_test.c - goal: no flood takes the process down or grows it, and every loss is counted. Method: real cores under an overload of
 * ten times what the receiver can do, from another core, from a foreign thread, from timers and from topics that somebody hears
 * and never reads; then the books must balance. Under STOA_DEEP the first flood goes on for a minute, else for three seconds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/stoa.h"

#ifdef __SANITIZE_THREAD__
enum { GROWTH_KIB = 96 << 10 }; /* TSan keeps four bytes and more for each byte that is touched */
#else
enum { GROWTH_KIB = 4 << 10 };
#endif
enum { MEMORY = 16 << 20, TURN = 64, WORK_NS = 20000, TIMES = 10 };

#define drain_item_FIELDS(F, S)  F(S, uint64_t, n) F(S, stoa_text254, text)
#define drain_news_FIELDS(F, S)  F(S, uint64_t, n) F(S, stoa_text1022, text)
#define drain_count_FIELDS       STOA_NO_FIELDS
#define drain_counted_FIELDS(F, S) F(S, uint64_t, handled) F(S, uint64_t, ticks)
#define drain_storm_FIELDS(F, S) F(S, uint64_t, timers)
#define drain_tick_FIELDS        STOA_NO_FIELDS
#define drain_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, item, _, "Takes a while.")                                                                            \
    ROW(K, TOPIC, news, _, "Heard, and takes a while.")                                                                \
    ROW(K, COMMAND, count, counted, "What was handled.")                                                               \
    ROW(K, REPLY, counted, _, "So much.")                                                                              \
    ROW(K, COMMAND, storm, counted, "Arm so many timers, or as many as may be.")                                       \
    ROW(K, CAST, tick, _, "One of them.")
STOA_TABLE_HERE(drain)
typedef struct drain {
    drain_counted counted;
} drain;
#define drain_HEARS(HEAR, K) HEAR(K, drain, news)
static stoa_err drain_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    return stoa_turn_subscribe(turn, "news");
}
STOA_PLAIN_KIND(drain, .start = drain_begin, .mailbox_limit = 64)
static void work(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t until = (uint64_t)now.tv_sec * STOA_S(1) + (uint64_t)now.tv_nsec + WORK_NS;
    do { (void)clock_gettime(CLOCK_MONOTONIC, &now); } while ((uint64_t)now.tv_sec * STOA_S(1) + (uint64_t)now.tv_nsec < until);
}
static stoa_err drain_on_item(stoa_turn *turn, drain *self, const drain_item *in)
{
    (void)turn;
    (void)in;
    work();
    self->counted.handled++;
    return STOA_OK;
}
static stoa_err drain_on_drain_news(stoa_turn *turn, drain *self, const drain_news *in)
{
    (void)turn;
    (void)in;
    work();
    self->counted.handled++;
    return STOA_OK;
}
static stoa_err drain_on_count(stoa_turn *turn, drain *self, const drain_count *in, drain_counted *out)
{
    (void)turn;
    (void)in;
    *out = self->counted;
    return STOA_OK;
}
static stoa_err drain_on_storm(stoa_turn *turn, drain *self, const drain_storm *in, drain_counted *out)
{
    stoa_err err = STOA_OK;
    (void)self;
    for (uint64_t i = 0; i < in->timers && !err; i++, out->ticks += !err) {
        err = drain_after_tick(turn, STOA_MS(20) + i, (drain_tick){0}, NULL);
    }
    return STOA_OK;
}
static stoa_err drain_on_tick(stoa_turn *turn, drain *self, const drain_tick *in)
{
    (void)turn;
    (void)in;
    self->counted.ticks++;
    return STOA_OK;
}

/* --- source: as fast as it can */

#define source_go_FIELDS(F, S)    F(S, uint64_t, to)
#define source_stop_FIELDS        STOA_NO_FIELDS
#define source_more_FIELDS        STOA_NO_FIELDS
#define source_sent_FIELDS(F, S)  F(S, uint64_t, sent) F(S, uint64_t, full) F(S, uint64_t, published)
#define source_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, go, _, "Send without end; to nobody: publish.")                                                       \
    ROW(K, CAST, more, _, "Go on.")                                                                                    \
    ROW(K, COMMAND, stop, sent, "Enough.")                                                                             \
    ROW(K, REPLY, sent, _, "So much.")
STOA_TABLE_HERE(source)
typedef struct source {
    stoa_ref to;
    source_sent sent;
    uint64_t going;
} source;
#define source_HEARS STOA_HEARS_NOTHING
static stoa_err source_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    return stoa_turn_bind(turn, 0, "news");
}
STOA_PLAIN_KIND(source, .start = source_begin)
static stoa_err source_on_more(stoa_turn *turn, source *self, const source_more *in)
{
    (void)in;
    for (int i = 0; i < TURN && self->going; i++) {
        drain_news news = {.n = self->sent.published};
        stoa_err err = self->to.at ? drain_send_item(turn, self->to, (drain_item){.n = self->sent.sent})
                                   : drain_publish_news(turn, 0, &news);
        self->sent.sent += self->to.at && !err;
        self->sent.published += !self->to.at && !err;
        self->sent.full += err == STOA_E_FULL;
    }
    return self->going ? source_send_more(turn, turn->self, (source_more){0}) : STOA_OK;
}
static stoa_err source_on_go(stoa_turn *turn, source *self, const source_go *in)
{
    self->to.at = in->to;
    self->going = 1;
    return source_send_more(turn, turn->self, (source_more){0});
}
static stoa_err source_on_stop(stoa_turn *turn, source *self, const source_stop *in, source_sent *out)
{
    (void)turn;
    (void)in;
    self->going = 0;
    *out = self->sent;
    return STOA_OK;
}

/* --- */

static uint64_t rss_kib(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &pages, &resident), 2);
    (void)fclose(file);
    return resident * 4;
}

/* TSan's own memory grows with every address that is touched: there nothing is judged. */
static void assert_flat(uint64_t warm_kib)
{
#ifdef __SANITIZE_THREAD__
    (void)warm_kib;
#else
    assert_true(rss_kib() < warm_kib + GROWTH_KIB);
#endif
}

static void pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

static stoa_ref spawn(stoa_node *node, const stoa_kind *kind, const char *name, uint32_t core)
{
    stoa_ref ref;
    assert_int_equal(stoa_spawn(node, kind, name, &(stoa_spawn_options){.core = core}, &ref), STOA_OK);
    return ref;
}

static stoa_node *open_node(uint32_t cores)
{
    stoa_node *node;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = cores, .memory_bytes = MEMORY}, &node), STOA_OK);
    return node;
}

static stoa_core_view all_cores(stoa_node *node)
{
    stoa_core_view all = {0};
    for (uint32_t i = 0; i < stoa_core_count(node); i++) {
        stoa_core_view view;
        assert_int_equal(stoa_core_look(node, i, &view), STOA_OK);
        assert_true(view.memory_bytes <= MEMORY + (2 << 20));
        all.dead_letters += view.dead_letters;
        all.queued += view.queued;
        for (int reason = 0; reason < STOA_DROP_COUNT; reason++) { all.dropped[reason] += view.dropped[reason]; }
    }
    return all;
}

static drain_counted count(stoa_node *node, stoa_ref of)
{
    drain_counted out;
    stoa_err err = STOA_E_FULL;
    for (int tries = 0; tries < 100000 && err == STOA_E_FULL; tries++) {
        err = drain_call_count(node, of, (drain_count){0}, STOA_S(60), &out);
        if (err) { pause_ms(1); }
    }
    assert_int_equal(err, STOA_OK);
    return out;
}

/* Until all that was sent is somewhere. */
static void balance(stoa_node *node, stoa_ref sink, stoa_port *port, uint64_t sent)
{
    uint64_t handled = 0, dropped = 0;
    for (int tries = 0; tries < 6000 && handled + dropped < sent; tries++) {
        pause_ms(5);
        if (port) { (void)stoa_port_poll(port, NULL, NULL, 64); } /* what waits with it goes out */
        handled = count(node, sink).handled;
        dropped = all_cores(node).dropped[STOA_DROP_FULL];
    }
    printf("sent %llu, handled %llu, dropped %llu\n", (unsigned long long)sent, (unsigned long long)handled,
           (unsigned long long)dropped);
    assert_int_equal(handled + dropped, sent);
    assert_int_equal(all_cores(node).dead_letters, dropped);
}

/* From the first losses on everything is as full as it gets; then a moment more for what comes with them. */
static uint64_t rss_when_flooded(stoa_node *node)
{
    for (int tries = 0; tries < 6000 && !all_cores(node).dropped[STOA_DROP_FULL]; tries++) { pause_ms(5); }
    pause_ms(500);
    return rss_kib();
}

/* Whether some more than so many times what it can handle was sent. */
static bool overloaded(stoa_node *node, stoa_ref sink)
{
    uint64_t handled = count(node, sink).handled;
    return all_cores(node).dropped[STOA_DROP_FULL] >= TIMES * handled;
}

static void from_another_core(void **state)
{
    int seconds = getenv("STOA_DEEP") ? 60 : 3;
    stoa_node *node = open_node(2);
    stoa_ref sink = spawn(node, &drain_kind, "drain/d", 1), flood = spawn(node, &source_kind, "source/s", 0);
    source_sent sent;
    (void)state;
    assert_int_equal(source_post_go(node, flood, (source_go){sink.at}), STOA_OK);
    uint64_t warm = rss_when_flooded(node);
    for (int i = 0; i < seconds * 2; i++) {
        pause_ms(500);
        assert_flat(warm);
        (void)count(node, sink); /* it can be asked all the while */
    }
    for (int tries = 0; tries < 6000 && !overloaded(node, sink); tries++) { pause_ms(10); } /* a machine may be slow */
    assert_flat(warm);
    assert_int_equal(source_call_stop(node, flood, (source_stop){0}, STOA_S(60), &sent), STOA_OK);
    balance(node, sink, NULL, sent.sent);
    assert_true(sent.sent >= TIMES * count(node, sink).handled);
    stoa_node_close(node, STOA_S(1));
}

static void from_a_port(void **state)
{
    stoa_node *node = open_node(1);
    stoa_ref sink = spawn(node, &drain_kind, "drain/d", 0);
    stoa_port *port;
    uint64_t sent = 0, full = 0, warm = 0;
    drain_item item = {0};
    (void)state;
    assert_int_equal(stoa_port_open(node, "flood", &port), STOA_OK);
    for (uint64_t i = 0; i < 1500000; i++) {
        stoa_err err = stoa_port_send(port, sink, &drain_rows[drain_ROW_item], &item, 0);
        assert_true(!err || err == STOA_E_FULL);
        sent += !err;
        full += err != STOA_OK;
        if (i % 64 == 0) { stoa_port_flush(port); }
        if (i % 4096 == 0) { (void)stoa_port_poll(port, NULL, NULL, 64); }
        if (i == 500000) { warm = rss_kib(); }
    }
    assert_flat(warm);
    stoa_port_flush(port);
    balance(node, sink, port, sent);
    printf("refused to the port %llu\n", (unsigned long long)full);
    stoa_port_close(port);
    stoa_node_close(node, STOA_S(1));
}

static void from_timers(void **state)
{
    stoa_node *node = open_node(1);
    stoa_ref storm = spawn(node, &drain_kind, "drain/storm", 0), other = spawn(node, &drain_kind, "drain/other", 0);
    drain_counted armed;
    (void)state;
    assert_int_equal(drain_call_storm(node, storm, (drain_storm){10000000}, STOA_S(60), &armed), STOA_OK);
    assert_true(armed.ticks > 10000 && armed.ticks < 10000000);
    drain_item item = {0};
    for (int i = 0; i < 50; i++) { /* half of the memory is left to others */
        assert_int_equal(stoa_post(node, other, &drain_rows[drain_ROW_item], &item), STOA_OK);
    }
    for (int tries = 0; tries < 6000 && count(node, storm).ticks < armed.ticks; tries++) { pause_ms(5); }
    assert_int_equal(count(node, storm).ticks, armed.ticks); /* every one that was armed came */
    assert_int_equal(count(node, other).handled, 50);
    assert_int_equal(all_cores(node).dead_letters, 0);
    stoa_node_close(node, STOA_S(1));
}

/* A port that subscribed and is never polled, and an actor that is too slow: the publisher does not notice. */
static void to_one_who_never_reads(void **state)
{
    stoa_node *node = open_node(2);
    stoa_ref slow = spawn(node, &drain_kind, "drain/slow", 1), flood = spawn(node, &source_kind, "source/s", 0);
    stoa_port *deaf;
    source_sent sent;
    (void)state;
    assert_int_equal(stoa_port_open(node, "deaf", &deaf), STOA_OK);
    assert_int_equal(stoa_port_subscribe(deaf, "news"), STOA_OK);
    assert_int_equal(source_post_go(node, flood, (source_go){0}), STOA_OK);
    uint64_t warm = rss_when_flooded(node);
    for (int i = 0; i < 10; i++) {
        pause_ms(100);
        assert_flat(warm);
        (void)count(node, slow);
    }
    assert_int_equal(source_call_stop(node, flood, (source_stop){0}, STOA_S(60), &sent), STOA_OK);
    assert_int_equal(sent.full, 0);
    assert_true(sent.published > 10000);
    /* each was heard by the slow one or dropped for it, and dropped for the deaf one but for what waits there */
    uint64_t handled = 0, dropped = 0, waits = 0;
    for (int tries = 0; tries < 6000; tries++) {
        pause_ms(5);
        uint64_t before = handled + dropped;
        handled = count(node, slow).handled;
        dropped = all_cores(node).dropped[STOA_DROP_FULL] + all_cores(node).dropped[STOA_DROP_MEMORY];
        if (tries > 100 && handled + dropped == before) { break; }
    }
    waits = 2 * sent.published - handled - dropped;
    printf("published %llu, handled %llu, dropped %llu, waits %llu\n", (unsigned long long)sent.published,
           (unsigned long long)handled, (unsigned long long)dropped, (unsigned long long)waits);
    assert_true(waits <= MEMORY / 8 / 1024 + 1);
    stoa_port_close(deaf);
    stoa_node_close(node, STOA_S(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_another_core),
        cmocka_unit_test(from_a_port),
        cmocka_unit_test(from_timers),
        cmocka_unit_test(to_one_who_never_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
