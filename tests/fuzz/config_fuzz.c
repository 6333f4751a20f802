/* config_fuzz.c - any bytes as the file, as a variable and as a flag: either every value is within its row's
 * bounds and the settings print to a file that loads to the same page, or there are faults, each one
 * printable line.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/decimal.h"

typedef struct item {
    char name[9];
    stoa_decimal step;
    int64_t depth;
} item;

typedef struct settings {
    bool on;
    int64_t port;
    uint64_t wait_ns, ring_bytes;
    int32_t idle;
    char data[17];
    item items[3];
    uint32_t item_count;
} settings;

static const char *const idles[] = {"spin", "park", NULL};
static const stoa_config_row item_rows[] = {
    {.path = "name", .cls = STOA_CONFIG_TEXT, .offset = offsetof(item, name), .min = 1, .max = 8, .doc = "n"},
    {.path = "step",
     .cls = STOA_CONFIG_DECIMAL,
     .offset = offsetof(item, step),
     .fallback = "1",
     .min = 1,
     .max = INT64_MAX,
     .doc = "s"},
    {.path = "b.depth",
     .cls = STOA_CONFIG_INT,
     .offset = offsetof(item, depth),
     .fallback = "5",
     .min = -9,
     .max = 9,
     .doc = "d"},
    {0},
};
static const stoa_config_row rows[] = {
    {.path = "a.on",
     .cls = STOA_CONFIG_BOOL,
     .offset = offsetof(settings, on),
     .fallback = "true",
     .doc = "o"},
    {.path = "a.b.port",
     .cls = STOA_CONFIG_INT,
     .offset = offsetof(settings, port),
     .fallback = "1",
     .min = 1,
     .max = 65535,
     .doc = "p"},
    {.path = "a.wait",
     .cls = STOA_CONFIG_DURATION,
     .offset = offsetof(settings, wait_ns),
     .fallback = "1ms",
     .min = 0,
     .max = INT64_MAX,
     .doc = "w"},
    {.path = "ring",
     .cls = STOA_CONFIG_SIZE,
     .offset = offsetof(settings, ring_bytes),
     .fallback = "4KiB",
     .min = 1,
     .max = 1 << 20,
     .doc = "r"},
    {.path = "idle",
     .cls = STOA_CONFIG_CHOICE,
     .offset = offsetof(settings, idle),
     .fallback = "park",
     .choices = idles,
     .doc = "i"},
    {.path = "data",
     .cls = STOA_CONFIG_TEXT,
     .offset = offsetof(settings, data),
     .fallback = "",
     .min = 0,
     .max = 16,
     .doc = "d"},
    {.path = "items",
     .cls = STOA_CONFIG_GROUPS,
     .offset = offsetof(settings, items),
     .min = 0,
     .max = 3,
     .doc = "i",
     .group = item_rows,
     .group_bytes = sizeof(item),
     .count_offset = offsetof(settings, item_count)},
    {0},
};

static void check_bounds(const settings *s)
{
    STOA_ASSERT(s->port >= 1 && s->port <= 65535);
    STOA_ASSERT(s->wait_ns <= INT64_MAX && s->ring_bytes >= 1 && s->ring_bytes <= 1 << 20);
    STOA_ASSERT(s->idle >= 0 && s->idle <= 1 && memchr(s->data, 0, sizeof s->data));
    STOA_ASSERT(s->item_count <= 3);
    for (uint32_t i = 0; i < s->item_count; i++) {
        const item *it = &s->items[i];
        STOA_ASSERT(it->name[0] && memchr(it->name, 0, sizeof it->name));
        STOA_ASSERT(it->step >= 1 && it->depth >= -9 && it->depth <= 9);
    }
}

static void check_page(const settings *s, stoa_buf *faults)
{
    stoa_buf page = STOA_BUF_GROWING, again = STOA_BUF_GROWING;
    settings loaded;
    stoa_config_print(rows, s, &page);
    STOA_ASSERT(stoa_config_load(rows, &(stoa_config_source){.text = page.at}, &loaded, faults) == STOA_OK);
    stoa_config_print(rows, &loaded, &again);
    STOA_ASSERT(strcmp(page.at, again.at) == 0);
    stoa_buf_deinit(&page);
    stoa_buf_deinit(&again);
}

static void check_source(const stoa_config_source *source)
{
    settings s;
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_err err = stoa_config_load(rows, source, &s, &faults);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_INVALID);
    STOA_ASSERT((err == STOA_OK) == (faults.used_bytes == 0));
    if (err == STOA_OK) {
        check_bounds(&s);
        check_page(&s, &faults);
    } else {
        STOA_ASSERT(faults.at[faults.used_bytes - 1] == '\n' && strlen(faults.at) == faults.used_bytes);
    }
    for (size_t i = 0; i < faults.used_bytes; i++) {
        unsigned char c = (unsigned char)faults.at[i];
        STOA_ASSERT(c == '\n' || c >= 0x20);
    }
    stoa_buf_deinit(&faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { NAME_BYTES = sizeof "STOA_" - 1 };
    char *named = malloc(NAME_BYTES + size + 1), *text = named + NAME_BYTES;
    if (!named) { return 0; }
    memcpy(named, "STOA_", NAME_BYTES);
    memcpy(text, data, size);
    text[size] = '\0';
    char *const environment[] = {named, NULL};
    const char *const overrides[] = {text, NULL};
    check_source(&(stoa_config_source){.text = text});
    check_source(&(stoa_config_source){.environment = environment});
    check_source(&(stoa_config_source){.overrides = overrides});
    free(named);
    return 0;
}
