/* cpus_test.c - goal: what runs beside pinned cores keeps off their processors and gives way to turns; who opens the node is
 * where it was. Method: a node with one pinned core and a shard on RocksDB; then what the system says of each thread, by name.
 * Where the process may use one processor only, nothing can be kept off.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

enum { PATH_BYTES = 64, BACKGROUND_NICE = 10 };

typedef struct thread_seen {
    unsigned count, on_core, nice; /* how many have the name, how many of them may use the first processor, the highest nice */
} thread_seen;

static int first_of(const cpu_set_t *set)
{
    int cpu = 0;
    while (!CPU_ISSET((size_t)cpu, set)) { cpu++; }
    return cpu;
}

/* A name of the system has at most 15 characters. */
static bool is_called(int tid, const char *name)
{
    char path[PATH_BYTES], line[32] = "";
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/comm", tid);
    FILE *file = fopen(path, "r");
    if (!file) { return false; } /* it ended */
    bool read = fgets(line, sizeof line, file) != NULL;
    assert_int_equal(fclose(file), 0);
    line[strcspn(line, "\n")] = '\0';
    return read && strncmp(line, name, strlen(name)) == 0;
}

static thread_seen look(const char *name, int core_cpu)
{
    thread_seen seen = {0};
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *entry = readdir(tasks); entry; entry = readdir(tasks)) {
        int tid = atoi(entry->d_name);
        if (tid == 0 || !is_called(tid, name)) { continue; }
        cpu_set_t may;
        assert_int_equal(sched_getaffinity(tid, sizeof may, &may), 0);
        unsigned nice = (unsigned)getpriority(PRIO_PROCESS, (id_t)tid);
        seen.count++;
        seen.on_core += CPU_ISSET((size_t)core_cpu, &may) != 0;
        if (nice > seen.nice) { seen.nice = nice; }
    }
    assert_int_equal(closedir(tasks), 0);
    return seen;
}

static void open_and_look(bool pin, void (*check)(int core_cpu, bool others))
{
    char folder[] = "/tmp/stoa-cpus-XXXXXX", path[PATH_BYTES], command[PATH_BYTES + 8];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/journal", folder);
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    stoa_node *node;
    stoa_shard *shard;
    stoa_options options = {.cores = 1, .pin = pin, .snapshot_events = 1000, .seed = 1};
    assert_int_equal(stoa_node_open(&options, &node), STOA_OK);
    stoa_shard_options with = {.name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb, .path = path};
    assert_int_equal(stoa_shard_open(node, &with, &shard), STOA_OK);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    check(first_of(&before), CPU_COUNT(&before) > 1);
    stoa_node_close(node, STOA_S(10));
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void kept_off(int core_cpu, bool others)
{
    static const char *const names[] = {"stoa-journal", "stoa-follower", "rocksdb:"};
    thread_seen core = look("stoa-core-0", core_cpu);
    assert_int_equal(core.count, 1);
    assert_int_equal(core.on_core, 1);
    assert_int_equal(core.nice, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        thread_seen seen = look(names[i], core_cpu);
        assert_true(seen.count >= 1);
        assert_int_equal(seen.on_core, others ? 0 : seen.count);
    }
}

/* A thread says of itself that it gives way, when it runs. */
static void wait_until_it_gives_way(const char *name, int core_cpu)
{
    while (look(name, core_cpu).nice != BACKGROUND_NICE) { (void)sched_yield(); }
}

static void anywhere(int core_cpu, bool others)
{
    (void)others;
    wait_until_it_gives_way("stoa-follower", core_cpu);
    wait_until_it_gives_way("rocksdb:", core_cpu);
    thread_seen journal = look("stoa-journal", core_cpu), follower = look("stoa-follower", core_cpu), core = look("stoa-core-0", core_cpu);
    assert_int_equal(journal.on_core, 1);
    assert_int_equal(journal.nice, 0);
    assert_int_equal(follower.on_core, 1);
    assert_int_equal(core.nice, 0);
}

/* First, for the database's threads stay where the first journal of a process had them begin. */
static void what_runs_beside_a_pinned_core_keeps_off_it(void **state)
{
    (void)state;
    open_and_look(true, kept_off);
}

static void without_pinning_threads_may_be_anywhere(void **state)
{
    (void)state;
    open_and_look(false, anywhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_runs_beside_a_pinned_core_keeps_off_it),
        cmocka_unit_test(without_pinning_threads_may_be_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
