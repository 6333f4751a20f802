/* plugin.c - an actor whose handlers run in a process of their own, from a library: it crashes, and is there again.
 *
 *     example_plugin LIBRARY      the library is plugins/tally.c
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include <stoa/base/log.h>
#include <stoa/stoa.h>

#include "plugins/tally.h"

STOA_TABLE_DEFINE(tally)
STOA_ISOLATED_KIND(tally, .mailbox_limit = 64) /* its handlers are elsewhere */

/* --- a keeper spawns it, so that it is restarted when it fails, and says why it failed */
#define keeper_look_FIELDS       STOA_NO_FIELDS
#define keeper_seen_FIELDS(F, S) F(S, stoa_text62, why)
#define keeper_ROWS(ROW, K)                       \
    ROW(K, COMMAND, look, seen, "What happened?") \
    ROW(K, REPLY, seen, _, "Why it failed last.")
STOA_TABLE_HERE(keeper)
typedef struct keeper {
    keeper_seen seen;
} keeper;
#define keeper_HEARS(HEAR, K) HEAR(K, stoa_system, down)
static stoa_err keeper_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(keeper, .start = keeper_start, .args_bytes = sizeof(stoa_isolate))

static stoa_err keeper_start(stoa_turn *turn, void *state, const void *args)
{
    stoa_ref ref;
    (void)state;
    stoa_child child = {.name = "tally/t", .args = args, .restart = STOA_PERMANENT};
    stoa_err err = stoa_turn_spawn(turn, &tally_kind, &child, &ref);
    return err || stoa_turn_monitor(turn, ref) ? err : STOA_E_FULL;
}

static stoa_err keeper_on_stoa_system_down(stoa_turn *turn, keeper *self, const stoa_system_down *in)
{
    (void)turn;
    self->seen.why = in->text;
    return STOA_OK;
}

static stoa_err keeper_on_look(stoa_turn *turn, keeper *self, const keeper_look *in, keeper_seen *out)
{
    (void)turn, (void)in;
    *out = self->seen;
    return STOA_OK;
}

int main(int count, char **args)
{
    stoa_node *node = NULL;
    stoa_ref k = {0}, tally = {0};
    tally_total total = {0};
    keeper_seen seen = {0};
    stoa_isolate isolate = {.library = count > 1 ? args[1] : "plugins/tally.so", .memory_bytes = 64 << 20};
    stoa_log_level_set(STOA_LOG_ERROR); /* the log has a warning for each failure */
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    if (!err) { err = stoa_spawn(node, &keeper_kind, "keeper/k", &(stoa_spawn_options){.args = &isolate}, &k); }
    tally = stoa_find(node, "tally/t");
    for (uint64_t n = 1; n <= 3 && !err; n++) {
        err = tally_call_add(node, tally, (tally_add){n}, STOA_S(10), &total);
        printf("total %" PRIu64 "\n", total.total);
    }
    if (!err) { puts(stoa_err_name(tally_call_crash(node, tally, (tally_crash){0}, STOA_S(10), &total))); }
    while (!err && !seen.why.len) { err = keeper_call_look(node, k, (keeper_look){0}, STOA_S(10), &seen); }
    printf("%.*s\n", STOA_TEXT_ARGS(&seen.why));
    if (!err) { err = tally_call_add(node, tally, (tally_add){5}, STOA_S(10), &total); }
    printf("total %" PRIu64 "\n", total.total);
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
