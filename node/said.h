/* said.h - an error's trail as a sentence for people: without names and where in the source it is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_SAID_H
#define STOA_NODE_SAID_H

enum { STOA_SAID_MAX = 1024 };

/* The calling thread's trail, the innermost line first, into text; returns text. */
const char *stoa_said(char text[STOA_SAID_MAX]);
/* The same of a trail that was kept. */
const char *stoa_said_of(const char *trail, char text[STOA_SAID_MAX]);

#endif
