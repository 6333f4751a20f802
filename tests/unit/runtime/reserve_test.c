/* reserve_test.c - goal: on a disk with less room than the reserve new work is refused, and nothing else: what is mailed to a shard
 * without room comes back, and what comes back to one is booked there, so that no amount is nobody's. Method: two purses on real
 * journals, each of which says what room its disk has as the test wants; mail waits for a shard that is not open, and meets the
 * moment when the disk is low on either side.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "storage/rocksdb/journal.h"
#include "tests/sim/purse.h"

enum { NORTH, EAST, SHARDS, RESERVE = 1000, TRIES = 6000 };
#define DEADLINE STOA_S(60)
static const char *const shard_names[SHARDS] = {"north", "east"};

static char folder[64];
static stoa_node *node;
static stoa_shard *shards[SHARDS];
static stoa_ref purses[SHARDS];

/* --- disks with little room */

static atomic_bool low[SHARDS];
static stoa_journal_ops roomy[SHARDS];

static uint64_t room_of(uint32_t shard)
{
    return atomic_load(&low[shard]) ? RESERVE - 1 : RESERVE * 2;
}
static uint64_t room_north(stoa_journal *journal)
{
    (void)journal;
    return room_of(NORTH);
}
static uint64_t room_east(stoa_journal *journal)
{
    (void)journal;
    return room_of(EAST);
}

static stoa_err open_one(uint32_t shard, const char *path, stoa_journal **out)
{
    static uint64_t (*const rooms[SHARDS])(stoa_journal *journal) = {room_north, room_east};
    stoa_err err = stoa_journal_rocksdb.open(path, out);
    if (err) { return err; }
    roomy[shard] = *(*out)->ops;
    roomy[shard].room = rooms[shard];
    (*out)->ops = &roomy[shard];
    return STOA_OK;
}
static stoa_err open_north(const char *path, stoa_journal **out)
{
    return open_one(NORTH, path, out);
}
static stoa_err open_east(const char *path, stoa_journal **out)
{
    return open_one(EAST, path, out);
}
static const stoa_journal_ops openers[SHARDS] = {{.scheme = "north", .open = open_north}, {.scheme = "east", .open = open_east}};

/* --- the stage */

static int remove_one(const char *path, const struct stat *found, int flag, struct FTW *walk)
{
    (void)found, (void)flag, (void)walk;
    return remove(path);
}

static void open_shard(uint32_t shard)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s", folder, shard_names[shard]);
    stoa_shard_options options = {.name = shard_names[shard], .durability = stoa_durability_DISK, .journal = &openers[shard],
                                  .reserve_bytes = RESERVE, .path = path};
    assert_int_equal(stoa_shard_open(node, &options, &shards[shard]), STOA_OK);
}

static void add_purse(uint32_t shard)
{
    char name[64];
    purse_linked linked;
    purse_link link = {.index = shard, .sibling = 1, .next = stoa_text("purse/nobody")};
    (void)snprintf(name, sizeof name, "purse/%s", shard_names[shard]);
    assert_int_equal(stoa_spawn(node, &purse_kind, name, &(stoa_spawn_options){.shard = shards[shard]}, &purses[shard]), STOA_OK);
    assert_int_equal(purse_call_link(node, purses[shard], link, DEADLINE, &linked), STOA_OK);
}

static void open_node(void)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    shards[EAST] = NULL;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1, .kinds = kinds}, &node), STOA_OK);
    open_shard(NORTH);
    add_purse(NORTH);
}

static int begin(void **state)
{
    (void)state;
    stoa_log_level_set(STOA_LOG_OFF);
    (void)snprintf(folder, sizeof folder, "/tmp/stoa-reserve-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (uint32_t i = 0; i < SHARDS; i++) { atomic_store(&low[i], false); }
    open_node();
    open_shard(EAST);
    add_purse(EAST);
    return 0;
}

static int end(void **state)
{
    (void)state;
    stoa_node_close(node, DEADLINE);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void pause_20ms(void)
{
    struct timespec wait = {0, 20000000}; /* few enough fit into a channel */
    (void)nanosleep(&wait, NULL);
}

static stoa_err pay(uint32_t from, uint64_t amount, const char *to)
{
    purse_paid paid;
    purse_pay p = {.amount = amount};
    assert_int_equal(STOA_TEXT_SETZ(&p.to, to), STOA_OK);
    return purse_call_pay(node, purses[from], p, DEADLINE, &paid);
}

static purse_books look(uint32_t shard)
{
    purse_books books;
    assert_int_equal(purse_call_look(node, purses[shard], (purse_look){{0}}, DEADLINE, &books), STOA_OK);
    return books;
}

/* Until the shard has noticed how much room there is. */
static void wait_for(uint32_t shard, const char *to, stoa_err answer)
{
    for (int i = 0; i < TRIES && pay(shard, 1, to) != answer; i++) { pause_20ms(); }
    assert_int_equal(pay(shard, 1, to), answer);
}

/* Until all that was mailed has arrived or come back. */
static purse_books settled(void)
{
    purse_books books = look(NORTH);
    for (int i = 0; i < TRIES; i++) {
        uint64_t got = shards[EAST] ? look(EAST).got : 0;
        if (books.sent == books.back + got) { return books; }
        pause_20ms();
        books = look(NORTH);
    }
    fail_msg("%" PRIu64 " were sent, %" PRIu64 " came back", books.sent, books.back);
    return books;
}

/* --- the tests */

static void what_comes_back_to_a_full_disk_is_booked(void **state)
{
    (void)state;
    assert_int_equal(pay(NORTH, 100, "east:purse/east"), STOA_OK); /* the shards know each other */
    (void)settled();
    stoa_node_close(node, DEADLINE);
    open_node();
    for (int i = 0; i < 10; i++) { assert_int_equal(pay(NORTH, 100, "east:purse/nobody"), STOA_OK); }
    atomic_store(&low[NORTH], true);
    wait_for(NORTH, "east:purse/nobody", STOA_E_FULL);
    assert_int_equal(look(NORTH).back, 0);
    open_shard(EAST);
    add_purse(EAST);
    purse_books books = settled();
    assert_true(books.sent > 10 && books.back == books.sent - 1 && books.free == -100);
    assert_int_equal(pay(NORTH, 1, "east:purse/east"), STOA_E_FULL); /* new work still is */
    atomic_store(&low[NORTH], false);
    wait_for(NORTH, "east:purse/east", STOA_OK);
    assert_int_equal(settled().free + look(EAST).free, 0);
}

static void what_is_mailed_to_a_full_disk_comes_back(void **state)
{
    (void)state;
    atomic_store(&low[EAST], true);
    wait_for(EAST, "north:purse/nobody", STOA_E_FULL);
    purse_books before = look(EAST);
    for (int i = 0; i < 10; i++) { assert_int_equal(pay(NORTH, 100, "east:purse/east"), STOA_OK); }
    purse_books books = settled();
    assert_true(books.sent == 10 && books.back == 10 && books.free == 0);
    assert_int_equal(look(EAST).got, before.got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_comes_back_to_a_full_disk_is_booked, begin, end),
        cmocka_unit_test_setup_teardown(what_is_mailed_to_a_full_disk_comes_back, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
