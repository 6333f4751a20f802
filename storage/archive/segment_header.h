/* segment_header.h - the header of a segment's file: its bytes and what is wrong with them. Internal to storage/archive.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_SEGMENT_HEADER_H
#define STOA_STORAGE_ARCHIVE_SEGMENT_HEADER_H

#include "storage/archive/segment.h"

void stoa_segment_header_encode(const stoa_segment *segment, uint8_t bytes[STOA_SEGMENT_HEADER_BYTES]);

/* Errors: CORRUPT, VERSION. */
stoa_err stoa_segment_header_decode(const uint8_t bytes[STOA_SEGMENT_HEADER_BYTES], stoa_segment *out);

/* NULL, or in what two descriptions of a segment differ. with_file: hash and level of the file count, too. */
const char *stoa_segment_difference(const stoa_segment *a, const stoa_segment *b, bool with_file);

#endif
