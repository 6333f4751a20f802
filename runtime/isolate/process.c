/* isolate/process.c - posix_spawn and waitid for process.h. Never fork: the node has threads.
 *
 * The child is told its limits as arguments and puts them on itself (host/limits.c) before it loads anything; its environment is
 * empty, its descriptors are the socket and /dev/null.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static stoa_err host_path(const stoa_isolate *isolate, char path[PATH_BYTES])
{
    if (isolate->host) {
        int length = snprintf(path, PATH_BYTES, "%s", isolate->host);
        return length < PATH_BYTES ? STOA_OK : STOA_FAIL(STOA_E_TOO_LARGE, "the host's path");
    }
    ssize_t length = readlink("/proc/self/exe", path, PATH_BYTES - sizeof "/stoa-isolate");
    if (length <= 0) { return STOA_FAIL(STOA_E_IO, "where this program is: %s", strerror(errno)); }
    path[length] = '\0';
    char *name = strrchr(path, '/');
    (void)snprintf(name, sizeof "/stoa-isolate", "/stoa-isolate");
    return STOA_OK;
}

static int spawn(const char *path, char *const *args, int socket, pid_t *pid_out)
{
    static char *const nothing[] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int rc = posix_spawn_file_actions_init(&files);
    if (rc) { return rc; }
    rc = posix_spawnattr_init(&how);
    if (!rc) { rc = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP); }
    if (!rc) { rc = posix_spawnattr_setsigmask(&how, &none); }
    if (!rc) { rc = posix_spawnattr_setsigdefault(&how, &all); }
    for (int fd = 0; fd < STOA_ISOLATE_FD && !rc; fd++) {
        rc = posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    }
    if (!rc) { rc = posix_spawn_file_actions_adddup2(&files, socket, STOA_ISOLATE_FD); }
    if (!rc) { rc = posix_spawn_file_actions_addclosefrom_np(&files, STOA_ISOLATE_FD + 1); }
    if (!rc) { rc = posix_spawn(pid_out, path, &files, &how, args, nothing); }
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&how);
    return rc;
}

stoa_err stoa_isolate_process_start(const stoa_isolate *isolate, pid_t *pid_out, int *socket_out)
{
    char path[PATH_BYTES], library[PATH_BYTES], memory[24], cpu[24], parent[24];
    int ends[2];
    stoa_err err = host_path(isolate, path);
    if (err) { return err; }
    if (!isolate->library || snprintf(library, sizeof library, "%s", isolate->library) >= (int)sizeof library) {
        return STOA_FAIL(STOA_E_INVALID, "an isolate without a library, or one of too long a path");
    }
    (void)snprintf(memory, sizeof memory, "%" PRIu64, isolate->memory_bytes ? isolate->memory_bytes : UINT64_C(256) << 20);
    (void)snprintf(cpu, sizeof cpu, "%" PRIu64, isolate->cpu_s ? isolate->cpu_s : 3600);
    (void)snprintf(parent, sizeof parent, "%d", (int)getpid());
    char *const args[] = {path, library, memory, cpu, parent, NULL};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) {
        return STOA_FAIL(STOA_E_IO, "no socket for an isolate: %s", strerror(errno));
    }
    int rc = spawn(path, args, ends[1], pid_out);
    (void)close(ends[1]);
    if (rc) {
        (void)close(ends[0]);
        return STOA_FAIL(STOA_E_IO, "%s cannot be started: %s", path, strerror(rc));
    }
    *socket_out = ends[0];
    return STOA_OK;
}

static const char *reason(const siginfo_t *end)
{
    static const struct {
        int code, status;
        const char *text;
    } reasons[] = {
        {CLD_EXITED, STOA_ISOLATE_NOT_LOADED, "isolate: its library cannot be loaded"},
        {CLD_EXITED, STOA_ISOLATE_NO_MEMORY, "isolate: above its memory"},
        {CLD_EXITED, STOA_ISOLATE_NOT_HEARD, "isolate: it lost the node"},
        {CLD_KILLED, SIGSYS, "isolate: a system call that it may not make"},
        {CLD_KILLED, SIGXCPU, "isolate: above its processor time"},
        {CLD_KILLED, SIGKILL, "isolate: killed"},
    };
    int code = end->si_code == CLD_DUMPED ? CLD_KILLED : end->si_code;
    for (unsigned i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].code == code && reasons[i].status == end->si_status) { return reasons[i].text; }
    }
    return code == CLD_EXITED ? "isolate: its process ended" : "isolate: crashed";
}

const char *stoa_isolate_process_end(pid_t pid)
{
    siginfo_t end = {0};
    (void)kill(pid, SIGKILL); /* it is ours until it was waited for; what it ended by before stays */
    while (waitid(P_PID, (id_t)pid, &end, WEXITED) && errno == EINTR) {}
    return end.si_pid == pid ? reason(&end) : "isolate: its process ended";
}
