/* door_test.c - goal: the door lets in whom it should, answers every request once and in order, and is never held up or
 * confused by a peer or by a command. Method: a real door with commands of the test's own, and clients that speak raw
 * bytes: cut in pieces, in bursts, broken, too large, silent, of another user; commands that do not come to an end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/document.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/wire.h"

enum { SEED = 20261123, WAIT_MS = 20000, OTHER_USER = 65534, LARGE = 3 << 20 };

/* --- commands of the test: `actor NAME` does what NAME says */

typedef struct world {
    char folder[64], path[96];
    stoa_metrics *metrics;
    stoa_door *door;
    _Atomic int running, ran, held; /* held: commands wait until it is 0 */
} world;

static void pause_ms(long ms)
{
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
}

static stoa_err answer_name(stoa_door_call *call, const char *name)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_text(&doc, "name", name);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields .: name");
    return STOA_OK;
}

static stoa_err answer_count(stoa_door_call *call)
{
    uint64_t *count = *call->memory;
    if (!count) { count = *call->memory = calloc(1, sizeof *count); }
    stoa_buf_printf(&call->document, "{\"count\":%llu}", (unsigned long long)++*count);
    return STOA_OK;
}

static stoa_err answer_large(stoa_door_call *call, size_t size_bytes)
{
    stoa_buf_puts(&call->document, "\"");
    for (size_t i = 0; i < size_bytes; i += 64) {
        stoa_buf_puts(&call->document, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    }
    stoa_buf_puts(&call->document, "\"");
    return STOA_OK;
}

static stoa_err run(void *context, stoa_door_call *call)
{
    world *w = context;
    const char *name = call->said.count ? call->said.args[0] : "";
    atomic_fetch_add(&w->running, 1);
    while (strcmp(name, "hold") == 0 && atomic_load(&w->held)) { pause_ms(1); }
    while (strcmp(name, "patient") == 0 && !atomic_load(&call->left)) { pause_ms(1); }
    atomic_fetch_sub(&w->running, 1);
    atomic_fetch_add(&w->ran, 1);
    if (strcmp(name, "count") == 0) { return answer_count(call); }
    if (strcmp(name, "large") == 0) { return answer_large(call, LARGE); }
    if (strcmp(name, "huge") == 0) { return answer_large(call, STOA_ANSWER_MAX); }
    if (strcmp(name, "fail") == 0) { return STOA_FAIL(STOA_E_NOT_FOUND, "no actor 'fail'; did you mean: nothing"); }
    if (strcmp(name, "bare") == 0) { return STOA_E_STALE; }
    return answer_name(call, name);
}

/* --- a client that speaks bytes */

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)(const void *)&address, sizeof address)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* 1: size bytes came; 0: the other side has closed before; -1: nothing for too long. */
static int read_exactly(int fd, void *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, WAIT_MS) <= 0) { return -1; }
        ssize_t got = read(fd, (char *)bytes + at, size - at);
        if (got <= 0) { return 0; }
        at += (size_t)got;
    }
    return 1;
}

static uint8_t *frame_bytes;

static int try_answer(int fd, stoa_answer *out)
{
    uint8_t head[STOA_FRAME_HEAD];
    int there = read_exactly(fd, head, sizeof head);
    if (there != 1) { return there; }
    uint32_t size = stoa_frame_bytes(head);
    assert_true(size <= STOA_ANSWER_MAX);
    free(frame_bytes);
    frame_bytes = malloc(size + 1);
    assert_int_equal(read_exactly(fd, frame_bytes, size), 1);
    assert_int_equal(stoa_answer_read(frame_bytes, size, out), STOA_OK);
    return 1;
}

static stoa_answer take_answer(int fd)
{
    stoa_answer answer = {0};
    assert_int_equal(try_answer(fd, &answer), 1);
    return answer;
}

static void assert_closed(int fd)
{
    char byte;
    assert_int_equal(read_exactly(fd, &byte, 1), 0);
    (void)close(fd);
}

static int attach(const world *w)
{
    int fd = dial(w->path);
    assert_true(fd >= 0);
    stoa_answer greeting = take_answer(fd);
    assert_int_equal(greeting.id, 0);
    assert_int_equal(greeting.err, STOA_OK);
    return fd;
}

static void put_request(stoa_buf *out, uint64_t id, const char *line, uint64_t timeout_ms, bool write_flag)
{
    static admin_request request;
    stoa_words words;
    assert_int_equal(stoa_words_split(line, strlen(line), &words), STOA_OK);
    request = (admin_request){.version = STOA_FRAME_VERSION, .id = id, .write = write_flag, .timeout_ms = timeout_ms};
    for (uint32_t i = 0; i < words.count; i++) {
        assert_int_equal(STOA_TEXT_SETZ(&request.words.at[i], words.at[i]), STOA_OK);
    }
    request.words.count = words.count;
    assert_int_equal(stoa_request_write(&request, out), STOA_OK);
}

static void send_bytes(int fd, const void *bytes, size_t size)
{
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void ask(int fd, uint64_t id, const char *line, uint64_t timeout_ms)
{
    stoa_buf frame = STOA_BUF_GROWING;
    put_request(&frame, id, line, timeout_ms, false);
    send_bytes(fd, frame.at, frame.used_bytes);
    stoa_buf_deinit(&frame);
}

static void assert_answer(int fd, uint64_t id, stoa_err err, const char *document)
{
    stoa_answer answer = take_answer(fd);
    assert_int_equal(answer.id, id);
    assert_int_equal(answer.err, err);
    assert_int_equal(answer.cls, stoa_exit_of(err));
    if (document) {
        assert_int_equal(answer.document_bytes, strlen(document));
        assert_memory_equal(answer.document, document, strlen(document));
    }
}

static void assert_text(const stoa_answer *answer, const char *part)
{
    if (!memmem(answer->text, answer->text_bytes, part, strlen(part))) {
        fail_msg("'%.*s' does not say '%s'", (int)answer->text_bytes, answer->text, part);
    }
}

static uint64_t counted(const world *w, const char *line)
{
    stoa_buf page = STOA_BUF_GROWING;
    char sample[128];
    (void)snprintf(sample, sizeof sample, "\n%s", line); /* not where HELP or TYPE names it */
    stoa_metrics_print(w->metrics, &page);
    const char *at = strstr(page.at, sample);
    assert_non_null(at);
    uint64_t value = strtoull(at + strlen(sample), NULL, 10);
    stoa_buf_deinit(&page);
    return value;
}

static void assert_counted(const world *w, const char *line, uint64_t expected)
{
    for (int i = 0; i < WAIT_MS && counted(w, line) != expected; i++) { pause_ms(1); }
    assert_int_equal(counted(w, line), expected);
}

/* --- the door under test */

static stoa_err listen_at(world *w, stoa_door **out)
{
    return stoa_door_listen(&(stoa_door_options){.path = w->path, .node_name = "test", .run = run, .context = w,
                                                 .metrics = w->metrics}, out);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    *state = w;
    (void)strcpy(w->folder, "/tmp/stoa-door-XXXXXX");
    if (!mkdtemp(w->folder) || chmod(w->folder, 0755)) { return -1; }
    (void)snprintf(w->path, sizeof w->path, "%s/admin.sock", w->folder);
    if (stoa_metrics_new(&w->metrics)) { return -1; }
    return listen_at(w, &w->door) ? -1 : 0;
}

static int teardown(void **state)
{
    world *w = *state;
    atomic_store(&w->held, 0);
    stoa_door_close(w->door);
    bool gone = access(w->path, F_OK) != 0;
    stoa_metrics_free(w->metrics);
    (void)rmdir(w->folder);
    free(w);
    free(frame_bytes);
    frame_bytes = NULL;
    return gone ? 0 : -1;
}

/* --- what it promises */

static void a_peer_is_greeted_and_answered(void **state)
{
    world *w = *state;
    int fd = dial(w->path);
    stoa_answer greeting = take_answer(fd);
    assert_non_null(memmem(greeting.document, greeting.document_bytes, "\"name\":\"test\"", 13));
    ask(fd, 7, "actor a/b", 0);
    assert_answer(fd, 7, STOA_OK, "{\"name\":\"a/b\"}");
    ask(fd, UINT64_MAX, "node", 0);
    assert_answer(fd, UINT64_MAX, STOA_OK, "{\"name\":\"\"}");
    (void)close(fd);
    assert_counted(w, "stoa_door_connections_total ", 1);
    assert_counted(w, "stoa_door_commands_total ", 2);
}

static void a_refusal_says_why_in_a_sentence(void **state)
{
    int fd = attach(*state);
    ask(fd, 1, "actor fail", 0);
    stoa_answer answer = take_answer(fd);
    assert_int_equal(answer.err, STOA_E_NOT_FOUND);
    assert_int_equal(answer.cls, STOA_EXIT_NOT_FOUND);
    assert_int_equal(answer.text_bytes, strlen("no actor 'fail'; did you mean: nothing"));
    ask(fd, 2, "actor bare", 0);
    answer = take_answer(fd);
    assert_text(&answer, stoa_err_text(STOA_E_STALE)); /* and not the sentence of the command before */
    (void)close(fd);
}

static void what_the_repl_would_have_refused_is_refused_here_too(void **state)
{
    static const struct {
        const char *line;
        stoa_err err;
        const char *part;
    } rows[] = {
        {"nonsense", STOA_E_INVALID, "unknown command"},       {"book", STOA_E_INVALID, "needs <symbol>"},
        {"book X 999", STOA_E_INVALID, "from 1 to 64"},        {"help", STOA_E_INVALID, "REPL"},
        {"log level debug", STOA_E_DENIED, "stoa --write"},
    };
    int fd = attach(*state);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ask(fd, i + 1, rows[i].line, 0);
        stoa_answer answer = take_answer(fd);
        assert_int_equal(answer.err, rows[i].err);
        assert_text(&answer, rows[i].part);
    }
    stoa_buf frame = STOA_BUF_GROWING;
    put_request(&frame, 9, "log level debug", 0, true);
    send_bytes(fd, frame.at, frame.used_bytes);
    assert_answer(fd, 9, STOA_OK, NULL);
    stoa_buf_deinit(&frame);
    (void)close(fd);
}

static void requests_in_a_burst_are_answered_in_order(void **state)
{
    int fd = attach(*state);
    stoa_buf burst = STOA_BUF_GROWING;
    for (uint64_t id = 1; id <= 60; id++) {
        char line[32];
        (void)snprintf(line, sizeof line, "actor n%d", (int)id);
        put_request(&burst, id, line, 0, false);
    }
    send_bytes(fd, burst.at, burst.used_bytes);
    for (uint64_t id = 1; id <= 60; id++) {
        char document[32];
        (void)snprintf(document, sizeof document, "{\"name\":\"n%d\"}", (int)id);
        assert_answer(fd, id, STOA_OK, document);
    }
    stoa_buf_deinit(&burst);
    (void)close(fd);
}

static void requests_may_come_in_pieces_of_any_size(void **state)
{
    stoa_random random;
    int fd = attach(*state);
    stoa_buf bytes = STOA_BUF_GROWING;
    stoa_random_seed(&random, SEED);
    for (uint64_t id = 1; id <= 20; id++) { put_request(&bytes, id, "actor piece", 0, false); }
    for (size_t at = 0; at < bytes.used_bytes;) {
        size_t size = stoa_random_below(&random, 40) + 1, left = bytes.used_bytes - at;
        size = size < left ? size : left;
        send_bytes(fd, bytes.at + at, size);
        at += size;
        if (stoa_random_below(&random, 4) == 0) { pause_ms(1); }
    }
    for (uint64_t id = 1; id <= 20; id++) { assert_answer(fd, id, STOA_OK, "{\"name\":\"piece\"}"); }
    stoa_buf_deinit(&bytes);
    (void)close(fd);
}

static void a_large_answer_arrives_whole_and_a_huge_one_is_an_error(void **state)
{
    int fd = attach(*state);
    ask(fd, 1, "actor large", 0);
    pause_ms(50); /* the socket is full meanwhile */
    stoa_answer answer = take_answer(fd);
    assert_int_equal(answer.document_bytes, LARGE + 2);
    assert_int_equal(answer.document[LARGE + 1], '"');
    ask(fd, 2, "actor huge", 0);
    answer = take_answer(fd);
    assert_int_equal(answer.err, STOA_E_TOO_LARGE);
    assert_text(&answer, "ask for less");
    ask(fd, 3, "actor after", 0);
    assert_answer(fd, 3, STOA_OK, "{\"name\":\"after\"}");
    (void)close(fd);
}

static void a_connection_has_a_memory_of_its_own(void **state)
{
    int one = attach(*state), two = attach(*state);
    ask(one, 1, "actor count", 0);
    assert_answer(one, 1, STOA_OK, "{\"count\":1}");
    ask(one, 2, "actor count", 0);
    assert_answer(one, 2, STOA_OK, "{\"count\":2}");
    ask(two, 1, "actor count", 0);
    assert_answer(two, 1, STOA_OK, "{\"count\":1}");
    (void)close(one);
    (void)close(two);
}

/* --- commands that do not come to an end */

static void a_command_past_its_deadline_is_a_timeout_and_holds_up_nobody(void **state)
{
    world *w = *state;
    atomic_store(&w->held, 1);
    int slow = attach(w), quick = attach(w);
    uint64_t began = stoa_clock_real.now_ns(&stoa_clock_real);
    ask(slow, 1, "actor hold", 200);
    ask(quick, 1, "actor quick", 0);
    assert_answer(quick, 1, STOA_OK, "{\"name\":\"quick\"}");
    stoa_answer answer = take_answer(slow);
    uint64_t took = stoa_clock_real.now_ns(&stoa_clock_real) - began;
    assert_int_equal(answer.err, STOA_E_TIMEOUT);
    assert_int_equal(answer.id, 1);
    assert_true(took >= STOA_MS(190) && took < STOA_S(10));
    assert_int_equal(atomic_load(&w->running), 1); /* it still does not end */
    ask(slow, 2, "actor next", 0);
    assert_answer(slow, 2, STOA_OK, "{\"name\":\"next\"}");
    atomic_store(&w->held, 0);
    ask(slow, 3, "actor last", 0); /* and its answer, which comes now, is not taken for another's */
    assert_answer(slow, 3, STOA_OK, "{\"name\":\"last\"}");

    atomic_store(&w->held, 1);
    ask(slow, 4, "actor hold", 100);
    assert_answer(slow, 4, STOA_E_TIMEOUT, NULL);
    atomic_store(&w->held, 0);
    ask(quick, 2, "actor between", 0); /* the late one is done before this, or with it */
    assert_answer(quick, 2, STOA_OK, NULL);
    for (int i = 0; i < WAIT_MS && atomic_load(&w->running); i++) { pause_ms(1); }
    pause_ms(20);
    ask(slow, 5, "actor clean", 0);
    assert_answer(slow, 5, STOA_OK, "{\"name\":\"clean\"}");
    (void)close(slow);
    (void)close(quick);
}

static void a_command_hears_that_nobody_waits_any_more(void **state)
{
    world *w = *state;
    int fd = attach(w);
    ask(fd, 1, "actor patient", 600000);
    while (atomic_load(&w->running) == 0) { pause_ms(1); }
    int ran = atomic_load(&w->ran);
    (void)close(fd);
    while (atomic_load(&w->ran) == ran) { pause_ms(1); } /* long before its deadline */
}

static void with_all_runners_stuck_commands_wait_for_their_deadline(void **state)
{
    world *w = *state;
    int stuck[STOA_DOOR_RUNNERS];
    atomic_store(&w->held, 1);
    for (int i = 0; i < STOA_DOOR_RUNNERS; i++) {
        stuck[i] = attach(w);
        ask(stuck[i], 1, "actor hold", WAIT_MS);
    }
    for (int i = 0; i < WAIT_MS && atomic_load(&w->running) < STOA_DOOR_RUNNERS; i++) { pause_ms(1); }
    int fd = attach(w);
    ask(fd, 1, "actor waits", 100);
    assert_answer(fd, 1, STOA_E_TIMEOUT, NULL);
    ask(fd, 2, "actor waits", WAIT_MS);
    atomic_store(&w->held, 0);
    assert_answer(fd, 2, STOA_OK, "{\"name\":\"waits\"}");
    for (int i = 0; i < STOA_DOOR_RUNNERS; i++) {
        assert_answer(stuck[i], 1, STOA_OK, "{\"name\":\"hold\"}");
        (void)close(stuck[i]);
    }
    assert_int_equal(atomic_load(&w->ran), STOA_DOOR_RUNNERS + 1); /* nobody waited for the first one: it did not run */
    (void)close(fd);
}

static void a_peer_that_leaves_while_its_command_runs_is_forgotten(void **state)
{
    world *w = *state;
    atomic_store(&w->held, 1);
    int fd = attach(w);
    ask(fd, 1, "actor hold", WAIT_MS);
    for (int i = 0; i < WAIT_MS && !atomic_load(&w->running); i++) { pause_ms(1); }
    (void)close(fd);
    int other = attach(w);
    atomic_store(&w->held, 0);
    ask(other, 1, "actor other", 0);
    assert_answer(other, 1, STOA_OK, "{\"name\":\"other\"}");
    (void)close(other);
}

/* --- peers that do harm */

static void bytes_that_are_no_request_get_a_named_error_and_the_door_shut(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        stoa_err err;
        const char *counter;
    } rows[] = {
        {"\x05\0\0\0hello", 9, STOA_E_MALFORMED, "malformed"},
        {"\x00\0\0\0", 4, STOA_E_MALFORMED, "malformed"},
        {"\x01\0\0\0\x95", 5, STOA_E_MALFORMED, "malformed"},
        {"\x07\0\0\0\x95\x01\x00\x00\x00\x91\xa1", 11, STOA_E_MALFORMED, "malformed"}, /* cut short */
        {"\x08\0\0\0\x95\x01\x00\x00\x00\x91\xa1n", 12, STOA_E_MALFORMED, "malformed"}, /* id 0 */
        {"\x06\0\0\0\x95\x01\x01\x00\x00\x90", 10, STOA_E_MALFORMED, "malformed"},      /* no words */
        {"\x08\0\0\0\x95\x01\x01\x00\x00\x91\xa1\x1b", 12, STOA_E_MALFORMED, "malformed"},
        {"\x08\0\0\0\x95\x02\x01\x00\x00\x91\xa1n", 12, STOA_E_VERSION, "version"},
        {"\xff\xff\xff\xff", 4, STOA_E_TOO_LARGE, "too_large"},
        {"\x01\x20\0\0", 4, STOA_E_TOO_LARGE, "too_large"},
        {"GET / HTTP/1.1\r\n", 16, STOA_E_TOO_LARGE, "too_large"},
    };
    world *w = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "stoa_door_refused_total{why=\"%s\"} ", rows[i].counter);
        uint64_t before = counted(w, line);
        int fd = attach(w);
        send_bytes(fd, rows[i].bytes, rows[i].size);
        stoa_answer answer = take_answer(fd);
        if (answer.err != rows[i].err) { fail_msg("row %zu: %s", i, stoa_err_name(answer.err)); }
        assert_int_equal(answer.id, 0);
        assert_closed(fd);
        assert_counted(w, line, before + 1);
    }
    assert_counted(w, "stoa_door_commands_total ", 0);
}

static void a_request_of_the_largest_size_is_read(void **state)
{
    int fd = attach(*state);
    uint8_t frame[STOA_FRAME_HEAD + STOA_REQUEST_MAX] = {0x00, 0x20};
    stoa_writer writer = {.at = frame + STOA_FRAME_HEAD, .cap_bytes = STOA_REQUEST_MAX};
    stoa_write_array(&writer, 6);
    stoa_write_uint(&writer, 1);
    stoa_write_uint(&writer, 5);
    stoa_write_uint(&writer, 0);
    stoa_write_uint(&writer, 0);
    stoa_write_array(&writer, 1);
    stoa_write_text(&writer, "node", 4);
    size_t left = STOA_REQUEST_MAX - writer.used_bytes - 3; /* a field of a later version fills the rest */
    uint8_t *rest = calloc(1, left);
    stoa_write_bytes(&writer, rest, left);
    assert_int_equal(writer.used_bytes, STOA_REQUEST_MAX);
    send_bytes(fd, frame, sizeof frame);
    assert_answer(fd, 5, STOA_OK, "{\"name\":\"\"}");
    free(rest);
    (void)close(fd);
}

static void random_bytes_never_confuse_it(void **state)
{
    stoa_random random;
    world *w = *state;
    stoa_random_seed(&random, SEED);
    for (int round = 0; round < 200; round++) {
        uint8_t bytes[64];
        size_t size = stoa_random_below(&random, sizeof bytes) + 1;
        for (size_t i = 0; i < size; i++) { bytes[i] = (uint8_t)stoa_random_below(&random, 256); }
        bytes[0] = (uint8_t)stoa_random_below(&random, 60);
        if (size > 3) { bytes[1] = bytes[2] = bytes[3] = 0; }
        int fd = attach(w);
        send_bytes(fd, bytes, size);
        (void)close(fd);
    }
    int fd = attach(w);
    ask(fd, 1, "actor sane", 0);
    assert_answer(fd, 1, STOA_OK, "{\"name\":\"sane\"}");
    (void)close(fd);
}

static void there_is_room_for_so_many_and_the_next_is_told(void **state)
{
    world *w = *state;
    int fds[STOA_DOOR_CONNECTIONS];
    for (int i = 0; i < STOA_DOOR_CONNECTIONS; i++) { fds[i] = attach(w); }
    int fd = dial(w->path);
    assert_answer(fd, 0, STOA_E_FULL, NULL);
    assert_closed(fd);
    assert_counted(w, "stoa_door_refused_total{why=\"full\"} ", 1);
    (void)close(fds[3]);
    for (int i = 0; i < WAIT_MS; i++) {
        stoa_answer answer = {.err = STOA_E_FULL};
        fds[3] = dial(w->path);
        assert_int_equal(try_answer(fds[3], &answer), 1);
        if (!answer.err) { break; }
        (void)close(fds[3]);
        pause_ms(1);
    }
    ask(fds[3], 1, "actor again", 0);
    assert_answer(fds[3], 1, STOA_OK, "{\"name\":\"again\"}");
    for (int i = 0; i < STOA_DOOR_CONNECTIONS; i++) { (void)close(fds[i]); }
}

static void half_a_frame_is_not_waited_for_for_ever(void **state)
{
    world *w = *state;
    int fd = attach(w);
    send_bytes(fd, "\x08\0", 2);
    assert_closed(fd); /* after five seconds */
    assert_counted(w, "stoa_door_refused_total{why=\"slow\"} ", 1);
}

/* --- who may come in */

/* As another user: what the door says, as an exit code: 0 greeted, 1 DENIED and closed, 2 no way in, 3 anything
 * else. */
static int visit_as_other(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        if (setuid(OTHER_USER)) { _exit(9); }
        int fd = dial(path);
        uint8_t head[STOA_FRAME_HEAD], body[512];
        stoa_answer answer;
        if (fd < 0) { _exit(errno == EACCES ? 2 : 3); }
        if (read_exactly(fd, head, sizeof head) != 1 || stoa_frame_bytes(head) > sizeof body) { _exit(3); }
        uint32_t size = stoa_frame_bytes(head);
        if (read_exactly(fd, body, size) != 1 || stoa_answer_read(body, size, &answer)) { _exit(3); }
        if (!answer.err) { _exit(0); }
        _exit(answer.err == STOA_E_DENIED && read_exactly(fd, head, 1) == 0 ? 1 : 3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void another_user_is_denied_by_the_file_and_by_the_door(void **state)
{
    world *w = *state;
    struct stat file;
    assert_int_equal(stat(w->path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    if (geteuid() != 0) { skip(); } /* only root can become somebody else */
    assert_int_equal(visit_as_other(w->path), 2);
    assert_int_equal(chmod(w->path, 0666), 0);
    assert_int_equal(visit_as_other(w->path), 1);
    assert_counted(w, "stoa_door_refused_total{why=\"denied\"} ", 1);
    assert_counted(w, "stoa_door_commands_total ", 0);
}

/* --- the socket's file */

static void a_socket_in_use_is_left_alone_and_a_stale_one_is_replaced(void **state)
{
    world *w = *state;
    stoa_door *other = NULL;
    assert_int_equal(listen_at(w, &other), STOA_E_EXISTS);
    assert_null(other);
    int fd = attach(w);
    (void)close(fd);

    stoa_door_close(w->door);
    w->door = NULL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", w->path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (const struct sockaddr *)(const void *)&address, sizeof address), 0);
    (void)close(dead); /* as a killed node leaves it */
    assert_int_equal(listen_at(w, &w->door), STOA_OK);
    fd = attach(w);
    (void)close(fd);
}

static void a_node_too_busy_to_be_connected_to_is_not_dead(void **state)
{
    world *w = *state;
    int fds[8], busy = socket(AF_UNIX, SOCK_STREAM, 0);
    stoa_door *other = NULL;
    stoa_door_close(w->door);
    w->door = NULL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", w->path);
    assert_int_equal(bind(busy, (const struct sockaddr *)(const void *)&address, sizeof address), 0);
    assert_int_equal(listen(busy, 0), 0);
    bool full = false;
    for (int i = 0; i < 8; i++) { /* until its queue is full */
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        full = full || connect(fds[i], (const struct sockaddr *)(const void *)&address, sizeof address) != 0;
    }
    assert_true(full);
    assert_int_equal(listen_at(w, &other), STOA_E_EXISTS);
    for (int i = 0; i < 8; i++) { (void)close(fds[i]); }
    (void)close(busy);
    (void)unlink(w->path);
}

static void what_is_no_socket_is_not_removed(void **state)
{
    world *w = *state;
    stoa_door *other = NULL;
    stoa_door_close(w->door);
    w->door = NULL;
    int file = open(w->path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(file, "precious", 8), 8);
    (void)close(file);
    assert_int_equal(listen_at(w, &other), STOA_E_EXISTS);
    assert_int_equal(access(w->path, F_OK), 0);
    (void)unlink(w->path);
}

static void a_path_that_no_socket_can_have_is_refused(void **state)
{
    char path[200];
    stoa_door *door = NULL;
    (void)state;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    stoa_door_options options = {.path = path, .node_name = "x", .run = run};
    assert_int_equal(stoa_door_listen(&options, &door), STOA_E_INVALID);
    options.path = "";
    assert_int_equal(stoa_door_listen(&options, &door), STOA_E_INVALID);
    options.path = "/nonexistent/folder/admin.sock";
    assert_int_equal(stoa_door_listen(&options, &door), STOA_E_IO);
    assert_null(door);
}

static void a_door_removes_only_its_own_socket(void **state)
{
    world *w = *state;
    (void)unlink(w->path);
    stoa_door *next = NULL;
    assert_int_equal(listen_at(w, &next), STOA_OK); /* another node took the path over */
    stoa_door_close(w->door);
    w->door = next;
    int fd = attach(w);
    (void)close(fd);
}

static void closing_hangs_up_on_everybody(void **state)
{
    world *w = *state;
    int fd = attach(w);
    stoa_door_close(w->door);
    w->door = NULL;
    assert_closed(fd);
    assert_int_equal(dial(w->path), -1);
    assert_int_equal(access(w->path, F_OK), -1);
    stoa_door_close(NULL);
}

#define DOOR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOOR_TEST(a_peer_is_greeted_and_answered),
        DOOR_TEST(a_refusal_says_why_in_a_sentence),
        DOOR_TEST(what_the_repl_would_have_refused_is_refused_here_too),
        DOOR_TEST(requests_in_a_burst_are_answered_in_order),
        DOOR_TEST(requests_may_come_in_pieces_of_any_size),
        DOOR_TEST(a_large_answer_arrives_whole_and_a_huge_one_is_an_error),
        DOOR_TEST(a_connection_has_a_memory_of_its_own),
        DOOR_TEST(a_command_past_its_deadline_is_a_timeout_and_holds_up_nobody),
        DOOR_TEST(a_command_hears_that_nobody_waits_any_more),
        DOOR_TEST(with_all_runners_stuck_commands_wait_for_their_deadline),
        DOOR_TEST(a_peer_that_leaves_while_its_command_runs_is_forgotten),
        DOOR_TEST(bytes_that_are_no_request_get_a_named_error_and_the_door_shut),
        DOOR_TEST(a_request_of_the_largest_size_is_read),
        DOOR_TEST(random_bytes_never_confuse_it),
        DOOR_TEST(there_is_room_for_so_many_and_the_next_is_told),
        DOOR_TEST(half_a_frame_is_not_waited_for_for_ever),
        DOOR_TEST(another_user_is_denied_by_the_file_and_by_the_door),
        DOOR_TEST(a_socket_in_use_is_left_alone_and_a_stale_one_is_replaced),
        DOOR_TEST(a_node_too_busy_to_be_connected_to_is_not_dead),
        DOOR_TEST(what_is_no_socket_is_not_removed),
        DOOR_TEST(a_path_that_no_socket_can_have_is_refused),
        DOOR_TEST(a_door_removes_only_its_own_socket),
        DOOR_TEST(closing_hangs_up_on_everybody),
    };
    (void)printf("seed %d\n", SEED);
    stoa_log_level_set(STOA_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
