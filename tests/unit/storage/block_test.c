/* block_test.c - goal: a block's bytes are those of storage/journal.h, and no other bytes are taken for a block.
 * Method: fields looked up by hand, every bit of a block flipped, sizes cut and stretched, and blocks that a wrong
 * writer could have hashed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include "storage/block.h"

static const stoa_hash256 previous = {{1, 2, 3, 31, 30, 29}};

typedef struct bytes {
    uint8_t *at;
    size_t size;
    stoa_hash256 hash;
} bytes;

static bytes encoded(const stoa_block *block, const stoa_hash256 *behind)
{
    bytes b = {.size = stoa_block_bytes(block)};
    b.at = malloc(b.size);
    assert_non_null(b.at);
    stoa_block_encode(block, behind, b.at, &b.hash);
    return b;
}

static void the_fields_are_where_the_header_says(void **state)
{
    (void)state;
    stoa_index_entry index[] = {{0x1122334455667788, 0x0102030405060708}, {9, 0x0102030405060709}};
    stoa_block block = {.first = 0x0102030405060708,
                        .epoch = 0xA1A2A3A4A5A6A7A8,
                        .commit_ns = 0xB1B2B3B4B5B6B7B8,
                        .count = 0x00010203,
                        .payload_bytes = 5,
                        .index_count = 2,
                        .payload = "hello",
                        .index = index};
    /* clang-format off */
    static const uint8_t header[40] = {
        'S', 'T', 'B', '1', 0x03, 0x02, 0x01, 0x00,
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
        0xA8, 0xA7, 0xA6, 0xA5, 0xA4, 0xA3, 0xA2, 0xA1,
        0xB8, 0xB7, 0xB6, 0xB5, 0xB4, 0xB3, 0xB2, 0xB1,
        5, 0, 0, 0, 2, 0, 0, 0};
    static const uint8_t tail[37] = {
        'h', 'e', 'l', 'l', 'o',
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
        9, 0, 0, 0, 0, 0, 0, 0, 0x09, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01};
    /* clang-format on */
    bytes b = encoded(&block, &previous);
    assert_int_equal(b.size, 104 + 5 + 32);
    assert_memory_equal(b.at, header, sizeof header);
    assert_memory_equal(b.at + 40, previous.at, 32);
    assert_memory_equal(b.at + 104, tail, sizeof tail);

    uint8_t covered[72 + sizeof tail];
    memcpy(covered, b.at, 72);
    memcpy(covered + 72, b.at + 104, sizeof tail);
    stoa_hash256 hash;
    stoa_hash256_parts(&hash, covered, sizeof covered, NULL, 0);
    assert_memory_equal(b.at + 72, hash.at, 32);
    assert_memory_equal(b.hash.at, hash.at, 32);
    free(b.at);
}

static void a_block_decodes_to_what_was_encoded(void **state)
{
    (void)state;
    stoa_random random = kit_random(11);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t first = 1 + stoa_random_below(&random, 1u << 30);
        kit_block made = kit_make(first, 1 + (uint32_t)stoa_random_below(&random, 50),
                                  (uint32_t)stoa_random_below(&random, 500), stoa_random_next(&random));
        bytes b = encoded(&made.block, &previous);
        stoa_block_view view;
        kit_ok(stoa_block_decode(b.at, b.size, &view));
        assert_int_equal(view.block.first, first);
        assert_int_equal(view.block.count, made.block.count);
        assert_int_equal(view.block.epoch, made.block.epoch);
        assert_int_equal(view.block.commit_ns, made.block.commit_ns);
        assert_int_equal(view.block.payload_bytes, made.block.payload_bytes);
        assert_memory_equal(view.block.payload, made.payload, made.block.payload_bytes);
        assert_int_equal(view.block.index_count, made.block.index_count);
        for (uint32_t k = 0; k < view.block.index_count; k++) {
            stoa_index_entry entry = stoa_block_entry(&view, k);
            assert_memory_equal(&entry, &made.index[k], sizeof entry);
        }
        assert_memory_equal(&view.previous, &previous, sizeof previous);
        assert_memory_equal(&view.hash, &b.hash, sizeof b.hash);
        free(b.at);
        kit_drop(&made);
    }
}

static void no_flipped_bit_is_accepted(void **state)
{
    (void)state;
    kit_block made = kit_make(77, 3, 90, 5);
    bytes b = encoded(&made.block, &previous);
    stoa_block_view view, untouched;
    memset(&view, 0xEE, sizeof view);
    untouched = view;
    for (size_t bit = 0; bit < b.size * 8; bit++) {
        b.at[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        kit_err(stoa_block_decode(b.at, b.size, &view), STOA_E_CORRUPT);
        assert_memory_equal(&view, &untouched, sizeof view);
        b.at[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    kit_ok(stoa_block_decode(b.at, b.size, &view));
    free(b.at);
    kit_drop(&made);
}

static void no_other_size_is_accepted(void **state)
{
    (void)state;
    kit_block made = kit_make(1, 2, 40, 1);
    bytes b = encoded(&made.block, &previous);
    stoa_block_view view;
    for (size_t size = 0; size < b.size; size++) {
        uint8_t *cut = malloc(size + (size == 0)); /* exactly as long, so that a read behind the end is seen */
        assert_non_null(cut);
        memcpy(cut, b.at, size);
        kit_err(stoa_block_decode(cut, size, &view), STOA_E_CORRUPT);
        free(cut);
    }
    uint8_t *longer = calloc(1, b.size + 16);
    assert_non_null(longer);
    memcpy(longer, b.at, b.size);
    kit_err(stoa_block_decode(longer, b.size + 1, &view), STOA_E_CORRUPT);
    kit_err(stoa_block_decode(longer, b.size + 16, &view), STOA_E_CORRUPT);
    free(longer);
    free(b.at);
    kit_drop(&made);
}

/* The hash is right, the content is not: only a wrong writer makes such a block. */
static void a_sound_hash_does_not_excuse_nonsense(void **state)
{
    (void)state;
    kit_block made = kit_make(10, 3, 8, 1);
    stoa_block rows[] = {made.block, made.block, made.block, made.block, made.block};
    rows[0].count = 0;
    rows[1].first = 0;
    rows[2].first = UINT64_MAX - 1;
    rows[3].first = 11; /* the index still says 10 */
    rows[4].count = STOA_BLOCK_EVENTS_MAX + 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bytes b = encoded(&rows[i], &previous);
        stoa_block_view view;
        kit_err(stoa_block_decode(b.at, b.size, &view), STOA_E_CORRUPT);
        free(b.at);
    }
    kit_drop(&made);
}

static void a_block_to_be_written_is_held_to_the_limits(void **state)
{
    (void)state;
    stoa_index_entry index = {.id = 1, .position = 5};
    stoa_block good = {.first = 5, .count = 1, .index = &index, .index_count = 1};
    kit_ok(stoa_block_check(&good));
    stoa_block block = good;
    block.first = UINT64_MAX - 1;
    block.index_count = 0;
    kit_ok(stoa_block_check(&block));
    block.count = 2;
    kit_err(stoa_block_check(&block), STOA_E_INVALID);
    index.position = 6;
    kit_err(stoa_block_check(&good), STOA_E_INVALID);
    index.position = 4;
    kit_err(stoa_block_check(&good), STOA_E_INVALID);
    good.payload_bytes = STOA_BLOCK_PAYLOAD_MAX + 1;
    kit_err(stoa_block_check(&good), STOA_E_TOO_LARGE);
}

static void only_the_next_block_continues_the_chain(void **state)
{
    (void)state;
    stoa_journal_state at = {.last = 9, .epoch = 4, .hash = previous};
    static const struct {
        uint64_t first, epoch;
        bool other_hash;
        stoa_err admit, link;
    } rows[] = {
        {10, 4, false, STOA_OK, STOA_OK},
        {10, 5, false, STOA_OK, STOA_OK},
        {10, 3, false, STOA_E_INVALID, STOA_E_CORRUPT},
        {9, 4, false, STOA_E_INVALID, STOA_E_CORRUPT},
        {11, 4, false, STOA_E_INVALID, STOA_E_CORRUPT},
        {10, 4, true, STOA_OK, STOA_E_CORRUPT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kit_block made = kit_make(rows[i].first, 3, 20, rows[i].epoch);
        stoa_hash256 behind = previous;
        behind.at[31] = rows[i].other_hash;
        bytes b = encoded(&made.block, &behind);
        stoa_block_view view;
        kit_ok(stoa_block_decode(b.at, b.size, &view));
        kit_err(stoa_chain_admit(&at, &made.block), rows[i].admit);
        kit_err(stoa_chain_link(&at, &view), rows[i].link);
        free(b.at);
        kit_drop(&made);
    }
}

static void a_walk_stops_where_the_log_stops_being_good(void **state)
{
    (void)state;
    enum { BLOCKS = 6 };
    bytes blocks[BLOCKS];
    stoa_journal_state at = {0};
    for (unsigned i = 0; i < BLOCKS; i++) {
        kit_block made = kit_make(at.last + 1, 2 + i, 30, 1 + i);
        blocks[i] = encoded(&made.block, &at.hash);
        stoa_chain_advance(&at, &made.block, &blocks[i].hash);
        kit_drop(&made);
    }
    blocks[4].at[110] ^= 1;

    stoa_block_walk walk = {.linked = true};
    kit_reader reader = {0};
    stoa_block block;
    for (unsigned i = 0; i < 4; i++) {
        kit_ok(stoa_block_walk_next(&walk, blocks[i].at, blocks[i].size, &block));
        kit_ok(kit_visit(&reader, &block));
    }
    assert_int_equal(walk.at.last, reader.last);
    stoa_journal_state good = walk.at;
    kit_err(stoa_block_walk_next(&walk, blocks[4].at, blocks[4].size, &block), STOA_E_CORRUPT);
    kit_err(stoa_block_walk_next(&walk, blocks[5].at, blocks[5].size, &block), STOA_E_CORRUPT);
    assert_memory_equal(&walk.at, &good, sizeof good);
    stoa_block_walk_deinit(&walk);

    /* Begun in the middle, the first block is taken for granted and the next must link to it. */
    stoa_block_walk middle = {.at.last = 4};
    kit_ok(stoa_block_walk_next(&middle, blocks[2].at, blocks[2].size, &block));
    kit_ok(stoa_block_walk_next(&middle, blocks[3].at, blocks[3].size, &block));
    kit_err(stoa_block_walk_next(&middle, blocks[1].at, blocks[1].size, &block), STOA_E_CORRUPT);
    stoa_block_walk_deinit(&middle);
    for (unsigned i = 0; i < BLOCKS; i++) {
        free(blocks[i].at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fields_are_where_the_header_says),
        cmocka_unit_test(a_block_decodes_to_what_was_encoded),
        cmocka_unit_test(no_flipped_bit_is_accepted),
        cmocka_unit_test(no_other_size_is_accepted),
        cmocka_unit_test(a_sound_hash_does_not_excuse_nonsense),
        cmocka_unit_test(a_block_to_be_written_is_held_to_the_limits),
        cmocka_unit_test(only_the_next_block_continues_the_chain),
        cmocka_unit_test(a_walk_stops_where_the_log_stops_being_good),
    };
    return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
