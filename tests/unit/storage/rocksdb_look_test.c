/* rocksdb_look_test.c - goal: a journal that is only looked at reads as it would if it were opened, takes nothing, and stays as it is, whatever
 * it is like. Method: journals are left in many ways, whole, cut short, half made and spoilt; each is looked at, all that it has to say is
 * compared with what an open then says, and its folder, to the times of its files, with what it was. Whatever writes is called on one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/look.h"
#include "tests/unit/storage/rocksdb_kit.h"

enum { BLOCKS = 20, EVENTS = 3, PURGED = 10 };

static const stoa_side_entry entry = {.key = "k", .key_bytes = 1, .value = "value", .value_bytes = 5};

static stoa_err count_block(void *context, const stoa_block *block)
{
    *(uint64_t *)context += block->count;
    return STOA_OK;
}

static stoa_err count_entry(void *context, const stoa_side_entry *found)
{
    assert_memory_equal(found->value, entry.value, entry.value_bytes);
    ++*(uint64_t *)context;
    return STOA_OK;
}

static stoa_journal_state state_of(stoa_journal *journal)
{
    stoa_journal_state state;
    ops->state(journal, &state);
    return state;
}

static void leave_journal(void)
{
    stoa_journal *journal = opened();
    for (uint64_t i = 0; i < BLOCKS; i++) { kit_ok(kit_append(journal, 1 + i * EVENTS, EVENTS, 100, i % 3 == 0)); }
    kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));
    kit_ok(ops->sync(journal));
    kit_ok(ops->purge(journal, PURGED));
    ops->close(journal);
}

static void reads_as_if_it_were_opened_and_takes_nothing(void **unused)
{
    (void)unused;
    stoa_journal *looked, *other;
    uint64_t events = 0, values = 0;
    leave_journal();
    kit_ok(stoa_journal_rocksdb_look(path, &looked));
    stoa_journal_state before = state_of(looked);
    assert_int_equal(before.last, BLOCKS * EVENTS);
    assert_int_equal(before.proven, BLOCKS * EVENTS);
    assert_in_range(before.first, 2, PURGED);
    kit_ok(ops->read(looked, before.first, count_block, &events));
    assert_int_equal(events, before.last + 1 - before.first);
    kit_ok(ops->scan(looked, STOA_SPACE_META, NULL, 0, count_entry, &values));
    assert_int_equal(values, 1);

    assert_int_equal(kit_append(looked, before.last + 1, 1, 100, true), STOA_E_DENIED);
    assert_int_equal(ops->purge(looked, before.last), STOA_E_DENIED);
    assert_int_equal(ops->put(looked, STOA_SPACE_META, &entry, 1, true), STOA_E_FULL);
    assert_int_equal(ops->erase(looked, STOA_SPACE_META, "a", 1, "z", 1), STOA_E_FULL);
    stoa_reindexed made;
    assert_int_equal(ops->reindex(looked, &made), STOA_E_FULL);
    assert_int_equal(ops->open(path, &other), STOA_E_DENIED); /* it is locked meanwhile */
    ops->close(looked);

    other = opened();
    stoa_journal_state after = state_of(other);
    assert_memory_equal(&after.hash, &before.hash, sizeof after.hash);
    assert_true(after.last == before.last && after.first == before.first && after.epoch == before.epoch);
    values = 0;
    kit_ok(ops->scan(other, STOA_SPACE_META, NULL, 0, count_entry, &values));
    assert_int_equal(values, 1);
    ops->close(other);
}

static void one_that_is_not_there_is_not_made(void **unused)
{
    (void)unused;
    stoa_journal *looked;
    assert_int_not_equal(stoa_journal_rocksdb_look(path, &looked), STOA_OK);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* --- what a journal has to say */

typedef struct image {
    stoa_err err; /* of open; then nothing else is set */
    stoa_journal_state state;
    uint64_t blocks, ids, values; /* hashes */
} image;

static stoa_err hash_block(void *context, const void *bytes, size_t size_bytes)
{
    uint64_t *hash = context;
    *hash = stoa_hash64(*hash, bytes, size_bytes);
    return STOA_OK;
}

static stoa_err hash_position(void *context, uint64_t position)
{
    return hash_block(context, &position, sizeof position);
}

static stoa_err hash_value(void *context, const stoa_side_entry *found)
{
    (void)hash_block(context, found->key, found->key_bytes);
    return hash_block(context, found->value, found->value_bytes);
}

static image image_by(stoa_err (*open)(const char *path, stoa_journal **out))
{
    stoa_journal *journal = NULL;
    image seen = {.err = open(path, &journal)};
    if (seen.err) { return seen; }
    seen.state = state_of(journal);
    if (seen.state.last >= seen.state.first) { kit_ok(ops->read_stored(journal, seen.state.first, hash_block, &seen.blocks)); }
    for (uint64_t id = 1; id <= STRANGE_ID; id++) {
        (void)hash_position(&seen.ids, id);
        kit_ok(ops->lookup(journal, id, hash_position, &seen.ids));
    }
    for (stoa_space space = STOA_SPACE_SNAPSHOT; space <= STOA_SPACE_META; space++) {
        kit_ok(ops->scan(journal, space, NULL, 0, hash_value, &seen.values));
    }
    stoa_journal_figures figures;
    ops->measure(journal, &figures);
    ops->close(journal);
    return seen;
}

/* --- what its folder is like: a hash over names, sizes, times and bytes */

static uint64_t folder_hash;
static char folder_names[16384];

static int add_file(const char *file, const struct stat *status, int type, struct FTW *ftw)
{
    (void)ftw;
    struct timespec changed = status->st_mtim;
    uint64_t hash = stoa_hash64(0, file, strlen(file)), figures[] = {(uint64_t)status->st_size, (uint64_t)changed.tv_sec, (uint64_t)changed.tv_nsec};
    hash = stoa_hash64(hash, figures, sizeof figures);
    int fd = type == FTW_F ? open(file, O_RDONLY) : -1;
    char bytes[4096];
    for (ssize_t got = 0; fd >= 0 && (got = read(fd, bytes, sizeof bytes)) > 0;) { hash = stoa_hash64(hash, bytes, (size_t)got); }
    if (fd >= 0) { assert_int_equal(close(fd), 0); }
    folder_hash += hash; /* they come in no order */
    size_t used = strlen(folder_names);
    (void)snprintf(folder_names + used, sizeof folder_names - used, "%s %" PRIu64 "\n", file + strlen(folder), hash);
    return 0;
}

static uint64_t hash_folder(void)
{
    folder_hash = 0;
    folder_names[0] = '\0';
    assert_int_equal(nftw(folder, add_file, 16, FTW_PHYS), 0);
    return folder_hash;
}

/* --- ways to leave one */

static void leave_by(const char *role)
{
    assert_true(WIFSIGNALED(child_end(child_start(role, NULL))));
}

static void leave_tail(void)
{
    leave_by("leave_tail");
}

static void leave_noted(void)
{
    leave_by("leave_noted");
}

static void leave_empty(void)
{
    ops->close(opened());
}

static void leave_folder(void)
{
    assert_int_equal(mkdir(path, 0700), 0);
}

static void leave_mark(void)
{
    leave_empty();
    kit_remove(name_in(path, "db").at);
}

static void leave_begun(void)
{
    stoa_journal *journal = opened();
    kit_ok(ops->begin(journal, &(stoa_journal_state){.last = 30, .epoch = 1, .hash.at = {7}}));
    kit_grow(journal, 5, 2, 100);
    ops->close(journal);
}

/* As the first open does it, and no further. */
static void make_database(const char *in, const char *const *families, unsigned count)
{
    assert_true(mkdir(in, 0700) == 0 || errno == EEXIST);
    rocksdb_options_t *options = stoa_engine_options((stoa_engine_mode){.create = true});
    char *text = NULL;
    rocksdb_t *db = rocksdb_open(options, in, &text);
    kit_ok(stoa_engine_error(text, in));
    for (unsigned i = 0; i < count; i++) {
        rocksdb_column_family_handle_destroy(rocksdb_create_column_family(db, options, families[i], &text));
        kit_ok(stoa_engine_error(text, in));
    }
    rocksdb_close(db);
    rocksdb_options_destroy(options);
}

static const char *const families[] = {"log", "meta", "index"};

static void leave_unfinished(void)
{
    leave_mark();
    make_database(name_in(path, "db").at, families, 1);
}

static void leave_without_format(void)
{
    leave_mark();
    make_database(name_in(path, "db").at, families, 3);
}

static void erase(enum stoa_family family, const char *from, size_t from_bytes, const char *to, size_t to_bytes)
{
    stoa_engine engine = tamper();
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    char *text = NULL;
    rocksdb_writebatch_delete_range_cf(batch, engine.families[family], from, from_bytes, to, to_bytes);
    rocksdb_write(engine.db, options, batch, &text);
    kit_ok(stoa_engine_error(text, "erase"));
    rocksdb_writeoptions_destroy(options);
    rocksdb_writebatch_destroy(batch);
    stoa_engine_close(&engine);
}

static void leave_without_index(void)
{
    leave_journal();
    ops->close(opened()); /* notes how far there is an index */
    erase(STOA_FAMILY_INDEX, "", 0, "\xff", 1);
}

static void leave_blocks_without_format(void)
{
    leave_journal();
    erase(STOA_FAMILY_META, "format", 6, "formau", 6);
}

static void leave_with_broken_index(void)
{
    leave_without_index();
    stoa_engine engine = tamper();
    put(&engine, STOA_FAMILY_META, "index", 5, "broken", 6);
    stoa_engine_close(&engine);
}

static void leave_strange_block(void)
{
    leave_journal();
    stoa_engine engine = tamper();
    put_block(&engine, BLOCKS * EVENTS + 2, BLOCKS * EVENTS + 1, &(stoa_hash256){.at = {1}});
    stoa_engine_close(&engine);
}

static void remove_file(const char *what)
{
    assert_int_equal(unlink(name_in(path, what).at), 0);
}

static void spoil(const char *what, off_t at)
{
    int fd = open(name_in(path, what).at, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "spoilt", 6, at) == 6 && close(fd) == 0);
}

static void leave_without_mark(void)
{
    leave_tail();
    remove_file("commit.mark");
}

static void leave_empty_mark(void)
{
    leave_journal();
    assert_int_equal(truncate(name_in(path, "commit.mark").at, 0), 0);
}

static void leave_spoilt_mark(void)
{
    leave_journal();
    spoil("commit.mark", 0);
    spoil("commit.mark", 4096);
}

static void leave_damaged_mark(void)
{
    leave_journal();
    spoil("commit.mark", 4096);
}

static void leave_spoilt_mark_alone(void)
{
    leave_spoilt_mark();
    kit_remove(name_in(path, "db").at);
}

static void leave_damaged_mark_and_strange_block(void)
{
    leave_strange_block();
    spoil("commit.mark", 4096);
}

static void leave_without_current(void)
{
    leave_journal();
    remove_file("db/CURRENT");
}

/* A new journal beside the tables of this one would be a loss without a word. */
static void leave_tables_alone(void)
{
    leave_without_current();
    remove_file("commit.mark");
}

static name log_of(const char *in)
{
    DIR *dir = opendir(in);
    name found = {{0}};
    for (struct dirent *each = readdir(dir); each; each = readdir(dir)) {
        if (strstr(each->d_name, ".log")) { found = name_in(in, each->d_name); }
    }
    assert_int_equal(closedir(dir), 0);
    return found;
}

/* Above the mark: RocksDB's log is cut short, or has rot in it. */
static void leave_torn_tail(void)
{
    leave_tail();
    name log = log_of(name_in(path, "db").at);
    struct stat status;
    assert_int_equal(stat(log.at, &status), 0);
    assert_int_equal(truncate(log.at, status.st_size - 1000), 0);
}

static void leave_rotten_tail(void)
{
    leave_tail();
    name log = log_of(name_in(path, "db").at);
    struct stat status;
    assert_int_equal(stat(log.at, &status), 0);
    spoil(log.at + strlen(path) + 1, status.st_size - 2000);
}

static void leave_without_side(void)
{
    leave_journal();
    kit_remove(name_in(path, "side").at);
}

static void leave_spoilt_side(void)
{
    leave_journal();
    spoil("side/CURRENT", 0);
}

static void leave_unfinished_side(void)
{
    leave_without_side();
    make_database(name_in(path, "side").at, families, 0);
}

static const struct {
    const char *name;
    void (*leave)(void);
    stoa_err err;
    bool written; /* what an open finds out when RocksDB has written already */
} ways[] = {
    {"closed", leave_journal, STOA_OK, false},
    {"killed", leave_tail, STOA_OK, false},
    {"killed, with a side store", leave_noted, STOA_OK, false},
    {"begun behind others", leave_begun, STOA_OK, false},
    {"the index is lost", leave_without_index, STOA_OK, false},
    {"the index is broken", leave_with_broken_index, STOA_OK, false},
    {"the tail is torn", leave_torn_tail, STOA_OK, false},
    {"the tail is rotten", leave_rotten_tail, STOA_OK, false},
    {"a block does not continue the log", leave_strange_block, STOA_OK, false},
    {"never written", leave_empty, STOA_OK, false},
    {"a folder", leave_folder, STOA_OK, false},
    {"a mark", leave_mark, STOA_OK, false},
    {"a database that is half made", leave_unfinished, STOA_OK, false},
    {"a database without a word", leave_without_format, STOA_OK, false},
    {"one slot of the mark is spoilt", leave_damaged_mark, STOA_OK, false},
    {"no side store", leave_without_side, STOA_OK, false},
    {"a side store that is spoilt", leave_spoilt_side, STOA_OK, false},
    {"a side store that is half made", leave_unfinished_side, STOA_OK, false},
    {"no mark", leave_without_mark, STOA_E_CORRUPT, false},
    {"an empty mark", leave_empty_mark, STOA_E_CORRUPT, false},
    {"both slots of the mark are spoilt", leave_spoilt_mark, STOA_E_CORRUPT, false},
    {"both slots of the mark are spoilt, and there is nothing else", leave_spoilt_mark_alone, STOA_E_CORRUPT, false},
    {"one slot is spoilt, and there is a strange block", leave_damaged_mark_and_strange_block, STOA_E_CORRUPT, true},
    {"blocks without a format", leave_blocks_without_format, STOA_E_CORRUPT, true},
    {"no CURRENT", leave_without_current, STOA_E_CORRUPT, false},
    {"no CURRENT, no mark", leave_tables_alone, STOA_E_CORRUPT, false},
};

/* And the open that refuses one leaves it, too, unless it learns why from RocksDB alone. */
static void stays_as_it_is_and_reads_as_an_open_would(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        static char names[sizeof folder_names];
        ways[i].leave();
        uint64_t before = hash_folder();
        memcpy(names, folder_names, sizeof names);
        image looked = image_by(stoa_journal_rocksdb_look);
        char trail[512];
        (void)snprintf(trail, sizeof trail, "%s", looked.err ? stoa_err_trail() : "");
        if (hash_folder() != before) { fail_msg("%s: it was\n%s\nand is\n%s", ways[i].name, names, folder_names); }
        image open = image_by(ops->open);
        if (looked.err != ways[i].err || open.err != ways[i].err) {
            fail_msg("%s: looked %s (%s), opened %s (%s)", ways[i].name, stoa_err_name(looked.err), trail, stoa_err_name(open.err), open.err ? stoa_err_trail() : "");
        }
        if (open.err && !ways[i].written && hash_folder() != before) { fail_msg("%s, refused: it was\n%s\nand is\n%s", ways[i].name, names, folder_names); }
        bool same = memcmp(&looked.state, &open.state, sizeof open.state) == 0 && looked.blocks == open.blocks && looked.ids == open.ids && looked.values == open.values;
        if (!same) { fail_msg("%s: to %" PRIu64 " looked at, to %" PRIu64 " opened", ways[i].name, looked.state.last, open.state.last); }
        kit_remove(path);
    }
}

int main(int argc, char **argv)
{
    stoa_log_level_set(STOA_LOG_OFF);
    if (argc == 3) { return child_main(argv[1], argv[2]); }
    const struct CMUnitTest tests[] = {
        TEST(reads_as_if_it_were_opened_and_takes_nothing),
        TEST(one_that_is_not_there_is_not_made),
        TEST(stays_as_it_is_and_reads_as_an_open_would),
    };
    return cmocka_run_group_tests_name("rocksdb_look", tests, NULL, NULL);
}
