/* plan.c - see plan.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/plugin/plan.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

typedef struct wish {
    const char *setting; /* whose text is taken apart */
    char *text;
    uint32_t most;
    bool (*good)(const char *word);
    const char *want; /* as a fault says it */
    const char **out;
} wish;

static bool is_key(const char *word)
{
    size_t bytes = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    return bytes && !word[bytes] && bytes <= 30;
}

static bool is_actor(const char *word)
{
    const char *slash = strchr(word, '/');
    return slash && slash > word && slash[1] && strlen(word) <= STOA_NAME_MAX && !strpbrk(word, " \t*?[");
}

/* Segments with '.' between, none of them empty; '>' only as the last one. */
static bool is_pattern(const char *word)
{
    if (strlen(word) > STOA_NAME_MAX || strpbrk(word, "\t\n\r\f")) { return false; }
    for (;; word++) {
        size_t bytes = strcspn(word, ".");
        if (!bytes || (bytes == 1 && *word == '>' && word[bytes])) { return false; }
        word += bytes;
        if (!*word) { return true; }
    }
}

static void take_apart(const char *plugin, const wish *w, stoa_buf *faults)
{
    uint32_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(w->text, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest)) {
        if (!w->good(word)) { stoa_buf_printf(faults, "plugins: %s: %s: '%s' is not %s\n", plugin, w->setting, word, w->want); }
        for (uint32_t i = 0; i < count; i++) {
            if (strcmp(w->out[i], word) == 0) { stoa_buf_printf(faults, "plugins: %s: %s: %s is there twice\n", plugin, w->setting, word); }
        }
        if (count == w->most) {
            stoa_buf_printf(faults, "plugins: %s: %s: more than %u\n", plugin, w->setting, w->most);
            return;
        }
        w->out[count++] = word;
    }
    w->out[count] = NULL;
}

static void check_one(const stoa_settings_plugin *s, stoa_buf *faults)
{
    bool good = isalpha((unsigned char)s->name[0]) || s->name[0] == '_';
    for (const char *at = s->name; *at; at++) { good = good && (isalnum((unsigned char)*at) || *at == '_'); }
    if (!good) { stoa_buf_printf(faults, "plugins: %s: a kind's name is of letters, digits and _\n", s->name); }
    if (s->backoff_ns > s->backoff_max_ns) { stoa_buf_printf(faults, "plugins: %s: backoff is above backoff_max\n", s->name); }
}

/* Whether it is an object; what is in it the kind's table says, which its child tells at the start. */
static void check_args(const stoa_settings_plugin *s, stoa_buf *faults)
{
    stoa_json_parser *parser = NULL;
    stoa_json value;
    stoa_json_members it;
    if (!s->args[0]) { return; }
    stoa_err err = stoa_json_parser_new(sizeof s->args, &parser);
    if (!err) { err = stoa_json_parse(parser, s->args, strlen(s->args), &value); }
    if (!err) { err = stoa_json_first_member(value, &it); }
    if (err) { stoa_buf_printf(faults, "plugins: %s: args: %s is no JSON object\n", s->name, s->args); }
    stoa_json_parser_free(parser);
}

void stoa_plugin_plan_make(const stoa_settings_plugin *settings, stoa_plugin_plan *out, stoa_buf *faults)
{
    *out = (stoa_plugin_plan){.settings = *settings};
    stoa_settings_plugin *s = &out->settings;
    const wish wishes[] = {
        {"actors", s->actors, PLUGIN_ACTORS_MAX, is_key, "a key", out->actors},
        {"peers", s->peers, STOA_ISOLATE_PEERS, is_actor, "the name of an actor, kind/key", out->peers},
        {"hears", s->hears, STOA_ISOLATE_GRANTS, is_pattern, "a pattern of topics", out->hears},
        {"tells", s->tells, STOA_ISOLATE_GRANTS, is_pattern, "a pattern of topics", out->tells},
    };
    check_one(s, faults);
    check_args(s, faults);
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) { take_apart(s->name, &wishes[i], faults); }
    if (!out->actors[0]) { stoa_buf_printf(faults, "plugins: %s: actors: there is none\n", s->name); }
    out->isolate = (stoa_isolate){.library = s->library,
                                  .peers = out->peers,
                                  .hears = out->hears,
                                  .tells = out->tells,
                                  .sends = (uint32_t)s->sends,
                                  .memory_bytes = s->memory_bytes,
                                  .cpu_s = s->cpu_ns / 1000000000,
                                  .turn_ns = s->turn_ns,
                                  .start_ns = s->start_ns};
}

void stoa_plugins_missing(const stoa_settings *settings, stoa_buf *faults)
{
    for (uint32_t i = 0; i < settings->plugin_count; i++) {
        const stoa_settings_plugin *s = &settings->plugins[i];
        if (access(s->library, R_OK)) { stoa_buf_printf(faults, "plugins: %s: library: %s: %s\n", s->name, s->library, strerror(errno)); }
    }
}

void stoa_plugins_check(const stoa_settings *settings, stoa_buf *faults)
{
    for (uint32_t i = 0; i < settings->plugin_count; i++) {
        const stoa_settings_plugin *s = &settings->plugins[i];
        stoa_plugin_plan plan;
        stoa_plugin_plan_make(s, &plan, faults);
        if (s->core < settings->cores) { continue; }
        stoa_buf_printf(faults, "plugins: %s: core %lld: node.cores is %lld\n", s->name, (long long)s->core, (long long)settings->cores);
    }
}
