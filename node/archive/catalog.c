/* catalog.c - node/archive/catalog.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/catalog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "storage/archive/file.h"
#include "storage/archive/note.h"

enum { FORMAT = 1, CATALOG_BYTES_MAX = 1 << 20 };

static const char file_name[] = "backup.json";

/* --- shapes */

static void add_text(stoa_hash256_run *run, const char *text)
{
    stoa_hash256_add(run, text, strlen(text) + 1);
}

static void add_number(stoa_hash256_run *run, uint64_t number)
{
    stoa_hash256_add(run, &number, sizeof number);
}

/* Types do not nest deeper than tables are written, and never in a circle. */
static void add_type(stoa_hash256_run *run, const stoa_type *type)
{
    add_text(run, type->name);
    add_number(run, type->cls);
    add_number(run, type->size_bytes);
    add_number(run, type->limit);
    add_number(run, type->field_count);
    if (type->element) { add_type(run, type->element); }
    for (uint32_t i = 0; i < type->field_count; i++) {
        add_text(run, type->fields[i].name);
        add_type(run, type->fields[i].type);
    }
}

static stoa_hash256 shape_of(const stoa_kind *kind)
{
    stoa_hash256_run run;
    stoa_hash256 hash;
    stoa_hash256_begin(&run);
    add_text(&run, kind->table->name);
    for (uint32_t id = 1; id <= kind->table->row_count; id++) {
        const stoa_row *row = &kind->table->rows[id];
        if (!row->name) { continue; }
        add_text(&run, row->name);
        add_number(&run, row->cls);
        add_number(&run, row->id);
        add_type(&run, &row->payload);
    }
    stoa_hash256_end(&run, &hash);
    return hash;
}

stoa_err stoa_catalog_put_kinds(stoa_catalog *catalog, const stoa_kind *const *kinds)
{
    for (; *kinds; kinds++) {
        if (catalog->kind_count == STOA_CATALOG_KINDS) { return STOA_FAIL(STOA_E_TOO_LARGE, "%d kinds", STOA_CATALOG_KINDS); }
        stoa_catalog_kind *kind = &catalog->kinds[catalog->kind_count++];
        (void)snprintf(kind->name, sizeof kind->name, "%s", (*kinds)->name);
        kind->state_bytes = (*kinds)->state_bytes;
        kind->table = shape_of(*kinds);
    }
    return STOA_OK;
}

stoa_hash256 stoa_settings_fingerprint(const stoa_settings *settings)
{
    stoa_buf text = STOA_BUF_GROWING;
    stoa_hash256 hash;
    stoa_config_print(stoa_settings_table, settings, &text);
    stoa_hash256_parts(&hash, text.at, text.used_bytes, NULL, 0);
    stoa_buf_deinit(&text);
    return hash;
}

void stoa_catalog_put_keys(stoa_catalog *catalog, const stoa_keyring *ring)
{
    uint32_t count = ring ? stoa_keyring_count(ring) : 0;
    for (uint32_t i = 0; i < count; i++) { catalog->keys[catalog->key_count++] = stoa_keyring_id(ring, i); }
}

static const stoa_kind *kind_named(const stoa_kind *const *kinds, const char *name)
{
    while (*kinds && strcmp((*kinds)->name, name) != 0) { kinds++; }
    return *kinds;
}

const char *stoa_catalog_other_kind(const stoa_catalog *catalog, const stoa_kind *const *kinds, bool state_only)
{
    for (uint32_t i = 0; i < catalog->kind_count; i++) {
        const stoa_catalog_kind *theirs = &catalog->kinds[i];
        const stoa_kind *ours = kind_named(kinds, theirs->name);
        if (!ours || ours->state_bytes != theirs->state_bytes) { return theirs->name; }
        stoa_hash256 shape = shape_of(ours);
        if (!state_only && memcmp(&shape, &theirs->table, sizeof shape) != 0) { return theirs->name; }
    }
    return NULL;
}

const stoa_catalog_shard *stoa_catalog_find(const stoa_catalog *catalog, const char *shard)
{
    for (uint32_t i = 0; i < catalog->shard_count; i++) {
        if (strcmp(catalog->shards[i].name, shard) == 0) { return &catalog->shards[i]; }
    }
    return NULL;
}

/* --- writing */

static void put_shard(stoa_buf *out, const stoa_catalog_shard *s)
{
    stoa_buf_puts(out, "    {");
    stoa_note_put_text(out, "name", s->name);
    stoa_buf_printf(out, ", \"last\": %" PRIu64 ", ", s->last);
    stoa_note_put_hash(out, "hash", &s->hash);
    stoa_buf_printf(out, ",\n     \"state_position\": %" PRIu64 ", \"state_hash\": %" PRIu64 "}", s->state_position, s->state_hash);
}

static void put_kind(stoa_buf *out, const stoa_catalog_kind *k)
{
    stoa_buf_puts(out, "    {");
    stoa_note_put_text(out, "name", k->name);
    stoa_buf_printf(out, ", \"state_bytes\": %" PRIu64 ", ", k->state_bytes);
    stoa_note_put_hash(out, "table", &k->table);
    stoa_buf_puts(out, "}");
}

static void put_catalog(stoa_buf *out, const stoa_catalog *c)
{
    char written[STOA_TIME_TEXT_MAX], consistent[STOA_TIME_TEXT_MAX];
    stoa_time_print(c->written_ns, written);
    stoa_time_print(c->consistent_ns, consistent);
    stoa_buf_printf(out, "{\n  \"format\": %d,\n", FORMAT);
    stoa_note_put_text(out, "node", c->node);
    stoa_buf_puts(out, ",\n");
    stoa_note_put_text(out, "version", c->version);
    stoa_buf_printf(out, ",\n  \"written_ns\": %" PRIu64 ", \"written\": \"%s\",\n", c->written_ns, written);
    stoa_buf_printf(out, "  \"consistent_ns\": %" PRIu64 ", \"consistent\": \"%s\",\n  ", c->consistent_ns, consistent);
    stoa_note_put_hash(out, "settings", &c->settings);
    stoa_buf_puts(out, ",\n  \"keys\": [");
    for (uint32_t i = 0; i < c->key_count; i++) { stoa_buf_printf(out, "%s%" PRIu32, i ? ", " : "", c->keys[i]); }
    stoa_buf_puts(out, "],\n  \"shards\": [\n");
    for (uint32_t i = 0; i < c->shard_count; i++) {
        put_shard(out, &c->shards[i]);
        stoa_buf_puts(out, i + 1 < c->shard_count ? ",\n" : "\n");
    }
    stoa_buf_puts(out, "  ],\n  \"kinds\": [\n");
    for (uint32_t i = 0; i < c->kind_count; i++) {
        put_kind(out, &c->kinds[i]);
        stoa_buf_puts(out, i + 1 < c->kind_count ? ",\n" : "\n");
    }
    stoa_buf_puts(out, "  ]");
}

stoa_err stoa_catalog_save(const char *folder, const stoa_catalog *catalog)
{
    stoa_buf text = STOA_BUF_GROWING;
    put_catalog(&text, catalog);
    stoa_err err = stoa_note_save(folder, file_name, &text);
    stoa_buf_deinit(&text);
    return err;
}

/* --- reading */

/* A restore makes folders of these names: plain ones, each once. */
static bool is_plain(const char *name)
{
    return name[0] && name[0] != '.' && !strchr(name, '/');
}

static void read_shards(stoa_note_reading *r, stoa_json root, stoa_catalog *c)
{
    stoa_json list = stoa_note_get(r, root, "shards");
    stoa_json_iter it = {.more = false};
    if (!r->fault && stoa_json_first(list, &it)) { r->fault = "shards"; }
    for (; !r->fault && it.more; stoa_json_next(&it)) {
        if (c->shard_count == STOA_CATALOG_SHARDS) {
            r->fault = "shards";
            return;
        }
        stoa_catalog_shard *s = &c->shards[c->shard_count];
        stoa_note_text(r, it.value, "name", s->name, sizeof s->name);
        if (!r->fault && (!is_plain(s->name) || stoa_catalog_find(c, s->name))) { r->fault = "name"; }
        c->shard_count++;
        s->last = stoa_note_uint(r, it.value, "last");
        stoa_note_hash(r, it.value, "hash", &s->hash);
        s->state_position = stoa_note_uint(r, it.value, "state_position");
        s->state_hash = stoa_note_uint(r, it.value, "state_hash");
    }
}

static void read_kinds(stoa_note_reading *r, stoa_json root, stoa_catalog *c)
{
    stoa_json list = stoa_note_get(r, root, "kinds");
    stoa_json_iter it = {.more = false};
    if (!r->fault && stoa_json_first(list, &it)) { r->fault = "kinds"; }
    for (; !r->fault && it.more; stoa_json_next(&it)) {
        if (c->kind_count == STOA_CATALOG_KINDS) {
            r->fault = "kinds";
            return;
        }
        stoa_catalog_kind *k = &c->kinds[c->kind_count++];
        stoa_note_text(r, it.value, "name", k->name, sizeof k->name);
        k->state_bytes = stoa_note_uint(r, it.value, "state_bytes");
        stoa_note_hash(r, it.value, "table", &k->table);
    }
}

static void read_keys(stoa_note_reading *r, stoa_json root, stoa_catalog *c)
{
    stoa_json list = stoa_note_get(r, root, "keys");
    stoa_json_iter it = {.more = false};
    uint64_t id = 0;
    if (!r->fault && stoa_json_first(list, &it)) { r->fault = "keys"; }
    for (; !r->fault && it.more; stoa_json_next(&it)) {
        if (c->key_count == STOA_KEYS_MAX || stoa_json_uint(it.value, &id) || id > UINT32_MAX) {
            r->fault = "keys";
            return;
        }
        c->keys[c->key_count++] = (uint32_t)id;
    }
}

static stoa_err take_root(void *context, stoa_json root)
{
    stoa_catalog *c = context;
    stoa_note_reading r = {0};
    uint64_t format = stoa_note_uint(&r, root, "format");
    if (!r.fault && format != FORMAT) { return STOA_FAIL(STOA_E_VERSION, "%s: format %" PRIu64 ", this build has %d", file_name, format, FORMAT); }
    stoa_note_text(&r, root, "node", c->node, sizeof c->node);
    stoa_note_text(&r, root, "version", c->version, sizeof c->version);
    c->written_ns = stoa_note_uint(&r, root, "written_ns");
    c->consistent_ns = stoa_note_uint(&r, root, "consistent_ns");
    stoa_note_hash(&r, root, "settings", &c->settings);
    read_keys(&r, root, c);
    read_shards(&r, root, c);
    read_kinds(&r, root, c);
    return r.fault ? STOA_FAIL(STOA_E_CORRUPT, "%s: %s", file_name, r.fault) : STOA_OK;
}

typedef struct looking {
    const char *folder;
    stoa_catalog *catalog;
} looking;

static stoa_err take_left_out(void *context, const char *name)
{
    const looking *l = context;
    stoa_catalog *c = l->catalog;
    char path[PATH_MAX];
    int bytes = snprintf(path, sizeof path, "%s/%s/manifest.json", l->folder, name);
    bool archive = bytes > 0 && bytes < (int)sizeof path && access(path, F_OK) == 0;
    if (!archive || strlen(name) > STOA_CATALOG_NAME || stoa_catalog_find(c, name) || c->left_out_count == STOA_CATALOG_SHARDS) { return STOA_OK; }
    memcpy(c->left_out[c->left_out_count++], name, strlen(name) + 1);
    return STOA_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

stoa_err stoa_catalog_load(const char *folder, stoa_catalog *out)
{
    stoa_catalog catalog = {0};
    stoa_err err = stoa_note_load(folder, file_name, CATALOG_BYTES_MAX, take_root, &catalog);
    if (!err) { err = stoa_folder_visit(folder, "", take_left_out, &(looking){folder, &catalog}); }
    if (err) { return err; }
    qsort(catalog.left_out, catalog.left_out_count, sizeof catalog.left_out[0], by_name);
    *out = catalog;
    return STOA_OK;
}
