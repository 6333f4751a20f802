/* decimal.h - exact decimal numbers: int64 in units of 10^-8, ticks and lots, products in __int128.
 *
 * Money and sizes never touch a double. Text is parsed exactly or refused; a result that does not fit is RANGE.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_DECIMAL_H
#define STOA_BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/api.h"
#include "base/error.h"

STOA_API_BEGIN

/* A decimal number in units of 10^-8: "1.5" is 150000000. */
typedef int64_t stoa_decimal;

enum { STOA_DECIMAL_PLACES = 8 };
#define STOA_DECIMAL_ONE INT64_C(100000000)

/* Parse "[-]digits[.digits]" of size bytes. Errors: MALFORMED (anything else), PRECISION (a digit other than 0 behind the
 * eighth place), RANGE. out unchanged on error. Core: any, never allocates. */
stoa_err stoa_decimal_parse(const char *text, size_t size_bytes, stoa_decimal *out);

enum { STOA_DECIMAL_TEXT_MAX = 32 };
/* Print without trailing zeros but with at least places_min (up to 8) digits behind the point; returns the length. text
 * holds STOA_DECIMAL_TEXT_MAX bytes and is NUL-terminated. Core: any. */
size_t stoa_decimal_print(stoa_decimal value, unsigned places_min, char *text);

/* a * b / div, exact: RANGE when it does not fit int64, PRECISION when the division leaves a remainder. div > 0. */
stoa_err stoa_muldiv(int64_t a, int64_t b, int64_t div, int64_t *out);

/* a + b and a - b; RANGE on overflow. */
stoa_err stoa_add(int64_t a, int64_t b, int64_t *out);
stoa_err stoa_sub(int64_t a, int64_t b, int64_t *out);

/* value / step for a value that must be a whole number of steps (price to ticks, quantity to lots): PRECISION otherwise.
 * step > 0. */
stoa_err stoa_steps(stoa_decimal value, stoa_decimal step, int64_t *out);

STOA_API_END

#endif
