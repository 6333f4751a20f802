/* seeds.c - runs a random test for a range of seeds, and says how to run a failing one again. See kit.h.
 *
 * The range runs in a child process, so that a seed that ends its process, in whatever way, is known by its number: the
 * child prints a line behind each seed, and the one without a line is the one that failed. Where STOA_HASHES names a
 * folder, the lines are kept there under the program's name, for who compares builds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/kit.h"

enum { PATH_BYTES = 4096, LINE_BYTES = 128 };

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

/* --- in the child, or by hand */

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
    for (uint64_t seed = from; seed <= to; seed++) {
        in_a_run = true;
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
    char twice[] = "--twice", once[] = "--hash", text[LINE_BYTES], path[PATH_BYTES];
    int pipes[2];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0 || pipe(pipes)) { return STOA_FAIL(STOA_E_IO, "%s", strerror(errno)); }
    path[length] = '\0';
    (void)snprintf(text, sizeof text, "%s", range);
    char *arguments[] = {program_invocation_name, getenv("STOA_HASHES") || getenv("STOA_DEEP") ? once : twice, text, NULL};
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_addclose(&actions, pipes[0]);
    int failed = posix_spawn(&out->pid, path, &actions, NULL, arguments, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipes[1]);
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

/* Take the child's lines; returns how many seeds were done. */
static uint64_t follow(FILE *lines, FILE *keep)
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
    stoa_err err = start(range, &c);
    if (err) { return err; }
    FILE *keep = only ? NULL : keep_lines(path, sizeof path);
    uint64_t done = follow(c.lines, keep);
    (void)fclose(c.lines);
    (void)waitpid(c.pid, &status, 0);
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && done == to - from + 1;
    kept(keep, path, good);
    if (good) {
        printf("seeds %s passed\n", range);
        return STOA_OK;
    }
    one_seed = true;
    const char *command = stoa_seeds_command(from + done);
    one_seed = false;
    (void)fprintf(stderr, "seed %" PRIu64 " failed (%s %d); again, with --trace for every decision:\n    %s\n",
                  from + done, WIFSIGNALED(status) ? "signal" : "exit status",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), command);
    return STOA_FAIL(STOA_E_FAILED, "seed %" PRIu64 ": %s", from + done, command);
}
