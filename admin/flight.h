/* flight.h - `stoa flight FILE`: shows what a flight recorder has written, of a node that runs or of one that ended.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_FLIGHT_H
#define STOA_ADMIN_FLIGHT_H

#include "admin/session.h"
#include "base/flight.h"

/* Append the records of the file as one JSON document, and how to show it. name is what the file is called. Errors:
 * those of stoa_flight_read, NOMEM. */
stoa_err stoa_flight_document(const char *name, const void *bytes, size_t size_bytes, const stoa_flight_query *query,
                              stoa_buf *document, stoa_buf *view);

/* The words behind `flight` on the command line, argv[0] being that word. json: -o json stood before it. */
stoa_exit stoa_flight_run(int argc, char **argv, bool json);

#endif
