/* figures.c - see figures.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/figures.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LABELS_MAX = 256 };

static bool counts(const char *name)
{
    const char *last = strrchr(name, '_');
    return last && strcmp(last, "_total") == 0;
}

static void set(stoa_metrics *metrics, const char *name, const char *labels, const char *help, uint64_t value)
{
    stoa_counter *metric;
    stoa_err err = counts(name) ? stoa_metrics_counter(metrics, name, labels, help, &metric) : stoa_metrics_gauge(metrics, name, labels, help, &metric);
    if (!err) { stoa_gauge_set(metric, value); }
}

static uint64_t value_of(const stoa_figure *f, const void *of)
{
    const char *at = (const char *)of + f->offset;
    return f->bytes == sizeof(uint64_t) ? *(const uint64_t *)(const void *)at : *(const uint32_t *)(const void *)at;
}

void stoa_figures_set(stoa_metrics *metrics, const stoa_figure *figures, size_t count, const char *labels, const void *of)
{
    for (size_t i = 0; i < count; i++) { set(metrics, figures[i].name, labels, figures[i].help, value_of(&figures[i], of)); }
}

void stoa_figures_set_drops(stoa_metrics *metrics, const char *name, const char *labels, const char *help, const uint64_t dropped[STOA_DROP_COUNT])
{
    for (unsigned reason = 0; reason < STOA_DROP_COUNT; reason++) {
        char more[LABELS_MAX];
        (void)snprintf(more, sizeof more, "%s,reason=\"%s\"", labels, stoa_drop_name((stoa_drop)reason));
        set(metrics, name, more, help, dropped[reason]);
    }
}
