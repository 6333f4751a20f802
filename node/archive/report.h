/* report.h - what a backup or a restore did or would do, as a document for the REPL and as lines for a terminal.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_REPORT_H
#define STOA_NODE_ARCHIVE_REPORT_H

#include "admin/document.h"
#include "node/archive/backup.h"
#include "node/archive/restore.h"

void stoa_report_steps(stoa_doc *doc, const stoa_backup_step *steps, uint32_t count);
void stoa_report_restored(stoa_doc *doc, const stoa_restored *restored);

/* Shards whose archives are in a backup's folder, which its catalogue does not name; nothing where there are none. Part of restored. */
void stoa_report_left_out(stoa_doc *doc, const stoa_catalog *catalog);

/* Columns of all, for a view. */
extern const char stoa_report_steps_view[], stoa_report_restored_view[];

/* Lines. */
void stoa_print_steps(const stoa_backup_step *steps, uint32_t count, stoa_buf *out);
void stoa_print_left_out(const stoa_catalog *catalog, stoa_buf *out);
void stoa_print_restored(const stoa_restored *restored, bool plan, stoa_buf *out);

/* Progress as one line a second on stderr: what, how far, how fast, how long yet. */
typedef struct stoa_progress_print {
    uint64_t said_ns, began_ns;
    char step[16], shard[STOA_SEGMENT_SHARD_MAX + 1];
} stoa_progress_print;
stoa_err stoa_progress_print_tell(void *context, const stoa_progress *progress);

#endif
