/* log_writer.c - puts an event behind the end of a log that no node has open, for integration/rotten_log_test.py and plans_test.py.
 *
 *     log_writer FOLDER effect       the shard's first actor wants something done outside, of a table that no build has
 *     log_writer FOLDER mailed       mail by a channel that cannot be
 *     log_writer FOLDER traded NUMBER   stream NUMBER, a trade_book: a trade with an order that is not there
 *     log_writer FOLDER filled NUMBER   stream NUMBER, a trade_account: a fill of an order that is not there
 *
 * Prints the event's position. The hash is right: who wrote it was the node itself, as far as the log can say.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "base/wire.h"
#include "runtime/ledger.h"
#include "storage/rocksdb/journal.h"

static const stoa_shard_log_effect effect = {.epoch = 1, .position = 1, .stream = 1, .row = 1, .table = stoa_text("till"), .payload = {.count = 2}};
static const stoa_shard_log_mailed mailed = {.channel = 1 << 20, .stream = 1, .row = 1, .shard = stoa_text("vault")};
static const trade_book_traded traded = {.order_id = 1, .maker_order_id = UINT64_C(1) << 40, .price_ticks = 1, .qty_lots = 1};
static const trade_account_filled filled = {.order_id = UINT64_C(1) << 40, .price = 1, .qty = 1};

static const struct {
    const char *name;
    const stoa_row *row;
    const void *payload;
} events[] = {
    {"effect", &stoa_shard_log_rows[stoa_shard_log_ROW_effect], &effect},
    {"mailed", &stoa_shard_log_rows[stoa_shard_log_ROW_mailed], &mailed},
    {"traded", &trade_book_rows[trade_book_ROW_traded], &traded},
    {"filled", &trade_account_rows[trade_account_ROW_filled], &filled},
};

static stoa_err append(stoa_journal *journal, const stoa_row *row, const void *payload, uint64_t stream)
{
    static uint8_t bytes[16384];
    stoa_journal_state log;
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    journal->ops->state(journal, &log);
    const uint64_t envelope[] = {1, row->id, 1, stream, 1 << 20, 1, 0, 0, 0};
    stoa_write_array(&w, 10);
    for (size_t i = 0; i < sizeof envelope / sizeof envelope[0]; i++) { stoa_write_uint(&w, envelope[i]); }
    stoa_err err = stoa_encode(&row->payload, payload, &w);
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
    stoa_block block = {.first = log.last + 1, .epoch = log.epoch, .commit_ns = now_ns, .count = 1, .payload = bytes,
                        .payload_bytes = (uint32_t)w.used_bytes};
    if (!err) { err = journal->ops->append(journal, &block, true); }
    if (!err) { (void)printf("%" PRIu64 "\n", block.first); }
    return err;
}

int main(int argc, char **argv)
{
    stoa_journal *journal;
    stoa_err err = argc < 3 ? STOA_E_INVALID : stoa_journal_rocksdb.open(argv[1], &journal);
    if (err) {
        (void)fprintf(stderr, "%s: %s\n", stoa_err_name(err), stoa_err_trail());
        return 1;
    }
    err = STOA_E_NOT_FOUND;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (strcmp(events[i].name, argv[2]) != 0) { continue; }
        err = append(journal, events[i].row, events[i].payload, argc > 3 ? strtoull(argv[3], NULL, 10) : 0);
    }
    stoa_journal_rocksdb.close(journal);
    return err ? 1 : 0;
}
