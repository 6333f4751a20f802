/* key_local.c - see key_local.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/key_local.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "admin/key.h"
#include "base/clock.h"

enum { MARKED_KEY_BYTES = 64 };

/* The folder of keys, made where --write may make it. */
static stoa_err find_folder(const stoa_session *session, bool writes, char out[PATH_MAX])
{
    if (!session->data[0]) {
        return STOA_FAIL(STOA_E_UNAVAILABLE, "no node listens at that socket; keys of a node that does not run are in its data folder: --data DIR");
    }
    if (snprintf(out, PATH_MAX, "%s/keys", session->data) >= PATH_MAX) { return STOA_FAIL(STOA_E_INVALID, "the data folder's path is too long"); }
    if (writes) { (void)mkdir(session->data, 0700); }
    if (writes && mkdir(out, 0700) && errno != EEXIST) { return STOA_FAIL(STOA_E_NOT_FOUND, "%s: %s", out, strerror(errno)); }
    return STOA_OK;
}

static stoa_exit run_here(stoa_session *session, const stoa_invocation *said, bool writes)
{
    char folder[PATH_MAX];
    bool changed;
    stoa_buf document = STOA_BUF_GROWING, view = STOA_BUF_GROWING;
    stoa_err err = find_folder(session, writes, folder);
    stoa_key_place place = {.folder = folder, .now_ns = stoa_clock_real.wall_ns(&stoa_clock_real)};
    if (!err) { err = stoa_key_command_run(&place, said, &document, &view, &changed); }
    stoa_answer answer = {.document = document.at, .document_bytes = document.used_bytes, .view = view.at, .view_bytes = view.used_bytes};
    session->exit = err ? stoa_session_complain(session, err, stoa_exit_of(err)) : stoa_session_show(session, &answer);
    stoa_buf_deinit(&document);
    stoa_buf_deinit(&view);
    return session->exit;
}

/* The words with the key itself in place of its file. marked: room for it. */
static stoa_err read_key(const stoa_invocation *said, stoa_words *words, char marked[MARKED_KEY_BYTES])
{
    char key[MARKED_KEY_BYTES];
    if (said->count < 2) { return STOA_OK; }
    stoa_err err = stoa_key_said(said->args[1], key);
    if (err) { return err; }
    (void)snprintf(marked, MARKED_KEY_BYTES, "z85:%.40s", key);
    for (uint32_t i = 0; i < words->count; i++) {
        if (words->at[i] == said->args[1]) { words->at[i] = marked; }
    }
    return STOA_OK;
}

stoa_exit stoa_key_local_run(stoa_session *session, const stoa_words *words, const stoa_invocation *said, bool writes)
{
    char marked[MARKED_KEY_BYTES];
    stoa_words copy = *words;
    stoa_invocation with = *said;
    stoa_answer answer;
    stoa_err err = read_key(said, &copy, marked);
    if (err) { return stoa_session_complain(session, err, stoa_exit_of(err)); }
    if (said->count > 1) { with.args[1] = marked; }
    if (stoa_remote_attach(session->remote, session->timeout_ms) == STOA_E_UNAVAILABLE) { return run_here(session, &with, writes); }
    stoa_exit cls = stoa_session_ask(session, copy.at, copy.count, writes, &answer);
    return cls ? cls : stoa_session_answered(session, &answer);
}
