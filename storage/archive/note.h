/* note.h - small JSON files that people read and rot cannot change unnoticed: manifests and catalogues.
 *
 * A note is one JSON object whose last member, "check", is the BLAKE2b-256 of all text before it. It is replaced as a whole.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_NOTE_H
#define STOA_STORAGE_ARCHIVE_NOTE_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"

/* text is the object without its check and its closing brace; both are added to it. Blocks. Errors: NOMEM, IO, FULL. */
stoa_err stoa_note_save(const char *folder, const char *name, stoa_buf *text);

/* Check the note, and show its object. Blocks. Errors: NOT_FOUND (there is none), CORRUPT, TOO_LARGE, IO, NOMEM, what take
 * returns. */
stoa_err stoa_note_load(const char *folder, const char *name, size_t limit_bytes,
                        stoa_err (*take)(void *context, stoa_json root), void *context);

/* "key": "text" and "key": "digits", for the writer. */
void stoa_note_put_text(stoa_buf *out, const char *key, const char *text);
void stoa_note_put_hash(stoa_buf *out, const char *key, const stoa_hash256 *hash);

/* Members for the reader: the first that is missing or not as it should be is remembered, and the rest reads as nothing. */
typedef struct stoa_note_reading {
    const char *fault; /* its key; NULL: all is well */
} stoa_note_reading;
stoa_json stoa_note_get(stoa_note_reading *reading, stoa_json object, const char *key);
uint64_t stoa_note_uint(stoa_note_reading *reading, stoa_json object, const char *key);
/* NUL-terminated, the rest of the room zeroed. */
void stoa_note_text(stoa_note_reading *reading, stoa_json object, const char *key, char *out, size_t room);
void stoa_note_hash(stoa_note_reading *reading, stoa_json object, const char *key, stoa_hash256 *out);

#endif
