/* grid_test.c - goal: a table is never wider than the terminal, figures stay whole and stand below each other, wrapped
 * text is all there. Method: small tables against the lines they must give; random tables at random widths against
 * those promises.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/grid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/value.h"
#include "base/random.h"

enum { SEED = 20261122, ROUNDS = 500 };

static const stoa_style plain = {.utf8 = true};

/* cells: rows of as many as there are titles, NULL behind the last. */
static void print(const char *const *titles, const unsigned *flags, const char *const *cells, const stoa_style *style,
                  stoa_buf *out)
{
    stoa_grid grid;
    stoa_grid_init(&grid, false);
    for (; *titles; titles++, flags++) { stoa_grid_column(&grid, *titles, *flags); }
    for (; *cells; cells++) { stoa_grid_cell(&grid, *cells, strlen(*cells)); }
    stoa_grid_print(&grid, style, out);
    stoa_grid_deinit(&grid);
}

static void assert_grid(const char *const *titles, const unsigned *flags, const char *const *cells,
                        const stoa_style *style, const char *expected)
{
    stoa_buf out = STOA_BUF_GROWING;
    print(titles, flags, cells, style, &out);
    assert_string_equal(out.at, expected);
    stoa_buf_deinit(&out);
}

static void columns_are_as_wide_as_they_need(void **state)
{
    static const char *const titles[] = {"name", "n", "text", NULL};
    static const unsigned flags[] = {0, STOA_GRID_RIGHT, STOA_GRID_WRAP};
    static const char *const cells[] = {"alice", "1,234", "a b", "b", "5", "", NULL};
    (void)state;
    assert_grid(titles, flags, cells, &plain, "name       n  text\nalice  1,234  a b\nb          5\n");
    assert_grid(titles, flags, cells, &(stoa_style){.colour = true},
                "\x1b[1mname       n  text\x1b[0m\nalice  1,234  a b\nb          5\n");
}

static void decimal_points_stand_below_each_other(void **state)
{
    static const char *const titles[] = {"price", "qty", NULL};
    static const unsigned flags[] = {STOA_GRID_POINT, STOA_GRID_POINT};
    static const char *const cells[] = {"60000.1", "5", "60000.11", "-", "9", "12", NULL};
    (void)state;
    assert_grid(titles, flags, cells, &plain, "   price  qty\n60000.1     5\n60000.11    -\n    9      12\n");
}

static void what_is_too_wide_gives_way_text_first(void **state)
{
    static const char *const titles[] = {"name", "n", "text", NULL};
    static const unsigned flags[] = {0, STOA_GRID_RIGHT, STOA_GRID_WRAP};
    static const char *const cells[] = {"abcdefghijklmnop", "123456", "one two three four five six seven eight nine",
                                        NULL};
    (void)state;
    assert_grid(titles, flags, cells, &(stoa_style){.columns = 52, .utf8 = true},
                "name                   n  text\n"
                "abcdefghijklmnop  123456  one two three four five\n"
                "                          six seven eight nine\n");
    assert_grid(titles, flags, cells, &(stoa_style){.columns = 30, .utf8 = true},
                "name             n  text\n"
                "abcdefghi\xe2\x80\xa6  123456  one two\n"
                "                    three four\n"
                "                    five six\n"
                "                    seven\n"
                "                    eight nine\n");
    assert_grid(titles, flags, cells, &(stoa_style){.columns = 12}, "name\nabcdefg~  12\n");
}

static void optional_columns_go_before_text_is_squeezed(void **state)
{
    static const char *const titles[] = {"id", "time", "who", "when", "what", NULL};
    static const unsigned flags[] = {STOA_GRID_RIGHT, STOA_GRID_OPTIONAL, 0, STOA_GRID_RIGHT | STOA_GRID_OPTIONAL,
                                     STOA_GRID_WRAP};
    static const char *const cells[] = {"1", "12:00:00", "alice", "5", "one two three four five six seven", NULL};
    (void)state;
    assert_grid(titles, flags, cells, &(stoa_style){.columns = 60}, "id  time      who    when  what\n"
                                                                    " 1  12:00:00  alice     5  one two three four"
                                                                    " five six seven\n");
    assert_grid(titles, flags, cells, &(stoa_style){.columns = 49}, "id  time      who    what\n"
                                                                    " 1  12:00:00  alice  one two three four five six\n"
                                                                    "                     seven\n");
    assert_grid(titles, flags, cells, &(stoa_style){.columns = 36}, "id  who    what\n"
                                                                    " 1  alice  one two three four five\n"
                                                                    "           six seven\n");
}

static void a_headless_grid_has_no_titles(void **state)
{
    stoa_grid grid;
    stoa_buf out = STOA_BUF_GROWING;
    (void)state;
    stoa_grid_init(&grid, true);
    stoa_grid_column(&grid, "a very long title", 0);
    stoa_grid_column(&grid, "", 0);
    stoa_grid_cell(&grid, "k", 1);
    stoa_grid_cell(&grid, "v", 1);
    stoa_grid_print(&grid, &plain, &out);
    assert_string_equal(out.at, "k  v\n");
    stoa_grid_deinit(&grid);
    stoa_buf_deinit(&out);
}

static void wide_characters_count_as_what_they_take(void **state)
{
    static const char *const titles[] = {"a", "b", NULL};
    static const unsigned flags[] = {0, 0};
    static const char *const cells[] = {"\xe6\xbc\xa2\xe5\xad\x97", "x", "abc", "y", NULL};
    (void)state;
    if (!setlocale(LC_CTYPE, "C.UTF-8")) { skip(); }
    assert_grid(titles, flags, cells, &plain, "a     b\n\xe6\xbc\xa2\xe5\xad\x97  x\nabc   y\n");
}

/* --- random tables */

static void make_text(stoa_random *random, char *text, bool figure)
{
    size_t size = stoa_random_below(random, figure ? 6 : 40) + 1;
    for (size_t i = 0; i < size; i++) {
        bool blank = !figure && i && text[i - 1] != ' ' && i + 1 < size && stoa_random_below(random, 6) == 0;
        char letter = (char)((figure ? '0' : 'a') + (char)stoa_random_below(random, figure ? 10 : 26));
        text[i] = blank ? ' ' : letter;
    }
    text[size] = '\0';
}

static void assert_within(const char *page, size_t columns, int round)
{
    for (const char *at = page; *at;) {
        size_t size = strcspn(at, "\n");
        if (columns && stoa_text_columns(at, size) > columns) {
            fail_msg("seed %d round %d: a line of %zu in %zu:\n%s", SEED, round, size, columns, page);
        }
        if (size && at[size - 1] == ' ') { fail_msg("seed %d round %d: blanks at a line's end", SEED, round); }
        at += size + (at[size] == '\n');
    }
}

/* Letters and digits of text, in order, are found in page in that order. */
static void assert_all_there(const char *page, const char *text, int round)
{
    const char *at = page;
    for (; *text; text++) {
        if (*text == ' ') { continue; }
        at = strchr(at, *text);
        if (!at) { fail_msg("seed %d round %d: '%s' is cut", SEED, round, text); }
        at++;
    }
}

static void no_table_is_wider_than_the_terminal(void **state)
{
    static const char *const titles[] = {"id", "name", "what", NULL};
    static const unsigned flags[] = {STOA_GRID_RIGHT, STOA_GRID_OPTIONAL, STOA_GRID_WRAP};
    stoa_random random;
    (void)state;
    stoa_random_seed(&random, SEED);
    for (int round = 0; round < ROUNDS; round++) {
        char text[12][48];
        const char *cells[13] = {NULL};
        uint32_t rows = (uint32_t)stoa_random_below(&random, 4) + 1;
        for (uint32_t i = 0; i < rows * 3; i++) {
            make_text(&random, text[i], i % 3 == 0);
            cells[i] = text[i];
        }
        stoa_style style = {.columns = stoa_random_below(&random, 120) + 1, .utf8 = true};
        stoa_buf out = STOA_BUF_GROWING;
        print(titles, flags, cells, &style, &out);
        assert_within(out.at, style.columns, round);
        if (style.columns >= 60) {
            for (uint32_t i = 0; i < rows * 3; i++) {
                if (i % 3 != 1) { assert_all_there(out.at, text[i], round); }
            }
        }
        stoa_buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_they_need),
        cmocka_unit_test(decimal_points_stand_below_each_other),
        cmocka_unit_test(what_is_too_wide_gives_way_text_first),
        cmocka_unit_test(optional_columns_go_before_text_is_squeezed),
        cmocka_unit_test(a_headless_grid_has_no_titles),
        cmocka_unit_test(wide_characters_count_as_what_they_take),
        cmocka_unit_test(no_table_is_wider_than_the_terminal),
    };
    (void)printf("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
