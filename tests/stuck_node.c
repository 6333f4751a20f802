/* stuck_node.c - a whole node, as stoad is, with actors more: one that runs in circles when it is told, for
 * integration/flight_test.py, and two that keep a trace going, for integration/follow_test.py.
 *
 *     stuck_node PATH=VALUE ...      settings, as flags of stoad without their dashes
 *
 * Says "ready"; then from each line on standard input: "spin" starts a turn that does not end, "go" ends it; "chain COUNT MS"
 * starts a chain of so many links, each so long after the one before and with a word to another core; "quit" closes the node.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/platform.h"
#include "runtime/stoa.h"

#define spinner_spin_FIELDS  STOA_NO_FIELDS
#define spinner_ROWS(ROW, K) ROW(K, CAST, spin, _, "Run in circles.")
STOA_TABLE(spinner)
STOA_TABLE_DEFINE(spinner)
typedef struct spinner {
    uint64_t rounds;
} spinner;
#define spinner_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(spinner, .mailbox_limit = 16)

static _Atomic bool let_go;

__attribute__((noinline)) static void run_in_circles(uint64_t *rounds)
{
    while (!atomic_load(&let_go)) {
        ++*rounds;
    }
}

static stoa_err spinner_on_spin(stoa_turn *turn, spinner *self, const spinner_spin *in)
{
    (void)turn;
    (void)in;
    run_in_circles(&self->rounds);
    return STOA_OK;
}

/* --- a chain */

#define chain_begin_FIELDS(F, S) F(S, uint64_t, links) F(S, uint64_t, wait_ms)
#define chain_link_FIELDS(F, S)  F(S, uint64_t, left) F(S, uint64_t, wait_ms)
#define chain_word_FIELDS        STOA_NO_FIELDS
#define chain_heard_FIELDS       STOA_NO_FIELDS
#define chain_ROWS(ROW, K)                                                                                             \
    ROW(K, CAST, begin, _, "Make so many links.")                                                                      \
    ROW(K, CAST, link, _, "Tell the other one, and go on in a while.")                                                 \
    ROW(K, COMMAND, word, heard, "Told.")                                                                              \
    ROW(K, REPLY, heard, _, "Heard.")
STOA_TABLE(chain)
STOA_TABLE_DEFINE(chain)
typedef struct chain {
    uint64_t words, answers;
} chain;
#define chain_HEARS(HEAR, K) HEAR(K, chain, heard)
STOA_PLAIN_KIND(chain, .mailbox_limit = 64)

static stoa_err chain_on_begin(stoa_turn *turn, chain *self, const chain_begin *in)
{
    (void)self;
    return chain_send_link(turn, turn->self, (chain_link){in->links, in->wait_ms});
}
static stoa_err chain_on_link(stoa_turn *turn, chain *self, const chain_link *in)
{
    (void)self;
    stoa_err err = chain_ask_word(turn, stoa_turn_find(turn, "chain/other"), (chain_word){0}, STOA_S(60), 0);
    if (err || in->left <= 1) { return err; }
    return chain_after_link(turn, STOA_MS(in->wait_ms), (chain_link){in->left - 1, in->wait_ms}, NULL);
}
static stoa_err chain_on_word(stoa_turn *turn, chain *self, const chain_word *in, chain_heard *out)
{
    (void)turn, (void)in, (void)out;
    self->words++;
    return STOA_OK;
}
static stoa_err chain_on_chain_heard(stoa_turn *turn, chain *self, const chain_heard *in)
{
    (void)turn, (void)in;
    self->answers++;
    return STOA_OK;
}

static int fail(const char *what)
{
    (void)fprintf(stderr, "stuck_node: %s: %s\n", what, stoa_err_trail());
    return EXIT_FAILURE;
}

static void obey(stoa_platform *platform, stoa_ref ref, stoa_ref first)
{
    char line[64];
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
        if (strncmp(line, "chain ", 6) == 0) {
            char *rest;
            uint64_t count = strtoull(line + 6, &rest, 10), wait_ms = strtoull(rest, NULL, 10);
            (void)chain_post_begin(platform->node, first, (chain_begin){count, wait_ms});
            continue;
        }
        bool spin = strcmp(line, "spin\n") == 0;
        atomic_store(&let_go, !spin);
        if (spin) { (void)spinner_post_spin(platform->node, ref, (spinner_spin){0}); }
    }
    atomic_store(&let_go, true);
}

int main(int argc, char **argv)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static stoa_settings settings;
    stoa_platform *platform;
    stoa_ref ref, first, other;
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_config_source source = {.text = stoa_settings_embedded, .overrides = (const char *const *)(argv + 1)};
    (void)argc;
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        (void)signal(fatal[i], SIG_DFL);
    } /* a sanitizer has them */
    if (stoa_settings_load(&source, &settings, &faults)) { return fail(faults.at); }
    stoa_buf_deinit(&faults);
    if (stoa_platform_open(&settings, &platform)) { return fail("open"); }
    if (stoa_spawn(platform->node, &spinner_kind, "spinner/dervish", NULL, &ref)) { return fail("spawn"); }
    uint32_t last = stoa_core_count(platform->node) - 1;
    if (stoa_spawn(platform->node, &chain_kind, "chain/first", NULL, &first)) { return fail("spawn"); }
    if (stoa_spawn(platform->node, &chain_kind, "chain/other", &(stoa_spawn_options){.core = last}, &other)) {
        return fail("spawn");
    }
    (void)printf("ready\n");
    (void)fflush(stdout);
    obey(platform, ref, first);
    stoa_platform_close(platform);
    return EXIT_SUCCESS;
}
