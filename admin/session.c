/* session.c - one line after the other. See session.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/session.h"

#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "admin/document.h"
#include "admin/follow.h"
#include "admin/key.h"
#include "admin/key_local.h"
#include "admin/page.h"
#include "admin/progress.h"
#include "admin/top.h"
#include "admin/value.h"
#include "base/clock.h"

/* --- how it looks */

static bool colour_wanted(void)
{
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return !(none && *none) && terminal && strcmp(terminal, "dumb") != 0;
}

stoa_style stoa_session_style(const stoa_session *session)
{
    stoa_style style = {.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0};
    struct winsize size;
    int fd = fileno(session->out);
    if (fd < 0 || !isatty(fd)) { return style; }
    style.colour = colour_wanted();
    style.columns = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    return style;
}

/* --- what went wrong */

static void print_error_json(const stoa_session *session, stoa_err err, stoa_exit cls, const char *text,
                             size_t text_bytes)
{
    stoa_buf buf = STOA_BUF_GROWING;
    stoa_doc doc = stoa_doc_to(&buf);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "error", '{');
    stoa_doc_text(&doc, "name", stoa_err_name(err));
    stoa_doc_uint(&doc, "exit", (uint64_t)cls);
    stoa_doc_bytes(&doc, "text", text, text_bytes);
    stoa_doc_text(&doc, "remedy", stoa_err_remedy(err));
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    (void)fprintf(session->out, "%s\n", buf.at);
    (void)fflush(session->out);
    stoa_buf_deinit(&buf);
}

static stoa_exit complain(stoa_session *session, stoa_err err, stoa_exit cls, const char *text, size_t text_bytes)
{
    session->exit = cls;
    if (session->json) {
        print_error_json(session, err, cls, text, text_bytes);
        return cls;
    }
    stoa_buf safe = STOA_BUF_GROWING;
    stoa_text_safe(&safe, text, text_bytes, false);
    bool colour = isatty(fileno(session->err)) && colour_wanted();
    (void)fprintf(session->err, "%sstoa:%s %s: %s\n", colour ? "\x1b[31m" : "", colour ? "\x1b[0m" : "", stoa_err_name(err),
                  safe.used_bytes ? safe.at : stoa_err_text(err));
    stoa_buf_deinit(&safe);
    return cls;
}

/* The innermost line of the trail, without where in the source it is. */
static void sentence(const char **text_out, size_t *size_out)
{
    const char *trail = stoa_err_trail();
    size_t size_bytes = strcspn(trail, "\n");
    const char *mark = memmem(trail, size_bytes, ": ", 2);
    *text_out = mark ? mark + 2 : trail;
    *size_out = mark ? size_bytes - (size_t)(mark + 2 - trail) : size_bytes;
}

stoa_exit stoa_session_complain(stoa_session *session, stoa_err err, stoa_exit cls)
{
    const char *text;
    size_t size_bytes;
    sentence(&text, &size_bytes);
    return complain(session, err, cls, text, size_bytes);
}

stoa_exit stoa_session_ask(stoa_session *session, const char *const *words, uint32_t count, bool write,
                           stoa_answer *out)
{
    stoa_err err = stoa_remote_ask(session->remote, words, count, write, session->timeout_ms, out);
    if (stoa_remote_restarted(session->remote) && session->interactive && !session->json) {
        (void)fprintf(session->err, "(attached to %s again: it was restarted)\n", stoa_remote_name(session->remote));
    }
    if (err) {
        bool unreachable = err == STOA_E_UNAVAILABLE;
        return stoa_session_complain(session, err, unreachable ? STOA_EXIT_UNREACHABLE : stoa_exit_of(err));
    }
    return STOA_EXIT_OK;
}

bool stoa_session_interrupted(stoa_session *session)
{
    struct pollfd fd = {.fd = session->interrupt_fd, .events = POLLIN};
    bool any = false;
    char number;
    while (session->interrupt_fd >= 0 && poll(&fd, 1, 0) > 0 && read(session->interrupt_fd, &number, 1) == 1) {
        session->quit = session->quit || number != SIGINT;
        any = true;
    }
    return any;
}

/* --- what came back */

stoa_exit stoa_session_show(stoa_session *session, const stoa_answer *answer)
{
    if (!answer->document_bytes) { return STOA_EXIT_OK; }
    if (session->json) {
        (void)fwrite(answer->document, 1, answer->document_bytes, session->out);
        (void)fputc('\n', session->out);
        return STOA_EXIT_OK;
    }
    stoa_style style = stoa_session_style(session);
    stoa_buf page = STOA_BUF_GROWING;
    uint64_t now_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    stoa_err err = stoa_page_print(session->parser, answer->document, answer->document_bytes, answer->view,
                                   answer->view_bytes, &style, now_ns, &page);
    if (!err && page.used_bytes) { (void)fwrite(page.at, 1, page.used_bytes, session->out); }
    stoa_buf_deinit(&page);
    return err ? stoa_session_complain(session, err, STOA_EXIT_FAILED) : STOA_EXIT_OK;
}

stoa_exit stoa_session_answered(stoa_session *session, const stoa_answer *answer)
{
    session->exit = stoa_session_show(session, answer);
    if (!answer->err) { return session->exit; }
    if (session->json && answer->document_bytes) { return session->exit = answer->cls; }
    (void)fflush(session->out);
    return complain(session, answer->err, answer->cls, answer->text, answer->text_bytes);
}

/* --- commands that need no node */

static stoa_exit run_help(stoa_session *session, const stoa_invocation *said)
{
    const stoa_command *command = NULL;
    stoa_err err = said->count ? stoa_command_named(said->args, said->count, &command) : STOA_OK;
    if (err) { return stoa_session_complain(session, err, STOA_EXIT_USAGE); }
    stoa_buf document = STOA_BUF_GROWING, view = STOA_BUF_GROWING;
    stoa_command_help(command, &document, &view);
    stoa_answer answer = {.document = document.at,
                          .document_bytes = document.used_bytes,
                          .view = view.at,
                          .view_bytes = view.used_bytes};
    session->exit = stoa_session_show(session, &answer);
    stoa_buf_deinit(&document);
    stoa_buf_deinit(&view);
    return session->exit;
}

static stoa_exit run_quit(stoa_session *session, const stoa_invocation *said)
{
    (void)said;
    session->quit = true;
    return session->exit;
}

static stoa_exit (*const local[])(stoa_session *session, const stoa_invocation *said) = {
    [STOA_COMMAND_help - STOA_COMMAND_REMOTE_END] = run_help,
    [STOA_COMMAND_quit - STOA_COMMAND_REMOTE_END] = run_quit,
};

/* --- running */

static stoa_exit run_remote(stoa_session *session, const stoa_words *words, const stoa_invocation *said)
{
    stoa_answer answer;
    bool writes = stoa_command_writes(said);
    if (said->command->id == STOA_COMMAND_top && session->live && !session->json) {
        return session->exit = stoa_top_run(session);
    }
    if (said->command->id == STOA_COMMAND_trace || said->command->id == STOA_COMMAND_trace_next) {
        return stoa_follow_run(session, said);
    }
    if (writes && !session->write) {
        static const char text[] = "this changes the node: attach with stoa --write";
        return complain(session, STOA_E_DENIED, STOA_EXIT_DENIED, text, sizeof text - 1);
    }
    if (stoa_key_command_is(said->command)) { return stoa_key_local_run(session, words, said, writes); }
    if (stoa_progress_wanted(said)) { return stoa_progress_run(session, words, said, writes); }
    stoa_exit cls = stoa_session_ask(session, words->at, words->count, writes, &answer);
    return cls ? cls : stoa_session_answered(session, &answer);
}

stoa_exit stoa_session_run(stoa_session *session, const char *line, size_t size_bytes)
{
    stoa_words words;
    stoa_invocation said;
    stoa_err err = stoa_words_split(line, size_bytes, &words);
    if (!err && !words.count) { return session->exit; }
    if (!err) { err = stoa_command_resolve(words.at, words.count, &said); }
    if (err) { return stoa_session_complain(session, err, STOA_EXIT_USAGE); }
    if (stoa_command_local(said.command)) {
        return local[said.command->id - STOA_COMMAND_REMOTE_END](session, &said);
    }
    return run_remote(session, &words, &said);
}
