/* commands_channel.c - channels between shards: how far each is, and a forked one begun anew.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "node/commands.h"

static void put_channel(void *context, const stoa_channel_view *view)
{
    stoa_doc *doc = context;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "from", view->from);
    stoa_doc_text(doc, "to", view->to);
    stoa_doc_text(doc, "status", view->status);
    stoa_doc_uint(doc, "mailed", view->mailed);
    stoa_doc_uint(doc, "sent", view->sent);
    stoa_doc_uint(doc, "acknowledged", view->acknowledged);
    stoa_doc_uint(doc, "journaled", view->journaled);
    stoa_doc_uint(doc, "waiting", view->waiting);
    stoa_doc_uint(doc, "bytes", view->bytes);
    stoa_doc_uint(doc, "room_bytes", view->room_bytes);
    stoa_doc_uint(doc, "returned", view->returned);
    stoa_doc_uint(doc, "generation", view->generation);
    stoa_doc_uint(doc, "cursor", view->cursor);
    stoa_doc_text(doc, "met", view->met[0] ? view->met : NULL);
    stoa_doc_text(doc, "forked", view->forked[0] ? view->forked : NULL);
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_channels(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_shard *shard;
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "channels", '[');
    for (uint32_t i = 0; (shard = stoa_shard_at(platform, i)) != NULL; i++) { stoa_channels(shard, put_channel, &doc); }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table channels: from, to, status, mailed/n, sent/n, acknowledged/n, journaled/n?, waiting/n, bytes/bytes, "
                               "room_bytes=room/bytes?, returned/n, generation/n?, cursor/n?, met?, forked?");
    return STOA_OK;
}

static const char *why_of(const stoa_channel_view *view)
{
    if (view->forked[0]) { return view->forked; }
    return strcmp(view->met, "never") == 0 ? "its receiver has never answered: nothing was ever sent" : "its receiver is absent, and has taken nothing as you say";
}

static void put_outcome(stoa_door_call *call, const stoa_channel_view *view, const stoa_channel_anew *how)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    uint64_t taken = view->taken > view->acknowledged ? view->taken - view->acknowledged : 0, others = view->waiting - taken;
    uint64_t doubtful = view->doubtful > taken ? view->doubtful - taken : 0;
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "restart", '{');
    stoa_doc_text(&doc, "from", view->from);
    stoa_doc_text(&doc, "to", view->to);
    stoa_doc_text(&doc, "why", why_of(view));
    stoa_doc_uint(&doc, "mailed", view->mailed);
    stoa_doc_uint(&doc, "acknowledged", view->acknowledged);
    stoa_doc_uint(&doc, "cursor", view->cursor);
    stoa_doc_uint(&doc, "taken", taken);
    stoa_doc_uint(&doc, "waiting", others);
    stoa_doc_uint(&doc, "doubtful", doubtful);
    stoa_doc_printf(&doc, "outcome", "%s: the channel begins anew; of the %" PRIu64 " messages that wait, %" PRIu64
                    " count as taken, %" PRIu64 " are %s", how->plan ? "would be" : "done", view->waiting, taken, others,
                    how->again ? "mailed once more" : "returned to who mailed them, as undelivered (FORKED)");
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields restart: from, to, why/wrap, mailed/n, acknowledged/n, cursor=receiver's cursor/n, "
                               "taken/n, waiting=others/n, doubtful=of them may have been sent/n, outcome/wrap");
}

stoa_err stoa_command_channel_restart(stoa_platform *platform, stoa_door_call *call)
{
    stoa_channel_view view;
    stoa_shard *shard = stoa_shard_named(platform, stoa_call_arg(call, 0));
    if (!shard) { return stoa_not_found(platform, "shard", "shards", stoa_call_arg(call, 0)); }
    stoa_channel_anew how = {.again = strcmp(stoa_call_arg(call, 2), "again") == 0,
                             .none_taken = stoa_invocation_option(&call->said, "none-taken"),
                             .plan = stoa_invocation_option(&call->said, "plan")};
    stoa_err err = stoa_channel_restart(shard, stoa_call_arg(call, 1), &how, &view);
    if (!err) { put_outcome(call, &view, &how); }
    return err;
}
