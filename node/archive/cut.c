/* cut.c - node/archive/cut.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/cut.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/wire.h"

/* [version, type, schema, stream, seq, time, cause, command, actor, payload]: runtime/shard.h */
enum { TOKENS_MAX = (256 << 10) + 16, AT_VERSION = 1, AT_CAUSE = 7, FIELDS = 10, VERSION = 1 };

typedef struct cut {
    stoa_journal *journal;
    uint64_t until;
    stoa_token *tokens;
} cut;

static stoa_err corrupt(uint64_t position)
{
    return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": not an event", position);
}

/* The event at *at, which moves behind it; *begins: a cascade begins with it. */
static stoa_err step(const cut *c, uint64_t position, const uint8_t **at, const uint8_t *end, bool *begins)
{
    uint32_t count;
    size_t used;
    if (stoa_tokenize(*at, (size_t)(end - *at), c->tokens, TOKENS_MAX, &count, &used)) { return corrupt(position); }
    const stoa_token *tokens = c->tokens;
    if (tokens[0].cls != STOA_TOKEN_ARRAY || tokens[0].size < FIELDS || tokens[AT_VERSION].cls != STOA_TOKEN_UINT ||
        tokens[AT_CAUSE].cls != STOA_TOKEN_UINT) {
        return corrupt(position);
    }
    if (tokens[AT_VERSION].as.u != VERSION) { return STOA_FAIL(STOA_E_VERSION, "position %" PRIu64 ": event of a later version", position); }
    *at += used;
    *begins = tokens[AT_CAUSE].as.u == 0; /* the others name the position of the first one */
    return STOA_OK;
}

/* How many events are in whole cascades up to until, and their bytes. */
static stoa_err measure(const cut *c, const stoa_block *block, uint32_t *count_out, uint32_t *bytes_out)
{
    const uint8_t *begin = block->payload, *at = begin, *end = begin + block->payload_bytes;
    uint32_t count = 0, bytes = 0;
    for (uint32_t i = 0; i < block->count; i++) {
        uint64_t position = block->first + i;
        const uint8_t *before = at;
        bool begins = false;
        stoa_err err = step(c, position, &at, end, &begins);
        if (err) { return err; }
        if (begins) { /* what is before it is whole */
            count = i;
            bytes = (uint32_t)(before - begin);
        }
        if (position > c->until) { break; }
    }
    *count_out = count;
    *bytes_out = bytes;
    return STOA_OK;
}

/* until is below the block's last position, so an event behind until is always looked at. Cascades count as far as they end at
 * or before until: the last one that begins at until + 1 or before is where it is cut. */
static stoa_err append_part(void *context, const stoa_block *block)
{
    const cut *c = context;
    stoa_block part = *block;
    stoa_err err = measure(c, block, &part.count, &part.payload_bytes);
    if (err || part.count == 0) { return err; }
    stoa_index_entry *index = malloc((block->index_count + 1) * sizeof *index);
    if (!index) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu32 " index entries", block->index_count); }
    part.index = index;
    part.index_count = 0;
    for (uint32_t i = 0; i < block->index_count; i++) {
        if (block->index[i].position < block->first + part.count) { index[part.index_count++] = block->index[i]; }
    }
    err = c->journal->ops->append(c->journal, &part, true);
    free(index);
    return err;
}

stoa_err stoa_block_cut(void *context, stoa_journal *journal, const void *bytes, size_t size_bytes, uint64_t until)
{
    (void)context;
    cut c = {.journal = journal, .until = until, .tokens = malloc(TOKENS_MAX * sizeof(stoa_token))};
    if (!c.tokens) { return STOA_FAIL(STOA_E_NOMEM, "cut"); }
    stoa_err err = journal->ops->show(journal, bytes, size_bytes, append_part, &c);
    free(c.tokens);
    return err;
}

/* Its state at position was within the cut when that was noted; where nothing ran all that there is is within it. */
static bool is_within(const stoa_catalog *catalog, const stoa_catalog_shard *shard, uint64_t position, uint64_t cut_ns)
{
    return cut_ns == catalog->consistent_ns && (shard->state_position == 0 || position <= shard->state_position);
}

stoa_err stoa_backup_cut(const stoa_catalog *catalog, uint32_t shard, stoa_archive *archive, uint64_t cut_ns, stoa_archive_block *out)
{
    stoa_archive_block block;
    const stoa_catalog_shard *of = &catalog->shards[shard];
    uint64_t gone = stoa_archive_first(archive) - 1;
    stoa_err err = stoa_archive_block_by(archive, cut_ns, &block);
    if (err) { return err; }
    if (block.last == 0 && gone > 0) {
        char time[STOA_TIME_TEXT_MAX];
        stoa_time_print(cut_ns, time);
        if (!is_within(catalog, of, gone, cut_ns)) {
            return STOA_FAIL(STOA_E_RANGE, "what the backup has of shard %s begins at %" PRIu64 ", which is later than %s", of->name, gone + 1, time);
        }
        block.last = gone;
    }
    *out = block;
    return STOA_OK;
}
