/* rocksdb_test.c - goal: nothing acknowledged is lost, and nothing is lost in silence, whatever happens to the
 * process, the disk or the files. Method: children that are killed while they append; every file of a journal rotted
 * at seeded places; a disk that is full or broken from the n-th write on (this program's own write and fdatasync,
 * which RocksDB's shared library finds before the C library's); blocks put into the database behind the journal's
 * back.
 *
 * A child is this program again, with arguments, because RocksDB's threads do not survive a fork.
 *
 * SPDX-License-Identifier: Apache-2.0 */
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
static name name_in(const char *in, const char *what)
{
    name made;
    int bytes = snprintf(made.at, sizeof made.at, "%s/%s", in, what);
    assert_in_range(bytes, 3, sizeof made.at - 1);
    return made;
}

static int setup(void **state)
{
    (void)state;
    kit_folder(folder);
    (void)snprintf(path, sizeof path, "%s/j", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_remove(folder);
    return 0;
}

static stoa_journal *opened(void)
{
    stoa_journal *journal = NULL;
    kit_ok(ops->open(path, &journal));
    return journal;
}

/* --- a disk with faults: what happens to files whose path contains the text */

static struct {
    _Atomic(const char *) full, broken; /* writes: ENOSPC; syncs: EIO */
    atomic_long writes_left;            /* before the disk is full */
} disk;

static bool concerns(int fd, const char *text)
{
    char link[64], file[KIT_PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = text ? readlink(link, file, sizeof file - 1) : -1;
    if (bytes < 0) { return false; }
    file[bytes] = '\0';
    return strstr(file, "/stoa-journal-") && strstr(file, text);
}

__attribute__((visibility("default"))) ssize_t write(int fd, const void *bytes, size_t size)
{
    if (concerns(fd, atomic_load(&disk.full)) && atomic_fetch_sub(&disk.writes_left, 1) <= 0) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, size);
}

static atomic_uint logs_synced;

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    if (concerns(fd, "/db/") && concerns(fd, ".log")) { atomic_fetch_add(&logs_synced, 1); }
    if (concerns(fd, atomic_load(&disk.broken))) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* The folder of the journal, synced while its database was there. */
static atomic_bool looking, named;

__attribute__((visibility("default"))) int fsync(int fd)
{
    char link[64], file[KIT_PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, file, sizeof file - 1);
    file[bytes > 0 ? bytes : 0] = '\0';
    if (atomic_load(&looking) && strcmp(file, path) == 0 && access(name_in(path, "db/CURRENT").at, F_OK) == 0) { atomic_store(&named, true); }
    return (int)syscall(SYS_fsync, fd);
}

static void disk_full(const char *text, long writes_left)
{
    atomic_store(&disk.writes_left, writes_left);
    atomic_store(&disk.full, text);
}

static void disk_good(void)
{
    atomic_store(&disk.full, NULL);
    atomic_store(&disk.broken, NULL);
}

/* --- children */

/* Append synced blocks for ever and say after each, on standard output, up to where. */
static int child_append(void)
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
static int child_leave_tail(void)
{
    stoa_journal *journal;
    if (ops->open(path, &journal)) { return 1; }
    for (unsigned i = 0; i < 40; i++) {
        if (kit_append(journal, kit_last(journal) + 1, 3, 900, i == 9)) { return 2; }
    }
    return raise(SIGKILL);
}

/* Append synced blocks, the last ones while the mark's older slot is far behind, and die. */
static int child_leave_synced(void)
{
    stoa_journal *journal;
    if (ops->open(path, &journal)) { return 1; }
    for (unsigned i = 0; i < 40; i++) {
        if (kit_append(journal, kit_last(journal) + 1, 3, 900, true)) { return 2; }
    }
    return raise(SIGKILL);
}

static stoa_err put_note(stoa_journal *journal, bool sync)
{
    stoa_side_entry entry = {.key = "note", .key_bytes = 4, .value = "x", .value_bytes = 1};
    return ops->put(journal, STOA_SPACE_META, &entry, 1, sync);
}

enum { NOTED = 60, NOTED_OF = 120 };

/* As a shard with durability memory does: nothing is synced but what a snapshot stands on. */
static int child_leave_noted(void)
{
    stoa_journal *journal;
    if (ops->open(path, &journal)) { return 1; }
    while (kit_last(journal) < NOTED_OF) {
        if (kit_append(journal, kit_last(journal) + 1, 3, 900, false)) { return 2; }
        if (kit_last(journal) == NOTED && put_note(journal, true)) { return 3; }
    }
    return raise(SIGKILL);
}

static int child_open(void)
{
    stoa_journal *journal;
    return -(int)ops->open(path, &journal);
}

static const struct {
    const char *role;
    int (*run)(void);
} children[] = {{"append", child_append}, {"leave_tail", child_leave_tail},
                {"leave_synced", child_leave_synced}, {"leave_noted", child_leave_noted}, {"open", child_open}};

static int child_main(const char *role, const char *in_folder)
{
    (void)snprintf(folder, sizeof folder, "%s", in_folder);
    (void)snprintf(path, sizeof path, "%s/j", folder);
    for (size_t i = 0; i < sizeof children / sizeof children[0]; i++) {
        if (strcmp(children[i].role, role) == 0) { return children[i].run(); }
    }
    return 99;
}

/* *out_fd: the read end of its standard output; out_fd may be NULL. */
static pid_t child_start(const char *role, int *out_fd)
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

static int child_end(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* --- what our log said meanwhile */

static int saved_stderr, caught;

static void catch_log(void)
{
    saved_stderr = dup(STDERR_FILENO);
    caught = memfd_create("log", MFD_CLOEXEC);
    assert_true(saved_stderr >= 0 && caught >= 0);
    assert_true(dup2(caught, STDERR_FILENO) >= 0);
    stoa_log_level_set(STOA_LOG_WARN);
}

static bool caught_log(const char *text)
{
    static char log[65536];
    ssize_t bytes = pread(caught, log, sizeof log - 1, 0);
    assert_true(bytes >= 0);
    log[bytes] = '\0';
    return strstr(log, text);
}

static void release_log(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    assert_int_equal(close(saved_stderr), 0);
    assert_int_equal(close(caught), 0);
}

/* --- life and death */

static void what_was_acknowledged_survives_sigkill(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(20240808));
    unsigned rounds = getenv("STOA_DEEP") ? 100 : 12;
    uint64_t acknowledged = 0;
    for (unsigned round = 0; round < rounds; round++) {
        int out_fd;
        pid_t pid = child_start("append", &out_fd);
        uint64_t wanted = 1 + stoa_random_below(&random, 60), position;
        for (uint64_t i = 0; i < wanted; i++) {
            assert_int_equal(read(out_fd, &position, sizeof position), sizeof position);
            acknowledged = position;
        }
        if (stoa_random_chance(&random, 500)) { (void)usleep((useconds_t)stoa_random_below(&random, 3000)); }
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(WIFSIGNALED(child_end(pid)));
        while (read(out_fd, &position, sizeof position) == (ssize_t)sizeof position) {
            acknowledged = position;
        }
        assert_int_equal(close(out_fd), 0);

        stoa_journal *journal = opened();
        assert_true(kit_last(journal) >= acknowledged);
        assert_true(kit_proven(journal) >= acknowledged); /* the mark follows each synced append */
        acknowledged = kit_last(journal);
        kit_check_all(journal, acknowledged);
        kit_check_index(journal, acknowledged);
        ops->close(journal);
    }
    print_message("%u rounds, %" PRIu64 " events\n", rounds, acknowledged);
}

static void unsynced_blocks_survive_the_process_and_are_unproven(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    stoa_journal *journal = opened();
    assert_int_equal(kit_proven(journal), 30);
    kit_check_all(journal, 120);
    assert_int_equal(kit_proven(journal), 30);
    ops->close(journal);
    journal = opened();
    assert_int_equal(kit_proven(journal), 120);
    ops->close(journal);
}

static void another_process_is_denied(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    int status = child_end(child_start("open", NULL));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), -STOA_E_DENIED);
    ops->close(journal);
}

static unsigned count_files(const char *in, const char *ending)
{
    DIR *dir = opendir(name_in(path, in).at);
    assert_non_null(dir);
    unsigned count = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t length = strlen(entry->d_name), tail = strlen(ending);
        count += length >= tail && strcmp(entry->d_name + length - tail, ending) == 0;
    }
    assert_int_equal(closedir(dir), 0);
    return count;
}

static void many_restarts_leave_few_files_and_open_fast(void **state)
{
    (void)state;
    enum { RESTARTS = 150 };
    uint64_t worst_ns = 0, sum_ns = 0;
    for (unsigned i = 0; i < RESTARTS; i++) {
        uint64_t begin = stoa_clock_real.now_ns(&stoa_clock_real);
        stoa_journal *journal = opened();
        uint64_t took = stoa_clock_real.now_ns(&stoa_clock_real) - begin;
        sum_ns += took;
        if (took > worst_ns) { worst_ns = took; }
        assert_int_equal(kit_last(journal), i * 3);
        kit_grow(journal, 1, 3, 100);
        ops->close(journal);
    }
    print_message("open: mean %.1f ms, worst %.1f ms\n", (double)sum_ns / RESTARTS / 1e6, (double)worst_ns / 1e6);
    unsigned files = count_files("db", ".sst");
    print_message("%u table files after %u restarts\n", files, RESTARTS);
    assert_in_range(files, 1, 100);
    assert_int_equal(count_files("db", "LOG"), 0); /* see storage/rocksdb/logger.h */
    stoa_journal *journal = opened();
    kit_check_all(journal, RESTARTS * 3);
    kit_check_index(journal, RESTARTS * 3);
    ops->close(journal);
}

/* More than one write buffer, so that table files are written and the log is switched meanwhile. */
static void a_log_larger_than_memory_is_kept(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 40, 4, 2 << 20);
    kit_ok(kit_append(journal, 161, 4, 100, true));
    assert_int_equal(kit_proven(journal), 164);
    kit_check_all(journal, 164);
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, 164);
    ops->close(journal);
}

/* --- readers beside the writer */

typedef struct watcher {
    stoa_journal *journal;
    atomic_bool stop;
    atomic_uint faults, reads;
    uint64_t next;
} watcher;

static stoa_err watch_block(void *context, const stoa_block *block)
{
    watcher *w = context;
    if (block->first != w->next) { atomic_fetch_add(&w->faults, 1); }
    w->next = block->first + block->count;
    return STOA_OK;
}

static void *watch(void *context)
{
    watcher *w = context;
    while (!atomic_load(&w->stop)) {
        stoa_journal_state s;
        ops->state(w->journal, &s);
        w->next = 1;
        stoa_err err = s.last ? ops->read(w->journal, 1, watch_block, w) : STOA_OK;
        if (err || w->next <= s.last || s.proven > s.last) { atomic_fetch_add(&w->faults, 1); }
        atomic_fetch_add(&w->reads, 1);
    }
    return NULL;
}

static void readers_on_other_threads_see_whole_logs(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    watcher watchers[2] = {{.journal = journal}, {.journal = journal}};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, watch, &watchers[i]), 0);
    }
    for (unsigned i = 0; i < 150 || atomic_load(&watchers[0].reads) < 5 || atomic_load(&watchers[1].reads) < 5; i++) {
        if (i % 50 == 20) { disk_full(".log", 0); } /* the database is swapped under the readers */
        stoa_err err = kit_append(journal, kit_last(journal) + 1, 2, 200, i % 4 == 0);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        if (i % 50 == 25) { disk_good(); }
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&watchers[i].stop, true);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(atomic_load(&watchers[i].faults), 0);
    }
    disk_good();
    kit_ok(ops->sync(journal));
    ops->close(journal);
}

/* --- rot */

static void copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    char bytes[65536];
    for (ssize_t got = read(in, bytes, sizeof bytes); got > 0; got = read(in, bytes, sizeof bytes)) {
        assert_int_equal(syscall(SYS_write, out, bytes, got), got);
    }
    assert_int_equal(close(in) | close(out), 0);
}

/* What a copy of a journal consists of. */
typedef struct files {
    name names[64];
    unsigned count;
} files;

static void copy_files(const char *from, const char *to, files *copies)
{
    assert_int_equal(mkdir(to, 0700), 0);
    DIR *dir = opendir(from);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_type != DT_REG) { continue; }
        assert_true(copies->count < sizeof copies->names / sizeof copies->names[0]);
        name *copy = &copies->names[copies->count++];
        *copy = name_in(to, entry->d_name);
        copy_file(name_in(from, entry->d_name).at, copy->at);
    }
    assert_int_equal(closedir(dir), 0);
}

/* The journal under test is set aside; copies of it take its place. */
static void set_aside(void)
{
    assert_int_equal(rename(path, name_in(folder, "original").at), 0);
}

static void copy_journal(files *copies)
{
    name original = name_in(folder, "original");
    kit_remove(path);
    copies->count = 0;
    copy_files(original.at, path, copies);
    copy_files(name_in(original.at, "db").at, name_in(path, "db").at, copies);
}

static bool flip_bit(const char *file, stoa_random *random)
{
    int fd = open(file, O_RDWR);
    struct stat status;
    assert_true(fd >= 0 && fstat(fd, &status) == 0);
    if (status.st_size > 0) {
        uint64_t bit = stoa_random_below(random, (uint64_t)status.st_size * 8);
        uint8_t byte = 0;
        assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
        byte ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
    }
    assert_int_equal(close(fd), 0);
    return status.st_size > 0;
}

typedef struct outcome {
    unsigned unharmed, refused, cut, found_by_reading;
} outcome;

/* Open the copy. It must be refused, or hold at least all up to mark; less than appended only with a word in the log;
 * and no byte that is read may be wrong. */
static void check_honest(const char *file, uint64_t mark, uint64_t appended, outcome *out)
{
    stoa_journal *journal = NULL;
    catch_log();
    stoa_err err = ops->open(path, &journal);
    bool said = caught_log("journal_tail_cut") || caught_log("journal_tail_lost");
    release_log();
    if (err) {
        if (err != STOA_E_CORRUPT) { fail_msg("%s: %s\n%s", file, stoa_err_name(err), stoa_err_trail()); }
        out->refused++;
        return;
    }
    uint64_t last = kit_last(journal);
    if (last < mark || last > appended || (last < appended && !said)) {
        fail_msg("%s: ends at %" PRIu64 ", mark %" PRIu64 ", appended %" PRIu64, file, last, mark, appended);
    }
    kit_reader reader = {0};
    err = ops->read(journal, 1, kit_visit, &reader);
    assert_true(err == STOA_OK || err == STOA_E_CORRUPT);
    assert_true(err || reader.last == last);
    out->found_by_reading += err != STOA_OK;
    out->cut += !err && last < appended;
    out->unharmed += !err && last == appended;
    ops->close(journal);
}

static outcome rot_everywhere(uint64_t mark, uint64_t appended, unsigned flips, uint64_t seed)
{
    static files copies;
    stoa_random random = kit_random(seed);
    outcome out = {0};
    copy_journal(&copies);
    for (unsigned i = 0; i < copies.count; i++) {
        for (unsigned k = 0; k < flips; k++) {
            copy_journal(&copies);
            if (flip_bit(copies.names[i].at, &random)) { check_honest(copies.names[i].at, mark, appended, &out); }
        }
    }
    print_message("unharmed %u, refused %u, cut above the mark %u, found by reading %u\n", out.unharmed, out.refused,
                  out.cut, out.found_by_reading);
    return out;
}

static void rot_in_a_closed_journal_is_never_silent(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 40, 3, 700);
    ops->close(journal);
    journal = opened(); /* the first part is in table files now */
    kit_grow(journal, 40, 3, 700);
    ops->close(journal);
    set_aside();
    outcome out = rot_everywhere(240, 240, 8, 5);
    assert_int_equal(out.cut, 0); /* all of it is below the mark */
    assert_true(out.refused > 8 && out.found_by_reading > 4);
}

static void rot_in_the_tail_of_a_dead_process_is_never_silent(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    set_aside();
    outcome out = rot_everywhere(30, 120, 16, 6);
    assert_true(out.refused > 1 && out.cut > 4);
}

static const char *log_of(const files *copies)
{
    const char *found = NULL;
    for (unsigned i = 0; i < copies->count; i++) {
        if (strstr(copies->names[i].at, ".log")) { found = copies->names[i].at; }
    }
    assert_non_null(found);
    return found;
}

/* A power cut takes the end of RocksDB's log with it, anywhere. */
static void a_log_cut_short_ends_at_a_whole_block_or_is_refused(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    set_aside();
    static files copies;
    stoa_random random = kit_random(7);
    outcome out = {0};
    for (unsigned i = 0; i < 40; i++) {
        copy_journal(&copies);
        const char *log = log_of(&copies);
        struct stat status;
        assert_int_equal(stat(log, &status), 0);
        assert_int_equal(truncate(log, (off_t)stoa_random_below(&random, (uint64_t)status.st_size)), 0);
        check_honest(log, 30, 120, &out);
    }
    print_message("refused %u, cut above the mark %u\n", out.refused, out.cut);
    assert_true(out.refused > 2 && out.cut > 10 && out.unharmed == 0);
}

/* What a snapshot stands on is as good as acknowledged. */
static void rot_below_a_synced_note_is_never_cut(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_noted", NULL))));
    set_aside();
    outcome out = rot_everywhere(NOTED, NOTED_OF, 6, 8);
    assert_true(out.refused > 1 && out.cut > 0);
    static files copies;
    stoa_random random = kit_random(9);
    for (unsigned i = 0; i < 8; i++) {
        copy_journal(&copies);
        const char *log = log_of(&copies);
        struct stat status;
        assert_int_equal(stat(log, &status), 0);
        assert_int_equal(truncate(log, (off_t)stoa_random_below(&random, (uint64_t)status.st_size)), 0);
        check_honest(log, NOTED, NOTED_OF, &out);
    }
}

typedef struct noter {
    stoa_journal *journal;
    atomic_bool stop;
    atomic_uint faults;
} noter;

static void *note(void *context)
{
    noter *n = context;
    stoa_random random = kit_random(10);
    uint64_t proven = 0;
    while (!atomic_load(&n->stop)) {
        stoa_journal_state before, after;
        ops->state(n->journal, &before);
        stoa_err err = put_note(n->journal, true);
        ops->state(n->journal, &after);
        bool good = (err == STOA_E_FULL || (!err && after.proven >= before.last)) && after.proven >= proven && after.proven <= after.last;
        if (!good) { atomic_fetch_add(&n->faults, 1); }
        proven = after.proven;
        if (stoa_random_chance(&random, 100)) { (void)usleep(200); }
    }
    return NULL;
}

/* The follower's snapshots move the mark beside a writer that never does, on a disk that is full now and then. */
static void a_log_that_nobody_waits_for_is_proven_by_what_stands_on_it(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    noter n = {.journal = journal};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, note, &n), 0);
    for (unsigned i = 0; i < 400; i++) {
        if (i % 40 == 20) { disk_full("/", 0); }
        if (i % 40 == 24) { disk_good(); }
        stoa_err err = kit_append(journal, kit_last(journal) + 1, 2, 500, i % 50 == 7);
        if (err && err != STOA_E_FULL) { atomic_fetch_add(&n.faults, 1); }
    }
    disk_good();
    atomic_store(&n.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&n.faults), 0);
    kit_ok(kit_append(journal, kit_last(journal) + 1, 1, 10, false));
    kit_ok(ops->put(journal, STOA_SPACE_META, NULL, 0, true)); /* no entry: only the log */
    assert_int_equal(kit_proven(journal), kit_last(journal));
    kit_check_all(journal, kit_last(journal));
    atomic_store(&disk.broken, ".log");
    kit_ok(kit_append(journal, kit_last(journal) + 1, 1, 10, false));
    kit_err(put_note(journal, true), STOA_E_IO);
    disk_good();
    kit_err(kit_append(journal, kit_last(journal) + 1, 1, 10, false), STOA_E_IO);
    ops->close(journal);
}

static void a_reindex_that_finds_no_space_leaves_the_index(void **state)
{
    (void)state;
    for (long writes = 0; writes < 4; writes++) {
        stoa_journal *journal = opened();
        stoa_reindexed result;
        kit_grow(journal, 20, 3, 300);
        disk_full(".log", writes);
        stoa_err err = ops->reindex(journal, &result);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        disk_good();
        for (unsigned i = 0; i < 3 && kit_append(journal, kit_last(journal) + 1, 3, 300, true) == STOA_E_FULL; i++) {}
        if (writes == 0) { kit_check_index(journal, kit_last(journal)); } /* not begun: as it was */
        kit_ok(ops->reindex(journal, &result));
        kit_check_index(journal, kit_last(journal));
        kit_check_all(journal, kit_last(journal));
        ops->close(journal);
    }
}

static void flip_byte(const char *file, off_t at)
{
    int fd = open(file, O_RDWR);
    uint8_t byte = 0;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

/* The journal of a dead process, but that the slot of its mark that was written last is rotten; *log_bytes_out: of RocksDB's log. */
static const char *rot_the_mark(files *copies, off_t *log_bytes_out)
{
    copy_journal(copies);
    name mark = name_in(path, "commit.mark");
    int fd = open(mark.at, O_RDONLY);
    uint64_t sequence[2] = {0, 0}; /* storage/rocksdb/mark.h has the layout */
    assert_true(fd >= 0 && pread(fd, &sequence[0], 8, 8) == 8 && pread(fd, &sequence[1], 8, 4096 + 8) == 8);
    assert_int_equal(close(fd), 0);
    flip_byte(mark.at, sequence[1] > sequence[0] ? 4096 + 40 : 40);
    struct stat status;
    const char *log = log_of(copies);
    assert_int_equal(stat(log, &status), 0);
    *log_bytes_out = status.st_size;
    return log;
}

static void refused_twice(void)
{
    stoa_journal *journal = NULL;
    for (unsigned i = 0; i < 2; i++) { /* nothing is written before it is refused */
        kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
        assert_non_null(strstr(stoa_err_trail(), "accept-loss"));
    }
}

static void what_a_damaged_mark_cannot_vouch_for_is_refused_until_it_is_accepted(void **state)
{
    (void)state;
    enum { ALL = 120 };
    static files copies;
    off_t bytes;
    assert_true(WIFSIGNALED(child_end(child_start("leave_synced", NULL))));
    set_aside();
    for (off_t i = 0; i < 12; i++) {
        const char *log = rot_the_mark(&copies, &bytes);
        if (i % 2) {
            assert_int_equal(truncate(log, bytes - 60 * i), 0); /* within a record, which is longer */
        } else {
            flip_byte(log, bytes - 60 - i * bytes / 24);
        }
        refused_twice();
    }
    stoa_journal_loss loss;
    kit_ok(stoa_journal_rocksdb_accept(path, true, &loss));
    assert_true(loss.damaged && loss.mark < ALL && loss.kept >= loss.mark && loss.kept < ALL);
    refused_twice();
    kit_ok(stoa_journal_rocksdb_accept(path, false, &loss));
    stoa_journal *journal = opened();
    kit_check_all(journal, loss.kept);
    kit_grow(journal, 3, 2, 300);
    kit_err(stoa_journal_rocksdb_accept(path, false, &loss), STOA_E_DENIED);
    ops->close(journal);
    kit_ok(stoa_journal_rocksdb_accept(path, false, &loss));
    assert_false(loss.damaged);

    (void)rot_the_mark(&copies, &bytes); /* with a log that is whole nothing is lost, and the mark is mended */
    for (unsigned i = 0; i < 2; i++) {
        catch_log();
        journal = opened();
        assert_int_equal(caught_log("journal_mark_damaged"), i == 0);
        release_log();
        kit_check_all(journal, ALL);
        ops->close(journal);
    }
    (void)rot_the_mark(&copies, &bytes);
    kit_remove(name_in(path, "db").at);
    kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
}

static void a_journal_without_its_mark_or_database_is_corrupt(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 5, 1, 10);
    ops->close(journal);
    static const char *const parts[] = {"commit.mark", "db", "db/CURRENT"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        name part = name_in(path, parts[i]), away = name_in(path, "away");
        assert_int_equal(rename(part.at, away.at), 0);
        kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
        kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
        assert_int_equal(rename(away.at, part.at), 0);
    }

    journal = opened();
    kit_check_all(journal, 5);
    ops->close(journal);
}

/* RocksDB syncs what is in its folder, not the name of the folder itself. */
static void a_new_database_has_its_name_on_the_disk(void **state)
{
    (void)state;
    atomic_store(&looking, true);
    stoa_journal *journal = opened();
    atomic_store(&looking, false);
    assert_true(atomic_load(&named));
    ops->close(journal);
}

/* --- behind the journal's back */

static stoa_engine tamper(void)
{
    stoa_engine engine = {0};
    kit_ok(stoa_engine_open(&engine, name_in(path, "db").at, (stoa_engine_mode){0}));
    return engine;
}

static void put(stoa_engine *engine, enum stoa_family family, const void *key, size_t key_bytes, const void *value,
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
static void put_block(stoa_engine *engine, uint64_t key_position, uint64_t first, const stoa_hash256 *previous)
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

static stoa_err never(void *context, uint64_t position)
{
    (void)context;
    fail_msg("position %" PRIu64 " is in the index still", position);
    return STOA_OK;
}

static void a_tail_that_does_not_link_is_cut_and_reported(void **state)
{
    (void)state;
    static const struct {
        uint64_t key, first;
        bool linked;
    } rows[] = {{22, 21, false}, {24, 23, true}, {23, 21, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kit_remove(path);
        stoa_journal *journal = opened();
        kit_grow(journal, 10, 2, 30);
        stoa_journal_state s;
        ops->state(journal, &s);
        ops->close(journal);

        stoa_engine engine = tamper();
        put_block(&engine, rows[i].key, rows[i].first, rows[i].linked ? &s.hash : &(stoa_hash256){{0}});
        put_block(&engine, rows[i].key + 2, rows[i].first + 2, &s.hash);
        stoa_engine_close(&engine);

        catch_log();
        journal = opened();
        assert_true(caught_log("journal_tail_cut"));
        release_log();
        kit_check_all(journal, 20);
        kit_check_index(journal, 20);
        kit_grow(journal, 3, 2, 30);
        ops->close(journal);
        catch_log();
        journal = opened();
        assert_false(caught_log("journal_tail_cut"));
        release_log();
        kit_check_all(journal, 26);
        kit_check_index(journal, 26);
        kit_ok(ops->lookup(journal, STRANGE_ID, never, NULL));
        ops->close(journal);
    }
}

static void a_block_that_links_above_the_mark_is_kept_and_unproven(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 10, 2, 30);
    stoa_journal_state s;
    ops->state(journal, &s);
    ops->close(journal);
    stoa_engine engine = tamper();
    put_block(&engine, 22, 21, &s.hash);
    stoa_engine_close(&engine);
    journal = opened();
    assert_int_equal(kit_proven(journal), 20);
    kit_check_all(journal, 22);
    ops->close(journal);
}

static void other_blocks_at_or_below_the_mark_are_corrupt(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 10, 2, 30);
    ops->close(journal);
    stoa_engine engine = tamper();
    put_block(&engine, 12, 11, &(stoa_hash256){{0}});
    stoa_engine_close(&engine);
    journal = opened(); /* only the block under the mark is looked at */
    uint64_t verified = 0;
    kit_err(stoa_journal_verify(journal, &verified), STOA_E_CORRUPT);
    assert_int_equal(verified, 10);
    assert_non_null(strstr(stoa_err_trail(), "position 11"));
    kit_reader reader = {0};
    kit_ok(ops->read(journal, 15, kit_visit, &reader));
    ops->close(journal);

    engine = tamper();
    put_block(&engine, 20, 19, &(stoa_hash256){{0}});
    stoa_engine_close(&engine);
    kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
    assert_non_null(strstr(stoa_err_trail(), "position 20"));
}

static void a_database_of_another_format_is_left_alone(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 10, 2, 30);
    ops->close(journal);
    stoa_engine engine = tamper();
    put(&engine, STOA_FAMILY_META, "format", 6, "2", 1);
    stoa_engine_close(&engine);
    kit_err(ops->open(path, &journal), STOA_E_VERSION);
    engine = tamper();
    put(&engine, STOA_FAMILY_META, "format", 6, "1", 1);
    stoa_engine_close(&engine);
    journal = opened();
    kit_check_all(journal, 20);
    ops->close(journal);
}

/* --- a full disk, a broken disk */

/* Append until the disk takes no more, look that reads work, make space, go on. */
static void fill_and_recover(const char *which, long writes_left, bool sync)
{
    stoa_journal *journal = opened();
    uint64_t before = kit_last(journal);
    kit_grow(journal, 3, 2, 300);
    disk_full(which, writes_left);
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < 100 && !err; i++) {
        err = kit_append(journal, kit_last(journal) + 1, 2, 3000, sync);
    }
    if (err != STOA_E_FULL) { fail_msg("%s, %ld: %s\n%s", which, writes_left, stoa_err_name(err), stoa_err_trail()); }
    uint64_t last = kit_last(journal);
    assert_true(last >= before + 6);
    for (unsigned i = 0; i < 2; i++) {
        kit_check_all(journal, last);
        kit_check_index(journal, last);
        kit_err(kit_append(journal, last + 1, 2, 3000, sync), STOA_E_FULL);
    }
    disk_good();
    kit_ok(kit_append(journal, last + 1, 3, 500, true)); /* not the block that was refused */
    assert_int_equal(kit_proven(journal), last + 3);
    kit_check_all(journal, last + 3);
    kit_check_index(journal, last + 3);
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, last + 3);
    ops->close(journal);
}

static void a_full_disk_refuses_keeps_reading_and_goes_on(void **state)
{
    (void)state;
    for (long writes = 0; writes < 6; writes++) {
        fill_and_recover(".log", writes, writes % 2);
        fill_and_recover("/", writes, writes % 2);
    }
    uint64_t last;
    stoa_journal *journal = opened();
    last = kit_last(journal);
    kit_check_all(journal, last);
    kit_check_index(journal, last);
    ops->close(journal);
}

/* FULL means that the block is not there, even if its bytes made it to the disk and come back with the database. */
static void a_refused_block_that_comes_back_is_not_in_the_log(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 10, 2, 30);
    stoa_journal_state s;
    ops->state(journal, &s);
    disk_full(".log", 0);
    kit_err(kit_append(journal, 21, 2, 30, true), STOA_E_FULL);
    disk_good();
    stoa_engine engine = tamper();
    put_block(&engine, 22, 21, &s.hash);
    stoa_engine_close(&engine);

    kit_ok(kit_append(journal, 21, 5, 100, true));
    kit_check_all(journal, 25);
    kit_check_index(journal, 25);
    kit_ok(ops->lookup(journal, STRANGE_ID, never, NULL));
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, 25);
    ops->close(journal);
}

/* Space runs out at every single write that reopening needs. */
static void space_may_run_out_again_at_any_write(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 5, 2, 300);
    uint64_t last = kit_last(journal);
    disk_full("/", 0);
    kit_err(kit_append(journal, last + 1, 2, 300, true), STOA_E_FULL);
    unsigned refused = 0;
    for (long writes = 0; writes < 60; writes++) {
        disk_full("/", writes);
        stoa_err err = kit_append(journal, last + 1, 2, 300, true);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        refused += err != STOA_OK;
        if (!err) { last += 2; }
        kit_check_all(journal, last);
    }
    disk_good();
    assert_true(refused > 3 && refused < 60);
    kit_ok(ops->sync(journal));
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, last);
    ops->close(journal);
}

static void table_files_that_do_not_fit_refuse_the_next_block(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    disk_full(".sst", 0);
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < 90 && !err; i++) {
        err = kit_append(journal, kit_last(journal) + 1, 1, 2 << 20, false);
    }
    kit_err(err, STOA_E_FULL);
    uint64_t last = kit_last(journal);
    assert_true(last > 14); /* a write buffer of 32 MiB */
    kit_err(kit_append(journal, last + 1, 1, 10, true), STOA_E_FULL);
    kit_check_all(journal, last);
    disk_good();
    kit_ok(kit_append(journal, last + 1, 1, 10, true));
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, last + 1);
    ops->close(journal);
}

static void a_journal_on_a_full_disk_can_be_opened_and_read(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 5, 2, 300);
    ops->close(journal);
    disk_full("/", 0);
    journal = opened();
    kit_check_all(journal, 10);
    kit_err(kit_append(journal, 11, 2, 300, true), STOA_E_FULL);
    kit_err(ops->sync(journal), STOA_E_FULL);
    ops->close(journal);
    journal = opened();
    disk_good();
    kit_ok(kit_append(journal, 11, 2, 300, true));
    kit_check_all(journal, 12);
    ops->close(journal);

    kit_remove(path);
    disk_full("/", 0);
    kit_err(ops->open(path, &journal), STOA_E_FULL);
    disk_good();
    journal = opened();
    kit_check_all(journal, 0);
    ops->close(journal);
}

/* A process died with blocks that it had not synced, and the disk has no space for a table file of them. Whoever reads them may build on
 * them: rows, backups, answers. */
static void what_is_read_on_a_full_disk_was_synced(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    disk_full("/", 0);
    atomic_store(&disk.broken, ".log");
    stoa_journal *journal;
    kit_err(ops->open(path, &journal), STOA_E_IO);
    atomic_store(&disk.broken, NULL);
    unsigned before = atomic_load(&logs_synced);
    journal = opened();
    assert_true(atomic_load(&logs_synced) > before);
    kit_check_all(journal, kit_last(journal));
    assert_int_equal(kit_last(journal), 120); /* 30 of them synced */
    disk_good();
    ops->close(journal);
}

static void a_failed_sync_ends_the_journal_and_keeps_what_was_synced(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        stoa_journal *journal = opened();
        uint64_t last = kit_last(journal);
        kit_ok(kit_append(journal, last + 1, 2, 300, true));
        atomic_store(&disk.broken, ".log");
        kit_err(round == 1 ? ops->sync(journal) : kit_append(journal, last + 3, 2, 300, true), STOA_E_IO);
        disk_good();
        kit_reader reader = {0};
        kit_err(kit_append(journal, last + 3, 2, 300, true), STOA_E_IO);
        kit_err(ops->sync(journal), STOA_E_IO);
        kit_err(ops->read(journal, 1, kit_visit, &reader), STOA_E_IO);
        kit_err(ops->lookup(journal, 1, kit_visit_position, &reader), STOA_E_IO);
        ops->close(journal);

        journal = opened();
        assert_in_range(kit_last(journal), last + 2, last + 4);
        kit_check_all(journal, kit_last(journal));
        ops->close(journal);
    }
}

static void a_mark_that_cannot_be_synced_ends_the_journal(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_ok(kit_append(journal, 1, 2, 300, true));
    atomic_store(&disk.broken, "commit.mark");
    kit_err(ops->sync(journal), STOA_E_IO);
    disk_good();
    kit_err(kit_append(journal, 3, 2, 300, false), STOA_E_IO);
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, 2);
    ops->close(journal);
}

static void paths_that_cannot_be_are_named_errors(void **state)
{
    (void)state;
    stoa_journal *journal = NULL;
    kit_err(ops->open(name_in(folder, "no/such").at, &journal), STOA_E_IO);
    name file = name_in(folder, "file");
    int fd = open(file.at, O_CREAT | O_RDWR, 0600);
    assert_int_equal(close(fd), 0);
    kit_err(ops->open(file.at, &journal), STOA_E_IO);
    static char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    kit_err(ops->open(longer, &journal), STOA_E_INVALID);
    kit_err(ops->open("", &journal), STOA_E_INVALID);
    assert_null(journal);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    stoa_log_level_set(STOA_LOG_OFF);
    if (argc == 3) { return child_main(argv[1], argv[2]); }
    const struct CMUnitTest tests[] = {
        TEST(what_was_acknowledged_survives_sigkill),
        TEST(unsynced_blocks_survive_the_process_and_are_unproven),
        TEST(another_process_is_denied),
        TEST(many_restarts_leave_few_files_and_open_fast),
        TEST(a_log_larger_than_memory_is_kept),
        TEST(readers_on_other_threads_see_whole_logs),
        TEST(rot_in_a_closed_journal_is_never_silent),
        TEST(rot_in_the_tail_of_a_dead_process_is_never_silent),
        TEST(a_log_cut_short_ends_at_a_whole_block_or_is_refused),
        TEST(rot_below_a_synced_note_is_never_cut),
        TEST(a_log_that_nobody_waits_for_is_proven_by_what_stands_on_it),
        TEST(a_reindex_that_finds_no_space_leaves_the_index),
        TEST(what_a_damaged_mark_cannot_vouch_for_is_refused_until_it_is_accepted),
        TEST(a_new_database_has_its_name_on_the_disk),
        TEST(a_journal_without_its_mark_or_database_is_corrupt),
        TEST(a_tail_that_does_not_link_is_cut_and_reported),
        TEST(a_block_that_links_above_the_mark_is_kept_and_unproven),
        TEST(other_blocks_at_or_below_the_mark_are_corrupt),
        TEST(a_database_of_another_format_is_left_alone),
        TEST(a_full_disk_refuses_keeps_reading_and_goes_on),
        TEST(a_refused_block_that_comes_back_is_not_in_the_log),
        TEST(space_may_run_out_again_at_any_write),
        TEST(table_files_that_do_not_fit_refuse_the_next_block),
        TEST(a_journal_on_a_full_disk_can_be_opened_and_read),
        TEST(what_is_read_on_a_full_disk_was_synced),
        TEST(a_failed_sync_ends_the_journal_and_keeps_what_was_synced),
        TEST(a_mark_that_cannot_be_synced_ends_the_journal),
        TEST(paths_that_cannot_be_are_named_errors),
    };
    return cmocka_run_group_tests_name("rocksdb", tests, NULL, NULL);
}
