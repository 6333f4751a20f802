/* snapshot_test.c - goal: a snapshot gives back the images that were put, whatever part of them did not change since the one
 * before; what is not whole is named and never used; what nobody names any more is erased. Method: images of pseudo-random
 * chunks, changed here and there from one snapshot to the next, on both journals; rot and losses on the simulated one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/journals.h"

#include "base/log.h"
#include "storage/snapshot.h"

enum { CHUNK = STOA_SNAPSHOT_CHUNK, CHUNKS = 24, LAST_BYTES = 1000 };

/* Image 0 is small; image 2 has many chunks, some zero, and a short one at its end. */
typedef struct images {
    uint8_t small[100];
    uint8_t *large;
    uint64_t large_bytes;
} images;

static images made;

static int make(void)
{
    stoa_random random;
    stoa_random_seed(&random, 77);
    made.large_bytes = (uint64_t)CHUNKS * CHUNK + LAST_BYTES;
    made.large = calloc(1, made.large_bytes);
    for (size_t i = 0; i < sizeof made.small; i++) { made.small[i] = (uint8_t)stoa_random_next(&random); }
    for (uint64_t c = 0; c <= CHUNKS; c++) {
        if (c % 5 == 2) { continue; } /* zero */
        made.large[c * CHUNK + c] = (uint8_t)(1 + c);
    }
    return 0;
}

static uint32_t length_of(uint64_t chunk)
{
    return chunk < CHUNKS ? CHUNK : LAST_BYTES;
}

/* *same: bit per chunk that did not change. */
static stoa_err put_at(stoa_snapshot_store *store, uint64_t position, uint64_t same, stoa_snapshot_info *info_out, uint64_t *put_out)
{
    const uint64_t bytes[STOA_SNAPSHOT_IMAGES] = {sizeof made.small, 0, made.large_bytes, 0};
    stoa_snapshot_info info = {.position = position, .epoch = 3, .wall_ns = position * 10};
    info.block.at[0] = (uint8_t)position;
    stoa_err err = stoa_snapshot_begin(store, &info);
    if (!err) { err = stoa_snapshot_put(store, 0, 0, made.small, sizeof made.small); }
    for (uint64_t c = 0; c <= CHUNKS && !err; c++) {
        if ((same >> c & 1) && stoa_snapshot_same(store, 2, c, length_of(c))) { continue; }
        err = stoa_snapshot_put(store, 2, c, made.large + c * CHUNK, length_of(c));
    }
    return err ? err : stoa_snapshot_end(store, bytes, info_out, put_out);
}

static void expect_images(stoa_snapshot *snapshot)
{
    uint8_t *read = malloc(made.large_bytes);
    assert_int_equal(stoa_snapshot_bytes(snapshot, 0), sizeof made.small);
    assert_int_equal(stoa_snapshot_bytes(snapshot, 1), 0);
    assert_int_equal(stoa_snapshot_bytes(snapshot, 2), made.large_bytes);
    kit_ok(stoa_snapshot_read(snapshot, 0, 0, read, sizeof made.small, false));
    assert_memory_equal(read, made.small, sizeof made.small);
    memset(read, 0xaa, made.large_bytes);
    kit_ok(stoa_snapshot_read(snapshot, 2, 0, read, made.large_bytes, false));
    assert_memory_equal(read, made.large, made.large_bytes);
    const struct { uint64_t at, bytes; } parts[] = {{5, 10}, {CHUNK - 1, 2}, {CHUNK, CHUNK}, {2 * CHUNK - 5, 3 * CHUNK}, {made.large_bytes, 0}, {made.large_bytes - 1, 1}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        memset(read, 0, made.large_bytes);
        kit_ok(stoa_snapshot_read(snapshot, 2, parts[i].at, read, parts[i].bytes, true));
        assert_memory_equal(read, made.large + parts[i].at, parts[i].bytes);
    }
    kit_err(stoa_snapshot_read(snapshot, 2, made.large_bytes, read, 1, false), STOA_E_INVALID);
    kit_err(stoa_snapshot_read(snapshot, 2, UINT64_MAX, read, 2, false), STOA_E_INVALID);
    free(read);
}

static void expect_snapshot(stoa_journal *journal, uint64_t at_most, uint64_t position)
{
    stoa_snapshot *snapshot;
    uint64_t next = 0, steps = 0;
    kit_ok(stoa_snapshot_open(journal, at_most, &snapshot));
    const stoa_snapshot_info *info = stoa_snapshot_look(snapshot);
    assert_int_equal(info->position, position);
    assert_int_equal(info->epoch, 3);
    assert_int_equal(info->wall_ns, position * 10);
    assert_int_equal(info->block.at[0], (uint8_t)position);
    expect_images(snapshot);
    do {
        kit_ok(stoa_snapshot_verify(snapshot, next, 7, &next));
        steps++;
    } while (next);
    assert_int_equal(steps, (info->chunks + 6) / 7);
    stoa_snapshot_close(snapshot);
}

typedef struct keys {
    uint32_t chunks, manifests;
} keys;

static stoa_err count_key(void *context, const stoa_side_entry *entry)
{
    keys *k = context;
    char first = *(const char *)entry->key;
    k->chunks += first == 'c';
    k->manifests += first == 'm';
    return STOA_OK;
}

static keys count_keys(stoa_journal *journal)
{
    keys k = {0};
    kit_ok(journal->ops->scan(journal, STOA_SPACE_SNAPSHOT, NULL, 0, count_key, &k));
    return k;
}

/* --- tests */

static void images_come_back_and_cost_what_changed(void **state)
{
    (void)state;
    stoa_journal *journal = opened("images");
    stoa_snapshot_store *store;
    stoa_snapshot_info info;
    stoa_snapshot *none;
    uint64_t put_bytes;
    (void)make();
    kit_err(stoa_snapshot_open(journal, UINT64_MAX, &none), STOA_E_NOT_FOUND);
    kit_ok(stoa_snapshot_store_open(journal, &store));
    assert_null(stoa_snapshot_last(store));
    kit_ok(put_at(store, 100, 0, &info, &put_bytes));
    assert_int_equal(info.chunks, 1 + 20); /* 25, of which 5 are zero */
    assert_int_equal(put_bytes, sizeof made.small + 19 * (uint64_t)CHUNK + LAST_BYTES);
    expect_snapshot(journal, UINT64_MAX, 100);

    made.large[3 * CHUNK + 9] ^= 1; /* one chunk; another becomes zero, and a zero one does not stay so */
    memset(made.large + 4 * CHUNK, 0, CHUNK);
    made.large[7 * CHUNK + 3] = 200;
    kit_ok(put_at(store, 200, ~(UINT64_C(1) << 3 | UINT64_C(1) << 4 | UINT64_C(1) << 7), &info, &put_bytes));
    assert_int_equal(put_bytes, 2 * CHUNK);
    expect_snapshot(journal, 250, 200);
    kit_ok(put_at(store, 300, 0, &info, &put_bytes)); /* looked at, and found stored */
    assert_int_equal(put_bytes, 0);
    kit_err(put_at(store, 300, 0, &info, &put_bytes), STOA_E_EXISTS);
    kit_err(put_at(store, 299, 0, &info, &put_bytes), STOA_E_EXISTS);
    stoa_snapshot_store_close(store);
    journal->ops->close(journal);

    journal = opened("images"); /* they survive */
    expect_snapshot(journal, UINT64_MAX, 300);
    expect_snapshot(journal, 299, 200);
    kit_err(stoa_snapshot_open(journal, 99, &none), STOA_E_NOT_FOUND);
    kit_ok(stoa_snapshot_store_open(journal, &store));
    assert_int_equal(stoa_snapshot_last(store)->position, 300);
    assert_int_equal(stoa_snapshot_first(store)->position, 100);
    made.large[CHUNK] ^= 1;
    kit_ok(put_at(store, 400, ~UINT64_C(2), &info, &put_bytes));
    assert_int_equal(put_bytes, CHUNK);
    expect_snapshot(journal, UINT64_MAX, 400);
    stoa_snapshot_store_close(store);
    journal->ops->close(journal);
    free(made.large);
}

static void what_nobody_names_is_erased(void **state)
{
    (void)state;
    stoa_journal *journal = opened("erased");
    stoa_snapshot_store *store;
    stoa_snapshot_info info;
    uint64_t put_bytes;
    (void)make();
    kit_ok(stoa_snapshot_store_open(journal, &store));
    for (uint64_t i = 1; i <= 5; i++) {
        made.large[i * CHUNK + 77] ^= 0x55; /* each has a chunk that no other has */
        kit_ok(put_at(store, i * 100, 0, &info, &put_bytes));
        kit_ok(stoa_snapshot_prune(store, 3, UINT64_MAX));
        assert_int_equal(count_keys(journal).manifests, i < 3 ? i : 3);
    }
    assert_int_equal(count_keys(journal).chunks, 22 + 2); /* of the newest, and what two older ones have besides */
    expect_snapshot(journal, UINT64_MAX, 500);
    kit_ok(stoa_snapshot_prune(store, 3, 450)); /* the log lost its end */
    assert_int_equal(stoa_snapshot_last(store)->position, 400);

    made.large[20 * CHUNK + 5] = 9; /* given up in its middle: its chunks are swept */
    uint32_t before = count_keys(journal).chunks;
    kit_ok(stoa_snapshot_begin(store, &(stoa_snapshot_info){.position = 600}));
    for (uint64_t c = 0; c < 23; c++) {
        made.large[c * CHUNK + 1] ^= 3;
        kit_ok(stoa_snapshot_put(store, 2, c, made.large + c * CHUNK, CHUNK));
    }
    stoa_snapshot_abandon(store);
    assert_true(count_keys(journal).chunks > before);
    kit_ok(stoa_snapshot_prune(store, 3, UINT64_MAX));
    assert_int_equal(count_keys(journal).chunks, before);
    kit_ok(stoa_snapshot_prune(store, 0, UINT64_MAX));
    assert_int_equal(count_keys(journal).chunks, 0);
    assert_int_equal(count_keys(journal).manifests, 0);
    stoa_snapshot_store_close(store);
    journal->ops->close(journal);
    free(made.large);
}

/* --- on the simulated disk: power cuts, rot, losses */

static stoa_sim_disk *disk_of(const char *name)
{
    stoa_sim_disk *disk;
    kit_ok(stoa_sim_disk_get(name, 0, &disk));
    return disk;
}

/* A power cut at any put: what is there afterwards is an older snapshot or the new one, whole. */
static void a_power_cut_leaves_whole_ones(void **state)
{
    (void)state;
    unsigned kept_new = 0, runs = 60;
    for (unsigned seed = 0; seed < runs; seed++) {
        char name[16];
        (void)snprintf(name, sizeof name, "cut%u", seed);
        stoa_sim_disk *disk;
        kit_ok(stoa_sim_disk_get(name, seed, &disk));
        stoa_journal *journal = opened(name);
        stoa_snapshot_store *store;
        stoa_snapshot_info info;
        uint64_t put_bytes;
        (void)make();
        kit_ok(stoa_snapshot_store_open(journal, &store));
        kit_ok(put_at(store, 100, 0, &info, &put_bytes));
        made.large[3 * CHUNK] ^= 1;
        stoa_sim_disk_fail_put(disk, 1 + seed % 3); /* or, in some of the runs, none fails */
        stoa_err err = put_at(store, 200, 0, &info, &put_bytes);
        if (err) { made.large[3 * CHUNK] ^= 1; }
        kept_new += !err;
        stoa_sim_disk_fail_put(disk, 0);
        stoa_sim_disk_crash(disk);
        stoa_snapshot_store_close(store);
        journal->ops->close(journal);
        journal = opened(name);
        expect_snapshot(journal, UINT64_MAX, err ? 100 : 200); /* both manifests were synced when they said OK */
        kit_ok(stoa_snapshot_store_open(journal, &store));
        kit_ok(stoa_snapshot_prune(store, 1, UINT64_MAX));
        expect_snapshot(journal, UINT64_MAX, err ? 100 : 200);
        stoa_snapshot_store_close(store);
        journal->ops->close(journal);
        stoa_sim_disk_free(disk);
        free(made.large);
    }
    assert_in_range(kept_new, 1, runs - 1);
}

static void rot_is_noticed_and_mended_by_the_next(void **state)
{
    (void)state;
    unsigned broken = 0;
    stoa_log_level_set(STOA_LOG_OFF);
    for (unsigned seed = 0; seed < 40; seed++) {
        char name[16];
        (void)snprintf(name, sizeof name, "rot%u", seed);
        stoa_sim_disk *disk;
        kit_ok(stoa_sim_disk_get(name, seed, &disk));
        stoa_journal *journal = opened(name);
        stoa_snapshot_store *store;
        stoa_snapshot_info info;
        uint64_t put_bytes, next = 0;
        (void)make();
        kit_ok(stoa_snapshot_store_open(journal, &store));
        kit_ok(put_at(store, 100, 0, &info, &put_bytes));
        kit_ok(stoa_sim_disk_rot_side(disk, STOA_SPACE_SNAPSHOT));
        stoa_snapshot *snapshot;
        stoa_err err = stoa_snapshot_open(journal, UINT64_MAX, &snapshot);
        if (!err) {
            err = stoa_snapshot_verify(snapshot, 0, UINT64_MAX, &next);
            stoa_snapshot_close(snapshot);
        }
        assert_int_not_equal(err, STOA_OK);
        broken++;
        if (stoa_snapshot_drop(store, 100) == STOA_OK && put_at(store, 200, 0, &info, &put_bytes) == STOA_OK) {
            expect_snapshot(journal, UINT64_MAX, 200);
        }
        stoa_snapshot_store_close(store);
        journal->ops->close(journal);
        stoa_sim_disk_free(disk);
        free(made.large);
    }
    stoa_log_level_set(STOA_LOG_INFO);
    assert_int_equal(broken, 40);
}

/* The others share the rotten chunk: the next snapshot puts it again, and they are whole with it. */
static void what_is_put_again_mends_those_that_share_it(void **state)
{
    (void)state;
    stoa_journal *journal = opened("mend");
    stoa_snapshot_store *store;
    stoa_snapshot_info info;
    uint64_t put_bytes, next;
    stoa_snapshot *snapshot;
    (void)make();
    kit_ok(stoa_snapshot_store_open(journal, &store));
    kit_ok(put_at(store, 100, 0, &info, &put_bytes));
    kit_ok(put_at(store, 200, ~UINT64_C(0), &info, &put_bytes));
    uint8_t key[33] = {'c'};
    stoa_hash256 hash;
    stoa_hash256_parts(&hash, made.large, CHUNK, NULL, 0);
    memcpy(key + 1, &hash, sizeof hash);
    stoa_side_entry rotten = {.key = key, .key_bytes = sizeof key, .value = "other bytes", .value_bytes = 11};
    kit_ok(journal->ops->put(journal, STOA_SPACE_SNAPSHOT, &rotten, 1, true));
    kit_ok(stoa_snapshot_open(journal, UINT64_MAX, &snapshot));
    kit_err(stoa_snapshot_verify(snapshot, 0, UINT64_MAX, &next), STOA_E_CORRUPT);
    stoa_snapshot_close(snapshot);
    kit_ok(stoa_snapshot_drop(store, 200));
    kit_ok(put_at(store, 300, ~UINT64_C(0), &info, &put_bytes));
    assert_true(put_bytes > 10 * CHUNK); /* nothing that is stored is trusted */
    expect_snapshot(journal, UINT64_MAX, 300);
    expect_snapshot(journal, 299, 100);
    stoa_snapshot_store_close(store);
    journal->ops->close(journal);
    free(made.large);
}

static void a_lost_store_has_none_and_begins_anew(void **state)
{
    (void)state;
    stoa_journal *journal = opened("lost");
    stoa_snapshot_store *store;
    stoa_snapshot_info info;
    stoa_snapshot *none;
    uint64_t put_bytes;
    (void)make();
    kit_ok(stoa_snapshot_store_open(journal, &store));
    kit_ok(put_at(store, 100, 0, &info, &put_bytes));
    stoa_snapshot_store_close(store);
    stoa_sim_disk_lose_side(disk_of("lost"));
    kit_err(stoa_snapshot_open(journal, UINT64_MAX, &none), STOA_E_NOT_FOUND);
    kit_ok(stoa_snapshot_store_open(journal, &store));
    kit_ok(put_at(store, 50, 0, &info, &put_bytes));
    expect_snapshot(journal, UINT64_MAX, 50);
    stoa_snapshot_store_close(store);
    journal->ops->close(journal);
    free(made.large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(images_come_back_and_cost_what_changed, sim_setup, sim_teardown),
        TEST(what_nobody_names_is_erased, sim_setup, sim_teardown),
        TEST(a_power_cut_leaves_whole_ones, sim_setup, sim_teardown),
        TEST(rot_is_noticed_and_mended_by_the_next, sim_setup, sim_teardown),
        TEST(what_is_put_again_mends_those_that_share_it, sim_setup, sim_teardown),
        TEST(a_lost_store_has_none_and_begins_anew, sim_setup, sim_teardown),
        TEST(images_come_back_and_cost_what_changed, rocksdb_setup, rocksdb_teardown),
        TEST(what_nobody_names_is_erased, rocksdb_setup, rocksdb_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
