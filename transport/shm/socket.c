/* shm/socket.c - UNIX sockets of whole messages (SOCK_SEQPACKET) for shm/socket.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX "stoa-shm/"
enum { BACKLOG = 128 };

static stoa_err fail_io(const char *what)
{
    char text[128];
    int why = errno;
    stoa_err err = why == EADDRINUSE ? STOA_E_EXISTS : why == EACCES || why == EPERM ? STOA_E_DENIED : STOA_E_IO;
    return STOA_FAIL(err, "%s: %s", what, strerror_r(why, text, sizeof text));
}

static stoa_err address_of(const char *name, struct sockaddr_un *to, socklen_t *to_bytes)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t name_bytes = strnlen(name, STOA_SHM_NAME_BYTES);
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (name_bytes == STOA_SHM_NAME_BYTES || name_bytes == 0) {
        return STOA_FAIL(STOA_E_INVALID, "the name is empty or too long");
    }
    if (name[0] == '/') {
        memcpy(to->sun_path, name, name_bytes);
        *to_bytes = sizeof *to;
        return STOA_OK;
    }
    if (strspn(name, plain) != name_bytes || name_bytes + sizeof PREFIX > sizeof to->sun_path) {
        return STOA_FAIL(STOA_E_INVALID, "'%s' is no name of letters, digits, '.', '_' and '-', and no path", name);
    }
    int length = snprintf(to->sun_path + 1, sizeof to->sun_path - 1, PREFIX "%s", name);
    *to_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    return STOA_OK;
}

stoa_err stoa_shm_name_check(const char *name)
{
    struct sockaddr_un to;
    socklen_t to_bytes;
    return address_of(name, &to, &to_bytes);
}

static stoa_err socket_new(int *fd_out)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) { return fail_io("no socket"); }
    *fd_out = fd;
    return STOA_OK;
}

/* --- finding each other */

/* Whether the path is a socket that nobody listens at. Its folder is locked, so nobody begins to either. */
static bool is_left_behind(const struct sockaddr_un *address, socklen_t address_bytes)
{
    struct stat is;
    int fd = -1;
    if (lstat(address->sun_path, &is) || !S_ISSOCK(is.st_mode) || socket_new(&fd)) { return false; }
    bool refused = connect(fd, (const struct sockaddr *)address, address_bytes) && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

static int bind_path(int fd, const struct sockaddr_un *address, socklen_t address_bytes)
{
    char path[sizeof address->sun_path];
    memcpy(path, address->sun_path, sizeof path);
    int folder = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) { return -1; }
    int rc = flock(folder, LOCK_EX);
    if (!rc && is_left_behind(address, address_bytes)) { rc = unlink(address->sun_path); }
    if (!rc) { rc = fchmod(fd, S_IRUSR | S_IWUSR); } /* of the socket to be, before anybody can find it */
    if (!rc) { rc = bind(fd, (const struct sockaddr *)address, address_bytes); }
    if (!rc) { rc = listen(fd, BACKLOG); }
    int why = errno;
    (void)close(folder);
    errno = why;
    return rc;
}

stoa_err stoa_shm_socket_listen(const char *name, int *fd_out)
{
    struct sockaddr_un address;
    socklen_t address_bytes;
    int fd = -1;
    stoa_err err = address_of(name, &address, &address_bytes);
    if (!err) { err = socket_new(&fd); }
    if (err) { return err; }
    int rc = name[0] == '/' ? bind_path(fd, &address, address_bytes)
                            : bind(fd, (const struct sockaddr *)&address, address_bytes) || listen(fd, BACKLOG);
    if (rc) {
        err = fail_io("cannot listen there");
        (void)close(fd);
        return err;
    }
    *fd_out = fd;
    return STOA_OK;
}

void stoa_shm_socket_unlisten(const char *name, int fd)
{
    if (fd < 0) { return; }
    if (name[0] == '/') { (void)unlink(name); } /* while it is ours: nobody clears a socket that listens */
    (void)close(fd);
}

stoa_err stoa_shm_socket_connect(const char *name, int *fd_out)
{
    struct sockaddr_un address;
    socklen_t address_bytes;
    int fd = -1;
    stoa_err err = address_of(name, &address, &address_bytes);
    if (!err) { err = socket_new(&fd); }
    if (err) { return err; }
    if (connect(fd, (const struct sockaddr *)&address, address_bytes)) {
        (void)close(fd);
        return STOA_E_AGAIN;
    }
    *fd_out = fd;
    return STOA_OK;
}

stoa_err stoa_shm_socket_accept(int listener, int *fd_out)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) { return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? STOA_E_AGAIN : STOA_E_IO; }
    *fd_out = fd;
    return STOA_OK;
}

stoa_err stoa_shm_socket_process(int fd, stoa_shm_process *out)
{
    struct ucred is;
    socklen_t is_bytes = sizeof is;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &is, &is_bytes)) { return fail_io("no credentials"); }
    *out = (stoa_shm_process){.pid = is.pid, .uid = is.uid};
    return STOA_OK;
}

/* --- talking */

typedef union ticket { /* a message's one descriptor */
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
} ticket;

bool stoa_shm_socket_say(int fd, const stoa_shm_note *note, int memory)
{
    ticket with = {0};
    stoa_shm_note copy = *note;
    struct iovec part = {.iov_base = &copy, .iov_len = sizeof copy};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (memory >= 0) {
        message.msg_control = with.bytes;
        message.msg_controllen = sizeof with.bytes;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head =
            (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof memory)};
        memcpy(CMSG_DATA(head), &memory, sizeof memory);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof copy;
}

void stoa_shm_socket_ring(int fd)
{
    uint8_t one = 1;
    (void)send(fd, &one, sizeof one, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The one descriptor that came along, or -1; more are closed, and *many_out says so. */
static int memory_of(struct msghdr *message, bool *many_out)
{
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    int fds[2] = {-1, -1}; /* there is room for no more than fill up a word */
    if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) { return -1; }
    size_t bytes = head->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(head), bytes < sizeof fds ? bytes : sizeof fds);
    *many_out = fds[1] >= 0;
    if (fds[1] >= 0) { (void)close(fds[1]); }
    return fds[0];
}

static ssize_t hear(int fd, struct msghdr *message)
{
    /* Who closes with something unread has us hear an error before what it said last. */
    ssize_t got = recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == ECONNRESET || errno == EINTR)) {
        got = recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    }
    return got;
}

stoa_shm_heard stoa_shm_socket_hear(int fd, stoa_shm_note *note_out, int *memory_out)
{
    ticket with = {0};
    stoa_shm_note note = {0};
    struct iovec part = {.iov_base = &note, .iov_len = sizeof note};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = with.bytes, .msg_controllen = sizeof with.bytes};
    ssize_t got = hear(fd, &message);
    if (got < 0) { return errno == EAGAIN || errno == EINTR ? STOA_SHM_NOTHING : STOA_SHM_GONE; }
    if (got == 0 && !message.msg_controllen) { return STOA_SHM_GONE; }
    bool many = false;
    int memory = memory_of(&message, &many);
    bool is_whole = !many && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    if (is_whole && got == 1 && memory < 0) { return STOA_SHM_RING; }
    if (is_whole && got == (ssize_t)sizeof note && note.magic == STOA_SHM_MAGIC) {
        *note_out = note;
        *memory_out = memory;
        return STOA_SHM_NOTE;
    }
    if (memory >= 0) { (void)close(memory); }
    return STOA_SHM_NOISE;
}

/* --- processes */

bool stoa_shm_process_is_stopped(pid_t pid)
{
    char path[32], text[256];
    if (pid <= 0) { return false; }
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return false; }
    ssize_t got = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (got <= 0) { return false; }
    text[got] = '\0';
    const char *name_end = strrchr(text, ')'); /* "pid (name) state ..." */
    return name_end && (strncmp(name_end, ") T", 3) == 0 || strncmp(name_end, ") t", 3) == 0);
}
