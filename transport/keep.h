/* keep.h - what has come of transfers (session.h), in files that outlive connection and process: the next offer of the same bytes
 * goes on from there.
 *
 * A folder, 0700, has a file for each transfer that is under way or was broken off, named by the hash of the whole: who offers the
 * same bytes again finds it, over whichever session and in whichever life. A file is records, one behind the other:
 *
 *     BLAKE2b-256 over {form, place, size of the whole, hash of the whole} and the piece; the piece, 64 KiB
 *
 * Before anything is said to be there each record is read and its hash compared, from the first on: what lies behind one that does not
 * prove itself comes again. So a file may be cut short, spoilt, mixed up or of another form: it costs time and nothing else. What a
 * piece has lost at the end of a process is less than 64 KiB. Nothing is synced: after a power cut less may be proven.
 *
 * The bytes are gathered in memory and copied to the file; that memory is all the session touches: a disk that fails is an error, never
 * a signal. A file ends when its transfer has
 * come, or was not what was offered; when there are files_max, the one that was broken off longest ago makes room. They are as they came:
 * whoever reads the folder reads them.
 *
 *     offered   return stoa_keep_offered(keep, offer, into_out, have_out);
 *     grew      err = stoa_keep_grew(keep, offer, have);
 *     came      if (!why) { ... stoa_keep_bytes(keep, offer) ... }  stoa_keep_came(keep, offer, why);
 *
 * One thread; each call may wait for the disk: offered reads and hashes what is there (1.5 ms a MiB), grew writes a piece.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_KEEP_H
#define STOA_TRANSPORT_KEEP_H

#include "transport/session.h"

enum { STOA_KEEP_PIECE_BYTES = 64 << 10 };

typedef struct stoa_keep stoa_keep;

/* Zero stands for the default where one is named. */
typedef struct stoa_keep_options {
    const char *folder;      /* made where it is not there */
    uint64_t size_max_bytes; /* of a transfer; 64 MiB */
    uint32_t files_max;      /* under way, and broken off; 16 */
} stoa_keep_options;

/* Errors: EXISTS (another process keeps there), DENIED, FULL, IO, NOMEM, INVALID (no folder). */
stoa_err stoa_keep_open(const stoa_keep_options *options, stoa_keep **out);
/* What is under way stays kept; no session writes to its memory any more. NULL is allowed. */
void stoa_keep_close(stoa_keep *keep);

/* Errors refuse the offer: TOO_LARGE, EXISTS (the same bytes are under way), FULL (files_max are under way; the disk), IO, NOMEM. */
stoa_err stoa_keep_offered(stoa_keep *keep, const stoa_transfer *offer, void **into_out, uint64_t *have_out);
/* Errors, once a transfer: FULL, IO: it goes on, and what comes from now on is not kept. */
stoa_err stoa_keep_grew(stoa_keep *keep, const stoa_transfer *offer, uint64_t have);
/* All of it, until stoa_keep_came; NULL: it is not under way. */
const void *stoa_keep_bytes(const stoa_keep *keep, const stoa_transfer *offer);
/* It has ended, with came's why. The memory is gone, and the file, too, but where why is CLOSED. */
void stoa_keep_came(stoa_keep *keep, const stoa_transfer *offer, stoa_err why);

#endif
