/* remote.c - the client's side of frame.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/remote.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

enum { GRACE_MS = 1000, READ_BYTES = 1 << 16, GREETING_MAX = 4096 };

struct stoa_remote {
    char path[512];
    int fd, interrupt_fd;
    uint64_t id;           /* of the last request */
    stoa_buf got;          /* bytes read and not consumed */
    size_t consumed_bytes; /* of got: the last answer */
    char name[64];
    uint64_t process; /* of the node: pid */
    bool restarted, known;
    stoa_json_parser *parser;
    void (*on_wait)(void *context);
    void *wait_context;
};

stoa_err stoa_remote_new(const char *path, int interrupt_fd, stoa_remote **out)
{
    stoa_remote *remote = calloc(1, sizeof *remote);
    stoa_err err = remote ? stoa_json_parser_new(GREETING_MAX, &remote->parser) : STOA_E_NOMEM;
    if (err || strlen(path) >= sizeof remote->path) {
        free(remote);
        return STOA_FAIL(STOA_E_NOMEM, "socket path '%.64s'", path);
    }
    memcpy(remote->path, path, strlen(path) + 1);
    remote->fd = -1;
    remote->interrupt_fd = interrupt_fd;
    remote->got = STOA_BUF_GROWING;
    *out = remote;
    return STOA_OK;
}

void stoa_remote_on_wait(stoa_remote *remote, void (*on_wait)(void *context), void *context)
{
    remote->on_wait = on_wait;
    remote->wait_context = context;
}

stoa_err stoa_remote_beside(const stoa_remote *remote, stoa_remote **out)
{
    return stoa_remote_new(remote->path, remote->interrupt_fd, out);
}

static void detach(stoa_remote *remote)
{
    if (remote->fd >= 0) { (void)close(remote->fd); }
    remote->fd = -1;
    remote->consumed_bytes = 0;
    stoa_buf_clear(&remote->got);
}

void stoa_remote_free(stoa_remote *remote)
{
    if (!remote) { return; }
    detach(remote);
    stoa_buf_deinit(&remote->got);
    stoa_json_parser_free(remote->parser);
    free(remote);
}

const char *stoa_remote_name(const stoa_remote *remote)
{
    return remote->name;
}

bool stoa_remote_attached(const stoa_remote *remote)
{
    return remote->fd >= 0;
}

bool stoa_remote_restarted(stoa_remote *remote)
{
    bool restarted = remote->restarted;
    remote->restarted = false;
    return restarted;
}

/* --- bytes */

static uint64_t now_ms(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real) / STOA_MS(1);
}

static stoa_err gone(void)
{
    return STOA_FAIL(STOA_E_UNAVAILABLE, "the node has closed the connection");
}

/* Wait until the socket is ready for events. */
static stoa_err await(stoa_remote *remote, short events, uint64_t until_ms)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = remote->fd, .events = events}, {.fd = remote->interrupt_fd, .events = POLLIN}};
        uint64_t now = now_ms(), left = until_ms > now ? until_ms - now : 0;
        bool sliced = remote->on_wait && left > STOA_WAIT_MS;
        int ready = poll(fds, 2, (int)(sliced ? STOA_WAIT_MS : left));
        if (ready < 0 && errno != EINTR) { return STOA_FAIL(STOA_E_IO, "poll: %s", strerror(errno)); }
        if (ready > 0 && fds[1].revents) { return STOA_FAIL(STOA_E_CANCELLED, "interrupted"); }
        if (ready > 0) { return STOA_OK; }
        if (ready == 0 && now_ms() >= until_ms) { return STOA_FAIL(STOA_E_TIMEOUT, "no answer in time"); }
        if (ready == 0 && sliced) { remote->on_wait(remote->wait_context); }
    }
}

static stoa_err send_all(stoa_remote *remote, const stoa_buf *frame, uint64_t until_ms)
{
    for (size_t at = 0; at < frame->used_bytes;) {
        ssize_t sent = send(remote->fd, frame->at + at, frame->used_bytes - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) { at += (size_t)sent; }
        if (sent >= 0 || errno == EINTR) { continue; }
        if (errno != EAGAIN) { return gone(); }
        stoa_err err = await(remote, POLLOUT, until_ms);
        if (err) { return err; }
    }
    return STOA_OK;
}

static stoa_err read_some(stoa_remote *remote, uint64_t until_ms)
{
    char bytes[READ_BYTES];
    stoa_err err = await(remote, POLLIN, until_ms);
    if (err) { return err; }
    ssize_t size = recv(remote->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) { return STOA_OK; }
    if (size <= 0) { return gone(); }
    stoa_buf_put(&remote->got, bytes, (size_t)size);
    return remote->got.cut ? STOA_FAIL(STOA_E_NOMEM, "an answer") : STOA_OK;
}

/* Forget the answer given out last. */
static void consume(stoa_remote *remote)
{
    size_t left = remote->got.used_bytes - remote->consumed_bytes;
    if (left && remote->consumed_bytes) { memmove(remote->got.at, remote->got.at + remote->consumed_bytes, left); }
    remote->got.used_bytes = left;
    remote->consumed_bytes = 0;
}

static stoa_err read_frame(stoa_remote *remote, uint64_t until_ms, stoa_answer *out)
{
    consume(remote);
    for (;;) {
        size_t have = remote->got.used_bytes;
        size_t want = have < STOA_FRAME_HEAD ? 0 : stoa_frame_bytes(remote->got.at);
        if (want > STOA_ANSWER_MAX) { return STOA_FAIL(STOA_E_MALFORMED, "this is not a node's admin socket"); }
        if (have >= STOA_FRAME_HEAD && have - STOA_FRAME_HEAD >= want) {
            remote->consumed_bytes = STOA_FRAME_HEAD + want;
            return stoa_answer_read(remote->got.at + STOA_FRAME_HEAD, want, out);
        }
        stoa_err err = read_some(remote, until_ms);
        if (err) { return err; }
    }
}

/* --- attaching */

static stoa_err explain_connect(const stoa_remote *remote, int failed)
{
    if (failed == ENOENT || failed == ECONNREFUSED || failed == ENOTDIR) {
        return STOA_FAIL(STOA_E_UNAVAILABLE,
                         "no node at %s; start one with stoad, or name another with --data or --socket", remote->path);
    }
    if (failed == EACCES || failed == EPERM) {
        return STOA_FAIL(STOA_E_DENIED, "%s belongs to another user; only that user and root may attach", remote->path);
    }
    return STOA_FAIL(STOA_E_UNAVAILABLE, "%s: %s", remote->path, strerror(failed));
}

static stoa_err connect_to(stoa_remote *remote)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(remote->path) >= sizeof address.sun_path) {
        return STOA_FAIL(STOA_E_UNAVAILABLE, "the socket's path has %zu bytes, a UNIX socket's at most %zu: %s",
                         strlen(remote->path), sizeof address.sun_path - 1, remote->path);
    }
    memcpy(address.sun_path, remote->path, strlen(remote->path) + 1);
    remote->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (remote->fd < 0) { return STOA_FAIL(STOA_E_IO, "socket: %s", strerror(errno)); }
    while (connect(remote->fd, (const struct sockaddr *)(const void *)&address, sizeof address)) {
        if (errno != EINTR) { return explain_connect(remote, errno); }
    }
    return STOA_OK;
}

/* {"node":{"name":"stoa","version":"0.1.0","process":123}} */
static void learn(stoa_remote *remote, const stoa_answer *greeting)
{
    stoa_json root, node, value;
    const char *name;
    size_t size_bytes;
    uint64_t process = 0;
    if (stoa_json_parse(remote->parser, greeting->document, greeting->document_bytes, &root)) { return; }
    if (stoa_json_get(root, "node", &node)) { return; }
    if (!stoa_json_get(node, "process", &value)) { (void)stoa_json_uint(value, &process); }
    if (!stoa_json_get(node, "name", &value) && !stoa_json_text(value, &name, &size_bytes) &&
        size_bytes < sizeof remote->name) {
        memcpy(remote->name, name, size_bytes);
        remote->name[size_bytes] = '\0';
    }
    remote->restarted = remote->restarted || (remote->known && process != remote->process);
    remote->process = process;
    remote->known = true;
}

static stoa_err refusal(const stoa_answer *answer)
{
    return STOA_FAIL(answer->err, "%.*s", (int)answer->text_bytes, answer->text);
}

stoa_err stoa_remote_attach(stoa_remote *remote, uint64_t timeout_ms)
{
    stoa_answer greeting;
    if (remote->fd >= 0) { return STOA_OK; }
    stoa_err err = connect_to(remote);
    if (!err) { err = read_frame(remote, now_ms() + timeout_ms, &greeting); }
    if (!err && greeting.err) { err = refusal(&greeting); }
    if (err) {
        detach(remote);
        return err;
    }
    learn(remote, &greeting);
    return STOA_OK;
}

/* --- asking */

static stoa_err make_request(stoa_remote *remote, const char *const *words, uint32_t count, bool write,
                             uint64_t timeout_ms, stoa_buf *frame)
{
    static admin_request request; /* 4 KiB of words; one thread */
    request = (admin_request){.version = STOA_FRAME_VERSION, .id = ++remote->id, .write = write,
                              .timeout_ms = timeout_ms};
    if (count > STOA_WORDS_MAX) { return STOA_FAIL(STOA_E_TOO_LARGE, "%u words", count); }
    for (uint32_t i = 0; i < count; i++) {
        if (STOA_TEXT_SETZ(&request.words.at[i], words[i])) { return STOA_FAIL(STOA_E_TOO_LARGE, "a word"); }
    }
    request.words.count = count;
    return stoa_request_write(&request, frame);
}

/* Whether the node has hung up, or says things unasked, since the last answer. */
static bool broken(stoa_remote *remote)
{
    struct pollfd fd = {.fd = remote->fd, .events = POLLIN};
    return remote->fd >= 0 && poll(&fd, 1, 0) > 0;
}

static stoa_err ask_once(stoa_remote *remote, const stoa_buf *frame, uint64_t timeout_ms, stoa_answer *out)
{
    if (broken(remote)) { detach(remote); }
    stoa_err err = stoa_remote_attach(remote, timeout_ms);
    uint64_t until_ms = now_ms() + timeout_ms + GRACE_MS;
    if (!err) { err = send_all(remote, frame, until_ms); }
    if (!err) { err = read_frame(remote, until_ms, out); }
    if (!err && out->id == 0 && out->err) { err = refusal(out); }
    if (!err && out->id != remote->id) { err = STOA_FAIL(STOA_E_MALFORMED, "an answer to another question"); }
    if (err) { detach(remote); }
    return err;
}

stoa_err stoa_remote_ask(stoa_remote *remote, const char *const *words, uint32_t count, bool write, uint64_t timeout_ms,
                         stoa_answer *out)
{
    stoa_buf frame = STOA_BUF_GROWING;
    stoa_err err = make_request(remote, words, count, write, timeout_ms, &frame);
    if (!err) {
        bool was = stoa_remote_attached(remote);
        err = ask_once(remote, &frame, timeout_ms, out);
        bool lost = err == STOA_E_UNAVAILABLE && was;
        if (lost && !write) { err = ask_once(remote, &frame, timeout_ms, out); }
        if (lost && write) { err = STOA_FAIL(err, "the connection broke; whether it was done is not known"); }
    }
    stoa_buf_deinit(&frame);
    return err;
}
