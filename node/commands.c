/* commands.c - the table of commands, and those about the node itself. See commands.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/commands.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "node/http.h"
#include "node/keys.h"
#include "node/links.h"
#include "node/plugin/plugins.h"
#include "node/ports/gateway.h"

enum { LOG_TEXT_MAX = 256 };

/* --- the table */

static stoa_err (*const handlers[])(stoa_platform *platform, stoa_door_call *call) = {
#define ARGUMENT(name, cls, low, high, complete, summary)
#define COMMAND(name, handler, args, right, since, summary) stoa_command_##handler,
#define LOCAL(name, handler, args, right, since, summary)
#include "admin/commands.def"
#undef ARGUMENT
#undef COMMAND
#undef LOCAL
};

/* What else was said: further arguments, and options. Keys are public ones. */
static void say_rest(const stoa_invocation *said, stoa_buf *out)
{
    stoa_signature takes;
    stoa_command_signature(said->command, &takes);
    for (uint32_t i = 1; i < said->count; i++) { stoa_buf_printf(out, "%s%s", out->used_bytes ? " " : "", said->args[i]); }
    for (uint32_t i = 0; i < takes.option_count; i++) {
        const stoa_option *option = &takes.options[i];
        if (!said->options[i]) { continue; }
        stoa_buf_printf(out, "%s--%.*s%s%s", out->used_bytes ? " " : "", (int)option->name_bytes, option->name, option->takes ? " " : "", said->options[i]);
    }
}

static void log_write(const stoa_invocation *said)
{
    char text[LOG_TEXT_MAX];
    stoa_buf rest = STOA_BUF_FIXED(text);
    say_rest(said, &rest);
    stoa_log(STOA_LOG_INFO, "admin_write", STOA_KV("command", said->command->name), STOA_KV("argument", said->count ? said->args[0] : ""),
             STOA_KV("rest", rest.used_bytes ? text : ""));
}

stoa_err stoa_commands_run(void *context, stoa_door_call *call)
{
    stoa_platform *platform = context;
    if (stoa_command_writes(&call->said)) { log_write(&call->said); }
    return handlers[call->said.command->id](platform, call);
}

stoa_err stoa_door_open(stoa_platform *platform, const char *path, stoa_door **out)
{
    stoa_door_options options = {.path = path,
                                 .node_name = platform->settings.node_name,
                                 .run = stoa_commands_run,
                                 .context = platform,
                                 .metrics = platform->metrics};
    return stoa_door_listen(&options, out);
}

uint64_t stoa_call_number(const stoa_door_call *call, uint32_t i, uint64_t fallback)
{
    const char *text = stoa_call_arg(call, i);
    return text ? stoa_argument_number(text) : fallback;
}

uint64_t stoa_call_left_ns(const stoa_door_call *call)
{
    uint64_t now = stoa_clock_real.now_ns(&stoa_clock_real);
    return now < call->deadline_ns ? call->deadline_ns - now : 1;
}

/* --- names */

typedef struct lister {
    stoa_name_visit visit;
    void *context;
    size_t skip; /* of an actor's name */
} lister;

static void visit_actor(void *context, const stoa_actor_view *view)
{
    const lister *l = context;
    l->visit(l->context, view->name + l->skip);
}

static stoa_err names_of_kind(stoa_platform *p, const char *kind, stoa_name_visit visit, void *context)
{
    char pattern[64];
    lister l = {.visit = visit, .context = context, .skip = strlen(kind) + 1};
    (void)snprintf(pattern, sizeof pattern, "%s/*", kind);
    return stoa_actors(p->node, pattern, visit_actor, &l);
}

static stoa_err all_actors(stoa_platform *p, stoa_name_visit visit, void *context)
{
    lister l = {.visit = visit, .context = context};
    return stoa_actors(p->node, NULL, visit_actor, &l);
}

static stoa_err accounts(stoa_platform *p, stoa_name_visit visit, void *context)
{
    return names_of_kind(p, "trade_account", visit, context);
}

static stoa_err rooms(stoa_platform *p, stoa_name_visit visit, void *context)
{
    return names_of_kind(p, "room", visit, context);
}

static stoa_err symbols(stoa_platform *p, stoa_name_visit visit, void *context)
{
    stoa_err err = names_of_kind(p, "trade_book", visit, context);
    return err ? err : names_of_kind(p, "market_book", visit, context);
}

static stoa_err shards(stoa_platform *p, stoa_name_visit visit, void *context)
{
    stoa_shard *shard;
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; (shard = stoa_shard_at(p, i)) != NULL && !err; i++) {
        stoa_shard_view view;
        err = stoa_shard_glance(shard, &view);
        if (!err) { visit(context, view.name); }
    }
    return err;
}

static void visit_topic(void *context, const stoa_topic_view *view)
{
    const lister *l = context;
    l->visit(l->context, view->name);
}

static stoa_err topics(stoa_platform *p, stoa_name_visit visit, void *context)
{
    lister l = {.visit = visit, .context = context};
    return stoa_topics(p->node, NULL, visit_topic, &l);
}

static void visit_group(void *context, const stoa_group_view *view)
{
    const lister *l = context;
    l->visit(l->context, view->name);
}

static stoa_err groups(stoa_platform *p, stoa_name_visit visit, void *context)
{
    lister l = {.visit = visit, .context = context};
    return stoa_groups(p->node, NULL, visit_group, &l);
}

typedef struct elsewhere {
    stoa_platform *platform;
    stoa_name_visit visit;
    void *context;
} elsewhere;

static void visit_elsewhere(void *context, const char *name)
{
    const elsewhere *e = context;
    if (!stoa_plugin_named(e->platform->plugins, name)) { e->visit(e->context, name); }
}

/* Those of the settings, and those whose supervisors are found on other nodes. */
static stoa_err plugins(stoa_platform *p, stoa_name_visit visit, void *context)
{
    elsewhere e = {p, visit, context};
    for (uint32_t i = 0; i < p->settings.plugin_count; i++) { visit(context, p->settings.plugins[i].name); }
    return names_of_kind(p, "plugin", visit_elsewhere, &e);
}

static stoa_err metrics(stoa_platform *p, stoa_name_visit visit, void *context);

static stoa_err key_names(stoa_platform *p, stoa_name_visit visit, void *context)
{
    stoa_node_keys_visit(p->own_keys, visit, context);
    return STOA_OK;
}

static stoa_err link_names(stoa_platform *p, stoa_name_visit visit, void *context)
{
    for (uint32_t i = 0; i < p->settings.link_count; i++) { visit(context, p->settings.links[i].name); }
    stoa_node_links_names(&p->settings, visit, context);
    return STOA_OK;
}

static const struct {
    const char *cls;
    stoa_err (*visit)(stoa_platform *p, stoa_name_visit visit, void *context);
} classes[] = {
    {"actors", all_actors}, {"accounts", accounts}, {"symbols", symbols}, {"rooms", rooms},
    {"shards", shards},     {"topics", topics},     {"groups", groups},
    {"metrics", metrics},
    {"keys", key_names},
    {"plugins", plugins},
    {"links", link_names},
};

stoa_err stoa_names_visit(stoa_platform *platform, const char *cls, stoa_name_visit visit, void *context)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strcmp(classes[i].cls, cls) == 0) { return classes[i].visit(platform, visit, context); }
    }
    return STOA_FAIL(STOA_E_NOT_FOUND, "no class of names '%s'", cls);
}

typedef struct nearest {
    const char *to;
    uint32_t distance;
    char name[STOA_WORD_MAX + 1];
} nearest;

static void compare(void *context, const char *name)
{
    nearest *n = context;
    uint32_t distance = stoa_word_distance(n->to, name);
    if (distance >= n->distance || !stoa_word_near(n->to, name, distance)) { return; }
    n->distance = distance;
    (void)snprintf(n->name, sizeof n->name, "%s", name);
}

stoa_err stoa_not_found(stoa_platform *platform, const char *what, const char *cls, const char *name)
{
    nearest n = {.to = name, .distance = UINT32_MAX};
    stoa_err err = stoa_names_visit(platform, cls, compare, &n);
    if (err || !n.name[0]) { return STOA_FAIL(STOA_E_NOT_FOUND, "no %s '%s'; names %s lists all", what, name, cls); }
    return STOA_FAIL(STOA_E_NOT_FOUND, "no %s '%s'; did you mean '%s'?", what, name, n.name);
}

const stoa_sought stoa_sought_actor = {"actor", "actors", {""}};

stoa_err stoa_find_sought(stoa_platform *platform, const stoa_sought *sought, const char *name, stoa_ref *out, uint32_t *kind_out)
{
    char full[STOA_NAME_MAX + 1], lost[STOA_NAME_MAX + 1];
    stoa_absence where = {0};
    for (uint32_t i = 0; i < STOA_SOUGHT_KINDS && sought->kinds[i]; i++) {
        const char *kind = sought->kinds[i];
        if (snprintf(full, sizeof full, "%s%s%s", kind, kind[0] ? "/" : "", name) >= (int)sizeof full) { continue; }
        stoa_absence absent;
        stoa_ref ref = stoa_find_or_absent(platform->node, full, &absent);
        if (ref.at) {
            *out = ref;
            if (kind_out) { *kind_out = i; }
            return STOA_OK;
        }
        if (!absent.of[0] || (where.of[0] && (absent.unmet || !where.unmet))) { continue; }
        memcpy(lost, full, sizeof lost);
        where = absent;
    }
    if (!where.of[0]) { return stoa_not_found(platform, sought->what, sought->cls, name); }
    return STOA_FAIL(STOA_E_UNAVAILABLE, where.unmet ? "no %s here, and not met yet since the start: %s; links shows it"
                                                     : "%s is on node %s, which cannot be reached now; links shows it", lost, where.of);
}

stoa_err stoa_nothing_found(stoa_platform *platform, stoa_door_call *call, const char *what, const char *cls,
                            const char *pattern)
{
    if (!pattern) { return STOA_OK; } /* asked for all, and there are none */
    stoa_buf_clear(&call->document);
    stoa_buf_clear(&call->view);
    return stoa_not_found(platform, what, cls, pattern);
}

static void put_name(void *context, const char *name)
{
    stoa_doc_text(context, NULL, name);
}

stoa_err stoa_command_names(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_buf_puts(&call->view, "lines names");
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "names", '[');
    stoa_err err = stoa_names_visit(platform, stoa_call_arg(call, 0), put_name, &doc);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    return err;
}

/* --- node */

static uint64_t resident_bytes(void)
{
    unsigned long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) { return 0; }
    int got = fscanf(file, "%lu %lu", &total, &resident);
    (void)fclose(file);
    return got == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t stoa_process_cpu_ns(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage)) { return 0; }
    return STOA_S(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           STOA_US(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void put_market(stoa_doc *doc, const stoa_settings *s)
{
    static const char *const sources[] = {[STOA_SOURCE_NONE] = "none", [STOA_SOURCE_SIM] = "simulated",
                                          [STOA_SOURCE_REPLAY] = "recorded", [STOA_SOURCE_LIVE] = "live"};
    if (s->source == STOA_SOURCE_REPLAY) {
        stoa_doc_printf(doc, "market", "recorded: %s at speed %s", s->market_file, s->market_speed);
    } else if (s->source == STOA_SOURCE_LIVE) {
        stoa_doc_printf(doc, "market", "live: %s", s->market_venue);
    } else {
        stoa_doc_text(doc, "market", sources[s->source]);
    }
}

static void put_addresses(stoa_doc *doc, const stoa_platform *p)
{
    stoa_doc_text(doc, "gateway", p->gateway ? stoa_gateway_address(p->gateway) : NULL);
    if (p->http) {
        stoa_doc_printf(doc, "http", "http://%s", stoa_http_address(p->http));
    } else {
        stoa_doc_null(doc, "http");
    }
}

static void put_totals(stoa_doc *doc, stoa_platform *p)
{
    uint64_t messages = 0, dead = 0, restarts = 0;
    uint32_t actors = 0;
    stoa_ports_view ports;
    stoa_ports_look(p->node, &ports);
    for (unsigned reason = 0; reason < STOA_DROP_COUNT; reason++) { dead += ports.dropped[reason]; }
    for (uint32_t i = 0; i < stoa_core_count(p->node); i++) {
        stoa_core_view core;
        if (stoa_core_look(p->node, i, &core)) { continue; }
        messages += core.messages;
        dead += core.dead_letters;
        restarts += core.restarts;
        actors += core.actors;
    }
    stoa_doc_uint(doc, "cores", stoa_core_count(p->node));
    stoa_doc_uint(doc, "actors", actors);
    stoa_doc_uint(doc, "messages", messages);
    stoa_doc_uint(doc, "dead_letters", dead);
    stoa_doc_uint(doc, "restarts", restarts);
}

stoa_err stoa_command_node(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    uint64_t now_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "node", '{');
    stoa_doc_text(&doc, "name", platform->settings.node_name);
    stoa_doc_text(&doc, "version", STOA_VERSION);
    stoa_doc_text(&doc, "phase", stoa_phase_name(atomic_load(&platform->phase)));
    stoa_doc_uint(&doc, "process", (uint64_t)getpid());
    stoa_doc_uint(&doc, "started_ns", platform->started_ns);
    stoa_doc_uint(&doc, "uptime_ns", now_ns - platform->started_ns);
    stoa_doc_text(&doc, "data", platform->settings.data);
    put_market(&doc, &platform->settings);
    put_addresses(&doc, platform);
    put_totals(&doc, platform);
    stoa_doc_uint(&doc, "memory_bytes", resident_bytes());
    stoa_doc_uint(&doc, "cpu_ns", stoa_process_cpu_ns());
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields node: name, version, phase, process/id, started_ns=started/time, "
                               "uptime_ns=uptime/ns, data, "
                               "market, gateway, http, cores/n, actors/n, messages/n, dead_letters/n, restarts/n, "
                               "memory_bytes=memory/bytes, cpu_ns=processor time/ns");
    return STOA_OK;
}

/* --- log level */

stoa_err stoa_command_log_level(stoa_platform *platform, stoa_door_call *call)
{
    const char *wanted = stoa_call_arg(call, 0);
    stoa_log_level before = stoa_log_level_get(), level = before;
    (void)platform;
    stoa_err err = wanted ? stoa_log_level_parse(wanted, &level) : STOA_OK;
    if (err) { return STOA_FAIL(err, "no log level '%s'", wanted); }
    if (wanted) { stoa_log_level_set(level); }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "log", '{');
    stoa_doc_text(&doc, "level", stoa_log_level_name(level));
    if (wanted) { stoa_doc_text(&doc, "before", stoa_log_level_name(before)); }
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields log: level, before");
    return STOA_OK;
}

/* --- config */

static void put_settings(stoa_doc *doc, const stoa_config_row *table, const void *settings);

static void put_setting(stoa_doc *doc, const stoa_config_row *row, const void *value)
{
    int32_t index;
    uint64_t number;
    int64_t whole;
    switch (row->cls) {
    case STOA_CONFIG_BOOL: stoa_doc_bool(doc, row->path, *(const bool *)value); break;
    case STOA_CONFIG_INT:
        memcpy(&whole, value, sizeof whole);
        stoa_doc_int(doc, row->path, whole);
        break;
    case STOA_CONFIG_DURATION:
    case STOA_CONFIG_SIZE:
        memcpy(&number, value, sizeof number);
        stoa_doc_uint(doc, row->path, number);
        break;
    case STOA_CONFIG_DECIMAL:
        memcpy(&whole, value, sizeof whole);
        stoa_doc_decimal(doc, row->path, whole);
        break;
    case STOA_CONFIG_TEXT: stoa_doc_text(doc, row->path, value); break;
    case STOA_CONFIG_CHOICE:
        memcpy(&index, value, sizeof index);
        stoa_doc_text(doc, row->path, row->choices[index]);
        break;
    case STOA_CONFIG_GROUPS: break; /* put_settings */
    }
}

static void put_settings(stoa_doc *doc, const stoa_config_row *table, const void *settings)
{
    const char *base = settings;
    for (const stoa_config_row *row = table; row->path; row++) {
        uint32_t count;
        if (row->cls != STOA_CONFIG_GROUPS) {
            put_setting(doc, row, base + row->offset);
            continue;
        }
        memcpy(&count, base + row->count_offset, sizeof count);
        stoa_doc_open(doc, row->path, '[');
        for (uint32_t i = 0; i < count; i++) {
            stoa_doc_open(doc, NULL, '{');
            put_settings(doc, row->group, base + row->offset + i * row->group_bytes);
            stoa_doc_close(doc, '}');
        }
        stoa_doc_close(doc, ']');
    }
}

stoa_err stoa_command_config(stoa_platform *platform, stoa_door_call *call)
{
    stoa_buf yaml = STOA_BUF_GROWING;
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_config_print(stoa_settings_table, &platform->settings, &yaml);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "settings", '{');
    put_settings(&doc, stoa_settings_table, &platform->settings);
    stoa_doc_close(&doc, '}');
    if (!yaml.cut) { stoa_doc_bytes(&doc, "yaml", yaml.at, yaml.used_bytes); }
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "text yaml");
    stoa_buf_deinit(&yaml);
    return STOA_OK;
}

/* --- metrics: the page that Prometheus gets, line by line */

typedef struct sample {
    const char *line, *name_end, *labels_end, *end; /* name{labels} value */
} sample;

/* The next sample behind *at; false at the end. */
static bool next_sample(const char **at, sample *out)
{
    while (**at) {
        const char *line = *at, *end = line + strcspn(line, "\n");
        *at = *end ? end + 1 : end;
        if (*line == '#' || line == end) { continue; }
        const char *space = memrchr(line, ' ', (size_t)(end - line));
        if (!space) { continue; }
        const char *brace = memchr(line, '{', (size_t)(space - line));
        *out = (sample){.line = line, .name_end = brace ? brace : space, .labels_end = space, .end = end};
        return true;
    }
    return false;
}

static bool sample_matches(const sample *s, const char *pattern)
{
    char name[256];
    size_t size_bytes = (size_t)(s->name_end - s->line);
    if (!pattern) { return true; }
    if (size_bytes >= sizeof name) { return false; }
    memcpy(name, s->line, size_bytes);
    name[size_bytes] = '\0';
    return fnmatch(pattern, name, 0) == 0;
}

static void put_sample(stoa_doc *doc, const sample *s)
{
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_bytes(doc, "name", s->line, (size_t)(s->name_end - s->line));
    bool labels = s->labels_end > s->name_end + 1; /* {...} */
    stoa_doc_bytes(doc, "labels", labels ? s->name_end + 1 : "",
                   labels ? (size_t)(s->labels_end - s->name_end - 2) : 0);
    stoa_doc_bytes(doc, "value", s->labels_end + 1, (size_t)(s->end - s->labels_end - 1));
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_metrics(stoa_platform *platform, stoa_door_call *call)
{
    stoa_buf page = STOA_BUF_GROWING;
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *pattern = stoa_call_arg(call, 0);
    sample s;
    uint32_t found = 0;
    stoa_platform_metrics(platform, &page);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "metrics", '[');
    for (const char *at = page.used_bytes ? page.at : ""; next_sample(&at, &s);) {
        if (!sample_matches(&s, pattern)) { continue; }
        put_sample(&doc, &s);
        found++;
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table metrics: name, labels, value/dec");
    stoa_buf_deinit(&page);
    return found ? STOA_OK : stoa_nothing_found(platform, call, "metric", "metrics", pattern);
}

static stoa_err metrics(stoa_platform *p, stoa_name_visit visit, void *context)
{
    stoa_buf page = STOA_BUF_GROWING;
    char before[256] = "";
    sample s;
    stoa_platform_metrics(p, &page);
    for (const char *at = page.used_bytes ? page.at : ""; next_sample(&at, &s);) {
        char name[sizeof before];
        size_t size_bytes = (size_t)(s.name_end - s.line);
        if (size_bytes >= sizeof name) { continue; }
        memcpy(name, s.line, size_bytes);
        name[size_bytes] = '\0';
        if (strcmp(name, before) == 0) { continue; } /* another of its labels */
        memcpy(before, name, size_bytes + 1);
        visit(context, name);
    }
    stoa_buf_deinit(&page);
    return STOA_OK;
}
