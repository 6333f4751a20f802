/* main.c - stoa: reads its flags, then runs commands from --eval, from standard input, or as a person types them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/flight.h"
#include "admin/repl.h"
#include "admin/session.h"

enum { EVALS_MAX = 256, PATH_BYTES = 512, DOCUMENT_MAX = STOA_ANSWER_MAX, TIMEOUT_MS = 5000 };

static const char usage[] =
    "stoa [OPTIONS]                 look into a running node, and steer it\n"
    "stoa [OPTIONS] COMMAND...      the same as --eval 'COMMAND...'\n"
    "stoa flight FILE [--core N] [--last N] [-o table|json]\n"
    "                               show what a flight recorder has written; needs no node\n"
    "\n"
    "  --data DIR        the node's data folder: the socket is DIR/admin.sock; key works on DIR/keys where no node runs\n"
    "  --socket PATH     the node's admin socket itself\n"
    "  --write           commands may change the node; without it they only look\n"
    "  -o table|json     how answers look; table when not given\n"
    "  --eval LINE       run this command and end; repeated: one after the other up to the first that fails\n"
    "  --timeout MS      how long a command may take; when not given 5000, and 600000 for those that progress tells of\n"
    "  --dump-docs       print the reference page of all commands\n"
    "  --version, --help, -h\n"
    "\n"
    "Without --eval, commands are read from standard input: typed at a prompt, or one a line.\n"
    "The socket is --socket, or $STOA_ADMIN, or admin.sock in --data, in $STOA_NODE_DATA, or in $HOME/.stoa.\n"
    "Exit codes, of the last command: 0 ok, 1 failed, 2 usage, 3 not found, 4 denied, 5 unreachable, 6 timeout.\n";

typedef struct flags {
    const char *socket, *data;
    const char *evals[EVALS_MAX];
    unsigned eval_count;
    bool write, json, docs, version, help;
    uint64_t timeout_ms;
    bool timed; /* --timeout was given */
    char **flight; /* `flight` and what is behind it, or NULL */
    int flight_count;
} flags;

static bool say_usage(const char *text, const char *what)
{
    (void)fprintf(stderr, "stoa: %s%s; see stoa --help\n", text, what);
    return false;
}

/* --- flags */

static bool take_timeout(flags *f, const char *text)
{
    char *end;
    errno = 0;
    unsigned long ms = strtoul(text, &end, 10);
    if (errno || *end || end == text || *text == '-' || !ms || ms > STOA_TIMEOUT_MS_MAX) {
        return say_usage("--timeout is a number of milliseconds from 1 to 600000, not ", text);
    }
    f->timeout_ms = ms;
    f->timed = true;
    return true;
}

static bool take_output(flags *f, const char *text)
{
    f->json = strcmp(text, "json") == 0;
    return f->json || strcmp(text, "table") == 0 || say_usage("-o is table or json, not ", text);
}

static bool take_eval(flags *f, const char *text)
{
    if (f->eval_count == EVALS_MAX) { return say_usage("too many --eval", ""); }
    f->evals[f->eval_count++] = text;
    return true;
}

enum { DATA = 256, SOCKET, WRITE, EVAL, TIMEOUT, DOCS, VERSION, HELP };
static const struct option options[] = {
    {"data", required_argument, NULL, DATA},       {"socket", required_argument, NULL, SOCKET},
    {"write", no_argument, NULL, WRITE},           {"output", required_argument, NULL, 'o'},
    {"eval", required_argument, NULL, EVAL},       {"timeout", required_argument, NULL, TIMEOUT},
    {"dump-docs", no_argument, NULL, DOCS},        {"version", no_argument, NULL, VERSION},
    {"help", no_argument, NULL, HELP},             {NULL, 0, NULL, 0},
};

static bool take_flag(flags *f, int flag, const char *value)
{
    switch (flag) {
    case DATA: f->data = value; return true;
    case SOCKET: f->socket = value; return true;
    case WRITE: f->write = true; return true;
    case 'o': return take_output(f, value);
    case EVAL: return take_eval(f, value);
    case TIMEOUT: return take_timeout(f, value);
    case DOCS: f->docs = true; return true;
    case VERSION: f->version = true; return true;
    case 'h':
    case HELP: f->help = true; return true;
    default: return say_usage("unknown or incomplete flag", "");
    }
}

/* The words behind the flags as one line, quoted where a word has blanks; one word with blanks is a line already. */
static bool take_words(flags *f, char **words, int count)
{
    static char line[STOA_LINE_MAX + 1];
    stoa_buf text = STOA_BUF_FIXED(line);
    if (!count) { return true; }
    if (f->eval_count) { return say_usage("commands stand behind the flags or in --eval, not both: ", words[0]); }
    if (count == 1 && strchr(words[0], ' ')) { return take_eval(f, words[0]); }
    for (int i = 0; i < count; i++) {
        bool plain = words[i][0] && !strpbrk(words[i], " \t\"'#");
        if (strchr(words[i], '\'') && !plain) { return say_usage("quotes belong into --eval: ", words[i]); }
        stoa_buf_printf(&text, plain ? "%s%s" : "%s'%s'", i ? " " : "", words[i]);
    }
    return text.cut ? say_usage("the command is too long", "") : take_eval(f, line);
}

static bool read_flags(flags *f, int argc, char **argv)
{
    int flag;
    f->timeout_ms = TIMEOUT_MS;
    opterr = 0;
    while ((flag = getopt_long(argc, argv, "+o:h", options, NULL)) != -1) {
        if (flag == '?') { return say_usage("unknown or incomplete flag ", argv[optind - 1]); }
        if (!take_flag(f, flag, optarg)) { return false; }
    }
    if (optind < argc && strcmp(argv[optind], "flight") == 0) {
        f->flight = argv + optind;
        f->flight_count = argc - optind;
        return true;
    }
    return take_words(f, argv + optind, argc - optind);
}

/* --- the socket */

static bool under(char *path, const char *folder, const char *more)
{
    return snprintf(path, PATH_BYTES, "%s%s", folder, more) < PATH_BYTES;
}

static bool given(const char *text)
{
    return text && *text;
}

/* folder: the data folder, "" where only a socket is named. */
static bool find_socket(const flags *f, char *path, char *folder)
{
    const char *admin = getenv("STOA_ADMIN"), *data = getenv("STOA_NODE_DATA"), *home = getenv("HOME");
    const char *named = f->data ? f->data : given(data) && !f->socket ? data : NULL;
    bool alone = f->socket || (!f->data && given(admin)); /* --data is said aloud: before the environment */
    folder[0] = '\0';
    if (named && !under(folder, named, "")) { return false; }
    if (alone) { return under(path, f->socket ? f->socket : admin, ""); }
    if (!named && !under(folder, given(home) ? home : ".", "/.stoa")) { return false; }
    return under(path, folder, "/admin.sock");
}

/* --- signals: their numbers go through a pipe */

static int signal_pipe[2] = {-1, -1};

static void caught(int number)
{
    int before = errno;
    char byte = (char)number;
    ssize_t written = write(signal_pipe[1], &byte, 1);
    (void)written; /* a full pipe says the same */
    errno = before;
}

static bool catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = caught}; /* without SA_RESTART: reading a key ends */
    (void)sigemptyset(&action.sa_mask);
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK)) { return false; }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) { (void)sigaction(numbers[i], &action, NULL); }
    return true;
}

/* --- running */

static stoa_exit run_evals(stoa_session *session, const flags *f)
{
    for (unsigned i = 0; i < f->eval_count && !session->quit; i++) {
        if (stoa_session_run(session, f->evals[i], strlen(f->evals[i]))) { break; }
    }
    return session->exit;
}

static stoa_exit run_lines(stoa_session *session)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t size;
    while (!session->quit && (size = getline(&line, &cap, stdin)) >= 0) {
        (void)stoa_session_run(session, line, (size_t)size);
        (void)fflush(session->out);
    }
    free(line);
    return session->exit;
}

static bool draws(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

static stoa_exit run(const flags *f, const char *path, const char *folder)
{
    bool typed = !f->eval_count && isatty(STDIN_FILENO);
    stoa_session session = {.out = stdout, .err = stderr, .write = f->write, .json = f->json, .interactive = typed,
                            .live = draws(), .timeout_ms = f->timeout_ms, .timed = f->timed, .interrupt_fd = -1};
    (void)snprintf(session.data, sizeof session.data, "%s", folder);
    if ((typed || session.live) && catch_signals()) { session.interrupt_fd = signal_pipe[0]; }
    stoa_err err = stoa_remote_new(path, session.interrupt_fd, &session.remote);
    if (!err) { err = stoa_json_parser_new(DOCUMENT_MAX, &session.parser); }
    if (err) {
        (void)fprintf(stderr, "stoa: %s\n", stoa_err_trail());
        session.exit = STOA_EXIT_FAILED;
    } else {
        session.exit = f->eval_count ? run_evals(&session, f) : typed ? stoa_repl_run(&session) : run_lines(&session);
    }
    stoa_remote_free(session.remote);
    stoa_json_parser_free(session.parser);
    return fflush(stdout) && !session.exit ? STOA_EXIT_FAILED : session.exit;
}

static stoa_exit print_docs(void)
{
    stoa_buf page = STOA_BUF_GROWING;
    stoa_command_docs(&page);
    (void)fputs(page.at, stdout);
    stoa_buf_deinit(&page);
    return fflush(stdout) ? STOA_EXIT_FAILED : STOA_EXIT_OK;
}

int main(int argc, char **argv)
{
    flags f = {0};
    char path[PATH_BYTES], folder[PATH_BYTES];
    (void)setlocale(LC_ALL, "");
    if (!read_flags(&f, argc, argv)) { return STOA_EXIT_USAGE; }
    if (f.help || f.version) {
        (void)printf("%s", f.help ? usage : "stoa " STOA_VERSION "\n");
        return STOA_EXIT_OK;
    }
    if (f.docs) { return (int)print_docs(); }
    if (f.flight) { return (int)stoa_flight_run(f.flight_count, f.flight, f.json); }
    if (!find_socket(&f, path, folder)) {
        (void)say_usage("the socket's path is too long", "");
        return STOA_EXIT_USAGE;
    }
    return (int)run(&f, path, folder);
}
