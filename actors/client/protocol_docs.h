/* protocol_docs.h - docs/reference/protocol.md, written from the tables.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_CLIENT_PROTOCOL_DOCS_H
#define STOA_ACTORS_CLIENT_PROTOCOL_DOCS_H

#include <stddef.h>

#include "base/buf.h"

/* Append the page, Markdown. */
void stoa_protocol_print_docs(stoa_buf *out);

/* The field that the page's nth note is about ("room.post.text"), NULL behind the last: for the test that sees to it that
 * there is such a field. */
const char *stoa_protocol_docs_note(size_t index);

#endif
