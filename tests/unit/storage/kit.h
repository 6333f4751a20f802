/* kit.h - what the tests of journals share: blocks whose content follows from their position, and readers that check
 * it.
 *
 * The block that begins at position p has the payload and index that p, its count and its size dictate, so that
 * whoever reads a block can tell whether each byte is right without keeping a copy.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_STORAGE_KIT_H
#define STOA_TESTS_UNIT_STORAGE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "storage/journal.h"

enum { KIT_IDS = 7, KIT_PATH_MAX = 512 };

/* Fails with the trail, which says more than the code. */
#define kit_ok(expression)                                                                                   \
    do {                                                                                                     \
        stoa_err kit_err = (expression);                                                                     \
        if (kit_err) {                                                                                       \
            fail_msg("%s: %s\n%s", #expression, stoa_err_name(kit_err), stoa_err_trail());                   \
        }                                                                                                    \
    } while (0)
#define kit_err(expression, expected)                                                                        \
    do {                                                                                                     \
        stoa_err kit_got = (expression);                                                                     \
        if (kit_got != (expected)) {                                                                         \
            fail_msg("%s: %s, not %s\n%s", #expression, stoa_err_name(kit_got), stoa_err_name(expected),     \
                     stoa_err_trail());                                                                      \
        }                                                                                                    \
    } while (0)

/* --- blocks */

typedef struct kit_block {
    stoa_block block;
    uint8_t *payload;
    stoa_index_entry *index;
} kit_block;

/* Each event is indexed under one of KIT_IDS ids. */
static inline uint64_t kit_id_of(uint64_t position)
{
    return 1 + stoa_mix64(position) % KIT_IDS;
}

static inline void kit_payload(uint64_t first, uint8_t *payload, uint32_t bytes)
{
    stoa_random random;
    stoa_random_seed(&random, first * 31 + bytes);
    for (uint32_t i = 0; i < bytes; i += 8) {
        uint64_t word = stoa_random_next(&random);
        memcpy(payload + i, &word, bytes - i < sizeof word ? bytes - i : sizeof word);
    }
}

static inline kit_block kit_make(uint64_t first, uint32_t count, uint32_t payload_bytes, uint64_t epoch)
{
    kit_block made = {.payload = calloc(1, payload_bytes + 1), .index = calloc(count + 1, sizeof *made.index)};
    assert_non_null(made.payload);
    assert_non_null(made.index);
    kit_payload(first, made.payload, payload_bytes);
    for (uint32_t i = 0; i < count; i++) {
        made.index[i] = (stoa_index_entry){.id = kit_id_of(first + i), .position = first + i};
    }
    made.block = (stoa_block){.first = first,
                              .epoch = epoch,
                              .commit_ns = first * 1000 + 7,
                              .count = count,
                              .payload_bytes = payload_bytes,
                              .index_count = count,
                              .payload = made.payload,
                              .index = made.index};
    return made;
}

static inline void kit_drop(kit_block *made)
{
    free(made->payload);
    free(made->index);
}

static inline stoa_err kit_append(stoa_journal *journal, uint64_t first, uint32_t count, uint32_t payload_bytes,
                                  bool sync)
{
    kit_block made = kit_make(first, count, payload_bytes, 1);
    stoa_err err = journal->ops->append(journal, &made.block, sync);
    kit_drop(&made);
    return err;
}

static inline uint64_t kit_last(stoa_journal *journal)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    return state.last;
}

static inline uint64_t kit_proven(stoa_journal *journal)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    return state.proven;
}

/* Append blocks of count events behind the last one, without sync. */
static inline void kit_grow(stoa_journal *journal, unsigned blocks, uint32_t count, uint32_t payload_bytes)
{
    for (unsigned i = 0; i < blocks; i++) {
        kit_ok(kit_append(journal, kit_last(journal) + 1, count, payload_bytes, false));
    }
}

/* --- readers */

typedef struct kit_reader {
    uint64_t first, last; /* of what was seen; 0, 0 at first */
    uint64_t blocks;
    stoa_err stop; /* returned ... */
    uint64_t stop_after; /* ... after so many blocks; 0: never */
} kit_reader;

/* A visit: the block must follow the last one and be, byte by byte, what its position dictates. */
static inline stoa_err kit_visit(void *context, const stoa_block *block)
{
    kit_reader *reader = context;
    if (reader->blocks == 0) {
        reader->first = block->first;
    } else {
        assert_int_equal(block->first, reader->last + 1);
    }
    kit_block wanted = kit_make(block->first, block->count, block->payload_bytes, block->epoch);
    assert_int_equal(block->commit_ns, wanted.block.commit_ns);
    assert_int_equal(block->index_count, wanted.block.index_count);
    assert_true(block->payload_bytes == 0 || memcmp(block->payload, wanted.payload, block->payload_bytes) == 0);
    for (uint32_t i = 0; i < block->index_count; i++) {
        assert_int_equal(block->index[i].id, wanted.index[i].id);
        assert_int_equal(block->index[i].position, wanted.index[i].position);
    }
    kit_drop(&wanted);
    reader->last = block->first + block->count - 1;
    reader->blocks++;
    return reader->blocks == reader->stop_after ? reader->stop : STOA_OK;
}

/* All of the journal is there, first to last, and right. */
static inline void kit_check_from(stoa_journal *journal, uint64_t first, uint64_t last)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    assert_int_equal(state.first, first);
    assert_int_equal(state.last, last);
    uint64_t verified = 0;
    kit_ok(stoa_journal_verify(journal, &verified));
    assert_int_equal(verified, last);
    kit_reader reader = {0};
    if (last > 0) {
        kit_ok(journal->ops->read(journal, first, kit_visit, &reader));
        assert_int_equal(reader.first, first);
    }
    assert_int_equal(reader.last, last);
}

static inline void kit_check_all(stoa_journal *journal, uint64_t last)
{
    kit_check_from(journal, 1, last);
}

typedef struct kit_positions {
    uint64_t id, expected, count;
} kit_positions;

static inline stoa_err kit_visit_position(void *context, uint64_t position)
{
    kit_positions *positions = context;
    while (kit_id_of(positions->expected) != positions->id) {
        positions->expected++;
    }
    assert_int_equal(position, positions->expected);
    positions->expected++;
    positions->count++;
    return STOA_OK;
}

/* The index knows each event of first to last under its id, in order. */
static inline void kit_check_index_from(stoa_journal *journal, uint64_t first, uint64_t last)
{
    uint64_t found = 0;
    for (uint64_t id = 1; id <= KIT_IDS; id++) {
        kit_positions positions = {.id = id, .expected = first};
        kit_ok(journal->ops->lookup(journal, id, kit_visit_position, &positions));
        found += positions.count;
    }
    assert_int_equal(found, last + 1 - first);
}

static inline void kit_check_index(stoa_journal *journal, uint64_t last)
{
    kit_check_index_from(journal, 1, last);
}

/* --- folders */

static inline void kit_folder(char path[KIT_PATH_MAX])
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(path, KIT_PATH_MAX, "%s/stoa-journal-XXXXXX", parent && *parent ? parent : "/tmp");
    assert_non_null(mkdtemp(path));
}

static inline int kit_remove_one(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)status;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void kit_remove(const char *path)
{
    (void)nftw(path, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- chance */

/* A generator whose seed is printed: STOA_SEED, else the given one. */
static inline stoa_random kit_random(uint64_t seed)
{
    const char *text = getenv("STOA_SEED");
    if (text) { seed = strtoull(text, NULL, 10); }
    print_message("seed %" PRIu64 "\n", seed);
    stoa_random random;
    stoa_random_seed(&random, seed);
    return random;
}

#endif
