/* seal_test.c - goal: a journal that is given keys stores no payload and no side value in plain, proves its chain without any
 * key, opens what each key sealed, and names the key that is missing. Method: one list of tests, run on each journal; the
 * stored bytes and files are searched for the plain text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/journals.h"

#include "storage/block.h"
#include "storage/seal.h"
#include "storage/side.h"

static char key_folder[KIT_PATH_MAX], key_path[KIT_PATH_MAX + 8];
static stoa_keyring *keys;

static int keys_setup(void **state)
{
    (void)state;
    kit_folder(key_folder);
    (void)snprintf(key_path, sizeof key_path, "%s/keys", key_folder);
    uint32_t id;
    kit_ok(stoa_key_file_add(key_path, &id));
    kit_ok(stoa_keyring_open(key_path, &keys));
    return 0;
}

static int keys_teardown(void **state)
{
    (void)state;
    stoa_keyring_close(keys);
    keys = NULL;
    kit_remove(key_folder);
    return 0;
}

static int sealed_sim_setup(void **state)
{
    return keys_setup(state) | sim_setup(state);
}

static int sealed_sim_teardown(void **state)
{
    return sim_teardown(state) | keys_teardown(state);
}

static int sealed_rocksdb_setup(void **state)
{
    return keys_setup(state) | rocksdb_setup(state);
}

static int sealed_rocksdb_teardown(void **state)
{
    return rocksdb_teardown(state) | keys_teardown(state);
}

static stoa_journal *sealing(const char *name)
{
    stoa_journal *journal = opened(name);
    ops->seal(journal, keys);
    return journal;
}

static const char text[] = "the quick brown fox jumps over the lazy dog";

static void append_text(stoa_journal *journal)
{
    stoa_index_entry index = {.id = 77, .position = kit_last(journal) + 1};
    stoa_block block = {.first = index.position, .count = 1, .payload = text, .payload_bytes = sizeof text, .index = &index,
                        .index_count = 1};
    kit_ok(ops->append(journal, &block, true));
}

typedef struct looking {
    uint32_t keys[64];
    unsigned blocks, plain;
} looking;

static stoa_err look_at_stored(void *context, const void *bytes, size_t size_bytes)
{
    looking *l = context;
    stoa_block_view view;
    kit_ok(stoa_block_decode(bytes, size_bytes, &view));
    l->keys[l->blocks++] = view.block.key;
    l->plain += memmem(bytes, size_bytes, "lazy", 4) != NULL;
    return STOA_OK;
}

static stoa_err look_at_text(void *context, const stoa_block *block)
{
    looking *l = context;
    l->keys[l->blocks++] = block->key;
    assert_int_equal(block->payload_bytes, sizeof text);
    assert_memory_equal(block->payload, text, sizeof text);
    return STOA_OK;
}

static void payloads_are_sealed_and_come_back(void **state)
{
    (void)state;
    stoa_journal *journal = sealing("j");
    for (uint32_t i = 0; i < 40; i++) {
        kit_ok(kit_append(journal, kit_last(journal) + 1, 1 + i % 5, i * 97, i % 9 == 0));
    }
    uint64_t last = kit_last(journal);
    kit_check_all(journal, last);
    kit_check_index(journal, last);
    ops->close(journal);
    journal = sealing("j");
    kit_check_all(journal, last);
    kit_check_index(journal, last);
    ops->close(journal);
}

static void nothing_stored_is_plain(void **state)
{
    (void)state;
    stoa_journal *journal = sealing("j");
    append_text(journal);
    looking stored = {0}, read = {0};
    kit_ok(ops->read_stored(journal, 1, look_at_stored, &stored));
    assert_int_equal(stored.plain, 0);
    assert_int_equal(stored.keys[0], 1);
    kit_ok(ops->read(journal, 1, look_at_text, &read));
    assert_int_equal(read.keys[0], 1);
    ops->close(journal);
}

static void without_its_key_the_chain_is_proven_and_reading_says_which_key(void **state)
{
    (void)state;
    stoa_journal *journal = sealing("j");
    kit_grow(journal, 5, 3, 100);
    const stoa_side_entry entry = {"a", "value", 1, 5};
    kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));
    ops->close(journal);

    journal = opened("j");
    uint64_t verified;
    kit_ok(stoa_journal_verify(journal, &verified));
    assert_int_equal(verified, 15);
    kit_check_index(journal, 15);
    kit_reader reader = {0};
    kit_err(ops->read(journal, 1, kit_visit, &reader), STOA_E_SEALED);
    assert_non_null(strstr(stoa_err_trail(), "key 1"));
    assert_int_equal(reader.blocks, 0);
    uint8_t value[8];
    uint32_t bytes;
    kit_err(stoa_side_get(journal, STOA_SPACE_META, "a", 1, value, sizeof value, &bytes), STOA_E_SEALED);
    kit_ok(ops->purge(journal, 7));
    ops->seal(journal, keys);
    kit_check_from(journal, 7, 15);
    kit_ok(stoa_side_get(journal, STOA_SPACE_META, "a", 1, value, sizeof value, &bytes));
    assert_memory_equal(value, "value", 5);
    ops->close(journal);
}

/* Plain, key 1, key 2: one log, all readable with the ring; nothing was rewritten. */
static void keys_change_without_a_rewrite(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    append_text(journal);
    const stoa_side_entry plain = {"a", "old", 1, 3}, sealed = {"b", "new", 1, 3};
    kit_ok(ops->put(journal, STOA_SPACE_META, &plain, 1, true));
    ops->seal(journal, keys);
    append_text(journal);
    kit_ok(ops->put(journal, STOA_SPACE_META, &sealed, 1, true));
    uint32_t id;
    kit_ok(stoa_key_file_add(key_path, &id));
    append_text(journal);
    kit_ok(stoa_keyring_reload(keys));
    append_text(journal);
    ops->close(journal);

    journal = sealing("j");
    looking read = {0}, stored = {0};
    kit_ok(ops->read(journal, 1, look_at_text, &read));
    kit_ok(ops->read_stored(journal, 1, look_at_stored, &stored));
    static const uint32_t wanted[] = {0, 1, 1, 2};
    assert_int_equal(read.blocks, 4);
    assert_memory_equal(read.keys, wanted, sizeof wanted);
    assert_memory_equal(stored.keys, wanted, sizeof wanted);
    assert_int_equal(stored.plain, 1);
    uint8_t value[8];
    uint32_t bytes;
    kit_ok(stoa_side_get(journal, STOA_SPACE_META, "a", 1, value, sizeof value, &bytes));
    assert_memory_equal(value, "old", 3);
    kit_ok(stoa_side_get(journal, STOA_SPACE_META, "b", 1, value, sizeof value, &bytes));
    assert_memory_equal(value, "new", 3);
    ops->close(journal);
}

static void another_key_of_the_same_id_is_named(void **state)
{
    (void)state;
    stoa_journal *journal = sealing("j");
    append_text(journal);
    ops->close(journal);
    char other[KIT_PATH_MAX + 8];
    (void)snprintf(other, sizeof other, "%s/other", key_folder);
    uint32_t id;
    stoa_keyring *others = NULL;
    kit_ok(stoa_key_file_add(other, &id));
    kit_ok(stoa_keyring_open(other, &others));
    journal = opened("j");
    ops->seal(journal, others);
    looking read = {0};
    kit_err(ops->read(journal, 1, look_at_text, &read), STOA_E_SEALED);
    assert_non_null(strstr(stoa_err_trail(), "key 1"));
    ops->close(journal);
    stoa_keyring_close(others);
}

static stoa_err copy_block(void *context, const void *bytes, size_t size_bytes)
{
    return ops->append_stored(context, bytes, size_bytes, false);
}

static void a_copy_stays_sealed_and_proves_the_same_chain(void **state)
{
    (void)state;
    stoa_journal *journal = sealing("j"), *copy = opened("copy");
    kit_grow(journal, 6, 4, 200);
    kit_ok(ops->read_stored(journal, 1, copy_block, copy));
    stoa_journal_state a, b;
    ops->state(journal, &a);
    ops->state(copy, &b);
    assert_memory_equal(a.hash.at, b.hash.at, sizeof a.hash.at);
    kit_reader reader = {0};
    kit_err(ops->read(copy, 1, kit_visit, &reader), STOA_E_SEALED);
    ops->seal(copy, keys);
    kit_check_all(copy, 24);
    ops->close(journal);
    ops->close(copy);
}

/* Side values as they are stored: into the store of another journal, whoever has the key there. */
static stoa_err put_as_stored(void *context, const stoa_side_entry *entry)
{
    stoa_journal *to = context;
    stoa_side_entry plain;
    assert_true(entry->value_bytes == 1 + sizeof text + (entry->key_bytes == 5 ? STOA_SEAL_BYTES : 0));
    assert_true(stoa_side_plain(entry, &plain) == (entry->key_bytes != 5));
    return to->ops->put_stored(to, STOA_SPACE_SNAPSHOT, entry, 1, true);
}

static void side_values_are_copied_without_their_key(void **state)
{
    (void)state;
    stoa_journal *from = opened("from"), *to = opened("to");
    const stoa_side_entry open = {"open", text, 4, sizeof text}, shut = {"shut.", text, 5, sizeof text};
    uint8_t value[sizeof text + 8], bad[8] = {7};
    uint32_t bytes;
    kit_ok(ops->put(from, STOA_SPACE_SNAPSHOT, &open, 1, true));
    ops->seal(from, keys);
    kit_ok(ops->put(from, STOA_SPACE_SNAPSHOT, &shut, 1, true));
    kit_ok(ops->scan_stored(from, STOA_SPACE_SNAPSHOT, NULL, 0, put_as_stored, to));
    kit_ok(stoa_side_get(to, STOA_SPACE_SNAPSHOT, "open", 4, value, sizeof value, &bytes));
    kit_err(stoa_side_get(to, STOA_SPACE_SNAPSHOT, "shut.", 5, value, sizeof value, &bytes), STOA_E_SEALED);
    ops->close(to);
    to = sealing("to");
    kit_ok(stoa_side_get(to, STOA_SPACE_SNAPSHOT, "shut.", 5, value, sizeof value, &bytes));
    assert_int_equal(bytes, sizeof text);
    assert_memory_equal(value, text, sizeof text);
    const stoa_side_entry refused[] = {{"x", bad, 1, 8}, {"x", "", 1, 0}, {"x", NULL, 1, 0}, {"x", "\1short", 1, 6}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        kit_err(ops->put_stored(to, STOA_SPACE_SNAPSHOT, &refused[i], 1, true), STOA_E_CORRUPT);
    }
    kit_err(stoa_side_get(to, STOA_SPACE_SNAPSHOT, "x", 1, value, sizeof value, &bytes), STOA_E_NOT_FOUND);
    ops->close(from);
    ops->close(to);
}

/* --- of RocksDB: the files themselves */

static void no_file_has_the_plain_text(void **state)
{
    (void)state;
    stoa_journal *journal = sealing("j");
    for (unsigned i = 0; i < 50; i++) {
        append_text(journal);
        const stoa_side_entry entry = {"fox", text, 3, sizeof text};
        kit_ok(ops->put(journal, STOA_SPACE_SNAPSHOT, &entry, 1, true));
    }
    ops->close(journal);
    char command[KIT_PATH_MAX + 64];
    (void)snprintf(command, sizeof command, "grep -rqa 'lazy dog' %s", folder);
    assert_int_not_equal(system(command), 0);

    journal = opened("plain"); /* the search does find what is there */
    append_text(journal);
    ops->close(journal);
    assert_int_equal(system(command), 0);
}

#define TESTS(setup, teardown)                                                                                         \
    TEST(payloads_are_sealed_and_come_back, setup, teardown), TEST(nothing_stored_is_plain, setup, teardown),          \
        TEST(without_its_key_the_chain_is_proven_and_reading_says_which_key, setup, teardown),                         \
        TEST(keys_change_without_a_rewrite, setup, teardown),                                                          \
        TEST(another_key_of_the_same_id_is_named, setup, teardown),                                                    \
        TEST(a_copy_stays_sealed_and_proves_the_same_chain, setup, teardown),                                          \
        TEST(side_values_are_copied_without_their_key, setup, teardown)

int main(void)
{
    const struct CMUnitTest sim[] = {TESTS(sealed_sim_setup, sealed_sim_teardown)};
    const struct CMUnitTest rocksdb[] = {TESTS(sealed_rocksdb_setup, sealed_rocksdb_teardown),
                                         TEST(no_file_has_the_plain_text, sealed_rocksdb_setup, sealed_rocksdb_teardown)};
    int failed = cmocka_run_group_tests_name("sim", sim, NULL, NULL);
    return failed + cmocka_run_group_tests_name("rocksdb", rocksdb, NULL, NULL);
}
