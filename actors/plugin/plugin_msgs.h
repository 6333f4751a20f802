/* plugin_msgs.h - what the supervisor of a plug-in (plugin/NAME) takes: messages for its actors as text, and questions about them.
 *
 * Who knows a plug-in's table sends to its actors themselves; clients do not, and ask here: a message by its name, its payload as
 * JSON. Errors of ask: NOT_FOUND (no such actor, no such message), MALFORMED, INVALID, RANGE, PRECISION, TOO_LARGE (the payload, or an
 * answer that is longer), FULL (too many are under way), FAILED (the actor ended before it answered, or is being restarted: whether it was
 * done is not known), and what the actor answers. Nothing remembers requests: one that is repeated is done again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_PLUGIN_PLUGIN_MSGS_H
#define STOA_ACTORS_PLUGIN_PLUGIN_MSGS_H

#include "base/table.h"

enum { PLUGIN_ACTORS_MAX = 16 };

#define plugin_ask_FIELDS(F, S)     F(S, stoa_text30, instance) F(S, stoa_text62, message) F(S, stoa_text1022, payload)
#define plugin_answer_FIELDS(F, S)  F(S, stoa_text4094, payload)
#define plugin_look_FIELDS          STOA_NO_FIELDS
#define plugin_start_FIELDS         STOA_NO_FIELDS
#define plugin_started_FIELDS(F, S) F(S, uint64_t, count)
/* ends: of its processes since the node came up; gone: it stays away. */
#define plugin_child_FIELDS(F, S)                                                                                      \
    F(S, uint64_t, ends) F(S, uint64_t, gone) F(S, uint64_t, ended_ns) F(S, stoa_text30, key) F(S, stoa_text62, why)
STOA_RECORD(plugin_child)
STOA_LIST(plugin_children, plugin_child, PLUGIN_ACTORS_MAX)
#define plugin_seen_FIELDS(F, S) F(S, plugin_children, children)
#define plugin_ROWS(ROW, K)                                                              \
    ROW(K, COMMAND, ask, answer, "Send one of its actors a message, and be answered.")   \
    ROW(K, REPLY, answer, _, "What it answered; empty where the message has no answer.") \
    ROW(K, COMMAND, look, seen, "How do its actors fare?")                               \
    ROW(K, REPLY, seen, _, "So.")                                                        \
    ROW(K, COMMAND, start, started, "Begin anew with those that stay away.")             \
    ROW(K, REPLY, started, _, "So many.")
STOA_TABLE(plugin)

#endif
