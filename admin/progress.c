/* progress.c - asks how far it is, and draws a line. See progress.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/progress.h"

#include <poll.h>
#include <string.h>

#include "admin/value.h"
#include "base/clock.h"

enum { ASK_MS = 1000, LINE_COLUMNS = 200 };

/* What takes long, and what becomes of it when nobody waits any more. behind: it goes on behind its answer, which comes at once. */
static const struct {
    stoa_command_id command;
    bool behind;
    const char *left;
} long_ones[] = {
    {STOA_COMMAND_journal_verify, false, "nobody waits: the verification ends"},
    {STOA_COMMAND_journal_reindex, false, "the reindex goes on: progress shows how far it is"},
    {STOA_COMMAND_snapshot, false, "the snapshot goes on: snapshots shows how far it is"},
    {STOA_COMMAND_backup, false, "the backup goes on: backup status shows how far it is"},
    {STOA_COMMAND_backup_verify, false, "the verification goes on: backup status shows how far it is"},
    {STOA_COMMAND_restore, false, "the restore goes on: backup status shows how far it is"},
    {STOA_COMMAND_archive_run, false, "the archive goes on: archive shows what it has done"},
    {STOA_COMMAND_projection_rebuild, true, "the rebuild goes on: projection status shows how far it is"},
};
enum { LONG_ONES = sizeof long_ones / sizeof long_ones[0] };

typedef struct watching {
    stoa_session *session;
    const char *command;
    stoa_remote *beside;
    bool drawn, found; /* a line stands there; the last look saw the work */
} watching;

static unsigned place_of(const stoa_invocation *said)
{
    unsigned i = 0;
    while (i < LONG_ONES && long_ones[i].command != said->command->id) { i++; }
    return i;
}

bool stoa_progress_wanted(const stoa_invocation *said)
{
    return place_of(said) < LONG_ONES && !stoa_invocation_option(said, "plan");
}

/* --- the line */

static void clear(watching *w)
{
    if (!w->drawn) { return; }
    (void)fputs("\r\x1b[K", w->session->out);
    (void)fflush(w->session->out);
    w->drawn = false;
}

static void put(stoa_json work, const char *key, stoa_unit unit, const char *before, const char *after, stoa_buf *line)
{
    stoa_json value;
    if (stoa_json_get(work, key, &value) || stoa_json_is_null(value)) { return; }
    stoa_buf_puts(line, before);
    stoa_value_print(&value, unit, 0, line);
    stoa_buf_puts(line, after);
}

static void draw(watching *w, stoa_json work)
{
    char text[1024];
    stoa_buf line = STOA_BUF_FIXED(text);
    stoa_style style = stoa_session_style(w->session);
    stoa_buf_puts(&line, w->command);
    put(work, "shard", STOA_UNIT_TEXT, " ", "", &line);
    put(work, "step", STOA_UNIT_TEXT, "  ", "", &line);
    put(work, "position", STOA_UNIT_COUNT, "  ", "", &line);
    put(work, "last", STOA_UNIT_COUNT, " of ", "", &line);
    put(work, "unit", STOA_UNIT_TEXT, " ", "", &line);
    put(work, "permille", STOA_UNIT_PERMILLE, "  ", "", &line);
    put(work, "rate", STOA_UNIT_RATE, "  ", "", &line);
    put(work, "left_ns", STOA_UNIT_NS, "  ", " left", &line);
    size_t columns = style.columns > 1 && style.columns < LINE_COLUMNS ? style.columns - 1 : LINE_COLUMNS;
    (void)fprintf(w->session->out, "\r\x1b[K%.*s", (int)stoa_text_fit(text, line.used_bytes, columns), text);
    (void)fflush(w->session->out);
    w->drawn = true;
}

static bool is_named(stoa_json work, const char *command)
{
    stoa_json value;
    const char *text;
    size_t bytes;
    if (stoa_json_get(work, "command", &value) || stoa_json_text(value, &text, &bytes)) { return false; }
    return bytes == strlen(command) && memcmp(text, command, bytes) == 0;
}

/* Draw how far it is now; what cannot be asked is not drawn. */
static void look(void *context)
{
    static const char *const words[] = {"progress"};
    watching *w = context;
    stoa_answer answer;
    stoa_json root, works;
    stoa_json_iter it;
    w->found = false;
    if (!w->beside && stoa_remote_beside(w->session->remote, &w->beside)) { return; }
    stoa_err err = stoa_remote_ask(w->beside, words, 1, false, ASK_MS, &answer);
    if (!err) { err = answer.err; }
    if (!err) { err = stoa_json_parse(w->session->parser, answer.document, answer.document_bytes, &root); }
    if (!err) { err = stoa_json_get(root, "work", &works); }
    if (!err) { err = stoa_json_first(works, &it); }
    for (; !err && it.more && !w->found; stoa_json_next(&it)) {
        w->found = is_named(it.value, w->command);
        if (w->found) { draw(w, it.value); }
    }
}

/* --- running */

static bool interrupted_within(stoa_session *session, int ms)
{
    struct pollfd fd = {.fd = session->interrupt_fd, .events = POLLIN};
    return poll(&fd, 1, ms) > 0;
}

/* What goes on behind its answer is followed to its end. */
static stoa_exit follow(watching *w, const char *left)
{
    stoa_exit cls = w->session->exit;
    do {
        if (interrupted_within(w->session, STOA_WAIT_MS)) {
            clear(w);
            (void)fprintf(w->session->err, "stoa: %s\n", left);
            return cls;
        }
        look(w);
    } while (w->found);
    clear(w);
    (void)fputs("it has ended\n", w->session->out);
    return cls;
}

static stoa_exit complain(stoa_session *session, stoa_err err, const char *left)
{
    if (err == STOA_E_CANCELLED) { err = STOA_FAIL(STOA_E_CANCELLED, "interrupted; %s", left); }
    if (err == STOA_E_TIMEOUT) { err = STOA_FAIL(STOA_E_TIMEOUT, "no answer in time; %s", left); }
    return stoa_session_complain(session, err, err == STOA_E_UNAVAILABLE ? STOA_EXIT_UNREACHABLE : stoa_exit_of(err));
}

stoa_exit stoa_progress_run(stoa_session *session, const stoa_words *words, const stoa_invocation *said, bool write)
{
    unsigned place = place_of(said);
    bool draws = session->live && !session->json;
    watching w = {.session = session, .command = said->command->name};
    uint64_t timeout_ms = session->timed ? session->timeout_ms : STOA_TIMEOUT_MS_MAX;
    stoa_answer answer;
    stoa_err err = stoa_remote_attach(session->remote, session->timeout_ms);
    if (err) { return stoa_session_complain(session, err, err == STOA_E_UNAVAILABLE ? STOA_EXIT_UNREACHABLE : stoa_exit_of(err)); }
    if (draws) { stoa_remote_on_wait(session->remote, look, &w); }
    err = stoa_remote_ask(session->remote, words->at, words->count, write, timeout_ms, &answer);
    stoa_remote_on_wait(session->remote, NULL, NULL);
    clear(&w);
    stoa_exit cls = err ? complain(session, err, long_ones[place].left) : stoa_session_answered(session, &answer);
    if (!err && answer.err == STOA_E_TIMEOUT) { (void)fprintf(session->err, "stoa: %s\n", long_ones[place].left); }
    if (draws && !err && !answer.err && long_ones[place].behind) { cls = follow(&w, long_ones[place].left); }
    stoa_remote_free(w.beside);
    return cls;
}
