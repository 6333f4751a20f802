/* docs.c - one row per reference page.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/docs.h"

#include <string.h>

#include "actors/client/protocol_docs.h"
#include "actors/client/protocol_docs.h"
#include "node/settings.h"
#include "node/world.h"

static void print_config(stoa_buf *out)
{
    stoa_buf_puts(out, "# Settings\n\nDefault < file < environment `STOA_*` < flag `--KEY=VALUE`. Written by `stoad --dump-docs config`.\n\n");
    stoa_config_print_docs(stoa_settings_table, out);
}

static void print_errors(stoa_buf *out)
{
    stoa_buf_puts(out, "# Errors\n\nWritten by `stoad --dump-docs errors` from base/errors.def. Codes are wire format.\n\n"
                       "| code | name | what happened | what to do |\n|---|---|---|---|\n");
    for (unsigned i = 0; stoa_err_at(i); i++) {
        stoa_err err = stoa_err_at(i);
        stoa_buf_printf(out, "| %d | %s | %s | %s |\n", (int)err, stoa_err_name(err), stoa_err_text(err), stoa_err_remedy(err));
    }
}

static void print_row(stoa_buf *out, const stoa_row *row)
{
    stoa_buf_printf(out, "| %u | %s | %s | %s | ", row->id, row->name, stoa_row_class_name(row->cls),
                    row->reply ? row->reply->name : "");
    for (uint32_t i = 0; i < row->payload.field_count; i++) {
        const stoa_field *field = &row->payload.fields[i];
        if (field->type->cls == STOA_CLASS_NONE) { continue; }
        stoa_buf_printf(out, "%s%s `%s`", i ? ", " : "", field->name, field->type->name);
    }
    stoa_buf_printf(out, " | %s |\n", row->doc);
}

static void print_kinds(stoa_buf *out)
{
    stoa_buf_puts(out, "# Kinds and their messages\n\nWritten by `stoad --dump-docs kinds` from the tables in actors/.\n");
    for (const stoa_kind *const *kind = stoa_world_kinds; *kind; kind++) {
        stoa_buf_printf(out, "\n## %s\n\n| id | row | class | reply | fields | |\n|---|---|---|---|---|---|\n", (*kind)->name);
        for (uint32_t i = 1; i <= (*kind)->table->row_count; i++) { print_row(out, &(*kind)->table->rows[i]); }
    }
}

static const struct {
    const char *name;
    void (*print)(stoa_buf *out);
} pages[] = {
    {"config", print_config},
    {"errors", print_errors},
    {"kinds", print_kinds},
    {"protocol", stoa_protocol_print_docs},
};

stoa_err stoa_docs_print(const char *name, stoa_buf *out)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(pages[i].name, name) != 0) { continue; }
        pages[i].print(out);
        return STOA_OK;
    }
    char names[128] = "";
    stoa_buf list = STOA_BUF_FIXED(names);
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) { stoa_buf_printf(&list, " %s", pages[i].name); }
    return STOA_FAIL(STOA_E_NOT_FOUND, "no page '%s'; there are:%s", name, names);
}
