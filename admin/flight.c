/* flight.c - reads a recorder's file as a whole, and shows its records. See flight.h, and base/flight.h for the file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/document.h"

enum { FRAMES_SHOWN = 12, DOCUMENT_MIN = 1 << 16 };
static const uint64_t FILE_MAX = UINT64_C(4) << 30;

/* --- the document */

typedef struct writer {
    stoa_doc doc;
    stoa_buf details; /* of one record, for the table */
} writer;

static void put_ns(stoa_buf *out, uint64_t ns)
{
    static const struct {
        uint64_t from, unit;
        const char *name;
    } scales[] = {{10000000000, 1000000000, "s"}, {10000000, 1000000, "ms"}, {10000, 1000, "us"}, {0, 1, "ns"}};
    size_t i = 0;
    while (ns < scales[i].from) {
        i++;
    }
    stoa_buf_printf(out, "%" PRIu64 " %s", ns / scales[i].unit, scales[i].name);
}

/* A figure by its label "took/ns": into the document under its name, and into the details. */
static void put_figure(writer *w, const char *label, uint64_t value)
{
    char name[STOA_FLIGHT_WORD + 1];
    const char *unit = strchr(label, '/');
    if (!label[0]) { return; }
    size_t size = unit ? (size_t)(unit - label) : strlen(label);
    memcpy(name, label, size);
    name[size] = '\0';
    unit = unit ? unit + 1 : "n";
    stoa_buf_printf(&w->details, "%s%s ", w->details.used_bytes ? ", " : "", name);
    if (strcmp(unit, "hex") == 0 || strcmp(unit, "ref") == 0) {
        const char *sign = unit[0] == 'h' ? "0x" : "#";
        stoa_doc_printf(&w->doc, name, "%s%" PRIx64, sign, value);
        stoa_buf_printf(&w->details, "%s%" PRIx64, sign, value);
        return;
    }
    stoa_doc_uint(&w->doc, name, value);
    if (strcmp(unit, "ns") == 0) {
        put_ns(&w->details, value);
    } else {
        stoa_buf_printf(&w->details, "%" PRIu64, value);
    }
}

static void put_name(writer *w, const stoa_flight_event *event)
{
    if (!event->name_label[0] || !event->name[0]) { return; }
    stoa_doc_text(&w->doc, event->name_label, event->name);
    stoa_buf_printf(&w->details, "%s %s", event->name_label, event->name);
}

static void put_frames(writer *w, const stoa_flight_event *event)
{
    stoa_doc_open(&w->doc, "frames", '[');
    for (uint32_t i = 0; i < event->frame_count; i++) {
        const stoa_flight_frame *frame = &event->frames[i];
        stoa_doc_open(&w->doc, NULL, '{');
        stoa_doc_printf(&w->doc, "address", "0x%" PRIx64, frame->address);
        stoa_doc_text(&w->doc, "in", frame->in[0] ? frame->in : NULL);
        stoa_doc_uint(&w->doc, "offset", frame->offset);
        stoa_doc_close(&w->doc, '}');
        if (i == FRAMES_SHOWN) { stoa_buf_puts(&w->details, " < ..."); }
        if (i < FRAMES_SHOWN) {
            stoa_buf_printf(&w->details, "%s%s+%" PRIu64, i ? " < " : "; at ", frame->in[0] ? frame->in : "?",
                            frame->offset);
        }
    }
    stoa_doc_close(&w->doc, ']');
}

static void put_actor(writer *w, const stoa_flight_event *event)
{
    if (event->actor_name[0]) {
        stoa_doc_text(&w->doc, "actor", event->actor_name);
    } else if (event->actor) {
        stoa_doc_printf(&w->doc, "actor", "#%" PRIx64, event->actor);
    } else {
        stoa_doc_null(&w->doc, "actor");
    }
}

static void put_event(void *context, const stoa_flight_event *event)
{
    writer *w = context;
    stoa_buf_clear(&w->details);
    stoa_doc_open(&w->doc, NULL, '{');
    stoa_doc_uint(&w->doc, "at_ns", event->time_ns);
    if (event->core == STOA_FLIGHT_NO_CORE) {
        stoa_doc_null(&w->doc, "core");
    } else {
        stoa_doc_uint(&w->doc, "core", event->core);
    }
    stoa_doc_text(&w->doc, "what", event->text);
    put_actor(w, event);
    stoa_doc_text(&w->doc, "message", event->message[0] ? event->message : NULL);
    stoa_doc_open(&w->doc, "with", '{');
    put_name(w, event);
    put_figure(w, event->a_label, event->a);
    put_figure(w, event->b_label, event->b);
    stoa_doc_close(&w->doc, '}');
    stoa_doc_uint(&w->doc, "skipped", event->skipped);
    if (event->skipped) { stoa_buf_printf(&w->details, "; %" PRIu32 " before it not written", event->skipped); }
    put_frames(w, event);
    stoa_doc_text(&w->doc, "details", w->details.used_bytes ? w->details.at : "");
    stoa_doc_close(&w->doc, '}');
}

stoa_err stoa_flight_document(const char *name, const void *bytes, size_t size_bytes, const stoa_flight_query *query,
                              stoa_buf *document, stoa_buf *view)
{
    writer w = {.doc = stoa_doc_to(document), .details = STOA_BUF_GROWING};
    stoa_flight_summary summary;
    stoa_doc_open(&w.doc, NULL, '{');
    stoa_doc_open(&w.doc, "records", '[');
    stoa_err err = stoa_flight_read(bytes, size_bytes, query, &summary, put_event, &w);
    stoa_buf_deinit(&w.details);
    if (err) { return err; }
    stoa_doc_close(&w.doc, ']');
    stoa_doc_open(&w.doc, "flight", '{');
    stoa_doc_text(&w.doc, "file", name);
    stoa_doc_text(&w.doc, "node", summary.node);
    stoa_doc_text(&w.doc, "version", summary.build);
    stoa_doc_uint(&w.doc, "pid", summary.pid);
    stoa_doc_uint(&w.doc, "opened_ns", summary.opened_ns);
    stoa_doc_uint(&w.doc, "cores", summary.cores);
    stoa_doc_uint(&w.doc, "records", summary.records);
    stoa_doc_uint(&w.doc, "torn", summary.torn);
    stoa_doc_uint(&w.doc, "overwritten", summary.overwritten);
    stoa_doc_close(&w.doc, '}');
    stoa_doc_close(&w.doc, '}');
    stoa_buf_puts(view,
                  "fields flight: file, node, version, pid/id, opened_ns=opened/time, cores/n, records/n, torn/n, "
                  "overwritten/n\n"
                  "table records: at_ns=time/time, core/id, what, actor, message, details/wrap");
    return document->cut || view->cut ? STOA_FAIL(STOA_E_NOMEM, "too many records; give --last") : STOA_OK;
}

/* --- the file */

static stoa_err fail_of_errno(const char *path)
{
    stoa_err err = errno == ENOENT || errno == ENOTDIR ? STOA_E_NOT_FOUND : errno == EACCES ? STOA_E_DENIED : STOA_E_IO;
    return STOA_FAIL(err, "%s: %s", path, strerror(errno));
}

static stoa_err read_whole(int fd, const char *path, char **out, size_t *size_out)
{
    struct stat status;
    if (fstat(fd, &status)) { return fail_of_errno(path); }
    if (!S_ISREG(status.st_mode)) { return STOA_FAIL(STOA_E_MALFORMED, "%s: not the file of a flight recorder", path); }
    if ((uint64_t)status.st_size > FILE_MAX) { return STOA_FAIL(STOA_E_TOO_LARGE, "%s: larger than 4 GiB", path); }
    size_t size = (size_t)status.st_size, used = 0;
    char *at = malloc(size ? size : 1);
    if (!at) { return STOA_FAIL(STOA_E_NOMEM, "%s: %zu bytes", path, size); }
    while (used < size) {
        ssize_t got = read(fd, at + used, size - used);
        if (got < 0 && errno == EINTR) { continue; }
        if (got < 0) {
            stoa_err err = fail_of_errno(path);
            free(at);
            return err;
        }
        if (got == 0) { break; } /* it became shorter */
        used += (size_t)got;
    }
    *out = at;
    *size_out = used;
    return STOA_OK;
}

static stoa_err load(const char *path, char **out, size_t *size_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) { return fail_of_errno(path); }
    stoa_err err = read_whole(fd, path, out, size_out);
    (void)close(fd);
    return err;
}

/* --- the command line */

typedef struct flags {
    const char *path;
    stoa_flight_query query;
    bool json;
} flags;

static bool say_usage(const char *text, const char *what)
{
    (void)fprintf(stderr, "stoa: %s%s; stoa flight FILE [--core N] [--last N] [-o table|json]\n", text, what);
    return false;
}

static bool take_number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || end == text || *text < '0' || *text > '9' || value > max) {
        return say_usage("not such a number: ", text);
    }
    *out = value;
    return true;
}

static bool take_output(flags *f, const char *text)
{
    f->json = strcmp(text, "json") == 0;
    return f->json || strcmp(text, "table") == 0 || say_usage("-o is table or json, not ", text);
}

static bool take_flag(flags *f, int flag, const char *value)
{
    uint64_t core = 0;
    if (flag == 'o') { return take_output(f, value); }
    if (flag == 'l') { return take_number(value, UINT64_MAX, &f->query.last); }
    if (flag != 'c' || !take_number(value, STOA_FLIGHT_LANES_MAX, &core)) { return false; }
    f->query.one_core = true;
    f->query.core = (uint32_t)core;
    return true;
}

static bool read_flags(flags *f, int argc, char **argv)
{
    static const struct option options[] = {{"core", required_argument, NULL, 'c'},
                                            {"last", required_argument, NULL, 'l'},
                                            {"output", required_argument, NULL, 'o'},
                                            {NULL, 0, NULL, 0}};
    int flag;
    optind = 0; /* begins anew */
    opterr = 0;
    while ((flag = getopt_long(argc, argv, ":o:", options, NULL)) != -1) {
        if (flag == '?' || flag == ':') { return say_usage("unknown or incomplete flag ", argv[optind - 1]); }
        if (!take_flag(f, flag, optarg)) { return false; }
    }
    if (argc - optind != 1) { return say_usage("one file, please", ""); }
    f->path = argv[optind];
    return true;
}

static stoa_exit show(stoa_session *session, const flags *f)
{
    stoa_buf document = STOA_BUF_GROWING, view = STOA_BUF_GROWING;
    char *bytes = NULL;
    size_t size = 0;
    stoa_err err = load(f->path, &bytes, &size);
    if (!err) {
        err = stoa_flight_document(f->path, bytes, size, &f->query, &document, &view);
        if (err) { err = STOA_PASS(err, "%s", f->path); }
    }
    free(bytes);
    size_t room = document.used_bytes > DOCUMENT_MIN ? document.used_bytes : DOCUMENT_MIN;
    if (!err) { err = stoa_json_parser_new(room, &session->parser); }
    if (err) {
        (void)stoa_session_complain(session, err, stoa_exit_of(err));
    } else {
        stoa_answer answer = {.document = document.at,
                              .document_bytes = document.used_bytes,
                              .view = view.at,
                              .view_bytes = view.used_bytes};
        session->exit = stoa_session_show(session, &answer);
    }
    stoa_json_parser_free(session->parser);
    stoa_buf_deinit(&document);
    stoa_buf_deinit(&view);
    return session->exit;
}

stoa_exit stoa_flight_run(int argc, char **argv, bool json)
{
    flags f = {.json = json};
    if (!read_flags(&f, argc, argv)) { return STOA_EXIT_USAGE; }
    stoa_session session = {.out = stdout, .err = stderr, .json = f.json, .interrupt_fd = -1};
    stoa_exit code = show(&session, &f);
    return fflush(stdout) && !code ? STOA_EXIT_FAILED : code;
}
