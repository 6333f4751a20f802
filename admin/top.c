/* top.c - the screen of top.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/top.h"

#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "admin/page.h"
#include "base/clock.h"

enum { REFRESH_MS = 1000, LINES_DEFAULT = 24 };

/* Alternate screen without a cursor; and back. */
static const char enter[] = "\x1b[?1049h\x1b[?25l";
static const char leave[] = "\x1b[?25h\x1b[?1049l";
/* Home; to the end of a line; to the end of the screen. */
static const char home[] = "\x1b[H", rest_of_line[] = "\x1b[K", rest_of_screen[] = "\x1b[J";

static size_t screen_lines(const stoa_session *session)
{
    struct winsize size;
    return ioctl(fileno(session->out), TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : LINES_DEFAULT;
}

/* Draw as many lines of page as there is room for, the last one says how to leave. */
static void draw(stoa_session *session, const stoa_buf *page)
{
    size_t room = screen_lines(session) - 1;
    const char *at = page->used_bytes ? page->at : "";
    (void)fputs(home, session->out);
    for (; *at && room; room--) {
        size_t size_bytes = strcspn(at, "\n");
        (void)fwrite(at, 1, size_bytes, session->out);
        (void)fprintf(session->out, "%s\r\n", rest_of_line);
        at += size_bytes;
        at += *at == '\n';
    }
    (void)fprintf(session->out, "%s%sq leaves", rest_of_screen, *at ? "... " : "");
    (void)fflush(session->out);
}

/* What the screen shows now; errors too, as the node may come back. */
static void compose(stoa_session *session, stoa_buf *page)
{
    static const char *const words[] = {"top"};
    stoa_answer answer;
    stoa_style style = stoa_session_style(session);
    stoa_err err = stoa_remote_ask(session->remote, words, 1, false, session->timeout_ms, &answer);
    session->exit = err == STOA_E_UNAVAILABLE ? STOA_EXIT_UNREACHABLE : stoa_exit_of(err);
    if (!err && answer.err) {
        err = STOA_FAIL(answer.err, "%.*s", (int)answer.text_bytes, answer.text);
        session->exit = answer.cls;
    }
    if (!err) {
        err = stoa_page_print(session->parser, answer.document, answer.document_bytes, answer.view, answer.view_bytes,
                              &style, stoa_clock_real.wall_ns(&stoa_clock_real), page);
    }
    if (err) { stoa_buf_printf(page, "%s\n", stoa_err_trail()); }
}

/* Wait for the next refresh; true when the user leaves. */
static bool wait_for_key(stoa_session *session)
{
    uint64_t until_ms = stoa_clock_real.now_ns(&stoa_clock_real) / STOA_MS(1) + REFRESH_MS;
    for (;;) {
        uint64_t now_ms = stoa_clock_real.now_ns(&stoa_clock_real) / STOA_MS(1);
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = session->interrupt_fd, .events = POLLIN}};
        char key = '\0';
        if (stoa_session_interrupted(session)) { return true; }
        if (now_ms >= until_ms) { return false; }
        if (poll(fds, 2, (int)(until_ms - now_ms)) <= 0 || !fds[0].revents) { continue; }
        ssize_t got = read(STDIN_FILENO, &key, 1); /* does not wait: Ctrl-C may have taken what poll announced */
        if ((got <= 0 && (fds[0].revents & (POLLHUP | POLLERR))) || key == 'q' || key == 'Q') { return true; }
    }
}

stoa_exit stoa_top_run(stoa_session *session)
{
    struct termios before, raw;
    if (tcgetattr(STDIN_FILENO, &before)) { return STOA_EXIT_FAILED; }
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    (void)fputs(enter, session->out);
    do {
        stoa_buf page = STOA_BUF_GROWING;
        compose(session, &page);
        draw(session, &page);
        stoa_buf_deinit(&page);
    } while (!wait_for_key(session));
    (void)fputs(leave, session->out);
    (void)fflush(session->out);
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    return session->exit == STOA_EXIT_UNREACHABLE ? session->exit : STOA_EXIT_OK;
}
