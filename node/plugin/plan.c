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

static void take_apart(uint32_t index, const wish *w, const stoa_settings_faults *faults)
{
    uint32_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(w->text, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest)) {
        if (!w->good(word)) { stoa_settings_fault_of(faults, "plugins", index, w->setting, "'%s' is not %s", word, w->want); }
        for (uint32_t i = 0; i < count; i++) {
            if (strcmp(w->out[i], word) == 0) { stoa_settings_fault_of(faults, "plugins", index, w->setting, "%s is there twice", word); }
        }
        if (count == w->most) {
            stoa_settings_fault_of(faults, "plugins", index, w->setting, "more than %u", w->most);
            return;
        }
        w->out[count++] = word;
    }
    w->out[count] = NULL;
}

static void check_one(uint32_t index, const stoa_settings_plugin *s, const stoa_settings_faults *faults)
{
    bool good = isalpha((unsigned char)s->name[0]) || s->name[0] == '_';
    for (const char *at = s->name; *at; at++) { good = good && (isalnum((unsigned char)*at) || *at == '_'); }
    if (!good) { stoa_settings_fault_of(faults, "plugins", index, "name", "%s: a kind's name is of letters, digits and _", s->name); }
    if (s->backoff_ns > s->backoff_max_ns) { stoa_settings_fault_of(faults, "plugins", index, "backoff", "it is above backoff_max"); }
}

/* Whether it is an object; what is in it the kind's table says, which its child tells at the start. */
static void check_args(uint32_t index, const stoa_settings_plugin *s, const stoa_settings_faults *faults)
{
    stoa_json_parser *parser = NULL;
    stoa_json value;
    stoa_json_members it;
    if (!s->args[0]) { return; }
    stoa_err err = stoa_json_parser_new(sizeof s->args, &parser);
    if (!err) { err = stoa_json_parse(parser, s->args, strlen(s->args), &value); }
    if (!err) { err = stoa_json_first_member(value, &it); }
    if (err) { stoa_settings_fault_of(faults, "plugins", index, "args", "no JSON object: %s", s->args); }
    stoa_json_parser_free(parser);
}

void stoa_plugin_plan_make(const stoa_settings *settings, uint32_t index, stoa_plugin_plan *out, const stoa_settings_faults *faults)
{
    *out = (stoa_plugin_plan){.settings = settings->plugins[index]};
    stoa_settings_plugin *s = &out->settings;
    const wish wishes[] = {
        {"actors", s->actors, PLUGIN_ACTORS_MAX, is_key, "a key", out->actors},
        {"peers", s->peers, STOA_ISOLATE_PEERS, is_actor, "the name of an actor, kind/key", out->peers},
        {"hears", s->hears, STOA_ISOLATE_GRANTS, is_pattern, "a pattern of topics", out->hears},
        {"tells", s->tells, STOA_ISOLATE_GRANTS, is_pattern, "a pattern of topics", out->tells},
    };
    check_one(index, s, faults);
    check_args(index, s, faults);
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) { take_apart(index, &wishes[i], faults); }
    if (!out->actors[0]) { stoa_settings_fault_of(faults, "plugins", index, "actors", "there is none"); }
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

void stoa_plugins_missing(const stoa_settings *settings, const stoa_settings_faults *faults)
{
    for (uint32_t i = 0; i < settings->plugin_count; i++) {
        const stoa_settings_plugin *s = &settings->plugins[i];
        if (access(s->library, R_OK)) { stoa_settings_fault_of(faults, "plugins", i, "library", "%s: %s", s->library, strerror(errno)); }
    }
}

void stoa_plugins_check(const stoa_settings *settings, const stoa_settings_faults *faults)
{
    for (uint32_t i = 0; i < settings->plugin_count; i++) {
        const stoa_settings_plugin *s = &settings->plugins[i];
        stoa_plugin_plan plan;
        stoa_plugin_plan_make(settings, i, &plan, faults);
        if (s->core < settings->cores) { continue; }
        stoa_settings_fault_of(faults, "plugins", i, "core", "%lld, and node.cores is %lld", (long long)s->core, (long long)settings->cores);
    }
}
