/* tally_caller.c - a program of its own that asks the plug-in of a node (examples/plugins/tally.c), for integration/plugins_test.py.
 *
 *     tally_caller NAME URI NODE KEY [DATA]     prints what tally/KEY there answers, before and after it crashed; DATA has keys
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include <stoa/cluster/links.h>
#include <stoa/stoa.h>
#include <tally.h>

STOA_TABLE_DEFINE(tally)
STOA_ISOLATED_KIND(tally, .mailbox_limit = 64) /* its rows may come; it has no actor here */

/* Once more, when it was restarted: it ended for those elsewhere, and is found by its name. */
static stoa_err again(stoa_node *node, stoa_links *links, const char *name, tally_total *out)
{
    stoa_ref tally = {0};
    stoa_err err = STOA_E_CLOSED;
    for (int i = 0; i < 30000 && (err == STOA_E_FAILED || err == STOA_E_CLOSED); i++, (void)poll(NULL, 0, 2)) {
        err = stoa_links_find(links, name, STOA_S(60), &tally);
        if (!err) { err = tally_call_add(node, tally, (tally_add){5}, STOA_S(60), out); }
    }
    return err;
}

int main(int argc, char **argv)
{
    stoa_node *node = NULL;
    stoa_links *links = NULL;
    stoa_ref tally = {0};
    tally_total total = {0};
    char name[64];
    if (argc < 5) { return 2; }
    (void)snprintf(name, sizeof name, "tally/%s", argv[4]);
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    stoa_links_options options = {.node = node, .name = argv[1], .data = argc > 5 ? argv[5] : NULL, .kinds = STOA_KINDS(&tally_kind),
                                  .links = {{.uri = argv[2], .nodes = argv[3]}}};
    if (!err) { err = stoa_links_open(&options, &links); }
    if (!err) { err = stoa_links_find(links, name, STOA_S(60), &tally); }
    for (uint64_t n = 1; n <= 3 && !err; n++) { err = tally_call_add(node, tally, (tally_add){n}, STOA_S(60), &total); }
    printf("total %" PRIu64 "\n", total.total);
    if (!err) { puts(stoa_err_name(tally_call_crash(node, tally, (tally_crash){0}, STOA_S(60), &total))); }
    if (!err) { err = again(node, links, name, &total); }
    printf("total %" PRIu64 "\n", total.total);
    if (err) { (void)fprintf(stderr, "%s: %s\n", stoa_err_name(err), stoa_err_trail()); }
    stoa_links_close(links, STOA_MS(200));
    stoa_node_close(node, STOA_MS(200));
    return err ? 1 : 0;
}
