/* plugin_fuzz.c - goal: whatever a child tells of its kind, the node takes a kind that the macros could have made, or says why not. Method: the
 * input as what the child's frames carried: decoded, built, and where that is a kind, each of its types through the codec, both ways.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "runtime/isolate/build.h"

#define helper_ask_FIELDS(F, S)     F(S, uint64_t, n)
#define helper_doubled_FIELDS(F, S) F(S, uint64_t, n)
#define helper_ROWS(ROW, K)                   \
    ROW(K, COMMAND, ask, doubled, "To ask.")  \
    ROW(K, REPLY, doubled, _, "To be heard.")
STOA_TABLE_HERE(helper)
static const stoa_table *const tables[] = {&helper_table, NULL};

static void use(const stoa_kind *kind, const uint8_t *data, size_t size)
{
    static uint8_t payload[64 << 10], again[64 << 10], bytes[256 << 10];
    for (uint32_t id = 1; id <= kind->table->row_count; id++) {
        const stoa_type *type = &kind->table->rows[id].payload;
        stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
        memset(payload, 0, sizeof payload);
        if (stoa_encode(type, payload, &w) == STOA_OK && stoa_decode(type, bytes, w.used_bytes, again, NULL) == STOA_OK) {
            if (memcmp(payload, again, type->size_bytes) != 0) { abort(); }
        }
        (void)stoa_decode(type, data, size, again, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static stoa_description description;
    stoa_plugged *plugged;
    memset(&description, 0, sizeof description);
    if (stoa_decode(STOA_TYPE(stoa_description), data, size, &description, NULL)) { return 0; }
    if (stoa_plugged_build(&description, tables, &plugged)) { return 0; }
    use(stoa_plugged_kind(plugged), data, size);
    stoa_plugged_close(plugged);
    return 0;
}
