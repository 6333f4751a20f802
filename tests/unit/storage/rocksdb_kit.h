/* rocksdb_kit.h - what the tests of the journal on RocksDB share: a folder each, a disk with faults, children that die, what our log said,
 * and blocks put into the database behind the journal's back.
 *
 * A child is this program again, with arguments, because RocksDB's threads do not survive a fork.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_STORAGE_ROCKSDB_KIT_H
#define STOA_TESTS_UNIT_STORAGE_ROCKSDB_KIT_H

#include "tests/unit/storage/faulty_disk.h"
#include "tests/unit/storage/kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "storage/block.h"
#include "storage/rocksdb/accept.h"
#include "storage/rocksdb/engine.h"
#include "storage/rocksdb/journal.h"
#include "storage/rocksdb/key.h"

extern char **environ;

static const stoa_journal_ops *const ops = &stoa_journal_rocksdb;
static char folder[KIT_PATH_MAX], path[KIT_PATH_MAX + 8];

typedef struct name {
    char at[KIT_PATH_MAX + 320];
} name;

/* "in/what" */
static inline name name_in(const char *in, const char *what)
{
    name made;
    int bytes = snprintf(made.at, sizeof made.at, "%s/%s", in, what);
    assert_in_range(bytes, 3, sizeof made.at - 1);
    return made;
}

static inline int setup(void **state)
{
    (void)state;
    kit_folder(folder);
    (void)snprintf(path, sizeof path, "%s/j", folder);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    kit_remove(folder);
    return 0;
}

static inline stoa_journal *opened(void)
{
    stoa_journal *journal = NULL;
    kit_ok(ops->open(path, &journal));
    return journal;
}

/* --- children */

/* Append synced blocks for ever and say after each, on standard output, up to where. */
static inline int child_append(void)
{
    stoa_journal *journal;
    if (ops->open(path, &journal)) { return 1; }
    for (;;) {
        uint64_t last = kit_last(journal), count = 1 + last % 5;
        if (kit_append(journal, last + 1, (uint32_t)count, 100, true)) { return 2; }
        last += count;
        if (syscall(SYS_write, STDOUT_FILENO, &last, sizeof last) != (long)sizeof last) { return 3; }
    }
}

/* Append some blocks synced, some not, and die. */
static inline int child_leave_tail(void)
{
    stoa_journal *journal;
    if (ops->open(path, &journal)) { return 1; }
    for (unsigned i = 0; i < 40; i++) {
        if (kit_append(journal, kit_last(journal) + 1, 3, 900, i == 9)) { return 2; }
    }
    return raise(SIGKILL);
}

/* Append synced blocks, the last ones while the mark's older slot is far behind, and die. */
static inline int child_leave_synced(void)
{
    stoa_journal *journal;
    if (ops->open(path, &journal)) { return 1; }
    for (unsigned i = 0; i < 40; i++) {
        if (kit_append(journal, kit_last(journal) + 1, 3, 900, true)) { return 2; }
    }
    return raise(SIGKILL);
}

static inline stoa_err put_note(stoa_journal *journal, bool sync)
{
    stoa_side_entry entry = {.key = "note", .key_bytes = 4, .value = "x", .value_bytes = 1};
    return ops->put(journal, STOA_SPACE_META, &entry, 1, sync);
}

enum { NOTED = 60, NOTED_OF = 120 };

/* As a shard with durability memory does: nothing is synced but what a snapshot stands on. */
static inline int child_leave_noted(void)
{
    stoa_journal *journal;
    if (ops->open(path, &journal)) { return 1; }
    while (kit_last(journal) < NOTED_OF) {
        if (kit_append(journal, kit_last(journal) + 1, 3, 900, false)) { return 2; }
        if (kit_last(journal) == NOTED && put_note(journal, true)) { return 3; }
    }
    return raise(SIGKILL);
}

static inline int child_open(void)
{
    stoa_journal *journal;
    return -(int)ops->open(path, &journal);
}

static const struct {
    const char *role;
    int (*run)(void);
} children[] = {{"append", child_append}, {"leave_tail", child_leave_tail},
                {"leave_synced", child_leave_synced}, {"leave_noted", child_leave_noted}, {"open", child_open}};

static inline int child_main(const char *role, const char *in_folder)
{
    (void)snprintf(folder, sizeof folder, "%s", in_folder);
    (void)snprintf(path, sizeof path, "%s/j", folder);
    for (size_t i = 0; i < sizeof children / sizeof children[0]; i++) {
        if (strcmp(children[i].role, role) == 0) { return children[i].run(); }
    }
    return 99;
}

/* *out_fd: the read end of its standard output; out_fd may be NULL. */
static inline pid_t child_start(const char *role, int *out_fd)
{
    char self[] = "/proc/self/exe", copy[16];
    (void)snprintf(copy, sizeof copy, "%s", role);
    char *args[] = {self, copy, folder, NULL};
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO), 0);
    pid_t pid = 0;
    assert_int_equal(posix_spawn(&pid, self, &actions, NULL, args, environ), 0);
    assert_int_equal(posix_spawn_file_actions_destroy(&actions), 0);
    assert_int_equal(close(pipe_fds[1]), 0);
    if (out_fd) {
        *out_fd = pipe_fds[0];
    } else {
        assert_int_equal(close(pipe_fds[0]), 0);
    }
    return pid;
}

static inline int child_end(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* --- what our log said meanwhile */

static int saved_stderr, caught;

static inline void catch_log(void)
{
    saved_stderr = dup(STDERR_FILENO);
    caught = memfd_create("log", MFD_CLOEXEC);
    assert_true(saved_stderr >= 0 && caught >= 0);
    assert_true(dup2(caught, STDERR_FILENO) >= 0);
    stoa_log_level_set(STOA_LOG_WARN);
}

static inline bool caught_log(const char *text)
{
    static char log[65536];
    ssize_t bytes = pread(caught, log, sizeof log - 1, 0);
    assert_true(bytes >= 0);
    log[bytes] = '\0';
    return strstr(log, text);
}

static inline void release_log(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    assert_int_equal(close(saved_stderr), 0);
    assert_int_equal(close(caught), 0);
}

/* --- behind the journal's back */

static inline stoa_engine tamper(void)
{
    stoa_engine engine = {0};
    kit_ok(stoa_engine_open(&engine, name_in(path, "db").at, (stoa_engine_mode){0}));
    return engine;
}

static inline void put(stoa_engine *engine, enum stoa_family family, const void *key, size_t key_bytes, const void *value,
                size_t bytes)
{
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    char *text = NULL;
    rocksdb_put_cf(engine->db, options, engine->families[family], key, key_bytes, value, bytes, &text);
    kit_ok(stoa_engine_error(text, "put"));
    rocksdb_writeoptions_destroy(options);
}

enum { STRANGE_ID = 999 };

/* A block that is sound in itself, also indexed under an id that no good block has. */
static inline void put_block(stoa_engine *engine, uint64_t key_position, uint64_t first, const stoa_hash256 *previous)
{
    kit_block made = kit_make(first, 2, 30, 1);
    uint8_t bytes[STOA_BLOCK_HEADER_BYTES + 30 + 2 * STOA_BLOCK_ENTRY_BYTES];
    stoa_hash256 hash;
    stoa_block_encode(&made.block, previous, bytes, &hash);
    char key[STOA_INDEX_KEY_BYTES];
    stoa_key_put(key, key_position);
    put(engine, STOA_FAMILY_LOG, key, STOA_KEY_BYTES, bytes, sizeof bytes);
    for (unsigned i = 0; i < 4; i++) {
        stoa_key_put(key, i < 2 ? made.index[i].id : STRANGE_ID);
        stoa_key_put(key + STOA_KEY_BYTES, made.index[i % 2].position);
        put(engine, STOA_FAMILY_INDEX, key, sizeof key, "", 0);
    }
    kit_drop(&made);
}

static inline stoa_err never(void *context, uint64_t position)
{
    (void)context;
    fail_msg("position %" PRIu64 " is in the index still", position);
    return STOA_OK;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
