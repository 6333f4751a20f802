/* hello_actor.c - a greeter that remembers its visitors: one event-sourced kind from one table, on one screen.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stoa/stoa.h>
#include <stoa/storage/rocksdb/journal.h>

#define greeter_hello_FIELDS(F, S)   F(S, stoa_text30, name)
#define greeter_welcome_FIELDS(F, S) F(S, uint64_t, visitor)
#define greeter_greeted_FIELDS(F, S) F(S, stoa_text30, name)
#define greeter_ROWS(ROW, K) /* append only: wire and journal format */               \
    ROW(K, COMMAND, hello, welcome, "Greet a visitor; answers the visitor's number.") \
    ROW(K, REPLY, welcome, _, "The visitor's number.")                                \
    ROW(K, EVENT, greeted, _, "A visitor was greeted.")
STOA_TABLE_HERE(greeter)

#define greeter_FIELDS(F, S) F(S, uint64_t, visitors) F(S, stoa_text30, last)
STOA_RECORD_HERE(greeter) /* the state; no pointers: it is its own snapshot */

#define greeter_HEARS STOA_HEARS_NOTHING
STOA_KIND(greeter, .mailbox_limit = 1024, .state_type = STOA_TYPE(greeter))

static stoa_err greeter_on_hello(stoa_turn *turn, const greeter *self, const greeter_hello *in, greeter_welcome *out)
{
    if (in->name.len == 0) { return STOA_E_INVALID; } /* refused: nothing of this turn happened */
    out->visitor = self->visitors + 1;
    return greeter_emit_greeted(turn, (greeter_greeted){.name = in->name});
}

static void greeter_apply_greeted(greeter *self, const greeter_greeted *event)
{
    self->visitors++; /* live and in replay; cannot fail */
    self->last = event->name;
}

int main(void)
{
    stoa_options options = {.kinds = STOA_KINDS(&greeter_kind), .journal = &stoa_journal_rocksdb, .path = "hello.db"};
    stoa_node *node = NULL;
    stoa_ref door = {0};
    greeter_welcome out = {0};
    stoa_err err = stoa_node_open(&options, &node);
    if (!err) { err = stoa_spawn(node, &greeter_kind, "greeter/door", STOA_DISK, &door); }
    if (!err) { err = greeter_call_hello(node, door, (greeter_hello){stoa_text("Ada")}, STOA_S(10), &out); }
    if (!err) { printf("Hello Ada, visitor %" PRIu64 "\n", out.visitor); }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
