/* follow.c - asks for the tree again and again. See follow.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/follow.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "admin/document.h"
#include "admin/page.h"
#include "admin/value.h"
#include "base/clock.h"

enum { LOOK_MS = 100, QUIET_MS = 1000, LINES_DEFAULT = 24, SPANS_MAX = 1 << 20 };

/* Up so many lines; to the end of the screen. */
static const char up[] = "\x1b[%zuA\r", rest_of_screen[] = "\x1b[J";

/* One turn, as the node's document has it. */
typedef struct turn {
    stoa_json at;
    uint64_t span, parent, at_ns;
} turn;

typedef struct follow {
    stoa_session *session;
    char trace[24];         /* its number */
    uint64_t began_ns, for_ns;
    uint64_t turns, quiet_ns; /* as the last answer said */
    const char *ended;      /* why, NULL: not yet */
    size_t drawn;           /* lines on the screen that are ours */
    stoa_buf last;          /* what they say */
    uint64_t *written;      /* spans that have their line, in order of their numbers */
    size_t written_count, written_cap;
    turn *found;            /* of the answer at hand, in order of time */
    size_t found_count, found_cap;
    bool headed;
} follow;

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* --- what the node answered */

static uint64_t number(stoa_json object, const char *key)
{
    stoa_json value;
    uint64_t out = 0;
    if (stoa_json_get(object, key, &value) || stoa_json_uint(value, &out)) { return 0; }
    return out;
}

static stoa_err read_answer(follow *f, const stoa_answer *answer, stoa_json *root_out)
{
    stoa_json trace;
    stoa_err err = stoa_json_parse(f->session->parser, answer->document, answer->document_bytes, root_out);
    if (!err) { err = stoa_json_get(*root_out, "trace", &trace); }
    if (err) { return STOA_FAIL(err, "the node's document"); }
    f->turns = number(trace, "turns");
    f->quiet_ns = number(trace, "quiet_ns");
    (void)snprintf(f->trace, sizeof f->trace, "%llu", (unsigned long long)number(trace, "id"));
    return STOA_OK;
}

static bool room_for_one(void **at, size_t count, size_t *cap, size_t bytes)
{
    if (count < *cap) { return true; }
    size_t wanted = *cap ? *cap * 2 : 256;
    void *more = wanted <= SPANS_MAX ? realloc(*at, wanted * bytes) : NULL;
    if (!more) { return false; }
    *at = more;
    *cap = wanted;
    return true;
}

static stoa_err gather(follow *f, stoa_json list)
{
    stoa_json_iter it;
    stoa_err err = stoa_json_first(list, &it);
    for (; !err && it.more; stoa_json_next(&it)) {
        stoa_json children;
        void *at = f->found;
        bool room = room_for_one(&at, f->found_count, &f->found_cap, sizeof *f->found);
        f->found = at;
        if (!room) { return STOA_FAIL(STOA_E_NOMEM, "turns"); }
        f->found[f->found_count++] = (turn){.at = it.value,
                                            .span = number(it.value, "span"),
                                            .parent = number(it.value, "parent"),
                                            .at_ns = number(it.value, "at_ns")};
        if (!stoa_json_get(it.value, "children", &children)) { err = gather(f, children); }
    }
    return err;
}

static int by_time(const void *a, const void *b)
{
    const turn *x = a, *y = b;
    if (x->at_ns != y->at_ns) { return x->at_ns < y->at_ns ? -1 : 1; }
    return x->span < y->span ? -1 : x->span > y->span;
}

/* --- lines */

/* Where span is, or would be, among those written. */
static size_t place_of(const follow *f, uint64_t span)
{
    size_t from = 0, to = f->written_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (f->written[middle] < span) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static bool is_written(const follow *f, uint64_t span)
{
    size_t at = place_of(f, span);
    return at < f->written_count && f->written[at] == span;
}

static stoa_err note_written(follow *f, uint64_t span)
{
    void *list = f->written;
    bool room = room_for_one(&list, f->written_count, &f->written_cap, sizeof *f->written);
    f->written = list;
    if (!room) { return STOA_FAIL(STOA_E_NOMEM, "turns"); }
    size_t at = place_of(f, span);
    memmove(f->written + at + 1, f->written + at, (f->written_count - at) * sizeof *f->written);
    f->written[at] = span;
    f->written_count++;
    return STOA_OK;
}

static const struct field {
    const char *key;
    bool text;
} fields[] = {{"message", true}, {"actor", true},    {"core", false}, {"at_ns", false}, {"queue_ns", false},
              {"turn_ns", false}, {"outcome", true}, {"span", false}, {"parent", false}};
enum { FIELDS = sizeof fields / sizeof fields[0] };

static void put_json(stoa_buf *line, stoa_json span)
{
    stoa_doc doc = stoa_doc_to(line);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "span", '{');
    for (const struct field *field = fields; field < fields + FIELDS; field++) {
        stoa_json value;
        const char *text;
        size_t size_bytes;
        uint64_t count;
        bool there = stoa_json_get(span, field->key, &value) == STOA_OK;
        if (there && field->text && !stoa_json_text(value, &text, &size_bytes)) {
            stoa_doc_bytes(&doc, field->key, text, size_bytes);
        } else if (there && !field->text && !stoa_json_uint(value, &count)) {
            stoa_doc_uint(&doc, field->key, count);
        } else {
            stoa_doc_null(&doc, field->key);
        }
    }
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
}

static void put_fields(stoa_buf *line, stoa_json span)
{
    for (const struct field *field = fields; field < fields + FIELDS; field++) {
        stoa_json value;
        bool there = stoa_json_get(span, field->key, &value) == STOA_OK && !stoa_json_is_null(value);
        if (field != fields) { stoa_buf_puts(line, "\t"); }
        if (there) { stoa_value_print(&value, field->text ? STOA_UNIT_TEXT : STOA_UNIT_ID, 0, line); }
    }
}

static void write_line(follow *f, stoa_buf *line)
{
    (void)fwrite(line->at, 1, line->used_bytes, f->session->out);
    (void)fputc('\n', f->session->out);
    stoa_buf_clear(line);
}

/* What has no line yet, in the order of time: a turn whose parent has none waits for it, unless it is the end. */
static stoa_err write_lines(follow *f)
{
    stoa_buf line = STOA_BUF_GROWING;
    stoa_err err = STOA_OK;
    if (!f->headed && !f->session->json) {
        for (const struct field *field = fields; field < fields + FIELDS; field++) {
            stoa_buf_printf(&line, "%s%s", field == fields ? "" : "\t", field->key);
        }
        write_line(f, &line);
    }
    f->headed = true;
    for (size_t i = 0; i < f->found_count && !err; i++) {
        const turn *t = &f->found[i];
        bool waits = t->parent && !f->ended && !is_written(f, t->parent);
        if (waits || is_written(f, t->span)) { continue; }
        if (f->session->json) {
            put_json(&line, t->at);
        } else {
            put_fields(&line, t->at);
        }
        write_line(f, &line);
        err = note_written(f, t->span);
    }
    (void)fflush(f->session->out);
    stoa_buf_deinit(&line);
    return err;
}

static void write_end(const follow *f, stoa_json root)
{
    static const char *const keys[] = {"id", "turns", "took_ns", "quiet_ns"};
    stoa_json trace;
    stoa_buf line = STOA_BUF_GROWING;
    stoa_doc doc = stoa_doc_to(&line);
    if (!f->session->json || stoa_json_get(root, "trace", &trace)) { return; }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "trace", '{');
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) { stoa_doc_uint(&doc, keys[i], number(trace, keys[i])); }
    stoa_doc_text(&doc, "ended", f->ended);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    (void)fprintf(f->session->out, "%s\n", line.at);
    (void)fflush(f->session->out);
    stoa_buf_deinit(&line);
}

static stoa_err show_lines(follow *f, const stoa_answer *answer)
{
    stoa_json root, spans;
    f->found_count = 0;
    stoa_err err = read_answer(f, answer, &root);
    if (!err) { err = stoa_json_get(root, "spans", &spans); }
    if (!err) { err = gather(f, spans); }
    if (err) { return err; }
    if (f->found_count) { qsort(f->found, f->found_count, sizeof *f->found, by_time); }
    err = write_lines(f);
    if (!err && f->ended) { write_end(f, root); }
    return err;
}

/* --- the screen */

static size_t screen_lines(const stoa_session *session)
{
    struct winsize size;
    return ioctl(fileno(session->out), TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : LINES_DEFAULT;
}

static size_t count_lines(const stoa_buf *page)
{
    size_t lines = 0;
    for (size_t i = 0; i < page->used_bytes; i++) { lines += page->at[i] == '\n'; }
    return lines;
}

/* The page in place of what stands there: all of it in the end, before that as many of its last lines as fit. */
static void draw(follow *f, const stoa_buf *page)
{
    FILE *out = f->session->out;
    const char *at = page->at, *end = page->at + page->used_bytes;
    size_t lines = count_lines(page), fits = screen_lines(f->session) - 2;
    if (f->drawn) { (void)fprintf(out, up, f->drawn); }
    (void)fputs(rest_of_screen, out);
    size_t skip = !f->ended && lines > fits ? lines - fits : 0;
    for (size_t i = 0; i < skip; i++) { at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1; }
    (void)fwrite(at, 1, (size_t)(end - at), out);
    if (!f->ended) {
        (void)fprintf(out, "%s\r", skip ? "... it grows; Ctrl-C ends" : "it grows; Ctrl-C ends");
    }
    (void)fflush(out);
    f->drawn = lines - skip;
}

static bool same(const stoa_buf *a, const stoa_buf *b)
{
    return a->used_bytes == b->used_bytes && memcmp(a->at, b->at, a->used_bytes) == 0;
}

static stoa_err show_tree(follow *f, const stoa_answer *answer)
{
    stoa_json root;
    stoa_style style = stoa_session_style(f->session);
    stoa_buf page = STOA_BUF_GROWING;
    stoa_err err = read_answer(f, answer, &root);
    if (!err) {
        err = stoa_page_print(f->session->parser, answer->document, answer->document_bytes, answer->view, answer->view_bytes,
                              &style, stoa_clock_real.wall_ns(&stoa_clock_real), &page);
    }
    if (!err && page.used_bytes && (f->ended || !f->last.used_bytes || !same(&page, &f->last))) { draw(f, &page); }
    stoa_buf_deinit(&f->last);
    f->last = page;
    return err;
}

/* --- looking again */

/* Until it is time to look again, or Ctrl-C. */
static void wait_a_little(follow *f)
{
    struct pollfd fd = {.fd = f->session->interrupt_fd, .events = POLLIN};
    (void)poll(&fd, 1, LOOK_MS);
    if (stoa_session_interrupted(f->session)) { f->ended = "interrupted"; }
}

static bool is_over(const follow *f)
{
    uint64_t follows_ns = now_ns() - f->began_ns;
    return f->for_ns ? follows_ns >= f->for_ns : f->quiet_ns >= STOA_MS(QUIET_MS);
}

static stoa_err show(follow *f, const stoa_answer *answer)
{
    return f->session->live && !f->session->json ? show_tree(f, answer) : show_lines(f, answer);
}

/* Ask for the tree as it is now. A Ctrl-C that comes meanwhile is the end, which wants to be shown as well. */
static stoa_exit look_again(follow *f, stoa_answer *answer)
{
    const char *const words[] = {"trace", f->trace};
    stoa_session *session = f->session;
    stoa_err err = stoa_remote_ask(session->remote, words, 2, false, session->timeout_ms, answer);
    if (err != STOA_E_CANCELLED) {
        return err ? stoa_session_complain(session, err, err == STOA_E_UNAVAILABLE ? STOA_EXIT_UNREACHABLE : stoa_exit_of(err))
                   : STOA_EXIT_OK;
    }
    (void)stoa_session_interrupted(session);
    f->ended = "interrupted";
    return stoa_session_ask(session, words, 2, false, answer);
}

/* The answer at hand is shown; then what the node has by now, until it ends. */
static stoa_exit go_on(follow *f, stoa_answer *answer)
{
    stoa_json root;
    stoa_err err = read_answer(f, answer, &root);
    for (;;) {
        if (!err && !f->ended && is_over(f)) { f->ended = f->for_ns ? "time" : "quiet"; }
        if (!err) { err = show(f, answer); }
        if (err) { return stoa_session_complain(f->session, err, STOA_EXIT_FAILED); }
        if (f->ended) { return STOA_EXIT_OK; }
        wait_a_little(f);
        stoa_exit cls = look_again(f, answer);
        if (cls) { return cls; }
        if (answer->err) { return stoa_session_answered(f->session, answer); }
        err = read_answer(f, answer, &root);
    }
}

/* The command's words without its options; name: a copy of its own that they may be cut from. */
static uint32_t words_of(const stoa_invocation *said, char *name, const char **words)
{
    uint32_t count = 0;
    char *rest = NULL;
    for (char *at = strtok_r(name, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) { words[count++] = at; }
    for (uint32_t i = 0; i < said->count; i++) { words[count++] = said->args[i]; }
    return count;
}

stoa_exit stoa_follow_run(stoa_session *session, const stoa_invocation *said)
{
    char name[STOA_WORD_MAX + 1];
    const char *words[STOA_WORDS_MAX], *seconds = stoa_invocation_option(said, "for");
    stoa_answer answer;
    (void)snprintf(name, sizeof name, "%s", said->command->name);
    uint32_t count = words_of(said, name, words);
    stoa_exit cls = stoa_session_ask(session, words, count, false, &answer);
    if (cls) { return cls; }
    uint64_t for_s = seconds ? stoa_argument_number(seconds) : 0;
    if (answer.err || (seconds && !for_s)) { return stoa_session_answered(session, &answer); }
    follow f = {.session = session, .began_ns = now_ns(), .for_ns = STOA_S(for_s), .last = STOA_BUF_GROWING};
    session->exit = go_on(&f, &answer);
    stoa_buf_deinit(&f.last);
    free(f.written);
    free(f.found);
    return session->exit;
}
