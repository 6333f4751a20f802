/* config_value.c - one value of a setting: from text, to text, and what is expected; one row per class.
 *
 * Values are moved with memcpy, so a settings struct may be laid out as it likes. A class's parser sees bytes
 * that may be anything, NULs included, and gives a reason that follows the value in a sentence.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/config_internal.h"
#include "base/decimal.h"
#include "base/utf8.h"

typedef stoa_err parser(const stoa_config_row *row, const char *text, size_t size_bytes, void *value_out,
                        const char **why_out);
typedef void printer(const stoa_config_row *row, const void *value, stoa_buf *out);

static stoa_err refuse(stoa_err err, const char *why, const char **why_out)
{
    *why_out = why;
    return err;
}

/* --- whole numbers, with and without a unit */

typedef struct unit {
    const char *name;
    uint64_t factor;
} unit;

/* Largest first; the last divides everything. */
static const unit durations[] = {
    {"h", UINT64_C(3600000000000)},
    {"m", UINT64_C(60000000000)},
    {"s", 1000000000},
    {"ms", 1000000},
    {"us", 1000},
    {"ns", 1},
    {NULL, 0},
};
static const unit sizes[] = {
    {"TiB", UINT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}, {NULL, 0},
};

/* The number that the digits at the start of text make; returns how many they are, saturating at UINT64_MAX.
 */
static size_t read_digits(const char *text, size_t size_bytes, uint64_t *value_out)
{
    uint64_t value = 0;
    bool overflow = false;
    size_t at = 0;
    for (; at < size_bytes && text[at] >= '0' && text[at] <= '9'; at++) {
        overflow |= __builtin_mul_overflow(value, UINT64_C(10), &value);
        overflow |= __builtin_add_overflow(value, (uint64_t)(text[at] - '0'), &value);
    }
    *value_out = overflow ? UINT64_MAX : value;
    return at;
}

static stoa_err check_bounds(const stoa_config_row *row, int64_t value, const char **why_out)
{
    if (value < row->min) { return refuse(STOA_E_RANGE, "is below the minimum", why_out); }
    if (value > row->max) { return refuse(STOA_E_RANGE, "is above the maximum", why_out); }
    return STOA_OK;
}

static stoa_err parse_int(const stoa_config_row *row, const char *text, size_t size_bytes, void *value_out,
                          const char **why_out)
{
    bool negative = size_bytes && *text == '-';
    uint64_t magnitude = 0;
    size_t digits = read_digits(text + negative, size_bytes - negative, &magnitude);
    if (!digits || negative + digits != size_bytes) {
        return refuse(STOA_E_INVALID, "is not a whole number", why_out);
    }
    if (magnitude > (uint64_t)INT64_MAX + negative) {
        return refuse(STOA_E_RANGE, negative ? "is below the minimum" : "is above the maximum", why_out);
    }
    int64_t value = (int64_t)(negative ? 0 - magnitude : magnitude);
    stoa_err err = check_bounds(row, value, why_out);
    if (!err) { memcpy(value_out, &value, sizeof value); }
    return err;
}

static void print_int(const stoa_config_row *row, const void *value, stoa_buf *out)
{
    int64_t i;
    (void)row;
    memcpy(&i, value, sizeof i);
    stoa_buf_printf(out, "%" PRId64, i);
}

static stoa_err parse_scaled(const stoa_config_row *row, const char *text, size_t size_bytes,
                             const unit *units, void *value_out, const char **why_out)
{
    uint64_t value = 0;
    size_t digits = read_digits(text, size_bytes, &value);
    size_t unit_bytes = size_bytes - digits;
    const unit *u = units;
    if (!digits || (unit_bytes && text[digits] == '.')) {
        return refuse(STOA_E_INVALID, "is not a whole number with its unit", why_out);
    }
    while (u->name && (strlen(u->name) != unit_bytes || memcmp(u->name, text + digits, unit_bytes) != 0)) {
        u++;
    }
    if (!u->name) {
        return refuse(STOA_E_INVALID, unit_bytes ? "has an unknown unit" : "has no unit", why_out);
    }
    if (__builtin_mul_overflow(value, u->factor, &value) || value > INT64_MAX) {
        return refuse(STOA_E_RANGE, "is above the maximum", why_out);
    }
    stoa_err err = check_bounds(row, (int64_t)value, why_out);
    if (!err) { memcpy(value_out, &value, sizeof value); }
    return err;
}

static void print_scaled(const void *value, const unit *units, const char *zero, stoa_buf *out)
{
    uint64_t u;
    memcpy(&u, value, sizeof u);
    if (u == 0) {
        stoa_buf_puts(out, zero);
        return;
    }
    while (u % units->factor != 0) {
        units++;
    }
    stoa_buf_printf(out, "%" PRIu64 "%s", u / units->factor, units->name);
}

static stoa_err parse_duration(const stoa_config_row *row, const char *text, size_t size_bytes,
                               void *value_out, const char **why_out)
{
    return parse_scaled(row, text, size_bytes, durations, value_out, why_out);
}

static void print_duration(const stoa_config_row *row, const void *value, stoa_buf *out)
{
    (void)row;
    print_scaled(value, durations, "0s", out);
}

static stoa_err parse_size(const stoa_config_row *row, const char *text, size_t size_bytes, void *value_out,
                           const char **why_out)
{
    return parse_scaled(row, text, size_bytes, sizes, value_out, why_out);
}

static void print_size(const stoa_config_row *row, const void *value, stoa_buf *out)
{
    (void)row;
    print_scaled(value, sizes, "0", out);
}

/* --- decimals */

static stoa_err parse_decimal(const stoa_config_row *row, const char *text, size_t size_bytes,
                              void *value_out, const char **why_out)
{
    stoa_decimal value = 0;
    stoa_err err = stoa_decimal_parse(text, size_bytes, &value);
    if (err == STOA_E_PRECISION) { return refuse(err, "has more than eight places", why_out); }
    if (err == STOA_E_RANGE) {
        return refuse(err, *text == '-' ? "is below the minimum" : "is above the maximum", why_out);
    }
    if (err) { return refuse(STOA_E_INVALID, "is not a decimal number", why_out); }
    err = check_bounds(row, value, why_out);
    if (!err) { memcpy(value_out, &value, sizeof value); }
    return err;
}

static void print_decimal(const stoa_config_row *row, const void *value, stoa_buf *out)
{
    stoa_decimal d;
    char text[STOA_DECIMAL_TEXT_MAX];
    (void)row;
    memcpy(&d, value, sizeof d);
    stoa_buf_put(out, text, stoa_decimal_print(d, 0, text));
}

/* --- words */

static bool is_word(const char *text, size_t size_bytes, const char *word)
{
    return size_bytes == strlen(word) && memcmp(text, word, size_bytes) == 0;
}

static stoa_err parse_bool(const stoa_config_row *row, const char *text, size_t size_bytes, void *value_out,
                           const char **why_out)
{
    bool value = is_word(text, size_bytes, "true");
    (void)row;
    if (!value && !is_word(text, size_bytes, "false")) {
        return refuse(STOA_E_INVALID, "is neither true nor false", why_out);
    }
    memcpy(value_out, &value, sizeof value);
    return STOA_OK;
}

static void print_bool(const stoa_config_row *row, const void *value, stoa_buf *out)
{
    bool b;
    (void)row;
    memcpy(&b, value, sizeof b);
    stoa_buf_puts(out, b ? "true" : "false");
}

static stoa_err parse_choice(const stoa_config_row *row, const char *text, size_t size_bytes, void *value_out,
                             const char **why_out)
{
    for (int32_t i = 0; row->choices[i]; i++) {
        if (!is_word(text, size_bytes, row->choices[i])) { continue; }
        memcpy(value_out, &i, sizeof i);
        return STOA_OK;
    }
    return refuse(STOA_E_INVALID, "is not one of the choices", why_out);
}

static void print_choice(const stoa_config_row *row, const void *value, stoa_buf *out)
{
    int32_t i;
    memcpy(&i, value, sizeof i);
    stoa_buf_puts(out, row->choices[i]);
}

/* C0, DEL and C1 (c2 80 to c2 9f); text is UTF-8. */
static bool has_control(const char *text, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++) {
        unsigned char c = (unsigned char)text[i], before = i ? (unsigned char)text[i - 1] : 0;
        if (c < 0x20 || c == 0x7f || (before == 0xc2 && c < 0xa0)) { return true; }
    }
    return false;
}

static stoa_err parse_text(const stoa_config_row *row, const char *text, size_t size_bytes, void *value_out,
                           const char **why_out)
{
    if (stoa_utf8_prefix(text, size_bytes) != size_bytes) {
        return refuse(STOA_E_INVALID, "is not UTF-8", why_out);
    }
    if (has_control(text, size_bytes)) {
        return refuse(STOA_E_INVALID, "holds a control character", why_out);
    }
    if (size_bytes < (uint64_t)row->min) { return refuse(STOA_E_RANGE, "is too short", why_out); }
    if (size_bytes > (uint64_t)row->max) { return refuse(STOA_E_RANGE, "is too long", why_out); }
    memset(value_out, 0, (size_t)row->max + 1);
    if (size_bytes) { memcpy(value_out, text, size_bytes); }
    return STOA_OK;
}

static void print_text(const stoa_config_row *row, const void *value, stoa_buf *out)
{
    (void)row;
    stoa_buf_json_string(out, value, strlen(value));
}

/* --- classes */

static const struct class_row {
    parser *parse;
    printer *print;
    size_t value_bytes; /* 0: the row's max + 1 */
    const char *noun;
    bool bounded; /* by min and max, which print like values */
} classes[] = {
    [STOA_CONFIG_BOOL] = {parse_bool, print_bool, sizeof(bool), "true or false", false},
    [STOA_CONFIG_INT] = {parse_int, print_int, sizeof(int64_t), "a whole number", true},
    [STOA_CONFIG_DURATION] = {parse_duration, print_duration, sizeof(uint64_t), "a duration", true},
    [STOA_CONFIG_SIZE] = {parse_size, print_size, sizeof(uint64_t), "a size", true},
    [STOA_CONFIG_DECIMAL] = {parse_decimal, print_decimal, sizeof(stoa_decimal), "a decimal number", true},
    [STOA_CONFIG_TEXT] = {parse_text, print_text, 0, "text", false},
    [STOA_CONFIG_CHOICE] = {parse_choice, print_choice, sizeof(int32_t), "one of", false},
};

size_t stoa_config_value_bytes(const stoa_config_row *row)
{
    if (row->cls == STOA_CONFIG_GROUPS) { return (size_t)row->max * row->group_bytes; }
    return classes[row->cls].value_bytes ? classes[row->cls].value_bytes : (size_t)row->max + 1;
}

stoa_err stoa_config_parse_bytes(const stoa_config_row *row, const char *text, size_t size_bytes,
                                 void *value_out, const char **why_out)
{
    STOA_ASSERT(row->cls < STOA_CONFIG_GROUPS);
    return classes[row->cls].parse(row, text, size_bytes, value_out, why_out);
}

stoa_err stoa_config_parse_value(const stoa_config_row *row, const char *text, void *value_out,
                                 const char **why_out)
{
    return stoa_config_parse_bytes(row, text, strlen(text), value_out, why_out);
}

void stoa_config_print_value(const stoa_config_row *row, const void *value, stoa_buf *out)
{
    STOA_ASSERT(row->cls < STOA_CONFIG_GROUPS);
    classes[row->cls].print(row, value, out);
}

static void print_bounds(const stoa_config_row *row, stoa_buf *out)
{
    if (row->min != INT64_MIN) {
        stoa_buf_puts(out, row->max == INT64_MAX ? " of at least " : " from ");
        stoa_config_print_value(row, &row->min, out);
    }
    if (row->max != INT64_MAX) {
        stoa_buf_puts(out, row->min == INT64_MIN ? " up to " : " to ");
        stoa_config_print_value(row, &row->max, out);
    }
}

void stoa_config_print_expected(const stoa_config_row *row, stoa_buf *out)
{
    if (row->cls == STOA_CONFIG_GROUPS) {
        stoa_buf_printf(out, "a list of %" PRId64 " to %" PRId64 " groups", row->min, row->max);
        return;
    }
    stoa_buf_puts(out, classes[row->cls].noun);
    if (classes[row->cls].bounded) { print_bounds(row, out); }
    if (row->cls == STOA_CONFIG_TEXT) {
        stoa_buf_printf(out, " of %" PRId64 " to %" PRId64 " bytes", row->min, row->max);
    }
    for (unsigned i = 0; row->cls == STOA_CONFIG_CHOICE && row->choices[i]; i++) {
        stoa_buf_printf(out, "%s%s", i ? ", " : " ", row->choices[i]);
    }
    if (row->unit) { stoa_buf_printf(out, ", in %s", row->unit); }
}
