/* funds.c - parsing of node/funds.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/funds.h"

#include <string.h>

static const char *skip(const char *at, const char *what)
{
    return at + strspn(at, what);
}

stoa_err stoa_funds_parse(const char *text, stoa_fund funds[STOA_FUNDS_MAX], uint32_t *count_out)
{
    uint32_t count = 0;
    for (const char *at = skip(text, " "); *at; at = skip(at, " ,")) {
        if (count == STOA_FUNDS_MAX) { return STOA_FAIL(STOA_E_FULL, "more than %d funds", STOA_FUNDS_MAX); }
        size_t digits = strcspn(at, " ,");
        stoa_err err = stoa_decimal_parse(at, digits, &funds[count].amount);
        if (err) { return err; }
        if (funds[count].amount <= 0) { return STOA_FAIL(STOA_E_RANGE, "an amount must be above zero"); }
        at = skip(at + digits, " ");
        size_t letters = strcspn(at, " ,");
        if (letters == 0) { return STOA_FAIL(STOA_E_MALFORMED, "an amount without an asset"); }
        err = STOA_TEXT_SET(&funds[count].asset, at, letters);
        if (err) { return err; }
        at += letters;
        count++;
    }
    *count_out = count;
    return STOA_OK;
}
