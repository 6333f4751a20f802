/* arguments.h - what the programs that have peers are told. Internal to bench/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_COMMON_ARGUMENTS_H
#define STOA_BENCH_COMMON_ARGUMENTS_H

#include <stdbool.h>

typedef struct bench_arguments {
    bool peers, quick;
    const char *only; /* rows whose name contains it; "" is in all */
    char folder[512]; /* of the peers' programs */
} bench_arguments;

/* [--peers] [--quick] [--only TEXT]; anything else is told and ends the program with 2. */
bench_arguments bench_arguments_of(int argc, char **argv);

#endif
