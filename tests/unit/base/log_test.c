/* log_test.c - goal: every line is one whole JSON object, whatever is logged. Method: stderr is a file or a
 * pipe of the test's, and what arrives there is read back with base/json.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/random.h"

enum { CAPTURE_BYTES = 1 << 20, THREADS = 4, LINES = 200 };

static struct {
    int stderr_before, file;
    char text[CAPTURE_BYTES];
    stoa_json_parser *parser;
} capture;

static int group_setup(void **state)
{
    (void)state;
    return stoa_json_parser_new(CAPTURE_BYTES, &capture.parser) == STOA_OK ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    stoa_json_parser_free(capture.parser);
    return 0;
}

/* From here on stderr is a file of ours. */
static void capture_begin(void)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    capture.file = dup(fileno(file));
    (void)fcntl(capture.file, F_SETFL, O_APPEND);
    (void)fclose(file);
    capture.stderr_before = dup(STDERR_FILENO);
    assert_true(capture.file >= 0 && capture.stderr_before >= 0);
    assert_true(dup2(capture.file, STDERR_FILENO) >= 0);
}

/* Give stderr back; capture.text is what was written. */
static size_t capture_end(void)
{
    assert_true(dup2(capture.stderr_before, STDERR_FILENO) >= 0);
    ssize_t size = pread(capture.file, capture.text, sizeof capture.text - 1, 0);
    assert_true(size >= 0);
    capture.text[size] = '\0';
    (void)close(capture.file);
    (void)close(capture.stderr_before);
    return (size_t)size;
}

/* The next line at *at as JSON; *at moves behind it. */
static stoa_json next_line(char **at)
{
    stoa_json line = {0};
    char *end = strchr(*at, '\n');
    assert_non_null(end);
    assert_true(end - *at < STOA_LOG_LINE_MAX);
    assert_int_equal(stoa_json_parse(capture.parser, *at, (size_t)(end - *at), &line), STOA_OK);
    assert_true(stoa_json_is_object(line));
    *at = end + 1;
    return line;
}

static stoa_json get(stoa_json object, const char *key)
{
    stoa_json value = {0};
    if (stoa_json_get(object, key, &value)) { fail_msg("no key %s", key); }
    return value;
}

static bool has(stoa_json object, const char *key)
{
    stoa_json value;
    return stoa_json_get(object, key, &value) == STOA_OK;
}

static void assert_text(stoa_json object, const char *key, const char *want)
{
    const char *text = NULL;
    size_t size_bytes = 0;
    assert_int_equal(stoa_json_text(get(object, key), &text, &size_bytes), STOA_OK);
    assert_int_equal(size_bytes, strlen(want));
    assert_memory_equal(text, want, size_bytes);
}

static void an_event_is_one_line_with_its_pairs_in_order(void **state)
{
    (void)state;
    capture_begin();
    stoa_log(STOA_LOG_INFO, "shard_open", STOA_KV("shard", "trade"), STOA_KI("low", INT64_MIN),
             STOA_KU("high", UINT64_MAX));
    stoa_log(STOA_LOG_WARN, "nothing_else");
    (void)capture_end();

    char *at = capture.text;
    assert_non_null(strstr(
        at, "\"level\":\"info\",\"event\":\"shard_open\",\"shard\":\"trade\",\"low\":-9223372036854775808,"
            "\"high\":18446744073709551615}\n"));
    assert_memory_equal(at, "{\"time\":\"2", 10);
    stoa_json line = next_line(&at);
    assert_text(line, "event", "shard_open");
    line = next_line(&at);
    assert_text(line, "level", "warn");
    assert_text(line, "event", "nothing_else");
    assert_int_equal(*at, '\0');
}

static void none_to_eight_pairs_are_taken_and_evaluated_once(void **state)
{
    (void)state;
    unsigned n[8] = {0};
    capture_begin();
    stoa_log(STOA_LOG_INFO, "e");
    stoa_log(STOA_LOG_INFO, "e", STOA_KU("a", ++n[0]));
    stoa_log(STOA_LOG_INFO, "e", STOA_KU("a", ++n[0]), STOA_KU("b", ++n[1]));
    stoa_log(STOA_LOG_INFO, "e", STOA_KU("a", ++n[0]), STOA_KU("b", ++n[1]), STOA_KU("c", ++n[2]),
             STOA_KU("d", ++n[3]), STOA_KU("e", ++n[4]), STOA_KU("f", ++n[5]), STOA_KU("g", ++n[6]));
    stoa_log(STOA_LOG_INFO, "e", STOA_KU("a", ++n[0]), STOA_KU("b", ++n[1]), STOA_KU("c", ++n[2]),
             STOA_KU("d", ++n[3]), STOA_KU("e", ++n[4]), STOA_KU("f", ++n[5]), STOA_KU("g", ++n[6]),
             STOA_KU("h", ++n[7]));
    (void)capture_end();
    static const char *const ends[] = {"\"e\"}", "\"a\":1}", "\"a\":2,\"b\":1}",
                                       "\"a\":3,\"b\":2,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1}",
                                       "\"a\":4,\"b\":3,\"c\":2,\"d\":2,\"e\":2,\"f\":2,\"g\":2,\"h\":1}"};
    char *at = capture.text;
    for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        (void)next_line(&at);
        assert_memory_equal(at - 1 - strlen(ends[i]), ends[i], strlen(ends[i]));
    }
}

static void hostile_text_stays_inside_its_string(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "\"}\n{\"level\":\"error\"",
        "\\",
        "\\\"",
        "a\tb\rc\x01\x1f\x7f",
        "\xff\xfe",
        "\xed\xa0\x80",
        "\xf0\x9f\x98",
        "",
        "{\"a\":[1,2]}",
        "%s%n%d",
        "\xe2\x80\xa8",
    };
    enum { COUNT = sizeof hostile / sizeof hostile[0] };
    capture_begin();
    for (unsigned i = 0; i < COUNT; i++) {
        stoa_log(STOA_LOG_INFO, hostile[i], STOA_KV(hostile[i], hostile[i]));
    }
    stoa_log(STOA_LOG_INFO, "null", STOA_KV("text", NULL));
    (void)capture_end();
    char *at = capture.text;
    for (unsigned i = 0; i < COUNT; i++) {
        stoa_json line = next_line(&at);
        assert_text(line, "level", "info");
        if (i == 0) { assert_text(line, hostile[0], hostile[0]); }
    }
    assert_true(stoa_json_is_null(get(next_line(&at), "text")));
    assert_int_equal(*at, '\0');
}

static void random_bytes_make_well_formed_lines(void **state)
{
    (void)state;
    stoa_random random;
    uint64_t seed = UINT64_C(7);
    print_message("seed %" PRIu64 "\n", seed);
    stoa_random_seed(&random, seed);
    capture_begin();
    char text[6000];
    for (unsigned i = 0; i < LINES; i++) {
        size_t size_bytes = stoa_random_below(&random, sizeof text);
        for (size_t k = 0; k < size_bytes; k++) {
            text[k] = (char)(1 + stoa_random_below(&random, 255));
        }
        text[size_bytes] = '\0';
        stoa_log(STOA_LOG_ERROR, "random", STOA_KV("text", text), STOA_KU("behind", i));
    }
    (void)capture_end();
    char *at = capture.text;
    for (unsigned i = 0; i < LINES; i++) {
        stoa_json line = next_line(&at);
        uint64_t behind = 0;
        if (has(line, "cut")) { continue; }
        assert_int_equal(stoa_json_uint(get(line, "behind"), &behind), STOA_OK);
        assert_int_equal(behind, i);
    }
    assert_int_equal(*at, '\0');
}

static void what_does_not_fit_is_shortened_and_said(void **state)
{
    (void)state;
    enum { LETTERS = 6667 };
    char *text = calloc(1, 3 * LETTERS + 1);
    assert_non_null(text);
    for (unsigned i = 0; i < LETTERS; i++) {
        memcpy(text + (size_t)3 * i, "\xe2\x82\xac", 3);
    }
    capture_begin();
    stoa_log(STOA_LOG_INFO, "long", STOA_KV("text", text), STOA_KU("behind", 1));
    stoa_log(STOA_LOG_INFO, text, STOA_KV(text, "dropped"), STOA_KU("behind", 2));
    stoa_log(STOA_LOG_INFO, "short");
    (void)capture_end();
    char *at = capture.text;
    stoa_json line = next_line(&at);
    const char *kept = NULL;
    size_t kept_bytes = 0;
    bool cut = false;
    assert_int_equal(stoa_json_bool(get(line, "cut"), &cut), STOA_OK);
    assert_true(cut && has(line, "behind"));
    assert_int_equal(stoa_json_text(get(line, "text"), &kept, &kept_bytes), STOA_OK);
    assert_true(kept_bytes > 1000 && kept_bytes % 3 == 0);
    assert_memory_equal(kept, text, kept_bytes); /* no half character became U+FFFD */
    line = next_line(&at);
    assert_true(has(line, "cut") && has(line, "behind") && !has(line, text));
    assert_false(has(next_line(&at), "cut"));
    free(text);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    capture_begin();
    for (stoa_log_level level = STOA_LOG_DEBUG; level <= STOA_LOG_OFF; level++) {
        stoa_log_level_set(level);
        for (stoa_log_level of = STOA_LOG_DEBUG; of <= STOA_LOG_OFF; of++) {
            stoa_log(of, "line");
        }
    }
    stoa_log_level_set(STOA_LOG_INFO);
    (void)capture_end();
    char *at = capture.text;
    for (int level = STOA_LOG_DEBUG; level < STOA_LOG_OFF; level++) {
        for (int of = level; of < STOA_LOG_OFF; of++) {
            assert_text(next_line(&at), "level", stoa_log_level_name((stoa_log_level)of));
        }
    }
    assert_int_equal(*at, '\0');
}

static void levels_are_parsed_by_name(void **state)
{
    (void)state;
    stoa_log_level level = STOA_LOG_WARN;
    for (int want = STOA_LOG_DEBUG; want <= STOA_LOG_OFF; want++) {
        assert_int_equal(stoa_log_level_parse(stoa_log_level_name((stoa_log_level)want), &level), STOA_OK);
        assert_int_equal(level, want);
    }
    assert_int_equal(stoa_log_level_parse("Info", &level), STOA_E_INVALID);
    assert_int_equal(stoa_log_level_parse("", &level), STOA_E_INVALID);
    assert_int_equal(level, STOA_LOG_OFF);
}

static void an_error_brings_its_own_trail_only(void **state)
{
    (void)state;
    capture_begin();
    (void)STOA_FAIL(STOA_E_IO, "open \"%s\"", "/no/where");
    (void)STOA_PASS(STOA_E_UNAVAILABLE, "journal");
    stoa_log_error("shard_failed", STOA_E_UNAVAILABLE);
    stoa_log_error("other_failed", STOA_E_FULL);
    (void)capture_end();
    char *at = capture.text;
    stoa_json line = next_line(&at);
    const char *trail = NULL;
    size_t trail_bytes = 0;
    assert_text(line, "level", "error");
    assert_text(line, "error", "UNAVAILABLE");
    assert_text(line, "text", stoa_err_text(STOA_E_UNAVAILABLE));
    assert_int_equal(stoa_json_text(get(line, "trail"), &trail, &trail_bytes), STOA_OK);
    assert_non_null(strstr(capture.text, "/no/where"));
    assert_non_null(memchr(trail, '\n', trail_bytes));
    line = next_line(&at);
    assert_text(line, "error", "FULL");
    assert_false(has(line, "trail"));
}

static void *log_lines(void *argument)
{
    (void)argument;
    char text[512];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (unsigned i = 0; i < LINES; i++) {
        stoa_log(STOA_LOG_INFO, "thread", STOA_KV("text", text), STOA_KU("i", i));
    }
    return NULL;
}

static void lines_of_many_threads_never_mix(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    capture_begin();
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, NULL), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    (void)capture_end();
    char *at = capture.text;
    for (unsigned i = 0; i < THREADS * LINES; i++) {
        assert_text(next_line(&at), "event", "thread");
    }
    assert_int_equal(*at, '\0');
}

static void lost_lines_are_counted_and_told(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 8192) > 0);
    int before = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    (void)log_lines(NULL);
    char text[1024];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    errno = EXDEV;
    stoa_log(STOA_LOG_INFO, "still_full", STOA_KV("text", text));
    int errno_kept = errno;
    ssize_t size = read(ends[0], capture.text, sizeof capture.text - 1);
    stoa_log(STOA_LOG_INFO, "room_again");
    stoa_log(STOA_LOG_INFO, "all_told");
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    assert_int_equal(errno_kept, EXDEV);

    assert_true(size > 0);
    capture.text[size] = '\0';
    uint64_t arrived = 0, lost = 0;
    for (char *at = capture.text; *at; arrived++) {
        (void)next_line(&at);
    }
    size = read(ends[0], capture.text, sizeof capture.text - 1);
    assert_true(size > 0);
    capture.text[size] = '\0';
    char *at = capture.text;
    assert_int_equal(stoa_json_uint(get(next_line(&at), "lost"), &lost), STOA_OK);
    assert_false(has(next_line(&at), "lost"));
    assert_int_equal(arrived + lost, LINES + 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(before);
}

/* stderr is a pipe that waits when it is full, and is full. */
static void a_thread_that_must_not_wait_does_not(void **state)
{
    (void)state;
    int ends[2];
    uint64_t lost = 0;
    char filling[4096] = {0};
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], filling, sizeof filling) > 0) {}
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    int before = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    stoa_log_never_wait(true);
    stoa_log(STOA_LOG_INFO, "full"); /* a write would wait for ever */
    stoa_log(STOA_LOG_INFO, "full");
    while (read(ends[0], filling, sizeof filling) > 0) {}
    stoa_log(STOA_LOG_INFO, "room_again");
    stoa_log_never_wait(false);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    ssize_t size = read(ends[0], capture.text, sizeof capture.text - 1);
    assert_true(size > 0);
    capture.text[size] = '\0';
    char *at = capture.text;
    assert_int_equal(stoa_json_uint(get(next_line(&at), "lost"), &lost), STOA_OK);
    assert_int_equal(lost, 2);
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_one_line_with_its_pairs_in_order),
        cmocka_unit_test(none_to_eight_pairs_are_taken_and_evaluated_once),
        cmocka_unit_test(hostile_text_stays_inside_its_string),
        cmocka_unit_test(random_bytes_make_well_formed_lines),
        cmocka_unit_test(what_does_not_fit_is_shortened_and_said),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(levels_are_parsed_by_name),
        cmocka_unit_test(an_error_brings_its_own_trail_only),
        cmocka_unit_test(lines_of_many_threads_never_mix),
        cmocka_unit_test(lost_lines_are_counted_and_told),
        cmocka_unit_test(a_thread_that_must_not_wait_does_not),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
