/* side_test.c - goal: every journal's side store keeps the contract of storage/journal.h. Method: one list of tests, run on
 * each implementation; a model beside them, an array of keys and values that seeded puts and erasures change as well.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/journals.h"

#include <pthread.h>
#include <stdatomic.h>

/* --- a model: what is in a space. Keys are K or KK of few letters, so that they meet. */

enum { LETTERS = 12, MODEL_KEYS = LETTERS * (LETTERS + 1), VALUE_MAX = 9000 };

typedef struct model {
    struct {
        uint64_t there, bytes, hash; /* there: 1, or all three are 0 */
    } at[MODEL_KEYS];
} model;

static uint32_t key_of(unsigned i, char key[2])
{
    static const char letters[LETTERS] = "\0\1abcdef\x7f\x80\xfe\xff";
    unsigned second = i % (LETTERS + 1);
    key[0] = letters[i / (LETTERS + 1)];
    key[1] = second ? letters[second - 1] : '\0';
    return second ? 2 : 1;
}

static void model_set(model *m, unsigned key, const uint8_t *value, uint32_t bytes)
{
    m->at[key].there = 1;
    m->at[key].bytes = bytes;
    m->at[key].hash = stoa_hash64(1, value, bytes);
}

static void model_clear(model *m, unsigned from, unsigned to)
{
    memset(&m->at[from], 0, (to - from) * sizeof m->at[0]);
}

typedef struct reader {
    model *model;
    unsigned next; /* the lowest key that may come now */
} reader;

static stoa_err read_entry(void *context, const stoa_side_entry *entry)
{
    reader *r = context;
    char key[2];
    for (;; r->next++) {
        assert_true(r->next < MODEL_KEYS);
        if (key_of(r->next, key) == entry->key_bytes && memcmp(key, entry->key, entry->key_bytes) == 0) { break; }
    }
    assert_non_null(entry->value);
    model_set(r->model, r->next, entry->value, entry->value_bytes);
    r->next++;
    return STOA_OK;
}

/* All that is there, and in order. */
static void read_model(stoa_journal *journal, stoa_space space, model *out)
{
    reader r = {.model = out};
    memset(out, 0, sizeof *out);
    kit_ok(ops->scan(journal, space, NULL, 0, read_entry, &r));
}

static void check_model(stoa_journal *journal, stoa_space space, const model *wanted)
{
    static model found;
    read_model(journal, space, &found);
    assert_memory_equal(&found, wanted, sizeof found);
}

static void check_model_from(stoa_journal *journal, stoa_space space, const model *wanted, unsigned from)
{
    static model found, rest;
    char key[2];
    uint32_t key_bytes = key_of(from, key);
    reader r = {.model = &found};
    memset(&found, 0, sizeof found);
    kit_ok(ops->scan(journal, space, key, key_bytes, read_entry, &r));
    rest = *wanted;
    model_clear(&rest, 0, from);
    assert_memory_equal(&found, &rest, sizeof found);
}

/* A batch of one to five puts and erasures of keys, to the journal and the model. */
static stoa_err random_put(stoa_journal *journal, stoa_space space, model *m, stoa_random *random, bool sync)
{
    static uint8_t values[5][VALUE_MAX];
    char keys[5][2];
    stoa_side_entry entries[5];
    uint32_t count = 1 + (uint32_t)stoa_random_below(random, 5);
    for (uint32_t i = 0; i < count; i++) {
        unsigned key = (unsigned)stoa_random_below(random, MODEL_KEYS);
        entries[i] = (stoa_side_entry){.key = keys[i], .key_bytes = key_of(key, keys[i])};
        model_clear(m, key, key + 1);
        if (stoa_random_chance(random, 750)) {
            uint32_t bytes = (uint32_t)stoa_random_below(random, stoa_random_chance(random, 200) ? VALUE_MAX : 40);
            kit_payload(stoa_random_next(random), values[i], bytes);
            model_set(m, key, values[i], bytes);
            entries[i].value = values[i];
            entries[i].value_bytes = bytes;
        }
    }
    return ops->put(journal, space, entries, count, sync);
}

static stoa_err random_erase(stoa_journal *journal, stoa_space space, model *m, stoa_random *random)
{
    unsigned from = (unsigned)stoa_random_below(random, MODEL_KEYS), to = from + (unsigned)stoa_random_below(random, 9);
    bool to_end = to >= MODEL_KEYS;
    model_clear(m, from, to_end ? MODEL_KEYS : to);
    char first[2], end[2];
    uint32_t first_bytes = key_of(from, first), end_bytes = to_end ? 0 : key_of(to, end);
    return ops->erase(journal, space, first, first_bytes, end, end_bytes);
}

/* --- tests */

static void an_empty_store_has_nothing_in_it(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    static const model nothing;
    for (unsigned space = 0; space < STOA_SPACES; space++) {
        check_model(journal, (stoa_space)space, &nothing);
    }
    uint8_t byte;
    uint32_t bytes = 7;
    kit_err(stoa_side_get(journal, STOA_SPACE_META, "a", 1, &byte, 1, &bytes), STOA_E_NOT_FOUND);
    assert_int_equal(bytes, 7);
    kit_ok(ops->erase(journal, STOA_SPACE_META, NULL, 0, NULL, 0));
    kit_ok(ops->put(journal, STOA_SPACE_META, NULL, 0, true));
    check_model(journal, STOA_SPACE_META, &nothing);
    ops->close(journal);
}

static void puts_and_erasures_do_what_a_map_does(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(9));
    static model models[STOA_SPACES];
    memset(models, 0, sizeof models);
    stoa_journal *journal = opened("j");
    for (unsigned i = 0; i < 600; i++) {
        unsigned space = (unsigned)stoa_random_below(&random, STOA_SPACES);
        if (stoa_random_chance(&random, 100)) {
            kit_ok(random_erase(journal, (stoa_space)space, &models[space], &random));
        } else {
            kit_ok(random_put(journal, (stoa_space)space, &models[space], &random, stoa_random_chance(&random, 100)));
        }
        if (i % 50 == 49) {
            check_model(journal, STOA_SPACE_SNAPSHOT, &models[STOA_SPACE_SNAPSHOT]);
            check_model(journal, STOA_SPACE_META, &models[STOA_SPACE_META]);
            check_model_from(journal, (stoa_space)space, &models[space], (unsigned)stoa_random_below(&random, MODEL_KEYS));
        }
        if (i % 150 == 149) {
            ops->close(journal);
            journal = opened("j");
        }
    }
    check_model(journal, STOA_SPACE_SNAPSHOT, &models[STOA_SPACE_SNAPSHOT]);
    kit_ok(ops->erase(journal, STOA_SPACE_SNAPSHOT, NULL, 0, NULL, 0));
    model_clear(&models[STOA_SPACE_SNAPSHOT], 0, MODEL_KEYS);
    check_model(journal, STOA_SPACE_SNAPSHOT, &models[STOA_SPACE_SNAPSHOT]);
    check_model(journal, STOA_SPACE_META, &models[STOA_SPACE_META]);
    ops->close(journal);
}

static void a_batch_that_is_refused_changes_nothing(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    uint8_t *large = calloc(1, STOA_SIDE_VALUE_MAX + 1);
    char long_key[STOA_SIDE_KEY_MAX + 1] = {0};
    assert_non_null(large);
    const stoa_side_entry good = {"k", "v", 1, 1};
    const struct {
        stoa_side_entry second;
        stoa_err err;
    } rows[] = {
        {{"", "v", 0, 1}, STOA_E_INVALID},
        {{NULL, "v", 1, 1}, STOA_E_INVALID},
        {{"k", NULL, 1, 1}, STOA_E_INVALID},
        {{long_key, "v", sizeof long_key, 1}, STOA_E_TOO_LARGE},
        {{"k", large, 1, STOA_SIDE_VALUE_MAX + 1}, STOA_E_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kit_err(ops->put(journal, STOA_SPACE_META, (stoa_side_entry[]){good, rows[i].second}, 2, true), rows[i].err);
    }
    stoa_side_entry many[5];
    for (unsigned i = 0; i < 5; i++) {
        many[i] = (stoa_side_entry){"k", large, 1, STOA_SIDE_VALUE_MAX};
    }
    kit_err(ops->put(journal, STOA_SPACE_META, many, 5, true), STOA_E_TOO_LARGE);
    kit_err(ops->put(journal, STOA_SPACES, &good, 1, true), STOA_E_INVALID);
    kit_err(ops->scan(journal, STOA_SPACE_META, long_key, sizeof long_key, read_entry, NULL), STOA_E_TOO_LARGE);
    static const model nothing;
    check_model(journal, STOA_SPACE_META, &nothing);

    uint32_t bytes;
    kit_ok(ops->put(journal, STOA_SPACE_META, many, 1, false));
    kit_err(stoa_side_get(journal, STOA_SPACE_META, "k", 1, large, 10, &bytes), STOA_E_TOO_LARGE);
    kit_ok(stoa_side_get(journal, STOA_SPACE_META, "k", 1, large, STOA_SIDE_VALUE_MAX, &bytes));
    assert_int_equal(bytes, STOA_SIDE_VALUE_MAX);
    kit_err(stoa_side_get(journal, STOA_SPACE_META, "j", 1, large, 10, &bytes), STOA_E_NOT_FOUND);
    ops->close(journal);
    free(large);
}

static stoa_err scan_again(void *context, const stoa_side_entry *entry)
{
    uint8_t value[8];
    uint32_t bytes;
    kit_ok(stoa_side_get(context, STOA_SPACE_SNAPSHOT, entry->key, entry->key_bytes, value, sizeof value, &bytes));
    assert_int_equal(bytes, entry->value_bytes);
    assert_memory_equal(value, entry->value, bytes);
    return memcmp(entry->key, "c", 1) == 0 ? STOA_E_CANCELLED : STOA_OK;
}

static void a_visit_may_scan_and_end_the_scan(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    const stoa_side_entry entries[] = {{"a", "1", 1, 1}, {"b", "22", 1, 2}, {"c", "", 1, 0}, {"d", "too long for it", 1, 15}};
    kit_ok(ops->put(journal, STOA_SPACE_SNAPSHOT, entries, 4, false));
    kit_err(ops->scan(journal, STOA_SPACE_SNAPSHOT, NULL, 0, scan_again, journal), STOA_E_CANCELLED);
    ops->close(journal);
}

static void log_and_side_store_do_not_mix(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(10));
    static model m;
    memset(&m, 0, sizeof m);
    stoa_journal *journal = opened("j");
    for (unsigned i = 0; i < 60; i++) {
        kit_grow(journal, 1, 3, 100);
        kit_ok(random_put(journal, STOA_SPACE_SNAPSHOT, &m, &random, i % 7 == 0));
    }
    stoa_journal_state before, after;
    ops->state(journal, &before);
    kit_check_all(journal, 180);
    check_model(journal, STOA_SPACE_SNAPSHOT, &m);
    ops->close(journal);
    journal = opened("j");
    ops->state(journal, &after);
    assert_memory_equal(before.hash.at, after.hash.at, sizeof after.hash.at);
    kit_check_all(journal, 180);
    kit_check_index(journal, 180);
    check_model(journal, STOA_SPACE_SNAPSHOT, &m);
    ops->close(journal);
}

/* --- of the simulated disk */

static stoa_sim_disk *disk_of(const char *name)
{
    stoa_sim_disk *disk = NULL;
    kit_ok(stoa_sim_disk_get(name, 5, &disk));
    return disk;
}

enum { PUTS = 12 };

/* Puts and erasures; steps[i] is what is there after i of them. Returns the last synced one. */
static unsigned fill(stoa_journal *journal, model steps[PUTS + 1], stoa_random *random)
{
    unsigned synced = 0;
    for (unsigned i = 1; i <= PUTS; i++) {
        steps[i] = steps[i - 1];
        if (stoa_random_chance(random, 200)) {
            kit_ok(random_erase(journal, STOA_SPACE_META, &steps[i], random));
        } else {
            bool sync = stoa_random_chance(random, 150);
            kit_ok(random_put(journal, STOA_SPACE_META, &steps[i], random, sync));
            if (sync) { synced = i; }
        }
    }
    return synced;
}

static void a_crash_keeps_a_prefix_from_the_last_sync_on(void **state)
{
    (void)state;
    static model steps[PUTS + 1], found;
    stoa_random random = kit_random(UINT64_C(11));
    unsigned shortened = 0;
    for (unsigned round = 0; round < 200; round++) {
        stoa_journal *journal = opened("j");
        kit_grow(journal, 1, 1, 8);
        unsigned synced = fill(journal, steps, &random);
        uint64_t last = kit_last(journal);
        stoa_sim_disk_crash(disk_of("j"));
        stoa_side_entry entry = {"a", "1", 1, 1};
        kit_err(ops->put(journal, STOA_SPACE_META, &entry, 1, true), STOA_E_CLOSED);
        ops->close(journal);

        journal = opened("j");
        assert_true(synced == 0 || kit_last(journal) == last); /* it is never ahead of the log */
        read_model(journal, STOA_SPACE_META, &found);
        unsigned kept = PUTS;
        while (memcmp(&steps[kept], &found, sizeof found) != 0) {
            assert_true(kept > synced);
            kept--;
        }
        shortened += kept < PUTS;
        ops->close(journal);
        steps[0] = found;
    }
    print_message("%u of 200 crashes took something\n", shortened);
    assert_in_range(shortened, 100, 199);
}

static void faults_of_the_side_store_do_not_touch_the_log(void **state)
{
    (void)state;
    stoa_sim_disk *disk = disk_of("j");
    stoa_journal *journal = opened("j");
    const stoa_side_entry entry = {"a", "12345678", 1, 8};
    kit_grow(journal, 1, 1, 8);
    stoa_sim_disk_fail_put(disk, 2);
    kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));
    kit_err(ops->put(journal, STOA_SPACE_META, &entry, 1, true), STOA_E_IO);
    kit_grow(journal, 1, 1, 8);
    stoa_sim_disk_fill(disk, 1);
    kit_err(ops->put(journal, STOA_SPACE_META, &entry, 1, true), STOA_E_FULL);
    kit_err(kit_append(journal, 3, 1, 8, true), STOA_E_FULL);
    kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));

    unsigned flipped = 0, corrupt = 0;
    for (unsigned i = 0; i < 40; i++) {
        kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));
        kit_ok(stoa_sim_disk_rot_side(disk, STOA_SPACE_META));
        uint8_t value[8];
        uint32_t bytes;
        stoa_err err = stoa_side_get(journal, STOA_SPACE_META, "a", 1, value, sizeof value, &bytes);
        flipped += !err && memcmp(value, entry.value, 8) != 0;
        corrupt += err == STOA_E_CORRUPT;
    }
    assert_int_equal(flipped + corrupt, 40);
    assert_in_range(flipped, 5, 35);
    stoa_sim_disk_lose_side(disk);
    static const model nothing;
    check_model(journal, STOA_SPACE_META, &nothing);
    kit_err(stoa_sim_disk_rot_side(disk, STOA_SPACE_META), STOA_E_NOT_FOUND);
    kit_check_all(journal, 2);
    ops->close(journal);
}

/* --- of RocksDB */

typedef struct putter {
    stoa_journal *journal;
    atomic_bool stop;
    atomic_uint faults, puts;
} putter;

static void *put_on(void *context)
{
    putter *p = context;
    stoa_random random;
    stoa_random_seed(&random, 3);
    static model m, found;
    while (!atomic_load(&p->stop)) {
        stoa_err err = random_put(p->journal, STOA_SPACE_SNAPSHOT, &m, &random, stoa_random_chance(&random, 100));
        reader r = {.model = &found};
        memset(&found, 0, sizeof found);
        if (!err) { err = ops->scan(p->journal, STOA_SPACE_SNAPSHOT, NULL, 0, read_entry, &r); }
        if (err || memcmp(&m, &found, sizeof m) != 0) { atomic_fetch_add(&p->faults, 1); }
        atomic_fetch_add(&p->puts, 1);
    }
    return NULL;
}

static void a_thread_may_put_while_another_appends(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    putter p = {.journal = journal};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, put_on, &p), 0);
    unsigned blocks = 0;
    while (blocks < 100 || atomic_load(&p.puts) < 30) {
        kit_ok(kit_append(journal, kit_last(journal) + 1, 2, 200, blocks % 4 == 0));
        blocks++;
    }
    atomic_store(&p.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&p.faults), 0);
    kit_check_all(journal, blocks * 2);
    ops->close(journal);
}

/* The file of the folder that ends so gets other bytes. */
static void spoil(const char *ending)
{
    char command[KIT_PATH_MAX + 200];
    (void)snprintf(command, sizeof command, "for f in %s/j/side/*%s; do printf rotten > \"$f\"; done", folder, ending);
    assert_int_equal(system(command), 0);
}

static void a_side_store_that_cannot_be_read_is_begun_anew(void **state)
{
    (void)state;
    static const char *const endings[] = {".sst", "CURRENT", ""};
    for (unsigned i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        uint8_t value[8];
        uint32_t bytes;
        const stoa_side_entry entry = {"a", "1", 1, 1};
        for (unsigned k = 0; k < 2; k++) { /* the second open brings what was put into a table file */
            stoa_journal *journal = opened("j");
            kit_grow(journal, 1, 2, 100);
            kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));
            ops->close(journal);
        }
        spoil(endings[i]);
        stoa_journal *journal = opened("j");
        kit_check_all(journal, 4 * (i + 1));
        kit_err(stoa_side_get(journal, STOA_SPACE_META, "a", 1, value, sizeof value, &bytes), STOA_E_NOT_FOUND);
        kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));
        kit_ok(stoa_side_get(journal, STOA_SPACE_META, "a", 1, value, sizeof value, &bytes));
        kit_check_index(journal, 4 * (i + 1));
        ops->close(journal);
    }
}

#define TESTS(setup, teardown)                                                                                         \
    TEST(an_empty_store_has_nothing_in_it, setup, teardown),                                                           \
        TEST(puts_and_erasures_do_what_a_map_does, setup, teardown),                                                   \
        TEST(a_batch_that_is_refused_changes_nothing, setup, teardown),                                                \
        TEST(a_visit_may_scan_and_end_the_scan, setup, teardown),                                                      \
        TEST(log_and_side_store_do_not_mix, setup, teardown)

int main(void)
{
    const struct CMUnitTest sim[] = {TESTS(sim_setup, sim_teardown),
                                     TEST(a_crash_keeps_a_prefix_from_the_last_sync_on, sim_setup, sim_teardown),
                                     TEST(faults_of_the_side_store_do_not_touch_the_log, sim_setup, sim_teardown)};
    const struct CMUnitTest rocksdb[] = {
        TESTS(rocksdb_setup, rocksdb_teardown),
        TEST(a_thread_may_put_while_another_appends, rocksdb_setup, rocksdb_teardown),
        TEST(a_side_store_that_cannot_be_read_is_begun_anew, rocksdb_setup, rocksdb_teardown)};
    int failed = cmocka_run_group_tests_name("sim", sim, NULL, NULL);
    return failed + cmocka_run_group_tests_name("rocksdb", rocksdb, NULL, NULL);
}
