/* commands_group.c - groups and their members.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "node/commands.h"
#include "base/array.h"

typedef struct groups {
    stoa_group_view *at;
    size_t count;
    uint32_t cap;
    bool cut;
} groups;

static void collect(void *context, const stoa_group_view *view)
{
    groups *list = context;
    stoa_group_view *at = stoa_array_room(list->at, list->count, &list->cap, sizeof *at);
    if (!at) {
        list->cut = true;
        return;
    }
    list->at = at;
    list->at[list->count++] = *view;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const stoa_group_view *)a)->name, ((const stoa_group_view *)b)->name);
}

static void put_group(stoa_doc *doc, const stoa_group_view *view)
{
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "name", view->name);
    stoa_doc_uint(doc, "members", view->members);
    stoa_doc_uint(doc, "published", view->published);
    stoa_doc_close(doc, '}');
}

static stoa_err put_groups(stoa_platform *platform, stoa_door_call *call, const char *pattern)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    groups list = {0};
    stoa_err err = stoa_groups(platform->node, pattern, collect, &list);
    if (!err && list.cut) { err = STOA_FAIL(STOA_E_NOMEM, "too many groups to list; give a pattern"); }
    if (!err && list.count) { qsort(list.at, list.count, sizeof *list.at, by_name); }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "groups", '[');
    for (size_t i = 0; i < list.count && !err; i++) { put_group(&doc, &list.at[i]); }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table groups: name, members/n, published/n");
    free(list.at);
    return err || list.count ? err : stoa_nothing_found(platform, call, "group", "groups", pattern);
}

static void put_member(void *context, const stoa_member_view *view)
{
    stoa_doc *doc = context;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "name", view->name);
    stoa_doc_uint(doc, "core", view->core);
    stoa_doc_close(doc, '}');
}

static stoa_err put_members(stoa_platform *platform, stoa_door_call *call, const char *group)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "members", '[');
    stoa_err err = stoa_members(platform->node, group, put_member, &doc);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table members: name, core/id");
    return err == STOA_E_NOT_FOUND ? stoa_nothing_found(platform, call, "group", "groups", group) : err;
}

/* One group by its name: its members. All of a pattern, or all: how many members each has. */
stoa_err stoa_command_groups(stoa_platform *platform, stoa_door_call *call)
{
    const char *group = stoa_call_arg(call, 0);
    bool one = group && !strpbrk(group, "*>");
    return one ? put_members(platform, call, group) : put_groups(platform, call, group);
}
