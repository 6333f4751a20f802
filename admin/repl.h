/* repl.h - the prompt: line editing, history, completion.
 *
 * Keys are libedit's emacs keys: Tab completes commands and names, asking the node; Up and Down walk through the
 * history, Ctrl-R searches it; Ctrl-C drops the line or the command under way, Ctrl-D leaves. ~/.editrc is heeded. The
 * history is kept in $HOME/.stoa/history, 1000 lines, for the user's eyes only.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_REPL_H
#define STOA_ADMIN_REPL_H

#include "admin/session.h"

/* Read and run lines until the user leaves. */
stoa_exit stoa_repl_run(stoa_session *session);

#endif
