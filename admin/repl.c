/* repl.c - the prompt on libedit. See repl.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/repl.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "admin/value.h"

enum { HISTORY_LINES = 1000, NAMES_TIMEOUT_MS = 1000 };

typedef struct repl {
    stoa_session *session;
    EditLine *edit;
    History *history;
    char history_path[512]; /* "": nowhere */
    char prompt[128];
} repl;

static repl *repl_of(EditLine *edit)
{
    void *self = NULL;
    (void)el_get(edit, EL_CLIENTDATA, &self);
    return self;
}

/* --- prompt */

static char *prompt(EditLine *edit)
{
    repl *r = repl_of(edit);
    const stoa_session *session = r->session;
    const char *name = stoa_remote_name(session->remote);
    stoa_buf safe = STOA_BUF_GROWING;
    stoa_text_safe(&safe, name, strlen(name), false);
    stoa_buf text = STOA_BUF_FIXED(r->prompt);
    bool attached = stoa_remote_attached(session->remote);
    stoa_buf_printf(&text, "%s%s%s> ", safe.used_bytes ? safe.at : "stoa", attached ? "" : " (no node)",
                    session->write ? " (write)" : "");
    stoa_buf_deinit(&safe);
    return r->prompt;
}

/* --- completion */

static void ask_names(void *context, const char *cls, const char *prefix, stoa_candidates *candidates)
{
    stoa_session *session = context;
    const char *const words[] = {"names", cls};
    stoa_answer answer;
    stoa_json root, names;
    stoa_json_iter it;
    if (stoa_remote_ask(session->remote, words, 2, false, NAMES_TIMEOUT_MS, &answer) || answer.err) { return; }
    if (stoa_json_parse(session->parser, answer.document, answer.document_bytes, &root) ||
        stoa_json_get(root, "names", &names) || stoa_json_first(names, &it)) {
        return;
    }
    for (; it.more; stoa_json_next(&it)) {
        char name[STOA_WORD_MAX + 1];
        const char *text;
        size_t size_bytes;
        if (stoa_json_text(it.value, &text, &size_bytes) || size_bytes > STOA_WORD_MAX) { continue; }
        memcpy(name, text, size_bytes);
        name[size_bytes] = '\0';
        stoa_candidates_add(candidates, prefix, name);
    }
}

/* All candidates below the line, as many side by side as fit. */
static void list(const stoa_session *session, const stoa_candidates *candidates)
{
    stoa_style style = stoa_session_style(session);
    size_t widest = 0, across;
    for (uint32_t i = 0; i < candidates->count; i++) {
        size_t columns = stoa_text_columns(candidates->at[i], strlen(candidates->at[i]));
        widest = columns > widest ? columns : widest;
    }
    across = style.columns / (widest + 2) ? style.columns / (widest + 2) : 1;
    for (uint32_t i = 0; i < candidates->count; i++) {
        stoa_buf safe = STOA_BUF_GROWING;
        stoa_text_safe(&safe, candidates->at[i], strlen(candidates->at[i]), false);
        bool last = (i + 1) % across == 0 || i + 1 == candidates->count;
        size_t pad = widest + 2 - stoa_text_columns(candidates->at[i], strlen(candidates->at[i]));
        (void)fprintf(session->out, "%s%s%*s%s", i ? "" : "\n", safe.at, last ? 0 : (int)pad, "", last ? "\n" : "");
        stoa_buf_deinit(&safe);
    }
    (void)fflush(session->out);
}

static unsigned char complete(EditLine *edit, int key)
{
    static stoa_candidates candidates; /* 32 KiB; one thread */
    repl *r = repl_of(edit);
    const LineInfo *line = el_line(edit);
    size_t size_bytes = (size_t)(line->cursor - line->buffer);
    (void)key;
    stoa_complete(line->buffer, size_bytes, ask_names, r->session, &candidates);
    if (!candidates.count) { return CC_REFRESH_BEEP; }
    size_t typed = size_bytes - candidates.from_bytes, common = stoa_candidates_common(&candidates);
    char more[STOA_WORD_MAX + 2];
    size_t more_bytes = common > typed ? common - typed : 0;
    if (more_bytes) { memcpy(more, candidates.at[0] + typed, more_bytes); }
    if (candidates.whole) { more[more_bytes++] = ' '; }
    more[more_bytes] = '\0';
    if (more_bytes) { return el_insertstr(edit, more) ? CC_ERROR : CC_REFRESH; }
    list(r->session, &candidates);
    return CC_REDISPLAY;
}

/* --- history */

/* $HOME/.stoa/history; the folder is made when there is none. */
static void find_history(repl *r)
{
    const char *home = getenv("HOME");
    stoa_buf path = STOA_BUF_FIXED(r->history_path);
    if (!home || !*home) { return; }
    stoa_buf_printf(&path, "%s/.stoa", home);
    if (!path.cut && mkdir(r->history_path, 0700) && errno != EEXIST) { path.cut = true; }
    stoa_buf_puts(&path, "/history");
    if (path.cut) { r->history_path[0] = '\0'; }
}

static void load_history(repl *r)
{
    HistEvent event;
    find_history(r);
    (void)history(r->history, &event, H_SETSIZE, HISTORY_LINES);
    (void)history(r->history, &event, H_SETUNIQUE, 1);
    if (r->history_path[0]) { (void)history(r->history, &event, H_LOAD, r->history_path); }
}

static void remember(repl *r, const char *line)
{
    HistEvent event;
    if (line[strspn(line, " \t\r\n")] == '\0') { return; }
    (void)history(r->history, &event, H_ENTER, line);
    if (!r->history_path[0]) { return; }
    mode_t mask = umask(077);
    (void)history(r->history, &event, H_SAVE, r->history_path);
    (void)umask(mask);
}

/* --- keys */

/* One character for the editor, waiting for a signal as well: one that comes before the wait begins is not missed. */
static int read_key(EditLine *edit, wchar_t *key)
{
    int interrupt_fd = repl_of(edit)->session->interrupt_fd;
    mbstate_t partial = {0};
    for (;;) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = interrupt_fd, .events = POLLIN}};
        char byte;
        if (poll(fds, 2, -1) < 0 && errno != EINTR) { return -1; }
        if (fds[1].revents) {
            errno = EINTR;
            return -1;
        }
        if (!fds[0].revents) { continue; }
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) { return (int)got; }
        if (got < 0) { continue; }
        size_t used = mbrtowc(key, &byte, 1, &partial);
        if (used == (size_t)-1) { partial = (mbstate_t){0}; } /* not text: as if it was not typed */
        if (used == 0 || used == 1) { return 1; }
    }
}

/* --- the loop */

static bool open_editor(repl *r)
{
    r->edit = el_init("stoa", stdin, r->session->out, r->session->err);
    r->history = history_init();
    if (!r->edit || !r->history) { return false; }
    load_history(r);
    (void)el_set(r->edit, EL_CLIENTDATA, r);
    (void)el_set(r->edit, EL_PROMPT, prompt);
    (void)el_set(r->edit, EL_SIGNAL, 0);
    (void)el_set(r->edit, EL_GETCFN, read_key);
    /* Ctrl-C takes no key from under a read that poll announced */
    (void)el_set(r->edit, EL_SETTY, "-d", "+noflsh", NULL);
    (void)el_set(r->edit, EL_HIST, history, r->history);
    (void)el_set(r->edit, EL_EDITOR, "emacs");
    /* el_set leaks here */
    (void)el_wset(r->edit, EL_ADDFN, L"stoa-complete", L"Complete the word before the cursor", complete);
    (void)el_set(r->edit, EL_BIND, "^I", "stoa-complete", NULL);
    (void)el_set(r->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    (void)el_source(r->edit, NULL);
    return true;
}

static void close_editor(repl *r)
{
    if (r->history) { history_end(r->history); }
    if (r->edit) { el_end(r->edit); }
}

static void greet(stoa_session *session)
{
    stoa_err err = stoa_remote_attach(session->remote, session->timeout_ms);
    if (err) {
        const char *text = strstr(stoa_err_trail(), ": ");
        (void)fprintf(session->err, "stoa: %s\n", text ? text + 2 : stoa_err_text(err));
    } else {
        (void)fprintf(session->out, "attached to %s; help lists the commands\n", stoa_remote_name(session->remote));
    }
}

/* One line; false when there will be none. */
static bool turn(repl *r)
{
    int size = 0;
    errno = 0;
    el_resize(r->edit);
    (void)el_set(r->edit, EL_PREP_TERM, 1); /* before the prompt shows: a key after it is the editor's */
    const char *line = el_gets(r->edit, &size);
    bool interrupted = stoa_session_interrupted(r->session);
    if (r->session->quit) { return false; }
    if (interrupted || (!line && errno == EINTR)) {
        (void)tcflush(STDIN_FILENO, TCIFLUSH);
        (void)fputs("\n", r->session->out);
        el_reset(r->edit);
        return true;
    }
    if (!line || size <= 0) {
        (void)fputs("\n", r->session->out);
        return false;
    }
    remember(r, line);
    (void)stoa_session_run(r->session, line, (size_t)size);
    (void)stoa_session_interrupted(r->session);
    return !r->session->quit;
}

stoa_exit stoa_repl_run(stoa_session *session)
{
    repl r = {.session = session};
    if (!open_editor(&r)) {
        close_editor(&r);
        return session->exit = STOA_EXIT_FAILED;
    }
    greet(session);
    while (turn(&r)) {}
    close_editor(&r);
    return session->exit;
}
