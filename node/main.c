/* main.c - stoad: reads its flags, brings the platform up, waits for SIGTERM, SIGINT or SIGHUP, takes it down.
 *
 * Exit codes: 0 drained; 1 failed; 2 usage or settings; 70 the journal's disk failed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "node/archive/offline.h"
#include "node/docs.h"
#include "node/platform.h"
#include "node/plugin/plan.h"
#include "node/said.h"
#include "storage/seal.h"

enum { EXIT_USAGE = 2, OVERRIDES_MAX = 128, OVERRIDE_BYTES = 512 };

typedef struct flags {
    const char *config, *check, *docs, *new_key;
    bool print_config, exit_at_end, replay, help, version;
    char storage[OVERRIDES_MAX][OVERRIDE_BYTES];
    const char *overrides[OVERRIDES_MAX + 1];
    unsigned override_count;
    stoa_offline offline;
} flags;

static const char usage[] =
    "stoad [--config FILE] [--KEY=VALUE ...]   run a node (without a file: the embedded default)\n"
    "stoad --check FILE                        check settings; each fault with its key, and its line where it has one\n"
    "stoad --print-config                      print the effective settings as YAML\n"
    "stoad --replay FILE[@SPEED] [--exit]      follow a recorded market; SPEED: 1 as recorded, 10, max;\n"
    "                                          --exit: end with it and print the figures as one JSON line\n"
    "stoad --live VENUE                        follow a live market\n"
    "stoad --data DIR                          folder of journals, keys and the admin socket\n"
    "stoad --new-key FILE                      add a key to the key file (storage.key_file), or make it\n"
    "stoad --dump-docs NAME                    print a reference page: config, errors, kinds, protocol\n"
    "stoad --backup DIR [--plan]               back up a node that does not run; one that runs: the REPL's backup\n"
    "stoad --verify-backup DIR                 read a backup and compare it with its hashes\n"
    "stoad --restore DIR --into DATA [--until SHARD:POSITION|TIME] [--plan]\n"
    "                                          make a new data folder from a backup, whole or as it was\n"
    "stoad --accept-loss SHARD [--plan]        let a node start whose log is refused because its commit mark is\n"
    "                                          rotten or gone: what cannot be vouched for is given up,\n"
    "                                          but for what the shard's archive has\n"
    "stoad --rebuild-archive SHARD [--plan]    make the manifest of an archive anew from the segments that are whole\n"
    "stoad --version | --help | -h\n"
    "\nSymbols, accounts, clients, rooms and quoters are lists that live in the file: docs/reference/config.md.\n"
    "\nSettings, each also as environment variable (gateway.listen: STOA_GATEWAY_LISTEN; other names there are not looked at):\n";

static bool override(flags *f, const char *key, const char *value)
{
    if (f->override_count == OVERRIDES_MAX) {
        (void)fprintf(stderr, "stoad: too many flags\n");
        return false;
    }
    char *at = f->storage[f->override_count];
    if (snprintf(at, OVERRIDE_BYTES, "%s=%s", key, value) >= OVERRIDE_BYTES) {
        (void)fprintf(stderr, "stoad: --%s is too long\n", key);
        return false;
    }
    f->overrides[f->override_count++] = at;
    return true;
}

static bool replay(flags *f, char *value)
{
    char *at = strrchr(value, '@');
    if (at) { *at++ = '\0'; }
    f->replay = true;
    return override(f, "market.source", "replay") && override(f, "market.file", value) &&
           (!at || override(f, "market.speed", at));
}

/* A flag that is a setting: --gateway.listen=VALUE. */
static bool setting(flags *f, char *text)
{
    char *equals = strchr(text, '=');
    if (strncmp(text, "--", 2) != 0 || !equals || !memchr(text, '.', (size_t)(equals - text))) {
        if (strncmp(text, "--", 2) == 0 && !equals && strchr(text, '.')) {
            (void)fprintf(stderr, "stoad: a setting is one word, %s=VALUE; see stoad --help\n", text);
            return false;
        }
        (void)fprintf(stderr, "stoad: '%s' is no flag; see stoad --help\n", text);
        return false;
    }
    *equals = '\0';
    return override(f, text + 2, equals + 1);
}

typedef struct flag {
    const char *name;
    bool (*take)(flags *f, char *value); /* value: "" for a flag without one */
    bool with_value;
} flag;

static bool take_config(flags *f, char *value) { f->config = value; return true; }
static bool take_check(flags *f, char *value) { f->check = value; return true; }
static bool take_docs(flags *f, char *value) { f->docs = value; return true; }
static bool take_new_key(flags *f, char *value) { f->new_key = value; return true; }
static bool take_data(flags *f, char *value) { return override(f, "node.data", value); }
static bool take_live(flags *f, char *value) { return override(f, "market.source", "live") && override(f, "market.venue", value); }
static bool take_print(flags *f, char *value) { (void)value; f->print_config = true; return true; }
static bool take_exit(flags *f, char *value) { (void)value; f->exit_at_end = true; return true; }
static bool take_help(flags *f, char *value) { (void)value; f->help = true; return true; }
static bool take_version(flags *f, char *value) { (void)value; f->version = true; return true; }

static bool take_backup(flags *f, char *value) { f->offline.backup = value; return true; }
static bool take_verify(flags *f, char *value) { f->offline.verify = value; return true; }
static bool take_restore(flags *f, char *value) { f->offline.restore = value; return true; }
static bool take_accept(flags *f, char *value) { f->offline.accept = value; return true; }
static bool take_rebuild(flags *f, char *value) { f->offline.rebuild = value; return true; }
static bool take_into(flags *f, char *value) { f->offline.into = value; return true; }
static bool take_until(flags *f, char *value) { f->offline.until = value; return true; }
static bool take_plan(flags *f, char *value) { (void)value; f->offline.plan = true; return true; }

static const flag known[] = {
    {"--backup", take_backup, true},   {"--verify-backup", take_verify, true}, {"--restore", take_restore, true},
    {"--accept-loss", take_accept, true}, {"--rebuild-archive", take_rebuild, true}, {"--into", take_into, true},       {"--until", take_until, true},  {"--plan", take_plan, false},
    {"--config", take_config, true},   {"--check", take_check, true},  {"--dump-docs", take_docs, true},
    {"--new-key", take_new_key, true}, {"--data", take_data, true},    {"--live", take_live, true},    {"--replay", replay, true},
    {"--print-config", take_print, false}, {"--exit", take_exit, false}, {"--help", take_help, false}, {"-h", take_help, false},
    {"--version", take_version, false},
};

static bool take_flag(flags *f, int argc, char **argv, int *at)
{
    char *text = argv[*at];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t len = strlen(known[i].name);
        if (strncmp(text, known[i].name, len) != 0 || (text[len] && text[len] != '=')) { continue; }
        if (!known[i].with_value) { return known[i].take(f, text + len); }
        if (text[len] == '=') { return known[i].take(f, text + len + 1); }
        if (*at + 1 < argc) { return known[i].take(f, argv[++*at]); }
        (void)fprintf(stderr, "stoad: %s needs a value\n", text);
        return false;
    }
    return setting(f, text);
}

/* A flag that belongs to another: without that one it would be passed over, and a node started. */
static bool belongs(bool given, const char *name, bool to, const char *what)
{
    if (given && !to) { (void)fprintf(stderr, "stoad: %s goes with %s; see stoad --help\n", name, what); }
    return !given || to;
}

static bool check_together(const flags *f)
{
    const stoa_offline *o = &f->offline;
    int jobs = (o->backup != NULL) + (o->verify != NULL) + (o->restore != NULL) + (o->accept != NULL) + (o->rebuild != NULL);
    bool plans = o->backup || o->restore || o->accept || o->rebuild;
    if (jobs > 1) { (void)fprintf(stderr, "stoad: one of --backup, --verify-backup, --restore, --accept-loss, --rebuild-archive at a time\n"); }
    return jobs <= 1 && belongs(o->plan, "--plan", plans, "--backup, --restore, --accept-loss or --rebuild-archive") &&
           belongs(o->into != NULL, "--into", o->restore != NULL, "--restore") &&
           belongs(o->until != NULL, "--until", o->restore != NULL, "--restore") &&
           belongs(f->exit_at_end, "--exit", f->replay, "--replay");
}

static int say_faults(const stoa_buf *faults, stoa_err err)
{
    (void)fputs(faults->used_bytes ? faults->at : stoa_err_trail(), stderr);
    if (!faults->used_bytes) { (void)fputs("\n", stderr); }
    return err ? EXIT_USAGE : EXIT_SUCCESS;
}

/* places: gets where keys stand, or NULL. */
static int load(const flags *f, const char *file, stoa_buf *places, stoa_settings *settings)
{
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_config_source source = {.file = file,
                                 .text = stoa_settings_embedded,
                                 .environment = environ,
                                 .overrides = f->overrides,
                                 .places = places};
    stoa_err err = stoa_settings_load(&source, settings, &faults);
    int code = err ? say_faults(&faults, err) : EXIT_SUCCESS;
    stoa_buf_deinit(&faults);
    return code;
}

/* What a start does without, and says when it is missing. */
static int check_missing(const stoa_settings *settings, const stoa_buf *places)
{
    stoa_buf missing = STOA_BUF_GROWING;
    stoa_plugins_missing(settings, &(stoa_settings_faults){places, &missing});
    if (missing.used_bytes) { (void)fputs(missing.at, stderr); }
    int code = missing.used_bytes ? EXIT_USAGE : EXIT_SUCCESS;
    stoa_buf_deinit(&missing);
    return code;
}

static int check(const flags *f, stoa_settings *settings)
{
    stoa_buf places = STOA_BUF_GROWING;
    int code = load(f, f->check, &places, settings), missing = check_missing(settings, &places);
    code = code ? code : missing;
    if (code == EXIT_SUCCESS) { (void)printf("%s: ok\n", f->check); }
    stoa_buf_deinit(&places);
    return code;
}

static int print_buf(stoa_buf *buf, int code)
{
    if (buf->used_bytes) {
        (void)fwrite(buf->at, 1, buf->used_bytes, stdout);
        if (buf->at[buf->used_bytes - 1] != '\n') { (void)fputc('\n', stdout); }
    }
    stoa_buf_deinit(buf);
    return fflush(stdout) ? EXIT_FAILURE : code;
}

static int print_help(void)
{
    stoa_buf out = STOA_BUF_GROWING;
    stoa_buf_puts(&out, usage);
    stoa_config_print_help(stoa_settings_table, &out);
    return print_buf(&out, EXIT_SUCCESS);
}

static int add_key(const char *path)
{
    uint32_t id;
    char said[STOA_SAID_MAX];
    stoa_err err = stoa_key_file_add(path, &id);
    if (err) {
        (void)fprintf(stderr, "stoad: %s: %s\n", stoa_err_name(err), stoa_said(said));
        return EXIT_FAILURE;
    }
    (void)printf("%s: key %u seals from here on; keep a copy elsewhere\n", path, id);
    return EXIT_SUCCESS;
}

static int fail(stoa_err err)
{
    stoa_log_error("replay_failed", err);
    return EXIT_FAILURE;
}

/* As many descriptors as the system lets us have: a shell's 1024 are few for clients, links and a journal's files. */
static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max) { return; }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Run until SIGTERM, SIGINT or SIGHUP (its terminal went); all other threads have them blocked. */
static int serve(const stoa_settings *settings, const flags *f)
{
    sigset_t ends;
    struct sigaction hangup;
    int number = 0;
    stoa_platform *platform = NULL;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    if (sigaction(SIGHUP, NULL, &hangup) || hangup.sa_handler != SIG_IGN) { (void)sigaddset(&ends, SIGHUP); } /* nohup */
    (void)pthread_sigmask(SIG_BLOCK, &ends, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL); /* where it is ignored, nobody can say why an isolate ended */
    descriptors_raise();
    stoa_err err = stoa_platform_open(settings, &platform);
    if (err) { return EXIT_FAILURE; } /* the platform has said why */
    int code = EXIT_SUCCESS;
    if (f->exit_at_end) {
        stoa_buf out = STOA_BUF_GROWING;
        err = stoa_platform_replay_result(platform, &out);
        code = err ? fail(err) : print_buf(&out, EXIT_SUCCESS);
    } else {
        (void)sigwait(&ends, &number);
        stoa_log(STOA_LOG_INFO, "drain", STOA_KV("signal", strsignal(number)));
    }
    stoa_platform_close(platform);
    return code;
}

/* Large blocks are mappings of their own, that end when they are freed: pools of libfabric's endpoints, which come and go, are of 12 to
 * 17 MiB. glibc would take the first that is freed for a sign to have all later ones in a heap, write zeros where a mapping has them for
 * nothing, and keep them. A heap gives back what is free at its top beyond 2 MiB. Who runs it with bounds of his own has those. */
static void heap_settle(void)
{
    enum { LARGE_BYTES = 8 << 20, TOP_BYTES = 2 << 20 };
    if (getenv("MALLOC_MMAP_THRESHOLD_") || getenv("MALLOC_TRIM_THRESHOLD_") || getenv("GLIBC_TUNABLES")) { return; }
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TOP_BYTES);
}

int main(int argc, char **argv)
{
    static flags f;
    static stoa_settings settings;
    char said[STOA_SAID_MAX];
    heap_settle();
    for (int i = 1; i < argc; i++) {
        if (!take_flag(&f, argc, argv, &i)) { return EXIT_USAGE; }
    }
    if (f.help) { return print_help(); }
    if (!check_together(&f)) { return EXIT_USAGE; }
    if (f.version) {
        (void)printf("stoad %s\n", STOA_VERSION);
        return EXIT_SUCCESS;
    }
    if (f.docs) {
        stoa_buf out = STOA_BUF_GROWING;
        stoa_err err = stoa_docs_print(f.docs, &out);
        if (err) { (void)fprintf(stderr, "stoad: %s\n", stoa_said(said)); }
        return print_buf(&out, err ? EXIT_USAGE : EXIT_SUCCESS);
    }
    if (f.new_key) { return add_key(f.new_key); }
    if (f.check) { return check(&f, &settings); }
    int code = load(&f, f.config, NULL, &settings);
    if (code) { return code; }
    if (f.print_config) {
        stoa_buf out = STOA_BUF_GROWING;
        stoa_config_print(stoa_settings_table, &settings, &out);
        return print_buf(&out, EXIT_SUCCESS);
    }
    stoa_log_level_set((stoa_log_level)settings.log_level);
    if (stoa_offline_asked(&f.offline)) { return stoa_offline_run(&f.offline, &settings); }
    return serve(&settings, &f);
}
