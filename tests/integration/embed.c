/* embed.c - a program of its own that embeds libstoa and looks what the library takes: built by lib_install_test.py
 * against what is installed, run in an empty folder. Each claim of docs/guide/actors.md, "What the library takes", is a
 * check here; the first that does not hold is printed, with what was seen, and the program exits 1.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stoa/base/log.h>
#include <stoa/cluster/links.h>
#include <stoa/stoa.h>
#include <stoa/storage/rocksdb/journal.h>

#define counter_add_FIELDS(F, S)   F(S, uint64_t, by)
#define counter_sum_FIELDS(F, S)   F(S, uint64_t, sum)
#define counter_added_FIELDS(F, S) F(S, uint64_t, by)
#define counter_ROWS(ROW, K)                                                                                           \
    ROW(K, COMMAND, add, sum, "Add.")                                                                                  \
    ROW(K, REPLY, sum, _, "The sum so far.")                                                                           \
    ROW(K, EVENT, added, _, "Something was added.")
STOA_TABLE_HERE(counter)

typedef struct counter {
    uint64_t sum;
} counter;
#define counter_HEARS STOA_HEARS_NOTHING
STOA_KIND(counter, .mailbox_limit = 64)

/* a plain kind: what its messages cost, no journal pays for */
#define bell_ring_FIELDS        STOA_NO_FIELDS
#define bell_rung_FIELDS(F, S)  F(S, uint64_t, times)
#define bell_swing_FIELDS(F, S) F(S, uint64_t, force)
#define bell_ROWS(ROW, K)                  \
    ROW(K, COMMAND, ring, rung, "Ring.")   \
    ROW(K, CAST, swing, _, "Ring softly.") \
    ROW(K, REPLY, rung, _, "So often.")
STOA_TABLE_HERE(bell)

typedef struct bell {
    uint64_t times;
} bell;
#define bell_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(bell, .mailbox_limit = 1024)

static stoa_err bell_on_ring(stoa_turn *turn, bell *self, const bell_ring *in, bell_rung *out)
{
    (void)turn, (void)in;
    out->times = ++self->times;
    return STOA_OK;
}

static stoa_err bell_on_swing(stoa_turn *turn, bell *self, const bell_swing *in)
{
    (void)turn;
    self->times += in->force;
    return STOA_OK;
}

static pthread_t main_thread;
static volatile sig_atomic_t strays, signals; /* signals handled elsewhere than on the main thread; all of them */

static stoa_err counter_on_add(stoa_turn *turn, const counter *self, const counter_add *in, counter_sum *out)
{
    out->sum = self->sum + in->by;
    return counter_emit_added(turn, (counter_added){in->by});
}

static void counter_apply_added(counter *self, const counter_added *event)
{
    self->sum += event->by;
}

static void check(bool holds, const char *claim, const char *seen)
{
    if (holds) { return; }
    printf("does not hold: %s: %s\n", claim, seen);
    (void)fflush(stdout);
    _exit(1); /* at once: a sanitizer would tell of what the node still holds */
}

/* --- what a process has: names in /proc/self/..., one a line, sorted by the kernel */

static int entries(const char *folder, char *names, size_t bytes)
{
    int count = 0;
    DIR *open = opendir(folder);
    names[0] = '\0';
    for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
        if (entry->d_name[0] == '.') { continue; }
        count++;
        (void)snprintf(names + strlen(names), bytes - strlen(names), "%s ", entry->d_name);
    }
    (void)closedir(open);
    return count;
}

/* Descriptors that are no files: a journal's open and close whenever RocksDB writes another one. */
static int events_open(char *names, size_t bytes)
{
    int count = 0;
    DIR *open = opendir("/proc/self/fd");
    names[0] = '\0';
    for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
        char path[300], target[64] = "";
        (void)snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        if (readlink(path, target, sizeof target - 1) < 0 || strncmp(target, "anon_inode:", 11) != 0) { continue; }
        count++;
        (void)snprintf(names + strlen(names), bytes - strlen(names), "%s ", entry->d_name);
    }
    (void)closedir(open);
    return count;
}

static bool line_of_task(const char *task, const char *file, const char *prefix, char *line, size_t bytes)
{
    char path[300];
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, file);
    FILE *in = fopen(path, "r");
    bool found = false;
    while (in && !found && fgets(line, (int)bytes, in)) {
        found = strncmp(line, prefix, strlen(prefix)) == 0;
    }
    if (in) { (void)fclose(in); }
    line[strcspn(line, "\n")] = '\0';
    return found;
}

/* Threads beside the main one whose name begins with prefix; all that they block are the bits of blocked_out. */
static int threads(const char *prefix, unsigned long long *blocked_out)
{
    char name[64], mask[128];
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    *blocked_out = ~0ULL;
    for (struct dirent *task = readdir(tasks); task; task = readdir(tasks)) {
        if (task->d_name[0] == '.' || strtol(task->d_name, NULL, 10) == getpid()) { continue; }
        if (!line_of_task(task->d_name, "comm", prefix, name, sizeof name)) { continue; }
        if (!line_of_task(task->d_name, "status", "SigBlk:", mask, sizeof mask)) { continue; }
        count++;
        *blocked_out &= strtoull(mask + strlen("SigBlk:"), NULL, 16);
    }
    (void)closedir(tasks);
    return count;
}

/* A joined thread leaves /proc a moment later than its joiner returns, and a new one has its maker's name until it gives itself one; how
 * long that takes is not ours to say. */
static int threads_named(const char *prefix, int expected)
{
    unsigned long long mask;
    int count = threads(prefix, &mask);
    for (int i = 0; i < 10000 && count != expected; i++, count = threads(prefix, &mask)) {
        (void)usleep(1000);
    }
    return count;
}

static int threads_left(int expected)
{
    return threads_named("", expected);
}

/* --- malloc: how often anybody in this process called it; a sanitizer has its own */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static unsigned long allocations(void)
{
    return 0;
}
#else
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *at, size_t bytes);
static _Atomic unsigned long allocated;
void *malloc(size_t bytes)
{
    allocated++;
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes)
{
    allocated++;
    return __libc_calloc(count, bytes);
}
void *realloc(void *at, size_t bytes)
{
    allocated++;
    return __libc_realloc(at, bytes);
}
static unsigned long allocations(void)
{
    return allocated;
}
#endif

static void ring(stoa_node *node, stoa_ref bell, int times)
{
    bell_rung rung;
    for (int i = 0; i < times; i++) {
        check(bell_post_swing(node, bell, (bell_swing){1}) == STOA_OK, "a bell swings", stoa_err_trail());
        check(bell_call_ring(node, bell, (bell_ring){0}, STOA_S(60), &rung) == STOA_OK, "it rings", stoa_err_trail());
    }
}

static void check_allocations(void)
{
    stoa_node *node = NULL;
    stoa_ref bell = STOA_REF_NONE;
    unsigned long start = allocations();
    check(stoa_node_open(&(stoa_options){.cores = 1}, &node) == STOA_OK, "a node opens", stoa_err_trail());
    stoa_err err = stoa_spawn(node, &bell_kind, "bell/tower", NULL, &bell);
    check(err == STOA_OK, "an actor is spawned", stoa_err_trail());
    ring(node, bell, 100);
    unsigned long before = allocations();
    ring(node, bell, 2000);
    char count[64];
    (void)snprintf(count, sizeof count, "%lu calls of malloc", allocations() - before);
    check(allocations() == before, "no message is malloc'ed", count);
    check(!allocations() || before > start, "calls of malloc are counted", "none when a node was opened");
    stoa_node_close(node, STOA_MS(10));
}

/* --- signals */

static void on_signal(int number)
{
    (void)number;
    signals++;
    if (!pthread_equal(pthread_self(), main_thread)) { strays++; }
}

enum { SIGNALS = 65, RESTORER = 0x04000000 /* set by the C library whenever it sets an action */ };
static void actions(struct sigaction all[SIGNALS])
{
    memset(all, 0, SIGNALS * sizeof all[0]);
    for (int i = 1; i < SIGNALS; i++) {
        (void)sigaction(i, NULL, &all[i]);
    }
}

static void check_actions(const struct sigaction before[SIGNALS], const char *when)
{
    struct sigaction now[SIGNALS];
    actions(now);
    for (int i = 1; i < SIGNALS; i++) {
        int flags = (now[i].sa_flags ^ before[i].sa_flags) & ~RESTORER;
        bool same = now[i].sa_handler == before[i].sa_handler && flags == 0;
        check(same, "signals stay the program's", when);
    }
}

/* All threads but the program's own. */
static void check_blocked(void)
{
    const int outside[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGPIPE, SIGALRM, SIGRTMIN + 3};
    unsigned long long blocked;
    (void)threads("", &blocked);
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        check(blocked >> (outside[i] - 1) & 1, "its threads block what comes from outside", strsignal(outside[i]));
    }
    for (int i = 0; i < 200; i++) {
        (void)kill(getpid(), SIGTERM);
    }
    check(signals > 0 && strays == 0, "handlers run on the program's threads", "one ran elsewhere");
}

static void check_masks(int cores)
{
    unsigned long long blocked;
    char names[4096];
    int count = threads("stoa-core", &blocked), journals = threads("stoa-journal", &blocked);
    (void)entries("/proc/self/task", names, sizeof names);
    check(count == cores, "one thread per core", names);
    check(journals == 1, "one thread per journal", names);
    check_blocked();
}

/* --- one life of a node, or of two at once */

static void live(const char *path, int cores, uint64_t expected)
{
    stoa_options options = {
        .cores = (uint32_t)cores, .kinds = STOA_KINDS(&counter_kind), .journal = &stoa_journal_rocksdb, .path = path};
    struct sigaction before[SIGNALS];
    stoa_node *node = NULL, *other = NULL;
    stoa_ref ref = STOA_REF_NONE;
    counter_sum sum = {0};
    actions(before);
    check(stoa_node_open(&options, &node) == STOA_OK, "a node opens", stoa_err_trail());
    stoa_err err = stoa_spawn(node, &counter_kind, "counter/a", STOA_DISK, &ref);
    check(err == STOA_OK, "an actor is spawned", stoa_err_trail());
    check(counter_call_add(node, ref, (counter_add){1}, STOA_S(60), &sum) == STOA_OK, "it answers", stoa_err_trail());
    check(sum.sum == expected, "it remembers", "another sum");
    check_actions(before, "while a node runs");
    check_masks(cores);
    char names[4096];
    int fds = events_open(names, sizeof names);
    err = stoa_node_open(&(stoa_options){.cores = 1}, &other);
    check(err == STOA_OK, "a second node opens beside it", stoa_err_trail());
    int more = events_open(names, sizeof names) - fds;
    check(more > 0 && more <= 8, "at most four descriptors per core and port", names); /* a core, and a port for calls */
    stoa_node_close(other, STOA_MS(10));
    stoa_node_close(node, STOA_S(10));
    check_actions(before, "after a node closed");
}

/* What is taken only where the options ask for it, and goes back. */
static void check_recorder(void)
{
    struct sigaction before[SIGNALS], during;
    stoa_node *node = NULL;
    char names[4096];
    stoa_options options = {.cores = 1, .flight_path = "the.flight", .stall_ns = STOA_S(60), .catch_signals = true};
    actions(before);
    check(stoa_node_open(&options, &node) == STOA_OK, "a node with a recorder opens", stoa_err_trail());
    (void)sigaction(SIGSEGV, NULL, &during);
    check(during.sa_sigaction != before[SIGSEGV].sa_sigaction, "faults are caught when that is asked for", "they are not");
    check(entries("/proc/self/task", names, sizeof names) >= 3, "there is one thread more where stalls are watched", names);
    stoa_node_close(node, STOA_MS(10));
    check_actions(before, "after a node with a recorder closed");
    check(unlink("the.flight") == 0, "the recorder's file lies where it was asked for", "nowhere");
}

static void note_address(void *context, const stoa_links_link_view *view)
{
    (void)snprintf(context, 256, "%s", view->address);
}

/* Two nodes of one process that are linked: one thread for each one's links, and what their library has, are gone with them. */
static void check_links(int own)
{
    struct sigaction before[SIGNALS];
    stoa_node *nodes[2] = {NULL, NULL};
    stoa_links *links[2] = {NULL, NULL};
    char address[256] = "zmq+tcp://127.0.0.1:0", names[4096];
    stoa_ref ref = STOA_REF_NONE;
    actions(before);
    for (int i = 0; i < 2; i++) {
        stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &nodes[i]);
        stoa_links_options options = {.node = nodes[i], .name = i ? "b" : "a", .kinds = STOA_KINDS(&bell_kind),
                                      .links = {{.uri = address, .listen = i == 0, .nodes = i ? "a" : "b"}}};
        if (!err) { err = stoa_links_open(&options, &links[i]); }
        check(err == STOA_OK, "links open", stoa_err_trail());
        if (i == 0) { stoa_links_visit(links[0], note_address, address); }
    }
    check(stoa_spawn(nodes[0], &bell_kind, "bell/b", NULL, &ref) == STOA_OK, "an actor is spawned", stoa_err_trail());
    check(stoa_links_find(links[1], "bell/b", STOA_S(60), &ref) == STOA_OK, "it is found elsewhere", stoa_err_trail());
    bell_rung out = {0};
    check(bell_call_ring(nodes[1], ref, (bell_ring){0}, STOA_S(60), &out) == STOA_OK && out.times == 1, "it answers from there", stoa_err_trail());
    (void)entries("/proc/self/task", names, sizeof names);
    check(threads_named("stoa-remote", 2) == 2, "one thread for a node's links", names);
    check_blocked();
    check_actions(before, "while links are open");
    for (int i = 1; i >= 0; i--) {
        stoa_links_close(links[i], STOA_MS(200));
        stoa_node_close(nodes[i], STOA_MS(10));
    }
    check(threads_left(own) == own, "none of links' threads is left", "some");
    check_actions(before, "after links closed");
}

static long resident_kib(void)
{
    char line[128];
    char self[32];
    (void)snprintf(self, sizeof self, "%d", (int)getpid());
    check(line_of_task(self, "status", "VmRSS:", line, sizeof line), "/proc says VmRSS", "nothing");
    return strtol(line + strlen("VmRSS:"), NULL, 10);
}

int main(int argc, char **argv)
{
    char names[4096], now[4096], folder[1024], folder_now[1024];
    bool measure = argc > 1 && strcmp(argv[1], "memory") == 0; /* a sanitizer keeps what is freed */
    long warm = 0;
    main_thread = pthread_self();
    stoa_log_level_set(STOA_LOG_OFF);
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGUSR1, SIG_IGN);
    mode_t mask = umask(027);
    (void)umask(mask);
    int fds = entries("/proc/self/fd", names, sizeof names);
    check(getcwd(folder, sizeof folder), "there is a folder", "none");

    unsigned long long mask_of_none;
    int own = threads("", &mask_of_none); /* a sanitizer may have one */
    live("one.db", 2, 1);
    check(threads_left(own + 2) == own + 2, "after close RocksDB's two threads are left", "more or fewer");
    stoa_journal_rocksdb_end_threads();
    check(threads_left(own) == own, "and none when they were ended", "some");

    check_allocations();
    check_recorder();
    check_links(own);
    for (uint64_t i = 2; i < 12; i++) {
        live("one.db", 1, i);
        stoa_journal_rocksdb_end_threads();
        if (i == 4) { warm = resident_kib(); }
    }
    check(threads_left(own) == own, "none after ten more lives", "some");
    check(!measure || resident_kib() < warm + 4096, "a closed node's memory goes back", "it grew by 4 MiB");
    check(entries("/proc/self/fd", now, sizeof now) == fds, "descriptors are closed", now);
    (void)entries(".", now, sizeof now);
    check(strcmp(now, "one.db ") == 0, "files lie in the journal's folder only", now);
    check(getcwd(folder_now, sizeof folder_now) && strcmp(folder, folder_now) == 0, "the folder stays", "it changed");
    mode_t mask_now = umask(mask);
    check(mask_now == mask, "the umask stays", "it changed");
    check(strcmp(setlocale(LC_ALL, NULL), "C") == 0, "the locale stays", "it changed");
    puts("the library takes what it says");
    return 0;
}
