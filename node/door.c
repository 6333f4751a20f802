/* door.c - sockets, frames and runners of the admin door. See door.h.
 *
 * A connection is always in one of three states: reading a request, waiting for its command, writing an answer. It
 * reads nothing while a command is under way, so a peer's further requests wait in the socket.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/door.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/document.h"
#include "base/clock.h"
#include "base/log.h"

enum {
    JOBS_MAX = 2 * STOA_DOOR_CONNECTIONS, /* under way: those waited for, and those given up */
    HALF_FRAME_MS = 5000,
    WRITE_MS = 10000,
    TIMEOUT_MS_DEFAULT = 5000,
    BACKLOG = 16,
    DEAF_MS = 100, /* after an accept that failed: no descriptors */
};

typedef enum refusal { DENIED, FULL, MALFORMED, TOO_LARGE, VERSION, SLOW, REFUSALS } refusal;
static const char *const refusal_names[REFUSALS] = {"denied", "full", "malformed", "too_large", "version", "slow"};

typedef struct job {
    struct job *next;
    uint64_t request; /* its id */
    admin_request asked;
    char words[STOA_WORDS_MAX][STOA_WORD_MAX + 1];
    const char *at[STOA_WORDS_MAX];
    stoa_door_call call;
    void *memory;
    stoa_err err;
    char text[512];
} job;

typedef struct job_list {
    job *head, **tail;
} job_list;

typedef enum state { FREE, READING, WAITING, WRITING } state;

typedef struct connection {
    state state;
    int fd;
    uint8_t in[STOA_FRAME_HEAD + STOA_REQUEST_MAX];
    size_t in_bytes;
    stoa_buf out;
    size_t sent_bytes;
    uint64_t due_ns; /* half a frame, the command, the answer: when it is too late; 0: no limit */
    bool last;       /* close when the answer has gone out */
    job *waits_for; /* NULL in every other state: an answer that comes then is nobody's */
    void *memory;
} connection;

struct stoa_door {
    stoa_door_options options;
    char path[108], node_name[64];
    dev_t device; /* of the socket's file */
    ino_t inode;
    int listener, wake;
    connection connections[STOA_DOOR_CONNECTIONS];
    uint64_t deaf_until_ns;
    uint32_t jobs;       /* existing */
    admin_request asked; /* scratch */
    stoa_counter *opened, *commands, *refused[REFUSALS];
    stoa_counter unkept; /* where there are no metrics */

    pthread_t thread, runners[STOA_DOOR_RUNNERS];
    uint32_t runner_count;
    bool threaded;
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t work;
    job_list todo, done;
    bool stop;
};

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

static void ring(stoa_door *door)
{
    uint64_t one = 1;
    ssize_t written = write(door->wake, &one, sizeof one);
    (void)written; /* a full counter rings as well */
}

static void push(job_list *list, job *j)
{
    j->next = NULL;
    *list->tail = j;
    list->tail = &j->next;
}

static job *pop(job_list *list)
{
    job *j = list->head;
    if (!j) { return NULL; }
    list->head = j->next;
    if (!list->head) { list->tail = &list->head; }
    return j;
}

/* --- runners */

static void free_job(job *j)
{
    stoa_buf_deinit(&j->call.document);
    stoa_buf_deinit(&j->call.view);
    free(j->memory);
    free(j);
}

/* The innermost sentence of the trail, without its place in the source. */
static void keep_sentence(job *j)
{
    const char *trail = stoa_err_trail();
    size_t size_bytes = strcspn(trail, "\n");
    size_t name_bytes = strlen(stoa_err_name(j->err));
    stoa_buf text = STOA_BUF_FIXED(j->text);
    bool ours = strncmp(trail, stoa_err_name(j->err), name_bytes) == 0 && trail[name_bytes] == ' ';
    const char *mark = ours ? memmem(trail, size_bytes, ": ", 2) : NULL;
    if (mark) {
        stoa_buf_put(&text, mark + 2, size_bytes - (size_t)(mark + 2 - trail));
    } else {
        stoa_buf_puts(&text, stoa_err_text(j->err));
    }
}

static void run_job(stoa_door *door, job *j)
{
    const char *words[STOA_WORDS_MAX];
    uint32_t count = j->asked.words.count;
    for (uint32_t i = 0; i < count; i++) { words[i] = j->words[i]; }
    j->err = stoa_command_resolve(words, count, &j->call.said);
    if (!j->err && stoa_command_local(j->call.said.command)) {
        j->err = STOA_FAIL(STOA_E_INVALID, "'%s' is the REPL's own", j->call.said.command->name);
    }
    if (!j->err && stoa_command_writes(&j->call.said) && !j->asked.write) {
        j->err = STOA_FAIL(STOA_E_DENIED, "this changes the node: attach with stoa --write");
    }
    if (!j->err) { j->err = door->options.run(door->options.context, &j->call); }
    if (!j->err && (j->call.document.cut || j->call.view.cut)) {
        j->err = STOA_FAIL(STOA_E_NOMEM, "no memory for the answer");
    }
    if (j->err) { keep_sentence(j); }
}

static void *runner_main(void *argument)
{
    stoa_door *door = argument;
    (void)pthread_mutex_lock(&door->lock);
    while (!door->stop) {
        job *j = pop(&door->todo);
        if (!j) {
            (void)pthread_cond_wait(&door->work, &door->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&door->lock);
        if (now_ns() < j->call.deadline_ns) {
            run_job(door, j);
        } else {
            j->err = STOA_E_TIMEOUT;
        }
        (void)pthread_mutex_lock(&door->lock);
        push(&door->done, j);
        ring(door);
    }
    (void)pthread_mutex_unlock(&door->lock);
    return NULL;
}

/* --- answers */

static void hang_up(connection *c)
{
    if (c->waits_for) { atomic_store(&c->waits_for->call.left, true); }
    (void)close(c->fd);
    stoa_buf_deinit(&c->out);
    free(c->memory);
    *c = (connection){.state = FREE, .fd = -1};
}

/* Send what can be sent; at the end go on reading, or hang up. */
static void write_on(connection *c)
{
    while (c->sent_bytes < c->out.used_bytes) {
        ssize_t sent = send(c->fd, c->out.at + c->sent_bytes, c->out.used_bytes - c->sent_bytes,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) { continue; }
        if (sent < 0 && errno == EAGAIN) { return; }
        if (sent <= 0) {
            hang_up(c);
            return;
        }
        c->sent_bytes += (size_t)sent;
    }
    if (c->last) {
        hang_up(c);
        return;
    }
    stoa_buf_deinit(&c->out); /* a large answer's memory is not kept */
    c->out = STOA_BUF_GROWING;
    c->sent_bytes = 0;
    c->state = READING;
    c->due_ns = c->in_bytes ? now_ns() + STOA_MS(HALF_FRAME_MS) : 0;
}

static void answer(connection *c, const stoa_answer *with)
{
    stoa_err err = stoa_answer_write(with, &c->out);
    if (err) {
        static const char text[] = "the answer is too large: ask for less, with a pattern or a number";
        stoa_answer instead = {.id = with->id, .err = err, .cls = stoa_exit_of(err), .text = text,
                               .text_bytes = sizeof text - 1,
                               .document = "", .view = ""};
        stoa_buf_clear(&c->out);
        if (stoa_answer_write(&instead, &c->out)) {
            hang_up(c);
            return;
        }
    }
    c->state = WRITING;
    c->due_ns = now_ns() + STOA_MS(WRITE_MS);
    write_on(c);
}

static void answer_error(connection *c, uint64_t id, stoa_err err, const char *text)
{
    answer(c, &(stoa_answer){.id = id, .err = err, .cls = stoa_exit_of(err), .text = text, .text_bytes = strlen(text),
                             .document = "", .view = ""});
}

/* Say why once, then hang up. */
static void refuse(stoa_door *door, connection *c, refusal why, stoa_err err, const char *text)
{
    stoa_counter_add(door->refused[why], 1);
    c->last = true;
    answer_error(c, 0, err, text);
}

static void greet(const stoa_door *door, connection *c)
{
    stoa_buf text = STOA_BUF_GROWING;
    stoa_doc doc = stoa_doc_to(&text);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "node", '{');
    stoa_doc_text(&doc, "name", door->node_name);
    stoa_doc_text(&doc, "version", STOA_VERSION);
    stoa_doc_uint(&doc, "process", (uint64_t)getpid());
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    answer(c, &(stoa_answer){.text = "", .document = text.cut ? "" : text.at,
                             .document_bytes = text.cut ? 0 : text.used_bytes,
                             .view = ""});
    stoa_buf_deinit(&text);
}

/* --- requests */

static job *new_job(stoa_door *door, connection *c, const admin_request *asked)
{
    job *j = door->jobs < JOBS_MAX ? calloc(1, sizeof *j) : NULL;
    if (!j) { return NULL; }
    uint64_t timeout_ms = asked->timeout_ms ? asked->timeout_ms : TIMEOUT_MS_DEFAULT;
    if (timeout_ms > STOA_TIMEOUT_MS_MAX) { timeout_ms = STOA_TIMEOUT_MS_MAX; }
    j->asked = *asked;
    for (uint32_t i = 0; i < asked->words.count; i++) {
        memcpy(j->words[i], asked->words.at[i].at, asked->words.at[i].len);
    }
    j->request = asked->id;
    j->memory = c->memory; /* comes back with the answer */
    c->memory = NULL;
    j->call = (stoa_door_call){.deadline_ns = now_ns() + STOA_MS(timeout_ms),
                               .document = STOA_BUF_GROWING,
                               .view = STOA_BUF_GROWING,
                               .memory = &j->memory};
    door->jobs++;
    return j;
}

static void take_request(stoa_door *door, connection *c, const admin_request *asked)
{
    job *j = new_job(door, c, asked);
    if (!j) {
        answer_error(c, asked->id, STOA_E_UNAVAILABLE, "too many commands are under way; some do not come to an end");
        return;
    }
    stoa_counter_add(door->commands, 1);
    c->state = WAITING;
    c->waits_for = j;
    c->due_ns = j->call.deadline_ns;
    (void)pthread_mutex_lock(&door->lock);
    push(&door->todo, j);
    (void)pthread_cond_signal(&door->work);
    (void)pthread_mutex_unlock(&door->lock);
}

/* Whether there is something to be done without hearing more. */
static bool has_frame(const connection *c)
{
    if (c->state != READING || c->in_bytes < STOA_FRAME_HEAD) { return false; }
    uint32_t size = stoa_frame_bytes(c->in);
    return size > STOA_REQUEST_MAX || size <= c->in_bytes - STOA_FRAME_HEAD;
}

/* Take the frame that in begins with. */
static void take_frame(stoa_door *door, connection *c)
{
    uint32_t size = stoa_frame_bytes(c->in);
    if (size > STOA_REQUEST_MAX) {
        refuse(door, c, TOO_LARGE, STOA_E_TOO_LARGE, "a request has at most 8192 bytes");
        return;
    }
    stoa_err err = stoa_request_read(c->in + STOA_FRAME_HEAD, size, &door->asked);
    c->in_bytes -= STOA_FRAME_HEAD + size;
    memmove(c->in, c->in + STOA_FRAME_HEAD + size, c->in_bytes);
    c->due_ns = 0;
    if (err == STOA_E_VERSION) {
        refuse(door, c, VERSION, err, "this node speaks version 1 of the admin protocol");
    } else if (err) {
        refuse(door, c, MALFORMED, STOA_E_MALFORMED, "not a request of the admin protocol");
    } else {
        take_request(door, c, &door->asked);
    }
}

static void read_on(connection *c)
{
    ssize_t size = recv(c->fd, c->in + c->in_bytes, sizeof c->in - c->in_bytes, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) { return; }
    if (size <= 0) {
        hang_up(c);
        return;
    }
    if (!c->in_bytes) { c->due_ns = now_ns() + STOA_MS(HALF_FRAME_MS); }
    c->in_bytes += (size_t)size;
}

/* --- who comes in */

static bool may_enter(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size)) { return false; }
    return peer.uid == geteuid() || peer.uid == 0;
}

/* A connection that there is no place for: told so in one write, which a fresh socket always takes. */
static void turn_away(stoa_door *door, int fd)
{
    static const char text[] = "too many are attached to this node already";
    stoa_buf frame = STOA_BUF_GROWING;
    stoa_answer no = {.err = STOA_E_FULL, .cls = STOA_EXIT_FAILED, .text = text, .text_bytes = sizeof text - 1,
                      .document = "", .view = ""};
    stoa_counter_add(door->refused[FULL], 1);
    if (!stoa_answer_write(&no, &frame)) { (void)send(fd, frame.at, frame.used_bytes, MSG_NOSIGNAL | MSG_DONTWAIT); }
    stoa_buf_deinit(&frame);
    (void)close(fd);
}

static void let_in(stoa_door *door)
{
    int fd = accept4(door->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        door->deaf_until_ns = errno == EAGAIN || errno == ECONNABORTED ? 0 : now_ns() + STOA_MS(DEAF_MS);
        return;
    }
    connection *c = door->connections;
    while (c < door->connections + STOA_DOOR_CONNECTIONS && c->state != FREE) { c++; }
    if (c == door->connections + STOA_DOOR_CONNECTIONS) {
        turn_away(door, fd);
        return;
    }
    *c = (connection){.state = READING, .fd = fd, .out = STOA_BUF_GROWING};
    stoa_counter_add(door->opened, 1);
    if (may_enter(fd)) {
        greet(door, c);
    } else {
        stoa_log(STOA_LOG_WARN, "admin_denied");
        refuse(door, c, DENIED, STOA_E_DENIED, "only the node's own user and root may attach");
    }
}

/* --- the thread */

static void finish(stoa_door *door, job *j)
{
    connection *c = door->connections;
    while (c < door->connections + STOA_DOOR_CONNECTIONS && c->waits_for != j) { c++; }
    if (c < door->connections + STOA_DOOR_CONNECTIONS) {
        c->waits_for = NULL;
        c->memory = j->memory;
        j->memory = NULL;
        const stoa_buf *document = &j->call.document, *view = &j->call.view;
        answer(c, &(stoa_answer){.id = j->request, .err = j->err, .cls = stoa_exit_of(j->err),
                                 .text = j->text, .text_bytes = strlen(j->text),
                                 .document = document->used_bytes ? document->at : "",
                                 .document_bytes = document->used_bytes,
                                 .view = view->used_bytes ? view->at : "", .view_bytes = view->used_bytes});
    }
    door->jobs--;
    free_job(j);
}

static void finish_all(stoa_door *door)
{
    uint64_t rings;
    ssize_t got = read(door->wake, &rings, sizeof rings);
    (void)got;
    for (;;) {
        (void)pthread_mutex_lock(&door->lock);
        job *j = pop(&door->done);
        (void)pthread_mutex_unlock(&door->lock);
        if (!j) { return; }
        finish(door, j);
    }
}

static void too_late(stoa_door *door, connection *c)
{
    if (c->state == WAITING) {
        uint64_t id = c->waits_for->request;
        c->waits_for = NULL;
        answer_error(c, id, STOA_E_TIMEOUT, "the command was not done in time; see --timeout");
    } else {
        stoa_counter_add(door->refused[SLOW], 1);
        hang_up(c);
    }
}

static void step(stoa_door *door, connection *c, short events)
{
    if (c->state == WRITING && events) {
        write_on(c);
    } else if (c->state == READING && events) {
        read_on(c);
    } else if (c->state == WAITING && (events & (POLLHUP | POLLERR))) {
        hang_up(c); /* nobody waits for the answer */
    }
    if (has_frame(c)) { take_frame(door, c); }
    if (c->state != FREE && c->due_ns && now_ns() >= c->due_ns) { too_late(door, c); }
}

static int wait_ms(const stoa_door *door)
{
    uint64_t next = door->deaf_until_ns ? door->deaf_until_ns : UINT64_MAX, now = now_ns();
    for (size_t i = 0; i < STOA_DOOR_CONNECTIONS; i++) {
        const connection *c = &door->connections[i];
        if (has_frame(c)) { return 0; }
        if (c->state != FREE && c->due_ns && c->due_ns < next) { next = c->due_ns; }
    }
    if (next == UINT64_MAX) { return -1; }
    return next <= now ? 0 : (int)((next - now) / STOA_MS(1)) + 1;
}

static bool stopping(stoa_door *door)
{
    (void)pthread_mutex_lock(&door->lock);
    bool stop = door->stop;
    (void)pthread_mutex_unlock(&door->lock);
    return stop;
}

static void *door_main(void *argument)
{
    static const short wanted[] = {[FREE] = 0, [READING] = POLLIN, [WAITING] = 0, [WRITING] = POLLOUT};
    stoa_door *door = argument;
    while (!stopping(door)) {
        if (door->deaf_until_ns && now_ns() >= door->deaf_until_ns) { door->deaf_until_ns = 0; }
        struct pollfd fds[STOA_DOOR_CONNECTIONS + 2] = {{.fd = door->deaf_until_ns ? -1 : door->listener,
                                                         .events = POLLIN},
                                                        {.fd = door->wake, .events = POLLIN}};
        for (size_t i = 0; i < STOA_DOOR_CONNECTIONS; i++) {
            const connection *c = &door->connections[i];
            fds[i + 2] = (struct pollfd){.fd = c->state == FREE ? -1 : c->fd, .events = wanted[c->state]};
        }
        (void)poll(fds, STOA_DOOR_CONNECTIONS + 2, wait_ms(door));
        for (size_t i = 0; i < STOA_DOOR_CONNECTIONS; i++) { step(door, &door->connections[i], fds[i + 2].revents); }
        if (fds[1].revents) { finish_all(door); }
        if (fds[0].revents) { let_in(door); }
    }
    return NULL;
}

/* --- opening */

/* Whether nobody listens at the address, though there is a socket. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat file;
    if (lstat(address->sun_path, &file) || !S_ISSOCK(file.st_mode)) { return false; }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) { return false; }
    bool stale = connect(fd, (const struct sockaddr *)(const void *)address, sizeof *address) && errno == ECONNREFUSED;
    (void)close(fd);
    return stale;
}

static stoa_err bind_to(stoa_door *door, const struct sockaddr_un *address)
{
    const struct sockaddr *to = (const struct sockaddr *)(const void *)address;
    int failed = bind(door->listener, to, sizeof *address) ? errno : 0;
    if (failed == EADDRINUSE && is_stale(address)) {
        (void)unlink(address->sun_path);
        failed = bind(door->listener, to, sizeof *address) ? errno : 0;
    }
    if (!failed) { return STOA_OK; }
    if (failed == EADDRINUSE) {
        return STOA_FAIL(STOA_E_EXISTS, "admin socket %s: another node listens there", door->path);
    }
    stoa_err err = failed == EACCES || failed == EPERM ? STOA_E_DENIED : STOA_E_IO;
    return STOA_FAIL(err, "admin socket %s: %s", door->path, strerror(failed));
}

static stoa_err start_listening(stoa_door *door)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat file;
    memcpy(address.sun_path, door->path, strlen(door->path) + 1);
    door->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    door->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door->wake < 0 || door->listener < 0) { return STOA_FAIL(STOA_E_IO, "admin socket: %s", strerror(errno)); }
    (void)fchmod(door->listener, 0600); /* bind gives its file this mode: at no moment is it open to others */
    stoa_err err = bind_to(door, &address);
    if (err) { return err; }
    if (stat(door->path, &file) || listen(door->listener, BACKLOG)) {
        return STOA_FAIL(STOA_E_IO, "admin socket %s: %s", door->path, strerror(errno));
    }
    door->device = file.st_dev;
    door->inode = file.st_ino;
    return STOA_OK;
}

static stoa_err start_metrics(stoa_door *door)
{
    stoa_metrics *metrics = door->options.metrics;
    door->opened = door->commands = &door->unkept;
    for (int i = 0; i < REFUSALS; i++) { door->refused[i] = &door->unkept; }
    if (!metrics) { return STOA_OK; }
    stoa_err err = stoa_metrics_counter(metrics, "stoa_door_connections_total", "", "Connections to the admin door.",
                                        &door->opened);
    if (!err) {
        err = stoa_metrics_counter(metrics, "stoa_door_commands_total", "", "Admin commands taken.", &door->commands);
    }
    for (int i = 0; i < REFUSALS && !err; i++) {
        char labels[64];
        stoa_buf text = STOA_BUF_FIXED(labels);
        stoa_metrics_label(&text, "why", refusal_names[i]);
        err = stoa_metrics_counter(metrics, "stoa_door_refused_total", labels, "Connections the admin door cut off.",
                                   &door->refused[i]);
    }
    return err;
}

static stoa_err start_threads(stoa_door *door)
{
    int failed = 0;
    while (door->runner_count < STOA_DOOR_RUNNERS && !failed) {
        failed = pthread_create(&door->runners[door->runner_count], NULL, runner_main, door);
        if (!failed) { (void)pthread_setname_np(door->runners[door->runner_count++], "stoa-admin-run"); }
    }
    if (!failed) { failed = pthread_create(&door->thread, NULL, door_main, door); }
    if (failed) { return STOA_FAIL(STOA_E_IO, "thread of the admin door: %s", strerror(failed)); }
    (void)pthread_setname_np(door->thread, "stoa-admin");
    door->threaded = true;
    return STOA_OK;
}

stoa_err stoa_door_listen(const stoa_door_options *options, stoa_door **out)
{
    size_t size_bytes = strlen(options->path);
    if (!size_bytes || size_bytes >= sizeof ((stoa_door *)0)->path) {
        return STOA_FAIL(STOA_E_INVALID, "admin socket %s: a UNIX socket's path has 1 to 107 bytes; see admin.socket",
                         options->path);
    }
    stoa_door *door = calloc(1, sizeof *door);
    if (!door) { return STOA_FAIL(STOA_E_NOMEM, "admin door"); }
    stoa_buf name = STOA_BUF_FIXED(door->node_name);
    stoa_buf_puts(&name, options->node_name);
    door->options = *options;
    memcpy(door->path, options->path, size_bytes);
    door->listener = door->wake = -1;
    door->todo.tail = &door->todo.head;
    door->done.tail = &door->done.head;
    (void)pthread_mutex_init(&door->lock, NULL);
    (void)pthread_cond_init(&door->work, NULL);
    stoa_err err = start_metrics(door);
    if (!err) { err = start_listening(door); }
    if (!err) { err = start_threads(door); }
    if (err) {
        stoa_door_close(door);
        return err;
    }
    *out = door;
    return STOA_OK;
}

/* --- closing */

static void remove_socket(const stoa_door *door)
{
    struct stat file;
    if (door->inode && stat(door->path, &file) == 0 && file.st_dev == door->device && file.st_ino == door->inode) {
        (void)unlink(door->path);
    }
}

static void free_jobs(job_list *list)
{
    for (job *j = pop(list); j; j = pop(list)) { free_job(j); }
}

void stoa_door_close(stoa_door *door)
{
    if (!door) { return; }
    (void)pthread_mutex_lock(&door->lock);
    door->stop = true;
    (void)pthread_cond_broadcast(&door->work);
    (void)pthread_mutex_unlock(&door->lock);
    if (door->wake >= 0) { ring(door); }
    if (door->threaded) { (void)pthread_join(door->thread, NULL); }
    for (size_t i = 0; i < STOA_DOOR_CONNECTIONS; i++) {
        if (door->connections[i].state != FREE) { hang_up(&door->connections[i]); }
    }
    for (uint32_t i = 0; i < door->runner_count; i++) { (void)pthread_join(door->runners[i], NULL); }
    free_jobs(&door->todo);
    free_jobs(&door->done);
    remove_socket(door);
    if (door->listener >= 0) { (void)close(door->listener); }
    if (door->wake >= 0) { (void)close(door->wake); }
    (void)pthread_cond_destroy(&door->work);
    (void)pthread_mutex_destroy(&door->lock);
    free(door);
}
