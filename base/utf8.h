/* utf8.h - is it UTF-8? (RFC 3629: shortest form, no surrogates, up to U+10FFFF)
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_UTF8_H
#define STOA_BASE_UTF8_H

#include <stddef.h>

/* Length of the longest prefix of bytes that is whole, valid UTF-8; size_bytes when all of it is. NUL and
 * control characters are valid. Core: any, never allocates. */
size_t stoa_utf8_prefix(const char *bytes, size_t size_bytes);

#endif
