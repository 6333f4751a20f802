/* docs.h - the reference pages that tables write: `stoad --dump-docs NAME`. docs/reference/ must equal them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_DOCS_H
#define STOA_NODE_DOCS_H

#include "base/buf.h"
#include "base/error.h"

/* NAME: config, errors, kinds, protocol, protocol. Errors: NOT_FOUND (the trail lists the names). */
stoa_err stoa_docs_print(const char *name, stoa_buf *out);

#endif
