/* clock.c - the machine's clock, the virtual one, and the text of a wall time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); /* cannot fail for these ids and a valid pointer */
    return STOA_S(now.tv_sec) + (uint64_t)now.tv_nsec;
}

static uint64_t real_now(stoa_clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_MONOTONIC);
}

static uint64_t real_wall(stoa_clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_REALTIME);
}

stoa_clock stoa_clock_real = {real_now, real_wall};

static stoa_clock_virtual *virtual_of(stoa_clock *clock)
{
    return (stoa_clock_virtual *)((char *)clock - offsetof(stoa_clock_virtual, clock));
}

static uint64_t virtual_now(stoa_clock *clock)
{
    return virtual_of(clock)->now;
}

static uint64_t virtual_wall(stoa_clock *clock)
{
    return virtual_of(clock)->wall_at_zero + virtual_of(clock)->now;
}

void stoa_clock_virtual_init(stoa_clock_virtual *clock, uint64_t wall_at_zero)
{
    *clock = (stoa_clock_virtual){.clock = {virtual_now, virtual_wall}, .wall_at_zero = wall_at_zero};
}

typedef struct date {
    unsigned year, month, day;
} date;

/* Days since 1970-01-01 as a Gregorian date. Years are counted from 1st March, so that a leap day is the last
 * day of its year and a month's first day is a linear function of the month. */
static date date_of(uint64_t days)
{
    enum { DAYS_400_YEARS = 146097, DAYS_BEFORE_1970 = 719468 }; /* since 1st March of year 0 */
    uint64_t since = days + DAYS_BEFORE_1970;
    unsigned era = (unsigned)(since / DAYS_400_YEARS), in_era = (unsigned)(since % DAYS_400_YEARS);
    unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / (DAYS_400_YEARS - 1)) / 365;
    unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * in_year + 2) / 153; /* 0 is March */
    bool next = month >= 10;                  /* January and February belong to the next civil year */
    return (date){.year = era * 400 + year + next,
                  .month = next ? month - 9 : month + 3,
                  .day = in_year - (153 * month + 2) / 5 + 1};
}

/* value in width digits, then the character behind them; returns where to go on. */
static char *put_number(char *at, uint64_t value, unsigned width, char behind)
{
    for (unsigned i = width; i-- > 0; value /= 10) {
        at[i] = (char)('0' + value % 10);
    }
    at[width] = behind;
    return at + width + 1;
}

void stoa_time_print(uint64_t wall_ns, char *text)
{
    uint64_t seconds = wall_ns / STOA_S(1), in_day = seconds % 86400;
    date d = date_of(seconds / 86400);
    text = put_number(text, d.year, 4, '-');
    text = put_number(text, d.month, 2, '-');
    text = put_number(text, d.day, 2, 'T');
    text = put_number(text, in_day / 3600, 2, ':');
    text = put_number(text, in_day / 60 % 60, 2, ':');
    text = put_number(text, in_day % 60, 2, '.');
    text = put_number(text, wall_ns % STOA_S(1) / STOA_US(1), 6, 'Z');
    *text = '\0';
}
