/* figures.h - what a struct of figures says, as metrics: a row for each member, and counts by reason.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_FIGURES_H
#define STOA_NODE_FIGURES_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics.h"
#include "runtime/node.h"

/* A name that ends in _total is a counter's, another a gauge's. */
typedef struct stoa_figure {
    const char *name, *help;
    size_t offset, bytes;
} stoa_figure;

/* Where an unsigned member of 4 or 8 bytes is. */
#define STOA_FIGURE(type, member) offsetof(type, member), sizeof(((type *)0)->member) + 0 * sizeof(STOA_FIGURE_FITS_(type, member))
#define STOA_FIGURE_FITS_(type, member)                                                                                             \
    struct {                                                                                                                        \
        static_assert(_Generic(((type *)0)->member, uint32_t: 1, uint64_t: 1, default: 0), #member " is no figure");                \
        char at;                                                                                                                    \
    }

/* Set count figures with these labels to what they are in of. One that cannot be registered is left out. Any thread but a core. */
void stoa_figures_set(stoa_metrics *metrics, const stoa_figure *figures, size_t count, const char *labels, const void *of);
/* Set the counter name to what was dropped, once for each reason, a label behind the others (of 200 bytes at most). The same. */
void stoa_figures_set_drops(stoa_metrics *metrics, const char *name, const char *labels, const char *help, const uint64_t dropped[STOA_DROP_COUNT]);

#endif
