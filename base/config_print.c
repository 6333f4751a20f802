/* config_print.c - the pages that come from the table: reference in Markdown, --help, the effective settings
 * as YAML.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/config_internal.h"

/* --- reference and help */

/* text as a Markdown table's cell. */
static void put_cell(stoa_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') { stoa_buf_puts(out, "\\"); }
        stoa_buf_put(out, text, 1);
    }
}

static void put_default(const stoa_config_row *row, const char *quote, stoa_buf *out)
{
    bool optional = row->cls == STOA_CONFIG_GROUPS ? row->min == 0 : row->fallback != NULL;
    if (!optional) {
        stoa_buf_puts(out, "required");
    } else if (row->cls == STOA_CONFIG_GROUPS) {
        stoa_buf_puts(out, "none");
    } else {
        stoa_buf_printf(out, "%s%s%s", quote, *row->fallback ? row->fallback : "\"\"", quote);
    }
}

static void print_docs_row(const stoa_config_row *row, stoa_buf *out)
{
    char expected_at[512];
    stoa_buf expected = STOA_BUF_FIXED(expected_at);
    stoa_config_print_expected(row, &expected);
    stoa_buf_printf(out, "| `%s` | ", row->path);
    put_cell(out, expected.at);
    stoa_buf_puts(out, " | ");
    put_default(row, "`", out);
    stoa_buf_puts(out, " | ");
    put_cell(out, row->doc);
    stoa_buf_puts(out, " |\n");
}

/* The table of one group and, after it, those of the groups inside it; heading is where the group stands. */
static void print_docs_table(const stoa_config_row *table, const char *heading, stoa_buf *out)
{
    if (*heading) { stoa_buf_printf(out, "\n## `%s`\n\n", heading); }
    stoa_buf_puts(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
    for (const stoa_config_row *row = table; row->path; row++) {
        print_docs_row(row, out);
    }
    for (const stoa_config_row *row = table; row->path; row++) {
        char inner_at[4 * STOA_CONFIG_PATH_MAX];
        stoa_buf inner = STOA_BUF_FIXED(inner_at);
        if (row->cls != STOA_CONFIG_GROUPS) { continue; }
        stoa_buf_printf(&inner, "%s%s%s[]", heading, *heading ? "." : "", row->path);
        print_docs_table(row->group, inner.at, out);
    }
}

void stoa_config_print_docs(const stoa_config_row *table, stoa_buf *out)
{
    print_docs_table(table, "", out);
}

void stoa_config_print_help(const stoa_config_row *table, stoa_buf *out)
{
    for (const stoa_config_row *row = table; row->path; row++) {
        if (row->cls == STOA_CONFIG_GROUPS) { continue; }
        stoa_buf_printf(out, "  --%s=VALUE\n        %s Takes ", row->path, row->doc);
        stoa_config_print_expected(row, out);
        stoa_buf_puts(out, "; ");
        if (row->fallback) { stoa_buf_puts(out, "default "); }
        put_default(row, "", out);
        stoa_buf_puts(out, ".\n");
    }
}

/* --- effective settings */

typedef struct page {
    stoa_buf *out;
    bool item;     /* the next key is the first of a list's item and brings its dash */
    bool comments; /* told once above a list, not in each item */
} page;

static void print_table(page *p, const stoa_config_row *table, const char *settings, unsigned indent);

static void put_indent(page *p, unsigned indent)
{
    for (unsigned i = 0; i < indent; i++) {
        stoa_buf_puts(p->out, p->item && i + 2 == indent ? "-" : " ");
    }
    p->item = false;
}

static void put_comment(page *p, const stoa_config_row *row, const char *name, unsigned indent)
{
    if (!p->comments) { return; }
    put_indent(p, indent);
    stoa_buf_printf(p->out, "# %s%s (", name, row->doc);
    stoa_config_print_expected(row, p->out);
    stoa_buf_puts(p->out, ")\n");
}

static void print_groups(page *p, const stoa_config_row *row, const char *settings, unsigned indent)
{
    uint32_t count;
    memcpy(&count, settings + row->count_offset, sizeof count);
    stoa_buf_puts(p->out, count ? "\n" : " []\n");
    for (const stoa_config_row *inner = row->group; inner->path; inner++) {
        char name_at[STOA_CONFIG_PATH_MAX + 4];
        stoa_buf name = STOA_BUF_FIXED(name_at);
        stoa_buf_printf(&name, "%s: ", inner->path);
        put_comment(p, inner, name.at, indent + 2);
    }
    bool comments = p->comments;
    p->comments = false;
    for (uint32_t i = 0; i < count; i++) {
        p->item = true;
        print_table(p, row->group, settings + row->offset + i * row->group_bytes, indent + 4);
    }
    p->comments = comments;
}

/* Open the sections of path that before is not in; returns path's last name and its indent. */
static const char *open_sections(page *p, const char *before, const char *path, unsigned *indent)
{
    const char *name = path;
    for (const char *dot = strchr(path, '.'); dot; dot = strchr(name, '.')) {
        if (!stoa_config_in_section(before, path, (size_t)(dot - path))) {
            put_indent(p, *indent);
            stoa_buf_put(p->out, name, (size_t)(dot - name));
            stoa_buf_puts(p->out, ":\n");
        }
        name = dot + 1;
        *indent += 2;
    }
    return name;
}

static void print_table(page *p, const stoa_config_row *table, const char *settings, unsigned indent)
{
    const char *before = "";
    for (const stoa_config_row *row = table; row->path; row++) {
        unsigned inner = indent;
        const char *name = open_sections(p, before, row->path, &inner);
        put_comment(p, row, "", inner);
        put_indent(p, inner);
        stoa_buf_printf(p->out, "%s:", name);
        if (row->cls == STOA_CONFIG_GROUPS) {
            print_groups(p, row, settings, inner);
        } else {
            stoa_buf_puts(p->out, " ");
            stoa_config_print_value(row, settings + row->offset, p->out);
            stoa_buf_puts(p->out, "\n");
        }
        before = row->path;
    }
}

void stoa_config_print(const stoa_config_row *table, const void *settings, stoa_buf *out)
{
    page p = {.out = out, .comments = true};
    print_table(&p, table, settings, 0);
}
