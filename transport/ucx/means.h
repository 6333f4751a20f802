/* ucx/means.h - what a worker takes and UCX 1.13 does not take no for: where descriptors end while one is made, it ends the
 * process. So they are asked for before UCX does.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_UCX_MEANS_H
#define STOA_TRANSPORT_UCX_MEANS_H

#include "base/error.h"

/* What STOA_UCX_SPARE descriptors are for: some seven are a connection's, the rest for who takes one meanwhile. */
enum { STOA_UCX_SPARE = 32 };

/* Whether there are descriptors for one connection more. Any thread; takes them all and gives them back, some 20 us. Errors: FULL. */
stoa_err stoa_ucx_means(void);

#endif
