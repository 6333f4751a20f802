/* seeds.c - runs a random test for a range of seeds, and says how to run a failing one again. See kit.h.
 *
 * The range runs in a child process, so that a seed that ends its process, in whatever way, is known by its number: the
 * child prints a line behind each seed, and the one without a line is the one that failed. Where STOA_HASHES names a
 * folder, the lines are kept there under the program's name, for who compares builds.
 *
 * No end is silent. Both processes share a page with the seed and the step that it is at. Whoever is ended by a signal that can be
 * caught (timeout, a closed terminal, an abort) says where it was; the child of a parent that was killed does, too. Where both are
 * killed at once, what the parent said of each tenth of the range remains.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/kit.h"

enum { PATH_BYTES = 4096, LINE_BYTES = 128, PROGRESS_FD = 3, PARTS = 10, TOLD_LEAST = 100 };

extern char **environ;
static bool tracing, one_seed; /* this process runs as its arguments say */

FILE *stoa_seeds_trace(void)
{
    return tracing ? stdout : NULL;
}

const char *stoa_seeds_command(uint64_t seed)
{
    static char text[PATH_BYTES];
    char option[48] = "";
    if (one_seed) { (void)snprintf(option, sizeof option, " --seed %" PRIu64, seed); }
    (void)snprintf(text, sizeof text, "STOA_TEST_SEED=%" PRIu64 " %s%s", seed, program_invocation_name, option);
    return text;
}

/* --- where it is, for who asks when it has ended */

typedef struct progress {
    uint64_t seed, step; /* 0: none is running */
} progress;

static progress own_progress, *at = &own_progress;
static pid_t parent, child_pid; /* who started this child; whom this parent has */

void stoa_seeds_at(uint64_t step)
{
    __atomic_store_n(&at->step, step, __ATOMIC_RELAXED);
}

static void seed_begins(uint64_t seed)
{
    __atomic_store_n(&at->step, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&at->seed, seed, __ATOMIC_RELAXED);
}

static char *put_text(char *to, const char *text)
{
    while (*text) { *to++ = *text++; }
    return to;
}

static char *put_number(char *to, uint64_t number)
{
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) { *to++ = digits[--count]; }
    return to;
}

/* Within a signal: calls nothing that it might have interrupted. A child leaves the word to its parent, while it has it. */
static void on_end(int signal_number)
{
    char line[LINE_BYTES], *to = line;
    if (parent == 0 || getppid() != parent) {
        to = put_number(put_text(to, "\nended by signal "), (uint64_t)signal_number);
        to = put_number(put_text(to, " in seed "), __atomic_load_n(&at->seed, __ATOMIC_RELAXED));
        to = put_number(put_text(to, " at step "), __atomic_load_n(&at->step, __ATOMIC_RELAXED));
        *to++ = '\n';
        (void)!write(STDERR_FILENO, line, (size_t)(to - line));
    }
    if (child_pid > 0) { (void)kill(child_pid, SIGKILL); }
    (void)raise(signal_number); /* as if nobody had looked */
}

static void watch_ends(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGALRM, SIGXCPU, SIGPIPE, SIGABRT};
    struct sigaction action = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND};
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction was;
        bool passes = sigaction(signals[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN; /* nohup */
        if (passes) { (void)sigaction(signals[i], &action, NULL); }
    }
}

/* --- in the child, or by hand */

/* The page of the parent that has started this with one. */
static void join_parent(void)
{
    const char *given = getenv("STOA_SEEDS_PARENT");
    if (!given || strtol(given, NULL, 10) != (long)getppid()) { return; }
    void *page = mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED, PROGRESS_FD, 0);
    if (page != MAP_FAILED) { at = page; }
    parent = getppid();
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) { (void)raise(SIGTERM); }
}

static bool read_range(const char *text, uint64_t *from_out, uint64_t *to_out)
{
    char *end;
    uint64_t from = strtoull(text, &end, 10), to = from;
    if (end == text) { return false; }
    if (*end) {
        if (strncmp(end, "..", 2) != 0) { return false; }
        const char *second = end + 2;
        to = strtoull(second, &end, 10);
        if (end == second || *end) { return false; }
    }
    *from_out = from;
    *to_out = to;
    return true;
}

/* A run that ends the process in its middle holds everything still: do not let a leak checker drown what it said. */
static bool in_a_run;
static void leave(void)
{
    (void)fflush(stdout);
    (void)fflush(stderr);
    if (in_a_run) { _exit(1); }
}

static int run_range(const stoa_seeds *seeds, uint64_t from, uint64_t to, bool twice)
{
    one_seed = true;
    (void)atexit(leave);
    (void)setenv("CMOCKA_TEST_ABORT", "1", 0); /* outside its tests cmocka says what failed only then */
    watch_ends();
    join_parent();
    for (uint64_t seed = from; seed <= to; seed++) {
        in_a_run = true;
        seed_begins(seed);
        uint64_t hash = seeds->run(seed), again = twice ? seeds->run(seed) : hash;
        in_a_run = false;
        if (hash != again) {
            (void)fprintf(stderr, "seed %" PRIu64 " gave %016" PRIx64 ", then %016" PRIx64 "\n", seed, hash, again);
            return 1;
        }
        printf("%" PRIu64 " %016" PRIx64 "\n", seed, hash);
        (void)fflush(stdout);
    }
    return 0;
}

static int usage(const char *program)
{
    (void)fprintf(stderr, "usage: %s [--seed N [--trace] | --hash FROM..TO | --twice FROM..TO]\n", program);
    return 2;
}

bool stoa_seeds_main(const stoa_seeds *seeds, int argc, char **argv, int *status_out)
{
    uint64_t from, to;
    if (argc < 2) { return false; }
    bool twice = strcmp(argv[1], "--twice") == 0, one = strcmp(argv[1], "--seed") == 0;
    bool known = twice || one || strcmp(argv[1], "--hash") == 0;
    tracing = argc == 4 && one && strcmp(argv[3], "--trace") == 0;
    if (tracing) { (void)setvbuf(stdout, NULL, _IOLBF, 0); } /* to the last line, however it ends */
    if (!known || (argc != 3 && !tracing) || !read_range(argv[2], &from, &to)) {
        *status_out = usage(argv[0]);
    } else {
        *status_out = run_range(seeds, from, to, twice);
    }
    return true;
}

/* --- the parent */

typedef struct child {
    pid_t pid;
    FILE *lines;
} child;

static stoa_err start(const char *range, child *out)
{
    static const char path[] = "/proc/self/exe"; /* this program, also where another one has been built in its place */
    char twice[] = "--twice", once[] = "--hash", text[LINE_BYTES], self[LINE_BYTES];
    int pipes[2], page = memfd_create("seeds", MFD_CLOEXEC);
    bool good = page >= 0 && ftruncate(page, sizeof *at) == 0;
    void *shared = good ? mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0) : MAP_FAILED;
    if (shared == MAP_FAILED || pipe2(pipes, O_CLOEXEC)) { return STOA_FAIL(STOA_E_IO, "%s", strerror(errno)); }
    at = shared;
    (void)snprintf(text, sizeof text, "%s", range);
    (void)snprintf(self, sizeof self, "%ld", (long)getpid());
    (void)setenv("STOA_SEEDS_PARENT", self, 1);
    char *arguments[] = {program_invocation_name, getenv("STOA_HASHES") || getenv("STOA_DEEP") ? once : twice, text, NULL};
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_adddup2(&actions, page, PROGRESS_FD);
    int failed = posix_spawn(&out->pid, path, &actions, NULL, arguments, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipes[1]);
    (void)close(page);
    (void)unsetenv("STOA_SEEDS_PARENT");
    child_pid = failed ? 0 : out->pid;
    out->lines = failed ? NULL : fdopen(pipes[0], "r");
    if (!out->lines) {
        (void)close(pipes[0]);
        return STOA_FAIL(STOA_E_IO, "%s: %s", path, strerror(failed ? failed : errno));
    }
    return STOA_OK;
}

static FILE *keep_lines(char *path, size_t path_bytes)
{
    const char *folder = getenv("STOA_HASHES");
    if (!folder) { return NULL; }
    (void)snprintf(path, path_bytes, "%s/%s.hashes.new", folder, program_invocation_short_name);
    return fopen(path, "w");
}

static void kept(FILE *file, char *path, bool good)
{
    char final[PATH_BYTES];
    if (!file) { return; }
    (void)fclose(file);
    (void)snprintf(final, sizeof final, "%.*s", (int)(strlen(path) - strlen(".new")), path);
    if (good) {
        (void)rename(path, final);
    } else {
        (void)unlink(path);
    }
}

/* Take the child's lines; returns how many of the seeds were done. */
static uint64_t follow(FILE *lines, FILE *keep, uint64_t count)
{
    char line[LINE_BYTES];
    uint64_t done = 0;
    while (fgets(line, sizeof line, lines)) {
        uint64_t seed, hash;
        if (sscanf(line, "%" SCNu64 " %" SCNx64, &seed, &hash) != 2) {
            (void)fputs(line, stdout);
            continue;
        }
        done++;
        if (count >= TOLD_LEAST && done % (count / PARTS) == 0 && done < count) {
            printf("%" PRIu64 " of %" PRIu64 " seeds done\n", done, count);
            (void)fflush(stdout);
        }
        if (keep) { (void)fputs(line, keep); }
    }
    return done;
}

stoa_err stoa_seeds_run(const stoa_seeds *seeds)
{
    const char *only = getenv("STOA_TEST_SEED");
    uint64_t from = 1, to = getenv("STOA_DEEP") && seeds->deep ? seeds->deep : seeds->count;
    char range[LINE_BYTES], path[PATH_BYTES] = "";
    child c;
    int status = 0;
    if (only && !read_range(only, &from, &to)) { return STOA_FAIL(STOA_E_INVALID, "STOA_TEST_SEED=%s", only); }
    (void)snprintf(range, sizeof range, "%" PRIu64 "..%" PRIu64, from, to);
    (void)fflush(stdout);
    watch_ends();
    stoa_err err = start(range, &c);
    if (err) {
        (void)fprintf(stderr, "seeds %s did not start: %s\n", range, stoa_err_trail());
        return err;
    }
    FILE *keep = only ? NULL : keep_lines(path, sizeof path);
    uint64_t done = follow(c.lines, keep, to - from + 1);
    (void)fclose(c.lines);
    while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR) {}
    child_pid = 0;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && done == to - from + 1;
    kept(keep, path, good);
    if (good) {
        printf("seeds %s passed\n", range);
        return STOA_OK;
    }
    one_seed = true;
    const char *command = stoa_seeds_command(from + done);
    one_seed = false;
    (void)fprintf(stderr, "seed %" PRIu64 " failed at step %" PRIu64 " (%s %d); again, with --trace for every decision:\n    %s\n",
                  from + done, at->step, WIFSIGNALED(status) ? "signal" : "exit status",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), command);
    return STOA_FAIL(STOA_E_FAILED, "seed %" PRIu64 ": %s", from + done, command);
}
