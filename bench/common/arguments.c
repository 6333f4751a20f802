/* arguments.c - bench/common/arguments.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/common/arguments.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bench_arguments bench_arguments_of(int argc, char **argv)
{
    bench_arguments given = {.only = ""};
    char program[sizeof given.folder];
    (void)snprintf(program, sizeof program, "%s", argv[0]);
    (void)snprintf(given.folder, sizeof given.folder, "%.480s/../peers", dirname(program));
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--peers") == 0) {
            given.peers = true;
        } else if (strcmp(argv[i], "--quick") == 0) {
            given.quick = true;
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            given.only = argv[++i];
        } else {
            (void)fprintf(stderr, "usage: %s [--peers] [--quick] [--only TEXT]\n", program_invocation_short_name);
            exit(2);
        }
    }
    return given;
}
