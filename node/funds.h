/* funds.h - amounts as an operator writes them: "100000 USDT, 2 BTC".
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_FUNDS_H
#define STOA_NODE_FUNDS_H

#include <stdint.h>

#include "base/decimal.h"
#include "base/text.h"

enum { STOA_FUNDS_MAX = 16 };

typedef struct stoa_fund {
    stoa_text6 asset;
    stoa_decimal amount;
} stoa_fund;

/* Errors: MALFORMED, FULL (more than STOA_FUNDS_MAX), RANGE (not above zero), stoa_decimal_parse's. */
stoa_err stoa_funds_parse(const char *text, stoa_fund funds[STOA_FUNDS_MAX], uint32_t *count_out);

#endif
