/* block_cut_test.c - goal: a block is cut at whole cascades, never inside one. Method: a block with cascades of known lengths,
 * cut at each of its positions; the index goes with the events; bytes that are no events are named.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include "node/archive/cut.h"
#include "storage/sim/journal.h"

enum { EVENTS = 10, EVENT_BYTES = 11 };

/* Cascades of positions 1..3, 4, 5..8, 9..10: each event's cause, 0 for the first of a cascade; and where a cut at it ends. */
static const struct {
    uint8_t cause, end;
} rows[EVENTS] = {{0, 0}, {1, 0}, {1, 3}, {0, 4}, {0, 4}, {5, 4}, {5, 4}, {5, 8}, {0, 8}, {9, 10}};

static void write_block(stoa_journal *journal, uint8_t version)
{
    uint8_t payload[EVENTS * EVENT_BYTES];
    stoa_index_entry index[EVENTS];
    for (uint32_t i = 0; i < EVENTS; i++) {
        /* [version, type, schema, stream, seq, time, cause, command, actor, payload] as msgpack */
        const uint8_t event[EVENT_BYTES] = {0x9a, version, 1, 0, 1, (uint8_t)(i + 1), 7, rows[i].cause, 0, 0, 0x90};
        memcpy(payload + i * EVENT_BYTES, event, EVENT_BYTES);
        index[i] = (stoa_index_entry){.id = 40 + i, .position = 1 + i};
    }
    stoa_block block = {.first = 1, .epoch = 3, .commit_ns = 77, .count = EVENTS, .payload = payload, .payload_bytes = sizeof payload,
                        .index = index, .index_count = EVENTS};
    kit_ok(journal->ops->append(journal, &block, true));
}

typedef struct cutting {
    stoa_journal *to;
    uint64_t until;
    stoa_err err;
} cutting;

static stoa_err cut(void *context, const void *bytes, size_t size_bytes)
{
    cutting *c = context;
    c->err = stoa_block_cut(NULL, c->to, bytes, size_bytes, c->until);
    return STOA_OK;
}

static stoa_err check_block(void *context, const stoa_block *block)
{
    assert_int_equal(block->first, 1);
    assert_int_equal(block->count, *(const uint64_t *)context);
    assert_int_equal(block->payload_bytes, block->count * EVENT_BYTES);
    assert_int_equal(block->commit_ns, 77);
    assert_int_equal(block->epoch, 3);
    assert_int_equal(block->index_count, block->count);
    for (uint32_t i = 0; i < block->index_count; i++) { assert_int_equal(block->index[i].position, 1 + i); }
    return STOA_OK;
}

static void a_cut_ends_with_a_whole_cascade(void **state)
{
    (void)state;
    stoa_journal *from;
    kit_ok(stoa_journal_sim.open("sim:from", &from));
    write_block(from, 1);
    for (uint64_t until = 1; until < EVENTS; until++) { /* at its last position a block is not cut */
        char path[32];
        stoa_journal *to;
        (void)snprintf(path, sizeof path, "sim:to%u", (unsigned)until);
        kit_ok(stoa_journal_sim.open(path, &to));
        cutting c = {.to = to, .until = until};
        kit_ok(from->ops->read_stored(from, 1, cut, &c));
        kit_ok(c.err);
        uint64_t end = rows[until - 1].end;
        assert_int_equal(kit_last(to), end);
        if (end) { kit_ok(to->ops->read(to, 1, check_block, &end)); }
        to->ops->close(to);
    }
    from->ops->close(from);
    stoa_sim_disks_free();
}

static void what_is_no_event_is_named(void **state)
{
    (void)state;
    stoa_journal *newer, *noise, *to;
    kit_ok(stoa_journal_sim.open("sim:newer", &newer));
    kit_ok(stoa_journal_sim.open("sim:noise", &noise));
    kit_ok(stoa_journal_sim.open("sim:to", &to));
    write_block(newer, 2);
    kit_ok(kit_append(noise, 1, 5, 40, true));
    cutting c = {.to = to, .until = 3};
    kit_ok(newer->ops->read_stored(newer, 1, cut, &c));
    assert_int_equal(c.err, STOA_E_VERSION);
    kit_ok(noise->ops->read_stored(noise, 1, cut, &c));
    assert_int_equal(c.err, STOA_E_CORRUPT);
    assert_int_equal(kit_last(to), 0);
    newer->ops->close(newer);
    noise->ops->close(noise);
    to->ops->close(to);
    stoa_sim_disks_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_ends_with_a_whole_cascade),
        cmocka_unit_test(what_is_no_event_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
