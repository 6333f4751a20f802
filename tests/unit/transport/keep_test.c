/* keep_test.c - goal: what came of a transfer that was broken off is found again, and nothing that is not what came: whatever becomes
 * of the file, whichever disk it is on. Method: offers made by hand, files spoilt at random; and two sessions over a simulated link
 * (session_kit.h), one of which dies. What is random comes from a printed seed; STOA_TEST_SEED repeats it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/transport/session_kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "transport/keep.h"

enum { PIECE = STOA_KEEP_PIECE_BYTES, RECORD = 32 + PIECE, SIZE_BYTES = 10 * PIECE + 1234, FILES = 3, SPOILS = 40 };

static uint8_t bytes[SIZE_BYTES];
static char folder[64];
static stoa_random chance;

/* Bytes of their own for each number. */
static stoa_transfer offer_of(uint64_t number, uint64_t size_bytes)
{
    stoa_transfer offer = {.id = number, .size_bytes = size_bytes};
    for (uint64_t i = 0; i < size_bytes; i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 11) + number * 7);
    }
    stoa_hash256_parts(&offer.hash, bytes, size_bytes, NULL, 0);
    return offer;
}

static stoa_keep *keep_open(void)
{
    const stoa_keep_options options = {.folder = folder, .size_max_bytes = SIZE_BYTES, .files_max = FILES};
    stoa_keep *keep = NULL;
    assert_int_equal(stoa_keep_open(&options, &keep), STOA_OK);
    return keep;
}

/* What is there of it is what it must be; how much. */
static uint64_t offered(stoa_keep *keep, const stoa_transfer *offer, uint8_t **into_out)
{
    void *into = NULL;
    uint64_t have = UINT64_MAX;
    assert_int_equal(stoa_keep_offered(keep, offer, &into, &have), STOA_OK);
    assert_non_null(into);
    assert_true(have <= offer->size_bytes);
    assert_memory_equal(into, bytes, have);
    if (into_out) { *into_out = into; }
    return have;
}

/* So much of it comes, in chunks of any size, and then no more: as after a kill. */
static void comes(const stoa_transfer *offer, uint64_t most)
{
    stoa_keep *keep = keep_open();
    uint8_t *into;
    for (uint64_t have = offered(keep, offer, &into); have < most;) {
        uint64_t more = 1 + stoa_random_below(&chance, 20000);
        if (more > most - have) { more = most - have; }
        memcpy(into + have, bytes + have, more);
        have += more;
        assert_int_equal(stoa_keep_grew(keep, offer, have), STOA_OK);
    }
    stoa_keep_close(keep);
}

/* In another life. */
static uint64_t found(const stoa_transfer *offer)
{
    stoa_keep *keep = keep_open();
    uint64_t have = offered(keep, offer, NULL);
    stoa_keep_close(keep);
    return have;
}

static const char *path_of(const stoa_transfer *offer)
{
    static char path[sizeof folder + STOA_HASH256_TEXT + 8];
    char text[STOA_HASH256_TEXT];
    stoa_hash256_print(&offer->hash, text);
    (void)snprintf(path, sizeof path, "%s/%s.part", folder, text);
    return path;
}

static bool is_kept(const stoa_transfer *offer)
{
    return access(path_of(offer), F_OK) == 0;
}

static void bytes_at(int fd, uint64_t at, void *to, size_t size_bytes, bool writes)
{
    ssize_t done = writes ? pwrite(fd, to, size_bytes, (off_t)at) : pread(fd, to, size_bytes, (off_t)at);
    assert_int_equal(done, size_bytes);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/stoa-keep-XXXXXX");
    return mkdtemp(folder) && rmdir(folder) == 0 ? 0 : -1; /* open makes it */
}

static int end(void **state)
{
    DIR *of = opendir(folder);
    (void)state;
    for (const struct dirent *entry; of && (entry = readdir(of)) != NULL;) {
        (void)unlinkat(dirfd(of), entry->d_name, 0);
    }
    if (of) { (void)closedir(of); }
    return of ? rmdir(folder) : 0;
}

static void what_came_is_found_in_another_life(void **state)
{
    stoa_transfer offer = offer_of(1, SIZE_BYTES);
    struct stat is;
    (void)state;
    assert_int_equal(found(&offer), 0);
    comes(&offer, 3 * PIECE - 1);
    assert_int_equal(found(&offer), 2 * PIECE);
    comes(&offer, 7 * PIECE + 5); /* and on from there */
    assert_int_equal(found(&offer), 7 * PIECE);
    comes(&offer, SIZE_BYTES - 1);
    assert_int_equal(found(&offer), 10 * PIECE);
    assert_int_equal(stat(path_of(&offer), &is), 0);
    assert_int_equal(is.st_mode & 0777, 0600);
    assert_int_equal(stat(folder, &is), 0);
    assert_int_equal(is.st_mode & 0777, 0700);
    stoa_transfer other = offer_of(2, SIZE_BYTES);
    assert_int_equal(found(&other), 0);
}

static void a_file_ends_with_its_transfer_unless_that_was_broken_off(void **state)
{
    static const struct {
        stoa_err why;
        bool kept;
    } rows[] = {{STOA_E_CLOSED, true}, {STOA_E_CORRUPT, false}, {STOA_OK, false}};
    stoa_transfer offer = offer_of(1, SIZE_BYTES);
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        comes(&offer, 4 * PIECE);
        stoa_keep *keep = keep_open();
        uint8_t *into;
        assert_int_equal(offered(keep, &offer, &into), 4 * PIECE);
        assert_ptr_equal(stoa_keep_bytes(keep, &offer), into);
        stoa_keep_came(keep, &offer, rows[i].why);
        assert_null(stoa_keep_bytes(keep, &offer));
        assert_int_equal(is_kept(&offer), rows[i].kept);
        stoa_keep_close(keep);
    }
}

/* Any byte, any length, records that changed places, and those of another transfer. */
static void nothing_spoilt_is_found(void **state)
{
    static uint8_t record[RECORD];
    stoa_transfer other = offer_of(2, SIZE_BYTES), offer;
    (void)state;
    comes(&other, 10 * PIECE);
    char of_other[sizeof folder + STOA_HASH256_TEXT + 8];
    (void)snprintf(of_other, sizeof of_other, "%s", path_of(&other));
    offer = offer_of(1, SIZE_BYTES);
    for (unsigned i = 0; i < SPOILS; i++) {
        comes(&offer, 9 * PIECE);
        assert_int_equal(found(&offer), 9 * PIECE);
        int fd = open(path_of(&offer), O_RDWR), from = open(of_other, O_RDONLY);
        uint64_t place = stoa_random_below(&chance, 9), at = place * RECORD + stoa_random_below(&chance, RECORD);
        assert_true(fd >= 0 && from >= 0);
        switch (i % 4) {
        case 0:
            bytes_at(fd, at, record, 1, false);
            record[0] ^= (uint8_t)(1 + stoa_random_below(&chance, 255));
            bytes_at(fd, at, record, 1, true);
            break;
        case 1: assert_int_equal(ftruncate(fd, (off_t)at), 0); break;
        case 2: /* another one of its own */
            bytes_at(fd, (place + 1) % 9 * RECORD, record, RECORD, false);
            bytes_at(fd, place * RECORD, record, RECORD, true);
            break;
        default: /* the same place of another one */
            bytes_at(from, place * RECORD, record, RECORD, false);
            bytes_at(fd, place * RECORD, record, RECORD, true);
        }
        (void)close(fd);
        (void)close(from);
        assert_int_equal(found(&offer), place * PIECE);
    }
}

static void bounds_are_kept_and_the_oldest_makes_room(void **state)
{
    (void)state;
    for (uint64_t number = 1; number <= FILES + 2; number++) {
        stoa_transfer offer = offer_of(number, SIZE_BYTES);
        comes(&offer, 2 * PIECE);
        const struct timespec times[2] = {{(time_t)number, 0}, {(time_t)number, 0}};
        assert_int_equal(utimensat(AT_FDCWD, path_of(&offer), times, 0), 0);
    }
    for (uint64_t number = 1; number <= FILES + 2; number++) {
        stoa_transfer offer = offer_of(number, SIZE_BYTES);
        assert_int_equal(is_kept(&offer), number > 2);
    }
    stoa_keep *keep = keep_open();
    void *into;
    uint64_t have;
    stoa_transfer large = offer_of(1, SIZE_BYTES);
    large.size_bytes++;
    assert_int_equal(stoa_keep_offered(keep, &large, &into, &have), STOA_E_TOO_LARGE);
    for (uint64_t number = 10; number < 10 + FILES; number++) { /* those that are under way do not make room */
        stoa_transfer offer = offer_of(number, SIZE_BYTES);
        assert_int_equal(offered(keep, &offer, NULL), 0);
        assert_int_equal(stoa_keep_offered(keep, &offer, &into, &have), STOA_E_EXISTS);
    }
    stoa_transfer offer = offer_of(20, SIZE_BYTES);
    assert_int_equal(stoa_keep_offered(keep, &offer, &into, &have), STOA_E_FULL);
    stoa_keep *second = NULL;
    const stoa_keep_options options = {.folder = folder};
    assert_int_equal(stoa_keep_open(&options, &second), STOA_E_EXISTS);
    stoa_keep_close(keep);
    assert_int_equal(stoa_keep_open(&(stoa_keep_options){0}, &second), STOA_E_INVALID);
}

/* A disk that takes no more: it is said once, and the transfer goes on. */
static void a_full_disk_is_an_error_and_no_end(void **state)
{
    stoa_transfer offer = offer_of(1, SIZE_BYTES);
    struct rlimit was, little = {.rlim_cur = 2 * RECORD + RECORD / 2};
    uint8_t *into;
    uint32_t errors = 0;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    little.rlim_max = was.rlim_max;
    stoa_keep *keep = keep_open();
    assert_int_equal(offered(keep, &offer, &into), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    memcpy(into, bytes, SIZE_BYTES);
    for (uint64_t have = 1000; have < SIZE_BYTES; have += 1000) {
        errors += stoa_keep_grew(keep, &offer, have) != STOA_OK;
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(errors, 1);
    assert_memory_equal(stoa_keep_bytes(keep, &offer), bytes, SIZE_BYTES);
    stoa_keep_close(keep);
    assert_int_equal(found(&offer), 2 * PIECE);
}

/* --- with sessions */

static struct {
    stoa_keep *keep;
    uint32_t offers, cames, gones;
    uint64_t had; /* when it was last offered */
    stoa_err why;
} seen;

static stoa_err on_offered(void *context, stoa_session *session, const stoa_transfer *offer, void **into_out,
                           uint64_t *have_out)
{
    (void)context, (void)session;
    stoa_err err = stoa_keep_offered(seen.keep, offer, into_out, have_out);
    seen.offers++;
    seen.had = *have_out;
    return err;
}

static void on_grew(void *context, stoa_session *session, const stoa_transfer *offer, uint64_t have)
{
    (void)context, (void)session;
    assert_int_equal(stoa_keep_grew(seen.keep, offer, have), STOA_OK);
}

static void on_came(void *context, stoa_session *session, const stoa_transfer *offer, uint64_t have, stoa_err why)
{
    (void)context, (void)session;
    assert_memory_equal(stoa_keep_bytes(seen.keep, offer), bytes, have);
    stoa_keep_came(seen.keep, offer, why);
    seen.cames++;
    seen.why = why;
}

static void on_gone(void *context, stoa_session *session, uint64_t id, stoa_err why)
{
    (void)context, (void)session, (void)id, (void)why;
    seen.gones++;
}

static void a_receiver_that_died_goes_on_where_it_was(void **state)
{
    static const stoa_transfer_events transfers = {
        .offered = on_offered, .grew = on_grew, .came = on_came, .gone = on_gone};
    uint64_t id;
    memset(&seen, 0, sizeof seen);
    (void)offer_of(1, SIZE_BYTES);
    assert_int_equal(kit_open(state), 0);
    kit *k = *state;
    k->options.transfers = &transfers;
    k->options.link_frames = 8; /* two chunks on their way: it takes some time */
    kit_up(k);
    seen.keep = keep_open();
    assert_int_equal(stoa_session_transfer(kit_session(&k->a), 9, bytes, SIZE_BYTES, &id), STOA_OK);
    kit_run(k, 10);
    assert_int_equal(seen.offers, 1);
    assert_int_equal(seen.cames, 0);
    kit_end_now(&k->b);
    stoa_keep_close(seen.keep);
    seen.keep = keep_open();
    stoa_session_options b = kit_options(k, &k->b);
    b.incarnation = 2;
    kit_begin(k, &k->b, &b);
    kit_run(k, 200);
    assert_int_equal(seen.gones, 1); /* the sender offers it again */
    assert_int_equal(stoa_session_transfer(kit_session(&k->a), 9, bytes, SIZE_BYTES, &id), STOA_OK);
    kit_run(k, 300);
    assert_true(seen.had > 0 && seen.had < SIZE_BYTES && seen.had % PIECE == 0);
    assert_true(kit_view(&k->b).counts.bytes_received < SIZE_BYTES - seen.had + (SIZE_BYTES >> 4));
    assert_int_equal(seen.cames, 1);
    assert_int_equal(seen.why, STOA_OK);
    stoa_keep_close(seen.keep);
    (void)kit_close(state);
}

#define KEEP_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
int main(void)
{
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_random_seed(&chance, seed);
    const struct CMUnitTest tests[] = {
        KEEP_TEST(what_came_is_found_in_another_life),
        KEEP_TEST(a_file_ends_with_its_transfer_unless_that_was_broken_off),
        KEEP_TEST(nothing_spoilt_is_found),
        KEEP_TEST(bounds_are_kept_and_the_oldest_makes_room),
        KEEP_TEST(a_full_disk_is_an_error_and_no_end),
        KEEP_TEST(a_receiver_that_died_goes_on_where_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
