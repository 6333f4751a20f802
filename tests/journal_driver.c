/* journal_driver.c - a journal on RocksDB at the end of a pipe, for chaos/journal_fault_test.py, which puts a disk with faults
 * under it.
 *
 *     journal_driver run PATH SEED [KEYS]             appends, syncs, purges and puts until it is killed or fails; a line after
 *                                                    each step: "at LAST SYNCED FIRST"; "full" when there is no space and reads
 *                                                    were answered; "error NAME"
 *     journal_driver check PATH [KEYS]                opens, proves, reads and looks up everything: "ok FIRST LAST ENTRIES", or
 *                                                    "refused NAME"; "wrong WHAT" for anything that is not what was written
 *
 * What a block or a value holds follows from its position or key, so that each byte can be told right from wrong.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "storage/journal.h"
#include "storage/rocksdb/journal.h"
#include "storage/seal.h"

enum { IDS = 7, COUNT_MAX = 6, PAYLOAD_MAX = 3000, VALUE_MAX = 9000, KEYS = 50 };

static const stoa_journal_ops *const ops = &stoa_journal_rocksdb;
static stoa_journal *journal;

static int say_error(const char *what, stoa_err err)
{
    printf("%s %s\n", what, stoa_err_name(err));
    (void)fprintf(stderr, "%s\n", stoa_err_trail());
    (void)fflush(stdout);
    return 3;
}

static void fill(uint64_t seed, uint8_t *bytes, uint32_t size)
{
    stoa_random random;
    stoa_random_seed(&random, seed);
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i % 4 ? i : stoa_random_next(&random));
    }
}

static uint64_t id_of(uint64_t position)
{
    return 1 + stoa_mix64(position) % IDS;
}

static uint32_t size_of(uint64_t first)
{
    return (uint32_t)(stoa_mix64(first + 99) % PAYLOAD_MAX);
}

static stoa_err append(uint64_t first, uint32_t count, bool sync)
{
    uint8_t payload[PAYLOAD_MAX];
    stoa_index_entry index[COUNT_MAX];
    stoa_block block = {.first = first, .epoch = 1, .commit_ns = first, .count = count, .payload = payload,
                        .payload_bytes = size_of(first), .index = index, .index_count = count};
    fill(first, payload, block.payload_bytes);
    for (uint32_t i = 0; i < count; i++) {
        index[i] = (stoa_index_entry){.id = id_of(first + i), .position = first + i};
    }
    return ops->append(journal, &block, sync);
}

static stoa_err put(stoa_random *random)
{
    static uint8_t value[VALUE_MAX];
    uint8_t key = (uint8_t)stoa_random_below(random, KEYS);
    stoa_side_entry entry = {.key = &key, .key_bytes = 1, .value = value, .value_bytes = key * (uint32_t)(VALUE_MAX / KEYS)};
    fill(key, value, entry.value_bytes);
    stoa_err err = ops->put(journal, STOA_SPACE_SNAPSHOT, &entry, 1, stoa_random_chance(random, 200));
    return err == STOA_E_IO || err == STOA_E_FULL ? STOA_OK : err; /* the side store's alone: the log says so if it is not */
}

/* --- check */

typedef struct checking {
    uint64_t first, next;
    bool wrong;
} checking;

static stoa_err check_block(void *context, const stoa_block *block)
{
    static uint8_t wanted[PAYLOAD_MAX];
    checking *c = context;
    fill(block->first, wanted, size_of(block->first));
    c->wrong |= block->first != c->next || block->payload_bytes != size_of(block->first) || block->index_count != block->count ||
                memcmp(block->payload, wanted, block->payload_bytes) != 0;
    c->next = block->first + block->count;
    return STOA_OK;
}

static stoa_err check_position(void *context, uint64_t position)
{
    checking *c = context; /* first: the id; next: positions found */
    c->wrong |= id_of(position) != c->first;
    c->next++;
    return STOA_OK;
}

static stoa_err check_value(void *context, const stoa_side_entry *entry)
{
    static uint8_t wanted[VALUE_MAX];
    checking *c = context;
    uint8_t key = *(const uint8_t *)entry->key;
    uint32_t bytes = key * (uint32_t)(VALUE_MAX / KEYS);
    fill(key, wanted, bytes);
    c->wrong |= entry->key_bytes != 1 || entry->value_bytes != bytes || memcmp(entry->value, wanted, bytes) != 0;
    c->next++;
    return STOA_OK;
}

static int wrong(const char *what, uint64_t at, uint64_t wanted)
{
    printf("wrong %s: %" PRIu64 ", not %" PRIu64 "\n", what, at, wanted);
    return 1;
}

static int check_all(void)
{
    stoa_journal_state state;
    uint64_t verified;
    ops->state(journal, &state);
    stoa_err err = stoa_journal_verify(journal, &verified);
    checking blocks = {.next = state.first};
    if (!err && state.last) { err = ops->read(journal, state.first, check_block, &blocks); }
    if (err) { return say_error("refused", err); }
    if (blocks.wrong || blocks.next != state.last + 1) { return wrong("blocks", blocks.next, state.last + 1); }
    uint64_t found = 0;
    for (uint64_t id = 1; id <= IDS; id++) {
        checking ids = {.first = id};
        err = ops->lookup(journal, id, check_position, &ids);
        if (err) { return say_error("refused", err); }
        if (ids.wrong) { return wrong("index of an id", id, id); }
        found += ids.next;
    }
    if (found != state.last + 1 - state.first) { return wrong("index", found, state.last + 1 - state.first); }
    checking values = {0};
    err = ops->scan(journal, STOA_SPACE_SNAPSHOT, NULL, 0, check_value, &values);
    if (values.wrong) { return wrong("value", values.next, values.next); }
    printf("ok %" PRIu64 " %" PRIu64 " %" PRIu64 "%s\n", state.first, state.last, values.next, err ? " side" : "");
    return 0;
}

/* --- run */

static bool reads_go_on(void)
{
    stoa_journal_state state;
    ops->state(journal, &state);
    checking blocks = {.next = state.first};
    return state.last == 0 || (!ops->read(journal, state.first, check_block, &blocks) && !blocks.wrong);
}

static stoa_err step(stoa_random *random, const stoa_journal_state *state, uint64_t *synced)
{
    uint64_t what = stoa_random_below(random, 100);
    bool sync = what < 30;
    if (what >= 95) { return ops->purge(journal, state->last / 2); }
    if (what >= 75) { return put(random); }
    uint32_t count = 1 + (uint32_t)stoa_random_below(random, COUNT_MAX);
    stoa_err err = what >= 70 ? ops->sync(journal) : append(state->last + 1, count, sync);
    if (!err && what >= 70) { *synced = state->last; }
    if (!err && sync) { *synced = state->last + count; }
    return err;
}

static int run(uint64_t seed)
{
    stoa_random random;
    stoa_random_seed(&random, seed);
    stoa_journal_state state;
    ops->state(journal, &state);
    uint64_t synced = state.proven;
    for (;;) {
        stoa_err err = step(&random, &state, &synced);
        if (err == STOA_E_FULL) {
            printf(reads_go_on() ? "full\n" : "wrong read on a full disk\n");
            (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        } else if (err) {
            return say_error("error", err);
        }
        ops->state(journal, &state);
        printf("at %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", state.last, synced, state.first);
        if (fflush(stdout)) { return 0; }
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) { return 2; }
    stoa_log_level_set(STOA_LOG_OFF);
    bool runs = strcmp(argv[1], "run") == 0;
    const char *key_file = argc > (runs ? 4 : 3) ? argv[runs ? 4 : 3] : NULL;
    stoa_keyring *keys = NULL;
    stoa_err err = key_file ? stoa_keyring_open(key_file, &keys) : STOA_OK;
    if (!err) { err = ops->open(argv[2], &journal); }
    if (err) { return say_error("refused", err); }
    ops->seal(journal, keys);
    int code = runs ? run(strtoull(argv[3], NULL, 10)) : check_all();
    ops->close(journal);
    stoa_keyring_close(keys);
    return code;
}
