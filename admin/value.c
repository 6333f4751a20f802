/* value.c - values as text. See value.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/clock.h"
#include "base/utf8.h"

enum { DEPTH_MAX = 32, KEY_COLUMNS_MAX = 24 };

/* --- text */

/* The code point at text, which is whole UTF-8; *size_out its bytes. */
static uint32_t code_point(const char *text, size_t *size_out)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = at[0] & masks[size];
    for (size_t i = 1; i < size; i++) { code = code << 6 | (at[i] & 0x3f); }
    *size_out = size;
    return code;
}

/* Controls, and the marks that turn writing around (which could show a text as another one). */
static bool unsafe(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

void stoa_text_safe(stoa_buf *out, const char *text, size_t size_bytes, bool lines)
{
    while (size_bytes) {
        if (!stoa_utf8_prefix(text, size_bytes < 4 ? size_bytes : 4)) {
            stoa_buf_puts(out, "\xef\xbf\xbd");
            text++;
            size_bytes--;
            continue;
        }
        size_t size;
        uint32_t code = code_point(text, &size);
        bool stays = lines && (code == '\n' || code == '\t');
        if (!unsafe(code) || stays) {
            stoa_buf_put(out, text, size);
        } else if (code == '\n') {
            stoa_buf_puts(out, "\\n");
        } else if (code == '\t') {
            stoa_buf_puts(out, "\\t");
        } else {
            stoa_buf_printf(out, "\\u%04" PRIx32, code);
        }
        text += size;
        size_bytes -= size;
    }
}

/* Columns of one character; characters that the locale does not know count as one. */
static size_t columns_of(uint32_t code)
{
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : (size_t)width;
}

size_t stoa_text_fit(const char *text, size_t size_bytes, size_t columns)
{
    size_t taken = 0, at = 0;
    while (at < size_bytes) {
        size_t size;
        uint32_t code = code_point(text + at, &size);
        taken += columns_of(code);
        if (taken > columns || size > size_bytes - at) { break; }
        at += size;
    }
    return at;
}

size_t stoa_text_columns(const char *text, size_t size_bytes)
{
    size_t columns = 0;
    for (size_t at = 0; at < size_bytes;) {
        size_t size;
        columns += columns_of(code_point(text + at, &size));
        at += size;
    }
    return columns;
}

/* --- figures */

static void print_grouped(stoa_buf *out, uint64_t value)
{
    char digits[24];
    stoa_buf text = STOA_BUF_FIXED(digits);
    stoa_buf_printf(&text, "%" PRIu64, value);
    for (size_t i = 0; i < text.used_bytes; i++) {
        if (i && (text.used_bytes - i) % 3 == 0) { stoa_buf_puts(out, ","); }
        stoa_buf_put(out, &digits[i], 1);
    }
}

/* Three digits of value / one, so that columns compare at a glance; one is at most 2^30. */
static void print_scaled(stoa_buf *out, uint64_t value, uint64_t one, const char *unit)
{
    uint64_t whole = value / one;
    uint64_t hundredths = value % one * 100 / one;
    if (one == 1) {
        stoa_buf_printf(out, "%" PRIu64 " %s", whole, unit);
    } else if (whole < 10) {
        stoa_buf_printf(out, "%" PRIu64 ".%02" PRIu64 " %s", whole, hundredths, unit);
    } else if (whole < 100) {
        stoa_buf_printf(out, "%" PRIu64 ".%" PRIu64 " %s", whole, hundredths / 10, unit);
    } else {
        stoa_buf_printf(out, "%" PRIu64 " %s", whole, unit);
    }
}

typedef struct scale {
    uint64_t below, one;
    const char *unit;
} scale;

static void print_by(stoa_buf *out, uint64_t value, const scale *scales)
{
    while (scales->below && value >= scales->below) { scales++; }
    print_scaled(out, value, scales->one, scales->unit);
}

static void print_ns(stoa_buf *out, uint64_t ns)
{
    static const scale scales[] = {
        {1000, 1, "ns"}, {STOA_MS(1), 1000, "us"}, {STOA_S(1), STOA_MS(1), "ms"}, {0, STOA_S(1), "s"}};
    uint64_t minutes = ns / STOA_S(60);
    if (minutes < 2) {
        print_by(out, ns, scales);
    } else if (minutes < 60) {
        stoa_buf_printf(out, "%" PRIu64 " m %" PRIu64 " s", minutes, ns / STOA_S(1) % 60);
    } else if (minutes < 24 * 60) {
        stoa_buf_printf(out, "%" PRIu64 " h %" PRIu64 " m", minutes / 60, minutes % 60);
    } else {
        stoa_buf_printf(out, "%" PRIu64 " d %" PRIu64 " h", minutes / 60 / 24, minutes / 60 % 24);
    }
}

static void print_size(stoa_buf *out, uint64_t bytes)
{
    static const scale scales[] = {
        {1 << 10, 1, "B"}, {1 << 20, 1 << 10, "KiB"}, {1 << 30, 1 << 20, "MiB"}, {0, 1 << 30, "GiB"}};
    print_by(out, bytes, scales);
}

static void print_time(stoa_buf *out, uint64_t wall_ns, uint64_t now_ns)
{
    char text[STOA_TIME_TEXT_MAX];
    const uint64_t day_ns = STOA_S(86400);
    stoa_time_print(wall_ns, text); /* 2026-01-31T12:00:00.123456Z */
    if (wall_ns / day_ns != now_ns / day_ns) { stoa_buf_printf(out, "%.10s ", text); }
    stoa_buf_printf(out, "%.15s", text + 11);
}

static void print_permille(stoa_buf *out, uint64_t value)
{
    stoa_buf_printf(out, "%" PRIu64 ".%" PRIu64 " %%", value / 10, value % 10);
}

static void print_rate(stoa_buf *out, uint64_t value)
{
    print_grouped(out, value);
    stoa_buf_puts(out, "/s");
}

static void print_plain(stoa_buf *out, uint64_t value)
{
    stoa_buf_printf(out, "%" PRIu64, value);
}

static const struct {
    const char *name;
    void (*print)(stoa_buf *out, uint64_t value); /* NULL: a time, which needs to know the day */
    bool right;
} units[] = {
    [STOA_UNIT_TEXT] = {"", print_plain, false},
    [STOA_UNIT_WRAP] = {"wrap", print_plain, false},
    [STOA_UNIT_COUNT] = {"n", print_grouped, true},
    [STOA_UNIT_ID] = {"id", print_plain, true},
    [STOA_UNIT_NS] = {"ns", print_ns, true},
    [STOA_UNIT_BYTES] = {"bytes", print_size, true},
    [STOA_UNIT_TIME] = {"time", NULL, true},
    [STOA_UNIT_DECIMAL] = {"dec", print_plain, true},
    [STOA_UNIT_PERMILLE] = {"permille", print_permille, true},
    [STOA_UNIT_RATE] = {"rate", print_rate, true},
};

static void print_figure(stoa_buf *out, uint64_t value, stoa_unit unit, uint64_t now_ns)
{
    if (units[unit].print) {
        units[unit].print(out, value);
    } else {
        print_time(out, value, now_ns);
    }
}

stoa_unit stoa_unit_named(const char *name, size_t size_bytes)
{
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strlen(units[i].name) == size_bytes && memcmp(units[i].name, name, size_bytes) == 0) {
            return (stoa_unit)i;
        }
    }
    return STOA_UNIT_TEXT;
}

bool stoa_unit_right(stoa_unit unit)
{
    return units[unit].right;
}

/* --- values */

static void print_scalar(const stoa_json *value, stoa_unit unit, uint64_t now_ns, stoa_buf *out)
{
    const char *text;
    size_t size_bytes;
    uint64_t u;
    int64_t i;
    bool b;
    if (stoa_json_text(*value, &text, &size_bytes) == STOA_OK) {
        stoa_text_safe(out, text, size_bytes, false);
    } else if (stoa_json_bool(*value, &b) == STOA_OK) {
        stoa_buf_puts(out, b ? "yes" : "no");
    } else if (stoa_json_uint(*value, &u) == STOA_OK) {
        print_figure(out, u, unit, now_ns);
    } else if (stoa_json_int(*value, &i) == STOA_OK) { /* below zero */
        stoa_buf_puts(out, "-");
        print_figure(out, 0 - (uint64_t)i, unit == STOA_UNIT_TIME ? STOA_UNIT_ID : unit, now_ns);
    } else {
        stoa_buf_puts(out, stoa_json_is_null(*value) ? "-" : "?");
    }
}

static void print_inline(stoa_json value, unsigned depth, stoa_buf *out)
{
    stoa_json_iter it;
    stoa_json_members members;
    const char *before = "";
    if (depth == DEPTH_MAX) {
        stoa_buf_puts(out, "...");
    } else if (stoa_json_first(value, &it) == STOA_OK) {
        if (!it.more) { stoa_buf_puts(out, "-"); }
        for (; it.more; stoa_json_next(&it), before = ", ") {
            stoa_buf_puts(out, before);
            print_inline(it.value, depth + 1, out);
        }
    } else if (stoa_json_first_member(value, &members) == STOA_OK) {
        for (; members.more; stoa_json_next_member(&members), before = " ") {
            stoa_buf_puts(out, before);
            stoa_text_safe(out, members.key, members.key_bytes, false);
            stoa_buf_puts(out, "=");
            print_inline(members.value, depth + 1, out);
        }
    } else {
        print_scalar(&value, STOA_UNIT_TEXT, 0, out);
    }
}

void stoa_value_print(const stoa_json *value, stoa_unit unit, uint64_t now_ns, stoa_buf *out)
{
    if (!value) {
        stoa_buf_puts(out, "-");
    } else if (stoa_json_is_array(*value) || stoa_json_is_object(*value)) {
        print_inline(*value, 0, out);
    } else {
        print_scalar(value, unit, now_ns, out);
    }
}

static bool is_scalar(stoa_json value)
{
    return !stoa_json_is_array(value) && !stoa_json_is_object(value);
}

static void indent_by(stoa_buf *out, unsigned indent)
{
    stoa_buf_printf(out, "%*s", (int)indent, "");
}

static void page(stoa_json value, unsigned indent, unsigned depth, stoa_buf *out);

/* A record of a list: on one line, when nothing in it has parts. */
static bool is_flat(stoa_json value)
{
    stoa_json_members members;
    if (stoa_json_first_member(value, &members) != STOA_OK) { return is_scalar(value); }
    for (; members.more; stoa_json_next_member(&members)) {
        if (!is_scalar(members.value)) { return false; }
    }
    return true;
}

static void page_list(stoa_json_iter *it, unsigned indent, unsigned depth, stoa_buf *out)
{
    for (; it->more; stoa_json_next(it)) {
        indent_by(out, indent);
        stoa_buf_puts(out, is_flat(it->value) ? "- " : "-\n");
        if (is_flat(it->value)) {
            print_inline(it->value, depth, out);
            stoa_buf_puts(out, "\n");
        } else {
            page(it->value, indent + 2, depth + 1, out);
        }
    }
}

static void page_members(stoa_json value, unsigned indent, unsigned depth, stoa_buf *out)
{
    stoa_json_members members;
    size_t widest = 0;
    (void)stoa_json_first_member(value, &members);
    for (; members.more; stoa_json_next_member(&members)) {
        size_t columns = stoa_text_columns(members.key, members.key_bytes);
        bool beside = is_scalar(members.value) && columns <= KEY_COLUMNS_MAX; /* its value stands beside it */
        widest = beside && columns > widest ? columns : widest;
    }
    (void)stoa_json_first_member(value, &members);
    for (; members.more; stoa_json_next_member(&members)) {
        size_t columns = stoa_text_columns(members.key, members.key_bytes);
        indent_by(out, indent);
        stoa_text_safe(out, members.key, members.key_bytes, false);
        if (is_scalar(members.value)) {
            stoa_buf_printf(out, "%*s", columns < widest ? (int)(widest - columns) + 2 : 2, "");
            print_scalar(&members.value, STOA_UNIT_TEXT, 0, out);
            stoa_buf_puts(out, "\n");
        } else {
            stoa_buf_puts(out, "\n");
            page(members.value, indent + 2, depth + 1, out);
        }
    }
}

static void page(stoa_json value, unsigned indent, unsigned depth, stoa_buf *out)
{
    stoa_json_iter it;
    if (depth == DEPTH_MAX) {
        indent_by(out, indent);
        stoa_buf_puts(out, "...\n");
    } else if (stoa_json_first(value, &it) == STOA_OK) {
        page_list(&it, indent, depth, out);
    } else if (stoa_json_is_object(value)) {
        page_members(value, indent, depth, out);
    } else {
        indent_by(out, indent);
        print_scalar(&value, STOA_UNIT_TEXT, 0, out);
        stoa_buf_puts(out, "\n");
    }
}

void stoa_value_page(stoa_json value, unsigned indent, stoa_buf *out)
{
    page(value, indent, 0, out);
}
