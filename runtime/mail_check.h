/* mail_check.h - whether logs that were cut agree on what the channels between their shards carried.
 *
 * A receiver has taken nothing that its sender has not mailed, and a sender has forgotten nothing that its receiver has not
 * taken. Read from the shards' own events (runtime/channel_book.h), log by log; where a log's beginning is gone, from the ledger of the
 * snapshot that stands for it, and from there on.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_MAIL_CHECK_H
#define STOA_RUNTIME_MAIL_CHECK_H

#include "runtime/log_reader.h"

enum { STOA_MAIL_CHANNELS = 64, STOA_MAIL_SHARDS = 64 };

/* One shard's side of what goes to and comes from another one: the highest of each. */
typedef struct stoa_mail_side {
    char peer[32];
    uint64_t mailed, acknowledged; /* sequence numbers, to the peer */
    uint64_t taken, taken_at;      /* sequence number, and position of the mail in the peer's log, from the peer */
} stoa_mail_side;

typedef struct stoa_mail_log {
    char shard[32];
    stoa_mail_side sides[STOA_MAIL_CHANNELS];
    uint32_t count, by_channel[STOA_MAIL_CHANNELS]; /* sides by the sender's channel number */
} stoa_mail_log;

/* Read a log's own events. Errors: those of stoa_log_read, TOO_LARGE. */
stoa_err stoa_mail_collect(stoa_log_reader *reader, const char *shard, stoa_mail_log *out);

/* Errors: FORKED, with who and what in the trail. */
stoa_err stoa_mail_agree(const stoa_mail_log *logs, uint32_t count);

#endif
