/* key.h - what the commands `key ...` do to a folder of keys (transport/key_list.h), and their answers: of the node where one runs,
 * of the REPL itself where none does.
 *
 * No secret half is ever in an answer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_KEY_H
#define STOA_ADMIN_KEY_H

#include "admin/command.h"

/* A name that the settings know. */
typedef struct stoa_key_user {
    const char *name, *use; /* "client", "link" */
    const char *file;       /* of its public key, where the settings say so; else NULL: FOLDER/NAME.pub */
} stoa_key_user;

typedef struct stoa_key_place {
    const char *folder;
    const stoa_key_user *users; /* NULL: there is no node that would say */
    uint32_t user_count;
    uint64_t now_ns; /* UTC */
} stoa_key_place;

bool stoa_key_command_is(const stoa_command *command);

/* Run it. *changed_out: the list or a pair is another one now. Errors: those of transport/key_list.h. */
stoa_err stoa_key_command_run(const stoa_key_place *place, const stoa_invocation *said, stoa_buf *document, stoa_buf *view,
                              bool *changed_out);

/* A key as it is said: 40 characters of Z85, "z85:" before them or not, or the file of a public key. Errors: INVALID, NOT_FOUND, DENIED, IO. */
stoa_err stoa_key_said(const char *text, char *key_out); /* STOA_KEY_TEXT_BYTES */

#endif
