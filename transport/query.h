/* query.h - the options behind the '?' of a link's address: "scheme://place?key=value&key=value".
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_QUERY_H
#define STOA_TRANSPORT_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The value of key, NUL-terminated, into value; false when it is not there or does not fit, and value is untouched. */
bool stoa_query_text(const char *address, const char *key, char *value, size_t value_bytes);

/* The value of key as a decimal number; *out stays as it is when key is not there.
 * Errors: INVALID (no number, or above most). */
stoa_err stoa_query_number(const char *address, const char *key, uint64_t most, uint64_t *out);

/* The address without the options that has() knows, into out. Errors: INVALID (does not fit). */
stoa_err stoa_query_without(const char *address, bool (*has)(const char *key, size_t key_bytes), char *out,
                            size_t out_bytes);

#endif
