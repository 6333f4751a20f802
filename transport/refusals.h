/* refusals.h - why connections were refused, until it is told: any error of base/errors.def, once, however often it came.
 *
 * All of it is here, so that modules have it, too. Core: the link's owner's; nothing blocks or allocates.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_REFUSALS_H
#define STOA_TRANSPORT_REFUSALS_H

#include <stdint.h>
#include <string.h>

#include "base/error.h"

typedef struct stoa_refusals_row {
    stoa_err err;
    const char *name;
} stoa_refusals_row;

static const stoa_refusals_row stoa_refusals_rows[] = {
#define STOA_ERROR(code, name, text, remedy) {STOA_E_##name, #name},
#include "base/errors.def"
#undef STOA_ERROR
};
enum { STOA_REFUSALS_ROWS = sizeof stoa_refusals_rows / sizeof stoa_refusals_rows[0] };

typedef struct stoa_refusals {
    uint64_t bits; /* by row */
} stoa_refusals;
_Static_assert(STOA_REFUSALS_ROWS <= 64, "a bit for each error");

/* CLOSED and TOO_LARGE end a connection and refuse nobody: OK. */
static inline stoa_err stoa_refusals_meant(stoa_err why)
{
    return why == STOA_E_CLOSED || why == STOA_E_TOO_LARGE ? STOA_OK : why;
}

/* Why is to be told, if it is a refusal. */
static inline void stoa_refusals_add(stoa_refusals *refusals, stoa_err why)
{
    for (unsigned i = 0; i < STOA_REFUSALS_ROWS; i++) {
        if (stoa_refusals_rows[i].err == stoa_refusals_meant(why)) { refusals->bits |= UINT64_C(1) << i; }
    }
}

/* Take one that is to be told. OK: there is none. */
static inline stoa_err stoa_refusals_take(stoa_refusals *refusals)
{
    if (!refusals->bits) { return STOA_OK; }
    unsigned i = (unsigned)__builtin_ctzll(refusals->bits);
    refusals->bits &= refusals->bits - 1;
    return stoa_refusals_rows[i].err;
}

/* What the other side says is why, by name. OK: no refusal, but an end; so is "", and what is no error of this version. */
static inline stoa_err stoa_refusals_named(const void *name, size_t name_bytes)
{
    for (unsigned i = 0; i < STOA_REFUSALS_ROWS; i++) {
        const stoa_refusals_row *row = &stoa_refusals_rows[i];
        if (strlen(row->name) == name_bytes && memcmp(row->name, name, name_bytes) == 0) { return stoa_refusals_meant(row->err); }
    }
    return STOA_OK;
}

/* The same by its code, where one that is no error of this version is MALFORMED. */
static inline stoa_err stoa_refusals_coded(int32_t code)
{
    for (unsigned i = 0; i < STOA_REFUSALS_ROWS; i++) {
        if ((int32_t)stoa_refusals_rows[i].err == code) { return stoa_refusals_meant(stoa_refusals_rows[i].err); }
    }
    return code ? STOA_E_MALFORMED : STOA_OK;
}

#endif
