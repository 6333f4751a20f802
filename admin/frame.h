/* frame.h - the admin door's protocol: what the REPL and the node say to each other over a UNIX stream socket.
 *
 * A frame is a u32 length, little endian, and so many bytes of msgpack. Who connects is greeted with an answer with id
 * 0, or refused with one and cut off.
 *
 *     request   [version 1, id, write 0|1, timeout_ms, [word, word, ...]]
 *     answer    [version 1, id, error, class, text, document, view]
 *
 * id is the asker's, not 0. write says that the asker may change things. error is a code of base/errors.def, 0 for
 * none; class what a program should exit with; text says what went wrong in a sentence; document is JSON (also beside
 * an error); view says how to show it (document.h). Answers come in the order of requests. Later versions append
 * fields; a reader ignores those it does not know.
 *
 * A frame that is no request is answered once, with id 0: MALFORMED, TOO_LARGE (above STOA_REQUEST_MAX) or VERSION;
 * then the connection is closed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_FRAME_H
#define STOA_ADMIN_FRAME_H

#include "admin/command.h"
#include "base/text.h"
#include "base/table.h"

enum {
    STOA_FRAME_VERSION = 1,
    STOA_FRAME_HEAD = 4,          /* bytes of the length */
    STOA_REQUEST_MAX = 8192,      /* bytes behind the length */
    STOA_ANSWER_MAX = 16 << 20,
    STOA_TIMEOUT_MS_MAX = 600000,
};

/* What a program exits with. */
typedef enum stoa_exit {
    STOA_EXIT_OK = 0,
    STOA_EXIT_FAILED = 1,
    STOA_EXIT_USAGE = 2,
    STOA_EXIT_NOT_FOUND = 3,
    STOA_EXIT_DENIED = 4,
    STOA_EXIT_UNREACHABLE = 5,
    STOA_EXIT_TIMEOUT = 6,
} stoa_exit;
stoa_exit stoa_exit_of(stoa_err err);

#define admin_request_FIELDS(F, S)                                                                                     \
    F(S, uint64_t, version) F(S, uint64_t, id) F(S, uint64_t, write) F(S, uint64_t, timeout_ms) F(S, admin_words, words)
STOA_LIST(admin_words, stoa_text254, STOA_WORDS_MAX)
STOA_RECORD(admin_request)

/* An answer, read: texts point into the frame. */
typedef struct stoa_answer {
    uint64_t id;
    stoa_err err;
    stoa_exit cls;
    const char *text, *document, *view; /* NOT NUL-terminated */
    size_t text_bytes, document_bytes, view_bytes;
} stoa_answer;

/* Append a whole frame, length first. Errors: TOO_LARGE, NOMEM. */
stoa_err stoa_request_write(const admin_request *request, stoa_buf *out);
stoa_err stoa_answer_write(const stoa_answer *answer, stoa_buf *out);

/* The length that the first STOA_FRAME_HEAD bytes of a frame say. */
uint32_t stoa_frame_bytes(const void *head);

/* Read what follows the length. Errors: MALFORMED, VERSION (*out's id is set when it could be read), INVALID (id 0,
 * no words, words too long or with control characters). */
stoa_err stoa_request_read(const void *bytes, size_t size_bytes, admin_request *out);
stoa_err stoa_answer_read(const void *bytes, size_t size_bytes, stoa_answer *out);

#endif
