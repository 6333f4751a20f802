/* config_rows.h - one table of settings with every class, for the tests of base/config.h; how they load a text, and what they
 * say of one that is refused.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_BASE_CONFIG_ROWS_H
#define STOA_TESTS_UNIT_BASE_CONFIG_ROWS_H

#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/decimal.h"

typedef struct tier {
    int64_t from;
    stoa_decimal fee;
} tier;

typedef struct symbol {
    char name[13];
    stoa_decimal price_step;
    int64_t depth;
    uint64_t window_ns;
    tier tiers[2];
    uint32_t tier_count;
} symbol;

typedef struct settings {
    char listen[33];
    int64_t port;
    bool tls;
    uint64_t linger_ns;
    uint64_t ring_bytes;
    int32_t idle;
    stoa_decimal fee;
    char data[65];
    int64_t offset;
    symbol symbols[3];
    uint32_t symbol_count;
} settings;

static const char *const idles[] = {"latency", "balanced", "eco", NULL};

#define AT(type, member) .offset = offsetof(type, member)
static const stoa_config_row tier_rows[] = {
    {.path = "from",
     .cls = STOA_CONFIG_INT,
     AT(tier, from),
     .min = 0,
     .max = 1000,
     .doc = "From this volume."},
    {.path = "fee",
     .cls = STOA_CONFIG_DECIMAL,
     AT(tier, fee),
     .fallback = "0.1",
     .min = 0,
     .max = STOA_DECIMAL_ONE,
     .doc = "Fee."},
    {0},
};
static const stoa_config_row symbol_rows[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, AT(symbol, name), .min = 1, .max = 12, .doc = "Name."},
    {.path = "price_step",
     .cls = STOA_CONFIG_DECIMAL,
     AT(symbol, price_step),
     .min = 1,
     .max = INT64_MAX,
     .doc = "Tick."},
    {.path = "book.depth",
     .cls = STOA_CONFIG_INT,
     AT(symbol, depth),
     .fallback = "50",
     .min = 1,
     .max = 1000,
     .unit = "levels",
     .doc = "Depth."},
    {.path = "book.window",
     .cls = STOA_CONFIG_DURATION,
     AT(symbol, window_ns),
     .fallback = "100ms",
     .min = 1000,
     .max = INT64_C(60000000000),
     .doc = "Window."},
    {.path = "tiers",
     .cls = STOA_CONFIG_GROUPS,
     AT(symbol, tiers),
     .min = 0,
     .max = 2,
     .doc = "Fee tiers.",
     .group = tier_rows,
     .group_bytes = sizeof(tier),
     .count_offset = offsetof(symbol, tier_count)},
    {0},
};
static const stoa_config_row rows[] = {
    {.path = "gateway.listen",
     .cls = STOA_CONFIG_TEXT,
     AT(settings, listen),
     .min = 1,
     .max = 32,
     .doc = "Where clients connect."},
    {.path = "gateway.port",
     .cls = STOA_CONFIG_INT,
     AT(settings, port),
     .fallback = "7001",
     .min = 1,
     .max = 65535,
     .doc = "Port."},
    {.path = "gateway.tls.on",
     .cls = STOA_CONFIG_BOOL,
     AT(settings, tls),
     .fallback = "false",
     .doc = "Whether to encrypt."},
    {.path = "gateway.linger",
     .cls = STOA_CONFIG_DURATION,
     AT(settings, linger_ns),
     .fallback = "5ms",
     .min = 0,
     .max = INT64_C(3600000000000),
     .doc = "How long to wait."},
    {.path = "core.ring",
     .cls = STOA_CONFIG_SIZE,
     AT(settings, ring_bytes),
     .fallback = "64KiB",
     .min = 512,
     .max = 1 << 30,
     .doc = "Ring."},
    {.path = "core.idle",
     .cls = STOA_CONFIG_CHOICE,
     AT(settings, idle),
     .fallback = "balanced",
     .choices = idles,
     .doc = "What an idle core does."},
    {.path = "fee",
     .cls = STOA_CONFIG_DECIMAL,
     AT(settings, fee),
     .fallback = "0.00075",
     .min = -STOA_DECIMAL_ONE,
     .max = STOA_DECIMAL_ONE,
     .doc = "Fee | rebate."},
    {.path = "data",
     .cls = STOA_CONFIG_TEXT,
     AT(settings, data),
     .fallback = "",
     .min = 0,
     .max = 64,
     .doc = "Folder."},
    {.path = "offset",
     .cls = STOA_CONFIG_INT,
     AT(settings, offset),
     .fallback = "-3",
     .min = INT64_MIN,
     .max = INT64_MAX,
     .doc = "Any number."},
    {.path = "symbols",
     .cls = STOA_CONFIG_GROUPS,
     AT(settings, symbols),
     .min = 1,
     .max = 3,
     .doc = "What is traded.",
     .group = symbol_rows,
     .group_bytes = sizeof(symbol),
     .count_offset = offsetof(settings, symbol_count)},
    {0},
};

/* What a file needs at least, one line each. */
#define LISTEN "gateway.listen: a\n"
#define SYMBOL "symbols: [{name: A, price_step: 1}]\n"

static inline stoa_err load(const stoa_config_source *source, settings *out, stoa_buf *faults)
{
    memset(out, 0x5a, sizeof *out);
    stoa_buf_clear(faults);
    return stoa_config_load(rows, source, out, faults);
}

static inline void assert_loads(const stoa_config_source *source, settings *out)
{
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_err err = load(source, out, &faults);
    if (err || faults.used_bytes) { fail_msg("%s: %s", stoa_err_name(err), faults.at ? faults.at : ""); }
    stoa_buf_deinit(&faults);
}

/* text is refused with exactly these faults. */
static inline void assert_faults(const char *text, const char *want)
{
    settings s;
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_err err = load(&(stoa_config_source){.text = text}, &s, &faults);
    assert_int_equal(err, STOA_E_INVALID);
    assert_non_null(faults.at);
    assert_string_equal(faults.at, want);
    stoa_buf_deinit(&faults);
}

#endif
