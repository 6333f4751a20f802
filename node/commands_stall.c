/* commands_stall.c - `stalls`: the turns that took too long.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "node/commands.h"

enum { FRAMES_SHOWN = 6 };

static void put_where(stoa_doc *doc, const stoa_stall_view *stall)
{
    char text[512];
    stoa_buf where = STOA_BUF_FIXED(text);
    for (uint32_t i = 0; i < stall->frame_count && i < FRAMES_SHOWN; i++) {
        stoa_buf_printf(&where, "%s%s+%" PRIu64, i ? " < " : "", stall->frames[i].in, stall->frames[i].offset);
    }
    if (!stall->frame_count) { stoa_buf_printf(&where, "(%s)", stall->without); }
    stoa_doc_text(doc, "where", text);
}

static void put_frames(stoa_doc *doc, const stoa_stall_view *stall)
{
    stoa_doc_open(doc, "frames", '[');
    for (uint32_t i = 0; i < stall->frame_count; i++) {
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_printf(doc, "address", "0x%" PRIx64, stall->frames[i].address);
        stoa_doc_text(doc, "in", stall->frames[i].in);
        stoa_doc_uint(doc, "offset", stall->frames[i].offset);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

static void put_stall(void *context, const stoa_stall_view *stall)
{
    stoa_doc *doc = context;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_uint(doc, "number", stall->number);
    stoa_doc_uint(doc, "at_ns", stall->wall_ns);
    stoa_doc_uint(doc, "core", stall->core);
    stoa_doc_text(doc, "actor", stall->actor);
    if (stall->row) {
        stoa_doc_printf(doc, "message", "%s.%s", stall->row->kind, stall->row->name);
    } else {
        stoa_doc_text(doc, "message", "start");
    }
    stoa_doc_uint(doc, "ns", stall->ns);
    stoa_doc_uint(doc, "cpu_ns", stall->cpu_ns);
    stoa_doc_text(doc, "state", stall->over ? "over" : "runs");
    put_where(doc, stall);
    put_frames(doc, stall);
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_stalls(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "stalls", '[');
    stoa_err err = stoa_stalls(platform->node, put_stall, &doc);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view,
                  "table stalls: at_ns=time/time, core/id, actor, message, ns=took/ns, cpu_ns=cpu/ns?, state, "
                  "where/wrap");
    return err;
}
