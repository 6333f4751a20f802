/* snapshot_kit.h - snapshots for the tests of journals and archives: images whose content follows from the position, so that whoever
 * reads one can tell whether each byte is right.
 *
 * Most chunks are the same in all of them; one changes with each, one is zero. A small one has a single short chunk.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_STORAGE_SNAPSHOT_KIT_H
#define STOA_TESTS_UNIT_STORAGE_SNAPSHOT_KIT_H

#include "tests/unit/storage/kit.h"

#include "storage/snapshot.h"

enum { KIT_CHUNKS = 6, KIT_LAST_BYTES = 900, KIT_SMALL_BYTES = 120, KIT_CHANGING = 3, KIT_ZERO = 2 };

static inline uint32_t kit_chunk_bytes(uint64_t chunk)
{
    return chunk < KIT_CHUNKS ? STOA_SNAPSHOT_CHUNK : KIT_LAST_BYTES;
}

static inline void kit_chunk(uint64_t position, uint64_t chunk, uint8_t *out)
{
    uint64_t seed = chunk == KIT_CHANGING ? position * 100 + 7 : chunk + 1;
    memset(out, 0, STOA_SNAPSHOT_CHUNK);
    if (chunk != KIT_ZERO) { kit_payload(seed, out, kit_chunk_bytes(chunk)); }
}

static inline stoa_err kit_put_images(stoa_snapshot_store *store, uint64_t position, bool small, uint8_t *bytes)
{
    kit_payload(position, bytes, KIT_SMALL_BYTES);
    stoa_err err = stoa_snapshot_put(store, 0, 0, bytes, KIT_SMALL_BYTES);
    for (uint64_t c = 0; c <= KIT_CHUNKS && !err && !small; c++) {
        kit_chunk(position, c, bytes);
        err = stoa_snapshot_put(store, 2, c, bytes, kit_chunk_bytes(c));
    }
    return err;
}

/* One at the end of the log, beside the keep - 1 newest that are there. */
static inline stoa_err kit_try_sized(stoa_journal *journal, uint32_t keep, bool small)
{
    const uint64_t image_bytes[STOA_SNAPSHOT_IMAGES] = {KIT_SMALL_BYTES, 0, small ? 0 : (uint64_t)KIT_CHUNKS * STOA_SNAPSHOT_CHUNK + KIT_LAST_BYTES, 0};
    stoa_snapshot_store *store;
    stoa_snapshot_info info;
    stoa_journal_state state;
    uint64_t put_bytes;
    uint8_t *bytes = malloc(STOA_SNAPSHOT_CHUNK);
    assert_non_null(bytes);
    journal->ops->state(journal, &state);
    stoa_err err = stoa_snapshot_store_open(journal, &store);
    if (!err) {
        info = (stoa_snapshot_info){.position = state.last, .epoch = state.epoch, .block = state.hash, .wall_ns = state.last * 10};
        err = stoa_snapshot_begin(store, &info);
        if (!err) { err = kit_put_images(store, state.last, small, bytes); }
        if (!err) { err = stoa_snapshot_end(store, image_bytes, &info, &put_bytes); }
        if (!err) { err = stoa_snapshot_prune(store, keep, UINT64_MAX); }
        stoa_snapshot_store_close(store);
    }
    free(bytes);
    return err;
}

static inline stoa_err kit_try_snapshot(stoa_journal *journal, uint32_t keep)
{
    return kit_try_sized(journal, keep, false);
}

static inline void kit_snapshot(stoa_journal *journal)
{
    kit_ok(kit_try_snapshot(journal, 3));
}

/* The journal has the one of that position, whole and right. */
static inline void kit_check_snapshot(stoa_journal *journal, uint64_t position)
{
    stoa_snapshot *snapshot;
    uint8_t *read = malloc(STOA_SNAPSHOT_CHUNK), *wanted = malloc(STOA_SNAPSHOT_CHUNK);
    assert_true(read && wanted);
    kit_ok(stoa_snapshot_open(journal, position, &snapshot));
    assert_int_equal(stoa_snapshot_look(snapshot)->position, position);
    kit_ok(stoa_snapshot_stands(journal, stoa_snapshot_look(snapshot)));
    kit_payload(position, wanted, KIT_SMALL_BYTES);
    kit_ok(stoa_snapshot_read(snapshot, 0, 0, read, KIT_SMALL_BYTES, false));
    assert_memory_equal(read, wanted, KIT_SMALL_BYTES);
    for (uint64_t c = 0; c <= KIT_CHUNKS; c++) {
        kit_chunk(position, c, wanted);
        kit_ok(stoa_snapshot_read(snapshot, 2, c * STOA_SNAPSHOT_CHUNK, read, kit_chunk_bytes(c), false));
        assert_memory_equal(read, wanted, kit_chunk_bytes(c));
    }
    stoa_snapshot_close(snapshot);
    free(read);
    free(wanted);
}

#endif
