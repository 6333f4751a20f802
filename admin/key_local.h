/* key_local.h - `key ...` from the REPL: by the node where one runs, on the folder itself where none does.
 *
 * A file that is named is read here: where the node runs is not where the user is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_KEY_LOCAL_H
#define STOA_ADMIN_KEY_LOCAL_H

#include "admin/session.h"

stoa_exit stoa_key_local_run(stoa_session *session, const stoa_words *words, const stoa_invocation *said, bool writes);

#endif
