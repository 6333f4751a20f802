/* stuck_node.c - a whole node, as stoad is, with one actor more, which runs in circles when it is told: for
 * integration/flight_test.py.
 *
 *     stuck_node PATH=VALUE ...      settings, as flags of stoad without their dashes
 *
 * Says "ready"; then from each line on standard input: "spin" starts a turn that does not end, "go" ends it, "quit"
 * closes the node.
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

static int fail(const char *what)
{
    (void)fprintf(stderr, "stuck_node: %s: %s\n", what, stoa_err_trail());
    return EXIT_FAILURE;
}

static void obey(stoa_platform *platform, stoa_ref ref)
{
    char line[64];
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
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
    stoa_ref ref;
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
    (void)printf("ready\n");
    (void)fflush(stdout);
    obey(platform, ref);
    stoa_platform_close(platform);
    return EXIT_SUCCESS;
}
