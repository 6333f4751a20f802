/* isolate_soak_test.c - goal: children that are started and ended, in every way, leave nothing: no memory, no mapping, no descriptor, no
 * process, no thread, nothing in /dev/shm; and the ends of many at once keep no core from serving. Method: rounds of a node with eight
 * children that are stopped, crash, are killed or hang as a printed seed says, while a helper is asked; after some rounds what there is
 * is counted, and it is no more at the end. With STOA_DEEP for a minute.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "runtime/stoa.h"
#include "tests/unit/runtime/isolates/helper.h"

enum { CHILDREN = 8, WARM_ROUNDS = 20, ROUNDS = 20, DEEP_S = 60, SLACK_MAPPINGS = 8, SLACK_KIB = 8 << 10 };
STOA_TABLE_DEFINE(odd)
STOA_ISOLATED_KIND(odd, .mailbox_limit = 512)

/* --- what there is */

typedef struct things {
    uint32_t files, shared, mappings, threads;
    uint64_t resident_kib;
} things;

static uint32_t entries(const char *path)
{
    uint32_t count = 0;
    DIR *folder = opendir(path);
    if (!folder) { return 0; }
    while (readdir(folder)) { count++; }
    (void)closedir(folder);
    return count;
}

/* Memory in /dev/shm by a name of ours; folders there are those of tests beside this one. */
static uint32_t shared_memory(void)
{
    uint32_t count = 0;
    DIR *folder = opendir("/dev/shm");
    for (const struct dirent *at; folder && (at = readdir(folder));) {
        count += at->d_type == DT_REG && strncmp(at->d_name, "stoa", 4) == 0;
    }
    if (folder) { (void)closedir(folder); }
    return count;
}

static things count(void)
{
    char line[512];
    things t = {.files = entries("/proc/self/fd"), .shared = shared_memory(), .threads = entries("/proc/self/task")};
    FILE *maps = fopen("/proc/self/maps", "r"), *status = fopen("/proc/self/status", "r");
    assert_non_null(maps);
    assert_non_null(status);
    while (fgets(line, sizeof line, maps)) { t.mappings++; }
    while (fgets(line, sizeof line, status)) {
        if (strncmp(line, "VmRSS:", 6) == 0) { t.resident_kib = strtoull(line + 6, NULL, 10); }
    }
    (void)fclose(maps);
    (void)fclose(status);
    return t;
}

/* --- a round */

static char host[512], library[512];
static const char *const peers[] = {"helper/h", NULL};
static const stoa_table *const tables[] = {&helper_table, NULL};
static stoa_random chance;

static int pid_of(stoa_node *node, const char *name)
{
    int pid = 0;
    stoa_buf out = {.grows = true};
    if (stoa_inspect(node, name, &out) == STOA_OK) {
        stoa_buf_put(&out, "", 1);
        (void)sscanf(out.at, "{\"pid\":%d", &pid);
    }
    stoa_buf_deinit(&out);
    return pid;
}

static void end_by_stop(stoa_node *node, stoa_ref ref, const char *name)
{
    (void)name;
    assert_int_equal(stoa_stop(node, ref), STOA_OK);
}
static void misdo(stoa_node *node, stoa_ref ref, const char *what)
{
    odd_sum sum;
    odd_misdo deed = {0};
    (void)STOA_TEXT_SETZ(&deed.what, what);
    (void)odd_call_misdo(node, ref, deed, STOA_S(60), &sum);
}
static void end_by_crash(stoa_node *node, stoa_ref ref, const char *name)
{
    (void)name;
    misdo(node, ref, "crash");
}
static void end_itself(stoa_node *node, stoa_ref ref, const char *name)
{
    (void)name;
    misdo(node, ref, "normal");
}
static void end_by_call(stoa_node *node, stoa_ref ref, const char *name)
{
    (void)name;
    misdo(node, ref, "fork");
}
static void end_by_kill(stoa_node *node, stoa_ref ref, const char *name)
{
    int pid = pid_of(node, name);
    (void)ref;
    if (pid) { (void)kill(pid, SIGKILL); }
}
static void end_with_node(stoa_node *node, stoa_ref ref, const char *name)
{
    (void)node, (void)ref, (void)name;
}

static void run_round(void)
{
    static void (*const ends[])(stoa_node *node, stoa_ref ref, const char *name) = {end_by_stop, end_by_crash,  end_itself,
                                                                                      end_by_call, end_by_kill, end_with_node};
    stoa_node *node;
    stoa_ref aid, refs[CHILDREN];
    char names[CHILDREN][16];
    helper_doubled doubled;
    stoa_isolate isolate = {.host = host, .library = library, .peers = peers, .tables = tables};
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &helper_kind, "helper/h", NULL, &aid), STOA_OK);
    for (int i = 0; i < CHILDREN; i++) {
        (void)snprintf(names[i], sizeof names[i], "odd/%d", i);
        assert_int_equal(stoa_spawn(node, &odd_kind, names[i], &(stoa_spawn_options){.args = &isolate}, &refs[i]), STOA_OK);
    }
    for (int i = 0; i < CHILDREN; i++) {
        odd_sum sum;
        if (stoa_random_chance(&chance, 700)) { (void)odd_call_add(node, refs[i], (odd_add){1}, STOA_S(60), &sum); } /* else: while it starts */
        ends[stoa_random_below(&chance, sizeof ends / sizeof ends[0])](node, refs[i], names[i]);
        assert_int_equal(helper_call_double(node, aid, (helper_double){21}, STOA_S(60), &doubled), STOA_OK);
        assert_int_equal(doubled.n, 42);
    }
    stoa_node_close(node, stoa_random_chance(&chance, 500) ? STOA_S(5) : 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left, dead or alive */
    assert_int_equal(errno, ECHILD);
}

static void test_children_leave_nothing(void **state)
{
    uint64_t seed, rounds = 0;
    (void)state;
    bool deep = getenv("STOA_DEEP") != NULL;
    stoa_random_system(&seed, sizeof seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    stoa_random_seed(&chance, seed);
    for (int i = 0; i < WARM_ROUNDS; i++) { run_round(); }
    things before = count();
    uint64_t until_ns = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_S(DEEP_S);
    while (deep ? stoa_clock_real.now_ns(&stoa_clock_real) < until_ns : rounds < ROUNDS) {
        run_round();
        rounds++;
    }
    things after = count();
    print_message("%llu rounds of %d children: files %u -> %u, shared memory %u -> %u, mappings %u -> %u, threads %u -> %u, resident %llu -> %llu KiB\n",
                  (unsigned long long)rounds, CHILDREN, before.files, after.files, before.shared, after.shared, before.mappings, after.mappings,
                  before.threads, after.threads, (unsigned long long)before.resident_kib, (unsigned long long)after.resident_kib);
    assert_int_equal(after.files, before.files);
    assert_int_equal(after.threads, before.threads);
    assert_int_equal(after.shared, before.shared);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they keep what was freed */
    assert_true(after.mappings <= before.mappings + SLACK_MAPPINGS);
    assert_true(after.resident_kib <= before.resident_kib + SLACK_KIB);
#endif
}

int main(void)
{
    const char *bin = getenv("STOA_BIN"), *build = getenv("STOA_BUILD");
    if (!bin || !build) { return 1; }
    (void)snprintf(host, sizeof host, "%s/stoa-isolate", bin);
    (void)snprintf(library, sizeof library, "%s/plugins/odd.so", build);
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_children_leave_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
