/* command_test.c - goal: what a user types becomes the right words, the right command and the right complaint; what Tab
 * offers may really stand there. Method: lines with their words, every mistake with its sentence, random lines that
 * must come back when they are quoted, random edits against a plain edit distance, and the table checked against
 * itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { SEED = 20261121, ROUNDS = 3000 };

static stoa_err split(const char *line, stoa_words *out)
{
    return stoa_words_split(line, strlen(line), out);
}

static void assert_words(const char *line, const char *expected)
{
    stoa_words words;
    char joined[STOA_LINE_MAX * 2];
    stoa_buf text = STOA_BUF_FIXED(joined);
    assert_int_equal(split(line, &words), STOA_OK);
    stoa_buf_puts(&text, "");
    for (uint32_t i = 0; i < words.count; i++) { stoa_buf_printf(&text, "%s<%s>", i ? " " : "", words.at[i]); }
    assert_string_equal(joined, expected);
}

static void words_are_what_stands_between_blanks_and_in_quotes(void **state)
{
    (void)state;
    assert_words("", "");
    assert_words(" \t ", "");
    assert_words("  # anything 'unclosed", "");
    assert_words("node\r\n", "<node>");
    assert_words("  book\tBTCUSDT   5 ", "<book> <BTCUSDT> <5>");
    assert_words("a \"b c\" 'd \"e'", "<a> <b c> <d \"e>");
    assert_words("\"\" ''", "<> <>");
    assert_words("a\"b\"'c'd", "<abcd>");
    assert_words("\"q\\\"q \\\\ \\n\" '\\\"'", "<q\"q \\ \\n> <\\\">");
    assert_words("a#b #c", "<a#b> <#c>");
    assert_words("\xc3\xa4 \xe2\x82\xac", "<\xc3\xa4> <\xe2\x82\xac>");
}

static void assert_refused(const char *line, stoa_err expected, const char *part)
{
    stoa_words words = {.count = 77};
    assert_int_equal(split(line, &words), expected);
    assert_int_equal(words.count, 77);
    assert_non_null(strstr(stoa_err_trail(), part));
}

static void a_bad_line_is_refused_in_words(void **state)
{
    char line[STOA_LINE_MAX + 2];
    (void)state;
    assert_refused("a 'b", STOA_E_INVALID, "quote ' is not closed");
    assert_refused("a \"b\\\"", STOA_E_INVALID, "quote \" is not closed");
    assert_refused("a\x01", STOA_E_INVALID, "control");
    assert_refused("a\x1b[2J", STOA_E_INVALID, "control");
    assert_refused("a\xff", STOA_E_INVALID, "UTF-8");
    memset(line, 'x', sizeof line);
    line[STOA_WORD_MAX + 1] = '\0';
    assert_refused(line, STOA_E_TOO_LARGE, "a word has at most");
    line[STOA_WORD_MAX] = '\0';
    assert_int_equal(split(line, &(stoa_words){0}), STOA_OK);
    memset(line, ' ', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    assert_refused(line, STOA_E_TOO_LARGE, "a line has at most");
    assert_words("1 2 3 4 5 6 7 8 9 10 11 12", "<1> <2> <3> <4> <5> <6> <7> <8> <9> <10> <11> <12>");
    assert_refused("1 2 3 4 5 6 7 8 9 10 11 12 13", STOA_E_TOO_LARGE, "a command has at most 12 words");
}

/* A random word, and the same in a random way to write it. */
static void make_word(stoa_random *random, char *word, stoa_buf *line)
{
    static const char letters[] = "ab \t\"\\'#*/\xc3\xa4";
    size_t size = stoa_random_below(random, 8), at = 0;
    while (at < size) {
        char letter = letters[stoa_random_below(random, sizeof letters - 3)];
        word[at++] = letter;
    }
    word[at] = '\0';
    stoa_buf_puts(line, " \"");
    for (size_t i = 0; i < at; i++) {
        bool escape = word[i] == '"' || (word[i] == '\\' && (i + 1 == at || word[i + 1] == '"' || word[i + 1] == '\\'));
        if (escape) { stoa_buf_puts(line, "\\"); }
        stoa_buf_put(line, &word[i], 1);
    }
    stoa_buf_puts(line, "\"");
}

static void any_words_come_back_from_their_quotes(void **state)
{
    stoa_random random;
    (void)state;
    stoa_random_seed(&random, SEED);
    for (int round = 0; round < ROUNDS; round++) {
        char made[4][16], at[512];
        stoa_buf line = STOA_BUF_FIXED(at);
        stoa_words words;
        uint32_t count = (uint32_t)stoa_random_below(&random, 4) + 1;
        for (uint32_t i = 0; i < count; i++) { make_word(&random, made[i], &line); }
        if (split(at, &words)) { fail_msg("seed %d round %d: %s: %s", SEED, round, at, stoa_err_trail()); }
        assert_int_equal(words.count, count);
        for (uint32_t i = 0; i < count; i++) { assert_string_equal(words.at[i], made[i]); }
    }
}

/* --- commands */

static stoa_err resolve(const char *line, stoa_invocation *out)
{
    static stoa_words words; /* the invocation points into it */
    stoa_err err = split(line, &words);
    return err ? err : stoa_command_resolve(words.at, words.count, out);
}

static void a_line_finds_its_command_and_arguments(void **state)
{
    stoa_invocation said;
    (void)state;
    assert_int_equal(resolve("explain order 42", &said), STOA_OK);
    assert_int_equal(said.command->id, STOA_COMMAND_explain_order);
    assert_int_equal(said.count, 1);
    assert_int_equal(stoa_argument_number(said.args[0]), 42);
    assert_int_equal(resolve("book BTCUSDT", &said), STOA_OK);
    assert_int_equal(said.count, 1);
    assert_int_equal(resolve("explain order 18446744073709551615", &said), STOA_OK);
    assert_int_equal(stoa_argument_number(said.args[0]), UINT64_MAX);
    assert_int_equal(resolve("orders alice all", &said), STOA_OK);
    assert_string_equal(said.args[1], "all");
    assert_int_equal(resolve("help explain order", &said), STOA_OK);
    assert_true(stoa_command_local(said.command));
    assert_int_equal(said.count, 2);
    assert_int_equal(resolve("exit", &said), STOA_OK);
    assert_int_equal(said.command->id, STOA_COMMAND_quit);
}

static void an_option_stands_anywhere_behind_its_command(void **state)
{
    static const char *const lines[] = {"trace next a/b --for 5", "trace next --for 5 a/b"};
    stoa_invocation said;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(resolve(lines[i], &said), STOA_OK);
        assert_int_equal(said.count, 1);
        assert_string_equal(said.args[0], "a/b");
        assert_string_equal(stoa_invocation_option(&said, "for"), "5");
        assert_null(stoa_invocation_option(&said, "from"));
    }
    assert_int_equal(resolve("trace next", &said), STOA_OK);
    assert_null(stoa_invocation_option(&said, "for"));
}

static void assert_complaint(const char *line, const char *part)
{
    stoa_invocation said = {.count = 99};
    stoa_err err = resolve(line, &said);
    if (err != STOA_E_INVALID || !strstr(stoa_err_trail(), part)) {
        fail_msg("'%s' gives %s, %s; wanted '%s'", line, stoa_err_name(err), stoa_err_trail(), part);
    }
    assert_int_equal(said.count, 99);
}

static void a_mistake_is_told_with_what_would_be_right(void **state)
{
    (void)state;
    assert_complaint("actrs", "unknown command 'actrs'; did you mean 'actors'?");
    assert_complaint("ACTORS", "did you mean 'actors'?");
    assert_complaint("explian order 1", "did you mean 'explain order'?");
    assert_complaint("log levle info", "did you mean 'log level'?");
    assert_complaint("xyzzy", "unknown command 'xyzzy'; help lists all");
    assert_complaint("explain", "'explain' goes on: explain order <order>, explain event <shard> <event>");
    assert_complaint("log", "'log' goes on: log level [level]");
    assert_complaint("book", "book needs <symbol>: book <symbol> [levels]");
    assert_complaint("book A 1 2", "book takes at most 2 arguments: book <symbol> [levels]");
    assert_complaint("actors a b", "actors takes at most 1 argument: actors [pattern]");
    assert_complaint("node now", "node takes no arguments");
    assert_complaint("book A 0", "levels is a number from 1 to 64, not '0'");
    assert_complaint("book A 65", "levels is a number from 1 to 64, not '65'");
    assert_complaint("book A -1", "levels is a number from 1 to 64, not '-1'");
    assert_complaint("explain order 18446744073709551616", "order is a number from 1, not '18446744073709551616'");
    assert_complaint("explain order 99999999999999999999", "not '99999999999999999999'");
    assert_complaint("explain order 0x1", "not '0x1'");
    assert_complaint("explain order \"\"", "not ''");
    assert_complaint("log level inof", "one of debug, info, warn, error, off, not 'inof'; did you mean 'info'?");
    assert_complaint("log level loud", "not 'loud'");
    assert_complaint("trace --for 5", "trace needs <trace>: trace <trace> [--for seconds]");
    assert_complaint("trace 5 --for", "--for needs <seconds>: trace <trace> [--for seconds]");
    assert_complaint("trace 5 --for ever", "seconds is a number from 0 to 86400, not 'ever'");
    assert_complaint("trace 5 --to 7", "trace has no option '--to': <trace> [--for seconds]");
    assert_complaint("node --for 5", "node has no option '--for'");
    assert_complaint("actor \"\"", "actor is text of 1 to 63 bytes, not ''");
}

static void only_what_changes_the_node_needs_the_right_to_write(void **state)
{
    stoa_invocation said;
    (void)state;
    assert_int_equal(resolve("log level", &said), STOA_OK);
    assert_false(stoa_command_writes(&said));
    assert_int_equal(resolve("log level info", &said), STOA_OK);
    assert_true(stoa_command_writes(&said));
    assert_int_equal(resolve("hash trade 5", &said), STOA_OK);
    assert_false(stoa_command_writes(&said));
    assert_int_equal(resolve("projection rebuild", &said), STOA_OK);
    assert_true(stoa_command_writes(&said));
    assert_int_equal(resolve("projection rebuild --plan", &said), STOA_OK);
    assert_false(stoa_command_writes(&said));
}

static void the_table_agrees_with_itself(void **state)
{
    const stoa_command *command;
    const stoa_argument *argument;
    (void)state;
    for (size_t i = 0; (command = stoa_command_at(i)) != NULL; i++) {
        stoa_signature takes; /* asserts that every argument is in the table */
        stoa_command_signature(command, &takes);
        assert_true(takes.required <= takes.count && *command->summary && *command->since);
        assert_int_equal(stoa_command_local(command), command->id >= STOA_COMMAND_REMOTE_END);
        for (size_t k = 0; k < i; k++) { assert_string_not_equal(stoa_command_at(k)->name, command->name); }
    }
    for (size_t i = 0; (argument = stoa_argument_at(i)) != NULL; i++) {
        bool used = false;
        for (size_t k = 0; (command = stoa_command_at(k)) != NULL; k++) {
            stoa_signature takes;
            stoa_command_signature(command, &takes);
            for (uint32_t n = 0; n < takes.count; n++) { used = used || takes.at[n] == argument; }
            for (uint32_t n = 0; n < takes.option_count; n++) { used = used || takes.options[n].takes == argument; }
        }
        if (!used) { fail_msg("no command takes %s", argument->name); }
        assert_true(argument->low <= argument->high && *argument->summary);
    }
}

/* --- completion */

static void names(void *context, const char *cls, const char *prefix, stoa_candidates *candidates)
{
    char *asked = context;
    (void)strcpy(asked, cls);
    stoa_candidates_add(candidates, prefix, "trade_account/bob");
    stoa_candidates_add(candidates, prefix, "trade_account/alice");
    stoa_candidates_add(candidates, prefix, "trade_account/alice");
    stoa_candidates_add(candidates, prefix, "risk/main");
}

static void assert_completes(const char *line, const char *cls, const char *expected)
{
    char asked[32] = "", joined[4096];
    stoa_candidates candidates;
    stoa_buf text = STOA_BUF_FIXED(joined);
    stoa_complete(line, strlen(line), names, asked, &candidates);
    stoa_buf_puts(&text, "");
    for (uint32_t i = 0; i < candidates.count; i++) { stoa_buf_printf(&text, "%s%s", i ? " " : "", candidates.at[i]); }
    if (strcmp(joined, expected) != 0) { fail_msg("'%s' completes to '%s', not '%s'", line, joined, expected); }
    assert_string_equal(asked, cls);
    assert_int_equal(candidates.whole, candidates.count == 1);
    if (candidates.count) {
        size_t typed = strlen(line) - candidates.from_bytes;
        assert_memory_equal(candidates.at[0], line + candidates.from_bytes, typed);
        assert_true(stoa_candidates_common(&candidates) >= typed);
    }
}

static void tab_offers_what_may_stand_there(void **state)
{
    (void)state;
    assert_completes("ac", "", "actor actors");
    assert_completes("node", "", "node");
    assert_completes("e", "", "exit explain");
    assert_completes("explain ", "", "event order");
    assert_completes("explain o", "", "order");
    assert_completes("explain order ", "", "");
    assert_completes("log level ", "", "debug error info off warn");
    assert_completes("log level w", "", "warn");
    assert_completes("actor ", "actors", "risk/main trade_account/alice trade_account/bob");
    assert_completes("  actor   t", "actors", "trade_account/alice trade_account/bob");
    assert_completes("actor risk/main ", "", "inspect");
    assert_completes("actor risk/main inspect ", "", "");
    assert_completes("orders x ", "", "all open");
    assert_completes("hash ", "shards", "risk/main trade_account/alice trade_account/bob");
    assert_completes("help ex", "", "exit explain");
    assert_completes("help explain ", "", "event order");
    assert_completes("help explain order ", "", "");
    assert_completes("trace next --", "", "--for");
    assert_completes("trace 5 -", "", "--for");
    assert_completes("trace next --for ", "", "");
    assert_completes("trace next --for 5 t", "actors", "trade_account/alice trade_account/bob");
    assert_completes("node --", "", "");
    assert_completes("xyzzy ", "", "");
    assert_completes("# ac", "", "");
    assert_completes("actor 't", "", "");
    assert_completes("actor \"t\"", "", "");
}

static void all_candidates_share_what_they_have_in_common(void **state)
{
    stoa_candidates c = {0};
    (void)state;
    assert_int_equal(stoa_candidates_common(&c), 0);
    stoa_candidates_add(&c, "", "a\xc3\xa4");
    stoa_candidates_add(&c, "", "a\xc3\xb6");
    assert_int_equal(stoa_candidates_common(&c), 1); /* not half a character */
    c.count = 1;
    assert_int_equal(stoa_candidates_common(&c), 3);
}

static void a_full_list_takes_no_more(void **state)
{
    static stoa_candidates c;
    char name[16];
    (void)state;
    for (int i = 0; i < 2 * STOA_CANDIDATES_MAX; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        stoa_candidates_add(&c, "", name);
    }
    assert_int_equal(c.count, STOA_CANDIDATES_MAX);
}

/* --- distance */

/* The same recursively: slow and plain. */
static uint32_t plain_distance(const char *a, size_t i, const char *b, size_t j)
{
    if (!i || !j) { return (uint32_t)(i + j); }
    uint32_t best = plain_distance(a, i - 1, b, j - 1) + (a[i - 1] != b[j - 1]);
    uint32_t drop = plain_distance(a, i - 1, b, j) + 1, add = plain_distance(a, i, b, j - 1) + 1;
    best = drop < best ? drop : best;
    best = add < best ? add : best;
    if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        uint32_t swap = plain_distance(a, i - 2, b, j - 2) + 1;
        best = swap < best ? swap : best;
    }
    return best;
}

static void the_distance_of_words_counts_their_edits(void **state)
{
    stoa_random random;
    (void)state;
    assert_int_equal(stoa_word_distance("", ""), 0);
    assert_int_equal(stoa_word_distance("abc", ""), 3);
    assert_int_equal(stoa_word_distance("kitten", "sitting"), 3);
    assert_int_equal(stoa_word_distance("BTCUSDT", "btcusdt"), 0);
    assert_int_equal(stoa_word_distance("lobyb", "lobby"), 1);
    stoa_random_seed(&random, SEED);
    for (int round = 0; round < 400; round++) {
        char words[2][8];
        for (int w = 0; w < 2; w++) {
            size_t size = stoa_random_below(&random, 7);
            for (size_t i = 0; i < size; i++) { words[w][i] = (char)('a' + (char)stoa_random_below(&random, 3)); }
            words[w][size] = '\0';
        }
        uint32_t expected = plain_distance(words[0], strlen(words[0]), words[1], strlen(words[1]));
        if (stoa_word_distance(words[0], words[1]) != expected) {
            fail_msg("seed %d: '%s' '%s'", SEED, words[0], words[1]);
        }
    }
}

static void a_word_that_shares_nothing_is_not_proposed(void **state)
{
    (void)state;
    assert_true(stoa_word_near("loby", "lobby", 1));
    assert_false(stoa_word_near("x", "y", 1));
    assert_false(stoa_word_near("abcdef", "abcxyz", 3));
}

/* --- help and pages */

static void help_and_the_reference_page_know_every_command(void **state)
{
    const stoa_command *command;
    stoa_buf page = STOA_BUF_GROWING, document = STOA_BUF_GROWING, view = STOA_BUF_GROWING;
    (void)state;
    stoa_command_docs(&page);
    stoa_command_help(NULL, &document, &view);
    for (size_t i = 0; (command = stoa_command_at(i)) != NULL; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "| `%s%s%s` |", command->name, *command->args ? " " : "", command->args);
        if (!strstr(page.at, text)) { fail_msg("no %s", text); }
        (void)snprintf(text, sizeof text, "\"name\":\"%s\"", command->name);
        if (!strstr(document.at, text)) { fail_msg("no %s", text); }
    }
    assert_non_null(strstr(view.at, "table commands:"));
    stoa_buf_deinit(&page);
    stoa_buf_deinit(&document);
    stoa_buf_deinit(&view);
}

static void help_of_one_command_explains_its_arguments(void **state)
{
    static const char *const words[] = {"explain", "order"};
    const stoa_command *command;
    stoa_buf document = STOA_BUF_GROWING, view = STOA_BUF_GROWING;
    (void)state;
    assert_int_equal(stoa_command_named(words, 2, &command), STOA_OK);
    stoa_command_help(command, &document, &view);
    assert_non_null(strstr(document.at, "\"usage\":\"explain order <order>\""));
    assert_non_null(strstr(document.at, "\"takes\":\"a number from 1\""));
    assert_int_equal(stoa_command_named(words, 1, &command), STOA_E_INVALID);
    stoa_buf_deinit(&document);
    stoa_buf_deinit(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_what_stands_between_blanks_and_in_quotes),
        cmocka_unit_test(a_bad_line_is_refused_in_words),
        cmocka_unit_test(any_words_come_back_from_their_quotes),
        cmocka_unit_test(a_line_finds_its_command_and_arguments),
        cmocka_unit_test(an_option_stands_anywhere_behind_its_command),
        cmocka_unit_test(a_mistake_is_told_with_what_would_be_right),
        cmocka_unit_test(only_what_changes_the_node_needs_the_right_to_write),
        cmocka_unit_test(the_table_agrees_with_itself),
        cmocka_unit_test(tab_offers_what_may_stand_there),
        cmocka_unit_test(all_candidates_share_what_they_have_in_common),
        cmocka_unit_test(a_full_list_takes_no_more),
        cmocka_unit_test(the_distance_of_words_counts_their_edits),
        cmocka_unit_test(a_word_that_shares_nothing_is_not_proposed),
        cmocka_unit_test(help_and_the_reference_page_know_every_command),
        cmocka_unit_test(help_of_one_command_explains_its_arguments),
    };
    (void)printf("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
