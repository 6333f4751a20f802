/* decimal.c - exact decimals of base/decimal.h.
 *
 * Parsing gathers the magnitude as an unsigned number of 10^-8 units, one digit at a time, and notes overflow
 * and lost digits on the way, because text that is not a number at all must say MALFORMED even when it is
 * also too long. Of the other two, PRECISION is told before RANGE.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/decimal.h"

#include <stdbool.h>
#include <string.h>

__extension__ typedef __int128 int128;

/* The number read so far. */
typedef struct magnitude {
    uint64_t units;
    bool overflow, inexact;
} magnitude;

static void push_digit(magnitude *m, unsigned digit)
{
    m->overflow |= __builtin_mul_overflow(m->units, UINT64_C(10), &m->units);
    m->overflow |= __builtin_add_overflow(m->units, (uint64_t)digit, &m->units);
}

static unsigned digit_of(char c)
{
    return (unsigned)(unsigned char)c - '0'; /* above 9: not a digit */
}

/* The whole part; returns where it ends. */
static const char *push_whole(magnitude *m, const char *at, const char *end)
{
    for (; at < end && digit_of(*at) <= 9; at++) {
        push_digit(m, digit_of(*at));
    }
    return at;
}

/* The digits behind the point, eight of which count and eight of which are always pushed; returns where they
 * end. */
static const char *push_fraction(magnitude *m, const char *at, const char *end)
{
    unsigned places = 0;
    for (; at < end && digit_of(*at) <= 9; at++) {
        if (places < STOA_DECIMAL_PLACES) {
            push_digit(m, digit_of(*at));
            places++;
        } else if (*at != '0') {
            m->inexact = true;
        }
    }
    for (; places < STOA_DECIMAL_PLACES; places++) {
        push_digit(m, 0);
    }
    return at;
}

stoa_err stoa_decimal_parse(const char *text, size_t size_bytes, stoa_decimal *out)
{
    if (size_bytes == 0) { return STOA_E_MALFORMED; }
    const char *end = text + size_bytes;
    bool negative = *text == '-';
    const char *whole = text + negative;
    magnitude m = {0};

    const char *point = push_whole(&m, whole, end);
    bool has_point = point < end && *point == '.';
    const char *fraction = point + has_point;
    const char *stop = push_fraction(&m, fraction, end);
    if (stop != end || point == whole || (has_point && stop == fraction)) { return STOA_E_MALFORMED; }
    if (m.inexact) { return STOA_E_PRECISION; }
    if (m.overflow || m.units > (uint64_t)INT64_MAX + negative) { return STOA_E_RANGE; }

    *out = (int64_t)(negative ? 0 - m.units : m.units);
    return STOA_OK;
}

size_t stoa_decimal_print(stoa_decimal value, unsigned places_min, char *text)
{
    STOA_ASSERT(places_min <= STOA_DECIMAL_PLACES);
    uint64_t units = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t whole = units / (uint64_t)STOA_DECIMAL_ONE, fraction = units % (uint64_t)STOA_DECIMAL_ONE;
    unsigned places = STOA_DECIMAL_PLACES;
    for (; places > places_min && fraction % 10 == 0; places--) {
        fraction /= 10;
    }

    char backwards[STOA_DECIMAL_TEXT_MAX];
    char *at = backwards + sizeof backwards;
    *--at = '\0';
    for (unsigned i = 0; i < places; i++, fraction /= 10) {
        *--at = (char)('0' + fraction % 10);
    }
    if (places) { *--at = '.'; }
    do {
        *--at = (char)('0' + whole % 10);
        whole /= 10;
    } while (whole);
    if (value < 0) { *--at = '-'; }

    size_t size_bytes = (size_t)(backwards + sizeof backwards - at);
    memcpy(text, at, size_bytes);
    return size_bytes - 1;
}

stoa_err stoa_muldiv(int64_t a, int64_t b, int64_t div, int64_t *out)
{
    STOA_ASSERT(div > 0);
    int64_t quotient, remainder;
    int64_t narrow;
    if (!__builtin_mul_overflow(a, b, &narrow)) { /* nearly always, and several times faster */
        quotient = narrow / div;
        remainder = narrow % div;
    } else {
        int128 product = (int128)a * b, wide = product / div;
        if (wide != (int64_t)wide) { return STOA_E_RANGE; }
        quotient = (int64_t)wide;
        remainder = (int64_t)(product - wide * div);
    }
    if (remainder != 0) { return STOA_E_PRECISION; }
    *out = quotient;
    return STOA_OK;
}

stoa_err stoa_add(int64_t a, int64_t b, int64_t *out)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) { return STOA_E_RANGE; }
    *out = sum;
    return STOA_OK;
}

stoa_err stoa_sub(int64_t a, int64_t b, int64_t *out)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference)) { return STOA_E_RANGE; }
    *out = difference;
    return STOA_OK;
}

stoa_err stoa_steps(stoa_decimal value, stoa_decimal step, int64_t *out)
{
    STOA_ASSERT(step > 0);
    if (value % step != 0) { return STOA_E_PRECISION; }
    *out = value / step;
    return STOA_OK;
}
