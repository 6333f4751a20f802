/* measure.h - the runtime's own figures as metrics, taken when somebody asks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_MEASURE_H
#define STOA_NODE_MEASURE_H

#include "node/platform.h"

/* Set the gauges and counters of cores and shards to what they are now. Any thread but a core. */
void stoa_measure(stoa_platform *platform);

#endif
