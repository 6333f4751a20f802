/* shm_ring_test.c - goal: frames of any size go through a ring whole and in order, and whatever the other side writes into
 * the memory that is its own is refused by name. Method: a writer and a reader in one process, mapped as two would have it;
 * a random run against counters, and each rule broken once. Random choices come from a printed seed (STOA_TEST_SEED).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "transport/shm/memory.h"

enum { FRAME_LIMIT = 16 * 1024, RING_BYTES = 64 * 1024, QUEUE_FRAMES = 100, STEPS = 20000 };

/* Frames go from `writes` to `reads`; each side's memory, and the other's view of it. */
typedef struct world {
    stoa_shm_memory writes, reads, writes_seen, reads_seen;
    int writes_fd, reads_fd;
    stoa_shm_writer writer;
    stoa_shm_reader reader;
    uint8_t frame[FRAME_LIMIT], got[FRAME_LIMIT];
} world;

static int world_open(void **state)
{
    world *w = calloc(1, sizeof *w);
    if (!w) { return -1; }
    if (stoa_shm_memory_new(&w->writes, RING_BYTES, &w->writes_fd) ||
        stoa_shm_memory_new(&w->reads, RING_BYTES, &w->reads_fd) ||
        stoa_shm_memory_map(&w->writes_seen, w->writes_fd, RING_BYTES) ||
        stoa_shm_memory_map(&w->reads_seen, w->reads_fd, RING_BYTES)) {
        return -1;
    }
    w->writer = stoa_shm_writer_of(w->writes.ring, RING_BYTES, w->reads_seen.face, QUEUE_FRAMES);
    w->reader = stoa_shm_reader_of(w->writes_seen.ring, RING_BYTES, w->reads.face, FRAME_LIMIT);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    stoa_shm_memory *all[] = {&w->writes, &w->reads, &w->writes_seen, &w->reads_seen};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        stoa_shm_memory_free(all[i]);
    }
    (void)close(w->writes_fd);
    (void)close(w->reads_fd);
    free(w);
    return 0;
}

static void fill(uint8_t *bytes, uint32_t number, uint32_t size_bytes)
{
    for (uint32_t i = 0; i < size_bytes; i++) {
        bytes[i] = (uint8_t)(number * 31 + i * 7);
    }
}

static void frames_of_any_size_arrive_whole_and_in_order(void **state)
{
    world *w = *state;
    stoa_random random;
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_random_seed(&random, seed);
    uint32_t sizes[QUEUE_FRAMES], sent = 0, read = 0, fulls = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t most = stoa_random_chance(&random, 100) ? FRAME_LIMIT : 600;
        uint32_t size_bytes = 1 + (uint32_t)stoa_random_below(&random, most), got_bytes;
        fill(w->frame, sent, size_bytes);
        stoa_err err = stoa_shm_write(&w->writer, w->frame, size_bytes);
        assert_true(err == STOA_OK || (err == STOA_E_FULL && sent > read));
        if (err) { fulls++; }
        if (!err) { sizes[sent++ % QUEUE_FRAMES] = size_bytes; }
        assert_true(sent - read <= QUEUE_FRAMES);
        for (uint64_t left = stoa_random_below(&random, err ? 200 : 2); left > 0 && read < sent; left--) {
            assert_int_equal(stoa_shm_read(&w->reader, w->got, &got_bytes), STOA_OK);
            assert_int_equal(got_bytes, sizes[read % QUEUE_FRAMES]);
            fill(w->frame, read++, got_bytes);
            assert_memory_equal(w->got, w->frame, got_bytes);
        }
        if (read == sent) { stoa_shm_reader_publish(&w->reader); }
        assert_true(stoa_shm_reader_has(&w->reader) == (read < sent));
    }
    assert_true(fulls > 0 && read > STEPS / 4);
}

static void nothing_is_read_from_an_empty_ring(void **state)
{
    world *w = *state;
    uint32_t size_bytes = 1;
    assert_int_equal(stoa_shm_read(&w->reader, w->got, &size_bytes), STOA_OK);
    assert_int_equal(size_bytes, 0);
}

static void headers_that_nobody_can_have_meant_are_refused(void **state)
{
    world *w = *state;
    static const struct {
        uint64_t word;
        stoa_err err;
    } bad[] = {
        {UINT64_C(1) << 32, STOA_E_MALFORMED},     /* no bytes */
        {5, STOA_E_MALFORMED},                     /* no number */
        {UINT64_C(2) << 32 | 5, STOA_E_MALFORMED}, /* not the next number */
        {UINT64_C(1) << 32 | (FRAME_LIMIT + 1), STOA_E_TOO_LARGE},
        {UINT64_C(1) << 32 | (RING_BYTES / 2 - 1), STOA_E_TOO_LARGE},
        {UINT64_C(1) << 32 | RING_BYTES, STOA_E_MALFORMED}, /* more than any writer of this ring has */
        {UINT64_C(1) << 32 | UINT32_MAX, STOA_E_MALFORMED},
        {UINT64_MAX, STOA_E_MALFORMED},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t size_bytes = 1;
        memcpy(w->writes.ring, &bad[i].word, sizeof bad[i].word);
        assert_int_equal(stoa_shm_read(&w->reader, w->got, &size_bytes), bad[i].err);
        assert_int_equal(size_bytes, 0);
        assert_true(w->reader.at == 0);
    }
}

/* Who takes long frames and gets a short ring. */
static void no_frame_is_longer_than_half_a_ring(void **state)
{
    world *w = *state;
    uint8_t *got = malloc(RING_BYTES);
    assert_non_null(got);
    w->reader = stoa_shm_reader_of(w->writes_seen.ring, RING_BYTES, w->reads.face, STOA_SHM_FRAME_LIMIT_MAX);
    static const uint32_t sizes[] = {RING_BYTES / 2 + 1, RING_BYTES, 2 * RING_BYTES, STOA_SHM_FRAME_LIMIT_MAX};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t word = UINT64_C(1) << 32 | sizes[i];
        uint32_t size_bytes;
        memcpy(w->writes.ring, &word, sizeof word);
        assert_int_equal(stoa_shm_read(&w->reader, got, &size_bytes), STOA_E_MALFORMED);
    }
    free(got);
}

static void cursors_where_no_reader_can_be_are_refused(void **state)
{
    world *w = *state;
    uint32_t size_bytes;
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(stoa_shm_write(&w->writer, w->frame, 24), STOA_OK);
    }
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(stoa_shm_read(&w->reader, w->got, &size_bytes), STOA_OK);
    }
    stoa_shm_reader_publish(&w->reader);
    assert_int_equal(stoa_shm_writer_look(&w->writer), STOA_OK);
    const struct {
        uint64_t bytes, frames;
    } bad[] = {
        {w->writer.at + 8, 5},                          /* ahead of the writer */
        {w->reader.at - 8, 5},                          /* back */
        {w->reader.at + 1, 5},                          /* between frames */
        {UINT64_MAX - 7, 5},        {w->reader.at, 11}, /* more frames than there were */
        {w->reader.at, 4},                              /* fewer than before */
        {w->reader.at, UINT64_MAX},
    };
    stoa_shm_writer before = w->writer;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        atomic_store(&w->reads.face->read_bytes, bad[i].bytes);
        atomic_store(&w->reads.face->read_frames, bad[i].frames);
        assert_int_equal(stoa_shm_writer_look(&w->writer), STOA_E_MALFORMED);
        assert_memory_equal(&before, &w->writer, sizeof before);
    }
}

static void memory_that_could_hurt_is_refused(void **state)
{
    stoa_shm_memory memory = {0};
    int pipes[2], zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    (void)state;
    assert_int_equal(pipe(pipes), 0);
    int bare = memfd_create("bare", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(bare, STOA_SHM_FACE_BYTES + RING_BYTES), 0);
    int bad[] = {pipes[0], zero, bare, -1};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(stoa_shm_memory_map(&memory, bad[i], RING_BYTES), STOA_E_MALFORMED);
    }
    assert_int_equal(fcntl(bare, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    uint64_t sizes[] = {0, RING_BYTES / 2, RING_BYTES - 1, 2 * RING_BYTES, UINT64_C(1) << 63, UINT64_MAX};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(stoa_shm_memory_map(&memory, bare, sizes[i]), STOA_E_MALFORMED);
    }
    assert_null(memory.face);
    assert_int_equal(stoa_shm_memory_map(&memory, bare, RING_BYTES), STOA_OK);
    stoa_shm_memory_free(&memory);
    int all[] = {pipes[0], pipes[1], zero, bare};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        (void)close(all[i]);
    }
}

/* Who gets the descriptor cannot write what its owner relies on, nor take it away. */
static void nobody_else_can_write_our_memory(void **state)
{
    world *w = *state;
    void *at = mmap(NULL, STOA_SHM_FACE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, w->writes_fd, 0);
    assert_true(at == MAP_FAILED && errno == EPERM);
    assert_int_equal(pwrite(w->writes_fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(w->writes_fd, 0), -1);
    assert_int_equal(mprotect(w->writes_seen.face, STOA_SHM_FACE_BYTES, PROT_READ | PROT_WRITE), -1);
}

static void a_ring_has_room_for_what_it_is_made_for(void **state)
{
    static const uint32_t limits[] = {1024, 16 * 1024, 65536, 1 << 20, STOA_SHM_FRAME_LIMIT_MAX};
    (void)state;
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        for (uint32_t queue = 1; queue < 100000; queue *= 10) {
            uint64_t bytes = stoa_shm_ring_bytes(limits[i], queue);
            assert_true(bytes >= STOA_SHM_RING_MIN && bytes <= STOA_SHM_RING_MAX && !(bytes & (bytes - 1)));
            assert_true(bytes >= 4 * stoa_shm_frame_bytes(limits[i]) + STOA_SHM_HEADER);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_of_any_size_arrive_whole_and_in_order, world_open, world_close),
        cmocka_unit_test_setup_teardown(nothing_is_read_from_an_empty_ring, world_open, world_close),
        cmocka_unit_test_setup_teardown(headers_that_nobody_can_have_meant_are_refused, world_open, world_close),
        cmocka_unit_test_setup_teardown(no_frame_is_longer_than_half_a_ring, world_open, world_close),
        cmocka_unit_test_setup_teardown(cursors_where_no_reader_can_be_are_refused, world_open, world_close),
        cmocka_unit_test(memory_that_could_hurt_is_refused),
        cmocka_unit_test_setup_teardown(nobody_else_can_write_our_memory, world_open, world_close),
        cmocka_unit_test(a_ring_has_room_for_what_it_is_made_for),
    };
    return cmocka_run_group_tests_name("shm/ring.h", tests, NULL, NULL);
}
