/* capture_test.c - goal: a capture file gives back its frames, plain or gzip, and damage is said, not guessed. Method:
 * small files written by the test.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "actors/market/binance.h"
#include "node/ports/capture.h"

static char path[] = "/tmp/stoa_capture_XXXXXX";

static void write_plain(const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_gzip(const char *bytes, size_t size)
{
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

static stoa_capture *open_capture(void)
{
    stoa_capture *capture = NULL;
    assert_int_equal(stoa_capture_open(path, &capture), STOA_OK);
    return capture;
}

static void check_next(stoa_capture *capture, uint64_t local_ns, const char *frame)
{
    uint64_t got_ns = 0;
    const char *got = NULL;
    size_t size = 0;
    assert_int_equal(stoa_capture_next(capture, &got_ns, &got, &size), STOA_OK);
    assert_int_equal(got_ns, local_ns);
    assert_int_equal(size, strlen(frame));
    assert_memory_equal(got, frame, size);
}

static void check_end(stoa_capture *capture, stoa_err err)
{
    uint64_t got_ns;
    const char *got;
    size_t size;
    assert_int_equal(stoa_capture_next(capture, &got_ns, &got, &size), err);
}

static void lines_become_frames(void **state)
{
    (void)state;
    static const char text[] = "17 {\"a\":1}\n18 {}\r\n\n19 last without end";
    for (int gzip = 0; gzip < 2; gzip++) {
        (gzip ? write_gzip : write_plain)(text, sizeof text - 1);
        stoa_capture *capture = open_capture();
        check_next(capture, 17, "{\"a\":1}");
        check_next(capture, 18, "{}");
        check_next(capture, 19, "last without end");
        check_end(capture, STOA_E_AGAIN);
        check_end(capture, STOA_E_AGAIN);
        assert_int_equal(stoa_capture_skipped(capture), 0);
        stoa_capture_close(capture);
    }
}

static void lines_of_another_form_are_passed_over(void **state)
{
    (void)state;
    static const char text[] = "hello\n{}\n5{}\n5\n5 \n 5 {}\n-5 {}\n99999999999999999999 {}\n6 {}\n";
    write_plain(text, sizeof text - 1);
    stoa_capture *capture = open_capture();
    check_next(capture, 6, "{}");
    check_end(capture, STOA_E_AGAIN);
    assert_int_equal(stoa_capture_skipped(capture), 8);
    stoa_capture_close(capture);
}

static void a_line_of_any_length_is_whole_or_passed_over(void **state)
{
    (void)state;
    size_t sizes[] = {100000, MARKET_FRAME_BYTES_MAX, MARKET_FRAME_BYTES_MAX + 1, 3 * MARKET_FRAME_BYTES_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *text = malloc(sizes[i] + 32), *at = text;
        assert_non_null(text);
        at += sprintf(at, "7 ");
        memset(at, 'x', sizes[i]);
        at += sizes[i];
        at += sprintf(at, "\n8 after\n");
        write_gzip(text, (size_t)(at - text));
        stoa_capture *capture = open_capture();
        if (sizes[i] <= MARKET_FRAME_BYTES_MAX) {
            text[2 + sizes[i]] = '\0';
            check_next(capture, 7, text + 2);
        } else if (sizes[i] > MARKET_FRAME_BYTES_MAX + 64) {
            check_end(capture, STOA_E_TOO_LARGE);
        }
        check_next(capture, 8, "after");
        check_end(capture, STOA_E_AGAIN);
        assert_int_equal(stoa_capture_skipped(capture), sizes[i] > MARKET_FRAME_BYTES_MAX);
        stoa_capture_close(capture);
        free(text);
    }
}

static void a_damaged_file_says_so(void **state)
{
    (void)state;
    char text[20000], raw[20000];
    size_t used = 0;
    for (unsigned i = 0; used < sizeof text - 64; i++) {
        used += (size_t)sprintf(text + used, "%u {\"number\":%u}\n", i, i * 2654435761u);
    }
    write_gzip(text, used);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(raw, 1, sizeof raw, file);
    (void)fclose(file);
    write_plain(raw, size / 2); /* cut short */
    stoa_capture *capture = open_capture();
    uint64_t local_ns, frames = 0;
    const char *frame;
    stoa_err err;
    while ((err = stoa_capture_next(capture, &local_ns, &frame, &size)) == STOA_OK) { frames++; }
    assert_int_equal(err, STOA_E_CORRUPT);
    assert_true(frames > 10);
    stoa_capture_close(capture);
}

static void what_is_not_there_is_not_found(void **state)
{
    (void)state;
    stoa_capture *capture = NULL;
    assert_int_equal(stoa_capture_open("/nonexistent/day.gz", &capture), STOA_E_NOT_FOUND);
    assert_null(capture);
    stoa_capture_close(capture);
}

static void the_symbols_of_a_capture_are_found(void **state)
{
    (void)state;
#define TRADE(symbol)                                                                                                  \
    "1 {\"e\":\"trade\",\"s\":\"" symbol "\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1,\"m\":true}\n"
    static const char text[] =
        "1 nothing\n" TRADE("BTCUSDT") TRADE("ETHUSDT") TRADE("BTCUSDT") "2 {\"lastUpdateId\":1}\n";
    stoa_text14 symbols[4];
    uint32_t count = 0;
    write_plain(text, sizeof text - 1);
    assert_int_equal(stoa_capture_symbols(path, &market_venue_binance, symbols, 4, &count), STOA_OK);
    assert_int_equal(count, 2);
    assert_true(STOA_TEXT_EQZ(&symbols[0], "BTCUSDT"));
    assert_true(STOA_TEXT_EQZ(&symbols[1], "ETHUSDT"));
    write_plain("1 {}\n", 5);
    assert_int_equal(stoa_capture_symbols(path, &market_venue_binance, symbols, 4, &count), STOA_E_NOT_FOUND);
}

static int make_path(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_frames),
        cmocka_unit_test(lines_of_another_form_are_passed_over),
        cmocka_unit_test(a_line_of_any_length_is_whole_or_passed_over),
        cmocka_unit_test(a_damaged_file_says_so),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(the_symbols_of_a_capture_are_found),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
