/* containers_fuzz.c - goal: no sequence of operations makes a container for states differ from what it is a container of. Method:
 * bytes are operations on small ones (omap.h, text_map.h, map64.h, texts.h), each beside a plain array.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/map64.h"
#include "base/text_map.h"
#include "base/texts.h"
#include "tests/unit/base/omap_check.h"

enum { KEYS = 256, SLOTS = 512, HEAP_BYTES = 2048, TEXTS = 64 };

typedef struct all {
    STOA_OMAP(KEYS) ordered;
    STOA_MAP64(SLOTS) hashed;
    STOA_TEXT_MAP(stoa_text6, SLOTS) named;
    STOA_TEXTS(HEAP_BYTES, TEXTS) texts;
} all;

static all a;
static uint32_t expected[KEYS]; /* of all three maps */
static uint8_t held[TEXTS + 1]; /* the size of text i, which is so many times that number; TEXTS: none */

static stoa_text6 name_of(uint8_t n)
{
    stoa_text6 name = {.len = (uint16_t)(1 + n % 3), .at = {(char)n, (char)n, (char)n}};
    return name;
}

static void map_put(uint8_t n, uint32_t value)
{
    stoa_text6 name = name_of(n);
    STOA_OMAP_PUT(&a.ordered, n * UINT64_C(0x1010101), value);
    STOA_MAP64_PUT(&a.hashed, n * UINT64_C(0x9e3779b97f4a7c15) + 1, value);
    STOA_TEXT_MAP_PUT(&a.named, &name, value);
}

static void map_remove(uint8_t n)
{
    stoa_text6 name = name_of(n);
    bool was = expected[n] != 0;
    STOA_ASSERT(STOA_OMAP_REMOVE(&a.ordered, n * UINT64_C(0x1010101)) == was);
    STOA_ASSERT(STOA_MAP64_REMOVE(&a.hashed, n * UINT64_C(0x9e3779b97f4a7c15) + 1) == was);
    STOA_ASSERT(STOA_TEXT_MAP_REMOVE(&a.named, &name) == was);
}

static void look(uint8_t n)
{
    stoa_text6 name = name_of(n);
    uint32_t above = n, below = n;
    STOA_ASSERT(STOA_OMAP_GET(&a.ordered, n * UINT64_C(0x1010101)) == expected[n]);
    STOA_ASSERT(STOA_MAP64_GET(&a.hashed, n * UINT64_C(0x9e3779b97f4a7c15) + 1) == expected[n]);
    STOA_ASSERT(STOA_TEXT_MAP_GET(&a.named, &name) == expected[n]);
    while (above < KEYS && !expected[above]) { above++; }
    while (below && !expected[below]) { below--; }
    STOA_ASSERT(STOA_OMAP_FROM(&a.ordered, n * UINT64_C(0x1010101)).value == (above < KEYS ? expected[above] : 0));
    STOA_ASSERT(STOA_OMAP_TO(&a.ordered, n * UINT64_C(0x1010101)).value == expected[below]);
}

static void text_put(uint8_t size)
{
    char bytes[256];
    if (size == TEXTS || !STOA_TEXTS_ROOM(&a.texts, size)) { return; }
    memset(bytes, size, sizeof bytes);
    uint32_t id = STOA_TEXTS_PUT(&a.texts, bytes, size);
    STOA_ASSERT(id <= TEXTS && held[id] == TEXTS);
    held[id] = size;
}

static void check_texts(void)
{
    for (uint32_t id = 1; id <= TEXTS; id++) {
        size_t size;
        if (held[id] == TEXTS) { continue; }
        const char *at = STOA_TEXTS_GET(&a.texts, id, &size);
        STOA_ASSERT(size == held[id]);
        for (size_t i = 0; i < size; i++) { STOA_ASSERT((uint8_t)at[i] == held[id]); }
    }
}

static void step(uint8_t what, uint8_t n)
{
    uint32_t id = 1 + n % TEXTS;
    switch (what % 4) {
    case 0:
        map_put(n, what + 1u);
        expected[n] = what + 1u;
        break;
    case 1:
        map_remove(n);
        expected[n] = 0;
        break;
    case 2: text_put(n); break;
    default:
        if (held[id] != TEXTS) { STOA_TEXTS_GIVE(&a.texts, id); }
        held[id] = TEXTS;
        break;
    }
    look(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    memset(&a, 0, sizeof a);
    memset(expected, 0, sizeof expected);
    memset(held, TEXTS, sizeof held);
    for (size_t i = 0; i + 1 < size_bytes; i += 2) { step(bytes[i], bytes[i + 1]); }
    omap_check(&a.ordered.map, STOA_OMAP_ALL_(&a.ordered));
    check_texts();
    return 0;
}
