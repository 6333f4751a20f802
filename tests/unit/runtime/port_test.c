/* port_test.c - goal: a port opens whole or not at all: what fails on the way leaves no name, no place, no memory, and what was
 * sent meanwhile is refused. Method: each of the mappings that opening makes fails once, by a mmap of our own in front of the
 * library's; the node has real cores that run throughout.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/internal.h"
#include "runtime/stoa.h"

/* --- the mappings of this thread */

static _Thread_local int maps_left = -1; /* so many succeed, the next one fails; negative: all succeed */
static _Thread_local int maps_alive;

/* Straight to the system: a sanitizer maps before there is anything to find the library's with. */
#define IN_FRONT __attribute__((visibility("default"), no_sanitize("thread", "address")))
IN_FRONT void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (maps_left == 0) { return MAP_FAILED; }
    if (maps_left > 0) { maps_left--; }
    maps_alive++;
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

IN_FRONT int munmap(void *at, size_t bytes)
{
    maps_alive--;
    return (int)syscall(SYS_munmap, at, bytes);
}

/* --- an actor that sends where it is told */

#define teller_tell_FIELDS(F, S) F(S, uint64_t, to)
#define teller_told_FIELDS(F, S) F(S, int64_t, error)
#define teller_word_FIELDS       STOA_NO_FIELDS
#define teller_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, tell, told, "Send a word there.")                                                                  \
    ROW(K, REPLY, told, _, "What came of it.")                                                                         \
    ROW(K, CAST, word, _, "A word.")
STOA_TABLE(teller)
STOA_TABLE_DEFINE(teller)
typedef struct teller {
    uint64_t words;
} teller;
#define teller_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(teller, .mailbox_limit = 16)

static stoa_err teller_on_tell(stoa_turn *turn, teller *self, const teller_tell *in, teller_told *out)
{
    (void)self;
    out->error = teller_send_word(turn, (stoa_ref){in->to}, (teller_word){0});
    return STOA_OK;
}
static stoa_err teller_on_word(stoa_turn *turn, teller *self, const teller_word *in)
{
    (void)turn;
    (void)in;
    self->words++;
    return STOA_OK;
}

/* --- cases */

enum { CORES = 3 };

static stoa_node *open_node(stoa_ref tellers[CORES])
{
    stoa_node *node;
    char name[32];
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = CORES}, &node), STOA_OK);
    for (uint32_t i = 0; i < CORES; i++) {
        (void)snprintf(name, sizeof name, "teller/%u", i);
        assert_int_equal(stoa_spawn(node, &teller_kind, name, &(stoa_spawn_options){.core = i}, &tellers[i]), STOA_OK);
    }
    return node;
}

static stoa_err tell(stoa_node *node, stoa_ref by, stoa_ref to)
{
    teller_told told;
    assert_int_equal(teller_call_tell(node, by, (teller_tell){to.at}, STOA_S(60), &told), STOA_OK);
    return (stoa_err)told.error;
}

static void a_port_that_cannot_be_opened_leaves_nothing(void **state)
{
    stoa_ref tellers[CORES];
    stoa_node *node = open_node(tellers);
    stoa_port *port = NULL;
    (void)state;
    uint32_t ports = atomic_load(&node->port_count), failed = 0;
    stoa_ref there = stoa_ref_make(1, CORES + ports, 0);
    for (int allowed = 0; !port; allowed++) {
        int alive = maps_alive;
        maps_left = allowed;
        stoa_err err = stoa_port_open(node, "late", &port);
        maps_left = -1;
        if (!err) { break; }
        failed++;
        assert_int_equal(err, STOA_E_NOMEM);
        assert_null(port);
        assert_int_equal(maps_alive, alive);
        assert_int_equal(atomic_load(&node->port_count), ports);
        assert_int_equal(stoa_find(node, "port/late").at, 0);
        for (uint32_t i = 0; i < CORES; i++) {
            assert_int_equal(tell(node, tellers[i], there), STOA_E_CLOSED);
            assert_int_equal(atomic_load(&node->cores[i]->place.inbound) >> (CORES + ports), 0);
        }
    }
    printf("%u mappings failed\n", failed);
    assert_true(failed >= 2 + 2 * CORES); /* the slab, the asks, a ring each way */
    assert_true(stoa_ref_equal(stoa_port_ref(port), there));
    for (uint32_t i = 0; i < CORES; i++) { assert_int_equal(tell(node, tellers[i], there), STOA_OK); }
    stoa_node_close(node, STOA_S(1));
}

static void a_name_that_is_taken_costs_no_place(void **state)
{
    stoa_ref tellers[CORES];
    stoa_node *node = open_node(tellers);
    stoa_port *port, *other;
    char name[32];
    (void)state;
    assert_int_equal(stoa_port_open(node, "one", &port), STOA_OK);
    for (int i = 0; i < 2 * STOA_PORTS_MAX; i++) {
        int alive = maps_alive;
        assert_int_equal(stoa_port_open(node, "one", &other), STOA_E_EXISTS);
        assert_int_equal(maps_alive, alive);
    }
    for (int i = 2; i < STOA_PORTS_MAX; i++) { /* the node has one itself */
        (void)snprintf(name, sizeof name, "more-%d", i);
        assert_int_equal(stoa_port_open(node, name, &other), STOA_OK);
    }
    assert_int_equal(stoa_port_open(node, "too many", &other), STOA_E_FULL);
    assert_int_equal(tell(node, tellers[1], stoa_port_ref(port)), STOA_OK);
    stoa_node_close(node, STOA_S(1));
}

/* --- closing, with cores that go on */

typedef struct heard {
    uint64_t words;
} heard;
static void hear(void *context, const stoa_delivery *d)
{
    heard *h = context;
    h->words += d->row == &teller_rows[teller_ROW_word];
}

static uint64_t closed_letters(stoa_node *node)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < CORES; i++) {
        stoa_core_view view;
        assert_int_equal(stoa_core_look(node, i, &view), STOA_OK);
        count += view.dropped[STOA_DROP_CLOSED];
    }
    return count;
}

static void every_word_is_read_or_counted(void **state)
{
    stoa_ref tellers[CORES];
    stoa_node *node = open_node(tellers);
    (void)state;
    for (uint32_t round = 0; round < STOA_PORTS_MAX - 1; round++) {
        stoa_port *port;
        char name[16];
        heard h = {0};
        uint64_t sent = 0, before = closed_letters(node);
        (void)snprintf(name, sizeof name, "ear-%u", round);
        assert_int_equal(stoa_port_open(node, name, &port), STOA_OK);
        for (uint32_t i = 0; i < 200; i++) {
            sent += tell(node, tellers[i % CORES], stoa_port_ref(port)) == STOA_OK;
            if (i == 20 * round) { (void)stoa_port_poll(port, hear, &h, 64); }
        }
        stoa_ref ref = stoa_port_ref(port);
        stoa_port_close(port);
        assert_int_equal(h.words + closed_letters(node) - before, sent);
        for (uint32_t i = 0; i < CORES; i++) { sent += tell(node, tellers[i], ref) == STOA_OK; }
        assert_int_equal(h.words + closed_letters(node) - before, sent);
    }
    stoa_node_close(node, STOA_S(1));
}

/* --- places of ports that closed */

enum { TIMES = 300, WORDS = 40 };

/* Half of the words are read, as many as the port itself sends are; none that was meant for an earlier port. */
static void fill(stoa_node *node, const stoa_ref tellers[CORES], stoa_port *port)
{
    heard h = {0};
    teller_tell order = {stoa_port_ref(port).at};
    for (uint32_t i = 0; i < WORDS; i++) {
        assert_int_equal(tell(node, tellers[i % CORES], stoa_port_ref(port)), STOA_OK);
        assert_int_equal(stoa_port_send(port, tellers[i % CORES], &teller_rows[teller_ROW_word], &(teller_word){{0}}, 0), STOA_OK);
        stoa_err err = stoa_port_ask(port, tellers[i % CORES], &teller_rows[teller_ROW_tell], &order, 0, STOA_S(60), i);
        assert_int_equal(err, STOA_OK);
        stoa_port_flush(port);
        if (i == WORDS / 2) { (void)stoa_port_poll(port, hear, &h, WORDS); }
    }
}

static void ports_come_and_go_for_ever(void **state)
{
    (void)state;
    stoa_ref tellers[CORES], before = STOA_REF_NONE;
    stoa_node *node = open_node(tellers);
    int alive = 0;
    for (uint32_t i = 0; i < TIMES; i++) {
        stoa_port *port;
        char name[16];
        (void)snprintf(name, sizeof name, "p-%u", i % 3);
        assert_int_equal(stoa_port_open(node, name, &port), STOA_OK);
        assert_false(stoa_ref_equal(stoa_port_ref(port), before));
        if (before.at) { /* who knows the one before reaches nobody */
            heard h = {0};
            uint64_t letters = closed_letters(node);
            for (uint32_t k = 0; k < CORES; k++) { (void)tell(node, tellers[k], before); }
            assert_true(closed_letters(node) - letters >= CORES); /* more: a word that was on its way when the port closed */
            (void)stoa_port_poll(port, hear, &h, WORDS);
            assert_int_equal(h.words, 0);
        }
        fill(node, tellers, port);
        before = stoa_port_ref(port);
        stoa_port_close(port);
        if (i == 2) { alive = maps_alive; }
    }
    assert_int_equal(maps_alive, alive);
    stoa_node_close(node, STOA_S(1));
}

/* All its blocks come back, whatever was under way when it closed: its quota is not used up. */
static void the_memory_of_a_closed_port_is_the_next_ones(void **state)
{
    (void)state;
    stoa_ref tellers[CORES];
    stoa_node *node = open_node(tellers);
    stoa_port *port = NULL;
    for (uint32_t i = 0; i < TIMES; i++) {
        assert_int_equal(stoa_port_open(node, "p", &port), STOA_OK);
        fill(node, tellers, port);
        if (i + 1 < TIMES) { stoa_port_close(port); }
    }
    uint64_t away = UINT64_MAX;
    for (uint32_t tries = 0; away && tries < 10000; tries++) { /* what is answered brings the rest home */
        heard h = {0};
        away = 0;
        for (uint32_t i = 0; i < CORES; i++) {
            assert_int_equal(tell(node, tellers[i], stoa_port_ref(port)), STOA_OK);
            (void)stoa_port_send(port, tellers[i], &teller_rows[teller_ROW_word], &(teller_word){{0}}, 1);
            stoa_port_flush(port);
            (void)stoa_port_poll(port, hear, &h, WORDS);
            away += port->place.abroad[i];
        }
    }
    assert_true(away <= CORES * 64 * 3); /* the last few are on their way */
    stoa_node_close(node, STOA_S(1));
}

static void a_name_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    stoa_ref tellers[CORES];
    stoa_node *node = open_node(tellers);
    stoa_port *port = NULL;
    static const char whole[] = "1234567890123456789012345678901234567890123456789012345678";
    assert_int_equal(stoa_port_open(node, "", &port), STOA_E_INVALID);
    assert_int_equal(stoa_port_open(node, "12345678901234567890123456789012345678901234567890123456789", &port), STOA_E_INVALID);
    assert_null(port);
    assert_int_equal(stoa_port_open(node, whole, &port), STOA_OK);
    stoa_port_close(port);
    assert_int_equal(stoa_port_open(node, "", &port), STOA_E_INVALID);
    assert_int_equal(stoa_port_open(node, whole, &port), STOA_OK);
    stoa_node_close(node, STOA_S(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_that_cannot_be_opened_leaves_nothing),
        cmocka_unit_test(a_name_that_is_taken_costs_no_place),
        cmocka_unit_test(ports_come_and_go_for_ever),
        cmocka_unit_test(the_memory_of_a_closed_port_is_the_next_ones),
        cmocka_unit_test(a_name_that_does_not_fit_is_refused),
        cmocka_unit_test(every_word_is_read_or_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
