/* isolate/process.c - posix_spawn and waitid for process.h. Never fork: the node has threads.
 *
 * The child is told its limits as arguments and puts them on itself (host/limits.c) before it loads anything; its environment is
 * empty, its descriptors are the socket and /dev/null.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/landlock.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, END_TRIES = 5000 /* of a millisecond */ };

/* Asked before there is a child, so that it is told once and not at every restart. */
static stoa_err check_kernel(void)
{
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1) { return STOA_OK; }
    return STOA_FAIL(STOA_E_UNSUPPORTED, "no isolate without Landlock, which this kernel has not, or not allowed: %s", strerror(errno));
}

/* Beside the program, or in the bin of where libstoa is installed: beside its folder, or above that where it is lib/MACHINE. Where it is
 * nowhere, the error names the first. */
static const struct place {
    bool of_code;
    const char *below;
} places[] = {{false, ""}, {true, "/../bin"}, {true, "/../../bin"}, {false, ""}};
enum { PLACES = sizeof places / sizeof places[0] };

/* The folder of the program's file, or of the object that this code is in; "" where that is not known. */
static void folder_of(bool code, char path[PATH_MAX])
{
    Dl_info object = {0};
    const char *file = !code ? "/proc/self/exe" : dladdr(places, &object) ? object.dli_fname : NULL;
    char *slash = file && realpath(file, path) ? strrchr(path, '/') : path;
    *slash = '\0';
}

static stoa_err host_path(const stoa_isolate *isolate, char path[PATH_BYTES])
{
    char folder[PATH_MAX];
    int length = isolate->host ? snprintf(path, PATH_BYTES, "%s", isolate->host) : 0;
    for (size_t i = 0; !isolate->host && i < PLACES && (i == 0 || access(path, X_OK)); i++) {
        folder_of(places[i].of_code, folder);
        length = snprintf(path, PATH_BYTES, "%s%s/stoa-isolate", folder, places[i].below);
    }
    return length < PATH_BYTES ? STOA_OK : STOA_FAIL(STOA_E_TOO_LARGE, "the host's path");
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
    short what = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSCHEDULER;
    if (!rc) { rc = posix_spawnattr_setflags(&how, what); }
    if (!rc) { rc = posix_spawnattr_setschedpolicy(&how, SCHED_OTHER); }
    if (!rc) { rc = posix_spawnattr_setschedparam(&how, &(struct sched_param){0}); }
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

stoa_err stoa_isolate_process_order(const stoa_isolate *isolate, stoa_isolate_order *out, int *socket_out)
{
    int ends[2];
    stoa_err err = check_kernel();
    if (!err) { err = host_path(isolate, out->path); }
    if (err) { return err; }
    if (access(out->path, X_OK)) { return STOA_FAIL(STOA_E_IO, "%s cannot be started: %s", out->path, strerror(errno)); }
    if (!isolate->library || snprintf(out->library, sizeof out->library, "%s", isolate->library) >= (int)sizeof out->library) {
        return STOA_FAIL(STOA_E_INVALID, "an isolate without a library, or one of too long a path");
    }
    uint64_t memory_bytes = isolate->memory_bytes ? isolate->memory_bytes : UINT64_C(256) << 20;
    (void)snprintf(out->memory, sizeof out->memory, "%" PRIu64, memory_bytes);
    (void)snprintf(out->cpu, sizeof out->cpu, "%" PRIu64, isolate->cpu_s ? isolate->cpu_s : 3600);
    (void)snprintf(out->parent, sizeof out->parent, "%d", (int)getpid());
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) {
        return STOA_FAIL(STOA_E_IO, "no socket for an isolate: %s", strerror(errno));
    }
    *socket_out = ends[0];
    out->socket = ends[1];
    return STOA_OK;
}

int stoa_isolate_process_spawn(stoa_isolate_order *order, stoa_isolate_process *out)
{
    char *const args[] = {order->path, order->library, order->memory, order->cpu, order->parent, NULL};
    stoa_isolate_process made = {.fd = -1};
    int rc = spawn(order->path, args, order->socket, &made.pid);
    (void)close(order->socket);
    order->socket = -1;
    if (rc) { return rc; }
    made.fd = pidfd_open(made.pid, 0);
    if (made.fd < 0 && errno != ESRCH) { /* no descriptor */
        rc = errno;
        (void)kill(made.pid, SIGKILL);
        (void)waitid(P_PID, (id_t)made.pid, &(siginfo_t){0}, WEXITED);
        return rc;
    }
    *out = made;
    return 0;
}

static const char *reason(const siginfo_t *end)
{
    static const struct {
        int code, status;
        const char *text;
    } reasons[] = {
        {CLD_EXITED, STOA_ISOLATE_NOT_LOADED, "isolate: its library cannot be loaded"},
        {CLD_EXITED, STOA_ISOLATE_SOURCED, "isolate: its kind is event-sourced"},
        {CLD_EXITED, STOA_ISOLATE_NOT_CONFINED, "isolate: it cannot be confined"},
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

bool stoa_isolate_process_ended(stoa_isolate_process *process, const char **why_out)
{
    siginfo_t end = {0};
    int rc = -1;
    while (process->fd >= 0 && (rc = waitid(P_PIDFD, (id_t)process->fd, &end, WEXITED | WNOHANG)) && errno == EINTR) {}
    if (!rc && end.si_pid != process->pid) { return false; }
    if (process->fd >= 0) { (void)close(process->fd); }
    process->fd = -1;
    *why_out = rc ? "isolate: ended; why is lost (SIGCHLD is ignored?)" : reason(&end);
    return true;
}

void stoa_isolate_process_kill(const stoa_isolate_process *process)
{
    if (process->fd >= 0) { (void)pidfd_send_signal(process->fd, SIGKILL, NULL, 0); }
}

const char *stoa_isolate_process_end(stoa_isolate_process *process)
{
    const char *why = "isolate: its process does not end";
    stoa_isolate_process_kill(process); /* what it ended by before stays */
    for (int i = 0; i < END_TRIES && !stoa_isolate_process_ended(process, &why); i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return why;
}
