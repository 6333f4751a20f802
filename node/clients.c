/* clients.c - key files and the gateway's allow-list. See clients.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/clients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "node/ports/gateway.h"

static stoa_err key_path(const stoa_settings *s, const char *name, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s/keys/%s", s->data, name);
    return n < (int)cap ? STOA_OK : STOA_FAIL(STOA_E_TOO_LARGE, "path of key %s", name);
}

/* The key of DATA/keys/NAME: of the pair, or of the public half where the secret one is with who uses it. Who has neither, and no
 * line in the list, is given a pair. */
static stoa_err own_file(const stoa_settings *s, const char *name, const stoa_key_list *list, char *out)
{
    char path[STOA_PATH_MAX + 64], file[STOA_PATH_MAX + 72];
    stoa_key_pair pair;
    stoa_err err = key_path(s, name, path, sizeof path);
    if (err) { return err; }
    (void)snprintf(file, sizeof file, "%s.pub", path);
    err = stoa_key_load(path, &pair);
    if (!err) { memcpy(out, pair.public_key, STOA_KEY_TEXT_BYTES); }
    if (err == STOA_E_NOT_FOUND) { err = stoa_key_load_public(file, out); }
    if (err == STOA_E_NOT_FOUND && !stoa_key_list_knows(list, name)) {
        err = stoa_key_have(path, &pair);
        if (!err) { memcpy(out, pair.public_key, STOA_KEY_TEXT_BYTES); }
    }
    explicit_bzero(&pair, sizeof pair);
    return err;
}

static stoa_err client_keys(const stoa_settings *s, const stoa_settings_client *from, const stoa_key_list *list, stoa_gateway_client *out)
{
    char key[STOA_KEY_TEXT_BYTES];
    stoa_err err = from->key[0] ? stoa_key_load_public(from->key, key) : own_file(s, from->name, list, key);
    bool none = err == STOA_E_NOT_FOUND && stoa_key_list_knows(list, from->name);
    if (err && !none) { return err; }
    out->key_count = stoa_key_list_keys(list, from->name, none ? NULL : key, stoa_clock_real.wall_ns(&stoa_clock_real), out->keys);
    return STOA_OK;
}

/* "one, other" as names. Errors: FULL, TOO_LARGE. */
static stoa_err names_of(const char *list, stoa_text30 *out, uint32_t most, uint32_t *count_out)
{
    char names[sizeof((stoa_settings_client *)0)->accounts], *rest = NULL;
    stoa_err err = STOA_OK;
    (void)snprintf(names, sizeof names, "%s", list);
    for (char *name = strtok_r(names, ", ", &rest); name && !err; name = strtok_r(NULL, ", ", &rest)) {
        if (*count_out == most) { return STOA_FAIL(STOA_E_FULL, "at most %u of '%s'", most, list); }
        stoa_text30 *next = &out[(*count_out)++];
        err = STOA_TEXT_SETZ(next, name);
    }
    return err;
}

static stoa_err client_of(const stoa_settings *s, const stoa_settings_client *from, const stoa_key_list *list, stoa_gateway_client *out)
{
    stoa_err err = STOA_TEXT_SETZ(&out->name, from->name);
    if (!err) { err = names_of(from->accounts, out->accounts, STOA_GATEWAY_ACCOUNTS_MAX, &out->account_count); }
    if (!err) { err = names_of(from->plugins, out->plugins, STOA_GATEWAY_PLUGINS_MAX, &out->plugin_count); }
    return err ? err : client_keys(s, from, list, out);
}

/* All of them; to be freed. */
static stoa_err all_clients(const stoa_settings *s, const stoa_key_list *list, stoa_gateway_client **out)
{
    stoa_gateway_client *clients = calloc(STOA_SETTINGS_CLIENTS, sizeof *clients);
    stoa_err err = clients ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "clients");
    for (uint32_t i = 0; i < s->client_count && !err; i++) {
        err = client_of(s, &s->clients[i], list, &clients[i]);
        if (err) { err = STOA_PASS(err, "client %s", s->clients[i].name); }
    }
    if (err) {
        free(clients);
        return err;
    }
    *out = clients;
    return STOA_OK;
}

stoa_err stoa_clients_open(stoa_platform *p, const stoa_key_pair *own, const stoa_key_list *list, struct stoa_gateway **out)
{
    const stoa_settings *s = &p->settings;
    stoa_gateway_client *clients;
    if (!s->gateway_listen[0]) {
        *out = NULL;
        return STOA_OK;
    }
    stoa_err err = all_clients(s, list, &clients);
    if (err) { return err; }
    stoa_gateway_options options = {.listen = s->gateway_listen,
                                    .secret_key = own->secret_key,
                                    .server_name = s->node_name,
                                    .clients = clients,
                                    .client_count = s->client_count,
                                    .requests_max = (uint32_t)s->gateway_requests,
                                    .epoch = p->epoch,
                                    .metrics = p->metrics};
    err = stoa_gateway_open(p->node, &options, out);
    free(clients);
    return err;
}

stoa_err stoa_clients_allow(stoa_platform *p, const stoa_key_list *list)
{
    stoa_gateway_client *clients;
    if (!p->gateway) { return STOA_OK; }
    stoa_err err = all_clients(&p->settings, list, &clients);
    if (err) { return err; }
    err = stoa_gateway_allow(p->gateway, clients, p->settings.client_count);
    free(clients);
    return err;
}

stoa_err stoa_clients_key(const stoa_settings *settings, const stoa_settings_client *client, char *key_out, uint64_t *written_ns_out)
{
    char path[STOA_PATH_MAX + 64], file[STOA_PATH_MAX + 64];
    struct stat found;
    stoa_err err = key_path(settings, client->name, path, sizeof path);
    if (err) { return err; }
    (void)snprintf(file, sizeof file, "%.*s%s", STOA_PATH_MAX + 32, client->key[0] ? client->key : path, client->key[0] ? "" : ".pub");
    err = stoa_key_load_public(file, key_out);
    if (err) { return err; }
    if (stat(file, &found)) { return STOA_FAIL(STOA_E_IO, "key %s", file); }
    *written_ns_out = STOA_S(found.st_mtim.tv_sec) + (uint64_t)found.st_mtim.tv_nsec;
    return STOA_OK;
}
